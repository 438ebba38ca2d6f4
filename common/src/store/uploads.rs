//! What clients PUT straight into S3, through URLs that are presigned for them.
//!
//! Everything that comes so lies under `uploads/`, from where nothing is served, and a lifecycle rule ends it after a
//! day. Nobody tells the hub that a PUT has ended: whoever misses an object looks for it there. An object counts once
//! its SHA-256 is proved, and then as a [`large`] object:
//!
//! 1. S3 copies what was uploaded, this version and no other, to a name that is drawn for it and that no URL was ever
//!    given out for; on the way it computes the SHA-256. Whatever is uploaded later cannot change the copy.
//! 2. If the hash is not the object's id, the copy and the upload are deleted, and the object is as missing as before.
//! 3. Else the copy is registered by a pack that lists it, pushed ahead like any object of `/push/objects`.
//!
//! A request's body may come the same way: see [`BodyUpload`].

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::config::{RequestChecksumCalculation, timeout::TimeoutConfig};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::change::{Change, Outcome, put_new};
use super::index::LargeObject;
use super::items::{BodyUploadItem, Key, UploadsItem, encode};
use super::{Error, Store, large};
use crate::id::{ObjectKey, RepoId, Slug};
use crate::pack::{NewPack, PackId, write};
use crate::service::compute;

/// How long what was uploaded is kept for somebody to ask for it: as long as the lifecycle rule leaves it there.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an uploaded body may be referred to.
pub const BODY_KEPT: Duration = Duration::from_secs(60 * 60);
/// What the keys of everything uploaded begin with.
pub const PREFIX: &str = "uploads/";

/// Uploads of one repo that are looked through: the excess is not found, and so is as missing as it was before.
const MAX_LISTED: usize = 100_000;
/// Uploads that are verified before what was proved is registered, so that a request which is cut off loses little.
const BATCH: usize = 500;
/// Uploads that are verified at the same time.
const PARALLEL: usize = 32;
/// How long S3 may take to copy 5 GB.
const COPY_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes that are read at once where S3 does not tell the hash of a copy.
const READ_BYTES: u64 = 8 << 20;

/// Something that was PUT.
struct Uploaded {
    object: ObjectKey,
    size: u64,
    etag: String,
}

/// The body of a request that is sent by reference. It belongs to one user and one repo, and is used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyUpload {
    /// Who may use it.
    pub user_id: String,
    /// The handle of the owner of the repo that it was made for.
    pub owner: Slug,
    /// The name of that repo.
    pub slug: Slug,
}

fn upload_key(repo: &RepoId, object: &ObjectKey) -> String {
    format!("{PREFIX}{repo}/{}", object.as_ref())
}

fn body_key(id: &str) -> String {
    format!("{PREFIX}bodies/{id}")
}

/// Makes URLs that are good for a while without a token.
pub struct Presigner<'a> {
    s3: aws_sdk_s3::Client,
    store: &'a Store,
    config: PresigningConfig,
}

