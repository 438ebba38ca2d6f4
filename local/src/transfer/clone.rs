//! `musehub clone`: a repo into a folder, in parts, as a repository that `muse` goes on with.
//!
//! A stock client asks for all of a repo at once and gives up where the answer has more than 64 MiB. Here it comes in parts,
//! oldest commits first, each with all that belongs to it, into `.muse.partial` of the folder. What has arrived there is whole at
//! any time: an object is written before the snapshot that names it, that before its commit, and a commit after its parents.
//! So a clone that breaks off goes on behind its last commit. When all is there the files of the branch are written, and only
//! then the folder gets its name `.muse`: until then no client takes it for a repository.
//!
//! Nothing that comes is believed: every id is held against its content, and every path against the rules for paths.
//!
//! With a depth only the newest commits come, in one part. The file `.muse/shallow` then has the ids of the parents that are not there,
//! one a line, as Git's has; another run in the folder fetches the rest. Clients know nothing of that file: they name every
//! commit that they have, and a hub takes it that they have all that those reach. What is new on the branch reaches them well;
//! of a branch that parted behind the cut they would get too little, so the rest has to be fetched first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use client::Remote;
use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::commit::Commit;
use common::wire::names::{check_beside, check_branch};
use common::wire::record::Snapshot;
use common::wire::request::RefsResponse;
use common::wire::value::Value;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::ambient::Ambient;
use store::compute;

use super::source::{Destination, Source};
use super::{Moved, Names, TransferError};
use crate::lock;

/// The folder of a repository, which clients look for.
const MUSE: &str = ".muse";
/// Its name until all is there.
const PARTIAL: &str = ".muse.partial";
/// What it was begun with.
const BEGUN: &str = "clone.json";
/// The snapshot whose files are being written.
const CHECKING_OUT: &str = "checkout";
/// Where history is cut off.
const SHALLOW: &str = "shallow";
/// The remote that a client asks unless another is named.
const ORIGIN: &str = "origin";
/// What clients write into `repo.json`; they do not look at it.
const SCHEMA_VERSION: &str = "0.1.5";
/// The domain of a repo that has none, to a client.
const NO_DOMAIN: &str = "midi";

/// What of a repo is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The one branch; else all.
    pub branch: Option<String>,
    /// How many commits on each way back from a head; else all.
    pub depth: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Cloned {
    /// What came out of the hub.
    pub fetched: Moved,
    /// The branch whose files are in the folder; none if the folder was a repository before.
    pub branch: Option<String>,
    /// Branches that no file can be called by, so that they were left out.
    pub left_out: Vec<String>,
    /// How many commits are named and not there, because a depth has cut them off.
    pub cut: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    url: String,
    #[serde(flatten)]
    wanted: Wanted,
}

/// Brings a repo into a folder that is new or empty, or that an earlier run has begun; or the rest of it into one whose history is
/// cut off.
///
/// # Errors
/// When the folder is something else, and when the hub refuses, does not answer, or sends what is not what its id says: running
/// it again then goes on.
pub async fn clone(
    from: &Remote,
    url: &str,
    folder: &Path,
    wanted: Wanted,
    progress: &ProgressBar,
) -> Result<Cloned, TransferError> {
    let muse = folder.join(MUSE);
    if muse.exists() {
        return deepen(from, &muse, &wanted, progress).await;
    }
    let missing = || TransferError::Refused(format!("there is no repository {from}, or it takes a token to read it"));
    let refs = from.refs().await?.ok_or_else(missing)?;
    let (heads, left_out) = choose(from, &refs, wanted.branch.as_deref())?;
    let depth = wanted.depth;
    let partial = folder.join(PARTIAL);
    let lock = begin(folder, &partial, &Begun { url: url.to_owned(), wanted })?;

    let mut to = Arriving::new(from, &partial, depth.is_some(), progress);
    let had = there(&partial)?;
    let default = default_of(&refs, &heads);
    let names = Names { default_branch: default.clone(), heads, ..Names::default() };
    let mut source = Source { from, have: had.tips(), fetched: Moved::default(), progress };
    match depth {
        Some(depth) => {
            let want: HashSet<&CommitId> = names.heads.values().collect();
            let want: Vec<CommitId> = want.into_iter().cloned().collect();
            source.bring_newest(&want, depth, &mut to).await?;
        }
        None => {
            let commits = source.new_commits(&names, &had.commits).await?;
            source.bring(&commits, &mut to).await?;
        }
    }

    let there = there(&partial)?;
    if let Some((branch, head)) = names.heads.iter().find(|(_, head)| !there.commits.contains(*head)) {
        return Err(from.broken(format!("it did not send {head}, the head of the branch '{branch}'")).into());
    }
    let head = names.heads.get(&default).ok_or_else(missing)?;
    compute(|| {
        check_out(folder, &partial, head)?;
        describe(&partial, url, &refs, &names)?;
        write_cut(&partial, &there.cut)
    })?;
    drop(lock);
    fs::rename(&partial, &muse).map_err(TransferError::file("rename", &partial))?;
    for left in [BEGUN, CHECKING_OUT] {
        remove(&muse.join(left))?;
    }
    Ok(Cloned { fetched: source.fetched, branch: Some(default), left_out, cut: there.cut.len() })
}

