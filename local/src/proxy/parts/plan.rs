//! In which parts a large push goes, and where the branch is after each. Pure.
//!
//! Parents go before children. Where it can, the branch goes along the first parents of its head to be, so that a push which broke
//! off goes on behind the last part that arrived. Readers see an older state of the branch and never half of one.

use std::collections::{HashMap, HashSet};

use common::graph::topological_order;
use common::id::{CommitId, SnapshotId};
use common::wire::limits::MAX_COMMITS;

use super::records::{CommitEntry, Place};

/// What is sent in one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// By their positions among all.
    pub commits: Vec<usize>,
    pub snapshots: Vec<Place>,
    /// Where the branch is to be behind it; none if it is not there and stays so.
    pub head: Option<CommitId>,
    /// Whether it was elsewhere before.
    pub is_moved: bool,
    bytes: usize,
}

/// Parts, the last of which is not full yet.
struct Filling {
    full: Vec<Part>,
    part: Part,
    most: usize,
}

impl Filling {
    /// The part that takes what has these bytes.
    fn room_for(&mut self, bytes: usize) -> &mut Part {
        let is_full = self.part.bytes + bytes > self.most || self.part.commits.len() == MAX_COMMITS;
        if self.part.bytes > 0 && is_full {
            let next = Part { head: self.part.head.clone(), ..Part::default() };
            self.full.push(std::mem::replace(&mut self.part, next));
        }
        self.part.bytes += bytes;
        &mut self.part
    }
}

/// A push, to be planned.
#[derive(Clone, Copy)]
pub struct Push<'p> {
    pub commits: &'p [CommitEntry],
    pub snapshots: &'p [(SnapshotId, Place)],
    pub branch: &'p str,
    /// Where the client says that its branch is.
    pub claimed: Option<&'p CommitId>,
    /// Where the branch is at the hub.
    pub now: Option<&'p CommitId>,
    /// Whether the branch, if it is there, has to stay where it is until the last part.
    pub is_moved_at_once: bool,
    /// Bytes of the records of a part. One record may have more.
    pub bytes: usize,
}

