//! Makes packs: of what a push brings, whole, or record by record.

use std::borrow::Cow;

use bytes::Bytes;

use super::frame::checksum;
use super::index::{
    Contents, FrameRecords, GraphSection, PackedCommit, SKIPPABLE_HEADER, encode_footer, encode_table, skippable_header,
};
use super::summary::{PackSummary, TableExtent};
use super::{Frame, Kind, PackError, PackId};
use crate::id::{ObjectKey, SnapshotId};

/// Level 3 is zstd's default; neighbours that are nearly equal compress a hundredfold with it, and faster than they arrive.
const LEVEL: i32 = 3;

// How many raw bytes a frame of each kind may have before it is closed. A larger frame compresses better, a smaller one has
// less to read when little of it is wanted; a record of more bytes has a frame of its own.

/// Neighbouring commits have little in common, and so gain little from a large frame.
const COMMITS: usize = 256 << 10;
const SNAPSHOTS: usize = 4 << 20;
/// Of objects, if they compress well. Objects that do not compress gain nothing from neighbours: then a frame has about
/// this many stored bytes.
const OBJECTS: usize = 2 << 20;
const STORED_OBJECTS: usize = 256 << 10;
/// Of the first objects. Whether they compress well is not known yet.
const FIRST_OBJECTS: usize = 512 << 10;

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
    pub is_staged: bool,
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
    pub is_staged: bool,
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
    /// Objects staged in other packs that a branch reaches with this one.
    pub reached: Vec<ObjectKey>,
}

/// A pack that is ready to be stored.
#[derive(Debug, Clone)]
pub struct WrittenPack {
    /// The whole file.
    pub bytes: Bytes,
    /// What the table keeps of it.
    pub summary: PackSummary,
    /// Its commits, as a reader would read them.
    pub graph: GraphSection,
    /// What it holds, as a reader would read it.
    pub contents: Contents,
}

/// Writes a pack.
///
/// ```
/// use common::id::ObjectId;
/// use common::pack::{self, NewObject, NewPack, PackId};
///
/// let content = b"tempo: 120";
/// let object = NewObject {
///     key: ObjectId::of(content).key(),
///     path: "song.txt".into(),
///     content,
///     is_staged: false,
/// };
/// let written = pack::write(NewPack { objects: vec![object], ..NewPack::default() })?;
///
/// assert_eq!(written.summary.objects, 1);
/// let table = pack::index::decode_footer(PackId::nil(), &written.bytes)?;
/// assert_eq!(table, written.summary.table, "the footer says where the table is");
/// # Ok::<_, pack::PackError>(())
/// ```
/// # Errors
/// [`PackError::Write`] when zstd refuses.
pub fn write(new: NewPack<'_>) -> Result<WrittenPack, PackError> {
    let NewPack { commits, snapshots, objects, large, reached } = new;
    let mut writer = PackWriter::new()?;
    for commit in commits {
        writer.commit(commit.node, commit.record)?;
    }
    for is_staged in [false, true] {
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.is_staged == is_staged) {
            writer.snapshot(snapshot.id.clone(), &snapshot.record, is_staged)?;
        }
    }
    let mut sorted: Vec<&NewObject<'_>> = objects.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    for is_staged in [false, true] {
        for object in sorted.iter().filter(|object| object.is_staged == is_staged) {
            writer.object(object.key.clone(), object.content, is_staged)?;
        }
    }
    writer.finish(Elsewhere { large, inherited: Vec::new(), reached })
}

/// What a pack says of objects that lie elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Large objects that belong to the pack, with their sizes.
    pub large: Vec<(ObjectKey, u64)>,
    /// Large objects that belong to packs that were merged into this one: the names of those packs, and the sizes.
    pub inherited: Vec<(PackId, ObjectKey, u64)>,
    /// Objects staged in other packs that a branch reaches with this one.
    pub reached: Vec<ObjectKey>,
}

/// Writes a pack record by record. Records of one kind are given one after the other; what is given next to each other
/// compresses together. It holds what it has written, compressed, and the records of one frame.
pub struct PackWriter {
    compressor: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
    contents: Contents,
    graph: GraphSection,
    /// The kind of the open frame and what its records are; none before the first record.
    open: Option<(Kind, FrameRecords)>,
    /// The records of the open frame.
    raw: Vec<u8>,
    /// Raw bytes that the next frame of objects may have.
    objects_target: usize,
    snapshots: u64,
    objects: u64,
}

