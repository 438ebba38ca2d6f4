//! One object, fetched by itself: through a URL of the storage if it has one, else from the hub.

use bytes::Bytes;
use common::id::ObjectId;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use hyper::body::Body as _;

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::http::Body;
use crate::remote::{Remote, next_piece};

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
        let answer = match self.presigned(id, "get").await? {
            Some(url) => self.get_presigned(&url).await?,
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
