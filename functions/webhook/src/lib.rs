//! Delivers the events of a repo to its webhooks, as the [Standard Webhooks](https://www.standardwebhooks.com)
//! specification has it: at least once, in order for each webhook, and again and again as long as it fails.
//!
//! In a deployment a FIFO queue wakes it, in which the messages for one webhook are a group. As long as the first of a
//! group fails the others of that group wait, and no other messages do. `musehub serve` keeps a queue of its own and
//! calls [`deliver`] too.
//!
//! - [`sender`] makes the request, and makes sure that it goes only to the public internet.
//! - [`queue`] is what SQS hands over and takes back.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod queue;
pub mod sender;

use std::time::Duration;

use common::wire::error::with_causes;
use futures_util::future::join_all;
use http::StatusCode;
use store::Store;
use store::ambient::Ambient;
use store::span;
use store::table::webhooks::Message;

use queue::{Answer, Event, Failure, Queue, Record};
use sender::Sender;

/// How often a message is tried before it is given up. In a deployment the queue counts, by the `maxReceiveCount` of
/// `WebhookQueue` in template.yaml.
pub const ATTEMPTS: u32 = 12;
/// The pause after the first attempt. All twelve take 19 to 24 hours.
pub const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause, but for its jitter. SQS takes 12 hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);
/// A webhook that fails for so long is turned off.
pub const PATIENCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// What a delivery may take, in milliseconds: its request, and two calls to the table. With less left it is not begun.
const A_DELIVERY_TAKES: u64 = 35_000;
/// How long the deliveries to one webhook go on in one invocation, so that a receiver which is slow does not hold up the others
/// of its batch, and the invocation, for minutes. Ten messages take five turns at most, each of which the queue counts.
const A_TURN: Duration = Duration::from_secs(20);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It was delivered, or it is not wanted any more.
    Done,
    /// It has to be tried again, because of this. Nothing of the URL is in it.
    Failed(String),
}

/// Delivers the messages of a batch until `deadline`, in milliseconds since the Unix epoch. What is left waits for its next
/// turn, and is named to Lambda.
pub async fn handle(store: &Store, sender: &Sender, queue: &Queue, event: Event, deadline: u64) -> Answer {
    let mut groups: Vec<Vec<Record>> = Vec::new();
    for record in event.records {
        let is_of = |group: &&mut Vec<Record>| {
            let first = group.first();
            first.is_some_and(|first| first.attributes.message_group_id == record.attributes.message_group_id)
        };
        match groups.iter_mut().find(is_of) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    let groups = groups.into_iter().map(|group| deliver_in_order(store, sender, queue, group, deadline));
    let groups = Box::pin(join_all(groups));
    let left = span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), groups).await;
    Answer { failures: left.into_iter().flatten().map(|message_id| Failure { message_id }).collect() }
}

/// Delivers the messages of one webhook, up to the first that fails. Returns the ids of that and of those behind it,
/// which must not come before it.
async fn deliver_in_order(
    store: &Store,
    sender: &Sender,
    queue: &Queue,
    group: Vec<Record>,
    deadline: u64,
) -> Vec<String> {
    let mut done = 0;
    let began = store.ambient().elapsed();
    for record in &group {
        if done > 0 && store.ambient().elapsed().saturating_sub(began) >= A_TURN {
            tracing::info!(webhook = record.attributes.message_group_id, "what is behind waits for another turn");
            queue.put_back(group.get(done..).unwrap_or_default(), Duration::ZERO).await;
            break;
        }
        if store.ambient().now_ms().saturating_add(A_DELIVERY_TAKES) > deadline {
            tracing::warn!(webhook = record.attributes.message_group_id, "no time is left for what is behind");
            queue.put_back(group.get(done..).unwrap_or_default(), Duration::ZERO).await;
            break;
        }
        if let Attempt::Failed(reason) = deliver_record(store, sender, record).await {
            let attempt = record.attributes.approximate_receive_count.parse().unwrap_or(1);
            let pause = pause(FIRST_PAUSE, attempt, store.ambient());
            let webhook = &record.attributes.message_group_id;
            tracing::warn!(webhook, attempt, reason, again_in = pause.as_secs(), "a delivery failed");
            queue.put_back(group.get(done..).unwrap_or_default(), pause).await;
            break;
        }
        done += 1;
    }
    group.into_iter().skip(done).map(|record| record.message_id).collect()
}

async fn deliver_record(store: &Store, sender: &Sender, record: &Record) -> Attempt {
    let Ok(message) = serde_json::from_str::<Message>(&record.body) else {
        return Attempt::Failed("it is no message of this version of the hub's".to_owned());
    };
    let now = store.ambient().now_ms();
    attempt(store, sender, &message, record.attributes.sent_timestamp.parse().unwrap_or(now)).await
}

/// Makes one attempt at a delivery that has waited since a time, in milliseconds after the Unix epoch. It is done
/// without an attempt if it is not wanted any more: because the webhook is gone, turned off, or never asked for such
/// events. An answer of 410, or [`PATIENCE`] without success, turns the webhook off.
pub async fn deliver(store: &Store, sender: &Sender, message: &Message, waiting_since: u64) -> Attempt {
    let attempt = attempt(store, sender, message, waiting_since);
    span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), attempt).await
}

async fn attempt(store: &Store, sender: &Sender, message: &Message, waiting_since: u64) -> Attempt {
    let Message { repo, hook, .. } = message;
    let item = match store.hook(repo, *hook).await {
        Ok(item) => item,
        Err(error) => return Attempt::Failed(with_causes(&error)),
    };
    let Some(item) = item.filter(|item| item.wants(&message.kind)) else {
        return Attempt::Done;
    };
    let now = store.ambient().now_ms();
    let (off, failure) = match sender.post(&item, message, now).await {
        Ok(status) if status.is_success() => return Attempt::Done,
        Ok(StatusCode::GONE) => (Some("its URL answered 410 Gone"), "answered 410".to_owned()),
        Ok(status) if status.is_redirection() => {
            (None, format!("answered {}, and redirects are not followed", status.as_u16()))
        }
        Ok(status) => (None, format!("answered {}", status.as_u16())),
        Err(reason) => (None, reason),
    };
    let has_waited = Duration::from_millis(now.saturating_sub(waiting_since));
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
