//! What the table's stream does in a deployment: a pack that has landed wakes the compaction of its repo, in the
//! background, one repo at a time and of each owner in turn; and so does the end of what was kept for requests under way, and of the time until
//! garbage is looked for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::id::RepoId;
use common::wire::error::with_causes;
use store::Store;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

/// How often it is looked for what has expired.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long more may land before the merging begins: a push comes in several packs, and its client needs the processor meanwhile.
/// On Lambda it is a minute.
pub const MERGE_WINDOW: Duration = Duration::from_secs(2);

/// Repos that wait, each once, and those of one owner. One more is left to its next push.
const MAX_WAITING: usize = 10_000;
const MAX_OF_OWNER: usize = MAX_WAITING / 4;

/// Compacts repos until it is stopped. A run that is under way then is left where it is: each of its steps is whole.
pub(crate) async fn run(store: Arc<Store>, window: Duration, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = keep_compact(&store, window) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn keep_compact(store: &Arc<Store>, window: Duration) {
    let mut landed = store.landed();
    let mut interval = tokio::time::interval(INTERVAL);
    let (mut waiting, mut has_landed) = (Waiting::default(), false);
    loop {
        tokio::select! {
            repo = landed.recv() => match repo {
                Ok(repo) => {
                    add(&mut waiting, store, repo).await;
                    has_landed = true;
                }
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "packs land faster than they are merged"),
                Err(RecvError::Closed) => return,
            },
            _ = interval.tick() => match store.due_upkeep().await {
                Ok(repos) => {
                    for repo in repos {
                        add(&mut waiting, store, repo).await;
                    }
                }
                Err(error) => tracing::warn!(causes = with_causes(&error), "it is not known what has expired"),
            }
        }
        loop {
            if std::mem::take(&mut has_landed) {
                tokio::time::sleep(window).await;
            }
            loop {
                match landed.try_recv() {
                    Ok(repo) => {
                        add(&mut waiting, store, repo).await;
                        has_landed = true;
                    }
                    Err(TryRecvError::Lagged(_)) => {}
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            let Some((repo, owner_of_it)) = waiting.next() else { break };
            match compact::repo(store, &repo).await {
                Ok(done) => {
                    tracing::debug!(%repo, ?done, "compacted");
                    // The rest, after the others.
                    if !done.is_done && done.packs_merged > 0 {
                        waiting.add(repo, owner_of_it);
                    }
                }
                Err(error) => tracing::error!(%repo, causes = with_causes(&error), "a repo was not compacted"),
            }
        }
    }
}

/// Has a repo wait behind those of its owner; one whose owner cannot be read behind none.
async fn add(waiting: &mut Waiting, store: &Store, repo: RepoId) {
    let owner = match store.known_by(&repo).await {
        Ok(Some(meta)) => meta.owner_user_id,
        Ok(None) | Err(_) => repo.to_string(),
    };
    waiting.add(repo, owner);
}

/// Repos that wait, each once for any number of packs that landed in it. The owners take turns, and of each the repo
/// that came first is next. So an owner who pushes to very many repos holds up only their own.
#[derive(Default)]
struct Waiting {
    /// Those whose turn comes next.
    owners: VecDeque<String>,
    of_owner: HashMap<String, VecDeque<RepoId>>,
    repos: HashSet<RepoId>,
}

impl Waiting {
    fn add(&mut self, repo: RepoId, owner: String) {
        let others = self.of_owner.get(&owner).map_or(0, VecDeque::len);
        if self.repos.len() >= MAX_WAITING || others >= MAX_OF_OWNER || !self.repos.insert(repo.clone()) {
            return;
        }
        if others == 0 {
            self.owners.push_back(owner.clone());
        }
        self.of_owner.entry(owner).or_default().push_back(repo);
    }

    fn next(&mut self) -> Option<(RepoId, String)> {
        let owner = self.owners.pop_front()?;
        let of_owner = self.of_owner.get_mut(&owner)?;
        let repo = of_owner.pop_front()?;
        if of_owner.is_empty() {
            self.of_owner.remove(&owner);
        } else {
            self.owners.push_back(owner.clone());
        }
        self.repos.remove(&repo);
        Some((repo, owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_with_very_many_repos_holds_up_no_other() {
        let repo = |number: u64| RepoId::from(ulid::Ulid::from_parts(number, 0));
        let mut waiting = Waiting::default();
        for number in 0..MAX_WAITING as u64 {
            waiting.add(repo(number), "many".to_owned());
        }
        let (last, another) = (repo(1 << 40), repo(1 << 41));
        waiting.add(last.clone(), "other".to_owned());
        waiting.add(last.clone(), "other".to_owned());
        waiting.add(another.clone(), "other".to_owned());
        let next: Vec<RepoId> = (0..4).filter_map(|_| waiting.next()).map(|(repo, _)| repo).collect();
        assert_eq!(next, [repo(0), last, repo(1), another]);
        assert_eq!(std::iter::from_fn(|| waiting.next()).count(), MAX_OF_OWNER - 2);
        assert!(waiting.repos.is_empty() && waiting.of_owner.is_empty());
    }
}
