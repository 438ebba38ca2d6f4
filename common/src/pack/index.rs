//! The table of a pack, written from what the pack holds and read back whole, and the pack's footer. The layout is at the
//! head of the parent module and of [`crate::table`].

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::PackError;
use super::frame::{Frame, Kind, checksum};
use super::summary::{PackId, RawBytes, TableExtent};
use crate::id::{CommitId, Id, ObjectKey, SnapshotId};
use crate::table::{
    self, Builder, CommitEntry, Encoded, FrameEntry, FrameSpan, GraphEntry, Head, Key, Keys, LargeEntry, Location,
    ParentEntry, RecordEntry, Section, entries, read_name,
};

const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
/// Bytes in front of what is in a skippable frame.
pub const SKIPPABLE_HEADER: usize = 8;
const FOOTER_MAGIC: &[u8; 8] = b"MUSEPACK";
const VERSION: u32 = 2;
/// Bytes of the footer.
pub const FOOTER_LENGTH: usize = 64;
/// The footer of version 1 was longer; its magic number lay here, in bytes from its end.
const OLD_MAGIC_FROM_END: usize = 72;

/// A commit as the graph needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedCommit {
    /// The commit.
    pub id: CommitId,
    /// The parents that it names, in this pack or not.
    pub parents: Vec<CommitId>,
    /// The snapshot that it names.
    pub snapshot: Option<SnapshotId>,
    /// 1 + the greatest of its parents', or [`UNKNOWN_GENERATION`](table::UNKNOWN_GENERATION).
    pub generation: u32,
    /// Whether the branch that it was pushed to reached it then.
    pub is_reached: bool,
}

/// The commits of a pack, parents first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphSection(pub Vec<PackedCommit>);

/// What a pack holds and where: its frames, and the records of each in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The data frames from the beginning of the pack.
    pub frames: Vec<Frame>,
    /// For each frame, the raw length of each record.
    pub records: Vec<FrameRecords>,
    /// Objects that are S3 objects of their own and belong to this pack, with their sizes. They were staged.
    pub large: Vec<(ObjectKey, u64)>,
    /// The same of packs that were merged into this one: their S3 keys have the names of those.
    pub inherited: Vec<(PackId, ObjectKey, u64)>,
    /// Objects staged in other packs that a branch reaches with this one.
    pub reached: Vec<ObjectKey>,
}

impl Contents {
    /// The objects that the pack has in frames or lists as large ones.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectKey> {
        let in_frames = self.records.iter().flat_map(|records| match records {
            FrameRecords::Objects(list) => list.as_slice(),
            FrameRecords::Commits(_) | FrameRecords::Snapshots(_) => &[],
        });
        let large = self.large.iter().map(|(key, _)| key);
        in_frames.map(|(key, _)| key).chain(large).chain(self.inherited.iter().map(|(_, key, _)| key))
    }

    /// Bytes of the large objects that the pack lists.
    pub fn large_bytes(&self) -> u64 {
        let large = self.large.iter().map(|(_, size)| *size);
        large.chain(self.inherited.iter().map(|(_, _, size)| *size)).fold(0, u64::saturating_add)
    }

    /// What the records have as they are sent.
    pub fn raw(&self) -> RawBytes {
        let mut raw = RawBytes { records: 0, content: self.large_bytes() };
        for frame in &self.frames {
            let sum = match frame.kind {
                Kind::Objects | Kind::StagedObjects => &mut raw.content,
                Kind::Commits | Kind::Snapshots | Kind::StagedSnapshots => &mut raw.records,
            };
            *sum = sum.saturating_add(frame.raw_length.into());
        }
        raw
    }
}

/// The records of one frame: what each is, and its raw length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameRecords {
    /// Of a frame of commits.
    Commits(Vec<(CommitId, u32)>),
    /// Of a frame of snapshots, staged or not.
    Snapshots(Vec<(SnapshotId, u32)>),
    /// Of a frame of objects, staged or not.
    Objects(Vec<(ObjectKey, u32)>),
}

