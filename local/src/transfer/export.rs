//! `musehub export`: a repo, as it is at one moment, into one file.
//!
//! What the repo names is read first, and then all that it reaches. Commits never change, so later pushes do not get
//! in. An export that was interrupted goes on with the names that it began with, behind the last thing that is whole in
//! its file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use common::id::Ids;
use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::location::{KnownCommit, ObjectLocation, RecordLocation};
use common::wire;
use common::wire::domain::Domain;
use common::wire::record::Snapshot;
use common::wire::release::ReleaseFilter;
use common::wire::value::Value;
use indicatif::ProgressBar;
use service::Hub;
use service::Target;
use store::compute;
use store::read::view::View;
use store::repo::{Asker, Load, Repo};

use super::file::reader::Entries;
use super::file::writer::{Writer, part_of};
use super::file::{About, Contents, FORMAT, Name, README, VERSION, WrittenIds};
use super::{Moved, Names, Release, Tag, TransferError};

/// Commits of one step at most. Their new snapshots come together, so that neighbours compress together.
const STEP_COMMITS: usize = 1_000;
/// Raw bytes of commits and snapshots of one step; a single larger one makes a step of its own.
const STEP_BYTES: u64 = 16 << 20;

/// What came of an export.
#[derive(Debug, Clone, Copy)]
pub struct Exported {
    /// What the file holds.
    pub holds: Moved,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes that were there already from an earlier attempt.
    pub resumed: u64,
}

/// What is in the file already.
#[derive(Default)]
struct Had {
    contents: Option<Contents>,
    releases: Vec<Release>,
    commits: HashSet<CommitId>,
    snapshots: HashSet<SnapshotId>,
    objects: HashSet<ObjectKey>,
    bytes: u64,
}

/// Exports a repo of a hub whose stores are at hand.
///
/// # Errors
/// When there is a file of the name and it is not to be replaced, when there is no such repo, when something of it is damaged, and when the file system refuses. Running it again then
/// goes on with the file.
pub async fn export(
    hub: &Hub,
    target: &Target,
    path: &Path,
    replaces: bool,
    progress: &ProgressBar,
) -> Result<Exported, TransferError> {
    let owner = find(hub, target).await?;
    let mut had = Had::default();
    let mut file = Writer::open(path, replaces, |entries| recall(entries, target, &mut had))?;
    // What is read once is written before anything else: without all of it there is nothing to go on with.
    if had.contents.as_ref().is_none_or(|contents| had.releases.len() < contents.releases) {
        file.restart()?;
        had = Had::default();
    }
    let resumed = file.stored();

    let (repo, current) = read_names(hub, target, &owner).await?;
    let (id, user) = (repo.id.clone(), owner.as_str());
    let listed: Vec<ObjectId>;
    let names = match had.contents.take() {
        Some(begun) if begun.repo.repo_id != id.as_str() => {
            let part = part_of(path);
            let part = part.display();
            return Err(TransferError::Refused(format!("{part} is of another repository of this name: delete it")));
        }
        Some(begun) => {
            listed = begun.purged;
            Names {
                domain: begun.repo.domain,
                default_branch: begun.repo.default_branch,
                heads: begun.branches,
                tags: begun.tags,
                releases: std::mem::take(&mut had.releases),
            }
        }
        None => {
            let purged = hub.store.list_purged(&repo.id).await?.into_keys().map(|key| key.spelled(false)).collect();
            let contents = describe(hub, &repo, &current, purged);
            file.entry(&Name::Readme, README.as_bytes())?;
            let json = serde_json::to_vec_pretty(&contents).map_err(wire::WireError::internal)?;
            file.entry(&Name::Repo, &json)?;
            for (position, release) in current.releases.iter().enumerate() {
                file.entry(&Name::Release(position + 1), &release.record)?;
            }
            listed = contents.purged;
            current
        }
    };

    // After the names, so that all that they name is in it.
    let found = hub.store.repo(&id, Asker::user(user), Load::HISTORY).await?;
    let view = hub.store.view(&found.ok_or_else(|| missing(target))?);
    if view.purged().len() > listed.len() {
        let part = part_of(path);
        let part = part.display();
        return Err(TransferError::Refused(format!(
            "objects were purged since the export began: delete {part}, and export again"
        )));
    }
    let mut export = Export { hub, repo: &id, view: &view, file, had, progress };
    for step in export.steps(&names).await? {
        export.step(&step).await?;
    }
    let holds = export.holds();
    let size = compute(|| export.file.finish())?;
    Ok(Exported { holds, size, resumed })
}

