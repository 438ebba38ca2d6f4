//! Streams records out of packs: in the order asked for, each frame read and opened once where the order allows,
//! and never more than a bounded number of bytes in memory.
//!
//! It works from a plan. `plan` walks the places in their order, with a window of opened frames in mind, and says
//! which frame has to be there before which record; neighbouring frames that are needed one after the other become one
//! ranged read. The reads of a plan are then made ahead of their use, in order, a few at a time. A record that has a large
//! frame of its own is read and opened piece by piece when its permit comes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::ahead::ReadAhead;
use crate::bucket::packs;
use crate::compute;
use crate::read::permit::LetGo;
use crate::read::view::View;
use crate::span;
use crate::{Store, StoreError};
use common::id::RepoId;
use common::location::{PackFrame, RecordLocation};
use common::pack::{OpeningFrame, PackId};

/// What a reader may hold in memory.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Raw bytes of opened frames that are kept for records to come.
    window: u64,
    /// Stored bytes of neighbouring frames that one read gets at most; a larger frame is read alone.
    read: u64,
    /// Reads under way or waiting for their permit.
    reads: usize,
    /// Stored kibibytes of those reads together; a larger read goes alone.
    ahead: u32,
}

impl Limits {
    /// For a client that takes records as fast as they come.
    const USUAL: Self = Self { window: 12 << 20, read: 2 << 20, reads: 32, ahead: 8 << 10 };
    /// For one that does not.
    const SLOW: Self = Self { window: 1 << 20, read: 512 << 10, reads: 1, ahead: 512 };
}

/// Raw bytes of a frame, beyond which it is opened piece by piece if it has a single record.
const LARGE: u32 = 4 << 20;

/// A frame by its table and its number there.
type FrameId = (u32, u32);

/// One ranged read, which brings frames that lie side by side in a pack.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    pack: PackId,
    range: Range<u64>,
    frames: Vec<(FrameId, PackFrame)>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Step {
    /// Open the next frame that a read got.
    Open(FrameId),
    /// Forget an opened frame.
    Close(FrameId),
    /// Hand out a record.
    Emit(RecordLocation),
    /// Read a frame piece by piece and hand out its one record.
    Stream(RecordLocation),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    reads: Vec<Read>,
    steps: Vec<Step>,
}

fn damaged() -> StoreError {
    StoreError::Damaged("the index names a frame or a record that is not there".to_owned())
}

/// Plans how to hand out the records at `places` in their order.
fn plan(
    locate: impl Fn(RecordLocation) -> Option<PackFrame>,
    places: &[RecordLocation],
    limits: Limits,
) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    let mut open: HashSet<FrameId> = HashSet::new();
    // The same frames, the one opened first in front, with their raw bytes.
    let mut opened: VecDeque<(FrameId, u64)> = VecDeque::new();
    let mut open_bytes = 0;
    for place in places {
        if !open.contains(&place.frame_id()) {
            let located = locate(*place).ok_or_else(damaged)?;
            if is_large(*place, &located) {
                plan.steps.push(Step::Stream(*place));
                continue;
            }
            open.insert(place.frame_id());
            let raw = u64::from(located.frame.raw_length);
            while open_bytes + raw > limits.window
                && let Some((oldest, bytes)) = opened.pop_front()
            {
                open.remove(&oldest);
                open_bytes -= bytes;
                plan.steps.push(Step::Close(oldest));
            }
            opened.push_back((place.frame_id(), raw));
            open_bytes += raw;
            plan.steps.push(Step::Open(place.frame_id()));

            let start = located.frame.offset;
            let end = start.saturating_add(located.frame.stored_length.into());
            match plan.reads.last_mut() {
                Some(last)
                    if last.pack == located.pack
                        && last.range.end == start
                        && end.saturating_sub(last.range.start) <= limits.read =>
                {
                    last.range.end = end;
                    last.frames.push((place.frame_id(), located));
                }
                _ => plan.reads.push(Read {
                    pack: located.pack,
                    range: start..end,
                    frames: vec![(place.frame_id(), located)],
                }),
            }
        }
        plan.steps.push(Step::Emit(*place));
    }
    Ok(plan)
}

/// Whether a frame is opened piece by piece: it is large, and the record at this place is all that it has.
fn is_large(place: RecordLocation, located: &PackFrame) -> bool {
    let raw_length = located.frame.raw_length;
    raw_length > LARGE && (place.start, place.length) == (0, raw_length)
}

