//! The entries of a table's sections, as they are read and as they are stored.

use super::{KEY, Key, PLACE, Section};
use crate::pack::frame::{Frame, Kind};
use crate::pack::summary::{PackId, PackSummary, TableExtent};

/// A parent that a commit does not have.
const NONE: u32 = u32::MAX;
/// What is added to the position of a parent that is not in the table.
const ELSEWHERE: u32 = 1 << 31;
const REACHED: u8 = 1;
const LARGE: u8 = 2;
const NOTE: u8 = 4;
const NOWHERE: [u8; PLACE] = [0xFF; PLACE];
const NO_KEY: [u8; KEY] = [0xFF; KEY];

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameSpan {
    /// The frame, by its number in the table.
    pub frame: u32,
    /// Where it begins in the raw bytes of the frame.
    pub start: u32,
    /// How many bytes it has there.
    pub length: u32,
}

/// Where a parent of a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentEntry {
    /// In the same table, at this position of the graph.
    Here(u32),
    /// Not in the same table: its key is at this position of the parents.
    Elsewhere(u32),
}

/// An entry of the commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitEntry {
    /// The commit.
    pub key: Key,
    /// Its position in the graph.
    pub position: u32,
}

/// An entry of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphEntry {
    /// The commit.
    pub key: Key,
    /// Whether the branch that it was pushed to reached it then.
    pub is_reached: bool,
    /// 1 + the greatest of the parents', or [`UNKNOWN_GENERATION`](super::UNKNOWN_GENERATION).
    pub generation: u32,
    /// Its parents, in its order.
    pub parents: [Option<ParentEntry>; 2],
    /// The snapshot that it names.
    pub snapshot: Option<Key>,
    /// Where that lies, if it is in the same pack.
    pub snapshot_place: Option<FrameSpan>,
    /// Where the commit's record lies.
    pub place: FrameSpan,
}

/// An entry of the snapshots or of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordEntry {
    /// The snapshot or object.
    pub key: Key,
    /// Whether a branch has reached it, as far as its pack knows.
    pub is_reached: bool,
    /// What it is.
    pub location: Location,
}

/// Where a snapshot or an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In a frame.
    Packed(FrameSpan),
    /// By itself: a position among the large objects.
    Large(u32),
    /// In another pack: this entry only says that a branch has reached it.
    Elsewhere,
}

/// An entry of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry {
    /// The pack; nil for the one that the table is in.
    pub pack: PackId,
    /// The number of the frame in the pack.
    pub number: u32,
    /// Where it lies.
    pub frame: Frame,
}

/// An entry of the large objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeEntry {
    /// The pack whose name its S3 key has; nil for the one that the table is in.
    pub owner: PackId,
    /// Its bytes.
    pub size: u64,
    /// The pack that lists it; nil for the one that the table is in.
    pub listed_by: PackId,
}

/// An entry of the packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEntry {
    /// Its name.
    pub pack: PackId,
    /// Its bytes, its commits, its snapshots, its objects, and its table: offset, length, length of its head, checksum of
    /// its head.
    pub numbers: [u64; 8],
}

/// Reads fields front to back. What is not there reads as zeros: a page that has its checksum is never too short.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *head
    }

    fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn key(&mut self) -> Key {
        Key::from(self.array::<KEY>())
    }

    fn pack(&mut self) -> PackId {
        PackId::from_bytes(self.array())
    }

    fn place(&mut self) -> Option<FrameSpan> {
        let bytes: [u8; PLACE] = self.array();
        let mut fields = Fields(&bytes);
        let place = FrameSpan { frame: fields.u32(), start: fields.u32(), length: fields.u32() };
        (bytes != NOWHERE).then_some(place)
    }
}

fn put_place(out: &mut Vec<u8>, place: Option<FrameSpan>) {
    match place {
        Some(FrameSpan { frame, start, length }) => {
            for number in [frame, start, length] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        None => out.extend_from_slice(&NOWHERE),
    }
}

/// Somewhere that is nowhere, for an entry that must have a place.
const LOST: FrameSpan = FrameSpan { frame: u32::MAX, start: 0, length: 0 };

impl CommitEntry {
    /// Reads an entry of [`Section::Commits`].
    pub fn read(stored: &[u8]) -> Self {
        let mut fields = Fields(stored);
        Self { key: fields.key(), position: fields.u32() }
    }

    /// The entry as it is stored.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
    }
}

impl ParentEntry {
    fn read(number: u32) -> Option<Self> {
        match number {
            NONE => None,
            number if number >= ELSEWHERE => Some(Self::Elsewhere(number - ELSEWHERE)),
            number => Some(Self::Here(number)),
        }
    }

    fn number(parent: Option<Self>) -> u32 {
        match parent {
            None => NONE,
            Some(Self::Here(position)) => position,
            Some(Self::Elsewhere(position)) => ELSEWHERE.saturating_add(position),
        }
    }
}

