//! The data folder of a hub on one machine, and the token secret in it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use store::ambient::Ambient;
use tempfile::NamedTempFile;

/// The secret that tokens are signed with, where the operator gives it. It goes before the one in the data folder.
pub const SECRET_VARIABLE: &str = "ACCESS_TOKEN_SECRET";

/// The file that the table is in.
const TABLE: &str = "dynamodb.sqlite";

/// A folder that holds everything a hub has: `dynamodb.sqlite`, `s3/` and `secret`, and
/// `running` as long as a process runs on it. Only its owner may look into it.
#[derive(Debug, Clone)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// Whether there is one at this path.
    pub fn is_at(path: &Path) -> bool {
        path.join(TABLE).is_file()
    }

    /// Opens a data folder, made if it is not there.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self(path.canonicalize()?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database of the embedded DynamoDB.
    pub fn dynamodb(&self) -> PathBuf {
        self.0.join(TABLE)
    }

    /// The folder of the embedded S3.
    pub fn s3(&self) -> PathBuf {
        self.0.join("s3")
    }

    /// How the stores are reached of the process that runs on the folder.
    pub fn running(&self) -> PathBuf {
        self.0.join("running")
    }

    /// The secret of this hub, drawn when it is asked for the first time.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn secret(&self, ambient: &Ambient) -> io::Result<String> {
        let path = self.0.join("secret");
        if !path.exists() {
            // Under its name only once it is whole, and only if no other process was faster.
            let mut file = NamedTempFile::new_in(&self.0)?;
            file.write_all(new_secret(ambient).as_bytes())?;
            file.as_file().sync_all()?;
            match file.persist_noclobber(&path) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
                _ => {}
            }
        }
        Ok(fs::read_to_string(&path)?.trim().to_owned())
    }
}

impl DataFolder {
    /// The secret of this hub, if one was drawn.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn kept_secret(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.0.join("secret")) {
            Ok(secret) => Ok(Some(secret.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives this hub a secret, in the place of any other.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn keep_secret(&self, secret: &str) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.0)?;
        file.write_all(secret.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.0.join("secret")).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The secret that the operator gives, if any.
pub fn given_secret() -> Option<String> {
    std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty())
}

/// A random secret: 64 hex digits.
pub fn new_secret(ambient: &Ambient) -> String {
    hex::encode(ambient.secret())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_secret_is_kept_and_no_other_user_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("hub");
        let secret = DataFolder::open(&path).unwrap().secret(&Ambient::system()).unwrap();
        assert_eq!(DataFolder::open(&path).unwrap().secret(&Ambient::system()).unwrap(), secret);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("secret"))), (0o700, 0o600));
        assert!(secret.len() >= service::auth::GOOD_SECRET_LENGTH);
    }
}
