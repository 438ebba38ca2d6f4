//! The tables of a run: for the terminal, and for `docs/performance.md`.

use std::fmt;
use std::path::Path;

use super::figures::{Report, Row, Scenario, Taken, median, spread};
use super::plot;
use crate::Failure;
use crate::page::{between, grouped};

const BEGIN: &str = "<!-- measured by `cargo run --release -p benches -- compare --out docs/performance.md` -->";
const END: &str = "<!-- end of what is measured -->";

/// A scenario as a table for the terminal.
pub struct Table<'s>(pub &'s Scenario);

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scenario) = self;
        writeln!(formatter, "\n{}: {}", scenario.name, scenario.words)?;
        writeln!(
            formatter,
            "{:<32}{:>24}{:>24}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>11}{:>11}",
            "milliseconds",
            "hub",
            "git",
            "floor",
            "hub/git",
            "/floor",
            "cpu hub",
            "cpu git",
            "MiB hub",
            "MiB git",
            "KB up",
            "KB down"
        )?;
        for row in &scenario.rows {
            let cells = Cells::of(row);
            writeln!(
                formatter,
                "{:<32}{:>24}{:>24}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>11}{:>11}",
                row.what,
                cells.hub,
                cells.git,
                cells.floor,
                cells.to_git,
                cells.to_floor,
                cells.worked_hub,
                cells.worked_git,
                cells.peak_hub,
                cells.peak_git,
                cells.sent_hub,
                cells.received_hub
            )?;
            let parts: Vec<String> = row.floor.iter().map(|(what, millis)| format!("{what} {millis:.1}")).collect();
            if parts.len() > 1 {
                writeln!(formatter, "    floor: {}", parts.join(", "))?;
            }
            if !row.hub.first_byte.is_empty() {
                writeln!(formatter, "    first byte of the hub: {}", with_spread(&row.hub.first_byte))?;
            }
            if let Some(git) = &row.git {
                writeln!(formatter, "    git: KB up {}, KB down {}", kilobytes(git.sent), kilobytes(git.received))?;
            }
        }
        for (who, bytes) in &scenario.stored {
            writeln!(formatter, "stored by {who}: {} KB", kilobytes(*bytes))?;
        }
        Ok(())
    }
}

/// What is said of one question.
struct Cells {
    hub: String,
    git: String,
    floor: String,
    to_git: String,
    to_floor: String,
    worked_hub: String,
    worked_git: String,
    worked_to_floor: String,
    peak_hub: String,
    peak_git: String,
    sent_hub: String,
    received_hub: String,
    sent_git: String,
    received_git: String,
}

impl Cells {
    fn of(row: &Row) -> Self {
        let hub = median(&row.hub.millis);
        let floor = row.whole_floor();
        let git = |say: fn(&Taken) -> String| row.git.as_ref().map(say).unwrap_or_default();
        let worked = |taken: &Taken| taken.worked.map(|millis| format!("{millis:.1}")).unwrap_or_default();
        let ratio = |to: Option<f64>| to.map(|to| format!("{:.2}", hub / to)).unwrap_or_default();
        let mebibytes = |bytes: u64| if bytes == 0 { String::new() } else { grouped(bytes as f64 / 1_048_576.0, 0) };
        Self {
            hub: with_spread(&row.hub.millis),
            git: git(|git| with_spread(&git.millis)),
            floor: floor.map(|millis| format!("{millis:.1}")).unwrap_or_default(),
            to_git: ratio(row.git.as_ref().map(|git| median(&git.millis))),
            to_floor: ratio(floor),
            worked_hub: worked(&row.hub),
            worked_git: row.git.as_ref().map(worked).unwrap_or_default(),
            worked_to_floor: floor
                .zip(row.hub.worked)
                .map(|(floor, worked)| format!("{:.2}", worked / floor))
                .unwrap_or_default(),
            peak_hub: mebibytes(row.hub.peak),
            peak_git: row.git.as_ref().map(|git| mebibytes(git.peak)).unwrap_or_default(),
            sent_hub: kilobytes(row.hub.sent),
            received_hub: kilobytes(row.hub.received),
            sent_git: git(|git| kilobytes(git.sent)),
            received_git: git(|git| kilobytes(git.received)),
        }
    }
}

