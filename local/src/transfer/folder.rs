//! The folder of a repository, as the stock client keeps it. In `.muse` are
//!
//! - `commits/<id>.json` and `snapshots/<id>.json`, a record each, and `objects/<2 digits>/<62 digits>`, the bytes of a file;
//! - `HEAD`, which names a branch, `refs/heads/<branch>`, and `remotes/<remote>/<branch>`, where the branch of a hub was last seen;
//! - `config.toml`, which has the URL of each remote.
//!
//! The file `shallow` is of [`clone`](super::clone): the parents that are not there, one a line.
//!
//! What is there may be anything: every file is read up to a bound, and a record counts only if its id is its hash. An id has no
//! slash, and a branch or remote is a [`BranchName`] that was checked, so no path leaves the folder.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::id::{BranchName, CommitId, ObjectId, ObjectKey, SnapshotId};
use common::wire::WireError;
use common::wire::commit::Commit;
use common::wire::limits::MAX_BRANCHES;
use common::wire::names::{check_branch, folders};
use common::wire::record::Snapshot;
use common::wire::value::Value;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml_edit::{DocumentMut, Item};

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
/// Bytes of an object that are handed on at once.
const PIECE: u64 = 256 << 10;

/// The `.muse` of a repository.
#[derive(Debug, Clone)]
pub struct Folder {
    muse: PathBuf,
}

