//! The stores that a hub in one process works on: a DynamoDB and an S3 that are embedded, on loopback, or others elsewhere.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::{fs, io};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use dynoxide::Database;
use serde::{Deserialize, Serialize};
use store::Location;
use store::ambient::Ambient;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::data::DataFolder;
use crate::location::{self, LocationError};
use crate::open_files::Plan;
use crate::s3::{EmbeddedS3, StorageDoor};
use crate::store_calls;

const TABLE: &str = "musehub";
const BUCKET: &str = "musehub";
const REGION: &str = "us-east-1";
/// The access key of the embedded S3.
pub const ACCESS_KEY: &str = "musehub";

/// Why the stores did not start.
#[derive(Debug, thiserror::Error)]
pub enum BackendsError {
    /// The file system or the network refused.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What was answered.
        #[source]
        cause: io::Error,
    },
    /// The embedded DynamoDB refused.
    #[error("the embedded DynamoDB: {0}")]
    DynamoDb(String),
    /// There is no table or no bucket to work on.
    #[error(transparent)]
    Location(#[from] LocationError),
}

impl BackendsError {
    /// Whether another process runs on the data folder.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::ResourceBusy)
    }

    /// An error of the file system or the network, with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }
}

/// How the stores of a process are reached. A reader of the folder may do everything.
#[derive(Serialize, Deserialize)]
struct Reached {
    dynamodb: String,
    s3: String,
    secret_key: String,
}

/// The file in a data folder that says how the stores of the process are reached which runs on it. It goes with this value.
struct Notice(PathBuf);

impl Notice {
    fn removed_from(folder: &DataFolder) -> Result<Self, BackendsError> {
        let path = folder.running();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BackendsError::io(format!("cannot delete {}", path.display()))(error))
            }
            _ => Ok(Self(path)),
        }
    }

    fn write(&self, reached: &Reached) -> Result<(), BackendsError> {
        let write = || {
            let folder = self.0.parent().unwrap_or(&self.0);
            // Only its owner may read it, and it has its name only when it is whole.
            let mut file = NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, reached)?;
            file.persist(&self.0).map_err(|error| error.error)
        };
        write().map(drop).map_err(BackendsError::io(format!("cannot write {}", self.0.display())))
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        // What is left there is deleted by the next process.
        let _ = fs::remove_file(&self.0);
    }
}

/// The stores of another process, which runs on the same data folder.
pub struct Others {
    /// How to reach its DynamoDB.
    pub dynamodb: SdkConfig,
    /// How to reach its S3.
    pub s3: SdkConfig,
    /// The table and the bucket in them.
    pub location: Location,
}

impl Others {
    fn at(reached: &Reached) -> Self {
        Self {
            dynamodb: config(reached.dynamodb.clone(), &reached.secret_key),
            s3: config(reached.s3.clone(), &reached.secret_key),
            location: Location { table: TABLE.to_owned(), bucket: BUCKET.to_owned() },
        }
    }

