//! What a run is like. Drawn for each seed, so that some runs are all about races, some about faults, some about upkeep.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use store::upkeep::garbage::RETENTION;

/// What the network does to calls. What is a share is between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest that a call takes on its way, in either direction, in milliseconds.
    pub latency_ms: u64,
    /// The share of ways that are slow.
    pub slow: f64,
    /// The longest that a slow one takes, in milliseconds.
    pub slow_ms: u64,
    /// The share of calls that take effect when no caller waits for them any more.
    pub late: f64,
    /// The share of calls that go wrong.
    pub faults: f64,
    /// The share of calls that begin an outage, in which most calls go wrong.
    pub outages: f64,
    /// The share of calls that their process dies of.
    pub kills: f64,
    /// The most items on a page of a query.
    pub page: Option<u32>,
}

impl Weather {
    /// Nothing goes wrong.
    pub const CALM: Weather =
        Weather { latency_ms: 10, slow: 0.0, slow_ms: 0, late: 0.0, faults: 0.0, outages: 0.0, kills: 0.0, page: None };
}

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The network.
    pub weather: Weather,
    /// How many processes there are at a time.
    pub processes: usize,
    /// How many clients.
    pub clients: usize,
    /// How many branches they share.
    pub shared_branches: usize,
    /// How many turns they take, between which time may pass.
    pub rounds: usize,
    /// How much time may pass between two.
    pub gaps: Vec<Duration>,
    /// What each does in a turn.
    pub actions: usize,
    /// The longest pause of a client between two things, in milliseconds.
    pub think_ms: u64,
    /// How many look after the repository.
    pub keepers: usize,
    /// How often each does in a turn.
    pub upkeep: usize,
    /// The share of what they do that is looking for garbage.
    pub collects: f64,
    /// The share of what they do that is purging an object that some commit has, or erasing what was purged.
    pub purges: f64,
    /// The share of what they do that is renaming the repository, or deleting and undeleting it.
    pub deletes: f64,
    /// The share of what they do that is forking the repository, or merging the packs of a fork.
    pub forks: f64,
    /// How many packs have to be out of order before they are merged.
    pub least: usize,
    /// Bytes of a merged pack, at most. Those of more than half as many have their tables merged into indexes instead.
    pub pack_bytes: u64,
    /// How long what no root reaches is kept.
    pub retention: Duration,
    /// The share of pushes that are forced.
    pub forced: f64,
    /// The share of what clients do that protects, deletes, restores or lists branches.
    pub branches: f64,
    /// The share of what clients do that makes members, mints tokens or makes links, takes one away, or uses one.
    pub rights: f64,
    /// By how much the clocks of two processes differ at most, in milliseconds.
    pub skew_ms: u64,
}

impl Profile {
    /// The profile of a seed.
    pub fn draw(random: &mut StdRng) -> Profile {
        let mut pick = |choices: &[u64]| choices.choose(random).copied().unwrap_or_default();
        let latency_ms = pick(&[4, 40, 40, 200]);
        let weather = Weather {
            latency_ms,
            slow: pick(&[0, 2, 10, 10]) as f64 / 100.0,
            slow_ms: pick(&[300, 1_000, 2_400]),
            late: pick(&[0, 0, 0, 3]) as f64 / 1_000.0,
            faults: pick(&[0, 0, 5, 30]) as f64 / 1_000.0,
            outages: pick(&[0, 0, 1, 4]) as f64 / 2_000.0,
            kills: pick(&[0, 0, 1, 4]) as f64 / 1_000.0,
            page: Some(pick(&[0, 0, 2, 5])).filter(|most| *most > 0).and_then(|most| u32::try_from(most).ok()),
        };
        let small = |number: u64| usize::try_from(number).unwrap_or_default();
        let hour = Duration::from_secs(60 * 60);
        let profile = Profile {
            weather,
            processes: small(pick(&[1, 1, 1, 2, 3])),
            clients: small(pick(&[3, 6, 9, 12])),
            shared_branches: small(pick(&[1, 2, 3])),
            rounds: small(pick(&[1, 1, 2, 3])),
            gaps: vec![Duration::ZERO, hour / 60, hour + hour / 60, hour * 25],
            actions: small(pick(&[3, 4, 5])),
            think_ms: latency_ms * pick(&[0, 1, 5, 20]),
            keepers: small(pick(&[1, 2, 3])),
            upkeep: small(pick(&[3, 6, 9])),
            collects: pick(&[0, 10, 30, 50]) as f64 / 100.0,
            purges: 0.0,
            deletes: 0.0,
            forks: 0.0,
            least: small(pick(&[2, 2, 3, 6])),
            pack_bytes: pick(&[0, 3_000, 12_000, 1 << 20]),
            retention: RETENTION,
            forced: pick(&[0, 5, 20]) as f64 / 100.0,
            branches: 0.0,
            rights: 0.0,
            skew_ms: pick(&[0, 5, 500]),
        };
        let is_about_garbage = pick(&[0, 0, 1]) == 1;
        let profile = Profile { purges: pick(&[0, 0, 20, 50]) as f64 / 100.0, ..profile };
        let profile = Profile { deletes: pick(&[0, 10, 40]) as f64 / 100.0, ..profile };
        let branches = pick(&[5, 5, 40]);
        // Where branches are protected often, pushes are forced often.
        let forced = if branches > 5 { 0.5 } else { profile.forced };
        let profile = Profile { branches: branches as f64 / 100.0, forced, ..profile };
        let profile = Profile { rights: pick(&[0, 0, 20, 50]) as f64 / 100.0, ..profile };
        let profile = Profile { forks: pick(&[0, 10, 40]) as f64 / 100.0, ..profile };
        if !is_about_garbage {
            return profile;
        }
        // All about garbage: what one round leaves is condemned in another and dropped in a third, while it is needed again.
        let retention = hour * 3;
        Profile {
            clients: small(pick(&[3, 6])),
            rounds: small(pick(&[4, 6])),
            gaps: vec![retention + hour, hour * 25, hour * 25],
            actions: small(pick(&[2, 3])),
            think_ms: latency_ms * pick(&[1, 5]),
            keepers: small(pick(&[1, 2])),
            upkeep: small(pick(&[2, 3])),
            collects: 0.8,
            retention,
            forced: 0.4,
            ..profile
        }
    }
}
