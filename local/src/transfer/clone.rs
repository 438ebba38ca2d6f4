//! `musehub clone`: a repo into a folder, in parts, as a repository that `muse` goes on with.
//!
//! A stock client asks for all of a repo at once and gives up where the answer has more than 64 MiB. Here it comes in parts,
//! oldest commits first, each with all that belongs to it, into `.muse.partial` of the folder. What has arrived there is whole at
//! any time: an object is written before the snapshot that names it, that before its commit, and a commit after its parents.
//! So a clone that breaks off goes on behind its last commit. When all is there the files of the branch are written, and only
//! then the folder gets its name `.muse`: until then no client takes it for a repository.
//!
//! Nothing that comes is believed: every id is held against its content, and every path against the rules for paths.
//!
//! With a depth only the newest commits come, in one part. The file `.muse/shallow` then has the ids of the parents that are not there,
//! one a line, as Git's has; another run in the folder fetches the rest. Clients know nothing of that file: they name every
//! commit that they have, and a hub takes it that they have all that those reach. What is new on the branch reaches them well;
//! of a branch that parted behind the cut they would get too little, so the rest has to be fetched first.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use client::Remote;
use common::id::{CommitId, SnapshotId};
use common::wire::names::{check_beside, check_branch};
use common::wire::request::RefsResponse;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use store::ambient::Ambient;
use store::compute;

use super::arriving::{Arriving, read_snapshot};
use super::asking::unknown;
use super::folder::{Folder, MAX_FILE, MUSE, PARTIAL, SHALLOW, read_if_there, remove, unreadable, write};
use super::source::Source;
use super::{Moved, Names, TransferError};
use crate::lock;

/// What it was begun with.
const BEGUN: &str = "clone.json";
/// The snapshot whose files are being written.
const CHECKING_OUT: &str = "checkout";
/// The remote that a client asks unless another is named.
const ORIGIN: &str = "origin";
/// What clients write into `repo.json`; they do not look at it.
const SCHEMA_VERSION: &str = "0.1.5";
/// The domain of a repo that has none, to a client.
const NO_DOMAIN: &str = "midi";

/// What of a repo is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The one branch; else all.
    pub branch: Option<String>,
    /// How many commits on each way back from a head; else all.
    pub depth: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Cloned {
    /// What came out of the hub.
    pub fetched: Moved,
    /// The branch whose files are in the folder; none if the folder was a repository before.
    pub branch: Option<String>,
    /// Branches that no file can be called by, so that they were left out.
    pub left_out: Vec<String>,
    /// How many commits are named and not there, because a depth has cut them off.
    pub cut: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    url: String,
    #[serde(flatten)]
    wanted: Wanted,
}

