//! Lists for people, a page at a time: the repos of a user, the branches and the push log of a repo, the public repos of the hub.
//!
//! `PUBLIC` | `REPO#<repo_id>` says when a public repo was last pushed to. It is written behind a push, from its event, so that no push
//! waits for it, and it is only ever a hint: what it names may be private by now, or gone. Readers look.

use std::cmp::Reverse;
use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::repo::Asker;
use crate::table::items::{
    Key, LOG_PREFIX, LogItem, MetaItem, NameItem, REF_PREFIX, RELEASE_PREFIX, RefItem, TAG_PREFIX, TagItem, Visibility,
    repo_pk,
};
use crate::table::query::Direction;
use crate::{Store, StoreError};
use common::id::{RepoId, Slug};
use common::wire::limits::MAX_RELEASES_OF_REPO;

/// The most public repos that a list is made of.
pub const MAX_PUBLIC: usize = 2_000;
/// Repos that are read at the same time.
const PARALLEL_READS: usize = 32;
const PUBLIC: &str = "PUBLIC";
const REPO_PREFIX: &str = "REPO#";

/// `PUBLIC` | `REPO#<repo_id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicItem {
    /// When it was last pushed to: ISO 8601.
    pub pushed_at: String,
    /// The user whose it is.
    pub owner: String,
}

/// Which repos of a user are listed.
#[derive(Debug, Clone, Copy)]
enum Wanted<'r> {
    /// All that are there, for the user.
    Own,
    /// Those that another user may read, or that are for all.
    ReadableBy(Asker<'r>),
    /// Those that are deleted and can be undeleted.
    Deleted,
}

/// A repo in the list of its owner.
#[derive(Debug, Clone)]
pub struct OwnedRepo {
    /// Its name in the list, behind which the list goes on.
    pub name: String,
    /// Its id.
    pub id: RepoId,
    /// What it says of itself.
    pub meta: MetaItem,
}

impl Store {
    /// The repos of a user by their names, from behind `after`: at most `limit`.
    ///
    /// # Errors
    /// When the table cannot be read, as all of these.
    pub async fn repos_of_user(
        &self,
        user_id: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, RepoId)>, StoreError> {
        let pk = format!("USER#{user_id}");
        let owned = self.query_page::<NameItem>(&pk, REPO_PREFIX, Direction::Forward, after, limit).await?;
        Ok(owned.into_iter().map(|(slug, NameItem { repo_id })| (slug, repo_id)).collect())
    }

