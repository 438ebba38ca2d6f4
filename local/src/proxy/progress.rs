//! What the proxy says on the terminal about large requests: a bar for each that is under way, and a line at its end.
//! Where there is no terminal, only the line.

use std::io::{self, Write};

use http::StatusCode;
use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg} {decimal_bytes} of {decimal_total_bytes} {bar:24} {decimal_bytes_per_sec}, {eta} to go";

/// The large requests under way.
#[derive(Default, Clone)]
pub(super) struct Progress {
    bars: MultiProgress,
}

/// A large request under way, whose bar goes away with this value.
pub(super) struct Sending<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
}

impl Progress {
    /// Shows a request. Its `route` is its method and its path, and no query, which may hold a secret.
    pub(super) fn begin(&self, route: &str, bytes: u64) -> Sending<'_> {
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.add(ProgressBar::new(bytes).with_style(style).with_message(route.to_owned()));
        Sending { progress: self, bar }
    }

    pub(super) fn say(&self, line: &str) {
        // A terminal that went away is no reason to stop.
        let _ = if self.bars.is_hidden() { writeln!(io::stderr(), "{line}") } else { self.bars.println(line) };
    }
}

impl Sending<'_> {
    /// What counts the bytes that are sent.
    pub(super) fn sent(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Says something of the request.
    pub(super) fn say(&self, what: &str) {
        self.progress.say(&format!("{}: {what}", self.bar.message()));
    }

    /// Says that the request came to nothing, for the client may have left.
    pub(super) fn failed(&self, why: &impl std::fmt::Display) {
        self.say(&why.to_string());
    }

    /// Says that the request was answered.
    pub(super) fn answered(&self, status: StatusCode) {
        let bytes = DecimalBytes(self.bar.length().unwrap_or_default());
        self.say(&format!("{bytes}, answered with {}", status.as_u16()));
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