impl Folder {
    /// Finds the repository that a folder is in.
    ///
    /// # Errors
    /// When there is none, or only a clone that was not finished.
    pub fn find(start: &Path) -> Result<Self, TransferError> {
        let start = fs::canonicalize(start).map_err(TransferError::file("open", start))?;
        // In a home folder there may be a `.muse` that is no repository: it has the tokens.
        if let Some(found) = start.ancestors().find(|folder| folder.join(MUSE).join("HEAD").is_file()) {
            return Ok(Self::at(found.join(MUSE)));
        }
        if let Some(begun) = start.ancestors().find(|folder| folder.join(PARTIAL).is_dir()) {
            return Err(TransferError::Refused(format!(
                "a clone was begun in {} and is not finished: 'musehub clone' with the same words goes on with it",
                begun.display()
            )));
        }
        let start = start.display();
        Err(TransferError::Refused(format!(
            "{start} is in no Muse repository: 'musehub clone' or 'muse init' makes one, and --folder names one"
        )))
    }

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
        self.look_at_snapshot(id, |snapshot| Ok(snapshot.record()?.into()))
    }

    /// What is to be known of a snapshot, if it is what its id says, and a tree of files.
    pub(super) fn look_at_snapshot<T>(
        &self,
        id: &SnapshotId,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        let path = self.snapshot_path(id);
        let text = read(&path, MAX_RECORD)?;
        let snapshot: Snapshot<'_> = serde_json::from_slice(&text).map_err(unreadable(&path))?;
        if snapshot.snapshot_id != *id || !snapshot.is_proved() {
            return Err(forged(&path));
        }
        snapshot.check(true)?;
        look(&snapshot)
    }

    /// An object, if it is what its id says.
    pub(super) fn object(&self, key: &ObjectKey) -> Result<Object, TransferError> {
        if !self.has_object(key)? {
            let muse = self.muse.display();
            return Err(TransferError::Damaged(format!("object {} is not in {muse}", key.as_ref())));
        }
        let path = self.object_path(key)?;
        let (file, size) = open(&path).map_err(TransferError::file("open", &path))?;
        let mut object = Object { file, size, path };
        let mut hash = Sha256::new();
        while let Some(piece) = object.piece()? {
            hash.update(&piece);
        }
        if key.as_ref().digest() != Some(&hash.finalize().into()) {
            return Err(forged(&object.path));
        }
        object.file.rewind().map_err(TransferError::file("read", &object.path))?;
        Ok(object)
    }

    /// The branch that is checked out.
    ///
    /// # Errors
    /// When `HEAD` names none.
    pub fn current_branch(&self) -> Result<BranchName, TransferError> {
        let head = self.muse.join("HEAD");
        let text = self.line(&head)?.unwrap_or_default();
        // The older of the two generations of clients writes it without what is before the colon.
        let Some(branch) = text.strip_prefix("ref: ").unwrap_or(&text).strip_prefix("refs/heads/") else {
            return Err(TransferError::Refused(format!("{} names no branch: name one", head.display())));
        };
        Ok(check_branch("HEAD", branch)?)
    }

    /// The head of a branch; none if there is no such branch, or it has no commits.
    pub(super) fn head(&self, branch: &BranchName) -> Result<Option<CommitId>, TransferError> {
        self.id(&self.branch_path(branch.as_str()))
    }

    /// Where the branch of a remote was last seen.
    pub(super) fn tracked(&self, remote: &BranchName, branch: &str) -> Result<Option<CommitId>, TransferError> {
        self.id(&self.tracking_path(remote.as_str(), branch))
    }

    /// Notes where the branch of a remote is. What is in the way is of branches that the remote cannot have beside it.
    pub(super) fn track(&self, remote: &BranchName, branch: &str, head: &CommitId) -> Result<(), TransferError> {
        let path = self.tracking_path(remote.as_str(), branch);
        for folder in folders(branch) {
            let folder = self.tracking_path(remote.as_str(), folder);
            if folder.is_file() {
                remove(&folder)?;
            }
        }
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(TransferError::file("delete", &path))?;
        }
        write(&path, head.to_string().as_bytes())
    }

    /// The commits that branches are at, those of remotes too, as far as they are there, and not more than a repo has.
    pub(super) fn tips(&self) -> Result<BTreeSet<CommitId>, TransferError> {
        let mut tips = BTreeSet::new();
        let mut waiting = vec![self.muse.join("refs").join("heads"), self.muse.join("remotes")];
        while let Some(folder) = waiting.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(TransferError::file("read", &folder))?,
            };
            for entry in entries {
                let entry = entry.map_err(TransferError::file("read", &folder))?;
                // Of a link neither is so: it is not followed.
                let kind = entry.file_type().map_err(TransferError::file("read", &folder))?;
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if kind.is_file()
                    && let Ok(Some(id)) = self.id(&entry.path())
                    && self.has_commit(&id)
                {
                    tips.insert(id);
                }
                if tips.len() >= MAX_BRANCHES || waiting.len() > MAX_BRANCHES {
                    return Ok(tips);
                }
            }
        }
        Ok(tips)
    }

    /// The URL of a remote.
    ///
    /// # Errors
    /// When the folder has no remote of this name.
    pub fn url(&self, remote: &BranchName) -> Result<String, TransferError> {
        let path = self.muse.join("config.toml");
        let text = read_if_there(&path, MAX_FILE)?.unwrap_or_default();
        let text = String::from_utf8(text).map_err(unreadable(&path))?;
        let config: DocumentMut = text.parse().map_err(unreadable(&path))?;
        let entry = config.get("remotes").and_then(|remotes| remotes.get(remote.as_str()));
        let url = entry.and_then(|remote| remote.get("url")).and_then(Item::as_str).map(str::trim);
        let url = url.filter(|url| !url.is_empty()).ok_or_else(|| {
            let muse = self.muse.display();
            TransferError::Refused(format!("{muse} has no remote '{remote}': 'muse remote add {remote} URL' adds one"))
        })?;
        Ok(url.to_owned())
    }

    /// Whether history is cut off somewhere.
    pub(super) fn is_cut(&self) -> bool {
        self.muse.join(SHALLOW).exists()
    }

    /// Whether a commit builds on another, or is it. None where history is cut off before that shows.
    pub(super) fn builds_on(&self, head: &CommitId, wanted: &CommitId) -> Result<Option<bool>, TransferError> {
        if !self.is_cut() && !self.has_commit(wanted) {
            return Ok(Some(false));
        }
        let mut seen: HashSet<CommitId> = HashSet::from([head.clone()]);
        let mut waiting = VecDeque::from([head.clone()]);
        let mut is_cut = false;
        while let Some(id) = waiting.pop_front() {
            if id == *wanted {
                return Ok(Some(true));
            }
            match self.parents(&id)? {
                Some(parents) => waiting.extend(parents.into_iter().filter(|parent| seen.insert(parent.clone()))),
                None => is_cut = true,
            }
        }
        Ok((!is_cut).then_some(false))
    }

    /// The id in a file of one line, if it is there.
    fn id(&self, path: &Path) -> Result<Option<CommitId>, TransferError> {
        let Some(line) = self.line(path)?.filter(|line| !line.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(line.parse().map_err(unreadable(path))?))
    }

    fn line(&self, path: &Path) -> Result<Option<String>, TransferError> {
        let text = read_if_there(path, MAX_FILE)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
    }
}

