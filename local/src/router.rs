//! The door of a hub on one machine: takes HTTP requests, bounds their bodies, and gives each to its function.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::Hub;
use common::observe::Route;
use common::service::{AnswerBody, CORS_HEADERS, READING_POSTS, finish};
use common::wire::Error;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, EXPECT, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use lambda_http::{Body, RequestExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::lambda;
use crate::s3::StorageDoor;

/// Bytes of a request's body. Clients send a whole history in one push.
pub const MAX_BODY: usize = 256 << 20;
/// Bytes of a body over the limit that are read and thrown away, because a client that is still sending does not
/// listen. Beyond, the connection is closed on it.
const MAX_DISCARDED: usize = 1 << 30;
/// Mebibytes of all bodies that are held at the same time, beside the first mebibyte of each; what does not fit is answered
/// with 503.
const BODIES_MEBIBYTES: usize = 1024;
/// How long a client may pause in the middle of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a body that have to come in that time, if it does not end: what is slower keeps its room from others.
const LEAST_BYTES: usize = 64 << 10;

/// One of the hub's functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `functions/refs`
    Refs,
    /// `functions/push`
    Push,
    /// `functions/push-objects`
    PushObjects,
    /// `functions/fetch`
    Fetch,
    /// `functions/filter-objects`
    FilterObjects,
    /// `functions/negotiate`
    Negotiate,
    /// `functions/presign`
    Presign,
    /// `functions/tags`
    Tags,
    /// `functions/releases`
    Releases,
    /// `functions/uploads`
    Uploads,
    /// `functions/object`
    Object,
    /// `functions/openapi`
    Openapi,
    /// `functions/health`
    Health,
    /// `functions/repos`
    Repos,
    /// `functions/identities`
    Identities,
    /// `functions/stats`
    Stats,
    /// `functions/webhooks`
    Webhooks,
}

/// Every route of the hub: its method, its path, and the function that answers it.
pub const ROUTES: [(Method, &str, Function); 28] = [
    (Method::GET, "/health", Function::Health),
    (Method::GET, "/openapi.json", Function::Openapi),
    (Method::POST, "/api/identities", Function::Identities),
    (Method::POST, "/api/repos", Function::Repos),
    (Method::POST, "/api/v1/domains", Function::Repos),
    (Method::PATCH, "/api/repos/{owner}/{slug}", Function::Repos),
    (Method::DELETE, "/api/repos/{owner}/{slug}/branches/{branch}", Function::Repos),
    (Method::POST, "/api/repos/{owner}/{slug}/purge", Function::Repos),
    (Method::GET, "/api/repos/{owner}/{slug}/purge", Function::Repos),
    (Method::GET, "/api/repos/{owner}/{slug}/stats", Function::Stats),
    (Method::POST, "/api/repos/{owner}/{slug}/webhooks", Function::Webhooks),
    (Method::GET, "/api/repos/{owner}/{slug}/webhooks", Function::Webhooks),
    (Method::DELETE, "/api/repos/{owner}/{slug}/webhooks/{id}", Function::Webhooks),
    (Method::GET, "/{owner}/{slug}/refs", Function::Refs),
    (Method::POST, "/{owner}/{slug}/push", Function::Push),
    (Method::POST, "/{owner}/{slug}/push/objects", Function::PushObjects),
    (Method::POST, "/{owner}/{slug}/fetch", Function::Fetch),
    (Method::POST, "/{owner}/{slug}/filter-objects", Function::FilterObjects),
    (Method::POST, "/{owner}/{slug}/presign", Function::Presign),
    (Method::POST, "/{owner}/{slug}/negotiate", Function::Negotiate),
    (Method::POST, "/{owner}/{slug}/tags", Function::Tags),
    (Method::GET, "/{owner}/{slug}/tags", Function::Tags),
    (Method::DELETE, "/{owner}/{slug}/tags/{tag}", Function::Tags),
    (Method::POST, "/{owner}/{slug}/releases", Function::Releases),
    (Method::GET, "/{owner}/{slug}/releases", Function::Releases),
    (Method::DELETE, "/{owner}/{slug}/releases/{tag}", Function::Releases),
    (Method::POST, "/{owner}/{slug}/uploads", Function::Uploads),
    (Method::GET, "/o/{object_id}", Function::Object),
];

impl Function {
    /// Calls the function.
    pub async fn call(self, hub: &Hub, request: lambda_http::Request) -> Response<AnswerBody> {
        match self {
            Self::Refs => refs::handle(hub, request).await,
            Self::Push => push::handle(hub, request).await,
            Self::PushObjects => push_objects::handle(hub, request).await,
            Self::Fetch => fetch::handle(hub, request).await,
            Self::FilterObjects => filter_objects::handle(hub, request).await,
            Self::Negotiate => negotiate::handle(hub, request).await,
            Self::Presign => presign::handle(hub, request).await,
            Self::Tags => tags::handle(hub, request).await,
            Self::Releases => releases::handle(hub, request).await,
            Self::Uploads => uploads::handle(hub, request).await,
            Self::Object => object::handle(hub, request).await,
            Self::Openapi => openapi::handle(hub, request).await,
            Self::Health => health::handle(hub, request).await,
            Self::Repos => repos::handle(hub, request).await,
            Self::Identities => identities::handle(hub, request).await,
            Self::Stats => stats::handle(hub, request).await,
            Self::Webhooks => webhooks::handle(hub, request).await,
        }
    }

