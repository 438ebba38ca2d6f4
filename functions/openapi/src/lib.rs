//! `GET /openapi.json`: the hub's description of itself, as [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use lambda_http::http::HeaderValue;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Request, Response};
use service::AnswerBody;
use service::Hub;

/// The description. It is written by hand, and tests hold it against the routes and against a running hub.
pub const DESCRIPTION: &[u8] = include_bytes!("../../../docs/openapi.json");

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |_| async move {
        let mut response = Response::new(AnswerBody::whole(DESCRIPTION));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    })
    .await
}
