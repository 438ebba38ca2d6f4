//! `POST /push`: branches move, mostly one, with everything that they reach, or nothing happens at all. `POST
//! /api/repos/{owner}/{slug}/branches/{branch}/restore` is a push of nothing, to where the branch was.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod answer;
mod domain;
mod look_up;
mod moves;
mod packing;
mod restore;

use std::borrow::Cow;

use common::id::{CommitId, RepoId};
use common::location::RecordLocation;
use common::push::{Known, ValidatedBundle, validate};
use common::wire::limits::MAX_NAMES_TAKEN;
use common::wire::{Text, WireError};
use lambda_http::{Request, Response};
use service::auth::Credential;
use service::{Access, AnswerBody, Call, Hub, Opened, Target};
use store::change::{Change, FirstPush};
use store::compute;
use store::read::view::View;
use store::repo::{Load, Repo};
use store::table::claims::PathClaim;
use store::table::transaction::Outcome;

use crate::answer::answer;
use crate::look_up::{Found, adopt_uploads, look_up, needs_condemned};
use crate::moves::{Way, beside_others, check_branches, check_ends, moves_of};
use crate::packing::{Pack, pack_of};

/// How often a push is planned again because another one was faster. Each time another push landed.
const ATTEMPTS: usize = 50;
/// What there is too much of when one transaction could not take the names of the branches that a push makes.
const TOO_MANY_NAMES: &str = "names of new branches and of their folders in one push";
const LOAD: Load = Load { uploads: true, ..Load::RELIABLE_HISTORY };

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move {
        match call.path().ends_with("/restore") {
            true => restore::restore(hub, &call).await,
            false => push(hub, &call).await,
        }
    })
    .await
}

async fn push(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    let opened = hub.open(Some(&token), &target, Access::Push, LOAD).await?;
    let mut bundle = compute(|| validate(call.decode()?, hub.settings.ids))?;
    complete(hub, &opened.user.id, &mut bundle).await?;
    let landed = land(hub, &token, &target, &mut bundle, opened, Way::Push).await?;
    answer(hub, call, &landed, &bundle)
}

/// A push that has landed.
struct Landed {
    /// The repo as it was before.
    repo: Repo,
    /// The heads of the branches from then on, in the order of the updates.
    tips: Vec<Option<CommitId>>,
    /// The pack that came with it.
    pack: Option<Pack>,
}