    /// Those of the process that runs on a folder; none while it is starting or ending.
    ///
    /// # Errors
    /// When what it says of them cannot be read.
    pub fn of(folder: &DataFolder) -> Result<Option<Self>, BackendsError> {
        let path = folder.running();
        let failed = BackendsError::io(format!("cannot read {}", path.display()));
        match fs::read(&path) {
            Ok(text) => {
                let reached = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
                Ok(Some(Self::at(&reached)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Stores that run by themselves: those of a deployment, of an emulator of AWS, or others that speak as they do.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// How to reach its DynamoDB.
    pub dynamodb: SdkConfig,
    /// How to reach its S3. Clients reach it at the same URL.
    pub s3: SdkConfig,
    /// The table and the bucket in them.
    pub location: Location,
    /// Whether the table and the bucket are made if they are not there.
    pub makes: bool,
}

/// The two stores, at hand.
pub struct Backends {
    /// How to reach the DynamoDB.
    pub dynamodb: SdkConfig,
    /// How to reach the S3.
    pub s3: SdkConfig,
    /// The table and the bucket in them.
    pub location: Location,
    embedded: Option<Embedded>,
}

/// What runs in this process of the two.
struct Embedded {
    door: StorageDoor,
    notice: Option<Notice>,
    stop: watch::Sender<bool>,
    dynamodb_task: JoinHandle<Result<(), String>>,
    s3_task: JoinHandle<io::Result<()>>,
}

impl Backends {
    /// Starts the stores: in a data folder, or else in memory. `secret_key` keeps other processes of the machine out of
    /// the S3. Nothing keeps them out of the DynamoDB, which checks no signatures, except that they do not know its
    /// port.
    ///
    /// # Errors
    /// When a store cannot be opened, or another process has it.
    pub async fn start(data: Option<&DataFolder>, secret_key: &str) -> Result<Self, BackendsError> {
        Self::start_within(Plan::make(), data, secret_key).await
    }

    /// Starts the stores in memory, with this for the S3.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_over(s3: EmbeddedS3, secret_key: &str) -> Result<Self, BackendsError> {
        Self::start_with(Plan::make(), s3, None, secret_key).await
    }

    /// The same, in a process that uses its open files as planned.
    pub(crate) async fn start_within(
        plan: Plan,
        data: Option<&DataFolder>,
        secret_key: &str,
    ) -> Result<Self, BackendsError> {
        // First the S3, which holds a lock: of two processes on one folder, the second must not get further.
        let s3 = match data {
            None => EmbeddedS3::memory(Ambient::system()),
            Some(folder) => EmbeddedS3::open(&folder.s3()).map_err(|cause| {
                let what = match cause.kind() {
                    io::ErrorKind::ResourceBusy => {
                        format!("another hub is running on the data folder {}", folder.path().display())
                    }
                    _ => format!("cannot open {}", folder.s3().display()),
                };
                BackendsError::Io { what, cause }
            })?,
        };
        Self::start_with(plan, s3, data, secret_key).await
    }

    async fn start_with(
        plan: Plan,
        s3: EmbeddedS3,
        data: Option<&DataFolder>,
        secret_key: &str,
    ) -> Result<Self, BackendsError> {
        // What an earlier process has left there leads nowhere any more.
        let notice = data.map(Notice::removed_from).transpose()?;
        let database = match data {
            None => Database::memory(),
            Some(folder) => Database::new(&folder.dynamodb().to_string_lossy()),
        };
        let database = database.map_err(|error| BackendsError::DynamoDb(error.to_string()))?;

        let (stop, stopped) = watch::channel(false);
        let (dynamodb_listener, dynamodb_url) = listen().await?;
        let (s3_listener, s3_url) = listen().await?;
        let wait = |mut stopped: watch::Receiver<bool>| async move {
            // An error means that the sender is gone, which is a reason to stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let dynamodb_task =
            tokio::spawn(dynoxide::server::serve_with_shutdown(dynamodb_listener, database, wait(stopped.clone())));
        let keys = (ACCESS_KEY.to_owned(), secret_key.to_owned());
        let door = s3.door(BUCKET, keys.clone(), plan.transfers);
        let s3_task = tokio::spawn(s3.serve(s3_listener, keys, wait(stopped)));

        let reached = Reached { dynamodb: dynamodb_url, s3: s3_url, secret_key: secret_key.to_owned() };
        let Others { dynamodb, s3, location } = Others::at(&reached);
        let client = store_calls::client(plan.calls);
        let [dynamodb, s3] = [dynamodb, s3].map(|config| config.into_builder().http_client(client.clone()).build());
        location::make_table(&dynamodb, &location.table).await?;
        location::make_bucket(&s3, &location.bucket).await?;
        if let Some(notice) = &notice {
            notice.write(&reached)?;
        }
        let embedded = Some(Embedded { door, notice, stop, dynamodb_task, s3_task });
        Ok(Self { dynamodb, s3, location, embedded })
    }

    /// Stores that run by themselves, once it is known that they are as a hub needs them.
    pub(crate) async fn elsewhere(plan: Plan, elsewhere: Elsewhere) -> Result<Self, BackendsError> {
        let Elsewhere { dynamodb, s3, location, makes } = elsewhere;
        let client = store_calls::client(plan.calls);
        let [dynamodb, s3] = [dynamodb, s3].map(|config| config.into_builder().http_client(client.clone()).build());
        if makes {
            location::make(&dynamodb, &s3, &location).await?;
        } else {
            location::check(&dynamodb, &s3, &location).await?;
        }
        Ok(Self { dynamodb, s3, location, embedded: None })
    }

    /// How clients reach the S3, if it is embedded.
    pub fn door(&self) -> Option<&StorageDoor> {
        self.embedded.as_ref().map(|embedded| &embedded.door)
    }

    /// Ends what runs in this process, when the calls under way are answered.
    pub async fn stop(self) {
        let Some(embedded) = self.embedded else { return };
        drop(embedded.notice);
        embedded.stop.send_replace(true);
        // The clients keep connections open; without them the servers have nothing to wait for.
        drop((self.dynamodb, self.s3));
        if let Ok(Err(error)) = embedded.s3_task.await {
            tracing::warn!(%error, "the embedded S3 did not end cleanly");
        }
        if let Ok(Err(error)) = embedded.dynamodb_task.await {
            tracing::warn!(%error, "the embedded DynamoDB did not end cleanly");
        }
    }
}

async fn listen() -> Result<(TcpListener, String), BackendsError> {
    let failed = || BackendsError::io("cannot listen on loopback");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    Ok((listener, format!("http://{address}")))
}

/// Made by hand, so that nothing of the user's own AWS configuration gets in.
fn config(endpoint: String, secret_key: &str) -> SdkConfig {
    let credentials = Credentials::from_keys(ACCESS_KEY, secret_key, None);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(store::aws::http_client())
        .build()
}
