//! Every record that the packs of a repo list, with how many copies of it are whole, and what depends on what. Pure.
//!
//! It holds ids and no contents: some 150 bytes a record, as much as the index that a hub keeps of the repo.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::finding::Dependents;
use common::id::{CommitId, ObjectKey, SnapshotId};
use common::pack::index::FrameRecords;
use common::pack::{Contents, GraphSection, Kind, PackId};

/// Names of branches, tags and releases that a finding lists.
const LISTED: usize = 100;
/// Findings whose dependents are worked out at the same time: one bit of a word each.
const BATCH: usize = 64;

/// The copies of one record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// Those that nothing is known against.
    whole: u32,
    /// Those that were read and are damaged.
    broken: u32,
    /// The number of the first pack that lists it, which is the one that it is read from.
    first: u32,
}

impl Copies {
    /// Whether there is a copy that nothing is known against.
    pub const fn any_whole(self) -> bool {
        self.whole > 0
    }

    /// Whether readers go to the pack of this number.
    pub const fn is_read_from(self, pack: u32) -> bool {
        self.first == pack
    }

    const fn one(pack: u32) -> Self {
        Self { whole: 0, broken: 0, first: pack }
    }
}

#[derive(Debug)]
struct CommitFacts {
    parents: Vec<CommitId>,
    snapshot: Option<SnapshotId>,
    copies: Copies,
}

#[derive(Debug, Clone, Copy)]
struct ObjectFacts {
    copies: Copies,
    is_reached: bool,
}

/// The records of a repo.
#[derive(Debug, Default)]
pub struct Catalog {
    commits: IndexMap<CommitId, CommitFacts>,
    snapshots: HashMap<SnapshotId, Copies>,
    objects: HashMap<ObjectKey, ObjectFacts>,
}

/// A record by its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordId {
    /// A commit.
    Commit(CommitId),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// An object.
    Object(ObjectKey),
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commit(id) => write!(out, "commit {}", id.as_ref()),
            Self::Snapshot(id) => write!(out, "snapshot {}", id.as_ref()),
            Self::Object(key) => write!(out, "object {}", key.as_ref()),
        }
    }
}

/// The ids of a frame's records, in their order.
pub fn ids(records: &FrameRecords) -> Box<dyn Iterator<Item = (RecordId, u32)> + Send + '_> {
    match records {
        FrameRecords::Commits(records) => {
            Box::new(records.iter().map(|(id, length)| (RecordId::Commit(id.clone()), *length)))
        }
        FrameRecords::Snapshots(records) => {
            Box::new(records.iter().map(|(id, length)| (RecordId::Snapshot(id.clone()), *length)))
        }
        FrameRecords::Objects(records) => {
            Box::new(records.iter().map(|(key, length)| (RecordId::Object(key.clone()), *length)))
        }
    }
}

/// The large objects that a pack of this name lists: each with the pack whose name its S3 key has, and its size.
pub fn large_objects(pack: PackId, contents: &Contents) -> impl Iterator<Item = (PackId, &ObjectKey, u64)> {
    let own = contents.large.iter().map(move |(key, size)| (pack, key, *size));
    own.chain(contents.inherited.iter().map(|(pack, key, size)| (*pack, key, *size)))
}

/// What a finding touches, from which its dependents are worked out.
#[derive(Debug, Default)]
pub struct Touched {
    /// Whether no request about the repo can be answered.
    pub everything: bool,
    /// Commits that are damaged or missing, or that name a snapshot which is.
    pub commits: HashSet<CommitId>,
    /// Snapshots that are damaged or missing, or that name an object which is.
    pub snapshots: HashSet<SnapshotId>,
    /// Objects that are damaged or missing.
    pub objects: HashSet<ObjectKey>,
}

impl Touched {
    /// All of the repo.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// These records.
    pub fn records(records: impl IntoIterator<Item = RecordId>) -> Self {
        let mut touched = Self::default();
        for record in records {
            match record {
                RecordId::Commit(id) => drop(touched.commits.insert(id)),
                RecordId::Snapshot(id) => drop(touched.snapshots.insert(id)),
                RecordId::Object(key) => drop(touched.objects.insert(key)),
            }
        }
        touched
    }
}

