//! The stores that a command works on by itself, without a hub in between: those that the environment names, or those
//! of a local hub that does not run.

use std::path::Path;
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use common::id::RepoId;
use service::{Hub, Target};
use store::Store;
use store::ambient::Ambient;
use store::aws::http_client;
use store::repo::Load;

use crate::backends::{self, Backends};
use crate::data::{DataFolder, new_secret};

/// How AWS is reached from the command line: as the AWS CLI would, which knows more ways than a function needs.
pub async fn aws() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).load().await
}

/// S3, reached so. Of an emulator, which an endpoint in the environment names, no bucket has a host name of its own.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let is_emulated = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| std::env::var_os(name).is_some());
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(config).force_path_style(is_emulated).build())
}

/// Why a command did not get at what it was to work on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder, or another hub on it.
    #[error(transparent)]
    Backends(#[from] backends::Error),
    /// The environment names no stores.
    #[error(
        "name the stores: the data folder of a stopped hub with --data, or those of a deployment in the environment"
    )]
    Environment(#[source] service::ConfigurationError),
    /// There is no data folder.
    #[error("there is no data folder of a hub at {0}")]
    NoFolder(String),
    /// The stores do not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no such repo.
    #[error("there is no repository {0}")]
    NoRepo(Target),
}

/// The stores, open.
pub struct OpenStores {
    /// What is in them.
    pub store: Arc<Store>,
    backends: Option<Backends>,
}

impl OpenStores {
    /// Opens the stores of a data folder, or else those that the environment names.
    ///
    /// # Errors
    /// When there is no such folder, a hub runs on it, or the environment names nothing.
    pub async fn open(data: Option<&Path>) -> Result<Self, Error> {
        let Some(data) = data else {
            let config = aws().await;
            let hub = Hub::from_environment_at(&config, &config).map_err(Error::Environment)?;
            return Ok(Self { store: hub.store, backends: None });
        };
        // A folder that is none of a hub's is not made one.
        if !DataFolder::is_at(data) {
            return Err(Error::NoFolder(data.display().to_string()));
        }
        let ambient = Ambient::system();
        let cannot_use = backends::Error::io(format!("cannot use the data folder {}", data.display()));
        let folder = DataFolder::open(data).map_err(cannot_use)?;
        let backends = Backends::start(Some(&folder), &new_secret(&ambient)).await?;
        let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), ambient);
        Ok(Self { store: Arc::new(store), backends: Some(backends) })
    }

    /// The repo of a name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn repo(&self, name: &Target) -> Result<RepoId, Error> {
        let found = self.store.find_repo(&name.owner, &name.slug, Load::NOTHING).await?;
        found.map(|repo| repo.id).ok_or_else(|| Error::NoRepo(name.clone()))
    }

    /// Closes them.
    pub async fn close(self) {
        drop(self.store);
        if let Some(backends) = self.backends {
            backends.stop().await;
        }
    }
}
