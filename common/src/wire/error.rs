//! What a request is refused with: a stable code, a status, and one sentence that a person can act on.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::id::{BranchName, CommitId, Label, ObjectId};

/// A cause that is logged with a 5xx and never shown to a client.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error and what caused it, from the outside in.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// 400: the body is not what the endpoint takes.
    #[error("{0}")]
    MalformedBody(String),
    /// 400: the header `Host` names no host.
    #[error("{0}")]
    InvalidHost(String),
    /// 401: no token where one is needed, or a bad one anywhere.
    #[error("{0}")]
    Unauthorized(Cow<'static, str>),
    /// 403: the caller may read this repo, and perhaps write it, and does not own it.
    #[error("only the owner of the repository may {0}")]
    NotOwner(&'static str),
    /// 403: the caller may read this repo, and perhaps write it, and does not administer it.
    #[error("only the owner and the admins of the repository may {0}: one of them can give you the role 'admin'")]
    NotAdministrator(&'static str),
    /// 403: the caller may read this repo and not write it.
    #[error("push rejected: not authorized")]
    NotAuthorized,
    /// 403: the caller may do it, and not with this token.
    #[error("the token does not allow it: {0}; mint another, or use the token that this one was minted with")]
    TokenTooNarrow(String),
    /// 404: the repo has no such member, or the hub no such handle.
    #[error("{0}")]
    MemberNotFound(String),
    /// 404: there is no such link to the repo.
    #[error("there is no link '{0}'")]
    LinkNotFound(String),
    /// 404: the user has no such token.
    #[error("there is no token '{0}': it was revoked, has expired, or is another user's")]
    TokenNotFound(String),
    /// 403: the branch is protected, and this is what it lets no user do, or not this one.
    #[error("branch '{branch}' is protected, {lacking}")]
    BranchProtected {
        /// The branch.
        branch: BranchName,
        /// What is lacking, and who can do something about it.
        lacking: &'static str,
    },
    /// 403: the caller is no operator of the hub.
    #[error("this needs a token whose role is 'admin': 'musehub token --admin' makes one")]
    NotAdmin,
    /// 404: there is no such repo, or none that the caller may know of. No client can distinguish the two.
    #[error("there is no such repository, or you may not read it")]
    RepoNotFound,
    /// The same to who sent no token: `muse clone` sends none, and what to do instead is the same whether there is a repo or not.
    #[error(
        "there is no such repository, or it is private: 'muse clone' sends no token. A private one is read so: muse auth login --hub {0}; muse init --domain code; muse remote add origin URL; muse pull origin main"
    )]
    RepoNotFoundUnasked(String),
    /// The same to a user who has no handle, so that no push makes a repo.
    #[error(
        "there is no such repository, or you may not read it. A push can make one under your own handle, and you have none yet: POST {0}/api/identities with your token and {{\"handle\": \"<name>\"}} claims one"
    )]
    NoHandle(String),
    /// The same for a path that names what no repo can be called.
    #[error("{0}")]
    NoRepoName(String),
    /// 404: no user has this handle.
    #[error("no user of this hub has the handle '{0}'")]
    OwnerNotFound(String),
    /// 404: no branch, tag or commit that readers see has this name.
    #[error("there is no branch, tag or commit '{0}' in this repository")]
    UnknownRef(String),
    /// 404: a snapshot has no such file or folder.
    #[error("there is no file or folder '{0}' at this commit")]
    UnknownPath(String),
    /// 422: a page would have to read more than one request may.
    #[error("a page that shows this would have to read {0}: fetch the repository and look at it there")]
    TooLargeToShow(String),
    /// 404: the hub has no such path.
    #[error(
        "there is nothing at this path: a repository's endpoints are /<owner>/<slug>/refs, push, push/objects, fetch, filter-objects, presign, negotiate, tags, releases and uploads"
    )]
    UnknownRoute,
    /// 404: what the hub does not keep, for a client that wants to publish it.
    #[error(
        "this hub keeps repositories and no register of domain plugins, so 'muse domains publish' has nothing to publish to here: push the plugin's own repository, and tell its URL to those who want it"
    )]
    NoDomains,
    /// 404: a fetch wants a commit that the repo lacks.
    #[error("commit '{0}' is not in this repository")]
    UnknownCommit(CommitId),
    /// 404: the repo has no such object, or no branch has reached it yet.
    #[error("object '{0}' is not in this repository")]
    UnknownObject(ObjectId),
    /// 410: the object was purged from the repo.
    #[error("object '{0}' was purged from this repository: no client is served it any more")]
    ObjectGone(ObjectId),
    /// 404: the repo has no release of this tag.
    #[error("there is no release '{0}'")]
    ReleaseNotFound(Label),
    /// 404: the repo has no such tag.
    #[error("there is no tag '{0}'")]
    TagNotFound(Label),
    /// 404: the repo has no such branch.
    #[error("there is no branch '{0}'")]
    BranchNotFound(BranchName),
    /// 404: the repo has no webhook of this id.
    #[error("there is no webhook '{0}'")]
    WebhookNotFound(String),
    /// 405: the path is right, the method is not.
    #[error("this path takes {allowed} and not {method}")]
    MethodNotAllowed {
        /// The method of the request.
        method: http::Method,
        /// The methods that the path takes, as the header `Allow` lists them.
        allowed: String,
    },
    /// 409: the branch's head is not an ancestor of the pushed tip.
    #[error("non-fast-forward push to '{0}' — use force=true to overwrite")]
    NonFastForward(BranchName),
    /// 409: the branch is not where the pusher expects it.
    #[error("{}", elsewhere(.branch, .head.as_ref()))]
    StaleHead {
        /// The branch.
        branch: BranchName,
        /// Where it is; none if there is no such branch.
        head: Option<CommitId>,
    },
    /// 409: another user has this handle, or the caller has one.
    #[error("{0}")]
    HandleTaken(String),
    /// 409: the owner has a repo of this slug.
    #[error("the repository '{0}' exists already")]
    RepoExists(String),
    /// 409: the name is that of a repo that had it before, or that was deleted.
    #[error("{0}")]
    NameTaken(String),
    /// 409: the repo has a release of this tag.
    #[error("there is a release '{0}' already: retract it first")]
    ReleaseExists(Label),
    /// 412: the object is none of those that the header `If-Match` names.
    #[error("the object '{0}' is none of those in the header If-Match")]
    PreconditionFailed(ObjectId),
    /// 413: the body, or one object in it, is larger than this door takes.
    #[error("{0}")]
    PayloadTooLarge(String),
    /// 413: it would be more than the repo, or a user, may hold.
    #[error(
        "{of} has {used} {what}, this would be {more} more, and {allowed} are allowed: delete some, or ask the operator of the hub for more"
    )]
    QuotaExceeded {
        /// Of whom or what.
        of: &'static str,
        /// Bytes, or repositories.
        what: &'static str,
        /// How many there are.
        used: u64,
        /// How many there would be more.
        more: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// 413: the answer would have more bytes than this hub can send in one.
    #[error("the answer would have {bytes} bytes, and this hub sends at most {most} in one: {way_round}")]
    AnswerTooLarge {
        /// Bytes of the answer, about.
        bytes: u64,
        /// Bytes of an answer that can be sent.
        most: u64,
        /// How to get it all the same.
        way_round: &'static str,
    },
    /// 415: a body in an encoding that the hub does not speak.
    #[error("the content type '{0}' is not spoken here: send application/json or application/x-msgpack")]
    UnsupportedMediaType(String),
    /// 416: nothing of the object lies in the range asked for.
    #[error("the object has {0} bytes, and none of them is in the range asked for")]
    RangeNotSatisfiable(u64),
    /// 421: the answer would hold URLs of the hub's, and the host that the request names is not known to be the hub's.
    #[error(
        "the hub does not know '{0}' for a name of its own, and so gives no URLs that lead there: its operator starts it with --host {0}, or says with --public-url what URL clients use"
    )]
    UnknownHost(String),
    /// 422: the upload that a request refers to is not one that it may use.
    #[error("{0}")]
    UnknownUpload(&'static str),
    /// 422: an object's id is not the SHA-256 of its bytes.
    #[error("object '{0}' is not the SHA-256 of its content")]
    ObjectHashMismatch(String),
    /// 422: a snapshot's id is not the hash of its manifest.
    #[error("snapshot '{0}' is not the hash of its manifest")]
    SnapshotHashMismatch(String),
    /// 422: a commit's id is not the hash of its content.
    #[error("commit '{0}' is not the hash of its parents, snapshot, message and time")]
    CommitHashMismatch(String),
    /// 422: a push brings an object that was purged from the repo, or names it in a new snapshot.
    #[error("{0}")]
    ObjectPurged(String),
    /// 422: something that a new commit reaches is neither in the bundle nor in the repo.
    #[error("{0}")]
    MissingReferences(String),
    /// 422: a list is longer than the contract allows.
    #[error("{sent} {what}: the limit is {limit}{}", way_round(what))]
    TooMany {
        /// What the list holds.
        what: &'static str,
        /// How many were sent.
        sent: usize,
        /// How many may be sent.
        limit: usize,
    },
    /// 422: a value is well-formed and not allowed.
    #[error("{0}")]
    Invalid(String),
    /// 500: a fault of the hub's own.
    #[error("the hub failed to answer; nothing was changed unless a later request shows it")]
    Internal(#[source] Cause),
    /// 503: the hub's storage does not answer in time; the same request may be sent again.
    #[error("the hub's storage is busy or away: send the same request again in a moment")]
    Unavailable(#[source] Cause),
    /// 503: the keys of the issuer that signs the hub's tokens cannot be read, so that no token of it can be checked.
    #[error(
        "the issuer of this hub's tokens does not give its keys, so the token cannot be checked: send the same request again in a moment"
    )]
    IssuerAway(#[source] Cause),
    /// 503: the answer did not begin within this many seconds, so the request was given up.
    #[error(
        "this took longer than the {0} seconds that an answer may take to begin, and was given up: what was done of it counts, so send the same request again"
    )]
    GivenUp(u64),
    /// 503: the hub was asked how it is, and something that it needs does not work. It says which.
    #[error("{0}")]
    Unhealthy(String),
}

