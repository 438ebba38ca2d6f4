//! Where records lie among the packs of a repo, and what is known of them from there.

use crate::id::{CommitId, SnapshotId};
use crate::pack::{Frame, PackId};
use crate::table;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordLocation {
    /// The table, by its number in the view.
    pub table: u32,
    /// The frame, by its number in the table.
    pub frame: u32,
    /// Where it begins in the raw bytes of the frame.
    pub start: u32,
    /// How many bytes it has there.
    pub length: u32,
}

impl RecordLocation {
    /// The location of what lies at a place of a table.
    pub fn of(table: usize, place: table::FrameSpan) -> Self {
        let table::FrameSpan { frame, start, length } = place;
        Self { table: u32::try_from(table).unwrap_or(u32::MAX), frame, start, length }
    }

    /// The frame among all that a view has.
    pub const fn frame_id(&self) -> (u32, u32) {
        (self.table, self.frame)
    }
}

/// An object that is an S3 object of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeObject {
    /// The pack whose name its S3 key has.
    pub pack: PackId,
    /// Its bytes.
    pub size: u64,
}

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectLocation {
    /// In a frame of a pack.
    Packed(RecordLocation),
    /// By itself.
    Large(LargeObject),
}

/// A frame and the pack that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackFrame {
    /// The pack.
    pub pack: PackId,
    /// The number of the frame in the pack.
    pub number: usize,
    /// Where the frame lies.
    pub frame: Frame,
}

/// What a view knows of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCommit {
    /// Its parents, there or not.
    pub parents: Vec<CommitId>,
    /// 1 + the greatest of the parents'; none where some ancestor was never pushed.
    pub generation: Option<u32>,
    /// Whether the branch that it was pushed to reached it then, and so all its ancestors.
    pub is_reached: bool,
    /// The snapshot that it names.
    pub snapshot: Option<SnapshotId>,
    /// Where that lies, if it came in the same pack.
    pub snapshot_place: Option<RecordLocation>,
    /// Where its record lies.
    pub place: RecordLocation,
}

/// What a view knows of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownSnapshot {
    /// Where it lies.
    pub place: RecordLocation,
    /// Whether a branch has reached it.
    pub is_reached: bool,
}

/// What a view knows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownObject {
    /// Where it lies.
    pub place: ObjectLocation,
    /// Whether a branch has reached it. Until then readers do not see it.
    pub is_reached: bool,
}
