//! Clients that take all they can get, and what another client gets meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use local::serve::AnonymousReads;
use serde_json::json;
use tests::client::{Answer, Remote, put_well, send};
use tests::history::{self, History};
use tests::hub::Hub;
use tests::receiver::{Receiver, silent};
use tests::verify;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

fn address(hub: &Hub) -> &str {
    hub.url().strip_prefix("http://").expect("plain HTTP")
}

/// Begins a POST on a connection of its own, with these headers beside. `come` bytes of its body come, and not the rest.
async fn begin(hub: &Hub, path: &str, headers: &str, length: usize, come: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address(hub)).await.expect("a connection");
    let host = address(hub);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    stream.write_all(&vec![b' '; come]).await.expect("some of the body is taken");
    stream
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// One commit with a file of this many bytes.
fn one_file(bytes: usize) -> History {
    let mut builder = history::Builder::new(7);
    let tree = [("take.wav".to_owned(), builder.bytes(bytes))].into();
    builder.commit(&[], &tree);
    builder.finish()
}

/// A push whose body takes room: it has 1.4 MB.
async fn large_push(remote: &Remote) -> Answer {
    let history = one_file(1 << 20);
    remote.push_pack("main", false, &history.pack_of(history.last())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_bodies_that_do_not_come_keep_no_client_from_pushing() {
    let hub = Hub::start_with_body_memory(8).await;
    let (user, other) = (hub.user().await, hub.user().await);
    let mut begun = Vec::new();
    for _ in 0..200 {
        begun.push(begin(&hub, "/some/repo/push", &bearer(&user.token), 1_000_000, 1).await);
    }
    large_push(&hub.remote(&other, "song")).await.expect(200);
    drop(begun);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_has_no_more_than_a_share_of_the_room_for_bodies() {
    let hub = Hub::start_with_body_memory(8).await;
    let (greedy, other) = (hub.user().await, hub.user().await);
    let own = hub.remote(&greedy, "song");
    let path = format!("/{}/song/push", greedy.handle);
    // As many as would take all of it, of each of which the last byte is missing.
    let token = bearer(&greedy.token);
    let mut begun = join_all((0..8).map(|_| begin(&hub, &path, &token, 1_200_000, 1_199_999))).await;
    // When one has come, there is no room for one more of theirs.
    let refused = loop {
        let answer = large_push(&own).await;
        if answer.status != 200 {
            break answer;
        }
        // This push was faster, and so they were refused.
        begun.push(begin(&hub, &path, &token, 1_200_000, 1_199_999).await);
    };
    refused.refused(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    large_push(&hub.remote(&other, "song")).await.expect(200);
    drop(begun);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_the_right_to_send_a_body_is_refused_before_it_is_read() {
    let hub = Hub::start_with_body_memory(8).await;
    let (owner, other) = (hub.user().await, hub.user().await);
    let (open, closed) = (hub.made_repo(&owner, false).await, hub.made_repo(&owner, true).await);
    let paths = |remote: &Remote, endpoint: &str| format!("/{}/{}/{endpoint}", remote.owner, remote.slug);
    let stranger = String::new();
    for (path, headers, status) in [
        (paths(&open, "push"), &stranger, 401),
        (paths(&open, "push"), &bearer("forged"), 401),
        (paths(&open, "push"), &bearer(&other.token), 403),
        (paths(&open, "filter-objects"), &bearer(&other.token), 403),
        (paths(&open, "tags"), &bearer(&other.token), 403),
        (paths(&closed, "push"), &bearer(&other.token), 404),
        (paths(&closed, "releases"), &bearer(&other.token), 404),
        (paths(&closed, "fetch"), &stranger, 404),
        (paths(&closed, "negotiate"), &bearer(&other.token), 404),
        (paths(&closed, "presign"), &bearer(&other.token), 404),
        ("/api/repos".to_owned(), &stranger, 401),
    ] {
        let asks = format!("{headers}Expect: 100-continue\r\n");
        let mut stream = begin(&hub, &path, &asks, 1_200_000, 0).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let asks = format!("{}Expect: 100-continue\r\n", bearer(&owner.token));
    let mut stream = begin(&hub, &paths(&closed, "push"), &asks, 1_200_000, 0).await;
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_strangers_take_no_room_from_users() {
    let hub = Hub::start_with_body_memory(8).await;
    let (owner, other) = (hub.user().await, hub.user().await);
    let remote = hub.made_repo(&owner, false).await;
    let path = format!("/{}/{}/fetch", remote.owner, remote.slug);
    let mut begun = join_all((0..16).map(|_| begin(&hub, &path, "", 900_000, 899_999))).await;
    // When they have come, there is no room for one more of theirs.
    let spaces = vec![b' '; 600_000];
    let refused = loop {
        let answer = remote.anonymous().post_bytes("fetch", spaces.clone()).await;
        if answer.status != 400 {
            break answer;
        }
        // This one was faster, and so some of them were refused.
        begun.push(begin(&hub, &path, "", 900_000, 899_999).await);
    };
    refused.refused(503, "unavailable");
    large_push(&hub.remote(&other, "song")).await.expect(200);
    drop(begun);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clones_of_which_nothing_is_read_than_may_read_the_storage_hold_up_no_other() {
    let hub = Hub::start().await;
    let history = one_file(6 << 20);
    let remote = hub.made_repo(&hub.user().await, false).await;
    remote.push_pack("main", false, &history.pack_of(history.last())).await.expect(200);
    let body = json!({"want": [history.last()], "have": []}).to_string();
    let mut unread = Vec::new();
    for _ in 0..40 {
        // A window that is small, so that what is not read does not lie between the two.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a small one");
        let mut stream = socket.connect(address(&hub).parse().expect("an address")).await.expect("a connection");
        let head = format!(
            "POST /{}/{}/fetch HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            remote.owner,
            remote.slug,
            address(&hub),
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("the request is taken");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        unread.push(stream);
    }
    verify::same_history(&history, &remote.anonymous().clone_all().await, &remote.owner)
        .expect("the history that was pushed");
    drop(unread);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_hung_up_on_and_its_answer_is_logged_as_cut_off() {
    let (logged, mut lines) = mpsc::unbounded_channel();
    let hub = Hub::start_impatient(Duration::from_millis(200), move |line| drop(logged.send(line.to_owned()))).await;
    let history = one_file(24 << 20);
    let remote = hub.made_repo(&hub.user().await, false).await;
    remote.push_pack("main", false, &history.pack_of(history.last())).await.expect(200);
    let (repo_id, id) = (remote.repo_id().await, history.objects.keys().next().expect("an object"));
    let mut stream = TcpStream::connect(address(&hub)).await.expect("a connection");
    let head = format!("GET /o/{id}?repo_id={repo_id} HTTP/1.1\r\nHost: {}\r\n\r\n", address(&hub));
    stream.write_all(head.as_bytes()).await.expect("the request is taken");
    let cut_off = async {
        loop {
            let line = lines.recv().await.expect("the hub runs");
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            if line["function"] == "object" {
                return line["cut_off"].clone();
            }
        }
    };
    let cut_off = tokio::time::timeout(Duration::from_secs(60), cut_off).await.expect("it waits for ever");
    assert_eq!(cut_off, json!(true));
    drop(stream);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_of_one_user_that_hang_hold_up_no_other_users() {
    let hub = Hub::start_own(local::serve::Storage::Memory, false).await;
    let (url, mut taken, silent) = silent().await;
    let history = history::linear(1, 1, 2, 1);
    let hook = async |remote: &Remote, url: &str| {
        let path = format!("api/repos/{}/{}/webhooks", remote.owner, remote.slug);
        let body = json!({"url": url, "events": ["RefUpdated"]});
        hub.post(&path, remote.token.as_deref(), &body).await.expect(201);
    };
    let (slow, other) = (hub.user().await, hub.user().await);
    for _ in 0..4 {
        let remote = hub.made_repo(&slow, false).await;
        for _ in 0..20 {
            hook(&remote, &url).await;
        }
        remote.push(&history, "main", history.last()).await.expect(200);
    }
    taken.wait_for(|taken| *taken >= 8).await.expect("the receiver runs");

    let receiver = Receiver::start().await;
    let remote = hub.made_repo(&other, false).await;
    hook(&remote, &receiver.url("/")).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    receiver.until_seen(1).await;
    // Not one of those that hang had been given up by then.
    assert!(*taken.borrow() <= 8, "{} were tried", *taken.borrow());
    silent.abort();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_urls_of_an_answer_lead_to_the_hub_and_to_no_host_that_a_request_makes_up() {
    for lambda_limits in [false, true] {
        let hub = Hub::start_own(local::serve::Storage::Memory, lambda_limits).await;
        let owner = hub.user().await;
        let remote = hub.made_repo(&owner, false).await;
        let port = address(&hub).rsplit(':').next().expect("a port");
        let known =
            [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "127.0.0.9".into()];
        let made_up = ["evil.example", "127.0.0.1.evil.example:80", "10.1.2.3"].map(str::to_owned);
        let put = json!({"object_ids": ["0".repeat(64)], "direction": "put"}).to_string();
        for host in known.iter().chain(&made_up) {
            let is_known = known.contains(host);
            for (path, body) in [
                (format!("{}/{}/presign", remote.owner, remote.slug), put.clone()),
                (format!("{}/{}/uploads", remote.owner, remote.slug), String::new()),
                ("api/repos".to_owned(), json!({"name": "another song"}).to_string()),
            ] {
                let answer = asked_as(&hub, host, "POST", &path, &owner.token, &body).await;
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                if is_known {
                    assert!(matches!(answer.status, 200 | 201 | 409), "{host} {path}: {text}");
                    assert!(answer.status == 409 || text.contains(&format!("http://{host}/")), "{host} {path}: {text}");
                } else {
                    let refusal = answer.refused(421, "unknown_host");
                    assert!(
                        refusal.detail.contains("--public-url") && refusal.detail.contains("--host"),
                        "{refusal:?}"
                    );
                }
            }
            // What needs no URL is answered all the same, and no hint names what is not the hub's.
            let path = format!("{}/{}/refs", remote.owner, remote.slug);
            asked_as(&hub, host, "GET", &path, &owner.token, "").await.expect(200);
            let refusal = asked_as(&hub, host, "GET", &path, "forged", "").await.refused(401, "unauthorized");
            assert_eq!(refusal.detail.contains(&format!("--hub http://{host} ")), is_known, "{refusal:?}");
        }
        for host in ["a?x=", "a/b", "user@127.0.0.1", "127.0.0.1:x", ""] {
            let path = format!("{}/{}/presign", remote.owner, remote.slug);
            asked_as(&hub, host, "POST", &path, &owner.token, &put).await.refused(400, "invalid_host");
        }
        hub.stop().await;
    }
}

/// A request to the hub that names this host.
async fn asked_as(hub: &Hub, host: &str, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str()), ("host", host)];
    send(method, &format!("{}/{path}", hub.url()), &headers, body.to_owned()).await.expect("the hub answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_operator_gives_is_one_of_the_hubs() {
    let hub = Hub::start_called(&["hub.lan"]).await;
    let owner = hub.user().await;
    let answer = asked_as(&hub, "hub.lan:99", "POST", "api/repos", &owner.token, r#"{"name": "song"}"#).await;
    let url = answer.expect(201)["clone_url"].as_str().expect("a URL").to_owned();
    assert_eq!(url, format!("http://hub.lan:99/{}/song", owner.handle));
    asked_as(&hub, "hub.other", "POST", "api/repos", &owner.token, r#"{"name": "other"}"#)
        .await
        .refused(421, "unknown_host");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_what_is_read_without_a_token() {
    for reads in [AnonymousReads::Full, AnonymousReads::Small, AnonymousReads::Off] {
        let hub = Hub::start_giving(reads).await;
        let owner = hub.user().await;
        let (small, large) = (hub.made_repo(&owner, false).await, hub.remote(&owner, "large"));
        let (little, much) = (history::linear(1, 2, 3, 1), one_file(17 << 20));
        small.push(&little, "main", little.last()).await.expect(200);
        // Straight to the storage, which is what URLs are presigned for.
        let file = much.objects.values().next().expect("an object").clone();
        let id = much.objects.keys().next().expect("an object").clone();
        let urls = large.post("presign", &json!({"object_ids": [id], "direction": "put"})).await.expect(200);
        put_well(urls["presigned"][&id].as_str().expect("a URL"), file).await;
        large.push_pack("main", false, &much.pack_of(much.last()).without_objects()).await.expect(200);
        let object = much.objects.keys().next().expect("an object").clone();
        let repo_id = large.repo_id().await;
        let presign = json!({"object_ids": [object], "direction": "get"});
        let clone = |history: &History| json!({"want": [history.last()], "have": []});

        let may = |is_allowed: bool| if is_allowed { 200 } else { 401 };
        let (not_off, full) = (may(reads != AnonymousReads::Off), may(reads == AnonymousReads::Full));
        assert_eq!(small.anonymous().get("refs").await.status, not_off, "{reads:?}");
        assert_eq!(small.anonymous().post("fetch", &clone(&little)).await.status, not_off, "{reads:?}");
        assert_eq!(large.anonymous().get("refs").await.status, not_off, "{reads:?}");
        assert_eq!(large.anonymous().post("fetch", &clone(&much)).await.status, full, "{reads:?}");
        assert_eq!(large.anonymous().object(&repo_id, &object, &[]).await.status, full, "{reads:?}");
        assert_eq!(large.anonymous().post("presign", &presign).await.status, full, "{reads:?}");
        // With one everything is as it was.
        assert_eq!(large.post("fetch", &clone(&much)).await.status, 200);
        assert_eq!(large.object(&repo_id, &object, &[]).await.status, 200);
        large.post("presign", &presign).await.expect(200);
        hub.get("health").await.expect(200);
        hub.stop().await;
    }
}
