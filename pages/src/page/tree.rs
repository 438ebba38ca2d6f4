//! `/{owner}/{slug}/tree/{ref}/{path...}`: a folder.

use crate::frame::{At, Hub, Repo};
use crate::page::repo::Readme;
use crate::parts::{Entry, EntryLine, entry_lines, name_of};
use crate::urls;
use askama::Template;
use serde::Serialize;

/// `/{owner}/{slug}/tree/{ref}/{path...}`. Links: the folders above, `tree` or `blob` of each entry, the same path at each
/// ref of the switcher, `commits/{ref}`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "tree.html")]
pub struct TreePage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The ref, and what to switch to.
    pub at: At,
    /// The folder's path, without a slash at either end; empty for the root.
    pub path: String,
    /// What lies in it.
    pub entries: Vec<Entry>,
    /// Whether there is more in it than that.
    pub has_more_entries: bool,
    /// The folder's README, if there is one: see [`crate::page::repo::readme_of`].
    pub readme: Option<Readme>,
}

impl TreePage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn switch_url(&self, name: &str) -> String {
        urls::tree(&self.repo, name, &self.path)
    }

    fn lines(&self) -> Vec<EntryLine<'_>> {
        entry_lines(&self.repo, &self.at.name, &self.path, &self.entries)
    }

    fn name(&self) -> &str {
        name_of(&self.path)
    }
}
