//! How long a request may take until its answer begins.
//!
//! A stream through a Regional REST API is closed after five minutes of silence
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html>), and Lambda ends a function at its
//! time-out in the middle of its work. Neither says to the client what to do. So the hub gives up before: with a 503 that
//! says so. What was stored by then is found when the same request comes again.

use std::time::Duration;

use http::request::Parts;
use jiff::Timestamp;
use lambda_http::RequestExt;
use tokio::time::timeout;

use common::wire::WireError;

/// How long an answer may take to begin, at most: less than the 290 seconds after which a stream may be closed.
/// `scripts/check-template.py` holds the time-outs of the functions to it.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(285);
/// What is left of a function's time when it gives up.
const LEFT: Duration = Duration::from_secs(5);

/// How long the answer to a request may take to begin, by an operator's word and the deadline of its invocation. A hub that is
/// no Lambda function has no such deadline, and what is in front of it waits.
pub(crate) fn of(parts: &Parts, within: Option<Duration>, now: Timestamp) -> Option<Duration> {
    let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
    // Where an event is made by hand, its context has none. `cargo lambda watch` says ten minutes after 1970; and Lambda sends no
    // event whose deadline has passed.
    let deadline = parts.lambda_context_ref().map(|context| context.deadline).filter(|deadline| *deadline > now)?;
    let remaining = Duration::from_millis(deadline.saturating_sub(now)).saturating_sub(LEFT);
    Some(remaining.min(within.unwrap_or(ANSWER_WITHIN)))
}

/// Gives up what takes longer.
pub(crate) async fn within<T>(
    time: Option<Duration>,
    work: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    match time {
        None => work.await,
        Some(time) => timeout(time, work).await.unwrap_or(Err(WireError::GivenUp(time.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(deadline: Option<u64>) -> Parts {
        let request = lambda_http::Request::default();
        let mut context = lambda_http::Context::default();
        match deadline {
            Some(deadline) => {
                context.deadline = deadline;
                request.with_lambda_context(context).into_parts().0
            }
            None => request.into_parts().0,
        }
    }

    #[test]
    fn a_request_is_given_up_before_lambda_or_its_door_ends_it() {
        let now = Timestamp::from_millisecond(1_000_000).unwrap();
        let seconds = |deadline, within| of(&request(deadline), within, now).map(|time| time.as_secs());
        assert_eq!((seconds(None, None), seconds(Some(0), None)), (None, None));
        assert_eq!(seconds(Some(1_029_000), None), Some(24));
        assert_eq!(seconds(Some(1_300_000), None), Some(285));
        assert_eq!(seconds(Some(1_300_000), Some(Duration::from_secs(55))), Some(55));
        assert_eq!(seconds(Some(1_003_000), None), Some(0));
        assert_eq!(seconds(Some(600_000), None), None, "a deadline that has passed is none of Lambda's");
    }
}
