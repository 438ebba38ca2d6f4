//! Points in time: [`Timestamp`]s of whole milliseconds, none of them before the Unix epoch.
//!
//! What is stored of one is a number, and the field says of what: milliseconds, or seconds where DynamoDB's TTL reads it. A
//! number that is no time is damage to the one who reads it. Nothing here fails: what would lie outside of the calendar is its
//! first or last time.

use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use ulid::Ulid;

/// This many milliseconds after the Unix epoch.
pub fn of_millis(millis: u64) -> Timestamp {
    i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or(Timestamp::MAX)
}

/// The time when a ULID was drawn.
pub fn drawn(id: Ulid) -> Timestamp {
    of_millis(id.timestamp_ms())
}

/// A ULID that was drawn at a time, with these random bits.
pub fn ulid(time: Timestamp, random: u128) -> Ulid {
    Ulid::from_parts(u64::try_from(time.as_millisecond()).unwrap_or_default(), random)
}

/// A time that is this much later.
pub fn after(time: Timestamp, length: Duration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// A time that is this much earlier.
pub fn before(time: Timestamp, length: Duration) -> Timestamp {
    time.checked_sub(length).unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::UNIX_EPOCH)
}

/// How long it is from one time to another; nothing to an earlier one.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The first whole second that is not earlier.
pub fn whole_second(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil)).unwrap_or(time)
}

/// ISO 8601, UTC, to the millisecond: `2026-11-22T10:13:38.123Z`.
pub fn iso(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_of_the_calendar_is_its_first_or_last_time() {
        let second = Timestamp::constant(1, 0);
        assert_eq!(of_millis(u64::MAX), Timestamp::MAX);
        assert_eq!(drawn(Ulid::max()), Timestamp::MAX);
        assert_eq!(after(second, Duration::MAX), Timestamp::MAX);
        assert_eq!(before(second, Duration::from_secs(2)), Timestamp::UNIX_EPOCH);
        assert_eq!(before(second, Duration::MAX), Timestamp::UNIX_EPOCH);
        assert_eq!(between(Timestamp::MAX, second), Duration::ZERO);
        assert_eq!(ulid(Timestamp::MIN, 7), Ulid(7));
        assert_eq!(whole_second(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_part_of_a_second_is_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_second(of_millis(millis)), of_millis(seconds * 1_000), "{millis}");
        }
    }

    #[test]
    fn the_time_of_a_ulid_is_that_which_it_was_made_of() {
        let time = of_millis(1_750_000_000_123);
        assert_eq!(drawn(ulid(time, 7)), time);
        assert_eq!(iso(time), "2025-06-15T15:06:40.123Z");
    }
}
