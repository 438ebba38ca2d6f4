//! `musehub repo`: which repositories there are, what they are, and what their owners make of them.

use std::error::Error;

use clap::{ArgGroup, Args, Subcommand};
use common::id::Slug;
use common::wire::Text;
use common::wire::request::{ForkRequest, RepoChanges, RepoRequest, RepoResponse};

use crate::asking::{OfHub, OfRepo};

#[derive(Subcommand)]
pub enum Repo {
    /// List one's own repositories, or those of another owner that one may read
    List(List),
    /// Tell what a repository is
    Show(OfRepo),
    /// Make a repository under one's own handle
    ///
    /// A push to a new name makes one too, where the hub is set so.
    Create(Create),
    /// Make a repository of one's own that begins with what another has; no bytes are copied
    ///
    /// It has the branches, tags and releases that the other has at that moment, and goes its own way from then on.
    Fork(Fork),
    /// Change a repository's default branch, who may read it, or what is said of it
    Set(Set),
    /// Give a repository another name in its URL; each that it had leads to it still
    Rename(Rename),
    /// Delete a repository; for 30 days its owner can undelete it
    ///
    /// From then on it is there for no request. After 30 days its files and its names are deleted for good.
    Delete(OfRepo),
    /// Undelete a repository that was deleted less than 30 days ago, with all that was in it
    Undelete(OfRepo),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    of: OfHub,
    /// The owner's handle; without it, whom the token is of
    #[arg(long, value_name = "HANDLE")]
    owner: Option<String>,
    /// List those that one has deleted and can undelete
    #[arg(long, conflicts_with = "owner")]
    deleted: bool,
}

#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    of: OfRepo,
    /// Who may read it
    #[arg(long, default_value = "public", value_name = "public|private", value_parser = ["public", "private"])]
    visibility: String,
    #[command(flatten)]
    about: About,
}

#[derive(Args)]
pub struct Fork {
    #[command(flatten)]
    of: OfRepo,
    /// Its name for people, which leads to its name in the URL; without it, as the other is called
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A sentence about it; without it, what is said of the other
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who may read it; without it, as the other. A fork of a private repository is private
    #[arg(long, value_name = "public|private", value_parser = ["public", "private"])]
    visibility: Option<String>,
}

#[derive(Args)]
#[command(group = ArgGroup::new("changes").args(CHANGES).required(true).multiple(true))]
pub struct Set {
    #[command(flatten)]
    of: OfRepo,
    /// Who may read it
    #[arg(long, value_name = "public|private", value_parser = ["public", "private"])]
    visibility: Option<String>,
    #[command(flatten)]
    about: About,
}

/// The options that change something, of which one is needed.
const CHANGES: [&str; 5] = ["visibility", "default_branch", "description", "name", "domain"];

/// What is said of a repository.
#[derive(Args)]
pub struct About {
    /// The branch that a clone checks out
    #[arg(long, value_name = "BRANCH")]
    default_branch: Option<String>,
    /// A sentence about it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Its name for people, which has to lead to the same slug
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What kind of content it holds
    #[arg(long, value_name = "code|midi|scaffold", value_parser = ["code", "midi", "scaffold"])]
    domain: Option<String>,
}

#[derive(Args)]
pub struct Rename {
    #[command(flatten)]
    of: OfRepo,
    /// Its new name under the owner, which its URL ends with
    #[arg(value_name = "SLUG")]
    slug: String,
}

