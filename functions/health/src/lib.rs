//! `GET /health`: whether the hub answers at all. It looks at nothing, so it costs nothing and cannot lie.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::Hub;
use common::service::AnswerBody;
use common::wire::request::HealthResponse;
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(request, |call| async move { call.respond(StatusCode::OK, &HealthResponse { status: "ok" }) }).await
}
