//! Deletes unreachable records: what force pushes and abandoned uploads leave. It works in two phases, without a lock, and at no cost
//! to a push.
//!
//! 1. **Condemn** (`condemn`). A record is garbage if none of these reaches it: a branch, a tag, a release, a line of the push log
//!    within the retention, a pack within the retention (which may hold what a later push names). If an eighth of the packs that hold
//!    garbage is garbage, each of them is written again as two: one without its garbage, and one of the garbage alone. The second is
//!    *condemned*: its item says since when. One transaction puts both in its place. If the pack is one of an index, a new index takes
//!    the place of the old one. Readers find a condemned pack as before; pushes and `filter-objects` do not rely on it any more. A run
//!    goes from the newest pack to the oldest, 256 MiB a run, so that what it leaves for the next run names nothing that it condemned.
//! 2. **Sweep** (`sweep`), a day later. If anything needs one of the condemned packs, that pack is revived as a whole: the note goes
//!    off its item. An hour later the others are looked at again, because the hub relies on all of a revived pack. If nothing needs
//!    them, one transaction takes them all off the list, and [`compact`](crate::upkeep::compact) deletes their files another hour later.
//!
//! **Why nothing is lost.** A request that listed a pack before it was condemned may rely on it, and ends within minutes. A request that
//! lists it afterwards does not rely on it. So a day later all that relies on a condemned pack has been written, and the sweep finds it.
//! The sweep keeps what is reached from every name *and from every record outside of the packs that it is about to drop*, reached or not,
//! since a later push may build upon that record. What lands while the sweep looks relies on nothing but those. The lines of the push log
//! that count are fixed when a pack is condemned; the sweep adds the newer ones. Branches are read before the packs that they lead into.
//!
//! **A push that needs what is condemned**, because its client learned earlier that the hub has it, finds that out before it is planned:
//! what it names, builds upon or moves a branch to is absent in one view and present in the other. It [revives](Store::revive) the packs.
//! Reviving and dropping are conditional writes of the same item, so only the first of the two lands. If that was the drop, the push is
//! refused. If such a push has moved a branch meanwhile, the next push revives what the branch leads to.
//!
//! **Gaps.** The first phase is never wrong, only more or less useful: nothing is lost by being condemned. If a commit, a snapshot or an
//! object is missing, neither phase does anything, because then reachability is unknown.
//!
//! **What wakes it.** After a push, compaction puts an item `GARBAGE` that expires 90 days later, if there is none. Its end wakes the
//! collection, through the same stream. So a repo that gets no more pushes is looked at once, and then left alone. While packs are
//! condemned, or something will be garbage later, the item is put again. `musehub serve` looks for expired items every hour.
//!
//! **Memory.** Eight bytes for each commit, a few bits for each record, and the keys of half a million records at a time.

pub(crate) mod condemn;
pub(crate) mod mark;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::FutureExt;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::table::items::{CONDEMNED_AT, CollectedItem, GarbageItem, Key, PACK_PREFIX, PK, encode};
use crate::table::transaction::{outcome_of, put};
use crate::upkeep::compact::MAX_INPUTS;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::pack::{PackId, PackSummary};
use common::time;
use common::wire::limits::MAX_PACKS;

/// How long unreachable records are kept. Until then a branch that was moved away by force, or deleted, can be restored.
pub const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How long packs are condemned before they are dropped. No request lives that long.
pub const CONDEMNED: Duration = Duration::from_secs(24 * 60 * 60);
/// When the next run goes on with what this one has left.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long unreachable records are kept.
    pub retention: Duration,
    /// If less than one byte in `one_in` of the packs that hold garbage is garbage, nothing is condemned: it is not
    /// worth writing those packs again.
    pub one_in: u64,
    /// How many bytes of packs it writes again. It finishes the pack at which it reaches this.
    pub bytes: u64,
    /// How many raw bytes of manifests it reads. If there are more, it does nothing.
    pub manifests: u64,
    /// Whether manifests are read even if nothing suggests that there is garbage.
    pub is_thorough: bool,
}

impl Limits {
    /// For a run that the hub starts itself: as much as a function can do in its time, and only if it is worth it.
    pub const IN_PASSING: Self =
        Self { retention: RETENTION, one_in: 8, bytes: 256 << 20, manifests: 4 << 30, is_thorough: false };
    /// For a run that an operator starts: all there is to do.
    pub const ALL: Self =
        Self { retention: RETENTION, one_in: u64::MAX, bytes: u64::MAX, manifests: u64::MAX, is_thorough: true };
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// Commits that were condemned.
    pub commits: u64,
    /// Snapshots that were condemned.
    pub snapshots: u64,
    /// Objects that were condemned.
    pub objects: u64,
    /// Raw bytes of all of them.
    pub bytes: u64,
    /// Packs that were written again without them.
    pub packs_rewritten: u64,
    /// Condemned packs that turned out to be needed.
    pub packs_revived: u64,
    /// Condemned packs that were taken off the repo's list.
    pub packs_dropped: u64,
    /// Packs that are condemned and not dropped yet.
    pub packs_condemned: u64,
    /// Why nothing was done, if the run was deferred.
    #[serde(rename = "put_off")]
    pub deferred: Option<Deferred>,
}

/// Why a run does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deferred {
    /// A branch, a commit or a snapshot names something that is missing.
    Incomplete,
    /// There are more bytes of manifests than it may read.
    TooLarge,
    /// The repo has as many packs as it may have.
    TooManyPacks,
}

/// The part of a pack's item that says whether it is condemned.
#[derive(Deserialize)]
struct NotedOnly {
    condemned_at: Option<IgnoredAny>,
}

