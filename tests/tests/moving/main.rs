//! Getting repos out of hubs and in again: whatever way a repo took, it is the same to every client afterwards.

// Tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod backup;
mod clone;
mod export;
mod folder;
mod mirror;
mod purged;
mod whole;
