//! What only upkeep asks of the stores: everything that they hold of a repo, page by page, whether or not it makes sense.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};
use aws_sdk_s3::error::ProvideErrorMetadata;

use crate::table::items::{Item, Key, PK, SK};
use crate::table::transaction::{Outcome, outcome_of, put_new};
use crate::{Store, StoreError};

/// An S3 object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
}

/// A page of a list, and where the next one begins.
#[derive(Debug)]
pub struct Page<T, N> {
    /// What is on it.
    pub entries: Vec<T>,
    /// What the next page is asked for with; none after the last.
    pub next: Option<N>,
}

impl Store {
    /// A page of the items of a partition whose sort keys have a prefix, in the order of those, strongly consistent.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn items_page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<Item>,
    ) -> Result<Page<Item, Item>, StoreError> {
        let query = self.dynamodb.query().table_name(&self.location.table).consistent_read(true);
        // No prefix at all is not a condition that DynamoDB takes.
        let query = if prefix.is_empty() {
            query.key_condition_expression("#pk = :pk")
        } else {
            query
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                .expression_attribute_names("#sk", SK)
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
        };
        let page = query
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(StoreError::at(pk))?;
        Ok(Page { entries: page.items.unwrap_or_default(), next: page.last_evaluated_key })
    }

    /// One item as it is, strongly consistent.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn item(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let got = self.dynamodb.get_item().table_name(&self.location.table).set_key(Some(key.item()));
        Ok(got.consistent_read(true).send().await.map_err(StoreError::at(key))?.item)
    }

    /// A page of the S3 objects whose keys have a prefix, in the order of those: up to a thousand.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn objects_page(&self, prefix: &str, after: Option<String>) -> Result<Page<Listed, String>, StoreError> {
        let list = self.s3.list_objects_v2().bucket(&self.location.bucket).prefix(prefix);
        let page = list.set_continuation_token(after).send().await.map_err(StoreError::at(prefix))?;
        let listed = |object: aws_sdk_s3::types::Object| {
            Some(Listed { key: object.key?, size: object.size.and_then(|size| u64::try_from(size).ok())? })
        };
        Ok(Page {
            entries: page.contents.unwrap_or_default().into_iter().filter_map(listed).collect(),
            next: page.next_continuation_token,
        })
    }

    /// Puts an item in the place of one that is still as it was seen, attribute by attribute, or where there was none.
    /// A conflict may be with an attempt of its own whose answer was lost; a second look shows that.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn put_item_if(&self, item: Item, seen: Option<Item>) -> Result<Outcome, StoreError> {
        let key = Key::of(&item);
        let mut put = self.dynamodb.put_item().table_name(&self.location.table).set_item(Some(item));
        let mut conditions = Vec::new();
        for (position, (name, value)) in seen.iter().flatten().enumerate() {
            conditions.push(format!("#n{position} = :v{position}"));
            put = put.expression_attribute_names(format!("#n{position}"), name);
            put = put.expression_attribute_values(format!(":v{position}"), value.clone());
        }
        if conditions.is_empty() {
            conditions.push("attribute_not_exists(#pk)".to_owned());
            put = put.expression_attribute_names("#pk", PK);
        }
        outcome_of(put.condition_expression(conditions.join(" AND ")).send().await, key)
    }

    /// Deletes an item and puts new ones, in one transaction. `key` is that of one of the new ones, and is drawn for
    /// it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn exchange_items(&self, out: &Key, key: &Key, items: Vec<Item>) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(out.item()))
            .condition_expression("attribute_exists(#pk)")
            .expression_attribute_names("#pk", PK)
            .build()
            .map_err(StoreError::fault)?;
        let mut writes = vec![TransactWriteItem::builder().delete(delete).build()];
        for item in items {
            writes.push(put_new(table, item)?);
        }
        self.transact(writes, key, |_: serde::de::IgnoredAny| true).await
    }

    /// What puts new items in a transaction.
    pub fn puts(&self, items: Vec<Item>) -> Result<Vec<TransactWriteItem>, StoreError> {
        items.into_iter().map(|item| put_new(&self.location.table, item)).collect()
    }

    /// Deletes an item of any kind.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn delete_item(&self, key: &Key) -> Result<(), StoreError> {
        let delete = self.dynamodb.delete_item().table_name(&self.location.table).set_key(Some(key.item()));
        delete.send().await.map(drop).map_err(StoreError::at(key))
    }

    /// Deletes an S3 object, if it is there.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        match self.s3.delete_object().bucket(&self.location.bucket).key(key).send().await {
            Err(error) if error.code() != Some("NoSuchKey") => Err(StoreError::at(key)(error)),
            _ => Ok(()),
        }
    }
}
