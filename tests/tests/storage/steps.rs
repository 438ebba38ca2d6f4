//! How many times a request waits for storage, and what for. Nothing of it grows with the depth of history.

use serde_json::json;
use service::routes::Function;
use tests::encoding::Encoding;
use tests::history::{self, History, Object};
use tests::wiretap::{Call, sequence, steps};

use crate::process::{Cloud, Process, put};
use crate::uploads::Song;

/// What a fetch reads of the table.
const READ_ITEMS: [&str; 4] = ["GetItem MEMBER#", "GetItem META", "Query PACK#", "Query REF#"];
/// What a push and filter-objects read of it: whether to look for uploads, too.
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

/// A short history, a long one, and one that came in many pushes.
const DEPTHS: [(&str, usize, usize); 3] = [("short", 10, 1), ("long", 300, 1), ("many-pushes", 40, 40)];

/// The calls that `request` makes of a warm process, which are to be the same for each depth.
async fn of_any_depth(request: impl AsyncFn(&Process, &str, &History)) -> Vec<Call> {
    let mut calls = of_depths(&DEPTHS, request).await;
    let first = calls.pop().expect("a depth");
    for other in calls {
        assert_eq!(sequence(&other), sequence(&first));
    }
    first
}

/// The calls that `request` makes of a warm process, for each depth.
async fn of_depths(depths: &[(&str, usize, usize)], request: impl AsyncFn(&Process, &str, &History)) -> Vec<Vec<Call>> {
    let cloud = Cloud::start().await;
    let mut all = Vec::new();
    for (slug, commits, pushes) in depths {
        let (process, history) = warm(&cloud, slug, *commits, *pushes).await;
        request(&process, slug, &history).await;
        all.push(process.tap.take());
    }
    all
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
    assert_eq!(sequence(&calls), [READ_ALL.as_slice(), &["PUT packs/"], &["TransactWriteItems 4"]]);
    assert_eq!(steps(&calls), 3);
}

