//! A token is taken only if the hub could have made it, and a bad one is worse than none.

use tests::client::{Answer, send};
use tests::encoding::Encoding;
use tests::history;
use tests::hub::{Hub, fresh_name};
use tests::token;

#[track_caller]
fn assert_unauthorized(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.excerpt());
    answer.refused(401, "");
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}: {:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_refused_wherever_it_is_shown() {
    let hub = Hub::start().await;
    let history = history::linear(1, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let refs = remote.get("refs").await.expect(200);
    let pack = history.pack_of(history.last());
    let object = &pack.objects[0].id;
    let repo_id = remote.repo_id().await;
    let release = serde_json::json!({"tag": "forged", "commit_id": history.last()});
    for (what, forged) in token::forgeries(hub.secret(), &hub.dev().id) {
        let forger = remote.with_token(&forged);
        for (endpoint, answer) in [
            ("refs", forger.get("refs").await),
            ("refs as msgpack", forger.speaking(Encoding::Msgpack).get("refs").await),
            ("fetch", forger.ask::<_, &str>(&[history.last()], &[]).await),
            ("push", forger.push_pack("other", false, &pack).await),
            ("push/objects", forger.push_objects(&pack.objects).await),
            ("presign", forger.presign("get", &[object]).await),
            ("uploads", forger.post_bytes("uploads", "").await),
            ("tags", forger.get("tags").await),
            ("new tags", forger.post("tags", &serde_json::json!({"tags": [release]})).await),
            ("releases", forger.get("releases").await),
            ("a new release", forger.post("releases", &release).await),
            ("a release's end", forger.delete("releases/v1").await),
            ("o", forger.object(&repo_id, object, &[]).await),
            (
                "api/repos",
                hub.post("api/repos", Some(&forged), &serde_json::json!({"name": fresh_name("forged")})).await,
            ),
            (
                "api/identities",
                hub.post("api/identities", Some(&forged), &serde_json::json!({"handle": fresh_name("forger")})).await,
            ),
        ] {
            assert_unauthorized(&format!("{what} at {endpoint}"), &answer);
        }
    }
    assert_eq!(remote.get("refs").await.expect(200), refs, "and nothing was done");
    assert_eq!(remote.get("tags").await.expect(200)["tags"], serde_json::json!([]));
    assert_eq!(remote.get("releases").await.expect(200)["releases"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_refused_even_where_there_is_no_repo() {
    let hub = Hub::start().await;
    let nothing = hub.remote(&hub.dev(), &fresh_name("nothing"));
    for (what, forged) in token::forgeries(hub.secret(), &hub.dev().id).into_iter().step_by(5) {
        assert_unauthorized(what, &nothing.with_token(&forged).get("refs").await);
        assert_unauthorized(what, &nothing.with_token(&forged).ask::<&str, &str>(&[], &[]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_needs_a_token_says_so() {
    let hub = Hub::start().await;
    for path in ["api/repos", "api/identities"] {
        let body = serde_json::json!({"name": fresh_name("n"), "handle": fresh_name("h")});
        assert_unauthorized(path, &hub.post(path, None, &body).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_or_in_a_cookie_is_no_token() {
    let hub = Hub::start().await;
    let history = history::linear(2, 1, 1, 0);
    let remote = hub.made_repo(&hub.dev(), true).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let good = remote.token.clone().unwrap();
    let cookie = format!("access_token={good}; token={good}");
    let url = format!("{}?access_token={good}&token={good}", remote.url("refs"));
    send("GET", &url, &[("cookie", &cookie)], "").await.unwrap().refused(404, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_until_it_expires() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.dev(), true).await;
    let with_exp = |exp: i64| {
        let mut claims = token::claims(&hub.dev().id);
        claims["exp"] = exp.into();
        remote.with_token(token::sign(hub.secret(), &claims))
    };
    with_exp(token::now() + 600).get("refs").await.expect(200);
    with_exp(token::now() + 100 * 365 * 86_400).get("refs").await.expect(200);
    assert_unauthorized("ten minutes ago", &with_exp(token::now() - 600).get("refs").await);
}
