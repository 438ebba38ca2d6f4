//! Requests whose bodies were PUT to S3 before: each is used once, and what goes wrong before that leaves it to be used.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use service::routes::Function;
use tests::cases::some_of;
use tests::client::Answer;
use tests::encoding::Encoding;
use tests::history::{self, History};
use tests::wiretap::{Call, Fault};

use crate::faults::fail_nth;
use crate::process::{Cloud, Process, put};
use crate::turns::{Turns, interleavings};

fn song() -> History {
    history::linear(31, 3, 6, 2)
}

/// All of the history but its last commit is there.
async fn begun(cloud: &Cloud, slug: &str) -> Process {
    let (process, history) = (cloud.process(), song());
    let parent = history.commit(history.last()).parents()[0];
    process.push_onto(slug, "main", &history, &[], parent).await.expect(200);
    process.refs(slug).await.expect(200);
    process
}

/// The body of the push of the last commit.
fn body() -> Bytes {
    let history = song();
    let bundle = history.pack(&[history.last()]).with_head("main", history.last());
    let body = json!({"bundle": bundle.to_value(), "branch": "main", "force": false});
    Encoding::Msgpack.encode(&body).into()
}

async fn push(process: &Process, slug: &str, upload: &str) -> Answer {
    process.call_by_reference(Function::Push, slug, Encoding::Msgpack, upload).await
}

async fn assert_holds_all(cloud: &Cloud, slug: &str) {
    let heads = BTreeMap::from([("main".to_owned(), song().last().to_owned())]);
    cloud.assert_holds(slug, &song(), &heads).await;
}

/// The calls that take the body, and do not yet use it.
fn takes_body(call: &Call) -> bool {
    ["GetItem UPLOAD", "UpdateItem UPLOAD"].contains(&call.name.as_str()) || call.key.starts_with("uploads/bodies/")
}

#[tokio::test]
async fn room_for_a_body_is_made_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let process = begun(&cloud, "song").await;
    process.tap.take();
    process.start_upload("song").await.expect(200);
    let calls = process.tap.take();
    for (position, call) in calls.iter().enumerate() {
        for fault in Fault::some_passing(position, call) {
            fail_nth(&process, position, fault);
            let answer = process.start_upload("song").await;
            process.tap.heal();
            let upload = answer.expect(200);
            put(upload["url"].as_str().expect("a URL"), body()).await;
            push(&process, "song", upload["upload_id"].as_str().expect("an id")).await.expect(200);
        }
    }
    assert_holds_all(&cloud, "song").await;
}

#[tokio::test]
async fn a_push_by_reference_survives_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let process = begun(&cloud, "undisturbed").await;
    let upload = process.put_body("undisturbed", body()).await;
    process.tap.take();
    let expected = push(&process, "undisturbed", &upload).await.expect(200);
    let calls = process.tap.take();
    for (position, call) in calls.iter().enumerate() {
        for (number, fault) in Fault::some_passing(position, call).enumerate() {
            let slug = format!("repo-{position}-{number}");
            let what = format!("{fault:?} of call {position}, {}", call.name);
            let process = begun(&cloud, &slug).await;
            let upload = process.put_body(&slug, body()).await;
            fail_nth(&process, position, fault);
            let answer = push(&process, &slug, &upload).await;
            process.tap.heal();
            assert_eq!(answer.status, 200, "{what}: {}", answer.excerpt());
            assert_eq!(answer.expect(200), expected, "{what}");
            push(&process, &slug, &upload).await.refused(422, "unknown_upload");
            assert_holds_all(&cloud, &slug).await;
        }
    }
}

/// As long as a body cannot be read, a request that refers to it is asked to come back, and then finds it.
#[tokio::test]
async fn a_body_that_cannot_be_taken_now_can_be_taken_later() {
    let cloud = Cloud::start().await;
    let faults = [Fault::Refused, Fault::Hangs, Fault::Status(500), Fault::Status(503), Fault::BrokenOff(100)];
    let kinds = ["GetItem UPLOAD", "HEAD uploads/", "UpdateItem UPLOAD", "GET uploads/ ranged"];
    let cases = kinds.into_iter().flat_map(|kind| faults.map(|fault| (kind, fault)));
    // An update whose answer breaks off was made: see the next test. A HEAD has no body that could.
    let cases = cases.filter(|(kind, fault)| kind.starts_with("GET ") || !matches!(fault, Fault::BrokenOff(_)));
    for (number, (kind, fault)) in cases.enumerate() {
        let slug = format!("repo-{number}");
        let process = begun(&cloud, &slug).await;
        let upload = process.put_body(&slug, body()).await;
        process.tap.fail_always(fault, move |call| call.name == kind);
        push(&process, &slug, &upload).await.refused(503, "unavailable");
        process.tap.heal();
        push(&process, &slug, &upload).await.expect(200);
        assert_holds_all(&cloud, &slug).await;
    }
}

