//! The files that differ between two snapshots, as a page shows them.

pub use crate::delta::Verb;
use crate::diff::{self, Lines, MAX_PAGE_BYTES, MAX_PAGE_FILES, MAX_PAGE_INPUT, MAX_PAGE_ROWS};
use crate::frame::Repo;
use crate::kind::{Kind, of_path};
use crate::midi::{self, Song};
use crate::parts::{FileChange, Side};
use crate::text::{self, Markup};
use crate::urls;
use crate::view::DiffView;

/// Where both sides of the files lie.
pub struct Ends<'e> {
    pub repo: &'e Repo,
    /// The ref of the side before; `None` if there is none.
    pub before: Option<&'e str>,
    pub after: &'e str,
}

/// The files that differ.
pub struct Changes {
    pub files: Vec<FileView>,
    /// How many more differ.
    pub more: u64,
}

/// A file that differs.
pub struct FileView {
    /// Its id on the page.
    pub anchor: String,
    pub verb: Verb,
    pub path: String,
    /// Its path before, if that was another one.
    pub from: String,
    /// How many lines came and went, if it was compared by lines.
    pub lines: Option<(usize, usize)>,
    pub before_url: Option<String>,
    pub after_url: Option<String>,
    pub body: Body,
}

/// What is shown of a file.
pub enum Body {
    /// Its lines.
    Table { markup: Markup, is_cut: bool },
    /// Its notes.
    Midi { song: Box<Song>, roll: Markup, added: usize, removed: usize, is_diff: bool },
    /// Both images, or the one there is.
    Images { before: Option<String>, after: Option<String> },
    /// A sentence.
    Note(String),
}

/// What a page may still show.
struct Budget {
    input: usize,
    rows: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.input == 0 || self.rows == 0 || self.bytes == 0
    }
}

impl Changes {
    pub fn of(ends: &Ends<'_>, files: &[FileChange], more: u64, view: DiffView) -> Self {
        let mut budget = Budget { input: MAX_PAGE_INPUT, rows: MAX_PAGE_ROWS, bytes: MAX_PAGE_BYTES };
        let shown = files.iter().take(MAX_PAGE_FILES).enumerate();
        let views = shown.map(|(at, file)| view_of(ends, at, file, view, &mut budget)).collect();
        Self { files: views, more: more.saturating_add(files.len().saturating_sub(MAX_PAGE_FILES) as u64) }
    }

    pub fn title(&self) -> String {
        text::count((self.files.len() as u64).saturating_add(self.more), "file differs", "files differ")
    }

    pub fn has_tables(&self) -> bool {
        self.files.iter().any(|file| matches!(file.body, Body::Table { .. }))
    }
}

fn view_of(ends: &Ends<'_>, at: usize, file: &FileChange, view: DiffView, budget: &mut Budget) -> FileView {
    let from = file.from.as_deref().filter(|from| *from != file.path);
    let before_path = from.unwrap_or(&file.path);
    let verb = match (&file.before, &file.after) {
        (Side::Absent, _) => Verb::Added,
        (_, Side::Absent) => Verb::Removed,
        _ if from.is_some() => Verb::Moved,
        _ => Verb::Changed,
    };
    let before_ref = ends.before.filter(|_| file.before != Side::Absent);
    let after_ref = Some(ends.after).filter(|_| file.after != Side::Absent);
    let raw = |at: Option<&str>, path: &str| at.map(|at| urls::raw(ends.repo, at, path));
    let (body, lines) = match of_path(&file.path) {
        Kind::Image => (Body::Images { before: raw(before_ref, before_path), after: raw(after_ref, &file.path) }, None),
        kind => body_of(file, kind, view, budget),
    };
    FileView {
        anchor: format!("file-{}", at.saturating_add(1)),
        verb,
        path: file.path.clone(),
        from: from.unwrap_or_default().to_owned(),
        lines,
        before_url: before_ref.map(|at| urls::blob(ends.repo, at, before_path)),
        after_url: after_ref.map(|at| urls::blob(ends.repo, at, &file.path)),
        body,
    }
}

