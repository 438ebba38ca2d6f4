//! What the table holds: one struct for each kind of item, and their keys.
//!
//! | partition key | sort key | what it holds |
//! |---|---|---|
//! | `NAME#<owner>/<slug>` | `NAME` | the id of the repo that has the name, or had it before; claimed once |
//! | `REPO#<repo_id>` | `META` | owner, slug, the slugs that it had before, visibility, domain, default branch and whether it was chosen, when the repo was made and first pushed to, how many objects were purged |
//! | | `REF#<branch>` | the branch's head, who moved it and when, how it is protected |
//! | | `PACK#<ulid>` | of a pack: size and counts, what its records have as they are sent, where its table lies, how many packs were merged into it, and since when it is condemned, if it is; of an index: the same, and how many packs it stands for |
//! | | `RETIRED#<ulid>` | the packs and indexes that gave way to the one of this name, and when, as long as they are in S3 |
//! | | `SWEEP` | when there are retired packs to delete (TTL) |
//! | | `GARBAGE` | when to look for garbage (TTL) |
//! | | `REMOVAL` | when to remove the repo, if it was deleted (TTL) |
//! | | `DELETED#<number>` | the guards of a deleted repo, which what is written to it says are absent |
//! | | `COLLECTED` | how far back the push log names only commits that are certainly kept |
//! | | `LOG#<ulid>` | a line of the push log: branch, before, after, forced, deleted or restored, by whom, when |
//! | | `PURGED#<object_id>` | an object that was purged: when, by whom, why |
//! | | `PURGE` | since when bytes of purged objects may be left |
//! | | `CHANGE#<ulid>` | what the owner changed of the repo itself, or of the protection of a branch: each field before and after, by whom, when |
//! | | `TAG#<label>` | a tag: its commit, its own id, when it was made |
//! | | `REL#<tag>` | a release: its channel, whether it is a draft, when it was made; the whole of it, compressed |
//! | | `HOOK#<ulid>` | a webhook: its URL, its secret, the types of events that it gets, which message its others wait behind |
//! | | `HOOKED#<ulid>` | at `musehub serve`, the delivery cursor of a webhook |
//! | | `MEMBER#<user_id>` | a member, their role, who gave it and when |
//! | | `LINK#<hash of a secret>` | a link by which the repo can be read: its id, who made it and when (TTL) |
//! | | `DAMAGED#<ulid>` | a pack that a repair has replaced, and whose file is kept |
//! | | `UPLOADS` | until when objects may be waiting under `uploads/` (TTL) |
//! | | `FORKING` | that the repo is a fork which is not all there yet: of which repo, since when |
//! | `POOL#<pool>` | `REPO#<repo_id>` | a fork whose files lie beside those of the repo that it is a fork of |
//! | `PLACES#<repo_id>` | a hash of a branch's or a folder's name in one case | claims of pushes that made branches there (TTL) |
//! | `PUBLIC` | `REPO#<repo_id>` | when a public repo was last pushed to |
//! | `USER#<user_id>` | `PROFILE`, `REPO#<slug>` | the user's handle; the user's repos |
//! | | `TOKEN#<ulid>` | a token that the user has minted, and what it allows (TTL) |
//! | `HANDLE#<handle>` | `HANDLE` | the user that has the handle; claimed once |
//! | | `USAGE` | how many bytes the user's repos hold together, and how many that may be |
//! | `RESTORE` | `RESTORE` | which backup is being restored, while it is |
//! | `UPLOAD#<upload_id>` | `UPLOAD` | the uploaded body of a request: whose, for which repo, used by which request (TTL) |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use jiff::fmt::serde::timestamp::{millisecond, second};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::table::link_key::LinkKey;
use crate::table::webhooks::secret::{HookId, Secret};
use common::id::{BranchName, CommitId, Label, ObjectKey, RepoId, Slug};
use common::pack::index::OLD_VERSION;
use common::pack::{PackId, PackSummary, RawBytes, TableExtent};
use common::push::Protection;

/// The partition key.
pub const PK: &str = "pk";
/// The sort key.
pub const SK: &str = "sk";

