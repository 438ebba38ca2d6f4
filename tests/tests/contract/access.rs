//! Who may read and write what, and what those who may not can find out.

use serde_json::{Value, json};
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history::{self, History, Object, objects_body};
use tests::hub::{Hub, fresh_name};
use tests::{token, verify};

/// Everything that a client can ask of a repo, well and badly put.
async fn ask_everything(remote: &Remote, history: &History) -> Vec<(String, Answer)> {
    let push = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    let objects = objects_body(&[Object::new("an object")]);
    let fetch = json!({"want": [history.last()], "have": []});
    let unknown = json!({"want": ["0".repeat(64)], "have": []});
    let ids = json!({"object_ids": ["0".repeat(64)], "direction": "put"});
    let ids_to_get = json!({"object_ids": ["0".repeat(64)], "direction": "get"});
    let negotiate = json!({"want": [history.last()], "have": []});
    let release = json!({"tag": "v1", "commit_id": history.last()});
    let tags = json!({"tags": [release]});
    let mut answers = Vec::new();
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        for endpoint in ["refs", "tags", "releases", "releases?channel=stable&include_drafts=1", "releases?channel=no"]
        {
            answers.push((format!("{endpoint} as {encoding:?}"), remote.get(endpoint).await));
        }
        answers.push((format!("a release's end as {encoding:?}"), remote.delete("releases/v1").await));
        answers.push((format!("by reference as {encoding:?}"), remote.post_reference("fetch", "unknown").await));
        let bodies: [(&str, &str, &Value); 12] = [
            ("fetch", "fetch", &fetch),
            ("fetch of nothing there", "fetch", &unknown),
            ("push", "push", &push),
            ("push of nothing", "push", &json!({})),
            ("objects", "push/objects", &objects),
            ("filter-objects", "filter-objects", &ids),
            ("negotiate", "negotiate", &negotiate),
            ("presign to put", "presign", &ids),
            ("presign to get", "presign", &ids_to_get),
            ("tags", "tags", &tags),
            ("a release", "releases", &release),
            ("an upload", "uploads", &json!({})),
        ];
        for (name, endpoint, body) in bodies {
            answers.push((format!("{name} as {encoding:?}"), remote.post(endpoint, body).await));
        }
        for endpoint in ["fetch", "push", "push/objects", "filter-objects", "negotiate", "presign", "tags", "releases"]
        {
            answers.push((
                format!("a broken {endpoint} as {encoding:?}"),
                remote.post_bytes(endpoint, &b"\xc1{"[..]).await,
            ));
        }
    }
    answers
}

