//! Publishes what happens in repos. The table's stream wakes it, for a line of a push log, a tag, a release, a new
//! repo, and a change of one. Each becomes an event on the bus, and a message for each webhook of the repo in the queue that those are
//! delivered from. `docs/events.md` says what is in it.
//!
//! No event of a repo is published before all earlier ones were. If one is refused, those behind it wait, and only
//! those of the same repo. The change is named to Lambda, which sends it again with everything behind it. So an event
//! may be published again, with the same id. A change that fails for good is a dead letter, for which `musehub replay`
//! calls this function.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod publishers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use common::id::RepoId;
use common::time;
use common::wire::error::with_causes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use service::BatchResponse;
use service::item_stream::{Batch, Record};
use store::Store;
use store::span;
use store::table::events::{Event, SEQUENCE_LENGTH, StoredEvent};
use store::table::items::{CHANGE_PREFIX, HookItem, LOG_PREFIX, META, MetaItem, RELEASE_PREFIX, TAG_PREFIX, repo_of};
use store::table::webhooks::Message;
use store::table::webhooks::secret::HookId;
use ulid::Ulid;

pub use publishers::{Publishers, SOURCE};

/// What a round of calls may take. With less left none is begun. A service that answers as slowly as it may
/// takes three calls of 12 seconds for each entry; ten repos have at most 40 calls for their webhooks.
const A_ROUND_TAKES: Duration = Duration::from_secs(150);
/// Calls to the queue at the same time.
const PARALLEL_CALLS: usize = 16;
/// Repos that are looked up at the same time.
const PARALLEL_READS: usize = 8;
/// An item that was written this much later than its id was drawn is a copy, such as a restored
/// backup makes. Its event was published when it happened. No request takes a tenth of this.
const LATE: Duration = Duration::from_secs(60 * 60);
/// A webhook whose id was drawn this much later than that of an event was made after it and does not
/// get it. A smaller difference may be that of two clocks, or of an event's id and its item.
const MADE_LATER: Duration = Duration::from_secs(60);

/// Publishes the events of a batch of changes, until `deadline`.
pub async fn handle(store: &Store, publishers: &Publishers, batch: Batch, deadline: Timestamp) -> BatchResponse {
    let run = Box::pin(publish(store, publishers, batch, deadline));
    span::run_as(env!("CARGO_PKG_NAME"), store.ambient(), run).await
}

/// Whether a change is one that this function is woken for: the filters of its event source say the same.
pub fn is_published(record: &Record) -> bool {
    let (name, key) = (record.event_name.as_str(), record.sk());
    repo_of(record.pk()).is_some()
        && match name {
            "INSERT" => {
                key == META
                    || [LOG_PREFIX, CHANGE_PREFIX, TAG_PREFIX, RELEASE_PREFIX]
                        .iter()
                        .any(|prefix| key.starts_with(prefix))
            }
            "MODIFY" => key.starts_with(TAG_PREFIX),
            _ => false,
        }
}

/// The kind of the events that pushes cause.
const EVENT_OF_A_PUSH: &str = "RefUpdated";

/// A change on its way.
struct Change {
    /// Its place in the batch.
    position: usize,
    sequence_number: String,
    record: Record,
}

/// What is to be published of one repo, oldest first.
struct Queue {
    repo: RepoId,
    changes: VecDeque<Change>,
    known: Option<Known>,
}

/// What has to be known of a repo.
struct Known {
    meta: MetaItem,
    hooks: Vec<(HookId, HookItem)>,
}

/// An event that is to be published now.
struct Next {
    /// The place of its queue.
    queue: usize,
    event: Event,
    detail: String,
}

