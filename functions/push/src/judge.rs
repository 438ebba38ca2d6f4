//! The verdict on a push: what of the bundle is new, whether all that it reaches is there, and where the branch goes.
//! Pure: it is judged again, against newer heads, whenever another push was faster.

use std::collections::{HashMap, HashSet};

use common::graph::topological_order;
use common::id::{BranchName, CommitId, ObjectKey, SnapshotId};
use common::service::{Ids, compute};
use common::store::index::{Place, RepoIndex};
use common::wire::commit::Commit;
use common::wire::error::Missing;
use common::wire::record::{Object, Snapshot, check_objects};
use common::wire::request::{Heads, PushRequest};
use common::wire::{Error, Text};

/// A bundle whose limits and hashes have been checked: nothing in it is there twice.
pub struct Checked<'a> {
    /// The commits, parents first, and among those that could be next the one sent first.
    pub commits: Vec<Commit>,
    /// The snapshots by id.
    pub snapshots: HashMap<SnapshotId, Snapshot<'a>>,
    /// The objects by what they are stored under.
    pub objects: HashMap<ObjectKey, Object<'a>>,
    /// How many commits were sent.
    pub sent_commits: usize,
    /// The head that the client says its branch has.
    claimed_head: Option<CommitId>,
    /// The pushed branch.
    pub branch: BranchName,
    /// Whether the branch may move to wherever.
    pub force: bool,
    /// Whether parents and snapshots have to be there.
    ids: Ids,
}

/// Where the branch goes, and what it reaches then that no branch reached before.
pub struct Reach {
    /// The branch's head from now on; none if the push names no commit and there is no such branch.
    pub tip: Option<CommitId>,
    /// The commits of the repo that the tip builds upon: where the bundle's part of the history ends.
    foundations: HashSet<CommitId>,
    /// The snapshots of those commits, of the bundle or not.
    snapshots: HashSet<SnapshotId>,
    /// Those that the repo has, that no branch has reached, and that are not in the bundle: only their records tell what
    /// they name.
    pub to_recall: Vec<Place>,
}

/// What has to be stored for a push.
pub struct Verdict<'b> {
    /// Commits that the repo lacks, parents first.
    pub commits: Vec<&'b Commit>,
    /// Snapshots that the repo lacks, or has and that are reached for the first time.
    pub snapshots: Vec<&'b Snapshot<'b>>,
    /// Objects that the repo lacks.
    pub objects: Vec<&'b Object<'b>>,
    /// The snapshots that the branch reaches.
    pub reached_snapshots: HashSet<&'b SnapshotId>,
    /// The objects that those name.
    pub named: HashSet<ObjectKey>,
    /// Objects that were pushed ahead and that a branch reaches for the first time.
    pub reached: Vec<ObjectKey>,
}

/// What a push is connected with.
struct Connected<'b> {
    snapshots: Vec<&'b Snapshot<'b>>,
    reached_snapshots: HashSet<&'b SnapshotId>,
    named: HashSet<ObjectKey>,
}

/// Checks what can be checked without the repo: limits, hashes where ids are hashes, order.
///
/// # Errors
/// 413 or 422, saying which record is at fault.
pub fn check(request: PushRequest<'_>, ids: Ids) -> Result<Checked<'_>, Error> {
    let PushRequest { bundle, branch, force } = request;
    let branch: BranchName = branch.parse().map_err(|reason| Error::invalid("branch", reason))?;
    let claimed_head = bundle.branch_heads.and_then(|heads| {
        let head = heads.get(&Text(branch.as_str().into()))?.as_ref()?;
        head.parse().ok()
    });
    let sent_commits = bundle.commits.sent;
    let commits = bundle.commits.within("commits")?;
    let snapshots = bundle.snapshots.within("snapshots")?;
    let objects = bundle.objects.within("objects")?;

    let mut snapshots_by_id = HashMap::with_capacity(snapshots.len());
    for snapshot in snapshots {
        snapshot.check()?;
        if ids.are_checked() && !snapshot.is_proved() {
            return Err(Error::SnapshotHashMismatch(snapshot.snapshot_id.to_string()));
        }
        snapshots_by_id.entry(snapshot.snapshot_id.clone()).or_insert(snapshot);
    }
    if let Some(forged) = commits.iter().find(|commit| ids.are_checked() && !commit.is_proved()) {
        return Err(Error::CommitHashMismatch(forged.id.to_string()));
    }
    let order = topological_order(commits.iter().map(|commit| (&commit.id, commit.parents.as_slice())))
        .map_err(|cycle| Error::invalid("bundle.commits", cycle))?;
    let mut unordered: Vec<Option<Commit>> = commits.into_iter().map(Some).collect();
    let commits = order.into_iter().filter_map(|position| unordered.get_mut(position)?.take()).collect();

    Ok(Checked {
        commits,
        snapshots: snapshots_by_id,
        objects: check_objects(objects, ids.are_checked())?,
        sent_commits,
        claimed_head,
        branch,
        force,
        ids,
    })
}

impl Verdict<'_> {
    /// Whether there is anything to store, be it only that something is reached.
    pub fn brings_something(&self) -> bool {
        !(self.commits.is_empty() && self.snapshots.is_empty() && self.objects.is_empty() && self.reached.is_empty())
    }
}

