//! Makes a pack of what a push brings.

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;

use super::frame::checksum;
use super::index::{Contents, FrameRecords, GraphSection, PackSummary, PackedCommit, Section, encode_footer};
use super::{Error, Frame, Kind};
use crate::id::{ObjectKey, SnapshotId};

/// Level 3 is zstd's default; neighbours that are nearly equal compress a hundredfold with it, and faster than they arrive.
const LEVEL: i32 = 3;

/// How many raw bytes a frame of each kind may have before it is closed. A larger frame compresses better, a smaller
/// one has less to read when little of it is wanted; a record of more bytes has a frame of its own.
const fn frame_target(kind: Kind) -> usize {
    match kind {
        Kind::Commits => 1 << 20,
        Kind::Snapshots | Kind::SnapshotsAhead => 4 << 20,
        Kind::Objects | Kind::ObjectsAhead => 2 << 20,
    }
}

/// A commit to be packed.
#[derive(Debug, Clone)]
pub struct NewCommit<'a> {
    /// What the graph needs to know of it.
    pub node: PackedCommit,
    /// The commit as one msgpack map.
    pub record: &'a [u8],
}

/// A snapshot to be packed.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The snapshot as one msgpack map.
    pub record: Vec<u8>,
    /// Whether no branch reaches it yet.
    pub is_ahead: bool,
}

/// An object to be packed.
#[derive(Debug, Clone)]
pub struct NewObject<'a> {
    /// What it is stored under.
    pub key: ObjectKey,
    /// A path that holds it: objects with neighbouring paths compress together.
    pub path: Cow<'a, str>,
    /// Its bytes.
    pub content: &'a [u8],
    /// Whether no branch reaches it yet.
    pub is_ahead: bool,
}

/// What a pack is made of. Nothing comes twice.
#[derive(Debug, Clone, Default)]
pub struct NewPack<'a> {
    /// Commits, parents first.
    pub commits: Vec<NewCommit<'a>>,
    /// Snapshots; neighbours compress together.
    pub snapshots: Vec<NewSnapshot>,
    /// Objects.
    pub objects: Vec<NewObject<'a>>,
    /// Large objects that belong to the pack, with their sizes; they are in S3 already.
    pub large: Vec<(ObjectKey, u64)>,
    /// Objects pushed ahead in other packs that a branch reaches with this one.
    pub reached: Vec<ObjectKey>,
}

/// A pack that is ready to be stored.
#[derive(Debug, Clone)]
pub struct WrittenPack {
    /// The whole file.
    pub bytes: Bytes,
    /// What the table keeps of it.
    pub summary: PackSummary,
    /// Its graph section, as a reader would read it.
    pub graph: GraphSection,
    /// Its contents section, as a reader would read it.
    pub contents: Contents,
}

/// Writes a pack.
///
/// # Errors
/// [`Error::Write`] when zstd refuses.
pub fn write(new: NewPack<'_>) -> Result<WrittenPack, Error> {
    let NewPack { commits, snapshots, objects, large, reached } = new;
    let mut frames = FrameWriter::new()?;

    let records = commits.iter().map(|commit| (commit.node.id.clone(), commit.record));
    frames.write(Kind::Commits, FrameRecords::Commits, records)?;

    for (kind, is_ahead) in [(Kind::Snapshots, false), (Kind::SnapshotsAhead, true)] {
        let records = snapshots.iter().filter(|snapshot| snapshot.is_ahead == is_ahead);
        let records = records.map(|snapshot| (snapshot.id.clone(), &*snapshot.record));
        frames.write(kind, FrameRecords::Snapshots, records)?;
    }

    let mut sorted: Vec<&NewObject<'_>> = objects.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    for (kind, is_ahead) in [(Kind::Objects, false), (Kind::ObjectsAhead, true)] {
        let records = sorted.iter().filter(|object| object.is_ahead == is_ahead);
        let records = records.map(|object| (object.key.clone(), object.content));
        frames.write(kind, FrameRecords::Objects, records)?;
    }

    let FrameWriter { mut out, mut contents, .. } = frames;
    (contents.large, contents.reached) = (large, reached);
    let graph_section = GraphSection(commits.iter().map(|commit| commit.node.clone()).collect());
    let graph = append_section(&mut out, &graph_section.encode()?);
    let contents_section = append_section(&mut out, &contents.encode()?);
    out.extend_from_slice(&encode_footer(&graph, &contents_section));

    Ok(WrittenPack {
        summary: PackSummary {
            size: out.len() as u64,
            commits: commits.len() as u64,
            snapshots: snapshots.len() as u64,
            objects: (objects.len() + contents.large.len()) as u64,
            graph,
            contents: contents_section,
        },
        bytes: out.into(),
        graph: graph_section,
        contents,
    })
}

fn append_section(out: &mut Vec<u8>, stored: &[u8]) -> Section {
    let section = Section { offset: out.len() as u64, length: stored.len() as u64, checksum: checksum(stored) };
    out.extend_from_slice(stored);
    section
}

struct FrameWriter {
    compressor: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
    contents: Contents,
}

impl FrameWriter {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(LEVEL).map_err(Error::Write)?,
            out: Vec::new(),
            contents: Contents::default(),
        })
    }

    /// Writes records of one kind into as many frames as they need.
    fn write<'a, I>(
        &mut self,
        kind: Kind,
        list: fn(Vec<(I, u32)>) -> FrameRecords,
        records: impl Iterator<Item = (I, &'a [u8])>,
    ) -> Result<(), Error> {
        let mut raw = Vec::new();
        let mut lengths = Vec::new();
        for (id, record) in records {
            if !lengths.is_empty() && raw.len() + record.len() > frame_target(kind) {
                self.close(kind, &raw, list(mem::take(&mut lengths)))?;
                raw.clear();
            }
            let length = u32::try_from(record.len()).map_err(|_| too_large())?;
            raw.extend_from_slice(record);
            lengths.push((id, length));
        }
        if !lengths.is_empty() {
            self.close(kind, &raw, list(lengths))?;
        }
        Ok(())
    }

    fn close(&mut self, kind: Kind, raw: &[u8], records: FrameRecords) -> Result<(), Error> {
        let stored = self.compressor.compress(raw).map_err(Error::Write)?;
        self.contents.frames.push(Frame {
            kind,
            offset: self.out.len() as u64,
            stored_length: u32::try_from(stored.len()).map_err(|_| too_large())?,
            raw_length: u32::try_from(raw.len()).map_err(|_| too_large())?,
            checksum: checksum(&stored),
        });
        self.contents.records.push(records);
        self.out.extend_from_slice(&stored);
        Ok(())
    }
}

fn too_large() -> Error {
    Error::Write(std::io::Error::other("a record of 4 GiB"))
}
