//! The second phase: condemned packs that nothing has needed for a day are dropped, and the others revived.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::mark::{Reach, Role, Roots};
use super::{AGAIN, Collection, Deferred, Limits};
use crate::compute;
use crate::table::transaction::Outcome;
use crate::upkeep::survey::Survey;
use crate::upkeep::swap::Swap;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::pack::{self, NewPack, PackId, PackSummary};

impl Store {
    /// Drops the condemned packs that are due, if nothing needs any of them. Else it revives those that are needed, and
    /// returns when the others are to be looked at again: a push relies on all of a revived pack, and so on all that
    /// this pack needs.
    pub(super) async fn drop_condemned(
        self: &Arc<Self>,
        repo: &RepoId,
        limits: Limits,
        done: &mut Collection,
    ) -> Result<Option<Duration>, StoreError> {
        let packs = self.tables(repo).await?;
        let mut due = self.due(&packs);
        // What older lines of the push log lead to was looked at when the packs were condemned.
        let condemned = packs.iter().filter(|(pack, _)| due.contains(pack));
        let Some(condemned_at) = condemned.filter_map(|(_, summary)| summary.condemned_at).min() else {
            return Ok(None);
        };
        // In this order: the branches first, so that what they lead to is in packs that are listed afterwards.
        let roots = self.roots(repo, condemned_at).await?;
        let listing = self.listing(repo).await?;
        let packs = listing.packs();
        // A pack that was revived meanwhile counts like any other.
        let condemned = packs.iter().filter(|(_, summary)| summary.condemned_at.is_some()).map(|(pack, _)| *pack);
        let condemned: BTreeSet<PackId> = condemned.collect();
        due.retain(|pack| condemned.contains(pack));
        let survey = self.survey(repo, &listing).await?;
        let needed = match self.find_needed(repo, &survey, &roots, &due, limits).await? {
            Ok(needed) => needed,
            Err(deferred) => {
                tracing::warn!(%repo, ?deferred, "no condemned pack was dropped");
                done.deferred = Some(deferred);
                return Ok(None);
            }
        };
        let is_due = |(pack, _): &(PackId, PackSummary)| due.contains(pack);
        let (revived, inputs): (Vec<_>, Vec<_>) =
            packs.into_iter().filter(is_due).partition(|(pack, _)| needed.contains(pack));
        if !revived.is_empty() {
            let revived: Vec<PackId> = revived.iter().map(|(pack, _)| *pack).collect();
            self.revive(repo, &revived).await?;
            done.packs_revived += revived.len() as u64;
            return Ok(Some(AGAIN));
        }
        let Some(last) = inputs.last().map(|(pack, _)| *pack) else {
            return Ok(None);
        };
        let name = self.name_behind(repo, last, listing.next(last))?;
        // Packs never just leave the list: they become a new one. So a process that knows them sees that the list has
        // changed.
        let mut nothing = compute(|| pack::write(NewPack::default()))?;
        nothing.summary.merged = inputs.len() as u64;
        let lists_large =
            |(_, number): &(_, u32)| survey.packs().get(*number as usize).is_some_and(|(pack, _)| due.contains(pack));
        let has_large = survey.large().any(lists_large);
        let gone = inputs.iter().map(|(pack, _)| *pack).collect();
        let outputs = vec![(name, nothing.summary)];
        self.store_pack_as(name, repo, nothing).await?;
        let swap = Swap { inputs: &inputs, outputs, gone, also: Vec::new(), has_large };
        if Box::pin(self.swap(repo, swap)).await? == Outcome::Conflict {
            tracing::info!(%repo, "a condemned pack was revived or dropped meanwhile");
            return Ok(Some(AGAIN));
        }
        tracing::info!(%repo, packs = inputs.len(), "condemned packs were dropped");
        done.packs_dropped += inputs.len() as u64;
        Ok(None)
    }

    /// The due packs that hold something which is needed and which no other pack holds. All records outside of the due
    /// packs count as relied upon, since a push may have relied on them until these were condemned.
    async fn find_needed(
        self: &Arc<Self>,
        repo: &RepoId,
        survey: &Survey<'_>,
        roots: &Roots,
        due: &BTreeSet<PackId>,
        limits: Limits,
    ) -> Result<Result<BTreeSet<PackId>, Deferred>, StoreError> {
        let role = |(pack, _): &(PackId, PackSummary)| if due.contains(pack) { Role::Candidate } else { Role::Kept };
        let roles = survey.packs().iter().map(role).collect();
        let Some(mut reach) = Reach::of(survey, roles, roots).await? else {
            return Ok(Err(Deferred::Incomplete));
        };
        if reach.has_candidate_objects
            && let Err(deferred) = reach.read_manifests(self, repo, limits.manifests).await?
        {
            return Ok(Err(deferred));
        }
        let shares = reach.with_objects(reach.history_shares().await?).await?;
        let needed = survey.packs().iter().zip(shares).filter(|(_, share)| share.is_needed);
        Ok(Ok(needed.map(|((pack, _), _)| *pack).collect()))
    }
}
