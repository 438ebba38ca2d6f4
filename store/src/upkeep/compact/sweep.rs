//! Deletes packs that were merged long enough ago, and files without an item.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::bucket::packs;
use crate::read::large;
use crate::table::items::{
    GARBAGE, GarbageItem, Key, PK, PURGE, REMOVAL, RetiredItem, SK, SWEEP, SweepItem, encode, repo_of,
};
use crate::table::transaction::outcome_of;
use crate::upkeep::files::{ORPHANS_KEPT, forget_listed, is_over, keys_of, modified_at};
use crate::upkeep::index::Listing;
use crate::upkeep::pool::Doomed;
use crate::upkeep::swap::GRACE;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::pack::PackId;
use common::time;

/// How many S3 objects of each kind one sweep looks at. Those behind them in the order of their names are not found.
const MAX_LISTED: usize = 100_000;
/// The attribute that says when a sweep is due.
const UNTIL: &str = "expires_at";
/// Calls at the same time.
const PARALLEL: usize = 16;

/// What a sweep did.
pub(super) struct Swept {
    /// S3 objects deleted.
    pub(super) deleted: u64,
    /// Retired packs among them.
    pub(super) packs: u64,
}

impl Store {
    /// Whether no request reads some of these any more.
    pub(super) fn is_due(&self, retired: &[(String, RetiredItem)]) -> bool {
        let now = self.ambient.now();
        retired.iter().any(|(_, item)| is_over(item, now))
    }

    /// Deletes packs whose time is over, and then files that no item has named for long.
    pub(super) async fn sweep(&self, repo: &RepoId) -> Result<Swept, StoreError> {
        let now = self.ambient.now();
        // In this order: what is in S3, then what is named, then what was named, then what others need. A pack that is merged
        // in between is found among the last.
        let (of_packs, of_objects) = (packs::prefix(repo), large::prefix(repo));
        let (old_packs, old_objects) =
            tokio::try_join!(self.listed_before(&of_packs, now), self.listed_before(&of_objects, now))?;
        let listing = self.listing(repo).await?;
        let named = listing.packs();
        let retired = self.retired(repo).await?;

        let files = listing.tables.iter().chain(&named);
        let named_keys: HashSet<String> = files.map(|(name, summary)| packs::table_key(repo, *name, summary)).collect();
        let mut over = Vec::new();
        let mut waiting = HashSet::new();
        for (name, item) in &retired {
            let keys = keys_of(repo, item)?;
            if is_over(item, now) {
                let merged = PackId::from_string(name);
                let merged = merged.map_err(|error| StoreError::Damaged(format!("repo {repo}: {error}")))?;
                over.push((Key::retired(repo, merged), keys));
            } else {
                waiting.extend(keys);
            }
        }
        let retired_keys = over.iter().flat_map(|(_, keys)| keys);
        let mut retired_keys: HashSet<String> =
            retired_keys.filter(|key| !named_keys.contains(*key)).cloned().collect();
        let mut unnamed: HashSet<String> = old_packs.into_iter().collect();
        unnamed.retain(|key| !named_keys.contains(key) && !waiting.contains(key) && !retired_keys.contains(key));
        // A request that began before a pack was dropped may list its large objects, so they stay as long as such a
        // request may live.
        let is_read = retired.iter().any(|(_, item)| item.has_large && !is_over(item, now));
        let old_objects = if is_read { HashSet::new() } else { old_objects.into_iter().collect() };
        let mut orphans = self.orphans(repo, &listing, unnamed, old_objects).await?;
        if !orphans.is_empty() {
            self.forget_needed(repo, &mut orphans, Doomed::Unnamed).await?;
        }
        self.forget_needed(repo, &mut retired_keys, Doomed::Retired).await?;

        let packs = retired_keys.len() as u64;
        let deleted = packs + orphans.len() as u64;
        stream::iter(retired_keys.into_iter().chain(orphans))
            .map(|key| async move { self.delete_object(&key).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        // Last, so that a sweep that follows one which was cut off finds them again.
        stream::iter(over)
            .map(|(item, _)| async move { self.delete_item(&item).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        self.end_at(&Key::sweep(repo), now).await?;
        // What a swap has retired has an item that is due then. What a fork has left that has gone was noted, and names nothing.
        let noted = retired.iter().filter(|(_, item)| item.packs.is_empty() && item.indexes.is_empty());
        if let Some(next) = noted.map(|(_, item)| time::after(item.retired_at, GRACE)).filter(|over| *over > now).min()
        {
            self.sweep_by(repo, next).await?;
        }
        Ok(Swept { deleted, packs })
    }

    /// Has the compaction of a repo woken again, when DynamoDB's TTL comes to it, if nothing would: and its garbage collected then,
    /// if that `is_due`.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn put_off_upkeep(&self, repo: &RepoId, is_due: bool) -> Result<(), StoreError> {
        let expires_at = time::whole_second(self.ambient.now());
        if is_due {
            self.put_item(&Key::garbage(repo), &GarbageItem { expires_at }).await?;
        }
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.location.table)
            .set_item(Some(encode(&Key::sweep(repo), &SweepItem { expires_at })?))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", PK);
        outcome_of(put.send().await, Key::sweep(repo)).map(drop)
    }

    /// The repos in which a sweep or a collection is due, or that are to be removed, or in which bytes of what was purged are left. It reads the
    /// whole table. In a deployment DynamoDB's TTL ends the items instead, and the table's stream wakes the function; it also has each purge
    /// until one run after it has succeeded.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn due_upkeep(&self) -> Result<Vec<RepoId>, StoreError> {
        let mut pages = self
            .dynamodb
            .scan()
            .table_name(&self.location.table)
            .filter_expression(
                "#sk IN (:sweep, :garbage, :removal) AND #until <= :now \
                 OR #sk = :purge AND attribute_not_exists(erased_at)",
            )
            .expression_attribute_names("#sk", SK)
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_values(":sweep", AttributeValue::S(SWEEP.to_owned()))
            .expression_attribute_values(":garbage", AttributeValue::S(GARBAGE.to_owned()))
            .expression_attribute_values(":removal", AttributeValue::S(REMOVAL.to_owned()))
            .expression_attribute_values(":purge", AttributeValue::S(PURGE.to_owned()))
            .expression_attribute_values(":now", in_seconds(self.ambient.now()))
            .projection_expression(PK)
            .into_paginator()
            .items()
            .send();
        let mut repos = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(StoreError::at(SWEEP))?;
            if let Some(AttributeValue::S(key)) = item.get(PK) {
                repos.extend(repo_of(key));
            }
        }
        Ok(repos)
    }

