//! A repo that a user may not read is answered like one that is not there: by the whole answer, and by what it takes.

use std::time::Duration;

use serde_json::{Value, json};
use service::routes::Function;
use tests::client::Answer;
use tests::history;
use tests::wiretap::{Fault, Reaction, steps};

use crate::lines::Lines;
use crate::process::{Cloud, Process};

/// What can be asked about a repo, and what is posted.
fn questions() -> Vec<(Function, Option<Value>)> {
    let id = "a".repeat(64);
    vec![
        (Function::Refs, None),
        (Function::Repos, None),
        (Function::Stats, None),
        (Function::Tags, None),
        (Function::Releases, None),
        (Function::Webhooks, None),
        (Function::Push, Some(json!({"bundle": {}, "branch": "main"}))),
        (Function::PushObjects, Some(json!({"objects": []}))),
        (Function::Fetch, Some(json!({"want": [id]}))),
        (Function::FilterObjects, Some(json!({"object_ids": [id]}))),
        (Function::Negotiate, Some(json!({"want": [id]}))),
        (Function::Presign, Some(json!({"direction": "get", "object_ids": [id]}))),
        (Function::Tags, Some(json!({"tags": []}))),
        (Function::Uploads, Some(json!({}))),
    ]
}

/// All of an answer that does not name the repo, or the moment.
fn seen(answer: &Answer, slug: &str) -> (u16, String, Vec<(String, String)>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect();
    headers.sort_unstable();
    (answer.status, String::from_utf8_lossy(&answer.body).replace(slug, "<slug>"), headers)
}

/// The calls that were made since, and how many of them one after the other.
fn taken(process: &Process) -> (Vec<String>, usize) {
    let calls = process.tap.take();
    let mut names: Vec<String> = calls.iter().map(|call| call.name.clone()).collect();
    names.sort_unstable();
    (names, steps(&calls))
}

#[tokio::test]
async fn a_repo_that_a_user_may_not_read_is_answered_like_one_that_is_not_there_after_the_same_calls() {
    let cloud = Cloud::start().await;
    let owner = cloud.process();
    let history = history::linear(3, 3, 3, 1);
    owner.make_private_repo("hidden").await.expect(201);
    owner.push_onto("hidden", "main", &history, &[], history.last()).await.expect(200);

    // One that has never heard of the repo, and one that its owner has asked about it.
    let (cold, warm) = (cloud.process(), cloud.process());
    warm.refs("hidden").await.expect(200);
    owner.claim_handle("user-other", "other").await.expect(201);
    let token = |user| owner.tokens().mint(user, Duration::from_secs(600)).expect("a token");
    for token in [None, Some(token("user-other")), Some(token("user-without-a-handle"))] {
        for (function, body) in questions() {
            for process in [&cold, &warm] {
                // So that who the user is will be known in both cases, as far as that is remembered.
                process.ask(token.as_deref(), function, "absent", body.as_ref()).await;
                process.tap.take();
                let none = process.ask(token.as_deref(), function, "absent", body.as_ref()).await;
                let calls_of_none = taken(process);
                let hidden = process.ask(token.as_deref(), function, "hidden", body.as_ref()).await;
                assert_eq!(seen(&hidden, "hidden"), seen(&none, "absent"), "{function:?}");
                assert_eq!(taken(process), calls_of_none, "{function:?}");
                // In one machine a list that was begun takes the longer the longer it is, whichever request waits for it.
                let is_list = |name: &String| name.starts_with("Query");
                assert!(!calls_of_none.0.iter().any(is_list), "{function:?}: {calls_of_none:?}");
                assert!([401, 404].contains(&hidden.status), "{}", hidden.excerpt());
            }
        }
    }
}

/// However many branches and packs it has, and whatever those take.
#[tokio::test]
async fn who_may_not_read_a_repo_does_not_wait_for_its_lists() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    process.make_private_repo("hidden").await.expect(201);
    process.tap.script(|call| match call.name.starts_with("Query") {
        true => Reaction::Fail(Fault::Hangs),
        false => Reaction::Forward,
    });
    process.ask(None, Function::Refs, "hidden", None).await.refused(404, "repo_not_found");
    process.ask(None, Function::Fetch, "hidden", Some(&json!({"want": ["a"]}))).await.refused(404, "repo_not_found");
}

/// A link's secret is in the path of each request that follows it.
#[tokio::test]
async fn no_line_about_a_fault_holds_the_secret_of_a_link() {
    let lines = Lines::default();
    let _logging = lines.are_written();
    let cloud = Cloud::start().await;
    let process = cloud.process();
    process.make_repo("song").await.expect(201);
    process.tap.script(|_| Reaction::Fail(Fault::Status(500)));
    for (function, path) in [(Function::Refs, "/-/sesame/dev/song/refs"), (Function::Refs, "/-/sesame/dev/song/refs/")]
    {
        process.get_at(function, path, "song").await.refused(503, "unavailable");
    }
    let log = lines.text();
    assert!(log.contains("request failed") && log.contains("GET /-/{key}/{owner}/{slug}/refs"), "{log}");
    assert!(!log.contains("sesame"), "{log}");
    let requests = process.log.lock().unwrap();
    assert!(!requests.is_empty() && requests.iter().all(|line| !line.to_string().contains("sesame")));
}
