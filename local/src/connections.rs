//! Connections of clients: how many there are at a time, and how long one may keep what it holds.
//!
//! No more are taken than the process can serve, and from one address no more than a share of them, so that another
//! client always gets in. Behind a reverse proxy all clients have one address, so the share is large. A client that
//! finds no place gets a 503 with `Retry-After`.
//!
//! A client that stops reading, or reads so slowly that it might as well have, is hung up on: see [`Paced`].

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};

use crate::shares::{Portion, Shares, holder};

/// Refusals that are waited for until they are heard. Beyond, a connection is closed as soon as it is said.
const MAX_REFUSALS: usize = 32;
/// How long a refusal may take to be said and heard.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a request that are read and not looked at, because a client that is sending does not listen.
const MAX_UNHEARD: u64 = 256 << 10;
const REFUSAL: &str =
    r#"{"error":"unavailable","detail":"too many connections at once: send the same request again in a moment"}"#;

/// How long a client may be behind with reading, unless there is a reason.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that it has to take in that time, if it does not take all there is.
const LEAST_WRITTEN: usize = 64 << 10;

/// Where a request comes from, and which of the machine's addresses it came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The client's address, or that of the proxy in front.
    pub(crate) from: IpAddr,
    /// The address that it connected to.
    pub(crate) to: IpAddr,
}

/// The connections of one listener.
#[derive(Clone)]
pub(crate) struct Connections {
    taken: Arc<Shares<IpAddr>>,
    refusals: Arc<Semaphore>,
}

impl Connections {
    /// At most `count` at a time.
    pub(crate) fn new(count: usize) -> Self {
        // At least one is for others.
        let share = (count / 4 * 3).max(1);
        Self { taken: Shares::new(count, share), refusals: Arc::new(Semaphore::new(MAX_REFUSALS)) }
    }

    /// A place for one more from this address.
    pub(crate) fn take(&self, from: IpAddr) -> Option<Portion<IpAddr>> {
        self.taken.one(holder(from))
    }

    /// Says that there is no place.
    pub(crate) fn refuse(&self, stream: TcpStream) {
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            if let Ok(mut stream) = stream.into_std() {
                // It does not block, and there is room for it in what is sent first on a connection.
                let _ = io::Write::write(&mut stream, refusal().as_bytes());
            }
            return;
        };
        tokio::spawn(async move {
            let _place = place;
            // Whether it was heard or not.
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, say_no(stream)).await;
        });
    }
}

fn refusal() -> String {
    let length = REFUSAL.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         retry-after: 1\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{REFUSAL}"
    )
}

async fn say_no(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(refusal().as_bytes()).await?;
    stream.shutdown().await?;
    // What is closed with bytes unread is reset, and then the client may not get to see the answer.
    tokio::io::copy(&mut stream.take(MAX_UNHEARD), &mut tokio::io::sink()).await?;
    Ok(())
}

/// A connection whose client has to read on: one that is behind for so long, and has taken less than 64 KiB meanwhile and not
/// all there was, is an error of the kind `TimedOut`.
pub(crate) struct Paced<S> {
    stream: S,
    timeout: Duration,
    /// Since when the client is behind, and what it has taken since.
    behind: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Paced<S> {
    pub(crate) const fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, behind: None }
    }

    fn observe(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => {
                if let Some((_, taken)) = &mut self.behind {
                    *taken = taken.saturating_add(*bytes);
                    if *taken >= LEAST_WRITTEN {
                        self.behind = None;
                    }
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let timeout = self.timeout;
                let limit = || (Box::pin(tokio::time::sleep_until(Instant::now() + timeout)), 0);
                let (limit, _) = self.behind.get_or_insert_with(limit);
                ready!(limit.as_mut().poll(context));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")));
            }
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.observe(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.observe(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for when all there was has been written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if flushed.is_ready() {
            this.behind = None;
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// Writes `answer` to a client that takes `bytes` of it every `pause`.
    async fn written(answer: usize, bytes: usize, pause: Duration) -> io::Result<Duration> {
        let (ours, mut theirs) = duplex(16 << 10);
        let client = tokio::spawn(async move {
            let mut buffer = vec![0; bytes];
            while theirs.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let began = Instant::now();
        let mut ours = Paced::new(ours, WRITE_TIMEOUT);
        let written = ours.write_all(&vec![0; answer]).await;
        client.abort();
        written.map(|()| began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_or_hardly_anything_is_hung_up_on_and_who_is_only_slow_is_not() {
        let minute = Duration::from_secs(60);
        for (bytes, pause) in [(1, 1_000 * minute), (1 << 10, minute / 50)] {
            let error = written(4 << 20, bytes, pause).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{bytes} bytes every {pause:?}");
        }
        // 2 KB/s, for longer than a minute.
        assert!(written(1 << 20, 2 << 10, minute / 60).await.unwrap() > 5 * minute);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_behind_and_caught_up_has_all_the_time_again() {
        let (ours, mut theirs) = duplex(16 << 10);
        let mut ours = Paced::new(ours, WRITE_TIMEOUT);
        for _ in 0..3 {
            let (written, ()) = tokio::join!(
                async {
                    ours.write_all(&[0; 20 << 10]).await?;
                    ours.flush().await
                },
                async {
                    tokio::time::sleep(Duration::from_secs(40)).await;
                    theirs.read_exact(&mut [0; 20 << 10]).await.unwrap();
                }
            );
            written.unwrap();
        }
    }
}
