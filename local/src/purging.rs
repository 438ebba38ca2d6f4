//! `musehub purge`: an object that has leaked is hidden from all requests, and its bytes go.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use client::{Address, Remote};
use common::id::{ObjectId, ObjectKey, RepoId};
use local::backup::{holding, save};
use local::data::DataFolder;
use local::stores::Stores;
use local::transfer::progress;
use service::Hub;
use store::repo::Load;
use store::upkeep::pool::Doomed;
use store::upkeep::purge::Erased;

use crate::asking::TOKEN;
use crate::moving::{AtHand, remote};

#[derive(Args)]
pub struct Purge {
    /// The repository: owner/slug of the stores at hand, or a URL
    #[arg(value_name = "OWNER/SLUG")]
    repo: Address,
    /// The object; --object may be said several times
    #[arg(long = "object", value_name = "ID", required = true)]
    objects: Vec<ObjectId>,
    /// Why, for those who look later
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
    /// A folder of backups of this hub: it is backed up once more, which deletes there what holds an object; may be said several times
    #[arg(long = "backup", value_name = "FOLDER")]
    backups: Vec<PathBuf>,
    /// The file that the token for a URL is in, unless the variable MUSEHUB_TOKEN has it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
}

/// Runs `musehub purge`.
pub async fn run(arguments: Purge) -> Result<(), Box<dyn Error>> {
    if matches!(arguments.repo, Address::Url(..)) && !arguments.backups.is_empty() {
        return Err("a backup is made of the stores at hand: name the repository as owner/slug for --backup".into());
    }
    arguments.at_hand.while_open(&[&arguments.repo], async |at_hand| purge(&arguments, at_hand).await).await
}

async fn purge(arguments: &Purge, at_hand: Option<(&Stores, &Hub)>) -> Result<(), Box<dyn Error>> {
    let remote = remote(&arguments.repo, at_hand, TOKEN, arguments.token_file.as_deref()).await?;
    let answer = remote.purge(&arguments.objects, &arguments.reason).await?;
    for object in &answer.purged {
        println!(
            "{remote}: {} is purged since {}: no client is served it, and no push may bring it.",
            object.object_id, object.purged_at
        );
    }
    let Some((stores, _)) = at_hand else {
        println!("The hub is erasing its bytes; GET /api/repos/<owner>/<slug>/purge says how far that is.");
        print_rest();
        return Ok(());
    };
    let repo = repo_of(&remote, stores).await?;
    if stores.store.purge_under_way(&repo).await?.is_none() {
        stores.store.erase_again(&repo).await?;
    }
    if let Some(erased) = stores.store.erase(&repo).await? {
        print_erased(&erased);
    }
    let objects: BTreeSet<ObjectKey> = arguments.objects.iter().map(ObjectId::key).collect();
    for folder in &arguments.backups {
        back_up(stores, folder, &repo, &objects).await?;
    }
    if arguments.backups.is_empty() {
        println!("Backups of this hub may hold it: --backup FOLDER looks, and backs up once more without it.");
    }
    print_rest();
    Ok(())
}

async fn repo_of(remote: &Remote, stores: &Stores) -> Result<RepoId, Box<dyn Error>> {
    let target = &remote.target;
    let repo = stores.store.find_repo(&target.owner, &target.slug, Load::NOTHING).await?;
    Ok(repo.ok_or("the repository is gone")?.id)
}

fn print_erased(erased: &Erased) {
    let Erased { packs_rewritten, files_deleted, files_waiting, files_unreadable, looks_again } = erased;
    println!("{packs_rewritten} packs written again without it, {files_deleted} files deleted from the storage");
    if *files_waiting > 0 {
        println!("{files_waiting} files hold it that a push under way may be about to name: they go in an hour");
    }
    if *files_unreadable > 0 {
        println!(
            "{files_unreadable} files that nothing names cannot be read, so what they hold is not known: musehub fsck"
        );
    }
    if *looks_again {
        println!(
            "A push or an upload that began before may bring it back, unseen, for an hour. The hub looks again then, or the next run of this."
        );
    }
}

fn print_rest() {
    println!(
        "Who has read it has it still: change the secret. What is out of reach: clones, exports, caches on the way and of browsers, copies of the bucket."
    );
}

/// Looks whether a backup holds one of these objects; then backs up once more, and looks again.
async fn back_up(
    stores: &Stores,
    folder: &Path,
    repo: &RepoId,
    objects: &BTreeSet<ObjectKey>,
) -> Result<(), Box<dyn Error>> {
    let shown = folder.display();
    let held = holding::holding(folder, repo, objects)?;
    if held.is_empty() {
        println!("{shown}: no file of the backup holds it.");
        return Ok(());
    }
    let bar = progress::counting("reading");
    let secret = stores.folder.as_ref().map(DataFolder::kept_secret).transpose()?.flatten();
    let saved = save::save(&stores.store, folder, secret.as_deref(), &bar).await;
    bar.finish_and_clear();
    saved?;
    let left = holding::holding(folder, repo, objects)?;
    let mut unneeded = left.iter().cloned().collect();
    stores.store.forget_needed(repo, &mut unneeded, Doomed::Retired).await?;
    let (left, of_others): (Vec<String>, Vec<String>) = left.into_iter().partition(|key| unneeded.contains(key));
    if !left.is_empty() {
        return Err(format!("{shown}: these files hold it still: {}", left.join(", ")).into());
    }
    let deleted = held.len().saturating_sub(of_others.len());
    println!("{shown}: backed up once more; the {deleted} files that held it are deleted there.");
    if !of_others.is_empty() {
        println!("{} files that hold it are of forks, in which it is not purged.", of_others.len());
    }
    Ok(())
}