impl Push<'_> {
    /// The commit that the push is about, by the contract's rules for a bundle that has all of these.
    ///
    /// # Errors
    /// When a commit is its own ancestor.
    fn tip(&self) -> Result<Option<CommitId>, String> {
        if let Some(claimed) = self.claimed {
            // Where it is none of these, the hub knows whether it has it.
            return Ok(Some(claimed.clone()));
        }
        let order = topological_order(self.commits.iter().map(|commit| (&commit.id, commit.parents.as_slice())));
        let order = order.map_err(|cycle| cycle.to_string())?;
        let parents: HashSet<&CommitId> = self.commits.iter().flat_map(|commit| &commit.parents).collect();
        let all = || order.iter().rev().filter_map(|at| self.commits.get(*at));
        let childless = || all().filter(|commit| !parents.contains(&commit.id));
        let of_branch = childless().find(|commit| *commit.branch == *self.branch);
        Ok(of_branch.or_else(|| childless().next()).map(|commit| commit.id.clone()))
    }

    /// The parts, in the order in which they have to go; at least one. What the branch reaches already is in none.
    ///
    /// # Errors
    /// When a commit is its own ancestor.
    pub fn parts(&self) -> Result<Vec<Part>, String> {
        let tip = self.tip()?;
        let mut at: HashMap<&CommitId, usize> = HashMap::with_capacity(self.commits.len());
        for (position, commit) in self.commits.iter().enumerate() {
            at.entry(&commit.id).or_insert(position);
        }
        let mut visited = vec![false; self.commits.len()];
        let mut reached = Vec::new();
        if let Some(now) = self.now {
            self.visit(now, &at, &mut visited, &mut reached);
        }
        let mut order = Vec::with_capacity(self.commits.len());
        for id in tip.iter().chain(self.commits.iter().map(|commit| &commit.id)) {
            self.visit(id, &at, &mut visited, &mut order);
        }
        let stops = tip.as_ref().map(|tip| self.stops(tip, &at)).unwrap_or_default();

        let mut left: HashMap<&SnapshotId, Place> = self.snapshots.iter().map(|(id, place)| (id, *place)).collect();
        for commit in reached.iter().filter_map(|at| self.commits.get(*at)) {
            commit.snapshot.as_ref().and_then(|id| left.remove(id));
        }
        // A branch that is not there begins where the hub's history ends, so that no part puts it anywhere else.
        let head = self.now.or_else(|| self.begin(tip.as_ref()?, &at)).cloned();
        let is_moved = head.as_ref() != self.now;
        let part = Part { head, is_moved, ..Part::default() };
        let mut parts = Filling { full: Vec::new(), part, most: self.bytes };
        for (position, commit) in order.iter().filter_map(|at| Some((*at, self.commits.get(*at)?))) {
            let snapshot = commit.snapshot.as_ref().and_then(|id| left.remove(id));
            let part = parts.room_for(commit.place.length + snapshot.map_or(0, |place| place.length));
            part.commits.push(position);
            part.snapshots.extend(snapshot);
            if stops.contains(&commit.id) {
                part.head = Some(commit.id.clone());
                part.is_moved = true;
            }
        }
        // Those that no commit names, in the order sent.
        for place in self.snapshots.iter().filter_map(|(id, _)| left.remove(id)) {
            parts.room_for(place.length).snapshots.push(place);
        }
        let Filling { mut full, mut part, .. } = parts;
        part.is_moved |= part.head != tip;
        part.head = tip;
        full.push(part);
        Ok(full)
    }

    /// Puts what `id` reaches and was not visited behind `order`: parents before children, and all that a first parent reaches
    /// before the second. So the first of all is on the line of first parents, if that begins here.
    fn visit(&self, id: &CommitId, at: &HashMap<&CommitId, usize>, visited: &mut [bool], order: &mut Vec<usize>) {
        let mut enter = |id: &CommitId| {
            let position = *at.get(id)?;
            let is_visited = visited.get_mut(position)?;
            (!std::mem::replace(is_visited, true)).then_some((position, 0))
        };
        let mut path: Vec<(usize, usize)> = enter(id).into_iter().collect();
        while let Some((position, next)) = path.last_mut() {
            let parent = self.commits.get(*position).and_then(|commit| commit.parents.get(*next));
            *next += 1;
            match parent {
                Some(parent) => path.extend(enter(parent)),
                None => {
                    order.push(*position);
                    path.pop();
                }
            }
        }
    }

    /// Where the line of first parents of the tip leaves these commits; none if it does not.
    fn begin<'c>(&'c self, tip: &'c CommitId, at: &HashMap<&CommitId, usize>) -> Option<&'c CommitId> {
        let mut seen = HashSet::new();
        let mut id = tip;
        while let Some(commit) = at.get(id).and_then(|at| self.commits.get(*at)) {
            if !seen.insert(id) {
                return None;
            }
            id = commit.parents.first()?;
        }
        Some(id)
    }

    /// Where the branch may be on its way: on the line of first parents of the tip, if it is on it now, or not there at all.
    fn stops(&self, tip: &CommitId, at: &HashMap<&CommitId, usize>) -> HashSet<CommitId> {
        let mut stops = HashSet::new();
        let mut next = Some(tip);
        while let Some(id) = next.filter(|id| self.now != Some(*id)) {
            let Some(commit) = at.get(id).and_then(|at| self.commits.get(*at)) else {
                break;
            };
            if !stops.insert(id.clone()) {
                break;
            }
            next = commit.parents.first();
        }
        let is_on_it = self.now.is_none() || next == self.now && !self.is_moved_at_once;
        if is_on_it { stops } else { HashSet::new() }
    }
}
