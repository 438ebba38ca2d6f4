//! A graph that is loaded on demand: a walk asks for the commits that it lacks.
//!
//! A caller loads the commits that its question starts from, asks, learns what is lacking, loads that, and asks again.
//! A question is asked from its beginning each time. So a caller loads more each time than it was asked for, twice as
//! much as before, and all walks together cost no more than twice the last.
//!
//! The generation numbers of commits come with them, so that a walk can stop early. If some ancestor of a commit was
//! never pushed, its number is not known, and no walk may stop at it. All its ancestors are asked for, down to those
//! that have numbers, and its number follows from theirs.

use std::collections::HashSet;
use std::hash::Hash;

use super::ancestry::DESCENDANT;
use super::painting::Painting;
use super::{Difference, Graph, NewCommit, NodeIndex};

/// What a question comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<A, Id> {
    /// The answer.
    Answered(A),
    /// These commits have to be loaded, or be known to be absent, first.
    Lacks(Vec<Id>),
}

/// A part of a graph.
#[derive(Debug, Clone)]
pub struct Partial<Id, T> {
    graph: Graph<Id, T>,
    absent: HashSet<Id>,
    /// Commits whose generation numbers are not known.
    unnumbered: Vec<Id>,
}

impl<Id, T> Default for Partial<Id, T> {
    fn default() -> Self {
        Self { graph: Graph::default(), absent: HashSet::new(), unnumbered: Vec::new() }
    }
}

impl<Id: Clone + Eq + Hash, T: Clone> Partial<Id, T> {
    /// What is loaded so far.
    pub const fn graph(&self) -> &Graph<Id, T> {
        &self.graph
    }

    /// Whether it is known of a commit that it is there, or that it is not.
    pub fn is_known(&self, id: &Id) -> bool {
        self.graph.contains(id) || self.absent.contains(id)
    }

    /// Takes it that a commit is not there.
    pub fn set_absent(&mut self, id: Id) {
        self.absent.insert(id);
    }

    /// Takes in a commit with its generation number, if that is known, as [`Graph::link_without_cycle`] does.
    pub fn insert(&mut self, commit: &NewCommit<Id, T>, generation: Option<u32>) {
        if generation.is_none() && !self.graph.contains(&commit.id) {
            self.unnumbered.push(commit.id.clone());
        }
        self.graph.link_without_cycle(commit, generation);
    }

    /// The commits that can be reached from `want` and not from `have`, nor from a commit that the walk meets and that
    /// `is_had`; and of those the ones that are fewer than `depth` steps from one that is wanted. What the walk starts
    /// from has to be known.
    pub fn difference<'q>(
        &self,
        want: impl IntoIterator<Item = &'q Id>,
        have: impl IntoIterator<Item = &'q Id>,
        is_had: impl Fn(&Id) -> bool,
        depth: Option<usize>,
    ) -> Asked<Difference<'_, Id>, Id>
    where
        Id: 'q,
    {
        self.ask(|graph| {
            let (commits, painting) = graph.paint_difference(want, have, is_had, depth);
            (graph.difference_of(&commits, &painting), painting)
        })
    }

    /// The best common ancestors of `a` and `b`, as [`Graph::best_common_ancestors`] has them.
    pub fn best_common_ancestors<'q>(
        &self,
        a: impl IntoIterator<Item = &'q Id>,
        b: impl IntoIterator<Item = &'q Id>,
    ) -> Asked<Vec<&Id>, Id>
    where
        Id: 'q,
    {
        self.ask(|graph| {
            let (best, painting) = graph.paint_down_to_common(a, b);
            (graph.ids_of(best.into_iter()), painting)
        })
    }

    /// Whether `ancestor` is one of `descendants` or can be reached from one. All of them have to be known.
    pub fn is_ancestor<'q>(&self, ancestor: &Id, descendants: impl IntoIterator<Item = &'q Id>) -> Asked<bool, Id>
    where
        Id: 'q,
    {
        let Some(node) = self.graph.node(ancestor) else {
            return Asked::Answered(false);
        };
        self.ask(|graph| {
            let descendants = descendants.into_iter().filter_map(|id| graph.node(id));
            let painting = graph.paint_down_to(node, descendants);
            (painting.of(node) == DESCENDANT, painting)
        })
    }

    fn ask<'g, A>(&'g self, question: impl FnOnce(&'g Graph<Id, T>) -> (A, Painting<'g, Id, T>)) -> Asked<A, Id> {
        let parents = self.unnumbered.iter().filter_map(|id| self.graph.node(id));
        let parents: Vec<NodeIndex> = parents.flat_map(|node| self.graph.parents_of(node)).copied().collect();
        let lacks = self.lacking(&parents);
        if !lacks.is_empty() {
            return Asked::Lacks(lacks);
        }
        let (answer, painting) = question(&self.graph);
        match self.lacking(painting.dangling()) {
            lacks if lacks.is_empty() => Asked::Answered(answer),
            lacks => Asked::Lacks(lacks),
        }
    }

    /// Those of these nodes that nothing is known of, each once.
    fn lacking(&self, nodes: &[NodeIndex]) -> Vec<Id> {
        let mut seen = HashSet::new();
        let named = nodes.iter().filter_map(|node| self.graph.nodes.get_index(*node as usize));
        named.map(|(id, _)| id).filter(|id| !self.is_known(id) && seen.insert(*id)).cloned().collect()
    }
}
