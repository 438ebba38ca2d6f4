//! The file of an export: one repo, whole, in a form that common tools open.
//!
//! # Format, version 1
//!
//! A tar in the plain POSIX form (ustar, regular files only, no extensions), compressed with Zstandard
//! ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)). `tar --zstd -xf FILE` unpacks it. Its entries, in this order:
//!
//! | entry | what it is |
//! |---|---|
//! | `README.txt` | this, in short |
//! | `repo.json` | what the repo is called, its branches, its tags, how many releases follow: see [`Contents`] |
//! | `releases/000001.msgpack`, … | the releases, newest first, one msgpack map each |
//! | `snapshots/<id>.msgpack` | a snapshot, as one msgpack map |
//! | `objects/<id>` | an object: the bytes of one file, so `sha256sum` gives its name |
//! | `commits/<id>.msgpack` | a commit as it was pushed, as one msgpack map |
//!
//! The last three kinds come mixed. **When a commit comes, its parents, its snapshot, and all objects of that snapshot
//! have come**, so every beginning of the file is a whole history, and it can be read in one pass. Nothing comes twice.
//! An id that is not 64 hex digits is written in a path as `_` and its first 64 characters and, if there are more, `/_`
//! and the rest.
//!
//! The tar lies in zstd frames of at most [`MAX_FRAME`] raw bytes, each with its length and its checksum. Behind the last
//! one is the *seal*, a skippable frame: the magic number `0x184D2A50` and the length 48 (4 bytes each, little-endian),
//! `MUSEXPRT`, the version (4 bytes, 1), four bytes of zeros, and the SHA-256 of all bytes of the file before these 32.
//! Nothing follows it. So every bit of the file is under a hash, and a file without a seal was not finished.
//!
//! - [`writer`] makes a file, and goes on with one that was not finished; [`reader`] reads one.

pub mod reader;
pub mod writer;

use std::collections::BTreeMap;

use common::id::{CommitId, Id, ObjectId, ObjectKey, SnapshotId};
use serde::{Deserialize, Serialize};
use store::table::items::Visibility;

use super::Tag;

/// Raw bytes of one zstd frame at most.
pub const MAX_FRAME: usize = 8 << 20;
/// What `format` says in `repo.json`.
pub const FORMAT: &str = "musehub export";
/// The version of the format.
pub const VERSION: u32 = 1;

/// Bytes of one block of a tar.
const BLOCK: usize = 512;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const SEAL_NAME: &[u8; 8] = b"MUSEXPRT";
const DIGEST: usize = 32;
/// Bytes of the seal before its digest.
const SEAL_HEAD: usize = 24;
/// Characters of an opaque id in one part of a path: the last part of a path in a tar has 100 at most.
const PART: usize = 64;
const RECORD: &str = ".msgpack";

/// What a stranger reads first.
pub(crate) const README: &str = "\
This is a whole Muse repository, exported from a musehub (format version 1).

repo.json              its name, branches, tags
releases/*.msgpack     its releases
commits/<id>.msgpack   its commits, parents before children; each names a snapshot
snapshots/<id>.msgpack its snapshots; each maps file paths to objects
objects/<id>           the content of every version of every file

Files ending in .msgpack hold one MessagePack map each (https://msgpack.org).

An object's id is the SHA-256 of its bytes. A snapshot's is the SHA-256 of its entries, sorted, each the path, a zero
byte and the object's id, with a zero byte between entries. A commit's is the SHA-256 of its sorted parent ids, its
snapshot_id, its message, and its committed_at (or its author, or nothing), with a zero byte between each.

To check all of that, and that nothing is missing:   musehub verify FILE
To bring it into a hub again:                        musehub import FILE owner/slug
";

/// `repo.json`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contents {
    /// [`FORMAT`]
    pub format: String,
    /// [`VERSION`]
    pub version: u32,
    /// When the names below were read. ISO 8601.
    pub exported_at: String,
    /// Whether ids are the hashes of what they name.
    pub ids: WrittenIds,
    /// What the repo is.
    pub repo: About,
    /// The head of each branch.
    pub branches: BTreeMap<String, CommitId>,
    /// The tags, by label.
    pub tags: Vec<Tag>,
    /// How many releases there are.
    pub releases: usize,
    /// Objects that were purged: snapshots may name them, and they are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purged: Vec<ObjectId>,
}

/// Whether ids are hashes, as `repo.json` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WrittenIds {
    /// They are.
    Strict,
    /// They are as clients sent them: the export is of a lenient hub.
    Lenient,
}

/// What a repo is, beside its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its id on the hub that it was exported from.
    pub repo_id: String,
    /// The handle of its owner there.
    pub owner: String,
    /// Its name in the URL there.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// A sentence about it.
    pub description: String,
    /// What kind of content it holds.
    pub domain: String,
    /// Who might know of it.
    pub visibility: Visibility,
    /// The branch that a clone checks out.
    pub default_branch: String,
    /// When it was made. ISO 8601.
    pub created_at: String,
}

/// What an entry of the tar is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `README.txt`
    Readme,
    /// `repo.json`
    Repo,
    /// `releases/…`, counted from 1.
    Release(usize),
    /// `snapshots/…`
    Snapshot(SnapshotId),
    /// `objects/…`
    Object(ObjectKey),
    /// `commits/…`
    Commit(CommitId),
}

impl Name {
    /// The path of the entry.
    pub fn path(&self) -> String {
        match self {
            Self::Readme => "README.txt".to_owned(),
            Self::Repo => "repo.json".to_owned(),
            Self::Release(number) => format!("releases/{number:06}{RECORD}"),
            Self::Snapshot(id) => format!("snapshots/{}{RECORD}", in_path(id.as_ref())),
            Self::Object(key) => format!("objects/{}", in_path(key.as_ref())),
            Self::Commit(id) => format!("commits/{}{RECORD}", in_path(id.as_ref())),
        }
    }

    /// What an entry of this path is.
    pub fn parse(path: &str) -> Option<Self> {
        let name = match path {
            "README.txt" => Self::Readme,
            "repo.json" => Self::Repo,
            _ => {
                let (folder, rest) = path.split_once('/')?;
                match folder {
                    "releases" => Self::Release(rest.strip_suffix(RECORD)?.parse().ok()?),
                    "snapshots" => Self::Snapshot(of_path(rest.strip_suffix(RECORD)?)?.into()),
                    "objects" => Self::Object(of_path(rest)?.into()),
                    "commits" => Self::Commit(of_path(rest.strip_suffix(RECORD)?)?.into()),
                    _ => return None,
                }
            }
        };
        // One spelling each.
        (name.path() == path).then_some(name)
    }
}

fn in_path(id: &Id) -> String {
    if id.digest().is_some() && !id.is_prefixed() {
        return id.to_string();
    }
    let text = id.to_string();
    match text.split_at_checked(PART) {
        Some((first, rest)) if !rest.is_empty() => format!("_{first}/_{rest}"),
        _ => format!("_{text}"),
    }
}

fn of_path(text: &str) -> Option<Id> {
    let Some(opaque) = text.strip_prefix('_') else {
        return text.parse().ok();
    };
    match opaque.split_once("/_") {
        Some((first, rest)) => format!("{first}{rest}").parse().ok(),
        None => opaque.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