/// The sort key of a repo's one item about itself.
pub const META: &str = "META";
/// What the sort keys of a repo's branches begin with.
pub const REF_PREFIX: &str = "REF#";
/// What the sort keys of a repo's tags begin with. With it the longest label, 255 characters of four bytes, fills a sort
/// key of 1,024 bytes.
pub const TAG_PREFIX: &str = "TAG#";
/// What the sort keys of a repo's releases begin with: as short for the same reason.
pub const RELEASE_PREFIX: &str = "REL#";
/// What the sort keys of the lines of a repo's push log begin with.
pub const LOG_PREFIX: &str = "LOG#";
/// What the sort keys of what was changed of a repo itself begin with.
pub const CHANGE_PREFIX: &str = "CHANGE#";
/// What the sort keys of a repo's packs begin with.
pub const PACK_PREFIX: &str = "PACK#";
/// What the sort keys of the packs that a repo no longer has begin with, as long as they are in S3.
pub const RETIRED_PREFIX: &str = "RETIRED#";
/// The prefix of the sort keys of damaged packs that a repair has taken off a repo's list. Only an operator deletes
/// them.
pub const SET_ASIDE_PREFIX: &str = "DAMAGED#";
/// What the sort keys of a repo's webhooks begin with.
pub const HOOK_PREFIX: &str = "HOOK#";
/// What the sort keys of a repo's members begin with.
pub const MEMBER_PREFIX: &str = "MEMBER#";
/// What the sort keys of the links to a repo begin with.
pub const LINK_PREFIX: &str = "LINK#";
/// What the sort keys of a user's tokens begin with.
pub const TOKEN_PREFIX: &str = "TOKEN#";
/// What the sort keys begin with of what says how far the deliveries to a webhook have come.
pub const DELIVERY_CURSOR_PREFIX: &str = "HOOKED#";
/// The sort key of a repo's item that ends when there is something to sweep.
pub const SWEEP: &str = "SWEEP";
/// The sort key of a repo's item that ends when there is garbage to look for.
pub const GARBAGE: &str = "GARBAGE";
/// The sort key of a deleted repo's item that ends when the repo is to be removed.
pub const REMOVAL: &str = "REMOVAL";
/// The sort key of the item of a fork that is not all there yet.
pub const FORKING: &str = "FORKING";
/// What the sort keys of the guards of a deleted repo begin with.
pub const GUARD_PREFIX: &str = "DELETED#";
/// The attribute of a pack's item that condemns it.
pub(crate) const CONDEMNED_AT: &str = "condemned_at";
/// The sort key of a repo's item that says what was collected.
pub const COLLECTED: &str = "COLLECTED";
/// What the sort keys of the objects that a repo has purged begin with.
pub const PURGED_PREFIX: &str = "PURGED#";
/// The sort key of a repo's item that is there as long as bytes of what was purged may be left.
pub const PURGE: &str = "PURGE";
/// The attribute of a tag, a release or a line of the push log that came with a fork: nothing happened then that is an event.
pub(crate) const FORKED: &str = "forked";
/// The attribute of a branch's item that says how it is protected.
pub(crate) const PROTECTION: &str = "protection";
/// The attribute of a repo's item about itself that counts what was purged.
pub(crate) const PURGED: &str = "purged";
/// The attribute of a repo's item about itself that names what it was called before.
pub(crate) const FORMER_SLUGS: &str = "former_slugs";
/// What the sort keys of the forks in a pool begin with.
pub(crate) const POOLED_PREFIX: &str = "REPO#";
/// The sort key of what a user's repos hold together.
pub const USAGE: &str = "USAGE";
/// The sort key of a user's one item about itself.
pub const PROFILE: &str = "PROFILE";

