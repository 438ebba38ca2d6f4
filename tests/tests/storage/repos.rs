//! Repos as an API, where it takes more than one process or a look at the stores.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use service::routes::Function;
use store::table::items::{Item, Role};
use tests::cases::some_of;
use tests::client::Answer;
use tests::encoding::Encoding;
use tests::history::{self, History, Object, objects_body};
use tests::wiretap::{Fault, Reaction};

use crate::fsck::song;
use crate::process::{Cloud, OWNER, Process, USER, put};

/// Who asks about a repo.
const WHO: [Option<&str>; 5] = [None, Some("user-stranger"), Some("user-reader"), Some("user-writer"), Some(USER)];

/// A repo with a reader and a writer.
async fn shared(process: &Process, slug: &str, is_private: bool) {
    match is_private {
        true => process.make_private_repo(slug).await.expect(201),
        false => process.make_repo(slug).await.expect(201),
    };
    process.make_member(slug, "user-reader", Role::Read).await;
    process.make_member(slug, "user-writer", Role::Write).await;
}

#[tokio::test]
async fn who_may_see_what_a_repo_is() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    for (slug, is_private, expected) in
        [("public", false, [200, 200, 200, 200, 200]), ("private", true, [404, 404, 200, 200, 200])]
    {
        shared(&process, slug, is_private).await;
        let mut seen = Vec::new();
        let mut listed = Vec::new();
        for user in WHO {
            seen.push(process.at_repo(user, Method::GET, slug, "", &Value::Null).await.status);
            let list = process.list_repos(user, "owner=dev").await.expect(200);
            let slugs = list["repos"].as_array().unwrap().iter().map(|repo| repo["slug"].as_str().unwrap().to_owned());
            listed.push(if slugs.into_iter().any(|listed| listed == slug) { 200 } else { 404 });
        }
        assert_eq!((seen, listed), (expected.to_vec(), expected.to_vec()), "{slug}");
    }
}

/// `PATCH` of a repo by its owner.
async fn rename(process: &Process, slug: &str, to: &str) -> Answer {
    process.at_repo(Some(USER), Method::PATCH, slug, "", &json!({"slug": to})).await
}

#[tokio::test]
async fn who_may_rename_a_repo() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    for (slug, is_private, expected) in
        [("public", false, [401, 403, 403, 403, 200]), ("private", true, [401, 404, 403, 403, 200])]
    {
        shared(&process, slug, is_private).await;
        let mut seen = Vec::new();
        for user in WHO {
            let body = json!({"slug": format!("{slug}-too")});
            seen.push(process.at_repo(user, Method::PATCH, slug, "", &body).await.status);
        }
        assert_eq!(seen, expected, "{slug}");
    }
}

#[tokio::test]
async fn processes_that_remember_a_name_follow_a_rename() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    one.make_repo("first").await.expect(201);
    let id = other.repo_id("first").await;
    for (from, to) in [("first", "second"), ("second", "third"), ("third", "first")] {
        rename(&one, from, to).await.expect(200);
        for process in [&one, &other, &cloud.process()] {
            for name in [from, to] {
                assert_eq!(process.repo_id(name).await, id, "{name} after {from} became {to}");
            }
        }
        assert_eq!(song::check(&cloud, to, true).await.findings, []);
        assert_eq!(song::check(&cloud, from, true).await.findings, []);
    }
}

/// Of a name that two repos want at once one gets it, and the other is refused.
#[tokio::test]
async fn of_two_that_want_a_name_one_gets_it() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    one.make_repo("a").await.expect(201);
    one.make_repo("b").await.expect(201);
    for (round, makes) in [(0, false), (1, true)] {
        let wanted = format!("wanted-{round}");
        let second = async { if makes { other.make_repo(&wanted).await } else { rename(&other, "b", &wanted).await } };
        let (first, second) = tokio::join!(rename(&one, "a", &wanted), second);
        let statuses = [first.status, second.status];
        assert!(statuses.contains(&409) && statuses.iter().any(|status| *status < 300), "{statuses:?}");
        let winner = if first.status == 200 { one.repo_id("a").await } else { one.repo_id(&wanted).await };
        assert_eq!(cloud.process().repo_id(&wanted).await, winner);
    }
}

