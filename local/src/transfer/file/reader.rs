//! Reads the file of an export front to back, and believes none of it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::{BLOCK, DIGEST, MAX_FRAME, Name, SEAL_HEAD, SEAL_NAME, SKIPPABLE_MAGIC, VERSION};
use crate::transfer::TransferError;

/// Bytes that are read from the file at once.
const READ: usize = 1 << 20;
/// Bytes of one entry that is no object: a manifest of 100,000 long paths has less.
pub const MAX_RECORD: usize = 512 << 20;

/// The entries of a file, in their order.
pub struct Entries<R> {
    frames: Frames<R>,
    /// What is left of the frame that was opened last.
    raw: Bytes,
    /// Bytes of the current entry that were not handed out yet, and the padding behind them.
    left: u64,
    padding: usize,
    /// Where the last entry ended that ended with its frame, and the hash up to there.
    kept: (u64, Sha256),
}

/// An entry: what it is, and how many bytes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
}

impl<R: Read> Entries<R> {
    /// Begins at the beginning. `path` is for messages.
    pub fn new(input: R, path: &Path) -> Self {
        Self {
            frames: Frames {
                input,
                path: path.to_owned(),
                hash: Sha256::new(),
                read: Vec::new(),
                start: 0,
                is_at_end: false,
                offset: 0,
            },
            raw: Bytes::new(),
            left: 0,
            padding: 0,
            kept: (0, Sha256::new()),
        }
    }

    /// Bytes of the file that were read.
    pub const fn offset(&self) -> u64 {
        self.frames.offset
    }

    /// Bytes of the file up to the end of the last whole entry after which a frame begins: all that is kept of a file
    /// that was not finished.
    pub const fn kept_bytes(&self) -> u64 {
        self.kept.0
    }

    /// The same with their hash.
    pub(super) fn kept(&self) -> (u64, Sha256) {
        self.kept.clone()
    }

    /// The next entry; none at the end of a file that is whole to the last bit. What was not read of the entry before is
    /// passed over.
    ///
    /// # Errors
    /// [`TransferError::Damaged`] for anything that a writer would not have written.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TransferError> {
        while self.piece()?.is_some() {}
        self.skip_padding()?;
        if self.raw.is_empty() {
            self.kept = (self.frames.offset, self.frames.hash.clone());
        }
        let block = self.block()?;
        if block.iter().all(|byte| *byte == 0) {
            let second = self.block()?;
            if second.iter().any(|byte| *byte != 0) || !self.raw.is_empty() {
                return Err(self.damaged("something follows the end of the tar"));
            }
            self.frames.seal()?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        let is_plain = header.as_ustar().is_some() && header.entry_type() == EntryType::Regular;
        let path = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let (Some(name), true) = (Name::parse(&path), is_plain) else {
            return Err(self.damaged(&format!("an entry that is none of an export's: {path:?}")));
        };
        let size = header.entry_size().map_err(|_| self.damaged("an entry without a size"))?;
        self.left = size;
        self.padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        Ok(Some(Entry { name, size }))
    }

