//! Pieces of work that touch neither storage nor clock, each to be run once while a tool counts its instructions:
//! `scripts/check-instructions.sh`.

use std::collections::HashSet;
use std::hint::black_box;

use bytes::Bytes;
use common::graph::{Graph, NewCommit};
use common::id::{Ids, ObjectId};
use common::pack::{NewObject, NewPack, NewSnapshot, PackId, WrittenPack, write};
use common::push::{Known, validate};
use common::wire::Encoding;
use common::wire::manifests::ManifestReader;
use common::wire::request::{Heads, PushRequest};

use crate::Failure;
use crate::compare::history::{Line, Shape};
use crate::wire::Stretch;

const SHAPE: Shape = Shape { files: 200, changes: 5, lines: 40 };
const COMMITS: u64 = 40;
/// Commits of the graph.
pub const NODES: u32 = 20_000;
const BETWEEN_MERGES: u32 = 10;

type Task = fn(&Stretch) -> Result<(), Failure>;

/// What there is to do, by its name.
pub const TASKS: [(&str, Task); 7] = [
    ("decode a push", decode),
    ("validate a push", check),
    ("plan a push", plan),
    ("write a pack", pack),
    ("open the frames of a pack", open),
    ("read manifests in a row", read),
    ("walk a graph", walk),
];

/// Does one of them, once.
///
/// # Errors
/// When there is no such task.
pub fn run(name: &str) -> Result<(), Failure> {
    let (_, task) = TASKS.iter().find(|(known, _)| *known == name).ok_or("no such task")?;
    task(&Line::new(SHAPE, "main").grow(COMMITS))
}

/// What is counted: the tool begins where this is called, and ends where it returns.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn decode(history: &Stretch) -> Result<(), Failure> {
    let body = history.push()?;
    counted(|| Encoding::Msgpack.decode::<PushRequest<'_>>(&body))?;
    Ok(())
}

fn check(history: &Stretch) -> Result<(), Failure> {
    let body = history.push()?;
    let request = Encoding::Msgpack.decode(&body)?;
    counted(|| validate(request, Ids::Strict))?;
    Ok(())
}

/// In a repository that has the objects.
fn plan(history: &Stretch) -> Result<(), Failure> {
    let body = history.push()?;
    let bundle = validate(Encoding::Msgpack.decode(&body)?, Ids::Strict)?;
    let heads = Heads::new();
    counted(|| {
        let mut known = Known::default();
        known.add_objects(bundle.named_objects().into_iter().map(|key| (key, true)));
        let mut reach = bundle.reach(&known, &heads);
        // As it is found of a branch that is not there yet.
        reach.ends.iter_mut().for_each(|end| end.is_forward = true);
        bundle.plan(&known, &reach, HashSet::new()).map(drop)
    })?;
    Ok(())
}

fn pack(history: &Stretch) -> Result<(), Failure> {
    let snapshots = records(history)?;
    counted(|| written(history, snapshots))?;
    Ok(())
}

fn open(history: &Stretch) -> Result<(), Failure> {
    let pack = written(history, records(history)?)?;
    counted(|| {
        for (number, frame) in pack.contents.frames.iter().enumerate() {
            let start = frame.offset as usize;
            let stored = pack.bytes.get(start..start + frame.stored_length as usize).unwrap_or_default();
            black_box(frame.open(PackId::nil(), number, stored)?);
        }
        Ok::<_, Failure>(())
    })
}

fn read(history: &Stretch) -> Result<(), Failure> {
    let snapshots = records(history)?;
    counted(|| {
        let (mut manifests, mut named) = (ManifestReader::default(), HashSet::new());
        for snapshot in snapshots {
            manifests.entries(Bytes::from(snapshot.record), |_, object| {
                named.insert(object.key());
            })?;
        }
        black_box(named);
        Ok::<_, Failure>(())
    })
}

/// The parents of a commit, in a history with a merge after each ten.
pub fn parents(number: u32) -> Vec<u32> {
    match number {
        0 => Vec::new(),
        number if number.is_multiple_of(BETWEEN_MERGES) && number > BETWEEN_MERGES => {
            vec![number - 1, number - BETWEEN_MERGES]
        }
        number => vec![number - 1],
    }
}

/// The first [`NODES`] commits of that history.
pub fn graph_of_merges() -> Vec<NewCommit<u32, ()>> {
    (0..NODES).map(|id| NewCommit { id, parents: parents(id), payload: () }).collect()
}

fn walk(_: &Stretch) -> Result<(), Failure> {
    let history = graph_of_merges();
    counted(|| {
        let mut graph = Graph::new();
        graph.extend(history).map_err(|error| error.to_string())?;
        black_box(graph.is_ancestor(&0, &(NODES - 1)));
        black_box(graph.difference(&[NODES - 1], &[NODES - 21]));
        black_box(graph.best_common_ancestors(&[NODES - 1], &[NODES - 15]));
        Ok::<_, Failure>(())
    })
}

fn records(history: &Stretch) -> Result<Vec<NewSnapshot>, Failure> {
    let snapshot = |snapshot: &crate::wire::Snapshot| {
        let record = rmp_serde::to_vec_named(snapshot)?;
        Ok(NewSnapshot { id: snapshot.snapshot_id.parse()?, record, is_staged: false })
    };
    history.snapshots.iter().map(snapshot).collect()
}

fn written(history: &Stretch, snapshots: Vec<NewSnapshot>) -> Result<WrittenPack, Failure> {
    let objects = history.objects.iter().map(|object| NewObject {
        key: ObjectId::of(&object.content).key(),
        path: object.path.as_str().into(),
        content: &object.content,
        is_staged: false,
    });
    Ok(write(NewPack { snapshots, objects: objects.collect(), ..NewPack::default() })?)
}
