//! Repos as an API, where it takes more than one process or a look at the stores.

use http::Method;
use serde_json::{Value, json};
use store::table::items::Role;
use tests::history;

use crate::fsck::song;
use crate::process::{Cloud, Process, USER};

/// Who asks about a repo.
const WHO: [Option<&str>; 5] = [None, Some("user-stranger"), Some("user-reader"), Some("user-writer"), Some(USER)];

/// A repo with a reader and a writer.
async fn shared(process: &Process, slug: &str, is_private: bool) {
    match is_private {
        true => process.make_private_repo(slug).await.expect(201),
        false => process.make_repo(slug).await.expect(201),
    };
    process.make_member(slug, "user-reader", Role::Read).await;
    process.make_member(slug, "user-writer", Role::Write).await;
}

#[tokio::test]
async fn who_may_see_what_a_repo_is() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    for (slug, is_private, expected) in
        [("public", false, [200, 200, 200, 200, 200]), ("private", true, [404, 404, 200, 200, 200])]
    {
        shared(&process, slug, is_private).await;
        let mut seen = Vec::new();
        let mut listed = Vec::new();
        for user in WHO {
            seen.push(process.at_repo(user, Method::GET, slug, "", &Value::Null).await.status);
            let list = process.list_repos(user, "owner=dev").await.expect(200);
            let slugs = list["repos"].as_array().unwrap().iter().map(|repo| repo["slug"].as_str().unwrap().to_owned());
            listed.push(if slugs.into_iter().any(|listed| listed == slug) { 200 } else { 404 });
        }
        assert_eq!((seen, listed), (expected.to_vec(), expected.to_vec()), "{slug}");
    }
}

/// `PATCH` of a repo by its owner.
async fn rename(process: &Process, slug: &str, to: &str) -> tests::client::Answer {
    process.at_repo(Some(USER), Method::PATCH, slug, "", &json!({"slug": to})).await
}

#[tokio::test]
async fn who_may_rename_a_repo() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    for (slug, is_private, expected) in
        [("public", false, [401, 403, 403, 403, 200]), ("private", true, [401, 404, 403, 403, 200])]
    {
        shared(&process, slug, is_private).await;
        let mut seen = Vec::new();
        for user in WHO {
            let body = json!({"slug": format!("{slug}-too")});
            seen.push(process.at_repo(user, Method::PATCH, slug, "", &body).await.status);
        }
        assert_eq!(seen, expected, "{slug}");
    }
}

#[tokio::test]
async fn processes_that_remember_a_name_follow_a_rename() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    one.make_repo("first").await.expect(201);
    let id = other.repo_id("first").await;
    for (from, to) in [("first", "second"), ("second", "third"), ("third", "first")] {
        rename(&one, from, to).await.expect(200);
        for process in [&one, &other, &cloud.process()] {
            for name in [from, to] {
                assert_eq!(process.repo_id(name).await, id, "{name} after {from} became {to}");
            }
        }
        assert_eq!(song::check(&cloud, to, true).await.findings, []);
        assert_eq!(song::check(&cloud, from, true).await.findings, []);
    }
}

/// Of a name that two repos want at once one gets it, and the other is refused.
#[tokio::test]
async fn of_two_that_want_a_name_one_gets_it() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    one.make_repo("a").await.expect(201);
    one.make_repo("b").await.expect(201);
    for (round, makes) in [(0, false), (1, true)] {
        let wanted = format!("wanted-{round}");
        let second = async { if makes { other.make_repo(&wanted).await } else { rename(&other, "b", &wanted).await } };
        let (first, second) = tokio::join!(rename(&one, "a", &wanted), second);
        let statuses = [first.status, second.status];
        assert!(statuses.contains(&409) && statuses.iter().any(|status| *status < 300), "{statuses:?}");
        let winner = if first.status == 200 { one.repo_id("a").await } else { one.repo_id(&wanted).await };
        assert_eq!(cloud.process().repo_id(&wanted).await, winner);
    }
}

#[tokio::test]
async fn two_renames_at_once_lose_no_name() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    one.make_repo("a").await.expect(201);
    let id = one.repo_id("a").await;
    let (first, second) = tokio::join!(rename(&one, "a", "b"), rename(&other, "a", "c"));
    first.expect(200);
    second.expect(200);
    for name in ["a", "b", "c"] {
        assert_eq!(cloud.process().repo_id(name).await, id);
    }
    let listed = one.list_repos(Some(USER), "").await.expect(200);
    assert_eq!(listed["repos"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(song::check(&cloud, "a", true).await.findings, []);
}

/// A push that would make a repo, and a rename that takes its name: the push goes to the repo that has the name then.
#[tokio::test]
async fn a_push_to_a_name_that_is_being_taken_makes_no_second_repo() {
    let cloud = Cloud::start().await;
    let (one, other) = (cloud.process(), cloud.process());
    let history = history::linear(1, 2, 1, 1);
    one.make_repo("a").await.expect(201);
    let renamer = cloud.process();
    other.before_transaction(async move { drop(rename(&renamer, "a", "b").await.expect(200)) });
    other.push_onto("b", "main", &history, &[], history.last()).await.expect(200);
    assert_eq!(one.heads("a").await, one.heads("b").await);
    assert_eq!(one.repo_id("a").await, one.repo_id("b").await);
}
