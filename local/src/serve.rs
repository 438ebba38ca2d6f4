//! Puts a hub together on one machine.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
pub use common::id::Ids;
use common::wire::error::Cause;
pub use common::wire::limits::LAMBDA_STREAM;
pub use deliver::FIRST_PAUSE;
use deliver::sender::Sender;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use service::Hub;
use service::Settings;
use service::auth::Tokens;
use service::auth::oidc::Issuer;
pub use service::auth::oidc::{ClaimRule, IssuerSettings};
pub use service::observe::RequestLog;
pub use service::webhook_target::Reach;
pub use service::{AnonymousReads, Quotas};
use store::ambient::Ambient;
use store::table::account::Claim;
use store::table::items::Visibility;
use store::{Location, Store};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinHandle;

use crate::backends::{self, Backends, Elsewhere};
pub use crate::bodies::BODY_MEMORY;
use crate::bodies::BodyPermits;
pub use crate::compaction::MERGE_WINDOW;
pub use crate::connections::WRITE_TIMEOUT;
use crate::connections::{Connections, Paced, Peer};
use crate::data::{DataFolder, new_secret};
use crate::hosts::Hosts;
use crate::open_files::Plan;
use crate::router::Router;
use crate::{compaction, lifecycle, listing, webhooks};

/// The user that a hub on one machine begins with.
pub const FIRST_USER: &str = "user-dev";
/// The handle of that user.
pub const FIRST_HANDLE: &str = "dev";
/// How long requests under way may take when the hub is stopped.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to hold off when a connection could not be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a hub is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub storage: Storage,
    /// Whether requests go through the events and the limits of Lambda.
    pub lambda_limits: bool,
    /// Bytes of an answer that streams: [`LAMBDA_STREAM`] on Lambda, none elsewhere.
    pub most_streamed: Option<u64>,
    /// Whether ids have to be the hashes of what they name.
    pub ids: Ids,
    /// The URL that clients reach it by, if that is not the one that they ask for.
    pub public_url: Option<String>,
    /// How much repos and users may hold.
    pub quotas: Quotas,
    /// Hosts that the hub is reached at, beside its addresses and the names of this machine: without a port.
    pub hosts: Vec<String>,
    /// The secret that tokens are signed with; else the data folder's own, that of the table elsewhere, or one that is forgotten
    /// at the end.
    pub secret: Option<String>,
    /// Who signs the tokens of its users, if it is not the hub.
    pub issuer: Option<IssuerSettings>,
    /// Where a line of each request goes.
    pub log: RequestLog,
    /// How webhooks are called, if at all.
    pub webhooks: Option<Webhooks>,
    /// What is given to clients without a token.
    pub anonymous_reads: AnonymousReads,
    /// Mebibytes that the bodies of requests may have in memory together; [`BODY_MEMORY`] unless there is a reason.
    pub body_memory: usize,
    /// How long a client may be behind with reading; [`WRITE_TIMEOUT`] unless there is a reason.
    pub write_timeout: Duration,
    /// How long more may land before packs are merged; [`MERGE_WINDOW`] unless there is a reason.
    pub merge_window: Duration,
}

/// How webhooks are called.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks {
    /// What they may lead to.
    pub reach: Reach,
    /// The pause after a delivery has failed once; each further one is three times as long, to four hours.
    pub first_pause: Duration,
}

