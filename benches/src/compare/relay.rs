//! Counts the bytes that go each way between a client and a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::Failure;

/// Stands between the two. A connection counts when it has ended.
pub struct Relay {
    /// What the client connects to.
    pub address: SocketAddr,
    counted: Arc<Counted>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counted {
    sent: AtomicU64,
    received: AtomicU64,
    open: AtomicU64,
}

impl Relay {
    /// One in front of a server.
    pub async fn start(server: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counted = Arc::<Counted>::default();
        let counts = Arc::clone(&counted);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let counts = Arc::clone(&counts);
                counts.open.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await
                        && let Ok((sent, received)) = copy_bidirectional(&mut client, &mut server).await
                    {
                        counts.sent.fetch_add(sent, Ordering::SeqCst);
                        counts.received.fetch_add(received, Ordering::SeqCst);
                    }
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { address, counted, task })
    }

    /// Bytes that were sent and received, when the last connection has ended.
    pub async fn finish(self) -> (u64, u64) {
        let Counted { sent, received, open } = &*self.counted;
        while open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        self.task.abort();
        (sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst))
    }
}