/// The table of a pack that holds this, and what [`super::PackWriter`] puts in front of it.
pub(super) fn encode_table(graph: &GraphSection, contents: &Contents) -> Encoded {
    let mut rows = Rows::default();
    for (number, (frame, records)) in (0_u32..).zip(contents.frames.iter().zip(&contents.records)) {
        let mut start = 0_u32;
        let mut place = |length: u32| {
            let place = FrameSpan { frame: number, start, length };
            start = start.saturating_add(length);
            place
        };
        match records {
            FrameRecords::Commits(records) => {
                rows.commits.extend(records.iter().map(|(id, length)| (rows.names.key(id.as_ref()), place(*length))));
            }
            FrameRecords::Snapshots(records) => {
                let is_reached = frame.kind == Kind::Snapshots;
                rows.snapshots.extend(records.iter().map(|(id, length)| {
                    let key = rows.names.key(id.as_ref());
                    RecordEntry { key, is_reached, location: Location::Packed(place(*length)) }
                }));
            }
            FrameRecords::Objects(records) => {
                let is_reached = frame.kind == Kind::Objects;
                rows.objects.extend(records.iter().map(|(id, length)| {
                    let key = rows.names.key(id.as_ref());
                    RecordEntry { key, is_reached, location: Location::Packed(place(*length)) }
                }));
            }
        }
    }
    let own = contents.large.iter().map(|(key, size)| (PackId::nil(), key, *size));
    let inherited = contents.inherited.iter().map(|(pack, key, size)| (*pack, key, *size));
    for (owner, id, size) in own.chain(inherited) {
        let location = Location::Large(u32::try_from(rows.large.len()).unwrap_or(u32::MAX));
        rows.objects.push(RecordEntry { key: rows.names.key(id.as_ref()), is_reached: false, location });
        rows.large.push(LargeEntry { owner, size, listed_by: PackId::nil() });
    }
    for id in &contents.reached {
        let key = rows.names.key(id.as_ref());
        rows.objects.push(RecordEntry { key, is_reached: true, location: Location::Elsewhere });
    }
    rows.write(graph, contents)
}

/// The texts of ids that are not hashes, gathered while keys are made.
#[derive(Default)]
struct Names(BTreeMap<Key, String>);

impl Names {
    fn key(&mut self, id: &Id) -> Key {
        let key = Key::of(id);
        if key.is_opaque() {
            self.0.entry(key).or_insert_with(|| id.to_string());
        }
        key
    }
}

/// The entries of a table before they are sorted.
#[derive(Default)]
struct Rows {
    /// In the order of the graph.
    commits: Vec<(Key, FrameSpan)>,
    snapshots: Vec<RecordEntry>,
    objects: Vec<RecordEntry>,
    large: Vec<LargeEntry>,
    names: Names,
}

impl Rows {
    fn write(mut self, graph: &GraphSection, contents: &Contents) -> Encoded {
        let keys = Keys {
            commits: self.commits.len() as u64,
            snapshots: self.snapshots.len() as u64,
            objects: self.objects.len() as u64,
        };
        self.snapshots.sort_by_key(|entry| entry.key);
        self.objects.sort_by_key(|entry| entry.key);
        let places: HashMap<Key, FrameSpan> = self
            .snapshots
            .iter()
            .filter_map(|entry| match entry.location {
                Location::Packed(place) => Some((entry.key, place)),
                _ => None,
            })
            .collect();
        let numbered = (0_u32..).zip(&self.commits).map(|(position, (key, _))| CommitEntry { key: *key, position });
        let mut by_key: Vec<CommitEntry> = numbered.collect();
        by_key.sort_by_key(|entry| entry.key);
        let positions: HashMap<Key, u32> = by_key.iter().map(|entry| (entry.key, entry.position)).collect();

        let mut builder = Builder::new(keys);
        for entry in &by_key {
            builder.add(Section::Commits, |out| entry.write(out));
        }
        let mut elsewhere: Vec<Key> = Vec::new();
        for ((key, place), node) in self.commits.iter().zip(&graph.0) {
            let mut parents = node.parents.iter().map(|parent| {
                let parent = self.names.key(parent.as_ref());
                positions.get(&parent).map_or_else(
                    || {
                        elsewhere.push(parent);
                        ParentEntry::Elsewhere(u32::try_from(elsewhere.len() - 1).unwrap_or(u32::MAX))
                    },
                    |position| ParentEntry::Here(*position),
                )
            });
            let parents = [parents.next(), parents.next()];
            let snapshot = node.snapshot.as_ref().map(|id| self.names.key(id.as_ref()));
            let entry = GraphEntry {
                key: *key,
                is_reached: node.is_reached,
                generation: node.generation,
                parents,
                snapshot,
                snapshot_place: snapshot.and_then(|key| places.get(&key).copied()),
                place: *place,
            };
            builder.add(Section::Graph, |out| entry.write(out));
        }
        for entry in &self.snapshots {
            builder.add(Section::Snapshots, |out| entry.write(out));
        }
        for entry in &self.objects {
            builder.add(Section::Objects, |out| entry.write(out));
        }
        for (number, frame) in (0_u32..).zip(&contents.frames) {
            let entry = FrameEntry { pack: PackId::nil(), number, frame: *frame };
            builder.add(Section::Frames, |out| entry.write(out));
        }
        for key in &elsewhere {
            builder.add(Section::Parents, |out| out.extend_from_slice(key.as_bytes()));
        }
        for entry in &self.large {
            builder.add(Section::Large, |out| entry.write(out));
        }
        for (key, text) in &self.names.0 {
            builder.add_name(key, text);
        }
        builder.finish()
    }
}

