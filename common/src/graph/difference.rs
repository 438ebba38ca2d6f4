//! What does a client lack that wants some commits and has others?

use std::hash::Hash;

use super::painting::{Paint, Painting};
use super::{Graph, NodeIndex};

const WANT: Paint = 1;
const HAVE: Paint = 1 << 1;

/// What [`Graph::difference`] found.
///
/// Both lists are parents first: by generation number, and within one generation in the order in which the graph
/// first heard of the commits. The same calls thus always give the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'g, Id> {
    /// The commits that can be reached from those wanted and not from those had.
    pub commits: Vec<&'g Id>,
    /// The parents of `commits` that can be reached from those had, each once: what the answer builds upon.
    pub boundary: Vec<&'g Id>,
}

impl<Id: Clone + Eq + Hash, T> Graph<Id, T> {
    /// The commits that can be reached from `want` and not from `have`. Each commit reaches itself; unknown ids are
    /// ignored.
    ///
    /// The walk ends as soon as all that is left is reachable from `have`: it visits nothing of a lower generation
    /// number than the lowest in `want` and in the answer, its boundary included. The history behind costs nothing.
    /// Each id in `have` costs a look-up and a place in the queue.
    pub fn difference<'q>(
        &self,
        want: impl IntoIterator<Item = &'q Id>,
        have: impl IntoIterator<Item = &'q Id>,
    ) -> Difference<'_, Id>
    where
        Id: 'q,
    {
        let (commits, painting) = self.paint_difference(want, have, |_| false);
        self.difference_of(&commits, &painting)
    }

    pub(super) fn difference_of(&self, commits: &[NodeIndex], painting: &Painting<'_, Id, T>) -> Difference<'_, Id> {
        // A parent of an answer is painted, and if it could be reached from `have` and did not know yet, the walk
        // would have gone on.
        let parents = commits.iter().flat_map(|node| self.present_parents_of(*node));
        let mut boundary: Vec<NodeIndex> = parents.filter(|parent| painting.of(*parent) & HAVE != 0).collect();
        boundary.sort_unstable_by_key(|node| (self.generation_of(*node), *node));
        boundary.dedup();

        Difference { commits: self.ids_of(commits.iter().copied()), boundary: self.ids_of(boundary.into_iter()) }
    }

    pub(super) fn paint_difference<'q>(
        &self,
        want: impl IntoIterator<Item = &'q Id>,
        have: impl IntoIterator<Item = &'q Id>,
        is_had: impl Fn(&Id) -> bool,
    ) -> (Vec<NodeIndex>, Painting<'_, Id, T>)
    where
        Id: 'q,
    {
        // Where what is had is known by asking, a commit counts as had when the walk meets it.
        let had = |node: NodeIndex| match self.nodes.get_index(node as usize) {
            Some((id, _)) if is_had(id) => HAVE,
            _ => 0,
        };
        let mut painting = Painting::new(self);
        painting.paint_ids(have, HAVE);
        for node in want.into_iter().filter_map(|id| self.node(id)) {
            painting.paint(node, WANT | had(node));
        }

        let mut commits = Vec::new();
        while painting.is_queued(WANT)
            && let Some((node, paint)) = painting.visit()
        {
            if paint == WANT {
                commits.push(node);
            }
            if paint == WANT {
                painting.paint_parents_as(node, |parent| paint | had(parent));
            } else {
                painting.paint_parents(node, paint);
            }
        }
        // Visited by decreasing generation number, and within one by decreasing index.
        commits.reverse();
        (commits, painting)
    }
}
