//! What is seen of a request from outside: a line in the log, metrics, and the header `Server-Timing`.

pub(crate) mod answer_span;
pub(crate) mod line;

pub use line::RequestLog;

use std::net::IpAddr;

/// The address that a request comes from, as the door that took it says. A door puts it into the extensions of the request.
#[derive(Debug, Clone, Copy)]
pub struct CameFrom(pub IpAddr);
