//! `POST /push`: one branch moves, with everything that it reaches, or nothing happens at all.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod judge;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use common::Hub;
use common::auth::Caller;
use common::id::{CommitId, ObjectKey, RepoId};
use common::observe;
use common::pack::{self, NewCommit, NewObject, NewPack, NewSnapshot, PackedCommit, WrittenPack};
use common::service::{AnswerBody, Call, Destination, compute};
use common::store::change::{BranchMove, Change, Outcome};
use common::store::index::{Place, RepoIndex};
use common::store::packs::StoredPack;
use common::store::repo::Need;
use common::wire::limits::{MAX_BRANCHES, MAX_PACKS};
use common::wire::record::Snapshot;
use common::wire::request::PushResponse;
use common::wire::{Error, Text};
use judge::{Checked, Verdict, check};
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};

/// How often a push is judged again because another was faster. Each time somebody else's push landed.
const ATTEMPTS: usize = 50;
const NEED: Need = Need { uploads: true, ..Need::RELIABLE_HISTORY };

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { push(hub, &call).await }).await
}

async fn push(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, Error> {
    let caller = call.user(hub).await?;
    let target = call.target()?;
    let (mut repo, mut index) = hub.open_for_push(&caller, &target, NEED).await?;
    let mut bundle = compute(|| check(call.decode()?, hub.settings.ids))?;
    complete(hub, &caller.user_id, &mut bundle).await?;
    let absent = if repo.has_uploads { bundle.absent_objects(&index) } else { HashSet::new() };
    if !absent.is_empty() {
        hub.store.take_uploads(&repo.id, repo.packs, absent, &caller.user_id).await?;
        (repo, index) = hub.open_for_push(&caller, &target, NEED).await?;
    }

    let (mut pack, mut packed_for): (Option<StoredPack>, Option<CommitId>) = (None, None);
    for _ in 0..ATTEMPTS {
        if needs_condemned(hub, &caller, &repo, &index, &bundle).await? {
            hub.store.revive(&repo.id, &repo.condemned).await?;
            (repo, index) = hub.open_for_push(&caller, &target, NEED).await?;
        }
        let reach = bundle.reach(&index, &repo.heads);
        let recalled = recall(hub, &repo.id, &index, &reach.to_recall).await?;
        let verdict = bundle.judge(&index, &repo.heads, &reach, recalled)?;
        let before = repo.heads.get(bundle.branch.as_str());
        let after = reach.tip.as_ref().filter(|tip| before != Some(*tip));
        if before.is_none() && after.is_some() {
            Error::check_count("branches of one repository", repo.heads.len() + 1, MAX_BRANCHES)?;
        }

        // A pack of an earlier attempt serves again: what it holds is still pushed, whatever else landed meanwhile. What
        // it says is reached was judged by the tip.
        pack = pack.filter(|pack| pack.repo == repo.id && packed_for == reach.tip);
        if pack.is_none() && verdict.brings_something() {
            Error::check_count("packs of one repository", repo.packs + 1, MAX_PACKS)?;
            let written = compute(|| write_pack(&verdict))?;
            pack = Some(hub.store.store_pack(&repo.id, written).await?);
            packed_for = reach.tip.clone();
        }
        // Given back, so that the cached index can grow in place.
        drop(index);

        let change = Change {
            repo: &repo.id,
            creates: repo.creates.as_ref(),
            pack: pack.as_ref(),
            branch: after.map(|after| BranchMove {
                name: &bundle.branch,
                before,
                after,
                forced: bundle.force,
                is_first: !repo.was_pushed_to,
            }),
            by: &caller.user_id,
        };
        if hub.store.commit(&change).await? == Outcome::Landed {
            let new = pack.as_ref().map_or(0, |pack| pack.written.summary.commits);
            observe::note(|seen| seen.commits = new);
            let mut heads = repo.heads;
            if let Some(tip) = &reach.tip {
                heads.insert(bundle.branch.to_string(), tip.clone());
            }
            let message = format!("pushed {} commit(s) to '{}'", bundle.sent_commits, bundle.branch);
            let answer = PushResponse { ok: true, message, branch_heads: &heads, remote_head: reach.tip.as_ref() };
            return call.respond(StatusCode::OK, &answer);
        }
        (repo, index) = hub.open_for_push(&caller, &target, NEED).await?;
    }
    Err(Error::Unavailable(format!("{ATTEMPTS} other pushes were faster").into()))
}

/// Whether a push needs what is condemned: the pusher may have been told that it is there before it was.
async fn needs_condemned(
    hub: &Hub,
    caller: &Caller,
    repo: &Destination,
    reliable: &RepoIndex,
    bundle: &Checked<'_>,
) -> Result<bool, Error> {
    if repo.condemned.is_empty() {
        return Ok(false);
    }
    let Some((_, readable)) = hub.store.repo_and_index(&repo.id, Some(&caller.user_id), Need::PACKS).await? else {
        return Ok(false);
    };
    let reach = bundle.reach(&readable, &repo.heads);
    if compute(|| bundle.needs_more_than(reliable, &readable, &repo.heads, &reach)) {
        return Ok(true);
    }
    let recalled = recall(hub, &repo.id, &readable, &reach.to_recall).await?;
    Ok(recalled.iter().any(|key| readable.has_object(key) && !bundle.has_object(reliable, key)))
}

/// The objects that snapshots name which were pushed before any branch reached them, and are reached now.
async fn recall(hub: &Hub, repo: &RepoId, index: &RepoIndex, snapshots: &[Place]) -> Result<HashSet<ObjectKey>, Error> {
    let mut named = HashSet::new();
    if snapshots.is_empty() {
        return Ok(named);
    }
    let _turn = hub.store.reading_turn().await?;
    let mut records = hub.store.read_records(repo, index, snapshots)?;
    while let Some(record) = records.next().await? {
        let snapshot: Snapshot<'_> = rmp_serde::from_slice(&record).map_err(Error::internal)?;
        named.extend(snapshot.manifest.entries.iter().map(|(_, object)| object.key()));
    }
    Ok(named)
}

/// Fills in what the pusher left empty: author and time of commits, time of snapshots.
async fn complete(hub: &Hub, user_id: &str, bundle: &mut Checked<'_>) -> Result<(), Error> {
    let now = hub.store.ambient().now_iso();
    for snapshot in bundle.snapshots.values_mut() {
        snapshot.created_at.get_or_insert_with(|| Text(Cow::Owned(now.clone())));
    }
    if bundle.commits.iter().all(|commit| !commit.is_incomplete()) {
        return Ok(());
    }
    let profile = hub.store.profile(user_id).await?;
    let author = profile.as_ref().map_or(user_id, |profile| profile.handle.as_str());
    bundle.commits.iter_mut().try_for_each(|commit| commit.complete(author, &now))
}

fn write_pack(verdict: &Verdict<'_>) -> Result<WrittenPack, Error> {
    let commits: Vec<NewCommit<'_>> = verdict
        .commits
        .iter()
        .map(|commit| NewCommit {
            node: PackedCommit {
                id: commit.id.clone(),
                parents: commit.parents.clone(),
                snapshot: commit.snapshot.clone(),
            },
            record: commit.record(),
        })
        .collect();
    let snapshots = verdict
        .snapshots
        .iter()
        .map(|snapshot| {
            let id = snapshot.snapshot_id.clone();
            Ok(NewSnapshot { is_ahead: !verdict.reached_snapshots.contains(&id), id, record: snapshot.record()? })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let paths = paths_in_manifests(verdict);
    let objects: Vec<NewObject<'_>> = verdict
        .objects
        .iter()
        .map(|object| {
            let key = object.object_id.key();
            let path = object.path.as_deref().or_else(|| paths.get(&key).copied()).unwrap_or_default();
            let is_ahead = !verdict.named.contains(&key);
            NewObject { path: path.into(), content: &object.content, key, is_ahead }
        })
        .collect();
    let new = NewPack { commits, snapshots, objects, large: Vec::new(), reached: verdict.reached.clone() };
    pack::write(new).map_err(Error::internal)
}

/// A path for each object that came without one.
fn paths_in_manifests<'b>(verdict: &Verdict<'b>) -> HashMap<ObjectKey, &'b str> {
    let mut paths: HashMap<ObjectKey, &str> = verdict
        .objects
        .iter()
        .filter(|object| object.path.is_none())
        .map(|object| (object.object_id.key(), ""))
        .collect();
    if !paths.is_empty() {
        for (path, object) in verdict.snapshots.iter().flat_map(|snapshot| &snapshot.manifest.entries) {
            paths.entry(object.key()).and_modify(|known| *known = path);
        }
    }
    paths
}
