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

use super::index::{Place, RepoIndex};
use super::{Error, Store};
use crate::id::RepoId;
use crate::pack::PackId;

/// Raw bytes of opened frames that are kept for records to come.
const WINDOW_BYTES: u64 = 24 << 20;
/// Stored bytes of neighbouring frames that one read gets at most; a larger frame is read alone.
const READ_BYTES: u64 = 2 << 20;
/// Reads under way or waiting for their turn.
const READS_AHEAD: usize = 8;
/// Stored bytes of those reads together; a larger read goes alone.
const AHEAD_KIBIBYTES: u32 = 16 << 10;

/// One ranged read, which brings frames that lie side by side in a pack.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    pack: PackId,
    range: Range<u64>,
    frames: Vec<u32>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Step {
    /// Open the next frame that a read brought.
    Open(u32),
    /// Forget an opened frame.
    Close(u32),
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
fn plan(index: &RepoIndex, places: &[Place]) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    let mut open: HashSet<u32> = HashSet::new();
    // The same frames, the one opened first in front, with their raw bytes.
    let mut opened: VecDeque<(u32, u64)> = VecDeque::new();
    let mut open_bytes = 0;
    for place in places {
        if open.insert(place.frame) {
            let located = index.frame(*place).ok_or_else(damaged)?;
            let raw = u64::from(located.frame.raw_length);
            while open_bytes + raw > WINDOW_BYTES
                && let Some((oldest, bytes)) = opened.pop_front()
            {
                open.remove(&oldest);
                open_bytes -= bytes;
                plan.steps.push(Step::Close(oldest));
            }
            opened.push_back((place.frame, raw));
            open_bytes += raw;
            plan.steps.push(Step::Open(place.frame));

            let start = located.frame.offset;
            let end = start.saturating_add(located.frame.stored_length.into());
            match plan.reads.last_mut() {
                Some(last)
                    if last.pack == located.pack
                        && last.range.end == start
                        && end.saturating_sub(last.range.start) <= READ_BYTES =>
                {
                    last.range.end = end;
                    last.frames.push(place.frame);
                }
                _ => plan.reads.push(Read { pack: located.pack, range: start..end, frames: vec![place.frame] }),
            }
        }
        plan.steps.push(Step::Emit(*place));
    }
    Ok(plan)
}

/// A frame as it came from S3, and the room that it takes among the reads ahead.
type Fetched = (u32, Bytes, Arc<OwnedSemaphorePermit>);

/// Hands out records in the order that was asked for.
pub struct RecordReader {
    index: Arc<RepoIndex>,
    fetched: std::pin::Pin<Box<dyn Stream<Item = Result<Vec<Fetched>, Error>> + Send>>,
    waiting: VecDeque<Fetched>,
    steps: std::vec::IntoIter<Step>,
    open: HashMap<u32, Bytes>,
}

impl Store {
    /// Begins to read the records at `places`.
    ///
    /// # Errors
    /// When the index does not know a place.
    pub fn read_records(
        self: &Arc<Self>,
        repo: &RepoId,
        index: &Arc<RepoIndex>,
        places: &[Place],
    ) -> Result<RecordReader, Error> {
        let Plan { reads, steps } = plan(index, places)?;
        let room = Arc::new(Semaphore::new(AHEAD_KIBIBYTES as usize));
        let context = (Arc::clone(self), repo.clone(), Arc::clone(index));
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
                let (store, repo, index) = (Arc::clone(&context.0), context.1.clone(), Arc::clone(&context.2));
                // A task of its own, so that it goes on while the frames before it are opened and sent.
                let read = tokio::spawn(async move {
                    let bytes = store.get_pack_range(&repo, read.pack, read.range).await?;
                    let mut start = 0;
                    read.frames
                        .into_iter()
                        .map(|number| {
                            let place = Place { frame: number, start: 0, length: 0 };
                            let length = index.frame(place).ok_or_else(damaged)?.frame.stored_length as usize;
                            let end = (start + length).min(bytes.len());
                            let frame = bytes.slice(start..end);
                            start = end;
                            Ok((number, frame, Arc::clone(&permit)))
                        })
                        .collect::<Result<Vec<_>, Error>>()
                });
                async move { read.await.map_err(Error::fault)? }
            })
            .try_buffered(READS_AHEAD);
        Ok(RecordReader {
            index: Arc::clone(index),
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
                    let frame = self.open.get(&place.frame).ok_or_else(damaged)?;
                    let (start, length) = (place.start as usize, place.length as usize);
                    let end = start.checked_add(length).filter(|end| *end <= frame.len()).ok_or_else(damaged)?;
                    return Ok(Some(frame.slice(start..end)));
                }
            }
        }
        Ok(None)
    }

    async fn open_frame(&mut self, expected: u32) -> Result<(), Error> {
        if self.waiting.is_empty() {
            self.waiting = self.fetched.next().await.ok_or_else(damaged)??.into();
        }
        let (number, stored, _room) =
            self.waiting.pop_front().filter(|(number, ..)| *number == expected).ok_or_else(damaged)?;
        let located = *self.index.frame(Place { frame: number, start: 0, length: 0 }).ok_or_else(damaged)?;
        self.open.insert(number, located.frame.open(located.pack, located.number, &stored)?);
        Ok(())
    }
}
