//! A proxy for clients that know nothing of Lambda's 6 MB: it listens on loopback and passes every request on to a hub.
//!
//! A request that is too big for Lambda's front doors goes *by reference*: the hub gives a presigned URL of its storage,
//! the proxy puts the body there, and repeats the request with an empty body and the name of the upload. A body is
//! always received whole before anything of it is sent on, so a client that breaks off leaves no trace at the hub.
//!
//! - `forward` is a request's way to the hub, and the answer's way back.
//! - `parts` makes several pushes of one that has more bytes than a request may have.
//! - `body` receives bodies, the large ones into temporary files. The crate `client` calls the hub.
//! - `refusal` is what the proxy answers by itself. `progress` is what it says on the terminal.

mod body;
mod forward;
mod parts;
mod progress;
mod refusal;
mod target;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::connections::{Connections, WRITE_TIMEOUT};
use crate::open_files::Plan;
use crate::serve::accept;
use client::HubUrl;
use common::wire::limits::MAX_REFERENCED_BODY;
use forward::Forwarder;

/// How long large requests may take, whose clients have left, when the proxy is stopped.
const GRACE: Duration = Duration::from_secs(10);

/// How a proxy is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// The hub that it passes requests on to.
    pub to: HubUrl,
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Its address is taken, or is none of this machine.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// Nothing could be reached over https.
    #[error("cannot load the certificates that this system trusts; on Debian they are in the package ca-certificates")]
    Certificates(#[source] io::Error),
}

/// A proxy that runs.
pub struct Running {
    url: String,
    forwarder: Arc<Forwarder>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What a proxy takes and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a body that is kept in memory and goes to the hub as it is. Lambda takes 6 MB, in which base64 may have
    /// made 4 bytes of 3.
    pub small: usize,
    /// Bytes of any body.
    pub large: u64,
    /// Bytes of a push that goes to the hub as one request. A larger one goes in parts.
    pub whole: u64,
    /// Bytes of the records in one of its parts.
    pub part: usize,
    /// Bodies that are held at the same time, in memory or in files; the next one waits.
    pub bodies: usize,
    /// How long a client may pause in the middle of a body.
    pub client_pause: Duration,
    /// How long the hub may pause: as long as a Lambda function may run.
    pub hub_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            small: client::by_reference::DIRECT,
            // What S3 takes in one put: 5 GiB, which its documents call 5 GB.
            large: 5 << 30,
            whole: MAX_REFERENCED_BODY as u64,
            // A function works on it for some seconds.
            part: 64 << 20,
            bodies: 16,
            client_pause: Duration::from_secs(30),
            hub_pause: Duration::from_secs(15 * 60),
        }
    }
}

/// Starts a proxy. Whether the hub is there shows with the first request.
///
/// # Errors
/// When its address is taken, or the system has no certificates to check the hub's with.
pub async fn start(options: Options) -> Result<Running, ProxyError> {
    start_within(options, Limits::default()).await
}

/// The same within other limits.
///
/// # Errors
/// As [`start`].
pub async fn start_within(options: Options, limits: Limits) -> Result<Running, ProxyError> {
    let cannot_listen = |error| ProxyError::Listen(options.listen, error);
    let listener = TcpListener::bind(options.listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the proxy is open to other machines, and their tokens come to it unencrypted");
    }
    let forwarder = Arc::new(Forwarder::new(options.to, limits).map_err(ProxyError::Certificates)?);
    let answering = Arc::clone(&forwarder);
    let answer = move |request| {
        let forwarder = Arc::clone(&answering);
        async move { forwarder.answer(request).await }
    };
    let (stop, stopped) = watch::channel(false);
    let task =
        tokio::spawn(accept(listener, Connections::new(Plan::make().connections), WRITE_TIMEOUT, answer, stopped));
    Ok(Running { url: format!("http://{address}"), forwarder, stop, task })
}

impl Running {
    /// Where the proxy is reached, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the proxy when the requests under way are answered, or after ten seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Only a panic fails the task, and it has been reported.
        let _ = self.task.await;
        self.forwarder.settle(GRACE).await;
    }
}
