//! A purged object is served to no client from the moment it is purged, whatever is at work meanwhile, and no byte of it
//! is left in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fsck::finding::{Problem, Severity};
use futures_util::future::BoxFuture;
use proptest::prelude::{Just, Strategy, prop_oneof};
use serde_json::{Value, json};
use store::upkeep::compact::Limits as Compaction;
use store::upkeep::garbage::{CONDEMNED, Limits};
use store::upkeep::purge::Erased;
use store::upkeep::swap::GRACE;
use tests::cases::some_of;
use tests::client::Answer;
use tests::encoding::Encoding;
use tests::history::{Builder, History, Object, Pack};
use tests::wiretap::{Call, Fault, Reaction};
use tokio::sync::Notify;

use crate::fsck::song::{Song, check};
use crate::process::{Cloud, Process, for_every, put};

/// Then what began before a purge has ended.
const LATER: Duration = GRACE.saturating_add(Duration::from_secs(60));
/// Every pack is full, so that tables are merged and packs are not.
const FULL: Compaction = Compaction { pack_bytes: 0, ..Compaction::ALL };

async fn purge<I: AsRef<str>>(process: &Process, slug: &str, ids: &[I]) -> Answer {
    process.purge(slug, ids).await
}

async fn erase(process: &Process, slug: &str) -> Option<Erased> {
    process.erase(slug).await.expect("a run")
}

/// The keys of everything that S3 has of a repo, unpacked if it is a pack, that has the bytes of an object.
async fn holders(cloud: &Cloud, slug: &str, object: &Object) -> Vec<String> {
    let repo = cloud.process().repo_id(slug).await;
    let mut holders = Vec::new();
    for key in cloud.stored("").await.into_keys().filter(|key| key.contains(&repo)) {
        let stored = cloud.get(&key).await;
        let bytes =
            if key.ends_with(".pack") { zstd::decode_all(&stored[..]).expect("a pack") } else { stored.to_vec() };
        let needle = &object.content[..object.content.len().min(32)];
        if bytes.windows(needle.len()).any(|window| window == needle) {
            holders.push(key);
        }
    }
    holders
}

/// No client is served the object, and everything else is as it was.
async fn assert_unseen(
    cloud: &Cloud,
    slug: &str,
    history: &History,
    heads: &BTreeMap<String, String>,
    object: &Object,
) {
    let process = cloud.process();
    let repo = process.repo_id(slug).await;
    let answer = process.object(&repo, &object.id).await.expect("a whole answer").expect(410);
    assert_eq!(answer["error"], "object_gone");
    assert_eq!(&process.heads(slug).await, heads);
    let want: BTreeSet<&String> = heads.values().collect();
    let want: Vec<&String> = want.into_iter().collect();
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let fetched =
            process.fetch_as::<_, &str>(encoding, slug, &want, &[]).await.expect("a whole answer").expect(200);
        let pack = Pack::from_value(&fetched).expect("a fetch's answer");
        let commits: Vec<String> = history.reachable(&want).into_iter().collect();
        let mut objects = history.objects_of(&commits);
        let is_named = objects.remove(&object.id);
        assert_eq!(pack.object_ids(), objects);
        assert_eq!(pack.commit_ids(), commits.iter().cloned().collect());
        assert_eq!(pack.snapshot_ids(), history.snapshots_of(&commits));
        let named: Vec<&str> = if is_named { vec![&object.id] } else { Vec::new() };
        assert_eq!(fetched["purged"], json!(named));
        for object in &pack.objects {
            assert_eq!(object.content, history.object(&object.id).content);
        }
    }
    // No client is asked for it, and no push may bring it.
    assert_eq!(process.missing(slug, &[&object.id]).await, [] as [&str; 0]);
    let refused = process.push_objects(slug, std::slice::from_ref(object)).await.expect(422);
    assert_eq!(refused["error"], "object_purged");
    let refused = process.presign("put", slug, &[&object.id]).await.expect(422);
    assert_eq!(refused["error"], "object_purged");
}