fn missing(target: &Target) -> TransferError {
    TransferError::Refused(format!("there is no repository {target} here"))
}

/// The user that owns the repo: who reaches the stores may do what that one may.
pub(super) async fn find(hub: &Hub, target: &Target) -> Result<String, TransferError> {
    let owner: Option<String> = hub.store.user_of_handle(&target.owner).await?;
    owner.ok_or_else(|| missing(target))
}

async fn read_names(hub: &Hub, target: &Target, user: &str) -> Result<(Repo, Names), TransferError> {
    let Target { owner, slug } = target;
    let found = hub.store.find_readable_repo(owner, slug, Asker::user(user), Load::HEADS).await?;
    let repo = found.map_err(|_| missing(target))?;
    let tags = hub.store.tags(&repo.id).await?;
    let tags = tags.into_iter().map(|(tag, item)| Tag {
        tag,
        commit_id: item.commit_id,
        tag_id: item.tag_id,
        repo_id: item.repo_id,
        created_at: item.created_at,
    });
    let all = ReleaseFilter { channel: None, include_drafts: true };
    let releases = hub.store.releases(&repo.id, all).await?;
    let names = Names {
        domain: Domain::of_stored(&repo.meta.domain).as_str().to_owned(),
        default_branch: repo.meta.shown_default(&repo.heads).to_owned(),
        heads: repo.heads.clone(),
        tags: tags.collect(),
        releases: releases
            .iter()
            .map(|release| Release::read(&release.value()?))
            .collect::<Result<_, TransferError>>()?,
    };
    Ok((repo, names))
}

fn describe(hub: &Hub, repo: &Repo, names: &Names, purged: Vec<ObjectId>) -> Contents {
    let meta = &repo.meta;
    Contents {
        format: FORMAT.to_owned(),
        version: VERSION,
        exported_at: hub.store.ambient().now_iso(),
        ids: if hub.settings.ids == Ids::Strict { WrittenIds::Strict } else { WrittenIds::Lenient },
        repo: About {
            repo_id: repo.id.to_string(),
            owner: meta.owner.to_string(),
            slug: meta.slug.to_string(),
            name: meta.name.clone(),
            description: meta.description.clone(),
            domain: names.domain.clone(),
            visibility: meta.visibility,
            default_branch: names.default_branch.clone(),
            created_at: meta.created_at.clone(),
        },
        branches: names.heads.clone(),
        tags: names.tags.clone(),
        releases: names.releases.len(),
        purged,
    }
}

/// Reads what an earlier attempt has written, as far as it will be kept.
fn recall(entries: &mut Entries<&std::fs::File>, target: &Target, had: &mut Had) -> Result<(), TransferError> {
    let mut uncertain: Vec<(Name, u64)> = Vec::new();
    let (mut contents, mut releases) = (None, Vec::new());
    loop {
        let kept = entries.kept_bytes();
        let next = entries.next_entry();
        // What came before this entry is kept if a frame ends there.
        if entries.kept_bytes() > kept {
            had.contents = had.contents.take().or_else(|| contents.take());
            had.releases.append(&mut releases);
            for (name, size) in uncertain.drain(..) {
                had.note(name, size);
            }
        }
        let Some(entry) = next? else {
            return Ok(());
        };
        if entry.name == Name::Repo {
            let read: Contents =
                serde_json::from_slice(&entries.whole()?).map_err(|_| entries.damaged("repo.json cannot be read"))?;
            if read.repo.owner != target.owner.as_str() || read.repo.slug != target.slug.as_str() {
                return Err(TransferError::Refused(format!(
                    "the export that was begun in this file is of {}/{}: choose another file, or delete the one ending in .part",
                    read.repo.owner, read.repo.slug
                )));
            }
            contents = Some(read);
        }
        if let Name::Release(_) = entry.name {
            releases.push(read_release(entries)?);
        }
        uncertain.push((entry.name, entry.size));
    }
}

