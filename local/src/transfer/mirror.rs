//! `musehub mirror`: a repo from one hub into another, over the wire protocol; what the other has already is not sent.
//!
//! First the commits that are new are learned, from the beginning of a fetch that is broken off behind them. Then they are
//! fetched in parts, as `source` has it, and pushed. So memory does not grow with the repo, and when it breaks off, the next
//! run begins behind the last push that went through.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use client::{Endpoint, Remote};
use common::id::CommitId;
use indicatif::ProgressBar;
use store::table::items::Visibility;

use super::asking::{self, NewRepo, unknown};
use super::delivery::{Delivered, Delivery};
use super::source::Source;
use super::{Moved, Names, TransferError};

/// How a repo is to be mirrored.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether branches may be put where they do not build on where they were, and tags and releases be replaced.
    pub force: bool,
    /// Whether branches and tags go from the other repo that this one does not have, but for its default branch.
    pub prune: bool,
    /// Who may know of the repo, if it is to be made.
    pub visibility: Visibility,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Mirrored {
    /// What came out of the one hub.
    pub fetched: Moved,
    /// What went into the other one.
    pub delivered: Delivered,
    /// Whether the repo was made.
    pub made: bool,
    /// Branches, tags and releases that only the other repo has; they stay.
    pub kept: Vec<String>,
    /// Branches and tags that only the other repo had.
    pub pruned: Vec<String>,
    /// The default branch, if the repo keeps another one.
    pub other_default: Option<String>,
}

/// Brings a repo from one hub into another.
///
/// # Errors
/// When a branch, a tag or a release of the other repo would be lost, and `force` is not set: nothing is changed then. And
/// when a hub refuses or does not answer: running it again then goes on.
pub async fn mirror(
    from: &Remote,
    to: &Remote,
    options: Options,
    progress: &ProgressBar,
) -> Result<Mirrored, TransferError> {
    let names = asking::look(from).await?.ok_or_else(|| unknown(from))?;
    let found = asking::look(to).await?;
    let made = found.is_none();
    let before = found.unwrap_or_default();
    if !options.force {
        refuse_losses(from, to, &names, &before).await?;
    }
    if made {
        let about = NewRepo {
            name: to.target.slug.as_str(),
            description: "",
            domain: &names.domain,
            default_branch: &names.default_branch,
            visibility: options.visibility,
        };
        asking::create(to, &about).await?;
    }

    let mut mirrored = Mirrored { made, ..Mirrored::default() };
    let only_there = OnlyThere::of(&names, &before);
    let is_other = !before.heads.is_empty() && before.default_branch != names.default_branch;
    mirrored.other_default = is_other.then(|| before.default_branch.clone());
    let had: HashSet<CommitId> = before.heads.values().chain(before.named()).cloned().collect();
    let mut source = Source { from, have: had.iter().cloned().collect(), fetched: Moved::default(), progress };
    let mut commits = source.new_commits(&names, |id| had.contains(id)).await?;
    if !before.heads.is_empty() {
        let known = to.known(commits.iter().map(|(id, _)| id)).await?;
        source.have.extend(known.iter().cloned());
        commits.retain(|(id, _)| !known.contains(id));
    }
    let heads = before.heads.clone();
    let mut delivery = Delivery::new(to, &names, before, &commits, options.force, progress);
    source.bring(&commits, &mut delivery).await?;
    mirrored.fetched = source.fetched;
    mirrored.delivered = delivery.finish(&heads).await?;
    mirrored.kept = if options.prune {
        let (pruned, kept) = only_there.prune(to).await?;
        mirrored.pruned = pruned;
        kept
    } else {
        only_there.all()
    };
    Ok(mirrored)
}

/// What only the other repo has.
struct OnlyThere {
    branches: Vec<String>,
    tags: Vec<String>,
    releases: Vec<String>,
}

