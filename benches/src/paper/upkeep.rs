//! What compaction does behind pushes, as far as a limit depends on it.

use store::upkeep::compact;

use crate::deployment::model;

/// Packs that the push of a commit leaves: one of `/push/objects`, one of `/push`.
pub const PACKS_A_PUSH: f64 = 2.0;
/// Packs that a repo lists at most when it is in order (`docs/decisions/0005-geometric-compaction.md`).
pub const SETTLED: f64 = 9.0;
/// Changes for which the function is woken at once, and seconds after which it is woken with fewer (`template.yaml`).
const BATCH: (f64, f64) = (100.0, 60.0);
/// Files of a merge that are read at the same time (`store/src/upkeep/compact/merge.rs`).
const PARALLEL_READS: f64 = 16.0;
/// Items that a merge writes beside those that it deletes: `PACK#`, `RETIRED#`, `SWEEP`.
const WRITTEN: f64 = 3.0;
/// Write units of an item of up to 1 KB in a transaction.
const UNITS: f64 = 2.0;

/// Write units for each push: each pack's item is deleted once, and what a merge writes beside is shared by what it merges.
pub fn writes_a_push() -> f64 {
    UNITS * PACKS_A_PUSH * (1.0 + WRITTEN / compact::Limits::IN_PASSING.least as f64)
}

/// Milliseconds of a run, on average, by its new packs: two lists that are read, and the share of a merge.
pub fn run_ms(packs: f64) -> f64 {
    let least = compact::Limits::IN_PASSING.least as f64;
    let merges = (packs / least).min(1.0);
    let inputs = packs.max(least);
    let merge = model::DYNAMODB_MS * 2.0 + model::S3_MS * ((inputs / PARALLEL_READS).ceil() + 1.0);
    model::DYNAMODB_MS * 2.0 + merges * merge
}

/// Packs that wait for a merge, by how many are pushed a second.
pub fn waiting(packs_a_second: f64) -> f64 {
    let (changes, seconds) = BATCH;
    (packs_a_second * seconds).min(changes) + packs_a_second * run_ms(changes) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_shared_by_what_it_merges() {
        // Six packs are three pushes: six items deleted and three written, in units of two.
        assert!((writes_a_push() - 6.0).abs() < 1e-12);
        // Two of six packs: a third of a merge of two calls to DynamoDB, one round of reads and a PUT.
        assert!((run_ms(2.0) - (10.0 + 70.0 / 3.0)).abs() < 1e-9);
        assert!((run_ms(100.0) - (10.0 + 10.0 + 8.0 * 30.0)).abs() < 1e-9);
        assert!((waiting(1.0) - 60.26).abs() < 1e-9);
        assert!((waiting(100.0) - 126.0).abs() < 1e-9);
    }
}