/// No answer ever said that the body is this request's own to use, so the hub did not use it.
#[tokio::test]
async fn a_body_whose_taking_was_not_confirmed_can_be_taken_again() {
    let cloud = Cloud::start().await;
    let faults = [Fault::AnswerLost, Fault::AnswerHangs, Fault::MadeAndAnswered(500, "InternalServerError")];
    for (number, fault) in faults.into_iter().enumerate() {
        let slug = format!("repo-{number}");
        let process = begun(&cloud, &slug).await;
        let upload = process.put_body(&slug, body()).await;
        let mut made = 0;
        process.tap.fail_always(fault, move |call| {
            made += usize::from(call.name == "UpdateItem UPLOAD");
            // For as long as one call may be repeated, and no longer.
            call.name == "UpdateItem UPLOAD" && made <= 4
        });
        let answer = push(&process, &slug, &upload).await;
        process.tap.heal();
        if answer.status != 200 {
            answer.refused(503, "unavailable");
            push(&process, &slug, &upload).await.expect(200);
        }
        assert_holds_all(&cloud, &slug).await;
    }
}

/// It is said to be used, and what came of it is not there: the same request has to be sent with a new upload.
#[tokio::test]
async fn a_push_that_came_to_nothing_after_its_body_was_taken_can_be_sent_again_as_it_was() {
    let cloud = Cloud::start().await;
    let process = begun(&cloud, "song").await;
    let upload = process.put_body("song", body()).await;
    process.tap.fail_always(Fault::Refused, Call::is_transaction);
    push(&process, "song", &upload).await.refused(503, "unavailable");
    process.tap.heal();
    push(&process, "song", &upload).await.expect(200);
    push(&process, "song", &upload).await.refused(422, "unknown_upload");
    assert_holds_all(&cloud, "song").await;
}

/// A body that was used and whose bytes could not be deleted is used all the same.
#[tokio::test]
async fn a_body_that_cannot_be_deleted_is_used_once() {
    let cloud = Cloud::start().await;
    for (number, fault) in [Fault::Refused, Fault::Hangs, Fault::Status(500)].into_iter().enumerate() {
        let slug = format!("repo-{number}");
        let process = begun(&cloud, &slug).await;
        let upload = process.put_body(&slug, body()).await;
        process.tap.fail_always(fault, |call| call.name == "DELETE uploads/");
        push(&process, &slug, &upload).await.expect(200);
        process.tap.heal();
        for process in [&process, &cloud.process()] {
            push(process, &slug, &upload).await.refused(422, "unknown_upload");
        }
        assert_holds_all(&cloud, &slug).await;
    }
}

#[tokio::test]
async fn of_two_uses_of_one_body_in_whatever_order_one_is_the_first() {
    let cloud = Cloud::start().await;
    let processes = [begun(&cloud, "song").await, cloud.process()];
    for order in some_of(interleavings(5, 5)) {
        let upload = processes[0].put_body("song", body()).await;
        let turns = Turns::new(&order);
        for (who, process) in processes.iter().enumerate() {
            process.tap.take();
            turns.order(who, &process.tap, takes_body);
        }
        let [first, second] = [0, 1].map(|who| turns.through(who, push(&processes[who], "song", &upload)));
        let (first, second) = tokio::join!(first, second);
        let (used, refused) = if first.status == 200 { (first, second) } else { (second, first) };
        used.expect(200);
        refused.refused(422, "unknown_upload");
        processes.iter().for_each(|process| process.tap.heal());
    }
    assert_holds_all(&cloud, "song").await;
}

/// One request takes the body and cannot read it. A request after that may.
#[tokio::test]
async fn a_body_that_one_could_not_read_another_can() {
    let cloud = Cloud::start().await;
    let processes = [begun(&cloud, "song").await, cloud.process()];
    let upload = processes[0].put_body("song", body()).await;
    processes[0].tap.fail_always(Fault::Refused, |call| call.name == "GET uploads/ ranged");
    push(&processes[0], "song", &upload).await.refused(503, "unavailable");
    push(&processes[1], "song", &upload).await.expect(200);
    processes[0].tap.heal();
    push(&processes[0], "song", &upload).await.refused(422, "unknown_upload");
    assert_holds_all(&cloud, "song").await;
}
