//! Every answer is compared with that of a model that knows nothing but sets.

mod model;
mod scale;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use self::model::{IDS, Id, Model, acyclic, batches, graph_and_model, new_commit, new_commits, some_ids};
use super::{Cycle, Graph, NewCommit, topological_order};

fn graph_of(batch: &[(Id, &[Id])]) -> Graph<Id, String> {
    let mut graph = Graph::new();
    graph.extend(batch.iter().map(|(id, parents)| new_commit(*id, parents))).expect("no cycle");
    graph
}

/// The whole of it, private links included.
fn state(graph: &Graph<Id, String>) -> String {
    format!("{graph:?}")
}

fn cloned(ids: Vec<&Id>) -> Vec<Id> {
    ids.into_iter().copied().collect()
}

fn check_contents(graph: &Graph<Id, String>, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(graph.len(), model.commits.len());
    prop_assert_eq!(graph.is_empty(), model.commits.is_empty());
    for id in 0..IDS + 2 {
        let known = model.commits.get(&id);
        prop_assert_eq!(graph.contains(&id), known.is_some());
        prop_assert_eq!(graph.payload(&id), known.map(|(_, payload)| payload));
        prop_assert_eq!(graph.parents(&id).map(cloned), known.map(|(parents, _)| parents.clone()));
        prop_assert_eq!(graph.generation(&id), known.map(|_| model.generation(id)), "of {}", id);
    }
    let dangling: Vec<Id> = graph.dangling().copied().collect();
    let lacking = model.named.iter().copied().filter(|id| !model.commits.contains_key(id));
    prop_assert_eq!(dangling, lacking.collect::<Vec<Id>>());
    Ok(())
}

proptest! {
    #[test]
    fn a_graph_holds_what_it_was_given_after_each_batch(batches in batches()) {
        let (mut graph, mut model) = (Graph::new(), Model::default());
        for batch in batches {
            graph.extend(new_commits(&batch)).expect("no cycle");
            model.extend(&new_commits(&batch));
            check_contents(&graph, &model)?;
        }
    }

    #[test]
    fn an_ancestor_is_a_commit_that_can_be_reached((graph, model) in graph_and_model()) {
        for descendant in 0..IDS + 2 {
            let reachable = model.reachable(&[descendant]);
            for ancestor in 0..IDS + 2 {
                let is_ancestor = graph.is_ancestor(&ancestor, &descendant);
                prop_assert_eq!(is_ancestor, reachable.contains(&ancestor));
            }
        }
    }

    #[test]
    fn a_difference_is_that_of_the_reachable_sets(
        (graph, model) in graph_and_model(), want in some_ids(), have in some_ids(),
    ) {
        let had = model.reachable(&have);
        let lacking: BTreeSet<Id> = model.reachable(&want).difference(&had).copied().collect();
        let parents = lacking.iter().flat_map(|id| model.parents(*id)).copied();
        let boundary: BTreeSet<Id> = parents.filter(|id| had.contains(id)).collect();

        let difference = graph.difference(&want, &have);
        prop_assert_eq!(cloned(difference.commits), model.parents_first(lacking));
        prop_assert_eq!(cloned(difference.boundary), model.parents_first(boundary));
    }

    #[test]
    fn a_difference_within_a_depth_has_what_is_near_and_says_where_it_ends(
        (graph, model) in graph_and_model(), want in some_ids(), have in some_ids(), depth in 1..5_usize,
    ) {
        let had = model.reachable(&have);
        let mut near: BTreeSet<Id> = want.iter().copied().filter(|id| model.commits.contains_key(id)).collect();
        for _ in 1..depth {
            let parents: Vec<Id> = near.iter().flat_map(|id| model.parents(*id)).copied().collect();
            near.extend(parents.into_iter().filter(|id| model.commits.contains_key(id)));
        }
        let sent: BTreeSet<Id> = near.difference(&had).copied().collect();
        let parents = || sent.iter().flat_map(|id| model.parents(*id)).copied();
        let boundary: BTreeSet<Id> = parents().filter(|id| had.contains(id)).collect();
        let is_cut = |id: &Id| model.commits.contains_key(id) && !had.contains(id) && !sent.contains(id);
        let cut: BTreeSet<Id> = parents().filter(is_cut).collect();

        let difference = graph.difference_within(&want, &have, Some(depth));
        prop_assert_eq!(cloned(difference.commits), model.parents_first(sent));
        prop_assert_eq!(cloned(difference.boundary), model.parents_first(boundary));
        prop_assert_eq!(cloned(difference.cut), model.parents_first(cut));
        prop_assert_eq!(graph.difference(&want, &have).cut, Vec::<&Id>::new());
    }

    #[test]
    fn the_best_common_ancestors_are_those_that_no_other_can_reach(
        (graph, model) in graph_and_model(), a in some_ids(), b in some_ids(),
    ) {
        let best = cloned(graph.best_common_ancestors(&a, &b));
        let expected = model.best_common_ancestors(&a, &b);
        prop_assert_eq!(best.len(), expected.len(), "each once: {:?}", best);
        prop_assert_eq!(best.iter().copied().collect::<BTreeSet<Id>>(), expected);
        prop_assert!(best.iter().map(|id| model.generation(*id)).rev().is_sorted());
        prop_assert_eq!(cloned(graph.best_common_ancestors(&b, &a)), best);
    }

    /// Some commit is held back and then sent with a descendant of its own, or itself, for a parent.
    #[test]
    fn a_cycle_is_refused_and_leaves_no_trace(
        history in acyclic().prop_shuffle(),
        [late, descendant, split, place] in any::<[Index; 4]>(),
    ) {
        let mut all = Model::default();
        all.extend(&new_commits(&history));
        let mut early = new_commits(&history);
        let late = early.remove(late.index(history.len()));
        let mut last = early.split_off(split.index(history.len()));
        let place = place.index(last.len() + 1);

        let reaches_late = |id: &Id| all.reachable(&[*id]).contains(&late.id);
        let descendants: Vec<Id> = all.commits.keys().copied().filter(reaches_late).collect();
        let mut on_cycle = late.clone();
        on_cycle.parents.push(descendants[descendant.index(descendants.len())]);

        let (mut graph, mut model) = (Graph::new(), Model::default());
        graph.extend(early.clone()).expect("no cycle");
        model.extend(&early);
        let before = state(&graph);

        last.insert(place, on_cycle);
        let cycle = graph.extend(last.clone()).expect_err("a cycle");
        let mut with_cycle = model.clone();
        with_cycle.extend(&last);
        prop_assert!(with_cycle.properly_reachable(cycle.commit).contains(&cycle.commit));
        prop_assert_eq!(state(&graph), before);

        last[place] = late;
        graph.extend(last.clone()).expect("no cycle");
        model.extend(&last);
        check_contents(&graph, &model)?;
    }

    /// Any commits at all: parents outside, ids sent twice, cycles.
    #[test]
    fn the_next_in_topological_order_is_the_first_sent_that_can_be(
        sent in prop_oneof![
            vec((0..8u32, vec(0..10u32, 0..3)), 0..8),
            acyclic().prop_shuffle(),
        ],
    ) {
        let first_of = |id: Id| sent.iter().position(|(other, _)| *other == id);
        let mut model = Model::default();
        model.extend(&new_commits(&sent));

        let mut expected: Vec<usize> = Vec::new();
        let can_be_next = |position: &usize, placed: &[usize]| {
            let (id, parents) = &sent[*position];
            let mut parents = parents.iter().filter_map(|parent| first_of(*parent));
            let is_left = first_of(*id) == Some(*position) && !placed.contains(position);
            is_left && parents.all(|parent| placed.contains(&parent))
        };
        while let Some(next) = (0..sent.len()).find(|position| can_be_next(position, &expected)) {
            expected.push(next);
        }

        match topological_order(sent.iter().map(|(id, parents)| (id, parents.as_slice()))) {
            Ok(order) => {
                prop_assert_eq!(expected.len(), model.commits.len());
                prop_assert_eq!(order, expected);
            }
            Err(Cycle { commit }) => {
                prop_assert!(expected.len() < model.commits.len());
                prop_assert!(model.properly_reachable(commit).contains(&commit));
            }
        }
    }
}

