//! What a fetch answers: all that is new to the client, nothing that isn't, in an order that it can take in.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Object, Pack, Tree};
use tests::hub::Hub;
use tests::property::for_every;
use tests::verify;

const NOWHERE: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";

/// What a client that has just these commits holds.
fn only(history: &History, commits: &BTreeSet<String>) -> History {
    let commits: Vec<String> = history.ids().into_iter().filter(|id| commits.contains(id)).collect();
    let mut local = History::default();
    local.absorb(&history.pack(&commits));
    local
}

/// Checks a fetch against the contract: the commits and snapshots exactly, and of the objects all that the client
/// cannot have and none that is in a snapshot where the walk stopped.
fn assert_minimal(history: &History, pack: &Pack, want: &[String], have: &[String]) {
    let new = history.between(want, have);
    let new_set: BTreeSet<String> = new.iter().cloned().collect();
    assert_eq!(pack.commit_ids(), new_set, "exactly the commits that are new");
    assert_eq!(pack.snapshot_ids(), history.snapshots_of(&new), "exactly their snapshots");

    let parents = new.iter().flat_map(|id| history.commit(id).parents()).map(str::to_owned);
    let boundary: BTreeSet<String> = parents.filter(|parent| !new_set.contains(parent)).collect();
    let at_boundary = history.objects_of(&boundary);
    let at_client = history.objects_of(&history.reachable(have));
    let needed = history.objects_of(&new);
    let sent = pack.object_ids();
    assert!(sent.is_subset(&needed), "no object that no new snapshot names");
    assert_eq!(sent.intersection(&at_boundary).collect::<Vec<_>>(), Vec::<&String>::new(), "none of the boundary's");
    assert!(needed.difference(&at_client).all(|id| sent.contains(id)), "every object that the client lacks");
}

/// Pushes some commits as branches of their own, then every head; one push after another.
async fn push_in_steps(remote: &Remote, history: &History, random: &mut StdRng) {
    let ids = history.ids();
    let mut stops: Vec<String> = (0..4).map(|_| ids[random.random_range(0..ids.len())].clone()).collect();
    stops.extend(history.heads());
    for (index, stop) in stops.iter().enumerate() {
        let remote = remote.speaking(Encoding::BOTH[index % 2]);
        remote.push(history, &format!("step/{index}"), stop).await.expect(200);
    }
}

#[test]
fn a_client_with_any_part_of_any_history_gets_the_rest_and_no_more() {
    let cases = (any::<u64>(), 2..90_usize, 1..25_usize);
    for_every(12, cases, async |hub, (seed, commits, files)| {
        let history = history::dag(seed, commits, files);
        let mut random = StdRng::seed_from_u64(seed);
        let remote = hub.repo().await;
        push_in_steps(&remote, &history, &mut random).await;
        for encoding in Encoding::BOTH {
            let ids = history.ids();
            let tips: Vec<String> = ids.sample(&mut random, 3).cloned().collect();
            let want: Vec<String> = ids.sample(&mut random, 4).cloned().collect();
            let local = only(&history, &history.reachable(&tips));
            let mut have = local.ids();
            have.shuffle(&mut random);
            have.insert(random.random_range(0..=have.len()), NOWHERE.to_owned());
            let pack = remote.anonymous().speaking(encoding).fetch(&local, &want, &have).await;
            assert_minimal(&history, &pack, &want, &have);
        }
    });
}

