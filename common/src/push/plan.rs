//! The plan of a push: what of the bundle is new, whether all that it reaches is there, and where its branches go.
//! Pure: the push is planned again, against newer heads, whenever another push was faster.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use crate::graph::topological_order;
use crate::id::Ids;
use crate::id::{BranchName, CommitId, ObjectId, ObjectKey, SnapshotId};
use crate::table::UNKNOWN_GENERATION;
use crate::wire::commit::Commit;
use crate::wire::error::Missing;
use crate::wire::limits::MAX_UPDATES;
use crate::wire::names::check_branch;
use crate::wire::record::{Object, Snapshot, check_objects};
use crate::wire::request::{BranchUpdate, Heads, PushRequest};
use crate::wire::{Sent, Text, WireError};

use crate::location::RecordLocation;
use crate::purged::Purged;

use super::known::Known;

/// A bundle whose limits and hashes have been checked: nothing in it is there twice.
pub struct ValidatedBundle<'a> {
    /// The commits, parents first, and among those that could be next the one sent first.
    pub commits: Vec<Commit>,
    /// The snapshots by id, in the order sent: in that, neighbours mostly have nearly all in common.
    pub snapshots: IndexMap<SnapshotId, Snapshot<'a>>,
    /// The objects by what they are stored under.
    pub objects: HashMap<ObjectKey, Object<'a>>,
    /// How many commits were sent.
    pub sent_commits: usize,
    /// The branches that move, one at least and each once.
    pub updates: Vec<Update>,
    /// Objects that the pusher says were purged from the repo. New snapshots may name those that really were.
    known_as_purged: HashSet<ObjectKey>,
    /// Whether parents and snapshots have to be there.
    ids: Ids,
}

/// A branch that is to move.
#[derive(Debug)]
pub struct Update {
    /// The branch.
    pub branch: BranchName,
    /// Whether it may move to wherever.
    pub force: bool,
    /// Where it has to be, if the pusher says so; none in it if it must not be there.
    expected_head: Option<Option<CommitId>>,
    goal: Goal,
}

/// What is said of where a branch is to go.
#[derive(Debug)]
enum Goal {
    /// To the commit that the bundle is about. The client says, or does not, that its own branch has this head.
    OfBundle(Option<CommitId>),
    /// To this commit.
    Commit(CommitId),
}

/// Where the branches go, and what they reach then that no branch reached before.
#[derive(Debug, Default)]
pub struct Reach {
    /// Where each of them goes, in the order of the updates.
    pub ends: Vec<End>,
    /// The commits of the repo that tips build upon: where the bundle's part of the history ends. Of each, a bit for each end that does.
    foundations: HashMap<CommitId, u32>,
    /// The new commits that the tips build upon, themselves among them.
    pub commits: HashSet<CommitId>,
    /// The snapshots of those commits, and of the commits of the repo that no branch has reached, of the bundle or not.
    pub snapshots: HashSet<SnapshotId>,
}

/// Where one branch goes.
#[derive(Debug, Default)]
pub struct End {
    /// Its head from now on; none if the push names no commit, or one that is nowhere, and there is no such branch.
    pub tip: Option<CommitId>,
    /// Whether the branch's head is the tip or one of its ancestors, over the commits of the repo and those of the bundle.
    pub is_forward: bool,
}

impl Reach {
    /// The commits of the repo that any of the tips builds upon, each once.
    pub fn foundations(&self) -> impl Iterator<Item = &CommitId> {
        self.foundations.keys()
    }

    /// The commits of the repo that the tip of one end builds upon.
    pub fn foundations_of(&self, end: usize) -> impl Iterator<Item = &CommitId> {
        self.foundations.iter().filter(move |(_, ends)| *ends & bit(end) != 0).map(|(id, _)| id)
    }

    /// The heads of the branches from now on.
    pub fn tips(&self) -> Vec<Option<CommitId>> {
        self.ends.iter().map(|end| end.tip.clone()).collect()
    }
}

