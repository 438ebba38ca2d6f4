//! What several pages show: repositories in a list, commits in a list, entries of a folder, files that changed.

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::frame::Repo;
use crate::{text, urls};

/// A repository in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RepoLine {
    /// The owner's handle.
    pub owner: String,
    /// The repository's name under the owner.
    pub slug: String,
    /// A sentence about it; may be empty.
    pub description: String,
    /// Whether only some may know of it.
    pub is_private: bool,
    /// What kind of content it holds: `code`, `midi`, …; may be empty.
    pub domain: String,
    /// When a branch was last moved; `None` if nothing was pushed or it is not known.
    pub pushed_at: Option<Timestamp>,
    /// What it takes in storage, in bytes, if known.
    pub size: Option<u64>,
}

/// A commit in a list, and the heading of one on its own page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CommitLine {
    /// Its id.
    pub id: String,
    /// The ids of its parents, the first one first.
    pub parents: Vec<String>,
    /// Its message; the first line is its subject.
    pub message: String,
    /// Who made it, as it says; may be empty.
    pub author: String,
    /// The agent that made it (`agent_id`); empty if none did.
    pub agent: String,
    /// The model that the agent used (`model_id`); may be empty.
    pub model: String,
    /// When it was made, as it says; `None` if that cannot be read.
    pub committed_at: Option<Timestamp>,
    /// `sem_ver_bump`: `none`, `patch`, `minor` or `major`. Another word is shown as it is.
    pub bump: String,
    /// What it breaks (`breaking_changes`).
    pub breaking: Vec<String>,
    /// Branches whose head it is.
    pub branches: Vec<String>,
    /// Tags that name it.
    pub tags: Vec<String>,
    /// Releases that name it, by their tags.
    pub releases: Vec<String>,
}

/// What lies in a folder under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The name without the folder's path.
    pub name: String,
    /// A folder or a file.
    pub kind: EntryKind,
}

/// A folder or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Bytes of its content, if known.
        size: Option<u64>,
    },
}

/// A file that differs between two snapshots. A file that moved has its old path in `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path, after the change if there is one after.
    pub path: String,
    /// The path that it had before, if that was another one.
    pub from: Option<String>,
    /// The file before.
    pub before: Side,
    /// The file after.
    pub after: Side,
}

/// A file before or after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Side {
    /// There is none.
    #[default]
    Absent,
    /// Its bytes.
    Loaded(Vec<u8>),
    /// It is there, and its bytes were not loaded, because [`crate::diff::is_worth_loading`] says no or for another reason.
    NotLoaded {
        /// Bytes of its content, if known.
        size: Option<u64>,
    },
}

/// Nothing where there is no file, and else how many bytes it has, if that is known.
impl Serialize for Side {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let size = match self {
            Self::Absent => return serializer.serialize_none(),
            Self::Loaded(bytes) => Some(bytes.len() as u64),
            Self::NotLoaded { size } => *size,
        };
        let mut side = serializer.serialize_struct("Side", 1)?;
        side.serialize_field("size", &size)?;
        side.end()
    }
}

impl CommitLine {
    pub(crate) fn has_bump(&self) -> bool {
        !self.bump.is_empty() && self.bump != "none"
    }

    pub(crate) fn bump_class(&self) -> &'static str {
        match self.bump.as_str() {
            "major" => "major",
            "minor" => "minor",
            "patch" => "patch",
            _ => "other",
        }
    }

    pub(crate) fn second_parent(&self) -> &str {
        self.parents.get(1).map_or("", String::as_str)
    }
}

/// The folders that a path lies in, each with its URL.
pub(crate) fn folders<'p>(repo: &Repo, at: &str, path: &'p str) -> Vec<(&'p str, String)> {
    let slashes = path.char_indices().filter(|(_, c)| *c == '/');
    let folder = |(slash, _)| {
        let folder = path.get(..slash)?;
        Some((name_of(folder), urls::tree(repo, at, folder)))
    };
    // The paths of manifests are short; one that is not has only its first folders here.
    slashes.take(64).filter_map(folder).collect()
}

/// The last name of a path.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// An entry of a folder as it is shown.
pub(crate) struct EntryLine<'e> {
    pub name: &'e str,
    pub url: String,
    pub class: &'static str,
    /// The path of its icon.
    pub icon: &'static str,
    pub size: String,
}

/// The most entries of a folder that are shown.
pub const MAX_ENTRIES: usize = 2_000;

/// The entries of a folder as they are shown: folders first, then by name.
pub(crate) fn entry_lines<'e>(repo: &Repo, at: &str, folder: &str, entries: &'e [Entry]) -> Vec<EntryLine<'e>> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (matches!(entry.kind, EntryKind::File { .. }), entry.name.as_str()));
    let line = |entry: &'e Entry| {
        let path = if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
        match entry.kind {
            EntryKind::Folder => EntryLine {
                name: &entry.name,
                url: urls::tree(repo, at, &path),
                class: "folder",
                icon: "M1 3.5A1.5 1.5 0 0 1 2.5 2h3l2 2h6A1.5 1.5 0 0 1 15 5.5v7a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 1 12.5z",
                size: String::new(),
            },
            EntryKind::File { size } => EntryLine {
                name: &entry.name,
                url: urls::blob(repo, at, &path),
                class: "file",
                icon: "M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3",
                size: size.map(text::size).unwrap_or_default(),
            },
        }
    };
    sorted.into_iter().take(MAX_ENTRIES).map(line).collect()
}