fn body_of(file: &FileChange, kind: Kind, view: DiffView, budget: &mut Budget) -> (Body, Option<(usize, usize)>) {
    let note = |sentence: &str| (Body::Note(sentence.to_owned()), None);
    let (Some(before), Some(after)) = (loaded(&file.before), loaded(&file.after)) else {
        let what = if kind.needs_bytes() { "Too large to show." } else { "This is no text." };
        return (Body::Note(format!("{what} {}", sizes(file)).trim().to_owned()), None);
    };
    if before == after {
        return note("The content is the same.");
    }
    if budget.is_spent() {
        return note("Not shown: there are too many changes for one page.");
    }
    budget.input = budget.input.saturating_sub(before.len().saturating_add(after.len()));
    if kind == Kind::Midi
        && let Some(body) = notes_of(file)
    {
        if let Body::Midi { song, roll, .. } = &body {
            budget.bytes = budget.bytes.saturating_sub(roll.0.len().saturating_add(song.json().0.len()));
        }
        return (body, None);
    }
    match diff::lines(&file.path, before, after) {
        Lines::Binary => (Body::Note(format!("This is no text. {}", sizes(file))), None),
        Lines::TooLarge => (Body::Note(format!("Too large to show. {}", sizes(file))), None),
        Lines::Changed(changed) if changed.added == 0 && changed.removed == 0 => note("The content is the same."),
        Lines::Changed(changed) => {
            let (markup, rows, is_cut) = changed.table(view);
            budget.rows = budget.rows.saturating_sub(rows);
            budget.bytes = budget.bytes.saturating_sub(markup.0.len());
            (Body::Table { markup, is_cut }, Some((changed.added, changed.removed)))
        }
    }
}

fn notes_of(file: &FileChange) -> Option<Body> {
    let read = |side: &Side| loaded(side).filter(|bytes| !bytes.is_empty()).map(midi::read);
    let (before, after) = (read(&file.before), read(&file.after));
    // One that is there and cannot be read is shown in no roll.
    Some(match (before, after) {
        (Some(Some(before)), Some(Some(after))) => {
            let (roll, added, removed) = after.changes(&before);
            Body::Midi { song: Box::new(after), roll, added, removed, is_diff: true }
        }
        (Some(Some(song)), None) | (None, Some(Some(song))) => {
            let roll = song.roll();
            Body::Midi { song: Box::new(song), roll, added: 0, removed: 0, is_diff: false }
        }
        _ => return None,
    })
}

/// The bytes of a side; none if it is absent; `None` if they were not loaded.
fn loaded(side: &Side) -> Option<&[u8]> {
    match side {
        Side::Absent => Some(&[]),
        Side::Loaded(bytes) => Some(bytes),
        Side::NotLoaded { .. } => None,
    }
}

fn sizes(file: &FileChange) -> String {
    let size = |side: &Side| match side {
        Side::Absent => None,
        Side::Loaded(bytes) => Some(bytes.len() as u64),
        Side::NotLoaded { size } => *size,
    };
    match (size(&file.before), size(&file.after)) {
        (Some(before), Some(after)) => format!("{} before, {} after.", text::size(before), text::size(after)),
        (Some(one), None) | (None, Some(one)) => format!("{}.", text::size(one)),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_many_large_changes_has_a_bound() {
        let hostile = format!("{}\n", "1<".repeat(400)).repeat(600).into_bytes();
        let file = |n: usize| FileChange {
            path: format!("{n}.rs"),
            from: None,
            before: Side::Absent,
            after: Side::Loaded(hostile.clone()),
        };
        let files: Vec<FileChange> = (0..20).map(file).collect();
        let repo = Repo::default();
        let ends = Ends { repo: &repo, before: None, after: "main" };
        let changes = Changes::of(&ends, &files, 0, DiffView::Unified);
        let shown = |file: &FileView| if let Body::Table { markup, .. } = &file.body { markup.0.len() } else { 0 };
        let bytes: usize = changes.files.iter().map(shown).sum();
        assert!(bytes > MAX_PAGE_BYTES && bytes < MAX_PAGE_BYTES + diff::MAX_TABLE_BYTES + 100_000, "{bytes}");
        assert!(changes.files.last().is_some_and(|file| matches!(file.body, Body::Note(_))));
    }
}
