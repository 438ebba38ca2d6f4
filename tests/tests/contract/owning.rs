//! What those who own a repo change of it: its branches that are to go, its default branch, who may read it.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::client::{Answer, Remote, percent_encoded, send};
use tests::encoding::Encoding;
use tests::history::{self, History, Pack};
use tests::hub::Hub;

/// A repo of the user's with these branches, all at the first of two commits.
async fn stocked(hub: &Hub, branches: &[&str], is_private: bool) -> (Remote, History) {
    let history = history::linear(1, 2, 1, 1);
    let remote = hub.made_repo(&hub.user().await, is_private).await;
    for branch in branches {
        remote.push(&history, branch, &history.ids()[0]).await.expect(200);
    }
    (remote, history)
}

async fn ask(remote: &Remote, method: &str, rest: &str, body: &Value) -> Answer {
    let url = format!("{}/api/repos/{}/{}{rest}", remote.hub, remote.owner, remote.slug);
    let bearer = format!("Bearer {}", remote.token.clone().unwrap_or_default());
    let mut headers = vec![("content-type", remote.encoding.content_type()), ("accept", remote.encoding.accept())];
    if remote.token.is_some() {
        headers.push(("authorization", bearer.as_str()));
    }
    let body = if body.is_null() { Vec::new() } else { remote.encoding.encode(body) };
    send(method, &url, &headers, body).await.expect("the hub answers")
}

async fn delete(remote: &Remote, branch: &str) -> Answer {
    ask(remote, "DELETE", &format!("/branches/{}", percent_encoded(branch)), &Value::Null).await
}

