//! Keeps the packs of repos few, and collects garbage. The table's stream wakes it, for a pack that has landed and for a
//! sweep or a collection that is due; the
//! filter of its event source keeps everything else from it, so it costs nothing between pushes.
//!
//! What is done is the same however often it is done. So a batch of the stream may come again, whole or in part, and
//! repos that went well find nothing to do then. Those that did not are named to Lambda, which tries again from the first
//! of them and gives up in the end: a repo that is damaged holds up no other, and is a dead letter.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::HashSet;
use std::sync::Arc;

use common::id::RepoId;
use common::observe;
use common::store::compact::{Compaction, Limits};
use common::store::items::{GARBAGE, repo_of};
use common::store::{self, Store};
use common::wire::error::with_causes;
use serde::{Deserialize, Serialize};

/// What a repo may take, in milliseconds. With less left it is not begun.
const A_REPO_TAKES: u64 = 240_000;

/// A batch of a DynamoDB stream.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The changes, oldest first.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// A change of an item.
#[derive(Debug, Deserialize)]
pub struct Record {
    #[serde(rename = "eventName")]
    event_name: String,
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    keys: Keys,
    sequence_number: String,
}

#[derive(Debug, Deserialize)]
struct Keys {
    pk: Text,
    sk: Text,
}

#[derive(Debug, Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

/// What has to come again. <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The changes that were not dealt with; Lambda goes by the first.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failure>,
}

/// A change that was not dealt with.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its place in the stream.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

/// Compacts the repos of a batch, each once, until `deadline`, in milliseconds since the Unix epoch.
pub async fn handle(store: &Arc<Store>, event: Event, deadline: u64) -> Answer {
    observe::run_as(env!("CARGO_PKG_NAME"), store.ambient(), compact(store, event, deadline)).await
}

/// Compacts one repo, as far as a run in passing goes, and collects its garbage if that is due.
///
/// # Errors
/// As [`Store::compact`] and [`Store::collect`].
pub async fn repo(store: &Arc<Store>, repo: &RepoId) -> Result<Compaction, store::Error> {
    observe::run_as(env!("CARGO_PKG_NAME"), store.ambient(), Box::pin(tidy(store, repo, false))).await
}

async fn tidy(store: &Arc<Store>, repo: &RepoId, is_due: bool) -> Result<Compaction, store::Error> {
    let compacted = Box::pin(store.compact(repo, Limits::IN_PASSING)).await?;
    if let Some(collected) = Box::pin(store.collect_if_due(repo, is_due)).await? {
        tracing::info!(%repo, ?collected, "garbage was collected");
    }
    Ok(compacted)
}

async fn compact(store: &Arc<Store>, event: Event, deadline: u64) -> Answer {
    let has_ended = |record: &&Record| record.event_name == "REMOVE" && record.dynamodb.keys.sk.text == GARBAGE;
    let ended = event.records.iter().filter(has_ended).filter_map(|record| repo_of(&record.dynamodb.keys.pk.text));
    let to_collect: HashSet<RepoId> = ended.collect();
    let mut seen: HashSet<RepoId> = HashSet::new();
    let mut answer = Answer::default();
    for Record { dynamodb: Change { keys, sequence_number }, .. } in event.records {
        let Some(repo) = repo_of(&keys.pk.text).filter(|repo| seen.insert(repo.clone())) else {
            continue;
        };
        if store.ambient().now_ms().saturating_add(A_REPO_TAKES) > deadline {
            tracing::warn!(%repo, "no time is left for this repo and those behind it");
            answer.failures.push(Failure { sequence_number });
            break;
        }
        match Box::pin(tidy(store, &repo, to_collect.contains(&repo))).await {
            Ok(done) => tracing::info!(%repo, ?done, "compacted"),
            Err(error) => {
                tracing::error!(%repo, causes = with_causes(&error), "a repo was not compacted");
                answer.failures.push(Failure { sequence_number });
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_the_stream_sends_it() {
        // As in AWS's documentation, with our keys.
        let event = r#"{"Records": [{
            "eventID": "1", "eventVersion": "1.0", "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "dynamodb": {
                "Keys": {"pk": {"S": "REPO#01JD"}, "sk": {"S": "PACK#01JE"}},
                "NewImage": {"size": {"N": "101"}}, "ApproximateCreationDateTime": 1428537600,
                "SequenceNumber": "4421584500000000017450439091", "SizeBytes": 26, "StreamViewType": "NEW_IMAGE"
            },
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2025"
        }]}"#;
        let event: Event = serde_json::from_str(event).unwrap();
        assert_eq!(event.records.len(), 1);
        assert_eq!(event.records[0].dynamodb.keys.pk.text, "REPO#01JD");
        let failure = Failure { sequence_number: event.records[0].dynamodb.sequence_number.clone() };
        let answer = serde_json::to_string(&Answer { failures: vec![failure] }).unwrap();
        assert_eq!(answer, r#"{"batchItemFailures":[{"itemIdentifier":"4421584500000000017450439091"}]}"#);
        assert_eq!(serde_json::to_string(&Answer::default()).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
