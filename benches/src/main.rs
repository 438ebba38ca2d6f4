//! Prints what requests cost.
//!
//!     cargo run -p benches                   print the tables
//!     cargo run -p benches -- --write        put them into docs/cost.md
//!
//! And what the length of a history costs, in repositories of 1,000, 100,000 and 1,000,000 commits side by side:
//!
//!     cargo run --release -p benches -- scale [--sizes 1000,20000] [--json FILE]
//!         --merge-every N     a merge after each N commits; else there is none
//!         --repeat N          processes that are asked each question, of which the middle one counts; 5
//!         --folder FOLDER     where the data is while it runs; else in the folder for temporary files

#![forbid(unsafe_code)]

use std::process::ExitCode;

use benches::Failure;
use local::process;

fn main() -> ExitCode {
    // As `musehub` has it, whose memory is measured.
    match process::runtime().map_err(Failure::from).and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => print!("{}", benches::page().await?.tables),
        Some("--write") => {
            let page = benches::page().await?;
            std::fs::write(&page.path, page.new)?;
        }
        Some("scale") => benches::scale::run(arguments).await?,
        Some(other) => return Err(format!("{other:?} is neither --write nor scale").into()),
    }
    Ok(())
}
