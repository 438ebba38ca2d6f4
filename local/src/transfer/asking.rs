//! What a hub is asked about a repo before it is moved.

use client::{Endpoint, Remote};
use common::id::Slug;
use common::wire::domain::Domain;
use common::wire::limits::{MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO};
use common::wire::request::{ReleaseListResponse, RepoRequest, RepoResponse, TagListResponse};
use http::StatusCode;
use service::Target;
use store::table::items::Visibility;

use super::{Names, Release, TransferError};

/// What a repo names now; none if there is no such repo, or one may not know of it.
///
/// # Errors
/// When the hub does not answer.
pub async fn look(remote: &Remote) -> Result<Option<Names>, TransferError> {
    let Some(refs) = remote.refs().await? else {
        return Ok(None);
    };
    let (mut tags, mut after) = (Vec::new(), None);
    while let Some(page) = remote.get_if_there(Endpoint::Tags(after.as_deref())).await? {
        let TagListResponse { tags: mut page, next } = page;
        let is_last = page.is_empty() || tags.len() > MAX_TAGS_OF_REPO;
        tags.append(&mut page);
        after = next;
        if is_last || after.is_none() {
            break;
        }
    }
    let (mut releases, mut after) = (Vec::new(), None);
    while let Some(page) = remote.get_if_there(Endpoint::Releases(after.as_deref())).await? {
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

/// Why there is nothing to read from a repo.
pub fn unknown(from: &Remote) -> TransferError {
    TransferError::Refused(format!("there is no repository {from}, or it takes a token to read it"))
}

/// Makes a repo that is not there yet.
///
/// # Errors
/// When the hub does not make it under this name.
pub async fn create(to: &Remote, about: &NewRepo<'_>) -> Result<(), TransferError> {
    let Target { owner, slug } = &to.target;
    // The hub makes the slug of the name.
    let name = Some(about.name).filter(|name| Slug::from_name(name).is_ok_and(|made| made == *slug));
    let request = RepoRequest {
        name: name.unwrap_or(slug.as_str()).into(),
        description: Some(about.description.into()),
        // An older hub took any word. None is sent instead, and then the first push says it.
        domain: Some(about.domain.parse().map_or("", Domain::as_str).into()),
        default_branch: Some(about.default_branch.into()),
        is_private: Some(about.visibility == Visibility::Private),
    };
    let made: RepoResponse<'_> = match to.ask(Endpoint::Repos, &request).await {
        Err(client::ClientError::Hub { code, .. }) if code == "unauthorized" => {
            return Err(TransferError::Refused(format!(
                "there is no repository {to}, and none can be made without a token"
            )));
        }
        Err(error) if error.has_status(StatusCode::CONFLICT) => {
            return Err(TransferError::Refused(format!(
                "there is a repository {to} already that this token may not read, or one of its name under your own handle"
            )));
        }
        made => made?,
    };
    if made.owner != owner.as_str() || made.slug != slug.as_str() {
        return Err(TransferError::Refused(format!(
            "the token is not that of '{owner}': the hub has made the empty repository {}/{} instead of {}",
            made.owner, made.slug, to.target
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
