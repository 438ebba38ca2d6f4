//! Answers a request, even if it fails or panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use lambda_http::{Body, Request};

use crate::answer_body::AnswerBody;
use crate::call::{Call, Target};
use crate::deadline::{self, within};
use crate::hub::Hub;
use crate::open_span::OpenSpan;
use crate::respond::{Show, Words, finish, is_open, refuse, without_body};
use crate::{routes, streaming};
use common::id::RepoId;
use common::wire::WireError;
use store::repo::Load;
use store::span;

/// Bytes of an answer that is all there and waits for nothing.
const MAX_WHOLE_ANSWER: u64 = 1 << 20;

impl Hub {
    /// Answers one request as `handle` says, even if that fails or panics. `function` is the name in its span.
    ///
    /// As it is deployed nothing unwinds: there a panic ends the process, API Gateway answers 502 in the hub's words (its
    /// `DEFAULT_5XX` in template.yaml), and Lambda starts another process for the next request.
    pub async fn answer<F>(
        &self,
        function: &'static str,
        request: Request,
        handle: impl FnOnce(Call) -> F + Send,
    ) -> Response<AnswerBody>
    where
        F: Future<Output = Result<Response<AnswerBody>, WireError>> + Send,
    {
        self.answer_shown(function, request, handle, &|_, _| None).await
    }

    /// The same, where a refusal is shown as `show` says.
    pub async fn answer_shown<F>(
        &self,
        function: &'static str,
        request: Request,
        handle: impl FnOnce(Call) -> F + Send,
        show: Show<'_>,
    ) -> Response<AnswerBody>
    where
        F: Future<Output = Result<Response<AnswerBody>, WireError>> + Send,
    {
        let call = Call::new(request);
        let open_span = OpenSpan::new(function, &call.parts, call.route, &self.log, self.store.ambient());
        let span = Arc::clone(open_span.span());
        // On the heap, and of a type that says nothing of what is in it: the future of a whole request is too large to be
        // laid out in place, and its type too deep for the compiler.
        open_span.follow(span.over(self.answer_in_span(call, handle, show).boxed()).await)
    }

    async fn answer_in_span<F>(
        &self,
        mut call: Call,
        handle: impl FnOnce(Call) -> F + Send,
        show: Show<'_>,
    ) -> Response<AnswerBody>
    where
        F: Future<Output = Result<Response<AnswerBody>, WireError>> + Send,
    {
        let is_head = call.parts.method == Method::HEAD;
        if is_head {
            // Answered as a GET is, without the body.
            call.parts.method = Method::GET;
        }
        let is_open = is_open(&call);
        span::note(|stats| stats.bytes_in = call.body_bytes().len() as u64);
        let route = routes::label(&call.parts.method, call.route);
        let words = Words::of(self, &call);
        let (target, repo_id) = (call.named().ok(), call.query_parameter("repo_id").and_then(|id| id.parse().ok()));
        let mut used = None;
        let time = deadline::of(&call.parts, self.settings.answer_within, self.store.ambient().now());
        let outcome = AssertUnwindSafe(Box::pin(within(time, async {
            let mut _permit = None;
            if let Some(referenced) = Box::pin(self.referenced_body(&call, &mut used)).await? {
                span::note(|stats| stats.bytes_in = referenced.body.len() as u64);
                call.body = Body::Binary(referenced.body.into());
                _permit = Some(referenced.permit);
            }
            let response = handle(call).boxed().await?;
            if !is_head {
                self.check_length(&response)?;
            }
            self.with_permit(response).await
        })));
        let mut response = match outcome.catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let error = self.excused(error, target, repo_id).await;
                refuse(&route, &words.added_to(error), show)
            }
            Err(_) => refuse(&route, &WireError::internal("the function panicked"), show),
        };
        match used {
            // What came to nothing through a fault of the hub's may be sent again as it was.
            Some(used) if response.status().is_server_error() => self.store.give_back_body(used).await,
            Some(used) => self.store.drop_body(used).await,
            None => {}
        }
        finish(&mut response, is_open);
        if is_head { without_body(response) } else { response }
    }

    /// Refuses an answer of a known length that would be cut off on its way.
    fn check_length(&self, response: &Response<AnswerBody>) -> Result<(), WireError> {
        let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.settings.check_streamed(
            length.unwrap_or_default(),
            "ask for a part of it with the header Range, or for its URL at /presign",
        )
    }

    /// Has a large answer wait for its permit, and lets go of it as the client takes it, so that clients which read slowly hold no
    /// more of the process than their permits are.
    async fn with_permit(&self, response: Response<AnswerBody>) -> Result<Response<AnswerBody>, WireError> {
        let size = http_body::Body::size_hint(response.body()).exact();
        let Some(size) = size.filter(|size| *size > MAX_WHOLE_ANSWER) else {
            return Ok(response);
        };
        let (mut parts, body) = response.into_parts();
        parts.headers.entry(CONTENT_LENGTH).or_insert(size.into());
        let body = streaming::whole(&self.store, body.into_whole()).await?;
        Ok(Response::from_parts(parts, body))
    }

    /// A request that has read a file which is deleted because of a purge may be sent again. So may any that finds something damaged
    /// while a purge is under way: if it is damaged, it will be then.
    async fn excused(&self, error: WireError, target: Option<Target>, repo_id: Option<RepoId>) -> WireError {
        let cause = match error {
            WireError::Internal(cause)
                if cause.downcast_ref::<store::StoreError>().is_some_and(store::StoreError::is_damage) =>
            {
                cause
            }
            error => return error,
        };
        let is_being_erased = async {
            let repo_id = match (target, repo_id) {
                (Some(Target { owner, slug }), _) => {
                    self.store.find_repo(&owner, &slug, Load::NOTHING).await?.map(|repo| repo.id)
                }
                (None, repo_id) => repo_id,
            };
            match repo_id {
                Some(repo_id) => Ok::<_, store::StoreError>(self.store.purge_under_way(&repo_id).await?.is_some()),
                None => Ok(false),
            }
        };
        // Where the table does not say whether it is, it is not known for damage.
        if is_being_erased.await.unwrap_or(true) { WireError::Unavailable(cause) } else { WireError::Internal(cause) }
    }
}