#[test]
fn a_client_that_names_only_its_heads_gets_the_same_commits() {
    let cases = (any::<u64>(), 2..90_usize, 1..25_usize);
    for_every(8, cases, async |hub, (seed, commits, files)| {
        let history = history::dag(seed, commits, files);
        let mut random = StdRng::seed_from_u64(seed);
        let remote = hub.repo().await;
        push_in_steps(&remote, &history, &mut random).await;
        let ids = history.ids();
        let have: Vec<String> = ids.sample(&mut random, 2).cloned().collect();
        let local = only(&history, &history.reachable(&have));
        let want = history.heads();
        let pack = remote.fetch(&local, &want, &have).await;
        let new: BTreeSet<String> = history.between(&want, &have).into_iter().collect();
        assert_eq!(pack.commit_ids(), new);
        assert_eq!(pack.snapshot_ids(), history.snapshots_of(&new));
        assert!(pack.object_ids().is_subset(&history.objects_of(&new)));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_stays_complete_through_many_small_pushes() {
    let hub = Hub::start().await;
    let history = history::linear(1, 60, 50, 3);
    let ids = history.ids();
    let remote = hub.repo().await;
    let mut local = History::default();
    for (step, tip) in ids.iter().skip(3).step_by(7).enumerate() {
        remote.speaking(Encoding::BOTH[step % 2]).push(&history, "main", tip).await.expect(200);
        let follower = remote.anonymous().speaking(Encoding::BOTH[step / 2 % 2]);
        let (want, have) = (vec![tip.clone()], local.ids());
        let pack = follower.fetch(&local, &want, &have).await;
        assert_minimal(&history, &pack, &want, &have);
        local.absorb(&pack);
        assert_eq!(local.ids(), ids[..local.ids().len()]);
    }
    assert!(local.ids().len() > 50);
    assert!(local.objects.iter().all(|(id, content)| history.objects[id] == *content));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_brings_exactly_its_new_files() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(2);
    let mut tree = builder.files(20);
    let mut parent = builder.commit(&[], &tree);
    for index in 0..10 {
        tree.insert(format!("new-{index}"), builder.bytes(50));
        parent = builder.commit(&[&parent], &tree);
    }
    let history = builder.finish();
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", &parent).await.expect(200);
    for encoding in Encoding::BOTH {
        let local = only(&history, &history.reachable(&[&ids[6]]));
        let pack = remote.speaking(encoding).fetch(&local, &[&parent], &local.ids()).await;
        assert_eq!(pack.commits.iter().map(|commit| commit.id().to_owned()).collect::<Vec<_>>(), ids[7..]);
        let new: BTreeSet<String> =
            history.objects_of(&ids[7..]).difference(&history.objects_of([&ids[6]])).cloned().collect();
        assert_eq!(new.len(), 4);
        assert_eq!(pack.object_ids(), new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_brings_none_of_the_files_that_either_side_has() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(3);
    let files = builder.files(10);
    let root = builder.commit(&[], &files);
    let left_tree: Tree = files.clone().into_iter().chain([("left".to_owned(), builder.bytes(40))]).collect();
    let left = builder.commit(&[&root], &left_tree);
    let right_tree: Tree = files.into_iter().chain([("right".to_owned(), builder.bytes(40))]).collect();
    let right = builder.commit(&[&root], &right_tree);
    let merged: Tree =
        left_tree.into_iter().chain(right_tree).chain([("both".to_owned(), builder.bytes(40))]).collect();
    let merge = builder.commit(&[&left, &right], &merged);
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &merge).await.expect(200);
    let local = only(&history, &history.reachable(&[&left, &right]));
    let pack = remote.fetch(&local, &[&merge], &local.ids()).await;
    assert_eq!(pack.commit_ids(), BTreeSet::from([merge]));
    assert_eq!(pack.objects.len(), 1, "only the merge's own file");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_to_date_client_gets_nothing() {
    let hub = Hub::start().await;
    let history = history::dag(4, 50, 10);
    let remote = hub.repo().await;
    let heads = history.heads();
    for (index, head) in heads.iter().enumerate() {
        remote.push(&history, &format!("b{index}"), head).await.expect(200);
    }
    for encoding in Encoding::BOTH {
        let pack = remote.speaking(encoding).fetch(&history, &heads, &history.ids()).await;
        assert!(pack.commits.is_empty() && pack.snapshots.is_empty() && pack.objects.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wanting_nothing_brings_nothing() {
    let hub = Hub::start().await;
    let history = history::linear(5, 3, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let empty = hub.made_repo(&hub.dev(), false).await;
    for remote in [remote, empty] {
        for encoding in Encoding::BOTH {
            let pack = remote.speaking(encoding).fetch::<&str, &str>(&History::default(), &[], &[]).await;
            assert!(pack.commits.is_empty() && pack.snapshots.is_empty() && pack.objects.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_commit_can_be_wanted_and_wanted_twice() {
    let hub = Hub::start().await;
    let history = history::linear(6, 8, 5, 2);
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    for encoding in Encoding::BOTH {
        let want = [&ids[3], &ids[3], &ids[1]];
        let pack = remote.speaking(encoding).fetch::<_, &str>(&History::default(), &want, &[]).await;
        assert_eq!(pack.commit_ids(), history.reachable(&[&ids[3]]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wanted_commit_that_is_unknown_is_an_error() {
    let hub = Hub::start().await;
    let history = history::linear(7, 3, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let empty = hub.made_repo(&hub.dev(), false).await;
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        remote.ask::<_, &str>(&[NOWHERE], &[]).await.refused(404, "unknown_commit");
        remote.ask::<_, &str>(&[history.last(), NOWHERE], &[]).await.refused(404, "unknown_commit");
        remote.ask(&[NOWHERE], &[history.last()]).await.refused(404, "unknown_commit");
        remote.ask(&[NOWHERE], &[NOWHERE]).await.refused(404, "unknown_commit");
        empty.speaking(encoding).ask::<_, &str>(&[history.last()], &[]).await.refused(404, "unknown_commit");
        // An id of something else is not a commit's.
        let snapshot = history.snapshots.keys().next().unwrap();
        remote.ask::<_, &str>(&[snapshot], &[]).await.refused(404, "unknown_commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_commits_that_the_client_has_are_ignored() {
    let hub = Hub::start().await;
    let history = history::linear(8, 6, 4, 1);
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let local = only(&history, &history.reachable(&[&ids[2]]));
    let mut have: Vec<String> = (0..20_000).map(|index| format!("{index:064x}")).collect();
    have.extend((0..100).map(|index| format!("Odd_but:legal.{index}-")));
    have.push("x".repeat(128));
    have.extend(local.ids());
    for encoding in Encoding::BOTH {
        let pack = remote.speaking(encoding).fetch(&local, &[history.last()], &have).await;
        assert_minimal(&history, &pack, &[history.last().to_owned()], &have);
        let pack = remote.speaking(encoding).fetch(&History::default(), &[history.last()], &have[..20_100]).await;
        assert_eq!(pack.commits.len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_come_first_in_a_long_history_pushed_backwards() {
    let hub = Hub::start().await;
    let history = history::linear(9, 500, 1, 1);
    let mut pack = history.pack_of(history.last());
    pack.commits.reverse();
    let remote = hub.repo().await;
    remote.push_pack("main", false, &pack).await.expect(200);
    for encoding in Encoding::BOTH {
        verify::same_history(&history, &remote.speaking(encoding).clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_says_where_branches_are() {
    let hub = Hub::start().await;
    let history = history::linear(10, 4, 2, 1);
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", &ids[3]).await.expect(200);
    remote.push(&history, "old", &ids[1]).await.expect(200);
    let heads: BTreeMap<String, String> = remote.heads().await;
    for encoding in Encoding::BOTH {
        let pack = remote.speaking(encoding).fetch::<_, &str>(&History::default(), &[&ids[3]], &[]).await;
        assert_eq!(pack.branch_heads.get("main"), Some(&ids[3]));
        assert!(pack.branch_heads.iter().all(|(branch, head)| heads.get(branch) == Some(head)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_staged_are_not_in_a_fetch() {
    let hub = Hub::start().await;
    let history = history::linear(11, 2, 3, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let staged: Vec<Object> = (0..10).map(|index| Object::new(format!("staged {index}"))).collect();
    remote.push_objects(&staged).await.expect(200);
    for encoding in Encoding::BOTH {
        verify::same_history(&history, &remote.speaking(encoding).clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_gone_and_is_back_reaches_everyone() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(12);
    let with = Tree::from([("a".to_owned(), builder.bytes(30)), ("b".to_owned(), builder.bytes(30))]);
    let without: Tree = with.clone().into_iter().take(1).collect();
    let mut tips = Vec::new();
    for tree in [&with, &without, &with, &without, &with] {
        let parents: Vec<String> = tips.last().cloned().into_iter().collect();
        tips.push(builder.commit(&parents.iter().map(String::as_str).collect::<Vec<_>>(), tree));
    }
    let history = builder.finish();
    let remote = hub.repo().await;
    for tip in &tips {
        remote.push(&history, "main", tip).await.expect(200);
    }
    for start in 0..tips.len() {
        let local = only(&history, &history.reachable(&tips[..start]));
        let pack = remote.fetch(&local, &[history.last()], &local.ids()).await;
        assert_minimal(&history, &pack, &[history.last().to_owned()], &local.ids());
    }
}
