//! Tables: where the records of packs lie, sorted and paged, read in place.
//!
//! A request asks a table for a few ids. It reads the table's head once, then the one page that may hold each id.
//! Nothing is parsed or copied when a table is opened, and no request reads a whole table. Tables never change, so a
//! cached page stays right.
//!
//! A pack carries the table of its own records. An *index* is a file that is a table and nothing else, merged from the
//! tables of many packs, so that one lookup answers for all of them. Both have one format, version 2. The design is that of Git's
//! [`pack-*.idx`, multi-pack-index](https://git-scm.com/docs/gitformat-pack) and
//! [commit-graph](https://git-scm.com/docs/gitformat-commit-graph), with the paging of the index blocks of an LSM store.
//!
//! # Format
//!
//! Numbers are little-endian. A *checksum* is the 64-bit XXH3. A *key* is 33 bytes that stand for an id: the digest and a
//! zero for an id of 64 hex digits, the digest and a one for the same after `sha256:`, and for any other id the SHA-256
//! of its text and a two. A *place* is a frame (4 bytes, a number among the frames of this table), and where the record
//! starts in the raw bytes of the frame (4) and how many it has (4).
//!
//! A table is a run of sections and then its head. A section is a run of pages. A page is as many entries of the
//! section as fit into 8,184 bytes, and then their checksum (8 bytes), seeded with the section's number times 2^32 plus
//! the page's number, so that no page passes for another. Sections, in their order, with the bytes of an entry:
//!
//! | number | section | sorted by | entry |
//! |---|---|---|---|
//! | 0 | commits | key | key, position in the graph (4) |
//! | 1 | graph | pack; in a pack, parents first | key, flags (1), generation (4), two parents (4 each), snapshot's key, snapshot's place, the commit's place |
//! | 2 | snapshots | key | key, flags (1), place |
//! | 3 | objects | key | key, flags (1), place |
//! | 4 | frames | pack; offset | pack (16), number in the pack (4), offset (8), stored length (4), raw length (4), checksum of the stored bytes (8), kind (1) |
//! | 5 | parents | pack | key of a parent that is not in the same pack |
//! | 6 | large | pack | pack whose name is in the S3 key (16), size (8), pack that lists it (16) |
//! | 7 | names | key | key, length (1), text (128): ids that are not hashes |
//! | 8 | packs | | of an index, what is kept of a pack: its name (16), size, commits, snapshots, objects, table's offset, length, length of its head and checksum of its head (8 each) |
//! | 9, 10, 11 | filters of commits, snapshots, objects | | one byte of a Bloom filter |
//!
//! - A *generation* is 1 + the greatest of the parents', as in Git's commit-graph, or `0xFFFFFFFF` where it is not known:
//!   a commit with a parent that was never pushed, and all that build upon it.
//! - A *parent* is the position of a commit in this table, or `0x80000000` plus a position among the parents, or
//!   `0xFFFFFFFF` for none. Where several packs of an index have the commit, it is the first one's. A snapshot that is not in this table has a place of which all bytes are `0xFF`, and none at all
//!   has a key of such bytes too.
//! - *Flags*: 1: a branch has reached the record, or reached it when it came. 2: a large object; the frame of its place is a position among the
//!   large ones. 4: only a note that a branch has reached an object which lies in another pack; it has no place.
//! - In the table of a pack a pack's name of zeros is the pack itself, which has no name yet when it is written.
//! - The packs of an index have an order, that of its section 8: where the table above says *pack*, it is meant. A record that
//!   several packs hold has an entry for each, and they follow each other in this order too.
//! - A *filter* has ten bits for each key of its section, and is left out for fewer than 1,024. Seven bits are set for a
//!   key: `(a + i * b) mod bits` for `i` from 0 to 6, `a` being bytes 8 to 15 of the key and `b` bytes 16 to 23, odd.
//!
//! **Head.** `MUSETBL2`, the number of entries of each section (8 bytes each), then for the sections sorted by key, in
//! their order, the first four bytes of the first key of each page. The length and the checksum of the head are kept
//! beside the name of the table.

mod entry;
mod filter;
mod head;
mod key;
mod writer;

