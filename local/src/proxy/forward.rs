//! A request's way to the hub, and the answer's way back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::HubUrl;
use client::by_reference::{UploadOffer, offer};
use client::http::{Body as AnswerBody, Client, innermost};
use common::wire::Encoding;
use common::wire::limits::STOCK_ANSWER;
use common::wire::request::{Heads, RefsResponse};
use futures_util::stream;
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use indicatif::ProgressBar;
use service::by_reference::BODY_UPLOAD;
use service::routes;
use store::compute;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Limits;
use super::body::{Body, Received, Receiver, Spool};
use super::parts::{Part, Parts};
use super::progress::{Progress, Sending};
use super::refusal::Refusal;
use super::target::repository;

/// Headers of one connection, which are not of the next: RFC 9110, section 7.6.1.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
];
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Bytes of an answer to `/refs`: 10,000 branches of 1,020 bytes are 11 MB.
const MAX_REFS: usize = 16 << 20;
/// URLs of the storage that are tried for a body.
const URLS: usize = 3;
/// What is said of an answer that has more bytes than a stock client reads.
const TOO_LARGE: &str = "the answer to a fetch has more than 64 MiB, and a stock client gives up there: 'musehub clone URL' fetches in parts";

/// Passes requests on to one hub.
pub(super) struct Forwarder {
    hub: HubUrl,
    client: Client,
    receiver: Receiver,
    progress: Progress,
    pause: Duration,
    limits: Limits,
    /// Only one push goes in parts at a time: what it takes of memory and disk is bounded so, and one that is sent again because its
    /// client has left goes on behind it.
    in_parts: Mutex<()>,
}

/// A request without its body.
#[derive(Clone)]
struct Head {
    method: Method,
    target: Uri,
    /// Those that are for the hub, the length of the body not among them.
    headers: HeaderMap,
}

