//! Calls of several processes in an order that a test decides: each waits for its turn, and the next begins when it has
//! its answer.

use std::collections::VecDeque;
use std::sync::Arc;

use tests::wiretap::{Call, Reaction, Wiretap};
use tokio::sync::watch;

/// Whose turn it is. A process that has no turn left waits until all others have had theirs.
#[derive(Clone)]
pub struct Turns(Arc<watch::Sender<VecDeque<usize>>>);

impl Turns {
    pub fn new(order: &[usize]) -> Turns {
        Turns(Arc::new(watch::Sender::new(order.iter().copied().collect())))
    }

    /// Every call of this process that `is_meant` takes a turn.
    pub fn order(&self, who: usize, tap: &Wiretap, is_meant: impl Fn(&Call) -> bool + Send + 'static) {
        let turns = self.clone();
        tap.script(move |call| {
            if !is_meant(call) {
                return Reaction::Forward;
            }
            let (begin, end) = (turns.clone(), turns.clone());
            Reaction::Between(Box::pin(async move { begin.begin(who).await }), Box::pin(async move { end.end(who) }))
        });
    }

    /// Something that is not a storage call takes a turn.
    pub async fn take<T>(&self, who: usize, work: impl Future<Output = T>) -> T {
        self.begin(who).await;
        let done = work.await;
        self.end(who);
        done
    }

    /// Does all of it, and then leaves the turns that are left to the others.
    pub async fn through<T>(&self, who: usize, work: impl Future<Output = T>) -> T {
        let done = work.await;
        self.0.send_modify(|order| order.retain(|other| *other != who));
        done
    }

    async fn begin(&self, who: usize) {
        let mut order = self.0.subscribe();
        let is_mine = |order: &VecDeque<usize>| order.front().is_none_or(|next| *next == who);
        order.wait_for(is_mine).await.expect("the sender is here");
    }

    fn end(&self, who: usize) {
        self.0.send_modify(|order| {
            if order.front() == Some(&who) {
                order.pop_front();
            }
        });
    }
}

/// Every order in which this many calls of one and this many of another can be made.
pub fn interleavings(first: usize, second: usize) -> Vec<Vec<usize>> {
    if first == 0 || second == 0 {
        return vec![[vec![0; first], vec![1; second]].concat()];
    }
    let begun_by = |who: usize, rest: Vec<Vec<usize>>| rest.into_iter().map(move |rest| [vec![who], rest].concat());
    begun_by(0, interleavings(first - 1, second)).chain(begun_by(1, interleavings(first, second - 1))).collect()
}

#[test]
fn two_and_two_calls_interleave_in_six_ways() {
    assert_eq!(interleavings(2, 2).len(), 6);
    assert_eq!(interleavings(5, 5).len(), 252);
}
