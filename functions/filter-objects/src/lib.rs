//! `POST /filter-objects`: which of these objects a push would have to bring.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::HashSet;

use common::id::{ObjectId, ObjectKey};
use common::wire::WireError;
use common::wire::request::{FilterObjectsRequest, FilterObjectsResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call, Opened, log_fault};
use store::read::view::View;
use store::repo::{Load, Repo};

const NEED: Load = Load { uploads: true, ..Load::RELIABLE_HISTORY };

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { filter_objects(hub, &call).await }).await
}

async fn filter_objects(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    let Opened { repo, mut view, user, .. } = hub.open(Some(&token), &target, Access::Push, NEED).await?;
    let request: FilterObjectsRequest = call.decode()?;
    let asked = request.object_ids.within("object_ids")?;
    if repo.has_uploads {
        let missing = missing(hub, &repo, &view, &asked).await?;
        if !missing.is_empty() {
            hub.check_uploads(&repo, &missing).await?;
            let taken = hub.store.take_uploads(&repo.id, repo.listed(), missing, &user.id).await;
            if let Err(error) = taken {
                // They are as missing as before: an error would make the client send everything.
                log_fault("POST filter-objects, uploads", &error.into());
            }
            view = hub.open(Some(&token), &target, Access::Push, NEED).await?.view;
        }
    }
    let missing = missing(hub, &repo, &view, &asked).await?;
    let missing = asked.into_iter().filter(|id| missing.contains(&id.key())).collect();
    call.respond(StatusCode::OK, &FilterObjectsResponse { missing })
}

/// Those of these objects that are not there.
async fn missing(hub: &Hub, repo: &Repo, view: &View, asked: &[ObjectId]) -> Result<HashSet<ObjectKey>, WireError> {
    let mut missing: HashSet<ObjectKey> = asked.iter().map(ObjectId::key).collect();
    // No client is to send what was purged. The push that names it is refused.
    missing.retain(|key| !repo.purged.has(key));
    // Where ids are opaque, a snapshot may name what never came.
    let head = repo.heads.get(repo.meta.shown_default(&repo.heads)).filter(|_| hub.settings.ids.are_checked());
    let beside = hub.store.objects_beside(&repo.id, view, &missing, head.map_or(&[], std::slice::from_ref)).await?;
    missing.retain(|key| !beside.contains(key));
    let present = view.objects(&missing).await?;
    missing.retain(|key| !present.contains_key(key));
    Ok(missing)
}
