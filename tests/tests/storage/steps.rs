//! How many times a request waits for storage, and what for. Nothing of it grows with the depth of history.

use local::router::Function;
use serde_json::json;
use tests::encoding::Encoding;
use tests::history::{self, History, Object};
use tests::wiretap::{Call, sequence, steps};

use crate::process::{Cloud, Process};

/// What a fetch reads of the table.
const READ_ITEMS: [&str; 4] = ["GetItem MEMBER#", "GetItem META", "Query PACK#", "Query REF#"];
/// What a push reads of it: whether to look for uploads, too.
const READ_ALL: [&str; 5] = ["GetItem MEMBER#", "GetItem META", "GetItem UPLOADS", "Query PACK#", "Query REF#"];

/// A process that has taken in all but the last of `commits`, in this many pushes, and what was pushed.
async fn warm(cloud: &Cloud, slug: &str, commits: usize, pushes: usize) -> (Process, History) {
    let process = cloud.process();
    let history = history::linear(7, commits + 1, 20, 2);
    let ids = history.ids();
    let mut have: Vec<&str> = Vec::new();
    for last in ids[..commits].chunks(commits.div_ceil(pushes)).filter_map(|pushed| pushed.last()) {
        process.push_onto(slug, "main", &history, &have, last).await.expect(200);
        have = vec![last];
    }
    // The push that makes a repo doesn't look its name up.
    process.refs(slug).await.expect(200);
    process.tap.take();
    (process, history)
}

fn parent(history: &History) -> &str {
    history.commit(history.last()).parents()[0]
}

/// The calls that `request` makes of a warm process, which are to be the same for a short history, for a long one, and
/// for one that came in many pushes.
async fn of_any_depth(request: impl AsyncFn(&Process, &str, &History)) -> Vec<Call> {
    of_depths(&[("short", 10, 1), ("long", 300, 1), ("many-pushes", 40, 40)], request).await
}

async fn of_depths(depths: &[(&str, usize, usize)], request: impl AsyncFn(&Process, &str, &History)) -> Vec<Call> {
    let cloud = Cloud::start().await;
    let mut first: Option<Vec<Call>> = None;
    for (slug, commits, pushes) in depths {
        let (process, history) = warm(&cloud, slug, *commits, *pushes).await;
        request(&process, slug, &history).await;
        let calls = process.tap.take();
        assert_eq!(sequence(&calls), sequence(first.get_or_insert_with(|| calls.clone())), "{slug}");
    }
    first.expect("a depth")
}

#[tokio::test]
async fn refs_take_one_step() {
    let calls = of_any_depth(async |process, slug, _| drop(process.refs(slug).await.expect(200))).await;
    assert_eq!(sequence(&calls), [["GetItem MEMBER#", "GetItem META", "Query REF#"]]);
    assert_eq!(steps(&calls), 1);
}

#[tokio::test]
async fn an_incremental_push_takes_three_steps() {
    let calls = of_any_depth(async |process, slug, history| {
        process.push_onto(slug, "main", history, &[parent(history)], history.last()).await.expect(200);
    })
    .await;
    assert_eq!(sequence(&calls), [READ_ALL.as_slice(), &["PUT packs/"], &["TransactWriteItems 3"]]);
    assert_eq!(steps(&calls), 3);
}

#[tokio::test]
async fn a_push_of_a_new_branch_takes_three_steps() {
    let calls = of_any_depth(async |process, slug, history| {
        process.push_onto(slug, "other", history, &[parent(history)], history.last()).await.expect(200);
    })
    .await;
    assert_eq!(sequence(&calls), [READ_ALL.as_slice(), &["PUT packs/"], &["TransactWriteItems 3"]]);
}

#[tokio::test]
async fn a_push_that_brings_nothing_writes_nothing() {
    let calls = of_any_depth(async |process, slug, history| {
        process.push_onto(slug, "main", history, &[], parent(history)).await.expect(200);
    })
    .await;
    assert_eq!(sequence(&calls), [READ_ALL]);
}

#[tokio::test]
async fn objects_pushed_ahead_take_three_steps() {
    let calls = of_any_depth(async |process, slug, _| {
        let answer = process.push_objects(slug, &[Object::new("ahead"), Object::new("of time")]).await.expect(200);
        assert_eq!(answer["stored"], 2);
    })
    .await;
    let read_items = ["GetItem MEMBER#", "GetItem META", "Query PACK#"];
    assert_eq!(sequence(&calls), [read_items.as_slice(), &["PUT packs/"], &["TransactWriteItems 1"]]);
}

#[tokio::test]
async fn a_fetch_of_an_increment_takes_three_steps() {
    let calls = of_any_depth(async |process, slug, history| {
        process.push_onto(slug, "main", history, &[parent(history)], history.last()).await.expect(200);
        process.tap.take();
        process.fetch(slug, &[history.last()], &[parent(history)]).await.unwrap().expect(200);
    })
    .await;
    assert_eq!(steps(&calls), 3);
    // Commits and snapshots, those that the client has among them; then the objects that they say it lacks.
    assert!(sequence(&calls)[1].len() <= 3 && sequence(&calls)[2].len() == 1, "{:?}", sequence(&calls));
}

