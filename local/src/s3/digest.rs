//! What follows from an object's bytes.

use s3s::dto::ETag;

/// What follows from an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// In bytes.
    pub(super) size: u64,
    /// The ETag, as S3 has it for an object that was put in one piece.
    pub(super) md5: [u8; 16],
    /// Big-endian, as S3 writes it. Lets the SDK check what it reads.
    pub(super) crc32: [u8; 4],
}

impl Digest {
    pub(super) fn etag(&self) -> ETag {
        ETag::Strong(hex::encode(self.md5))
    }
}