/// An item as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} / {}", self.pk, self.sk)
    }
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    /// Which repo has a name: claimed once, so that a name has one repo.
    pub fn name(owner: &Slug, slug: &Slug) -> Self {
        Self::new(format!("NAME#{owner}/{slug}"), "NAME")
    }

    /// A repo's item about itself.
    pub fn meta(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), META)
    }

    /// A branch.
    pub fn branch(repo: &RepoId, branch: &BranchName) -> Self {
        Self::new(repo_pk(repo), format!("{REF_PREFIX}{branch}"))
    }

    /// The claims at a name that branches or their folders may have, by the name in one case. They are in a partition of
    /// their own, and its key is a hash, because folding may make a name longer than a key may be.
    pub fn claim(repo: &RepoId, folded: &str) -> Self {
        Self::new(format!("PLACES#{repo}"), hex::encode(Sha256::digest(folded)))
    }

    /// A pack.
    pub fn pack(repo: &RepoId, pack: PackId) -> Self {
        Self::new(repo_pk(repo), format!("{PACK_PREFIX}{pack}"))
    }

    /// The packs that were merged into a pack.
    pub fn retired(repo: &RepoId, merged: PackId) -> Self {
        Self::new(repo_pk(repo), format!("{RETIRED_PREFIX}{merged}"))
    }

    /// When there is something to sweep in a repo.
    pub fn sweep(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), SWEEP)
    }

    /// When there is garbage to look for in a repo.
    pub fn garbage(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), GARBAGE)
    }

    /// When to remove a repo that was deleted.
    pub fn removal(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), REMOVAL)
    }

    /// That a fork is not all there yet.
    pub fn forking(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), FORKING)
    }

    /// A fork among those that share files.
    pub fn pooled(fork: &RepoId) -> Self {
        Self::new(pool_pk(fork), format!("{POOLED_PREFIX}{fork}"))
    }

    /// A guard of a deleted repo.
    pub fn guard(repo: &RepoId, number: usize) -> Self {
        Self::new(repo_pk(repo), format!("{GUARD_PREFIX}{number}"))
    }

    /// What was collected in a repo.
    pub fn collected(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), COLLECTED)
    }

    /// An object that was purged.
    pub fn purged(repo: &RepoId, object: &ObjectKey) -> Self {
        Self::new(repo_pk(repo), format!("{PURGED_PREFIX}{}", object.as_ref()))
    }

    /// That bytes of what was purged may be left.
    pub fn purge(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), PURGE)
    }

    /// A tag.
    pub fn tag(repo: &RepoId, label: &Label) -> Self {
        Self::new(repo_pk(repo), format!("{TAG_PREFIX}{label}"))
    }

    /// A release.
    pub fn release(repo: &RepoId, tag: &Label) -> Self {
        Self::new(repo_pk(repo), format!("{RELEASE_PREFIX}{tag}"))
    }

    /// Whether objects may have been uploaded to a repo.
    pub fn uploads(repo: &RepoId) -> Self {
        Self::new(repo_pk(repo), "UPLOADS")
    }

    /// A body that is uploaded for a request to come.
    pub fn body_upload(id: &str) -> Self {
        Self::new(format!("UPLOAD#{id}"), "UPLOAD")
    }

    /// A line of the push log.
    pub fn log(repo: &RepoId, line: ulid::Ulid) -> Self {
        Self::new(repo_pk(repo), format!("{LOG_PREFIX}{line}"))
    }

    /// A change of the repo itself.
    pub fn change(repo: &RepoId, line: ulid::Ulid) -> Self {
        Self::new(repo_pk(repo), format!("{CHANGE_PREFIX}{line}"))
    }

    /// A webhook.
    pub fn hook(repo: &RepoId, hook: HookId) -> Self {
        Self::new(repo_pk(repo), format!("{HOOK_PREFIX}{hook}"))
    }

    /// How far the deliveries to a webhook have come.
    pub fn delivery_cursor(repo: &RepoId, hook: HookId) -> Self {
        Self::new(repo_pk(repo), format!("{DELIVERY_CURSOR_PREFIX}{hook}"))
    }

    /// A member of a repo.
    pub fn member(repo: &RepoId, user_id: &str) -> Self {
        Self::new(repo_pk(repo), format!("{MEMBER_PREFIX}{user_id}"))
    }

    /// A link by which a repo can be read.
    pub fn link(repo: &RepoId, link: &LinkKey) -> Self {
        Self::new(repo_pk(repo), format!("{LINK_PREFIX}{link}"))
    }

    /// A token that a user has minted.
    pub fn token(user_id: &str, token: &str) -> Self {
        Self::new(user_pk(user_id), format!("{TOKEN_PREFIX}{token}"))
    }

    /// The user who has a handle: claimed once.
    pub fn handle(handle: &Slug) -> Self {
        Self::new(format!("HANDLE#{handle}"), "HANDLE")
    }

    /// What a user's repos hold together, and how much that may be.
    pub fn usage(handle: &Slug) -> Self {
        Self::new(format!("HANDLE#{handle}"), USAGE)
    }

    /// The secret that tokens are signed with, where the operator gives none.
    pub fn token_secret() -> Self {
        Self::new("SECRET".to_owned(), "TOKENS")
    }

    /// Which backup is being restored: there only while it is not all there.
    pub fn restore() -> Self {
        Self::new("RESTORE".to_owned(), "RESTORE")
    }

    /// A user's item about itself.
    pub fn profile(user_id: &str) -> Self {
        Self::new(user_pk(user_id), PROFILE)
    }

    /// When a public repo was last pushed to.
    pub(crate) fn public(repo: &RepoId) -> Self {
        Self::new("PUBLIC".to_owned(), format!("REPO#{repo}"))
    }

    /// A repo in its owner's list.
    pub fn owned(user_id: &str, slug: &Slug) -> Self {
        Self::new(user_pk(user_id), format!("REPO#{slug}"))
    }

    /// The key that an item has.
    pub(crate) fn of(item: &Item) -> Self {
        let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
        Self { pk: text(PK), sk: text(SK) }
    }

    /// The key as the SDK has it.
    pub fn item(&self) -> Item {
        HashMap::from([
            (PK.to_owned(), AttributeValue::S(self.pk.clone())),
            (SK.to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// The partition key of a repo's items.
pub fn repo_pk(repo: &RepoId) -> String {
    format!("REPO#{repo}")
}

/// The partition key of the forks that share files with a repo.
pub(crate) fn pool_pk(repo: &RepoId) -> String {
    format!("POOL#{}", repo.pool())
}

/// The partition key of a user's items.
pub fn user_pk(user_id: &str) -> String {
    format!("USER#{user_id}")
}

/// The repo whose items have this partition key, if it is a repo's.
pub fn repo_of(pk: &str) -> Option<RepoId> {
    pk.strip_prefix("REPO#")?.parse().ok()
}

/// The item of `record` under `key`.
pub fn encode(key: &Key, record: &impl Serialize) -> Result<Item, StoreError> {
    let mut item: Item = serde_dynamo::to_item(record).map_err(StoreError::fault)?;
    item.extend(key.item());
    Ok(item)
}

/// Reads an item as what it is.
///
/// # Errors
/// [`StoreError::Damaged`] when it is not.
pub fn decode<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    let key = Key::of(&item);
    if key.sk.starts_with(PACK_PREFIX) && item.contains_key("contents") && !item.contains_key("table") {
        return Err(StoreError::Damaged(format!("item {key}: {OLD_VERSION}")));
    }
    serde_dynamo::from_item(item).map_err(|error| StoreError::Damaged(format!("item {key}: {error}")))
}

/// Who may know of a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Anyone may read it.
    Public,
    /// Only its owner and its collaborators may know of it.
    Private,
}

impl std::str::FromStr for Visibility {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let found = [Self::Public, Self::Private].into_iter().find(|visibility| visibility.as_str() == text);
        found.ok_or("it is public or private")
    }
}

impl Visibility {
    /// `public` or `private`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// `NAME#<owner>/<slug>` | `NAME`, and a repo in its owner's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NameItem {
    /// The repo that has the name.
    pub repo_id: RepoId,
}

/// `REPO#<repo_id>` | `META`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetaItem {
    /// The owner's handle.
    pub owner: Slug,
    /// The repo's name under the owner.
    pub slug: Slug,
    /// The names under the owner that it had before, which lead to it still.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former_slugs: BTreeSet<Slug>,
    /// The repo's name for people.
    pub name: String,
    /// The owner.
    pub owner_user_id: String,
    /// Who may know of it.
    pub visibility: Visibility,
    /// What kind of content it holds, as the owner has chosen or the first push has said; else empty. Clients get
    /// [`Domain::of_stored`](common::wire::domain::Domain::of_stored).
    pub domain: String,
    /// A sentence about it.
    pub description: String,
    /// The branch that a clone checks out, as the owner has chosen it, or else the first that was ever pushed. Clients
    /// get [`Self::shown_default`].
    pub default_branch: String,
    /// Whether the owner has chosen it. Older hubs did not note it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default_is_chosen: bool,
    /// ISO 8601.
    pub created_at: String,
    /// ISO 8601; absent until a branch was pushed. The write that sets it sets `default_branch` too, unless that was
    /// chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_pushed_at: Option<String>,
    /// Whether a push made it, and not a request for a repo of this name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_made_by_push: bool,
    /// Where the first push put its branch; absent until then, and where older hubs took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_head: Option<CommitId>,
    /// How many objects were purged; absent until one was. Each of them has an item of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<u64>,
    /// Bytes that it may hold in S3, as an operator says; absent for as many as the deployment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// The bytes of it that are in what its owner is counted to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_bytes: Option<u64>,
    /// ISO 8601; a repo that has it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// Since when a repo that is deleted is being removed, so that it cannot be undeleted any more.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millisecond::optional")]
    pub removing_since: Option<Timestamp>,
    /// The repo that it was made of, if it is a fork. That one may be gone since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<RepoId>,
}

