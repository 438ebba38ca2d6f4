//! The second phase: condemned packs that nobody has needed for a day are dropped, and the others revived.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::mark::{Held, Holdings, Roots};
use super::{AGAIN, Collection, Garbage, Limits, PutOff};
use crate::id::{CommitId, ObjectKey, RepoId, SnapshotId};
use crate::pack::{self, NewPack, PackId, PackedCommit};
use crate::service::compute;
use crate::store::change::Outcome;
use crate::store::compact::Swap;
use crate::store::{Error, Store};

impl Store {
    /// Drops the condemned packs that are due, or revives those that are needed. Then the others are looked at again later,
    /// and it says when: what is revived is relied upon as a whole, and so is what any of it needs.
    pub(super) async fn drop_condemned(
        self: &Arc<Self>,
        repo: &RepoId,
        limits: Limits,
        done: &mut Collection,
    ) -> Result<Option<Duration>, Error> {
        let packs = self.tables(repo).await?;
        let mut due = self.due(&packs);
        // What the push log led to before was judged when they were condemned.
        let condemned = packs.iter().filter(|(pack, _)| due.contains(pack));
        let Some(condemned_at) = condemned.filter_map(|(_, summary)| summary.condemned_at).min() else {
            return Ok(None);
        };
        // In this order: what branches lead to is in packs that are listed afterwards.
        let roots = self.roots(repo, condemned_at).await?;
        let listing = self.listing(repo).await?;
        let packs = listing.packs();
        // One that was revived meanwhile is relied upon like any other.
        let condemned = packs.iter().filter(|(_, summary)| summary.condemned_at.is_some()).map(|(pack, _)| *pack);
        let condemned: BTreeSet<PackId> = condemned.collect();
        due.retain(|pack| condemned.contains(pack));
        let found = match self.holdings(repo, &packs, limits.records).await? {
            Ok(holdings) => {
                let needed = self.find_needed(repo, &holdings, &roots, &due, limits).await?;
                needed.map(|needed| (holdings, needed))
            }
            Err(put_off) => Err(put_off),
        };
        let (holdings, needed) = match found {
            Ok(found) => found,
            Err(put_off) => {
                tracing::warn!(%repo, ?put_off, "no condemned pack was dropped");
                done.put_off = Some(put_off);
                return Ok(None);
            }
        };
        let is_due = |held: &&Held| due.contains(&held.pack);
        let (revived, dropped): (Vec<&Held>, Vec<&Held>) =
            holdings.packs.iter().filter(is_due).partition(|held| needed.is_in(held));
        if !revived.is_empty() {
            let revived: Vec<PackId> = revived.iter().map(|held| held.pack).collect();
            self.revive(repo, &revived).await?;
            done.packs_revived += revived.len() as u64;
            return Ok(Some(AGAIN));
        }
        let Some(last) = dropped.last().map(|held| held.pack) else {
            return Ok(None);
        };
        let name = self.name_behind(repo, last, listing.next(last))?;
        // Packs go in one way only: they become one that is new. So whoever knows them looks anew.
        let mut nothing = compute(|| pack::write(NewPack::default()))?;
        nothing.summary.merged = dropped.len() as u64;
        let has_large = dropped.iter().any(|held| held.contents.large.len() + held.contents.inherited.len() > 0);
        let inputs: Vec<_> = dropped.iter().map(|held| (held.pack, held.summary)).collect();
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

    /// What only the packs that are due hold, and something else needs.
    async fn find_needed(
        self: &Arc<Self>,
        repo: &RepoId,
        holdings: &Holdings,
        roots: &Roots,
        due: &BTreeSet<PackId>,
        limits: Limits,
    ) -> Result<Result<Garbage, PutOff>, Error> {
        let outside = Outside::of(holdings, due);
        let inside = Inside::of(holdings, due, &outside);
        let Some(mut needed) = inside.needed(&outside, roots) else {
            return Ok(Err(PutOff::Incomplete));
        };
        if inside.objects.is_empty() {
            return Ok(Ok(needed));
        }
        let mut objects = HashSet::new();
        let see = |key: ObjectKey| {
            if inside.objects.contains(&key) {
                objects.insert(key);
            } else if !outside.objects.contains_key(&key) {
                return Err(PutOff::Incomplete);
            }
            Ok(())
        };
        let snapshots = outside.snapshots.iter().copied().chain(&needed.snapshots);
        let read = self.read_manifests(repo, &holdings.index, snapshots, limits.manifests, see).await?;
        needed.objects = objects;
        Ok(read.map(|()| needed))
    }
}

/// What a repo has without the packs that are due. All of it may be relied upon, or may have been until it was condemned.
struct Outside<'a> {
    commits: HashMap<&'a CommitId, &'a PackedCommit>,
    snapshots: HashSet<&'a SnapshotId>,
    /// Whether a branch has reached them.
    objects: HashMap<&'a ObjectKey, bool>,
}

