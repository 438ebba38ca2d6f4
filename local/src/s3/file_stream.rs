//! A part of a file as a body, read while it is sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use s3s::dto::StreamingBlob;

/// How many bytes are read at a time.
const CHUNK: usize = 256 * 1024;

/// The bytes in `range` of `file`, read as they are asked for.
pub(super) fn stream(file: File, range: Range<u64>) -> StreamingBlob {
    StreamingBlob::wrap(try_unfold(Unread { file, range }, |unread| async move {
        let read = tokio::task::spawn_blocking(move || unread.chunk()).await;
        read.map_err(io::Error::other)
            .flatten()
            // The head of the answer is gone by now; all that is left to do is to break it off, which hyper does.
            .inspect_err(|error| tracing::error!(%error, "embedded S3 failed to read an object to its end"))
    }))
}

/// The part of a file that is still to be sent.
struct Unread {
    file: File,
    range: Range<u64>,
}

impl Unread {
    /// The first bytes of the part, and what remains; `None` if nothing is left.
    fn chunk(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let left = self.range.end.saturating_sub(self.range.start);
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        if length == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; length];
        self.file.seek(SeekFrom::Start(self.range.start))?;
        self.file.read_exact(&mut chunk)?;
        self.range.start = self.range.start.saturating_add(length as u64);
        Ok(Some((chunk.into(), self)))
    }
}