/// Brings a repo into a folder that is new or empty, or that an earlier run has begun; or the rest of it into one whose history is
/// cut off.
///
/// # Errors
/// When the folder is something else, and when the hub refuses, does not answer, or sends what is not what its id says: running
/// it again then goes on.
pub async fn clone(
    from: &Remote,
    url: &str,
    folder: &Path,
    wanted: Wanted,
    progress: &ProgressBar,
) -> Result<Cloned, TransferError> {
    let muse = folder.join(MUSE);
    if muse.exists() {
        return deepen(from, Folder::at(muse), &wanted, progress).await;
    }
    let missing = || unknown(from);
    let refs = from.refs().await?.ok_or_else(missing)?;
    let (heads, left_out) = choose(from, &refs, wanted.branch.as_deref())?;
    let depth = wanted.depth;
    let partial = folder.join(PARTIAL);
    let arrived = Folder::at(partial.clone());
    let lock = begin(folder, &partial, &Begun { url: url.to_owned(), wanted })?;

    let mut to = Arriving::new(from, &arrived, depth.is_some(), progress);
    let had = there(&arrived)?;
    let default = default_of(&refs, &heads);
    let names = Names { default_branch: default.clone(), heads, ..Names::default() };
    let mut source = Source { from, have: had.tips(), fetched: Moved::default(), progress };
    match depth {
        Some(depth) => {
            let want: HashSet<&CommitId> = names.heads.values().collect();
            let want: Vec<CommitId> = want.into_iter().cloned().collect();
            source.bring_newest(&want, depth, &mut to).await?;
        }
        None => {
            let commits = source.new_commits(&names, |id| had.commits.contains(id)).await?;
            source.bring(&commits, &mut to).await?;
        }
    }

    let there = there(&arrived)?;
    if let Some((branch, head)) = names.heads.iter().find(|(_, head)| !there.commits.contains(*head)) {
        return Err(from.broken(format!("it did not send {head}, the head of the branch '{branch}'")).into());
    }
    let head = names.heads.get(&default).ok_or_else(missing)?;
    compute(|| {
        check_out(folder, &arrived, head)?;
        describe(&arrived, url, &refs, &names)?;
        write_cut(&arrived, &there.cut)
    })?;
    drop(lock);
    fs::rename(&partial, &muse).map_err(TransferError::file("rename", &partial))?;
    for left in [BEGUN, CHECKING_OUT] {
        remove(&muse.join(left))?;
    }
    Ok(Cloned { fetched: source.fetched, branch: Some(default), left_out, cut: there.cut.len() })
}

/// Fetches what a depth has cut off.
async fn deepen(
    from: &Remote,
    folder: Folder,
    wanted: &Wanted,
    progress: &ProgressBar,
) -> Result<Cloned, TransferError> {
    let shallow = folder.muse().join(SHALLOW);
    let text = read_if_there(&shallow, MAX_FILE)?.filter(|_| wanted.branch.is_none()).ok_or_else(|| {
        TransferError::Refused(format!(
            "{} is there already: 'musehub fetch' and 'muse pull' go on with it, and a new clone takes another folder",
            folder.muse().display()
        ))
    })?;
    let lock = locked(&shallow)?;
    let text = String::from_utf8_lossy(&text);
    let want: Vec<CommitId> = text.lines().map(str::parse).collect::<Result<_, _>>().map_err(unreadable(&shallow))?;
    let mut to = Arriving::new(from, &folder, wanted.depth.is_some(), progress);
    let mut source = Source { from, have: Vec::new(), fetched: Moved::default(), progress };
    match wanted.depth {
        Some(depth) => source.bring_newest(&want, depth, &mut to).await?,
        None => {
            let heads: BTreeMap<String, CommitId> = want.into_iter().map(|id| (id.to_string(), id)).collect();
            let names = Names { heads, ..Names::default() };
            let commits = source.new_commits(&names, |_| false).await?;
            source.bring(&commits, &mut to).await?;
        }
    }
    let there = there(&folder)?;
    drop(lock);
    write_cut(&folder, &there.cut)?;
    Ok(Cloned { fetched: source.fetched, cut: there.cut.len(), ..Cloned::default() })
}

/// The branches that are wanted, and those that are left out because clients keep branches as files.
pub(super) fn choose(
    from: &Remote,
    refs: &RefsResponse<'_>,
    branch: Option<&str>,
) -> Result<(BTreeMap<String, CommitId>, Vec<String>), TransferError> {
    if let Some(branch) = branch {
        let head = refs.branch_heads.get(branch);
        let head = head.ok_or_else(|| TransferError::Refused(format!("{from} has no branch '{branch}'")))?;
        check_branch("branch", branch)?;
        return Ok((BTreeMap::from([(branch.to_owned(), head.clone())]), Vec::new()));
    }
    if refs.branch_heads.is_empty() {
        return Err(TransferError::Refused(format!("{from} has no branches yet: push one first")));
    }
    let (mut heads, mut left_out) = (BTreeMap::<String, CommitId>::new(), Vec::new());
    // The default branch goes before one that it cannot be beside.
    let is_default = |name: &&String| **name == refs.default_branch;
    let names = || refs.branch_heads.keys();
    for name in names().filter(is_default).chain(names().filter(|name| !is_default(name))) {
        let can_be = check_branch("branch", name)
            .is_ok_and(|branch| check_beside(&branch, heads.keys().map(String::as_str)).is_ok());
        match refs.branch_heads.get(name).filter(|_| can_be) {
            Some(head) => drop(heads.insert(name.clone(), head.clone())),
            None => left_out.push(name.clone()),
        }
    }
    if heads.is_empty() {
        return Err(TransferError::Refused(format!("no branch of {from} can be a file: {}", left_out.join(", "))));
    }
    Ok((heads, left_out))
}

