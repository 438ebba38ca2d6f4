//! The hub itself, and its users.

use common::id::{RepoId, Slug};
use common::wire::WireError;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lambda_http::Response;
use pages::page::home::HomePage;
use pages::page::owner::OwnerPage;
use pages::parts::RepoLine;
use service::AnswerBody;
use store::table::items::{MetaItem, Visibility};

use crate::Reader;
use crate::respond::{Version, page};

/// Repositories of a page.
const A_PAGE: usize = 30;
/// Repositories that are looked at for a page, at most: one that is private by now is not shown.
const LOOKED_AT: usize = 90;

/// `/?after=`: how to use the hub, and its public repositories.
pub(crate) async fn home(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let listed = reader.hub.store.public_repos().await?;
    let after = reader.query("after");
    let first = match &after {
        None => 0,
        Some(after) => listed.iter().position(|(_, repo)| repo.as_str() == after).map_or(listed.len(), |last| last + 1),
    };
    let looked_at: Vec<_> = listed.iter().skip(first).take(LOOKED_AT).collect();
    let mut reads = Vec::with_capacity(looked_at.len());
    for (_, repo) in &looked_at {
        reads.push(reader.hub.store.meta(repo));
    }
    let mut version = Version::of(reader);
    let (mut repos, mut last) = (Vec::new(), None);
    for ((at, repo), meta) in looked_at.into_iter().zip(try_join_all(reads).await?) {
        if repos.len() == A_PAGE {
            break;
        }
        last = Some(repo.as_str());
        if let Some(meta) = meta.filter(|meta| meta.visibility == Visibility::Public) {
            version.add(&at.to_string());
            version.add(meta.owner.as_str());
            version.add(meta.slug.as_str());
            version.add(&meta.description);
            repos.push(line(&meta, Some(*at)));
        }
    }
    let is_end = listed.last().is_none_or(|(_, repo)| Some(repo.as_str()) == last);
    let next = last.filter(|_| !is_end).map(str::to_owned);
    let (hub, is_first) = (reader.frame.clone(), after.is_none());
    page(reader, version, || async move { Ok(HomePage { hub, repos, is_first, next }) }).await
}

/// `/{owner}?after=`: the repositories of a user that the reader may know of.
pub(crate) async fn owner(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let given = reader.call.path_parameter("owner").unwrap_or_default().to_ascii_lowercase();
    let owner: Slug = given.parse().map_err(|_| WireError::UnknownRoute)?;
    let user_id = reader.hub.store.user_of_handle(&owner).await?.ok_or(WireError::UnknownRoute)?;
    let after = reader.query("after");
    if let Some(after) = &after
        && after.parse::<Slug>().is_err()
    {
        return Err(WireError::invalid("after", "it is no cursor of this list"));
    }
    let listed = reader.hub.store.repos_of_user(&user_id, after.as_deref(), LOOKED_AT).await?;
    let mut reads = Vec::with_capacity(listed.len());
    for (_, repo) in &listed {
        reads.push(reader.readable(repo));
    }
    let known = try_join_all(reads).await?;
    let mut version = Version::of(reader);
    let (mut shown, mut last) = (Vec::new(), None);
    for ((slug, repo), meta) in listed.iter().zip(known) {
        if shown.len() == A_PAGE {
            break;
        }
        last = Some(slug.clone());
        shown.extend(meta.map(|meta| (repo, meta)));
    }
    let mut reads = Vec::with_capacity(shown.len());
    for (repo, _) in &shown {
        reads.push(reader.hub.store.push_log(repo, None, 1));
    }
    let mut repos = Vec::with_capacity(shown.len());
    for ((_, meta), log) in shown.iter().zip(try_join_all(reads).await?) {
        let pushed_at = log.first().and_then(|(_, line)| line.at.parse::<Timestamp>().ok());
        for text in [meta.slug.as_str(), &meta.description, meta.visibility.as_str()] {
            version.add(text);
        }
        version.add(&pushed_at.map(|at| at.to_string()).unwrap_or_default());
        repos.push(line(meta, pushed_at));
    }
    let is_end = listed.len() < LOOKED_AT && listed.last().is_none_or(|(slug, _)| Some(slug) == last.as_ref());
    let next = last.filter(|_| !is_end);
    let frame = reader.frame.clone();
    page(reader, version, || async move { Ok(OwnerPage { hub: frame, owner: owner.to_string(), repos, next }) }).await
}

impl Reader<'_> {
    /// What a repository says of itself, if the reader may know of it.
    async fn readable(&self, repo: &RepoId) -> Result<Option<MetaItem>, WireError> {
        let user_id = self.caller.as_ref().map(|caller| caller.user_id.as_str());
        let found = self.hub.store.readable_repo(repo, user_id, store::repo::Load::NOTHING).await?;
        Ok(found.map(|repo| repo.meta))
    }
}

fn line(meta: &MetaItem, pushed_at: Option<Timestamp>) -> RepoLine {
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
