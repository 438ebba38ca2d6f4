//! What a store of objects does, and the words it is said in.
//!
//! The stores refuse in S3's own error codes. A failure that is not the client's is an [`internal`] error.

use std::{ops::Range, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use s3s::{
    Body, S3Error, S3ErrorCode, S3Result, StdError,
    dto::{ETagCondition, StreamingBlob},
    s3_error,
};

use super::{digest::Digest, file_stream, key::Key, upload::Upload};

/// Buckets of objects. Buckets are never deleted. Every operation on one that is missing is `NoSuchBucket`.
#[async_trait]
pub(super) trait Store: Send + Sync + 'static {
    /// Makes a bucket; `BucketAlreadyOwnedByYou` if there is one of that name.
    async fn create_bucket(&self, bucket: &str) -> S3Result<()>;

    /// Succeeds if the bucket is there.
    async fn head_bucket(&self, bucket: &str) -> S3Result<()>;

    /// Takes the whole body, verifies it, and only then checks `condition` and makes it the object at `key`: these two
    /// in one step, so that no request sees a state between.
    async fn put(&self, bucket: &str, key: Key, body: Upload, condition: Condition) -> S3Result<Digest>;

    /// The object at `key` as it is now, even if another is put there later; `NoSuchKey` if there is none.
    async fn get(&self, bucket: &str, key: Key) -> S3Result<Object>;

    /// Removes the object at `key`, if there is one and `condition` holds of it.
    async fn delete(&self, bucket: &str, key: Key, condition: Condition) -> S3Result<()>;

    /// A page of the bucket, in the order of the keys' UTF-8 bytes.
    async fn list(&self, bucket: &str, selection: Selection) -> S3Result<Page>;
}

/// An object but for its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) modified: SystemTime,
}

/// An object that was found.
pub(super) struct Object {
    pub(super) entry: Entry,
    pub(super) content: Content,
}

/// Where an object's bytes come from.
pub(super) enum Content {
    Memory(Bytes),
    /// The object's bytes are at the front of the file. It stays whole while it is open, even if it is overwritten
    /// or deleted meanwhile.
    File(std::fs::File),
}

impl Content {
    /// The bytes in `range`, which must lie within the object.
    pub(super) fn stream(self, range: Range<u64>) -> StreamingBlob {
        match self {
            Self::Memory(bytes) => StreamingBlob::from(Body::from(slice(&bytes, range))),
            Self::File(file) => file_stream::stream(file, range),
        }
    }
}

/// Like [`Bytes::slice`], without its panic: a range beyond the end gives the bytes that there are.
fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
    let end = end.min(bytes.len());
    bytes.slice(start.min(end)..end)
}

/// What must hold of the key for a put or a delete to take effect.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    None,
    /// `If-None-Match: *`: there is no object yet.
    Absent,
    /// `If-Match`: this is the object that is there.
    Matches(ETagCondition),
}

impl Condition {
    /// # Errors
    /// `PreconditionFailed`; `NoSuchKey` where S3 says so: nothing is there to match.
    pub(super) fn check(&self, current: Option<&Digest>) -> S3Result<()> {
        let failed = || s3_error!(PreconditionFailed, "at least one of the preconditions did not hold");
        match (self, current) {
            (Self::None, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(failed()),
            (Self::Matches(_), None) => Err(s3_error!(NoSuchKey)),
            (Self::Matches(ETagCondition::Any), Some(_)) => Ok(()),
            (Self::Matches(ETagCondition::ETag(wanted)), Some(current)) => {
                if wanted.strong_cmp(&current.etag()) {
                    Ok(())
                } else {
                    Err(failed())
                }
            }
        }
    }
}

/// Which part of a bucket to list.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) prefix: String,
    /// Only keys behind this one. No key is empty, so an empty one excludes none.
    pub(super) after: String,
    pub(super) limit: usize,
}

impl Selection {
    pub(super) fn contains(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && key > self.after.as_str()
    }
}

pub(super) struct Page {
    pub(super) entries: Vec<(String, Entry)>,
    /// Whether the selection goes on behind the last of `entries`.
    pub(super) more: bool,
}

/// The answer to a failure of ours. It is logged here; the client only learns that there was one.
pub(super) fn internal(doing: &str, cause: impl Into<StdError>) -> S3Error {
    let cause = cause.into();
    tracing::error!(cause = &*cause as &dyn std::error::Error, "embedded S3 failed to {doing}");
    S3Error::with_source(S3ErrorCode::InternalError, cause)
}