/// How many ranged reads it takes to hand out the records at `places` in their order, and how many bytes those read.
///
/// # Errors
/// When there is no frame at a place.
pub fn reads(
    locate: impl Fn(RecordLocation) -> Option<PackFrame>,
    places: &[RecordLocation],
) -> Result<(u64, u64), StoreError> {
    let plan = plan(&locate, places, Limits::USUAL)?;
    let planned = plan.reads.iter().map(|read| (1, read.range.end.saturating_sub(read.range.start)));
    let streamed = plan.steps.iter().filter_map(|step| match step {
        Step::Stream(place) => locate(*place).map(|located| u64::from(located.frame.stored_length)),
        _ => None,
    });
    let all = planned.chain(streamed.map(|stored| (stored.div_ceil(ReadAhead::BYTES), stored)));
    Ok(all.fold((0, 0), |(reads, bytes), (more_reads, more_bytes)| (reads + more_reads, bytes + more_bytes)))
}

/// A frame as it came from S3.
struct Fetched {
    position: FrameId,
    located: PackFrame,
    stored: Bytes,
    /// The kibibytes that its read takes of those that may be read ahead.
    _permit: Arc<OwnedSemaphorePermit>,
}

/// A part of a record.
#[derive(Debug)]
pub struct Piece {
    /// Its bytes: 128 KiB at most, unless it is all of the record, which then has 4 MiB at most.
    pub bytes: Bytes,
    /// Whether the record ends with it.
    pub is_last: bool,
}

type Locate = Box<dyn Fn(RecordLocation) -> Option<PackFrame> + Send + Sync>;
type Reads = std::pin::Pin<Box<dyn Stream<Item = Result<Vec<Fetched>, StoreError>> + Send>>;

/// Hands out records in the order that was asked for.
pub struct RecordReader {
    store: Arc<Store>,
    repo: RepoId,
    locate: Locate,
    /// Whether its client was seen to be slow.
    is_slow: bool,
    /// None while all that can be read again is let go of.
    fetched: Option<Reads>,
    waiting: VecDeque<Fetched>,
    steps: std::vec::IntoIter<Step>,
    open: HashMap<FrameId, Bytes>,
    large: Option<LargeFrame>,
}

/// A frame that is read and opened piece by piece.
struct LargeFrame {
    opening: OpeningFrame,
    stored: ReadAhead,
    /// Raw bytes that were not handed out yet.
    left: u64,
}

impl Store {
    /// Begins to read the records at places of a view.
    ///
    /// # Errors
    /// When a table cannot be read, or there is no frame at a place.
    pub async fn read_places(
        self: &Arc<Self>,
        repo: &RepoId,
        view: &View,
        places: &[RecordLocation],
    ) -> Result<RecordReader, StoreError> {
        let frames = view.frames(places.iter().copied()).await?;
        self.read_records(repo, move |place| frames.of(place), places)
    }

    /// Begins to read the records at `places`, whose frames `locate` knows.
    ///
    /// # Errors
    /// When there is no frame at a place.
    pub fn read_records(
        self: &Arc<Self>,
        repo: &RepoId,
        locate: impl Fn(RecordLocation) -> Option<PackFrame> + Send + Sync + 'static,
        places: &[RecordLocation],
    ) -> Result<RecordReader, StoreError> {
        let mut reader = RecordReader {
            store: Arc::clone(self),
            repo: repo.clone(),
            locate: Box::new(locate),
            is_slow: false,
            fetched: None,
            waiting: VecDeque::new(),
            steps: Vec::new().into_iter(),
            open: HashMap::new(),
            large: None,
        };
        reader.begin(places)?;
        Ok(reader)
    }

    /// Makes these reads in order, ahead of their use.
    fn fetch(self: &Arc<Self>, repo: &RepoId, reads: Vec<Read>, limits: Limits) -> Reads {
        let permits = Arc::new(Semaphore::new(limits.ahead as usize));
        let (store, repo) = (Arc::clone(self), repo.clone());
        let fetched = stream::iter(reads)
            // Permits are taken in the order of the reads, so the read that is needed next is never the one without.
            .then(move |read| {
                let permits = Arc::clone(&permits);
                async move {
                    let kibibytes = (read.range.end.saturating_sub(read.range.start)).div_ceil(1024);
                    let kibibytes = u32::try_from(kibibytes).unwrap_or(u32::MAX).clamp(1, limits.ahead);
                    let permit = permits.acquire_many_owned(kibibytes).await.map_err(StoreError::fault)?;
                    Ok::<_, StoreError>((read, Arc::new(permit)))
                }
            })
            .map_ok(move |(read, permit)| {
                let (store, repo) = (Arc::clone(&store), repo.clone());
                // A task of its own, so that it goes on while the frames before it are opened and sent.
                let read = span::spawn(async move {
                    let mut bytes = store.get_pack_range(&repo, read.pack, read.range).await?;
                    let frames = read.frames.into_iter().map(|(position, located)| {
                        let length = (located.frame.stored_length as usize).min(bytes.len());
                        Fetched { position, located, stored: bytes.split_to(length), _permit: Arc::clone(&permit) }
                    });
                    Ok::<_, StoreError>(frames.collect::<Vec<_>>())
                });
                async move { read.await.map_err(StoreError::fault)? }
            })
            .try_buffered(limits.reads);
        Box::pin(fetched)
    }
}

