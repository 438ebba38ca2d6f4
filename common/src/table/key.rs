//! What ids are in a table: keys of one width.

use sha2::{Digest, Sha256};

use crate::id::Id;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 33;

const BARE: u8 = 0;
const PREFIXED: u8 = 1;
const OPAQUE: u8 = 2;

/// An id as a table has it. Different ids have different keys, as far as SHA-256 goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of an id.
    pub fn of(id: &Id) -> Self {
        let (digest, tag) = match id.digest() {
            Some(digest) => (*digest, if id.is_prefixed() { PREFIXED } else { BARE }),
            None => (id.with_str(|text| Sha256::digest(text.as_bytes())).into(), OPAQUE),
        };
        let mut key = [0; KEY_BYTES];
        let (head, tail) = key.split_at_mut(32);
        head.copy_from_slice(&digest);
        tail.fill(tag);
        Self(key)
    }

    /// The id of this key; none for one that is not a hash: the names of a table have those.
    pub fn id(&self) -> Option<Id> {
        let (digest, tag) = self.0.split_first_chunk::<32>()?;
        match *tag.first()? {
            BARE => Some(Id::from_digest(*digest)),
            PREFIXED => Some(Id::from_prefixed_digest(*digest)),
            _ => None,
        }
    }

    /// Whether an id of this key is a text that only the names of a table know.
    pub const fn is_opaque(&self) -> bool {
        self.0[32] == OPAQUE
    }

    /// As it is stored.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What a page's first key is known by.
    pub(super) fn prefix(&self) -> u32 {
        u32::from_be_bytes(self.chunk(0))
    }

    /// The bytes from one on, for filters.
    pub(super) fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.chunk(at))
    }

    fn chunk<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
    }
}

impl From<[u8; KEY_BYTES]> for Key {
    fn from(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }
}
