//! The folder that a backup lies in, and the files that are lists.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::BackupError;
use crate::lock;

/// What `format` says in `manifest.json`.
pub const FORMAT: &str = "musehub backup";
/// The version of the format.
pub const VERSION: u32 = 1;
/// The file that says which backup is the last complete one.
pub(super) const MANIFEST: &str = "manifest.json";
/// The file that says whose folder this is, and that one process has it.
const LOCK: &str = "backup.lock";
/// The file with the token secret of a hub on one machine.
const SECRET: &str = "secret";
/// The folder of what lies in S3.
const S3: &str = "s3";
/// Bytes of one line: an item has at most 400 KB, and base64 and escapes may make more of them.
const MAX_LINE: u64 = 16 << 20;
/// Bytes of a file that are hashed at once.
const READ: usize = 1 << 20;
/// zstd's default.
const LEVEL: i32 = 3;

/// `manifest.json`: a complete backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`]
    pub format: String,
    /// [`VERSION`]
    pub version: u32,
    /// The name of the backup, a ULID.
    pub backup: String,
    /// When it began. ISO 8601.
    pub begun_at: String,
    /// The list of the items.
    pub items: List,
    /// The list of the files under `s3/`.
    pub files: List,
    /// The SHA-256 of `secret`, if there is one.
    pub secret: Option<String>,
}

/// A file that is a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Its name.
    pub name: String,
    /// How many lines it has, unpacked.
    pub lines: u64,
    /// Its bytes.
    pub size: u64,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// A file under `s3/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its key in the bucket, and its path under `s3/`.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// A folder for backups, which no other process writes to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens a folder, made if it is not there. Only its owner may look into it: the secret of the hub is in it.
    ///
    /// # Errors
    /// When the file system refuses, when another process has it, and when other things than a backup are in it: what no
    /// backup needs is deleted there.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BackupError::file("make", path))?;
        let folder = path.canonicalize().map_err(BackupError::file("open", path))?;
        let lock_path = folder.join(LOCK);
        if !lock_path.exists() && !entries(&folder)?.is_empty() {
            let path = path.display();
            return Err(BackupError::Refused(format!(
                "{path} has other things in it than a backup: name an empty folder"
            )));
        }
        let lock = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(BackupError::file("write", &lock_path))?;
        match lock::take(&lock) {
            Ok(()) => Ok(Self { path: folder, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(BackupError::Refused(format!("another backup or restore is using {}", path.display())))
            }
            Err(fs::TryLockError::Error(cause)) => Err(BackupError::file("lock", &lock_path)(cause)),
        }
    }

    /// The last complete backup, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is of a later version.
    pub fn manifest(&self) -> Result<Option<Manifest>, BackupError> {
        let path = self.path.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::file("read", &path)(error)),
        };
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| BackupError::Damaged(format!("{} cannot be read: {error}", path.display())))?;
        if manifest.format != FORMAT || manifest.version != VERSION {
            return Err(BackupError::Refused(format!(
                "{} is of {} version {}, and this musehub knows {FORMAT} version {VERSION}",
                path.display(),
                manifest.format,
                manifest.version
            )));
        }
        Ok(Some(manifest))
    }

    /// Makes a backup the last complete one, and deletes what only earlier ones had.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn complete(&self, manifest: &Manifest, is_needed: impl Fn(&str) -> bool) -> Result<(), BackupError> {
        let path = self.path.join(MANIFEST);
        let mut file = self.temporary(&self.path)?;
        let json = serde_json::to_vec_pretty(manifest).map_err(std::io::Error::from);
        json.and_then(|json| file.write_all(&json)).map_err(BackupError::file("write", &path))?;
        persist(file, &path)?;

        let lists = [manifest.items.name.as_str(), manifest.files.name.as_str()];
        for entry in entries(&self.path)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_list = (name.starts_with("items-") || name.starts_with("files-")) && name.ends_with(".jsonl.zst");
            if (is_list && !lists.contains(&name.as_str())) || name.starts_with(".tmp") {
                remove(&entry.path())?;
            }
        }
        let s3 = self.path.join(S3);
        if s3.is_dir() {
            self.sweep(&s3, &is_needed)?;
        }
        Ok(())
    }

    /// Deletes the files below a folder that are not needed, and the folders that are empty then.
    fn sweep(&self, folder: &Path, is_needed: &impl Fn(&str) -> bool) -> Result<bool, BackupError> {
        let mut is_empty = true;
        for entry in entries(folder)? {
            let path = entry.path();
            let is_folder = entry.file_type().map_err(BackupError::file("look at", &path))?.is_dir();
            let key = path.strip_prefix(self.path.join(S3)).ok().and_then(Path::to_str);
            if is_folder {
                is_empty &= self.sweep(&path, is_needed)?;
            } else if key.is_some_and(is_needed) {
                is_empty = false;
            } else {
                remove(&path)?;
            }
        }
        if is_empty {
            fs::remove_dir(folder).map_err(BackupError::file("delete", folder))?;
        }
        Ok(is_empty)
    }

    /// Where what has this key in the bucket lies.
    ///
    /// # Errors
    /// When the key would lead out of the folder.
    pub fn file_of(&self, key: &str) -> Result<PathBuf, BackupError> {
        let relative = Path::new(key);
        let is_plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || key.is_empty() || key.contains("//") || key.ends_with('/') {
            return Err(BackupError::Damaged(format!("no file can have the name of the key {key:?}")));
        }
        Ok(self.path.join(S3).join(relative))
    }

    /// A file that has no name yet, in the folder that it is to be in.
    pub(super) fn temporary_for(&self, path: &Path) -> Result<NamedTempFile, BackupError> {
        let folder = path.parent().unwrap_or(&self.path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(BackupError::file("make", folder))?;
        self.temporary(folder)
    }

    fn temporary(&self, folder: &Path) -> Result<NamedTempFile, BackupError> {
        // Only its owner may read it.
        tempfile::Builder::new().prefix(".tmp").tempfile_in(folder).map_err(BackupError::file("write in", folder))
    }

    /// Keeps the token secret, and says its hash.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_secret(&self, secret: &str) -> Result<String, BackupError> {
        let path = self.path.join(SECRET);
        let mut file = self.temporary(&self.path)?;
        file.write_all(secret.as_bytes()).map_err(BackupError::file("write", &path))?;
        persist(file, &path)?;
        Ok(hex::encode(Sha256::digest(secret)))
    }

    /// The token secret of a backup, if it has one of its own.
    ///
    /// # Errors
    /// When it is not what was kept.
    pub fn secret(&self, manifest: &Manifest) -> Result<Option<String>, BackupError> {
        let Some(sha256) = &manifest.secret else {
            return Ok(None);
        };
        let path = self.path.join(SECRET);
        let secret = fs::read_to_string(&path).map_err(BackupError::file("read", &path))?;
        if hex::encode(Sha256::digest(&secret)) != *sha256 {
            return Err(BackupError::Damaged(format!("{} is not what was backed up", path.display())));
        }
        Ok(Some(secret))
    }

    /// Begins a list of this name.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn begin_list(&self, name: String) -> Result<ListWriter, BackupError> {
        let path = self.path.join(&name);
        let file = self.temporary(&self.path)?;
        let mut encoder = zstd::stream::write::Encoder::new(file, LEVEL).map_err(BackupError::file("write", &path))?;
        encoder.include_checksum(true).map_err(BackupError::file("write", &path))?;
        Ok(ListWriter { encoder, path, name, lines: 0 })
    }

    /// Opens a list once its bytes are proved.
    ///
    /// # Errors
    /// When it is not what the manifest says.
    pub fn open_list(&self, list: &List) -> Result<ListReader, BackupError> {
        let path = self.path.join(&list.name);
        let (size, sha256) = hash_of(&path)?;
        if size != list.size || sha256 != list.sha256 {
            return Err(BackupError::Damaged(format!("{} is not what was backed up", path.display())));
        }
        let file = File::open(&path).map_err(BackupError::file("open", &path))?;
        let decoder = zstd::stream::read::Decoder::new(file).map_err(BackupError::file("read", &path))?;
        Ok(ListReader { lines: BufReader::new(decoder), path })
    }
}

