//! Which packs to merge. Pure: it knows the packs of a repo by their sizes, in the order of their names.
//!
//! The packs are kept *geometric*: each is at least twice as large as all newer ones together. So there are few, and a
//! byte is written again only when the repo has grown by half since it was written last. Where that does not hold, the
//! packs from the first that is too small are merged, or as many of them as one step may take.
//!
//! Packs are only merged with their neighbours, and the merged pack takes their place in the order: of a record that
//! lies in two packs the first counts, and so it stays the first. A pack that is *full* is left alone.

use std::ops::Range;

use crate::pack::{PackId, PackSummary};

/// Packs that one step merges: the transaction has an item for each of them and up to five more, and takes 100.
pub(in crate::store) const MAX_INPUTS: usize = 90;
/// Bytes that one step merges. The merged pack is in memory as a whole, and one PUT stores it.
pub(super) const MAX_BYTES: u64 = 48 << 20;
/// Records that one step merges: what is known of each is in memory.
pub(super) const MAX_RECORDS: u64 = 200_000;
/// By how much a pack has to be larger than all newer ones together.
const RATIO: u64 = 2;

/// How large a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

impl Size {
    pub(super) const fn of(summary: &PackSummary) -> Self {
        let records = summary.commits.saturating_add(summary.snapshots).saturating_add(summary.objects);
        Self { bytes: summary.size, records }
    }

    /// Any two packs that are not full may be merged.
    const fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES / 2 || self.records > MAX_RECORDS / 2
    }
}

/// The neighbours to merge next, or none when the packs are as they should be. Fewer than `least` packs that are out of
/// order, which is 2 or more, are not worth a merge.
pub(super) fn choose(packs: &[Size], least: usize) -> Option<Range<usize>> {
    let mut end = packs.len();
    while end > 0 {
        let first = packs.iter().take(end).rposition(Size::is_full).map_or(0, |full| full + 1);
        let open = packs.get(first..end).unwrap_or_default();
        let disordered = first + disordered(open)..end;
        if disordered.len() >= least.max(2) {
            return window(packs, disordered);
        }
        end = first.saturating_sub(1);
    }
    None
}

/// From where on packs have to be merged to be geometric again.
fn disordered(packs: &[Size]) -> usize {
    let mut start = packs.len();
    let mut newer = 0_u64;
    for (position, pack) in packs.iter().enumerate().rev() {
        if pack.bytes < newer.saturating_mul(RATIO) {
            start = position;
        }
        newer = newer.saturating_add(pack.bytes);
    }
    start
}

/// The neighbours among these that one step may take: as many as possible, and of those the smallest, so that what is
/// merged already waits until the rest is.
fn window(packs: &[Size], range: Range<usize>) -> Option<Range<usize>> {
    let mut best: Option<(usize, u64, Range<usize>)> = None;
    let (mut start, mut bytes, mut records) = (range.start, 0_u64, 0_u64);
    for end in range {
        let newest = packs.get(end)?;
        bytes = bytes.saturating_add(newest.bytes);
        records = records.saturating_add(newest.records);
        while end - start >= MAX_INPUTS || bytes > MAX_BYTES || records > MAX_RECORDS {
            let oldest = packs.get(start)?;
            bytes = bytes.saturating_sub(oldest.bytes);
            records = records.saturating_sub(oldest.records);
            start += 1;
        }
        let length = end + 1 - start;
        if best.as_ref().is_none_or(|(longest, least, _)| length > *longest || length == *longest && bytes < *least) {
            best = Some((length, bytes, start..end + 1));
        }
    }
    best.map(|(_, _, range)| range)
}