/// What has to be stored for a push.
pub struct PushPlan<'b> {
    /// Commits that the repo lacks, parents first.
    pub commits: Vec<&'b Commit>,
    /// Snapshots that the repo lacks, or has and that are reached for the first time.
    pub snapshots: Vec<&'b Snapshot<'b>>,
    /// Objects that the repo lacks.
    pub objects: Vec<&'b Object<'b>>,
    /// The snapshots that the branches reach.
    pub reached_snapshots: HashSet<&'b SnapshotId>,
    /// The objects that those name.
    pub named: HashSet<ObjectKey>,
    /// Objects that were staged and that a branch reaches for the first time.
    pub reached: Vec<ObjectKey>,
    /// For each of the commits 1 + the greatest generation number of its parents, if those are known.
    pub generations: Vec<u32>,
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
pub fn validate(request: PushRequest<'_>, ids: Ids) -> Result<ValidatedBundle<'_>, WireError> {
    let PushRequest { bundle, branch, force, expected_head, updates, purged } = request;
    let branch = branch.0.map(|branch| check_branch("branch", &branch)).transpose()?;
    let heads = bundle.branch_heads.unwrap_or_default().within("branch_heads")?;
    let own = OwnBranch { branch, force, expected_head };
    let updates = updates_of(own, &heads, updates.unwrap_or_default().within("updates")?)?;
    let purged = purged.map(|purged| purged.within("purged")).transpose()?.unwrap_or_default();
    let sent_commits = bundle.commits.sent;
    let commits = bundle.commits.within("commits")?;
    let snapshots = bundle.snapshots.within("snapshots")?;
    let objects = bundle.objects.within("objects")?;

    let mut snapshots_by_id = IndexMap::with_capacity(snapshots.len());
    let mut before = None;
    for snapshot in &snapshots {
        snapshot.check_after(before.replace(snapshot), ids.are_checked())?;
        if ids.are_checked() && !snapshot.is_proved() {
            return Err(WireError::SnapshotHashMismatch(snapshot.snapshot_id.to_string()));
        }
    }
    for snapshot in snapshots {
        snapshots_by_id.entry(snapshot.snapshot_id.clone()).or_insert(snapshot);
    }
    if let Some(forged) = commits.iter().find(|commit| ids.are_checked() && !commit.is_proved()) {
        return Err(WireError::CommitHashMismatch(forged.id.to_string()));
    }
    let order = topological_order(commits.iter().map(|commit| (&commit.id, commit.parents.as_slice())))
        .map_err(|cycle| WireError::invalid("bundle.commits", cycle))?;
    let mut unordered: Vec<Option<Commit>> = commits.into_iter().map(Some).collect();
    let commits = order.into_iter().filter_map(|position| unordered.get_mut(position)?.take()).collect();

    Ok(ValidatedBundle {
        commits,
        snapshots: snapshots_by_id,
        objects: check_objects(objects, ids.are_checked())?,
        sent_commits,
        updates,
        known_as_purged: purged.iter().map(ObjectId::key).collect(),
        ids,
    })
}

/// The heads that a client says its branches have.
type ClaimedHeads<'a> = HashMap<Text<'a>, Option<Text<'a>>>;

/// What a request says of the branch that it names by itself.
struct OwnBranch<'a> {
    branch: Option<BranchName>,
    force: bool,
    expected_head: Sent<Text<'a>>,
}

/// The branches that a push moves, that which it names by itself first. That may be among the others: then the two are one, and the
/// other says where it goes.
fn updates_of(
    own: OwnBranch<'_>,
    heads: &ClaimedHeads<'_>,
    others: Vec<BranchUpdate<'_>>,
) -> Result<Vec<Update>, WireError> {
    let mut updates: Vec<Update> = Vec::with_capacity(others.len() + 1);
    for other in others {
        let branch = check_branch("updates.branch", &other.branch)?;
        if updates.iter().any(|update| update.branch == branch) {
            return Err(WireError::invalid("updates", format_args!("branch '{branch}' is there twice")));
        }
        let expected_head = expected_head("updates.expected_head", &other.expected_head)?;
        updates.push(Update { branch, force: other.force, expected_head, goal: Goal::Commit(other.tip) });
    }
    let OwnBranch { branch, force, expected_head: expected } = own;
    let Some(branch) = branch else {
        if updates.is_empty() {
            return Err(WireError::MalformedBody("the body: missing field `branch`".into()));
        }
        if force || expected.0.is_some() {
            let field = if force { "force" } else { "expected_head" };
            return Err(WireError::invalid(
                field,
                "is about 'branch', which is not sent: say it in each of the updates",
            ));
        }
        return Ok(updates);
    };
    let expected = expected_head("expected_head", &expected)?;
    match updates.iter().position(|update| update.branch == branch) {
        Some(at) => {
            let update = updates.remove(at);
            let expected_head = update.expected_head.clone().or(expected);
            updates.insert(0, Update { force: update.force || force, expected_head, ..update });
        }
        None => {
            let claimed = heads.get(&Text(branch.as_str().into())).and_then(|head| head.as_ref()?.parse().ok());
            updates.insert(0, Update { branch, force, expected_head: expected, goal: Goal::OfBundle(claimed) });
        }
    }
    WireError::check_count("branches in one push", updates.len(), MAX_UPDATES)?;
    Ok(updates)
}

