//! `GET /health`: whether the hub answers at all. It looks at nothing, so it costs nothing and cannot lie.
//!
//! `GET /health?deep=1` looks at what the hub needs, for an operator: the table, the bucket, the token secret.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::wire::WireError;
use common::wire::error::with_causes;
use common::wire::request::{HealthChecks, HealthResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{AnswerBody, Call};

const OK: &str = "ok";

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { health(hub, &call).await }).await
}

async fn health(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let checks = match call.query_parameter("deep").as_deref() {
        None | Some("0") => None,
        Some("1") if hub.user(&call.token(hub).await?).await?.is_admin => Some(look(hub).await?),
        Some("1") => return Err(WireError::NotAdmin),
        Some(_) => return Err(WireError::invalid("deep", "it is 0 or 1")),
    };
    call.respond(StatusCode::OK, &HealthResponse { status: OK.into(), checks })
}

/// Looks at everything, also when something of it does not work.
async fn look(hub: &Hub) -> Result<HealthChecks, WireError> {
    let (secret, bucket) = tokio::join!(hub.store.token_secret(), hub.store.check_bucket());
    let checks = HealthChecks {
        table: status(&secret),
        bucket: status(&bucket),
        secret: match &secret {
            Ok(kept) => hub.check_secret(kept.as_deref()).await?.to_owned(),
            Err(_) => "not known: the table does not answer".to_owned(),
        },
    };
    let HealthChecks { table, bucket, secret } = &checks;
    if [table, bucket, secret].iter().all(|check| *check == OK) {
        return Ok(checks);
    }
    Err(WireError::Unhealthy(format!("table: {table}; bucket: {bucket}; secret: {secret}")))
}

/// What an operator gets of a check. A caller who may ask may know why.
fn status<T>(check: &Result<T, store::StoreError>) -> String {
    match check {
        Ok(_) => OK.to_owned(),
        Err(error) => with_causes(error),
    }
}