    /// The next bytes of the current entry; none at its end.
    ///
    /// # Errors
    /// As [`Self::next_entry`].
    pub fn piece(&mut self) -> Result<Option<Bytes>, TransferError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.fill()?;
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.raw.len());
        self.left -= length as u64;
        Ok(Some(self.raw.split_to(length)))
    }

    /// All of the current entry.
    ///
    /// # Errors
    /// As [`Self::next_entry`], and when it is larger than a record may be.
    pub fn whole(&mut self) -> Result<Bytes, TransferError> {
        if self.left <= self.raw.len() as u64 {
            return Ok(self.piece()?.unwrap_or_default());
        }
        if self.left > MAX_RECORD as u64 {
            return Err(self.damaged("a record that is larger than any"));
        }
        let mut all = Vec::new();
        while let Some(piece) = self.piece()? {
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// What is wrong with the file, and where about.
    pub fn damaged(&self, reason: &str) -> TransferError {
        self.frames.damaged(reason)
    }

    fn fill(&mut self) -> Result<(), TransferError> {
        if self.raw.is_empty() {
            self.raw = self.frames.next()?;
        }
        Ok(())
    }

    fn skip_padding(&mut self) -> Result<(), TransferError> {
        while self.padding > 0 {
            self.fill()?;
            let length = self.padding.min(self.raw.len());
            self.padding -= length;
            self.raw.advance(length);
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], TransferError> {
        let mut block = [0; BLOCK];
        let mut rest: &mut [u8] = &mut block;
        while !rest.is_empty() {
            self.fill()?;
            let length = rest.len().min(self.raw.len());
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&self.raw.split_to(length));
            rest = later;
        }
        Ok(block)
    }
}

/// The zstd frames of a file.
struct Frames<R> {
    input: R,
    path: PathBuf,
    /// Over all bytes before `offset`.
    hash: Sha256,
    /// What was read of the file; from `start` on it was not used yet.
    read: Vec<u8>,
    start: usize,
    is_at_end: bool,
    offset: u64,
}

impl<R: Read> Frames<R> {
    fn damaged(&self, reason: &str) -> TransferError {
        TransferError::Damaged(format!("{} is damaged near byte {}: {reason}", self.path.display(), self.offset))
    }

    fn unused(&self) -> &[u8] {
        self.read.get(self.start..).unwrap_or_default()
    }

    /// Reads on, until there are `wanted` bytes that were not used, or the file ends.
    fn read_on(&mut self, wanted: usize) -> Result<(), TransferError> {
        self.read.drain(..self.start);
        self.start = 0;
        while self.read.len() < wanted && !self.is_at_end {
            let before = self.read.len();
            let taken = (&mut self.input).take(READ as u64).read_to_end(&mut self.read);
            match taken {
                Ok(0) => self.is_at_end = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read.truncate(before),
                Err(error) => return Err(TransferError::file("read", &self.path)(error)),
            }
        }
        Ok(())
    }

    fn use_up(&mut self, length: usize) {
        let used = self.read.get(self.start..self.start + length).unwrap_or_default();
        self.hash.update(used);
        self.start += length;
        self.offset += length as u64;
    }

    /// The raw bytes of the next frame, which are not none.
    fn next(&mut self) -> Result<Bytes, TransferError> {
        let most = zstd::zstd_safe::compress_bound(MAX_FRAME);
        let mut length = zstd::zstd_safe::find_frame_compressed_size(self.unused()).ok();
        if length.is_none() {
            self.read_on(most)?;
            length = zstd::zstd_safe::find_frame_compressed_size(self.unused()).ok();
        }
        if self.unused().is_empty() {
            return Err(self.damaged("the file ends here: it was not finished"));
        }
        let Some(length) = length.filter(|length| *length <= most) else {
            return Err(self.damaged("no whole zstd frame"));
        };
        let frame = self.unused().get(..length).unwrap_or_default();
        let raw_length = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
        let raw_length = raw_length.and_then(|length| usize::try_from(length).ok());
        let Some(raw_length) = raw_length.filter(|length| (1..=MAX_FRAME).contains(length)) else {
            return Err(self.damaged("a zstd frame that no export has"));
        };
        let raw = zstd::bulk::decompress(frame, raw_length);
        let raw = raw.ok().filter(|raw| raw.len() == raw_length);
        let raw = raw.ok_or_else(|| self.damaged("a zstd frame does not have its checksum"))?;
        self.use_up(length);
        Ok(raw.into())
    }

    /// Checks the seal, and that nothing follows it.
    fn seal(&mut self) -> Result<(), TransferError> {
        self.read_on(SEAL_HEAD + DIGEST + 1)?;
        let unused = self.unused();
        let mut expected = Vec::with_capacity(SEAL_HEAD);
        expected.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
        expected.extend_from_slice(&((SEAL_HEAD - 8 + DIGEST) as u32).to_le_bytes());
        expected.extend_from_slice(SEAL_NAME);
        expected.extend_from_slice(&VERSION.to_le_bytes());
        expected.extend_from_slice(&[0; 4]);
        if unused.len() != SEAL_HEAD + DIGEST || !unused.starts_with(&expected) {
            return Err(self.damaged("there is no seal, or something follows it"));
        }
        self.use_up(SEAL_HEAD);
        let digest = self.hash.clone().finalize();
        if self.unused() != digest.as_slice() {
            return Err(self.damaged("the file is not what was sealed"));
        }
        self.use_up(DIGEST);
        Ok(())
    }
}
