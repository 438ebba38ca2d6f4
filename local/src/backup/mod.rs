//! A whole hub as plain files in a folder, and a hub out of them again.
//!
//! # The folder
//!
//! | file | what it is |
//! |---|---|
//! | `manifest.json` | the last complete backup: see [`folder::Manifest`]. It is written last, and all at once |
//! | `items-<ulid>.jsonl.zst` | every item of the table, one a line, in the JSON of DynamoDB (`{"pk": {"S": "…"}, …}`) |
//! | `files-<ulid>.jsonl.zst` | every file under `s3/`: `{"key", "size", "sha256"}`, one a line |
//! | `s3/…` | the objects of the bucket, each under its key |
//! | `backup.lock` | says that this folder is for backups, and keeps other processes out of it |
//! | `secret` | what tokens are signed with, of a hub on one machine; elsewhere it is among the items |
//!
//! What lies in S3 is written once and never changed, so a later backup into the same folder copies only what is new.
//! Files that it no longer needs are deleted once the new manifest is there. Until then the old one holds.
//!
//! # What is consistent
//!
//! A hub need not stand still. Packs are put before the items that name them, so of each repo the branches, tags and
//! releases are read first, then its list of packs, and then the packs are copied: all that is named is there. A repo is in
//! the backup whole or, if it was made meanwhile, not at all. Uploads under way are left out.
//!
//! - [`mod@holding`] says which files hold an object that was purged.
//! - [`save`] makes a backup, [`mod@restore`] makes a hub of it, [`item`] is the form of an item.

pub mod folder;
pub mod holding;
pub mod item;
pub mod restore;
pub mod save;

use std::io;
use std::path::Path;

/// Why a backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is not done, and the sentence says what to do.
    #[error("{0}")]
    Refused(String),
    /// The folder does not hold what its manifest says, or the hub not what its items say.
    #[error("{0}")]
    Damaged(String),
    /// The file system refused.
    #[error("{what}")]
    File {
        /// What was tried.
        what: String,
        /// What was answered.
        #[source]
        cause: io::Error,
    },
    /// The stores do not answer.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl BackupError {
    /// An error of the file system, with what was tried.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("cannot {what} {}", path.display());
        move |cause| Self::File { what, cause }
    }
}
