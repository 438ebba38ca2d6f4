//! What clients ask, and what they are answered, endpoint by endpoint. Both sides write and read each of these.
//!
//! What an answer has by default is what other hubs leave out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::commit::Commit;
use super::limits::{
    MAX_BRANCHES, MAX_BRANCHES_OF_TOKEN, MAX_COMMITS, MAX_EVENT_TYPES, MAX_FETCH_HAVE, MAX_FILTER_OBJECTS,
    MAX_NEGOTIATE, MAX_OBJECTS, MAX_PRESIGN, MAX_PURGED, MAX_PURGED_AT_ONCE, MAX_REPOS_OF_TOKEN, MAX_SNAPSHOTS,
    MAX_TAGS, MAX_UPDATES, MAX_WANT_HELD,
};
use super::record::{Object, Snapshot};
use super::text::{Bounded, BoundedMap, Distinct, Sent, Text, wire_map};
use super::value::Value;
use crate::id::{CommitId, Label, ObjectId};

wire_map! {
    /// `POST /push`.
    pub struct PushRequest<'a> {
        /// What is pushed.
        bundle: Bundle<'a>,
        /// The branch that moves to what the bundle is about.
        branch: Sent<Text<'a>> = Sent(None),
        /// Whether the branch may move to a commit that does not descend from its head.
        force: bool = false,
        /// Where the branch has to be before it moves; empty if it must not be there.
        expected_head: Sent<Text<'a>> = Sent(None),
        /// Branches that move together, all or none.
        updates: Option<Bounded<BranchUpdate<'a>, MAX_UPDATES>> = None,
        /// Objects that were purged from the repo, as the pusher knows, so that new snapshots may name them.
        purged: Option<Bounded<ObjectId, MAX_PURGED>> = None,
    }
}

wire_map! {
    /// A branch that moves to a commit, which the bundle brings or the repo has.
    pub struct BranchUpdate<'a> {
        /// The branch.
        branch: Text<'a>,
        /// The commit.
        tip: CommitId,
        /// Whether it may move to a commit that does not descend from its head.
        force: bool = false,
        /// Where it has to be before it moves; empty if it must not be there.
        expected_head: Sent<Text<'a>> = Sent(None),
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PushResponse<'a> {
    /// True: a refused push is answered with an error.
    pub ok: bool,
    /// `pushed N commit(s) to '<branch>'`.
    pub message: String,
    /// The head of every branch after the push.
    pub branch_heads: Cow<'a, Heads>,
    /// The head of the pushed branch after the push.
    pub remote_head: Option<Cow<'a, CommitId>>,
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PushObjectsResponse {
    /// How many objects are new.
    pub stored: usize,
    /// How many the repo had already.
    pub skipped: usize,
}

/// The filter of a fetch that leaves the objects out.
pub const NO_OBJECTS: &str = "objects:none";
/// The filter of a fetch that leaves the snapshots out too.
pub const NO_SNAPSHOTS: &str = "snapshots:none";

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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterObjectsResponse {
    /// Those of them that the repo lacks, in the order asked and as they were spelled.
    pub missing: Vec<ObjectId>,
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct NegotiateResponse {
    /// The commits of `have` that the repo has, in the order sent.
    pub ack: Vec<CommitId>,
    /// A best common ancestor of `want` and `ack`.
    pub common_base: Option<CommitId>,
    /// Whether the client should stop asking and fetch.
    #[serde(default)]
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
        /// How many URLs the answer may have at most; what is over is named.
        limit: Option<i64> = None,
    }
}

/// The answer to `POST /presign`. Each id that was asked for is in one of them, as it was spelled.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PresignResponse {
    /// The URL for each object that has one.
    pub presigned: BTreeMap<ObjectId, String>,
    /// The others: they go inside requests and answers.
    #[serde(default)]
    pub inline: Vec<ObjectId>,
    /// Those that get a URL when they are asked for again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ObjectId>,
}

/// The answer to `POST /uploads`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadResponse {
    /// What the header `Muse-Body-Upload` is to say.
    pub upload_id: String,
    /// Where to PUT the body.
    pub url: String,
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TagsResponse {
    /// How many tags were sent; all of them are as they were sent now.
    pub stored: usize,
}

/// A name for a commit, in the answer to `GET /tags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagResponse {
    /// The tag's own id.
    pub tag_id: String,
    /// The repo.
    pub repo_id: String,
    /// The commit.
    pub commit_id: CommitId,
    /// The name.
    pub tag: Label,
    /// When it was made.
    pub created_at: String,
}

/// The answer to `GET /tags`, as `Page` writes it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TagListResponse {
    /// Tags, in the order of their names.
    pub tags: Vec<TagResponse>,
    /// What to go on behind, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to `DELETE /tags/{tag}`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct TagDeletedResponse {
    /// What was the tag's name.
    pub deleted: Label,
    /// The commit that it named.
    pub commit_id: CommitId,
}

/// The answer to `POST /releases`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseResponse {
    /// The id of the release.
    pub release_id: String,
}

