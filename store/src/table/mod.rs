//! What DynamoDB holds: a handful of small items for each repo, user and name.
//!
//! - [`items`] lists them. `query` reads them, and [`transaction`] writes several at once.
//! - [`account`] makes users and repos. [`tags`] and [`releases`] are names for commits, an item each. [`places`] keep
//!   branches apart that no clone could keep side by side.
//! - [`hooks`] are the URLs that get the events of a repo. [`events`] are read back from the items. [`webhooks`] are
//!   the messages on the way from one to the other.

pub mod account;
pub mod events;
pub mod hooks;
pub mod items;
pub mod places;
pub(crate) mod query;
pub mod releases;
pub mod tags;
pub mod transaction;
pub mod webhooks;
