//! `/{owner}/{slug}/commits/{ref}`: a history, with its merges drawn.

use crate::frame::{At, Hub, Repo};
use crate::parts::CommitLine;
use crate::text::Markup;
use crate::{graph, urls};
use askama::Template;
use serde::Serialize;

/// `/{owner}/{slug}/commits/{ref}?after=`. Links: `commit/{id}` of each commit, `tree/{id}`, `releases`, the commits of
/// each ref of the switcher, `?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "commits.html")]
pub struct CommitsPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The ref, and what to switch to.
    pub at: At,
    /// Commits, each before its parents.
    pub commits: Vec<CommitLine>,
    /// What the cursor that led here expects: ids of commits that earlier pages named as parents and have not shown, in
    /// the order of the graph's lanes. Empty on the first page. [`crate::graph::open_lanes`] says them of a page.
    pub open: Vec<String>,
    /// Whether these are the first commits of the history.
    pub is_first: bool,
    /// What `?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl CommitsPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn switch_url(&self, name: &str) -> String {
        urls::commits(&self.repo, name, None)
    }

    fn rows(&self) -> Vec<(&CommitLine, Markup)> {
        self.commits.iter().zip(graph::draw(&self.open, &self.commits)).collect()
    }

    fn first_url(&self) -> Option<String> {
        (!self.is_first).then(|| urls::commits(&self.repo, &self.at.name, None))
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::commits(&self.repo, &self.at.name, Some(after)))
    }
}
