//! Everything as it lies in the table and the bucket, page by page: for a copy of a whole hub, which does not ask what it
//! means.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};

use crate::table::items::Item;
use crate::table::transaction::LAST_PAUSE;
use crate::upkeep::inspect::Page;
use crate::{FIRST_PAUSE, Store, StoreError, aws};

/// Items that one `BatchWriteItem` takes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const BATCH: usize = 25;
/// Batches under way. One partition takes 1,000 writes a second, so more would only be throttled.
const PARALLEL_BATCHES: usize = 8;
/// Attempts at what DynamoDB leaves unprocessed of a batch.
const BATCH_ATTEMPTS: u32 = 10;
/// How long S3 may take to store a file: this long, and the time for its size at this many bytes a second.
const PUT_TIMEOUT: Duration = Duration::from_secs(60);
const PUT_A_SECOND: u64 = 1 << 20;

impl Store {
    /// A page of all items of the table, strongly consistent each, from behind `after`.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn scan(&self, after: Option<Item>) -> Result<Page<Item, Item>, StoreError> {
        let scan = self.dynamodb.scan().table_name(&self.location.table).consistent_read(true);
        let page = scan.set_exclusive_start_key(after).send().await.map_err(StoreError::at("all items"))?;
        Ok(Page { entries: page.items.unwrap_or_default(), next: page.last_evaluated_key })
    }

    /// Writes items as they are, without a condition. If it fails, some of them may be written.
    ///
    /// # Errors
    /// When the table does not take them.
    pub async fn put_items(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let put = |item: Item| {
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(StoreError::fault)?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        let writes = items.into_iter().map(put).collect::<Result<Vec<_>, StoreError>>()?;
        let batches = stream::iter(writes.chunks(BATCH).map(Ok));
        batches.try_for_each_concurrent(PARALLEL_BATCHES, |batch| self.write_batch(batch.to_vec())).await
    }

    /// A part of an S3 object.
    ///
    /// # Errors
    /// When S3 does not give all of it.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.get_range(key, None, range).await
    }

    /// Stores a file under a key, without a condition.
    ///
    /// # Errors
    /// When the file cannot be read, or S3 does not confirm it.
    pub async fn put_file(&self, key: &str, path: &Path, size: u64) -> Result<(), StoreError> {
        let body = ByteStream::from_path(path).await.map_err(StoreError::fault)?;
        let patience = PUT_TIMEOUT + Duration::from_secs(size / PUT_A_SECOND);
        let config = aws::s3_timeouts((patience, patience * 2));
        let put = self.s3.put_object().bucket(&self.location.bucket).key(key).body(body);
        put.customize().config_override(config).send().await.map(drop).map_err(StoreError::at(key))
    }

    /// Writes up to 25 items, without a condition.
    async fn write_batch(&self, mut batch: Vec<WriteRequest>) -> Result<(), StoreError> {
        let table = &self.location.table;
        let mut backoff = self.ambient.backoff(FIRST_PAUSE).up_to(LAST_PAUSE);
        for _ in 0..BATCH_ATTEMPTS {
            let sent = self.dynamodb.batch_write_item().request_items(table, batch).send().await;
            let unprocessed =
                sent.map_err(StoreError::at("a batch of items"))?.unprocessed_items.unwrap_or_default().remove(table);
            batch = unprocessed.unwrap_or_default();
            if batch.is_empty() {
                return Ok(());
            }
            backoff.pause().await;
        }
        Err(StoreError::Unavailable("a batch of items was not processed".into()))
    }
}