/// Reads the whole table of a pack: its commits, and what it holds and where.
///
/// # Errors
/// When its bytes are not what was written.
pub fn decode_table(pack: PackId, extent: &TableExtent, stored: Bytes) -> Result<(GraphSection, Contents), PackError> {
    let table = WholeTable::open(pack, extent, stored)?;
    let names = table.names();
    let id = |key: Key| {
        let id = key.id().or_else(|| names.get(&key).and_then(|text| text.parse().ok()));
        id.ok_or_else(|| table.malformed("an id without a text"))
    };
    let mut contents = Contents::default();
    let mut graph = GraphSection::default();
    for entry in table.entries(Section::Frames) {
        let frame = FrameEntry::read(entry).ok_or_else(|| table.malformed("an unknown kind of frame"))?;
        contents.frames.push(frame.frame);
    }
    let elsewhere: Vec<Key> =
        table.entries(Section::Parents).filter_map(|entry| entry.first_chunk().map(|key| Key::from(*key))).collect();
    let nodes: Vec<GraphEntry> = table.entries(Section::Graph).map(GraphEntry::read).collect();
    let mut records: Vec<(FrameSpan, Key, Section)> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let parents = node.parents.iter().flatten().map(|parent| {
            let key = match parent {
                ParentEntry::Here(position) => nodes.get(*position as usize).map(|node| node.key),
                ParentEntry::Elsewhere(position) => elsewhere.get(*position as usize).copied(),
            };
            Ok(id(key.ok_or_else(|| table.malformed("a parent that is nowhere"))?)?.into())
        });
        graph.0.push(PackedCommit {
            id: id(node.key)?.into(),
            parents: parents.collect::<Result<_, PackError>>()?,
            snapshot: node.snapshot.map(id).transpose()?.map(SnapshotId::from),
            generation: node.generation,
            is_reached: node.is_reached,
        });
        records.push((node.place, node.key, Section::Graph));
    }
    let large: Vec<LargeEntry> = table.entries(Section::Large).map(LargeEntry::read).collect();
    for section in [Section::Snapshots, Section::Objects] {
        for entry in table.entries(section).map(RecordEntry::read) {
            match entry.location {
                Location::Packed(place) => records.push((place, entry.key, section)),
                Location::Elsewhere => contents.reached.push(id(entry.key)?.into()),
                Location::Large(position) => {
                    let of = large.get(position as usize);
                    let LargeEntry { owner, size, .. } =
                        *of.ok_or_else(|| table.malformed("a large object that is nowhere"))?;
                    let key: ObjectKey = id(entry.key)?.into();
                    if owner.is_nil() {
                        contents.large.push((key, size));
                    } else {
                        contents.inherited.push((owner, key, size));
                    }
                }
            }
        }
    }
    records.sort_unstable();
    let mut rest = records.as_slice();
    for (number, frame) in (0_u32..).zip(&contents.frames) {
        let here = rest.partition_point(|(place, ..)| place.frame <= number);
        let (of_frame, others) = rest.split_at(here);
        rest = others;
        let listed_in = match frame.kind {
            Kind::Commits => Section::Graph,
            Kind::Snapshots | Kind::StagedSnapshots => Section::Snapshots,
            Kind::Objects | Kind::StagedObjects => Section::Objects,
        };
        let mut end = 0_u32;
        for (place, _, section) in of_frame {
            if *section != listed_in {
                return Err(table.malformed("a record in a frame of another kind"));
            }
            if place.frame != number || place.start != end {
                return Err(table.malformed("the records of a frame do not follow each other"));
            }
            end = end.saturating_add(place.length);
        }
        if end != frame.raw_length {
            return Err(table.malformed("the records of a frame do not fill it"));
        }
        contents.records.push(match frame.kind {
            Kind::Commits => FrameRecords::Commits(typed(of_frame, id)?),
            Kind::Snapshots | Kind::StagedSnapshots => FrameRecords::Snapshots(typed(of_frame, id)?),
            Kind::Objects | Kind::StagedObjects => FrameRecords::Objects(typed(of_frame, id)?),
        });
    }
    if !rest.is_empty() {
        return Err(table.malformed("a record in a frame that is not there"));
    }
    Ok((graph, contents))
}

fn typed<I: From<Id>>(
    records: &[(FrameSpan, Key, Section)],
    id: impl Fn(Key) -> Result<Id, PackError>,
) -> Result<Vec<(I, u32)>, PackError> {
    records.iter().map(|(place, key, _)| Ok((id(*key)?.into(), place.length))).collect()
}

/// A table that is in memory as a whole.
struct WholeTable {
    pack: PackId,
    head: Head,
    stored: Bytes,
}

