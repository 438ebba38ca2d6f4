//! `POST /filter-objects`: which of these objects a push would have to bring.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::Hub;
use common::service::{AnswerBody, Call};
use common::store::repo::Need;
use common::wire::Error;
use common::wire::request::{FilterObjectsRequest, FilterObjectsResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(request, |call| async move { filter_objects(hub, &call).await }).await
}

async fn filter_objects(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, Error> {
    let caller = call.user(hub)?;
    let (_, index) = hub.open_for_push(&caller, &call.target()?, Need { heads: false, packs: true }).await?;
    let request: FilterObjectsRequest = call.decode()?;
    let asked = request.object_ids.within("object_ids")?;
    let missing = asked.iter().filter(|id| index.object(&id.key()).is_none()).collect();
    call.respond(StatusCode::OK, &FilterObjectsResponse { missing })
}