impl RecordReader {
    fn begin(&mut self, places: &[RecordLocation]) -> Result<(), StoreError> {
        let limits = if self.is_slow { Limits::SLOW } else { Limits::USUAL };
        let Plan { reads, steps } = plan(&self.locate, places, limits)?;
        self.fetched = Some(self.store.fetch(&self.repo, reads, limits));
        self.steps = steps.into_iter();
        Ok(())
    }

    /// The next record as a whole, or none after the last.
    ///
    /// # Errors
    /// When a frame cannot be read or is damaged. There is no next record then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut whole = Vec::new();
        while let Some(Piece { bytes, is_last }) = self.piece().await? {
            if is_last && whole.is_empty() {
                return Ok(Some(bytes));
            }
            whole.extend_from_slice(&bytes);
            if is_last {
                return Ok(Some(whole.into()));
            }
        }
        Ok(None)
    }

    /// The next piece of a record, or none after the last piece of the last.
    ///
    /// # Errors
    /// As [`Self::next`]. The last piece of a record only comes if all of it is as it was written.
    pub async fn piece(&mut self) -> Result<Option<Piece>, StoreError> {
        if let Some(large) = &mut self.large {
            let bytes = large.next().await?;
            let is_last = large.left == 0;
            if is_last {
                self.large = None;
            }
            return Ok(Some(Piece { bytes, is_last }));
        }
        if self.fetched.is_none() {
            let left = self.steps.as_slice().iter().filter_map(|step| match step {
                Step::Emit(place) | Step::Stream(place) => Some(*place),
                Step::Open(_) | Step::Close(_) => None,
            });
            let left: Vec<RecordLocation> = left.collect();
            self.begin(&left)?;
        }
        while let Some(step) = self.steps.next() {
            match step {
                Step::Close(frame) => {
                    self.open.remove(&frame);
                }
                Step::Open(frame) => self.open_frame(frame).await?,
                Step::Emit(place) => {
                    let frame = self.open.get(&place.frame_id()).ok_or_else(damaged)?;
                    let (start, length) = (place.start as usize, place.length as usize);
                    let end = start.checked_add(length).filter(|end| *end <= frame.len()).ok_or_else(damaged)?;
                    return Ok(Some(Piece { bytes: frame.slice(start..end), is_last: true }));
                }
                Step::Stream(place) => {
                    let located = (self.locate)(place).ok_or_else(damaged)?;
                    let mut large = LargeFrame::begin(&self.store, &self.repo, located)?;
                    let bytes = large.next().await?;
                    let is_last = large.left == 0;
                    self.large = (!is_last).then_some(large);
                    return Ok(Some(Piece { bytes, is_last }));
                }
            }
        }
        Ok(None)
    }

    async fn open_frame(&mut self, expected: FrameId) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            let fetched = self.fetched.as_mut().ok_or_else(damaged)?;
            self.waiting = fetched.next().await.ok_or_else(damaged)??.into();
        }
        let next = self.waiting.pop_front().filter(|fetched| fetched.position == expected);
        let Fetched { located, stored, .. } = next.ok_or_else(damaged)?;
        self.open.insert(expected, located.frame.open(located.pack, located.number, &stored)?);
        Ok(())
    }
}

impl LetGo for RecordReader {
    /// From then on it reads less ahead.
    fn let_go(&mut self) -> u64 {
        if let Some(large) = &mut self.large {
            large.stored.let_go();
        }
        // What it holds after that is little, and would be read again for each chunk that the client takes.
        if !self.is_slow {
            self.is_slow = true;
            self.fetched = None;
            self.waiting.clear();
            self.open.clear();
        }
        Limits::SLOW.window + Limits::SLOW.read + 2 * ReadAhead::BYTES
    }
}

impl LargeFrame {
    fn begin(store: &Arc<Store>, repo: &RepoId, located: PackFrame) -> Result<Self, StoreError> {
        let PackFrame { pack, number, frame } = located;
        let range = frame.offset..frame.offset.saturating_add(frame.stored_length.into());
        Ok(Self {
            opening: OpeningFrame::new(pack, number, frame)?,
            stored: ReadAhead::begin(store, packs::key(repo, pack), range),
            left: frame.raw_length.into(),
        })
    }