    /// The repos of a user that are deleted and can still be undeleted, by their names, from behind `after`: at most `limit`, and
    /// whether there are more.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn deleted_repos_of_user(
        &self,
        user_id: &str,
        after: Option<&Slug>,
        limit: usize,
    ) -> Result<(Vec<OwnedRepo>, bool), StoreError> {
        self.owned_repos(user_id, after, limit, Wanted::Deleted).await
    }

    /// The repos of a user that a `reader` may read, by their names, from behind `after`: at most `limit`, and whether there are more.
    /// What others may not read counts nowhere: it makes no page shorter, and there is not more because of it.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn readable_repos_of_user(
        &self,
        user_id: &str,
        reader: Asker<'_>,
        after: Option<&Slug>,
        limit: usize,
    ) -> Result<(Vec<OwnedRepo>, bool), StoreError> {
        let is_own = reader.user_id == Some(user_id) && reader.only_in.is_none();
        let wanted = if is_own { Wanted::Own } else { Wanted::ReadableBy(reader) };
        self.owned_repos(user_id, after, limit, wanted).await
    }

    async fn owned_repos(
        &self,
        user_id: &str,
        after: Option<&Slug>,
        limit: usize,
        wanted: Wanted<'_>,
    ) -> Result<(Vec<OwnedRepo>, bool), StoreError> {
        let mut readable = Vec::new();
        let mut after = after.map(ToString::to_string);
        loop {
            let names = self.repos_of_user(user_id, after.as_deref(), limit + 1).await?;
            let is_last = names.len() <= limit;
            after = names.last().map(|(slug, _)| slug.clone());
            let read = async |(name, id): (String, RepoId)| {
                Ok::<_, StoreError>(self.wanted_meta(&id, wanted).await?.map(|meta| OwnedRepo { name, id, meta }))
            };
            let mut read = pin!(stream::iter(names).map(read).buffered(PARALLEL_READS));
            while let Some(repo) = read.try_next().await? {
                if let Some(repo) = repo {
                    if readable.len() == limit {
                        return Ok((readable, true));
                    }
                    readable.push(repo);
                }
            }
            if is_last {
                return Ok((readable, false));
            }
        }
    }

    async fn wanted_meta(&self, repo: &RepoId, wanted: Wanted<'_>) -> Result<Option<MetaItem>, StoreError> {
        match wanted {
            Wanted::Own => self.meta(repo).await,
            Wanted::ReadableBy(reader) => self.meta_for(repo, reader).await,
            Wanted::Deleted => {
                let (meta, now) = (self.get_item::<MetaItem>(&Key::meta(repo)).await?, self.ambient.now());
                Ok(meta.filter(|meta| meta.kept_until().is_some_and(|until| until > now)))
            }
        }
    }

    /// What a repo says of itself, if it is there.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn meta(&self, repo: &RepoId) -> Result<Option<MetaItem>, StoreError> {
        Ok(self.get_item::<MetaItem>(&Key::meta(repo)).await?.filter(|meta| meta.deleted_at.is_none()))
    }

    /// Some branches of a repo by name, from behind `after`, with the time when each was last moved.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn branches(
        &self,
        repo: &RepoId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, RefItem)>, StoreError> {
        self.query_page(&repo_pk(repo), REF_PREFIX, Direction::Forward, after, limit).await
    }

    /// The newest lines of the push log, from behind the line `after`.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn push_log(
        &self,
        repo: &RepoId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, LogItem)>, StoreError> {
        self.query_page(&repo_pk(repo), LOG_PREFIX, Direction::Backward, after, limit).await
    }

    /// Some tags of a repo by label, from behind `after`.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn tags_page(
        &self,
        repo: &RepoId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, TagItem)>, StoreError> {
        self.query_page(&repo_pk(repo), TAG_PREFIX, Direction::Forward, after, limit).await
    }

    /// The tags of a repo's releases that are no drafts, the newest first, each with what tells its item from any other.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn release_tags(&self, repo: &RepoId) -> Result<Vec<(String, String)>, StoreError> {
        #[derive(Deserialize)]
        struct Listed {
            created_at: String,
            write_id: String,
            is_draft: bool,
        }
        let attributes = ["created_at", "write_id", "is_draft"];
        let mut listed: Vec<(String, Listed)> =
            self.query_for(repo, RELEASE_PREFIX, MAX_RELEASES_OF_REPO, Some(&attributes)).await?;
        listed.retain(|(_, release)| !release.is_draft);
        // As `Store::releases` has them.
        listed.sort_by_cached_key(|(_, release)| {
            Reverse((
                release.created_at.parse::<Timestamp>().ok(),
                release.created_at.clone(),
                release.write_id.clone(),
            ))
        });
        Ok(listed.into_iter().map(|(tag, release)| (tag, release.write_id)).collect())
    }

    /// Notes that a repo was pushed to, if it is public.
    ///
    /// # Errors
    /// When the table does not take it.
    pub async fn list_as_pushed(&self, repo: &RepoId, meta: &MetaItem, at: Timestamp) -> Result<(), StoreError> {
        if meta.visibility != Visibility::Public || meta.deleted_at.is_some() {
            return Ok(());
        }
        self.put_item(&Key::public(repo), &PublicItem { pushed_at: at.to_string(), owner: meta.owner_user_id.clone() })
            .await
    }

    /// Takes a repo from the list of public ones.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn unlist(&self, repo: &RepoId) -> Result<(), StoreError> {
        self.delete_item(&Key::public(repo)).await
    }

    /// The repos that were public when they were last pushed to, that one first which was pushed to last; of one user, or of all. Of
    /// more than [`MAX_PUBLIC`] those are left out that were made first.
    ///
    /// # Errors
    /// As [`Self::repos_of_user`].
    pub async fn public_repos(&self, owner: Option<&str>) -> Result<Vec<(Timestamp, RepoId)>, StoreError> {
        let listed = self.query_page::<PublicItem>(PUBLIC, REPO_PREFIX, Direction::Backward, None, MAX_PUBLIC).await?;
        let is_wanted = |item: &PublicItem| owner.is_none_or(|owner| item.owner == owner);
        let readable = |(name, item): (String, PublicItem)| Some((item.pushed_at.parse().ok()?, name.parse().ok()?));
        let wanted = listed.into_iter().filter(|(_, item)| is_wanted(item));
        let mut newest: Vec<(Timestamp, RepoId)> = wanted.filter_map(readable).collect();
        newest.sort_unstable_by(|one, other| other.cmp(one));
        Ok(newest)
    }
}
