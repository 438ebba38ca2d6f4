//! The first phase: what nobody reaches goes into packs that are condemned.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::mark::{Held, Holdings, Roots};
use super::{AGAIN, Collection, Garbage, Limits, PutOff, millis};
use crate::id::{CommitId, ObjectKey, RepoId, SnapshotId};
use crate::pack::{PackId, PackSummary};
use crate::store::change::Outcome;
use crate::store::compact::merge::split;
use crate::store::{Error, Store};
use crate::wire::limits::MAX_PACKS;

/// What of a pack is garbage.
#[derive(Default)]
struct Share {
    commits: u64,
    snapshots: u64,
    objects: u64,
    /// Raw bytes of those.
    bytes: u64,
    /// Raw bytes of the pack.
    of: u64,
}

impl Store {
    /// Condemns what nobody reaches. When there may be more, if ever.
    pub(super) async fn condemn(
        self: &Arc<Self>,
        repo: &RepoId,
        packs: &[(PackId, PackSummary)],
        limits: Limits,
        done: &mut Collection,
    ) -> Result<Option<Duration>, Error> {
        let kept_since = self.ambient.now_ms().saturating_sub(millis(limits.retention));
        let holdings = self.holdings(repo, packs).await?;
        let roots = self.roots(repo, kept_since).await?;
        // What nobody reaches and is kept now is old by then.
        let next = has_unreached(&holdings, &roots).then_some(limits.retention);
        let garbage = match self.find_garbage(repo, &holdings, &roots, kept_since, limits).await? {
            Ok(garbage) => garbage,
            Err(put_off) => {
                tracing::warn!(%repo, ?put_off, "no garbage was looked for");
                done.put_off = Some(put_off);
                return Ok(next);
            }
        };
        let (mut count, mut bytes) = (packs.len(), 0_u64);
        for (position, held) in holdings.packs.iter().enumerate() {
            let share = Share::of(held, &garbage);
            if !is_old(held, kept_since) || share.is_empty() || share.bytes.saturating_mul(limits.one_in) < share.of {
                continue;
            }
            if bytes >= limits.bytes {
                return Ok(Some(AGAIN));
            }
            bytes = bytes.saturating_add(held.summary.size);
            count += 1;
            if count > MAX_PACKS {
                done.put_off = Some(PutOff::TooManyPacks);
                break;
            }
            let input = (held.pack, held.summary);
            let (kept, mut condemned) = Box::pin(split(self, repo, input, &garbage)).await?;
            condemned.summary.condemned_at = Some(self.ambient.now_ms());
            // Behind it and before the next, as a merged pack is.
            let next = packs.get(position + 1).map(|(next, _)| *next);
            let name = self.name_behind(repo, held.pack, next)?;
            let outputs = vec![(name, kept), (self.name_behind(repo, name, next)?, condemned)];
            if Box::pin(self.swap(repo, &[input], outputs, Vec::new())).await? == Outcome::Conflict {
                tracing::info!(%repo, pack = %held.pack, "this pack was merged meanwhile");
                return Ok(Some(AGAIN));
            }
            tracing::info!(%repo, pack = %held.pack, bytes = share.bytes, "what nobody reaches was condemned");
            done.packs_rewritten += 1;
            done.commits += share.commits;
            done.snapshots += share.snapshots;
            done.objects += share.objects;
            done.bytes += share.bytes;
        }
        Ok(next)
    }

