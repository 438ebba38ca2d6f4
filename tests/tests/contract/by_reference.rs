//! Requests by reference: the body is PUT to a URL first, and the POST names it.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::client::{Answer, Remote, put, put_well};
use tests::encoding::Encoding;
use tests::history::{self, History, Object, objects_body};
use tests::hub::{Hub, fresh_name};
use tests::{ids, verify};

async fn stocked(hub: &Hub, history: &History) -> Remote {
    let remote = hub.repo().await;
    remote.push(history, "main", history.last()).await.expect(200);
    remote
}

/// A good body for every POST of the protocol, in an order in which each finds what it needs.
fn requests(history: &History) -> Vec<(&'static str, Value)> {
    let pack = history.pack_of(history.last());
    let object_ids: Vec<String> = pack.object_ids().into_iter().collect();
    let tag = json!({"tag_id": "t", "repo_id": "r", "commit_id": history.last(), "tag": "größe", "created_at": "2025-03-01T12:00:00+00:00"});
    let release = json!({"release_id": "r", "tag": "v1 🎵", "commit_id": history.last(), "created_at": "2025-03-01T12:00:00+00:00"});
    let mut bodies = vec![
        ("filter-objects", json!({"object_ids": object_ids})),
        ("push/objects", objects_body(&pack.objects)),
        ("filter-objects", json!({"object_ids": object_ids})),
        ("push", json!({"bundle": pack.clone().without_objects().to_value(), "branch": "main", "force": false})),
        ("push", json!({"bundle": pack.to_value(), "branch": "größe/🎵", "force": true})),
        ("fetch", json!({"want": [history.last()], "have": []})),
        ("fetch", json!({"want": [history.last()], "have": [history.ids()[0]]})),
        ("negotiate", json!({"want": [history.last()], "have": [history.ids()[0], "unknown"]})),
        ("tags", json!({"tags": [tag]})),
        ("releases", release.clone()),
        ("presign", json!({"object_ids": object_ids, "direction": "put", "ttl_seconds": 300})),
        ("presign", json!({"object_ids": object_ids, "direction": "get"})),
    ];
    // And some that are refused, each for its own reason.
    bodies.extend([
        (
            "push",
            json!({"bundle": {"commits": [{"commit_id": "a"}], "snapshots": [], "objects": []}, "branch": "main"}),
        ),
        ("push", json!({"bundle": pack.to_value(), "branch": "../main", "force": false})),
        ("push/objects", json!({"objects": [{"object_id": ids::object_id(b"a"), "content_b64": "Yg=="}]})),
        ("fetch", json!({"want": ["0".repeat(64)], "have": []})),
        ("tags", json!({"tags": [{"tag": "t", "commit_id": "0".repeat(64)}]})),
        ("releases", release),
        ("presign", json!({"object_ids": [], "direction": "sideways"})),
        ("negotiate", json!({"want": 5})),
    ]);
    bodies
}

