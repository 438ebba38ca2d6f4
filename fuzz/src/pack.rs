//! Whole packs: the footer, the table, the frames.
//!
//! A pack is read or refused. Both ways to open a frame agree; records fill their frames; what is read can be written into
//! another pack, and is read from there as the same.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use common::id::ObjectId;
use common::pack::index::{FOOTER_LENGTH, FrameRecords, decode_footer, decode_table};
use common::pack::{
    Contents, Elsewhere, Frame, GraphSection, Kind, NewCommit, NewObject, NewPack, NewSnapshot, OpeningFrame,
    PackError, PackId, PackWriter, PackedCommit, TableExtent, write,
};
use common::table::{FrameEntry, Section};
use twox_hash::XxHash3_64;

use crate::table;

const PACK: PackId = PackId::from_parts(1, 1);
/// Raw bytes of a frame that is opened: a frame may say that it has 4 GiB.
const OPENED: u32 = 16 << 20;
const EXTENT: usize = 24;

/// Panics if these bytes, as a pack, break a promise: as they are, and with all checksums made right.
pub fn check(input: &[u8]) {
    read(input);
    let mut restored = input.to_vec();
    if restore_checksums(&mut restored).is_none() {
        return;
    }
    let Some((graph, contents, records)) = read(&restored) else {
        return;
    };
    if is_distinct(&graph, &contents) {
        is_written_as_it_was_read(&graph, &contents, &records);
    }
}

/// Records by kind and id.
type Records = BTreeMap<(Kind, String), Bytes>;

/// All that a pack holds; none if it is refused.
fn read(pack: &[u8]) -> Option<(GraphSection, Contents, Records)> {
    let extent = decode_footer(PACK, pack).map_err(|error| names_the_pack(&error)).ok()?;
    let table = extent.range();
    let stored = pack.get(usize::try_from(table.start).ok()?..usize::try_from(table.end).ok()?)?;
    let decoded = decode_table(PACK, &extent, Bytes::copy_from_slice(stored));
    let (graph, contents) = decoded.map_err(|error| names_the_pack(&error)).ok()?;
    assert_eq!(contents.frames.len(), contents.records.len());
    let mut records = Records::new();
    for (number, (frame, of_frame)) in contents.frames.iter().zip(&contents.records).enumerate() {
        let named = names(of_frame);
        let total: u64 = named.iter().map(|(_, length)| u64::from(*length)).sum();
        assert_eq!(total, u64::from(frame.raw_length), "the records of frame {number} fill it");
        let start = usize::try_from(frame.offset).ok()?;
        let stored = pack.get(start..start.checked_add(frame.stored_length as usize)?)?;
        if frame.raw_length > OPENED {
            return None;
        }
        let whole = frame.open(PACK, number, stored);
        let pieces = open_in_pieces(*frame, number, stored);
        assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "frame {number} opens the same in both ways");
        let mut rest = whole.map_err(|error| names_the_pack(&error)).ok()?;
        for (name, length) in named {
            records.insert((frame.kind, name), rest.split_to(length as usize));
        }
    }
    Some((graph, contents, records))
}

fn names(of_frame: &FrameRecords) -> Vec<(String, u32)> {
    match of_frame {
        FrameRecords::Commits(list) => list.iter().map(|(id, length)| (id.to_string(), *length)).collect(),
        FrameRecords::Snapshots(list) => list.iter().map(|(id, length)| (id.to_string(), *length)).collect(),
        FrameRecords::Objects(list) => list.iter().map(|(id, length)| (id.as_ref().to_string(), *length)).collect(),
    }
}

fn names_the_pack(error: &PackError) {
    assert!(error.to_string().contains(&PACK.to_string()), "{error}");
}

fn open_in_pieces(frame: Frame, number: usize, stored: &[u8]) -> Result<Bytes, PackError> {
    let mut opening = OpeningFrame::new(PACK, number, frame)?;
    let mut raw = Vec::new();
    for part in stored.chunks(stored.len() / 3 + 1) {
        opening.take(Bytes::copy_from_slice(part))?;
        while let Some(piece) = opening.piece()? {
            raw.extend_from_slice(&piece);
        }
    }
    if !opening.is_complete() {
        return Err(PackError::Checksum { pack: PACK, part: "frame".to_owned() });
    }
    Ok(raw.into())
}

/// Makes the checksums right of frames, pages, head and footer, each as far as it lies where it can be.
fn restore_checksums(pack: &mut [u8]) -> Option<()> {
    let footer_start = pack.len().checked_sub(FOOTER_LENGTH)?;
    let (before, footer) = pack.split_at_mut(footer_start);
    let (numbers, _) = footer.get(EXTENT..)?.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number) as usize);
    let (start, length, head_length) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let (frames, table) = before.split_at_mut_checked(start)?;
    let table = table.get_mut(..length).filter(|table| head_length <= table.len())?;
    let pages = table::pages(table, head_length).into_iter().filter(|(section, ..)| *section == Section::Frames);
    let width = Section::Frames.width();
    for (_, _, page) in pages {
        for entry in table[page].chunks_exact_mut(width) {
            let Some(mut read) = FrameEntry::read(entry) else {
                continue;
            };
            let start = read.frame.offset as usize;
            let end = start.saturating_add(read.frame.stored_length as usize);
            if let Some(stored) = frames.get(start..end) {
                read.frame.checksum = XxHash3_64::oneshot(stored);
                let mut written = Vec::with_capacity(width);
                read.write(&mut written);
                entry.copy_from_slice(&written);
            }
        }
    }
    let head_checksum = table::restore_checksums(table, head_length);
    let (covered, checksum) = footer.split_last_chunk_mut::<8>()?;
    covered.last_chunk_mut::<8>()?.copy_from_slice(&head_checksum.to_le_bytes());
    checksum.copy_from_slice(&XxHash3_64::oneshot(covered).to_le_bytes());
    Some(())
}

