//! What people read when something is wrong. A client shows the status and the first 400 characters of the body.

use serde_json::json;
use tests::client::{Answer, Remote, send};
use tests::encoding::Encoding;
use tests::history;
use tests::history::{Builder, Object, Pack, Tree};
use tests::hub::{Hub, fresh_name};

/// What a client shows of a refusal.
fn shown(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).chars().take(400).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_and_slug_are_found_in_any_case_and_with_git_behind_them() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    hub.post("api/repos", Some(&user.token), &json!({"name": "song"})).await.expect(201);
    let remote = hub.remote(&user, "song");
    let id = remote.repo_id().await;
    for (owner, slug) in [
        (user.handle.to_uppercase(), "song"),
        (user.handle.clone(), "Song"),
        (user.handle.clone(), "SONG.git"),
        (user.handle.clone(), "song.GIT"),
    ] {
        let spelled = Remote { owner, slug: slug.to_owned(), ..remote.clone() };
        assert_eq!(spelled.repo_id().await, id, "{slug}");
        let history = history::linear(1, 1, 1, 0);
        spelled.push(&history, "main", history.last()).await.expect(200);
    }
    // A push to such a name makes the repo that it means.
    let fresh = Remote { slug: "New-One.git".to_owned(), ..remote.clone() };
    let history = history::linear(1, 1, 1, 0);
    fresh.push(&history, "main", history.last()).await.expect(200);
    assert_eq!(hub.remote(&user, "new-one").heads().await["main"], history.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_repo_can_have_is_named() {
    let hub = Hub::start().await;
    let user = hub.user().await;
    for (slug, hint) in [
        ("my_song", "'my-song'"),
        ("my%20song", "'my-song'"),
        ("-x-", "'x'"),
        ("a.b", "'a-b'"),
        ("%E2%9C%A8", "a-z 0-9"),
    ] {
        for token in [Some(user.token.clone()), None] {
            let remote = Remote { slug: slug.to_owned(), token, ..hub.remote(&user, "x") };
            for answer in [remote.get("refs").await, remote.post("push", &json!({})).await] {
                if answer.status == 401 {
                    continue;
                }
                answer.refused(404, "repo_not_found");
                assert!(shown(&answer).contains(hint) && shown(&answer).contains("a-z 0-9"), "{}", shown(&answer));
            }
        }
    }
    let unknown = Remote { owner: "who_is_this".to_owned(), ..hub.remote(&user, "x") };
    assert!(shown(&unknown.get("refs").await).contains("handle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_handle_is_asked_to_claim_one() {
    let hub = Hub::start().await;
    let (history, owner) = (history::linear(1, 1, 1, 0), hub.user().await);
    let private = hub.made_repo(&owner, true).await;
    let token = hub.token(&fresh_name("user"));
    let absent = hub.remote(&owner, "no-such-repo");
    let mut answers = Vec::new();
    for remote in [private, absent] {
        let answer = remote.with_token(&token).push_pack("main", false, &history.pack_of(history.last())).await;
        answer.refused(404, "repo_not_found");
        assert!(shown(&answer).contains(&format!("{}/api/identities", hub.url())), "{}", shown(&answer));
        answers.push(answer.body);
    }
    assert_eq!(answers[0], answers[1], "and learns nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_hears_how_a_private_repo_is_read() {
    let hub = Hub::start().await;
    let owner = hub.user().await;
    let private = hub.made_repo(&owner, true).await;
    let absent = hub.remote(&owner, "no-such-repo");
    let mut answers = Vec::new();
    for remote in [private.anonymous(), absent.anonymous()] {
        for answer in [remote.get("refs").await, remote.ask::<&str, &str>(&[], &[]).await, remote.get("tags").await] {
            answer.refused(404, "repo_not_found");
            answers.push(shown(&answer));
        }
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
        for words in [
            "muse init --domain code",
            "muse remote add origin",
            "muse pull origin main",
            "muse auth login --hub",
            hub.url(),
        ] {
            assert!(answer.contains(words), "{answer}");
        }
        assert!(answer.ends_with("\"}"), "all of it is shown: {answer}");
    }
    // A client that sends a token gets an answer of its own.
    let answer = absent.get("refs").await;
    assert!(!shown(&answer).contains("muse init"), "{}", shown(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_says_how_to_log_in() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    for remote in [remote.anonymous(), remote.with_token("no.such.token")] {
        let answer = remote.push_objects(&[Object::new("x")]).await;
        answer.refused(401, "unauthorized");
        assert!(shown(&answer).contains(&format!("muse auth login --hub {}", hub.url())), "{}", shown(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_413_names_the_file_and_the_way_round() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(9);
    let album = builder.bytes(38_000_001);
    builder.commit(&[], &[("takes/album.wav".to_owned(), album)].into());
    let history = builder.finish();
    let mut pack = history.pack_of(history.last());
    pack.objects[0].path = Some("takes/album.wav".to_owned());
    let remote = hub.made_repo(&hub.dev(), false).await.speaking(Encoding::Msgpack);
    let answer = remote.push_pack("main", false, &pack).await;
    answer.refused(413, "payload_too_large");
    let shown = shown(&answer);
    assert!(shown.contains("takes/album.wav") && shown.contains("38000001") && shown.contains("/presign"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_lacks_a_parent_hears_of_other_remotes() {
    let hub = Hub::start().await;
    let history = history::linear(4, 3, 2, 1);
    let remote = hub.repo().await;
    let answer = remote.push_pack("main", false, &history.pack(&history.ids()[2..])).await;
    answer.refused(422, "missing_references");
    assert!(shown(&answer).contains(".muse/remotes/"), "{}", shown(&answer));
    assert!(shown(&answer).contains(&history.ids()[1][..20]), "{}", shown(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pusher_who_makes_a_repo_hears_so_once_and_again_when_they_ask_again() {
    let hub = Hub::start().await;
    let history = history::linear(5, 3, 2, 1);
    let ids = history.ids();
    let message = |answer: &serde_json::Value| answer["message"].as_str().unwrap().to_owned();
    for encoding in Encoding::BOTH {
        let user = hub.user().await;
        let remote = hub.remote(&user, &fresh_name("mistyped")).speaking(encoding);
        let first = remote.push(&history, "main", &ids[0]).await.expect(200);
        let said = message(&first);
        assert!(said.starts_with("pushed 1 commit(s) to 'main'; "), "{said}");
        assert!(said.contains("new repository") && said.contains("anybody"), "{said}");
        // A retry after a lost answer.
        let bundle = history.pack_of(&ids[0]).with_head("main", &ids[0]);
        let again = remote.push_pack("main", false, &bundle).await.expect(200);
        assert_eq!(message(&again), said);
        let next = remote.push(&history, "main", &ids[1]).await.expect(200);
        assert_eq!(message(&next), "pushed 1 commit(s) to 'main'");
    }
    let made = hub.made_repo(&hub.dev(), false).await;
    let first = made.push(&history, "main", &ids[0]).await.expect(200);
    assert_eq!(message(&first), "pushed 1 commit(s) to 'main'");
    let empty = hub.repo().await.push_pack("main", false, &Pack::default()).await;
    assert!(empty.status == 200, "{}", empty.excerpt());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_host_makes_no_long_answer() {
    let hub = Hub::start().await;
    let host = "x".repeat(5_000);
    let answer =
        send("POST", &format!("{}/dev/song/push", hub.url()), &[("x-forwarded-host", &host)], "{}").await.unwrap();
    answer.refused(401, "unauthorized");
    assert!(answer.body.len() < 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_says_when_a_clone_is_too_large_for_the_client_that_pushes() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(61);
    // Of 64 MiB, 52 MB are some four fifths as they are, and more than all as base64.
    let tree: Tree = (0..2).map(|number| (format!("zeros-{number}"), vec![0; 26_000_000 + number].into())).collect();
    let tip = builder.commit(&[], &tree);
    let history = builder.finish();
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    for object in &history.pack_of(&tip).objects {
        remote.upload(object).await;
    }
    let bundle = history.pack_of(&tip).without_objects().with_head("main", &tip);
    let message = async |encoding: Encoding| {
        let answer = remote.speaking(encoding).push_pack("main", false, &bundle).await.expect(200);
        answer["message"].as_str().unwrap().to_owned()
    };
    let said = message(Encoding::Msgpack).await;
    assert!(said.starts_with("pushed 1 commit(s) to 'main'") && !said.contains("musehub clone"), "{said}");
    let said = message(Encoding::Json).await;
    assert!(said.contains(&format!("'musehub clone {}'", remote.url("").trim_end_matches('/'))), "{said}");
    assert!(said.contains("about 66 MiB") && said.contains("beyond 64"), "{said}");
    assert!(said.len() < 400, "{said}");
    // And a client does give up there.
    let have: [&str; 0] = [];
    let body = Encoding::Json.encode(&json!({"want": [tip], "have": have}));
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    let answer = tests::client::send("POST", &remote.url("fetch"), &headers, body).await;
    assert!(answer.is_err_and(|error| error.contains("LengthLimitError")));
    assert!(
        remote.anonymous().ask(&[&tip], &have).await.expect(200)["objects"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    );
}
