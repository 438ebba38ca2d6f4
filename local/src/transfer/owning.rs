//! What the owner of a repo changes of it.

use bytes::Bytes;
use common::id::ObjectId;
use serde::{Deserialize, Serialize};

use super::remote::{Endpoint, Remote};
use super::{Error, post};

/// What is to be changed; what is none stays as it is.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Changes {
    /// The branch that a clone checks out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// `public` or `private`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// A sentence about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What kind of content it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// What a repo is, once it was changed.
#[derive(Debug, Deserialize)]
pub struct Changed {
    /// `public` or `private`.
    pub visibility: String,
    /// The branch that a clone checks out.
    pub default_branch: String,
    /// What kind of content it holds.
    pub domain: String,
}

/// Changes a repo.
///
/// # Errors
/// When the hub does not.
pub async fn change(remote: &Remote, changes: &Changes) -> Result<Changed, Error> {
    remote.ask(Endpoint::Settings, post::body(changes)?).await
}

/// What a hub says that it has purged.
#[derive(Debug, Deserialize)]
pub struct Purged {
    /// The objects that were named.
    pub purged: Vec<PurgedObject>,
}

/// An object that was purged.
#[derive(Debug, Deserialize)]
pub struct PurgedObject {
    /// The object.
    pub object_id: ObjectId,
    /// When. ISO 8601.
    pub purged_at: String,
}

/// Purges objects.
///
/// # Errors
/// When the hub does not.
pub async fn purge(remote: &Remote, objects: &[ObjectId], reason: &str) -> Result<Purged, Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        objects: &'a [ObjectId],
        reason: &'a str,
    }
    remote.ask(Endpoint::Purge, post::body(&Body { objects, reason })?).await
}

/// Deletes a branch. The head that it had.
///
/// # Errors
/// When the hub does not.
pub async fn delete_branch(remote: &Remote, branch: &str) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Answer {
        head: String,
    }
    let answer: Answer = remote.ask(Endpoint::Branch(branch), Bytes::new()).await?;
    Ok(answer.head)
}