/// Nothing in S3 has it, and a check that reads every byte finds no damage.
async fn assert_gone(cloud: &Cloud, slug: &str, object: &Object) {
    assert_eq!(holders(cloud, slug, object).await, [] as [&str; 0]);
    for is_deep in [false, true] {
        let report = check(cloud, slug, is_deep).await;
        assert!(report.is_whole(), "deep: {is_deep}, {:?}", report.findings);
        let is_said = |problem: &Problem| matches!(problem, Problem::ObjectPurged { object: said, .. } if said.as_ref().to_string() == object.id);
        assert!(report.findings.iter().any(|finding| is_said(&finding.problem)), "{:?}", report.findings);
    }
}

/// What is left to do about a purge from now on.
async fn erase_to_the_end(cloud: &Cloud, slug: &str) {
    erase(&cloud.process(), slug).await;
    for later in [LATER, LATER * 2, LATER * 3] {
        let process = cloud.process_later(later);
        if erase(&process, slug).await.is_none() {
            return;
        }
    }
    panic!("there is always more to erase");
}

fn object_of(history: &History, commit: &str, path: &str) -> Object {
    let snapshot = history.commit(commit).snapshot_id().expect("a snapshot").to_owned();
    history.object(&history.snapshots[&snapshot].manifest[path])
}

#[tokio::test]
async fn a_purged_object_is_nowhere_and_everything_else_stays() {
    purge_of("as pushed").await;
}

#[tokio::test]
async fn a_purged_object_goes_out_of_a_merged_pack() {
    purge_of("merged").await;
}

#[tokio::test]
async fn a_purged_object_goes_out_of_packs_of_an_index() {
    purge_of("indexed").await;
}

async fn purge_of(state: &str) {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let process = cloud.process();
    match state {
        "merged" => drop(process.compact(song.slug, Compaction::ALL).await.expect("a run")),
        "indexed" => drop(process.compact(song.slug, FULL).await.expect("a run")),
        _ => {}
    }
    let packed = object_of(&song.history, &song.heads["main"], "take-1.mid");
    for object in [&packed, &song.large, &song.staged] {
        assert!(!holders(&cloud, song.slug, object).await.is_empty(), "{state}");
    }
    purge(&process, song.slug, &[&packed.id, &song.large.id, &song.staged.id]).await.expect(200);
    // At once, and before a byte is gone.
    let report = check(&cloud, song.slug, false).await;
    assert!(report.is_whole(), "{:?}", report.findings);
    let is_held = |problem: &Problem| matches!(problem, Problem::PurgedHeld { is_being_erased: true, .. });
    assert!(report.findings.iter().any(|finding| is_held(&finding.problem)), "{:?}", report.findings);
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note));
    let repo = process.repo_id(song.slug).await;
    for object in [&packed, &song.large, &song.staged] {
        assert_eq!(process.object(&repo, &object.id).await.expect("an answer").status, 410, "{state}");
    }
    assert!(process.presigned("get", song.slug, &[&song.large.id]).await.is_empty());

    let done = erase(&process, song.slug).await.expect("something to do");
    assert!(done.packs_rewritten >= 1 && done.looks_again, "{state}: {done:?}");
    assert_eq!((done.files_waiting, done.files_unreadable), (0, 0), "{state}");
    for object in [&packed, &song.large, &song.staged] {
        assert_gone(&cloud, song.slug, object).await;
    }
    let shown = process.purged(song.slug).await;
    assert_eq!((shown["purged"].as_array().expect("a list").len(), &shown["bytes"]), (3, &json!("erased")));
    assert_eq!(shown["purged"][0]["purged_by"], "user-dev");
    erase_to_the_end(&cloud, song.slug).await;
    assert_eq!(process.purged(song.slug).await["bytes"], "gone");
    assert_eq!(erase(&process, song.slug).await, None);

    // And all else goes on.
    for later in [Duration::ZERO, LATER] {
        let process = cloud.process_later(later);
        process.compact(song.slug, Compaction::ALL).await.expect("a run");
        let collected = process.collect(song.slug, Limits::ALL).await.expect("a run");
        assert_eq!(collected.deferred, None, "{state}");
    }
    assert_gone(&cloud, song.slug, &packed).await;
    let fetched =
        process.fetch::<_, &str>(song.slug, &[&song.heads["main"]], &[]).await.expect("an answer").expect(200);
    assert_eq!(fetched["purged"].as_array().expect("a list").len(), 2);
}

/// A repo of three commits, of which the second adds a file that leaks.
struct Leak {
    history: History,
    secret: Object,
    /// Without the commits that follow.
    first: String,
    leaking: String,
    tip: String,
    /// On top of the tip, with the file still.
    next: String,
    /// On top of the tip, without.
    fixed: String,
}

