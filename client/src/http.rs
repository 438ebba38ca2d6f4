//! The HTTP client: to the hub, and to the storage that the hub's presigned URLs name. It follows no redirect.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::wire::error::Cause;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use indicatif::ProgressBar;
use rustls::crypto::ring;
use tokio::time::timeout;
use tower::util::MapFuture;
use tower::{Service, ServiceExt};

/// How long a connection may take to come about, with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request. Servers close theirs after a minute or so, and a request that
/// meets a closing one is lost.
const KEPT: Duration = Duration::from_secs(10);

/// The body of a request or of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a client of presigned URLs sends, and nothing else: of the headers only the host is signed.
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A body that is there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

type Https = HttpsConnector<HttpConnector>;
type Connecting = <Https as Service<Uri>>::Future;
type Connected = Result<<Https as Service<Uri>>::Response, Cause>;
type Connector = MapFuture<Https, fn(Connecting) -> BoxFuture<'static, Connected>>;

/// Sends requests.
pub struct Client {
    client: legacy::Client<Connector, Body>,
    pause: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// There is no connection, so nothing was sent.
    Connect(String),
    /// The connection ended before the answer began.
    BrokeOff(String),
    /// For this long no byte came or went.
    Silent(Duration),
}

impl Client {
    /// A client that gives up when a server neither takes anything nor answers for as long as `pause`.
    ///
    /// # Errors
    /// When the system has no certificates.
    pub fn new(pause: Duration) -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared among the addresses of a host, so that there is time for the second one.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connector: Connector = https.map_future(within_time);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(connector);
        Ok(Self { client, pause })
    }

    /// Sends a request, and returns when the answer begins. As long as `sent` grows, nothing is too slow.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: Request<Body>, sent: ProgressBar) -> Result<Response<Incoming>, Failure> {
        let mut answer = self.client.request(request);
        let mut before = sent.position();
        loop {
            match timeout(self.pause, &mut answer).await {
                Ok(answer) => return answer.map_err(|error| Failure::of(&error)),
                Err(_) if sent.position() > before => before = sent.position(),
                Err(_) => return Err(Failure::Silent(self.pause)),
            }
        }
    }
}

/// Why the storage did not do what a presigned URL is for.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StorageFailure {
    reason: String,
    /// Whether the URL is good no more, so that another one may be: it has a time of its own, and ends before with the session of
    /// the function that signed it. S3 has 403 for the first and 400 `ExpiredToken` for the second:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
    pub has_expired: bool,
}

impl StorageFailure {
    fn of(reason: impl std::fmt::Display) -> Self {
        Self { reason: reason.to_string(), has_expired: false }
    }

    fn answered(status: StatusCode) -> Self {
        let has_expired = matches!(status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST);
        Self { reason: format!("it answered {status}"), has_expired }
    }
}

impl Client {
    /// Puts a body of this length where a presigned URL leads. Of the URL only its host is to be shown, because the URL is a
    /// right to write.
    ///
    /// # Errors
    /// Why they were not taken.
    pub async fn put(&self, url: Uri, length: u64, body: Body, sent: ProgressBar) -> Result<(), StorageFailure> {
        let mut request = Request::put(url).body(body).map_err(StorageFailure::of)?;
        request.headers_mut().insert(CONTENT_TYPE, FORM);
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let answer = self.send(request, sent).await.map_err(StorageFailure::of)?;
        if answer.status().is_success() { Ok(()) } else { Err(StorageFailure::answered(answer.status())) }
    }

    /// Gets what is where a presigned URL leads.
    ///
    /// # Errors
    /// Why it does not come.
    pub async fn get(&self, url: Uri) -> Result<Response<Incoming>, StorageFailure> {
        let request = Request::get(url).body(full(Bytes::new())).map_err(StorageFailure::of)?;
        let answer = self.send(request, ProgressBar::hidden()).await.map_err(StorageFailure::of)?;
        if answer.status().is_success() { Ok(answer) } else { Err(StorageFailure::answered(answer.status())) }
    }
}

impl Failure {
    fn of(error: &legacy::Error) -> Self {
        let cause = innermost(error);
        if error.is_connect() { Self::Connect(cause) } else { Self::BrokeOff(cause) }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(cause) => write!(formatter, "there is no connection: {cause}"),
            Self::BrokeOff(cause) => write!(formatter, "the connection broke off: {cause}"),
            Self::Silent(pause) => write!(formatter, "it was silent for {} seconds", pause.as_secs()),
        }
    }
}

fn within_time(connecting: Connecting) -> BoxFuture<'static, Connected> {
    Box::pin(async {
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(elapsed) => Err(io::Error::from(elapsed).into()),
        }
    })
}

/// What is at the bottom of an error, without the layers of libraries above it.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = inner.to_string();
    match inner.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::TimedOut => "timed out".to_owned(),
        // "Connection refused (os error 111)"
        Some(error) if error.raw_os_error().is_some() => {
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
        _ => text,
    }
}
