//! What a repo holds, and which of it is needed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fixedbitset::FixedBitSet;
use jiff::Timestamp;
use serde::Deserialize;

use super::Deferred;
use crate::table::items::{Item, LOG_PREFIX, REF_PREFIX, RELEASE_PREFIX, RefItem, TAG_PREFIX, decode};
use crate::upkeep::compact::garbage::Garbage;
use crate::upkeep::survey::{AT_ONCE, Links, RecordCopy, Survey};
use crate::{Store, StoreError};
use common::id::{CommitId, ObjectId, ObjectKey, RepoId};
use common::table::{Key, Section};
use common::time;
use common::wire::limits::{MAX_BRANCHES, MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO};
use common::wire::manifests::ManifestReader;

/// The most lines of the push log within the retention. A repo with more was pushed to every three seconds for all of it.
const MAX_LINES: usize = 2_600_000;
/// By how much the clocks of processes that draw names may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// What a pack is in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of it is kept.
    Kept,
    /// Records that are not needed may go out of it.
    Candidate,
    /// Neither: readers have it, and it is left alone.
    Beside,
}

/// Which records are needed: by commits that have names, and by all records in packs that are kept.
pub(crate) struct Reach<'s> {
    survey: &'s Survey<'s>,
    roles: Vec<Role>,
    links: Links,
    commits: Marks,
    snapshots: Marks,
    /// Without the objects that manifests name, until the manifests are read.
    objects: Marks,
    /// Whether a candidate pack has an object that is not marked as kept yet.
    pub(crate) has_candidate_objects: bool,
    /// Whether a candidate pack has a staged object that is not marked as kept yet.
    pub(crate) has_candidate_staged: bool,
    /// Whether a kept pack has an object that no branch has reached.
    has_kept_staged: bool,
    /// The purged objects that manifests name, once those are read.
    pub(crate) purged: HashSet<ObjectKey>,
}

/// Marks of all commits, all snapshots or all objects.
struct Marks {
    /// Those in packs that are kept.
    own: FixedBitSet,
    /// Those that are needed.
    needed: FixedBitSet,
}

/// How much of a pack is garbage.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    pub(crate) commits: u64,
    pub(crate) snapshots: u64,
    pub(crate) objects: u64,
    /// Raw bytes of the garbage.
    pub(crate) bytes: u64,
    /// Raw bytes of the pack.
    pub(crate) of: u64,
    /// Whether the pack holds a needed record that no kept pack has.
    pub(crate) is_needed: bool,
}

/// The commits that have names.
pub(crate) struct Roots {
    /// The heads of branches.
    pub(crate) heads: Vec<CommitId>,
    /// The commits of tags and releases. They may be missing: with lenient ids that is not checked.
    pub(crate) labels: Vec<CommitId>,
    /// The commits of the push log, within the retention.
    pub(crate) log: Vec<CommitId>,
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

impl Marks {
    fn is_kept(&self, number: usize) -> bool {
        self.own.contains(number) || self.needed.contains(number)
    }

    /// Whether it would be missing without the candidate packs.
    fn is_missed(&self, number: usize) -> bool {
        self.needed.contains(number) && !self.own.contains(number)
    }
}

impl Share {
    /// How many records are garbage.
    pub(crate) const fn records(&self) -> u64 {
        self.commits + self.snapshots + self.objects
    }

    fn add(&mut self, marks: &Marks, number: usize, bytes: u64, count: impl FnOnce(&mut Self) -> &mut u64) {
        self.of = self.of.saturating_add(bytes);
        if !marks.is_kept(number) {
            self.bytes = self.bytes.saturating_add(bytes);
            *count(self) += 1;
        }
        self.is_needed |= marks.is_missed(number);
    }
}

impl<'s> Reach<'s> {
    /// What is needed, manifests aside. None if something that is named is missing.
    pub(crate) async fn of(
        survey: &'s Survey<'s>,
        roles: Vec<Role>,
        roots: &Roots,
    ) -> Result<Option<Self>, StoreError> {
        let named = || roots.heads.iter().chain(&roots.labels).chain(&roots.log);
        let links = survey.links(named()).await?;
        if !roots.heads.iter().all(|head| links.position(head).is_some()) {
            return Ok(None);
        }
        let none = |section| Marks { own: survey.no_records(section), needed: survey.no_records(section) };
        let commits = Marks { own: survey.no_commits(), needed: survey.no_commits() };
        let (snapshots, objects) = (none(Section::Snapshots), none(Section::Objects));
        let mut reach = Self {
            survey,
            roles,
            links,
            commits,
            snapshots,
            objects,
            has_candidate_objects: false,
            has_candidate_staged: false,
            has_kept_staged: false,
            purged: HashSet::new(),
        };
        let named = named().filter_map(|id| reach.links.position(id)).collect();
        if !(reach.find_commits(named).await? && reach.find_snapshots().await?) {
            return Ok(None);
        }
        reach.look_at_objects().await?;
        Ok(Some(reach))
    }

