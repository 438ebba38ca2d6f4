//! The door of a hub on one machine: takes HTTP requests, bounds their bodies, and gives each to its function.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bytes::Bytes;
use common::wire::Error;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lambda_http::{Body, RequestExt};
use service::Hub;
use service::observe::{CameFrom, Route};
use service::{AnswerBody, CORS_HEADERS, READING_POSTS, ReachedAs, finish};

use crate::bodies::{ArrivingBody, Gate, Refused, Rooms};
use crate::connections::Peer;
use crate::hosts::Hosts;
use crate::lambda;
use crate::s3::StorageDoor;
use crate::shares::holder;

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
    rooms: Rooms,
    hosts: Hosts,
    storage: StorageDoor,
}

impl Router {
    /// A router over all routes.
    ///
    /// # Errors
    /// When two routes contradict each other.
    pub(crate) fn new(
        hub: Hub,
        lambda_limits: bool,
        rooms: Rooms,
        hosts: Hosts,
        storage: StorageDoor,
    ) -> Result<Self, matchit::InsertError> {
        let mut paths = matchit::Router::new();
        let patterns: BTreeSet<&str> = ROUTES.iter().map(|(_, pattern, _)| *pattern).collect();
        for pattern in patterns {
            let methods = ROUTES.iter().filter(|(_, other, _)| *other == pattern).cloned().collect();
            paths.insert(pattern, methods)?;
        }
        Ok(Self { hub, paths, lambda_limits, rooms, hosts, storage })
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
            let from = request.extensions().get::<Peer>().map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.from);
            let mut response = self.storage.answer(request, from).await?;
            finish(&mut response, is_read);
            return Ok(response);
        }
        let (mut parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().copied();
        if let Some(peer) = peer {
            parts.extensions.insert(CameFrom(holder(peer.from)));
        }
        let host = self.hosts.named(&parts.headers, peer);
        let mut body = ArrivingBody::new(&parts.headers, body);
        match host {
            Ok(Some(host)) => drop(parts.extensions.insert(ReachedAs(host))),
            Ok(None) => {}
            Err(error) => {
                body.discard().await;
                return Err(error);
            }
        }
        let matched = match self.find(&parts.method, parts.uri.path()) {
            Ok(matched) => matched,
            Err(error) => {
                body.discard().await;
                return Err(error);
            }
        };
        let parameters: HashMap<String, Vec<String>> =
            matched.parameters.iter().map(|(name, value)| (name.clone(), vec![value.clone()])).collect();
        let with_body = |parts, body| {
            let mut request = Request::from_parts(parts, body).with_path_parameters(parameters.clone());
            request.extensions_mut().insert(Route(matched.pattern));
            request
        };
        let gate = Gate {
            hub: &self.hub,
            function: matched.function,
            head: &|| with_body(parts.clone(), Body::Empty),
            peer,
            rooms: &self.rooms,
        };
        let limit = if self.lambda_limits { lambda::MAX_EVENT } else { self.rooms.max_body() };
        let (bytes, _room) = match body.read(limit, &gate).await {
            Ok(read) => read,
            Err(Refused::BrokeOff(error)) => return Err(error),
            Err(Refused::TooLarge) => {
                body.discard().await;
                return Err(self.too_large());
            }
            Err(Refused::ByGate(error)) => {
                body.discard().await;
                return Ok(gate.refuse(error).await);
            }
        };
        if self.lambda_limits {
            return lambda::invoke(&self.hub, &matched, &parts, bytes).await;
        }
        let request = with_body(parts, Body::Binary(bytes));
        Ok(matched.function.call(&self.hub, request).await)
    }

    fn too_large(&self) -> Error {
        Error::PayloadTooLarge(if self.lambda_limits {
            lambda::TOO_LARGE.to_owned()
        } else {
            format!("the body has more than {} MiB: push in smaller parts", self.rooms.max_body() >> 20)
        })
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
            assert_eq!(
                main.contains("whole_or_no_process("),
                function.streams(),
                "{function:?}: what is cut off there"
            );
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
