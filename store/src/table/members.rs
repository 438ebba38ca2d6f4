//! The members of repos: an item for each, with a line for each change.

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem};

use crate::repo::Repo;
use crate::table::PutError;
use crate::table::items::{ChangeItem, Key, MEMBER_PREFIX, MemberItem, PK, Role, encode};
use crate::table::transaction::{Outcome, put_new};
use crate::{Store, StoreError};
use common::id::RepoId;
use common::wire::limits::MAX_MEMBERS_OF_REPO;

/// A user as a member of a repo.
#[derive(Debug, Clone, Copy)]
pub struct Member<'m> {
    /// The user.
    pub user_id: &'m str,
    /// What the user was, as it was read.
    pub before: Option<&'m MemberItem>,
    /// What the user is to be.
    pub after: Option<&'m MemberItem>,
}

impl Store {
    /// The members of a repo by their user ids. Strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn members(&self, repo: &RepoId) -> Result<Vec<(String, MemberItem)>, StoreError> {
        self.query(repo, MEMBER_PREFIX, MAX_MEMBERS_OF_REPO).await
    }

    /// One member of a repo. Strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn member(&self, repo: &RepoId, user_id: &str) -> Result<Option<MemberItem>, StoreError> {
        self.get_item(&Key::member(repo, user_id)).await
    }

    /// Makes a user the member that `after` says, or none, with a line that says so, if the user is still the member that `before`
    /// says, and the user who changes it, `by`, is still an admin or the owner. Else one who was removed could make himself a member again
    /// by a request that was under way. Who leaves needs no role for it.
    ///
    /// # Errors
    /// When the table does not answer, and for more members than a repo may have.
    pub async fn change_member(
        &self,
        repo: &Repo,
        by: &str,
        member: &Member<'_>,
        change: &ChangeItem,
    ) -> Result<Outcome, PutError> {
        let Member { user_id, before, after } = *member;
        let is_self = by == user_id;
        if is_self && after.is_some() && before.is_none_or(|before| before.role < Role::Admin) {
            // The user was an admin when the repo was read, and is none now.
            return Ok(Outcome::Conflict);
        }
        let still = self.still_administers(repo, by)?;
        let repo = &repo.id;
        if before.is_none() && after.is_some() {
            let count = self.members(repo).await?.len() + 1;
            PutError::check_count("members of the repository", count, MAX_MEMBERS_OF_REPO)?;
        }
        let table = &self.location.table;
        let key = Key::member(repo, user_id);
        let role = |member: &MemberItem| AttributeValue::S(member.role.as_str().to_owned());
        let item = match (before, after) {
            (None, None) => return Ok(Outcome::Landed),
            (None, Some(after)) => put_new(table, encode(&key, after)?)?,
            (Some(before), Some(after)) => {
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(encode(&key, after)?))
                    .condition_expression("#role = :was")
                    .expression_attribute_names("#role", "role")
                    .expression_attribute_values(":was", role(before));
                TransactWriteItem::builder().put(put.build().map_err(StoreError::fault)?).build()
            }
            (Some(before), None) => {
                let delete = Delete::builder()
                    .table_name(table)
                    .set_key(Some(key.item()))
                    .condition_expression("#role = :was")
                    .expression_attribute_names("#role", "role")
                    .expression_attribute_values(":was", role(before));
                TransactWriteItem::builder().delete(delete.build().map_err(StoreError::fault)?).build()
            }
        };
        let mut items = vec![item, is_there(table, repo)?];
        items.extend(still.0.filter(|_| !is_self));
        Ok(self.transact_with_line(items, repo, change).await?)
    }
}

/// A condition of what an owner or an admin changes: that who does so still may. So nothing lands any more that was under way when an
/// admin was removed. The owner of a repo stays its owner, and so there is no condition then.
#[derive(Debug)]
pub struct StillAdministers(pub(crate) Option<TransactWriteItem>);

impl StillAdministers {
    /// No condition: of what the owner does.
    pub const fn as_owner() -> Self {
        Self(None)
    }
}

impl Store {
    /// The condition that a user, who owns the repo or was read to be an admin, still may administer it.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn still_administers(&self, repo: &Repo, user_id: &str) -> Result<StillAdministers, StoreError> {
        if repo.meta.owner_user_id == user_id {
            return Ok(StillAdministers::as_owner());
        }
        let check = ConditionCheck::builder()
            .table_name(&self.location.table)
            .set_key(Some(Key::member(&repo.id, user_id).item()))
            .condition_expression("#role = :admin")
            .expression_attribute_names("#role", "role")
            .expression_attribute_values(":admin", AttributeValue::S(Role::Admin.as_str().to_owned()))
            .build()
            .map_err(StoreError::fault)?;
        Ok(StillAdministers(Some(TransactWriteItem::builder().condition_check(check).build())))
    }
}

/// A check that a repo is there.
pub(crate) fn is_there(table: &str, repo: &RepoId) -> Result<TransactWriteItem, StoreError> {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(Key::meta(repo).item()))
        .condition_expression("attribute_exists(#pk) AND attribute_not_exists(deleted_at)")
        .expression_attribute_names("#pk", PK)
        .build()
        .map_err(StoreError::fault)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}
