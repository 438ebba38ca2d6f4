//! What goes around an answer: headers, the words of a refusal, what a page of the web may read.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::answer_body::{AnswerBody, response};
use crate::call::{Call, SHOWN};
use crate::hub::Hub;
use crate::logging::log_fault;
use crate::observe::answer_span::ErrorCode;
use common::wire::{Encoding, WireError};
use store::span::{self, RequestSpan};

/// What a refusal says of the request, beside what is wrong: what a person can type.
pub(crate) struct Words {
    hub_url: String,
    has_token: bool,
    names_repo: bool,
}

impl Words {
    pub(crate) fn of(hub: &Hub, call: &Call) -> Self {
        // A client that asks for the hub under a name that is not its own gets no URL of it.
        let hub_url = call.hub_url(hub).ok().filter(|url| url.chars().count() <= SHOWN);
        Self {
            hub_url: hub_url.unwrap_or_else(|| "URL".to_owned()),
            has_token: call.headers().contains_key(AUTHORIZATION),
            names_repo: call.path_parameter("slug").is_some(),
        }
    }

    pub(crate) fn added_to(self, error: WireError) -> WireError {
        match error {
            WireError::Unauthorized(reason) => WireError::unauthorized(format!(
                "{reason}; 'muse auth login --hub {} --token <token>' keeps one",
                self.hub_url
            )),
            WireError::RepoNotFound if !self.has_token && self.names_repo => {
                WireError::RepoNotFoundUnasked(self.hub_url)
            }
            WireError::NoHandle(_) => WireError::NoHandle(self.hub_url),
            error => error,
        }
    }
}

/// How a refusal is shown, by the error and the id of the request: a content type and a body. Where it says nothing, the refusal is
/// the one that clients get.
pub type Show<'a> = &'a (dyn Fn(&WireError, &str) -> Option<(&'static str, Vec<u8>)> + Send + Sync);

/// The response to a request that is refused.
pub(crate) fn refuse(route: &str, error: &WireError, show: Show<'_>) -> Response<AnswerBody> {
    log_fault(route, error);
    let span = span::current();
    let id = span.as_deref().map_or("", RequestSpan::id);
    let (content_type, body) = match show(error, id) {
        Some((content_type, body)) => (HeaderValue::from_static(content_type), body),
        None => (Encoding::Json.content_type(), error.body(id)),
    };
    let mut response = response(error.status(), content_type, AnswerBody::whole(body));
    response.extensions_mut().insert(ErrorCode(error.code()));
    match error {
        WireError::Unauthorized(_) => {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        WireError::MethodNotAllowed { allowed, .. } => {
            if let Ok(allowed) = HeaderValue::from_str(allowed) {
                response.headers_mut().insert(ALLOW, allowed);
            }
        }
        WireError::Unavailable(_) | WireError::IssuerAway(_) => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        WireError::RangeNotSatisfiable(size) => {
            if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
        }
        _ => {}
    }
    response
}

/// Whether an answer is for any page of the web to read: what is asked without a token and changes nothing.
/// <https://fetch.spec.whatwg.org/#http-cors-protocol>
pub(crate) fn is_open(call: &Call) -> bool {
    let reads = call.parts.method == Method::GET || call.route.is_some_and(|route| route.reads);
    reads && !call.headers().contains_key(AUTHORIZATION)
}

/// The headers that a page may send, and those that it may read.
pub const CORS_HEADERS: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET, HEAD, POST"),
    ("access-control-allow-headers", "content-type, accept, range, if-none-match, if-match, if-range"),
    ("access-control-max-age", "86400"),
];

/// The headers that every answer has.
pub fn finish<B>(response: &mut Response<B>, is_open: bool) {
    // What a repo has may be another thing in a moment, and a refusal none.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_open {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let exposed = HeaderValue::from_static("etag, content-range, accept-ranges, server-timing");
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// What a HEAD is answered with: all of it but the body, and how long that would be.
pub(crate) fn without_body(response: Response<AnswerBody>) -> Response<AnswerBody> {
    let size = http_body::Body::size_hint(response.body()).exact();
    let mut response = response.map(|_| AnswerBody::whole(Bytes::new()));
    let has_body = response.status() != StatusCode::NOT_MODIFIED;
    if let Some(size) = size.filter(|_| has_body) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(size.into());
    }
    response
}
