//! Tags and releases, and a storage that does half of what it is asked or does not say what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use service::routes::Function;
use tests::client::Answer;
use tests::history;
use tests::wiretap::{Call, Fault, Reaction};

use crate::faults::{fail_nth, through_any_fault};
use crate::process::{Cloud, Process};
use crate::turns::{Turns, interleavings};

/// A repo with one commit, a process that knows it, and the commit's id.
async fn begun(cloud: &Cloud, slug: &str) -> (Process, String) {
    let (process, history) = (cloud.process(), history::linear(41, 1, 3, 1));
    process.push_onto(slug, "main", &history, &[], history.last()).await.expect(200);
    process.refs(slug).await.expect(200);
    process.tap.take();
    (process, history.last().to_owned())
}

/// This many tags of one commit.
fn tags(count: usize, commit: &str) -> Value {
    let tag = |number: usize| {
        json!({
            "tag_id": format!("id-{number}"),
            "repo_id": "8a0f3c1e-local",
            "commit_id": commit,
            "tag": format!("v{number:04}"),
            "created_at": "2025-03-01T10:00:00+00:00",
        })
    };
    (0..count).map(tag).collect()
}

/// The tags that a process which has just started lists, by label.
async fn listed(cloud: &Cloud, slug: &str) -> BTreeMap<String, Value> {
    let answer = cloud.process().get(Function::Tags, slug).await.expect(200);
    let tags = answer["tags"].as_array().expect("a list").clone();
    tags.into_iter().map(|tag| (tag["tag"].as_str().expect("a label").to_owned(), tag)).collect()
}

async fn assert_listed(cloud: &Cloud, slug: &str, tags: &Value) {
    let expected: Vec<Value> = tags.as_array().expect("a list").clone();
    assert_eq!(listed(cloud, slug).await.into_values().collect::<Vec<_>>(), expected);
}

fn is_put(call: &Call) -> bool {
    call.name == "PutItem TAG#"
}

/// A write that arrives late does not take back what another client has written since, and is answered as if it had come first.
#[tokio::test]
async fn of_two_writes_of_a_tag_at_a_time_the_one_that_lands_first_is_there_whichever_is_answered_first() {
    let cloud = Cloud::start().await;
    for is_known in [false, true] {
        let slug = format!("song-{is_known}");
        let (process, commit) = begun(&cloud, &slug).await;
        let history = history::linear(42, 1, 3, 1);
        process.push_onto(&slug, "other", &history, &[], history.last()).await.expect(200);
        if is_known {
            process.post_tags(&slug, &tags(1, history.last())).await.expect(200);
            process.post_tags(&slug, &tags(1, &commit)).await.expect(200);
        }
        let (late, newer) = (cloud.process(), tags(1, history.last()));
        let others = {
            let (process, slug, newer) = (cloud.process(), slug.clone(), newer.clone());
            async move { drop(process.post_tags(&slug, &newer).await.expect(200)) }
        };
        let mut others = Some(Box::pin(others));
        late.tap.script(move |call| match others.take_if(|_| is_put(call)) {
            Some(others) => Reaction::After(others),
            None => Reaction::Forward,
        });
        let mut mine = tags(1, &commit);
        mine[0]["created_at"] = json!("2026-01-01T00:00:00+00:00");
        late.post_tags(&slug, &mine).await.expect(200);
        assert_listed(&cloud, &slug, &newer).await;
    }
}

/// A table that takes nothing for longer than a request can wait: that is a 503, and sent again it is done.
#[tokio::test]
async fn tags_that_are_never_processed_are_a_503_in_time() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "song").await;
    let tags = tags(60, &commit);
    for fault in [Fault::THROTTLED, Fault::Refused, Fault::Hangs, Fault::Status(500)] {
        process.tap.fail_always(fault, is_put);
        let began = tokio::time::Instant::now();
        process.post_tags("song", &tags).await.refused(503, "unavailable");
        let waited = began.elapsed().as_secs();
        assert!(waited < 60, "{fault:?}: {waited} s, and a client gives up after 60");
        process.tap.heal();
    }
    process.post_tags("song", &tags).await.expect(200);
    assert_listed(&cloud, "song", &tags).await;
}

