//! What is seen of a request: the line in the log counts what the wire shows, and a fault can be found by its id.

use serde_json::{Value, json};
use tests::history::{self, History};
use tests::wiretap::{Call, Fault};

use crate::damage::{damage_from, is_read, long_song, pushed};
use crate::process::{Cloud, Process, put};

/// What a process logged of the requests since it was asked last, with the calls that it made for them.
fn since(process: &Process) -> (Vec<Value>, Vec<Call>) {
    (std::mem::take(&mut *process.log.lock().unwrap()), process.tap.take())
}

/// The line of the one request since, and its calls.
#[track_caller]
fn only(process: &Process) -> (Value, Vec<Call>) {
    let (mut lines, calls) = since(process);
    assert_eq!(lines.len(), 1, "{lines:?}");
    (lines.remove(0), calls)
}

#[track_caller]
fn assert_counts(line: &Value, calls: &[Call]) {
    let of_s3 = calls.iter().filter(|call| call.is_s3()).count();
    assert_eq!(line["s3_calls"], json!(of_s3), "{calls:?}");
    assert_eq!(line["dynamodb_calls"], json!(calls.len() - of_s3), "{calls:?}");
    assert!(calls.is_empty() || line["dollars"].as_f64().unwrap() > 0.0, "{line}");
}

fn song() -> History {
    history::linear(3, 6, 10, 2)
}

#[tokio::test]
async fn the_line_of_a_request_counts_the_calls_that_the_wire_shows() {
    let cloud = Cloud::start().await;
    let (process, history) = (cloud.process(), song());

    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let (line, calls) = only(&process);
    assert_counts(&line, &calls);
    assert_eq!((&line["function"], &line["status"], &line["commits"]), (&json!("push"), &json!(200), &json!(6)));
    assert_eq!((&line["user"], &line["repo"]), (&json!("user-dev"), &json!("dev/song")));
    assert!(line["write_units"].as_u64().unwrap() > 0, "{line}");
    assert_eq!(line["cold"], true);
    assert_eq!(line["transfer"], "streamed");
    assert!(line["first_byte_ms"].as_f64().unwrap() <= line["ms"].as_f64().unwrap(), "{line}");

    process.refs("song").await.expect(200);
    let (line, _) = only(&process);
    assert_eq!((&line["cold"], &line["transfer"]), (&json!(false), &json!("buffered")));

    // One that does not remember the pack.
    let other = cloud.process();
    other.fetch::<_, &str>("song", &[history.last()], &[]).await.unwrap().expect(200);
    let (line, calls) = only(&other);
    assert_counts(&line, &calls);
    assert!(calls.iter().any(Call::is_s3), "a fetch reads packs");
    assert!(line["read_units"].as_u64().unwrap() > 0, "{line}");

    // Signing a URL is no call.
    process.put_url("song", &format!("{:064x}", 1)).await;
    let (line, calls) = only(&process);
    assert_counts(&line, &calls);
    assert_eq!(line["s3_calls"], 0);

    // A retry is one more call.
    process.tap.fail_once(Fault::THROTTLED, |call| call.name == "GetItem META");
    process.refs("song").await.expect(200);
    let (line, calls) = only(&process);
    assert!(calls.iter().any(|call| call.fault.is_some()));
    assert_counts(&line, &calls);
}

#[tokio::test]
async fn a_push_that_sends_nothing_new_pushes_no_commits() {
    let cloud = Cloud::start().await;
    let (process, history) = (cloud.process(), song());
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let (lines, _) = since(&process);
    assert_eq!(lines.iter().map(|line| &line["commits"]).collect::<Vec<_>>(), [&json!(6), &json!(0)]);
}

#[tokio::test]
async fn a_body_by_reference_counts_as_the_bytes_that_came_in() {
    let cloud = Cloud::start().await;
    let (process, history) = (cloud.process(), song());
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let upload = process.start_upload("song").await.expect(200);
    let body = json!({"object_ids": [format!("{:064x}", 1)]}).to_string();
    put(upload["url"].as_str().unwrap(), body.clone()).await;
    since(&process);
    let id = upload["upload_id"].as_str().unwrap();
    let (function, encoding) = (service::routes::Function::FilterObjects, tests::encoding::Encoding::Json);
    process.call_by_reference(function, "song", encoding, id).await.expect(200);
    let (line, calls) = only(&process);
    assert_counts(&line, &calls);
    assert_eq!(line["bytes_in"], json!(body.len()));
}

#[tokio::test]
async fn a_fault_names_its_request_in_the_answer_and_in_the_log() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    process.tap.fail_always(Fault::Answered(400, "AccessDeniedException"), |call| !call.is_s3());
    let refused = process.refs("song").await.refused(500, "internal_error");
    let (line, _) = only(&process);
    let id = line["id"].as_str().unwrap();
    assert!(refused.detail.contains(id), "{} does not name {id}", refused.detail);
    assert_eq!((&line["status"], &line["code"]), (&json!(500), &json!("internal_error")));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_seen_as_such() {
    let cloud = Cloud::start().await;
    let history = long_song();
    pushed(&cloud, &history).await;
    let process = cloud.process();
    process.fetch::<_, &str>("song", &[history.last()], &[]).await.unwrap().expect(200);
    let (line, calls) = only(&process);
    assert!(line.get("cut_off").is_none(), "{line}");

    // The last read, when the answer has long begun.
    let reads = calls.iter().filter(|call| is_read(call)).count();
    let process = cloud.process();
    damage_from(&process, reads - 1, Fault::FlippedBit(77));
    assert!(process.fetch::<_, &str>("song", &[history.last()], &[]).await.is_err());
    let (line, _) = only(&process);
    assert_eq!((&line["status"], &line["cut_off"]), (&json!(200), &json!(true)));
    assert!(line["bytes_out"].as_u64().unwrap() > 0, "{line}");
}