impl Leak {
    fn new() -> Self {
        let mut builder = Builder::new(77);
        let mut tree = builder.files(5);
        let first = builder.commit(&[], &tree);
        let secret = Object::new(builder.bytes(600));
        tree.insert("keys.env".to_owned(), secret.content.clone());
        let leaking = builder.commit(&[&first], &tree);
        tree.insert("more.mid".to_owned(), builder.bytes(300));
        let tip = builder.commit(&[&leaking], &tree);
        tree.insert("yet-more.mid".to_owned(), builder.bytes(300));
        let next = builder.commit(&[&tip], &tree);
        tree.remove("keys.env");
        let fixed = builder.commit(&[&tip], &tree);
        Self { history: builder.finish(), secret, first, leaking, tip, next, fixed }
    }

    async fn push(cloud: &Cloud, slug: &str) -> Self {
        let leak = Self::new();
        let process = cloud.process();
        let mut known: Vec<&str> = Vec::new();
        for commit in [&leak.first, &leak.leaking, &leak.tip] {
            process.push_onto(slug, "main", &leak.history, &known, commit).await.expect(200);
            known = vec![commit];
        }
        leak
    }

    fn main(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("main".to_owned(), self.tip.clone())])
    }
}

#[tokio::test]
async fn a_push_that_brings_what_was_purged_or_names_it_again_is_refused_and_one_without_lands() {
    let cloud = Cloud::start().await;
    let leak = Leak::push(&cloud, "song").await;
    let process = cloud.process();
    purge(&process, "song", &[&leak.secret.id]).await.expect(200);
    let with_head = |commits: &[&String], head: &str| leak.history.pack(commits).with_head("main", head);
    // As the one generation of clients pushes, and as the other: that leaves out what is not missing.
    for mut bundle in [with_head(&[&leak.next], &leak.next), with_head(&[&leak.next], &leak.next)] {
        let answer = process.push("song", "main", false, &bundle).await.expect(422);
        assert_eq!(answer["error"], "object_purged");
        bundle.objects.retain(|object| object.id != leak.secret.id);
        let answer = process.push("song", "main", false, &bundle).await.expect(422);
        assert_eq!(answer["error"], "object_purged");
        let detail = answer["detail"].as_str().expect("a sentence");
        assert!(detail.contains("keys.env") && detail.contains(&leak.secret.id), "{detail}");
        assert!(detail.len() < 330, "clients show 400 characters of the body: {detail}");
    }
    // Who knows what was purged may bring history that names it, as a mirror does.
    let mut bundle = with_head(&[&leak.next], &leak.next);
    bundle.objects.retain(|object| object.id != leak.secret.id);
    let body = json!({
        "bundle": bundle.to_value(), "branch": "other", "force": false, "purged": [leak.secret.id],
    });
    let answer =
        process.call(service::routes::Function::Push, "song", Encoding::Msgpack, &body).await.expect("an answer");
    answer.expect(200);
    process.push("song", "main", false, &with_head(&[&leak.fixed], &leak.fixed)).await.expect(200);
    let heads = BTreeMap::from([("main".to_owned(), leak.fixed.clone()), ("other".to_owned(), leak.next.clone())]);
    assert_unseen(&cloud, "song", &leak.history, &heads, &leak.secret).await;
    erase(&process, "song").await;
    assert_gone(&cloud, "song", &leak.secret).await;
    assert_unseen(&cloud, "song", &leak.history, &heads, &leak.secret).await;
    // What was not purged is no less missing for that.
    let mut bundle =
        leak.history.pack(&leak.history.between::<_, &str>(&[&leak.tip], &[])).with_head("main", &leak.tip);
    bundle.objects.retain(|object| object.id != leak.secret.id);
    let body = json!({"bundle": bundle.to_value(), "branch": "main", "force": false, "purged": [leak.secret.id]});
    let answer =
        process.call(service::routes::Function::Push, "other", Encoding::Msgpack, &body).await.expect("an answer");
    assert_eq!(answer.expect(422)["error"], "missing_references");
}

