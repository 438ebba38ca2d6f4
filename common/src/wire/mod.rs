//! The wire: what clients send and are answered, in both encodings, with every limit of the contract.
//!
//! - [`encoding`]: JSON and msgpack, negotiated from the headers; decoding that stops at its bounds.
//! - [`request`]: one type for each request and answer, built of [`commit`]s and [`record`]s.
//! - [`value`]: the open fields of a commit, which come back as they came.
//! - [`error`]: what a request is refused with.
//! - [`limits`]: the bounds, all of them.

pub mod commit;
pub mod encoding;
pub mod error;
pub mod limits;
pub mod record;
pub mod request;
pub(crate) mod text;
pub mod value;

pub use encoding::Encoding;
pub use error::Error;
pub use text::{Bounded, Text};

#[cfg(test)]
mod tests;
