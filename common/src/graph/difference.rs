//! What does a client lack that wants some commits and has others?

use std::collections::HashSet;
use std::hash::Hash;

use super::painting::{Paint, Painting};
use super::{Graph, NodeIndex};

const WANT: Paint = 1;
const HAVE: Paint = 1 << 1;
/// Of a parent that is too deep to be sent: what is asked of it is only whether it is had.
const CUT: Paint = 1 << 2;

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
    /// The parents of `commits` that are neither among them nor had, each once: where a depth has cut the history off.
    pub cut: Vec<&'g Id>,
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
        self.difference_within(want, have, None)
    }

    /// The same, with only those commits that are fewer than `depth` steps to a parent away from one that is wanted.
    pub fn difference_within<'q>(
        &self,
        want: impl IntoIterator<Item = &'q Id>,
        have: impl IntoIterator<Item = &'q Id>,
        depth: Option<usize>,
    ) -> Difference<'_, Id>
    where
        Id: 'q,
    {
        let (commits, painting) = self.paint_difference(want, have, |_| false, depth);
        self.difference_of(&commits, &painting)
    }

    pub(super) fn difference_of(&self, commits: &[NodeIndex], painting: &Painting<'_, Id, T>) -> Difference<'_, Id> {
        // A parent of an answer is painted, and if it could be reached from `have` and did not know yet, the walk
        // would have gone on.
        let parents_where = |is_meant: &dyn Fn(Paint) -> bool| {
            let parents = commits.iter().flat_map(|node| self.present_parents_of(*node));
            let mut parents: Vec<NodeIndex> = parents.filter(|parent| is_meant(painting.of(*parent))).collect();
            parents.sort_unstable_by_key(|node| (self.generation_of(*node), *node));
            parents.dedup();
            self.ids_of(parents.into_iter())
        };
        Difference {
            commits: self.ids_of(commits.iter().copied()),
            boundary: parents_where(&|paint| paint & HAVE != 0),
            cut: parents_where(&|paint| paint == CUT),
        }
    }

    /// The commits that are fewer than `depth` steps from one that is wanted, and the dangling ones among them. What lies
    /// behind a commit that is had is left out.
    fn near(
        &self,
        want: &[NodeIndex],
        depth: usize,
        is_had: impl Fn(NodeIndex) -> bool,
    ) -> (HashSet<NodeIndex>, Vec<NodeIndex>) {
        let mut near: HashSet<NodeIndex> = want.iter().copied().collect();
        let mut level: Vec<NodeIndex> = near.iter().copied().collect();
        for _ in 1..depth {
            let parents = level.iter().filter(|node| !is_had(**node)).flat_map(|node| self.parents_of(*node));
            level = parents.copied().filter(|parent| near.insert(*parent)).collect();
            if level.is_empty() {
                break;
            }
        }
        let dangling = near.iter().copied().filter(|node| self.generation_of(*node) == 0).collect();
        (near, dangling)
    }

    pub(super) fn paint_difference<'q>(
        &self,
        want: impl IntoIterator<Item = &'q Id>,
        have: impl IntoIterator<Item = &'q Id>,
        is_had: impl Fn(&Id) -> bool,
        depth: Option<usize>,
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
        let want: Vec<NodeIndex> = want.into_iter().filter_map(|id| self.node(id)).collect();
        let near = depth.map(|depth| {
            let is_known_had = |node| painting.of(node) & HAVE != 0 || had(node) != 0;
            let (near, dangling) = self.near(&want, depth, is_known_had);
            painting.note_dangling(&dangling);
            near
        });
        let to_send = |node: NodeIndex| if near.as_ref().is_none_or(|near| near.contains(&node)) { WANT } else { CUT };
        for node in &want {
            painting.paint(*node, WANT | had(*node));
        }

        let mut commits = Vec::new();
        while (painting.is_queued(WANT) || painting.is_queued(CUT))
            && let Some((node, paint)) = painting.visit()
        {
            match paint {
                WANT => {
                    commits.push(node);
                    painting.paint_parents_as(node, |parent| to_send(parent) | had(parent));
                }
                // What is behind it is not looked at.
                CUT => {}
                paint => painting.paint_parents(node, paint & HAVE),
            }
        }
        // Visited by decreasing generation number, and within one by decreasing index.
        commits.reverse();
        (commits, painting)
    }
}
