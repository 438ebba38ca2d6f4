//! Releases: commits that are given to the world under a name, one item each.

use std::cmp::Reverse;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Deserialize;

use crate::table::PutError;
use crate::table::items::{Key, RELEASE_PREFIX, ReleaseItem, encode};
use crate::table::transaction::{Outcome, outcome_of, put_new};
use crate::{Store, StoreError};
use common::id::{Label, RepoId};
use common::wire::limits::{MAX_RELEASE, MAX_RELEASE_ENCODED, MAX_RELEASES_BYTES, MAX_RELEASES_OF_REPO};
use common::wire::recode;
use common::wire::release::{Release, ReleaseFilter};
use common::wire::value::Value;

/// zstd's default: bodies and changelogs are text, and there are few of them.
const LEVEL: i32 = 3;

/// How often a repo may be deleted and undeleted while a release is kept.
const ATTEMPTS: usize = 20;

/// As much of a release's item as is needed to see whether there is room for another.
#[derive(Deserialize)]
struct SizeOnly {
    size: u64,
}

impl Store {
    /// Keeps a release that this user publishes, unless there is one of its tag.
    ///
    /// # Errors
    /// [`PutError::TooLarge`] or [`PutError::Full`] for what does not fit, and when the table does not answer.
    pub async fn put_release(&self, repo: &RepoId, release: &Release, by: &str) -> Result<Outcome, PutError> {
        let raw = release.record().map_err(StoreError::fault)?;
        let mut encoded = raw.len();
        // As JSON it may have six times as many bytes, which are not made of what is refused anyway.
        if encoded <= MAX_RELEASE_ENCODED {
            let mut json = Vec::new();
            recode::to_json(&raw, &mut json).map_err(StoreError::fault)?;
            encoded = encoded.max(json.len());
        }
        if encoded > MAX_RELEASE_ENCODED {
            return Err(PutError::TooLarge(format!(
                "with its body and changelog the release has {encoded} bytes in one of the encodings: it may have {MAX_RELEASE_ENCODED}"
            )));
        }
        let record = zstd::bulk::compress(&raw, LEVEL).map_err(StoreError::fault)?;
        if record.len() > MAX_RELEASE {
            return Err(PutError::TooLarge(format!(
                "with its body and changelog the release has {} bytes compressed: at most {MAX_RELEASE} can be kept",
                record.len()
            )));
        }
        for _ in 0..ATTEMPTS {
            let others: Vec<(String, SizeOnly)> =
                self.query_for(repo, RELEASE_PREFIX, MAX_RELEASES_OF_REPO, Some(&["size"])).await?;
            if others.iter().any(|(tag, _)| *tag == release.tag.as_str()) {
                return Ok(Outcome::Conflict);
            }
            PutError::check_count("releases of one repository", others.len() + 1, MAX_RELEASES_OF_REPO)?;
            let bytes = others.iter().map(|(_, other)| other.size as usize).sum::<usize>() + raw.len();
            PutError::check_count("bytes in all releases of one repository", bytes, MAX_RELEASES_BYTES)?;

            let item = ReleaseItem {
                write_id: self.ambient.ulid().to_string(),
                commit_id: release.commit.clone(),
                channel: release.channel.as_str().to_owned(),
                is_draft: release.is_draft,
                created_at: release.created_at().to_owned(),
                written_by: Some(by.to_owned()),
                size: raw.len() as u64,
                record: record.clone(),
            };
            let key = Key::release(repo, &release.tag);
            let encoded = encode(&key, &item)?;
            let to_publish = self.to_publish(&encoded);
            let items = vec![put_new(&self.location.table, encoded)?, self.is_not_deleted(repo, release.tag.as_str())?];
            let is_ours = |stored: ReleaseItem| stored.write_id == item.write_id;
            if self.transact(items, &key, is_ours).await? == Outcome::Landed {
                self.publish(to_publish);
                return Ok(Outcome::Landed);
            }
            if self.meta(repo).await?.is_none() {
                return Err(PutError::Deleted);
            }
            // It was refused for a release, which is found next, or for a deletion of the repo that was undone since.
        }
        Err(StoreError::Unavailable("the repository was being deleted and undeleted".into()).into())
    }

    /// The releases of a repo that pass the filter, newest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn releases(&self, repo: &RepoId, filter: ReleaseFilter) -> Result<Vec<KeptRelease>, StoreError> {
        let listed = self.query::<ReleaseItem>(repo, RELEASE_PREFIX, MAX_RELEASES_OF_REPO).await?;
        let mut kept: Vec<KeptRelease> = listed.into_iter().map(|(tag, item)| KeptRelease { tag, item }).collect();
        kept.retain(|KeptRelease { item, .. }| {
            filter.channel.is_none_or(|channel| item.channel == channel.as_str())
                && (filter.include_drafts || !item.is_draft)
        });
        kept.sort_by_cached_key(|KeptRelease { item, .. }| {
            // Clients write times in more than one way; of two of the same time, the one posted later is newer.
            Reverse((item.created_at.parse::<Timestamp>().ok(), item.created_at.clone(), item.write_id.clone()))
        });
        Ok(kept)
    }

    /// The release of a tag, if there is one.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn release(&self, repo: &RepoId, tag: &Label) -> Result<Option<KeptRelease>, StoreError> {
        let item = self.get_item(&Key::release(repo, tag)).await?;
        Ok(item.map(|item| KeptRelease { tag: tag.to_string(), item }))
    }

    /// Takes a release back. Whether there was one.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn delete_release(&self, repo: &RepoId, tag: &Label) -> Result<bool, StoreError> {
        let key = Key::release(repo, tag);
        let Some(ReleaseItem { write_id, .. }) = self.get_item(&key).await? else {
            return Ok(false);
        };
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.location.table)
            .set_key(Some(key.item()))
            .condition_expression("write_id = :seen")
            .expression_attribute_values(":seen", AttributeValue::S(write_id));
        // On a conflict another request took it back first, or an attempt of this one; what was published since is not meant.
        outcome_of(delete.send().await, &key).map(|_| true)
    }
}

/// A release as the table keeps it.
#[derive(Debug)]
pub struct KeptRelease {
    /// Its tag.
    pub tag: String,
    item: ReleaseItem,
}

impl KeptRelease {
    /// What tells this item from any other of the same tag.
    pub fn write_id(&self) -> &str {
        &self.item.write_id
    }

    /// The release as it was posted, one msgpack map.
    ///
    /// # Errors
    /// When what the table has of it cannot be read.
    pub fn record(&self) -> Result<Vec<u8>, StoreError> {
        zstd::bulk::decompress(&self.item.record, self.item.size as usize)
            .map_err(|error| StoreError::Damaged(format!("release {}: {error}", self.tag)))
    }

    /// The same, decoded.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn value(&self) -> Result<Value, StoreError> {
        rmp_serde::from_slice(&self.record()?)
            .map_err(|error| StoreError::Damaged(format!("release {}: {error}", self.tag)))
    }
}
