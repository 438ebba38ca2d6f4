//! `/{owner}`: the repositories of a user.

use crate::frame::Hub;
use crate::parts::RepoLine;
use crate::urls;
use askama::Template;
use serde::Serialize;

/// `/{owner}`. Links: each repository, `/{owner}?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "owner.html")]
pub struct OwnerPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The user's handle.
    pub owner: String,
    /// Those of the user's repositories that the reader may know of.
    pub repos: Vec<RepoLine>,
    /// What `?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl OwnerPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::owner(&self.owner, Some(after)))
    }
}
