//! Who may what: the members of a repo under `/api/repos/{owner}/{slug}/members`, the links by which it can be read under
//! `/api/repos/{owner}/{slug}/links`, and a user's own tokens under `/api/tokens`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod links;
mod members;
mod tokens;

use common::wire::WireError;
use lambda_http::http::Method;
use lambda_http::{Request, Response};
use service::{AnswerBody, Call, Hub};

/// How often something else may change while this is about to.
const ATTEMPTS: usize = 20;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { answer(hub, &call).await }).await
}

async fn answer(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    match (call.route_path(), call.method()) {
        ("/api/repos/{owner}/{slug}/members", _) => members::list(hub, call).await,
        ("/api/repos/{owner}/{slug}/members/{handle}", &Method::PUT) => members::put(hub, call).await,
        ("/api/repos/{owner}/{slug}/members/{handle}", _) => members::remove(hub, call).await,
        ("/api/repos/{owner}/{slug}/links", &Method::POST) => links::create(hub, call).await,
        ("/api/repos/{owner}/{slug}/links", _) => links::list(hub, call).await,
        ("/api/repos/{owner}/{slug}/links/{id}", _) => links::revoke(hub, call).await,
        ("/api/tokens", &Method::POST) => tokens::mint(hub, call).await,
        ("/api/tokens", _) => tokens::list(hub, call).await,
        ("/api/tokens/{id}", _) => tokens::revoke(hub, call).await,
        _ => Err(WireError::UnknownRoute),
    }
}

/// The name of a token or a link, as a request gives it.
fn name_of(field: &str, given: Option<&str>) -> Result<String, WireError> {
    match given {
        None | Some("") => Ok(String::new()),
        Some(name) if service::auth::is_name(name) => Ok(name.to_owned()),
        Some(_) => Err(WireError::invalid(
            field,
            format_args!("at most {} characters, and no control characters", common::wire::limits::MAX_NAME_LENGTH),
        )),
    }
}

/// A length of time that a request asks for, in seconds.
fn seconds(asked: Option<u64>, most: u64, unasked: u64) -> Result<u64, WireError> {
    match asked {
        None => Ok(unasked),
        Some(asked) if (1..=most).contains(&asked) => Ok(asked),
        Some(_) => Err(WireError::invalid("ttl_seconds", format_args!("it is 1 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_within_its_bounds_or_refused() {
        assert_eq!(seconds(None, 10, 7).unwrap(), 7);
        assert_eq!((seconds(Some(1), 10, 7).unwrap(), seconds(Some(10), 10, 7).unwrap()), (1, 10));
        for out in [0, 11, u64::MAX] {
            assert_eq!(seconds(Some(out), 10, 7).unwrap_err().to_string(), "ttl_seconds: it is 1 to 10");
        }
    }

    #[test]
    fn a_name_is_short_and_in_one_line() {
        assert_eq!(name_of("name", None).unwrap(), "");
        assert_eq!(name_of("name", Some("CI of the song")).unwrap(), "CI of the song");
        for bad in ["two\nlines", &"x".repeat(101)] {
            assert!(name_of("name", Some(bad)).unwrap_err().to_string().starts_with("name: at most 100 characters"));
        }
    }
}
