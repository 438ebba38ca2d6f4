//! Reads the keys of an issuer from where its configuration says that they are
//! ([OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html), section 4).

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

/// How long both documents may take together.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of each of them.
const MAX_DOCUMENT: usize = 256 << 10;

/// What asks issuers: the connections and the TLS of the AWS SDK. It follows no redirect.
pub(super) struct Fetcher(Box<dyn HttpConnector>);

/// What is read of an issuer's configuration.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    pub(super) fn new() -> Self {
        Self(Box::new(store::aws::connector()))
    }

    /// The keys of an issuer, and how long it says that they are good.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(super) async fn fetch(&self, settings: &IssuerSettings) -> Result<Fetched, String> {
        timeout(TIME_LIMIT, self.read(settings))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} seconds", TIME_LIMIT.as_secs())))
    }

    async fn read(&self, settings: &IssuerSettings) -> Result<Fetched, String> {
        let url = format!("{}/.well-known/openid-configuration", settings.url.as_str().trim_end_matches('/'));
        let (_, document) = self.get(&url).await?;
        let configuration: Configuration =
            serde_json::from_slice(&document).map_err(|error| format!("{url} is no configuration: {error}"))?;
        if configuration.issuer != settings.name {
            return Err(format!("{url} is the configuration of another issuer, {:?}", configuration.issuer));
        }
        let keys = Url::parse(&configuration.jwks_uri).ok().filter(is_safe);
        // An issuer elsewhere does not lead into this machine.
        let keys = keys.filter(|keys| keys.scheme() == "https" || settings.url.scheme() == "http");
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
