//! One object, fetched by itself: through a URL of the storage if it has one, else from the hub.

use bytes::Bytes;
use common::id::ObjectId;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use hyper::body::Body as _;

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::http::Body;
use crate::remote::{HubResponse, Remote, next_piece};

/// URLs of an object that are tried.
const URLS: usize = 3;

/// An object on its way.
pub struct Single<'a> {
    remote: &'a Remote,
    /// Its bytes.
    pub size: u64,
    body: Body,
}

/// What became of an object that a hub was asked for.
pub enum Found<'a> {
    /// It comes.
    Here(Single<'a>),
    /// The hub does not have it, and says so.
    Missing(ClientError),
    /// It was purged there.
    Purged,
}

impl Remote {
    /// Asks for an object of the repo of this id.
    ///
    /// # Errors
    /// When the hub does not answer, or does not say how long it is.
    pub async fn object(&self, id: &ObjectId, repo_id: &str) -> Result<Found<'_>, ClientError> {
        let answer = match self.presigned_object(id).await? {
            Some(answer) => answer,
            None => match self.send(Endpoint::Object(&id.to_string(), repo_id), Bytes::new()).await {
                Err(error) if error.has_status(StatusCode::GONE) => return Ok(Found::Purged),
                Err(error) if error.is_missing() => return Ok(Found::Missing(error)),
                answer => answer?,
            },
        };
        let declared = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let body = answer.into_body();
        let size: Option<u64> = declared.or(body.size_hint().exact());
        let size = size.ok_or_else(|| self.broken(format!("it does not say the size of object {id}")))?;
        Ok(Found::Here(Single { remote: self, size, body }))
    }

    /// The object from the storage, if it has a URL there. The process of the hub that signs may be at the end of its session, so
    /// a URL that is good no more is asked for again.
    async fn presigned_object(&self, id: &ObjectId) -> Result<Option<HubResponse>, ClientError> {
        for _ in 0..URLS {
            let Some(url) = self.presigned(id, "get").await? else {
                return Ok(None);
            };
            if let Some(answer) = self.get_presigned(&url).await? {
                return Ok(Some(answer));
            }
        }
        Err(self.storage_broken(format!("it takes none of {URLS} URLs for object {id}")))
    }
}

impl Single<'_> {
    /// The next bytes of it; none at its end.
    ///
    /// # Errors
    /// When it breaks off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        next_piece(&mut self.body).await.map_err(|reason| self.remote.broken(reason))
    }
}
