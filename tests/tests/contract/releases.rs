//! Releases: what the client says of one comes back as it was sent, and a tag is released once.

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tests::client::{Answer, Remote, percent_encoded};
use tests::encoding::Encoding;
use tests::history::{self, Builder, History};
use tests::hub::{Hub, fresh_name};
use tests::property::for_every;
use tests::{ids, verify};

/// A release as the client sends it, with all its fields.
fn release(tag: &str, commit: &str) -> Value {
    json!({
        "release_id": ids::object_id(tag.as_bytes()),
        "repo_id": "8a0f3c1e-local",
        "tag": tag,
        "semver": {"major": 1, "minor": 22, "patch": 0, "pre": "rc.1", "build": "sha-5114f85"},
        "channel": "stable",
        "commit_id": commit,
        "snapshot_id": ids::object_id(b"a snapshot"),
        "title": "Größer \"als\" zuvor 🎼",
        "body": "# Notes\n\n- drums\t\u{1f941}\r\n- `\\`\u{0}\u{2028}",
        "changelog": [
            {"commit_id": commit, "message": "take 1 🎵", "sem_ver_bump": "minor", "breaking_changes": ["bar 12", ""]},
            {"nested": {"": [null, true, -1, 0.5, u64::MAX, {"é": {}}, []]}},
            {},
        ],
        "agent_id": "composer-7",
        "model_id": "m",
        "is_draft": false,
        "gpg_signature": "-----BEGIN PGP SIGNATURE-----\n",
        "created_at": "2025-03-01T12:00:00.123456+00:00",
    })
}

/// The release with some fields changed.
fn with(release: Value, changes: Value) -> Value {
    let (Value::Object(mut release), Value::Object(changes)) = (release, changes) else { unreachable!("two maps") };
    release.extend(changes);
    Value::Object(release)
}

async fn stocked(hub: &Hub, history: &History) -> Remote {
    let remote = hub.repo().await;
    remote.push(history, "main", history.last()).await.expect(200);
    remote
}

/// As the client does it, whatever it accepts: with a body in JSON.
async fn post(remote: &Remote, release: &Value) -> Answer {
    remote.post_in(Encoding::Json, "releases", release).await
}

async fn list(remote: &Remote, query: &str) -> Vec<Value> {
    remote.get(&format!("releases{query}")).await.expect(200)["releases"].as_array().expect("a list").clone()
}

async fn listed_tags(remote: &Remote, query: &str) -> Vec<String> {
    list(remote, query).await.iter().map(|release| release["tag"].as_str().unwrap().to_owned()).collect()
}

