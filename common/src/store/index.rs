//! What the packs of one repo hold: its commit graph, and where each record lies. Built from the packs' index
//! sections, kept in warm processes, and grown pack by pack, so that a request reads only the sections that are new.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::{Error, Store};
use crate::graph::{Graph, NewCommit};
use crate::id::{CommitId, ObjectKey, RepoId, SnapshotId};
use crate::pack::index::FrameRecords;
use crate::pack::{Contents, Frame, GraphSection, Kind, PackId, PackSummary};

/// Index sections read at the same time.
const PARALLEL_READS: usize = 64;
/// Bytes of indexes that a process keeps, as far as they can be estimated.
const CACHE_BYTES: u64 = 512 << 20;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The frame, by its number in the index.
    pub frame: u32,
    /// Where it begins in the raw bytes of the frame.
    pub start: u32,
    /// How many bytes it has there.
    pub length: u32,
}

/// An object that is an S3 object of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeObject {
    /// The pack that it belongs to.
    pub pack: PackId,
    /// Its bytes.
    pub size: u64,
}

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectPlace {
    /// In a frame of a pack.
    Packed(Place),
    /// By itself.
    Large(LargeObject),
}

/// A frame and the pack that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackFrame {
    /// The pack.
    pub pack: PackId,
    /// The number of the frame in the pack.
    pub number: usize,
    /// Where the frame lies.
    pub frame: Frame,
}

/// What the graph knows of a commit beside its parents.
#[derive(Debug, Clone)]
pub struct CommitEntry {
    /// The snapshot that it names.
    pub snapshot: Option<SnapshotId>,
    /// Where its record lies.
    pub place: Place,
}

/// What the packs of a repo hold.
#[derive(Debug, Clone, Default)]
pub struct RepoIndex {
    packs: HashSet<PackId>,
    frames: Vec<PackFrame>,
    graph: Graph<CommitId, CommitEntry>,
    snapshots: HashMap<SnapshotId, SnapshotEntry>,
    objects: HashMap<ObjectKey, ObjectEntry>,
    large: Vec<LargeObject>,
    /// Objects that are reached and whose pack is not in the index yet.
    reached_elsewhere: HashSet<ObjectKey>,
    /// For an index that was made anew: what it was made of, until a later list has all of that.
    unproved: Option<Unproved>,
}

/// The packs of the list that an index was made anew from. The list may have been read while packs were swapped, and
/// then has both some that are gone and what they became.
#[derive(Debug, Clone)]
struct Unproved {
    packs: Vec<PackId>,
    /// Lists that began then or later tell.
    made: Moment,
    /// Whether one has told that they are there.
    is_proved: Arc<AtomicBool>,
}

/// Which packs of a repo an index is of: all, or those that are not condemned. As long as none is, that is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum View {
    All,
    Reliable,
}

/// Which of two things was first, in one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

#[derive(Debug, Clone, Copy)]
struct SnapshotEntry {
    place: Place,
    /// Whether a branch had reached it when it was stored.
    is_reached: bool,
}

#[derive(Debug, Clone, Copy)]
struct ObjectEntry {
    place: EntryPlace,
    /// Whether a branch has reached it.
    is_reached: bool,
}

/// [`ObjectPlace`], made small: there are many.
#[derive(Debug, Clone, Copy)]
enum EntryPlace {
    Packed(Place),
    /// The position among the large objects.
    Large(u32),
}

impl RepoIndex {
    /// The index of these packs.
    pub(super) fn of(packs: Vec<(PackId, GraphSection, Contents)>) -> Result<Self, Error> {
        let mut index = Self::default();
        index.add(packs)?;
        Ok(index)
    }

    /// Objects that are reached and lie in other packs.
    pub(super) fn reached_elsewhere(&self) -> impl Iterator<Item = &ObjectKey> {
        self.reached_elsewhere.iter()
    }