/// Fetches what a depth has cut off.
async fn deepen(from: &Remote, muse: &Path, wanted: &Wanted, progress: &ProgressBar) -> Result<Cloned, TransferError> {
    let shallow = muse.join(SHALLOW);
    let text = match fs::read_to_string(&shallow) {
        Ok(text) if wanted.branch.is_none() => text,
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(TransferError::file("read", &shallow)(error)),
        _ => {
            return Err(TransferError::Refused(format!(
                "{} is there already: 'muse pull' goes on with it, and a new clone takes another folder",
                muse.display()
            )));
        }
    };
    let lock = locked(&shallow)?;
    let bad = |reason| TransferError::Damaged(format!("{}: {reason}", shallow.display()));
    let want: Vec<CommitId> = text.lines().map(str::parse).collect::<Result<_, _>>().map_err(bad)?;
    let mut to = Arriving::new(from, muse, wanted.depth.is_some(), progress);
    let mut source = Source { from, have: Vec::new(), fetched: Moved::default(), progress };
    match wanted.depth {
        Some(depth) => source.bring_newest(&want, depth, &mut to).await?,
        None => {
            let heads: BTreeMap<String, CommitId> = want.into_iter().map(|id| (id.to_string(), id)).collect();
            let names = Names { heads, ..Names::default() };
            let commits = source.new_commits(&names, &HashSet::new()).await?;
            source.bring(&commits, &mut to).await?;
        }
    }
    let there = there(muse)?;
    drop(lock);
    write_cut(muse, &there.cut)?;
    Ok(Cloned { fetched: source.fetched, cut: there.cut.len(), ..Cloned::default() })
}

/// The branches that are wanted, and those that are left out because clients keep branches as files.
fn choose(
    from: &Remote,
    refs: &RefsResponse<'_>,
    branch: Option<&str>,
) -> Result<(BTreeMap<String, CommitId>, Vec<String>), TransferError> {
    if let Some(branch) = branch {
        let head = refs.branch_heads.get(branch);
        let head = head.ok_or_else(|| TransferError::Refused(format!("{from} has no branch '{branch}'")))?;
        check_branch("branch", branch)?;
        return Ok((BTreeMap::from([(branch.to_owned(), head.clone())]), Vec::new()));
    }
    if refs.branch_heads.is_empty() {
        return Err(TransferError::Refused(format!("{from} has no branches yet: push one first")));
    }
    let (mut heads, mut left_out) = (BTreeMap::<String, CommitId>::new(), Vec::new());
    // The default branch goes before one that it cannot be beside.
    let is_default = |name: &&String| **name == refs.default_branch;
    let names = || refs.branch_heads.keys();
    for name in names().filter(is_default).chain(names().filter(|name| !is_default(name))) {
        let can_be = check_branch("branch", name)
            .is_ok_and(|branch| check_beside(&branch, heads.keys().map(String::as_str)).is_ok());
        match refs.branch_heads.get(name).filter(|_| can_be) {
            Some(head) => drop(heads.insert(name.clone(), head.clone())),
            None => left_out.push(name.clone()),
        }
    }
    if heads.is_empty() {
        return Err(TransferError::Refused(format!("no branch of {from} can be a file: {}", left_out.join(", "))));
    }
    Ok((heads, left_out))
}

