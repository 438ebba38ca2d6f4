//! What a file is, by its name: the browser shows images and plays audio by itself, MIDI and text are ours.

/// What a file is by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image that browsers show.
    Image,
    /// Audio that browsers play.
    Audio,
    /// A Standard MIDI File.
    Midi,
    /// Markdown.
    Markdown,
    /// Something that is surely not text.
    Binary,
    /// Text, if its bytes are.
    Other,
}

impl Kind {
    /// Whether a page shows it by its bytes.
    pub const fn needs_bytes(self) -> bool {
        matches!(self, Self::Midi | Self::Markdown | Self::Other)
    }
}

/// What a file is by its name, and the type that it is served as from `raw`, if not as bytes.
const ENDS: &[(&str, Kind, Option<&str>)] = &[
    ("png", Kind::Image, Some("image/png")),
    ("jpg", Kind::Image, Some("image/jpeg")),
    ("jpeg", Kind::Image, Some("image/jpeg")),
    ("gif", Kind::Image, Some("image/gif")),
    ("webp", Kind::Image, Some("image/webp")),
    ("avif", Kind::Image, Some("image/avif")),
    ("bmp", Kind::Image, Some("image/bmp")),
    ("ico", Kind::Image, Some("image/x-icon")),
    ("mp3", Kind::Audio, Some("audio/mpeg")),
    ("wav", Kind::Audio, Some("audio/wav")),
    ("ogg", Kind::Audio, Some("audio/ogg")),
    ("oga", Kind::Audio, Some("audio/ogg")),
    ("opus", Kind::Audio, Some("audio/ogg")),
    ("flac", Kind::Audio, Some("audio/flac")),
    ("m4a", Kind::Audio, Some("audio/mp4")),
    ("aac", Kind::Audio, Some("audio/aac")),
    ("mid", Kind::Midi, Some("audio/midi")),
    ("midi", Kind::Midi, Some("audio/midi")),
    ("smf", Kind::Midi, Some("audio/midi")),
    ("md", Kind::Markdown, Some("text/plain; charset=utf-8")),
    ("markdown", Kind::Markdown, Some("text/plain; charset=utf-8")),
    ("zip", Kind::Binary, None),
    ("gz", Kind::Binary, None),
    ("xz", Kind::Binary, None),
    ("zst", Kind::Binary, None),
    ("bz2", Kind::Binary, None),
    ("7z", Kind::Binary, None),
    ("tar", Kind::Binary, None),
    ("pdf", Kind::Binary, None),
    ("mp4", Kind::Binary, None),
    ("mov", Kind::Binary, None),
    ("webm", Kind::Binary, None),
    ("exe", Kind::Binary, None),
    ("so", Kind::Binary, None),
    ("a", Kind::Binary, None),
    ("o", Kind::Binary, None),
    ("ttf", Kind::Binary, None),
    ("woff", Kind::Binary, None),
    ("woff2", Kind::Binary, None),
];

fn end(path: &str) -> Option<&'static (&'static str, Kind, Option<&'static str>)> {
    let (_, end) = path.rsplit_once('.')?;
    ENDS.iter().find(|(known, ..)| end.eq_ignore_ascii_case(known))
}

/// What a file is by its path.
pub fn of_path(path: &str) -> Kind {
    end(path).map_or(Kind::Other, |(_, kind, _)| *kind)
}

/// The `Content-Type` that `raw` may serve a file as by its path, together with `X-Content-Type-Options: nosniff` and
/// [`crate::assets::RAW_POLICY`]. It is never a type that a browser runs as a page: SVG, HTML and XML are plain text, and
/// what is not known are bytes.
pub fn raw_type(path: &str, is_text: bool) -> &'static str {
    match end(path) {
        Some((_, _, Some(content_type))) => content_type,
        Some((_, _, None)) => "application/octet-stream",
        None if is_text => "text/plain; charset=utf-8",
        None => "application/octet-stream",
    }
}
