//! How far the commits of a folder are ahead of a hub.
//!
//! The walk goes back from the newest. Some commits at a time the hub says which it has, and behind those it ends: so for a few new
//! commits on a long history it reads few files, and it is one request.

use std::collections::{BTreeMap, HashSet, VecDeque};

use client::Remote;
use common::id::CommitId;
use common::wire::limits::MAX_NEGOTIATE;
use store::compute;

use super::TransferError;
use super::folder::Folder;
use super::source::parents_first;

/// What some commits of a folder are to a hub, and what they reach.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Those that the hub lacks, with their parents, parents first.
    pub(super) commits: Vec<(CommitId, Vec<CommitId>)>,
    /// Where the others begin: the hub has these, and all behind them.
    pub(super) common: HashSet<CommitId>,
    /// One that the hub lacks, and the folder too.
    pub(super) absent: Option<CommitId>,
}

/// Walks back from these commits. `heads` are where the hub's branches are.
pub(super) async fn ahead(
    hub: &Remote,
    heads: &BTreeMap<String, CommitId>,
    folder: &Folder,
    tips: impl IntoIterator<Item = CommitId>,
) -> Result<Ahead, TransferError> {
    let heads: HashSet<&CommitId> = heads.values().collect();
    // Nothing is there without a branch.
    let mut can_tell = !heads.is_empty();
    let mut ahead = Ahead::default();
    let mut waiting: VecDeque<CommitId> = tips.into_iter().collect();
    let mut seen: HashSet<CommitId> = waiting.iter().cloned().collect();
    loop {
        let mut walked = Vec::new();
        while walked.len() < MAX_NEGOTIATE
            && let Some(id) = waiting.pop_front()
        {
            if heads.contains(&id) {
                ahead.common.insert(id);
                continue;
            }
            let parents = compute(|| folder.parents(&id))?;
            waiting.extend(parents.iter().flatten().filter(|parent| seen.insert((*parent).clone())).cloned());
            walked.push((id, parents));
        }
        if walked.is_empty() {
            break;
        }
        let mut known = HashSet::new();
        if can_tell {
            let ids: Vec<&CommitId> = walked.iter().map(|(id, _)| id).collect();
            match hub.negotiate(&[], &ids).await? {
                Some(answer) => known.extend(answer.ack),
                // What is there is sent again, which is harmless.
                None => can_tell = false,
            }
        }
        let known_too = walked.iter().filter(|(id, _)| known.contains(id));
        let known_too: HashSet<&CommitId> = known_too.flat_map(|(_, parents)| parents.iter().flatten()).collect();
        waiting.retain(|id| !known_too.contains(id));
        for (id, parents) in walked {
            match parents {
                _ if known.contains(&id) => drop(ahead.common.insert(id)),
                Some(parents) => ahead.commits.push((id, parents)),
                None => ahead.absent = Some(id),
            }
        }
    }
    ahead.commits = parents_first(ahead.commits)
        .map_err(|cycle| TransferError::Damaged(format!("{} has no history: {cycle}", folder.muse().display())))?;
    Ok(ahead)
}
