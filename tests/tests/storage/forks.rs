//! Forks: what they begin with, what they keep to themselves, and that no repo of a pool harms another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fsck::repair::repair;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};
use service::routes::Function;
use store::upkeep::compact::Limits as Compaction;
use store::upkeep::garbage::Limits;
use tests::cases::some_of;
use tests::client::Answer;
use tests::history::{self, Builder, History, Object, Pack};
use tests::wiretap::{Fault, Reaction};

use crate::fsck::song;
use crate::process::{Cloud, Process, USER, for_every, put};

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn fork(process: &Process, slug: &str, name: &str) -> Answer {
    process.at_repo(Some(USER), Method::POST, slug, "/forks", &json!({"name": name})).await
}

async fn delete(process: &Process, slug: &str) {
    process.at_repo(Some(USER), Method::DELETE, slug, "", &Value::Null).await.expect(200);
}

/// Runs the upkeep of a repo, as the end of its item wakes it.
async fn tidy(process: &Process, id: &str) {
    compact::repo(&process.hub.store, &id.parse().unwrap()).await.expect("a run");
}

/// The keys of all items, but those of users, and claims, which end by themselves.
async fn items(cloud: &Cloud) -> BTreeSet<String> {
    let (process, mut keys, mut after) = (cloud.process(), BTreeSet::new(), None);
    loop {
        let page = process.hub.store.scan(after).await.unwrap();
        keys.extend(
            page.entries.iter().map(|item| format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap())),
        );
        after = page.next;
        if after.is_none() {
            keys.retain(|key| {
                !["USER#", "HANDLE#", "PLACES#"].iter().any(|prefix| key.starts_with(prefix)) || key.contains(" REPO#")
            });
            return keys;
        }
    }
}

async fn is_whole(cloud: &Cloud, slug: &str) {
    assert_eq!(song::check(cloud, slug, true).await.findings, [], "{slug}");
}

#[tokio::test]
async fn a_fork_is_what_the_repo_was_and_copies_no_bytes() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(1, 8, 4, 2);
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], &ids[3]).await.expect(200);
    process.push_onto("song", "side", &history, &[&ids[3]], &ids[5]).await.expect(200);
    process.post_tags("song", &json!([{"tag": "v1", "commit_id": ids[2]}])).await.expect(200);
    process.post_release("song", &json!({"tag": "v1", "commit_id": ids[2]})).await.expect(201);
    let stored = cloud.stored("").await;

    let made = fork(&process, "song", "My fork").await.expect(201);
    assert_eq!([&made["slug"], &made["name"], &made["forked_from"]], ["my-fork", "My fork", "dev/song"]);
    assert_eq!(cloud.stored("").await, stored, "no bytes are copied");
    let heads = process.heads("song").await;
    for slug in ["song", "my-fork"] {
        cloud.assert_holds(slug, &history, &heads).await;
        is_whole(&cloud, slug).await;
    }
    for function in [Function::Tags, Function::Releases] {
        let [of, fork] =
            [process.get(function, "song").await.expect(200), process.get(function, "my-fork").await.expect(200)];
        assert_eq!(of, fork);
        assert_ne!(of.to_string().find("v1"), None);
    }
    // Each goes its own way.
    process.push_onto("my-fork", "main", &history, &[&ids[3]], &ids[7]).await.expect(200);
    let other = history::linear(2, 2, 1, 1);
    process.push_onto("song", "other", &other, &[], other.last()).await.expect(200);
    assert_eq!(process.heads("my-fork").await["main"], ids[7]);
    assert_eq!(process.heads("song").await["main"], ids[3]);
    assert!(!process.heads("my-fork").await.contains_key("other"));
    process.fetch::<_, &str>("song", &[&ids[7]], &[]).await.unwrap().refused(404, "unknown_commit");
    process.fetch::<_, &str>("my-fork", &[other.last()], &[]).await.unwrap().refused(404, "unknown_commit");
    for slug in ["song", "my-fork"] {
        is_whole(&cloud, slug).await;
    }
    // A fork of a fork is of the same pool.
    let made = fork(&process, "my-fork", "another").await.expect(201);
    assert_eq!(made["forked_from"], "dev/my-fork");
    assert_eq!(process.heads("another").await, process.heads("my-fork").await);
}