async fn publish(store: &Store, publishers: &Publishers, batch: Batch, deadline: Timestamp) -> BatchResponse {
    let mut queues = queues(batch);
    let mut failed: Vec<(usize, String)> = Vec::new();
    look_up(store, &mut queues, &mut failed).await;
    let mut published = 0;
    let mut pushed: BTreeMap<usize, Timestamp> = BTreeMap::new();
    loop {
        let round = next_round(&mut queues, &mut failed);
        if round.is_empty() {
            break;
        }
        if time::after(store.ambient().now(), A_ROUND_TAKES) > deadline {
            tracing::warn!("no time is left for the rest of the batch");
            queues.iter_mut().for_each(|queue| stop(queue, &mut failed));
            break;
        }
        let known = |queue: usize| queues.get(queue).and_then(|queue: &Queue| queue.known.as_ref());
        let why_not = round_of(publishers, &round, &known).await;
        for (next, why_not) in round.iter().zip(why_not) {
            match why_not {
                None => {
                    published += 1;
                    if let (EVENT_OF_A_PUSH, Ok(at)) = (next.event.kind(), next.event.time.parse()) {
                        pushed.insert(next.queue, at);
                    }
                    if let Some(queue) = queues.get_mut(next.queue) {
                        queue.changes.pop_front();
                    }
                }
                Some(why) => {
                    let Event { id, repo, .. } = &next.event;
                    tracing::error!(repo = %repo.id, event = id, why, "an event was not published");
                    queues.get_mut(next.queue).into_iter().for_each(|queue| stop(queue, &mut failed));
                }
            }
        }
    }
    for (queue, at) in pushed {
        list(store, queues.get(queue), at).await;
    }
    tracing::info!(published, failed = failed.len(), "events");
    failed.sort();
    failed.into_iter().map(|(_, sequence_number)| sequence_number).collect()
}

/// Notes for the list of public repos that one was pushed to. The list is a hint: the next push mends what fails.
async fn list(store: &Store, queue: Option<&Queue>, at: Timestamp) {
    let Some(Queue { repo, known: Some(known), .. }) = queue else {
        return;
    };
    if let Err(error) = store.list_as_pushed(repo, &known.meta, at).await {
        tracing::error!(%repo, causes = with_causes(&error), "a push was not noted for the list of public repositories");
    }
}

/// The changes of a batch, repo by repo.
fn queues(batch: Batch) -> Vec<Queue> {
    let mut queues: Vec<Queue> = Vec::new();
    for (position, record) in batch.records.into_iter().enumerate() {
        let Some(repo) = repo_of(record.pk()).filter(|_| is_published(&record)) else {
            continue;
        };
        let change = Change { position, sequence_number: record.sequence_number().to_owned(), record };
        // A batch has a hundred changes.
        match queues.iter_mut().find(|queue| queue.repo == repo) {
            Some(queue) => queue.changes.push_back(change),
            None => queues.push(Queue { repo, changes: VecDeque::from([change]), known: None }),
        }
    }
    queues
}

/// Reads the name and the webhooks of each repo. There is nothing to publish of a repo that is gone.
async fn look_up(store: &Store, queues: &mut [Queue], failed: &mut Vec<(usize, String)>) {
    let read = async |repo: RepoId| {
        let (meta, hooks) = tokio::try_join!(store.known_by(&repo), store.hooks(&repo))?;
        Ok::<_, store::StoreError>(meta.map(|meta| Known { meta, hooks }))
    };
    let repos: Vec<RepoId> = queues.iter().map(|queue| queue.repo.clone()).collect();
    let found: Vec<_> = stream::iter(repos).map(read).buffered(PARALLEL_READS).collect().await;
    for (queue, found) in queues.iter_mut().zip(found) {
        match found {
            Ok(known) => {
                if known.is_none() {
                    tracing::info!(repo = %queue.repo, "nothing is published of a repo that is gone");
                    queue.changes.clear();
                }
                queue.known = known;
            }
            Err(error) => {
                tracing::error!(repo = %queue.repo, causes = with_causes(&error), "a repo was not looked up");
                stop(queue, failed);
            }
        }
    }
}

/// No more events of a repo are published in this run, from its first change on.
fn stop(queue: &mut Queue, failed: &mut Vec<(usize, String)>) {
    if let Some(first) = queue.changes.pop_front() {
        failed.push((first.position, first.sequence_number));
    }
    queue.changes.clear();
}

/// The next event of each of some repos, as many as one call takes. There are never two of one repo: the second might
/// be taken and the first refused. Changes that are not events are dropped on the way.
fn next_round(queues: &mut [Queue], failed: &mut Vec<(usize, String)>) -> Vec<Next> {
    let mut round: Vec<Next> = Vec::new();
    let mut bytes = 0;
    for (position, queue) in queues.iter_mut().enumerate() {
        if round.len() == publishers::ENTRIES {
            break;
        }
        match next_event(queue) {
            Ok(Some((event, detail))) => {
                bytes += detail.len();
                if bytes > publishers::BYTES && !round.is_empty() {
                    break;
                }
                round.push(Next { queue: position, event, detail });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(repo = %queue.repo, causes = with_causes(&error), "a change could not be read");
                stop(queue, failed);
            }
        }
    }
    round
}

