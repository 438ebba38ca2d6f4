//! Keeps the packs of a repo few, and the tables that a request looks into fewer. A push leaves a pack, and a clone would read
//! them all.
//!
//! A run goes in steps, and each leaves the repo right:
//!
//! 1. **Choose** (`choose`). Packs are kept geometric. Neighbours that are out of order are merged. After a push, six packs have to
//!    be out of order before anything is done. When no packs are left to merge, the tables of all packs up to the last full one become
//!    an [`index`](crate::upkeep::index), geometrically as well.
//! 2. **Merge** (`merge`). One pack is written that holds exactly what its inputs held. What a branch has reached since becomes an
//!    ordinary record, and the rest stays staged. A record that came twice is kept once. Large objects stay where they are: the merged
//!    pack lists them with the name that their key has. Snapshots come in the order of their commits, and objects by the paths that
//!    those snapshots give them (`order`), so that versions of a file are compressed together. Each pack is read from front to back,
//!    so one frame of each is open.
//! 3. **Swap** ([`swap`](crate::upkeep::swap)). One transaction puts the new item, deletes the old ones on the condition that they are
//!    there, and puts `RETIRED#` and `SWEEP`.
//! 4. **Sweep** (`sweep`). After the [grace](crate::upkeep::swap::GRACE), which is longer than a request lives, retired packs are
//!    deleted from S3, unless an item names them. At the same time S3 is listed for files that no item has named for a day: what
//!    cut-off pushes and runs left, 100,000 keys of each kind and no more. If the commit of a branch, or a parent, is in no pack, none of
//!    those are deleted: one of them may be what is missing. What a repair has set aside stays until `musehub fsck --prune-damaged`.
//!
//! **Failure.** Before the swap nothing is visible, so a run may fail or die at any call, and what it wrote is garbage that a later
//! sweep finds. Of two runs at once one meets packs that are gone, in its transaction. It deletes what it wrote, and ends. A damaged
//! frame ends a run with an error that names pack and frame, and nothing is swapped. A run ends after 256 MiB of input, and the next
//! one goes on. A push touches other items than a merge, and neither waits for the other.
//!
//! **Readers.** A request that listed the old packs reads the old packs. The name of a merged pack sorts behind those of its inputs. So
//! a list that is read page by page while packs are swapped has the last input, or the merged pack, or both.
//!
//! **What wakes it.** In a deployment the table's stream, through a filter of Lambda's own: for a new `PACK#`, or a `SWEEP` that
//! DynamoDB's TTL has ended. Pushes within a minute are one batch, in which each repo is compacted once. A batch may come again whole,
//! since a repo that is in order has nothing to do. What fails is named to Lambda (`ReportBatchItemFailures`), tried four times more,
//! and then the batch is a dead letter. The next push to the repo wakes its compaction all the same. The `PACK#` of a run wakes one more
//! run, which finds what the first left over, most often nothing. In `musehub serve` a bounded queue does the same in the background,
//! each repo once however often it is pushed to. `musehub compact` does all there is to do at once.

mod catalog;
mod choose;
pub(crate) mod garbage;
pub(crate) mod merge;
mod order;
mod sweep;

pub(crate) use choose::MAX_INPUTS;
use choose::Size;

use crate::table::transaction::Outcome;
use crate::upkeep::swap::Swap;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::pack::{PackId, PackSummary};

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many bytes of packs it reads to merge them. It finishes the step at which it reaches this.
    pub bytes: u64,
    /// How many packs have to be out of order before they are merged, 2 or more.
    pub least: usize,
    /// How many bytes a merged pack has at most. A pack of more than half of that is full.
    pub pack_bytes: u64,
    /// Whether all indexes become one, even if that writes a large one again for a small one.
    pub one_index: bool,
}

