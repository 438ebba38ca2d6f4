//! Makes one table of many, entry by entry: nothing of them is in memory but some pages of each, and the keys of parents
//! that are in other tables.
//!
//! What comes out depends on the packs alone and on their order, not on the steps in which their tables were merged. So an
//! index is right if it is, byte for byte, what the tables of its packs give ([`super`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::cursor::{Cursor, TableFile};
use crate::pack::{PackId, PackSummary, TableExtent};
use crate::store::Error;
use crate::table::{
    self, Builder, CommitEntry, Encoded, FrameEntry, GraphEntry, Head, Key, Keys, LargeEntry, Location, PackEntry,
    ParentEntry, Place, RecordEntry, Section,
};

/// Bytes that go out together, at least.
const CHUNK_BYTES: usize = 256 << 10;
/// Entries of the graph, of the parents and of the frames that a table may have.
const MOST_ENTRIES: u64 = (1 << 31) - 1;

/// A table that is merged with others.
pub(super) struct Input<'s> {
    pub(super) table: TableFile<'s>,
    /// The pack that it is the table of; none for the table of an index.
    pub(super) pack: Option<(PackId, PackSummary)>,
}

/// What the numbers in a table are raised by, because other tables come first.
#[derive(Debug, Clone, Copy, Default)]
struct Base {
    commits: u32,
    frames: u32,
    parents: u32,
    large: u32,
}

impl Base {
    fn place(self, place: Place) -> Place {
        Place { frame: place.frame.saturating_add(self.frames), ..place }
    }
}