/// `REPO#<repo_id>` | `FORKING`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForkingItem {
    /// The repo that it is a fork of.
    pub of: RepoId,
    /// Since when.
    #[serde(with = "millisecond::required")]
    pub since: Timestamp,
    /// Since when what there is of it is being deleted, so that it will never be all there.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millisecond::optional")]
    pub abandoned_at: Option<Timestamp>,
}

/// `POOL#<pool>` | `REPO#<repo_id>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PooledItem {
    /// ISO 8601.
    pub since: String,
    /// The user whose fork it was when it was made.
    pub made_for: String,
}

impl MetaItem {
    /// Whether a name leads to the repo: the one that it has, or one that it had.
    pub fn is_called(&self, owner: &Slug, slug: &Slug) -> bool {
        self.owner == *owner && (self.slug == *slug || self.former_slugs.contains(slug))
    }

    /// The keys of all names that lead to the repo.
    pub fn name_keys(&self) -> impl Iterator<Item = Key> + '_ {
        [&self.slug].into_iter().chain(&self.former_slugs).map(|slug| Key::name(&self.owner, slug))
    }

    /// The branch that clients get as the default, in a repo that has these. They cannot check out a branch that is
    /// missing or has a `/` in its name. So it is the one that was chosen; else `main`; else the first that was ever
    /// pushed; else, if that cannot be checked out, the first by name of those that can. It is worked out each time, so
    /// no push has to write it down, and repos whose first branch could not be checked out need no remedy.
    pub fn shown_default<'m>(&'m self, heads: &'m BTreeMap<String, CommitId>) -> &'m str {
        let kept = self.default_branch.as_str();
        let there = |name: &&str| heads.contains_key(*name);
        let can_be_checked_out = |name: &&str| !name.contains('/');
        let chosen = Some(kept).filter(|_| self.default_is_chosen).filter(there).filter(can_be_checked_out);
        chosen
            .or_else(|| Some("main").filter(there))
            .or_else(|| Some(kept).filter(there).filter(can_be_checked_out))
            .or_else(|| heads.keys().map(String::as_str).find(can_be_checked_out))
            .or_else(|| Some(kept).filter(there))
            .or_else(|| heads.keys().map(String::as_str).next())
            .unwrap_or(kept)
    }
}

