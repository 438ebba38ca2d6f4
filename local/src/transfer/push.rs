//! `musehub push`: a branch of a folder to a hub, in parts; what the hub has already is not sent.
//!
//! All that is to be sent is read and held against its id first, so what is damaged changes nothing. Then it is read once more and
//! pushed, some hundred commits at a time with all that belongs to them: so memory does not grow with the repository, and when it
//! breaks off, the next run begins behind the last part that went through.

use std::collections::{BTreeMap, HashSet};

use client::Remote;
use common::id::{BranchName, CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::limits::MAX_FILTER_OBJECTS;
use common::wire::record::Snapshot;
use http::StatusCode;
use indicatif::ProgressBar;
use store::compute;

use super::ahead::{Ahead, ahead};
use super::asking::unknown;
use super::delivery::{Delivered, Delivery};
use super::folder::{Folder, SHALLOW};
use super::source::{Destination, STEP};
use super::{Names, TransferError};

/// Bytes of the commits and snapshots of one step, but for the last one.
const STEP_BYTES: usize = 32 << 20;

/// What came of it.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Where the branch is now, in the folder and at the hub.
    pub head: CommitId,
    /// What the hub took.
    pub delivered: Delivered,
}

/// Pushes a branch of a folder. `remote` is what the folder calls the hub's repo.
///
/// # Errors
/// When the hub's branch has commits that the folder's does not build on, and `force` is not set, or when something to be sent is
/// missing or damaged: nothing is changed then. And when the hub refuses or does not answer: running it again then goes on.
pub async fn push(
    to: &Remote,
    folder: &Folder,
    remote: &BranchName,
    branch: &BranchName,
    force: bool,
    progress: &ProgressBar,
) -> Result<Pushed, TransferError> {
    let muse = folder.muse().display();
    let name = branch.as_str();
    let head = folder
        .head(branch)?
        .ok_or_else(|| TransferError::Refused(format!("{muse} has no branch '{name}', or it has no commits yet")))?;
    let refs = to.refs().await?;
    let refs =
        refs.ok_or_else(|| TransferError::Refused(format!("{}. 'musehub repo create {to}' makes one", unknown(to))))?;
    let heads = refs.branch_heads.into_owned();
    let diverged = || {
        TransferError::Diverged(format!(
            "branch '{name}' of {to} has commits that yours does not build on: 'musehub fetch' brings them here and 'muse pull {remote} {name}' merges them, then push again; or overwrite the branch with --force"
        ))
    };
    if let Some(now) = heads.get(name).filter(|now| !force && **now != head)
        && compute(|| folder.builds_on(&head, now))? == Some(false)
    {
        return Err(diverged());
    }
    let Ahead { commits, absent, .. } = ahead(to, &heads, folder, [head.clone()]).await?;
    if let Some(absent) = absent {
        return Err(match folder.is_cut() {
            true => TransferError::Refused(format!(
                "history is cut off here, as {muse}/{SHALLOW} says, and {to} lacks what is behind, such as commit {absent}: 'musehub clone' with the URL that this was cloned from, into the same folder, fetches the rest; then push again"
            )),
            false => TransferError::Damaged(format!("commit {absent} is not in {muse}, and {to} lacks it too")),
        });
    }

    progress.set_message("checking");
    prove(to, folder, &commits).await?;
    let default_branch = if heads.is_empty() { name.to_owned() } else { refs.default_branch.into_owned() };
    let names = Names {
        default_branch: default_branch.clone(),
        heads: BTreeMap::from([(name.to_owned(), head.clone())]),
        ..Names::default()
    };
    let before = Names { default_branch, heads: heads.clone(), ..Names::default() };
    let mut delivery = Delivery::new(to, &names, before, &commits, force, progress);
    let delivered = match send(folder, &commits, &mut delivery, progress).await {
        Ok(()) => delivery.finish(&heads).await,
        Err(error) => Err(error),
    };
    // Another push was faster.
    let delivered =
        delivered.map_err(|error| if error.has_status(StatusCode::CONFLICT) { diverged() } else { error })?;
    folder.track(remote, name, &head)?;
    Ok(Pushed { head, delivered })
}

/// Reads all that is to be sent, and holds it against its ids.
async fn prove(to: &Remote, folder: &Folder, commits: &[(CommitId, Vec<CommitId>)]) -> Result<(), TransferError> {
    let mut snapshots: HashSet<SnapshotId> = HashSet::new();
    let mut objects: HashSet<ObjectKey> = HashSet::new();
    let mut unasked: Vec<(ObjectKey, Box<str>)> = Vec::new();
    for (position, (id, _)) in commits.iter().enumerate() {
        if let Some(snapshot) = compute(|| folder.commit(id))?.snapshot
            && snapshots.insert(snapshot.clone())
        {
            let note = |snapshot: &Snapshot<'_>| {
                for (path, object) in &snapshot.manifest.entries {
                    let key = object.key();
                    if objects.insert(key.clone()) {
                        unasked.push((key, (**path).into()));
                    }
                }
                Ok(())
            };
            compute(|| folder.look_at_snapshot(&snapshot, note))?;
        }
        if unasked.len() < MAX_FILTER_OBJECTS && position + 1 < commits.len() {
            continue;
        }
        for asked in std::mem::take(&mut unasked).chunks(MAX_FILTER_OBJECTS) {
            let ids: Vec<ObjectId> = asked.iter().map(|(key, _)| key.spelled(false)).collect();
            let missing = to.missing(&ids).await?;
            for (key, path) in asked.iter().filter(|(key, _)| missing.contains(key)) {
                compute(|| folder.object(key)).map_err(|error| match error {
                    TransferError::Damaged(reason) => {
                        TransferError::Damaged(format!("{reason}. It is what '{path}' has in commit {id} or before"))
                    }
                    error => error,
                })?;
            }
        }
    }
    Ok(())
}

async fn send(
    folder: &Folder,
    commits: &[(CommitId, Vec<CommitId>)],
    to: &mut Delivery<'_>,
    progress: &ProgressBar,
) -> Result<(), TransferError> {
    let mut snapshots: HashSet<SnapshotId> = HashSet::new();
    let (mut step, mut bytes) = (Vec::new(), 0);
    for (position, (id, _)) in commits.iter().enumerate() {
        let commit = compute(|| folder.commit(id))?;
        if let Some(snapshot) = &commit.snapshot
            && snapshots.insert(snapshot.clone())
        {
            let record = compute(|| folder.snapshot(snapshot))?;
            bytes += record.len();
            to.snapshot(record)?;
        }
        bytes += commit.record().len();
        step.push(commit.record().to_vec().into());
        let done = position + 1;
        if step.len() < STEP && bytes < STEP_BYTES && done < commits.len() {
            continue;
        }
        for key in to.lacking().await? {
            let mut object = compute(|| folder.object(&key))?;
            to.object(key, object.size, async || compute(|| object.piece())).await?;
        }
        for record in step.drain(..) {
            to.commit(record).await?;
        }
        to.flush().await?;
        bytes = 0;
        progress.set_message(format!("{done} of {} commits", commits.len()));
    }
    Ok(())
}
