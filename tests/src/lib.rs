//! The black-box kit: what a suspicious Muse client would do to a hub.
//!
//! Everything here is written from the wire contract alone and shares no code with the server, so that both would have
//! to be wrong in the same way for a mistake to pass.
//!
//! - [`history`] builds real Muse histories from a seed: files, snapshots, commits, ids that are hashes.
//! - [`encoding`] is both encodings of a body; [`client`] speaks them over HTTP, as either generation of the client.
//! - [`verify`] believes nothing: it recomputes every id of what was fetched and compares commits field by field.
//! - [`token`] signs tokens, good ones and forged ones.
//! - [`issuer`] is an OIDC issuer, with its keys and its tokens.
//! - [`hub`] starts a hub for one test, or finds the one that `MUSEHUB_URL` names.
//! - [`stores`] are what it keeps everything in: embedded, or those that the environment names.
//! - [`receiver`] is where webhooks lead.
//! - [`cases`] are how many a test takes that goes through many.
//! - [`property`] runs one hub against many generated cases.
//! - [`wiretap`] listens in on the storage calls of a hub in the same process, and disturbs them.
//!
//! The contract tests that use it are in `tests/tests/contract/`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
// A kit for tests fails by panicking, reads the clock to date tokens, and needs names that no earlier run has used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

pub mod cases;
pub mod client;
pub mod encoding;
pub mod history;
pub mod hub;
pub mod ids;
pub mod issuer;
pub mod property;
pub mod receiver;
pub mod record;
mod rights;
pub mod stores;
pub mod token;
pub mod verify;
pub mod wiretap;
