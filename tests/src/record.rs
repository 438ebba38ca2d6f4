//! Records the calls to storage that the hubs of a test run make, function by function, where `MUSEHUB_RECORD_CALLS`
//! names a file for it. `scripts/check-rights.sh` compares them with the rights that `template.yaml` gives.

use std::fs::OpenOptions;
use std::sync::{Mutex, Once};

use tracing_subscriber::EnvFilter;

/// Begins to record, if the environment asks for it.
pub fn calls() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        let Some(path) = std::env::var_os("MUSEHUB_RECORD_CALLS") else {
            return;
        };
        let file = OpenOptions::new().create(true).append(true).open(path).expect("a file to record calls in");
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .without_time()
            .with_env_filter(EnvFilter::new("off,common::observe::storage=debug"))
            .with_writer(Mutex::new(file));
        subscriber.init();
    });
}
