//! A repository on its way out of a hub into a folder: an object is written before the snapshot that names it, that before its
//! commit, and a commit after its parents. So what is there is whole at any time. Nothing that comes is believed: every id is held
//! against its content.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use bytes::Bytes;
use client::Remote;
use client::object::Found;
use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::commit::Commit;
use common::wire::record::Snapshot;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use store::compute;

use super::TransferError;
use super::folder::{Folder, incoming, keep, write, write_record};
use super::source::Destination;

/// A repository on its way into a folder.
pub(super) struct Arriving<'a> {
    from: &'a Remote,
    folder: &'a Folder,
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
    pub(super) fn new(from: &'a Remote, folder: &'a Folder, is_cut: bool, progress: &'a ProgressBar) -> Self {
        let (there, lacking, purged) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self { from, folder, is_cut, there, lacking, purged, waiting: HashMap::new(), progress }
    }

    fn note(&mut self, key: ObjectKey, size: u64) {
        self.lacking.remove(&key);
        self.there.insert(key);
        self.progress.inc(size);
    }

    fn forged(&self, what: &str) -> TransferError {
        self.from.broken(format!("{what} is not what its id says")).into()
    }

    /// Writes the snapshot of a commit. An object that has not come with it is one that the folder should have with a commit that it
    /// has, and it comes by itself.
    async fn keep_snapshot(&mut self, id: &SnapshotId) -> Result<(), TransferError> {
        let path = self.folder.snapshot_path(id);
        let Some(record) = self.waiting.remove(id) else {
            if path.exists() {
                return Ok(());
            }
            return Err(self.from.broken(format!("it did not send snapshot {id}")).into());
        };
        let named = read_snapshot(&record)?.manifest.entries;
        for key in named.iter().map(|(_, object)| ObjectId::key(object)) {
            if !self.there.contains(&key) && !self.purged.contains(&key) {
                self.bring(key).await?;
            }
        }
        compute(|| write_record(&path, &record))
    }

    async fn bring(&mut self, key: ObjectKey) -> Result<(), TransferError> {
        let from = self.from;
        match from.object(&key.spelled(false), &from.repo_id().await?).await? {
            Found::Here(mut object) => self.object(key, object.size, async || Ok(object.piece().await?)).await,
            Found::Missing(error) => Err(error.into()),
            Found::Purged => {
                self.purged.insert(key);
                Ok(())
            }
        }
    }
}

pub(super) fn read_snapshot(record: &[u8]) -> Result<Snapshot<'_>, TransferError> {
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
            if self.folder.has_object(&key)? {
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
        let path = self.folder.object_path(&key)?;
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
        let path = self.folder.object_path(&key)?;
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
        let path = self.folder.commit_path(&commit.id);
        if !commit.is_proved_as_stored() {
            return Err(self.forged(&format!("commit {}", commit.id)));
        }
        if path.exists() {
            return Ok(());
        }
        let is_there = |id: &CommitId| self.folder.has_commit(id);
        if let Some(parent) = commit.parents.iter().find(|id| !self.is_cut && !is_there(id)) {
            return Err(self.from.broken(format!("commit {} came before its parent {parent}", commit.id)).into());
        }
        if let Some(snapshot) = &commit.snapshot {
            self.keep_snapshot(snapshot).await?;
        }
        compute(|| write_record(&path, &record))
    }

    async fn flush(&mut self) -> Result<(), TransferError> {
        // Snapshots that no commit has named were not asked for.
        self.waiting.clear();
        self.lacking.clear();
        Ok(())
    }
}
