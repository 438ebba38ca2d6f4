//! What clients ask and get of branches and of how they have moved.

use serde::{Deserialize, Serialize};

use super::text::wire_map;
use crate::id::{BranchName, CommitId};

/// A branch of a list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchResponse {
    /// What it is called.
    pub name: String,
    /// The commit that it points at.
    pub head: CommitId,
    /// When it was moved last. ISO 8601.
    pub updated_at: String,
    /// The handle of the user who moved it, or the id of a user without one.
    pub updated_by: String,
    /// Whether a clone checks it out.
    pub is_default: bool,
    /// Whether it only goes forward, and is not deleted.
    pub protected: bool,
    /// Whether only the owner of the repo pushes to it.
    pub admins_only: bool,
}

/// The answer to `GET /api/repos/{owner}/{slug}/branches`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchesResponse {
    /// The branches by name.
    pub branches: Vec<BranchResponse>,
    /// What to go on behind, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

wire_map! {
    /// `PUT /api/repos/{owner}/{slug}/branches/{branch}/protection`.
    pub struct ProtectionRequest {
        /// Whether the branch only goes forward from now on, and is not deleted.
        protected: bool,
        /// Whether only the owner of the repo pushes to it then.
        admins_only: bool = false,
    }
}

/// The answer to `PUT /api/repos/{owner}/{slug}/branches/{branch}/protection`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ProtectionResponse {
    /// The branch.
    pub branch: BranchName,
    /// Whether it only goes forward, and is not deleted.
    pub protected: bool,
    /// Whether only the owner of the repo pushes to it.
    pub admins_only: bool,
}

wire_map! {
    /// `POST /api/repos/{owner}/{slug}/branches/{branch}/restore`.
    pub struct RestoreRequest {
        /// The commit that the branch was at and is to be at again; absent for where it was before the last move or deletion.
        to: Option<CommitId> = None,
    }
}

/// The answer to `POST /api/repos/{owner}/{slug}/branches/{branch}/restore`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreResponse {
    /// The branch.
    pub branch: BranchName,
    /// Its head before; null where it was deleted.
    pub before: Option<CommitId>,
    /// Its head from now on.
    pub head: CommitId,
}

/// A line of the push log.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveResponse {
    /// A ULID, which is that of the event too.
    pub id: String,
    /// The branch.
    pub branch: BranchName,
    /// Its head before; null for a new branch.
    pub before: Option<CommitId>,
    /// Its head after; null where it was deleted.
    pub after: Option<CommitId>,
    /// Whether the pusher forced the move.
    pub forced: bool,
    /// Whether the branch was deleted.
    pub deleted: bool,
    /// Whether the branch was restored to where it was.
    pub restored: bool,
    /// The handle of the user who did it, or the id of a user without one.
    pub by: String,
    /// The id of the token that the user had minted and it was done with; absent for the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The agent that the token was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When. ISO 8601.
    pub at: String,
}

/// The answer to `GET /api/repos/{owner}/{slug}/log`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct LogResponse {
    /// The lines, the newest first.
    pub log: Vec<MoveResponse>,
    /// What to go on behind, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to `DELETE /api/repos/{owner}/{slug}/branches/{branch}`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchDeletedResponse {
    /// What was the branch's name.
    pub deleted: String,
    /// The head that it had. A push can make the branch again from it.
    pub head: CommitId,
}
