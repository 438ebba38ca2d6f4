//! What a hub knows by itself: no storage, no network, no clock.
//!
//! Read on in this order: [`wire`] is what clients send and get; [`graph`] what commits mean to each other; [`pack`]
//! how they lie in S3, and [`table`] how they are found there. Above this crate are `store`, which keeps packs and
//! items; `fsck`, which checks that they are whole; and `service`, which leads a request from the door to its answer.
//! Then take one function, for example `functions/push/src/lib.rs`, which reads top to bottom as what it does.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod answer_size;
pub mod graph;
pub mod id;
pub mod location;
pub mod pack;
pub mod price;
pub mod purged;
pub mod push;
pub mod table;
pub mod time;
pub mod wire;