fn default_of(refs: &RefsResponse<'_>, heads: &BTreeMap<String, CommitId>) -> String {
    let default = Some(&*refs.default_branch).filter(|name| heads.contains_key(*name));
    default.or_else(|| heads.keys().next().map(String::as_str)).unwrap_or_default().to_owned()
}

/// Makes the folder, or finds what an earlier run has left there. No other run writes into it as long as the file stays open.
fn begin(folder: &Path, partial: &Path, begun: &Begun) -> Result<File, TransferError> {
    let file = partial.join(BEGUN);
    if !partial.exists() {
        let is_empty = match fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(TransferError::file("read", folder)(error)),
        };
        if !is_empty {
            return Err(TransferError::Refused(format!("{} is not empty: name another folder", folder.display())));
        }
        fs::create_dir_all(partial).map_err(TransferError::file("make", partial))?;
    }
    match read_if_there(&file, MAX_FILE)? {
        Some(before) => {
            if serde_json::from_slice::<Begun>(&before).ok().as_ref() != Some(begun) {
                return Err(TransferError::Refused(format!(
                    "another clone was begun in {}: finish it with the same words, or delete {}",
                    folder.display(),
                    partial.display()
                )));
            }
        }
        None => {
            let text = serde_json::to_vec(begun).map_err(common::wire::WireError::internal)?;
            fs::write(&file, text).map_err(TransferError::file("write", &file))?;
        }
    }
    locked(&file)
}

fn locked(path: &Path) -> Result<File, TransferError> {
    let file = File::open(path).map_err(TransferError::file("open", path))?;
    lock::take(&file)
        .map_err(|_| TransferError::Refused(format!("another musehub is at work on {}", path.display())))?;
    Ok(file)
}

/// The commits that a folder has.
#[derive(Default)]
struct There {
    commits: HashSet<CommitId>,
    /// Those that others name as their parents.
    parents: HashSet<CommitId>,
    /// Parents that are not there.
    cut: Vec<CommitId>,
}

impl There {
    /// Those that no other names as a parent.
    fn tips(&self) -> Vec<CommitId> {
        self.commits.iter().filter(|id| !self.parents.contains(*id)).cloned().collect()
    }
}

fn there(folder: &Folder) -> Result<There, TransferError> {
    let commits = folder.muse().join("commits");
    let mut there = There::default();
    let entries = match fs::read_dir(&commits) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(there),
        entries => entries.map_err(TransferError::file("read", &commits))?,
    };
    for entry in entries {
        let name = entry.map_err(TransferError::file("read", &commits))?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok()) else {
            continue;
        };
        there.parents.extend(folder.parents(&id)?.unwrap_or_default());
        there.commits.insert(id);
    }
    there.cut = there.parents.difference(&there.commits).cloned().collect();
    there.cut.sort_unstable();
    Ok(there)
}

