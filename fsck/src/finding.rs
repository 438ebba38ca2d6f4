//! What a check finds, as data: what is wrong, how bad that is, what depends on it, what could remedy it.

use std::fmt;

use serde::{Serialize, Serializer};

use common::id::{CommitId, ObjectKey, SnapshotId};
use common::pack::PackId;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: Problem,
    /// What depends on what is damaged.
    pub depends: Dependents,
    /// What could remedy it. Scripts read it under the name that it had first.
    #[serde(rename = "mend")]
    pub remedy: Remedy,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A note. The repo is whole.
    Note,
    /// Something is lost, or wrong, or cannot be read.
    Damage,
}

/// What could remedy a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Nothing has to be done.
    Nothing,
    /// What else is stored says what has to be there: `--repair`.
    Repair,
    /// A clone that has it, a backup, or a push from a user who still has it: `--repair --from`.
    Clone,
    /// Only a person can know what is right.
    Person,
}

impl Remedy {
    /// What to do, as a sentence's end.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Nothing => "nothing has to be done",
            Self::Repair => "--repair restores it from what else is stored",
            Self::Clone => "--repair --from <clone> restores it, if the clone has it",
            Self::Person => "a person has to say what is right",
        }
    }
}

/// What depends on something damaged. The lists are cut; the numbers count all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dependents {
    /// Whether nothing of the repo can be read while the damage lasts.
    pub everything: bool,
    /// How many commits cannot be checked out, or not with their whole history.
    pub commits: u64,
    /// The first of these commits, in the order of history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_commit: Option<CommitId>,
    /// The branches that reach one of those, the first hundred.
    pub branches: Vec<String>,
    /// How many branches reach one of those.
    pub branch_count: u64,
    /// The tags and releases that reach one of those by the sort keys of their items, the first hundred.
    pub names: Vec<String>,
    /// How many tags and releases reach one of those.
    pub name_count: u64,
}

