//! A request's view of a repo: the list of tables that it read from the items, and nothing else. A lookup reads what it
//! needs of them when it needs it.
//!
//! A lookup goes in steps, and each reads what it needs at the same time: the heads of tables, which only the first
//! lookup reads; the pages that may hold the ids; and for commits the pages of the graph that those lead to. A small
//! table is read whole with its head, and a small pack whole with its table. An id that a cached table holds is not
//! looked for in others. Many ids are held against a table's filter first, so that missing ids cost next to nothing. A
//! caller that expects its ids to be there, most likely among the newest, has the newest tables asked before any other
//! is opened ([`View::newest_first`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use crate::StoreError;
use crate::bucket::packs;
use crate::bucket::{Bucket, Part};
use crate::compute;
use common::id::{CommitId, Id, ObjectKey, RepoId, SnapshotId};
use common::location::{
    KnownCommit, KnownObject, KnownSnapshot, LargeObject, ObjectLocation, PackFrame, RecordLocation,
};
use common::pack::index::of_pack;
use common::pack::{PackId, PackSummary, TableExtent};
use common::purged::Purged;
use common::table::{
    self, CommitEntry, Filter, FrameEntry, GraphEntry, Head, Key, LargeEntry, Location, ParentEntry, RecordEntry,
    Section, entries, entries_of, entry_at, page_checksum_holds, read_name,
};

/// A table of at most this many bytes is read whole, and so is a pack.
pub const WHOLE_BYTES: u64 = 64 << 10;
/// All pages of a new table of at most this many bytes are cached.
const REMEMBERED_BYTES: u64 = 2 << 20;
/// Reads at the same time.
const PARALLEL_READS: usize = 64;
/// Pages between two that are wanted which one read brings along rather than making two.
const PAGES_BETWEEN: u64 = 8;
/// Pages that one read brings at most.
const PAGES_A_READ: u64 = 128;
/// Pages that a lookup has in memory at the same time.
const PAGES_AT_ONCE: usize = 1_024;
/// Looking for more keys than this, times tables, takes the processor for a while.
const MUCH_TO_FIND: usize = 2_000;
/// A filter is read first if it has fewer bytes than this for each id that is looked for.
const FILTER_BYTES_AN_ID: u64 = 16 << 10;

/// A table as the items list it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// The pack that it is in, or the index that it is.
    pack: PackId,
    summary: PackSummary,
}

impl Listed {
    pub(crate) const fn of(pack: PackId, summary: &PackSummary) -> Self {
        Self { pack, summary: *summary }
    }
}

impl Listed {
    const fn extent(&self) -> &TableExtent {
        &self.summary.table
    }

    fn key(&self, repo: &RepoId) -> String {
        packs::table_key(repo, self.pack, &self.summary)
    }
}

/// A table whose head was read.
#[derive(Debug, Clone)]
struct Opened {
    head: Head,
    /// The whole table, if it is small.
    whole: Option<Bytes>,
}

/// A page by its table, its section and its number.
type PageId = (usize, Section, u64);

/// Frames, by table and number.
#[derive(Debug, Default)]
pub struct Frames(HashMap<(u32, u32), PackFrame>);

impl Frames {
    /// The frame of a place.
    pub fn of(&self, place: RecordLocation) -> Option<PackFrame> {
        self.0.get(&place.frame_id()).copied()
    }
}

/// What a request sees of a repo. Copies are one view.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
    newest_first: bool,
}

struct Inner {
    bucket: Arc<Bucket>,
    repo: RepoId,
    tables: Vec<Listed>,
    opened: Vec<OnceCell<Opened>>,
    /// Objects that were purged: they count as missing, even if tables have them.
    purged: Arc<Purged>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("View").field("tables", &self.inner.tables.len()).finish_non_exhaustive()
    }
}

impl View {
    /// A view of these tables, in the order of their names, in which nothing is that was `purged`.
    pub(crate) fn new(bucket: Arc<Bucket>, repo: RepoId, tables: Vec<Listed>, purged: Arc<Purged>) -> Self {
        let opened = tables.iter().map(|_| OnceCell::new()).collect();
        Self { inner: Arc::new(Inner { bucket, repo, tables, opened, purged }), newest_first: false }
    }

    /// Records that count as missing, even if tables have them.
    pub fn purged(&self) -> &Purged {
        &self.inner.purged
    }

    /// The same view, which asks the newest tables before it opens the others: fewer reads for what is there and came last,
    /// more steps for what is not.
    #[must_use]
    pub fn newest_first(&self) -> Self {
        Self { newest_first: true, ..self.clone() }
    }

