//! Repos as an API: what one is, and which ones an owner has.

use serde_json::{Value, json};
use tests::client::{Answer, Remote, send};
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
    // Who means a variable that is empty does not mean their own.
    get(&remote, "api/repos?owner=").await.refused(404, "owner_not_found");
    for query in
        ["limit=0", "limit=101", "limit=ten", "limit=", "after=-", "after=A/B", "after=", "deleted=", "deleted=no"]
    {
        let refusal = get(&remote, &format!("api/repos?owner={}&{query}", owner.handle)).await.refused(422, "invalid");
        assert!(refusal.detail.starts_with(query.split('=').next().unwrap_or_default()), "{}", refusal.detail);
    }
    // A handle is found in either case.
    let query = format!("api/repos?owner={}&limit=100", owner.handle.to_uppercase());
    assert_eq!(slugs(&get(&remote, &query).await.expect(200)), (vec!["a"], None));
    let none = hub.user().await;
    let answer = get(&remote, &format!("api/repos?owner={}", none.handle)).await.expect(200);
    assert_eq!(answer, json!({"repos": []}));
}

async fn patch(remote: &Remote, body: &Value) -> Answer {
    let url = format!("{}/{}", remote.hub, path(remote));
    let bearer = format!("Bearer {}", remote.token.clone().unwrap_or_default());
    let mut headers = vec![("content-type", remote.encoding.content_type()), ("accept", remote.encoding.accept())];
    if remote.token.is_some() {
        headers.push(("authorization", bearer.as_str()));
    }
    send("PATCH", &url, &headers, remote.encoding.encode(body)).await.expect("the hub answers")
}

