//! The two index sections of a pack and its footer. The layout is at the head of the parent module.

use std::collections::HashMap;
use std::ops::Range;

use super::frame::checksum;
use super::{Error, Frame, Kind, PackId};
use crate::id::{CommitId, Id, ObjectKey, SnapshotId};

const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const SKIPPABLE_HEADER: usize = 8;
const FOOTER_MAGIC: &[u8; 8] = b"MUSEPACK";
const VERSION: u32 = 1;
/// Bytes of the footer.
pub const FOOTER_LENGTH: usize = 80;
/// Level 3 is zstd's default: ids do not compress, so more effort gains nothing.
const LEVEL: i32 = 3;
/// A section that claims to be larger than this is not read: 100,000,000 records have less.
const MAX_SECTION: usize = 1 << 32;

/// Where a section lies in its pack, and how to tell that it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Where it begins, in bytes from the beginning of the pack.
    pub offset: u64,
    /// How many bytes it has there.
    pub length: u64,
    /// The checksum of those bytes.
    pub checksum: u64,
}

impl Section {
    /// The bytes of the pack that this section is in.
    pub const fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }
}

/// What the table keeps of a pack, so that its index is one ranged read away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackSummary {
    /// Bytes of the whole pack.
    pub size: u64,
    /// Commits in it.
    pub commits: u64,
    /// Snapshots in it.
    pub snapshots: u64,
    /// Objects in it.
    pub objects: u64,
    /// How many packs were merged into it; 0 for one that a push wrote.
    pub merged: u64,
    /// For a pack that is condemned, when it was: in milliseconds since the Unix epoch.
    pub condemned_at: Option<u64>,
    /// Where the graph section is.
    pub graph: Section,
    /// Where the contents section is.
    pub contents: Section,
}

/// A commit in a graph section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedCommit {
    /// The commit.
    pub id: CommitId,
    /// The parents that it names, in this pack or not.
    pub parents: Vec<CommitId>,
    /// The snapshot that it names.
    pub snapshot: Option<SnapshotId>,
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
    /// Objects that are S3 objects of their own and belong to this pack, with their sizes. They were pushed ahead.
    pub large: Vec<(ObjectKey, u64)>,
    /// The same of packs that were merged into this one: their S3 keys have the names of those.
    pub inherited: Vec<(PackId, ObjectKey, u64)>,
    /// Objects pushed ahead in other packs that a branch reaches with this one.
    pub reached: Vec<ObjectKey>,
}

/// The records of one frame: what each is, and its raw length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameRecords {
    /// Of a frame of commits.
    Commits(Vec<(CommitId, u32)>),
    /// Of a frame of snapshots, pushed ahead or not.
    Snapshots(Vec<(SnapshotId, u32)>),
    /// Of a frame of objects, pushed ahead or not.
    Objects(Vec<(ObjectKey, u32)>),
}

impl GraphSection {
    /// The section as it is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write_varint(&mut out, self.0.len() as u64);
        let mut positions: HashMap<&CommitId, usize> = HashMap::with_capacity(self.0.len());
        for (position, commit) in self.0.iter().enumerate() {
            write_id(&mut out, commit.id.as_ref());
            write_varint(&mut out, commit.parents.len() as u64);
            for parent in &commit.parents {
                match positions.get(parent) {
                    Some(before) => write_varint(&mut out, (position - before) as u64),
                    None => {
                        write_varint(&mut out, 0);
                        write_id(&mut out, parent.as_ref());
                    }
                }
            }
            match &commit.snapshot {
                None => out.push(0),
                Some(snapshot) => {
                    out.push(1);
                    write_id(&mut out, snapshot.as_ref());
                }
            }
            positions.insert(&commit.id, position);
        }
        encode_section(&out)
    }

    /// Reads the section from its stored bytes.
    ///
    /// # Errors
    /// When they are not what was written.
    pub fn decode(pack: PackId, section: &Section, stored: &[u8]) -> Result<Self, Error> {
        const PART: &str = "graph section";
        let raw = decode_section(pack, PART, section, stored)?;
        let mut reader = Reader { pack, part: PART, rest: &raw };
        let count = reader.varint()?;
        let mut commits: Vec<PackedCommit> = Vec::new();
        for _ in 0..count {
            let id = reader.id()?.into();
            let parents = (0..reader.varint()?)
                .map(|_| {
                    let back = reader.length()?;
                    if back == 0 {
                        return Ok(reader.id()?.into());
                    }
                    let before = commits.len().checked_sub(back).and_then(|position| commits.get(position));
                    before
                        .map(|commit| commit.id.clone())
                        .ok_or_else(|| reader.malformed("a parent before the first commit"))
                })
                .collect::<Result<_, _>>()?;
            let snapshot = match reader.byte()? {
                0 => None,
                1 => Some(reader.id()?.into()),
                _ => return Err(reader.malformed("neither a snapshot nor none")),
            };
            commits.push(PackedCommit { id, parents, snapshot });
        }
        reader.end()?;
        Ok(Self(commits))
    }
}

