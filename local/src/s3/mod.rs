//! An S3 of our own inside the hub's process, for a hub that is one machine.
//!
//! The product always speaks to object storage through `aws-sdk-s3`. On one machine there is no S3, so this module
//! serves the few operations that the product uses, over HTTP on loopback, with the semantics that it relies on:
//!
//! - a body is verified before anything of it is visible, and a wrong checksum leaves nothing behind;
//! - of racing `If-None-Match: *` puts of one key exactly one wins, the others are refused with 412;
//! - a read gives wholly the old or wholly the new bytes of an object that is being overwritten;
//! - on disk, an acknowledged object survives `kill -9` and a power cut, and a partial one is never seen.
//!
//! The crate `s3s` does the protocol: HTTP to typed requests, SigV4 with presigned URLs, XML. It checks signatures,
//! the length and SHA-256 that were signed, and nothing else of a body. Around it lie:
//!
//! - `operations`: S3's operations and headers, said in terms of a store;
//! - `arriving`: a client's body, which has to come in time;
//! - `upload`: a body that arrives, counted and hashed, and checked against what the client claims of it;
//! - `store`: what a store must do, and its types; `memory` and `disk` are the two that do it;
//! - `key`: object keys, and the file names they have on disk; `access`: what a presigned URL gives a right to.
//!
//! What a client would miss is refused with `NotImplemented`, not ignored: older versions, metadata, conditions on dates. As in
//! a bucket of S3's without versions, each object is the version `null` of itself.
//! The exception is the content type of a put, which the SDK always sends and which is not kept. How AWS is asked to
//! keep an object (encryption, storage class, access lists, locks) is accepted, and means nothing here.

mod access;
mod arriving;
mod digest;
mod disk;
mod file_stream;
mod key;
mod memory;
mod operations;
mod store;
mod upload;

#[cfg(test)]
mod tests;

use std::{io, net::IpAddr, path::Path, pin::pin, sync::Arc, time::Duration};

use ::store::ambient::Ambient;
use bytes::Bytes;
use common::wire;
use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use s3s::{
    auth::SimpleAuth,
    config::{S3Config, StaticConfigProvider},
    service::{S3Service, S3ServiceBuilder},
};
use service::{AnswerBody, CutOff};
use tokio::{net::TcpListener, task::JoinSet};

use crate::shares::{Shares, holder};

use self::{
    access::SignedHeadersOnly, arriving::Arriving, disk::Disk, memory::Memory, operations::Operations, store::Store,
};

/// How long a shutdown waits for the requests in flight.
const GRACE: Duration = Duration::from_secs(10);

/// How long to hold off after a connection could not be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The largest XML body that is read into memory. `CreateBucket` has the only one.
const MAX_XML_BYTES: usize = 64 * 1024;

/// An S3 endpoint and the objects behind it.
pub struct EmbeddedS3 {
    store: Arc<dyn Store>,
    hides_missing: bool,
    clock: Ambient,
}

/// The embedded S3 as clients reach it: at the hub's own address, with a URL that was presigned for them.
#[derive(Clone)]
pub struct StorageDoor {
    service: S3Service,
    /// What the paths of a bucket's objects begin with.
    bucket_path: String,
    /// Places for clients, each of which has a file open, by their addresses.
    places: Arc<Shares<IpAddr>>,
    clock: Ambient,
}

impl StorageDoor {
    /// Whether a request is for an object in the bucket, and not for a repo whose owner has the bucket's name: none of
    /// those has a signature in its query.
    pub fn is_meant(&self, uri: &Uri) -> bool {
        let query = uri.query().unwrap_or_default().as_bytes();
        uri.path().starts_with(&self.bucket_path)
            && form_urlencoded::parse(query).any(|(name, _)| name == "X-Amz-Signature")
    }

