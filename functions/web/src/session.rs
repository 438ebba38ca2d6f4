//! A browser that is logged in: it keeps a token of the hub's in a cookie that no script reads, and which is sent with what the
//! reader asks for by hand, and with nothing that other sites post.

use std::time::Duration;

use bytes::Bytes;
use common::wire::WireError;
use lambda_http::http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, ORIGIN, SET_COOKIE};
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode};
use lambda_http::{Request, Response};
use pages::frame;
use pages::page::login::LoginPage;
use service::auth::Credential;
use service::{AnswerBody, Call, Hub};

use crate::respond::{html, redirect};

const NAME: &str = "musehub_token";
/// How long a browser keeps a token. The token may end before.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of a cookie, with its name and its attributes: browsers drop a longer one, and say nothing
/// ([RFC 6265](https://www.rfc-editor.org/rfc/rfc6265#section-6.1)).
const MAX_COOKIE: usize = 4_096;
/// Bytes of a form.
const MAX_FORM: usize = 16 << 10;
const COMMAND: &str = "musehub token --user <user id>";

/// What a browser keeps of a login.
pub(crate) struct Session {
    /// The token of its cookie, unless it is not good any more.
    token: Option<HeaderValue>,
    /// What it shows, unless that cannot be known now.
    credential: Option<Credential>,
    /// Whether its cookie holds a token that is not good any more.
    has_ended: bool,
    path: String,
}

impl Session {
    /// That of a request. A token that is not good any more counts as none, so that what is public stays in sight. One of which that
    /// cannot be known now goes with the request, which is refused for it: to a stranger, what is private is not there.
    pub(crate) async fn of(hub: &Hub, request: &Request) -> Self {
        let path = format!("{}/", service::base_path(hub, request));
        let none = Self { token: None, credential: None, has_ended: false, path };
        // Who sends a token by hand means that one.
        let Some(token) = token(request.headers()).filter(|_| !request.headers().contains_key(AUTHORIZATION)) else {
            return none;
        };
        let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) else {
            return none;
        };
        value.set_sensitive(true);
        let verified = match hub.verify(token).await {
            // One that its user has minted may be revoked.
            Ok(credential) => hub.user(&credential).await.map(|_| credential),
            Err(refusal) => Err(refusal),
        };
        match verified {
            Err(WireError::Unauthorized(_)) => Self { has_ended: true, ..none },
            verified => Self { token: Some(value), credential: verified.ok(), ..none },
        }
    }

    /// Sends its token with a request. Only pages are asked so: the API takes no cookies, so no site can have a browser do anything
    /// with it.
    pub(crate) fn add_to(&self, request: &mut Request) {
        if let Some(value) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
    }

    /// What its user is called.
    pub(crate) async fn viewer(&self, hub: &Hub) -> Option<String> {
        let credential = self.credential.as_ref()?;
        let user = hub.user(credential).await.ok()?;
        let profile = hub.store.profile(&user.id).await.ok().flatten();
        Some(profile.map_or_else(|| user.id.clone(), |profile| profile.handle.to_string()))
    }

    /// Has the browser forget a token that is not good any more.
    pub(crate) fn end_in<B>(&self, response: &mut Response<B>) {
        let text = format!("{NAME}=; Path={}; Max-Age=0; HttpOnly; SameSite=Lax", self.path);
        // What caches keep for all readers logs none of them out.
        let is_kept =
            response.headers().get(CACHE_CONTROL).is_some_and(|value| value.as_bytes().starts_with(b"public"));
        if self.has_ended
            && !is_kept
            && !response.headers().contains_key(SET_COOKIE)
            && let Ok(value) = HeaderValue::from_str(&text)
        {
            response.headers_mut().insert(SET_COOKIE, value);
        }
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == NAME && !value.is_empty()).map(|(_, value)| value)
}

/// `GET /login`.
pub(crate) fn form(hub: &Hub, call: &Call, failure: Option<String>) -> Result<Response<AnswerBody>, WireError> {
    let status = if failure.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    let page = LoginPage {
        hub: frame::Hub { url: call.hub_url(hub)?, ..frame::Hub::default() },
        next: next(field(call, "next").or_else(|| call.query_parameter("next"))),
        failure,
        token_command: COMMAND.to_owned(),
        issuer: hub.issuer.as_ref().map(|issuer| issuer.name().to_owned()),
        single_sign_on: None,
    };
    Ok(html(hub, call, status, page.render()))
}

