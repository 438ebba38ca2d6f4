//! What is noted of a request: a line in the log, metrics, and the header `Server-Timing`.
//!
//! A [`RequestSpan`] goes with each request from its beginning to the last byte of its answer. It is bound to the
//! request's task, and [`spawn`] passes it on to others. So every part of the code can note something without an
//! argument for it: the SDK's calls ([`calls`]), the user, the repo, the number of commits.
//!
//! - [`calls`] counts the calls to DynamoDB and S3, and logs each one at the level `debug`.
//! - the `RequestLog` of the service writes the line, with the metrics in it, when the answer's body has come to its end.

pub mod calls;
mod capacity;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::task::JoinHandle;

use crate::ambient::Ambient;
use common::price::Usage;

tokio::task_local! {
    static CURRENT: Arc<RequestSpan>;
}

/// What a request does, as far as it is noted by now.
#[derive(Debug)]
pub struct RequestSpan {
    function: &'static str,
    id: String,
    ambient: Ambient,
    began: Duration,
    stats: Mutex<RequestStats>,
}

/// What was noted of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestStats {
    /// The address that it comes from.
    pub from: Option<IpAddr>,
    /// The user whose token it has.
    pub user: Option<String>,
    /// The repo that it is about, `<owner>/<slug>`.
    pub repo: Option<String>,
    /// Bytes of its body, also when that came by reference.
    pub bytes_in: u64,
    /// Commits that it made visible.
    pub commits: u64,
    /// Calls to DynamoDB.
    pub dynamodb: Calls,
    /// Calls to S3.
    pub s3: Calls,
    /// What those calls cost.
    pub usage: Usage,
}

/// Calls to one service. Each attempt is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// How many.
    pub count: u64,
    /// How long each took until the head of its answer was there, added up: calls in parallel count each.
    pub time: Duration,
}

impl RequestSpan {
    /// Opens the span of a request that `function` answers.
    pub fn new(function: &'static str, id: String, ambient: &Ambient) -> Arc<Self> {
        let began = ambient.elapsed();
        Arc::new(Self { function, id, ambient: ambient.clone(), began, stats: Mutex::default() })
    }

    /// Runs something as a part of the request.
    pub async fn over<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), work).await
    }

    /// The function that answers.
    pub const fn function(&self) -> &'static str {
        self.function
    }

    /// The id of the request, which the door's log has too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The user, or else the address, so that what all share can be divided among them. If neither is known, all are
    /// one.
    pub fn asker(&self) -> String {
        let stats = self.stats();
        stats.user.or_else(|| stats.from.map(|from| from.to_string())).unwrap_or_default()
    }

    /// How long it has been.
    pub fn time(&self) -> Duration {
        self.ambient.elapsed().saturating_sub(self.began)
    }

    /// What was noted up to now.
    pub fn stats(&self) -> RequestStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The header `Server-Timing`: how long it took, and how much of that the services did, until now.
    /// <https://www.w3.org/TR/server-timing/>
    pub fn server_timing(&self, is_cold: bool) -> Option<HeaderValue> {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
        let stats = self.stats();
        let service = |name: &str, calls: Calls| match calls.count {
            0 => String::new(),
            1 => format!(", {name};dur={:.1};desc=\"1 call\"", milliseconds(calls.time)),
            count => format!(", {name};dur={:.1};desc=\"{count} calls\"", milliseconds(calls.time)),
        };
        let timing = format!(
            "total;dur={:.1}{}{}{}",
            milliseconds(self.time()),
            service("dynamodb", stats.dynamodb),
            service("s3", stats.s3),
            if is_cold { ", cold" } else { "" },
        );
        HeaderValue::try_from(timing).ok()
    }

    /// The clock that it is measured with.
    pub const fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    /// Notes something of the request.
    pub fn note(&self, note: impl FnOnce(&mut RequestStats)) {
        note(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Runs something that is not a request. Its calls are noted as those of `function`.
pub async fn run_as<F: Future>(function: &'static str, ambient: &Ambient, work: F) -> F::Output {
    RequestSpan::new(function, ambient.ulid().to_string(), ambient).over(work).await
}

/// Notes something of the request that is under way; nothing outside of one.
pub fn note(note: impl FnOnce(&mut RequestStats)) {
    // Outside of a request there is no span.
    let _ = CURRENT.try_with(|span| span.note(note));
}

/// The request that is under way.
pub fn current() -> Option<Arc<RequestSpan>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Spawns a task that is a part of the request under way.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match current() {
        Some(span) => tokio::spawn(CURRENT.scope(span, work)),
        None => tokio::spawn(work),
    }
}