    /// Deletes an item that expires, unless it was put again and expires later than this.
    pub async fn end_at(&self, key: &Key, time: Timestamp) -> Result<(), StoreError> {
        let deleted = self
            .dynamodb
            .delete_item()
            .table_name(&self.location.table)
            .set_key(Some(key.item()))
            .condition_expression("attribute_not_exists(#until) OR #until <= :now")
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_values(":now", in_seconds(time))
            .send()
            .await;
        outcome_of(deleted, key).map(drop)
    }

    /// The keys with this prefix that have been in S3 for longer than a push takes to name its pack.
    async fn listed_before(&self, prefix: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let oldest = time::before(now, ORPHANS_KEPT);
        let mut pages = self.s3.list_objects_v2().bucket(&self.location.bucket).prefix(prefix).into_paginator().send();
        let (mut found, mut listed) = (Vec::new(), 0);
        while let Some(page) = pages.next().await {
            for object in page.map_err(StoreError::at(prefix))?.contents.unwrap_or_default() {
                listed += 1;
                let is_old = modified_at(object.last_modified).is_some_and(|modified| modified < oldest);
                found.extend(object.key.filter(|_| is_old));
            }
            if listed >= MAX_LISTED {
                tracing::info!(prefix, "there is more than one sweep looks at");
                break;
            }
        }
        Ok(found)
    }

    /// Which of these old packs and old large objects, all without an item, may be deleted. If the packs of the repo
    /// lack the commit of a branch, or a parent, the answer is none, because one of the files may be what is missing.
    /// What a repair has set aside stays.
    async fn orphans(
        &self,
        repo: &RepoId,
        listing: &Listing,
        unnamed: HashSet<String>,
        mut objects: HashSet<String>,
    ) -> Result<HashSet<String>, StoreError> {
        let aside = self.set_aside(repo).await?;
        let survey = self.survey(repo, listing).await?;
        if !self.has_what_it_names(repo, &survey).await? {
            tracing::warn!(%repo, "something is missing, and so nothing is deleted that no item names: musehub fsck");
            return Ok(HashSet::new());
        }
        forget_listed(&mut objects, repo, &survey).await?;
        objects.extend(unnamed);
        objects.retain(|key| !aside.iter().any(|pack| key.contains(pack.as_str())));
        Ok(objects)
    }

    /// Those of these keys that no pack lists as those of large objects, in none of the repos that share files with this one.
    ///
    /// # Errors
    /// When the stores do not answer, or a table is damaged.
    pub async fn unlisted(&self, repo: &RepoId, mut keys: HashSet<String>) -> Result<HashSet<String>, StoreError> {
        if keys.is_empty() {
            return Ok(keys);
        }
        let survey = self.survey(repo, &self.listing(repo).await?).await?;
        forget_listed(&mut keys, repo, &survey).await?;
        self.forget_needed(repo, &mut keys, Doomed::Retired).await?;
        Ok(keys)
    }
}

/// As the table's TTL attribute has it.
fn in_seconds(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.as_second().to_string())
}
