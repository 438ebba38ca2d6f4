//! How text is written: escaped, with nothing hidden in it; and how numbers, sizes and times are said.
//!
//! [`Escape`] is the escaper of all templates (`askama.toml`), so no value reaches a page by another way, but for the
//! [`Markup`] that modules of this crate make.

use std::borrow::Cow;
use std::fmt::{self, Write};

use askama::filters::{Escaper, Safe};
use jiff::Timestamp;

/// Markup that this crate has made, with all text in it escaped.
pub type Markup = Safe<String>;

/// Escapes text for HTML, and makes visible what a reader would not see: control characters but for tabs and line feeds,
/// characters that change the direction of text, and most that have no width.
///
/// The output has at most [`Escape::GROWTH`] times the bytes of the input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Escape;

impl Escape {
    /// How many bytes of output a byte of input can become.
    pub const GROWTH: usize = 8;
}

impl Escaper for Escape {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        let mut rest = string;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_special(*c)) {
            let (plain, special) = rest.split_at(at);
            dest.write_str(plain)?;
            write_special(&mut dest, c)?;
            rest = special.get(c.len_utf8()..).unwrap_or_default();
        }
        dest.write_str(rest)
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '"' | '\'') || is_hidden(c)
}

fn write_special(dest: &mut impl Write, c: char) -> fmt::Result {
    match c {
        '<' => dest.write_str("&lt;"),
        '>' => dest.write_str("&gt;"),
        '&' => dest.write_str("&amp;"),
        '"' => dest.write_str("&#34;"),
        '\'' => dest.write_str("&#39;"),
        hidden => write_visible(dest, hidden),
    }
}

fn write_visible(dest: &mut impl Write, c: char) -> fmt::Result {
    // Not the pictures that Unicode has for control characters: many fonts lack them.
    write!(dest, "[U+{:04X}]", u32::from(c))
}

/// Whether a reader would not see a character, or would see others in another order for it. Joiners that words and
/// emoji are spelled with are not meant.
pub fn is_hidden(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' => true,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// Text with what is hidden in it made visible, not escaped: for what a module escapes later.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a string does not fail.
        let _ = if is_hidden(c) { write_visible(&mut shown, c) } else { shown.write_char(c) };
    }
    shown
}

/// Writes escaped text behind what is there.
pub fn push_escaped(markup: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = Escape.write_escaped_str(markup, text);
}

/// The first characters of an id, as people name it.
pub fn short(id: &str) -> &str {
    let end = id.char_indices().nth(10).map_or(id.len(), |(at, _)| at);
    id.get(..end).unwrap_or(id)
}

/// The first line of a message, cut to a length that fits a list.
pub fn subject(message: &str) -> String {
    let line = message.trim_start().lines().next().unwrap_or_default().trim_end();
    if line.is_empty() { "(no message)".to_owned() } else { cut(line, 200) }
}

/// What comes after the first line of a message.
pub fn body(message: &str) -> &str {
    message.trim_start().split_once('\n').map_or("", |(_, body)| body.trim())
}

/// Text of at most `most` characters, with an ellipsis where it was cut.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A number as templates have it: by value or by reference.
pub trait Number {
    /// The number.
    fn get(&self) -> u64;
}

impl Number for u64 {
    fn get(&self) -> u64 {
        *self
    }
}

impl Number for usize {
    fn get(&self) -> u64 {
        *self as u64
    }
}

impl<N: Number> Number for &N {
    fn get(&self) -> u64 {
        N::get(self)
    }
}

/// Bytes for people: `312 B`, `4.2 KB`, `1.0 GB`. Units are powers of 1,024.
pub fn size(bytes: impl Number) -> String {
    let bytes = bytes.get();
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "EB";
    for name in UNITS {
        if value < 1000.0 {
            unit = name;
            break;
        }
        value /= 1024.0;
    }
    format!("{value:.1} {unit}")
}

