//! Links by which a repo can be read without a token, until they expire or are revoked. The table has the hash of a link's secret,
//! and not the secret.

use std::ops::ControlFlow;

use futures_util::future::try_join_all;

use crate::table::PutError;
use crate::table::items::{Key, LINK_PREFIX, LinkItem, encode};
use crate::table::link_key::LinkKey;
use crate::table::members::{StillAdministers, is_there};
use crate::table::query::Items;
use crate::table::transaction::{Outcome, put_new};
use crate::{Store, StoreError};
use common::id::RepoId;
use common::wire::limits::MAX_LINKS_OF_REPO;

impl Store {
    /// The links to a repo that still lead there. Strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn links(&self, repo: &RepoId) -> Result<Vec<(LinkKey, LinkItem)>, StoreError> {
        Ok(self.links_and_ended(repo).await?.0)
    }

    /// The same, and links that have ended: of many some.
    async fn links_and_ended(&self, repo: &RepoId) -> Result<(Vec<(LinkKey, LinkItem)>, Vec<LinkKey>), StoreError> {
        let now = self.ambient.now();
        let (mut links, mut ended) = (Vec::new(), Vec::new());
        self.query_while(repo, Items { prefix: LINK_PREFIX, ..Items::default() }, |key, link: LinkItem| {
            if link.expires_at > now {
                links.push((LinkKey(key), link));
            } else if ended.len() < MAX_LINKS_OF_REPO {
                ended.push(LinkKey(key));
            }
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })
        .await?;
        links.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        Ok((links, ended))
    }

    /// Makes a link. DynamoDB deletes an item within days of its end, and many links may end in that time. So those that have ended are
    /// deleted first: a repo hardly has items of more links than it may have at the same time.
    ///
    /// # Errors
    /// When the table does not answer, and for more links than a repo may have.
    pub async fn put_link(
        &self,
        repo: &RepoId,
        link: &LinkKey,
        item: &LinkItem,
        still: StillAdministers,
    ) -> Result<Outcome, PutError> {
        let (good, ended) = self.links_and_ended(repo).await?;
        PutError::check_count("links to the repository", good.len() + 1, MAX_LINKS_OF_REPO)?;
        try_join_all(ended.iter().map(|link| self.delete_link(repo, link))).await?;
        let table = &self.location.table;
        let marker = Key::link(repo, link);
        let items =
            [put_new(table, encode(&marker, item)?)?, is_there(table, repo)?].into_iter().chain(still.0).collect();
        Ok(self.transact(items, &marker, |_: serde::de::IgnoredAny| true).await?)
    }

    /// Revokes a link.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn delete_link(&self, repo: &RepoId, link: &LinkKey) -> Result<(), StoreError> {
        self.delete_item(&Key::link(repo, link)).await
    }
}
