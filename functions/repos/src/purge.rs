//! `POST /api/repos/{owner}/{slug}/purge` and `GET` of the same

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ObjectId, ObjectKey};
use common::wire::WireError;
use common::wire::limits::{MAX_PURGE_REASON, MAX_PURGED};
use common::wire::request::{PurgeRequest, PurgeResponse, PurgedObject};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::repo::{Load, Repo};
use store::table::items::{PurgeItem, PurgedItem};
use store::table::transaction::Outcome;

/// How often something else may be purged while this is about to.
const ATTEMPTS: usize = 20;
const ADMINS_ONLY: &str = "purge objects and see what was purged";

/// Hides objects from all requests from now on, and has their bytes erased. They need not be there: a push that brings
/// one later is refused then.
pub async fn purge(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let Opened { repo, user, .. } =
            hub.open(Some(&token), &target, Access::Administer(ADMINS_ONLY), Load::NOTHING).await?;
        let PurgeRequest { objects, reason } = call.decode()?;
        let asked = objects.within("objects")?;
        if asked.is_empty() {
            return Err(WireError::invalid("objects", "it names none: send the ids of the objects"));
        }
        let reason = reason.as_deref().unwrap_or_default();
        WireError::check_text("reason", reason, MAX_PURGE_REASON)?;
        let before = hub.store.purged(&repo.id, &repo.meta).await?;
        let new: BTreeSet<ObjectKey> = asked.iter().map(ObjectId::key).filter(|key| !before.has(key)).collect();
        WireError::check_count("purged objects of one repository", before.len() + new.len(), MAX_PURGED)?;
        let is_done = new.is_empty()
            || hub.store.mark_purged(&repo.id, &repo.meta, &new, reason, &user.id).await? == Outcome::Landed;
        if is_done {
            return respond(hub, call, &repo, Some(&asked)).await;
        }
    }
    Err(WireError::Unavailable("other objects were being purged".into()))
}

/// What was purged, and whether its bytes are gone.
pub async fn list(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let repo = hub.open(Some(&token), &call.target()?, Access::Administer(ADMINS_ONLY), Load::NOTHING).await?.repo;
    respond(hub, call, &repo, None).await
}

/// Answers with what was purged of what was asked for, or with all of it.
async fn respond(
    hub: &Hub,
    call: &Call,
    repo: &Repo,
    asked: Option<&[ObjectId]>,
) -> Result<Response<AnswerBody>, WireError> {
    let under_way = hub.store.purge_under_way(&repo.id).await?;
    let purged: BTreeMap<ObjectKey, PurgedItem> = hub.store.list_purged(&repo.id).await?;
    let object = |object_id: ObjectId, PurgedItem { at, by, reason }: PurgedItem| PurgedObject {
        object_id,
        purged_at: at,
        purged_by: by,
        reason,
    };
    let purged = match asked {
        Some(asked) => asked.iter().filter_map(|id| Some(object(id.clone(), purged.get(&id.key())?.clone()))).collect(),
        None => purged.into_iter().map(|(key, item)| object(key.spelled(false), item)).collect(),
    };
    let bytes = match under_way {
        Some(PurgeItem { erased_at: None, .. }) => "being_erased",
        Some(_) => "erased",
        None => "gone",
    };
    call.respond(StatusCode::OK, &PurgeResponse { purged, bytes: bytes.into() })
}
