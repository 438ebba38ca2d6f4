//! `POST /api/repos/{owner}/{slug}/branches/{branch}/restore`
//!
//! A branch that was moved or deleted by mistake goes back to where it was. That is a push of nothing, forced, whose lease is the head
//! that the push log was read for. So it has all that a push has: what the branch is to reach is all there, or it is refused; a branch
//! that is made again lies beside the others; and of two that race one is planned again. What is condemned is revived first, all of it.

use common::id::{BranchName, CommitId};
use common::push::{BranchChange, Protection, ValidatedBundle};
use common::wire::WireError;
use common::wire::branches::{RestoreRequest, RestoreResponse};
use common::wire::names::check_branch;
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::auth::grant::Move;
use service::{Access, AnswerBody, Call, Hub};
use store::table::items::Role;
use store::table::undo::Restorable;

use crate::moves::Way;
use crate::{LOAD, land};

/// How often a push to the branch may be faster.
const ATTEMPTS: usize = 20;

/// Restores a branch, for every writer, and for admins alone if it is protected.
pub async fn restore(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let opened = hub.open(Some(&token), &target, Access::Branch, LOAD).await?;
        let repo = &opened.repo;
        let branch = check_branch("branch", &call.path_parameter("branch").unwrap_or_default())?;
        // All of it may be left out.
        let RestoreRequest { to } = match call.body_bytes() {
            [] => RestoreRequest { to: None },
            _ => call.decode()?,
        };
        opened.check_move(&branch, Move::Force)?;
        let is_admin = repo.is_for(Role::Admin);
        Protection::check(repo.protection(&branch), &branch, BranchChange::Restore, is_admin)?;
        let head = repo.heads.get(branch.as_str()).cloned();
        let found = hub.store.restorable(&repo.id, &branch, head.as_ref(), to.as_ref()).await?;
        let to = said(found, &branch, head.as_ref(), to.as_ref())?;
        if head.as_ref() == Some(&to) {
            return respond(call, branch, head.clone(), to);
        }
        let mut bundle = ValidatedBundle::of_move(branch.clone(), head.clone(), to.clone(), hub.settings.ids);
        match land(hub, &token, &target, &mut bundle, opened, Way::Restore).await {
            Ok(_) => return respond(call, branch, head, to),
            // It was moved since its log was read.
            Err(WireError::StaleHead { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(WireError::Unavailable("pushes to the branch were faster".into()))
}

/// The commit that the log says, or why there is none.
fn said(
    found: Restorable,
    branch: &BranchName,
    head: Option<&CommitId>,
    to: Option<&CommitId>,
) -> Result<CommitId, WireError> {
    let reason = match (found, to) {
        (Restorable::To(commit), _) => return Ok(commit),
        (Restorable::NoLine, _) if head.is_none() => return Err(WireError::BranchNotFound(branch.clone())),
        (Restorable::OnlyMade, _) => "it was made and not moved since, so there is nothing to undo".to_owned(),
        (Restorable::TooLong, _) => {
            "the push log is too long to look through: push the branch to the commit, with force".to_owned()
        }
        (Restorable::NoLine | Restorable::NotSaid, Some(to)) => {
            format!("the push log of the last 90 days does not name commit '{to}' as a head of '{branch}'")
        }
        (Restorable::NoLine | Restorable::NotSaid, None) => {
            format!("the push log of the last 90 days does not say where '{branch}' was before")
        }
    };
    Err(WireError::invalid(if to.is_some() { "to" } else { "branch" }, reason))
}

fn respond(
    call: &Call,
    branch: BranchName,
    before: Option<CommitId>,
    head: CommitId,
) -> Result<Response<AnswerBody>, WireError> {
    call.respond(StatusCode::OK, &RestoreResponse { branch, before, head })
}
