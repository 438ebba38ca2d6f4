//! The graph beside a list of commits: one lane for each line of history, drawn row by row.
//!
//! A row is an SVG as high as its commit's text: lines go from its top to its middle, where the commit is, and on to its
//! bottom, in percent of the height. So rows of any height fit together, without a script.

use askama::filters::Safe;

use crate::parts::CommitLine;
use crate::text::Markup;

/// The most lanes that are drawn. Lines further right are drawn in the last one.
pub const MAX_LANES: usize = 10;
/// The most lanes that are followed. A history that needs more has lines that end.
const MAX_FOLLOWED: usize = 256;
const LANE_WIDTH: usize = 14;
const COLOURS: usize = 6;
/// Where lines come from above: a pixel in the row before, as rows need not begin at a whole pixel.
const TOP: &str = "-1";

/// The lanes of a list: of each, which commit it leads to.
#[derive(Debug, Clone, Default)]
struct Lanes {
    open: Vec<Option<String>>,
}

/// What goes through a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    /// The commit's lane.
    lane: usize,
    /// From the top to the middle: the lanes of lines that end at the commit.
    into: Vec<usize>,
    /// From the middle to the bottom: the lanes of the parents.
    out: Vec<usize>,
    /// Lanes that pass.
    through: Vec<usize>,
}

impl Lanes {
    fn of(open: &[String]) -> Self {
        Self { open: open.iter().take(MAX_FOLLOWED).cloned().map(Some).collect() }
    }

    fn free(&mut self) -> Option<usize> {
        let found = self.open.iter().position(Option::is_none);
        if found.is_none() && self.open.len() < MAX_FOLLOWED {
            self.open.push(None);
            return self.open.len().checked_sub(1);
        }
        found
    }

    fn place(&mut self, commit: &CommitLine) -> Row {
        let leads_here = |open: &Option<String>| open.as_deref() == Some(commit.id.as_str());
        let into: Vec<usize> =
            (0..self.open.len()).filter(|lane| self.open.get(*lane).is_some_and(leads_here)).collect();
        let through = (0..self.open.len())
            .filter(|lane| self.open.get(*lane).is_some_and(|open| open.is_some() && !leads_here(open)))
            .collect();
        for open in self.open.iter_mut().filter(|open| leads_here(open)) {
            *open = None;
        }
        let lane = into.first().copied().or_else(|| self.free()).unwrap_or(MAX_FOLLOWED);
        let mut out = Vec::new();
        for parent in commit.parents.iter().take(2) {
            let known = self.open.iter().position(|open| open.as_deref() == Some(parent));
            let target = known.or_else(|| {
                let own = self.open.get(lane).is_some_and(Option::is_none).then_some(lane);
                own.or_else(|| self.free())
            });
            let Some(target) = target else { continue };
            if let Some(open) = self.open.get_mut(target) {
                *open = Some(parent.clone());
            }
            out.push(target);
        }
        while self.open.last().is_some_and(Option::is_none) {
            self.open.pop();
        }
        Row { lane, into, out, through }
    }
}

/// Which commits the lanes lead to behind a list: what [`crate::page::commits::CommitsPage::open`] is on the next page.
pub fn open_lanes(open: &[String], commits: &[CommitLine]) -> Vec<String> {
    let mut lanes = Lanes::of(open);
    for commit in commits {
        lanes.place(commit);
    }
    lanes.open.into_iter().flatten().collect()
}

/// The drawing of each commit of a list, all as wide as the widest needs.
pub fn draw(open: &[String], commits: &[CommitLine]) -> Vec<Markup> {
    let mut lanes = Lanes::of(open);
    let rows: Vec<Row> = commits.iter().map(|commit| lanes.place(commit)).collect();
    let all = rows.iter().flat_map(|row| row.into.iter().chain(&row.out).chain(&row.through).chain([&row.lane]));
    let widest = all.copied().max().unwrap_or(0).min(MAX_LANES.saturating_sub(1));
    let width = widest.saturating_add(1).saturating_mul(LANE_WIDTH).saturating_add(4);
    rows.iter().zip(commits).map(|(row, commit)| Safe(svg(row, width, commit.parents.len() > 1))).collect()
}

