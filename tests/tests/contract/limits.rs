//! Each limit holds on its far side and not on its near one.

use std::collections::BTreeMap;

use serde_json::json;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Object, Pack, Tree, list_of_text};
use tests::hub::Hub;
use tests::verify;

async fn empty_repo(hub: &Hub) -> Remote {
    hub.made_repo(&hub.dev(), false).await
}

fn one_file(path: &str) -> History {
    let mut builder = Builder::new(1);
    let content = builder.bytes(10);
    builder.commit(&[], &Tree::from([(path.to_owned(), content)]));
    builder.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_push_of_12_000_commits_goes_whole() {
    let hub = Hub::start().await;
    let history = history::linear(1, 12_000, 1, 0);
    let ids = history.ids();
    let remote = empty_repo(&hub).await.speaking(Encoding::Msgpack);
    remote.push_pack("main", false, &history.pack(&ids)).await.expect(200);
    let cloned = remote.speaking(Encoding::Json).clone_all().await;
    verify::same_history(&history, &cloned, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_1_000_objects_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(2);
    let tree = (0..1_001).map(|index| (format!("{index}"), builder.bytes(20))).collect();
    builder.commit(&[], &tree);
    let history = builder.finish();
    let pack = history.pack_of(history.last());
    assert_eq!(pack.objects.len(), 1_001);
    for encoding in Encoding::BOTH {
        let remote = empty_repo(&hub).await.speaking(encoding);
        remote.push_objects(&pack.objects).await.refused(422, "");
        remote.push_pack("main", false, &pack).await.refused(422, "");
        assert!(remote.heads().await.is_empty());
        remote.push_objects(&pack.objects[..1]).await.expect(200);
        let rest = Pack { objects: pack.objects[1..].to_vec(), ..pack.clone() };
        remote.push_pack("main", false, &rest).await.expect(200);
        remote.push_objects(&pack.objects[..1_000]).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_of_10_000_wants_is_answered_and_of_one_more_is_not_and_duplicates_count_once() {
    let hub = Hub::start().await;
    let history = history::linear(3, 10_001, 1, 0);
    let remote = empty_repo(&hub).await;
    let ids = history.ids();
    for commits in [&ids[..5_000], &ids[5_000..]] {
        remote.push_pack("main", false, &history.pack(commits)).await.expect(200);
    }
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        remote.ask::<_, &str>(&ids, &[]).await.refused(422, "too_many");
        let twice = [&ids[1..], &ids[1..]].concat();
        let pack = remote.fetch::<_, &str>(&History::default(), &twice, &[]).await;
        assert_eq!(pack.commits.len(), 10_001);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_takes_a_million_haves_and_no_more() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 1, 1);
    let remote = empty_repo(&hub).await.speaking(Encoding::Msgpack);
    remote.push(&history, "main", history.last()).await.expect(200);
    let mut have: Vec<String> = (0..999_999).map(|index| format!("{index:x}")).collect();
    have.push(history.ids().remove(0));
    let answer = remote.ask(&[history.last()], &have).await.expect(200);
    assert_eq!(Pack::from_value(&answer).unwrap().commits.len(), 1);
    have.push("one-more".to_owned());
    remote.ask(&[history.last()], &have).await.refused(422, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_100_000_files_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    let files = |count: usize| (0..count).map(|index| (format!("{index:x}"), "the same".into())).collect::<Tree>();
    let mut builder = Builder::new(5);
    let largest = builder.commit(&[], &files(100_000));
    let too_large = builder.commit(&[&largest], &files(100_001));
    let history = builder.finish();
    let remote = empty_repo(&hub).await.speaking(Encoding::Msgpack);
    remote.push_pack("main", false, &history.pack_of(&too_large)).await.refused(422, "");
    assert!(remote.heads().await.is_empty());
    remote.push_pack("main", false, &history.pack_of(&largest)).await.expect(200);
    let cloned = remote.clone_all().await;
    assert_eq!(cloned.snapshots[0].manifest.len(), 100_000);
    assert_eq!(cloned.objects.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_4_096_bytes_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    // A file's name has 255 bytes at most, a part at a time.
    for letter in ["x", "é", "🎵"] {
        let part = letter.repeat(252 / letter.len());
        let parts = vec![part.as_str(); 16].join("/");
        let longest = format!("{parts}/{}", "y".repeat(4_096 - parts.len() - 1));
        assert_eq!(longest.len(), 4_096);
        for encoding in Encoding::BOTH {
            let remote = empty_repo(&hub).await.speaking(encoding);
            let long_part = format!("a/{}/b", letter.repeat(256 / letter.len()));
            for too_long in [format!("{longest}y"), long_part] {
                let too_long = one_file(&too_long);
                remote.push_pack("main", false, &too_long.pack_of(too_long.last())).await.refused(422, "invalid");
            }
            assert!(remote.heads().await.is_empty());
            let longest = one_file(&longest);
            remote.push_pack("main", false, &longest.pack_of(longest.last())).await.expect(200);
            verify::same_history(&longest, &remote.clone_all().await, "dev").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_branch_of_255_bytes_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    let history = history::linear(6, 1, 1, 0);
    let pack = history.pack_of(history.last());
    for letter in ["x", "é", "🎵"] {
        let most = letter.repeat(255 / letter.len());
        let remote = empty_repo(&hub).await;
        for long in [format!("{most}{letter}"), format!("a/{most}{letter}/b")] {
            remote.push_pack(&long, false, &pack).await.refused(422, "invalid");
        }
        assert!(remote.heads().await.is_empty());
        for long in [most.clone(), format!("a/{most}/{most}/{most}")] {
            remote.push_pack(&long, false, &pack).await.expect(200);
            assert_eq!(remote.heads().await[&long], history.last());
        }
        assert_eq!(remote.default_branch().await, most);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_of_1_020_bytes_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    let history = history::linear(6, 1, 1, 0);
    let remote = empty_repo(&hub).await;
    let longest = format!("{}y", ["x".repeat(254), "é".repeat(127), "z".repeat(254), "x".repeat(254)].join("/"));
    assert_eq!(longest.len(), 1_020);
    remote.push_pack(&format!("{longest}y"), false, &history.pack_of(history.last())).await.refused(422, "invalid");
    remote.push_pack(&longest, false, &history.pack_of(history.last())).await.expect(200);
    assert_eq!(remote.heads().await, BTreeMap::from([(longest, history.last().to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_name_of_a_forbidden_form_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(7, 1, 1, 0);
    let pack = history.pack_of(history.last());
    let remote = empty_repo(&hub).await;
    let names = [
        "..",
        "a..b",
        "a/../b",
        "..a",
        "a..",
        "a\\b",
        "\\",
        "a\u{0}b",
        "a\nb",
        "a\u{1b}b",
        "a\u{7f}b",
        "a\u{85}b",
        "/",
        "/a",
        "a/",
        "a//b",
        "//",
        ".",
        ".a",
        "a.",
        "a/.b",
        "a./b",
        "fix:12",
        "what?*",
        "con",
        "aux.txt",
        "x/NUL",
        " a",
        "a ",
        "a /b",
        "a\u{202e}b",
        "-",
        "-d",
        "HEAD",
        "@",
        "a.lock",
        "a.lock/b",
        "a@{b",
        "a~1",
        "a^",
        "a[b",
        "<b>",
        "a|b",
        "\"",
    ];
    for encoding in Encoding::BOTH {
        for name in names {
            let answer = remote.speaking(encoding).push_pack(name, false, &pack).await;
            assert_eq!(answer.status, 422, "{name:?}: {}", answer.excerpt());
            let detail = answer.refused(422, "invalid").detail;
            assert!(detail.starts_with("branch: ") && detail.len() < 380, "{detail}");
            remote.speaking(encoding).push_pack(name, true, &pack).await.refused(422, "invalid");
        }
        remote.speaking(encoding).push_pack("", false, &pack).await.refused_somehow();
    }
    assert!(remote.heads().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_branch_name_that_is_not_forbidden_is_taken() {
    let hub = Hub::start().await;
    let history = history::linear(8, 1, 1, 0);
    let remote = empty_repo(&hub).await;
    let names =
        ["a.b", "a/b.c/d", "@a", "a b", "%", "%00", "#", "null", "console", "head", "日本語", "🎵", "'", "a-b", "a{b}"];
    for name in names {
        remote.push_pack(name, false, &history.pack_of(history.last())).await.expect(200);
    }
    assert_eq!(remote.heads().await.into_keys().collect::<Vec<_>>(), {
        let mut names = names.map(str::to_owned).to_vec();
        names.sort();
        names
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_38_000_000_bytes_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(9);
    let largest = builder.bytes(38_000_000);
    builder.commit(&[], &Tree::from([("album.wav".to_owned(), largest.clone())]));
    let history = builder.finish();
    let remote = empty_repo(&hub).await.speaking(Encoding::Msgpack);
    let too_large = Object::new([&largest[..], b"!"].concat());
    remote.push_objects(std::slice::from_ref(&too_large)).await.refused(413, "");
    let mut pack = history.pack_of(history.last());
    pack.objects.push(too_large);
    remote.push_pack("main", false, &pack).await.refused(413, "");
    assert!(remote.heads().await.is_empty());
    remote.push_pack("main", false, &history.pack_of(history.last())).await.expect(200);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_a_forbidden_form_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(10, 2, 1, 1);
    let remote = empty_repo(&hub).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let long = "x".repeat(129);
    for id in ["", "a b", "a/b", "../x", "a\u{0}", "é", "a%20", "\n", "*", "{}", long.as_str()] {
        for encoding in Encoding::BOTH {
            let remote = remote.speaking(encoding);
            remote.ask::<_, &str>(&[id], &[]).await.refused_somehow();
            let mut pack = history.pack(&[history.last()]);
            pack.commits[0].set("commit_id", id);
            remote.push_pack("main", true, &pack).await.refused_somehow();
            let mut pack = history.pack(&[history.last()]);
            pack.snapshots[0].id = id.to_owned();
            pack.commits[0].set("snapshot_id", id);
            remote.push_pack("main", true, &pack).await.refused_somehow();
        }
    }
    assert_eq!(remote.heads().await["main"], history.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_of_the_other_endpoints_are_limited_too() {
    let hub = Hub::start().await;
    let history = history::linear(11, 1, 1, 0);
    let remote = empty_repo(&hub).await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let ids = |count: usize| (0..count).map(|index| format!("{index:064x}")).collect::<Vec<_>>();
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        remote.post("filter-objects", &json!({"object_ids": ids(50_001)})).await.refused(422, "");
        let missing = remote.post("filter-objects", &json!({"object_ids": ids(50_000)})).await.expect(200);
        assert_eq!(missing["missing"].as_array().map(Vec::len), Some(50_000));
        remote.presign("get", &ids(10_001)).await.refused(422, "");
        remote.presign("put", &ids(10_001)).await.refused(422, "");
        assert_eq!(remote.presigned("get", &ids(10_000)).await.len(), 0);
        assert_eq!(remote.presigned("put", &ids(10_000)).await.len(), 10_000);
        // A client that can takes them in pages.
        let page = |limit: i64| json!({"object_ids": ids(5), "direction": "put", "limit": limit});
        let answer = remote.post("presign", &page(2)).await.expect(200);
        assert_eq!(answer["presigned"].as_object().map(serde_json::Map::len), Some(2));
        assert_eq!(list_of_text(&answer, "left").unwrap(), ids(5)[2..]);
        for limit in [0, -1, 10_001] {
            remote.post("presign", &page(limit)).await.refused(422, "invalid");
        }
        remote.post("negotiate", &json!({"want": [history.last()], "have": ids(257)})).await.refused(422, "");
        remote.post("negotiate", &json!({"want": ids(257), "have": []})).await.refused(422, "");
        let heads = |count| ids(count).into_iter().map(|id| (id, None::<String>)).collect::<BTreeMap<_, _>>();
        let push = |count| json!({"bundle": {"branch_heads": heads(count)}, "branch": "main"});
        remote.post("push", &push(10_000)).await.expect(200);
        remote.post("push", &push(10_001)).await.refused(422, "too_many");
    }
}
