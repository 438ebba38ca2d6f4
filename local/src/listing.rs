//! Notes for the list of public repos when each was last pushed to, as the function `events` does on AWS.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::id::RepoId;
use common::wire::error::with_causes;
use jiff::Timestamp;
use store::Store;
use store::table::events::{Details, StoredEvent};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Notes pushes until the hub stops. Of what a slow store lets pass unseen, the next push to the same repo is noted.
pub(crate) async fn run(store: Arc<Store>, mut published: Receiver<StoredEvent>, mut stopped: watch::Receiver<bool>) {
    loop {
        let first = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            first = published.recv() => first,
        };
        let mut pushed: BTreeMap<RepoId, Timestamp> = BTreeMap::new();
        let mut next = match first {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        // Many pushes to one repo are noted once.
        while let Some(event) = next.take() {
            if let (Details::RefUpdated { .. }, Some(at)) = (&event.details, event.at()) {
                pushed.insert(event.repo, at);
            }
            next = published.try_recv().ok();
        }
        for (repo, at) in pushed {
            if let Err(error) = note(&store, &repo, at).await {
                tracing::error!(%repo, causes = with_causes(&error), "a push was not noted for the list of public repositories");
            }
        }
    }
}

async fn note(store: &Store, repo: &RepoId, at: Timestamp) -> Result<(), store::StoreError> {
    match store.meta(repo).await? {
        Some(meta) => store.list_as_pushed(repo, &meta, at).await,
        None => Ok(()),
    }
}