/// An object that is what its id says.
pub(super) struct Object {
    file: File,
    pub(super) size: u64,
    path: PathBuf,
}

impl Object {
    /// The next bytes of it; none at its end.
    pub(super) fn piece(&mut self) -> Result<Option<Bytes>, TransferError> {
        let mut piece = Vec::new();
        (&self.file).take(PIECE).read_to_end(&mut piece).map_err(TransferError::file("read", &self.path))?;
        Ok((!piece.is_empty()).then(|| piece.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::at(home.path().join(MUSE));
        write(&folder.muse.join("HEAD"), b"ref: refs/heads/main\n").unwrap();
        (home, folder)
    }

    fn name(text: &str) -> BranchName {
        text.parse().unwrap()
    }

    #[test]
    fn a_repository_is_found_from_within_and_a_home_or_half_a_clone_is_none() {
        let (home, folder) = folder();
        let inside = home.path().join("a/b");
        fs::create_dir_all(&inside).unwrap();
        let found = Folder::find(&inside).unwrap();
        assert_eq!(found.muse, fs::canonicalize(&folder.muse).unwrap());
        fs::rename(folder.muse.join("HEAD"), folder.muse.join("identity.toml")).unwrap();
        assert!(Folder::find(&inside).unwrap_err().to_string().contains("in no Muse repository"));
        fs::rename(&folder.muse, home.path().join(PARTIAL)).unwrap();
        assert!(Folder::find(&inside).unwrap_err().to_string().contains("not finished"));
    }

    #[test]
    fn the_branch_that_is_checked_out_is_read_as_both_generations_write_it_and_never_leads_outside() {
        let (_home, folder) = folder();
        let head = |text: &str| {
            write(&folder.muse.join("HEAD"), text.as_bytes()).unwrap();
            folder.current_branch().map(|branch| branch.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(head("ref: refs/heads/feature/x\n").unwrap(), "feature/x");
        assert_eq!(head("refs/heads/main").unwrap(), "main");
        assert!(head(&format!("commit: {}\n", "0".repeat(64))).unwrap_err().contains("names no branch: name one"));
        for astray in ["../../config.toml", "..", "/etc/passwd", ".hidden", ""] {
            head(&format!("ref: refs/heads/{astray}\n")).unwrap_err();
        }
    }

    #[test]
    fn a_remote_has_the_url_that_the_client_has_written() {
        let (_home, folder) = folder();
        let origin = name("origin");
        assert!(folder.url(&origin).unwrap_err().to_string().contains("muse remote add origin URL"));
        let config = folder.muse.join("config.toml");
        write(&config, b"[user]\nname = \"a\"\n[remotes.origin]\nurl = \" https://hub/a/b \"\n").unwrap();
        assert_eq!(folder.url(&origin).unwrap(), "https://hub/a/b");
        folder.url(&name("other")).unwrap_err();
        write(&config, b"remotes = 1").unwrap();
        folder.url(&origin).unwrap_err();
        write(&config, b"no toml").unwrap();
        assert!(folder.url(&origin).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn where_a_branch_is_takes_the_place_of_what_is_in_its_way() {
        let (_home, folder) = folder();
        let origin = name("origin");
        let [one, two] = ["1", "2"].map(|digit| digit.repeat(64).parse::<CommitId>().unwrap());
        for (branch, head) in [("a/b/c", &one), ("a", &one), ("a/b", &two), ("a/b", &one)] {
            folder.track(&origin, branch, head).unwrap();
            assert_eq!(folder.tracked(&origin, branch).unwrap().as_ref(), Some(head), "{branch}");
        }
        assert_eq!(folder.tracked(&origin, "a/b/c").unwrap(), None);
        assert!(folder.tips().unwrap().is_empty(), "none of those commits is there");
    }

    #[test]
    fn a_file_is_read_up_to_a_bound_and_what_is_no_file_is_not_read() {
        let (_home, folder) = folder();
        let path = folder.muse.join("ten");
        write(&path, &[0; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert!(matches!(read(&path, 9), Err(TransferError::File { .. })));
        assert!(matches!(read(&folder.muse, 9), Err(TransferError::File { .. })));
        assert_eq!(read_if_there(&path.join("below"), 9).unwrap(), None);
    }
}
