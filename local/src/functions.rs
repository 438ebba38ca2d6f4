//! The hub's functions, all in this process.

use std::collections::HashMap;

use http::Response;
use service::routes::{Function, Route};
use service::{AnswerBody, Hub};

/// Calls a function.
pub async fn call(function: Function, hub: &Hub, request: lambda_http::Request) -> Response<AnswerBody> {
    match function {
        Function::Refs => refs::handle(hub, request).await,
        Function::Push => push::handle(hub, request).await,
        Function::PushObjects => push_objects::handle(hub, request).await,
        Function::Fetch => fetch::handle(hub, request).await,
        Function::FilterObjects => filter_objects::handle(hub, request).await,
        Function::Negotiate => negotiate::handle(hub, request).await,
        Function::Presign => presign::handle(hub, request).await,
        Function::Tags => tags::handle(hub, request).await,
        Function::Releases => releases::handle(hub, request).await,
        Function::Uploads => uploads::handle(hub, request).await,
        Function::Object => object::handle(hub, request).await,
        Function::Openapi => openapi::handle(hub, request).await,
        Function::Health => health::handle(hub, request).await,
        Function::Repos => repos::handle(hub, request).await,
        Function::Forks => forks::handle(hub, request).await,
        Function::Branches => branches::handle(hub, request).await,
        Function::Identities => identities::handle(hub, request).await,
        Function::Stats => stats::handle(hub, request).await,
        Function::Webhooks => webhooks::handle(hub, request).await,
        Function::Access => access::handle(hub, request).await,
        Function::Web => web::handle(hub, request).await,
    }
}

/// Calls a function, for a client that is in this process too.
pub const CALL: client::remote::Call = |function, hub, request| Box::pin(call(function, hub, request));

/// A request's way through a route.
pub(crate) struct Matched {
    pub(crate) route: &'static Route,
    /// As they are in the path, percent-encoding and all: so they come from an API Gateway.
    pub(crate) parameters: HashMap<String, String>,
}
