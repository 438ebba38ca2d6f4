//! Permits to read packs. Few answers read at the same time, because each holds some of what it has read. A user, or an
//! address without a token, has no more than a share of the permits, so that one user's clients do not keep others
//! waiting.
//!
//! An answer whose client reads slowly gives its permit to another, and takes one again before it reads on. Meanwhile
//! it holds little. If such answers hold too much together, those that have waited longest are cut off. So a client
//! that pauses for a moment outlasts any number of clients that hardly read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::span;
use crate::turns::{Turn, Turns};
use crate::{Error, Store};

/// Answers that read packs at the same time. Each holds some 20 MiB of them.
const PARALLEL_READERS: usize = 32;
/// How many one user or address may have.
const OF_ONE: usize = 24;
/// Bytes that answers hold which wait for clients that read slowly.
const SLOW_BYTES: u64 = 256 << 20;
/// How long an answer may wait until others are done.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// What reads packs in this process.
#[derive(Clone)]
pub(crate) struct Readers {
    reading: Arc<Turns<String>>,
    slow: Arc<Mutex<Slow>>,
}

/// Answers that wait for their clients.
#[derive(Default)]
struct Slow {
    /// The number of the next.
    next: u64,
    /// The bytes that each holds; dropping the sender cuts it off.
    waiting: BTreeMap<u64, (u64, oneshot::Sender<()>)>,
    /// Bytes of all of them.
    held: u64,
}

impl Slow {
    fn add(&mut self, bytes: u64, cut_off: oneshot::Sender<()>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, (bytes, cut_off));
        self.held = self.held.saturating_add(bytes);
        while self.held > SLOW_BYTES
            && let Some(longest) = self.waiting.first_key_value().map(|(longest, _)| *longest)
        {
            self.remove(longest);
        }
        number
    }

    fn remove(&mut self, number: u64) {
        if let Some((bytes, _)) = self.waiting.remove(&number) {
            self.held = self.held.saturating_sub(bytes);
        }
    }
}

/// A turn at reading packs. It ends with this.
pub struct ReadingTurn {
    readers: Readers,
    /// Whose it is.
    asker: String,
    turn: Option<Turn<String>>,
}

/// A turn that others have meanwhile.
#[must_use]
pub struct PassedOn<'t> {
    turn: &'t mut ReadingTurn,
    number: u64,
    cut_off: oneshot::Receiver<()>,
}

impl Readers {
    pub(crate) fn new() -> Self {
        Self { reading: Turns::new(PARALLEL_READERS, OF_ONE), slow: Arc::default() }
    }

    async fn turn(&self, asker: &str) -> Result<Turn<String>, Error> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.reading.take(asker.to_owned())).await;
        turn.map_err(|elapsed| Error::Unavailable(elapsed.into()))
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Waits until not too many others read packs. The turn ends with what is returned.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the others take too long.
    pub async fn reading_turn(&self) -> Result<ReadingTurn, Error> {
        let readers = self.readers.clone();
        let asker = span::current().map(|watch| watch.asker()).unwrap_or_default();
        let turn = Some(readers.turn(&asker).await?);
        Ok(ReadingTurn { readers, asker, turn })
    }
}

impl ReadingTurn {
    /// Lets others read, while this answer holds `held` bytes. If that is too much together with the others that wait, the ones
    /// that have waited longest are cut off.
    pub fn pass_on(&mut self, held: u64) -> PassedOn<'_> {
        self.turn = None;
        let (cut_off, receiver) = oneshot::channel();
        let number = self.readers.slow().add(held, cut_off);
        PassedOn { turn: self, number, cut_off: receiver }
    }
}

impl PassedOn<'_> {
    /// Ends when this answer is to be cut off.
    pub async fn is_cut_off(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.cut_off).await;
    }

    /// Waits for a turn again.
    ///
    /// # Errors
    /// As [`Store::reading_turn`].
    pub async fn take_again(self) -> Result<(), Error> {
        let turn = self.turn.readers.turn(&self.turn.asker).await?;
        self.turn.turn = Some(turn);
        Ok(())
    }
}

impl Drop for PassedOn<'_> {
    fn drop(&mut self) {
        self.turn.readers.slow().remove(self.number);
    }
}

/// What the maker of an answer holds in memory for it.
pub trait LetGo {
    /// Lets go of what can be read again, because the client reads slowly. How many bytes it holds then, at most.
    fn let_go(&mut self) -> u64;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Bytes of which four make too much.
    const QUARTER: u64 = SLOW_BYTES / 4 + 1;

    #[tokio::test]
    async fn those_that_waited_longest_are_cut_off_and_no_turn_is_kept_meanwhile() {
        let readers = Readers::new();
        let mut turns = Vec::new();
        let small = QUARTER / 100;
        for held in std::iter::repeat_n(small, 100).chain([QUARTER + small; 3]) {
            // More of them than read at the same time, so each has let the next read.
            // Of two who ask, for one has only a share.
            let asker = if turns.len() % 2 == 0 { "one" } else { "other" }.to_owned();
            let turn = readers.turn(&asker).await.unwrap();
            let turn = Box::leak(Box::new(ReadingTurn { readers: readers.clone(), asker, turn: Some(turn) }));
            turns.push(turn.pass_on(held));
        }
        let cut: Vec<bool> = turns.iter_mut().map(is_cut_off).collect();
        let first_kept = cut.iter().position(|cut| !cut).unwrap();
        assert!((1..100).contains(&first_kept), "{first_kept}");
        assert!(cut[first_kept..].iter().all(|cut| !cut));
        for turn in turns.drain(..).take(PARALLEL_READERS) {
            turn.take_again().await.unwrap();
        }
    }

    fn is_cut_off(turn: &mut PassedOn<'_>) -> bool {
        tokio::task::unconstrained(turn.is_cut_off()).now_or_never().is_some()
    }

    #[tokio::test]
    async fn those_that_read_on_make_room_for_others() {
        let readers = Readers::new();
        let mut first = ReadingTurn { readers: readers.clone(), asker: String::new(), turn: None };
        let mut first = first.pass_on(QUARTER);
        for _ in 0..100 {
            let mut turn = ReadingTurn { readers: readers.clone(), asker: String::new(), turn: None };
            turn.pass_on(QUARTER).take_again().await.unwrap();
        }
        assert!(!is_cut_off(&mut first));
        drop(first);
        assert_eq!(readers.slow().held, 0);
    }
}
