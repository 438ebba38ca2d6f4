//! `/{owner}/{slug}/tags`.

use crate::urls;
use askama::Template;
use jiff::Timestamp;
use serde::Serialize;

use crate::frame::{Hub, Repo};

/// `/{owner}/{slug}/tags?after=`. Links: `tree/{tag}`, `commit/{id}`, `?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "tags.html")]
pub struct TagsPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The tags.
    pub tags: Vec<TagLine>,
    /// What `?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl TagsPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::tags(&self.repo, Some(after)))
    }
}

/// A tag in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TagLine {
    /// Its label.
    pub label: String,
    /// The commit that it names.
    pub commit_id: String,
    /// The subject of that commit; empty if it was not read.
    pub subject: String,
    /// When the tag was made, if known.
    pub created_at: Option<Timestamp>,
}
