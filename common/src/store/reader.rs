//! Streams records out of packs: in the order asked for, each frame read and opened once where the order allows,
//! and never more than a bounded number of bytes in memory.
//!
//! It works from a plan. `plan` walks the places in their order, with a window of opened frames in mind, and says
//! which frame has to be there before which record; neighbouring frames that are needed one after the other become one
//! ranged read. The reads of a plan are then made ahead of their use, in order, a few at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::view::{PackFrame, Place, View};
use super::{Error, Store};
use crate::id::RepoId;
use crate::observe;
use crate::pack::PackId;

/// Raw bytes of opened frames that are kept for records to come.
const WINDOW_BYTES: u64 = 12 << 20;
/// Stored bytes of neighbouring frames that one read gets at most; a larger frame is read alone.
const READ_BYTES: u64 = 2 << 20;
/// Reads under way or waiting for their turn.
const READS_AHEAD: usize = 32;
/// Stored bytes of those reads together; a larger read goes alone.
const AHEAD_KIBIBYTES: u32 = 8 << 10;

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
    /// Open the next frame that a read brought.
    Open(FrameId),
    /// Forget an opened frame.
    Close(FrameId),
    /// Hand out a record.
    Emit(Place),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    reads: Vec<Read>,
    steps: Vec<Step>,
}

fn damaged() -> Error {
    Error::Damaged("the index names a frame or a record that is not there".to_owned())
}

/// Plans how to hand out the records at `places` in their order.
fn plan(locate: impl Fn(Place) -> Option<PackFrame>, places: &[Place]) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    let mut open: HashSet<FrameId> = HashSet::new();
    // The same frames, the one opened first in front, with their raw bytes.
    let mut opened: VecDeque<(FrameId, u64)> = VecDeque::new();
    let mut open_bytes = 0;
    for place in places {
        if open.insert(place.frame_id()) {
            let located = locate(*place).ok_or_else(damaged)?;
            let raw = u64::from(located.frame.raw_length);
            while open_bytes + raw > WINDOW_BYTES
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
                        && end.saturating_sub(last.range.start) <= READ_BYTES =>
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

/// How many ranged reads it takes to hand out the records at `places` in their order, and how many bytes those read.
///
/// # Errors
/// When there is no frame at a place.
pub fn reads(locate: impl Fn(Place) -> Option<PackFrame>, places: &[Place]) -> Result<(u64, u64), Error> {
    let plan = plan(locate, places)?;
    let bytes = plan.reads.iter().map(|read| read.range.end.saturating_sub(read.range.start)).sum();
    Ok((plan.reads.len() as u64, bytes))
}

/// A frame as it came from S3.
struct Fetched {
    position: FrameId,
    located: PackFrame,
    stored: Bytes,
    /// The room that its read takes among the reads ahead.
    _room: Arc<OwnedSemaphorePermit>,
}

/// Hands out records in the order that was asked for.
pub struct RecordReader {
    fetched: std::pin::Pin<Box<dyn Stream<Item = Result<Vec<Fetched>, Error>> + Send>>,
    waiting: VecDeque<Fetched>,
    steps: std::vec::IntoIter<Step>,
    open: HashMap<FrameId, Bytes>,
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
        places: &[Place],
    ) -> Result<RecordReader, Error> {
        let frames = view.frames(places.iter().copied()).await?;
        self.read_records(repo, |place| frames.of(place), places)
    }

    /// Begins to read the records at `places`, whose frames `locate` knows.
    ///
    /// # Errors
    /// When there is no frame at a place.
    pub fn read_records(
        self: &Arc<Self>,
        repo: &RepoId,
        locate: impl Fn(Place) -> Option<PackFrame>,
        places: &[Place],
    ) -> Result<RecordReader, Error> {
        let Plan { reads, steps } = plan(locate, places)?;
        let room = Arc::new(Semaphore::new(AHEAD_KIBIBYTES as usize));
        let (store, repo) = (Arc::clone(self), repo.clone());
        let fetched = stream::iter(reads)
            // The room is taken in the order of the reads, so the read that is needed next is never the one without.
            .then(move |read| {
                let room = Arc::clone(&room);
                async move {
                    let kibibytes = (read.range.end.saturating_sub(read.range.start)).div_ceil(1024);
                    let kibibytes = u32::try_from(kibibytes).unwrap_or(u32::MAX).clamp(1, AHEAD_KIBIBYTES);
                    let permit = room.acquire_many_owned(kibibytes).await.map_err(Error::fault)?;
                    Ok::<_, Error>((read, Arc::new(permit)))
                }
            })
            .map_ok(move |(read, permit)| {
                let (store, repo) = (Arc::clone(&store), repo.clone());
                // A task of its own, so that it goes on while the frames before it are opened and sent.
                let read = observe::spawn(async move {
                    let mut bytes = store.get_pack_range(&repo, read.pack, read.range).await?;
                    let frames = read.frames.into_iter().map(|(position, located)| {
                        let length = (located.frame.stored_length as usize).min(bytes.len());
                        Fetched { position, located, stored: bytes.split_to(length), _room: Arc::clone(&permit) }
                    });
                    Ok::<_, Error>(frames.collect::<Vec<_>>())
                });
                async move { read.await.map_err(Error::fault)? }
            })
            .try_buffered(READS_AHEAD);
        Ok(RecordReader {
            fetched: Box::pin(fetched),
            waiting: VecDeque::new(),
            steps: steps.into_iter(),
            open: HashMap::new(),
        })
    }
}

impl RecordReader {
    /// The next record, or none after the last.
    ///
    /// # Errors
    /// When a frame cannot be read or is damaged. There is no next record then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
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
                    return Ok(Some(frame.slice(start..end)));
                }
            }
        }
        Ok(None)
    }

    async fn open_frame(&mut self, expected: FrameId) -> Result<(), Error> {
        if self.waiting.is_empty() {
            self.waiting = self.fetched.next().await.ok_or_else(damaged)??.into();
        }
        let next = self.waiting.pop_front().filter(|fetched| fetched.position == expected);
        let Fetched { located, stored, .. } = next.ok_or_else(damaged)?;
        self.open.insert(expected, located.frame.open(located.pack, located.number, &stored)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Frame, Kind};
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
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let places: Vec<Place> = order
                .iter()
                .enumerate()
                .map(|(start, index)| Place {
                    table: 0,
                    frame: index.index(frames.len()) as u32,
                    start: start as u32,
                    length: 1,
                })
                .collect();
            let plan = plan(|place| frames.get(place.frame as usize).copied(), &places).unwrap();

            let mut read = plan.reads.iter().flat_map(|read| {
                let stored: u64 = read.frames.iter().map(|(_, located)| u64::from(located.frame.stored_length)).sum();
                assert_eq!(read.range.end - read.range.start, stored, "a read has its frames and nothing else");
                assert!(stored <= READ_BYTES || read.frames.len() == 1);
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
                }
                let bytes: u64 = open.iter().map(|(_, frame)| u64::from(frames[*frame as usize].frame.raw_length)).sum();
                prop_assert!(bytes <= WINDOW_BYTES || open.len() == 1, "{} bytes in {} frames", bytes, open.len());
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
        let places: Vec<Place> =
            (0..3_000).flat_map(|frame| [0, 1].map(|start| Place { table: 0, frame, start, length: 1 })).collect();
        let plan = plan(|place| frames.get(place.frame as usize).copied(), &places).unwrap();
        assert_eq!(plan.reads.len(), 2, "3 MB that lie side by side");
        assert_eq!(plan.reads.iter().map(|read| read.frames.len()).sum::<usize>(), 3_000);
    }
}