/// What only the packs have that are due.
struct Inside<'a> {
    commits: HashMap<&'a CommitId, &'a PackedCommit>,
    snapshots: HashSet<&'a SnapshotId>,
    objects: HashSet<&'a ObjectKey>,
}

impl Garbage {
    /// Whether a pack lists any of these.
    fn is_in(&self, held: &Held) -> bool {
        held.commits().any(|(id, _)| self.commits.contains(id))
            || held.snapshots().any(|(id, _)| self.snapshots.contains(id))
            || held.objects().any(|(key, _, _)| self.objects.contains(key))
    }
}

impl<'a> Outside<'a> {
    fn of(holdings: &'a Holdings, due: &BTreeSet<PackId>) -> Self {
        let packs = || holdings.packs.iter().filter(|held| !due.contains(&held.pack));
        let mut objects: HashMap<&ObjectKey, bool> = HashMap::new();
        for (key, _, is_reached) in packs().flat_map(Held::objects) {
            *objects.entry(key).or_default() |= is_reached;
        }
        for key in packs().flat_map(|held| &held.contents.reached) {
            objects.entry(key).and_modify(|is_reached| *is_reached = true);
        }
        Self {
            commits: packs().flat_map(|held| &held.graph.0).map(|commit| (&commit.id, commit)).collect(),
            snapshots: packs().flat_map(Held::snapshots).map(|(id, _)| id).collect(),
            objects,
        }
    }
}

impl<'a> Inside<'a> {
    fn of(holdings: &'a Holdings, due: &BTreeSet<PackId>, outside: &Outside<'_>) -> Self {
        let packs = || holdings.packs.iter().filter(|held| due.contains(&held.pack));
        let commits = packs().flat_map(|held| &held.graph.0).map(|commit| (&commit.id, commit));
        let snapshots = packs().flat_map(Held::snapshots).map(|(id, _)| id);
        // An object that was pushed ahead once more, and that a branch reaches only here, would be hidden again.
        let is_elsewhere = |key: &ObjectKey| match outside.objects.get(key) {
            Some(is_reached) => *is_reached || !holdings.index.is_reached(key),
            None => false,
        };
        Self {
            commits: commits.filter(|(id, _)| !outside.commits.contains_key(id)).collect(),
            snapshots: snapshots.filter(|id| !outside.snapshots.contains(id)).collect(),
            objects: packs().flat_map(Held::objects).map(|(key, _, _)| key).filter(|key| !is_elsewhere(key)).collect(),
        }
    }

    /// The commits and snapshots among these that what is outside, or has a name, leads to. None when something is missing.
    fn needed(&self, outside: &Outside<'_>, roots: &Roots) -> Option<Garbage> {
        let mut needed = Garbage::default();
        let is_there = |id: &CommitId| outside.commits.contains_key(id) || self.commits.contains_key(id);
        if !roots.heads.iter().all(is_there) {
            return None;
        }
        let mut waiting: Vec<&CommitId> = roots.heads.iter().chain(&roots.labels).chain(&roots.log).collect();
        let mut follow = |commit: &PackedCommit| {
            if let Some(id) = &commit.snapshot
                && !outside.snapshots.contains(id)
            {
                needed.snapshots.insert(self.snapshots.get(id).copied()?.clone());
            }
            commit.parents.iter().all(is_there).then_some(())
        };
        for commit in outside.commits.values() {
            follow(commit)?;
            waiting.extend(&commit.parents);
        }
        while let Some(id) = waiting.pop() {
            if let Some(commit) = self.commits.get(id)
                && needed.commits.insert(id.clone())
            {
                follow(commit)?;
                waiting.extend(&commit.parents);
            }
        }
        Some(needed)
    }
}