impl Catalog {
    /// Takes in what the `number`-th pack of the repo lists, as yet believed whole. Without its graph nothing is
    /// known of what its commits name.
    pub fn add(&mut self, number: u32, graph: Option<&GraphSection>, contents: &Contents) {
        let nodes: HashMap<&CommitId, _> =
            graph.iter().flat_map(|graph| &graph.0).map(|commit| (&commit.id, commit)).collect();
        for (frame, records) in contents.frames.iter().zip(&contents.records) {
            match records {
                FrameRecords::Commits(records) => {
                    for (id, _) in records {
                        let node = nodes.get(id);
                        let facts = self.commits.entry(id.clone()).or_insert_with(|| CommitFacts {
                            parents: Vec::new(),
                            snapshot: None,
                            copies: Copies::one(number),
                        });
                        facts.copies.whole += 1;
                        if let Some(node) = node {
                            facts.parents.clone_from(&node.parents);
                            facts.snapshot.clone_from(&node.snapshot);
                        }
                    }
                }
                FrameRecords::Snapshots(records) => {
                    for (id, _) in records {
                        self.snapshots.entry(id.clone()).or_insert(Copies::one(number)).whole += 1;
                    }
                }
                FrameRecords::Objects(records) => {
                    for (key, _) in records {
                        self.add_object(number, key, frame.kind == Kind::Objects);
                    }
                }
            }
        }
        for (_, key, _) in large_objects(PackId::nil(), contents) {
            self.add_object(number, key, false);
        }
    }

    fn add_object(&mut self, number: u32, key: &ObjectKey, is_reached: bool) {
        let new = ObjectFacts { copies: Copies::one(number), is_reached: false };
        let facts = self.objects.entry(key.clone()).or_insert(new);
        facts.copies.whole += 1;
        facts.is_reached |= is_reached;
    }

    /// Notes that a pack lists an object as reached, if some pack holds it.
    pub fn reach(&mut self, key: &ObjectKey) {
        if let Some(facts) = self.objects.get_mut(key) {
            facts.is_reached = true;
        }
    }

    /// Notes that one of the copies of a record is damaged.
    pub fn break_copy(&mut self, record: &RecordId) {
        let copies = match record {
            RecordId::Commit(id) => self.commits.get_mut(id).map(|facts| &mut facts.copies),
            RecordId::Snapshot(id) => self.snapshots.get_mut(id),
            RecordId::Object(key) => self.objects.get_mut(key).map(|facts| &mut facts.copies),
        };
        if let Some(copies) = copies {
            copies.whole = copies.whole.saturating_sub(1);
            copies.broken += 1;
        }
    }

    /// The copies of a record; none if no pack lists it.
    pub fn copies(&self, record: &RecordId) -> Option<Copies> {
        match record {
            RecordId::Commit(id) => Some(self.commits.get(id)?.copies),
            RecordId::Snapshot(id) => self.snapshots.get(id).copied(),
            RecordId::Object(key) => Some(self.objects.get(key)?.copies),
        }
    }

