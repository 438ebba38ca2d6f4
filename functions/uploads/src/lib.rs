//! `POST /uploads`: room in S3 for the body of a request that is too big to be sent. The request is then made with an
//! empty body and the header `Muse-Body-Upload`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::wire::WireError;
use common::wire::request::UploadResponse;
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::repo::Load;
use store::uploads::{BODY_KEPT, BodyUpload};

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { start_upload(hub, &call).await }).await
}

async fn start_upload(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    let user = hub.open(Some(&token), &target, Access::Ask, Load::NOTHING).await?.user;
    let storage = call.storage_url(hub)?;
    let upload = BodyUpload { user_id: user.id, owner: target.owner, slug: target.slug };
    let upload_id = hub.store.new_body_upload(&upload).await?;
    let url = hub.store.presigner(BODY_KEPT, storage)?.put_body(&upload_id).await?;
    call.respond(StatusCode::OK, &UploadResponse { upload_id, url })
}
