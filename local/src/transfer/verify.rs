//! `musehub verify`: proves the file of an export, without any hub.
//!
//! The file is read once, front to back. Every checksum, every id, and every reference is checked, and that all that the
//! branches, tags and releases name is there. What is remembered of it are ids.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::commit::Commit;
use common::wire::record::Snapshot;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use store::compute;

use super::export::read_release;
use super::file::reader::{Entries, Entry};
use super::file::{Contents, FORMAT, Name, VERSION, WrittenIds};
use super::{Moved, Names, Release, TransferError};

/// What is known of a file that is whole.
#[derive(Debug)]
pub struct Verified {
    /// What the repo is, and what it names.
    pub contents: Contents,
    /// The names again, with the releases.
    pub names: Names,
    /// The parents of each commit, in the order of the file.
    pub commits: Vec<(CommitId, Vec<CommitId>)>,
    /// What it holds.
    pub holds: Moved,
}

/// Proves a file.
///
/// # Errors
/// [`TransferError::Damaged`], saying what is wrong and where.
pub fn verify(path: &Path, progress: &ProgressBar) -> Result<Verified, TransferError> {
    let file = File::open(path).map_err(TransferError::file("open", path))?;
    let mut entries = Entries::new(file, path);
    let contents = read_contents(&mut entries)?;
    let mut releases = Vec::new();
    let mut check = Check {
        strict: contents.ids == WrittenIds::Strict,
        commits: Vec::new(),
        seen: HashSet::new(),
        snapshots: HashSet::new(),
        waiting: HashMap::new(),
        objects: HashSet::new(),
        purged: contents.purged.iter().map(ObjectId::key).collect(),
        bytes: 0,
    };
    loop {
        let before = entries.offset();
        let Some(entry) = compute(|| entries.next_entry())? else {
            break;
        };
        match entry.name {
            Name::Release(number) if number == releases.len() + 1 && check.is_empty() => {
                releases.push(read_release(&mut entries)?);
            }
            Name::Readme | Name::Repo | Name::Release(_) => return Err(entries.damaged("an entry is out of place")),
            _ => compute(|| check.record(&mut entries, entry))?,
        }
        progress.inc(entries.offset() - before);
    }
    check.finish(&entries, contents, releases)
}

/// Reads what every file begins with.
pub(super) fn read_contents<R: std::io::Read>(entries: &mut Entries<R>) -> Result<Contents, TransferError> {
    let mut is_named =
        |name: &Name| Ok::<_, TransferError>(entries.next_entry()?.is_some_and(|entry| entry.name == *name));
    if !is_named(&Name::Readme)? || !is_named(&Name::Repo)? {
        return Err(entries.damaged("it does not begin as an export does"));
    }
    let contents: Contents = serde_json::from_slice(&entries.whole()?)
        .map_err(|error| entries.damaged(&format!("repo.json cannot be read: {error}")))?;
    if contents.format != FORMAT || contents.version != VERSION {
        return Err(TransferError::Refused(format!(
            "this is {} version {}, and this musehub reads {FORMAT} version {VERSION}",
            contents.format, contents.version
        )));
    }
    Ok(contents)
}

struct Check {
    strict: bool,
    commits: Vec<(CommitId, Vec<CommitId>)>,
    seen: HashSet<CommitId>,
    snapshots: HashSet<SnapshotId>,
    /// The objects of snapshots that no commit has named yet, as far as they were not there when the snapshot came.
    waiting: HashMap<SnapshotId, Vec<ObjectKey>>,
    objects: HashSet<ObjectKey>,
    /// Purged objects, which may be missing.
    purged: HashSet<ObjectKey>,
    bytes: u64,
}

