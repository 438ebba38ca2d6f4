//! Data frames: where they lie, and opening them.

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::{PackError, PackId};

/// What the records of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Commits, one msgpack map each.
    Commits,
    /// Snapshots, one msgpack map each.
    Snapshots,
    /// Objects, their bytes.
    Objects,
    /// Objects that no branch reached when they were pushed. Readers do not see them before a later pack reaches them.
    StagedObjects,
    /// Snapshots that no branch reached when they were pushed: what they name is not reached by them.
    StagedSnapshots,
}

impl Kind {
    /// As a table has it.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Commits => 0,
            Self::Snapshots => 1,
            Self::Objects => 2,
            Self::StagedObjects => 3,
            Self::StagedSnapshots => 4,
        }
    }

    /// The kind that a table has so; none for another byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Commits),
            1 => Some(Self::Snapshots),
            2 => Some(Self::Objects),
            3 => Some(Self::StagedObjects),
            4 => Some(Self::StagedSnapshots),
            _ => None,
        }
    }
}

/// Where a data frame lies in its pack, and the checksum that shows that it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What its records are.
    pub kind: Kind,
    /// Where it begins, in bytes from the beginning of the pack.
    pub offset: u64,
    /// How many bytes it has there.
    pub stored_length: u32,
    /// How many bytes its records have together.
    pub raw_length: u32,
    /// The checksum of the stored bytes.
    pub checksum: u64,
}

/// The 64-bit XXH3 of `bytes`. <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

impl Frame {
    /// Whether these are its stored bytes, by the checksum.
    pub fn is_whole(&self, stored: &[u8]) -> bool {
        stored.len() == self.stored_length as usize && checksum(stored) == self.checksum
    }

    /// Checks and decompresses the stored bytes of this frame, which is the `number`-th of `pack`.
    ///
    /// # Errors
    /// When a single bit of them is not as it was written.
    pub fn open(&self, pack: PackId, number: usize, stored: &[u8]) -> Result<Bytes, PackError> {
        let part = || format!("frame {number}");
        if !self.is_whole(stored) {
            return Err(PackError::Checksum { pack, part: part() });
        }
        let malformed = |reason: String| PackError::Malformed { pack, part: part(), reason };
        // zstd would go on with what follows a frame.
        if zstd::zstd_safe::find_frame_compressed_size(stored).ok() != Some(stored.len()) {
            return Err(malformed("it is not one zstd frame".to_owned()));
        }
        let raw =
            zstd::bulk::decompress(stored, self.raw_length as usize).map_err(|error| malformed(error.to_string()))?;
        if raw.len() != self.raw_length as usize {
            return Err(malformed(format!("{} bytes instead of {}", raw.len(), self.raw_length)));
        }
        Ok(raw.into())
    }
}