impl Limits {
    /// After a push. Six at a time make a third of the merges that two at a time would make, for three packs more.
    pub const IN_PASSING: Self = Self { bytes: 256 << 20, least: 6, pack_bytes: choose::MAX_BYTES, one_index: false };
    /// For a run that an operator starts: all there is to do.
    pub const ALL: Self = Self { bytes: u64::MAX, least: 2, pack_bytes: choose::MAX_BYTES, one_index: true };
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compaction {
    /// Packs that the repo had.
    pub packs_before: u64,
    /// Packs that it has now, without those that were pushed meanwhile.
    pub packs_after: u64,
    /// Bytes of the packs that it had.
    pub bytes_before: u64,
    /// Bytes of those that it has now.
    pub bytes_after: u64,
    /// Packs that were merged. One that was made in this run and merged again counts too.
    pub packs_merged: u64,
    /// Bytes of the merged packs.
    pub bytes_merged: u64,
    /// Tables of packs and indexes that were merged into indexes.
    pub tables_merged: u64,
    /// Tables that a request looks into now.
    pub tables_after: u64,
    /// S3 objects that were deleted: packs that were merged long ago, and files without an item.
    pub deleted: u64,
    /// Packs that were merged and are not deleted yet, because requests may be reading them.
    pub retired: u64,
    /// Whether nothing is left to merge.
    pub is_done: bool,
}

impl Store {
    /// Merges packs of a repo as far as the limits go, and deletes files that no request reads any more. If there is
    /// nothing to do, a run costs two reads of the table.
    ///
    /// # Errors
    /// When the stores do not answer, or a pack is damaged, which is then still the repo's. What was merged before
    /// stays.
    pub async fn compact(&self, repo: &RepoId, limits: Limits) -> Result<Compaction, StoreError> {
        let (mut tables, retired) = tokio::try_join!(self.tables(repo), self.retired(repo))?;
        // Pushes never rely on a condemned pack, so it need not keep its place in the order.
        tables.retain(|(_, summary)| summary.condemned_at.is_none());
        let mut done = Compaction {
            packs_before: packs_of(&tables),
            bytes_before: bytes_of(&tables),
            retired: retired.iter().map(|(_, item)| item.packs.len() as u64).sum(),
            ..Compaction::default()
        };
        loop {
            let sizes: Vec<Size> = tables.iter().map(|(_, summary)| Size::of(summary)).collect();
            let packs = choose::choose(&sizes, limits.least, limits.pack_bytes);
            let range = packs.clone().or_else(|| choose::choose_tables(&sizes, limits.pack_bytes, limits.one_index));
            let Some(range) = range else {
                done.is_done = true;
                break;
            };
            if done.bytes_merged >= limits.bytes {
                break;
            }
            let chosen = tables.get(range.clone()).unwrap_or_default();
            let next = |end: usize| tables.get(end).map(|(next, _)| *next);
            let (range, name, summary) = if packs.is_some() {
                let merged = Box::pin(merge::merge(self, repo, chosen)).await;
                let Some((written, merged)) = self.unless_replaced(repo, chosen, merged).await? else {
                    break;
                };
                let range = range.start..range.start + merged;
                let name = self.name_behind(repo, last(&tables, range.end), next(range.end))?;
                let summary = written.summary;
                self.store_pack_as(name, repo, written).await?;
                (range, name, summary)
            } else {
                let name = self.name_behind(repo, last(&tables, range.end), next(range.end))?;
                let written = Box::pin(self.write_index(repo, name, chosen)).await;
                let Some(summary) = self.unless_replaced(repo, chosen, written).await? else {
                    break;
                };
                (range, name, summary)
            };
            let inputs = tables.get(range.clone()).unwrap_or_default();
            let gone = if packs.is_some() { inputs.iter().map(|(pack, _)| *pack).collect() } else { Vec::new() };
            let retired = gone.len() as u64;
            let outputs = vec![(name, summary)];
            let swap = Swap { inputs, outputs, gone, also: Vec::new(), has_large: false };
            if Box::pin(self.swap(repo, swap)).await? == Outcome::Conflict {
                tracing::info!(%repo, "another run has merged these packs");
                break;
            }
            let bytes: u64 = inputs.iter().map(|(_, summary)| summary.table.length).sum();
            if packs.is_some() {
                tracing::info!(%repo, pack = %name, packs = inputs.len(), bytes = summary.size, "packs were merged");
                done.packs_merged += inputs.len() as u64;
                done.bytes_merged += bytes_of(inputs);
            } else {
                tracing::info!(%repo, index = %name, tables = inputs.len(), bytes, "tables were merged");
                done.tables_merged += inputs.len() as u64;
                done.bytes_merged += bytes;
            }
            done.retired += retired;
            tables.splice(range, [(name, summary)]);
        }
        done.tables_after = tables.len() as u64;
        done.packs_after = packs_of(&tables);
        done.bytes_after = bytes_of(&tables);
        if self.is_due(&retired) {
            let swept = Box::pin(self.sweep(repo)).await?;
            done.deleted = swept.deleted;
            done.retired = done.retired.saturating_sub(swept.packs);
        }
        Ok(done)
    }
}

impl Store {
    /// Returns what was made of these tables; nothing if one of them has left the list and so may be deleted: a purge
    /// deletes at once.
    async fn unless_replaced<T>(
        &self,
        repo: &RepoId,
        inputs: &[(PackId, PackSummary)],
        made: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match made {
            Err(error) if error.is_damage() && self.was_replaced(repo, inputs).await? => {
                tracing::info!(%repo, "what was to be merged was written again meanwhile");
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    /// Whether one of these packs and indexes has left the list.
    pub(crate) async fn was_replaced(
        &self,
        repo: &RepoId,
        tables: &[(PackId, PackSummary)],
    ) -> Result<bool, StoreError> {
        let listed = self.tables(repo).await?;
        Ok(tables.iter().any(|(table, _)| listed.iter().all(|(name, _)| name != table)))
    }
}

/// How many packs these tables are of.
fn packs_of(tables: &[(PackId, PackSummary)]) -> u64 {
    tables.iter().map(|(_, summary)| summary.packs.max(1)).sum()
}

/// How many bytes those packs have.
fn bytes_of(tables: &[(PackId, PackSummary)]) -> u64 {
    tables.iter().map(|(_, summary)| summary.size).sum()
}

/// The name of the last table before a position.
fn last(tables: &[(PackId, PackSummary)], end: usize) -> PackId {
    end.checked_sub(1).and_then(|last| tables.get(last)).map_or_else(PackId::nil, |(last, _)| *last)
}
