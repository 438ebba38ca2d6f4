//! What is said on the terminal while it goes on; where there is none, nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const STEADY: &str = "{spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec}";
const TO_AN_END: &str = "{msg} {decimal_bytes} of {decimal_total_bytes} {bar:24} {eta} to go";
const TICK: Duration = Duration::from_millis(120);

/// A line that counts bytes towards an unknown end.
pub fn counting(message: impl Into<String>) -> ProgressBar {
    let style = ProgressStyle::with_template(STEADY).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_message(message.into());
    bar.enable_steady_tick(TICK);
    bar
}

/// A bar over this many bytes.
pub fn of_bytes(message: impl Into<String>, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(TO_AN_END).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style).with_message(message.into())
}