/// Gives a file its name once its bytes will outlive a power cut.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<(), BackupError> {
    file.as_file().sync_all().map_err(BackupError::file("write", path))?;
    file.persist(path).map_err(|error| BackupError::file("write", path)(error.error))?;
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(BackupError::file("write", path))
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, BackupError> {
    let read = fs::read_dir(folder).and_then(Iterator::collect);
    read.map_err(BackupError::file("read", folder))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    fs::remove_file(path).map_err(BackupError::file("delete", path))
}

/// The size of a file and the SHA-256 of its bytes, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn hash_of(path: &Path) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(BackupError::file("open", path))?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut bytes = vec![0; READ];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return Ok((size, hex::encode(hash.finalize()))),
            Ok(read) => {
                size += read as u64;
                hash.update(bytes.get(..read).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BackupError::file("read", path)(error)),
        }
    }
}

/// A list that is written.
pub struct ListWriter {
    encoder: zstd::stream::write::Encoder<'static, NamedTempFile>,
    path: PathBuf,
    name: String,
    lines: u64,
}

impl ListWriter {
    /// Writes a line.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn line(&mut self, value: &impl Serialize) -> Result<(), BackupError> {
        let line = serde_json::to_vec(value).map_err(std::io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            self.encoder.write_all(&line)
        });
        written.map_err(BackupError::file("write", &self.path))?;
        self.lines += 1;
        Ok(())
    }

    /// Ends the list, which has its name then.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn finish(self) -> Result<List, BackupError> {
        let file = self.encoder.finish().map_err(BackupError::file("write", &self.path))?;
        persist(file, &self.path)?;
        let (size, sha256) = hash_of(&self.path)?;
        Ok(List { name: self.name, lines: self.lines, size, sha256 })
    }
}

/// A list that is read.
pub struct ListReader {
    lines: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
    path: PathBuf,
}

impl ListReader {
    /// The next line; none at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, BackupError> {
        let mut line = Vec::new();
        let read = (&mut self.lines).take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(BackupError::file("read", &self.path))? == 0 {
            return Ok(None);
        }
        let value = serde_json::from_slice(&line);
        value
            .map(Some)
            .map_err(|error| BackupError::Damaged(format!("{}: a line cannot be read: {error}", self.path.display())))
    }
}
