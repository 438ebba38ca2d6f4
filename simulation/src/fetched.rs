//! Whether the answer to a fetch is complete and minimal.

use std::collections::BTreeSet;

use tests::history::{History, Pack};
use tests::verify;

use crate::world::Violation;

/// What a fetch may leave out, and what it has to.
pub struct Purged {
    /// Objects that may be purged.
    pub may: BTreeSet<String>,
    /// Those that have to be.
    pub has_to: BTreeSet<String>,
}

/// Holds an answer against the history of everything that was ever made. Of what the client has, the hub has to know what is
/// `kept`, and may know more.
///
/// # Errors
/// What is missing, or was sent in vain.
pub fn check(
    history: &History,
    kept: &BTreeSet<String>,
    want: &[String],
    have: &[String],
    purged: &Purged,
    fetched: &Pack,
) -> Result<(), Violation> {
    let known: Vec<&String> = have.iter().filter(|id| kept.contains(*id)).collect();
    let had = history.reachable(have);
    let sent = fetched.commit_ids();
    let least: BTreeSet<String> = history.between(want, have).into_iter().collect();
    let most: BTreeSet<String> = history.between(want, &known).into_iter().collect();
    if let Some(lost) = least.difference(&sent).next() {
        return Err(format!("a fetch lacks the commit {lost}"));
    }
    if let Some(more) = sent.difference(&most).next() {
        return Err(format!("a fetch has the commit {more}, which was not to be sent"));
    }
    // Believes nothing: hashes, repeats, order, and that with what the client has nothing is missing.
    let mut local = History::default();
    let had_in_order: Vec<String> = history.ids().into_iter().filter(|id| had.contains(id)).collect();
    local.absorb(&history.pack(&had_in_order));
    local.objects.extend(purged.may.iter().map(|id| (id.clone(), history.object(id).content)));
    verify::pack(fetched, &local)?;
    if fetched.snapshot_ids() != history.snapshots_of(&sent) {
        return Err("a fetch has other snapshots than those of its commits".to_owned());
    }
    let parents = sent.iter().flat_map(|id| history.commit(id).parents()).map(str::to_owned);
    let boundary: BTreeSet<String> = parents.filter(|parent| !sent.contains(parent)).collect();
    let objects = fetched.object_ids();
    if let Some(leaked) = objects.iter().find(|id| purged.has_to.contains(*id)) {
        return Err(format!("a fetch has the object {leaked}, which was purged"));
    }
    let needed = history.objects_of(&sent);
    let is_lost = |id: &&String| !objects.contains(*id) && !purged.may.contains(*id);
    if let Some(lost) = needed.difference(&history.objects_of(&had)).find(is_lost) {
        return Err(format!("a fetch lacks the object {lost}"));
    }
    let at_boundary = history.objects_of(&boundary);
    if let Some(more) = objects.iter().find(|id| !needed.contains(*id) || at_boundary.contains(*id)) {
        return Err(format!("a fetch has the object {more}, which was not to be sent"));
    }
    Ok(())
}
