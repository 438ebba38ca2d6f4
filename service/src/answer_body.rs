//! The body of an answer: whole, or made while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::observe::answer_span::AnswerSpan;

/// Why an answer that had begun was cut off. The client's decoder fails on it, as it must.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
pub struct CutOff;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, CutOff>> + Send>>;

/// The body of an answer.
pub struct AnswerBody {
    content: Content,
    answer_span: Option<AnswerSpan>,
}

enum Content {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    /// Chunks as they are made; an error cuts the answer off.
    Streamed(Chunks),
}

impl AnswerBody {
    /// A body that is all there.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Some(bytes.into())), answer_span: None }
    }

    /// A body that is made while it is sent.
    pub fn streamed(chunks: impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static) -> Self {
        Self { content: Content::Streamed(Box::pin(chunks)), answer_span: None }
    }

    /// All of it, if it is all there.
    pub(crate) fn into_whole(self) -> Bytes {
        match self.content {
            Content::Whole(bytes) => bytes.unwrap_or_default(),
            Content::Streamed(_) => Bytes::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    /// Has what goes out noted, and its end.
    pub(crate) fn followed_by(self, answer_span: AnswerSpan) -> Self {
        Self { answer_span: Some(answer_span), ..self }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Self { content, answer_span } = self.get_mut();
        let next = match content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Content::Streamed(chunks) => chunks.as_mut().poll_next(context),
        };
        if let (Some(span), Poll::Ready(Some(Ok(bytes)))) = (answer_span.as_mut(), &next) {
            span.sent(bytes.len());
        }
        // As soon as nothing follows, for Lambda lets a function rest then.
        match (&next, content) {
            (Poll::Ready(None), _) | (Poll::Ready(_), Content::Whole(_)) => {
                if let Some(span) = answer_span.take() {
                    span.ended();
                }
            }
            (Poll::Ready(Some(Err(_))), _) => drop(answer_span.take()),
            _ => {}
        }
        next.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Streamed(_) => SizeHint::default(),
        }
    }
}

/// An answer with this body.
pub(crate) fn response(status: StatusCode, content_type: HeaderValue, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