impl Forwarder {
    /// # Errors
    /// When the system has no certificates.
    pub(super) fn new(hub: HubUrl, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            hub,
            client: Client::new(limits.hub_pause)?,
            receiver: Receiver::new(limits),
            progress: Progress::default(),
            pause: limits.hub_pause,
            limits,
            in_parts: Mutex::default(),
        })
    }

    /// Waits until the large requests are done whose clients have left, but no longer than this.
    pub(super) async fn settle(&self, grace: Duration) {
        if timeout(grace, self.receiver.all_done()).await.is_err() {
            self.progress.say("large requests were broken off: what they have sent is found when they are sent again");
        }
    }

    /// Answers one request.
    pub(super) async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let route = routes::label_of(request.method(), request.uri().path());
        self.pass_on(&route, request).await.unwrap_or_else(|refusal| refusal.answer(&route))
    }

    async fn pass_on(
        self: &Arc<Self>,
        route: &str,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let (parts, body) = request.into_parts();
        let Received { body, permit } = self.receiver.receive(&parts.headers, body).await?;
        let path_and_query = parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
        if !path_and_query.starts_with('/') {
            return Err(Refusal::NoPath);
        }
        let target = self.hub.at(path_and_query).map_err(|_| Refusal::NoPath)?;
        // Without a token nothing can be uploaded; the hub may take it as it is.
        let may_upload = parts.method == Method::POST && parts.headers.contains_key(AUTHORIZATION);
        let repository = repository(parts.uri.path()).filter(|_| may_upload);
        let goes_in_parts = body.bytes() > self.limits.whole
            && repository.is_some_and(|repository| parts.uri.path() == format!("{repository}/push"));
        let repository = repository.map(str::to_owned);
        let head = Head { method: parts.method, target, headers: for_the_hub(parts.headers) };
        let spool = match body {
            Body::Small(_) => return self.send(head, body, ProgressBar::hidden()).await,
            Body::Large(spool) => spool,
        };
        // A client that waits for a minute, and leaves, has its request done all the same.
        let (this, route) = (Arc::clone(self), route.to_owned());
        let sending = tokio::spawn(async move {
            let answer = this.send_large(&route, head, repository.as_deref(), spool, goes_in_parts).await;
            drop(permit);
            answer
        });
        sending.await.unwrap_or_else(|panic| Err(Refusal::Fault(panic.to_string())))
    }

    async fn send_large(
        &self,
        route: &str,
        head: Head,
        repository: Option<&str>,
        spool: Spool,
        goes_in_parts: bool,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let _alone = match goes_in_parts {
            true => Some(self.in_parts.lock().await),
            false => None,
        };
        let sending = self.progress.begin(route, spool.bytes());
        let answer = match repository {
            Some(repository) if goes_in_parts => self.send_in_parts(head, repository, spool, &sending).await,
            Some(repository) => self.by_reference(head, repository, Body::Large(spool), &sending).await,
            None => self.send(head, Body::Large(spool), sending.sent()).await,
        };
        match &answer {
            Ok(answer) => sending.answered(answer.status()),
            Err(refusal) => sending.failed(refusal),
        }
        answer
    }

    /// Sends a push in parts, each as a push of its own, and answers as the last of them is answered, or the first that is refused.
    async fn send_in_parts(
        &self,
        head: Head,
        repository: &str,
        spool: Spool,
        sending: &Sending<'_>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let encoding = Encoding::of_request(&head.headers).map_err(|error| Refusal::BrokenBody(error.to_string()))?;
        let (file, most) = (spool.into_file().await, self.limits.part);
        let mut parts = compute(|| Parts::read(file, encoding, most))?;
        let heads = match self.ask_for_heads(repository, &head.headers).await? {
            Ok(heads) => heads,
            Err(refused) => return Ok(refused),
        };
        if !parts.is_expected(&heads) {
            // The hub refuses it, or knows better.
            let body = Body::Small(compute(|| parts.question())?.into());
            let answer = self.send(head.clone(), body, ProgressBar::hidden()).await?;
            if !answer.status().is_success() {
                return Ok(answer);
            }
        }
        let mut plan = compute(|| parts.plan(&heads))?.into_iter().peekable();
        sending.say(&format!("it has more than a request may have, and goes in {} parts", plan.len()));
        while let Some(part) = plan.next() {
            let body = Body::Small(compute(|| parts.body(&part))?.into());
            let mut of_part = head.clone();
            if let Part::Objects(_) = part {
                let path = format!("{repository}/push/objects");
                of_part.target = self.hub.at(&path).map_err(|_| Refusal::NoPath)?;
            }
            let answer = match body.bytes() > self.limits.small as u64 {
                true => self.by_reference(of_part, repository, body, sending).await?,
                false => self.send(of_part, body, sending.sent()).await?,
            };
            if plan.peek().is_none() || !answer.status().is_success() {
                return Ok(answer);
            }
        }
        Err(Refusal::Fault("a push has no parts".to_owned()))
    }

    /// Where the branches of a repository are, or the hub's refusal to say it. One that is not there has none.
    async fn ask_for_heads(
        &self,
        repository: &str,
        headers: &HeaderMap,
    ) -> Result<Result<Heads, Response<AnswerBody>>, Refusal> {
        let head = self.question(Method::GET, &format!("{repository}/refs"), headers.get(AUTHORIZATION))?;
        let answer = self.send(head, Body::Small(Bytes::new()), ProgressBar::hidden()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Ok(Heads::new()));
        }
        if !answer.status().is_success() {
            return Ok(Err(answer));
        }
        let body = Limited::new(answer.into_body(), MAX_REFS).collect().await;
        let no_refs = |cause: String| Refusal::NoRefs { hub: self.hub.clone(), cause };
        let body = body.map_err(|error| no_refs(error.to_string()))?.to_bytes();
        let refs: RefsResponse<'_> = Encoding::Json.decode(&body).map_err(|error| no_refs(error.to_string()))?;
        Ok(Ok(refs.branch_heads.into_owned()))
    }

    async fn by_reference(
        &self,
        mut head: Head,
        repository: &str,
        body: Body,
        sending: &Sending<'_>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let mut urls_left = URLS;
        loop {
            match self.ask_for_upload(repository, head.headers.get(AUTHORIZATION)).await? {
                UploadOffer::Upload { id, url } => {
                    urls_left -= 1;
                    let (storage, length) = (url.host().unwrap_or_default().to_owned(), body.bytes());
                    let again = body.again().await.map_err(|error| Refusal::NotKept { error })?;
                    match self.client.put(url, length, again.send(sending.sent()), sending.sent()).await {
                        Ok(()) => {
                            head.headers.insert(BODY_UPLOAD, id);
                            return self.send(head, Body::Small(Bytes::new()), sending.sent()).await;
                        }
                        // Another process of the hub may sign the next one, with a session that goes on.
                        Err(failure) if failure.has_expired && urls_left > 0 => sending.sent().set_position(0),
                        Err(failure) => return Err(Refusal::NotUploaded { storage, cause: failure.to_string() }),
                    }
                }
                UploadOffer::Refused(answer) => return Ok(answer),
                UploadOffer::NoSuchEndpoint => return self.send(head, body, sending.sent()).await,
            }
        }
    }

    async fn ask_for_upload(&self, repository: &str, token: Option<&HeaderValue>) -> Result<UploadOffer, Refusal> {
        let no_upload = || Refusal::NoUpload(self.hub.clone());
        let head = self.question(Method::POST, &format!("{repository}/uploads"), token)?;
        let answer = self.send(head, Body::Small(Bytes::from_static(b"{}")), ProgressBar::hidden()).await?;
        offer(answer).await.map_err(|_| no_upload())
    }

    /// A question of the proxy's own, in JSON.
    fn question(&self, method: Method, path: &str, token: Option<&HeaderValue>) -> Result<Head, Refusal> {
        let target = self.hub.at(path).map_err(|_| Refusal::NoPath)?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        Ok(Head { method, target, headers })
    }

    /// Sends a request to the hub and gives its answer back as it comes.
    async fn send(&self, head: Head, body: Body, sent: ProgressBar) -> Result<Response<AnswerBody>, Refusal> {
        let watched = head.target.path().ends_with("/fetch").then(|| self.progress.clone());
        let answer = self.client.send(head.with_body(body, sent.clone()), sent).await;
        let (mut parts, body) = answer.map_err(|failure| Refusal::of_hub(&self.hub, failure))?.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        parts.extensions.clear();
        Ok(Response::from_parts(parts, relay(body, self.pause, watched)))
    }
}

