//! `musehub mirror`: a repo from one hub into another, over the wire protocol; what the other has already is not sent.
//!
//! First the commits that are new are learned, from the beginning of a fetch that is broken off behind them. Then they are
//! fetched with all that belongs to them, some hundred at a time, oldest first, and pushed. So memory does not grow with
//! the repo, and when it breaks off, the next run begins behind the last push that went through.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use common::id::CommitId;
use common::store::items::Visibility;
use common::wire::commit::Commit;
use common::wire::limits::FETCH_WANT_OF_ANY_HUB;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::answer::Fetching;
use super::asking::{self, NewRepo};
use super::delivery::{Delivered, Delivery, SMALL};
use super::post;
use super::remote::{Endpoint, Remote, is_missing};
use super::{Error, Moved, Names};

/// Commits that are fetched at once.
const STEP: usize = 512;
/// Bytes of the commits and snapshots of one fetch. Where they are more, fewer commits are fetched.
const STEP_BYTES: usize = 64 << 20;
/// Attempts at a fetch whose answer broke off.
const ATTEMPTS: usize = 4;

/// How a repo is to be mirrored.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether branches may be put where they do not build on where they were, and tags and releases be replaced.
    pub force: bool,
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
    /// The default branch, if the repo keeps another one.
    pub other_default: Option<String>,
}

/// Brings a repo from one hub into another.
///
/// # Errors
/// When a branch, a tag or a release of the other repo would be lost, and `force` is not set: nothing is changed then. And
/// when a hub refuses or does not answer: running it again then goes on.
pub async fn mirror(from: &Remote, to: &Remote, options: Options, progress: &ProgressBar) -> Result<Mirrored, Error> {
    let missing = || Error::Refused(format!("there is no repository {from}, or it takes a token to read it"));
    let names = asking::look(from).await?.ok_or_else(missing)?;
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

    let mut mirrored = Mirrored { made, kept: kept(&names, &before), ..Mirrored::default() };
    let is_other = !before.heads.is_empty() && before.default_branch != names.default_branch;
    mirrored.other_default = is_other.then(|| before.default_branch.clone());
    let had: HashSet<CommitId> = before.heads.values().chain(before.named()).cloned().collect();
    let mut source = Source { from, have: had.iter().cloned().collect(), fetched: Moved::default(), progress };
    let mut commits = source.new_commits(&names, &had).await?;
    if !before.heads.is_empty() {
        let known = asking::known(to, commits.iter().map(|(id, _)| id)).await?;
        source.have.extend(known.iter().cloned());
        commits.retain(|(id, _)| !known.contains(id));
    }
    let heads = before.heads.clone();
    let mut delivery = Delivery::new(to, &names, before, &commits, options.force, progress);
    source.bring(&commits, &mut delivery).await?;
    mirrored.fetched = source.fetched;
    mirrored.delivered = delivery.finish(&heads).await?;
    Ok(mirrored)
}

/// What only the other repo has.
fn kept(names: &Names, before: &Names) -> Vec<String> {
    let tags: HashSet<&str> = names.tags.iter().map(|tag| tag.tag.as_str()).collect();
    let releases: HashSet<&str> = names.releases.iter().map(|release| release.tag.as_str()).collect();
    let branches = before.heads.keys().filter(|branch| !names.heads.contains_key(*branch));
    let mut kept: Vec<String> = branches.map(|branch| format!("branch '{branch}'")).collect();
    let only_there = before.tags.iter().filter(|tag| !tags.contains(tag.tag.as_str()));
    kept.extend(only_there.map(|tag| format!("tag '{}'", tag.tag)));
    let only_there = before.releases.iter().filter(|release| !releases.contains(release.tag.as_str()));
    kept.extend(only_there.map(|release| format!("release '{}'", release.tag)));
    kept
}

