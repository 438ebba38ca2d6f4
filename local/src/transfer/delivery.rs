//! Brings records into a repo by pushing them, as any client does: so the hub checks every id and every reference, and a
//! branch moves at its one commit point.
//!
//! Records come so that nothing names what comes later. Objects that the repo lacks go first; commits go with their
//! snapshots, some thousand at a time. On the way a branch is moved along the first parents of its head to be. So a
//! reader sees an older state of it and never half of one. What is delivered stays delivered: if it breaks off, doing
//! it all again sends what is missing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use client::remote::flowing;
use client::{Endpoint, Remote};
use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::commit::Commit;
use common::wire::limits::{MAX_FILTER_OBJECTS, MAX_INLINE_OBJECT, MAX_OBJECTS, MAX_PURGED_AT_ONCE};
use common::wire::record::{Object, Snapshot};
use common::wire::request::{Bundle, PostedTag, PushObjectsRequest, PushRequest, TagsRequest};
use common::wire::{Bounded, Sent, Text};
use indicatif::ProgressBar;

use super::source::{Destination, whole};
use super::{Moved, Names, Release, Tag, TransferError};

/// Bytes of objects in one request, but for the last one.
const BATCH_BYTES: u64 = 24 << 20;
/// Commits in one push, and bytes of them and their snapshots, but for the last one.
const PUSH_COMMITS: usize = 5_000;
const PUSH_BYTES: usize = 32 << 20;
/// Bytes of snapshots that wait for a commit to name them.
const MAX_WAITING: usize = 512 << 20;
/// Why an object is purged that comes from where it was.
const PURGED_AT_SOURCE: &str = "it was purged where the repository comes from";
/// Tags in one request.
const TAGS: usize = 1_000;

/// A repo on its way into another.
pub struct Delivery<'a> {
    to: &'a Remote,
    /// What the repo is to name.
    names: &'a Names,
    /// The heads that it has now.
    heads: BTreeMap<String, CommitId>,
    tags: HashMap<String, Tag>,
    releases: HashMap<String, Release>,
    /// Whether a branch may be put where it does not build on where it was, and a release be replaced.
    force: bool,
    /// For commits to come that a branch may stop at, the branch.
    stops: HashMap<CommitId, String>,
    /// The branches that may be moved on to their next stop.
    moving: HashSet<String>,

    /// Objects that the repo has, as far as that is known.
    there: HashSet<ObjectKey>,
    /// Those of the waiting snapshots that it lacks, each with a path.
    lacking: HashMap<ObjectKey, Box<str>>,
    /// The same, before the hub was asked.
    unasked: HashMap<ObjectKey, Box<str>>,
    /// Those that were purged, there too.
    purged: BTreeSet<ObjectKey>,
    objects: Vec<Object<'static>>,
    objects_bytes: u64,
    /// Snapshots that no commit has named yet.
    waiting: HashMap<SnapshotId, Bytes>,
    waiting_bytes: usize,
    snapshots: Vec<Bytes>,
    commits: Vec<Commit>,
    records_bytes: usize,
    sent: Moved,
    redated: u64,
    progress: &'a ProgressBar,
}

/// What came of a delivery.
#[derive(Debug, Clone, Default)]
pub struct Delivered {
    /// What was sent, because the repo lacked it.
    pub sent: Moved,
    /// The branches that moved at the end or on the way.
    pub branches: Vec<String>,
    /// How many tags were made or moved.
    pub tags: usize,
    /// How many releases were made or replaced.
    pub releases: usize,
    /// Commits whose time the hub has filled in again, because they were made without one.
    pub redated: u64,
}

impl<'a> Delivery<'a> {
    /// Begins to bring `names`, and all that they reach, into a repo that names `before` now. `commits` are those to come,
    /// with their parents.
    pub fn new(
        to: &'a Remote,
        names: &'a Names,
        before: Names,
        commits: &[(CommitId, Vec<CommitId>)],
        force: bool,
        progress: &'a ProgressBar,
    ) -> Self {
        let (stops, moving) = stops(names, &before.heads, commits);
        Self {
            to,
            names,
            heads: before.heads,
            tags: before.tags.into_iter().map(|tag| (tag.tag.to_string(), tag)).collect(),
            releases: before.releases.into_iter().map(|release| (release.tag.to_string(), release)).collect(),
            force,
            stops,
            moving,
            there: HashSet::new(),
            lacking: HashMap::new(),
            unasked: HashMap::new(),
            purged: BTreeSet::new(),
            objects: Vec::new(),
            objects_bytes: 0,
            waiting: HashMap::new(),
            waiting_bytes: 0,
            snapshots: Vec::new(),
            commits: Vec::new(),
            records_bytes: 0,
            sent: Moved::default(),
            redated: 0,
            progress,
        }
    }