/// What was pushed and never reached, what a forced push has left, and what was purged.
#[tokio::test]
async fn nothing_can_be_had_through_a_fork_that_no_name_of_the_repo_reaches() {
    let cloud = Cloud::start().await;
    for (number, state) in ["pushed", "merged", "indexed", "collected", "purged"].into_iter().enumerate() {
        let (slug, name) = (format!("song-{number}"), format!("fork-{number}"));
        let process = cloud.process_later(Duration::ZERO);
        let mut builder = Builder::new(number as u64);
        let mut tree = builder.files(3);
        let kept = builder.commit(&[], &tree);
        let secret = builder.bytes(300);
        tree.insert("secret.txt".to_owned(), secret.clone());
        let left = builder.commit(&[&kept], &tree);
        let staged = Object::new(builder.bytes(400));
        let large = Object::new(builder.bytes(70_000));
        let after = builder.child(&[&kept]);
        let history = builder.finish();
        process.push_onto(&slug, "main", &history, &[], &left).await.expect(200);
        process.push(&slug, "main", true, &history.pack(&[&kept]).with_head("main", &kept)).await.expect(200);
        process.push_onto(&slug, "main", &history, &[&kept], &after).await.expect(200);
        process.push_objects(&slug, std::slice::from_ref(&staged)).await.expect(200);
        put(&process.put_url(&slug, &large.id).await, large.content.clone()).await;
        assert!(process.missing(&slug, &[&large.id]).await.is_empty());
        let secret = Object::new(secret);
        match state {
            "merged" => drop(process.compact(&slug, Compaction::ALL).await.unwrap()),
            "indexed" => {
                let full = Compaction { pack_bytes: 1, ..Compaction::ALL };
                process.compact(&slug, full).await.unwrap();
            }
            "collected" => {
                let later = cloud.process_later(A_DAY * 91);
                assert!(later.collect(&slug, Limits::ALL).await.unwrap().packs_condemned > 0);
            }
            "purged" => drop(process.purge(&slug, &[&secret.id]).await.expect(200)),
            _ => {}
        }
        fork(&process, &slug, &name).await.expect(201);

        let id = process.repo_id(&name).await;
        for object in [&secret, &staged, &large] {
            assert_eq!(process.object(&id, &object.id).await.unwrap().status, 404, "{state}");
            assert!(!process.missing(&name, &[&object.id]).await.is_empty(), "{state}");
        }
        process.fetch::<_, &str>(&name, &[&left], &[]).await.unwrap().refused(404, "unknown_commit");
        // Who names it does not get it by that.
        let mut named = history.pack(&[&left]).with_head("again", &left);
        named.objects.clear();
        named.snapshots.clear();
        named.commits.clear();
        process.push(&name, "again", false, &named).await;
        assert_eq!(process.heads(&name).await.len(), 1, "{state}");
        let mut named = history.pack(&[&left]).with_head("again", &left);
        named.objects.retain(|object| object.id != secret.id);
        assert_eq!(process.push(&name, "again", false, &named).await.status, 422, "{state}");

        let heads = BTreeMap::from([("main".to_owned(), after.clone())]);
        cloud.assert_holds(&name, &history, &heads).await;
        let report = song::check(&cloud, &name, true).await;
        assert!(report.is_whole(), "{state}: {:?}", report.findings);
        // Through the repo it can be had as before.
        if state != "purged" {
            process.push(&slug, "again", false, &history.pack(&[&left]).with_head("again", &left)).await.expect(200);
        }
    }
}

/// Drafts of releases are for writers, and who has purged what and why for admins.
#[tokio::test]
async fn what_only_some_may_see_of_the_repo_stays_there() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(12, 3, 2, 1);
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], &ids[2]).await.expect(200);
    process.push("song", "main", true, &history.pack(&[&ids[1]]).with_head("main", &ids[1])).await.expect(200);
    process.post_release("song", &json!({"tag": "v1", "commit_id": ids[0]})).await.expect(201);
    // Only the draft names its commit.
    let draft = json!({"tag": "v2", "commit_id": ids[2], "is_draft": true, "title": "nobody knows yet"});
    process.post_release("song", &draft).await.expect(201);
    // One that the branch names, and one that nothing does.
    let named =
        history.objects_of(&ids[1..2]).into_iter().find(|id| !history.objects_of(&ids[..1]).contains(id)).unwrap();
    let leaked = Object::new("a secret that has leaked");
    process.purge("song", &[&leaked.id, &named]).await.expect(200);
    process.protect("song", "main", true, true).await.expect(200);

    fork(&process, "song", "fork").await.expect(201);
    let releases = process.get(Function::Releases, "fork").await.expect(200);
    assert_eq!(releases["releases"].as_array().unwrap().len(), 1);
    process.fetch::<_, &str>("fork", &[&ids[2]], &[]).await.unwrap().refused(404, "unknown_commit");
    let store = &process.hub.store;
    let id = process.repo_id("fork").await.parse().unwrap();
    let purged = store.list_purged(&id).await.unwrap();
    let [(object, item)] = Vec::from_iter(purged).try_into().unwrap();
    assert_eq!(object.as_ref().to_string(), named);
    assert!(!item.reason.contains("it leaked"), "{item:?}");
    // It is purged in the fork as well, and the fork's branches are not protected.
    process.push_objects("fork", &[history.object(&named)]).await.refused(422, "object_purged");
    let answer = process.object(&process.repo_id("fork").await, &leaked.id).await.unwrap();
    assert_eq!(answer.status, 404);
    process.push("fork", "main", true, &history.pack(&[&ids[0]]).with_head("main", &ids[0])).await.expect(200);
    assert_eq!(process.log("fork", "").await.len(), 2);
    let report = song::check(&cloud, "fork", true).await;
    assert!(report.is_whole(), "{:?}", report.findings);
}

