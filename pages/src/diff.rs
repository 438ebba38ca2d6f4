//! Line diffs: which lines of a file went and came, as one column or as two.
//!
//! imara-diff finds the lines without a clock, in time that its heuristics bound. What is too large to show is said to be.

use std::ops::Range;

use askama::filters::Safe;
use imara_diff::{Algorithm, Diff, InternedInput};

use crate::highlight::{self, Part};
use crate::kind::of_path;
use crate::text::{Markup, push_escaped};
use crate::view::DiffView;

/// The largest side of a diff, in bytes.
pub const MAX_BYTES: usize = 512 << 10;
/// The most lines of a side.
pub const MAX_LINES: usize = 20_000;
/// The most rows that are shown of one file.
pub const MAX_ROWS: usize = 2_000;
/// The most bytes of markup that are shown of one file, and one line more.
pub const MAX_TABLE_BYTES: usize = 2 << 20;
/// The most files that a page of changes shows.
pub const MAX_PAGE_FILES: usize = 300;
/// The most bytes, of both sides of all files, that a page of changes looks at. A caller need not load more.
pub const MAX_PAGE_INPUT: usize = 8 << 20;
/// The most rows that the diffs of one page are. The file that reaches it is the last that is shown.
pub const MAX_PAGE_ROWS: usize = 6_000;
/// The most bytes of markup that the changes of one page are. The file that reaches it is the last that is shown.
pub const MAX_PAGE_BYTES: usize = 4 << 20;
/// Unchanged lines around each change.
const CONTEXT: u32 = 3;

/// Whether a page of changes shows what is in a file of this path and size, and so needs its bytes on both sides.
pub fn is_worth_loading(path: &str, size: Option<u64>) -> bool {
    let fits = size.is_none_or(|size| usize::try_from(size).is_ok_and(|size| size <= MAX_BYTES));
    fits && of_path(path).needs_bytes()
}

/// What differs between two texts.
pub enum Lines {
    /// One of them is no text.
    Binary,
    /// They are too large to be compared here.
    TooLarge,
    /// The lines that differ.
    Changed(Changed),
}

/// The lines that differ, as ranges of line numbers that begin at 0.
pub struct Changed {
    /// How many lines came.
    pub added: usize,
    /// How many lines went.
    pub removed: usize,
    before: Vec<String>,
    after: Vec<String>,
    before_parts: Vec<Vec<Part>>,
    after_parts: Vec<Vec<Part>>,
    hunks: Vec<(Range<u32>, Range<u32>)>,
}

/// A text without zero bytes; other bytes that are no UTF-8 are replaced.
pub fn as_text(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    // A file of another encoding has single bytes that are no UTF-8; a file that is no text has many.
    let replaced = text.chars().filter(|c| *c == '\u{fffd}').count();
    (replaced.saturating_mul(10) <= text.len()).then(|| text.into_owned())
}

/// Compares two texts, either of which may be empty.
pub fn lines(path: &str, before: &[u8], after: &[u8]) -> Lines {
    if before.len() > MAX_BYTES || after.len() > MAX_BYTES {
        return Lines::TooLarge;
    }
    let (Some(before), Some(after)) = (as_text(before), as_text(after)) else {
        return Lines::Binary;
    };
    let input = InternedInput::new(before.as_str(), after.as_str());
    if input.before.len() > MAX_LINES || input.after.len() > MAX_LINES {
        return Lines::TooLarge;
    }
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let owned = |text: &str| highlight::lines(text).map(str::to_owned).collect();
    Lines::Changed(Changed {
        added: diff.count_additions() as usize,
        removed: diff.count_removals() as usize,
        before_parts: highlight::parts(path, &before),
        after_parts: highlight::parts(path, &after),
        before: owned(&before),
        after: owned(&after),
        hunks: diff.hunks().map(|hunk| (hunk.before, hunk.after)).collect(),
    })
}