#[tokio::test]
async fn a_fetch_of_nothing_reads_no_pack() {
    let calls = of_any_depth(async |process, slug, history| {
        process.fetch(slug, &[parent(history)], &history.ids()).await.unwrap().expect(200);
    })
    .await;
    assert_eq!(sequence(&calls), [READ_ITEMS]);
}

#[tokio::test]
async fn a_clone_takes_three_steps() {
    // Of one pack each; what lies in many packs takes many reads until they are merged.
    let calls = of_depths(&[("short", 10, 1), ("long", 300, 1)], async |process, slug, history| {
        process.fetch::<_, &str>(slug, &[parent(history)], &[]).await.unwrap().expect(200);
    })
    .await;
    assert_eq!(steps(&calls), 3);
    assert_eq!(calls.iter().filter(|call| call.is_s3()).count(), 2);
}

/// What needs only to know what is there reads no more than that, and nothing of it twice.
#[tokio::test]
async fn questions_about_what_is_there_take_one_step_or_two() {
    let cloud = Cloud::start().await;
    let (process, history) = warm(&cloud, "song", 10, 1).await;
    let questions = [
        (
            Function::Negotiate,
            json!({"want": [parent(&history)], "have": history.ids()}),
            vec!["GetItem MEMBER#", "GetItem META", "Query PACK#"],
        ),
        (
            Function::FilterObjects,
            json!({"object_ids": history.objects.keys().collect::<Vec<_>>()}),
            vec!["GetItem MEMBER#", "GetItem META", "GetItem UPLOADS", "Query PACK#"],
        ),
    ];
    for (number, (function, body, read_items)) in questions.into_iter().enumerate() {
        let ask = async || process.call(function, "song", Encoding::Json, &body).await.unwrap().expect(200);
        ask().await;
        assert_eq!(sequence(&process.tap.take()), std::slice::from_ref(&read_items), "{function:?}");

        let branch = format!("branch-{number}");
        let mut builder = history::Builder::new(number as u64);
        let head = builder.child(&[]);
        cloud.process().push_onto("song", &branch, builder.history(), &[], &head).await.expect(200);
        ask().await;
        assert_eq!(sequence(&process.tap.take()), [read_items, vec!["GET packs/ ranged"]], "{function:?}");
    }
}

/// What the steps of a cold process are beside those of a warm one.
#[tokio::test]
async fn a_cold_process_looks_up_the_name_and_reads_the_index() {
    const READ_NAME: &[&str] = &["GetItem NAME"];
    const READ_INDEX: &[&str] = &["GET packs/ ranged"];
    let cloud = Cloud::start().await;
    let (_, history) = warm(&cloud, "song", 10, 1).await;

    let process = cloud.process();
    process.refs("song").await.expect(200);
    let calls = process.tap.take();
    assert_eq!(sequence(&calls), [READ_NAME, &["GetItem MEMBER#", "GetItem META", "Query REF#"]]);

    let process = cloud.process();
    process.fetch::<_, &str>("song", &[parent(&history)], &[]).await.unwrap().expect(200);
    let calls = process.tap.take();
    assert_eq!(sequence(&calls)[..3], [READ_NAME, &READ_ITEMS, READ_INDEX]);
    assert_eq!(steps(&calls), 5);

    let process = cloud.process();
    process.push_onto("song", "main", &history, &[parent(&history)], history.last()).await.expect(200);
    let calls = process.tap.take();
    let written: [&[&str]; 2] = [&["PUT packs/"], &["TransactWriteItems 3"]];
    assert_eq!(sequence(&calls), [&[READ_NAME, &READ_ALL, READ_INDEX], &written[..]].concat());
}

#[tokio::test]
async fn what_another_process_pushed_is_one_read_each_in_one_step() {
    let cloud = Cloud::start().await;
    let (process, history) = warm(&cloud, "song", 10, 1).await;
    let other = cloud.process();
    let mut head = history.last().to_owned();
    other.push_onto("song", "main", &history, &[parent(&history)], &head).await.expect(200);
    let mut builder = history::Builder::new(1);
    for number in 0..30 {
        head = builder.child(&[]);
        other.push_onto("song", &format!("branch-{number}"), builder.history(), &[], &head).await.expect(200);
    }
    process.tap.take();
    process.fetch("song", &[history.last()], &[history.last()]).await.unwrap().expect(200);
    assert_eq!(sequence(&process.tap.take()), [READ_ITEMS.as_slice(), &["GET packs/ ranged"; 31]]);
    process.fetch("song", &[head], &[history.last()]).await.unwrap().expect(200);
    assert_eq!(steps(&process.tap.take()), 3, "they are known now");
}

#[tokio::test]
async fn a_first_push_makes_the_repo_in_its_one_transaction() {
    let (cloud, history) = (Cloud::start().await, history::linear(7, 10, 20, 2));
    let process = cloud.process();
    let expected: [&[&str]; 3] = [&["GetItem NAME"], &["PUT packs/"], &["TransactWriteItems 6"]];
    process.push_onto("first", "main", &history, &[], history.last()).await.expect(200);
    let calls = process.tap.take();
    assert_eq!(sequence(&calls), [&expected[..1], &[&["GetItem PROFILE"]], &expected[1..]].concat());
    process.push_onto("second", "main", &history, &[], history.last()).await.expect(200);
    assert_eq!(sequence(&process.tap.take()), expected, "a profile is remembered");
}
