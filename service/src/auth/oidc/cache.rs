//! How long the keys of an issuer are kept, and when they are read again.
//!
//! - Fresh keys answer without anything else, for as long as the issuer says, within [`LEAST_FRESH`] and [`MOST_FRESH`].
//! - A token that names a key which is not among them has them read again: a new key has come. So have keys that are no longer
//!   fresh.
//! - There is one attempt at a time, which requests share, and none for a pause after it began. So a flood of tokens that name
//!   keys of their own costs the issuer one attempt in each pause, and other requests nothing.
//! - When an attempt fails, the keys of before serve on until they are [`MOST_STALE`] old. Then no token can be checked. While they
//!   serve, the pause grows with each failure, up to [`LONGEST_PAUSE`]: a request waits for each attempt, and needs none.
//!
//! The keys are one immutable set that a request takes with it, and that another one takes the place of, whole.

use std::sync::Arc;
use std::time::Duration;

use common::time;
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use super::keys::KeySet;
use store::ambient::Ambient;

/// How long keys are fresh at least, also where the issuer says less.
const LEAST_FRESH: Duration = Duration::from_secs(5 * 60);
/// How long keys are fresh at most, and where the issuer says nothing: a key that it has withdrawn is taken for no longer.
const MOST_FRESH: Duration = Duration::from_secs(60 * 60);
/// How old keys may be while the issuer does not answer.
const MOST_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// What the pause grows to while attempts fail and the keys of before serve.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// What an attempt to read the keys gives: the keys, and how long they are good, if the issuer says.
pub(super) type Fetched = (KeySet, Option<Duration>);

/// The keys of an issuer, between requests.
pub(super) struct KeyCache {
    kept: watch::Sender<Option<Kept>>,
    /// Held by the one who reads the keys.
    attempt: Mutex<Option<Attempt>>,
    pause: Duration,
    ambient: Ambient,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<KeySet>,
    since: Timestamp,
    fresh_for: Duration,
}

/// The newest attempt to read the keys.
struct Attempt {
    began: Timestamp,
    failure: Option<String>,
    /// How many have failed one after another, it among them.
    failures: u32,
}

impl Attempt {
    /// For how long after its beginning there is no other one: `pause`, or longer where the keys of before do.
    fn pause(&self, pause: Duration, does_without: bool) -> Duration {
        let times =
            if does_without { 1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX) } else { 1 };
        pause.max(pause.saturating_mul(times).min(LONGEST_PAUSE))
    }
}

impl Kept {
    fn is_younger(&self, than: Duration, now: Timestamp) -> bool {
        time::between(self.since, now) < than
    }
}

impl KeyCache {
    pub(super) fn new(pause: Duration, ambient: Ambient) -> Self {
        Self { kept: watch::Sender::new(None), attempt: Mutex::new(None), pause, ambient }
    }

    /// The keys, which have the one that `is_known` looks for, unless the issuer has just said that it has no such key.
    ///
    /// # Errors
    /// Why the newest attempt has failed, when there are no keys that do.
    pub(super) async fn keys<F: Future<Output = Result<Fetched, String>>>(
        &self,
        is_known: impl Fn(&KeySet) -> bool,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<KeySet>, String> {
        let (fresh, usable) = self.look(&is_known);
        if let Some(keys) = fresh {
            return Ok(keys);
        }
        let (does_without, mut attempt) = match usable {
            // These do for this token, so that only one request waits for the issuer.
            Some(keys) => match self.attempt.try_lock() {
                Ok(attempt) => (true, attempt),
                Err(_) => return Ok(keys),
            },
            None => (false, self.attempt.lock().await),
        };
        // Another request may have read them meanwhile.
        if let (Some(keys), _) = self.look(&is_known) {
            return Ok(keys);
        }
        let now = self.ambient.now();
        let failure = match &*attempt {
            Some(last) if time::between(last.began, now) < last.pause(self.pause, does_without) => last.failure.clone(),
            last => {
                // It counts also if this request ends before it does.
                let failures = last.as_ref().map_or(0, |last| last.failures).saturating_add(1);
                let failure = Some("the attempt was given up".to_owned());
                let begun = attempt.insert(Attempt { began: now, failure, failures });
                begun.failure = self.read(fetch()).await.err();
                if begun.failure.is_none() {
                    begun.failures = 0;
                }
                begun.failure.clone()
            }
        };
        drop(attempt);
        let (_, usable) = self.look(&is_known);
        let kept = self.kept.borrow().clone();
        match (usable, kept, failure) {
            (Some(keys), ..) => Ok(keys),
            // The issuer has answered, and has no such key.
            (None, Some(kept), None) => Ok(kept.keys),
            (None, _, failure) => Err(failure.unwrap_or_else(|| "they were read too long ago".to_owned())),
        }
    }

    /// The keys that are kept, if they have the one that is looked for: as far as they are fresh, and as far as they can be used.
    fn look(&self, is_known: impl Fn(&KeySet) -> bool) -> (Option<Arc<KeySet>>, Option<Arc<KeySet>>) {
        let now = self.ambient.now();
        let kept = self.kept.borrow().clone().filter(|kept| is_known(&kept.keys));
        let usable = kept.filter(|kept| kept.is_younger(MOST_STALE, now));
        let fresh = usable.clone().filter(|kept| kept.is_younger(kept.fresh_for, now));
        (fresh.map(|kept| kept.keys), usable.map(|kept| kept.keys))
    }

    async fn read(&self, fetch: impl Future<Output = Result<Fetched, String>>) -> Result<(), String> {
        match fetch.await {
            Ok((keys, fresh_for)) => {
                let fresh_for = fresh_for.unwrap_or(MOST_FRESH).clamp(LEAST_FRESH, MOST_FRESH);
                self.kept.send_replace(Some(Kept { keys: Arc::new(keys), since: self.ambient.now(), fresh_for }));
                Ok(())
            }
            Err(reason) => {
                tracing::warn!(reason, "the keys of the issuer were not read");
                Err(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests;
