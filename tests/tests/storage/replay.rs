//! Dead letters are handed to the function that failed, and are gone when it did everything.

use std::collections::BTreeSet;

use local::replay::{DeadLetters, Fate, Function, Line, PREFIX, Summary};
use serde_json::{Value, json};
use store::upkeep::compact::Limits;
use tests::history;

use crate::bus::{Bus, Place};
use crate::events::{items, record};
use crate::process::{Cloud, Process};

/// A dead letter of these changes as Lambda writes it, this much of the time of its name.
async fn dead_letter(cloud: &Cloud, mapping: &str, second: u32, records: &[&Value]) -> String {
    let batch = json!({"Records": records});
    let dead_letter = json!({
        "requestContext": {"condition": "RetryAttemptsExhausted", "functionArn": "arn:aws:lambda:f"},
        "version": "1.0",
        "DDBStreamBatchInfo": {"shardId": "shardId-1", "batchSize": records.len()},
        "payload": batch.to_string(),
    });
    put(cloud, mapping, second, dead_letter.to_string()).await
}

async fn put(cloud: &Cloud, mapping: &str, second: u32, content: String) -> String {
    let key = format!("{PREFIX}{mapping}/shardId-1/2026/11/22/2026-11-22T10.00.{second:02}-9d4d");
    cloud.put(&key, content.into()).await;
    key
}

/// Replays with the means of a process that has just started.
async fn replay(cloud: &Cloud, process: &Process, bus: &Bus, is_dry: bool) -> (Vec<Line>, Summary) {
    let config = cloud.backends.s3.clone().into_builder().http_client(process.tap.clone()).build();
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let dead_letters = DeadLetters::new(aws_sdk_s3::Client::from_conf(s3), cloud.backends.location.bucket.clone());
    let mut lines = Vec::new();
    let publishers = || Ok(bus.publishers(cloud, process));
    let summary = dead_letters.replay(&process.hub.store, publishers, is_dry, |line| lines.push(line.clone())).await;
    (lines, summary.expect("the bucket answers"))
}

fn fates(lines: &[Line]) -> Vec<(&str, &Fate)> {
    lines.iter().map(|line| (line.key.as_str(), &line.fate)).collect()
}

#[tokio::test]
async fn dead_letters_are_replayed_in_the_order_of_time_and_deleted() {
    let cloud = Cloud::start().await;
    let (process, bus) = (cloud.process(), Bus::default());
    let history = history::linear(8, 8, 4, 1);
    let mut known = BTreeSet::new();
    for commit in history.ids() {
        let mut bundle = history.pack(&[&commit]).with_head("main", &commit);
        bundle.objects.retain(|object| known.insert(object.id.clone()));
        process.push("song", "main", false, &bundle).await.expect(200);
    }
    let repo = process.repo_id("song").await;
    let changes: Vec<Value> =
        items(&process, &repo).await.iter().enumerate().map(|(number, item)| record("INSERT", number, item)).collect();
    let of = |prefix: &str| -> Vec<&Value> {
        let is_of = |change: &&Value| change["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap().starts_with(prefix);
        changes.iter().filter(is_of).collect()
    };
    let (lines, packs) = (of("LOG#"), of("PACK#"));
    assert_eq!((lines.len(), packs.len()), (8, 8));
    let later = dead_letter(&cloud, "a", 2, &lines[4..]).await;
    let earlier = dead_letter(&cloud, "b", 1, &lines[..4]).await;
    let to_compact = dead_letter(&cloud, "c", 3, &packs).await;
    let torn = put(&cloud, "a", 0, "{\"version\": \"1.0\"".to_owned()).await;

    let listed = replay(&cloud, &cloud.process(), &bus, true).await;
    let keys: Vec<&str> = listed.0.iter().map(|line| line.key.as_str()).collect();
    assert_eq!(keys, [&torn, &earlier, &later, &to_compact]);
    assert!(matches!(listed.0[0].fate, Fate::Unreadable(_)), "{}", listed.0[0]);
    assert_eq!((listed.1, listed.0[3].function), (Summary { good: 3, kept: 1, more: 0 }, Some(Function::Compact)));
    assert_eq!((bus.published(), cloud.stored(PREFIX).await.len()), (vec![], 4), "nothing was done");

    // The bus takes one less than the first dead letter has.
    let third = lines[2]["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap().strip_prefix("LOG#").unwrap().to_owned();
    bus.script(
        move |place, id| {
            if place == Place::Bus && id == third { crate::bus::Fate::Refused } else { crate::bus::Fate::Taken }
        },
    );
    let (reported, summary) = replay(&cloud, &cloud.process(), &bus, false).await;
    let kept = [(earlier.as_str(), &Fate::Failed(1)), (&later, &Fate::Waits), (&to_compact, &Fate::Replayed)];
    assert_eq!(fates(&reported)[1..], kept);
    assert_eq!((summary, bus.published().len()), (Summary { good: 1, kept: 3, more: 0 }, 2));
    let done = cloud.process().compact("song", Limits::IN_PASSING).await.expect("a run");
    assert_eq!(done.packs_before, 1, "it was compacted");

    bus.heal();
    let (reported, summary) = replay(&cloud, &cloud.process(), &bus, false).await;
    assert_eq!(fates(&reported)[1..], [(earlier.as_str(), &Fate::Replayed), (&later, &Fate::Replayed)]);
    assert_eq!(summary, Summary { good: 2, kept: 1, more: 0 });
    let ids: Vec<String> = bus.published().iter().map(|entry| entry["Detail"].as_str().unwrap().to_owned()).collect();
    let ids: Vec<String> = ids
        .iter()
        .map(|detail| serde_json::from_str::<Value>(detail).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 8);
    assert!(ids.is_sorted(), "in their order");
    assert_eq!(cloud.stored(PREFIX).await.into_keys().collect::<Vec<_>>(), [torn], "what cannot be read stays");
}
