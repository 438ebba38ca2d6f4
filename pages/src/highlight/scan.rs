//! The scanner: one line at a time, each byte read once, and what is open at a line's end carried to the next line.

use super::languages::{Kind, Language};
use super::{MAX_LINE_BYTES, Part};

const COMMENT: &str = "hc";
const STRING: &str = "hs";
const VALUE: &str = "hn";
const MARK: &str = "he";
const KEYWORD: &str = "hk";
const CALL: &str = "hf";
const TYPE: &str = "ht";

/// What the next line begins in: what ends it, its class, and whether it has escapes.
#[derive(Clone, Copy)]
pub struct Open {
    close: &'static str,
    class: &'static str,
    has_escapes: bool,
}

struct Scan<'l> {
    line: &'l str,
    at: usize,
    parts: Vec<Part>,
}

impl<'l> Scan<'l> {
    fn rest(&self) -> &'l str {
        self.line.get(self.at..).unwrap_or_default()
    }

    /// Passes some bytes, which are of a class.
    fn pass(&mut self, bytes: usize, class: &'static str) {
        self.at = self.at.saturating_add(bytes).min(self.line.len());
        match self.parts.last_mut() {
            Some(last) if last.class == class => last.end = self.at,
            _ => self.parts.push(Part { end: self.at, class }),
        }
    }

    /// Passes what is open, to its end or to the line's.
    fn pass_open(&mut self, open: Open) -> Option<Open> {
        let rest = self.rest();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if open.has_escapes && c == '\\' {
                chars.next();
            } else if rest.get(at..).is_some_and(|rest| rest.starts_with(open.close)) {
                self.pass(at.saturating_add(open.close.len()), open.class);
                return None;
            }
        }
        self.pass(rest.len(), open.class);
        Some(open)
    }
}

/// The parts of a line.
pub fn line(language: &'static Language, line: &str, open: &mut Option<Open>) -> Vec<Part> {
    if line.len() > MAX_LINE_BYTES {
        *open = None;
        return Vec::new();
    }
    let mut scan = Scan { line, at: 0, parts: Vec::new() };
    if let Some(opened) = open.take() {
        *open = scan.pass_open(opened);
    }
    match language.kind {
        Kind::Markdown => markdown(&mut scan),
        Kind::Diff => diff(&mut scan),
        _ => {
            let mut is_in_tag = false;
            while scan.at < line.len() && open.is_none() {
                *open = step(language, &mut scan, &mut is_in_tag);
            }
        }
    }
    scan.parts
}

fn markdown(scan: &mut Scan<'_>) {
    let rest = scan.rest();
    let class = match rest.trim_start().chars().next() {
        Some('#') => KEYWORD,
        Some('>') => COMMENT,
        _ => "",
    };
    if !class.is_empty() {
        return scan.pass(rest.len(), class);
    }
    for (at, piece) in rest.split_inclusive('`').enumerate() {
        scan.pass(piece.len(), if at % 2 == 1 { STRING } else { "" });
    }
}

fn diff(scan: &mut Scan<'_>) {
    let rest = scan.rest();
    let class = match rest.chars().next() {
        Some('+') => STRING,
        Some('-') => MARK,
        Some('@') => KEYWORD,
        _ => "",
    };
    scan.pass(rest.len(), class);
}

