//! The same history in Git: bare repositories behind `git daemon`, on loopback.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::wire::Stretch;
use crate::{Failure, process};

/// How long the daemon may take to listen, and its children to end.
const PATIENCE: Duration = Duration::from_millis(10);
const TRIES: usize = 500;
/// What a bare clone is called.
pub const CLONE: &str = "clone";

/// A daemon with its repositories, and the repository that is pushed from.
pub struct Git {
    folder: PathBuf,
    daemon: Child,
    /// Where the daemon listens.
    pub address: SocketAddr,
    /// The name that Git has for each commit.
    names: HashMap<String, String>,
}

/// The version of Git, if it is installed with its daemon.
pub fn version() -> Option<String> {
    daemon().filter(|program| program.exists())?;
    said("--version")
}

/// The program of the daemon. `git daemon` would start it as a child, which outlives a `git` that is killed.
fn daemon() -> Option<PathBuf> {
    Some(Path::new(&said("--exec-path")?).join("git-daemon"))
}

fn said(option: &str) -> Option<String> {
    let output = Command::new("git").arg(option).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

impl Git {
    /// Starts one in an empty folder.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let served = folder.join("served");
        std::fs::create_dir_all(&served)?;
        // The daemon takes no socket and no port 0.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let daemon = command(daemon().ok_or("git daemon")?, folder)
            .args(["--export-all", "--enable=receive-pack", "--max-connections=0", "--listen=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--base-path={}", served.display()))
            .arg(&served)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let git = Self { folder: folder.to_owned(), daemon, address, names: HashMap::new() };
        for _ in 0..TRIES {
            if TcpStream::connect(address).is_ok() {
                git.init("source")?;
                return Ok(git);
            }
            std::thread::sleep(PATIENCE);
        }
        Err("git daemon does not listen".into())
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.daemon.id()
    }

    /// Waits until nothing works for a client that has gone.
    pub fn wait(&self) {
        for _ in 0..TRIES {
            if process::children(self.daemon.id()).is_empty() {
                return;
            }
            std::thread::sleep(PATIENCE / 10);
        }
    }

    fn init(&self, name: &str) -> Result<(), Failure> {
        run(command("git", &self.folder).args(["init", "--quiet", "--bare", "--initial-branch=main", name])).map(drop)
    }

    /// A new repository behind the daemon.
    pub fn serve(&self, name: &str) -> Result<(), Failure> {
        self.init(&format!("served/{name}"))
    }

    /// Where clients find it, at the daemon or at what stands in front of that.
    pub fn url(&self, name: &str, at: Option<SocketAddr>) -> String {
        format!("git://{}/{name}", at.unwrap_or(self.address))
    }

    /// Takes commits into the repository that is pushed from.
    pub fn import(&mut self, stretch: &Stretch) -> Result<(), Failure> {
        let marks = self.folder.join("marks");
        let mut child = command("git", &self.folder.join("source"))
            .args(["fast-import", "--quiet", "--done"])
            .arg(format!("--export-marks={}", marks.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut input = BufWriter::new(child.stdin.take().ok_or("its input")?);
        let mut new: HashMap<&str, usize> = HashMap::new();
        for (number, (commit, brought)) in stretch.commits.iter().zip(&stretch.brought).enumerate() {
            // Under a name of its own, so that no branch of the source has to move forward.
            writeln!(input, "commit refs/made/{}\nmark :{}", commit.commit_id, number + 1)?;
            let seconds = commit.committed_at.parse::<jiff::Timestamp>()?.as_second();
            writeln!(input, "committer ada <ada@example.com> {seconds} +0000")?;
            writeln!(input, "data {}\n{}", commit.message.len(), commit.message)?;
            if let Some(parent) = commit.parent_commit_id.as_deref() {
                match (new.get(parent), self.names.get(parent)) {
                    (Some(mark), _) => writeln!(input, "from :{mark}")?,
                    (None, Some(name)) => writeln!(input, "from {name}")?,
                    (None, None) => return Err("a parent that was not imported".into()),
                }
            }
            for object in stretch.objects.get(brought.clone()).unwrap_or_default() {
                writeln!(input, "M 100644 inline {}\ndata {}", object.path, object.content.len())?;
                input.write_all(&object.content)?;
                writeln!(input)?;
            }
            new.insert(&commit.commit_id, number + 1);
        }
        writeln!(input, "done")?;
        drop(input.into_inner()?);
        if !child.wait()?.success() {
            return Err("git fast-import has failed".into());
        }
        for line in std::fs::read_to_string(&marks)?.lines() {
            let (mark, name) = line.strip_prefix(':').and_then(|line| line.split_once(' ')).ok_or("a mark")?;
            let commit = stretch.commits.get(mark.parse::<usize>()? - 1).ok_or("a commit of the stretch")?;
            self.names.insert(commit.commit_id.clone(), name.to_owned());
        }
        Ok(())
    }

    /// Packs what was imported as well as Git does by itself, and leaves only the names of these commits.
    pub fn repack(&self) -> Result<(), Failure> {
        run(command("git", &self.folder.join("source")).args(["-c", "gc.auto=0", "gc", "--quiet"])).map(drop)
    }

    /// Pushes a commit to a branch of a repository.
    pub fn push(&self, url: &str, commit: &str, branch: &str) -> Result<(), Failure> {
        let name = self.names.get(commit).ok_or("a commit that was imported")?;
        let to = format!("{name}:refs/heads/{branch}");
        run(command("git", &self.folder.join("source")).args(["push", "--quiet", url, &to])).map(drop)
    }

    /// Copies a repository that is served, so that fetches bring what is new from then on.
    pub fn follow(&self, name: &str, follower: &str) -> Result<(), Failure> {
        let served = format!("served/{name}");
        run(command("git", &self.folder).args(["clone", "--quiet", "--bare", "--no-hardlinks", &served, follower]))
            .map(drop)
    }

    /// Fetches a branch.
    pub fn fetch(&self, url: &str, follower: &str, branch: &str) -> Result<(), Failure> {
        let what = format!("+refs/heads/{branch}:refs/heads/{branch}");
        run(command("git", &self.folder.join(follower)).args(["fetch", "--quiet", url, &what])).map(drop)
    }

    /// Clones.
    pub fn clone_from(&self, url: &str) -> Result<(), Failure> {
        run(command("git", &self.folder).args(["clone", "--quiet", "--bare", url, CLONE])).map(drop)
    }

    /// Clones as a person does, with the files.
    pub fn check_out(&self, url: &str, into: &str) -> Result<(), Failure> {
        run(command("git", &self.folder).args(["clone", "--quiet", url, into])).map(drop)
    }

    /// Pushes the branch of such a clone.
    pub fn push_from(&self, cloned: &str, url: &str, branch: &str) -> Result<(), Failure> {
        run(command("git", &self.folder.join(cloned)).args(["push", "--quiet", url, branch])).map(drop)
    }

    /// Fetches into such a clone.
    pub fn fetch_into(&self, cloned: &str) -> Result<(), Failure> {
        run(command("git", &self.folder.join(cloned)).args(["fetch", "--quiet", "origin"])).map(drop)
    }

    /// Deletes a clone, if there is one.
    pub fn forget(&self, cloned: &str) -> Result<(), Failure> {
        let clone = self.folder.join(cloned);
        if clone.exists() { Ok(std::fs::remove_dir_all(clone)?) } else { Ok(()) }
    }

    /// Lists branches.
    pub fn refs(&self, url: &str) -> Result<(), Failure> {
        run(command("git", &self.folder).args(["ls-remote", "--heads", url])).map(drop)
    }

    /// Has Git do its upkeep of a repository that is served, and counts its bytes then.
    pub fn settle(&self, name: &str) -> Result<u64, Failure> {
        let served = self.folder.join("served").join(name);
        run(command("git", &served).args(["gc", "--quiet"]))?;
        bytes_of(&served.join("objects"))
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.kill().and_then(|()| self.daemon.wait()) {
            eprintln!("git daemon did not end: {error}");
        }
    }
}

/// Git in a folder, without what the machine or its user have set.
fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    // Its own upkeep runs when it is asked to, and not in the middle of a measurement.
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "gc.auto").env("GIT_CONFIG_VALUE_0", "0");
    command
}

/// Runs a command to its end. What it said, if it failed, is the error.
pub fn run(command: &mut Command) -> Result<Output, Failure> {
    let output = tokio::task::block_in_place(|| command.stdout(Stdio::piped()).stderr(Stdio::piped()).output())?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [output.stderr, output.stdout].concat();
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&said)).into())
}

fn bytes_of(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
