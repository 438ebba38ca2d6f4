//! `/{owner}/{slug}/compare/{a}...{b}`: what one ref has over another.

use crate::changes::{Changes, Ends};
use crate::frame::{Hub, Repo};
use crate::parts::{CommitLine, FileChange};
use crate::text::Markup;
use crate::view::DiffView;
use crate::{graph, urls};
use askama::Template;
use serde::Serialize;

/// `/{owner}/{slug}/compare/{a}...{b}?view=`. Links: `tree` of both, `compare/{b}...{a}`, `commit/{id}` of each commit,
/// `blob` of each changed file, the other view.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "compare.html")]
pub struct ComparePage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// `a`: the ref that is compared with.
    pub base: String,
    /// `b`: the ref that is compared.
    pub head: String,
    /// The newest commit that both have; `None` if they share none.
    pub merge_base: Option<String>,
    /// Commits that `b` has and `a` has not, each before its parents.
    pub commits: Vec<CommitLine>,
    /// Whether there are more of them.
    pub has_more_commits: bool,
    /// What differs between the merge base's snapshot and `b`'s; in order of path.
    pub files: Vec<FileChange>,
    /// How many more files differ than `files` has.
    pub more_files: u64,
    /// How line diffs are laid out.
    pub view: DiffView,
}

impl ComparePage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn view_url(&self, view: DiffView) -> String {
        urls::compare(&self.repo, &self.base, &self.head, view)
    }

    fn rows(&self) -> Vec<(&CommitLine, Markup)> {
        self.commits.iter().zip(graph::draw(&[], &self.commits)).collect()
    }

    fn changes(&self) -> Changes {
        let before = self.merge_base.as_deref().unwrap_or(&self.base);
        let ends = Ends { repo: &self.repo, before: Some(before), after: &self.head };
        Changes::of(&ends, &self.files, self.more_files, self.view)
    }
}
