//! The door of a hub on one machine: takes HTTP requests, bounds their bodies, and gives each to its function.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bytes::Bytes;
use common::wire::WireError;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lambda_http::{Body, RequestExt};
use service::Hub;
use service::observe::CameFrom;
use service::routes::{Function, ROUTES, Route};
use service::{AnswerBody, CORS_HEADERS, ReachedAs, finish};

use crate::bodies::{ArrivingBody, BodyPermits, Gate, Refused};
use crate::connections::Peer;
use crate::functions::{self, Matched};
use crate::hosts::Hosts;
use crate::lambda;
use crate::s3::StorageDoor;
use crate::shares::holder;

/// Gives each request to its function.
pub struct Router {
    hub: Hub,
    paths: matchit::Router<Vec<&'static Route>>,
    lambda_limits: bool,
    permits: BodyPermits,
    hosts: Hosts,
    storage: Option<StorageDoor>,
}

impl Router {
    /// A router over all routes.
    ///
    /// # Errors
    /// When two routes contradict each other.
    pub(crate) fn new(
        hub: Hub,
        lambda_limits: bool,
        permits: BodyPermits,
        hosts: Hosts,
        storage: Option<StorageDoor>,
    ) -> Result<Self, matchit::InsertError> {
        let mut paths = matchit::Router::new();
        let patterns: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
        for pattern in patterns {
            let methods = ROUTES.iter().filter(|route| route.path == pattern).collect();
            // What is left of a path is written so here.
            paths.insert(pattern.replace("{path+}", "{*path}"), methods)?;
        }
        Ok(Self { hub, paths, lambda_limits, permits, hosts, storage })
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

    async fn route(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, WireError> {
        if request.method() == Method::OPTIONS
            && let Some(preflight) = self.preflight(&request)
        {
            return Ok(preflight);
        }
        if let Some(storage) = self.storage.as_ref().filter(|storage| storage.is_meant(request.uri())) {
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            let from = request.extensions().get::<Peer>().map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.from);
            let mut response = storage.answer(request, from).await?;
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
        let with_body = |parts, body| Request::from_parts(parts, body).with_path_parameters(parameters.clone());
        let gate = Gate {
            hub: &self.hub,
            route: matched.route,
            head: &|| with_body(parts.clone(), Body::Empty),
            peer,
            permits: &self.permits,
        };
        let limit = if self.lambda_limits { lambda::MAX_EVENT } else { self.permits.max_body() };
        let (bytes, _permit) = match body.read(limit, &gate).await {
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
        Ok(functions::call(matched.route.function, &self.hub, request).await)
    }

    fn too_large(&self) -> WireError {
        WireError::PayloadTooLarge(if self.lambda_limits {
            lambda::TOO_LARGE.to_owned()
        } else {
            format!("the body has more than {} MiB: push in smaller parts", self.permits.max_body() >> 20)
        })
    }

    /// What a browser asks before a page may read what is public.
    fn preflight(&self, request: &Request<Incoming>) -> Option<Response<AnswerBody>> {
        let routes = self.paths.at(request.uri().path()).ok()?.value;
        if !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) || !routes.iter().any(|route| route.reads) {
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

    fn find(&self, method: &Method, path: &str) -> Result<Matched, WireError> {
        let found = self.paths.at(path).map_err(|_| WireError::UnknownRoute)?;
        // What answers a GET answers a HEAD.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let parameters = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Some(route) = found.value.iter().find(|route| route.method == *method) else {
            // Where there are only pages, there is nothing for clients.
            if found.value.iter().all(|route| route.function == Function::Web) {
                return Err(WireError::UnknownRoute);
            }
            let mut allowed: Vec<&str> = found.value.iter().map(|route| route.method.as_str()).collect();
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            return Err(WireError::MethodNotAllowed { method: method.clone(), allowed: allowed.join(", ") });
        };
        Ok(Matched { route, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_function_streams_on_lambda_if_its_answers_are_streamed_here() {
        for function in ROUTES.iter().map(|route| route.function) {
            let main = format!("{}/../functions/{}/src/main.rs", env!("CARGO_MANIFEST_DIR"), function.name());
            let main = std::fs::read_to_string(main).unwrap();
            assert_eq!(main.contains("lambda::streamed("), function.streams(), "{function:?}");
            assert_eq!(main.contains("lambda::buffered("), !function.streams(), "{function:?}");
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
        let ours = ROUTES.iter().flat_map(|Route { method, path, function, .. }| {
            // Here a HEAD needs no route of its own.
            let methods = [Some(method.to_string()), (method == Method::GET).then(|| "HEAD".to_owned())];
            let path = path.replace("{path+}", "{*path}");
            methods.into_iter().flatten().map(move |method| (path.clone(), method, function.name().to_owned()))
        });
        assert_eq!(of_watch.collect::<BTreeSet<_>>(), ours.collect::<BTreeSet<_>>());
    }
}
