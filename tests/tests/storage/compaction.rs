//! Packs are merged while everything else goes on: no client notices, whatever goes wrong and whatever else is at work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use common::pack::PackId;
use compact::Shares;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use service::item_stream::Batch;
use store::StoreError;
use store::upkeep::compact::{Compaction, Limits};
use store::upkeep::files::ORPHANS_KEPT;
use store::upkeep::swap::GRACE;
use tests::cases::some_of;
use tests::history::{self, Builder, History, Object, Pack};
use tests::wiretap::{Call, Fault, Reaction, stop_clock};
use tokio::sync::Notify;

use crate::process::{Cloud, Process, assert_is};
use crate::uploads::Song;

/// After this no request reads packs that were merged before.
const AFTER_GRACE: Duration = GRACE.saturating_add(Duration::from_secs(60));
/// After this no request names what was written before.
const NEXT_DAY: Duration = ORPHANS_KEPT.saturating_add(Duration::from_secs(60));

fn main_at(tip: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("main".to_owned(), tip.to_owned())])
}

/// Five commits; the last is left for later.
fn song() -> History {
    history::linear(3, 5, 6, 2)
}

/// Pushes commits one by one, and with each what no other before it had.
async fn push_each(process: &Process, slug: &str, history: &History, commits: &[String], known: &mut BTreeSet<String>) {
    for commit in commits {
        let mut bundle = history.pack(&[commit]).with_head("main", commit);
        bundle.objects.retain(|object| known.insert(object.id.clone()));
        process.push(slug, "main", false, &bundle).await.expect(200);
    }
}

/// A repo with all but the last commit of the song in packs that a run merges, two of them into another that two were
/// merged into before, which it deletes: so a run makes every call there is.
async fn in_packs(cloud: &Cloud, slug: &str) -> History {
    let history = song();
    let ids = history.ids();
    let process = cloud.process();
    let known = &mut BTreeSet::new();
    push_each(&process, slug, &history, &ids[..2], known).await;
    let done = process.compact(slug, Limits::ALL).await.expect("a run");
    assert_eq!((done.packs_before, done.packs_after), (2, 1));
    push_each(&process, slug, &history, &ids[2..4], known).await;
    history
}

/// A process whose run does all of it.
fn runner(cloud: &Cloud) -> Process {
    cloud.process_later(AFTER_GRACE)
}

async fn run(process: &Process, slug: &str) -> Result<Compaction, StoreError> {
    process.compact(slug, Limits::ALL).await
}

async fn assert_holds(cloud: &Cloud, slug: &str, history: &History, tip: &str) {
    cloud.assert_holds(slug, history, &main_at(tip)).await;
}

fn before_last(history: &History) -> &str {
    history.commit(history.last()).parents()[0]
}

/// What a run calls when nothing is wrong.
async fn calls_of_a_run(cloud: &Cloud) -> Vec<Call> {
    in_packs(cloud, "undisturbed").await;
    let process = runner(cloud);
    let done = run(&process, "undisturbed").await.expect("a run");
    assert_eq!((done.packs_before, done.packs_after, done.packs_merged, done.deleted), (3, 1, 3, 2), "{done:?}");
    let mut calls = process.tap.take();
    // The repo's name is looked up for the test.
    calls.drain(..calls.iter().position(|call| call.name.starts_with("Query")).expect("a query"));
    let kinds: BTreeSet<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    let expected = [
        "DELETE packs/",
        "DeleteItem RETIRED#",
        "DeleteItem SWEEP",
        "GET packs/ ranged",
        "LIST objects/",
        "LIST packs/",
        "PUT packs/",
        "Query DAMAGED#",
        "Query PACK#",
        "Query REF#",
        "Query REPO#",
        "Query RETIRED#",
        "TransactWriteItems 6",
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
    calls
}

/// Later runs leave nothing in S3 but the packs that the repo has.
async fn assert_tidy(cloud: &Cloud, slug: &str) {
    assert!(run(&runner(cloud), slug).await.expect("a run").is_done);
    // Nothing is looked for before something is due.
    let next_day = cloud.process_later(NEXT_DAY * 2);
    for seed in [77, 78] {
        let history = history::linear(seed, 1, 2, 1);
        next_day.push_onto(slug, &format!("side-{seed}"), &history, &[], history.last()).await.expect(200);
    }
    assert!(run(&next_day, slug).await.expect("a run").packs_merged >= 2);
    let last = cloud.process_later(NEXT_DAY * 4);
    let done = run(&last, slug).await.expect("a run");
    assert_eq!(done.retired, 0, "{done:?}");
    assert_eq!(stored_packs(cloud, slug).await as u64, done.packs_after, "{done:?}");
}

async fn stored_packs(cloud: &Cloud, slug: &str) -> usize {
    let repo = cloud.process().repo_id(slug).await;
    cloud.stored(&format!("packs/{repo}/")).await.len()
}

#[tokio::test]
async fn a_run_survives_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let calls = calls_of_a_run(&cloud).await;
    for (position, call) in calls.iter().enumerate() {
        for (number, fault) in Fault::some_passing(position, call).enumerate() {
            let slug = format!("repo-{position}-{number}");
            let history = in_packs(&cloud, &slug).await;
            let process = runner(&cloud);
            process.script_nth(position, move |_| Reaction::Fail(fault));
            let done = run(&process, &slug).await;
            let what = format!("{fault:?} of {}", call.name);
            assert!(done.is_ok_and(|done| done.is_done), "{what}");
            process.tap.heal();
            assert_holds(&cloud, &slug, &history, before_last(&history)).await;
            assert_eq!(run(&process, &slug).await.expect("a run").packs_after, 1, "{what}");
            assert_holds(&cloud, &slug, &history, before_last(&history)).await;
        }
    }
}

