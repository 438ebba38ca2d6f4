//! What kind of content a repo holds, as its first push says it.

use common::id::CommitId;
use common::location::ObjectLocation;
use common::wire::WireError;
use common::wire::domain::{ATTRIBUTES_PATH, Domain, MAX_ATTRIBUTES};
use service::Hub;
use store::read::view::View;
use store::repo::Repo;

use common::push::ValidatedBundle;

/// What the tip of a first push says that the repo holds: by its delta, or by the `.museattributes` of its snapshot,
/// which may be staged. None if neither says it, or if a domain was chosen before.
///
/// # Errors
/// When a file that was staged cannot be read.
pub async fn of_first_push(
    hub: &Hub,
    repo: &Repo,
    view: &View,
    bundle: &ValidatedBundle<'_>,
    tip: Option<&CommitId>,
) -> Result<Option<Domain>, WireError> {
    if repo.was_pushed_to() || !repo.meta.domain.is_empty() {
        return Ok(None);
    }
    let Some(commit) = bundle.commits.iter().find(|commit| Some(&commit.id) == tip) else {
        return Ok(None);
    };
    if let Some(domain) = Domain::of_commit(commit) {
        return Ok(Some(domain));
    }
    let snapshot = commit.snapshot.as_ref().and_then(|id| bundle.snapshots.get(id));
    let mut entries = snapshot.into_iter().flat_map(|snapshot| &snapshot.manifest.entries);
    let Some((_, attributes)) = entries.find(|(path, _)| **path == *ATTRIBUTES_PATH) else {
        return Ok(None);
    };
    let key = attributes.key();
    if let Some(object) = bundle.objects.get(&key) {
        return Ok(Domain::of_attributes(&object.content));
    }
    match view.objects([&key]).await?.get(&key).map(|object| object.place) {
        Some(ObjectLocation::Packed(place)) if place.length as usize <= MAX_ATTRIBUTES => {
            let _permit = hub.store.read_permit().await?;
            let content = hub.store.read_places(&repo.id, view, &[place]).await?.next().await?;
            Ok(content.and_then(|content| Domain::of_attributes(&content)))
        }
        _ => Ok(None),
    }
}
