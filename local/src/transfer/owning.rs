//! What the owner of a repo changes of it.

use bytes::Bytes;
use common::id::{CommitId, ObjectId};
use common::wire::request::{BranchDeletedResponse, PurgeRequest, PurgeResponse, RepoChanges, RepoResponse};

use super::remote::{Endpoint, Remote};
use super::{Error, post};

/// Changes a repo.
///
/// # Errors
/// When the hub does not.
pub async fn change(remote: &Remote, changes: &RepoChanges<'_>) -> Result<RepoResponse<'static>, Error> {
    remote.ask(Endpoint::Settings, post::body(changes)?).await
}

/// Purges objects.
///
/// # Errors
/// When the hub does not.
pub async fn purge(remote: &Remote, objects: &[ObjectId], reason: &str) -> Result<PurgeResponse, Error> {
    let request = PurgeRequest { objects: objects.to_vec().into(), reason: Some(reason.into()) };
    remote.ask(Endpoint::Purge, post::body(&request)?).await
}

/// Deletes a branch. The head that it had.
///
/// # Errors
/// When the hub does not.
pub async fn delete_branch(remote: &Remote, branch: &str) -> Result<CommitId, Error> {
    let answer: BranchDeletedResponse = remote.ask(Endpoint::Branch(branch), Bytes::new()).await?;
    Ok(answer.head)
}