/// Whatever refuses a fork, nothing of it is left, and so nobody keeps others from making one.
#[tokio::test]
async fn a_fork_that_is_refused_leaves_nothing_and_a_user_has_so_many() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(13, 2, 2, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    process.claim_handle("user-other", "other").await.expect(201);
    for number in 0..10 {
        // Of the repo, and of its forks.
        let of = if number == 0 { "song".to_owned() } else { format!("fork-{}", number - 1) };
        fork(&process, &of, &format!("fork-{number}")).await.expect(201);
    }
    // What looks for files that nobody needs any more comes later, once a day.
    let is_of_upkeep = |key: &String| ["RETIRED#", " SWEEP"].iter().any(|kind| key.contains(kind));
    let left = async || items(&cloud).await.into_iter().filter(|key| !is_of_upkeep(key)).collect::<BTreeSet<_>>();
    let before = left().await;
    for _ in 0..3 {
        let refused = fork(&process, "fork-3", "another").await.refused(422, "too_many");
        assert!(refused.detail.contains("10"), "{}", refused.detail);
    }
    fork(&process, "song", "fork-1").await.refused(409, "repo_exists");
    assert_eq!(left().await, before);
    assert_eq!(items(&cloud).await.iter().filter(|key| key.contains("RETIRED#")).count(), 1);
    let others = process.at_repo(Some("user-other"), Method::POST, "song", "/forks", &json!({"name": "mine"})).await;
    others.expect(201);

    // Something of the repo is missing.
    process.make_repo("gap").await.expect(201);
    process.push_onto("gap", "main", &history, &[], history.last()).await.expect(200);
    let gap = process.repo_id("gap").await;
    let pack = items(&cloud).await.into_iter().find(|key| key.starts_with(&format!("REPO#{gap} PACK#"))).unwrap();
    cloud.delete_item(&format!("REPO#{gap}"), pack.split(' ').nth(1).unwrap()).await;
    let before = left().await;
    fork(&process, "gap", "of-gap").await.refused(422, "invalid");
    assert_eq!(left().await, before);

    // Something is purged while it is made.
    process.make_repo("leaky").await.expect(201);
    process.push_onto("leaky", "main", &history, &[], history.last()).await.expect(200);
    let before = left().await;
    let (forker, other) = (cloud.process(), cloud.process());
    let mut transactions = 0;
    let mut meanwhile = Some(Box::pin(async move { drop(other.purge("leaky", &["0".repeat(64)]).await.expect(200)) }));
    forker.tap.script(move |call| {
        transactions += usize::from(call.is_transaction());
        match meanwhile.take_if(|_| transactions == 3) {
            Some(meanwhile) => Reaction::After(meanwhile),
            None => Reaction::Forward,
        }
    });
    fork(&forker, "leaky", "of-leaky").await.refused(503, "unavailable");
    let mut after = left().await;
    after.retain(|key| !before.contains(key) && !["PURGE", "CHANGE#"].iter().any(|kind| key.contains(kind)));
    assert_eq!(after, BTreeSet::new());
}

/// Those that are made at the same time are not in each other's way: as many are made as there are places.
#[tokio::test]
async fn of_many_forks_at_once_as_many_are_made_as_may_be() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(17, 2, 2, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let names: Vec<String> = (0..14).map(|number| format!("fork-{number}")).collect();
    let answers = futures_util::future::join_all(names.iter().map(|name| fork(&process, "song", name))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 10, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(422, "too_many");
    }
}