impl OnlyThere {
    fn of(names: &Names, before: &Names) -> Self {
        let tags: HashSet<&str> = names.tags.iter().map(|tag| tag.tag.as_str()).collect();
        let releases: HashSet<&str> = names.releases.iter().map(|release| release.tag.as_str()).collect();
        let there = before.tags.iter().map(|tag| tag.tag.to_string());
        let releases_there = before.releases.iter().map(|release| release.tag.to_string());
        Self {
            branches: before.heads.keys().filter(|branch| !names.heads.contains_key(*branch)).cloned().collect(),
            tags: there.filter(|tag| !tags.contains(tag.as_str())).collect(),
            releases: releases_there.filter(|tag| !releases.contains(tag.as_str())).collect(),
        }
    }

    fn all(self) -> Vec<String> {
        let Self { branches, tags, releases } = self;
        let mut all: Vec<String> = branches.iter().map(|name| shown_branch(name)).collect();
        all.extend(tags.iter().map(|tag| shown_tag(tag)));
        all.extend(releases.iter().map(|tag| format!("release '{tag}'")));
        all
    }

    /// Deletes the branches and tags. What went, and what stays: the default branch, and releases.
    async fn prune(self, to: &Remote) -> Result<(Vec<String>, Vec<String>), TransferError> {
        // As it is now, when all that was to come is there.
        let default = to.refs().await?.map(|refs| refs.default_branch).unwrap_or_default();
        let mut pruned = Vec::new();
        let (stays, goes) = self.branches.into_iter().partition(|branch| *branch == default);
        let goes: Vec<String> = goes;
        for branch in goes {
            delete(to, Endpoint::Branch(&branch)).await?;
            pruned.push(shown_branch(&branch));
        }
        for tag in self.tags {
            delete(to, Endpoint::Tag(&tag)).await?;
            pruned.push(shown_tag(&tag));
        }
        let kept = Self { branches: stays, tags: Vec::new(), releases: self.releases };
        Ok((pruned, kept.all()))
    }
}

/// Deletes what may be gone already: by an earlier attempt, or by another client.
async fn delete(to: &Remote, endpoint: Endpoint<'_>) -> Result<(), TransferError> {
    match to.send(endpoint, Bytes::new()).await {
        Err(error) if !error.is_missing() => Err(error.into()),
        _ => Ok(()),
    }
}

fn shown_branch(name: &str) -> String {
    format!("branch '{name}'")
}

fn shown_tag(label: &str) -> String {
    format!("tag '{label}'")
}

/// Refuses what would take something away from the other repo.
async fn refuse_losses(from: &Remote, to: &Remote, names: &Names, before: &Names) -> Result<(), TransferError> {
    let mut losses = Vec::new();
    for (branch, head) in &names.heads {
        if let Some(now) = before.heads.get(branch).filter(|now| *now != head)
            && !builds_on(from, head, now).await?
        {
            losses.push(format!("branch '{branch}' has commits that {from} does not build on"));
        }
    }
    let tags: HashMap<&str, _> = names.tags.iter().map(|tag| (tag.tag.as_str(), &tag.commit_id)).collect();
    for tag in &before.tags {
        if tags.get(tag.tag.as_str()).is_some_and(|commit| **commit != tag.commit_id) {
            losses.push(format!("tag '{}' is of another commit", tag.tag));
        }
    }
    let releases: HashMap<&str, _> =
        names.releases.iter().map(|release| (release.tag.as_str(), &release.record)).collect();
    for release in &before.releases {
        if releases.get(release.tag.as_str()).is_some_and(|record| **record != release.record) {
            losses.push(format!("release '{}' is another one", release.tag));
        }
    }
    if losses.is_empty() {
        return Ok(());
    }
    Err(TransferError::Refused(format!(
        "{to} would lose something, and nothing was changed: {}; --force does it",
        losses.join(", ")
    )))
}

/// Whether a repo has a commit `now`, and `head` is that or builds on it.
async fn builds_on(from: &Remote, head: &CommitId, now: &CommitId) -> Result<bool, TransferError> {
    let answer = from.negotiate(&[head], &[now]).await?;
    // The only best common ancestor of a commit and one that it builds on is the latter. Where the hub does not say, the push
    // that moves the branch will show it.
    Ok(answer.is_none_or(|answer| answer.common_base.as_ref() == Some(now)))
}
