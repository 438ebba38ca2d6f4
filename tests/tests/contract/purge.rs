//! What leaked and was purged is served to no client and taken from none, and everything else goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tests::client::{Answer, Remote, send};
use tests::encoding::Encoding;
use tests::history::{Builder, History, Object, Pack};
use tests::hub::Hub;

async fn ask(remote: &Remote, method: &str, body: &Value) -> Answer {
    let url = format!("{}/api/repos/{}/{}/purge", remote.hub, remote.owner, remote.slug);
    let bearer = format!("Bearer {}", remote.token.clone().unwrap_or_default());
    let mut headers = vec![("content-type", remote.encoding.content_type()), ("accept", remote.encoding.accept())];
    if remote.token.is_some() {
        headers.push(("authorization", bearer.as_str()));
    }
    let body = if body.is_null() { Vec::new() } else { remote.encoding.encode(body) };
    send(method, &url, &headers, body).await.expect("the hub answers")
}

/// A history whose second commit adds a file that leaks and whose third takes it away.
fn leaking() -> (History, Object) {
    let mut builder = Builder::new(5);
    let mut tree = builder.files(3);
    let first = builder.commit(&[], &tree);
    let secret = Object::new(builder.bytes(400));
    tree.insert("keys.env".to_owned(), secret.content.clone());
    let second = builder.commit(&[&first], &tree);
    tree.remove("keys.env");
    builder.commit(&[&second], &tree);
    (builder.finish(), secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_is_served_to_no_client_and_taken_from_none() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let (history, secret) = leaking();
        let remote = hub.made_repo(&hub.user().await, false).await.speaking(encoding);
        let leaked = &history.ids()[1];
        remote.push(&history, "main", leaked).await.expect(200);
        let repo_id = remote.repo_id().await;
        assert_eq!(remote.object(&repo_id, &secret.id, &[]).await.status, 200);

        let prefixed = format!("sha256:{}", secret.id);
        let answer = ask(&remote, "POST", &json!({"objects": [prefixed], "reason": "a key"})).await.expect(200);
        assert_eq!(
            (&answer["purged"][0]["object_id"], &answer["purged"][0]["reason"]),
            (&json!(prefixed), &json!("a key"))
        );
        for reader in [remote.clone(), remote.anonymous()] {
            reader.object(&repo_id, &secret.id, &[]).await.refused(410, "object_gone");
            let fetched = reader.ask::<_, &str>(&[leaked], &[]).await.expect(200);
            assert_eq!(fetched["purged"], json!([secret.id]));
            let pack = Pack::from_value(&fetched).unwrap();
            let mut expected = history.objects_of(&history.reachable(&[leaked]));
            assert!(expected.remove(&secret.id));
            assert_eq!(pack.object_ids(), expected);
            assert_eq!(pack.commits.len(), 2);
        }
        assert!(remote.presigned("get", &[&secret.id]).await.is_empty());

        remote.push_objects(std::slice::from_ref(&secret)).await.refused(422, "object_purged");
        remote.presign("put", &[&secret.id]).await.refused(422, "object_purged");
        let again = history.pack(&[leaked]).with_head("again", leaked);
        remote.push_pack("again", false, &again).await.refused(422, "object_purged");
        assert_eq!(remote.missing(&[&secret.id]).await, [] as [&str; 0]);
        let fixed = history.pack(&[history.last()]).with_head("main", history.last());
        remote.push_pack("main", false, &fixed).await.expect(200);

        // The hub erases its bytes by itself.
        for _ in 0..600 {
            let shown = ask(&remote, "GET", &Value::Null).await.expect(200);
            assert_eq!(shown["purged"][0]["object_id"], json!(secret.id));
            if shown["bytes"] != "being_erased" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(ask(&remote, "GET", &Value::Null).await.expect(200)["bytes"], "erased");
        remote.object(&repo_id, &secret.id, &[]).await.refused(410, "object_gone");
        assert_eq!(remote.clone_all_but(&[&secret.id]).await.commits.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_purges_or_sees_what_was() {
    let hub = Hub::start().await;
    let stranger = hub.user().await.token;
    for (is_private, status, code) in [(false, 403, "not_authorized"), (true, 404, "repo_not_found")] {
        let remote = hub.made_repo(&hub.user().await, is_private).await;
        let body = json!({"objects": ["0".repeat(64)]});
        for (method, body) in [("POST", &body), ("GET", &Value::Null)] {
            ask(&remote.with_token(&stranger), method, body).await.refused(status, code);
            ask(&remote.anonymous(), method, body).await.refused(401, "unauthorized");
        }
        let shown = ask(&remote, "GET", &Value::Null).await.expect(200);
        assert_eq!(shown, json!({"purged": [], "bytes": "gone"}));
        ask(&remote, "POST", &json!({"objects": []})).await.refused(422, "invalid");
        ask(&remote, "POST", &json!({})).await.refused(400, "malformed_body");
    }
}
