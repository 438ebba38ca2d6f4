//! What is kept of a pack beside it.

use std::ops::Range;

use jiff::Timestamp;

/// The name of a pack: a ULID, unique over all repos.
pub type PackId = ulid::Ulid;

/// Where a table lies in its file, and the checksum that shows that its head is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableExtent {
    /// Where it begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// How many bytes it has there, its head included.
    pub length: u64,
    /// How many of these bytes, at the end, are its head.
    pub head_length: u64,
    /// The checksum of the head.
    pub head_checksum: u64,
}

impl TableExtent {
    /// The bytes of the file that the table is in.
    pub const fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }

    /// The bytes of the file that the head is in.
    pub const fn head_range(&self) -> Range<u64> {
        let end = self.offset.saturating_add(self.length);
        end.saturating_sub(self.head_length)..end
    }
}

/// What DynamoDB keeps of a pack, or of an index of packs, so that its table is one ranged read away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackSummary {
    /// Bytes of the whole pack; of an index, those of its packs together.
    pub size: u64,
    /// Commits in it.
    pub commits: u64,
    /// Snapshots in it.
    pub snapshots: u64,
    /// Objects in it.
    pub objects: u64,
    /// How many packs, or tables, were merged into it; 0 for a pack that a push wrote.
    pub merged: u64,
    /// How many packs it is an index of; 0 for a pack.
    pub packs: u64,
    /// For a pack that is condemned, when it was.
    pub condemned_at: Option<Timestamp>,
    /// What its records have as they are sent; none where that was not kept.
    pub raw: Option<RawBytes>,
    /// Bytes of the large objects that it lists, which are S3 objects of their own; none where that was not kept.
    pub large: Option<u64>,
    /// Where its table is.
    pub table: TableExtent,
}

/// Bytes of records as they are sent in msgpack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RawBytes {
    /// Of commits and snapshots.
    pub records: u64,
    /// Of the content of objects, those among them that are S3 objects of their own.
    pub content: u64,
}

impl std::ops::Add for RawBytes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            content: self.content.saturating_add(other.content),
        }
    }
}

impl PackSummary {
    /// What these have together, as far as it was kept of all of them.
    pub fn raw_of<'s>(summaries: impl IntoIterator<Item = &'s Self>) -> Option<RawBytes> {
        summaries.into_iter().try_fold(RawBytes::default(), |sum, summary| Some(sum + summary.raw?))
    }

    /// Bytes in S3 that hold what these have. Large objects count where that was kept.
    pub fn stored_bytes<'s>(summaries: impl IntoIterator<Item = &'s Self>) -> u64 {
        let bytes = summaries.into_iter().map(|summary| summary.size.saturating_add(summary.large.unwrap_or_default()));
        bytes.fold(0, u64::saturating_add)
    }

    /// Whether it is of an index, which has the table of many packs and no records of its own.
    pub const fn is_index(&self) -> bool {
        self.packs > 0
    }
}