#[tokio::test]
async fn two_renames_at_once_lose_no_name() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    one.make_repo("a").await.expect(201);
    let id = one.repo_id("a").await;
    let (first, second) = tokio::join!(rename(&one, "a", "b"), rename(&other, "a", "c"));
    first.expect(200);
    second.expect(200);
    for name in ["a", "b", "c"] {
        assert_eq!(cloud.process().repo_id(name).await, id);
    }
    let listed = one.list_repos(Some(USER), "").await.expect(200);
    assert_eq!(listed["repos"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(song::check(&cloud, "a", true).await.findings, []);
}

/// A push that would make a repo, and a rename that takes its name: the push goes to the repo that has the name then.
#[tokio::test]
async fn a_push_to_a_name_that_is_being_taken_makes_no_second_repo() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    let history = history::linear(1, 2, 1, 1);
    one.make_repo("a").await.expect(201);
    let renamer = cloud.process();
    other.before_transaction(async move { drop(rename(&renamer, "a", "b").await.expect(200)) });
    other.push_onto("b", "main", &history, &[], history.last()).await.expect(200);
    assert_eq!(one.heads("a").await, one.heads("b").await);
    assert_eq!(one.repo_id("a").await, one.repo_id("b").await);
}

async fn delete(process: &Process, slug: &str) -> Answer {
    process.at_repo(Some(USER), Method::DELETE, slug, "", &Value::Null).await
}

async fn undelete(process: &Process, slug: &str) -> Answer {
    process.at_repo(Some(USER), Method::POST, slug, "/undelete", &Value::Null).await
}

/// The slugs of the owner's repos, those that are there and those that are deleted.
async fn listed(process: &Process) -> [Vec<String>; 2] {
    let mut lists = Vec::new();
    for query in ["", "deleted=true"] {
        let list = process.list_repos(Some(USER), query).await.expect(200);
        let repos = list["repos"].as_array().unwrap();
        lists.push(repos.iter().map(|repo| repo["slug"].as_str().unwrap().to_owned()).collect());
    }
    lists.try_into().unwrap()
}

