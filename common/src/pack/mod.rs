//! Packs: immutable files in S3 that hold commits, snapshots and objects together with their index.
//!
//! # Format, version 1
//!
//! A pack is a valid Zstandard file ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)): a run of independent data
//! frames, then three skippable frames, so `zstd -d` prints the records one after the other. Numbers are little-endian
//! unless they are *varints* (unsigned LEB128, at most ten bytes). A *checksum* is the 64-bit XXH3 with seed 0.
//!
//! **Data frames.** Each decompresses to records of one kind, end to end: commits (one msgpack map each, as the wire
//! has them), snapshots (the same) or objects (their bytes). Commits come parents first. Nothing lies between frames.
//!
//! **Sections.** A *graph section* and a *contents section*, in this order behind the data frames, each a skippable
//! frame: the magic number `0x184D2A50`, the length of the rest (4 bytes), and the section compressed as one zstd
//! frame. An *id* in a section is a tag byte and then: tag 0, the 32 bytes of a SHA-256 that is written as 64 lowercase
//! hex digits; tag 1, the same written after `sha256:`; tag 2, a length byte and that many bytes of ASCII.
//!
//! - Graph section: varint number of commits; for each commit, parents first: its id; varint number of parents; each
//!   parent as a varint *n* that is 0 before the id of a commit which does not come before this one in this pack, or
//!   else says that the parent is the *n*-th last commit before this one; one byte 0, or 1 before the id of its snapshot.
//!   (Generation numbers are not in it: whoever links the packs of a repo gets them in the same pass.)
//! - Contents section: varint number of frames; for each frame: kind (1 byte: 0 commits, 1 snapshots, 2 objects, 3
//!   objects and 4 snapshots that no branch has reached when they come), varint stored length, varint raw length, checksum of the stored bytes (8 bytes), varint number of records; then
//!   for each record the id of what it is and varint raw length. A frame's offset is the sum of the stored lengths
//!   before it, a record's offset the sum of the raw lengths before it in its frame. Object ids have no prefix.
//!   Then, unless the section ends here, two more lists. The *large objects*, which are S3 objects of their own that
//!   belong to this pack: varint number; for each its id and varint size. And the objects that were pushed ahead in
//!   other packs and are *reached* by the snapshots of this one: varint number; for each its id. Then, unless the section
//!   ends here, the large objects that are *inherited* from packs which were merged into this one: varint number; for
//!   each the name of the pack that it belongs to (16 bytes, the ULID big-endian), its id and varint size.
//!
//! **Footer.** A skippable frame of 80 bytes: magic number and length (8 bytes), `MUSEPACK`, version (4 bytes, 1),
//! four bytes of zeros, and for the graph section and then the contents section: offset (8), length (8) and checksum
//! (8), all of the skippable frame as stored; then the checksum (8) of the footer's first 72 bytes.
//!
//! So every byte of a pack is under some checksum, and a reader knows where the index is from the last 80 bytes, or
//! from the [`PackSummary`] that the table keeps beside the pack's name.
//!
//! - [`writer`] makes packs, [`index`] reads and writes the sections, [`frame`] checks and opens data frames.

pub mod frame;
pub mod index;
pub mod writer;

pub use frame::{Frame, Kind};
pub use index::{Contents, GraphSection, PackSummary, PackedCommit, Section};
pub use writer::{Elsewhere, NewCommit, NewObject, NewPack, NewSnapshot, PackWriter, WrittenPack, write};

/// The name of a pack: a ULID, unique over all repos.
pub type PackId = ulid::Ulid;

/// What is wrong with the bytes of a pack. Wrong bytes are never handed on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored bytes do not have their checksum: `part` is `frame N`, `graph section`, `contents section`, `footer`.
    #[error("pack {pack}: {part} does not have its checksum")]
    Checksum {
        /// The pack.
        pack: PackId,
        /// The part of it.
        part: String,
    },
    /// The bytes have their checksum and still cannot be read: a fault of whoever wrote them.
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
