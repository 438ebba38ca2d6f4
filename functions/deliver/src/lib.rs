//! Delivers the events of a repo to its webhooks, as the [Standard Webhooks](https://www.standardwebhooks.com)
//! specification has it: at least once, in order for each webhook, and again and again as long as it fails.
//!
//! In a deployment two FIFO queues wake it. First attempts come from one in which the messages of an owner are a few groups,
//! which are each worked from by one invocation at a time: so one owner's receivers hold few of them, however many hang. What
//! fails there goes on to another queue, in which the messages for one webhook are a group: as long as the first of them
//! fails the others wait, and no other webhook does. The webhook's item notes that, so that what comes later goes there too, until
//! nothing waits. `musehub serve` keeps a queue of its own and calls [`attempt_once`] too.
//!
//! - [`sender`] makes the request, and makes sure that it goes only to the public internet.
//! - [`queue`] is what SQS hands over and takes back.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod queue;
pub mod sender;

use std::time::Duration;

use common::time;
use common::wire::error::with_causes;
use futures_util::future::join_all;
use http::StatusCode;
use jiff::Timestamp;
use service::BatchResponse;
use store::Store;
use store::ambient::Ambient;
use store::span;
use store::table::items::HookItem;
use store::table::webhooks::Message;
use store::table::webhooks::secret::HookId;

use queue::{Event, Queues, Record, Which};
use sender::Sender;

/// How often a message is tried before it is given up. In a deployment the first is made from `WebhookQueue`, and
/// `WebhookRetries` counts the others, by its `maxReceiveCount` in template.yaml.
pub const ATTEMPTS: u32 = 12;
/// The pause after the first attempt. All twelve take 19 to 24 hours.
pub const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause, but for its jitter. SQS takes 12 hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);
/// A webhook that fails for so long is turned off.
pub const PATIENCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// What a delivery may take: its request, two calls to the table, and one to a queue. With less left it is not begun.
const A_DELIVERY_TAKES: Duration = Duration::from_secs(50);
/// After a delivery that took so long what is behind it for the same webhook waits in the other queue, and the lane goes on.
const QUICK: Duration = Duration::from_secs(3);
/// The longest pause of a lane, which waits only for the table and the other queue. A hundred of them, the `maxReceiveCount` of
/// `WebhookQueue`, are a day.
const LONGEST_IN_A_LANE: Duration = Duration::from_secs(15 * 60);
const UNREADABLE: &str = "it is no message of this version of the hub's";
/// How long further deliveries to one webhook go on in one invocation, so that a receiver which is slow does not hold up the others
/// of its batch, and the invocation, for minutes. Ten messages take five invocations at most, each of which the queue counts.
const A_WEBHOOK_TAKES: Duration = Duration::from_secs(20);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It was delivered, or it is not wanted any more.
    Done,
    /// It has to be tried again, because of this. Nothing of the URL is in it.
    Failed(String),
}

/// Delivers the messages of a batch until `deadline`. What is left waits for the next invocation, and is
/// named to Lambda.
pub async fn handle(
    store: &Store,
    sender: &Sender,
    queues: &Queues,
    event: Event,
    deadline: Timestamp,
) -> BatchResponse {
    let mut lines: Vec<Line> = Vec::new();
    for record in event.records {
        let (which, message) = (queues.which(&record), serde_json::from_str::<Message>(&record.body).ok());
        let hook = message.as_ref().map(|message| message.hook);
        let line = match lines.iter().position(|line| line.which == which && line.hook == hook && hook.is_some()) {
            Some(known) => lines.get_mut(known),
            None => {
                lines.push(Line { which, hook, records: Vec::new(), messages: Vec::new() });
                lines.last_mut()
            }
        };
        if let Some(line) = line {
            line.records.push(record);
            line.messages.extend(message);
        }
    }
    let run = Run { store, sender, queues, deadline };
    let lines = Box::pin(join_all(lines.into_iter().map(|line| run.work(line))));
    let left = span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), lines).await;
    left.into_iter().flatten().collect()
}

