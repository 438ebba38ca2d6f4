//! Records the calls to storage that the hubs of a test run make, function by function, where `MUSEHUB_RECORD_CALLS`
//! names a file for it. `scripts/check-rights.sh` compares them with the rights that `template.yaml` gives.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, OnceLock};

use serde_json::json;
use store::span::calls::{ObservedCall, observe};

use crate::rights;

static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();

/// Begins to record, if the environment asks for it.
pub fn calls() {
    let file = FILE.get_or_init(|| {
        let path = std::env::var_os("MUSEHUB_RECORD_CALLS")?;
        Some(Mutex::new(OpenOptions::new().create(true).append(true).open(path).expect("a file to record calls in")))
    });
    if file.is_some() {
        observe(record);
    }
}

/// Writes a line for each right that a call takes.
fn record(call: &ObservedCall<'_>) {
    let mut lines = String::new();
    for (action, key) in rights::of(call) {
        let line = json!({"function": call.function, "operation": call.operation, "action": action, "key": key});
        lines.push_str(&format!("{line}\n"));
    }
    if let Some(Some(file)) = FILE.get() {
        // Whole lines in one write: the test processes of a run append to the same file.
        file.lock().expect("no thread panics with it").write_all(lines.as_bytes()).expect("the file takes a line");
    }
}
