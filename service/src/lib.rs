//! From the door to an answer: what every function does around its own work.
//!
//! A function's handler is called with the [`Hub`] and an HTTP request, as `lambda_http` or the local router made it,
//! and always gives a response: errors become the contract's bodies here, a panic becomes a 500, and a 5xx is logged
//! here, once, with its causes.
//!
//! - [`routes`] is the one table of routes. [`settings`] is what the operator decides.
//! - `call` reads a request, and [`by_reference`] its body if that was uploaded. [`auth`] checks tokens, and `access`
//!   opens the repo.
//! - `quota` is how much repos and users may hold, and [`repos`] what answers say of a repo.
//! - `answer` goes around all of it, with `respond` for headers and refusals. A body is whole, or made while it is sent
//!   ([`streaming`]). [`buffered`] and [`cut_off`] are what Lambda makes of it, and [`lambda`] runs a function there. [`observe`] is the line in the log.
//! - [`mod@file`] sends the bytes of files, and [`conditions`] reads what of them is asked for.
//! - [`item_stream`] reads the stream of the table, [`BatchResponse`] says what of a batch has to come again, and [`webhook_target`] says where webhooks may lead.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod access;
mod answer;
mod answer_body;
pub mod auth;
mod batch_response;
pub mod buffered;
pub mod by_reference;
mod call;
pub mod conditions;
pub mod cut_off;
pub mod deadline;
pub mod file;
mod hub;
pub mod item_stream;
pub mod lambda;
mod logging;
pub mod observe;
mod open_span;
mod quota;
pub mod repos;
mod respond;
pub mod routes;
pub mod settings;
pub mod streaming;
pub mod webhook_target;

pub use access::{Access, Opened, Which};
pub use answer_body::{AnswerBody, CutOff};
pub use batch_response::{BatchResponse, Failure};
pub use call::{Call, ReachedAs, Target, base_path, takes_pages};
pub use hub::Hub;
pub use logging::{log_as_json, log_fault, log_filter};
pub use respond::{CORS_HEADERS, Show, finish};
pub use settings::{AnonymousReads, ConfigurationError, Quotas, Settings, push_creates, required};
