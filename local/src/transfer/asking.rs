//! What a hub is asked about a repo, beside what comes and goes.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use common::id::{CommitId, ObjectId, ObjectKey, Slug};
use common::wire::domain::Domain;
use common::wire::limits::{MAX_NEGOTIATE, MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO};
use common::wire::value::Value;
use serde::{Deserialize, Serialize};
use service::Target;
use store::table::items::Visibility;

use super::post;
use super::remote::{Endpoint, Remote, is_missing};
use super::{Error, Names, Release, Tag};

/// Seconds that a presigned URL is good.
const TTL: u64 = 3_600;

/// What `GET /refs` says.
#[derive(Debug, Deserialize)]
pub(super) struct Refs {
    #[serde(default)]
    pub(super) repo_id: String,
    #[serde(default)]
    pub(super) domain: String,
    pub(super) default_branch: String,
    pub(super) branch_heads: BTreeMap<String, CommitId>,
}

/// The branches of a repo; none if there is no such repo, or one may not know of it.
pub(super) async fn refs(remote: &Remote) -> Result<Option<Refs>, Error> {
    match remote.ask(Endpoint::Refs, Bytes::new()).await {
        Ok(refs) => Ok(Some(refs)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a repo names now; none if there is no such repo, or one may not know of it.
///
/// # Errors
/// When the hub does not answer.
pub async fn look(remote: &Remote) -> Result<Option<Names>, Error> {
    #[derive(Deserialize)]
    struct Tags {
        tags: Vec<Tag>,
        #[serde(default)]
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct Releases {
        releases: Vec<Value>,
        #[serde(default)]
        next: Option<String>,
    }
    let Some(refs) = refs(remote).await? else {
        return Ok(None);
    };
    let (mut tags, mut after) = (Vec::new(), None);
    while let Some(Tags { tags: mut page, next }) = remote.ask_if_there(Endpoint::Tags(after.as_deref())).await? {
        let is_last = page.is_empty() || tags.len() > MAX_TAGS_OF_REPO;
        tags.append(&mut page);
        after = next;
        if is_last || after.is_none() {
            break;
        }
    }
    let (mut releases, mut after) = (Vec::new(), None);
    while let Some(page) = remote.ask_if_there(Endpoint::Releases(after.as_deref())).await? {
        let Releases { releases: page, next } = page;
        let is_last = page.is_empty() || releases.len() > MAX_RELEASES_OF_REPO;
        for release in &page {
            releases.push(Release::read(release)?);
        }
        after = next;
        if is_last || after.is_none() {
            break;
        }
    }
    Ok(Some(Names {
        domain: refs.domain,
        default_branch: refs.default_branch,
        heads: refs.branch_heads,
        tags,
        releases,
    }))
}

/// Which of these commits a repo has, as far as it has them from the first one on: what an earlier attempt has brought.
///
/// # Errors
/// When the hub does not answer.
pub async fn known<'c>(
    remote: &Remote,
    commits: impl Iterator<Item = &'c CommitId>,
) -> Result<HashSet<CommitId>, Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        want: [&'a CommitId; 0],
        have: &'a [&'a CommitId],
    }
    #[derive(Deserialize)]
    struct Answer {
        ack: Vec<CommitId>,
    }
    let commits: Vec<&CommitId> = commits.collect();
    let mut known = HashSet::new();
    for have in commits.chunks(MAX_NEGOTIATE) {
        let body = post::body(&Body { want: [], have })?;
        match remote.ask::<Answer>(Endpoint::Negotiate, body).await {
            Ok(answer) if answer.ack.is_empty() => break,
            Ok(answer) => known.extend(answer.ack),
            // What is there is sent again, which is harmless.
            Err(error) if is_missing(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

/// Where to put an object, or to get it from, if the hub has such a place.
pub(super) async fn presigned(
    remote: &Remote,
    id: &ObjectId,
    direction: &'static str,
) -> Result<Option<String>, Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        object_ids: [&'a ObjectId; 1],
        direction: &'static str,
        ttl_seconds: u64,
    }
    #[derive(Deserialize)]
    struct Answer {
        presigned: HashMap<ObjectId, String>,
    }
    let body = post::body(&Body { object_ids: [id], direction, ttl_seconds: TTL })?;
    match remote.ask::<Answer>(Endpoint::Presign, body).await {
        Ok(mut answer) => Ok(answer.presigned.remove(id)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a repo that is not there yet.
///
/// # Errors
/// When the hub does not make it under this name.
pub async fn create(to: &Remote, about: &NewRepo<'_>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        name: &'a str,
        description: &'a str,
        domain: &'a str,
        default_branch: &'a str,
        is_private: bool,
    }
    #[derive(Deserialize)]
    struct Answer {
        owner: String,
        slug: String,
    }
    let Target { owner, slug } = &to.target;
    // The hub makes the slug of the name.
    let name = Some(about.name).filter(|name| Slug::from_name(name).is_ok_and(|made| made == *slug));
    let body = post::body(&Body {
        name: name.unwrap_or(slug.as_str()),
        description: about.description,
        // An older hub took any word. None is sent instead, and then the first push says it.
        domain: about.domain.parse().map_or("", Domain::as_str),
        default_branch: about.default_branch,
        is_private: about.visibility == Visibility::Private,
    })?;
    let made: Answer = match to.ask(Endpoint::Repos, body).await {
        Err(Error::Hub { code, .. }) if code == "unauthorized" => {
            return Err(Error::Refused(format!("there is no repository {to}, and none can be made without a token")));
        }
        Err(error) if error.has_status(409) => {
            return Err(Error::Refused(format!(
                "there is a repository {to} already that this token may not read, or one of its name under your own handle"
            )));
        }
        made => made?,
    };
    if made.owner != owner.as_str() || made.slug != slug.as_str() {
        return Err(Error::Refused(format!(
            "the token is not that of '{owner}': the hub has made the empty repository {}/{} instead of {owner}/{slug}",
            made.owner, made.slug
        )));
    }
    Ok(())
}

/// What a repo is made with.
#[derive(Debug, Clone, Copy)]
pub struct NewRepo<'a> {
    /// Its name for people, which is used if it leads to its slug.
    pub name: &'a str,
    /// A sentence about it.
    pub description: &'a str,
    /// What kind of content it holds.
    pub domain: &'a str,
    /// The branch that a clone checks out.
    pub default_branch: &'a str,
    /// Who may know of it.
    pub visibility: Visibility,
}

/// Which of these objects a push would have to bring.
pub(super) async fn missing(remote: &Remote, object_ids: &[ObjectId]) -> Result<HashSet<ObjectKey>, Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        object_ids: &'a [ObjectId],
    }
    #[derive(Deserialize)]
    struct Answer {
        missing: Vec<ObjectId>,
    }
    match remote.ask::<Answer>(Endpoint::FilterObjects, post::body(&Body { object_ids })?).await {
        Ok(answer) => Ok(answer.missing.iter().map(ObjectId::key).collect()),
        // The hub does not say, so everything is sent.
        Err(error) if is_missing(&error) => Ok(object_ids.iter().map(ObjectId::key).collect()),
        Err(error) => Err(error),
    }
}