/// All items of the table that name a repo, by their keys.
async fn items_of(process: &Process, id: &str) -> BTreeMap<String, Item> {
    let (mut items, mut after) = (BTreeMap::new(), None);
    loop {
        let page = process.hub.store.scan(after).await.unwrap();
        for item in page.entries {
            let key = format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
            let names_it = item.get("repo_id").and_then(|value| value.as_s().ok()).is_some_and(|named| named == id);
            if key.contains(id) || names_it {
                items.insert(key, item);
            }
        }
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

/// A repo with branches, tags, a release, a webhook and collaborators; its id.
async fn full(process: &Process, slug: &str, history: &History) -> String {
    shared(process, slug, false).await;
    process.push_onto(slug, "main", history, &[], &history.ids()[0]).await.expect(200);
    process.post_tags(slug, &json!([{"tag": "v1", "commit_id": history.ids()[0]}])).await.expect(200);
    process.post_release(slug, &json!({"tag": "v1", "commit_id": history.ids()[0]})).await.expect(201);
    post_webhook(process, slug).await.expect(201);
    process.repo_id(slug).await
}

async fn post_webhook(process: &Process, slug: &str) -> Answer {
    let body = json!({"url": "https://example.com/hook"});
    process.call(Function::Webhooks, slug, Encoding::Json, &body).await.expect("a whole answer")
}

#[tokio::test]
async fn who_may_delete_a_repo_and_undelete_it() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    for (slug, is_private, expected) in
        [("public", false, [401, 403, 403, 403, 200]), ("private", true, [401, 404, 403, 403, 200])]
    {
        shared(&process, slug, is_private).await;
        let ask = async |method: Method, rest: &str| {
            let mut seen = Vec::new();
            for user in WHO {
                seen.push(process.at_repo(user, method.clone(), slug, rest, &Value::Null).await.status);
            }
            seen
        };
        assert_eq!(ask(Method::POST, "/undelete").await, expected, "it is not deleted");
        assert_eq!(ask(Method::DELETE, "").await, expected);
        // The owner comes last, and from then on it is there for none.
        assert_eq!(ask(Method::GET, "").await, [404; 5]);
        assert_eq!(ask(Method::DELETE, "").await, [401, 404, 404, 404, 404]);
        assert_eq!(ask(Method::POST, "/undelete").await, [401, 404, 404, 404, 200]);
        assert_eq!(ask(Method::POST, "/undelete").await, expected, "once more");
        for user in [Some("user-reader"), Some("user-stranger"), None] {
            process.list_repos(user, "owner=dev&deleted=true").await.refused(422, "invalid");
        }
    }
}

#[tokio::test]
async fn a_repo_that_is_deleted_is_there_for_no_request_and_is_undeleted_as_it_was() {
    let cloud = Cloud::start().await;
    let (process, other) = (cloud.process(), cloud.process());
    let history = history::linear(5, 3, 2, 1);
    let id = full(&process, "song", &history).await;
    rename(&process, "song", "tune").await.expect(200);
    assert_eq!(other.repo_id("song").await, id);
    let before = items_of(&process, &id).await;
    let told = process.at_repo(Some(USER), Method::GET, "tune", "", &Value::Null).await.expect(200);

    let answer = delete(&process, "song").await.expect(200);
    assert_eq!((&answer["deleted"], &answer["repo_id"]), (&json!("dev/tune"), &json!(id)));
    let ids = json!([history.ids()[0]]);
    let push = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    let asked = [
        (Function::Refs, None),
        (Function::Stats, None),
        (Function::Tags, None),
        (Function::Releases, None),
        (Function::Webhooks, None),
        (Function::Repos, None),
        (Function::Push, Some(push)),
        (Function::PushObjects, Some(objects_body(&[Object::new("an object")]))),
        (Function::Fetch, Some(json!({"want": ids}))),
        (Function::FilterObjects, Some(json!({"object_ids": ids}))),
        (Function::Negotiate, Some(json!({"want": ids}))),
        (Function::Presign, Some(json!({"direction": "put", "object_ids": ids}))),
        (Function::Presign, Some(json!({"direction": "get", "object_ids": ids}))),
        (Function::Tags, Some(json!({"tags": []}))),
        (Function::Releases, Some(json!({"tag": "v2", "commit_id": history.ids()[0]}))),
        (Function::Webhooks, Some(json!({"url": "https://example.com/"}))),
        (Function::Uploads, Some(json!({}))),
    ];
    // Who has had it open before, and who has not.
    for process in [&process, &other, &cloud.process()] {
        for slug in ["song", "tune"] {
            for (function, body) in &asked {
                let answer = match body {
                    Some(body) => process.call(*function, slug, Encoding::Json, body).await.unwrap(),
                    None => process.get(*function, slug).await,
                };
                answer.refused(404, "repo_not_found");
            }
            assert_eq!(process.page(&format!("/dev/{slug}")).await.status, 404);
            rename(process, slug, "other").await.refused(404, "repo_not_found");
            let refusal = process.make_repo(slug).await.refused(409, "repo_exists");
            assert!(refusal.detail.contains("/undelete") && refusal.detail.contains(slug), "{}", refusal.detail);
        }
        assert_eq!(listed(process).await, [vec![], vec!["tune".to_owned()]]);
    }
    let list = process.list_repos(Some(USER), "deleted=true").await.expect(200);
    assert_eq!(list["repos"][0]["kept_until"], answer["kept_until"]);
    assert!(list["repos"][0]["deleted_at"].as_str() < answer["kept_until"].as_str(), "{list}");

    let back = undelete(&other, "song").await.expect(200);
    assert_eq!(back, told);
    let mut after = items_of(&process, &id).await;
    after.retain(|key, _| before.contains_key(key) || !key.contains(" CHANGE#") && !key.starts_with("PUBLIC "));
    assert_eq!(after, before);
    assert_eq!(listed(&process).await, [vec!["tune".to_owned()], vec![]]);
    assert_eq!(song::check(&cloud, "song", true).await.findings, []);
    process.push_onto("song", "main", &history, &[&history.ids()[0]], history.last()).await.expect(200);
}

/// Whatever writes to a repo, and is about to when the repo is deleted.
#[tokio::test]
async fn what_is_under_way_when_a_repo_is_deleted_does_not_land() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(6, 3, 2, 1);
    let (root, next) = (history.ids()[0].clone(), history.ids()[1].clone());
    for (number, what) in
        ["push", "new branch", "first push", "objects", "release", "webhook", "branch", "purge", "rename", "delete"]
            .into_iter()
            .enumerate()
    {
        let slug = format!("song-{number}");
        process.make_repo(&slug).await.expect(201);
        if what != "first push" {
            process.push_onto(&slug, "main", &history, &[], &root).await.expect(200);
            process.push_onto(&slug, "other", &history, &[&root], &root).await.expect(200);
        }
        let id = process.repo_id(&slug).await;
        let (writer, deleter) = (cloud.process(), cloud.process());
        writer.repo_id(&slug).await;
        let deleted = slug.clone();
        writer.before_transaction(async move { drop(delete(&deleter, &deleted).await.expect(200)) });
        let before = items_of(&process, &id).await;
        let answer = match what {
            "push" => writer.push_onto(&slug, "main", &history, &[&root], &next).await,
            "new branch" => writer.push_onto(&slug, "new", &history, &[&root], &next).await,
            "first push" => writer.push_onto(&slug, "main", &history, &[], &root).await,
            "objects" => writer.push_objects(&slug, &[Object::new("an object")]).await,
            "release" => writer.post_release(&slug, &json!({"tag": "v1", "commit_id": root})).await,
            "webhook" => post_webhook(&writer, &slug).await,
            "branch" => writer.at_repo(Some(USER), Method::DELETE, &slug, "/branches/other", &Value::Null).await,
            "purge" => writer.purge(&slug, &["0".repeat(64)]).await,
            "rename" => rename(&writer, &slug, "another").await,
            _ => delete(&writer, &slug).await,
        };
        answer.refused(404, "repo_not_found");
        undelete(&process, &slug).await.expect(200);
        let mut after = items_of(&process, &id).await;
        after.retain(|key, _| before.contains_key(key) || !key.contains(" CHANGE#") && !key.starts_with("PUBLIC "));
        assert_eq!(after, before, "{what}");
    }
}

