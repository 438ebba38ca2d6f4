//! Which files of a backup hold an object: after a purge none may.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use common::id::{Id, ObjectKey, RepoId};
use common::pack::PackId;
use common::pack::index::{FOOTER_LENGTH, decode_footer, decode_table};
use store::bucket::packs;
use store::read::large;

use super::BackupError;
use super::folder::{Folder, StoredFile};

/// The keys of the files of a complete backup that hold one of these objects of a repo, in the order of the keys; none if there is
/// no complete backup in the folder.
///
/// # Errors
/// When the folder is no backup's, a file cannot be read, or a pack in it is damaged: then it is not known what it holds.
pub fn holding(path: &Path, repo: &RepoId, objects: &BTreeSet<ObjectKey>) -> Result<Vec<String>, BackupError> {
    let folder = Folder::open(path)?;
    let Some(manifest) = folder.manifest()? else {
        return Ok(Vec::new());
    };
    let (of_packs, of_objects) = (packs::prefix(repo), large::prefix(repo));
    let mut found = Vec::new();
    let mut files = folder.open_list(&manifest.files)?;
    while let Some(StoredFile { key, .. }) = files.line()? {
        let pack = key.strip_prefix(&of_packs).and_then(|name| PackId::from_string(name.strip_suffix(".pack")?).ok());
        let holds = match pack {
            Some(pack) => pack_holds(&folder.file_of(&key)?, pack, objects)?,
            None if key.starts_with(&of_objects) => {
                let id = key.rsplit('/').next().and_then(|name| name.parse::<Id>().ok());
                id.is_some_and(|id| objects.contains(&ObjectKey::from(id)))
            }
            None => false,
        };
        if holds {
            found.push(key);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn pack_holds(path: &Path, pack: PackId, objects: &BTreeSet<ObjectKey>) -> Result<bool, BackupError> {
    let read = BackupError::file("read", path);
    let (footer, mut file, size) = (|| {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let footer = part(&mut file, size.saturating_sub(FOOTER_LENGTH as u64), FOOTER_LENGTH as u64)?;
        Ok((footer, file, size))
    })()
    .map_err(read)?;
    let damaged = |error: common::pack::PackError| BackupError::Damaged(error.to_string());
    let table = decode_footer(pack, &footer).map_err(damaged)?;
    let in_file = table.range().end <= size;
    let stored = if in_file { part(&mut file, table.offset, table.length) } else { Ok(Vec::new()) };
    let stored = stored.map_err(BackupError::file("read", path))?;
    let (_, contents) = decode_table(pack, &table, stored.into()).map_err(damaged)?;
    Ok(contents.objects().any(|key| objects.contains(key)))
}

fn part(file: &mut File, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
