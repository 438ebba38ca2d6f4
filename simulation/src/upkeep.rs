//! What looks after the repository while clients use it, and what is left when they are gone.

use std::sync::Arc;
use std::time::Duration;

use common::fsck::finding::Severity;
use common::fsck::{self, Options, Subject};
use common::service::Ids;
use common::store::compact::{self, ORPHANS_KEPT};
use common::store::garbage::{self, CONDEMNED, PutOff};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::profile::{Profile, Weather};
use crate::world::{Violation, World};

/// Merges packs and looks for garbage, so many times, at moments that the seed decides.
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
        if random.random_bool(profile.collects) {
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

async fn merge(world: &World, place: usize, limits: compact::Limits) -> Result<Option<compact::Compaction>, Violation> {
    let repo = world.repo.get().ok_or("no repository")?;
    world.network.note("compaction begins");
    let done = world.upkeep(place, async |hub| hub.store.compact(repo, limits).await).await?;
    world.network.note(format_args!("compaction ends: {done:?}"));
    Ok(done)
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
    let id = world.repo.get().ok_or("no repository")?.clone();
    let subject = Subject { id, name: None };
    let options = Options { is_deep: true, ids: Ids::Strict };
    let report = world.upkeep(0, async |hub| fsck::check(&hub.store, &subject, options, &|_| ()).await).await?;
    let report = report.ok_or("fsck has no answer")?;
    let findings: Vec<String> = report.findings.iter().map(|finding| format!("{finding:?}")).collect();
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
    if done.is_some_and(|done| done.put_off == Some(PutOff::Incomplete)) {
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
    tokio::time::sleep(ORPHANS_KEPT + hour).await;
    merge(world, 0, limits).await?;
    Ok(())
}
