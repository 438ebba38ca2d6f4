//! A repo of a hub, as a client sees it: of one that is elsewhere, over HTTP, or of one whose stores are at hand, whose
//! functions are called in this process. Both are asked the same requests and give the same answers.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::wire::error::ErrorResponse;
use common::wire::request::UploadResponse;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use indicatif::ProgressBar;
use lambda_http::RequestExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use service::Hub;
use service::Target;
use store::ambient::Ambient;
use tokio::sync::mpsc;

use super::Error;
use super::export::parse_target;
use crate::functions;
use crate::proxy::HubUrl;
use crate::proxy::client::{Client, Failure, Outgoing, innermost};
use service::routes::Function;

/// Attempts at a request that met a fault which passes.
const ATTEMPTS: u32 = 6;
/// The first pause between two of them is random below this, each further one below twice as much.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a hub may be silent: as long as a Lambda function may run.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// Bytes of a body that goes to a hub elsewhere as it is. Lambda takes 6 MB, in which base64 makes 4 bytes of 3.
const DIRECT: usize = 4_000_000;
/// How long the token for the stores at hand is good: a transfer may take days.
const OWN_TOKEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of an answer that is read whole: the tags and the releases of a repo have less.
const MAX_ANSWER: usize = 128 << 20;
/// Bytes of an error's body that are looked at.
const MAX_REFUSAL: usize = 64 << 10;
/// Pieces of a body that wait to be sent.
const PIECES: usize = 4;

const MSGPACK: HeaderValue = HeaderValue::from_static("application/x-msgpack");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const BODY_UPLOAD: &str = service::by_reference::BODY_UPLOAD;

/// The body of an answer.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, String>>;

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
            return parse_target(text).map(Self::Stores);
        }
        let bad = || "the URL of a repository is like https://hub.example.com/owner/slug".to_owned();
        let text = text.trim_end_matches('/');
        let (rest, slug) = text.rsplit_once('/').ok_or_else(bad)?;
        let (hub, owner) = rest.rsplit_once('/').ok_or_else(bad)?;
        if !hub.contains("://") {
            return Err(bad());
        }
        let hub = hub.parse::<HubUrl>().map_err(|error| error.to_string())?;
        Ok(Self::Url(hub, parse_target(&format!("{owner}/{slug}")).map_err(|_| bad())?))
    }
}

/// A repo of a hub.
pub struct Remote {
    /// The repo.
    pub target: Target,
    to: To,
    /// `Bearer …`, never shown.
    authorization: Option<HeaderValue>,
    client: Client,
    ambient: Ambient,
}

enum To {
    Url(HubUrl),
    Stores(Box<Hub>),
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { owner, slug } = &self.target;
        match &self.to {
            To::Url(hub) => write!(formatter, "{hub}/{owner}/{slug}"),
            To::Stores(_) => write!(formatter, "{owner}/{slug}"),
        }
    }
}

impl Remote {
    /// The repo.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// A repo of a hub elsewhere. The token, if there is one, is shown to the hub only.
    ///
    /// # Errors
    /// When the token cannot be in a header, or the system has no certificates.
    pub fn at(hub: HubUrl, target: Target, token: Option<&str>) -> Result<Self, Error> {
        let authorization = token.map(bearer).transpose()?;
        Ok(Self { target, to: To::Url(hub), authorization, client: client()?, ambient: Ambient::system() })
    }

    /// A repo of a hub whose stores are at hand, as its owner sees it.
    ///
    /// # Errors
    /// When no user has the owner's handle.
    pub async fn over(hub: &Hub, target: Target) -> Result<Self, Error> {
        let user = hub.store.user_of_handle(&target.owner).await?.ok_or_else(|| {
            Error::Refused(format!("there is no user '{}' on this hub: make one, or take another owner", target.owner))
        })?;
        let token = hub.tokens().await?.mint(&user, OWN_TOKEN).map_err(common::wire::Error::internal)?;
        Ok(Self {
            target,
            to: To::Stores(Box::new(hub.clone())),
            authorization: Some(bearer(&token)?),
            client: client()?,
            ambient: hub.store.ambient().clone(),
        })
    }

    /// Whether it is known to take only ids that are hashes. A hub elsewhere does not say.
    pub fn checks_ids(&self) -> bool {
        matches!(&self.to, To::Stores(hub) if hub.settings.ids.are_checked())
    }

    /// Whether its stores are at hand.
    pub const fn is_at_hand(&self) -> bool {
        matches!(self.to, To::Stores(_))
    }

