//! Where a hub is, and a repo of it.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{InvalidUri, Scheme};
use service::Target;

/// The URL of a hub: http or https, a host, and maybe a path that goes before every path of the hub's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl(String);

/// Why a text is not the URL of a hub.
#[derive(Debug, thiserror::Error)]
#[error("the URL of a hub is {0}")]
pub struct BadUrl(&'static str);

impl FromStr for HubUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let uri: Uri = text.parse().map_err(|_| BadUrl("like https://hub.example.com"))?;
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
            return Err(BadUrl("like https://hub.example.com, beginning with http:// or https://"));
        };
        if authority.as_str().contains('@') {
            return Err(BadUrl("without a user or password: a client sends its token itself"));
        }
        if text.contains(['?', '#']) {
            return Err(BadUrl("without a query or fragment"));
        }
        Ok(Self(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/'))))
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl HubUrl {
    /// The URL of a path, which begins with a slash, and its query. Its percent-encoding stays as it is.
    ///
    /// # Errors
    /// When it makes no URL.
    pub fn at(&self, path_and_query: &str) -> Result<Uri, InvalidUri> {
        format!("{self}{path_and_query}").parse()
    }
}

/// Where a repo is: `https://hub/owner/slug`, or `owner/slug` for the stores at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A hub elsewhere, and the repo there.
    Url(HubUrl, Target),
    /// The stores at hand.
    Stores(Target),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return text.parse().map(Self::Stores);
        }
        let bad = || "the URL of a repository is like https://hub.example.com/owner/slug".to_owned();
        let text = text.trim_end_matches('/');
        let (rest, slug) = text.rsplit_once('/').ok_or_else(bad)?;
        let (hub, owner) = rest.rsplit_once('/').ok_or_else(bad)?;
        if !hub.contains("://") {
            return Err(bad());
        }
        let hub = hub.parse::<HubUrl>().map_err(|error| error.to_string())?;
        Ok(Self::Url(hub, format!("{owner}/{slug}").parse().map_err(|_| bad())?))
    }
}

#[cfg(test)]
mod tests {
    use super::HubUrl;

    #[test]
    fn a_hub_url_keeps_its_path_and_loses_the_last_slash() {
        for (given, kept) in [
            ("https://hub", "https://hub"),
            ("https://hub/", "https://hub"),
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("http://[::1]:8787/", "http://[::1]:8787"),
            (
                "https://id.execute-api.eu-west-1.amazonaws.com/prod/",
                "https://id.execute-api.eu-west-1.amazonaws.com/prod",
            ),
        ] {
            let url: HubUrl = given.parse().unwrap();
            assert_eq!(url.to_string(), kept);
            assert_eq!(url.at("/a/b?c=%2F").unwrap().to_string(), format!("{kept}/a/b?c=%2F"));
        }
    }

    #[test]
    fn what_is_no_url_of_a_hub_is_refused_without_being_repeated() {
        for given in [
            "",
            "hub",
            "hub:80",
            "/prod",
            "ftp://hub",
            "https://hub?secret=1",
            "https://hub/#secret",
            "https://me:secret@hub",
        ] {
            let refused = given.parse::<HubUrl>().unwrap_err().to_string();
            assert!(refused.starts_with("the URL of a hub is "), "{given}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
