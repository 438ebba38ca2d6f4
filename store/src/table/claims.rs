//! Where branches lie, as the files that clients keep them in: what keeps two pushes that race from making a pair of branches
//! that no clone could keep side by side, and asks nothing of pushes that make no branch.
//!
//! A branch takes its own name and those of its folders; names that differ only in case are one. The transaction that makes a
//! branch leaves a claim of its own at each of these names, on condition that none was left there since the branches were listed
//! that the new one was checked against. So of two branches that cannot lie side by side, made at the same time, one lands. The
//! other's transaction fails, and its push is planned again, against a list that has the first. Claims say nothing else: the list
//! of branches alone says what there is, for branches of before there were claims and for branches that are deleted too. The
//! first branch that is ever pushed to a repo needs no claims, for it sets `first_pushed_at`.
//!
//! Most names have no claim, for claims go after a day, so that is assumed at first and costs no read. Where it is not so the
//! claims are read, and the branches listed after them. A name has one claim as a folder and one as a branch, so that branches
//! that are made in one folder do not fail each other's conditions.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use futures_util::future::try_join_all;
use jiff::Timestamp;

use crate::table::items::{ClaimItem, Key};
use crate::{Store, StoreError};
use common::id::{BranchName, RepoId};
use common::time;
use common::wire::names::{folded, folders};

/// How long claims are kept. They serve requests that are under way, which take minutes at most.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A name that a new branch takes, with the claims there as they were before the branches were listed.
#[derive(Debug, Clone)]
pub struct PathClaim {
    key: Key,
    /// The folder as the branch spells it; none for the name of the branch itself.
    folder: Option<String>,
    seen: ClaimItem,
}

impl Store {
    /// The names that branches to be made take, with the claims there now. The caller lists the branches afterwards.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn claims<'b>(
        &self,
        repo: &RepoId,
        branches: impl IntoIterator<Item = &'b BranchName>,
    ) -> Result<Vec<PathClaim>, StoreError> {
        let read = PathClaim::of(repo, branches, &[]).into_iter().map(async |claim| {
            let seen = self.get_item(&claim.key).await?.unwrap_or_default();
            Ok(PathClaim { seen, ..claim })
        });
        try_join_all(read).await
    }
}

impl PathClaim {
    /// The names that branches to be made take, each once, with the claims that were seen there; without any elsewhere, as they mostly
    /// are. The branches can lie beside each other, so what two of them take is a folder.
    pub fn of<'b>(repo: &RepoId, branches: impl IntoIterator<Item = &'b BranchName>, seen: &[Self]) -> Vec<Self> {
        let names = branches.into_iter().map(BranchName::as_str);
        let names = names.flat_map(|name| folders(name).map(|folder| (folder, true)).chain([(name, false)]));
        let claim = |(name, is_folder): (&str, bool)| {
            let key = Key::claim(repo, &folded(name));
            let seen = seen.iter().find(|claim| claim.key == key).map(|claim| claim.seen.clone());
            Self { key, folder: is_folder.then(|| name.to_owned()), seen: seen.unwrap_or_default() }
        };
        let mut taken = HashSet::new();
        names.filter(|name| taken.insert(*name)).map(claim).collect()
    }

    /// Leaves the claim `mark`, if nothing was made meanwhile that the new branch cannot lie beside.
    pub(crate) fn take(&self, table: &str, mark: &str, now: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let expires_at = AttributeValue::N(time::after(now, KEPT).as_second().to_string());
        let mut update = Update::builder()
            .table_name(table)
            .set_key(Some(self.key.item()))
            .expression_attribute_values(":mark", text(mark))
            .expression_attribute_values(":end", expires_at);
        let mut unchanged = |name: &str, seen: Option<&String>| match seen {
            None => format!("attribute_not_exists({name})"),
            Some(seen) => {
                update = update.clone().expression_attribute_values(format!(":{name}"), text(seen));
                format!("{name} = :{name}")
            }
        };
        let no_branch = unchanged("branch", self.seen.branch.as_ref());
        let no_folder = unchanged("folder", self.seen.folder.as_ref());
        let update = match &self.folder {
            None => update
                .condition_expression(format!("{no_branch} AND {no_folder}"))
                .update_expression("SET branch = :mark, expires_at = :end"),
            Some(folder) => update
                .expression_attribute_values(":spelled", text(folder))
                .condition_expression(format!("{no_branch} AND (spelled = :spelled OR {no_folder})"))
                .update_expression("SET folder = :mark, spelled = :spelled, expires_at = :end"),
        };
        Ok(TransactWriteItem::builder().update(update.build().map_err(StoreError::fault)?).build())
    }
}
