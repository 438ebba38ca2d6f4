//! `/{owner}/{slug}/commit/{id}`: what a commit says and what it changed.

use crate::changes::{Changes, Ends};
use crate::frame::{Hub, Repo};
use crate::parts::{CommitLine, FileChange};
use crate::urls;
use crate::view::DiffView;
use askama::Template;
use serde::Serialize;

/// `/{owner}/{slug}/commit/{id}?view=`. Links: `commit/{id}` of its parents, `tree/{id}`, `blob` of each changed file at
/// this commit and at its first parent, `raw` of images, the other view.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "commit.html")]
pub struct CommitPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The commit.
    pub commit: CommitLine,
    /// The id of its snapshot; may be empty.
    pub snapshot_id: String,
    /// Its `metadata`, in order: names and values. A value that is no string is given as JSON.
    pub metadata: Vec<(String, String)>,
    /// Who has reviewed it.
    pub reviewed_by: Vec<String>,
    /// How many test runs it says.
    pub test_runs: u64,
    /// The key that it is signed with; empty if it is not. The hub does not check signatures.
    pub signer_key_id: String,
    /// Its `structured_delta` as it came: any JSON. What is not understood is not shown.
    pub delta: serde_json::Value,
    /// What differs from its first parent's snapshot, or is there, of a commit without a parent; in order of path.
    pub files: Vec<FileChange>,
    /// How many more files differ than `files` has.
    pub more_files: u64,
    /// How line diffs are laid out.
    pub view: DiffView,
}

impl CommitPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn view_url(&self, view: DiffView) -> String {
        urls::commit(&self.repo, &self.commit.id, view)
    }

    fn changes(&self) -> Changes {
        let ends =
            Ends { repo: &self.repo, before: self.commit.parents.first().map(String::as_str), after: &self.commit.id };
        Changes::of(&ends, &self.files, self.more_files, self.view)
    }
}
