//! Several processes of a hub and many clients in one thread, on virtual time, over the embedded stores, with everything that
//! can happen between them decided by one seed. What goes wrong with a seed goes wrong with it again, call by call.
//!
//! - [`profile`] says what a run is like, drawn from its seed.
//! - [`network`] lies between the processes and the [`stores`]: it delays calls, has them fail, and lets processes die.
//! - [`world`] is the processes; [`client`] and [`upkeep`] are who uses them.
//! - [`model`] is what they made, asked and heard. [`register`] says whether what was seen of a branch can have happened,
//!   [`fetched`] whether a fetch answered with what it had to.
//! - [`entropy`] takes away what would differ from run to run, [`trace`] shows that nothing does.
//!
//! `cargo run -p simulation -- --seeds 1000` runs many, `--seed 7` one, with its whole trace.

#![deny(missing_docs, unsafe_code)]
// A simulation fails by panicking where it is itself at fault.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod client;
pub mod entropy;
pub mod fetched;
mod log;
pub mod model;
pub mod network;
pub mod profile;
pub mod register;
pub mod stores;
pub mod trace;
pub mod upkeep;
pub mod world;

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use client::Client;
use profile::Profile;
use world::{Violation, World};

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What it was like.
    pub profile: Profile,
    /// What should not have happened, if anything.
    pub violation: Option<Violation>,
    /// The SHA-256 of its trace, which says whether two runs were the same.
    pub hash: String,
    /// How many lines the trace has.
    pub lines: u64,
    /// The last of them.
    pub last: Vec<String>,
    /// How many storage calls there were.
    pub calls: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.last {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{:?}", self.profile)?;
        let violation = self.violation.as_deref().unwrap_or("nothing was wrong");
        write!(out, "seed {}: {violation}", self.seed)
    }
}

/// A seed of a short run in which much goes wrong.
const FIRST_SEED: u64 = 34;
/// Lines of a trace that a report has.
const KEPT: usize = 300;

/// Runs a seed, in a thread of its own.
pub fn run(seed: u64) -> Report {
    run_keeping(seed, KEPT)
}

/// The same, with this many lines of the trace in the report.
pub fn run_keeping(seed: u64, kept: usize) -> Report {
    // The first run of a process makes what all share, such as the SDK's tables of endpoints, and draws for it.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| drop(run_in_thread(FIRST_SEED, 0)));
    run_in_thread(seed, kept)
}

fn run_in_thread(seed: u64, kept: usize) -> Report {
    let run = move || {
        entropy::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(simulate(seed, kept))
    };
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(run).expect("a thread");
    thread.join().unwrap_or_else(|_| panic!("seed {seed}: the simulation itself panicked"))
}

async fn simulate(seed: u64, kept: usize) -> Report {
    let mut random = StdRng::seed_from_u64(seed);
    let profile = Profile::draw(&mut random);
    let mut report = Report {
        seed,
        profile: profile.clone(),
        violation: None,
        hash: String::new(),
        lines: 0,
        last: Vec::new(),
        calls: 0,
    };
    match World::start(seed, profile, kept).await {
        Ok(world) => {
            let _log = tracing::subscriber::set_default(log::Log(world.network.clone()));
            report.violation = live(&world, &mut random).await.err();
            (report.hash, report.lines, report.last) = world.network.finish();
            report.calls = world.network.calls();
        }
        Err(violation) => report.violation = Some(violation),
    }
    report
}

/// What happens in a world, from its first client to its last.
async fn live(world: &Arc<World>, random: &mut StdRng) -> Result<(), Violation> {
    let profile = &world.profile;
    let mut clients: Vec<Client> =
        (0..profile.clients).map(|number| Client::new(Arc::clone(world), number, random.random())).collect();
    for _ in 0..profile.rounds {
        let mut turns: JoinSet<Result<Option<Client>, Violation>> = JoinSet::new();
        for mut client in clients.drain(..) {
            let actions = profile.actions;
            turns.spawn(async move { client.turn(actions).await.map(|()| Some(client)) });
        }
        for _ in 0..profile.keepers {
            let (world, seed) = (Arc::clone(world), random.random());
            turns.spawn(async move { upkeep::turn(world, seed).await.map(|()| None) });
        }
        // The first that is wrong ends the run: the others are dropped with it.
        while let Some(ended) = turns.join_next().await {
            clients.extend(ended.map_err(|error| format!("a client panicked: {error}"))??);
        }
        world.model().check_registers()?;
        tokio::time::sleep(profile.gaps.choose(random).copied().unwrap_or_default()).await;
    }

    // What is still on its way arrives.
    tokio::time::sleep(Duration::from_secs(120)).await;
    upkeep::calm(world);
    upkeep::purge_all(world).await?;
    let mut last = Client::new(Arc::clone(world), profile.clients, random.random());
    last.inspect(false).await?;
    upkeep::check(world, false).await?;
    last.undo_all().await?;
    last.inspect(false).await?;
    upkeep::check(world, false).await?;
    // Something to merge, so that a sweep is due.
    for _ in 0..3 {
        last.push_one().await?;
    }
    upkeep::sweep(world).await?;
    upkeep::erase_all(world).await?;
    // What packs that were written again have left.
    upkeep::sweep(world).await?;
    upkeep::check(world, true).await?;
    world.restart();
    last.inspect(true).await?;
    world.model().check_registers()
}
