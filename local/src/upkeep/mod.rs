//! What the commands share that look after the repos of a hub, past every request.
//!
//! - [`clone`] is a hub elsewhere, or a data folder, that a repair brings back from what is missing.

pub mod clone;
