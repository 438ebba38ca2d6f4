//! Makes one pack of several, or two of one. The result holds exactly what its inputs held, and its table alone says
//! what their tables said.
//!
//! Memory is bounded: [`choose`](super::choose) bounds the merged pack, compressed, and what is known of each record;
//! [`OPEN_BYTES`] bounds the open frames, one of each input. Besides, half a mebibyte of each input is read ahead.
//! Every frame is held against its checksum when it is opened.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::catalog::Catalog;
use super::order;
use crate::compute;
use crate::upkeep::compact::garbage::Garbage;
use crate::{Store, StoreError};
use common::id::{ObjectId, ObjectKey, RepoId, SnapshotId};
use common::location::{ObjectLocation, PackFrame, RecordLocation};
use common::pack::index::FrameRecords;
use common::pack::index::decode_table;
use common::pack::{
    self, Contents, Elsewhere, GraphSection, PackId, PackSummary, PackWriter, PackedCommit, WrittenPack,
};
use common::wire::manifests::ManifestReader;

/// A pack of at most this many bytes is read as a whole.
const WHOLE_BYTES: u64 = 128 << 10;
/// How many bytes of a larger pack are read at once.
const READ_BYTES: u64 = 512 << 10;
/// Packs that are read at the same time.
const PARALLEL_READS: usize = 16;
/// How many raw bytes of snapshots are searched for the paths of objects. Objects beyond stay in their order.
const MANIFEST_BYTES: usize = 256 << 20;
/// Bytes of those paths.
const PATH_BYTES: usize = 16 << 20;

/// How many raw bytes of frames may be open at the same time. A frame of a single record is open only while that is
/// copied, and does not count.
const OPEN_BYTES: u64 = 32 << 20;

/// Reads these packs, in the order of their names, and writes all that they hold as one pack. If their frames are too
/// large to be open at the same time, it takes only the first of them, at least two.
///
/// # Errors
/// When one cannot be read or is damaged.
pub(super) async fn merge(
    store: &Store,
    repo: &RepoId,
    packs: &[(PackId, PackSummary)],
) -> Result<(WrittenPack, usize), StoreError> {
    let mut inputs: Vec<Input> = stream::iter(packs.iter().copied())
        .map(|(pack, summary)| Input::read(store, repo, pack, summary))
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    let merged = fitting(inputs.iter().map(|input| largest_frame(&input.contents)));
    inputs.truncate(merged);
    let (mut reader, records) = open(store, repo, inputs)?;
    let elsewhere = reader.index.reached_elsewhere().cloned().collect();
    let mut written = write(&mut reader, records, elsewhere).await?;
    written.summary.merged = merged as u64;
    check_counts(&reader, [&written])?;
    Ok((written, merged))
}

/// Reads a pack and writes its records as two packs: one without the garbage, and one of the garbage.
///
/// # Errors
/// When it cannot be read or is damaged.
pub(crate) async fn split(
    store: &Store,
    repo: &RepoId,
    (pack, summary): (PackId, PackSummary),
    garbage: &Garbage,
) -> Result<(WrittenPack, WrittenPack), StoreError> {
    let input = Input::read(store, repo, pack, summary).await?;
    let (mut reader, records) = open(store, repo, vec![input])?;
    let (kept, condemned) = records.split(garbage);
    let elsewhere = reader.index.reached_elsewhere().cloned().collect();
    let mut kept = write(&mut reader, kept, elsewhere).await?;
    let mut condemned = write(&mut reader, condemned, Vec::new()).await?;
    (kept.summary.merged, condemned.summary.merged) = (1, 1);
    check_counts(&reader, [&kept, &condemned])?;
    Ok((kept, condemned))
}

