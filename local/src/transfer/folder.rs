//! The folder of a repository, as the stock client keeps it. In `.muse` are
//!
//! - `commits/<id>.json` and `snapshots/<id>.json`, a record each, and `objects/<2 digits>/<62 digits>`, the bytes of a file;
//! - `HEAD`, which names a branch, `refs/heads/<branch>`, and `remotes/<remote>/<branch>`, where the branch of a hub was last seen;
//! - `config.toml`, which has the URL of each remote.
//!
//! The file `shallow` is of [`clone`](super::clone): the parents that are not there, one a line.
//!
//! What is there may be anything: every file is read up to a bound, and a record counts only if its id is its hash. An id has no
//! slash, so no path leaves the folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::WireError;
use common::wire::commit::Commit;
use common::wire::record::Snapshot;
use common::wire::value::Value;
use serde::Deserialize;

use super::TransferError;

/// The folder of a repository, which clients look for.
pub(super) const MUSE: &str = ".muse";
/// Its name until all of a clone is there.
pub(super) const PARTIAL: &str = ".muse.partial";
/// Where history is cut off.
pub(super) const SHALLOW: &str = "shallow";
/// Bytes of a commit or a snapshot: no hub takes a larger one in.
const MAX_RECORD: u64 = 256 << 20;
/// Bytes of any other file that is read whole.
pub(super) const MAX_FILE: u64 = 16 << 20;
/// The `.muse` of a repository.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    muse: PathBuf,
}

impl Folder {
    /// The repository whose `.muse` this is, or is to be.
    pub(super) const fn at(muse: PathBuf) -> Self {
        Self { muse }
    }

    pub(super) fn muse(&self) -> &Path {
        &self.muse
    }

    pub(super) fn commit_path(&self, id: &CommitId) -> PathBuf {
        self.muse.join("commits").join(format!("{id}.json"))
    }

    pub(super) fn snapshot_path(&self, id: &SnapshotId) -> PathBuf {
        self.muse.join("snapshots").join(format!("{id}.json"))
    }

    /// Where an object is: under its hash, the first two digits of which are a folder.
    pub(super) fn object_path(&self, key: &ObjectKey) -> Result<PathBuf, TransferError> {
        let digest = key.as_ref().digest().map(hex::encode);
        match digest.as_deref().and_then(|digest| digest.split_at_checked(2)) {
            Some((folder, name)) => Ok(self.muse.join("objects").join(folder).join(name)),
            None => Err(TransferError::Damaged(format!(
                "the object id {} is no hash, and no client takes it",
                key.as_ref()
            ))),
        }
    }

    pub(super) fn branch_path(&self, branch: &str) -> PathBuf {
        self.muse.join("refs").join("heads").join(branch)
    }

    pub(super) fn tracking_path(&self, remote: &str, branch: &str) -> PathBuf {
        self.muse.join("remotes").join(remote).join(branch)
    }

    pub(super) fn has_commit(&self, id: &CommitId) -> bool {
        self.commit_path(id).exists()
    }

    /// Whether an object is there. The empty one always is: clients drop it when they fetch it, though snapshots name it.
    pub(super) fn has_object(&self, key: &ObjectKey) -> Result<bool, TransferError> {
        let path = self.object_path(key)?;
        if !path.exists() && *key == ObjectId::of(b"").key() {
            write(&path, b"")?;
        }
        Ok(path.exists())
    }

    /// The parents of a commit, as its file has them; none if it is not there.
    pub(super) fn parents(&self, id: &CommitId) -> Result<Option<Vec<CommitId>>, TransferError> {
        #[derive(Deserialize)]
        struct Parents {
            parent_commit_id: Option<CommitId>,
            parent2_commit_id: Option<CommitId>,
        }
        let path = self.commit_path(id);
        let Some(text) = read_if_there(&path, MAX_RECORD)? else {
            return Ok(None);
        };
        let parents: Parents = serde_json::from_slice(&text).map_err(unreadable(&path))?;
        Ok(Some(parents.parent_commit_id.into_iter().chain(parents.parent2_commit_id).collect()))
    }

    /// A commit, if it is what its id says.
    pub(super) fn commit(&self, id: &CommitId) -> Result<Commit, TransferError> {
        let path = self.commit_path(id);
        let commit: Commit = serde_json::from_slice(&read(&path, MAX_RECORD)?).map_err(unreadable(&path))?;
        if commit.id != *id || !commit.is_proved_as_stored() {
            return Err(forged(&path));
        }
        Ok(commit)
    }

    /// A snapshot as one msgpack map, if it is what its id says, and a tree of files.
    pub(super) fn snapshot(&self, id: &SnapshotId) -> Result<Bytes, TransferError> {
        let path = self.snapshot_path(id);
        let text = read(&path, MAX_RECORD)?;
        let snapshot: Snapshot<'_> = serde_json::from_slice(&text).map_err(unreadable(&path))?;
        if snapshot.snapshot_id != *id || !snapshot.is_proved() {
            return Err(forged(&path));
        }
        snapshot.check(true)?;
        Ok(snapshot.record()?.into())
    }
}

fn forged(path: &Path) -> TransferError {
    TransferError::Damaged(format!("{} is not what its name says", path.display()))
}

/// An error of what a file holds.
pub(super) fn unreadable<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> TransferError {
    move |error| TransferError::Damaged(format!("{} cannot be read: {error}", path.display()))
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let about = fs::metadata(path)?;
    // To open a pipe would wait for who writes into it.
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok((File::open(path)?, about.len()))
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, TransferError> {
    read_if_there(path, limit)?.ok_or_else(|| TransferError::Damaged(format!("{} is not there", path.display())))
}

/// The same; none if it is not there.
pub(super) fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TransferError> {
    let read = || {
        let (file, size) = open(path)?;
        let mut bytes = Vec::new();
        if size > limit || file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
            return Err(io::Error::other(format!("it has more than {limit} bytes")));
        }
        Ok(bytes)
    };
    match read() {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        read => read.map(Some).map_err(TransferError::file("read", path)),
    }
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), TransferError> {
    let mut incoming = incoming(path)?;
    incoming.write_all(bytes).map_err(TransferError::file("write", path))?;
    keep(incoming, path)
}

/// A file without a name beside the one that it is to be.
pub(super) fn incoming(path: &Path) -> Result<tempfile::NamedTempFile, TransferError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(TransferError::file("make", folder))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".incoming-");
    // With the rights of any file that is made here: a temporary one is for its owner alone.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(TransferError::file("write", path))
}

pub(super) fn keep(incoming: tempfile::NamedTempFile, path: &Path) -> Result<(), TransferError> {
    incoming.persist(path).map_err(|error| TransferError::file("write", path)(error.error))?;
    Ok(())
}

/// A record as clients keep it.
pub(super) fn write_record(path: &Path, record: &[u8]) -> Result<(), TransferError> {
    let value: Value = rmp_serde::from_slice(record).map_err(WireError::internal)?;
    let mut text = serde_json::to_vec_pretty(&value).map_err(WireError::internal)?;
    text.push(b'\n');
    write(path, &text)
}

pub(super) fn remove(path: &Path) -> Result<(), TransferError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TransferError::file("delete", path)(error)),
        _ => Ok(()),
    }
}
