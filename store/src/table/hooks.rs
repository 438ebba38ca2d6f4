//! The webhooks of repos: an item for each URL that gets the events of a repo.

use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::IgnoredAny;

use crate::table::PutError;
use crate::table::items::{DeliveryCursorItem, HOOK_PREFIX, HookItem, Item, Key, PK, SK, decode, encode, repo_of};
use crate::table::members::StillAdministers;
use crate::table::query::Items;
use crate::table::transaction::{Outcome, outcome_of, put_new};
use crate::table::webhooks::secret::HookId;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::wire::limits::MAX_HOOKS_OF_REPO;

/// The limit is kept when a webhook is made, and racing requests may go past it a little. Of a list that is twice as
/// long the rest is ignored.
const MOST_READ: usize = 2 * MAX_HOOKS_OF_REPO;

impl Store {
    /// The webhooks of a repo, oldest first: active or not, at most 40. Strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn hooks(&self, repo: &RepoId) -> Result<Vec<(HookId, HookItem)>, StoreError> {
        let hook = |item: Item| {
            let name = match item.get(SK) {
                Some(AttributeValue::S(name)) => name.strip_prefix(HOOK_PREFIX).unwrap_or_default(),
                _ => "",
            };
            let id = HookId::from_string(name);
            let id = id.map_err(|_| StoreError::Damaged(format!("repo {repo}: webhook {name:?} has no ULID")))?;
            Ok((id, decode(item)?))
        };
        self.hook_items(repo, None).await?.into_iter().map(hook).collect()
    }

    /// The ids of the webhooks of a repo, at most 40, also of those that cannot be read: for `musehub serve`, when
    /// [`Self::hooks`] fails. A key that is not a ULID is left out. Strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn hook_ids(&self, repo: &RepoId) -> Result<Vec<HookId>, StoreError> {
        let id = |item: &Item| HookId::from_string(item.get(SK)?.as_s().ok()?.strip_prefix(HOOK_PREFIX)?).ok();
        Ok(self.hook_items(repo, Some(&[])).await?.iter().filter_map(id).collect())
    }

    async fn hook_items(&self, repo: &RepoId, attributes: Option<&[&str]>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        self.each_item(repo, Items { prefix: HOOK_PREFIX, attributes, ..Items::default() }, |item| {
            found.push(item);
            Ok::<_, StoreError>(if found.len() < MOST_READ {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })
        .await?;
        Ok(found)
    }

    /// Every webhook of every repo, which reads the whole table: for `musehub serve`, when it starts. No function has the
    /// right to it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn all_hooks(&self) -> Result<Vec<(RepoId, HookId)>, StoreError> {
        let mut pages = self
            .dynamodb
            .scan()
            .table_name(&self.location.table)
            .filter_expression("begins_with(#sk, :prefix)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":prefix", AttributeValue::S(HOOK_PREFIX.to_owned()))
            .projection_expression("#pk, #sk")
            .into_paginator()
            .items()
            .send();
        let mut all = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(StoreError::at(HOOK_PREFIX))?;
            let text = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
            let hook = text(SK).strip_prefix(HOOK_PREFIX).and_then(|id| HookId::from_string(id).ok());
            all.extend(repo_of(text(PK)).zip(hook));
        }
        Ok(all)
    }

    /// A webhook of a repo, if it is there. Strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn hook(&self, repo: &RepoId, hook: HookId) -> Result<Option<HookItem>, StoreError> {
        self.get_item(&Key::hook(repo, hook)).await
    }

    /// Keeps a webhook under an id that was drawn for it.
    ///
    /// # Errors
    /// [`PutError::Full`] when the repo has as many as it may have, and when the table does not answer.
    pub async fn put_hook(
        &self,
        repo: &RepoId,
        hook: HookId,
        item: &HookItem,
        still: StillAdministers,
    ) -> Result<(), PutError> {
        let others = self.hooks(repo).await?.len();
        PutError::check_count("webhooks of one repository", others + 1, MAX_HOOKS_OF_REPO)?;
        let key = Key::hook(repo, hook);
        let put = put_new(&self.location.table, encode(&key, item)?)?;
        let items = [put, self.is_not_deleted(repo, &hook.to_string())?].into_iter().chain(still.0).collect();
        match self.transact(items, &key, |_: IgnoredAny| true).await? {
            Outcome::Landed => Ok(()),
            // The id was drawn for it, so that no other webhook has it. Who is no admin any more gets the same answer.
            Outcome::Conflict => Err(PutError::Deleted),
        }
    }

    /// Takes a webhook away, with what is known of its deliveries. Whether it was there.
    ///
    /// # Errors
    /// When the table does not answer; then the webhook may be there or not.
    pub async fn delete_hook(&self, repo: &RepoId, hook: HookId) -> Result<bool, StoreError> {
        if self.hook(repo, hook).await?.is_none() {
            return Ok(false);
        }
        for key in [Key::hook(repo, hook), Key::delivery_cursor(repo, hook)] {
            self.delete_item(&key).await?;
        }
        Ok(true)
    }

    /// Turns a webhook off, for a reason that its owner will read. One that is gone stays gone.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn turn_hook_off(&self, repo: &RepoId, hook: HookId, reason: &str) -> Result<(), StoreError> {
        self.update_hook(repo, hook, "SET inactive_because = :value", "attribute_exists(#pk)", reason).await
    }

    /// Notes that everything for a webhook waits behind a message, which waits for another attempt. One that is gone stays gone.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn hook_waits(&self, repo: &RepoId, hook: HookId, until: &str) -> Result<(), StoreError> {
        self.update_hook(repo, hook, "SET waiting_until = :value", "attribute_exists(#pk)", until).await
    }

    /// Notes that nothing waits for a webhook any more, if this message was the last.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn hook_waits_no_longer(&self, repo: &RepoId, hook: HookId, until: &str) -> Result<(), StoreError> {
        self.update_hook(repo, hook, "REMOVE waiting_until", "waiting_until = :value", until).await
    }

    /// Changes the item of a webhook. Nothing happens where the condition does not hold.
    async fn update_hook(
        &self,
        repo: &RepoId,
        hook: HookId,
        update: &str,
        condition: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.location.table)
            .set_key(Some(Key::hook(repo, hook).item()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(
                condition.contains("#pk").then(|| [("#pk".to_owned(), PK.to_owned())].into()),
            )
            .expression_attribute_values(":value", AttributeValue::S(value.to_owned()));
        outcome_of(update.send().await, Key::hook(repo, hook)).map(drop)
    }

    /// How far the deliveries to a webhook have come; nothing before the first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn delivery_cursor(&self, repo: &RepoId, hook: HookId) -> Result<Option<DeliveryCursorItem>, StoreError> {
        self.get_item(&Key::delivery_cursor(repo, hook)).await
    }

    /// Notes how far the deliveries to a webhook have come, without a condition. One process does so at a time.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn put_delivery_cursor(
        &self,
        repo: &RepoId,
        hook: HookId,
        item: &DeliveryCursorItem,
    ) -> Result<(), StoreError> {
        self.put_item(&Key::delivery_cursor(repo, hook), item).await
    }
}
