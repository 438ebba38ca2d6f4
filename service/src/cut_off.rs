//! On Lambda, an answer that is cut off has to be cut off for the client too.
//!
//! `lambda_runtime` 1.5.0 makes bytes of the answer out of an error of a streamed body (`to_tailer` in its
//! `src/requests.rs`) and ends the answer well. A client would take it for whole, with garbage at its end, and a cache
//! might keep it for a year. There is no call that says that an answer has failed. But if the process ends in the
//! middle of an answer, Lambda knows that it has failed. So the process ends here. The next request gets a new process,
//! at the price of a cold start; this is rare.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::answer_body::{AnswerBody, CutOff};

/// The status of a process that has cut off an answer.
pub const EXIT_CODE: i32 = 75;

/// The body of an answer on Lambda.
pub struct OrNothing(AnswerBody);

/// The same answer, with which the process ends if its body is cut off.
pub fn whole_or_no_process(response: Response<AnswerBody>) -> Response<OrNothing> {
    response.map(OrNothing)
}

impl Body for OrNothing {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let next = Pin::new(&mut self.get_mut().0).poll_frame(context);
        if matches!(next, Poll::Ready(Some(Err(_)))) {
            // Why, and the line of the request, has been logged.
            let _ = std::io::stdout().flush();
            std::process::exit(EXIT_CODE);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
