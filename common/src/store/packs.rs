//! Packs in S3: written once under a name that nobody else has, read by ranges.

use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::{Error, Store};
use crate::id::RepoId;
use crate::pack::PackId;

/// Attempts at a PUT that S3 calls concurrent with another on the same key.
const PUT_ATTEMPTS: usize = 4;

/// The S3 key of a pack.
pub fn key(repo: &RepoId, pack: PackId) -> String {
    format!("packs/{repo}/{pack}.pack")
}

impl Store {
    /// Stores a pack. Nothing refers to it yet.
    ///
    /// # Errors
    /// When S3 did not confirm it; the name is then not to be used.
    pub async fn put_pack(&self, repo: &RepoId, pack: PackId, bytes: Bytes) -> Result<(), Error> {
        let key = key(repo, pack);
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
                Some("ConditionalRequestConflict") => {}
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
        let key = key(repo, pack);
        let length = range.end.saturating_sub(range.start);
        let last = range.end.saturating_sub(1);
        let got = self
            .s3
            .get_object()
            .bucket(&self.location.bucket)
            .key(&key)
            .range(format!("bytes={}-{last}", range.start))
            .send()
            .await;
        let got = got.map_err(|error| match error.code() {
            Some("NoSuchKey" | "InvalidRange") => Error::Damaged(format!("{key} does not have the bytes {range:?}")),
            _ => Error::from_sdk(error),
        })?;
        let bytes = got.body.collect().await.map_err(|error| Error::Unavailable(error.into()))?.into_bytes();
        if bytes.len() as u64 != length {
            return Err(Error::Damaged(format!("{key} has {} of the bytes {range:?}", bytes.len())));
        }
        Ok(bytes)
    }
}