#[tokio::test]
async fn a_run_whose_calls_fail_for_good_ends_and_the_next_goes_on() {
    let cloud = Cloud::start().await;
    let calls = calls_of_a_run(&cloud).await;
    for (position, call) in calls.iter().enumerate() {
        let slug = format!("repo-{position}");
        let history = in_packs(&cloud, &slug).await;
        let process = runner(&cloud);
        let mut number = 0;
        process.tap.script(move |call| {
            number += usize::from(call.name.starts_with("Query") || number > 0);
            if number > position { Reaction::Fail(Fault::Refused) } else { Reaction::Forward }
        });
        assert!(matches!(run(&process, &slug).await, Err(StoreError::Unavailable(_))), "{}", call.name);
        assert_holds(&cloud, &slug, &history, before_last(&history)).await;
        let next = runner(&cloud);
        assert_eq!(run(&next, &slug).await.expect("a run").packs_after, 1, "{}", call.name);
        assert_holds(&cloud, &slug, &history, before_last(&history)).await;
    }
}

/// The process is gone when it makes a call, or when that is made and before it hears of it.
#[tokio::test]
async fn after_a_crash_at_any_call_the_next_run_goes_on() {
    let cloud = Cloud::start().await;
    let calls = calls_of_a_run(&cloud).await;
    for (position, call) in some_of(calls.iter().enumerate()) {
        for is_made in [false, true] {
            let slug = format!("repo-{position}-{is_made}");
            let history = in_packs(&cloud, &slug).await;
            let process = runner(&cloud);
            let crash = Arc::new(Notify::new());
            let crashing = Arc::clone(&crash);
            process.script_nth(position, move |_| {
                let gone: BoxFuture<'static, ()> = Box::pin(async move {
                    crashing.notify_one();
                    std::future::pending::<()>().await;
                });
                if is_made { Reaction::Between(Box::pin(async {}), gone) } else { Reaction::After(gone) }
            });
            tokio::select! {
                done = run(&process, &slug) => panic!("{} was not made: {done:?}", call.name),
                () = crash.notified() => {}
            }
            assert_holds(&cloud, &slug, &history, before_last(&history)).await;
            let done = run(&runner(&cloud), &slug).await.expect("a run");
            assert!(done.is_done && done.packs_after == 1, "after a crash at {}: {done:?}", call.name);
            assert_holds(&cloud, &slug, &history, before_last(&history)).await;
            assert_tidy(&cloud, &slug).await;
        }
    }
}

#[tokio::test]
async fn a_push_at_any_point_of_a_run_is_neither_lost_nor_in_the_way() {
    let cloud = Cloud::start().await;
    let calls = calls_of_a_run(&cloud).await;
    for position in some_of(0..calls.len()) {
        let slug = format!("repo-{position}");
        let history = in_packs(&cloud, &slug).await;
        let (process, pusher) = (runner(&cloud), cloud.process());
        // It knows the packs as they were.
        pusher.missing(&slug, &["0".repeat(64)]).await;
        let (name, whole) = (slug.clone(), history.clone());
        process.script_nth(position, move |_| {
            Reaction::After(Box::pin(async move {
                let have = [before_last(&whole)];
                pusher.push_onto(&name, "main", &whole, &have, whole.last()).await.expect(200);
            }))
        });
        let done = run(&process, &slug).await.expect("a run");
        assert!(done.is_done, "{done:?}");
        assert_holds(&cloud, &slug, &history, history.last()).await;
        assert!(run(&process, &slug).await.expect("a run").packs_after <= 2);
        assert_holds(&cloud, &slug, &history, history.last()).await;
    }
}