    /// What its crate is called, and so its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refs => "refs",
            Self::Push => "push",
            Self::PushObjects => "push-objects",
            Self::Fetch => "fetch",
            Self::FilterObjects => "filter-objects",
            Self::Negotiate => "negotiate",
            Self::Presign => "presign",
            Self::Tags => "tags",
            Self::Releases => "releases",
            Self::Uploads => "uploads",
            Self::Object => "object",
            Self::Openapi => "openapi",
            Self::Health => "health",
            Self::Repos => "repos",
            Self::Identities => "identities",
            Self::Stats => "stats",
            Self::Webhooks => "webhooks",
        }
    }

    /// Whether its answer is streamed, which a front door has to know beforehand: those that may be over 6 MB, or take
    /// longer than the 29 seconds that an API Gateway waits for a buffered one.
    pub const fn streams(self) -> bool {
        matches!(
            self,
            Self::Fetch
                | Self::FilterObjects
                | Self::Object
                | Self::Presign
                | Self::Push
                | Self::PushObjects
                | Self::Releases
                | Self::Tags
        )
    }
}

/// A request's way through a route.
pub(crate) struct Matched {
    pub(crate) function: Function,
    pub(crate) pattern: &'static str,
    /// As they are in the path, percent-encoding and all: so they come from an API Gateway.
    pub(crate) parameters: HashMap<String, String>,
}

/// Gives each request to its function.
pub struct Router {
    hub: Hub,
    paths: matchit::Router<Vec<(Method, &'static str, Function)>>,
    lambda_limits: bool,
    bodies: Arc<Semaphore>,
    storage: StorageDoor,
}

impl Router {
    /// A router over all routes.
    ///
    /// # Errors
    /// When two routes contradict each other.
    pub fn new(hub: Hub, lambda_limits: bool, storage: StorageDoor) -> Result<Self, matchit::InsertError> {
        let mut paths = matchit::Router::new();
        let patterns: BTreeSet<&str> = ROUTES.iter().map(|(_, pattern, _)| *pattern).collect();
        for pattern in patterns {
            let methods = ROUTES.iter().filter(|(_, other, _)| *other == pattern).cloned().collect();
            paths.insert(pattern, methods)?;
        }
        Ok(Self { hub, paths, lambda_limits, bodies: Arc::new(Semaphore::new(BODIES_MEBIBYTES)), storage })
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        // What is refused at the door is answered, and seen, like everything else.
        let mut head = Request::new(Body::Empty);
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => self.hub.answer("door", head, |_| std::future::ready(Err(error))).await,
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Error> {
        if request.method() == Method::OPTIONS
            && let Some(preflight) = self.preflight(&request)
        {
            return Ok(preflight);
        }
        if self.storage.is_meant(request.uri()) {
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            let mut response = self.storage.answer(request).await?;
            finish(&mut response, is_read);
            return Ok(response);
        }
        let (parts, body) = request.into_parts();
        let mut body = ArrivingBody::new(&parts.headers, body);
        let matched = match self.find(&parts.method, parts.uri.path()) {
            Ok(matched) => matched,
            Err(error) => {
                body.discard().await;
                return Err(error);
            }
        };
        let limit = if self.lambda_limits { lambda::MAX_EVENT } else { MAX_BODY };
        let (body, _room) = match body.read(limit, &self.bodies).await? {
            Arrived::Whole(bytes, room) => (bytes, room),
            Arrived::TooLarge => {
                body.discard().await;
                return Err(too_large(self.lambda_limits));
            }
        };
        if self.lambda_limits {
            return lambda::invoke(&self.hub, &matched, &parts, body).await;
        }
        let parameters: HashMap<String, Vec<String>> =
            matched.parameters.into_iter().map(|(name, value)| (name, vec![value])).collect();
        let mut request = Request::from_parts(parts, Body::Binary(body)).with_path_parameters(parameters);
        request.extensions_mut().insert(Route(matched.pattern));
        Ok(matched.function.call(&self.hub, request).await)
    }

    /// What a browser asks before a page may read what anybody may.
    fn preflight(&self, request: &Request<Incoming>) -> Option<Response<AnswerBody>> {
        let path = request.uri().path();
        let methods = self.paths.at(path).ok()?.value;
        let is_read = methods.iter().any(|(method, ..)| method == Method::GET);
        if !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            || !(is_read || READING_POSTS.iter().any(|post| path.ends_with(post)))
        {
            return None;
        }
        let mut response = Response::new(AnswerBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        for (name, value) in CORS_HEADERS {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        finish(&mut response, true);
        Some(response)
    }

    fn find(&self, method: &Method, path: &str) -> Result<Matched, Error> {
        let found = self.paths.at(path).map_err(|_| Error::UnknownRoute)?;
        // What answers a GET answers a HEAD.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let parameters = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Some((_, pattern, function)) = found.value.iter().find(|(allowed, ..)| allowed == method) else {
            let mut allowed: Vec<&str> = found.value.iter().map(|(allowed, ..)| allowed.as_str()).collect();
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            return Err(Error::MethodNotAllowed { method: method.clone(), allowed: allowed.join(", ") });
        };
        Ok(Matched { function: *function, pattern, parameters })
    }
}

/// A body that may still be on its way.
struct ArrivingBody {
    body: Incoming,
    /// Whether the client waits to be asked for it, which looking at it does.
    is_waiting: bool,
}

enum Arrived {
    /// All of it, and the room that it takes among the bodies of other requests.
    Whole(Vec<u8>, Vec<OwnedSemaphorePermit>),
    /// There is more than the limit.
    TooLarge,
}

impl ArrivingBody {
    fn new(headers: &HeaderMap, body: Incoming) -> Self {
        Self { body, is_waiting: headers.contains_key(EXPECT) }
    }

    /// The next bytes, or none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = tokio::time::timeout(BODY_TIMEOUT, self.body.frame()).await;
            let frame = frame.map_err(|_| broke_off(format!("nothing came for {} seconds", BODY_TIMEOUT.as_secs())))?;
            match frame.transpose().map_err(|error| broke_off(error.to_string()))?.map(Frame::into_data) {
                None => return Ok(None),
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                // Trailers say nothing here.
                Some(Err(_)) => {}
            }
        }
    }

