//! `DELETE /api/repos/{owner}/{slug}/branches/{branch}`

use common::push::{BranchChange, Protection};
use common::wire::WireError;
use common::wire::branches::BranchDeletedResponse;
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::Hub;
use service::auth::grant::Move;
use service::{Access, AnswerBody, Call};
use store::change::Deletion;
use store::repo::Load;
use store::table::items::Role;
use store::table::transaction::Outcome;

use crate::{ATTEMPTS, branch_of};

/// Deletes a branch, for every writer. Its commits stay as long as the push log names them.
pub async fn delete(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let opened = hub.open(Some(&token), &target, Access::Branch, Load::HEADS).await?;
        let (repo, user) = (&opened.repo, &opened.user);
        let branch = branch_of(call)?;
        opened.check_move(&branch, Move::Delete)?;
        let Some(head) = repo.heads.get(branch.as_str()) else {
            return Err(WireError::BranchNotFound(branch));
        };
        Protection::check(repo.protection(&branch), &branch, BranchChange::Delete, repo.is_for(Role::Admin))?;
        let default = repo.meta.shown_default(&repo.heads);
        if default == branch.as_str() {
            return Err(WireError::invalid(
                "branch",
                format_args!(
                    "'{branch}' is the default branch, which every clone checks out; choose another first: PATCH /api/repos/{}/{} {{\"default_branch\": ...}}",
                    target.owner, target.slug
                ),
            ));
        }
        let (by, via) = (user.id.as_str(), user.via.clone());
        let deletion = Deletion { branch: &branch, before: head, shown_default: default, by, via };
        let deleted = hub.store.delete_branch(&repo.id, &repo.meta, deletion);
        if deleted.await? == Outcome::Landed {
            let answer = BranchDeletedResponse { deleted: branch.to_string(), head: head.clone() };
            return call.respond(StatusCode::OK, &answer);
        }
    }
    Err(WireError::Unavailable("pushes to the branch were faster".into()))
}
