//! The branches of a repo, and how they have moved: `GET /api/repos/{owner}/{slug}/branches` lists them, `DELETE
//! …/branches/{branch}` deletes one, `GET /api/repos/{owner}/{slug}/log` lists the push log.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod delete;
mod list;
mod log;
mod page;

use lambda_http::http::Method;
use lambda_http::{Request, Response};
use service::AnswerBody;
use service::Hub;

/// How often something else may change of a branch while this is about to.
const ATTEMPTS: usize = 20;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::DELETE => delete::delete(hub, &call).await,
            _ if call.path().ends_with("/log") => log::list(hub, &call).await,
            _ => list::list(hub, &call).await,
        }
    })
    .await
}
