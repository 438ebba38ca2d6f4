//! Requests whose answers are timed and thrown away, each on a connection of its own, as clients make them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use store::ambient::Ambient;
use tests::encoding::Encoding;
use tokio::net::TcpStream;

use crate::Failure;

/// Bytes of an answer that are kept, for what has to be read of it.
const KEPT: usize = 1 << 20;

/// Where a repository is, and who asks.
#[derive(Clone)]
pub struct Remote {
    /// What is connected to.
    pub address: SocketAddr,
    /// What the hub is called.
    pub authority: String,
    /// The path of the repository.
    pub path: String,
    /// A token.
    pub token: String,
}

/// What came back.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: Bytes,
    /// Bytes of the body.
    pub length: u64,
    /// From the beginning of the request until the first byte of the body was there.
    pub first_byte: Duration,
}

impl Remote {
    /// A request, and its answer, which has to be a good one or of this status.
    pub async fn ask(
        &self,
        clock: &Ambient,
        endpoint: &str,
        body: Option<&Bytes>,
        accept: Encoding,
        or: u16,
    ) -> Result<Answer, Failure> {
        let began = clock.elapsed();
        let path = format!("{}/{endpoint}", self.path);
        let mut request = http::Request::builder()
            .method(if body.is_some() { "POST" } else { "GET" })
            .uri(&path)
            .header("connection", "close")
            .header("host", &self.authority)
            .header("authorization", format!("Bearer {}", self.token))
            .header("accept", accept.accept());
        if body.is_some() {
            request = request.header("content-type", Encoding::Msgpack.content_type());
        }
        let request = request.body(Full::new(body.cloned().unwrap_or_default()))?;

        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (head, mut body) = sender.send_request(request).await?.into_parts();
        let mut answer =
            Answer { status: head.status.as_u16(), body: Bytes::new(), length: 0, first_byte: Duration::ZERO };
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            if answer.length == 0 {
                answer.first_byte = clock.elapsed().saturating_sub(began);
            }
            answer.length += piece.len() as u64;
            if answer.length <= KEPT as u64 {
                kept.extend_from_slice(&piece);
            }
        }
        connection.abort();
        answer.body = kept.freeze();
        if answer.status == 200 || answer.status == or {
            return Ok(answer);
        }
        Err(format!("{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)).into())
    }
}
