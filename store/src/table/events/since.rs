//! What happened in the repos of this store, for those who publish it: see [`crate::table::events`].

use std::ops::ControlFlow;

use tokio::sync::broadcast;
use ulid::Ulid;

use crate::table::events::{Event, PUBLISHED, StoredEvent};
use crate::table::items::{CHANGE_PREFIX, Item, Key, LOG_PREFIX, MetaItem, RELEASE_PREFIX, TAG_PREFIX, decode};
use crate::table::query::Items;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::wire::error::with_causes;

impl Store {
    /// What happens from now on, through this process, once the table has it. It is what the table's stream is in a
    /// deployment. A receiver that falls far behind misses the oldest, and finds it with [`Self::events_since`].
    pub fn published(&self) -> broadcast::Receiver<StoredEvent> {
        self.published.subscribe()
    }

    /// What a repo is called and who may know of it, also if it was deleted and is not removed yet: one read.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn known_by(&self, repo: &RepoId) -> Result<Option<MetaItem>, StoreError> {
        self.get_item(&Key::meta(repo)).await
    }

    /// The oldest `limit` events of a repo whose ids are not before `since`, in the order of their ids. Of a tag that
    /// was written several times there is only the last event, and none of a release that was taken back.
    ///
    /// An id is drawn before the table has its event, by at most a request's length: 20 seconds for a push, but seven
    /// minutes for a repo that a push makes. A caller that goes on from the last event that it knows has to look back
    /// that far.
    ///
    /// Items that cannot be read are logged and left out, because they can never be published. The repo's own item is
    /// the exception: without it there is no event.
    ///
    /// # Errors
    /// When the table cannot be read, or what it has of the repo itself.
    pub async fn events_since(&self, repo: &RepoId, since: Ulid, limit: usize) -> Result<Vec<Event>, StoreError> {
        let Some(item) = self.item(&Key::meta(repo)).await? else {
            return Ok(Vec::new());
        };
        let meta: MetaItem = decode(item.clone())?;
        let (lines, changes, tags, releases) = tokio::try_join!(
            self.oldest(repo, LOG_PREFIX, since, limit),
            self.oldest(repo, CHANGE_PREFIX, since, limit),
            self.oldest(repo, TAG_PREFIX, since, limit),
            self.oldest(repo, RELEASE_PREFIX, since, limit),
        )?;
        let made = readable(item).filter(|made| made.id >= since);
        let mut all: Vec<StoredEvent> =
            lines.into_iter().chain(changes).chain(tags).chain(releases).chain(made).collect();
        all.sort_by_key(|event| event.id);
        all.truncate(limit);
        Ok(all.into_iter().map(|event| event.numbered_by_id(&meta)).collect())
    }

    /// The oldest `limit` of what items of one kind say, from `since` on, in no order. No more than twice as many are held.
    async fn oldest(
        &self,
        repo: &RepoId,
        prefix: &str,
        since: Ulid,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        // Lines are in the order of their ids. Other items are in that of their names, and say when they were written.
        let is_sorted = [LOG_PREFIX, CHANGE_PREFIX].contains(&prefix);
        let first = since.to_string();
        let items = Items {
            prefix,
            first: if is_sorted { &first } else { "" },
            // Without a release's record, which is most of its item.
            attributes: (prefix == RELEASE_PREFIX).then_some(&PUBLISHED),
            written_since: (!is_sorted).then_some(since),
        };
        let mut found: Vec<StoredEvent> = Vec::new();
        self.each_item(repo, items, |item| {
            found.extend(readable(item));
            if is_sorted && found.len() >= limit {
                return Ok::<_, StoreError>(ControlFlow::Break(()));
            }
            if found.len() > limit.saturating_mul(2) {
                found.select_nth_unstable_by_key(limit, |event| event.id);
                found.truncate(limit);
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        Ok(found)
    }

    /// Sends what the table now has to all receivers.
    pub(crate) fn publish(&self, items: impl IntoIterator<Item = Item>) {
        for item in items {
            // What was just written can be read, and a receiver may have left.
            if let Ok(Some(event)) = StoredEvent::of(item) {
                let _ = self.published.send(event);
            }
        }
    }

    /// A copy of an item for [`Self::publish`], if there are receivers.
    pub(crate) fn to_publish(&self, item: &Item) -> Option<Item> {
        (self.published.receiver_count() > 0).then(|| item.clone())
    }
}

/// What an item says has happened, if it can be read.
fn readable(item: Item) -> Option<StoredEvent> {
    StoredEvent::of(item).unwrap_or_else(|error| {
        tracing::error!(causes = with_causes(&error), "an event is left out");
        None
    })
}
