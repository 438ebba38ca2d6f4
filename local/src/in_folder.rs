//! The commands that bring repositories from hubs into folders that the stock client works in, and back.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::{Address, Remote};
use common::id::{BranchName, CommitId};
use common::wire::WireError;
use common::wire::limits::MAX_FETCH_DEPTH;
use common::wire::names::check_branch;
use local::transfer::clone::{Wanted, clone};
use local::transfer::fetch::fetch;
use local::transfer::folder::Folder;
use local::transfer::progress;
use local::transfer::push::push;

use crate::asking::TOKEN;
use crate::branch::SHORT;
use crate::moving::{FROM_TOKEN, print_redated, remote};

#[derive(Subcommand)]
pub enum InFolder {
    /// Clone a repository of any size into a folder that 'muse' goes on with
    ///
    /// 'muse clone' takes no answer of more than 64 MiB. This fetches in parts, and goes on where it stopped when it is run again;
    /// until all is there, 'muse' takes the folder for no repository. The token for a private repository is taken from the
    /// variable MUSEHUB_FROM_TOKEN, or from a file.
    Clone(Clone),
    /// Fetch what is new on the branches of a hub into a repository that is here, of any size
    ///
    /// As 'muse fetch', of all branches, in parts. It notes where the branches of the hub are, in .muse/remotes; branches, files and
    /// HEAD stay as they are, and 'muse pull origin main' merges what has come. It goes on where it stopped when it is run again.
    Fetch(Fetch),
    /// Push a branch of any size to a hub, from a repository that is here
    ///
    /// As 'muse push', in parts: what the hub has already is not sent, and when it stops on the way, running it again goes on. All that
    /// is to be sent is checked before anything is. A longer push moves the branch from part to part along its history.
    ///
    /// Exit codes: 0 the hub has the branch as it is here, 3 it wants a token, or another right, 5 its branch has commits that this
    /// one does not build on, 6 it is away or busy, 1 anything else.
    Push(Push),
}

