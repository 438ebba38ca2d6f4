//! What clients ask, and what they are answered, endpoint by endpoint.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::commit::Commit;
use super::limits::{
    MAX_BRANCHES, MAX_COMMITS, MAX_EVENT_TYPES, MAX_FETCH_HAVE, MAX_FILTER_OBJECTS, MAX_NEGOTIATE, MAX_OBJECTS,
    MAX_PRESIGN, MAX_PURGED, MAX_PURGED_AT_ONCE, MAX_SNAPSHOTS, MAX_TAGS, MAX_WANT_HELD,
};
use super::record::{Object, Snapshot};
use super::text::{Bounded, BoundedMap, Distinct, Sent, Text, wire_map};
use crate::id::{CommitId, Label, ObjectId};

wire_map! {
    /// `POST /push`.
    pub struct PushRequest<'a> {
        /// What is pushed.
        bundle: Bundle<'a>,
        /// The one branch that moves.
        branch: Text<'a>,
        /// Whether the branch may move to a commit that does not descend from its head.
        force: bool = false,
        /// Where the branch has to be before it moves; empty if it must not be there.
        expected_head: Sent<Text<'a>> = Sent(None),
        /// Objects that were purged from the repo, as the pusher knows, so that new snapshots may name them.
        purged: Option<Bounded<ObjectId, MAX_PURGED>> = None,
    }
}

wire_map! {
    /// Commits, snapshots and objects that belong together.
    pub struct Bundle<'a> {
        /// The commits, in any order.
        commits: Bounded<Commit, MAX_COMMITS> = Bounded::default(),
        /// Their snapshots.
        snapshots: Bounded<Snapshot<'a>, MAX_SNAPSHOTS> = Bounded::default(),
        /// Their objects; those that the hub has already may be left out.
        objects: Bounded<Object<'a>, MAX_OBJECTS> = Bounded::default(),
        /// The client's heads by branch; only that of the pushed branch is looked at.
        branch_heads: Option<BoundedMap<Text<'a>, Option<Text<'a>>, MAX_BRANCHES>> = None,
    }
}

/// The answer to `POST /push`.
#[derive(Debug, Serialize)]
pub struct PushResponse<'a> {
    /// True: a refused push is answered with an error.
    pub ok: bool,
    /// `pushed N commit(s) to '<branch>'`.
    pub message: String,
    /// The head of every branch after the push.
    pub branch_heads: &'a Heads,
    /// The head of the pushed branch after the push.
    pub remote_head: Option<&'a CommitId>,
}

/// The head of each branch of a repo.
pub type Heads = BTreeMap<String, CommitId>;

wire_map! {
    /// `POST /push/objects`.
    pub struct PushObjectsRequest<'a> {
        /// The objects.
        objects: Bounded<Object<'a>, MAX_OBJECTS>,
    }
}

/// The answer to `POST /push/objects`.
#[derive(Debug, Serialize)]
pub struct PushObjectsResponse {
    /// How many objects are new.
    pub stored: usize,
    /// How many the repo had already.
    pub skipped: usize,
}

wire_map! {
    /// `POST /fetch`.
    pub struct FetchRequest<'a> {
        /// The commits that the client wants, with all that they reach. Who names branches need name none.
        want: Option<Distinct<CommitId, MAX_WANT_HELD>> = None,
        /// The commits that it has, with all that they reach. What the hub does not know is ignored, ids that are none
        /// among it.
        have: Bounded<Text<'a>, MAX_FETCH_HAVE> = Bounded::default(),
        /// Branches whose heads it wants beside those.
        branches: Option<Distinct<Text<'a>, MAX_WANT_HELD>> = None,
        /// How many commits it wants on each way back from what it wants; all of them, if it does not say.
        depth: Option<i64> = None,
        /// What it does not want of them.
        filter: Option<Text<'a>> = None,
    }
}

wire_map! {
    /// `POST /filter-objects`.
    pub struct FilterObjectsRequest {
        /// The objects that a push will need.
        object_ids: Bounded<ObjectId, MAX_FILTER_OBJECTS>,
    }
}

/// The answer to `POST /filter-objects`.
#[derive(Debug, Serialize)]
pub struct FilterObjectsResponse<'a> {
    /// Those of them that the repo lacks, in the order asked and as they were spelled.
    pub missing: Vec<&'a ObjectId>,
}

wire_map! {
    /// `POST /negotiate`.
    pub struct NegotiateRequest<'a> {
        /// The commits that the client wants.
        want: Bounded<CommitId, MAX_NEGOTIATE>,
        /// Some of the commits that it has, in any order.
        have: Bounded<Text<'a>, MAX_NEGOTIATE> = Bounded::default(),
    }
}

