//! How much a repo and a user may hold.

use local::serve::Quotas;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::history::{self, Object};
use tests::hub::{Hub, fresh_name, until};

/// Refuses it with how much there is and may be.
#[track_caller]
fn refused(answer: &Answer) -> (u64, u64) {
    answer.refused(413, "quota_exceeded");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    (body["used"].as_u64().unwrap(), body["allowed"].as_u64().unwrap())
}

fn random(bytes: usize) -> Object {
    Object::new((0..bytes).map(|_| rand::random::<u8>()).collect::<Vec<u8>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_takes_what_it_may_hold_and_not_more() {
    let allowed = 200_000;
    let hub = Hub::start_bounded(Quotas { repo_bytes: Some(allowed), ..Quotas::default() }).await;
    let history = history::linear(1, 3, 4, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    remote.push_objects(&[random(100_000)]).await.expect(200);
    let (used, most) = refused(&remote.push_objects(&[random(100_000)]).await);
    assert!(most == allowed && (100_000..allowed).contains(&used), "{used} of {most}");
    remote.push_objects(&[random(50_000)]).await.expect(200);
    // What is uploaded counts when it is taken in.
    let large = random(80_000);
    tests::client::put_well(&remote.put_url(&large.id).await, large.content.clone()).await;
    let asked = json!({"object_ids": [large.id]});
    refused(&remote.post("filter-objects", &asked).await);
    // A push that brings nothing, and one of another repo, are as they were.
    remote.push(&history, "main", history.last()).await.expect(200);
    let other = hub.repo().await;
    other.push_objects(&[random(100_000)]).await.expect(200);
    let clone = remote.anonymous().clone_all().await;
    tests::verify::same_history(&history, &clone, "dev").expect("what was pushed before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_as_many_repos_as_allowed() {
    let hub = Hub::start_bounded(Quotas { user_repos: Some(2), ..Quotas::default() }).await;
    let history = history::linear(1, 2, 4, 1);
    let (ada, bob) = (hub.user().await, hub.user().await);
    hub.made_repo(&ada, true).await;
    let pushed = hub.remote(&ada, &fresh_name("song"));
    pushed.push(&history, "main", history.last()).await.expect(200);
    let third = hub.remote(&ada, &fresh_name("song"));
    assert_eq!(refused(&hub.make(&third, false).await), (2, 2));
    assert_eq!(refused(&third.push(&history, "main", history.last()).await), (2, 2));
    let forks = format!("api/repos/{}/{}/forks", pushed.owner, pushed.slug);
    let fork = json!({"name": fresh_name("fork")});
    assert_eq!(refused(&hub.post(&forks, Some(&ada.token), &fork).await), (2, 2));
    // Nothing of what comes before a push makes one, or asks for one.
    let id = "0".repeat(64);
    let (ids, put) = (json!({"object_ids": [id]}), json!({"object_ids": [id], "direction": "put"}));
    assert_eq!(refused(&third.push_objects(&[random(10)]).await), (2, 2));
    for (endpoint, body) in [("filter-objects", &ids), ("presign", &put), ("uploads", &json!({}))] {
        assert_eq!(refused(&third.post(endpoint, body).await), (2, 2), "{endpoint}");
    }
    third.get("refs").await.refused(404, "repo_not_found");
    pushed.push(&history, "other", history.last()).await.expect(200);
    hub.made_repo(&bob, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_users_repos_hold_together_is_counted_behind_pushes() {
    let allowed = 300_000;
    let hub = Hub::start_bounded(Quotas { user_bytes: Some(allowed), ..Quotas::default() }).await;
    let ada = hub.user().await;
    let (one, other) = (hub.made_repo(&ada, false).await, hub.made_repo(&ada, false).await);
    one.push_objects(&[random(100_000)]).await.expect(200);
    other.push_objects(&[random(100_000)]).await.expect(200);
    let store = &hub.running().hub().store;
    let handle = ada.handle.parse().unwrap();
    until(async || store.usage(&handle).await.unwrap().bytes > 200_000).await;
    let (used, most) = refused(&one.push_objects(&[random(100_000)]).await);
    assert_eq!((used, most), (store.usage(&handle).await.unwrap().bytes, allowed));
    one.push_objects(&[random(50_000)]).await.expect(200);
    // An operator's word counts at the next push.
    store.set_quota_of_user(&handle, Some(1_000_000), None).await.unwrap();
    one.push_objects(&[random(200_000)]).await.expect(200);
    store.set_quota_of_user(&handle, None, None).await.unwrap();
    until(async || store.usage(&handle).await.unwrap().bytes > allowed).await;
    refused(&other.push_objects(&[random(1)]).await);
    hub.repo().await.push_objects(&[random(100_000)]).await.expect(200);
}
