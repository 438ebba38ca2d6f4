//! What every function of the hub shares.
//!
//! Read on in this order: [`wire`] is what clients say and hear; [`graph`] what commits mean to each other;
//! [`pack`] how they lie in S3; [`store`] how a push becomes visible; [`service`] how a request gets from the door to
//! an answer, and [`observe`] what is seen of that from outside. Then take one function, for example `functions/push/src/lib.rs`, which reads top to bottom as what it
//! does.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod ambient;
pub mod answer_size;
pub mod auth;
pub mod aws;
pub mod buffered;
pub mod cut_off;
pub mod events;
pub mod fsck;
pub mod graph;
pub mod id;
pub mod observe;
pub mod pack;
pub mod price;
pub mod service;
pub mod stats;
pub mod store;
pub mod stream;
pub mod streaming;
pub mod table;
pub mod turns;
pub mod webhooks;
pub mod wire;

pub use service::Hub;
