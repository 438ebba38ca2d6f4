//! Uploads: what clients PUT straight into S3, through URLs that are presigned for them.
//!
//! Uploads lie under `uploads/`, from where nothing is served, and a lifecycle rule deletes them after a day. S3 does
//! not notify the hub of a PUT. A request that misses an object looks for it there. An object counts once its SHA-256
//! is proved, and then as a [`large`] object:
//!
//! 1. S3 copies exactly the version that was listed to a name that is drawn for it. No URL was ever given out for that
//!    name, so a later upload cannot change the copy. S3 computes the SHA-256 while it copies.
//! 2. If the hash is not the object's id, the copy and the upload are deleted, and the object is as missing as before.
//! 3. Else a pack that lists the copy is registered. The object is staged, like any object of `/push/objects`.
//!
//! The body of a request may come the same way: see [`BodyUpload`].

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, MetadataDirective};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use crate::change::Change;
use crate::compute;
use crate::permits::Permit;
use crate::read::large;
use crate::span;
use crate::table::items::{BodyUploadItem, Key, MetaItem, UploadsItem, encode};
use crate::table::transaction::{Outcome, outcome_of, put_new};
use crate::{FIRST_PAUSE, Store, StoreError, aws};
use common::id::{ObjectKey, RepoId, Slug};
use common::location::LargeObject;
use common::pack::{NewPack, PackId, write};
use common::time;
use common::wire::limits::MAX_PACKS;

/// How long an upload is kept until a request asks for it: as long as the lifecycle rule leaves it there.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an uploaded body may be referred to.
pub const BODY_KEPT: Duration = Duration::from_secs(60 * 60);
/// The prefix of the keys of all uploads.
pub const PREFIX: &str = "uploads/";

/// The most uploads of one repo that are looked through. The rest is not found, and stays as missing as before.
const MAX_LISTED: usize = 100_000;
/// How many uploads are verified before the proved ones are registered. So a request that is cut off loses little.
const BATCH: usize = 500;
/// How many bytes of them, beside the last one: what S3 copies in half a minute at the least, so that a request which may not
/// take longer than five has registered something by then, for any sizes.
const BATCH_BYTES: u64 = PARALLEL as u64 * COPIED_A_SECOND * 30;
/// How many uploads are verified at the same time.
const PARALLEL: usize = 32;
/// How many mebibytes of bodies are in memory at the same time, over all requests. Further bodies wait.
pub(super) const BODIES_MEBIBYTES: u32 = 1024;
/// How many bodies are in memory at the same time, and how many of one user. Two bodies are at most half of the
/// mebibytes.
pub(super) const BODIES: usize = 256;
pub(super) const BODIES_OF_USER: usize = 2;
const BODY_PERMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long S3 may take to copy an object before the hub asks again: this long, and the time for its size at this many
/// bytes a second.
const COPY_TIMEOUT: Duration = Duration::from_secs(8);
const COPIED_A_SECOND: u64 = 32 << 20;
/// The bytes a second for what is sent to S3.
const UPLOADED_A_SECOND: u64 = 1 << 20;
/// How many times as long all attempts may take together.
const COPY_ATTEMPTS: u32 = 3;
/// Attempts at a copy that S3 calls concurrent with another.
const CONFLICT_ATTEMPTS: u32 = 4;
/// How many bytes are read at once if S3 does not return the hash of a copy.
const READ_BYTES: u64 = 8 << 20;

/// An upload that was listed.
struct Uploaded {
    object: ObjectKey,
    size: u64,
    etag: String,
}

/// The body of a request that is sent by reference. It belongs to one user and one repo, and is used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyUpload {
    /// The user who may use it.
    pub user_id: String,
    /// The handle of the owner of the repo that it was made for.
    pub owner: Slug,
    /// The name of that repo.
    pub slug: Slug,
}

fn upload_key(repo: &RepoId, object: &ObjectKey) -> String {
    format!("{}{}", prefix(repo), object.as_ref())
}

/// The prefix of the keys of a repo's uploads.
pub(super) fn prefix(repo: &RepoId) -> String {
    format!("{PREFIX}{repo}/")
}

fn body_key(id: &str) -> String {
    format!("{PREFIX}bodies/{id}")
}

