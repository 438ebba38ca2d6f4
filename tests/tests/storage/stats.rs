//! What a repo is said to cost is what its requests are seen to ask of the storage.

use std::collections::BTreeSet;

use common::price;
use service::routes::Function;
use tests::history;
use tests::wiretap::{Call, sequence};

use crate::fsck::song::Song;
use crate::process::{Cloud, Process};

async fn stats(process: &Process, slug: &str) -> serde_json::Value {
    process.get(Function::Stats, slug).await.expect(200)
}

/// What the two requests of a clone ask for, without what they ask because they name a user.
async fn clone(refs: &Process, fetch: &Process, slug: &str) -> Vec<Call> {
    let heads: Vec<String> = refs.heads(slug).await.into_values().collect();
    fetch.fetch::<_, &str>(slug, &heads, &[]).await.expect("a whole answer").expect(200);
    let mut calls = refs.tap.take();
    calls.extend(fetch.tap.take());
    calls.retain(|call| !call.name.starts_with("GetItem MEMBER#"));
    calls
}

fn counts(calls: &[Call]) -> (usize, usize) {
    let gets = calls.iter().filter(|call| call.name.starts_with("GET ")).count();
    (calls.iter().filter(|call| !call.is_s3()).count(), gets)
}

/// The calls to DynamoDB and the GETs that a clone is said to make.
fn said(stats: &serde_json::Value, kind: &str) -> (usize, usize) {
    let number = |name: &str| stats["clone"][kind][name].as_u64().unwrap() as usize;
    (number("dynamodb_calls"), number("s3_gets"))
}

#[tokio::test]
async fn a_clone_makes_the_calls_that_are_counted() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(9, 12, 10, 3);
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], &ids[4]).await.expect(200);
    process.push_onto("song", "main", &history, &[&ids[4]], &ids[8]).await.expect(200);
    process.push_onto("song", "side", &history, &[&ids[8]], &ids[11]).await.expect(200);
    let stats = stats(&process, "song").await;
    process.tap.take();
    assert_eq!(counts(&clone(&process, &process, "song").await), said(&stats, "warm"));
    assert_eq!(counts(&clone(&cloud.process(), &cloud.process(), "song").await), said(&stats, "cold"));
    let dollars = |kind: &str| stats["clone"][kind]["dollars"].as_f64().unwrap();
    assert!(dollars("cold") > dollars("warm"));
    // Two requests to the API and to functions at the least.
    assert!(dollars("warm") > 2.0 * (price::API_GATEWAY_REST_REQUEST + price::LAMBDA_REQUEST));
}

#[tokio::test]
async fn where_a_branch_was_forced_away_a_clone_makes_no_more_calls_than_are_counted() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let process = cloud.process();
    let stats = stats(&process, song.slug).await;
    // One that knows the repo.
    clone(&process, &process, song.slug).await;
    let (calls, gets) = counts(&clone(&process, &process, song.slug).await);
    let (said_calls, said_gets) = said(&stats, "warm");
    assert_eq!(calls, said_calls);
    assert!((said_gets.saturating_sub(2)..=said_gets).contains(&gets), "{gets} of {said_gets}");
}

#[tokio::test]
async fn what_is_stored_is_counted_and_so_is_what_nothing_names() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let counted = stats(&cloud.process(), song.slug).await;
    let number = |name: &str| counted[name].as_u64().unwrap();
    assert_eq!(number("branches"), 3);
    assert_eq!(number("commits"), song.history.commits().len() as u64);
    assert_eq!(number("snapshots"), song.history.snapshots.len() as u64);
    assert_eq!(number("objects"), song.history.objects.len() as u64 + 1, "and the one that is staged");
    let files = song.files(&cloud).await;
    assert_eq!(number("stored_bytes"), files.values().map(|content| content.len() as u64).sum::<u64>());
    let content: u64 = song.history.objects.values().map(|content| content.len() as u64).sum();
    assert!(number("raw_bytes") > content);
    assert_eq!(counted["large"]["bytes"], song.large.content.len());
    assert_eq!(counted["garbage"]["count"], 0);

    for (key, bytes) in [("packs", 5), ("objects", 7)] {
        cloud.put(&format!("{key}/{}/left-over", song.repo), vec![0; bytes].into()).await;
    }
    let garbage = stats(&cloud.process(), song.slug).await["garbage"].clone();
    assert_eq!(garbage, serde_json::json!({"count": 2, "bytes": 12}));
}

#[tokio::test]
async fn stats_take_two_steps() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let process = cloud.process();
    stats(&process, song.slug).await;
    process.tap.take();
    stats(&process, song.slug).await;
    let items = ["GetItem MEMBER#", "GetItem META", "Query PACK#", "Query REF#"];
    let calls = process.tap.take();
    let steps = sequence(&calls).into_iter().map(|step| step.into_iter().collect::<BTreeSet<_>>());
    let steps: Vec<BTreeSet<&str>> = steps.collect();
    let behind = BTreeSet::from(["GET packs/ ranged", "LIST objects/", "LIST packs/", "Query REPO#"]);
    assert_eq!(steps, [BTreeSet::from(items), behind]);
}
