//! A hub over stores that are open in this process.

use std::sync::Arc;

use client::Remote;
use common::id::Ids;
use service::auth::{BadSecret, Tokens};
use service::observe::RequestLog;
use service::{Hub, Settings, Target};
use store::Store;
use tokio::sync::OnceCell;

use super::TransferError;
use crate::data::new_secret;
use crate::functions;

/// The functions of a hub over its stores, for this process alone: they take the tokens that its [`Tokens`] make and no others.
///
/// # Errors
/// Never: the secret is drawn here.
pub fn hub_over(store: Arc<Store>, ids: Ids) -> Result<Hub, BadSecret> {
    let ambient = store.ambient().clone();
    let tokens = Tokens::new(&new_secret(&ambient), ambient)?;
    let settings = Settings { ids, gives_secret: true, ..Settings::default() };
    let tokens = Arc::new(OnceCell::new_with(Some(tokens)));
    Ok(Hub { store, tokens, issuer: None, settings, log: RequestLog::default() })
}

/// A repo of such a hub, as its owner sees it.
///
/// # Errors
/// When no user has the owner's handle.
pub async fn remote(hub: &Hub, target: Target) -> Result<Remote, TransferError> {
    let user = hub.store.user_of_handle(&target.owner).await?.ok_or_else(|| {
        let owner = &target.owner;
        TransferError::Refused(format!("there is no user '{owner}' on this hub: make one, or take another owner"))
    })?;
    Ok(Remote::at_hand(hub, functions::CALL, target, &user).await?)
}
