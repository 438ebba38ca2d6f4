//! What DynamoDB holds: a handful of small items for each repo, user and name.
//!
//! - [`items`] lists them. `query` reads them, and [`transaction`] writes several at once.
//! - [`account`] makes users and repos. [`tags`] and [`releases`] are names for commits, an item each. [`claims`] keep
//!   branches apart that no clone could keep side by side.
//! - [`members`] may do what their roles say, [`links`] lead readers in without a token, and [`tokens`] are those that users have minted.
//! - [`usage`] is how much users' repos hold, and may.
//! - [`branches`] goes through the branches of a repo and its push log, [`undo`] says what that lets be restored; [`listing`] has lists for people, a page at a time.
//! - [`hooks`] are the URLs that get the events of a repo. [`events`] are read back from the items. [`webhooks`] are
//!   the messages on the way from one to the other.

pub mod account;
pub mod branches;
pub mod claims;
pub mod events;
pub mod hooks;
pub mod items;
pub mod link_key;
pub mod links;
pub mod listing;
pub mod members;
pub(crate) mod query;
pub mod releases;
pub mod tags;
pub mod tokens;
pub mod transaction;
pub mod undo;
pub mod usage;
pub mod webhooks;

use common::wire::WireError;

use crate::StoreError;

/// Why a repo does not take another item of a kind.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It has as many of them as it may have.
    #[error("{count} {what}: the limit is {limit}")]
    Full {
        /// What they are.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It was deleted meanwhile.
    #[error("the repository was deleted")]
    Deleted,
    /// The item is too large to be kept.
    #[error("{0}")]
    TooLarge(String),
    /// The table does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PutError {
    fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), Self> {
        if count > limit { Err(Self::Full { what, count, limit }) } else { Ok(()) }
    }
}

impl From<PutError> for WireError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Full { what, count, limit } => Self::TooMany { what, sent: count, limit },
            PutError::TooLarge(reason) => Self::PayloadTooLarge(reason),
            PutError::Deleted => Self::RepoNotFound,
            PutError::Store(error) => error.into(),
        }
    }
}