/// Puts the tables into a page, between its marks, and the plots into the folder beside it that has its name.
pub fn write(report: &Report, path: &Path) -> Result<(), Failure> {
    let plots = path.with_extension("");
    std::fs::create_dir_all(&plots)?;
    let folder = plots.file_name().and_then(|name| name.to_str()).ok_or("the name of the page")?;
    let mut text = format!("Measured on {}, on {}", report.at, report.machine);
    text.push_str(&report.git.as_ref().map_or_else(|| ".".to_owned(), |git| format!(", beside {git}.")));
    for scenario in &report.scenarios {
        plot::times(scenario, &plots.join(format!("{}.svg", scenario.name)))?;
        text.push_str(&section(scenario, folder));
    }
    let old = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(std::fs::write(path, between(&old, BEGIN, END, &text)?)?)
}

fn section(scenario: &Scenario, folder: &str) -> String {
    let Scenario { name, words, rows, stored, .. } = scenario;
    let mut lines = vec![
        format!("\n\n### {name}\n\n{words}.\n"),
        format!("![Milliseconds of {name}]({folder}/{name}.svg)\n"),
        "| | hub, ms | git, ms | floor, ms | hub / git | hub / floor | processor, hub, ms | processor, git, ms |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let Cells { hub, git, floor, to_git, to_floor, worked_hub, worked_git, worked_to_floor, .. } = Cells::of(row);
        let worked =
            if row.floor.len() > 1 { format!("{worked_hub} ({worked_to_floor} of the floor)") } else { worked_hub };
        let what = &row.what;
        lines.push(format!("| {what} | {hub} | {git} | {floor} | {to_git} | {to_floor} | {worked} | {worked_git} |"));
    }
    lines.push(
        "\n| | memory, hub, MiB | memory, git, MiB | sent, hub, KB | sent, git, KB | got, hub, KB | got, git, KB |"
            .to_owned(),
    );
    lines.push("|---|---|---|---|---|---|---|".to_owned());
    for row in rows {
        let Cells { peak_hub, peak_git, sent_hub, received_hub, sent_git, received_git, .. } = Cells::of(row);
        let what = &row.what;
        lines.push(format!(
            "| {what} | {peak_hub} | {peak_git} | {sent_hub} | {sent_git} | {received_hub} | {received_git} |"
        ));
    }
    for row in rows.iter().filter(|row| row.floor.len() > 1) {
        let parts: Vec<String> = row.floor.iter().map(|(what, millis)| format!("{what} {millis:.0} ms")).collect();
        lines.push(format!("\nThe floor of the {} is {}.", row.what, parts.join(", ")));
    }
    for row in rows.iter().filter(|row| !row.hub.first_byte.is_empty()) {
        lines.push(format!("\nThe first byte of a {} comes after {} ms.", row.what, with_spread(&row.hub.first_byte)));
    }
    let stored: Vec<String> = stored.iter().map(|(who, bytes)| format!("{who} {} KB", kilobytes(*bytes))).collect();
    if !stored.is_empty() {
        lines.push(format!("\nStored after the upkeep: {}.", stored.join(", ")));
    }
    lines.join("\n")
}

/// The median, and the lowest and the highest.
fn with_spread(values: &[f64]) -> String {
    let digits = |value: f64| if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let say = |value: f64| grouped(value, digits(value));
    let (low, high) = spread(values);
    if values.is_empty() { String::new() } else { format!("{} ({} to {})", say(median(values)), say(low), say(high)) }
}

fn kilobytes(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes if bytes < 10_000 => format!("{:.1}", bytes as f64 / 1e3),
        bytes => grouped(bytes as f64 / 1e3, 0),
    }
}

/// The processor, how many there are, and the system.
pub fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown", |(_, model)| model.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("a machine with {processors} processors ({model}), Linux {}", kernel.trim())
}
