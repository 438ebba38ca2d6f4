//! The frames of a pack, read one after the other, whether or not they are whole.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use common::id::RepoId;
use common::pack::{Frame, Kind, PackId};
use store::bucket::packs::key;
use store::compute;
use store::{Store, StoreError};

/// Stored bytes of neighbouring frames that one read gets; a larger frame is read alone.
const READ_BYTES: u64 = 4 << 20;
/// Reads under way.
const PARALLEL_READS: usize = 4;

/// A frame that was read.
#[derive(Debug)]
pub struct Read {
    /// Its number in its pack.
    pub number: usize,
    /// The bytes of its records, or what is wrong with it.
    pub raw: Result<Bytes, String>,
}

/// Neighbouring frames.
#[derive(Debug, Clone)]
struct Run {
    frames: Vec<(usize, Frame)>,
    start: u64,
    end: u64,
}

fn runs(frames: &[Frame], kinds: &[Kind]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, frame) in frames.iter().enumerate().filter(|(_, frame)| kinds.contains(&frame.kind)) {
        let end = frame.offset.saturating_add(frame.stored_length.into());
        match runs.last_mut() {
            Some(last) if last.end == frame.offset && end.saturating_sub(last.start) <= READ_BYTES => {
                last.end = end;
                last.frames.push((number, *frame));
            }
            _ => runs.push(Run { frames: vec![(number, *frame)], start: frame.offset, end }),
        }
    }
    runs
}

/// Reads and opens the frames of some kinds, in their order. The stream's own error is that of a store which does not
/// answer; a frame that is not whole says so itself.
pub fn read<'f>(
    store: &'f Arc<Store>,
    repo: &'f RepoId,
    pack: PackId,
    frames: &[Frame],
    kinds: &[Kind],
) -> impl Stream<Item = Result<Vec<Read>, StoreError>> + 'f {
    let fetch = move |run: Run| async move {
        let stored = store.get_range(&key(repo, pack), None, run.start..run.end).await;
        (run, stored)
    };
    stream::iter(runs(frames, kinds)).map(fetch).buffered(PARALLEL_READS).map(move |(run, stored)| {
        let mut stored = match stored {
            Ok(stored) => stored,
            Err(StoreError::Damaged(reason)) => {
                let read = |(number, _)| Read { number, raw: Err(reason.clone()) };
                return Ok(run.frames.into_iter().map(read).collect());
            }
            Err(error) => return Err(error),
        };
        let open = |(number, frame): (usize, Frame)| {
            let length = (frame.stored_length as usize).min(stored.len());
            let bytes = stored.split_to(length);
            let raw = compute(|| frame.open(pack, number, &bytes)).map_err(|error| reason(&error));
            Read { number, raw }
        };
        Ok(run.frames.into_iter().map(open).collect())
    })
}

/// What is wrong with a part of a pack, without naming the two.
pub fn reason(error: &common::pack::PackError) -> String {
    match error {
        common::pack::PackError::Checksum { .. } => "it does not have its checksum".to_owned(),
        common::pack::PackError::Malformed { reason, .. } => reason.clone(),
        common::pack::PackError::Write(error) => error.to_string(),
    }
}
