//! `musehub proxy` between a client and a hub behind Lambda's limits.

use std::net::{Ipv4Addr, SocketAddr};

use local::proxy::{self, Options};
use local::serve::Storage;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, History};
use tests::hub::Hub;
use tests::verify;

/// As large as real projects are: their manifests alone are three times what Lambda takes.
fn large_history() -> History {
    history::linear(11, 1_000, 200, 4)
}

/// The same remote as a client sees it that goes through the proxy.
fn through(proxy: &proxy::Running, remote: &Remote) -> Remote {
    Remote { hub: proxy.url().to_owned(), ..remote.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_any_size_reaches_a_hub_behind_lambda_through_the_proxy_and_not_without() {
    let hub = Hub::start_own(Storage::Memory, true).await;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let to = hub.url().parse().expect("a URL");
    let proxy = proxy::start(Options { listen, to }).await.expect("the proxy starts");
    let history = large_history();
    for encoding in Encoding::BOTH {
        let direct = hub.repo().await.speaking(encoding);
        let refused = direct.push(&history, "main", history.last()).await.refused(413, "payload_too_large");
        assert!(refused.detail.contains("musehub proxy"), "{}", refused.detail);

        let proxied = through(&proxy, &direct);
        proxied.push(&history, "main", history.last()).await.expect(200);
        verify::same_history(&history, &proxied.anonymous().clone_all().await, "dev").expect("what was pushed");
    }
    proxy.stop().await;
    hub.stop().await;
}