fn open<'s>(store: &'s Store, repo: &'s RepoId, inputs: Vec<Input>) -> Result<(Reader<'s>, Records), StoreError> {
    let (queues, sources): (Vec<_>, HashMap<_, _>) = inputs.into_iter().map(Input::split).unzip();
    let index = Catalog::of(queues.iter().map(|(pack, graph, contents)| (*pack, graph, contents)))?;
    let records = Records::of(&index, queues);
    Ok((Reader { store, repo, index, sources, frames: HashMap::new() }, records))
}

/// Writes a pack of these records. The objects in `reached` lie in packs that are not read.
async fn write(
    reader: &mut Reader<'_>,
    records: Records,
    mut reached: Vec<ObjectKey>,
) -> Result<WrittenPack, StoreError> {
    let mut writer = PackWriter::new()?;

    let commits = order::parents_first(records.commits);
    let mut neighbours: HashMap<SnapshotId, usize> = HashMap::new();
    for (position, (commit, _)) in commits.iter().enumerate() {
        if let Some(snapshot) = &commit.snapshot {
            neighbours.entry(snapshot.clone()).or_insert(position);
        }
    }
    reader.expect(commits.iter().map(|(_, place)| *place));
    for (commit, place) in commits {
        let record = reader.record(place).await?;
        add(&mut writer, record.len(), |writer| writer.commit(commit, &record))?;
    }

    // Snapshots that no commit names come last, in the order in which they lay.
    let near = |queue: Vec<(SnapshotId, RecordLocation)>| {
        let key = |(id, place): (SnapshotId, RecordLocation)| {
            (neighbours.get(&id).copied().unwrap_or(usize::MAX), (id, place))
        };
        queue.into_iter().map(key).collect::<Vec<_>>()
    };
    let mut paths = Paths::default();
    for (queues, is_staged) in [(records.snapshots, false), (records.staged_snapshots, true)] {
        let snapshots = order::by_key(queues.into_iter().map(near).collect());
        reader.expect(snapshots.iter().map(|(_, place)| *place));
        for (id, place) in snapshots {
            let record = reader.record(place).await?;
            add(&mut writer, record.len(), |writer| writer.snapshot(id, &record, is_staged))?;
            paths.learn(&reader.index, record)?;
        }
    }
    drop(neighbours);

    for (queues, is_staged) in [(records.objects, false), (records.staged_objects, true)] {
        let by_path = |queue: Vec<(ObjectKey, RecordLocation)>| {
            let key = |(key, place)| (paths.of(&key), (key, place));
            queue.into_iter().map(key).collect::<Vec<_>>()
        };
        let objects = order::by_key(queues.into_iter().map(by_path).collect());
        reader.expect(objects.iter().map(|(_, place)| *place));
        for (key, place) in objects {
            let record = reader.record(place).await?;
            add(&mut writer, record.len(), |writer| writer.object(key, &record, is_staged))?;
        }
    }

    let large = records.large.iter().map(|(_, key, _)| key);
    reached.extend(large.filter(|key| reader.index.is_reached(key)).cloned());
    reached.sort_unstable();
    let elsewhere = Elsewhere { large: Vec::new(), inherited: records.large, reached };
    Ok(compute(|| writer.finish(elsewhere))?)
}

/// Checks that nothing was lost or made up on the way.
fn check_counts<const N: usize>(reader: &Reader<'_>, written: [&WrittenPack; N]) -> Result<(), StoreError> {
    let (commits, snapshots, objects) = reader.index.counts();
    let held = [commits as u64, snapshots as u64, objects as u64];
    let mut counts = [0; 3];
    for WrittenPack { summary, .. } in written {
        let of_pack = [summary.commits, summary.snapshots, summary.objects];
        counts.iter_mut().zip(of_pack).for_each(|(sum, count)| *sum += count);
    }
    if counts == held {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "repo {}: its packs hold {held:?} commits, snapshots and objects, and what was made of them {counts:?}",
        reader.repo
    )))
}

