//! Packs in S3: written once under a name that nobody else has, read by ranges.

use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::{Error, FIRST_PAUSE, Store};
use crate::id::RepoId;
use crate::pack::{PackId, WrittenPack};

/// Attempts at a PUT that S3 calls concurrent with another on the same key.
const PUT_ATTEMPTS: usize = 4;

/// Attempts at a GET whose body breaks off.
const GET_ATTEMPTS: usize = 3;

/// The S3 key of a pack.
pub fn key(repo: &RepoId, pack: PackId) -> String {
    format!("{}{pack}.pack", prefix(repo))
}

/// What the keys of a repo's packs begin with.
pub(super) fn prefix(repo: &RepoId) -> String {
    format!("packs/{repo}/")
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
    pub async fn store_pack(&self, repo: &RepoId, written: WrittenPack) -> Result<StoredPack, Error> {
        self.store_pack_as(self.ambient.ulid(), repo, written).await
    }

    /// Stores a pack under a name that was drawn for it.
    pub(super) async fn store_pack_as(
        &self,
        id: PackId,
        repo: &RepoId,
        written: WrittenPack,
    ) -> Result<StoredPack, Error> {
        self.put_pack(repo, id, written.bytes.clone()).await?;
        Ok(StoredPack { id, repo: repo.clone(), written })
    }

    async fn put_pack(&self, repo: &RepoId, pack: PackId, bytes: Bytes) -> Result<(), Error> {
        let key = key(repo, pack);
        let mut pause = FIRST_PAUSE;
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
                // The name is ours alone, so what is there already is this pack: an earlier attempt whose answer was lost.
                Some("PreconditionFailed") => return self.check_stored(&key, bytes.len()).await,
                Some("ConditionalRequestConflict") => {
                    tokio::time::sleep(self.ambient.jitter(pause)).await;
                    pause *= 2;
                }
                _ => return Err(Error::from_sdk(error)),
            }
        }
        Err(Error::Unavailable(format!("{key}: concurrent writes").into()))
    }

    async fn check_stored(&self, key: &str, length: usize) -> Result<(), Error> {
        let head =
            self.s3.head_object().bucket(&self.location.bucket).key(key).send().await.map_err(Error::from_sdk)?;
        let stored = head.content_length().and_then(|length| usize::try_from(length).ok());
        if stored == Some(length) {
            Ok(())
        } else {
            Err(Error::Damaged(format!("{key} has {stored:?} bytes instead of {length}")))
        }
    }

    /// Reads a part of a pack.
    ///
    /// # Errors
    /// When S3 does not give all of it.
    pub async fn get_pack_range(&self, repo: &RepoId, pack: PackId, range: Range<u64>) -> Result<Bytes, Error> {
        self.get_range(&key(repo, pack), None, range).await
    }

    /// Reads a part of an S3 object, of the version that has this ETag if it is one that may change.
    pub(crate) async fn get_range(&self, key: &str, etag: Option<&str>, range: Range<u64>) -> Result<Bytes, Error> {
        let length = range.end.saturating_sub(range.start);
        let last = range.end.saturating_sub(1);
        let mut attempts_left = GET_ATTEMPTS;
        loop {
            let got = self
                .s3
                .get_object()
                .bucket(&self.location.bucket)
                .key(key)
                .set_if_match(etag.map(str::to_owned))
                .range(format!("bytes={}-{last}", range.start))
                .send()
                .await;
            let got = got.map_err(|error| match error.code() {
                Some("NoSuchKey" | "InvalidRange") => {
                    Error::Damaged(format!("{key} does not have the bytes {range:?}"))
                }
                _ => Error::from_sdk(error),
            })?;
            attempts_left -= 1;
            // The SDK makes further attempts at a call, and not at a body that breaks off.
            let bytes = match got.body.collect().await {
                Ok(body) => body.into_bytes(),
                Err(_) if attempts_left > 0 => continue,
                Err(error) => return Err(Error::Unavailable(error.into())),
            };
            if bytes.len() as u64 != length {
                return Err(Error::Damaged(format!("{key} has {} of the bytes {range:?}", bytes.len())));
            }
            return Ok(bytes);
        }
    }
}
