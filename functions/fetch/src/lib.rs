//! `POST /fetch`: every commit that is wanted and not had, with the snapshots and objects that go with them.
//!
//! Which commits those are is known before the answer begins, from the commit graph alone. The rest is streamed: the
//! records come out of their packs in the answer's order and go out as they come, so memory stays bounded however
//! large the answer is.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod answer;
mod encoder;

use std::collections::HashSet;
use std::sync::Arc;

use common::Hub;
use common::id::{CommitId, SnapshotId};
use common::service::{AnswerBody, Call, Ids, compute};
use common::store::index::{Place, RepoIndex};
use common::store::repo::{Need, Repo};
use common::wire::Error;
use common::wire::request::FetchRequest;
use lambda_http::{Request, Response};

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |call| async move { fetch(hub, &call).await }).await
}

async fn fetch(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, Error> {
    let caller = call.caller(hub).await?;
    let (repo, index) = hub.open_with_index(caller.as_ref(), &call.target()?, Need::HISTORY).await?;
    let request: FetchRequest<'_> = call.decode()?;
    let (want, have) = (request.want.within("ids in want")?, request.have.within("ids in have")?);
    let have: Vec<CommitId> = have.iter().filter_map(|id| id.parse().ok()).collect();
    if let Some(unknown) = want.iter().find(|id| !index.graph().contains(id)) {
        return Err(Error::UnknownCommit(unknown.clone()));
    }
    let selection = compute(|| select(repo, index, &want, &have, hub.settings.ids))?;
    let body = answer::stream(Arc::clone(&hub.store), selection, call.answer_encoding()).await?;
    Ok(call.respond_streaming(body))
}

/// What an answer is made of, but for the objects, which the snapshots name.
struct Selection {
    repo: Repo,
    index: Arc<RepoIndex>,
    /// The commits to send, parents first.
    commits: Vec<Place>,
    /// Snapshots that the client has: what they hold is not sent.
    had: Vec<Place>,
    /// The snapshots to send.
    snapshots: Vec<Place>,
}

fn select(
    repo: Repo,
    index: Arc<RepoIndex>,
    want: &[CommitId],
    have: &[CommitId],
    ids: Ids,
) -> Result<Selection, Error> {
    let difference = index.graph().difference(want, have);
    let mut commits = Vec::with_capacity(difference.commits.len());
    for id in &difference.commits {
        let entry = index.graph().payload(id).ok_or_else(|| Error::internal(format!("commit {id} is in no pack")))?;
        commits.push(entry.place);
        let lost = index.graph().parents(id).into_iter().flatten().find(|parent| !index.graph().contains(parent));
        if let Some(lost) = lost.filter(|_| ids.are_checked()) {
            return Err(Error::internal(format!("commit {lost}, a parent of {id}, is in no pack")));
        }
    }
    let had = snapshots_of(&index, &difference.boundary, ids)?;
    let snapshots = snapshots_of(&index, &difference.commits, ids)?;
    Ok(Selection { repo, index, commits, had, snapshots })
}

/// The snapshots of commits, each once, in the order in which they lie in their packs, so that each frame is read once.
/// Where ids are opaque a commit may name one that was never pushed.
fn snapshots_of(index: &RepoIndex, commits: &[&CommitId], ids: Ids) -> Result<Vec<Place>, Error> {
    let snapshots = commits.iter().filter_map(|id| index.graph().payload(id)?.snapshot.as_ref());
    let mut distinct: HashSet<&SnapshotId> = snapshots.collect();
    if !ids.are_checked() {
        distinct.retain(|id| index.snapshot(id).is_some());
    }
    let place =
        |id: &SnapshotId| index.snapshot(id).ok_or_else(|| Error::internal(format!("snapshot {id} is in no pack")));
    let mut places = distinct.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    Ok(places)
}
