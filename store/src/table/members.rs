//! The members of repos: an item for each, with a line for each change.

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem};

use crate::table::PutError;
use crate::table::items::{ChangeItem, Key, MEMBER_PREFIX, MemberItem, PK, encode};
use crate::table::transaction::{Outcome, put_new};
use crate::{Store, StoreError};
use common::id::RepoId;
use common::wire::limits::MAX_MEMBERS_OF_REPO;

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
    /// says.
    ///
    /// # Errors
    /// When the table does not answer, and for more members than a repo may have.
    pub async fn change_member(
        &self,
        repo: &RepoId,
        user_id: &str,
        before: Option<&MemberItem>,
        after: Option<&MemberItem>,
        change: &ChangeItem,
    ) -> Result<Outcome, PutError> {
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
        Ok(self.transact_with_line(vec![item, is_there(table, repo)?], repo, change).await?)
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
