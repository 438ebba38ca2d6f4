//! The queues that messages wait in, as their event sources hand them over, and how they are put back.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use serde::Deserialize;
use store::ambient::Ambient;
use store::span::calls::{CallInterceptor, Service};
use store::table::webhooks::Message;

/// How long an attempt at a call to SQS may take, and the call with all its attempts.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));

/// A batch of a queue.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The messages. Those of one group are in order.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// A message of the queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its id in the queue.
    pub message_id: String,
    /// What it is put back by.
    pub receipt_handle: String,
    /// A [`store::table::webhooks::Message`] as JSON.
    pub body: String,
    /// The queue that it came from.
    #[serde(rename = "eventSourceARN")]
    pub event_source_arn: String,
    /// What the queue knows of it.
    pub attributes: Attributes,
}

/// What the queue knows of a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attributes {
    /// How often it was handed over, this time included: a number.
    pub approximate_receive_count: String,
    /// When it came into the queue: milliseconds since the Unix epoch.
    pub sent_timestamp: String,
    /// [`Message::lane`], or [`Message::hook_group`] of a further attempt.
    #[serde(default)]
    pub message_group_id: String,
}

/// The queues themselves.
pub struct Queues {
    client: aws_sdk_sqs::Client,
    first: String,
    again: String,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That of first attempts, in which an owner has a few lanes.
    First,
    /// That of further ones, in which each webhook waits for itself.
    Again,
}

impl Queues {
    /// The queues at these two URLs, reached as the configuration says: that of first attempts, and that of further ones.
    pub fn new(config: &SdkConfig, first: String, again: String, ambient: Ambient) -> Self {
        let timeouts = store::aws::timeouts(TIMEOUTS);
        let config = aws_sdk_sqs::config::Builder::from(config)
            .timeout_config(timeouts)
            .interceptor(CallInterceptor::new(Service::Sqs, ambient))
            .build();
        Self { client: aws_sdk_sqs::Client::from_conf(config), first, again }
    }

    /// Which queue a message came from. Both an ARN and a URL end with the queue's name.
    pub(crate) fn which(&self, record: &Record) -> Which {
        let name = record.event_source_arn.rsplit(':').next();
        if name == self.again.rsplit('/').next() { Which::Again } else { Which::First }
    }

    /// Sends a message to wait for a further attempt.
    ///
    /// # Errors
    /// When the queue does not take it.
    pub(crate) async fn try_again(&self, record: &Record, message: &Message) -> Result<(), String> {
        let sent = self
            .client
            .send_message()
            .queue_url(&self.again)
            .message_group_id(message.hook_group())
            .message_deduplication_id(message.deduplication())
            .message_body(&record.body);
        sent.send().await.map(drop).map_err(|error| DisplayErrorContext(error).to_string())
    }

    /// Has up to ten messages, which one queue handed over and were not dealt with, wait for `pause` before they are handed over
    /// again; at most 12 hours. Where that fails they wait for as long as the queue says.
    pub(crate) async fn put_back(&self, which: Which, messages: &[Record], pause: Duration) {
        let url = match which {
            Which::First => &self.first,
            Which::Again => &self.again,
        };
        let seconds = i32::try_from(pause.as_secs()).unwrap_or(i32::MAX);
        let entry = |(position, message): (usize, &Record)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(position.to_string());
            entry.receipt_handle(&message.receipt_handle).visibility_timeout(seconds).build()
        };
        let entries: Result<Vec<_>, _> = messages.iter().enumerate().map(entry).collect();
        let Ok(entries) = entries else { return };
        let changed = self.client.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
        match changed.send().await {
            Ok(changed) => {
                for failed in changed.failed() {
                    tracing::warn!(code = failed.code(), "a message waits for as long as the queue says");
                }
            }
            Err(error) => {
                let causes = DisplayErrorContext(error).to_string();
                tracing::warn!(causes, "messages wait for as long as the queue says");
            }
        }
    }
}
