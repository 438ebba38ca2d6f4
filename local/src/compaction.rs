//! What the table's stream does in a deployment: a pack that has landed wakes the compaction of its repo, in the
//! background, one repo at a time; and so does the end of what was kept for requests under way, and of the time until
//! garbage is looked for.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::id::RepoId;
use common::store::Store;
use common::wire::error::with_causes;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

/// How often it is looked for what has expired.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Repos that wait, each once. One more is left to its next push.
const MAX_WAITING: usize = 10_000;

/// Compacts repos until it is told to stop. A run that is under way then is left where it is: each of its steps is whole.
pub(crate) async fn run(store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = keep_compact(&store) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn keep_compact(store: &Arc<Store>) {
    let mut landed = store.landed();
    let mut interval = tokio::time::interval(INTERVAL);
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            repo = landed.recv() => match repo {
                Ok(repo) => waiting.add(repo),
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "packs land faster than they are merged"),
                Err(RecvError::Closed) => return,
            },
            _ = interval.tick() => match store.due_upkeep().await {
                Ok(repos) => repos.into_iter().for_each(|repo| waiting.add(repo)),
                Err(error) => tracing::warn!(causes = with_causes(&error), "it is not known what has expired"),
            }
        }
        while let Some(repo) = waiting.next() {
            match compact::repo(store, &repo).await {
                Ok(done) => {
                    tracing::debug!(%repo, ?done, "compacted");
                    // The rest, after the others.
                    if !done.is_done && done.packs_merged > 0 {
                        waiting.add(repo);
                    }
                }
                Err(error) => tracing::error!(%repo, causes = with_causes(&error), "a repo was not compacted"),
            }
            loop {
                match landed.try_recv() {
                    Ok(repo) => waiting.add(repo),
                    Err(TryRecvError::Lagged(_)) => {}
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
    }
}

/// Repos in the order in which they came, each once however many packs landed in it.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<RepoId>,
    repos: HashSet<RepoId>,
}

impl Waiting {
    fn add(&mut self, repo: RepoId) {
        if self.repos.len() < MAX_WAITING && self.repos.insert(repo.clone()) {
            self.queue.push_back(repo);
        }
    }

    fn next(&mut self) -> Option<RepoId> {
        let repo = self.queue.pop_front()?;
        self.repos.remove(&repo);
        Some(repo)
    }
}
