//! The commands that get repos out of hubs and into them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use client::{Address, Remote};
use common::id::Ids;
use local::backup::{restore, save};
use local::data::DataFolder;
use local::transfer::export::export;
use local::transfer::import::import;
use local::transfer::mirror::{Options, mirror};
use local::transfer::progress;

use local::stores::{Stores, Which};
use local::transfer::at_hand::{self, hub_over};
use local::transfer::verify::verify;
use service::{Hub, Target};
use store::table::items::{Key, SecretItem, Visibility, decode};

/// The variables that the tokens for hubs elsewhere are in: an argument would be seen by every user of the machine.
pub const FROM_TOKEN: &str = "MUSEHUB_FROM_TOKEN";
const TO_TOKEN: &str = "MUSEHUB_TO_TOKEN";

#[derive(Subcommand)]
pub enum Moving {
    /// Write a whole repository into one file
    ///
    /// Branches, tags, releases, and all that they reach. An export that was interrupted goes on when it is run again.
    Export(Export),
    /// Prove the file of an export, every checksum, id and reference, or the folder of a backup; needs no hub
    Verify(Verify),
    /// Bring the file of an export into a hub
    ///
    /// The file is proved before anything is sent. Running it again finishes what was interrupted, and else changes nothing.
    Import(Import),
    /// Bring a repository from one hub into another; what the other has already is not sent
    ///
    /// Each of the two is a URL, like https://hub.example.com/owner/slug, or owner/slug of the stores at hand. The tokens
    /// for URLs are taken from the variables MUSEHUB_FROM_TOKEN and MUSEHUB_TO_TOKEN, or from files.
    Mirror(Mirror),
    /// Copy a whole hub into a folder of plain files; a second time into the same folder copies only what is new
    ///
    /// The folder always holds the last complete backup. What tokens are signed with is in it, so only its owner may read
    /// it. The hub need not stop, be it one on this machine or one whose stores the environment names.
    Backup(Backup),
    /// Make a hub of a backup, in stores that are empty; an interrupted one goes on when it is run again
    Restore(Backup),
}

/// Which stores `owner/slug` is in.
#[derive(Args)]
pub struct AtHand {
    /// The data folder of a stopped hub; else the stores that the environment names, else .musehub
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// What ids are to that hub
    #[arg(long, env = "MUSEHUB_IDS", default_value = "strict", value_name = "strict|lenient", value_parser = crate::ids)]
    pub ids: Ids,
}

impl AtHand {
    /// Does some work, with these stores and the hub over them if one of the addresses is in them.
    pub async fn while_open<T>(
        &self,
        addresses: &[&Address],
        work: impl AsyncFnOnce(Option<(&Stores, &Hub)>) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        if !addresses.iter().any(|address| matches!(address, Address::Stores(_))) {
            return work(None).await;
        }
        let with_hub = async |stores: &Stores| {
            let hub = hub_over(Arc::clone(&stores.store), self.ids)?;
            work(Some((stores, &hub))).await
        };
        Stores::open(&Which::choose(self.data.clone())).await?.while_open(with_hub).await
    }
}