/// The release that is the current entry of a file.
pub(super) fn read_release<R: std::io::Read>(entries: &mut Entries<R>) -> Result<Release, TransferError> {
    let record = entries.whole()?;
    let value: Value = rmp_serde::from_slice(&record).map_err(|_| entries.damaged("a release cannot be read"))?;
    Ok(Release { record: record.into(), ..Release::read(&value)? })
}

impl Had {
    fn note(&mut self, name: Name, size: u64) {
        match name {
            Name::Readme | Name::Repo | Name::Release(_) => {}
            Name::Snapshot(id) => drop(self.snapshots.insert(id)),
            Name::Commit(id) => drop(self.commits.insert(id)),
            Name::Object(key) => {
                self.bytes += size;
                self.objects.insert(key);
            }
        }
    }
}

/// Some commits that follow each other, and the snapshots that they bring.
struct Step {
    commits: Vec<(CommitId, RecordLocation)>,
    snapshots: Vec<RecordLocation>,
}

struct Export<'a> {
    hub: &'a Hub,
    repo: &'a common::id::RepoId,
    view: &'a View,
    file: Writer,
    had: Had,
    progress: &'a ProgressBar,
}

impl Export<'_> {
    /// What is to be written, in its order: the default branch's history, then the rest, parents first.
    async fn steps(&self, names: &Names) -> Result<Vec<Step>, TransferError> {
        let lost = |id: &CommitId| TransferError::Damaged(format!("commit {id} is named and is in no pack"));
        let present = self.view.present_commits(names.heads.values()).await?;
        // A lenient hub takes tags and releases of commits that it does not have.
        if let Some(id) = names.heads.values().find(|id| !present.contains(id)) {
            return Err(lost(id));
        }
        let first: Vec<CommitId> = names.heads.get(&names.default_branch).cloned().into_iter().collect();
        let all: Vec<CommitId> = names.heads.values().chain(names.named()).cloned().collect();
        let mut history = self.view.history();
        let mut ordered = history.difference(&first, &HashSet::new()).await?.commits;
        ordered.extend(history.difference(&all, &first.into_iter().collect()).await?.commits);
        let places = self.snapshot_places(&ordered).await?;

        let mut steps = Vec::new();
        let mut step = Step { commits: Vec::new(), snapshots: Vec::new() };
        let mut taken: HashSet<SnapshotId> = HashSet::new();
        let mut bytes = 0;
        for (id, entry) in ordered {
            if self.had.commits.contains(&id) {
                continue;
            }
            let snapshot = match &entry.snapshot {
                // What is written already is whole only if a commit that names it is.
                Some(snapshot) if taken.insert(snapshot.clone()) => match places.get(snapshot) {
                    Some(place) => Some(*place),
                    None if self.hub.settings.ids == Ids::Lenient => None,
                    None => return Err(TransferError::Damaged(format!("snapshot {snapshot} is in no pack"))),
                },
                _ => None,
            };
            let more = u64::from(entry.place.length) + snapshot.map_or(0, |place| u64::from(place.length));
            if !step.commits.is_empty() && (bytes + more > STEP_BYTES || step.commits.len() == STEP_COMMITS) {
                steps.push(std::mem::replace(&mut step, Step { commits: Vec::new(), snapshots: Vec::new() }));
                bytes = 0;
            }
            bytes += more;
            step.commits.push((id, entry.place));
            step.snapshots.extend(snapshot);
        }
        if !step.commits.is_empty() {
            steps.push(step);
        }
        Ok(steps)
    }

    /// Where the snapshots of commits lie.
    async fn snapshot_places(
        &self,
        commits: &[(CommitId, KnownCommit)],
    ) -> Result<HashMap<SnapshotId, RecordLocation>, TransferError> {
        let ids: HashSet<&SnapshotId> = commits.iter().filter_map(|(_, commit)| commit.snapshot.as_ref()).collect();
        let found = self.view.snapshots(ids).await?;
        Ok(found.into_iter().map(|(id, snapshot)| (id, snapshot.place)).collect())
    }

    /// Writes the snapshots of a step, the objects that are new in them, and its commits.
    async fn step(&mut self, step: &Step) -> Result<(), TransferError> {
        let store = &self.hub.store;
        let mut places = step.snapshots.clone();
        places.sort_unstable();
        let mut records = store.read_places(self.repo, self.view, &places).await?;
        let mut wanted: HashSet<ObjectKey> = HashSet::new();
        while let Some(record) = records.next().await? {
            let snapshot: Snapshot<'_> = rmp_serde::from_slice(&record)
                .map_err(|error| TransferError::Damaged(format!("a snapshot cannot be read: {error}")))?;
            for (_, object) in &snapshot.manifest.entries {
                let key = object.key();
                if !self.had.objects.contains(&key) && !self.view.purged().has(&key) {
                    wanted.insert(key);
                }
            }
            let id = snapshot.snapshot_id.clone();
            if self.had.snapshots.insert(id.clone()) {
                self.check(&id, snapshot.is_proved(), "snapshot")?;
                compute(|| self.file.entry(&Name::Snapshot(id), &record))?;
            }
        }

        let known = self.view.objects(&wanted).await?;
        let (mut packed, mut large) = (Vec::new(), Vec::new());
        for key in wanted {
            match known.get(&key).map(|object| object.place) {
                Some(ObjectLocation::Packed(place)) => packed.push((place, key)),
                Some(ObjectLocation::Large(place)) => large.push((place, key)),
                None => return Err(TransferError::Damaged(format!("object {} is in no pack", key.as_ref()))),
            }
        }
        packed.sort_unstable();
        large.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
        let places: Vec<RecordLocation> = packed.iter().map(|(place, _)| *place).collect();
        let mut records = store.read_places(self.repo, self.view, &places).await?;
        for (_, key) in packed {
            let content =
                records.next().await?.ok_or_else(|| TransferError::Damaged("an object is missing".to_owned()))?;
            let is_proved = compute(|| common::id::ObjectId::of(&content).key() == key);
            self.check(key.as_ref(), is_proved, "object")?;
            compute(|| self.file.entry(&Name::Object(key.clone()), &content))?;
            self.note_object(key, content.len() as u64);
        }
        for (place, key) in large {
            // It is hashed on the way.
            let mut reader = store.read_large(self.repo, &key, &place, 0..place.size);
            compute(|| self.file.begin(&Name::Object(key.clone()), place.size))?;
            while let Some(bytes) = reader.next().await? {
                compute(|| self.file.content(&bytes))?;
                self.progress.inc(bytes.len() as u64);
            }
            compute(|| self.file.end())?;
            self.note_object(key, place.size);
        }

        let places: Vec<RecordLocation> = step.commits.iter().map(|(_, place)| *place).collect();
        let mut records = store.read_places(self.repo, self.view, &places).await?;
        for (id, _) in &step.commits {
            let record =
                records.next().await?.ok_or_else(|| TransferError::Damaged("a commit is missing".to_owned()))?;
            compute(|| self.file.entry(&Name::Commit(id.clone()), &record))?;
            self.had.commits.insert(id.clone());
        }
        self.progress.set_message(format!("{} commits, {} objects", self.had.commits.len(), self.had.objects.len()));
        Ok(())
    }

    fn note_object(&mut self, key: ObjectKey, size: u64) {
        self.had.bytes += size;
        self.progress.inc(size);
        self.had.objects.insert(key);
    }

    fn check(&self, id: &(impl std::fmt::Display + ?Sized), is_proved: bool, kind: &str) -> Result<(), TransferError> {
        if is_proved || self.hub.settings.ids == Ids::Lenient {
            return Ok(());
        }
        Err(TransferError::Damaged(format!(
            "{kind} {id} is not what its id says; if the hub takes any ids, say --ids lenient"
        )))
    }

    fn holds(&self) -> Moved {
        Moved {
            commits: self.had.commits.len() as u64,
            snapshots: self.had.snapshots.len() as u64,
            objects: self.had.objects.len() as u64,
            bytes: self.had.bytes,
        }
    }
}