    /// Whether a branch has reached an object, as far as the packs say.
    pub fn is_reached(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|facts| facts.is_reached)
    }

    /// How many different commits, snapshots and objects there are.
    pub fn len(&self) -> (u64, u64, u64) {
        (self.commits.len() as u64, self.snapshots.len() as u64, self.objects.len() as u64)
    }

    /// What a commit names, as the tables say.
    pub fn commit(&self, id: &CommitId) -> Option<(&[CommitId], Option<&SnapshotId>)> {
        self.commits.get(id).map(|facts| (facts.parents.as_slice(), facts.snapshot.as_ref()))
    }

    /// The commits that name one of these snapshots.
    pub fn commits_of(&self, snapshots: &HashSet<&SnapshotId>) -> Vec<CommitId> {
        let names = |facts: &CommitFacts| facts.snapshot.as_ref().is_some_and(|snapshot| snapshots.contains(snapshot));
        self.commits.iter().filter(|(_, facts)| names(facts)).map(|(id, _)| id.clone()).collect()
    }

    /// The commits that others name as parents and no pack lists, each with one that names it.
    pub fn missing_parents(&self) -> Vec<(CommitId, CommitId)> {
        let mut seen = HashSet::new();
        let named =
            self.commits.iter().flat_map(|(child, facts)| facts.parents.iter().map(move |parent| (parent, child)));
        let missing = named.filter(|(parent, _)| !self.commits.contains_key(*parent) && seen.insert(*parent));
        missing.map(|(parent, child)| (parent.clone(), child.clone())).collect()
    }

    /// The snapshots that commits name and no pack lists, each with a commit that names it.
    pub fn missing_snapshots(&self) -> Vec<(SnapshotId, CommitId)> {
        let mut seen = HashSet::new();
        let named = self.commits.iter().filter_map(|(commit, facts)| Some((facts.snapshot.as_ref()?, commit)));
        let missing = named.filter(|(snapshot, _)| !self.snapshots.contains_key(*snapshot) && seen.insert(*snapshot));
        missing.map(|(snapshot, commit)| (snapshot.clone(), commit.clone())).collect()
    }

    /// Every record without a whole copy.
    pub fn lost(&self) -> impl Iterator<Item = RecordId> + '_ {
        let lost = |copies: &Copies| !copies.any_whole();
        let commits = self.commits.iter().filter(move |(_, facts)| lost(&facts.copies));
        let snapshots = self.snapshots.iter().filter(move |(_, copies)| lost(copies));
        let objects = self.objects.iter().filter(move |(_, facts)| lost(&facts.copies));
        let commits = commits.map(|(id, _)| RecordId::Commit(id.clone()));
        let snapshots = snapshots.map(|(id, _)| RecordId::Snapshot(id.clone()));
        commits.chain(snapshots).chain(objects.map(|(key, _)| RecordId::Object(key.clone())))
    }

    /// These commits, and all that reach one of them.
    fn closure(&self, commits: &HashSet<CommitId>) -> HashSet<CommitId> {
        let mut above = commits.clone();
        loop {
            let before = above.len();
            for (id, facts) in &self.commits {
                if facts.parents.iter().any(|parent| above.contains(parent)) {
                    above.insert(id.clone());
                }
            }
            if above.len() == before {
                return above;
            }
        }
    }

    /// Commits that lie below or beside all of `wanted` and that together reach every commit that does. If these are
    /// named as had, the answer of a clone has little beside `wanted` and what is missing below it.
    pub fn frontier_below(&self, wanted: &HashSet<CommitId>) -> Vec<CommitId> {
        let above = self.closure(wanted);
        let beside: Vec<(&CommitId, &CommitFacts)> =
            self.commits.iter().filter(|(id, _)| !above.contains(*id)).collect();
        let inner: HashSet<&CommitId> = beside.iter().flat_map(|(_, facts)| &facts.parents).collect();
        beside.into_iter().map(|(id, _)| id).filter(|id| !inner.contains(id)).cloned().collect()
    }

    /// What depends on each of `touched`. `named_by` are the snapshots that name an object that some of them touch;
    /// `names` are the sort keys of branches, tags and releases with the commits that they name.
    pub fn dependents(
        &self,
        touched: &[Touched],
        named_by: &HashMap<ObjectKey, Vec<SnapshotId>>,
        names: &[(String, CommitId)],
        branch_prefix: &str,
    ) -> Vec<Dependents> {
        let mut found = Vec::with_capacity(touched.len());
        for batch in touched.chunks(BATCH) {
            let mut of_snapshots: HashMap<&SnapshotId, u64> = HashMap::new();
            let mut of_commits: HashMap<&CommitId, u64> = HashMap::new();
            for (bit, touched) in batch.iter().enumerate() {
                let by_objects = touched.objects.iter().filter_map(|key| named_by.get(key)).flatten();
                for snapshot in touched.snapshots.iter().chain(by_objects) {
                    *of_snapshots.entry(snapshot).or_default() |= 1 << bit;
                }
                for commit in &touched.commits {
                    *of_commits.entry(commit).or_default() |= 1 << bit;
                }
            }
            let marks = self.marks(&of_snapshots, &of_commits);
            for (bit, touched) in batch.iter().enumerate() {
                found.push(self.read_off(1 << bit, touched, &marks, &of_commits, names, branch_prefix));
            }
        }
        found
    }

    /// For each commit the findings that it depends on: those that touch it, its snapshot, or one of its ancestors.
    fn marks(&self, of_snapshots: &HashMap<&SnapshotId, u64>, of_commits: &HashMap<&CommitId, u64>) -> Vec<u64> {
        let own = |(id, facts): (&CommitId, &CommitFacts)| {
            let by_snapshot = facts.snapshot.as_ref().and_then(|snapshot| of_snapshots.get(snapshot)).copied();
            of_commits.get(id).copied().unwrap_or_default() | by_snapshot.unwrap_or_default()
        };
        let mut marks: Vec<u64> = self.commits.iter().map(own).collect();
        // Packs mostly come parents first, so this is one pass and another that changes nothing; and it ends for commits
        // that name each other as well.
        loop {
            let mut has_changed = false;
            for (position, facts) in self.commits.values().enumerate() {
                let of_parent = |parent: &CommitId| match self.commits.get_index_of(parent) {
                    Some(position) => marks.get(position).copied().unwrap_or_default(),
                    None => of_commits.get(parent).copied().unwrap_or_default(),
                };
                let inherited = facts.parents.iter().map(of_parent).fold(0, |all, of_one| all | of_one);
                if let Some(mark) = marks.get_mut(position)
                    && inherited & !*mark != 0
                {
                    *mark |= inherited;
                    has_changed = true;
                }
            }
            if !has_changed {
                return marks;
            }
        }
    }

    fn read_off(
        &self,
        bit: u64,
        touched: &Touched,
        marks: &[u64],
        of_commits: &HashMap<&CommitId, u64>,
        names: &[(String, CommitId)],
        branch_prefix: &str,
    ) -> Dependents {
        let mut dependents = Dependents { everything: touched.everything, ..Dependents::default() };
        for (id, _) in self.commits.keys().zip(marks).filter(|(_, mark)| **mark & bit != 0) {
            dependents.commits += 1;
            dependents.first_commit.get_or_insert_with(|| id.clone());
        }
        for (name, commit) in names {
            let mark = match self.commits.get_index_of(commit) {
                Some(position) => marks.get(position).copied().unwrap_or_default(),
                None => of_commits.get(commit).copied().unwrap_or_default(),
            };
            if mark & bit == 0 {
                continue;
            }
            let (list, count, name) = match name.strip_prefix(branch_prefix) {
                Some(branch) => (&mut dependents.branches, &mut dependents.branch_count, branch),
                None => (&mut dependents.names, &mut dependents.name_count, name.as_str()),
            };
            *count += 1;
            if list.len() < LISTED {
                list.push(name.to_owned());
            }
        }
        dependents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::pack::{Frame, PackedCommit};
    use proptest::prelude::*;

    fn id(number: usize) -> CommitId {
        format!("c{number}").parse().unwrap()
    }

    /// Commits with these parents, by their numbers, in packs of `size`.
    fn catalog(parents: &[Vec<usize>], size: usize) -> Catalog {
        let mut catalog = Catalog::default();
        let nodes: Vec<PackedCommit> = parents
            .iter()
            .enumerate()
            .map(|(number, parents)| PackedCommit {
                id: id(number),
                parents: parents.iter().copied().map(id).collect(),
                snapshot: Some(format!("s{number}").parse().unwrap()),
                generation: 1,
                is_reached: true,
            })
            .collect();
        for (pack, nodes) in nodes.chunks(size).enumerate() {
            let frame = Frame { kind: Kind::Commits, offset: 0, stored_length: 0, raw_length: 0, checksum: 0 };
            let records = nodes.iter().map(|node| (node.id.clone(), 0)).collect();
            let contents =
                Contents { frames: vec![frame], records: vec![FrameRecords::Commits(records)], ..Contents::default() };
            catalog.add(pack as u32, Some(&GraphSection(nodes.to_vec())), &contents);
        }
        catalog
    }

    fn reaches(parents: &[Vec<usize>], from: usize, to: usize) -> bool {
        from == to || parents[from].iter().any(|parent| reaches(parents, *parent, to))
    }

    fn dags() -> impl Strategy<Value = Vec<Vec<usize>>> {
        let picks = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
        prop::collection::vec(picks, 1..14).prop_map(|picks| {
            let parents = |(number, picks): (usize, Vec<prop::sample::Index>)| {
                picks.into_iter().filter(|_| number > 0).map(|pick| pick.index(number)).collect()
            };
            picks.into_iter().enumerate().map(parents).collect()
        })
    }

    proptest! {
        #[test]
        fn what_depends_on_a_commit_is_what_reaches_it(
            parents in dags(), at in any::<prop::sample::Index>(), size in 1_usize..5, by_snapshot in any::<bool>(),
        ) {
            let at = at.index(parents.len());
            let names: Vec<(String, CommitId)> = (0..parents.len()).map(|head| (format!("REF#b{head}"), id(head))).collect();
            let record = if by_snapshot {
                RecordId::Snapshot(format!("s{at}").parse().unwrap())
            } else {
                RecordId::Commit(id(at))
            };
            let found = catalog(&parents, size).dependents(&[Touched::records([record])], &HashMap::new(), &names, "REF#");
            let expected: Vec<String> = (0..parents.len())
                .filter(|head| reaches(&parents, *head, at))
                .map(|head| format!("b{head}"))
                .collect();
            prop_assert_eq!(found[0].commits, expected.len() as u64);
            prop_assert_eq!(&found[0].branches, &expected);
        }

        #[test]
        fn a_clone_that_knows_the_frontier_sends_what_is_wanted(parents in dags(), at in any::<prop::sample::Index>()) {
            let at = at.index(parents.len());
            let frontier = catalog(&parents, 3).frontier_below(&HashSet::from([id(at)]));
            let numbers: Vec<usize> = (0..parents.len()).filter(|number| frontier.contains(&id(*number))).collect();
            for number in &numbers {
                prop_assert!(!reaches(&parents, *number, at), "{number} reaches what is wanted: it would not be sent");
            }
            for number in (0..parents.len()).filter(|number| !reaches(&parents, *number, at)) {
                prop_assert!(numbers.iter().any(|have| reaches(&parents, *have, number)), "{number} would be sent");
            }
        }
    }

    #[test]
    fn more_findings_than_bits_are_told_apart() {
        let parents: Vec<Vec<usize>> =
            (0..100).map(|number: usize| number.checked_sub(1).into_iter().collect()).collect();
        let catalog = catalog(&parents, 7);
        let touched: Vec<Touched> = (0..100).map(|number| Touched::records([RecordId::Commit(id(number))])).collect();
        let found = catalog.dependents(&touched, &HashMap::new(), &[], "REF#");
        let counts: Vec<u64> = found.iter().map(|dependents| dependents.commits).collect();
        assert_eq!(counts, (1..=100).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn a_parent_that_is_in_no_pack_is_missed_once_and_all_its_heirs_depend_on_it() {
        let mut parents: Vec<Vec<usize>> = vec![vec![], vec![99], vec![1], vec![99]];
        parents[0] = vec![];
        let catalog = catalog(&parents, 2);
        assert_eq!(catalog.missing_parents(), [(id(99), id(1))]);
        let touched = Touched::records([RecordId::Commit(id(99))]);
        assert_eq!(catalog.dependents(&[touched], &HashMap::new(), &[], "REF#")[0].commits, 3);
    }
}