impl Head {
    fn with_body(self, body: Body, sent: ProgressBar) -> Request<AnswerBody> {
        let bytes = body.bytes();
        let mut headers = self.headers;
        let mut request = Request::new(body.send(sent));
        // Without a body, GET and HEAD have no length either.
        if bytes > 0 || !self.method.is_safe() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        *request.headers_mut() = headers;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        request
    }
}

/// The headers of a request that are for the hub. Its own length and host are given to it on the way.
fn for_the_hub(mut headers: HeaderMap) -> HeaderMap {
    remove_hop_by_hop(&mut headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    headers
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// An answer's body as it comes. When it breaks off, or the hub pauses for too long, it ends in an error, and then the
/// connection to the client is closed in the middle of it: it is never taken for whole. Where it is `watched`, it is said on the
/// terminal when it has more than a stock client reads, which would otherwise only say that it gives up.
fn relay(body: Incoming, pause: Duration, watched: Option<Progress>) -> AnswerBody {
    if body.is_end_stream() {
        return body.map_err(io::Error::other).boxed_unsync();
    }
    let frames = stream::try_unfold((body, watched, 0), move |(mut body, mut watched, mut bytes)| async move {
        let frame = match timeout(pause, body.frame()).await {
            Ok(frame) => frame.transpose().map_err(|error| innermost(&error)),
            Err(_) => Err(format!("nothing came for {} seconds", pause.as_secs())),
        };
        if let Err(cause) = &frame {
            tracing::warn!(cause, "the hub's answer broke off");
        }
        let frame = frame.map_err(io::Error::other)?;
        bytes += frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        if bytes > STOCK_ANSWER
            && let Some(progress) = watched.take()
        {
            progress.say(TOO_LARGE);
        }
        Ok(frame.map(|frame| (frame, (body, watched, bytes))))
    });
    StreamBody::new(frames).boxed_unsync()
}
