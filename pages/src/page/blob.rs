//! `/{owner}/{slug}/blob/{ref}/{path...}`: a file.

use crate::diff::as_text;
use crate::frame::{At, Hub, Repo};
use crate::kind::{self, Kind};
use crate::markdown::{self, Place};
use crate::midi::{self, Song};
use crate::parts::name_of;
use crate::text::{self, Markup};
use crate::{highlight, urls};
use askama::Template;
use askama::filters::Safe;
use serde::Serialize;

/// `/{owner}/{slug}/blob/{ref}/{path...}`. Links: the folders above, `raw/{ref}/{path}`, the same path at each ref of the
/// switcher. Images and audio are loaded from `raw`.
#[derive(Debug, Clone, Default, Template, Serialize)]
#[template(path = "blob.html")]
pub struct BlobPage {
    /// The hub.
    #[serde(skip)]
    pub hub: Hub,
    /// The repository.
    pub repo: Repo,
    /// The ref, and what to switch to.
    pub at: At,
    /// The file's path.
    pub path: String,
    /// The id of the file's object.
    pub object_id: String,
    /// Bytes of its content, if known.
    pub size: Option<u64>,
    /// Its bytes: needed where [`needs_bytes`] says so. Without them a text is only a size and a download.
    #[serde(skip)]
    pub bytes: Option<Vec<u8>>,
    /// Whether Markdown is shown as its source: the query has `?plain=1`.
    pub is_plain: bool,
}

impl BlobPage {
    /// The page.
    pub fn render(&self) -> String {
        crate::page::rendered(self)
    }

    fn switch_url(&self, name: &str) -> String {
        urls::blob(&self.repo, name, &self.path)
    }

    fn name(&self) -> &str {
        name_of(&self.path)
    }

    fn body(&self) -> Body {
        let kind = kind::of_path(&self.path);
        match kind {
            Kind::Image => return Body::Image,
            Kind::Audio => return Body::Audio,
            Kind::Binary => return Body::Note("This is no text."),
            Kind::Midi | Kind::Markdown | Kind::Other => {}
        }
        let Some(bytes) = self.bytes.as_deref().filter(|bytes| bytes.len() as u64 <= MAX_SHOWN_BYTES) else {
            return Body::Note("This file is too large to show here.");
        };
        if bytes.is_empty() {
            return Body::Note("This file is empty.");
        }
        if let (Kind::Midi, Some(song)) = (kind, midi::read(bytes)) {
            return Body::Midi(song);
        }
        let Some(text) = as_text(bytes) else {
            return Body::Note(if kind == Kind::Midi { "This MIDI file cannot be read." } else { "This is no text." });
        };
        if kind == Kind::Markdown && !self.is_plain && text.len() <= markdown::MAX_BYTES {
            return Body::Markdown(markdown::render(
                &text,
                Place { repo: &self.repo, at: &self.at.name, path: &self.path },
            ));
        }
        code(&self.path, &text)
    }

    fn facts(&self, body: &Body) -> String {
        let size = self.size.or_else(|| u64::try_from(self.bytes.as_ref()?.len()).ok());
        let mut facts: Vec<String> = size.map(text::size).into_iter().collect();
        if let Body::Code { lines, .. } = body {
            facts.insert(0, text::count(*lines, "line", "lines"));
        }
        facts.join(" · ")
    }
}

/// The most bytes of a text or a MIDI file that a page shows. A larger file is a size and a download.
pub const MAX_SHOWN_BYTES: u64 = 1 << 20;

/// Whether the page of a file needs its bytes. Images and audio are loaded by the browser, and too large files are not
/// shown.
pub fn needs_bytes(path: &str, size: Option<u64>) -> bool {
    size.is_none_or(|size| size <= MAX_SHOWN_BYTES) && crate::kind::of_path(path).needs_bytes()
}

/// The most lines of a text that are shown.
pub const MAX_SHOWN_LINES: usize = 20_000;

/// How a file is shown.
enum Body {
    Code { numbers: Markup, code: Markup, lines: usize, has_more: bool },
    Markdown(Markup),
    Image,
    Audio,
    Midi(Song),
    Note(&'static str),
}

fn code(path: &str, text: &str) -> Body {
    let lines = highlight::lines(text).count();
    let shown: usize = text.split_inclusive('\n').take(MAX_SHOWN_LINES).map(str::len).sum();
    let mut numbers = String::new();
    for number in 1..=lines.min(MAX_SHOWN_LINES) {
        numbers.push_str(&format!("<a id=\"L{number}\" href=\"#L{number}\">{number}</a>\n"));
    }
    let code = highlight::text(path, text.get(..shown).unwrap_or(text));
    Body::Code { numbers: Safe(numbers), code: Safe(code), lines, has_more: lines > MAX_SHOWN_LINES }
}
