//! The page for an error: what went wrong, and what to do.

use crate::frame::{Hub, Repo};
use crate::urls;
use askama::Template;
use serde::Serialize;

/// Any URL that is answered with an error. Links: `/`, `/login`, the repository.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository, only if the reader may know of it.
    pub repo: Option<Repo>,
    /// The HTTP status.
    pub status: u16,
    /// The wire error's code, such as `not_found`; may be empty.
    pub code: String,
    /// What went wrong, as a sentence.
    pub sentence: String,
    /// What the reader can do; where it is empty the page says what fits the status.
    pub advice: String,
    /// The path that was asked for, with its query, where a login leads back to it. Anything else is left out.
    pub next: Option<String>,
}

impl ErrorPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn heading(&self) -> &'static str {
        match self.status {
            400 | 422 => "This request makes no sense",
            401 => "Log in first",
            403 => "You may not do this",
            404 => "There is nothing here",
            405 => "This cannot be done here",
            410 => "This is gone",
            413 => "This is too large",
            429 => "Too many requests",
            503 => "The hub is busy",
            500.. => "Something went wrong",
            _ => "This did not work",
        }
    }

    fn what_to_do(&self) -> &str {
        if !self.advice.is_empty() {
            return &self.advice;
        }
        match self.status {
            401 => "Log in with a token for this hub, then try again.",
            403 => "Ask the owner of the repository for the right to do it.",
            404 => "Check the address. A private repository is shown only to those who are logged in and may read it.",
            410 => "It was deleted or purged, and will not come back.",
            413 => "Clone the repository to see all of it.",
            429 => "Wait a minute, then try again.",
            500.. => "Try again in a minute. If it goes on, tell the operator of this hub when it happened.",
            _ => "Go back and try something else.",
        }
    }

    /// The login, and from there only to a path of this hub.
    fn login_url(&self) -> String {
        urls::login(self.next.as_deref().filter(|next| *next == urls::local(next)))
    }

    fn is_login_worth_trying(&self) -> bool {
        self.hub.viewer.is_none() && matches!(self.status, 401 | 403 | 404)
    }
}
