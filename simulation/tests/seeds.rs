//! Some seeds, and that a seed replays. The nightly workflow runs thousands.

use simulation::run;

/// As many as some seconds have time for.
const SEEDS: u64 = if cfg!(debug_assertions) { 6 } else { 200 };

#[test]
fn every_answer_is_right_whatever_goes_wrong() {
    for seed in 0..SEEDS {
        let report = run(seed);
        assert!(report.violation.is_none(), "{report}");
    }
}

#[test]
fn a_seed_replays_call_by_call() {
    let [one, other] = [run(3), run(3)];
    assert_eq!((one.hash, one.lines, one.calls), (other.hash, other.lines, other.calls));
}
