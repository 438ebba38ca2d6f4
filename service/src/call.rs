//! One request, read as far as every function needs it.

use std::fmt;
use std::str::FromStr;
use std::sync::Once;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::answer_body::{AnswerBody, response};
use crate::auth::{Credential, bearer_token};
use crate::hub::Hub;
use crate::routes::{self, Route};
use crate::settings::AnonymousReads;
use common::id::{MAX_SLUG_LENGTH, Slug};
use common::wire::page::Page;
use common::wire::{Encoding, WireError};
use store::span;
use store::uploads::StorageUrl;

/// Whether it was said that a proxy is there and no public URL.
static WARNED: Once = Once::new();
/// Characters of a name, or of the hub's URL, that a refusal shows.
pub(crate) const SHOWN: usize = 100;

/// The repo that a request is about, as its path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The owner's handle.
    pub owner: Slug,
    /// The repo's name under the owner.
    pub slug: Slug,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (owner, slug) = text.split_once('/').ok_or("a repository is named owner/slug")?;
        let slug_of = |text: &str| text.parse::<Slug>().map_err(|reason| reason.to_string());
        Ok(Self { owner: slug_of(owner)?, slug: slug_of(slug)? })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.slug)
    }
}

/// The host, with its port, that a request names and that its front door knows for the hub's own.
#[derive(Debug, Clone)]
pub struct ReachedAs(pub String);

/// Whether this is what may stand behind a host: nothing, or a port.
fn is_port(text: &str) -> bool {
    let port = text.strip_prefix(':');
    text.is_empty() || port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the path of the hub's URL has in front of the paths that its routes see: that of the operator's URL, or else the name of
/// an API Gateway's stage.
pub fn base_path(hub: &Hub, request: &impl RequestExt) -> String {
    if let Some(url) = &hub.settings.public_url {
        let url: Option<http::Uri> = url.parse().ok();
        return url.map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    }
    let context = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.path.as_deref(),
        _ => None,
    };
    context.and_then(|path| path.strip_suffix(request.raw_http_path())).unwrap_or_default().to_owned()
}

/// Whether these headers are of a client that shows pages: browsers name `text/html`, and clients of the API do not.
pub fn takes_pages(headers: &HeaderMap) -> bool {
    names_type(headers, &["text/html"])
}

fn names_type(headers: &HeaderMap, types: &[&str]) -> bool {
    let accepted = headers.get_all(http::header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|accepted| {
        let name = accepted.split(';').next().unwrap_or_default().trim();
        types.iter().any(|wanted| name.eq_ignore_ascii_case(wanted))
    })
}

/// One request, read as far as every function needs it.
pub struct Call {
    pub(crate) parts: http::request::Parts,
    pub(crate) body: Body,
    /// None if there is no such route.
    pub(crate) route: Option<&'static Route>,
}

impl Call {
    /// A request as it came.
    pub fn new(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let route = routes::of(&parts);
        Self { parts, body, route }
    }

