//! Chooses the packs to merge. Pure: it knows the packs of a repo by their sizes, in the order of their names.
//!
//! The packs are kept *geometric*: each is at least twice as large as all newer ones together. So there are few of
//! them. A byte is written again only if the repo has grown by half since it was written last. Where the packs are not
//! geometric, those from the first that is too small are merged, or as many of them as one step may take.
//!
//! Packs are merged with their neighbours only, and the merged pack takes their place in the order. If two packs hold a
//! record, the first of them counts, and so it stays the first. A pack that is *full* is left alone.
//!
//! The table of a full pack is merged all the same, because tables are small. The tables of full packs, and of the
//! packs between them, are merged into indexes. Those are kept geometric as well, by the bytes of their tables.

use std::ops::Range;

use common::pack::PackSummary;

/// The most packs that one step merges. The transaction takes 100 items: one for each of the packs, and up to five
/// more.
pub(crate) const MAX_INPUTS: usize = 90;
/// The most bytes that one step merges. The merged pack is in memory as a whole, and one PUT stores it.
pub(super) const MAX_BYTES: u64 = 32 << 20;
/// The fewest tables that are merged into one index: so that there are few writes, and few tables to look into.
const LEAST_TABLES: usize = 2;
/// The most records that one step merges: something of each is in memory.
pub(super) const MAX_RECORDS: u64 = 100_000;
/// How many times as large as all newer packs together a pack has to be.
const RATIO: u64 = 2;

/// How large a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// Bytes of its table.
    pub(super) table: u64,
    pub(super) is_index: bool,
}

impl Size {
    pub(super) const fn of(summary: &PackSummary) -> Self {
        let records = summary.commits.saturating_add(summary.snapshots).saturating_add(summary.objects);
        Self { bytes: summary.size, records, table: summary.table.length, is_index: summary.is_index() }
    }

    /// A limit of half of `most`: any two packs that are not full fit into one of `most` bytes.
    const fn is_full(&self, most: u64) -> bool {
        self.is_index || self.bytes > most / 2 || self.records > MAX_RECORDS / 2
    }
}

/// The neighbours to merge next into a pack of `most` bytes; none if the packs are in order. Fewer than `least` packs
/// that are out of order are not worth a merge. `least` is 2 or more.
pub(super) fn choose(packs: &[Size], least: usize, most: u64) -> Option<Range<usize>> {
    let mut end = packs.len();
    while end > 0 {
        let first = packs.iter().take(end).rposition(|pack| pack.is_full(most)).map_or(0, |full| full + 1);
        let open = packs.get(first..end).unwrap_or_default();
        let disordered = first + disordered(open, |pack| pack.bytes)..end;
        if disordered.len() >= least.max(2) {
            return window(packs, disordered, most);
        }
        end = first.saturating_sub(1);
    }
    None
}

/// The neighbours whose tables to merge into an index next, if there are no packs to merge. They end with the last full
/// pack. They begin where the tables are no longer geometric; or, with `all`, at the first.
pub(super) fn choose_tables(packs: &[Size], most: u64, all: bool) -> Option<Range<usize>> {
    let end = packs.iter().rposition(|pack| pack.is_full(most))? + 1;
    let settled = packs.get(..end)?;
    let start = if all { 0 } else { disordered(settled, |pack| pack.table) };
    // As many as one step may take: the last ones, which are the smallest.
    let start = start.max(end.saturating_sub(MAX_INPUTS));
    (end - start >= LEAST_TABLES).then_some(start..end)
}

/// The position from which packs have to be merged to be geometric again.
fn disordered(packs: &[Size], bytes: impl Fn(&Size) -> u64) -> usize {
    let mut start = packs.len();
    let mut newer = 0_u64;
    for (position, pack) in packs.iter().enumerate().rev() {
        if bytes(pack) < newer.saturating_mul(RATIO) {
            start = position;
        }
        newer = newer.saturating_add(bytes(pack));
    }
    start
}

