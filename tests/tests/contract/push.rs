//! What a push does to a branch: where the tip is, when it may move, what is answered.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history::{self, Builder, Formula, Pack, Tree};
use tests::hub::Hub;
use tests::property::for_every;
use tests::verify;

const NOWHERE: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";

fn heads(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(branch, head)| ((*branch).to_owned(), (*head).to_owned())).collect()
}

/// A commit of one file on top of `parents`, whose own `branch` is this one.
fn on_branch(builder: &mut Builder, parents: &[&str], branch: &str) -> String {
    let tree = Tree::from([("song.mid".to_owned(), builder.bytes(16))]);
    builder.commit_with(parents, &tree, Formula::CommittedAt, |fields| {
        fields.insert("branch".to_owned(), branch.into());
    })
}

/// The commits in exactly this order, with all they need, and no heads named.
fn in_order(builder: &Builder, commits: &[&String]) -> Pack {
    builder.history().pack(commits)
}

/// Moves a branch to a commit that the hub has.
async fn move_to(remote: &Remote, branch: &str, commit: &str, force: bool) -> Answer {
    remote.push_pack(branch, force, &Pack::default().with_head(branch, commit)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_answers_with_what_it_did() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 4, 1);
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        let answer = remote.push_pack("main", false, &history.pack_of(history.last())).await.expect(200);
        assert_eq!(answer["ok"], true);
        let message = answer["message"].as_str().unwrap();
        let rest = message.strip_prefix("pushed 3 commit(s) to 'main'").expect("what was done comes first");
        if hub.is_own() {
            let says_so =
                rest.starts_with("; ") && rest.contains("new repository") && rest.contains("anybody can read");
            assert!(says_so, "a name may be mistyped: {message}");
        } else {
            assert_eq!(rest, "", "this repo was made before: {message}");
        }
        assert_eq!(answer["remote_head"], history.last());
        assert_eq!(answer["branch_heads"]["main"], history.last());
        assert_eq!(remote.heads().await, heads(&[("main", history.last())]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_names_the_branch_as_it_is() {
    let hub = Hub::start().await;
    let history = history::linear(1, 1, 1, 0);
    let remote = hub.made_repo(&hub.dev(), false).await;
    let answer = remote.push_pack("feature/größe 🎵", false, &history.pack_of(history.last())).await.expect(200);
    assert_eq!(answer["message"], "pushed 1 commit(s) to 'feature/größe 🎵'");
    assert_eq!(remote.heads().await, heads(&[("feature/größe 🎵", history.last())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sent_twice_is_answered_alike_and_changes_nothing() {
    let hub = Hub::start().await;
    let history = history::dag(2, 40, 10);
    let head = history.heads().pop().unwrap();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        let bundle = history.pack_of(&head).with_head("main", &head);
        let first = remote.push_pack("main", false, &bundle).await.expect(200);
        let refs = remote.get("refs").await.expect(200);
        assert_eq!(remote.push_pack("main", false, &bundle).await.expect(200), first);
        assert_eq!(remote.push_pack("main", false, &bundle.without_objects()).await.expect(200), first);
        assert_eq!(remote.get("refs").await.expect(200), refs);
        let pack = remote.clone_all().await;
        assert_eq!(pack.commit_ids(), history.reachable(&[&head]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_sent_twice_is_answered_alike() {
    let hub = Hub::start().await;
    let history = history::linear(3, 6, 5, 2);
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", &ids[2]).await.expect(200);
    let increment = history.pack(&ids[3..]);
    let first = remote.push_pack("main", false, &increment).await.expect(200);
    assert_eq!(first["message"], "pushed 3 commit(s) to 'main'");
    assert_eq!(remote.push_pack("main", false, &increment).await.expect(200), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_branch_is_the_default_until_main_appears() {
    let hub = Hub::start().await;
    let history = history::linear(4, 3, 2, 1);
    let ids = history.ids();
    for remote in [hub.repo().await, hub.made_repo(&hub.dev(), false).await] {
        remote.push(&history, "trunk", &ids[0]).await.expect(200);
        assert_eq!(remote.default_branch().await, "trunk");
        remote.push(&history, "a", &ids[1]).await.expect(200);
        assert_eq!(remote.default_branch().await, "trunk");
        remote.push(&history, "main", &ids[2]).await.expect(200);
        assert_eq!(remote.default_branch().await, "main");
        remote.push(&history, "z", &ids[1]).await.expect(200);
        assert_eq!(remote.anonymous().default_branch().await, "main");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_in_a_folder_is_the_default_only_where_there_is_no_other() {
    let hub = Hub::start().await;
    let history = history::linear(4, 3, 2, 1);
    let ids = history.ids();
    for remote in [hub.repo().await, hub.made_repo(&hub.dev(), false).await] {
        for (branch, default) in [
            ("feature/x", "feature/x"),
            ("fix/y", "feature/x"),
            ("zebra", "zebra"),
            ("fix/z", "zebra"),
            ("main", "main"),
        ] {
            remote.push(&history, branch, &ids[0]).await.expect(200);
            assert_eq!(remote.anonymous().default_branch().await, default, "after {branch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_branch_that_was_chosen_holds_as_soon_as_it_is_there() {
    let hub = Hub::start().await;
    let history = history::linear(4, 3, 2, 1);
    let ids = history.ids();
    let user = hub.user().await;
    hub.post("api/repos", Some(&user.token), &json!({"name": "song", "default_branch": "trunk"})).await.expect(201);
    let remote = hub.remote(&user, "song");
    assert_eq!(remote.default_branch().await, "trunk", "nothing is there yet");
    // Until it is pushed, a clone has something to check out.
    for (branch, default) in
        [("feature/x", "feature/x"), ("a", "a"), ("main", "main"), ("trunk", "trunk"), ("z", "trunk")]
    {
        remote.push(&history, branch, &ids[0]).await.expect(200);
        assert_eq!(remote.anonymous().default_branch().await, default, "after {branch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_that_the_bundle_names_is_the_tip() {
    let hub = Hub::start().await;
    let history = history::linear(5, 4, 2, 1);
    let ids = history.ids();
    let remote = hub.repo().await;
    let bundle = history.pack(&ids).with_head("main", &ids[1]).with_head("other", &ids[2]);
    let answer = remote.push_pack("main", false, &bundle).await.expect(200);
    assert_eq!(answer["remote_head"], ids[1].as_str());
    assert_eq!(remote.heads().await, heads(&[("main", &ids[1])]), "one push moves one branch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_head_in_the_bundle_is_passed_over() {
    let hub = Hub::start().await;
    let history = history::linear(6, 3, 2, 1);
    let remote = hub.repo().await;
    let bundle = history.pack_of(history.last()).with_head("main", NOWHERE);
    remote.push_pack("main", false, &bundle).await.expect(200);
    assert_eq!(remote.heads().await, heads(&[("main", history.last())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_childless_commit_is_the_tip_in_whatever_order_they_come() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(7);
    let root = builder.child(&[]);
    let left = builder.child(&[&root]);
    let right = builder.child(&[&root]);
    let merge = builder.child(&[&left, &right]);
    let tip = builder.child(&[&merge]);
    let history = builder.finish();
    let mut random = StdRng::seed_from_u64(7);
    for encoding in Encoding::BOTH {
        for _ in 0..6 {
            let mut bundle = history.pack_of(&tip);
            bundle.commits.shuffle(&mut random);
            bundle.snapshots.shuffle(&mut random);
            bundle.objects.shuffle(&mut random);
            let remote = hub.repo().await.speaking(encoding);
            remote.push_pack("main", false, &bundle).await.expect(200);
            assert_eq!(remote.heads().await, heads(&[("main", &tip)]));
            verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_parent_is_not_childless() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(8);
    let root = on_branch(&mut builder, &[], "main");
    let topic = on_branch(&mut builder, &[&root], "main");
    let merge = on_branch(&mut builder, &[&root, &topic], "elsewhere");
    let remote = hub.repo().await;
    remote.push_pack("main", false, &in_order(&builder, &[&root, &merge, &topic])).await.expect(200);
    assert_eq!(remote.heads().await, heads(&[("main", &merge)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_childless_commits_the_last_of_the_branch_is_the_tip() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(9);
    let root = on_branch(&mut builder, &[], "main");
    let one = on_branch(&mut builder, &[&root], "main");
    let two = on_branch(&mut builder, &[&root], "main");
    let other = on_branch(&mut builder, &[&root], "other");
    let cases: [(&str, &[&String], &String); 8] = [
        ("main", &[&root, &one, &other], &one),
        ("main", &[&root, &other, &one], &one),
        ("other", &[&root, &other, &one], &other),
        ("main", &[&root, &one, &two], &two),
        ("main", &[&root, &two, &one], &one),
        ("main", &[&two, &root, &one, &other], &one),
        ("neither", &[&root, &one, &other], &other),
        ("neither", &[&root, &other, &one], &one),
    ];
    for (branch, order, tip) in cases {
        let remote = hub.repo().await;
        remote.push_pack(branch, false, &in_order(&builder, order)).await.expect(200);
        assert_eq!(remote.heads().await, heads(&[(branch, tip)]), "{branch} of {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_alone_makes_a_branch_at_a_commit_that_is_there() {
    let hub = Hub::start().await;
    let history = history::linear(10, 3, 2, 1);
    let ids = history.ids();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &ids[2]).await.expect(200);
        let answer = move_to(&remote, "old", &ids[0], false).await.expect(200);
        assert_eq!(answer["message"], "pushed 0 commit(s) to 'old'");
        assert_eq!(answer["remote_head"], ids[0].as_str());
        assert_eq!(remote.heads().await, heads(&[("main", &ids[2]), ("old", &ids[0])]));
        move_to(&remote, "old", &ids[1], false).await.expect(200);
        assert_eq!(remote.heads().await, heads(&[("main", &ids[2]), ("old", &ids[1])]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_commits_or_a_usable_head_the_branch_stays_as_it_is() {
    let hub = Hub::start().await;
    let history = history::linear(11, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    for bundle in [
        Pack::default(),
        Pack::default().with_head("main", NOWHERE),
        Pack::default().with_head("other", history.last()),
    ] {
        for force in [false, true] {
            let answer = remote.push_pack("main", force, &bundle).await.expect(200);
            assert_eq!(answer["message"], "pushed 0 commit(s) to 'main'");
            assert_eq!(remote.heads().await, heads(&[("main", history.last())]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diverged_push_is_refused_in_the_words_that_clients_know() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(12);
    let root = builder.child(&[]);
    let theirs = builder.child(&[&root]);
    let ours = builder.child(&[&root]);
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &theirs).await.expect(200);
        let refusal = remote.push(&history, "main", &ours).await.refused(409, "non_fast_forward");
        assert_eq!(refusal.detail, "non-fast-forward push to 'main' — use force=true to overwrite");
        assert_eq!(remote.heads().await, heads(&[("main", &theirs)]));
        remote.ask::<_, &str>(&[&ours], &[]).await.refused(404, "unknown_commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_an_unrelated_root_is_refused() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(13);
    let theirs = builder.child(&[]);
    let ours = builder.child(&[]);
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &theirs).await.expect(200);
    remote.push(&history, "main", &ours).await.refused(409, "non_fast_forward");
    remote.push_pack("main", true, &history.pack_of(&ours)).await.expect(200);
    assert_eq!(remote.heads().await, heads(&[("main", &ours)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn force_moves_a_branch_anywhere() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(14);
    let root = builder.child(&[]);
    let theirs = builder.child(&[&root]);
    let ours = builder.child(&[&root]);
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &theirs).await.expect(200);
    let answer = remote.push_pack("main", true, &history.pack_of(&ours)).await.expect(200);
    assert_eq!(answer["remote_head"], ours.as_str());
    assert_eq!(remote.clone_all().await.commit_ids(), history.reachable(&[&ours]));
    move_to(&remote, "main", &root, false).await.refused(409, "non_fast_forward");
    move_to(&remote, "main", &root, true).await.expect(200);
    assert_eq!(remote.heads().await, heads(&[("main", &root)]));
    move_to(&remote, "main", &ours, false).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_goes_forward_from_its_second_parent() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(15);
    let root = builder.child(&[]);
    let theirs = builder.child(&[&root]);
    let ours = builder.child(&[&root]);
    let merge = builder.child(&[&ours, &theirs]);
    let later = builder.child(&[&merge]);
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &theirs).await.expect(200);
        remote.push(&history, "main", &ours).await.refused(409, "non_fast_forward");
        remote.push(&history, "main", &merge).await.expect(200);
        remote.push(&history, "main", &later).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_forward_may_lead_through_commits_of_other_branches() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(16);
    let mut ids = vec![builder.child(&[])];
    for _ in 0..5 {
        let next = builder.child(&[ids.last().unwrap()]);
        ids.push(next);
    }
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &ids[0]).await.expect(200);
    remote.push(&history, "topic", &ids[4]).await.expect(200);
    // Only the newest is in the bundle; the four in between came with `topic`.
    remote.push_pack("main", false, &history.pack(&ids[5..])).await.expect(200);
    assert_eq!(remote.heads().await, heads(&[("main", &ids[5]), ("topic", &ids[4])]));
}

#[test]
fn a_branch_moves_without_force_exactly_to_what_reaches_its_head() {
    for_every(6, (any::<u64>(), 5..60_usize), async |hub, (seed, commits)| {
        let history = history::dag(seed, commits, 5);
        let remote = hub.repo().await;
        for (index, head) in history.heads().iter().enumerate() {
            remote.push(&history, &format!("keep/{index}"), head).await.expect(200);
        }
        let ids = history.ids();
        let mut random = StdRng::seed_from_u64(seed);
        let mut at: Option<String> = None;
        for _ in 0..30 {
            let to = ids[random.random_range(0..ids.len())].clone();
            let answer = move_to(&remote, "walker", &to, false).await;
            if at.as_ref().is_none_or(|at| history.is_ancestor(at, &to)) {
                answer.expect(200);
            } else {
                answer.refused(409, "non_fast_forward");
                assert_eq!(remote.heads().await.get("walker"), at.as_ref(), "a refused push moves nothing");
                move_to(&remote, "walker", &to, true).await.expect(200);
            }
            assert_eq!(remote.heads().await["walker"], to);
            at = Some(to);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_whose_names_begin_alike_are_apart() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(17);
    let names = ["a/b", "a/c/d", "ab", "a-b", "a#b", "a b", "á", "a\u{301}", "a%2Fb", "main", "main2", "refs/heads/a"];
    let mut expected = BTreeMap::new();
    for name in names {
        expected.insert(name.to_owned(), builder.child(&[]));
    }
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        for (branch, head) in &expected {
            remote.push(&history, branch, head).await.expect(200);
        }
        assert_eq!(remote.heads().await, expected);
    }
}