/// Refuses what would take something away from the other repo.
async fn refuse_losses(from: &Remote, to: &Remote, names: &Names, before: &Names) -> Result<(), Error> {
    let mut losses = Vec::new();
    for (branch, head) in &names.heads {
        if let Some(now) = before.heads.get(branch).filter(|now| *now != head)
            && !is_ahead(from, head, now).await?
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
    Err(Error::Refused(format!(
        "{to} would lose something, and nothing was changed: {}; --force does it",
        losses.join(", ")
    )))
}

/// Whether a repo has a commit `now`, and `head` is that or builds on it.
async fn is_ahead(from: &Remote, head: &CommitId, now: &CommitId) -> Result<bool, Error> {
    #[derive(Serialize)]
    struct Body<'a> {
        want: [&'a CommitId; 1],
        have: [&'a CommitId; 1],
    }
    #[derive(Deserialize)]
    struct Answer {
        common_base: Option<CommitId>,
    }
    match from.ask::<Answer>(Endpoint::Negotiate, post::body(&Body { want: [head], have: [now] })?).await {
        // The only best common ancestor of a commit and one that it builds on is the latter.
        Ok(answer) => Ok(answer.common_base.as_ref() == Some(now)),
        // Then the push that moves the branch will tell.
        Err(error) if is_missing(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A repo that commits are fetched from.
struct Source<'a> {
    from: &'a Remote,
    /// Commits that the other repo has, with all that they reach: enough of them to tell what it lacks.
    have: Vec<CommitId>,
    fetched: Moved,
    progress: &'a ProgressBar,
}

impl Source<'_> {
    /// The commits that the other repo lacks, with their parents: those of the default branch first, parents first.
    async fn new_commits(
        &self,
        names: &Names,
        had: &HashSet<CommitId>,
    ) -> Result<Vec<(CommitId, Vec<CommitId>)>, Error> {
        let mut asked: HashSet<&CommitId> = HashSet::new();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        if let Some(id) = names.heads.get(&names.default_branch).filter(|id| !had.contains(*id)) {
            asked.insert(id);
            first.push(id.clone());
        }
        for id in names.heads.values().chain(names.named()) {
            if !had.contains(id) && asked.insert(id) {
                rest.push(id.clone());
            }
        }
        let mut commits = Vec::new();
        let mut have = self.have.clone();
        let wants = [first.as_slice()].into_iter().chain(rest.chunks(FETCH_WANT_OF_ANY_HUB));
        for want in wants.filter(|want| !want.is_empty()) {
            let mut attempts_left = ATTEMPTS;
            let new = loop {
                attempts_left -= 1;
                match self.commits_of(want, &have).await {
                    Err(Error::Broken { .. }) if attempts_left > 0 => {}
                    listed => break listed?,
                }
            };
            commits.extend(new);
            have.extend(want.iter().cloned());
        }
        Ok(commits)
    }

    /// The commits of a fetch, without all else.
    async fn commits_of(&self, want: &[CommitId], have: &[CommitId]) -> Result<Vec<(CommitId, Vec<CommitId>)>, Error> {
        let mut fetching = Fetching::begin(self.from, want, have).await?;
        let count = fetching.list("commits").await?;
        let mut commits = Vec::new();
        for _ in 0..count {
            let commit = self.read(&fetching.record().await?)?;
            commits.push((commit.id, commit.parents));
        }
        Ok(commits)
    }

    fn read(&self, record: &[u8]) -> Result<Commit, Error> {
        rmp_serde::from_slice(record).map_err(|error| self.from.broken(format!("a commit cannot be read: {error}")))
    }

    /// Fetches these commits with all that belongs to them, and delivers them.
    async fn bring(&mut self, commits: &[(CommitId, Vec<CommitId>)], delivery: &mut Delivery<'_>) -> Result<(), Error> {
        // The commits of those that were brought that are no other's parents.
        let mut frontier: HashSet<CommitId> = self.have.drain(..).collect();
        let (mut done, mut most) = (0, STEP);
        let mut attempts_left = ATTEMPTS;
        while let Some(step) = commits.get(done..commits.len().min(done + most)).filter(|step| !step.is_empty()) {
            let parents: HashSet<&CommitId> = step.iter().flat_map(|(_, parents)| parents).collect();
            let want: Vec<CommitId> =
                step.iter().map(|(id, _)| id).filter(|id| !parents.contains(id)).cloned().collect();
            let have: Vec<CommitId> = frontier.iter().cloned().collect();
            let fetching = Fetching::begin(self.from, &want, &have).await?;
            match self.bring_step(fetching, most == 1, delivery).await {
                Ok(true) => {}
                Ok(false) => {
                    most = (most / 2).max(1);
                    continue;
                }
                // It may have been too much: Lambda streams 200 MB an answer.
                Err(Error::Broken { .. }) if most > 1 => {
                    most = (most / 4).max(1);
                    continue;
                }
                Err(Error::Broken { .. }) if attempts_left > 1 => {
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

    /// Brings what one fetch gives, of one commit or of several. False if it is too much at once; nothing was delivered
    /// then.
    async fn bring_step(
        &mut self,
        mut fetching: Fetching<'_>,
        is_of_one: bool,
        delivery: &mut Delivery<'_>,
    ) -> Result<bool, Error> {
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
            delivery.snapshot(snapshot)?;
        }
        match self.bring_objects(fetching, delivery).await {
            // The objects of one commit are too much for one answer.
            Err(Error::Broken { .. }) if is_of_one => self.bring_one_by_one(delivery).await?,
            brought => brought?,
        }
        self.fetched.commits += commits.len() as u64;
        for commit in commits {
            delivery.commit(commit).await?;
        }
        delivery.flush().await?;
        Ok(true)
    }

    async fn bring_objects(&mut self, mut fetching: Fetching<'_>, delivery: &mut Delivery<'_>) -> Result<(), Error> {
        for _ in 0..fetching.list("objects").await? {
            let object = fetching.object().await?;
            self.fetched.objects += 1;
            self.fetched.bytes += object.size;
            let key = object.id.key();
            if !delivery.lacks(&key).await? {
                continue;
            }
            if object.size <= SMALL {
                let mut content = Vec::new();
                while let Some(piece) = fetching.piece().await? {
                    content.extend_from_slice(&piece);
                }
                delivery.small(key, content.into()).await?;
            } else {
                delivery.large(key, object.size, async || fetching.piece().await).await?;
            }
        }
        fetching.finish().await
    }

    /// Brings what is lacking still, each object by itself: through a URL of the storage if it has one, else from the hub.
    async fn bring_one_by_one(&mut self, delivery: &mut Delivery<'_>) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Refs {
            repo_id: String,
        }
        let Refs { repo_id } = self.from.ask(Endpoint::Refs, Bytes::new()).await?;
        for key in delivery.lacking().await? {
            let id = key.spelled(false);
            let answer = match asking::presigned(self.from, &id, "get").await? {
                Some(url) => self.from.get(&url).await?,
                None => self.from.send(Endpoint::Object(&id.to_string(), &repo_id), Bytes::new()).await?,
            };
            let told = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            let mut body = answer.into_body();
            let size: Option<u64> = told.or(body.size_hint().exact());
            let size = size.ok_or_else(|| self.from.broken(format!("the size of object {id} is not told")))?;
            self.fetched.objects += 1;
            self.fetched.bytes += size;
            let from = self.from;
            let mut next = async || loop {
                match body.frame().await.transpose().map_err(|error| from.broken(error))? {
                    None => return Ok(None),
                    Some(frame) => {
                        if let Ok(piece) = frame.into_data() {
                            return Ok::<_, Error>(Some(piece));
                        }
                    }
                }
            };
            if size <= SMALL {
                let mut content = Vec::new();
                while let Some(piece) = next().await? {
                    content.extend_from_slice(&piece);
                }
                delivery.small(key, content.into()).await?;
            } else {
                delivery.large(key, size, next).await?;
            }
        }
        Ok(())
    }
}