fn expected_head(field: &str, sent: &Sent<Text<'_>>) -> Result<Option<Option<CommitId>>, WireError> {
    Ok(match sent.0.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(head) => Some(Some(head.parse().map_err(|reason| WireError::invalid(field, reason))?)),
    })
}

/// The bit of an end.
const fn bit(end: usize) -> u32 {
    const { assert!(MAX_UPDATES <= u32::BITS as usize) };
    1 << end
}

impl Update {
    /// The commit that is named as its goal, or claimed to be.
    fn named(&self) -> Option<&CommitId> {
        match &self.goal {
            Goal::OfBundle(claimed) => claimed.as_ref(),
            Goal::Commit(tip) => Some(tip),
        }
    }
}

impl PushPlan<'_> {
    /// Whether there is anything to store, even if it is only that something is reached.
    pub fn brings_something(&self) -> bool {
        !(self.commits.is_empty() && self.snapshots.is_empty() && self.objects.is_empty() && self.reached.is_empty())
    }
}

impl ValidatedBundle<'_> {
    /// A push of nothing: the branch goes from where it is to a commit of the repo.
    pub fn of_move(branch: BranchName, from: Option<CommitId>, to: CommitId, ids: Ids) -> Self {
        Self {
            commits: Vec::new(),
            snapshots: IndexMap::new(),
            objects: HashMap::new(),
            sent_commits: 0,
            updates: vec![Update { branch, force: true, expected_head: Some(from), goal: Goal::Commit(to) }],
            known_as_purged: HashSet::new(),
            ids,
        }
    }

    /// The commits that the push names: its own, their parents, where branches are to go, and where they are.
    pub fn named_commits<'n>(&'n self, heads: &'n Heads) -> impl Iterator<Item = &'n CommitId> {
        let own = self.commits.iter().flat_map(|commit| commit.parents.iter().chain([&commit.id]));
        own.chain(self.updates.iter().filter_map(Update::named)).chain(self.heads(heads))
    }

    /// Where the branches are that move.
    pub fn heads<'n>(&'n self, heads: &'n Heads) -> impl Iterator<Item = &'n CommitId> {
        self.updates.iter().filter_map(|update| heads.get(update.branch.as_str()))
    }

    /// The snapshots that the push names.
    pub fn named_snapshots(&self) -> impl Iterator<Item = &SnapshotId> {
        self.snapshots.keys().chain(self.commits.iter().filter_map(|commit| commit.snapshot.as_ref()))
    }

    /// The objects that the push brings or names.
    pub fn named_objects(&self) -> HashSet<ObjectKey> {
        self.entries().map(|(_, object)| object.key()).chain(self.objects.keys().cloned()).collect()
    }

    /// The entries of all manifests, without those that the manifest sent before has too.
    fn entries(&self) -> impl Iterator<Item = &(Text<'_>, ObjectId)> {
        let manifests = || self.snapshots.values().map(|snapshot| &snapshot.manifest);
        let before = std::iter::once(None).chain(manifests().map(Some));
        manifests().zip(before).flat_map(|(manifest, before)| manifest.beyond(before))
    }

    /// Whether the bundle brings an object.
    pub fn brings_object(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// The commits that those of the bundle name as their parents.
    pub fn parents(&self) -> impl Iterator<Item = &CommitId> {
        self.commits.iter().flat_map(|commit| &commit.parents)
    }

    /// What the branches will reach in a repo as it is now, as far as the bundle says.
    pub fn reach(&self, known: &Known, heads: &Heads) -> Reach {
        let new: HashMap<&CommitId, &Commit> = self.new_commits(known).map(|commit| (&commit.id, commit)).collect();
        let mut reach = Reach::default();
        // Which ends reach a commit. Children come before their parents, so that all is known of a commit when it is come to.
        let mut reached: HashMap<&CommitId, u32> = HashMap::new();
        for (number, update) in self.updates.iter().enumerate() {
            let tip = self.tip(update, known, &new, heads);
            if let Some(tip) = tip {
                *reached.entry(tip).or_default() |= bit(number);
            }
            reach.ends.push(End { tip: tip.cloned(), ..End::default() });
        }
        for commit in self.commits.iter().rev().filter(|commit| new.contains_key(&commit.id)) {
            let Some(ends) = reached.get(&commit.id).copied() else {
                continue;
            };
            reach.snapshots.extend(commit.snapshot.clone());
            for parent in &commit.parents {
                *reached.entry(parent).or_default() |= ends;
            }
        }
        for (id, ends) in reached {
            if new.contains_key(id) {
                reach.commits.insert(id.clone());
            } else {
                reach.foundations.insert(id.clone(), ends);
            }
        }
        reach
    }

    /// The snapshots that a branch reaches for the first time and that are not in the bundle. Only their records show
    /// what they name.
    pub fn to_recall(&self, known: &Known, reach: &Reach) -> Vec<RecordLocation> {
        let others = reach.snapshots.iter().filter(|id| !self.snapshots.contains_key(*id));
        let mut places: Vec<RecordLocation> = others.filter_map(|id| known.staged_snapshot(id)).collect();
        places.sort_unstable();
        places
    }

    /// Plans the push against a repo as it is now. `recalled` are the objects that the snapshots to be recalled name.
    ///
    /// # Errors
    /// 404 for a commit that a branch is to go to and that is nowhere, 422 for references that lead nowhere and for one of several
    /// branches that goes nowhere, 409 for a branch that would not go forward.
    pub fn plan(&self, known: &Known, reach: &Reach, recalled: HashSet<ObjectKey>) -> Result<PushPlan<'_>, WireError> {
        let commits: Vec<&Commit> = self.new_commits(known).collect();
        let Connected { snapshots, reached_snapshots, mut named } = self.connect(known, &commits, &reach.snapshots)?;
        named.extend(recalled);
        for (update, end) in self.updates.iter().zip(&reach.ends) {
            match &update.goal {
                Goal::Commit(tip) if end.tip.is_none() => return Err(WireError::UnknownCommit(tip.clone())),
                // By itself it is a push of nothing. Beside others it would be left out of what moves together.
                Goal::OfBundle(_) if end.tip.is_none() && self.updates.len() > 1 => {
                    let reason =
                        format_args!("there is no branch '{}', and no commit that it could go to", update.branch);
                    return Err(WireError::invalid("branch", reason));
                }
                _ if !update.force && !end.is_forward => return Err(WireError::NonFastForward(update.branch.clone())),
                _ => {}
            }
        }
        Ok(PushPlan {
            snapshots,
            reached_snapshots,
            objects: self.objects.iter().filter(|(key, _)| !known.has_object(key)).map(|(_, object)| object).collect(),
            reached: named.iter().filter(|key| known.has_object(key) && !known.is_reached(key)).cloned().collect(),
            named,
            generations: self.generations(known, &commits),
            commits,
        })
    }

    /// Refuses a push that expects another head of one of its branches. The head that is checked here is a condition of
    /// the transaction that moves the branch. A branch that is already where the push would move it is accepted, so the
    /// same push sent again gets the same answer.
    ///
    /// # Errors
    /// 409, with where the branch is.
    pub fn check_expected(&self, reach: &Reach, heads: &Heads) -> Result<(), WireError> {
        for (update, end) in self.updates.iter().zip(&reach.ends) {
            let head = heads.get(update.branch.as_str());
            let says_where = !self.commits.is_empty() || update.named().is_some();
            let is_done = says_where && head == end.tip.as_ref();
            let is_expected = update.expected_head.as_ref().is_none_or(|expected| head == expected.as_ref());
            if !is_expected && !is_done {
                return Err(WireError::StaleHead { branch: update.branch.clone(), head: head.cloned() });
            }
        }
        Ok(())
    }

    /// Whether what this push names, or builds upon, is in one view of the repo and not in another that has less. `reach` is
    /// what it reaches in the first, and `built_upon` the commits of the first that no branch reaches and that the push
    /// builds upon.
    pub fn needs_more_than(&self, less: &Known, more: &Known, reach: &Reach, built_upon: &[CommitId]) -> bool {
        let sent: HashSet<&CommitId> = self.commits.iter().map(|commit| &commit.id).collect();
        let lacks_commit = |id: &CommitId| !sent.contains(id) && !less.has_commit(id) && more.has_commit(id);
        let lacks_snapshot =
            |id: &SnapshotId| !self.snapshots.contains_key(id) && !less.has_snapshot(id) && more.has_snapshot(id);
        let lacks_object = |key: &ObjectKey| !self.has_object(less, key) && more.has_object(key);
        let mut named = self.entries();
        self.commits.iter().flat_map(|commit| &commit.parents).any(lacks_commit)
            || self.commits.iter().filter_map(|commit| commit.snapshot.as_ref()).any(lacks_snapshot)
            || named.any(|(_, object)| lacks_object(&object.key()))
            || reach.foundations().chain(built_upon).any(lacks_commit)
            || reach.snapshots.iter().any(lacks_snapshot)
    }

    /// The generation numbers of new commits, which come parents first.
    fn generations(&self, known: &Known, commits: &[&Commit]) -> Vec<u32> {
        let mut numbers: HashMap<&CommitId, u32> = HashMap::with_capacity(commits.len());
        for commit in commits {
            let of_parent = |parent: &CommitId| match numbers.get(parent) {
                Some(number) => *number,
                None => known.commit(parent).and_then(|parent| parent.generation).unwrap_or(UNKNOWN_GENERATION),
            };
            let greatest = commit.parents.iter().map(of_parent).max().unwrap_or(0);
            numbers.insert(&commit.id, greatest.saturating_add(1));
        }
        commits.iter().filter_map(|commit| numbers.get(&commit.id)).copied().collect()
    }

    /// Refuses a push that brings an object which was purged from the repo.
    ///
    /// # Errors
    /// 422, naming it.
    pub fn refuse_purged_objects(&self, purged: &Purged) -> Result<(), WireError> {
        let sent = self.objects.iter().filter(|(key, _)| purged.has(key)).map(|(_, object)| object);
        match sent.min_by(|a, b| a.object_id.cmp(&b.object_id)) {
            Some(object) => Err(WireError::object_purged(&object.object_id, object.path.as_deref())),
            None => Ok(()),
        }
    }

    /// Forgets what the pusher takes for purged and the repo has not: it is as missing as anything else.
    pub fn forget_unpurged(&mut self, purged: &Purged) {
        self.known_as_purged.retain(|key| purged.has(key));
    }

    /// Refuses a push whose new snapshots name an object that was purged: no clone would get the file. Those that the repo had before
    /// are as they were.
    ///
    /// # Errors
    /// As [`Self::refuse_purged_objects`].
    pub fn refuse_purged_names(&self, known: &Known, purged: &Purged) -> Result<(), WireError> {
        let is_new = |id: &SnapshotId| !known.has_snapshot(id) || known.staged_snapshot(id).is_some();
        let new = self.snapshots.values().filter(|snapshot| is_new(&snapshot.snapshot_id));
        let is_refused = |key: &ObjectKey| purged.has(key) && !self.known_as_purged.contains(key);
        let named = new.flat_map(|snapshot| &snapshot.manifest.entries);
        let named = named.filter(|(_, object)| !purged.is_empty() && is_refused(&object.key()));
        match named.min_by(|(path, _), (other, _)| (**path).cmp(&**other)) {
            Some((path, object)) => Err(WireError::object_purged(object, Some(path))),
            None => Ok(()),
        }
    }

    /// The objects that the bundle's snapshots name and that are neither in it nor in the repo.
    pub fn absent_objects(&self, known: &Known) -> HashSet<ObjectKey> {
        self.entries().map(|(_, object)| object.key()).filter(|key| !self.has_object(known, key)).collect()
    }

    fn new_commits<'s>(&'s self, known: &Known) -> impl Iterator<Item = &'s Commit> {
        self.commits.iter().filter(|commit| !known.has_commit(&commit.id))
    }

    /// Checks that everything that new commits reach is there. Returns the snapshots to store: those that new commits
    /// name, and of the others those that are complete.
    fn connect(
        &self,
        known: &Known,
        commits: &[&Commit],
        reached: &HashSet<SnapshotId>,
    ) -> Result<Connected<'_>, WireError> {
        let new_ids: HashSet<&CommitId> = commits.iter().map(|commit| &commit.id).collect();
        // Opaque ids may be named long before what they name comes, so there all that comes counts as reached.
        let is_reached = |id: &SnapshotId| !self.ids.are_checked() || reached.contains(id);
        // What was staged is stored once more when it is reached, so that it counts as reached from then on.
        let is_stored =
            |id: &SnapshotId| known.has_snapshot(id) && !(is_reached(id) && known.staged_snapshot(id).is_some());
        let mut missing = Missing::default();
        let mut named: HashSet<ObjectKey> = HashSet::new();
        let mut named_aside: HashSet<ObjectKey> = HashSet::new();
        let mut reached_snapshots: HashSet<&SnapshotId> = HashSet::new();
        let mut wanted: HashSet<&SnapshotId> = HashSet::new();
        let mut stored = Vec::new();
        // The snapshot before, if all that it names is there, and whether it is reached.
        let mut before: Option<(&Snapshot<'_>, bool)> = None;
        for commit in commits {
            for parent in &commit.parents {
                if self.ids.are_checked() && !new_ids.contains(parent) && !known.has_commit(parent) {
                    missing.note_parent(|| format!("parent '{parent}' of commit '{}'", commit.id));
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
                    let is_reached = is_reached(id);
                    let named = if is_reached {
                        reached_snapshots.insert(&snapshot.snapshot_id);
                        &mut named
                    } else {
                        &mut named_aside
                    };
                    let alike = before.filter(|(_, other)| *other == is_reached).map(|(before, _)| &before.manifest);
                    for (path, object) in snapshot.manifest.beyond(alike) {
                        let key = object.key();
                        if named.contains(&key) {
                            continue;
                        }
                        if self.has_object(known, &key) {
                            named.insert(key);
                        } else {
                            missing.note(|| format!("object '{object}' at '{}' in snapshot '{id}'", &**path));
                        }
                    }
                    before = missing.is_empty().then_some((snapshot, is_reached));
                }
                // Staged, and recalled.
                None if known.has_snapshot(id) => {}
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
                snapshot.manifest.entries.iter().all(|(_, object)| self.has_object(known, &object.key()))
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

    /// Whether an object is in the bundle or in the repo, or was purged.
    pub fn has_object(&self, known: &Known, key: &ObjectKey) -> bool {
        self.objects.contains_key(key) || known.has_object(key) || self.known_as_purged.contains(key)
    }

    /// Where a branch goes, by the contract's rules.
    fn tip<'s>(
        &'s self,
        update: &'s Update,
        known: &Known,
        new: &HashMap<&CommitId, &Commit>,
        heads: &'s Heads,
    ) -> Option<&'s CommitId> {
        let is_there = |id: &&CommitId| new.contains_key(*id) || known.has_commit(id);
        let named = update.named().filter(is_there);
        if named.is_some() || matches!(update.goal, Goal::Commit(_)) {
            return named;
        }
        let parents: HashSet<&CommitId> = self.commits.iter().flat_map(|commit| &commit.parents).collect();
        let childless = || self.commits.iter().rev().filter(|commit| !parents.contains(&commit.id));
        let of_branch = childless().find(|commit| *commit.branch == *update.branch.as_str());
        let of_bundle = of_branch.or_else(|| childless().next()).map(|commit| &commit.id);
        of_bundle.or_else(|| heads.get(update.branch.as_str()))
    }
}

#[cfg(test)]
mod tests;