/// Upkeep of a repo goes on whatever is wrong with another one of its pool, and nothing goes that this may need.
#[tokio::test]
async fn a_fork_that_is_damaged_keeps_files_and_holds_up_nothing() {
    let cloud = Cloud::start().await;
    let process = cloud.process_later(Duration::ZERO);
    let history = history::linear(14, 9, 3, 1);
    let ids = history.ids();
    for (from, to) in [(None, 1), (Some(1), 3), (Some(3), 5)] {
        let have: Vec<&str> = from.map(|at: usize| ids[at].as_str()).into_iter().collect();
        process.push_onto("song", "main", &history, &have, &ids[to]).await.expect(200);
    }
    fork(&process, "song", "fork").await.expect(201);
    // Its packs go into an index, and that is lost.
    process.compact("fork", Compaction { pack_bytes: 1, ..Compaction::ALL }).await.unwrap();
    let index = cloud.stored("packs/").await.into_keys().find(|key| key.ends_with(".index")).expect("an index");
    let lost = cloud.get(&index).await;
    cloud.delete(&index).await;
    process.compact("song", Compaction::ALL).await.unwrap();
    let stored = cloud.stored("packs/").await;
    for day in [2, 4] {
        tidy(&cloud.process_later(A_DAY * day), &process.repo_id("song").await).await;
    }
    let object = history.objects.keys().next().unwrap().clone();
    process.purge("song", &[&object]).await.expect(200);
    cloud.process_later(A_DAY * 5).erase("song").await.unwrap();
    for key in stored.keys() {
        assert!(cloud.stored("packs/").await.contains_key(key), "{key}");
    }
    // Then it is found again.
    cloud.put(&index, lost).await;
    let heads = process.heads("fork").await;
    cloud.assert_holds("fork", &history, &heads).await;
    is_whole(&cloud, "fork").await;
}

/// Its place in the pool is what keeps its files. If it is lost, a repair knows what it was.
#[tokio::test]
async fn a_fork_that_has_lost_its_place_in_the_pool_gets_it_back() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(16, 3, 2, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    fork(&process, "song", "fork").await.expect(201);
    let (pool, id) = (process.repo_id("song").await, process.repo_id("fork").await);
    let before = items(&cloud).await;
    cloud.delete_item(&format!("POOL#{pool}"), &format!("REPO#{id}")).await;
    assert!(!song::check(&cloud, "fork", false).await.is_whole());
    let subject = song::subject(&cloud, "fork").await;
    repair(&song::store(&cloud), &subject, cloud.ids(), None, &|_| ()).await.expect("the stores answer");
    assert_eq!(items(&cloud).await, before);
    is_whole(&cloud, "fork").await;
}

/// What a fork has written for itself goes when the fork has gone, also if the repo that is to look for it is busy meanwhile.
#[tokio::test]
async fn files_of_a_fork_that_has_gone_are_looked_for_whatever_else_the_repo_does() {
    let cloud = Cloud::start().await;
    let process = cloud.process_later(Duration::ZERO);
    let history = history::linear(15, 12, 3, 1);
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], &ids[1]).await.expect(200);
    fork(&process, "song", "fork").await.expect(201);
    process.push_onto("fork", "main", &history, &[&ids[1]], &ids[9]).await.expect(200);
    let [song, gone] = [process.repo_id("song").await, process.repo_id("fork").await];
    delete(&process, "fork").await;
    for day in [31, 32] {
        tidy(&cloud.process_later(A_DAY * day), &gone).await;
    }
    // Merges, each of which says when the next sweep is due.
    for at in 2..5 {
        let later = cloud.process_later(A_DAY * 32 + Duration::from_secs(60 * 60 * at as u64));
        later.push_onto("song", "main", &history, &[&ids[at - 1]], &ids[at]).await.expect(200);
        later.compact("song", Compaction::ALL).await.unwrap();
    }
    // As its item wakes it, and not otherwise.
    for hour in 0..72 {
        let later = cloud.process_later(A_DAY * 32 + Duration::from_secs(60 * 60 * (6 + hour)));
        if later.hub.store.due_upkeep().await.unwrap().iter().any(|due| due.as_str() == song) {
            tidy(&later, &song).await;
        }
    }
    let listed = items(&cloud).await.into_iter().filter(|key| key.starts_with(&format!("REPO#{song} PACK#"))).count();
    assert_eq!(cloud.stored(&format!("packs/{song}/")).await.len(), listed);
}