/// `REPO#<repo_id>` | `REF#<branch>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefItem {
    /// The commit that the branch points at.
    pub head: CommitId,
    /// ISO 8601.
    pub updated_at: String,
    /// The user that pushed it.
    pub updated_by: String,
    /// How it is protected; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

/// `PLACES#<repo_id>` | `<hash of a branch's or a folder's name in one case>`: claims of pushes that make branches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimItem {
    /// The claim of the last push that made a branch of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The claim of the last push that made a branch in a folder of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// How that push spelled the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spelled: Option<String>,
    /// When it may go: the table's TTL attribute.
    #[serde(default, with = "second::required")]
    pub expires_at: Timestamp,
}

/// `REPO#<repo_id>` | `TAG#<label>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagItem {
    /// The tag's own id, the client's or the hub's.
    pub tag_id: String,
    /// The repo, as the client calls it.
    pub repo_id: String,
    /// The commit.
    pub commit_id: CommitId,
    /// When the tag was made, as the client says.
    pub created_at: String,
    /// A ULID that the hub draws when it writes the item. Absent in items of before there were events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_id: Option<String>,
    /// The user that the item was written for. Absent where `write_id` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<String>,
}

/// `REPO#<repo_id>` | `REL#<tag>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseItem {
    /// A ULID, drawn by the writer of the item, who recognizes it by this.
    pub write_id: String,
    /// The commit that it is.
    pub commit_id: CommitId,
    /// The name of its channel.
    pub channel: String,
    /// Whether it is only for those who ask for drafts.
    pub is_draft: bool,
    /// When it was made, as the client says: releases are listed by this.
    pub created_at: String,
    /// The user who published it. Absent in items of before there were events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<String>,
    /// Bytes of `record` before it was compressed.
    pub size: u64,
    /// The release as one msgpack map, compressed as one zstd frame.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
}

/// `REPO#<repo_id>` | `PACK#<ulid>`: a pack, or an index in the place of the packs that it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackItem {
    size: u64,
    commits: u64,
    snapshots: u64,
    objects: u64,
    /// Absent in the item of a pack that a push wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged: Option<u64>,
    /// How many packs it is an index of; absent in the item of a pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packs: Option<u64>,
    /// When it was condemned; absent in the item of a pack that pushes may rely on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millisecond::optional")]
    condemned_at: Option<Timestamp>,
    /// What its records have as they are sent: bytes of commits and snapshots, and of objects. Absent in items of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<(u64, u64)>,
    /// Bytes of the large objects that it lists. Absent in items of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    large: Option<u64>,
    /// Where its table is: offset, length, length of the head, checksum of the head.
    table: (u64, u64, u64, u64),
    created_at: String,
    created_by: String,
}

