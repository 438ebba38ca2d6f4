//! `/{owner}/{slug}/log`: the push log.

use crate::urls;
use askama::Template;
use jiff::Timestamp;
use serde::Serialize;

use crate::frame::{Hub, Repo};

/// `/{owner}/{slug}/log?after=`. Links: `commit/{id}` before and after, `compare/{before}...{after}`, `commits/{branch}`,
/// `?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "log.html")]
pub struct LogPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The lines, the newest first.
    pub lines: Vec<LogLine>,
    /// What `?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl LogPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::log(&self.repo, Some(after)))
    }
}

/// One move of a branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// The branch that moved.
    pub branch: String,
    /// Its head before; `None` for a new branch.
    pub before: Option<String>,
    /// Its head after; of a line that deletes it the head that it had.
    pub after: String,
    /// Whether the push was forced.
    pub is_forced: bool,
    /// Whether the branch was restored to where it was.
    pub is_restored: bool,
    /// Whether the branch was deleted.
    pub is_deleted: bool,
    /// Whether there is a branch of this name now. Its name is a link only then.
    pub is_there: bool,
    /// Who pushed: a handle, or else a user id.
    pub by: String,
    /// When, if that can be read.
    pub at: Option<Timestamp>,
}
