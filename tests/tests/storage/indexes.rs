//! Tables are merged apart from data: requests look into an index instead of many packs, and no client notices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fsck::finding::Problem;
use fsck::repair::{Action, repair};
use service::routes::Function;
use store::upkeep::compact::Limits;
use store::upkeep::garbage;
use store::upkeep::swap::GRACE;
use tests::history::{self, Builder, History};

use crate::fsck::song::{check, store, subject};
use crate::process::{Cloud, Process};

/// After this no request reads what was merged before.
const AFTER_GRACE: Duration = GRACE.saturating_add(Duration::from_secs(60));
/// Every pack is full, so that none is written again.
const FULL: Limits = Limits { pack_bytes: 0, ..Limits::ALL };

/// Pushes commits one by one, and with each what no other before it had.
async fn push_each(process: &Process, slug: &str, history: &History, commits: &[String], known: &mut BTreeSet<String>) {
    for commit in commits {
        let mut bundle = history.pack(&[commit]).with_head("main", commit);
        bundle.objects.retain(|object| known.insert(object.id.clone()));
        process.push(slug, "main", false, &bundle).await.expect(200);
    }
}

fn main_at(tip: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("main".to_owned(), tip.to_owned())])
}

/// How many packs and how many indexes the bucket has of a repo.
async fn files(cloud: &Cloud, slug: &str) -> (usize, usize) {
    let repo = cloud.process().repo_id(slug).await;
    let stored = cloud.stored(&format!("packs/{repo}/")).await;
    let indexes = stored.keys().filter(|key| key.ends_with(".index")).count();
    (stored.len() - indexes, indexes)
}

async fn assert_whole(cloud: &Cloud, slug: &str) {
    let report = check(cloud, slug, true).await;
    assert!(report.is_whole(), "{:?}", report.findings);
}

#[tokio::test]
async fn requests_look_into_one_index_of_packs_that_are_not_written_again() {
    let cloud = Cloud::start().await;
    let history = history::linear(3, 12, 6, 2);
    let ids = history.ids();
    let process = cloud.process();
    let known = &mut BTreeSet::new();
    push_each(&process, "song", &history, &ids[..4], known).await;
    let done = process.compact("song", FULL).await.expect("a run");
    assert_eq!((done.packs_before, done.packs_after, done.packs_merged), (4, 4, 0), "{done:?}");
    assert_eq!((done.tables_merged, done.tables_after), (4, 1), "{done:?}");
    assert!(done.is_done);
    assert_eq!(files(&cloud, "song").await, (4, 1));
    cloud.assert_holds("song", &history, &main_at(&ids[3])).await;
    assert_whole(&cloud, "song").await;
    let stats = process.get(Function::Stats, "song").await.expect(200);
    assert_eq!((&stats["packs"]["count"], &stats["garbage"]["count"]), (&4.into(), &0.into()), "{stats}");

    // A process that knows the packs, and one that has just started, push onto what the index answers for.
    push_each(&process, "song", &history, &ids[4..6], known).await;
    push_each(&cloud.process(), "song", &history, &ids[6..8], known).await;
    let done = process.compact("song", FULL).await.expect("a run");
    assert_eq!((done.packs_before, done.packs_after, done.tables_merged, done.tables_after), (8, 8, 5, 1), "{done:?}");
    cloud.assert_holds("song", &history, &main_at(&ids[7])).await;
    assert_eq!(files(&cloud, "song").await, (8, 2), "a request may be reading the first index");
    push_each(&process, "song", &history, &ids[8..], known).await;
    let done = cloud.process_later(AFTER_GRACE).compact("song", FULL).await.expect("a run");
    assert_eq!((done.packs_after, done.tables_after, done.deleted), (12, 1, 1), "{done:?}");
    assert_eq!(files(&cloud, "song").await, (12, 2), "and now the second");
    let later = cloud.process_later(AFTER_GRACE * 2);
    assert_eq!(later.compact("song", FULL).await.expect("a run").deleted, 1);
    assert_eq!(files(&cloud, "song").await, (12, 1));
    cloud.assert_holds("song", &history, &main_at(history.last())).await;
    assert_whole(&cloud, "song").await;
}

/// Small packs behind the last full one are merged as ever, and the index is left alone by it.
#[tokio::test]
async fn packs_are_merged_behind_an_index() {
    let cloud = Cloud::start().await;
    let history = history::linear(4, 9, 4, 2);
    let ids = history.ids();
    let process = cloud.process();
    let known = &mut BTreeSet::new();
    push_each(&process, "song", &history, &ids[..3], known).await;
    assert_eq!(process.compact("song", FULL).await.expect("a run").tables_after, 1);
    push_each(&process, "song", &history, &ids[3..], known).await;
    let done = process.compact("song", Limits::ALL).await.expect("a run");
    assert_eq!((done.packs_before, done.packs_after, done.tables_after), (9, 4, 2), "{done:?}");
    cloud.assert_holds("song", &history, &main_at(history.last())).await;
    assert_whole(&cloud, "song").await;
}

