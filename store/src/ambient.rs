//! The one seam through which time and randomness come in, so that a test can replay a run.
//!
//! Everything else is forbidden to ask the machine itself: see `clippy.toml`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::time;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use ulid::Ulid;

/// Where a process gets the time and its random numbers from. Cheap to clone; clones share one state.
#[derive(Clone)]
pub struct Ambient(Arc<Source>);

enum Source {
    System { random: Mutex<StdRng>, start: Instant },
    Replay { random: Mutex<StdRng>, clock: Mutex<Timestamp> },
    Simulated { random: Mutex<StdRng>, start: Timestamp, origin: tokio::time::Instant },
}

impl fmt::Debug for Ambient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the state of the random numbers, from which the next secret could be computed.
        formatter.write_str("Ambient")
    }
}

impl Ambient {
    /// The machine's clock and its entropy.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        let start = Instant::now();
        Self(Arc::new(Source::System { random: Mutex::new(rand::make_rng()), start }))
    }

    /// A run that is the same each time: the clock starts at `start` and moves one millisecond with each look at it.
    pub fn replay(seed: u64, start: Timestamp) -> Self {
        Self(Arc::new(Source::Replay { random: Mutex::new(StdRng::seed_from_u64(seed)), clock: Mutex::new(start) }))
    }

    /// A simulated run: the clock is the runtime's, which a test pauses, and at `origin` it showed `start`.
    pub fn simulated(seed: u64, start: Timestamp, origin: tokio::time::Instant) -> Self {
        Self(Arc::new(Source::Simulated { random: Mutex::new(StdRng::seed_from_u64(seed)), start, origin }))
    }

    /// The time, to the millisecond: what is stored of it is equal to it when it is read.
    pub fn now(&self) -> Timestamp {
        let now = match &*self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the seam")]
            Source::System { .. } => Timestamp::now(),
            Source::Replay { clock, .. } => {
                let mut clock = clock.lock().unwrap_or_else(PoisonError::into_inner);
                *clock = time::after(*clock, Duration::from_millis(1));
                *clock
            }
            Source::Simulated { start, origin, .. } => time::after(*start, origin.elapsed()),
        };
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now).max(Timestamp::UNIX_EPOCH)
    }

    /// The time since some fixed moment, for measuring how long something takes: it never goes back. In a replayed run
    /// looking at it does not move the clock.
    pub fn elapsed(&self) -> Duration {
        match &*self.0 {
            Source::System { start, .. } => start.elapsed(),
            Source::Simulated { origin, .. } => origin.elapsed(),
            Source::Replay { clock, .. } => {
                time::between(Timestamp::UNIX_EPOCH, *clock.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// The time in ISO 8601, UTC, to the millisecond: `2026-11-22T10:13:38.123Z`.
    pub fn now_iso(&self) -> String {
        time::iso(self.now())
    }

    /// A new ULID: sorts by time, unique by 80 random bits.
    pub fn ulid(&self) -> Ulid {
        let now = self.now();
        self.with_random(|random| time::ulid(now, random.random()))
    }

    /// Pauses between attempts at something, of which the first is random below `first`, and each further one below twice as much.
    pub const fn backoff(&self, first: Duration) -> Backoff<'_> {
        Backoff { ambient: self, bound: first, most: Duration::MAX }
    }

    /// A random duration below `limit`.
    pub fn jitter(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.with_random(|random| random.random_range(0.0..1.0)))
    }

    /// 32 random bytes, for a secret.
    pub fn secret(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.with_random(|random| random.fill_bytes(&mut bytes));
        bytes
    }

    fn with_random<R>(&self, draw: impl FnOnce(&mut StdRng) -> R) -> R {
        let (Source::System { random, .. } | Source::Replay { random, .. } | Source::Simulated { random, .. }) =
            &*self.0;
        draw(&mut random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pauses between attempts: see [`Ambient::backoff`].
pub struct Backoff<'a> {
    ambient: &'a Ambient,
    bound: Duration,
    most: Duration,
}

impl Backoff<'_> {
    /// The same, with no pause over `most`.
    pub fn up_to(self, most: Duration) -> Self {
        Self { most, bound: self.bound.min(most), ..self }
    }

    /// Waits before the next attempt.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.ambient.jitter(self.bound)).await;
        self.bound = self.bound.saturating_mul(2).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replayed_run_is_the_same_each_time() {
        let run = || {
            let ambient = Ambient::replay(7, Timestamp::constant(1_800_000_000, 0));
            (ambient.ulid(), ambient.now_iso(), ambient.jitter(Duration::from_secs(1)), ambient.secret())
        };
        assert_eq!(run(), run());
        assert!(run().1.starts_with("2027-01-15T08:00:00.0"), "{}", run().1);
    }
}
