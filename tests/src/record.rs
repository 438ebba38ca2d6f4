//! Records the calls to storage that the hubs of a test run make, function by function, where `MUSEHUB_RECORD_CALLS`
//! names a file for it. `scripts/check-rights.sh` compares them with the rights that `template.yaml` gives.

use std::fs::OpenOptions;
use std::sync::{Mutex, Once};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to record, if the environment asks for it.
pub fn calls() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        let Some(path) = std::env::var_os("MUSEHUB_RECORD_CALLS") else {
            return;
        };
        let file = OpenOptions::new().create(true).append(true).open(path).expect("a file to record calls in");
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).without_time();
        let filter = Targets::new().with_target("store::span::calls", LevelFilter::DEBUG);
        tracing_subscriber::registry().with(lines.with_writer(Mutex::new(file)).with_filter(filter)).init();
    });
}
