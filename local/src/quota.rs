//! `musehub quota`: how much a repository or a user may hold, for an operator who has the stores at hand.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use common::id::Slug;
use common::pack::PackSummary;
use indicatif::HumanBytes;
use local::stores::{Stores, Which};
use service::Target;
use store::repo::Load;

#[derive(Subcommand)]
pub enum Quota {
    /// Say how much a repository or a user may hold; it counts at the next push
    Set(Set),
    /// Tell what a repository or a user holds, and may hold
    Show(Subject),
}

/// Whose quota it is, and where the stores are.
#[derive(Args)]
pub struct Subject {
    /// A repository, for example dev/song, or a user's handle
    #[arg(value_name = "OWNER[/SLUG]")]
    of: String,
    /// The data folder of a hub on this machine that is not running
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    subject: Subject,
    /// Bytes in the storage; without it, as many as the hub allows
    #[arg(long, value_name = "BYTES")]
    bytes: Option<u64>,
    /// Repositories of a user; without it, as many as the hub allows
    #[arg(long, value_name = "COUNT")]
    repos: Option<u64>,
}

/// Runs `musehub quota`.
pub async fn quota(command: Quota) -> Result<(), Box<dyn Error>> {
    let (subject, set) = match command {
        Quota::Set(Set { subject, bytes, repos }) => (subject, Some((bytes, repos))),
        Quota::Show(subject) => (subject, None),
    };
    let Subject { of, data } = subject;
    let work = async |stores: &Stores| match of.contains('/') {
        true => of_repo(stores, &of.parse::<Target>()?, set).await,
        false => of_user(stores, &of.parse::<Slug>()?, set).await,
    };
    Stores::open(&Which::choose(data)).await?.while_open(work).await
}

type New = Option<(Option<u64>, Option<u64>)>;

async fn of_repo(stores: &Stores, target: &Target, set: New) -> Result<(), Box<dyn Error>> {
    let id = stores.repo(target).await?;
    if let Some((bytes, repos)) = set {
        if repos.is_some() {
            return Err("only a user has a number of repositories: name a handle".into());
        }
        stores.store.set_quota_of_repo(&id, bytes).await?;
    }
    let repo = stores.store.find_repo(&target.owner, &target.slug, Load::RELIABLE_PACKS).await?;
    let repo = repo.ok_or_else(|| format!("there is no repository {target}"))?;
    let used = PackSummary::stored_bytes(repo.packs.iter().map(|(_, summary)| summary));
    println!("{target}: {used} bytes ({}), and {}.", HumanBytes(used), bytes_allowed(repo.meta.quota_bytes));
    Ok(())
}

async fn of_user(stores: &Stores, handle: &Slug, set: New) -> Result<(), Box<dyn Error>> {
    if stores.store.user_of_handle(handle).await?.is_none() {
        return Err(format!("no user has the handle '{handle}'").into());
    }
    if let Some((bytes, repos)) = set {
        stores.store.set_quota_of_user(handle, bytes, repos).await?;
    }
    let usage = stores.store.usage(handle).await?;
    let repos = usage.quota_repos.map_or_else(
        || "as many repositories as the hub allows".to_owned(),
        |repos| format!("{repos} repositories are allowed"),
    );
    let (used, allowed) = (HumanBytes(usage.bytes), bytes_allowed(usage.quota_bytes));
    println!("{handle}: {} bytes ({used}) counted, and {allowed}; {repos}.", usage.bytes);
    Ok(())
}

fn bytes_allowed(quota: Option<u64>) -> String {
    quota.map_or_else(|| "as many as the hub allows".to_owned(), |quota| format!("{quota} are allowed"))
}