/// Moves branches with everything that they reach, in a repo that was `opened`, and again for as long as other pushes are faster.
async fn land(
    hub: &Hub,
    token: &Credential,
    target: &Target,
    bundle: &mut ValidatedBundle<'_>,
    opened: Opened,
    way: Way,
) -> Result<Landed, WireError> {
    let access = if way == Way::Push { Access::Push } else { Access::Branch };
    let mut opened = Some(opened);
    let (mut has_adopted, mut has_listed_again) = (false, false);
    // Claims that were read before the branches were.
    let mut seen = Vec::new();
    let mut pack = None;

    for _ in 0..ATTEMPTS {
        let mut now = match opened.take() {
            Some(opened) => opened,
            None => hub.open(Some(token), target, access, LOAD).await?,
        };
        compute(|| check_branches(&now, bundle, way))?;
        let Opened { repo, view, user, .. } = &now;
        if way == Way::Restore && !repo.condemned.is_empty() {
            // What the commit reaches may be condemned where the commit is not: a push that raced with a run leaves it so until the sweep.
            // No other record of a restoring would show it.
            hub.store.revive(&repo.id, &repo.condemned).await?;
            continue;
        }
        bundle.refuse_purged_objects(&repo.purged)?;
        bundle.forget_unpurged(&repo.purged);
        let Some((view, known)) = look_up(hub, repo, view, bundle).await? else {
            // A push that began before they were condemned has moved a branch to what they hold.
            hub.store.revive(&repo.id, &repo.condemned).await?;
            continue;
        };
        bundle.refuse_purged_names(&known, &repo.purged)?;
        if !has_adopted && adopt_uploads(hub, repo, &user.id, bundle, &known).await? {
            has_adopted = true;
            continue;
        }
        let mut found = Found::of(hub, repo, &view, known, bundle).await?;
        if needs_condemned(hub, repo, &found, bundle).await? {
            hub.store.revive(&repo.id, &repo.condemned).await?;
            continue;
        }
        let recalled = std::mem::take(&mut found.recalled);
        bundle.check_expected(&found.reach, &repo.heads)?;
        check_annotations(hub, &repo.id, &found.view, &found.known, bundle).await?;
        let plan = compute(|| bundle.plan(&found.known, &found.reach, recalled))
            .and_then(|plan| check_ends(&now, bundle, &found.reach, way).map(|()| plan));
        let plan = match plan {
            Ok(plan) => plan,
            // A list of several pages may have been read while a pack came in behind the reader and another, which builds
            // upon that one, in front. So nothing is refused by the first list.
            Err(_) if !has_listed_again => {
                has_listed_again = true;
                now.view = hub.store.view_listed_again(&repo.id, &repo.condemned, &repo.purged).await?;
                opened = Some(now);
                continue;
            }
            // What is missing may have been purged, and erased, since it was read what was. Then the answer says so.
            Err(refusal @ WireError::MissingReferences(_)) => {
                let purged = repo.meta.purged;
                let again = hub.open(Some(token), target, access, LOAD).await?;
                if again.repo.meta.purged == purged {
                    return Err(refusal);
                }
                opened = Some(again);
                continue;
            }
            Err(refusal) => return Err(refusal),
        };
        let moves = moves_of(repo, bundle, &found.reach, way)?;
        let new = beside_others(repo, &moves);
        let claims = PathClaim::of(&repo.id, new.iter().copied(), &seen);
        WireError::check_count(TOO_MANY_NAMES, claims.len(), MAX_NAMES_TAKEN)?;
        pack = pack_of(hub, repo, &plan, &found.reach, pack).await?;
        let domain = domain::of_first_push(hub, repo, &view, bundle, moves.first().map(|branch| branch.after)).await?;

        let change = Change {
            pack: pack.as_ref().map(|pack| &pack.stored),
            moves,
            claims: &claims,
            first: (!repo.was_pushed_to())
                .then_some(FirstPush { chooses_default: !repo.meta.default_is_chosen, domain }),
            restored: way == Way::Restore,
            via: user.via.clone(),
            ..Change::of_pack(&repo.id, repo.to_be_made.as_ref(), None, &user.id)
        };
        if hub.store.commit(&change).await? == Outcome::Landed {
            return Ok(Landed { tips: found.reach.tips(), repo: now.repo, pack });
        }
        if !new.is_empty() {
            seen = hub.store.claims(&repo.id, new).await?;
        }
    }
    Err(WireError::Unavailable(format!("{ATTEMPTS} other pushes were faster").into()))
}

/// Refuses commits that the repo has with other reviews or test runs than are sent. A record is never replaced, so they
/// would be dropped without a word. And clients keep the record that they have when they pull, so no other client would
/// ever get them.
async fn check_annotations(
    hub: &Hub,
    repo: &RepoId,
    view: &View,
    known: &Known,
    bundle: &ValidatedBundle<'_>,
) -> Result<(), WireError> {
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
    let places: Vec<RecordLocation> = annotated.iter().map(|(place, _)| *place).collect();
    let _permit = hub.store.read_permit().await?;
    let mut records = hub.store.read_places(repo, view, &places).await?;
    for (_, commit) in annotated {
        let record = records.next().await?.ok_or_else(|| WireError::internal("the reader ended too early"))?;
        if !commit.is_annotated_as(&record)? {
            return Err(WireError::invalid(
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

/// Fills in what the pusher left empty: author and time of commits, time of snapshots.
async fn complete(hub: &Hub, user_id: &str, bundle: &mut ValidatedBundle<'_>) -> Result<(), WireError> {
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
