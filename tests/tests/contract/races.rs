//! Pushes at the same time: one order comes out, no answer is wrong, nothing is lost.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history::{Builder, History, Pack};
use tests::hub::Hub;
use tests::verify;

/// Makes all of these pushes to their branches at once, from as many tasks.
async fn push_at_once(remote: &Remote, pushes: Vec<(String, Pack)>) -> Vec<Answer> {
    let push = |(index, (branch, pack)): (usize, (String, Pack))| {
        let remote = remote.speaking(Encoding::BOTH[index % 2]);
        tokio::spawn(async move { remote.push_pack(&branch, false, &pack).await })
    };
    let tasks: Vec<_> = pushes.into_iter().enumerate().map(push).collect();
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_six_pushes_at_one_head_exactly_one_wins_and_the_others_can_merge() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let mut builder = Builder::new(1);
    let mut head = builder.child(&[]);
    remote.push(builder.history(), "main", &head).await.expect(200);
    for round in 0..20 {
        let contenders: Vec<String> = (0..6).map(|_| builder.child(&[&head])).collect();
        let pushes = contenders.iter().map(|id| ("main".to_owned(), builder.history().pack(&[id]))).collect();
        let answers = push_at_once(&remote, pushes).await;

        let winners: Vec<usize> = (0..6).filter(|index| answers[*index].status == 200).collect();
        assert_eq!(winners.len(), 1, "round {round}: {:?}", answers.iter().map(Answer::excerpt).collect::<Vec<_>>());
        let winner = &contenders[winners[0]];
        assert_eq!(remote.heads().await["main"], *winner, "round {round}");
        for (index, answer) in answers.iter().enumerate().filter(|(index, _)| *index != winners[0]) {
            answer.refused(409, "non_fast_forward");
            remote.ask::<_, &str>(&[&contenders[index]], &[]).await.refused(404, "unknown_commit");
        }

        let loser = &contenders[(winners[0] + 1) % 6];
        head = builder.child(&[winner, loser]);
        remote.push(builder.history(), "main", &head).await.expect(200);
    }
    let cloned = remote.anonymous().clone_all().await;
    assert_eq!(cloned.commit_ids(), builder.history().reachable(&[&head]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_six_first_pushes_to_one_branch_exactly_one_wins() {
    let hub = Hub::start().await;
    for round in 0..5 {
        let remote = hub.repo().await;
        let mut builder = Builder::new(100 + round);
        let roots: Vec<String> = (0..6).map(|_| builder.child(&[])).collect();
        let pushes = roots.iter().map(|id| ("main".to_owned(), builder.history().pack(&[id]))).collect();
        let answers = push_at_once(&remote, pushes).await;
        let won: Vec<&String> =
            roots.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).map(|(root, _)| root).collect();
        assert_eq!(won.len(), 1, "round {round}: {:?}", answers.iter().map(Answer::excerpt).collect::<Vec<_>>());
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.refused(409, "non_fast_forward");
        }
        assert_eq!(remote.heads().await, BTreeMap::from([("main".to_owned(), won[0].clone())]));
    }
}

/// A shared root, and 32 commits on it that also share files.
fn thirty_two(seed: u64) -> (History, BTreeMap<String, String>) {
    let mut builder = Builder::new(seed);
    let files = builder.files(10);
    let root = builder.commit(&[], &files);
    let branches = (0..32)
        .map(|index| {
            let mut tree = files.clone();
            tree.insert("own.mid".to_owned(), builder.bytes(100));
            (format!("branch/{index:02}"), builder.commit(&[&root], &tree))
        })
        .collect();
    (builder.finish(), branches)
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_branches_at_once_on_a_fresh_repo_all_win() {
    let hub = Hub::start().await;
    for round in 0..3 {
        let (history, branches) = thirty_two(200 + round);
        for remote in [hub.repo().await, hub.made_repo(&hub.dev(), false).await] {
            let pushes = branches.iter().map(|(branch, tip)| (branch.clone(), history.pack_of(tip))).collect();
            for answer in push_at_once(&remote, pushes).await {
                answer.expect(200);
            }
            assert_eq!(remote.heads().await, branches);
            assert!(branches.contains_key(&remote.default_branch().await), "the default is the branch that came first");
            verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_branches_of_a_repo_move_on_at_once() {
    let hub = Hub::start().await;
    let (history, branches) = thirty_two(300);
    let remote = hub.repo().await;
    let root = history.ids().remove(0);
    for branch in branches.keys() {
        remote.push_pack(branch, false, &history.pack_of(&root).with_head(branch, &root)).await.expect(200);
    }
    let default = remote.default_branch().await;
    let pushes = branches.iter().map(|(branch, tip)| (branch.clone(), history.pack(&[tip]))).collect();
    for answer in push_at_once(&remote, pushes).await {
        answer.expect(200);
    }
    assert_eq!(remote.heads().await, branches);
    assert_eq!(remote.default_branch().await, default);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_push_made_eight_times_at_once_succeeds_eight_times() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let mut builder = Builder::new(4);
    let mut head = builder.child(&[]);
    remote.push(builder.history(), "main", &head).await.expect(200);
    for _ in 0..8 {
        head = builder.child(&[&head]);
        let pack = builder.history().pack(&[&head]);
        let answers = push_at_once(&remote, vec![("main".to_owned(), pack); 8]).await;
        let first = answers[0].expect(200);
        assert!(answers.iter().all(|answer| answer.expect(200) == first), "all get the same answer");
        assert_eq!(remote.heads().await["main"], head);
    }
    verify::same_history(builder.history(), &remote.clone_all().await, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_during_pushes_are_whole() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let mut builder = Builder::new(5);
    let mut head = builder.child(&[]);
    remote.push(builder.history(), "main", &head).await.expect(200);
    for _ in 0..10 {
        let next = builder.child(&[&head]);
        let pushing = remote.push(builder.history(), "main", &next);
        let cloning = (0..4).map(|index| {
            let remote = remote.anonymous().speaking(Encoding::BOTH[index % 2]);
            async move { remote.clone_all().await }
        });
        let (pushed, clones) = tokio::join!(pushing, join_all(cloning));
        pushed.expect(200);
        // Each is the state before the push or the state after it; that it holds together, the client checks.
        let (before, after) = (builder.history().reachable(&[&head]), builder.history().reachable(&[&next]));
        for clone in clones {
            assert!([&before, &after].contains(&&clone.commit_ids()));
        }
        head = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_objects_staged_many_times_at_once_are_there() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let history = tests::history::linear(6, 1, 200, 0);
    let pack = history.pack_of(history.last());
    let sends = (0..8).map(|index| {
        let (remote, objects) = (remote.speaking(Encoding::BOTH[index % 2]), pack.objects.clone());
        tokio::spawn(async move { remote.push_objects(&objects).await })
    });
    for answer in join_all(sends).await {
        answer.unwrap().expect(200);
    }
    remote.push_pack("main", false, &pack.without_objects()).await.expect(200);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}
