//! Getting a repo out of a hub and in again: into one file or a folder, out of it, and from one hub to another.
//!
//! - [`export`] writes a repo into a file, [`mod@file`] is what lies in it, [`mod@verify`] proves one without any hub.
//! - [`import`] brings such a file into a hub; [`mirror`] brings a repo from one hub into another.
//! - [`push`] brings a branch of a client's folder into a hub.
//! - [`delivery`] is what those three share: it pushes, as any client does, so the hub checks everything that comes.
//! - [`clone`] brings a repo into a folder that a client goes on with, [`fetch`] what is new; they and [`mirror`] fetch in parts, as
//!   `source` does. [`folder`] is how clients keep a repo, `arriving` how it gets there, `ahead` what a hub lacks of it.
//! - The hubs are asked through the crate `client`: those that are elsewhere over HTTP, those whose stores [`stores`](crate::stores) opens in this
//!   process. `asking` is what is asked before anything is moved.

mod ahead;
mod arriving;
mod asking;
pub mod at_hand;
pub mod clone;
pub mod delivery;
pub mod export;
pub mod fetch;
pub mod file;
pub mod folder;
pub mod import;
pub mod mirror;
pub mod progress;
pub mod push;
mod source;
pub mod verify;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use common::id::{CommitId, Label};
use common::wire;
use common::wire::request::TagResponse;
use common::wire::value::Value;
use http::StatusCode;

/// Why a repo did not get where it was to go. The sentence is for the one who typed the command.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It is not done, and the sentence says what to do.
    #[error("{0}")]
    Refused(String),
    /// A branch of a hub has commits that the one that is pushed does not build on.
    #[error("{0}")]
    Diverged(String),
    /// A file of an export is not what was written.
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
    /// A hub did not give what it was asked for.
    #[error(transparent)]
    Hub(#[from] client::ClientError),
    /// The stores do not answer, or hold what is damaged.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// A record cannot be read or written.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
}

impl TransferError {
    /// An error of the file system, with what was tried.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("cannot {what} {}", path.display());
        move |cause| Self::File { what, cause }
    }

    /// Whether a hub refused with this status.
    pub(crate) fn has_status(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Hub(error) if error.has_status(wanted))
    }

    /// Whether a hub says that it was asked for too much at once.
    pub(crate) fn is_too_much(&self) -> bool {
        self.has_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// The same, or it could not be reached or broke off, which may have that reason.
    pub(crate) fn may_be_too_much(&self) -> bool {
        matches!(self, Self::Hub(client::ClientError::Broken { .. })) || self.is_too_much()
    }
}

/// A tag of a repo.
pub type Tag = TagResponse;

/// A release of a repo.
#[derive(Debug, Clone)]
pub struct Release {
    /// What it is called.
    pub tag: Label,
    /// The commit that it is.
    pub commit: CommitId,
    /// All of it as one msgpack map.
    pub record: Vec<u8>,
}

/// What a repo names: everything else is reached from here.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// What kind of content it holds, as clients get it; empty if the hub does not say.
    pub domain: String,
    /// The branch that a clone checks out.
    pub default_branch: String,
    /// The head of each branch.
    pub heads: BTreeMap<String, CommitId>,
    /// The tags, by label.
    pub tags: Vec<Tag>,
    /// The releases, newest first.
    pub releases: Vec<Release>,
}

impl Release {
    /// Reads a release as it is stored and sent.
    ///
    /// # Errors
    /// When it lacks a tag or a commit.
    pub fn read(value: &Value) -> Result<Self, TransferError> {
        let Value::Map(fields) = value else {
            return Err(TransferError::Damaged("a release is no map".to_owned()));
        };
        let text = |name: &str| {
            let field = fields.iter().find(|(key, _)| key.as_text() == Some(name));
            field.and_then(|(_, value)| value.as_text()).unwrap_or_default()
        };
        let bad = |reason| TransferError::Damaged(format!("a release: {reason}"));
        Ok(Self {
            tag: text("tag").parse().map_err(bad)?,
            commit: text("commit_id").parse().map_err(bad)?,
            record: rmp_serde::to_vec(value).map_err(wire::WireError::internal)?,
        })
    }
}

impl Names {
    /// The branches, the default one first.
    pub fn branches(&self) -> impl Iterator<Item = (&String, &CommitId)> {
        let is_default = |name: &String| *name == self.default_branch;
        let first = self.heads.iter().filter(move |(name, _)| is_default(name));
        first.chain(self.heads.iter().filter(move |(name, _)| !is_default(name)))
    }

    /// The commits that tags and releases name.
    pub fn named(&self) -> impl Iterator<Item = &CommitId> {
        let tags = self.tags.iter().map(|tag| &tag.commit_id);
        tags.chain(self.releases.iter().map(|release| &release.commit))
    }
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Commits.
    pub commits: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of the objects.
    pub bytes: u64,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commits, snapshots, objects, bytes } = self;
        let bytes = indicatif::DecimalBytes(*bytes);
        write!(formatter, "{commits} commits, {snapshots} snapshots, {objects} objects ({bytes})")
    }
}
