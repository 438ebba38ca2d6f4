//! Repos themselves: `POST /api/repos` makes one under the handle of the token's user, `GET /api/repos` lists those of an
//! owner, `GET /api/repos/{owner}/{slug}` says what one is, `PATCH` of the same changes what is said of it and who may
//! know of it, `DELETE` deletes it and `POST …/undelete` undeletes it, `POST /api/repos/{owner}/{slug}/purge` hides
//! objects from all requests.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod change;
mod delete;
mod purge;
mod show;

use common::id::Slug;
use common::wire::domain::Domain;
use common::wire::limits::MAX_TEXT_LENGTH;
use common::wire::names::check_branch;
use common::wire::request::{RepoRequest, RepoResponse};
use common::wire::{Text, WireError};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, Response};
use service::Hub;
use service::repos::{described, handle_of, taken};
use service::{AnswerBody, Call};
use store::table::account::NewRepo;
use store::table::items::Visibility;
use store::table::transaction::Outcome;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match *call.method() {
            Method::PATCH => change::change(hub, &call).await,
            Method::DELETE => delete::delete(hub, &call).await,
            Method::GET if call.route_path().ends_with("/purge") => purge::list(hub, &call).await,
            Method::GET if call.route_path() == "/api/repos" => show::list(hub, &call).await,
            Method::GET => show::one(hub, &call).await,
            _ if call.path().ends_with("/undelete") => delete::undelete(hub, &call).await,
            _ if call.path().ends_with("/purge") => purge::purge(hub, &call).await,
            // `muse domains publish`, which would otherwise get no answer that a person understands.
            _ if call.path().ends_with("/api/v1/domains") => Err(WireError::NoDomains),
            _ => create(hub, &call).await,
        }
    })
    .await
}

async fn create(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let user = hub.maker(&token).await?;
    // Before anything is made.
    let url = call.hub_url(hub)?;
    let request: RepoRequest<'_> = call.decode()?;
    let slug = Slug::from_name(&request.name).map_err(|reason| WireError::invalid("name", reason))?;
    for (field, text) in [("name", Some(&request.name)), ("description", request.description.as_ref())] {
        WireError::check_text(field, text.map_or("", |text| text), MAX_TEXT_LENGTH)?;
    }
    let domain = chosen_domain(request.domain.as_ref())?;
    let owner = handle_of(hub, &user.id).await?;
    let visibility = if request.is_private.unwrap_or(false) { Visibility::Private } else { Visibility::Public };

    hub.check_repos(&user.id, &owner).await?;
    let mut repo = NewRepo::new(&hub.store, owner, &user.id, slug, visibility);
    repo.meta.name = request.name.trim().to_owned();
    repo.meta.description = request.description.as_deref().unwrap_or_default().to_owned();
    repo.meta.domain = domain.map(Domain::as_str).unwrap_or_default().to_owned();
    if let Some(branch) = request.default_branch {
        let branch = check_branch("default_branch", &branch)?;
        repo.meta.default_branch = branch.to_string();
        repo.meta.default_is_chosen = true;
    }
    if hub.store.create_repo(&repo).await? == Outcome::Conflict {
        return Err(taken(hub, &repo.meta.owner, &repo.meta.slug).await?);
    }
    let made = RepoResponse {
        description: None,
        created_at: None,
        ..described(&url, &repo.id, &repo.meta, Some(&repo.meta.default_branch))
    };
    call.respond(StatusCode::CREATED, &made)
}

/// What kind of content a request says that a repo holds; none if it says nothing.
fn chosen_domain(given: Option<&Text<'_>>) -> Result<Option<Domain>, WireError> {
    let given = given.map(|domain| &**domain).filter(|domain| !domain.is_empty());
    given.map(str::parse).transpose().map_err(|reason| WireError::invalid("domain", reason))
}
