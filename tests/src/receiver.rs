//! A server that webhooks lead to, which keeps what it is sent and answers as the test says.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A receiver that takes connections and never says anything: its URL, how many connections it has taken, and its task.
pub async fn silent() -> (String, watch::Receiver<usize>, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (count, taken) = watch::channel(0);
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
            count.send_replace(open.len());
        }
    });
    (url, taken, task)
}

/// What a receiver was sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The path and the query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Delivery {
    /// A header, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `webhook-id`
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body as the event that it is.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Fails unless it is signed with `secret`, as a receiver checks it that knows nothing but the specification.
    #[track_caller]
    pub fn assert_signed(&self, secret: &str) {
        let verifier = standardwebhooks::Webhook::new(secret).expect("a secret of the specification");
        verifier.verify(&self.body, &self.headers).expect("a good signature, made just now");
    }
}

type Script = Box<dyn FnMut(&Delivery) -> Response<String> + Send>;

/// A receiver on a port of its own.
pub struct Receiver {
    url: String,
    script: Arc<Mutex<Script>>,
    seen: watch::Receiver<Vec<Delivery>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_| answer(204))));
        let (sender, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(accept(listener, Arc::clone(&script), sender));
        Receiver { url, script, seen, task }
    }

    /// The URL of a path of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Answers from here on as this says.
    pub fn script(&self, script: impl FnMut(&Delivery) -> Response<String> + Send + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    /// Answers from here on with this status.
    pub fn answers(&self, status: u16) {
        self.script(move |_| answer(status));
    }

    /// What it was sent until now, answered well or not.
    pub fn seen(&self) -> Vec<Delivery> {
        self.seen.borrow().clone()
    }

    /// Waits until what it was sent is as wanted.
    pub async fn until(&self, is_wanted: impl FnMut(&Vec<Delivery>) -> bool) -> Vec<Delivery> {
        let mut seen = self.seen.clone();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(is_wanted)).await;
        waited.unwrap_or_else(|_| panic!("it was sent only {:?}", self.seen())).expect("the receiver runs").clone()
    }

    /// Waits until it was sent this many.
    pub async fn until_seen(&self, count: usize) -> Vec<Delivery> {
        self.until(|seen| seen.len() >= count).await
    }
}

/// An answer of this status, with nothing in it.
pub fn answer(status: u16) -> Response<String> {
    Response::builder().status(status).body(String::new()).expect("an answer")
}

async fn accept(listener: TcpListener, script: Arc<Mutex<Script>>, seen: watch::Sender<Vec<Delivery>>) {
    let seen = Arc::new(seen);
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        let service = service_fn(move |request: Request<Incoming>| {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
            async move {
                let (head, body) = request.into_parts();
                let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                let body = body.collect().await?.to_bytes();
                let delivery = Delivery { path, headers: head.headers, body };
                let answer = script.lock().unwrap_or_else(PoisonError::into_inner)(&delivery);
                seen.send_modify(|seen| seen.push(delivery));
                Ok::<_, hyper::Error>(answer.map(|body| Full::new(Bytes::from(body))))
            }
        });
        // A connection that breaks off is the other side's business.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