    /// The commits of the repo.
    pub const fn graph(&self) -> &Graph<CommitId, CommitEntry> {
        &self.graph
    }

    /// Where a snapshot lies.
    pub fn snapshot(&self, id: &SnapshotId) -> Option<Place> {
        self.snapshots.get(id).map(|entry| entry.place)
    }

    /// Where a snapshot lies that was stored before any branch reached it: its objects may still be unseen.
    pub fn snapshot_ahead(&self, id: &SnapshotId) -> Option<Place> {
        self.snapshots.get(id).filter(|entry| !entry.is_reached).map(|entry| entry.place)
    }

    /// Whether the repo has an object, be it that a branch has reached it or that it was pushed ahead.
    pub fn has_object(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// Whether some branch has reached an object: until then nobody sees it.
    pub fn is_reached(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|entry| entry.is_reached)
    }

    /// Where an object lies.
    pub fn object(&self, key: &ObjectKey) -> Option<ObjectPlace> {
        match self.objects.get(key)?.place {
            EntryPlace::Packed(place) => Some(ObjectPlace::Packed(place)),
            EntryPlace::Large(position) => self.large.get(position as usize).copied().map(ObjectPlace::Large),
        }
    }

    /// How many different commits, snapshots and objects there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.graph.len(), self.snapshots.len(), self.objects.len())
    }

    /// All frames.
    pub fn frames(&self) -> &[PackFrame] {
        &self.frames
    }

    /// All large objects.
    pub fn large(&self) -> &[LargeObject] {
        &self.large
    }

    /// Where the objects lie that some branch has reached, in no order.
    pub fn reached_objects(&self) -> impl Iterator<Item = ObjectPlace> + '_ {
        let place = |entry: &ObjectEntry| match entry.place {
            EntryPlace::Packed(place) => Some(ObjectPlace::Packed(place)),
            EntryPlace::Large(position) => self.large.get(position as usize).copied().map(ObjectPlace::Large),
        };
        self.objects.values().filter(|entry| entry.is_reached).filter_map(place)
    }

    /// The frame of a place.
    pub fn frame(&self, place: Place) -> Option<&PackFrame> {
        self.frames.get(place.frame as usize)
    }

    /// Adds packs. What is in the index already stays as it is: a record that lies in two packs is read from the first.
    fn add(&mut self, packs: Vec<(PackId, GraphSection, Contents)>) -> Result<(), Error> {
        let mut commits = Vec::new();
        let mut reached = Vec::new();
        for (pack, graph, contents) in packs {
            if !self.packs.insert(pack) {
                continue;
            }
            let mut nodes = graph.0.into_iter();
            for (number, (frame, records)) in contents.frames.iter().zip(contents.records).enumerate() {
                let position = u32::try_from(self.frames.len()).map_err(Error::fault)?;
                self.frames.push(PackFrame { pack, number, frame: *frame });
                let mut start = 0_u32;
                let mut place = |length: u32| {
                    let place = Place { frame: position, start, length };
                    start = start.saturating_add(length);
                    place
                };
                match records {
                    FrameRecords::Commits(records) => {
                        for (id, length) in records {
                            let node = nodes.next().filter(|node| node.id == id);
                            let node =
                                node.ok_or_else(|| Error::Damaged(format!("pack {pack}: its sections disagree")))?;
                            let entry = CommitEntry { snapshot: node.snapshot, place: place(length) };
                            commits.push(NewCommit { id, parents: node.parents, payload: entry });
                        }
                    }
                    FrameRecords::Snapshots(records) => {
                        let is_reached = frame.kind == Kind::Snapshots;
                        for (id, length) in records {
                            let entry = SnapshotEntry { place: place(length), is_reached };
                            self.snapshots.entry(id).or_insert(entry).is_reached |= is_reached;
                        }
                    }
                    FrameRecords::Objects(records) => {
                        for (key, length) in records {
                            let place = EntryPlace::Packed(place(length));
                            self.add_object(key, place, frame.kind == Kind::Objects);
                        }
                    }
                }
            }
            let own = contents.large.into_iter().map(|(key, size)| (pack, key, size));
            for (pack, key, size) in own.chain(contents.inherited) {
                let position = u32::try_from(self.large.len()).map_err(Error::fault)?;
                self.large.push(LargeObject { pack, size });
                self.add_object(key, EntryPlace::Large(position), false);
            }
            reached.extend(contents.reached);
        }
        for key in reached {
            match self.objects.get_mut(&key) {
                Some(entry) => entry.is_reached = true,
                None => {
                    self.reached_elsewhere.insert(key);
                }
            }
        }
        self.link(commits);
        Ok(())
    }

    /// Adds commits to the graph. Ids that nobody checked may name each other as ancestors, in pushes that raced and
    /// could not know of each other: a commit that would close such a cycle is not linked to the parent that it would
    /// close it through, so that the rest of the history stays whole.
    fn link(&mut self, commits: Vec<NewCommit<CommitId, CommitEntry>>) {
        if self.graph.extend(commits.iter().cloned()).is_ok() {
            return;
        }
        for commit in commits {
            // A commit has two parents at most. Without any it closes no cycle.
            let all = commit.parents.clone();
            let one_less = (0..all.len()).map(|left_out| {
                let kept = all.iter().enumerate().filter(move |(position, _)| *position != left_out);
                kept.map(|(_, parent)| parent.clone()).collect()
            });
            for parents in std::iter::once(all.clone()).chain(one_less).chain([Vec::new()]) {
                match self.graph.extend([NewCommit { parents, ..commit.clone() }]) {
                    Ok(()) => break,
                    Err(cycle) => tracing::warn!(%cycle, "a commit is not linked to all of its parents"),
                }
            }
        }
    }

    fn add_object(&mut self, key: ObjectKey, place: EntryPlace, is_reached: bool) {
        let is_reached = is_reached || self.reached_elsewhere.remove(&key);
        let entry = self.objects.entry(key).or_insert(ObjectEntry { place, is_reached });
        entry.is_reached |= is_reached;
    }

    /// Whether a list shows that the index was made anew from packs that were gone by the end of that list.
    fn is_torn(&self, packs: &[(PackId, PackSummary)], listed: Moment) -> bool {
        let Some(Unproved { packs: made_of, made, is_proved }) = &self.unproved else {
            return false;
        };
        if *made > listed || is_proved.load(Ordering::Relaxed) {
            return false;
        }
        let listed: HashSet<PackId> = packs.iter().map(|(pack, _)| *pack).collect();
        let is_whole = made_of.iter().all(|pack| listed.contains(pack));
        is_proved.store(is_whole, Ordering::Relaxed);
        !is_whole
    }

    fn estimated_bytes(&self) -> u64 {
        let entries =
            self.graph.len() * 200 + (self.snapshots.len() + self.objects.len()) * 80 + self.frames.len() * 64;

        entries as u64
    }
}

