//! Histories, commits, and what one has over another.

use std::collections::HashMap;

use common::id::CommitId;
use common::wire::WireError;
use lambda_http::Response;
use pages::graph::open_lanes;
use pages::page::commit::CommitPage;
use pages::page::commits::CommitsPage;
use pages::page::compare::ComparePage;
use pages::parts::CommitLine;
use pages::urls::parse_compare;
use pages::view::DiffView;
use serde_json::Value;
use service::AnswerBody;
use store::repo::Load;
use store::table::items::TagItem;

use crate::respond::{Version, page, set_immutable};
use crate::{Opened, Reader};

/// Commits of a page.
const A_PAGE: usize = 50;
/// Commits that a cursor has: those that the next page begins with.
const MAX_OPEN: usize = 60;
/// Commits of a history that is wider than that to which a list comes.
const MAX_WALKED: usize = 20_000;
/// Branches and tags of a commit that a list names.
const MAX_NAMES: usize = 20;
/// Tags that are looked through for those of a page.
const MAX_TAGS: usize = 1_000;
/// Commits that are loaded to compare two, at most.
const MAX_COMPARED: usize = 50_000;

/// `/{owner}/{slug}/commits/{ref}?after=`.
pub(crate) async fn commits(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let name = reader.ref_in_path();
    let after = reader.query("after");
    let (found, tags) = tokio::try_join!(reader.find(&opened, &name), reader.tags(&opened))?;
    let mut version = Version::of_commits(reader, &opened, &[&found.id]);
    for (label, commit) in &tags {
        version.add(label);
        version.add(&commit.to_string());
    }
    page(reader, version, || async {
        let mut history = opened.view.history();
        let (shown, open, walked_from, newest) = match Cursor::read(after.as_deref(), &found.id)? {
            Cursor::Open { shown, open } => {
                let newest = history.newest(&open, A_PAGE).await?;
                (shown, open, None, newest)
            }
            // The list is walked to its place again.
            Cursor::Behind { shown, head } => {
                let mut newest = history.newest(std::slice::from_ref(&head), shown + A_PAGE).await?;
                newest.commits.drain(..shown.min(newest.commits.len()));
                (shown, Vec::new(), Some(head), newest)
            }
        };
        let lines = reader.commits(&opened, &newest.commits).await?;
        let mut commits: Vec<CommitLine> = lines.into_iter().map(|(line, _)| line).collect();
        let names = Names::of(&opened, &tags);
        commits.iter_mut().for_each(|line| names.add_to(line));
        let open: Vec<String> = if shown == 0 { Vec::new() } else { open.iter().map(ToString::to_string).collect() };
        // The lanes of the drawing come in their order, and what else is open behind them.
        let going_on: Vec<String> = newest.open.iter().map(ToString::to_string).collect();
        let mut next = open_lanes(&open, &commits);
        next.retain(|id| going_on.contains(id));
        next.extend(going_on.into_iter().filter(|id| !next.contains(id)).collect::<Vec<_>>());
        let shown = shown + commits.len();
        let page = CommitsPage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            at: reader.at(&opened, &name, &found.id),
            commits,
            open,
            is_first: after.is_none(),
            next: Cursor::after(shown, &next, walked_from.as_ref(), &found.id),
        };
        Ok(page)
    })
    .await
}

/// Where a list of commits goes on.
enum Cursor {
    /// After this many, with these: what earlier commits name as parents and the list has not come to.
    Open { shown: usize, open: Vec<CommitId> },
    /// After this many, counted from this commit: of a history that is too wide for a URL.
    Behind { shown: usize, head: CommitId },
}

impl Cursor {
    fn read(after: Option<&str>, head: &CommitId) -> Result<Self, WireError> {
        let Some(after) = after else {
            return Ok(Self::Open { shown: 0, open: vec![head.clone()] });
        };
        Self::parse(after).ok_or_else(|| WireError::invalid("after", "it is no cursor of this list"))
    }

    fn parse(after: &str) -> Option<Self> {
        let (shown, rest) = after.split_once([',', '@'])?;
        let shown: usize = shown.parse().ok()?;
        if after.contains('@') {
            let head = rest.parse().ok()?;
            return (shown <= MAX_WALKED).then_some(Self::Behind { shown, head });
        }
        let open = rest.split(',').map(str::parse).collect::<Result<Vec<CommitId>, _>>().ok()?;
        (open.len() <= MAX_OPEN && shown > 0).then_some(Self::Open { shown, open })
    }

    /// The cursor of the next page. A list that was walked from a commit to its place goes on so.
    fn after(shown: usize, open: &[String], walked_from: Option<&CommitId>, head: &CommitId) -> Option<String> {
        match open.len() {
            0 => None,
            1..=MAX_OPEN if walked_from.is_none() => Some(format!("{shown},{}", open.join(","))),
            _ => (shown <= MAX_WALKED).then(|| format!("{shown}@{}", walked_from.unwrap_or(head))),
        }
    }
}

