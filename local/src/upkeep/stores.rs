//! The stores that a command works on: those of a stopped hub's data folder, or those that the environment names.

use std::path::Path;
use std::sync::Arc;

use common::Hub;
use common::ambient::Ambient;
use common::store::Store;

use crate::backends::{self, Backends};
use crate::data::{DataFolder, new_secret};

/// Why there are no stores.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be used; most often a hub runs on it.
    #[error(transparent)]
    Backends(#[from] backends::Error),
    /// There is no such folder, or it is none of a hub's.
    #[error("{0} is not the data folder of a hub")]
    NoFolder(String),
    /// The environment names no stores.
    #[error("name the stores: a stopped hub's folder with --data, or those of a deployment in the environment")]
    Environment(#[source] common::service::ConfigurationError),
}

/// Stores that are open.
pub struct Opened {
    /// What is in them.
    pub store: Arc<Store>,
    backends: Option<Backends>,
}

/// Opens the stores of a stopped hub, or those that the environment names as it does to a function.
///
/// # Errors
/// When there are none, or a hub is running on the folder.
pub async fn open(data: Option<&Path>) -> Result<Opened, Error> {
    let Some(path) = data else {
        let hub = Hub::from_environment().await.map_err(Error::Environment)?;
        return Ok(Opened { store: hub.store, backends: None });
    };
    // A folder that is none is not made one.
    if !path.join("dynamodb.sqlite").is_file() {
        return Err(Error::NoFolder(path.display().to_string()));
    }
    let ambient = Ambient::system();
    let cannot_use = backends::Error::io(format!("cannot use the data folder {}", path.display()));
    let folder = DataFolder::open(path).map_err(cannot_use)?;
    let backends = Backends::start(Some(&folder), &new_secret(&ambient)).await?;
    let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), ambient);
    Ok(Opened { store: Arc::new(store), backends: Some(backends) })
}

impl Opened {
    /// Closes them when the calls under way are answered.
    pub async fn close(self) {
        drop(self.store);
        if let Some(backends) = self.backends {
            backends.stop().await;
        }
    }
}