/// The messages of a batch for one webhook, in their order; or one that cannot be read, by itself.
struct Line {
    which: Which,
    hook: Option<HookId>,
    records: Vec<Record>,
    /// What the records say. There are none of a record that cannot be read.
    messages: Vec<Message>,
}

/// What an invocation works with.
struct Run<'a> {
    store: &'a Store,
    sender: &'a Sender,
    queues: &'a Queues,
    deadline: Timestamp,
}

impl Run<'_> {
    /// Deals with the messages for one webhook, up to the first that has to come again. Gives the ids of that and of those behind
    /// it, which must not come before it.
    async fn work(&self, line: Line) -> Vec<String> {
        let (done, pause) = match line.which {
            Which::First => self.deliver_first(&line).await,
            Which::Again => self.deliver_again(&line).await,
        };
        let left = line.records.get(done..).unwrap_or_default();
        if !left.is_empty() {
            self.queues.put_back(line.which, left, pause).await;
        }
        left.iter().map(|record| record.message_id.clone()).collect()
    }

    /// Makes first attempts. What fails, and all behind it, is sent on to wait for another in the other queue, so that the lane
    /// of the owner goes on; and so is what is behind a delivery that took long. How many messages are dealt with, and how long
    /// the others wait.
    async fn deliver_first(&self, line: &Line) -> (usize, Duration) {
        let began = self.store.ambient().elapsed();
        let mut waits = false;
        for done in 0..line.records.len() {
            let (Some(record), Some(message)) = (line.records.get(done), line.messages.get(done)) else {
                tracing::warn!(message = line.records.get(done).map(|record| &record.message_id), "{UNREADABLE}");
                return (done, FIRST_PAUSE);
            };
            if self.is_late(record) {
                return (done, Duration::ZERO);
            }
            let Message { hook, .. } = message;
            let outcome = async {
                let Some(item) = wanted(self.store, message).await? else {
                    return Ok(());
                };
                waits |= item.waiting_until.is_some();
                waits |= done > 0 && self.store.ambient().elapsed().saturating_sub(began) >= QUICK;
                if !waits {
                    let since = sent_at(self.store, record);
                    match attempt(self.store, self.sender, message, &item, since).await {
                        Attempt::Done => return Ok(()),
                        Attempt::Failed(reason) => {
                            tracing::warn!(webhook = %hook, attempt = 1, reason, "a delivery failed")
                        }
                    }
                }
                // Noted before it is sent: nothing is to be delivered before it.
                waits = true;
                let noted = self.store.hook_waits(&message.repo, *hook, &message.id).await;
                noted.map_err(|error| with_causes(&error))?;
                self.queues.try_again(record, message).await
            };
            if let Err(reason) = outcome.await {
                let pause = pause(FIRST_PAUSE, received(record), self.store.ambient()).min(LONGEST_IN_A_LANE);
                tracing::warn!(webhook = %hook, reason, again_in = pause.as_secs(), "a message waits in its lane");
                return (done, pause);
            }
        }
        (line.records.len(), Duration::ZERO)
    }

    /// Makes further attempts, up to the first that fails. How many messages are dealt with, and how long the others wait.
    async fn deliver_again(&self, line: &Line) -> (usize, Duration) {
        let began = self.store.ambient().elapsed();
        for (done, record) in line.records.iter().enumerate() {
            let webhook = &record.attributes.message_group_id;
            if done > 0 && self.store.ambient().elapsed().saturating_sub(began) >= A_WEBHOOK_TAKES {
                tracing::info!(webhook, "what is behind waits for another invocation");
                return (done, Duration::ZERO);
            }
            if self.is_late(record) {
                return (done, Duration::ZERO);
            }
            let outcome = match line.messages.get(done) {
                Some(message) => {
                    let attempt = deliver_read(self.store, self.sender, message, sent_at(self.store, record)).await;
                    if attempt == Attempt::Done
                        && let Err(error) =
                            self.store.hook_waits_no_longer(&message.repo, message.hook, &message.id).await
                    {
                        // The next one comes through here too, and is the last then.
                        tracing::warn!(
                            webhook,
                            causes = with_causes(&error),
                            "a webhook seems to have more that waits"
                        );
                    }
                    attempt
                }
                None => Attempt::Failed(UNREADABLE.to_owned()),
            };
            if let Attempt::Failed(reason) = outcome {
                // The first was made in the other queue.
                let attempt = received(record).saturating_add(1);
                let pause = pause(FIRST_PAUSE, attempt, self.store.ambient());
                tracing::warn!(webhook, attempt, reason, again_in = pause.as_secs(), "a delivery failed");
                return (done, pause);
            }
        }
        (line.records.len(), Duration::ZERO)
    }

    fn is_late(&self, record: &Record) -> bool {
        let is_late = time::after(self.store.ambient().now(), A_DELIVERY_TAKES) > self.deadline;
        if is_late {
            tracing::warn!(group = record.attributes.message_group_id, "no time is left for what is behind");
        }
        is_late
    }
}

