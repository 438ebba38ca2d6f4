//! Whatever packs a repo has, what they hold is held by what they are merged into: every record, where a branch has
//! reached and where not, the graph, and what of it lies elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{CommitId, ObjectKey, RepoId, SnapshotId};
use common::location::{ObjectLocation, RecordLocation};
use common::pack::{self, NewCommit, NewObject, NewPack, NewSnapshot, PackId, PackedCommit};
use proptest::prelude::*;
use serde_json::json;
use store::change::Change;
use store::read::view::View;
use store::repo::{Asker, Load};
use store::table::account::NewRepo;
use store::table::items::Visibility;
use store::table::transaction::Outcome;
use store::upkeep::compact::Limits;
use tests::encoding::Encoding;

use crate::process::{Cloud, Process, for_every};

/// How many commits, snapshots and objects there are to choose from.
const POOL: usize = 8;

/// One record of a pack: which of the pool, in which of several versions, and a flag.
type Pick = (usize, u8, bool);

/// What a push might have stored.
#[derive(Clone, Debug)]
struct Pushed {
    commits: BTreeMap<usize, (u8, Vec<usize>)>,
    snapshots: BTreeMap<usize, (u8, bool)>,
    objects: BTreeMap<usize, (u8, bool)>,
    large: BTreeSet<usize>,
    reached: BTreeSet<usize>,
}

fn pushed() -> impl Strategy<Value = Pushed> {
    let picks = |most| prop::collection::vec((0..POOL, 0_u8..3, any::<bool>()), 0..most);
    let parents = prop::collection::vec(prop::collection::vec(0..POOL, 0..3), POOL);
    let elsewhere = || prop::collection::btree_set(0..POOL, 0..3);
    (picks(5), parents, picks(4), picks(5), elsewhere(), elsewhere()).prop_map(
        |(commits, parents, snapshots, objects, large, reached)| {
            let flagged =
                |picks: Vec<Pick>| picks.into_iter().map(|(of, version, flag)| (of, (version, flag))).collect();
            // A commit's parents are before it in the pool, so that there is no cycle; in packs they lie anywhere.
            let older = |of: usize| parents[of].iter().copied().filter(|parent| *parent < of).collect();
            Pushed {
                commits: commits.into_iter().map(|(of, version, _)| (of, (version, older(of)))).collect(),
                snapshots: flagged(snapshots),
                objects: flagged(objects),
                large,
                reached,
            }
        },
    )
}

fn commit_id(of: usize) -> CommitId {
    format!("commit-{of}").parse().unwrap()
}

fn snapshot_id(of: usize) -> SnapshotId {
    format!("{of:064x}").parse().unwrap()
}

fn object_key(of: usize) -> ObjectKey {
    let id: common::id::ObjectId = format!("object-{of}").parse().unwrap();
    id.key()
}

/// Commits a pack as a push would.
async fn push(process: &Process, repo: &RepoId, pushed: &Pushed) -> PackId {
    let commits: Vec<(PackedCommit, Vec<u8>)> = pushed
        .commits
        .iter()
        .map(|(of, (version, parents))| {
            let node = PackedCommit {
                id: commit_id(*of),
                parents: parents.iter().map(|parent| commit_id(*parent)).collect(),
                snapshot: (*version > 0).then(|| snapshot_id((of + usize::from(*version)) % POOL)),
                generation: *of as u32 + u32::from(*version),
                is_reached: of % 2 == 0,
            };
            (node, format!("commit {of} in version {version}").into_bytes())
        })
        .collect();
    let snapshots = pushed.snapshots.iter().map(|(of, (version, is_staged))| {
        let manifest: BTreeMap<String, String> =
            (0..*of).map(|file| (format!("{}/{file}", version ^ 1), format!("object-{file}"))).collect();
        let record = json!({"snapshot_id": snapshot_id(*of).to_string(), "manifest": manifest, "created_at": version.to_string()});
        NewSnapshot { id: snapshot_id(*of), record: Encoding::Msgpack.encode(&record), is_staged: *is_staged }
    });
    let contents: Vec<(usize, Vec<u8>, bool)> =
        pushed.objects.iter().map(|(of, (version, is_staged))| (*of, vec![*version; of * 100], *is_staged)).collect();
    let objects = contents.iter().map(|(of, content, is_staged)| NewObject {
        key: object_key(*of),
        path: of.to_string().into(),
        content,
        is_staged: *is_staged,
    });
    let written = pack::write(NewPack {
        commits: commits.iter().map(|(node, record)| NewCommit { node: node.clone(), record }).collect(),
        snapshots: snapshots.collect(),
        objects: objects.collect(),
        large: pushed.large.iter().map(|of| (object_key(*of), *of as u64)).collect(),
        reached: pushed.reached.iter().map(|of| object_key(*of)).collect(),
    });
    let stored = process.hub.store.store_pack(repo, written.unwrap()).await.unwrap();
    let id = stored.id;
    let change = Change::of_pack(repo, None, Some(&stored), "user-dev");
    assert_eq!(process.hub.store.commit(&change).await.unwrap(), Outcome::Landed);
    id
}

async fn make_repo(process: &Process) -> RepoId {
    let store = &process.hub.store;
    let slug = tests::hub::fresh_name("song").parse().unwrap();
    let new = NewRepo::new(store, "dev".parse().unwrap(), "user-dev", slug, Visibility::Public);
    let change = Change::of_pack(&new.id, Some(&new), None, "user-dev");
    assert_eq!(store.commit(&change).await.unwrap(), Outcome::Landed);
    new.id
}