impl Check {
    fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.snapshots.is_empty() && self.objects.is_empty()
    }

    fn record<R: std::io::Read>(&mut self, entries: &mut Entries<R>, entry: Entry) -> Result<(), TransferError> {
        match entry.name {
            Name::Object(key) => {
                let mut hash = Sha256::new();
                while let Some(piece) = entries.piece()? {
                    hash.update(&piece);
                }
                if self.strict && key.as_ref().digest() != Some(&hash.finalize().into()) {
                    return Err(entries.damaged(&format!("object {} is not what its id says", key.as_ref())));
                }
                self.bytes += entry.size;
                if !self.objects.insert(key) {
                    return Err(entries.damaged("an object comes twice"));
                }
            }
            Name::Snapshot(id) => {
                let record = entries.whole()?;
                let snapshot: Snapshot<'_> = rmp_serde::from_slice(&record)
                    .map_err(|error| entries.damaged(&format!("snapshot {id} cannot be read: {error}")))?;
                if snapshot.snapshot_id != id
                    || snapshot.check(false).is_err()
                    || (self.strict && !snapshot.is_proved())
                {
                    return Err(entries.damaged(&format!("snapshot {id} is not what its id says")));
                }
                let named = snapshot.manifest.entries.iter().map(|(_, object)| ObjectId::key(object));
                let absent = named.filter(|key| !self.objects.contains(key) && !self.purged.contains(key)).collect();
                if !self.snapshots.insert(id.clone()) {
                    return Err(entries.damaged("a snapshot comes twice"));
                }
                self.waiting.insert(id, absent);
            }
            Name::Commit(id) => {
                let record = entries.whole()?;
                let commit: Commit = rmp_serde::from_slice(&record)
                    .map_err(|error| entries.damaged(&format!("commit {id} cannot be read: {error}")))?;
                if commit.id != id || (self.strict && !is_proved(&commit)) {
                    return Err(entries.damaged(&format!("commit {id} is not what its id says")));
                }
                self.refer(&commit).map_err(|reason| entries.damaged(&format!("commit {id} {reason}")))?;
                if !self.seen.insert(id.clone()) {
                    return Err(entries.damaged("a commit comes twice"));
                }
                self.commits.push((id, commit.parents));
            }
            Name::Readme | Name::Repo | Name::Release(_) => {}
        }
        Ok(())
    }

    /// Checks that what a commit names has come.
    fn refer(&mut self, commit: &Commit) -> Result<(), String> {
        if let Some(parent) = commit.parents.iter().find(|parent| self.strict && !self.seen.contains(*parent)) {
            return Err(format!("comes before its parent {parent}"));
        }
        let Some(snapshot) = &commit.snapshot else {
            return Ok(());
        };
        if self.strict && !self.snapshots.contains(snapshot) {
            return Err(format!("comes before its snapshot {snapshot}"));
        }
        let waiting = self.waiting.remove(snapshot).unwrap_or_default();
        match waiting.iter().find(|key| !self.objects.contains(key)) {
            Some(absent) => Err(format!("comes before the object {} of its snapshot", absent.as_ref())),
            None => Ok(()),
        }
    }

    fn finish<R: std::io::Read>(
        self,
        entries: &Entries<R>,
        contents: Contents,
        releases: Vec<Release>,
    ) -> Result<Verified, TransferError> {
        if releases.len() != contents.releases {
            return Err(entries.damaged("there are fewer releases than repo.json says"));
        }
        let names = Names {
            domain: contents.repo.domain.clone(),
            default_branch: contents.repo.default_branch.clone(),
            heads: contents.branches.clone(),
            tags: contents.tags.clone(),
            releases,
        };
        let needed = names.heads.values().chain(names.named().filter(|_| self.strict));
        if let Some(absent) = needed.into_iter().find(|id| !self.seen.contains(*id)) {
            return Err(entries.damaged(&format!("commit {absent} is named and is not there")));
        }
        let holds = Moved {
            commits: self.commits.len() as u64,
            snapshots: self.snapshots.len() as u64,
            objects: self.objects.len() as u64,
            bytes: self.bytes,
        };
        Ok(Verified { contents, names, commits: self.commits, holds })
    }
}

/// Whether a commit's id is its hash, as it is or as it was before the hub filled in what the pusher had left empty.
fn is_proved(commit: &Commit) -> bool {
    commit.is_proved_as_stored()
}