pub use entry::{
    CommitEntry, FrameEntry, FrameSpan, GraphEntry, LargeEntry, Location, PackEntry, ParentEntry, RecordEntry,
    read_name,
};
pub use filter::Filter;
#[cfg(test)]
pub use head::mend_checksums;
pub use head::{Head, entries, entries_of, entry_at, page_checksum_holds};
pub use key::Key;
pub use writer::{Builder, Encoded, Keys};

/// The generation of a commit some of whose ancestors were never pushed.
pub const UNKNOWN_GENERATION: u32 = u32::MAX;

/// Bytes of the entries of a page at most.
const PAGE_BYTES: usize = 8 * 1024 - CHECKSUM_BYTES;
/// Bytes of the checksum that is behind the entries of a page.
pub const CHECKSUM_BYTES: usize = 8;
const KEY: usize = key::KEY_BYTES;
const PLACE: usize = 12;
const MAGIC: &[u8; 8] = b"MUSETBL2";

/// A part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// Commits by key.
    Commits,
    /// Commits with their parents, parents first.
    Graph,
    /// Snapshots by key.
    Snapshots,
    /// Objects by key.
    Objects,
    /// Frames of packs.
    Frames,
    /// Parents that are in other tables.
    Parents,
    /// Objects that are S3 objects of their own.
    Large,
    /// Ids that are not hashes.
    Names,
    /// The packs that an index answers for.
    Packs,
    /// The filter of the commits.
    CommitFilter,
    /// The filter of the snapshots.
    SnapshotFilter,
    /// The filter of the objects.
    ObjectFilter,
}

impl Section {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::Commits,
        Self::Graph,
        Self::Snapshots,
        Self::Objects,
        Self::Frames,
        Self::Parents,
        Self::Large,
        Self::Names,
        Self::Packs,
        Self::CommitFilter,
        Self::SnapshotFilter,
        Self::ObjectFilter,
    ];

    /// Bytes of one entry.
    pub const fn width(self) -> usize {
        match self {
            Self::Commits => KEY + 4,
            Self::Graph => KEY + 1 + 12 + KEY + PLACE + PLACE,
            Self::Snapshots | Self::Objects => KEY + 1 + PLACE,
            Self::Frames => 16 + 4 + 8 + 4 + 4 + 8 + 1,
            Self::Parents => KEY,
            Self::Large => 16 + 8 + 16,
            Self::Names => KEY + 1 + crate::id::MAX_ID_LENGTH,
            Self::Packs => 16 + 8 * 8,
            Self::CommitFilter | Self::SnapshotFilter | Self::ObjectFilter => 1,
        }
    }

    /// How many entries a full page has.
    pub const fn entries_a_page(self) -> u64 {
        (PAGE_BYTES / self.width()) as u64
    }

    /// Whether its entries are sorted by the key that each begins with.
    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::Commits | Self::Snapshots | Self::Objects | Self::Names)
    }

    /// The filter of a section that has one.
    pub const fn filter(self) -> Option<Self> {
        match self {
            Self::Commits => Some(Self::CommitFilter),
            Self::Snapshots => Some(Self::SnapshotFilter),
            Self::Objects => Some(Self::ObjectFilter),
            _ => None,
        }
    }

    /// The section that it is the filter of.
    pub fn filtered(self) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.filter() == Some(self))
    }

    /// How many pages this many entries take.
    pub const fn pages(self, entries: u64) -> u64 {
        entries.div_ceil(self.entries_a_page())
    }

    /// How many bytes this many entries take, checksums included.
    pub const fn bytes(self, entries: u64) -> u64 {
        entries.saturating_mul(self.width() as u64).saturating_add(self.pages(entries) * CHECKSUM_BYTES as u64)
    }

    /// What the checksum of a page is seeded with.
    const fn seed(self, page: u64) -> u64 {
        ((self as u64) << 32) | (page & 0xFFFF_FFFF)
    }
}

/// What is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The stored bytes do not have their checksum.
    #[error("{0} does not have its checksum")]
    Checksum(String),
    /// The bytes have their checksum and still cannot be read.
    #[error("{0}")]
    Malformed(String),
}

impl TableError {
    /// A page that does not have its checksum.
    pub fn of_page(section: Section, page: u64) -> Self {
        Self::Checksum(format!("page {page} of the {section:?} of its table"))
    }

    fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }
}

#[cfg(test)]
mod tests;