/// How often a message was handed over.
fn received(record: &Record) -> u32 {
    record.attributes.approximate_receive_count.parse().unwrap_or(1)
}

/// Since when it waits.
fn sent_at(store: &Store, record: &Record) -> Timestamp {
    record.attributes.sent_timestamp.parse().map_or_else(|_| store.ambient().now(), time::of_millis)
}

/// Makes one attempt at a delivery that has waited since a time. It is done
/// without an attempt if it is not wanted any more: because the webhook is gone, turned off, or never asked for such
/// events. An answer of 410, or [`PATIENCE`] without success, turns the webhook off.
pub async fn attempt_once(store: &Store, sender: &Sender, message: &Message, waiting_since: Timestamp) -> Attempt {
    let attempt = deliver_read(store, sender, message, waiting_since);
    span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), attempt).await
}

async fn deliver_read(store: &Store, sender: &Sender, message: &Message, waiting_since: Timestamp) -> Attempt {
    match wanted(store, message).await {
        Ok(Some(item)) => attempt(store, sender, message, &item, waiting_since).await,
        Ok(None) => Attempt::Done,
        Err(reason) => Attempt::Failed(reason),
    }
}

/// The webhook that a message is for, if it is there and wants it.
async fn wanted(store: &Store, message: &Message) -> Result<Option<HookItem>, String> {
    let item = store.hook(&message.repo, message.hook).await.map_err(|error| with_causes(&error))?;
    Ok(item.filter(|item| item.wants(&message.kind)))
}

async fn attempt(
    store: &Store,
    sender: &Sender,
    message: &Message,
    item: &HookItem,
    waiting_since: Timestamp,
) -> Attempt {
    let Message { repo, hook, .. } = message;
    let now = store.ambient().now();
    let (off, failure) = match sender.post(item, message, now).await {
        Ok(status) if status.is_success() => return Attempt::Done,
        Ok(StatusCode::GONE) => (Some("its URL answered 410 Gone"), "answered 410".to_owned()),
        Ok(status) if status.is_redirection() => {
            (None, format!("answered {}, and redirects are not followed", status.as_u16()))
        }
        Ok(status) => (None, format!("answered {}", status.as_u16())),
        Err(reason) => (None, reason),
    };
    let has_waited = time::between(waiting_since, now);
    let Some(off) = off.or((has_waited > PATIENCE).then_some("its deliveries failed for three days")) else {
        return Attempt::Failed(failure);
    };
    match store.turn_hook_off(repo, *hook, off).await {
        Ok(()) => {
            tracing::warn!(%repo, webhook = %hook, failure, off, "a webhook was turned off");
            Attempt::Done
        }
        Err(error) => Attempt::Failed(with_causes(&error)),
    }
}

/// How long to wait after an attempt, the first of which has the number 1: `first`, then three times as long each time up to
/// four hours, and up to a quarter more, so that what failed together does not come again together.
pub fn pause(first: Duration, attempt: u32, ambient: &Ambient) -> Duration {
    let longer = 3_u32.saturating_pow(attempt.saturating_sub(1));
    let pause = first.saturating_mul(longer).min(LONGEST_PAUSE);
    pause + ambient.jitter(pause / 4)
}