/// What to do about a list that is too long, for those that people meet.
fn way_round(what: &str) -> &'static str {
    match what {
        "commits" | "snapshots" => "; push a branch that ends at an older commit first, and then this one",
        "objects" => "; send the others before, in requests to /push/objects",
        "object_ids" => "; ask in parts",
        _ => "",
    }
}

impl WireError {
    /// The status that the error is answered with.
    pub fn status(&self) -> StatusCode {
        self.class().0
    }

    /// The code that a program may rely on.
    pub fn code(&self) -> &'static str {
        self.class().1
    }

    /// The table of statuses and codes.
    #[rustfmt::skip]
    fn class(&self) -> (StatusCode, &'static str) {
        match self {
            Self::MalformedBody(_) => (StatusCode::BAD_REQUEST, "malformed_body"),
            Self::InvalidHost(_) => (StatusCode::BAD_REQUEST, "invalid_host"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotAuthorized | Self::NotOwner(_) | Self::NotAdministrator(_) | Self::NotAdmin => (StatusCode::FORBIDDEN, "not_authorized"),
            Self::TokenTooNarrow(_) => (StatusCode::FORBIDDEN, "token_too_narrow"),
            Self::MemberNotFound(_) => (StatusCode::NOT_FOUND, "member_not_found"),
            Self::LinkNotFound(_) => (StatusCode::NOT_FOUND, "link_not_found"),
            Self::TokenNotFound(_) => (StatusCode::NOT_FOUND, "token_not_found"),
            Self::BranchProtected { .. } => (StatusCode::FORBIDDEN, "branch_protected"),
            Self::RepoNotFound | Self::RepoNotFoundUnasked(_) | Self::NoHandle(_) | Self::NoRepoName(_) => (StatusCode::NOT_FOUND, "repo_not_found"),
            Self::OwnerNotFound(_) => (StatusCode::NOT_FOUND, "owner_not_found"),
            Self::UnknownRoute | Self::NoDomains => (StatusCode::NOT_FOUND, "not_found"),
            Self::UnknownRef(_) => (StatusCode::NOT_FOUND, "unknown_ref"),
            Self::UnknownPath(_) => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::TooLargeToShow(_) => (StatusCode::UNPROCESSABLE_ENTITY, "too_large_to_show"),
            Self::UnknownCommit(_) => (StatusCode::NOT_FOUND, "unknown_commit"),
            Self::UnknownObject(_) => (StatusCode::NOT_FOUND, "unknown_object"),
            Self::ReleaseNotFound(_) => (StatusCode::NOT_FOUND, "release_not_found"),
            Self::TagNotFound(_) => (StatusCode::NOT_FOUND, "tag_not_found"),
            Self::BranchNotFound(_) => (StatusCode::NOT_FOUND, "branch_not_found"),
            Self::WebhookNotFound(_) => (StatusCode::NOT_FOUND, "webhook_not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NonFastForward(_) => (StatusCode::CONFLICT, "non_fast_forward"),
            Self::StaleHead { .. } => (StatusCode::CONFLICT, "stale_head"),
            Self::HandleTaken(_) => (StatusCode::CONFLICT, "handle_taken"),
            Self::RepoExists(_) | Self::NameTaken(_) => (StatusCode::CONFLICT, "repo_exists"),
            Self::ReleaseExists(_) => (StatusCode::CONFLICT, "release_exists"),
            Self::ObjectGone(_) => (StatusCode::GONE, "object_gone"),
            Self::PreconditionFailed(_) => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
            Self::PayloadTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::QuotaExceeded { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "quota_exceeded"),
            Self::AnswerTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "answer_too_large"),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::RangeNotSatisfiable(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable"),
            Self::UnknownHost(_) => (StatusCode::MISDIRECTED_REQUEST, "unknown_host"),
            Self::UnknownUpload(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_upload"),
            Self::ObjectHashMismatch(_) => (StatusCode::UNPROCESSABLE_ENTITY, "object_hash_mismatch"),
            Self::SnapshotHashMismatch(_) => (StatusCode::UNPROCESSABLE_ENTITY, "snapshot_hash_mismatch"),
            Self::CommitHashMismatch(_) => (StatusCode::UNPROCESSABLE_ENTITY, "commit_hash_mismatch"),
            Self::ObjectPurged(_) => (StatusCode::UNPROCESSABLE_ENTITY, "object_purged"),
            Self::MissingReferences(_) => (StatusCode::UNPROCESSABLE_ENTITY, "missing_references"),
            Self::TooMany { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too_many"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            Self::Unavailable(_) | Self::IssuerAway(_) | Self::GivenUp(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Unhealthy(_) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        }
    }

    /// The body of the answer: always JSON, because clients print the first 400 bytes of it. A fault of the hub's names
    /// the request, so that its operator finds it in the log.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let mut detail = self.to_string();
        if self.status().is_server_error() {
            detail.push_str(&format!(" (request {request_id})"));
        }
        let (used, allowed) = match self {
            Self::QuotaExceeded { used, allowed, .. } => (Some(*used), Some(*allowed)),
            _ => (None, None),
        };
        let hint = self.hint().map(Into::into);
        let body = ErrorResponse { error: self.code().into(), detail: detail.into(), hint, used, allowed };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// What to do about it, where clients rely on the sentence as it is.
    fn hint(&self) -> Option<&'static str> {
        let hint = "you may read this repository: its owner or one of its admins can give you the role 'write'";
        matches!(self, Self::NotAuthorized).then_some(hint)
    }

    /// A fault of the hub's own, with its cause.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// Refuses an object that was purged, which is at this path if that is known.
    pub fn object_purged(id: &ObjectId, path: Option<&str>) -> Self {
        let at = path.filter(|path| !path.is_empty()).map_or(String::new(), |path| format!(" at '{path}'"));
        Self::ObjectPurged(format!(
            "object '{id}'{at} was purged from this repository and is not taken again: take the file out of the commits that are not pushed yet, and push those"
        ))
    }

    /// Refuses a list that holds more than the contract allows.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when `sent` is over `limit`.
    pub fn check_count(what: &'static str, sent: usize, limit: usize) -> Result<(), Self> {
        if sent > limit {
            return Err(Self::TooMany { what, sent, limit });
        }
        Ok(())
    }

    /// Refuses a text of more than `limit` characters.
    ///
    /// # Errors
    /// [`WireError::Invalid`], naming the field.
    pub fn check_text(field: &str, text: &str, limit: usize) -> Result<(), Self> {
        if text.chars().count() > limit {
            return Err(Self::invalid(field, format_args!("at most {limit} characters")));
        }
        Ok(())
    }

    /// 401, and why.
    pub fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unauthorized(reason.into())
    }

    /// 422 for what is wrong with `field`.
    pub fn invalid(field: &str, reason: impl fmt::Display) -> Self {
        Self::Invalid(format!("{field}: {reason}"))
    }
}

/// What is said of a branch that is not where a push expects it.
fn elsewhere(branch: &BranchName, head: Option<&CommitId>) -> String {
    let at = match head {
        Some(head) => format!("branch '{branch}' is at {head}"),
        None => format!("there is no branch '{branch}'"),
    };
    format!(
        "{at}, and the push expects it elsewhere: fetch, look at what has changed, and push with the head that it has now"
    )
}

/// What a refusal begins with that names a parent: clients show no more than the first 400 characters.
const LACKS_PARENT: &str = "a parent was not sent; if the client left it out because another remote has it, delete .muse/remotes/<that remote> and push again: ";
/// How many missing references a refusal names.
const NAMED_REFERENCES: usize = 5;

/// The answer to a request that is refused.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse<'a> {
    /// The code, for programs.
    pub error: Cow<'a, str>,
    /// The sentence, for people.
    pub detail: Cow<'a, str>,
    /// What to do about it, where the sentence does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Cow<'a, str>>,
    /// Of what is beyond a quota: how much there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// And how much there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<u64>,
}

/// References that lead nowhere, counted, and the first few named.
#[derive(Default)]
pub struct Missing {
    named: Vec<String>,
    count: usize,
    /// Whether a commit's parent is among them.
    has_parent: bool,
}

impl Missing {
    /// Notes one.
    pub fn note(&mut self, describe: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < NAMED_REFERENCES {
            self.named.push(describe());
        }
    }

    /// Notes the parent of a commit. Clients leave out what the heads of all their remotes reach, be this one of them or not.
    pub fn note_parent(&mut self, describe: impl FnOnce() -> String) {
        self.has_parent = true;
        self.note(describe);
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Refuses a request that has any.
    ///
    /// # Errors
    /// [`WireError::MissingReferences`].
    pub fn refuse(self) -> Result<(), WireError> {
        if self.count == 0 {
            return Ok(());
        }
        let rest = self.count - self.named.len();
        let and_more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        let advice = if self.has_parent { LACKS_PARENT } else { "" };
        Err(WireError::MissingReferences(format!(
            "{advice}{} reference(s) are neither in the request nor in the repository: {}{and_more}",
            self.count,
            self.named.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests;