impl Store {
    /// Makes URLs that are good for `ttl`. They lead to `endpoint`, where clients do not reach S3 under its own name.
    ///
    /// # Errors
    /// Never, for a time of less than a week.
    pub fn presigner(&self, ttl: Duration, endpoint: Option<&str>) -> Result<Presigner<'_>, Error> {
        let mut config = self.s3.config().to_builder();
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        // Clients send no header of their own, so nothing but `host` may be signed.
        let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired).build();
        Ok(Presigner {
            s3: aws_sdk_s3::Client::from_conf(config),
            store: self,
            config: PresigningConfig::expires_in(ttl).map_err(Error::fault)?,
        })
    }

    /// Notes that objects may be uploaded to a repo from now on, so that they are looked for.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn expect_uploads(&self, repo: &RepoId) -> Result<(), Error> {
        let until = self.ambient.now_ms() / 1_000 + KEPT.as_secs();
        let item = encode(&Key::uploads(repo), &UploadsItem { expires_at: until })?;
        let put = self.dynamodb.put_item().table_name(&self.location.table).set_item(Some(item));
        put.send().await.map(drop).map_err(Error::from_sdk)
    }

    /// Looks whether any of these objects were uploaded, verifies those, and makes them the repo's, as yet unseen by
    /// anybody. The repo's index is to be read again then: another request may have been faster.
    ///
    /// # Errors
    /// When the stores do not answer.
    pub async fn take_uploads(&self, repo: &RepoId, wanted: &HashSet<ObjectKey>, by: &str) -> Result<(), Error> {
        let mut uploaded = self.uploaded(repo).await?;
        uploaded.retain(|upload| wanted.contains(&upload.object));
        while !uploaded.is_empty() {
            let batch = uploaded.split_off(uploaded.len().saturating_sub(BATCH));
            let pack = self.ambient.ulid();
            let proved: Vec<Uploaded> = stream::iter(batch)
                .map(|upload| self.prove(repo, pack, upload))
                .buffer_unordered(PARALLEL)
                .try_filter_map(|proved| async { Ok(proved) })
                .try_collect()
                .await?;
            if proved.is_empty() {
                continue;
            }
            let large = proved.iter().map(|upload| (upload.object.clone(), upload.size)).collect();
            let written = compute(|| write(NewPack { large, ..NewPack::default() }))?;
            let stored = self.store_pack_as(pack, repo, written).await?;
            let change = Change { repo, creates: None, pack: Some(&stored), branch: None, by };
            // The pack's name is its own, so nothing can be in its way.
            if self.commit(&change).await? == Outcome::Conflict {
                return Err(Error::Damaged(format!("repo {repo}: the pack {pack} is there twice")));
            }
            // What is left over is of no use and does no harm until it expires.
            stream::iter(&proved)
                .for_each_concurrent(PARALLEL, |upload| async {
                    self.delete_quietly(&upload_key(repo, &upload.object), Some(&upload.etag)).await;
                })
                .await;
        }
        Ok(())
    }

    /// What lies there for a repo.
    async fn uploaded(&self, repo: &RepoId) -> Result<Vec<Uploaded>, Error> {
        let prefix = format!("{PREFIX}{repo}/");
        let list = self.s3.list_objects_v2().bucket(&self.location.bucket).prefix(&prefix);
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(Error::from_sdk)?.contents.unwrap_or_default() {
                let id = object.key.as_deref().and_then(|key| key.strip_prefix(&prefix)?.parse().ok());
                let size = object.size.and_then(|size| u64::try_from(size).ok());
                if let (Some(id), Some(size), Some(etag)) = (id, size, object.e_tag) {
                    found.push(Uploaded { object: crate::id::ObjectId::key(&id), size, etag });
                }
            }
            if found.len() >= MAX_LISTED {
                tracing::warn!(%repo, "more than {MAX_LISTED} uploads wait: the rest is not looked at");
                break;
            }
        }
        Ok(found)
    }

    /// Copies what was uploaded to where nobody can change it, if it is the object that it is said to be.
    async fn prove(&self, repo: &RepoId, pack: PackId, upload: Uploaded) -> Result<Option<Uploaded>, Error> {
        let bucket = &self.location.bucket;
        let (from, to) = (upload_key(repo, &upload.object), large::key(repo, pack, &upload.object));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(COPY_TIMEOUT).operation_timeout(COPY_TIMEOUT);
        let copied = self
            .s3
            .copy_object()
            .copy_source(format!("{bucket}/{from}"))
            .copy_source_if_match(&upload.etag)
            .bucket(bucket)
            .key(&to)
            .if_none_match("*")
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .customize()
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts.build()))
            .send()
            .await;
        let told = match copied {
            Ok(copied) => copied.copy_object_result.and_then(|result| {
                whole_object(result.checksum_type.as_ref()).then_some(result.checksum_sha256).flatten()
            }),
            Err(error) => match error.code() {
                // Taken by another request since it was listed.
                Some("NoSuchKey") => return Ok(None),
                // Overwritten since it was listed; or copied, by an attempt whose answer was lost.
                Some("PreconditionFailed") => {
                    let head = self.s3.head_object().bucket(bucket).key(&to).checksum_mode(ChecksumMode::Enabled);
                    match head.send().await {
                        Ok(head) => whole_object(head.checksum_type.as_ref()).then_some(head.checksum_sha256).flatten(),
                        Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                            return Ok(None);
                        }
                        Err(error) => return Err(Error::from_sdk(error)),
                    }
                }
                _ => return Err(Error::from_sdk(error)),
            },
        };
        let digest: Option<[u8; 32]> = match told.and_then(|told| BASE64_STANDARD.decode(told).ok()) {
            Some(told) => told.try_into().ok(),
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

    /// The hash of a copy whose hash S3 does not tell.
    async fn hash_of(&self, key: &str, size: u64) -> Result<[u8; 32], Error> {
        let mut hash = Sha256::new();
        let mut start = 0;
        while start < size {
            let end = size.min(start + READ_BYTES);
            let bytes = self.get_range(key, start..end).await?;
            compute(|| hash.update(&bytes));
            start = end;
        }
        Ok(hash.finalize().into())
    }

    /// Deletes what is of no more use. If that does not succeed, the lifecycle rule or the garbage collection will.
    async fn delete_quietly(&self, key: &str, etag: Option<&str>) {
        let delete = self.s3.delete_object().bucket(&self.location.bucket).key(key);
        if let Err(error) = delete.set_if_match(etag.map(str::to_owned)).send().await {
            tracing::debug!(key, code = error.code(), "left over");
        }
    }

    /// Makes room for the body of a request.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn new_body_upload(&self, upload: &BodyUpload) -> Result<String, Error> {
        let id = self.ambient.ulid().to_string();
        let item = BodyUploadItem {
            user_id: upload.user_id.clone(),
            owner: upload.owner.clone(),
            slug: upload.slug.clone(),
            used_by: None,
            expires_at: self.ambient.now_ms() / 1_000 + BODY_KEPT.as_secs(),
        };
        let key = Key::body_upload(&id);
        let put = put_new(&self.location.table, encode(&key, &item)?)?;
        self.transact(vec![put], &key, |_: serde::de::IgnoredAny| true).await?;
        Ok(id)
    }

    /// The body that was uploaded under an id, for once: who asks for it again finds nothing.
    ///
    /// # Errors
    /// When the stores do not answer.
    pub async fn take_body(&self, id: &str, upload: &BodyUpload, limit: usize) -> Result<TakenBody, Error> {
        let key = Key::body_upload(id);
        let Some(item) = self.get_item::<BodyUploadItem>(&key).await? else {
            return Ok(TakenBody::Unknown);
        };
        let is_meant = item.user_id == upload.user_id && item.owner == upload.owner && item.slug == upload.slug;
        if !is_meant || item.used_by.is_some() || item.expires_at <= self.ambient.now_ms() / 1_000 {
            return Ok(TakenBody::Unknown);
        }
        let s3_key = body_key(id);
        let head = self.s3.head_object().bucket(&self.location.bucket).key(&s3_key).send().await;
        let size = match head {
            Ok(head) => head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                return Ok(TakenBody::NotThere);
            }
            Err(error) => return Err(Error::from_sdk(error)),
        };
        if size > limit as u64 {
            return Ok(TakenBody::TooLarge(size));
        }
        // Of two requests with one id, one is the first. That it marks the item with a name of its own makes a further
        // attempt of the SDK harmless.
        let me = AttributeValue::S(self.ambient.ulid().to_string());
        let marked = self
            .dynamodb
            .update_item()
            .table_name(&self.location.table)
            .set_key(Some(key.item()))
            .update_expression("SET used_by = :me")
            .condition_expression("attribute_not_exists(used_by) OR used_by = :me")
            .expression_attribute_values(":me", me.clone())
            .send()
            .await;
        if let Err(error) = marked {
            let is_gone = error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception());
            return if is_gone { Ok(TakenBody::Unknown) } else { Err(Error::from_sdk(error)) };
        }
        let body = self.get_range_parts(&s3_key, size).await;
        if body.is_ok() {
            self.delete_quietly(&s3_key, None).await;
        } else {
            // It was not used after all. If this fails too, the client has to upload it once more.
            let unmark = self.dynamodb.update_item().table_name(&self.location.table).set_key(Some(key.item()));
            let unmark = unmark.update_expression("REMOVE used_by").condition_expression("used_by = :me");
            let _ = unmark.expression_attribute_values(":me", me).send().await;
        }
        body.map(TakenBody::Taken)
    }

    /// Reads an S3 object in parts, a few at a time.
    async fn get_range_parts(&self, key: &str, size: u64) -> Result<Bytes, Error> {
        const PARALLEL_PARTS: usize = 4;
        let starts = (0..size).step_by(READ_BYTES as usize);
        let parts = stream::iter(starts.map(|start| self.get_range(key, start..size.min(start + READ_BYTES))));
        let mut parts = parts.buffered(PARALLEL_PARTS);
        let mut body = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        while let Some(part) = parts.next().await {
            body.extend_from_slice(&part?);
        }
        Ok(body.into())
    }
}

