//! How a repo is kept: a handful of small items in one DynamoDB table, its packs in one S3 bucket.
//!
//! The failure story, in six lines. A pack is written once, under a name that is drawn for it, so writing it again is
//! harmless. A push becomes visible in one transaction ([`change`]), on the condition that the head is the one that it
//! was planned against. Everything before that is invisible. If the answer to that transaction is lost, its marker is
//! read back before it is called a conflict. Throttles and transaction conflicts are retried with jitter and then
//! become [`StoreError::Unavailable`], never a conflict of the push. The bytes of a pack are believed only under their
//! checksum.
//!
//! The modules, each above those that it needs:
//!
//! - [`ambient`] is where time and randomness come from. [`span`] is what is noted of a request. [`permits`] hands out
//!   permits fairly.
//! - [`table`] is what DynamoDB holds, and the one way to write several items at once. [`bucket`] is what S3 holds.
//! - [`change`] is the one commit point. [`read`] finds records in packs and streams them. [`uploads`] are what clients
//!   PUT straight into S3.
//! - [`deletion`] deletes repos, and undeletes them.
//! - [`repo`] opens a repo: what it is, who may know of it, and what it lists.
//! - [`upkeep`] keeps packs few, and deletes what is unreachable or purged.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod ambient;
pub mod aws;
pub mod bucket;
pub mod change;
mod compute;
pub mod deletion;
pub mod permits;
pub mod read;
pub mod repo;
pub mod span;
pub mod table;
pub mod upkeep;
pub mod uploads;

pub use compute::compute;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, broadcast};

use crate::ambient::Ambient;
use crate::permits::Permits;
use crate::read::permit::{Readers, page_permits};
use crate::span::calls::{CallInterceptor, Service};
use crate::table::events::StoredEvent;
use crate::table::items::ProfileItem;
use bucket::Bucket;
use common::id::RepoId;
use common::purged::Purged;
use common::wire::manifests::MalformedSnapshot;
use common::{pack, wire};

/// Attempts at one call, the SDK's own: throttles and passing faults are retried with exponential backoff and jitter.
const CALL_ATTEMPTS: u32 = 4;
/// The first pause between two attempts at anything is random below this; each further one below twice as much.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long one attempt at a call to DynamoDB may take before the SDK makes another, and the call with all its attempts.
const DYNAMODB_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));
/// The same for S3, where an attempt sends a whole pack. Clients give up after 60 seconds.
const S3_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(30));
/// How many names of repos a process remembers.
const REMEMBERED_NAMES: usize = 10_000;
/// How many users' profiles a process remembers.
const REMEMBERED_PROFILES: usize = 10_000;
/// Of how many repos a process remembers what was purged.
const REMEMBERED_PURGES: usize = 1_000;
/// How many notices of landed packs wait for a slow receiver.
const REMEMBERED_LANDINGS: usize = 1_024;
/// How many published items wait for a slow receiver.
const REMEMBERED_EVENTS: usize = 4_096;

/// Where everything is kept.
#[derive(Debug, Clone)]
pub struct Location {
    /// The DynamoDB table.
    pub table: String,
    /// The S3 bucket.
    pub bucket: String,
}

/// The hub's storage, through the AWS clients.
pub struct Store {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    location: Location,
    ambient: Ambient,
    /// `<owner>/<slug>` to repo id. Only ever a hint: the repo's own item is compared with what was asked for.
    names: Cache<String, RepoId>,
    /// Repo and user, of those that were let in. Only ever a hint too.
    let_in: Cache<String, ()>,
    /// By user id; what a profile says never changes.
    profiles: Cache<String, ProfileItem>,
    /// What a repo has purged, by how much that is: it only becomes more.
    purged: Cache<(RepoId, u64), Arc<Purged>>,
    bucket: Arc<Bucket>,
    readers: Readers,
    page_permits: Arc<Permits<String>>,
    bodies: Arc<Semaphore>,
    /// By the ids of users.
    body_permits: Arc<Permits<String>>,
    landed: broadcast::Sender<RepoId>,
    published: broadcast::Sender<StoredEvent>,
    counts_usage: bool,
}

