//! The HTTP client that the hub calls its embedded stores with: that of the SDK, for a bounded number of calls at a time.
//!
//! Each call has a connection to itself, whose two ends are open files of the same process. Without a bound a few hundred
//! clients would use up what a process may open, and then each call could fail. Here a call waits until another is done.
//!
//! A call is made in a task of its own and its answer is read to the end there, so that it does not keep its place
//! while the caller works with the answer. A long answer is the exception: it is read as it is used, and has no place.

use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The longest answer that is read to its end at once. The hub reads no more than 8 MiB of a pack in a call.
const MAX_WHOLE: u64 = 16 << 20;

/// A client for this number of calls at the same time.
pub(crate) fn client(calls: usize) -> SharedHttpClient {
    SharedHttpClient::new(Bounded { inner: store::aws::http_client(), places: Arc::new(Semaphore::new(calls)) })
}

#[derive(Clone)]
struct Bounded<C> {
    inner: C,
    places: Arc<Semaphore>,
}

impl<C> fmt::Debug for Bounded<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bounded").field("places", &self.places.available_permits()).finish_non_exhaustive()
    }
}

impl HttpClient for Bounded<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Bounded { inner, places: Arc::clone(&self.places) })
    }
}

impl HttpConnector for Bounded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { inner, places } = self.clone();
        HttpConnectorFuture::new(async move {
            // With the set, the task ends: when its caller waits no longer, nor does it.
            let mut task = JoinSet::new();
            task.spawn(async move {
                let _place = places.acquire().await.map_err(|error| ConnectorError::other(error.into(), None))?;
                whole(inner.call(request).await?).await
            });
            let ended = || ConnectorError::other("the call ended without an answer".into(), None);
            let called = task.join_next().await.ok_or_else(ended)?;
            called.map_err(|error| ConnectorError::other(error.into(), None))?
        })
    }
}

/// Reads an answer to its end, unless that is long.
async fn whole(mut answer: HttpResponse) -> Result<HttpResponse, ConnectorError> {
    let length = http_body::Body::size_hint(answer.body()).exact();
    if length.is_some_and(|length| length <= MAX_WHOLE) {
        let body = answer.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
        *answer.body_mut() = SdkBody::from(body);
    }
    Ok(answer)
}
