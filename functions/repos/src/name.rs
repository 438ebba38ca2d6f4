//! Names that are taken.

use common::id::Slug;
use common::wire::WireError;
use service::Hub;

/// Why a name cannot be that of another repo of its owner's.
pub async fn taken(hub: &Hub, owner: &Slug, slug: &Slug) -> Result<WireError, WireError> {
    let repo = hub.store.named(owner, slug).await?.and_then(|(_, meta)| meta);
    Ok(match repo {
        Some(meta) if meta.slug != *slug => WireError::NameTaken(format!(
            "the repository '{owner}/{}' was called '{owner}/{slug}' before, and that name leads to it still: choose another",
            meta.slug
        )),
        _ => WireError::RepoExists(format!("{owner}/{slug}")),
    })
}
