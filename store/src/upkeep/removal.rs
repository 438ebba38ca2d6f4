//! Removes repos that were deleted long enough ago: their files, their items, and at last their names.
//!
//! The end of the item `REMOVAL` wakes it, as `SWEEP` and `GARBAGE` do other upkeep. A removal can break off at any call and go on:
//!
//! 1. **Begin.** One conditional write notes in the repo's item about itself since when it is being removed, if the repo was deleted
//!    long enough ago and was not undeleted. An undeletion is on condition that this is not noted. So one of the two lands.
//! 2. **Wait** for [`GRACE`]. What was under way in the repo until then, which is upkeep alone, has ended.
//! 3. **Items.** What its owner uses is less by what was counted of it. Then all items but the item about the repo itself, its guards, and `REMOVAL`.
//! 4. **Files.** All that S3 has of the repo's packs and large objects, unless the repo shares them ([`pool`](crate::upkeep::pool)): then it
//!    leaves the pool, and another repo of that deletes what none needs any more. Uploads are deleted by a lifecycle rule.
//! 5. **Names.** These and all names that lead to the repo, in one transaction. So no name leads to half of a repo, and a name
//!    can be that of a new repo only when nothing is left of the old one.
//!
//! Before each of these `REMOVAL` is put again, so that its end wakes the next run wherever this one ends.
//!
//! **A fork that is not all there** when the process that makes it has ended has no item about itself and no name. It is removed in the same way,
//! once a conditional write has noted that it is abandoned: then it cannot come to be all there any more.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem, Update};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::bucket::packs;
use crate::deletion::GUARDS;
use crate::read::large;
use crate::table::items::{
    FORKING, ForkingItem, GUARD_PREFIX, Key, META, MetaItem, PK, REMOVAL, RemovalItem, encode, repo_pk,
};
use crate::table::transaction::{Outcome, outcome_of, put};
use crate::upkeep::swap::GRACE;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::time;

/// When the next run goes on with what this one has left.
const AGAIN: Duration = Duration::from_secs(60 * 60);
/// Calls at the same time.
const PARALLEL: usize = 16;

/// How far the removal of a repo is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// The repo is there, or can still be undeleted: upkeep goes on in it.
    NotDue,
    /// It has begun, and waits for what is under way.
    Begun,
    /// The repo is a fork that is not all there yet: nothing is done in it.
    Unfinished,
    /// Nothing is left of the repo.
    Done {
        /// Files that were deleted by this run.
        files: u64,
        /// Items that were deleted by this run.
        items: u64,
    },
}

impl Store {
    /// Removes a repo, if that is due, as far as it can be now.
    ///
    /// # Errors
    /// When the stores do not answer. The next run goes on.
    pub async fn remove_if_due(&self, repo: &RepoId) -> Result<Removal, StoreError> {
        let now = self.ambient.now();
        let Some(meta) = self.get_item::<MetaItem>(&Key::meta(repo)).await? else {
            return self.remove_half(repo, now).await;
        };
        if let Some(since) = meta.removing_since {
            let begins = time::after(since, GRACE);
            if now < begins {
                self.wake_removal(repo, begins).await?;
                return Ok(Removal::Begun);
            }
            return self.remove(repo, &meta).await;
        }
        match meta.kept_until() {
            Some(until) if until <= now => self.begin_removal(repo, &meta, now).await,
            _ => Ok(Removal::NotDue),
        }
    }

