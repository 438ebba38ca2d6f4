//! Highlighting, by classes: comments, strings, numbers, keywords, names of types and of what is called.
//!
//! A scanner of our own reads each byte once, with a table for each language in `languages.rs`. It knows no grammar, as a
//! highlighter of expressions does. But their engines go back, and a hub shows what anyone pushed: with syntect 5.3 a
//! line of a thousand letters took half a second and a file of 96 KiB a minute, besides 45 ms of the first use and 1.8 MB
//! of the program.

mod languages;
mod scan;

use std::ops::Range;

use crate::text::push_escaped;

/// The longest text that is highlighted, in bytes.
pub const MAX_BYTES: usize = 512 << 10;
/// The longest line that is highlighted, in bytes; a longer one is plain.
pub const MAX_LINE_BYTES: usize = 1000;

/// A part of a line of one class: where it ends, in bytes from the line's start, and the class. Together the parts of a
/// line cover it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    end: usize,
    class: &'static str,
}

/// The lines of a text, each without what ends it: `\n` or `\r\n`.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').map(|line| {
        let line = line.strip_suffix('\n').unwrap_or(line);
        line.strip_suffix('\r').unwrap_or(line)
    })
}

/// The classes of the lines of a text, by the language that a path or the name of a code block says. There are none for a
/// text of no language that is known, or of too many bytes.
pub fn parts(name: &str, text: &str) -> Vec<Vec<Part>> {
    let language = languages::of(name).filter(|_| text.len() <= MAX_BYTES);
    let Some(language) = language else {
        return Vec::new();
    };
    let mut open = None;
    lines(text).map(|line| scan::line(language, line, &mut open)).collect()
}

/// Writes a line with the classes of its parts, and with a range of it marked by `<em>`. A line has no line end in it.
pub fn push_line(markup: &mut String, line: &str, parts: &[Part], mark: Option<Range<usize>>) {
    let mark = mark.filter(|mark| !mark.is_empty()).unwrap_or(usize::MAX..usize::MAX);
    let mut ends: Vec<(usize, &str)> = parts.iter().map(|part| (part.end, part.class)).collect();
    ends.push((line.len(), ""));
    let mut start = 0;
    for (end, class) in ends {
        // A part is written in pieces: before the mark, in it, behind it.
        for stop in [mark.start.min(end), mark.end.min(end), end] {
            let Some(piece) = line.get(start..stop).filter(|piece| !piece.is_empty()) else {
                continue;
            };
            let is_marked = mark.contains(&start);
            markup.push_str(if is_marked { "<em>" } else { "" });
            if class.is_empty() {
                push_escaped(markup, piece);
            } else {
                markup.push_str("<i class=\"");
                markup.push_str(class);
                markup.push_str("\">");
                push_escaped(markup, piece);
                markup.push_str("</i>");
            }
            markup.push_str(if is_marked { "</em>" } else { "" });
            start = stop;
        }
    }
}

/// A whole text, highlighted; lines end in `\n`. At most [`GROWTH`] times the text.
pub fn text(name: &str, text: &str) -> String {
    let parts = parts(name, text);
    let mut markup = String::with_capacity(text.len().saturating_mul(2));
    for (at, line) in lines(text).enumerate() {
        push_line(&mut markup, line, parts.get(at).map_or(&[], Vec::as_slice), None);
        markup.push('\n');
    }
    markup
}

/// How many bytes of markup a byte of text can become: a part of one character has a tag of its own.
pub const GROWTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn code_has_classes() {
        let markup = text("a/b.rs", "fn main() { // <here>\r\n}\n");
        assert!(markup.contains("<i class=\"hk\">fn</i>"), "{markup}");
        assert!(markup.contains("&lt;here&gt;") && !markup.contains("[U+000D]"), "{markup}");
    }

    /// The classes of the words of a line that have one.
    fn classes(name: &str, source: &str) -> Vec<(String, &'static str)> {
        let mut words = Vec::new();
        for (line, parts) in lines(source).zip(parts(name, source)) {
            let mut start = 0;
            for part in parts {
                if !part.class.is_empty() {
                    words.push((line[start..part.end].to_owned(), part.class));
                }
                start = part.end;
            }
        }
        words
    }

    #[test]
    fn words_have_the_class_of_their_language() {
        let owned = |words: &[(&str, &'static str)]| {
            words.iter().map(|(word, class)| ((*word).to_owned(), *class)).collect::<Vec<_>>()
        };
        let rust = classes("a.rs", "fn a<'b>(c: &'b str) -> Vec<u8> { r#\"x\ny\"# + '\\'' }");
        let expected =
            [("fn", "hk"), ("'b", "ht"), ("'b", "ht"), ("Vec", "ht"), ("r#\"x", "hs"), ("y\"#", "hs"), ("'\\''", "hs")];
        assert_eq!(rust, owned(&expected));
        let python = classes("a.py", "\"\"\"one\ntwo\"\"\" # three\nprint(0x1f)");
        assert_eq!(
            python,
            owned(&[("\"\"\"one", "hs"), ("two\"\"\"", "hs"), ("# three", "hc"), ("print", "hf"), ("0x1f", "hn")])
        );
        let json = classes("a.json", "{\"a\": [\"b\", 1.5, true]}");
        assert_eq!(json, owned(&[("\"a\"", "hf"), ("\"b\"", "hs"), ("1.5", "hn"), ("true", "hn")]));
        let html = classes("a.html", "<a href=\"x\">if</a>");
        assert_eq!(html, owned(&[("<a", "hk"), ("href", "hf"), ("\"x\"", "hs"), (">", "hk"), ("</a>", "hk")]));
        let toml = classes("Cargo.toml", "[a]\nb-c = \"d\" # e");
        assert_eq!(toml, owned(&[("b-c", "hf"), ("\"d\"", "hs"), ("# e", "hc")]));
    }

    #[test]
    fn a_mark_is_written_across_parts() {
        let line = "let x = 1;";
        let parts = parts("a.rs", line);
        let mut markup = String::new();
        push_line(&mut markup, line, parts.first().unwrap(), Some(2..9));
        assert!(markup.starts_with("<i class=\"hk\">le</i><em><i class=\"hk\">t</i></em><em>"), "{markup}");
    }

    fn stripped(markup: &str) -> String {
        scraper::Html::parse_fragment(markup).root_element().text().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_text_comes_out_as_it_was(
            source in "([a-z(){}<>&\"'/*# =;\\n\\\\]|\\PC){0,200}",
            name in prop::sample::select(vec![
                "a.rs", "b.py", "c.html", "d.js", "e.md", "f.yaml", "g", "h.php", "i.sh", "j.hs", "k.diff", "l.css", "m.json", "n.lisp",
            ]),
        ) {
            let markup = text(name, &source);
            prop_assert!(markup.len() <= (source.len() + 1) * GROWTH);
            let expected: String = lines(&source).map(|line| crate::text::visible(line) + "\n").collect();
            prop_assert_eq!(stripped(&markup), expected);
        }

        #[test]
        fn a_mark_anywhere_keeps_the_text(line in "\\PC{0,40}", start in 0_usize..50, length in 0_usize..50) {
            let mut markup = String::new();
            push_line(&mut markup, &line, &parts("a.py", &line).concat(), Some(start..start + length));
            prop_assert_eq!(stripped(&markup), crate::text::visible(&line));
        }
    }
}
