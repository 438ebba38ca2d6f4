//! A commit comes back as it was pushed, and what was left empty comes back filled in.

use serde_json::{Map, Value, json};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{Builder, Commit, Formula, Pack};
use tests::hub::Hub;
use tests::ids;
use tests::verify;

/// A bundle of one root commit of exactly these fields, beside `commit_id` and `snapshot_id`.
fn bundle(fields: &Value) -> Pack {
    let mut builder = Builder::new(1);
    let tree = builder.files(2);
    let everyday = builder.commit(&[], &tree);
    let history = builder.finish();
    let mut pack = history.pack_of(&everyday);
    let mut commit = Commit(fields.as_object().unwrap().clone());
    commit.set("snapshot_id", history.commit(&everyday).text("snapshot_id"));
    let last = if commit.text("committed_at").is_empty() { commit.text("author") } else { commit.text("committed_at") };
    let id = ids::commit_id(&[], commit.text("snapshot_id"), commit.text("message"), last);
    commit.set("commit_id", id);
    pack.commits = vec![commit];
    pack
}

async fn fetched(remote: &Remote, commit: &str) -> Commit {
    let answer = remote.ask::<_, &str>(&[commit], &[]).await.expect(200);
    Pack::from_value(&answer).unwrap().commits.remove(0)
}

