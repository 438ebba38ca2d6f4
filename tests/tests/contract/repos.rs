//! Repos as an API: what one is, and which ones an owner has.

use serde_json::{Value, json};
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history;
use tests::hub::{Hub, User, fresh_name};

/// The path of a repo below the hub's root.
fn path(remote: &Remote) -> String {
    format!("api/repos/{}/{}", remote.owner, remote.slug)
}

async fn get(remote: &Remote, path: &str) -> Answer {
    remote.at_root("GET", path, &[("accept", remote.encoding.accept())]).await
}

/// The slugs of a page, and where the next one begins.
fn slugs(page: &Value) -> (Vec<&str>, Option<&str>) {
    let repos = page["repos"].as_array().expect("a list");
    (repos.iter().map(|repo| repo["slug"].as_str().expect("a slug")).collect(), page["next"].as_str())
}

/// Repos of a new user with these names, private where a name says so.
async fn stocked(hub: &Hub, names: &[&str]) -> (User, Remote) {
    let user = hub.user().await;
    for name in names {
        hub.make(&hub.remote(&user, name), name.contains("secret")).await.expect(201);
    }
    let remote = hub.remote(&user, names.first().copied().unwrap_or("none"));
    (user, remote)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_repo_is_is_told_to_its_readers() {
    let hub = Hub::start().await;
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let history = history::linear(1, 2, 1, 1);
    for is_private in [false, true] {
        for encoding in Encoding::BOTH {
            let remote = hub.remote(&owner, &fresh_name("song")).speaking(encoding);
            let made = hub.make(&remote, is_private).await.expect(201);
            let before = get(&remote, &path(&remote)).await.expect(200);
            assert_eq!(before["description"], "");
            assert!(before["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{before}");
            assert!(before.get("first_pushed_at").is_none(), "{before}");
            for field in ["repo_id", "owner", "slug", "name", "visibility", "domain", "default_branch", "clone_url"] {
                assert_eq!(before[field], made[field], "{field}");
            }

            remote.push(&history, "trunk", history.last()).await.expect(200);
            let after = get(&remote, &path(&remote)).await.expect(200);
            assert_eq!(
                (after["default_branch"].as_str(), &after["created_at"]),
                (Some("trunk"), &before["created_at"])
            );
            assert!(after["first_pushed_at"].as_str() >= before["created_at"].as_str(), "{after}");

            for other in [remote.anonymous(), remote.with_token(&stranger.token)] {
                let answer = get(&other, &path(&remote)).await;
                match is_private {
                    true => drop(answer.refused(404, "repo_not_found")),
                    false => assert_eq!(answer.expect(200), after),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repos_of_an_owner_are_listed_page_by_page() {
    let hub = Hub::start().await;
    let names = ["a", "b-secret", "c", "d-secret", "e-secret", "f", "g-secret"];
    let (owner, remote) = stocked(&hub, &names).await;
    let stranger = hub.user().await;
    let public = ["a", "c", "f"];
    let query = format!("api/repos?owner={}", owner.handle);
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        let readers = [
            (remote.clone(), &names[..]),
            (remote.anonymous(), &public[..]),
            (remote.with_token(&stranger.token), &public[..]),
        ];
        for (reader, expected) in readers {
            for limit in 1..=8 {
                let (mut seen, mut after) = (Vec::new(), String::new());
                loop {
                    let page = get(&reader, &format!("{query}&limit={limit}{after}")).await.expect(200);
                    let (slugs, next) = slugs(&page);
                    seen.extend(slugs.iter().map(|slug| (*slug).to_owned()));
                    // A page that another follows is full, and the last one is not empty.
                    assert!(!slugs.is_empty() && (next.is_none() || slugs.len() == limit), "{page}");
                    assert!(next.is_none() || next == slugs.last().copied(), "{page}");
                    let Some(next) = next else { break };
                    after = format!("&after={next}");
                }
                assert_eq!(seen, expected);
            }
        }
        // The caller's own, without an owner.
        let own = get(&remote, "api/repos").await.expect(200);
        assert_eq!(slugs(&own).0, names);
        let one = &own["repos"][0];
        let alone = get(&remote, &path(&remote)).await.expect(200);
        for field in
            ["repo_id", "owner", "slug", "name", "visibility", "domain", "description", "clone_url", "created_at"]
        {
            assert_eq!(one[field], alone[field], "{field}");
        }
        assert!(one.get("default_branch").is_none(), "its branches are not read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_repos_that_is_asked_for_badly_is_refused() {
    let hub = Hub::start().await;
    let (owner, remote) = stocked(&hub, &["a"]).await;
    get(&remote.anonymous(), "api/repos").await.refused(401, "unauthorized");
    for owner in [fresh_name("nobody"), "-".to_owned(), "%00".to_owned(), "x".repeat(3_000)] {
        get(&remote, &format!("api/repos?owner={owner}")).await.refused(404, "owner_not_found");
    }
    for query in ["limit=0", "limit=101", "limit=ten", "after=-", "after=A/B"] {
        let refusal = get(&remote, &format!("api/repos?owner={}&{query}", owner.handle)).await.refused(422, "invalid");
        assert!(refusal.detail.starts_with(query.split('=').next().unwrap_or_default()), "{}", refusal.detail);
    }
    // A handle is found in either case, and what is empty says nothing.
    let upper = owner.handle.to_uppercase();
    for query in [format!("owner={upper}&limit=100"), "owner=&after=&limit=".to_owned()] {
        assert_eq!(slugs(&get(&remote, &format!("api/repos?{query}")).await.expect(200)), (vec!["a"], None));
    }
    let none = hub.user().await;
    let answer = get(&remote, &format!("api/repos?owner={}", none.handle)).await.expect(200);
    assert_eq!(answer, json!({"repos": []}));
}
