//! `PATCH /api/repos/{owner}/{slug}`

use std::collections::BTreeMap;

use common::id::{BranchName, Slug};
use common::wire::WireError;
use common::wire::domain::Domain;
use common::wire::error::with_causes;
use common::wire::limits::{MAX_NAMES_OF_REPO, MAX_TEXT_LENGTH};
use common::wire::request::{Heads, RepoChanges};
use lambda_http::Response;
use lambda_http::http::StatusCode;
use service::Hub;
use service::repos::{described, taken};
use service::{Access, AnswerBody, Call, Opened};
use store::repo::{Load, Repo};
use store::table::items::{ChangeItem, MetaItem, Visibility};
use store::table::transaction::Outcome;

use crate::chosen_domain;

/// How often something else may change of the repo while this is about to.
const ATTEMPTS: usize = 20;

/// Changes what is said of a repo and who may know of it, for its owner.
pub async fn change(hub: &Hub, call: &Call) -> Result<Response<AnswerBody>, WireError> {
    let token = call.token(hub).await?;
    let target = call.target()?;
    for _ in 0..ATTEMPTS {
        let opened = hub.open(Some(&token), &target, Access::Administer("change what it is"), Load::HEADS).await?;
        let Opened { repo, user, .. } = opened;
        // Before anything is changed.
        let url = call.hub_url(hub)?;
        let changes: RepoChanges<'_> = call.decode()?;
        if changes.slug.is_some() {
            hub.open(Some(&token), &target, Access::Own("rename it"), Load::NOTHING).await?;
        }
        let (after, branch) = changed(&repo.meta, &repo.heads, &changes)?;
        // If it is taken now it will be; if it is taken meanwhile, the next attempt finds that.
        if !repo.meta.is_called(&after.owner, &after.slug)
            && hub.store.named(&after.owner, &after.slug).await?.is_some_and(|(id, _)| id != repo.id)
        {
            return Err(taken(hub, &after.owner, &after.slug).await?);
        }
        let change = ChangeItem {
            changed: differences(&repo.meta, &after),
            by: user.id.clone(),
            at: hub.store.ambient().now_iso(),
        };
        let still = hub.store.still_administers(&repo, &user.id)?;
        let outcome = hub.store.change_repo(&repo.id, &repo.meta, &after, branch.as_ref(), &change, still).await?;
        if outcome == Outcome::Landed {
            list(hub, &repo, &after).await;
            let answer = described(&url, &repo.id, &after, Some(after.shown_default(&repo.heads)));
            return call.respond(StatusCode::OK, &answer);
        }
    }
    Err(WireError::Unavailable("the repository was being changed by others".into()))
}

/// Keeps the list of public repos. It is only a hint, and readers look, so nothing depends on it.
async fn list(hub: &Hub, repo: &Repo, after: &MetaItem) {
    let listed = match (repo.meta.visibility, after.visibility) {
        (Visibility::Public, Visibility::Private) => hub.store.unlist(&repo.id).await,
        (Visibility::Private, Visibility::Public) if repo.was_pushed_to() => {
            hub.store.list_as_pushed(&repo.id, after, hub.store.ambient().now()).await
        }
        _ => return,
    };
    if let Err(error) = listed {
        tracing::error!(repo = %repo.id, causes = with_causes(&error), "the list of public repositories was not changed");
    }
}

