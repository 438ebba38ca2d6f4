//! Links by which a repo can be read without a token, until they expire or are revoked. The table has the hash of a link's secret,
//! and not the secret.

use crate::table::PutError;
use crate::table::items::{Key, LINK_PREFIX, LinkItem, encode};
use crate::table::link_key::LinkKey;
use crate::table::members::is_there;
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
        let now = self.ambient.now();
        let mut links: Vec<(String, LinkItem)> = self.query(repo, LINK_PREFIX, MOST_LISTED).await?;
        links.retain(|(_, link)| link.expires_at > now);
        links.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        Ok(links.into_iter().map(|(key, link)| (LinkKey(key), link)).collect())
    }

    /// Makes a link.
    ///
    /// # Errors
    /// When the table does not answer, and for more links than a repo may have.
    pub async fn put_link(&self, repo: &RepoId, link: &LinkKey, item: &LinkItem) -> Result<Outcome, PutError> {
        let count = self.links(repo).await?.len() + 1;
        PutError::check_count("links to the repository", count, MAX_LINKS_OF_REPO)?;
        let table = &self.location.table;
        let marker = Key::link(repo, link);
        let items = vec![put_new(table, encode(&marker, item)?)?, is_there(table, repo)?];
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

/// DynamoDB deletes an item within days of its end, so there may be more items than links that lead somewhere.
const MOST_LISTED: usize = 10 * MAX_LINKS_OF_REPO;
