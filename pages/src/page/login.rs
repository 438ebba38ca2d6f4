//! `/login`: a form that takes a token.

use crate::frame::Hub;
use crate::urls;
use askama::Template;
use serde::Serialize;

/// `/login`: a form that posts `token`, `next` and `form_token` to `/login`. Links: `single_sign_on`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "login.html")]
pub struct LoginPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// Where to go afterwards: a path of this hub. Anything else is left out.
    pub next: String,
    /// Why the last try failed, as a sentence; `None` on the first.
    pub failure: Option<String>,
    /// A command that makes a token, for this deployment; may be empty.
    pub token_command: String,
    /// The OIDC issuer whose tokens users have here, if the deployment has one: then no command makes a token.
    pub issuer: Option<String>,
    /// A URL of this hub that leads to the deployment's OIDC issuer, if it has one.
    pub single_sign_on: Option<String>,
}

impl LoginPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    /// Only a path of this hub.
    fn single_sign_on_url(&self) -> Option<&str> {
        self.single_sign_on.as_deref().filter(|url| *url == urls::local(url))
    }
}
