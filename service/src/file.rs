//! The bytes of a file, whole or in part, as browsers and caches like to have them
//! ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)).

use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderValue, Response, StatusCode};

use crate::answer_body::AnswerBody;
use crate::conditions::Asked;
use crate::hub::Hub;
use crate::streaming::{self, Sender};
use common::id::ObjectKey;
use common::location::{LargeObject, ObjectLocation, RecordLocation};
use common::wire::WireError;
use store::read::reader::Piece;
use store::read::view::View;
use store::repo::Repo;

/// Bytes of an answer that is made as a whole; a larger one is made while it is sent.
const WHOLE: u64 = 1 << 20;

/// An answer with what is asked of a file: 200, or 206 for a part.
///
/// # Errors
/// When the stores do not answer before the first bytes are there.
pub async fn respond(
    hub: &Hub,
    repo: &Repo,
    view: &View,
    object: &ObjectKey,
    place: ObjectLocation,
    asked: &Asked,
) -> Result<Response<AnswerBody>, WireError> {
    let range = asked.range();
    let size = match place {
        ObjectLocation::Packed(place) => place.length.into(),
        ObjectLocation::Large(large) => large.size,
    };
    let body = match place {
        ObjectLocation::Packed(place) => packed(hub, repo, view, place, range.clone()).await?,
        ObjectLocation::Large(large) => large_object(hub, repo, object, large, range.clone()).await?,
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Asked::Part(part) = asked {
        let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        headers.insert(CONTENT_RANGE, HeaderValue::from_str(&content_range).map_err(WireError::internal)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
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
    streaming::stream(&hub.store, "a file, half way", make).await
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
    object: &ObjectKey,
    large: LargeObject,
    range: Range<u64>,
) -> Result<AnswerBody, WireError> {
    let mut content = hub.store.read_large(&repo.id, object, &large, range);
    let make = |mut sender: Sender| async move {
        while let Some(bytes) = content.next().await? {
            sender.send(bytes, &mut content).await?;
        }
        Ok(())
    };
    streaming::stream(&hub.store, "a file, half way", make).await
}
