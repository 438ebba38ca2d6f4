use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::id::Id;

fn key(number: u64) -> Key {
    // Some share their first bytes, so that pages begin with equal prefixes.
    let mut digest: [u8; 32] = Sha256::digest(number.to_le_bytes()).into();
    if number.is_multiple_of(3) {
        digest[..3].fill(7);
    }
    Key::of(&Id::from_digest(digest))
}

/// A table of snapshots with these numbers, each as often as it is given.
fn table_of(numbers: &[u64]) -> (Head, Bytes) {
    let mut keys: Vec<Key> = numbers.iter().map(|number| key(*number)).collect();
    keys.sort_unstable();
    let mut builder = Builder::new(Keys { snapshots: keys.len() as u64, ..Keys::default() });
    for (start, key) in (0_u32..).zip(keys) {
        let location = Location::Packed(FrameSpan { frame: 1, start, length: 2 });
        let entry = RecordEntry { key, is_reached: true, location };
        builder.add(Section::Snapshots, |out| entry.write(out));
    }
    let written = builder.finish();
    let bytes = Bytes::from(written.bytes);
    assert_eq!(bytes.len() as u64, written.length);
    let head = bytes.slice((written.length - written.head_length) as usize..);
    (Head::read(head, written.head_checksum).unwrap(), bytes)
}

fn page<'t>(head: &Head, table: &'t Bytes, section: Section, page: u64) -> &'t [u8] {
    let range = head.page_range(section, page);
    let stored = &table[range.start as usize..range.end as usize];
    assert!(page_checksum_holds(section, page, stored));
    stored
}

fn found(head: &Head, table: &Bytes, key: &Key) -> usize {
    let pages = head.pages_of(Section::Snapshots, key).map(|number| page(head, table, Section::Snapshots, number));
    pages.map(|page| entries_of(Section::Snapshots, page, key).count()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_key_is_found_as_often_as_it_is_there_and_no_other(
        numbers in prop::collection::vec(0_u64..3_000, 0..2_500), asked in prop::collection::vec(0_u64..6_000, 50),
    ) {
        let (head, table) = table_of(&numbers);
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        numbers.iter().for_each(|number| *counts.entry(*number).or_default() += 1);
        for number in asked.iter().chain(&numbers) {
            let expected = counts.get(number).copied().unwrap_or(0);
            prop_assert_eq!(found(&head, &table, &key(*number)), expected);
        }
        let bytes: Vec<u8> = (0..head.pages(Section::SnapshotFilter))
            .flat_map(|number| entries(Section::SnapshotFilter, page(&head, &table, Section::SnapshotFilter, number)))
            .flatten()
            .copied()
            .collect();
        prop_assert_eq!(bytes.is_empty(), numbers.len() < 1_024);
        if !bytes.is_empty() {
            let filter = Filter::from_bytes(bytes);
            prop_assert!(numbers.iter().all(|number| filter.may_hold(&key(*number))));
            let wrong = (100_000..101_000).filter(|number| filter.may_hold(&key(*number))).count();
            prop_assert!(wrong < 50, "{wrong} of 1,000 that are not there");
        }
    }
}

#[test]
fn one_key_may_fill_several_pages() {
    let numbers: Vec<u64> = std::iter::repeat_n(7, 1_000).chain([1, 2, 3]).collect();
    let (head, table) = table_of(&numbers);
    assert_eq!(found(&head, &table, &key(7)), 1_000);
    assert_eq!(found(&head, &table, &key(2)), 1);
}

#[test]
fn a_page_does_not_pass_for_another() {
    let numbers: Vec<u64> = (0..1_000).collect();
    let (head, table) = table_of(&numbers);
    let second = page(&head, &table, Section::Snapshots, 1);
    assert!(!page_checksum_holds(Section::Snapshots, 0, second));
    assert!(!page_checksum_holds(Section::Objects, 1, second));
}

#[test]
fn bytes_that_were_taken_before_are_counted() {
    let mut builder = Builder::new(Keys::default());
    let mut bytes = Vec::new();
    for number in 0..2_000 {
        builder.add(Section::Parents, |out| out.extend_from_slice(key(number).as_bytes()));
        if builder.ready() > 10_000 {
            bytes.extend(builder.take());
        }
    }
    let written = builder.finish();
    bytes.extend(&written.bytes);
    assert_eq!(bytes.len() as u64, written.length);
    let head = Bytes::from(bytes).split_off((written.length - written.head_length) as usize);
    assert_eq!(Head::read(head, written.head_checksum).unwrap().count(Section::Parents), 2_000);
}
