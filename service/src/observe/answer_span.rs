//! Follows an answer until its last byte has gone.

use std::sync::Arc;

use super::line::{Head, RequestLog, Tail};
use store::span::RequestSpan;

/// The stable code of the error in a response, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

/// An answer on its way out. It is noted when it has gone, or has been given up.
pub(crate) struct AnswerSpan {
    span: Arc<RequestSpan>,
    log: RequestLog,
    head: Head,
    tail: Tail,
}

impl AnswerSpan {
    /// An answer whose head is known, to the request of this span.
    pub(crate) const fn new(span: Arc<RequestSpan>, log: RequestLog, head: Head, tail: Tail) -> Self {
        Self { span, log, head, tail }
    }

    /// Bytes went out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.tail.bytes_out += bytes as u64;
        self.tail.first_byte.get_or_insert_with(|| self.span.time());
    }

    /// All of it went out.
    pub(crate) fn ended(mut self) {
        self.tail.is_cut_off = false;
    }
}

impl Drop for AnswerSpan {
    fn drop(&mut self) {
        let ambient = self.span.ambient();
        self.log.write(&self.span, &self.head, &self.tail, ambient);
    }
}
