//! What a repo holds, and what of it is reached.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::PutOff;
use crate::id::{CommitId, ObjectKey, RepoId, SnapshotId};
use crate::pack::index::FrameRecords;
use crate::pack::{Contents, GraphSection, Kind, PackId, PackSummary};
use crate::store::catalog::Catalog;
use crate::store::items::{LOG_PREFIX, REF_PREFIX, RELEASE_PREFIX, RefItem, TAG_PREFIX};
use crate::store::{Error, Store};
use crate::wire::limits::{MAX_BRANCHES, MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO};
use crate::wire::record::Snapshot;

/// Tables read at the same time.
const PARALLEL_READS: usize = 16;
/// Lines of the push log within the retention. With more, the repo has been pushed to once a second for all of it.
const MAX_LINES: usize = 2_600_000;
/// By how much the clocks of those who name things may differ, in milliseconds.
const CLOCKS_DIFFER_MS: u64 = 60 * 60 * 1_000;

/// A pack and what it lists.
pub(super) struct Held {
    pub(super) pack: PackId,
    pub(super) summary: PackSummary,
    pub(super) graph: GraphSection,
    pub(super) contents: Contents,
}

/// What a repo holds.
pub(super) struct Holdings {
    pub(super) packs: Vec<Held>,
    /// Where it lies.
    pub(super) index: Catalog,
}

/// The commits that have names.
pub(super) struct Roots {
    /// Where the branches are.
    pub(super) heads: Vec<CommitId>,
    /// Those of tags and releases. They need not be there: with ids that are not hashes, nobody looks.
    pub(super) labels: Vec<CommitId>,
    /// Those of the push log, as far back as is kept.
    pub(super) log: Vec<CommitId>,
}

#[derive(Deserialize)]
struct Labeled {
    commit_id: CommitId,
}

#[derive(Deserialize)]
struct Line {
    before: Option<CommitId>,
    after: CommitId,
}

impl Held {
    /// The snapshots that it lists, with the bytes of their records.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = (&SnapshotId, u32)> {
        let lists = self.contents.records.iter().filter_map(|records| match records {
            FrameRecords::Snapshots(list) => Some(list),
            FrameRecords::Commits(_) | FrameRecords::Objects(_) => None,
        });
        lists.flatten().map(|(id, length)| (id, *length))
    }

    /// The objects that it lists, with their sizes, and whether it says that a branch has reached them.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&ObjectKey, u64, bool)> {
        let frames = self.contents.frames.iter().zip(&self.contents.records);
        let packed = frames.flat_map(|(frame, records)| {
            let list = match records {
                FrameRecords::Objects(list) => list.as_slice(),
                FrameRecords::Commits(_) | FrameRecords::Snapshots(_) => &[],
            };
            list.iter().map(move |(key, length)| (key, u64::from(*length), frame.kind == Kind::Objects))
        });
        let own = self.contents.large.iter().map(|(key, size)| (key, *size, false));
        let inherited = self.contents.inherited.iter().map(|(_, key, size)| (key, *size, false));
        packed.chain(own).chain(inherited)
    }

    /// The commits that it lists, with the bytes of their records.
    pub(super) fn commits(&self) -> impl Iterator<Item = (&CommitId, u32)> {
        let lists = self.contents.records.iter().filter_map(|records| match records {
            FrameRecords::Commits(list) => Some(list),
            FrameRecords::Snapshots(_) | FrameRecords::Objects(_) => None,
        });
        lists.flatten().map(|(id, length)| (id, *length))
    }
}

impl Holdings {
    /// These commits and all their ancestors; none if one of those is missing.
    pub(super) fn history<'a>(&'a self, of: impl IntoIterator<Item = &'a CommitId>) -> Option<HashSet<&'a CommitId>> {
        let mut waiting: Vec<&CommitId> = of.into_iter().collect();
        let mut seen: HashSet<&CommitId> = waiting.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            waiting.extend(self.index.graph().parents(id)?.into_iter().filter(|parent| seen.insert(parent)));
        }
        Some(seen)
    }

    /// The snapshots of commits; none if one of those is missing.
    pub(super) fn snapshots_of<'a>(&'a self, commits: &HashSet<&'a CommitId>) -> Option<HashSet<&'a SnapshotId>> {
        let named = commits.iter().filter_map(|id| self.index.graph().payload(id)?.snapshot.as_ref());
        named.map(|id| self.index.snapshot(id).map(|_| id)).collect()
    }
}

