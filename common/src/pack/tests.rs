use std::collections::HashMap;
use std::io::Read;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::index::{FOOTER_LENGTH, FrameRecords, OLD_VERSION, decode_footer, decode_table};
use super::summary::TableExtent;
use super::*;
use crate::id::{Id, ObjectId, ObjectKey};

const PACK: PackId = PackId::from_parts(1, 1);

/// What a pack is made of, owned.
#[derive(Debug, Clone)]
struct Material {
    commits: Vec<(PackedCommit, Vec<u8>)>,
    snapshots: Vec<(Id, Vec<u8>, bool)>,
    objects: Vec<(ObjectKey, String, Vec<u8>, bool)>,
    large: Vec<(ObjectKey, u64)>,
    reached: Vec<ObjectKey>,
}

fn id() -> impl Strategy<Value = Id> {
    "[0-9a-f]{64}|sha256:[0-9a-f]{64}|[A-Za-z0-9._:-]{1,20}".prop_map(|text| text.parse().unwrap())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        // Some large enough to close a frame.
        (any::<u8>(), 0_usize..1_500_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn material() -> impl Strategy<Value = Material> {
    let parents = prop::collection::vec((any::<Index>(), id(), any::<bool>()), 0..3);
    let commit = (id(), parents, prop::option::of(id()), bytes(), (any::<u32>(), any::<bool>()));
    let commits = prop::collection::vec(commit, 0..12).prop_map(|commits| {
        let mut packed: Vec<(PackedCommit, Vec<u8>)> = Vec::new();
        for (id, parents, snapshot, record, (generation, is_reached)) in commits {
            let parents = parents
                .into_iter()
                .map(|(index, outside, inside)| match packed.len() {
                    0 => outside.into(),
                    count if inside => packed[index.index(count)].0.id.clone(),
                    _ => outside.into(),
                })
                .collect();
            let id = id.into();
            if packed.iter().all(|(commit, _)| commit.id != id) {
                let snapshot = snapshot.map(Into::into);
                let generation = generation.saturating_add(packed.len() as u32);
                packed.push((PackedCommit { id, parents, snapshot, generation, is_reached }, record));
            }
        }
        packed
    });
    let snapshots = prop::collection::hash_map(id(), (bytes(), any::<bool>()), 0..8);
    let objects = prop::collection::vec((".{0,8}", bytes(), any::<bool>()), 0..12);
    let key = || id().prop_map(ObjectKey::from);
    let elsewhere = (prop::collection::vec((key(), any::<u64>()), 0..3), prop::collection::vec(key(), 0..3));
    (commits, snapshots, objects, elsewhere).prop_map(|(commits, snapshots, objects, (large, reached))| {
        let objects = objects.into_iter();
        let objects: HashMap<ObjectKey, (String, Vec<u8>, bool)> = objects
            .map(|(path, content, is_staged)| (ObjectId::of(&content).key(), (path, content, is_staged)))
            .collect();
        Material {
            commits,
            snapshots: snapshots.into_iter().map(|(id, (record, is_staged))| (id, record, is_staged)).collect(),
            objects: objects
                .into_iter()
                .map(|(key, (path, content, is_staged))| (key, path, content, is_staged))
                .collect(),
            large,
            reached,
        }
    })
}

fn pack(material: &Material) -> WrittenPack {
    let commits: Vec<_> =
        material.commits.iter().map(|(node, record)| NewCommit { node: node.clone(), record }).collect();
    let snapshots: Vec<_> = material
        .snapshots
        .iter()
        .map(|(id, record, is_staged)| NewSnapshot {
            id: id.clone().into(),
            record: record.clone(),
            is_staged: *is_staged,
        })
        .collect();
    let objects: Vec<_> = material
        .objects
        .iter()
        .map(|(key, path, content, is_staged)| NewObject {
            key: key.clone(),
            path: path.into(),
            content,
            is_staged: *is_staged,
        })
        .collect();
    let (large, reached) = (material.large.clone(), material.reached.clone());
    write(NewPack { commits, snapshots, objects, large, reached }).unwrap()
}

type Records = HashMap<(Kind, String), Vec<u8>>;

/// Everything in a pack, by kind and id, from its bytes alone.
fn read(bytes: &[u8]) -> Result<(GraphSection, Contents, Records), PackError> {
    let footer = bytes.get(bytes.len().saturating_sub(FOOTER_LENGTH)..).unwrap_or_default();
    let table = decode_footer(PACK, footer)?;
    let range = table.range();
    let stored = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
    let header = bytes.get(range.start as usize - 8..range.start as usize).unwrap_or_default();
    if header != super::index::skippable_header(table.length)? {
        return Err(PackError::Checksum { pack: PACK, part: "table".to_owned() });
    }
    let (graph, contents) = decode_table(PACK, &table, Bytes::copy_from_slice(stored))?;
    let mut records = HashMap::new();
    for (number, (frame, of_frame)) in contents.frames.iter().zip(&contents.records).enumerate() {
        let start = frame.offset as usize;
        let stored = bytes.get(start..start + frame.stored_length as usize).unwrap_or_default();
        let raw = frame.open(PACK, number, stored)?;
        let names: Vec<(String, u32)> = match of_frame {
            FrameRecords::Commits(list) => list.iter().map(|(id, length)| (id.to_string(), *length)).collect(),
            FrameRecords::Snapshots(list) => list.iter().map(|(id, length)| (id.to_string(), *length)).collect(),
            FrameRecords::Objects(list) => list.iter().map(|(id, length)| (id.as_ref().to_string(), *length)).collect(),
        };
        let mut start = 0;
        for (name, length) in names {
            let end = start + length as usize;
            records.insert((frame.kind, name), raw[start..end].to_vec());
            start = end;
        }
    }
    Ok((graph, contents, records))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_is_read_back(material in material()) {
        let written = pack(&material);
        let (graph, contents, records) = read(&written.bytes).unwrap();

        let nodes: Vec<PackedCommit> = material.commits.iter().map(|(node, _)| node.clone()).collect();
        prop_assert_eq!(&graph.0, &nodes);
        prop_assert_eq!(graph, written.graph);
        let mut expected = HashMap::new();
        for (node, record) in &material.commits {
            expected.insert((Kind::Commits, node.id.to_string()), record.clone());
        }
        for (id, record, is_staged) in &material.snapshots {
            let kind = if *is_staged { Kind::StagedSnapshots } else { Kind::Snapshots };
            expected.insert((kind, id.to_string()), record.clone());
        }
        for (key, _, content, is_staged) in &material.objects {
            let kind = if *is_staged { Kind::StagedObjects } else { Kind::Objects };
            expected.insert((kind, key.as_ref().to_string()), content.clone());
        }
        let sorted = |contents: &Contents| {
            let mut contents = contents.clone();
            contents.large.sort();
            contents.reached.sort();
            // If records have no bytes, it cannot be known which was first.
            for records in &mut contents.records {
                match records {
                    FrameRecords::Commits(list) => list.sort(),
                    FrameRecords::Snapshots(list) => list.sort(),
                    FrameRecords::Objects(list) => list.sort(),
                }
            }
            contents
        };
        prop_assert_eq!(sorted(&contents), sorted(&written.contents));
        prop_assert_eq!(records, expected);
        prop_assert_eq!(written.summary.size, written.bytes.len() as u64);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_an_error_that_names_the_pack(material in material(), place in any::<Index>(), bit in 0_u8..8) {
        let mut bytes = pack(&material).bytes.to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        let error = read(&bytes).unwrap_err().to_string();
        prop_assert!(error.contains(&PACK.to_string()), "{}", error);
    }

    #[test]
    fn random_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), head_length in 0_u64..400) {
        let extent = TableExtent { offset: 0, length: bytes.len() as u64, head_length, head_checksum: 0 };
        prop_assert!(decode_table(PACK, &extent, Bytes::from(bytes.clone())).is_err());
        prop_assert!(decode_footer(PACK, &bytes).is_err());
    }

    #[test]
    fn a_table_whose_checksums_were_made_right_again_is_read_or_refused_without_a_panic(
        material in material(), at in any::<Index>(), byte in any::<u8>(),
    ) {
        let written = pack(&material);
        let table = written.summary.table;
        let range = table.range();
        let mut stored = written.bytes[range.start as usize..range.end as usize].to_vec();
        let at = at.index(stored.len());
        stored[at] = byte;
        let head_checksum = crate::table::mend_checksums(&mut stored, table.head_length as usize);
        let extent = TableExtent { head_checksum, ..table };
        let _ = decode_table(PACK, &extent, Bytes::from(stored));
    }
}

#[test]
fn a_damaged_frame_is_named() {
    let content = vec![7; 100];
    let object = NewObject { key: ObjectId::of(&content).key(), path: "a".into(), content: &content, is_staged: false };
    let mut bytes = write(NewPack { objects: vec![object], ..NewPack::default() }).unwrap().bytes.to_vec();
    bytes[3] ^= 1;
    assert_eq!(read(&bytes).unwrap_err().to_string(), format!("pack {PACK}: frame 0 does not have its checksum"));
}

#[test]
fn a_pack_is_a_zstd_file() {
    let contents = [vec![1; 3_000_000], vec![2; 10], Vec::new()];
    let objects: Vec<_> = contents
        .iter()
        .enumerate()
        .map(|(number, content)| NewObject {
            key: ObjectId::of(content).key(),
            path: number.to_string().into(),
            content,
            is_staged: false,
        })
        .collect();
    let pack = write(NewPack { objects, ..NewPack::default() }).unwrap();
    let mut raw = Vec::new();
    zstd::stream::Decoder::new(&*pack.bytes).unwrap().read_to_end(&mut raw).unwrap();
    assert_eq!(raw, contents.concat());
}

#[test]
fn a_pack_of_the_first_version_is_refused_with_the_way_out() {
    let mut old = vec![0; 100];
    let magic = old.len() - 72;
    old[magic..magic + 8].copy_from_slice(b"MUSEPACK");
    let error = decode_footer(PACK, &old).unwrap_err().to_string();
    assert!(error.contains(OLD_VERSION), "{error}");
}

#[test]
fn the_lists_of_what_lies_elsewhere_are_read_back() {
    let keys: Vec<ObjectKey> = (0_u8..4).map(|byte| ObjectId::of(&[byte]).key()).collect();
    let [large, first, second, reached] = keys.try_into().unwrap();
    let inherited = vec![(PACK, first, 7), (PackId::from_parts(9, 9), second, u64::MAX)];
    for inherited in [Vec::new(), inherited] {
        let elsewhere =
            Elsewhere { large: vec![(large.clone(), 5)], inherited: inherited.clone(), reached: vec![reached.clone()] };
        let written = PackWriter::new().unwrap().finish(elsewhere).unwrap();
        let (_, contents, _) = read(&written.bytes).unwrap();
        assert_eq!((&contents.large, &contents.inherited), (&vec![(large.clone(), 5)], &inherited));
        assert_eq!(contents.reached, std::slice::from_ref(&reached));
        assert_eq!(written.summary.objects, 1 + inherited.len() as u64);
    }
}