/// A row of a diff: a line before, a line after, or a line that both have. Numbers begin at 0.
enum Row {
    Both(u32, u32),
    Before(u32),
    After(u32),
    /// Lines that are left out.
    Gap,
}

impl Changed {
    fn rows(&self) -> (Vec<Row>, bool) {
        let mut rows = Vec::new();
        let length = u32::try_from(self.before.len()).unwrap_or(u32::MAX);
        // Up to which line of `before` rows were made.
        let mut done = 0;
        let mut hunks = self.hunks.iter().peekable();
        while let Some((before, after)) = hunks.next() {
            let start = before.start.saturating_sub(CONTEXT).max(done);
            if start > done || (done == 0 && start > 0) {
                rows.push(Row::Gap);
            }
            for line in start..before.start {
                rows.push(Row::Both(line, after.start.saturating_sub(before.start.saturating_sub(line))));
            }
            rows.extend(before.clone().map(Row::Before));
            rows.extend(after.clone().map(Row::After));
            let next = hunks.peek().map_or(length, |(next, _)| next.start);
            done = before.end.saturating_add(CONTEXT).min(next).min(length);
            for line in before.end..done {
                rows.push(Row::Both(line, after.end.saturating_add(line.saturating_sub(before.end))));
            }
            if rows.len() > MAX_ROWS {
                rows.truncate(MAX_ROWS);
                return (rows, true);
            }
        }
        if done < length && !self.hunks.is_empty() {
            rows.push(Row::Gap);
        }
        (rows, false)
    }

    /// The table, how many rows it has, and whether there are more.
    pub fn table(&self, view: DiffView) -> (Markup, usize, bool) {
        let (rows, mut is_cut) = self.rows();
        let mut markup = String::with_capacity(rows.len().saturating_mul(160));
        markup.push_str(match view {
            DiffView::Unified => {
                "<table class=\"diff\"><thead class=\"vh\"><tr><th>Line before</th><th>Line after</th><th>Text</th></tr></thead><tbody>"
            }
            DiffView::Split => {
                "<table class=\"diff split\"><thead class=\"vh\"><tr><th>Line before</th><th>Text before</th><th>Line after</th><th>Text after</th></tr></thead><tbody>"
            }
        });
        let mut at = 0;
        while let Some(row) = rows.get(at) {
            if markup.len() > MAX_TABLE_BYTES {
                is_cut = true;
                break;
            }
            at = at.saturating_add(1);
            match row {
                Row::Gap => {
                    let columns = if view == DiffView::Split { 4 } else { 3 };
                    markup.push_str(&format!("<tr class=\"gap\"><td colspan=\"{columns}\">⋯</td></tr>"));
                }
                Row::Both(before, after) => self.push_both(&mut markup, *before, *after, view),
                Row::Before(_) | Row::After(_) => {
                    // All that went and came in one place.
                    let rest = rows.get(at.saturating_sub(1)..).unwrap_or_default();
                    let length = rest.iter().take_while(|row| matches!(row, Row::Before(_) | Row::After(_))).count();
                    self.push_changed(&mut markup, rest.get(..length).unwrap_or_default(), view);
                    at = at.saturating_sub(1).saturating_add(length);
                }
            }
        }
        is_cut |= markup.len() > MAX_TABLE_BYTES;
        markup.push_str("</tbody></table>");
        (Safe(markup), rows.len(), is_cut)
    }

    fn push_both(&self, markup: &mut String, before: u32, after: u32, view: DiffView) {
        markup.push_str("<tr>");
        push_number(markup, "", Some(before));
        if view == DiffView::Split {
            push_cell(markup, "", line(&self.after, after), parts(&self.after_parts, after), None);
        }
        push_number(markup, "", Some(after));
        push_cell(markup, "", line(&self.after, after), parts(&self.after_parts, after), None);
        markup.push_str("</tr>");
    }

