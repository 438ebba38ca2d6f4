//! Keeps the packs of repos few. The table's stream wakes it, for a pack that has landed and for a sweep that is due; the
//! filter of its event source keeps everything else from it, so it costs nothing between pushes.
//!
//! What is done is the same however often it is done. So a batch of the stream may come again, whole or in part, and
//! repos that went well find nothing to do then. Those that did not are named to Lambda, which tries again from the first
//! of them and gives up in the end: a repo that is damaged holds up no other, and is a dead letter.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::HashSet;

use common::id::RepoId;
use common::observe;
use common::store::compact::{Compaction, Limits};
use common::store::items::{PACK_PREFIX, SWEEP, repo_of};
use common::store::{self, Store};
use common::stream::{Answer, Batch, Record};
use common::wire::error::with_causes;

/// What a repo may take, in milliseconds. With less left it is not begun.
const A_REPO_TAKES: u64 = 150_000;

/// Compacts the repos of a batch, each once, until `deadline`, in milliseconds since the Unix epoch.
pub async fn handle(store: &Store, batch: Batch, deadline: u64) -> Answer {
    observe::run_as(env!("CARGO_PKG_NAME"), store.ambient(), compact(store, batch, deadline)).await
}

/// Whether a change is one that this function is woken for: the filters of its event source say the same, and also that a
/// sweep has to have been ended by DynamoDB.
pub fn is_compacted(record: &Record) -> bool {
    repo_of(record.pk()).is_some()
        && match record.event_name.as_str() {
            "INSERT" => record.sk().starts_with(PACK_PREFIX),
            "REMOVE" => record.sk() == SWEEP,
            _ => false,
        }
}

/// Compacts one repo, as far as a run in passing goes.
///
/// # Errors
/// As [`Store::compact`].
pub async fn repo(store: &Store, repo: &RepoId) -> Result<Compaction, store::Error> {
    let run = Box::pin(store.compact(repo, Limits::IN_PASSING));
    observe::run_as(env!("CARGO_PKG_NAME"), store.ambient(), run).await
}

async fn compact(store: &Store, batch: Batch, deadline: u64) -> Answer {
    let mut seen: HashSet<RepoId> = HashSet::new();
    let mut answer = Answer::default();
    for record in batch.records {
        let Some(repo) = repo_of(record.pk()).filter(|repo| seen.insert(repo.clone())) else {
            continue;
        };
        if store.ambient().now_ms().saturating_add(A_REPO_TAKES) > deadline {
            tracing::warn!(%repo, "no time is left for this repo and those behind it");
            answer.fail(record.sequence_number());
            break;
        }
        match Box::pin(store.compact(&repo, Limits::IN_PASSING)).await {
            Ok(done) => tracing::info!(%repo, ?done, "compacted"),
            Err(error) => {
                tracing::error!(%repo, causes = with_causes(&error), "a repo was not compacted");
                answer.fail(record.sequence_number());
            }
        }
    }
    answer
}