impl GraphEntry {
    /// Reads an entry of [`Section::Graph`].
    pub fn read(stored: &[u8]) -> Self {
        let mut fields = Fields(stored);
        Self {
            key: fields.key(),
            is_reached: fields.u8() & REACHED != 0,
            generation: fields.u32(),
            parents: [ParentEntry::read(fields.u32()), ParentEntry::read(fields.u32())],
            snapshot: Some(fields.key()).filter(|key| *key.as_bytes() != NO_KEY),
            snapshot_place: fields.place(),
            place: fields.place().unwrap_or(LOST),
        }
    }

    /// The entry as it is stored.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.as_bytes());
        out.push(if self.is_reached { REACHED } else { 0 });
        out.extend_from_slice(&self.generation.to_le_bytes());
        for parent in self.parents {
            out.extend_from_slice(&ParentEntry::number(parent).to_le_bytes());
        }
        out.extend_from_slice(self.snapshot.as_ref().map_or(&NO_KEY, Key::as_bytes).as_slice());
        put_place(out, self.snapshot_place);
        put_place(out, Some(self.place));
    }
}

impl RecordEntry {
    /// Reads an entry of [`Section::Snapshots`] or [`Section::Objects`].
    pub fn read(stored: &[u8]) -> Self {
        let mut fields = Fields(stored);
        let (key, flags, place) = (fields.key(), fields.u8(), fields.place());
        let location = match place {
            Some(place) if flags & LARGE != 0 => Location::Large(place.frame),
            Some(place) if flags & NOTE == 0 => Location::Packed(place),
            _ => Location::Elsewhere,
        };
        Self { key, is_reached: flags & REACHED != 0, location }
    }

    /// The entry as it is stored.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.as_bytes());
        let reached = if self.is_reached { REACHED } else { 0 };
        let (flags, place) = match self.location {
            Location::Packed(place) => (reached, Some(place)),
            Location::Large(position) => (reached | LARGE, Some(FrameSpan { frame: position, start: 0, length: 0 })),
            Location::Elsewhere => (reached | NOTE, None),
        };
        out.push(flags);
        put_place(out, place);
    }
}

impl FrameEntry {
    /// Reads an entry of [`Section::Frames`]; none for a frame of a kind that there is not.
    pub fn read(stored: &[u8]) -> Option<Self> {
        let mut fields = Fields(stored);
        let (pack, number) = (fields.pack(), fields.u32());
        let (offset, stored_length, raw_length) = (fields.u64(), fields.u32(), fields.u32());
        let checksum = fields.u64();
        let kind = Kind::from_byte(fields.u8())?;
        Some(Self { pack, number, frame: Frame { kind, offset, stored_length, raw_length, checksum } })
    }

    /// The entry as it is stored.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Frame { kind, offset, stored_length, raw_length, checksum } = self.frame;
        out.extend_from_slice(&self.pack.to_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&stored_length.to_le_bytes());
        out.extend_from_slice(&raw_length.to_le_bytes());
        out.extend_from_slice(&checksum.to_le_bytes());
        out.push(kind.byte());
    }
}

impl LargeEntry {
    /// Reads an entry of [`Section::Large`].
    pub fn read(stored: &[u8]) -> Self {
        let mut fields = Fields(stored);
        Self { owner: fields.pack(), size: fields.u64(), listed_by: fields.pack() }
    }

    /// The entry as it is stored.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.owner.to_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.listed_by.to_bytes());
    }
}

impl PackEntry {
    /// The entry of a pack.
    pub const fn of(pack: PackId, summary: &PackSummary) -> Self {
        let PackSummary { size, commits, snapshots, objects, table, .. } = *summary;
        let TableExtent { offset, length, head_length, head_checksum } = table;
        Self { pack, numbers: [size, commits, snapshots, objects, offset, length, head_length, head_checksum] }
    }

    /// What is kept of the pack.
    pub const fn summary(&self) -> PackSummary {
        let [size, commits, snapshots, objects, offset, length, head_length, head_checksum] = self.numbers;
        let table = TableExtent { offset, length, head_length, head_checksum };
        PackSummary {
            size,
            commits,
            snapshots,
            objects,
            merged: 0,
            packs: 0,
            condemned_at: None,
            raw: None,
            large: None,
            table,
        }
    }

    /// Reads an entry of [`Section::Packs`].
    pub fn read(stored: &[u8]) -> Self {
        let mut fields = Fields(stored);
        let pack = fields.pack();
        Self { pack, numbers: std::array::from_fn(|_| fields.u64()) }
    }

    /// The entry as it is stored.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pack.to_bytes());
        for number in self.numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// The text of an id that is no hash, as an entry of [`Section::Names`] has it.
pub fn read_name(stored: &[u8]) -> (Key, Option<&str>) {
    let mut fields = Fields(stored);
    let (key, length) = (fields.key(), usize::from(fields.u8()));
    (key, fields.0.get(..length).and_then(|text| std::str::from_utf8(text).ok()))
}

/// The entry of [`Section::Names`] of a text, which has at most 128 bytes.
pub(super) fn write_name(key: &Key, text: &str, out: &mut Vec<u8>) {
    let end = out.len() + Section::Names.width();
    out.extend_from_slice(key.as_bytes());
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
    out.resize(end, 0);
}
