//! `POST /api/repos/{owner}/{slug}/forks` makes a repo of the caller's own that begins with what another has. No bytes are copied.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::id::Slug;
use common::pack::PackSummary;
use common::wire::WireError;
use common::wire::limits::{MAX_POOL, MAX_POOL_OF_USER, MAX_TEXT_LENGTH};
use common::wire::request::{ForkRequest, RepoResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::repos::{described, handle_of, taken};
use service::{Access, AnswerBody, Call, Hub};
use store::repo::{Load, Repo};
use store::table::account::NewRepo;
use store::table::items::Visibility;
use store::upkeep::fork::Forked;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { fork(hub, &call).await }).await
}

async fn fork(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let user = hub.maker(&token).await?;
    let origin = hub.open(Some(&token), &call.target()?, Access::Read, Load::HISTORY).await?.repo;
    // Before anything is made.
    let url = call.hub_url(hub)?;
    let request: ForkRequest<'_> = call.decode()?;
    let owner = handle_of(hub, &user.id).await?;

    let new = new_repo(hub, &origin, owner, &user.id, &request)?;
    let (owner, slug) = (&new.meta.owner, &new.meta.slug);
    if hub.store.named(owner, slug).await?.is_some() {
        return Err(taken(hub, owner, slug).await?);
    }
    hub.check_repos(&user.id, owner).await?;
    let bytes = PackSummary::stored_bytes(origin.packs.iter().map(|(_, summary)| summary));
    hub.check_quota(&Repo::to_be_made(new.clone()), bytes).await?;

    match hub.store.fork(&origin, &new).await? {
        Forked::Made => {}
        Forked::Taken => return Err(taken(hub, owner, slug).await?),
        Forked::TooMany => return Err(WireError::TooMany { what: OF_ALL, sent: MAX_POOL + 1, limit: MAX_POOL }),
        Forked::TooManyOfUser => {
            return Err(WireError::TooMany { what: OF_USER, sent: MAX_POOL_OF_USER + 1, limit: MAX_POOL_OF_USER });
        }
        Forked::Changed => return Err(WireError::Unavailable("the repository was changed meanwhile".into())),
        Forked::Incomplete => return Err(WireError::Invalid(INCOMPLETE.to_owned())),
        Forked::TooLarge => return Err(WireError::Invalid(TOO_LARGE.to_owned())),
    }
    let name = format!("{}/{}", origin.meta.owner, origin.meta.slug);
    let made = RepoResponse {
        forked_from: Some(name.into()),
        ..described(&url, &new.id, &new.meta, Some(new.meta.shown_default(&origin.heads)))
    };
    call.respond(StatusCode::CREATED, &made)
}

const INCOMPLETE: &str = "the repository names something that it does not have, so it is not known what a fork would need: its operator can look with 'musehub fsck'";
const TOO_LARGE: &str = "the repository is too large to look through for a fork, or too many of its bytes lie beside records that no branch, tag or release reaches and that a fork does not get: clone it, and push the clone to a repository of your own";
const OF_ALL: &str = "forks of this repository and of its forks, of which one that was deleted counts for 30 days";
const OF_USER: &str =
    "forks of this repository and of its forks that are yours, of which one that was deleted counts for 30 days";

/// What a fork will be called, and who may know of it: as of the repo that it is made of, where the request does not say.
fn new_repo(
    hub: &Hub,
    origin: &Repo,
    owner: Slug,
    user_id: &str,
    request: &ForkRequest<'_>,
) -> Result<NewRepo, WireError> {
    let of = &origin.meta;
    let name = request.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let slug = name.map_or_else(|| Ok(of.slug.clone()), Slug::from_name);
    let slug = slug.map_err(|reason| WireError::invalid("name", reason))?;
    for (field, text) in [("name", name), ("description", request.description.as_deref())] {
        WireError::check_text(field, text.unwrap_or_default(), MAX_TEXT_LENGTH)?;
    }
    let visibility = match (request.is_private, of.visibility) {
        (None, visibility) => visibility,
        (Some(true), _) => Visibility::Private,
        (Some(false), Visibility::Public) => Visibility::Public,
        (Some(false), Visibility::Private) => {
            return Err(WireError::invalid("is_private", "a fork of a private repository is private"));
        }
    };
    let mut new = NewRepo::new(&hub.store, owner, user_id, slug, visibility).fork_of(&hub.store, origin);
    new.meta.name = name.unwrap_or(&of.name).to_owned();
    new.meta.description = request.description.as_deref().unwrap_or(&of.description).to_owned();
    Ok(new)
}