/// All of an answer that could tell one case from another.
fn visible(answer: &Answer) -> (u16, &str, &str, &[u8]) {
    (answer.status, answer.header("content-type"), answer.header("www-authenticate"), &answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repo_looks_to_others_like_no_repo() {
    let hub = Hub::start().await;
    let history = history::linear(1, 3, 4, 1);
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let private = hub.remote(&owner, &fresh_name("secret"));
    let others = [("a stranger", private.with_token(&stranger.token)), ("no token", private.anonymous())];

    let mut before = Vec::new();
    for (_, other) in &others {
        before.push(ask_everything(other, &history).await);
    }
    hub.make(&private, true).await.expect(201);
    private.push(&history, "main", history.last()).await.expect(200);
    for ((who, other), before) in others.iter().zip(&before) {
        let after = ask_everything(other, &history).await;
        for ((what, before), (_, after)) in before.iter().zip(&after) {
            let allowed: &[u16] = if *who == "no token" { &[404, 401] } else { &[404] };
            assert!(allowed.contains(&after.status), "{who}: {what}: {}", after.excerpt());
            assert_eq!(visible(before), visible(after), "{who} can tell by {what}");
        }
        other.get("refs").await.refused(404, "");
        other.ask::<_, &str>(&[history.last()], &[]).await.refused(404, "");
    }
    let kept = private.clone_all().await;
    verify::same_history(&history, &kept, &owner.handle).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repo_serves_its_owner_in_full() {
    let hub = Hub::start().await;
    let history = history::dag(2, 40, 10);
    for encoding in Encoding::BOTH {
        let owner = hub.user().await;
        let remote = hub.made_repo(&owner, true).await.speaking(encoding);
        let heads = history.heads();
        for (index, head) in heads.iter().enumerate() {
            remote.push(&history, &format!("b{index}"), head).await.expect(200);
        }
        verify::same_history(&history, &remote.clone_all().await, &owner.handle).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_but_not_write_gets_an_answer_that_says_so() {
    let hub = Hub::start().await;
    let history = history::linear(3, 3, 4, 1);
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", &ids[1]).await.expect(200);
    let stranger = hub.user().await;
    for encoding in Encoding::BOTH {
        let reader = remote.speaking(encoding).with_token(&stranger.token);
        assert_eq!(reader.clone_all().await.commits.len(), 2);
        let pack = history.pack(&ids[2..]);
        let empty = tests::history::Pack::default().with_head("new", &ids[0]);
        for answer in [
            reader.push_pack("main", false, &pack).await,
            reader.push_pack("main", true, &pack).await,
            reader.push_pack("new", false, &empty).await,
            reader.push_objects(&pack.objects).await,
        ] {
            let refusal = answer.refused(403, "not_authorized");
            assert_eq!(refusal.detail, "push rejected: not authorized");
        }
    }
    assert_eq!(remote.heads().await, [("main".to_owned(), ids[1].clone())].into());
    let unsent = history.pack(&ids[2..]).without_objects();
    remote.push_pack("main", false, &unsent).await.refused(422, "missing_references");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_handle_reads_what_is_public_and_writes_nothing() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let nameless = remote.with_token(hub.token(&fresh_name("user")));
    assert_eq!(nameless.clone_all().await.commits.len(), 2);
    nameless.push_pack("main", true, &history.pack_of(history.last())).await.refused(403, "not_authorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_takes_a_token_and_reading_what_is_public_takes_none() {
    let hub = Hub::start().await;
    let history = history::linear(5, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    for encoding in Encoding::BOTH {
        let anonymous = remote.anonymous().speaking(encoding);
        verify::same_history(&history, &anonymous.clone_all().await, "dev").unwrap();
        let pack = history.pack_of(history.last());
        for answer in [anonymous.push_pack("main", false, &pack).await, anonymous.push_objects(&pack.objects).await] {
            answer.refused(401, "");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_makes_a_repo_under_another_handle_by_pushing() {
    let hub = Hub::start().await;
    let history = history::linear(6, 1, 1, 0);
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let target = hub.remote(&owner, &fresh_name("squat"));
    for other in [target.with_token(&stranger.token), target.with_token(&hub.dev().token), target.anonymous()] {
        other.push_pack("main", true, &history.pack_of(history.last())).await.refused_somehow();
        other.push_objects(&[Object::new("x")]).await.refused_somehow();
        target.anonymous().get("refs").await.refused(404, "");
    }
    let foreign = Remote { owner: fresh_name("nobody"), ..target.with_token(&stranger.token) };
    foreign.push_pack("main", false, &history.pack_of(history.last())).await.refused_somehow();
    foreign.get("refs").await.refused(404, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_for_its_user_from_every_client() {
    let hub = Hub::start().await;
    let history = history::linear(7, 2, 2, 1);
    let dev = hub.dev();
    let remote = hub.repo().await;
    let ids = history.ids();
    let mut claims = token::claims(&dev.id);
    for (field, value) in [
        ("role", json!("user")),
        ("token_type", json!("agent")),
        ("agent_name", json!("composer-7 🎵")),
        ("jti", json!("unknown claims are nobody's business")),
    ] {
        claims[field] = value;
    }
    let agent = remote.with_token(token::sign(hub.secret(), &claims));
    agent.push(&history, "main", &ids[0]).await.expect(200);
    claims["token_type"] = json!("human");
    let human = remote.with_token(token::sign(hub.secret(), &claims));
    human.push(&history, "main", &ids[1]).await.expect(200);
}
