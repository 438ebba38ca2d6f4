//! A fetch that asks for less gets less: some branches, the newest commits, no objects.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Pack, list_of_text};
use tests::hub::Hub;
use tests::property::for_every;
use tests::verify;

async fn fetch(remote: &Remote, body: &Value) -> (Value, Pack) {
    let answer = remote.post("fetch", body).await.expect(200);
    let pack = Pack::from_value(&answer).expect("a fetch's answer");
    (answer, pack)
}

/// The commits that are fewer than `depth` steps from one that is wanted.
fn near(history: &History, want: &[String], depth: usize) -> BTreeSet<String> {
    let mut near: BTreeSet<String> = want.iter().cloned().collect();
    for _ in 1..depth {
        let parents: Vec<String> = near.iter().flat_map(|id| history.commit(id).parents()).map(str::to_owned).collect();
        near.extend(parents);
    }
    near
}

#[test]
fn a_depth_sends_the_newest_commits_and_says_where_they_end() {
    let cases = (any::<u64>(), 2..60_usize, 1..8_usize);
    for_every(8, cases, async |hub, (seed, commits, depth)| {
        let history = history::dag(seed, commits, 8);
        let mut random = StdRng::seed_from_u64(seed);
        let remote = hub.repo().await;
        for (index, head) in history.heads().iter().enumerate() {
            remote.push(&history, &format!("b{index}"), head).await.expect(200);
        }
        for encoding in Encoding::BOTH {
            let ids = history.ids();
            let want: Vec<String> = ids.sample(&mut random, 2).cloned().collect();
            let had = random.random_range(0..2);
            let have: Vec<String> = ids.sample(&mut random, had).cloned().collect();
            let body = json!({"want": want, "have": have, "depth": depth});
            let (answer, pack) = fetch(&remote.anonymous().speaking(encoding), &body).await;
            let had = history.reachable(&have);
            let sent: BTreeSet<String> = near(&history, &want, depth).difference(&had).cloned().collect();
            let parents = sent.iter().flat_map(|id| history.commit(id).parents()).map(str::to_owned);
            let cut: BTreeSet<String> = parents.filter(|id| !sent.contains(id) && !had.contains(id)).collect();
            assert_eq!(pack.commit_ids(), sent);
            assert_eq!(list_of_text(&answer, "cut").unwrap().into_iter().collect::<BTreeSet<_>>(), cut);
            assert_eq!(pack.snapshot_ids(), history.snapshots_of(&sent));
            // With what is cut off and what is had nothing is lacking.
            let mut local = History::default();
            let below = history.reachable(&cut.iter().chain(&had).collect::<Vec<_>>());
            local.absorb(&history.pack(&ids.into_iter().filter(|id| below.contains(id)).collect::<Vec<_>>()));
            verify::pack(&pack, &local).unwrap();
            // And of a snapshot above a cut everything is there, but for what the client has.
            let needed = history.objects_of(&sent);
            let had_objects = history.objects_of(&had);
            assert!(needed.difference(&had_objects).all(|id| pack.object_ids().contains(id)));
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_deepens_step_by_step_until_nothing_is_cut_off() {
    let hub = Hub::start().await;
    for (history, depth, least) in [(history::linear(5, 60, 2, 1), 9, 7), (history::dag(5, 120, 10), 2, 2)] {
        let remote = hub.repo().await;
        for (index, head) in history.heads().iter().enumerate() {
            remote.push(&history, &format!("b{index}"), head).await.expect(200);
        }
        let (mut want, mut commits, mut steps) = (history.heads(), BTreeSet::new(), 0);
        while !want.is_empty() {
            let body = json!({"want": want, "depth": depth, "filter": "objects:none"});
            let (answer, pack) = fetch(&remote.anonymous(), &body).await;
            assert!(pack.objects.is_empty());
            commits.extend(pack.commit_ids());
            want = list_of_text(&answer, "cut").unwrap();
            steps += 1;
        }
        assert_eq!(commits, history.ids().into_iter().collect());
        assert!(steps >= least, "{steps}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_objects_all_else_comes() {
    let hub = Hub::start().await;
    let history = history::dag(6, 40, 10);
    let remote = hub.repo().await;
    for (index, head) in history.heads().iter().enumerate() {
        remote.push(&history, &format!("b{index}"), head).await.expect(200);
    }
    for encoding in Encoding::BOTH {
        let remote = remote.anonymous().speaking(encoding);
        let have = [history.ids()[10].clone()];
        let whole = fetch(&remote, &json!({"want": history.heads(), "have": have})).await.1;
        let body = json!({"want": history.heads(), "have": have, "filter": "objects:none"});
        let (answer, without) = fetch(&remote, &body).await;
        assert_eq!(without, whole.clone().without_objects());
        assert!(!whole.objects.is_empty());
        assert_eq!(answer.get("cut"), None, "only a depth cuts anything off");
        let body = json!({"want": history.heads(), "have": have, "filter": "snapshots:none"});
        let (answer, commits) = fetch(&remote, &body).await;
        assert_eq!(commits, Pack { snapshots: Vec::new(), ..without.clone() });
        assert_eq!(answer.get("cut"), None);
        let repo_id = remote.repo_id().await;
        let first = &whole.objects[0];
        assert_eq!(remote.object(&repo_id, &first.id, &[]).await.body, first.content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_of_some_branches_brings_those_and_names_no_other() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(9);
    let root = builder.child(&[]);
    let (main, side) = (builder.child(&[&root]), builder.child(&[&root]));
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &main).await.expect(200);
    remote.push(&history, "side", &side).await.expect(200);
    for encoding in Encoding::BOTH {
        let remote = remote.anonymous().speaking(encoding);
        let body = json!({"branches": ["side", "side"]});
        let (answer, pack) = fetch(&remote, &body).await;
        verify::pack(&pack, &History::default()).unwrap();
        assert_eq!(pack.commit_ids(), [root.clone(), side.clone()].into());
        assert_eq!(answer["branch_heads"], json!({"side": side}));
        let body = json!({"want": [main], "have": [root], "branches": ["side"], "depth": 1});
        let (answer, pack) = fetch(&remote, &body).await;
        assert_eq!(pack.commit_ids(), [main.clone(), side.clone()].into());
        assert_eq!((&answer["branch_heads"], &answer["cut"]), (&json!({"side": side}), &json!([])));
        let (answer, pack) = fetch(&remote, &json!({"want": [], "branches": []})).await;
        assert!(pack.commits.is_empty() && answer["branch_heads"] == json!({}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_depth_filter_or_branch_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(3, 3, 1, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let asking = |field: &str, value: Value| {
        let mut body = json!({"want": [history.last()]});
        body[field] = value;
        body
    };
    for encoding in Encoding::BOTH {
        let remote = remote.anonymous().speaking(encoding);
        for depth in [json!(0), json!(-1), json!(1_000_001), json!(i64::MAX), json!(i64::MIN)] {
            remote.post("fetch", &asking("depth", depth)).await.refused(422, "invalid");
        }
        for depth in [json!("1"), json!(1.5), json!(u64::MAX), json!([1])] {
            remote.post("fetch", &asking("depth", depth)).await.refused(400, "malformed_body");
        }
        for filter in ["", "objects", "blob:none", "OBJECTS:NONE", "commits:none"] {
            remote.post("fetch", &asking("filter", json!(filter))).await.refused(422, "invalid");
        }
        remote.post("fetch", &asking("filter", json!(["objects:none"]))).await.refused(400, "malformed_body");
        remote.post("fetch", &asking("branches", json!(["main", "gone"]))).await.refused(404, "branch_not_found");
        remote.post("fetch", &asking("branches", json!(["a..b"]))).await.refused(422, "invalid");
        remote.post("fetch", &asking("branches", json!("main"))).await.refused(400, "malformed_body");
        let many: Vec<String> = (0..10_001).map(|number| format!("b{number}")).collect();
        remote.post("fetch", &asking("branches", json!(many))).await.refused(422, "too_many");
        for depth in [1, 1_000_000] {
            remote.post("fetch", &asking("depth", json!(depth))).await.expect(200);
        }
    }
}
