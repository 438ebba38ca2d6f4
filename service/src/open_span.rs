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

/// The span of a request, from its coming in on.
pub(crate) struct OpenSpan {
    span: Arc<RequestSpan>,
    log: RequestLog,
    head: Head,
}

impl OpenSpan {
    /// Opens the span of a request.
    pub(crate) fn new(
        function: &'static str,
        request: &Parts,
        route: Option<&'static Route>,
        log: &RequestLog,
        ambient: &Ambient,
    ) -> Self {
        let id = line::id(request).unwrap_or_else(|| ambient.ulid().to_string());
        let span = RequestSpan::new(function, id, ambient);
        span.note(|stats| stats.from = request.extensions.get::<CameFrom>().map(|CameFrom(from)| *from));
        Self { span, log: log.clone(), head: Head::of(request, route, log.is_first()) }
    }

    pub(crate) const fn span(&self) -> &Arc<RequestSpan> {
        &self.span
    }

    /// Puts the time until now into the answer's headers, and goes on to follow the answer until it has gone. A client
    /// that may not know of something does not learn either how long it took to find that out.
    pub(crate) fn follow(self, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
        let may_know =
            !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        if may_know && let Some(timing) = self.span.server_timing(self.head.is_cold) {
            response.headers_mut().insert("server-timing", timing);
        }
        let tail = Tail {
            status: response.status(),
            code: response.extensions().get::<ErrorCode>().map(|ErrorCode(code)| *code),
            // Until its end is reached. The end of an empty body is never asked for.
            is_cut_off: !response.body().is_empty(),
            bytes_out: 0,
            first_byte: None,
        };
        let answer_span = AnswerSpan::new(self.span, self.log, self.head, tail);
        response.map(|body| body.followed_by(answer_span))
    }
}
