//! How commits get into the graph.
//!
//! Each commit is linked to its parents as it comes, and numbered. Where parents come first that is all: the number
//! is final, and no cycle can close. A commit is late if it comes after a child, or is its own: then the numbers of
//! its descendants are to be corrected, and a cycle, if there is one, runs through a late commit and thus through its
//! descendants only. Ordering them parents first finds the cycle, or else is the order in which to number them again.
//! On a cycle everything is unlinked, the last edge first.

use std::hash::Hash;
use std::{iter, mem};

use indexmap::IndexSet;

use super::{Commit, Cycle, EdgeIndex, Graph, NO_EDGE, NewCommit, Node, NodeIndex, Sibling, topological_order};

impl<Id: Clone + Eq + Hash, T> Graph<Id, T> {
    /// Adds commits, given in any order. A parent may be in the same call, in the graph already, or absent, which
    /// leaves it dangling until it is added. A commit that is in the graph already, or was given earlier in the same
    /// call, is skipped: the first wins.
    ///
    /// The cost depends on the number of commits added, not on those in the graph, except that filling in a dangling
    /// parent costs as much as it has descendants. So page a history in oldest first: newest first, each page would
    /// renumber all before it.
    ///
    /// # Errors
    ///
    /// If a commit would be its own ancestor. The graph is then as it was before the call.
    pub fn extend(&mut self, commits: impl IntoIterator<Item = NewCommit<Id, T>>) -> Result<(), Cycle<Id>> {
        self.link_and_number(commits.into_iter().map(|commit| (commit, None))).map(|_numbered| ())
    }

    /// The same with commits whose generation numbers are known, as far as they are. Such a number stands, even if the
    /// graph lacks ancestors, and adding a parent later costs nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::extend`].
    pub fn extend_numbered(
        &mut self,
        commits: impl IntoIterator<Item = (NewCommit<Id, T>, Option<u32>)>,
    ) -> Result<(), Cycle<Id>> {
        self.link_and_number(commits).map(|_numbered| ())
    }

    /// Adds a commit, with its generation number if that is known. A commit that would be its own ancestor is not
    /// linked to the parent through which it would be, so that the rest of the history stays usable: ids that are not
    /// hashes may name each other like this, in pushes that raced. Returns whether it was linked to all of its parents.
    pub fn link_without_cycle(&mut self, commit: &NewCommit<Id, T>, generation: Option<u32>) -> bool
    where
        T: Clone,
    {
        // A commit has two parents at most. Without any it closes no cycle.
        let all = &commit.parents;
        let one_less = (0..all.len()).map(|left_out| {
            let kept = all.iter().enumerate().filter(move |(position, _)| *position != left_out);
            kept.map(|(_, parent)| parent.clone()).collect::<Vec<Id>>()
        });
        let mut tries = iter::once(all.clone()).chain(one_less).chain([Vec::new()]);
        let linked = tries
            .position(|parents| self.extend_numbered([(NewCommit { parents, ..commit.clone() }, generation)]).is_ok());
        linked == Some(0)
    }

    /// Returns how often a commit was given a generation number: the measure of what the call cost.
    pub(super) fn link_and_number(
        &mut self,
        commits: impl IntoIterator<Item = (NewCommit<Id, T>, Option<u32>)>,
    ) -> Result<usize, Cycle<Id>> {
        let nodes_before = self.nodes.len();
        let edges_before = self.parents.len();

        let mut added = Vec::new();
        let mut late = Vec::new();
        for (commit, generation) in commits {
            if let Some(node) = self.link(commit, generation) {
                added.push(node);
                let has_children = self.nodes[node as usize].newest_child != NO_EDGE;
                if has_children {
                    late.push(node);
                }
            }
        }

        let affected = self.with_descendants(late);
        let order = topological_order(affected.iter().map(|node| (node, self.parents_of(*node))));
        match order {
            Ok(order) => {
                for position in order {
                    self.number(affected[position]);
                }
                Ok(added.len() + affected.len())
            }
            Err(Cycle { commit }) => {
                let commit = self.nodes.keys()[commit as usize].clone();
                self.unlink(&added, nodes_before, edges_before);
                Err(Cycle { commit })
            }
        }
    }

    /// Puts a commit in its place and numbers it by what is known of its parents so far. `None` if it is present
    /// already.
    fn link(&mut self, new: NewCommit<Id, T>, generation: Option<u32>) -> Option<NodeIndex> {
        let node = self.node_or_dangling(new.id);
        if self.nodes[node as usize].commit.is_some() {
            return None;
        }

        let first_edge = self.parents.len() as EdgeIndex;
        for parent in new.parents {
            let parent = self.node_or_dangling(parent);
            let edge = self.parents.len() as EdgeIndex;
            let next = mem::replace(&mut self.nodes[parent as usize].newest_child, edge);
            self.parents.push(parent);
            self.siblings.push(Sibling { child: node, next });
        }
        let end_edge = self.parents.len() as EdgeIndex;

        let (is_numbered, generation) = (generation.is_some(), generation.unwrap_or(0));
        let commit = Commit { generation, is_numbered, first_edge, end_edge, payload: new.payload };
        self.nodes[node as usize].commit = Some(commit);
        self.present += 1;
        self.number(node);
        Some(node)
    }

    /// Undoes every [`link`](Self::link) since the graph had this many nodes and edges.
    fn unlink(&mut self, added: &[NodeIndex], nodes_before: usize, edges_before: usize) {
        let newest_first = self.parents.drain(edges_before..).zip(self.siblings.drain(edges_before..)).rev();
        for (parent, sibling) in newest_first {
            self.nodes[parent as usize].newest_child = sibling.next;
        }
        for node in added {
            self.nodes[*node as usize].commit = None;
        }
        self.nodes.truncate(nodes_before);
        self.present -= added.len();
    }

    fn node_or_dangling(&mut self, id: Id) -> NodeIndex {
        let entry = self.nodes.entry(id);
        let index = entry.index();
        entry.or_insert(Node { newest_child: NO_EDGE, commit: None });
        index as NodeIndex
    }

    /// The nodes and all that descend from them, each once; not beyond those whose numbers stand.
    fn with_descendants(&self, nodes: Vec<NodeIndex>) -> IndexSet<NodeIndex> {
        let mut found: IndexSet<NodeIndex> = nodes.into_iter().collect();
        let mut position = 0;
        while let Some(node) = found.get_index(position).copied() {
            let is_open = |child: &NodeIndex| {
                self.nodes[*child as usize].commit.as_ref().is_some_and(|commit| !commit.is_numbered)
            };
            found.extend(self.children_of(node).filter(is_open));
            position += 1;
        }
        found
    }

    fn children_of(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let mut edge = self.nodes[node as usize].newest_child;
        iter::from_fn(move || {
            // No sibling lies at `NO_EDGE`, which ends the list.
            let Sibling { child, next } = self.siblings.get(edge as usize)?;
            edge = *next;
            Some(*child)
        })
    }

    /// Gives a commit the generation number that follows from its parents'. A dangling one counts 0.
    fn number(&mut self, node: NodeIndex) {
        let parents = self.parents_of(node).iter();
        let greatest = parents.map(|parent| self.generation_of(*parent)).max();
        let generation = greatest.unwrap_or(0) + 1;
        if let Some(commit) = self.nodes[node as usize].commit.as_mut().filter(|commit| !commit.is_numbered) {
            commit.generation = generation;
        }
    }
}
