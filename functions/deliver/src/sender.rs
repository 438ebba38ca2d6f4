//! POSTs what is signed to where a webhook leads, and to no other place.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use rustls::crypto::ring;
use service::webhook_target::Reach;
use store::table::items::HookItem;
use store::table::webhooks::Message;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower::Service;

/// How long a receiver may take to the head of its answer, from the look-up of its name on.
pub const TIME_LIMIT: Duration = Duration::from_secs(15);
/// How long one address may take to be connected to, so that there is time for another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;
/// Bytes of an answer that are read, so that the receiver sees it taken. What they say is not looked at.
const MAX_ANSWER: usize = 64 << 10;
/// How long they may take, after the head of the answer.
const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(2);
const AGENT: &str = concat!("musehub/", env!("CARGO_PKG_VERSION"));

/// What deliveries are made with. It keeps no connections and follows no redirects.
pub struct Sender {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
}

impl Sender {
    /// One that connects to what `reach` covers and nothing else.
    ///
    /// # Errors
    /// When the system has no certificates.
    pub fn new(reach: Reach) -> io::Result<Self> {
        let https = HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider())?;
        let https = match reach {
            Reach::Public => https.https_only(),
            Reach::Anywhere => https.https_or_http(),
        };
        let connector = https.enable_http1().wrap_connector(Connector { reach });
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client })
    }

    /// Makes one delivery, and gives the status of its answer.
    ///
    /// # Errors
    /// Why there is no answer, in words that have nothing of the URL.
    pub async fn post(&self, hook: &HookItem, message: &Message, now: Timestamp) -> Result<StatusCode, String> {
        let request = Request::post(&hook.url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now.as_second())
            .header("webhook-signature", hook.secret.sign(&message.id, now, &message.body))
            .body(Full::from(message.body.clone()));
        let request = request.map_err(|_| "what is kept of this webhook makes no request".to_owned())?;
        let answer = timeout(TIME_LIMIT, self.client.request(request))
            .await
            .map_err(|_| format!("no answer within {} seconds", TIME_LIMIT.as_secs()))?
            .map_err(|error| innermost(&error))?;
        let status = answer.status();
        // The receiver has said what it thinks of the message, however it goes on.
        let _ = timeout(ANSWER_TIME_LIMIT, read(answer.into_body())).await;
        Ok(status)
    }
}

/// Reads the body of an answer, up to a bound. Its status is known already, even if this fails.
async fn read(body: Incoming) {
    let mut body = Limited::new(body, MAX_ANSWER);
    while let Some(Ok(_)) = body.frame().await {}
}

/// Makes connections. A name is looked up here, once, and the connection goes to the address that was checked. A second
/// look-up could give another.
#[derive(Clone)]
struct Connector {
    reach: Reach,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(connect(self.reach, uri))
    }
}

async fn connect(reach: Reach, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    let found = lookup_host((host, port)).await?;
    let covered: Vec<SocketAddr> = found.filter(|found| reach.covers(found.ip())).take(MAX_ADDRESSES).collect();
    let mut failure = io::Error::other("its address is not one of the public internet");
    for address in covered {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(TokioIo::new(stream)),
            Ok(Err(error)) => failure = error,
            Err(elapsed) => failure = elapsed.into(),
        }
    }
    Err(failure)
}

/// What is at the bottom of an error, without the layers of libraries above it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    format!("no answer: {inner}")
}
