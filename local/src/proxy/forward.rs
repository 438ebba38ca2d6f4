//! A request's way to the hub, and the answer's way back.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use client::HubUrl;
use client::by_reference::{UploadOffer, offer};
use client::http::{Body as AnswerBody, Client, innermost};
use common::wire::limits::STOCK_ANSWER;
use futures_util::stream;
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use indicatif::ProgressBar;
use service::by_reference::BODY_UPLOAD;
use tokio::time::timeout;

use super::Limits;
use super::body::{Body, Received, Receiver, Spool};
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
/// What is said of an answer that has more bytes than a stock client reads.
const TOO_LARGE: &str = "the answer to a fetch has more than 64 MiB, and a stock client gives up there: 'musehub clone URL' fetches in parts";

/// Passes requests on to one hub.
pub(super) struct Forwarder {
    hub: HubUrl,
    client: Client,
    receiver: Receiver,
    progress: Progress,
    pause: Duration,
}

/// A request without its body.
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
        })
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let route = format!("{} {}", request.method(), request.uri().path());
        self.pass_on(&route, request).await.unwrap_or_else(|refusal| refusal.answer(&route))
    }

    async fn pass_on(&self, route: &str, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
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
        let head = Head { method: parts.method, target, headers: for_the_hub(parts.headers) };

        let bytes = body.bytes();
        let answer = match body {
            Body::Small(_) => self.send(head, body, ProgressBar::hidden()).await?,
            Body::Large(spool) => {
                let sending = self.progress.begin(route, bytes);
                let answer = match repository {
                    Some(repository) => self.by_reference(head, repository, spool, &sending).await?,
                    None => self.send(head, Body::Large(spool), sending.sent()).await?,
                };
                sending.answered(answer.status());
                answer
            }
        };
        drop(permit);
        Ok(answer)
    }

    async fn by_reference(
        &self,
        mut head: Head,
        repository: &str,
        spool: Spool,
        sending: &Sending<'_>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        match self.ask_for_upload(repository, head.headers.get(AUTHORIZATION)).await? {
            UploadOffer::Upload { id, url } => {
                let (storage, length) = (url.host().unwrap_or_default().to_owned(), spool.bytes());
                let put = self.client.put(url, length, spool.send(sending.sent()), sending.sent()).await;
                put.map_err(|cause| Refusal::NotUploaded { storage, cause })?;
                head.headers.insert(BODY_UPLOAD, id);
                self.send(head, Body::Small(Bytes::new()), sending.sent()).await
            }
            UploadOffer::Refused(answer) => Ok(answer),
            UploadOffer::NoSuchEndpoint => self.send(head, Body::Large(spool), sending.sent()).await,
        }
    }

    async fn ask_for_upload(&self, repository: &str, token: Option<&HeaderValue>) -> Result<UploadOffer, Refusal> {
        let no_upload = || Refusal::NoUpload(self.hub.clone());
        let target = self.hub.at(&format!("{repository}/uploads")).map_err(|_| no_upload())?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let head = Head { method: Method::POST, target, headers };
        let answer = self.send(head, Body::Small(Bytes::from_static(b"{}")), ProgressBar::hidden()).await?;
        offer(answer).await.map_err(|_| no_upload())
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
