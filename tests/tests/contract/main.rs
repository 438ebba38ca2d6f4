//! The wire contract, held against a running hub from outside. Each test is named for the sentence that it proves.
//!
//! One binary, because linking it costs more than running it. `MUSEHUB_URL` and `MUSEHUB_SECRET` point it at any
//! deployment; what needs a hub of its own is in [`deployment`].

// Tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod access;
mod api;
mod branches;
mod by_reference;
mod commits;
mod compaction;
mod crowds;
mod deployment;
mod documentation;
mod domain;
mod elsewhere;
mod fetch;
mod hostile;
mod house;
mod http;
mod lease;
mod lenient;
mod limits;
mod malformed;
mod messages;
mod names;
mod narrowed;
mod negotiation;
mod object;
mod observe;
mod oidc;
mod owning;
mod pages;
mod presign;
mod proxy;
mod purge;
mod push;
mod quotas;
mod races;
mod references;
mod releases;
mod repos;
mod roles;
mod round_trips;
mod routes;
mod stats;
mod tags;
mod together;
mod tokens;
mod webhooks;