/// The index of one repo as this process knows it. Whoever holds a copy of the `Arc` keeps what it saw.
#[derive(Debug, Default)]
struct Slot(Mutex<Arc<RepoIndex>>);

/// The indexes that a process keeps: the least used go when they are too many.
pub(super) struct IndexCache {
    indexes: Cache<(RepoId, View), Entry, EntryWeighter>,
    /// Counts the indexes that were made anew.
    moments: AtomicU64,
}

/// A slot, and what it weighed when it was put into the cache: the cache must not see a weight change under it.
#[derive(Clone, Default)]
struct Entry {
    slot: Arc<Slot>,
    weight: u64,
}

#[derive(Clone)]
struct EntryWeighter;

impl Weighter<(RepoId, View), Entry> for EntryWeighter {
    fn weight(&self, _: &(RepoId, View), entry: &Entry) -> u64 {
        entry.weight
    }
}

impl Default for IndexCache {
    fn default() -> Self {
        const EXPECTED_REPOS: usize = 1_000;
        // One shard: each has its part of the capacity, and a large repo would not fit into a part.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(EXPECTED_REPOS)
            .weight_capacity(CACHE_BYTES)
            .shards(1)
            .build();
        let cache = options.map(|options| {
            Cache::with_options(options, EntryWeighter, DefaultHashBuilder::default(), DefaultLifecycle::default())
        });
        // The options are complete; were they not, an ordinary cache would serve.
        let indexes = cache.unwrap_or_else(|_| Cache::with_weighter(EXPECTED_REPOS, CACHE_BYTES, EntryWeighter));
        Self { indexes, moments: AtomicU64::new(0) }
    }
}

