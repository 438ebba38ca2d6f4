use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::mpsc::channel;

use super::cursor::{Input, TableFile};
use super::merge::{merge, shape};
use crate::bucket::{Bucket, Part};
use crate::read::view::{Listed, View, offline_bucket, remember_pack};
use common::id::{CommitId, ObjectId, ObjectKey, RepoId, SnapshotId};
use common::location::{ObjectLocation, RecordLocation};
use common::pack::{NewCommit, NewObject, NewPack, NewSnapshot, PackId, PackSummary, PackedCommit, TableExtent, write};

/// Ids that packs draw from.
pub(crate) const IDS: usize = 12;

/// What a pack is made of, by the numbers of ids.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) commits: BTreeMap<usize, (Vec<usize>, Option<usize>)>,
    pub(crate) snapshots: BTreeMap<usize, bool>,
    pub(crate) objects: BTreeMap<usize, bool>,
    pub(crate) large: BTreeSet<usize>,
    pub(crate) reached: BTreeSet<usize>,
}

pub(crate) fn made() -> impl Strategy<Value = Made> {
    let id = || 0..IDS;
    // A parent has a smaller number: ids that name each other in a circle are another test's.
    let commit = (id(), prop::collection::btree_set(0_usize..100, 0..3), prop::option::of(id()));
    let commits = prop::collection::vec(commit, 0..6).prop_map(|commits| {
        let parents = |number: usize, picks: BTreeSet<usize>| {
            let parents: BTreeSet<usize> = picks.into_iter().filter(|_| number > 0).map(|pick| pick % number).collect();
            parents.into_iter().collect::<Vec<_>>()
        };
        commits.into_iter().map(|(number, picks, snapshot)| (number, (parents(number, picks), snapshot))).collect()
    });
    let flagged = || prop::collection::btree_map(id(), any::<bool>(), 0..5);
    let set = || prop::collection::btree_set(id(), 0..3);
    (commits, flagged(), flagged(), set(), set()).prop_map(|(commits, snapshots, objects, large, reached)| Made {
        large: large.into_iter().filter(|key| !objects.contains_key(key)).collect(),
        commits,
        snapshots,
        objects,
        reached,
    })
}

/// Every third id is no hash.
fn text(kind: &str, number: usize) -> String {
    if number.is_multiple_of(3) { format!("{kind}-{number}") } else { format!("{:064x}", number * 7_919 + kind.len()) }
}

pub(crate) fn commit(number: usize) -> CommitId {
    text("commit", number).parse().unwrap()
}

pub(crate) fn snapshot(number: usize) -> SnapshotId {
    text("snapshot", number).parse().unwrap()
}

pub(crate) fn object(number: usize) -> ObjectKey {
    text("object", number).parse::<ObjectId>().unwrap().key()
}

pub(crate) fn store(bucket: &Bucket, number: usize, made: &Made) -> (PackId, PackSummary) {
    let node = |(number, (parents, named)): (&usize, &(Vec<usize>, Option<usize>))| PackedCommit {
        id: commit(*number),
        parents: parents.iter().copied().map(commit).collect(),
        snapshot: named.map(snapshot),
        generation: *number as u32 + 1,
        is_reached: number.is_multiple_of(2),
    };
    let contents: BTreeMap<usize, Vec<u8>> = made.objects.keys().map(|id| (*id, vec![*id as u8; *id + 1])).collect();
    let new = NewPack {
        commits: made.commits.iter().map(node).map(|node| NewCommit { node, record: b"a record" }).collect(),
        snapshots: made
            .snapshots
            .iter()
            .map(|(id, is_staged)| NewSnapshot { id: snapshot(*id), record: vec![1; *id + 1], is_staged: *is_staged })
            .collect(),
        objects: made
            .objects
            .iter()
            .map(|(id, is_staged)| NewObject {
                key: object(*id),
                path: "".into(),
                content: contents[id].as_slice(),
                is_staged: *is_staged,
            })
            .collect(),
        large: made.large.iter().map(|id| (object(*id), *id as u64)).collect(),
        reached: made.reached.iter().map(|id| object(*id)).collect(),
    };
    let written = write(new).unwrap();
    let pack = PackId::from_parts(number as u64 + 1, 1);
    remember_pack(bucket, pack, &written.summary, &written.bytes);
    (pack, written.summary)
}

pub(crate) async fn inputs<'b>(bucket: &'b Bucket, tables: &[(PackId, PackSummary)]) -> Vec<Input<'b>> {
    let mut inputs = Vec::new();
    for (table, summary) in tables {
        let file = TableFile::open(bucket, String::new(), *table, summary.table, tables.len()).await.unwrap();
        inputs.push(Input { table: file, pack: (!summary.is_index()).then_some((*table, *summary)) });
    }
    inputs
}