fn default_of(refs: &RefsResponse<'_>, heads: &BTreeMap<String, CommitId>) -> String {
    let default = Some(&*refs.default_branch).filter(|name| heads.contains_key(*name));
    default.or_else(|| heads.keys().next().map(String::as_str)).unwrap_or_default().to_owned()
}

/// Makes the folder, or finds what an earlier run has left there. No other run writes into it as long as the file stays open.
fn begin(folder: &Path, partial: &Path, begun: &Begun) -> Result<File, TransferError> {
    let file = partial.join(BEGUN);
    if !partial.exists() {
        let is_empty = match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(TransferError::file("read", folder)(error)),
        };
        if !is_empty {
            return Err(TransferError::Refused(format!("{} is not empty: name another folder", folder.display())));
        }
        fs::create_dir_all(partial).map_err(TransferError::file("make", partial))?;
    }
    match fs::read(&file) {
        Ok(before) => {
            if serde_json::from_slice::<Begun>(&before).ok().as_ref() != Some(begun) {
                return Err(TransferError::Refused(format!(
                    "another clone was begun in {}: finish it with the same words, or delete {}",
                    folder.display(),
                    partial.display()
                )));
            }
        }
        Err(_) => {
            let text = serde_json::to_vec(begun).map_err(common::wire::WireError::internal)?;
            fs::write(&file, text).map_err(TransferError::file("write", &file))?;
        }
    }
    locked(&file)
}

fn locked(path: &Path) -> Result<File, TransferError> {
    let file = File::open(path).map_err(TransferError::file("open", path))?;
    lock::take(&file)
        .map_err(|_| TransferError::Refused(format!("another musehub is at work on {}", path.display())))?;
    Ok(file)
}

fn remove(path: &Path) -> Result<(), TransferError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TransferError::file("delete", path)(error)),
        _ => Ok(()),
    }
}

/// The commits that a folder has.
#[derive(Default)]
struct There {
    commits: HashSet<CommitId>,
    /// Those that others name as their parents.
    parents: HashSet<CommitId>,
    /// Parents that are not there.
    cut: Vec<CommitId>,
}

impl There {
    /// Those that no other names as a parent.
    fn tips(&self) -> Vec<CommitId> {
        self.commits.iter().filter(|id| !self.parents.contains(*id)).cloned().collect()
    }
}

fn there(muse: &Path) -> Result<There, TransferError> {
    #[derive(Deserialize)]
    struct Parents {
        parent_commit_id: Option<CommitId>,
        parent2_commit_id: Option<CommitId>,
    }
    let folder = muse.join("commits");
    let mut there = There::default();
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(there),
        entries => entries.map_err(TransferError::file("read", &folder))?,
    };
    for entry in entries {
        let path = entry.map_err(TransferError::file("read", &folder))?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse().ok()) else {
            continue;
        };
        let text = fs::read(&path).map_err(TransferError::file("read", &path))?;
        let Parents { parent_commit_id, parent2_commit_id } = serde_json::from_slice(&text)
            .map_err(|error| TransferError::Damaged(format!("{} cannot be read: {error}", path.display())))?;
        there.parents.extend(parent_commit_id.into_iter().chain(parent2_commit_id));
        there.commits.insert(id);
    }
    there.cut = there.parents.difference(&there.commits).cloned().collect();
    there.cut.sort_unstable();
    Ok(there)
}

fn commit_path(muse: &Path, id: &CommitId) -> PathBuf {
    muse.join("commits").join(format!("{id}.json"))
}

fn snapshot_path(muse: &Path, id: &SnapshotId) -> PathBuf {
    muse.join("snapshots").join(format!("{id}.json"))
}