/// On one machine a purge wakes the process that was asked, which may end before it has erased anything.
#[tokio::test]
async fn bytes_of_a_purge_that_no_run_has_looked_for_are_found_by_the_next_process() {
    let cloud = Cloud::start().await;
    let leak = Leak::push(&cloud, "song").await;
    let process = cloud.process();
    purge(&process, "song", &[&leak.secret.id]).await.expect(200);
    let id = process.repo_id("song").await;
    let next = cloud.process();
    let due = async || next.hub.store.due_upkeep().await.unwrap().iter().any(|due| due.as_str() == id);
    assert!(due().await);
    erase(&next, "song").await.expect("something was purged");
    assert!(!due().await);
}

#[tokio::test]
async fn only_the_owner_purges_and_it_can_be_done_beforehand_and_again() {
    let cloud = Cloud::start().await;
    let leak = Leak::push(&cloud, "song").await;
    let process = cloud.process();
    let body = json!({"objects": [leak.secret.id]});
    let path = "/api/repos/dev/song/purge";
    assert_eq!(process.post_as("user-other", "song", path, &body).await.status, 403);
    assert_eq!(process.object(&process.repo_id("song").await, &leak.secret.id).await.expect("an answer").status, 200);
    for (wrong, error) in [
        (json!({"objects": []}), "invalid"),
        (json!({"objects": ["?"]}), "malformed_body"),
        (json!({"objects": vec!["0".repeat(64); 91]}), "too_many"),
        (json!({"objects": [leak.secret.id], "reason": "x".repeat(201)}), "invalid"),
    ] {
        let answer = process.post_as("user-dev", "song", path, &wrong).await;
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).expect("JSON")["error"], error, "{wrong}");
    }
    let never = Object::new("what was never pushed");
    let first = purge(&process, "song", &[&never.id]).await.expect(200);
    assert_eq!(purge(&process, "song", &[&never.id]).await.expect(200), first, "the same again");
    assert_unseen(&cloud, "song", &leak.history, &leak.main(), &never).await;
    purge(&process, "song", &[&leak.secret.id, &never.id]).await.expect(200);
    assert_unseen(&cloud, "song", &leak.history, &leak.main(), &leak.secret).await;
}

/// What an erasure calls when nothing is wrong, from the first look whether there is anything to erase.
async fn calls_of(cloud: &Cloud) -> Vec<Call> {
    Leak::push(cloud, "undisturbed").await;
    let process = cloud.process();
    purge(&process, "undisturbed", &[&Leak::new().secret.id]).await.expect(200);
    let process = cloud.process();
    assert_eq!(erase(&process, "undisturbed").await.expect("something").packs_rewritten, 1);
    let mut calls = process.tap.take();
    calls.drain(..calls.iter().position(|call| call.name == "GetItem PURGE").expect("a read"));
    let kinds: BTreeSet<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    let expected = BTreeSet::from([
        "DELETE packs/",
        "GET packs/ ranged",
        "GetItem PURGE",
        "LIST versions of objects/",
        "LIST versions of packs/",
        "LIST versions of uploads/",
        "PUT packs/",
        "PutItem SWEEP",
        "Query DAMAGED#",
        "Query PACK#",
        "Query PURGED#",
        "Query REPO#",
        "Query RETIRED#",
        "TransactWriteItems 4",
        "UpdateItem PURGE",
    ]);
    assert_eq!(kinds, expected);
    calls
}

/// Has one call of an erasure go as the test says.
fn script_nth(process: &Process, position: usize, reaction: impl FnOnce(&Call) -> Reaction + Send + 'static) {
    let (mut number, mut has_begun, mut reaction) = (0, false, Some(reaction));
    process.tap.script(move |call| {
        has_begun |= call.name == "GetItem PURGE";
        number += usize::from(has_begun);
        match reaction.take_if(|_| number == position + 1) {
            Some(reaction) => reaction(call),
            None => Reaction::Forward,
        }
    });
}

#[tokio::test]
async fn an_erasure_survives_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    for (position, call) in calls_of(&cloud).await.into_iter().enumerate() {
        for (number, fault) in Fault::some_passing(position, &call).enumerate() {
            let slug = format!("repo-{position}-{number}");
            let leak = Leak::push(&cloud, &slug).await;
            purge(&cloud.process(), &slug, &[&leak.secret.id]).await.expect(200);
            let process = cloud.process();
            script_nth(&process, position, move |_| Reaction::Fail(fault));
            let done = process.erase(&slug).await;
            process.tap.heal();
            assert!(done.is_ok(), "{fault:?} of {}: {done:?}", call.name);
            assert_unseen(&cloud, &slug, &leak.history, &leak.main(), &leak.secret).await;
            let held = holders(&cloud, &slug, &leak.secret).await;
            assert_eq!(held, [] as [&str; 0], "{fault:?} of {}", call.name);
        }
    }
}

