//! `GET /api/repos/{owner}/{slug}/log`

use common::id::BranchName;
use common::wire::WireError;
use common::wire::branches::{LogResponse, MoveResponse};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::repo::Load;
use store::table::items::LogItem;

use crate::page;

/// The push log, the newest line first, a page at a time: that of the repo, or of one branch. It is for all who may read the
/// repo, as its page is: what it says beyond the branches is who moved them and what they led to before, and the commits
/// themselves can be read by their ids as long as it names them.
pub async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::NOTHING).await?.repo;
    let limit = page::limit(call)?;
    let given = |name| call.query_parameter(name).filter(|given| !given.is_empty());
    let branch: Option<BranchName> = given("branch")
        .map(|branch| branch.parse())
        .transpose()
        .map_err(|reason| WireError::invalid("branch", reason))?;
    let after = given("after")
        .map(|after| after.parse())
        .transpose()
        .map_err(|_| WireError::invalid("after", "it is the id of no line"))?;
    let listed = hub.store.log_behind(&repo.id, branch.as_ref(), after, limit).await?;
    let handles = hub.store.handles(listed.items.iter().map(|(_, line)| line.by.as_str())).await?;
    let moves = listed.items.into_iter().map(|(id, line)| {
        let LogItem { branch, before, after, deleted, forced, restored, by, via, at } = line;
        let (token, agent) = via.map(|via| (via.token, via.agent)).unwrap_or_default();
        let by = handles.get(&by).cloned().unwrap_or(by);
        // A line that deletes a branch has what the branch was at in both.
        let after = Some(after).filter(|_| !deleted);
        MoveResponse { id, branch, before, after, forced, deleted, restored, by, token, agent, at }
    });
    call.respond(StatusCode::OK, &LogResponse { log: moves.collect(), next: listed.next })
}
