//! Permits for something that few may do at a time, handed out fairly. The holder with the fewest permits comes first,
//! and a holder has no more than a share. So an owner whose work takes long keeps only that owner's own work waiting.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The holders of permits, and those that wait for one.
pub struct Permits<K: Eq + Hash + Clone> {
    share: usize,
    given: Mutex<Given<K>>,
}

type Waiter<K> = oneshot::Sender<Permit<K>>;

struct Given<K: Eq + Hash + Clone> {
    free: usize,
    /// Those who have any.
    has: HashMap<K, usize>,
    /// Those who wait, each with the number of their asking, in its order.
    waiting: HashMap<K, VecDeque<(u64, Waiter<K>)>>,
    asked: u64,
}

/// A permit. It ends with this.
pub struct Permit<K: Eq + Hash + Clone> {
    permits: Arc<Permits<K>>,
    holder: K,
}

impl<K: Eq + Hash + Clone> fmt::Debug for Permit<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Permit")
    }
}

impl<K: Eq + Hash + Clone> Permits<K> {
    /// `count` permits, of which one holder has at most `share`.
    pub fn new(count: usize, share: usize) -> Arc<Self> {
        let given = Given { free: count, has: HashMap::new(), waiting: HashMap::new(), asked: 0 };
        Arc::new(Self { share, given: Mutex::new(given) })
    }

    /// Waits for a permit.
    pub async fn take(self: &Arc<Self>, holder: K) -> Permit<K> {
        loop {
            let coming = {
                let mut given = self.given();
                if given.free > 0 && given.count(&holder) < self.share {
                    return given.give(self, holder);
                }
                let (sender, coming) = oneshot::channel();
                given.asked += 1;
                let number = given.asked;
                given.waiting.entry(holder.clone()).or_default().push_back((number, sender));
                coming
            };
            // It is sent before it is forgotten; were it not, it is asked for again.
            if let Ok(permit) = coming.await {
                return permit;
            }
        }
    }

    fn given(&self) -> MutexGuard<'_, Given<K>> {
        // The counts are whole between any two statements that could panic.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(self: &Arc<Self>, holder: &K) {
        let next = {
            let mut given = self.given();
            given.free += 1;
            if let Some(has) = given.has.get_mut(holder) {
                *has -= 1;
                if *has == 0 {
                    given.has.remove(holder);
                }
            }
            given.next(self.share).map(|(holder, sender)| (given.give(self, holder), sender))
        };
        if let Some((permit, sender)) = next {
            // A waiter that has gone drops it, and it goes on to the next.
            let _ = sender.send(permit);
        }
    }
}

impl<K: Eq + Hash + Clone> Given<K> {
    fn count(&self, holder: &K) -> usize {
        self.has.get(holder).copied().unwrap_or_default()
    }

    fn give(&mut self, permits: &Arc<Permits<K>>, holder: K) -> Permit<K> {
        self.free -= 1;
        *self.has.entry(holder.clone()).or_default() += 1;
        Permit { permits: Arc::clone(permits), holder }
    }

    /// The next holder: of those below their share, one with the fewest permits, and of these the one that has waited
    /// longest.
    fn next(&mut self, share: usize) -> Option<(K, Waiter<K>)> {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|(_, sender)| !sender.is_closed());
            !waiting.is_empty()
        });
        let rank = |(holder, waiting): &(&K, &VecDeque<(u64, _)>)| {
            (self.count(holder), waiting.front().map_or(u64::MAX, |(number, _)| *number))
        };
        let may = self.waiting.iter().filter(|(holder, _)| self.count(holder) < share);
        let holder = may.min_by_key(rank)?.0.clone();
        let (_, sender) = self.waiting.get_mut(&holder)?.pop_front()?;
        Some((holder, sender))
    }
}

impl<K: Eq + Hash + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        self.permits.give_back(&self.holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_who_asks_for_many_holds_up_no_other() {
        let permits = Permits::new(4, 2);
        let mut has: Vec<_> = Vec::new();
        for _ in 0..2 {
            has.push(permits.take("many").await);
        }
        let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(permits.take("many"))).collect();
        assert!(waiting.iter_mut().all(|asked| asked.now_or_never().is_none()), "more than a share");
        let other = permits.take("other").now_or_never().expect("a permit that is free");
        let third = permits.take("third").now_or_never().expect("another");

        // If no permit is free, the holder with the fewest comes first, even if others have waited longer.
        let mut other_again = Box::pin(permits.take("other"));
        let mut fourth = Box::pin(permits.take("fourth"));
        assert!((&mut other_again).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        drop(has.pop());
        let fourth = (&mut fourth).now_or_never().expect("who has none");
        assert!((&mut other_again).now_or_never().is_none());
        drop(third);
        let first = waiting.iter_mut().position(|asked| asked.now_or_never().is_some());
        assert_eq!(first, Some(0), "of two who have one each, who has waited longest");
        drop((other, other_again, fourth, waiting, has));
        assert_eq!(permits.given().free, 4, "those who wait no longer get none");
        assert!(permits.given().has.is_empty());
    }

    #[tokio::test]
    async fn a_permit_that_was_given_to_who_waits_no_longer_goes_on() {
        let permits = Permits::new(1, 1);
        let held = permits.take(1).await;
        let (mut gone, mut next) = (Box::pin(permits.take(2)), Box::pin(permits.take(3)));
        assert!((&mut gone).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(held);
        // It was on its way.
        drop(gone);
        assert!(next.now_or_never().is_some());
    }
}