    /// Answers a request of a client at this address, which is refused unless its signature is good.
    ///
    /// # Errors
    /// [`wire::WireError::Internal`] for what is no answer of S3's, [`wire::WireError::Unavailable`] when all places are taken.
    pub async fn answer<B>(&self, request: Request<B>, from: IpAddr) -> Result<Response<AnswerBody>, wire::WireError>
    where
        B: Body<Data = Bytes, Error: Into<s3s::StdError>> + Send + Unpin + 'static,
    {
        let place = self.places.one(holder(from));
        let place =
            place.ok_or_else(|| wire::WireError::Unavailable("too many clients use the storage at once".into()))?;
        let (parts, body) = request.into_parts();
        let body = s3s::Body::http_body_unsync(Arriving::new(body, &parts.uri, &self.clock));
        let answered = self.service.call(Request::from_parts(parts, body)).await;
        let answer = answered.map_err(|error| wire::WireError::internal(format!("embedded S3: {error:?}")))?;
        Ok(answer.map(|body| {
            // S3 has logged why, if it is cut off.
            let chunks = body.into_data_stream().map_err(|_| CutOff);
            // Until the last of them has gone.
            AnswerBody::streamed(chunks.map(move |chunk| {
                let _place = &place;
                chunk
            }))
        }))
    }
}

impl EmbeddedS3 {
    /// Objects live in memory, and are gone when this is. `clock` says when each was put.
    pub fn memory(clock: Ambient) -> Self {
        Self { store: Arc::new(Memory::new(clock.clone())), hides_missing: false, clock }
    }

    /// Objects live below `dir`, which is made if it is missing. Blocks while it looks at the file system.
    ///
    /// # Errors
    /// `ResourceBusy` while another process has `dir` open: two would undo each other's uploads. Otherwise what the
    /// file system answers.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { store: Arc::new(Disk::open(dir)?), hides_missing: false, clock: Ambient::system() })
    }

    /// The same, as S3 is to a role that may not list: what is not there is refused with 403, like what may not be read.
    #[must_use]
    pub fn hiding_missing(self) -> Self {
        Self { hides_missing: true, ..self }
    }

    /// The door to one bucket for this number of clients at a time, to requests that are signed with `credentials`.
    pub fn door(&self, bucket: &str, credentials: (String, String), places: usize) -> StorageDoor {
        StorageDoor {
            service: self.service(credentials),
            bucket_path: format!("/{bucket}/"),
            places: Shares::new(places, (places / 4 * 3).max(1)),
            clock: self.clock.clone(),
        }
    }

    /// Serves S3 on `listener`, path-style (`http://address/bucket/key`), to requests that are signed with
    /// `credentials`: an access key and its secret key. Any region will do.
    ///
    /// When `shutdown` completes, no more connections or requests are taken, and those in flight have ten seconds to
    /// finish.
    ///
    /// # Errors
    /// `TimedOut` if requests in flight had to be cut off.
    pub async fn serve(
        self,
        listener: TcpListener,
        credentials: (String, String),
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let service = self.service(credentials);
        let http = http1::Builder::new();
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // Small answers must not wait for the client's delayed acknowledgement. Best effort.
                        let _ = stream.set_nodelay(true);
                        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                        connections.spawn(graceful.watch(connection));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "embedded S3 could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);

        let finished = tokio::time::timeout(GRACE, graceful.shutdown()).await;
        connections.shutdown().await;
        finished.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "requests were in flight and have been cut off"))
    }

    fn service(&self, (access_key, secret_key): (String, String)) -> S3Service {
        // A POST form is buffered by s3s before it looks at who sent it. We take no forms, so they may hold nothing.
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        config.post_object_max_file_size = 0;
        config.form_max_fields_size = 0;

        let operations = Operations { store: Arc::clone(&self.store), hides_missing: self.hides_missing };
        let mut builder = S3ServiceBuilder::new(operations);
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        builder.set_access(SignedHeadersOnly);
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.build()
    }
}
