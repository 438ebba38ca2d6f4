//! `musehub fetch`: what is new on the branches of a hub, in parts, into a folder that is a repository already.
//!
//! It comes as with [`clone`](super::clone), whole at any time. When all is there, the folder notes where the branches of the hub are. Its own
//! branches and files stay as they are.

use std::collections::{HashMap, HashSet};

use client::Remote;
use common::id::{BranchName, CommitId};
use indicatif::ProgressBar;

use super::ahead::{Ahead, ahead};
use super::arriving::Arriving;
use super::asking::unknown;
use super::clone::choose;
use super::folder::Folder;
use super::source::Source;
use super::{Moved, Names, TransferError};

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// What came out of the hub.
    pub fetched: Moved,
    /// The branches that are elsewhere than they were seen last.
    pub branches: Vec<FetchedBranch>,
    /// Branches that no file can be called by, so that they were left out.
    pub left_out: Vec<String>,
    /// Branches that parted from the folder's history behind where that is cut off, so that they were left out.
    pub behind_cut: Vec<String>,
}

/// A branch that is elsewhere than it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedBranch {
    /// What it is called.
    pub name: String,
    /// Whether it was seen before.
    pub was_seen: bool,
    /// Where it is.
    pub head: CommitId,
    /// How many commits it reaches that no branch reached before which the folder knew.
    pub commits: usize,
}

/// Fetches what is new. `remote` is what the folder calls the hub's repo.
///
/// # Errors
/// When the hub refuses, does not answer, or sends what is not what its id says: running it again then goes on.
pub async fn fetch(
    from: &Remote,
    folder: &Folder,
    remote: &BranchName,
    progress: &ProgressBar,
) -> Result<Fetched, TransferError> {
    let refs = from.refs().await?.ok_or_else(|| unknown(from))?;
    let (heads, left_out) = choose(from, &refs, None)?;
    let names = Names { default_branch: refs.default_branch.into_owned(), heads, ..Names::default() };
    let mut done = Fetched { left_out, ..Fetched::default() };
    let mut commits = Vec::new();
    let is_here = |id: &CommitId| folder.has_commit(id);
    if !names.heads.values().all(is_here) {
        let Ahead { common, .. } = ahead(from, &names.heads, folder, folder.tips()?).await?;
        let have = common.into_iter().collect();
        let mut source = Source { from, have, fetched: Moved::default(), progress };
        commits = source.new_commits(&names, is_here).await?;
        // The others came before an earlier fetch broke off.
        let mut lacking: Vec<_> = commits.iter().filter(|(id, _)| !is_here(id)).cloned().collect();
        let parents = lacking.iter().flat_map(|(_, parents)| parents);
        source.have.extend(parents.filter(|id| is_here(id)).cloned());
        if folder.is_cut() {
            leave_out_behind_cut(folder, &mut lacking);
        }
        source.bring(&lacking, &mut Arriving::new(from, folder, false, progress)).await?;
        done.fetched = source.fetched;
    }
    let parents: HashMap<&CommitId, &[CommitId]> =
        commits.iter().map(|(id, parents)| (id, parents.as_slice())).collect();
    for (name, head) in &names.heads {
        if !is_here(head) {
            if folder.is_cut() {
                done.behind_cut.push(name.clone());
                continue;
            }
            return Err(from.broken(format!("it did not send {head}, the head of the branch '{name}'")).into());
        }
        // What cannot be read is written again.
        let before = folder.tracked(remote, name).unwrap_or_default();
        if before.as_ref() != Some(head) {
            folder.track(remote, name, head)?;
            let commits = count(head, &parents);
            let (name, head) = (name.clone(), head.clone());
            done.branches.push(FetchedBranch { name, was_seen: before.is_some(), head, commits });
        }
    }
    Ok(done)
}

/// Leaves out what builds on commits that are cut off. The hub takes it that the folder has them, and would not send them.
fn leave_out_behind_cut(folder: &Folder, commits: &mut Vec<(CommitId, Vec<CommitId>)>) {
    let mut whole: HashSet<CommitId> = HashSet::new();
    commits.retain(|(id, parents)| {
        let is_whole = parents.iter().all(|parent| whole.contains(parent) || folder.has_commit(parent));
        is_whole && whole.insert(id.clone())
    });
}

/// How many of these commits a head reaches.
fn count(head: &CommitId, parents: &HashMap<&CommitId, &[CommitId]>) -> usize {
    let mut reached: HashSet<&CommitId> = HashSet::new();
    let mut waiting = vec![head];
    while let Some(id) = waiting.pop() {
        if let Some(parents) = parents.get(id)
            && reached.insert(id)
        {
            waiting.extend(*parents);
        }
    }
    reached.len()
}
