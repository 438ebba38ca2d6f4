//! Handles and repos.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::history;
use tests::hub::{Hub, fresh_name};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_takes_a_handle() {
    let hub = Hub::start().await;
    let (user, handle) = (fresh_name("user"), fresh_name("h"));
    let body = json!({"handle": handle, "display_name": "Ann Ü. 🎵"});
    let answer = hub.post("api/identities", Some(&hub.token(&user)), &body).await.expect(201);
    assert_eq!(answer["handle"], handle);
    assert_eq!(answer["user_id"], user);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_is_taken_once() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let body = json!({"handle": user.handle});
    hub.post("api/identities", Some(&hub.token(&fresh_name("user"))), &body).await.refused(409, "handle_taken");
    hub.post("api/identities", Some(&hub.token(&fresh_name("user"))), &json!({"handle": "dev"}))
        .await
        .refused(409, "handle_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_takes_one_handle() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let second = fresh_name("h");
    hub.post("api/identities", Some(&user.token), &json!({"handle": second})).await.refused(409, "");
    // The second name is still free, and the first still theirs.
    hub.post("api/identities", Some(&hub.token(&fresh_name("user"))), &json!({"handle": second})).await.expect(201);
    assert_eq!(hub.made_repo(&user, false).await.owner, user.handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_users_at_one_handle_exactly_one_gets_it() {
    let hub = Hub::start().await;
    for _ in 0..5 {
        let handle = fresh_name("h");
        let users: Vec<String> = (0..8).map(|_| fresh_name("user")).collect();
        let body = json!({"handle": handle});
        let answers = join_all(users.iter().map(|user| {
            let token = hub.token(user);
            let (hub, body) = (&hub, &body);
            async move { hub.post("api/identities", Some(&token), body).await }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        for (user, answer) in users.iter().zip(&answers) {
            if answer.status == 201 {
                assert_eq!(answer.expect(201)["user_id"], user.as_str());
            } else {
                answer.refused(409, "handle_taken");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_has_to_be_given() {
    let hub = Hub::start().await;
    let token = hub.token(&fresh_name("user"));
    for body in [
        json!({}),
        json!({"handle": ""}),
        json!({"handle": null}),
        json!({"handle": 7}),
        json!({"handle": ["h"]}),
        json!([]),
        json!("h"),
    ] {
        hub.post("api/identities", Some(&token), &body).await.refused_somehow();
    }
    // A handle is one part of a path.
    for handle in ["a/b", "/", "..", ".", "a\u{0}b", "\n", "-"] {
        hub.post("api/identities", Some(&token), &json!({"handle": handle})).await.refused_somehow();
    }
    // Nor one that is the hub's own, or may be.
    for handle in ["api", "o", "health", "uploads", "login", "logout", "metrics", "hub", "static", "assets"] {
        hub.post("api/identities", Some(&token), &json!({"handle": handle})).await.refused(409, "handle_taken");
    }
    hub.post("api/identities", Some(&token), &json!({"handle": fresh_name("h")})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_repo_is_described_and_empty() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let body = json!({"name": "Opus 1", "is_private": false, "description": "d 🎵", "domain": "midi", "default_branch": "trunk"});
    let answer = hub.post("api/repos", Some(&user.token), &body).await.expect(201);
    let expected = json!({
        "owner": user.handle, "slug": "opus-1", "name": "Opus 1", "visibility": "public", "domain": "midi", "default_branch": "trunk",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&answer[field], value, "{field}");
    }
    let repo_id = answer["repo_id"].as_str().filter(|id| !id.is_empty()).expect("an id");
    let clone_url = answer["clone_url"].as_str().expect("a URL");
    assert!(clone_url.starts_with("http") && clone_url.ends_with(&format!("/{}/opus-1", user.handle)), "{clone_url}");

    let remote = hub.remote(&user, "opus-1");
    for reader in [&remote, &remote.anonymous()] {
        for encoding in tests::encoding::Encoding::BOTH {
            let refs = reader.speaking(encoding).get("refs").await.expect(200);
            for (field, value) in
                [("repo_id", json!(repo_id)), ("domain", json!("midi")), ("default_branch", json!("trunk"))]
            {
                assert_eq!(refs[field], value, "{field}");
            }
            assert_eq!(refs["branch_heads"], json!({}));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repo_says_that_it_is() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let answer =
        hub.post("api/repos", Some(&user.token), &json!({"name": "quiet", "is_private": true})).await.expect(201);
    assert_eq!(answer["visibility"], "private");
    let remote = hub.remote(&user, "quiet");
    remote.get("refs").await.expect(200);
    remote.anonymous().get("refs").await.refused(404, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_is_made_of_the_name() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let long = "x".repeat(64);
    for (name, slug) in [
        ("My Song!", "my-song"),
        ("  --Hello   World--  ", "hello-world"),
        ("a_b.c/d", "a-b-c-d"),
        ("ÜBER cool", "ber-cool"),
        ("12", "12"),
        ("🎵 notes 🎵", "notes"),
        ("A\u{0}B\nC", "a-b-c"),
        ("../../etc/passwd", "etc-passwd"),
        (long.as_str(), long.as_str()),
    ] {
        let answer = hub.post("api/repos", Some(&user.token), &json!({"name": name})).await.expect(201);
        assert_eq!(answer["slug"], slug, "{name:?}");
        hub.remote(&user, slug).get("refs").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leaves_no_slug_is_refused() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    for name in ["", "   ", "!!!", "---", "日本語", "🎵", "\u{0}"] {
        hub.post("api/repos", Some(&user.token), &json!({"name": name})).await.refused(422, "");
    }
    // Cut, two long names would be one.
    for long in ["x".repeat(65), format!("{} y", "x".repeat(64)), "x".repeat(999)] {
        let detail =
            hub.post("api/repos", Some(&user.token), &json!({"name": long})).await.refused(422, "invalid").detail;
        assert!(detail.contains("64"), "{detail}");
    }
    for body in [
        json!({}),
        json!({"name": null}),
        json!({"name": 7}),
        json!({"name": "x", "is_private": "yes"}),
        json!([]),
        json!("x"),
    ] {
        hub.post("api/repos", Some(&user.token), &body).await.refused_somehow();
    }
    hub.post("api/repos", Some(&user.token), &json!({"name": "x"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_is_taken_once_for_each_owner() {
    let hub = Hub::start().await;
    let (user, other) = (hub.user().await, hub.user().await);
    let first = hub.post("api/repos", Some(&user.token), &json!({"name": "My Song"})).await.expect(201);
    for name in ["My Song", "my-song", "MY  SONG!"] {
        for is_private in [false, true] {
            let body = json!({"name": name, "is_private": is_private});
            hub.post("api/repos", Some(&user.token), &body).await.refused(409, "repo_exists");
        }
    }
    let second = hub.post("api/repos", Some(&other.token), &json!({"name": "My Song"})).await.expect(201);
    assert_ne!(first["repo_id"], second["repo_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_repo_that_was_pushed_to_does_not_touch_it() {
    let hub = Hub::start().await;
    let history = history::linear(1, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let refs = remote.get("refs").await.expect(200);
    hub.make(&remote, true).await.refused(409, "repo_exists");
    assert_eq!(remote.anonymous().get("refs").await.expect(200), refs);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_requests_for_one_repo_exactly_one_makes_it() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    for round in 0..5 {
        let body = json!({"name": format!("race {round}")});
        let answers = join_all((0..8).map(|_| hub.post("api/repos", Some(&user.token), &body))).await;
        let made: Vec<Value> =
            answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.expect(201)).collect();
        assert_eq!(made.len(), 1, "round {round}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "repo_exists");
        }
        let refs = hub.remote(&user, &format!("race-{round}")).get("refs").await.expect(200);
        assert_eq!(refs["repo_id"], made[0]["repo_id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_handle_has_no_repos() {
    let hub = Hub::start().await;
    hub.post("api/repos", Some(&hub.token(&fresh_name("user"))), &json!({"name": "homeless"})).await.refused_somehow();
}
