//! The verdict on a push: what of the bundle is new, whether all that it reaches is there, and where the branch goes.
//! Pure: it is judged again, against newer heads, whenever another push was faster.

use std::collections::{BTreeMap, HashMap, HashSet};

use common::graph::topological_order;
use common::id::{BranchName, CommitId, ObjectKey, SnapshotId};
use common::service::{Ids, compute};
use common::store::index::RepoIndex;
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

/// Where the branch goes and what has to be stored for it.
pub struct Verdict<'b> {
    /// The branch's head from now on; none if the push names no commit and there is no such branch.
    pub tip: Option<CommitId>,
    /// Commits that the repo lacks, parents first.
    pub commits: Vec<&'b Commit>,
    /// Snapshots that the repo lacks.
    pub snapshots: Vec<&'b Snapshot<'b>>,
    /// Objects that the repo lacks.
    pub objects: Vec<&'b Object<'b>>,
    /// Every object that the snapshots above name.
    pub named: HashSet<ObjectKey>,
    /// Those of them that were pushed ahead and that nothing has reached before.
    pub reached: Vec<ObjectKey>,
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
    /// Whether there is anything to store.
    pub fn brings_something(&self) -> bool {
        !(self.commits.is_empty() && self.snapshots.is_empty() && self.objects.is_empty())
    }
}

impl Checked<'_> {
    /// Judges the push against a repo as it is now.
    ///
    /// # Errors
    /// 422 for references that lead nowhere, 409 for a branch that would not go forward.
    pub fn judge(&self, index: &RepoIndex, heads: &Heads) -> Result<Verdict<'_>, Error> {
        let commits: Vec<&Commit> = self.commits.iter().filter(|commit| !index.graph().contains(&commit.id)).collect();
        let new_ids: HashSet<&CommitId> = commits.iter().map(|commit| &commit.id).collect();
        let (snapshots, named) = compute(|| self.connect(index, &commits, &new_ids))?;

        let head = heads.get(self.branch.as_str());
        let tip = self.tip(index, &new_ids).or(head);
        if let (Some(head), Some(tip)) = (head, tip)
            && !self.force
            && !self.is_fast_forward(index, &commits, head, tip)
        {
            return Err(Error::NonFastForward(self.branch.clone()));
        }
        Ok(Verdict {
            tip: tip.cloned(),
            snapshots,
            objects: self.objects.iter().filter(|(key, _)| !index.has_object(key)).map(|(_, object)| object).collect(),
            reached: named.iter().filter(|key| index.has_object(key) && !index.is_reached(key)).cloned().collect(),
            named,
            commits,
        })
    }

    /// The objects that the bundle's snapshots name and that are neither in it nor in the repo.
    pub fn absent_objects(&self, index: &RepoIndex) -> HashSet<ObjectKey> {
        let named = self.snapshots.values().flat_map(|snapshot| &snapshot.manifest.entries);
        named.map(|(_, object)| object.key()).filter(|key| !self.has_object(index, key)).collect()
    }

    /// Checks that everything that new commits reach is there. Returns the snapshots to store, which are those that new
    /// commits name, and of the others those that are complete; and the objects that they name.
    fn connect(
        &self,
        index: &RepoIndex,
        commits: &[&Commit],
        new_ids: &HashSet<&CommitId>,
    ) -> Result<(Vec<&Snapshot<'_>>, HashSet<ObjectKey>), Error> {
        let mut missing = Missing::default();
        let mut named: HashSet<ObjectKey> = HashSet::new();
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
            if index.snapshot(id).is_some() || !wanted.insert(id) {
                continue;
            }
            match self.snapshots.get(id) {
                Some(snapshot) => {
                    // In the order of their commits, so that neighbours in history compress together.
                    stored.push(snapshot);
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
                None if self.ids.are_checked() => {
                    missing.note(|| format!("snapshot '{id}' of commit '{}'", commit.id));
                }
                None => {}
            }
        }
        let mut others: Vec<&Snapshot<'_>> = self
            .snapshots
            .values()
            .filter(|snapshot| {
                !wanted.contains(&snapshot.snapshot_id) && index.snapshot(&snapshot.snapshot_id).is_none()
            })
            .filter(|snapshot| {
                snapshot.manifest.entries.iter().all(|(_, object)| self.has_object(index, &object.key()))
            })
            .collect();
        others.sort_unstable_by(|a, b| a.snapshot_id.cmp(&b.snapshot_id));
        named.extend(others.iter().flat_map(|snapshot| &snapshot.manifest.entries).map(|(_, object)| object.key()));
        stored.extend(others);
        missing.refuse()?;
        Ok((stored, named))
    }

    /// Whether an object is in the bundle or in the repo.
    fn has_object(&self, index: &RepoIndex, key: &ObjectKey) -> bool {
        self.objects.contains_key(key) || index.has_object(key)
    }

    /// The commit that the bundle is about, by the contract's rules.
    fn tip<'s>(&'s self, index: &RepoIndex, new_ids: &HashSet<&CommitId>) -> Option<&'s CommitId> {
        if let Some(claimed) = &self.claimed_head
            && (new_ids.contains(claimed) || index.graph().contains(claimed))
        {
            return Some(claimed);
        }
        let parents: HashSet<&CommitId> = self.commits.iter().flat_map(|commit| &commit.parents).collect();
        let childless = || self.commits.iter().rev().filter(|commit| !parents.contains(&commit.id));
        let of_branch = childless().find(|commit| *commit.branch == *self.branch.as_str());
        of_branch.or_else(|| childless().next()).map(|commit| &commit.id)
    }

    /// Whether `head` is `tip` or one of its ancestors, over the commits of the repo and those of the bundle.
    fn is_fast_forward(&self, index: &RepoIndex, commits: &[&Commit], head: &CommitId, tip: &CommitId) -> bool {
        if head == tip || index.graph().is_ancestor(head, tip) {
            return true;
        }
        let parents: BTreeMap<&CommitId, &[CommitId]> =
            commits.iter().map(|commit| (&commit.id, commit.parents.as_slice())).collect();
        // The commits of the repo that the tip builds upon: where the bundle's part of the history ends.
        let mut foundations = HashSet::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![tip];
        while let Some(commit) = waiting.pop() {
            match parents.get(commit) {
                Some(parents) => waiting.extend(parents.iter().filter(|parent| seen.insert(*parent))),
                None => {
                    foundations.insert(commit);
                }
            }
        }
        // Nothing of the head's own history is left over once the foundations' is taken away.
        index.graph().contains(head) && index.graph().difference([head], foundations).commits.is_empty()
    }
}
