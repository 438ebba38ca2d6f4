//! `musehub restore`: a hub out of a backup.
//!
//! Only into empty stores. First comes a mark, then what belongs into the bucket, then the items, those that give repos
//! their names last. Then the mark goes. So a reader sees no half of a repo meanwhile, and an interrupted restore is
//! recognized and goes on.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde_json::Value;
use store::Store;
use store::compute;
use store::table::items::{Item, Key, PK};

use super::BackupError;
use super::folder::{Folder, MANIFEST, Manifest, StoredFile, hash_of};
use super::item::from_json;

/// Files that are put at the same time.
const PARALLEL: usize = 8;
/// Files that are looked at before they are put.
const FILES: usize = 1_000;
/// Items that are written together.
const ITEMS: usize = 200;
/// The attribute of the mark that says which backup it is of.
const BACKUP: &str = "backup";

/// What came of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Items of the table.
    pub items: u64,
    /// Files that were put into the bucket.
    pub files: u64,
    /// Files that were there from an earlier attempt.
    pub there: u64,
    /// The token secret, of a hub that has it beside its stores.
    pub secret: Option<String>,
}

/// Proves that a folder holds what its manifest says, to the last bit.
///
/// # Errors
/// When it does not.
pub fn prove(path: &Path, progress: &ProgressBar) -> Result<Manifest, BackupError> {
    let (folder, manifest) = open(path)?;
    let mut items = folder.open_list(&manifest.items)?;
    while let Some(line) = items.line::<Value>()? {
        read_item(&line)?;
    }
    let mut files = folder.open_list(&manifest.files)?;
    while let Some(file) = files.line::<StoredFile>()? {
        prove_file(&folder, &file)?;
        progress.inc(file.size);
    }
    folder.secret(&manifest)?;
    Ok(manifest)
}

/// The last complete backup in a folder.
///
/// # Errors
/// When there is none.
pub fn last_complete(path: &Path) -> Result<Manifest, BackupError> {
    open(path).map(|(_, manifest)| manifest)
}

fn open(path: &Path) -> Result<(Folder, Manifest), BackupError> {
    let none = || BackupError::Refused(format!("there is no complete backup in {}", path.display()));
    if !path.join(MANIFEST).exists() {
        return Err(none());
    }
    let folder = Folder::open(path)?;
    let manifest = folder.manifest()?.ok_or_else(none)?;
    Ok((folder, manifest))
}

fn prove_file(folder: &Folder, file: &StoredFile) -> Result<(), BackupError> {
    let path = folder.file_of(&file.key)?;
    let (size, sha256) = hash_of(&path)?;
    if size != file.size || sha256 != file.sha256 {
        return Err(BackupError::Damaged(format!("{} is not what was backed up", path.display())));
    }
    Ok(())
}

fn read_item(line: &Value) -> Result<Item, BackupError> {
    from_json(line).ok_or_else(|| BackupError::Damaged("a line of the items is no item".to_owned()))
}

/// Makes a hub of the last complete backup in a folder.
///
/// # Errors
/// When the stores are not empty, when the folder is damaged, and when the stores do not answer. Running it again then
/// goes on.
pub async fn restore(store: &Arc<Store>, path: &Path, progress: &ProgressBar) -> Result<Restored, BackupError> {
    let (folder, manifest) = open(path)?;
    let secret = folder.secret(&manifest)?;
    mark(store, &manifest).await?;

    let mut restored = Restored { secret, ..Restored::default() };
    let there = there(store).await?;
    let mut files = folder.open_list(&manifest.files)?;
    loop {
        let mut some: Vec<StoredFile> = Vec::new();
        while some.len() < FILES
            && let Some(file) = files.line()?
        {
            some.push(file);
        }
        if some.is_empty() {
            break;
        }
        let before = some.len();
        some.retain(|file| !there.contains(&(file.key.clone(), file.size)));
        restored.there += (before - some.len()) as u64;
        restored.files += some.len() as u64;
        let puts = some.iter().map(|file| put(store, &folder, file, progress));
        stream::iter(puts).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    }

    // What gives a repo its name comes last.
    for are_names in [false, true] {
        let mut items = folder.open_list(&manifest.items)?;
        let mut some = Vec::new();
        loop {
            let line = items.line::<Value>()?;
            let is_last = line.is_none();
            if let Some(line) = line {
                let item = read_item(&line)?;
                if is_name(&item) == are_names {
                    some.push(item);
                }
            }
            if some.len() == ITEMS || is_last {
                restored.items += some.len() as u64;
                store.put_items(distinct(std::mem::take(&mut some))).await?;
            }
            if is_last {
                break;
            }
        }
    }
    store.delete_item(&Key::restore()).await?;
    Ok(restored)
}

/// One request must not write an item twice.
fn distinct(items: Vec<Item>) -> Vec<Item> {
    let mut seen = HashSet::new();
    let key = |item: &Item| {
        let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        (part(PK), part(store::table::items::SK))
    };
    // The last one counts.
    let mut distinct: Vec<Item> = items.into_iter().rev().filter(|item| seen.insert(key(item))).collect();
    distinct.reverse();
    distinct
}

fn is_name(item: &Item) -> bool {
    matches!(item.get(PK), Some(AttributeValue::S(pk)) if pk.starts_with("NAME#"))
}

async fn put(store: &Store, folder: &Folder, file: &StoredFile, progress: &ProgressBar) -> Result<(), BackupError> {
    compute(|| prove_file(folder, file))?;
    store.put_file(&file.key, &folder.file_of(&file.key)?, file.size).await?;
    progress.inc(file.size);
    Ok(())
}

/// Marks the stores as those of a restore, if they are empty or marked so already.
async fn mark(store: &Store, manifest: &Manifest) -> Result<(), BackupError> {
    let key = Key::restore();
    if let Some(marked) = store.item(&key).await? {
        let of = marked.get(BACKUP).and_then(|value| value.as_s().ok());
        if of == Some(&manifest.backup) {
            return Ok(());
        }
        return Err(BackupError::Refused(
            "another backup was being restored into these stores: restore that one, or begin with empty stores"
                .to_owned(),
        ));
    }
    let full = |what: &str| {
        Err(BackupError::Refused(format!("there is a hub in these stores already: {what}; restore into empty ones")))
    };
    let mut after = None;
    loop {
        let page = store.scan(after).await?;
        if !page.entries.is_empty() {
            return full("their table has items");
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for prefix in ["packs/", "objects/"] {
        if !store.objects_page(prefix, None).await?.entries.is_empty() {
            return full(&format!("their bucket has {prefix}"));
        }
    }
    let mut item = key.item();
    item.insert(BACKUP.to_owned(), AttributeValue::S(manifest.backup.clone()));
    Ok(store.put_items(vec![item]).await?)
}

/// What an earlier attempt has put into the bucket.
async fn there(store: &Store) -> Result<HashSet<(String, u64)>, BackupError> {
    let mut there = HashSet::new();
    for prefix in ["packs/", "objects/"] {
        let mut from = None;
        loop {
            let page = store.objects_page(prefix, from).await?;
            there.extend(page.entries.into_iter().map(|listed| (listed.key, listed.size)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    Ok(there)
}
