//! The plot of a case: the load, and what it takes of each limit.

use plotters::prelude::*;

use super::limit::{Case, about};
use crate::Failure;
use crate::plot::{Axis, INK, LINES, ink};

const WIDTH: i32 = 1_000;
/// Pixels around the lines.
const LEFT: i32 = 70;
const RIGHT: i32 = 40;
const TOP: i32 = 44;
const BOTTOM: i32 = 48;
/// Pixels of the lines' area, and of each row of what they are.
const HEIGHT: i32 = 420;
const ROW: i32 = 18;
/// Percent, as powers of ten.
const PERCENT: (i32, i32) = (-1, 4);
/// Points of a line for each power of ten.
const POINTS: i32 = 12;
/// Of the lines, in the order in which they are reached. The darkest come first.
const COLORS: [RGBColor; 11] = [
    RGBColor(0xb3, 0x1b, 0x1b),
    RGBColor(0x1f, 0x6f, 0xb4),
    RGBColor(0xd9, 0x8b, 0x12),
    RGBColor(0x2c, 0x8c, 0x3c),
    RGBColor(0x7a, 0x3f, 0xa8),
    RGBColor(0x12, 0x96, 0x96),
    RGBColor(0xd0, 0x4f, 0x9b),
    RGBColor(0x8a, 0x5a, 0x2b),
    RGBColor(0x5c, 0x74, 0x0f),
    RGBColor(0x55, 0x66, 0x88),
    RGBColor(0x99, 0x99, 0x99),
];

/// Draws it. Both axes are logarithmic, so what grows in proportion is a straight line.
pub fn draw(case: &Case) -> Result<String, Failure> {
    let limits = case.by_load();
    let bottom = TOP + HEIGHT;
    let height = bottom + BOTTOM + limits.len() as i32 * ROW + 12;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw_text(&format!("{}: percent of each limit", case.title), &ink(18), (12, 10))?;

    let (loads, parts) = (Axis::new((LEFT, WIDTH - RIGHT), case.powers), Axis::new((bottom, TOP), PERCENT));
    for power in loads.marks() {
        let x = loads.at(power);
        area.draw(&PathElement::new([(x, TOP), (x, bottom)], LINES.stroke_width(1)))?;
        let text = about(power);
        area.draw_text(&text, &ink(12), (x - 3 * text.len() as i32, bottom + 6))?;
    }
    for power in parts.marks() {
        let y = parts.at(power);
        area.draw(&PathElement::new([(LEFT, y), (WIDTH - RIGHT, y)], LINES.stroke_width(1)))?;
        let text = format!("{} %", about(power));
        area.draw_text(&text, &ink(12), (LEFT - 8 - 7 * text.len() as i32, y - 7))?;
    }
    area.draw_text(case.unit, &ink(13), (LEFT, bottom + 24))?;
    let (x, full) = (loads.at(case.load), parts.at(100.0));
    area.draw(&PathElement::new([(LEFT, full), (WIDTH - RIGHT, full)], INK.stroke_width(2)))?;
    area.draw(&PathElement::new([(x, TOP), (x, bottom)], INK.stroke_width(2)))?;

    let last = (case.powers.1 - case.powers.0) * POINTS;
    for (place, ((limit, reached), color)) in (0..).zip(limits.iter().zip(COLORS.iter().cycle())) {
        let load = |point: i32| 10_f64.powf(f64::from(case.powers.0) + f64::from(point) / f64::from(POINTS));
        let points: Vec<(i32, i32)> = (0..=last)
            .map(|point| (loads.at(load(point)), limit.used(load(point)) * 100.0))
            .filter(|(_, percent)| (0.1..=10_000.0).contains(percent))
            .map(|(x, percent)| (x, parts.at(percent)))
            .collect();
        area.draw(&PathElement::new(points, color.stroke_width(2)))?;
        if let Some(reached) = reached {
            area.draw(&Circle::new((loads.at(*reached), full), 4, color.filled()))?;
        }
        let y = bottom + BOTTOM + place * ROW;
        area.draw(&Rectangle::new([(LEFT, y), (LEFT + 14, y + 10)], color.filled()))?;
        let name = limit.name.replace('`', "");
        area.draw_text(&format!("{}: {name}", case.where_reached(*reached)), &ink(13), (LEFT + 22, y - 3))?;
    }
    area.present()?;
    drop(area);
    Ok(svg)
}
