//! Properties of a hub: one hub, many generated cases.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::hub::Hub;

/// Runs `check` on `cases` values of the strategy against one hub. A case fails by panicking; the smallest that does is
/// reported, with what it said.
pub fn for_every<S: Strategy>(cases: u32, strategy: S, check: impl AsyncFn(&Hub, S::Value)) {
    for_every_on(Hub::start, cases, strategy, check);
}

/// The same against a hub that is started in its own way.
pub fn for_every_on<S: Strategy>(
    start: impl AsyncFnOnce() -> Hub,
    cases: u32,
    strategy: S,
    check: impl AsyncFn(&Hub, S::Value),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let hub = runtime.block_on(start());
    let config = Config { cases, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        let checked = catch_unwind(AssertUnwindSafe(|| runtime.block_on(check(&hub, value))));
        checked.map_err(|panic| match panic.downcast_ref::<String>() {
            Some(message) => TestCaseError::fail(message.clone()),
            None => resume_unwind(panic),
        })
    });
    runtime.block_on(hub.stop());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
