//! The first phase: garbage goes into packs of its own, which are condemned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::Timestamp;

use super::mark::{Reach, Role, Roots, Share};
use super::{AGAIN, Collection, Deferred, Limits};
use crate::table::transaction::Outcome;
use crate::upkeep::compact::garbage::Garbage;
use crate::upkeep::compact::merge::split;
use crate::upkeep::index::{Index, Listing};
use crate::upkeep::survey::Survey;
use crate::upkeep::swap::Swap;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::pack::{PackId, PackSummary};
use common::time;
use common::wire::limits::MAX_PACKS;

/// How many packs of an index are written again at once. The transaction has an item for each of them, and some more.
pub(crate) const REWRITTEN_AT_ONCE: usize = 60;
/// How many garbage records those packs may have together, or one of them alone: their keys are in memory.
pub(crate) const GARBAGE_AT_ONCE: u64 = 500_000;

/// What becomes of the garbage that goes out of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It goes into packs that are condemned.
    Condemned,
    /// It is written nowhere.
    Dropped,
}

/// Packs with garbage, the newest first.
pub(crate) type Shares = Vec<(u32, Share)>;

impl Store {
    /// Condemns garbage. Returns when there may be more, if ever.
    pub(super) async fn condemn(
        self: &Arc<Self>,
        repo: &RepoId,
        limits: Limits,
        done: &mut Collection,
    ) -> Result<Option<Duration>, StoreError> {
        let kept_since = time::before(self.ambient.now(), limits.retention);
        // In this order: the branches first, so that what they lead to is in packs that are listed afterwards.
        let roots = self.roots(repo, kept_since).await?;
        let listing = self.listing(repo).await?;
        let survey = self.survey(repo, &listing).await?;
        let roles = survey.packs().iter().map(|pack| role(pack, kept_since)).collect();
        let found = self.find_garbage(repo, &survey, roles, &roots, limits).await?;
        let (reach, mut shares, later) = match found {
            Ok(found) => found,
            Err(deferred) => {
                tracing::warn!(%repo, ?deferred, "no garbage was looked for");
                done.deferred = Some(deferred);
                return Ok(None);
            }
        };
        let sum = |bytes: fn(&Share) -> u64| shares.iter().map(|(_, share)| bytes(share)).fold(0, u64::saturating_add);
        if sum(|share| share.bytes).saturating_mul(limits.one_in) < sum(|share| share.of) {
            return Ok(later.then_some(limits.retention));
        }
        let pack = |number: u32| survey.packs().get(number as usize).copied().ok_or_else(no_pack);
        let (mut count, mut bytes) = (listing.tables.len(), 0_u64);
        let mut replaced: Option<PackId> = None;
        while let Some((first, _)) = shares.first() {
            let index = listing.index_of(pack(*first)?.0);
            // An index is replaced once in a run, because the list was read before its successor came.
            let is_replaced = index.is_some_and(|index| replaced == Some(index.name));
            if bytes >= limits.bytes || is_replaced {
                return Ok(Some(AGAIN));
            }
            let of_index = |pack: PackId| index.is_some_and(|index| index.packs.iter().any(|(of, _)| *of == pack));
            let (mut rewritten, mut records) = (Vec::new(), 0);
            for (number, share) in &shares {
                let (pack, summary) = pack(*number)?;
                records += share.records();
                let fits = of_index(pack)
                    && rewritten.len() < REWRITTEN_AT_ONCE
                    && records <= GARBAGE_AT_ONCE
                    && bytes < limits.bytes;
                if !rewritten.is_empty() && !fits {
                    break;
                }
                bytes = bytes.saturating_add(summary.size);
                rewritten.push((pack, summary));
            }
            count += rewritten.len();
            if count > MAX_PACKS {
                done.deferred = Some(Deferred::TooManyPacks);
                break;
            }
            replaced = index.map(|index| index.name).or(replaced);
            let rest = shares.split_off(rewritten.len());
            let condemned = std::mem::replace(&mut shares, rest);
            let garbage = reach.garbage_of(&condemned.iter().map(|(number, _)| *number).collect()).await?;
            let also = vec![self.note_collected(repo, kept_since).await?];
            let rest = Rest::Condemned;
            if self.rewrite(repo, &listing, index, &rewritten, &garbage, rest, also).await? == Outcome::Conflict {
                tracing::info!(%repo, "these packs were merged meanwhile");
                return Ok(Some(AGAIN));
            }
            for ((pack, _), (_, share)) in rewritten.iter().zip(condemned) {
                tracing::info!(%repo, %pack, bytes = share.bytes, "records that no root reaches were condemned");
                done.packs_rewritten += 1;
                done.commits += share.commits;
                done.snapshots += share.snapshots;
                done.objects += share.objects;
                done.bytes += share.bytes;
            }
        }
        Ok(later.then_some(limits.retention))
    }

