//! What a person waits for: whole commands in processes of their own, with all that a client does itself, beside Git's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use client::{Address, Remote};
use common::wire::names::check_branch;
use local::identity::{self, Identity};
use local::serve::FIRST_USER;
use local::transfer::clone::{Wanted, clone};
use local::transfer::fetch::fetch;
use local::transfer::folder::Folder;
use local::transfer::progress;
use local::transfer::push::push;

use super::MAIN;
use super::git::run;
use crate::Failure;

/// What the program is called with to be one of the commands.
pub const PERSON: &str = "--person";

/// Does what `musehub clone`, `push` or `fetch` does.
///
/// # Errors
/// When it is none of these, or fails.
pub async fn command(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut argument = || arguments.next().ok_or("a command, a URL and a folder");
    let (name, url, folder) = (argument()?, argument()?, PathBuf::from(argument()?));
    let Address::Url(hub, target) = url.parse()? else { return Err("the URL of a repository".into()) };
    let token = identity::token(&identity::path()?, &hub)?;
    let remote = Remote::at(hub, target, token.as_deref())?;
    let (origin, main) = (check_branch("remote", "origin")?, check_branch("branch", MAIN)?);
    let bar = progress::counting(&name);
    match name.as_str() {
        "clone" => drop(clone(&remote, &url, &folder, Wanted::default(), &bar).await?),
        "push" => drop(push(&remote, &Folder::find(&folder)?, &origin, &main, false, &bar).await?),
        "fetch" => drop(fetch(&remote, &Folder::find(&folder)?, &origin, &bar).await?),
        _ => return Err(format!("{name:?} is no command").into()),
    }
    Ok(())
}

/// One, with a home for what is cloned and for the token.
pub struct Person {
    home: PathBuf,
    /// The stock client, where it is installed.
    muse: Option<PathBuf>,
}

impl Person {
    /// One in a folder that is not there.
    pub fn new(home: &Path, hub: &str, token: &str, muse: Option<&Path>) -> Result<Self, Failure> {
        let identity =
            Identity { is_agent: false, name: "ada".to_owned(), id: FIRST_USER.to_owned(), token: token.to_owned() };
        identity::keep(&home.join(".muse/identity.toml"), &hub.parse()?, &identity)?;
        Ok(Self { home: home.to_owned(), muse: muse.map(Path::to_owned) })
    }

    /// Clones into a folder of this name, or pushes from it, or fetches into it, as `musehub` does.
    pub fn run(&self, command: &str, url: &str, folder: &str) -> Result<(), Failure> {
        run(self.in_home(&std::env::current_exe()?, "").args([PERSON, command, url, folder])).map(drop)
    }

    /// Whether there is a stock client.
    pub const fn has_muse(&self) -> bool {
        self.muse.is_some()
    }

    /// Has the stock client do something in a folder.
    pub fn muse(&self, arguments: &[&str], folder: &str) -> Result<(), Failure> {
        let muse = self.muse.as_deref().ok_or("the stock client")?;
        run(self.in_home(muse, folder).args(arguments)).map(drop)
    }

    fn in_home(&self, program: &Path, folder: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home.join(folder)).env("HOME", &self.home).stdin(Stdio::null());
        command
    }

    /// Deletes what was cloned.
    pub fn forget(&self, folder: &str) -> Result<(), Failure> {
        Ok(std::fs::remove_dir_all(self.home.join(folder))?)
    }
}
