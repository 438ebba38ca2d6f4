//! A request that takes too long is given up before Lambda, or what is in front of it, ends it without a word.

use std::time::Duration;

use serde_json::json;
use service::routes::Function;
use tests::encoding::Encoding;
use tests::history;
use tests::wiretap::{Fault, Reaction};

use crate::damage::is_read;
use crate::process::{Cloud, Process, put};

#[tokio::test]
async fn a_push_that_takes_too_long_says_so_in_time_and_lands_when_it_is_sent_again() {
    let (cloud, history) = (Cloud::start().await, history::linear(5, 4, 6, 2));
    let mut process = cloud.process();
    process.lambda_time = Some(Duration::from_secs(15));
    // S3 is silent, for which the hub alone would wait half a minute.
    process.tap.script(|call| match call.name == "PUT packs/" {
        true => Reaction::Fail(Fault::Hangs),
        false => Reaction::Forward,
    });
    let began = tokio::time::Instant::now();
    let answer = process.push_onto("song", "main", &history, &[], history.last()).await;
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    let refusal = answer.refused(503, "unavailable");
    assert!(refusal.detail.contains("send the same request again"), "{}", refusal.detail);
    process.tap.heal();
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
}

#[tokio::test]
async fn a_body_that_was_taken_by_a_request_that_is_given_up_may_be_referred_to_again() {
    let (cloud, history) = (Cloud::start().await, history::linear(5, 4, 6, 2));
    let mut process = cloud.process();
    process.lambda_time = Some(Duration::from_secs(15));
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let upload = process.start_upload("song").await.expect(200);
    let url = upload["url"].as_str().expect("a URL");
    let body = Encoding::Msgpack.encode(&json!({"want": [history.last()], "have": []}));
    put(url, body).await;
    let fetch = async |process: &Process| {
        let (encoding, id) = (Encoding::Msgpack, upload["upload_id"].as_str().expect("an id"));
        process.call_by_reference(Function::Fetch, "song", encoding, id).await
    };
    let mut other = cloud.process();
    other.lambda_time = process.lambda_time;
    // Not the body, but the pack.
    other.tap.script(|call| match is_read(call) && call.key.starts_with("packs/") {
        true => Reaction::Fail(Fault::Hangs),
        false => Reaction::Forward,
    });
    fetch(&other).await.refused(503, "unavailable");
    other.tap.heal();
    fetch(&other).await.expect(200);
}
