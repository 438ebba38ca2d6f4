//! The branches of a repo, how they are protected, and its push log, as clients go through them.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use serde::de::DeserializeOwned;
use ulid::Ulid;

use crate::table::items::{
    CHANGE_PREFIX, ChangeItem, Key, LOG_PREFIX, LogItem, PK, PROTECTION, REF_PREFIX, RefItem, repo_pk,
};
use crate::table::members::StillAdministers;
use crate::table::query::Direction;
use crate::table::transaction::Outcome;
use crate::{Store, StoreError};
use common::id::{BranchName, RepoId};
use common::push::Protection;

/// How many lines of the push log one request goes through to find those of a branch: some 3 MB of the table.
const MAX_LOG_READ: usize = 10_000;
/// How many it reads at once: a third of what one query may return.
const AT_ONCE: usize = 1_000;

/// Some items of a list, and where it goes on.
#[derive(Debug)]
pub struct Slice<T> {
    /// The items, each with the rest of its sort key.
    pub items: Vec<(String, T)>,
    /// The rest of the sort key that the next slice is behind; none at the end.
    pub next: Option<String>,
}

/// What a change of a branch's protection is called among the changes of its repo.
pub fn changed_protection(branch: &BranchName) -> String {
    format!("branches/{branch}/protection")
}

/// How many items are found at most, and how many are read at least to find them.
#[derive(Clone, Copy)]
struct Most {
    found: usize,
    at_once: usize,
}

impl Store {
    /// Branches by name, from behind `after`: at most `limit`.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn branches_behind(
        &self,
        repo: &RepoId,
        after: Option<&BranchName>,
        limit: usize,
    ) -> Result<Slice<RefItem>, StoreError> {
        let after = after.map(BranchName::to_string);
        let most = Most { found: limit, at_once: 1 };
        self.slice(repo, REF_PREFIX, Direction::Forward, after, most, |_| true).await
    }

    /// Lines of the push log, the newest first, from behind the line `after`: at most `limit`. Of one branch it has those among
    /// the next 10,000 lines, which may be none though there are more behind them.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn log_behind(
        &self,
        repo: &RepoId,
        branch: Option<&BranchName>,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Slice<LogItem>, StoreError> {
        let after = after.map(|after| after.to_string());
        let is_meant = |line: &LogItem| branch.is_none_or(|branch| line.branch == *branch);
        let most = Most { found: limit, at_once: if branch.is_some() { AT_ONCE } else { 1 } };
        self.slice(repo, LOG_PREFIX, Direction::Backward, after, most, is_meant).await
    }

    /// A branch, if it is there.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn branch(&self, repo: &RepoId, branch: &BranchName) -> Result<Option<RefItem>, StoreError> {
        self.get_item(&Key::branch(repo, branch)).await
    }

    /// Protects a branch that is there in another way than `before`, which is how it was read, with a line that says so.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it may not have been done; it most probably was not.
    pub async fn protect_branch(
        &self,
        repo: &RepoId,
        branch: &BranchName,
        before: Option<Protection>,
        after: Option<Protection>,
        by: &str,
        still: StillAdministers,
    ) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let text = |protection| AttributeValue::S(Protection::word(protection).to_owned());
        let mut update = Update::builder()
            .table_name(table)
            .set_key(Some(Key::branch(repo, branch).item()))
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#protection", PROTECTION);
        let as_read = match before {
            None => "attribute_not_exists(#protection)",
            Some(_) => {
                update = update.expression_attribute_values(":before", text(before));
                "#protection = :before"
            }
        };
        update = match after {
            None => update.update_expression("REMOVE #protection"),
            Some(_) => {
                update.update_expression("SET #protection = :after").expression_attribute_values(":after", text(after))
            }
        };
        let update = update
            .condition_expression(format!("attribute_exists(#pk) AND {as_read}"))
            .build()
            .map_err(StoreError::fault)?;
        let word = |protection| Protection::word(protection).to_owned();
        let change = ChangeItem {
            changed: [(changed_protection(branch), (word(before), word(after)))].into(),
            by: by.to_owned(),
            at: self.ambient.now_iso(),
        };
        let items = [TransactWriteItem::builder().update(update).build()].into_iter().chain(still.0).collect();
        self.transact_with_line(items, repo, &change).await
    }

    /// How a branch was protected last, as the changes of its repo say: for a branch whose item is gone.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn noted_protection(&self, repo: &RepoId, branch: &BranchName) -> Result<Option<Protection>, StoreError> {
        let name = changed_protection(branch);
        let is_meant = |change: &ChangeItem| change.changed.contains_key(&name);
        let most = Most { found: 1, at_once: AT_ONCE };
        let found = self.slice(repo, CHANGE_PREFIX, Direction::Backward, None, most, is_meant).await?;
        Ok(found.items.first().and_then(|(_, change)| Protection::of_word(&change.changed.get(&name)?.1)))
    }

    async fn slice<T: DeserializeOwned>(
        &self,
        repo: &RepoId,
        prefix: &str,
        direction: Direction,
        mut after: Option<String>,
        most: Most,
        is_meant: impl Fn(&T) -> bool,
    ) -> Result<Slice<T>, StoreError> {
        let (pk, mut items, mut read) = (repo_pk(repo), Vec::new(), 0);
        loop {
            // One more says whether there are more.
            let wanted = most.found - items.len() + 1;
            let part = self.query_part::<T>(&pk, prefix, direction, after.as_deref(), most.at_once.max(wanted));
            let (found, goes_on) = part.await?;
            for (name, item) in found {
                if items.len() == most.found || read == MAX_LOG_READ {
                    return Ok(Slice { items, next: after });
                }
                read += 1;
                after = Some(name.clone());
                if is_meant(&item) {
                    items.push((name, item));
                }
            }
            if !goes_on {
                return Ok(Slice { items, next: None });
            }
        }
    }
}
