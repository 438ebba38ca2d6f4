//! Staged objects: every process counts them, and none serves them before a branch reaches them; then each does, whatever
//! it knew before and in whichever order it came to know.

use bytes::Bytes;
use serde_json::Value;
use tests::wiretap::{Call, Reaction, Wiretap};
use tokio::sync::watch;

use crate::process::{Cloud, Process, put};
use crate::uploads::Song;

/// The two ways to stage an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    PushObjects,
    Upload,
}

const WAYS: [Way; 2] = [Way::PushObjects, Way::Upload];

/// A repo with the song's base, and its file staged.
async fn staged(cloud: &Cloud, slug: &str, song: &Song, way: Way) -> Process {
    let process = cloud.process();
    song.push_base(&process, slug).await;
    stage(&process, slug, song, way).await;
    process
}

async fn stage(process: &Process, slug: &str, song: &Song, way: Way) {
    match way {
        Way::PushObjects => {
            process.push_objects(slug, std::slice::from_ref(&song.object)).await.expect(200);
        }
        Way::Upload => {
            put(&process.put_url(slug, &song.object.id).await, song.object.content.clone()).await;
            assert!(process.missing(slug, &[&song.object.id]).await.is_empty());
        }
    }
}

async fn assert_hidden(process: &Process, slug: &str, song: &Song) {
    song.assert_not_served(process, slug).await;
    assert!(process.missing(slug, &[&song.object.id]).await.is_empty(), "a push may rely on it");
    song.assert_not_served(process, slug).await;
}

async fn assert_seen(process: &Process, slug: &str, song: &Song, way: Way) {
    song.assert_served(process, slug).await;
    let urls = process.presigned("get", slug, &[&song.object.id]).await;
    assert_eq!(urls.len(), usize::from(way == Way::Upload), "what is one S3 object is got from there");
}

#[tokio::test]
async fn what_is_staged_is_hidden_from_every_process_until_it_is_reached_and_then_from_none() {
    let (cloud, song) = (Cloud::start().await, Song::of(2_000));
    for way in WAYS {
        let slug = &tests::hub::fresh_name("song");
        let sender = cloud.process();
        song.push_base(&sender, slug).await;
        // This one knows the base's pack, and nothing of what comes.
        let old = cloud.process();
        song.assert_not_served(&old, slug).await;
        let older = cloud.process();
        song.assert_not_served(&older, slug).await;

        stage(&sender, slug, &song, way).await;
        let knows_staged = cloud.process();
        for process in [&sender, &old, &knows_staged, &cloud.process()] {
            assert_hidden(process, slug, &song).await;
        }
        let pusher = cloud.process();
        song.push_tip(&pusher, slug).await.expect(200);
        for process in [&pusher, &sender, &old, &older, &knows_staged, &cloud.process()] {
            assert_seen(process, slug, &song, way).await;
        }
        song.assert_whole(&cloud, slug).await;
    }
}

/// Holds back every read of a pack but the one of the pack that was registered last, until that one is there.
fn read_backwards(tap: &Wiretap, last: String) {
    let done = watch::Sender::new(false);
    tap.script(move |call: &Call| {
        if call.name != "GET packs/ ranged" {
            return Reaction::Forward;
        }
        let done = done.clone();
        if call.key == last {
            Reaction::Between(Box::pin(async {}), Box::pin(async move { done.send_modify(|done| *done = true) }))
        } else {
            let mut done = done.subscribe();
            Reaction::After(Box::pin(async move {
                done.wait_for(|done| *done).await.expect("the sender is here");
            }))
        }
    });
}

fn last_pack(process: &Process) -> String {
    let calls = process.tap.take();
    calls.into_iter().rfind(|call| call.name == "PUT packs/").expect("a pack was put").key
}

