//! Repos that are deleted, and undeleted.
//!
//! 1. **Delete** ([`Store::delete_repo`]). One transaction sets `deleted_at` in the repo's item about itself, which every request
//!    reads, so that the next request finds no repo; nothing else of it changes. It also puts the *guards* of the repo, and an item
//!    `REMOVAL` that expires [`KEPT`] later.
//! 2. **Undelete** ([`Store::undelete_repo`]), within that time: the same backwards. The repo is as it was, for its names lead to it all
//!    the while, and no other repo can have them.
//! 3. **Remove** ([`crate::upkeep::removal`]), after that time.
//!
//! **What is under way when a repo is deleted** does not land, or landed before. What writes to a repo says in its transaction that a guard
//! is absent (`Store::is_not_deleted`), or that the repo's item has no `deleted_at`. A push that fails of that is planned
//! again, and then finds no repo. Guards are items of their own so that pushes to different branches go on without a common item: two
//! transactions that check one item are in each other's way, as two that write it are. So a transaction checks one guard of
//! [`GUARDS`], by the branch; a deletion puts them all. In a repo that is not deleted there are none, so nothing has to be made for repos that
//! older hubs have made. Tags are written one by one, each under a condition of its own. One that is written while the repo is deleted is as
//! good as one that was written before: it is there when the repo is undeleted.
//!
//! **What is done beside requests** goes on in a deleted repo until it is removed: it changes nothing that a request sees.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem, Update};
use jiff::Timestamp;

use crate::table::items::{ChangeItem, GuardItem, Key, MetaItem, PK, RemovalItem, encode};
use crate::table::transaction::{Outcome, put};
use crate::{Store, StoreError};
use common::id::RepoId;
use common::time;

/// How long a repo that is deleted can be undeleted.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many guards a deleted repo has.
pub const GUARDS: usize = 16;
/// The field that a line of what was changed names: when the repo was deleted, or nothing.
pub(crate) const DELETED_AT: &str = "deleted_at";

impl MetaItem {
    /// Until when a repo that is deleted can be undeleted: none if it is not deleted, or if its removal has begun.
    pub fn kept_until(&self) -> Option<Timestamp> {
        let deleted_at: Timestamp = self.deleted_at.as_ref().filter(|_| self.removing_since.is_none())?.parse().ok()?;
        Some(time::after(deleted_at, KEPT))
    }
}

impl Store {
    /// Deletes a repo. From then on no request finds it.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn delete_repo(&self, repo: &RepoId, by: &str) -> Result<(Outcome, Timestamp), StoreError> {
        let table = &self.location.table;
        let now = self.ambient.now();
        let deleted_at = time::iso(now);
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(Key::meta(repo).item()))
            .update_expression("SET deleted_at = :now")
            .condition_expression("attribute_exists(#pk) AND attribute_not_exists(deleted_at)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":now", AttributeValue::S(deleted_at.clone()));
        let mut items = vec![update_of(update)?];
        let removal = RemovalItem { expires_at: time::whole_second(time::after(now, KEPT)) };
        items.push(put(table, encode(&Key::removal(repo), &removal)?)?);
        for guard in 0..GUARDS {
            items.push(put(table, encode(&Key::guard(repo, guard), &GuardItem { deleted_at: deleted_at.clone() })?)?);
        }
        let outcome = self.transact_deletion(repo, items, (String::new(), deleted_at), by).await?;
        Ok((outcome, time::after(now, KEPT)))
    }

    /// Undeletes a repo, of which this was read. It is a conflict if it is no longer so, also if the removal of the repo has begun.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn undelete_repo(&self, repo: &RepoId, deleted: &MetaItem, by: &str) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let deleted_at = deleted.deleted_at.clone().unwrap_or_default();
        // This and the condition that begins a removal exclude each other.
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(Key::meta(repo).item()))
            .update_expression("REMOVE deleted_at")
            .condition_expression("deleted_at = :seen AND attribute_not_exists(removing_since)")
            .expression_attribute_values(":seen", AttributeValue::S(deleted_at.clone()));
        let mut items = vec![update_of(update)?];
        let guards = (0..GUARDS).map(|guard| Key::guard(repo, guard));
        for key in guards.chain([Key::removal(repo)]) {
            let delete = Delete::builder().table_name(table).set_key(Some(key.item()));
            items.push(TransactWriteItem::builder().delete(delete.build().map_err(StoreError::fault)?).build());
        }
        self.transact_deletion(repo, items, (deleted_at, String::new()), by).await
    }

    /// The condition that a repo is not deleted. Of two transactions with different `spread` neither is in the way of the other.
    pub(crate) fn is_not_deleted(&self, repo: &RepoId, spread: &str) -> Result<TransactWriteItem, StoreError> {
        let guard = spread.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % GUARDS;
        let check = ConditionCheck::builder()
            .table_name(&self.location.table)
            .set_key(Some(Key::guard(repo, guard).item()))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", PK)
            .build()
            .map_err(StoreError::fault)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// Writes this with a line that says when the repo was deleted before, and when it is then.
    async fn transact_deletion(
        &self,
        repo: &RepoId,
        items: Vec<TransactWriteItem>,
        deleted_at: (String, String),
        by: &str,
    ) -> Result<Outcome, StoreError> {
        let change = ChangeItem {
            changed: BTreeMap::from([(DELETED_AT.to_owned(), deleted_at)]),
            by: by.to_owned(),
            at: self.ambient.now_iso(),
        };
        self.transact_with_line(items, repo, &change).await
    }
}

fn update_of(update: aws_sdk_dynamodb::types::builders::UpdateBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().update(update.build().map_err(StoreError::fault)?).build())
}