/// Everything that a reader can find out.
#[derive(Debug, Default, PartialEq)]
struct Held {
    commits: BTreeMap<usize, HeldCommit>,
    /// Whether it is staged, and its record.
    snapshots: BTreeMap<usize, (bool, Vec<u8>)>,
    /// Whether it is reached, and what it is.
    objects: BTreeMap<usize, (bool, HeldObject)>,
}

#[derive(Debug, PartialEq)]
struct HeldCommit {
    parents: Vec<String>,
    snapshot: Option<String>,
    generation: Option<u32>,
    is_reached: bool,
    record: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum HeldObject {
    Packed(Vec<u8>),
    /// By the number of the push that stored it, with its size.
    Large(Option<usize>, u64),
}

async fn view(process: &Process, repo: &RepoId) -> View {
    let store = &process.hub.store;
    store.view(&store.repo(repo, Asker::default(), Load::PACKS).await.unwrap().expect("a repo"))
}

async fn held(process: &Process, repo: &RepoId, packs: &[PackId]) -> Held {
    let (store, view) = (&process.hub.store, view(process, repo).await);
    let record = async |place: RecordLocation| {
        let mut reader = store.read_places(repo, &view, &[place]).await.unwrap();
        reader.next().await.unwrap().expect("a record").to_vec()
    };
    let commits: Vec<CommitId> = (0..POOL).map(commit_id).collect();
    let snapshots: Vec<SnapshotId> = (0..POOL).map(snapshot_id).collect();
    let objects: Vec<ObjectKey> = (0..POOL).map(object_key).collect();
    let present = view.present_commits(&commits).await.unwrap();
    let mut held = Held::default();
    let found = view.commits(&commits).await.unwrap();
    assert_eq!(found.len(), present.len());
    for (of, commit) in commits.iter().enumerate().filter_map(|(of, id)| Some((of, found.get(id)?))) {
        let parents = commit.parents.iter().map(ToString::to_string).collect();
        let snapshot = commit.snapshot.as_ref().map(ToString::to_string);
        let (generation, is_reached, record) = (commit.generation, commit.is_reached, record(commit.place).await);
        held.commits.insert(of, HeldCommit { parents, snapshot, generation, is_reached, record });
    }
    let found = view.snapshots(&snapshots).await.unwrap();
    for (of, snapshot) in snapshots.iter().enumerate().filter_map(|(of, id)| Some((of, found.get(id)?))) {
        held.snapshots.insert(of, (!snapshot.is_reached, record(snapshot.place).await));
    }
    let found = view.objects(&objects).await.unwrap();
    for (of, object) in objects.iter().enumerate().filter_map(|(of, key)| Some((of, found.get(key)?))) {
        let content = match object.place {
            ObjectLocation::Packed(place) => HeldObject::Packed(record(place).await),
            ObjectLocation::Large(large) => {
                HeldObject::Large(packs.iter().position(|pack| *pack == large.pack), large.size)
            }
        };
        held.objects.insert(of, (object.is_reached, content));
    }
    held
}

#[test]
fn a_merged_pack_holds_exactly_what_its_inputs_held() {
    let packs = prop::collection::vec(pushed(), 2..9);
    for_every(60, (packs, pushed(), pushed()), Cloud::start, async |cloud: &Cloud, (packs, later, last)| {
        let writer = cloud.process();
        let (merged, plain) = (make_repo(&writer).await, make_repo(&writer).await);
        let (mut in_merged, mut in_plain) = (Vec::new(), Vec::new());
        for pack in &packs {
            in_merged.push(push(&writer, &merged, pack).await);
            in_plain.push(push(&writer, &plain, pack).await);
        }
        // One has read the packs as they were, and looks again after each change.
        let warm = cloud.process();
        assert_eq!(held(&warm, &merged, &in_merged).await, held(&warm, &plain, &in_plain).await);
        for next in [Some(&later), Some(&last), None] {
            let done = writer.hub.store.compact(&merged, Limits::ALL).await.unwrap();
            assert!(done.is_done);
            for process in [&warm, &cloud.process()] {
                assert_eq!(
                    held(process, &merged, &in_merged).await,
                    held(process, &plain, &in_plain).await,
                    "{done:?}"
                );
            }
            if let Some(next) = next {
                in_merged.push(push(&writer, &merged, next).await);
                in_plain.push(push(&writer, &plain, next).await);
            }
        }
    });
}

/// What a process remembers goes by the name of a pack, so it reads the new ones and no other.
#[tokio::test]
async fn a_warm_process_reads_a_merged_pack_and_nothing_else() {
    let cloud = Cloud::start().await;
    let writer = cloud.process();
    let repo = make_repo(&writer).await;
    let one = |of: usize| Pushed {
        commits: BTreeMap::from([(of % POOL, (1, Vec::new()))]),
        snapshots: BTreeMap::new(),
        objects: BTreeMap::new(),
        large: BTreeSet::new(),
        reached: BTreeSet::new(),
    };
    for of in 0..20 {
        push(&writer, &repo, &one(of)).await;
    }
    let warm = cloud.process();
    let look = async || {
        warm.tap.take();
        assert_eq!(view(&warm, &repo).await.commits(&[commit_id(3)]).await.unwrap().len(), 1);
        warm.tap.take().iter().filter(|call| call.name.starts_with("GET ")).count()
    };
    assert_eq!(look().await, 20);
    let done = writer.hub.store.compact(&repo, Limits::ALL).await.unwrap();
    assert_eq!((done.packs_before, done.packs_after, done.packs_merged), (20, 1, 20), "{done:?}");
    assert_eq!(look().await, 1);
    push(&writer, &repo, &one(3)).await;
    assert_eq!(look().await, 1, "the new pack");
    assert_eq!(look().await, 0);
}