#[tokio::test]
async fn tags_are_stored_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "undisturbed").await;
    let tags = tags(30, &commit);
    process.post_tags("undisturbed", &tags).await.expect(200);
    let calls = process.tap.take();
    assert_eq!(calls.iter().filter(|call| is_put(call)).count(), 30);
    for (position, call) in calls.iter().enumerate() {
        for (number, fault) in Fault::some_passing(position, call).enumerate() {
            let slug = format!("repo-{position}-{number}");
            let (process, _) = begun(&cloud, &slug).await;
            fail_nth(&process, position, fault);
            let answer = process.post_tags(&slug, &tags).await;
            assert_eq!(answer.status, 200, "{fault:?} of {}: {}", call.name, answer.excerpt());
            assert_eq!(answer.expect(200)["stored"], 30);
            process.tap.heal();
            assert_listed(&cloud, &slug, &tags).await;
            assert_eq!(process.post_tags(&slug, &tags).await.expect(200)["stored"], 30);
            assert!(process.tap.take().iter().rev().take_while(|call| !is_put(call)).count() >= 4, "nothing changed");
            assert_listed(&cloud, &slug, &tags).await;
        }
    }
}

#[tokio::test]
async fn tags_are_listed_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "song").await;
    let tags = tags(3, &commit);
    process.post_tags("song", &tags).await.expect(200);
    process.tap.take();
    let expected = process.get(Function::Tags, "song").await.expect(200);
    for (position, call) in process.tap.take().iter().enumerate() {
        for fault in Fault::some_passing(position, call) {
            fail_nth(&process, position, fault);
            assert_eq!(process.get(Function::Tags, "song").await.expect(200), expected, "{fault:?} of {}", call.name);
        }
    }
}

pub fn release(tag: &str, commit: &str, title: &str) -> Value {
    json!({
        "release_id": format!("id of {tag}"),
        "repo_id": "8a0f3c1e-local",
        "tag": tag,
        "semver": {"major": 1, "minor": 0, "patch": 0, "pre": "", "build": ""},
        "channel": "stable",
        "commit_id": commit,
        "snapshot_id": "",
        "title": title,
        "body": "",
        "changelog": [],
        "agent_id": "", "model_id": "",
        "is_draft": false,
        "gpg_signature": "",
        "created_at": "2025-03-01T10:00:00+00:00",
    })
}

/// The titles of the releases that a process which has just started lists, by tag.
async fn titles(cloud: &Cloud, slug: &str) -> BTreeMap<String, String> {
    let answer = cloud.process().get(Function::Releases, slug).await.expect(200);
    let text = |release: &Value, field: &str| release[field].as_str().expect("a text").to_owned();
    let releases = answer["releases"].as_array().expect("a list").clone();
    releases.iter().map(|release| (text(release, "tag"), text(release, "title"))).collect()
}

fn titled(tag: &str, title: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(tag.to_owned(), title.to_owned())])
}

/// A repo for each name, whose release of the name is posted.
async fn make_and_release(process: &Process, name: &str) -> Answer {
    let history = history::linear(41, 1, 3, 1);
    let pushed = process.push_onto(name, "main", &history, &[], history.last()).await;
    if pushed.status != 200 {
        return pushed;
    }
    process.post_release(name, &release("v1", history.last(), "ours")).await
}

#[tokio::test]
async fn a_release_is_published_through_any_fault_of_any_call() {
    through_any_fault(&Cloud::start().await, make_and_release).await;
}

#[tokio::test]
async fn a_release_whose_transaction_is_never_answered_is_published_once() {
    let cloud = Cloud::start().await;
    let faults = [Fault::AnswerLost, Fault::AnswerHangs, Fault::MadeAndAnswered(500, "InternalServerError")];
    for (number, fault) in faults.into_iter().enumerate() {
        let slug = format!("repo-{number}");
        let (process, commit) = begun(&cloud, &slug).await;
        process.tap.fail_always(fault, Call::is_transaction);
        let answer = process.post_release(&slug, &release("v1", &commit, "ours")).await.expect(201);
        assert_eq!(answer["release_id"], "id of v1");
        process.tap.heal();
        assert_eq!(titles(&cloud, &slug).await, titled("v1", "ours"));
        process.post_release(&slug, &release("v1", &commit, "ours again")).await.refused(409, "release_exists");
    }
}