/// How clients reach S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// Under its own name.
    Own,
    /// Under this URL, by which it knows itself.
    Endpoint(String),
    /// Under this URL of something in front of it, which passes requests on under its own name.
    InFront(String),
}

/// Makes URLs that are valid for a while without a token.
pub struct Presigner<'a> {
    s3: aws_sdk_s3::Client,
    store: &'a Store,
    config: PresigningConfig,
    in_front: Option<String>,
}

impl Store {
    /// Makes URLs that are valid for `ttl`, and lead where clients reach S3.
    ///
    /// # Errors
    /// Never, for a time of less than a week.
    pub fn presigner(&self, ttl: Duration, storage: StorageUrl) -> Result<Presigner<'_>, StoreError> {
        let mut config = self.s3.config().to_builder();
        let mut in_front = None;
        match storage {
            StorageUrl::Own => {}
            StorageUrl::Endpoint(endpoint) => config = config.endpoint_url(endpoint),
            StorageUrl::InFront(url) => in_front = Some(url),
        }
        // Clients send no header of their own, so nothing but `host` may be signed.
        let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired).build();
        Ok(Presigner {
            s3: aws_sdk_s3::Client::from_conf(config),
            store: self,
            config: PresigningConfig::expires_in(ttl).map_err(StoreError::fault)?,
            in_front,
        })
    }

    /// Notes that objects may be uploaded to a repo from now on, so that requests look for them.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn expect_uploads(&self, repo: &RepoId) -> Result<(), StoreError> {
        let expires_at = time::after(self.ambient.now(), KEPT);
        self.put_item(&Key::uploads(repo), &UploadsItem { expires_at }).await
    }

    /// Adopts those of these objects that were uploaded: verifies them and makes them the repo's, staged. The repo has
    /// to be listed again then, because another request may have been faster. A repo that has `packs` packs already
    /// takes no more than it has room for.
    ///
    /// It goes on if the request that asked has ended. The next request finds what was proved meanwhile.
    ///
    /// # Errors
    /// When the stores do not answer. What could be proved all the same is the repo's.
    pub async fn take_uploads(
        self: &Arc<Self>,
        repo: &RepoId,
        packs: usize,
        wanted: HashSet<ObjectKey>,
        by: &str,
    ) -> Result<(), StoreError> {
        let (store, repo, by) = (Arc::clone(self), repo.clone(), by.to_owned());
        let taking = span::spawn(async move { store.take_all(&repo, packs, &wanted, &by).await });
        taking.await.map_err(StoreError::fault)?
    }

    async fn take_all(
        &self,
        repo: &RepoId,
        mut packs: usize,
        wanted: &HashSet<ObjectKey>,
        by: &str,
    ) -> Result<(), StoreError> {
        let mut uploaded = self.uploaded(repo).await?;
        uploaded.retain(|upload| wanted.contains(&upload.object) && upload.object.as_ref().digest().is_some());
        let mut failure = None;
        while !uploaded.is_empty() && packs < MAX_PACKS {
            let batch = next_batch(&mut uploaded);
            let pack = self.ambient.ulid();
            let outcomes: Vec<_> = stream::iter(batch)
                .map(|upload| self.prove(repo, pack, upload))
                .buffer_unordered(PARALLEL)
                .collect()
                .await;
            let mut proved: Vec<Uploaded> = Vec::new();
            for outcome in outcomes {
                match outcome {
                    Ok(upload) => proved.extend(upload),
                    Err(error) => failure = Some(error),
                }
            }
            if proved.is_empty() {
                continue;
            }
            packs += 1;
            let large = proved.iter().map(|upload| (upload.object.clone(), upload.size)).collect();
            let written = compute(|| write(NewPack { large, ..NewPack::default() }))?;
            let stored = self.store_pack_as(pack, repo, written).await?;
            let change = Change::of_pack(repo, None, Some(&stored), by);
            if self.commit(&change).await? == Outcome::Conflict {
                if self.meta(repo).await?.is_none() {
                    tracing::info!(%repo, "the repo was deleted while its uploads were taken");
                    return Ok(());
                }
                // The name is drawn for this pack, so no other file can have it.
                return Err(StoreError::Damaged(format!("repo {repo}: the pack {pack} is there twice")));
            }
            // A leftover is of no use and does no harm until it expires.
            stream::iter(&proved)
                .for_each_concurrent(PARALLEL, |upload| async {
                    self.delete_quietly(&upload_key(repo, &upload.object), Some(&upload.etag)).await;
                })
                .await;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Bytes of those of these objects that were uploaded to a repo and wait to be taken in.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn uploaded_bytes(&self, repo: &RepoId, wanted: &HashSet<ObjectKey>) -> Result<u64, StoreError> {
        let uploaded = self.uploaded(repo).await?;
        let wanted = uploaded.iter().filter(|upload| wanted.contains(&upload.object));
        Ok(wanted.fold(0, |sum: u64, upload| sum.saturating_add(upload.size)))
    }

    /// Puts a file where a client would have uploaded this object. It counts once it is adopted.
    ///
    /// # Errors
    /// When the file cannot be read, or S3 does not take it.
    pub async fn upload_file(&self, repo: &RepoId, object: &ObjectKey, path: &Path) -> Result<(), StoreError> {
        let size = std::fs::metadata(path).map_err(StoreError::fault)?.len();
        let patience = COPY_TIMEOUT + Duration::from_secs(size / UPLOADED_A_SECOND);
        let config = aws::s3_timeouts((patience, patience * COPY_ATTEMPTS));
        let body = ByteStream::from_path(path).await.map_err(StoreError::fault)?;
        let put = self.s3.put_object().bucket(&self.location.bucket).key(upload_key(repo, object)).body(body);
        put.customize().config_override(config).send().await.map(drop).map_err(StoreError::at(upload_key(repo, object)))
    }

    /// Copies a large object to where a client would have uploaded it. It counts once it is adopted.
    ///
    /// # Errors
    /// When S3 does not copy it.
    pub async fn upload_again(
        &self,
        repo: &RepoId,
        object: &ObjectKey,
        from: PackId,
        size: u64,
    ) -> Result<(), StoreError> {
        let patience = COPY_TIMEOUT + Duration::from_secs(size / COPIED_A_SECOND);
        let config = aws::s3_timeouts((patience, patience * COPY_ATTEMPTS));
        let bucket = &self.location.bucket;
        let copy = self.s3.copy_object().copy_source(format!("{bucket}/{}", large::key(repo, from, object)));
        let copy = copy.bucket(bucket).key(upload_key(repo, object));
        copy.customize()
            .config_override(config)
            .send()
            .await
            .map(drop)
            .map_err(StoreError::at(upload_key(repo, object)))
    }

    /// The uploads of a repo.
    async fn uploaded(&self, repo: &RepoId) -> Result<Vec<Uploaded>, StoreError> {
        let prefix = prefix(repo);
        let list = self.s3.list_objects_v2().bucket(&self.location.bucket).prefix(&prefix);
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(StoreError::at(&prefix))?.contents.unwrap_or_default() {
                let id = object.key.as_deref().and_then(|key| key.strip_prefix(&prefix)?.parse().ok());
                let size = object.size.and_then(|size| u64::try_from(size).ok());
                if let (Some(id), Some(size), Some(etag)) = (id, size, object.e_tag) {
                    found.push(Uploaded { object: common::id::ObjectId::key(&id), size, etag });
                }
            }
            if found.len() >= MAX_LISTED {
                tracing::warn!(%repo, "more than {MAX_LISTED} uploads wait: the rest is not looked at");
                break;
            }
        }
        Ok(found)
    }

    /// Copies an upload to a name that no client can write to, if it is the object that its key says. None if it is
    /// not.
    async fn prove(&self, repo: &RepoId, pack: PackId, upload: Uploaded) -> Result<Option<Uploaded>, StoreError> {
        let bucket = &self.location.bucket;
        let (from, to) = (upload_key(repo, &upload.object), large::key(repo, pack, &upload.object));
        let patience = COPY_TIMEOUT + Duration::from_secs(upload.size / COPIED_A_SECOND);
        let config = aws::s3_timeouts((patience, patience * COPY_ATTEMPTS));
        let copy = || {
            let copy = self
                .s3
                .copy_object()
                .copy_source(format!("{bucket}/{from}"))
                .copy_source_if_match(&upload.etag)
                .bucket(bucket)
                .key(&to)
                .if_none_match("*")
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                // It is bytes, and keeps no type that the client gave it.
                .metadata_directive(MetadataDirective::Replace)
                .content_type("application/octet-stream");
            copy.customize().config_override(config.clone()).send()
        };
        let mut copied = copy().await;
        let mut backoff = self.ambient.backoff(FIRST_PAUSE);
        for _ in 1..CONFLICT_ATTEMPTS {
            if !copied.as_ref().is_err_and(|error| error.code() == Some("ConditionalRequestConflict")) {
                break;
            }
            backoff.pause().await;
            copied = copy().await;
        }
        let checksum = match copied {
            Ok(copied) => copied
                .copy_object_result
                .and_then(|result| of_the_whole(result.checksum_sha256, result.checksum_type.as_ref())),
            // Another request has taken it since it was listed.
            Err(error) if self.bucket.is_missing(&from, &error).await => return Ok(None),
            Err(error) => match error.code() {
                // Only an attempt of ours can use the same name. The upload stays for the next request.
                Some("ConditionalRequestConflict") => return Err(StoreError::Unavailable(error.into())),
                // It was overwritten since it was listed; or it was copied, by an attempt whose answer was lost.
                Some("PreconditionFailed") => {
                    let head = self.s3.head_object().bucket(bucket).key(&to).checksum_mode(ChecksumMode::Enabled);
                    match head.send().await {
                        Ok(head) => of_the_whole(head.checksum_sha256, head.checksum_type.as_ref()),
                        Err(error) if self.bucket.is_missing(&to, &error).await => return Ok(None),
                        Err(error) => return Err(StoreError::at(&to)(error)),
                    }
                }
                _ => return Err(StoreError::at(&to)(error)),
            },
        };
        let digest: Option<[u8; 32]> = match checksum.and_then(|checksum| BASE64_STANDARD.decode(checksum).ok()) {
            Some(checksum) => checksum.try_into().ok(),
            None => Some(self.hash_of(&to, upload.size).await?),
        };
        if digest.is_some() && digest.as_ref() == upload.object.as_ref().digest() {
            return Ok(Some(upload));
        }
        tracing::info!(%repo, object = %upload.object.as_ref(), "an upload is not what it is said to be");
        self.delete_quietly(&to, None).await;
        self.delete_quietly(&from, Some(&upload.etag)).await;
        Ok(None)
    }

    /// Deletes a file that is of no more use. If that fails, the lifecycle rule or the garbage collection deletes it.
    pub(super) async fn delete_quietly(&self, key: &str, etag: Option<&str>) {
        let delete = self.s3.delete_object().bucket(&self.location.bucket).key(key);
        if let Err(error) = delete.set_if_match(etag.map(str::to_owned)).send().await {
            tracing::debug!(key, code = error.code(), "left over");
        }
    }

    /// Makes an upload for the body of a request, and returns its id.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn new_body_upload(&self, upload: &BodyUpload) -> Result<String, StoreError> {
        let id = self.ambient.ulid().to_string();
        let item = BodyUploadItem {
            user_id: upload.user_id.clone(),
            owner: upload.owner.clone(),
            slug: upload.slug.clone(),
            used_by: None,
            expires_at: time::after(self.ambient.now(), BODY_KEPT),
        };
        let key = Key::body_upload(&id);
        let put = put_new(&self.location.table, encode(&key, &item)?)?;
        self.transact(vec![put], &key, |_: serde::de::IgnoredAny| true).await?;
        Ok(id)
    }

    /// Takes the body that this user has uploaded under an id for this repo, once. A second request finds nothing, unless the first gives the
    /// body back.
    ///
    /// # Errors
    /// When the stores do not answer.
    pub async fn take_body(
        &self,
        id: &str,
        user_id: &str,
        repo: &MetaItem,
        limit: usize,
        used: &mut Option<UsedBody>,
    ) -> Result<TakenBody, StoreError> {
        let key = Key::body_upload(id);
        let Some(item) = self.get_item::<BodyUploadItem>(&key).await? else {
            return Ok(TakenBody::Unknown);
        };
        // The repo may have been renamed since the upload was made.
        let is_meant = item.user_id == user_id && repo.is_called(&item.owner, &item.slug);
        if !is_meant || item.used_by.is_some() || item.expires_at <= self.ambient.now() {
            return Ok(TakenBody::Unknown);
        }
        let s3_key = body_key(id);
        let head = self.s3.head_object().bucket(&self.location.bucket).key(&s3_key).send().await;
        let (size, etag) = match head {
            Ok(head) => {
                (head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX), head.e_tag)
            }
            Err(error) if self.bucket.is_missing(&s3_key, &error).await => return Ok(TakenBody::NotThere),
            Err(error) => return Err(StoreError::at(&s3_key)(error)),
        };
        if size > limit as u64 {
            return Ok(TakenBody::TooLarge(size));
        }
        // One permit for each mebibyte, so that large bodies wait for each other.
        let mebibytes = u32::try_from(size.div_ceil(1 << 20)).unwrap_or(BODIES_MEBIBYTES).clamp(1, BODIES_MEBIBYTES);
        let permit = async {
            let share = self.body_permits.take(user_id.to_owned()).await;
            let memory = Arc::clone(&self.bodies).acquire_many_owned(mebibytes).await.map_err(StoreError::fault)?;
            Ok::<_, StoreError>(BodyPermit { _memory: memory, _share: share })
        };
        let permit = tokio::time::timeout(BODY_PERMIT_TIMEOUT, permit).await;
        let permit = permit.map_err(|elapsed| StoreError::Unavailable(elapsed.into()))??;
        let me = self.ambient.ulid().to_string();
        // Before it is so: the request may be given up at any time.
        *used = Some(UsedBody { id: id.to_owned(), by: me.clone() });
        // If two requests have one id, one of them is the first. It marks the item with a name of its own, so a further
        // attempt of the SDK is harmless.
        let marked = self
            .dynamodb
            .update_item()
            .table_name(&self.location.table)
            .set_key(Some(key.item()))
            .update_expression("SET used_by = :me")
            .condition_expression("attribute_exists(pk) AND (attribute_not_exists(used_by) OR used_by = :me)")
            .expression_attribute_values(":me", AttributeValue::S(me))
            .send()
            .await;
        if outcome_of(marked, &key)? == Outcome::Conflict {
            *used = None;
            return Ok(TakenBody::Unknown);
        }
        let body = self.get_parts(&s3_key, etag.as_deref(), size).await?;
        Ok(TakenBody::Taken(ReferencedBody { body, permit }))
    }

    /// Deletes a body that was used.
    pub async fn drop_body(&self, used: UsedBody) {
        self.delete_quietly(&body_key(&used.id), None).await;
    }

    /// Lets a body be used again, because the request that used it failed. If this fails too, the client has to upload
    /// it once more.
    pub async fn give_back_body(&self, used: UsedBody) {
        let key = Key::body_upload(&used.id);
        let unmark = self.dynamodb.update_item().table_name(&self.location.table).set_key(Some(key.item()));
        let unmark = unmark.update_expression("REMOVE used_by").condition_expression("used_by = :me");
        let unmark = unmark.expression_attribute_values(":me", AttributeValue::S(used.by));
        if let Err(error) = unmark.send().await {
            tracing::debug!(id = used.id, code = error.code(), "an upload was not given back");
        }
    }

    /// Reads one version of an S3 object in parts, a few at a time.
    async fn get_parts(&self, key: &str, etag: Option<&str>, size: u64) -> Result<Bytes, StoreError> {
        const PARALLEL_PARTS: usize = 4;
        let starts = (0..size).step_by(READ_BYTES as usize);
        let parts = stream::iter(starts.map(|start| self.get_range(key, etag, start..size.min(start + READ_BYTES))));
        let mut parts = parts.buffered(PARALLEL_PARTS);
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        while let Some(part) = parts.next().await {
            body.extend_from_slice(&part?);
        }
        Ok(body.into())
    }
}