/// A name for what neighbours are merged into: right behind the `last` of them, and before the `next` pack.
///
/// Lists are read from front to back and not in one moment. So that one which is read while packs are swapped has
/// either the last of them or what they became, that has to be behind them all.
pub(super) fn name(last: PackId, next: Option<PackId>, random: u64) -> Option<PackId> {
    let gap = next.map_or(u128::MAX, |next| next.0).saturating_sub(last.0);
    // At least one behind the last, and before the next.
    let room = u64::try_from(gap.saturating_sub(1)).unwrap_or(u64::MAX);
    (room > 0).then(|| PackId::from(last.0 + 1 + u128::from(random % room)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes(bytes: impl IntoIterator<Item = u64>) -> Vec<Size> {
        bytes.into_iter().map(|bytes| Size { bytes, records: 1 }).collect()
    }

    /// What is left when merges are made until there is nothing to do, and how many bytes they read.
    fn settle(packs: &mut Vec<Size>, least: usize) -> u64 {
        let mut read = 0;
        while let Some(range) = choose(packs, least) {
            let merged = packs[range.clone()].iter().fold(Size { bytes: 0, records: 0 }, |sum, pack| Size {
                bytes: sum.bytes + pack.bytes,
                records: sum.records + pack.records,
            });
            read += merged.bytes;
            packs.splice(range, [merged]);
        }
        read
    }

    fn pack() -> impl Strategy<Value = Size> {
        let bytes = prop_oneof![1_u64..1_000, 1_000_u64..1_000_000, 1_000_000..MAX_BYTES * 2];
        let records = prop_oneof![1_u64..10, 1..MAX_RECORDS * 2];
        (bytes, records).prop_map(|(bytes, records)| Size { bytes, records })
    }

    proptest! {
        #[test]
        fn every_step_is_within_its_bounds_and_packs_that_are_not_full_end_geometric(
            packs in prop::collection::vec(pack(), 0..400),
        ) {
            let mut packs = packs;
            while let Some(range) = choose(&packs, 2) {
                let inputs = &packs[range.clone()];
                let bytes: u64 = inputs.iter().map(|pack| pack.bytes).sum();
                let records: u64 = inputs.iter().map(|pack| pack.records).sum();
                prop_assert!((2..=MAX_INPUTS).contains(&inputs.len()));
                prop_assert!(bytes <= MAX_BYTES && records <= MAX_RECORDS);
                prop_assert!(!inputs.iter().any(Size::is_full));
                packs.splice(range, [Size { bytes, records }]);
            }
            for open in packs.split(Size::is_full) {
                for (position, pack) in open.iter().enumerate() {
                    let newer: u64 = open[position + 1..].iter().map(|pack| pack.bytes).sum();
                    prop_assert!(pack.bytes >= newer * RATIO);
                }
            }
        }

        #[test]
        fn a_merged_pack_lies_between_its_inputs_and_the_next(
            last in any::<u128>(), gap in prop::option::of(1_u128..u128::from(u64::MAX) * 4), random in any::<u64>(),
        ) {
            let next = gap.and_then(|gap| last.checked_add(gap));
            match name(PackId::from(last), next.map(PackId::from), random) {
                Some(name) => prop_assert!(name.0 > last && next.is_none_or(|next| name.0 < next)),
                None => prop_assert!(next.map_or(u128::MAX, |next| next) - last <= 1),
            }
        }
    }

    #[test]
    fn a_thousand_pushes_end_in_few_packs_and_nothing_is_written_often() {
        let mut packs = sizes([600; 1_000]);
        let read = settle(&mut packs, 2);
        assert!(packs.len() <= 2, "{packs:?}");
        assert!(read <= 3 * 600_000, "{read} bytes of 600,000");

        let (mut packs, mut read, mut most) = (Vec::new(), 0, 0);
        for _ in 0..1_000 {
            packs.extend(sizes([600]));
            read += settle(&mut packs, 6);
            most = most.max(packs.len());
        }
        assert!(most <= 10, "{most} packs at a time");
        assert!(read <= 7 * 600_000, "{read} bytes of 600,000");
    }

    #[test]
    fn a_full_pack_is_left_alone() {
        let full = MAX_BYTES / 2 + 1;
        assert_eq!(choose(&sizes([full, full, full]), 2), None);
        assert_eq!(choose(&sizes([5, 5, full, 5]), 2), Some(0..2));
        assert_eq!(choose(&sizes([5, full, 5, 5, full]), 2), Some(2..4));
    }
}