impl Store {
    /// A store at `location`. The two services are reached as their configurations say, which are one and the same on
    /// AWS.
    pub fn new(dynamodb: &SdkConfig, s3: &SdkConfig, location: Location, ambient: Ambient) -> Self {
        let retry = RetryConfig::standard().with_max_attempts(CALL_ATTEMPTS).with_initial_backoff(FIRST_PAUSE);
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(dynamodb)
            .retry_config(retry.clone())
            .timeout_config(aws::timeouts(DYNAMODB_TIMEOUTS))
            .interceptor(CallInterceptor::new(Service::Dynamodb, ambient.clone()))
            .build();
        let s3 = aws::s3_config(s3)
            .retry_config(retry)
            .timeout_config(aws::timeouts(S3_TIMEOUTS))
            .interceptor(CallInterceptor::new(Service::S3, ambient.clone()))
            .build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
            bucket: Arc::new(Bucket::new(s3.clone(), location.bucket.clone())),
            s3,
            location,
            ambient,
            names: Cache::new(REMEMBERED_NAMES),
            let_in: Cache::new(REMEMBERED_NAMES),
            profiles: Cache::new(REMEMBERED_PROFILES),
            purged: Cache::new(REMEMBERED_PURGES),
            readers: Readers::new(),
            page_permits: page_permits(),
            bodies: Arc::new(Semaphore::new(uploads::BODIES_MEBIBYTES as usize)),
            body_permits: Permits::new(uploads::BODIES, uploads::BODIES_OF_USER),
            landed: broadcast::Sender::new(REMEMBERED_LANDINGS),
            published: broadcast::Sender::new(REMEMBERED_EVENTS),
            counts_usage: false,
        }
    }

    /// The same, where what users hold is counted, because it is bounded.
    pub const fn counting_usage(mut self, counts: bool) -> Self {
        self.counts_usage = counts;
        self
    }

    /// The repos in which packs land from now on, through this process. It is what the table's stream is in a
    /// deployment. A receiver that falls far behind misses the oldest.
    pub fn landed(&self) -> broadcast::Receiver<RepoId> {
        self.landed.subscribe()
    }

    /// The time and the randomness that the store uses.
    pub const fn ambient(&self) -> &Ambient {
        &self.ambient
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, timed out, or in conflict for longer than a request can wait.
    #[error("the storage does not answer in time")]
    Unavailable(#[source] wire::error::Cause),
    /// What is stored contradicts itself; nothing of it was handed on.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A pack is damaged.
    #[error(transparent)]
    Pack(#[from] pack::PackError),
    /// Anything else: a missing right, a table that is not there, a bug.
    #[error("the storage refused a call")]
    Fault(#[source] wire::error::Cause),
}

impl StoreError {
    /// What a call for `key` failed with, for good: a fault that passes, or one that stays.
    fn at<E>(key: impl fmt::Display) -> impl FnOnce(SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        move |error| {
            let does_pass = passes(&error);
            let failed = FailedCall { operation: operation_of::<E>(), key: key.to_string(), cause: error.into() };
            if does_pass { Self::Unavailable(failed.into()) } else { Self::Fault(failed.into()) }
        }
    }

    /// Whether something that is stored is not as it should be.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Pack(_))
    }

    /// A fault that stays, with its cause.
    pub fn fault(cause: impl Into<wire::error::Cause>) -> Self {
        Self::Fault(cause.into())
    }
}

impl From<MalformedSnapshot> for StoreError {
    fn from(malformed: MalformedSnapshot) -> Self {
        Self::Damaged(malformed.to_string())
    }
}

/// A call to a service that failed: what was asked of what.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {key}")]
struct FailedCall {
    operation: &'static str,
    key: String,
    #[source]
    cause: wire::error::Cause,
}

/// The operation whose error this type is, as AWS calls it: the SDK has a `GetItemError` for `GetItem`.
fn operation_of<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.strip_suffix("Error").unwrap_or(name)
}

/// Whether the same call may well succeed in a moment: it was not answered, or throttled, or met a fault of the service.
fn passes<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    const PASSING: [&str; 9] = [
        // S3 may say these behind the status 200 of a copy.
        "InternalError",
        "ServiceUnavailable",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "SlowDown",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ];
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            status >= 500 || status == 429 || answer.err().code().is_some_and(|code| PASSING.contains(&code))
        }
        _ => true,
    }
}

impl From<StoreError> for wire::WireError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(error.into()),
            StoreError::Damaged(_) | StoreError::Pack(_) | StoreError::Fault(_) => Self::internal(error),
        }
    }
}