/// The body of a request that was sent by reference.
#[derive(Debug)]
pub struct ReferencedBody {
    /// The bytes.
    pub body: Bytes,
    /// The permits that it holds.
    pub permit: BodyPermit,
}

/// The permits that a body holds. They go back when this is dropped.
#[derive(Debug)]
pub struct BodyPermit {
    _memory: OwnedSemaphorePermit,
    _share: Permit<String>,
}

/// A body that a request has used.
#[derive(Debug)]
pub struct UsedBody {
    id: String,
    by: String,
}

/// What became of the body that a request refers to.
#[derive(Debug)]
pub enum TakenBody {
    /// Here it is.
    Taken(ReferencedBody),
    /// There is no such upload, or it is used, expired, or another user's.
    Unknown,
    /// Nothing was uploaded yet.
    NotThere,
    /// It has this many bytes, which are too many. It may still be used.
    TooLarge(u64),
}

impl Presigner<'_> {
    /// Where to upload an object.
    ///
    /// # Errors
    /// When the URL cannot be signed.
    pub async fn put_object(&self, repo: &RepoId, object: &ObjectKey) -> Result<String, StoreError> {
        self.put(&upload_key(repo, object)).await
    }

    /// Where to upload the body of a request.
    ///
    /// # Errors
    /// When the URL cannot be signed.
    pub async fn put_body(&self, id: &str) -> Result<String, StoreError> {
        self.put(&body_key(id)).await
    }

    async fn put(&self, key: &str) -> Result<String, StoreError> {
        let put = self.s3.put_object().bucket(&self.store.location.bucket).key(key);
        Ok(self.for_clients(put.presigned(self.config.clone()).await.map_err(StoreError::at(key))?.uri()))
    }

    /// Where to download a large object.
    ///
    /// # Errors
    /// When the URL cannot be signed.
    pub async fn get_object(
        &self,
        repo: &RepoId,
        object: &ObjectKey,
        large: &LargeObject,
    ) -> Result<String, StoreError> {
        let key = large::key(repo, large.pack, object);
        let get = self.s3.get_object().bucket(&self.store.location.bucket).key(&key);
        Ok(self.for_clients(get.presigned(self.config.clone()).await.map_err(StoreError::at(&key))?.uri()))
    }

    /// The URL as clients reach it. It is signed for the name by which S3 knows itself.
    fn for_clients(&self, url: &str) -> String {
        let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        match (&self.in_front, path) {
            (Some(in_front), Some((_, path))) => format!("{in_front}/{path}"),
            _ => url.to_owned(),
        }
    }
}