impl PackWriter {
    /// A pack without anything in it.
    ///
    /// # Errors
    /// [`PackError::Write`] when zstd refuses.
    pub fn new() -> Result<Self, PackError> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(LEVEL).map_err(PackError::Write)?,
            out: Vec::new(),
            contents: Contents::default(),
            graph: GraphSection::default(),
            open: None,
            raw: Vec::new(),
            objects_target: FIRST_OBJECTS,
            snapshots: 0,
            objects: 0,
        })
    }

    /// The next commit: its parents first, as far as they are in the pack.
    ///
    /// # Errors
    /// [`PackError::Write`] when zstd refuses, as all of these.
    pub fn commit(&mut self, node: PackedCommit, record: &[u8]) -> Result<(), PackError> {
        let length = self.append(Kind::Commits, record)?;
        if let Some((_, FrameRecords::Commits(records))) = &mut self.open {
            records.push((node.id.clone(), length));
        }
        self.graph.0.push(node);
        Ok(())
    }

    /// The next snapshot.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn snapshot(&mut self, id: SnapshotId, record: &[u8], is_staged: bool) -> Result<(), PackError> {
        let length = self.append(if is_staged { Kind::StagedSnapshots } else { Kind::Snapshots }, record)?;
        if let Some((_, FrameRecords::Snapshots(records))) = &mut self.open {
            records.push((id, length));
        }
        self.snapshots += 1;
        Ok(())
    }

    /// The next object.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn object(&mut self, key: ObjectKey, content: &[u8], is_staged: bool) -> Result<(), PackError> {
        let length = self.append(if is_staged { Kind::StagedObjects } else { Kind::Objects }, content)?;
        if let Some((_, FrameRecords::Objects(records))) = &mut self.open {
            records.push((key, length));
        }
        self.objects += 1;
        Ok(())
    }

    /// Ends the pack with its table.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn finish(mut self, elsewhere: Elsewhere) -> Result<WrittenPack, PackError> {
        self.close()?;
        let Self { mut out, mut contents, graph: graph_section, snapshots, mut objects, .. } = self;
        let Elsewhere { large, inherited, reached } = elsewhere;
        objects += (large.len() + inherited.len()) as u64;
        (contents.large, contents.inherited, contents.reached) = (large, inherited, reached);
        let encoded = encode_table(&graph_section, &contents);
        let table = TableExtent {
            offset: (out.len() + SKIPPABLE_HEADER) as u64,
            length: encoded.length,
            head_length: encoded.head_length,
            head_checksum: encoded.head_checksum,
        };
        out.extend_from_slice(&skippable_header(encoded.length)?);
        out.extend_from_slice(&encoded.bytes);
        out.extend_from_slice(&encode_footer(&table));
        Ok(WrittenPack {
            summary: PackSummary {
                size: out.len() as u64,
                commits: graph_section.0.len() as u64,
                snapshots,
                objects,
                merged: 0,
                packs: 0,
                condemned_at: None,
                raw: Some(contents.raw()),
                large: Some(contents.large_bytes()),
                table,
            },
            bytes: out.into(),
            graph: graph_section,
            contents,
        })
    }

    /// Whether the open frame has room for a record of its kind of this length. Else the next record closes it.
    pub fn has_room(&self, length: usize) -> bool {
        let target = |kind: Kind| match kind {
            Kind::Commits => COMMITS,
            Kind::Snapshots | Kind::StagedSnapshots => SNAPSHOTS,
            Kind::Objects | Kind::StagedObjects => self.objects_target,
        };
        self.open.as_ref().is_none_or(|(kind, _)| self.raw.len() + length <= target(*kind))
    }

    /// Takes a record into a frame of its kind, the open one if it has room.
    fn append(&mut self, kind: Kind, record: &[u8]) -> Result<u32, PackError> {
        let length = u32::try_from(record.len()).map_err(|_| too_large())?;
        let has_room = self.has_room(record.len());
        if self.open.as_ref().is_some_and(|(open, _)| *open != kind || !has_room) {
            self.close()?;
        }
        self.open.get_or_insert_with(|| {
            let records = match kind {
                Kind::Commits => FrameRecords::Commits(Vec::new()),
                Kind::Snapshots | Kind::StagedSnapshots => FrameRecords::Snapshots(Vec::new()),
                Kind::Objects | Kind::StagedObjects => FrameRecords::Objects(Vec::new()),
            };
            (kind, records)
        });
        self.raw.extend_from_slice(record);
        Ok(length)
    }

    fn close(&mut self) -> Result<(), PackError> {
        let Some((kind, records)) = self.open.take() else {
            return Ok(());
        };
        let stored = self.compressor.compress(&self.raw).map_err(PackError::Write)?;
        if matches!(kind, Kind::Objects | Kind::StagedObjects) {
            let target = STORED_OBJECTS.saturating_mul(self.raw.len()) / stored.len().max(1);
            self.objects_target = target.clamp(STORED_OBJECTS, OBJECTS);
        }
        self.contents.frames.push(Frame {
            kind,
            offset: self.out.len() as u64,
            stored_length: u32::try_from(stored.len()).map_err(|_| too_large())?,
            raw_length: u32::try_from(self.raw.len()).map_err(|_| too_large())?,
            checksum: checksum(&stored),
        });
        self.contents.records.push(records);
        self.out.extend_from_slice(&stored);
        self.raw.clear();
        Ok(())
    }
}

fn too_large() -> PackError {
    PackError::Write(std::io::Error::other("a record of 4 GiB"))
}
