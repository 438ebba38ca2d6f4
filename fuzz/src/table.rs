//! Tables, in packs and by themselves.
//!
//! A head that is read places every page inside the table; a lookup by key finds what a look at every entry finds; and an
//! entry is written as it was read.

use std::ops::Range;

use bytes::Bytes;
use common::id::Id;
use common::pack::Frame;
use common::pack::{Kind, PackId, PackSummary, TableExtent};
use common::table::{
    Builder, CommitEntry, Filter, FrameEntry, FrameSpan, GraphEntry, Head, Key, Keys, LargeEntry, Location, PackEntry,
    ParentEntry, RecordEntry, Section, entries, entries_of, entry_at, page_checksum_holds, read_name,
};
use twox_hash::XxHash3_64;

/// Bytes of the magic number, and of the head before its directories: see the documentation of `common::table`.
const MAGIC: usize = 8;
const FIXED: usize = MAGIC + 8 * Section::ALL.len();
const PAGE: u64 = 8_184;
const CHECKSUM: u64 = 8;
/// Pages of one section that are looked at.
const LOOKED_AT: u64 = 8;

/// Panics if these bytes break a promise: the length of a head in four bytes, and then a table. Its checksums are made right.
pub fn check(input: &[u8]) {
    let Some((head_length, table)) = input.split_first_chunk::<4>() else {
        return;
    };
    let head_length = (u32::from_le_bytes(*head_length) as usize).min(table.len());
    let mut table = table.to_vec();
    let checksum = restore_checksums(&mut table, head_length);
    let start = table.len() - head_length;
    let stored = Bytes::from(table);
    assert!(Head::read(stored.slice(start..), !checksum).is_err(), "a head of another checksum is none");
    let Ok(head) = Head::read(stored.slice(start..), checksum) else {
        return;
    };
    assert_eq!(head.length(), head_length as u64);
    is_laid_out(&head);
    if head.sections_length() == start as u64 {
        head.check_pages(&stored).expect("the checksums were made right");
        Section::ALL.into_iter().for_each(|section| is_found(&head, &stored, section));
    }
    for section in Section::ALL {
        for width in [section.width(), section.width() / 2, 0] {
            entry(section, stored.get(..width).unwrap_or(&stored));
        }
    }
    Filter::from_bytes(stored.to_vec()).may_hold(&a_key(1));
    let mut filter = Filter::from_bytes(stored.to_vec());
    filter.insert(&a_key(1));
    assert!(filter.may_hold(&a_key(1)), "what was taken in is held");
}

/// Makes the checksums of a table right, as far as its head can be read, and returns that of the head.
pub fn restore_checksums(table: &mut [u8], head_length: usize) -> u64 {
    let start = table.len() - head_length;
    for (section, page, range) in pages(table, head_length) {
        let (entries, checksum) = table[range].split_last_chunk_mut::<8>().expect("a page has a checksum");
        let seed = ((section as u64) << 32) | (page & 0xFFFF_FFFF);
        *checksum = XxHash3_64::oneshot_with_seed(seed, entries).to_le_bytes();
    }
    XxHash3_64::oneshot(&table[start..])
}

/// Where the pages of a table lie, as the documentation has it, as long as they are in the table and do not reach into its head.
pub fn pages(table: &[u8], head_length: usize) -> Vec<(Section, u64, Range<usize>)> {
    let start = table.len() - head_length;
    let mut found = Vec::new();
    let mut at = 0_usize;
    for (section, count) in Section::ALL.into_iter().zip(counts(&table[start..])) {
        let width = section.width() as u64;
        let mut left = count;
        for page in 0.. {
            let here = left.min(PAGE / width);
            let end = at.saturating_add((here * width + CHECKSUM) as usize);
            if here == 0 {
                break;
            }
            if end > start {
                return found;
            }
            found.push((section, page, at..end));
            (at, left) = (end, left - here);
        }
    }
    found
}

