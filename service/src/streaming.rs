//! An answer that is made while it is sent, in a task of its own: bounded in memory, whole or cut off.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::answer_body::{AnswerBody, CutOff};
use crate::logging::log_fault;
use common::wire::WireError;
use store::Store;
use store::read::permit::{LetGo, ReadPermit};
use store::span;

/// Bytes that go out at once, as far as the maker of an answer has a choice.
pub const CHUNK: usize = 128 << 10;

/// Chunks that wait for a client which reads slowly; then nothing more is read from S3.
const CHUNKS_WAITING: usize = 4;
/// Bytes of these chunks.
const WAITING_BYTES: u64 = (CHUNKS_WAITING * CHUNK) as u64;
/// How long a client may take for one chunk.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes longer for one gives its permit to read to others meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the maker of an answer hands to its sender.
enum Piece {
    Chunk(Bytes),
    /// The answer is complete. Without this, it is cut off.
    End,
}

/// Where the maker of an answer puts what it has made.
pub struct Sender {
    pieces: mpsc::Sender<Result<Piece, WireError>>,
    permit: ReadPermit,
}

impl Sender {
    /// Sends bytes as soon as the client takes them. While it does not, others may read from S3, and what this answer `holds`
    /// is let go of.
    ///
    /// # Errors
    /// When the client is gone, or reads no more, or when others wait for their clients and this one has waited longest. The
    /// answer ends with this.
    pub async fn send(&mut self, mut bytes: Bytes, holds: &mut impl LetGo) -> Result<(), WireError> {
        while !bytes.is_empty() {
            self.put(bytes.split_to(bytes.len().min(CHUNK)), holds).await?;
        }
        Ok(())
    }

    async fn put(&mut self, chunk: Bytes, holds: &mut impl LetGo) -> Result<(), WireError> {
        let gone = |_| WireError::internal("the client went away");
        let slot = match tokio::time::timeout(PATIENCE, self.pieces.reserve()).await {
            Ok(slot) => slot.map_err(gone)?,
            Err(_) => {
                let mut waiting = self.permit.pass_on(holds.let_go().saturating_add(WAITING_BYTES));
                let slot = tokio::select! {
                    slot = tokio::time::timeout(CLIENT_TIMEOUT, self.pieces.reserve()) => slot,
                    () = waiting.is_cut_off() => return Err(WireError::internal("too many clients read too slowly")),
                };
                let slot = slot.map_err(|_| WireError::internal("the client stopped reading"))?.map_err(gone)?;
                waiting.take_again().await?;
                slot
            }
        };
        slot.send(Ok(Piece::Chunk(chunk)));
        Ok(())
    }
}

/// An answer that was made once, with its bytes.
struct Made(u64);

impl LetGo for Made {
    fn let_go(&mut self) -> u64 {
        self.0
    }
}

/// Sends an answer that is all there, when not too many others are being made.
///
/// # Errors
/// As [`stream()`].
pub async fn whole(store: &Store, answer: Bytes) -> Result<AnswerBody, WireError> {
    let mut made = Made(answer.len() as u64);
    let make = |mut sender: Sender| async move { sender.send(answer, &mut made).await };
    stream(store, "a large answer", make).await
}

/// Begins an answer once it has a permit. `route` is for the log.
///
/// # Errors
/// Errors before the first bytes are there, which can still be a status.
pub async fn stream<F>(
    store: &Store,
    route: &'static str,
    make: impl FnOnce(Sender) -> F,
) -> Result<AnswerBody, WireError>
where
    F: Future<Output = Result<(), WireError>> + Send + 'static,
{
    let (pieces, mut receiver) = mpsc::channel(CHUNKS_WAITING);
    let permit = store.read_permit().await?;
    let end = pieces.clone();
    let making = make(Sender { pieces, permit });
    span::spawn(async move {
        // With the sender, the permit ends.
        let last = match making.await {
            Ok(()) => Ok(Piece::End),
            Err(error) => Err(error),
        };
        // The client may have gone away, and then there is no receiver.
        let _ = tokio::time::timeout(CLIENT_TIMEOUT, end.send(last)).await;
    });
    let first = match receiver.recv().await {
        Some(piece) => piece?,
        None => return Err(WireError::internal("the answer ended before it began")),
    };
    let rest = Some((Some(first), receiver));
    Ok(AnswerBody::streamed(stream::unfold(rest, move |state| async move {
        let (first, mut receiver) = state?;
        let piece = match first {
            Some(piece) => Some(Ok(piece)),
            None => receiver.recv().await,
        };
        match piece {
            Some(Ok(Piece::Chunk(bytes))) => Some((Ok(bytes), Some((None, receiver)))),
            Some(Ok(Piece::End)) => None,
            Some(Err(error)) => {
                log_fault(route, &error);
                Some((Err(CutOff), None))
            }
            None => Some((Err(CutOff), None)),
        }
    })))
}
