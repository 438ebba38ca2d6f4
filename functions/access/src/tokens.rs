//! Tokens that users mint: each allows less than its user may do, and is good until it expires or is revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::id::RepoId;
use common::time;
use common::wire::limits::MAX_TOKEN_SECONDS;
use common::wire::request::{RevokedResponse, TokenListResponse, TokenRequest, TokenResponse};
use common::wire::{Text, WireError};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::auth::Credential;
use service::auth::grant::{Grant, check_pattern};
use service::{Access, AnswerBody, Call, Hub, Target};
use store::repo::Load;
use store::table::items::{Role, TokenItem};

use crate::{name_of, seconds};

const WHOLE_ONLY: &str = "tokens are minted and listed with the user's own token";
/// For how long a token is good if its user does not say.
const A_MONTH: u64 = 30 * 24 * 60 * 60;

/// `POST /api/tokens`
pub(crate) async fn mint(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.token(hub).await?;
    let user = hub.whole_user(&credential, WHOLE_ONLY).await?;
    let request: TokenRequest<'_> = call.decode()?;
    let access = request.access.as_deref().map_or(Ok(Role::Read), Role::of_member);
    let access = access.map_err(|reason| WireError::invalid("access", reason))?;
    let (may_force, may_delete) = (request.may_force, request.may_delete);
    let branches = request.branches.map(|names| names.within("branches")).transpose()?;
    let branches = some("branches", branches)?.map(|names| patterns_of(&names)).transpose()?;
    check_branches(access, branches.as_deref(), may_force, may_delete)?;
    let agent = Some(name_of("agent_name", request.agent_name.as_deref())?).filter(|agent| !agent.is_empty());
    let name = name_of("name", request.name.as_deref())?;
    let ambient = hub.store.ambient();
    // No longer than the token that it comes from, as it allows no more.
    let left = credential.seconds_left(ambient.now());
    let ttl = seconds(request.ttl_seconds, MAX_TOKEN_SECONDS, A_MONTH.min(left))?;
    if ttl > left {
        let reason =
            format_args!("the token that you send is good for {left} more, and none that it mints is good for longer");
        return Err(WireError::invalid("ttl_seconds", reason));
    }
    let repos = request.repos.map(|names| names.within("repos")).transpose()?;
    let repos = match some("repos", repos)? {
        Some(names) => Some(repos_of(hub, &credential, &names).await?),
        None => None,
    };

    let id = ambient.ulid().to_string();
    let grant = Grant {
        id: id.clone(),
        repos: repos.as_ref().map(|repos| repos.keys().cloned().collect::<BTreeSet<RepoId>>()),
        access,
        branches: branches.clone(),
        force: may_force,
        delete: may_delete,
    };
    let ttl = Duration::from_secs(ttl);
    let token = hub.tokens().await?.mint_narrowed(&user.id, ttl, &grant, agent.as_deref())?;
    let item = TokenItem {
        name,
        agent,
        repos,
        access,
        branches,
        may_force,
        may_delete,
        created_at: ambient.now_iso(),
        expires_at: time::whole_second(time::after(ambient.now(), ttl)),
    };
    hub.store.put_token(&user.id, &id, &item).await?;
    call.respond(StatusCode::CREATED, &TokenResponse { token: Some(token), ..response(&id, &item) })
}

