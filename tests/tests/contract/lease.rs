//! A push that expects its branch somewhere moves it from there and from nowhere else.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history::{Builder, History, Pack};
use tests::hub::Hub;

/// Two commits that both build upon the first, and one that builds upon neither.
struct Fork {
    history: History,
    root: String,
    ours: String,
    theirs: String,
    other: String,
}

fn fork() -> Fork {
    let mut builder = Builder::new(31);
    let root = builder.child(&[]);
    let (ours, theirs) = (builder.child(&[&root]), builder.child(&[&root]));
    let other = builder.child(&[]);
    Fork { history: builder.finish(), root, ours, theirs, other }
}

async fn push(remote: &Remote, bundle: Pack, force: bool, expected: impl Into<Value>) -> Answer {
    let expected: Value = expected.into();
    let body = json!({"bundle": bundle.to_value(), "branch": "main", "force": force, "expected_head": expected});
    remote.post("push", &body).await
}

/// Pushes all that `tip` reaches.
async fn push_tip(remote: &Remote, fork: &Fork, tip: &str, force: bool, expected: &str) -> Answer {
    push(remote, fork.history.pack_of(tip).with_head("main", tip), force, expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_moves_from_where_it_is_expected_and_not_from_elsewhere() {
    let hub = Hub::start().await;
    let fork = fork();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        let refused = push_tip(&remote, &fork, &fork.root, false, &fork.root).await.refused(409, "stale_head");
        assert!(refused.detail.contains("no branch 'main'"), "{}", refused.detail);
        push_tip(&remote, &fork, &fork.root, false, "").await.expect(200);
        push_tip(&remote, &fork, &fork.theirs, false, &fork.root).await.expect(200);

        for force in [false, true] {
            for expected in ["", &fork.root, &fork.ours, "never-pushed"] {
                let refused = push_tip(&remote, &fork, &fork.ours, force, expected).await.refused(409, "stale_head");
                assert!(refused.detail.contains(&fork.theirs), "it says where the branch is: {}", refused.detail);
            }
        }
        assert_eq!(remote.heads().await["main"], fork.theirs);
        remote.ask(&[&fork.ours], &[] as &[&str]).await.refused(404, "unknown_commit");

        // Both have to hold.
        push_tip(&remote, &fork, &fork.ours, false, &fork.theirs).await.refused(409, "non_fast_forward");
        push_tip(&remote, &fork, &fork.ours, true, &fork.theirs).await.expect(200);
        push_tip(&remote, &fork, &fork.other, true, &fork.theirs).await.refused(409, "stale_head");
        assert_eq!(remote.heads().await["main"], fork.ours);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_push_sent_again_gets_the_same_answer() {
    let hub = Hub::start().await;
    let fork = fork();
    let remote = hub.repo().await;
    push_tip(&remote, &fork, &fork.root, false, "").await.expect(200);
    let first = push_tip(&remote, &fork, &fork.ours, false, &fork.root).await.expect(200);
    assert_eq!(push_tip(&remote, &fork, &fork.ours, false, &fork.root).await.expect(200), first);
    // A push that names no commit moves nothing, and is held to what it expects all the same.
    push(&remote, Pack::default(), false, fork.ours.as_str()).await.expect(200);
    push(&remote, Pack::default(), false, fork.root.as_str()).await.refused(409, "stale_head");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_pushes_that_race_with_one_lease_one_wins() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(32);
    let root = builder.child(&[]);
    let tips: Vec<String> = (0..6).map(|_| builder.child(&[&root])).collect();
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &root).await.expect(200);
    let pushes = tips.iter().map(|tip| {
        let bundle = history.pack_of(tip).with_head("main", tip);
        push(&remote, bundle, true, root.as_str())
    });
    let answers = join_all(pushes).await;
    let head = remote.heads().await["main"].clone();
    for (tip, answer) in tips.iter().zip(&answers) {
        if *tip == head {
            answer.expect(200);
        } else {
            answer.refused(409, "stale_head");
        }
    }
    assert!(tips.contains(&head));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_head_that_is_none_is_refused() {
    let hub = Hub::start().await;
    let fork = fork();
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let bundle = || fork.history.pack_of(&fork.root).with_head("main", &fork.root);
        for expected in ["a b", &"x".repeat(129), "ü", "a\n"] {
            push(&remote, bundle(), false, expected).await.refused(422, "invalid");
        }
        for expected in [json!(null), json!(1), json!([fork.root])] {
            push(&remote, bundle(), false, expected).await.refused(400, "malformed_body");
        }
        assert!(remote.heads().await.is_empty());
    }
}
