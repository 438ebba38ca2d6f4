//! What each owner has had of this process's time, so that one who pushes to very many repos holds up others for a while only.
//!
//! A shard of the table's stream is worked from in order, so a change waits for all before it. When the stream is behind,
//! an owner who has had a share of the time is deferred: a note in the table wakes this function for the repo again, later. While
//! it is not behind no owner is deferred. What took little time is not counted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::id::RepoId;
use common::time;
use service::item_stream::Record;
use store::Store;

/// What one owner's repos may take in a [`WINDOW`] while others may be waiting, beside the run that goes beyond it.
const SHARE: Duration = Duration::from_secs(2 * 60);
/// How long what was taken is counted.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// A change of before that says that the stream is behind. It is asked once a minute.
const BEHIND: Duration = Duration::from_secs(3 * 60);
/// A run that took less is not counted.
const COUNTED: Duration = Duration::from_millis(500);
/// Owners who are counted, whose time is not over.
const MAX_OWNERS: usize = 10_000;

/// What was taken lately, by owner.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<String, Taken>>);

#[derive(Debug)]
struct Taken {
    /// When the first of it was taken: time since the process began.
    since: Duration,
    time: Duration,
}

impl Shares {
    fn taken(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        // It is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a repo has to wait, because its owner has had a share and others may be waiting behind this change.
    pub(crate) async fn has_had_enough(
        &self,
        store: &Store,
        repo: &RepoId,
        change: &Record,
    ) -> Result<bool, store::StoreError> {
        let ambient = store.ambient();
        if change.written_at().is_none_or(|written| time::after(written, BEHIND) >= ambient.now()) {
            return Ok(false);
        }
        let now = ambient.elapsed();
        let is_any = {
            let mut taken = self.taken();
            taken.retain(|_, taken| now.saturating_sub(taken.since) < WINDOW);
            taken.values().any(|taken| taken.time >= SHARE)
        };
        if !is_any {
            return Ok(false);
        }
        let owner = store.known_by(repo).await?.map(|meta| meta.owner_user_id);
        Ok(owner.is_some_and(|owner| self.taken().get(&owner).is_some_and(|taken| taken.time >= SHARE)))
    }

    /// Counts what a repo took. Where its owner cannot be read nothing is counted.
    pub(crate) async fn count(&self, store: &Store, repo: &RepoId, began: Duration) {
        let now = store.ambient().elapsed();
        let time = now.saturating_sub(began);
        if time < COUNTED {
            return;
        }
        let Ok(Some(meta)) = store.known_by(repo).await else { return };
        let mut all = self.taken();
        if all.len() < MAX_OWNERS || all.contains_key(&meta.owner_user_id) {
            let taken = all.entry(meta.owner_user_id).or_insert(Taken { since: began, time: Duration::ZERO });
            taken.time += time;
        }
    }
}