fn counts(head: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = head.get(MAGIC..FIXED).unwrap_or_default().as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

/// Whether the pages of each section follow each other, and the sections too, as far as numbers of 64 bits go.
fn is_laid_out(head: &Head) {
    let mut end = 0;
    for section in Section::ALL {
        let pages = head.pages(section);
        for page in [0, 1, pages / 2, pages.saturating_sub(1), pages, u64::MAX] {
            let range = head.page_range(section, page);
            assert!(range.start <= range.end && range.end - range.start <= PAGE + CHECKSUM, "{section:?} {page}");
            assert!(page < pages || range.is_empty(), "{section:?} {page} of {pages}");
        }
        if head.sections_length() == u64::MAX {
            continue;
        }
        for page in 0..pages.min(LOOKED_AT) {
            let range = head.page_range(section, page);
            assert_eq!(range.start, end, "{section:?} {page}");
            end = range.end;
        }
        end = head.page_range(section, pages.saturating_sub(1)).end.max(end);
    }
    assert!(head.sections_length() >= end);
}

fn is_found(head: &Head, table: &Bytes, section: Section) {
    let page = |number: u64| {
        let range = head.page_range(section, number);
        &table[range.start as usize..range.end as usize]
    };
    let all: Vec<&[u8]> = (0..head.pages(section)).flat_map(|number| entries(section, page(number))).collect();
    assert_eq!(all.len() as u64, head.count(section), "{section:?}");
    for (position, stored) in all.iter().enumerate().step_by(all.len() / 16 + 1) {
        let number = position as u64 / section.entries_a_page();
        assert_eq!(entry_at(section, page(number), position as u64), Some(*stored), "{section:?} {position}");
        entry(section, stored);
        assert!(!page_checksum_holds(section, number + 1, page(number)), "a page passes for the next");
    }
    if !section.is_keyed() {
        return;
    }
    let key = |stored: &[u8]| Key::from(*stored.first_chunk::<33>().expect("an entry begins with a key"));
    // Where nothing is sorted nothing is found, and no writer leaves it so.
    if !all.is_sorted_by_key(|stored| key(stored)) || !has_directory(head, table, section, &all) {
        return;
    }
    let asked = all.iter().map(|stored| key(stored)).step_by(all.len() / 16 + 1).chain([a_key(1), a_key(2)]);
    for asked in asked {
        let looked_up = head.pages_of(section, &asked).flat_map(|number| entries_of(section, page(number), &asked));
        let there = all.iter().filter(|stored| key(stored) == asked).count();
        assert_eq!(looked_up.count(), there, "{section:?} {asked:?}");
    }
}

/// Whether the directory of a section has the first four bytes of each of its pages.
fn has_directory(head: &Head, table: &[u8], section: Section, all: &[&[u8]]) -> bool {
    let before = Section::ALL.into_iter().take(section as usize).filter(|before| before.is_keyed());
    let start =
        head.sections_length() as usize + FIXED + before.map(|before| head.pages(before) as usize * 4).sum::<usize>();
    let (steps, _) = table[start..start + head.pages(section) as usize * 4].as_chunks::<4>();
    let firsts = all.chunks(section.entries_a_page() as usize).map(|page| page[0].first_chunk::<4>());
    firsts.eq(steps.iter().map(Some))
}

/// Reads an entry, writes it, and reads it again.
fn entry(section: Section, stored: &[u8]) {
    fn same<T: PartialEq + std::fmt::Debug>(
        section: Section,
        stored: &[u8],
        read: impl Fn(&[u8]) -> T,
        write: impl Fn(&T, &mut Vec<u8>),
    ) {
        let first = read(stored);
        let mut out = Vec::new();
        write(&first, &mut out);
        assert_eq!(out.len(), section.width(), "{section:?}");
        assert_eq!(read(&out), first, "{section:?}");
    }
    match section {
        Section::Commits => same(section, stored, CommitEntry::read, CommitEntry::write),
        Section::Graph => same(section, stored, GraphEntry::read, GraphEntry::write),
        Section::Snapshots | Section::Objects => same(section, stored, RecordEntry::read, RecordEntry::write),
        Section::Frames => {
            if let Some(frame) = FrameEntry::read(stored) {
                same(section, stored, |stored| FrameEntry::read(stored).unwrap_or(frame), FrameEntry::write);
            }
        }
        Section::Large => same(section, stored, LargeEntry::read, LargeEntry::write),
        Section::Packs => {
            same(section, stored, PackEntry::read, PackEntry::write);
            let read = PackEntry::read(stored);
            assert_eq!(PackEntry::of(read.pack, &read.summary()), read);
        }
        Section::Names => {
            let (key, text) = read_name(stored);
            assert!(text.is_none_or(|text| text.len() <= stored.len()), "{key:?}");
        }
        Section::Parents | Section::CommitFilter | Section::SnapshotFilter | Section::ObjectFilter => {}
    }
}

fn a_key(number: u8) -> Key {
    Key::of(&Id::from_digest([number; 32]))
}

/// A table with something in each section, one with two pages of objects, and one of nothing.
pub fn seeds() -> Vec<Vec<u8>> {
    let place = FrameSpan { frame: 0, start: 1, length: 2 };
    let mut all = Builder::new(Keys { commits: 1, snapshots: 1, objects: 1 });
    let node = GraphEntry {
        key: a_key(1),
        is_reached: true,
        generation: 1,
        parents: [Some(ParentEntry::Here(0)), Some(ParentEntry::Elsewhere(0))],
        snapshot: Some(a_key(2)),
        snapshot_place: Some(place),
        place,
    };
    let frame = Frame { kind: Kind::Objects, offset: 0, stored_length: 9, raw_length: 9, checksum: 7 };
    let extent = TableExtent { offset: 1, length: 2, head_length: 3, head_checksum: 4 };
    let summary = PackSummary {
        size: 1,
        commits: 1,
        snapshots: 1,
        objects: 1,
        merged: 0,
        packs: 0,
        condemned_at: None,
        raw: None,
        large: None,
        table: extent,
    };
    let record = |key, location| RecordEntry { key, is_reached: true, location };
    all.add(Section::Commits, |out| CommitEntry { key: a_key(1), position: 0 }.write(out));
    all.add(Section::Graph, |out| node.write(out));
    all.add(Section::Snapshots, |out| record(a_key(2), Location::Packed(place)).write(out));
    all.add(Section::Objects, |out| record(a_key(3), Location::Large(0)).write(out));
    all.add(Section::Frames, |out| FrameEntry { pack: PackId::nil(), number: 0, frame }.write(out));
    all.add(Section::Parents, |out| out.extend_from_slice(a_key(4).as_bytes()));
    all.add(Section::Large, |out| {
        LargeEntry { owner: PackId::nil(), size: 5, listed_by: PackId::nil() }.write(out);
    });
    let opaque: Id = "an-id:of.a_client".parse().expect("it is an id");
    all.add_name(&Key::of(&opaque), &opaque.to_string());
    all.add(Section::Packs, |out| PackEntry::of(PackId::from_parts(1, 1), &summary).write(out));

    let mut many = Builder::new(Keys { objects: 200, ..Keys::default() });
    for number in 0..200 {
        many.add(Section::Objects, |out| record(a_key(number), Location::Elsewhere).write(out));
    }
    [all, many, Builder::new(Keys::default())]
        .map(|builder| {
            let written = builder.finish();
            [&(written.head_length as u32).to_le_bytes(), written.bytes.as_slice()].concat()
        })
        .into()
}
