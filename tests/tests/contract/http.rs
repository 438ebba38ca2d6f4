//! HTTP as every tool expects it: HEAD, conditions, caches, pages of other sites, and the names of encodings.

use serde_json::{Value, json};
use tests::client::{Remote, send};
use tests::encoding::Encoding;
use tests::history::{self, History};
use tests::hub::Hub;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn stocked(hub: &Hub) -> (Remote, History, String, String) {
    let history = history::linear(1, 2, 3, 1);
    // Of a user of its own: what `dev` has changes with the tests beside this one, where they share a hub.
    let remote = hub.made_repo(&hub.user().await, false).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let repo_id = remote.repo_id().await;
    let object = history.objects.keys().next().unwrap().clone();
    (remote, history, repo_id, object)
}

/// What comes on a connection of its own, as it comes.
async fn raw(hub: &Hub, request: &str) -> String {
    let mut stream = TcpStream::connect(hub.url().strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_wherever_get_is_with_the_same_headers_and_no_body() {
    let hub = Hub::start().await;
    let (remote, _, repo_id, object) = stocked(&hub).await;
    let (owner, slug) = (&remote.owner, &remote.slug);
    for path in [
        "health".to_owned(),
        "openapi.json".to_owned(),
        format!("{owner}/{slug}/refs"),
        format!("{owner}/{slug}/tags"),
        format!("{owner}/{slug}/releases"),
        format!("api/repos?owner={owner}"),
        format!("api/repos/{owner}/{slug}"),
        format!("api/repos/{owner}/{slug}/stats"),
        format!("api/repos/{owner}/{slug}/webhooks"),
        format!("o/{object}?repo_id={repo_id}"),
        format!("{owner}/no-such-repo/refs"),
        "nothing/here".to_owned(),
        format!("o/{}?repo_id={repo_id}", "0".repeat(64)),
    ] {
        let get = remote.at_root("GET", &path, &[]).await;
        let head = remote.at_root("HEAD", &path, &[]).await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        for name in ["content-type", "etag", "cache-control", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
        // What changes from one moment to the next may be longer by a digit.
        if !path.contains("stats") {
            assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        }
        let host = "Host: hub\r\nConnection: close\r\n";
        let bearer = remote.token.clone().unwrap();
        let answer = raw(&hub, &format!("HEAD /{path} HTTP/1.1\r\n{host}Authorization: Bearer {bearer}\r\n\r\n")).await;
        assert!(answer.ends_with("\r\n\r\n") && answer.matches("\r\n\r\n").count() == 1, "{path}: {answer}");
    }
    // Not where there is only a POST.
    let answer = remote.at_root("HEAD", &format!("{owner}/{slug}/push"), &[]).await;
    assert_eq!(answer.status, 405);
    let answer = remote.at_root("PUT", &format!("{owner}/{slug}/tags"), &[]).await;
    let mut allowed: Vec<&str> = answer.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conditions_of_rfc_9110_hold_for_single_files() {
    let hub = Hub::start().await;
    let (remote, _, repo_id, id) = stocked(&hub).await;
    let whole = remote.object(&repo_id, &id, &[]).await;
    let (etag, other, weak) = (format!("\"{id}\""), "\"other\"".to_owned(), format!("W/\"{id}\""));
    let list = format!("{other}, {etag}");
    let date = "Sat, 29 Oct 1994 19:43:31 GMT";
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", &list, 200),
        ("if-match", &other, 412),
        ("if-match", &weak, 412),
        ("if-none-match", "*", 304),
        ("if-none-match", &weak, 304),
        ("if-none-match", &list, 304),
        ("if-none-match", &other, 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = remote.at_root(method, &format!("o/{id}?repo_id={repo_id}"), &[(name, value)]).await;
            assert_eq!(answer.status, status, "{method} {name}: {value}");
        }
    }
    remote.object(&repo_id, &id, &[("if-match", &other)]).await.refused(412, "precondition_failed");
    // What is not there has no representation that `*` would name.
    let absent = "0".repeat(64);
    for header in ["if-match", "if-none-match"] {
        remote.object(&repo_id, &absent, &[(header, "*")]).await.refused(404, "unknown_object");
    }
    for (value, status) in [(etag.as_str(), 206), (&other, 200), (&weak, 200), (date, 200), ("*", 200)] {
        let answer = remote.object(&repo_id, &id, &[("range", "bytes=1-2"), ("if-range", value)]).await;
        assert_eq!(answer.status, status, "if-range: {value}");
        let expected = if status == 206 { whole.body.slice(1..3) } else { whole.body.clone() };
        assert_eq!(answer.body, expected, "if-range: {value}");
    }
    // A range that is not satisfiable is none where the object is another.
    let beyond = [("range", "bytes=99999999-"), ("if-range", other.as_str())];
    assert_eq!(remote.object(&repo_id, &id, &beyond).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_whether_it_may_be_kept() {
    let hub = Hub::start().await;
    let (remote, history, repo_id, id) = stocked(&hub).await;
    let (owner, slug) = (remote.owner.clone(), remote.slug.clone());
    for (method, path, body) in [
        ("GET", "health".to_owned(), ""),
        ("GET", "openapi.json".to_owned(), ""),
        ("GET", format!("{owner}/{slug}/refs"), ""),
        ("GET", format!("{owner}/{slug}/tags"), ""),
        ("GET", format!("{owner}/nothing/refs"), ""),
        ("GET", "nothing".to_owned(), ""),
        ("PUT", format!("{owner}/{slug}/refs"), ""),
        ("POST", format!("{owner}/{slug}/push"), "{}"),
        ("POST", format!("{owner}/{slug}/fetch"), "{\"want\": []}"),
        ("POST", format!("{owner}/{slug}/fetch"), "nonsense"),
        ("GET", format!("o/{}?repo_id={repo_id}", "0".repeat(64)), ""),
        ("OPTIONS", format!("{owner}/{slug}/refs"), ""),
    ] {
        let headers = [("origin", "https://page.example"), ("access-control-request-method", "GET")];
        let answer = send(method, &format!("{}/{path}", hub.url()), &headers, body).await.unwrap();
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}: {}", answer.excerpt());
    }
    let answer = remote.object(&repo_id, &id, &[]).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    let url = remote.put_url(&"0".repeat(64)).await;
    let answer = send("GET", &url, &[], "").await.unwrap();
    assert_eq!(answer.header("cache-control"), "no-store", "the storage's answers too: {}", answer.excerpt());
    drop(history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_may_read_what_anybody_may_and_nothing_else() {
    let hub = Hub::start().await;
    let (remote, history, repo_id, id) = stocked(&hub).await;
    let private = hub.made_repo(&hub.dev(), true).await;
    let origin = [("origin", "https://page.example")];
    let anonymous = remote.anonymous();
    for answer in [
        anonymous.raw("GET", "refs", &origin, "").await,
        anonymous.raw("GET", "nothing", &origin, "").await,
        anonymous.raw("POST", "fetch", &origin, json!({"want": [history.last()]}).to_string()).await,
        anonymous.raw("POST", "negotiate", &origin, json!({"want": []}).to_string()).await,
        anonymous.object(&repo_id, &id, &origin).await,
        private.anonymous().raw("GET", "refs", &origin, "").await,
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{}", answer.excerpt());
        assert!(answer.header("access-control-expose-headers").contains("etag"));
    }
    // What a token opens, and what changes anything, is for no page.
    for answer in [
        private.raw("GET", "refs", &origin, "").await,
        remote.raw("GET", "refs", &origin, "").await,
        remote.raw("POST", "push", &origin, "{}").await,
        anonymous.raw("POST", "push", &origin, "{}").await,
        anonymous.raw("POST", "tags", &origin, "{}").await,
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), "", "{}", answer.excerpt());
    }
    let asked = |method| [("origin", "https://page.example"), ("access-control-request-method", method)];
    for endpoint in ["refs", "tags", "fetch", "negotiate"] {
        let answer = anonymous.raw("OPTIONS", endpoint, &asked("POST"), "").await;
        assert_eq!(answer.status, 204, "{endpoint}: {}", answer.excerpt());
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("access-control-allow-headers").contains("content-type"));
        assert!(!answer.header("access-control-allow-headers").contains("authorization"));
    }
    for endpoint in ["push", "uploads", "nothing"] {
        let answer = anonymous.raw("OPTIONS", endpoint, &asked("POST"), "").await;
        assert!([404, 405].contains(&answer.status), "{endpoint}: {}", answer.excerpt());
        assert_eq!(answer.header("access-control-allow-headers"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn msgpack_is_spoken_by_each_of_its_names() {
    let hub = Hub::start().await;
    let (remote, history, ..) = stocked(&hub).await;
    let body = Encoding::Msgpack.encode(&json!({"want": [history.last()], "have": []}));
    for name in [
        "application/x-msgpack",
        "application/vnd.msgpack",
        "application/msgpack",
        "Application/MsgPack; charset=binary",
    ] {
        let accept = name.split(';').next().unwrap();
        let answer = remote.raw("POST", "fetch", &[("content-type", name), ("accept", accept)], body.clone()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.excerpt());
        assert_eq!(answer.header("content-type"), accept.to_lowercase());
        assert_eq!(Encoding::Msgpack.decode(&answer.body).unwrap()["branch_heads"]["main"], history.last());
        let answer = remote.raw("GET", "refs", &[("accept", &format!("{accept}, application/json"))], "").await;
        assert_eq!(answer.header("content-type"), accept.to_lowercase());
    }
    // Errors are JSON, whatever was accepted.
    remote
        .raw("POST", "fetch", &[("content-type", "application/msgpack"), ("accept", "application/msgpack")], "")
        .await
        .refused(400, "malformed_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_before_json_is_passed_over() {
    let hub = Hub::start().await;
    let (remote, history, ..) = stocked(&hub).await;
    let body = json!({"want": [history.last()]}).to_string();
    let answer = remote.post_bytes("fetch", format!("\u{feff}{body}")).await.expect(200);
    assert_eq!(answer["branch_heads"]["main"], history.last());
    remote.post_bytes("fetch", format!("\u{feff}\u{feff}{body}")).await.refused(400, "malformed_body");
    remote.post_bytes("fetch", "\u{feff}").await.refused(400, "malformed_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_is_published_is_answered_with_a_sentence() {
    let hub = Hub::start().await;
    let body =
        json!({"author_slug": "dev", "slug": "genome", "display_name": "Genome", "version": "0.1", "capabilities": {}});
    for token in [None, Some(hub.dev().token)] {
        let detail = hub.post("api/v1/domains", token.as_deref(), &body).await.refused(404, "not_found").detail;
        assert!(detail.contains("domains publish") && detail.contains("repositor"), "{detail}");
        assert!(detail.len() < 330, "a client shows 400 characters of it all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_a_commit_that_is_there_are_refused_and_not_lost_in_silence() {
    let hub = Hub::start().await;
    let history = history::linear(3, 2, 2, 1);
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let pack = history.pack(&history.ids()[..1]);
        remote.push_pack("main", false, &pack).await.expect(200);
        for (field, value) in [("reviewed_by", json!(["ann"])), ("test_runs", json!(3))] {
            let mut annotated = pack.clone();
            annotated.commits[0].set(field, value);
            let answer = remote.push_pack("main", false, &annotated).await;
            let detail = answer.refused(422, "invalid").detail;
            assert!(detail.contains(&history.ids()[0]) && detail.contains("reviewed_by"), "{detail}");
            // The first time they are kept as they are, and the same again is no other.
            let fresh = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
            for _ in 0..2 {
                fresh.push_pack("main", false, &annotated).await.expect(200);
            }
            // A push that sends none takes none away.
            fresh.push_pack("main", false, &pack).await.expect(200);
            let fetched = fresh.ask::<_, &str>(&[&history.ids()[0]], &[]).await.expect(200);
            assert_ne!(fetched["commits"][0][field], Value::Null);
            assert_eq!(fetched["commits"][0][field], annotated.commits[0].0[field]);
        }
        assert_eq!(remote.heads().await["main"], history.ids()[0]);
    }
}
