//! `~/.muse/identity.toml`, in which the stock client keeps a token for each hub, by the host that it is reached at:
//!
//! ```toml
//! ["hub.example.com"]
//! type = "human"
//! name = "ada"
//! id = "user-ada"
//! token = "eyJ0eXAi..."
//! ```

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use client::HubUrl;
use tempfile::NamedTempFile;
use toml_edit::{DocumentMut, Item, Table, value};

/// Who a token is of, for the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whether it is an agent's.
    pub is_agent: bool,
    /// What they are called.
    pub name: String,
    /// The user's id.
    pub id: String,
    /// The token.
    pub token: String,
}

/// Why the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no home directory to keep it in.
    #[error("there is no home directory: set HOME")]
    NoHome,
    /// It cannot be read or written.
    #[error("cannot read or write {0}")]
    File(PathBuf, #[source] io::Error),
    /// It is not what it should be, and is left as it is.
    #[error("{0} is no TOML as the client writes it, and is left as it is")]
    Malformed(PathBuf),
    /// It leads elsewhere: what stands there would be overwritten.
    #[error("{0} is a symbolic link, and is left as it is: the client takes none")]
    Link(PathBuf),
}

/// The file of this user.
///
/// # Errors
/// When there is no home directory.
pub fn path() -> Result<PathBuf, IdentityError> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).ok_or(IdentityError::NoHome)?;
    Ok(home.join(".muse").join("identity.toml"))
}

/// The token for a hub, if the file has one.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn token(path: &Path, hub: &HubUrl) -> Result<Option<String>, IdentityError> {
    let document = read(path)?;
    let token = document.get(&host(hub)).and_then(|entry| entry.get("token")).and_then(Item::as_str);
    Ok(token.map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned))
}

/// The token for a hub: in this file, else in this variable, else where the client keeps it.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn given_or_kept(hub: &HubUrl, variable: &str, file: Option<&Path>) -> Result<Option<String>, IdentityError> {
    let given = match file {
        Some(file) => Some(fs::read_to_string(file).map_err(|error| IdentityError::File(file.to_owned(), error))?),
        None => std::env::var(variable).ok(),
    };
    let given = given.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    match (given, path()) {
        (None, Ok(path)) => token(&path, hub),
        // Where there is no home, the client keeps nothing.
        (given, _) => Ok(given),
    }
}

/// Keeps a token for a hub, in the place of any other. The rest of the file stays as it is, and no other user may read it.
///
/// # Errors
/// When the file cannot be read or written.
pub fn keep(path: &Path, hub: &HubUrl, identity: &Identity) -> Result<(), IdentityError> {
    let mut document = read(path)?;
    let mut entry = Table::new();
    entry.insert("type", value(if identity.is_agent { "agent" } else { "human" }));
    entry.insert("name", value(&identity.name));
    entry.insert("id", value(&identity.id));
    entry.insert("token", value(&identity.token));
    document.insert(&host(hub), Item::Table(entry));
    write(path, &document.to_string()).map_err(|error| IdentityError::File(path.to_owned(), error))
}

fn read(path: &Path) -> Result<DocumentMut, IdentityError> {
    if path.is_symlink() {
        return Err(IdentityError::Link(path.to_owned()));
    }
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map_err(|_| IdentityError::Malformed(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DocumentMut::new()),
        Err(error) => Err(IdentityError::File(path.to_owned(), error)),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A temporary file is for its owner alone from its first byte on.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What the client calls a hub: its host, with its port if it is said.
fn host(hub: &HubUrl) -> String {
    let url = hub.to_string();
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn identity(token: &str) -> Identity {
        Identity { is_agent: false, name: "ada".to_owned(), id: "user-ada".to_owned(), token: token.to_owned() }
    }

    #[test]
    fn what_is_kept_is_found_by_its_host_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".muse").join("identity.toml");
        let hub = |url: &str| url.parse::<HubUrl>().unwrap();
        let here = hub("https://hub.example.com/base");
        assert_eq!(token(&path, &here).unwrap(), None);
        keep(&path, &here, &identity("one")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("\n# by hand\n[\"other.example.com\"]\ntoken = \" two \"\ncapabilities = [\"commit\"]\n");
        fs::write(&path, &text).unwrap();
        keep(&path, &hub("http://127.0.0.1:8787"), &identity("a \"quoted\" \\ one")).unwrap();
        keep(&path, &here, &identity("three")).unwrap();
        assert_eq!(token(&path, &hub("http://hub.example.com")).unwrap().as_deref(), Some("three"));
        assert_eq!(token(&path, &hub("https://other.example.com")).unwrap().as_deref(), Some("two"));
        assert_eq!(token(&path, &hub("http://127.0.0.1:8787/x")).unwrap().as_deref(), Some("a \"quoted\" \\ one"));
        assert_eq!(token(&path, &hub("http://127.0.0.1:8788")).unwrap(), None);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("# by hand") && text.contains("[\"127.0.0.1:8787\"]"), "{text}");
    }

    #[test]
    fn a_file_that_is_not_the_clients_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let hub = "https://hub.example.com".parse().unwrap();
        let path = folder.path().join("identity.toml");
        fs::write(&path, "no toml").unwrap();
        assert!(matches!(keep(&path, &hub, &identity("one")), Err(IdentityError::Malformed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "no toml");
        let link = folder.path().join("link.toml");
        symlink(&path, &link).unwrap();
        assert!(matches!(keep(&link, &hub, &identity("one")), Err(IdentityError::Link(_))));
    }
}