/// Where everything is kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In memory, and gone at the end.
    Memory,
    /// In a data folder. What was acknowledged survives the death of the process.
    Directory(PathBuf),
    /// In stores that run by themselves.
    Elsewhere(Box<Elsewhere>),
}

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The stores did not start.
    #[error(transparent)]
    Backends(#[from] backends::BackendsError),
    /// The token secret is none.
    #[error(transparent)]
    Secret(#[from] service::auth::BadSecret),
    /// The token secret that the table keeps could not be read or drawn.
    #[error("the token secret in the table cannot be read")]
    TableSecret(#[source] store::StoreError),
    /// The first user could not be made.
    #[error("cannot make the user {FIRST_USER}")]
    FirstUser(#[source] store::StoreError),
    /// The handle of the first user belongs to another.
    #[error("the handle {FIRST_HANDLE} is not the user {FIRST_USER}'s in these stores")]
    FirstHandle,
    /// The routes contradict each other.
    #[error("the routes contradict each other")]
    Routes(#[from] matchit::InsertError),
}

/// A hub that runs.
pub struct Running {
    url: String,
    secret: String,
    tokens: Tokens,
    hub: Hub,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    compaction: JoinHandle<()>,
    listing: JoinHandle<()>,
    webhooks: Option<JoinHandle<()>>,
    backends: Backends,
}

/// Starts a hub where a push to a new name of one's own makes a public repo.
///
/// # Errors
/// When its address is taken, its data folder cannot be used, or its secret is too short.
pub async fn start(options: Options) -> Result<Running, ServeError> {
    start_creating(options, Some(Visibility::Public)).await
}

/// Starts a hub where such a push makes a repo that this may be known to, or none.
///
/// # Errors
/// As [`start`].
pub async fn start_creating(options: Options, push_to_create: Option<Visibility>) -> Result<Running, ServeError> {
    let io = backends::BackendsError::io;
    let ambient = Ambient::system();
    // Before anything is made: most often it is the address that is taken.
    let listener =
        TcpListener::bind(options.listen).await.map_err(io(format!("cannot listen on {}", options.listen)))?;
    let address = listener.local_addr().map_err(io("the listener has no address".to_owned()))?;
    let plan = Plan::make();
    let keys = || new_secret(&ambient);
    let (secret, backends, has_first_user) = match (options.storage, options.secret) {
        (Storage::Memory, secret) => {
            (Some(secret.unwrap_or_else(keys)), Backends::start_within(plan, None, &keys()).await?, true)
        }
        (Storage::Directory(path), secret) => {
            let folder = open(&path)?;
            let secret = match secret {
                Some(secret) => secret,
                None => folder.secret(&ambient).map_err(io("cannot keep a secret".to_owned()))?,
            };
            (Some(secret), Backends::start_within(plan, Some(&folder), &keys()).await?, true)
        }
        // Stores that were there have their users.
        (Storage::Elsewhere(elsewhere), secret) => {
            let makes = elsewhere.makes;
            (secret, Backends::elsewhere(plan, *elsewhere).await?, makes)
        }
    };
    let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), ambient.clone());
    let store = Arc::new(store.counting_usage(options.quotas.user_bytes.is_some()));
    let gives_secret = secret.is_some();
    let secret = match secret {
        Some(secret) => secret,
        None => store.draw_token_secret().await.map_err(ServeError::TableSecret)?,
    };
    let tokens = Tokens::new(&secret, ambient.clone())?.for_audience(options.public_url.as_deref());
    if has_first_user {
        make_first_user(&store).await?;
    }
    let storage = lifecycle::Storage::of(&backends);
    let (stop, stopped) = watch::channel(false);
    let compaction = tokio::spawn(compaction::run(Arc::clone(&store), options.merge_window, stopped.clone()));
    let listing = tokio::spawn(listing::run(Arc::clone(&store), store.published(), stopped.clone()));
    let webhooks = options.webhooks.and_then(|webhooks| deliver(webhooks, &store, &stopped));

    let hub = Hub {
        store,
        tokens: Arc::new(OnceCell::new_with(Some(tokens.clone()))),
        issuer: options.issuer.map(|issuer| Arc::new(Issuer::new(issuer, ambient.clone()))),
        settings: Settings {
            push_to_create,
            public_url: options.public_url,
            ids: options.ids,
            gives_secret,
            serves_s3: backends.door().is_some(),
            storage_url: None,
            is_own_door: true,
            anonymous_reads: options.anonymous_reads,
            most_streamed: options.most_streamed,
            webhooks_reach: options.webhooks.map(|webhooks| webhooks.reach).unwrap_or_default(),
            quotas: options.quotas,
            answer_within: None,
        },
        log: options.log,
    };
    let router = Arc::new(Router::new(
        hub.clone(),
        options.lambda_limits,
        BodyPermits::new(options.body_memory),
        Hosts::new(&options.hosts),
        backends.door().cloned(),
    )?);
    tokio::spawn(lifecycle::run(storage, ambient, stopped.clone()));
    let answer = move |request| {
        let router = Arc::clone(&router);
        async move { router.answer(request).await }
    };
    let task =
        tokio::spawn(accept(listener, Connections::new(plan.connections), options.write_timeout, answer, stopped));
    Ok(Running {
        url: format!("http://{address}"),
        secret,
        tokens,
        hub,
        stop,
        task,
        compaction,
        listing,
        webhooks,
        backends,
    })
}

/// Begins to deliver to webhooks what happens from now on, and what was not delivered yet.
fn deliver(webhooks: Webhooks, store: &Arc<Store>, stopped: &watch::Receiver<bool>) -> Option<JoinHandle<()>> {
    let sender = match Sender::new(webhooks.reach) {
        Ok(sender) => sender,
        Err(error) => {
            // The rest of the hub needs no certificates, and what happens waits in the table.
            tracing::error!(%error, "nothing is delivered to webhooks, for want of certificates to check theirs with");
            return None;
        }
    };
    // From before the first request on.
    let published = store.published();
    let run = webhooks::run(Arc::clone(store), sender, webhooks.first_pause, published, stopped.clone());
    Some(tokio::spawn(run))
}

/// Just the stores of a hub, whose functions run by themselves.
pub struct Stores {
    backends: Backends,
    secret: String,
    keys: String,
    stop: watch::Sender<bool>,
}

/// Starts the stores in a data folder.
///
/// # Errors
/// When the data folder cannot be used, or its secret is none.
pub async fn start_stores(data: &Path, secret: Option<String>) -> Result<Stores, ServeError> {
    let ambient = Ambient::system();
    let folder = open(data)?;
    let secret = match secret {
        Some(secret) => secret,
        None => folder.secret(&ambient).map_err(backends::BackendsError::io("cannot keep a secret".to_owned()))?,
    };
    let keys = new_secret(&ambient);
    let backends = Backends::start(Some(&folder), &keys).await?;
    let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), ambient.clone());
    make_first_user(&store).await?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(lifecycle::run(lifecycle::Storage::of(&backends), ambient, stopped));
    Ok(Stores { backends, secret, keys, stop })
}