    /// Writes packs again without their garbage. The garbage goes into packs that are condemned, or is dropped. The
    /// packs are a single listed one, or several of one index, which gives way to another index.
    #[expect(clippy::too_many_arguments, reason = "what is written again, where it is listed, and what becomes of it")]
    pub(crate) async fn rewrite(
        &self,
        repo: &RepoId,
        listing: &Listing,
        index: Option<&Index>,
        packs: &[(PackId, PackSummary)],
        garbage: &Garbage,
        rest: Rest,
        also: Vec<TransactWriteItem>,
    ) -> Result<Outcome, StoreError> {
        let now = self.ambient.now();
        let (mut kept, mut condemned) = (BTreeMap::new(), Vec::new());
        for (pack, summary) in packs.iter().copied() {
            let (mut without, mut of_garbage) = Box::pin(split(self, repo, (pack, summary), garbage)).await?;
            without.summary.condemned_at = summary.condemned_at;
            of_garbage.summary.condemned_at = Some(now);
            // Its name lies behind the old one and before the next, as that of a merged pack does.
            let name = self.name_behind(repo, pack, listing.next(pack))?;
            kept.insert(pack, (name, without.summary));
            self.store_pack_as(name, repo, without).await?;
            if rest == Rest::Condemned {
                condemned.push(of_garbage);
            }
        }
        let (inputs, mut outputs) = match index {
            None => (packs.to_vec(), kept.values().copied().collect()),
            Some(index) => {
                let replaced = |pack: &(PackId, PackSummary)| kept.get(&pack.0).copied().unwrap_or(*pack);
                let packs: Vec<_> = index.packs.iter().map(replaced).collect();
                let next = listing.next(index.name);
                (vec![(index.name, index.summary)], self.write_indexes(repo, index.name, next, &packs).await?)
            }
        };
        for of_garbage in condemned {
            let behind = outputs.last().map_or_else(PackId::nil, |(last, _): &(PackId, _)| *last);
            let name = self.name_behind(repo, behind, listing.next(behind))?;
            outputs.push((name, of_garbage.summary));
            self.store_pack_as(name, repo, of_garbage).await?;
        }
        let gone = packs.iter().map(|(pack, _)| *pack).collect();
        Box::pin(self.swap(repo, Swap { inputs: &inputs, outputs, gone, also, has_large: false })).await
    }

    /// What is needed, which packs hold garbage, and whether anything will be garbage later.
    pub(crate) async fn find_garbage<'s>(
        self: &Arc<Self>,
        repo: &RepoId,
        survey: &'s Survey<'s>,
        roles: Vec<Role>,
        roots: &Roots,
        limits: Limits,
    ) -> Result<Result<(Reach<'s>, Shares, bool), Deferred>, StoreError> {
        let Some(mut reach) = Reach::of(survey, roles, roots).await? else {
            return Ok(Err(Deferred::Incomplete));
        };
        let later = reach.is_kept_for_now(roots);
        let shares = reach.history_shares().await?;
        // If each object was reached through a commit that is still kept, this is known without a look into all
        // manifests.
        let is_likely = reach.has_candidate_staged || shares.iter().any(|share| share.records() > 0);
        if !is_likely && !limits.is_thorough {
            return Ok(Ok((reach, Vec::new(), later)));
        }
        if let Err(deferred) = reach.read_manifests(self, repo, limits.manifests).await? {
            return Ok(Err(deferred));
        }
        // The newest first, because they name what is older. So what a run leaves for the next one needs nothing that
        // it has condemned.
        let shares = (0..).zip(reach.with_objects(shares).await?).filter(|(_, share)| share.records() > 0);
        let mut shares: Shares = shares.collect();
        shares.reverse();
        Ok(Ok((reach, shares, later)))
    }
}

/// What is that old and has no name yet will not get one. Younger packs are kept as they are.
fn role((pack, summary): &(PackId, PackSummary), kept_since: Timestamp) -> Role {
    match summary.condemned_at {
        Some(_) => Role::Beside,
        None if time::drawn(*pack) < kept_since => Role::Candidate,
        None => Role::Kept,
    }
}

fn no_pack() -> StoreError {
    StoreError::Damaged("a record of a pack that is not listed".to_owned())
}
