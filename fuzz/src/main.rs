//! Writes the seeds of every target to `corpus/<target>/`, where cargo-fuzz looks for them.

use std::fs;
use std::io;
use std::path::Path;

// What counts coverage is in it.
#[cfg(fuzzing)]
use libfuzzer_sys as _;

fn main() -> io::Result<()> {
    for target in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