    fn push_changed(&self, markup: &mut String, rows: &[Row], view: DiffView) {
        let before: Vec<u32> =
            rows.iter().filter_map(|row| if let Row::Before(n) = row { Some(*n) } else { None }).collect();
        let after: Vec<u32> =
            rows.iter().filter_map(|row| if let Row::After(n) = row { Some(*n) } else { None }).collect();
        // Lines are pairs where as many came as went: what differs in them is marked.
        let marks: Vec<Option<(Range<usize>, Range<usize>)>> = if before.len() == after.len() {
            before.iter().zip(&after).map(|(b, a)| differing(line(&self.before, *b), line(&self.after, *a))).collect()
        } else {
            Vec::new()
        };
        let mark = |at: usize| marks.get(at).cloned().flatten();
        let push_before = |markup: &mut String, at: usize, n: u32| {
            let mark = mark(at).map(|(before, _)| before);
            push_cell(markup, "del", line(&self.before, n), parts(&self.before_parts, n), mark);
        };
        let push_after = |markup: &mut String, at: usize, n: u32| {
            push_cell(
                markup,
                "ins",
                line(&self.after, n),
                parts(&self.after_parts, n),
                mark(at).map(|(_, after)| after),
            );
        };
        if view == DiffView::Unified {
            let is_full = |markup: &String| markup.len() > MAX_TABLE_BYTES;
            for (at, n) in before.iter().enumerate() {
                if is_full(markup) {
                    break;
                }
                markup.push_str("<tr>");
                push_number(markup, "del", Some(*n));
                push_number(markup, "del", None);
                push_before(markup, at, *n);
                markup.push_str("</tr>");
            }
            for (at, n) in after.iter().enumerate() {
                if is_full(markup) {
                    break;
                }
                markup.push_str("<tr>");
                push_number(markup, "ins", None);
                push_number(markup, "ins", Some(*n));
                push_after(markup, at, *n);
                markup.push_str("</tr>");
            }
            return;
        }
        for at in 0..before.len().max(after.len()) {
            if markup.len() > MAX_TABLE_BYTES {
                break;
            }
            markup.push_str("<tr>");
            match before.get(at) {
                Some(n) => {
                    push_number(markup, "del", Some(*n));
                    push_before(markup, at, *n);
                }
                None => markup.push_str("<td class=\"none\"></td><td class=\"none\"></td>"),
            }
            match after.get(at) {
                Some(n) => {
                    push_number(markup, "ins", Some(*n));
                    push_after(markup, at, *n);
                }
                None => markup.push_str("<td class=\"none\"></td><td class=\"none\"></td>"),
            }
            markup.push_str("</tr>");
        }
    }
}

fn line(lines: &[String], number: u32) -> &str {
    lines.get(number as usize).map_or("", String::as_str)
}

fn parts(parts: &[Vec<Part>], number: u32) -> &[Part] {
    parts.get(number as usize).map_or(&[], Vec::as_slice)
}

fn push_number(markup: &mut String, class: &str, number: Option<u32>) {
    let number = number.map(|number| number.saturating_add(1).to_string()).unwrap_or_default();
    markup.push_str(&format!("<td class=\"n {class}\">{number}</td>"));
}

fn push_cell(markup: &mut String, class: &str, line: &str, parts: &[Part], mark: Option<Range<usize>>) {
    let sign = match class {
        "del" => "<b>−</b>",
        "ins" => "<b>+</b>",
        _ => "",
    };
    markup.push_str(&format!("<td class=\"c {class}\">{sign}"));
    if line.len() > highlight::MAX_LINE_BYTES.saturating_mul(4) {
        push_escaped(markup, &crate::text::cut(line, highlight::MAX_LINE_BYTES));
    } else {
        highlight::push_line(markup, line, parts, mark);
    }
    markup.push_str("</td>");
}

