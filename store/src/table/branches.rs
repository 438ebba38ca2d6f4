//! The branches of a repo and its push log, as clients go through them.

use serde::de::DeserializeOwned;
use ulid::Ulid;

use crate::table::items::{LOG_PREFIX, LogItem, REF_PREFIX, RefItem, repo_pk};
use crate::table::query::Direction;
use crate::{Store, StoreError};
use common::id::{BranchName, RepoId};

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
