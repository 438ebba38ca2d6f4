//! The commit graph of a repository: which commits there are, what their parents are, and what a hub asks of that.
//! May this branch move from here to there? What does a client lack that has these commits? Where did two branches
//! part?
//!
//! Read on in this order:
//!
//! - this file: the types, and how a graph lies in memory;
//! - `extend`: how commits get in, and how a cycle is kept out;
//! - `order`: [`topological_order`], parents first, of commits that are in no graph yet;
//! - `painting`: the one walk that all questions share;
//! - `ancestry`, `difference`, `common_ancestors`: the questions, each a painting read off;
//! - `partial`: the same questions of a graph that is loaded on demand.
//!
//! Everything rests on one invariant: the *generation number* of a commit is 1 + the greatest of its known parents',
//! and 1 if it has none, as in Git's `Documentation/technical/commit-graph` (there "topological level"). A commit's
//! generation number is thus greater than that of any commit it can reach, and a walk that visits greater ones first
//! sees every commit only after all from which it can be reached.
//!
//! A parent that some commit names and the graph lacks is *dangling*. It has its place in the graph, so that it can
//! be filled in later, but no question is answered with it, and as a part of a question it is as unknown as any other
//! absent id.
//!
//! ```
//! use common::graph::{Graph, NewCommit};
//!
//! // a - b - d
//! //   \\ c /
//! let commit = |id, parents: &[&'static str]| NewCommit { id, parents: parents.to_vec(), payload: () };
//! let mut graph = Graph::new();
//! graph.extend([commit("a", &[]), commit("b", &["a"]), commit("c", &["a"]), commit("d", &["b", "c"])])?;
//!
//! assert!(graph.is_ancestor(&"b", &"d"), "a branch at b may be fast-forwarded to d");
//! assert_eq!(graph.best_common_ancestors([&"b"], [&"c"]), [&"a"]);
//! let lacks = graph.difference([&"d"], [&"b"]);
//! assert_eq!((lacks.commits, lacks.boundary), (vec![&"c", &"d"], vec![&"a", &"b"]));
//! # Ok::<_, common::graph::Cycle<&str>>(())
//! ```
//!
//! The module is pure: no I/O, no clock, and no answer depends on a hash map's order. Nothing recurses, so the depth
//! of a history never meets the depth of a stack. A graph holds fewer than 2³² commits and fewer than 2³² edges from
//! a child to a parent; at 12 bytes an edge, the memory of a Lambda function (10 GB) ends first.

#![allow(clippy::indexing_slicing, reason = "indexes are the module's own, handed out by itself, and never input")]

mod ancestry;
mod common_ancestors;
mod difference;
mod extend;
mod order;
mod painting;
mod partial;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use indexmap::IndexMap;

pub use difference::Difference;
pub use order::topological_order;
pub use partial::{Asked, Partial};

/// The place of a commit, present or dangling, in [`Graph::nodes`].
type NodeIndex = u32;

/// Where an edge lies in [`Graph::parents`] and [`Graph::siblings`].
type EdgeIndex = u32;

/// The end of a list of siblings.
const NO_EDGE: EdgeIndex = EdgeIndex::MAX;

/// The commits of a repository, each with a payload `T` (the hub keeps the id of the commit's snapshot there).
///
/// Besides `Id` and `T`, a commit costs some 50 bytes, and 12 for each of its parents.
#[derive(Clone, Debug)]
pub struct Graph<Id, T> {
    /// In the order in which the ids were first named, as a commit or as a parent. Nothing is ever removed, so an index
    /// stands.
    nodes: IndexMap<Id, Node<T>>,
    /// The parent at the end of each edge. The edges of one commit lie together, in the order its parents were given.
    parents: Vec<NodeIndex>,
    /// The other view of the same edges, from the parent: its children as a linked list.
    siblings: Vec<Sibling>,
    /// How many of the nodes are present; the others are dangling.
    present: usize,
}

#[derive(Clone, Debug)]
struct Node<T> {
    /// The head of the list of children.
    newest_child: EdgeIndex,
    /// `None` while the node is dangling.
    commit: Option<Commit<T>>,
}