#[tokio::test]
async fn a_push_of_a_new_branch_takes_three_steps() {
    let calls = of_any_depth(async |process, slug, history| {
        process.push_onto(slug, "other", history, &[parent(history)], history.last()).await.expect(200);
    })
    .await;
    // The branch's place is the fourth; one in a folder has one more for each folder.
    assert_eq!(sequence(&calls), [READ_ALL.as_slice(), &["PUT packs/"], &["TransactWriteItems 5"]]);
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
async fn objects_staged_take_three_steps() {
    let calls = of_any_depth(async |process, slug, _| {
        let answer = process.push_objects(slug, &[Object::new("staged"), Object::new("of time")]).await.expect(200);
        assert_eq!(answer["stored"], 2);
    })
    .await;
    let read_items = ["GetItem MEMBER#", "GetItem META", "Query PACK#"];
    assert_eq!(sequence(&calls), [read_items.as_slice(), &["PUT packs/"], &["TransactWriteItems 2"]]);
}

#[tokio::test]
async fn a_fetch_of_an_increment_takes_three_steps() {
    let all = of_depths(&DEPTHS, async |process, slug, history| {
        process.push_onto(slug, "main", history, &[parent(history)], history.last()).await.expect(200);
        process.tap.take();
        process.fetch(slug, &[history.last()], &[parent(history)]).await.unwrap().expect(200);
    })
    .await;
    for calls in all {
        // Commits and snapshots, those that the client has among them; then the objects that they say it lacks. What lies
        // in small packs is remembered.
        assert!(steps(&calls) <= 3, "{:?}", sequence(&calls));
        assert!(calls.iter().filter(|call| call.is_s3()).count() <= 4, "{:?}", sequence(&calls));
    }
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
    let all = of_depths(&[("short", 10, 1), ("long", 300, 1)], async |process, slug, history| {
        process.fetch::<_, &str>(slug, &[parent(history)], &[]).await.unwrap().expect(200);
    })
    .await;
    for calls in all {
        assert!(steps(&calls) <= 3, "{:?}", sequence(&calls));
        assert!(calls.iter().filter(|call| call.is_s3()).count() <= 2, "{:?}", sequence(&calls));
    }
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
        (Function::FilterObjects, json!({"object_ids": history.objects.keys().collect::<Vec<_>>()}), READ_ALL.to_vec()),
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
    // It has not let the user in before, so no list is begun together with these.
    const READ_ACCESS: &[&str] = &["GetItem MEMBER#", "GetItem META"];
    const READ_INDEX: &[&str] = &["GET packs/ ranged"];
    let cloud = Cloud::start().await;
    let (_, history) = warm(&cloud, "song", 10, 1).await;

    let process = cloud.process();
    process.refs("song").await.expect(200);
    let calls = process.tap.take();
    assert_eq!(sequence(&calls), [READ_NAME, READ_ACCESS, &["Query REF#"]]);

    let process = cloud.process();
    process.fetch::<_, &str>("song", &[parent(&history)], &[]).await.unwrap().expect(200);
    let calls = process.tap.take();
    assert_eq!(
        sequence(&calls),
        [READ_NAME, READ_ACCESS, &["Query PACK#", "Query REF#"], READ_INDEX],
        "a small pack is read as a whole"
    );

    let process = cloud.process();
    process.push_onto("song", "main", &history, &[parent(&history)], history.last()).await.expect(200);
    let calls = process.tap.take();
    let written: [&[&str]; 2] = [&["PUT packs/"], &["TransactWriteItems 4"]];
    let lists: &[&str] = &["GetItem UPLOADS", "Query PACK#", "Query REF#"];
    assert_eq!(sequence(&calls), [&[READ_NAME, READ_ACCESS, lists, READ_INDEX], &written[..]].concat());
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
    assert_eq!(sequence(&process.tap.take()), [READ_ITEMS], "they are known now");
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

/// What a request reads of the table that has to know what is there.
const READ_PACKS: [&str; 3] = ["GetItem MEMBER#", "GetItem META", "Query PACK#"];
/// What one reads that only has to know who may ask.
const READ_REPO: [&str; 2] = ["GetItem MEMBER#", "GetItem META"];

/// A process that knows `song` and its base, and where to upload the file of its next commit.
async fn singing(song: &Song) -> (Cloud, Process, String) {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let url = song.begin(&process, "song").await;
    process.tap.take();
    (cloud, process, url)
}

/// The calls that a request makes, step by step.
async fn calls<T>(process: &Process, request: impl Future<Output = T>) -> Vec<Vec<String>> {
    process.tap.take();
    request.await;
    let owned = |step: Vec<&str>| step.into_iter().map(str::to_owned).collect();
    sequence(&process.tap.take()).into_iter().map(owned).collect()
}

#[tokio::test]
async fn presign_takes_two_steps_to_put_and_one_to_get() {
    let song = Song::of(1_000);
    let (_cloud, process, url) = singing(&song).await;
    let ids = [&song.object.id];
    assert_eq!(calls(&process, process.presigned("put", "song", &ids)).await, [&READ_REPO[..], &["PutItem UPLOADS"]]);
    put(&url, song.object.content.clone()).await;
    song.push_tip(&process, "song").await.expect(200);
    assert_eq!(calls(&process, process.presigned("get", "song", &ids)).await, [READ_PACKS]);
}

#[tokio::test]
async fn presign_makes_a_repo_before_anything_is_uploaded_to_it() {
    let cloud = Cloud::start().await;
    let (process, song) = (cloud.process(), Song::of(1_000));
    let url = process.put_url("new", &song.object.id);
    let expected: [&[&str]; 4] =
        [&["GetItem NAME"], &["GetItem PROFILE"], &["TransactWriteItems 3"], &["PutItem UPLOADS"]];
    assert_eq!(calls(&process, url).await, expected);
}

/// The calls by which what was uploaded is taken in.
const TAKE: [&[&str]; 5] =
    [&["LIST uploads/"], &["COPY objects/"], &["PUT packs/"], &["TransactWriteItems 2"], &["DELETE uploads/"]];

#[tokio::test]
async fn an_upload_is_taken_in_five_steps_and_once() {
    let song = Song::of(1_000);
    let (_cloud, process, url) = singing(&song).await;
    let ids = [&song.object.id];
    let filter = async || drop(process.missing("song", &ids).await);
    let nothing: [&[&str]; 3] = [&READ_ALL, TAKE[0], &READ_ALL];
    assert_eq!(calls(&process, filter()).await, nothing, "nothing is there yet");
    put(&url, song.object.content.clone()).await;
    let other = ["0".repeat(64)];
    assert_eq!(calls(&process, process.missing("song", &other)).await, nothing, "it is not what was asked for");
    assert_eq!(calls(&process, filter()).await, [&[&READ_ALL[..]], &TAKE[..], &[&READ_ALL]].concat());
    assert_eq!(calls(&process, filter()).await, [READ_ALL], "it is known now");
    let push = song.push_tip(&process, "song");
    assert_eq!(calls(&process, push).await, [&READ_ALL[..], &["PUT packs/"], &["TransactWriteItems 4"]]);
}

#[tokio::test]
async fn a_push_that_relies_on_an_upload_takes_six_steps_more() {
    let song = Song::of(1_000);
    let (_cloud, process, url) = singing(&song).await;
    put(&url, song.object.content.clone()).await;
    let pushed: [&[&str]; 3] = [&READ_ALL, &["PUT packs/"], &["TransactWriteItems 4"]];
    let push = song.push_tip(&process, "song");
    assert_eq!(calls(&process, push).await, [&[&READ_ALL[..]], &TAKE[..], &pushed[..]].concat());
}

#[tokio::test]
async fn a_wrong_upload_is_deleted_and_so_is_its_copy() {
    let song = Song::of(1_000);
    let (_cloud, process, url) = singing(&song).await;
    put(&url, "wrong").await;
    let expected: [&[&str]; 6] = [&READ_ALL, TAKE[0], TAKE[1], &["DELETE objects/"], &["DELETE uploads/"], &READ_ALL];
    let ids = [&song.object.id];
    assert_eq!(calls(&process, process.missing("song", &ids)).await, expected);
    let nothing: [&[&str]; 3] = [&READ_ALL, TAKE[0], &READ_ALL];
    assert_eq!(calls(&process, process.missing("song", &ids)).await, nothing);
}

/// As many as there are, they are listed once, registered once, and copied side by side.
#[tokio::test]
async fn many_uploads_take_no_more_steps_than_one() {
    let song = Song::of(1_000);
    let (_cloud, process, _) = singing(&song).await;
    let objects: Vec<Object> = (0..20_u8).map(|number| Object::new(vec![number; 100])).collect();
    let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
    let urls = process.presigned("put", "song", &ids).await;
    for object in &objects {
        put(&urls[&object.id], object.content.clone()).await;
    }
    let steps = calls(&process, process.missing("song", &ids)).await;
    assert_eq!(steps[0], READ_ALL);
    assert_eq!(steps[1], TAKE[0]);
    assert_eq!(steps[2], ["COPY objects/"; 20]);
    assert_eq!(steps[3..5], [TAKE[2], TAKE[3]]);
    assert_eq!(steps[5], ["DELETE uploads/"; 20]);
    assert_eq!(steps[6..], [READ_ALL]);
}

#[tokio::test]
async fn an_object_takes_two_steps_and_of_a_large_one_two_parts_are_under_way() {
    let cloud = Cloud::start().await;
    for (slug, size, reads) in [("small", 1_000, 1), ("large", (8 << 20) + 1, 5)] {
        let (process, song) = (cloud.process(), Song::of(size));
        let url = song.begin(&process, slug).await;
        put(&url, song.object.content.clone()).await;
        song.push_tip(&process, slug).await.expect(200);
        let repo_id = process.repo_id(slug).await;
        let large = process.object(&repo_id, &song.object.id);
        let read: &[&str] = &["GET objects/ ranged"];
        let steps = calls(&process, large).await;
        assert_eq!(steps[0], READ_PACKS);
        assert_eq!(steps[1..].concat(), read.repeat(reads));
        assert_eq!(steps.len() - 1, (reads - 1).max(1), "the first two together, and then one as one was used");
        let part = process.object_part(&repo_id, &song.object.id, Some("bytes=5-9"));
        assert_eq!(calls(&process, part).await, [&READ_PACKS[..], read]);

        let packed = song.history.objects.keys().find(|id| **id != song.object.id).expect("another file");
        let packed = process.object(&repo_id, packed);
        assert_eq!(calls(&process, packed).await, [READ_PACKS], "a small pack is remembered");
        let absent = "0".repeat(64);
        assert_eq!(calls(&process, process.object(&repo_id, &absent)).await, [READ_PACKS]);
    }
}

#[tokio::test]
async fn tags_take_three_steps_to_store_and_two_to_list() {
    let song = Song::of(1_000);
    let (_cloud, process, _) = singing(&song).await;
    let tags = |count: usize| -> serde_json::Value {
        (0..count).map(|number| json!({"tag": format!("v{number}"), "commit_id": song.base})).collect()
    };
    let (one, many) = (tags(1), tags(60));
    let known: [&[&str]; 2] = [&READ_PACKS, &["Query TAG#"]];
    let stored: [&[&str]; 3] = [known[0], known[1], &["PutItem TAG#"]];
    assert_eq!(calls(&process, process.post_tags("song", &one)).await, stored);
    assert_eq!(calls(&process, process.post_tags("song", &one)).await, known, "nothing changed");
    let stored: [&[&str]; 3] = [known[0], known[1], &["PutItem TAG#"; 59]];
    assert_eq!(calls(&process, process.post_tags("song", &many)).await, stored, "one of them is there");
    assert_eq!(calls(&process, process.get(Function::Tags, "song")).await, [&READ_REPO[..], &["Query TAG#"]]);
}

#[tokio::test]
async fn a_release_takes_three_steps_to_publish_and_to_retract_and_two_to_list() {
    let song = Song::of(1_000);
    let (_cloud, process, _) = singing(&song).await;
    let release = json!({"tag": "v1", "commit_id": song.base, "channel": "stable"});
    let publish = async || process.post_release("song", &release).await.status;
    let published: [&[&str]; 3] = [&READ_PACKS, &["Query REL#"], &["TransactWriteItems 2"]];
    assert_eq!(calls(&process, publish()).await, published);
    assert_eq!(calls(&process, publish()).await, published[..2], "it is there already");
    assert_eq!(calls(&process, process.get(Function::Releases, "song")).await, [&READ_REPO[..], &["Query REL#"]]);
    let retracted: [&[&str]; 3] = [&READ_REPO, &["GetItem REL#"], &["DeleteItem REL#"]];
    assert_eq!(calls(&process, process.delete_release("song", "v1")).await, retracted);
    assert_eq!(calls(&process, process.delete_release("song", "v1")).await, retracted[..2]);
}

#[tokio::test]
async fn a_request_by_reference_takes_six_steps_more() {
    let song = Song::of(1_000);
    let (_cloud, process, _) = singing(&song).await;
    assert_eq!(calls(&process, process.start_upload("song")).await, [&READ_REPO[..], &["TransactWriteItems 1"]]);
    let body = json!({"object_ids": song.history.objects.keys().take(1).collect::<Vec<_>>()});
    let upload = process.put_body("song", Encoding::Json.encode(&body)).await;
    let request = process.call_by_reference(Function::Negotiate, "song", Encoding::Json, &upload);
    let expected: [&[&str]; 7] = [
        &READ_REPO,
        &["GetItem UPLOAD"],
        &["HEAD uploads/"],
        &["UpdateItem UPLOAD"],
        &["GET uploads/ ranged"],
        &["GetItem MEMBER#", "GetItem META", "Query PACK#"],
        &["DELETE uploads/"],
    ];
    assert_eq!(calls(&process, request).await, expected);
    let again = process.call_by_reference(Function::Negotiate, "song", Encoding::Json, &upload);
    assert_eq!(calls(&process, again).await, expected[..2], "it is used");
}