/// The answer to `POST /negotiate`.
#[derive(Debug, Serialize)]
pub struct NegotiateResponse {
    /// The commits of `have` that the repo has, in the order sent.
    pub ack: Vec<CommitId>,
    /// A best common ancestor of `want` and `ack`.
    pub common_base: Option<CommitId>,
    /// Whether the client should stop asking and fetch.
    pub ready: bool,
}

wire_map! {
    /// `POST /presign`.
    pub struct PresignRequest<'a> {
        /// The objects to be transferred.
        object_ids: Bounded<ObjectId, MAX_PRESIGN>,
        /// `put` to upload them, `get` to download them.
        direction: Text<'a>,
        /// How long the URLs are to be good.
        ttl_seconds: Option<i64> = None,
    }
}

/// The answer to `POST /presign`. Each id that was asked for is in one of them, as it was spelled.
#[derive(Debug, Default, Serialize)]
pub struct PresignResponse {
    /// The URL for each object that has one.
    pub presigned: BTreeMap<ObjectId, String>,
    /// The others: they go inside requests and answers.
    pub inline: Vec<ObjectId>,
    /// Those that get a URL when they are asked for again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ObjectId>,
}

/// The answer to `POST /uploads`.
#[derive(Debug, Serialize)]
pub struct UploadResponse<'a> {
    /// What the header `Muse-Body-Upload` is to say.
    pub upload_id: &'a str,
    /// Where to PUT the body.
    pub url: &'a str,
}

wire_map! {
    /// `POST /tags`.
    pub struct TagsRequest<'a> {
        /// The tags.
        tags: Bounded<PostedTag<'a>, MAX_TAGS>,
    }
}

wire_map! {
    /// A name for a commit, as a client sends it.
    pub struct PostedTag<'a> {
        /// The name.
        tag: Text<'a>,
        /// The commit.
        commit_id: CommitId,
        /// The tag's own id.
        tag_id: Option<Text<'a>> = None,
        /// The repo, as the client calls it.
        repo_id: Option<Text<'a>> = None,
        /// When the tag was made, as the client says.
        created_at: Option<Text<'a>> = None,
    }
}

/// The answer to `POST /tags`.
#[derive(Debug, Serialize)]
pub struct TagsResponse {
    /// How many tags were sent; all of them are as they were sent now.
    pub stored: usize,
}

/// A name for a commit, in the answer to `GET /tags`.
#[derive(Debug, Serialize)]
pub struct TagResponse<'a> {
    /// The tag's own id.
    pub tag_id: &'a str,
    /// The repo.
    pub repo_id: &'a str,
    /// The commit.
    pub commit_id: &'a CommitId,
    /// The name.
    pub tag: &'a Label,
    /// When it was made.
    pub created_at: &'a str,
}

/// The answer to `DELETE /tags/{tag}`.
#[derive(Debug, Serialize)]
pub struct TagDeletedResponse<'a> {
    /// What was the tag's name.
    pub deleted: &'a Label,
    /// The commit that it named.
    pub commit_id: &'a CommitId,
}

/// The answer to `POST /releases`.
#[derive(Debug, Serialize)]
pub struct ReleaseResponse<'a> {
    /// The id of the release.
    pub release_id: &'a str,
}

/// The answer to `DELETE /releases/{tag}`.
#[derive(Debug, Serialize)]
pub struct RetractedResponse<'a> {
    /// What was the release's tag.
    pub retracted: &'a Label,
}

wire_map! {
    /// `POST /webhooks`.
    pub struct WebhookRequest<'a> {
        /// Where events are to be POSTed.
        url: Text<'a>,
        /// The types of the events that are wanted; all, if there are none.
        events: Option<Bounded<Text<'a>, MAX_EVENT_TYPES>> = None,
        /// What deliveries are to be signed with; else the hub draws it.
        secret: Option<Text<'a>> = None,
    }
}

/// A webhook, as the owner of its repo gets it.
#[derive(Debug, Serialize)]
pub struct WebhookResponse<'a> {
    /// Its id.
    pub id: String,
    /// Where events are POSTed.
    pub url: &'a str,
    /// The types of the events that it wants; null for all.
    pub events: Option<&'a BTreeSet<String>>,
    /// Whether anything is delivered to it.
    pub active: bool,
    /// Why not, if not.
    pub inactive_because: Option<&'a str>,
    /// When it was made.
    pub created_at: &'a str,
    /// The user that made it.
    pub created_by: &'a str,
    /// What deliveries are signed with: only in the answer that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The answer to `GET /webhooks`.
#[derive(Debug, Serialize)]
pub struct WebhookListResponse<'a> {
    /// All webhooks, oldest first.
    pub webhooks: Vec<WebhookResponse<'a>>,
}

/// The answer to `DELETE /webhooks/{id}`.
#[derive(Debug, Serialize)]
pub struct WebhookDeletedResponse {
    /// What was the webhook's id.
    pub deleted: String,
}

