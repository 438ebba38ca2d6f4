//! The operations of S3 that we answer, and how its headers map to a store. Those that are not here stay as s3s has
//! them: `NotImplemented`.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::TryStreamExt;
use http::{HeaderMap, header};
use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
        CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition,
        GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
        ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
        ObjectVersion, PostObjectInput, PostObjectOutput, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
    },
    s3_error,
};

use sha2::{Digest as _, Sha256};

use super::{
    digest::Digest,
    key::Key,
    store::{self, Condition, Entry, Selection, Store, internal},
    upload::Upload,
};

/// The most keys on a page, as S3 has it.
const MAX_KEYS: usize = 1000;

/// What S3 calls the one version of an object in a bucket that keeps no others, as this is.
const ONLY_VERSION: &str = "null";

/// What every object is said to be. S3 would say what the client said.
const CONTENT_TYPE: &str = "application/octet-stream";

pub(super) struct Operations {
    pub(super) store: Arc<dyn Store>,
    /// Whether what is not there is refused like what may not be read.
    pub(super) hides_missing: bool,
}

impl Operations {
    /// What is at a key, to one who reads it.
    async fn read(&self, bucket: &str, key: Key) -> S3Result<store::Object> {
        self.store.get(bucket, key).await.map_err(|error| match error.code() {
            S3ErrorCode::NoSuchKey if self.hides_missing => s3_error!(AccessDenied),
            _ => error,
        })
    }
}

