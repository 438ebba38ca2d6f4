//! A repo of a hub, as a client sees it: of one that is elsewhere, over HTTP, or of one whose stores are at hand, whose
//! functions are called in this process.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::wire::Encoding;
use common::wire::error::ErrorResponse;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use indicatif::ProgressBar;
use lambda_http::RequestExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::by_reference::BODY_UPLOAD;
use service::routes::{Function, ROUTES};
use service::{AnswerBody, Hub, Target};
use store::ambient::Ambient;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::address::HubUrl;
use crate::by_reference::{DIRECT, UploadOffer, offer};
use crate::endpoint::{Endpoint, encoded};
use crate::error::ClientError;
use crate::http::{Body, Client, full, innermost};

/// Attempts at a request that met a fault which passes.
const ATTEMPTS: u32 = 6;
/// The first pause between two of them is random below this, each further one below twice as much.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a hub may be silent: as long as a Lambda function may run.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// How long the token for the stores at hand is good: a transfer may take days.
const OWN_TOKEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of an answer that is read whole: the tags and the releases of a repo have less.
const MAX_ANSWER: usize = 128 << 20;
/// Bytes of an error's body that are looked at.
const MAX_REFUSAL: usize = 64 << 10;
/// Pieces of a body that wait to be sent.
const PIECES: usize = 4;

const MSGPACK: HeaderValue = Encoding::Msgpack.content_type();

/// An answer, as it comes.
pub type HubResponse = Response<Body>;

/// Calls a function of a hub that is in this process.
pub type Call = for<'h> fn(Function, &'h Hub, lambda_http::Request) -> BoxFuture<'h, Response<AnswerBody>>;

/// A repo of a hub, which is asked as the hub is.
pub struct Remote {
    /// The repo.
    pub target: Target,
    hub: HubClient,
}

impl Deref for Remote {
    type Target = HubClient;

    fn deref(&self) -> &HubClient {
        &self.hub
    }
}

/// A hub, or one repo of it.
pub struct HubClient {
    /// The repo, if it is about one.
    repo: Option<Target>,
    to: To,
    /// `Bearer …`, never shown.
    authorization: Option<HeaderValue>,
    client: Client,
    ambient: Ambient,
}

enum To {
    Url(HubUrl),
    Stores(Box<Hub>, Call),
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hub.fmt(formatter)
    }
}

impl fmt::Display for HubClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.to, &self.repo) {
            (To::Url(hub), Some(repo)) => write!(formatter, "{hub}/{repo}"),
            (To::Url(hub), None) => hub.fmt(formatter),
            (To::Stores(..), Some(repo)) => repo.fmt(formatter),
            (To::Stores(..), None) => formatter.write_str("the hub at hand"),
        }
    }
}

impl Remote {
    /// A repo of a hub elsewhere. The token, if there is one, is shown to the hub only.
    ///
    /// # Errors
    /// When the token cannot be in a header, or the system has no certificates.
    pub fn at(hub: HubUrl, target: Target, token: Option<&str>) -> Result<Self, ClientError> {
        let hub = HubClient { repo: Some(target.clone()), ..HubClient::at(hub, token)? };
        Ok(Self { target, hub })
    }

    /// A repo of a hub whose stores are at hand, as this user sees it.
    ///
    /// # Errors
    /// When no token can be made for the user, or the system has no certificates: objects go through presigned URLs here too.
    pub async fn at_hand(hub: &Hub, call: Call, target: Target, user: &str) -> Result<Self, ClientError> {
        let token = hub.tokens().await?.mint(user, OWN_TOKEN).map_err(common::wire::WireError::internal)?;
        let client = Client::new(SILENCE).map_err(ClientError::Certificates)?;
        let (authorization, ambient) = (Some(bearer(&token)?), hub.store.ambient().clone());
        let (repo, to) = (Some(target.clone()), To::Stores(Box::new(hub.clone()), call));
        Ok(Self { target, hub: HubClient { repo, to, authorization, client, ambient } })
    }
}