async fn patch(remote: &Remote, body: &Value) -> Answer {
    ask(remote, "PATCH", "", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_deleted_and_may_be_made_again() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let (remote, history) = stocked(&hub, &["main", "feature/größe 🎵", "b%2Fc"], false).await;
        let remote = remote.speaking(encoding);
        for branch in ["feature/größe 🎵", "b%2Fc"] {
            let answer = delete(&remote, branch).await.expect(200);
            assert_eq!(answer, json!({"deleted": branch, "head": history.ids()[0]}));
            assert!(!remote.heads().await.contains_key(branch));
            delete(&remote, branch).await.refused(404, "branch_not_found");
        }
        assert_eq!(remote.heads().await, BTreeMap::from([("main".to_owned(), history.ids()[0].clone())]));
        // What the branch reached can still be fetched, and the place of the folder is free.
        remote.push_pack("feature", false, &Pack::default().with_head("feature", &history.ids()[0])).await.expect(200);
        remote.push(&history, "b%2Fc", history.last()).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_branch_is_not_deleted_until_another_is_chosen() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub, &["trunk", "a", "x/y"], false).await;
    let detail = delete(&remote, "trunk").await.refused(422, "invalid").detail;
    assert!(detail.contains("default") && detail.contains("PATCH"), "{detail}");
    assert_eq!(patch(&remote, &json!({"default_branch": "a"})).await.expect(200)["default_branch"], "a");
    assert_eq!(remote.anonymous().default_branch().await, "a");
    delete(&remote, "a").await.refused(422, "invalid");
    delete(&remote, "trunk").await.expect(200);
    delete(&remote, "x/y").await.expect(200);
    assert_eq!(remote.heads().await.into_keys().collect::<Vec<_>>(), ["a"]);
    delete(&remote, "a").await.refused(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_repairs_a_repo_whose_first_branch_was_no_good() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub, &["feature/x"], false).await;
    remote
        .push_pack("feature", false, &Pack::default().with_head("feature", &history.ids()[0]))
        .await
        .refused(422, "invalid");
    remote.push(&history, "main", history.last()).await.expect(200);
    delete(&remote, "feature/x").await.expect(200);
    remote.push_pack("feature", false, &Pack::default().with_head("feature", &history.ids()[0])).await.expect(200);
    assert_eq!(remote.anonymous().default_branch().await, "main");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_delete_branches_and_owners_change_repos() {
    let hub = Hub::start().await;
    let (public, _) = stocked(&hub, &["main", "other"], false).await;
    let (private, _) = stocked(&hub, &["main", "other"], true).await;
    let stranger = hub.user().await.token;
    for (remote, status, code) in [(&public, 403, "not_authorized"), (&private, 404, "repo_not_found")] {
        let other = remote.with_token(&stranger);
        delete(&other, "other").await.refused(status, code);
        patch(&other, &json!({"description": "mine"})).await.refused(status, code);
        // Rights come first.
        patch(&other, &json!([])).await.refused(status, code);
        delete(&other, "no-such").await.refused(status, code);
        delete(&remote.anonymous(), "other").await.refused(401, "unauthorized");
        patch(&remote.anonymous(), &json!({})).await.refused(401, "unauthorized");
        assert_eq!(remote.heads().await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_becomes_private_and_public_again() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub, &["main"], false).await;
    for (body, visibility) in [
        (json!({"visibility": "private"}), "private"),
        (json!({"visibility": "public"}), "public"),
        (json!({"is_private": true}), "private"),
        (json!({"is_private": true, "visibility": "private"}), "private"),
        (json!({"is_private": false}), "public"),
    ] {
        for encoding in Encoding::BOTH {
            let answer = patch(&remote.speaking(encoding), &body).await.expect(200);
            assert_eq!(answer["visibility"], visibility, "{body}");
        }
        let anonymous = remote.anonymous().get("refs").await;
        assert_eq!(anonymous.status, if visibility == "public" { 200 } else { 404 }, "{body}");
        remote.get("refs").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_stays_and_what_is_wrong_changes_nothing() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let made = json!({"name": "My Song", "description": "d", "domain": "midi"});
    hub.post("api/repos", Some(&user.token), &made).await.expect(201);
    let remote = hub.remote(&user, "my-song");
    let history = history::linear(2, 1, 1, 0);
    remote.push(&history, "main", history.last()).await.expect(200);
    remote.push(&history, "x/y", history.last()).await.expect(200);
    let as_it_is = patch(&remote, &json!({})).await.expect(200);
    for (field, value) in [
        ("owner", json!(user.handle)),
        ("slug", json!("my-song")),
        ("name", json!("My Song")),
        ("description", json!("d")),
        ("domain", json!("midi")),
        ("visibility", json!("public")),
        ("default_branch", json!("main")),
    ] {
        assert_eq!(as_it_is[field], value, "{field}");
    }
    let long = "x".repeat(1_001);
    for (body, field) in [
        (json!({"default_branch": "nowhere"}), "default_branch"),
        (json!({"default_branch": ""}), "default_branch"),
        (json!({"default_branch": "x/y"}), "default_branch"),
        (json!({"default_branch": "a\nb"}), "default_branch"),
        (json!({"visibility": "secret"}), "visibility"),
        (json!({"visibility": "public", "is_private": true}), "visibility"),
        (json!({"description": long}), "description"),
        (json!({"name": "Another"}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"domain": "music"}), "domain"),
    ] {
        // The rest of a request that is refused is not done either.
        let mut all = json!({"description": "no", "is_private": true});
        all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let detail = patch(&remote, &all).await.refused(422, "invalid").detail;
        assert!(detail.starts_with(&format!("{field}: ")), "{body}: {detail}");
    }
    for body in [json!([]), json!("x"), json!({"default_branch": 5}), json!({"is_private": "yes"})] {
        patch(&remote, &body).await.refused(400, "malformed_body");
    }
    assert_eq!(patch(&remote, &json!({})).await.expect(200), as_it_is);
    let changed = patch(&remote, &json!({"name": "my  SONG!", "description": "é", "domain": "code"})).await.expect(200);
    assert_eq!(
        (&changed["name"], &changed["description"], &changed["domain"]),
        (&json!("my  SONG!"), &json!("é"), &json!("code"))
    );
    assert_eq!(remote.domain().await, "code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_and_a_deletion_that_race_leave_a_default_branch() {
    let hub = Hub::start().await;
    for round in 0..6 {
        let (remote, _) = stocked(&hub, &["trunk", "a"], false).await;
        let choice = {
            let remote = remote.clone();
            tokio::spawn(async move { patch(&remote, &json!({"default_branch": "a"})).await })
        };
        let deletion = {
            let remote = remote.clone();
            tokio::spawn(async move { delete(&remote, "a").await })
        };
        let (chosen, deleted) = (choice.await.unwrap(), deletion.await.unwrap());
        assert!(chosen.status == 200 || deleted.status == 200, "round {round}");
        assert!(
            chosen.status == 422 || deleted.status == 422,
            "round {round}: {} {}",
            chosen.excerpt(),
            deleted.excerpt()
        );
        let heads = remote.heads().await;
        assert!(heads.contains_key(&remote.default_branch().await), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_deletions_at_once_one_hears_that_it_was() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub, &["main", "a"], false).await;
    let deletions = (0..6).map(|_| {
        let remote = remote.clone();
        tokio::spawn(async move { delete(&remote, "a").await.status })
    });
    let mut statuses: Vec<u16> = join_all(deletions).await.into_iter().map(Result::unwrap).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404, 404, 404, 404, 404]);
}