#[tokio::test]
async fn who_may_fork_what() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(3, 2, 2, 1);
    for (user, handle) in [("user-reader", "reader"), ("user-stranger", "stranger")] {
        process.claim_handle(user, handle).await.expect(201);
    }
    for (slug, is_private) in [("public", false), ("private", true)] {
        match is_private {
            true => process.make_private_repo(slug).await.expect(201),
            false => process.make_repo(slug).await.expect(201),
        };
        process.make_member(slug, "user-reader", store::table::items::Role::Read).await;
        process.push_onto(slug, "main", &history, &[], history.last()).await.expect(200);
        let ask =
            async |user: Option<&str>, body: &Value| process.at_repo(user, Method::POST, slug, "/forks", body).await;
        ask(None, &json!({})).await.refused(401, "unauthorized");
        match is_private {
            true => drop(ask(Some("user-stranger"), &json!({})).await.refused(404, "repo_not_found")),
            false => drop(ask(Some("user-stranger"), &json!({})).await.expect(201)),
        }
        let refused = ask(Some(USER), &json!({})).await.refused(409, "repo_exists");
        assert!(refused.detail.contains(&format!("dev/{slug}")), "{}", refused.detail);
        ask(Some("user-nameless"), &json!({}))
            .await
            .refused(if is_private { 404 } else { 422 }, if is_private { "repo_not_found" } else { "invalid" });
        ask(Some("user-reader"), &json!({"name": "…"})).await.refused(422, "invalid");
        if is_private {
            ask(Some("user-reader"), &json!({"is_private": false})).await.refused(422, "invalid");
        }
        let made = ask(Some("user-reader"), &json!({"description": "mine"})).await.expect(201);
        assert_eq!(
            [&made["owner"], &made["slug"], &made["visibility"], &made["description"], &made["default_branch"]],
            ["reader", slug, slug, "mine", "main"]
        );
    }
    // Nobody but the owner of a private fork knows of it.
    for (user, expected) in [("user-reader", 2), (USER, 1), ("user-stranger", 1)] {
        let listed = process.list_repos(Some(user), "owner=reader").await.expect(200);
        assert_eq!(listed["repos"].as_array().unwrap().len(), expected, "{user}");
    }
}

/// What becomes of files when repos of a pool go, in whichever order.
#[tokio::test]
async fn a_file_goes_when_the_last_repo_that_needs_it_has_gone() {
    let cloud = Cloud::start().await;
    for (number, order) in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]].into_iter().enumerate() {
        let process = cloud.process_later(Duration::ZERO);
        let slugs = ["a", "b", "c"].map(|slug| format!("{slug}-{number}"));
        let history = history::linear(number as u64, 9, 3, 2);
        let ids = history.ids();
        let large = Object::new(vec![number as u8; 70_000]);
        let mut builder = Builder::new(100 + number as u64);
        let mut tree = builder.files(2);
        tree.insert("large.flac".to_owned(), large.content.clone());
        let with_large = builder.commit(&[], &tree);
        let large_history = builder.finish();
        process.push_onto(&slugs[0], "main", &history, &[], &ids[2]).await.expect(200);
        put(&process.put_url(&slugs[0], &large.id).await, large.content.clone()).await;
        assert!(process.missing(&slugs[0], &[&large.id]).await.is_empty());
        let mut bundle = large_history.pack(&[&with_large]).with_head("large", &with_large);
        bundle.objects.retain(|object| object.id != large.id);
        process.push(&slugs[0], "large", false, &bundle).await.expect(200);
        fork(&process, &slugs[0], &slugs[1]).await.expect(201);
        process.push_onto(&slugs[1], "main", &history, &[&ids[2]], &ids[5]).await.expect(200);
        fork(&process, &slugs[1], &slugs[2]).await.expect(201);
        process.push_onto(&slugs[2], "main", &history, &[&ids[5]], &ids[8]).await.expect(200);
        let mut whole = history::History::default();
        whole.absorb(&history.pack(&ids));
        whole.absorb(&large_history.pack(&[&with_large]));
        let mut repos = Vec::new();
        for slug in &slugs {
            repos.push(process.repo_id(slug).await);
        }
        let pool = repos[0].clone();
        let mut left: BTreeMap<&String, BTreeMap<String, String>> = BTreeMap::new();
        for slug in &slugs {
            left.insert(slug, process.heads(slug).await);
        }
        let mut day = 0;
        for which in order {
            delete(&cloud.process_later(A_DAY * day), &slugs[which]).await;
            left.remove(&slugs[which]);
            for _ in 0..4 {
                day += 31;
                let later = cloud.process_later(A_DAY * day);
                for (slug, repo) in slugs.iter().zip(&repos) {
                    tidy(&later, repo).await;
                    if left.contains_key(slug) {
                        later.compact(slug, Compaction::ALL).await.unwrap();
                    }
                }
            }
            for (slug, heads) in &left {
                cloud.assert_holds(slug, &whole, heads).await;
                is_whole(&cloud, slug).await;
            }
        }
        for prefix in ["packs", "objects"] {
            assert_eq!(cloud.stored(&format!("{prefix}/{pool}/")).await, BTreeMap::new(), "{order:?}");
        }
        let rest: Vec<String> = items(&cloud).await.into_iter().filter(|key| key.contains(&pool)).collect();
        assert_eq!(rest, [] as [&str; 0]);
    }
}

