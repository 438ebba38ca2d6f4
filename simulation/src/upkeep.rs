//! What looks after the repository while clients use it, and what is left when they are gone.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::id::{Ids, RepoId};
use fsck::finding::{Problem, Severity};
use fsck::{self, Options, Subject};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use service::routes::Function;
use store::upkeep::compact;
use store::upkeep::files::ORPHANS_KEPT;
use store::upkeep::garbage::{self, CONDEMNED, Deferred};
use store::upkeep::purge::Erased;
use store::upkeep::swap::GRACE;
use tests::history::{Pack, map_of_text};

use crate::client::decoded;
use crate::fetched::{self, Purged};
use crate::model::BRANCH;
use crate::profile::{Profile, Weather};
use crate::world::{Bearer, Deletion, Fork, NAMES, OWNER, SLUG, Violation, World};

/// Forks of a run, at most.
const FORKS: usize = 4;
/// How long a call may be on its way that its caller has given up.
const HELD_UP: Duration = Duration::from_secs(15);

/// Merges packs, looks for garbage, purges, renames, deletes and undeletes, at moments that the seed decides.
///
/// # Errors
/// When a run fails for no reason.
pub async fn turn(world: Arc<World>, seed: u64) -> Result<(), Violation> {
    let mut random = StdRng::seed_from_u64(seed);
    let profile = &world.profile;
    for _ in 0..profile.upkeep {
        let pause = random.random_range(0..=(profile.think_ms + profile.weather.latency_ms) * 4);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let place = random.random_range(0..64);
        if random.random_bool(profile.forks) {
            let forks = world.forks.lock().unwrap_or_else(PoisonError::into_inner).len();
            if forks < FORKS && random.random_bool(0.5) {
                fork(&world, place).await?;
            } else if forks > 0 {
                let number = random.random_range(0..forks);
                merge_fork(&world, place, number, profile).await?;
            }
        } else if random.random_bool(profile.deletes) {
            if random.random_bool(0.5) {
                rename(&world, place, &mut random).await?;
            } else {
                delete_and_undelete(&world, place, &mut random).await?;
            }
        } else if random.random_bool(profile.purges) {
            if random.random_bool(0.5) {
                purge(&world, place, &mut random).await?;
            } else {
                erase(&world, place).await?;
            }
        } else if random.random_bool(profile.collects) {
            let limits = garbage::Limits { retention: profile.retention, ..garbage::Limits::ALL };
            collect(&world, place, limits).await?;
        } else {
            let Profile { least, pack_bytes, .. } = *profile;
            let one_index = random.random_bool(0.3);
            let limits = compact::Limits { least, pack_bytes, one_index, ..compact::Limits::ALL };
            merge(&world, place, limits).await?;
        }
    }
    Ok(())
}

/// Makes a fork of the repository, and looks what it has.
async fn fork(world: &World, place: usize) -> Result<(), Violation> {
    let asked = (world.model().tick(), world.now());
    let number = {
        let mut forks = world.forks.lock().unwrap_or_else(PoisonError::into_inner);
        let number = forks.len();
        forks.push(Fork { slug: format!("fork-{number}"), asked, seen: None });
        number
    };
    let name = format!("fork-{number}");
    world.network.note(format_args!("{name} is to be made"));
    let request = http::Request::post(format!("/api/repos/{OWNER}/{SLUG}/forks"));
    let request = request.header("content-type", "application/json");
    let body = json!({"name": name}).to_string().into_bytes();
    match world.send(place, Function::Forks, request, &[("slug", SLUG)], body).await? {
        Some(answer) if answer.status == 201 => look_at_fork(world, place, number, true).await,
        Some(answer) => Err(format!("a fork was answered {}", answer.excerpt())),
        None => Ok(()),
    }
}