#[tokio::test]
async fn garbage_goes_out_of_packs_of_an_index() {
    let cloud = Cloud::start().await;
    let mut builder = Builder::new(5);
    let tree = builder.files(6);
    let first = builder.commit(&[], &tree);
    let second = builder.child(&[&first]);
    let mut draft = builder.tree(&second);
    draft.insert("draft.mid".to_owned(), builder.bytes(4_000));
    let left = builder.commit(&[&second], &draft);
    let left_again = builder.child(&[&left]);
    let tip = builder.child(&[&second]);
    let next = builder.child(&[&tip]);
    let history = builder.finish();
    let process = cloud.process();
    let known = &mut BTreeSet::new();
    push_each(&process, "song", &history, &[first, second, left, left_again.clone()], known).await;
    let mut bundle = history.pack(&[&tip]).with_head("main", &tip);
    bundle.objects.retain(|object| known.insert(object.id.clone()));
    process.push("song", "main", true, &bundle).await.expect(200);
    assert_eq!(process.compact("song", FULL).await.expect("a run").tables_after, 1);

    let collector = cloud.process_later(Duration::ZERO);
    let done = collector.collect("song", garbage::Limits::ALL).await.expect("a run");
    assert_eq!((done.commits, done.packs_rewritten, done.packs_condemned), (2, 2, 2), "{done:?}");
    cloud.assert_holds("song", &history, &main_at(&tip)).await;
    assert_whole(&cloud, "song").await;
    // What is condemned is there still, and neither a push nor a fetch may name it.
    let fetched = process.fetch("song", &[&left_again], &[] as &[&str]).await.expect("a whole answer");
    assert_eq!(fetched.status, 404);
    process.push_onto("song", "main", &history, &[&tip], &next).await.expect(200);

    let day = garbage::CONDEMNED + Duration::from_secs(60 * 60);
    for later in [day, day + AFTER_GRACE, day + AFTER_GRACE * 2] {
        let process = cloud.process_later(later);
        process.collect("song", garbage::Limits::ALL).await.expect("a run");
        process.compact("song", FULL).await.expect("a run");
    }
    let fetched = process.fetch("song", &[&left_again], &[] as &[&str]).await.expect("a whole answer");
    assert_ne!(fetched.status, 200);
    cloud.assert_holds("song", &history, &main_at(&next)).await;
    assert_whole(&cloud, "song").await;
    assert_eq!(files(&cloud, "song").await.1, 1);
}

/// An index is made again from the tables of its packs, whatever has become of it.
#[tokio::test]
async fn a_damaged_index_is_found_and_made_again() {
    let cloud = Cloud::start().await;
    let history = history::linear(6, 5, 6, 2);
    let ids = history.ids();
    let known = &mut BTreeSet::new();
    push_each(&cloud.process(), "song", &history, &ids, known).await;
    assert_eq!(cloud.process().compact("song", FULL).await.expect("a run").tables_after, 1);
    let repo = cloud.process().repo_id("song").await;
    let key = async || {
        let listing = store(&cloud).listing(&repo.parse().expect("an id")).await.expect("the stores answer");
        let [index] = listing.indexes.as_slice() else { panic!("{listing:?}") };
        assert_eq!((listing.tables.len(), index.packs.len()), (1, ids.len()));
        format!("packs/{repo}/{}.index", index.name)
    };
    let size = cloud.get(&key().await).await.len();
    let places = (0..size).step_by(size / 9).map(Some).chain([None]);
    for place in places {
        let key = key().await;
        match place {
            Some(place) => {
                let mut damaged = cloud.get(&key).await.to_vec();
                damaged[place] ^= 1;
                cloud.put(&key, damaged.into()).await;
            }
            None => cloud.delete(&key).await,
        }
        let report = check(&cloud, "song", false).await;
        assert!(
            report.findings.iter().any(|finding| matches!(finding.problem, Problem::IndexDamaged { .. })),
            "{place:?}: {:?}",
            report.findings
        );
        let subject = subject(&cloud, "song").await;
        let repaired = repair(&store(&cloud), &subject, cloud.ids(), None, &|_| ()).await.expect("the stores answer");
        assert!(repaired.report.is_whole(), "{place:?}: {:?} {:?}", repaired.actions, repaired.report.findings);
        let of_index = |action: &Action| matches!(action, Action::IndexMade { .. } | Action::IndexDropped { .. });
        assert_eq!(repaired.actions.iter().filter(|action| of_index(action)).count(), 1, "{:?}", repaired.actions);
        cloud.assert_holds("song", &history, &main_at(history.last())).await;
        // Where the index did not name its packs, they are listed by themselves, and become another.
        assert_eq!(cloud.process().compact("song", FULL).await.expect("a run").tables_after, 1);
    }
}
