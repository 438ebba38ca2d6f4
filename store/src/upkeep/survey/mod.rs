//! What the packs of a repo hold, record by record, for upkeep that looks at all of it.
//!
//! It reads the listed tables from front to back, as often as it takes: those of indexes and of packs that are in none. So
//! its memory hardly depends on how many records there are. It has the frames of all packs, eight bytes for each commit,
//! a bit for each record and question, and half a million keys or places at a time.
//!
//! Commits have a *position*, counted through the graphs of all tables. Snapshots and objects have a *number*, counted
//! through the distinct keys of all tables. Where several packs hold a commit, the first one counts.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::upkeep::index::Listing;
use crate::upkeep::index::cursor::{InOrder, Input, Sorted};
use crate::upkeep::index::merge::{Base, bases, parent_keys};
use crate::{Store, StoreError};
use common::id::{CommitId, RepoId};
use common::location::{LargeObject, PackFrame, RecordLocation};
use common::pack::{PackId, PackSummary};
use common::table::{
    CommitEntry, FrameEntry, GraphEntry, Key, LargeEntry, Location, ParentEntry, RecordEntry, Section,
};

/// Keys that are looked up, or places that are handed out, at once.
pub const AT_ONCE: usize = 500_000;
/// Stands for the parent that a commit does not have, among positions.
const NONE: u32 = u32::MAX;
/// Stands for a parent that no pack holds.
const MISSING: u32 = u32::MAX - 1;

/// The tables of a repo, opened.
pub struct Survey<'s> {
    inputs: Vec<Input<'s>>,
    /// Where the entries of each table begin, counted through all of them.
    bases: Vec<Base>,
    /// The number of the pack that a table is of; none for an index.
    own: Vec<Option<u32>>,
    packs: Vec<(PackId, PackSummary)>,
    /// Of each table the frames, each with the number of its pack.
    frames: Arc<Vec<Vec<(PackFrame, u32)>>>,
    /// Of each table the large objects, each with the number of the pack that lists it.
    large: Vec<Vec<(LargeObject, u32)>>,
}

/// A commit as a pack holds it.
#[derive(Debug, Clone, Copy)]
pub struct CommitCopy {
    /// Its position.
    pub position: u32,
    /// The number of the pack.
    pub pack: u32,
    /// Where its record lies.
    pub place: RecordLocation,
    /// The snapshot that it names.
    pub snapshot: Option<Key>,
    /// The commit.
    pub key: Key,
}

/// What one pack says of a snapshot or an object.
#[derive(Debug, Clone, Copy)]
pub struct RecordCopy {
    /// The number of the pack. Not known of a note in an index.
    pub pack: Option<u32>,
    /// Whether a branch has reached it, as far as the pack knows.
    pub is_reached: bool,
    /// How the pack has it.
    pub held: Held,
    /// Bytes of the record.
    pub length: u64,
}

/// How a pack has a snapshot or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// In a frame.
    Packed(RecordLocation),
    /// As an S3 object of its own.
    Large(LargeObject),
    /// Not at all: it only notes that a branch has reached it.
    Noted,
}

/// What all packs say of a snapshot or an object.
#[derive(Debug, Default)]
pub struct Record {
    /// Its number.
    pub number: usize,
    /// One for each pack that says something of it, in the order of the packs.
    pub copies: Vec<RecordCopy>,
}

/// How the commits of a repo hang together.
pub struct Links {
    /// The parents of each commit, by their positions.
    parents: Vec<[u32; 2]>,
    /// The positions of commits that an earlier pack holds too, and theirs there.
    copies: HashMap<u32, u32>,
    /// Where the commits are that were asked for.
    named: HashMap<Key, Option<u32>>,
}

impl Record {
    /// The copies that are more than notes.
    pub fn held(&self) -> impl Iterator<Item = &RecordCopy> {
        self.copies.iter().filter(|copy| copy.held != Held::Noted)
    }

    /// Whether a branch has reached it, as far as any pack knows.
    pub fn is_reached(&self) -> bool {
        self.copies.iter().any(|copy| copy.is_reached)
    }

    /// The copy that is read: of the first pack that has one.
    pub fn first(&self) -> Option<&RecordCopy> {
        self.held().next()
    }
}