/// Looks at a fork: it has what the repository had at some moment between its request and now, and from then on always the same.
async fn look_at_fork(world: &World, place: usize, number: usize, has_to_be_there: bool) -> Result<(), Violation> {
    let forks = || world.forks.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Fork { slug, asked: (asked, now), seen }) = forks().get(number).cloned() else { return Ok(()) };
    let parameters = [("slug", slug.as_str())];
    let request = http::Request::get("/").header("accept", "application/json");
    let answer =
        world.send_while_deleted(&Bearer::Owner, place, Function::Refs, request, &parameters, Vec::new()).await?;
    let Some(answer) = answer else { return Ok(()) };
    if answer.status == 404 && !has_to_be_there && seen.is_none() {
        return Ok(());
    }
    let refs = decoded(&answer, 200).map_err(|violation| format!("{slug}: {violation}"))?;
    let heads = map_of_text(&refs, "branch_heads")?;
    let id: RepoId = refs["repo_id"].as_str().unwrap_or_default().parse().map_err(|_| "no id".to_owned())?;
    match seen {
        Some((_, before)) if before != heads => Err(format!("{slug} was at {before:?} and is at {heads:?}")),
        Some(_) => Ok(()),
        None => {
            world.model().read(BRANCH, &heads, asked, now, "");
            if let Some(fork) = forks().get_mut(number) {
                fork.seen = Some((id, heads));
            }
            Ok(())
        }
    }
}

async fn merge_fork(world: &World, place: usize, number: usize, profile: &Profile) -> Result<(), Violation> {
    let forks = world.forks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(Fork { slug, seen: Some((id, _)), .. }) = forks.get(number) else { return Ok(()) };
    world.network.note(format_args!("compaction of {slug} begins"));
    let limits = compact::Limits { least: profile.least, pack_bytes: profile.pack_bytes, ..compact::Limits::ALL };
    let done = world.upkeep(place, async |hub| hub.store.compact(id, limits).await).await?;
    world.network.note(format_args!("compaction of {slug} ends: {done:?}"));
    Ok(())
}

/// Looks whether each fork that is there is whole, and has what it had when it was made; and removes those that are not all there.
///
/// # Errors
/// What is wrong with one.
pub async fn check_forks(world: &World) -> Result<(), Violation> {
    let due = world.upkeep(0, async |hub| hub.store.due_upkeep().await).await?;
    for repo in due.unwrap_or_default().iter().filter(|repo| repo.is_fork()) {
        world.upkeep(0, async |hub| hub.store.remove_if_due(repo).await).await?;
    }
    let count = world.forks.lock().unwrap_or_else(PoisonError::into_inner).len();
    for number in 0..count {
        look_at_fork(world, 0, number, false).await?;
        merge_fork(world, 0, number, &world.profile).await?;
        let fork = world.forks.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned();
        let Some(Fork { slug, seen: Some((id, heads)), .. }) = fork else { continue };
        check_repo(world, id, false).await.map_err(|violation| format!("{slug}: {violation}"))?;
        let mut want: Vec<String> = heads.into_values().collect();
        want.sort_unstable();
        want.dedup();
        if want.is_empty() {
            continue;
        }
        let request = http::Request::post("/").header("content-type", "application/json");
        let body = json!({"want": want, "have": []}).to_string().into_bytes();
        let parameters = [("slug", slug.as_str())];
        let answer = world.send_while_deleted(&Bearer::Owner, 0, Function::Fetch, request, &parameters, body).await?;
        let answer = answer.ok_or("a fetch of a fork has no answer")?;
        let answer = decoded(&answer, 200).map_err(|violation| format!("a fetch of {slug}: {violation}"))?;
        let fetched = Pack::from_value(&answer)?;
        let model = world.model();
        // What was purged in the repository before is purged in the fork, and what was purged after is not.
        let purged = Purged { may: model.may_be_purged(), has_to: BTreeSet::new() };
        fetched::check(model.history(), &BTreeSet::new(), &want, &[], &purged, &fetched)
            .map_err(|violation| format!("{slug}: {violation}"))?;
    }
    Ok(())
}

async fn merge(world: &World, place: usize, limits: compact::Limits) -> Result<Option<compact::Compaction>, Violation> {
    let repo = world.repo.get().ok_or("no repository")?;
    world.network.note("compaction begins");
    let done = world.upkeep(place, async |hub| hub.store.compact(repo, limits).await).await?;
    world.network.note(format_args!("compaction ends: {done:?}"));
    Ok(done)
}