    async fn ask(&mut self) -> Result<(), TransferError> {
        if !self.unasked.is_empty() {
            let unasked = std::mem::take(&mut self.unasked);
            let ids: Vec<ObjectId> = unasked.keys().map(|key| key.spelled(false)).collect();
            let mut missing = HashSet::new();
            for ids in ids.chunks(MAX_FILTER_OBJECTS) {
                missing.extend(self.to.missing(ids).await?);
            }
            for (key, path) in unasked {
                if missing.contains(&key) {
                    self.lacking.insert(key, path);
                } else {
                    self.there.insert(key);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, key: &ObjectKey, size: u64) {
        self.there.insert(key.clone());
        self.sent.objects += 1;
        self.sent.bytes += size;
        self.progress.inc(size);
    }

    async fn send_objects(&mut self) -> Result<(), TransferError> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let objects = std::mem::take(&mut self.objects).into();
        self.objects_bytes = 0;
        self.to.post(Endpoint::PushObjects, &PushObjectsRequest { objects }).await?;
        Ok(())
    }

    /// Passes over a commit that the repo has.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn skip(&mut self, record: &[u8]) -> Result<(), TransferError> {
        let commit: Commit = rmp_serde::from_slice(record)
            .map_err(|error| TransferError::Damaged(format!("a commit cannot be read: {error}")))?;
        if let Some(snapshot) = commit.snapshot.as_ref().and_then(|id| self.waiting.remove(id)) {
            self.waiting_bytes -= snapshot.len();
        }
        Ok(())
    }

    /// Which branch to push what has gathered with, and where that is to be then; none if nothing has.
    fn aim(&self) -> Option<(String, CommitId)> {
        let first = &self.commits.first()?.id;
        // The first branch that a repo ever has becomes its default branch.
        let default = self.names.branches().next().map(|(branch, _)| branch).filter(|_| self.heads.is_empty());
        let stop = self.commits.iter().rev().find_map(|Commit { id, .. }| {
            let branch = self.stops.get(id).filter(|branch| self.moving.contains(*branch))?;
            let may_come = default.is_none_or(|default| default == branch);
            may_come.then(|| (branch.clone(), id.clone()))
        });
        // Else some branch stays where it is, and the commits wait behind it, unseen: one that is to move, if it is there, for a
        // token may be for that one alone. Where there is none at all, the first commit is of the history of the default branch.
        let own = || self.names.heads.keys().find_map(|branch| self.heads.get_key_value(branch));
        let stay = || own().or_else(|| self.heads.iter().next()).map(|(branch, head)| (branch.clone(), head.clone()));
        let begin = || default.map(|branch| (branch.clone(), first.clone()));
        stop.or_else(stay).or_else(begin)
    }

    async fn push(
        &self,
        branch: &str,
        head: &CommitId,
        commits: Vec<Commit>,
        snapshots: &[Bytes],
        force: bool,
    ) -> Result<(), TransferError> {
        let snapshots: Vec<Snapshot<'_>> = snapshots.iter().map(|record| snapshot(record)).collect::<Result<_, _>>()?;
        let purged: Vec<ObjectId> = self.purged.iter().map(|key| key.spelled(false)).collect();
        let request = PushRequest {
            bundle: Bundle {
                commits: commits.into(),
                snapshots: snapshots.into(),
                objects: Bounded::default(),
                branch_heads: Some([(Text::from(branch), Some(head.to_string().into()))].into_iter().collect()),
            },
            branch: Sent(Some(branch.into())),
            force,
            expected_head: Sent(None),
            updates: None,
            purged: (!purged.is_empty()).then(|| purged.into()),
        };
        self.to.post(Endpoint::Push, &request).await?;
        Ok(())
    }

    /// Puts branches, tags and releases where they are to be.
    ///
    /// # Errors
    /// When the hub does not take it.
    pub async fn finish(mut self, before: &BTreeMap<String, CommitId>) -> Result<Delivered, TransferError> {
        self.flush().await?;
        for (branch, head) in self.names.branches() {
            if self.heads.get(branch) != Some(head) {
                self.push(branch, head, Vec::new(), &[], self.force).await?;
            }
        }
        let changed: Vec<&Tag> =
            self.names.tags.iter().filter(|tag| self.tags.get(tag.tag.as_str()) != Some(*tag)).collect();
        for tags in changed.chunks(TAGS) {
            let tags: Vec<PostedTag<'_>> = tags.iter().map(|tag| posted(tag)).collect();
            self.to.post(Endpoint::PostTags, &TagsRequest { tags: tags.into() }).await?;
        }
        let mut releases = 0;
        // Of two of one time the one posted later counts as newer.
        for release in self.names.releases.iter().rev() {
            match self.releases.get(release.tag.as_str()) {
                Some(there) if there.record == release.record => continue,
                Some(_) => drop(self.to.send(Endpoint::Release(release.tag.as_str()), Bytes::new()).await?),
                None => {}
            }
            self.to.send(Endpoint::PostRelease, release.record.clone().into()).await?;
            releases += 1;
        }
        let moved = self.names.heads.iter().filter(|(branch, head)| before.get(*branch) != Some(head));
        Ok(Delivered {
            sent: self.sent,
            branches: moved.map(|(branch, _)| branch.clone()).collect(),
            tags: changed.len(),
            releases,
            redated: self.redated,
        })
    }
}

impl Destination for Delivery<'_> {
    fn snapshot(&mut self, record: Bytes) -> Result<(), TransferError> {
        let snapshot = snapshot(&record)?;
        for (path, object) in &snapshot.manifest.entries {
            let key = object.key();
            if !self.there.contains(&key) && !self.lacking.contains_key(&key) {
                self.unasked.entry(key).or_insert_with(|| (&**path).into());
            }
        }
        let id = snapshot.snapshot_id.clone();
        self.waiting_bytes += record.len();
        if self.waiting_bytes > MAX_WAITING {
            return Err(TransferError::Damaged("too many snapshots come before their commits".to_owned()));
        }
        // One comes again when a fetch broke off.
        if let Some(before) = self.waiting.insert(id, record) {
            self.waiting_bytes -= before.len();
        }
        Ok(())
    }