/// A push that landed is kept, also where the pusher has heard nothing of it.
#[tokio::test]
async fn a_push_that_landed_before_the_repo_was_deleted_is_there_when_it_is_undeleted() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(7, 3, 2, 1);
    process.push_onto("song", "main", &history, &[], &history.ids()[0]).await.expect(200);
    let pusher = cloud.process();
    let deleter = cloud.process();
    let mut meanwhile = Some(async move { drop(delete(&deleter, "song").await.expect(200)) });
    pusher.tap.script(move |call| match meanwhile.take_if(|_| call.is_transaction()) {
        Some(meanwhile) => Reaction::Between(Box::pin(async {}), Box::pin(meanwhile)),
        None => Reaction::Forward,
    });
    pusher.push_onto("song", "main", &history, &[&history.ids()[0]], history.last()).await.expect(200);
    process.refs("song").await.refused(404, "repo_not_found");
    undelete(&process, "song").await.expect(200);
    assert_eq!(process.heads("song").await["main"], history.last());
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_is_done_once() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    process.make_repo("song").await.expect(201);
    for ask in [0, 1] {
        let mut is_first = true;
        process.tap.script(move |call| match call.is_transaction() && std::mem::take(&mut is_first) {
            true => Reaction::Fail(Fault::AnswerLost),
            false => Reaction::Forward,
        });
        match ask {
            0 => delete(&process, "song").await.expect(200),
            _ => undelete(&process, "song").await.expect(200),
        };
    }
    let id = process.repo_id("song").await;
    let lines = items_of(&process, &id).await.into_keys().filter(|key| key.contains(" CHANGE#")).count();
    assert_eq!(lines, 2);
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs the upkeep of a repo, as the end of its item wakes it.
async fn tidy(process: &Process, id: &str) -> Result<(), store::StoreError> {
    compact::repo(&process.hub.store, &id.parse().unwrap()).await.map(drop)
}

