//! A commit as it came: the fields that the hub reads, and all of them verbatim as one msgpack map.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use sha2::{Digest, Sha256};

use super::error::WireError;
use super::fields::{Absent, Fields, Kind, Known};
use super::value::Value;
use crate::id::{CommitId, Id, SnapshotId};

/// One commit of a bundle, or of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id, as the client says: whether the content bears it out is [`Commit::is_proved`].
    pub id: CommitId,
    /// The parents that it names, none, one or two.
    pub parents: Vec<CommitId>,
    /// The snapshot that it names.
    pub snapshot: Option<SnapshotId>,
    /// The branch that it was made on.
    pub branch: Box<str>,
    /// Whether `author` or `committed_at` was left empty.
    is_incomplete: bool,
    is_proved: bool,
    is_proved_as_stored: bool,
    record: Vec<u8>,
}

/// The fields that the contract knows, with what they hold and what they are when absent. `commit_id` alone must be
/// there; it is first.
const FIELDS: [Known; 22] = [
    ("commit_id", Kind::Text, Absent::Empty),
    ("repo_id", Kind::Text, Absent::Empty),
    ("branch", Kind::Text, Absent::Empty),
    ("snapshot_id", Kind::Text, Absent::Nil),
    ("message", Kind::Text, Absent::Empty),
    ("committed_at", Kind::Text, Absent::Empty),
    ("parent_commit_id", Kind::Text, Absent::Nil),
    ("parent2_commit_id", Kind::Text, Absent::Nil),
    ("author", Kind::Text, Absent::Empty),
    ("metadata", Kind::Map, Absent::Empty),
    ("structured_delta", Kind::Any, Absent::Nil),
    ("sem_ver_bump", Kind::Text, Absent::Text("none")),
    ("breaking_changes", Kind::List, Absent::Empty),
    ("agent_id", Kind::Text, Absent::Empty),
    ("model_id", Kind::Text, Absent::Empty),
    ("toolchain_id", Kind::Text, Absent::Empty),
    ("prompt_hash", Kind::Text, Absent::Empty),
    ("signature", Kind::Text, Absent::Empty),
    ("signer_key_id", Kind::Text, Absent::Empty),
    ("format_version", Kind::Integer, Absent::Integer(1)),
    ("reviewed_by", Kind::List, Absent::Empty),
    ("test_runs", Kind::Integer, Absent::Integer(0)),
];

/// What clients change of a commit whose id stays.
const ANNOTATIONS: [&str; 2] = ["reviewed_by", "test_runs"];

impl Commit {
    /// The commit as one msgpack map: every field that came, as it came, and the defaults of those that did not.
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// Whether the id is the hash of the commit's content, by either of the two formulas that clients use:
    /// `sha256(NUL.join([NUL.join(sorted(parents)), snapshot_id, message, committed_at]))`, or the same with `author`
    /// in place of `committed_at`.
    pub const fn is_proved(&self) -> bool {
        self.is_proved
    }

    /// Whether the id is the hash of what is stored. The hub fills in an author or a time that the pusher left empty, and
    /// the id is then the hash of the commit with that field still empty.
    pub const fn is_proved_as_stored(&self) -> bool {
        self.is_proved_as_stored
    }

    /// The commit as it has to be pushed for its id to be its hash, if that is not as it is: with its time empty. The
    /// hub that takes it fills in the time again.
    pub fn unfilled(&self) -> Option<Self> {
        if self.is_proved || !self.is_proved_as_stored {
            return None;
        }
        let mut fields = Fields::from_record(&self.record).ok()?;
        fields.set("committed_at", Value::empty_text());
        Self::from_fields(fields).ok()
    }

    /// Whether `reviewed_by` or `test_runs` says anything. Clients change them of a commit whose id stays, for no id is a hash of them.
    ///
    /// # Errors
    /// [`WireError::Internal`] when the commit's own record cannot be read, which is a fault of the hub's.
    pub fn is_annotated(&self) -> Result<bool, WireError> {
        let fields = Fields::from_record(&self.record)?;
        let says_nothing = |name: &str| match fields.get(name) {
            None | Some(Value::Nil | Value::Unsigned(0)) => true,
            Some(Value::List(items)) => items.is_empty(),
            Some(_) => false,
        };
        Ok(!ANNOTATIONS.into_iter().all(says_nothing))
    }

    /// Whether the record of a commit of this id says the same in `reviewed_by` and `test_runs`.
    ///
    /// # Errors
    /// As [`Self::is_annotated`].
    pub fn is_annotated_as(&self, record: &[u8]) -> Result<bool, WireError> {
        let (own, other) = (Fields::from_record(&self.record)?, Fields::from_record(record)?);
        Ok(ANNOTATIONS.into_iter().all(|name| own.get(name) == other.get(name)))
    }

    /// Whether the pusher left the author or the time empty.
    pub const fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Fills in what the pusher left empty.
    ///
    /// # Errors
    /// [`WireError::Internal`] when the commit's own record cannot be read, which is a fault of the hub's.
    pub fn complete(&mut self, author: &str, committed_at: &str) -> Result<(), WireError> {
        if !self.is_incomplete {
            return Ok(());
        }
        let mut fields = Fields::from_record(&self.record)?;
        fields.fill("author", author);
        fields.fill("committed_at", committed_at);
        self.record = fields.record().map_err(WireError::internal)?;
        self.is_incomplete = false;
        Ok(())
    }

    fn from_fields(mut fields: Fields) -> Result<Self, String> {
        fields.require(&["commit_id"])?;
        fields.complete(&FIELDS)?;
        let text = |name: &str| fields.text(name);
        let id = |name: &str| -> Result<Option<Id>, String> {
            let text = text(name);
            if text.is_empty() && name != "commit_id" {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|reason| format!("{name}: {reason}"))
        };
        let mut parents = Vec::new();
        parents.extend(id("parent_commit_id")?.map(CommitId::from));
        parents.extend(id("parent2_commit_id")?.map(CommitId::from));
        let commit_id = id("commit_id")?.ok_or("missing field `commit_id`")?;

        let mut names = vec![text("parent_commit_id"), text("parent2_commit_id")];
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        let parents_part = names.join("\0");
        let proves = |last: &str| {
            let parts = [&parents_part, text("snapshot_id"), text("message"), last];
            commit_id.is_bare(Sha256::digest(parts.join("\0")).into())
        };
        let is_proved = [text("committed_at"), text("author")].into_iter().any(proves);
        let is_incomplete = text("author").is_empty() || text("committed_at").is_empty();
        Ok(Self {
            parents,
            snapshot: id("snapshot_id")?.map(SnapshotId::from),
            branch: text("branch").into(),
            is_incomplete,
            is_proved,
            is_proved_as_stored: is_proved || proves(""),
            record: fields.record().map_err(|error| error.to_string())?,
            id: commit_id.into(),
        })
    }
}

impl<'de> Deserialize<'de> for Commit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_fields(Fields::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Commit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields::from_record(&self.record).map_err(ser::Error::custom)?.serialize(serializer)
    }
}