    async fn lacks(&mut self, key: &ObjectKey) -> Result<bool, TransferError> {
        self.ask().await?;
        Ok(self.lacking.contains_key(key))
    }

    async fn lacking(&mut self) -> Result<Vec<ObjectKey>, TransferError> {
        self.ask().await?;
        Ok(self.lacking.keys().cloned().collect())
    }

    async fn small(&mut self, key: ObjectKey, content: Bytes) -> Result<(), TransferError> {
        let path = self.lacking.remove(&key).unwrap_or_default();
        self.note(&key, content.len() as u64);
        self.objects_bytes += content.len() as u64;
        let (object_id, path) = (key.spelled(false), Some(Text::from(path.into_string())));
        self.objects.push(Object { object_id, content: Cow::Owned(content.into()), path });
        if self.objects.len() == MAX_OBJECTS || self.objects_bytes >= BATCH_BYTES {
            self.send_objects().await?;
        }
        Ok(())
    }

    async fn large(
        &mut self,
        key: ObjectKey,
        size: u64,
        mut next: impl AsyncFnMut() -> Result<Option<Bytes>, TransferError>,
    ) -> Result<(), TransferError> {
        let id = key.spelled(false);
        let Some(url) = self.to.presigned(&id, "put").await? else {
            if size > MAX_INLINE_OBJECT as u64 {
                return Err(TransferError::Refused(format!("{} takes no object of {size} bytes: {id}", self.to)));
            }
            return self.small(key, whole(next).await?).await;
        };
        let (pieces, body) = flowing();
        let progress = self.progress;
        let feed = async move {
            while let Some(piece) = next().await? {
                progress.inc(piece.len() as u64);
                // The other end says why.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Ok::<_, TransferError>(())
        };
        let (fed, put) = tokio::join!(feed, self.to.put_presigned(&url, size, body));
        fed?;
        put?;
        // The hub looks whether it is what it is said to be.
        if !self.to.missing(&[id]).await?.is_empty() {
            return Err(TransferError::Refused(format!(
                "{} did not find object {} to be what its id says",
                self.to,
                key.as_ref()
            )));
        }
        self.lacking.remove(&key);
        self.there.insert(key);
        self.sent.objects += 1;
        self.sent.bytes += size;
        Ok(())
    }

    async fn purged(&mut self, objects: &[ObjectId]) -> Result<(), TransferError> {
        let new: Vec<ObjectId> = objects.iter().filter(|id| self.purged.insert(id.key())).cloned().collect();
        for some in new.chunks(MAX_PURGED_AT_ONCE) {
            // What has leaked is not to be taken here either; and only so may snapshots name what is not there.
            self.to.purge(some, PURGED_AT_SOURCE).await?;
        }
        for id in new {
            let key = id.key();
            self.unasked.remove(&key);
            self.lacking.remove(&key);
            self.there.insert(key);
        }
        Ok(())
    }

    async fn commit(&mut self, record: Bytes) -> Result<(), TransferError> {
        let mut commit: Commit = rmp_serde::from_slice(&record)
            .map_err(|error| TransferError::Damaged(format!("a commit cannot be read: {error}")))?;
        if let Some(unfilled) = commit.unfilled() {
            self.redated += 1;
            commit = unfilled;
        }
        if let Some(snapshot) = commit.snapshot.as_ref().and_then(|id| self.waiting.remove(id)) {
            self.waiting_bytes -= snapshot.len();
            self.records_bytes += snapshot.len();
            self.snapshots.push(snapshot);
        }
        self.records_bytes += record.len();
        self.commits.push(commit);
        if self.commits.len() == PUSH_COMMITS || self.records_bytes >= PUSH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), TransferError> {
        self.send_objects().await?;
        let Some((branch, head)) = self.aim() else {
            return Ok(());
        };
        let (commits, snapshots) = (std::mem::take(&mut self.commits), std::mem::take(&mut self.snapshots));
        self.records_bytes = 0;
        let sent = (commits.len() as u64, snapshots.len() as u64);
        self.push(&branch, &head, commits, &snapshots, false).await?;
        self.sent.commits += sent.0;
        self.sent.snapshots += sent.1;
        self.heads.insert(branch, head);
        Ok(())
    }
}

fn snapshot(record: &[u8]) -> Result<Snapshot<'_>, TransferError> {
    rmp_serde::from_slice(record).map_err(|error| TransferError::Damaged(format!("a snapshot cannot be read: {error}")))
}

