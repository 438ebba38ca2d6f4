//! What a repo has of all that a push names: looked up beforehand, so that the plan is pure.

use std::collections::{HashMap, HashSet};

use crate::id::{CommitId, ObjectKey, SnapshotId};
use crate::location::{KnownCommit, KnownSnapshot, RecordLocation};

/// What one view of a repo has of what a push names. What was not looked up counts as absent.
#[derive(Debug, Clone, Default)]
pub struct Known {
    commits: HashMap<CommitId, KnownCommit>,
    snapshots: HashMap<SnapshotId, KnownSnapshot>,
    /// Whether a branch has reached them.
    objects: HashMap<ObjectKey, bool>,
}

impl Known {
    /// Those of these commits that were not looked up.
    pub fn new_commits<'i>(&self, ids: impl IntoIterator<Item = &'i CommitId>) -> HashSet<&'i CommitId> {
        ids.into_iter().filter(|id| !self.commits.contains_key(*id)).collect()
    }

    /// Those of these snapshots that were not looked up.
    pub fn new_snapshots<'i>(&self, ids: impl IntoIterator<Item = &'i SnapshotId>) -> HashSet<&'i SnapshotId> {
        ids.into_iter().filter(|id| !self.snapshots.contains_key(*id)).collect()
    }

    /// Those of these objects that were not looked up.
    pub fn new_objects<'i>(&self, keys: impl IntoIterator<Item = &'i ObjectKey>) -> HashSet<&'i ObjectKey> {
        keys.into_iter().filter(|key| !self.objects.contains_key(*key)).collect()
    }

    /// Takes in commits that the repo has.
    pub fn add_commits(&mut self, commits: impl IntoIterator<Item = (CommitId, KnownCommit)>) {
        self.commits.extend(commits);
    }

    /// Takes in snapshots that the repo has.
    pub fn add_snapshots(&mut self, snapshots: impl IntoIterator<Item = (SnapshotId, KnownSnapshot)>) {
        self.snapshots.extend(snapshots);
    }

    /// Takes in objects that the repo has, each with whether a branch has reached it.
    pub fn add_objects(&mut self, objects: impl IntoIterator<Item = (ObjectKey, bool)>) {
        self.objects.extend(objects);
    }

    /// A commit of the repo.
    pub fn commit(&self, id: &CommitId) -> Option<&KnownCommit> {
        self.commits.get(id)
    }

    /// Whether the repo has a commit.
    pub fn has_commit(&self, id: &CommitId) -> bool {
        self.commits.contains_key(id)
    }

    /// Whether the repo has a snapshot.
    pub fn has_snapshot(&self, id: &SnapshotId) -> bool {
        self.snapshots.contains_key(id)
    }

    /// Where a snapshot lies that was stored before any branch reached it: its objects may still be unseen.
    pub fn staged_snapshot(&self, id: &SnapshotId) -> Option<RecordLocation> {
        self.snapshots.get(id).filter(|snapshot| !snapshot.is_reached).map(|snapshot| snapshot.place)
    }

    /// Whether the repo has an object.
    pub fn has_object(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// Whether a branch has reached an object.
    pub fn is_reached(&self, key: &ObjectKey) -> bool {
        self.objects.get(key) == Some(&true)
    }
}

#[cfg(test)]
impl Known {
    /// A repo that has this and nothing else; of objects, whether a branch has reached them.
    pub fn with(
        commits: impl IntoIterator<Item = (CommitId, KnownCommit)>,
        snapshots: impl IntoIterator<Item = (SnapshotId, KnownSnapshot)>,
        objects: impl IntoIterator<Item = (ObjectKey, bool)>,
    ) -> Self {
        Self {
            commits: commits.into_iter().collect(),
            snapshots: snapshots.into_iter().collect(),
            objects: objects.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ObjectId;

    const PLACE: RecordLocation = RecordLocation { table: 1, frame: 2, start: 3, length: 4 };

    #[test]
    fn what_was_not_looked_up_is_absent() {
        let (commit, snapshot) = ("c".parse().unwrap(), "s".parse().unwrap());
        let nothing = Known::default();
        assert!(!nothing.has_commit(&commit) && nothing.commit(&commit).is_none());
        assert!(!nothing.has_snapshot(&snapshot) && nothing.staged_snapshot(&snapshot).is_none());
        let object = ObjectId::of(b"o").key();
        assert!(!nothing.has_object(&object) && !nothing.is_reached(&object));
    }

    #[test]
    fn a_commit_is_known_with_what_the_repo_knows_of_it() {
        let id: CommitId = "c".parse().unwrap();
        let commit = KnownCommit {
            parents: vec!["p".parse().unwrap()],
            generation: Some(2),
            is_reached: true,
            snapshot: None,
            snapshot_place: None,
            place: PLACE,
        };
        let known = Known::with([(id.clone(), commit.clone())], [], []);
        assert!(known.has_commit(&id));
        assert_eq!(known.commit(&id), Some(&commit));
        assert!(!known.has_commit(&"p".parse().unwrap()), "a parent is not there because a child names it");
    }

    #[test]
    fn only_a_snapshot_that_no_branch_has_reached_is_staged() {
        let ids: [SnapshotId; 2] = ["reached", "staged"].map(|id| id.parse().unwrap());
        let [reached, staged] = &ids;
        let snapshot = |is_reached| KnownSnapshot { place: PLACE, is_reached };
        let known = Known::with([], [(reached.clone(), snapshot(true)), (staged.clone(), snapshot(false))], []);
        assert!(ids.iter().all(|id| known.has_snapshot(id)));
        assert_eq!((known.staged_snapshot(reached), known.staged_snapshot(staged)), (None, Some(PLACE)));
    }

    #[test]
    fn an_object_may_be_there_and_not_reached() {
        let [reached, staged] = [b"1", b"2"].map(|content| ObjectId::of(content).key());
        let known = Known::with([], [], [(reached.clone(), true), (staged.clone(), false)]);
        assert!(known.has_object(&reached) && known.has_object(&staged));
        assert!(known.is_reached(&reached) && !known.is_reached(&staged));
    }
}
