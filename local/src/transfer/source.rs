//! A repo that is fetched in parts: some hundred commits at a time with all that belongs to them, oldest first, so that what has
//! arrived is whole at any time and a transfer that breaks off goes on behind its last part.

use std::collections::HashSet;

use bytes::Bytes;
use client::object::Found;
use client::{Fetching, LeavesOut, Remote, Within};
use common::graph::{Cycle, topological_order};
use common::id::{CommitId, ObjectId, ObjectKey};
use common::wire::commit::Commit;
use common::wire::limits::FETCH_WANT_OF_ANY_HUB;
use indicatif::ProgressBar;

use super::{Moved, Names, TransferError};

/// How far back from what is wanted commits are listed at once. On Lambda an answer has at most 200 MB, which are some 250,000.
const LISTED: u32 = 50_000;
/// Commits that are fetched at once.
pub(super) const STEP: usize = 512;
/// Bytes of the commits and snapshots of one fetch. Where they are more, fewer commits are fetched.
const STEP_BYTES: usize = 64 << 20;
/// Attempts at a fetch whose answer broke off.
const ATTEMPTS: usize = 4;
/// Objects up to here are held in memory; larger ones go on piece by piece.
const SMALL: u64 = 4 << 20;

/// Where what is fetched goes. Records come so that nothing names what comes later.
pub(super) trait Destination {
    /// Takes a snapshot in.
    fn snapshot(&mut self, record: Bytes) -> Result<(), TransferError>;

    /// Whether an object is lacking that a snapshot names which was taken in.
    async fn lacks(&mut self, key: &ObjectKey) -> Result<bool, TransferError>;

    /// All such objects.
    async fn lacking(&mut self) -> Result<Vec<ObjectKey>, TransferError>;

    /// Takes an object in that it [`lacks`](Self::lacks).
    async fn object(
        &mut self,
        key: ObjectKey,
        size: u64,
        next: impl AsyncFnMut() -> Result<Option<Bytes>, TransferError>,
    ) -> Result<(), TransferError> {
        if size > SMALL { self.large(key, size, next).await } else { self.small(key, whole(next).await?).await }
    }

    /// Takes an object in that has at most [`SMALL`] bytes.
    async fn small(&mut self, key: ObjectKey, content: Bytes) -> Result<(), TransferError>;

    /// Takes a larger object in, piece by piece.
    async fn large(
        &mut self,
        key: ObjectKey,
        size: u64,
        next: impl AsyncFnMut() -> Result<Option<Bytes>, TransferError>,
    ) -> Result<(), TransferError>;

    /// Takes note of objects that were purged where it comes from: snapshots name them, and they do not come.
    async fn purged(&mut self, objects: &[ObjectId]) -> Result<(), TransferError>;

    /// Takes a commit in; its parents, its snapshot and the objects of that have come.
    async fn commit(&mut self, record: Bytes) -> Result<(), TransferError>;

    /// Keeps all that was taken in.
    async fn flush(&mut self) -> Result<(), TransferError>;
}

/// A repo that commits are fetched from.
pub(super) struct Source<'a> {
    pub(super) from: &'a Remote,
    /// Commits that are at the destination, with all that they reach: enough of them to find what it lacks.
    pub(super) have: Vec<CommitId>,
    pub(super) fetched: Moved,
    pub(super) progress: &'a ProgressBar,
}