/// How many entries each section of the merged table has, in their order, and bytes it has as a whole.
pub(super) fn shape(inputs: &[Input<'_>]) -> Result<u64, Error> {
    let counts = Section::ALL.map(|section| match (section, section.filtered()) {
        (_, Some(keyed)) => table::Filter::bytes_for(count(inputs, keyed)),
        (Section::Packs, None) => inputs.iter().map(Input::packs).sum(),
        (section, None) => count(inputs, section),
    });
    let is_too_large = |section: &Section| count(inputs, *section) > MOST_ENTRIES;
    if [Section::Graph, Section::Parents, Section::Frames, Section::Large].iter().any(is_too_large) {
        return Err(Error::Damaged("a table of over two thousand million commits, or frames".to_owned()));
    }
    Ok(Head::table_length(&counts))
}

fn count(inputs: &[Input<'_>], section: Section) -> u64 {
    inputs.iter().map(|input| input.table.count(section)).sum()
}

impl Input<'_> {
    /// How many packs it is of.
    fn packs(&self) -> u64 {
        if self.pack.is_some() { 1 } else { self.table.count(Section::Packs) }
    }

    /// A pack by its name in this table.
    fn named(&self, pack: PackId) -> PackId {
        match self.pack {
            Some((own, _)) if pack.is_nil() => own,
            _ => pack,
        }
    }
}

/// Merges tables, in this order, and sends out the bytes of the one that they make. None when nobody takes them any more.
pub(super) async fn merge(inputs: &[Input<'_>], out: Sender<Bytes>) -> Result<Option<TableExtent>, Error> {
    let mut bases = Vec::with_capacity(inputs.len());
    let mut base = Base::default();
    for Input { table, .. } in inputs {
        bases.push(base);
        let raised = |base: u32, section| base.saturating_add(u32::try_from(table.count(section)).unwrap_or(u32::MAX));
        base = Base {
            commits: raised(base.commits, Section::Graph),
            frames: raised(base.frames, Section::Frames),
            parents: raised(base.parents, Section::Parents),
            large: raised(base.large, Section::Large),
        };
    }
    let base = |input: usize| bases.get(input).copied().unwrap_or_default();
    let keys = Keys {
        commits: count(inputs, Section::Commits),
        snapshots: count(inputs, Section::Snapshots),
        objects: count(inputs, Section::Objects),
    };
    let mut builder = Builder::new(keys);

    // The keys of parents that are in other tables, in their order; and where they turn out to be.
    let mut parents: Vec<Key> = Vec::new();
    for input in inputs {
        let mut entries = input.table.section(Section::Parents).await?;
        while let Some(entry) = entries.entry() {
            parents.extend(entry.first_chunk().map(|key| Key::from(*key)));
            entries.advance().await?;
        }
    }
    let mut found: HashMap<Key, Option<u32>> = parents.iter().map(|key| (*key, None)).collect();
    // The positions of commits that an earlier pack has too, and theirs there.
    let mut first: HashMap<u32, u32> = HashMap::new();
    let mut latest: Option<(Key, u32)> = None;
    let mut commits = Sorted::open(inputs, Section::Commits).await?;
    while let Some((input, entry)) = commits.first() {
        let CommitEntry { key, position } = CommitEntry::read(entry);
        let position = position.saturating_add(base(input).commits);
        match latest {
            Some((before, canonical)) if before == key => drop(first.insert(position, canonical)),
            _ => {
                latest = Some((key, position));
                if let Some(found) = found.get_mut(&key) {
                    *found = Some(position);
                }
            }
        }
        builder.add(Section::Commits, |out| CommitEntry { key, position }.write(out));
        if is_gone(&out, &mut builder).await {
            return Ok(None);
        }
        commits.advance(input).await?;
    }
    let canonical = |position: u32| first.get(&position).copied().unwrap_or(position);
    let parent = |input: usize, parent: ParentEntry| match parent {
        ParentEntry::Here(position) => ParentEntry::Here(canonical(position.saturating_add(base(input).commits))),
        ParentEntry::Elsewhere(position) => {
            let position = position.saturating_add(base(input).parents);
            let key = parents.get(position as usize);
            let found = key.and_then(|key| found.get(key).copied().flatten());
            found.map_or(ParentEntry::Elsewhere(position), ParentEntry::Here)
        }
    };
    for (number, input) in inputs.iter().enumerate() {
        let mut entries = input.table.section(Section::Graph).await?;
        while let Some(entry) = entries.entry() {
            let entry = GraphEntry::read(entry);
            let entry = GraphEntry {
                parents: entry.parents.map(|named| named.map(|named| parent(number, named))),
                snapshot_place: entry.snapshot_place.map(|place| base(number).place(place)),
                place: base(number).place(entry.place),
                ..entry
            };
            builder.add(Section::Graph, |out| entry.write(out));
            if is_gone(&out, &mut builder).await {
                return Ok(None);
            }
            entries.advance().await?;
        }
    }
    drop((first, found));
    for section in [Section::Snapshots, Section::Objects] {
        let mut records = Sorted::open(inputs, section).await?;
        while let Some((input, entry)) = records.first() {
            let entry = RecordEntry::read(entry);
            let location = match entry.location {
                Location::Packed(place) => Location::Packed(base(input).place(place)),
                Location::Large(position) => Location::Large(position.saturating_add(base(input).large)),
                Location::Elsewhere => Location::Elsewhere,
            };
            builder.add(section, |out| RecordEntry { location, ..entry }.write(out));
            if is_gone(&out, &mut builder).await {
                return Ok(None);
            }
            records.advance(input).await?;
        }
    }
    for input in inputs {
        let mut entries = input.table.section(Section::Frames).await?;
        while let Some(entry) = entries.entry() {
            let entry = FrameEntry::read(entry).ok_or_else(|| input.table.malformed("an unknown kind of frame"))?;
            let entry = FrameEntry { pack: input.named(entry.pack), ..entry };
            builder.add(Section::Frames, |out| entry.write(out));
            if is_gone(&out, &mut builder).await {
                return Ok(None);
            }
            entries.advance().await?;
        }
    }
    for key in &parents {
        builder.add(Section::Parents, |out| out.extend_from_slice(key.as_bytes()));
        if is_gone(&out, &mut builder).await {
            return Ok(None);
        }
    }
    for input in inputs {
        let mut entries = input.table.section(Section::Large).await?;
        while let Some(entry) = entries.entry() {
            let LargeEntry { owner, size, listed_by } = LargeEntry::read(entry);
            let entry = LargeEntry { owner: input.named(owner), size, listed_by: input.named(listed_by) };
            builder.add(Section::Large, |out| entry.write(out));
            if is_gone(&out, &mut builder).await {
                return Ok(None);
            }
            entries.advance().await?;
        }
    }
    let mut names = Sorted::open(inputs, Section::Names).await?;
    while let Some((input, entry)) = names.first() {
        builder.add(Section::Names, |out| out.extend_from_slice(entry));
        if is_gone(&out, &mut builder).await {
            return Ok(None);
        }
        names.advance(input).await?;
    }
    for input in inputs {
        if let Some((pack, summary)) = &input.pack {
            builder.add(Section::Packs, |out| PackEntry::of(*pack, summary).write(out));
        }
        let mut entries = input.table.section(Section::Packs).await?;
        while let Some(entry) = entries.entry() {
            builder.add(Section::Packs, |out| out.extend_from_slice(entry));
            entries.advance().await?;
        }
    }
    let Encoded { bytes, length, head_length, head_checksum } = builder.finish();
    let sent = out.send(bytes.into()).await;
    Ok(sent.is_ok().then_some(TableExtent { offset: 0, length, head_length, head_checksum }))
}

/// Sends out what is ready, if it is enough. Whether nobody takes it.
async fn is_gone(out: &Sender<Bytes>, builder: &mut Builder) -> bool {
    builder.ready() >= CHUNK_BYTES && out.send(builder.take().into()).await.is_err()
}

/// The entries of a section of many tables, by their keys; of the same key, in the order of the tables.
struct Sorted<'t> {
    cursors: Vec<Cursor<'t>>,
    waiting: BinaryHeap<Reverse<(Key, usize)>>,
}

impl<'t> Sorted<'t> {
    async fn open(inputs: &'t [Input<'t>], section: Section) -> Result<Self, Error> {
        let mut sorted = Self { cursors: Vec::with_capacity(inputs.len()), waiting: BinaryHeap::new() };
        for (number, input) in inputs.iter().enumerate() {
            sorted.cursors.push(input.table.section(section).await?);
            sorted.wait(number);
        }
        Ok(sorted)
    }

    fn wait(&mut self, input: usize) {
        let entry = self.cursors.get(input).and_then(|cursor| cursor.entry()?.first_chunk());
        self.waiting.extend(entry.map(|key| Reverse((Key::from(*key), input))));
    }

    /// The input that has the next entry, and the entry.
    fn first(&self) -> Option<(usize, &[u8])> {
        let Reverse((_, input)) = self.waiting.peek()?;
        Some((*input, self.cursors.get(*input)?.entry()?))
    }

    /// Goes on in the input that has the next entry.
    async fn advance(&mut self, input: usize) -> Result<(), Error> {
        self.waiting.pop();
        if let Some(cursor) = self.cursors.get_mut(input) {
            cursor.advance().await?;
        }
        self.wait(input);
        Ok(())
    }
}