    async fn begin_removal(&self, repo: &RepoId, meta: &MetaItem, now: Timestamp) -> Result<Removal, StoreError> {
        let table = &self.location.table;
        let seen = meta.deleted_at.clone().unwrap_or_default();
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(Key::meta(repo).item()))
            .update_expression("SET removing_since = :now")
            .condition_expression("deleted_at = :seen AND attribute_not_exists(removing_since)")
            .expression_attribute_values(":seen", AttributeValue::S(seen))
            .expression_attribute_values(":now", AttributeValue::N(now.as_millisecond().to_string()))
            .build()
            .map_err(StoreError::fault)?;
        let wakes = RemovalItem { expires_at: time::whole_second(time::after(now, GRACE)) };
        let items = vec![
            TransactWriteItem::builder().update(update).build(),
            put(table, encode(&Key::removal(repo), &wakes)?)?,
        ];
        let is_ours =
            |found: MetaItem| found.removing_since.is_some_and(|since| since.as_millisecond() == now.as_millisecond());
        Ok(match self.transact(items, &Key::meta(repo), is_ours).await? {
            Outcome::Landed => {
                tracing::info!(%repo, "the removal of a deleted repo has begun");
                Removal::Begun
            }
            // It was undeleted first, or another run has begun.
            Outcome::Conflict => Removal::NotDue,
        })
    }

    async fn remove(&self, repo: &RepoId, meta: &MetaItem) -> Result<Removal, StoreError> {
        self.wake_removal(repo, time::after(self.ambient.now(), AGAIN)).await?;
        self.uncount(repo, meta).await?;
        let items = self.remove_items(repo).await?;
        let files = self.leave_files(repo).await?;
        self.remove_names(repo, meta).await?;
        tracing::info!(%repo, files, items, "a repo that was deleted is removed");
        Ok(Removal::Done { files, items })
    }

    /// Removes a repo that has no item about itself: a fork that is not all there, if it never will be. Of others nothing is left that leads
    /// to them, so upkeep is not to make them items again.
    async fn remove_half(&self, repo: &RepoId, now: Timestamp) -> Result<Removal, StoreError> {
        let key = Key::forking(repo);
        let Some(forking) = self.get_item::<ForkingItem>(&key).await? else {
            // What a run that ended too soon has left to wake it.
            self.delete_item(&Key::removal(repo)).await?;
            return Ok(Removal::Done { files: 0, items: 0 });
        };
        let given_up = time::after(forking.since, GRACE);
        if now < given_up && forking.abandoned_at.is_none() {
            self.wake_half(repo, given_up).await?;
            return Ok(Removal::Unfinished);
        }
        self.wake_half(repo, time::after(now, AGAIN)).await?;
        self.abandon(repo, &forking).await
    }

    /// Removes a fork that is not all there and is not wanted any more.
    pub(crate) async fn abandon(&self, repo: &RepoId, forking: &ForkingItem) -> Result<Removal, StoreError> {
        let (key, now) = (Key::forking(repo), self.ambient.now());
        if forking.abandoned_at.is_none() {
            let update = self.dynamodb.update_item().table_name(&self.location.table).set_key(Some(key.item()));
            let noted = update
                .update_expression("SET abandoned_at = :now")
                .condition_expression("attribute_exists(#pk)")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_values(":now", AttributeValue::N(now.as_millisecond().to_string()))
                .send()
                .await;
            if outcome_of(noted, &key)? == Outcome::Conflict {
                // It is all there, or another run has removed it.
                return Ok(Removal::Unfinished);
            }
        }
        let items = self.remove_items(repo).await?;
        let files = self.leave_files(repo).await?;
        for key in [Key::forking(repo), Key::removal(repo)] {
            self.delete_item(&key).await?;
        }
        tracing::info!(%repo, files, items, "a fork that was never all there is removed");
        Ok(Removal::Done { files, items })
    }

    /// Has the removal of a fork that is not all there woken, unless it is all there since.
    async fn wake_half(&self, repo: &RepoId, at: Timestamp) -> Result<(), StoreError> {
        let table = &self.location.table;
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(Key::forking(repo).item()))
            .condition_expression("attribute_exists(#pk)")
            .expression_attribute_names("#pk", PK)
            .build()
            .map_err(StoreError::fault)?;
        let wakes = RemovalItem { expires_at: time::whole_second(at) };
        let items = vec![
            put(table, encode(&Key::removal(repo), &wakes)?)?,
            TransactWriteItem::builder().condition_check(check).build(),
        ];
        self.transact(items, &Key::removal(repo), |_: IgnoredAny| false).await.map(drop)
    }

    /// Deletes the files of a repo that has no items any more; unless others share them, of which one is told to look which of them are
    /// needed. Returns how many were deleted.
    ///
    /// It leaves the pool first, and a repo that is being removed does not count as another. So of several that are removed at the same time
    /// one finds that it is the last.
    async fn leave_files(&self, repo: &RepoId) -> Result<u64, StoreError> {
        self.delete_item(&Key::pooled(repo)).await?;
        let mut is_shared = false;
        for (other, _) in self.others_in_pool(repo).await? {
            let is_gone = self.is_gone(&other).await?;
            // A fork that is being removed, or is not all there yet, has not left the pool. The first repo has no item there.
            is_shared |= other.is_fork() || !is_gone;
            if !is_gone {
                self.have_swept(&other).await?;
                break;
            }
        }
        if is_shared {
            return Ok(0);
        }
        let mut files = 0;
        for prefix in [packs::prefix(repo), large::prefix(repo)] {
            files += self.remove_files(&prefix).await?;
        }
        Ok(files)
    }

    /// Whether nothing is left of a repo, or it is being removed. If only its item about itself is lost, a repair can make that again.
    async fn is_gone(&self, repo: &RepoId) -> Result<bool, StoreError> {
        match self.get_item::<MetaItem>(&Key::meta(repo)).await? {
            Some(meta) => Ok(meta.removing_since.is_some()),
            None => Ok(self.tables(repo).await?.is_empty()),
        }
    }

    async fn remove_files(&self, prefix: &str) -> Result<u64, StoreError> {
        let (mut deleted, mut after) = (0, None);
        loop {
            let page = self.objects_page(prefix, after).await?;
            deleted += page.entries.len() as u64;
            stream::iter(page.entries)
                .map(|file| async move { self.delete_object(&file.key).await })
                .buffer_unordered(PARALLEL)
                .try_collect::<()>()
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(deleted);
            }
        }
    }

    /// Deletes the items of a repo but for those that say that it is being removed.
    async fn remove_items(&self, repo: &RepoId) -> Result<u64, StoreError> {
        let stays = |key: &Key| [META, REMOVAL, FORKING].contains(&key.sk.as_str()) || key.sk.starts_with(GUARD_PREFIX);
        let (mut deleted, mut after) = (0, None);
        loop {
            let page = self.items_page(&repo_pk(repo), "", after).await?;
            let keys: Vec<Key> = page.entries.iter().map(Key::of).filter(|key| !stays(key)).collect();
            deleted += keys.len() as u64;
            stream::iter(keys)
                .map(|key| async move { self.delete_item(&key).await })
                .buffer_unordered(PARALLEL)
                .try_collect::<()>()
                .await?;
            after = page.next;
            if after.is_none() {
                return Ok(deleted);
            }
        }
    }

    /// Deletes what leads to a repo, and what says that it is being removed.
    async fn remove_names(&self, repo: &RepoId, meta: &MetaItem) -> Result<(), StoreError> {
        let own = [Key::meta(repo), Key::removal(repo), Key::public(repo)];
        let guards = (0..GUARDS).map(|guard| Key::guard(repo, guard));
        let mut items = Vec::new();
        for key in own.into_iter().chain(guards) {
            items.push(delete_of(Delete::builder().table_name(&self.location.table).set_key(Some(key.item())))?);
        }
        for key in meta.name_keys().chain([Key::owned(&meta.owner_user_id, &meta.slug)]) {
            let delete = Delete::builder()
                .table_name(&self.location.table)
                .set_key(Some(key.item()))
                .condition_expression("attribute_not_exists(#pk) OR repo_id = :repo")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_values(":repo", AttributeValue::S(repo.to_string()));
            items.push(delete_of(delete)?);
        }
        // Nothing is put that would say that it has landed.
        match self.transact(items, &Key::meta(repo), |_: IgnoredAny| false).await? {
            Outcome::Landed => Ok(()),
            Outcome::Conflict if self.item(&Key::meta(repo)).await?.is_none() => Ok(()),
            Outcome::Conflict => {
                Err(StoreError::Damaged(format!("a name of the deleted repo {repo} leads to another")))
            }
        }
    }

    async fn wake_removal(&self, repo: &RepoId, at: Timestamp) -> Result<(), StoreError> {
        self.put_item(&Key::removal(repo), &RemovalItem { expires_at: time::whole_second(at) }).await
    }
}

fn delete_of(delete: aws_sdk_dynamodb::types::builders::DeleteBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().delete(delete.build().map_err(StoreError::fault)?).build())
}