#[derive(Args)]
pub struct Backup {
    /// The folder of the backup
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The data folder of a hub, which has to be stopped for a restore; else the stores that the environment names, else .musehub
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[derive(Args)]
pub struct Export {
    /// The repository
    #[arg(value_name = "OWNER/SLUG")]
    target: Target,
    /// The file to write, for example song.tar.zst; one that is there is not touched
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there, once the new one is whole
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    at_hand: AtHand,
}

#[derive(Args)]
pub struct Verify {
    /// The file, or the folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Who may know of a repository that is made.
#[derive(Args)]
#[group(multiple = false)]
struct Made {
    /// If the repository is made, let no other user read it
    #[arg(long)]
    private: bool,
    /// If the repository is made, let everybody read it
    #[arg(long)]
    public: bool,
}

impl Made {
    const fn visibility(&self) -> Option<Visibility> {
        match (self.public, self.private) {
            (true, _) => Some(Visibility::Public),
            (_, true) => Some(Visibility::Private),
            _ => None,
        }
    }
}

#[derive(Args)]
pub struct Import {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The repository: owner/slug of the stores at hand, or a URL
    #[arg(value_name = "OWNER/SLUG")]
    to: Address,
    #[command(flatten)]
    made: Made,
    /// The file that the token for a URL is in, unless the variable MUSEHUB_TO_TOKEN has it
    #[arg(long, value_name = "FILE")]
    to_token_file: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
}

#[derive(Args)]
pub struct Mirror {
    /// The repository that is read
    #[arg(value_name = "FROM")]
    from: Address,
    /// The repository that is written; it is made, private unless you say otherwise, if it is not there
    #[arg(value_name = "TO")]
    to: Address,
    /// Put branches where FROM has them even where TO has commits that FROM does not build on, and replace other tags and
    /// releases of the same names
    #[arg(long)]
    force: bool,
    /// Delete branches and tags of TO that FROM does not have; never the default branch of TO
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    made: Made,
    /// The file that the token for FROM is in, unless the variable MUSEHUB_FROM_TOKEN has it
    #[arg(long, value_name = "FILE")]
    from_token_file: Option<PathBuf>,
    /// The file that the token for TO is in, unless the variable MUSEHUB_TO_TOKEN has it
    #[arg(long, value_name = "FILE")]
    to_token_file: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
}

pub async fn run(command: Moving) -> Result<(), Box<dyn Error>> {
    match command {
        Moving::Export(arguments) => run_export(arguments).await,
        Moving::Verify(arguments) => run_verify(&arguments),
        Moving::Import(arguments) => run_import(arguments).await,
        Moving::Mirror(arguments) => run_mirror(arguments).await,
        Moving::Backup(arguments) => run_backup(arguments).await,
        Moving::Restore(arguments) => run_restore(arguments).await,
    }
}

async fn run_export(arguments: Export) -> Result<(), Box<dyn Error>> {
    let stores = Stores::open(&Which::choose(arguments.at_hand.data)).await?;
    let bar = progress::counting("reading");
    let exported = stores.while_open(async |stores| {
        let hub = hub_over(Arc::clone(&stores.store), arguments.at_hand.ids)?;
        Ok::<_, Box<dyn Error>>(export(&hub, &arguments.target, &arguments.file, arguments.force, &bar).await?)
    });
    let exported = exported.await;
    bar.finish_and_clear();
    let exported = exported?;
    let size = indicatif::DecimalBytes(exported.size);
    println!("{}: {}, in {size}", arguments.file.display(), exported.holds);
    Ok(())
}

/// Says of how many commits the times are not what they were.
pub fn print_redated(to: &str, delivered: &local::transfer::delivery::Delivered) {
    if delivered.redated > 0 {
        println!("{} commits were made without a time: {to} has given them dates.", delivered.redated);
    }
}

fn run_verify(arguments: &Verify) -> Result<(), Box<dyn Error>> {
    if arguments.file.is_dir() {
        let bar = progress::counting("reading");
        let proved = restore::prove(&arguments.file, &bar);
        bar.finish_and_clear();
        let manifest = proved?;
        let (folder, items, files) = (arguments.file.display(), manifest.items.lines, manifest.files.lines);
        println!("{folder} is whole: the backup of {}, {items} items and {files} files", manifest.begun_at);
        return Ok(());
    }
    let bar = progress::of_bytes("reading", fs::metadata(&arguments.file).map_or(0, |file| file.len()));
    let verified = verify(&arguments.file, &bar);
    bar.finish_and_clear();
    let verified = verified?;
    let repo = &verified.contents.repo;
    println!(
        "{} is whole: {}/{} as of {}, {} branches, {} tags, {} releases, {}",
        arguments.file.display(),
        repo.owner,
        repo.slug,
        verified.contents.exported_at,
        verified.names.heads.len(),
        verified.names.tags.len(),
        verified.names.releases.len(),
        verified.holds
    );
    if verified.contents.ids == local::transfer::file::WrittenIds::Lenient {
        println!("It is of a hub that takes any ids: only the checksums of the file were proved.");
    }
    Ok(())
}

async fn run_import(arguments: Import) -> Result<(), Box<dyn Error>> {
    let bar = progress::of_bytes("sending", fs::metadata(&arguments.file).map_or(0, |file| file.len()));
    let imported = arguments
        .at_hand
        .while_open(&[&arguments.to], async |at_hand| {
            let to = remote(&arguments.to, at_hand, TO_TOKEN, arguments.to_token_file.as_deref()).await?;
            let imported = import(&arguments.file, &to, arguments.made.visibility(), &bar).await?;
            Ok((to.to_string(), imported))
        })
        .await;
    bar.finish_and_clear();
    let (to, imported) = imported?;
    if let Some(visibility) = imported.made {
        println!("{to} was made; it is {}.", visibility.as_str());
    }
    print_delivered(&to, &imported.delivered, imported.other_default.as_deref());
    Ok(())
}

async fn run_backup(arguments: Backup) -> Result<(), Box<dyn Error>> {
    let stores = Stores::open_beside(&Which::choose(arguments.data)).await?;
    let bar = progress::counting("reading");
    let saved = stores.while_open(async |stores| {
        let secret = stores.folder.as_ref().map(DataFolder::kept_secret).transpose()?.flatten();
        Ok::<_, Box<dyn Error>>(save::save(&stores.store, &arguments.folder, secret.as_deref(), &bar).await?)
    });
    let saved = saved.await;
    bar.finish_and_clear();
    let saved = saved?;
    let (folder, bytes) = (arguments.folder.display(), indicatif::DecimalBytes(saved.bytes));
    println!(
        "{folder}: {} repositories, {} items, {} files ({bytes}), of which {} were copied now.",
        saved.repos, saved.items, saved.files, saved.copied
    );
    println!("What tokens are signed with may be in it: a reader of the folder can be every user of the hub.");
    let mut faults = Vec::new();
    if !saved.damaged.is_empty() {
        faults.push(format!("these are damaged in the hub, and were copied as they are: {}", saved.damaged.join(", ")));
    }
    if !saved.lost.is_empty() {
        faults.push(format!("these are named by the hub, and could not be copied: {}", saved.lost.join(", ")));
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("the rest is in the backup, but {}. 'musehub fsck' says what that means", faults.join("; ")).into())
}

async fn run_restore(arguments: Backup) -> Result<(), Box<dyn Error>> {
    // Before any stores are made for it.
    restore::last_complete(&arguments.folder)?;
    let stores = Stores::open_or_make(&Which::choose(arguments.data)).await?;
    let is_folder = stores.folder.is_some();
    let bar = progress::counting("restoring");
    let restored = stores.while_open(async |stores| {
        let restored = restore::restore(&stores.store, &arguments.folder, &bar).await?;
        // A hub on one machine has its secret beside its stores, one on AWS in its table.
        let of_table = stores.store.item(&Key::token_secret()).await?;
        let of_table = of_table.map(decode::<SecretItem>).transpose()?.map(|item| item.secret);
        if let Some(folder) = &stores.folder
            && let Some(secret) = restored.secret.clone().or(of_table)
        {
            folder.keep_secret(&secret)?;
        }
        Ok::<_, Box<dyn Error>>(restored)
    });
    let restored = restored.await;
    bar.finish_and_clear();
    let restored = restored?;
    println!("{} items and {} files restored, {} files were there.", restored.items, restored.files, restored.there);
    if restored.secret.is_some() && !is_folder {
        let secret = arguments.folder.join("secret");
        println!(
            "For its tokens to stay good, set ACCESS_TOKEN_SECRET of the functions to what is in {}.",
            secret.display()
        );
    }
    Ok(())
}

async fn run_mirror(arguments: Mirror) -> Result<(), Box<dyn Error>> {
    let bar = progress::counting("looking");
    let visibility = arguments.made.visibility().unwrap_or(Visibility::Private);
    let options = Options { force: arguments.force, prune: arguments.prune, visibility };
    let mirrored = arguments
        .at_hand
        .while_open(&[&arguments.from, &arguments.to], async |at_hand| {
            let from = remote(&arguments.from, at_hand, FROM_TOKEN, arguments.from_token_file.as_deref()).await?;
            let to = remote(&arguments.to, at_hand, TO_TOKEN, arguments.to_token_file.as_deref()).await?;
            let mirrored = mirror(&from, &to, options, &bar).await?;
            Ok((to.to_string(), mirrored))
        })
        .await;
    bar.finish_and_clear();
    let (to, mirrored) = mirrored?;
    if mirrored.made {
        println!("{to} was made; it is {}.", visibility.as_str());
    }
    print_delivered(&to, &mirrored.delivered, mirrored.other_default.as_deref());
    if !mirrored.pruned.is_empty() {
        println!("Only {to} had these, and they are deleted: {}.", mirrored.pruned.join(", "));
    }
    if !mirrored.kept.is_empty() {
        println!("Only {to} has these, and they stay: {}.", mirrored.kept.join(", "));
    }
    Ok(())
}

fn print_delivered(to: &str, delivered: &local::transfer::delivery::Delivered, other_default: Option<&str>) {
    let nothing = delivered.branches.is_empty() && delivered.tags == 0 && delivered.releases == 0;
    if nothing && delivered.sent == local::transfer::Moved::default() {
        println!("{to} has everything already.");
    } else {
        let (branches, tags, releases) = (delivered.branches.len(), delivered.tags, delivered.releases);
        println!("{to}: {} sent; {branches} branches moved, {tags} tags and {releases} releases set.", delivered.sent);
    }
    if let Some(branch) = other_default {
        println!("The default branch of {to} stays '{branch}'.");
    }
    print_redated(to, delivered);
}

/// The repo at an address, asked with the token in a file or in a variable.
pub async fn remote(
    address: &Address,
    at_hand: Option<(&Stores, &Hub)>,
    variable: &str,
    file: Option<&Path>,
) -> Result<Remote, Box<dyn Error>> {
    match (address, at_hand) {
        (Address::Url(hub, target), _) => {
            let token = local::identity::given_or_kept(hub, variable, file)?;
            Ok(Remote::at(hub.clone(), target.clone(), token.as_deref())?)
        }
        (Address::Stores(target), Some((_, hub))) => Ok(at_hand::remote(hub, target.clone()).await?),
        (Address::Stores(_), None) => Err("the stores are not open".into()),
    }
}