#[async_trait]
impl S3 for Operations {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = request.input.bucket;
        self.store.create_bucket(&bucket).await?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.store.head_bucket(&request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let body = Upload::begin(&mut request)?;
        let input = request.input;
        for (what, asked) in [
            ("appending", input.write_offset_bytes.is_some()),
            ("Cache-Control", input.cache_control.is_some()),
            ("Content-Disposition", input.content_disposition.is_some()),
            ("Content-Encoding", input.content_encoding.is_some_and(|encoding| encoding != "aws-chunked")),
            ("Content-Language", input.content_language.is_some()),
            ("Expires", input.expires.is_some()),
            ("metadata", input.metadata.is_some()),
            ("tags", input.tagging.is_some()),
            ("a redirect", input.website_redirect_location.is_some()),
        ] {
            implemented(what, !asked)?;
        }
        let condition = match (input.if_match, input.if_none_match) {
            (None, None) => Condition::None,
            (None, Some(ETagCondition::Any)) => Condition::Absent,
            (Some(wanted), None) => Condition::Matches(wanted),
            _ => {
                return Err(not_implemented("a condition on a put other than If-None-Match: * or If-Match"));
            }
        };
        let digest = self.store.put(&input.bucket, Key::parse(input.key)?, body, condition).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(digest.etag()), ..Default::default() }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        // s3s does not know of this condition yet.
        let condition = match request.headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes()) {
            None => Condition::None,
            Some(b"*") => Condition::Absent,
            Some(_) => return Err(not_implemented("If-None-Match of anything but *")),
        };
        implemented("If-Match on a copy", !request.headers.contains_key(header::IF_MATCH))?;
        let input = request.input;
        let CopySource::Bucket { bucket: from_bucket, key: from, version_id: None } = &input.copy_source else {
            return Err(not_implemented("a copy of a version or through an access point"));
        };
        let dates = input.copy_source_if_modified_since.is_some() || input.copy_source_if_unmodified_since.is_some();
        implemented("conditions on dates", !dates)?;
        // No object has any metadata, so it makes no difference whether that of the source is replaced.
        implemented("metadata", input.metadata.is_none())?;
        let wants_sha256 = match &input.checksum_algorithm {
            None => false,
            Some(algorithm) if algorithm.as_str() == ChecksumAlgorithm::SHA256 => true,
            Some(_) => return Err(not_implemented("a checksum of a copy other than SHA256")),
        };

        let object = self.read(from_bucket, Key::parse(from.to_string())?).await?;
        let digest = object.entry.digest;
        let (if_match, if_none_match) = (input.copy_source_if_match, input.copy_source_if_none_match);
        // Of a copy, S3 calls an unmodified source a failed condition too.
        check_read(&digest.etag(), if_match.as_ref(), if_none_match.as_ref())
            .map_err(|_| s3_error!(PreconditionFailed))?;
        let sha256 = Arc::new(Mutex::new(Sha256::new()));
        let hash = Arc::clone(&sha256);
        let content = object.content.stream(0..digest.size).map_err(std::io::Error::other).inspect_ok(move |chunk| {
            if wants_sha256 {
                hash.lock().unwrap_or_else(PoisonError::into_inner).update(chunk);
            }
        });
        let body = Upload::of(StreamingBlob::wrap(content), digest.size);
        let copied = self.store.put(&input.bucket, Key::parse(input.key)?, body, condition).await?;
        let sha256 = sha256.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize();
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                checksum_sha256: wants_sha256.then(|| BASE64_STANDARD.encode(sha256)),
                checksum_type: wants_sha256.then(full_object),
                e_tag: Some(copied.etag()),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        implemented("parts", input.part_number.is_none())?;
        implemented("conditions on dates", input.if_modified_since.is_none() && input.if_unmodified_since.is_none())?;
        let object = self.read(&input.bucket, Key::parse(input.key)?).await?;
        let Entry { digest, modified } = object.entry;
        check_read(&digest.etag(), input.if_match.as_ref(), input.if_none_match.as_ref())?;

        let size = digest.size;
        let range = match input.range {
            None => 0..size,
            // A suffix of an empty object passes the check and cannot be satisfied.
            Some(wanted) => {
                Some(wanted.check(size)?).filter(|range| !range.is_empty()).ok_or_else(|| s3_error!(InvalidRange))?
            }
        };
        let partial = input.range.map(|_| format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)));
        let checksum = checksum_asked_for(&digest, input.checksum_mode.as_ref()).filter(|_| partial.is_none());
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            checksum_type: checksum.as_ref().map(|_| full_object()),
            checksum_crc32: checksum,
            content_length: Some(length(range.end.saturating_sub(range.start))?),
            content_range: partial,
            content_type: Some(CONTENT_TYPE.to_owned()),
            e_tag: Some(digest.etag()),
            last_modified: Some(Timestamp::from(modified)),
            body: Some(object.content.stream(range)),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        implemented("parts", input.part_number.is_none())?;
        implemented("conditions on dates", input.if_modified_since.is_none() && input.if_unmodified_since.is_none())?;
        let object = self.read(&input.bucket, Key::parse(input.key)?).await?;
        let Entry { digest, modified } = object.entry;
        check_read(&digest.etag(), input.if_match.as_ref(), input.if_none_match.as_ref())?;

        let checksum = checksum_asked_for(&digest, input.checksum_mode.as_ref());
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            checksum_type: checksum.as_ref().map(|_| full_object()),
            checksum_crc32: checksum,
            content_length: Some(length(digest.size)?),
            content_type: Some(CONTENT_TYPE.to_owned()),
            e_tag: Some(digest.etag()),
            last_modified: Some(Timestamp::from(modified)),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        check_version(input.version_id.as_deref())?;
        let other = input.if_match_size.is_some() || input.if_match_last_modified_time.is_some();
        implemented("a condition on a delete other than If-Match", !other)?;
        let condition = input.if_match.map_or(Condition::None, Condition::Matches);
        self.store.delete(&input.bucket, Key::parse(input.key)?, condition).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        implemented("a delimiter", input.delimiter.is_none())?;
        implemented("an encoding type", input.encoding_type.is_none())?;
        let limit = page_limit(input.max_keys)?;
        // A token is the last key of the page before, so a list can be gone on with after a restart.
        let after = input.continuation_token.as_ref().or(input.start_after.as_ref());
        let selection = Selection {
            prefix: input.prefix.clone().unwrap_or_default(),
            after: after.cloned().unwrap_or_default(),
            limit,
        };
        let page = self.store.list(&input.bucket, selection).await?;

        let next = page.entries.last().filter(|_| page.more).map(|(key, _)| key.clone());
        let contents = page.entries.into_iter().map(listed).collect::<S3Result<Vec<_>>>()?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(contents.len()).ok(),
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(contents),
            ..Default::default()
        }))
    }

    /// Each object is the one version of itself.
    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        implemented("a delimiter", input.delimiter.is_none())?;
        implemented("an encoding type", input.encoding_type.is_none())?;
        let limit = page_limit(input.max_keys)?;
        let selection = Selection {
            prefix: input.prefix.clone().unwrap_or_default(),
            after: input.key_marker.clone().unwrap_or_default(),
            limit,
        };
        let page = self.store.list(&input.bucket, selection).await?;

        let next = page.entries.last().filter(|_| page.more).map(|(key, _)| key.clone());
        let version = |(key, Entry { digest, modified }): (String, Entry)| {
            Ok(ObjectVersion {
                key: Some(key),
                version_id: Some(ONLY_VERSION.to_owned()),
                is_latest: Some(true),
                size: Some(length(digest.size)?),
                e_tag: Some(digest.etag()),
                last_modified: Some(Timestamp::from(modified)),
                ..Default::default()
            })
        };
        let versions = page.entries.into_iter().map(version).collect::<S3Result<Vec<_>>>()?;
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: input.prefix,
            max_keys: i32::try_from(limit).ok(),
            key_marker: input.key_marker,
            is_truncated: Some(next.is_some()),
            next_version_id_marker: next.as_ref().map(|_| ONLY_VERSION.to_owned()),
            next_key_marker: next,
            versions: Some(versions),
            ..Default::default()
        }))
    }

    /// s3s would make a put of it.
    async fn post_object(&self, _: S3Request<PostObjectInput>) -> S3Result<S3Response<PostObjectOutput>> {
        Err(not_implemented("PostObject"))
    }
}