/// Where an object is: under its hash, the first two digits of which are a folder.
fn object_path(muse: &Path, key: &ObjectKey) -> Result<PathBuf, TransferError> {
    let digest = key.as_ref().digest().map(hex::encode);
    match digest.as_deref().and_then(|digest| digest.split_at_checked(2)) {
        Some((folder, name)) => Ok(muse.join("objects").join(folder).join(name)),
        None => {
            Err(TransferError::Damaged(format!("the object id {} is no hash, and no client takes it", key.as_ref())))
        }
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), TransferError> {
    let mut incoming = incoming(path)?;
    incoming.write_all(bytes).map_err(TransferError::file("write", path))?;
    keep(incoming, path)
}

/// A file without a name beside the one that it is to be.
fn incoming(path: &Path) -> Result<tempfile::NamedTempFile, TransferError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(TransferError::file("make", folder))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".incoming-");
    // With the rights of any file that is made here: a temporary one is for its owner alone.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(TransferError::file("write", path))
}

fn keep(incoming: tempfile::NamedTempFile, path: &Path) -> Result<(), TransferError> {
    incoming.persist(path).map_err(|error| TransferError::file("write", path)(error.error))?;
    Ok(())
}

/// A record as clients keep it.
fn write_record(path: &Path, record: &[u8]) -> Result<(), TransferError> {
    let value: Value = rmp_serde::from_slice(record).map_err(common::wire::WireError::internal)?;
    let mut text = serde_json::to_vec_pretty(&value).map_err(common::wire::WireError::internal)?;
    text.push(b'\n');
    write(path, &text)
}

/// A repository on its way into a folder.
struct Arriving<'a> {
    from: &'a Remote,
    muse: &'a Path,
    /// Whether commits may come without their parents.
    is_cut: bool,
    /// Objects that are there, as far as that was looked at.
    there: HashSet<ObjectKey>,
    lacking: HashSet<ObjectKey>,
    /// Those that were purged, and come from nowhere.
    purged: HashSet<ObjectKey>,
    /// Snapshots that no commit has named yet.
    waiting: HashMap<SnapshotId, Bytes>,
    progress: &'a ProgressBar,
}

impl<'a> Arriving<'a> {
    fn new(from: &'a Remote, muse: &'a Path, is_cut: bool, progress: &'a ProgressBar) -> Self {
        let (there, lacking, purged) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self { from, muse, is_cut, there, lacking, purged, waiting: HashMap::new(), progress }
    }

    fn note(&mut self, key: ObjectKey, size: u64) {
        self.lacking.remove(&key);
        self.there.insert(key);
        self.progress.inc(size);
    }

    fn forged(&self, what: &str) -> TransferError {
        self.from.broken(format!("{what} is not what its id says")).into()
    }

    /// Writes the snapshot of a commit, all of whose objects have come.
    fn keep_snapshot(&mut self, id: &SnapshotId) -> Result<(), TransferError> {
        let path = snapshot_path(self.muse, id);
        let Some(record) = self.waiting.remove(id) else {
            if path.exists() {
                return Ok(());
            }
            return Err(self.from.broken(format!("it did not send snapshot {id}")).into());
        };
        let snapshot = read_snapshot(&record)?;
        let mut named = snapshot.manifest.entries.iter().map(|(_, object)| ObjectId::key(object));
        if let Some(key) = named.find(|key| !self.there.contains(key) && !self.purged.contains(key)) {
            return Err(self.from.broken(format!("it did not send object {} of snapshot {id}", key.as_ref())).into());
        }
        write_record(&path, &record)
    }
}

fn read_snapshot(record: &[u8]) -> Result<Snapshot<'_>, TransferError> {
    rmp_serde::from_slice(record).map_err(|error| TransferError::Damaged(format!("a snapshot cannot be read: {error}")))
}

