//! Writes the file of an export, frame by frame, under a name of its own until it is whole.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{EntryType, Header};
use tempfile::TempPath;

use super::reader::Entries;
use super::{BLOCK, MAX_FRAME, Name, SEAL_NAME, SKIPPABLE_MAGIC, VERSION};
use crate::lock;
use crate::transfer::TransferError;

/// A frame is closed at the end of an entry once it has this many raw bytes. An interrupted export loses what was
/// written after the last closed frame.
const ENOUGH: usize = 4 << 20;
/// Level 3 is zstd's default, and what packs have.
const LEVEL: i32 = 3;
/// All users may read what is in an entry once it is unpacked, and its owner may write it.
const MODE: u32 = 0o644;

/// A file under way. It lies under the name of the file to come with `.part` behind it.
pub struct Writer {
    file: File,
    part: PathBuf,
    path: PathBuf,
    /// Whether a file of that name gives way.
    replaces: bool,
    compressor: zstd::bulk::Compressor<'static>,
    hash: Sha256,
    raw: Vec<u8>,
    /// Bytes of the current entry that are still to come.
    owed: u64,
    padding: usize,
    stored: u64,
}

/// The name of a file that is not whole yet.
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

impl Writer {
    /// Opens the file that is to become `path`. What lies there already of an earlier attempt is handed to `recall`, entry
    /// by entry, and kept as far as that goes without an error; the rest is cut off.
    ///
    /// # Errors
    /// When `path` is there and the file does not replace it, when the file system refuses, or another process writes the same
    /// file.
    pub fn open(
        path: &Path,
        replaces: bool,
        recall: impl FnOnce(&mut Entries<&File>) -> Result<(), TransferError>,
    ) -> Result<Self, TransferError> {
        if !replaces && path.exists() {
            return Err(is_there(path));
        }
        let part = part_of(path);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part);
        let mut file = opened.map_err(TransferError::file("write", &part))?;
        if let Err(error) = lock::take(&file) {
            return Err(match error {
                std::fs::TryLockError::WouldBlock => {
                    TransferError::Refused(format!("another export writes {}", part.display()))
                }
                std::fs::TryLockError::Error(cause) => TransferError::file("lock", &part)(cause),
            });
        }
        let mut entries = Entries::new(&file, &part);
        match recall(&mut entries) {
            // Where the file is damaged or ends, there it is written on.
            Ok(()) | Err(TransferError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        let (kept, hash) = entries.kept();
        file.set_len(kept).map_err(TransferError::file("cut", &part))?;
        file.seek(SeekFrom::Start(kept)).map_err(TransferError::file("write", &part))?;
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(TransferError::file("write", &part))?;
        compressor.include_checksum(true).map_err(TransferError::file("write", &part))?;
        Ok(Self {
            file,
            part,
            path: path.to_owned(),
            replaces,
            compressor,
            hash,
            raw: Vec::new(),
            owed: 0,
            padding: 0,
            stored: kept,
        })
    }

    /// Bytes that the file has so far.
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// Forgets all that is written.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn restart(&mut self) -> Result<(), TransferError> {
        self.file.set_len(0).map_err(TransferError::file("cut", &self.part))?;
        self.file.rewind().map_err(TransferError::file("write", &self.part))?;
        (self.hash, self.stored) = (Sha256::new(), 0);
        self.raw.clear();
        Ok(())
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn entry(&mut self, name: &Name, content: &[u8]) -> Result<(), TransferError> {
        self.begin(name, content.len() as u64)?;
        self.content(content)?;
        self.end()
    }

    /// Begins an entry of `size` bytes. The caller keeps its word.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn begin(&mut self, name: &Name, size: u64) -> Result<(), TransferError> {
        let mut header = Header::new_ustar();
        header.set_path(name.path()).map_err(TransferError::file("name an entry of", &self.part))?;
        header.set_size(size);
        header.set_mode(MODE);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        self.put(header.as_bytes())?;
        self.owed = size;
        self.padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        Ok(())
    }

    /// Writes the next bytes of the entry.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.owed = self.owed.saturating_sub(bytes.len() as u64);
        self.put(bytes)
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// When it has fewer bytes than were promised, or the file system refuses.
    pub fn end(&mut self) -> Result<(), TransferError> {
        if self.owed > 0 {
            return Err(TransferError::Damaged(format!("an object ended {} bytes too early", self.owed)));
        }
        self.put([0; BLOCK].get(..self.padding).unwrap_or_default())?;
        if self.raw.len() >= ENOUGH {
            self.close()?;
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), TransferError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(MAX_FRAME - self.raw.len()));
            self.raw.extend_from_slice(now);
            bytes = later;
            if self.raw.len() == MAX_FRAME {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Writes what has gathered as one frame.
    fn close(&mut self) -> Result<(), TransferError> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let frame = self.compressor.compress(&self.raw).map_err(TransferError::file("write", &self.part))?;
        self.raw.clear();
        self.append(&frame)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(TransferError::file("write", &self.part))?;
        self.stored += bytes.len() as u64;
        Ok(())
    }

    /// Seals the file, and gives it its name. What was there under this name is replaced.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn finish(mut self) -> Result<u64, TransferError> {
        self.put(&[0; 2 * BLOCK])?;
        self.close()?;
        let mut seal = Vec::with_capacity(super::SEAL_HEAD);
        seal.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
        seal.extend_from_slice(&((super::SEAL_HEAD - 8 + super::DIGEST) as u32).to_le_bytes());
        seal.extend_from_slice(SEAL_NAME);
        seal.extend_from_slice(&VERSION.to_le_bytes());
        seal.extend_from_slice(&[0; 4]);
        self.append(&seal)?;
        let digest = self.hash.clone().finalize();
        self.append(&digest)?;
        self.file.sync_all().map_err(TransferError::file("write", &self.part))?;
        let cannot_name = TransferError::file("give its name to", &self.part);
        if self.replaces {
            std::fs::rename(&self.part, &self.path).map_err(cannot_name)?;
        } else {
            let part = TempPath::try_from_path(&self.part).map_err(TransferError::file("find", &self.part))?;
            if let Err(refused) = part.persist_noclobber(&self.path) {
                // It is whole, and stays where it is.
                let _ = refused.path.keep();
                return Err(match refused.error.kind() {
                    std::io::ErrorKind::AlreadyExists => is_there(&self.path),
                    _ => cannot_name(refused.error),
                });
            }
        }
        sync_folder_of(&self.path)?;
        Ok(self.stored)
    }
}

fn is_there(path: &Path) -> TransferError {
    TransferError::Refused(format!(
        "{} is there already: name another file, or replace it with --force",
        path.display()
    ))
}

/// Makes a rename in the folder of `path` outlive a power cut.
fn sync_folder_of(path: &Path) -> Result<(), TransferError> {
    let absolute = std::path::absolute(path).map_err(TransferError::file("find", path))?;
    let Some(folder) = absolute.parent() else {
        return Ok(());
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(TransferError::file("sync the folder of", path))
}
