//! The branches of a repo and its push log, as clients go through them.

use serde_json::{Value, json};
use tests::client::{Answer, Remote, percent_encoded, send};
use tests::encoding::Encoding;
use tests::history::{self, History, Pack};
use tests::hub::Hub;

/// A request about a repo, to a path behind that of the repo in the API.
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

async fn get(remote: &Remote, rest: &str) -> Answer {
    ask(remote, "GET", rest, &Value::Null).await
}

async fn delete(remote: &Remote, branch: &str) -> Answer {
    ask(remote, "DELETE", &format!("/branches/{}", percent_encoded(branch)), &Value::Null).await
}

async fn put_at(remote: &Remote, branch: &str, force: bool, commit: &str) -> Answer {
    remote.push_pack(branch, force, &Pack::default().with_head(branch, commit)).await
}

/// A repo of a user's with four commits in a line, and `main` at the second.
async fn stocked(hub: &Hub) -> (Remote, History) {
    let history = history::linear(31, 4, 1, 1);
    let remote = hub.made_repo(&hub.user().await, false).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    put_at(&remote, "main", true, &history.ids()[1]).await.expect(200);
    (remote, history)
}

/// All lines of a list, in pages of this many, as a client goes through them.
async fn all(remote: &Remote, list: &str, name: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(remote, &format!("{list}limit={limit}&after={}", percent_encoded(&after))).await.expect(200);
        let lines = page[name].as_array().expect("a list");
        assert!(lines.len() <= limit, "{page}");
        found.extend(lines.iter().cloned());
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_are_listed_with_who_moved_them_and_when() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let names = ["a", "feature/größe 🎵", "main", "z"];
    for name in names.iter().filter(|name| **name != "main") {
        put_at(&remote, name, false, &history.ids()[2]).await.expect(200);
    }
    for encoding in Encoding::BOTH {
        for reader in [remote.speaking(encoding), remote.anonymous().speaking(encoding)] {
            let listed = get(&reader, "/branches").await.expect(200);
            assert!(listed.get("next").is_none(), "{listed}");
            for (branch, name) in listed["branches"].as_array().unwrap().iter().zip(names) {
                let head = &history.ids()[if name == "main" { 1 } else { 2 }];
                assert_eq!((&branch["name"], &branch["head"]), (&json!(name), &json!(head)));
                assert_eq!(branch["updated_by"], json!(remote.owner), "by the handle");
                assert!(branch["updated_at"].as_str().unwrap().ends_with('Z'), "{branch}");
                assert_eq!(branch["is_default"], json!(name == "main"));
            }
            for limit in [1, 2, 3, 4, 5] {
                assert_eq!(
                    all(&reader, "/branches?", "branches", limit).await,
                    listed["branches"].as_array().unwrap()[..]
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_push_log_has_a_line_for_each_move() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let ids = history.ids();
    put_at(&remote, "other", false, &ids[0]).await.expect(200);
    put_at(&remote, "other", false, &ids[3]).await.expect(200);
    delete(&remote, "other").await.expect(200);
    let lines = [
        ("other", json!(ids[3]), Value::Null, false, true),
        ("other", json!(ids[0]), json!(ids[3]), false, false),
        ("other", Value::Null, json!(ids[0]), false, false),
        ("main", json!(ids[3]), json!(ids[1]), true, false),
        ("main", Value::Null, json!(ids[3]), false, false),
    ];
    for encoding in Encoding::BOTH {
        for reader in [remote.speaking(encoding), remote.anonymous().speaking(encoding)] {
            let listed = get(&reader, "/log").await.expect(200);
            let listed = listed["log"].as_array().unwrap();
            assert_eq!(listed.len(), lines.len());
            for (line, (branch, before, after, forced, deleted)) in listed.iter().zip(&lines) {
                assert_eq!((&line["branch"], &line["before"], &line["after"]), (&json!(branch), before, after));
                assert_eq!((&line["forced"], &line["deleted"]), (&json!(forced), &json!(deleted)), "{line}");
                assert_eq!((&line["by"], &line["restored"]), (&json!(remote.owner), &json!(false)), "by the handle");
                assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line}");
            }
            for limit in [1, 2, 4, 5, 6] {
                assert_eq!(all(&reader, "/log?", "log", limit).await, listed[..]);
                assert_eq!(all(&reader, "/log?branch=other&", "log", limit).await, listed[..3]);
                assert_eq!(all(&reader, "/log?branch=main&", "log", limit).await, listed[3..]);
                assert_eq!(all(&reader, "/log?branch=none&", "log", limit).await, [] as [Value; 0]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_is_wrong_with_a_question() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub).await;
    for (path, field) in [
        ("/branches?limit=0", "limit"),
        ("/branches?limit=1001", "limit"),
        ("/branches?limit=x", "limit"),
        ("/branches?after=a..b", "after"),
        ("/log?limit=-1", "limit"),
        ("/log?after=main", "after"),
        ("/log?branch=a%0Ab", "branch"),
    ] {
        let detail = get(&remote, path).await.refused(422, "invalid").detail;
        assert!(detail.starts_with(&format!("{field}: ")), "{path}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repo_shows_its_branches_and_its_log_to_its_readers_alone() {
    let hub = Hub::start().await;
    let history = history::linear(32, 1, 1, 1);
    let remote = hub.made_repo(&hub.user().await, true).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let stranger = remote.with_token(&hub.user().await.token);
    for list in ["/branches", "/branches?limit=0", "/log", "/log?after=x"] {
        stranger.get("refs").await.refused(404, "repo_not_found");
        get(&stranger, list).await.refused(404, "repo_not_found");
        get(&remote.anonymous(), list).await.refused(404, "repo_not_found");
    }
    get(&remote, "/branches").await.expect(200);
    get(&remote, "/log").await.expect(200);
}

async fn protect(remote: &Remote, branch: &str, body: &Value) -> Answer {
    ask(remote, "PUT", &format!("/branches/{}/protection", percent_encoded(branch)), body).await
}

async fn protection(remote: &Remote, branch: &str) -> (Value, Value) {
    let listed = get(remote, "/branches").await.expect(200);
    let branch = listed["branches"].as_array().unwrap().iter().find(|line| line["name"] == branch).unwrap().clone();
    (branch["protected"].clone(), branch["admins_only"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_branch_goes_forward_and_is_not_deleted() {
    let hub = Hub::start().await;
    for (encoding, admins_only) in Encoding::BOTH.into_iter().zip([false, true]) {
        let (remote, history) = stocked(&hub).await;
        let (remote, ids) = (remote.speaking(encoding), history.ids());
        put_at(&remote, "feature/größe", false, &ids[1]).await.expect(200);
        let body = json!({"protected": true, "admins_only": admins_only});
        for _ in 0..2 {
            let answer = protect(&remote, "feature/größe", &body).await.expect(200);
            assert_eq!(answer, json!({"branch": "feature/größe", "protected": true, "admins_only": admins_only}));
        }
        assert_eq!(protection(&remote, "feature/größe").await, (json!(true), json!(admins_only)));
        assert_eq!(protection(&remote, "main").await, (json!(false), json!(false)));

        let refusal = put_at(&remote, "feature/größe", true, &ids[0]).await.refused(403, "branch_protected");
        assert!(refusal.detail.contains("'feature/größe'") && refusal.detail.contains("forced"), "{}", refusal.detail);
        let refusal = delete(&remote, "feature/größe").await.refused(403, "branch_protected");
        assert!(refusal.detail.contains("deleted"), "{}", refusal.detail);
        // What is no fast-forward is that first.
        put_at(&remote, "feature/größe", false, &ids[0]).await.refused(409, "non_fast_forward");
        assert_eq!(remote.heads().await["feature/größe"], ids[1]);

        // Forwards, whether forced or not, and where it is already.
        for (force, to) in [(true, 1), (false, 1), (false, 2), (true, 3), (true, 3)] {
            put_at(&remote, "feature/größe", force, &ids[to]).await.expect(200);
        }
        assert_eq!(remote.heads().await["feature/größe"], ids[3]);
        assert_eq!(protection(&remote, "feature/größe").await, (json!(true), json!(admins_only)), "a push keeps it");

        protect(&remote, "feature/größe", &json!({"protected": false})).await.expect(200);
        put_at(&remote, "feature/größe", true, &ids[0]).await.expect(200);
        delete(&remote, "feature/größe").await.expect(200);
        protect(&remote, "feature/größe", &body).await.refused(404, "branch_not_found");
        // One that is made again is not protected.
        put_at(&remote, "feature/größe", false, &ids[3]).await.expect(200);
        put_at(&remote, "feature/größe", true, &ids[0]).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_protect_a_branch_and_say_how() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub).await;
    let stranger = remote.with_token(&hub.user().await.token);
    for body in [json!({"protected": true}), json!([])] {
        let refusal = protect(&stranger, "main", &body).await.refused(403, "not_authorized");
        assert_eq!(
            refusal.detail,
            "only the owner and the admins of the repository may protect a branch: one of them can give you the role 'admin'"
        );
        protect(&remote.anonymous(), "main", &body).await.refused(401, "unauthorized");
    }
    for body in [json!([]), json!({}), json!({"protected": "yes"}), json!({"protected": true, "admins_only": null})] {
        protect(&remote, "main", &body).await.refused(400, "malformed_body");
    }
    let detail =
        protect(&remote, "main", &json!({"protected": false, "admins_only": true})).await.refused(422, "invalid");
    assert!(detail.detail.starts_with("admins_only: "), "{}", detail.detail);
    protect(&remote, "a..b", &json!({"protected": true})).await.refused(422, "invalid");
    assert_eq!(protection(&remote, "main").await, (json!(false), json!(false)));
}

async fn restore(remote: &Remote, branch: &str, to: Option<&str>) -> Answer {
    let body = to.map_or(Value::Null, |to| json!({"to": to}));
    ask(remote, "POST", &format!("/branches/{}/restore", percent_encoded(branch)), &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_push_is_undone_once_and_for_all() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let (remote, history) = stocked(&hub).await;
        let (remote, ids) = (remote.speaking(encoding), history.ids());
        let answer = restore(&remote, "main", None).await.expect(200);
        assert_eq!(answer, json!({"branch": "main", "before": ids[1], "head": ids[3]}));
        for _ in 0..2 {
            let again = restore(&remote, "main", None).await.expect(200);
            assert_eq!(again, json!({"branch": "main", "before": ids[3], "head": ids[3]}), "sent again");
        }
        assert_eq!(remote.heads().await["main"], ids[3]);
        assert_eq!(remote.anonymous().clone_all().await.commits.len(), 4);
        // What it has undone, by its name; and then a push.
        restore(&remote, "main", Some(&ids[1])).await.expect(200);
        put_at(&remote, "main", false, &ids[2]).await.expect(200);
        assert_eq!(restore(&remote, "main", None).await.expect(200)["head"], json!(ids[1]));
        let listed = get(&remote, "/log?branch=main").await.expect(200);
        let lines = listed["log"].as_array().unwrap().iter();
        let lines: Vec<_> = lines.map(|line| (line["restored"] == true, line["forced"] == true)).collect();
        assert_eq!(lines, [(true, true), (false, false), (true, true), (true, true), (false, true), (false, false)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_branch_comes_back_where_there_is_room_for_it() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let ids = history.ids();
    put_at(&remote, "feature/größe", false, &ids[2]).await.expect(200);
    delete(&remote, "feature/größe").await.expect(200);
    put_at(&remote, "feature", false, &ids[0]).await.expect(200);
    let detail = restore(&remote, "feature/größe", None).await.refused(422, "invalid").detail;
    assert!(detail.contains("feature"), "{detail}");
    delete(&remote, "feature").await.expect(200);
    let answer = restore(&remote, "feature/größe", None).await.expect(200);
    assert_eq!(answer, json!({"branch": "feature/größe", "before": null, "head": ids[2]}));
    assert_eq!(remote.heads().await["feature/größe"], ids[2]);
    assert_eq!(protection(&remote, "feature/größe").await, (json!(false), json!(false)));
    let line = get(&remote, "/log?limit=1").await.expect(200)["log"][0].clone();
    assert_eq!((&line["restored"], &line["forced"], &line["before"]), (&json!(true), &json!(false), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_say_is_not_restored() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let ids = history.ids();
    put_at(&remote, "other", false, &ids[0]).await.expect(200);
    let detail = restore(&remote, "other", None).await.refused(422, "invalid").detail;
    assert!(detail.starts_with("branch: it was made"), "{detail}");
    // A head of another branch, a commit that was no head, and none.
    for to in [&ids[3], &ids[2], &"0".repeat(64)] {
        let detail = restore(&remote, "other", Some(to)).await.refused(422, "invalid").detail;
        assert!(detail.starts_with("to: ") && detail.contains(to.as_str()), "{detail}");
    }
    restore(&remote, "none", None).await.refused(404, "branch_not_found");
    restore(&remote, "none", Some(&ids[0])).await.refused(404, "branch_not_found");
    restore(&remote, "main", Some("not an id")).await.refused(400, "malformed_body");
    restore(&remote, "a..b", None).await.refused(422, "invalid");
    let stranger = remote.with_token(&hub.user().await.token);
    restore(&stranger, "main", None).await.refused(403, "not_authorized");
    restore(&remote.anonymous(), "main", None).await.refused(401, "unauthorized");
    assert_eq!(remote.heads().await["main"], ids[1]);
}