#[derive(Clone, Debug)]
struct Commit<T> {
    generation: u32,
    /// Whether the number was given, and does not follow from what the graph knows.
    is_numbered: bool,
    /// The commit's edges are those from `first_edge` to before `end_edge`.
    first_edge: EdgeIndex,
    end_edge: EdgeIndex,
    payload: T,
}

#[derive(Clone, Debug)]
struct Sibling {
    child: NodeIndex,
    /// The edge of the same parent's next older child, or [`NO_EDGE`].
    next: EdgeIndex,
}

/// A commit to add to a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit<Id, T> {
    /// The commit's own id.
    pub id: Id,
    /// Its parents in the commit's order, any number of them. A parent named twice stays named twice.
    pub parents: Vec<Id>,
    /// What the graph keeps for the commit.
    pub payload: T,
}

/// Commits that would be their own ancestors. Ids that are hashes of contents cannot form a cycle, so these ids were
/// made up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("commit {commit} is its own ancestor")]
pub struct Cycle<Id> {
    /// One of the commits on the cycle (not merely a descendant of it).
    pub commit: Id,
}

impl<Id: Clone + Eq + Hash, T> Graph<Id, T> {
    /// A graph without commits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commits there are, dangling parents not counted.
    pub fn len(&self) -> usize {
        self.present
    }

    /// Whether there are no commits.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Whether the commit is here. A dangling parent is not.
    pub fn contains(&self, id: &Id) -> bool {
        self.commit(id).is_some()
    }

    /// What was given with the commit.
    pub fn payload(&self, id: &Id) -> Option<&T> {
        Some(&self.commit(id)?.payload)
    }

    /// The commit's generation number: 1 + the greatest of its known parents', and 1 if it has none.
    pub fn generation(&self, id: &Id) -> Option<u32> {
        Some(self.commit(id)?.generation)
    }

    /// The parents as they were given, the dangling ones among them.
    pub fn parents(&self, id: &Id) -> Option<Vec<&Id>> {
        let parents = self.parents_of(self.node(id)?);
        Some(self.ids_of(parents.iter().copied()))
    }

    /// The parents that some commit names and the graph lacks, each once, in the order they were first named. Looks
    /// at every commit.
    pub fn dangling(&self) -> impl Iterator<Item = &Id> {
        self.nodes.iter().filter(|(_, node)| node.commit.is_none()).map(|(id, _)| id)
    }

    fn commit(&self, id: &Id) -> Option<&Commit<T>> {
        self.nodes.get(id)?.commit.as_ref()
    }

    /// The node of a commit that is present.
    fn node(&self, id: &Id) -> Option<NodeIndex> {
        let (index, _, node) = self.nodes.get_full(id)?;
        node.commit.as_ref().map(|_| index as NodeIndex)
    }

    fn ids_of(&self, nodes: impl Iterator<Item = NodeIndex>) -> Vec<&Id> {
        nodes.filter_map(|node| self.nodes.get_index(node as usize)).map(|(id, _)| id).collect()
    }

    /// The generation number of a node; that of a dangling one is 0, which no commit has.
    fn generation_of(&self, node: NodeIndex) -> u32 {
        self.nodes[node as usize].commit.as_ref().map_or(0, |commit| commit.generation)
    }

    /// All parents of a node, the dangling ones among them. A dangling node has none.
    fn parents_of(&self, node: NodeIndex) -> &[NodeIndex] {
        match &self.nodes[node as usize].commit {
            Some(commit) => &self.parents[commit.first_edge as usize..commit.end_edge as usize],
            None => &[],
        }
    }

    /// The parents of a node that are present.
    fn present_parents_of(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let is_present = |parent: &NodeIndex| self.nodes[*parent as usize].commit.is_some();
        self.parents_of(node).iter().copied().filter(is_present)
    }
}

impl<Id, T> Default for Graph<Id, T> {
    fn default() -> Self {
        Self { nodes: IndexMap::new(), parents: Vec::new(), siblings: Vec::new(), present: 0 }
    }
}