/// The answer to `GET /refs`.
#[derive(Debug, Serialize)]
pub struct RefsResponse<'a> {
    /// The repo's id.
    pub repo_id: &'a str,
    /// What kind of content it holds, in a word that clients know.
    pub domain: &'static str,
    /// The branch that a clone checks out.
    pub default_branch: &'a str,
    /// The head of every branch.
    pub branch_heads: &'a Heads,
}

/// The answer to `GET /health`.
#[derive(Debug, Serialize)]
pub struct HealthResponse {
    /// `ok`
    pub status: &'static str,
    /// What was looked at, for an operator who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<HealthChecks>,
}

/// What a hub needs, and how it is: `ok`, or else what is wrong.
#[derive(Debug, Serialize)]
pub struct HealthChecks {
    /// The DynamoDB table, which was read.
    pub table: String,
    /// The S3 bucket, which was listed.
    pub bucket: String,
    /// What tokens are signed with.
    pub secret: String,
}

wire_map! {
    /// `POST /api/identities`.
    pub struct IdentityRequest<'a> {
        /// The name that the user's repos will be under.
        handle: Text<'a>,
        /// A name for people.
        display_name: Option<Text<'a>> = None,
    }
}

/// The answer to `POST /api/identities`.
#[derive(Debug, Serialize)]
pub struct IdentityResponse<'a> {
    /// The handle, claimed.
    pub handle: &'a str,
    /// The user that has it.
    pub user_id: &'a str,
}

wire_map! {
    /// `POST /api/repos`.
    pub struct RepoRequest<'a> {
        /// A name for people; the slug is made of it.
        name: Text<'a>,
        /// Whether only its owner and collaborators may know of it.
        is_private: Option<bool> = None,
        /// A sentence about it.
        description: Option<Text<'a>> = None,
        /// What kind of content it holds. Left out or empty, the first push says it.
        domain: Option<Text<'a>> = None,
        /// The default branch until the first push names another.
        default_branch: Option<Text<'a>> = None,
    }
}

wire_map! {
    /// `PATCH /api/repos/{owner}/{slug}`: what is left out stays as it is.
    pub struct RepoChanges<'a> {
        /// The branch that a clone checks out.
        default_branch: Option<Text<'a>> = None,
        /// `public` or `private`.
        visibility: Option<Text<'a>> = None,
        /// The same in the words of `POST /api/repos`.
        is_private: Option<bool> = None,
        /// A sentence about it.
        description: Option<Text<'a>> = None,
        /// A name for people, which leads to the slug that it has.
        name: Option<Text<'a>> = None,
        /// What kind of content it holds.
        domain: Option<Text<'a>> = None,
    }
}

wire_map! {
    /// `POST /api/repos/{owner}/{slug}/purge`.
    pub struct PurgeRequest<'a> {
        /// The objects that no request is to be served any more.
        objects: Bounded<ObjectId, MAX_PURGED_AT_ONCE>,
        /// Why, for those who look later.
        reason: Option<Text<'a>> = None,
    }
}

/// An object that was purged.
#[derive(Debug, Serialize)]
pub struct PurgedObject {
    /// The object.
    pub object_id: ObjectId,
    /// When. ISO 8601.
    pub purged_at: String,
    /// The user who did it.
    pub purged_by: String,
    /// Why; perhaps empty.
    pub reason: String,
}

/// The answer to `POST` and to `GET /api/repos/{owner}/{slug}/purge`.
#[derive(Debug, Serialize)]
pub struct PurgeResponse {
    /// Those that were asked for, or all.
    pub purged: Vec<PurgedObject>,
    /// What is known of their bytes: `being_erased`, `erased` but for what requests may bring that began before, or `gone`.
    pub bytes: &'static str,
}

/// The answer to `DELETE /api/repos/{owner}/{slug}/branches/{branch}`.
#[derive(Debug, Serialize)]
pub struct BranchDeletedResponse<'a> {
    /// What was the branch's name.
    pub deleted: &'a str,
    /// The head that it had. A push can make the branch again from it.
    pub head: &'a CommitId,
}

/// The answer to `POST /api/repos` and to `PATCH /api/repos/{owner}/{slug}`.
#[derive(Debug, Serialize)]
pub struct RepoResponse<'a> {
    /// The repo's id.
    pub repo_id: &'a str,
    /// The handle of its owner.
    pub owner: &'a str,
    /// Its name under the owner.
    pub slug: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// `public` or `private`.
    pub visibility: &'a str,
    /// What kind of content it holds, in a word that clients know.
    pub domain: &'static str,
    /// A sentence about it: where it may have been changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// The branch that a clone checks out.
    pub default_branch: &'a str,
    /// The URL to give to `muse clone`.
    pub clone_url: &'a str,
}
