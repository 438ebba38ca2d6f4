//! An answer that is made while it is sent, in a task of its own: bounded in memory, whole or cut off.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::observe;
use crate::service::{AnswerBody, CutOff, log_fault};
use crate::store::Store;
use crate::store::turn::ReadingTurn;
use crate::wire::Error;

/// Bytes that go out at once, as far as the maker of an answer has a choice.
pub const CHUNK: usize = 128 << 10;

/// Chunks that wait for a client which reads slowly; then nothing more is read from S3.
const CHUNKS_WAITING: usize = 4;
/// How long a client may take for one chunk.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that takes longer for one gives its turn at reading to others meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the maker of an answer hands to its sender.
enum Piece {
    Chunk(Bytes),
    /// The answer is complete. Without this, it is cut off.
    End,
}

/// Where the maker of an answer puts what it has made.
pub struct Sender {
    pieces: mpsc::Sender<Result<Piece, Error>>,
    turn: ReadingTurn,
}

impl Sender {
    /// Sends bytes as soon as the client takes them. While it does not, others may read from S3, and what this answer holds in
    /// memory waits.
    ///
    /// # Errors
    /// When the client is gone, or reads no more, or when too many others read as slowly. The answer ends with this.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.put(Piece::Chunk(bytes)).await
    }

    async fn put(&mut self, piece: Piece) -> Result<(), Error> {
        let gone = |_| Error::internal("the client went away");
        let room = match tokio::time::timeout(PATIENCE, self.pieces.reserve()).await {
            Ok(room) => room.map_err(gone)?,
            Err(_) => {
                let waiting = self.turn.pass_on()?;
                let room = tokio::time::timeout(CLIENT_TIMEOUT, self.pieces.reserve()).await;
                let room = room.map_err(|_| Error::internal("the client stopped reading"))?.map_err(gone)?;
                waiting.take_again().await?;
                room
            }
        };
        room.send(Ok(piece));
        Ok(())
    }
}

/// Begins an answer, when not too many others are being made. `route` is for the log.
///
/// # Errors
/// Whatever goes wrong before the first bytes are there: it can still be told with a status.
pub async fn stream<F>(store: &Store, route: &'static str, make: impl FnOnce(Sender) -> F) -> Result<AnswerBody, Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (pieces, mut receiver) = mpsc::channel(CHUNKS_WAITING);
    let turn = store.reading_turn().await?;
    let end = pieces.clone();
    let making = make(Sender { pieces, turn });
    observe::spawn(async move {
        // With the sender, the turn ends.
        let last = match making.await {
            Ok(()) => Ok(Piece::End),
            Err(error) => Err(error),
        };
        // The client may have gone away, and then nobody is told.
        let _ = tokio::time::timeout(CLIENT_TIMEOUT, end.send(last)).await;
    });
    let first = match receiver.recv().await {
        Some(piece) => piece?,
        None => return Err(Error::internal("the answer ended before it began")),
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