impl PackItem {
    /// What the table keeps of a pack.
    pub fn new(summary: &PackSummary, created_at: &str, created_by: &str) -> Self {
        let TableExtent { offset, length, head_length, head_checksum } = summary.table;
        Self {
            size: summary.size,
            commits: summary.commits,
            snapshots: summary.snapshots,
            objects: summary.objects,
            merged: Some(summary.merged).filter(|merged| *merged > 0),
            packs: Some(summary.packs).filter(|packs| *packs > 0),
            condemned_at: summary.condemned_at,
            raw: summary.raw.map(|raw| (raw.records, raw.content)),
            large: summary.large,
            table: (offset, length, head_length, head_checksum),
            created_at: created_at.to_owned(),
            created_by: created_by.to_owned(),
        }
    }

    /// What is kept of the pack or index.
    pub const fn summary(&self) -> PackSummary {
        let (offset, length, head_length, head_checksum) = self.table;
        PackSummary {
            size: self.size,
            commits: self.commits,
            snapshots: self.snapshots,
            objects: self.objects,
            merged: match self.merged {
                Some(merged) => merged,
                None => 0,
            },
            packs: match self.packs {
                Some(packs) => packs,
                None => 0,
            },
            condemned_at: self.condemned_at,
            raw: match self.raw {
                Some((records, content)) => Some(RawBytes { records, content }),
                None => None,
            },
            large: self.large,
            table: TableExtent { offset, length, head_length, head_checksum },
        }
    }
}

/// `REPO#<repo_id>` | `RETIRED#<ulid>`: packs that were merged into the pack of this name. Requests that listed the packs
/// before may still read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetiredItem {
    /// The packs' names.
    pub packs: Vec<String>,
    /// The names of indexes that have given way to others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<String>,
    /// When they were retired.
    #[serde(with = "millisecond::required")]
    pub retired_at: Timestamp,
    /// Whether they list large objects that no pack lists any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_large: bool,
}

/// `REPO#<repo_id>` | `SWEEP`: its end wakes the compaction of the repo, to delete what was retired.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepItem {
    /// When: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// `REPO#<repo_id>` | `GARBAGE`: its end wakes the garbage collection of the repo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GarbageItem {
    /// When: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// `REPO#<repo_id>` | `REMOVAL`: its end wakes the removal of a repo that was deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemovalItem {
    /// When: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// `REPO#<repo_id>` | `DELETED#<number>`: a guard of a deleted repo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GuardItem {
    /// When the repo was deleted: ISO 8601.
    pub deleted_at: String,
}

/// `REPO#<repo_id>` | `COLLECTED`: unreachable records were deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CollectedItem {
    /// Lines of the push log that are older may name commits that are gone.
    #[serde(with = "millisecond::required")]
    pub log_kept_since: Timestamp,
}

/// `REPO#<repo_id>` | `PURGED#<object_id>`: an object that no request is served any more, and that no push may bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedItem {
    /// ISO 8601.
    pub at: String,
    /// The user that purged it.
    pub by: String,
    /// Why, in their words; perhaps empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// `REPO#<repo_id>` | `PURGE`: bytes of what was purged may be left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeItem {
    /// When something was purged last: requests that began before may still bring it.
    #[serde(with = "millisecond::required")]
    pub since: Timestamp,
    /// When it was looked for last and none was left, but for what such requests may bring; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millisecond::optional")]
    pub erased_at: Option<Timestamp>,
}

/// `REPO#<repo_id>` | `UPLOADS`: objects may have been uploaded, and are looked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UploadsItem {
    /// Until when: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// `UPLOAD#<upload_id>` | `UPLOAD`: a body that is uploaded for a request to come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BodyUploadItem {
    /// Who may use it.
    pub user_id: String,
    /// The handle of the owner of the repo that it was made for.
    pub owner: Slug,
    /// The name of that repo.
    pub slug: Slug,
    /// Drawn by the request that has used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
    /// Until when: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// `REPO#<repo_id>` | `LOG#<ulid>`: one line of the push log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogItem {
    /// The branch that moved.
    pub branch: BranchName,
    /// Its head before; absent for a new branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<CommitId>,
    /// Its head after; of a line that deletes it the head that it had.
    pub after: CommitId,
    /// Whether the branch is gone from then on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Whether the pusher forced the move, so that it need not lead forward. A branch that was there and is restored is moved so too.
    pub forced: bool,
    /// Whether the branch was restored to where the log says that it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// The user that pushed.
    pub by: String,
    /// By which token; absent for the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// ISO 8601.
    pub at: String,
}

/// `REPO#<repo_id>` | `CHANGE#<ulid>`: what an owner has changed of a repo itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeItem {
    /// What was changed, field by field: what it was, and what it is.
    pub changed: BTreeMap<String, (String, String)>,
    /// The user that did it.
    pub by: String,
    /// ISO 8601.
    pub at: String,
}

/// What the name of a change begins with that is of a member, whose handle follows.
const OF_MEMBER: &str = "member:";