    async fn find_garbage(
        self: &Arc<Self>,
        repo: &RepoId,
        holdings: &Holdings,
        roots: &Roots,
        kept_since: u64,
        limits: Limits,
    ) -> Result<Result<Garbage, PutOff>, Error> {
        let Some(kept) = Kept::of(holdings, roots, kept_since) else {
            return Ok(Err(PutOff::Incomplete));
        };
        let mut garbage = Garbage::default();
        let mut has_ahead = false;
        for held in holdings.packs.iter().filter(|held| is_old(held, kept_since)) {
            let commits = held.commits().map(|(id, _)| id).filter(|id| !kept.commits.contains(id));
            garbage.commits.extend(commits.cloned());
            let snapshots = held.snapshots().map(|(id, _)| id).filter(|id| !kept.snapshots.contains(id));
            garbage.snapshots.extend(snapshots.cloned());
            for (key, _, _) in held.objects().filter(|(key, _, _)| !kept.objects.contains(key)) {
                has_ahead |= !holdings.index.is_reached(key);
                garbage.objects.insert(key.clone());
            }
        }
        // Then each object was reached with a commit that still is: all manifests need not be read to know that. What
        // little a run has left in packs that are not worth it goes by the next.
        let is_likely = has_ahead || !(garbage.commits.is_empty() && garbage.snapshots.is_empty());
        if !is_likely && !limits.is_thorough {
            return Ok(Ok(Garbage::default()));
        }
        let see = |key: ObjectKey| {
            if !garbage.objects.remove(&key) && !holdings.index.has_object(&key) {
                return Err(PutOff::Incomplete);
            }
            Ok(())
        };
        let read = self.read_manifests(repo, &holdings.index, kept.snapshots.into_iter(), limits.manifests, see);
        Ok(read.await?.map(|()| garbage))
    }
}

/// What is kept for sure, those objects aside that manifests name.
struct Kept<'a> {
    commits: HashSet<&'a CommitId>,
    snapshots: HashSet<&'a SnapshotId>,
    objects: HashSet<&'a ObjectKey>,
}

impl<'a> Kept<'a> {
    /// None when something is missing.
    fn of(holdings: &'a Holdings, roots: &'a Roots, kept_since: u64) -> Option<Self> {
        let graph = holdings.index.graph();
        if !roots.heads.iter().all(|head| graph.contains(head)) {
            return None;
        }
        let young = || holdings.packs.iter().filter(|held| is_young(held, kept_since));
        let named = roots.heads.iter().chain(&roots.labels).chain(&roots.log).filter(|id| graph.contains(id));
        let commits = holdings.history(named.chain(young().flat_map(Held::commits).map(|(id, _)| id)))?;
        let mut snapshots = holdings.snapshots_of(&commits)?;
        snapshots.extend(young().flat_map(Held::snapshots).map(|(id, _)| id));
        let objects = young().flat_map(Held::objects).map(|(key, _, _)| key).collect();
        Some(Self { commits, snapshots, objects })
    }
}

/// Whether the repo has anything that no branch, tag or release reaches: by the graph and what packs say, without a look
/// into manifests.
fn has_unreached(holdings: &Holdings, roots: &Roots) -> bool {
    let graph = holdings.index.graph();
    let named = roots.heads.iter().chain(&roots.labels).filter(|id| graph.contains(id));
    let Some(commits) = holdings.history(named) else {
        return true;
    };
    let Some(snapshots) = holdings.snapshots_of(&commits) else {
        return true;
    };
    holdings.packs.iter().filter(|held| held.summary.condemned_at.is_none()).any(|held| {
        held.commits().any(|(id, _)| !commits.contains(id))
            || held.snapshots().any(|(id, _)| !snapshots.contains(id))
            || held.objects().any(|(key, _, _)| !holdings.index.is_reached(key))
    })
}

impl Share {
    fn of(held: &Held, garbage: &Garbage) -> Self {
        let mut share = Self::default();
        for (id, length) in held.commits() {
            share.add(u64::from(length), garbage.commits.contains(id), |share| &mut share.commits);
        }
        for (id, length) in held.snapshots() {
            share.add(u64::from(length), garbage.snapshots.contains(id), |share| &mut share.snapshots);
        }
        for (key, length, _) in held.objects() {
            share.add(length, garbage.objects.contains(key), |share| &mut share.objects);
        }
        share
    }

    fn add(&mut self, bytes: u64, is_garbage: bool, count: impl FnOnce(&mut Self) -> &mut u64) {
        self.of = self.of.saturating_add(bytes);
        if is_garbage {
            self.bytes = self.bytes.saturating_add(bytes);
            *count(self) += 1;
        }
    }

    const fn is_empty(&self) -> bool {
        self.commits == 0 && self.snapshots == 0 && self.objects == 0
    }
}

/// Whether a pack is so old that nobody will name what it brought and what is not named yet.
fn is_old(held: &Held, kept_since: u64) -> bool {
    held.summary.condemned_at.is_none() && held.pack.timestamp_ms() < kept_since
}

fn is_young(held: &Held, kept_since: u64) -> bool {
    held.summary.condemned_at.is_none() && !is_old(held, kept_since)
}
