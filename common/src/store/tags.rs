//! Tags: names for commits, one item each.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures_util::{TryStreamExt, stream};

use super::change::LAST_PAUSE;
use super::items::{Item, Key, TAG_PREFIX, TagItem, encode};
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
    /// harmless. Each is given a `write_id`, and is `written_by` this user.
    ///
    /// # Errors
    /// When the table does not take them.
    pub async fn put_tags(&self, repo: &RepoId, tags: BTreeMap<Label, TagItem>, by: &str) -> Result<(), Error> {
        let put = |(label, mut tag): (Label, TagItem)| {
            tag.write_id = Some(self.ambient.ulid().to_string());
            tag.written_by = Some(by.to_owned());
            let item = encode(&Key::tag(repo, &label), &tag)?;
            let told = self.to_tell(&item);
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(Error::fault)?;
            Ok((WriteRequest::builder().put_request(put).build(), told))
        };
        let writes = tags.into_iter().map(put).collect::<Result<Vec<_>, Error>>()?;
        let batches = stream::iter(writes.chunks(BATCH).map(Ok));
        let write = |batch: &[(WriteRequest, Option<Item>)]| {
            let (writes, told): (Vec<_>, Vec<_>) = batch.iter().cloned().unzip();
            async move {
                self.write_batch(writes).await?;
                self.tell(told.into_iter().flatten());
                Ok(())
            }
        };
        batches.try_for_each_concurrent(PARALLEL_BATCHES, write).await
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
