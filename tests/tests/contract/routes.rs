//! What is not an endpoint, and HTTP itself.

use std::collections::BTreeSet;

use tests::client::{Remote, send};
use tests::history;
use tests::hub::Hub;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn stocked(hub: &Hub) -> Remote {
    let history = history::linear(1, 1, 1, 0);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    remote
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_says_that_it_is_well() {
    let hub = Hub::start().await;
    let answer = hub.get("health").await;
    assert_eq!(answer.expect(200)["status"], "ok");
    for accept in ["application/json", "application/x-msgpack, application/json", "*/*"] {
        let answer = send("GET", &format!("{}/health", hub.url()), &[("accept", accept)], "").await.unwrap();
        assert_eq!(answer.expect(200)["status"], "ok", "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_route_is_not_found() {
    let hub = Hub::start().await;
    let remote = stocked(&hub).await;
    let (owner, slug) = (&remote.owner, &remote.slug);
    let paths = [
        format!("/{owner}/{slug}/nothing"),
        format!("/{owner}/{slug}/refs/more"),
        format!("/{owner}/{slug}/push/objects/more"),
        format!("/{owner}/{slug}/fetch/.."),
        format!("/{owner}/{slug}/presign/more"),
        format!("/{owner}/{slug}/uploads/more"),
        format!("/{owner}/{slug}/tags/v1/more"),
        format!("/{owner}/{slug}/releases/v1/more"),
        format!("/{owner}/{slug}/%2e%2e/refs"),
        format!("/{owner}/{slug}%2Frefs"),
        format!("/{owner}/{slug}%00/refs"),
        format!("/{owner}/{slug}%FF%FE/refs"),
        format!("/{owner}/{slug}%/refs"),
        format!("/{owner}/{slug}%zz/refs"),
        format!("/{owner}/{slug}%20/refs"),
        format!("/{owner}%00/{slug}/refs"),
        format!("/{owner}%2F{slug}/x/refs"),
        format!("/%2e%2e/{slug}/refs"),
        format!("/../{owner}/../refs"),
        format!("/{owner}//{slug}/refs"),
        format!("/{owner}/{slug}//refs"),
        format!("//{owner}/{slug}"),
        format!("/{owner}/{slug}"),
        format!("/{owner}"),
        "/nobody-at-all/no-such-repo/refs".to_owned(),
        "/api".to_owned(),
        "/api/nothing".to_owned(),
        "/health/more".to_owned(),
        "/favicon.ico".to_owned(),
        "/.git/config".to_owned(),
        "/%00".to_owned(),
        "/%FF".to_owned(),
    ];
    let bearer = format!("Bearer {}", hub.dev().token);
    for path in paths {
        for headers in [&[][..], &[("authorization", bearer.as_str())]] {
            let answer = send("GET", &format!("{}{path}", hub.url()), headers, "").await.unwrap();
            assert_eq!(answer.status, 404, "{path}: {}", answer.excerpt());
            answer.refused(404, "");
        }
    }
    let answer = send("GET", &format!("{}/{owner}/no-such-repo/refs", hub.url()), &[], "").await.unwrap();
    answer.refused(404, "");
    for long in ["x".repeat(65), "x".repeat(3_000), "%C3%A9".repeat(300)] {
        let answer = send("GET", &format!("{}/{owner}/{long}/refs", hub.url()), &[], "").await.unwrap();
        answer.refused_somehow();
    }
    hub.assert_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_percent_encoded_path_means_what_it_encodes() {
    let hub = Hub::start().await;
    let remote = stocked(&hub).await;
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let encoded = Remote { owner: encode(&remote.owner), slug: encode(&remote.slug), ..remote.clone() };
    assert_eq!(encoded.heads().await, remote.heads().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_not_allowed() {
    let hub = Hub::start().await;
    let remote = stocked(&hub).await;
    let wrong = [
        ("refs", &["POST", "PUT", "DELETE", "PATCH"][..]),
        ("push", &["GET", "PUT", "DELETE", "PATCH"]),
        ("push/objects", &["GET", "PUT", "DELETE", "PATCH"]),
        ("fetch", &["GET", "PUT", "DELETE", "PATCH"]),
        ("filter-objects", &["GET", "PUT", "DELETE", "PATCH"]),
        ("negotiate", &["GET", "PUT", "DELETE", "PATCH"]),
        ("presign", &["GET", "PUT", "DELETE", "PATCH"]),
        ("uploads", &["GET", "PUT", "DELETE", "PATCH"]),
        ("tags", &["PUT", "DELETE", "PATCH"]),
        ("tags/v1", &["GET", "POST", "PUT", "PATCH"]),
        ("releases", &["PUT", "DELETE", "PATCH"]),
        ("releases/v1", &["GET", "POST", "PUT", "PATCH"]),
    ];
    for (endpoint, methods) in wrong {
        for method in methods {
            let answer = remote.raw(method, endpoint, &[("content-type", "application/json")], "{}").await;
            assert_eq!(answer.status, 405, "{method} {endpoint}: {}", answer.excerpt());
            answer.refused(405, "");
        }
    }
    for (path, methods) in
        [("health", &["POST", "DELETE"]), ("api/repos", &["PUT", "DELETE"]), ("api/identities", &["PUT", "DELETE"])]
    {
        for method in methods {
            let answer = send(method, &format!("{}/{path}", hub.url()), &[], "").await.unwrap();
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.excerpt());
            answer.refused(405, "");
        }
    }
    let answer = remote.raw("BREW", "refs", &[], "").await;
    assert!([404, 405, 501].contains(&answer.status), "{}", answer.excerpt());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_describes_every_route() {
    let hub = Hub::start().await;
    let description = hub.get("openapi.json").await.expect(200);
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{description}");
    // What a parameter is called is the hub's own business.
    let anonymous = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let paths = description["paths"].as_object().expect("paths");
    let described: BTreeSet<(String, &str)> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (anonymous(path), method.as_str())))
        .collect();
    for (method, path) in [
        ("get", "/health"),
        ("post", "/api/identities"),
        ("post", "/api/repos"),
        ("get", "/o/{}"),
        ("get", "/{}/{}/refs"),
        ("post", "/{}/{}/push"),
        ("post", "/{}/{}/push/objects"),
        ("post", "/{}/{}/fetch"),
        ("post", "/{}/{}/filter-objects"),
        ("post", "/{}/{}/presign"),
        ("post", "/{}/{}/negotiate"),
        ("post", "/{}/{}/uploads"),
        ("post", "/{}/{}/tags"),
        ("get", "/{}/{}/tags"),
        ("post", "/{}/{}/releases"),
        ("get", "/{}/{}/releases"),
        ("delete", "/{}/{}/releases/{}"),
    ] {
        assert!(described.contains(&(path.to_owned(), method)), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_redirected() {
    let hub = Hub::start().await;
    let remote = stocked(&hub).await;
    for path in ["refs/", "refs//", "./refs", "fetch/"] {
        let answer = remote.raw("GET", path, &[], "").await;
        assert!(!(300..400).contains(&answer.status), "{path}: {}", answer.excerpt());
    }
}

/// Says this to the hub on a raw connection, hangs up, and reads what comes, if anything.
async fn blurt(hub: &Hub, bytes: &[u8]) -> Vec<u8> {
    let address = hub.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // The hub may hang up first, at any point: a reset is an answer too.
    if stream.write_all(bytes).await.is_ok() {
        drop(stream.shutdown().await);
    }
    drop(stream.read_to_end(&mut answer).await);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_leaves_the_hub_well() {
    let hub = Hub::start().await;
    let remote = stocked(&hub).await;
    let token = remote.token.clone().unwrap();
    let path = format!("/{}/{}/push", remote.owner, remote.slug);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    );
    let refs = remote.heads().await;
    let whole = history::linear(2, 1, 1, 0);
    let body = serde_json::json!({"bundle": whole.pack_of(whole.last()).to_value(), "branch": "cut", "force": true})
        .to_string();
    for length in [body.len() + 1, body.len() + 1_000_000] {
        let answer = blurt(&hub, format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    // A chunked body without its last chunk.
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    let answer = blurt(&hub, chunk.as_bytes()).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        &[0; 100_000],
    ] {
        let answer = blurt(&hub, noise).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(remote.heads().await, refs);
    hub.assert_well().await;
}
