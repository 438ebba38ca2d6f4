//! Users and new repos.

use std::collections::{BTreeSet, HashMap};

use crate::table::items::{HandleItem, Key, MetaItem, NameItem, ProfileItem, SecretItem, Visibility, encode};
use crate::table::transaction::{Outcome, outcome_of, put_new};
use crate::{Store, StoreError};
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use common::id::{RepoId, Slug};
use futures_util::{StreamExt, TryStreamExt, stream};

/// Profiles that are read at the same time.
const PARALLEL_READS: usize = 16;

/// A repo that is not there yet.
#[derive(Debug, Clone)]
pub struct NewRepo {
    /// Its id, drawn for it.
    pub id: RepoId,
    /// What its item about itself will say.
    pub meta: MetaItem,
}

impl NewRepo {
    /// A repo of the user `owner_user_id`, whose handle is `owner`, as yet without a description.
    pub fn new(store: &Store, owner: Slug, owner_user_id: &str, slug: Slug, visibility: Visibility) -> Self {
        Self {
            id: store.ambient().ulid().into(),
            meta: MetaItem {
                owner,
                name: slug.to_string(),
                slug,
                owner_user_id: owner_user_id.to_owned(),
                visibility,
                domain: String::new(),
                description: String::new(),
                default_branch: "main".to_owned(),
                default_is_chosen: false,
                created_at: store.ambient().now_iso(),
                first_pushed_at: None,
                is_made_by_push: false,
                first_head: None,
                purged: None,
                former_slugs: BTreeSet::new(),
                quota_bytes: None,
                counted_bytes: None,
                deleted_at: None,
                removing_since: None,
                forked_from: None,
            },
        }
    }

    /// The items that make the repo: its name, claimed, its item about itself, its place in the owner's list.
    pub(crate) fn items(&self, store: &Store) -> Result<Vec<TransactWriteItem>, StoreError> {
        let name = NameItem { repo_id: self.id.clone() };
        let table = &store.location.table;
        let meta = &self.meta;
        Ok(vec![
            put_new(table, encode(&Key::name(&meta.owner, &meta.slug), &name)?)?,
            put_new(table, encode(&Key::meta(&self.id), meta)?)?,
            put_new(table, encode(&Key::owned(&meta.owner_user_id, &meta.slug), &name)?)?,
        ])
    }
}

/// What became of a claim to a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the user's now, or was before.
    Held,
    /// Another user has it.
    Taken,
    /// The user has another handle.
    HasAnother(Slug),
}

impl Store {
    /// The profile of a user, if it has claimed a handle.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn profile(&self, user_id: &str) -> Result<Option<ProfileItem>, StoreError> {
        if let Some(remembered) = self.profiles.get(user_id) {
            return Ok(Some(remembered));
        }
        let profile: Option<ProfileItem> = self.get_item(&Key::profile(user_id)).await?;
        if let Some(profile) = &profile {
            self.profiles.insert(user_id.to_owned(), profile.clone());
        }
        Ok(profile)
    }

    /// The handles of users, as far as they have one.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn handles<'u>(
        &self,
        users: impl IntoIterator<Item = &'u str>,
    ) -> Result<HashMap<String, String>, StoreError> {
        let users: BTreeSet<String> = users.into_iter().map(str::to_owned).collect();
        let handle =
            async |user: String| Ok(self.profile(&user).await?.map(|profile| (user, profile.handle.to_string())));
        stream::iter(users)
            .map(handle)
            .buffer_unordered(PARALLEL_READS)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }

    /// The user that has a handle.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn user_of_handle(&self, handle: &Slug) -> Result<Option<String>, StoreError> {
        let owner: Option<HandleItem> = self.get_item(&Key::handle(handle)).await?;
        Ok(owner.map(|owner| owner.user_id))
    }

    /// Gives a handle to a user, once and for ever.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn claim_handle(&self, user_id: &str, handle: &Slug, display_name: &str) -> Result<Claim, StoreError> {
        let profile = ProfileItem {
            handle: handle.clone(),
            display_name: display_name.to_owned(),
            created_at: self.ambient.now_iso(),
        };
        let owner = HandleItem { user_id: user_id.to_owned() };
        let table = &self.location.table;
        let items = vec![
            put_new(table, encode(&Key::handle(handle), &owner)?)?,
            put_new(table, encode(&Key::profile(user_id), &profile)?)?,
        ];
        let marker = Key::handle(handle);
        let is_ours = |item: HandleItem| item.user_id == user_id;
        if self.transact(items, &marker, is_ours).await? == Outcome::Landed {
            return Ok(Claim::Held);
        }
        match self.profile(user_id).await? {
            Some(profile) if profile.handle == *handle => Ok(Claim::Held),
            Some(profile) => Ok(Claim::HasAnother(profile.handle)),
            None => Ok(Claim::Taken),
        }
    }

    /// The secret that the hub signs tokens with, if it was drawn.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn token_secret(&self) -> Result<Option<String>, StoreError> {
        let item: Option<SecretItem> = self.get_item(&Key::token_secret()).await?;
        Ok(item.map(|item| item.secret))
    }

    /// The same, drawn now if it was not. It is for operators: functions have no right to it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn draw_token_secret(&self) -> Result<String, StoreError> {
        if let Some(secret) = self.token_secret().await? {
            return Ok(secret);
        }
        let key = Key::token_secret();
        let new = SecretItem { secret: hex::encode(self.ambient.secret()) };
        let put = put_new(&self.location.table, encode(&key, &new)?)?;
        let is_ours = |stored: SecretItem| stored.secret == new.secret;
        if self.transact(vec![put], &key, is_ours).await? == Outcome::Landed {
            return Ok(new.secret);
        }
        self.token_secret()
            .await?
            .ok_or_else(|| StoreError::Damaged("the token secret was there and is gone".to_owned()))
    }

    /// The repo that a name leads to, whether it is there or not, and what it says of itself.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn named(&self, owner: &Slug, slug: &Slug) -> Result<Option<(RepoId, Option<MetaItem>)>, StoreError> {
        let Some(NameItem { repo_id }) = self.get_item(&Key::name(owner, slug)).await? else {
            return Ok(None);
        };
        let meta = self.get_item(&Key::meta(&repo_id)).await?;
        Ok(Some((repo_id, meta)))
    }

    /// Puts another token secret in the place of the one that was read. It is for operators: functions have no right to it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn change_token_secret(&self, before: &str, after: &str) -> Result<Outcome, StoreError> {
        let key = Key::token_secret();
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.location.table)
            .set_item(Some(encode(&key, &SecretItem { secret: after.to_owned() })?))
            .condition_expression("secret = :before")
            .expression_attribute_values(":before", AttributeValue::S(before.to_owned()));
        outcome_of(put.send().await, key)
    }

    /// Makes a repo, unless its name is taken.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn create_repo(&self, repo: &NewRepo) -> Result<Outcome, StoreError> {
        let marker = Key::name(&repo.meta.owner, &repo.meta.slug);
        let outcome = self.transact(repo.items(self)?, &marker, |item: NameItem| item.repo_id == repo.id).await?;
        if outcome == Outcome::Landed {
            self.publish([encode(&Key::meta(&repo.id), &repo.meta)?]);
        }
        Ok(outcome)
    }
}
