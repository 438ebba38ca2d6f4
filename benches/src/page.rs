//! Pages that a part of is written here: between two marks.

use std::path::PathBuf;

use crate::Failure;

/// A page, or a plot on one: where it is, what it says, and what it should say.
pub struct Page {
    /// Where it is.
    pub path: PathBuf,
    /// What it says; nothing if it is not there.
    pub old: String,
    /// What it says with what was counted today.
    pub new: String,
}

impl Page {
    /// A page of which the parts between these marks are written here.
    pub fn with(path: PathBuf, parts: &[(&str, &str, &str)]) -> Result<Self, Failure> {
        let old = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut new = old.clone();
        for (begin, end, text) in parts {
            new = between(&new, begin, end, text)?;
        }
        Ok(Self { path, old, new })
    }

    /// A file that is written here as a whole.
    pub fn whole(path: PathBuf, new: String) -> Self {
        Self { old: std::fs::read_to_string(&path).unwrap_or_default(), path, new }
    }
}

/// A page with this text between its marks.
pub fn between(page: &str, begin: &str, end: &str, text: &str) -> Result<String, Failure> {
    let (before, rest) = page.split_once(begin).ok_or_else(|| format!("the page lacks {begin}"))?;
    let (_, after) = rest.split_once(end).ok_or_else(|| format!("the page lacks {end}"))?;
    Ok(format!("{before}{begin}\n\n{text}\n{end}{after}"))
}

/// With a comma after each third digit.
pub fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !part.is_empty() {
        grouped.push('.');
        grouped.push_str(part);
    }
    grouped
}

/// Two digits that count, of dollars.
pub fn dollars(amount: f64) -> String {
    let digits = if amount <= 0.0 { 0 } else { (1 - amount.log10().floor() as i32).clamp(0, 9) };
    format!("{amount:.*}", usize::try_from(digits).unwrap_or_default())
}
