//! The readers of bytes that others wrote, and what has to hold for all bytes.
//!
//! Each target is a module with two functions: `check` takes any bytes and panics if a promise is broken, and `seeds` makes
//! valid inputs to begin with. Each promises more than that nothing panics: a round trip, two readers that agree, bounded
//! memory, an error that a person can act on.
//!
//! The targets run in two ways:
//!
//! - `cargo test` mutates the seeds, and repeats what once failed, which is kept in `regressions/<target>/`: see
//!   `tests/mutated.rs`. That is a part of the gate and takes seconds.
//! - `scripts/fuzz.sh TARGET` searches on, led by coverage, for as long as it is let:
//!   [cargo-fuzz](https://rust-fuzz.github.io/book/cargo-fuzz.html) on the stable compiler.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod archive;
pub mod hooks;
pub mod names;
pub mod pack;
pub mod page;
pub mod recode;
pub mod records;
pub mod refusal;
pub mod requests;
pub mod table;
pub mod token;

/// Something that reads any bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// What its module, its program and the folders of its inputs are called.
    pub name: &'static str,
    /// Panics if these bytes break a promise.
    pub check: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    Target { name: "archive", check: archive::check, seeds: archive::seeds },
    Target { name: "hooks", check: hooks::check, seeds: hooks::seeds },
    Target { name: "names", check: names::check, seeds: names::seeds },
    Target { name: "pack", check: pack::check, seeds: pack::seeds },
    Target { name: "page", check: page::check, seeds: page::seeds },
    Target { name: "recode", check: recode::check, seeds: recode::seeds },
    Target { name: "records", check: records::check, seeds: records::seeds },
    Target { name: "requests", check: requests::check, seeds: requests::seeds },
    Target { name: "table", check: table::check, seeds: table::seeds },
    Target { name: "token", check: token::check, seeds: token::seeds },
];

/// How many bytes the memory has grown by at most while this ran, and what it returned.
pub(crate) fn grown<R>(run: impl FnOnce() -> R) -> (u64, R) {
    let mut returned = None;
    let measured = allocation_counter::measure(|| returned = Some(run()));
    (measured.bytes_max, returned.expect("it has run"))
}
