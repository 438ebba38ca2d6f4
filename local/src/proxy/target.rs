//! Where a request goes: the hub's URL, and the repository that a path is of.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{InvalidUri, Scheme};

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
    pub(crate) fn at(&self, path_and_query: &str) -> Result<Uri, InvalidUri> {
        format!("{self}{path_and_query}").parse()
    }
}

/// The `/{owner}/{slug}` of a path that lies in a repository and takes uploads.
pub(super) fn repository(path: &str) -> Option<&str> {
    let mut segments = path.strip_prefix('/')?.splitn(3, '/');
    let (owner, slug, endpoint) = (segments.next()?, segments.next()?, segments.next()?);
    let of_the_hub_itself = matches!(owner, "api" | "o") || endpoint == "uploads";
    if of_the_hub_itself || owner.is_empty() || slug.is_empty() || endpoint.is_empty() {
        return None;
    }
    path.get(..owner.len() + slug.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::{HubUrl, repository};

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

    #[test]
    fn only_the_paths_below_a_repository_are_of_it() {
        assert_eq!(repository("/dev/song/push"), Some("/dev/song"));
        assert_eq!(repository("/dev/song/push/objects"), Some("/dev/song"));
        assert_eq!(repository("/d%C3%A9v/song/fetch"), Some("/d%C3%A9v/song"));
        for path in [
            "/",
            "/dev",
            "/dev/song",
            "/dev/song/",
            "//song/push",
            "/dev//push",
            "/api/repos",
            "/api/repos/x",
            "/o/id/x",
        ] {
            assert_eq!(repository(path), None, "{path}");
        }
        assert_eq!(repository("/dev/song/uploads"), None);
    }
}
