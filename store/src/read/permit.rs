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

use crate::permits::{Permit, Permits};
use crate::span;
use crate::{Store, StoreError};

/// Answers that read packs at the same time. Each holds some 20 MiB of them.
const PARALLEL_READERS: usize = 32;
/// How many one user or address may have.
const OF_ONE: usize = 24;
/// Pages that are made at the same time, and of them those for one user, or one address without a token.
const PARALLEL_PAGES: usize = 8;
const PAGES_OF_ONE: usize = 6;
/// Bytes that answers hold which wait for clients that read slowly.
const SLOW_BYTES: u64 = 256 << 20;
/// How long an answer may wait until others are done.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// What reads packs in this process.
#[derive(Clone)]
pub(crate) struct Readers {
    reading: Arc<Permits<String>>,
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

/// A permit to read packs. It ends with this.
pub struct ReadPermit {
    readers: Readers,
    /// Whose it is.
    asker: String,
    permit: Option<Permit<String>>,
}

/// A permit that others have meanwhile.
#[must_use]
pub struct PassedOn<'t> {
    permit: &'t mut ReadPermit,
    number: u64,
    cut_off: oneshot::Receiver<()>,
}

/// Permits to make pages.
pub(crate) fn page_permits() -> Arc<Permits<String>> {
    Permits::new(PARALLEL_PAGES, PAGES_OF_ONE)
}

impl Readers {
    pub(crate) fn new() -> Self {
        Self { reading: Permits::new(PARALLEL_READERS, OF_ONE), slow: Arc::default() }
    }

    async fn permit(&self, asker: &str) -> Result<Permit<String>, StoreError> {
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, self.reading.take(asker.to_owned())).await;
        permit.map_err(|elapsed| StoreError::Unavailable(elapsed.into()))
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Waits until not too many others read packs. The permit ends with what is returned.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the others take too long.
    pub async fn read_permit(&self) -> Result<ReadPermit, StoreError> {
        let readers = self.readers.clone();
        let asker = span::current().map(|span| span.asker()).unwrap_or_default();
        let permit = Some(readers.permit(&asker).await?);
        Ok(ReadPermit { readers, asker, permit })
    }
}

impl Store {
    /// Waits until few other pages are made: each has manifests in memory, of which one may have tens of megabytes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the others take too long.
    pub async fn page_permit(&self) -> Result<Permit<String>, StoreError> {
        let asker = span::current().map(|span| span.asker()).unwrap_or_default();
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, self.page_permits.take(asker)).await;
        permit.map_err(|elapsed| StoreError::Unavailable(elapsed.into()))
    }
}

impl ReadPermit {
    /// Lets others read, while this answer holds `held` bytes. If that is too much together with the others that wait, the ones
    /// that have waited longest are cut off.
    pub fn pass_on(&mut self, held: u64) -> PassedOn<'_> {
        self.permit = None;
        let (cut_off, receiver) = oneshot::channel();
        let number = self.readers.slow().add(held, cut_off);
        PassedOn { permit: self, number, cut_off: receiver }
    }
}

impl PassedOn<'_> {
    /// Ends when this answer is to be cut off.
    pub async fn is_cut_off(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.cut_off).await;
    }

    /// Waits for a permit again.
    ///
    /// # Errors
    /// As [`Store::read_permit`].
    pub async fn take_again(self) -> Result<(), StoreError> {
        let permit = self.permit.readers.permit(&self.permit.asker).await?;
        self.permit.permit = Some(permit);
        Ok(())
    }
}

impl Drop for PassedOn<'_> {
    fn drop(&mut self) {
        self.permit.readers.slow().remove(self.number);
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
    async fn those_that_waited_longest_are_cut_off_and_no_permit_is_kept_meanwhile() {
        let readers = Readers::new();
        let mut permits = Vec::new();
        let small = QUARTER / 100;
        for held in std::iter::repeat_n(small, 100).chain([QUARTER + small; 3]) {
            // More of them than read at the same time, so each has let the next read.
            // Of two who ask, for one has only a share.
            let asker = if permits.len() % 2 == 0 { "one" } else { "other" }.to_owned();
            let permit = readers.permit(&asker).await.unwrap();
            let permit = Box::leak(Box::new(ReadPermit { readers: readers.clone(), asker, permit: Some(permit) }));
            permits.push(permit.pass_on(held));
        }
        let cut: Vec<bool> = permits.iter_mut().map(is_cut_off).collect();
        let first_kept = cut.iter().position(|cut| !cut).unwrap();
        assert!((1..100).contains(&first_kept), "{first_kept}");
        assert!(cut[first_kept..].iter().all(|cut| !cut));
        for permit in permits.drain(..).take(PARALLEL_READERS) {
            permit.take_again().await.unwrap();
        }
    }

    fn is_cut_off(permit: &mut PassedOn<'_>) -> bool {
        tokio::task::unconstrained(permit.is_cut_off()).now_or_never().is_some()
    }

    #[tokio::test]
    async fn those_that_read_on_make_room_for_others() {
        let readers = Readers::new();
        let mut first = ReadPermit { readers: readers.clone(), asker: String::new(), permit: None };
        let mut first = first.pass_on(QUARTER);
        for _ in 0..100 {
            let mut permit = ReadPermit { readers: readers.clone(), asker: String::new(), permit: None };
            permit.pass_on(QUARTER).take_again().await.unwrap();
        }
        assert!(!is_cut_off(&mut first));
        drop(first);
        assert_eq!(readers.slow().held, 0);
    }
}