impl IndexCache {
    /// A slot of a repo; a new one that nobody else sees if the cache has none.
    fn slot(&self, repo: &RepoId, view: View) -> Arc<Slot> {
        self.indexes.get(&(repo.clone(), view)).unwrap_or_default().slot
    }

    /// Now: to be asked for before a list of packs is read.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.moments.load(Ordering::SeqCst))
    }

    /// Puts a slot into the cache, or its new weight.
    fn keep(&self, repo: &RepoId, view: View, slot: &Arc<Slot>) {
        let weight = slot.current().estimated_bytes().max(1);
        self.indexes.insert((repo.clone(), view), Entry { slot: Arc::clone(slot), weight });
    }
}

impl Slot {
    fn current(&self) -> Arc<RepoIndex> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, index: RepoIndex) -> Arc<RepoIndex> {
        let index = Arc::new(index);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&index);
        index
    }

    /// Adds packs in place, or to a copy while some request still reads the index as it was.
    fn add(&self, packs: Vec<(PackId, GraphSection, Contents)>) -> Result<Arc<RepoIndex>, Error> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = Arc::make_mut(&mut current).add(packs) {
            // Half of a pack may be in it.
            *current = Arc::default();
            return Err(error);
        }
        Ok(Arc::clone(&current))
    }
}

impl Store {
    /// The index of a repo that has at least these packs, of a list that began no earlier than `listed`: one that landed since they were listed may be in it too, and
    /// is as visible as they are. Sections that this process has not seen are read, in parallel.
    ///
    /// Packs go in one way only: they are merged into one that is new. So as long as a list brings no merged pack that
    /// the index does not know, what the index knows is still there. When it brings one, the index is made anew from
    /// the list, and nothing points into the packs that are gone; whoever holds the index as it was has until they are
    /// deleted. A list of several pages may itself have packs that are gone by its end, so what an index was made anew
    /// from is held against the next list that began since, and if something is gone, it is made anew once more. Adding a pack that is gone to an index that knows what it was merged into changes nothing, since what an
    /// index knows stays where it is. Only what is not condemned may not be added to so: a list that is older than such an
    /// index gets one of its own.
    ///
    /// # Errors
    /// When a section cannot be read or is damaged.
    pub(super) async fn index(
        &self,
        repo: &RepoId,
        packs: &[(PackId, PackSummary)],
        view: View,
        listed: Moment,
    ) -> Result<Arc<RepoIndex>, Error> {
        let slot = self.indexes.slot(repo, view);
        let known = slot.current();
        let new: Vec<_> = packs.iter().filter(|(pack, _)| !known.packs.contains(pack)).copied().collect();
        let is_anew = known.is_torn(packs, listed) || new.iter().any(|(_, summary)| summary.merged > 0);
        if new.is_empty() && !is_anew {
            return Ok(known);
        }
        // Packs that were condemned since the list began would come back with what is condemned of them.
        let is_older = view == View::Reliable && known.unproved.as_ref().is_some_and(|unproved| unproved.made > listed);
        // Given back, so that the index can grow in place.
        drop(known);
        let to_read = if is_anew || is_older { packs.to_vec() } else { new };
        let read = stream::iter(to_read)
            .map(|(pack, summary)| self.read_sections(repo, pack, summary))
            // In the order of their names, so that every process that reads them sees the same records first.
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        if is_older {
            return Ok(Arc::new(RepoIndex::of(read)?));
        }
        let index = if is_anew {
            let mut index = RepoIndex::of(read)?;
            let made = Moment(self.indexes.moments.fetch_add(1, Ordering::SeqCst) + 1);
            let made_of = packs.iter().map(|(pack, _)| *pack).collect();
            index.unproved = Some(Unproved { packs: made_of, made, is_proved: Arc::default() });
            slot.replace(index)
        } else {
            slot.add(read)?
        };
        self.indexes.keep(repo, view, &slot);
        Ok(index)
    }

