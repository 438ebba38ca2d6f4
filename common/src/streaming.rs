//! An answer that is made while it is sent, in a task of its own: bounded in memory, whole or cut off.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::observe;
use crate::service::{AnswerBody, CutOff, log_fault};
use crate::store::Store;
use crate::wire::Error;

/// Bytes that go out at once, as far as the maker of an answer has a choice.
pub const CHUNK: usize = 128 << 10;

/// Chunks that wait for a client which reads slowly; then nothing more is read from S3.
const CHUNKS_WAITING: usize = 4;
/// How long a client may take for one chunk.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the maker of an answer hands to its sender.
enum Piece {
    Chunk(Bytes),
    /// The answer is complete. Without this, it is cut off.
    End,
}

/// Where the maker of an answer puts what it has made.
pub struct Sender(mpsc::Sender<Result<Piece, Error>>);

impl Sender {
    /// Sends bytes as soon as the client takes them.
    ///
    /// # Errors
    /// When the client is gone, or reads no more. The answer ends with this.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Error> {
        self.put(Piece::Chunk(bytes)).await
    }

    async fn put(&self, piece: Piece) -> Result<(), Error> {
        match tokio::time::timeout(CLIENT_TIMEOUT, self.0.send(Ok(piece))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::internal("the client went away")),
            Err(_) => Err(Error::internal("the client stopped reading")),
        }
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
    let (sender, mut receiver) = mpsc::channel(CHUNKS_WAITING);
    let turn = store.reading_turn().await?;
    let end = Sender(sender.clone());
    let making = make(Sender(sender));
    observe::spawn(async move {
        let _turn = turn;
        let made = match making.await {
            Ok(()) => end.put(Piece::End).await,
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            // The client may have gone away, and then nobody is told.
            let _ = end.0.send(Err(error)).await;
        }
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