impl HubClient {
    /// A hub elsewhere. The token, if there is one, is shown to the hub only.
    ///
    /// # Errors
    /// When the token cannot be in a header, or the system has no certificates.
    pub fn at(hub: HubUrl, token: Option<&str>) -> Result<Self, ClientError> {
        let authorization = token.map(bearer).transpose()?;
        let client = Client::new(SILENCE).map_err(ClientError::Certificates)?;
        Ok(Self { repo: None, to: To::Url(hub), authorization, client, ambient: Ambient::system() })
    }

    /// Whether it is asked with a token.
    pub(crate) const fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// Whether it is known to take only ids that are hashes. A hub elsewhere does not say.
    pub fn checks_ids(&self) -> bool {
        matches!(&self.to, To::Stores(hub, _) if hub.settings.ids.are_checked())
    }

    /// Asks for something that takes no body, and reads the answer whole.
    ///
    /// # Errors
    /// When the hub does not answer, or refuses.
    pub async fn get<T: DeserializeOwned>(&self, endpoint: Endpoint<'_>) -> Result<T, ClientError> {
        let answer = self.send(endpoint, Bytes::new()).await?;
        self.decode(endpoint, answer).await
    }

    /// Asks for something and reads the answer whole.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint<'_>,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let answer = self.post(endpoint, body).await?;
        self.decode(endpoint, answer).await
    }

    /// Asks for something; the answer is a success.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(&self, endpoint: Endpoint<'_>, body: &impl Serialize) -> Result<HubResponse, ClientError> {
        self.send(endpoint, Encoding::Msgpack.encode(body)?.into()).await
    }

    async fn decode<T: DeserializeOwned>(&self, endpoint: Endpoint<'_>, answer: HubResponse) -> Result<T, ClientError> {
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

    /// Sends a request until it is answered; the answer is a success.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn send(&self, endpoint: Endpoint<'_>, body: Bytes) -> Result<HubResponse, ClientError> {
        let mut backoff = self.ambient.backoff(FIRST_PAUSE);
        let mut attempts_left = ATTEMPTS;
        loop {
            attempts_left -= 1;
            // Nothing is wrong with sending any request again: see docs/wire-protocol.md.
            match self.send_once(endpoint, &body).await {
                Err(error) if error.passes() && attempts_left > 0 => {}
                answered => return answered,
            }
            backoff.pause().await;
        }
    }

    async fn send_once(&self, endpoint: Endpoint<'_>, body: &Bytes) -> Result<HubResponse, ClientError> {
        let mut upload = None;
        if body.len() > DIRECT && matches!(self.to, To::Url(_)) {
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
    async fn upload_body(&self, body: &Bytes) -> Result<Option<HeaderValue>, ClientError> {
        let answer = self.call(Endpoint::Uploads, Bytes::new(), None).await?;
        match offer(answer).await.map_err(|reason| self.broken(reason))? {
            UploadOffer::NoSuchEndpoint => Ok(None),
            UploadOffer::Refused(answer) => Err(self.refusal(Endpoint::Uploads, answer).await),
            UploadOffer::Upload { id, url } => {
                let put = self.client.put(url, body.len() as u64, full(body.clone()), ProgressBar::hidden()).await;
                put.map_err(|reason| self.storage_broken(reason))?;
                Ok(Some(id))
            }
        }
    }

    async fn call(
        &self,
        endpoint: Endpoint<'_>,
        body: Bytes,
        upload: Option<HeaderValue>,
    ) -> Result<HubResponse, ClientError> {
        let (method, mut path) = (endpoint.method(), endpoint.path().to_owned());
        let mut parameters = HashMap::new();
        let of_repo = self.repo.iter().flat_map(|repo| [("owner", repo.owner.as_str()), ("slug", repo.slug.as_str())]);
        for (name, value) in of_repo.chain(endpoint.parameter()) {
            let (in_path, value) = (format!("{{{name}}}"), encoded(value));
            if path.contains(&in_path) {
                path = path.replace(&in_path, &value);
                parameters.insert(name.to_owned(), vec![value]);
            }
        }
        path.push_str(&endpoint.query());
        let mut request = Request::builder().method(&method).header(ACCEPT, MSGPACK);
        let has_body = [Method::POST, Method::PATCH, Method::PUT].contains(&method);
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
                let uri = hub.at(&path).map_err(|error| self.broken(error.to_string()))?;
                let length = body.len() as u64;
                let mut request = request.uri(uri).body(full(body)).map_err(cannot)?;
                if has_body {
                    request.headers_mut().insert(CONTENT_LENGTH, length.into());
                }
                let sent = self.client.send(request, ProgressBar::hidden()).await;
                Ok(arriving(sent.map_err(|failure| self.broken(failure.to_string()))?))
            }
            To::Stores(hub, call) => {
                let is_it = |route: &&service::routes::Route| route.method == method && route.path == endpoint.path();
                let route = ROUTES.iter().find(is_it).ok_or_else(|| self.broken("the hub has no such endpoint"))?;
                let request = request.uri(path).body(lambda_http::Body::Binary(body.to_vec())).map_err(cannot)?;
                let answer = call(route.function, hub, request.with_path_parameters(parameters)).await;
                Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
            }
        }
    }

    /// GETs what is at a URL that the hub presigned; none if the URL is good no more.
    ///
    /// # Errors
    /// When the storage does not give it.
    pub async fn get_presigned(&self, url: &str) -> Result<Option<HubResponse>, ClientError> {
        let uri = url.parse().map_err(|_| self.storage_broken("the URL is none"))?;
        match self.client.get(uri).await {
            Ok(answer) => Ok(Some(arriving(answer))),
            Err(failure) if failure.has_expired => Ok(None),
            Err(failure) => Err(self.storage_broken(failure)),
        }
    }

    /// PUTs a body of this length to a URL that the hub presigned.
    ///
    /// # Errors
    /// When the storage does not take them.
    pub async fn put_presigned(&self, url: &str, length: u64, body: Body) -> Result<(), ClientError> {
        let uri = url.parse().map_err(|_| self.storage_broken("the URL is none"))?;
        let put = self.client.put(uri, length, body, ProgressBar::hidden()).await;
        put.map_err(|reason| self.storage_broken(reason))
    }

    async fn refusal(&self, endpoint: Endpoint<'_>, answer: HubResponse) -> ClientError {
        let status = answer.status();
        let bytes = read(answer, MAX_REFUSAL).await.unwrap_or_default();
        let body: ErrorResponse<'_> = serde_json::from_slice(&bytes).unwrap_or_default();
        ClientError::Hub {
            hub: self.to_string(),
            request: endpoint.name(),
            status: status.as_u16(),
            detail: if body.detail.is_empty() { "it says nothing more".to_owned() } else { body.detail.into_owned() },
            code: body.error.into_owned(),
        }
    }

    /// What went wrong on the way to this hub or back.
    pub fn broken(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Broken { hub: self.to_string(), reason: reason.into() }
    }

    pub(crate) fn storage_broken(&self, reason: impl fmt::Display) -> ClientError {
        self.broken(format!("its storage: {reason}"))
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| ClientError::Refused("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn arriving(answer: Response<Incoming>) -> HubResponse {
    answer.map(|body| body.map_err(|error| io::Error::other(innermost(&error))).boxed_unsync())
}

/// The next bytes of an answer; none at its end.
///
/// # Errors
/// Why it broke off.
pub async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, String> {
    loop {
        let Ok(frame) = timeout(SILENCE, body.frame()).await else {
            return Err(format!("nothing came for {} seconds", SILENCE.as_secs()));
        };
        match frame.transpose().map_err(|error| error.to_string())?.map(Frame::into_data) {
            None => return Ok(None),
            Some(Ok(bytes)) if !bytes.is_empty() => return Ok(Some(bytes)),
            // Trailers say nothing here.
            Some(_) => {}
        }
    }
}

/// Reads an answer to its end.
async fn read(answer: HubResponse, limit: usize) -> Result<Bytes, String> {
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    while let Some(piece) = next_piece(&mut body).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > limit {
            return Err(format!("the answer has more than {limit} bytes"));
        }
    }
    Ok(bytes.freeze())
}

/// A body that is made while it is sent: what is put into the sender goes out.
pub fn flowing() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES);
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (sender, StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync())
}

/// Whether an answer is JSON, though msgpack was accepted: some hubs speak nothing else at some endpoints.
pub(crate) fn is_json(answer: &HubResponse) -> bool {
    let name = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    name.to_ascii_lowercase().contains("json")
}
