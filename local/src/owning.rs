//! The commands with which the owner of a repository changes it.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::{Address, Remote};
use common::wire::Text;
use common::wire::request::{RepoChanges, RepoResponse};

use crate::moving::{AtHand, remote};

/// The variable that the token for a hub elsewhere is in: an argument would be seen by every user of the machine.
pub const TOKEN: &str = "MUSEHUB_TOKEN";

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

/// The repository, and who asks.
#[derive(Args)]
struct Owned {
    /// The repository: owner/slug of the stores at hand, or a URL
    #[arg(value_name = "OWNER/SLUG")]
    repo: Address,
    /// The file that the token for a URL is in, unless the variable MUSEHUB_TOKEN has it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
}

#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    owned: Owned,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    owned: Owned,
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
    let Branch::Delete(Delete { owned, branch }) = command;
    let (repo, head) = asked(owned, async |remote| Ok(remote.delete_branch(&branch).await?)).await?;
    println!("{repo}: '{branch}' is deleted; its head was {head}.");
    Ok(())
}

/// Runs `musehub repo`.
pub async fn repo(command: Repo) -> Result<(), Box<dyn Error>> {
    let Repo::Set(Set { owned, default_branch, visibility, description, name, domain }) = command;
    let [default_branch, visibility, description, name, domain] =
        [default_branch, visibility, description, name, domain].map(|said| said.map(Text::from));
    let changes = RepoChanges { default_branch, visibility, is_private: None, description, slug: None, name, domain };
    let (repo, changed) = asked(owned, async |remote| Ok(remote.change(&changes).await?)).await?;
    let RepoResponse { visibility, default_branch, domain, .. } = changed;
    let default_branch = default_branch.unwrap_or_default();
    println!("{repo}: {visibility}, its default branch '{default_branch}', its content {domain}.");
    Ok(())
}

/// What a hub answers about a repository, and what that is called.
async fn asked<T>(
    owned: Owned,
    ask: impl AsyncFnOnce(&Remote) -> Result<T, Box<dyn Error>>,
) -> Result<(String, T), Box<dyn Error>> {
    owned
        .at_hand
        .while_open(&[&owned.repo], async |at_hand| {
            let remote = remote(&owned.repo, at_hand, TOKEN, owned.token_file.as_deref()).await?;
            let answer = ask(&remote).await?;
            Ok((remote.to_string(), answer))
        })
        .await
}