/// How many of the first packs may have their largest frames open at the same time.
fn fitting(frames: impl Iterator<Item = u64>) -> usize {
    let mut open = 0_u64;
    let fits = |(position, frame): &(usize, u64)| {
        open = open.saturating_add(*frame);
        *position < 2 || open <= OPEN_BYTES
    };
    frames.enumerate().take_while(fits).count()
}

/// The raw bytes of the largest frame of a pack that holds more than one record.
fn largest_frame(contents: &Contents) -> u64 {
    let has_several = |records: &FrameRecords| match records {
        FrameRecords::Commits(list) => list.len() > 1,
        FrameRecords::Snapshots(list) => list.len() > 1,
        FrameRecords::Objects(list) => list.len() > 1,
    };
    let frames = contents.frames.iter().zip(&contents.records).filter(|(_, records)| has_several(records));
    frames.map(|(frame, _)| frame.raw_length.into()).max().unwrap_or(0)
}

/// Adds a record. Only a record that closes a frame takes a while, and many records are small.
fn add(
    writer: &mut PackWriter,
    length: usize,
    add: impl FnOnce(&mut PackWriter) -> Result<(), pack::PackError>,
) -> Result<(), StoreError> {
    let added = if writer.has_room(length) { add(writer) } else { compute(|| add(writer)) };
    Ok(added?)
}

/// One of the packs that are merged.
struct Input {
    pack: PackId,
    graph: GraphSection,
    contents: Contents,
    source: Source,
}

impl Input {
    async fn read(store: &Store, repo: &RepoId, pack: PackId, summary: PackSummary) -> Result<Self, StoreError> {
        let table = summary.table;
        let start = if summary.size <= WHOLE_BYTES { 0 } else { table.offset };
        let read = store.get_pack_range(repo, pack, start..table.range().end).await?;
        let offset = usize::try_from(table.offset.saturating_sub(start)).map_err(StoreError::fault)?;
        let stored = read.slice(offset.min(read.len())..);
        let (graph, contents) = compute(|| decode_table(pack, &table, stored))?;
        // A large pack needs nothing of this again.
        let read = if start == 0 { Read { start, bytes: read } } else { Read::default() };
        Ok(Self { pack, graph, contents, source: Source { end: table.offset, read } })
    }

    fn split(self) -> ((PackId, GraphSection, Contents), (PackId, Source)) {
        ((self.pack, self.graph, self.contents), (self.pack, self.source))
    }
}

/// The records that count, of each pack in its own order. If several packs hold a record, the first one's counts.
struct Records {
    commits: Vec<Vec<(PackedCommit, RecordLocation)>>,
    snapshots: Vec<Vec<(SnapshotId, RecordLocation)>>,
    staged_snapshots: Vec<Vec<(SnapshotId, RecordLocation)>>,
    objects: Vec<Vec<(ObjectKey, RecordLocation)>>,
    staged_objects: Vec<Vec<(ObjectKey, RecordLocation)>>,
    large: Vec<(PackId, ObjectKey, u64)>,
}

