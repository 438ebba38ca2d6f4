//! Gathers records into packs of a bounded size, each listed as soon as it is stored.

use bytes::Bytes;

use super::add_pack;
use common::id::{ObjectKey, RepoId, SnapshotId};
use common::pack::{NewCommit, NewObject, NewPack, NewSnapshot, PackedCommit, WrittenPack, write};
use common::table::UNKNOWN_GENERATION;
use common::wire::commit::Commit;
use store::bucket::packs::StoredPack;
use store::compute;
use store::{Store, StoreError};

/// Bytes of records that one pack takes; a larger record has a pack of its own. With its compressed form it is in memory
/// twice at most.
const PACK_BYTES: usize = 64 << 20;

/// Records that wait for their pack.
pub(super) struct Builder<'b> {
    store: &'b Store,
    repo: &'b RepoId,
    commits: Vec<Commit>,
    snapshots: Vec<(SnapshotId, Bytes, bool)>,
    objects: Vec<(ObjectKey, Bytes, bool)>,
    reached: Vec<ObjectKey>,
    bytes: usize,
}

impl<'b> Builder<'b> {
    pub(super) const fn new(store: &'b Store, repo: &'b RepoId) -> Self {
        Self {
            store,
            repo,
            commits: Vec::new(),
            snapshots: Vec::new(),
            objects: Vec::new(),
            reached: Vec::new(),
            bytes: 0,
        }
    }

    /// Commits come parents first.
    pub(super) async fn commit(&mut self, commit: Commit) -> Result<(), StoreError> {
        self.bytes += commit.record().len();
        self.commits.push(commit);
        self.flush_if_full().await
    }

    pub(super) async fn snapshot(&mut self, id: SnapshotId, record: Bytes, is_staged: bool) -> Result<(), StoreError> {
        self.bytes += record.len();
        self.snapshots.push((id, record, is_staged));
        self.flush_if_full().await
    }

    pub(super) async fn object(&mut self, key: ObjectKey, content: Bytes, is_staged: bool) -> Result<(), StoreError> {
        self.bytes += content.len();
        self.objects.push((key, content, is_staged));
        self.flush_if_full().await
    }

    pub(super) fn reach(&mut self, objects: impl IntoIterator<Item = ObjectKey>) {
        self.reached.extend(objects);
    }

    async fn flush_if_full(&mut self) -> Result<(), StoreError> {
        if self.bytes < PACK_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Stores what is left, even an empty pack, without listing it.
    pub(super) async fn finish(mut self) -> Result<StoredPack, StoreError> {
        let mut written = self.take()?;
        // It takes the place of another pack, as a merged one does. So a process that knows the old one sees that the
        // list has changed.
        written.summary.merged = 1;
        self.store.store_pack(self.repo, written).await
    }

    /// Stores and lists what has gathered, if anything has.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        let is_empty = self.commits.is_empty() && self.snapshots.is_empty() && self.objects.is_empty();
        if is_empty && self.reached.is_empty() {
            return Ok(());
        }
        let written = self.take()?;
        add_pack(self.store, self.repo, written).await
    }

    fn take(&mut self) -> Result<WrittenPack, StoreError> {
        let (commits, snapshots) = (std::mem::take(&mut self.commits), std::mem::take(&mut self.snapshots));
        let (objects, reached) = (std::mem::take(&mut self.objects), std::mem::take(&mut self.reached));
        self.bytes = 0;
        let commit = |commit: &'_ Commit| PackedCommit {
            id: commit.id.clone(),
            parents: commit.parents.clone(),
            snapshot: commit.snapshot.clone(),
            // It follows from the ancestors, for every walk.
            generation: UNKNOWN_GENERATION,
            is_reached: false,
        };
        let new = NewPack {
            commits: commits.iter().map(|c| NewCommit { node: commit(c), record: c.record() }).collect(),
            snapshots: snapshots
                .into_iter()
                .map(|(id, record, is_staged)| NewSnapshot { id, record: record.to_vec(), is_staged })
                .collect(),
            // No path is known any more. They stay in the order in which they lay, which was by their paths.
            objects: objects
                .iter()
                .map(|(key, content, is_staged)| NewObject {
                    key: key.clone(),
                    path: "".into(),
                    content,
                    is_staged: *is_staged,
                })
                .collect(),
            large: Vec::new(),
            reached,
        };
        Ok(compute(|| write(new))?)
    }
}