/// The answer to `GET /releases`, as `Page` writes it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseListResponse {
    /// Releases, newest first, as they were posted.
    pub releases: Vec<Value>,
    /// What to go on behind, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to `DELETE /releases/{tag}`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RetractedResponse {
    /// What was the release's tag.
    pub retracted: Label,
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookResponse<'a> {
    /// Its id.
    pub id: String,
    /// Where events are POSTed.
    pub url: Cow<'a, str>,
    /// The types of the events that it wants; null for all.
    pub events: Option<Cow<'a, BTreeSet<String>>>,
    /// Whether anything is delivered to it.
    pub active: bool,
    /// Why not, if not.
    pub inactive_because: Option<Cow<'a, str>>,
    /// When it was made.
    pub created_at: Cow<'a, str>,
    /// The user that made it.
    pub created_by: Cow<'a, str>,
    /// What deliveries are signed with: only in the answer that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The answer to `GET /webhooks`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookListResponse<'a> {
    /// All webhooks, oldest first.
    pub webhooks: Vec<WebhookResponse<'a>>,
}

/// The answer to `DELETE /webhooks/{id}`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookDeletedResponse {
    /// What was the webhook's id.
    pub deleted: String,
}

wire_map! {
    /// `PUT /api/repos/{owner}/{slug}/members/{handle}`.
    pub struct MemberRequest<'a> {
        /// `read`, `write` or `admin`.
        role: Text<'a>,
    }
}

/// A member of a repo.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberResponse<'a> {
    /// The member's handle; empty for one that an operator added by user id.
    pub handle: Cow<'a, str>,
    /// The member's user id.
    pub user_id: Cow<'a, str>,
    /// `read`, `write` or `admin`.
    pub role: Cow<'a, str>,
    /// The user id of who gave the role, if that was kept.
    pub given_by: Option<Cow<'a, str>>,
    /// When, if that was kept.
    pub given_at: Option<Cow<'a, str>>,
}

/// The answer to `GET /api/repos/{owner}/{slug}/members`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberListResponse<'a> {
    /// The owner's handle.
    pub owner: Cow<'a, str>,
    /// All members, by their user ids.
    pub members: Vec<MemberResponse<'a>>,
}

/// The answer to `DELETE /api/repos/{owner}/{slug}/members/{handle}`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemovedResponse {
    /// The handle of who is no member any more.
    pub removed: String,
}

wire_map! {
    /// `POST /api/repos/{owner}/{slug}/links`.
    pub struct LinkRequest<'a> {
        /// For how long the link is to lead to the repo; a week, if it does not say.
        ttl_seconds: Option<u64> = None,
        /// What it is for.
        name: Option<Text<'a>> = None,
    }
}

/// A link by which a repo can be read.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkResponse<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// What it is for.
    pub name: Cow<'a, str>,
    /// The user id of who made it.
    pub created_by: Cow<'a, str>,
    /// When it was made.
    pub created_at: Cow<'a, str>,
    /// Until when it leads to the repo.
    pub expires_at: String,
    /// What to clone. Only the answer that makes the link has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_url: Option<String>,
}

/// The answer to `GET /api/repos/{owner}/{slug}/links`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkListResponse<'a> {
    /// The links that lead to the repo, oldest first.
    pub links: Vec<LinkResponse<'a>>,
}

/// The answer to `DELETE /api/repos/{owner}/{slug}/links/{id}` and to `DELETE /api/tokens/{id}`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedResponse {
    /// The id of what counts no more.
    pub revoked: String,
}

wire_map! {
    /// `POST /api/tokens`.
    pub struct TokenRequest<'a> {
        /// What it is for.
        name: Option<Text<'a>> = None,
        /// The agent that gets it.
        agent_name: Option<Text<'a>> = None,
        /// The repos that it is for, as `owner/slug`; all that the user may see, if it names none.
        repos: Option<Bounded<Text<'a>, MAX_REPOS_OF_TOKEN>> = None,
        /// The most that it allows: `read`, `write` or `admin`; `read`, if it does not say.
        access: Option<Text<'a>> = None,
        /// Patterns of the branches that it may push to; all, if it names none.
        branches: Option<Bounded<Text<'a>, MAX_BRANCHES_OF_TOKEN>> = None,
        /// Whether it may force a branch.
        may_force: bool = false,
        /// Whether it may delete a branch.
        may_delete: bool = false,
        /// For how long it is good; 30 days, if it does not say, or as long as the token that mints it.
        ttl_seconds: Option<u64> = None,
    }
}

/// A token that a user has minted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponse<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// What it is for.
    pub name: Cow<'a, str>,
    /// The agent that got it.
    pub agent_name: Option<Cow<'a, str>>,
    /// The repos that it is for, as they were called then; null for all.
    pub repos: Option<Vec<Cow<'a, str>>>,
    /// The most that it allows.
    pub access: Cow<'a, str>,
    /// Patterns of the branches that it may push to; null for all.
    pub branches: Option<Cow<'a, [String]>>,
    /// Whether it may force a branch.
    pub may_force: bool,
    /// Whether it may delete a branch.
    pub may_delete: bool,
    /// When it was minted.
    pub created_at: Cow<'a, str>,
    /// Until when it is good.
    pub expires_at: String,
    /// The token. Only the answer that mints it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The answer to `GET /api/tokens`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenListResponse<'a> {
    /// The user's tokens that are good, oldest first.
    pub tokens: Vec<TokenResponse<'a>>,
}

