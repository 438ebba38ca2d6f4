//! Repos themselves: `POST /api/repos` makes one under the handle of the token's user, `PATCH
//! /api/repos/{owner}/{slug}` changes what is said of one and who may know of it, `POST
//! /api/repos/{owner}/{slug}/purge` hides objects from all requests.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod change;
mod purge;

use common::id::Slug;
use common::wire::domain::Domain;
use common::wire::limits::MAX_TEXT_LENGTH;
use common::wire::names::check_branch;
use common::wire::request::{RepoRequest, RepoResponse};
use common::wire::{Text, WireError};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, Response};
use service::Hub;
use service::{AnswerBody, Call};
use store::table::account::NewRepo;
use store::table::items::{MetaItem, Visibility};
use store::table::transaction::Outcome;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::PATCH => change::change(hub, &call).await,
            Method::GET => purge::list(hub, &call).await,
            _ if call.path().ends_with("/purge") => purge::purge(hub, &call).await,
            // `muse domains publish`, which would otherwise get no answer that a person understands.
            _ if call.path().ends_with("/api/v1/domains") => Err(WireError::NoDomains),
            _ => create(hub, &call).await,
        }
    })
    .await
}

async fn create(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let caller = call.user(hub).await?;
    // Before anything is made.
    let url = call.hub_url(hub)?;
    let request: RepoRequest<'_> = call.decode()?;
    let slug = Slug::from_name(&request.name).map_err(|reason| WireError::invalid("name", reason))?;
    for (field, text) in [("name", Some(&request.name)), ("description", request.description.as_ref())] {
        WireError::check_text(field, text.map_or("", |text| text), MAX_TEXT_LENGTH)?;
    }
    let domain = chosen_domain(request.domain.as_ref())?;
    let profile = hub.store.profile(&caller.user_id).await?;
    let owner = profile
        .ok_or_else(|| {
            WireError::Invalid("you have no handle yet: POST /api/identities {\"handle\": ...} first".to_owned())
        })?
        .handle;
    let visibility = if request.is_private.unwrap_or(false) { Visibility::Private } else { Visibility::Public };

    let mut repo = NewRepo::new(&hub.store, owner, &caller.user_id, slug, visibility);
    repo.meta.name = request.name.trim().to_owned();
    repo.meta.description = request.description.as_deref().unwrap_or_default().to_owned();
    repo.meta.domain = domain.map(Domain::as_str).unwrap_or_default().to_owned();
    if let Some(branch) = request.default_branch {
        let branch = check_branch("default_branch", &branch)?;
        repo.meta.default_branch = branch.to_string();
        repo.meta.default_is_chosen = true;
    }
    if hub.store.create_repo(&repo).await? == Outcome::Conflict {
        return Err(WireError::RepoExists(format!("{}/{}", repo.meta.owner, repo.meta.slug)));
    }
    let default_branch = &repo.meta.default_branch;
    respond(&url, call, StatusCode::CREATED, repo.id.as_str(), &repo.meta, default_branch)
}

/// What kind of content a request says that a repo holds; none if it says nothing.
fn chosen_domain(given: Option<&Text<'_>>) -> Result<Option<Domain>, WireError> {
    let given = given.map(|domain| &**domain).filter(|domain| !domain.is_empty());
    given.map(str::parse).transpose().map_err(|reason| WireError::invalid("domain", reason))
}

/// Answers with what a repo is, of a hub at `url`.
fn respond(
    url: &str,
    call: &Call,
    status: StatusCode,
    repo_id: &str,
    meta: &MetaItem,
    default_branch: &str,
) -> Result<Response<AnswerBody>, WireError> {
    let answer = RepoResponse {
        repo_id: repo_id.into(),
        owner: meta.owner.as_str().into(),
        slug: meta.slug.as_str().into(),
        name: meta.name.as_str().into(),
        visibility: meta.visibility.as_str().into(),
        domain: Domain::of_stored(&meta.domain).as_str().into(),
        description: (status == StatusCode::OK).then(|| meta.description.as_str().into()),
        default_branch: default_branch.into(),
        clone_url: format!("{url}/{}/{}", meta.owner, meta.slug).into(),
    };
    call.respond(status, &answer)
}