impl Store {
    /// Reads what packs list, unless that is more than `most` records.
    pub(super) async fn holdings(
        &self,
        repo: &RepoId,
        packs: &[(PackId, PackSummary)],
        most: u64,
    ) -> Result<Result<Holdings, PutOff>, Error> {
        let records = |summary: &PackSummary| summary.commits + summary.snapshots + summary.objects;
        if packs.iter().map(|(_, summary)| records(summary)).sum::<u64>() > most {
            return Ok(Err(PutOff::TooLarge));
        }
        let packs: Vec<Held> = stream::iter(packs.to_vec())
            .map(|(pack, summary)| async move {
                let (pack, graph, contents) = self.read_table(repo, pack, &summary).await?;
                Ok::<_, Error>(Held { pack, summary, graph, contents })
            })
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        let index = Catalog::of(packs.iter().map(|held| (held.pack, &held.graph, &held.contents)))?;
        Ok(Ok(Holdings { packs, index }))
    }

    /// The commits that have names, and those of the push log from a time on, in milliseconds since the Unix epoch.
    pub(super) async fn roots(&self, repo: &RepoId, log_since: u64) -> Result<Roots, Error> {
        let labels = async |prefix, limit| self.query_for::<Labeled>(repo, prefix, limit, Some(&["commit_id"])).await;
        let (heads, tags, releases, log) = tokio::try_join!(
            self.query::<RefItem>(repo, REF_PREFIX, MAX_BRANCHES),
            labels(TAG_PREFIX, MAX_TAGS_OF_REPO),
            labels(RELEASE_PREFIX, MAX_RELEASES_OF_REPO),
            self.log_since(repo, log_since),
        )?;
        Ok(Roots {
            heads: heads.into_iter().map(|(_, branch)| branch.head).collect(),
            labels: tags.into_iter().chain(releases).map(|(_, label)| label.commit_id).collect(),
            log,
        })
    }

    async fn log_since(&self, repo: &RepoId, since: u64) -> Result<Vec<CommitId>, Error> {
        let first = ulid::Ulid::from_parts(since.saturating_sub(CLOCKS_DIFFER_MS), 0);
        let lines = self
            .query_from::<Line>(repo, LOG_PREFIX, &first.to_string(), MAX_LINES, Some(&["before", "after"]))
            .await?;
        let mut commits: Vec<CommitId> =
            lines.into_iter().flat_map(|(_, line)| line.before.into_iter().chain([line.after])).collect();
        commits.sort_unstable();
        commits.dedup();
        Ok(commits)
    }

    /// Shows `see` each object that these snapshots name, until it says that this is enough.
    pub(super) async fn read_manifests(
        self: &Arc<Self>,
        repo: &RepoId,
        index: &Catalog,
        snapshots: impl Iterator<Item = &SnapshotId>,
        limit: u64,
        mut see: impl FnMut(ObjectKey) -> Result<(), PutOff>,
    ) -> Result<Result<(), PutOff>, Error> {
        let mut places: Vec<_> = snapshots.filter_map(|id| index.snapshot(id)).collect();
        if places.iter().map(|place| u64::from(place.length)).sum::<u64>() > limit {
            return Ok(Err(PutOff::TooLarge));
        }
        places.sort_unstable();
        let mut records = self.read_records(repo, |place| index.frame(place), &places)?;
        while let Some(record) = records.next().await? {
            let snapshot: Snapshot<'_> =
                rmp_serde::from_slice(&record).map_err(|error| Error::Damaged(format!("a snapshot: {error}")))?;
            for (_, object) in &snapshot.manifest.entries {
                if let Err(put_off) = see(object.key()) {
                    return Ok(Err(put_off));
                }
            }
        }
        Ok(Ok(()))
    }
}