/// Purges something that a commit has.
async fn purge(world: &World, place: usize, random: &mut StdRng) -> Result<(), Violation> {
    let chosen = world.model().to_purge(random);
    let Some(object) = chosen else { return Ok(()) };
    world.model().purge(&object);
    world.network.note(format_args!("{object} is to be purged"));
    ask_to_purge(world, place, &object).await.map(drop)
}

/// Gives the repository one of a few names. Those that it had lead to it still, and clients go on using all of them.
async fn rename(world: &World, place: usize, random: &mut StdRng) -> Result<(), Violation> {
    let name = NAMES[random.random_range(0..NAMES.len())];
    world.network.note(format_args!("the repository is renamed to {name}"));
    let request = http::Request::patch("/").header("content-type", "application/json");
    let body = json!({"slug": name}).to_string().into_bytes();
    match world.send(place, Function::Repos, request, &[("slug", SLUG)], body).await? {
        None => Ok(()),
        Some(answer) if answer.status == 200 => {
            world.is_called(name);
            Ok(())
        }
        Some(answer) => Err(format!("a change of name was answered {}", answer.excerpt())),
    }
}

/// Deletes the repository, and undeletes it a little later.
async fn delete_and_undelete(world: &World, place: usize, random: &mut StdRng) -> Result<(), Violation> {
    let Some(mut deletion) = world.deletes() else { return Ok(()) };
    world.network.note("the repository is deleted");
    let parameters = [("slug", SLUG)];
    let request = http::Request::delete("/");
    let answer =
        world.send_while_deleted(&Bearer::Owner, place, Function::Repos, request, &parameters, Vec::new()).await?;
    match answer {
        Some(answer) if answer.status == 200 => world.has_deleted(&mut deletion),
        // An earlier attempt of the same request may have landed.
        Some(answer) if answer.status == 404 => {}
        Some(answer) => return Err(format!("a deletion was answered {}", answer.excerpt())),
        None => {}
    }
    tokio::time::sleep(Duration::from_millis(random.random_range(0..=world.profile.think_ms * 4))).await;
    undelete(world, deletion).await
}

/// Undeletes the repository, until it is known to be there, and nothing of the deletion can arrive any more.
async fn undelete(world: &World, deletion: Deletion) -> Result<(), Violation> {
    world.network.note("the repository is undeleted");
    world.is_undeleting(&deletion);
    for attempt in 0..40 {
        // What the network has held up lands until then.
        if !deletion.is_heard || attempt > 0 {
            tokio::time::sleep(HELD_UP).await;
        }
        let request = http::Request::post(format!("/api/repos/{OWNER}/{SLUG}/undelete"));
        let answer = world
            .send_while_deleted(&Bearer::Owner, attempt, Function::Repos, request, &[("slug", SLUG)], Vec::new())
            .await?;
        match answer {
            Some(answer) if answer.status == 200 => {
                world.has_undeleted(deletion);
                return Ok(());
            }
            Some(answer) => return Err(format!("an undeletion was answered {}", answer.excerpt())),
            None => {}
        }
    }
    Err("the repository is not undeleted".to_owned())
}

/// Whether it is known to be purged.
async fn ask_to_purge(world: &World, place: usize, object: &str) -> Result<bool, Violation> {
    let request = http::Request::post(format!("/api/repos/{OWNER}/{SLUG}/purge"));
    let request = request.header("content-type", "application/json");
    let body = json!({"objects": [object]}).to_string().into_bytes();
    let answer = world.send(place, Function::Repos, request, &[("slug", SLUG)], body).await?;
    let Some(answer) = answer else { return Ok(false) };
    if answer.status != 200 {
        return Err(format!("a purge was answered {}", answer.excerpt()));
    }
    world.model().purge_is_done(object);
    Ok(true)
}

async fn erase(world: &World, place: usize) -> Result<Option<Option<Erased>>, Violation> {
    let repo = world.repo.get().ok_or("no repository")?;
    world.network.note("an erasure begins");
    let number = world.erases();
    let done = world.upkeep(place, async |hub| hub.store.erase(repo).await).await?;
    world.network.note(format_args!("an erasure ends: {done:?}"));
    world.has_erased(number);
    Ok(done)
}