/// A retry meets what its own first attempt wrote.
#[tokio::test]
async fn a_condition_that_fails_on_our_own_release_is_no_conflict() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "song").await;
    let mut attempts = 0;
    process.tap.script(move |call| {
        attempts += usize::from(call.is_transaction());
        match attempts {
            1 if call.is_transaction() => Reaction::Fail(Fault::AnswerLost),
            _ if call.is_transaction() => Reaction::Fail(Fault::Canceled("ConditionalCheckFailed")),
            _ => Reaction::Forward,
        }
    });
    process.post_release("song", &release("v1", &commit, "ours")).await.expect(201);
    assert_eq!(titles(&cloud, "song").await, titled("v1", "ours"));
}

/// Ours was not made, no answer said so, and by the time we look there is another's of the same tag: that is a conflict.
#[tokio::test]
async fn a_release_that_another_was_faster_with_is_a_409_also_when_it_is_not_heard_at_first() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "song").await;
    let they = Arc::new(cloud.process());
    let mut theirs = Some((Arc::clone(&they), release("v1", &commit, "theirs")));
    let mut attempts = 0;
    process.tap.script(move |call| {
        if !call.is_transaction() {
            return Reaction::Forward;
        }
        attempts += 1;
        match theirs.take() {
            Some((they, release)) => Reaction::After(Box::pin(async move {
                they.post_release("song", &release).await.expect(201);
            })),
            None if attempts < 5 => Reaction::Fail(Fault::AnswerLost),
            None => Reaction::Forward,
        }
    });
    process.post_release("song", &release("v1", &commit, "ours")).await.refused(409, "release_exists");
    assert_eq!(titles(&cloud, "song").await, titled("v1", "theirs"));
}

#[tokio::test]
async fn of_racing_releases_of_one_tag_in_whatever_order_one_is_published() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "song").await;
    let processes = [process, cloud.process()];
    let mut winners = BTreeSet::new();
    for (number, order) in interleavings(2, 2).into_iter().enumerate() {
        let tag = format!("v{number}");
        let turns = Turns::new(&order);
        for (who, process) in processes.iter().enumerate() {
            turns.order(who, &process.tap, |call| call.name == "Query REL#" || call.is_transaction());
        }
        let releases = ["first", "second"].map(|title| release(&tag, &commit, title));
        let [first, second] = [0, 1].map(|who| turns.through(who, processes[who].post_release("song", &releases[who])));
        let (first, second) = tokio::join!(first, second);
        let (title, published, refused) =
            if first.status == 201 { ("first", first, second) } else { ("second", second, first) };
        published.expect(201);
        refused.refused(409, "release_exists");
        assert_eq!(titles(&cloud, "song").await[&tag], title);
        winners.insert(title);
    }
    assert_eq!(winners.len(), 2, "each was first at some time");
}

#[tokio::test]
async fn a_release_is_retracted_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let (process, commit) = begun(&cloud, "song").await;
    let publish = async || drop(process.post_release("song", &release("v1", &commit, "ours")).await.expect(201));
    publish().await;
    process.tap.take();
    process.delete_release("song", "v1").await.expect(200);
    for (position, call) in process.tap.take().iter().enumerate() {
        for fault in Fault::some_passing(position, call) {
            publish().await;
            fail_nth(&process, position, fault);
            let answer = process.delete_release("song", "v1").await;
            process.tap.heal();
            assert_eq!(answer.status, 200, "{fault:?} of {}: {}", call.name, answer.excerpt());
            assert!(titles(&cloud, "song").await.is_empty());
        }
    }
    process.delete_release("song", "v1").await.refused(404, "release_not_found");
}