/// The conditions of a read, in the order of RFC 9110, section 13.2.2.
fn check_read(current: &ETag, if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> S3Result<()> {
    if let Some(ETagCondition::ETag(wanted)) = if_match
        && !wanted.strong_cmp(current)
    {
        return Err(s3_error!(PreconditionFailed));
    }
    let known = match if_none_match {
        None => false,
        Some(ETagCondition::Any) => true,
        Some(ETagCondition::ETag(known)) => known.weak_cmp(current),
    };
    if known {
        let etag = current.to_http_header().map_err(|error| internal("write an ETag", error))?;
        let mut not_modified = S3Error::new(S3ErrorCode::NotModified);
        not_modified.set_headers(HeaderMap::from_iter([(header::ETAG, etag)]));
        return Err(not_modified);
    }
    Ok(())
}

/// The checksum of the whole object, if the client asks for one, as the SDK does by default.
fn checksum_asked_for(digest: &Digest, mode: Option<&ChecksumMode>) -> Option<String> {
    mode.filter(|mode| mode.as_str() == ChecksumMode::ENABLED).map(|_| BASE64_STANDARD.encode(digest.crc32))
}

fn full_object() -> ChecksumType {
    ChecksumType::from_static(ChecksumType::FULL_OBJECT)
}

fn listed((key, Entry { digest, modified }): (String, Entry)) -> S3Result<Object> {
    Ok(Object {
        key: Some(key),
        size: Some(length(digest.size)?),
        e_tag: Some(digest.etag()),
        last_modified: Some(Timestamp::from(modified)),
        ..Default::default()
    })
}

/// How many keys a page has at most.
fn page_limit(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(MAX_KEYS),
        Some(asked) => Ok(usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument))?.min(MAX_KEYS)),
    }
}

/// There are no versions but the one of each object.
fn check_version(asked: Option<&str>) -> S3Result<()> {
    implemented("versions", asked.is_none_or(|asked| asked == ONLY_VERSION))
}

/// A length as s3s wants it. No object is too long for it, but a file's footer may lie.
fn length(bytes: u64) -> S3Result<i64> {
    i64::try_from(bytes).map_err(|error| internal("tell a length", error))
}

/// Refuses what a request asks for and would not get.
fn implemented(what: &str, is: bool) -> S3Result<()> {
    if is { Ok(()) } else { Err(not_implemented(what)) }
}

fn not_implemented(what: &str) -> S3Error {
    s3_error!(NotImplemented, "{what}: not implemented by the hub's embedded S3")
}
