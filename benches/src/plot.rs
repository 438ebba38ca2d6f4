//! What plots have in common: colors, text and logarithmic axes.

use plotters::prelude::*;

use crate::page::grouped;

/// Of text and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Of the lines behind what is shown.
pub const LINES: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Text of this size, in pixels.
pub fn ink(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// A logarithmic axis: pixels by values.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Where it begins, and where it ends.
    pixels: (i32, i32),
    /// The powers of ten that are there.
    powers: (i32, i32),
}

impl Axis {
    /// From one power of ten to another, which is greater.
    pub const fn new(pixels: (i32, i32), powers: (i32, i32)) -> Self {
        Self { pixels, powers }
    }

    /// From the power of ten below the lowest of these values to the one above the highest.
    pub fn around(pixels: (i32, i32), values: impl Iterator<Item = f64> + Clone) -> Self {
        let lowest = decade(values.clone().fold(f64::INFINITY, f64::min)).floor() as i32;
        let highest = decade(values.fold(0.0, f64::max)).ceil() as i32;
        Self::new(pixels, (lowest, highest.max(lowest + 1)))
    }

    /// Where a value is.
    pub fn at(&self, value: f64) -> i32 {
        let ((begin, end), (lowest, highest)) = (self.pixels, self.powers);
        let share = (decade(value) - f64::from(lowest)) / f64::from(highest - lowest);
        begin + (share * f64::from(end - begin)).round() as i32
    }

    /// The powers of ten on it.
    pub fn marks(&self) -> impl Iterator<Item = f64> {
        (self.powers.0..=self.powers.1).map(|power| 10_f64.powi(power))
    }
}

fn decade(value: f64) -> f64 {
    value.max(0.01).log10()
}

/// Two digits that count, or all before the point.
pub fn label(value: f64) -> String {
    if value >= 10.0 {
        grouped(value, 0)
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