    /// Reads a body of at most `limit` bytes, as long as `bodies` has room for what arrives.
    async fn read(&mut self, limit: usize, bodies: &Arc<Semaphore>) -> Result<Arrived, Error> {
        let declared = self.body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        if declared.is_some_and(|declared| declared > limit) {
            return Ok(Arrived::TooLarge);
        }
        // Memory is only taken as it is written to, so a length that is declared and never sent costs none.
        let mut bytes = Vec::with_capacity(declared.unwrap_or_default());
        let mut room = Vec::new();
        self.is_waiting = false;
        let (mut since, mut before) = (Instant::now(), 0);
        while let Some(more) = self.next().await? {
            if since.elapsed() >= BODY_TIMEOUT {
                if bytes.len() - before < LEAST_BYTES {
                    let least = LEAST_BYTES >> 10;
                    return Err(broke_off(format!("less than {least} KiB came in {} seconds", BODY_TIMEOUT.as_secs())));
                }
                (since, before) = (Instant::now(), bytes.len());
            }
            if bytes.len() + more.len() > limit {
                return Ok(Arrived::TooLarge);
            }
            bytes.extend_from_slice(&more);
            while (room.len() + 1) << 20 < bytes.len() {
                let permit = Arc::clone(bodies).try_acquire_owned();
                room.push(permit.map_err(|_| Error::Unavailable("too many large requests at once".into()))?);
            }
        }
        Ok(Arrived::Whole(bytes, room))
    }

    /// Reads on to the end of a body that nobody wants, because a client that is still sending does not listen.
    async fn discard(&mut self) {
        if self.is_waiting {
            return;
        }
        let mut discarded = 0;
        while let Ok(Some(bytes)) = self.next().await {
            discarded += bytes.len();
            if discarded > MAX_DISCARDED {
                return;
            }
        }
    }
}

fn broke_off(why: String) -> Error {
    Error::MalformedBody(format!("the body: it broke off: {why}"))
}

fn too_large(lambda_limits: bool) -> Error {
    Error::PayloadTooLarge(if lambda_limits {
        lambda::TOO_LARGE.to_owned()
    } else {
        format!("the body has more than {} MiB: push in smaller parts", MAX_BODY >> 20)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_function_streams_on_lambda_if_its_answers_are_streamed_here() {
        for (_, _, function) in ROUTES {
            let main = format!("{}/../functions/{}/src/main.rs", env!("CARGO_MANIFEST_DIR"), function.name());
            let main = std::fs::read_to_string(main).unwrap();
            assert_eq!(main.contains("run_with_streaming_response("), function.streams(), "{function:?}");
        }
    }

    #[test]
    fn cargo_lambda_watch_has_the_same_routes() {
        let metadata = Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let watched = metadata["metadata"]["lambda"]["watch"]["router"].as_object().unwrap();
        let of_watch = watched.iter().flat_map(|(path, functions)| {
            let functions = functions.as_array().unwrap().iter();
            functions.map(move |route| {
                (
                    path.clone(),
                    route["method"].as_str().unwrap().to_owned(),
                    route["function"].as_str().unwrap().to_owned(),
                )
            })
        });
        let ours = ROUTES.iter().flat_map(|(method, path, function)| {
            // Here a HEAD needs no route of its own.
            let methods = [Some(method.to_string()), (method == Method::GET).then(|| "HEAD".to_owned())];
            methods.into_iter().flatten().map(|method| ((*path).to_owned(), method, function.name().to_owned()))
        });
        assert_eq!(of_watch.collect::<BTreeSet<_>>(), ours.collect::<BTreeSet<_>>());
    }
}