/// A run that begins and ends between two calls of a push, whose transaction is heard of or not.
#[tokio::test]
async fn a_run_at_any_point_of_a_push_is_not_in_the_way() {
    let cloud = Cloud::start().await;
    for is_heard in [true, false] {
        for position in some_of(0..) {
            let slug = format!("repo-{is_heard}-{position}");
            let history = in_packs(&cloud, &slug).await;
            let (pusher, runner) = (cloud.process(), runner(&cloud));
            pusher.missing(&slug, &["0".repeat(64)]).await;
            let name = slug.clone();
            let has_run = pusher.interrupt(position, is_heard, async move {
                assert!(run(&runner, &name).await.expect("a run").is_done);
            });
            let have = [before_last(&history)];
            pusher.push_onto(&slug, "main", &history, &have, history.last()).await.expect(200);
            pusher.tap.heal();
            assert_holds(&cloud, &slug, &history, history.last()).await;
            assert!(run(&runner_again(&cloud), &slug).await.expect("a run").packs_after <= 2);
            assert_holds(&cloud, &slug, &history, history.last()).await;
            if !has_run.load(Ordering::Relaxed) {
                assert!(position > 3, "a push has some calls");
                break;
            }
        }
    }
}

fn runner_again(cloud: &Cloud) -> Process {
    cloud.process_later(AFTER_GRACE * 3)
}

#[tokio::test]
async fn two_runs_at_once_do_no_harm() {
    let cloud = Cloud::start().await;
    let calls = calls_of_a_run(&cloud).await;
    for position in some_of(0..calls.len()) {
        let slug = format!("repo-{position}");
        let history = in_packs(&cloud, &slug).await;
        let (process, other) = (runner(&cloud), runner(&cloud));
        let name = slug.clone();
        process.script_nth(position, move |_| {
            Reaction::After(Box::pin(async move {
                run(&other, &name).await.expect("the other run");
            }))
        });
        run(&process, &slug).await.expect("a run");
        assert_holds(&cloud, &slug, &history, before_last(&history)).await;
        assert_tidy(&cloud, &slug).await;
    }
}

#[tokio::test]
async fn a_run_that_was_overtaken_leaves_nothing_behind() {
    let cloud = Cloud::start().await;
    let history = in_packs(&cloud, "song").await;
    let (process, other) = (cloud.process(), cloud.process());
    let mut others = Some(other);
    process.tap.script(move |call| match others.take_if(|_| call.is_transaction()) {
        Some(other) => Reaction::After(Box::pin(async move {
            run(&other, "song").await.expect("the other run");
        })),
        None => Reaction::Forward,
    });
    let done = run(&process, "song").await.expect("a run");
    assert_eq!(done.packs_merged, 0, "{done:?}");
    assert!(!done.is_done);
    let repo = process.repo_id("song").await;
    // Five that were merged, and what they were merged into: once.
    assert_eq!(cloud.stored(&format!("packs/{repo}/")).await.len(), 6);
    assert_holds(&cloud, "song", &history, before_last(&history)).await;
}

