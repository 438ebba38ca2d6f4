//! How large the answer to a clone is, about: a stock client reads no more of an answer than [`STOCK_ANSWER`] bytes.
//!
//! It follows from what records have in their packs, without a look into any. Commits and snapshots lie there as they are sent
//! in msgpack; in JSON they have about a twentieth more. The content of objects is sent as it is in msgpack, and as base64 in
//! JSON. What is around each object is its id, a path and the names of three fields.

use crate::pack::{PackSummary, RawBytes};
use crate::wire::Encoding;
use crate::wire::limits::STOCK_ANSWER;

/// Bytes around the content of an object, about.
const AROUND_AN_OBJECT: u64 = 140;
/// JSON has this part more of commits and snapshots than msgpack, about.
const MORE_IN_JSON: u64 = 20;

/// Bytes of an answer with these records and this number of objects.
pub fn answer_bytes(raw: RawBytes, objects: u64, encoding: Encoding) -> u64 {
    let RawBytes { records, content } = raw;
    let (records, content) = match encoding {
        Encoding::Msgpack => (records, content),
        Encoding::Json => (records.saturating_add(records / MORE_IN_JSON), content.div_ceil(3).saturating_mul(4)),
    };
    records.saturating_add(content).saturating_add(objects.saturating_mul(AROUND_AN_OBJECT))
}

/// What packs hold together. A record in two of them counts twice, and so does what no branch reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    raw: RawBytes,
    objects: u64,
    /// Bytes in storage of the packs that say what they have raw, and of the others.
    known: u64,
    unknown: u64,
}

impl Held {
    /// What these packs hold.
    pub fn by<'s>(packs: impl IntoIterator<Item = &'s PackSummary>) -> Self {
        packs.into_iter().fold(Self::default(), Self::and)
    }

    /// The same with one more pack.
    #[must_use]
    pub fn and(mut self, pack: &PackSummary) -> Self {
        self.objects = self.objects.saturating_add(pack.objects);
        match pack.raw {
            Some(bytes) => {
                self.raw = self.raw + bytes;
                self.known = self.known.saturating_add(pack.size);
            }
            None => self.unknown = self.unknown.saturating_add(pack.size),
        }
        self
    }

    /// Bytes of a clone of all of it. Of packs that do not say what they have raw, each byte stored counts as many as in the
    /// others, and at least one.
    pub fn clone_bytes(mut self, encoding: Encoding) -> u64 {
        let sum = self.raw.records.saturating_add(self.raw.content);
        let scaled = u128::from(self.unknown) * u128::from(sum.max(self.known).max(1)) / u128::from(self.known.max(1));
        self.raw.content = self.raw.content.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX));
        answer_bytes(self.raw, self.objects, encoding)
    }
}

/// Whether an answer has more bytes than a stock client reads.
pub const fn is_beyond_stock_clients(bytes: u64) -> bool {
    bytes > STOCK_ANSWER as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::TableExtent;

    fn pack(size: u64, objects: u64, raw: Option<(u64, u64)>) -> PackSummary {
        let raw = raw.map(|(records, content)| RawBytes { records, content });
        let table = TableExtent { offset: 0, length: 0, head_length: 0, head_checksum: 0 };
        PackSummary {
            size,
            commits: 0,
            snapshots: 0,
            objects,
            merged: 0,
            packs: 0,
            condemned_at: None,
            raw,
            large: None,
            table,
        }
    }

    fn clone_bytes(packs: &[PackSummary], encoding: Encoding) -> u64 {
        Held::by(packs).clone_bytes(encoding)
    }

    #[test]
    fn json_has_more_than_msgpack() {
        let packs = [pack(10, 2, Some((2_000, 301)))];
        assert_eq!(clone_bytes(&packs, Encoding::Msgpack), 2_301 + 280);
        assert_eq!(clone_bytes(&packs, Encoding::Json), 2_100 + 404 + 280);
        assert_eq!(clone_bytes(&[], Encoding::Json), 0);
    }

    #[test]
    fn a_pack_that_does_not_say_counts_as_the_others_do() {
        let other = pack(100, 0, Some((500, 500)));
        assert_eq!(clone_bytes(&[other, pack(50, 0, None)], Encoding::Msgpack), 1_500);
        assert_eq!(clone_bytes(&[pack(50, 0, None)], Encoding::Msgpack), 50, "what is stored is the least");
        assert_eq!(clone_bytes(&[pack(100, 0, Some((1, 1))), pack(50, 0, None)], Encoding::Msgpack), 52);
        assert_eq!(clone_bytes(&[pack(1, 0, Some((u64::MAX, 9))), pack(u64::MAX, 1, None)], Encoding::Json), u64::MAX);
    }
}