/// The index of some tables, remembered under a name.
pub(crate) async fn merged(
    bucket: &Bucket,
    name: u64,
    tables: &[(PackId, PackSummary)],
) -> (PackId, PackSummary, Vec<u8>) {
    let inputs = inputs(bucket, tables).await;
    let length = shape(&inputs).unwrap();
    let (out, mut body) = channel(1);
    let mut bytes = Vec::new();
    let (table, ()) = tokio::join!(merge(&inputs, out), async {
        while let Some(part) = body.recv().await {
            bytes.extend_from_slice(&part);
        }
    });
    let table: TableExtent = table.unwrap().unwrap();
    assert_eq!((bytes.len() as u64, table.length), (length, length), "its length is known before");
    let name = PackId::from_parts(name, 7);
    bucket.remember(name, Part::Table, bytes.clone().into());
    let packs = tables.iter().map(|(_, summary)| summary.packs.max(1)).sum();
    (name, PackSummary { packs, table, ..tables[0].1 }, bytes)
}

fn view(bucket: &Arc<Bucket>, tables: &[(PackId, PackSummary)]) -> View {
    let listed = tables.iter().map(|(table, summary)| Listed::of(*table, summary)).collect();
    View::new(Arc::clone(bucket), RepoId::from(PackId::from_parts(0, 0)), listed, Arc::default())
}

/// Where a record lies, whatever table says so.
async fn found(view: &View, place: RecordLocation) -> (PackId, usize, u64, u32, u32) {
    let frame = view.frames([place]).await.unwrap().of(place).unwrap();
    (frame.pack, frame.number, frame.frame.offset, place.start, place.length)
}

async fn assert_same(packs: &View, index: &View) {
    let commits: Vec<CommitId> = (0..IDS).map(commit).collect();
    let (expected, of_index) = (packs.commits(&commits).await.unwrap(), index.commits(&commits).await.unwrap());
    assert_eq!(expected.len(), of_index.len());
    for (id, commit) in expected {
        let other = &of_index[&id];
        assert_eq!((&commit.parents, commit.generation), (&other.parents, other.generation), "{id}");
        assert_eq!((commit.is_reached, &commit.snapshot), (other.is_reached, &other.snapshot), "{id}");
        assert_eq!(found(packs, commit.place).await, found(index, other.place).await, "{id}");
        match (commit.snapshot_place, other.snapshot_place) {
            (Some(place), Some(other)) => assert_eq!(found(packs, place).await, found(index, other).await, "{id}"),
            (place, other) => assert_eq!(place.is_some(), other.is_some(), "{id}"),
        }
    }
    let snapshots: Vec<SnapshotId> = (0..IDS).map(snapshot).collect();
    let (expected, of_index) = (packs.snapshots(&snapshots).await.unwrap(), index.snapshots(&snapshots).await.unwrap());
    assert_eq!(expected.len(), of_index.len());
    for (id, snapshot) in expected {
        assert_eq!(found(packs, snapshot.place).await, found(index, of_index[&id].place).await, "{id}");
    }
    let objects: Vec<ObjectKey> = (0..IDS).map(object).collect();
    let (expected, of_index) = (packs.objects(&objects).await.unwrap(), index.objects(&objects).await.unwrap());
    assert_eq!(expected.len(), of_index.len());
    for (id, object) in expected {
        let other = of_index[&id];
        assert_eq!(object.is_reached, other.is_reached, "{id:?}");
        match (object.place, other.place) {
            (ObjectLocation::Packed(place), ObjectLocation::Packed(other)) => {
                assert_eq!(found(packs, place).await, found(index, other).await, "{id:?}");
            }
            (place, other) => assert_eq!(place, other, "{id:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn an_index_says_what_its_packs_say_and_does_not_depend_on_the_steps_in_which_it_was_made(
        packs in prop::collection::vec(made(), 2..6), cuts in prop::collection::vec(any::<bool>(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bucket = Arc::new(offline_bucket());
            let packs: Vec<_> = packs.iter().enumerate().map(|(number, made)| store(&bucket, number, made)).collect();
            let (index, summary, bytes) = merged(&bucket, 100, &packs).await;
            assert_same(&view(&bucket, &packs), &view(&bucket, &[(index, summary)])).await;

            // In steps: neighbours first, and then what they became.
            let mut tables: Vec<Vec<(PackId, PackSummary)>> = Vec::new();
            for (pack, cut) in packs.iter().zip(cuts) {
                match tables.last_mut() {
                    Some(last) if !cut => last.push(*pack),
                    _ => tables.push(vec![*pack]),
                }
            }
            let mut steps = Vec::new();
            for (number, tables) in tables.iter().enumerate() {
                let (name, summary, _) = merged(&bucket, 200 + number as u64, tables).await;
                steps.push((name, summary));
            }
            assert_same(&view(&bucket, &packs), &view(&bucket, &steps)).await;
            let (_, _, in_steps) = merged(&bucket, 300, &steps).await;
            assert!(in_steps == bytes, "the same bytes");
        });
    }
}