impl Store {
    /// Opens the tables of a repo.
    ///
    /// # Errors
    /// When one cannot be read or is damaged.
    pub async fn survey(&self, repo: &RepoId, listing: &Listing) -> Result<Survey<'_>, StoreError> {
        Survey::of(self.inputs(repo, &listing.tables).await?, listing.packs()).await
    }
}

impl<'s> Survey<'s> {
    /// Of opened tables, and all packs that those are of.
    async fn of(inputs: Vec<Input<'s>>, packs: Vec<(PackId, PackSummary)>) -> Result<Self, StoreError> {
        let numbers: HashMap<PackId, u32> = packs.iter().map(|(pack, _)| *pack).zip(0..).collect();
        let number = |input: &Input<'_>, pack: PackId| {
            let number = numbers.get(&input.named(pack)).copied();
            number.ok_or_else(|| input.table.malformed("it names a pack that is not its own"))
        };
        if inputs.iter().map(|input| input.table.count(Section::Graph)).sum::<u64>() >= u64::from(MISSING) {
            return Err(StoreError::Damaged("tables of over four thousand million commits".to_owned()));
        }
        let bases = bases(&inputs);
        let (mut frames, mut large) = (Vec::new(), Vec::new());
        for input in &inputs {
            let of_table = std::slice::from_ref(input);
            let mut of_input = Vec::new();
            let mut entries = InOrder::open(of_table, Section::Frames).await?;
            while let Some((_, entry)) = entries.first() {
                let entry = FrameEntry::read(entry);
                let entry = entry.ok_or_else(|| input.table.malformed("an unknown kind of frame"))?;
                let frame =
                    PackFrame { pack: input.named(entry.pack), number: entry.number as usize, frame: entry.frame };
                of_input.push((frame, number(input, entry.pack)?));
                entries.advance().await?;
            }
            frames.push(of_input);
            let mut of_input = Vec::new();
            let mut entries = InOrder::open(of_table, Section::Large).await?;
            while let Some((_, entry)) = entries.first() {
                let entry = LargeEntry::read(entry);
                let object = LargeObject { pack: input.named(entry.owner), size: entry.size };
                of_input.push((object, number(input, entry.listed_by)?));
                entries.advance().await?;
            }
            large.push(of_input);
        }
        let own = inputs.iter().map(|input| numbers.get(&input.pack?.0).copied()).collect();
        Ok(Self { inputs, bases, own, packs, frames: Arc::new(frames), large })
    }
}