#[derive(Args)]
pub struct Clone {
    /// The URL of the repository, like https://hub.example.com/owner/slug
    #[arg(value_name = "URL")]
    url: String,
    /// The folder, which is new or empty, or was begun by a clone; else the name in the URL
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Fetch only this branch, and write its files
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Fetch only the newest N commits on each way back from the head
    ///
    /// The rest is fetched by 'musehub clone URL DIR' in the same folder, and has to be before 'muse' fetches a branch that
    /// parted from this one earlier.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_FETCH_DEPTH as i64))]
    depth: Option<u32>,
    /// The file that the token is in, unless the variable MUSEHUB_FROM_TOKEN has it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A repository in a folder, and the hub that it is from.
#[derive(Args)]
struct OfFolder {
    /// The hub's repository, by the name that 'muse remote' lists
    #[arg(long, value_name = "NAME", default_value = "origin", value_parser = remote_name)]
    remote: BranchName,
    /// The folder of the repository, or one in it; else the current one
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    folder: PathBuf,
    /// The file that the token is in; else the variable MUSEHUB_TOKEN, else ~/.muse/identity.toml
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl OfFolder {
    async fn open(&self) -> Result<(Folder, Remote), Box<dyn Error>> {
        let folder = Folder::find(&self.folder)?;
        let address: Address = folder.url(&self.remote)?.parse()?;
        if let Address::Stores(_) = address {
            return Err(
                format!("the URL of remote '{}' is none: it begins with http:// or https://", self.remote).into()
            );
        }
        let remote = remote(&address, None, TOKEN, self.token_file.as_deref()).await?;
        Ok((folder, remote))
    }
}

/// Clients keep what they know of a remote in a folder of its name.
fn remote_name(text: &str) -> Result<BranchName, WireError> {
    check_branch("remote", text)
}

#[derive(Args)]
pub struct Fetch {
    #[command(flatten)]
    of: OfFolder,
}

#[derive(Args)]
pub struct Push {
    /// The branch; else the one that is checked out
    #[arg(value_name = "BRANCH")]
    branch: Option<String>,
    /// Put the hub's branch where this one is, even if it has commits that this one does not build on
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    of: OfFolder,
}

pub async fn run(command: InFolder) -> Result<(), Box<dyn Error>> {
    match command {
        InFolder::Clone(arguments) => run_clone(arguments).await,
        InFolder::Fetch(arguments) => run_fetch(&arguments).await,
        InFolder::Push(arguments) => run_push(&arguments).await,
    }
}

async fn run_clone(arguments: Clone) -> Result<(), Box<dyn Error>> {
    let url = arguments.url.trim_end_matches('/');
    let address: Address = url.parse()?;
    let Address::Url(_, target) = &address else {
        return Err("name the repository by its URL, like https://hub.example.com/owner/slug".into());
    };
    let folder = arguments.folder.unwrap_or_else(|| PathBuf::from(target.slug.as_str()));
    let from = remote(&address, None, FROM_TOKEN, arguments.token_file.as_deref()).await?;
    let bar = progress::counting("looking");
    let wanted = Wanted { branch: arguments.branch, depth: arguments.depth };
    let cloned = clone(&from, url, &folder, wanted, &bar).await;
    bar.finish_and_clear();
    let cloned = cloned?;
    match &cloned.branch {
        Some(branch) => println!("{}: {} fetched, branch {branch}.", folder.display(), cloned.fetched),
        None => println!("{}: {} fetched.", folder.display(), cloned.fetched),
    }
    print_left_out(&cloned.left_out);
    if cloned.cut > 0 {
        println!(
            "History is cut off at {} commits. 'musehub clone {url} {}' fetches the rest; do so before 'muse' fetches other branches.",
            cloned.cut,
            folder.display()
        );
    }
    Ok(())
}

async fn run_fetch(arguments: &Fetch) -> Result<(), Box<dyn Error>> {
    let (folder, from) = arguments.of.open().await?;
    let remote = &arguments.of.remote;
    let bar = progress::counting("looking");
    let fetched = fetch(&from, &folder, remote, &bar).await;
    bar.finish_and_clear();
    let fetched = fetched?;
    for branch in &fetched.branches {
        let new = if branch.was_seen { "" } else { "a new branch, " };
        println!("{remote}/{}: {new}{} new commits, at {}", branch.name, branch.commits, short(&branch.head));
    }
    if fetched.branches.is_empty() {
        println!("{from} has nothing new.");
    } else {
        println!("{from}: {} fetched.", fetched.fetched);
    }
    print_left_out(&fetched.left_out);
    if !fetched.behind_cut.is_empty() {
        println!(
            "History is cut off here, and these branches parted behind that, so they were left out: {}. 'musehub clone' with the same URL and folder as before fetches the rest; then fetch again.",
            fetched.behind_cut.join(", ")
        );
    }
    Ok(())
}

async fn run_push(arguments: &Push) -> Result<(), Box<dyn Error>> {
    let (folder, to) = arguments.of.open().await?;
    let branch = match &arguments.branch {
        Some(branch) => check_branch("branch", branch)?,
        None => folder.current_branch()?,
    };
    let bar = progress::counting("looking");
    let pushed = push(&to, &folder, &arguments.of.remote, &branch, arguments.force, &bar).await;
    bar.finish_and_clear();
    let pushed = pushed?;
    let sent = pushed.delivered.sent;
    if pushed.delivered.branches.is_empty() {
        println!("{to} has all of branch {branch} already.");
    } else {
        println!("{to}: {sent} sent, branch {branch} is at {}.", short(&pushed.head));
    }
    print_redated(&to.to_string(), &pushed.delivered);
    Ok(())
}

/// As much of an id as people look at.
fn short(id: &CommitId) -> String {
    id.to_string().chars().take(SHORT).collect()
}

fn print_left_out(branches: &[String]) {
    if !branches.is_empty() {
        println!("These branches can be no files and were left out: {}.", branches.join(", "));
    }
}