/// Purges what may or may not be purged.
///
/// # Errors
/// When there is no answer.
pub async fn purge_all(world: &World) -> Result<(), Violation> {
    let objects = world.model().may_be_purged();
    for object in objects {
        if !ask_to_purge(world, 0, &object).await? {
            return Err(format!("{object} cannot be purged"));
        }
    }
    Ok(())
}

/// Erases until there is nothing left.
///
/// # Errors
/// When that does not end.
pub async fn erase_all(world: &World) -> Result<(), Violation> {
    for _ in 0..4 {
        if erase(world, 0).await? == Some(None) {
            return Ok(());
        }
        tokio::time::sleep(GRACE + Duration::from_secs(60)).await;
    }
    Err("there is always more to erase".to_owned())
}

async fn collect(
    world: &World,
    place: usize,
    limits: garbage::Limits,
) -> Result<Option<garbage::Collection>, Violation> {
    let repo = world.repo.get().ok_or("no repository")?;
    world.network.note("collection begins");
    let number = world.model().collects(world.now());
    let done = world.upkeep(place, async |hub| hub.store.collect(repo, limits).await).await?;
    world.network.note(format_args!("collection ends: {done:?}"));
    world.model().collected(number, world.now());
    Ok(done)
}

/// Ends all faults.
pub fn calm(world: &World) {
    world.network.set_weather(Weather::CALM);
    world.restart();
}

/// Checks every byte of the repository.
///
/// # Errors
/// What is damaged.
pub async fn check(world: &World, is_swept: bool) -> Result<(), Violation> {
    check_repo(world, world.repo.get().ok_or("no repository")?.clone(), is_swept).await
}

async fn check_repo(world: &World, id: RepoId, is_swept: bool) -> Result<(), Violation> {
    let subject = Subject { id, name: None };
    let options = Options { is_deep: true, ids: Ids::Strict };
    let report = world.upkeep(0, async |hub| fsck::check(&hub.store, &subject, options, &|_| ()).await).await?;
    let report = report.ok_or("fsck has no answer")?;
    let is_purge = |problem: &Problem| {
        matches!(problem, Problem::ObjectPurged { .. } | Problem::PurgedHeld { is_being_erased: true, .. })
    };
    let findings: Vec<_> = report.findings.iter().filter(|finding| !is_purge(&finding.problem)).collect();
    let findings: Vec<String> = findings.into_iter().map(|finding| format!("{finding:?}")).collect();
    let is_damaged = report.findings.iter().any(|finding| finding.severity >= Severity::Damage);
    if is_damaged {
        return Err(format!("fsck: {}", findings.join("; ")));
    }
    if is_swept && (report.counts.garbage > 0 || !findings.is_empty()) {
        return Err(format!("something stays behind: {}", findings.join("; ")));
    }
    Ok(())
}

/// Lets time pass until everything is gone that may go, as the functions do when they are woken.
///
/// # Errors
/// When a run fails.
pub async fn sweep(world: &World) -> Result<(), Violation> {
    let hour = Duration::from_secs(60 * 60);
    let limits = garbage::Limits { retention: world.profile.retention, ..garbage::Limits::ALL };
    tokio::time::sleep(world.profile.retention + hour).await;
    let done = collect(world, 0, limits).await?;
    // While packs come and go, a list of several pages may have a commit without its parent, and a collection waits.
    if done.is_some_and(|done| done.deferred == Some(Deferred::Incomplete)) {
        return Err("a collection finds that something is missing".to_owned());
    }
    tokio::time::sleep(CONDEMNED + hour).await;
    // What is revived is looked at again.
    for _ in 0..4 {
        collect(world, 0, limits).await?;
        tokio::time::sleep(CONDEMNED + hour).await;
    }
    let limits = compact::Limits { pack_bytes: world.profile.pack_bytes, ..compact::Limits::ALL };
    merge(world, 0, limits).await?;
    check_forks(world).await?;
    tokio::time::sleep(ORPHANS_KEPT + hour).await;
    // What they share is deleted by the last that does not need it any more.
    check_forks(world).await?;
    merge(world, 0, limits).await.map(drop)
}