impl Destination for Arriving<'_> {
    fn snapshot(&mut self, record: Bytes) -> Result<(), TransferError> {
        let snapshot = read_snapshot(&record)?;
        if !compute(|| snapshot.is_proved()) {
            return Err(self.forged(&format!("snapshot {}", snapshot.snapshot_id)));
        }
        for (_, object) in &snapshot.manifest.entries {
            let key = object.key();
            if self.there.contains(&key) || self.lacking.contains(&key) || self.purged.contains(&key) {
                continue;
            }
            if object_path(self.muse, &key)?.exists() {
                self.there.insert(key);
            } else {
                self.lacking.insert(key);
            }
        }
        let id = snapshot.snapshot_id.clone();
        self.waiting.insert(id, record);
        Ok(())
    }

    async fn lacks(&mut self, key: &ObjectKey) -> Result<bool, TransferError> {
        Ok(self.lacking.contains(key))
    }

    async fn lacking(&mut self) -> Result<Vec<ObjectKey>, TransferError> {
        Ok(self.lacking.iter().cloned().collect())
    }

    async fn small(&mut self, key: ObjectKey, content: Bytes) -> Result<(), TransferError> {
        let path = object_path(self.muse, &key)?;
        if key.as_ref().digest() != Some(&compute(|| Sha256::digest(&content)).into()) {
            return Err(self.forged(&format!("object {}", key.as_ref())));
        }
        compute(|| write(&path, &content))?;
        self.note(key, content.len() as u64);
        Ok(())
    }

    async fn large(
        &mut self,
        key: ObjectKey,
        size: u64,
        mut next: impl AsyncFnMut() -> Result<Option<Bytes>, TransferError>,
    ) -> Result<(), TransferError> {
        let path = object_path(self.muse, &key)?;
        let mut incoming = incoming(&path)?;
        let mut hash = Sha256::new();
        while let Some(piece) = next().await? {
            compute(|| {
                hash.update(&piece);
                incoming.write_all(&piece)
            })
            .map_err(TransferError::file("write", &path))?;
        }
        if key.as_ref().digest() != Some(&hash.finalize().into()) {
            return Err(self.forged(&format!("object {}", key.as_ref())));
        }
        keep(incoming, &path)?;
        self.note(key, size);
        Ok(())
    }

    async fn purged(&mut self, objects: &[ObjectId]) -> Result<(), TransferError> {
        for id in objects {
            self.lacking.remove(&id.key());
            self.purged.insert(id.key());
        }
        Ok(())
    }

    async fn commit(&mut self, record: Bytes) -> Result<(), TransferError> {
        let commit: Commit = rmp_serde::from_slice(&record)
            .map_err(|error| TransferError::Damaged(format!("a commit cannot be read: {error}")))?;
        let path = commit_path(self.muse, &commit.id);
        if !commit.is_proved_as_stored() {
            return Err(self.forged(&format!("commit {}", commit.id)));
        }
        if path.exists() {
            return Ok(());
        }
        let is_there = |id: &CommitId| commit_path(self.muse, id).exists();
        if let Some(parent) = commit.parents.iter().find(|id| !self.is_cut && !is_there(id)) {
            return Err(self.from.broken(format!("commit {} came before its parent {parent}", commit.id)).into());
        }
        compute(|| {
            if let Some(snapshot) = &commit.snapshot {
                self.keep_snapshot(snapshot)?;
            }
            write_record(&path, &record)
        })
    }

    async fn flush(&mut self) -> Result<(), TransferError> {
        // Snapshots that no commit has named were not asked for.
        self.waiting.clear();
        self.lacking.clear();
        Ok(())
    }
}

/// A snapshot as it was kept.
#[derive(Deserialize)]
struct Kept {
    manifest: BTreeMap<String, ObjectId>,
}

fn kept(muse: &Path, id: &SnapshotId) -> Result<(Vec<u8>, Kept), TransferError> {
    let path = snapshot_path(muse, id);
    let text = fs::read(&path).map_err(TransferError::file("read", &path))?;
    let kept = serde_json::from_slice(&text)
        .map_err(|error| TransferError::Damaged(format!("{} cannot be read: {error}", path.display())))?;
    Ok((text, kept))
}