/// What happens to the repos of a pool.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// To a repo: a commit of the history, whichever, so that most moves are forced ones.
    Push(u8, u8),
    Stage(u8),
    Fork(u8),
    Merge(u8),
    MergeTables(u8),
    Collect(u8),
    Purge(u8, u8),
    Erase(u8),
    Delete(u8),
    Wait(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<u8>;
    prop_oneof![
        6 => (any(), any()).prop_map(|(repo, commit)| Event::Push(repo, commit)),
        1 => any().prop_map(Event::Stage),
        4 => any().prop_map(Event::Fork),
        2 => any().prop_map(Event::Merge),
        1 => any().prop_map(Event::MergeTables),
        2 => any().prop_map(Event::Collect),
        1 => (any(), any()).prop_map(|(repo, file)| Event::Purge(repo, file)),
        1 => any().prop_map(Event::Erase),
        1 => any().prop_map(Event::Delete),
        3 => any().prop_map(Event::Wait),
    ]
}

/// A repo as it should be.
struct Model {
    slug: String,
    id: String,
    head: Option<usize>,
    purged: BTreeSet<String>,
    is_deleted: bool,
}

async fn assert_is(process: &Process, model: &Model, history: &History, commits: &[String]) {
    let heads: BTreeMap<String, String> =
        model.head.map(|head| ("main".to_owned(), commits[head].clone())).into_iter().collect();
    assert_eq!(process.heads(&model.slug).await, heads);
    let Some(head) = heads.get("main") else { return };
    let fetched = process.fetch::<_, &str>(&model.slug, &[head], &[]).await.expect("a whole answer").expect(200);
    let fetched = Pack::from_value(&fetched).expect("an answer");
    let reachable = history.reachable(&[head]);
    let mut objects = history.objects_of(&reachable);
    objects.retain(|object| !model.purged.contains(object));
    assert_eq!(fetched.commit_ids(), reachable);
    assert_eq!(fetched.object_ids(), objects, "{}", model.slug);
    for object in &fetched.objects {
        assert_eq!(object.content, history.object(&object.id).content);
    }
}