async fn retract(remote: &Remote, tag: &str) -> Answer {
    remote.delete(&format!("releases/{}", percent_encoded(tag))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_comes_back_as_it_was_sent() {
    let hub = Hub::start().await;
    let history = history::linear(1, 2, 2, 1);
    for sent in Encoding::BOTH {
        for accepted in Encoding::BOTH {
            let remote = stocked(&hub, &history).await.speaking(accepted);
            assert!(list(&remote, "").await.is_empty());
            let release = release("v1.22.0-rc.1+sha-5114f85", history.last());
            let answer = remote.post_in(sent, "releases", &release).await.expect(201);
            assert_eq!(answer["release_id"], release["release_id"]);
            for reader in Encoding::BOTH {
                assert_eq!(list(&remote.speaking(reader), "").await, std::slice::from_ref(&release));
                assert_eq!(list(&remote.anonymous().speaking(reader), "").await, std::slice::from_ref(&release));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_no_hub_knows_comes_back_too() {
    let hub = Hub::start().await;
    let history = history::linear(2, 1, 2, 0);
    for sent in Encoding::BOTH {
        let remote = stocked(&hub, &history).await;
        let unknown = json!({
            "x_future_field": {"nested": [1, "two", null, 3.5, {"deep": [[[]]]}]},
            "": "an empty name",
            "zürich": -7,
            "pk": "REPO#", "sk": "META", "id": 5, "type": "release", "assets": [{"name": "song.mid", "size": 1e15}],
            "semver": {"major": 1, "minor": 0, "patch": 0, "pre": "", "build": "", "epoch": 4},
        });
        let release = with(release("v1", history.last()), unknown);
        remote.post_in(sent, "releases", &release).await.expect(201);
        for reader in Encoding::BOTH {
            assert_eq!(list(&remote.speaking(reader), "").await, std::slice::from_ref(&release));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_absent_comes_back_as_its_default() {
    let hub = Hub::start().await;
    let history = history::linear(3, 1, 2, 0);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let mut made = Vec::new();
        for tag in ["v1", "v2"] {
            let answer = post(&remote, &json!({"tag": tag, "commit_id": history.last()})).await.expect(201);
            made.push(answer["release_id"].as_str().filter(|id| !id.is_empty()).expect("an id").to_owned());
        }
        assert_ne!(made[0], made[1]);
        let listed = list(&remote, "").await;
        assert_eq!(listed.len(), 2);
        for release in &listed {
            for field in ["title", "body", "agent_id", "model_id", "gpg_signature"] {
                assert_eq!(release[field], "", "{field}");
            }
            assert_eq!(release["channel"], "stable");
            assert_eq!(release["changelog"], json!([]));
            assert_eq!((&release["snapshot_id"], &release["is_draft"]), (&Value::Null, &json!(false)));
            assert!(release.get("snapshot_id").is_some(), "it is there, as null");
            assert!(release["repo_id"].is_string() && release["created_at"].is_string(), "{release}");
            assert!(made.iter().any(|id| release["release_id"] == id.as_str()), "{release}");
        }
        assert_eq!(list(&remote, "").await, listed, "what was filled in stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_release_again_is_answered_alike_and_another_of_its_tag_refused() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 2, 1);
    let commits = history.ids();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let first = release("v1", &commits[0]);
        let answer = post(&remote, &first).await.expect(201);
        // A client that did not hear the answer gets it again.
        assert_eq!(post(&remote, &first).await.expect(201), answer);
        let unnamed = with(release("unnamed", &commits[0]), json!({"release_id": ""}));
        post(&remote, &unnamed).await.expect(201);
        post(&remote, &unnamed).await.refused(409, "release_exists");
        retract(&remote, "unnamed").await.expect(200);
        let undated = with(release("undated", &commits[0]), json!({"created_at": null}));
        let answer = post(&remote, &undated).await.expect(201);
        assert_eq!(post(&remote, &undated).await.expect(201), answer);
        retract(&remote, "undated").await.expect(200);
        for again in [
            with(first.clone(), json!({"release_id": "another", "title": "another"})),
            with(first.clone(), json!({"commit_id": commits[1], "channel": "beta"})),
            with(first.clone(), json!({"is_draft": true})),
        ] {
            post(&remote, &again).await.refused(409, "release_exists");
        }
        assert_eq!(list(&remote, "?include_drafts=1").await, std::slice::from_ref(&first));
        // Another tag is another release, whatever id the client gives it.
        let twin = with(first.clone(), json!({"tag": "V1", "created_at": "2025-01-01T00:00:00+00:00"}));
        post(&remote, &twin).await.expect(201);
        assert_eq!(list(&remote, "").await, [first, twin]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_releases_of_one_tag_at_once_exactly_one_is_made() {
    let hub = Hub::start().await;
    let history = history::linear(5, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    for round in 0..10 {
        let tag = format!("v{round}");
        let contenders: Vec<Value> =
            (0..8).map(|index| with(release(&tag, history.last()), json!({"title": format!("{index}")}))).collect();
        let posts = contenders.iter().enumerate().map(|(index, release)| {
            let (remote, release) = (remote.speaking(Encoding::BOTH[index % 2]), release.clone());
            tokio::spawn(async move { post(&remote, &release).await })
        });
        let answers: Vec<Answer> = join_all(posts).await.into_iter().map(Result::unwrap).collect();
        let made: Vec<usize> = (0..8).filter(|index| answers[*index].status == 201).collect();
        assert_eq!(made.len(), 1, "round {round}: {:?}", answers.iter().map(Answer::excerpt).collect::<Vec<_>>());
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            answer.refused(409, "release_exists");
        }
        let listed = list(&remote, "").await;
        let of_tag: Vec<&Value> = listed.iter().filter(|release| release["tag"] == tag.as_str()).collect();
        assert_eq!(of_tag, [&contenders[made[0]]], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_listed_to_who_asks_for_drafts() {
    let hub = Hub::start().await;
    let history = history::linear(6, 1, 2, 0);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let draft =
            with(release("v2", history.last()), json!({"is_draft": true, "created_at": "2025-04-01T00:00:00+00:00"}));
        let released = release("v1", history.last());
        post(&remote, &draft).await.expect(201);
        post(&remote, &released).await.expect(201);
        for query in ["", "?include_drafts=0", "?channel=stable"] {
            assert_eq!(list(&remote, query).await, std::slice::from_ref(&released), "{query}");
        }
        for query in ["?include_drafts=1", "?channel=stable&include_drafts=1", "?include_drafts=1&channel=stable"] {
            assert_eq!(list(&remote, query).await, [draft.clone(), released.clone()], "{query}");
            // They are for those who make them.
            for reader in [remote.anonymous(), remote.with_token(hub.user().await.token)] {
                assert_eq!(list(&reader, query).await, std::slice::from_ref(&released), "{query}");
            }
        }
        post(&remote, &with(draft, json!({"is_draft": false}))).await.refused(409, "release_exists");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_listed_by_channel() {
    let hub = Hub::start().await;
    let history = history::linear(7, 1, 2, 0);
    let channels = ["stable", "beta", "alpha", "nightly"];
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for (minute, channel) in channels.iter().cycle().take(8).enumerate() {
            let fields = json!({"channel": channel, "created_at": format!("2025-03-01T12:{minute:02}:00+00:00")});
            post(&remote, &with(release(&format!("{channel}-{minute}"), history.last()), fields)).await.expect(201);
        }
        assert_eq!(list(&remote, "").await.len(), 8);
        for (minute, channel) in channels.iter().enumerate() {
            let expected = [format!("{channel}-{}", minute + 4), format!("{channel}-{minute}")];
            assert_eq!(listed_tags(&remote, &format!("?channel={channel}")).await, expected);
            assert_eq!(listed_tags(&remote, &format!("?x=1&channel={channel}&y")).await, expected);
        }
        assert_eq!(listed_tags(&remote, "?channel=%62eta").await, ["beta-5", "beta-1"]);
        for unknown in ["release", "Stable", "stable%20", "%F0%9F%8E%B5", "stable,beta", "*"] {
            remote.get(&format!("releases?channel={unknown}")).await.refused(422, "invalid");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_listed_newest_first() {
    let hub = Hub::start().await;
    let history = history::linear(8, 1, 2, 0);
    // Oldest first; each spelled as some client spells it.
    let times = [
        "2024-12-31T23:59:59.999999+00:00",
        "2025-01-01T00:00:00+00:00",
        "2025-01-01T00:00:00.000001+00:00",
        "2025-01-01T00:00:00.500000+00:00",
        "2025-01-01T00:00:01Z",
        "2025-10-01T00:00:00Z",
        "2026-02-01T00:00:00+00:00",
    ];
    for order in [[3, 0, 6, 1, 5, 2, 4], [0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]] {
        let remote = stocked(&hub, &history).await;
        for index in order {
            // Neither the labels nor the order of arrival are the order.
            let fields = json!({"created_at": times[index]});
            post(&remote, &with(release(&format!("v{}", index * 5 % 7), history.last()), fields)).await.expect(201);
        }
        for encoding in Encoding::BOTH {
            let listed = list(&remote.speaking(encoding), "").await;
            let listed: Vec<&str> = listed.iter().map(|release| release["created_at"].as_str().unwrap()).collect();
            assert_eq!(listed, times.into_iter().rev().collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_so_by_the_clock_and_not_by_the_letters() {
    let hub = Hub::start().await;
    let history = history::linear(9, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    // Oldest first: 18:30 the day before, 20:00, 20:30, 8:00 the next day.
    let times =
        ["2025-03-02T00:00:00+05:30", "2025-03-01T20:00:00Z", "2025-03-01T12:30:00-08:00", "2025-03-02T08:00:00+00:00"];
    for (index, time) in times.iter().enumerate() {
        let fields = json!({"created_at": time});
        post(&remote, &with(release(&format!("v{index}"), history.last()), fields)).await.expect(201);
    }
    assert_eq!(listed_tags(&remote, "").await, ["v3", "v2", "v1", "v0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_retracted_by_its_tag_whatever_letters_that_has() {
    let hub = Hub::start().await;
    let history = history::linear(10, 1, 2, 0);
    let longest = "🎵".repeat(255);
    let tags = [
        "v1.0.0",
        "a/b",
        "/",
        "a//b",
        "%",
        "a%2Fb",
        "%2F",
        "a%252Fb",
        "a b",
        " ",
        "a+b",
        "a?b",
        "?channel=beta",
        "a#b",
        "#",
        ".",
        "..",
        "../refs",
        "a.",
        "é",
        "e\u{301}",
        "日本語",
        "🎵",
        "a&b=c",
        "\u{0}",
        "a\nb",
        "\\",
        "\"",
        ";",
        ":",
        "*",
        "{tag}",
        &longest,
    ];
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for tag in tags {
            post(&remote, &release(tag, history.last())).await.expect(201);
        }
        let mut left: Vec<String> = tags.map(str::to_owned).to_vec();
        for tag in tags {
            assert_eq!(retract(&remote, tag).await.expect(200), json!({"retracted": tag}));
            retract(&remote, tag).await.refused(404, "release_not_found");
            left.retain(|other| other != tag);
            let mut listed = listed_tags(&remote, "").await;
            listed.sort();
            let mut expected = left.clone();
            expected.sort();
            assert_eq!(listed, expected, "after {tag:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_need_no_encoding_may_go_without() {
    let hub = Hub::start().await;
    let history = history::linear(11, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    for (tag, path) in [
        ("v1.0.0-rc.1", "v1.0.0-rc.1"),
        ("v1.0.0+build", "v1.0.0+build"),
        ("a_b~c", "a_b~c"),
        ("a/b", "a%2fb"),
        ("größe", "gr%c3%b6%C3%9Fe"),
        ("a:b@c!$&'()*,;=", "a:b@c!$&'()*,;="),
    ] {
        post(&remote, &release(tag, history.last())).await.expect(201);
        assert_eq!(remote.delete(&format!("releases/{path}")).await.expect(200)["retracted"], tag);
    }
    assert!(listed_tags(&remote, "").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_encodes_no_tag_retracts_nothing() {
    let hub = Hub::start().await;
    let history = history::linear(12, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    for tag in ["a", "a/b", "%zz"] {
        post(&remote, &release(tag, history.last())).await.expect(201);
    }
    for path in ["%FF%FE", "%zz%", "a/b/c", "A", "a%00", "%20a", "a%20"] {
        remote.delete(&format!("releases/{path}")).await.refused_somehow();
    }
    for path in ["releases", "releases/"] {
        remote.raw("DELETE", path, &[], "").await.refused_somehow();
    }
    assert_eq!(listed_tags(&remote, "").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_tag_may_be_released_again() {
    let hub = Hub::start().await;
    let history = history::linear(13, 2, 2, 1);
    let commits = history.ids();
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for round in 0..4 {
            let fields = json!({"title": format!("round {round}"), "is_draft": round == 2});
            let release = with(release("v1/final", &commits[round % 2]), fields);
            post(&remote, &release).await.expect(201);
            let another = with(release.clone(), json!({"release_id": "another"}));
            post(&remote, &another).await.refused(409, "release_exists");
            assert_eq!(list(&remote, "?include_drafts=1").await, [release]);
            retract(&remote, "v1/final").await.expect(200);
            assert!(list(&remote, "?include_drafts=1").await.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_retracted_by_the_owner_alone() {
    let hub = Hub::start().await;
    let history = history::linear(14, 1, 2, 0);
    let (owner, stranger) = (hub.user().await, hub.user().await);
    for encoding in Encoding::BOTH {
        let public = hub.made_repo(&owner, false).await.speaking(encoding);
        let private = hub.made_repo(&owner, true).await.speaking(encoding);
        for remote in [&public, &private] {
            remote.push(&history, "main", history.last()).await.expect(200);
            post(remote, &release("v1", history.last())).await.expect(201);
        }
        for tag in ["v1", "v2"] {
            for token in [&stranger.token, &hub.dev().token, &hub.token(&fresh_name("nameless"))] {
                retract(&public.with_token(token), tag).await.refused(403, "not_authorized");
                retract(&private.with_token(token), tag).await.refused(404, "repo_not_found");
            }
            retract(&public.anonymous(), tag).await.refused(401, "");
            let answer = retract(&private.anonymous(), tag).await.refused_somehow();
            assert!([401, 404].contains(&answer.status), "{answer:?}");
        }
        for remote in [&public, &private] {
            assert_eq!(listed_tags(remote, "").await, ["v1"]);
            retract(remote, "v1").await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_made_by_writers_and_listed_by_readers() {
    let hub = Hub::start().await;
    let history = history::linear(15, 1, 2, 0);
    let stranger = hub.user().await;
    let (public, private) = (stocked(&hub, &history).await, hub.made_repo(&hub.dev(), true).await);
    private.push(&history, "main", history.last()).await.expect(200);
    let mine = release("mine", history.last());
    for encoding in Encoding::BOTH {
        let (public, private) = (public.speaking(encoding), private.speaking(encoding));
        let reader = public.with_token(&stranger.token);
        let refusal = post(&reader, &mine).await.refused(403, "not_authorized");
        assert_eq!(refusal.detail, "push rejected: not authorized");
        let answer = post(&public.anonymous(), &mine).await;
        answer.refused(401, "");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        post(&private.with_token(&stranger.token), &mine).await.refused(404, "repo_not_found");
        for query in ["", "?include_drafts=1", "?channel=stable", "?channel=unknown"] {
            let path = format!("releases{query}");
            private.with_token(&stranger.token).get(&path).await.refused(404, "repo_not_found");
            private.anonymous().get(&path).await.refused(404, "repo_not_found");
        }
        assert!(listed_tags(&private, "?include_drafts=1").await.is_empty());
    }
    for remote in [&public, &private] {
        assert!(listed_tags(remote, "?include_drafts=1").await.is_empty());
        post(remote, &mine).await.expect(201);
    }
    assert_eq!(list(&public.with_token(&stranger.token), "").await, std::slice::from_ref(&mine));
    assert_eq!(list(&private, "").await, [mine]);
    private.anonymous().get("releases").await.refused(404, "repo_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_repos_releases_are_not_anothers() {
    let hub = Hub::start().await;
    let history = history::linear(16, 2, 2, 1);
    let (one, two) = (stocked(&hub, &history).await, stocked(&hub, &history).await);
    let of = |title: &str| with(release("v1", history.last()), json!({"title": title}));
    post(&one, &of("one")).await.expect(201);
    retract(&two, "v1").await.refused(404, "release_not_found");
    post(&two, &of("two")).await.expect(201);
    assert_eq!(list(&one, "").await, [of("one")]);
    assert_eq!(list(&two, "").await, [of("two")]);
    retract(&one, "v1").await.expect(200);
    assert_eq!(list(&two, "").await, [of("two")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_an_unknown_commit_is_refused() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(17);
    let root = builder.child(&[]);
    let tip = builder.child(&[&root]);
    let elsewhere = builder.child(&[&tip]);
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &tip).await.expect(200);
        hub.repo().await.push(&history, "main", &elsewhere).await.expect(200);
        for unknown in [&elsewhere, &"0".repeat(64), "main", &tip[..10]] {
            post(&remote, &release("v1", unknown)).await.refused(422, "missing_references");
        }
        for malformed in ["", "a b", &"x".repeat(129)] {
            post(&remote, &release("v1", malformed)).await.refused_somehow();
        }
        assert!(listed_tags(&remote, "?include_drafts=1").await.is_empty());
        // Neither is the tag taken, nor has the commit to be a head.
        post(&remote, &release("v1", &root)).await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_channel_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(18, 1, 2, 0);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for channel in ["", "release", "Stable", " stable", "🎵"] {
            let fields = json!({"channel": channel});
            post(&remote, &with(release("v1", history.last()), fields)).await.refused(422, "invalid");
        }
        assert!(listed_tags(&remote, "?include_drafts=1").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_255_characters_is_taken_and_of_none_or_one_more_is_not() {
    let hub = Hub::start().await;
    let history = history::linear(19, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    for letter in ["x", "é", "日", "🎵"] {
        post(&remote, &release(&letter.repeat(255), history.last())).await.expect(201);
        post(&remote, &release(&letter.repeat(256), history.last())).await.refused(422, "");
    }
    post(&remote, &release("", history.last())).await.refused(422, "");
    assert_eq!(listed_tags(&remote, "").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_release_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(20, 1, 2, 0);
    let good = release("v1", history.last());
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for body in [&b""[..], b"\xc1{", b"{\"tag\": \"v1\"", b"[]", b"null", b"\"v1\""] {
            let headers = [("content-type", "application/json"), ("accept", encoding.accept())];
            remote.raw("POST", "releases", &headers, body).await.refused(400, "malformed_body");
        }
        for (field, value) in [
            ("tag", json!(1.5)),
            ("tag", json!(null)),
            ("tag", json!(["v1"])),
            ("commit_id", json!(null)),
            ("commit_id", json!({})),
            ("channel", json!(["stable"])),
            ("title", json!({"en": "a title"})),
            ("body", json!(["a line"])),
            ("changelog", json!({"0": {}})),
            ("changelog", json!("many things")),
            ("is_draft", json!("yes")),
            ("created_at", json!(1_740_000_000)),
            ("release_id", json!(7)),
        ] {
            for sent in Encoding::BOTH {
                let body = with(good.clone(), json!({field: value}));
                remote.post_in(sent, "releases", &body).await.refused_somehow();
            }
        }
        for absent in ["tag", "commit_id"] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(absent);
            post(&remote, &body).await.refused_somehow();
        }
        assert!(listed_tags(&remote, "?include_drafts=1").await.is_empty());
        post(&remote, &good).await.expect(201);
    }
    let remote = stocked(&hub, &history).await;
    remote.raw("POST", "releases", &[("content-type", "text/plain")], good.to_string()).await.refused(415, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_makes_no_repo() {
    let hub = Hub::start().await;
    let nothing = hub.remote(&hub.dev(), &fresh_name("nothing"));
    post(&nothing, &release("v1", &"0".repeat(64))).await.refused_somehow();
    retract(&nothing, "v1").await.refused(404, "");
    nothing.get("releases").await.refused(404, "");
    nothing.get("refs").await.refused(404, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_notes_are_kept_and_too_long_ones_refused() {
    let hub = Hub::start().await;
    let history = history::linear(21, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    let mut builder = Builder::new(21);
    // Hexadecimal digits: random ones are half as long compressed.
    let mut digits = |count: usize| hex::encode(builder.bytes(count / 2));
    let changelog: Vec<Value> =
        (0..2_000).map(|index| json!({"commit_id": digits(64), "message": format!("take {index}")})).collect();
    let mut expected = Vec::new();
    for (index, fields) in [
        json!({"body": digits(400_000)}),
        json!({"body": "la ".repeat(600_000)}),
        json!({"changelog": changelog}),
        json!({"x_future_field": digits(400_000)}),
        json!({"body": digits(400_000), "title": "another"}),
        json!({"body": digits(400_000), "title": "another yet"}),
    ]
    .into_iter()
    .enumerate()
    {
        let time = json!({"created_at": format!("2025-03-01T12:{:02}:00+00:00", 59 - index)});
        let release = with(with(release(&format!("v{index}"), history.last()), fields), time);
        post(&remote, &release).await.expect(201);
        expected.push(release);
    }
    for field in ["body", "x_future_field"] {
        let fields = json!({field: digits(1_000_000)});
        post(&remote, &with(release("too long", history.last()), fields)).await.refused(413, "payload_too_large");
    }
    for encoding in Encoding::BOTH {
        assert!(list(&remote.speaking(encoding), "").await == expected, "all of them come back, and nothing else");
    }
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_repo_takes_1_000_releases_and_no_more() {
    let hub = Hub::start().await;
    let history = history::linear(22, 1, 2, 0);
    let remote = stocked(&hub, &history).await;
    let numbered = |index: usize| {
        let (second, minute) = (index % 60, index / 60);
        let time = json!({"created_at": format!("2025-03-01T12:{minute:02}:{second:02}+00:00")});
        with(release(&format!("v{index}"), history.last()), time)
    };
    let posts = (0..1_000).map(|index| {
        let (remote, release) = (&remote, numbered(index));
        async move { post(remote, &release).await.expect(201) }
    });
    stream::iter(posts).buffer_unordered(8).collect::<Vec<_>>().await;
    post(&remote, &numbered(1_000)).await.refused(422, "");
    post(&remote, &numbered(0)).await.expect(201);
    post(&remote, &with(numbered(0), json!({"title": "another"}))).await.refused(409, "release_exists");
    retract(&remote, "v500").await.expect(200);
    post(&remote, &numbered(1_000)).await.expect(201);
    post(&remote, &numbered(500)).await.refused(422, "");
    let expected: Vec<Value> = (0..=1_000).rev().filter(|index| *index != 500).map(numbered).collect();
    for encoding in Encoding::BOTH {
        assert!(list(&remote.speaking(encoding), "").await == expected, "all of them, newest first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_leave_branches_tags_and_fetches_alone() {
    let hub = Hub::start().await;
    let history = history::linear(23, 2, 2, 1);
    let remote = stocked(&hub, &history).await;
    let (refs, tags) = (remote.get("refs").await.expect(200), remote.get("tags").await.expect(200));
    post(&remote, &release("main", &history.ids()[0])).await.expect(201);
    assert_eq!(remote.get("refs").await.expect(200), refs);
    assert_eq!(remote.get("tags").await.expect(200), tags);
    // A tag and a release of one name know nothing of each other.
    let tag = json!({"tag_id": "t", "commit_id": history.last(), "tag": "main"});
    remote.post("tags", &json!({"tags": [tag]})).await.expect(200);
    retract(&remote, "main").await.expect(200);
    assert_eq!(remote.get("tags").await.expect(200)["tags"][0]["tag"], "main");
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

/// Anything that both encodings can say.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(texts(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn maps() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(texts(), values(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

#[test]
fn every_release_comes_back_as_it_was_sent() {
    let tag = prop::collection::vec(any::<char>(), 1..40).prop_map(String::from_iter);
    let channel = prop::sample::select(vec!["stable", "beta", "alpha", "nightly"]);
    let fields = (texts(), texts(), texts(), texts(), prop::collection::vec(maps(), 0..4), maps());
    let cases = (tag, channel, fields, any::<bool>(), 0..2_usize);
    for_every(
        48,
        cases,
        async |hub, (tag, channel, (title, body, agent, signature, changelog, unknown), draft, sent)| {
            let history = history::linear(24, 1, 1, 0);
            let remote = stocked(hub, &history).await;
            let known = json!({
                "channel": channel, "title": title, "body": body, "agent_id": agent, "gpg_signature": signature,
                "changelog": changelog, "is_draft": draft,
            });
            let release = with(with(unknown, release(&tag, history.last())), known);
            remote.post_in(Encoding::BOTH[sent], "releases", &release).await.expect(201);
            for encoding in Encoding::BOTH {
                let remote = remote.speaking(encoding);
                assert_eq!(list(&remote, "?include_drafts=1").await, std::slice::from_ref(&release));
            }
            assert_eq!(retract(&remote, &tag).await.expect(200)["retracted"], tag.as_str());
        },
    );
}
