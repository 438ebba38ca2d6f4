//! Commits by brute force, and random histories to compare by.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::graph::{Graph, NewCommit};

pub(super) type Id = u32;
pub(super) type Batch = Vec<(Id, Vec<Id>)>;

/// Ids of generated histories are below this; questions ask for some above as well.
pub(super) const IDS: Id = 14;

/// Knows commits, and no shortcut.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) commits: BTreeMap<Id, (Vec<Id>, String)>,
    /// Every id in the order in which it was first named.
    pub(super) named: IndexSet<Id>,
}

impl Model {
    pub(super) fn extend(&mut self, batch: &[NewCommit<Id, String>]) {
        for commit in batch {
            self.named.insert(commit.id);
            if !self.commits.contains_key(&commit.id) {
                self.named.extend(&commit.parents);
                let commit = commit.clone();
                self.commits.insert(commit.id, (commit.parents, commit.payload));
            }
        }
    }

    pub(super) fn parents(&self, id: Id) -> &[Id] {
        self.commits.get(&id).map_or(&[], |(parents, _)| parents)
    }

    /// The commits that can be reached from these, which reach themselves.
    pub(super) fn reachable(&self, from: &[Id]) -> BTreeSet<Id> {
        let mut reached: BTreeSet<Id> = from.iter().copied().filter(|id| self.commits.contains_key(id)).collect();
        loop {
            let parents: Vec<Id> = reached.iter().flat_map(|id| self.parents(*id)).copied().collect();
            let before = reached.len();
            reached.extend(parents.into_iter().filter(|id| self.commits.contains_key(id)));
            if reached.len() == before {
                return reached;
            }
        }
    }

    pub(super) fn properly_reachable(&self, from: Id) -> BTreeSet<Id> {
        self.reachable(self.parents(from))
    }

    /// The number of commits on the longest way down.
    pub(super) fn generation(&self, id: Id) -> u32 {
        let mut tips = BTreeSet::from([id]);
        let mut generation = 0;
        while !tips.is_empty() {
            let parents = tips.iter().flat_map(|id| self.parents(*id)).copied();
            tips = parents.filter(|id| self.commits.contains_key(id)).collect();
            generation += 1;
        }
        generation
    }

    pub(super) fn parents_first(&self, ids: BTreeSet<Id>) -> Vec<Id> {
        let mut ids: Vec<Id> = ids.into_iter().collect();
        ids.sort_by_key(|id| (self.generation(*id), self.named.get_index_of(id)));
        ids
    }

    pub(super) fn best_common_ancestors(&self, a: &[Id], b: &[Id]) -> BTreeSet<Id> {
        let common: BTreeSet<Id> = self.reachable(a).intersection(&self.reachable(b)).copied().collect();
        let redundant: BTreeSet<Id> = common.iter().flat_map(|id| self.properly_reachable(*id)).collect();
        common.difference(&redundant).copied().collect()
    }
}

pub(super) fn new_commit(id: Id, parents: &[Id]) -> NewCommit<Id, String> {
    NewCommit { id, parents: parents.to_vec(), payload: format!("snapshot of {id}") }
}

pub(super) fn new_commits(batch: &[(Id, Vec<Id>)]) -> Vec<NewCommit<Id, String>> {
    batch.iter().map(|(id, parents)| new_commit(*id, parents)).collect()
}

/// A history of several roots, chains, and merges of up to three parents, some named twice.
pub(super) fn acyclic() -> impl Strategy<Value = Batch> {
    let near = any::<Index>().prop_map(|index| (index, 3));
    let far = any::<Index>().prop_map(|index| (index, IDS as usize));
    let parents = vec(prop_oneof![near, far], 0..=3);
    vec(parents, 1..=IDS as usize).prop_map(|commits| {
        let parent = |child: usize, (index, reach): (Index, usize)| (child - 1 - index.index(child.min(reach))) as Id;
        let commit = |(child, picks): (usize, Vec<(Index, usize)>)| {
            let picks = if child == 0 { Vec::new() } else { picks };
            (child as Id, picks.into_iter().map(|pick| parent(child, pick)).collect())
        };
        commits.into_iter().enumerate().map(commit).collect()
    })
}

/// A shuffled history, cut into batches. Some of its commits get lost on the way, others are sent twice.
pub(super) fn batches() -> impl Strategy<Value = Vec<Batch>> {
    acyclic().prop_flat_map(|commits| {
        let copies = prop_oneof![1 => Just(0), 8 => Just(1), 1 => Just(2)];
        vec(copies, commits.len())
            .prop_map(move |copies| {
                let sent = commits.iter().zip(copies);
                sent.flat_map(|(commit, copies)| vec![commit.clone(); copies]).collect::<Batch>()
            })
            .prop_shuffle()
            .prop_flat_map(cut)
    })
}

fn cut(commits: Batch) -> impl Strategy<Value = Vec<Batch>> {
    vec(prop::bool::weighted(0.3), commits.len()).prop_map(move |ends| {
        let mut batches = vec![Vec::new()];
        for (commit, end) in commits.iter().zip(ends) {
            batches.last_mut().expect("at least one").push(commit.clone());
            if end {
                batches.push(Vec::new());
            }
        }
        batches
    })
}

pub(super) fn graph_and_model() -> impl Strategy<Value = (Graph<Id, String>, Model)> {
    batches().prop_map(|batches| {
        let (mut graph, mut model) = (Graph::new(), Model::default());
        for batch in batches {
            graph.extend(new_commits(&batch)).expect("no cycle");
            model.extend(&new_commits(&batch));
        }
        (graph, model)
    })
}

pub(super) fn some_ids() -> impl Strategy<Value = Vec<Id>> {
    vec(0..IDS + 2, 0..5)
}
