//! Turns at reading packs: not too many answers read at the same time, because each holds some of what it has read.
//!
//! Whoever waits for a client that reads slowly gives its turn to others, and takes one again before it reads on. It keeps what
//! it has read, so not too many may wait like this either: the next is cut off.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Error, Store};

/// Answers that read packs at the same time. Each holds some 20 MiB of them, or one large object.
const PARALLEL_READERS: usize = 32;
/// Answers that wait for clients which read slowly. Each holds as much.
const SLOW_READERS: usize = 64;
/// How long an answer may wait until others are done.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Who reads packs in this process.
#[derive(Clone)]
pub(super) struct Readers {
    reading: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// A turn at reading packs. It ends with this.
pub struct ReadingTurn {
    readers: Readers,
    turn: Option<OwnedSemaphorePermit>,
}

/// A turn that others have meanwhile.
#[must_use]
pub struct PassedOn<'t> {
    turn: &'t mut ReadingTurn,
    _slow: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { reading: Arc::new(Semaphore::new(PARALLEL_READERS)), slow: Arc::new(Semaphore::new(SLOW_READERS)) }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.reading).acquire_owned()).await;
        turn.map_err(|elapsed| Error::Unavailable(elapsed.into()))?.map_err(Error::fault)
    }
}

impl Store {
    /// Waits until not too many others read packs. The turn ends with what is returned.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the others take too long.
    pub async fn reading_turn(&self) -> Result<ReadingTurn, Error> {
        let readers = self.readers.clone();
        let turn = Some(readers.turn().await?);
        Ok(ReadingTurn { readers, turn })
    }
}

impl ReadingTurn {
    /// Lets others read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when too many have passed on theirs.
    pub fn pass_on(&mut self) -> Result<PassedOn<'_>, Error> {
        let slow = Arc::clone(&self.readers.slow).try_acquire_owned();
        let slow = slow.map_err(|_| Error::Unavailable("too many clients read too slowly".into()))?;
        self.turn = None;
        Ok(PassedOn { turn: self, _slow: slow })
    }
}

impl PassedOn<'_> {
    /// Waits for a turn again.
    ///
    /// # Errors
    /// As [`Store::reading_turn`].
    pub async fn take_again(self) -> Result<(), Error> {
        self.turn.turn = Some(self.turn.readers.turn().await?);
        Ok(())
    }
}