/// Where two lines differ: behind what both begin with and before what both end with. `None` if that is most of them.
fn differing(before: &str, after: &str) -> Option<(Range<usize>, Range<usize>)> {
    let start: usize = before.chars().zip(after.chars()).take_while(|(b, a)| b == a).map(|(c, _)| c.len_utf8()).sum();
    let (before_rest, after_rest) = (before.get(start..)?, after.get(start..)?);
    let pairs = before_rest.chars().rev().zip(after_rest.chars().rev());
    let end: usize = pairs.take_while(|(b, a)| b == a).map(|(c, _)| c.len_utf8()).sum();
    let before_mark = start..before.len().saturating_sub(end);
    let after_mark = start..after.len().saturating_sub(end);
    let shared = start.saturating_add(end).saturating_mul(2);
    (shared >= before.trim().len().max(after.trim().len())).then_some((before_mark, after_mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changed(before: &str, after: &str) -> Changed {
        match lines("a.py", before.as_bytes(), after.as_bytes()) {
            Lines::Changed(changed) => changed,
            _ => panic!("no text"),
        }
    }

    /// The text of the cells of a class in each row, without signs.
    fn cells(markup: &str, class: &str) -> Vec<String> {
        let html = scraper::Html::parse_fragment(markup);
        let selector = scraper::Selector::parse(&format!("td.{class}")).unwrap();
        html.select(&selector).map(|cell| cell.text().collect()).collect()
    }

    #[test]
    fn a_changed_line_is_marked_where_it_differs() {
        let (table, rows, is_cut) = changed("a = 1\nb = 2\nc = 3\n", "a = 1\nb = 4\nc = 3\n").table(DiffView::Unified);
        assert_eq!((rows, is_cut), (4, false));
        assert!(table.0.contains("<em><i class=\"hn\">4</i></em>"), "{}", table.0);
    }

    #[test]
    fn what_is_too_large_says_so() {
        assert!(matches!(lines("a", &vec![b'a'; MAX_BYTES + 1], b""), Lines::TooLarge));
        assert!(matches!(lines("a", "\n".repeat(MAX_LINES + 1).as_bytes(), b""), Lines::TooLarge));
        assert!(matches!(lines("a", b"\0", b""), Lines::Binary));
        let (_, rows, is_cut) = changed("", &"a\n".repeat(MAX_ROWS + 1)).table(DiffView::Split);
        assert_eq!((rows, is_cut), (MAX_ROWS, true));
    }

    #[test]
    fn a_table_is_cut_where_its_markup_is_too_long() {
        let text = format!("{}\n", "1<".repeat(400)).repeat(600);
        for view in [DiffView::Unified, DiffView::Split] {
            let (table, _, is_cut) = changed("", &text).table(view);
            assert!(is_cut && table.0.len() < MAX_TABLE_BYTES + highlight::MAX_LINE_BYTES * highlight::GROWTH);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn both_views_have_every_line_that_went_and_came(
            before in prop::collection::vec("[a-c]{0,2}", 0..30),
            after in prop::collection::vec("[a-c]{0,2}", 0..30),
        ) {
            let texts = [before.join("\n"), after.join("\n")];
            let changed = changed(&texts[0], &texts[1]);
            for view in [DiffView::Unified, DiffView::Split] {
                let (table, ..) = changed.table(view);
                prop_assert_eq!(cells(&table.0, "c.del").len(), changed.removed);
                prop_assert_eq!(cells(&table.0, "c.ins").len(), changed.added);
            }
            // Without what went and with what came, the one text is the other.
            let (rows, _) = changed.rows();
            let shown_after = rows.iter().filter(|row| matches!(row, Row::Both(..) | Row::After(_))).count();
            let shown_before = rows.iter().filter(|row| matches!(row, Row::Both(..) | Row::Before(_))).count();
            prop_assert_eq!(shown_after + changed.before.len(), shown_before + changed.after.len());
        }

        #[test]
        fn every_two_files_can_be_compared(before in any::<Vec<u8>>(), after in any::<Vec<u8>>()) {
            if let Lines::Changed(changed) = lines("x.rs", &before, &after) {
                let (table, rows, _) = changed.table(DiffView::Split);
                let bytes = before.len() + after.len();
                prop_assert!(table.0.len() <= (bytes + 1) * 3 * highlight::GROWTH + (rows + 2) * 200);
            }
        }
    }
}
