//! What a process logs.

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use common::wire::WireError;
use common::wire::error::with_causes;
use store::aws::variable;
use store::span::{self, RequestSpan};

/// Logs as JSON lines on standard output, which Lambda sends to CloudWatch. `RUST_LOG` filters; by default `info`.
pub fn log_as_json() {
    let lines = tracing_subscriber::fmt::layer().json();
    let filter = log_filter(Targets::new().with_default(Level::INFO));
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// What is logged: what `RUST_LOG` says, such as `info` or `warn,common=debug`; `otherwise`, if that says nothing, or
/// nothing that can be understood. Levels of modules are enough; more would bring a regular expression engine.
pub fn log_filter(otherwise: Targets) -> Targets {
    variable("RUST_LOG").and_then(|given| given.parse().ok()).unwrap_or(otherwise)
}

/// Logs a fault of the hub's, once, with what caused it. What is the client's own doing is not logged.
pub fn log_fault(route: &str, error: &WireError) {
    if !error.status().is_server_error() {
        return;
    }
    let causes = with_causes(error);
    let span = span::current();
    let id = span.as_deref().map(RequestSpan::id);
    tracing::error!(id, route, status = error.status().as_u16(), causes, "request failed");
}