/// The first event that waits of a repo, and its JSON.
fn next_event(queue: &mut Queue) -> Result<Option<(Event, String)>, store::StoreError> {
    let Some(known) = &queue.known else {
        return Ok(None);
    };
    while let Some(Change { record, sequence_number, .. }) = queue.changes.front() {
        let event = record.clone().into_item().map(StoredEvent::of).transpose()?.flatten();
        if let Some(event) = event.filter(|event| !is_late(record, event)) {
            let event = event.event(&known.meta, format!("{sequence_number:0>SEQUENCE_LENGTH$}"));
            let detail = json(&event)?;
            return Ok(Some((event, detail)));
        }
        queue.changes.pop_front();
    }
    Ok(None)
}

fn is_late(record: &Record, event: &StoredEvent) -> bool {
    record.written_at().is_some_and(|written| time::between(time::drawn(event.id), written) > LATE)
}

/// JSON that both services take: SQS refuses text with these two characters, and they can only be within strings.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn json(value: &impl serde::Serialize) -> Result<String, store::StoreError> {
    let text = serde_json::to_string(value).map_err(|error| store::StoreError::Damaged(error.to_string()))?;
    Ok(text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"))
}

/// A call to the queue: messages with their JSON, and for each the event of the round.
type Call = (Vec<usize>, Vec<(Message, String)>);

/// Publishes events of different repos. Returns for each event why it was refused; none if it was not.
async fn round_of<'k>(
    publishers: &Publishers,
    round: &[Next],
    known: &impl Fn(usize) -> Option<&'k Known>,
) -> Vec<Option<String>> {
    let events: Vec<(&Event, String)> = round.iter().map(|next| (&next.event, next.detail.clone())).collect();
    let mut why_not = publishers.publish(&events).await;
    let mut messages: VecDeque<(usize, (Message, String))> = VecDeque::new();
    for (position, (next, why_not)) in round.iter().zip(&mut why_not).enumerate() {
        if why_not.is_some() {
            continue;
        }
        match messages_for(next, known(next.queue)) {
            Ok(made) => messages.extend(made.into_iter().map(|message| (position, message))),
            Err(error) => *why_not = Some(with_causes(&error)),
        }
    }
    let mut calls: Vec<Call> = Vec::new();
    while !messages.is_empty() {
        let mut bytes = 0;
        let fitting = messages.iter().take(publishers::ENTRIES).take_while(|(_, (_, text))| {
            bytes += text.len();
            bytes <= publishers::BYTES
        });
        // A message by itself is far smaller.
        let count = fitting.count().max(1);
        calls.push(messages.drain(..count).unzip());
    }
    // No two messages of a round are for one webhook, so that none can overtake another.
    let send = async |(positions, call): Call| (positions, publishers.send(&call).await);
    let sent: Vec<_> = stream::iter(calls).map(send).buffered(PARALLEL_CALLS).collect().await;
    for (position, refused) in sent.into_iter().flat_map(|(positions, refused)| positions.into_iter().zip(refused)) {
        if let (Some(refused), Some(why_not)) = (refused, why_not.get_mut(position)) {
            *why_not = Some(refused);
        }
    }
    why_not
}

/// A message for each webhook of the repo that is active, wants the event, and was there when it happened.
fn messages_for(next: &Next, known: Option<&Known>) -> Result<Vec<(Message, String)>, store::StoreError> {
    let hooks = known.map(|known| known.hooks.as_slice()).unwrap_or_default();
    let message = |(hook, _): &(HookId, HookItem)| {
        let message = Message {
            repo: next.event.repo.id.clone(),
            owner: next.event.repo.owner.clone(),
            hook: *hook,
            id: next.event.id.clone(),
            kind: next.event.kind().to_owned(),
            body: next.detail.clone(),
        };
        let text = json(&message)?;
        Ok((message, text))
    };
    let drawn = next.event.id.parse::<Ulid>().map_or(Timestamp::MAX, time::drawn);
    let was_there = |id: HookId| time::drawn(id) <= time::after(drawn, MADE_LATER);
    let is_meant = |(id, hook): &&(HookId, HookItem)| hook.wants(next.event.kind()) && was_there(*id);
    hooks.iter().filter(is_meant).map(message).collect()
}
