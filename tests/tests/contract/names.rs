//! Which branches may lie side by side and which paths are taken: those that every client can keep as files.

use futures_util::future::join_all;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Pack, Tree};
use tests::hub::Hub;
use tests::verify;

/// Pairs that are one file, or a file and a folder of one name, on some system.
const PAIRS: [(&str, &str); 6] = [
    ("feature", "feature/x"),
    ("feature/x/y", "feature"),
    ("Feature", "feature/x"),
    ("topic", "Topic"),
    ("grün/ab", "GRÜN/aB"),
    ("x/one", "X/two"),
];

/// A repo whose `main` has one commit, and a push of another branch there.
async fn stocked(hub: &Hub) -> (Remote, History) {
    let history = history::linear(1, 2, 1, 1);
    let remote = hub.made_repo(&hub.dev(), false).await;
    remote.push(&history, "main", &history.ids()[0]).await.expect(200);
    (remote, history)
}

fn head(history: &History, branch: &str) -> Pack {
    Pack::default().with_head(branch, &history.ids()[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_no_clone_could_keep_beside_another_is_refused() {
    let hub = Hub::start().await;
    for (one, other) in PAIRS {
        for (first, second) in [(one, other), (other, one)] {
            let (remote, history) = stocked(&hub).await;
            remote.push_pack(first, false, &head(&history, first)).await.expect(200);
            for (encoding, force) in [(Encoding::Json, false), (Encoding::Msgpack, true)] {
                let bundle = history.pack_of(history.last()).with_head(second, history.last());
                let answer = remote.speaking(encoding).push_pack(second, force, &bundle).await;
                let detail = answer.refused(422, "invalid").detail;
                assert!(
                    detail.starts_with("branch: ") && detail.contains(first) && detail.contains("delete"),
                    "{detail}"
                );
            }
            // Nothing of it was kept, and the branch that is there moves on.
            remote.ask::<_, &str>(&[history.last()], &[]).await.refused(404, "unknown_commit");
            remote.push(&history, first, history.last()).await.expect(200);
            assert_eq!(remote.heads().await.into_keys().collect::<Vec<_>>().len(), 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_pushes_of_branches_that_exclude_each_other_one_kind_wins() {
    let hub = Hub::start().await;
    for round in 0..4 {
        let (remote, history) = stocked(&hub).await;
        let names = ["feature", "feature/x", "Feature/y", "FEATURE", "feature/x/z", "feature/y"];
        let pushes = names.map(|name| {
            let (remote, pack) = (remote.clone(), head(&history, name));
            tokio::spawn(async move { (name, remote.push_pack(name, false, &pack).await) })
        });
        let mut taken = Vec::new();
        for pushed in join_all(pushes).await {
            let (name, answer) = pushed.unwrap();
            if answer.status == 200 {
                taken.push(name);
            } else {
                answer.refused(422, "invalid");
            }
        }
        let mut heads: Vec<String> = remote.heads().await.into_keys().filter(|name| name != "main").collect();
        heads.sort();
        taken.sort_unstable();
        assert_eq!(heads, taken, "round {round}");
        // As a system keeps them that tells no case from another.
        let folded: Vec<String> = heads.iter().map(|name| name.to_lowercase()).collect();
        for (at, one) in folded.iter().enumerate() {
            for (other_at, other) in folded.iter().enumerate().filter(|(other_at, _)| *other_at != at) {
                assert!(one != other && !one.starts_with(&format!("{other}/")), "{at} and {other_at} of {heads:?}");
            }
        }
        assert!(!heads.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_of_one_folder_are_made_at_once() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let pushes = (0..16).map(|number| {
        let name = format!("fix/deep/{number}");
        let (remote, pack) = (remote.clone(), head(&history, &name));
        tokio::spawn(async move { remote.push_pack(&name, false, &pack).await })
    });
    for pushed in join_all(pushes).await {
        pushed.unwrap().expect(200);
    }
    assert_eq!(remote.heads().await.len(), 17);
}

/// A history of one commit of files at these paths, all with the same bytes.
fn files(paths: &[&str]) -> History {
    let mut builder = Builder::new(3);
    let content = builder.bytes(9);
    let tree: Tree = paths.iter().map(|path| ((*path).to_owned(), content.clone())).collect();
    builder.commit(&[], &tree);
    builder.finish()
}

/// What leaves the folder of a clone, reaches into a client's own, or is no file beside the others.
const BAD_TREES: [&[&str]; 24] = [
    &["../x"],
    &["a/../b"],
    &["."],
    &["a/./b"],
    &["/etc/passwd"],
    &["a//b"],
    &["a/"],
    &[".muse/config.toml"],
    &[".MUSE/config.toml"],
    &[".muse"],
    &[".git/config"],
    &[".Git/hooks/post-checkout"],
    &["git~1/config"],
    &[".git./config"],
    &["a", "a/b"],
    &["a", "a-b", "a/b/c"],
    &["x/a", "x/a.b", "x/a/b"],
    &["a\\..\\b"],
    &["..\\x"],
    &["\\x"],
    &["C:\\x"],
    &[".git\\config"],
    &["a", "a\\b"],
    &["a/b", "a\\b"],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_would_break_or_betray_a_clone_is_refused() {
    let hub = Hub::start().await;
    let (remote, _) = stocked(&hub).await;
    let before = remote.heads().await;
    for paths in BAD_TREES {
        let history = files(paths);
        for encoding in Encoding::BOTH {
            let remote = remote.speaking(encoding);
            let answer = remote.push_pack("other", false, &history.pack_of(history.last())).await;
            let detail = answer.refused(422, "invalid").detail;
            assert!(detail.starts_with("a path of snapshot '") && detail.contains("rename"), "{paths:?}: {detail}");
        }
    }
    assert_eq!(remote.heads().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_only_some_systems_dislike_is_kept() {
    let hub = Hub::start().await;
    let history = files(&[
        "aux.c",
        "con",
        "dot.",
        "é",
        "e\u{301}",
        "Makefile",
        "makefile",
        ".gitignore",
        ".museattributes",
        "...",
        "sub/.git",
        "a:b",
        "a",
        "a-b/c",
        "a.b",
        "muse/x",
        "back\\slash",
    ]);
    let remote = hub.repo().await;
    remote.push_pack("main", false, &history.pack_of(history.last())).await.expect(200);
    for encoding in Encoding::BOTH {
        verify::same_history(&history, &remote.speaking(encoding).clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lenient_hub_takes_any_path_and_no_other_branches() {
    let hub = Hub::start_lenient().await;
    let remote = hub.repo().await;
    for (number, paths) in BAD_TREES.into_iter().enumerate() {
        let history = files(paths);
        let branch = format!("b{number}");
        remote.push_pack(&branch, false, &history.pack_of(history.last())).await.expect(200);
        assert_eq!(remote.heads().await[&branch], history.last());
    }
    let history = files(&["a"]);
    remote.push_pack("B0/x", false, &history.pack_of(history.last())).await.refused(422, "invalid");
    remote.push_pack("con", false, &history.pack_of(history.last())).await.refused(422, "invalid");
    assert_eq!(remote.heads().await.len(), BAD_TREES.len());
    hub.stop().await;
}
