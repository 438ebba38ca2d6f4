//! The order in which the records of several packs go into one. Each pack is read from front to back, so that at most
//! one frame of each is open. The order is as good as that allows. Packs that are in order themselves come out in
//! order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use common::id::CommitId;
use common::pack::PackedCommit;

/// Merges queues of records by their keys. The smallest key in front is next; of equal keys, the one of the first
/// queue.
pub(super) fn by_key<K: Ord, T>(queues: Vec<Vec<(K, T)>>) -> Vec<T> {
    let mut merged = Vec::with_capacity(queues.iter().map(Vec::len).sum());
    let mut queues: Vec<_> = queues.into_iter().map(Vec::into_iter).collect();
    let mut fronts = BinaryHeap::new();
    // A key goes into the heap when its record is in front, and what is left in the queue is the record.
    let mut waiting: Vec<Option<T>> = Vec::with_capacity(queues.len());
    for (number, queue) in queues.iter_mut().enumerate() {
        waiting.push(queue.next().map(|(key, record)| {
            fronts.push(Reverse((key, number)));
            record
        }));
    }
    while let Some(Reverse((_, number))) = fronts.pop() {
        let (Some(queue), Some(front)) = (queues.get_mut(number), waiting.get_mut(number)) else {
            continue;
        };
        merged.extend(front.take());
        if let Some((key, record)) = queue.next() {
            fronts.push(Reverse((key, number)));
            *front = Some(record);
        }
    }
    merged
}

/// Merges queues of commits, parents first. That is impossible if each of two packs has a commit whose parent is in the
/// other. (It takes pushes that raced, and clocks that disagree.) Then one of these commits is next all the same. A
/// pack says so of each parent, and readers link commits in any order.
pub(super) fn parents_first<T>(queues: Vec<Vec<(PackedCommit, T)>>) -> Vec<(PackedCommit, T)> {
    let mut left: HashSet<CommitId> = queues.iter().flatten().map(|(commit, _)| commit.id.clone()).collect();
    let mut merged = Vec::with_capacity(left.len());
    let mut queues: Vec<VecDeque<(PackedCommit, T)>> = queues.into_iter().map(VecDeque::from).collect();
    let is_ready = |queue: &VecDeque<(PackedCommit, T)>, left: &HashSet<CommitId>| {
        queue.front().is_some_and(|(commit, _)| !commit.parents.iter().any(|parent| left.contains(parent)))
    };
    loop {
        let ready = queues.iter_mut().find(|queue| is_ready(queue, &left));
        let Some(queue) = ready else {
            // Nothing is left, or nothing is ready.
            let Some((commit, record)) = queues.iter_mut().find_map(VecDeque::pop_front) else {
                return merged;
            };
            left.remove(&commit.id);
            merged.push((commit, record));
            continue;
        };
        while is_ready(queue, &left)
            && let Some((commit, record)) = queue.pop_front()
        {
            left.remove(&commit.id);
            merged.push((commit, record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(id: &str, parents: &[&str]) -> (PackedCommit, ()) {
        let parents = parents.iter().map(|parent| parent.parse().unwrap()).collect();
        let id = id.parse().unwrap();
        (PackedCommit { id, parents, snapshot: None, generation: 1, is_reached: true }, ())
    }

    fn merged(queues: Vec<Vec<(PackedCommit, ())>>) -> Vec<String> {
        parents_first(queues).into_iter().map(|(commit, ())| commit.id.to_string()).collect()
    }

    #[test]
    fn parents_come_first_whatever_the_order_of_the_packs() {
        let queues = vec![
            vec![commit("d", &["c"]), commit("e", &["d"])],
            vec![commit("a", &["elsewhere"]), commit("b", &["a"])],
            vec![commit("c", &["b", "a"])],
        ];
        assert_eq!(merged(queues), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn commits_that_wait_for_each_other_are_not_lost() {
        let queues = vec![vec![commit("a", &["b"]), commit("c", &[])], vec![commit("d", &["c"]), commit("b", &[])]];
        assert_eq!(merged(queues), ["a", "c", "d", "b"]);
        assert_eq!(merged(vec![vec![commit("a", &["a"])]]), ["a"]);
    }

    proptest! {
        #[test]
        fn queues_in_order_come_out_in_order(queues in prop::collection::vec(prop::collection::vec(0_u8..9, 0..9), 0..6)) {
            let sorted = queues.into_iter().enumerate().map(|(number, mut keys)| {
                keys.sort_unstable();
                keys.into_iter().map(|key| (key, (key, number))).collect::<Vec<_>>()
            });
            let sorted: Vec<_> = sorted.collect();
            let mut expected: Vec<_> = sorted.iter().flatten().map(|(_, record)| *record).collect();
            expected.sort();
            prop_assert_eq!(by_key(sorted), expected);
        }

        #[test]
        fn a_queue_keeps_its_own_order(queues in prop::collection::vec(prop::collection::vec(0_u8..9, 0..9), 0..6)) {
            let numbered = |(number, keys): (usize, &Vec<u8>)| {
                keys.iter().enumerate().map(|(position, key)| (*key, (number, position))).collect::<Vec<_>>()
            };
            let merged = by_key(queues.iter().enumerate().map(numbered).collect());
            for (number, keys) in queues.iter().enumerate() {
                let of_queue: Vec<usize> = merged.iter().filter(|(of, _)| *of == number).map(|(_, at)| *at).collect();
                prop_assert_eq!(of_queue, (0..keys.len()).collect::<Vec<_>>());
            }
        }
    }
}
