//! Long histories: nothing recurses over them, and nothing visits more of them than it has to.

use std::thread;

use super::model::{Id, new_commit};
use crate::graph::{Graph, NewCommit, topological_order};

const LONG: Id = 200_000;

/// Far less than the 2 MB of a thread that tokio starts, so nothing can recurse over history.
fn in_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(128 * 1024).spawn(test).expect("a thread");
    thread.join().expect("the test passes");
}

/// Commit 0 is the root, `LONG - 1` the tip.
fn linear(ids: impl Iterator<Item = Id>) -> impl Iterator<Item = NewCommit<Id, ()>> {
    ids.map(|id| NewCommit { id, parents: id.checked_sub(1).into_iter().collect(), payload: () })
}

/// In order, so that the index of a node is the id of its commit.
fn long_graph() -> Graph<Id, ()> {
    let mut graph = Graph::new();
    graph.extend(linear(0..LONG)).expect("no cycle");
    graph
}

fn unnumbered(
    commits: impl IntoIterator<Item = NewCommit<Id, ()>>,
) -> impl Iterator<Item = (NewCommit<Id, ()>, Option<u32>)> {
    commits.into_iter().map(|commit| (commit, None))
}

fn assert_few(visits: usize) {
    assert!((1..=10).contains(&visits), "{visits} commits visited");
}

#[test]
fn a_long_history_fits_a_small_stack() {
    in_a_small_stack(|| {
        let mut graph = Graph::new();
        graph.extend(linear((1..LONG).rev())).expect("no cycle");
        assert_eq!(graph.generation(&(LONG - 1)), Some(LONG - 1));
        graph.extend(linear(0..1)).expect("the root fills in, all descendants follow");
        assert_eq!(graph.generation(&(LONG - 1)), Some(LONG));

        let tip = LONG - 1;
        assert!(graph.is_ancestor(&0, &tip));
        assert!(!graph.is_ancestor(&tip, &0));
        let difference = graph.difference(&[tip], &[0]);
        assert!(difference.commits.into_iter().copied().eq(1..LONG));
        assert_eq!(difference.boundary, [&0]);
        assert_eq!(graph.best_common_ancestors(&[tip], &[0]), [&0]);
        drop(graph.clone());
    });
}

#[test]
fn a_long_bundle_fits_a_small_stack() {
    in_a_small_stack(|| {
        let mut sent: Vec<NewCommit<Id, ()>> = linear((0..LONG).rev()).collect();
        let order = |sent: &[NewCommit<Id, ()>]| {
            topological_order(sent.iter().map(|commit| (&commit.id, commit.parents.as_slice())))
        };
        assert!(order(&sent).expect("no cycle").into_iter().eq((0..LONG as usize).rev()));

        sent.last_mut().expect("the root").parents.push(LONG - 1);
        order(&sent).expect_err("a cycle");
        let mut graph = long_graph();
        graph.extend([NewCommit { id: LONG, parents: vec![LONG], payload: () }]).expect_err("a cycle");
        graph = Graph::new();
        graph.extend(sent).expect_err("a cycle");
        assert!(graph.is_empty());
    });
}

#[test]
fn extending_a_long_history_by_few_commits_numbers_only_these() {
    let mut graph = long_graph();
    let numbered = graph.link_and_number(unnumbered(linear(LONG - 3..LONG + 3))).expect("no cycle");
    assert_eq!(numbered, 3);
    assert_eq!(graph.generation(&(LONG + 2)), Some(LONG + 3));

    let dangling = NewCommit { id: LONG + 4, parents: vec![LONG + 3], payload: () };
    assert_eq!(graph.link_and_number(unnumbered([dangling])), Ok(1));
    let arriving = linear(LONG + 3..LONG + 4);
    assert_eq!(graph.link_and_number(unnumbered(arriving)), Ok(3), "itself, and again with its descendant");
}

#[test]
fn an_incremental_difference_visits_only_what_is_new() {
    let graph = long_graph();
    let tip = LONG - 1;

    let (commits, painting) = graph.paint_difference(&[tip], &[tip - 3], |_| false, None);
    assert_eq!(commits.len(), 3);
    assert_few(painting.visits());

    let everything_else: Vec<Id> = (0..=tip - 3).collect();
    let (commits, painting) = graph.paint_difference(&[tip], &everything_else, |_| false, None);
    assert_eq!(commits.len(), 3);
    assert_few(painting.visits());

    let (commits, painting) = graph.paint_difference(&[tip - 3], &[tip], |_| false, None);
    assert_eq!(commits.len(), 0);
    assert_few(painting.visits());
}

#[test]
fn ancestry_and_common_ancestors_of_new_commits_leave_the_old_ones_alone() {
    let mut graph = long_graph();
    let tip = LONG - 1;
    let branch = NewCommit { id: LONG, parents: vec![tip - 2], payload: () };
    let unrelated = NewCommit { id: LONG + 1, parents: vec![], payload: () };
    let merge = NewCommit { id: LONG + 2, parents: vec![tip, LONG + 1], payload: () };
    graph.extend([branch, unrelated, merge]).expect("no cycle");

    assert_few(graph.paint_down_to(tip - 3, [tip]).visits());
    assert_few(graph.paint_down_to(tip - 1, [LONG]).visits());
    assert_few(graph.paint_down_to(LONG + 1, [LONG + 2]).visits());

    let (best, painting) = graph.paint_down_to_common(&[tip], &[LONG]);
    assert_eq!(best, [tip - 2]);
    assert_few(painting.visits());

    // What only one side can reach is of no interest once the other has ended.
    let (best, painting) = graph.paint_down_to_common(&[tip, LONG + 1], &[LONG]);
    assert_eq!(best, [tip - 2]);
    assert_few(painting.visits());
}

/// 2⁵⁰⁰ ways lead from the tip to the root.
#[test]
fn a_commit_is_visited_once_however_many_ways_lead_to_it() {
    let diamonds = (0..500).flat_map(|root| {
        let root = 3 * root;
        [new_commit(root + 1, &[root]), new_commit(root + 2, &[root]), new_commit(root + 3, &[root + 1, root + 2])]
    });
    let mut graph = Graph::new();
    graph.extend(diamonds.chain([new_commit(0, &[])])).expect("no cycle");

    assert_eq!(graph.generation(&1500), Some(1001));
    assert!(graph.is_ancestor(&0, &1500));
    assert_eq!(graph.difference(&[1500], &[]).commits.len(), 1501);
    assert_eq!(graph.best_common_ancestors(&[1498], &[1499]), [&1497]);
}