fn called(remote: &Remote, slug: &str) -> Remote {
    Remote { slug: slug.to_owned(), ..remote.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_that_is_renamed_is_reached_by_each_name_that_it_had() {
    let hub = Hub::start().await;
    let history = history::linear(2, 3, 2, 1);
    for encoding in Encoding::BOTH {
        let (_, first) = stocked(&hub, &["first"]).await;
        let first = first.speaking(encoding);
        first.push(&history, "main", &history.ids()[0]).await.expect(200);
        let before = get(&first, &path(&first)).await.expect(200);
        let second = called(&first, "second");
        second.anonymous().get("refs").await.refused(404, "repo_not_found");

        let renamed = patch(&first, &json!({"slug": "second"})).await.expect(200);
        assert_eq!((&renamed["slug"], &renamed["name"]), (&json!("second"), &json!("second")));
        assert_eq!(renamed["repo_id"], before["repo_id"]);
        assert!(renamed["clone_url"].as_str().unwrap().ends_with("/second"), "{renamed}");
        for name in ["first", "second"] {
            let remote = called(&first, name);
            for reader in [&remote, &remote.anonymous()] {
                assert_eq!(get(reader, &path(reader)).await.expect(200), renamed);
            }
            assert_eq!(remote.heads().await["main"], history.ids()[0]);
        }
        // Pushes by either name are to the same repo.
        first.push(&history, "main", &history.ids()[1]).await.expect(200);
        second.push(&history, "main", &history.ids()[2]).await.expect(200);
        for remote in [&first, &second] {
            assert_eq!(remote.anonymous().clone_all().await.commits.len(), 3);
        }
        assert_eq!(slugs(&get(&first, "api/repos").await.expect(200)).0, ["second"]);

        // Each name is the repo's for ever, and can be had back.
        let refusal = hub.make(&first, false).await.refused(409, "repo_exists");
        assert!(refusal.detail.contains("'") && refusal.detail.contains("before"), "{}", refusal.detail);
        assert_eq!(patch(&first, &json!({"slug": "first"})).await.expect(200)["slug"], "first");
        let refusal = hub.make(&second, false).await.refused(409, "repo_exists");
        assert!(refusal.detail.contains("/first") && refusal.detail.contains("/second"), "{}", refusal.detail);
        assert_eq!(slugs(&get(&first, "api/repos").await.expect(200)).0, ["first"]);
        assert_eq!(second.heads().await["main"], history.ids()[2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_no_new_name() {
    let hub = Hub::start().await;
    let (owner, remote) = stocked(&hub, &["here", "there", "gone"]).await;
    patch(&called(&remote, "gone"), &json!({"slug": "went"})).await.expect(200);
    for taken in ["there", "gone", "went"] {
        let refusal = patch(&remote, &json!({"slug": taken})).await.refused(409, "repo_exists");
        assert!(refusal.detail.contains(&format!("{}/{taken}", owner.handle)), "{}", refusal.detail);
    }
    for none in ["", "-", "A", "a/b", "größe", &"x".repeat(65)] {
        assert!(patch(&remote, &json!({"slug": none})).await.refused(422, "invalid").detail.starts_with("slug: "));
    }
    // Another owner's names are their own.
    let (_, other) = stocked(&hub, &["mine"]).await;
    assert_eq!(patch(&other, &json!({"slug": "there"})).await.expect(200)["slug"], "there");
    // A name for people is of the slug that the repo gets; one that says nothing new is none.
    let both = json!({"slug": "hither", "name": "Hither!"});
    assert_eq!(patch(&remote, &both).await.expect(200)["name"], "Hither!");
    let refusal = patch(&remote, &json!({"slug": "hence", "name": "Here"})).await.refused(422, "invalid");
    assert!(refusal.detail.starts_with("name: "), "{}", refusal.detail);
    assert_eq!(patch(&remote, &json!({"slug": "hence", "name": "Hither!"})).await.expect(200)["slug"], "hence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_has_at_most_twenty_names() {
    let hub = Hub::start().await;
    let (_, remote) = stocked(&hub, &["n0"]).await;
    for number in 1..20 {
        patch(&remote, &json!({"slug": format!("n{number}")})).await.expect(200);
    }
    let refusal = patch(&remote, &json!({"slug": "n20"})).await.refused(422, "too_many");
    assert!(refusal.detail.contains("names") && refusal.detail.contains("20"), "{}", refusal.detail);
    patch(&remote, &json!({"slug": "n7"})).await.expect(200);
    for number in 0..20 {
        assert_eq!(get(&remote, &path(&called(&remote, &format!("n{number}")))).await.expect(200)["slug"], "n7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_uploaded_before_a_rename_is_used_after_it() {
    let hub = Hub::start().await;
    let history = history::linear(3, 2, 1, 1);
    let (_, first) = stocked(&hub, &["first"]).await;
    let second = called(&first, "second");
    let push = |tip: &str| json!({"bundle": history.pack_of(tip).to_value(), "branch": "main", "force": false});
    let before = first.put_body(first.encoding.encode(&push(&history.ids()[0]))).await;
    patch(&first, &json!({"slug": "second"})).await.expect(200);
    second.post_reference("push", &before).await.expect(200);
    // And by the name that it had.
    let after = second.put_body(first.encoding.encode(&push(&history.ids()[1]))).await;
    first.post_reference("push", &after).await.expect(200);
    assert_eq!(second.heads().await["main"], history.ids()[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_name_that_a_repo_had_leads_a_browser_to_the_one_that_it_has() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 1, 1);
    let (owner, first) = stocked(&hub, &["first"]).await;
    first.push(&history, "main", history.last()).await.expect(200);
    patch(&first, &json!({"slug": "second"})).await.expect(200);
    for rest in ["", "/commits/main?after=", "/-/tags", "/branches", "/log"] {
        let old = first.at_root("GET", &format!("{}/first{rest}", owner.handle), &[("accept", "text/html")]).await;
        assert_eq!((old.status, old.header("location")), (303, format!("/{}/second{rest}", owner.handle).as_str()));
        let new = first.at_root("GET", &format!("{}/second{rest}", owner.handle), &[("accept", "text/html")]).await;
        assert_eq!(new.status, 200, "{}", new.excerpt());
    }
    // Programs are led nowhere.
    let data = format!("{}/first/branches", owner.handle);
    first.at_root("GET", &data, &[("accept", "application/json")]).await.expect(200);
}
