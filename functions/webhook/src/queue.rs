//! The queue that messages wait in, as its event source hands them over, and how they are put back.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use serde::{Deserialize, Serialize};
use store::ambient::Ambient;
use store::span::calls::{CallWatch, Service};

/// How long a call to SQS may take, with all its attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// The webhook that it is for.
    #[serde(default)]
    pub message_group_id: String,
}

/// What has to come again.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The messages that were not dealt with. Lambda deletes the others from the queue.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failure>,
}

/// A message that was not dealt with.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its id in the queue.
    #[serde(rename = "itemIdentifier")]
    pub message_id: String,
}

/// The queue itself.
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    /// The queue at `url`, reached as the configuration says.
    pub fn new(config: &SdkConfig, url: String, ambient: Ambient) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build();
        let config = aws_sdk_sqs::config::Builder::from(config)
            .timeout_config(timeouts)
            .interceptor(CallWatch::new(Service::Sqs, ambient))
            .build();
        Self { client: aws_sdk_sqs::Client::from_conf(config), url }
    }

    /// Has up to ten messages, which were handed over and not dealt with, wait for `pause` before they are handed over
    /// again; at most 12 hours. Where that fails they wait for as long as the queue says.
    pub async fn put_back(&self, messages: &[Record], pause: Duration) {
        let seconds = i32::try_from(pause.as_secs()).unwrap_or(i32::MAX);
        let entry = |(position, message): (usize, &Record)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(position.to_string());
            entry.receipt_handle(&message.receipt_handle).visibility_timeout(seconds).build()
        };
        let entries: Result<Vec<_>, _> = messages.iter().enumerate().map(entry).collect();
        let Ok(entries) = entries else { return };
        let changed = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
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
