//! What goes in comes back out: every byte, in every pairing of encodings.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tests::client::Remote;
use tests::encoding::{Encoding, decode_msgpack, encode_msgpack, to_msgpack};
use tests::history::{self, Builder, Formula, History, Tree};
use tests::hub::Hub;
use tests::property::for_every;
use tests::verify;

/// Pushes every head as a branch of its own, with the client of one generation.
async fn push_all(remote: &Remote, history: &History) {
    for (index, head) in history.heads().iter().enumerate() {
        remote.push(history, &format!("take/{index}"), head).await.expect(200);
    }
}

async fn assert_clone_is(remote: &Remote, history: &History) {
    let cloned = remote.anonymous().clone_all().await;
    verify::same_history(history, &cloned, "dev").unwrap();
}

/// Pushes a history and clones it again, with the client of each generation.
async fn assert_comes_back(hub: &Hub, history: &History) {
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(history, "main", history.last()).await.expect(200);
        assert_clone_is(&remote, history).await;
    }
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop::sample::select(Encoding::BOTH.to_vec())
}

#[test]
fn every_history_comes_back_whole_whichever_client_pushes_and_whichever_clones() {
    let cases = (any::<u64>(), 1..120_usize, 1..60_usize, encodings(), encodings());
    for_every(16, cases, async |hub, (seed, commits, files, pushed, cloned)| {
        let history = history::dag(seed, commits, files);
        let remote = hub.repo().await;
        push_all(&remote.speaking(pushed), &history).await;
        assert_clone_is(&remote.speaking(cloned), &history).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_pairings_of_encodings_carry_the_same_history() {
    let hub = Hub::start().await;
    let history = history::dag(42, 150, 40);
    for pushed in Encoding::BOTH {
        let remote = hub.repo().await;
        push_all(&remote.speaking(pushed), &history).await;
        for cloned in Encoding::BOTH {
            assert_clone_is(&remote.speaking(cloned), &history).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_commits_come_back_from_either_client() {
    let hub = Hub::start().await;
    let history = history::linear(1, 1_000, 40, 2);
    assert_comes_back(&hub, &history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_more_files_than_one_request_takes_comes_back() {
    let hub = Hub::start().await;
    let history = history::linear(2, 1, 2_345, 0);
    assert_comes_back(&hub, &history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_big_files_come_back() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(3);
    let sizes = [0, 1, 65_535, 65_536, 65_537, 1_000_000, 4_194_304, 9_000_001];
    let tree: Tree = sizes.iter().map(|size| (format!("{size}.wav"), builder.bytes(*size))).collect();
    builder.commit(&[], &tree);
    let history = builder.finish();
    assert_comes_back(&hub, &history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_files_and_empty_snapshots_are_kept() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(4);
    let root = builder.commit(&[], &Tree::new());
    let hollow = builder.commit(&[&root], &Tree::from([("empty".into(), "".into()), ("also empty".into(), "".into())]));
    builder.commit(&[&hollow], &Tree::new());
    let history = builder.finish();
    assert_comes_back(&hub, &history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn object_ids_with_their_prefix_come_back_with_it() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(5).with_prefixed_objects();
    let tree = builder.files(30);
    builder.commit(&[], &tree);
    let history = builder.finish();
    assert!(history.objects.keys().all(|id| id.starts_with("sha256:")));
    assert_comes_back(&hub, &history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_path_is_kept() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(6);
    let paths = [
        "a",
        "A",
        "é",
        "e\u{301}",
        "a\tb",
        "a\nb",
        "a\u{7f}",
        "\"quoted\"",
        "back\\slash",
        "tilde~",
        " leading",
        "trailing ",
        "100%",
        "%2e%2e",
        "dot.",
        ".hidden",
        "folder/b/c/d/e/f",
        "日本語",
        "🎵/🎼.mid",
        "\u{10ffff}",
        "\u{feff}bom",
        "null",
        "__proto__",
        "content",
        "objects",
        "con",
        "a:b",
        "*?<>|",
        "\u{202e}txt.exe",
        "-rf",
    ];
    let tree: Tree = paths.iter().map(|path| ((*path).to_owned(), builder.bytes(9))).collect();
    builder.commit(&[], &tree);
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", history.last()).await.expect(200);
        for cloned in Encoding::BOTH {
            assert_clone_is(&remote.speaking(cloned), &history).await;
        }
    }
}

/// Numbers that a careless reader gets wrong in the last bit, and some hundred at random.
fn hard_floats() -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(7);
    let drawn =
        std::iter::repeat_with(move || f64::from_bits(random.next_u64())).filter(|float| float.is_finite()).take(300);
    let known =
        [5e-324, f64::MAX, f64::MIN_POSITIVE, 0.1 + 0.2, 1e23, 8.41e21, 123_456_789.123_456_79, 1.0, -0.1, 4.35];
    known.into_iter().chain(drawn).collect()
}

fn bits(floats: &[f64]) -> Vec<u64> {
    floats.iter().map(|float| float.to_bits()).collect()
}

/// The floats of the one commit's delta, read with the standard library's exact parser.
async fn floats_from(remote: &Remote, tip: &str) -> Vec<f64> {
    let answer = remote.ask::<_, &str>(&[tip], &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.excerpt());
    match remote.encoding {
        Encoding::Json => {
            let text = std::str::from_utf8(&answer.body).unwrap();
            let delta = text.split_once("\"structured_delta\"").unwrap().1;
            let list = delta.split_once('[').unwrap().1.split_once(']').unwrap().0;
            list.split(',').map(|number| number.trim().parse().unwrap()).collect()
        }
        Encoding::Msgpack => {
            let body = decode_msgpack(&answer.body).unwrap();
            let list = body["commits"][0]["structured_delta"].as_array().unwrap().clone();
            list.iter().map(|number| number.as_f64().unwrap()).collect()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_come_back_to_the_last_bit() {
    let hub = Hub::start().await;
    let floats = hard_floats();
    let mut builder = Builder::new(8);
    let tree = builder.files(1);
    let tip = builder.commit_with(&[], &tree, Formula::CommittedAt, |fields| {
        fields.insert("structured_delta".to_owned(), json!("@floats@"));
    });
    let history = builder.finish();
    let body = json!({"bundle": history.pack_of(&tip).to_value(), "branch": "main", "force": false});

    let list: Vec<String> = floats.iter().map(|float| format!("{float:e}")).collect();
    let as_json = String::from_utf8(Encoding::Json.encode(&body))
        .unwrap()
        .replace("\"@floats@\"", &format!("[{}]", list.join(",")));
    let list = rmpv::Value::Array(floats.iter().map(|float| rmpv::Value::F64(*float)).collect());
    let as_msgpack =
        splice(&encode_msgpack(&to_msgpack(&body)), &encode_msgpack(&"@floats@".into()), &encode_msgpack(&list));

    for (encoding, body) in [(Encoding::Json, as_json.into_bytes()), (Encoding::Msgpack, as_msgpack)] {
        let remote = hub.repo().await.speaking(encoding);
        remote.post_bytes("push", body).await.expect(200);
        for cloned in Encoding::BOTH {
            let got = floats_from(&remote.speaking(cloned), &tip).await;
            assert_eq!(bits(&got), bits(&floats), "pushed as {encoding:?}, fetched as {cloned:?}");
        }
    }
}

fn splice(bytes: &[u8], marker: &[u8], replacement: &[u8]) -> Vec<u8> {
    let at = bytes.windows(marker.len()).position(|window| window == marker).unwrap();
    [&bytes[..at], replacement, &bytes[at + marker.len()..]].concat()
}