/// `/{owner}/{slug}/commit/{id}?view=`.
pub(crate) async fn commit(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let name = reader.call.path_parameter("commit").unwrap_or_default();
    let id: CommitId = name.parse().map_err(|_| WireError::UnknownRef(name.chars().take(80).collect()))?;
    let version = Version::of_repo(reader, &opened);
    let mut response = page(reader, version, || async {
        let known = opened.view.commits([&id]).await?.remove(&id).filter(|commit| commit.is_reached);
        let commit = known.ok_or_else(|| WireError::UnknownCommit(id.clone()))?;
        let parent = match commit.parents.first() {
            Some(parent) => opened.view.commits([parent]).await?.remove(parent),
            None => None,
        };
        let both: Vec<_> = parent.iter().chain([&commit]).collect();
        let one = [(id.clone(), commit.clone())];
        let (lines, mut files) = tokio::try_join!(reader.commits(&opened, &one), reader.files(&opened, &both))?;
        let after = files.pop().unwrap_or_default();
        let before = files.pop().unwrap_or_default();
        let (files, more_files) = reader.changes(&opened, &before, &after).await?;
        // Without the names that it has today, what the page says of a commit is true for ever.
        let (line, value) = lines.into_iter().next().unwrap_or_default();
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let metadata = value.get("metadata").and_then(Value::as_object).into_iter().flatten();
        let reviewers = value.get("reviewed_by").and_then(Value::as_array).into_iter().flatten();
        let page = CommitPage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            commit: line,
            snapshot_id: text("snapshot_id"),
            metadata: metadata.map(|(name, value)| (name.clone(), shown(value))).collect(),
            reviewed_by: reviewers.map(shown).collect(),
            test_runs: value.get("test_runs").and_then(Value::as_u64).unwrap_or_default(),
            signer_key_id: text("signer_key_id"),
            delta: value.get("structured_delta").cloned().unwrap_or_default(),
            files,
            more_files,
            view: DiffView::parse(&reader.query("view").unwrap_or_default()),
        };
        Ok(page)
    })
    .await?;
    set_immutable(response.headers_mut(), reader, &opened);
    Ok(response)
}

/// `/{owner}/{slug}/compare/{a}...{b}?view=`.
pub(crate) async fn compare(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let range = reader.call.raw_path_parameter("range").unwrap_or_default();
    let (base, head) = parse_compare(&range).ok_or(WireError::UnknownRoute)?;
    let (a, b) = tokio::try_join!(reader.find(&opened, &base), reader.find(&opened, &head))?;
    let version = Version::of_commits(reader, &opened, &[&a.id, &b.id]);
    page(reader, version, || async {
        let mut history = opened.view.history_within(MAX_COMPARED);
        let too_many = || WireError::TooLargeToShow(format!("more than {MAX_COMPARED} commits"));
        let count = history.distance(std::slice::from_ref(&b.id), std::slice::from_ref(&a.id)).await?;
        let has_more_commits = count.ok_or_else(too_many)? > A_PAGE;
        let lacking = history.difference(std::slice::from_ref(&b.id), &[a.id.clone()].into()).await?;
        let shared = history.common_ancestor(std::slice::from_ref(&a.id), std::slice::from_ref(&b.id)).await?;
        // Of what has no ancestor in common the other side is known too, or the walk was given up.
        if shared.is_none()
            && history.distance(std::slice::from_ref(&a.id), std::slice::from_ref(&b.id)).await?.is_none()
        {
            return Err(too_many());
        }
        let shown: Vec<_> = lacking.commits.into_iter().rev().take(A_PAGE).collect();
        let ground = match &shared {
            Some(shared) => opened.view.commits([shared]).await?.remove(shared),
            None => None,
        };
        let both: Vec<_> = ground.iter().chain([&b.commit]).collect();
        let (lines, mut files) = tokio::try_join!(reader.commits(&opened, &shown), reader.files(&opened, &both))?;
        let after = files.pop().unwrap_or_default();
        let before = files.pop().unwrap_or_default();
        let (files, more_files) = reader.changes(&opened, &before, &after).await?;
        let page = ComparePage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            base: base.clone(),
            head: head.clone(),
            merge_base: shared.map(|shared| shared.to_string()),
            commits: lines.into_iter().map(|(line, _)| line).collect(),
            has_more_commits,
            files,
            more_files,
            view: DiffView::parse(&reader.query("view").unwrap_or_default()),
        };
        Ok(page)
    })
    .await
}

impl Reader<'_> {
    /// The first tags of a repository: where there are very many, a list names no others.
    async fn tags(&self, opened: &Opened) -> Result<Vec<(String, CommitId)>, WireError> {
        let tags = self.hub.store.tags_page(&opened.repo.id, None, MAX_TAGS).await?;
        Ok(tags.into_iter().map(|(label, TagItem { commit_id, .. })| (label, commit_id)).collect())
    }
}

/// The branches and tags that name commits, by the commits' ids.
#[derive(Default)]
struct Names {
    branches: HashMap<String, Vec<String>>,
    tags: HashMap<String, Vec<String>>,
}

impl Names {
    fn of(opened: &Opened, tags: &[(String, CommitId)]) -> Self {
        let mut names = Self::default();
        for (branch, head) in &opened.repo.heads {
            names.branches.entry(head.to_string()).or_default().push(branch.clone());
        }
        for (label, commit) in tags {
            names.tags.entry(commit.to_string()).or_default().push(label.clone());
        }
        names
    }

    fn add_to(&self, line: &mut CommitLine) {
        let first = |names: Option<&Vec<String>>| names.into_iter().flatten().take(MAX_NAMES).cloned().collect();
        line.branches = first(self.branches.get(&line.id));
        line.tags = first(self.tags.get(&line.id));
    }
}
