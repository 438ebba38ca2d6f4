//! The branches of a repo, and how they have moved: `GET /api/repos/{owner}/{slug}/branches` lists them, `DELETE
//! …/branches/{branch}` deletes one, `PUT …/branches/{branch}/protection` protects one, `GET /api/repos/{owner}/{slug}/log` lists the push log.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod delete;
mod list;
mod log;
mod page;
mod protection;

use common::id::BranchName;
use common::wire::WireError;
use lambda_http::http::Method;
use lambda_http::{Request, Response};
use service::Hub;
use service::{AnswerBody, Call};

/// How often something else may change of a branch while this is about to.
const ATTEMPTS: usize = 20;

/// The branch that a path names: any that an older hub took, for this is how such a branch goes.
fn branch_of(call: &Call) -> Result<BranchName, WireError> {
    let name = call.path_parameter("branch").unwrap_or_default();
    name.parse().map_err(|reason| WireError::invalid("branch", reason))
}

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::DELETE => delete::delete(hub, &call).await,
            Method::PUT => protection::protect(hub, &call).await,
            _ if call.path().ends_with("/log") => log::list(hub, &call).await,
            _ => list::list(hub, &call).await,
        }
    })
    .await
}