/// The repos that are named, by their ids. The token is for these, whatever they are called later.
async fn repos_of(
    hub: &Hub,
    credential: &Credential,
    names: &[Text<'_>],
) -> Result<BTreeMap<RepoId, String>, WireError> {
    let mut repos = BTreeMap::new();
    for name in names {
        let target: Target = name.parse().map_err(|reason| WireError::invalid("repos", reason))?;
        let opened = hub.open(Some(credential), &target, Access::Read, Load::NOTHING).await;
        let opened = opened.map_err(|error| match error {
            WireError::RepoNotFound => {
                WireError::invalid("repos", format_args!("there is no repository '{target}', or you may not read it"))
            }
            other => other,
        })?;
        repos.insert(opened.repo.id, target.to_string());
    }
    Ok(repos)
}

/// Patterns of branches, each of which is one.
fn patterns_of(names: &[Text<'_>]) -> Result<Vec<String>, WireError> {
    let pattern = |name: &Text<'_>| match check_pattern(name) {
        Ok(()) => Ok(name.to_string()),
        Err(reason) => Err(WireError::invalid("branches", reason)),
    };
    names.iter().map(pattern).collect()
}

/// A list that names something, if it is there.
fn some<'a>(field: &'static str, list: Option<Vec<Text<'a>>>) -> Result<Option<Vec<Text<'a>>>, WireError> {
    match &list {
        Some(list) if list.is_empty() => {
            Err(WireError::invalid(field, "name at least one; leave the list out for all"))
        }
        _ => Ok(list),
    }
}

/// Refuses a token that says what it cannot mean.
fn check_branches(
    access: Role,
    branches: Option<&[String]>,
    may_force: bool,
    may_delete: bool,
) -> Result<(), WireError> {
    match access {
        Role::Read if branches.is_some() || may_force || may_delete => Err(WireError::invalid(
            "access",
            "a token that only reads pushes to no branch: say 'write', or leave out branches, may_force and may_delete",
        )),
        Role::Admin if branches.is_some() => {
            Err(WireError::invalid("branches", "a token for some branches cannot have the access 'admin'"))
        }
        _ => Ok(()),
    }
}

/// `GET /api/tokens`
pub(crate) async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let user = hub.whole_user(&call.token(hub).await?, WHOLE_ONLY).await?;
    let tokens = hub.store.tokens(&user.id).await?;
    let tokens = tokens.iter().map(|(id, item)| response(id, item)).collect();
    call.respond(StatusCode::OK, &TokenListResponse { tokens })
}

/// `DELETE /api/tokens/{id}`: a token may revoke itself.
pub(crate) async fn revoke(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.token(hub).await?;
    let id = call.path_parameter("id").unwrap_or_default();
    let user = hub.user(&credential).await?;
    let is_itself = user.via.as_ref().and_then(|via| via.token.as_deref()) == Some(id.as_str());
    let user = if is_itself { user } else { hub.whole_user(&credential, WHOLE_ONLY).await? };
    let is_id = ulid::Ulid::from_string(&id).is_ok();
    if !is_id || !hub.store.delete_token(&user.id, &id).await? {
        return Err(WireError::TokenNotFound(id.chars().take(100).collect()));
    }
    call.respond(StatusCode::OK, &RevokedResponse { revoked: id })
}

/// The token without what it is shown by.
fn response<'a>(id: &'a str, item: &'a TokenItem) -> TokenResponse<'a> {
    TokenResponse {
        id: id.into(),
        name: item.name.as_str().into(),
        agent_name: item.agent.as_deref().map(Into::into),
        repos: item.repos.as_ref().map(|repos| repos.values().map(|name| name.as_str().into()).collect()),
        access: item.access.as_str().into(),
        branches: item.branches.as_deref().map(Into::into),
        may_force: item.may_force,
        may_delete: item.may_delete,
        created_at: item.created_at.as_str().into(),
        expires_at: time::iso(item.expires_at),
        token: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_nothing_that_it_cannot_mean() {
        let main = ["main".to_owned()];
        for access in Role::OF_MEMBERS {
            for branches in [None, Some(&main[..])] {
                for (may_force, may_delete) in [(false, false), (true, false), (false, true)] {
                    let says_something = branches.is_some() || may_force || may_delete;
                    let means_it = match access {
                        Role::Read => !says_something,
                        Role::Admin => branches.is_none(),
                        _ => true,
                    };
                    let checked = check_branches(access, branches, may_force, may_delete);
                    assert_eq!(checked.is_ok(), means_it, "{access:?} {branches:?} {may_force} {may_delete}");
                }
            }
        }
    }
}
