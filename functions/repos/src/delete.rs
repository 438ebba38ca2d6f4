//! `DELETE /api/repos/{owner}/{slug}` and `POST /api/repos/{owner}/{slug}/undelete`

use common::id::RepoId;
use common::time;
use common::wire::WireError;
use common::wire::error::with_causes;
use common::wire::request::RepoDeletedResponse;
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::auth::User;
use service::repos::described;
use service::{Access, AnswerBody, Call, Hub, Opened, Target};
use store::repo::Load;
use store::table::items::MetaItem;
use store::table::transaction::Outcome;

/// How often something else may change of the repo while this is about to.
const ATTEMPTS: usize = 20;

/// Deletes a repo, for its owner. From the answer on it is there for no request, and its owner can undelete it for a while.
pub async fn delete(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let access = Access::Own("delete it");
        let Opened { repo, user, .. } = hub.open(Some(&token), &target, access, Load::NOTHING).await?;
        let (outcome, kept_until) = hub.store.delete_repo(&repo.id, &user.id).await?;
        if outcome == Outcome::Landed {
            // The list of public repos is only a hint, and readers look, so nothing depends on this.
            if let Err(error) = hub.store.unlist(&repo.id).await {
                tracing::error!(repo = %repo.id, causes = with_causes(&error), "a deleted repository is still listed");
            }
            let answer = RepoDeletedResponse {
                repo_id: repo.id.to_string(),
                deleted: format!("{}/{}", repo.meta.owner, repo.meta.slug),
                kept_until: time::iso(kept_until),
            };
            return call.respond(StatusCode::OK, &answer);
        }
    }
    Err(WireError::Unavailable("the repository was being changed by others".into()))
}

/// Undeletes a repo, for its owner. One that is not deleted is answered as it is.
pub async fn undelete(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let there = hub.open(Some(&token), &target, Access::Own("undelete it"), Load::HEADS).await;
        let refusal = match there {
            Ok(Opened { repo, .. }) => {
                let url = call.hub_url(hub)?;
                let answer = described(&url, &repo.id, &repo.meta, Some(repo.meta.shown_default(&repo.heads)));
                return call.respond(StatusCode::OK, &answer);
            }
            Err(refusal @ WireError::RepoNotFound) => refusal,
            Err(refusal) => return Err(refusal),
        };
        let user = hub.whole_user(&token, "a repository is undeleted with its owner's own token").await?;
        let Some((id, meta)) = deleted(hub, &user, &target).await? else {
            return Err(refusal);
        };
        // Before anything is changed.
        call.hub_url(hub)?;
        if hub.store.undelete_repo(&id, &meta, &user.id).await? == Outcome::Landed {
            list(hub, &id, &meta).await;
        }
    }
    Err(WireError::Unavailable("the repository was being changed by others".into()))
}

/// A deleted repo of the caller's own that can be undeleted. Under the names of others nothing is looked for, so that their private
/// repos are answered after the same reads as those that there are not.
async fn deleted(hub: &Hub, user: &User, target: &Target) -> Result<Option<(RepoId, MetaItem)>, WireError> {
    let profile = hub.store.profile(&user.id).await?;
    if profile.is_none_or(|profile| profile.handle != target.owner) {
        return Ok(None);
    }
    let Some((id, Some(meta))) = hub.store.named(&target.owner, &target.slug).await? else {
        return Ok(None);
    };
    let now = hub.store.ambient().now();
    let is_kept = meta.owner_user_id == user.id && meta.kept_until().is_some_and(|until| until > now);
    Ok(is_kept.then_some((id, meta)))
}

/// Puts a repo back into the list of public ones, as when it was pushed to last.
async fn list(hub: &Hub, id: &RepoId, deleted: &MetaItem) {
    let listed = async {
        let last = hub.store.push_log(id, None, 1).await?;
        match last.first().and_then(|(_, line)| line.at.parse().ok()) {
            Some(at) => hub.store.list_as_pushed(id, &MetaItem { deleted_at: None, ..deleted.clone() }, at).await,
            None => Ok(()),
        }
    };
    if let Err(error) = listed.await {
        tracing::error!(repo = %id, causes = with_causes(&error), "an undeleted repository was not listed");
    }
}
