//! `GET /refs`: the head of every branch, the first thing that every client asks.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::borrow::Cow;

use common::wire::WireError;
use common::wire::domain::Domain;
use common::wire::request::RefsResponse;
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::repo::Load;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { refs(hub, &call).await }).await
}

async fn refs(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::HEADS).await?.repo;
    let answer = RefsResponse {
        repo_id: repo.id.as_str().into(),
        domain: Domain::of_stored(&repo.meta.domain).as_str().into(),
        default_branch: repo.meta.shown_default(&repo.heads).into(),
        branch_heads: Cow::Borrowed(&repo.heads),
    };
    call.respond(StatusCode::OK, &answer)
}
