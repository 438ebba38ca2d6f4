//! `GET /api/repos/{owner}/{slug}` and `GET /api/repos`

use common::id::Slug;
use common::wire::WireError;
use common::wire::limits::MAX_REPOS_LISTED;
use common::wire::request::{RepoListResponse, RepoResponse};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::auth::{Credential, User};
use service::repos::described;
use service::{Access, AnswerBody, Call, Hub};
use store::repo::{Asker, Load};

/// Repos in one answer, unless the client asks for fewer or more.
const LISTED: usize = 30;
/// Characters of a handle that a refusal shows.
const SHOWN: usize = 100;

/// What a repo is, for its readers.
pub async fn one(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let repo = hub.open(credential.as_ref(), &call.target()?, Access::Read, Load::HEADS).await?.repo;
    let url = call.hub_url(hub)?;
    // What it is a fork of is for those who may know of that, under the name that it has now.
    let origin = match &repo.meta.forked_from {
        Some(origin) => {
            let asker = credential.as_ref().map_or(Asker::default(), Credential::asker);
            hub.store.readable_repo(origin, asker, Load::NOTHING).await?
        }
        None => None,
    };
    let answer = RepoResponse {
        forked_from: origin.map(|origin| format!("{}/{}", origin.meta.owner, origin.meta.slug).into()),
        ..described(&url, &repo.id, &repo.meta, Some(repo.meta.shown_default(&repo.heads)))
    };
    call.respond(StatusCode::OK, &answer)
}

/// The repos of an owner that the caller may read; without an owner, the caller's own. Those that are deleted are only for their
/// owner, and only where they are asked for.
pub async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let given = |name: &str| call.query_parameter(name);
    let owner = given("owner");
    let credential = match &owner {
        Some(_) => call.credential(hub).await?,
        None => Some(call.token(hub).await?),
    };
    let user = match &credential {
        Some(credential) => hub.user(credential).await?,
        None => User::default(),
    };
    let user_id = match owner {
        Some(owner) => user_of(hub, &owner).await?,
        None => user.id.clone(),
    };
    let url = call.hub_url(hub)?;
    let after: Option<Slug> = given("after")
        .map(|after| after.parse())
        .transpose()
        .map_err(|_| WireError::invalid("after", "it is no cursor of this list"))?;
    let limit = limit(given("limit").as_deref())?;
    let reader = credential.as_ref().map_or(Asker::default(), Credential::asker);
    let is_owner = user.id == user_id && credential.as_ref().is_some_and(Credential::is_for_all_repos);
    let (repos, has_more) = match is_set("deleted", given("deleted").as_deref())? {
        false => hub.store.readable_repos_of_user(&user_id, reader, after.as_ref(), limit).await?,
        true if is_owner => hub.store.deleted_repos_of_user(&user_id, after.as_ref(), limit).await?,
        true => return Err(WireError::invalid("deleted", "only an owner can list what they have deleted")),
    };
    let next = repos.last().filter(|_| has_more).map(|repo| repo.name.as_str().into());
    let repos = repos.iter().map(|repo| described(&url, &repo.id, &repo.meta, None)).collect();
    call.respond(StatusCode::OK, &RepoListResponse { repos, next })
}

/// The user that has a handle, which people type in either case.
async fn user_of(hub: &Hub, owner: &str) -> Result<String, WireError> {
    let user_id = match owner.to_ascii_lowercase().parse::<Slug>() {
        Ok(handle) => hub.store.user_of_handle(&handle).await?,
        Err(_) => None,
    };
    user_id.ok_or_else(|| {
        let shown: String = owner.chars().take(SHOWN).collect();
        WireError::OwnerNotFound(shown.escape_debug().to_string())
    })
}

fn is_set(name: &str, given: Option<&str>) -> Result<bool, WireError> {
    match given {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(WireError::invalid(name, "it is true or false")),
    }
}

fn limit(given: Option<&str>) -> Result<usize, WireError> {
    let Some(given) = given else { return Ok(LISTED) };
    let limit = given.parse().ok().filter(|limit| (1..=MAX_REPOS_LISTED).contains(limit));
    limit.ok_or_else(|| WireError::invalid("limit", format_args!("it is a number from 1 to {MAX_REPOS_LISTED}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_repos_as_the_client_says_within_bounds() {
        assert_eq!(limit(None).unwrap(), LISTED);
        assert_eq!([limit(Some("1")).unwrap(), limit(Some("100")).unwrap()], [1, 100]);
        for none in ["0", "101", "-1", "1.5", "many", "99999999999999999999"] {
            assert!(limit(Some(none)).unwrap_err().to_string().starts_with("limit: "), "{none}");
        }
    }
}
