//! `POST /push`: one branch moves, with everything that it reaches, or nothing happens at all.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod domain;
mod judge;
mod known;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use common::answer_size::{Held, is_beyond_stock_clients};
use common::id::Ids;
use common::id::{CommitId, ObjectKey, RepoId};
use common::pack::{self, NewCommit, NewObject, NewPack, NewSnapshot, PackedCommit, WrittenPack};
use common::wire::limits::{MAX_BRANCHES, MAX_PACKS, STOCK_ANSWER};
use common::wire::names::check_beside;
use common::wire::record::Snapshot;
use common::wire::request::PushResponse;
use common::wire::{Error, Text};
use judge::{Checked, Reach, Verdict, check};
use known::Known;
use lambda_http::http::StatusCode;
use lambda_http::{Request, Response};
use service::Hub;
use service::{Access, AnswerBody, Call};
use store::bucket::packs::StoredPack;
use store::change::{BranchMove, Change};
use store::compute;
use store::read::view::{Place, View};
use store::repo::{Load, Repo};
use store::span;
use store::table::items::Visibility;
use store::table::places;
use store::table::transaction::Outcome;

/// How often a push is judged again because another one was faster. Each time another push landed.
const ATTEMPTS: usize = 50;
/// Commits that the pushed ones build upon, whose objects are known without looking each up.
const BESIDE: usize = 4;
/// What there is too much of when a clone could not want every head.
const TOO_MANY_BRANCHES: &str = "branches are more than a clone can want, so delete some of this repository's first";
const LOAD: Load = Load { uploads: true, ..Load::RELIABLE_HISTORY };

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { push(hub, &call).await }).await
}