impl ChangeItem {
    /// What a change of a member is called.
    pub fn of_member(handle: &Slug) -> String {
        format!("{OF_MEMBER}{handle}")
    }
}

/// `REPO#<repo_id>` | `HOOK#<ulid>`: a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookItem {
    /// Where events are POSTed.
    pub url: String,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// The types of the events that it wants; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<BTreeSet<String>>,
    /// Why nothing is delivered to it any more; absent as long as it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_because: Option<String>,
    /// In a deployment, while messages for it wait for another attempt: the id of the last of these, behind which all others
    /// wait too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_until: Option<String>,
    /// ISO 8601.
    pub created_at: String,
    /// The user that made it.
    pub created_by: String,
}

impl HookItem {
    /// Whether events of a type are delivered to it.
    pub fn wants(&self, kind: &str) -> bool {
        self.inactive_because.is_none() && self.events.as_ref().is_none_or(|events| events.contains(kind))
    }
}

/// `REPO#<repo_id>` | `HOOKED#<ulid>`: how far the deliveries to a webhook have come. Only `musehub serve` writes it: in a
/// deployment the queue knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCursorItem {
    /// How far the table was read and everything in it is done. Older events are done too, but for what the table got late.
    #[serde(with = "millisecond::required")]
    pub until: Timestamp,
    /// The ids of the newest events that are done. They separate those from events that the table got late.
    pub done: Vec<String>,
}

/// `REPO#<repo_id>` | `MEMBER#<user_id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberItem {
    /// What the member may do.
    pub role: Role,
    /// The member's handle. Absent in items that operators wrote before the API did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Slug>,
    /// The user that gave the role. Absent as `handle` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_by: Option<String>,
    /// ISO 8601. Absent as `handle` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_at: Option<String>,
}

/// What somebody may do with a repo: each may do what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Fetch.
    Read,
    /// Push, tag and release.
    Write,
    /// Change what the repo is, and who its members are.
    Admin,
    /// Rename and delete it. It is the role of one user, and no member's.
    Owner,
}

impl Role {
    /// The roles that members have.
    pub const OF_MEMBERS: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of a member, or the most that a token allows.
    ///
    /// # Errors
    /// For the name of no such role.
    pub fn of_member(name: &str) -> Result<Self, &'static str> {
        let found = Self::OF_MEMBERS.into_iter().find(|role| role.as_str() == name);
        found.ok_or("it is read, write or admin")
    }
}

/// `REPO#<repo_id>` | `LINK#<hash of a secret>`: a link by which the repo can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkItem {
    /// Its name for its owner: the secret is not kept.
    pub id: String,
    /// What it is for, in the words of who made it; perhaps empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The user that made it.
    pub created_by: String,
    /// ISO 8601.
    pub created_at: String,
    /// Until when it leads to the repo: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// `HANDLE#<handle>` | `USAGE`: what a user's repos hold together, and how much that may be. Under the handle, so that it can be read with
/// a repo that is named by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageItem {
    /// Bytes in S3 of all repos of the user's, as they were counted after the last pushes.
    #[serde(default)]
    pub bytes: u64,
    /// How many that may be, as an operator says; absent for as many as the deployment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// How many repos the user may have; absent for as many as the deployment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_repos: Option<u64>,
}

/// `USER#<user_id>` | `TOKEN#<ulid>`: a token that a user has minted. It is good as long as the item is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenItem {
    /// What it is for, in the user's words; perhaps empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The agent that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The repos that it is for, as they were called then; all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repos: Option<BTreeMap<RepoId, String>>,
    /// The most that it allows.
    pub access: Role,
    /// The branches that it may push to; all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// Whether it may force a branch.
    pub may_force: bool,
    /// Whether it may delete a branch.
    pub may_delete: bool,
    /// ISO 8601.
    pub created_at: String,
    /// Until when it is good: the table's TTL attribute.
    #[serde(with = "second::required")]
    pub expires_at: Timestamp,
}

/// By which of a user's tokens something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// The id of the token, if the user has minted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The agent that the token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// `USER#<user_id>` | `PROFILE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileItem {
    /// The name that the user's repos are under.
    pub handle: Slug,
    /// A name for people.
    pub display_name: String,
    /// ISO 8601.
    pub created_at: String,
}

/// `SECRET` | `TOKENS`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretItem {
    /// What tokens are signed with; in a second line what they were signed with before, if that is taken still.
    pub secret: String,
}

