//! `POST /api/repos`: makes a repo under the handle of the token's user.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::Hub;
use common::id::{BranchName, Slug};
use common::service::{AnswerBody, Call};
use common::store::account::NewRepo;
use common::store::change::Outcome;
use common::store::items::Visibility;
use common::wire::Error;
use common::wire::domain::Domain;
use common::wire::limits::MAX_TEXT_LENGTH;
use common::wire::request::{RepoRequest, RepoResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { create(hub, &call).await }).await
}

async fn create(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, Error> {
    let caller = call.user(hub).await?;
    let request: RepoRequest<'_> = call.decode()?;
    let slug = Slug::from_name(&request.name).map_err(|reason| Error::invalid("name", reason))?;
    for (field, text) in [("name", Some(&request.name)), ("description", request.description.as_ref())] {
        Error::check_text(field, text.map_or("", |text| text), MAX_TEXT_LENGTH)?;
    }
    let domain = request.domain.as_deref().filter(|domain| !domain.is_empty());
    let domain: Option<Domain> =
        domain.map(str::parse).transpose().map_err(|reason| Error::invalid("domain", reason))?;
    let profile = hub.store.profile(&caller.user_id).await?;
    let owner = profile
        .ok_or_else(|| {
            Error::Invalid("you have no handle yet: POST /api/identities {\"handle\": ...} first".to_owned())
        })?
        .handle;
    let visibility = if request.is_private.unwrap_or(false) { Visibility::Private } else { Visibility::Public };

    let mut repo = NewRepo::new(&hub.store, owner, &caller.user_id, slug, visibility);
    repo.meta.name = request.name.trim().to_owned();
    repo.meta.description = request.description.as_deref().unwrap_or_default().to_owned();
    repo.meta.domain = domain.map(Domain::as_str).unwrap_or_default().to_owned();
    if let Some(branch) = request.default_branch {
        let branch: BranchName = branch.parse().map_err(|reason| Error::invalid("default_branch", reason))?;
        repo.meta.default_branch = branch.to_string();
    }
    let meta = &repo.meta;
    if hub.store.create_repo(&repo).await? == Outcome::Conflict {
        return Err(Error::RepoExists(format!("{}/{}", meta.owner, meta.slug)));
    }
    let answer = RepoResponse {
        repo_id: repo.id.as_str(),
        owner: meta.owner.as_str(),
        slug: meta.slug.as_str(),
        name: &meta.name,
        visibility: meta.visibility.as_str(),
        domain: domain.unwrap_or_default().as_str(),
        default_branch: &meta.default_branch,
        clone_url: &format!("{}/{}/{}", call.hub_url(hub), meta.owner, meta.slug),
    };
    call.respond(StatusCode::CREATED, &answer)
}