#[tokio::test]
async fn a_fetch_that_began_before_the_packs_were_merged_ends_well() {
    let cloud = Cloud::start().await;
    for is_cold in [false, true] {
        for position in some_of(0..) {
            let slug = format!("repo-{is_cold}-{position}");
            let history = in_packs(&cloud, &slug).await;
            // By then all packs are so old that one which no item names would be deleted.
            let (reader, other) = (cloud.process(), cloud.process_later(NEXT_DAY));
            if !is_cold {
                reader.missing(&slug, &["0".repeat(64)]).await;
            }
            let name = slug.clone();
            let has_run = reader.interrupt(position, true, async move {
                assert_eq!(run(&other, &name).await.expect("a run").packs_after, 1);
            });
            let tip = before_last(&history);
            for _ in 0..2 {
                let answer = reader.fetch::<_, &str>(&slug, &[tip], &[]).await.expect("a whole answer").expect(200);
                assert_is(&history, &[tip], &Pack::from_value(&answer).unwrap());
            }
            if !has_run.load(Ordering::Relaxed) {
                assert!(position > 5, "a fetch has some calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_process_that_knew_packs_which_are_deleted_reads_what_they_became() {
    let cloud = Cloud::start().await;
    let history = in_packs(&cloud, "song").await;
    let process = cloud.process();
    let tip = before_last(&history);
    let fetch = async || {
        let answer = process.fetch::<_, &str>("song", &[tip], &[]).await.expect("a whole answer").expect(200);
        assert_is(&history, &[tip], &Pack::from_value(&answer).unwrap());
    };
    fetch().await;
    run(&runner(&cloud), "song").await.expect("a run");
    run(&runner_again(&cloud), "song").await.expect("a run");
    let repo = process.repo_id("song").await;
    let stored = cloud.stored(&format!("packs/{repo}/")).await;
    assert_eq!(stored.len(), 1, "the others are deleted");
    process.tap.take();
    fetch().await;
    let read: BTreeSet<String> = process
        .tap
        .take()
        .into_iter()
        .filter(|call| call.name.starts_with("GET packs/"))
        .map(|call| call.key)
        .collect();
    assert_eq!(read, stored.into_keys().collect());
}

/// A list is read page by page. One that was begun before packs were swapped and ended after has packs that are gone, and
/// what they became; that it was so shows only later.
#[tokio::test]
async fn a_list_that_was_read_while_packs_were_swapped_leads_no_request_to_packs_that_are_gone() {
    let cloud = Cloud::start().await;
    for is_cold in [true, false] {
        let slug = format!("song-{is_cold}");
        let history = in_packs(&cloud, &slug).await;
        let tip = before_last(&history);
        let reader = cloud.process();
        let fetch = async || {
            let answer = reader.fetch::<_, &str>(&slug, &[tip], &[]).await.expect("a whole answer").expect(200);
            assert_is(&history, &[tip], &Pack::from_value(&answer).unwrap());
        };
        if !is_cold {
            fetch().await;
        }
        // What a first page would have held.
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let spy = cloud.process();
        let listed = Arc::clone(&seen);
        spy.tap.script(move |call| {
            if call.name != "Query PACK#" {
                return Reaction::Forward;
            }
            let listed = Arc::clone(&listed);
            Reaction::Rewritten(Box::new(move |body| {
                let answer: Value = serde_json::from_slice(&body).expect("JSON");
                *listed.lock().expect("a list") = answer["Items"].as_array().expect("items").clone();
                body
            }))
        });
        spy.missing(&slug, &["0".repeat(64)]).await;
        let merged = cloud.process();
        assert_eq!(run(&merged, &slug).await.expect("a run").packs_merged, 3);

        let mut first_page = Some(seen.lock().expect("a list")[..2].to_vec());
        reader.tap.script(move |call| match first_page.take_if(|_| call.name == "Query PACK#") {
            Some(mut items) => Reaction::Rewritten(Box::new(move |body| {
                let mut answer: Value = serde_json::from_slice(&body).expect("JSON");
                items.extend(answer["Items"].as_array().expect("items").iter().cloned());
                assert_eq!(items.len(), 3, "two that are gone, and what all became");
                answer["Items"] = items.into();
                answer["Count"] = json!(3);
                answer["ScannedCount"] = json!(3);
                answer.to_string().into()
            })),
            None => Reaction::Forward,
        });
        fetch().await;
        fetch().await;
        reader.tap.take();
        fetch().await;
        let sections_again = reader.tap.take().iter().filter(|call| call.name.starts_with("GET packs/")).count();
        assert!(
            sections_again <= 3,
            "the index is made again once, and {sections_again} reads are more than the frames"
        );
        run(&runner_again(&cloud), &slug).await.expect("a run");
        assert_eq!(stored_packs(&cloud, &slug).await, 1);
        fetch().await;
    }
}

/// In the middle of its only frame of commits.
#[tokio::test]
async fn a_damaged_pack_is_named_and_nothing_is_merged() {
    let cloud = Cloud::start().await;
    let history = in_packs(&cloud, "song").await;
    let process = cloud.process();
    let repo = process.repo_id("song").await;
    let stored = cloud.stored(&format!("packs/{repo}/")).await;
    let last = stored.keys().next_back().expect("packs").clone();
    let is_read = last.clone();
    process.tap.script(move |call| {
        let is_meant = call.name.starts_with("GET packs/") && call.key == is_read;
        if is_meant { Reaction::Fail(Fault::FlippedBit(100)) } else { Reaction::Forward }
    });
    let error = run(&process, "song").await.expect_err("damage").to_string();
    let name = last.rsplit('/').next().and_then(|name| name.strip_suffix(".pack")).expect("a pack");
    assert_eq!(error, format!("pack {name}: frame 0 does not have its checksum"));
    assert_eq!(cloud.stored(&format!("packs/{repo}/")).await, stored);
    process.tap.heal();
    assert_eq!(run(&process, "song").await.expect("a run").packs_before, 3);
    assert_holds(&cloud, "song", &history, before_last(&history)).await;
}

/// A large object keeps its key when its pack is merged, and what is staged stays so until a branch reaches it.
#[tokio::test]
async fn what_is_staged_and_what_is_large_outlives_the_packs_that_listed_it() {
    let cloud = Cloud::start().await;
    for is_uploaded in [true, false] {
        let song = Song::of(5_000);
        let slug = if is_uploaded { "uploaded" } else { "pushed" };
        let process = cloud.process();
        let url = song.begin(&process, slug).await;
        if is_uploaded {
            crate::process::put(&url, song.object.content.clone()).await;
            assert!(process.missing(slug, &[&song.object.id]).await.is_empty());
        } else {
            process.push_objects(slug, std::slice::from_ref(&song.object)).await.expect(200);
        }
        for later in [AFTER_GRACE, NEXT_DAY, NEXT_DAY * 2] {
            run(&cloud.process_later(later), slug).await.expect("a run");
            // So that there is something to merge the next time.
            let staged = Object::new(vec![7; later.as_secs() as usize % 1_000]);
            process.push_objects(slug, &[staged]).await.expect(200);
        }
        for process in [&process, &cloud.process()] {
            song.assert_not_served(process, slug).await;
            assert!(process.missing(slug, &[&song.object.id]).await.is_empty(), "a push may rely on it");
        }
        song.push_tip(&process, slug).await.expect(200);
        song.assert_whole(&cloud, slug).await;
        for later in [NEXT_DAY * 3, NEXT_DAY * 5] {
            run(&cloud.process_later(later), slug).await.expect("a run");
            song.assert_whole(&cloud, slug).await;
        }
        let repo = process.repo_id(slug).await;
        assert!(stored_packs(&cloud, slug).await <= 2);
        assert_eq!(cloud.stored(&format!("objects/{repo}/")).await.len(), usize::from(is_uploaded));
        song.assert_served(&process, slug).await;
    }
}

#[tokio::test]
async fn what_no_item_names_is_deleted_after_a_day_and_not_before() {
    let cloud = Cloud::start().await;
    let history = in_packs(&cloud, "song").await;
    let repo = cloud.process().repo_id("song").await;
    let name = PackId::from_parts(1, 2);
    let orphans = [format!("packs/{repo}/{name}.pack"), format!("objects/{repo}/{name}/{}", "a".repeat(64))];
    for orphan in &orphans {
        cloud.put(orphan, "what a push left that was cut off".into()).await;
    }
    cloud.put("packs/another-repo/of-another.pack", "not ours".into()).await;
    let is_there = async || {
        let stored = [cloud.stored(&format!("packs/{repo}/")).await, cloud.stored(&format!("objects/{repo}/")).await];
        orphans.iter().filter(|orphan| stored.iter().any(|stored| stored.contains_key(*orphan))).count()
    };
    let done = run(&runner(&cloud), "song").await.expect("a run");
    assert_eq!((done.deleted, is_there().await), (2, 2), "two packs, and nothing else yet");
    let done = run(&cloud.process_later(NEXT_DAY), "song").await.expect("a run");
    assert_eq!((done.deleted, is_there().await), (3 + 2, 0), "{done:?}");
    assert_eq!(cloud.stored("packs/another-repo/").await.len(), 1);
    assert_holds(&cloud, "song", &history, before_last(&history)).await;
}

/// The item of a pack may be what was lost.
#[tokio::test]
async fn what_may_be_missing_is_not_deleted() {
    let cloud = Cloud::start().await;
    in_packs(&cloud, "song").await;
    let process = cloud.process();
    let repo = process.repo_id("song").await;
    run(&runner(&cloud), "song").await.expect("a run");
    process.tap.take();
    process.fetch::<_, &str>("song", &[process.heads("song").await["main"].as_str()], &[]).await.unwrap().expect(200);
    let read =
        process.tap.take().into_iter().find(|call| call.name == "GET packs/ ranged").expect("a pack is read").key;
    let pack = read.rsplit('/').next().and_then(|name| name.strip_suffix(".pack")).expect("a pack's key");
    cloud.delete_item(&format!("REPO#{repo}"), &format!("PACK#{pack}")).await;
    run(&cloud.process_later(NEXT_DAY), "song").await.expect("a run");
    assert!(cloud.stored(&format!("packs/{repo}/")).await.contains_key(&read), "{read}");
}

#[tokio::test]
async fn what_a_repair_has_set_aside_is_not_deleted() {
    let cloud = Cloud::start().await;
    in_packs(&cloud, "song").await;
    let repo = cloud.process().repo_id("song").await;
    let name = PackId::from_parts(1, 2);
    let aside = [format!("packs/{repo}/{name}.pack"), format!("objects/{repo}/{name}/{}", "a".repeat(64))];
    for key in &aside {
        cloud.put(key, "damaged, and all that there is".into()).await;
    }
    cloud.put_bare_item(&format!("REPO#{repo}"), &format!("DAMAGED#{name}")).await;
    run(&runner(&cloud), "song").await.expect("a run");
    let done = run(&cloud.process_later(NEXT_DAY), "song").await.expect("a run");
    assert!(done.deleted > 0, "it swept: {done:?}");
    for key in &aside {
        assert_eq!(cloud.stored(key).await.len(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_repo_that_is_as_it_should_be_costs_two_reads() {
    let cloud = Cloud::start().await;
    in_packs(&cloud, "song").await;
    let process = cloud.process();
    run(&process, "song").await.expect("a run");
    process.tap.take();
    let done = run(&process, "song").await.expect("a run");
    assert_eq!((done.packs_merged, done.is_done), (0, true));
    let calls: BTreeSet<String> = process.tap.take().into_iter().map(|call| call.name).collect();
    // The test looks for the repo by its name first.
    let names = ["GetItem NAME", "GetItem META"];
    assert_eq!(calls, names.iter().chain(&["Query PACK#", "Query RETIRED#"]).map(|name| (*name).to_owned()).collect());
}

/// The stream says so to a deployment, and a look at the table to a hub on one machine.
#[tokio::test]
async fn a_sweep_is_due_an_hour_after_the_last_merge_and_then_no_more() {
    let cloud = Cloud::start().await;
    in_packs(&cloud, "song").await;
    in_packs(&cloud, "other").await;
    let process = cloud.process();
    let [song, other] = [process.repo_id("song").await, process.repo_id("other").await];
    let due = async |process: &Process| -> BTreeSet<String> {
        let repos = process.hub.store.due_upkeep().await.expect("the store answers");
        repos.into_iter().map(|repo| repo.to_string()).collect()
    };
    assert!(due(&process).await.is_empty());
    let later = runner(&cloud);
    assert_eq!(due(&later).await, BTreeSet::from([song.clone(), other.clone()]));
    assert_eq!(run(&later, "song").await.expect("a run").packs_merged, 3);
    assert_eq!(due(&later).await, BTreeSet::from([other]), "there is something to delete, and not yet");
    let last = runner_again(&cloud);
    assert!(due(&last).await.contains(&song));
    assert_eq!(run(&last, "song").await.expect("a run").retired, 0);
    assert!(!due(&cloud.process_later(NEXT_DAY)).await.contains(&song));
}

/// A history of this many commits, two of three of which change a file, and some of those two.
fn long(commits: usize) -> History {
    let mut builder = Builder::new(6);
    let mut tree = builder.files(12);
    let mut score = builder.bytes(1_500).to_vec();
    let mut parent: Option<String> = None;
    for number in 0..commits {
        if number % 3 > 0 {
            // A file that grows, and one that is replaced.
            score.extend_from_slice(format!("bar {number}: {}\n", number * 7_919).as_bytes());
            tree.insert("score.abc".to_owned(), score.clone().into());
            if number % 6 == 1 {
                let content = builder.bytes(60);
                tree.insert(format!("tracks/{:02}/take-0003.mid", number % 9), content);
            }
        }
        let parents: Vec<&str> = parent.as_deref().into_iter().collect();
        parent = Some(builder.commit(&parents, &tree));
    }
    builder.finish()
}

#[tokio::test]
async fn after_a_thousand_pushes_a_clone_reads_few_objects_and_they_take_no_more_room_than_one_push() {
    let cloud = Cloud::start().await;
    let history = long(1_000);
    let ids = history.ids();
    let process = cloud.process();
    let mut known = BTreeSet::new();
    for some in ids.chunks(20) {
        push_each(&process, "song", &history, some, &mut known).await;
        process.compact("song", Limits::IN_PASSING).await.expect("a run");
    }
    let whole = history.pack_of(history.last()).with_head("main", history.last());
    process.push("whole", "main", false, &whole).await.expect(200);
    drop(whole);

    let cold = cloud.process();
    let answer = cold.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("a whole answer").expect(200);
    let calls = cold.tap.take();
    assert_is(&history, &[history.last()], &Pack::from_value(&answer).unwrap());
    let reads: Vec<&Call> = calls.iter().filter(|call| call.name.starts_with("GET ")).collect();
    let objects: BTreeSet<&str> = reads.iter().map(|call| call.key.as_str()).collect();
    assert!(objects.len() <= 12 && reads.len() <= 36, "{} GETs of {} objects", reads.len(), objects.len());

    let done = run(&cloud.process_later(AFTER_GRACE), "song").await.expect("a run");
    run(&cloud.process_later(AFTER_GRACE * 3), "song").await.expect("a run");
    let bytes = async |slug: &str| {
        let repo = process.repo_id(slug).await;
        cloud.stored(&format!("packs/{repo}/")).await.into_values().sum::<u64>()
    };
    let (pushed_each, pushed_once) = (bytes("song").await, bytes("whole").await);
    println!(
        "{} GETs of {} objects; {} packs of {} bytes; then {} of {pushed_each}; one push has {pushed_once}",
        reads.len(),
        objects.len(),
        done.packs_before,
        done.bytes_before,
        done.packs_after
    );
    assert!(pushed_each * 100 <= pushed_once * 105, "{pushed_each} bytes, and {pushed_once} in one push");
}

/// As it goes in a deployment: every push is followed by a run.
#[tokio::test]
async fn with_a_run_after_each_push_there_are_never_many_packs() {
    let cloud = Cloud::start().await;
    let history = long(150);
    let (process, reader) = (cloud.process(), cloud.process());
    let mut most = 0;
    let mut merged = 0;
    for commit in history.ids() {
        process.push_onto("song", "main", &history, &history.commit(&commit).parents(), &commit).await.expect(200);
        let done = process.compact("song", Limits::IN_PASSING).await.expect("a run");
        most = most.max(done.packs_after);
        merged += done.packs_merged;
        reader.missing("song", &["0".repeat(64)]).await;
    }
    assert!(most <= 12, "{most} packs");
    assert!(merged < 300, "{merged} packs were merged for 150 pushes");
    let answer = reader.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("a whole answer").expect(200);
    assert_is(&history, &[history.last()], &Pack::from_value(&answer).unwrap());
    assert_holds(&cloud, "song", &history, history.last()).await;
}

/// What a run reads is bounded; the next goes on where it stopped.
#[tokio::test]
async fn a_run_that_may_read_little_ends_early_and_the_next_goes_on() {
    let cloud = Cloud::start().await;
    let history = long(200);
    let process = cloud.process();
    push_each(&process, "song", &history, &history.ids(), &mut BTreeSet::new()).await;
    let little = Limits { bytes: 1, ..Limits::ALL };
    let first = process.compact("song", little).await.expect("a run");
    assert_eq!((first.packs_merged, first.is_done), (90, false), "one step");
    let second = process.compact("song", little).await.expect("a run");
    assert_eq!((second.packs_before, second.packs_merged), (111, 90));
    assert_holds(&cloud, "song", &history, history.last()).await;
    assert!(run(&process, "song").await.expect("a run").is_done);
    assert_holds(&cloud, "song", &history, history.last()).await;
}

/// A batch as the table's stream sends it: a pack landed in each of these repos.
fn landed(repos: &[&str]) -> Batch {
    landed_at(repos, None)
}

/// The same at this time, if any.
fn landed_at(repos: &[&str], at: Option<Timestamp>) -> Batch {
    let record = |(number, repo): (usize, &&str)| {
        json!({
            "eventName": "INSERT",
            "dynamodb": {
                "Keys": {"pk": {"S": format!("REPO#{repo}")}, "sk": {"S": format!("PACK#{}", PackId::nil())}},
                "SequenceNumber": format!("sequence-{number}"),
                "ApproximateCreationDateTime": at.map(|at| at.as_millisecond() as f64 / 1_000.0),
            },
        })
    };
    let records: Vec<Value> = repos.iter().enumerate().map(record).collect();
    serde_json::from_value(json!({"Records": records})).expect("an event")
}

/// Writes another owner into the item of a repo.
async fn given_to(cloud: &Cloud, repo: &str, owner: &str) {
    let _clock = stop_clock();
    let client = aws_sdk_dynamodb::Client::new(&cloud.backends.dynamodb);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let update = client.update_item().table_name(&cloud.backends.location.table);
    let update = update.key("pk", text(&format!("REPO#{repo}"))).key("sk", text("META"));
    let update = update.update_expression("SET owner_user_id = :owner");
    update.expression_attribute_values(":owner", text(owner)).send().await.expect("the store answers");
}

#[tokio::test]
async fn one_owners_repos_hold_up_anothers_for_no_longer_than_a_share() {
    let cloud = Cloud::start().await;
    let pusher = cloud.process();
    let history = history::linear(3, 8, 6, 2);
    let mut repos = Vec::new();
    for number in 0..9 {
        let slug = format!("song-{number}");
        push_each(&pusher, &slug, &history, &history.ids(), &mut BTreeSet::new()).await;
        repos.push(pusher.repo_id(&slug).await);
    }
    // The last one is another's.
    let other = repos[8].clone();
    given_to(&cloud, &other, "user-ada").await;
    let process = cloud.process();
    let store = &process.hub.store;
    // Each pack that is written takes a minute. Each look at this clock moves it by a millisecond.
    let ambient = store.ambient().clone();
    process.tap.script(move |call| {
        if call.name.starts_with("PUT packs/") {
            for _ in 0..60_000 {
                let _ = ambient.now();
            }
        }
        Reaction::Forward
    });
    let merged = |calls: &[Call], repo: &str| {
        calls.iter().any(|call| call.key.starts_with(&format!("packs/{repo}/")) && call.name.starts_with("PUT"))
    };
    let shares = Shares::default();
    let names: Vec<&str> = repos.iter().map(String::as_str).collect();
    let sent = Some(store.ambient().now());
    assert!(compact::handle(store, &shares, landed_at(&names, sent), Timestamp::MAX).await.failures.is_empty());
    let calls = process.tap.take();
    let done: Vec<usize> = (0..9).filter(|number| merged(&calls, &repos[*number])).collect();
    // The stream is behind after three minutes, when the owner has had two.
    assert_eq!(done, [0, 1, 2, 8], "what the owner has had, and the other's");
    let later: BTreeSet<String> = store.due_upkeep().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(later, repos[3..8].iter().cloned().collect(), "the others are looked at later");

    // While no owner can be waiting, no owner is deferred; nor when the time is over.
    let now = Some(store.ambient().now());
    assert!(compact::handle(store, &shares, landed_at(&names[3..4], now), Timestamp::MAX).await.failures.is_empty());
    assert!(merged(&process.tap.take(), &repos[3]));
    assert!(compact::handle(store, &shares, landed_at(&names[4..5], sent), Timestamp::MAX).await.failures.is_empty());
    assert!(!merged(&process.tap.take(), &repos[4]));
    for _ in 0..16 * 60_000 {
        let _ = store.ambient().now();
    }
    assert!(compact::handle(store, &shares, landed_at(&names[4..5], sent), Timestamp::MAX).await.failures.is_empty());
    assert!(merged(&process.tap.take(), &repos[4]));
}

#[tokio::test]
async fn the_function_compacts_each_repo_of_a_batch_and_names_those_that_failed() {
    let cloud = Cloud::start().await;
    let pusher = cloud.process();
    let history = history::linear(3, 8, 6, 2);
    let mut repos = Vec::new();
    for slug in ["good", "damaged", "better"] {
        push_each(&pusher, slug, &history, &history.ids(), &mut BTreeSet::new()).await;
        repos.push(pusher.repo_id(slug).await);
    }
    let [good, damaged, better] = [0, 1, 2].map(|number| repos[number].as_str());
    let process = cloud.process();
    let is_damaged = format!("packs/{damaged}/");
    process.tap.script(move |call| {
        let is_meant = call.name.starts_with("GET packs/") && call.key.starts_with(&is_damaged);
        if is_meant { Reaction::Fail(Fault::FlippedBit(100)) } else { Reaction::Forward }
    });
    let store = &process.hub.store;
    let answer =
        compact::handle(store, &Shares::default(), landed(&[good, damaged, good, better]), Timestamp::MAX).await;
    let failed: Vec<&str> = answer.failures.iter().map(|failure| failure.id.as_str()).collect();
    assert_eq!(failed, ["sequence-1"]);
    let reads = |repo: &str, calls: &[Call]| {
        calls.iter().filter(|call| call.name == "Query RETIRED#" && call.key == format!("REPO#{repo}")).count()
    };
    let calls = process.tap.take();
    assert_eq!([good, damaged, better].map(|repo| reads(repo, &calls)), [1, 1, 1], "each once");
    for (slug, packs) in [("good", 1), ("damaged", 8), ("better", 1)] {
        let done = cloud.process().compact(slug, Limits::IN_PASSING).await.expect("a run");
        assert_eq!(done.packs_before, packs, "{slug}");
    }

    process.tap.heal();
    assert!(
        compact::handle(store, &Shares::default(), landed(&[good, damaged, better]), Timestamp::MAX)
            .await
            .failures
            .is_empty()
    );
    // With no time left nothing is begun, and all of it comes again.
    process.tap.take();
    let answer = compact::handle(
        store,
        &Shares::default(),
        landed(&[good, better]),
        store.ambient().now() + Duration::from_secs(1),
    )
    .await;
    assert_eq!(answer.failures[0].id, "sequence-0");
    assert!(process.tap.take().is_empty());
}