    fn is(&self, role: Role, pack: Option<u32>) -> bool {
        pack.and_then(|pack| self.roles.get(pack as usize)) == Some(&role)
    }

    /// Marks the commits that are needed. Returns whether all of them, and their parents, are there.
    async fn find_commits(&mut self, mut from: Vec<u32>) -> Result<bool, StoreError> {
        let mut commits = self.survey.commits().await?;
        while let Some(copy) = commits.next().await? {
            if self.is(Role::Kept, Some(copy.pack)) {
                let first = self.links.first(copy.position);
                self.commits.own.insert(first as usize);
                // With lenient ids, a copy of a commit may name other parents than the one that counts today.
                if first != copy.position {
                    let Some(parents) = self.links.parents(copy.position) else { return Ok(false) };
                    from.extend(parents);
                }
            }
        }
        let own = self.commits.own.ones().filter_map(|position| u32::try_from(position).ok());
        Ok(self.links.reach(from.into_iter().chain(own), &mut self.commits.needed))
    }

    /// Marks the snapshots that those commits name. Returns whether all of them are there.
    async fn find_snapshots(&mut self) -> Result<bool, StoreError> {
        let mut records = self.survey.records(Section::Snapshots).await?;
        while let Some((_, record)) = records.next().await? {
            if record.held().any(|copy| self.is(Role::Kept, copy.pack)) {
                self.snapshots.own.insert(record.number);
            }
        }
        let mut keys = HashSet::new();
        let mut commits = self.survey.commits().await?;
        while let Some(copy) = commits.next().await? {
            let counts = self.links.first(copy.position) == copy.position;
            if self.is(Role::Kept, Some(copy.pack)) || counts && self.commits.needed.contains(copy.position as usize) {
                keys.extend(copy.snapshot);
            }
            if keys.len() >= AT_ONCE
                && !self.survey.find(Section::Snapshots, &mut keys, &mut self.snapshots.needed).await?
            {
                return Ok(false);
            }
        }
        self.survey.find(Section::Snapshots, &mut keys, &mut self.snapshots.needed).await
    }

    async fn look_at_objects(&mut self) -> Result<(), StoreError> {
        let mut records = self.survey.records(Section::Objects).await?;
        while let Some((_, record)) = records.next().await? {
            let is_reached = record.is_reached();
            let is_in = |role| record.held().any(|copy| self.is(role, copy.pack));
            let (is_in_kept, is_in_candidate) = (is_in(Role::Kept), is_in(Role::Candidate));
            // Else a record would be hidden again: one that was staged a second time, or that only a pack which may go
            // lists as reached.
            let is_reached_without =
                record.copies.iter().any(|copy| copy.is_reached && !self.is(Role::Candidate, copy.pack));
            let is_own = is_in_kept && (is_reached_without || !is_reached);
            self.has_kept_staged |= !is_reached && is_in_kept;
            if is_own {
                self.objects.own.insert(record.number);
            } else if is_in_candidate {
                self.has_candidate_objects = true;
                self.has_candidate_staged |= !is_reached;
            }
        }
        Ok(())
    }

    /// Whether anything is kept that no branch, tag or release reaches, and that will be garbage later. It asks the
    /// tables alone, and no manifests.
    pub(crate) fn is_kept_for_now(&self, roots: &Roots) -> bool {
        let named = roots.heads.iter().chain(&roots.labels).filter_map(|id| self.links.position(id));
        let mut reached = self.survey.no_commits();
        let is_whole = self.links.reach(named, &mut reached);
        !is_whole
            || self.commits.needed.count_ones(..) > reached.count_ones(..)
            || self.snapshots.own.difference(&self.snapshots.needed).next().is_some()
            || self.has_kept_staged
    }

    /// Marks the objects that the manifests of kept snapshots name. Reads at most `most` raw bytes of manifests.
    pub(crate) async fn read_manifests(
        &mut self,
        store: &Arc<Store>,
        repo: &RepoId,
        most: u64,
    ) -> Result<Result<(), Deferred>, StoreError> {
        // Manifests name a purged object for ever, and it counts as present.
        let purged = store.purged_now(repo).await?;
        let kept = &self.snapshots.own | &self.snapshots.needed;
        let mut bytes = 0_u64;
        let mut records = self.survey.records(Section::Snapshots).await?;
        while let Some((_, record)) = records.next().await? {
            let read = record.first().filter(|_| kept.contains(record.number));
            bytes = bytes.saturating_add(read.map_or(0, |copy| copy.length));
        }
        if bytes > most {
            return Ok(Err(Deferred::TooLarge));
        }
        let (mut behind, mut keys, mut manifests) = (None, HashSet::new(), ManifestReader::default());
        loop {
            let places = self.survey.snapshot_places(&kept, behind).await?;
            let Some(last) = places.last() else { break };
            behind = Some(*last);
            let mut records = store.read_records(repo, self.survey.locate(), &places)?;
            while let Some(record) = records.next().await? {
                let see = |_: &str, object: ObjectId| {
                    let key = object.key();
                    if purged.has(&key) {
                        self.purged.insert(key);
                    } else {
                        keys.insert(Key::of(key.as_ref()));
                    }
                };
                manifests.entries(record, see)?;
                if keys.len() >= AT_ONCE && !self.find_objects(&mut keys).await? {
                    return Ok(Err(Deferred::Incomplete));
                }
            }
        }
        let are_all_there = self.find_objects(&mut keys).await?;
        Ok(if are_all_there { Ok(()) } else { Err(Deferred::Incomplete) })
    }

