//! What the function `events`, a queue and the function `webhook` do in a deployment: each thing that happens in a repo is
//! delivered to its webhooks, in order for each, and at least once, also when the hub is stopped or killed in between.
//!
//! What happens is taken from [`Store::happened`] into a line of messages for each webhook. The lines are bounded; what has no
//! room in one is read from the table again when the line is at its end. For each webhook the table keeps which events were
//! done last ([`HookedItem`]), so that after a start the rest is found there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::events::Occurrence;
use common::id::RepoId;
use common::store::items::{HookItem, HookedItem};
use common::store::{self, Store};
use common::webhooks::{HookId, Message};
use common::wire::error::with_causes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use ulid::Ulid;
use webhook::sender::Sender;
use webhook::{ATTEMPTS, Attempt};

/// How often all webhooks are gone through, for what may have been missed while the table did not answer.
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Deliveries under way at the same time.
const PARALLEL_DELIVERIES: usize = 32;
/// What is taken at once of what happened.
const MAX_TAKEN: usize = 256;
/// Messages that wait for one webhook, and for all together. One has some 600 bytes.
const MAX_IN_LINE: usize = 1_000;
const MAX_WAITING: usize = 20_000;
/// Events that are read from the table at once.
const PAGE: usize = 500;
/// How long before an event is in the table its id may have been drawn: [`Store::events_since`].
const LATE: Duration = Duration::from_secs(10 * 60);
/// The ids of events that are remembered as done. Of a webhook that hears of more within [`LATE`] the oldest are delivered
/// again after a restart.
const MAX_DONE: usize = 4_096;
/// How often it is noted in the table what was done.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Delivers until it is told to stop. What is under way then is left, and made again after the next start.
pub(crate) async fn run(
    store: Arc<Store>,
    sender: Sender,
    first_pause: Duration,
    mut happened: Receiver<Occurrence>,
    stopped: watch::Receiver<bool>,
) {
    let turns = Semaphore::new(PARALLEL_DELIVERIES);
    let mut told_to_stop = stopped.clone();
    let post = Arc::new(Post { store, sender, first_pause, stopped, turns, waiting: Mutex::default() });
    let mut workers = JoinSet::new();
    let mut interval = tokio::time::interval(INTERVAL);
    let work = async {
        loop {
            tokio::select! {
                // First of all, for what happened before the start.
                biased;
                _ = interval.tick() => post.catch_up_all(&mut workers).await,
                taken = take(&mut happened) => match taken {
                    Some(taken) => post.tell(taken, &mut workers).await,
                    None => post.catch_up_all(&mut workers).await,
                },
            }
            while workers.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = work => {}
        _ = told_to_stop.wait_for(|stopped| *stopped) => {}
    }
    while workers.join_next().await.is_some() {}
}

/// What has happened, some of it at once; nothing when some was missed.
async fn take(happened: &mut Receiver<Occurrence>) -> Option<Vec<Occurrence>> {
    let mut taken = match happened.recv().await {
        Ok(occurrence) => vec![occurrence],
        Err(RecvError::Lagged(_)) => return None,
        // Nothing can happen without the store, which is kept by whoever listens here.
        Err(RecvError::Closed) => std::future::pending().await,
    };
    while taken.len() < MAX_TAKEN {
        match happened.try_recv() {
            Ok(occurrence) => taken.push(occurrence),
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
    turns: Semaphore,
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

    /// Puts what happened into the lines of those who want to hear of it.
    async fn tell(self: &Arc<Self>, happened: Vec<Occurrence>, workers: &mut JoinSet<()>) {
        let mut of_repo: HashMap<RepoId, Vec<Occurrence>> = HashMap::new();
        for occurrence in happened {
            of_repo.entry(occurrence.repo.clone()).or_default().push(occurrence);
        }
        for (repo, occurrences) in of_repo {
            while let Err(error) = self.tell_of(&repo, &occurrences, workers).await {
                tracing::error!(%repo, causes = with_causes(&error), "webhooks were not told of what happened");
                if !matches!(error, store::Error::Unavailable(_)) {
                    break;
                }
                // Nothing may come before it, and nobody else fares better.
                tokio::time::sleep(self.first_pause).await;
            }
        }
    }

    async fn tell_of(
        self: &Arc<Self>,
        repo: &RepoId,
        occurrences: &[Occurrence],
        workers: &mut JoinSet<()>,
    ) -> Result<(), store::Error> {
        let hooks = self.store.hooks(repo).await?;
        let is_wanted = |(_, hook): &&(HookId, HookItem)| {
            occurrences.iter().any(|occurrence| hook.wants(occurrence.details.kind()))
        };
        let wanting: Vec<HookId> = hooks.iter().filter(is_wanted).map(|(id, _)| *id).collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let Some(meta) = self.store.known_by(repo).await? else {
            return Ok(());
        };
        for occurrence in occurrences {
            let event = occurrence.clone().numbered_by_id(&meta);
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

    /// Takes a line away with all that is in it.
    fn forget(&self, address: &Address) {
        let mut waiting = self.waiting();
        let forgotten = waiting.lines.remove(address).map_or(0, |line| line.messages.len());
        waiting.count = waiting.count.saturating_sub(forgotten);
    }

    /// Delivers to one webhook, until nothing waits for it.
    async fn work(&self, address: Address) {
        let hooked = self.patiently(&address, || self.store.hooked(&address.0, address.1)).await;
        let Ok(Some(hooked)) = hooked else {
            // With the next thing that happens it is tried again.
            self.forget(&address);
            return;
        };
        let mut progress = Progress::new(address.1, hooked);
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
        let mut since = progress.since();
        loop {
            let page = self.patiently(address, || self.store.events_since(repo, since, PAGE)).await?;
            let Some(page) = page else { return Ok(()) };
            let last = page.last().and_then(|event| event.id.parse::<Ulid>().ok()).filter(|_| page.len() >= PAGE);
            for event in &page {
                if let Ok(message) = Message::new(*hook, event) {
                    self.deliver(message, progress).await?;
                }
                if self.store.ambient().elapsed().saturating_sub(progress.noted_at) >= NOTED_EVERY {
                    self.note(address, progress).await;
                }
            }
            match last.and_then(|last| u128::from(last).checked_add(1)) {
                Some(next) => since = next.into(),
                None => return Ok(()),
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
            let failing_since = progress.failing_since.unwrap_or_else(|| ambient.now_ms());
            let deliver = async {
                let _turn = self.turns.acquire().await;
                webhook::deliver(&self.store, &self.sender, &message, failing_since).await
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
                let pause = webhook::pause(self.first_pause, attempt, ambient);
                tracing::warn!(%repo, webhook = %hook, event = id, attempt, reason, again_in = ?pause, "a delivery failed");
                self.rest(pause).await?;
            }
        }
        progress.done(message.id);
        Ok(())
    }

    /// Reads something of the table for a webhook, however long the table is away. Nothing when what it has cannot be read.
    async fn patiently<T, F>(&self, (repo, hook): &Address, read: impl Fn() -> F) -> Result<Option<T>, Stopped>
    where
        F: Future<Output = Result<T, store::Error>>,
    {
        loop {
            let outcome = async {
                let _turn = self.turns.acquire().await;
                read().await
            };
            let error = match outcome.await {
                Ok(found) => return Ok(Some(found)),
                Err(error) => error,
            };
            tracing::error!(%repo, webhook = %hook, causes = with_causes(&error), "a webhook waits for the table");
            if !matches!(error, store::Error::Unavailable(_)) {
                return Ok(None);
            }
            self.rest(self.first_pause).await?;
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
                self.store.put_hooked(repo, *hook, &progress.item()).await?;
            }
            Ok::<_, store::Error>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(%repo, webhook = %hook, causes = with_causes(&error), "what was delivered is not noted");
        }
    }
}

/// How far the deliveries to one webhook have come.
struct Progress {
    /// Nothing from before it is delivered, for there was no webhook.
    hook: HookId,
    until: u64,
    /// What was done, in that order.
    order: VecDeque<String>,
    done: HashSet<String>,
    failing_since: Option<u64>,
    /// Whether the table knows all of this.
    is_noted: bool,
    noted_at: Duration,
}

impl Progress {
    fn new(hook: HookId, hooked: Option<HookedItem>) -> Self {
        let HookedItem { until, done: order } = hooked.unwrap_or_default();
        let (done, order) = (order.iter().cloned().collect(), order.into());
        Self { hook, until, order, done, failing_since: None, is_noted: true, noted_at: Duration::ZERO }
    }

    fn item(&self) -> HookedItem {
        HookedItem { until: self.until, done: self.order.iter().cloned().collect() }
    }

    /// What is before this was done, or was there before the webhook.
    fn since(&self) -> Ulid {
        Ulid::from_parts(self.remembered_since(), 0).max(self.hook)
    }

    fn remembered_since(&self) -> u64 {
        self.until.saturating_sub(u64::try_from(LATE.as_millis()).unwrap_or(u64::MAX))
    }

    fn has(&self, event: &str) -> bool {
        self.done.contains(event)
    }

    fn done(&mut self, event: String) {
        self.is_noted = false;
        self.until = self.until.max(time_of(&event));
        if self.done.insert(event.clone()) {
            self.order.push_back(event);
        }
        let remembered_since = self.remembered_since();
        while let Some(oldest) = self.order.front()
            && (self.order.len() > MAX_DONE || time_of(oldest) < remembered_since)
        {
            self.done.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// When the id of an event was drawn.
fn time_of(event: &str) -> u64 {
    Ulid::from_string(event).map_or(0, |id| id.timestamp_ms())
}
