//! What users' repos hold, and how much that may be.
//!
//! A repo's bytes are in its list of packs, which every push reads. What all repos of a user hold is counted behind pushes: the item
//! of a repo says how many of its bytes are counted, and a transaction moves that and the sum together. So the sum is right however
//! often it is counted, and late by the pushes that were not counted yet.

use aws_sdk_dynamodb::types::{AttributeValue, Select, TransactWriteItem, Update};

use crate::table::items::{Key, MetaItem, PK, SK, UsageItem, user_pk};
use crate::table::transaction::Outcome;
use crate::{Store, StoreError};
use common::id::{RepoId, Slug};
use common::pack::PackSummary;

/// What is lacking to a whole count: a share of what is counted that is not worth a write.
const WORTH_A_WRITE: u64 = 100;

impl Store {
    /// What a user's repos hold, as far as it was counted, and what an operator has said that they may.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn usage(&self, handle: &Slug) -> Result<UsageItem, StoreError> {
        Ok(self.get_item(&Key::usage(handle)).await?.unwrap_or_default())
    }

    /// Whether a user has `count` repos or more.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn has_repos(&self, user_id: &str, count: u64) -> Result<bool, StoreError> {
        let query = self.dynamodb.query().table_name(&self.location.table).consistent_read(true);
        let mut pages = query
            .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":pk", AttributeValue::S(user_pk(user_id)))
            .expression_attribute_values(":prefix", AttributeValue::S("REPO#".to_owned()))
            .select(Select::Count)
            .into_paginator()
            .send();
        let mut found = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(StoreError::at(user_pk(user_id)))?;
            found += u64::try_from(page.count()).unwrap_or_default();
            if found >= count {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts what a repo holds in what its owner uses, unless that was done and little has changed, or nothing is counted here.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn count_usage(&self, repo: &RepoId) -> Result<(), StoreError> {
        if !self.counts_usage {
            return Ok(());
        }
        let meta = self.get_item::<MetaItem>(&Key::meta(repo)).await?;
        let Some(meta) = meta.filter(|meta| meta.removing_since.is_none()) else {
            return Ok(());
        };
        let tables = self.tables(repo).await?;
        let bytes = PackSummary::stored_bytes(tables.iter().map(|(_, summary)| summary));
        let counted = meta.counted_bytes.unwrap_or_default();
        if bytes.abs_diff(counted) <= counted / WORTH_A_WRITE {
            return Ok(());
        }
        // Another that counts at the same time counts the same, and whoever comes second counts again with the next push.
        self.move_count(repo, &meta, bytes).await.map(drop)
    }

    /// Takes what was counted of a repo that is being removed out of what its owner uses.
    ///
    /// # Errors
    /// When the table does not answer, or another does so now.
    pub(crate) async fn uncount(&self, repo: &RepoId, meta: &MetaItem) -> Result<(), StoreError> {
        if meta.counted_bytes.unwrap_or_default() == 0 || self.move_count(repo, meta, 0).await? == Outcome::Landed {
            return Ok(());
        }
        Err(StoreError::Unavailable("another run removes the repository".into()))
    }

    async fn move_count(&self, repo: &RepoId, meta: &MetaItem, bytes: u64) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let counted = meta.counted_bytes.unwrap_or_default();
        let number = |number: i128| AttributeValue::N(number.to_string());
        let mut of_repo = Update::builder()
            .table_name(table)
            .set_key(Some(Key::meta(repo).item()))
            .update_expression("SET counted_bytes = :bytes")
            .expression_attribute_values(":bytes", number(bytes.into()));
        of_repo = match meta.counted_bytes {
            Some(counted) => of_repo
                .condition_expression("counted_bytes = :counted")
                .expression_attribute_values(":counted", number(counted.into())),
            None => of_repo
                .condition_expression("attribute_exists(#pk) AND attribute_not_exists(counted_bytes)")
                .expression_attribute_names("#pk", PK),
        };
        let of_user = Update::builder()
            .table_name(table)
            .set_key(Some(Key::usage(&meta.owner).item()))
            .update_expression("ADD #bytes :more")
            .expression_attribute_names("#bytes", "bytes")
            .expression_attribute_values(":more", number(i128::from(bytes) - i128::from(counted)));
        let items = [of_repo, of_user].map(|update| {
            let update = update.build().map_err(StoreError::fault)?;
            Ok::<_, StoreError>(TransactWriteItem::builder().update(update).build())
        });
        let items = items.into_iter().collect::<Result<Vec<_>, _>>()?;
        // Who sees the count that was to be has written it, or another that had counted the same.
        self.transact(items, &Key::meta(repo), |meta: MetaItem| meta.counted_bytes == Some(bytes)).await
    }

    /// Says how much a user's repos may hold, and how many there may be; nothing for what the deployment allows.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn set_quota_of_user(
        &self,
        handle: &Slug,
        bytes: Option<u64>,
        repos: Option<u64>,
    ) -> Result<(), StoreError> {
        self.set_quotas(&Key::usage(handle), &[("quota_bytes", bytes), ("quota_repos", repos)]).await
    }

    /// Says how much a repo may hold; nothing for what the deployment allows.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn set_quota_of_repo(&self, repo: &RepoId, bytes: Option<u64>) -> Result<(), StoreError> {
        self.set_quotas(&Key::meta(repo), &[("quota_bytes", bytes)]).await
    }

    async fn set_quotas(&self, key: &Key, quotas: &[(&str, Option<u64>)]) -> Result<(), StoreError> {
        let mut update = self.dynamodb.update_item().table_name(&self.location.table).set_key(Some(key.item()));
        let (mut sets, mut removes) = (Vec::new(), Vec::new());
        for (name, quota) in quotas {
            match quota {
                Some(quota) => {
                    sets.push(format!("{name} = :{name}"));
                    let value = AttributeValue::N(quota.to_string());
                    update = update.expression_attribute_values(format!(":{name}"), value);
                }
                None => removes.push(*name),
            }
        }
        let mut expression = String::new();
        if !sets.is_empty() {
            expression.push_str(&format!("SET {} ", sets.join(", ")));
        }
        if !removes.is_empty() {
            expression.push_str(&format!("REMOVE {}", removes.join(", ")));
        }
        update.update_expression(expression).send().await.map(drop).map_err(StoreError::at(key))
    }
}
