//! Links by which a repo can be read without a token: `muse clone` sends none.

use std::time::Duration;

use common::time;
use common::wire::WireError;
use common::wire::limits::MAX_LINK_SECONDS;
use common::wire::request::{LinkListResponse, LinkRequest, LinkResponse, RevokedResponse};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::{Access, AnswerBody, Call, Hub, Opened};
use store::repo::Load;
use store::table::items::LinkItem;
use store::table::link_key::{LinkKey, draw_secret};
use store::table::transaction::Outcome;

use crate::{name_of, seconds};

const ADMINISTER: Access = Access::Administer("see or change the links to it");
/// For how long a link leads to its repo if its maker does not say.
const A_WEEK: u64 = 7 * 24 * 60 * 60;

/// `POST …/links`
pub(crate) async fn create(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let Opened { repo, user, .. } = hub.open(Some(&token), &call.target()?, ADMINISTER, Load::NOTHING).await?;
    // Before anything is made.
    let url = call.hub_url(hub)?;
    let request: LinkRequest<'_> = call.decode()?;
    let ttl = Duration::from_secs(seconds(request.ttl_seconds, MAX_LINK_SECONDS, A_WEEK)?);
    let ambient = hub.store.ambient();
    let secret = draw_secret(ambient);
    let item = LinkItem {
        id: ambient.ulid().to_string(),
        name: name_of("name", request.name.as_deref())?,
        created_by: user.id,
        created_at: ambient.now_iso(),
        expires_at: time::whole_second(time::after(ambient.now(), ttl)),
    };
    let still = hub.store.still_administers(&repo, &item.created_by)?;
    if hub.store.put_link(&repo.id, &LinkKey::of_secret(&secret), &item, still).await? == Outcome::Conflict {
        // It is deleted, or who asked is no admin any more.
        return Err(WireError::RepoNotFound);
    }
    let clone_url = format!("{url}/-/{secret}/{}/{}", repo.meta.owner, repo.meta.slug);
    call.respond(StatusCode::CREATED, &LinkResponse { clone_url: Some(clone_url), ..response(&item) })
}

/// `GET …/links`
pub(crate) async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let repo = hub.open(Some(&token), &call.target()?, ADMINISTER, Load::NOTHING).await?.repo;
    let links = hub.store.links(&repo.id).await?;
    let links = links.iter().map(|(_, item)| response(item)).collect();
    call.respond(StatusCode::OK, &LinkListResponse { links })
}

/// `DELETE …/links/{id}`
pub(crate) async fn revoke(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let repo = hub.open(Some(&token), &call.target()?, ADMINISTER, Load::NOTHING).await?.repo;
    let id = call.path_parameter("id").unwrap_or_default();
    let links = hub.store.links(&repo.id).await?;
    let Some((key, _)) = links.iter().find(|(_, item)| item.id == id) else {
        return Err(WireError::LinkNotFound(id.chars().take(100).collect()));
    };
    hub.store.delete_link(&repo.id, key).await?;
    call.respond(StatusCode::OK, &RevokedResponse { revoked: id })
}

/// The link without its secret.
fn response(item: &LinkItem) -> LinkResponse<'_> {
    LinkResponse {
        id: item.id.as_str().into(),
        name: item.name.as_str().into(),
        created_by: item.created_by.as_str().into(),
        created_at: item.created_at.as_str().into(),
        expires_at: time::iso(item.expires_at),
        clone_url: None,
    }
}