/// The process is gone when it makes a call, or when that is made and before it hears of it.
#[tokio::test]
async fn after_a_crash_at_any_call_the_next_erasure_goes_on() {
    let cloud = Cloud::start().await;
    for (position, call) in some_of(calls_of(&cloud).await.into_iter().enumerate()) {
        for is_made in [false, true] {
            let slug = &format!("song-{position}-{is_made}");
            let leak = Leak::push(&cloud, slug).await;
            purge(&cloud.process(), slug, &[&leak.secret.id]).await.expect(200);
            let process = cloud.process();
            let crash = Arc::new(Notify::new());
            let crashing = Arc::clone(&crash);
            script_nth(&process, position, move |_| {
                let gone: BoxFuture<'static, ()> = Box::pin(async move {
                    crashing.notify_one();
                    std::future::pending::<()>().await;
                });
                if is_made { Reaction::Between(Box::pin(async {}), gone) } else { Reaction::After(gone) }
            });
            tokio::select! {
                done = process.erase(slug) => panic!("{} was not made: {done:?}", call.name),
                () = crash.notified() => {}
            }
            assert_unseen(&cloud, slug, &leak.history, &leak.main(), &leak.secret).await;
            erase_to_the_end(&cloud, slug).await;
            assert_gone(&cloud, slug, &leak.secret).await;
            assert_unseen(&cloud, slug, &leak.history, &leak.main(), &leak.secret).await;
        }
    }
}

/// Something else is purged and erased before a call of a merge, or after its transaction and in place of its answer.
#[tokio::test]
async fn a_merge_at_any_point_of_a_purge_does_not_write_the_bytes_back() {
    let cloud = Cloud::start().await;
    for limits in [Compaction::ALL, FULL] {
        for position in some_of(0..) {
            let slug = &format!("song-{}-{position}", limits.pack_bytes);
            let leak = Leak::push(&cloud, slug).await;
            let (merger, other) = (cloud.process(), cloud.process());
            let (secret, name) = (leak.secret.id.clone(), slug.clone());
            let is_done = merger.interrupt(position, true, async move {
                purge(&other, &name, &[&secret]).await.expect(200);
                erase(&other, &name).await;
            });
            // It may have read what is deleted since, and then it ends.
            let merged = merger.compact(slug, limits).await;
            merger.tap.heal();
            if !is_done.load(Ordering::Relaxed) {
                assert!(position > 5, "a merge has some calls");
                break;
            }
            assert_unseen(&cloud, slug, &leak.history, &leak.main(), &leak.secret).await;
            // A merge that has landed wakes the next erasure, and so does a pack of a push.
            erase(&cloud.process(), slug).await;
            assert_eq!(holders(&cloud, slug, &leak.secret).await, [] as [&str; 0], "{position}: {merged:?}");
            erase_to_the_end(&cloud, slug).await;
            cloud.process().compact(slug, Compaction::ALL).await.expect("a run");
            assert_gone(&cloud, slug, &leak.secret).await;
        }
    }
}

/// The other way round: packs are merged before a call of an erasure.
#[tokio::test]
async fn an_erasure_at_any_point_of_a_merge_finds_what_that_has_made() {
    let cloud = Cloud::start().await;
    let calls = calls_of(&cloud).await.len();
    for limits in [Compaction::ALL, FULL] {
        for position in some_of(0..calls) {
            let slug = &format!("song-{}-{position}", limits.pack_bytes);
            let leak = Leak::push(&cloud, slug).await;
            purge(&cloud.process(), slug, &[&leak.secret.id]).await.expect(200);
            let (process, merger) = (cloud.process(), cloud.process());
            let name = slug.clone();
            script_nth(&process, position, move |_| {
                Reaction::After(Box::pin(async move {
                    merger.compact(&name, limits).await.expect("a run");
                }))
            });
            erase(&process, slug).await;
            process.tap.heal();
            erase(&cloud.process(), slug).await;
            assert_eq!(holders(&cloud, slug, &leak.secret).await, [] as [&str; 0], "{position}");
            assert_unseen(&cloud, slug, &leak.history, &leak.main(), &leak.secret).await;
            erase_to_the_end(&cloud, slug).await;
            assert_gone(&cloud, slug, &leak.secret).await;
        }
    }
}

