//! `GET /o/{object_id}`: the bytes of one object, as browsers and caches like to have them
//! ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::id::{ObjectId, RepoId};
use common::location::ObjectLocation;
use common::wire::WireError;
use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Request, Response};
use service::conditions::{Asked, is_known, is_matched, is_same};
use service::{Access, AnswerBody, Call, Hub, Opened, file};
use store::repo::Load;
use store::table::items::Visibility;

/// What is immutable and public may be cached without end, here for a year.
const PUBLIC: &str = "public, max-age=31536000, immutable";
const PRIVATE: &str = "private, no-store";

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { object(hub, &call).await }).await
}

async fn object(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let credential = call.credential(hub).await?;
    let repo_id =
        call.query_parameter("repo_id").and_then(|id| id.parse::<RepoId>().ok()).ok_or(WireError::RepoNotFound)?;
    let Opened { repo, view, .. } = hub.open(credential.as_ref(), &repo_id, Access::Read, Load::PACKS).await?;
    let id = call.path_parameter("object_id").unwrap_or_default();
    let id: ObjectId = id.parse().map_err(|reason| WireError::invalid("object_id", reason))?;
    if repo.purged.has(&id.key()) {
        return Err(WireError::ObjectGone(id));
    }
    // Readers do not see staged objects.
    let known = view.objects([&id.key()]).await?;
    let object = known.get(&id.key()).filter(|object| object.is_reached);
    let place = object.ok_or_else(|| WireError::UnknownObject(id.clone()))?.place;

    let etag = HeaderValue::from_str(&format!("\"{id}\"")).map_err(WireError::internal)?;
    let cache = if repo.meta.visibility == Visibility::Public { PUBLIC } else { PRIVATE };
    let mut matches = call.headers().get_all(IF_MATCH).iter().peekable();
    if matches.peek().is_some() && !matches.any(|known| is_matched(known, &id)) {
        return Err(WireError::PreconditionFailed(id));
    }
    let mut response = if call.headers().get_all(IF_NONE_MATCH).iter().any(|known| is_known(known, &id)) {
        let mut response = Response::new(AnswerBody::whole(Vec::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let size = match place {
            ObjectLocation::Packed(place) => place.length.into(),
            ObjectLocation::Large(large) => large.size,
        };
        hub.settings.anonymous_reads.check(credential.as_ref(), size)?;
        let is_of_this = call.headers().get(IF_RANGE).is_none_or(|known| is_same(known, &id));
        let asked = Asked::of(call.headers().get(RANGE).filter(|_| is_of_this), size)?;
        let mut response = file::respond(hub, &repo, &view, &id.key(), place, &asked).await?;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // The pusher may have pushed a web page.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}
