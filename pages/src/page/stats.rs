//! `/{owner}/{slug}/stats`: what a repository is made of, how it grew, and what a clone of it costs.

use crate::plot;
use crate::text::{self, Markup};
use askama::Template;
use jiff::Timestamp;
use serde::Serialize;

use crate::frame::{Hub, Repo};

/// `/{owner}/{slug}/stats`. Links: `log`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "stats.html")]
pub struct StatsPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// How many commits are stored.
    pub commits: u64,
    /// How many snapshots are stored.
    pub snapshots: u64,
    /// How many objects are stored.
    pub objects: u64,
    /// Bytes as they are sent.
    pub raw_bytes: u64,
    /// Bytes as they are stored.
    pub stored_bytes: u64,
    /// Packs, the oldest first. Past [`StatsPage::MAX_BARS`] the smallest are drawn together.
    pub packs: Vec<PackLine>,
    /// How many packs there are, where `packs` does not have all.
    pub pack_count: u64,
    /// How many large objects there are, and their bytes, if known.
    pub large_objects: Option<(u64, u64)>,
    /// Bytes of garbage, if known.
    pub garbage_bytes: Option<u64>,
    /// How the repository grew: points in order of time.
    pub growth: Vec<GrowthPoint>,
    /// What a clone of all branches costs, if that was worked out.
    pub clone: Option<CloneCost>,
}

impl StatsPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn plots(&self) -> Vec<Plot> {
        let (first, last) = (self.growth.first(), self.growth.last());
        let day = |point: Option<&GrowthPoint>| point.map(|point| text::day(point.at)).unwrap_or_default();
        let plot = |title, value: fn(&GrowthPoint) -> u64, shown: fn(u64) -> String| {
            let points: Vec<(f64, f64)> =
                self.growth.iter().map(|point| (point.at.as_second() as f64, value(point) as f64)).collect();
            let top = self.growth.iter().map(value).max().unwrap_or(0);
            Plot { title, top: shown(top), svg: plot::line(&points), from: day(first), until: day(last) }
        };
        vec![
            plot("Commits", |point| point.commits, text::number),
            plot("Bytes in storage", |point| point.bytes, text::size),
        ]
    }

    fn pack_total(&self) -> u64 {
        self.pack_count.max(self.packs.len() as u64)
    }

    /// The largest packs, in the order that they are given in.
    fn pack_rows(&self) -> Vec<PackRow> {
        let mut sizes: Vec<u64> = self.packs.iter().map(|pack| pack.bytes).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let largest = sizes.first().copied().unwrap_or(0).max(1);
        let least = sizes.get(Self::MAX_BARS).copied().map_or(0, |size| size.saturating_add(1));
        let row = |pack: &PackLine| PackRow {
            written: pack.written_at.map(text::day).unwrap_or_default(),
            records: text::number(pack.records),
            size: text::size(pack.bytes),
            bar: plot::bar(pack.bytes as f64 / largest as f64, if pack.is_condemned { "condemned" } else { "b" }),
            note: match (pack.is_condemned, pack.merged) {
                (true, _) => "garbage".to_owned(),
                (false, 0) => "a push".to_owned(),
                (false, merged) => format!("merged of {}", text::number(merged)),
            },
        };
        self.packs.iter().filter(|pack| pack.bytes >= least).take(Self::MAX_BARS).map(row).collect()
    }

    fn pack_rest(&self) -> Option<String> {
        let rest = self.pack_total().saturating_sub(self.pack_rows().len() as u64);
        (rest > 0).then(|| format!("And {}.", text::count(rest, "smaller pack", "smaller packs")))
    }
}

/// A pack in the plot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PackLine {
    /// Its id.
    pub id: String,
    /// Its bytes in storage.
    pub bytes: u64,
    /// Its records: commits, snapshots and objects together.
    pub records: u64,
    /// How many packs were merged into it; 0 for one that a push wrote.
    pub merged: u64,
    /// Whether it holds garbage only.
    pub is_condemned: bool,
    /// When it was written, if known.
    pub written_at: Option<Timestamp>,
}

/// What a repository had at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GrowthPoint {
    /// The time.
    pub at: Timestamp,
    /// How many commits it had.
    pub commits: u64,
    /// How many bytes it had in storage.
    pub bytes: u64,
}

/// What a clone of all branches costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CloneCost {
    /// Bytes of the answer, about.
    pub answer_bytes: u64,
    /// How much of an answer a stock client reads at most, in bytes.
    pub client_limit: u64,
    /// Calls to S3.
    pub s3_gets: u64,
    /// Bytes that are read of S3.
    pub s3_bytes: u64,
    /// Seconds that a function takes, about.
    pub seconds: f64,
    /// US dollars at list prices for each part: its name, and what it costs.
    pub dollars: [(&'static str, f64); 5],
}

impl StatsPage {
    /// How many packs are drawn.
    pub const MAX_BARS: usize = 40;
}

struct Plot {
    title: &'static str,
    top: String,
    svg: Markup,
    from: String,
    until: String,
}

struct PackRow {
    written: String,
    records: String,
    size: String,
    bar: Markup,
    note: String,
}

impl CloneCost {
    fn total(&self) -> f64 {
        self.dollars.iter().map(|(_, sum)| sum).sum()
    }

    fn is_too_large(&self) -> bool {
        self.client_limit > 0 && self.answer_bytes > self.client_limit
    }

    fn shown_seconds(&self) -> String {
        format!("{:.1} seconds", if self.seconds.is_finite() { self.seconds.max(0.0) } else { 0.0 })
    }

    fn rows(&self) -> Vec<(&'static str, String, Markup)> {
        let total = self.total();
        let part = |sum: f64| if total > 0.0 { sum / total } else { 0.0 };
        let named = self.dollars.iter().filter(|(name, _)| !name.is_empty());
        named.map(|(name, sum)| (*name, text::dollars(*sum), plot::bar(part(*sum), "b"))).collect()
    }
}
