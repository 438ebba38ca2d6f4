//! Tags: labels that name commits.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History};
use tests::hub::{Hub, fresh_name};
use tests::property::for_every;
use tests::{ids, verify};

/// A tag with all its fields.
fn tag(label: &str, commit: &str) -> Value {
    json!({
        "tag_id": ids::object_id(label.as_bytes()),
        "repo_id": "8a0f3c1e-local",
        "commit_id": commit,
        "tag": label,
        "created_at": "2025-03-01T12:00:00.123456+05:30",
    })
}

async fn stocked(hub: &Hub, history: &History) -> Remote {
    let remote = hub.repo().await;
    remote.push(history, "main", history.last()).await.expect(200);
    remote
}

/// Stores these, and fails unless the hub counts them all.
async fn store(remote: &Remote, tags: &[Value]) {
    let answer = remote.post("tags", &json!({"tags": tags})).await.expect(200);
    assert_eq!(answer["stored"], tags.len());
}

async fn list(remote: &Remote) -> Vec<Value> {
    remote.get("tags").await.expect(200)["tags"].as_array().expect("a list").clone()
}

/// Fails unless exactly these are listed, sorted by label, to every client.
async fn assert_listed(remote: &Remote, expected: &[Value]) {
    let mut expected = expected.to_vec();
    expected.sort_by_key(|tag| tag["tag"].as_str().unwrap().to_owned());
    for encoding in Encoding::BOTH {
        assert_eq!(list(&remote.speaking(encoding)).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_back_as_they_were_sent() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 2, 1);
    let commits = history.ids();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        assert_listed(&remote, &[]).await;
        let sent = [tag("v2", &commits[1]), tag("v10", &commits[2]), tag("v1", &commits[0])];
        store(&remote, &sent).await;
        assert_listed(&remote, &sent).await;
        assert_listed(&remote.anonymous(), &sent).await;
        store(&remote, &[]).await;
        assert_listed(&remote, &sent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_label_again_moves_it_to_the_new_commit() {
    let hub = Hub::start().await;
    let history = history::linear(2, 3, 2, 1);
    let commits = history.ids();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        store(&remote, &[tag("latest", &commits[0]), tag("first", &commits[0])]).await;
        // A client that tags again makes a new record of it.
        let mut moved = tag("latest", &commits[2]);
        moved["tag_id"] = json!("another id");
        moved["created_at"] = json!("2024-01-01T00:00:00+00:00");
        store(&remote, std::slice::from_ref(&moved)).await;
        assert_listed(&remote, &[tag("first", &commits[0]), moved]).await;
        store(&remote, &[tag("latest", &commits[0])]).await;
        assert_listed(&remote, &[tag("first", &commits[0]), tag("latest", &commits[0])]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_label_twice_in_a_request_the_last_counts() {
    let hub = Hub::start().await;
    let history = history::linear(3, 3, 2, 1);
    let commits = history.ids();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        store(&remote, &[tag("a", &commits[0]), tag("b", &commits[0]), tag("a", &commits[2]), tag("a", &commits[1])])
            .await;
        assert_listed(&remote, &[tag("a", &commits[1]), tag("b", &commits[0])]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storing_the_same_tags_again_changes_nothing() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 2, 1);
    let remote = stocked(&hub, &history).await;
    let tags: Vec<Value> = (0..150).map(|index| tag(&format!("t{index}"), history.last())).collect();
    for encoding in [Encoding::Json, Encoding::Msgpack, Encoding::Json] {
        store(&remote.speaking(encoding), &tags).await;
        assert_listed(&remote, &tags).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_labels_may_share_an_id_and_a_commit() {
    let hub = Hub::start().await;
    let history = history::linear(5, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    let mut twin = tag("twin", history.last());
    twin["tag_id"] = tag("one", history.last())["tag_id"].clone();
    let tags = [tag("one", history.last()), twin];
    store(&remote, &tags).await;
    assert_listed(&remote, &tags).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_leaves_out_is_filled_in() {
    let hub = Hub::start().await;
    let history = history::linear(6, 1, 2, 0);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let bare = |label: &str| json!({"tag": label, "commit_id": history.last(), "x_future_field": [1, {"a": null}]});
        store(&remote, &[bare("a"), bare("b")]).await;
        let listed = list(&remote).await;
        let repo_id = remote.repo_id().await;
        for tag in &listed {
            assert_eq!((&tag["commit_id"], &tag["repo_id"]), (&json!(history.last()), &json!(repo_id)));
            verify::just_now(tag["created_at"].as_str().unwrap()).unwrap();
            assert!(tag["tag_id"].as_str().is_some_and(|id| !id.is_empty()), "{tag}");
        }
        assert_ne!(listed[0]["tag_id"], listed[1]["tag_id"]);
        assert_eq!(list(&remote).await, listed, "what was filled in stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_any_text_that_is_seen() {
    let hub = Hub::start().await;
    let history = history::linear(7, 1, 2, 0);
    let longest = ["x", "é", "日", "🎵"].map(|letter| letter.repeat(255));
    let mut labels = vec![
        " ",
        "a b",
        "a/b",
        "/",
        "..",
        ".",
        "a\\b",
        "#",
        "TAG#a",
        "%",
        "%2F",
        "?",
        "v1.0.0",
        "V1.0.0",
        "é",
        "e\u{301}",
        "null",
        "0",
        "日本語",
        "\u{ffff}",
        "\u{10ffff}",
        "emotion:joyful",
        "\"",
        "'",
        "$",
        "__proto__",
        "refs/tags/v1",
    ];
    labels.extend(longest.iter().map(String::as_str));
    let tags: Vec<Value> = labels.iter().map(|label| tag(label, history.last())).collect();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        store(&remote, &tags).await;
        assert_listed(&remote, &tags).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_shows_as_another_or_acts_on_a_terminal_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(12, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    for label in ["\u{0}", "a\nb", "\u{7f}", "\u{1b}[2J", "a\u{202e}b", "\u{feff}v1", "v1\u{85}"] {
        let refusal = remote.post("tags", &json!({"tags": [tag(label, history.last())]})).await.refused(422, "invalid");
        assert!(refusal.detail.contains("control character"), "{}", refusal.detail);
    }
    assert_listed(&remote, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_no_character_or_of_256_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(8, 1, 2, 0);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for label in ["".to_owned(), "x".repeat(256), "🎵".repeat(256), "x".repeat(100_000)] {
            let tags = [tag("good", history.last()), tag(&label, history.last())];
            remote.post("tags", &json!({"tags": tags})).await.refused(422, "");
        }
        assert_listed(&remote, &[]).await;
    }
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_10_000_tags_is_taken_and_of_one_more_is_not() {
    let hub = Hub::start().await;
    let history = history::linear(9, 2, 2, 1);
    let commits = history.ids();
    let tags: Vec<Value> = (0..10_001).map(|index| tag(&format!("take-{index:05}"), &commits[index % 2])).collect();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        remote.post("tags", &json!({"tags": tags})).await.refused(422, "too_many");
        assert_listed(&remote, &[]).await;
        store(&remote, &tags[..10_000]).await;
        assert_listed(&remote, &tags[..10_000]).await;
        store(&remote, &tags[9_999..]).await;
        assert_listed(&remote, &tags).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_an_unknown_commit_is_refused_with_all_that_came_with_it() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(10);
    let root = builder.child(&[]);
    let tip = builder.child(&[&root]);
    let refused = builder.child(&[&tip]);
    let elsewhere = builder.child(&[&tip]);
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &tip).await.expect(200);
        remote.push_pack("main", false, &history.pack(&[&refused]).without_objects()).await.refused(422, "");
        hub.repo().await.push(&history, "main", &elsewhere).await.expect(200);
        let before = [tag("kept", &root)];
        store(&remote, &before).await;
        let snapshot = history.commit(&tip).text("snapshot_id");
        for unknown in [&refused, &elsewhere, &"0".repeat(64), "main", "HEAD", snapshot, &tip[..10]] {
            let mut tags: Vec<Value> = (0..300).map(|index| tag(&format!("t{index}"), &tip)).collect();
            tags.push(tag("kept", &tip));
            tags.insert(200, tag("bad", unknown));
            remote.post("tags", &json!({"tags": tags})).await.refused(422, "missing_references");
            assert_listed(&remote, &before).await;
        }
        for malformed in ["", "a b", &"x".repeat(129)] {
            remote.post("tags", &json!({"tags": [tag("new", &tip), tag("bad", malformed)]})).await.refused_somehow();
            assert_listed(&remote, &before).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_branch_names_any_more_may_be_tagged() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(11);
    let root = builder.child(&[]);
    let old = builder.child(&[&root]);
    let new = builder.child(&[&root]);
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "main", &old).await.expect(200);
    store(&remote, &[tag("before", &old)]).await;
    remote.push_pack("main", true, &history.pack_of(&new)).await.expect(200);
    store(&remote, &[tag("after", &old), tag("new", &new)]).await;
    assert_listed(&remote, &[tag("before", &old), tag("after", &old), tag("new", &new)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_a_list_of_tags_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(12, 1, 2, 0);
    let good = tag("good", history.last());
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for body in [
            json!({}),
            json!([good]),
            json!({"tags": good}),
            json!({"tags": null}),
            json!({"tags": "good"}),
            json!({"tags": [good, null]}),
            json!({"tags": [good, "good"]}),
            json!({"tags": [good, {}]}),
            json!({"tags": [good, {"tag": "x"}]}),
            json!({"tags": [good, {"commit_id": history.last()}]}),
            json!({"tags": [good, {"tag": 5, "commit_id": history.last()}]}),
            json!({"tags": [good, {"tag": null, "commit_id": history.last()}]}),
            json!({"tags": [good, {"tag": "x", "commit_id": [history.last()]}]}),
            json!({"tags": [good, {"tag": "x", "commit_id": history.last(), "created_at": 5}]}),
        ] {
            remote.post("tags", &body).await.refused_somehow();
        }
        remote.post_bytes("tags", &b"\xc1{"[..]).await.refused(400, "malformed_body");
        remote.post_bytes("tags", "").await.refused(400, "malformed_body");
        assert_listed(&remote, &[]).await;
    }
    let remote = stocked(&hub, &history).await;
    remote
        .raw("POST", "tags", &[("content-type", "text/plain")], json!({"tags": [good]}).to_string())
        .await
        .refused(415, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_stored_by_writers_and_listed_by_readers() {
    let hub = Hub::start().await;
    let history = history::linear(13, 1, 2, 0);
    let stranger = hub.user().await;
    let (public, private) = (stocked(&hub, &history).await, hub.made_repo(&hub.dev(), true).await);
    private.push(&history, "main", history.last()).await.expect(200);
    let body = json!({"tags": [tag("mine", history.last())]});
    for encoding in Encoding::BOTH {
        let (public, private) = (public.speaking(encoding), private.speaking(encoding));
        let reader = public.with_token(&stranger.token);
        let refusal = reader.post("tags", &body).await.refused(403, "not_authorized");
        assert_eq!(refusal.detail, "push rejected: not authorized");
        let answer = public.anonymous().post("tags", &body).await;
        answer.refused(401, "");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        assert_eq!(list(&reader).await, list(&public).await);
        private.with_token(&stranger.token).post("tags", &body).await.refused(404, "");
        private.with_token(&stranger.token).get("tags").await.refused(404, "");
        private.anonymous().get("tags").await.refused(404, "");
        assert_listed(&private, &[]).await;
    }
    assert_listed(&public, &[]).await;
    store(&private, &[tag("mine", history.last())]).await;
    assert_listed(&private, &[tag("mine", history.last())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tagging_makes_no_repo() {
    let hub = Hub::start().await;
    let nothing = hub.remote(&hub.dev(), &fresh_name("nothing"));
    nothing.post("tags", &json!({"tags": [tag("a", &"0".repeat(64))]})).await.refused_somehow();
    nothing.get("tags").await.refused(404, "");
    nothing.get("refs").await.refused(404, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_repos_tags_are_not_anothers() {
    let hub = Hub::start().await;
    let history = history::linear(14, 2, 2, 1);
    let commits = history.ids();
    let (one, two) = (stocked(&hub, &history).await, stocked(&hub, &history).await);
    store(&one, &[tag("v1", &commits[0]), tag("only here", &commits[0])]).await;
    store(&two, &[tag("v1", &commits[1])]).await;
    assert_listed(&one, &[tag("v1", &commits[0]), tag("only here", &commits[0])]).await;
    assert_listed(&two, &[tag("v1", &commits[1])]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_tag_at_once_lose_nothing() {
    let hub = Hub::start().await;
    let history = history::linear(15, 8, 2, 1);
    let commits = history.ids();
    let remote = stocked(&hub, &history).await;
    // Every client has labels of its own, and all have one in common.
    let of_client = |client: usize| {
        let own = (0..120).map(|index| tag(&format!("client {client} take {index}"), &commits[client]));
        own.chain([tag("common", &commits[client])]).collect::<Vec<Value>>()
    };
    let stores = (0..8).map(|client| {
        let (remote, tags) = (remote.speaking(Encoding::BOTH[client % 2]), of_client(client));
        tokio::spawn(async move { store(&remote, &tags).await })
    });
    for stored in join_all(stores).await {
        stored.unwrap();
    }
    let listed = list(&remote).await;
    let common = listed.iter().find(|tag| tag["tag"] == "common").unwrap().clone();
    assert!(commits.iter().any(|commit| common == tag("common", commit)), "one of them whole: {common}");
    let mut expected: Vec<Value> = (0..8).flat_map(of_client).filter(|tag| tag["tag"] != "common").collect();
    expected.push(common);
    assert_listed(&remote, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_leave_branches_and_fetches_alone() {
    let hub = Hub::start().await;
    let history = history::linear(16, 2, 2, 1);
    let remote = stocked(&hub, &history).await;
    let refs = remote.get("refs").await.expect(200);
    store(&remote, &[tag("main", &history.ids()[0]), tag("HEAD", &history.ids()[0])]).await;
    assert_eq!(remote.get("refs").await.expect(200), refs);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

/// Labels of any characters, short enough to meet again.
fn labels() -> impl Strategy<Value = String> {
    let any_text = r"[^\p{C}\p{Zl}\p{Zp}]{1,30}";
    prop_oneof![any_text, "[ab/#%]{1,3}", prop::sample::select(vec!["é", "e\u{301}", "🎵"]).prop_map(str::to_owned)]
}

#[test]
fn for_every_sequence_of_requests_each_label_is_where_it_was_put_last() {
    let request = prop::collection::vec((labels(), 0..5_usize), 0..40);
    for_every(24, prop::collection::vec(request, 1..5), async |hub, requests| {
        let history = history::linear(17, 5, 1, 1);
        let commits = history.ids();
        let remote = stocked(hub, &history).await;
        let mut expected = BTreeMap::new();
        for (index, request) in requests.into_iter().enumerate() {
            let tags: Vec<Value> = request.iter().map(|(label, commit)| tag(label, &commits[*commit])).collect();
            store(&remote.speaking(Encoding::BOTH[index % 2]), &tags).await;
            expected.extend(request.into_iter().zip(tags).map(|((label, _), tag)| (label, tag)));
        }
        assert_listed(&remote, &expected.into_values().collect::<Vec<_>>()).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_deleted_by_those_who_may_push_and_may_be_made_again() {
    let hub = Hub::start().await;
    let history = history::linear(91, 2, 1, 1);
    let ids = history.ids();
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.user().await, false).await.speaking(encoding);
        remote.push(&history, "main", history.last()).await.expect(200);
        let label = "größe/b%2Fc d";
        let post = async |commit: &str| {
            remote.post("tags", &json!({"tags": [{"tag": label, "commit_id": commit}]})).await.expect(200);
        };
        let endpoint = format!("tags/{}", tests::client::percent_encoded(label));
        post(&ids[0]).await;
        let stranger = hub.user().await.token;
        remote.with_token(&stranger).delete(&endpoint).await.refused(403, "not_authorized");
        remote.anonymous().delete(&endpoint).await.refused(401, "unauthorized");
        assert_eq!(remote.delete(&endpoint).await.expect(200), json!({"deleted": label, "commit_id": ids[0]}));
        assert_eq!(remote.get("tags").await.expect(200), json!({"tags": []}));
        remote.delete(&endpoint).await.refused(404, "tag_not_found");
        remote.delete(&format!("tags/{}", "x".repeat(256))).await.refused(422, "invalid");
        post(&ids[1]).await;
        assert_eq!(remote.get("tags").await.expect(200)["tags"][0]["commit_id"], ids[1].as_str());
    }
}
