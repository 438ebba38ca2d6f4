//! The wire: what clients send and are answered, in both encodings, with every limit of the contract.
//!
//! - [`encoding`]: JSON and msgpack, negotiated from the headers; decoding that stops at its bounds.
//! - [`request`]: one type for each request and answer, built of [`commit`]s, [`record`]s and [`release`]s.
//! - [`branches`]: what is said of branches and of how they moved.
//! - [`domain`]: what kind of content a repo holds.
//! - `fields`: a record that is kept as it came; [`value`]: what its open fields hold.
//! - [`error`]: what a request is refused with.
//! - [`manifests`]: what stored snapshots name, read in a row.
//! - [`page`]: a long list, a bounded part at a time; [`recode`]: a stored record as JSON.
//! - [`names`]: which branches and paths are taken, a table of rules for each.
//! - [`limits`]: the bounds, all of them.

pub mod branches;
pub mod commit;
pub mod domain;
pub mod encoding;
pub mod error;
mod fields;
pub mod limits;
pub mod manifests;
pub mod names;
pub mod page;
pub mod recode;
pub mod record;
pub mod release;
pub mod request;
pub(crate) mod text;
pub mod value;

pub use encoding::Encoding;
pub use error::WireError;
pub use text::{Bounded, BoundedMap, Distinct, Sent, Text};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worst;
