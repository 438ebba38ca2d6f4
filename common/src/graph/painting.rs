//! The walk that all questions share: from newer commits to older ones, painting as it goes.
//!
//! A question paints the commits it starts from, each kind in its own colour, and then visits commits by decreasing
//! generation number, handing colours down to parents. All from which a commit can be reached have greater generation
//! numbers, so at its visit a commit has every colour it will ever have, and is never visited again. A question stops
//! when no commit in the queue is painted in a way that could still change its answer: how many are queued with each
//! paint is counted for that.

use std::collections::BinaryHeap;
use std::hash::Hash;

use super::{Graph, NodeIndex};

/// A set of colours, one bit each. No question needs more than three.
pub(super) type Paint = u8;

const UNPAINTED: Paint = 0;
const PAINTS: usize = 1 << 3;

pub(super) struct Painting<'g, Id, T> {
    graph: &'g Graph<Id, T>,
    /// One byte for every node, zeroed, which costs next to nothing as long as it is not touched.
    paint: Vec<Paint>,
    /// The commits painted and not yet visited, each once; the greatest generation number first, then the one named
    /// last.
    queue: BinaryHeap<(u32, NodeIndex)>,
    queued: [usize; PAINTS],
    /// Dangling parents of commits that were visited: a graph that is not all there may be asked again with those.
    dangling: Vec<NodeIndex>,
}

impl<'g, Id: Clone + Eq + Hash, T> Painting<'g, Id, T> {
    pub(super) fn new(graph: &'g Graph<Id, T>) -> Self {
        Self {
            graph,
            paint: vec![UNPAINTED; graph.nodes.len()],
            queue: BinaryHeap::new(),
            queued: [0; PAINTS],
            dangling: Vec::new(),
        }
    }

    /// Adds colours to a commit that has not been visited, and queues it at its first.
    pub(super) fn paint(&mut self, node: NodeIndex, colours: Paint) {
        let before = self.paint[node as usize];
        let after = before | colours;
        if after == before {
            return;
        }
        self.paint[node as usize] = after;
        self.queued[after as usize] += 1;
        if before == UNPAINTED {
            self.queue.push((self.graph.generation_of(node), node));
        } else {
            self.queued[before as usize] -= 1;
        }
    }

    /// Paints the commits to start from. Ids that the graph lacks are ignored.
    pub(super) fn paint_ids<'q>(&mut self, ids: impl IntoIterator<Item = &'q Id>, colours: Paint)
    where
        Id: 'q,
    {
        for node in ids.into_iter().filter_map(|id| self.graph.node(id)) {
            self.paint(node, colours);
        }
    }

    pub(super) fn paint_parents(&mut self, node: NodeIndex, colours: Paint) {
        self.paint_parents_as(node, |_| colours);
    }

    /// Adds colours to the parents of a commit, to each its own.
    pub(super) fn paint_parents_as(&mut self, node: NodeIndex, colours: impl Fn(NodeIndex) -> Paint) {
        let graph = self.graph;
        for parent in graph.parents_of(node) {
            if graph.nodes[*parent as usize].commit.is_some() {
                self.paint(*parent, colours(*parent));
            } else {
                self.dangling.push(*parent);
            }
        }
    }

    /// Notes dangling commits that a question is about and that no visit leads to.
    pub(super) fn note_dangling(&mut self, nodes: &[NodeIndex]) {
        self.dangling.extend(nodes);
    }

    /// The dangling parents of what was visited, some of them more than once.
    pub(super) fn dangling(&self) -> &[NodeIndex] {
        &self.dangling
    }

    /// Takes the next commit out of the queue. Its paint is final.
    pub(super) fn visit(&mut self) -> Option<(NodeIndex, Paint)> {
        let (_, node) = self.queue.pop()?;
        let paint = self.of(node);
        self.queued[paint as usize] -= 1;
        Some((node, paint))
    }

    /// Whether a commit with exactly these colours is queued.
    pub(super) fn is_queued(&self, colours: Paint) -> bool {
        self.queued[colours as usize] > 0
    }

    /// The colours of a commit as of now.
    pub(super) fn of(&self, node: NodeIndex) -> Paint {
        self.paint[node as usize]
    }

    /// How many commits were visited: each painted one was queued once.
    #[cfg(test)]
    pub(super) fn visits(&self) -> usize {
        let painted = self.paint.iter().filter(|paint| **paint != UNPAINTED).count();
        painted - self.queue.len()
    }
}