/// What became of the body that a request refers to.
#[derive(Debug)]
pub enum TakenBody {
    /// Here it is.
    Taken(Bytes),
    /// There is no such upload, or it is used, expired, or somebody else's.
    Unknown,
    /// Nothing was uploaded yet.
    NotThere,
    /// It has so many bytes, which are too many. It may still be used.
    TooLarge(u64),
}

impl Presigner<'_> {
    /// Where to upload an object.
    ///
    /// # Errors
    /// When the URL cannot be signed.
    pub async fn put_object(&self, repo: &RepoId, object: &ObjectKey) -> Result<String, Error> {
        self.put(&upload_key(repo, object)).await
    }

    /// Where to upload the body of a request.
    ///
    /// # Errors
    /// When the URL cannot be signed.
    pub async fn put_body(&self, id: &str) -> Result<String, Error> {
        self.put(&body_key(id)).await
    }

    async fn put(&self, key: &str) -> Result<String, Error> {
        let put = self.s3.put_object().bucket(&self.store.location.bucket).key(key);
        Ok(put.presigned(self.config.clone()).await.map_err(Error::from_sdk)?.uri().to_owned())
    }

    /// Where to download a large object.
    ///
    /// # Errors
    /// When the URL cannot be signed.
    pub async fn get_object(&self, repo: &RepoId, object: &ObjectKey, large: &LargeObject) -> Result<String, Error> {
        let get = self.s3.get_object().bucket(&self.store.location.bucket).key(large::key(repo, large.pack, object));
        Ok(get.presigned(self.config.clone()).await.map_err(Error::from_sdk)?.uri().to_owned())
    }
}

/// Whether a checksum is that of all bytes, and not one of parts' checksums.
fn whole_object(checksum_type: Option<&ChecksumType>) -> bool {
    checksum_type.is_none_or(|kind| *kind == ChecksumType::FullObject)
}
