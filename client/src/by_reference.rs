//! A body that is too large for the front door of Lambda goes *by reference*: the hub gives a presigned URL of its storage, the body
//! is put there, and the request goes with an empty body and the name of the upload.

use common::wire::Encoding;
use common::wire::error::ErrorResponse;
use common::wire::request::UploadResponse;
use http::{HeaderValue, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};

use crate::http::{Body, full};

/// Bytes of a body that goes to a hub as it is. Lambda takes 6 MB, in which base64 makes 4 bytes of 3.
pub const DIRECT: usize = 4_000_000;
/// Bytes of an answer to `/uploads`.
const MAX_ANSWER: usize = 64 << 10;

/// What a hub says that was asked where to put the body of a request.
pub enum UploadOffer {
    /// The body goes to this URL.
    Upload {
        /// The name of the upload.
        id: HeaderValue,
        /// Where to put the body.
        url: Uri,
    },
    /// It does not take the body.
    Refused(Response<Body>),
    /// It knows nothing of uploads: what is no endpoint of the hub's is not found, or takes no POST.
    NoSuchEndpoint,
}

/// Reads the answer to `POST /uploads`.
///
/// # Errors
/// What is wrong with an answer that makes no sense.
pub async fn offer(answer: Response<Body>) -> Result<UploadOffer, String> {
    let status = answer.status();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return Ok(UploadOffer::NoSuchEndpoint);
    }
    if !status.is_success() && status != StatusCode::NOT_FOUND {
        return Ok(UploadOffer::Refused(answer));
    }
    let (parts, body) = answer.into_parts();
    let bytes = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?.to_bytes();
    if status == StatusCode::NOT_FOUND {
        let refusal: ErrorResponse<'_> = serde_json::from_slice(&bytes).unwrap_or_default();
        if refusal.error == "not_found" {
            return Ok(UploadOffer::NoSuchEndpoint);
        }
        return Ok(UploadOffer::Refused(Response::from_parts(parts, full(bytes))));
    }
    let encoding = Encoding::of_request(&parts.headers).unwrap_or(Encoding::Json);
    let UploadResponse { upload_id, url } = encoding.decode(&bytes).map_err(|error| error.to_string())?;
    let id = HeaderValue::from_str(&upload_id).ok().filter(|id| !id.is_empty());
    let url: Option<Uri> = url.parse().ok();
    let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    match (id, url) {
        (Some(id), Some(url)) => Ok(UploadOffer::Upload { id, url }),
        _ => Err("it names no upload and no URL of the storage".to_owned()),
    }
}
