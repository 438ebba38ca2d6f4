//! The pack of what a push brings.

use std::collections::HashMap;

use common::id::{CommitId, Ids, ObjectKey, RepoId};
use common::pack::{self, NewCommit, NewObject, NewPack, NewSnapshot, PackedCommit, WrittenPack};
use common::push::{PushPlan, Reach};
use common::wire::WireError;
use common::wire::limits::MAX_PACKS;
use service::Hub;
use store::bucket::packs::StoredPack;
use store::compute;
use store::repo::Repo;

/// A pack that is in S3 and that no repo lists yet.
pub struct Pack {
    /// The pack.
    pub stored: StoredPack,
    repo: RepoId,
    tips: Vec<Option<CommitId>>,
}

/// The pack of what a push brings, if it brings anything. The pack of an earlier attempt serves again: what it holds is
/// still pushed, even if other pushes landed meanwhile, and what it lists as reached was found from the tips.
pub async fn pack_of(
    hub: &Hub,
    repo: &Repo,
    plan: &PushPlan<'_>,
    reach: &Reach,
    before: Option<Pack>,
) -> Result<Option<Pack>, WireError> {
    let before = before.filter(|pack| pack.repo == repo.id && pack.tips == reach.tips());
    if before.is_some() || !plan.brings_something() {
        return Ok(before);
    }
    WireError::check_count("packs of one repository", repo.listed() + 1, MAX_PACKS)?;
    let written = compute(|| write_pack(plan, reach, hub.settings.ids))?;
    hub.check_quota(repo, written.summary.size).await?;
    let stored = hub.store.store_pack(&repo.id, written).await?;
    Ok(Some(Pack { stored, repo: repo.id.clone(), tips: reach.tips() }))
}

fn write_pack(plan: &PushPlan<'_>, reach: &Reach, ids: Ids) -> Result<WrittenPack, WireError> {
    let commits: Vec<NewCommit<'_>> = plan
        .commits
        .iter()
        .zip(&plan.generations)
        .map(|(commit, generation)| NewCommit {
            node: PackedCommit {
                id: commit.id.clone(),
                parents: commit.parents.clone(),
                snapshot: commit.snapshot.clone(),
                generation: *generation,
                // Opaque ids may be named long before what they name comes, so there all that comes counts as reached.
                is_reached: !ids.are_checked() || reach.commits.contains(&commit.id),
            },
            record: commit.record(),
        })
        .collect();
    let snapshots = plan
        .snapshots
        .iter()
        .map(|snapshot| {
            let id = snapshot.snapshot_id.clone();
            Ok(NewSnapshot { is_staged: !plan.reached_snapshots.contains(&id), id, record: snapshot.record()? })
        })
        .collect::<Result<Vec<_>, WireError>>()?;
    let paths = paths_in_manifests(plan);
    let objects: Vec<NewObject<'_>> = plan
        .objects
        .iter()
        .map(|object| {
            let key = object.object_id.key();
            let path = object.path.as_deref().or_else(|| paths.get(&key).copied()).unwrap_or_default();
            let is_staged = !plan.named.contains(&key);
            NewObject { path: path.into(), content: &object.content, key, is_staged }
        })
        .collect();
    let new = NewPack { commits, snapshots, objects, large: Vec::new(), reached: plan.reached.clone() };
    pack::write(new).map_err(WireError::internal)
}

/// A path for each object that came without one.
fn paths_in_manifests<'b>(plan: &PushPlan<'b>) -> HashMap<ObjectKey, &'b str> {
    let mut paths: HashMap<ObjectKey, &str> =
        plan.objects.iter().filter(|object| object.path.is_none()).map(|object| (object.object_id.key(), "")).collect();
    if !paths.is_empty() {
        for (path, object) in plan.snapshots.iter().flat_map(|snapshot| &snapshot.manifest.entries) {
            paths.entry(object.key()).and_modify(|known| *known = path);
        }
    }
    paths
}
