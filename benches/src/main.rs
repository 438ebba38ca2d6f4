//! Prints what requests cost, which ideas would make that less, and which limits are reached first.
//!
//!     cargo run -p benches                   print the pages
//!     cargo run -p benches -- --write        write them: docs/cost.md, and docs/scale.md with its plots
//!
//! And one piece of pure work, once, for a tool that counts its instructions (`scripts/check-instructions.sh`):
//!
//!     cargo run -p benches -- work           print the names of the pieces
//!     cargo run -p benches -- work 'decode a push'
//!
//! And what the length of a history costs, in repositories of 1,000, 100,000 and 1,000,000 commits side by side:
//!
//!     cargo run --release -p benches -- scale [--sizes 1000,20000] [--json FILE]
//!         --merge-every N     a merge after each N commits; else there is none
//!         --repeat N          processes that are asked each question, of which the middle one counts; 5
//!         --folder FOLDER     where the data is while it runs; else in the folder for temporary files
//!
//! And how fast the hub is, beside Git where that is installed with `git daemon`, and beside the least that can be had:
//!
//!     cargo run --release -p benches -- compare [thousand] [deep] [wide] [swarm] [old]
//!         --repeat N          times that what takes long is done; what takes little is done four times as often; 5
//!         --old N             pushes of `old`; 2,000
//!         --url URL --token TOKEN [--owner HANDLE]
//!                             a hub that runs, over plain HTTP; else one is started. The repositories that it gets stay there
//!         --folder FOLDER     as above
//!         --json FILE         writes all figures
//!         --out FILE          writes the tables into a page, `docs/performance.md`, and plots into the folder beside it

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
        None => benches::pages().await?.iter().for_each(|page| print!("{}", page.new)),
        Some("--write") => {
            for page in benches::pages().await? {
                std::fs::write(&page.path, page.new)?;
            }
        }
        Some(benches::served::SERVE) => {
            let folder = arguments.next().ok_or("a folder to serve")?;
            benches::served::run(folder.as_ref()).await?;
        }
        Some(benches::compare::person::PERSON) => benches::compare::person::command(arguments).await?,
        Some("work") => match arguments.next() {
            Some(name) => benches::work::run(&name)?,
            None => benches::work::TASKS.iter().for_each(|(name, _)| println!("{name}")),
        },
        Some("compare") => benches::compare::run(arguments).await?,
        Some("scale") => benches::scale::run(arguments).await?,
        Some(other) => return Err(format!("{other:?} is none of --write, work, compare and scale").into()),
    }
    Ok(())
}
