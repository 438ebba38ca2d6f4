//! What answers say of a repo, of who may make one, and of a name that is taken.

use common::id::{RepoId, Slug};
use common::time;
use common::wire::WireError;
use common::wire::domain::Domain;
use common::wire::request::RepoResponse;
use store::table::items::MetaItem;

use crate::hub::Hub;

/// What a repo of a hub at `url` is. Its default branch is what a clone of it checks out, where its branches were read.
pub fn described<'m>(
    url: &str,
    id: &'m RepoId,
    meta: &'m MetaItem,
    default_branch: Option<&'m str>,
) -> RepoResponse<'m> {
    RepoResponse {
        repo_id: id.as_str().into(),
        owner: meta.owner.as_str().into(),
        slug: meta.slug.as_str().into(),
        name: meta.name.as_str().into(),
        visibility: meta.visibility.as_str().into(),
        domain: Domain::of_stored(&meta.domain).as_str().into(),
        description: Some(meta.description.as_str().into()),
        default_branch: default_branch.map(Into::into),
        clone_url: format!("{url}/{}/{}", meta.owner, meta.slug).into(),
        created_at: Some(meta.created_at.as_str().into()),
        first_pushed_at: meta.first_pushed_at.as_deref().map(Into::into),
        deleted_at: meta.deleted_at.as_deref().map(Into::into),
        kept_until: meta.kept_until().map(|until| time::iso(until).into()),
        forked_from: None,
    }
}

/// The handle under which a user makes repos.
///
/// # Errors
/// [`WireError::Invalid`] for a user who has none.
pub async fn handle_of(hub: &Hub, user_id: &str) -> Result<Slug, WireError> {
    let profile = hub.store.profile(user_id).await?;
    let none = || WireError::Invalid("you have no handle yet: POST /api/identities {\"handle\": ...} first".to_owned());
    Ok(profile.ok_or_else(none)?.handle)
}

/// Why a name cannot be that of another repo of its owner's.
pub async fn taken(hub: &Hub, owner: &Slug, slug: &Slug) -> Result<WireError, WireError> {
    let repo = hub.store.named(owner, slug).await?.and_then(|(_, meta)| meta);
    let now = hub.store.ambient().now();
    Ok(match repo {
        Some(meta) if meta.deleted_at.is_some() => {
            WireError::NameTaken(match meta.kept_until().filter(|until| *until > now) {
                Some(until) => format!(
                    "the repository '{owner}/{slug}' was deleted and can be undeleted until {}: POST /api/repos/{owner}/{slug}/undelete; its name is free some time after that",
                    time::iso(until)
                ),
                None => format!(
                    "the repository '{owner}/{slug}' was deleted and is being removed: its name is free when nothing of it is left"
                ),
            })
        }
        Some(meta) if meta.slug != *slug => WireError::NameTaken(format!(
            "the repository '{owner}/{}' was called '{owner}/{slug}' before, and that name leads to it still: choose another",
            meta.slug
        )),
        _ => WireError::RepoExists(format!("{owner}/{slug}")),
    })
}
