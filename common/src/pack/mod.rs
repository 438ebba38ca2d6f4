//! Packs: immutable files in S3 that hold commits, snapshots and objects together with the table of them.
//!
//! # Format, version 2
//!
//! A pack is a valid Zstandard file ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)): a run of independent data
//! frames, then two skippable frames, so `zstd -d` prints the records one after the other. Numbers are little-endian. A
//! *checksum* is the 64-bit XXH3 with seed 0.
//!
//! **Data frames.** Each decompresses to records of one kind, end to end: commits (one msgpack map each, as the wire
//! has them), snapshots (the same) or objects (their bytes). Commits come parents first. Nothing lies between frames. The
//! kinds, as the table has them: 0 commits, 1 snapshots, 2 objects, 3 objects and 4 snapshots that no branch has reached
//! when they come.
//!
//! **Table.** A skippable frame: the magic number `0x184D2A50`, the length of the rest (4 bytes), and the pack's
//! [table](crate::table), which says of each record where it lies, and of each commit what its parents are. It also lists
//! the *large objects*, which are S3 objects of their own: those that belong to this pack, and those *inherited* from
//! packs that were merged into this one, with the names of those. And it notes the objects of other packs that no branch
//! had reached before this pack came.
//!
//! **Footer.** A skippable frame of 64 bytes: magic number and length (8 bytes), `MUSEPACK`, version (4 bytes, 2),
//! four bytes of zeros; the table's offset, length, length of its head and checksum of its head (8 each); then the
//! checksum (8) of the footer's first 56 bytes.
//!
//! So every byte of a pack is under some checksum, and a reader knows where the table is from the last 64 bytes, or from
//! the [`PackSummary`] that DynamoDB keeps beside the pack's name.
//!
//! Version 1 had a compressed index that was read whole. Its packs are refused by name: see [`index::OLD_VERSION`].
//!
//! - [`writer`] makes packs, [`index`] writes and reads their tables, [`frame`] checks and opens data frames, [`opening`]
//!   opens large ones piece by piece.

pub mod frame;
pub mod index;
pub mod opening;
pub mod summary;
pub mod writer;

pub use frame::{Frame, Kind};
pub use index::{Contents, GraphSection, PackedCommit};
pub use opening::OpeningFrame;
pub use summary::{PackId, PackSummary, RawBytes, TableExtent};
pub use writer::{Elsewhere, NewCommit, NewObject, NewPack, NewSnapshot, PackWriter, WrittenPack, write};

/// What is wrong with the bytes of a pack. Wrong bytes are never handed on.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The stored bytes do not have their checksum: `part` is `frame N`, `its table`, `footer` or the like.
    #[error("pack {pack}: {part} does not have its checksum")]
    Checksum {
        /// The pack.
        pack: PackId,
        /// The part of it.
        part: String,
    },
    /// The bytes have their checksum and still cannot be read: their writer made a mistake.
    #[error("pack {pack}: {part}: {reason}")]
    Malformed {
        /// The pack.
        pack: PackId,
        /// The part of it.
        part: String,
        /// What cannot be read.
        reason: String,
    },
    /// The pack could not be written.
    #[error("a pack could not be compressed")]
    Write(#[source] std::io::Error),
}

#[cfg(test)]
mod tests;
