//! Reads the keys of an issuer from where its configuration says that they are
//! ([OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html), section 4).

use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_types::body::SdkBody;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use super::cache::Fetched;
use super::keys::KeySet;
use super::{IssuerSettings, is_safe};
use common::wire::error::with_causes;
use store::aws::Connector;

/// How long both documents may take together.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of each of them.
const MAX_DOCUMENT: usize = 256 << 10;
/// Characters of why they cannot be read. A reason has words of theirs, and is in the log line of each request that needs them.
const MAX_REASON: usize = 500;

/// What asks issuers: the connections and the TLS of the AWS SDK. It follows no redirect. It reads the system's certificates when
/// it is used for the first time, so that a process which checks no token does not.
pub(super) struct Fetcher(LazyLock<Connector>);

/// What is read of an issuer's configuration.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    pub(super) fn new() -> Self {
        Self(LazyLock::new(store::aws::connector))
    }

    /// The keys of an issuer, and how long it says that they are good.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(super) async fn fetch(&self, settings: &IssuerSettings) -> Result<Fetched, String> {
        let read = timeout(TIME_LIMIT, self.read(settings)).await;
        let read = read.unwrap_or_else(|_| Err(format!("no answer within {} seconds", TIME_LIMIT.as_secs())));
        read.map_err(|reason| reason.chars().take(MAX_REASON).collect())
    }

    async fn read(&self, settings: &IssuerSettings) -> Result<Fetched, String> {
        let url = format!("{}/.well-known/openid-configuration", settings.url.as_str().trim_end_matches('/'));
        let (_, document) = self.get(&url).await?;
        let configuration: Configuration =
            serde_json::from_slice(&document).map_err(|error| format!("{url} is no configuration: {error}"))?;
        if configuration.issuer != settings.name {
            return Err(format!("{url} is the configuration of another issuer, {:?}", configuration.issuer));
        }
        let keys = Url::parse(&configuration.jwks_uri).ok().filter(|keys| may_lead(&settings.url, keys));
        let Some(keys) = keys else {
            return Err(format!("{url} has keys at {:?}, which is no https URL", configuration.jwks_uri));
        };
        let (headers, document) = self.get(keys.as_str()).await?;
        let set = KeySet::parse(&document).map_err(|reason| format!("{keys}: {reason}"))?;
        Ok((set, fresh_for(&headers)))
    }

    async fn get(&self, url: &str) -> Result<(HeaderMap, Vec<u8>), String> {
        let failed = |error: &dyn std::error::Error| format!("{url}: {}", with_causes(error));
        let request = Request::get(url).header(ACCEPT, "application/json").body(SdkBody::empty());
        let request = request.map_err(|error| failed(&error))?.try_into().map_err(|error| failed(&error))?;
        let answer = self.0.call(request).await.map_err(|error| failed(&error))?;
        let answer = answer.try_into_http1x().map_err(|error| failed(&error))?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("{url} answered {}", head.status));
        }
        let body = Limited::new(body, MAX_DOCUMENT).collect().await.map_err(|error| failed(&*error))?;
        Ok((head.headers, body.to_bytes().into()))
    }
}

/// Whether an issuer's keys may be at a URL: by http only on this machine, and only of an issuer that is there itself.
fn may_lead(issuer: &Url, keys: &Url) -> bool {
    is_safe(keys) && (keys.scheme() == "https" || issuer.scheme() == "http")
}

