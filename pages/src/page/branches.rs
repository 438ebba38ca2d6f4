//! `/{owner}/{slug}/branches`.

use crate::urls;
use askama::Template;
use jiff::Timestamp;
use serde::Serialize;

use crate::frame::{Hub, Repo};
use crate::parts::CommitLine;

/// `/{owner}/{slug}/branches?after=`. Links: `tree/{branch}`, `commits/{branch}`, `commit/{id}`,
/// `compare/{default}...{branch}`, `?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "branches.html")]
pub struct BranchesPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The branches, the default first.
    pub branches: Vec<BranchLine>,
    /// What `?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl BranchesPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::branches(&self.repo, Some(after)))
    }
}

/// A branch in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BranchLine {
    /// Its name.
    pub name: String,
    /// Its head's id.
    pub head_id: String,
    /// Its head, if it was read.
    pub head: Option<CommitLine>,
    /// When it was last moved, if known.
    pub moved_at: Option<Timestamp>,
    /// How many commits it has and the default branch has not, and the other way round, if that was counted.
    pub ahead_behind: Option<(u64, u64)>,
}