/// The repo as it is to be, and the branch that has to be there for it.
fn changed(
    before: &MetaItem,
    heads: &Heads,
    changes: &RepoChanges<'_>,
) -> Result<(MetaItem, Option<BranchName>), WireError> {
    let mut after = before.clone();
    let mut branch = None;
    if let Some(name) = &changes.default_branch {
        branch = default_branch(heads, name)?;
        after.default_branch = name.to_string();
        after.default_is_chosen = true;
    }
    let by_word = changes.visibility.as_deref().map(str::parse::<Visibility>).transpose();
    let by_word = by_word.map_err(|reason| WireError::invalid("visibility", reason))?;
    let by_flag =
        changes.is_private.map(|is_private| if is_private { Visibility::Private } else { Visibility::Public });
    if let (Some(word), Some(flag)) = (by_word, by_flag)
        && word != flag
    {
        return Err(WireError::invalid("visibility", "is_private says something else; send one of the two"));
    }
    after.visibility = by_word.or(by_flag).unwrap_or(after.visibility);
    for (field, text) in [("name", &changes.name), ("description", &changes.description)] {
        WireError::check_text(field, text.as_deref().unwrap_or_default(), MAX_TEXT_LENGTH)?;
    }
    if let Some(slug) = &changes.slug {
        rename(&mut after, slug.parse().map_err(|reason| WireError::invalid("slug", reason))?)?;
    }
    if let Some(name) = changes.name.as_ref().filter(|name| name.trim() != after.name) {
        let slug = Slug::from_name(name).map_err(|reason| WireError::invalid("name", reason))?;
        if slug != after.slug {
            let reason = format_args!("it leads to the slug '{slug}', and the repository's URL stays '{}'", after.slug);
            return Err(WireError::invalid("name", reason));
        }
        after.name = name.trim().to_owned();
    }
    if let Some(description) = &changes.description {
        after.description = description.to_string();
    }
    if let Some(domain) = chosen_domain(changes.domain.as_ref())? {
        after.domain = domain.as_str().to_owned();
    }
    Ok((after, branch))
}

/// Gives a repo another slug. A name for people that was only the slug follows it.
fn rename(meta: &mut MetaItem, slug: Slug) -> Result<(), WireError> {
    if slug == meta.slug {
        return Ok(());
    }
    if meta.name == meta.slug.as_str() {
        meta.name = slug.to_string();
    }
    meta.former_slugs.remove(&slug);
    meta.former_slugs.insert(std::mem::replace(&mut meta.slug, slug));
    WireError::check_count(
        "names of one repository, with those that it had before,",
        meta.former_slugs.len() + 1,
        MAX_NAMES_OF_REPO,
    )
}

/// Checks that a branch may be the default one. It has to be there, but in a repo that has none yet.
fn default_branch(heads: &Heads, name: &str) -> Result<Option<BranchName>, WireError> {
    if heads.is_empty() {
        return common::wire::names::check_branch("default_branch", name).map(|_| None);
    }
    let refuse = |reason: &str| Err(WireError::invalid("default_branch", format_args!("'{name}' {reason}")));
    let shown: Option<BranchName> = name.parse().ok().filter(|name: &BranchName| heads.contains_key(name.as_str()));
    let Some(branch) = shown else {
        return Err(WireError::invalid("default_branch", "there is no such branch in the repository; push it first"));
    };
    if name.contains('/') && heads.keys().any(|other| !other.contains('/')) {
        return refuse("has a '/', and clients cannot check it out; choose a branch without one, or push one first");
    }
    Ok(Some(branch))
}

/// What is different, field by field: what it was, and what it is to be.
fn differences(before: &MetaItem, after: &MetaItem) -> BTreeMap<String, (String, String)> {
    let domain = |meta: &MetaItem| Domain::of_stored(&meta.domain).as_str().to_owned();
    [
        ("default_branch", before.default_branch.clone(), after.default_branch.clone()),
        ("visibility", before.visibility.as_str().to_owned(), after.visibility.as_str().to_owned()),
        ("slug", before.slug.to_string(), after.slug.to_string()),
        ("name", before.name.clone(), after.name.clone()),
        ("description", before.description.clone(), after.description.clone()),
        ("domain", domain(before), domain(after)),
    ]
    .into_iter()
    .filter(|(_, was, is)| was != is)
    .map(|(field, was, is)| (field.to_owned(), (was, is)))
    .collect()
}

#[cfg(test)]
mod tests;
