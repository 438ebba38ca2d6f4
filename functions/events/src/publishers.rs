//! Publishes events: on the event bus, and into the queue that webhooks are delivered from.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use common::time;
use common::wire::error::{Cause, with_causes};
use jiff::Timestamp;
use service::{ConfigurationError, required};
use store::ambient::Ambient;
use store::aws;
use store::span::calls::{CallInterceptor, Service};
use store::table::events::Event;
use store::table::webhooks::Message;
use ulid::Ulid;

/// The `source` of the hub's events in EventBridge.
pub const SOURCE: &str = "musehub";
/// The most entries that one call takes, at both services.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>,
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
pub(crate) const ENTRIES: usize = 10;
/// The most bytes of events in one call. With everything around them they stay below the 256 KB that each service
/// takes.
pub(crate) const BYTES: usize = 200_000;
/// The SDK's own attempts at one call.
const CALL_ATTEMPTS: u32 = 3;
/// How long one attempt at a call may take, and the call with all its attempts.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(12));
/// How often an entry is sent, if a service takes the call and refuses the entry.
const ENTRY_ATTEMPTS: u32 = 3;
/// The error of an entry that the answer does not mention.
const UNSAID: &str = "the answer does not mention it";
/// The pause before the second attempt at an entry is random below this, and before the third below twice this.
const PAUSE: Duration = Duration::from_millis(200);

/// The bus and the queue, through the AWS clients.
pub struct Publishers {
    eventbridge: aws_sdk_eventbridge::Client,
    sqs: aws_sdk_sqs::Client,
    bus: String,
    queue: String,
    ambient: Ambient,
}

impl Publishers {
    /// Publishes on the bus of this name or ARN, and into the FIFO queue of this URL.
    pub fn new(eventbridge: &SdkConfig, sqs: &SdkConfig, bus: String, queue: String, ambient: Ambient) -> Self {
        let retry = RetryConfig::standard().with_max_attempts(CALL_ATTEMPTS);
        let timeouts = store::aws::timeouts(TIMEOUTS);
        let eventbridge = aws_sdk_eventbridge::config::Builder::from(eventbridge)
            .retry_config(retry.clone())
            .timeout_config(timeouts.clone())
            .interceptor(CallInterceptor::new(Service::Eventbridge, ambient.clone()))
            .build();
        let sqs = aws_sdk_sqs::config::Builder::from(sqs)
            .retry_config(retry)
            .timeout_config(timeouts)
            .interceptor(CallInterceptor::new(Service::Sqs, ambient.clone()))
            .build();
        Self {
            eventbridge: aws_sdk_eventbridge::Client::from_conf(eventbridge),
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            bus,
            queue,
            ambient,
        }
    }

    /// The bus and the queue that `MUSEHUB_EVENT_BUS` and `MUSEHUB_WEBHOOK_QUEUE` name.
    ///
    /// # Errors
    /// When one of them is not set.
    pub fn from_environment(ambient: &Ambient) -> Result<Self, ConfigurationError> {
        Self::from_environment_at(&aws::config("EVENTBRIDGE"), &aws::config("SQS"), ambient)
    }

    /// The same, with another way to reach the two services.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_environment_at(
        eventbridge: &SdkConfig,
        sqs: &SdkConfig,
        ambient: &Ambient,
    ) -> Result<Self, ConfigurationError> {
        let (bus, queue) = (required("MUSEHUB_EVENT_BUS")?, required("MUSEHUB_WEBHOOK_QUEUE")?);
        Ok(Self::new(eventbridge, sqs, bus, queue, ambient.clone()))
    }

    /// Publishes events, each with its JSON: at most [`ENTRIES`] and [`BYTES`]. Returns for each event the error of the
    /// bus, or none if the bus took it.
    pub(crate) async fn publish(&self, events: &[(&Event, String)]) -> Vec<Option<String>> {
        let entry = |position: &usize| {
            let (event, detail) = events.get(*position)?;
            let drawn = event.id.parse::<Ulid>().map_or(Timestamp::UNIX_EPOCH, time::drawn);
            let entry = PutEventsRequestEntry::builder()
                .event_bus_name(&self.bus)
                .source(SOURCE)
                .detail_type(event.kind())
                .time(DateTime::from_millis(drawn.as_millisecond()))
                .detail(detail);
            Some(entry.build())
        };
        let send = async |left: &[usize]| {
            let entries = left.iter().filter_map(entry).collect();
            let answer = self.eventbridge.put_events().set_entries(Some(entries)).send().await?;
            let mut said = answer.entries().iter();
            // One answer for each entry, in their order.
            let why = |answered: &PutEventsResultEntry| {
                let code = answered.error_code()?;
                Some(format!("{code}: {}", answered.error_message().unwrap_or_default()))
            };
            Ok(left.iter().map(|_| said.next().map_or_else(|| Some(UNSAID.to_owned()), why)).collect())
        };
        self.until_taken(events.len(), send).await
    }

    /// Sends messages to the queue, each with its JSON: at most [`ENTRIES`] and [`BYTES`]. Returns for each message the
    /// error of the queue, or none if the queue took it.
    pub(crate) async fn send(&self, messages: &[(Message, String)]) -> Vec<Option<String>> {
        let entry = |position: &usize| {
            let (message, text) = messages.get(*position)?;
            let entry = SendMessageBatchRequestEntry::builder()
                .id(position.to_string())
                .message_group_id(message.lane())
                .message_deduplication_id(message.deduplication())
                .message_body(text);
            entry.build().ok()
        };
        let send = async |left: &[usize]| {
            let entries = left.iter().filter_map(entry).collect();
            let answer = self.sqs.send_message_batch().queue_url(&self.queue).set_entries(Some(entries)).send().await?;
            let why = |position: &usize| {
                let id = position.to_string();
                if answer.successful().iter().any(|taken| taken.id() == id) {
                    return None;
                }
                let failed = answer.failed().iter().find(|failed| failed.id() == id);
                let why = |failed: &BatchResultErrorEntry| {
                    format!("{}: {}", failed.code(), failed.message().unwrap_or_default())
                };
                Some(failed.map_or_else(|| UNSAID.to_owned(), why))
            };
            Ok(left.iter().map(why).collect())
        };
        self.until_taken(messages.len(), send).await
    }

    /// Sends `count` entries, by their positions. Sends those again that were refused, since a refusal may pass.
    async fn until_taken(
        &self,
        count: usize,
        send: impl AsyncFn(&[usize]) -> Result<Vec<Option<String>>, Cause>,
    ) -> Vec<Option<String>> {
        let mut outcomes = vec![None; count];
        let mut left: Vec<usize> = (0..count).collect();
        let mut backoff = self.ambient.backoff(PAUSE);
        for attempt in 1..=ENTRY_ATTEMPTS {
            let said = send(&left).await;
            // The SDK has already retried a call that failed.
            let is_last = attempt == ENTRY_ATTEMPTS || said.is_err();
            let said = said.unwrap_or_else(|cause| vec![Some(with_causes(&*cause)); left.len()]);
            for (position, why) in left.iter().zip(said) {
                if let Some(outcome) = outcomes.get_mut(*position) {
                    *outcome = why;
                }
            }
            left.retain(|position| matches!(outcomes.get(*position), Some(Some(_))));
            if left.is_empty() || is_last {
                break;
            }
            backoff.pause().await;
        }
        outcomes
    }
}
