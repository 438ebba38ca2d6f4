//! Plots of a run, as SVG.

use std::path::Path;

use plotters::prelude::*;

use super::figures::{Row, Scenario, median};
use crate::Failure;
use crate::plot::{Axis, LINES, ink, label};

const WIDTH: u32 = 860;
/// Pixels of one bar, of the gap between two questions, and of what is above and below all.
const BAR: i32 = 14;
const GAP: i32 = 16;
const TOP: i32 = 64;
const BOTTOM: i32 = 28;
/// Pixels to the left of the bars and to the right of them.
const LEFT: i32 = 210;
const RIGHT: i32 = 90;
const HUB: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const GIT: RGBColor = RGBColor(0xd9, 0x6b, 0x27);
const FLOOR: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);

/// Draws the milliseconds of a scenario: for each question a bar for the hub, one for Git and one for the floor, where they
/// are there. The axis is logarithmic, for a question may take a thousand times as long as another.
pub fn times(scenario: &Scenario, path: &Path) -> Result<(), Failure> {
    let groups: Vec<(&Row, Vec<(RGBColor, f64)>)> = scenario.rows.iter().map(|row| (row, bars(row))).collect();
    let values = groups.iter().flat_map(|(_, bars)| bars).map(|(_, millis)| *millis);
    let axis = Axis::around((LEFT, WIDTH as i32 - RIGHT), values);
    let height = groups.iter().map(|(_, bars)| bars.len() as i32 * BAR + GAP).sum::<i32>() + TOP + BOTTOM;
    let area = SVGBackend::new(path, (WIDTH, height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;

    area.draw_text(&format!("{}: milliseconds", scenario.name), &ink(18), (12, 10))?;
    let mut at = LEFT;
    for (name, color) in [("hub", HUB), ("git", GIT), ("floor", FLOOR)] {
        area.draw(&Rectangle::new([(at, 36), (at + 12, 46)], color.filled()))?;
        area.draw_text(name, &ink(13), (at + 18, 34))?;
        at += 90;
    }
    for power in axis.marks() {
        let x = axis.at(power);
        area.draw(&PathElement::new([(x, TOP - 6), (x, height - BOTTOM)], LINES.stroke_width(1)))?;
        area.draw_text(&label(power), &ink(12), (x - 8, height - BOTTOM + 6))?;
    }
    let mut y = TOP;
    for (row, bars) in &groups {
        let middle = y + bars.len() as i32 * BAR / 2 - 8;
        area.draw_text(&row.what, &ink(13), (12, middle))?;
        for (color, millis) in bars {
            let end = axis.at(*millis).max(LEFT + 2);
            area.draw(&Rectangle::new([(LEFT, y), (end, y + BAR - 2)], color.filled()))?;
            area.draw_text(&label(*millis), &ink(12), (end + 6, y - 1))?;
            y += BAR;
        }
        y += GAP;
    }
    area.present()?;
    Ok(())
}

fn bars(row: &Row) -> Vec<(RGBColor, f64)> {
    let git = row.git.as_ref().map(|git| (GIT, median(&git.millis)));
    let floor = row.whole_floor().map(|millis| (FLOOR, millis));
    [Some((HUB, median(&row.hub.millis))), git, floor].into_iter().flatten().collect()
}