#[test]
fn the_first_of_two_commits_with_one_id_wins() {
    let mut graph = Graph::new();
    let commit = |parents: &[&'static str], payload| NewCommit { id: "tip", parents: parents.to_vec(), payload };
    graph.extend([commit(&[], 1), commit(&["root"], 2)]).expect("no cycle");
    graph.extend([commit(&["tip"], 3)]).expect("skipped, so no cycle");
    assert_eq!((graph.len(), graph.payload(&"tip"), graph.generation(&"tip")), (1, Some(&1), Some(1)));
    assert_eq!((graph.parents(&"tip"), graph.dangling().count()), (Some(vec![]), 0));
}

#[test]
fn a_commit_is_not_its_own_parent() {
    let mut graph = Graph::new();
    let error = graph.extend([new_commit(7, &[7])]).expect_err("a cycle");
    assert_eq!(error, Cycle { commit: 7 });
    assert_eq!(error.to_string(), "commit 7 is its own ancestor");
    assert!(graph.is_empty() && graph.dangling().next().is_none());
}

#[test]
fn a_dangling_parent_that_arrives_raises_all_its_descendants() {
    let mut graph = graph_of(&[(4, &[3]), (3, &[2]), (9, &[2])]);
    assert_eq!([3, 4, 9].map(|id| graph.generation(&id)), [Some(1), Some(2), Some(1)]);
    assert_eq!(graph.dangling().collect::<Vec<_>>(), [&2]);
    assert!(!graph.is_ancestor(&2, &4));

    graph.extend([new_commit(2, &[1]), new_commit(1, &[])]).expect("no cycle");
    assert_eq!([1, 2, 3, 4, 9].map(|id| graph.generation(&id)), [1, 2, 3, 4, 3].map(Some));
    assert_eq!(graph.dangling().next(), None);
    assert!(graph.is_ancestor(&2, &4));
}

#[test]
fn merges_in_both_directions_have_two_best_common_ancestors() {
    let graph = graph_of(&[(0, &[]), (1, &[0]), (2, &[0]), (3, &[1, 2]), (4, &[2, 1])]);
    assert_eq!(graph.best_common_ancestors(&[3], &[4]), [&2, &1]);
    assert_eq!(graph.best_common_ancestors(&[3], &[1]), [&1]);
}
