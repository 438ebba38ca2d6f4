//! What the packs of one merge hold, all of it in memory. [`choose`](super::choose) bounds how many records they have.

use std::collections::{HashMap, HashSet};

use crate::StoreError;
use common::graph::{Graph, NewCommit};
use common::id::{CommitId, ObjectKey, SnapshotId};
use common::location::{LargeObject, ObjectLocation, PackFrame, RecordLocation};
use common::pack::index::FrameRecords;
use common::pack::{Contents, GraphSection, Kind, PackId};

/// What these packs hold.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    packs: HashSet<PackId>,
    frames: Vec<PackFrame>,
    graph: Graph<CommitId, RecordLocation>,
    snapshots: HashMap<SnapshotId, SnapshotEntry>,
    objects: HashMap<ObjectKey, ObjectEntry>,
    large: Vec<LargeObject>,
    /// Objects that these packs list as reached, and that lie in a pack which is not added yet.
    reached_elsewhere: HashSet<ObjectKey>,
}

#[derive(Debug, Clone, Copy)]
struct SnapshotEntry {
    place: RecordLocation,
    /// Whether a branch had reached it when it was stored.
    is_reached: bool,
}

#[derive(Debug, Clone, Copy)]
struct ObjectEntry {
    place: EntryPlace,
    /// Whether a branch has reached it.
    is_reached: bool,
}

/// [`ObjectLocation`], made small, because there are many.
#[derive(Debug, Clone, Copy)]
enum EntryPlace {
    Packed(RecordLocation),
    /// The position among the large objects.
    Large(u32),
}

impl Catalog {
    /// What these packs hold.
    pub(super) fn of<'p>(
        packs: impl IntoIterator<Item = (PackId, &'p GraphSection, &'p Contents)>,
    ) -> Result<Self, StoreError> {
        let mut index = Self::default();
        index.add(packs)?;
        Ok(index)
    }

    /// Objects that these packs list as reached, and that lie in other packs.
    pub(super) fn reached_elsewhere(&self) -> impl Iterator<Item = &ObjectKey> {
        self.reached_elsewhere.iter()
    }

    /// The commits, and where each lies.
    pub const fn graph(&self) -> &Graph<CommitId, RecordLocation> {
        &self.graph
    }

    /// Where a snapshot lies.
    pub fn snapshot(&self, id: &SnapshotId) -> Option<RecordLocation> {
        self.snapshots.get(id).map(|entry| entry.place)
    }

    /// Where a snapshot lies, if it was stored before any branch reached it. Its objects may still be staged.
    pub fn staged_snapshot(&self, id: &SnapshotId) -> Option<RecordLocation> {
        self.snapshots.get(id).filter(|entry| !entry.is_reached).map(|entry| entry.place)
    }

    /// Whether these packs hold an object, reached or staged.
    pub fn has_object(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// Whether a branch has reached an object. Until then readers do not see it.
    pub fn is_reached(&self, key: &ObjectKey) -> bool {
        self.objects.get(key).is_some_and(|entry| entry.is_reached)
    }

    /// Where an object lies.
    pub fn object(&self, key: &ObjectKey) -> Option<ObjectLocation> {
        match self.objects.get(key)?.place {
            EntryPlace::Packed(place) => Some(ObjectLocation::Packed(place)),
            EntryPlace::Large(position) => self.large.get(position as usize).copied().map(ObjectLocation::Large),
        }
    }

    /// How many different commits, snapshots and objects there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.graph.len(), self.snapshots.len(), self.objects.len())
    }

    /// The frame of a place.
    pub fn frame(&self, place: RecordLocation) -> Option<PackFrame> {
        self.frames.get(place.frame as usize).copied()
    }

    /// Adds packs. A record that is there already stays as it is: if two packs hold a record, it is read from the
    /// first.
    fn add<'p>(
        &mut self,
        packs: impl IntoIterator<Item = (PackId, &'p GraphSection, &'p Contents)>,
    ) -> Result<(), StoreError> {
        let mut commits = Vec::new();
        let mut reached = Vec::new();
        for (pack, graph, contents) in packs {
            if !self.packs.insert(pack) {
                continue;
            }
            let mut nodes = graph.0.iter();
            for (number, (frame, records)) in contents.frames.iter().zip(&contents.records).enumerate() {
                let position = u32::try_from(self.frames.len()).map_err(StoreError::fault)?;
                self.frames.push(PackFrame { pack, number, frame: *frame });
                let mut start = 0_u32;
                let mut place = |length: u32| {
                    let place = RecordLocation { table: 0, frame: position, start, length };
                    start = start.saturating_add(length);
                    place
                };
                match records {
                    FrameRecords::Commits(records) => {
                        for (id, length) in records {
                            let node = nodes.next().filter(|node| node.id == *id);
                            let node =
                                node.ok_or_else(|| StoreError::Damaged(format!("pack {pack}: its sections disagree")))?;
                            let (id, parents) = (id.clone(), node.parents.clone());
                            commits.push(NewCommit { id, parents, payload: place(*length) });
                        }
                    }
                    FrameRecords::Snapshots(records) => {
                        let is_reached = frame.kind == Kind::Snapshots;
                        for (id, length) in records {
                            let entry = SnapshotEntry { place: place(*length), is_reached };
                            self.snapshots.entry(id.clone()).or_insert(entry).is_reached |= is_reached;
                        }
                    }
                    FrameRecords::Objects(records) => {
                        for (key, length) in records {
                            let place = EntryPlace::Packed(place(*length));
                            self.add_object(key.clone(), place, frame.kind == Kind::Objects);
                        }
                    }
                }
            }
            let own = contents.large.iter().map(|(key, size)| (pack, key, *size));
            let inherited = contents.inherited.iter().map(|(pack, key, size)| (*pack, key, *size));
            for (pack, key, size) in own.chain(inherited) {
                let position = u32::try_from(self.large.len()).map_err(StoreError::fault)?;
                self.large.push(LargeObject { pack, size });
                self.add_object(key.clone(), EntryPlace::Large(position), false);
            }
            reached.extend(&contents.reached);
        }
        for key in reached {
            match self.objects.get_mut(key) {
                Some(entry) => entry.is_reached = true,
                None => {
                    self.reached_elsewhere.insert(key.clone());
                }
            }
        }
        self.link(commits);
        Ok(())
    }

    /// Adds commits to the graph. With lenient ids, two pushes that race may name each other's commits as ancestors. A
    /// commit that would close such a cycle is not linked to the parent that it would close it through, so that the
    /// rest of the history stays usable.
    fn link(&mut self, commits: Vec<NewCommit<CommitId, RecordLocation>>) {
        if self.graph.extend(commits.iter().cloned()).is_ok() {
            return;
        }
        for commit in commits {
            if !self.graph.link_without_cycle(&commit, None) {
                tracing::warn!(commit = %commit.id, "a commit is not linked to all of its parents");
            }
        }
    }

    fn add_object(&mut self, key: ObjectKey, place: EntryPlace, is_reached: bool) {
        let is_reached = is_reached || self.reached_elsewhere.remove(&key);
        let entry = self.objects.entry(key).or_insert(ObjectEntry { place, is_reached });
        entry.is_reached |= is_reached;
    }
}
