//! Pages that a part of is written here: between two marks.

use crate::Failure;

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
