//! `POST /push/objects`: stages objects. Later pushes may rely on them, and readers do not see them before a branch
//! reaches them.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::pack::{self, NewObject, NewPack};
use common::wire::WireError;
use common::wire::limits::MAX_PACKS;
use common::wire::record::check_objects;
use common::wire::request::{PushObjectsRequest, PushObjectsResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::change::Change;
use store::compute;
use store::repo::Load;
use store::table::transaction::Outcome;

/// How often another request may make the repo while this one is about to make it.
const ATTEMPTS: usize = 3;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { push_objects(hub, &call).await }).await
}

async fn push_objects(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    let Opened { mut repo, mut view, user, .. } =
        hub.open(Some(&token), &target, Access::Push, Load::RELIABLE_PACKS).await?;
    let (sent, objects) = compute(|| {
        let PushObjectsRequest { objects } = call.decode()?;
        Ok::<_, WireError>((objects.sent, check_objects(objects.within("objects")?, hub.settings.ids.are_checked())?))
    })?;

    for _ in 0..ATTEMPTS {
        if let Some(object) = objects.iter().find(|(key, _)| repo.purged.has(key)).map(|(_, object)| object) {
            return Err(WireError::object_purged(&object.object_id, object.path.as_deref()));
        }
        let present = view.objects(objects.keys()).await?;
        let new: Vec<NewObject<'_>> = objects
            .iter()
            .filter(|(key, _)| !present.contains_key(key))
            .map(|(key, object)| NewObject {
                key: key.clone(),
                path: object.path.as_deref().unwrap_or_default().into(),
                content: &object.content,
                is_staged: true,
            })
            .collect();
        let answer = PushObjectsResponse { stored: new.len(), skipped: sent - new.len() };
        if new.is_empty() {
            return call.respond(StatusCode::OK, &answer);
        }
        WireError::check_count("packs of one repository", repo.listed() + 1, MAX_PACKS)?;
        let new = NewPack { objects: new, ..NewPack::default() };
        let written = compute(|| pack::write(new)).map_err(WireError::internal)?;
        hub.check_quota(&repo, written.summary.size).await?;
        let pack = hub.store.store_pack(&repo.id, written).await?;
        let change = Change::of_pack(&repo.id, repo.to_be_made.as_ref(), Some(&pack), &user.id);
        if hub.store.commit(&change).await? == Outcome::Landed {
            return call.respond(StatusCode::OK, &answer);
        }
        Opened { repo, view, .. } = hub.open(Some(&token), &target, Access::Push, Load::RELIABLE_PACKS).await?;
    }
    Err(WireError::Unavailable("the repository is being made by other pushes".into()))
}