impl Contents {
    /// The section as it is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        write_varint(&mut out, self.frames.len() as u64);
        for (frame, records) in self.frames.iter().zip(&self.records) {
            out.push(match frame.kind {
                Kind::Commits => 0,
                Kind::Snapshots => 1,
                Kind::Objects => 2,
                Kind::ObjectsAhead => 3,
                Kind::SnapshotsAhead => 4,
            });
            write_varint(&mut out, frame.stored_length.into());
            write_varint(&mut out, frame.raw_length.into());
            out.extend_from_slice(&frame.checksum.to_le_bytes());
            match records {
                FrameRecords::Commits(records) => write_records(&mut out, records),
                FrameRecords::Snapshots(records) => write_records(&mut out, records),
                FrameRecords::Objects(records) => write_records(&mut out, records),
            }
        }
        write_varint(&mut out, self.large.len() as u64);
        for (key, size) in &self.large {
            write_id(&mut out, key.as_ref());
            write_varint(&mut out, *size);
        }
        write_varint(&mut out, self.reached.len() as u64);
        for key in &self.reached {
            write_id(&mut out, key.as_ref());
        }
        // Left out where it is empty: then the section is as it was before there was such a list.
        if !self.inherited.is_empty() {
            write_varint(&mut out, self.inherited.len() as u64);
            for (pack, key, size) in &self.inherited {
                out.extend_from_slice(&pack.to_bytes());
                write_id(&mut out, key.as_ref());
                write_varint(&mut out, *size);
            }
        }
        encode_section(&out)
    }

    /// Reads the section from its stored bytes.
    ///
    /// # Errors
    /// When they are not what was written.
    pub fn decode(pack: PackId, section: &Section, stored: &[u8]) -> Result<Self, Error> {
        const PART: &str = "contents section";
        let raw = decode_section(pack, PART, section, stored)?;
        let mut reader = Reader { pack, part: PART, rest: &raw };
        let mut contents = Self::default();
        let mut offset = 0_u64;
        for _ in 0..reader.varint()? {
            let kind = match reader.byte()? {
                0 => Kind::Commits,
                1 => Kind::Snapshots,
                2 => Kind::Objects,
                3 => Kind::ObjectsAhead,
                4 => Kind::SnapshotsAhead,
                _ => return Err(reader.malformed("an unknown kind of frame")),
            };
            let frame = Frame {
                kind,
                offset,
                stored_length: reader.u32()?,
                raw_length: reader.u32()?,
                checksum: u64::from_le_bytes(reader.array()?),
            };
            offset = offset.saturating_add(frame.stored_length.into());
            contents.records.push(match kind {
                Kind::Commits => FrameRecords::Commits(reader.records(&frame)?),
                Kind::Snapshots | Kind::SnapshotsAhead => FrameRecords::Snapshots(reader.records(&frame)?),
                Kind::Objects | Kind::ObjectsAhead => FrameRecords::Objects(reader.records(&frame)?),
            });
            contents.frames.push(frame);
        }
        if !reader.rest.is_empty() {
            for _ in 0..reader.varint()? {
                contents.large.push((reader.id()?.into(), reader.varint()?));
            }
            for _ in 0..reader.varint()? {
                contents.reached.push(reader.id()?.into());
            }
        }
        if !reader.rest.is_empty() {
            for _ in 0..reader.varint()? {
                let pack = PackId::from_bytes(reader.array()?);
                contents.inherited.push((pack, reader.id()?.into(), reader.varint()?));
            }
        }
        reader.end()?;
        Ok(contents)
    }
}