fn x(lane: usize) -> usize {
    let lane = lane.min(MAX_LANES.saturating_sub(1));
    lane.saturating_mul(LANE_WIDTH).saturating_add(LANE_WIDTH / 2).saturating_add(2)
}

fn svg(row: &Row, width: usize, is_merge: bool) -> String {
    let mut svg = format!("<svg width=\"{width}\" height=\"100%\" aria-hidden=\"true\">");
    let mut line = |from: usize, from_y: &str, to: usize, to_y: &str, colour: usize| {
        svg.push_str(&format!(
            "<line class=\"g{}\" x1=\"{}\" y1=\"{from_y}\" x2=\"{}\" y2=\"{to_y}\"/>",
            colour % COLOURS,
            x(from),
            x(to)
        ));
    };
    for lane in row.through.iter().filter(|lane| **lane < MAX_LANES) {
        line(*lane, TOP, *lane, "100%", *lane);
    }
    for lane in row.into.iter().take(MAX_LANES) {
        line(*lane, TOP, row.lane, "50%", *lane);
    }
    for lane in &row.out {
        line(row.lane, "50%", *lane, "100%", *lane);
    }
    let (class, radius) = if is_merge { ("m", 4) } else { ("p", 5) };
    let colour = row.lane % COLOURS;
    svg.push_str(&format!(
        "<circle class=\"g{colour} {class}\" cx=\"{}\" cy=\"50%\" r=\"{radius}\"/></svg>",
        x(row.lane)
    ));
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(id: &str, parents: &[&str]) -> CommitLine {
        let parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        CommitLine { id: id.to_owned(), parents, ..CommitLine::default() }
    }

    #[test]
    fn a_merge_opens_a_lane_and_its_root_closes_it() {
        let mut lanes = Lanes::default();
        let rows: Vec<Row> = [commit("m", &["a", "b"]), commit("a", &["r"]), commit("b", &["r"]), commit("r", &[])]
            .iter()
            .map(|commit| lanes.place(commit))
            .collect();
        assert_eq!(rows[0], Row { lane: 0, into: vec![], out: vec![0, 1], through: vec![] });
        assert_eq!(rows[1], Row { lane: 0, into: vec![0], out: vec![0], through: vec![1] });
        assert_eq!(rows[2], Row { lane: 1, into: vec![1], out: vec![0], through: vec![0] });
        assert_eq!(rows[3], Row { lane: 0, into: vec![0], out: vec![], through: vec![] });
        assert!(lanes.open.is_empty());
    }

    proptest! {
        #[test]
        fn a_page_goes_on_where_the_last_one_ended(
            parents in prop::collection::vec(prop::collection::vec(1_usize..12, 0..3), 0..60),
            split in 0_usize..60,
        ) {
            let commits: Vec<CommitLine> = parents.iter().enumerate().map(|(at, steps)| CommitLine {
                id: at.to_string(),
                parents: steps.iter().map(|step| (at + step).to_string()).collect(),
                ..CommitLine::default()
            }).collect();
            let (first, second) = commits.split_at(split.min(commits.len()));
            let open = open_lanes(&[], first);
            let all: std::collections::HashSet<String> = open_lanes(&open, second).into_iter().collect();
            let whole: std::collections::HashSet<String> = open_lanes(&[], &commits).into_iter().collect();
            prop_assert_eq!(all, whole);
            let drawn = draw(&open, second);
            prop_assert_eq!(drawn.len(), second.len());
            prop_assert!(drawn.iter().all(|svg| svg.0.len() <= 120 * (2 * MAX_LANES + 4)));
        }
    }
}