#[tokio::test]
async fn a_repo_is_removed_thirty_days_after_it_was_deleted_and_its_names_are_free() {
    let cloud = Cloud::start().await;
    let process = cloud.process_later(Duration::ZERO);
    let history = history::linear(8, 3, 2, 1);
    let large = Object::new(vec![7; 70_000]);
    let id = full(&process, "song", &history).await;
    put(&process.put_url("song", &large.id).await, large.content.clone()).await;
    assert!(process.missing("song", &[&large.id]).await.is_empty());
    rename(&process, "song", "tune").await.expect(200);
    let others = items_of(&process, &full(&process, "another", &history).await).await;
    delete(&process, "tune").await.expect(200);

    // Upkeep goes on in it, and it can be undeleted, until the last day.
    let last = cloud.process_later(A_DAY * 30 - Duration::from_secs(600));
    tidy(&last, &id).await.unwrap();
    undelete(&last, "tune").await.expect(200);
    assert_eq!(last.heads("tune").await["main"], history.ids()[0]);
    assert_eq!(song::check(&cloud, "tune", true).await.findings, []);
    delete(&last, "tune").await.expect(200);
    assert!(last.hub.store.due_upkeep().await.unwrap().is_empty());

    // The days are over: what was under way has time to end, and then all of it goes.
    let over = cloud.process_later(A_DAY * 60);
    undelete(&over, "tune").await.refused(404, "repo_not_found");
    assert_eq!(listed(&over).await, [vec!["another".to_owned()], vec![]]);
    assert!(over.hub.store.due_upkeep().await.unwrap().iter().any(|due| due.as_str() == id));
    tidy(&over, &id).await.unwrap();
    assert!(!cloud.stored(&format!("packs/{id}/")).await.is_empty(), "it waits");
    let refusal = over.make_repo("tune").await.refused(409, "repo_exists");
    assert!(refusal.detail.contains("being removed"), "{}", refusal.detail);
    tidy(&cloud.process_later(A_DAY * 61), &id).await.unwrap();
    for prefix in ["packs", "objects"] {
        assert_eq!(cloud.stored(&format!("{prefix}/{id}/")).await, BTreeMap::new());
    }
    assert_eq!(items_of(&over, &id).await, BTreeMap::new());
    // Upkeep that comes late makes nothing of it.
    tidy(&over, &id).await.unwrap();
    assert_eq!(items_of(&over, &id).await, BTreeMap::new());

    let another = over.repo_id("another").await;
    let mut left = items_of(&over, &another).await;
    left.retain(|key, _| others.contains_key(key));
    assert_eq!(left, others);
    // Who has known the names before finds what has them now.
    for slug in ["song", "tune"] {
        process.refs(slug).await.refused(404, "repo_not_found");
        over.make_repo(slug).await.expect(201);
        assert_ne!(process.repo_id(slug).await, id);
    }
}

/// A process that counts what users hold.
fn counting(cloud: &Cloud, later: Duration) -> Process {
    let mut process = cloud.process_later(later);
    let (backends, location) = (&cloud.backends, cloud.backends.location.clone());
    let store = store::Store::new(&backends.dynamodb, &backends.s3, location, process.hub.store.ambient().clone());
    process.hub.store = std::sync::Arc::new(store.counting_usage(true));
    process
}