/// An answer without what no two answers need share: the signatures of URLs, the order of snapshots and objects.
fn comparable(answer: &Answer) -> (u16, Value) {
    let mut body =
        answer.encoding().decode(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.excerpt()));
    if let Some(urls) = body.get_mut("presigned").and_then(Value::as_object_mut) {
        urls.values_mut().for_each(|url| *url = json!("a URL"));
    }
    for unordered in ["snapshots", "objects"] {
        if let Some(list) = body.get_mut(unordered).and_then(Value::as_array_mut) {
            list.sort_by_key(Value::to_string);
        }
    }
    (answer.status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_is_answered_by_reference_as_it_is_inline() {
    let hub = Hub::start().await;
    let history = history::dag(1, 12, 8);
    for encoding in Encoding::BOTH {
        let inline = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let referred = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for (endpoint, body) in requests(&history) {
            let expected = comparable(&inline.post(endpoint, &body).await);
            let answer = comparable(&referred.post_by_reference(endpoint, &body).await);
            assert_eq!(answer, expected, "{endpoint} {body}");
        }
        assert_eq!(referred.heads().await, inline.heads().await);
        for listing in ["tags", "releases"] {
            let of = async |remote: &Remote| {
                let mut listed = remote.get(listing).await.expect(200)[listing].clone();
                // Where it was left out, it is the repo's.
                listed.as_array_mut().unwrap().iter_mut().for_each(|record| record["repo_id"] = Value::Null);
                listed
            };
            assert_eq!(of(&referred).await, of(&inline).await, "{listing}");
        }
        let cloned = referred.anonymous().clone_all().await;
        assert_eq!(cloned.commit_ids(), history.reachable(&[history.last()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_of_the_post_say_what_was_put() {
    let hub = Hub::start().await;
    let history = history::linear(2, 2, 2, 1);
    let remote = stocked(&hub, &history).await;
    let body = json!({"want": [history.last()], "have": []});
    for (sent, accepted) in [(Encoding::Json, Encoding::Msgpack), (Encoding::Msgpack, Encoding::Json)] {
        let upload_id = remote.put_body(sent.encode(&body)).await;
        let headers = [
            ("content-type", sent.content_type()),
            ("accept", accepted.accept()),
            ("Muse-Body-Upload", upload_id.as_str()),
        ];
        let answer = remote.raw("POST", "fetch", &headers, "").await;
        assert_eq!(answer.encoding(), accepted);
        assert_eq!(answer.expect(200)["commits"].as_array().map(Vec::len), Some(2));
    }
    // No type is taken as JSON, another is refused, and so is one that the body is not of.
    let of_type = |content_type: Option<&'static str>| {
        let remote = &remote;
        let body = Encoding::Json.encode(&body);
        async move {
            let upload_id = remote.put_body(body).await;
            let mut headers = vec![("muse-body-upload", upload_id.as_str())];
            headers.extend(content_type.map(|content_type| ("content-type", content_type)));
            remote.raw("POST", "fetch", &headers, "").await
        }
    };
    of_type(None).await.expect(200);
    of_type(Some("application/json; charset=utf-8")).await.expect(200);
    of_type(Some("text/plain")).await.refused(415, "");
    of_type(Some("application/x-msgpack")).await.refused(400, "malformed_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_made_with_no_body_or_an_empty_map() {
    let hub = Hub::start().await;
    let history = history::linear(3, 1, 1, 0);
    let remote = stocked(&hub, &history).await;
    let mut ids = std::collections::BTreeSet::new();
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        for body in [Vec::new(), encoding.encode(&json!({})), encoding.encode(&json!({"x_future_field": 1}))] {
            let answer = remote.post_bytes("uploads", body).await.expect(200);
            let url = answer["url"].as_str().expect("a URL");
            assert!(url.starts_with("http"), "{url}");
            ids.insert(answer["upload_id"].as_str().expect("an id").to_owned());
        }
        let answer = remote.raw("POST", "uploads", &[("accept", encoding.accept())], "").await;
        assert_eq!(answer.encoding(), encoding);
        ids.insert(answer.expect(200)["upload_id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(ids.len(), 8, "no two are the same");
    assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_graphic())), "fit for a header: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_used_once() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 2, 1);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let body = encoding.encode(&json!({"want": [history.last()], "have": []}));
        let (upload_id, url) = remote.new_upload().await;
        put_well(&url, body.clone()).await;
        remote.post_reference("fetch", &upload_id).await.expect(200);
        remote.post_reference("fetch", &upload_id).await.refused(422, "unknown_upload");
        // Not even with something new under it.
        put(&url, body).await;
        remote.post_reference("fetch", &upload_id).await.refused(422, "unknown_upload");
        remote.post_reference("push", &upload_id).await.refused(422, "unknown_upload");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_uses_of_one_upload_at_once_exactly_one_succeeds() {
    let hub = Hub::start().await;
    let history = history::linear(5, 1, 1, 0);
    let remote = stocked(&hub, &history).await;
    for round in 0..5 {
        let tag = json!({"tag_id": "t", "commit_id": history.last(), "tag": format!("t{round}")});
        let upload_id = remote.put_body(Encoding::Json.encode(&json!({"tags": [tag]}))).await;
        let uses = (0..8).map(|_| {
            let (remote, upload_id) = (remote.clone(), upload_id.clone());
            tokio::spawn(async move { remote.post_reference("tags", &upload_id).await })
        });
        let answers: Vec<Answer> = join_all(uses).await.into_iter().map(Result::unwrap).collect();
        let taken = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(taken, 1, "{:?}", answers.iter().map(Answer::excerpt).collect::<Vec<_>>());
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.refused(422, "unknown_upload");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_of_its_user_and_for_its_repo() {
    let hub = Hub::start().await;
    let history = history::linear(6, 2, 2, 1);
    let (here, elsewhere) = (stocked(&hub, &history).await, stocked(&hub, &history).await);
    let stranger = here.with_token(hub.user().await.token);
    let nameless = here.with_token(hub.token(&fresh_name("nameless")));
    for encoding in Encoding::BOTH {
        let body = encoding.encode(&json!({"want": [history.last()], "have": []}));
        let [here, elsewhere, stranger, nameless] =
            [&here, &elsewhere, &stranger, &nameless].map(|remote| remote.speaking(encoding));
        // A client that may read may ask by reference.
        for (mine, others) in
            [(&here, [&stranger, &elsewhere]), (&stranger, [&here, &nameless]), (&nameless, [&here, &stranger])]
        {
            let upload_id = mine.put_body(body.clone()).await;
            for other in others {
                other.post_reference("fetch", &upload_id).await.refused(422, "unknown_upload");
            }
            let answer = here.anonymous().post_reference("fetch", &upload_id).await.refused_somehow();
            assert!([401, 422].contains(&answer.status), "{answer:?}");
            // And what others tried has not used it up.
            mine.post_reference("fetch", &upload_id).await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_gives_no_client_more_rights() {
    let hub = Hub::start().await;
    let history = history::linear(7, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", &history.ids()[0]).await.expect(200);
    let reader = remote.with_token(hub.user().await.token);
    let pack = history.pack(&[history.last()]);
    let push = json!({"bundle": pack.to_value(), "branch": "main", "force": true});
    let tags = json!({"tags": [{"tag": "t", "commit_id": history.ids()[0]}]});
    for (endpoint, body) in [("push", push), ("push/objects", objects_body(&pack.objects)), ("tags", tags)] {
        reader.post_by_reference(endpoint, &body).await.refused(403, "not_authorized");
    }
    assert_eq!(remote.heads().await["main"], history.ids()[0]);
    assert_eq!(remote.get("tags").await.expect(200)["tags"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_none_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(8, 1, 1, 0);
    let remote = stocked(&hub, &history).await;
    let (real, _) = remote.new_upload().await;
    let lower_case = real.to_lowercase();
    let long = "0".repeat(2_000);
    for unknown in [
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "x",
        "0",
        "../uploads",
        "a/b",
        "%2e%2e%2f",
        "null",
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        &real[..real.len() - 1],
        &format!("{real}0"),
        &format!("{real}, {real}"),
        &lower_case,
        &long,
    ] {
        for endpoint in ["fetch", "push", "filter-objects"] {
            remote.post_reference(endpoint, unknown).await.refused(422, "unknown_upload");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_which_nothing_was_put_yet_is_refused_until_it_was() {
    let hub = Hub::start().await;
    let history = history::linear(9, 2, 2, 1);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let (upload_id, url) = remote.new_upload().await;
        remote.post_reference("fetch", &upload_id).await.refused(422, "unknown_upload");
        put_well(&url, encoding.encode(&json!({"want": [history.last()], "have": []}))).await;
        remote.post_reference("fetch", &upload_id).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beside_the_reference_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(10, 2, 2, 1);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        let body = encoding.encode(&json!({"want": [history.last()], "have": []}));
        for beside in [body.clone(), encoding.encode(&json!({})), b" ".to_vec()] {
            let upload_id = remote.put_body(body.clone()).await;
            let headers = [
                ("content-type", encoding.content_type()),
                ("accept", encoding.accept()),
                ("muse-body-upload", upload_id.as_str()),
            ];
            remote.raw("POST", "fetch", &headers, beside).await.refused(400, "malformed_body");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_broken_is_broken_by_reference_too() {
    let hub = Hub::start().await;
    let history = history::linear(11, 2, 2, 1);
    for encoding in Encoding::BOTH {
        let remote = stocked(&hub, &history).await.speaking(encoding);
        for endpoint in ["push", "push/objects", "fetch", "filter-objects", "negotiate", "presign", "tags", "releases"]
        {
            let good = encoding.encode(&json!({"want": [], "have": []}));
            for broken in [&b"\xc1{"[..], b"", b"[]", &good[..good.len() - 1], &[&good[..], b"x"].concat()] {
                let upload_id = remote.put_body(broken.to_vec()).await;
                let answer = remote.post_reference(endpoint, &upload_id).await;
                assert_eq!(answer.status, 400, "{endpoint} {broken:?}: {}", answer.excerpt());
                answer.refused(400, "malformed_body");
            }
        }
        assert_eq!(remote.heads().await["main"], history.last());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_for_who_has_a_token_and_may_read() {
    let hub = Hub::start().await;
    let history = history::linear(12, 1, 1, 0);
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let (public, private) = (stocked(&hub, &history).await, hub.made_repo(&owner, true).await);
    let nothing = hub.remote(&owner, &fresh_name("nothing"));
    for encoding in Encoding::BOTH {
        let answer = public.anonymous().speaking(encoding).post_bytes("uploads", "").await;
        answer.refused(401, "");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        public.with_token("bad").speaking(encoding).post_bytes("uploads", "").await.refused(401, "");
        public.with_token(&stranger.token).speaking(encoding).new_upload().await;
        private.speaking(encoding).new_upload().await;
        let hidden = private.with_token(&stranger.token).speaking(encoding).post_bytes("uploads", "").await;
        hidden.refused(404, "repo_not_found");
        let absent = nothing.with_token(&stranger.token).speaking(encoding).post_bytes("uploads", "").await;
        assert_eq!((hidden.status, &hidden.body), (absent.status, &absent.body));
        let anonymous = [&private, &nothing].map(|remote| remote.anonymous().speaking(encoding));
        let [hidden, absent] =
            [anonymous[0].post_bytes("uploads", "").await, anonymous[1].post_bytes("uploads", "").await];
        assert!([401, 404].contains(&hidden.status), "{}", hidden.excerpt());
        assert_eq!((hidden.status, &hidden.body), (absent.status, &absent.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repo_is_pushed_to_and_fetched_from_by_reference() {
    let hub = Hub::start().await;
    let history = history::linear(13, 3, 4, 2);
    let owner = hub.user().await;
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&owner, true).await.speaking(encoding);
        let push = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
        remote.post_by_reference("push", &push).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, &owner.handle).unwrap();
        let fetch = json!({"want": [history.last()], "have": []});
        remote.post_by_reference("fetch", &fetch).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_for_a_body_takes_nothing_elsewhere() {
    let hub = Hub::start().await;
    let history = history::linear(14, 1, 1, 0);
    let remote = stocked(&hub, &history).await;
    let object = Object::new(vec![1; 70_000]);
    let (upload_id, url) = remote.new_upload().await;
    let (base, query) = url.split_once('?').expect("a signed URL has a query");
    for tampered in [base.to_owned(), format!("{base}0?{query}"), format!("{}?{query}", &base[..base.len() - 1])] {
        let answer = put(&tampered, object.content.clone()).await;
        assert!((400..500).contains(&answer.status), "{tampered}: {}", answer.excerpt());
    }
    for method in ["GET", "DELETE"] {
        let answer = tests::client::send(method, &url, &[], "").await.unwrap();
        assert!((400..500).contains(&answer.status), "{method}: {}", answer.excerpt());
    }
    remote.post_reference("fetch", &upload_id).await.refused(422, "unknown_upload");
    // A body is no object: what is PUT as one is not found as the other.
    put_well(&url, object.content.clone()).await;
    assert_eq!(remote.missing(&[&object.id]).await, [object.id.as_str()]);
    let upload_as = remote.put_url(&object.id).await;
    put_well(&upload_as, Encoding::Json.encode(&json!({"want": [], "have": []}))).await;
    remote.post_reference("fetch", &object.id).await.refused(422, "unknown_upload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_more_than_256_mib_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(15, 1, 1, 0);
    let remote = stocked(&hub, &history).await;
    let mut body = Encoding::Json.encode(&json!({"want": [], "have": []}));
    body.resize((256 << 20) + 1, b' ');
    let upload_id = remote.put_body(body).await;
    remote.post_reference("fetch", &upload_id).await.refused(413, "payload_too_large");
    hub.assert_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_another_upload_leaves_the_one_that_is_named() {
    let hub = Hub::start().await;
    let history = history::linear(8, 2, 2, 1);
    let remote = stocked(&hub, &history).await;
    let body = remote.encoding.encode(&json!({"want": [history.last()], "have": []}));
    let upload = remote.put_body(body).await;
    let headers = [("muse-body-upload", upload.as_str()), ("content-type", "application/json")];
    remote.raw("POST", "uploads", &headers, "").await.expect(200);
    remote.post_reference("fetch", &upload).await.expect(200);
}
