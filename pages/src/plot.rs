//! Plots in SVG that fit any width: lines and bars stretch, and all text is outside of them.

use askama::filters::Safe;

use crate::text::Markup;

/// The most points of a line. Of more every nth is drawn, and the last.
pub const MAX_POINTS: usize = 300;

/// A line with the area below it. `points` are x and y; x rises. The highest y is at the top, 0 at the bottom.
pub fn line(points: &[(f64, f64)]) -> Markup {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let (Some((first, _)), Some((last, _))) = (finite.first().copied(), finite.last().copied()) else {
        return Safe(String::new());
    };
    let top = finite.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let across = |x: f64| if last > first { ((x - first) / (last - first) * 1000.0).clamp(0.0, 1000.0) } else { 500.0 };
    let up = |y: f64| if top > 0.0 { (196.0 - y / top * 190.0).clamp(0.0, 196.0) } else { 196.0 };
    let step = finite.len().div_ceil(MAX_POINTS).max(1);
    let mut path = String::new();
    let kept = finite.iter().enumerate().filter(|(at, _)| at % step == 0 || at.saturating_add(1) == finite.len());
    let mut height = None;
    for (_, (x, y)) in kept {
        let (x, y) = (across(*x), up(*y));
        // What was there stays until more is: steps, not slopes.
        match height {
            None => path.push_str(&format!("M{x:.1} {y:.1}")),
            Some(_) => path.push_str(&format!("H{x:.1}V{y:.1}")),
        }
        height = Some(y);
    }
    let (left, right) = (across(first), 1000.0);
    Safe(format!(
        "<svg class=\"plot\" viewBox=\"0 0 1000 200\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <path class=\"grid\" d=\"M0 6H1000M0 101H1000M0 196H1000\"/>\
         <path class=\"area\" d=\"{path}H{right}V196H{left:.1}Z\"/><path class=\"line\" d=\"{path}H{right}\"/></svg>"
    ))
}

/// A bar of a part of the whole width, between 0 and 1. `class` is the crate's own.
pub fn bar(part: f64, class: &'static str) -> Markup {
    let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    let percent = part * 100.0;
    Safe(format!(
        "<svg class=\"hbar\" width=\"100%\" height=\"10\" aria-hidden=\"true\">\
         <rect class=\"{class}\" width=\"{percent:.1}%\" height=\"10\" rx=\"2\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_series_can_be_drawn(points in prop::collection::vec(any::<(f64, f64)>(), 0..900)) {
            let svg = line(&points).0;
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
            prop_assert!(svg.len() < 600 + (MAX_POINTS + 2) * 40);
        }

        #[test]
        fn a_bar_lies_in_its_row(part in any::<f64>()) {
            let svg = bar(part, "b").0;
            prop_assert!(!svg.contains("NaN") && svg.len() < 200);
        }
    }
}