    async fn find_objects(&mut self, keys: &mut HashSet<Key>) -> Result<bool, StoreError> {
        self.survey.find(Section::Objects, keys, &mut self.objects.needed).await
    }

    /// How many commits and snapshots of each candidate pack are garbage, in the order of the packs. This needs no
    /// manifests.
    pub(crate) async fn history_shares(&self) -> Result<Vec<Share>, StoreError> {
        let mut shares = vec![Share::default(); self.roles.len()];
        let mut commits = self.survey.commits().await?;
        while let Some(copy) = commits.next().await? {
            if let Some(share) = self.share(&mut shares, Some(copy.pack)) {
                let first = self.links.first(copy.position) as usize;
                share.add(&self.commits, first, copy.place.length.into(), |share| &mut share.commits);
            }
        }
        self.add_records(&mut shares, Section::Snapshots, &self.snapshots, |share| &mut share.snapshots).await?;
        Ok(shares)
    }

    /// The same with objects, once the manifests are read.
    pub(crate) async fn with_objects(&self, mut shares: Vec<Share>) -> Result<Vec<Share>, StoreError> {
        self.add_records(&mut shares, Section::Objects, &self.objects, |share| &mut share.objects).await?;
        Ok(shares)
    }

    async fn add_records(
        &self,
        shares: &mut [Share],
        section: Section,
        marks: &Marks,
        count: fn(&mut Share) -> &mut u64,
    ) -> Result<(), StoreError> {
        let mut records = self.survey.records(section).await?;
        while let Some((_, record)) = records.next().await? {
            for RecordCopy { pack, length, .. } in record.held() {
                if let Some(share) = self.share(shares, *pack) {
                    share.add(marks, record.number, *length, count);
                }
            }
        }
        Ok(())
    }

    /// The share of a pack that is a candidate.
    fn share<'v>(&self, shares: &'v mut [Share], pack: Option<u32>) -> Option<&'v mut Share> {
        shares.get_mut(pack.filter(|_| self.is(Role::Candidate, pack))? as usize)
    }

    /// The garbage of some packs, by their numbers.
    pub(crate) async fn garbage_of(&self, packs: &HashSet<u32>) -> Result<Garbage, StoreError> {
        let mut garbage = Garbage::default();
        let mut commits = self.survey.commits().await?;
        while let Some(copy) = commits.next().await? {
            if packs.contains(&copy.pack) && !self.commits.is_kept(self.links.first(copy.position) as usize) {
                garbage.commits.insert(copy.key);
            }
        }
        let of_sections = [
            (Section::Snapshots, &self.snapshots, &mut garbage.snapshots),
            (Section::Objects, &self.objects, &mut garbage.objects),
        ];
        for (section, marks, keys) in of_sections {
            let mut records = self.survey.records(section).await?;
            while let Some((key, record)) = records.next().await? {
                let is_of = |copy: &RecordCopy| copy.pack.is_some_and(|pack| packs.contains(&pack));
                if !marks.is_kept(record.number) && record.held().any(is_of) {
                    keys.insert(key);
                }
            }
        }
        Ok(garbage)
    }
}

impl Roots {
    /// What these branches, and these tags and releases, name.
    pub(crate) fn of<'i>(
        heads: impl IntoIterator<Item = &'i Item>,
        labels: impl IntoIterator<Item = &'i Item>,
    ) -> Result<Self, StoreError> {
        let head = |item: &Item| decode::<RefItem>(item.clone()).map(|branch| branch.head);
        let label = |item: &Item| decode::<Labeled>(item.clone()).map(|label| label.commit_id);
        Ok(Self {
            heads: heads.into_iter().map(head).collect::<Result<_, _>>()?,
            labels: labels.into_iter().map(label).collect::<Result<_, _>>()?,
            log: Vec::new(),
        })
    }
}

impl Store {
    /// The commits that have names, and the commits that the push log has named since a time.
    pub(crate) async fn roots(&self, repo: &RepoId, log_since: Timestamp) -> Result<Roots, StoreError> {
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

    async fn log_since(&self, repo: &RepoId, since: Timestamp) -> Result<Vec<CommitId>, StoreError> {
        let first = time::ulid(time::before(since, CLOCKS_DIFFER), 0);
        let lines = self
            .query_from::<Line>(repo, LOG_PREFIX, &first.to_string(), MAX_LINES, Some(&["before", "after"]))
            .await?;
        let mut commits: Vec<CommitId> =
            lines.into_iter().flat_map(|(_, line)| line.before.into_iter().chain([line.after])).collect();
        commits.sort_unstable();
        commits.dedup();
        Ok(commits)
    }
}
