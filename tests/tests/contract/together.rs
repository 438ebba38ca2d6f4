//! Branches that move together in one push: all of them, with everything that they reach, or none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::client::{Answer, Remote, percent_encoded, send};
use tests::encoding::Encoding;
use tests::history::{self, History, Pack};
use tests::hub::Hub;

fn heads(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, head)| ((*name).to_owned(), (*head).to_owned())).collect()
}

fn update(branch: &str, tip: &str) -> Value {
    json!({"branch": branch, "tip": tip})
}

/// Pushes a bundle, to what the `updates` say and nothing else.
async fn push(remote: &Remote, bundle: &Pack, updates: &[Value]) -> Answer {
    remote.post("push", &json!({"bundle": bundle.to_value(), "updates": updates})).await
}

async fn log(remote: &Remote) -> Vec<Value> {
    let url = format!("{}/api/repos/{}/{}/log", remote.hub, remote.owner, remote.slug);
    let bearer = format!("Bearer {}", remote.token.clone().unwrap_or_default());
    let answer = send("GET", &url, &[("authorization", &bearer), ("accept", "application/json")], "").await.unwrap();
    answer.expect(200)["log"].as_array().unwrap().clone()
}

/// A repo with the first of four commits in a line, which `main` is at.
async fn begun(hub: &Hub) -> (Remote, History) {
    let history = history::linear(71, 4, 2, 1);
    let remote = hub.made_repo(&hub.user().await, false).await;
    remote.push(&history, "main", &history.ids()[0]).await.expect(200);
    (remote, history)
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_move_together_and_each_has_its_line() {
    let hub = Hub::start().await;
    let (remote, history) = begun(&hub).await;
    let ids = history.ids();
    let body = json!({
        "bundle": history.pack(&ids[1..]).to_value(), "branch": "main",
        "updates": [update("drums/a", &ids[1]), update("drums/b", &ids[2]), update("old", &ids[0])],
    });
    let expected = heads(&[("main", &ids[3]), ("drums/a", &ids[1]), ("drums/b", &ids[2]), ("old", &ids[0])]);
    for (number, encoding) in [Encoding::Json, Encoding::Msgpack, Encoding::Json].into_iter().enumerate() {
        let answer = remote.speaking(encoding).post("push", &body).await.expect(200);
        assert_eq!(answer["branch_heads"], json!(expected), "sent {number} times before");
        assert_eq!(answer["remote_head"], json!(ids[3]), "that of 'branch'");
        assert_eq!(answer["message"], "pushed 3 commit(s) to 'main', 'drums/a', 'drums/b', 'old'");
        assert_eq!(remote.heads().await, expected);
    }
    assert_eq!(remote.clone_all().await.commit_ids(), ids.iter().cloned().collect::<BTreeSet<_>>());
    let lines = log(&remote).await;
    let moved: BTreeSet<&str> = lines.iter().map(|line| line["branch"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), moved.len()), (5, 4), "one line for each move, and none for what is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_push_may_make_several_branches() {
    let hub = Hub::start().await;
    let history = history::linear(72, 3, 2, 1);
    let ids = history.ids();
    let updates = [update("next", &ids[2]), update("released/1", &ids[0]), update("released/2", &ids[1])];
    for remote in [hub.made_repo(&hub.user().await, false).await, hub.repo().await] {
        push(&remote, &history.pack(&ids), &updates).await.expect(200);
        let expected = heads(&[("next", &ids[2]), ("released/1", &ids[0]), ("released/2", &ids[1])]);
        assert_eq!(remote.heads().await, expected);
        assert_eq!(remote.default_branch().await, "next", "the first of them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_branch_is_refused_none_moves_and_nothing_is_kept() {
    let hub = Hub::start().await;
    let (remote, history) = begun(&hub).await;
    let ids = history.ids();
    let aside = history::linear(73, 2, 1, 1);
    remote.push_pack("aside", false, &aside.pack(&aside.ids())).await.expect(200);
    let before = remote.heads().await;
    let new = history.pack(&ids[1..]);
    let unseen: Vec<String> = new.object_ids().into_iter().collect();
    let missing_before = remote.missing(&unseen).await;
    let good = update("a", &ids[3]);
    let forced = json!({"branch": "main", "tip": aside.ids()[0], "force": true});
    let stale = json!({"branch": "main", "tip": ids[2], "expected_head": ids[1]});
    for (updates, status, code) in [
        (vec![good.clone(), update("main", &aside.ids()[0])], 409, "non_fast_forward"),
        (vec![good.clone(), stale], 409, "stale_head"),
        (vec![good.clone(), update("b", &"0".repeat(64))], 404, "unknown_commit"),
        (vec![good.clone(), update("A", &ids[3])], 422, "invalid"),
        (vec![good.clone(), update("a/b", &ids[3])], 422, "invalid"),
        (vec![good.clone(), update("main/b", &ids[3])], 422, "invalid"),
        (vec![good.clone(), update("a", &ids[3])], 422, "invalid"),
        (vec![good.clone(), update("b..c", &ids[3])], 422, "invalid"),
        (vec![good.clone(), json!({"branch": "b"})], 400, "malformed_body"),
        (vec![], 400, "malformed_body"),
    ] {
        push(&remote, &new, &updates).await.refused(status, code);
        assert_eq!(remote.heads().await, before, "{updates:?}");
    }
    let nowhere = json!({"bundle": {}, "branch": "nowhere", "expected_head": "", "updates": [update("a", &ids[0])]});
    let refusal = remote.post("push", &nowhere).await.refused(422, "invalid");
    assert!(refusal.detail.contains("there is no branch 'nowhere'"), "{}", refusal.detail);
    let incomplete = new.clone().without_objects();
    push(&remote, &incomplete, &[good.clone(), forced.clone()]).await.refused(422, "missing_references");
    assert_eq!(remote.missing(&unseen).await, missing_before, "nothing was kept");

    push(&remote, &new, &[good, forced]).await.expect(200);
    let expected = heads(&[("a", &ids[3]), ("main", &aside.ids()[0]), ("aside", aside.last())]);
    assert_eq!(remote.heads().await, expected);
    let forced: Vec<(Value, Value)> =
        log(&remote).await.iter().map(|l| (l["branch"].clone(), l["forced"].clone())).collect();
    assert!(
        forced.contains(&(json!("a"), json!(false))) && forced.contains(&(json!("main"), json!(true))),
        "{forced:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_branch_holds_the_others_back() {
    let hub = Hub::start().await;
    let (remote, history) = begun(&hub).await;
    let ids = history.ids();
    push(&remote, &history.pack(&ids), &[update("main", &ids[2])]).await.expect(200);
    let url = format!(
        "{}/api/repos/{}/{}/branches/{}/protection",
        remote.hub,
        remote.owner,
        remote.slug,
        percent_encoded("main")
    );
    let bearer = format!("Bearer {}", remote.token.clone().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    send("PUT", &url, &headers, json!({"protected": true}).to_string()).await.unwrap().expect(200);
    let back = json!({"branch": "main", "tip": ids[0], "force": true});
    push(&remote, &Pack::default(), &[update("b", &ids[3]), back]).await.refused(403, "branch_protected");
    assert_eq!(remote.heads().await, heads(&[("main", &ids[2])]));
    push(&remote, &Pack::default(), &[update("b", &ids[3]), update("main", &ids[3])]).await.expect(200);
    assert_eq!(remote.heads().await, heads(&[("main", &ids[3]), ("b", &ids[3])]));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_branches_move_together_as_one_transaction_takes() {
    let hub = Hub::start().await;
    let (remote, history) = begun(&hub).await;
    let tip = &history.ids()[0];
    let many = |count: usize, folder: &str| -> Vec<Value> {
        (0..count).map(|number| update(&format!("{folder}b{number}"), tip)).collect()
    };
    push(&remote, &Pack::default(), &many(21, "")).await.refused(422, "too_many");
    push(&remote, &Pack::default(), &many(20, "one/two/three/")).await.expect(200);
    assert_eq!(remote.heads().await.len(), 21);
    let deep = |number: usize| update(&format!("{number}{}", "/x".repeat(25)), tip);
    let refusal = push(&remote, &Pack::default(), &[deep(1), deep(2)]).await.refused(422, "too_many");
    assert!(refusal.detail.contains("names of new branches and of their folders in one push"), "{}", refusal.detail);
    push(&remote, &Pack::default(), &[deep(1)]).await.expect(200);
}

/// Two pushes that move the same two branches, each to its own commits, race with each other: the branches are never one of each.
#[tokio::test(flavor = "multi_thread")]
async fn of_pushes_that_race_one_moves_both_branches() {
    let hub = Hub::start().await;
    let (remote, _) = begun(&hub).await;
    let rivals: Vec<History> = (0..4).map(|seed| history::linear(80 + seed, 2, 1, 1)).collect();
    for round in 0..5 {
        let names = [format!("left{round}"), format!("right{round}")];
        let pushes = rivals.iter().map(|rival| {
            let ids = rival.ids();
            let to = |at: usize| json!({"branch": names[at], "tip": ids[at], "expected_head": ""});
            let (remote, pack, updates) = (remote.clone(), rival.pack(&ids), [to(0), to(1)]);
            tokio::spawn(async move { push(&remote, &pack, &updates).await.status })
        });
        let mut statuses = Vec::new();
        for push in pushes.collect::<Vec<_>>() {
            statuses.push(push.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409]);
        let now = remote.heads().await;
        let both = (&now[&names[0]], &now[&names[1]]);
        assert!(rivals.iter().any(|rival| both == (&rival.ids()[0], &rival.ids()[1])), "{both:?}");
    }
}
