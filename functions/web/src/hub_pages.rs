//! The hub itself, and its users.

use common::id::Slug;
use common::wire::WireError;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lambda_http::Response;
use pages::page::home::HomePage;
use pages::page::owner::OwnerPage;
use pages::parts::RepoLine;
use service::AnswerBody;
use service::auth::Credential;
use store::repo::Asker;
use store::table::items::{MetaItem, Visibility};

use crate::Reader;
use crate::respond::{Version, page};

/// Repositories of a page.
const A_PAGE: usize = 30;
/// Repositories that are looked at for a page, at most: one that is private by now is not shown.
const LOOKED_AT: usize = 90;

/// `/?after=`: how to use the hub, and its public repositories.
pub(crate) async fn home(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let (repos, next, version) = public(reader, None).await?;
    let (hub, is_first) = (reader.frame.clone(), reader.query("after").is_none());
    page(reader, version, || async move { Ok(HomePage { hub, repos, is_first, next }) }).await
}

/// `/{owner}?after=`: the repositories of a user; to others, those that are public and were pushed to. What is private is not
/// even read for them, so nothing says that it is there.
pub(crate) async fn owner(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let given = reader.call.path_parameter("owner").unwrap_or_default().to_ascii_lowercase();
    let owner: Slug = given.parse().map_err(|_| WireError::UnknownRoute)?;
    let user_id = reader.hub.store.user_of_handle(&owner).await?.ok_or(WireError::UnknownRoute)?;
    let is_own = reader.user.as_ref().is_some_and(|user| user.id == user_id)
        && reader.credential.as_ref().is_some_and(Credential::is_for_all_repos);
    let (repos, next, version) = match is_own {
        true => own(reader, &user_id).await?,
        false => public(reader, Some(&user_id)).await?,
    };
    let hub = reader.frame.clone();
    page(reader, version, || async move { Ok(OwnerPage { hub, owner: owner.to_string(), repos, next }) }).await
}

type List = (Vec<RepoLine>, Option<String>, Version);

/// The public repositories of a user, or of all, the one pushed to last first. The cursor is one that was shown.
async fn public(reader: &Reader<'_>, owner: Option<&str>) -> Result<List, WireError> {
    let listed = reader.hub.store.public_repos(owner).await?;
    let first = match &reader.query("after") {
        None => 0,
        Some(after) => listed.iter().position(|(_, repo)| repo.as_str() == after).map_or(listed.len(), |last| last + 1),
    };
    let left = listed.get(first..).unwrap_or_default();
    let looked_at = left.get(..LOOKED_AT.min(left.len())).unwrap_or_default();
    let mut reads = Vec::with_capacity(looked_at.len());
    for (_, repo) in looked_at {
        reads.push(reader.hub.store.meta(repo));
    }
    let metas = try_join_all(reads).await?;
    let mut shown = looked_at
        .iter()
        .zip(metas)
        .filter_map(|((at, repo), meta)| Some((*at, repo, meta.filter(|meta| meta.visibility == Visibility::Public)?)));
    let page: Vec<_> = shown.by_ref().take(A_PAGE).collect();
    let has_more = shown.next().is_some() || left.len() > looked_at.len();
    let next = page.last().filter(|_| has_more).map(|(_, repo, _)| repo.as_str().to_owned());
    let mut version = Version::of(reader);
    version.add(next.as_deref().unwrap_or_default());
    let repos = page.iter().map(|(at, _, meta)| line(&mut version, meta, Some(*at))).collect();
    Ok((repos, next, version))
}

/// All repositories of the reader by their names.
async fn own(reader: &Reader<'_>, user_id: &str) -> Result<List, WireError> {
    let after: Option<Slug> = reader
        .query("after")
        .map(|after| after.parse())
        .transpose()
        .map_err(|_| WireError::invalid("after", "it is no cursor of this list"))?;
    let store = &reader.hub.store;
    let (listed, has_more) =
        store.readable_repos_of_user(user_id, Asker::user(user_id), after.as_ref(), A_PAGE).await?;
    let mut logs = Vec::with_capacity(listed.len());
    for repo in &listed {
        logs.push(store.push_log(&repo.id, None, 1));
    }
    let logs = try_join_all(logs).await?;
    let mut version = Version::of(reader);
    let mut repos = Vec::with_capacity(listed.len());
    for (repo, log) in listed.iter().zip(logs) {
        let pushed_at = log.first().and_then(|(_, line)| line.at.parse::<Timestamp>().ok());
        repos.push(line(&mut version, &repo.meta, pushed_at));
    }
    let next = listed.last().filter(|_| has_more).map(|repo| repo.name.clone());
    Ok((repos, next, version))
}

fn line(version: &mut Version, meta: &MetaItem, pushed_at: Option<Timestamp>) -> RepoLine {
    for text in [meta.owner.as_str(), meta.slug.as_str(), &meta.description, meta.visibility.as_str(), &meta.domain] {
        version.add(text);
    }
    version.add(&pushed_at.map(|at| at.to_string()).unwrap_or_default());
    RepoLine {
        owner: meta.owner.to_string(),
        slug: meta.slug.to_string(),
        description: meta.description.clone(),
        is_private: meta.visibility == Visibility::Private,
        domain: meta.domain.clone(),
        pushed_at,
        size: None,
    }
}