/// Writes the files of a commit. Those that an earlier run has written of another commit go.
fn check_out(folder: &Path, from: &Folder, head: &CommitId) -> Result<(), TransferError> {
    let Some(snapshot) = from.commit(head)?.snapshot else {
        return Ok(());
    };
    let record = from.snapshot(&snapshot)?;
    let read = read_snapshot(&record)?;
    let manifest: BTreeMap<&str, _> = read.manifest.entries.iter().map(|(path, object)| (&**path, object)).collect();
    if let Some(path) = manifest.keys().find(|path| is_partial(path)) {
        return Err(TransferError::Refused(format!("the path '{path}' is where a clone is kept until it is whole")));
    }

    let checking_out = from.muse().join(CHECKING_OUT);
    if let Some(before) = read_if_there(&checking_out, MAX_FILE)?
        && let Ok(before) = String::from_utf8_lossy(&before).parse::<SnapshotId>()
        && before != snapshot
    {
        let before = from.snapshot(&before)?;
        for (path, _) in &read_snapshot(&before)?.manifest.entries {
            if !manifest.contains_key(&**path) && !is_partial(path) {
                remove(&folder.join(&**path))?;
            }
        }
    }
    write(&checking_out, snapshot.to_string().as_bytes())?;
    for (path, object) in &manifest {
        let (file, content) = (folder.join(path), from.object_path(&object.key())?);
        // An object is written before the snapshot that names it, but for one that was purged. Clients leave such a file out too.
        if !content.exists() {
            continue;
        }
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(TransferError::file("make", parent))?;
        }
        fs::copy(content, &file).map_err(TransferError::file("write", &file))?;
    }
    Ok(())
}

/// Whether a path leads into the folder that the clone is in, for any system's way to compare names.
fn is_partial(path: &str) -> bool {
    let first = path.split(['/', '\\']).next().unwrap_or_default();
    let letters = first.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    letters.eq(PARTIAL.chars().filter(char::is_ascii_alphanumeric))
}

/// Writes what makes a repository of commits: what it is, its branches, and where it is from.
fn describe(folder: &Folder, url: &str, refs: &RefsResponse<'_>, names: &Names) -> Result<(), TransferError> {
    #[derive(Serialize)]
    struct About<'a> {
        repo_id: &'a str,
        schema_version: &'a str,
        created_at: String,
        domain: &'a str,
    }
    let about = About {
        repo_id: &refs.repo_id,
        schema_version: SCHEMA_VERSION,
        created_at: Ambient::system().now_iso(),
        domain: Some(&*refs.domain).filter(|domain| !domain.is_empty()).unwrap_or(NO_DOMAIN),
    };
    let mut text = serde_json::to_vec_pretty(&about).map_err(common::wire::WireError::internal)?;
    text.push(b'\n');
    let muse = folder.muse();
    write(&muse.join("repo.json"), &text)?;
    for (branch, head) in &names.heads {
        let head = head.to_string();
        write(&folder.branch_path(branch), head.as_bytes())?;
        write(&folder.tracking_path(ORIGIN, branch), head.as_bytes())?;
    }
    let branch = &names.default_branch;
    write(&muse.join("HEAD"), format!("ref: refs/heads/{branch}\n").as_bytes())?;
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let config = format!("[remotes.{ORIGIN}]\nurl = \"{}\"\nbranch = \"{}\"\n", quoted(url), quoted(branch));
    write(&muse.join("config.toml"), config.as_bytes())
}

fn write_cut(folder: &Folder, cut: &[CommitId]) -> Result<(), TransferError> {
    let path = folder.muse().join(SHALLOW);
    if cut.is_empty() {
        return remove(&path);
    }
    let lines: String = cut.iter().map(|id| format!("{id}\n")).collect();
    write(&path, lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_into_the_unfinished_clone_is_known_by_any_name() {
        for path in
            [".muse.partial/HEAD", ".MUSE.Partial/a", ".muse.partial ", ".muse.partial./a", ".mu\u{200c}se.partial"]
        {
            assert!(is_partial(path), "{path}");
        }
        for path in ["muse/partial", ".muse.partials", "a/.muse.partial", "x"] {
            assert!(!is_partial(path), "{path}");
        }
    }
}