    /// The next bytes of its record.
    async fn next(&mut self) -> Result<Bytes, StoreError> {
        loop {
            if let Some(bytes) = compute(|| self.opening.piece())? {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                return Ok(bytes);
            }
            let stored = self.stored.next().await?.ok_or_else(damaged)?;
            compute(|| self.opening.take(stored))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::pack::{Frame, Kind};
    use proptest::prelude::*;

    /// Frames side by side in a few packs, of sizes on both sides of every limit.
    fn frames() -> impl Strategy<Value = Vec<PackFrame>> {
        let frame = (0_u64..3, prop_oneof![1_u32..100_000, 1_000_000_u32..40_000_000], 1_u32..10);
        prop::collection::vec(frame, 1..30).prop_map(|frames| {
            let mut ends = [0_u64; 3];
            let frames = frames.into_iter().enumerate().map(|(number, (pack, raw_length, ratio))| {
                let (offset, stored_length) = (ends[pack as usize], raw_length.div_ceil(ratio));
                ends[pack as usize] += u64::from(stored_length);
                let frame = Frame { kind: Kind::Objects, offset, stored_length, raw_length, checksum: 0 };
                PackFrame { pack: PackId::from_parts(pack, 0), number, frame }
            });
            frames.collect()
        })
    }

    proptest! {
        #[test]
        fn every_record_is_handed_out_from_an_open_frame_and_little_is_open_at_a_time(
            frames in frames(),
            order in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.3)), 0..200),
            is_slow in any::<bool>(),
        ) {
            let limits = if is_slow { Limits::SLOW } else { Limits::USUAL };
            let places: Vec<RecordLocation> = order
                .iter()
                .enumerate()
                .map(|(start, (index, is_all))| {
                    let frame = index.index(frames.len());
                    let all = frames[frame].frame.raw_length;
                    let (start, length) = if *is_all { (0, all) } else { (start as u32, 1) };
                    RecordLocation { table: 0, frame: frame as u32, start, length }
                })
                .collect();
            let plan = plan(|place| frames.get(place.frame as usize).copied(), &places, limits).unwrap();

            let mut read = plan.reads.iter().flat_map(|read| {
                let stored: u64 = read.frames.iter().map(|(_, located)| u64::from(located.frame.stored_length)).sum();
                assert_eq!(read.range.end - read.range.start, stored, "a read has its frames and nothing else");
                assert!(stored <= limits.read || read.frames.len() == 1);
                read.frames.iter().map(|(position, _)| *position)
            });
            let mut open = HashSet::new();
            let mut emitted = Vec::new();
            for step in &plan.steps {
                match step {
                    Step::Open(frame) => {
                        prop_assert_eq!(read.next(), Some(*frame), "frames are opened in the order of the reads");
                        prop_assert!(open.insert(*frame));
                    }
                    Step::Close(frame) => prop_assert!(open.remove(frame)),
                    Step::Emit(place) => {
                        prop_assert!(open.contains(&place.frame_id()));
                        emitted.push(*place);
                    }
                    Step::Stream(place) => {
                        let raw = frames[place.frame as usize].frame.raw_length;
                        prop_assert!(raw > LARGE && (place.start, place.length) == (0, raw));
                        emitted.push(*place);
                    }
                }
                let bytes: u64 = open.iter().map(|(_, frame)| u64::from(frames[*frame as usize].frame.raw_length)).sum();
                prop_assert!(bytes <= limits.window || open.len() == 1, "{} bytes in {} frames", bytes, open.len());
            }
            prop_assert_eq!(read.next(), None);
            prop_assert_eq!(emitted, places);
        }
    }

    #[test]
    fn records_in_the_order_of_their_frames_are_read_once_and_neighbours_together() {
        let frame = |number: u32| Frame {
            kind: Kind::Objects,
            offset: u64::from(number) * 1_000,
            stored_length: 1_000,
            raw_length: 2_000_000,
            checksum: 0,
        };
        let frames: Vec<PackFrame> = (0..3_000)
            .map(|number| PackFrame { pack: PackId::nil(), number: number as usize, frame: frame(number) })
            .collect();
        let places: Vec<RecordLocation> = (0..3_000)
            .flat_map(|frame| [0, 1].map(|start| RecordLocation { table: 0, frame, start, length: 1 }))
            .collect();
        let plan = plan(|place| frames.get(place.frame as usize).copied(), &places, Limits::USUAL).unwrap();
        assert_eq!(plan.reads.len(), 2, "3 MB that lie side by side");
        assert_eq!(plan.reads.iter().map(|read| read.frames.len()).sum::<usize>(), 3_000);
    }
}
