//! Objects on disk, one file each.
//!
//! ```text
//! <root>/lock                    held while the store is open
//! <root>/incoming/<random>       uploads that are not objects yet; swept at open
//! <root>/buckets/<bucket>/<key>  an object: its bytes, and a footer of 32 bytes
//! ```
//!
//! A put writes a file in `incoming`, verifies the body, appends the footer, syncs the file, and then publishes it:
//! under one lock it checks the condition, renames the file to its place and syncs the directory. So a file in a
//! bucket is always whole, whenever the process dies. Readers take the lock as well, shared, while they open a file:
//! an object that a client has seen, or been refused a put for, is then one that a power cut cannot take back. A reader
//! that has opened a file keeps that file, even if another is renamed over it.
//!
//! There is no index: the file system is the truth, and a bucket is listed by reading its directory. The last
//! modification is the file's own.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use s3s::{S3Error, S3Result, s3_error};
use tempfile::NamedTempFile;

use crate::lock;

use super::{
    digest::Digest,
    key::Key,
    store::{Condition, Content, Entry, Object, Page, Selection, Store, internal},
    upload::Upload,
};

/// How many bytes are read or written at a time, and so how much memory a transfer takes.
const CHUNK: usize = 256 * 1024;

/// Ends every object's file: MD5, CRC-32, size (big-endian), and this mark, which is also the format's version.
const MARK: [u8; 4] = *b"s3o1";
const FOOTER: usize = 16 + 4 + 8 + MARK.len();

pub(super) struct Disk(Arc<Directory>);

struct Directory {
    buckets: PathBuf,
    incoming: PathBuf,
    publishing: RwLock<()>,
    _open: File,
}

impl Disk {
    /// # Errors
    /// As [`EmbeddedS3::open`](super::EmbeddedS3::open).
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let [buckets, incoming] = ["buckets", "incoming"].map(|name| root.join(name));
        fs::create_dir_all(&buckets)?;
        fs::create_dir_all(&incoming)?;

        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"))?;
        lock::take(&lock).map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, format!("another process has {} open", root.display()))
            }
        })?;

        for leftover in fs::read_dir(&incoming)? {
            fs::remove_file(leftover?.path())?;
        }
        // A process that was killed may have published an object and not synced it. No request has seen it yet.
        for bucket in fs::read_dir(&buckets)? {
            sync_directory(&bucket?.path())?;
        }
        sync_directory(&buckets)?;
        sync_directory(root)?;
        Ok(Self(Arc::new(Directory { buckets, incoming, publishing: RwLock::new(()), _open: lock })))
    }

    /// Runs `work` where it may block. `doing` is for the log.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Directory) -> Result<T, Failure> + Send + 'static,
    ) -> S3Result<T> {
        let directory = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&directory)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Failure::Refused(refusal))) => Err(refusal),
            // No answer that a client would try again for.
            Ok(Err(Failure::Io(error))) if is_damage(&error) => {
                tracing::error!(%error, doing, "the file of an object cannot be read");
                Err(s3_error!(InvalidObjectState, "the object cannot be read"))
            }
            Ok(Err(Failure::Io(error))) => Err(internal(doing, error)),
            Err(panicked) => Err(internal(doing, panicked)),
        }
    }
}

/// Why blocking work did not get done: there is an answer to it, or the file system failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] S3Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[async_trait]
impl Store for Disk {
    async fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        let bucket = bucket.to_owned();
        self.blocking("create a bucket", move |directory| {
            let _exclusive = directory.exclusive();
            match fs::create_dir(directory.bucket_path(&bucket)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(s3_error!(BucketAlreadyOwnedByYou).into());
                }
                made => made?,
            }
            Ok(sync_directory(&directory.buckets)?)
        })
        .await
    }

    async fn head_bucket(&self, bucket: &str) -> S3Result<()> {
        let bucket = bucket.to_owned();
        self.blocking("look for a bucket", move |directory| {
            let _shared = directory.shared();
            directory.bucket(&bucket).map(|_| ())
        })
        .await
    }

    async fn put(&self, bucket: &str, key: Key, mut body: Upload, condition: Condition) -> S3Result<Digest> {
        // Until it is published, the file is removed when it is dropped: when the body is refused, and when the
        // client goes away and this future with it. That is one unlink on a thread of the runtime, and rare.
        let mut file =
            self.blocking("begin an upload", |directory| Ok(NamedTempFile::new_in(&directory.incoming)?)).await?;
        let mut pending = Vec::with_capacity(CHUNK);
        while let Some(chunk) = body.chunk().await? {
            pending.extend_from_slice(&chunk);
            if pending.len() >= CHUNK {
                (file, pending) = self
                    .blocking("write an upload", move |_| {
                        file.write_all(&pending)?;
                        pending.clear();
                        Ok((file, pending))
                    })
                    .await?;
            }
        }
        let digest = body.verify()?;
        pending.extend_from_slice(&footer(&digest));

        let bucket = bucket.to_owned();
        self.blocking("publish an upload", move |directory| {
            file.write_all(&pending)?;
            file.as_file().sync_all()?;
            directory.publish(file, &bucket, &key, &condition)
        })
        .await?;
        Ok(digest)
    }

    async fn get(&self, bucket: &str, key: Key) -> S3Result<Object> {
        let bucket = bucket.to_owned();
        self.blocking("open an object", move |directory| {
            let _shared = directory.shared();
            let bucket = directory.bucket(&bucket)?;
            let (file, entry) = open(&bucket, &key)?.ok_or_else(|| s3_error!(NoSuchKey))?;
            Ok(Object { entry, content: Content::File(file) })
        })
        .await
    }

    async fn delete(&self, bucket: &str, key: Key, condition: Condition) -> S3Result<()> {
        let bucket = bucket.to_owned();
        self.blocking("delete an object", move |directory| {
            let _exclusive = directory.exclusive();
            let bucket = directory.bucket(&bucket)?;
            check(&bucket, &key, &condition)?;
            match fs::remove_file(bucket.join(key.file_name())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                removed => removed?,
            }
            Ok(sync_directory(&bucket)?)
        })
        .await
    }

    async fn list(&self, bucket: &str, selection: Selection) -> S3Result<Page> {
        let bucket = bucket.to_owned();
        self.blocking("list a bucket", move |directory| directory.list(&bucket, &selection)).await
    }
}