    /// The method of the request.
    pub const fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path of the request.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The route of the request, as the table of routes has its path; nothing if there is none.
    pub fn route_path(&self) -> &'static str {
        self.route.map_or("", |route| route.path)
    }

    /// The path and the query of the request, if its repo had this slug.
    pub fn path_under(&self, slug: &Slug) -> String {
        let mut parts: Vec<&str> = self.path().split('/').collect();
        if let Some(part) = parts.get_mut(2) {
            *part = slug.as_str();
        }
        let query = self.parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        parts.join("/") + &query
    }

    /// The headers of the request.
    pub const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// What the path has in the place of a parameter, decoded; nothing where that is no UTF-8.
    pub fn path_parameter(&self, name: &str) -> Option<String> {
        let value = self.parts.path_parameters_ref()?.first(name)?;
        Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
    }

    /// The same, as it is in the path: where it is split before it is decoded.
    pub fn raw_path_parameter(&self, name: &str) -> Option<String> {
        self.parts.path_parameters_ref()?.first(name).map(str::to_owned)
    }

    /// What the query says of a parameter, decoded; its last word, if it has several.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        let query = self.parts.uri.query()?.as_bytes();
        form_urlencoded::parse(query).filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// What the request shows of who sends it: the link that it follows, or its token; nothing without either.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`] for a token that is not good, and without one where nothing is read without.
    pub async fn credential(&self, hub: &Hub) -> Result<Option<Credential>, WireError> {
        if self.route_path().starts_with(routes::LINKED)
            && let Some(secret) = self.path_parameter("key")
        {
            // Whose token is sent beside it is of no account: the link leads to what it leads to.
            return Ok(Some(Credential::link(&secret)));
        }
        match bearer_token(&self.parts.headers)? {
            Some(token) => {
                let credential = hub.verify(token).await?;
                span::note(|stats| stats.user = credential.verified().map(|token| token.user_id.clone()));
                Ok(Some(credential))
            }
            None if hub.settings.anonymous_reads == AnonymousReads::Off => {
                Err(WireError::unauthorized("this hub shows nothing without a token"))
            }
            None => Ok(None),
        }
    }

    /// The request's token.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`] without a good token.
    pub async fn token(&self, hub: &Hub) -> Result<Credential, WireError> {
        let credential = self.credential(hub).await?.filter(|credential| credential.verified().is_some());
        credential.ok_or(WireError::unauthorized("this needs a token: send 'Authorization: Bearer <token>'"))
    }

    /// The repo that is asked about.
    ///
    /// # Errors
    /// [`WireError::RepoNotFound`] when the path names none that there could be.
    pub fn target(&self) -> Result<Target, WireError> {
        let target = self.named()?;
        span::note(|stats| stats.repo = Some(format!("{}/{}", target.owner, target.slug)));
        Ok(target)
    }

    pub(crate) fn named(&self) -> Result<Target, WireError> {
        Ok(Target { owner: self.name_in_path("owner")?, slug: self.name_in_path("slug")? })
    }

    /// An owner's handle or a repo's name: in either case, for people type it as they like, and with the `.git` that they are
    /// used to.
    fn name_in_path(&self, which: &'static str) -> Result<Slug, WireError> {
        let given = self.path_parameter(which).ok_or(WireError::RepoNotFound)?;
        let name = given.to_ascii_lowercase();
        let name = if which == "slug" { name.strip_suffix(".git").unwrap_or(&name) } else { &name };
        name.parse().map_err(|_| {
            let (what, meant) = if which == "owner" { ("handle", None) } else { ("repository", Slug::from_name(name).ok()) };
            let shown: String = given.chars().take(SHOWN).collect();
            let hint = meant.map_or(String::new(), |meant| format!("; did you mean '{meant}'?"));
            WireError::NoRepoName(format!(
                "no {what} is called '{}': it has 1 to {MAX_SLUG_LENGTH} characters of a-z 0-9 -, and no '-' at an end{hint}",
                shown.escape_debug()
            ))
        })
    }

    /// What the body asks.
    ///
    /// # Errors
    /// [`WireError::UnsupportedMediaType`], or [`WireError::MalformedBody`] saying where.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, WireError> {
        let encoding = Encoding::of_request(&self.parts.headers)?;
        encoding.decode(self.body_bytes())
    }

    /// Whether a page is asked for: see [`takes_pages`].
    pub fn takes_pages(&self) -> bool {
        takes_pages(&self.parts.headers)
    }

    /// Whether an encoding of data is asked for by its name.
    pub fn takes_data(&self) -> bool {
        names_type(&self.parts.headers, &["application/json", "application/x-msgpack"])
    }

    /// Leads a browser to the page beside this path, of what clients get here as a list.
    pub fn redirect_to_page(&self, page: &'static str) -> Response<AnswerBody> {
        let mut response = Response::new(AnswerBody::whole(Vec::new()));
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(http::header::LOCATION, HeaderValue::from_static(page));
        response
    }

    /// What the path of the hub's URL has in front of the paths that its routes see; mostly nothing.
    pub fn base_path(&self, hub: &Hub) -> String {
        base_path(hub, &self.parts)
    }

    /// The body as it came.
    pub fn body_bytes(&self) -> &[u8] {
        match &self.body {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    /// The encoding that the answer is to have.
    pub fn answer_encoding(&self) -> Encoding {
        Encoding::of_answer(&self.parts.headers)
    }

    /// The URL that the hub is reached by, without a trailing slash: the operator's word, else what its front door says.
    ///
    /// # Errors
    /// [`WireError::UnknownHost`] when the request names a host that is not known to be the hub's.
    pub fn hub_url(&self, hub: &Hub) -> Result<String, WireError> {
        if let Some(url) = &hub.settings.public_url {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let header = |name| self.parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let named = header(http::header::HOST.as_str());
        if hub.settings.is_own_door && header("x-forwarded-proto").is_some() {
            // A proxy in front of a hub on one machine. On Lambda it is the API Gateway, whose word is good.
            WARNED.call_once(|| {
                tracing::warn!(
                    "a proxy passes requests on and no public URL is set: the URLs that the hub hands out are those that requests name; \
                     set --public-url or MUSEHUB_PUBLIC_URL"
                );
            });
        }
        let context = match self.parts.request_context_ref() {
            Some(RequestContext::ApiGatewayV1(context)) => Some(context),
            _ => None,
        };
        let host = match (self.parts.extensions.get::<ReachedAs>(), context.and_then(|it| it.domain_name.as_deref())) {
            (Some(ReachedAs(host)), _) => host,
            // It has no port.
            (None, Some(domain)) => match named {
                Some(named) if named.strip_prefix(domain).is_some_and(is_port) => named,
                _ => domain,
            },
            (None, None) if hub.settings.is_own_door => {
                return Err(WireError::UnknownHost(named.unwrap_or_default().chars().take(SHOWN).collect()));
            }
            (None, None) => named.unwrap_or("localhost"),
        };
        // API Gateway terminates TLS and says so.
        let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
        Ok(format!("{scheme}://{host}{}", base_path(hub, &self.parts)))
    }

    /// Where clients reach S3.
    ///
    /// # Errors
    /// As [`Self::hub_url`].
    pub fn storage_url(&self, hub: &Hub) -> Result<StorageUrl, WireError> {
        Ok(match &hub.settings.storage_url {
            _ if hub.settings.serves_s3 => StorageUrl::Endpoint(self.hub_url(hub)?),
            Some(url) => StorageUrl::InFront(url.clone()),
            None => StorageUrl::Own,
        })
    }

    /// The answer, whole.
    ///
    /// # Errors
    /// [`WireError::Internal`] when it cannot be written.
    pub fn respond(&self, status: StatusCode, answer: &impl Serialize) -> Result<Response<AnswerBody>, WireError> {
        let encoding = self.answer_encoding();
        let content_type = encoding.content_type_for(&self.parts.headers);
        Ok(response(status, content_type, AnswerBody::whole(encoding.encode(answer)?)))
    }

    /// A page of a list.
    ///
    /// # Errors
    /// As [`Self::respond`].
    pub fn respond_with(&self, page: Page) -> Result<Response<AnswerBody>, WireError> {
        let content_type = self.answer_encoding().content_type_for(&self.parts.headers);
        Ok(response(StatusCode::OK, content_type, AnswerBody::whole(page.finish()?)))
    }

    /// The answer, bit by bit.
    pub fn respond_streaming(&self, body: AnswerBody) -> Response<AnswerBody> {
        response(StatusCode::OK, self.answer_encoding().content_type_for(&self.parts.headers), body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use aws_config::{BehaviorVersion, SdkConfig};
    use serde_json::json;
    use store::ambient::Ambient;
    use store::{Location, Store};

    use crate::observe::RequestLog;
    use crate::settings::Settings;

    /// A call as a REST API makes it that clients ask for `path`, in front of functions that see `seen`.
    fn call(path: &str, seen: &str) -> Call {
        let event = json!({
            "resource": "/api/repos",
            "path": seen,
            "httpMethod": "POST",
            "headers": {"Host": "abc.execute-api.eu-west-1.amazonaws.com", "X-Forwarded-Proto": "https"},
            "multiValueHeaders": {
                "Host": ["abc.execute-api.eu-west-1.amazonaws.com"], "X-Forwarded-Proto": ["https"],
            },
            "requestContext": {"path": path, "stage": "hub", "httpMethod": "POST", "identity": {}},
            "body": null,
            "isBase64Encoded": false,
        });
        Call::new(lambda_http::request::from_str(&event.to_string()).unwrap())
    }

    #[test]
    fn a_browser_takes_pages_and_a_client_does_not() {
        let takes = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            takes_pages(&headers)
        };
        assert!(takes("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(takes("application/json, Text/HTML;q=0.5"));
        for client in ["*/*", "application/json", "application/x-msgpack", "text/plain", ""] {
            assert!(!takes(client), "{client}");
        }
        assert!(!takes_pages(&HeaderMap::new()));
    }

    #[test]
    fn the_url_of_an_api_gateway_has_its_stage_and_that_of_a_domain_has_none() {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        let location = Location { table: String::new(), bucket: String::new() };
        let mut hub = Hub {
            store: Arc::new(Store::new(&config, &config, location, Ambient::system())),
            tokens: Arc::default(),
            issuer: None,
            settings: Settings::default(),
            log: RequestLog::default(),
        };
        let host = "https://abc.execute-api.eu-west-1.amazonaws.com";
        let url = |call: Call, hub: &Hub| call.hub_url(hub).unwrap();
        assert_eq!(url(call("/hub/api/repos", "/api/repos"), &hub), format!("{host}/hub"));
        assert_eq!(url(call("/api/repos", "/api/repos"), &hub), host);
        // What the gateway says counts, and what the client says only where that is the same, and a port.
        let domain = |domain: &str| {
            let mut call = call("/api/repos", "/api/repos");
            let mut context = call.parts.request_context_ref().unwrap().clone();
            if let RequestContext::ApiGatewayV1(context) = &mut context {
                context.domain_name = Some(domain.to_owned());
            }
            call.parts.extensions.insert(context);
            call
        };
        assert_eq!(url(domain("hub.example.org"), &hub), "https://hub.example.org");
        assert_eq!(
            url(domain("abc.execute-api.eu-west-1.amazonaws.co"), &hub),
            "https://abc.execute-api.eu-west-1.amazonaws.co"
        );
        let mut with_port = domain("abc.execute-api.eu-west-1.amazonaws.com");
        let named = HeaderValue::from_static("abc.execute-api.eu-west-1.amazonaws.com:4566");
        with_port.parts.headers.insert(http::header::HOST, named);
        assert_eq!(url(with_port, &hub), format!("{host}:4566"));
        hub.settings.is_own_door = true;
        let refused = call("/api/repos", "/api/repos").hub_url(&hub).unwrap_err();
        assert!(matches!(refused, WireError::UnknownHost(_)), "on one machine the door has to know it: {refused}");
        hub.settings.public_url = Some("https://hub.example.com/".to_owned());
        assert_eq!(url(call("/hub/api/repos", "/api/repos"), &hub), "https://hub.example.com");
    }
}
