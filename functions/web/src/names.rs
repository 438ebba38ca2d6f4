//! What names commits: branches, tags, releases, and the log of how branches moved.

use std::collections::HashMap;

use common::id::{BranchName, CommitId, Label};
use common::wire::{WireError, recode};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lambda_http::Response;
use pages::page::branches::{BranchLine, BranchesPage};
use pages::page::log::{LogLine, LogPage};
use pages::page::releases::{ReleaseLine, ReleasesPage};
use pages::page::tags::{TagLine, TagsPage};
use serde_json::Value;
use service::AnswerBody;
use store::repo::Load;
use store::table::releases::KeptRelease;

use crate::Reader;
use crate::respond::{Version, page};

/// Lines of a page.
const A_PAGE: usize = 50;

/// `/{owner}/{slug}/branches?after=`.
pub(crate) async fn branches(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let after = reader.query("after");
    if after.as_ref().is_some_and(|after| after.parse::<BranchName>().is_err()) {
        return Err(WireError::invalid("after", "it is no cursor of this list"));
    }
    let listed = reader.hub.store.branches(&opened.repo.id, after.as_deref(), A_PAGE).await?;
    let mut version = Version::of_repo(reader, &opened);
    for (_, item) in &listed {
        version.add(&item.updated_at);
    }
    page(reader, version, || async {
        let ids: Vec<&CommitId> = listed.iter().map(|(_, item)| &item.head).collect();
        let known = opened.view.commits(ids).await?;
        let heads: Vec<_> =
            listed.iter().filter_map(|(_, item)| Some((item.head.clone(), known.get(&item.head)?.clone()))).collect();
        let lines = reader.commits(&opened, &heads).await?;
        let lines: HashMap<String, _> = lines.into_iter().map(|(line, _)| (line.id.clone(), line)).collect();
        let next = (listed.len() == A_PAGE).then(|| listed.last().map(|(name, _)| name.clone())).flatten();
        let mut branches: Vec<BranchLine> = listed
            .into_iter()
            .map(|(name, item)| BranchLine {
                head: lines.get(&item.head.to_string()).cloned(),
                head_id: item.head.to_string(),
                moved_at: item.updated_at.parse().ok(),
                ahead_behind: None,
                name,
            })
            .collect();
        branches.sort_by_key(|branch| branch.name != opened.frame.default_branch);
        let page = BranchesPage { hub: reader.frame.clone(), repo: opened.frame.clone(), branches, next };
        Ok(page)
    })
    .await
}

/// `/{owner}/{slug}/-/tags?after=`.
pub(crate) async fn tags(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HEADS).await?;
    let after = reader.query("after");
    if after.as_ref().is_some_and(|after| after.parse::<Label>().is_err()) {
        return Err(WireError::invalid("after", "it is no cursor of this list"));
    }
    let listed = reader.hub.store.tags_page(&opened.repo.id, after.as_deref(), A_PAGE).await?;
    let mut version = Version::of_repo(reader, &opened);
    for (label, tag) in &listed {
        version.add(label);
        version.add(&tag.commit_id.to_string());
    }
    page(reader, version, || async {
        let next = (listed.len() == A_PAGE).then(|| listed.last().map(|(label, _)| label.clone())).flatten();
        let tags = listed.into_iter().map(|(label, tag)| TagLine {
            label,
            commit_id: tag.commit_id.to_string(),
            subject: String::new(),
            created_at: tag.created_at.parse::<Timestamp>().ok(),
        });
        Ok(TagsPage { hub: reader.frame.clone(), repo: opened.frame.clone(), tags: tags.collect(), next })
    })
    .await
}