impl Records {
    fn of(index: &Catalog, packs: Vec<(PackId, GraphSection, Contents)>) -> Self {
        let mut records = Self {
            commits: Vec::with_capacity(packs.len()),
            snapshots: Vec::with_capacity(packs.len()),
            staged_snapshots: Vec::with_capacity(packs.len()),
            objects: Vec::with_capacity(packs.len()),
            staged_objects: Vec::with_capacity(packs.len()),
            large: Vec::new(),
        };
        let mut frame = 0;
        for (pack, graph, contents) in packs {
            let mut nodes = graph.0.into_iter();
            let (mut commits, mut snapshots, mut staged_snapshots) = (Vec::new(), Vec::new(), Vec::new());
            let (mut objects, mut staged_objects) = (Vec::new(), Vec::new());
            for of_frame in contents.records {
                let mut start = 0_u32;
                let mut place = |length: u32| {
                    let place = RecordLocation { table: 0, frame, start, length };
                    start = start.saturating_add(length);
                    place
                };
                match of_frame {
                    FrameRecords::Commits(list) => {
                        for ((id, length), node) in list.into_iter().zip(&mut nodes) {
                            let place = place(length);
                            if index.graph().payload(&id) == Some(&place) {
                                commits.push((node, place));
                            }
                        }
                    }
                    FrameRecords::Snapshots(list) => {
                        for (id, length) in list {
                            let place = place(length);
                            if index.snapshot(&id) == Some(place) {
                                let is_staged = index.staged_snapshot(&id).is_some();
                                if is_staged { &mut staged_snapshots } else { &mut snapshots }.push((id, place));
                            }
                        }
                    }
                    FrameRecords::Objects(list) => {
                        for (key, length) in list {
                            let place = place(length);
                            if index.object(&key) == Some(ObjectLocation::Packed(place)) {
                                let is_reached = index.is_reached(&key);
                                if is_reached { &mut objects } else { &mut staged_objects }.push((key, place));
                            }
                        }
                    }
                }
                frame += 1;
            }
            let own = contents.large.into_iter().map(|(key, size)| (pack, key, size));
            for (pack, key, size) in own.chain(contents.inherited) {
                let counts = |place| matches!(place, ObjectLocation::Large(large) if large.pack == pack);
                if index.object(&key).is_some_and(counts) {
                    records.large.push((pack, key, size));
                }
            }
            records.commits.push(commits);
            records.snapshots.push(snapshots);
            records.staged_snapshots.push(staged_snapshots);
            records.objects.push(objects);
            records.staged_objects.push(staged_objects);
        }
        records
    }
}

/// Where the frames of a pack come from.
struct Source {
    /// Where the frames end.
    end: u64,
    /// What was read last.
    read: Read,
}

#[derive(Default)]
struct Read {
    start: u64,
    bytes: Bytes,
}

impl Read {
    fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
        (start <= end && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl Records {
    /// Splits records into those that are kept and those that are garbage.
    fn split(self, garbage: &Garbage) -> (Self, Self) {
        fn split<T>(queues: Vec<Vec<T>>, is_garbage: impl Fn(&T) -> bool) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
            let split = |queue: Vec<T>| queue.into_iter().partition::<Vec<T>, _>(|record| !is_garbage(record));
            queues.into_iter().map(split).unzip()
        }
        let is_snapshot = |(id, _): &(SnapshotId, RecordLocation)| garbage.has_snapshot(id);
        let is_object = |(key, _): &(ObjectKey, RecordLocation)| garbage.has_object(key);
        let commits = split(self.commits, |(commit, _)| garbage.has_commit(&commit.id));
        let snapshots = split(self.snapshots, is_snapshot);
        let staged_snapshots = split(self.staged_snapshots, is_snapshot);
        let objects = split(self.objects, is_object);
        let staged_objects = split(self.staged_objects, is_object);
        let large = self.large.into_iter().partition(|(_, key, _)| !garbage.has_object(key));
        let kept = Self {
            commits: commits.0,
            snapshots: snapshots.0,
            staged_snapshots: staged_snapshots.0,
            objects: objects.0,
            staged_objects: staged_objects.0,
            large: large.0,
        };
        let condemned = Self {
            commits: commits.1,
            snapshots: snapshots.1,
            staged_snapshots: staged_snapshots.1,
            objects: objects.1,
            staged_objects: staged_objects.1,
            large: large.1,
        };
        (kept, condemned)
    }
}

/// Hands out records. It opens a frame for the first of its expected records, and closes it after the last.
struct Reader<'s> {
    store: &'s Store,
    repo: &'s RepoId,
    index: Catalog,
    sources: HashMap<PackId, Source>,
    frames: HashMap<u32, OpenFrame>,
}

#[derive(Default)]
struct OpenFrame {
    raw: Option<Bytes>,
    records_left: usize,
}