impl Checked<'_> {
    /// What the branch will reach in a repo as it is now.
    pub fn reach(&self, index: &RepoIndex, heads: &Heads) -> Reach {
        let new: HashMap<&CommitId, &Commit> = self.new_commits(index).map(|commit| (&commit.id, commit)).collect();
        let tip = self.tip(index, &new).or_else(|| heads.get(self.branch.as_str()));
        let mut snapshots: HashSet<SnapshotId> = HashSet::new();
        let mut foundations: HashSet<CommitId> = HashSet::new();
        let mut waiting: Vec<&CommitId> = tip.into_iter().collect();
        let mut seen: HashSet<&CommitId> = waiting.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            match new.get(id) {
                Some(commit) => {
                    snapshots.extend(commit.snapshot.clone());
                    waiting.extend(commit.parents.iter().filter(|parent| seen.insert(*parent)));
                }
                None => {
                    foundations.insert(id.clone());
                }
            }
        }
        // Mostly the tip builds upon heads, and there is nothing between.
        let known: HashSet<&CommitId> = heads.values().collect();
        if !foundations.iter().all(|id| known.contains(id)) {
            let forgotten = index.graph().difference(&foundations, heads.values()).commits;
            snapshots.extend(forgotten.into_iter().filter_map(|id| index.graph().payload(id)?.snapshot.clone()));
        }
        let mut to_recall: Vec<Place> = snapshots
            .iter()
            .filter(|id| !self.snapshots.contains_key(*id))
            .filter_map(|id| index.snapshot_ahead(id))
            .collect();
        to_recall.sort_unstable();
        Reach { tip: tip.cloned(), foundations, snapshots, to_recall }
    }

    /// Judges the push against a repo as it is now. `recalled` are the objects that the snapshots to be recalled name.
    ///
    /// # Errors
    /// 422 for references that lead nowhere, 409 for a branch that would not go forward.
    pub fn judge(
        &self,
        index: &RepoIndex,
        heads: &Heads,
        reach: &Reach,
        recalled: HashSet<ObjectKey>,
    ) -> Result<Verdict<'_>, Error> {
        let commits: Vec<&Commit> = self.new_commits(index).collect();
        let Connected { snapshots, reached_snapshots, mut named } =
            compute(|| self.connect(index, &commits, &reach.snapshots))?;
        named.extend(recalled);
        if !self.force && !self.goes_forward(index, heads, reach) {
            return Err(Error::NonFastForward(self.branch.clone()));
        }
        Ok(Verdict {
            snapshots,
            reached_snapshots,
            objects: self.objects.iter().filter(|(key, _)| !index.has_object(key)).map(|(_, object)| object).collect(),
            reached: named.iter().filter(|key| index.has_object(key) && !index.is_reached(key)).cloned().collect(),
            named,
            commits,
        })
    }

    /// Whether what this push names, or builds upon, is in one view of the repo and not in another that has less. `reach` is
    /// what it reaches in the first.
    pub fn needs_more_than(&self, less: &RepoIndex, more: &RepoIndex, heads: &Heads, reach: &Reach) -> bool {
        let brought: HashSet<&CommitId> = self.commits.iter().map(|commit| &commit.id).collect();
        let lacks_commit =
            |id: &CommitId| !brought.contains(id) && !less.graph().contains(id) && more.graph().contains(id);
        let lacks_snapshot = |id: &SnapshotId| {
            !self.snapshots.contains_key(id) && less.snapshot(id).is_none() && more.snapshot(id).is_some()
        };
        let named = self.snapshots.values().flat_map(|snapshot| &snapshot.manifest.entries);
        let Reach { foundations, snapshots, .. } = reach;
        let built_upon = more.graph().difference(foundations, heads.values()).commits;
        self.commits.iter().flat_map(|commit| &commit.parents).any(lacks_commit)
            || self.commits.iter().filter_map(|commit| commit.snapshot.as_ref()).any(lacks_snapshot)
            || named.map(|(_, object)| object.key()).any(|key| !self.has_object(less, &key) && more.has_object(&key))
            || foundations.iter().chain(built_upon).any(lacks_commit)
            || snapshots.iter().any(lacks_snapshot)
            // What is between may be condemned.
            || self.goes_forward(more, heads, reach) && !self.goes_forward(less, heads, &self.reach(less, heads))
    }

    fn goes_forward(&self, index: &RepoIndex, heads: &Heads, reach: &Reach) -> bool {
        match (heads.get(self.branch.as_str()), &reach.tip) {
            (Some(head), Some(tip)) => is_fast_forward(index, head, tip, &reach.foundations),
            _ => true,
        }
    }

    /// The objects that the bundle's snapshots name and that are neither in it nor in the repo.
    pub fn absent_objects(&self, index: &RepoIndex) -> HashSet<ObjectKey> {
        let named = self.snapshots.values().flat_map(|snapshot| &snapshot.manifest.entries);
        named.map(|(_, object)| object.key()).filter(|key| !self.has_object(index, key)).collect()
    }

    fn new_commits<'s>(&'s self, index: &RepoIndex) -> impl Iterator<Item = &'s Commit> {
        self.commits.iter().filter(|commit| !index.graph().contains(&commit.id))
    }

    /// Checks that everything that new commits reach is there. Returns the snapshots to store: those that new commits
    /// name, and of the others those that are complete.
    fn connect(
        &self,
        index: &RepoIndex,
        commits: &[&Commit],
        reached: &HashSet<SnapshotId>,
    ) -> Result<Connected<'_>, Error> {
        let new_ids: HashSet<&CommitId> = commits.iter().map(|commit| &commit.id).collect();
        // Opaque ids may be named long before what they name comes, so there all that comes counts as reached.
        let is_reached = |id: &SnapshotId| !self.ids.are_checked() || reached.contains(id);
        // What was stored ahead is stored once more when it is reached, so that it counts as reached from then on.
        let is_stored =
            |id: &SnapshotId| index.snapshot(id).is_some() && !(is_reached(id) && index.snapshot_ahead(id).is_some());
        let mut missing = Missing::default();
        let mut named: HashSet<ObjectKey> = HashSet::new();
        let mut named_aside: HashSet<ObjectKey> = HashSet::new();
        let mut reached_snapshots: HashSet<&SnapshotId> = HashSet::new();
        let mut wanted: HashSet<&SnapshotId> = HashSet::new();
        let mut stored = Vec::new();
        for commit in commits {
            for parent in &commit.parents {
                if self.ids.are_checked() && !new_ids.contains(parent) && !index.graph().contains(parent) {
                    missing.note(|| format!("parent '{parent}' of commit '{}'", commit.id));
                }
            }
            let Some(id) = &commit.snapshot else {
                continue;
            };
            if is_stored(id) || !wanted.insert(id) {
                continue;
            }
            match self.snapshots.get(id) {
                Some(snapshot) => {
                    // In the order of their commits, so that neighbours in history compress together.
                    stored.push(snapshot);
                    let named = if is_reached(id) {
                        reached_snapshots.insert(&snapshot.snapshot_id);
                        &mut named
                    } else {
                        &mut named_aside
                    };
                    for (path, object) in &snapshot.manifest.entries {
                        let key = object.key();
                        if named.contains(&key) {
                            continue;
                        }
                        if self.has_object(index, &key) {
                            named.insert(key);
                        } else {
                            missing.note(|| format!("object '{object}' at '{}' in snapshot '{id}'", &**path));
                        }
                    }
                }
                // Pushed ahead, and recalled.
                None if index.snapshot(id).is_some() => {}
                None if self.ids.are_checked() => {
                    missing.note(|| format!("snapshot '{id}' of commit '{}'", commit.id));
                }
                None => {}
            }
        }
        let mut others: Vec<&Snapshot<'_>> = self
            .snapshots
            .values()
            .filter(|snapshot| !wanted.contains(&snapshot.snapshot_id) && !is_stored(&snapshot.snapshot_id))
            .filter(|snapshot| {
                snapshot.manifest.entries.iter().all(|(_, object)| self.has_object(index, &object.key()))
            })
            .collect();
        others.sort_unstable_by(|a, b| a.snapshot_id.cmp(&b.snapshot_id));
        for snapshot in others.iter().filter(|snapshot| is_reached(&snapshot.snapshot_id)) {
            reached_snapshots.insert(&snapshot.snapshot_id);
            named.extend(snapshot.manifest.entries.iter().map(|(_, object)| object.key()));
        }
        stored.extend(others);
        missing.refuse()?;
        Ok(Connected { snapshots: stored, reached_snapshots, named })
    }

    /// Whether an object is in the bundle or in the repo.
    pub fn has_object(&self, index: &RepoIndex, key: &ObjectKey) -> bool {
        self.objects.contains_key(key) || index.has_object(key)
    }

    /// The commit that the bundle is about, by the contract's rules.
    fn tip<'s>(&'s self, index: &RepoIndex, new: &HashMap<&CommitId, &Commit>) -> Option<&'s CommitId> {
        if let Some(claimed) = &self.claimed_head
            && (new.contains_key(claimed) || index.graph().contains(claimed))
        {
            return Some(claimed);
        }
        let parents: HashSet<&CommitId> = self.commits.iter().flat_map(|commit| &commit.parents).collect();
        let childless = || self.commits.iter().rev().filter(|commit| !parents.contains(&commit.id));
        let of_branch = childless().find(|commit| *commit.branch == *self.branch.as_str());
        of_branch.or_else(|| childless().next()).map(|commit| &commit.id)
    }
}

/// Whether `head` is `tip` or one of its ancestors, over the commits of the repo and those of the bundle.
fn is_fast_forward(index: &RepoIndex, head: &CommitId, tip: &CommitId, foundations: &HashSet<CommitId>) -> bool {
    if head == tip || index.graph().is_ancestor(head, tip) {
        return true;
    }
    // Nothing of the head's own history is left over once the foundations' is taken away.
    index.graph().contains(head) && index.graph().difference([head], foundations).commits.is_empty()
}