#[tokio::test]
async fn a_process_that_reads_the_packs_in_another_order_serves_what_is_reached() {
    let (cloud, song) = (Cloud::start().await, Song::of(2_000));
    for way in WAYS {
        for knows_base in [false, true] {
            let slug = &tests::hub::fresh_name("song");
            let sender = staged(&cloud, slug, &song, way).await;
            let process = cloud.process();
            if knows_base {
                hide_packs(&process.tap, 1, 1);
                song.assert_not_served(&process, slug).await;
                process.tap.heal();
            }
            song.push_tip(&sender, slug).await.expect(200);
            read_backwards(&process.tap, last_pack(&sender));
            assert_seen(&process, slug, &song, way).await;
            process.tap.heal();
            assert_seen(&process, slug, &song, way).await;
        }
    }
}

/// Leaves `count` packs from the one of this number on out of every list, as a list of many pages may that was begun
/// before they were there and ended after others were.
fn hide_packs(tap: &Wiretap, first: usize, count: usize) {
    tap.script(move |call| {
        if call.name != "Query PACK#" {
            return Reaction::Forward;
        }
        Reaction::Rewritten(Box::new(move |body: Bytes| {
            let mut answer: Value = serde_json::from_slice(&body).expect("JSON");
            let items = answer["Items"].as_array_mut().expect("items");
            let mut number = 0;
            items.retain(|_| {
                number += 1;
                !(first..first + count).contains(&(number - 1))
            });
            let listed = items.len();
            answer["Count"] = listed.into();
            answer["ScannedCount"] = listed.into();
            answer.to_string().into()
        }))
    });
}

/// What reaches the object is known before the object is.
#[tokio::test]
async fn a_process_that_hears_of_the_branch_before_the_object_serves_it() {
    let (cloud, song) = (Cloud::start().await, Song::of(2_000));
    for way in WAYS {
        let slug = &tests::hub::fresh_name("song");
        let sender = staged(&cloud, slug, &song, way).await;
        song.push_tip(&sender, slug).await.expect(200);
        let process = cloud.process();
        hide_packs(&process.tap, 1, 1);
        song.assert_not_served(&process, slug).await;
        // Half of the list is no reason to send half of the history.
        let answer = process.fetch::<_, &str>(slug, &[&song.tip], &[]).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 500));
        process.tap.heal();
        assert_seen(&process, slug, &song, way).await;
        let answer = process.fetch::<_, &str>(slug, &[&song.tip], &[]).await.expect("a whole answer");
        answer.expect(200);
    }
}

/// The object is staged by one request and in the bundle of a push, in both orders of the two.
#[tokio::test]
async fn what_came_both_staged_and_with_a_branch_is_served_by_every_process() {
    let (cloud, song) = (Cloud::start().await, Song::of(2_000));
    for way in WAYS {
        for is_staged_first in [true, false] {
            let slug = &tests::hub::fresh_name("song");
            let (sender, pusher) = (cloud.process(), cloud.process());
            song.push_base(&sender, slug).await;
            pusher.refs(slug).await.expect(200);
            let bundle = song.history.pack(&[&song.tip]).with_head("main", &song.tip);
            let old = cloud.process();
            song.assert_not_served(&old, slug).await;
            let push = async || drop(pusher.push(slug, "main", false, &bundle).await.expect(200));
            if is_staged_first {
                // It lands when the push, whose plan has it store the object, is about to land.
                let (landed, land) = (watch::Sender::new(false), watch::Sender::new(false));
                let (waits, lands) = (land.clone(), landed.clone());
                pusher.tap.script(move |call| {
                    if !call.is_transaction() {
                        return Reaction::Forward;
                    }
                    lands.send_replace(true);
                    let mut waits = waits.subscribe();
                    Reaction::After(Box::pin(async move { drop(waits.wait_for(|go| *go).await.expect("a sender")) }))
                });
                let staged = async {
                    landed.subscribe().wait_for(|begun| *begun).await.expect("a sender");
                    stage(&sender, slug, &song, way).await;
                    assert_hidden(&old, slug, &song).await;
                    land.send_replace(true);
                };
                tokio::join!(push(), staged);
            } else {
                push().await;
                stage(&sender, slug, &song, way).await;
            }
            for process in [&sender, &pusher, &old, &cloud.process()] {
                process.tap.heal();
                song.assert_served(process, slug).await;
            }
            song.assert_whole(&cloud, slug).await;
        }
    }
}