/// How long an answer may be kept, as it says ([RFC 9111](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2)).
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let said = directives.filter_map(|directive| match directive.split_once('=') {
        Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok().map(Duration::from_secs),
        None if directive == "no-store" || directive == "no-cache" => Some(Duration::ZERO),
        _ => None,
    });
    said.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    const CONFIGURATION: &str = "/.well-known/openid-configuration";

    /// What a server answers to a path: a status line with its headers, and a body.
    type Answers = fn(path: &str, url: &str) -> (&'static str, String);

    /// A server on a port of its own, for as long as the process runs: its URL.
    fn serve(answers: Answers) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/realm", listener.local_addr().unwrap());
        let own = url.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut asked, mut piece) = (Vec::new(), [0; 1_024]);
                while !asked.ends_with(b"\r\n\r\n") {
                    let length = stream.read(&mut piece).unwrap();
                    asked.extend_from_slice(&piece[..length]);
                }
                let asked = String::from_utf8(asked).unwrap();
                let (head, body) = answers(asked.split(' ').nth(1).unwrap().trim_start_matches("/realm"), &own);
                let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                // Who has read enough hangs up.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
            }
        });
        url
    }

    async fn fetch(answers: Answers) -> Result<Fetched, String> {
        let settings = IssuerSettings::new(&serve(answers), "musehub").unwrap();
        Fetcher::new().fetch(&settings).await
    }

    fn configuration(issuer: &str, keys: &str) -> (&'static str, String) {
        ("200 OK", json!({"issuer": issuer, "jwks_uri": keys}).to_string())
    }

    fn keys(rest: Value) -> String {
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "A".repeat(43)}], "rest": rest}).to_string()
    }

    #[tokio::test]
    async fn the_keys_are_read_from_where_the_configuration_says() {
        let (_, fresh_for) = fetch(|path, url| match path {
            CONFIGURATION => configuration(url, &format!("{url}/keys")),
            "/keys" => ("200 OK\r\ncache-control: public, max-age=600", keys(json!("x".repeat(200 << 10)))),
            _ => ("404 Not Found", String::new()),
        })
        .await
        .unwrap();
        assert_eq!(fresh_for, Some(Duration::from_secs(600)));
    }

    #[tokio::test]
    async fn what_is_not_as_it_has_to_be_is_not_read_and_the_reason_says_so() {
        let cases: [(Answers, &str); 9] = [
            (|_, _| configuration("https://issuer.example.com", "x"), "another issuer"),
            (|_, url| configuration(&format!("{url}/"), &format!("{url}/keys")), "another issuer"),
            (|_, url| configuration(url, "http://192.0.2.1/keys"), "no https URL"),
            (|_, url| configuration(url, "file:///etc/passwd"), "no https URL"),
            (|_, _| ("200 OK", "<html>".to_owned()), "no configuration"),
            (|_, url| ("500 Oh", configuration(url, &format!("{url}/keys")).1), "500"),
            (
                |path, url| match path {
                    CONFIGURATION => ("302 Found\r\nlocation: other", String::new()),
                    _ => configuration(url, url),
                },
                "302",
            ),
            (
                |path, url| match path {
                    CONFIGURATION => configuration(url, &format!("{url}/keys")),
                    _ => ("200 OK", keys(json!("x".repeat(256 << 10)))),
                },
                "length limit exceeded",
            ),
            (
                |path, url| match path {
                    CONFIGURATION => configuration(url, &format!("{url}/keys")),
                    _ => ("200 OK", "[]".to_owned()),
                },
                "no JWK set",
            ),
        ];
        for (answers, reason) in cases {
            let refused = fetch(answers).await.unwrap_err();
            assert!(refused.contains(reason), "{reason}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_reason_is_short_also_where_an_issuer_says_much() {
        let cases: [Answers; 4] = [
            |_, _| configuration(&"\u{e9}".repeat(100 << 10), "x"),
            |_, url| configuration(url, &"x".repeat(200 << 10)),
            |_, _| ("200 OK", json!("x".repeat(200 << 10)).to_string()),
            |path, url| match path {
                CONFIGURATION => configuration(url, &format!("{url}/{}", "x".repeat(60 << 10))),
                _ => ("404 Not Found", String::new()),
            },
        ];
        for answers in cases {
            let refused = fetch(answers).await.unwrap_err();
            assert!(refused.chars().count() <= MAX_REASON, "{} characters", refused.chars().count());
        }
    }

    #[test]
    fn an_issuer_elsewhere_does_not_lead_into_this_machine() {
        let url = |text: &str| Url::parse(text).unwrap();
        let elsewhere = url("https://issuer.example.com");
        assert!(may_lead(&elsewhere, &url("https://keys.example.com/keys")));
        assert!(!may_lead(&elsewhere, &url("http://127.0.0.1:9001/2018-06-01/runtime")));
        assert!(!may_lead(&elsewhere, &url("http://keys.example.com/keys")));
        assert!(may_lead(&url("http://localhost:8080"), &url("http://127.0.0.1:8081/keys")));
    }

    #[test]
    fn keys_are_kept_for_as_long_as_the_shortest_directive_says() {
        let kept = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            fresh_for(&headers)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&["public"]), None);
        assert_eq!(kept(&["public, max-age=600, must-revalidate"]), seconds(600));
        assert_eq!(kept(&["Max-Age=\"600\""]), seconds(600));
        assert_eq!(kept(&["max-age=600", "no-cache"]), seconds(0));
        assert_eq!(kept(&["max-age=600, no-store"]), seconds(0));
        assert_eq!(kept(&["max-age=-1", "s-maxage=5"]), None);
    }
}