impl WholeTable {
    fn open(pack: PackId, extent: &TableExtent, stored: Bytes) -> Result<Self, PackError> {
        let of_pack = |error| of_pack(pack, error);
        let short = || of_pack(table::TableError::Malformed("its table is not all there".to_owned()));
        let head_start = usize::try_from(extent.length.saturating_sub(extent.head_length)).map_err(|_| short())?;
        if stored.len() as u64 != extent.length || head_start > stored.len() {
            return Err(short());
        }
        let head = Head::read(stored.slice(head_start..), extent.head_checksum).map_err(of_pack)?;
        if head.sections_length() != head_start as u64 {
            return Err(short());
        }
        head.check_pages(&stored).map_err(of_pack)?;
        Ok(Self { pack, head, stored })
    }

    fn page(&self, section: Section, number: u64) -> &[u8] {
        let range = self.head.page_range(section, number);
        self.stored.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    fn malformed(&self, reason: &str) -> PackError {
        of_pack(self.pack, table::TableError::Malformed(reason.to_owned()))
    }

    fn entries(&self, section: Section) -> impl Iterator<Item = &[u8]> {
        (0..self.head.pages(section)).flat_map(move |number| entries(section, self.page(section, number)))
    }

    fn names(&self) -> HashMap<Key, &str> {
        let names = self.entries(Section::Names).map(read_name);
        names.filter_map(|(key, text)| Some((key, text?))).collect()
    }
}

/// What is wrong with the table of a pack.
pub fn of_pack(pack: PackId, error: table::TableError) -> PackError {
    match error {
        table::TableError::Checksum(part) => PackError::Checksum { pack, part },
        table::TableError::Malformed(reason) => PackError::Malformed { pack, part: "table".to_owned(), reason },
    }
}

/// What goes in front of a table to make a skippable frame of it. It follows from the table's length, and has no checksum of
/// its own.
///
/// # Errors
/// [`PackError::Write`] for a table of 4 GiB.
pub fn skippable_header(length: u64) -> Result<[u8; SKIPPABLE_HEADER], PackError> {
    let too_large = |_| PackError::Write(std::io::Error::other("a table of 4 GiB"));
    let length = u32::try_from(length).map_err(too_large)?;
    let mut header = [0; SKIPPABLE_HEADER];
    let (magic, rest) = header.split_at_mut(4);
    magic.copy_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    rest.copy_from_slice(&length.to_le_bytes());
    Ok(header)
}

/// The footer of a pack whose table lies as said.
pub(super) fn encode_footer(table: &TableExtent) -> Vec<u8> {
    let mut out = Vec::with_capacity(FOOTER_LENGTH);
    out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    out.extend_from_slice(&((FOOTER_LENGTH - SKIPPABLE_HEADER) as u32).to_le_bytes());
    out.extend_from_slice(FOOTER_MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for number in [table.offset, table.length, table.head_length, table.head_checksum] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    out
}

/// Reads where the table of a pack is from the last bytes of the pack: [`FOOTER_LENGTH`], or more of them.
///
/// # Errors
/// When they are not the footer that was written.
pub fn decode_footer(pack: PackId, stored: &[u8]) -> Result<TableExtent, PackError> {
    let part = || "footer".to_owned();
    let malformed = |reason: String| PackError::Malformed { pack, part: part(), reason };
    let footer = stored.len().checked_sub(FOOTER_LENGTH).and_then(|start| stored.get(start..));
    let footer = footer.ok_or_else(|| malformed(format!("{} bytes", stored.len())))?;
    let old_magic = stored.len().checked_sub(OLD_MAGIC_FROM_END).and_then(|start| stored.get(start..));
    if old_magic.is_some_and(|old| old.starts_with(FOOTER_MAGIC)) {
        return Err(malformed(OLD_VERSION.to_owned()));
    }
    let (covered, check) = footer.split_last_chunk::<8>().unwrap_or((footer, &[0; 8]));
    if checksum(covered) != u64::from_le_bytes(*check) {
        return Err(PackError::Checksum { pack, part: part() });
    }
    let (words, _) = covered.as_chunks::<8>();
    let [_, magic, version, offset, length, head_length, head_checksum] = words else {
        return Err(malformed(format!("{} bytes", stored.len())));
    };
    let version = u64::from_le_bytes(*version);
    if magic != FOOTER_MAGIC || version != u64::from(VERSION) {
        return Err(malformed(format!("version {version} of the format is not known")));
    }
    let [offset, length, head_length, head_checksum] =
        [offset, length, head_length, head_checksum].map(|word| u64::from_le_bytes(*word));
    Ok(TableExtent { offset, length, head_length, head_checksum })
}

/// What is said of a pack that an older hub wrote.
pub const OLD_VERSION: &str = "it is of version 1 of the format: carry the repository over with `musehub export` of the \
    build that wrote it and `musehub import` of this one";
