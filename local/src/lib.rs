//! The hub on one machine: the functions of a deployment in one process, with the DynamoDB and the S3 that they need
//! embedded beside them. It is the same code as on Lambda, through the same AWS clients; only the wires are short.
//!
//! - [`serve`] puts it together and is what `musehub serve` runs.
//! - `connections` bounds those of clients; `open_files` says how many there may be, `store_calls` has the stores keep to it.
//! - [`router`] is the door: which function answers which request; `bodies` says what bodies it takes,
//!   and `hosts` by what names the hub knows itself. [`lambda`] makes it as narrow as Lambda's.
//! - [`backends`] starts the two stores, or finds others; [`s3`] is the embedded S3; [`location`] makes the table and the bucket.
//! - `lifecycle` ends uploads that no request asks for, as the bucket's lifecycle rule does in a deployment.
//! - `compaction` keeps packs few, as the function `compact` does.
//! - `webhooks` delivers what happens, as `events`, a queue and `deliver` do.
//! - [`data`] is the data folder, with the token secret in it; [`process`] is what all of this runs in.
//! - [`upkeep`] is what the commands share that look after repos.
//! - [`replay`] does again what a function that the table's stream wakes could not do.
//!
//! [`stores`] is what commands work on that need no hub.
//!
//! [`transfer`] gets repos out of hubs and into them, in files and over the wire; [`backup`] copies whole hubs.
//!
//! [`proxy`] stands alone: it runs beside a client, in front of a hub that is elsewhere.

#![deny(missing_docs, unsafe_code)]

pub mod backends;
pub mod backup;
mod bodies;
mod compaction;
mod connections;
pub mod data;
pub mod functions;
mod hosts;
pub mod identity;
pub mod lambda;
mod lifecycle;
mod listing;
pub mod location;
mod lock;
mod open_files;
pub mod process;
pub mod proxy;
pub mod replay;
pub mod router;
pub mod s3;
pub mod serve;
mod shares;
mod store_calls;
pub mod stores;
pub mod transfer;
pub mod upkeep;
mod webhooks;
