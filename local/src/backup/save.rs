//! `musehub backup`: what the table and the bucket hold, into a folder.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use common::id::RepoId;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use store::Store;
use store::bucket::packs;
use store::compute;
use store::read::large;
use store::table::items::{
    HandleItem, Item, Key, LINK_PREFIX, META, MetaItem, NameItem, PACK_PREFIX, PK, PROFILE, PackItem, ProfileItem, SK,
    TOKEN_PREFIX, USAGE,
};

use super::BackupError;
use super::folder::{FORMAT, Folder, ListWriter, Manifest, StoredFile, VERSION, hash_of, persist};
use super::item::to_json;

/// S3 objects that are copied at the same time. Each takes 8 MiB of memory, twice.
const PARALLEL: usize = 8;
/// Bytes that are read from S3 at once.
const READ: u64 = 8 << 20;
/// How often the list of a repo's packs is read again because one of them is gone.
const ATTEMPTS: usize = 5;

/// What came of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Items of the table.
    pub items: u64,
    /// Repos.
    pub repos: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were not there from an earlier backup.
    pub copied: u64,
    /// Large objects that are not what their names say, and packs and indexes that do not have the bytes that they should or
    /// cannot be read as what they are. They were copied as they are.
    pub damaged: Vec<String>,
    /// What is named and was not copied, because it is not there or does not let itself be read.
    pub lost: Vec<String>,
}

/// Backs up what the stores hold. `secret` is what tokens are signed with, if that is not in the table.
///
/// # Errors
/// When the stores do not answer, and when the file system refuses. The last complete backup in the folder stays then, and
/// running it again goes on. What is damaged in the hub ends nothing.
pub async fn save(
    store: &Arc<Store>,
    path: &Path,
    secret: Option<&str>,
    progress: &ProgressBar,
) -> Result<Saved, BackupError> {
    let folder = Folder::open(path)?;
    let mut known = HashMap::new();
    if let Some(manifest) = folder.manifest()? {
        let mut files = folder.open_list(&manifest.files)?;
        while let Some(StoredFile { key, size, sha256 }) = files.line()? {
            known.insert(key, (size, sha256));
        }
    }
    let backup = store.ambient().ulid().to_string();
    let begun_at = store.ambient().now_iso();
    let items = folder.begin_list(format!("items-{backup}.jsonl.zst"))?;
    let files = folder.begin_list(format!("files-{backup}.jsonl.zst"))?;
    let saving = Saving {
        store,
        folder: &folder,
        known,
        items,
        files,
        users: HashSet::new(),
        kept: HashSet::new(),
        saved: Saved::default(),
        progress,
    };
    let (items, files, kept, saved) = saving.all().await?;
    let secret = secret.map(|secret| folder.keep_secret(secret)).transpose()?;
    let manifest = Manifest { format: FORMAT.to_owned(), version: VERSION, backup, begun_at, items, files, secret };
    compute(|| folder.complete(&manifest, |key| kept.contains(key)))?;
    Ok(saved)
}

struct Saving<'a> {
    store: &'a Arc<Store>,
    folder: &'a Folder,
    /// Size and hash of the files of the last backup.
    known: HashMap<String, (u64, String)>,
    items: ListWriter,
    files: ListWriter,
    /// The users whose items are written.
    users: HashSet<String>,
    /// The keys of the files that are written.
    kept: HashSet<String>,
    saved: Saved,
    progress: &'a ProgressBar,
}

/// The files of a repo's packs and indexes: keys, with the sizes that they have.
#[derive(Default)]
struct Files {
    present: Vec<(String, u64)>,
    damaged: Vec<String>,
    /// Named and not there.
    gone: Vec<String>,
}

type Lists = (super::folder::List, super::folder::List, HashSet<String>, Saved);