/// Whatever happens to the repos of a pool in whatever order: each has what was pushed to it and nothing else is seen through it, and when all are
/// gone no file is left.
#[test]
fn for_every_order_no_repo_of_a_pool_harms_another() {
    static POOLS: AtomicUsize = AtomicUsize::new(0);
    for_every(24, proptest::collection::vec(event(), 4..26), Cloud::start, async |cloud, events| {
        let number = POOLS.fetch_add(1, Ordering::Relaxed);
        let mut builder = Builder::new(number as u64);
        let mut tree = builder.files(2);
        let mut commits: Vec<String> = Vec::new();
        for index in 0..10 {
            tree.retain(|path, _| !path.starts_with("take-"));
            tree.insert(format!("take-{index}.mid"), builder.bytes(200));
            // Two lines, so that a push may be forced.
            let parents: Vec<&str> = if index < 2 { Vec::new() } else { vec![&commits[index - 2]] };
            let commit = builder.commit(&parents, &tree);
            commits.push(commit);
        }
        let history = builder.finish();
        let name = |of: usize| format!("song-{number}-{of}");
        let mut day: u32 = 0;
        let mut days = |more: u32| {
            day += more;
            A_DAY * day
        };
        let process = cloud.process_later(days(0));
        process.make_repo(&name(0)).await.expect(201);
        let id = process.repo_id(&name(0)).await;
        let mut models = vec![Model { slug: name(0), id, head: None, purged: BTreeSet::new(), is_deleted: false }];
        for event in events {
            let process = cloud.process_later(days(0));
            let there: Vec<usize> = (0..models.len()).filter(|of| !models[*of].is_deleted).collect();
            let chosen = |of: u8| there[usize::from(of) % there.len()];
            match event {
                Event::Push(of, commit) => {
                    let model = &mut models[chosen(of)];
                    let to = usize::from(commit) % commits.len();
                    let have: Vec<&str> = model.head.map(|head| commits[head].as_str()).into_iter().collect();
                    let bundle = history.pack(&history.between(&[&commits[to]], &have)).with_head("main", &commits[to]);
                    let answer = process.push(&model.slug, "main", true, &bundle).await;
                    match answer.status {
                        200 => model.head = Some(to),
                        _ => {
                            answer.refused(422, "object_purged");
                            assert!(!model.purged.is_empty());
                        }
                    }
                }
                Event::Stage(of) => {
                    let junk = Object::new(vec![of; 300]);
                    let slug = &models[chosen(of)].slug;
                    process.push_objects(slug, &[junk]).await.expect(200);
                }
                Event::Fork(of) if models.len() < 5 => {
                    let (of, slug) = (chosen(of), name(models.len()));
                    fork(&process, &models[of].slug, &slug).await.expect(201);
                    let id = process.repo_id(&slug).await;
                    let head = models[of].head;
                    let named = head.map(|head| history.objects_of(&history.reachable(&[&commits[head]])));
                    let mut purged = models[of].purged.clone();
                    purged.retain(|object| named.as_ref().is_some_and(|named| named.contains(object)));
                    // Nothing that the repo has left behind is in the fork.
                    for commit in commits.iter().filter(|commit| {
                        head.is_none_or(|head| !history.reachable(&[&commits[head]]).contains(*commit))
                    }) {
                        let asked = process.fetch::<_, &str>(&slug, &[commit], &[]).await.unwrap();
                        asked.refused(404, "unknown_commit");
                    }
                    models.push(Model { slug, id, head, purged, is_deleted: false });
                }
                Event::Fork(_) => {}
                Event::Merge(of) => {
                    process.compact(&models[chosen(of)].slug, Compaction::ALL).await.expect("a run");
                }
                Event::MergeTables(of) => {
                    let full = Compaction { pack_bytes: 1, ..Compaction::ALL };
                    process.compact(&models[chosen(of)].slug, full).await.expect("a run");
                }
                Event::Collect(of) => {
                    let done = process.collect(&models[chosen(of)].slug, Limits::ALL).await.expect("a run");
                    assert_eq!(done.deferred, None);
                }
                Event::Purge(of, file) => {
                    let model = &mut models[chosen(of)];
                    let file = usize::from(file) % commits.len();
                    let snapshot = history.commit(&commits[file]).snapshot_id().unwrap().to_owned();
                    let object = history.snapshots[&snapshot].manifest[&format!("take-{file}.mid")].clone();
                    process.purge(&model.slug, &[&object]).await.expect(200);
                    model.purged.insert(object);
                }
                Event::Erase(of) => drop(process.erase(&models[chosen(of)].slug).await.expect("a run")),
                Event::Delete(of) if there.len() > 1 => {
                    let model = &mut models[chosen(of)];
                    delete(&process, &model.slug).await;
                    model.is_deleted = true;
                }
                Event::Delete(_) => {}
                Event::Wait(more) => {
                    let process = cloud.process_later(days(u32::from(more) % 40));
                    for model in &models {
                        tidy(&process, &model.id).await;
                    }
                }
            }
            let process = cloud.process();
            for model in models.iter().filter(|model| !model.is_deleted) {
                assert_is(&process, model, &history, &commits).await;
            }
        }
        for model in models.iter().filter(|model| !model.is_deleted) {
            let report = song::check(cloud, &model.slug, true).await;
            assert!(report.is_whole(), "{:?}", report.findings);
            delete(&cloud.process_later(days(0)), &model.slug).await;
        }
        for _ in 0..6 {
            let process = cloud.process_later(days(31));
            for model in &models {
                tidy(&process, &model.id).await;
            }
        }
        let pool = &models[0].id;
        assert_eq!(cloud.stored(&format!("packs/{pool}/")).await, BTreeMap::new());
        let rest: Vec<String> = items(cloud).await.into_iter().filter(|key| key.contains(pool)).collect();
        assert_eq!(rest, [] as [&str; 0]);
    });
}

