//! Looks up what a push names and reaches, so that its plan follows without I/O.

use std::collections::HashSet;

use common::id::{CommitId, ObjectId, ObjectKey, RepoId, SnapshotId};
use common::location::RecordLocation;
use common::push::{Known, Reach, ValidatedBundle};
use common::wire::WireError;
use common::wire::manifests::ManifestReader;
use service::Hub;
use store::compute;
use store::read::view::View;
use store::repo::Repo;

/// Commits that the pushed ones build upon, whose objects are known without looking each up.
const BESIDE: usize = 4;

/// What one view of a repository has of what a push names.
async fn known_in(
    view: &View,
    hub: &Hub,
    repo: &Repo,
    bundle: &ValidatedBundle<'_>,
) -> Result<Known, store::StoreError> {
    let mut known = Known::default();
    add_commits(&mut known, view, bundle.named_commits(&repo.heads)).await?;
    add_snapshots(&mut known, view, bundle.named_snapshots()).await?;
    let objects = bundle.named_objects();
    if hub.settings.ids.are_checked() {
        // An object that is sent is looked up: it may be one that was lost.
        let mut not_sent = objects.clone();
        not_sent.retain(|key| !bundle.brings_object(key));
        let mut parents: Vec<CommitId> = bundle.parents().filter(|id| known.has_commit(id)).cloned().collect();
        parents.truncate(BESIDE);
        let beside = hub.store.objects_beside(&repo.id, view, &not_sent, &parents).await?;
        known.add_objects(beside.into_iter().map(|key| (key, true)));
    }
    add_objects(&mut known, view, &objects).await?;
    Ok(known)
}

/// Looks up what the push names. None if the head of one of its branches is not there but for what is condemned.
///
/// # Errors
/// When the storage does not answer, or has a branch whose commit it lacks.
pub async fn look_up(
    hub: &Hub,
    repo: &Repo,
    view: &View,
    bundle: &ValidatedBundle<'_>,
) -> Result<Option<(View, Known)>, WireError> {
    let known = known_in(view, hub, repo, bundle).await?;
    let lost = |known: &Known| bundle.heads(&repo.heads).find(|head| !known.has_commit(head)).cloned();
    if lost(&known).is_none() {
        return Ok(Some((view.clone(), known)));
    }
    let view = hub.store.view_listed_again(&repo.id, &repo.condemned, &repo.purged).await?;
    let known = known_in(&view, hub, repo, bundle).await?;
    match lost(&known) {
        None => Ok(Some((view, known))),
        Some(_) if !repo.condemned.is_empty() => Ok(None),
        Some(head) => Err(WireError::internal(format!("a branch is at {head}, which is in no pack"))),
    }
}

/// What a push comes to in one view of the repo.
pub struct Found {
    /// What the view has.
    pub known: Known,
    /// What the push reaches there.
    pub reach: Reach,
    /// The objects that snapshots name which were pushed before any branch reached them, and are reached now.
    pub recalled: HashSet<ObjectKey>,
    /// The view.
    pub view: View,
}

impl Found {
    /// Looks up what the push reaches.
    ///
    /// # Errors
    /// When the storage does not answer.
    pub async fn of(
        hub: &Hub,
        repo: &Repo,
        view: &View,
        mut known: Known,
        bundle: &ValidatedBundle<'_>,
    ) -> Result<Self, WireError> {
        let mut reach = compute(|| bundle.reach(&known, &repo.heads));
        // What no branch reached when it came is mostly nothing.
        let mut unreached: Vec<CommitId> = reach.foundations().cloned().collect();
        let mut followed: HashSet<CommitId> = HashSet::new();
        while !unreached.is_empty() {
            add_commits(&mut known, view, &unreached).await?;
            let commits = unreached.iter().filter_map(|id| known.commit(id)).filter(|commit| !commit.is_reached);
            let commits: Vec<_> = commits.collect();
            reach.snapshots.extend(commits.iter().filter_map(|commit| commit.snapshot.clone()));
            let parents: HashSet<CommitId> = commits.iter().flat_map(|commit| commit.parents.iter().cloned()).collect();
            unreached = parents.into_iter().filter(|id| followed.insert(id.clone())).collect();
        }
        add_snapshots(&mut known, view, &reach.snapshots).await?;
        let recalled = recall(hub, &repo.id, view, &bundle.to_recall(&known, &reach)).await?;
        add_objects(&mut known, view, &recalled).await?;
        let mut history = view.history();
        for (number, update) in bundle.updates.iter().enumerate() {
            let tip = reach.ends.get(number).and_then(|end| end.tip.as_ref());
            let is_forward = match (repo.heads.get(update.branch.as_str()), tip) {
                (Some(head), Some(tip)) if head != tip => {
                    let foundations: Vec<CommitId> = reach.foundations_of(number).cloned().collect();
                    history.is_ancestor(head, &foundations).await?
                }
                _ => true,
            };
            if let Some(end) = reach.ends.get_mut(number) {
                end.is_forward = is_forward;
            }
        }
        Ok(Self { known, reach, recalled, view: view.clone() })
    }
}

