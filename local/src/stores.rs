//! The stores of a hub, opened by a command beside the hub or instead of it: those of a deployment, or of a hub on this machine
//! that is stopped. A process that reaches the stores may do everything: no token is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use common::id::RepoId;
use service::{Hub, Target, required};
use store::ambient::Ambient;
use store::aws::http_client;
use store::repo::Load;
use store::{Location, Store};

use crate::backends::{Backends, BackendsError, Elsewhere, Others};
use crate::data::{DataFolder, new_secret};

/// The variable that says that the environment names a deployment.
const TABLE_VARIABLE: &str = "MUSEHUB_TABLE";
/// The data folder of a hub on this machine, unless it is named.
pub const DEFAULT_DATA: &str = ".musehub";

/// How AWS is reached from the command line: as the AWS CLI would, which knows more ways than a function needs.
pub async fn aws() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).load().await
}

/// The stores that the environment names, for a hub in this process.
///
/// # Errors
/// When `MUSEHUB_TABLE` or `MUSEHUB_BUCKET` is not set.
pub async fn elsewhere(makes: bool) -> Result<Elsewhere, service::ConfigurationError> {
    let location = Location { table: required(TABLE_VARIABLE)?, bucket: required("MUSEHUB_BUCKET")? };
    let config = aws().await;
    Ok(Elsewhere { dynamodb: config.clone(), s3: config, location, makes })
}

/// S3, reached so.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(store::aws::s3_config(config).build())
}

/// Why a command did not get at what it was to work on.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// There is no such folder, or no hub in it.
    #[error(
        "there is no hub in {0}: name the data folder of a stopped hub with --data, or set {TABLE_VARIABLE} and MUSEHUB_BUCKET for a deployment"
    )]
    NoHub(PathBuf),
    /// The embedded stores did not start, or another hub runs on the folder.
    #[error(transparent)]
    Backends(#[from] BackendsError),
    /// The environment names no deployment.
    #[error(transparent)]
    Environment(#[from] service::ConfigurationError),
    /// The stores do not answer.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// There is no such repo.
    #[error("there is no repository {0}")]
    NoRepo(Target),
}

/// Which stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those that the environment names, as it does for a function.
    Environment,
    /// Those in a data folder.
    Folder(PathBuf),
}

impl Which {
    /// The folder that is named, else what the environment names, else the folder in which `musehub serve` keeps its data.
    pub fn choose(folder: Option<PathBuf>) -> Self {
        match folder {
            Some(folder) => Self::Folder(folder),
            None if std::env::var_os(TABLE_VARIABLE).is_some_and(|table| !table.is_empty()) => Self::Environment,
            None => Self::Folder(DEFAULT_DATA.into()),
        }
    }
}

/// The stores, open.
pub struct Stores {
    /// What is in them.
    pub store: Arc<Store>,
    /// The data folder, if they are in one.
    pub folder: Option<DataFolder>,
    backends: Option<Backends>,
}

impl Stores {
    /// Opens stores that are there.
    ///
    /// # Errors
    /// When they are not, or a hub is running on them.
    pub async fn open(which: &Which) -> Result<Self, StoresError> {
        // A folder that is none of a hub's is not made one.
        if let Which::Folder(path) = which
            && !DataFolder::is_at(path)
        {
            return Err(StoresError::NoHub(path.clone()));
        }
        Self::open_or_make(which).await
    }

    /// Opens stores that are there, or reaches those of the hub that runs on the data folder: what only reads may go on beside it.
    ///
    /// # Errors
    /// When they are not there, or the hub is just starting or ending.
    pub async fn open_beside(which: &Which) -> Result<Self, StoresError> {
        let busy = match (Self::open(which).await, which) {
            (Err(StoresError::Backends(error)), Which::Folder(path)) if error.is_busy() => (error, path),
            (opened, _) => return opened,
        };
        let (error, path) = busy;
        let folder = open_folder(path)?;
        let Some(Others { dynamodb, s3, location }) = Others::of(&folder)? else {
            return Err(error.into());
        };
        let store = Store::new(&dynamodb, &s3, location, Ambient::system());
        Ok(Self { store: Arc::new(store), folder: Some(folder), backends: None })
    }

    /// Opens stores, and makes the data folder if it is not there.
    ///
    /// # Errors
    /// When they cannot be made, or a hub is running on them.
    pub async fn open_or_make(which: &Which) -> Result<Self, StoresError> {
        let path = match which {
            Which::Environment => {
                let config = aws().await;
                let deployed = Hub::from_environment_at(&config, &config)?;
                return Ok(Self { store: deployed.store, folder: None, backends: None });
            }
            Which::Folder(path) => path,
        };
        let ambient = Ambient::system();
        let folder = open_folder(path)?;
        let backends = Backends::start(Some(&folder), &new_secret(&ambient)).await?;
        let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), ambient);
        Ok(Self { store: Arc::new(store), folder: Some(folder), backends: Some(backends) })
    }

    /// The repo of a name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn repo(&self, name: &Target) -> Result<RepoId, StoresError> {
        let found = self.store.find_repo(&name.owner, &name.slug, Load::NOTHING).await?;
        found.map(|repo| repo.id).ok_or_else(|| StoresError::NoRepo(name.clone()))
    }

    /// Does some work with them, and closes them then, however it ends.
    pub async fn while_open<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> T {
        let done = work(&self).await;
        self.close().await;
        done
    }

    /// Closes them.
    pub async fn close(self) {
        let Self { store, backends, .. } = self;
        drop(store);
        if let Some(backends) = backends {
            backends.stop().await;
        }
    }
}

fn open_folder(path: &Path) -> Result<DataFolder, BackendsError> {
    let cannot_use = BackendsError::io(format!("cannot use the data folder {}", path.display()));
    DataFolder::open(path).map_err(cannot_use)
}
