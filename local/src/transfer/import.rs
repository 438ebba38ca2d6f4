//! `musehub import`: the file of an export into a hub.
//!
//! First the whole file is proved, and only then is anything sent, so a damaged file changes nothing. Then it is read once
//! more and pushed: the hub checks everything again, as it does for every client.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use client::Remote;
use common::id::CommitId;
use indicatif::ProgressBar;
use store::compute;
use store::table::items::Visibility;

use super::asking::{self, NewRepo};
use super::delivery::{Delivered, Delivery};
use super::file::reader::Entries;
use super::file::{Name, WrittenIds};
use super::source::Destination;
use super::verify::{Verified, read_contents, verify};
use super::{Names, TransferError};

/// What came of an import.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What the hub took.
    pub delivered: Delivered,
    /// Who may know of the repo, if it was made.
    pub made: Option<Visibility>,
    /// The default branch, if the repo keeps another one than the file has.
    pub other_default: Option<String>,
}

/// Brings the repo in a file into a hub. A repo that is made is for those who might know of it before, unless `visibility`
/// says otherwise.
///
/// # Errors
/// When the file is damaged, when there is another history of this name, and when the hub refuses. Running it again then
/// goes on.
pub async fn import(
    path: &Path,
    to: &Remote,
    visibility: Option<Visibility>,
    progress: &ProgressBar,
) -> Result<Imported, TransferError> {
    let verified = verify(path, progress)?;
    let Verified { contents, names, commits, .. } = &verified;
    if contents.ids == WrittenIds::Lenient && to.checks_ids() {
        return Err(TransferError::Refused(format!(
            "the file is of a hub that takes any ids, and {to} is to take only hashes: --ids lenient"
        )));
    }
    let found = asking::look(to).await?;
    let mut made = None;
    let before = match found {
        Some(before) => {
            refuse_other_history(to, names, &before, commits)?;
            before
        }
        None => {
            let repo = &contents.repo;
            let visibility = visibility.unwrap_or(repo.visibility);
            let about = NewRepo {
                name: &repo.name,
                description: &repo.description,
                domain: &repo.domain,
                default_branch: &names.default_branch,
                visibility,
            };
            asking::create(to, &about).await?;
            made = Some(visibility);
            Names::default()
        }
    };
    let other_default = Some(&before.default_branch)
        .filter(|branch| !before.heads.is_empty() && **branch != names.default_branch)
        .cloned();
    let known = match before.heads.is_empty() {
        // Nothing can be there without a branch.
        true => HashSet::new(),
        false => to.known(commits.iter().map(|(id, _)| id)).await?,
    };
    let heads = before.heads.clone();
    progress.set_position(0);
    let mut delivery = Delivery::new(to, names, before, commits, false, progress);
    delivery.purged(&contents.purged).await?;
    if known.len() < commits.len() {
        send(path, &mut delivery, &known).await?;
    }
    Ok(Imported { delivered: delivery.finish(&heads).await?, made, other_default })
}

/// Sends what the repo lacks of a file that is proved.
async fn send(path: &Path, delivery: &mut Delivery<'_>, known: &HashSet<CommitId>) -> Result<(), TransferError> {
    let file = File::open(path).map_err(TransferError::file("open", path))?;
    let mut entries = Entries::new(file, path);
    read_contents(&mut entries)?;
    while let Some(entry) = compute(|| entries.next_entry())? {
        match entry.name {
            Name::Snapshot(_) => {
                let record = entries.whole()?;
                compute(|| delivery.snapshot(record))?;
            }
            Name::Object(key) => {
                if !delivery.lacks(&key).await? {
                    continue;
                }
                delivery.object(key, entry.size, async || compute(|| entries.piece())).await?;
            }
            Name::Commit(id) if known.contains(&id) => {
                let record: Bytes = entries.whole()?;
                delivery.skip(&record)?;
            }
            Name::Commit(_) => delivery.commit(entries.whole()?).await?,
            Name::Readme | Name::Repo | Name::Release(_) => {}
        }
    }
    Ok(())
}

/// Refuses a repo of which anything would be lost.
fn refuse_other_history(
    to: &Remote,
    names: &Names,
    before: &Names,
    commits: &[(CommitId, Vec<CommitId>)],
) -> Result<(), TransferError> {
    let parents: HashMap<&CommitId, &Vec<CommitId>> = commits.iter().map(|(id, parents)| (id, parents)).collect();
    let reaches = |head: &CommitId, wanted: &CommitId| {
        let mut waiting = vec![head];
        let mut seen: HashSet<&CommitId> = waiting.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            if id == wanted {
                return true;
            }
            let parents = parents.get(id).map(|parents| parents.as_slice()).unwrap_or_default();
            waiting.extend(parents.iter().filter(|parent| seen.insert(*parent)));
        }
        false
    };
    let refused = |what: String| {
        Err(TransferError::Refused(format!(
            "{to} has another history, and nothing was changed: {what}; import under another name"
        )))
    };
    for (branch, head) in &names.heads {
        if let Some(now) = before.heads.get(branch).filter(|now| !reaches(head, now)) {
            return refused(format!("its branch '{branch}' is at {now}, which the file's does not build on"));
        }
    }
    for tag in &names.tags {
        if before.tags.iter().any(|there| there.tag == tag.tag && there != tag) {
            return refused(format!("its tag '{}' is not the file's", tag.tag));
        }
    }
    for release in &names.releases {
        if before.releases.iter().any(|there| there.tag == release.tag && there.record != release.record) {
            return refused(format!("its release '{}' is not the file's", release.tag));
        }
    }
    Ok(())
}
