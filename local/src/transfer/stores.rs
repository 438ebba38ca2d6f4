//! The stores of a hub, opened beside it or instead of it: those of a deployment, or of a hub on this machine that is
//! stopped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::Remote;
use common::id::Ids;
use service::Hub;
use service::Settings;
use service::Target;
use service::auth::Tokens;
use service::observe::RequestLog;
use store::Store;
use store::ambient::Ambient;
use tokio::sync::OnceCell;

use crate::backends::{self, Backends, Others};
use crate::data::{DataFolder, new_secret};
use crate::{functions, transfer};

/// The variable that says that the environment names a deployment.
const TABLE_VARIABLE: &str = "MUSEHUB_TABLE";
/// The data folder of a hub on this machine, unless it is named.
pub const DEFAULT_DATA: &str = ".musehub";

/// Why the stores did not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such folder, or no hub in it.
    #[error(
        "there is no hub in {0}: name its folder with --data, or set {TABLE_VARIABLE} and {BUCKET_VARIABLE}",
        BUCKET_VARIABLE = "MUSEHUB_BUCKET"
    )]
    NoHub(PathBuf),
    /// The embedded stores did not start.
    #[error(transparent)]
    Backends(#[from] backends::Error),
    /// The environment names no deployment.
    #[error(transparent)]
    Environment(#[from] service::ConfigurationError),
    /// Never: the secret is drawn here.
    #[error(transparent)]
    Secret(#[from] service::auth::EmptySecret),
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

/// The stores, open. No token is asked for: a process that reaches the stores may do everything.
pub struct Stores {
    /// The functions over them, which take the tokens that [`Tokens`] of it make and no others.
    pub hub: Hub,
    /// The data folder, if they are in one.
    pub folder: Option<DataFolder>,
    backends: Option<Backends>,
}

impl Stores {
    /// Opens stores that are there.
    ///
    /// # Errors
    /// When they are not, or a hub is running on them.
    pub async fn open(which: &Which, ids: Ids) -> Result<Self, Error> {
        if let Which::Folder(path) = which
            && !DataFolder::is_at(path)
        {
            return Err(Error::NoHub(path.clone()));
        }
        Self::open_or_make(which, ids).await
    }

    /// Opens stores that are there, or reaches those of the hub that runs on the data folder: what only reads may go on beside it.
    ///
    /// # Errors
    /// When they are not there, or the hub is just starting or ending.
    pub async fn open_beside(which: &Which, ids: Ids) -> Result<Self, Error> {
        let busy = match (Self::open(which, ids).await, which) {
            (Err(Error::Backends(error)), Which::Folder(path)) if error.is_busy() => (error, path),
            (opened, _) => return opened,
        };
        let (error, path) = busy;
        let folder = Self::folder(path)?;
        let Some(Others { dynamodb, s3, location }) = Others::of(&folder)? else {
            return Err(error.into());
        };
        let store = Store::new(&dynamodb, &s3, location, Ambient::system());
        Ok(Self { hub: hub_over(Arc::new(store), ids)?, folder: Some(folder), backends: None })
    }

    fn folder(path: &Path) -> Result<DataFolder, Error> {
        let cannot_use = backends::Error::io(format!("cannot use the data folder {}", path.display()));
        Ok(DataFolder::open(path).map_err(cannot_use)?)
    }

    /// Opens stores, and makes the data folder if it is not there.
    ///
    /// # Errors
    /// When they cannot be made, or a hub is running on them.
    pub async fn open_or_make(which: &Which, ids: Ids) -> Result<Self, Error> {
        match which {
            Which::Environment => {
                let config = crate::stores::aws().await;
                let deployed = Hub::from_environment_at(&config, &config)?;
                Ok(Self { hub: hub_over(deployed.store, ids)?, folder: None, backends: None })
            }
            Which::Folder(path) => Self::in_folder(path, ids).await,
        }
    }

    async fn in_folder(path: &Path, ids: Ids) -> Result<Self, Error> {
        let ambient = Ambient::system();
        let folder = Self::folder(path)?;
        let backends = Backends::start(Some(&folder), &new_secret(&ambient)).await?;
        let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), ambient);
        Ok(Self { hub: hub_over(Arc::new(store), ids)?, folder: Some(folder), backends: Some(backends) })
    }

    /// Closes them.
    pub async fn close(self) {
        let Self { hub, backends, .. } = self;
        drop(hub);
        if let Some(backends) = backends {
            backends.stop().await;
        }
    }
}

/// A repo of a hub whose stores are at hand, as its owner sees it.
///
/// # Errors
/// When no user has the owner's handle.
pub async fn remote(hub: &Hub, target: Target) -> Result<Remote, transfer::Error> {
    let user = hub.store.user_of_handle(&target.owner).await?.ok_or_else(|| {
        let owner = &target.owner;
        transfer::Error::Refused(format!("there is no user '{owner}' on this hub: make one, or take another owner"))
    })?;
    Ok(Remote::at_hand(hub, functions::CALL, target, &user).await?)
}

/// The functions of a hub over its stores, for this process alone.
///
/// # Errors
/// Never: the secret is drawn here.
pub fn hub_over(store: Arc<Store>, ids: Ids) -> Result<Hub, service::auth::EmptySecret> {
    let ambient = store.ambient().clone();
    let tokens = Tokens::new(&new_secret(&ambient), ambient)?;
    let settings = Settings { ids, gives_secret: true, ..Settings::default() };
    Ok(Hub { store, tokens: Arc::new(OnceCell::new_with(Some(tokens))), settings, log: RequestLog::default() })
}
