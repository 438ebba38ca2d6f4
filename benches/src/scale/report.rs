//! What was measured, the sizes side by side, against what it may be at most.

use std::fmt;

use serde::Serialize;

use super::Measured;
use super::cold::Figures;
use crate::page::grouped;

/// Cold and warm.
pub const PUSH: [&str; 2] = ["push of one commit, all requests, cold", "push of one commit, all requests, warm"];
/// Cold and warm.
pub const FETCH: [&str; 2] = ["fetch of one commit, cold", "fetch of one commit, warm"];
/// Cold and warm.
pub const FETCH_HAVING_ALL: [&str; 2] =
    ["fetch of one commit, have all others, cold", "fetch of one commit, have all others, warm"];
/// Cold and warm.
pub const NEGOTIATE: [&str; 2] = ["negotiate of 64 random ids, cold", "negotiate of 64 random ids, warm"];
/// Cold and warm.
pub const FILTER_KNOWN: [&str; 2] =
    ["filter-objects of 1,000 known ids, cold", "filter-objects of 1,000 known ids, warm"];
/// Cold and warm.
pub const FILTER_UNKNOWN: [&str; 2] =
    ["filter-objects of 1,000 unknown ids, cold", "filter-objects of 1,000 unknown ids, warm"];
/// Cold and warm.
pub const FILTER_MIXED: [&str; 2] =
    ["filter-objects of 1,000 ids, half known, cold", "filter-objects of 1,000 ids, half known, warm"];

/// How much dearer than in a smaller repository.
const GROWTH: f64 = 1.5;
/// MiB.
const MEMORY: f64 = 32.0;
/// MiB.
const PUSHED_MEMORY: f64 = 300.0;
const ITEMS: f64 = 40.0;
const MIB: f64 = 1_048_576.0;

/// Everything.
#[derive(Serialize)]
pub struct Report<'m> {
    measured: &'m [Measured],
    rows: Vec<Row>,
}

/// One figure, in all sizes.
#[derive(Serialize)]
struct Row {
    /// Of which question; the same for those that follow each other.
    of: &'static str,
    what: &'static str,
    values: Vec<f64>,
    /// What the last may be at most.
    limit: Option<f64>,
    is_ok: Option<bool>,
    #[serde(skip)]
    digits: usize,
}

/// Where a limit comes from.
enum Limit {
    None,
    Of(f64),
    /// So much more than in the smallest repository.
    OfSmallest,
    /// So much more than in the largest but one.
    OfLargestButOne,
}

/// The middle one of each figure; of memory the most, and of steps the least: calls that are made at a time may follow each
/// other where the machine is busy.
pub fn median(runs: Vec<Figures>) -> Figures {
    let middle = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(figure).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let count = |figure: fn(&Figures) -> f64| middle(figure) as u64;
    Figures {
        s3_gets: count(|run| run.s3_gets as f64),
        s3_bytes: count(|run| run.s3_bytes as f64),
        s3_calls: count(|run| run.s3_calls as f64),
        dynamodb_calls: count(|run| run.dynamodb_calls as f64),
        items: count(|run| run.items as f64),
        steps: runs.iter().map(|run| run.steps).min().unwrap_or_default(),
        millis: middle(|run| run.millis),
        memory: runs.iter().map(|run| run.memory).max().unwrap_or_default(),
    }
}

impl<'m> Report<'m> {
    /// Holds what was measured, the smallest first, to its limits.
    pub fn of(measured: &'m [Measured]) -> Self {
        let mut report = Self { measured, rows: Vec::new() };
        let history = "the history";
        report.add(history, "seconds to push it", 1, Limit::None, |size| size.pushed_seconds);
        report.add(history, "seconds of upkeep left then", 1, Limit::None, |size| size.settled_seconds);
        report.add(history, "peak while it was pushed, MiB", 0, Limit::Of(PUSHED_MEMORY), |size| {
            size.pushed_memory as f64 / MIB
        });
        report.add(history, "peak with the upkeep left, MiB", 0, Limit::None, |size| size.settled_memory as f64 / MIB);
        report.add(history, "packs, settled", 0, Limit::None, |size| size.packs as f64);
        report.add(history, "MiB of those", 1, Limit::None, |size| size.bytes as f64 / MIB);

        report.question(PUSH, Limit::Of(24.0), Limit::Of(1_000_000.0), true);
        report.question(FETCH, Limit::Of(10.0), Limit::Of(512_000.0), true);
        // Its body alone is 66 MB at a million.
        report.question(FETCH_HAVING_ALL, Limit::None, Limit::None, false);
        for question in [NEGOTIATE, FILTER_KNOWN, FILTER_UNKNOWN, FILTER_MIXED] {
            report.question(question, Limit::OfLargestButOne, Limit::OfLargestButOne, true);
        }
        report
    }