/// The object is purged and erased between any two calls of a push that brings it. The push is as good as one that came before the
/// purge, or it is refused; either way no client is served the object, and nothing of it is left.
#[tokio::test]
async fn a_push_of_the_object_at_any_point_of_a_purge_does_not_bring_it_back() {
    let cloud = Cloud::start().await;
    for (is_heard, staged) in [(true, false), (false, false), (true, true)] {
        for position in some_of(0..) {
            let slug = &format!("song-{is_heard}-{staged}-{position}");
            let leak = Leak::new();
            let process = cloud.process();
            process.push_onto(slug, "main", &leak.history, &[], &leak.first).await.expect(200);
            let (pusher, other) = (cloud.process(), cloud.process());
            let (secret, name) = (leak.secret.id.clone(), slug.clone());
            let is_done = pusher.interrupt(position, is_heard, async move {
                purge(&other, &name, &[&secret]).await.expect(200);
                erase(&other, &name).await;
            });
            let answer = match staged {
                true => pusher.push_objects(slug, std::slice::from_ref(&leak.secret)).await,
                false => pusher.push_onto(slug, "main", &leak.history, &[&leak.first], &leak.leaking).await,
            };
            pusher.tap.heal();
            if !is_done.load(Ordering::Relaxed) {
                assert!(position > 2, "a push has some calls");
                break;
            }
            assert!([200, 422].contains(&answer.status), "{position}: {}", answer.status);
            let has_landed = answer.status == 200 && !staged;
            let tip = if has_landed { &leak.leaking } else { &leak.first };
            let heads = BTreeMap::from([("main".to_owned(), tip.clone())]);
            assert_unseen(&cloud, slug, &leak.history, &heads, &leak.secret).await;
            // Its pack has landed, and wakes this.
            erase(&cloud.process(), slug).await;
            let named: Vec<String> = holders(&cloud, slug, &leak.secret).await;
            let orphans = usize::from(answer.status == 422);
            assert!(named.len() <= orphans, "{position}: {named:?}");
            erase_to_the_end(&cloud, slug).await;
            assert_gone(&cloud, slug, &leak.secret).await;
            assert_unseen(&cloud, slug, &leak.history, &heads, &leak.secret).await;
            // And the history goes on from there.
            let onto = leak.history.between(&[&leak.fixed], &[tip]);
            let mut bundle = leak.history.pack(&onto).with_head("main", &leak.fixed);
            bundle.objects.retain(|object| object.id != leak.secret.id);
            let body = json!({
                "bundle": bundle.to_value(), "branch": "main", "force": false, "purged": [leak.secret.id],
            });
            let answer = cloud.process().call(service::routes::Function::Push, slug, Encoding::Msgpack, &body).await;
            answer.expect("an answer").expect(200);
        }
    }
}

/// What is uploaded through a URL of before the purge is never taken, and goes.
#[tokio::test]
async fn an_upload_through_a_url_of_before_is_not_taken() {
    let cloud = Cloud::start().await;
    let leak = Leak::push(&cloud, "song").await;
    let process = cloud.process();
    let object = Object::new(Builder::new(4).bytes(70_000));
    let url = process.put_url("song", &object.id).await;
    put(&url, object.content.clone()).await;
    purge(&process, "song", &[&object.id]).await.expect(200);
    assert_eq!(holders(&cloud, "song", &object).await.len(), 1);
    erase(&process, "song").await;
    assert_eq!(holders(&cloud, "song", &object).await, [] as [&str; 0]);
    put(&url, object.content.clone()).await;
    assert_eq!(process.missing("song", &[&object.id]).await, [] as [&str; 0]);
    assert_eq!(process.object(&process.repo_id("song").await, &object.id).await.expect("an answer").status, 410);
    erase_to_the_end(&cloud, "song").await;
    assert_eq!(holders(&cloud, "song", &object).await, [] as [&str; 0]);
    assert_unseen(&cloud, "song", &leak.history, &leak.main(), &object).await;
}

