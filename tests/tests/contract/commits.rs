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
async fn what_msgpack_can_say_and_json_cannot_breaks_nothing() {
    let hub = Hub::start().await;
    let oddities = [
        rmpv::Value::Binary(vec![0, 255]),
        rmpv::Value::Ext(5, vec![1, 2, 3]),
        rmpv::Value::F64(f64::NAN),
        rmpv::Value::F64(f64::INFINITY),
        rmpv::Value::F32(0.1),
        rmpv::Value::Map(vec![(1.into(), "a number as a key".into())]),
        rmpv::Value::Map(vec![(rmpv::Value::Nil, rmpv::Value::Nil)]),
        rmpv::Value::Map(vec![(rmpv::Value::Array(vec![]), 1.into())]),
        rmpv::Value::String(rmpv::Utf8String::from("fine")),
    ];
    let pack = bundle(&json!({"message": "m", "committed_at": "2025-01-01T00:00:00Z", "structured_delta": "@here@"}));
    let body = json!({"bundle": pack.to_value(), "branch": "main", "force": false});
    for oddity in oddities {
        let remote = hub.repo().await.speaking(Encoding::Msgpack);
        let mut value = tests::encoding::to_msgpack(&body);
        replace(&mut value, &oddity);
        let answer = remote.post_bytes("push", tests::encoding::encode_msgpack(&value)).await;
        if answer.status != 200 {
            answer.refused_somehow();
            continue;
        }
        // What it took, it has to be able to give: to the client that sent it and to the one that reads JSON.
        let json = remote.speaking(Encoding::Json).ask::<_, &str>(&[pack.commits[0].id()], &[]).await.expect(200);
        assert_eq!(json["commits"][0]["commit_id"], pack.commits[0].id(), "{oddity}");
        let msgpack = remote.ask::<_, &str>(&[pack.commits[0].id()], &[]).await;
        assert_eq!(msgpack.status, 200, "{oddity}: {}", msgpack.excerpt());
        tests::encoding::decode_msgpack(&msgpack.body).unwrap();
    }
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