/// The footer of a pack whose sections lie as said.
pub(super) fn encode_footer(graph: &Section, contents: &Section) -> Vec<u8> {
    let mut out = Vec::with_capacity(FOOTER_LENGTH);
    out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    out.extend_from_slice(&((FOOTER_LENGTH - SKIPPABLE_HEADER) as u32).to_le_bytes());
    out.extend_from_slice(FOOTER_MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for section in [graph, contents] {
        for number in [section.offset, section.length, section.checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    out
}

/// Reads where the graph and the contents section of a pack are from its last [`FOOTER_LENGTH`] bytes.
///
/// # Errors
/// When they are not the footer that was written.
pub fn decode_footer(pack: PackId, stored: &[u8]) -> Result<(Section, Section), Error> {
    const PART: &str = "footer";
    let covered = stored.split_last_chunk::<8>();
    let Some((covered, check)) = covered.filter(|_| stored.len() == FOOTER_LENGTH) else {
        return Err(Error::Malformed { pack, part: PART.to_owned(), reason: format!("{} bytes", stored.len()) });
    };
    if checksum(covered) != u64::from_le_bytes(*check) {
        return Err(Error::Checksum { pack, part: PART.to_owned() });
    }
    let mut reader = Reader { pack, part: PART, rest: covered };
    reader.array::<SKIPPABLE_HEADER>()?;
    let magic: [u8; 8] = reader.array()?;
    let version = u32::from_le_bytes(reader.array()?);
    if magic != *FOOTER_MAGIC || version != VERSION {
        return Err(reader.malformed(&format!("version {version} of the format is not known")));
    }
    reader.array::<4>()?;
    let mut section = || -> Result<Section, Error> {
        Ok(Section {
            offset: u64::from_le_bytes(reader.array()?),
            length: u64::from_le_bytes(reader.array()?),
            checksum: u64::from_le_bytes(reader.array()?),
        })
    };
    Ok((section()?, section()?))
}

/// Wraps a section into a skippable frame.
fn encode_section(raw: &[u8]) -> Result<Vec<u8>, Error> {
    let compressed = zstd::bulk::compress(raw, LEVEL).map_err(Error::Write)?;
    let too_large = |_| Error::Write(std::io::Error::other("a section of 4 GiB"));
    let length = u32::try_from(compressed.len()).map_err(too_large)?;
    let mut out = Vec::with_capacity(SKIPPABLE_HEADER + compressed.len());
    out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&compressed);
    Ok(out)
}

fn decode_section(pack: PackId, part: &str, section: &Section, stored: &[u8]) -> Result<Vec<u8>, Error> {
    if stored.len() as u64 != section.length || checksum(stored) != section.checksum {
        return Err(Error::Checksum { pack, part: part.to_owned() });
    }
    let malformed = |reason: String| Error::Malformed { pack, part: part.to_owned(), reason };
    let compressed = stored.get(SKIPPABLE_HEADER..).unwrap_or_default();
    let raw_length = zstd::zstd_safe::get_frame_content_size(compressed)
        .ok()
        .flatten()
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= MAX_SECTION)
        .ok_or_else(|| malformed("no usable length".to_owned()))?;
    zstd::bulk::decompress(compressed, raw_length).map_err(|error| malformed(error.to_string()))
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_id(out: &mut Vec<u8>, id: &Id) {
    match id.digest() {
        Some(digest) => {
            out.push(u8::from(id.is_prefixed()));
            out.extend_from_slice(digest);
        }
        None => id.with_str(|text| {
            out.push(2);
            // An id has at most 128 characters.
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }),
    }
}

fn write_records<I: AsRef<Id>>(out: &mut Vec<u8>, records: &[(I, u32)]) {
    write_varint(out, records.len() as u64);
    for (id, length) in records {
        write_id(out, id.as_ref());
        write_varint(out, (*length).into());
    }
}

/// Reads a section front to back; past its end there is an error.
struct Reader<'a> {
    pack: PackId,
    part: &'static str,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn malformed(&self, reason: &str) -> Error {
        Error::Malformed { pack: self.pack, part: self.part.to_owned(), reason: reason.to_owned() }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.malformed("a number of more than ten bytes"))
    }

    fn length(&mut self) -> Result<usize, Error> {
        usize::try_from(self.varint()?).map_err(|_| self.malformed("a length that is too large"))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        u32::try_from(self.varint()?).map_err(|_| self.malformed("a length that is too large"))
    }

    fn id(&mut self) -> Result<Id, Error> {
        let tag = self.byte()?;
        let text = match tag {
            0 => return Ok(Id::from_digest(self.array()?)),
            1 => format!("sha256:{}", hex::encode(self.array::<32>()?)),
            2 => {
                let length = usize::from(self.byte()?);
                let (text, rest) =
                    self.rest.split_at_checked(length).ok_or_else(|| self.malformed("it ends too early"))?;
                self.rest = rest;
                String::from_utf8_lossy(text).into_owned()
            }
            _ => return Err(self.malformed("an unknown kind of id")),
        };
        text.parse().map_err(|_| self.malformed("an id that is none"))
    }

    fn records<I: From<Id>>(&mut self, frame: &Frame) -> Result<Vec<(I, u32)>, Error> {
        let mut records = Vec::new();
        let mut total = 0_u64;
        for _ in 0..self.varint()? {
            let record = (self.id()?.into(), self.u32()?);
            total = total.saturating_add(record.1.into());
            records.push(record);
        }
        if total != u64::from(frame.raw_length) {
            return Err(self.malformed("the records of a frame do not fill it"));
        }
        Ok(records)
    }

    fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("something follows its end")) }
    }
}
