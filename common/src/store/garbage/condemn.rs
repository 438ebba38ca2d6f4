//! The first phase: what nobody reaches goes into packs that are condemned.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::mark::{Held, Holdings, Roots};
use super::{AGAIN, Collection, Garbage, Limits, PutOff, millis};
use crate::id::{CommitId, ObjectKey, RepoId, SnapshotId};
use crate::pack::{PackId, PackSummary};
use crate::store::change::Outcome;
use crate::store::compact::Swap;
use crate::store::compact::merge::split;
use crate::store::index::{Index, Listing};
use crate::store::{Error, Store};
use crate::wire::limits::MAX_PACKS;

/// Packs of an index that are written again at once: the transaction has an item for each of them, and some more.
const REWRITTEN_AT_ONCE: usize = 60;

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
        limits: Limits,
        done: &mut Collection,
    ) -> Result<Option<Duration>, Error> {
        let kept_since = self.ambient.now_ms().saturating_sub(millis(limits.retention));
        // In this order: what branches lead to is in packs that are listed afterwards.
        let roots = self.roots(repo, kept_since).await?;
        let listing = self.listing(repo).await?;
        let packs = listing.packs();
        let found = match self.holdings(repo, &packs, limits.records).await? {
            Ok(holdings) => {
                let garbage = self.find_garbage(repo, &holdings, &roots, kept_since, limits).await?;
                garbage.map(|(garbage, later)| (holdings, garbage, later))
            }
            Err(put_off) => Err(put_off),
        };
        let (holdings, garbage, later) = match found {
            Ok(found) => found,
            Err(put_off) => {
                tracing::warn!(%repo, ?put_off, "no garbage was looked for");
                done.put_off = Some(put_off);
                return Ok(None);
            }
        };
        let share = |held| (held, Share::of(held, &garbage));
        let old = holdings.packs.iter().filter(|held| is_old(held, kept_since)).map(share);
        let mut shares: Vec<(&Held, Share)> = old.filter(|(_, share)| !share.is_empty()).collect();
        let sum = |bytes: fn(&Share) -> u64| shares.iter().map(|(_, share)| bytes(share)).fold(0, u64::saturating_add);
        if sum(|share| share.bytes).saturating_mul(limits.one_in) < sum(|share| share.of) {
            return Ok(later.then_some(limits.retention));
        }
        // The newest first, because they name what is older: whatever a run leaves needs nothing that it has condemned.
        shares.reverse();
        let (mut count, mut bytes) = (listing.tables.len(), 0_u64);
        let mut replaced: Option<PackId> = None;
        while let Some((first, _)) = shares.first() {
            let index = listing.index_of(first.pack);
            // An index is replaced once in a run: of what took its place the list says nothing.
            let is_replaced = index.is_some_and(|index| replaced == Some(index.name));
            if bytes >= limits.bytes || is_replaced {
                return Ok(Some(AGAIN));
            }
            let of_index =
                |held: &Held| index.is_some_and(|index| index.packs.iter().any(|(pack, _)| *pack == held.pack));
            let mut rewritten = 0;
            for (held, _) in &shares {
                let fits = of_index(held) && rewritten < REWRITTEN_AT_ONCE && bytes < limits.bytes;
                if rewritten > 0 && !fits {
                    break;
                }
                bytes = bytes.saturating_add(held.summary.size);
                rewritten += 1;
            }
            count += rewritten;
            if count > MAX_PACKS {
                done.put_off = Some(PutOff::TooManyPacks);
                break;
            }
            replaced = index.map(|index| index.name).or(replaced);
            let rest = shares.split_off(rewritten);
            let rewritten = std::mem::replace(&mut shares, rest);
            let also = vec![self.note_collected(repo, kept_since).await?];
            let held: Vec<&Held> = rewritten.iter().map(|(held, _)| *held).collect();
            if self.rewrite(repo, &listing, index, &held, &garbage, also).await? == Outcome::Conflict {
                tracing::info!(%repo, "these packs were merged meanwhile");
                return Ok(Some(AGAIN));
            }
            for (held, share) in rewritten {
                tracing::info!(%repo, pack = %held.pack, bytes = share.bytes, "what nobody reaches was condemned");
                done.packs_rewritten += 1;
                done.commits += share.commits;
                done.snapshots += share.snapshots;
                done.objects += share.objects;
                done.bytes += share.bytes;
            }
        }
        Ok(later.then_some(limits.retention))
    }

    /// Writes packs again without what is garbage, which goes into packs that are condemned. They are one that is listed, or
    /// several of an index, which gives way to another.
    async fn rewrite(
        &self,
        repo: &RepoId,
        listing: &Listing,
        index: Option<&Index>,
        packs: &[&Held],
        garbage: &Garbage,
        also: Vec<TransactWriteItem>,
    ) -> Result<Outcome, Error> {
        let now = self.ambient.now_ms();
        let (mut kept, mut condemned) = (BTreeMap::new(), Vec::new());
        for held in packs {
            let (without, mut of_garbage) = Box::pin(split(self, repo, (held.pack, held.summary), garbage)).await?;
            of_garbage.summary.condemned_at = Some(now);
            // Behind it and before the next, as a merged pack is.
            let name = self.name_behind(repo, held.pack, listing.next(held.pack))?;
            kept.insert(held.pack, (name, without.summary));
            self.store_pack_as(name, repo, without).await?;
            condemned.push(of_garbage);
        }
        let (inputs, mut outputs) = match index {
            None => (packs.iter().map(|held| (held.pack, held.summary)).collect(), kept.values().copied().collect()),
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
        let gone = packs.iter().map(|held| held.pack).collect();
        Box::pin(self.swap(repo, Swap { inputs: &inputs, outputs, gone, also, has_large: false })).await
    }

    /// What is garbage, and whether there is anything that will be.
    async fn find_garbage(
        self: &Arc<Self>,
        repo: &RepoId,
        holdings: &Holdings,
        roots: &Roots,
        kept_since: u64,
        limits: Limits,
    ) -> Result<Result<(Garbage, bool), PutOff>, Error> {
        let Some(kept) = Kept::of(holdings, roots, kept_since) else {
            return Ok(Err(PutOff::Incomplete));
        };
        let later = kept.is_kept_for_now(holdings, roots, kept_since);
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
        // Then each object was reached with a commit that still is: all manifests need not be read to know that.
        let is_likely = has_ahead || !(garbage.commits.is_empty() && garbage.snapshots.is_empty());
        if !is_likely && !limits.is_thorough {
            return Ok(Ok((Garbage::default(), later)));
        }
        let see = |key: ObjectKey| {
            if !garbage.objects.remove(&key) && !holdings.index.has_object(&key) {
                return Err(PutOff::Incomplete);
            }
            Ok(())
        };
        let read = self.read_manifests(repo, &holdings.index, kept.snapshots.into_iter(), limits.manifests, see);
        Ok(read.await?.map(|()| (garbage, later)))
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

    /// Whether there is anything among it that no branch, tag or release reaches, and that will be garbage: by the graph and
    /// what packs say, without a look into manifests.
    fn is_kept_for_now(&self, holdings: &Holdings, roots: &Roots, kept_since: u64) -> bool {
        let graph = holdings.index.graph();
        let named = roots.heads.iter().chain(&roots.labels).filter(|id| graph.contains(id));
        let reached = holdings.history(named).and_then(|commits| Some((holdings.snapshots_of(&commits)?, commits)));
        let Some((snapshots, commits)) = reached else {
            return true;
        };
        let mut young = holdings.packs.iter().filter(|held| is_young(held, kept_since));
        self.commits.len() > commits.len()
            || self.snapshots.len() > snapshots.len()
            || young.any(|held| held.objects().any(|(key, _, _)| !holdings.index.is_reached(key)))
    }
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