/// Writes the files of a commit. Those that an earlier run has written of another commit go.
fn check_out(folder: &Path, muse: &Path, head: &CommitId) -> Result<(), TransferError> {
    let path = commit_path(muse, head);
    let text = fs::read(&path).map_err(TransferError::file("read", &path))?;
    let commit: Commit = serde_json::from_slice(&text)
        .map_err(|error| TransferError::Damaged(format!("{} cannot be read: {error}", path.display())))?;
    let Some(snapshot) = &commit.snapshot else {
        return Ok(());
    };
    let (text, Kept { manifest }) = kept(muse, snapshot)?;
    let read: Snapshot<'_> = serde_json::from_slice(&text).map_err(common::wire::WireError::internal)?;
    // Older hubs took paths that are none.
    read.check(true)?;
    if let Some(path) = manifest.keys().find(|path| is_partial(path)) {
        return Err(TransferError::Refused(format!("the path '{path}' is where a clone is kept until it is whole")));
    }

    let checking_out = muse.join(CHECKING_OUT);
    if let Ok(before) = fs::read_to_string(&checking_out)
        && let Ok(before) = before.parse::<SnapshotId>()
        && before != *snapshot
    {
        let (_, before) = kept(muse, &before)?;
        for path in before.manifest.keys().filter(|path| !manifest.contains_key(*path) && !is_partial(path)) {
            remove(&folder.join(path))?;
        }
    }
    write(&checking_out, snapshot.to_string().as_bytes())?;
    for (path, object) in &manifest {
        let (file, content) = (folder.join(path), object_path(muse, &object.key())?);
        // An object is written before the snapshot that names it, but for one that was purged. Clients leave such a file out too.
        if !content.exists() {
            continue;
        }
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(TransferError::file("make", parent))?;
        }
        fs::copy(content, &file).map_err(TransferError::file("write", &file))?;
    }
    Ok(())
}

/// Whether a path leads into the folder that the clone is in, for any system's way to compare names.
fn is_partial(path: &str) -> bool {
    let first = path.split(['/', '\\']).next().unwrap_or_default();
    let letters = first.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    letters.eq(PARTIAL.chars().filter(char::is_ascii_alphanumeric))
}

/// Writes what makes a repository of commits: what it is, its branches, and where it is from.
fn describe(muse: &Path, url: &str, refs: &RefsResponse<'_>, names: &Names) -> Result<(), TransferError> {
    #[derive(Serialize)]
    struct About<'a> {
        repo_id: &'a str,
        schema_version: &'a str,
        created_at: String,
        domain: &'a str,
    }
    let about = About {
        repo_id: &refs.repo_id,
        schema_version: SCHEMA_VERSION,
        created_at: Ambient::system().now_iso(),
        domain: Some(&*refs.domain).filter(|domain| !domain.is_empty()).unwrap_or(NO_DOMAIN),
    };
    let mut text = serde_json::to_vec_pretty(&about).map_err(common::wire::WireError::internal)?;
    text.push(b'\n');
    write(&muse.join("repo.json"), &text)?;
    for (branch, head) in &names.heads {
        let head = head.to_string();
        write(&muse.join("refs").join("heads").join(branch), head.as_bytes())?;
        write(&muse.join("remotes").join(ORIGIN).join(branch), head.as_bytes())?;
    }
    let branch = &names.default_branch;
    write(&muse.join("HEAD"), format!("ref: refs/heads/{branch}\n").as_bytes())?;
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let config = format!("[remotes.{ORIGIN}]\nurl = \"{}\"\nbranch = \"{}\"\n", quoted(url), quoted(branch));
    write(&muse.join("config.toml"), config.as_bytes())
}

fn write_cut(muse: &Path, cut: &[CommitId]) -> Result<(), TransferError> {
    let path = muse.join(SHALLOW);
    if cut.is_empty() {
        return remove(&path);
    }
    let lines: String = cut.iter().map(|id| format!("{id}\n")).collect();
    write(&path, lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_into_the_unfinished_clone_is_known_by_any_name() {
        for path in
            [".muse.partial/HEAD", ".MUSE.Partial/a", ".muse.partial ", ".muse.partial./a", ".mu\u{200c}se.partial"]
        {
            assert!(is_partial(path), "{path}");
        }
        for path in ["muse/partial", ".muse.partials", "a/.muse.partial", "x"] {
            assert!(!is_partial(path), "{path}");
        }
    }
}
