//! Where did two lines of history part?
//!
//! This is `paint_down_to_common` of [Git's `commit-reach.c`](https://github.com/git/git/blob/master/commit-reach.c).
//! Git has to weed out redundant answers afterwards, because its queue may be ordered by dates; generation numbers
//! are exact, so here there are none.

use std::hash::Hash;

use super::painting::{Paint, Painting};
use super::{Graph, NodeIndex};

const OF_A: Paint = 1;
const OF_B: Paint = 1 << 1;
/// A proper ancestor of a common ancestor.
const STALE: Paint = 1 << 2;

impl<Id: Clone + Eq + Hash, T> Graph<Id, T> {
    /// The commits that can be reached from one of `a` and from one of `b`, without those that can be reached from
    /// another such commit. Each commit reaches itself; unknown ids are ignored. The merge bases of a merge of two
    /// commits are these.
    ///
    /// There can be several (after merges in both directions), or none; the greatest generation number comes first,
    /// and within one generation the commit that the graph heard of last.
    pub fn best_common_ancestors<'q>(
        &self,
        a: impl IntoIterator<Item = &'q Id>,
        b: impl IntoIterator<Item = &'q Id>,
    ) -> Vec<&Id>
    where
        Id: 'q,
    {
        let (best, _) = self.paint_down_to_common(a, b);
        self.ids_of(best.into_iter())
    }

    pub(super) fn paint_down_to_common<'q>(
        &self,
        a: impl IntoIterator<Item = &'q Id>,
        b: impl IntoIterator<Item = &'q Id>,
    ) -> (Vec<NodeIndex>, Painting<'_, Id, T>)
    where
        Id: 'q,
    {
        let mut painting = Painting::new(self);
        painting.paint_ids(a, OF_A);
        painting.paint_ids(b, OF_B);

        let mut best = Vec::new();
        while can_still_meet(&painting)
            && let Some((node, paint)) = painting.visit()
        {
            if paint == OF_A | OF_B {
                best.push(node);
                painting.paint_parents(node, OF_A | OF_B | STALE);
            } else {
                painting.paint_parents(node, paint);
            }
        }
        (best, painting)
    }
}

/// Whether a best common ancestor may be queued, or be reached from both sides of what is queued.
fn can_still_meet<Id: Clone + Eq + Hash, T>(painting: &Painting<'_, Id, T>) -> bool {
    painting.is_queued(OF_A | OF_B) || (painting.is_queued(OF_A) && painting.is_queued(OF_B))
}
