//! `/{owner}/{slug}/releases`.

use crate::markdown::{self, Place};
use crate::text::Markup;
use crate::urls;
use askama::Template;
use jiff::Timestamp;
use serde::Serialize;

use crate::frame::{Hub, Repo};

/// `/{owner}/{slug}/releases?after=`. Links: `tree/{commit_id}`, `commit/{id}`, `?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "releases.html")]
pub struct ReleasesPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The releases, the newest first.
    pub releases: Vec<ReleaseLine>,
    /// What `?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl ReleasesPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::releases(&self.repo, Some(after)))
    }

    /// The text of a release. Its links are relative to the root folder of its commit.
    fn text(&self, release: &ReleaseLine) -> Markup {
        let end = release.body.floor_char_boundary(markdown::MAX_BYTES);
        let body = release.body.get(..end).unwrap_or_default();
        markdown::render(body, Place { repo: &self.repo, at: &release.commit_id, path: "" })
    }
}

/// A release in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReleaseLine {
    /// Its tag.
    pub tag: String,
    /// Its title; may be empty.
    pub title: String,
    /// Its text, which is Markdown; may be empty.
    pub body: String,
    /// `stable`, `beta`, `alpha` or `nightly`.
    pub channel: String,
    /// Whether it is a draft.
    pub is_draft: bool,
    /// The commit that it names.
    pub commit_id: String,
    /// The agent that made it; may be empty.
    pub agent: String,
    /// The lines of its changelog, as far as they are text.
    pub changelog: Vec<String>,
    /// When it was made, if known.
    pub created_at: Option<Timestamp>,
}
