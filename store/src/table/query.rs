//! Reading items: one, or all of a repo whose sort keys have a prefix. Strongly consistent, page after page.

use std::collections::HashMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ulid::Ulid;

use super::items::{Item, Key, PK, SK, decode, encode, repo_pk};
use crate::{Store, StoreError};
use common::id::RepoId;

/// The limits are kept by pushes, and racing pushes may go past them a little. A list that is twice as long is not read.
const SLACK: usize = 2;

/// In which order a page of items is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// In the order of the sort keys.
    Forward,
    /// Against it.
    Backward,
}

/// Which items of a repo are read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Items<'a> {
    /// What their sort keys begin with. It ends with a `#`.
    pub(crate) prefix: &'a str,
    /// The rest of the sort key of the first, if it is anything.
    pub(crate) first: &'a str,
    /// Those that are read of each, beside its key; all if this is none.
    pub(crate) attributes: Option<&'a [&'a str]>,
    /// Only those that were written then or later, as their `write_id` says.
    pub(crate) written_since: Option<Ulid>,
}

impl Store {
    /// Reads one item, strongly consistent.
    pub async fn get_item<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        let got = self
            .dynamodb
            .get_item()
            .table_name(&self.location.table)
            .set_key(Some(key.item()))
            .consistent_read(true)
            .send()
            .await
            .map_err(StoreError::at(key))?;
        got.item.map(decode).transpose()
    }

    /// Writes one item, without a condition.
    pub(crate) async fn put_item(&self, key: &Key, record: &impl Serialize) -> Result<(), StoreError> {
        let put = self.dynamodb.put_item().table_name(&self.location.table).set_item(Some(encode(key, record)?));
        put.send().await.map(drop).map_err(StoreError::at(key))
    }

    /// Reads all items of a repo whose sort key has a prefix, strongly consistent, with the rest of the sort key.
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        repo: &RepoId,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, StoreError> {
        self.query_for(repo, prefix, limit, None).await
    }

    /// The same, with only some attributes of each item.
    pub(crate) async fn query_for<T: DeserializeOwned>(
        &self,
        repo: &RepoId,
        prefix: &str,
        limit: usize,
        attributes: Option<&[&str]>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        self.query_from(repo, prefix, "", limit, attributes).await
    }

    /// The same, from the item on the rest of whose sort key is `first`, if that is anything.
    pub(crate) async fn query_from<T: DeserializeOwned>(
        &self,
        repo: &RepoId,
        prefix: &str,
        first: &str,
        limit: usize,
        attributes: Option<&[&str]>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let mut found = Vec::new();
        let items = Items { prefix, first, attributes, written_since: None };
        self.query_while(repo, items, |name, item| {
            found.push((name, item));
            if found.len() > limit * SLACK {
                return Err(StoreError::Damaged(format!("repo {repo} has far more than {limit} items {prefix}")));
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        Ok(found)
    }

    /// Strongly consistent too: at most `limit` items of a partition whose sort keys have a prefix, with the rest of their sort keys: in the order of those
    /// or against it, from behind the one that goes on with `after`, if that is anything.
    pub(crate) async fn query_page<T: DeserializeOwned>(
        &self,
        pk: &str,
        prefix: &str,
        direction: Direction,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, T)>, StoreError> {
        Ok(self.query_part(pk, prefix, direction, after, limit).await?.0)
    }

    /// The same, and whether there may be more behind them.
    pub(crate) async fn query_part<T: DeserializeOwned>(
        &self,
        pk: &str,
        prefix: &str,
        direction: Direction,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, T)>, bool), StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let start = after.map(|after| Key { pk: pk.to_owned(), sk: format!("{prefix}{after}") }.item());
        let query = self.dynamodb.query().table_name(&self.location.table).consistent_read(true);
        let answer = query
            .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":pk", text(pk))
            .expression_attribute_values(":prefix", text(prefix))
            .scan_index_forward(direction == Direction::Forward)
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(StoreError::at(format!("{pk} / {prefix}")))?;
        let named = |item: Item| {
            let name = Key::of(&item).sk.strip_prefix(prefix).unwrap_or_default().to_owned();
            Ok((name, decode(item)?))
        };
        let goes_on = answer.last_evaluated_key.is_some();
        let found: Result<Vec<_>, StoreError> = answer.items.unwrap_or_default().into_iter().map(named).collect();
        Ok((found?, goes_on))
    }

    /// Hands out such items one by one, in the order of their names, for as long as more are wanted.
    pub(crate) async fn query_while<T: DeserializeOwned, E: From<StoreError>>(
        &self,
        repo: &RepoId,
        items: Items<'_>,
        mut each: impl FnMut(String, T) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.each_item(repo, items, |item| {
            let name = match item.get(SK) {
                Some(AttributeValue::S(sort_key)) => sort_key.strip_prefix(items.prefix).unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            each(name, decode(item)?)
        })
        .await
    }

    /// The same, as the table has them.
    pub(crate) async fn each_item<E: From<StoreError>>(
        &self,
        repo: &RepoId,
        items: Items<'_>,
        mut each: impl FnMut(Item) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let Items { prefix, first, attributes, written_since } = items;
        // Names that DynamoDB keeps for itself may be attributes' too.
        let placeholders = attributes.map(|names| {
            let placeholder = |name: &&str| (format!("#{name}"), (*name).to_owned());
            names.iter().chain([&PK, &SK]).map(placeholder).collect::<HashMap<_, _>>()
        });
        let projection = placeholders.as_ref().map(|names| names.keys().cloned().collect::<Vec<_>>().join(", "));
        let text = |text: String| AttributeValue::S(text);
        let query = self.dynamodb.query().table_name(&self.location.table).consistent_read(true);
        let mut query = if first.is_empty() {
            query.key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
        } else {
            let query = query.key_condition_expression("#pk = :pk AND #sk BETWEEN :prefix AND :last");
            query.expression_attribute_values(":last", text(behind_all_of(prefix)))
        };
        query = query.set_projection_expression(projection).set_expression_attribute_names(placeholders);
        if let Some(since) = written_since {
            query = query
                .filter_expression("write_id >= :since")
                .expression_attribute_values(":since", text(since.to_string()));
        }
        let mut pages = query
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":pk", text(repo_pk(repo)))
            .expression_attribute_values(":prefix", text(format!("{prefix}{first}")))
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            if each(item.map_err(StoreError::at(prefix))?)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The least text that is behind all that begin with this prefix.
fn behind_all_of(prefix: &str) -> String {
    let mut behind = prefix.to_owned();
    let last = behind.pop().unwrap_or_default();
    // Prefixes end with a `#`.
    behind.push(char::from_u32(u32::from(last) + 1).unwrap_or(char::MAX));
    behind
}
