//! The hub's web pages: what is pure about them. No storage, no network, no clock.
//!
//! A caller fills the struct of a page with what it has read, and calls its `render`. [`page`] has one module for each
//! page, and `templates/` one template. [`frame`] is what all pages have around them, [`parts`] what several of them show.
//! [`urls`] makes every link, and lists the URLs that a hub has to answer. [`assets`] has the style sheet, the script, and
//! the headers that go with pages.
//!
//! Below them, each by itself: [`text`] escapes, [`markdown`] renders, [`highlight`] and [`diff`] show code, [`midi`] draws
//! notes, [`delta`] reads what a client says of its changes, [`graph`] draws merges, [`plot`] growth.
//!
//! # What users pushed is never markup
//!
//! Templates have one escaper, [`text::Escape`], which also makes visible what a reader would not see. What modules make as
//! markup ([`text::Markup`]) has all text escaped by the same function, or has gone through [`markdown`]'s list of
//! elements. Nothing on a page is inline: no script, no style, no event. [`assets::PAGE_POLICY`] forbids what is not there.
//!
//! # Bounds
//!
//! Every function takes any bytes, and its output has a bound: a multiple of the input that its module names, or a number.
//!
//! | | shown | past it |
//! |---|---|---|
//! | a text | [`page::blob::MAX_SHOWN_BYTES`], [`page::blob::MAX_SHOWN_LINES`] | a size and a download |
//! | highlighting | [`highlight::MAX_BYTES`], lines of [`highlight::MAX_LINE_BYTES`] | plain text |
//! | Markdown | [`markdown::MAX_BYTES`], output [`markdown::GROWTH`] times that | its source; cut |
//! | a diff | [`diff::MAX_BYTES`], [`diff::MAX_LINES`] a side, [`diff::MAX_ROWS`], [`diff::MAX_TABLE_BYTES`] | a sentence, and links to both sides |
//! | a page of changes | [`diff::MAX_PAGE_FILES`], [`diff::MAX_PAGE_INPUT`], [`diff::MAX_PAGE_ROWS`], [`diff::MAX_PAGE_BYTES`] | a sentence for each file |
//! | MIDI | [`midi::MAX_BYTES`], [`midi::MAX_NOTES`] drawn, [`midi::MAX_LISTED`] listed | a count |
//! | a delta | [`delta::MAX_OPERATIONS`] | a sentence |
//! | a graph | [`graph::MAX_LANES`] | lines share the last lane |
//! | a folder | [`parts::MAX_ENTRIES`] | a sentence |
//!
//! How many repositories, commits or releases a page lists is the caller's choice.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod assets;
mod changes;
pub mod delta;
pub mod diff;
pub mod frame;
pub mod graph;
pub mod highlight;
pub mod kind;
pub mod markdown;
pub mod midi;
pub mod page;
pub mod parts;
pub mod plot;
pub mod text;
pub mod urls;
pub mod view;

/// A page of a hub whose own path is `base`: `/hub`, or mostly nothing. Pages link to paths of a hub at the root of its host.
pub fn under(base: &str, page: String) -> String {
    if base.is_empty() {
        return page;
    }
    // A quotation mark stands in a page only around attributes, which templates alone make, and in text that no browser takes for one.
    let mut moved = page;
    for attribute in ["href", "src", "action", "formaction"] {
        moved = moved.replace(&format!("{attribute}=\"/"), &format!("{attribute}=\"{base}/"));
    }
    moved
}
