//! `POST /api/identities`: gives the token's user a handle, once.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use common::id::Slug;
use common::wire::WireError;
use common::wire::limits::MAX_TEXT_LENGTH;
use common::wire::request::{IdentityRequest, IdentityResponse};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{AnswerBody, Call};
use store::table::account::Claim;

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { claim(hub, &call).await }).await
}

async fn claim(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let user = hub.whole_user(&token, "a handle is claimed by its user").await?;
    let request: IdentityRequest<'_> = call.decode()?;
    let handle: Slug = request.handle.parse().map_err(|reason| WireError::invalid("handle", reason))?;
    // The hub root has paths of its own there.
    if RESERVED_HANDLES.contains(&handle.as_str()) {
        return Err(WireError::HandleTaken(format!("the handle '{handle}' is the hub's own: choose another")));
    }
    let display_name = request.display_name.as_deref().unwrap_or_default();
    WireError::check_text("display_name", display_name, MAX_TEXT_LENGTH)?;
    match hub.store.claim_handle(&user.id, &handle, display_name).await? {
        Claim::Held => {
            let answer = IdentityResponse { handle: handle.to_string(), user_id: user.id };
            call.respond(StatusCode::CREATED, &answer)
        }
        Claim::Taken => Err(WireError::HandleTaken(format!("the handle '{handle}' is taken"))),
        Claim::HasAnother(own) => Err(WireError::HandleTaken(format!("you have the handle '{own}' already"))),
    }
}

/// First segments of the hub's own paths, and of those that it or a server in front of it may have one day. A reader of
/// a URL could not distinguish most of them from a person's handle.
const RESERVED_HANDLES: [&str; 44] = [
    "about",
    "account",
    "admin",
    "api",
    "app",
    "assets",
    "auth",
    "blog",
    "dashboard",
    "docs",
    "explore",
    "favicon",
    "git",
    "health",
    "help",
    "hub",
    "hubs",
    "login",
    "logout",
    "metrics",
    "muse",
    "musehub",
    "new",
    "o",
    "oauth",
    "objects",
    "openapi",
    "ping",
    "public",
    "raw",
    "register",
    "robots",
    "root",
    "s3",
    "search",
    "settings",
    "signup",
    "static",
    "status",
    "support",
    "system",
    "uploads",
    "user",
    "www",
];
