//! Reads S3: ranges of files that never change, and what a process caches of them.
//!
//! A cached part goes by the name of its file, which was written once, and by its position there. It is cached only
//! after its checksum was seen to hold. So it is right for every later request, and two requests share nothing that
//! changes. The least used parts go when there are too many.

pub(crate) mod ahead;
pub mod health;
pub mod packs;

use std::ops::Range;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use ulid::Ulid;

use crate::StoreError;
use common::table::Section;

/// Attempts at a GET whose body breaks off.
const GET_ATTEMPTS: usize = 3;
/// Bytes that a process remembers.
const REMEMBERED_BYTES: u64 = 16 << 20;
/// Bytes that remembering a part takes beside its own.
const PART_BYTES: u64 = 128;
/// Parts that are remembered, about.
const EXPECTED_PARTS: usize = 4_096;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// All frames of a small pack.
    Frames,
    /// A small table.
    Table,
    /// The head of a larger one.
    Head,
    /// A page of it.
    Page(Section, u64),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(Ulid, Part), Bytes> for ByBytes {
    fn weight(&self, _: &(Ulid, Part), bytes: &Bytes) -> u64 {
        bytes.len() as u64 + PART_BYTES
    }
}

/// The bucket, as a reader sees it.
pub(crate) struct Bucket {
    s3: aws_sdk_s3::Client,
    name: String,
    parts: Cache<(Ulid, Part), Bytes, ByBytes>,
}

impl Bucket {
    pub(crate) fn new(s3: aws_sdk_s3::Client, name: String) -> Self {
        // One shard: each has its part of the capacity, and a head may not fit into a part.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(EXPECTED_PARTS)
            .weight_capacity(REMEMBERED_BYTES)
            .shards(1)
            .build();
        let parts = options.map(|options| {
            Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
        });
        // The options are complete; were they not, an ordinary cache would serve.
        let parts = parts.unwrap_or_else(|_| Cache::with_weighter(EXPECTED_PARTS, REMEMBERED_BYTES, ByBytes));
        Self { s3, name, parts }
    }

    /// A part of a file, if it is remembered.
    pub(crate) fn remembered(&self, file: Ulid, part: Part) -> Option<Bytes> {
        self.parts.get(&(file, part))
    }

    /// Remembers a part of a file. Its checksum was seen to hold.
    pub(crate) fn remember(&self, file: Ulid, part: Part, bytes: Bytes) {
        self.parts.insert((file, part), bytes);
    }

    /// Whether S3 refused a call because nothing is under this key.
    ///
    /// It says 404 of that only to a role that may list the bucket, and to others 403, as it does where the right to read is
    /// missing. Whether a right to list is one that has a condition on the prefix, AWS does not say. So after a 403 the key is
    /// looked for in a list, which such a right is good for.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    pub(crate) async fn is_missing<E: ProvideErrorMetadata>(
        &self,
        key: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> bool {
        match error.raw_response().map(|answer| answer.status().as_u16()) {
            Some(404) => error.code() != Some("NoSuchBucket"),
            Some(403) => {
                let listed = self.s3.list_objects_v2().bucket(&self.name).prefix(key).max_keys(1).send().await;
                listed.is_ok_and(|page| page.contents().first().and_then(|object| object.key()) != Some(key))
            }
            _ => false,
        }
    }

    /// Reads a part of an S3 object, of the version that has this ETag if it is one that may change.
    pub(crate) async fn get_range(
        &self,
        key: &str,
        etag: Option<&str>,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let length = range.end.saturating_sub(range.start);
        let last = range.end.saturating_sub(1);
        let mut attempts_left = GET_ATTEMPTS;
        loop {
            let got = self
                .s3
                .get_object()
                .bucket(&self.name)
                .key(key)
                .set_if_match(etag.map(str::to_owned))
                .range(format!("bytes={}-{last}", range.start))
                .send()
                .await;
            let got = match got {
                Ok(got) => got,
                // The last of these is what the embedded S3 answers where a file cannot be read. S3 itself has it for objects
                // that were moved to an archive, and for both a person has to do something.
                Err(error) if matches!(error.code(), Some("InvalidRange" | "InvalidObjectState")) => {
                    return Err(StoreError::Damaged(format!("{key} does not have the bytes {range:?}")));
                }
                Err(error) if self.is_missing(key, &error).await => {
                    return Err(StoreError::Damaged(format!(
                        "{key} is not there, and does not have the bytes {range:?}"
                    )));
                }
                Err(error) => return Err(StoreError::at(key)(error)),
            };
            attempts_left -= 1;
            // The SDK makes further attempts at a call, and not at a body that breaks off.
            let bytes = match got.body.collect().await {
                Ok(body) => body.into_bytes(),
                Err(_) if attempts_left > 0 => continue,
                Err(error) => return Err(StoreError::Unavailable(error.into())),
            };
            if bytes.len() as u64 != length {
                return Err(StoreError::Damaged(format!("{key} has {} of the bytes {range:?}", bytes.len())));
            }
            return Ok(bytes);
        }
    }
}
