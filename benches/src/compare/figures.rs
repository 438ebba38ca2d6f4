//! What was measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::Shape;

/// Everything of one run.
#[derive(Serialize)]
pub struct Report {
    /// When, in UTC.
    pub at: String,
    /// The machine.
    pub machine: String,
    /// What Git says of its version; none if it was not measured.
    pub git: Option<String>,
    /// What was run.
    pub scenarios: Vec<Scenario>,
}

/// One history, and what was asked of it.
#[derive(Serialize)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub words: String,
    /// What its files are.
    pub shape: Shape,
    /// The questions, in the order asked.
    pub rows: Vec<Row>,
    /// Bytes that are stored after the upkeep, by who stores them.
    pub stored: BTreeMap<&'static str, u64>,
}

/// One question.
#[derive(Serialize)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// What the hub took.
    pub hub: Taken,
    /// What Git took, if it was asked.
    pub git: Option<Taken>,
    /// The least that it could take, milliseconds, by what that is.
    pub floor: Vec<(&'static str, f64)>,
}

/// What it took to answer, several times.
#[derive(Clone, Default, Serialize)]
pub struct Taken {
    /// Milliseconds until the last answer was there, of each time.
    pub millis: Vec<f64>,
    /// Milliseconds until the first byte of the last answer was there, of each time.
    pub first_byte: Vec<f64>,
    /// Milliseconds that processors worked in the server, on average. Linux counts ten at a time.
    pub worked: Option<f64>,
    /// The most memory of the server at any time, bytes.
    pub peak: u64,
    /// Bytes that the client sent, once, with all that TCP carries.
    pub sent: u64,
    /// Bytes that the client got.
    pub received: u64,
}

impl Row {
    /// A question that nobody has answered yet.
    pub fn new(what: impl Into<String>, is_for_git: bool) -> Self {
        let git = is_for_git.then(Taken::default);
        Self { what: what.into(), hub: Taken::default(), git, floor: Vec::new() }
    }

    /// All of the floor.
    pub fn whole_floor(&self) -> Option<f64> {
        (!self.floor.is_empty()).then(|| self.floor.iter().map(|(_, millis)| millis).sum())
    }
}

/// The one in the middle, or between the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |position: usize| sorted.get(position).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

/// The lowest and the highest.
pub fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}
