//! What the function `events`, a queue and the function `deliver` do in a deployment: each event of a repo is delivered
//! to its webhooks, in order for each, and at least once, also if the hub is stopped or killed in between.
//!
//! Events are taken from [`Store::published`] into a line of messages for each webhook. The lines are bounded. What has
//! no room in one is read from the table again when the line is at its end, and so is an event that could not be taken
//! because something of the repo could not be read. For each webhook the table keeps which events were done last
//! ([`DeliveryCursorItem`]), so that after a start the rest is found there.
//!
//! Deliveries are made a few at a time, and one owner has a share of them. So receivers that do not answer hold up only
//! their owner's other webhooks.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::id::RepoId;
use common::time;
use common::wire::error::with_causes;
use deliver::sender::Sender;
use deliver::{ATTEMPTS, Attempt};
use jiff::Timestamp;
use store::Store;
use store::table::events::StoredEvent;
use store::table::items::{DeliveryCursorItem, HookItem};
use store::table::webhooks::Message;
use store::table::webhooks::secret::HookId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use ulid::Ulid;

use store::permits::Permits;

/// How often all webhooks are gone through, for what may have been missed while the table did not answer.
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Deliveries under way at the same time, and those of one owner.
const PARALLEL_DELIVERIES: usize = 32;
const OF_AN_OWNER: usize = 8;
/// Webhooks for which the table is read at the same time.
const PARALLEL_READS: usize = 32;
/// Events taken at once.
const MAX_TAKEN: usize = 256;
/// Messages that wait for one webhook, and for all together. One has some 600 bytes.
const MAX_IN_LINE: usize = 1_000;
const MAX_WAITING: usize = 20_000;
/// Events that are read from the table at once.
const PAGE: usize = 500;
/// How long before an event is in the table its id may have been drawn: [`Store::events_since`].
const LATE: Duration = Duration::from_secs(10 * 60);
/// The ids of events that are remembered as done: all tags of one request and some more, in an item of 330 KB, of the
/// 400 KB that one may have. If a webhook gets more between two readings of the table, or within [`LATE`] before one,
/// the oldest are delivered again at the next, and then no more.
const MAX_DONE: usize = 12_000;
/// How far ahead of the clock a time may be that was taken from it, as clocks are set now and then. What is further
/// ahead is of a clock that was wrong. [`LATE`] has more to spare.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// How far back is gone for what a wrong clock may have hidden.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often it is noted in the table what was done.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Delivers until it is stopped. What is under way then is left, and made again after the next start.
pub(crate) async fn run(
    store: Arc<Store>,
    sender: Sender,
    first_pause: Duration,
    mut published: Receiver<StoredEvent>,
    stopped: watch::Receiver<bool>,
) {
    let permits = Permits::new(PARALLEL_DELIVERIES, OF_AN_OWNER);
    let reads = Semaphore::new(PARALLEL_READS);
    let mut asked_to_stop = stopped.clone();
    let post = Arc::new(Post { store, sender, first_pause, stopped, permits, reads, waiting: Mutex::default() });
    let mut workers = JoinSet::new();
    let mut interval = tokio::time::interval(INTERVAL);
    let work = async {
        loop {
            tokio::select! {
                // First of all, for what happened before the start.
                biased;
                _ = interval.tick() => post.catch_up_all(&mut workers).await,
                taken = take(&mut published) => match taken {
                    Some(taken) => post.publish(taken, &mut workers).await,
                    None => post.catch_up_all(&mut workers).await,
                },
            }
            while workers.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = work => {}
        _ = asked_to_stop.wait_for(|stopped| *stopped) => {}
    }
    while workers.join_next().await.is_some() {}
}

/// The next events, some at once; none when some were missed.
async fn take(published: &mut Receiver<StoredEvent>) -> Option<Vec<StoredEvent>> {
    let mut taken = match published.recv().await {
        Ok(event) => vec![event],
        Err(RecvError::Lagged(_)) => return None,
        // Nothing can happen without the store, and this receiver keeps it.
        Err(RecvError::Closed) => std::future::pending().await,
    };
    while taken.len() < MAX_TAKEN {
        match published.try_recv() {
            Ok(event) => taken.push(event),
            // It is met again by the next who receives.
            Err(TryRecvError::Lagged(_)) => return None,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    Some(taken)
}

/// A webhook of a repo.
type Address = (RepoId, HookId);

struct Post {
    store: Arc<Store>,
    sender: Sender,
    first_pause: Duration,
    stopped: watch::Receiver<bool>,
    /// By the ids of owners.
    permits: Arc<Permits<String>>,
    reads: Semaphore,
    waiting: Mutex<Waiting>,
}

/// What waits to be delivered.
#[derive(Default)]
struct Waiting {
    /// For each webhook that has a worker.
    lines: HashMap<Address, Line>,
    count: usize,
}

/// What waits for one webhook.
#[derive(Default)]
struct Line {
    messages: VecDeque<Message>,
    /// Whether there is more in the table, all of which comes after what is in the line.
    is_behind: bool,
}

/// What a worker does next.
enum Next {
    Deliver(Message),
    CatchUp,
    Rest,
}

/// The hub is being stopped.
struct Stopped;

impl Post {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every webhook looked at for what the table has and was not delivered.
    async fn catch_up_all(self: &Arc<Self>, workers: &mut JoinSet<()>) {
        loop {
            match self.store.all_hooks().await {
                Ok(hooks) => {
                    hooks.into_iter().for_each(|address| self.put_in_line(address, None, workers));
                    return;
                }
                Err(error) => {
                    tracing::error!(causes = with_causes(&error), "it is not known which webhooks there are");
                    tokio::time::sleep(self.first_pause).await;
                }
            }
        }
    }

    /// Puts events into the lines of the webhooks that want it.
    async fn publish(self: &Arc<Self>, published: Vec<StoredEvent>, workers: &mut JoinSet<()>) {
        let mut of_repo: HashMap<RepoId, Vec<StoredEvent>> = HashMap::new();
        for event in published {
            of_repo.entry(event.repo.clone()).or_default().push(event);
        }
        for (repo, events) in of_repo {
            while let Err(error) = self.publish_in(&repo, &events, workers).await {
                tracing::error!(%repo, causes = with_causes(&error), "events were not delivered to webhooks");
                // What cannot be read now may be repaired. Until then each webhook waits by itself, and no other repo does.
                if !matches!(error, store::StoreError::Unavailable(_))
                    && let Ok(hooks) = self.store.hook_ids(&repo).await
                {
                    hooks.into_iter().for_each(|hook| self.put_in_line((repo.clone(), hook), None, workers));
                    break;
                }
                // Nothing may come before it, and for other webhooks it would fail too.
                tokio::time::sleep(self.first_pause).await;
            }
        }
    }

    async fn publish_in(
        self: &Arc<Self>,
        repo: &RepoId,
        events: &[StoredEvent],
        workers: &mut JoinSet<()>,
    ) -> Result<(), store::StoreError> {
        let hooks = self.store.hooks(repo).await?;
        let is_wanted = |(_, hook): &&(HookId, HookItem)| events.iter().any(|event| hook.wants(event.details.kind()));
        let wanting: Vec<HookId> = hooks.iter().filter(is_wanted).map(|(id, _)| *id).collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let Some(meta) = self.store.known_by(repo).await? else {
            return Ok(());
        };
        for event in events {
            let event = event.clone().numbered_by_id(&meta);
            for hook in &wanting {
                if let Ok(message) = Message::new(*hook, &event) {
                    self.put_in_line((repo.clone(), *hook), Some(message), workers);
                }
            }
        }
        Ok(())
    }

    /// Puts a message into its line, or has the table read when the line is at its end.
    fn put_in_line(self: &Arc<Self>, address: Address, message: Option<Message>, workers: &mut JoinSet<()>) {
        let mut waiting = self.waiting();
        let Waiting { lines, count } = &mut *waiting;
        let line = lines.entry(address.clone()).or_insert_with(|| {
            let post = Arc::clone(self);
            workers.spawn(async move { post.work(address).await });
            Line::default()
        });
        match message.filter(|_| !line.is_behind && line.messages.len() < MAX_IN_LINE && *count < MAX_WAITING) {
            Some(message) => {
                line.messages.push_back(message);
                *count += 1;
            }
            None => line.is_behind = true,
        }
    }

    /// What to do next for a webhook. When there is nothing and the worker `may_leave`, its line is gone.
    fn next(&self, address: &Address, may_leave: bool) -> Next {
        let mut waiting = self.waiting();
        let Waiting { lines, count } = &mut *waiting;
        let Some(line) = lines.get_mut(address) else {
            return Next::Rest;
        };
        if let Some(message) = line.messages.pop_front() {
            *count = count.saturating_sub(1);
            return Next::Deliver(message);
        }
        if std::mem::take(&mut line.is_behind) {
            return Next::CatchUp;
        }
        if may_leave {
            lines.remove(address);
        }
        Next::Rest
    }

    /// Delivers to one webhook, until nothing waits for it.
    async fn work(&self, address: Address) {
        let Ok(meta) = self.patiently(&address, || self.store.known_by(&address.0)).await else {
            return;
        };
        // Of a repo that is gone nothing is delivered.
        let owner = meta.map_or_else(|| address.0.to_string(), |meta| meta.owner_user_id);
        let Ok(delivery_cursor) = self.patiently(&address, || self.store.delivery_cursor(&address.0, address.1)).await
        else {
            return;
        };
        let mut progress = Progress::new(address.1, owner, delivery_cursor, self.store.ambient().now());
        loop {
            let done = match self.next(&address, progress.is_noted) {
                Next::Deliver(message) => self.deliver(message, &mut progress).await,
                Next::CatchUp => self.catch_up(&address, &mut progress).await,
                Next::Rest if progress.is_noted => return,
                Next::Rest => {
                    self.note(&address, &mut progress).await;
                    Ok(())
                }
            };
            if done.is_err() {
                self.note(&address, &mut progress).await;
                return;
            }
            if self.store.ambient().elapsed().saturating_sub(progress.noted_at) >= NOTED_EVERY {
                self.note(&address, &mut progress).await;
            }
        }
    }

    /// Delivers what the table has and was not done.
    async fn catch_up(&self, address: &Address, progress: &mut Progress) -> Result<(), Stopped> {
        let (repo, hook) = address;
        let began = self.store.ambient().now();
        let mut since = progress.since(began);
        loop {
            let page = self.patiently(address, || self.store.events_since(repo, since, PAGE)).await?;
            let last = page.last().and_then(|event| event.id.parse::<Ulid>().ok()).filter(|_| page.len() >= PAGE);
            for event in &page {
                if let Ok(message) = Message::new(*hook, event) {
                    self.deliver(message, progress).await?;
                }
                progress.caught_up(time_of(&event.id), self.store.ambient().now());
                if self.store.ambient().elapsed().saturating_sub(progress.noted_at) >= NOTED_EVERY {
                    self.note(address, progress).await;
                }
            }
            match last.and_then(|last| u128::from(last).checked_add(1)) {
                Some(next) => since = next.into(),
                None => {
                    progress.caught_up(began, self.store.ambient().now());
                    return Ok(());
                }
            }
        }
    }

    /// Delivers one message, however long that takes, or gives it up.
    async fn deliver(&self, message: Message, progress: &mut Progress) -> Result<(), Stopped> {
        if progress.has(&message.id) {
            return Ok(());
        }
        let ambient = self.store.ambient();
        for attempt in 1..=ATTEMPTS {
            let failing_since = progress.failing_since.unwrap_or_else(|| ambient.now());
            let deliver = async {
                let _permit = self.permits.take(progress.owner.clone()).await;
                deliver::attempt_once(&self.store, &self.sender, &message, failing_since).await
            };
            let mut stopped = self.stopped.clone();
            let attempted = tokio::select! {
                attempted = deliver => attempted,
                _ = stopped.wait_for(|stopped| *stopped) => return Err(Stopped),
            };
            let Attempt::Failed(reason) = attempted else {
                progress.failing_since = None;
                break;
            };
            progress.failing_since = Some(failing_since);
            let Message { repo, hook, id, .. } = &message;
            if attempt == ATTEMPTS {
                tracing::error!(%repo, webhook = %hook, event = id, reason, "a delivery was given up");
            } else {
                let pause = deliver::pause(self.first_pause, attempt, ambient);
                tracing::warn!(%repo, webhook = %hook, event = id, attempt, reason, again_in = ?pause, "a delivery failed");
                self.rest(pause).await?;
            }
        }
        progress.done(message.id);
        Ok(())
    }

    /// Reads something of the table for a webhook, however long the table is away, or what it has cannot be read. Meanwhile the
    /// messages stay in their line.
    async fn patiently<T, F>(&self, (repo, hook): &Address, read: impl Fn() -> F) -> Result<T, Stopped>
    where
        F: Future<Output = Result<T, store::StoreError>>,
    {
        let mut unreadable = 0;
        loop {
            let outcome = async {
                let _permit = self.reads.acquire().await;
                read().await
            };
            let error = match outcome.await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            tracing::error!(%repo, webhook = %hook, causes = with_causes(&error), "a webhook waits for the table");
            let pause = if matches!(error, store::StoreError::Unavailable(_)) {
                self.first_pause
            } else {
                // An operator has to repair it, and then it is not to take too long.
                unreadable += 1;
                deliver::pause(self.first_pause, unreadable, self.store.ambient()).min(INTERVAL)
            };
            self.rest(pause).await?;
        }
    }

    async fn rest(&self, pause: Duration) -> Result<(), Stopped> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            _ = stopped.wait_for(|stopped| *stopped) => Err(Stopped),
        }
    }

    /// Notes in the table what was done, unless the webhook is gone. Where that fails some of it will be delivered again
    /// after a restart.
    async fn note(&self, (repo, hook): &Address, progress: &mut Progress) {
        progress.noted_at = self.store.ambient().elapsed();
        if std::mem::replace(&mut progress.is_noted, true) {
            return;
        }
        let noted = async {
            if self.store.hook(repo, *hook).await?.is_some() {
                self.store.put_delivery_cursor(repo, *hook, &progress.item()).await?;
            }
            Ok::<_, store::StoreError>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(%repo, webhook = %hook, causes = with_causes(&error), "what was delivered is not noted");
        }
    }
}

/// How far the deliveries to one webhook have come.
struct Progress {
    /// Whose deliveries they are.
    owner: String,
    /// Nothing from before it is delivered, for there was no webhook.
    hook: HookId,
    /// Everything is done that was drawn more than [`LATE`] before this. The rest is what is not in `done`.
    until: Timestamp,
    /// The newest of what was done.
    done: BTreeSet<String>,
    failing_since: Option<Timestamp>,
    /// Whether the table knows all of this.
    is_noted: bool,
    noted_at: Duration,
}

impl Progress {
    fn new(hook: HookId, owner: String, delivery_cursor: Option<DeliveryCursorItem>, now: Timestamp) -> Self {
        let DeliveryCursorItem { until, done } = delivery_cursor.unwrap_or_default();
        let until = not_ahead(until, now);
        let done = done.into_iter().collect();
        Self { owner, hook, until, done, failing_since: None, is_noted: true, noted_at: Duration::ZERO }
    }

    fn item(&self) -> DeliveryCursorItem {
        DeliveryCursorItem { until: self.until, done: self.done.iter().cloned().collect() }
    }

    /// What is before this was done, or was there before the webhook.
    fn since(&mut self, now: Timestamp) -> Ulid {
        self.until = not_ahead(self.until, now);
        let made = time::drawn(self.hook);
        let made = if made == not_ahead(made, now) { self.hook } else { time::ulid(not_ahead(made, now), 0) };
        time::ulid(self.remembered_since(), 0).max(made)
    }

    fn remembered_since(&self) -> Timestamp {
        time::before(self.until, LATE)
    }

    fn has(&self, event: &str) -> bool {
        self.done.contains(event)
    }

    /// Notes that an event is done. That says nothing of those before it, because an event that the table took without
    /// an answer is not in a line.
    fn done(&mut self, event: String) {
        self.is_noted = false;
        self.done.insert(event);
        self.forget();
    }

    /// Notes that everything is done that the table had until a time, when it was read from [`Self::since`] on. What it gets
    /// later was drawn at most [`LATE`] before.
    fn caught_up(&mut self, until: Timestamp, now: Timestamp) {
        let before = self.until;
        self.until = not_ahead(before, now).max(until.min(now));
        self.is_noted &= self.until == before;
        self.forget();
    }

    /// Forgets what is not asked for any more, and the oldest of what is too much: were it the newest, each that is delivered
    /// again would have another one delivered again.
    fn forget(&mut self) {
        let remembered_since = self.remembered_since();
        while let Some(oldest) = self.done.first()
            && (self.done.len() > MAX_DONE || time_of(oldest) < remembered_since)
        {
            self.done.pop_first();
        }
    }
}

/// A time that was taken from the clock earlier. If it is still to come the clock was ahead, and what happened since it was set
/// right looks older than that: then a day ago.
fn not_ahead(time: Timestamp, now: Timestamp) -> Timestamp {
    if time > time::after(now, CLOCK_SLACK) { time::before(now, A_DAY) } else { time }
}

/// When the id of an event was drawn.
fn time_of(event: &str) -> Timestamp {
    Ulid::from_string(event).map_or(Timestamp::UNIX_EPOCH, time::drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);
    const OWNER: &str = "user-dev";
    const MADE: HookId = HookId::from_parts((1_750_000_000 - 30 * 24 * 60 * 60) * 1_000, 7);

    fn event(time: Timestamp, number: usize) -> String {
        time::ulid(time, number as u128).to_string()
    }

    /// After it was noted and read again.
    fn restarted(progress: &Progress, now: Timestamp) -> Progress {
        Progress::new(progress.hook, progress.owner.clone(), Some(progress.item()), now)
    }

    #[test]
    fn what_is_too_much_to_be_remembered_is_not_delivered_again_for_ever() {
        let count = MAX_DONE + 3_000;
        let events: Vec<String> = (0..count).map(|number| event(NOW, number)).collect();
        let mut progress = Progress::new(MADE, OWNER.to_owned(), None, NOW);
        events.iter().for_each(|event| progress.done(event.clone()));
        // What the table had after it: once more each of what was forgotten, and only that.
        let again = |progress: &mut Progress, began: Timestamp| -> Vec<String> {
            let since = progress.since(began).to_string();
            let mut again = Vec::new();
            for event in events.iter().filter(|event| **event >= since) {
                if !progress.has(event) {
                    progress.done(event.clone());
                    again.push(event.clone());
                }
                progress.caught_up(time_of(event), began);
            }
            progress.caught_up(began, began);
            again
        };
        assert_eq!(again(&mut progress, NOW + Duration::from_secs(1)), events[..3_000]);
        let hour = Duration::from_secs(60 * 60);
        assert!(again(&mut progress, NOW + hour).len() <= 3_000);
        assert_eq!(again(&mut progress, NOW + hour * 2).len(), 0);
        assert!(progress.done.is_empty(), "nothing of it is asked for any more");
        assert!(progress.item().done.len() <= MAX_DONE);
    }

    #[test]
    fn all_tags_of_a_request_are_remembered() {
        let events: Vec<String> = (0..common::wire::limits::MAX_TAGS).map(|number| event(NOW, number)).collect();
        let mut progress = Progress::new(MADE, OWNER.to_owned(), None, NOW);
        events.iter().for_each(|event| progress.done(event.clone()));
        let progress = restarted(&progress, NOW + Duration::from_millis(1));
        assert!(events.iter().all(|event| progress.has(event)));
    }

    #[test]
    fn one_that_the_table_took_without_saying_so_is_found_behind_what_was_delivered_since() {
        let mut progress = Progress::new(MADE, OWNER.to_owned(), None, NOW);
        progress.caught_up(NOW, NOW);
        progress.done(event(NOW + LATE * 3, 1));
        let mut progress = restarted(&progress, NOW + LATE * 4);
        assert!(time::drawn(progress.since(NOW + LATE * 4)) <= NOW);
        assert!(progress.has(&event(NOW + LATE * 3, 1)));
    }

    proptest! {
        /// Whatever was done and however far was read, of what the table may still get nothing is passed over.
        #[test]
        fn for_every_reading_what_lands_after_it_is_looked_at(
            steps in prop::collection::vec((0..=7 * 60 * 1_000_u64, 1..=2_000_000_u64, any::<bool>()), 1..30),
        ) {
            let mut now = NOW;
            let mut progress = Progress::new(MADE, OWNER.to_owned(), None, now);
            let mut undone: Vec<String> = Vec::new();
            for (number, (before, later, is_read)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(later);
                if is_read {
                    // All that is in the table is done, and one more lands when the reading has begun.
                    let since = progress.since(now).to_string();
                    for event in undone.drain(..) {
                        prop_assert!(event >= since, "{event} is passed over");
                        progress.done(event);
                    }
                    progress.caught_up(now, now);
                }
                undone.push(event((now - Duration::from_millis(before)).max(NOW) + Duration::from_millis(1), number));
                progress = restarted(&progress, now);
            }
            let since = progress.since(now + Duration::from_millis(1)).to_string();
            prop_assert!(undone.iter().all(|event| *event >= since && !progress.has(event)));
        }
    }

    #[test]
    fn a_clock_that_was_ahead_hides_nothing() {
        let ahead = NOW + A_DAY * 3;
        // It was noted while the clock was wrong.
        let delivery_cursor = DeliveryCursorItem { until: ahead, done: vec![event(ahead, 1)] };
        let mut progress = Progress::new(MADE, OWNER.to_owned(), Some(delivery_cursor.clone()), NOW);
        assert_eq!(time::drawn(progress.since(NOW)), NOW - A_DAY - LATE);
        assert!(progress.has(&event(ahead, 1)));
        // It was set right meanwhile.
        let mut progress = Progress::new(MADE, OWNER.to_owned(), Some(delivery_cursor), ahead);
        assert_eq!(time::drawn(progress.since(ahead)), ahead - LATE);
        assert_eq!(time::drawn(progress.since(NOW)), NOW - A_DAY - LATE);
        // Nothing that was drawn then leads into the future again.
        progress.caught_up(time_of(&event(ahead, 2)), NOW);
        assert_eq!(progress.item().until, NOW);
        // A webhook that was made then gets the last day, and an older webhook nothing older than itself.
        let mut made_then = Progress::new(time::ulid(ahead, 0), OWNER.to_owned(), None, NOW);
        assert_eq!(time::drawn(made_then.since(NOW)), NOW - A_DAY);
        assert_eq!(Progress::new(MADE, OWNER.to_owned(), None, NOW).since(NOW), MADE);
        // A clock that is set by a moment is none that was wrong.
        let set = Progress::new(
            MADE,
            OWNER.to_owned(),
            Some(DeliveryCursorItem { until: NOW + Duration::from_secs(1), done: Vec::new() }),
            NOW,
        );
        assert_eq!(set.until, NOW + Duration::from_secs(1));
    }
}