    /// How many commits the tables have, a commit of two packs counted twice.
    ///
    /// # Errors
    /// When S3 does not answer, or a table is damaged, as all of these.
    pub async fn commit_count(&self) -> Result<u64, StoreError> {
        let opened = self.open(0..self.inner.tables.len()).await?;
        Ok(opened.iter().map(|(_, opened)| opened.head.count(Section::Commits)).sum())
    }

    /// Those of these commits that are there.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub async fn present_commits<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i CommitId>,
    ) -> Result<HashSet<CommitId>, StoreError> {
        let ids: Vec<&CommitId> = ids.into_iter().collect();
        let keys: Vec<Key> = ids.iter().map(|id| Key::of(id.as_ref())).collect();
        let found = self.find(Section::Commits, &keys, CommitEntry::read, |_| true).await?;
        Ok(ids.into_iter().zip(found).filter(|(_, found)| !found.is_empty()).map(|(id, _)| id.clone()).collect())
    }

    /// What is known of these commits, without those that are missing.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub async fn commits<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i CommitId>,
    ) -> Result<HashMap<CommitId, KnownCommit>, StoreError> {
        let ids: Vec<&CommitId> = ids.into_iter().collect();
        let positions = self.positions(&ids).await?;
        let found = self.graph_entries(&positions.iter().flatten().copied().collect::<Vec<_>>()).await?;
        let known = ids.into_iter().zip(positions).filter_map(|(id, position)| Some((id, found.get(&position?)?)));
        Ok(known.map(|(id, commit)| (id.clone(), commit.1.clone())).collect())
    }

    /// Where those of these commits are in the graphs that are there: table and position.
    pub(crate) async fn positions(&self, ids: &[&CommitId]) -> Result<Vec<Option<(usize, u32)>>, StoreError> {
        let keys: Vec<Key> = ids.iter().map(|id| Key::of(id.as_ref())).collect();
        let found = self.find(Section::Commits, &keys, CommitEntry::read, |_| true).await?;
        Ok(found.into_iter().map(|found| found.first().map(|(table, entry)| (*table, entry.position))).collect())
    }

    /// The commits at positions of the graphs, as [`Self::commits`] has them, and for each parent where it is, if it is in
    /// the same table.
    pub(crate) async fn graph_entries(
        &self,
        at: &[(usize, u32)],
    ) -> Result<HashMap<(usize, u32), (CommitId, KnownCommit, Vec<Option<u32>>)>, StoreError> {
        let page = |(table, position): (usize, u32)| graph_page(table, position);
        let mut pages = self.pages(at.iter().map(|at| page(*at)).collect()).await?;
        let read = |pages: &HashMap<PageId, Bytes>, (table, position): (usize, u32)| {
            let page = pages.get(&page((table, position)))?;
            entry_at(Section::Graph, page, position.into()).map(GraphEntry::read)
        };
        // Parents have keys of their own, on other pages where the page ends between.
        let mut more = BTreeSet::new();
        for at in at {
            let parents = read(&pages, *at).into_iter().flat_map(|entry| entry.parents).flatten();
            more.extend(parents.map(|parent| match parent {
                ParentEntry::Here(position) => graph_page(at.0, position),
                ParentEntry::Elsewhere(position) => {
                    (at.0, Section::Parents, u64::from(position) / Section::Parents.entries_a_page())
                }
            }));
        }
        more.retain(|page| !pages.contains_key(page));
        pages.extend(self.pages(more).await?);
        let mut entries = Vec::with_capacity(at.len());
        for at in at {
            let entry = read(&pages, *at).ok_or_else(|| self.malformed(at.0, "a commit is not in the graph"))?;
            let mut parents = Vec::new();
            for parent in entry.parents.into_iter().flatten() {
                parents.push(match parent {
                    ParentEntry::Here(position) => {
                        let key = read(&pages, (at.0, position)).map(|parent| parent.key);
                        (key.ok_or_else(|| self.malformed(at.0, "a parent is not in the graph"))?, Some(position))
                    }
                    ParentEntry::Elsewhere(position) => {
                        let page = u64::from(position) / Section::Parents.entries_a_page();
                        let page = pages.get(&(at.0, Section::Parents, page));
                        let key =
                            page.and_then(|page| entry_at(Section::Parents, page, position.into())?.first_chunk());
                        let key = key.ok_or_else(|| self.malformed(at.0, "a parent is nowhere"))?;
                        (Key::from(*key), None)
                    }
                });
            }
            entries.push((*at, entry, parents));
        }
        let keys = entries.iter().flat_map(|(_, entry, parents)| {
            parents.iter().map(|(key, _)| *key).chain([entry.key]).chain(entry.snapshot)
        });
        let names = self.names(keys.filter(Key::is_opaque).collect()).await?;
        let mut found = HashMap::with_capacity(entries.len());
        for (at, entry, parents) in entries {
            let id = |key: Key| id_of(&names, key).ok_or_else(|| self.malformed(at.0, "an id has no text"));
            let ids = parents.iter().map(|(key, _)| Ok(id(*key)?.into())).collect::<Result<_, StoreError>>()?;
            let commit = KnownCommit {
                parents: ids,
                generation: Some(entry.generation).filter(|known| *known != table::UNKNOWN_GENERATION),
                is_reached: entry.is_reached,
                snapshot: entry.snapshot.map(id).transpose()?.map(SnapshotId::from),
                snapshot_place: entry.snapshot_place.map(|place| RecordLocation::of(at.0, place)),
                place: RecordLocation::of(at.0, entry.place),
            };
            let hints = parents.into_iter().map(|(_, position)| position).collect();
            found.insert(at, (id(entry.key)?.into(), commit, hints));
        }
        Ok(found)
    }

    /// What is known of these snapshots, without those that are missing.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub async fn snapshots<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i SnapshotId>,
    ) -> Result<HashMap<SnapshotId, KnownSnapshot>, StoreError> {
        let ids: Vec<&SnapshotId> = ids.into_iter().collect();
        let keys: Vec<Key> = ids.iter().map(|id| Key::of(id.as_ref())).collect();
        let found = self.find(Section::Snapshots, &keys, RecordEntry::read, |entry| entry.is_reached).await?;
        let known = ids.into_iter().zip(found).filter_map(|(id, entries)| {
            let place = entries.iter().find_map(|(table, entry)| match entry.location {
                Location::Packed(place) => Some(RecordLocation::of(*table, place)),
                _ => None,
            })?;
            Some((id.clone(), KnownSnapshot { place, is_reached: entries.iter().any(|(_, entry)| entry.is_reached) }))
        });
        Ok(known.collect())
    }

    /// What is known of these objects, without those that are missing.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub async fn objects<'i>(
        &self,
        keys: impl IntoIterator<Item = &'i ObjectKey>,
    ) -> Result<HashMap<ObjectKey, KnownObject>, StoreError> {
        let ids: Vec<&ObjectKey> = keys.into_iter().filter(|key| !self.inner.purged.has(key)).collect();
        let keys: Vec<Key> = ids.iter().map(|id| Key::of(id.as_ref())).collect();
        let is_enough = |entry: &RecordEntry| entry.is_reached && entry.location != Location::Elsewhere;
        let found = self.find(Section::Objects, &keys, RecordEntry::read, is_enough).await?;
        let large = found.iter().flatten().filter_map(|(table, entry)| match entry.location {
            Location::Large(position) => Some(large_page(*table, position)),
            _ => None,
        });
        let large = self.pages(large.collect()).await?;
        let mut known = HashMap::with_capacity(found.len());
        for (id, entries) in ids.into_iter().zip(found) {
            let is_reached = entries.iter().any(|(_, entry)| entry.is_reached);
            for (table, entry) in entries {
                let place = match entry.location {
                    Location::Elsewhere => continue,
                    Location::Packed(place) => ObjectLocation::Packed(RecordLocation::of(table, place)),
                    Location::Large(position) => {
                        let page = large.get(&large_page(table, position));
                        let entry = page.and_then(|page| entry_at(Section::Large, page, position.into()));
                        let entry = entry.ok_or_else(|| self.malformed(table, "a large object is nowhere"))?;
                        let LargeEntry { owner, size, .. } = LargeEntry::read(entry);
                        ObjectLocation::Large(LargeObject { pack: self.named(table, owner), size })
                    }
                };
                known.insert(id.clone(), KnownObject { place, is_reached });
                break;
            }
        }
        Ok(known)
    }

    /// The packs that hold any of these objects, or list one as a large object, purged or not.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub(crate) async fn holders(&self, keys: &[Key]) -> Result<BTreeSet<PackId>, StoreError> {
        let found = self.find(Section::Objects, keys, RecordEntry::read, |_| false).await?;
        let (mut holders, mut places, mut large) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (table, entry) in found.into_iter().flatten() {
            match entry.location {
                // A note of it, without a byte.
                Location::Elsewhere => {}
                Location::Packed(place) => places.push(RecordLocation::of(table, place)),
                Location::Large(position) => large.push((table, position)),
            }
        }
        let frames = self.frames(places.iter().copied()).await?;
        holders.extend(places.into_iter().filter_map(|place| frames.of(place)).map(|frame| frame.pack));
        let pages = self.pages(large.iter().map(|(table, position)| large_page(*table, *position)).collect()).await?;
        for (table, position) in large {
            let entry = pages.get(&large_page(table, position));
            let entry = entry.and_then(|page| entry_at(Section::Large, page, position.into()));
            let entry = entry.ok_or_else(|| self.malformed(table, "a large object is nowhere"))?;
            holders.insert(self.named(table, LargeEntry::read(entry).listed_by));
        }
        Ok(holders)
    }

    /// How many pages a lookup of these objects would read, at most.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub async fn object_pages(&self, keys: &HashSet<ObjectKey>) -> Result<usize, StoreError> {
        let mut pages = BTreeSet::new();
        for (number, table) in self.open(0..self.inner.tables.len()).await? {
            if table.head.count(Section::Objects) == 0 {
                continue;
            }
            let of_key = |key: &ObjectKey| table.head.pages_of(Section::Objects, &Key::of(key.as_ref()));
            let ids = keys.iter().flat_map(of_key).map(|page| (number, Section::Objects, page));
            pages.extend(ids.filter(|page| self.resident(table, *page).is_none()));
        }
        Ok(pages.len())
    }

    /// The frames of places.
    ///
    /// # Errors
    /// As [`Self::commit_count`].
    pub async fn frames(&self, places: impl IntoIterator<Item = RecordLocation>) -> Result<Frames, StoreError> {
        let wanted: BTreeSet<(u32, u32)> = places.into_iter().map(|place| place.frame_id()).collect();
        let page = |(table, frame): (u32, u32)| {
            (table as usize, Section::Frames, u64::from(frame) / Section::Frames.entries_a_page())
        };
        let pages = self.pages(wanted.iter().map(|frame| page(*frame)).collect()).await?;
        let mut frames = HashMap::with_capacity(wanted.len());
        for (table, frame) in wanted {
            let stored = pages.get(&page((table, frame)));
            let stored = stored.and_then(|page| entry_at(Section::Frames, page, frame.into()));
            let entry = stored.and_then(FrameEntry::read);
            let entry = entry.ok_or_else(|| self.malformed(table as usize, "a frame is not there"))?;
            let pack = self.named(table as usize, entry.pack);
            frames.insert((table, frame), PackFrame { pack, number: entry.number as usize, frame: entry.frame });
        }
        Ok(Frames(frames))
    }

    /// How many entries the section of a table has.
    pub(crate) async fn count(&self, table: usize, section: Section) -> Result<u64, StoreError> {
        Ok(self.open([table]).await?.first().map_or(0, |(_, opened)| opened.head.count(section)))
    }

    /// A pack by its name in a table, where the table's own has none.
    fn named(&self, table: usize, pack: PackId) -> PackId {
        if !pack.is_nil() {
            return pack;
        }
        self.inner.tables.get(table).map_or(pack, |listed| listed.pack)
    }

    fn malformed(&self, table: usize, reason: &str) -> StoreError {
        let pack = self.inner.tables.get(table).map_or(PackId::nil(), |listed| listed.pack);
        of_pack(pack, table::TableError::Malformed(reason.to_owned())).into()
    }

    /// The texts of those of these keys that are not hashes.
    async fn names(&self, opaque: BTreeSet<Key>) -> Result<HashMap<Key, Id>, StoreError> {
        let opaque: Vec<Key> = opaque.into_iter().collect();
        if opaque.is_empty() {
            return Ok(HashMap::new());
        }
        let text = |stored: &[u8]| read_name(stored).1.and_then(|text| text.parse::<Id>().ok());
        let found = self.find(Section::Names, &opaque, text, |_| true).await?;
        let named = opaque.into_iter().zip(found);
        Ok(named.filter_map(|(key, found)| Some((key, found.into_iter().next()?.1?))).collect())
    }

    /// What the tables have of these keys, for each key in the order of the tables. Once something is enough for a key,
    /// tables that are not in memory are not asked for it.
    async fn find<E>(
        &self,
        section: Section,
        keys: &[Key],
        read: impl Fn(&[u8]) -> E,
        is_enough: impl Fn(&E) -> bool,
    ) -> Result<Vec<Vec<(usize, E)>>, StoreError> {
        let mut found: Vec<Vec<(usize, E)>> = keys.iter().map(|_| Vec::new()).collect();
        let is_small = |listed: &Listed| listed.extent().length <= WHOLE_BYTES;
        let small: Vec<bool> = self.inner.tables.iter().map(is_small).collect();
        for tables in stages(&small, self.newest_first) {
            let is_open = |(at, found): (usize, &Vec<(usize, E)>)| {
                (!found.iter().any(|(_, entry)| is_enough(entry))).then_some(at)
            };
            let open: Vec<usize> = found.iter().enumerate().filter_map(is_open).collect();
            if open.is_empty() {
                break;
            }
            self.find_in(tables, section, keys, &open, &read, &is_enough, &mut found).await?;
        }
        found.iter_mut().filter(|found| found.len() > 1).for_each(|found| found.sort_by_key(|(table, _)| *table));
        Ok(found)
    }

    /// Adds what some tables have of the keys that are still `open`.
    #[expect(clippy::too_many_arguments, reason = "a part of `find`, for whose loop it has a name of its own")]
    async fn find_in<E>(
        &self,
        tables: Vec<usize>,
        section: Section,
        keys: &[Key],
        open: &[usize],
        read: &impl Fn(&[u8]) -> E,
        is_enough: &impl Fn(&E) -> bool,
        found: &mut [Vec<(usize, E)>],
    ) -> Result<(), StoreError> {
        let opened = self.open(tables).await?;
        let is_much = open.len().saturating_mul(opened.len()) > MUCH_TO_FIND;
        let mut look = || self.find_resident(&opened, section, keys, open, read, found);
        let mut wanted = if is_much { compute(look) } else { look() };
        let is_satisfied =
            |at: &usize| found.get(*at).is_some_and(|found| found.iter().any(|(_, entry)| is_enough(entry)));
        let satisfied: HashSet<usize> = open.iter().copied().filter(is_satisfied).collect();
        wanted.retain(|_, of_page| {
            of_page.retain(|at| !satisfied.contains(at));
            !of_page.is_empty()
        });
        if !wanted.is_empty() {
            self.filter(&opened, section, keys, &mut wanted).await?;
        }
        let mut pages = wanted.into_iter();
        loop {
            let batch: Vec<(PageId, Vec<usize>)> = pages.by_ref().take(PAGES_AT_ONCE).collect();
            if batch.is_empty() {
                break;
            }
            let stored = self.pages(batch.iter().map(|(page, _)| *page).collect()).await?;
            for (page, of_page) in batch {
                let stored = stored.get(&page).ok_or_else(|| self.malformed(page.0, "a page was not read"))?;
                for at in of_page {
                    if let (Some(key), Some(found)) = (keys.get(at), found.get_mut(at)) {
                        found.extend(matching(section, stored, key, read).map(|entry| (page.0, entry)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks for keys in the pages that are in memory, and says which others may hold which of them.
    fn find_resident<E>(
        &self,
        opened: &[(usize, &Opened)],
        section: Section,
        keys: &[Key],
        open: &[usize],
        read: &impl Fn(&[u8]) -> E,
        found: &mut [Vec<(usize, E)>],
    ) -> BTreeMap<PageId, Vec<usize>> {
        let mut wanted: BTreeMap<PageId, Vec<usize>> = BTreeMap::new();
        for (number, table) in opened.iter().filter(|(_, table)| table.head.count(section) > 0) {
            for at in open {
                let Some((key, found)) = keys.get(*at).zip(found.get_mut(*at)) else { continue };
                for page in table.head.pages_of(section, key) {
                    match self.resident(table, (*number, section, page)) {
                        Some(page) => found.extend(matching(section, &page, key, read).map(|entry| (*number, entry))),
                        None => wanted.entry((*number, section, page)).or_default().push(*at),
                    }
                }
            }
        }
        wanted
    }

    /// Removes wanted pages that cannot hold what is looked for, by the filters of their tables. A filter that is not
    /// cached is read if that is less work than a look into the pages.
    async fn filter(
        &self,
        opened: &[(usize, &Opened)],
        section: Section,
        keys: &[Key],
        wanted: &mut BTreeMap<PageId, Vec<usize>>,
    ) -> Result<(), StoreError> {
        let Some(filter) = section.filter() else {
            return Ok(());
        };
        let mut asked: BTreeMap<usize, u64> = BTreeMap::new();
        for ((table, _, _), of_page) in wanted.iter() {
            *asked.entry(*table).or_default() += of_page.len() as u64;
        }
        let mut needed = BTreeSet::new();
        for (number, ids) in asked {
            let Some((_, table)) = opened.iter().find(|(opened, _)| *opened == number) else {
                continue;
            };
            let pages = || (0..table.head.pages(filter)).map(move |page| (number, filter, page));
            let is_worth_it = table.head.count(filter) <= ids.saturating_mul(FILTER_BYTES_AN_ID);
            if is_worth_it || pages().all(|page| self.resident(table, page).is_some()) {
                needed.extend(pages());
            }
        }
        let mut filters: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut stored: Vec<_> = self.pages(needed).await?.into_iter().collect();
        stored.sort_unstable_by_key(|(page, _)| *page);
        for ((table, _, _), page) in stored {
            let bytes = filters.entry(table).or_default();
            entries(filter, &page).for_each(|byte| bytes.extend_from_slice(byte));
        }
        let filters: BTreeMap<usize, Filter> =
            filters.into_iter().map(|(table, bytes)| (table, Filter::from_bytes(bytes))).collect();
        wanted.retain(|(table, _, _), of_page| {
            if let Some(filter) = filters.get(table) {
                of_page.retain(|at| keys.get(*at).is_some_and(|key| filter.may_hold(key)));
            }
            !of_page.is_empty()
        });
        Ok(())
    }

    /// A page that is in memory.
    fn resident(&self, opened: &Opened, (table, section, page): PageId) -> Option<Bytes> {
        let listed = self.inner.tables.get(table)?;
        match &opened.whole {
            Some(whole) => {
                let range = opened.head.page_range(section, page);
                let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
                (end <= whole.len()).then(|| whole.slice(start..end))
            }
            None => self.inner.bucket.remembered(listed.pack, Part::Page(section, page)),
        }
    }

    /// Pages, read where they are not in memory, and remembered.
    pub(crate) async fn pages(&self, wanted: BTreeSet<PageId>) -> Result<HashMap<PageId, Bytes>, StoreError> {
        let mut pages = HashMap::with_capacity(wanted.len());
        if wanted.is_empty() {
            return Ok(pages);
        }
        let tables: BTreeSet<usize> = wanted.iter().map(|(table, _, _)| *table).collect();
        let opened: HashMap<usize, &Opened> = self.open(tables).await?.into_iter().collect();
        // Pages of a table's section that one read brings, with those between them.
        let mut runs: Vec<(usize, Section, Vec<u64>)> = Vec::new();
        for id in wanted {
            if let Some(page) = opened.get(&id.0).and_then(|opened| self.resident(opened, id)) {
                pages.insert(id, page);
                continue;
            }
            let (table, section, page) = id;
            let is_near = |run: &[u64]| match run {
                [first, .., last] | [first @ last] => page <= last + 1 + PAGES_BETWEEN && page - first < PAGES_A_READ,
                [] => false,
            };
            match runs.last_mut() {
                Some((of, in_section, run)) if (*of, *in_section) == (table, section) && is_near(run) => run.push(page),
                _ => runs.push((table, section, vec![page])),
            }
        }
        let read: Vec<_> = stream::iter(runs)
            .map(|(table, section, run)| {
                let opened = opened.get(&table).copied();
                async move {
                    let opened = opened.ok_or_else(|| self.malformed(table, "no such table"))?;
                    self.read_pages(opened, table, section, &run).await
                }
            })
            .buffer_unordered(PARALLEL_READS)
            .try_collect()
            .await?;
        pages.extend(read.into_iter().flatten());
        Ok(pages)
    }

    async fn read_pages(
        &self,
        opened: &Opened,
        table: usize,
        section: Section,
        run: &[u64],
    ) -> Result<Vec<(PageId, Bytes)>, StoreError> {
        let ([first, .., last] | [first @ last]) = run else {
            return Ok(Vec::new());
        };
        let listed = self.inner.tables.get(table).ok_or_else(|| self.malformed(table, "no such table"))?;
        let of_table = |page| opened.head.page_range(section, page);
        let start = of_table(*first).start;
        let offset = listed.extent().offset;
        let range = offset.saturating_add(start)..offset.saturating_add(of_table(*last).end);
        let bytes = self.inner.bucket.get_range(&listed.key(&self.inner.repo), None, range).await?;
        let mut pages = Vec::with_capacity(run.len());
        for page in run.iter().copied() {
            let range = of_table(page);
            let [from, to] = [range.start, range.end].map(|at| (at - start) as usize);
            let stored = bytes.get(from..to).unwrap_or_default();
            if !page_checksum_holds(section, page, stored) {
                return Err(of_pack(listed.pack, table::TableError::of_page(section, page)).into());
            }
            // Copied, so that a page which is remembered does not keep all that was read with it.
            let stored = Bytes::copy_from_slice(stored);
            self.inner.bucket.remember(listed.pack, Part::Page(section, page), stored.clone());
            pages.push(((table, section, page), stored));
        }
        Ok(pages)
    }

    /// Opens those of these tables that are not open yet.
    async fn open(&self, tables: impl IntoIterator<Item = usize>) -> Result<Vec<(usize, &Opened)>, StoreError> {
        let open = |number: usize| async move {
            let opened = self.inner.opened.get(number).ok_or_else(|| self.malformed(number, "no such table"))?;
            Ok::<_, StoreError>((number, opened.get_or_try_init(|| self.open_one(number)).await?))
        };
        stream::iter(tables.into_iter().map(open)).buffered(PARALLEL_READS).try_collect().await
    }

    async fn open_one(&self, number: usize) -> Result<Opened, StoreError> {
        let table = self.inner.tables.get(number).ok_or_else(|| self.malformed(number, "no such table"))?;
        let Listed { pack, summary } = table;
        let extent = &summary.table;
        let bucket = &self.inner.bucket;
        let key = || table.key(&self.inner.repo);
        let read = |bytes| Head::read(bytes, extent.head_checksum).map_err(|error| of_pack(*pack, error));
        if extent.length > WHOLE_BYTES {
            let (bytes, is_new) = match bucket.remembered(*pack, Part::Head) {
                Some(bytes) => (bytes, false),
                None => (bucket.get_range(&key(), None, extent.head_range()).await?, true),
            };
            let head = read(bytes.clone())?;
            self.check_length(table, &head)?;
            if is_new {
                bucket.remember(*pack, Part::Head, bytes);
            }
            return Ok(Opened { head, whole: None });
        }
        let remembered = bucket.remembered(*pack, Part::Table);
        let is_new = remembered.is_none();
        let (whole, frames) = match remembered {
            Some(whole) => (whole, None),
            None if summary.size <= WHOLE_BYTES && !summary.is_index() => {
                let mut file = bucket.get_range(&key(), None, 0..extent.range().end).await?;
                let start = usize::try_from(extent.offset).unwrap_or(usize::MAX).min(file.len());
                (file.split_off(start), Some(file))
            }
            None => (bucket.get_range(&key(), None, extent.range()).await?, None),
        };
        let head_start = extent.length.saturating_sub(extent.head_length).min(whole.len() as u64);
        let head = read(whole.slice(head_start as usize..))?;
        self.check_length(table, &head)?;
        if is_new {
            head.check_pages(&whole).map_err(|error| of_pack(*pack, error))?;
            bucket.remember(*pack, Part::Table, whole.clone());
            // Those that need a damaged frame find that out for themselves.
            if let Some(frames) = frames.filter(|frames| are_whole(&head, &whole, frames)) {
                bucket.remember(*pack, Part::Frames, frames);
            }
        }
        Ok(Opened { head, whole: Some(whole) })
    }

    /// Whether a table has as many bytes as its head says.
    fn check_length(&self, table: &Listed, head: &Head) -> Result<(), StoreError> {
        if head.sections_length().saturating_add(head.length()) == table.extent().length {
            return Ok(());
        }
        let reason = "its table has another length than its head says".to_owned();
        Err(of_pack(table.pack, table::TableError::Malformed(reason)).into())
    }
}

/// The steps in which tables are asked: all at once; or, with `newest_first`, the small ones, each of which is one read,
/// and the newest of the others, and then four times as many in each step.
fn stages(small: &[bool], newest_first: bool) -> Vec<Vec<usize>> {
    let (first, mut large): (Vec<usize>, Vec<usize>) =
        (0..small.len()).partition(|table| !newest_first || small.get(*table) == Some(&true));
    let (mut most, mut stages) = (1_usize, vec![first]);
    while !large.is_empty() {
        let newest = large.split_off(large.len().saturating_sub(most));
        match stages.as_mut_slice() {
            [first] if most == 1 => first.extend(newest),
            _ => stages.push(newest),
        }
        most = most.saturating_mul(4);
    }
    stages
}

/// Whether all frames of a pack have their checksums, given its whole table and the bytes in front of that.
fn are_whole(head: &Head, table: &[u8], bytes: &[u8]) -> bool {
    (0..head.pages(Section::Frames)).all(|page| {
        let range = head.page_range(Section::Frames, page);
        let page = table.get(range.start as usize..range.end as usize).unwrap_or_default();
        entries(Section::Frames, page).all(|entry| {
            FrameEntry::read(entry).is_some_and(|entry| {
                let (start, length) = (entry.frame.offset as usize, entry.frame.stored_length as usize);
                let stored = bytes.get(start..start.saturating_add(length));
                stored.is_some_and(|stored| entry.frame.is_whole(stored))
            })
        })
    })
}

/// The entries of a page that have a key.
fn matching<E>(section: Section, page: &[u8], key: &Key, read: &impl Fn(&[u8]) -> E) -> impl Iterator<Item = E> {
    entries_of(section, page, key).filter_map(|range| page.get(range)).map(read)
}

pub(crate) fn graph_page(table: usize, position: u32) -> PageId {
    (table, Section::Graph, u64::from(position) / Section::Graph.entries_a_page())
}

fn large_page(table: usize, position: u32) -> PageId {
    (table, Section::Large, u64::from(position) / Section::Large.entries_a_page())
}

fn id_of(names: &HashMap<Key, Id>, key: Key) -> Option<Id> {
    key.id().or_else(|| names.get(&key).cloned())
}

/// The head of a larger table; and its pages, unless these would drive all others out of the cache.
fn remember_pages(bucket: &Bucket, pack: PackId, summary: &PackSummary, slice: impl Fn(Range<u64>) -> Option<Bytes>) {
    let extent = &summary.table;
    let Some(bytes) = slice(extent.head_range()) else {
        return;
    };
    let Ok(head) = Head::read(bytes.clone(), extent.head_checksum) else {
        return;
    };
    bucket.remember(pack, Part::Head, bytes);
    if extent.length > REMEMBERED_BYTES {
        return;
    }
    for section in Section::ALL {
        for page in 0..head.pages(section) {
            let range = head.page_range(section, page);
            let (start, end) = (extent.offset.saturating_add(range.start), extent.offset.saturating_add(range.end));
            if let Some(bytes) = slice(start..end) {
                bucket.remember(pack, Part::Page(section, page), bytes);
            }
        }
    }
}

/// Puts a pack that has just become visible into the cache of the process, which spares the next request a read.
pub(crate) fn remember_pack(bucket: &Bucket, pack: PackId, summary: &PackSummary, file: &Bytes) {
    let slice = |range: Range<u64>| {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        (start <= end && end <= file.len()).then(|| Bytes::copy_from_slice(file.get(start..end).unwrap_or_default()))
    };
    if summary.table.length > WHOLE_BYTES {
        remember_pages(bucket, pack, summary, slice);
        return;
    }
    if let Some(table) = slice(summary.table.range()) {
        bucket.remember(pack, Part::Table, table);
    }
    if summary.size <= WHOLE_BYTES
        && let Some(frames) = slice(0..summary.table.offset)
    {
        bucket.remember(pack, Part::Frames, frames);
    }
}

/// A bucket that has nothing but what is remembered.
#[cfg(test)]
pub(crate) fn offline_bucket() -> Bucket {
    let config = aws_sdk_s3::Config::builder().behavior_version(aws_sdk_s3::config::BehaviorVersion::latest()).build();
    Bucket::new(aws_sdk_s3::Client::from_conf(config), "offline".to_owned())
}

#[cfg(test)]
mod tests {
    use super::stages;

    #[test]
    fn each_table_is_asked_in_one_step_and_small_ones_and_the_newest_in_the_first() {
        for tables in 0..100_usize {
            for newest_first in [false, true] {
                let small: Vec<bool> = (0..tables).map(|table| table.is_multiple_of(3)).collect();
                let mut asked: Vec<usize> = stages(&small, newest_first).into_iter().flatten().collect();
                asked.sort_unstable();
                assert_eq!(asked, (0..tables).collect::<Vec<_>>());
            }
        }
        let small = [true, false, false, false, false, false, false, true];
        assert_eq!(stages(&small, true), [vec![0, 7, 6], vec![2, 3, 4, 5], vec![1]]);
        assert_eq!(stages(&small, false), [(0..8).collect::<Vec<_>>()]);
    }
}