impl Directory {
    // Nothing lies in the lock that a panic could have left half done.
    fn exclusive(&self) -> RwLockWriteGuard<'_, ()> {
        self.publishing.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.publishing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a bucket lies. s3s lets no name through but S3's: lower-case letters, digits, hyphens and single dots.
    fn bucket_path(&self, bucket: &str) -> PathBuf {
        self.buckets.join(bucket)
    }

    fn bucket(&self, bucket: &str) -> Result<PathBuf, Failure> {
        let path = self.bucket_path(bucket);
        if !path.try_exists()? {
            return Err(s3_error!(NoSuchBucket).into());
        }
        Ok(path)
    }

    fn publish(&self, file: NamedTempFile, bucket: &str, key: &Key, condition: &Condition) -> Result<(), Failure> {
        let _exclusive = self.exclusive();
        let bucket = self.bucket(bucket)?;
        check(&bucket, key, condition)?;
        file.persist(bucket.join(key.file_name())).map_err(|failed| failed.error)?;
        Ok(sync_directory(&bucket)?)
    }

    fn list(&self, bucket: &str, selection: &Selection) -> Result<Page, Failure> {
        let _shared = self.shared();
        let bucket = self.bucket(bucket)?;
        let mut keys = Vec::new();
        for file in fs::read_dir(&bucket)? {
            let name = file?.file_name();
            let key = name.to_str().and_then(Key::from_file_name);
            keys.extend(key.filter(|key| selection.contains(key.as_str())));
        }
        keys.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        let more = keys.len() > selection.limit;
        keys.truncate(selection.limit);

        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            let entry = match open(&bucket, &key) {
                Ok(opened) => opened.map(|(_, entry)| entry),
                // One that cannot be read does not hide the others.
                Err(error) if is_damage(&error) => Some(damaged(&fs::metadata(bucket.join(key.file_name()))?)?),
                Err(error) => return Err(error.into()),
            };
            entries.extend(entry.map(|entry| (key.into_string(), entry)));
        }
        Ok(Page { entries, more })
    }
}

/// Holds a condition against the object that is there.
fn check(bucket: &Path, key: &Key, condition: &Condition) -> Result<(), Failure> {
    let current = match condition {
        Condition::None => None,
        Condition::Absent | Condition::Matches(_) => open(bucket, key)?.map(|(_, current)| current.digest),
    };
    Ok(condition.check(current.as_ref())?)
}

/// Opens an object's file and reads its footer. `None` if there is no such file. Of a file that has lost its footer all
/// bytes are taken for the object's: its readers have checksums of their own.
fn open(bucket: &Path, key: &Key) -> io::Result<Option<(File, Entry)>> {
    let mut file = match File::open(bucket.join(key.file_name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    let mut digest = None;
    if let Some(size) = metadata.len().checked_sub(FOOTER as u64) {
        let mut footer = [0; FOOTER];
        file.seek(SeekFrom::Start(size))?;
        file.read_exact(&mut footer)?;
        digest = parse_footer(&footer).filter(|digest| digest.size == size);
    }
    let entry = match digest {
        Some(digest) => Entry { digest, modified: metadata.modified()? },
        None => {
            tracing::error!(key = key.as_str(), "the file of an object is cut off or damaged");
            damaged(&metadata)?
        }
    };
    Ok(Some((file, entry)))
}

/// What is known of an object whose file is damaged. Its checksum is none that an empty file has.
fn damaged(metadata: &Metadata) -> io::Result<Entry> {
    let digest = Digest { size: metadata.len(), md5: [0; 16], crc32: [0xFF; 4] };
    Ok(Entry { digest, modified: metadata.modified()? })
}

/// Whether a file cannot be read now, nor when it is tried again.
fn is_damage(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(EIO)
}

fn footer(digest: &Digest) -> Vec<u8> {
    [&digest.md5[..], &digest.crc32[..], &digest.size.to_be_bytes()[..], &MARK[..]].concat()
}

fn parse_footer(footer: &[u8; FOOTER]) -> Option<Digest> {
    let (md5, rest) = footer.split_first_chunk()?;
    let (crc32, rest) = rest.split_first_chunk()?;
    let (size, mark) = rest.split_first_chunk()?;
    (mark == MARK).then_some(Digest { size: u64::from_be_bytes(*size), md5: *md5, crc32: *crc32 })
}

/// Makes what was renamed, made or removed in a directory last.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_reads_back_as_it_was_written() {
        let digest = Digest { size: 0x0102_0304_0506_0708, md5: [7; 16], crc32: [1, 2, 3, 4] };
        let mut written = <[u8; FOOTER]>::try_from(footer(&digest)).unwrap();
        assert_eq!(parse_footer(&written), Some(digest));
        written[FOOTER - 1] ^= 1;
        assert_eq!(parse_footer(&written), None);
    }

    #[test]
    fn a_store_is_open_once_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let open = Disk::open(root.path()).unwrap();
        let refused = Disk::open(root.path()).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        drop(open);
        Disk::open(root.path()).unwrap();
    }
}
