//! Names that are taken.

use common::id::Slug;
use common::time;
use common::wire::WireError;
use service::Hub;

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