/// Those of these neighbours that one step may take: as many as possible, and of those the smallest. So what is merged
/// already waits until the rest is.
fn window(packs: &[Size], range: Range<usize>, most: u64) -> Option<Range<usize>> {
    let mut best: Option<(usize, u64, Range<usize>)> = None;
    let (mut start, mut bytes, mut records) = (range.start, 0_u64, 0_u64);
    for end in range {
        let newest = packs.get(end)?;
        bytes = bytes.saturating_add(newest.bytes);
        records = records.saturating_add(newest.records);
        while end - start >= MAX_INPUTS || bytes > most || records > MAX_RECORDS {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes(bytes: impl IntoIterator<Item = u64>) -> Vec<Size> {
        bytes.into_iter().map(|bytes| Size { bytes, records: 1, table: bytes / 8, is_index: false }).collect()
    }

    /// Merges until there is nothing to do. Returns how many bytes that reads.
    fn settle(packs: &mut Vec<Size>, least: usize) -> u64 {
        let mut read = 0;
        while let Some(range) = choose(packs, least, MAX_BYTES) {
            let merged = merged(&packs[range.clone()], false);
            read += merged.bytes;
            packs.splice(range, [merged]);
        }
        read
    }

    /// The same for tables.
    fn settle_tables(packs: &mut Vec<Size>, all: bool) -> u64 {
        let mut read = 0;
        while let Some(range) = choose_tables(packs, MAX_BYTES, all) {
            assert!((2..=MAX_INPUTS).contains(&range.len()));
            let merged = merged(&packs[range.clone()], true);
            read += merged.table;
            packs.splice(range, [merged]);
        }
        read
    }

    fn merged(packs: &[Size], is_index: bool) -> Size {
        let sum = |of: fn(&Size) -> u64| packs.iter().map(of).sum();
        Size {
            bytes: sum(|pack| pack.bytes),
            records: sum(|pack| pack.records),
            table: sum(|pack| pack.table),
            is_index,
        }
    }

    fn pack() -> impl Strategy<Value = Size> {
        let bytes = prop_oneof![1_u64..1_000, 1_000_u64..1_000_000, 1_000_000..MAX_BYTES * 2];
        let records = prop_oneof![1_u64..10, 1..MAX_RECORDS * 2];
        (bytes, records, prop::bool::weighted(0.1)).prop_map(|(bytes, records, is_index)| Size {
            bytes,
            records,
            table: bytes / 8 + 1,
            is_index,
        })
    }

    proptest! {
        #[test]
        fn every_step_is_within_its_bounds_and_packs_that_are_not_full_end_geometric(
            packs in prop::collection::vec(pack(), 0..400),
        ) {
            let mut packs = packs;
            while let Some(range) = choose(&packs, 2, MAX_BYTES) {
                let inputs = &packs[range.clone()];
                let bytes: u64 = inputs.iter().map(|pack| pack.bytes).sum();
                let records: u64 = inputs.iter().map(|pack| pack.records).sum();
                prop_assert!((2..=MAX_INPUTS).contains(&inputs.len()));
                prop_assert!(bytes <= MAX_BYTES && records <= MAX_RECORDS);
                prop_assert!(!inputs.iter().any(|pack| pack.is_full(MAX_BYTES)));
                let merged = merged(inputs, false);
                packs.splice(range, [merged]);
            }
            for open in packs.split(|pack| pack.is_full(MAX_BYTES)) {
                for (position, pack) in open.iter().enumerate() {
                    let newer: u64 = open[position + 1..].iter().map(|pack| pack.bytes).sum();
                    prop_assert!(pack.bytes >= newer * RATIO);
                }
            }
        }

        #[test]
        fn tables_end_geometric_or_as_one_and_what_is_behind_the_last_full_pack_is_left_alone(
            packs in prop::collection::vec(pack(), 0..400), all in any::<bool>(),
        ) {
            let mut packs = packs;
            let behind = packs.split(|pack| pack.is_full(MAX_BYTES)).next_back().unwrap_or_default().len();
            settle_tables(&mut packs, all);
            let settled = &packs[..packs.len() - behind];
            for (position, pack) in settled.iter().enumerate() {
                let newer: u64 = settled[position + 1..].iter().map(|pack| pack.table).sum();
                prop_assert!(pack.table >= newer * RATIO);
            }
            prop_assert!(!all || settled.len() <= 1);
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
        let choose = |bytes: &[u64]| choose(&sizes(bytes.iter().copied()), 2, MAX_BYTES);
        assert_eq!(choose(&[full, full, full]), None);
        assert_eq!(choose(&[5, 5, full, 5]), Some(0..2));
        assert_eq!(choose(&[5, full, 5, 5, full]), Some(2..4));
    }

    #[test]
    fn a_thousand_full_packs_are_looked_up_in_a_few_indexes_and_no_table_is_written_often() {
        let full = MAX_BYTES / 2 + 8;
        let (mut packs, mut read, mut most) = (Vec::new(), 0, 0);
        for _ in 0..1_000 {
            packs.extend(sizes([full]));
            read += settle_tables(&mut packs, false);
            most = most.max(packs.len());
        }
        assert!(most <= 8, "{most} tables at a time");
        assert!(read <= 12 * 1_000 * full / 8, "{read} bytes of tables of {full} bytes");
        settle_tables(&mut packs, true);
        assert_eq!(packs.len(), 1);
    }
}
