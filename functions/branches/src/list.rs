//! `GET /api/repos/{owner}/{slug}/branches`

use common::id::BranchName;
use common::push::Protection;
use common::wire::WireError;
use common::wire::branches::{BranchResponse, BranchesResponse};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::repo::Load;

use crate::page;

/// The branches by name, a page at a time, for all who may read the repo.
pub async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    // Which of them is the default one depends on all.
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::HEADS).await?.repo;
    let limit = page::limit(call)?;
    let after = call.query_parameter("after").filter(|after| !after.is_empty());
    let after: Option<BranchName> =
        after.map(|after| after.parse()).transpose().map_err(|reason| WireError::invalid("after", reason))?;
    let listed = hub.store.branches_behind(&repo.id, after.as_ref(), limit).await?;
    let handles = hub.store.handles(listed.items.iter().map(|(_, branch)| branch.updated_by.as_str())).await?;
    let default = repo.meta.shown_default(&repo.heads);
    let branches = listed.items.into_iter().map(|(name, branch)| BranchResponse {
        is_default: name == default,
        protected: branch.protection.is_some(),
        admins_only: branch.protection == Some(Protection::Admins),
        name,
        head: branch.head,
        updated_at: branch.updated_at,
        updated_by: handles.get(&branch.updated_by).cloned().unwrap_or(branch.updated_by),
    });
    call.respond(StatusCode::OK, &BranchesResponse { branches: branches.collect(), next: listed.next })
}
