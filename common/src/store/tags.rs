//! Tags: names for commits, one item each.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures_util::{TryStreamExt, stream};

use super::change::LAST_PAUSE;
use super::items::{Key, TAG_PREFIX, TagItem, encode};
use super::{Error, FIRST_PAUSE, Store};
use crate::id::{Label, RepoId};
use crate::wire::limits::MAX_TAGS_OF_REPO;

/// Items that one `BatchWriteItem` takes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
pub(super) const BATCH: usize = 25;
/// Batches under way. One partition takes 1,000 writes a second, so more would only be throttled.
pub(super) const PARALLEL_BATCHES: usize = 8;
/// Attempts at what DynamoDB leaves unprocessed of a batch.
const BATCH_ATTEMPTS: u32 = 10;

impl Store {
    /// The tags of a repo.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn tags(&self, repo: &RepoId) -> Result<BTreeMap<Label, TagItem>, Error> {
        let listed = self.query::<TagItem>(repo, TAG_PREFIX, MAX_TAGS_OF_REPO).await?;
        let tag = |(name, item): (String, TagItem)| {
            let label =
                name.parse().map_err(|reason| Error::Damaged(format!("repo {repo}: tag {name:?}: {reason}")))?;
            Ok((label, item))
        };
        listed.into_iter().map(tag).collect()
    }

    /// Writes tags, whatever they were before. When it fails some of them may be written; writing them all again is
    /// harmless.
    ///
    /// # Errors
    /// When the table does not take them.
    pub async fn put_tags(&self, repo: &RepoId, tags: &BTreeMap<Label, TagItem>) -> Result<(), Error> {
        let put = |(label, item): (&Label, &TagItem)| {
            let put = PutRequest::builder().set_item(Some(encode(&Key::tag(repo, label), item)?)).build();
            Ok(WriteRequest::builder().put_request(put.map_err(Error::fault)?).build())
        };
        let writes = tags.iter().map(put).collect::<Result<Vec<_>, Error>>()?;
        let batches = stream::iter(writes.chunks(BATCH).map(Ok));
        batches.try_for_each_concurrent(PARALLEL_BATCHES, |batch| self.write_batch(batch.to_vec())).await
    }

    /// Writes up to 25 items, whatever was there before.
    pub(super) async fn write_batch(&self, mut batch: Vec<WriteRequest>) -> Result<(), Error> {
        let table = &self.location.table;
        let mut pause = FIRST_PAUSE;
        for _ in 0..BATCH_ATTEMPTS {
            let sent = self.dynamodb.batch_write_item().request_items(table, batch).send().await;
            let unprocessed = sent.map_err(Error::from_sdk)?.unprocessed_items.unwrap_or_default().remove(table);
            batch = unprocessed.unwrap_or_default();
            if batch.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(self.ambient.jitter(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        Err(Error::Unavailable("a batch of items was not processed".into()))
    }
}