/// `POST /login`: keeps a good token in a cookie.
pub(crate) async fn log_in(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    check_origin(hub, call)?;
    let body = call.body_bytes();
    if body.len() > MAX_FORM {
        return Err(WireError::PayloadTooLarge("a form has at most 16 KiB".to_owned()));
    }
    let token = field(call, "token").map(|token| token.trim().to_owned()).unwrap_or_default();
    let to = field(call, "next");
    // A token is three parts in base64url; nothing else fits into a cookie or is asked about.
    let is_token =
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_token {
        return form(hub, call, Some("This is no token.".to_owned()));
    }
    let known = match hub.verify(&token).await {
        Ok(credential) => hub.user(&credential).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = known {
        return match refused {
            WireError::Unauthorized(reason) => {
                form(hub, call, Some(format!("The hub does not take this token: {reason}.")))
            }
            refused => Err(refused),
        };
    }
    let cookie = cookie(call, hub, &token, KEPT)?;
    if cookie.len() > MAX_COOKIE {
        let most = MAX_COOKIE.saturating_sub(cookie.len() - token.len());
        return form(
            hub,
            call,
            Some(format!(
                "This token has {} bytes, and browsers keep none of more than {most}. Mint a shorter one, or have the issuer sign fewer claims.",
                token.len()
            )),
        );
    }
    let mut response = redirect(hub, call, &next(to))?;
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// `POST /logout`: has the browser forget its token. The token itself stays good until it ends.
pub(crate) fn log_out(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    check_origin(hub, call)?;
    let mut response = redirect(hub, call, "/")?;
    response.headers_mut().insert(SET_COOKIE, cookie(call, hub, "", Duration::ZERO)?);
    // What other tabs show is of who was logged in.
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response.map(|_| AnswerBody::whole(Bytes::new())))
}

fn cookie(call: &Call, hub: &Hub, token: &str, kept: Duration) -> Result<HeaderValue, WireError> {
    // A browser takes a cookie that is `Secure` over HTTP from no host but its own.
    let secure = if call.hub_url(hub)?.starts_with("https://") { "; Secure" } else { "" };
    let path = call.base_path(hub);
    let text = format!("{NAME}={token}; Path={path}/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", kept.as_secs());
    let mut value = HeaderValue::from_str(&text).map_err(WireError::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Refuses a form that another site posts: browsers say where a form comes from.
/// <https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site>
fn check_origin(hub: &Hub, call: &Call) -> Result<(), WireError> {
    let header = |name: &str| call.headers().get(name).and_then(|value| value.to_str().ok());
    let is_own = match (header("sec-fetch-site"), header(ORIGIN.as_str()), header(HOST.as_str())) {
        (Some(site), ..) => site == "same-origin" || site == "none",
        (None, Some(origin), _) if is_public_url(hub, origin) => true,
        (None, Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
        (None, None, _) => true,
        (None, Some(_), None) => false,
    };
    if is_own { Ok(()) } else { Err(WireError::invalid("origin", "a form of another site is not taken")) }
}

/// Whether an origin is the operator's URL of the hub: a proxy may pass requests on under another name.
fn is_public_url(hub: &Hub, origin: &str) -> bool {
    let rest = hub.settings.public_url.as_deref().and_then(|url| url.strip_prefix(origin));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A field of the form that was sent.
fn field(call: &Call, name: &str) -> Option<String> {
    form_urlencoded::parse(call.body_bytes()).find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
}

/// Where a login leads: a path of this hub, and no other site.
fn next(asked: Option<String>) -> String {
    let is_here = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains('\\')
            && path.bytes().all(|byte| (0x21..0x7F).contains(&byte))
    };
    asked.filter(is_here).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_no_other_site() {
        let to = |asked: &str| next(Some(asked.to_owned()));
        assert_eq!(to("/dev/song/tree/main?x=1"), "/dev/song/tree/main?x=1");
        for elsewhere in
            ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\r\nset-cookie: x", "/\u{e9}"]
        {
            assert_eq!(to(elsewhere), "/", "{elsewhere}");
        }
    }

    #[test]
    fn a_token_is_read_of_the_cookie_of_its_name() {
        let of = |cookie: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(cookie));
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of("a=b; musehub_token=x.y.z; c=d").as_deref(), Some("x.y.z"));
        assert_eq!(of("musehub_token=; xmusehub_token=x"), None);
    }
}