/// The answer to `GET /refs`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RefsResponse<'a> {
    /// The repo's id.
    #[serde(default)]
    pub repo_id: Cow<'a, str>,
    /// What kind of content it holds, in a word that clients know.
    #[serde(default)]
    pub domain: Cow<'a, str>,
    /// The branch that a clone checks out.
    pub default_branch: Cow<'a, str>,
    /// The head of every branch.
    pub branch_heads: Cow<'a, Heads>,
}

/// The answer to `GET /health`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthResponse {
    /// `ok`
    pub status: Cow<'static, str>,
    /// What was looked at, for an operator who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<HealthChecks>,
}

/// What a hub needs, and how it is: `ok`, or else what is wrong.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct IdentityResponse {
    /// The handle, claimed.
    pub handle: String,
    /// The user that has it.
    pub user_id: String,
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
    /// `POST /api/repos/{owner}/{slug}/forks`: what is left out is as it is in the repo that the fork is made of.
    #[derive(Default)]
    pub struct ForkRequest<'a> {
        /// A name for people; the slug is made of it.
        name: Option<Text<'a>> = None,
        /// Whether only its owner and collaborators may know of it. A fork of a private repo is private.
        is_private: Option<bool> = None,
        /// A sentence about it.
        description: Option<Text<'a>> = None,
    }
}

wire_map! {
    /// `PATCH /api/repos/{owner}/{slug}`: what is left out stays as it is.
    #[derive(Default)]
    pub struct RepoChanges<'a> {
        /// The branch that a clone checks out.
        default_branch: Option<Text<'a>> = None,
        /// `public` or `private`.
        visibility: Option<Text<'a>> = None,
        /// The same in the words of `POST /api/repos`.
        is_private: Option<bool> = None,
        /// A sentence about it.
        description: Option<Text<'a>> = None,
        /// Its name under the owner, which its URL ends with. The one that it had leads to it still.
        slug: Option<Text<'a>> = None,
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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PurgedObject {
    /// The object.
    pub object_id: ObjectId,
    /// When. ISO 8601.
    pub purged_at: String,
    /// The user who did it.
    #[serde(default)]
    pub purged_by: String,
    /// Why; perhaps empty.
    #[serde(default)]
    pub reason: String,
}

/// The answer to `POST` and to `GET /api/repos/{owner}/{slug}/purge`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PurgeResponse {
    /// Those that were asked for, or all.
    pub purged: Vec<PurgedObject>,
    /// What is known of their bytes: `being_erased`, `erased` but for what requests may bring that began before, or `gone`.
    #[serde(default)]
    pub bytes: Cow<'static, str>,
}

/// What a repo is: the answer to `POST /api/repos`, to `GET` and `PATCH` of `/api/repos/{owner}/{slug}`, and a line of a list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RepoResponse<'a> {
    /// The repo's id.
    #[serde(default)]
    pub repo_id: Cow<'a, str>,
    /// The handle of its owner.
    pub owner: Cow<'a, str>,
    /// Its name under the owner.
    pub slug: Cow<'a, str>,
    /// Its name for people.
    #[serde(default)]
    pub name: Cow<'a, str>,
    /// `public` or `private`.
    #[serde(default)]
    pub visibility: Cow<'a, str>,
    /// What kind of content it holds, in a word that clients know.
    #[serde(default)]
    pub domain: Cow<'a, str>,
    /// A sentence about it: of one that is not just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
    /// The branch that a clone checks out: not in a list, for which no branch is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<Cow<'a, str>>,
    /// The URL to give to `muse clone`.
    #[serde(default)]
    pub clone_url: Cow<'a, str>,
    /// When it was made: of one that is not just made. ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Cow<'a, str>>,
    /// When a branch was pushed to it for the first time; absent until then. ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_pushed_at: Option<Cow<'a, str>>,
    /// When it was deleted, if it was. ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Cow<'a, str>>,
    /// Until when it can be undeleted, if it was deleted. ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Cow<'a, str>>,
    /// The repo that it is a fork of, as `owner/slug`: of one that is asked for alone, if that repo is there and the caller may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<Cow<'a, str>>,
}

/// The answer to `DELETE /api/repos/{owner}/{slug}`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RepoDeletedResponse {
    /// The repo's id.
    pub repo_id: String,
    /// What it was called: `owner/slug`.
    pub deleted: String,
    /// Until when it can be undeleted. ISO 8601.
    pub kept_until: String,
}

/// The answer to `GET /api/repos`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct RepoListResponse<'a> {
    /// Repos of one owner by their slugs: those that the caller may read.
    pub repos: Vec<RepoResponse<'a>>,
    /// What `after` has to say for those behind them; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Cow<'a, str>>,
}
