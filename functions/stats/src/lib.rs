//! `GET /api/repos/{owner}/{slug}/stats`: what a repo is made of, and what a clone of it costs.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::wire::WireError;
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::repo::Load;
use store::upkeep::stats::PAGES_OF_A_REQUEST;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { stats(hub, &call).await }).await
}

async fn stats(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::HISTORY).await?.repo;
    let stats = hub.store.stats(&repo, PAGES_OF_A_REQUEST).await?;
    call.respond(StatusCode::OK, &stats)
}
