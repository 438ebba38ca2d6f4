//! `/`: what this hub is, how to log in and push, and its public repositories.

use crate::frame::Hub;
use crate::parts::RepoLine;
use crate::urls;
use askama::Template;
use serde::Serialize;

/// `/`. Links: `/login`, each repository, its owner, `/?after=`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "home.html")]
pub struct HomePage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// Public repositories, the one pushed to last first.
    pub repos: Vec<RepoLine>,
    /// Whether these are the first. Only then the page says how to push.
    pub is_first: bool,
    /// What `/?after=` leads to the next ones with; `None` on the last page.
    pub next: Option<String>,
}

impl HomePage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn next_url(&self) -> Option<String> {
        self.next.as_deref().map(|after| urls::home(Some(after)))
    }

    fn first_url(&self) -> Option<String> {
        (!self.is_first).then(|| urls::home(None))
    }

    fn login_command(&self) -> String {
        format!("muse auth login --hub {} --token TOKEN", self.hub.url)
    }

    fn push_commands(&self) -> String {
        let owner = self.hub.viewer.as_deref().unwrap_or("your-handle");
        format!("muse remote add origin {}{}\nmuse push origin main", self.hub.url, urls::repo_of(owner, "song"))
    }
}
