//! What a hub is asked about a repo, beside what comes and goes.

use std::collections::HashSet;

use bytes::Bytes;
use common::id::{CommitId, ObjectId, ObjectKey, Slug};
use common::wire::Text;
use common::wire::domain::Domain;
use common::wire::limits::{MAX_NEGOTIATE, MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO};
use common::wire::request::{
    FilterObjectsRequest, FilterObjectsResponse, NegotiateRequest, NegotiateResponse, PresignRequest, PresignResponse,
    RefsResponse, ReleaseListResponse, RepoRequest, RepoResponse, TagListResponse,
};
use service::Target;
use store::table::items::Visibility;

use super::post;
use super::remote::{Endpoint, Remote, is_missing};
use super::{Error, Names, Release};

/// Seconds that a presigned URL is good.
const TTL: i64 = 3_600;

/// The branches of a repo; none if there is no such repo, or one may not know of it.
pub(super) async fn refs(remote: &Remote) -> Result<Option<RefsResponse<'static>>, Error> {
    if_there(remote.ask(Endpoint::Refs, Bytes::new()).await)
}

/// An answer, unless it is that there is no such thing.
fn if_there<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if is_missing(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What a repo names now; none if there is no such repo, or one may not know of it.
///
/// # Errors
/// When the hub does not answer.
pub async fn look(remote: &Remote) -> Result<Option<Names>, Error> {
    let Some(refs) = refs(remote).await? else {
        return Ok(None);
    };
    let (mut tags, mut after) = (Vec::new(), None);
    while let Some(page) = remote.ask_if_there(Endpoint::Tags(after.as_deref())).await? {
        let TagListResponse { tags: mut page, next } = page;
        let is_last = page.is_empty() || tags.len() > MAX_TAGS_OF_REPO;
        tags.append(&mut page);
        after = next;
        if is_last || after.is_none() {
            break;
        }
    }
    let (mut releases, mut after) = (Vec::new(), None);
    while let Some(page) = remote.ask_if_there(Endpoint::Releases(after.as_deref())).await? {
        let ReleaseListResponse { releases: page, next } = page;
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
        domain: refs.domain.into_owned(),
        default_branch: refs.default_branch.into_owned(),
        heads: refs.branch_heads.into_owned(),
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
    let commits: Vec<&CommitId> = commits.collect();
    let mut known = HashSet::new();
    for have in commits.chunks(MAX_NEGOTIATE) {
        match negotiate(remote, &[], have).await? {
            Some(answer) if !answer.ack.is_empty() => known.extend(answer.ack),
            // What is there is sent again, which is harmless.
            _ => break,
        }
    }
    Ok(known)
}

/// What a repo has in common with somebody; none if the hub does not say.
pub(super) async fn negotiate(
    remote: &Remote,
    want: &[&CommitId],
    have: &[&CommitId],
) -> Result<Option<NegotiateResponse>, Error> {
    let want: Vec<CommitId> = want.iter().copied().cloned().collect();
    let have: Vec<Text<'_>> = have.iter().map(|id| id.to_string().into()).collect();
    let body = post::body(&NegotiateRequest { want: want.into(), have: have.into() })?;
    if_there(remote.ask(Endpoint::Negotiate, body).await)
}

/// Where to put an object, or to get it from, if the hub has such a place.
pub(super) async fn presigned(
    remote: &Remote,
    id: &ObjectId,
    direction: &'static str,
) -> Result<Option<String>, Error> {
    let request =
        PresignRequest { object_ids: vec![id.clone()].into(), direction: direction.into(), ttl_seconds: Some(TTL) };
    let answer: Option<PresignResponse> = if_there(remote.ask(Endpoint::Presign, post::body(&request)?).await)?;
    Ok(answer.and_then(|mut answer| answer.presigned.remove(id)))
}

/// Makes a repo that is not there yet.
///
/// # Errors
/// When the hub does not make it under this name.
pub async fn create(to: &Remote, about: &NewRepo<'_>) -> Result<(), Error> {
    let Target { owner, slug } = &to.target;
    // The hub makes the slug of the name.
    let name = Some(about.name).filter(|name| Slug::from_name(name).is_ok_and(|made| made == *slug));
    let body = post::body(&RepoRequest {
        name: name.unwrap_or(slug.as_str()).into(),
        description: Some(about.description.into()),
        // An older hub took any word. None is sent instead, and then the first push says it.
        domain: Some(about.domain.parse().map_or("", Domain::as_str).into()),
        default_branch: Some(about.default_branch.into()),
        is_private: Some(about.visibility == Visibility::Private),
    })?;
    let made: RepoResponse<'_> = match to.ask(Endpoint::Repos, body).await {
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
    let body = post::body(&FilterObjectsRequest { object_ids: object_ids.to_vec().into() })?;
    let answer: Option<FilterObjectsResponse> = if_there(remote.ask(Endpoint::FilterObjects, body).await)?;
    // Where the hub does not say, everything is sent.
    let missing = answer.as_ref().map_or(object_ids, |answer| &answer.missing);
    Ok(missing.iter().map(ObjectId::key).collect())
}