/// `HANDLE#<handle>` | `HANDLE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HandleItem {
    /// The user that has it.
    pub user_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kept: &str, default_is_chosen: bool, branches: &[&str]) -> String {
        let meta = MetaItem {
            owner: "o".parse().unwrap(),
            slug: "s".parse().unwrap(),
            name: String::new(),
            owner_user_id: String::new(),
            visibility: Visibility::Public,
            domain: String::new(),
            description: String::new(),
            default_branch: kept.to_owned(),
            default_is_chosen,
            created_at: String::new(),
            first_pushed_at: None,
            is_made_by_push: false,
            first_head: None,
            purged: None,
            former_slugs: BTreeSet::new(),
            quota_bytes: None,
            counted_bytes: None,
            deleted_at: None,
            removing_since: None,
            forked_from: None,
        };
        let heads = branches.iter().map(|branch| ((*branch).to_owned(), "c".parse().unwrap())).collect();
        meta.shown_default(&heads).to_owned()
    }

    #[test]
    fn a_time_is_stored_as_a_number_and_a_number_that_is_none_is_damage() {
        let number = |item: &Item, name: &str| item[name].as_n().unwrap().clone();
        let time = Timestamp::constant(1_750_000_000, 999_000_000);
        let key = Key { pk: "pk".to_owned(), sk: "sk".to_owned() };
        let purge = encode(&key, &PurgeItem { since: time, erased_at: Some(time) }).unwrap();
        assert_eq!([number(&purge, "since"), number(&purge, "erased_at")], ["1750000000999"; 2]);
        assert_eq!(decode::<PurgeItem>(purge.clone()).unwrap(), PurgeItem { since: time, erased_at: Some(time) });
        let mut upload = encode(&key, &UploadsItem { expires_at: time }).unwrap();
        assert_eq!(number(&upload, "expires_at"), "1750000000");
        let expires_at = decode::<UploadsItem>(upload.clone()).unwrap().expires_at;
        assert_eq!(expires_at, Timestamp::constant(1_750_000_000, 0));
        for none in ["18446744073709551615", "9223372036854775807", "300000000000000", "1e30", "0.5", "soon"] {
            let none = AttributeValue::N(none.to_owned());
            let mut purge = purge.clone();
            purge.insert("erased_at".to_owned(), none.clone());
            upload.insert("expires_at".to_owned(), none.clone());
            assert!(matches!(decode::<PurgeItem>(purge), Err(StoreError::Damaged(_))), "{none:?}");
            assert!(matches!(decode::<UploadsItem>(upload.clone()), Err(StoreError::Damaged(_))), "{none:?}");
        }
    }

    #[test]
    fn a_branch_of_before_there_was_protection_has_none() {
        let key = Key { pk: "pk".to_owned(), sk: "REF#main".to_owned() };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut item = key.item();
        item.extend(["head", "updated_at", "updated_by"].map(|field| (field.to_owned(), text("c"))));
        assert_eq!(decode::<RefItem>(item.clone()).unwrap().protection, None);
        assert_eq!(encode(&key, &decode::<RefItem>(item.clone()).unwrap()).unwrap(), item, "nor does it get one");
        item.insert(PROTECTION.to_owned(), text("admins"));
        assert_eq!(decode::<RefItem>(item.clone()).unwrap().protection, Some(Protection::Admins));
        item.insert(PROTECTION.to_owned(), text("nobody"));
        assert!(matches!(decode::<RefItem>(item), Err(StoreError::Damaged(_))), "rather than none");
    }

    #[test]
    fn a_default_branch_can_be_checked_out_wherever_one_can() {
        for (kept, is_chosen, branches, expected) in [
            ("main", false, &[][..], "main"),
            ("trunk", true, &[], "trunk"),
            ("trunk", false, &["trunk"], "trunk"),
            ("trunk", false, &["a", "trunk"], "trunk"),
            // None was chosen, and `main` is there.
            ("trunk", false, &["a", "main", "trunk"], "main"),
            ("trunk", true, &["a", "main", "trunk"], "trunk"),
            // What was chosen is not there yet.
            ("trunk", true, &["a", "main"], "main"),
            ("trunk", true, &["a", "b"], "a"),
            // The first that was pushed cannot be checked out.
            ("feature/x", false, &["feature/x"], "feature/x"),
            ("feature/x", false, &["feature/x", "zebra"], "zebra"),
            ("feature/x", true, &["feature/x", "zebra"], "zebra"),
            ("feature/x", true, &["a/b", "feature/x"], "feature/x"),
            ("gone", false, &["a/b", "c/d"], "a/b"),
            ("gone", false, &["a/b", "c"], "c"),
        ] {
            assert_eq!(shown(kept, is_chosen, branches), expected, "{kept} {is_chosen} {branches:?}");
        }
    }
}
