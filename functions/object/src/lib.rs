//! `GET /o/{object_id}`: the bytes of one object, as browsers and caches like to have them
//! ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod conditions;

use std::ops::Range;

use bytes::Bytes;
use common::id::{ObjectId, RepoId};
use common::location::{LargeObject, ObjectLocation, RecordLocation};
use common::wire::WireError;
use conditions::{Asked, is_known, is_matched, is_same};
use lambda_http::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE,
    RANGE, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Request, Response};
use service::Hub;
use service::streaming::{self, Sender};
use service::{Access, AnswerBody, Call};
use store::read::reader::Piece;
use store::read::view::View;
use store::repo::{Load, Repo};
use store::table::items::Visibility;

/// What is immutable and public may be cached without end, here for a year.
const PUBLIC: &str = "public, max-age=31536000, immutable";
const PRIVATE: &str = "private, no-store";
/// Bytes of an answer that is made as a whole; a larger one is made while it is sent.
const WHOLE: u64 = 1 << 20;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { object(hub, &call).await }).await
}

async fn object(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let caller = call.caller(hub).await?;
    let repo_id =
        call.query_parameter("repo_id").and_then(|id| id.parse::<RepoId>().ok()).ok_or(WireError::RepoNotFound)?;
    let (repo, view) = hub.open(caller.as_ref(), &repo_id, Access::Read, Load::PACKS).await?;
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
        hub.settings.anonymous_reads.check(caller.as_ref(), size)?;
        let is_of_this = call.headers().get(IF_RANGE).is_none_or(|known| is_same(known, &id));
        let asked = Asked::of(call.headers().get(RANGE).filter(|_| is_of_this), size)?;
        let body = match place {
            ObjectLocation::Packed(place) => packed(hub, &repo, &view, place, asked.range()).await?,
            ObjectLocation::Large(large) => large_object(hub, &repo, &id, large, asked.range()).await?,
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, (asked.range().end - asked.range().start).into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // The pusher may have pushed a web page.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Asked::Part(part) = &asked {
            let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&content_range).map_err(WireError::internal)?);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// A part of an object that lies in a pack.
async fn packed(
    hub: &Hub,
    repo: &Repo,
    view: &View,
    place: RecordLocation,
    range: Range<u64>,
) -> Result<AnswerBody, WireError> {
    let mut records = hub.store.read_places(&repo.id, view, &[place]).await?;
    if range.end - range.start <= WHOLE {
        let _permit = hub.store.read_permit().await?;
        let mut part = Vec::new();
        let mut cut = Cut { range, position: 0 };
        while let Some(Piece { bytes, .. }) = records.piece().await? {
            part.extend_from_slice(&cut.of(bytes));
        }
        return Ok(AnswerBody::whole(part));
    }
    let make = |mut sender: Sender| async move {
        let mut cut = Cut { range, position: 0 };
        // Of a part no byte is the last that proves the whole. So the end of the part waits for that.
        let mut held = Bytes::new();
        while let Some(Piece { bytes, .. }) = records.piece().await? {
            let next = cut.of(bytes);
            if !next.is_empty() {
                sender.send(std::mem::replace(&mut held, next), &mut records).await?;
            }
        }
        sender.send(held, &mut records).await
    };
    streaming::stream(&hub.store, "GET object, half way", make).await
}

/// Cuts a part out of content that comes in pieces.
struct Cut {
    range: Range<u64>,
    /// Where the next piece begins.
    position: u64,
}

impl Cut {
    /// What the part has of a piece.
    fn of(&mut self, piece: Bytes) -> Bytes {
        let within = |at: u64| usize::try_from(at.saturating_sub(self.position)).unwrap_or(usize::MAX).min(piece.len());
        let (start, end) = (within(self.range.start), within(self.range.end));
        self.position += piece.len() as u64;
        piece.slice(start..end)
    }
}

/// A part of a large object, as it comes from S3.
async fn large_object(
    hub: &Hub,
    repo: &Repo,
    id: &ObjectId,
    large: LargeObject,
    range: Range<u64>,
) -> Result<AnswerBody, WireError> {
    let mut content = hub.store.read_large(&repo.id, &id.key(), &large, range);
    let make = |mut sender: Sender| async move {
        while let Some(bytes) = content.next().await? {
            sender.send(bytes, &mut content).await?;
        }
        Ok(())
    };
    streaming::stream(&hub.store, "GET object, half way", make).await
}
