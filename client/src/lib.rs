//! The client of hubs: a repo of a hub elsewhere is asked over HTTP, one whose stores are at hand in this process. Both are asked
//! the same requests and give the same answers.
//!
//! - [`address`] says where a hub and a repo are, [`endpoint`] what a hub can be asked.
//! - [`http`] sends one request to a hub, or to the storage that its presigned URLs name. [`by_reference`] sends a body ahead
//!   that is too large for the front door of Lambda.
//! - [`remote`] is a repo of a hub, asked again where a fault passes; [`ask`] is what it is asked in one request and answer.
//! - [`mod@error`] is why a hub did not give what it was asked for.
//! - [`fetch`] reads the answer to a fetch while it comes, and [`object`] one object.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod address;
pub mod ask;
pub mod by_reference;
pub mod endpoint;
pub mod error;
pub mod fetch;
pub mod http;
pub mod object;
pub mod remote;

pub use address::{Address, HubUrl};
pub use endpoint::Endpoint;
pub use error::ClientError;
pub use fetch::{Fetching, LeavesOut, Within};
pub use remote::{HubClient, Remote};
