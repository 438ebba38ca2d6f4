//! Is one commit an ancestor of another? A branch may be fast-forwarded if so.

use std::hash::Hash;

use super::painting::{Paint, Painting};
use super::{Graph, NodeIndex};

pub(super) const DESCENDANT: Paint = 1;

impl<Id: Clone + Eq + Hash, T> Graph<Id, T> {
    /// Whether `descendant` is `ancestor` or can reach it by going from parent to parent. `false` if either is
    /// unknown.
    ///
    /// Walks from `descendant` down to the generation number of `ancestor`, not below.
    pub fn is_ancestor(&self, ancestor: &Id, descendant: &Id) -> bool {
        let (Some(ancestor), Some(descendant)) = (self.node(ancestor), self.node(descendant)) else {
            return false;
        };
        self.paint_down_to(ancestor, [descendant]).of(ancestor) == DESCENDANT
    }

    pub(super) fn paint_down_to(
        &self,
        ancestor: NodeIndex,
        descendants: impl IntoIterator<Item = NodeIndex>,
    ) -> Painting<'_, Id, T> {
        let mut painting = Painting::new(self);
        for descendant in descendants {
            painting.paint(descendant, DESCENDANT);
        }
        while painting.of(ancestor) != DESCENDANT
            && let Some((node, _)) = painting.visit()
            && self.generation_of(node) > self.generation_of(ancestor)
        {
            painting.paint_parents(node, DESCENDANT);
        }
        painting
    }
}