    /// Tells the cache of a pack that this process has just made visible, which spares the next request a read.
    pub(super) fn remember_pack(&self, repo: &RepoId, pack: PackId, graph: GraphSection, contents: Contents) {
        let remember = |view, slot: &Arc<Slot>, graph, contents| {
            if slot.add(vec![(pack, graph, contents)]).is_ok() {
                self.indexes.keep(repo, view, slot);
            }
        };
        // Most repos have nothing condemned, and no index but the one.
        let reliable = self.indexes.slot(repo, View::Reliable);
        if !reliable.current().packs.is_empty() {
            remember(View::Reliable, &reliable, graph.clone(), contents.clone());
        }
        remember(View::All, &self.indexes.slot(repo, View::All), graph, contents);
    }

    /// Both sections lie side by side, so one read gets them.
    pub(super) async fn read_sections(
        &self,
        repo: &RepoId,
        pack: PackId,
        summary: PackSummary,
    ) -> Result<(PackId, GraphSection, Contents), Error> {
        let stored = self.get_pack_range(repo, pack, sections_range(pack, &summary)?).await?;
        let (graph, contents) = decode_sections(pack, &summary, &stored)?;
        Ok((pack, graph, contents))
    }
}

/// The bytes of a pack that have both its sections.
pub(super) fn sections_range(pack: PackId, summary: &PackSummary) -> Result<Range<u64>, Error> {
    let (graph, contents) = (summary.graph.range(), summary.contents.range());
    if graph.end != contents.start {
        return Err(Error::Damaged(format!("pack {pack}: its sections do not lie side by side")));
    }
    Ok(graph.start..contents.end)
}

/// Reads the sections out of [`sections_range`].
pub(super) fn decode_sections(
    pack: PackId,
    summary: &PackSummary,
    stored: &[u8],
) -> Result<(GraphSection, Contents), Error> {
    let middle = usize::try_from(summary.graph.length).map_err(Error::fault)?;
    let (graph, contents) = stored.split_at_checked(middle).unwrap_or_default();
    Ok((GraphSection::decode(pack, &summary.graph, graph)?, Contents::decode(pack, &summary.contents, contents)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ObjectId;
    use crate::pack::{NewObject, NewPack, write};

    #[test]
    fn the_index_of_one_large_repo_stays_in_the_cache() {
        let pack = |number: u64| {
            let content = number.to_le_bytes();
            let key = ObjectId::of(&content).key();
            let object = NewObject { key, path: "".into(), content: &content, is_ahead: false };
            let written = write(NewPack { objects: vec![object], ..NewPack::default() }).unwrap();
            (PackId::from_parts(number, 0), written.graph, written.contents)
        };
        let (cache, repo) = (IndexCache::default(), RepoId::from(PackId::from_parts(0, 0)));
        let slot = cache.slot(&repo, View::All);
        slot.add(vec![pack(1)]).unwrap();
        // What the index of some four million records weighs.
        cache.indexes.insert((repo.clone(), View::All), Entry { slot, weight: CACHE_BYTES * 3 / 4 });
        assert_eq!(cache.slot(&repo, View::All).current().packs.len(), 1);
    }
}
