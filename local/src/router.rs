//! The door of a hub on one machine: takes HTTP requests, bounds their bodies, and gives each to its function.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use common::Hub;
use common::service::{AnswerBody, refusal};
use common::wire::Error;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use lambda_http::{Body, RequestExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lambda;

/// Bytes of a request's body. Clients send a whole history in one push.
pub const MAX_BODY: usize = 256 << 20;
/// Bytes of a body over the limit that are read and thrown away, because a client that is still sending does not
/// listen. Beyond, the connection is closed on it.
const MAX_DISCARDED: usize = 1 << 30;
/// Mebibytes of all bodies that are held at the same time; further requests wait for their turn.
const BODIES_MEBIBYTES: u32 = 1024;

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
    /// `functions/health`
    Health,
    /// `functions/repos`
    Repos,
    /// `functions/identities`
    Identities,
}

/// Every route of the hub: its method, its path, and the function that answers it.
pub const ROUTES: [(Method, &str, Function); 9] = [
    (Method::GET, "/health", Function::Health),
    (Method::POST, "/api/identities", Function::Identities),
    (Method::POST, "/api/repos", Function::Repos),
    (Method::GET, "/{owner}/{slug}/refs", Function::Refs),
    (Method::POST, "/{owner}/{slug}/push", Function::Push),
    (Method::POST, "/{owner}/{slug}/push/objects", Function::PushObjects),
    (Method::POST, "/{owner}/{slug}/fetch", Function::Fetch),
    (Method::POST, "/{owner}/{slug}/filter-objects", Function::FilterObjects),
    (Method::POST, "/{owner}/{slug}/negotiate", Function::Negotiate),
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
            Self::Health => health::handle(hub, request).await,
            Self::Repos => repos::handle(hub, request).await,
            Self::Identities => identities::handle(hub, request).await,
        }
    }

    /// Whether its answer is streamed, which a front door has to know beforehand.
    pub const fn streams(self) -> bool {
        matches!(self, Self::Fetch)
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
}

impl Router {
    /// A router over all routes.
    ///
    /// # Errors
    /// When two routes contradict each other.
    pub fn new(hub: Hub, lambda_limits: bool) -> Result<Self, matchit::InsertError> {
        let mut paths = matchit::Router::new();
        for (_, pattern, _) in &ROUTES {
            let methods: Vec<_> = ROUTES.iter().filter(|(_, other, _)| other == pattern).cloned().collect();
            // The pattern may have been inserted with an earlier method of it.
            if methods.first().is_some_and(|(_, first, _)| std::ptr::eq(*first, *pattern)) {
                paths.insert(*pattern, methods)?;
            }
        }
        Ok(Self { hub, paths, lambda_limits, bodies: Arc::new(Semaphore::new(BODIES_MEBIBYTES as usize)) })
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => refusal(&error),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Error> {
        let (parts, body) = request.into_parts();
        let limit = if self.lambda_limits { lambda::MAX_EVENT } else { MAX_BODY };
        let matched = self.find(&parts.method, parts.uri.path());
        let (body, _room) = match &matched {
            Ok(_) => self.read(body, limit).await?,
            Err(_) => {
                discard(body).await;
                (Vec::new(), None)
            }
        };
        let matched = matched?;
        if self.lambda_limits {
            return lambda::invoke(&self.hub, &matched, &parts, body).await;
        }
        let parameters: HashMap<String, Vec<String>> =
            matched.parameters.into_iter().map(|(name, value)| (name, vec![value])).collect();
        let request = Request::from_parts(parts, Body::Binary(body)).with_path_parameters(parameters);
        Ok(matched.function.call(&self.hub, request).await)
    }

    fn find(&self, method: &Method, path: &str) -> Result<Matched, Error> {
        let found = self.paths.at(path).map_err(|_| Error::UnknownRoute)?;
        let parameters = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (_, pattern, function) = found
            .value
            .iter()
            .find(|(allowed, ..)| allowed == method)
            .ok_or_else(|| Error::MethodNotAllowed(method.clone()))?;
        Ok(Matched { function: *function, pattern, parameters })
    }

    /// Reads a body of at most `limit` bytes, when there is room for it among those of other requests.
    async fn read(&self, mut body: Incoming, limit: usize) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Error> {
        let declared = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let expected = declared.unwrap_or(limit);
        if expected > limit {
            discard(body).await;
            return Err(too_large(self.lambda_limits));
        }
        let mebibytes = u32::try_from(expected.div_ceil(1 << 20)).unwrap_or(BODIES_MEBIBYTES);
        let room = Arc::clone(&self.bodies).acquire_many_owned(mebibytes.clamp(1, BODIES_MEBIBYTES)).await;
        let mut bytes = Vec::with_capacity(declared.unwrap_or_default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::MalformedBody(format!("the body: it broke off: {error}")))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                discard(body).await;
                return Err(too_large(self.lambda_limits));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, room.ok()))
    }
}

/// Reads on to the end of a body that nobody wants, so that the client gets to hear why.
async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > MAX_DISCARDED {
            return;
        }
    }
}

fn too_large(lambda_limits: bool) -> Error {
    Error::PayloadTooLarge(if lambda_limits {
        lambda::TOO_LARGE.to_owned()
    } else {
        format!("the body has more than {} MiB: push in smaller parts", MAX_BODY >> 20)
    })
}
