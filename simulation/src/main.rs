//! Runs seeds of the simulation until one fails.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use simulation::{run, run_keeping};

/// Runs the hub in simulated deployments, one for each seed, and says which seeds show a fault.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs this one seed, and prints the end of its trace whatever came of it. May be given more than once.
    #[arg(long)]
    seed: Vec<u64>,
    /// With `--seed`: how much of its trace.
    #[arg(long, default_value_t = 300)]
    lines: usize,
    /// Goes on after a seed that shows a fault, and lists them at the end.
    #[arg(long)]
    keep_going: bool,
    /// Tells of each seed how it ended.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut is_good = true;
    for seed in &arguments.seed {
        let report = run_keeping(*seed, arguments.lines);
        println!("{report}\n{} calls, trace {}", report.calls, report.hash);
        is_good &= report.violation.is_none();
    }
    if !arguments.seed.is_empty() {
        return if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (mut failed, mut calls) = (0_u64, 0);
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let report = run(seed);
        calls += report.calls;
        if arguments.verbose {
            println!("seed {seed}: {} calls, trace {}", report.calls, report.hash);
        }
        let Some(violation) = &report.violation else { continue };
        failed += 1;
        if !arguments.keep_going {
            println!("{report}");
            break;
        }
        println!("seed {seed}: {violation}");
    }
    println!("{} seeds, {calls} storage calls, {failed} failed", arguments.seeds);
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