    fn question(&mut self, [cold, warm]: [&'static str; 2], gets: Limit, bytes: Limit, is_held: bool) {
        let mut add = |of, what, digits, limit, figure: fn(&Figures) -> f64| {
            self.add(of, what, digits, limit, |size| size.asked.get(of).map_or(f64::NAN, figure));
        };
        add(cold, "S3 GETs", 0, gets, |run| run.s3_gets as f64);
        add(cold, "bytes read from S3", 0, bytes, |run| run.s3_bytes as f64);
        for (of, is_cold) in [(cold, true), (warm, false)] {
            let held = |limit| if is_cold && is_held { limit } else { Limit::None };
            if !is_cold {
                add(of, "S3 GETs", 0, Limit::None, |run| run.s3_gets as f64);
                add(of, "bytes read from S3", 0, Limit::None, |run| run.s3_bytes as f64);
            }
            add(of, "calls to DynamoDB", 0, Limit::None, |run| run.dynamodb_calls as f64);
            add(of, "items listed by a request", 0, held(Limit::Of(ITEMS)), |run| run.items as f64);
            add(of, "sequential steps", 0, Limit::None, |run| run.steps as f64);
            add(of, "milliseconds", 2, held(Limit::OfSmallest), |run| run.millis);
            add(of, "memory beyond an empty process, MiB", 1, held(Limit::Of(MEMORY)), |run| run.memory as f64 / MIB);
        }
    }

    fn add(
        &mut self,
        of: &'static str,
        what: &'static str,
        digits: usize,
        limit: Limit,
        figure: impl Fn(&Measured) -> f64,
    ) {
        let values: Vec<f64> = self.measured.iter().map(figure).collect();
        let other = |other: Option<&f64>| other.map(|value| value * GROWTH);
        let limit = match limit {
            Limit::None => None,
            Limit::Of(limit) => Some(limit),
            Limit::OfSmallest => other(values.first()),
            Limit::OfLargestButOne => other(values.iter().rev().nth(1)),
        };
        let is_ok = limit.zip(values.last()).map(|(limit, value)| *value <= limit);
        self.rows.push(Row { of, what, values, limit, is_ok, digits });
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<48}", "commits x 20 files")?;
        for size in self.measured {
            write!(formatter, "{:>12}", grouped(size.commits as f64, 0))?;
        }
        writeln!(formatter, "{:>12}", "at most")?;
        let mut last = "";
        for Row { of, what, values, limit, is_ok, digits } in &self.rows {
            if *of != last {
                writeln!(formatter, "{of}")?;
                last = of;
            }
            write!(formatter, "    {what:<44}")?;
            for value in values {
                write!(formatter, "{:>12}", grouped(*value, *digits))?;
            }
            if let (Some(limit), Some(is_ok)) = (limit, is_ok) {
                let mark = if *is_ok { "ok" } else { "OVER" };
                let digits = if limit.fract() == 0.0 { *digits } else { (*digits).max(1) };
                write!(formatter, "{:>12}  {mark}", grouped(*limit, digits))?;
            }
            writeln!(formatter)?;
        }
        let over = self.rows.iter().filter(|row| row.is_ok == Some(false)).count();
        let held = self.rows.iter().filter(|row| row.is_ok.is_some()).count();
        writeln!(formatter, "{over} of {held} are over what they may be at the largest size")
    }
}
