//! Webhooks: who may have them, and what they hear.

use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use local::serve::Storage;
use serde_json::{Value, json};
use store::table::items::Key;
use tests::client::{Answer, Remote, send};
use tests::encoding::Encoding;
use tests::history::{self, History};
use tests::hub::{Hub, fresh_name};
use tests::receiver::{Delivery, Receiver, answer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A request about the webhooks of a repo.
async fn ask(remote: &Remote, method: &str, id: &str, body: &[u8]) -> Answer {
    let url = format!("{}/api/repos/{}/{}/webhooks{id}", remote.hub, remote.owner, remote.slug);
    let bearer = remote.token.as_ref().map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", remote.encoding.content_type()), ("accept", remote.encoding.accept())];
    headers.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
    send(method, &url, &headers, body.to_vec()).await.expect("the hub answers")
}

async fn post(remote: &Remote, body: &Value) -> Answer {
    ask(remote, "POST", "", &remote.encoding.encode(body)).await
}

async fn list(remote: &Remote) -> Vec<Value> {
    ask(remote, "GET", "", &[]).await.expect(200)["webhooks"].as_array().expect("a list").clone()
}

/// A webhook that leads to a receiver, and its secret. It does not want to hear that the repo was made, which it may if
/// that was a moment ago.
async fn made(remote: &Remote, url: &str) -> (String, String) {
    let events = ["RefUpdated", "TagUpdated", "ReleasePublished"];
    let made = post(remote, &json!({"url": url, "events": events})).await.expect(201);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

/// The branches that deliveries say were pushed, in their order, each once.
fn branches(seen: &[Delivery]) -> Vec<String> {
    let mut branches: Vec<String> = Vec::new();
    for delivery in seen {
        let event = delivery.event();
        let Some(branch) = event["data"]["branch"].as_str().map(str::to_owned) else { continue };
        if !branches.contains(&branch) {
            branches.push(branch);
        }
    }
    branches
}

async fn push(remote: &Remote, history: &History, branch: &str) {
    remote.push(history, branch, history.last()).await.expect(200);
}

async fn in_directory(path: &Path) -> Hub {
    Hub::start_own(Storage::Directory(path.to_owned()), false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_has_to_do_with_the_webhooks_of_a_repo() {
    let hub = Hub::start().await;
    let url = "https://example.com/hooks";
    let (owner, other) = (hub.user().await, hub.user().await);
    for (is_private, status, code) in [(false, 403, "not_authorized"), (true, 404, "repo_not_found")] {
        let remote = hub.made_repo(&owner, is_private).await;
        let (id, _) = made(&remote, url).await;
        let (stranger, anonymous) = (remote.with_token(&other.token), remote.anonymous());
        for (method, id) in [("POST", String::new()), ("GET", String::new()), ("DELETE", format!("/{id}"))] {
            let body = Encoding::Json.encode(&json!({"url": url}));
            ask(&stranger, method, &id, &body).await.refused(status, code);
            ask(&anonymous, method, &id, &body).await.refused(401, "unauthorized");
        }
        assert_eq!(list(&remote).await.len(), 1);
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_never_listed() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.user().await, false).await;
    let mut secrets = Vec::new();
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        let url = "https://example.com/hooks?token=x";
        let made = post(&remote, &json!({"url": url, "events": ["TagUpdated", "RefUpdated"]})).await.expect(201);
        let secret = made["secret"].as_str().unwrap();
        assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
        assert_eq!(
            (&made["url"], &made["active"], &made["inactive_because"]),
            (&json!(url), &json!(true), &json!(null))
        );
        secrets.push(secret.to_owned());
    }
    let given = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let made = post(&remote, &json!({"url": "https://example.com", "secret": given})).await.expect(201);
    assert_eq!((&made["secret"], &made["events"]), (&json!(given), &json!(null)));
    secrets.push(given.to_owned());
    assert_ne!(secrets[0], secrets[1]);

    let listed = ask(&remote, "GET", "", &[]).await;
    let text = String::from_utf8(listed.body.to_vec()).unwrap();
    assert!(!text.contains("whsec_") && !text.contains("secret"), "{text}");
    let listed = list(&remote).await;
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0]["events"], json!(["RefUpdated", "TagUpdated"]));
    let refused = post(&remote, &json!({"url": "https://example.com", "secret": "whsec_short"})).await;
    assert!(!refused.refused(422, "invalid").detail.contains("whsec_short"));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_gone_when_it_was_deleted() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.user().await, false).await;
    let (kept, _) = made(&remote, "https://example.com/1").await;
    let (id, _) = made(&remote, "https://example.com/2").await;
    assert_eq!(ask(&remote, "DELETE", &format!("/{id}"), &[]).await.expect(200), json!({"deleted": id}));
    ask(&remote, "DELETE", &format!("/{id}"), &[]).await.refused(404, "webhook_not_found");
    ask(&remote, "DELETE", "/nonsense", &[]).await.refused(422, "invalid");
    let listed = list(&remote).await;
    assert_eq!(listed.iter().map(|hook| &hook["id"]).collect::<Vec<_>>(), [&json!(kept)]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_what_a_webhook_may_be_there_is_a_clear_answer() {
    let hub = Hub::start_with_public_webhooks().await;
    let remote = hub.made_repo(&hub.user().await, false).await;
    for url in [
        "http://example.com/hooks",
        "https://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "https://me:sesame@example.com/",
        "https://example.com/#part",
        "not a URL",
        &format!("https://example.com/{}", "x".repeat(2_048)),
    ] {
        let refusal = post(&remote, &json!({"url": url})).await.refused(422, "invalid");
        assert!(refusal.detail.starts_with("url: ") && !refusal.detail.contains("sesame"), "{refusal:?}");
    }
    for (body, status, code) in [
        (json!({}), 400, "malformed_body"),
        (json!({"url": 7}), 400, "malformed_body"),
        (json!({"url": "https://example.com", "events": []}), 422, "invalid"),
        (json!({"url": "https://example.com", "events": ["Anything"]}), 422, "invalid"),
        (json!({"url": "https://example.com", "events": vec!["RefUpdated"; 17]}), 422, "too_many"),
        (json!({"url": "https://example.com", "secret": ""}), 422, "invalid"),
    ] {
        post(&remote, &body).await.refused(status, code);
    }
    assert_eq!(list(&remote).await.len(), 0);
    for number in 0..20 {
        post(&remote, &json!({"url": format!("https://example.com/{number}")})).await.expect(201);
    }
    let refusal = post(&remote, &json!({"url": "https://example.com/20"})).await.refused(422, "too_many");
    assert!(refusal.detail.contains("20"), "{refusal:?}");
    assert_eq!(list(&remote).await.len(), 20);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_delivered_signed_and_in_order() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let receiver = Receiver::start().await;
    let remote = hub.made_repo(&hub.user().await, true).await;
    let (_, secret) = made(&remote, &receiver.url("/all?token=x")).await;
    let tags = post(&remote, &json!({"url": receiver.url("/tags"), "events": ["TagUpdated"]})).await.expect(201);
    let another = hub.repo().await;
    let history = history::linear(1, 3, 4, 1);

    push(&another, &history, "unheard").await;
    for branch in ["one", "two", "three"] {
        push(&remote, &history, branch).await;
    }
    remote.post("tags", &json!({"tags": [{"tag": "take-1", "commit_id": history.last()}]})).await.expect(200);
    let release = json!({
        "tag": "v1", "commit_id": history.last(), "channel": "stable", "title": "First", "body": "", "is_draft": false,
    });
    remote.post("releases", &release).await.expect(201);

    let seen = receiver.until_seen(6).await;
    let of = |path: &str| seen.iter().filter(|seen| seen.path == path).cloned().collect::<Vec<_>>();
    let all = of("/all?token=x");
    for delivery in &all {
        delivery.assert_signed(&secret);
        assert_eq!(delivery.header("content-type"), "application/json");
        assert!(delivery.header("user-agent").starts_with("musehub/"), "{delivery:?}");
        assert_eq!(delivery.event()["id"], json!(delivery.id()));
        assert_eq!(delivery.event()["repo"]["slug"], json!(remote.slug));
    }
    let kinds: Vec<Value> = all.iter().map(|delivery| delivery.event()["type"].clone()).collect();
    assert_eq!(kinds, ["RefUpdated", "RefUpdated", "RefUpdated", "TagUpdated", "ReleasePublished"]);
    assert_eq!(branches(&all[..3]), ["one", "two", "three"]);
    let tagged = of("/tags");
    assert_eq!(tagged.len(), 1);
    tagged[0].assert_signed(tags["secret"].as_str().unwrap());
    assert_eq!(tagged[0].event(), all[3].event(), "the same event for both");
    let other = standardwebhooks::Webhook::new(&secret).unwrap();
    other.verify(&tagged[0].body, &tagged[0].headers).expect_err("each has a secret of its own");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_down_gets_everything_in_order_and_holds_up_no_other() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (down, up) = (Receiver::start().await, Receiver::start().await);
    let remote = hub.made_repo(&hub.user().await, false).await;
    let (_, secret) = made(&remote, &down.url("/")).await;
    made(&remote, &up.url("/")).await;
    down.answers(503);
    let history = history::linear(2, 3, 4, 1);
    let pushed: Vec<String> = (0..5).map(|number| format!("b{number}")).collect();
    for branch in &pushed {
        push(&remote, &history, branch).await;
    }
    assert_eq!(branches(&up.until_seen(5).await), pushed);
    let failed = down.until_seen(2).await;
    down.answers(200);
    let seen = down.until(|seen| branches(seen).len() == 5).await;
    assert_eq!(branches(&seen), pushed);
    // Each attempt at a message is the same message, signed at its own time.
    assert!(failed.iter().all(|attempt| attempt.id() == seen[0].id() && attempt.body == seen[0].body));
    seen.last().unwrap().assert_signed(&secret);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_delivered_when_a_hub_ended_is_delivered_when_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let history = history::linear(3, 3, 4, 1);
    let hub = in_directory(directory.path()).await;
    let owner = hub.user().await;
    let remote = hub.made_repo(&owner, false).await;
    made(&remote, &receiver.url("/")).await;
    push(&remote, &history, "delivered").await;
    receiver.until_seen(1).await;
    receiver.answers(500);
    push(&remote, &history, "failed").await;
    receiver.until_seen(2).await;
    push(&remote, &history, "waited").await;
    hub.stop().await;

    // What is pushed to a hub that delivers nothing is delivered later as well.
    let hub = Hub::start_without_webhooks(directory.path()).await;
    let remote = Remote { hub: hub.url().to_owned(), ..remote };
    push(&remote, &history, "unnoticed").await;
    hub.stop().await;
    let before = receiver.seen();
    assert!(branches(&before).len() == 2, "{before:?}");

    receiver.answers(204);
    let hub = in_directory(directory.path()).await;
    let seen = receiver.until(|seen| branches(seen).len() == 4).await;
    assert_eq!(branches(&seen), ["delivered", "failed", "waited", "unnoticed"]);
    let failed: Vec<&str> =
        seen.iter().filter(|seen| branches(&[(*seen).clone()]) == ["failed"]).map(Delivery::id).collect();
    assert!(failed.len() >= 2 && failed.iter().all(|id| *id == failed[0]), "{failed:?}");
    // What was delivered and noted is not delivered again.
    assert_eq!(seen.iter().filter(|delivery| branches(&[(*delivery).clone()]) == ["delivered"]).count(), 1);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_whose_url_is_gone_is_turned_off() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (gone, other) = (Receiver::start().await, Receiver::start().await);
    let remote = hub.made_repo(&hub.user().await, false).await;
    made(&remote, &gone.url("/")).await;
    made(&remote, &other.url("/")).await;
    gone.answers(410);
    let history = history::linear(4, 3, 4, 1);
    push(&remote, &history, "one").await;
    gone.until_seen(1).await;
    let patience = std::time::Duration::from_secs(60);
    let is_off = async {
        while list(&remote).await[0]["active"] == json!(true) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, is_off).await.expect("it is turned off");
    assert!(list(&remote).await[0]["inactive_because"].as_str().unwrap().contains("410"));
    for branch in ["two", "three"] {
        push(&remote, &history, branch).await;
    }
    other.until_seen(3).await;
    assert_eq!(gone.seen().len(), 1);
    assert_eq!(list(&remote).await[1]["active"], json!(true));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let remote = hub.made_repo(&hub.user().await, false).await;
    made(&remote, &receiver.url("/")).await;
    let target = elsewhere.url("/");
    // Each way to lead elsewhere, and then an end to it.
    let mut statuses = [301, 302, 303, 307, 308].into_iter();
    receiver.script(move |_| match statuses.next() {
        Some(status) => {
            let mut answer = answer(status);
            answer.headers_mut().insert("location", target.parse().unwrap());
            answer
        }
        None => answer(200),
    });
    let history = history::linear(5, 3, 4, 1);
    push(&remote, &history, "one").await;
    let seen = receiver.until_seen(6).await;
    assert!(elsewhere.seen().is_empty() && branches(&seen) == ["one"], "{seen:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fits_in_a_line_is_delivered_all_the_same() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let receiver = Receiver::start().await;
    let remote = hub.made_repo(&hub.user().await, false).await;
    let history = history::linear(6, 2, 3, 1);
    push(&remote, &history, "main").await;
    // Not the push: it was a moment before, and may be delivered all the same.
    let hook = post(&remote, &json!({"url": receiver.url("/"), "events": ["TagUpdated"]})).await.expect(201);
    let secret = hook["secret"].as_str().expect("a secret");
    let names: Vec<String> = (0..1_500).map(|number| format!("{}-{number}", fresh_name("t"))).collect();
    let tags: Vec<Value> = names.iter().map(|tag| json!({"tag": tag, "commit_id": history.last()})).collect();
    remote.post("tags", &json!({"tags": tags})).await.expect(200);
    let tagged = |seen: &[Delivery]| {
        let name = |delivery: &Delivery| delivery.event()["data"]["tag"].as_str().unwrap_or_default().to_owned();
        seen.iter().map(name).collect::<std::collections::BTreeSet<_>>()
    };
    let seen = receiver.until(|seen| seen.len() >= names.len() && tagged(seen).len() >= names.len()).await;
    assert_eq!(tagged(&seen), names.into_iter().collect());
    seen[0].assert_signed(secret);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_worked_to_its_end_and_delivered_though_the_client_hangs_up() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let receiver = Receiver::start().await;
    let remote = hub.made_repo(&hub.user().await, false).await;
    made(&remote, &receiver.url("/")).await;
    let history = history::linear(7, 3, 4, 1);
    let bundle = history.pack_of(history.last()).with_head("main", history.last());
    let body = Encoding::Json.encode(&json!({"bundle": bundle.to_value(), "branch": "main", "force": false}));
    let head = format!(
        "POST /{}/{}/push HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        remote.owner,
        remote.slug,
        remote.token.as_ref().unwrap(),
        body.len()
    );
    let mut stream = TcpStream::connect(hub.url().strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    // Long before a push of several writes can be answered.
    drop(stream);
    let seen = receiver.until_seen(1).await;
    assert_eq!(branches(&seen), ["main"]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_cannot_be_read_keeps_nothing_from_the_others() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let receiver = Receiver::start().await;
    let remote = hub.made_repo(&hub.user().await, false).await;
    let history = history::linear(8, 3, 4, 1);
    made(&remote, &receiver.url("/")).await;
    push(&remote, &history, "before").await;
    receiver.until_seen(1).await;

    let store = &hub.running().hub().store;
    let [(repo, hook)] = &store.all_hooks().await.unwrap()[..] else { panic!("one webhook") };
    let mut damaged = store.item(&Key::hook(repo, *hook)).await.unwrap().unwrap();
    damaged.remove("url");
    let sk = format!("HOOK#{}", store.ambient().ulid());
    damaged.insert("sk".to_owned(), AttributeValue::S(sk));
    store.put_items(vec![damaged]).await.unwrap();
    for branch in ["one", "two"] {
        push(&remote, &history, branch).await;
    }
    let seen = receiver.until(|seen| branches(seen).len() == 3).await;
    assert_eq!(branches(&seen), ["before", "one", "two"]);
    hub.stop().await;
}