impl Store {
    /// Looks for garbage in a repo, condemns it, and drops what was condemned long enough ago.
    ///
    /// # Errors
    /// When the stores do not answer, or a pack is damaged. Each pack that was dealt with until then is as it should be.
    pub async fn collect(self: &Arc<Self>, repo: &RepoId, limits: Limits) -> Result<Collection, StoreError> {
        let mut done = Collection::default();
        let seen = self.scheduled(repo).await?;
        if seen.is_none() {
            // In case this run does not reach its end.
            self.schedule(repo, None, Some(RETENTION)).await?;
        }
        let mut next = self.drop_condemned(repo, limits, &mut done).boxed().await?;
        if next.is_none() && done.deferred.is_none() {
            next = self.condemn(repo, limits, &mut done).boxed().await?;
        }
        let tables = self.tables(repo).await?;
        let condemned = tables.iter().filter_map(|(_, summary)| summary.condemned_at);
        done.packs_condemned = condemned.clone().count() as u64;
        let is_stuck = matches!(done.deferred, Some(Deferred::Incomplete | Deferred::TooLarge));
        let next = match condemned.min() {
            // An operator has to look at it first.
            Some(_) if is_stuck => Some(limits.retention),
            None if is_stuck => None,
            Some(oldest) => {
                let wait = CONDEMNED.saturating_sub(time::between(oldest, self.ambient.now()));
                Some(next.map_or(wait, |next| next.min(wait)).max(AGAIN))
            }
            None => next,
        };
        self.schedule(repo, seen, next).await?;
        Ok(done)
    }

    /// Revives condemned packs, so that pushes may rely on them again.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn revive(&self, repo: &RepoId, packs: &[PackId]) -> Result<(), StoreError> {
        for pack in packs {
            let key = Key::pack(repo, *pack);
            let revived = self
                .dynamodb
                .update_item()
                .table_name(&self.location.table)
                .set_key(Some(key.item()))
                .update_expression("REMOVE #condemned")
                .condition_expression("attribute_exists(#pk)")
                .expression_attribute_names("#condemned", CONDEMNED_AT)
                .expression_attribute_names("#pk", PK)
                .send()
                .await;
            // If it was dropped first, the push that needs it finds that out.
            outcome_of(revived, key)?;
            tracing::info!(%repo, %pack, "what was condemned is needed");
        }
        Ok(())
    }

    /// Collects garbage in a repo if that is due: by its item, or because the item `has_expired`. Else it makes sure
    /// that the item is there, since there was a push.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub async fn collect_if_due(
        self: &Arc<Self>,
        repo: &RepoId,
        has_expired: bool,
    ) -> Result<Option<Collection>, StoreError> {
        let due = self.scheduled(repo).await?;
        if has_expired || due.is_some_and(|due| due <= self.ambient.now()) {
            return self.collect(repo, Limits::IN_PASSING).boxed().await.map(Some);
        }
        if due.is_none() {
            self.schedule(repo, None, Some(RETENTION)).await?;
        }
        Ok(None)
    }

    /// Revives all condemned packs of a repo.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn revive_all(&self, repo: &RepoId) -> Result<(), StoreError> {
        // Nothing else of the items is read: a repair calls this, and the rest of an item may be damaged.
        let packs = self.query_for::<NotedOnly>(repo, PACK_PREFIX, MAX_PACKS, Some(&[CONDEMNED_AT])).await?;
        let condemned = packs.into_iter().filter(|(_, item)| item.condemned_at.is_some());
        let condemned = condemned.filter_map(|(name, _)| PackId::from_string(&name).ok());
        self.revive(repo, &condemned.collect::<Vec<_>>()).await
    }

    /// The condemned packs whose time is over. Packs that may need each other are dropped in one transaction. If there
    /// are too many for one, the last of them go first: what was pushed later is more likely to need what was there
    /// before than the other way round.
    fn due(&self, packs: &[(PackId, PackSummary)]) -> BTreeSet<PackId> {
        let over = time::before(self.ambient.now(), CONDEMNED);
        let is_due = |(_, summary): &&(_, PackSummary)| summary.condemned_at.is_some_and(|at| at <= over);
        packs.iter().rev().filter(is_due).map(|(pack, _)| *pack).take(MAX_INPUTS).collect()
    }

    /// When garbage is to be looked for.
    async fn scheduled(&self, repo: &RepoId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get_item::<GarbageItem>(&Key::garbage(repo)).await?.map(|item| item.expires_at))
    }

    /// Schedules the next look for garbage after `next`. Without `next` the item is deleted, and the next push puts it
    /// again. If a push has put it since, it expires later than `seen` and stays.
    async fn schedule(&self, repo: &RepoId, seen: Option<Timestamp>, next: Option<Duration>) -> Result<(), StoreError> {
        let key = Key::garbage(repo);
        let Some(next) = next else {
            return self.end_at(&key, seen.unwrap_or_else(|| self.due_in(RETENTION))).await;
        };
        self.put_item(&key, &GarbageItem { expires_at: self.due_in(next) }).await
    }

    fn due_in(&self, wait: Duration) -> Timestamp {
        time::whole_second(time::after(self.ambient.now(), wait))
    }

    /// Notes that lines of the push log older than this may name commits that are gone.
    async fn note_collected(&self, repo: &RepoId, log_kept_since: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let key = Key::collected(repo);
        let before = self.get_item::<CollectedItem>(&key).await?;
        let before = before.map_or(log_kept_since, |item| item.log_kept_since);
        let item = CollectedItem { log_kept_since: log_kept_since.max(before) };
        put(&self.location.table, encode(&key, &item)?)
    }
}