/// The next uploads to be verified and registered together; one at least, while there are any.
fn next_batch(uploaded: &mut Vec<Uploaded>) -> Vec<Uploaded> {
    let mut bytes: u64 = 0;
    let fits = |upload: &&Uploaded| {
        let has_room = bytes < BATCH_BYTES;
        bytes = bytes.saturating_add(upload.size);
        has_room
    };
    let count = uploaded.iter().rev().take(BATCH).take_while(fits).count();
    uploaded.split_off(uploaded.len() - count)
}

/// A checksum, if it is that of all bytes, and not a checksum of the checksums of parts.
fn of_the_whole(checksum: Option<String>, kind: Option<&ChecksumType>) -> Option<String> {
    checksum.filter(|_| kind.is_none_or(|kind| *kind == ChecksumType::FullObject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_registered_before_the_request_that_found_them_has_to_end() {
        let key = common::id::ObjectId::key(&"ab".repeat(32).parse().unwrap());
        let of_size = |size| Uploaded { object: key.clone(), size, etag: String::new() };
        let batches = |sizes: &[u64]| {
            let mut uploaded: Vec<Uploaded> = sizes.iter().copied().map(of_size).collect();
            let mut counts = Vec::new();
            while !uploaded.is_empty() {
                counts.push(next_batch(&mut uploaded).len());
            }
            counts
        };
        assert_eq!(batches(&[1; 1_200]), [500, 500, 200]);
        // 30 GiB and the one that goes beyond, of 5 GB each: half a minute, and less than three for the longest.
        assert_eq!(batches(&[5_000_000_000; 20]), [7, 7, 6]);
        assert_eq!(batches(&[u64::MAX, u64::MAX]), [1, 1]);
        assert_eq!(batches(&[]), [0; 0]);
    }
}