impl Saving<'_> {
    async fn all(mut self) -> Result<Lists, BackupError> {
        let mut repos: BTreeSet<RepoId> = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.store.scan(after).await?;
            for item in page.entries {
                self.beside_repos(item, &mut repos).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for repo in repos {
            self.repo(&repo).await?;
            self.progress.set_message(format!("{} repositories", self.saved.repos));
        }
        let items = self.items.finish()?;
        self.saved.items = items.lines;
        Ok((items, self.files.finish()?, self.kept, self.saved))
    }

    /// Writes an item that belongs to no repo. If it belongs to one, it notes the repo, which is read as a whole later.
    async fn beside_repos(&mut self, item: Item, repos: &mut BTreeSet<RepoId>) -> Result<(), BackupError> {
        let (pk, sk) = (text(&item, PK), text(&item, SK));
        let (kind, name) = pk.split_once('#').unwrap_or((pk, ""));
        match kind {
            "REPO" => drop(name.parse().map(|repo| repos.insert(repo))),
            "NAME" => drop(repos.insert(read::<NameItem>(&item)?.repo_id)),
            // They live for an hour.
            "UPLOAD" => {}
            "USER" if sk.starts_with("REPO#") => {}
            // Each is written with its repo: a fork that is in the backup has to be known to those that share its files.
            "POOL" => {}
            "USER" if sk == PROFILE => self.user(name).await?,
            // One that is revoked after the backup would count again.
            "USER" if sk.starts_with(TOKEN_PREFIX) => {}
            // What is held is counted again, and what an operator allows is not.
            "HANDLE" if sk == USAGE => self.write(&without(item, "bytes"))?,
            // A user gets both items of a handle at once, and the scan may have passed only one of the two.
            "HANDLE" => self.user(&read::<HandleItem>(&item)?.user_id).await?,
            _ => self.write(&item)?,
        }
        Ok(())
    }

    async fn user(&mut self, user_id: &str) -> Result<(), BackupError> {
        if !self.users.insert(user_id.to_owned()) {
            return Ok(());
        }
        let Some(profile) = self.store.item(&Key::profile(user_id)).await? else {
            return Ok(());
        };
        self.write(&profile)?;
        let handle = Key::handle(&read::<ProfileItem>(&profile)?.handle);
        if let Some(handle) = self.store.item(&handle).await? {
            self.write(&handle)?;
        }
        Ok(())
    }

    /// Writes a repo: first what it names, then its list of packs, then the packs.
    async fn repo(&mut self, repo: &RepoId) -> Result<(), BackupError> {
        let pk = store::table::items::repo_pk(repo);
        if let Some(meta) = self.store.item(&Key::meta(repo)).await?
            && read::<MetaItem>(&meta)?.removing_since.is_some()
        {
            // It was deleted for good, and less of it is there by the minute.
            return Ok(());
        }
        if let Some(pooled) = self.store.item(&Key::pooled(repo)).await? {
            self.write(&pooled)?;
        }
        let mut after = None;
        loop {
            let page = self.store.items_page(&pk, "", after).await?;
            // A link that is revoked after the backup would lead there again.
            let is_kept =
                |item: &&Item| ![PACK_PREFIX, LINK_PREFIX].iter().any(|prefix| text(item, SK).starts_with(prefix));
            for item in page.entries.iter().filter(is_kept) {
                if text(item, SK) == META {
                    // It is counted again.
                    self.write(&without(item.clone(), "counted_bytes"))?;
                    self.around(&read(item)?).await?;
                    self.saved.repos += 1;
                } else {
                    self.write(item)?;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut attempts_left = ATTEMPTS;
        let packs = loop {
            attempts_left -= 1;
            let packs = self.packs(&pk).await?;
            let Files { present, damaged, gone } = self.files_of(repo, &packs).await?;
            // What is gone may have been tidied away between the two, and what took its place is in the list by now.
            if gone.is_empty() || attempts_left == 0 {
                self.copy(present).await?;
                self.saved.damaged.extend(damaged);
                self.saved.lost.extend(gone);
                break packs;
            }
        };
        for pack in &packs {
            self.write(pack)?;
        }
        self.copy_large(repo).await
    }

    /// Writes the items outside of its partition that a repo needs.
    async fn around(&mut self, meta: &MetaItem) -> Result<(), BackupError> {
        self.user(&meta.owner_user_id).await?;
        for key in meta.name_keys().chain([Key::owned(&meta.owner_user_id, &meta.slug)]) {
            if let Some(item) = self.store.item(&key).await? {
                self.write(&item)?;
            }
        }
        Ok(())
    }

    async fn packs(&self, pk: &str) -> Result<Vec<Item>, BackupError> {
        let mut packs = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.items_page(pk, PACK_PREFIX, after).await?;
            packs.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return Ok(packs);
            }
        }
    }

    /// The files of packs and indexes, and of the packs of those.
    async fn files_of(&self, repo: &RepoId, packs: &[Item]) -> Result<Files, BackupError> {
        let listed = self.listed(&packs::prefix(repo)).await?;
        let mut files = Files::default();
        let mut named = Vec::new();
        for item in packs {
            let name = text(item, SK).strip_prefix(PACK_PREFIX).unwrap_or_default();
            let id =
                name.parse().map_err(|_| BackupError::Damaged(format!("repo {repo}: pack {name:?} has no ULID")))?;
            let summary = read::<PackItem>(item)?.summary();
            let key = packs::table_key(repo, id, &summary);
            if summary.is_index() {
                named.push((key.clone(), summary.table.length));
                match self.store.packs_of(repo, id, &summary).await {
                    Ok(packs) => {
                        named.extend(packs.iter().map(|(pack, summary)| (packs::key(repo, *pack), summary.size)))
                    }
                    // Which packs it has is not known, so all that are there are taken.
                    Err(store::StoreError::Damaged(_)) => {
                        files.present.extend(listed.iter().map(|(key, size)| (key.clone(), *size)));
                        if listed.contains_key(&key) {
                            files.damaged.push(key);
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            } else {
                named.push((key, summary.size));
            }
        }
        for (key, expected) in named {
            match listed.get(&key) {
                None => files.gone.push(key),
                Some(size) => {
                    if *size != expected {
                        files.damaged.push(key.clone());
                    }
                    files.present.push((key, *size));
                }
            }
        }
        for keys in [&mut files.damaged, &mut files.gone] {
            keys.sort_unstable();
            keys.dedup();
        }
        files.present.sort_unstable();
        files.present.dedup();
        Ok(files)
    }

    /// Copies all large objects of a repo.
    async fn copy_large(&mut self, repo: &RepoId) -> Result<(), BackupError> {
        let listed = self.listed(&large::prefix(repo)).await?;
        self.copy(listed.into_iter().collect()).await
    }

    async fn listed(&self, prefix: &str) -> Result<HashMap<String, u64>, BackupError> {
        let mut listed = HashMap::new();
        let mut from = None;
        loop {
            let page = self.store.objects_page(prefix, from).await?;
            listed.extend(page.entries.into_iter().map(|listed| (listed.key, listed.size)));
            from = page.next;
            if from.is_none() {
                return Ok(listed);
            }
        }
    }

    async fn copy(&mut self, mut wanted: Vec<(String, u64)>) -> Result<(), BackupError> {
        wanted.retain(|(key, _)| !self.kept.contains(key));
        let (store, folder, known, progress) = (self.store, self.folder, &self.known, self.progress);
        let copies = wanted.into_iter().map(|(key, size)| async move {
            match copy_one(store, folder, known.get(&key), key.clone(), size, progress).await {
                Err(BackupError::Store(store::StoreError::Damaged(_))) => Ok(Err(key)),
                copied => copied.map(Ok),
            }
        });
        let copied: Vec<Result<(StoredFile, bool), String>> =
            stream::iter(copies).buffer_unordered(PARALLEL).try_collect().await?;
        for copied in copied {
            let (file, is_new) = match copied {
                Ok(copied) => copied,
                Err(unreadable) => {
                    self.saved.lost.push(unreadable);
                    continue;
                }
            };
            self.files.line(&file)?;
            self.saved.files += 1;
            self.saved.bytes += file.size;
            self.saved.copied += u64::from(is_new);
            let name = file.key.rsplit('/').next().unwrap_or_default();
            if file.key.starts_with("objects/") && name != file.sha256 {
                self.saved.damaged.push(file.key.clone());
            }
            self.kept.insert(file.key);
        }
        Ok(())
    }

    fn write(&mut self, item: &Item) -> Result<(), BackupError> {
        let json = to_json(item)
            .ok_or_else(|| BackupError::Damaged("an item has a kind of value that is not known".to_owned()))?;
        self.items.line(&json)
    }
}

fn without(mut item: Item, attribute: &str) -> Item {
    item.remove(attribute);
    item
}

/// Copies an S3 object, unless it is there. Whether it was not.
async fn copy_one(
    store: &Store,
    folder: &Folder,
    known: Option<&(u64, String)>,
    key: String,
    size: u64,
    progress: &ProgressBar,
) -> Result<(StoredFile, bool), BackupError> {
    let path = folder.file_of(&key)?;
    if path.metadata().is_ok_and(|file| file.len() == size) {
        // A file has its name only once it is whole, so one of an earlier attempt is as good, and not hashed yet.
        let sha256 = match known {
            Some((_, sha256)) => sha256.clone(),
            None => compute(|| hash_of(&path))?.1,
        };
        return Ok((StoredFile { key, size, sha256 }, false));
    }
    let mut file = folder.temporary_for(&path)?;
    let mut hash = Sha256::new();
    let mut start = 0;
    while start < size {
        let end = size.min(start + READ);
        let bytes = store.read(&key, start..end).await?;
        compute(|| {
            hash.update(&bytes);
            file.write_all(&bytes).map_err(BackupError::file("write", &path))
        })?;
        progress.inc(bytes.len() as u64);
        start = end;
    }
    compute(|| persist(file, &path))?;
    Ok((StoredFile { key, size, sha256: hex::encode(hash.finalize()) }, true))
}

fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    match item.get(name) {
        Some(AttributeValue::S(text)) => text,
        _ => "",
    }
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, BackupError> {
    Ok(store::table::items::decode(item.clone())?)
}