impl Stores {
    /// The environment that leads functions here, one `NAME=value` a line.
    pub fn environment(&self) -> String {
        let Location { table, bucket } = &self.backends.location;
        let endpoint = |config: &SdkConfig| config.endpoint_url().unwrap_or_default().to_owned();
        let region = self.backends.s3.region().map(ToString::to_string).unwrap_or_default();
        [
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint(&self.backends.dynamodb)),
            ("AWS_ENDPOINT_URL_S3", endpoint(&self.backends.s3)),
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", backends::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.keys.clone()),
            ("MUSEHUB_TABLE", table.clone()),
            ("MUSEHUB_BUCKET", bucket.clone()),
            ("MUSEHUB_PUSH_TO_CREATE", Visibility::Public.as_str().to_owned()),
            ("ACCESS_TOKEN_SECRET", self.secret.clone()),
        ]
        .map(|(name, value)| format!("{name}={value}\n"))
        .concat()
    }

    /// Ends the stores when the calls under way are answered.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.backends.stop().await;
    }
}

fn open(path: &Path) -> Result<DataFolder, ServeError> {
    let failed = backends::BackendsError::io(format!("cannot use the data folder {}", path.display()));
    Ok(DataFolder::open(path).map_err(failed)?)
}

impl Running {
    /// Where the hub is reached, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The secret that its tokens are signed with.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Its functions and its stores.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// How its stores are reached.
    pub const fn backends(&self) -> &Backends {
        &self.backends
    }

    /// What makes tokens for it.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Ends the hub when the requests under way are answered, or after ten seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Only a panic fails these tasks, and it has been reported.
        let _ = self.task.await;
        let _ = self.compaction.await;
        let _ = self.listing.await;
        if let Some(webhooks) = self.webhooks {
            let _ = webhooks.await;
        }
        drop(self.hub);
        self.backends.stop().await;
    }
}

async fn make_first_user(store: &Store) -> Result<(), ServeError> {
    let handle = FIRST_HANDLE.parse().map_err(|_| ServeError::FirstHandle)?;
    match store.claim_handle(FIRST_USER, &handle, "").await.map_err(ServeError::FirstUser)? {
        Claim::Held => Ok(()),
        Claim::Taken | Claim::HasAnother(_) => Err(ServeError::FirstHandle),
    }
}

/// Answers the requests of every connection, until it is stopped and those under way are answered. A request that has
/// begun is worked to its end though its client hangs up, as on Lambda: what comes after a commit is done with it.
///
/// A request knows its [`Peer`].
pub(crate) async fn accept<A, F, B>(
    listener: TcpListener,
    places: Connections,
    write_timeout: Duration,
    answer: A,
    mut stopped: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Cause>> + Send + 'static,
{
    let connections = GracefulShutdown::new();
    // Each request under way has one of these; nothing is sent.
    let (under_way, mut all_done) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, from)) => match stream.local_addr() {
                Ok(to) => (stream, Peer { from: from.ip(), to: to.ip() }),
                // It is gone already.
                Err(_) => continue,
            },
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.from) else {
            tracing::debug!(from = %peer.from, "a connection was refused: there are too many");
            places.refuse(stream);
            continue;
        };
        // The small pieces of a streamed answer are not to wait for each other.
        let _ = stream.set_nodelay(true);
        let (answer, under_way) = (answer.clone(), under_way.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let (answering, under_way) = (answer(request), under_way.clone());
            // A panic there is an error here, which ends the connection.
            tokio::spawn(async move {
                let _under_way = under_way;
                answering.await
            })
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(Paced::new(stream, write_timeout)), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop((listener, under_way));
    let end = async {
        connections.shutdown().await;
        all_done.recv().await;
    };
    if tokio::time::timeout(GRACE, end).await.is_err() {
        tracing::warn!("requests were cut off at the end");
    }
}