/// Passes the next word, string, comment or sign; returns what stays open behind the line's end.
fn step(language: &'static Language, scan: &mut Scan<'_>, is_in_tag: &mut bool) -> Option<Open> {
    let rest = scan.rest();
    let first = rest.chars().next()?;
    for (start, close) in language.block_comments {
        if rest.starts_with(start) {
            scan.pass(start.len(), COMMENT);
            return scan.pass_open(Open { close, class: COMMENT, has_escapes: false });
        }
    }
    let begins_word = scan.at == 0 || scan.line.get(..scan.at).is_some_and(|before| before.ends_with([' ', '\t']));
    for start in language.line_comments {
        // A `#` or `;` inside a word is none, as in a shell's `$#` or a colour.
        if rest.starts_with(start) && (start.len() > 1 || begins_word) {
            scan.pass(rest.len(), COMMENT);
            return None;
        }
    }
    if language.kind == Kind::Tags && !*is_in_tag {
        let text = rest.find(['<', '&']).unwrap_or(rest.len());
        match (text, first) {
            (0, '<') => {
                let name = rest.find([' ', '\t', '>']).unwrap_or(rest.len());
                scan.pass(name.max(1), KEYWORD);
                *is_in_tag = true;
            }
            (0, _) => scan.pass(first.len_utf8(), VALUE),
            (text, _) => scan.pass(text, ""),
        }
        return None;
    }
    if language.kind == Kind::Tags && first == '>' {
        *is_in_tag = false;
        scan.pass(1, KEYWORD);
        return None;
    }
    if language.kind == Kind::Rust && first == '\'' {
        lifetime_or_char(scan, rest);
        return None;
    }
    for quote in language.strings {
        if rest.starts_with(quote.open) {
            let opened = Open { close: quote.close, class: STRING, has_escapes: quote.has_escapes };
            let class = if is_key(language, rest, quote.open.len()) { CALL } else { STRING };
            scan.pass(quote.open.len(), class);
            let open = scan.pass_open(Open { class, ..opened });
            return open.filter(|_| quote.is_long);
        }
    }
    if first.is_ascii_digit() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        scan.pass(end, VALUE);
        return None;
    }
    let is_in_word = |c: char| c.is_alphanumeric() || c == '_' || language.in_words.contains(c);
    if is_in_word(first) {
        let end = rest.find(|c: char| !is_in_word(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        scan.pass(end, class_of(language, word, behind, begins_word));
        return None;
    }
    // A sign; all blanks at once.
    let blanks = rest.find(|c: char| c != ' ' && c != '\t').unwrap_or(rest.len());
    scan.pass(blanks.max(first.len_utf8()), "");
    None
}

fn class_of(language: &Language, word: &str, behind: &str, begins_word: bool) -> &'static str {
    let is_one_of = |words: &str| {
        let same = |other: &str| other == word || language.is_case_free && other.eq_ignore_ascii_case(word);
        words.split_ascii_whitespace().any(same)
    };
    let begins_upper = word.chars().next().is_some_and(char::is_uppercase);
    match language.kind {
        _ if is_one_of(language.values) => VALUE,
        Kind::Tags => CALL,
        Kind::Keys if begins_word && behind.trim_start().starts_with([':', '=']) => CALL,
        _ if is_one_of(language.keywords) => KEYWORD,
        Kind::Keys => "",
        Kind::Rust if behind.starts_with("!") && !behind.starts_with("!=") => CALL,
        _ if behind.starts_with('(') => CALL,
        _ if begins_upper && word.chars().any(char::is_lowercase) => TYPE,
        _ => "",
    }
}

/// Whether a string is the key of a JSON object.
fn is_key(language: &Language, rest: &str, open: usize) -> bool {
    if language.kind != Kind::Keys {
        return false;
    }
    let behind = rest.get(open..).and_then(|rest| rest.split_once(['"', '\''])).map_or("", |(_, behind)| behind);
    behind.trim_start().starts_with(':')
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn lifetime_or_char(scan: &mut Scan<'_>, rest: &str) {
    let mut chars = rest.char_indices().skip(1);
    let (second, third) = (chars.next(), chars.next());
    match (second, third) {
        (Some((_, '\\')), _) => {
            let end = rest.get(3..).and_then(|rest| rest.find('\'')).map_or(rest.len(), |end| end.saturating_add(4));
            scan.pass(end, STRING);
        }
        (Some(_), Some((at, '\''))) => scan.pass(at.saturating_add(1), STRING),
        _ => {
            let name = rest.get(1..).unwrap_or_default();
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            scan.pass(end.saturating_add(1), TYPE);
        }
    }
}
