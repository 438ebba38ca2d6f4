//! What a merge leaves out.

use std::collections::HashSet;

use common::id::{CommitId, ObjectKey, SnapshotId};
use common::table;

/// The garbage of some packs, by the keys of records.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    pub(crate) commits: HashSet<table::Key>,
    pub(crate) snapshots: HashSet<table::Key>,
    pub(crate) objects: HashSet<table::Key>,
}

impl Garbage {
    /// Nothing but these objects.
    pub(crate) fn of_objects(objects: HashSet<table::Key>) -> Self {
        Self { objects, ..Self::default() }
    }

    pub(crate) fn has_commit(&self, id: &CommitId) -> bool {
        self.commits.contains(&table::Key::of(id.as_ref()))
    }

    pub(crate) fn has_snapshot(&self, id: &SnapshotId) -> bool {
        self.snapshots.contains(&table::Key::of(id.as_ref()))
    }

    pub(crate) fn has_object(&self, key: &ObjectKey) -> bool {
        self.objects.contains(&table::Key::of(key.as_ref()))
    }
}
