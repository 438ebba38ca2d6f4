//! `POST /presign`: URLs through which large objects go to S3 and come from it without passing through the hub.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::HashSet;
use std::time::Duration;

use common::id::{ObjectId, ObjectKey};
use common::location::ObjectLocation;
use common::wire::WireError;
use common::wire::limits::{MAX_PRESIGN, MAX_PRESIGNED_GETS};
use common::wire::request::{PresignRequest, PresignResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call, Opened};
use store::change::Change;
use store::repo::Load;
use store::table::transaction::Outcome;

/// How often another request may make the repo while this one is about to make it.
const ATTEMPTS: usize = 3;
/// Seconds that a URL is good for unless the client says: a client asks for all of them at once, and uploads a few at a time.
const DEFAULT_TTL: u64 = 3_600;
/// Seconds that a URL may be good for.
const TTL: std::ops::RangeInclusive<u64> = 30..=3_600;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { presign(hub, &call).await }).await
}

async fn presign(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let target = call.target()?;
    let asked = match Asked::read(call) {
        Ok(asked) => asked,
        // Only the body shows which rights are needed. A caller who may not know of the repo learns nothing of it.
        Err(error) => {
            hub.open(credential.as_ref(), &target, Access::Ask, Load::NOTHING).await?;
            return Err(error);
        }
    };
    let presigner = hub.store.presigner(asked.ttl, call.storage_url(hub)?)?;
    let mut answer = PresignResponse::default();
    match asked.direction {
        Direction::Put => {
            let token = call.token(hub).await?;
            for _ in 0..ATTEMPTS {
                let Opened { repo, user, .. } = hub.open(Some(&token), &target, Access::Push, Load::NOTHING).await?;
                if let Some(new) = &repo.to_be_made {
                    let change = Change::of_pack(&repo.id, Some(new), None, &user.id);
                    if hub.store.commit(&change).await? == Outcome::Conflict {
                        continue;
                    }
                }
                let purged = hub.store.purged(&repo.id, &repo.meta).await?;
                if let Some(id) = asked.ids.iter().find(|id| purged.has(&ObjectId::key(id))) {
                    return Err(WireError::object_purged(id, None));
                }
                hub.store.expect_uploads(&repo.id).await?;
                for id in asked.ids {
                    // What is no hash can never be proved.
                    if id.as_ref().digest().is_none() {
                        answer.inline.push(id);
                    } else if answer.presigned.len() >= asked.limit {
                        answer.left.push(id);
                    } else {
                        let url = presigner.put_object(&repo.id, &id.key()).await?;
                        answer.presigned.insert(id, url);
                    }
                }
                return call.respond(StatusCode::OK, &answer);
            }
            Err(WireError::Unavailable("the repository is being made by other pushes".into()))
        }
        Direction::Get => {
            let Opened { repo, view, .. } = hub.open(credential.as_ref(), &target, Access::Read, Load::PACKS).await?;
            let keys: HashSet<ObjectKey> = asked.ids.iter().map(ObjectId::key).collect();
            let known = view.objects(&keys).await?;
            for id in asked.ids {
                let key = ObjectId::key(&id);
                match known.get(&key).filter(|object| object.is_reached).map(|object| object.place) {
                    Some(ObjectLocation::Large(_)) if answer.presigned.len() >= asked.limit.min(MAX_PRESIGNED_GETS) => {
                        answer.left.push(id)
                    }
                    Some(ObjectLocation::Large(large)) => {
                        hub.settings.anonymous_reads.check(credential.as_ref(), large.size)?;
                        let url = presigner.get_object(&repo.id, &key, &large).await?;
                        answer.presigned.insert(id, url);
                    }
                    _ => answer.inline.push(id),
                }
            }
            call.respond(StatusCode::OK, &answer)
        }
    }
}

/// Which way the objects are to go.
enum Direction {
    Put,
    Get,
}

/// What is asked for.
struct Asked {
    ids: Vec<ObjectId>,
    direction: Direction,
    ttl: Duration,
    /// How many URLs the answer may have.
    limit: usize,
}

impl Asked {
    fn read(call: &Call) -> Result<Self, WireError> {
        let PresignRequest { object_ids, direction, ttl_seconds, limit } = call.decode()?;
        Ok(Self {
            ids: object_ids.within("object_ids")?,
            direction: match &*direction {
                "put" => Direction::Put,
                "get" => Direction::Get,
                _ => return Err(WireError::invalid("direction", "it is put or get")),
            },
            ttl: match ttl_seconds.map_or(Ok(DEFAULT_TTL), u64::try_from) {
                Ok(seconds) if TTL.contains(&seconds) => Duration::from_secs(seconds),
                _ => {
                    let reason = format_args!("it is from {} to {}", TTL.start(), TTL.end()).to_string();
                    return Err(WireError::invalid("ttl_seconds", reason));
                }
            },
            limit: match limit.map_or(Ok(MAX_PRESIGN), usize::try_from) {
                Ok(limit) if (1..=MAX_PRESIGN).contains(&limit) => limit,
                _ => return Err(WireError::invalid("limit", format_args!("it is from 1 to {MAX_PRESIGN}"))),
            },
        })
    }
}