/// The bytes lie in packs that were merged, in one that is condemned, and in one that no item has named yet.
#[tokio::test]
async fn what_no_item_names_goes_as_soon_as_no_request_can_name_it() {
    let cloud = Cloud::start().await;
    let leak = Leak::push(&cloud, "song").await;
    let process = cloud.process();
    process.compact("song", Compaction::ALL).await.expect("a run");
    assert_eq!(holders(&cloud, "song", &leak.secret).await.len(), 2, "the old pack waits for requests under way");
    // As a push that is cut off leaves one.
    let repo = process.repo_id("song").await;
    let key = holders(&cloud, "song", &leak.secret).await.pop().expect("a pack");
    cloud.put(&format!("packs/{repo}/01JJJJJJJJJJJJJJJJJJJJJJJJ.pack"), cloud.get(&key).await).await;
    purge(&process, "song", &[&leak.secret.id]).await.expect(200);
    let done = erase(&process, "song").await.expect("something to do");
    assert_eq!((done.packs_rewritten, done.files_waiting), (1, 1), "{done:?}");
    assert_eq!(holders(&cloud, "song", &leak.secret).await, [format!("packs/{repo}/01JJJJJJJJJJJJJJJJJJJJJJJJ.pack")]);
    let done = erase(&cloud.process_later(LATER), "song").await.expect("something to do");
    assert_eq!((done.files_deleted, done.files_waiting, done.looks_again), (1, 0, true), "{done:?}");
    let done = erase(&cloud.process_later(LATER * 2), "song").await.expect("something to do");
    assert_eq!(done, Erased::default());
    assert_gone(&cloud, "song", &leak.secret).await;

    // Condemned, and purged then.
    let leak = Leak::push(&cloud, "other").await;
    let back = leak.history.pack(&[&leak.first]).with_head("main", &leak.first);
    process.push("other", "main", true, &back).await.expect(200);
    let collected = cloud.process_later(Duration::ZERO).collect("other", Limits::ALL).await.expect("a run");
    assert!(collected.packs_condemned > 0, "{collected:?}");
    purge(&process, "other", &[&leak.secret.id]).await.expect(200);
    erase(&process, "other").await;
    assert_eq!(holders(&cloud, "other", &leak.secret).await, [] as [&str; 0]);
    for later in [CONDEMNED + LATER, CONDEMNED * 2 + LATER * 2] {
        let process = cloud.process_later(later);
        assert_eq!(process.collect("other", Limits::ALL).await.expect("a run").deferred, None);
        process.compact("other", Compaction::ALL).await.expect("a run");
    }
    assert_gone(&cloud, "other", &leak.secret).await;
}

/// A clone that has listed the packs before is whole, or it is cut off and can be made again.
#[tokio::test]
async fn a_clone_in_flight_is_whole_or_no_clone() {
    let cloud = Cloud::start().await;
    for position in some_of(0..) {
        let slug = &format!("song-{position}");
        let leak = Leak::push(&cloud, slug).await;
        let (reader, other) = (cloud.process(), cloud.process());
        let (secret, name) = (leak.secret.id.clone(), slug.clone());
        let is_done = reader.interrupt(position, true, async move {
            purge(&other, &name, &[&secret]).await.expect(200);
            erase(&other, &name).await;
        });
        let answer = reader.fetch::<_, &str>(slug, &[&leak.tip], &[]).await;
        reader.tap.heal();
        if let Ok(answer) = answer
            && answer.status == 200
        {
            let mut fetched = Pack::from_value(&answer.expect(200)).expect("an answer").object_ids();
            fetched.insert(leak.secret.id.clone());
            let all = leak.history.objects_of(&leak.history.reachable(&[&leak.tip]));
            assert_eq!(fetched, all, "{position}");
        }
        assert_eq!(reader.fetch::<_, &str>(slug, &[&leak.tip], &[]).await.expect("a whole answer").status, 200);
        if !is_done.load(Ordering::Relaxed) {
            assert!(position > 3, "a fetch has some calls");
            break;
        }
    }
}

