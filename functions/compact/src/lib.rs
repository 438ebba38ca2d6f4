//! Keeps the packs of repos few, collects their garbage, erases what was purged, and removes repos that were deleted. The table's stream wakes it, for a pack that has
//! landed, for a purge, and for a sweep or a collection that is due; the filter of its event source keeps everything else from it, so it costs nothing
//! between pushes.
//!
//! What is done is the same however often it is done. So a batch of the stream may come again, whole or in part, and
//! repos that went well find nothing to do then. Those that did not are named to Lambda, which tries again from the first
//! of them and gives up in the end: a repo that is damaged holds up no other, and is a dead letter.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod shares;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::id::RepoId;
use common::time;
use common::wire::error::with_causes;
use jiff::Timestamp;
use service::BatchResponse;
use service::item_stream::{Batch, Record};
use store::Store;
use store::span;
use store::table::items::{GARBAGE, PACK_PREFIX, PURGE, REMOVAL, SWEEP, repo_of};
use store::upkeep::compact::{Compaction, Limits};
use store::upkeep::removal::Removal;

pub use shares::Shares;

/// What a repo may take. With less left it is not begun.
const A_REPO_TAKES: Duration = Duration::from_secs(240);

/// Compacts the repos of a batch, each once, until `deadline`. Those of an owner who has had
/// a share of this process's time wait for later, if others may be waiting.
pub async fn handle(store: &Arc<Store>, shares: &Shares, batch: Batch, deadline: Timestamp) -> BatchResponse {
    span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), Box::pin(compact(store, shares, batch, deadline))).await
}

/// Whether a change is one that this function is woken for: the filters of its event source say the same, and also that what
/// has ended has to have been ended by DynamoDB.
pub fn is_compacted(record: &Record) -> bool {
    repo_of(record.pk()).is_some()
        && match record.event_name.as_str() {
            "INSERT" => [PACK_PREFIX, PURGE].iter().any(|prefix| record.sk().starts_with(prefix)),
            "REMOVE" => [SWEEP, GARBAGE, REMOVAL].contains(&record.sk()),
            _ => false,
        }
}

/// Compacts one repo, as far as a run in passing goes, and collects its garbage if that is due. What was purged goes first. One that
/// was deleted long enough ago is removed.
///
/// # Errors
/// As [`Store::remove_if_due`], [`Store::erase`], [`Store::compact`], [`Store::collect`] and [`Store::count_usage`].
pub async fn repo(store: &Arc<Store>, repo: &RepoId) -> Result<Compaction, store::StoreError> {
    span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), Box::pin(tidy(store, repo, false))).await
}

async fn tidy(store: &Arc<Store>, repo: &RepoId, is_due: bool) -> Result<Compaction, store::StoreError> {
    let removal = store.remove_if_due(repo).await?;
    if removal != Removal::NotDue {
        tracing::info!(%repo, ?removal, "a deleted repo");
        return Ok(Compaction { is_done: true, ..Compaction::default() });
    }
    Box::pin(store.erase(repo)).await?;
    let compacted = Box::pin(store.compact(repo, Limits::IN_PASSING)).await?;
    if let Some(collected) = Box::pin(store.collect_if_due(repo, is_due)).await? {
        tracing::info!(%repo, ?collected, "garbage was collected");
    }
    store.count_usage(repo).await?;
    Ok(compacted)
}

async fn compact(store: &Arc<Store>, shares: &Shares, batch: Batch, deadline: Timestamp) -> BatchResponse {
    let ended = batch.records.iter().filter(|record| record.event_name == "REMOVE" && record.sk() == GARBAGE);
    let to_collect: HashSet<RepoId> = ended.filter_map(|record| repo_of(record.pk())).collect();
    let mut seen: HashSet<RepoId> = HashSet::new();
    let mut failed: Vec<String> = Vec::new();
    for record in batch.records {
        let Some(repo) = repo_of(record.pk()).filter(|repo| seen.insert(repo.clone())) else {
            continue;
        };
        if time::after(store.ambient().now(), A_REPO_TAKES) > deadline {
            tracing::warn!(%repo, "no time is left for this repo and those behind it");
            failed.push(record.sequence_number().to_owned());
            break;
        }
        let (is_due, began) = (to_collect.contains(&repo), store.ambient().elapsed());
        let outcome = async {
            if shares.has_had_enough(store, &repo, &record).await? {
                store.put_off_upkeep(&repo, is_due).await?;
                return Ok(None);
            }
            let done = Box::pin(tidy(store, &repo, is_due)).await;
            shares.count(store, &repo, began).await;
            done.map(Some)
        };
        match Box::pin(outcome).await {
            Ok(Some(done)) => tracing::info!(%repo, ?done, "compacted"),
            Ok(None) => tracing::info!(%repo, "its owner has had a share, and it waits for later"),
            Err(error) => {
                tracing::error!(%repo, causes = with_causes(&error), "a repo was not compacted");
                failed.push(record.sequence_number().to_owned());
            }
        }
    }
    failed.into_iter().collect()
}
