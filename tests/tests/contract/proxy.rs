//! `musehub proxy` between a client and a hub behind Lambda's limits.

use std::net::{Ipv4Addr, SocketAddr};

use local::proxy::{self, Limits, Options};
use local::serve::Storage;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History};
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

#[ignore = "takes long: the nightly workflow runs it"]
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

/// A proxy that takes everything over 20 kB for too large, and sends it in parts of some commits.
async fn cutting(hub: &Hub) -> proxy::Running {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let limits = Limits { small: 10_000, whole: 20_000, part: 15_000, ..Limits::default() };
    let to = hub.url().parse().expect("a URL");
    proxy::start_within(Options { listen, to }, limits).await.expect("the proxy starts")
}

/// How often the branches of a repo were moved.
async fn moves(remote: &Remote) -> usize {
    let url = format!("{}/{}/log", remote.owner, remote.slug);
    let log = remote.at_root("GET", &url, &[("accept", "application/json")]).await.expect(200);
    log["lines"].as_array().expect("the lines of the push log").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_too_large_for_a_request_goes_in_parts() {
    let hub = Hub::start_own(Storage::Memory, true).await;
    let proxy = cutting(&hub).await;
    let history = history::dag(5, 150, 8);
    let tip = history.last().to_owned();
    let of_tip: Vec<String> = history.reachable(&[&tip]).into_iter().collect();
    let mut expected = History::default();
    expected.absorb(&history.pack(&of_tip));
    for encoding in Encoding::BOTH {
        let direct = hub.repo().await.speaking(encoding);
        let proxied = through(&proxy, &direct);
        let answer = proxied.push_pack("main", false, &history.pack(&of_tip).with_head("main", &tip)).await;
        assert_eq!(answer.expect(200)["remote_head"], tip.as_str());
        assert_eq!(direct.heads().await.get("main"), Some(&tip));
        verify::same_history(&expected, &direct.clone_all().await, "dev").expect("what was pushed");
        assert!(moves(&direct).await > 2, "it was cut");

        // Sent again, it is there.
        proxied.push_pack("main", false, &history.pack(&of_tip).with_head("main", &tip)).await.expect(200);
        assert_eq!(direct.heads().await.get("main"), Some(&tip));
    }
    proxy.stop().await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_in_parts_goes_on_where_one_broke_off() {
    let hub = Hub::start_own(Storage::Memory, true).await;
    let proxy = cutting(&hub).await;
    let history = history::linear(6, 120, 8, 2);
    let ids = history.ids();
    let direct = hub.repo().await;
    // What another attempt has left: the branch in the middle.
    let middle = &ids[59];
    direct.push(&history, "main", middle).await.expect(200);
    let all = history.pack(&ids).with_head("main", history.last());
    through(&proxy, &direct).push_pack("main", false, &all).await.expect(200);
    assert_eq!(direct.heads().await["main"], history.last());
    verify::same_history(&history, &direct.clone_all().await, "dev").expect("what was pushed");
    proxy.stop().await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_push_in_parts_moves_its_branch_once_and_a_push_that_is_behind_is_refused() {
    let hub = Hub::start_own(Storage::Memory, true).await;
    let proxy = cutting(&hub).await;
    let direct = hub.repo().await;
    let mut other = Builder::new(7);
    let first = other.child(&[]);
    let other = other.finish();
    direct.push(&other, "main", &first).await.expect(200);

    let history = history::linear(8, 120, 8, 2);
    let pack = history.pack(&history.ids()).with_head("main", history.last());
    let proxied = through(&proxy, &direct);
    proxied.push_pack("main", false, &pack).await.refused(409, "non_fast_forward");
    assert_eq!(direct.heads().await["main"], first);
    proxied.push_pack("main", true, &pack).await.expect(200);
    assert_eq!(direct.heads().await["main"], history.last());
    assert_eq!(moves(&direct).await, 2, "readers see the old branch or the new one, whole");
    verify::same_history(&history, &direct.clone_all().await, "dev").expect("what was pushed");
    proxy.stop().await;
    hub.stop().await;
}