/// A number with its thousands apart: `12,345`.
pub fn number(number: impl Number) -> String {
    let digits = number.get().to_string();
    let mut grouped = String::with_capacity(digits.len().saturating_mul(2));
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and what it counts: `1 file`, `2 files`.
pub fn count(count: impl Number, one: &str, many: &str) -> String {
    let count = count.get();
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A time to the minute, in UTC; the script says it as the reader's own, and how long ago it was.
pub fn time(at: &Timestamp) -> Markup {
    let utc = at.to_string();
    // RFC 3339, which `Timestamp` writes: the date, `T`, the time, `Z`.
    let day = utc.get(..10).unwrap_or(&utc);
    let minute = utc.get(11..16).unwrap_or_default();
    Safe(format!("<time datetime=\"{utc}\">{day} {minute} UTC</time>"))
}

/// The date of a time, in UTC.
pub fn day(at: Timestamp) -> String {
    let utc = at.to_string();
    utc.get(..10).unwrap_or(&utc).to_owned()
}

/// A sum of dollars that may be very small, with two significant digits.
pub fn dollars(sum: f64) -> String {
    if !sum.is_finite() || sum <= 0.0 {
        return "$0".to_owned();
    }
    let digits = (1.0 - sum.log10().floor()).clamp(2.0, 12.0) as usize;
    format!("${sum:.digits$}")
}

/// A word of a command that a reader may paste into a shell: quoted, unless it is surely one word.
pub(crate) fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/@%+=:,-".contains(&byte);
    match !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', "'\\''")).into(),
    }
}

/// A ref for people: the id of a commit is cut.
pub(crate) fn shown_ref(name: &str) -> String {
    let is_id = name.len() >= 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { short(name).to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_branch_is_called_runs_nothing_in_a_shell() {
        assert_eq!(shell_word("live/tour-2"), "live/tour-2");
        assert_eq!(shell_word("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(shell_word("it's $(x)"), "'it'\\''s $(x)'");
        assert_eq!((&*shell_word(""), &*shell_word("--upload-pack=x")), ("''", "'--upload-pack=x'"));
    }

    fn escaped(text: &str) -> String {
        let mut markup = String::new();
        push_escaped(&mut markup, text);
        markup
    }

    #[test]
    fn hidden_characters_are_made_visible() {
        assert_eq!(escaped("a\u{202e}b\u{0}\u{7f}\r\n\t"), "a[U+202E]b[U+0000][U+007F][U+000D]\n\t");
        assert_eq!(visible("<\u{200b}>"), "<[U+200B]>");
    }

    #[test]
    fn sizes_and_numbers_are_for_people() {
        assert_eq!(
            [size(0_u64), size(1023_u64), size(1024_u64), size(1_u64 << 30)],
            ["0 B", "1023 B", "1.0 KB", "1.0 GB"]
        );
        assert_eq!(size(u64::MAX), "16.0 EB");
        assert_eq!([number(0_u64), number(999_u64), number(1_234_567_u64)], ["0", "999", "1,234,567"]);
        assert_eq!([dollars(0.0), dollars(0.000_012_3), dollars(1.5)], ["$0", "$0.000012", "$1.50"]);
    }

    proptest! {
        #[test]
        fn every_text_is_escaped_within_its_bound(text in any::<String>()) {
            let markup = escaped(&text);
            prop_assert!(!markup.contains(['<', '>', '"', '\'']));
            prop_assert!(!markup.chars().any(is_hidden));
            prop_assert!(markup.len() <= text.len() * Escape::GROWTH);
        }

        #[test]
        fn every_message_has_a_subject(text in any::<String>(), most in 0_usize..9) {
            prop_assert!(!subject(&text).is_empty());
            prop_assert!(cut(&text, most).chars().count() <= most + 1);
            prop_assert!(body(&text).len() <= text.len());
            prop_assert!(short(&text).chars().count() <= 10);
        }
    }
}
