//! The commands with which the owner of a repository changes it.

use std::error::Error;

use clap::{Args, Subcommand};
use common::wire::Text;
use common::wire::branches::BranchDeletedResponse;
use common::wire::request::{RepoChanges, RepoResponse};

use crate::asking::OfRepo;

#[derive(Subcommand)]
pub enum Branch {
    /// Delete a branch, in a line of the push log; the default branch is refused
    ///
    /// Its commits stay as long as the push log names them, and the head that it had is printed: a push can make it again.
    Delete(Delete),
}

#[derive(Subcommand)]
pub enum Repo {
    /// Change a repository's default branch, who may read it, or what is said of it
    Set(Set),
}

#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    of: OfRepo,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    of: OfRepo,
    /// The branch that a clone checks out
    #[arg(long, value_name = "BRANCH")]
    default_branch: Option<String>,
    /// Who may read it
    #[arg(long, value_name = "public|private", value_parser = ["public", "private"])]
    visibility: Option<String>,
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

/// Runs `musehub branch`.
pub async fn branch(command: Branch) -> Result<(), Box<dyn Error>> {
    let Branch::Delete(Delete { of, branch }) = command;
    let (repo, head) = of.ask(async |remote| Ok(remote.delete_branch(&branch).await?)).await?;
    let answer = BranchDeletedResponse { deleted: branch, head };
    of.printed.print(&answer, || format!("{repo}: '{}' is deleted; its head was {}.", answer.deleted, answer.head))
}

/// Runs `musehub repo`.
pub async fn repo(command: Repo) -> Result<(), Box<dyn Error>> {
    let Repo::Set(Set { of, default_branch, visibility, description, name, domain }) = command;
    let [default_branch, visibility, description, name, domain] =
        [default_branch, visibility, description, name, domain].map(|said| said.map(Text::from));
    let changes = RepoChanges { default_branch, visibility, is_private: None, description, slug: None, name, domain };
    let (repo, changed) = of.ask(async |remote| Ok(remote.change(&changes).await?)).await?;
    of.printed.print(&changed, || {
        let RepoResponse { visibility, default_branch, domain, .. } = &changed;
        let default_branch = default_branch.as_deref().unwrap_or_default();
        format!("{repo}: {visibility}, its default branch '{default_branch}', its content {domain}.")
    })
}