/// Whether a writer could have been given this: nothing in it twice.
fn is_distinct(graph: &GraphSection, contents: &Contents) -> bool {
    fn each_once<T: std::hash::Hash + Eq>(items: impl IntoIterator<Item = T>) -> bool {
        let mut seen = HashSet::new();
        items.into_iter().all(|item| seen.insert(item))
    }
    let snapshots = contents.records.iter().filter(|records| matches!(records, FrameRecords::Snapshots(_)));
    each_once(graph.0.iter().map(|node| &node.id))
        && each_once(snapshots.flat_map(names).map(|(name, _)| name))
        && each_once(contents.objects().chain(&contents.reached))
}

fn is_written_as_it_was_read(graph: &GraphSection, contents: &Contents, records: &Records) {
    let mut writer = PackWriter::new().expect("zstd works");
    for node in &graph.0 {
        let record = records.get(&(Kind::Commits, node.id.to_string())).expect("a commit has a record");
        writer.commit(node.clone(), record).expect("zstd works");
    }
    for ((kind, name), record) in records {
        match kind {
            Kind::Commits => continue,
            Kind::Snapshots | Kind::StagedSnapshots => {
                let id = name.parse().expect("it was an id");
                writer.snapshot(id, record, *kind == Kind::StagedSnapshots).expect("zstd works");
            }
            Kind::Objects | Kind::StagedObjects => {
                let id: ObjectId = name.parse().expect("it was an id");
                writer.object(id.key(), record, *kind == Kind::StagedObjects).expect("zstd works");
            }
        }
    }
    let Contents { large, inherited, reached, .. } = contents.clone();
    let written = writer.finish(Elsewhere { large, inherited, reached }).expect("zstd works");
    let (graph_again, contents_again, records_again) = read(&written.bytes).expect("what was written is read");
    assert_eq!(&graph_again, graph);
    assert_eq!(&records_again, records);
    let elsewhere = |contents: &Contents| {
        let Contents { mut large, mut inherited, mut reached, .. } = contents.clone();
        large.sort();
        inherited.sort();
        reached.sort();
        (large, inherited, reached)
    };
    assert_eq!(elsewhere(&contents_again), elsewhere(contents));
    let TableExtent { length, .. } = written.summary.table;
    assert!(length <= written.summary.size);
}

/// A pack of each kind of record, one of opaque ids, and an empty one.
pub fn seeds() -> Vec<Vec<u8>> {
    let object = |content: &'static [u8], path: &'static str, is_staged| NewObject {
        key: ObjectId::of(content).key(),
        path: path.into(),
        content,
        is_staged,
    };
    let node = |id: &str, parents: &[&str], generation| PackedCommit {
        id: id.parse().expect("it is an id"),
        parents: parents.iter().map(|parent| parent.parse().expect("it is an id")).collect(),
        snapshot: Some("s".parse().expect("it is an id")),
        generation,
        is_reached: generation > 1,
    };
    let hash = ObjectId::of(b"commit").to_string();
    let snapshot = |id: &str, is_staged| NewSnapshot {
        id: id.parse().expect("it is an id"),
        record: b"\x81\xa1s\x01".to_vec(),
        is_staged,
    };
    let full = NewPack {
        commits: vec![
            NewCommit { node: node("c1", &["elsewhere"], 1), record: b"\x80" },
            NewCommit { node: node(&hash, &["c1", "elsewhere"], 2), record: b"\x81\xa1c\x02" },
        ],
        snapshots: vec![snapshot("s", false), snapshot("staged", true)],
        objects: vec![
            object(b"one", "a", false),
            object(b"", "b", false),
            object(b"two two two two two two two two two two", "c", true),
        ],
        large: vec![(ObjectId::of(b"large").key(), 1 << 40)],
        reached: vec![ObjectId::of(b"reached").key()],
    };
    let mut inheriting = PackWriter::new().expect("zstd works");
    inheriting.object(ObjectId::of(&[7; 3_000]).key(), &[7; 3_000], false).expect("zstd works");
    let inherited = vec![(PackId::from_parts(9, 9), ObjectId::of(b"other").key(), 5)];
    let inheriting = inheriting.finish(Elsewhere { inherited, ..Elsewhere::default() }).expect("zstd works");
    let written = [full, NewPack::default()].map(|pack| write(pack).expect("zstd works").bytes.to_vec());
    written.into_iter().chain([inheriting.bytes.to_vec()]).collect()
}
