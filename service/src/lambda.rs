//! A function that answers requests, as a Lambda function: its `main` is one line.

use lambda_http::{Error, Request, Response, run, run_with_streaming_response, service_fn};

use crate::answer_body::AnswerBody;
use crate::buffered::Buffered;
use crate::cut_off::whole_or_no_process;
use crate::hub::Hub;
use crate::logging::log_as_json;

/// Runs a function whose answers are buffered. API Gateway takes up to 6 MB of each, within 29 seconds.
///
/// # Errors
/// When the environment lacks something, or the runtime ends.
pub async fn buffered<F>(handle: impl Fn(&'static Hub, Request) -> F + Sync) -> Result<(), Error>
where
    F: Future<Output = Response<AnswerBody>> + Send,
{
    let (hub, handle) = (begin().await?, &handle);
    run(service_fn(move |request| async move { Ok::<_, Error>(Buffered(handle(hub, request).await)) })).await
}

/// Runs a function whose answers are streamed. An answer that is cut off ends the process, so that the client notices.
///
/// # Errors
/// When the environment lacks something, or the runtime ends.
pub async fn streamed<F>(handle: impl Fn(&'static Hub, Request) -> F + Sync) -> Result<(), Error>
where
    F: Future<Output = Response<AnswerBody>> + Send,
{
    let (hub, handle) = (begin().await?, &handle);
    run_with_streaming_response(service_fn(move |request| async move {
        Ok::<_, Error>(whole_or_no_process(handle(hub, request).await))
    }))
    .await
}

/// The hub of this process, which lives as long as it does.
async fn begin() -> Result<&'static Hub, Error> {
    log_as_json();
    Ok(Box::leak(Box::new(Hub::from_environment().await?)))
}