/// A fork ends at any of its calls: there is no repo then, or all of it; and an hour later nothing is left of one that is not there.
#[tokio::test]
async fn a_fork_that_breaks_off_anywhere_leaves_nothing() {
    let cloud = Cloud::start().await;
    let process = cloud.process_later(Duration::ZERO);
    let history = history::linear(4, 6, 3, 1);
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], &ids[4]).await.expect(200);
    process.push("song", "main", true, &history.pack(&[&ids[2]]).with_head("main", &ids[2])).await.expect(200);
    process.post_tags("song", &json!([{"tag": "v1", "commit_id": ids[1]}])).await.expect(200);
    let heads = process.heads("song").await;
    let (stored, kept) = (cloud.stored("").await, items(&cloud).await);
    for position in some_of(0..) {
        let (slug, run) = (format!("fork-{position}"), cloud.process_later(Duration::ZERO));
        let fault = if position % 2 == 0 { Fault::Refused } else { Fault::AnswerLost };
        let mut number = 0;
        run.tap.script(move |_| {
            number += 1;
            match number > position {
                true => Reaction::Fail(fault),
                false => Reaction::Forward,
            }
        });
        let answer = fork(&run, "song", &slug).await;
        let is_there = cloud.process().refs(&slug).await.status == 200;
        if is_there {
            cloud.assert_holds(&slug, &history, &heads).await;
            is_whole(&cloud, &slug).await;
        } else {
            assert!(answer.status >= 500, "{}", answer.status);
        }
        // Upkeep of the repo goes on meanwhile.
        tidy(&cloud.process_later(Duration::ZERO), &process.repo_id("song").await).await;
        if is_there {
            let id = process.repo_id(&slug).await;
            delete(&process, &slug).await;
            for day in [40, 80] {
                tidy(&cloud.process_later(A_DAY * day), &id).await;
            }
        }
        let due = cloud.process_later(Duration::from_secs(2 * 60 * 60)).hub.store.due_upkeep().await.unwrap();
        for repo in due.iter().filter(|repo| repo.is_fork()) {
            tidy(&cloud.process_later(Duration::from_secs(2 * 60 * 60)), repo.as_str()).await;
        }
        // What was written for it goes with what nothing names.
        let id = process.repo_id("song").await;
        for day in [3, 4, 90] {
            tidy(&cloud.process_later(A_DAY * day), &id).await;
        }
        cloud.assert_holds("song", &history, &heads).await;
        let mut left = items(&cloud).await;
        left.retain(|key| !kept.contains(key) && !key.ends_with(" SWEEP") && !key.ends_with(" GARBAGE"));
        assert_eq!(left, BTreeSet::new(), "broken off at {position}");
        assert!(cloud.stored("").await.keys().all(|key| stored.contains_key(key)), "broken off at {position}");
        if answer.status == 201 {
            assert!(position > 20, "only {position} calls");
            return;
        }
    }
}

/// Whatever the repo's upkeep does at any call of a fork, the fork is whole, or there is none.
#[tokio::test]
async fn a_fork_meets_the_upkeep_of_the_repo_at_any_call() {
    let cloud = Cloud::start().await;
    for what in ["merge", "sweep", "purge", "forced push", "delete"] {
        for position in some_of(0..) {
            let (slug, name) = (
                format!("{}-{position}", what.replace(' ', "-")),
                format!("fork-of-{}-{position}", what.replace(' ', "-")),
            );
            let process = cloud.process_later(Duration::ZERO);
            let history = history::linear(5, 6, 3, 1);
            let ids = history.ids();
            for window in [[None, Some(1)], [Some(1), Some(2)], [Some(2), Some(4)]] {
                let have: Vec<&str> = window[0].map(|at: usize| ids[at].as_str()).into_iter().collect();
                process.push_onto(&slug, "main", &history, &have, &ids[window[1].unwrap()]).await.expect(200);
            }
            if what == "sweep" {
                process.compact(&slug, Compaction::ALL).await.unwrap();
            }
            let snapshot = history.commit(&ids[4]).snapshot_id().unwrap().to_owned();
            let object = history.snapshots[&snapshot].manifest.values().next().unwrap().clone();
            let forker = cloud.process_later(Duration::ZERO);
            let (other, later) = (cloud.process_later(Duration::ZERO), cloud.process_later(A_DAY * 2));
            let (of, moved, purged) =
                (slug.clone(), history.pack(&[&ids[3]]).with_head("main", &ids[3]), object.clone());
            let has_run = forker.interrupt(position, true, async move {
                match what {
                    "merge" => drop(other.compact(&of, Compaction::ALL).await.unwrap()),
                    "sweep" => drop(later.compact(&of, Compaction::ALL).await.unwrap()),
                    "purge" => {
                        other.purge(&of, &[&purged]).await.expect(200);
                        other.erase(&of).await.unwrap();
                    }
                    "forced push" => drop(other.push(&of, "main", true, &moved).await.expect(200)),
                    _ => delete(&other, &of).await,
                }
            });
            let answer = fork(&forker, &slug, &name).await;
            let is_done = !has_run.load(Ordering::Relaxed);
            if answer.status == 201 {
                let heads = cloud.process().heads(&name).await;
                let report = song::check(&cloud, &name, true).await;
                assert!(report.is_whole(), "{what} at {position}: {:?}", report.findings);
                assert!([&ids[3], &ids[4]].contains(&&heads["main"]));
                // Much later all of it is there still.
                if what != "delete" {
                    let later = cloud.process_later(A_DAY * 3);
                    tidy(&later, &process.repo_id(&slug).await).await;
                }
                let report = song::check(&cloud, &name, true).await;
                assert!(report.is_whole(), "{what} at {position}: {:?}", report.findings);
            } else {
                assert!(matches!(answer.status, 404 | 503), "{what} at {position}: {}", answer.status);
                cloud.process().refs(&name).await.refused(404, "repo_not_found");
            }
            if is_done {
                assert!(position > 10, "only {position} calls");
                break;
            }
        }
    }
}