/// Whether a push needs what is condemned. Its client may have learned that it is there before it was condemned.
pub async fn needs_condemned(
    hub: &Hub,
    repo: &Repo,
    reliable: &Found,
    bundle: &ValidatedBundle<'_>,
) -> Result<bool, WireError> {
    if repo.condemned.is_empty() {
        return Ok(false);
    }
    let view = hub.store.view_listed_again(&repo.id, &[], &repo.purged).await?;
    let known = known_in(&view, hub, repo, bundle).await?;
    let mut readable = Found::of(hub, repo, &view, known, bundle).await?;
    let foundations: Vec<CommitId> = readable.reach.foundations().cloned().collect();
    let heads: HashSet<CommitId> = repo.heads.values().cloned().collect();
    let built_upon = view.history().difference(&foundations, &heads).await?.commits;
    let built_upon: Vec<CommitId> = built_upon.into_iter().map(|(id, _)| id).collect();
    add_commits(&mut readable.known, &view, &built_upon).await?;
    let mut less = reliable.known.clone();
    add_commits(&mut less, &reliable.view, built_upon.iter().chain(&foundations)).await?;
    add_snapshots(&mut less, &reliable.view, &readable.reach.snapshots).await?;
    add_objects(&mut less, &reliable.view, &readable.recalled).await?;
    Ok(bundle.needs_more_than(&less, &readable.known, &readable.reach, &built_upon)
        // What is between may be condemned.
        || readable.reach.ends.iter().zip(&reliable.reach.ends).any(|(more, less)| more.is_forward && !less.is_forward)
        || readable.recalled.iter().any(|key| readable.known.has_object(key) && !bundle.has_object(&less, key)))
}

/// The objects that snapshots name which were pushed before any branch reached them, and are reached now.
async fn recall(
    hub: &Hub,
    repo: &RepoId,
    view: &View,
    snapshots: &[RecordLocation],
) -> Result<HashSet<ObjectKey>, WireError> {
    let mut named = HashSet::new();
    if snapshots.is_empty() {
        return Ok(named);
    }
    let _permit = hub.store.read_permit().await?;
    let mut records = hub.store.read_places(repo, view, snapshots).await?;
    let mut manifests = ManifestReader::default();
    while let Some(record) = records.next().await? {
        let see = |_: &str, object: ObjectId| {
            named.insert(object.key());
        };
        manifests.entries(record, see).map_err(WireError::internal)?;
    }
    Ok(named)
}

/// Takes in the objects that were uploaded for this push, if it lacks any. Whether it looked for some.
pub async fn adopt_uploads(
    hub: &Hub,
    repo: &Repo,
    by: &str,
    bundle: &ValidatedBundle<'_>,
    known: &Known,
) -> Result<bool, WireError> {
    if !repo.has_uploads {
        return Ok(false);
    }
    let absent = bundle.absent_objects(known);
    if absent.is_empty() {
        return Ok(false);
    }
    hub.check_uploads(repo, &absent).await?;
    hub.store.take_uploads(&repo.id, repo.listed(), absent, by).await?;
    Ok(true)
}

async fn add_commits<'i>(
    known: &mut Known,
    view: &View,
    ids: impl IntoIterator<Item = &'i CommitId>,
) -> Result<(), store::StoreError> {
    let found = view.commits(known.new_commits(ids)).await?;
    known.add_commits(found);
    Ok(())
}

async fn add_snapshots<'i>(
    known: &mut Known,
    view: &View,
    ids: impl IntoIterator<Item = &'i SnapshotId>,
) -> Result<(), store::StoreError> {
    let found = view.snapshots(known.new_snapshots(ids)).await?;
    known.add_snapshots(found);
    Ok(())
}

async fn add_objects<'i>(
    known: &mut Known,
    view: &View,
    keys: impl IntoIterator<Item = &'i ObjectKey>,
) -> Result<(), store::StoreError> {
    let found = view.objects(known.new_objects(keys)).await?;
    known.add_objects(found.into_iter().map(|(key, object)| (key, object.is_reached)));
    Ok(())
}
