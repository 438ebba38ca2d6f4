//! The order of commits that are in no graph yet, such as those of a bundle that was pushed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hash;

use indexmap::IndexMap;

use super::Cycle;

/// A commit as it was sent: its position, and the ids of its parents.
struct Sent<'c, Id> {
    position: usize,
    parents: &'c [Id],
}

/// The positions of the commits, given as `(id, parents)`, in an order in which every parent comes before its
/// children. Of the commits that could be next, the one sent first is: commits sent parents first stay as they are.
///
/// Parents that were not sent are ignored. Where an id is sent more than once, the first stands for all: the
/// positions of the others, and the parents they name, are left out.
///
/// ```
/// use common::graph::topological_order;
///
/// let sent: [(&str, &[&str]); 3] = [("child", &["parent"]), ("parent", &[]), ("other", &[])];
/// let order = topological_order(sent.iter().map(|(id, parents)| (id, *parents)))?;
/// assert_eq!(order, [1, 0, 2]);
/// # Ok::<_, common::graph::Cycle<&str>>(())
/// ```
///
/// # Errors
///
/// If a commit would be its own ancestor.
pub fn topological_order<'c, Id: Clone + Eq + Hash + 'c>(
    commits: impl IntoIterator<Item = (&'c Id, &'c [Id])>,
) -> Result<Vec<usize>, Cycle<Id>> {
    let mut sent: IndexMap<&Id, Sent<'c, Id>> = IndexMap::new();
    for (position, (id, parents)) in commits.into_iter().enumerate() {
        sent.entry(id).or_insert(Sent { position, parents });
    }

    // From here on a commit is its index in `sent`, which is in the order of positions too. A parent named twice
    // counts twice in both lists, which comes out even.
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); sent.len()];
    let mut parents_left: Vec<usize> = vec![0; sent.len()];
    for (child, commit) in sent.values().enumerate() {
        for parent in commit.parents.iter().filter_map(|parent| sent.get_index_of(parent)) {
            children[parent].push(child);
            parents_left[child] += 1;
        }
    }

    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..sent.len()).filter(|at| parents_left[*at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(sent.len());
    while let Some(Reverse(parent)) = ready.pop() {
        order.push(sent[parent].position);
        for child in &children[parent] {
            parents_left[*child] -= 1;
            if parents_left[*child] == 0 {
                ready.push(Reverse(*child));
            }
        }
    }

    match commit_on_cycle(&sent, &parents_left) {
        Some(commit) => Err(Cycle { commit: commit.clone() }),
        None => Ok(order),
    }
}

/// A commit still has parents left if it is on a cycle or descends from one. Going from parent to parent among these
/// therefore never ends, and the first commit met twice is on a cycle.
fn commit_on_cycle<'c, Id: Eq + Hash>(sent: &IndexMap<&'c Id, Sent<'c, Id>>, parents_left: &[usize]) -> Option<&'c Id> {
    let mut at = parents_left.iter().position(|left| *left > 0)?;
    let mut met = vec![false; sent.len()];
    while !met[at] {
        met[at] = true;
        let mut parents = sent[at].parents.iter().filter_map(|parent| sent.get_index_of(parent));
        at = parents.find(|parent| parents_left[*parent] > 0)?;
    }
    sent.get_index(at).map(|(id, _)| *id)
}
