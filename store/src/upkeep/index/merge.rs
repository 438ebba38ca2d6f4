//! Makes one table of many, entry by entry. Only some pages of each are in memory, and the keys of parents that are in
//! other tables.
//!
//! The result depends on the packs and their order alone, and not on the steps in which their tables were merged. So an
//! index is right if it is, byte for byte, what the tables of its packs give ([`super`]).

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::cursor::{InOrder, Input, Sorted};
use crate::StoreError;
use common::pack::TableExtent;
use common::table::{
    self, Builder, CommitEntry, Encoded, FrameEntry, FrameSpan, GraphEntry, Head, Key, Keys, LargeEntry, Location,
    PackEntry, ParentEntry, RecordEntry, Section,
};

/// The fewest bytes that go out together.
const CHUNK_BYTES: usize = 256 << 10;
/// The most entries of the graph, of the parents and of the frames that a table may have.
const MOST_ENTRIES: u64 = (1 << 31) - 1;

/// What is added to the numbers in a table, because other tables come before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Base {
    pub(crate) commits: u32,
    frames: u32,
    pub(crate) parents: u32,
    large: u32,
}

impl Base {
    fn place(self, place: FrameSpan) -> FrameSpan {
        FrameSpan { frame: place.frame.saturating_add(self.frames), ..place }
    }
}

/// The base of each table.
pub(crate) fn bases(inputs: &[Input<'_>]) -> Vec<Base> {
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
    bases
}

/// The length in bytes of the merged table. It follows from how many entries each section has.
pub(super) fn shape(inputs: &[Input<'_>]) -> Result<u64, StoreError> {
    let counts = Section::ALL.map(|section| match (section, section.filtered()) {
        (_, Some(keyed)) => table::Filter::bytes_for(count(inputs, keyed)),
        (Section::Packs, None) => inputs.iter().map(Input::packs).sum(),
        (section, None) => count(inputs, section),
    });
    let is_too_large = |section: &Section| count(inputs, *section) > MOST_ENTRIES;
    if [Section::Graph, Section::Parents, Section::Frames, Section::Large].iter().any(is_too_large) {
        return Err(StoreError::Damaged("a table of over two thousand million commits, or frames".to_owned()));
    }
    Ok(Head::table_length(&counts))
}

fn count(inputs: &[Input<'_>], section: Section) -> u64 {
    inputs.iter().map(|input| input.table.count(section)).sum()
}

/// Where the bytes of a table go as they become ready.
struct Sink {
    builder: Builder,
    out: Sender<Bytes>,
}

/// Why a merge ends early.
enum Stop {
    /// The receiver has gone.
    Unwanted,
    /// A table cannot be read.
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Sink {
    /// Adds an entry. Sends out the ready bytes if they are enough.
    async fn add(&mut self, section: Section, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Stop> {
        self.builder.add(section, write);
        if self.builder.ready() >= CHUNK_BYTES {
            self.out.send(self.builder.take().into()).await.map_err(|_| Stop::Unwanted)?;
        }
        Ok(())
    }
}

/// Merges tables, in this order, and sends out the bytes of the result. None if the receiver has gone.
pub(super) async fn merge(inputs: &[Input<'_>], out: Sender<Bytes>) -> Result<Option<TableExtent>, StoreError> {
    match merge_into(inputs, out).await {
        Ok(table) => Ok(Some(table)),
        Err(Stop::Unwanted) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

async fn merge_into(inputs: &[Input<'_>], out: Sender<Bytes>) -> Result<TableExtent, Stop> {
    let bases = bases(inputs);
    let base = |input: usize| bases.get(input).copied().unwrap_or_default();
    let keys = Keys {
        commits: count(inputs, Section::Commits),
        snapshots: count(inputs, Section::Snapshots),
        objects: count(inputs, Section::Objects),
    };
    let mut sink = Sink { builder: Builder::new(keys), out };

    // The keys of parents that are in other tables, in their order, and where those parents are found.
    let parents = parent_keys(inputs).await?;
    let mut found: HashMap<Key, Option<u32>> = parents.iter().map(|key| (*key, None)).collect();
    // The positions of commits that an earlier pack has too, and their positions in that pack.
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
        sink.add(Section::Commits, |out| CommitEntry { key, position }.write(out)).await?;
        commits.advance().await?;
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
    let mut graph = InOrder::open(inputs, Section::Graph).await?;
    while let Some((input, entry)) = graph.first() {
        let entry = GraphEntry::read(entry);
        let entry = GraphEntry {
            parents: entry.parents.map(|named| named.map(|named| parent(input, named))),
            snapshot_place: entry.snapshot_place.map(|place| base(input).place(place)),
            place: base(input).place(entry.place),
            ..entry
        };
        sink.add(Section::Graph, |out| entry.write(out)).await?;
        graph.advance().await?;
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
            sink.add(section, |out| RecordEntry { location, ..entry }.write(out)).await?;
            records.advance().await?;
        }
    }
    let mut frames = InOrder::open(inputs, Section::Frames).await?;
    while let Some((input, entry)) = frames.first() {
        let input = inputs.get(input).ok_or_else(table_is_gone)?;
        let entry = FrameEntry::read(entry).ok_or_else(|| input.table.malformed("an unknown kind of frame"))?;
        let entry = FrameEntry { pack: input.named(entry.pack), ..entry };
        sink.add(Section::Frames, |out| entry.write(out)).await?;
        frames.advance().await?;
    }
    for key in &parents {
        sink.add(Section::Parents, |out| out.extend_from_slice(key.as_bytes())).await?;
    }
    let mut large = InOrder::open(inputs, Section::Large).await?;
    while let Some((input, entry)) = large.first() {
        let input = inputs.get(input).ok_or_else(table_is_gone)?;
        let LargeEntry { owner, size, listed_by } = LargeEntry::read(entry);
        let entry = LargeEntry { owner: input.named(owner), size, listed_by: input.named(listed_by) };
        sink.add(Section::Large, |out| entry.write(out)).await?;
        large.advance().await?;
    }
    let mut names = Sorted::open(inputs, Section::Names).await?;
    while let Some((_, entry)) = names.first() {
        sink.add(Section::Names, |out| out.extend_from_slice(entry)).await?;
        names.advance().await?;
    }
    for input in inputs {
        if let Some((pack, summary)) = &input.pack {
            sink.add(Section::Packs, |out| PackEntry::of(*pack, summary).write(out)).await?;
        }
        let mut entries = input.table.section(Section::Packs).await?;
        while let Some(entry) = entries.entry() {
            sink.add(Section::Packs, |out| out.extend_from_slice(entry)).await?;
            entries.advance().await?;
        }
    }
    let Encoded { bytes, length, head_length, head_checksum } = sink.builder.finish();
    sink.out.send(bytes.into()).await.map_err(|_| Stop::Unwanted)?;
    Ok(TableExtent { offset: 0, length, head_length, head_checksum })
}

/// The keys of parents that are in other tables, in their order.
pub(crate) async fn parent_keys(inputs: &[Input<'_>]) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::new();
    let mut entries = InOrder::open(inputs, Section::Parents).await?;
    while let Some((_, entry)) = entries.first() {
        keys.extend(entry.first_chunk().map(|key| Key::from(*key)));
        entries.advance().await?;
    }
    Ok(keys)
}

fn table_is_gone() -> StoreError {
    StoreError::Damaged("an entry of a table that is not read".to_owned())
}
