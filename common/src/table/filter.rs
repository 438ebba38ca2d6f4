//! Bloom filters: whether a key may be in a section.

use super::Key;

const BITS_A_KEY: u64 = 10;
const BITS_SET: u64 = 7;
/// A section of fewer keys has no filter: it is a few pages.
const LEAST_KEYS: u64 = 1_024;

/// The filter of a section.
/// ```
/// use common::table::{Filter, Key};
///
/// let mut filter = Filter::for_keys(100_000);
/// let key = Key::of(&"abc".parse().expect("an id"));
/// filter.insert(&key);
/// assert!(filter.may_hold(&key), "what is there is never denied");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter(Vec<u8>);

impl Filter {
    /// A filter for this many keys, without any key yet. It is empty if a section of this many keys has no filter.
    pub fn for_keys(keys: u64) -> Self {
        Self(vec![0; usize::try_from(Self::bytes_for(keys)).unwrap_or(0)])
    }

    /// How many bytes a filter for this many keys has.
    pub const fn bytes_for(keys: u64) -> u64 {
        if keys < LEAST_KEYS { 0 } else { keys.saturating_mul(BITS_A_KEY).div_ceil(8) }
    }

    /// The filter whose bytes these are.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes a key in.
    pub fn insert(&mut self, key: &Key) {
        for bit in bits(key, self.0.len()) {
            if let Some(byte) = self.0.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    /// Whether a key may be in the section. A filter without bytes says yes.
    pub fn may_hold(&self, key: &Key) -> bool {
        bits(key, self.0.len()).all(|bit| self.0.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0))
    }
}

fn bits(key: &Key, bytes: usize) -> impl Iterator<Item = usize> {
    let bits = bytes as u64 * 8;
    let (first, step) = (key.word(8), key.word(16) | 1);
    let count = if bits == 0 { 0 } else { BITS_SET };
    (0..count).map(move |number| (first.wrapping_add(number.wrapping_mul(step)) % bits) as usize)
}