impl Survey<'_> {
    /// All packs, by their numbers.
    pub fn packs(&self) -> &[(PackId, PackSummary)] {
        &self.packs
    }

    /// What finds the frame of a place.
    pub fn locate(&self) -> impl Fn(RecordLocation) -> Option<PackFrame> + Send + Sync + use<> {
        let frames = Arc::clone(&self.frames);
        move |place| frames.get(place.table as usize)?.get(place.frame as usize).map(|(frame, _)| *frame)
    }

    /// The frames of all tables.
    pub fn frames(&self) -> impl Iterator<Item = &PackFrame> {
        self.frames.iter().flatten().map(|(frame, _)| frame)
    }

    /// The large objects of all packs, each with the number of the pack that lists it.
    pub fn large(&self) -> impl Iterator<Item = &(LargeObject, u32)> {
        self.large.iter().flatten()
    }

    /// An empty set of commits.
    pub fn no_commits(&self) -> FixedBitSet {
        let commits = self.inputs.iter().map(|input| input.table.count(Section::Graph)).sum::<u64>();
        FixedBitSet::with_capacity(usize::try_from(commits).unwrap_or(usize::MAX))
    }

    /// An empty set of snapshots or objects.
    pub fn no_records(&self, section: Section) -> FixedBitSet {
        let records = self.inputs.iter().map(|input| input.table.count(section)).sum::<u64>();
        FixedBitSet::with_capacity(usize::try_from(records).unwrap_or(usize::MAX))
    }

    /// Begins with the first commit.
    ///
    /// # Errors
    /// As for all that follows: when a table cannot be read or is damaged.
    pub async fn commits(&self) -> Result<Commits<'_>, StoreError> {
        Ok(Commits { survey: self, entries: InOrder::open(&self.inputs, Section::Graph).await?, position: 0 })
    }

    /// Begins with the snapshot or the object of the least key.
    pub async fn records(&self, section: Section) -> Result<Records<'_>, StoreError> {
        let entries = Sorted::open(&self.inputs, section).await?;
        Ok(Records { survey: self, entries, next: 0, record: Record::default() })
    }

    /// How the commits hang together, and where these are.
    pub async fn links(&self, named: impl IntoIterator<Item = &CommitId>) -> Result<Links, StoreError> {
        let mut named: HashMap<Key, Option<u32>> = named.into_iter().map(|id| (Key::of(id.as_ref()), None)).collect();
        let keys = parent_keys(&self.inputs).await?;
        let mut elsewhere: HashMap<Key, u32> = keys.iter().map(|key| (*key, MISSING)).collect();
        let mut copies = HashMap::new();
        let mut latest: Option<(Key, u32)> = None;
        let mut commits = Sorted::open(&self.inputs, Section::Commits).await?;
        while let Some((input, entry)) = commits.first() {
            let CommitEntry { key, position } = CommitEntry::read(entry);
            let position = self.base(input).commits.saturating_add(position);
            match latest {
                Some((before, first)) if before == key => drop(copies.insert(position, first)),
                _ => {
                    latest = Some((key, position));
                    if let Some(found) = elsewhere.get_mut(&key) {
                        *found = position;
                    }
                    if let Some(found) = named.get_mut(&key) {
                        *found = Some(position);
                    }
                }
            }
            commits.advance().await?;
        }
        let parent = |input: usize, parent: Option<ParentEntry>| match parent {
            None => NONE,
            Some(ParentEntry::Here(position)) => {
                let position = self.base(input).commits.saturating_add(position);
                copies.get(&position).copied().unwrap_or(position)
            }
            Some(ParentEntry::Elsewhere(position)) => {
                let key = keys.get(self.base(input).parents.saturating_add(position) as usize);
                key.and_then(|key| elsewhere.get(key).copied()).unwrap_or(MISSING)
            }
        };
        let mut parents = Vec::with_capacity(self.no_commits().len());
        let mut graph = InOrder::open(&self.inputs, Section::Graph).await?;
        while let Some((input, entry)) = graph.first() {
            parents.push(GraphEntry::read(entry).parents.map(|named| parent(input, named)));
            graph.advance().await?;
        }
        Ok(Links { parents, copies, named })
    }

    /// Adds those of these snapshots or objects that are there to a set, and empties `keys`. Whether all are there.
    pub async fn find(
        &self,
        section: Section,
        keys: &mut HashSet<Key>,
        found: &mut FixedBitSet,
    ) -> Result<bool, StoreError> {
        let mut records = self.records(section).await?;
        while !keys.is_empty()
            && let Some((key, record)) = records.next().await?
        {
            if record.first().is_some() && keys.remove(&key) {
                found.insert(record.number);
            }
        }
        let are_all_there = keys.is_empty();
        keys.clear();
        Ok(are_all_there)
    }

    /// Where the snapshots of a set lie, in the order of the packs' bytes: those behind a place, [`AT_ONCE`] at most.
    pub async fn snapshot_places(
        &self,
        of: &FixedBitSet,
        behind: Option<RecordLocation>,
    ) -> Result<Vec<RecordLocation>, StoreError> {
        let mut nearest: BinaryHeap<RecordLocation> = BinaryHeap::new();
        let mut records = self.records(Section::Snapshots).await?;
        while let Some((_, record)) = records.next().await? {
            let place = record.first().filter(|_| of.contains(record.number));
            let Some(Held::Packed(place)) = place.map(|copy| copy.held) else { continue };
            if behind.is_none_or(|behind| place > behind) {
                nearest.push(place);
                if nearest.len() > AT_ONCE {
                    nearest.pop();
                }
            }
        }
        Ok(nearest.into_sorted_vec())
    }

    fn base(&self, input: usize) -> Base {
        self.bases.get(input).copied().unwrap_or_default()
    }

    fn place(input: usize, place: common::table::FrameSpan) -> RecordLocation {
        let common::table::FrameSpan { frame, start, length } = place;
        RecordLocation { table: u32::try_from(input).unwrap_or(u32::MAX), frame, start, length }
    }

    fn pack_of(&self, input: usize, place: common::table::FrameSpan) -> Result<u32, StoreError> {
        let frame = self.frames.get(input).and_then(|frames| frames.get(place.frame as usize));
        frame.map(|(_, pack)| *pack).ok_or_else(|| self.lost(input))
    }

    fn lost(&self, input: usize) -> StoreError {
        const REASON: &str = "a record of it lies in no frame";
        let input = self.inputs.get(input);
        input.map_or_else(|| StoreError::Damaged(REASON.to_owned()), |input| input.table.malformed(REASON))
    }

    fn copy(&self, input: usize, entry: &RecordEntry) -> Result<RecordCopy, StoreError> {
        let is_reached = entry.is_reached;
        Ok(match entry.location {
            Location::Packed(place) => RecordCopy {
                pack: Some(self.pack_of(input, place)?),
                is_reached,
                held: Held::Packed(Self::place(input, place)),
                length: place.length.into(),
            },
            Location::Large(position) => {
                let large = self.large.get(input).and_then(|large| large.get(position as usize));
                let (object, pack) = large.copied().ok_or_else(|| self.lost(input))?;
                RecordCopy { pack: Some(pack), is_reached, held: Held::Large(object), length: object.size }
            }
            Location::Elsewhere => {
                let pack = self.own.get(input).copied().flatten();
                RecordCopy { pack, is_reached, held: Held::Noted, length: 0 }
            }
        })
    }
}