/// `/{owner}/{slug}/-/releases?after=`.
pub(crate) async fn releases(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HEADS).await?;
    let listed = reader.hub.store.release_tags(&opened.repo.id).await?;
    let after = reader.query("after");
    // They are in the order of time, so the page goes on behind the one that the last ended with.
    let first = after.and_then(|after| listed.iter().position(|(tag, _)| *tag == after)).map_or(0, |last| last + 1);
    let shown: Vec<&(String, String)> = listed.iter().skip(first).take(A_PAGE).collect();
    let next = (listed.len() > first + A_PAGE).then(|| shown.last().map(|(tag, _)| tag.clone())).flatten();
    let mut version = Version::of_repo(reader, &opened);
    for (tag, write_id) in &shown {
        version.add(tag);
        version.add(write_id);
    }
    page(reader, version, || async {
        let labels: Vec<Label> = shown.iter().filter_map(|(tag, _)| tag.parse().ok()).collect();
        let mut reads = Vec::with_capacity(labels.len());
        for label in &labels {
            reads.push(reader.hub.store.release(&opened.repo.id, label));
        }
        let mut releases = Vec::with_capacity(labels.len());
        for release in try_join_all(reads).await?.into_iter().flatten() {
            releases.push(release_line(&release)?);
        }
        Ok(ReleasesPage { hub: reader.frame.clone(), repo: opened.frame.clone(), releases, next })
    })
    .await
}

/// A line of a changelog: its message, in front of which stands its kind.
fn changelog_line(line: &Value) -> Option<String> {
    let text = |name: &str| line.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (line.as_str(), text("message"), text("sem_ver_bump").or_else(|| text("type"))) {
        (Some(line), ..) => Some(line.to_owned()),
        (None, Some(message), Some(kind)) => Some(format!("{kind}: {message}")),
        (None, message, _) => message.map(str::to_owned),
    }
}

fn release_line(release: &KeptRelease) -> Result<ReleaseLine, WireError> {
    let mut json = Vec::new();
    recode::to_json(&release.record()?, &mut json)?;
    let value: Value = serde_json::from_slice(&json).map_err(WireError::internal)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let changelog = value.get("changelog").and_then(Value::as_array).into_iter().flatten();
    Ok(ReleaseLine {
        tag: release.tag.clone(),
        title: text("title"),
        body: text("body"),
        channel: text("channel"),
        is_draft: value.get("is_draft").and_then(Value::as_bool).unwrap_or_default(),
        commit_id: text("commit_id"),
        agent: text("agent_id"),
        changelog: changelog.filter_map(changelog_line).collect(),
        created_at: text("created_at").parse::<Timestamp>().ok(),
    })
}

/// `/{owner}/{slug}/log?after=`.
pub(crate) async fn log(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HEADS).await?;
    let after = reader.query("after");
    let is_line = |line: &String| line.len() == 26 && line.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if after.as_ref().is_some_and(|after| !is_line(after)) {
        return Err(WireError::invalid("after", "it is no cursor of this list"));
    }
    let listed = reader.hub.store.push_log(&opened.repo.id, after.as_deref(), A_PAGE).await?;
    let mut version = Version::of_repo(reader, &opened);
    if let Some((line, _)) = listed.first() {
        version.add(line);
    }
    page(reader, version, || async {
        let next = (listed.len() == A_PAGE).then(|| listed.last().map(|(line, _)| line.clone())).flatten();
        let handles = reader.hub.store.handles(listed.iter().map(|(_, line)| line.by.as_str())).await?;
        let lines = listed.into_iter().map(|(_, line)| LogLine {
            branch: line.branch.to_string(),
            before: line.before.map(|before| before.to_string()),
            after: line.after.to_string(),
            is_forced: line.forced && !line.restored,
            is_restored: line.restored,
            is_deleted: line.deleted,
            is_there: opened.repo.heads.contains_key(line.branch.as_str()),
            by: handles.get(&line.by).cloned().unwrap_or(line.by),
            at: line.at.parse::<Timestamp>().ok(),
        });
        let page = LogPage { hub: reader.frame.clone(), repo: opened.frame.clone(), lines: lines.collect(), next };
        Ok(page)
    })
    .await
}
