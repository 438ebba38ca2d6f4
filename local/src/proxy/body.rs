//! The bodies of requests: received whole, the small ones into memory and the large ones into temporary files.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use client::http::{Body as Outgoing, full, innermost};
use futures_util::{TryStreamExt, stream};
use http::HeaderMap;
use http::header::EXPECT;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use indicatif::ProgressBar;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Limits;
use super::refusal::Refusal;

/// Bytes of a file that are read at once.
const PIECE: usize = 256 << 10;
/// Bytes of a body over the limit that are read and thrown away, because a client that is still sending does not
/// listen. Beyond, the connection is closed on it.
const MAX_DISCARDED: usize = 1 << 30;

/// The body of a request, all of it.
pub(super) enum Body {
    /// In memory.
    Small(Bytes),
    /// In a file.
    Large(Spool),
}

/// A body in a file that has no name, so that it is gone with the process in every case.
pub(super) struct Spool {
    file: File,
    bytes: u64,
}

/// Where bodies are received.
pub(super) struct Receiver {
    limits: Limits,
    permit: Arc<Semaphore>,
}

/// A body, and its place among those that are held at the same time.
pub(super) struct Received {
    pub(super) body: Body,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Receiver {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, permit: Arc::new(Semaphore::new(limits.bodies)) }
    }

    /// Waits until no body is held.
    pub(super) async fn all_done(&self) {
        let all = u32::try_from(self.limits.bodies).unwrap_or(u32::MAX);
        // It is never closed.
        drop(self.permit.acquire_many(all).await);
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// When the client breaks off or pauses for too long, when it sends too much, or when there is no room on the disk.
    pub(super) async fn receive(&self, headers: &HeaderMap, body: Incoming) -> Result<Received, Refusal> {
        if body.is_end_stream() {
            return Ok(Received { body: Body::Small(Bytes::new()), permit: None });
        }
        // A client that asked whether it may send sends nothing when it is refused before its body is looked at.
        let sends_at_once = !headers.contains_key(EXPECT);
        let mut arriving = Arriving { body, limits: self.limits };
        if arriving.body.size_hint().lower() > self.limits.large {
            if sends_at_once {
                arriving.discard().await;
            }
            return Err(Refusal::TooLarge(self.limits.large));
        }
        // It is never closed.
        let permit = Arc::clone(&self.permit).acquire_owned().await.ok();
        Ok(Received { body: arriving.read().await?, permit })
    }
}

struct Arriving {
    body: Incoming,
    limits: Limits,
}

impl Arriving {
    async fn read(&mut self) -> Result<Body, Refusal> {
        let not_kept = |error| Refusal::NotKept { error };
        let mut held = BytesMut::new();
        let mut spool: Option<Spool> = None;
        while let Some(bytes) = self.next().await? {
            let before = spool.as_ref().map_or(held.len() as u64, |spool| spool.bytes);
            if before + bytes.len() as u64 > self.limits.large {
                self.discard().await;
                return Err(Refusal::TooLarge(self.limits.large));
            }
            if spool.is_none() && held.len() + bytes.len() > self.limits.small {
                let mut begun = Spool::create().await.map_err(not_kept)?;
                begun.write(&held).await.map_err(not_kept)?;
                held = BytesMut::new();
                spool = Some(begun);
            }
            match &mut spool {
                Some(spool) => spool.write(&bytes).await.map_err(not_kept)?,
                None => held.extend_from_slice(&bytes),
            }
        }
        match spool {
            Some(spool) => Ok(Body::Large(spool.rewind().await.map_err(not_kept)?)),
            None => Ok(Body::Small(held.freeze())),
        }
    }

    /// The next bytes, or none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Ok(frame) = timeout(self.limits.client_pause, self.body.frame()).await else {
                let seconds = self.limits.client_pause.as_secs();
                return Err(Refusal::BrokenBody(format!("nothing came for {seconds} seconds")));
            };
            let frame = frame.transpose().map_err(|error| Refusal::BrokenBody(innermost(&error)))?;
            match frame.map(Frame::into_data) {
                None => return Ok(None),
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                // Trailers say nothing here.
                Some(Err(_)) => {}
            }
        }
    }

    /// Reads on to the end of an unwanted body, because a client that is still sending does not listen.
    async fn discard(&mut self) {
        let mut discarded = 0;
        while let Ok(Some(bytes)) = self.next().await {
            discarded += bytes.len();
            if discarded > MAX_DISCARDED {
                return;
            }
        }
    }
}

impl Body {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(spool) => spool.bytes,
        }
    }

    /// The same, to be sent once more.
    pub(super) async fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Small(bytes) => Self::Small(bytes.clone()),
            Self::Large(spool) => Self::Large(Spool { file: spool.file.try_clone().await?, bytes: spool.bytes }),
        })
    }

    /// As the body of a request, which counts in `sent` what is taken of it.
    pub(super) fn send(self, sent: ProgressBar) -> Outgoing {
        match self {
            Self::Small(bytes) => full(bytes),
            Self::Large(spool) => spool.send(sent),
        }
    }
}

impl Spool {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn create() -> io::Result<Self> {
        let file = spawn_blocking(tempfile::tempfile).await.map_err(io::Error::other)??;
        Ok(Self { file: File::from_std(file), bytes: 0 })
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    async fn rewind(mut self) -> io::Result<Self> {
        self.file.flush().await?;
        self.file.rewind().await?;
        Ok(self)
    }

    /// The file, at its beginning.
    pub(super) async fn into_file(self) -> std::fs::File {
        self.file.into_std().await
    }

    /// From its beginning, wherever another that reads the same file is.
    fn send(self, sent: ProgressBar) -> Outgoing {
        let begin = async move { Ok::<_, io::Error>((Arc::new(self.file.into_std().await), 0)) };
        let pieces = stream::once(begin).map_ok(move |begun| {
            stream::try_unfold((begun, sent.clone()), |((file, offset), sent)| async move {
                let piece = read_at(Arc::clone(&file), offset).await?;
                sent.inc(piece.len() as u64);
                let next = offset + piece.len() as u64;
                Ok((!piece.is_empty()).then_some((Frame::data(piece), ((file, next), sent))))
            })
        });
        StreamBody::new(pieces.try_flatten()).boxed_unsync()
    }
}

/// Some bytes of a file; none at its end.
async fn read_at(file: Arc<std::fs::File>, offset: u64) -> io::Result<Bytes> {
    let read = move || {
        let mut piece = vec![0; PIECE];
        let read = file.read_at(&mut piece, offset)?;
        piece.truncate(read);
        Ok(Bytes::from(piece))
    };
    spawn_blocking(read).await.map_err(io::Error::other)?
}