/// What a repo holds is its owner's no more, and the count of another is as it was.
#[tokio::test]
async fn a_repo_that_is_removed_is_counted_no_more() {
    let cloud = Cloud::start().await;
    let process = counting(&cloud, Duration::ZERO);
    let history = history::linear(9, 2, 2, 1);
    let owner = OWNER.parse().unwrap();
    let used = async || process.hub.store.usage(&owner).await.unwrap().bytes;
    let [stays, goes] = [full(&process, "stays", &history).await, full(&process, "goes", &history).await];
    process.hub.store.count_usage(&stays.parse().unwrap()).await.unwrap();
    let of_one = used().await;
    process.hub.store.count_usage(&goes.parse().unwrap()).await.unwrap();
    assert!(of_one > 0 && used().await > of_one);
    delete(&process, "goes").await.expect(200);
    for day in [40, 41, 42] {
        tidy(&counting(&cloud, A_DAY * day), &goes).await.unwrap();
    }
    assert_eq!(items_of(&process, &goes).await, BTreeMap::new());
    assert_eq!(used().await, of_one);
}

#[tokio::test]
async fn a_removal_that_breaks_off_anywhere_goes_on() {
    let cloud = Cloud::start().await;
    let process = cloud.process_later(Duration::ZERO);
    let history = history::linear(9, 2, 2, 1);
    for position in some_of(0..) {
        let slug = format!("song-{position}");
        let id = full(&process, &slug, &history).await;
        delete(&process, &slug).await.expect(200);
        let mut broke = 0;
        for day in [40, 41] {
            let run = cloud.process_later(A_DAY * day);
            let mut number = 0;
            let fault = if position % 2 == 0 { Fault::Refused } else { Fault::AnswerLost };
            run.tap.script(move |_| {
                number += 1;
                match number > position {
                    // From here on nothing is answered, and so the run ends.
                    true => Reaction::Fail(fault),
                    false => Reaction::Forward,
                }
            });
            broke += usize::from(tidy(&run, &id).await.is_err());
            // Half of it is not visible, and it is woken again.
            let after = cloud.process_later(A_DAY * 42);
            after.refs(&slug).await.refused(404, "repo_not_found");
            let left = items_of(&after, &id).await;
            if !left.is_empty() {
                assert!(left.contains_key(&format!("REPO#{id} REMOVAL")), "{left:?}");
                assert!(left.contains_key(&format!("NAME#dev/{slug} NAME")), "{left:?}");
                after.make_repo(&slug).await.refused(409, "repo_exists");
            }
        }
        for day in [43, 44, 45] {
            tidy(&cloud.process_later(A_DAY * day), &id).await.unwrap();
        }
        assert_eq!(items_of(&process, &id).await, BTreeMap::new(), "broken off at {position}");
        assert_eq!(cloud.stored(&format!("packs/{id}/")).await, BTreeMap::new());
        if broke == 0 {
            assert!(position > 10, "only {position} calls");
            return;
        }
    }
}

#[tokio::test]
async fn of_an_undeletion_and_a_removal_at_once_one_is_done() {
    let cloud = Cloud::start().await;
    let process = cloud.process_later(Duration::ZERO);
    let history = history::linear(10, 2, 2, 1);
    for removal_is_first in [false, true] {
        let slug = format!("song-{removal_is_first}");
        let id = full(&process, &slug, &history).await;
        delete(&process, &slug).await.expect(200);
        let (early, late) = (cloud.process_later(A_DAY * 29), cloud.process_later(A_DAY * 31));
        let (of, name) = (id.clone(), slug.clone());
        match removal_is_first {
            true => {
                early.before_transaction(async move { tidy(&late, &of).await.unwrap() });
                undelete(&early, &slug).await.refused(404, "repo_not_found");
            }
            false => {
                late.before_transaction(async move { drop(undelete(&early, &name).await.expect(200)) });
                tidy(&late, &of).await.unwrap();
            }
        }
        for day in [32, 33, 34] {
            tidy(&cloud.process_later(A_DAY * day), &id).await.unwrap();
        }
        match removal_is_first {
            true => assert_eq!(items_of(&process, &id).await, BTreeMap::new()),
            false => {
                assert_eq!(process.heads(&slug).await["main"], history.ids()[0]);
                assert_eq!(song::check(&cloud, &slug, true).await.findings, []);
            }
        }
    }
}