/// Pushes the commit in either encoding and compares what either encoding brings back.
async fn assert_comes_back(hub: &Hub, fields: &Value) {
    let pack = bundle(fields);
    let pushed = &pack.commits[0];
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push_pack("main", false, &pack).await.expect(200);
        for cloned in Encoding::BOTH {
            let got = fetched(&remote.speaking(cloned), pushed.id()).await;
            verify::same_commit(pushed, &got, "dev").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_fields_come_back_as_their_defaults() {
    let hub = Hub::start().await;
    assert_comes_back(
        &hub,
        &json!({"message": "only a message", "committed_at": "2025-01-01T00:00:00+00:00", "author": "ann"}),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_author_and_time_are_filled_in() {
    let hub = Hub::start().await;
    assert_comes_back(&hub, &json!({})).await;
    assert_comes_back(&hub, &json!({"committed_at": "2025-01-01T00:00:00+00:00"})).await;
    assert_comes_back(&hub, &json!({"author": "ann"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_author_and_time_are_filled_in() {
    let hub = Hub::start().await;
    assert_comes_back(&hub, &json!({"message": "m", "author": "", "committed_at": ""})).await;
    assert_comes_back(&hub, &json!({"author": "", "committed_at": "2025-01-01T00:00:00+00:00"})).await;
    assert_comes_back(&hub, &json!({"author": "ann", "committed_at": ""})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_author_filled_in_is_the_pushers_handle() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    let remote = hub.made_repo(&user, false).await;
    let pack = bundle(&json!({"message": "m", "author": "", "committed_at": "2025-01-01T00:00:00Z"}));
    remote.push_pack("main", false, &pack).await.expect(200);
    assert_eq!(fetched(&remote, pack.commits[0].id()).await.text("author"), user.handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_filled_in_stays_when_the_commit_is_pushed_again() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let pack = bundle(&json!({"message": "m", "author": "", "committed_at": ""}));
    remote.push_pack("main", false, &pack).await.expect(200);
    let first = fetched(&remote, pack.commits[0].id()).await;
    remote.push_pack("main", false, &pack).await.expect(200);
    assert_eq!(fetched(&remote, pack.commits[0].id()).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_come_back_to_the_character() {
    let hub = Hub::start().await;
    let times = [
        "2025-01-01T00:00:00+00:00",
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00.000000+00:00",
        "2025-01-01T00:00:00.120+05:30",
        "2025-01-01T00:00:00.123456-08:00",
        "2025-01-01T00:00:00",
        "1969-12-31T23:59:59.999999+00:00",
        "9999-12-31T23:59:59+00:00",
    ];
    for time in times {
        assert_comes_back(&hub, &json!({"message": "m", "committed_at": time, "author": "ann"})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_come_back_as_they_came() {
    let hub = Hub::start().await;
    let fields = json!({
        "message": "m", "committed_at": "2025-01-01T00:00:00Z", "author": "ann",
        "x": null, "": "an empty name", "größe": 1, "nested": {"a": [1, 2.5, {"b": []}], "objects": [], "": {}},
        "content": "words", "commitId": "another", "big": [i64::MIN, i64::MAX, u64::MAX], "is_true": true,
        "object_id": "not one", "ok": false, "text": "x".repeat(70_000), "a.b": 1, "$ref": "#/x", "__proto__": {},
    });
    assert_comes_back(&hub, &fields).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_known_field_comes_back() {
    let hub = Hub::start().await;
    let fields = json!({
        "repo_id": "not the hub's", "branch": "somewhere/else", "message": "m\u{0}\n\u{1f3b5}", "author": "ann <ann@example.org>",
        "committed_at": "2025-01-01T00:00:00Z", "parent_commit_id": null, "parent2_commit_id": null,
        "metadata": {"": "", "ключ": "значение", "a": "\u{0}"}, "structured_delta": {"ops": [{"op": "insert", "at": [0.5, -1, null]}]},
        "sem_ver_bump": "patch", "breaking_changes": ["one", ""], "agent_id": "a", "model_id": "m", "toolchain_id": "t",
        "prompt_hash": "p", "signature": "s", "signer_key_id": "k", "format_version": 7, "reviewed_by": ["x", "y"], "test_runs": 12,
    });
    assert_comes_back(&hub, &fields).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_there_is_not_rewritten_by_another_push() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(2);
    let tree = builder.files(1);
    let id = builder.commit_with(&[], &tree, Formula::CommittedAt, |_| ());
    let pack = builder.finish().pack_of(&id);
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push_pack("main", false, &pack).await.expect(200);
        let mut retold = pack.clone();
        retold.commits[0].set("author", "mallory");
        retold.commits[0].set("metadata", json!({"tempo": "60"}));
        retold.commits[0].set("x", 1);
        remote.push_pack("main", false, &retold).await.expect(200);
        verify::same_commit(&pack.commits[0], &fetched(&remote, &id).await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_some_client_could_not_read_again_is_refused_naming_the_field() {
    let hub = Hub::start().await;
    let unkept = [
        rmpv::Value::Binary(vec![0, 255]),
        rmpv::Value::Ext(5, vec![1, 2, 3]),
        rmpv::Value::Ext(-1, vec![0, 0, 0, 0]),
        rmpv::Value::F64(f64::NAN),
        rmpv::Value::F64(f64::NEG_INFINITY),
        rmpv::Value::F32(f32::INFINITY),
        rmpv::Value::Map(vec![(1.into(), "a number as a key".into())]),
        rmpv::Value::Map(vec![(rmpv::Value::Nil, rmpv::Value::Nil)]),
        rmpv::Value::Map(vec![(true.into(), 1.into())]),
        rmpv::Value::Map(vec![(rmpv::Value::Array(vec![]), 1.into())]),
        rmpv::Value::Map(vec![(rmpv::Value::Binary(vec![b'a']), 1.into())]),
    ];
    let remote = hub.made_repo(&hub.dev(), false).await.speaking(Encoding::Msgpack);
    for (field, holder) in [
        ("structured_delta", json!("@here@")),
        ("metadata", json!({"a": "@here@"})),
        ("breaking_changes", json!(["@here@"])),
        ("reviewed_by", json!([["@here@"]])),
        ("from_the_future", json!({"deep": [{"down": "@here@"}]})),
    ] {
        let pack = bundle(&json!({"message": "m", "committed_at": "2025-01-01T00:00:00Z", field: holder}));
        let mut bodies =
            vec![("push", json!({"bundle": pack.to_value(), "branch": "main", "force": false}), "bundle.commits[0].")];
        bodies.push(("releases", json!({"tag": "v1", "commit_id": pack.commits[0].id(), field: holder}), ""));
        for (endpoint, body, place) in bodies {
            for value in &unkept {
                let mut sent = tests::encoding::to_msgpack(&body);
                replace(&mut sent, value);
                let answer = remote.post_bytes(endpoint, tests::encoding::encode_msgpack(&sent)).await;
                let detail = answer.refused(422, "invalid").detail;
                assert!(detail.starts_with(&format!("{place}{field}")), "{value} in {field}: {detail}");
            }
        }
        // Nothing of it was kept, and what is good in its place is taken.
        assert!(remote.heads().await.is_empty());
    }
    let long =
        json!({"bundle": bundle(&json!({"metadata": {"a": "@here@"}})).to_value(), "branch": "main"}).to_string();
    let long = long.replace("\"@here@\"", "123456789012345678901234567890");
    let answer = remote.speaking(Encoding::Json).post_bytes("push", long.clone()).await;
    let detail = answer.refused(422, "invalid").detail;
    assert!(detail.starts_with("bundle.commits[0].metadata.a: "), "{detail}");
    remote
        .speaking(Encoding::Json)
        .post_bytes("push", long.replace("123456789012345678901234567890", "1.5e30"))
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_back_as_they_were_pushed() {
    let hub = Hub::start().await;
    let fields = json!({
        "message": "m", "committed_at": "2025-01-01T00:00:00Z", "author": "ann",
        "structured_delta": [0.1, 1e30, -1.5e300, 5e-324, u64::MAX, i64::MIN, 1.0, 18_446_744_073_709_551_616.0],
    });
    assert_comes_back(&hub, &fields).await;
}

fn replace(value: &mut rmpv::Value, with: &rmpv::Value) {
    match value {
        rmpv::Value::String(text) if text.as_str() == Some("@here@") => *value = with.clone(),
        rmpv::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, with)),
        rmpv::Value::Map(entries) => entries.iter_mut().for_each(|(_, item)| replace(item, with)),
        _ => (),
    }
}

#[test]
fn a_bundle_of_the_tests_above_is_what_it_says() {
    let pack = bundle(&Value::Object(Map::new()));
    assert_eq!(verify::commit_id(&pack.commits[0]), Ok(()));
    assert_eq!(pack.commits[0].0.len(), 2);
}