impl Source<'_> {
    /// The commits that the destination lacks, with their parents: those of the default branch first, parents first.
    pub(super) async fn new_commits(
        &self,
        names: &Names,
        had: impl Fn(&CommitId) -> bool,
    ) -> Result<Vec<(CommitId, Vec<CommitId>)>, TransferError> {
        let mut asked: HashSet<&CommitId> = HashSet::new();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        if let Some(id) = names.heads.get(&names.default_branch).filter(|id| !had(id)) {
            asked.insert(id);
            first.push(id.clone());
        }
        for id in names.heads.values().chain(names.named()) {
            if !had(id) && asked.insert(id) {
                rest.push(id.clone());
            }
        }
        let mut commits = Vec::new();
        let mut listed: HashSet<CommitId> = HashSet::new();
        let mut have = self.have.clone();
        let mut depth = LISTED;
        let wants = [first.as_slice()].into_iter().chain(rest.chunks(FETCH_WANT_OF_ANY_HUB));
        for want in wants {
            // From here back, a stretch of history at a time. What is listed later is older, and goes first.
            let mut stretches = Vec::new();
            let mut left: Vec<CommitId> = want.iter().filter(|id| !listed.contains(*id)).cloned().collect();
            while !left.is_empty() {
                let now = left.split_off(left.len().saturating_sub(FETCH_WANT_OF_ANY_HUB));
                let stretch = self.commits_of(&now, &have, &mut depth).await?;
                let new: Vec<_> = stretch.into_iter().filter(|(id, _)| listed.insert(id.clone())).collect();
                let parents: HashSet<&CommitId> = new.iter().flat_map(|(_, parents)| parents).collect();
                let ends = parents.into_iter().filter(|id| !listed.contains(*id) && !had(id));
                left.extend(ends.cloned().collect::<Vec<_>>());
                stretches.push(new);
            }
            // All that these reach is listed.
            have.extend(want.iter().cloned());
            commits.extend(stretches.into_iter().rev().flatten());
        }
        let ordered = parents_first(commits);
        Ok(ordered.map_err(|cycle| self.from.broken(format!("what it sent is no history: {cycle}")))?)
    }

    /// The commits that these reach within a depth, which is less where that is too much for one answer.
    async fn commits_of(
        &self,
        want: &[CommitId],
        have: &[CommitId],
        depth: &mut u32,
    ) -> Result<Vec<(CommitId, Vec<CommitId>)>, TransferError> {
        let mut attempts_left = ATTEMPTS;
        loop {
            match self.commits_within(want, have, *depth).await {
                Err(error) if error.is_too_much() && *depth > 1 => {}
                Err(error) if error.may_be_too_much() && attempts_left > 1 => attempts_left -= 1,
                listed => return listed,
            }
            *depth = (*depth / 4).max(1);
        }
    }

    async fn commits_within(
        &self,
        want: &[CommitId],
        have: &[CommitId],
        depth: u32,
    ) -> Result<Vec<(CommitId, Vec<CommitId>)>, TransferError> {
        let within = Within { depth: Some(depth), leaves_out: Some(LeavesOut::Snapshots) };
        let mut fetching = Fetching::begin_within(self.from, want, have, within).await?;
        let count = fetching.list("commits").await?;
        let mut commits = Vec::new();
        for _ in 0..count {
            let commit = self.read(&fetching.record().await?)?;
            commits.push((commit.id, commit.parents));
        }
        Ok(commits)
    }

    fn read(&self, record: &[u8]) -> Result<Commit, TransferError> {
        let broken = |error| self.from.broken(format!("a commit cannot be read: {error}"));
        Ok(rmp_serde::from_slice(record).map_err(broken)?)
    }

    /// Fetches these commits with all that belongs to them, and hands them on.
    pub(super) async fn bring(
        &mut self,
        commits: &[(CommitId, Vec<CommitId>)],
        to: &mut impl Destination,
    ) -> Result<(), TransferError> {
        // Of the commits that were sent, those that are no other's parents.
        let mut frontier: HashSet<CommitId> = self.have.drain(..).collect();
        let (mut done, mut most) = (0, STEP);
        let mut attempts_left = ATTEMPTS;
        while let Some(step) = commits.get(done..commits.len().min(done + most)).filter(|step| !step.is_empty()) {
            let parents: HashSet<&CommitId> = step.iter().flat_map(|(_, parents)| parents).collect();
            let want: Vec<CommitId> =
                step.iter().map(|(id, _)| id).filter(|id| !parents.contains(id)).cloned().collect();
            let have: Vec<CommitId> = frontier.iter().cloned().collect();
            match self.bring_step(&want, &have, None, most == 1, to).await {
                Ok(true) => {}
                Ok(false) => {
                    most = (most / 2).max(1);
                    continue;
                }
                // It may have been too much: Lambda streams 200 MB an answer.
                Err(error) if error.may_be_too_much() && most > 1 => {
                    most = (most / 4).max(1);
                    continue;
                }
                Err(error) if error.may_be_too_much() && attempts_left > 1 => {
                    attempts_left -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            }
            for parent in parents {
                frontier.remove(parent);
            }
            frontier.extend(want);
            done += step.len();
            attempts_left = ATTEMPTS;
            self.progress.set_message(format!("{done} of {} commits", commits.len()));
        }
        Ok(())
    }

    /// Brings what these commits reach within a depth, in one part.
    pub(super) async fn bring_newest(
        &mut self,
        want: &[CommitId],
        depth: u32,
        to: &mut impl Destination,
    ) -> Result<(), TransferError> {
        let mut attempts_left = ATTEMPTS;
        loop {
            attempts_left -= 1;
            match self.bring_step(want, &[], Some(depth), true, to).await {
                Err(error) if error.may_be_too_much() && attempts_left > 0 => {}
                sent => return sent.map(drop),
            }
        }
    }

    /// Brings what one fetch gives, of one commit or of several. False if it is too much at once; nothing was handed on
    /// then.
    async fn bring_step(
        &mut self,
        want: &[CommitId],
        have: &[CommitId],
        depth: Option<u32>,
        is_of_one: bool,
        to: &mut impl Destination,
    ) -> Result<bool, TransferError> {
        let begin =
            async |leaves_out| Fetching::begin_within(self.from, want, have, Within { depth, leaves_out }).await;
        let (mut fetching, has_objects) = match begin(None).await.map_err(TransferError::from) {
            Err(error) if error.is_too_much() && is_of_one => (begin(Some(LeavesOut::Objects)).await?, false),
            begun => (begun?, true),
        };
        let mut bytes = 0;
        let mut lists: [Vec<Bytes>; 2] = [Vec::new(), Vec::new()];
        for (list, name) in lists.iter_mut().zip(["commits", "snapshots"]) {
            for _ in 0..fetching.list(name).await? {
                let record = fetching.record().await?;
                bytes += record.len();
                if bytes > STEP_BYTES && !is_of_one {
                    return Ok(false);
                }
                list.push(record);
            }
        }
        let [commits, snapshots] = lists;
        self.fetched.snapshots += snapshots.len() as u64;
        for snapshot in snapshots {
            to.snapshot(snapshot)?;
        }
        match self.bring_objects(fetching, to).await {
            // The objects of one commit are too much for one answer.
            Err(error) if error.may_be_too_much() && is_of_one => self.bring_one_by_one(to).await?,
            Ok(()) if !has_objects => self.bring_one_by_one(to).await?,
            sent => sent?,
        }
        self.fetched.commits += commits.len() as u64;
        for commit in commits {
            to.commit(commit).await?;
        }
        to.flush().await?;
        Ok(true)
    }

    async fn bring_objects(
        &mut self,
        mut fetching: Fetching<'_>,
        to: &mut impl Destination,
    ) -> Result<(), TransferError> {
        for _ in 0..fetching.list("objects").await? {
            let object = fetching.object().await?;
            self.fetched.objects += 1;
            self.fetched.bytes += object.size;
            let key = object.id.key();
            if !to.lacks(&key).await? {
                continue;
            }
            to.object(key, object.size, async || Ok(fetching.piece().await?)).await?;
        }
        let purged = fetching.finish().await?;
        to.purged(&purged).await
    }

    /// Brings what is lacking still, each object by itself: through a URL of the storage if it has one, else from the hub.
    async fn bring_one_by_one(&mut self, to: &mut impl Destination) -> Result<(), TransferError> {
        let repo_id = self.from.repo_id().await?;
        for key in to.lacking().await? {
            let id = key.spelled(false);
            let mut object = match self.from.object(&id, &repo_id).await? {
                Found::Here(object) => object,
                Found::Missing(error) => return Err(error.into()),
                Found::Purged => {
                    to.purged(&[id]).await?;
                    continue;
                }
            };
            self.fetched.objects += 1;
            self.fetched.bytes += object.size;
            to.object(key, object.size, async || Ok(object.piece().await?)).await?;
        }
        Ok(())
    }
}

/// Commits in topological order.
pub(super) fn parents_first(
    commits: Vec<(CommitId, Vec<CommitId>)>,
) -> Result<Vec<(CommitId, Vec<CommitId>)>, Cycle<CommitId>> {
    let order = topological_order(commits.iter().map(|(id, parents)| (id, parents.as_slice())))?;
    let mut unordered: Vec<Option<(CommitId, Vec<CommitId>)>> = commits.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| unordered.get_mut(at)?.take()).collect())
}

/// All of what comes piece by piece.
pub(super) async fn whole(
    mut next: impl AsyncFnMut() -> Result<Option<Bytes>, TransferError>,
) -> Result<Bytes, TransferError> {
    let mut content = Vec::new();
    while let Some(piece) = next().await? {
        content.extend_from_slice(&piece);
    }
    Ok(content.into())
}