fn posted(tag: &Tag) -> PostedTag<'_> {
    PostedTag {
        tag: tag.tag.as_str().into(),
        commit_id: tag.commit_id.clone(),
        tag_id: Some(tag.tag_id.as_str().into()),
        repo_id: Some(tag.repo_id.as_str().into()),
        created_at: Some(tag.created_at.as_str().into()),
    }
}

/// The commits that branches may stop at on their way: those on the line of first parents of their heads to be. And the
/// branches that may go along it, because they are on it or not there yet.
fn stops(
    names: &Names,
    heads: &BTreeMap<String, CommitId>,
    commits: &[(CommitId, Vec<CommitId>)],
) -> (HashMap<CommitId, String>, HashSet<String>) {
    let first_parents: HashMap<&CommitId, Option<&CommitId>> =
        commits.iter().map(|(id, parents)| (id, parents.first())).collect();
    let mut stops: HashMap<CommitId, String> = HashMap::new();
    let mut moving = HashSet::new();
    for (branch, head) in names.branches() {
        let now = heads.get(branch);
        let mut is_on_it = now.is_none();
        let mut next = Some(head);
        while let Some(id) = next {
            is_on_it |= now == Some(id);
            match first_parents.get(id) {
                // From here on it is another branch's line, which goes there first.
                Some(_) if stops.contains_key(id) => break,
                Some(parent) => {
                    // Where the branch is now it has been already.
                    if now == Some(id) {
                        break;
                    }
                    stops.insert(id.clone(), branch.clone());
                    next = *parent;
                }
                None => break,
            }
        }
        if is_on_it {
            moving.insert(branch.clone());
        }
    }
    (stops, moving)
}
