//! How many of its cases a test takes that goes through every call, every fault or every order: all of them by night, a third by day.

use std::sync::LazyLock;

/// By day: one in this number.
const BY_DAY: usize = 3;

/// From one case that is taken to the next. `MUSEHUB_TEST_CASES=all` takes all, as the nightly workflow does.
pub fn stride() -> usize {
    static STRIDE: LazyLock<usize> = LazyLock::new(|| match std::env::var("MUSEHUB_TEST_CASES").as_deref() {
        Ok("all") => 1,
        Err(std::env::VarError::NotPresent) => BY_DAY,
        other => panic!("MUSEHUB_TEST_CASES is `all` or not set, not {other:?}"),
    });
    *STRIDE
}

/// Of these cases those that are taken.
pub fn some_of<C: IntoIterator>(cases: C) -> impl Iterator<Item = C::Item> {
    cases.into_iter().step_by(stride())
}