/// Goes through the commits of all packs: table after table, and in a pack parents first.
pub struct Commits<'t> {
    survey: &'t Survey<'t>,
    entries: InOrder<'t>,
    position: u32,
}

impl Commits<'_> {
    /// The next one.
    pub async fn next(&mut self) -> Result<Option<CommitCopy>, StoreError> {
        let Some((input, entry)) = self.entries.first() else { return Ok(None) };
        let entry = GraphEntry::read(entry);
        let copy = CommitCopy {
            position: self.position,
            pack: self.survey.pack_of(input, entry.place)?,
            place: Survey::place(input, entry.place),
            snapshot: entry.snapshot,
            key: entry.key,
        };
        self.position = self.position.saturating_add(1);
        self.entries.advance().await?;
        Ok(Some(copy))
    }
}

/// Goes through the snapshots or the objects of all packs by their keys.
pub struct Records<'t> {
    survey: &'t Survey<'t>,
    entries: Sorted<'t>,
    next: usize,
    record: Record,
}

impl Records<'_> {
    /// The next one.
    pub async fn next(&mut self) -> Result<Option<(Key, &Record)>, StoreError> {
        let Some(key) = self.entries.key() else { return Ok(None) };
        self.record.number = self.next;
        self.next += 1;
        self.record.copies.clear();
        while self.entries.key() == Some(key)
            && let Some((input, entry)) = self.entries.first()
        {
            self.record.copies.push(self.survey.copy(input, &RecordEntry::read(entry))?);
            self.entries.advance().await?;
        }
        Ok(Some((key, &self.record)))
    }
}

impl Links {
    /// Where a commit is that was asked for.
    pub fn position(&self, id: &CommitId) -> Option<u32> {
        self.named.get(&Key::of(id.as_ref())).copied().flatten()
    }

    /// Where the copy of a commit is that counts.
    pub fn first(&self, position: u32) -> u32 {
        self.copies.get(&position).copied().unwrap_or(position)
    }

    /// The parents of the commit that is at a position, if all are there.
    pub fn parents(&self, position: u32) -> Option<impl Iterator<Item = u32> + use<>> {
        let parents = self.parents.get(position as usize).copied().unwrap_or([NONE; 2]);
        (!parents.contains(&MISSING)).then(|| parents.into_iter().filter(|parent| *parent != NONE))
    }

    /// Whether the parents of all commits are there.
    pub fn is_whole(&self) -> bool {
        !self.parents.iter().flatten().any(|parent| *parent == MISSING)
    }

    /// Adds the commits at these positions and all their ancestors to a set, as far as they are there. Whether all are.
    pub fn reach(&self, from: impl IntoIterator<Item = u32>, reached: &mut FixedBitSet) -> bool {
        let mut is_whole = true;
        let mut waiting = Vec::new();
        for start in from {
            if !reached.put(start as usize) {
                waiting.push(start);
            }
            while let Some(position) = waiting.pop() {
                let parents = self.parents.get(position as usize).copied().unwrap_or([NONE; 2]);
                for parent in parents.into_iter().filter(|parent| *parent != NONE) {
                    if parent == MISSING {
                        is_whole = false;
                    } else if !reached.put(parent as usize) {
                        waiting.push(parent);
                    }
                }
            }
        }
        is_whole
    }
}

#[cfg(test)]
mod tests;