impl Reader<'_> {
    /// Notes which records will be asked for.
    fn expect(&mut self, places: impl Iterator<Item = RecordLocation>) {
        for place in places {
            self.frames.entry(place.frame).or_default().records_left += 1;
        }
    }

    async fn record(&mut self, place: RecordLocation) -> Result<Bytes, StoreError> {
        let raw = match self.frames.get(&place.frame).and_then(|frame| frame.raw.clone()) {
            Some(raw) => raw,
            None => {
                let located = self.index.frame(place).ok_or_else(missing)?;
                let stored = self.stored(&located).await?;
                compute(|| located.frame.open(located.pack, located.number, &stored))?
            }
        };
        let (start, length) = (place.start as usize, place.length as usize);
        let end = start.checked_add(length).filter(|end| *end <= raw.len()).ok_or_else(missing)?;
        let record = raw.slice(start..end);
        let frame = self.frames.entry(place.frame).or_default();
        frame.records_left = frame.records_left.saturating_sub(1);
        if frame.records_left == 0 {
            self.frames.remove(&place.frame);
        } else {
            frame.raw = Some(raw);
        }
        Ok(record)
    }
}

impl Reader<'_> {
    async fn stored(&mut self, located: &PackFrame) -> Result<Bytes, StoreError> {
        let range = located.frame.offset..located.frame.offset.saturating_add(located.frame.stored_length.into());
        let source = self.sources.get_mut(&located.pack).ok_or_else(missing)?;
        if let Some(stored) = source.read.get(&range) {
            return Ok(stored);
        }
        // The frames behind it are needed next.
        let end = source.end.min(range.start.saturating_add(READ_BYTES)).max(range.end);
        let bytes = self.store.get_pack_range(self.repo, located.pack, range.start..end).await?;
        source.read = Read { start: range.start, bytes };
        source.read.get(&range).ok_or_else(missing)
    }
}

fn missing() -> StoreError {
    StoreError::Damaged("the index names a frame or a record that is not there".to_owned())
}

/// A path for each object, so that the versions of a file lie side by side.
#[derive(Default)]
struct Paths {
    manifests: ManifestReader,
    of_objects: HashMap<ObjectKey, Arc<str>>,
    known: HashSet<Arc<str>>,
    none: Arc<str>,
    manifest_bytes: usize,
    path_bytes: usize,
}

impl Paths {
    /// Notes the paths of a snapshot's objects, except for objects that have a path already.
    fn learn(&mut self, index: &Catalog, record: Bytes) -> Result<(), StoreError> {
        self.manifest_bytes = self.manifest_bytes.saturating_add(record.len());
        if self.manifest_bytes > MANIFEST_BYTES {
            return Ok(());
        }
        let Self { manifests, of_objects, known, path_bytes, .. } = self;
        let see = |path: &str, object: ObjectId| {
            let key = object.key();
            if index.has_object(&key)
                && let Entry::Vacant(new) = of_objects.entry(key)
                && *path_bytes <= PATH_BYTES
            {
                let path = match known.get(path) {
                    Some(known) => Arc::clone(known),
                    None => {
                        let path: Arc<str> = Arc::from(path);
                        *path_bytes = path_bytes.saturating_add(path.len());
                        known.insert(Arc::clone(&path));
                        path
                    }
                };
                new.insert(path);
            }
        };
        Ok(manifests.entries(record, see)?)
    }

    fn of(&self, object: &ObjectKey) -> Arc<str> {
        Arc::clone(self.of_objects.get(object).unwrap_or(&self.none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_enough_packs_are_merged_that_their_frames_fit_into_memory_and_never_less_than_two() {
        assert_eq!(fitting(std::iter::repeat_n(1_000, 90)), 90);
        assert_eq!(fitting(std::iter::repeat_n(OPEN_BYTES / 10, 90)), 10);
        assert_eq!(fitting(std::iter::repeat_n(OPEN_BYTES, 90)), 2);
    }
}
