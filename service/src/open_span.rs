//! A request from its coming in until its answer is made.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};

use crate::answer_body::AnswerBody;
use crate::observe::CameFrom;
use crate::observe::answer_span::{AnswerSpan, ErrorCode};
use crate::observe::line::{self, Head, RequestLog, Tail};
use crate::routes::Route;
use store::ambient::Ambient;
use store::span::RequestSpan;

/// A request that is watched, from its coming in on.
pub(crate) struct OpenSpan {
    watch: Arc<RequestSpan>,
    log: RequestLog,
    head: Head,
}

impl OpenSpan {
    /// Begins to watch a request.
    pub(crate) fn new(
        function: &'static str,
        request: &Parts,
        route: Option<&'static Route>,
        log: &RequestLog,
        ambient: &Ambient,
    ) -> Self {
        let id = line::id(request).unwrap_or_else(|| ambient.ulid().to_string());
        let watch = RequestSpan::new(function, id, ambient);
        watch.note(|seen| seen.from = request.extensions.get::<CameFrom>().map(|CameFrom(from)| *from));
        Self { watch, log: log.clone(), head: Head::of(request, route, log.is_first()) }
    }

    pub(crate) const fn watch(&self) -> &Arc<RequestSpan> {
        &self.watch
    }

    /// Puts the time until now into the answer's headers, and goes on to watch the answer until it has gone. A client
    /// that may not know of something does not learn either how long it took to find that out.
    pub(crate) fn follow(self, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
        let may_know =
            !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        if may_know && let Some(timing) = self.watch.server_timing(self.head.is_cold) {
            response.headers_mut().insert("server-timing", timing);
        }
        let tail = Tail {
            status: response.status(),
            code: response.extensions().get::<ErrorCode>().map(|ErrorCode(code)| *code),
            is_streamed: response.body().is_streamed(),
            // Until its end is seen. The end of an empty body is never asked for.
            is_cut_off: !response.body().is_empty(),
            bytes_out: 0,
        };
        let departure = AnswerSpan::new(self.watch, self.log, self.head, tail);
        response.map(|body| body.followed_by(departure))
    }
}