/// What is wrong. Items are named by their keys, `<partition key> / <sort key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// An item that has to be there is not.
    ItemMissing {
        /// Its keys.
        item: String,
        /// What says that it has to be there.
        reason: String,
    },
    /// An item cannot be read.
    ItemUnreadable {
        /// Its keys.
        item: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An item says something else than what is stored beside it.
    ItemContradicts {
        /// Its keys.
        item: String,
        /// What contradicts it.
        reason: String,
    },
    /// An item of a kind that this version does not know. A note.
    ItemUnknown {
        /// Its keys.
        item: String,
    },
    /// A branch that was pushed, by the push log, is not there.
    BranchMissing {
        /// Its name.
        branch: String,
        /// Where the log left it.
        head: CommitId,
    },
    /// A branch is at another commit than where the push log left it: its item was altered, or a line of the log is gone.
    BranchNotAsLogged {
        /// Its name.
        branch: String,
        /// Where it is.
        head: CommitId,
        /// Where the log left it, if it is one commit.
        #[serde(skip_serializing_if = "Option::is_none")]
        logged: Option<CommitId>,
    },
    /// The push log of a branch has a gap: no line brings it to a commit that another line begins at, or no line begins
    /// where another ended. What the branch holds is not touched by it.
    LogGap {
        /// The branch.
        branch: String,
        /// The commit at the edge of the gap.
        commit: CommitId,
    },
    /// A branch, tag, release or line of the push log names a commit that is in no pack.
    NameDangling {
        /// The sort key of its item.
        name: String,
        /// The commit.
        commit: CommitId,
    },
    /// A pack is listed and its file is not in S3.
    PackMissing {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
    },
    /// The file of a pack has more or fewer bytes than it was written with.
    PackSize {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// Bytes that it has.
        stored: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// A part of a pack does not have its checksum, or cannot be read.
    PackDamaged {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// `footer`, `table` or `frame N`.
        part: String,
        /// What is wrong with it.
        reason: String,
        /// How many records are in that part; none where that is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        records: Option<u64>,
        /// The first twenty of these records that have no whole copy elsewhere.
        lost: Vec<String>,
    },
    /// A pack that no item names lies in S3 and holds something that is missing: its item is lost.
    PackUnlisted {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// How many records it holds that are missing.
        holds: u64,
    },
    /// The file of an index is not what the tables of its packs give, or cannot be read.
    IndexDamaged {
        /// The index.
        #[serde(serialize_with = "name")]
        index: PackId,
        /// What is wrong with it.
        reason: String,
    },
    /// A record is not what its id says, though its frame has its checksum: it was wrong when it was written.
    RecordWrong {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// The number of its frame.
        frame: usize,
        /// The id that it lies under.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A commit that another names as its parent is in no pack.
    CommitMissing {
        /// The commit.
        commit: CommitId,
        /// One that names it.
        child: CommitId,
    },
    /// A snapshot that a commit names is in no pack.
    SnapshotMissing {
        /// The snapshot.
        snapshot: SnapshotId,
        /// A commit that names it.
        commit: CommitId,
    },
    /// An object that a snapshot names is in no pack.
    ObjectMissing {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// The path that it has in a snapshot.
        path: String,
        /// That snapshot.
        snapshot: SnapshotId,
    },
    /// An object that a reached snapshot names counts as staged: `GET /o/` does not show it.
    ObjectUnseen {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// An object was purged: nothing is wrong where it is missing. A note.
    ObjectPurged {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// When. ISO 8601.
        at: String,
        /// The user who did it.
        by: String,
        /// Why, in their words.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The bytes of an object that was purged are in S3. A note as long as they are being erased.
    PurgedHeld {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// The key of what holds them.
        key: String,
        /// Whether they are being erased.
        is_being_erased: bool,
    },
    /// A large object that a pack lists is not in S3.
    LargeMissing {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// The pack that lists it.
        #[serde(serialize_with = "name")]
        pack: PackId,
    },
    /// A large object has more or fewer bytes than the pack says.
    LargeSize {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// The pack that lists it.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// Bytes that it has.
        stored: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// A large object is not what its id says.
    LargeDamaged {
        /// The object.
        #[serde(serialize_with = "id")]
        object: ObjectKey,
        /// The pack that lists it.
        #[serde(serialize_with = "name")]
        pack: PackId,
    },
    /// An S3 object of the repo that nothing names: a push that failed, one under way, or what compaction has left.
    /// A note.
    Garbage {
        /// Its key.
        key: String,
        /// Its bytes.
        bytes: u64,
    },
    /// A damaged pack that a repair has replaced and whose file is kept: `--prune-damaged` deletes it. A note.
    PackSetAside {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
    },
}

fn id<S: Serializer>(object: &ObjectKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(object.as_ref())
}

pub(super) fn name<S: Serializer>(pack: &PackId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(pack)
}

impl Problem {
    /// How bad this is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::ItemUnknown { .. }
            | Self::Garbage { .. }
            | Self::PackSetAside { .. }
            | Self::ObjectPurged { .. }
            | Self::PurgedHeld { is_being_erased: true, .. } => Severity::Note,
            _ => Severity::Damage,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ItemMissing { item, reason } => write!(out, "the item {item} is missing: {reason}"),
            Self::ItemUnreadable { item, reason } => write!(out, "the item {item} cannot be read: {reason}"),
            Self::ItemContradicts { item, reason } => write!(out, "the item {item} is wrong: {reason}"),
            Self::ItemUnknown { item } => write!(out, "the item {item} is of a kind that this version does not know"),
            Self::BranchMissing { branch, head } => {
                write!(out, "the branch {branch} is missing: the push log left it at {}", head.as_ref())
            }
            Self::BranchNotAsLogged { branch, head, logged: Some(logged) } => {
                write!(
                    out,
                    "the branch {branch} is at {}, and the push log left it at {}",
                    head.as_ref(),
                    logged.as_ref()
                )
            }
            Self::BranchNotAsLogged { branch, head, logged: None } => {
                write!(out, "the branch {branch} is at {}, and the push log does not say so", head.as_ref())
            }
            Self::LogGap { branch, commit } => {
                write!(out, "the push log of the branch {branch} has a gap at {}", commit.as_ref())
            }
            Self::NameDangling { name, commit } => {
                write!(out, "{name} names the commit {}, which is in no pack", commit.as_ref())
            }
            Self::PackMissing { pack } => write!(out, "the pack {pack} is listed and not in S3"),
            Self::PackSize { pack, stored, expected } => {
                write!(out, "the pack {pack} has {stored} bytes instead of {expected}")
            }
            Self::PackDamaged { pack, part, reason, records, lost } => {
                write!(out, "the pack {pack}: {part}: {reason}")?;
                if let Some(records) = records {
                    write!(out, ", {records} records in it")?;
                }
                if let Some(first) = lost.first() {
                    write!(out, ", of which there is no other copy: {first}")?;
                }
                if lost.len() > 1 { write!(out, " and more") } else { Ok(()) }
            }
            Self::PackUnlisted { pack, holds } => {
                write!(out, "the pack {pack} is in S3 and not listed, and holds {holds} records that are missing")
            }
            Self::IndexDamaged { index, reason } => write!(out, "the index {index}: {reason}"),
            Self::RecordWrong { pack, frame, id, reason } => {
                write!(out, "the record {id} in frame {frame} of the pack {pack}: {reason}")
            }
            Self::CommitMissing { commit, child } => {
                write!(out, "the commit {} is in no pack: a parent of {}", commit.as_ref(), child.as_ref())
            }
            Self::SnapshotMissing { snapshot, commit } => {
                write!(out, "the snapshot {} of the commit {} is in no pack", snapshot.as_ref(), commit.as_ref())
            }
            Self::ObjectMissing { object, path, snapshot } => {
                let (object, snapshot) = (object.as_ref(), snapshot.as_ref());
                write!(out, "the object {object} is in no pack: {path:?} in the snapshot {snapshot}")
            }
            Self::ObjectUnseen { object, snapshot } => {
                let (object, snapshot) = (object.as_ref(), snapshot.as_ref());
                write!(out, "the object {object} of the reached snapshot {snapshot} counts as staged")
            }
            Self::ObjectPurged { object, at, by, reason } => {
                write!(out, "the object {} was purged by {by} at {at}", object.as_ref())?;
                if reason.is_empty() { Ok(()) } else { write!(out, ": {reason}") }
            }
            Self::PurgedHeld { object, key, is_being_erased } => {
                write!(out, "{key} holds the bytes of the object {}, which was purged: ", object.as_ref())?;
                out.write_str(if *is_being_erased { "they are being erased" } else { "run musehub purge again" })
            }
            Self::LargeMissing { object, pack } => {
                write!(out, "the large object {} of the pack {pack} is not in S3", object.as_ref())
            }
            Self::LargeSize { object, pack, stored, expected } => {
                let object = object.as_ref();
                write!(out, "the large object {object} of the pack {pack} has {stored} bytes instead of {expected}")
            }
            Self::LargeDamaged { object, pack } => {
                write!(out, "the large object {} of the pack {pack} is not what its id says", object.as_ref())
            }
            Self::Garbage { key, bytes } => write!(out, "nothing names {key}, of {bytes} bytes"),
            Self::PackSetAside { pack } => {
                write!(out, "the damaged pack {pack} was replaced, and its file is kept until --prune-damaged")
            }
        }
    }
}

impl fmt::Display for Dependents {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.everything {
            return out.write_str("all of the repository");
        }
        let mut parts = Vec::new();
        if let Some(first) = &self.first_commit {
            parts.push(match self.commits {
                1 => format!("the commit {}", first.as_ref()),
                many => format!("{many} commits from {} on", first.as_ref()),
            });
        }
        for (what, listed, count) in
            [("branches", &self.branches, self.branch_count), ("names", &self.names, self.name_count)]
        {
            if count > 0 {
                const SHOWN: usize = 5;
                let shown: Vec<&str> = listed.iter().take(SHOWN).map(String::as_str).collect();
                let more = if count > SHOWN as u64 { ", ..." } else { "" };
                parts.push(format!("{count} {what}: {}{more}", shown.join(", ")));
            }
        }
        if parts.is_empty() { out.write_str("nothing that a branch reaches") } else { out.write_str(&parts.join("; ")) }
    }
}
