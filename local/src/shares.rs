//! A bounded number of something of which each holder has no more than a share: connections, places, room in memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many there are, and how many each holder has.
pub(crate) struct Shares<K> {
    total: usize,
    share: usize,
    held: Mutex<Held<K>>,
}

struct Held<K> {
    all: usize,
    /// Those who have any.
    by: HashMap<K, usize>,
}

/// What one holder has. It goes back with this.
pub(crate) struct Portion<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    holder: K,
    count: usize,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// `total` of them, of which one holder has at most `share`.
    pub(crate) fn new(total: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { total, share, held: Mutex::new(Held { all: 0, by: HashMap::new() }) })
    }

    /// Nothing yet, for a holder who will ask for more.
    pub(crate) fn none(self: &Arc<Self>, holder: K) -> Portion<K> {
        Portion { shares: Arc::clone(self), holder, count: 0 }
    }

    /// One, unless all are taken or the holder has its share.
    pub(crate) fn one(self: &Arc<Self>, holder: K) -> Option<Portion<K>> {
        let mut portion = self.none(holder);
        portion.grow(1).then_some(portion)
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        // The counts are whole between any two statements that could panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Portion<K> {
    /// Takes `more`; or none, when there are fewer or they would be more than a share.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let mut held = self.shares.held();
        let has = held.by.get(&self.holder).copied().unwrap_or_default();
        let (all, has) = (held.all.saturating_add(more), has.saturating_add(more));
        if all > self.shares.total || has > self.shares.share {
            return false;
        }
        held.all = all;
        held.by.insert(self.holder.clone(), has);
        drop(held);
        self.count = self.count.saturating_add(more);
        true
    }

    /// How many it is.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}

impl<K: Eq + Hash> Drop for Portion<K> {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(self.count);
        if let Some(has) = held.by.get_mut(&self.holder) {
            *has = has.saturating_sub(self.count);
            if *has == 0 {
                held.by.remove(&self.holder);
            }
        }
    }
}

/// What an address counts as: an IPv6 host has a network of 64 bits to itself, and all of that is one holder.
pub(crate) fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_has_no_more_than_a_share_and_all_no_more_than_there_is() {
        let shares = Shares::new(10, 6);
        let mut one = shares.none("one");
        assert!(one.grow(4) && one.grow(2));
        assert!(!one.grow(1), "it is more than a share");
        assert!(shares.one("one").is_none());
        let mut other = shares.none("other");
        assert!(!other.grow(5), "there are four");
        assert!(other.grow(4));
        assert!(shares.one("third").is_none());
        assert_eq!((one.count(), other.count()), (6, 4));
        drop(one);
        assert!(other.grow(2) && shares.one("third").is_some());
        drop(other);
        assert!(shares.held().by.is_empty(), "who has none is forgotten");
        assert_eq!(shares.held().all, 0);
    }

    #[test]
    fn a_network_of_one_host_is_one_holder() {
        let of = |address: &str| holder(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