async fn push(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, Error> {
    let caller = call.user(hub).await?;
    let target = call.target()?;
    let mut opened = Some(hub.open(Some(&caller), &target, Access::Push, LOAD).await?);
    let mut bundle = compute(|| check(call.decode()?, hub.settings.ids))?;
    complete(hub, &caller.user_id, &mut bundle).await?;
    let (mut has_adopted, mut has_listed_again) = (false, false);
    let mut places = Vec::new();
    let mut pack = None;

    for _ in 0..ATTEMPTS {
        let (repo, view) = match opened.take() {
            Some(opened) => opened,
            None => hub.open(Some(&caller), &target, Access::Push, LOAD).await?,
        };
        let before = repo.heads.get(bundle.branch.as_str());
        if before.is_none() {
            check_beside(&bundle.branch, repo.heads.keys().map(String::as_str))?;
        }
        bundle.refuse_purged_objects(&repo.purged)?;
        bundle.forget_unpurged(&repo.purged);
        let Some((view, known)) = look_up(hub, &repo, &view, &bundle).await? else {
            // A push that began before they were condemned has moved the branch to what they hold.
            hub.store.revive(&repo.id, &repo.condemned).await?;
            continue;
        };
        bundle.refuse_purged_names(&known, &repo.purged)?;
        if !has_adopted && adopt_uploads(hub, &repo, &caller.user_id, &bundle, &known).await? {
            has_adopted = true;
            continue;
        }
        let mut seen = Seen::of(hub, &repo, &view, known, &bundle).await?;
        if needs_condemned(hub, &repo, &seen, &bundle).await? {
            hub.store.revive(&repo.id, &repo.condemned).await?;
            continue;
        }
        let recalled = std::mem::take(&mut seen.recalled);
        bundle.check_expected(&seen.reach, before)?;
        check_annotations(hub, &repo.id, &seen.view, &seen.known, &bundle).await?;
        let verdict = match bundle.judge(&seen.known, &seen.reach, recalled) {
            Ok(verdict) => verdict,
            // A list of several pages may have been read while a pack came in behind the reader and another, which builds
            // upon that one, in front. So nothing is refused by the first list.
            Err(_) if !has_listed_again => {
                has_listed_again = true;
                let view = hub.store.view_listed_again(&repo.id, &repo.condemned, &repo.purged).await?;
                opened = Some((repo, view));
                continue;
            }
            Err(refusal) => return Err(refusal),
        };
        let tip = seen.reach.tip.as_ref();
        let after = tip.filter(|tip| before != Some(*tip));
        let is_new = before.is_none() && after.is_some();
        if is_new {
            Error::check_count(TOO_MANY_BRANCHES, repo.heads.len() + 1, MAX_BRANCHES)?;
        }
        let is_beside_others = before.is_none() && repo.was_pushed_to();
        if is_beside_others && places.is_empty() {
            places = places::Place::unmarked(&repo.id, &bundle.branch);
        }
        pack = pack_of(hub, &repo, &verdict, &seen.reach, pack).await?;
        let domain = domain::of_first_push(hub, &repo, &view, &bundle, tip).await?;

        let change = Change {
            repo: &repo.id,
            creates: repo.to_be_made.as_ref(),
            pack: pack.as_ref().map(|pack| &pack.stored),
            branch: after.map(|after| BranchMove {
                name: &bundle.branch,
                before,
                after,
                places: if is_beside_others { &places } else { &[] },
                forced: bundle.force,
                is_first: !repo.was_pushed_to(),
                becomes_default: !repo.meta.default_is_chosen,
                domain,
            }),
            by: &caller.user_id,
        };
        if hub.store.commit(&change).await? == Outcome::Landed {
            return answer(hub, call, &repo, &bundle, tip, pack.as_ref().map(|pack| &pack.stored));
        }
        if is_beside_others {
            places = hub.store.places(&repo.id, &bundle.branch).await?;
        }
    }
    Err(Error::Unavailable(format!("{ATTEMPTS} other pushes were faster").into()))
}

/// Takes in the objects that were uploaded for this push, if it lacks any. Whether it looked for some.
async fn adopt_uploads(hub: &Hub, repo: &Repo, by: &str, bundle: &Checked<'_>, known: &Known) -> Result<bool, Error> {
    if !repo.has_uploads {
        return Ok(false);
    }
    let absent = bundle.absent_objects(known);
    if absent.is_empty() {
        return Ok(false);
    }
    hub.store.take_uploads(&repo.id, repo.listed(), absent, by).await?;
    Ok(true)
}

/// A pack that is in S3 and that no repo lists yet.
struct Pack {
    stored: StoredPack,
    repo: RepoId,
    tip: Option<CommitId>,
}

/// The pack of what a push brings, if it brings anything. The pack of an earlier attempt serves again: what it holds is
/// still pushed, even if other pushes landed meanwhile, and what it lists as reached was judged by the tip.
async fn pack_of(
    hub: &Hub,
    repo: &Repo,
    verdict: &Verdict<'_>,
    reach: &Reach,
    before: Option<Pack>,
) -> Result<Option<Pack>, Error> {
    let before = before.filter(|pack| pack.repo == repo.id && pack.tip == reach.tip);
    if before.is_some() || !verdict.brings_something() {
        return Ok(before);
    }
    Error::check_count("packs of one repository", repo.listed() + 1, MAX_PACKS)?;
    let written = compute(|| write_pack(verdict, reach, hub.settings.ids))?;
    let stored = hub.store.store_pack(&repo.id, written).await?;
    Ok(Some(Pack { stored, repo: repo.id.clone(), tip: reach.tip.clone() }))
}

/// What a push that has landed is answered.
fn answer(
    hub: &Hub,
    call: &Call,
    repo: &Repo,
    bundle: &Checked<'_>,
    tip: Option<&CommitId>,
    pack: Option<&StoredPack>,
) -> Result<Response<AnswerBody>, Error> {
    span::note(|seen| seen.commits = pack.map_or(0, |pack| pack.written.summary.commits));
    let mut heads = repo.heads.clone();
    if let Some(tip) = tip {
        heads.insert(bundle.branch.to_string(), tip.clone());
    }
    let mut message = format!("pushed {} commit(s) to '{}'", bundle.sent_commits, bundle.branch);
    message.push_str(&made(repo, tip.filter(|_| bundle.sent_commits > 0)).unwrap_or_default());
    message.push_str(&too_large_to_clone(hub, call, repo, pack).unwrap_or_default());
    call.respond(StatusCode::OK, &PushResponse { ok: true, message, branch_heads: &heads, remote_head: tip })
}

/// Refuses commits that the repo has with other reviews or test runs than are sent. A record is never replaced, so they
/// would be dropped without a word. And clients keep the record that they have when they pull, so no other client would
/// ever get them.
async fn check_annotations(
    hub: &Hub,
    repo: &RepoId,
    view: &View,
    known: &Known,
    bundle: &Checked<'_>,
) -> Result<(), Error> {
    let mut annotated = Vec::new();
    for commit in &bundle.commits {
        if let Some(there) = known.commit(&commit.id)
            && commit.is_annotated()?
        {
            annotated.push((there.place, commit));
        }
    }
    if annotated.is_empty() {
        return Ok(());
    }
    annotated.sort_by_key(|(place, _)| *place);
    let places: Vec<Place> = annotated.iter().map(|(place, _)| *place).collect();
    let _turn = hub.store.reading_turn().await?;
    let mut records = hub.store.read_places(repo, view, &places).await?;
    for (_, commit) in annotated {
        let record = records.next().await?.ok_or_else(|| Error::internal("the reader ended too early"))?;
        if !commit.is_annotated_as(&record)? {
            return Err(Error::invalid(
                "reviewed_by and test_runs",
                format_args!(
                    "commit '{}' is in the repository with others, and a commit that was pushed stays as it is; annotate before the first push, or put the review into a new commit",
                    commit.id
                ),
            ));
        }
    }
    Ok(())
}

/// The message to a user who has made a repo by pushing to a name, perhaps a mistyped one: that it is there now, and
/// who can read it. The same push sent again gets it again, because the answer to the first may have been lost.
fn made(repo: &Repo, tip: Option<&CommitId>) -> Option<String> {
    if !repo.meta.is_made_by_push || repo.was_pushed_to() && (tip.is_none() || repo.meta.first_head.as_ref() != tip) {
        return None;
    }
    let (readers, other) = match repo.meta.visibility {
        Visibility::Public => ("anybody can read", "private"),
        Visibility::Private => ("only you can read", "public"),
    };
    Some(format!(
        "; this made a new repository, which {readers}: PATCH /api/repos/<owner>/<slug> {{\"visibility\": \"{other}\"}} changes that"
    ))
}

/// What is said where a clone has more bytes than a stock client reads, in the encoding that this client asks for.
fn too_large_to_clone(hub: &Hub, call: &Call, repo: &Repo, new: Option<&StoredPack>) -> Option<String> {
    let held = Held::by(repo.packs.iter().map(|(_, pack)| pack));
    let held = new.map_or(held, |new| held.and(&new.written.summary));
    let bytes = held.clone_bytes(call.answer_encoding());
    is_beyond_stock_clients(bytes).then(|| {
        format!(
            "; a clone has about {} MiB now, and 'muse clone' gives up beyond {}: 'musehub clone {}/{}/{}' fetches it in parts",
            bytes >> 20,
            STOCK_ANSWER >> 20,
            call.hub_url(hub).as_deref().unwrap_or("URL"),
            repo.meta.owner,
            repo.meta.slug
        )
    })
}

/// What one view of a repository has of what a push names.
async fn known_in(view: &View, hub: &Hub, repo: &Repo, bundle: &Checked<'_>) -> Result<Known, store::Error> {
    let mut known = Known::default();
    known.add_commits(view, bundle.named_commits(&repo.heads)).await?;
    known.add_snapshots(view, bundle.named_snapshots()).await?;
    let objects = bundle.named_objects();
    if hub.settings.ids.are_checked() {
        // An object that is sent is looked up: it may be one that was lost.
        let mut not_sent = objects.clone();
        not_sent.retain(|key| !bundle.brings_object(key));
        let mut parents: Vec<CommitId> = bundle.parents().filter(|id| known.has_commit(id)).cloned().collect();
        parents.truncate(BESIDE);
        let beside = hub.store.objects_beside(&repo.id, view, &not_sent, &parents).await?;
        known.add_reached(beside);
    }
    known.add_objects(view, &objects).await?;
    Ok(known)
}

/// Looks up what the push names. None if the branch's head is not there but for what is condemned.
///
/// # Errors
/// When the storage does not answer, or has a branch whose commit it lacks.
async fn look_up(hub: &Hub, repo: &Repo, view: &View, bundle: &Checked<'_>) -> Result<Option<(View, Known)>, Error> {
    let known = known_in(view, hub, repo, bundle).await?;
    let head = repo.heads.get(bundle.branch.as_str());
    let Some(head) = head.filter(|head| !known.has_commit(head)) else {
        return Ok(Some((view.clone(), known)));
    };
    let view = hub.store.view_listed_again(&repo.id, &repo.condemned, &repo.purged).await?;
    let known = known_in(&view, hub, repo, bundle).await?;
    if known.has_commit(head) {
        return Ok(Some((view, known)));
    }
    if !repo.condemned.is_empty() {
        return Ok(None);
    }
    Err(Error::internal(format!("branch '{}' is at {head}, which is in no pack", bundle.branch)))
}

/// What a push comes to in one view of the repo.
struct Seen {
    known: Known,
    reach: Reach,
    /// The objects that snapshots name which were pushed before any branch reached them, and are reached now.
    recalled: HashSet<ObjectKey>,
    view: View,
}

impl Seen {
    async fn of(hub: &Hub, repo: &Repo, view: &View, mut known: Known, bundle: &Checked<'_>) -> Result<Self, Error> {
        let mut reach = bundle.reach(&known, &repo.heads);
        // What no branch reached when it came is mostly nothing.
        let mut unreached: Vec<CommitId> = reach.foundations.iter().cloned().collect();
        let mut followed: HashSet<CommitId> = HashSet::new();
        while !unreached.is_empty() {
            known.add_commits(view, &unreached).await?;
            let commits = unreached.iter().filter_map(|id| known.commit(id)).filter(|commit| !commit.is_reached);
            let commits: Vec<_> = commits.collect();
            reach.snapshots.extend(commits.iter().filter_map(|commit| commit.snapshot.clone()));
            let parents: HashSet<CommitId> = commits.iter().flat_map(|commit| commit.parents.iter().cloned()).collect();
            unreached = parents.into_iter().filter(|id| followed.insert(id.clone())).collect();
        }
        known.add_snapshots(view, &reach.snapshots).await?;
        let recalled = recall(hub, &repo.id, view, &bundle.to_recall(&known, &reach)).await?;
        known.add_objects(view, &recalled).await?;
        reach.is_forward = match (repo.heads.get(bundle.branch.as_str()), &reach.tip) {
            (Some(head), Some(tip)) if head != tip => {
                let foundations: Vec<CommitId> = reach.foundations.iter().cloned().collect();
                view.history().is_ancestor(head, &foundations).await?
            }
            _ => true,
        };
        Ok(Self { known, reach, recalled, view: view.clone() })
    }
}

/// Whether a push needs what is condemned. Its client may have learned that it is there before it was condemned.
async fn needs_condemned(hub: &Hub, repo: &Repo, reliable: &Seen, bundle: &Checked<'_>) -> Result<bool, Error> {
    if repo.condemned.is_empty() {
        return Ok(false);
    }
    let view = hub.store.view_listed_again(&repo.id, &[], &repo.purged).await?;
    let known = known_in(&view, hub, repo, bundle).await?;
    let mut readable = Seen::of(hub, repo, &view, known, bundle).await?;
    let foundations: Vec<CommitId> = readable.reach.foundations.iter().cloned().collect();
    let heads: HashSet<CommitId> = repo.heads.values().cloned().collect();
    let built_upon = view.history().difference(&foundations, &heads).await?.commits;
    let built_upon: Vec<CommitId> = built_upon.into_iter().map(|(id, _)| id).collect();
    readable.known.add_commits(&view, &built_upon).await?;
    let mut less = reliable.known.clone();
    less.add_commits(&reliable.view, built_upon.iter().chain(&foundations)).await?;
    less.add_snapshots(&reliable.view, &readable.reach.snapshots).await?;
    less.add_objects(&reliable.view, &readable.recalled).await?;
    Ok(bundle.needs_more_than(&less, &readable.known, &readable.reach, &built_upon)
        // What is between may be condemned.
        || readable.reach.is_forward && !reliable.reach.is_forward
        || readable.recalled.iter().any(|key| readable.known.has_object(key) && !bundle.has_object(&less, key)))
}

/// The objects that snapshots name which were pushed before any branch reached them, and are reached now.
async fn recall(hub: &Hub, repo: &RepoId, view: &View, snapshots: &[Place]) -> Result<HashSet<ObjectKey>, Error> {
    let mut named = HashSet::new();
    if snapshots.is_empty() {
        return Ok(named);
    }
    let _turn = hub.store.reading_turn().await?;
    let mut records = hub.store.read_places(repo, view, snapshots).await?;
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

fn write_pack(verdict: &Verdict<'_>, reach: &Reach, ids: Ids) -> Result<WrittenPack, Error> {
    let commits: Vec<NewCommit<'_>> = verdict
        .commits
        .iter()
        .zip(&verdict.generations)
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