/// Runs `musehub repo`.
pub async fn repo(command: Repo) -> Result<(), Box<dyn Error>> {
    match command {
        Repo::List(List { of, owner, deleted }) => list(&of, owner.as_deref(), deleted).await,
        Repo::Show(of) => {
            let (_, answer) = of.ask(async |remote| Ok(remote.about().await?)).await?;
            show(&of, &answer)
        }
        Repo::Create(create) => make(create).await,
        Repo::Fork(Fork { of, name, description, visibility }) => {
            let [name, description] = [name, description].map(|said| said.map(Text::from));
            let is_private = visibility.map(|visibility| visibility == "private");
            let request = ForkRequest { name, is_private, description };
            let (_, answer) = of.ask(async |remote| Ok(remote.fork(&request).await?)).await?;
            of.printed.print(&answer, || answer.clone_url.to_string())
        }
        Repo::Set(Set { of, visibility, about }) => {
            let About { default_branch, description, name, domain } = about;
            let [default_branch, visibility, description, name, domain] =
                [default_branch, visibility, description, name, domain].map(|said| said.map(Text::from));
            let changes =
                RepoChanges { default_branch, visibility, description, name, domain, ..RepoChanges::default() };
            let (_, answer) = of.ask(async |remote| Ok(remote.change(&changes).await?)).await?;
            show(&of, &answer)
        }
        Repo::Rename(Rename { of, slug }) => {
            let changes = RepoChanges { slug: Some(slug.into()), ..RepoChanges::default() };
            let (repo, answer) = of.ask(async |remote| Ok(remote.change(&changes).await?)).await?;
            let RepoResponse { owner, slug, .. } = &answer;
            of.printed.print(&answer, || format!("{repo}: it is '{owner}/{slug}' now, and its old names lead to it."))
        }
        Repo::Delete(of) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.delete().await?)).await?;
            of.printed.print(&answer, || {
                format!("{repo}: it is deleted. 'musehub repo undelete' undeletes it until {}.", answer.kept_until)
            })
        }
        Repo::Undelete(of) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.undelete().await?)).await?;
            of.printed.print(&answer, || format!("{repo}: it is not deleted, and all that was in it is there."))
        }
    }
}

async fn list(of: &OfHub, owner: Option<&str>, deleted: bool) -> Result<(), Box<dyn Error>> {
    let answer = of.client()?.repos(owner, deleted).await?;
    let rows = answer.repos.iter().map(|repo| {
        let said = |field: &Option<std::borrow::Cow<'_, str>>| field.as_deref().unwrap_or_default().to_owned();
        let name = format!("{}/{}", repo.owner, repo.slug);
        let when = if deleted { &repo.kept_until } else { &repo.created_at };
        [name, repo.visibility.to_string(), repo.domain.to_string(), said(when), said(&repo.description)]
    });
    let when = if deleted { "KEPT UNTIL" } else { "MADE" };
    of.printed.table(&answer, ["REPOSITORY", "VISIBILITY", "CONTENT", when, "DESCRIPTION"], rows)
}

fn show(of: &OfRepo, repo: &RepoResponse<'_>) -> Result<(), Box<dyn Error>> {
    let said = |field: &'_ Option<std::borrow::Cow<'_, str>>| field.as_deref().unwrap_or_default().to_owned();
    of.printed.facts(
        repo,
        &[
            ("Repository", &format!("{}/{}", repo.owner, repo.slug)),
            ("Name", &repo.name),
            ("Description", &said(&repo.description)),
            ("Visibility", &repo.visibility),
            ("Content", &repo.domain),
            ("Default branch", &said(&repo.default_branch)),
            ("Made", &said(&repo.created_at)),
            ("First push", &said(&repo.first_pushed_at)),
            ("Fork of", &said(&repo.forked_from)),
            ("To clone", &repo.clone_url),
        ],
    )
}

async fn make(create: Create) -> Result<(), Box<dyn Error>> {
    let Create { of, visibility, about: About { default_branch, description, name, domain } } = create;
    let [default_branch, description, domain] = [default_branch, description, domain].map(|said| said.map(Text::from));
    let (_, answer) = of
        .ask(async |remote| {
            let slug = &remote.target.slug;
            let name = name.as_deref().unwrap_or(slug.as_str());
            check_name(name, slug)?;
            let is_private = Some(visibility == "private");
            let request = RepoRequest { name: name.into(), is_private, description, domain, default_branch };
            Ok(remote.make(&request).await?)
        })
        .await?;
    of.printed.print(&answer, || answer.clone_url.to_string())
}

/// Checks that a name leads to this slug: the hub would make a repo of another one.
fn check_name(name: &str, slug: &Slug) -> Result<(), String> {
    let leads_to = Slug::from_name(name).map_err(|error| error.to_string())?;
    if leads_to == *slug {
        return Ok(());
    }
    Err(format!("the name '{}' leads to the slug '{leads_to}', and not to '{slug}'", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn a_name_leads_to_the_slug_that_is_asked_for_or_is_refused() {
        let slug = "my-song".parse().unwrap();
        for name in ["my-song", "My Song", " My, Song! "] {
            assert_eq!(check_name(name, &slug), Ok(()), "{name}");
        }
        assert!(check_name("Song", &slug).unwrap_err().contains("leads to the slug 'song', and not to 'my-song'"));
        assert!(check_name("!", &slug).unwrap_err().contains("leaves no slug"));
    }
}