#[tokio::test]
async fn two_erasures_at_once_do_no_harm() {
    let cloud = Cloud::start().await;
    for position in some_of(0..calls_of(&cloud).await.len()) {
        let slug = &format!("song-{position}");
        let leak = Leak::push(&cloud, slug).await;
        purge(&cloud.process(), slug, &[&leak.secret.id]).await.expect(200);
        let (process, other) = (cloud.process(), cloud.process());
        let name = slug.clone();
        script_nth(&process, position, move |_| {
            Reaction::After(Box::pin(async move {
                erase(&other, &name).await;
            }))
        });
        erase(&process, slug).await;
        process.tap.heal();
        assert_eq!(holders(&cloud, slug, &leak.secret).await, [] as [&str; 0], "{position}");
        erase_to_the_end(&cloud, slug).await;
        assert_gone(&cloud, slug, &leak.secret).await;
        assert_unseen(&cloud, slug, &leak.history, &leak.main(), &leak.secret).await;
    }
}

/// What happens to a repo.
#[derive(Clone, Copy, Debug)]
enum Event {
    Push,
    Merge,
    MergeTables,
    Collect,
    Purge(u8),
    Erase,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Push),
        1 => Just(Event::Merge),
        1 => Just(Event::MergeTables),
        1 => Just(Event::Collect),
        2 => proptest::prelude::any::<u8>().prop_map(Event::Purge),
        1 => Just(Event::Erase),
    ]
}

/// Whatever is pushed, merged, collected and purged in whatever order: what was purged is not served from then on and is nowhere once
/// it is erased, and all else is as it was pushed.
#[test]
fn for_every_order_what_was_purged_is_gone_and_nothing_else_is() {
    static REPOS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    for_every(24, proptest::collection::vec(event(), 1..14), Cloud::start, async |cloud, events| {
        let number = REPOS.fetch_add(1, Ordering::Relaxed);
        let slug = format!("song-{number}");
        // Each commit takes a file away and adds another, so that no later one names what was purged.
        let mut builder = Builder::new(number as u64);
        let mut tree = builder.files(2);
        let mut commits: Vec<String> = Vec::new();
        for index in 0..14 {
            tree.retain(|path, _| !path.starts_with("take-"));
            tree.insert(format!("take-{index}.mid"), builder.bytes(200));
            let parents: Vec<&str> = commits.last().map(String::as_str).into_iter().collect();
            let commit = builder.commit(&parents, &tree);
            commits.push(commit);
        }
        let history = builder.finish();
        let (mut pushed, mut purged): (usize, BTreeSet<usize>) = (0, BTreeSet::new());
        cloud.process().push_onto(&slug, "main", &history, &[], &commits[0]).await.expect(200);
        for event in events {
            let process = cloud.process();
            match event {
                Event::Push if pushed + 1 < commits.len() => {
                    let (from, to) = (&commits[pushed], &commits[pushed + 1]);
                    process.push_onto(&slug, "main", &history, &[from], to).await.expect(200);
                    pushed += 1;
                }
                Event::Push => {}
                Event::Merge => drop(process.compact(&slug, Compaction::ALL).await.expect("a run")),
                Event::MergeTables => drop(process.compact(&slug, FULL).await.expect("a run")),
                Event::Collect => {
                    assert_eq!(process.collect(&slug, Limits::ALL).await.expect("a run").deferred, None);
                }
                Event::Purge(which) => {
                    let which = usize::from(which) % (pushed + 1);
                    let object = object_of(&history, &commits[which], &format!("take-{which}.mid"));
                    purge(&process, &slug, &[&object.id]).await.expect(200);
                    purged.insert(which);
                }
                Event::Erase => drop(erase(&process, &slug).await),
            }
            let fetched = process.fetch::<_, &str>(&slug, &[&commits[pushed]], &[]).await;
            let fetched = Pack::from_value(&fetched.expect("a whole answer").expect(200)).expect("an answer");
            let mut objects = history.objects_of(&history.reachable(&[&commits[pushed]]));
            for which in &purged {
                objects.remove(&object_of(&history, &commits[*which], &format!("take-{which}.mid")).id);
            }
            assert_eq!(fetched.object_ids(), objects);
        }
        erase(&cloud.process(), &slug).await;
        for which in &purged {
            let object = object_of(&history, &commits[*which], &format!("take-{which}.mid"));
            assert_eq!(holders(cloud, &slug, &object).await, [] as [&str; 0]);
        }
        assert!(check(cloud, &slug, true).await.is_whole());
    });
}