    /// Asks for something and reads the answer whole.
    pub(super) async fn ask<T: DeserializeOwned>(&self, endpoint: Endpoint<'_>, body: Bytes) -> Result<T, Error> {
        let answer = self.send(endpoint, body).await?;
        let is_json = is_json(&answer);
        let bytes = read(answer, MAX_ANSWER).await.map_err(|reason| self.broken(reason))?;
        let decoded = match is_json {
            true => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            false => rmp_serde::from_slice(&bytes).map_err(|error| error.to_string()),
        };
        decoded.map_err(|error| {
            self.broken(format!("the answer to {} is not what it should be: {error}", endpoint.name()))
        })
    }

    /// The same of what not every hub has: none where this one has no such endpoint.
    pub(super) async fn ask_if_there<T: DeserializeOwned>(&self, endpoint: Endpoint<'_>) -> Result<Option<T>, Error> {
        match self.ask(endpoint, Bytes::new()).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if is_missing(&error) || error.has_status(StatusCode::METHOD_NOT_ALLOWED.as_u16()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request until it is answered; the answer is a success.
    pub(super) async fn send(&self, endpoint: Endpoint<'_>, body: Bytes) -> Result<Answer, Error> {
        let mut pause = FIRST_PAUSE;
        let mut attempts_left = ATTEMPTS;
        loop {
            attempts_left -= 1;
            let error = match self.send_once(endpoint, &body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Nothing is wrong with sending any request again: see docs/wire-protocol.md.
            let passes = match &error {
                Error::Hub { status, .. } => *status >= 500 || *status == 429,
                Error::Broken { .. } => true,
                _ => false,
            };
            if !passes || attempts_left == 0 {
                return Err(error);
            }
            tokio::time::sleep(self.ambient.jitter(pause)).await;
            pause *= 2;
        }
    }

    async fn send_once(&self, endpoint: Endpoint<'_>, body: &Bytes) -> Result<Answer, Error> {
        let mut upload = None;
        if body.len() > DIRECT && !self.is_at_hand() {
            upload = self.upload_body(body).await?;
        }
        let body = if upload.is_some() { Bytes::new() } else { body.clone() };
        let answer = self.call(endpoint, body, upload).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.refusal(endpoint, answer).await)
    }

    /// Puts a body that is too large for the front door of Lambda into the hub's storage. None if the hub has no such way.
    async fn upload_body(&self, body: &Bytes) -> Result<Option<String>, Error> {
        let answer = self.call(Endpoint::Uploads, Bytes::new(), None).await?;
        if !answer.status().is_success() {
            let refusal = self.refusal(Endpoint::Uploads, answer).await;
            // What is no endpoint of the hub's is not found, or takes no POST.
            let is_unknown =
                matches!(&refusal, Error::Hub { code, status, .. } if code == "not_found" || *status == 405);
            return if is_unknown { Ok(None) } else { Err(refusal) };
        }
        let bytes = read(answer, MAX_REFUSAL).await.map_err(|reason| self.broken(reason))?;
        let upload: UploadResponse = rmp_serde::from_slice(&bytes).map_err(|error| self.broken(error.to_string()))?;
        let length = body.len() as u64;
        self.put(&upload.url, length, Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync()).await?;
        Ok(Some(upload.upload_id))
    }

    async fn call(&self, endpoint: Endpoint<'_>, body: Bytes, upload: Option<String>) -> Result<Answer, Error> {
        let (method, function, path, query) = endpoint.route();
        let Target { owner, slug } = &self.target;
        let path = match endpoint {
            Endpoint::Settings => format!("/api/repos/{owner}/{slug}"),
            Endpoint::Branch(_) | Endpoint::Purge => format!("/api/repos/{owner}/{slug}/{path}"),
            _ if endpoint.is_of_repo() => format!("/{owner}/{slug}/{path}"),
            _ => format!("/{path}"),
        };
        let path_and_query = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(&method).header(ACCEPT, MSGPACK);
        let has_body = method == Method::POST || method == Method::PATCH;
        if has_body {
            request = request.header(CONTENT_TYPE, MSGPACK);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(upload) = upload {
            request = request.header(BODY_UPLOAD, upload);
        }
        let cannot = |error: http::Error| self.broken(error.to_string());
        match &self.to {
            To::Url(hub) => {
                let uri = hub.at(&path_and_query).map_err(|error| self.broken(error.to_string()))?;
                let length = body.len() as u64;
                let body: Outgoing = Full::new(body).map_err(|never| match never {}).boxed_unsync();
                let mut request = request.uri(uri).body(body).map_err(cannot)?;
                if has_body {
                    request.headers_mut().insert(CONTENT_LENGTH, length.into());
                }
                let sent = self.client.send(request, ProgressBar::hidden()).await;
                let answer = sent.map_err(|failure| self.failed(&failure))?;
                Ok(answer.map(|body| body.map_err(|error| innermost(&error)).boxed_unsync()))
            }
            To::Stores(hub) => {
                let request = request.uri(path_and_query).body(lambda_http::Body::Binary(body.to_vec()));
                let mut parameters = HashMap::new();
                if endpoint.is_of_repo() {
                    parameters.insert("owner".to_owned(), vec![owner.to_string()]);
                    parameters.insert("slug".to_owned(), vec![slug.to_string()]);
                }
                match endpoint {
                    Endpoint::Release(tag) => drop(parameters.insert("tag".to_owned(), vec![encoded(tag)])),
                    Endpoint::Branch(name) => drop(parameters.insert("branch".to_owned(), vec![encoded(name)])),
                    Endpoint::Tag(label) => drop(parameters.insert("tag".to_owned(), vec![encoded(label)])),
                    Endpoint::Object(id, _) => drop(parameters.insert("object_id".to_owned(), vec![encoded(id)])),
                    _ => {}
                }
                let request = request.map_err(cannot)?.with_path_parameters(parameters);
                let answer = functions::call(function, hub, request).await;
                Ok(answer.map(|body| body.map_err(|error| error.to_string()).boxed_unsync()))
            }
        }
    }

    /// GETs what is at a URL that the hub presigned.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, Error> {
        let broken = |reason: String| self.broken(format!("its storage: {reason}"));
        let uri: Uri = url.parse().map_err(|_| broken("the URL is none".to_owned()))?;
        let body: Outgoing = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(uri).body(body).map_err(|error| broken(error.to_string()))?;
        let sent = self.client.send(request, ProgressBar::hidden()).await;
        let answer = sent.map_err(|failure| broken(failure.to_string()))?;
        if !answer.status().is_success() {
            return Err(broken(format!("it answers {}", answer.status())));
        }
        Ok(answer.map(|body| body.map_err(|error| innermost(&error)).boxed_unsync()))
    }

    /// PUTs bytes to a URL that the hub presigned.
    pub(super) async fn put(&self, url: &str, length: u64, body: Outgoing) -> Result<(), Error> {
        let broken = |reason: String| self.broken(format!("its storage: {reason}"));
        let uri: Uri = url.parse().map_err(|_| broken("the URL is none".to_owned()))?;
        let request = Request::put(uri).header(CONTENT_TYPE, FORM).header(CONTENT_LENGTH, length).body(body);
        let request = request.map_err(|error| broken(error.to_string()))?;
        let sent = self.client.send(request, ProgressBar::hidden()).await;
        let answer = sent.map_err(|failure| broken(failure.to_string()))?;
        if answer.status().is_success() { Ok(()) } else { Err(broken(format!("it answers {}", answer.status()))) }
    }

    async fn refusal(&self, endpoint: Endpoint<'_>, answer: Answer) -> Error {
        let status = answer.status();
        let bytes = read(answer, MAX_REFUSAL).await.unwrap_or_default();
        let body: ErrorResponse<'_> = serde_json::from_slice(&bytes).unwrap_or_default();
        Error::Hub {
            hub: self.to_string(),
            request: endpoint.name().to_owned(),
            status: status.as_u16(),
            detail: if body.detail.is_empty() { "it says nothing more".to_owned() } else { body.detail.into_owned() },
            code: body.error.into_owned(),
        }
    }

    fn failed(&self, failure: &Failure) -> Error {
        self.broken(failure.to_string())
    }

    /// What went wrong on the way to this hub or back.
    pub(super) fn broken(&self, reason: impl Into<String>) -> Error {
        Error::Broken { hub: self.to_string(), reason: reason.into() }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::Refused("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn client() -> Result<Client, Error> {
    Client::new(SILENCE).map_err(|cause| Error::File {
        what: "cannot load the certificates that this system trusts; on Debian they are in the package ca-certificates"
            .to_owned(),
        cause,
    })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Reads an answer to its end.
pub(super) async fn read(answer: Answer, limit: usize) -> Result<Bytes, String> {
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > limit {
            return Err(format!("the answer has more than {limit} bytes"));
        }
    }
    Ok(bytes.freeze())
}

/// A body that is made while it is sent: what is put into the sender goes out.
pub(super) fn flowing() -> (mpsc::Sender<Bytes>, Outgoing) {
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES);
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (sender, StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync())
}

/// What a hub can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    Repos,
    /// What is said of the repo, to be changed.
    Settings,
    /// Objects, to be purged.
    Purge,
    /// This branch, to be deleted.
    Branch(&'a str),
    /// This tag, to be deleted.
    Tag(&'a str),
    Refs,
    /// Those behind this one.
    Tags(Option<&'a str>),
    /// The same.
    Releases(Option<&'a str>),
    Fetch,
    Negotiate,
    FilterObjects,
    Presign,
    PushObjects,
    Push,
    PostTags,
    PostRelease,
    /// The one of this tag.
    Release(&'a str),
    Uploads,
    /// The bytes of this object, of the repo of this id.
    Object(&'a str, &'a str),
}

impl Endpoint<'_> {
    /// For messages.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Repos => "POST /api/repos",
            Self::Settings => "PATCH /api/repos",
            Self::Purge => "POST /purge",
            Self::Branch(_) => "DELETE /branches",
            Self::Tag(_) => "DELETE /tags",
            Self::Refs => "GET /refs",
            Self::Tags(_) => "GET /tags",
            Self::Releases(_) => "GET /releases",
            Self::Fetch => "POST /fetch",
            Self::Negotiate => "POST /negotiate",
            Self::FilterObjects => "POST /filter-objects",
            Self::Presign => "POST /presign",
            Self::PushObjects => "POST /push/objects",
            Self::Push => "POST /push",
            Self::PostTags => "POST /tags",
            Self::PostRelease => "POST /releases",
            Self::Release(_) => "DELETE /releases",
            Self::Uploads => "POST /uploads",
            Self::Object(..) => "GET /o",
        }
    }

    const fn is_of_repo(&self) -> bool {
        !matches!(self, Self::Repos | Self::Object(..))
    }

    /// Method, function, path and query.
    fn route(&self) -> (Method, Function, String, String) {
        let (method, function, path) = match self {
            Self::Repos => (Method::POST, Function::Repos, "api/repos"),
            Self::Settings => (Method::PATCH, Function::Repos, ""),
            Self::Purge => (Method::POST, Function::Repos, "purge"),
            Self::Branch(name) => {
                return (Method::DELETE, Function::Repos, format!("branches/{}", encoded(name)), String::new());
            }
            Self::Tag(label) => {
                return (Method::DELETE, Function::Tags, format!("tags/{}", encoded(label)), String::new());
            }
            Self::Refs => (Method::GET, Function::Refs, "refs"),
            Self::Tags(after) => {
                let query = after.map(|after| format!("after={}", encoded(after)));
                return (Method::GET, Function::Tags, "tags".to_owned(), query.unwrap_or_default());
            }
            Self::Releases(after) => {
                let after = after.map(|after| format!("&after={}", encoded(after))).unwrap_or_default();
                return (Method::GET, Function::Releases, "releases".to_owned(), format!("include_drafts=1{after}"));
            }
            Self::Fetch => (Method::POST, Function::Fetch, "fetch"),
            Self::Negotiate => (Method::POST, Function::Negotiate, "negotiate"),
            Self::FilterObjects => (Method::POST, Function::FilterObjects, "filter-objects"),
            Self::Presign => (Method::POST, Function::Presign, "presign"),
            Self::PushObjects => (Method::POST, Function::PushObjects, "push/objects"),
            Self::Push => (Method::POST, Function::Push, "push"),
            Self::PostTags => (Method::POST, Function::Tags, "tags"),
            Self::PostRelease => (Method::POST, Function::Releases, "releases"),
            Self::Release(tag) => {
                return (Method::DELETE, Function::Releases, format!("releases/{}", encoded(tag)), String::new());
            }
            Self::Object(id, repo) => {
                let query = format!("repo_id={}", encoded(repo));
                return (Method::GET, Function::Object, format!("o/{}", encoded(id)), query);
            }
            Self::Uploads => (Method::POST, Function::Uploads, "uploads"),
        };
        (method, function, path.to_owned(), String::new())
    }
}

/// Whether an answer is JSON, though msgpack was accepted: some hubs speak nothing else at some endpoints.
pub(super) fn is_json(answer: &Answer) -> bool {
    let name = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    name.to_ascii_lowercase().contains("json")
}

/// Whether a status says that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    error.has_status(StatusCode::NOT_FOUND.as_u16())
}
