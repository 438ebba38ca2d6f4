//! Prints what requests cost.
//!
//!     cargo run -p benches                   print the tables
//!     cargo run -p benches -- --write        put them into docs/cost.md

#![forbid(unsafe_code)]

use std::process::ExitCode;

use benches::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    match std::env::args().nth(1).as_deref() {
        None => print!("{}", benches::page().await?.tables),
        Some("--write") => {
            let page = benches::page().await?;
            std::fs::write(&page.path, page.new)?;
        }
        Some(other) => return Err(format!("{other:?} is not --write").into()),
    }
    Ok(())
}
