//! What is missing, restored from a clone. Where the clone is and how it is asked is the caller's: it gives a stream of
//! records for a list of what is wanted, and nothing of it is believed.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::builder::Builder;
use super::{Action, BY};
use crate::catalog::{Copies, RecordId};
use crate::record::{Opened, open};
use crate::{Progress, Report, Step};
use common::id::Ids;
use common::id::{CommitId, ObjectKey};
use common::wire::error::Cause;
use store::compute;

use store::{Store, StoreError};

/// What a clone is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Commits, with their snapshots, and with the part of their history that is not behind `have`.
    pub commits: Vec<CommitId>,
    /// Commits that are here with all their history, which none of `commits` is behind.
    pub have: Vec<CommitId>,
    /// Objects. Those that come with the commits are the same ones.
    pub objects: Vec<ObjectKey>,
}

/// A record as a clone sends it.
#[derive(Debug)]
pub enum Restored {
    /// A commit or a snapshot, as one msgpack map, or the bytes of an object.
    Record {
        /// What it is said to be.
        id: RecordId,
        /// The record.
        record: Bytes,
    },
    /// An object of any size, in a file that stays there until the stream has ended.
    File {
        /// What it is said to be.
        object: ObjectKey,
        /// Where it is.
        path: PathBuf,
    },
}

/// Asks a clone.
pub type Restore<'b> = &'b (dyn Fn(Wanted) -> BoxStream<'static, Result<Restored, Cause>> + Send + Sync);

fn wanted(report: &Report) -> Wanted {
    let wanted = &report.diagnosis.wanted;
    let of_snapshots = wanted.snapshots.values().flatten().cloned();
    let mut commits: HashSet<CommitId> = wanted.commits.iter().cloned().chain(of_snapshots).collect();
    let unnamed: HashSet<_> =
        wanted.snapshots.iter().filter(|(_, commit)| commit.is_none()).map(|(id, _)| id).collect();
    if !unnamed.is_empty() {
        commits.extend(report.diagnosis.catalog.commits_of(&unnamed));
    }
    let have = report.diagnosis.catalog.frontier_below(&commits);
    let mut wanted =
        Wanted { commits: commits.into_iter().collect(), have, objects: wanted.objects.keys().cloned().collect() };
    wanted.commits.sort_unstable();
    wanted.objects.sort_unstable();
    wanted
}

/// Asks for what is wanted and stores what comes of it.
pub(super) async fn bring(
    store: &Arc<Store>,
    report: &Report,
    bring: Restore<'_>,
    progress: Progress<'_>,
) -> Result<Vec<Action>, StoreError> {
    let wanted = wanted(report);
    if wanted.commits.is_empty() && wanted.objects.is_empty() {
        return Ok(Vec::new());
    }
    let total = (wanted.commits.len() + wanted.objects.len()) as u64;
    let (repo, diagnosis) = (&report.repo_id, &report.diagnosis);
    let mut builder = Builder::new(store, repo);
    let mut taken: HashSet<RecordId> = HashSet::new();
    let mut uploaded: HashSet<ObjectKey> = HashSet::new();
    let (mut commits, mut snapshots, mut objects, mut refused) = (0, 0, 0, 0);
    let mut coming = bring(wanted);
    while let Some(restored) = coming.next().await {
        let restored = restored.map_err(StoreError::Unavailable)?;
        progress(Step { what: "from the clone", done: taken.len() as u64, total });
        let id = match &restored {
            Restored::Record { id, .. } => id.clone(),
            Restored::File { object, .. } => RecordId::Object(object.clone()),
        };
        // What is here already is not stored twice.
        if diagnosis.catalog.copies(&id).is_some_and(Copies::any_whole) || taken.contains(&id) {
            continue;
        }
        match restored {
            Restored::File { object, path } => {
                // It is proved where every upload is.
                store.upload_file(repo, &object, &path).await?;
                uploaded.insert(object);
            }
            Restored::Record { record, .. } => {
                // A hub with lenient ids believes its pushers, and no clone.
                match compute(|| open(&id, &record, Ids::Strict)) {
                    Err(reason) => {
                        tracing::warn!(%id, reason, "the clone sent something else");
                        refused += 1;
                        continue;
                    }
                    Ok(Opened::Commit(commit)) => {
                        commits += 1;
                        builder.commit(*commit).await?;
                    }
                    Ok(Opened::Snapshot(snapshot)) => {
                        let id = snapshot.snapshot_id.clone();
                        let stored = snapshot.record().map_err(StoreError::fault)?;
                        snapshots += 1;
                        builder.snapshot(id, stored.into(), false).await?;
                    }
                    Ok(Opened::Object) => {
                        if let RecordId::Object(key) = &id {
                            let is_staged = diagnosis.wanted.objects.get(key).copied().unwrap_or_default();
                            objects += 1;
                            builder.object(key.clone(), record.clone(), is_staged).await?;
                        }
                    }
                }
            }
        }
        taken.insert(id);
    }
    if !uploaded.is_empty() {
        objects += uploaded.len() as u64;
        let reached = uploaded.iter().filter(|key| !diagnosis.wanted.objects.get(*key).copied().unwrap_or_default());
        builder.reach(reached.cloned());
        store.take_uploads(repo, diagnosis.listed.len(), uploaded, BY).await?;
    }
    builder.flush().await?;
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Action::Restored { commits, snapshots, objects, refused }])
}
