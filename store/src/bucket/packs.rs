//! Packs in S3: written once, under a name that is drawn for them, and read by ranges.

use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use crate::bucket::Part;
use crate::{FIRST_PAUSE, Store, StoreError};
use common::id::RepoId;
use common::pack::{PackId, PackSummary, WrittenPack};

/// Attempts at a PUT that S3 calls concurrent with another on the same key.
const PUT_ATTEMPTS: usize = 4;

/// The S3 key of a pack.
pub fn key(repo: &RepoId, pack: PackId) -> String {
    format!("{}{pack}.pack", prefix(repo))
}

/// The S3 key of an index.
pub fn index_key(repo: &RepoId, index: PackId) -> String {
    format!("{}{index}.index", prefix(repo))
}

/// The S3 key of a pack or of an index, whichever this is of.
pub fn table_key(repo: &RepoId, name: PackId, summary: &PackSummary) -> String {
    if summary.is_index() { index_key(repo, name) } else { key(repo, name) }
}

/// What the keys of a repo's packs and indexes begin with, and those of its forks.
pub fn prefix(repo: &RepoId) -> String {
    format!("packs/{}/", repo.pool())
}

/// A pack that is in S3, whether or not anything refers to it yet.
#[derive(Debug)]
pub struct StoredPack {
    /// Its name.
    pub id: PackId,
    /// The repo that it was written for.
    pub repo: RepoId,
    /// What it is.
    pub written: WrittenPack,
}

impl Store {
    /// Stores a pack under a name that is drawn for it. Nothing refers to it yet.
    ///
    /// # Errors
    /// When S3 did not confirm it.
    pub async fn store_pack(&self, repo: &RepoId, written: WrittenPack) -> Result<StoredPack, StoreError> {
        self.store_pack_as(self.ambient.ulid(), repo, written).await
    }

    /// Stores a pack under a name that was drawn for it.
    pub(crate) async fn store_pack_as(
        &self,
        id: PackId,
        repo: &RepoId,
        written: WrittenPack,
    ) -> Result<StoredPack, StoreError> {
        self.put_pack(repo, id, written.bytes.clone()).await?;
        Ok(StoredPack { id, repo: repo.clone(), written })
    }

    async fn put_pack(&self, repo: &RepoId, pack: PackId, bytes: Bytes) -> Result<(), StoreError> {
        let key = key(repo, pack);
        let mut backoff = self.ambient.backoff(FIRST_PAUSE);
        for _ in 0..PUT_ATTEMPTS {
            let put = self
                .s3
                .put_object()
                .bucket(&self.location.bucket)
                .key(&key)
                .if_none_match("*")
                .body(ByteStream::from(bytes.clone()))
                .send()
                .await;
            let Err(error) = put else {
                return Ok(());
            };
            match error.code() {
                // An earlier attempt whose answer was lost; or, hardly ever, a pack of a fork, which draws names in the same places.
                Some("PreconditionFailed") => return self.check_same(&key, &bytes).await,
                Some("ConditionalRequestConflict") => {
                    backoff.pause().await;
                }
                _ => return Err(StoreError::at(&key)(error)),
            }
        }
        Err(StoreError::Unavailable(format!("{key}: concurrent writes").into()))
    }

    async fn check_same(&self, key: &str, bytes: &Bytes) -> Result<(), StoreError> {
        self.check_stored(key, bytes.len() as u64).await?;
        match self.get_range(key, None, 0..bytes.len() as u64).await? == *bytes {
            true => Ok(()),
            false => Err(StoreError::Unavailable(format!("{key} is the name of another pack").into())),
        }
    }

    pub(crate) async fn check_stored(&self, key: &str, length: u64) -> Result<(), StoreError> {
        let head =
            self.s3.head_object().bucket(&self.location.bucket).key(key).send().await.map_err(StoreError::at(key))?;
        let stored = head.content_length().and_then(|length| u64::try_from(length).ok());
        if stored == Some(length) {
            Ok(())
        } else {
            Err(StoreError::Damaged(format!("{key} has {stored:?} bytes instead of {length}")))
        }
    }

    /// Reads a part of a pack.
    ///
    /// # Errors
    /// When S3 does not give all of it.
    pub async fn get_pack_range(&self, repo: &RepoId, pack: PackId, range: Range<u64>) -> Result<Bytes, StoreError> {
        // A small pack was read as a whole, and is remembered up to the end of its frames.
        if let Some(frames) = self.bucket.remembered(pack, Part::Frames) {
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
            if start <= end && end <= frames.len() {
                return Ok(frames.slice(start..end));
            }
        }
        self.get_range(&key(repo, pack), None, range).await
    }

    /// Reads a part of an S3 object, of the version that has this ETag if it is one that may change.
    pub async fn get_range(&self, key: &str, etag: Option<&str>, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.bucket.get_range(key, etag, range).await
    }
}
