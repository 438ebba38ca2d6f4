//! What needs a hub of its own: settings, limits of Lambda, restarts, and death.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use local::serve::Storage;
use serde_json::{Value, json};
use tests::client::{self, Remote, percent_encoded};
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Object, Tree, objects_body};
use tests::hub::{self, Hub, User, fresh_name};
use tests::{token, verify};

use crate::malformed;

async fn in_memory() -> Hub {
    Hub::start_own(Storage::Memory, false).await
}

async fn in_directory(path: &Path) -> Hub {
    Hub::start_own(Storage::Directory(path.to_owned()), false).await
}

async fn with_lambda_limits() -> Hub {
    Hub::start_own(Storage::Memory, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_ones_own_handle_makes_a_public_repo() {
    let hub = in_memory().await;
    let history = history::dag(1, 30, 10);
    let head = history.heads().pop().unwrap();
    for owner in [hub.dev(), hub.user().await] {
        for encoding in Encoding::BOTH {
            let remote = hub.remote(&owner, &fresh_name("new")).speaking(encoding);
            remote.anonymous().get("refs").await.refused(404, "");
            remote.push(&history, "first", &head).await.expect(200);
            let refs = remote.anonymous().get("refs").await.expect(200);
            assert_eq!(refs["default_branch"], "first");
            assert_eq!(refs["branch_heads"], json!({"first": head}));
            assert!(refs["repo_id"].as_str().is_some_and(|id| !id.is_empty()) && refs["domain"].is_string(), "{refs}");
            assert_eq!(remote.anonymous().clone_all().await.commit_ids(), history.reachable(&[&head]));
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_push_may_begin_with_its_objects() {
    let hub = in_memory().await;
    let history = history::linear(2, 1, 900, 0);
    for encoding in Encoding::BOTH {
        let remote = hub.remote(&hub.dev(), &fresh_name("new")).speaking(encoding);
        remote.push(&history, "main", history.last()).await.expect(200);
        verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hubs_know_nothing_of_each_other() {
    let (one, two) = (in_memory().await, in_memory().await);
    assert_ne!(one.url(), two.url());
    let history = history::linear(3, 2, 2, 1);
    let remote = one.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let elsewhere = Remote { hub: two.url().to_owned(), ..remote.anonymous() };
    elsewhere.get("refs").await.refused(404, "");
    one.stop().await;
    two.assert_well().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let history = history::dag(4, 80, 30);
    let heads = history.heads();

    let hub = in_directory(directory.path()).await;
    let remote = hub.repo().await;
    for (index, head) in heads.iter().enumerate() {
        remote.speaking(Encoding::BOTH[index % 2]).push(&history, &format!("b{index}"), head).await.expect(200);
    }
    let owner = hub.user().await;
    let private = hub.made_repo(&owner, true).await;
    private.push(&history, "secret", &heads[0]).await.expect(200);
    let staged = history::linear(5, 1, 20, 0);
    let staged_pack = staged.pack_of(staged.last());
    remote.push_objects(&staged_pack.objects).await.expect(200);
    let refs = (remote.get("refs").await.expect(200), private.get("refs").await.expect(200));
    hub.stop().await;

    let hub = in_directory(directory.path()).await;
    let moved = |remote: &Remote| Remote { hub: hub.url().to_owned(), ..remote.clone() };
    let (remote, private) = (moved(&remote), moved(&private));
    assert_eq!((remote.get("refs").await.expect(200), private.get("refs").await.expect(200)), refs);
    for encoding in Encoding::BOTH {
        let cloned = remote.anonymous().speaking(encoding).clone_all().await;
        verify::same_history(&history, &cloned, "dev").unwrap();
    }
    private.anonymous().get("refs").await.refused(404, "");
    private.with_token(&hub.dev().token).get("refs").await.refused(404, "");
    assert_eq!(private.clone_all().await.commit_ids(), history.reachable(&[&heads[0]]));
    let stranger = hub.token(&fresh_name("user"));
    hub.post("api/identities", Some(&stranger), &json!({"handle": owner.handle})).await.refused(409, "handle_taken");
    hub.make(&private, true).await.refused(409, "repo_exists");

    // What was staged still counts, what was pushed is still the ground for what comes, and pushing goes on.
    remote.push_pack("staged", false, &staged_pack.clone().without_objects()).await.expect(200);
    remote.push_pack("b0", false, &staged_pack).await.refused(409, "non_fast_forward");
    assert_eq!(remote.default_branch().await, "b0");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_restarts_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let history = history::linear(6, 12, 10, 3);
    let slug = fresh_name("song");
    for (round, tip) in history.ids().iter().enumerate() {
        let hub = in_directory(directory.path()).await;
        let remote = hub.remote(&hub.dev(), &slug);
        if round > 0 {
            let cloned = remote.anonymous().clone_all().await;
            assert_eq!(cloned.commits.len(), round);
        }
        remote.speaking(Encoding::BOTH[round % 2]).push(&history, "main", tip).await.expect(200);
        hub.stop().await;
    }
    let hub = in_directory(directory.path()).await;
    let cloned = hub.remote(&hub.dev(), &slug).clone_all().await;
    verify::same_history(&history, &cloned, "dev").unwrap();
    hub.stop().await;
}

/// Where the child process below keeps its hub.
const DATA: &str = "MUSEHUB_TEST_DATA";

/// Not a test: the hub of tests that measure one or kill it. It says where it listens and ends when its standard input does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run as a child process by those that measure or kill a hub"]
async fn a_hub_for_another_process() {
    let Ok(directory) = std::env::var(DATA) else { return };
    let hub = in_directory(Path::new(&directory)).await;
    println!("\nlistening on {}", hub.url());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    hub.stop().await;
}

/// This test binary again, as nothing but a hub; and that hub's URL.
pub(crate) fn hub_in_another_process(directory: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "deployment::a_hub_for_another_process", "--ignored", "--nocapture"])
        .env(DATA, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
    // The test harness says something after a minute, and ends if nothing takes it.
    std::thread::spawn(move || lines.for_each(drop));
    (child, url.expect("the child says where it listens"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let history = history::linear(7, 400, 20, 2);
    let ids = history.ids();
    let (mut child, url) = hub_in_another_process(directory.path());

    // A client pushes commit after commit, and reports each that was acknowledged.
    let (acknowledge, acknowledged) = mpsc::channel();
    let slug = fresh_name("song");
    let pushing = {
        let (history, ids, url) = (history.clone(), ids.clone(), format!("{url}/dev/{slug}/push"));
        let bearer = format!("Bearer {}", token::access(hub::SECRET, "user-dev"));
        tokio::spawn(async move {
            for (index, id) in ids.iter().enumerate() {
                let bundle = history.pack(&[id]).to_value();
                let body = Encoding::Json.encode(&json!({"bundle": bundle, "branch": "main", "force": false}));
                let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
                // No answer: the hub is dead.
                let Ok(answer) = client::send("POST", &url, &headers, body).await else { return };
                answer.expect(200);
                acknowledge.send(index).unwrap();
            }
        })
    };
    // Death comes while the next push is under way.
    let last = tokio::task::spawn_blocking(move || {
        let mut seen = acknowledged.iter().inspect(|index| {
            if *index == 25 {
                child.kill().unwrap();
            }
        });
        let last = seen.by_ref().last();
        child.wait().unwrap();
        last
    });
    let last = last.await.unwrap().expect("some pushes were acknowledged");
    pushing.await.unwrap();
    assert!(last >= 25);

    let hub = in_directory(directory.path()).await;
    let remote = hub.remote(&hub.dev(), &slug);
    let cloned = remote.anonymous().clone_all().await;
    let head = remote.heads().await.remove("main").unwrap();
    // The push that got no answer may have been taken all the same.
    assert!([Some(&ids[last]), ids.get(last + 1)].contains(&Some(&head)), "acknowledged {last}");
    assert_eq!(cloned.commit_ids(), history.reachable(&[&head]));
    remote.push(&history, "main", history.last()).await.expect(200);
    verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_pass_through_lambdas_limits() {
    let hub = with_lambda_limits().await;
    let history = history::dag(8, 60, 20);
    for pushed in Encoding::BOTH {
        let remote = hub.repo().await;
        for (index, head) in history.heads().iter().enumerate() {
            remote.speaking(pushed).push(&history, &format!("b{index}"), head).await.expect(200);
        }
        for cloned in Encoding::BOTH {
            let cloned = remote.anonymous().speaking(cloned).clone_all().await;
            verify::same_history(&history, &cloned, "dev").unwrap();
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_past_lambdas_6_mb_is_refused_with_the_way_round_it() {
    let hub = with_lambda_limits().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let mut builder = Builder::new(9);
    let object = |builder: &mut Builder, bytes: usize| [Object::new(builder.bytes(bytes))];
    for (encoding, fits, does_not) in
        [(Encoding::Json, 2_900_000, 5_500_000), (Encoding::Msgpack, 4_000_000, 5_500_000)]
    {
        let remote = remote.speaking(encoding);
        remote.push_objects(&object(&mut builder, fits)).await.expect(200);
        let refusal = remote.push_objects(&object(&mut builder, does_not)).await.refused(413, "payload_too_large");
        assert!(refusal.detail.contains(|letter: char| letter.is_ascii_digit()), "names the limit: {}", refusal.detail);

        let body = encoding.encode(&json!({"bundle": {"commits": [], "snapshots": [], "objects": []}, "branch": "main", "padding": "x".repeat(7_000_000)}));
        remote.post_bytes("push", body).await.refused(413, "payload_too_large");
        let body = encoding.encode(&json!({"want": [], "have": [], "padding": "x".repeat(7_000_000)}));
        remote.post_bytes("fetch", body).await.refused(413, "payload_too_large");
    }
    for path in ["api/repos", "api/identities"] {
        let body = json!({"name": "n", "handle": "h", "padding": "x".repeat(7_000_000)});
        hub.post(path, Some(&hub.dev().token), &body).await.refused(413, "payload_too_large");
    }
    hub.assert_well().await;
    hub.stop().await;
}

/// A commit of more megabytes than Lambda takes in, none of which compress.
fn eight_megabytes(seed: u64) -> History {
    let mut builder = Builder::new(seed);
    let tree: Tree = (0..8).map(|index| (format!("{index}.wav"), builder.bytes(1_000_000))).collect();
    builder.commit(&[], &tree);
    builder.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_past_lambdas_6_mb_goes_by_reference() {
    let hub = with_lambda_limits().await;
    let history = eight_megabytes(13);
    let push = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        remote.post("push", &push).await.refused(413, "payload_too_large");
        let answer = remote.post_by_reference("push", &push).await.expect(200);
        assert_eq!(answer["branch_heads"], json!({"main": history.last()}));
        let cloned = remote.anonymous().clone_all().await;
        verify::same_history(&history, &cloned, "dev").unwrap();
        let mut have: Vec<String> = (0..150_000).map(|index| format!("{index:064x}")).collect();
        have.push(history.last().to_owned());
        let fetch = json!({"want": [history.last()], "have": have});
        remote.post("fetch", &fetch).await.refused(413, "payload_too_large");
        assert_eq!(remote.post_by_reference("fetch", &fetch).await.expect(200)["commits"], json!([]));
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_push_may_be_by_reference() {
    let history = eight_megabytes(14);
    let push = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    for hub in [in_memory().await, with_lambda_limits().await] {
        for encoding in Encoding::BOTH {
            let owner = hub.user().await;
            let remote = hub.remote(&owner, &fresh_name("new")).speaking(encoding);
            remote.post_by_reference("push", &push).await.expect(200);
            let cloned = remote.anonymous().clone_all().await;
            verify::same_history(&history, &cloned, &owner.handle).unwrap();
        }
        hub.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_lambda_does_not_take_inline_are_presigned() {
    let hub = with_lambda_limits().await;
    let mut builder = Builder::new(15);
    let tree: Tree = (0..3).map(|index| (format!("{index}.wav"), builder.bytes(7_000_000))).collect();
    builder.commit(&[], &tree);
    let history = builder.finish();
    // Of a repo that there is, and of one that the push makes.
    for remote in [hub.made_repo(&hub.dev(), false).await, hub.remote(&hub.dev(), &fresh_name("new"))] {
        let remote = remote.speaking(Encoding::Msgpack);
        remote.push(&history, "main", history.last()).await.expect(200);
        let repo_id = remote.repo_id().await;
        for encoding in Encoding::BOTH {
            let cloned = remote.anonymous().speaking(encoding).clone_all().await;
            verify::same_history(&history, &cloned, "dev").unwrap();
        }
        for (id, content) in &history.objects {
            let answer = remote.anonymous().object(&repo_id, id, &[]).await;
            assert!(answer.status == 200 && answer.body == content, "{}", answer.excerpt());
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_past_lambdas_6_mb_is_served_whole_and_in_part() {
    let hub = with_lambda_limits().await;
    let mut builder = Builder::new(16);
    let content = builder.bytes(9_000_000);
    builder.commit(&[], &Tree::from([("album.wav".to_owned(), content.clone())]));
    let history = builder.finish();
    let remote = hub.made_repo(&hub.dev(), false).await.speaking(Encoding::Msgpack);
    let push = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    remote.post_by_reference("push", &push).await.expect(200);
    let (repo_id, id) = (remote.repo_id().await, history.objects.keys().next().unwrap());
    for path in [id.clone(), format!("sha256%3A{id}"), format!("sha256:{id}")] {
        let whole = remote.anonymous().object(&repo_id, &path, &[]).await;
        assert!(whole.status == 200 && whole.body == content, "{}", whole.excerpt());
        for (range, part) in [
            ("bytes=0-8999999", &content[..]),
            ("bytes=1000-7999999", &content[1_000..8_000_000]),
            ("bytes=-5", &content[8_999_995..]),
        ] {
            let answer = remote.object(&repo_id, &path, &[("range", range)]).await;
            assert!(answer.status == 206 && answer.body == part, "{range}: {}", answer.excerpt());
        }
        let etag = whole.header("etag").to_owned();
        let same = remote.object(&repo_id, &path, &[("if-none-match", &etag)]).await;
        assert_eq!((same.status, same.body.len()), (304, 0));
    }
    let beyond = remote.object(&repo_id, id, &[("range", "bytes=9000000-")]).await;
    beyond.refused(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), "bytes */9000000");
    remote.object(&repo_id, &"0".repeat(64), &[]).await.refused(404, "unknown_object");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_urls_as_may_be_asked_for_come_through_lambda() {
    let hub = with_lambda_limits().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let ids: Vec<String> = (0..10_000).map(|index| format!("{index:064x}")).collect();
    for encoding in Encoding::BOTH {
        assert_eq!(remote.speaking(encoding).presigned("put", &ids).await.len(), 10_000);
        assert!(remote.speaking(encoding).presigned("get", &ids).await.is_empty());
    }
    hub.stop().await;
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn tags_and_releases_pass_through_lambdas_limits() {
    let hub = with_lambda_limits().await;
    let history = history::linear(17, 1, 2, 0);
    let mut builder = Builder::new(17);
    let odd = ["v1", "a/b", "%2F", "a%2Fb", "a b", "?", "#", "..", "größe 🎵", "a+b", "*", "v1.0.0"];
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        remote.push(&history, "main", history.last()).await.expect(200);
        let tag = |index: usize| {
            let label = format!("take-{index:05}-{}", "é".repeat(240));
            json!({"tag_id": format!("{index:064x}"), "repo_id": "r", "commit_id": history.last(), "tag": label, "created_at": "2025-03-01T12:00:00+00:00"})
        };
        // More of them in an answer than fit into 6 MB.
        for start in (0..12_000).step_by(4_000) {
            let tags: Vec<Value> = (start..start + 4_000).map(tag).collect();
            remote.post("tags", &json!({"tags": tags})).await.expect(200);
        }
        let listed = remote.get("tags").await.expect(200);
        assert!(listed["tags"] == (0..12_000).map(tag).collect::<Value>(), "all of them");

        for (index, tag) in odd.iter().enumerate() {
            let body = hex::encode(builder.bytes(600_000 / 2));
            let created_at = format!("2025-03-01T12:{index:02}:00+00:00");
            let release = json!({"tag": tag, "commit_id": history.last(), "body": body, "created_at": created_at});
            remote.post_in(Encoding::Json, "releases", &release).await.expect(201);
        }
        for left in (0..odd.len()).rev() {
            let listed = remote.get("releases?channel=stable&include_drafts=1").await.expect(200);
            let newest = listed["releases"][0]["tag"].as_str().unwrap().to_owned();
            assert_eq!((listed["releases"].as_array().map(Vec::len), newest.as_str()), (Some(left + 1), odd[left]));
            let path = format!("releases/{}", percent_encoded(&newest));
            assert_eq!(remote.delete(&path).await.expect(200)["retracted"], newest);
            remote.delete(&path).await.refused(404, "release_not_found");
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_tags_releases_and_uploads() {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(18);
    let reached = Object::new(builder.bytes(100_000));
    let root = builder.commit(&[], &Tree::from([("song.wav".to_owned(), reached.content.clone())]));
    let staged = Object::new(builder.bytes(100_000));
    let tip = builder.commit(&[&root], &Tree::from([("song.wav".to_owned(), staged.content.clone())]));
    let history = builder.finish();

    let hub = in_directory(directory.path()).await;
    let remote = hub.made_repo(&hub.dev(), false).await.speaking(Encoding::Msgpack);
    remote.push(&history, "main", &root).await.expect(200);
    remote.upload(&staged).await;
    let tag = json!({"tag_id": "t", "commit_id": root, "tag": "größe"});
    remote.post("tags", &json!({"tags": [tag]})).await.expect(200);
    let release = json!({"tag": "v1", "commit_id": root, "title": "🎵"});
    remote.post("releases", &release).await.expect(201);
    let listings = async |remote: &Remote| {
        (remote.get("tags").await.expect(200), remote.get("releases?include_drafts=1").await.expect(200))
    };
    let before = listings(&remote).await;
    let push = json!({"bundle": history.pack(&[&tip]).without_objects().to_value(), "branch": "main", "force": false});
    let upload_id = remote.put_body(Encoding::Msgpack.encode(&push)).await;
    hub.stop().await;

    let hub = in_directory(directory.path()).await;
    let remote = Remote { hub: hub.url().to_owned(), ..remote };
    assert_eq!(listings(&remote).await, before);
    remote.post("releases", &release).await.refused(409, "release_exists");
    assert_eq!(remote.presigned("get", &[&reached.id, &staged.id]).await.keys().collect::<Vec<_>>(), [&reached.id]);
    remote.post_reference("push", &upload_id).await.expect(200);
    verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    assert_eq!(remote.presigned("get", &[&reached.id, &staged.id]).await.len(), 2);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_handle_is_o_has_repos_like_anybody() {
    let hub = in_memory().await;
    let token = hub.token("user-o");
    let named = hub.post("api/identities", Some(&token), &json!({"handle": "o"})).await;
    if named.status != 201 {
        // A hub may keep such a handle for itself.
        named.refused_somehow();
        return;
    }
    let owner = User { id: "user-o".to_owned(), handle: "o".to_owned(), token };
    let history = history::linear(19, 2, 2, 1);
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&owner, false).await.speaking(encoding);
        remote.push(&history, "main", history.last()).await.expect(200);
        verify::same_history(&history, &remote.anonymous().clone_all().await, "o").unwrap();
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_lambdas_limits_a_body_of_many_megabytes_is_taken() {
    let hub = in_memory().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let mut builder = Builder::new(10);
    let objects: Vec<Object> = (0..10).map(|_| Object::new(builder.bytes(2_000_000))).collect();
    assert!(Encoding::Json.encode(&objects_body(&objects)).len() > 25_000_000);
    for encoding in Encoding::BOTH {
        remote.speaking(encoding).push_objects(&objects).await.expect(200);
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_past_lambdas_6_mb_is_streamed_whole() {
    let hub = with_lambda_limits().await;
    let mut builder = Builder::new(11);
    let tree: Tree = (0..8).map(|index| (format!("{index}.wav"), builder.bytes(2_500_000))).collect();
    builder.commit(&[], &tree);
    let history = builder.finish();
    let remote = hub.made_repo(&hub.dev(), false).await;
    let pack = history.pack_of(history.last());
    for object in &pack.objects {
        remote.speaking(Encoding::Msgpack).push_objects(std::slice::from_ref(object)).await.expect(200);
    }
    remote.push_pack("main", false, &pack.without_objects()).await.expect(200);
    for encoding in Encoding::BOTH {
        let cloned = remote.anonymous().speaking(encoding).clone_all().await;
        verify::same_history(&history, &cloned, "dev").unwrap();
    }
    hub.stop().await;
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn broken_bodies_are_refused_behind_lambda_too() {
    let hub = with_lambda_limits().await;
    for encoding in Encoding::BOTH {
        malformed::every_broken_body_is_refused(&hub, encoding).await;
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_routes_are_the_same_behind_lambda() {
    let hub = with_lambda_limits().await;
    let history = history::linear(12, 2, 2, 1);
    let remote = hub.repo().await;
    remote.push(&history, "größe/🎵", history.last()).await.expect(200);
    assert_eq!(hub.get("health").await.expect(200)["status"], "ok");
    hub.get("no/such/route/here").await.refused(404, "");
    remote.raw("DELETE", "refs", &[], "").await.refused(405, "");
    remote.raw("POST", "fetch", &[("content-type", "text/plain")], "{}").await.refused(415, "");
    let bad = remote.with_token("bad").get("refs").await;
    bad.refused(401, "");
    assert!(bad.header("www-authenticate").starts_with("Bearer"));
    let reader = remote.with_token(&hub.user().await.token);
    let refusal = reader.push_pack("x", false, &history.pack_of(history.last())).await.refused(403, "not_authorized");
    assert_eq!(refusal.detail, "push rejected: not authorized");
    for encoding in Encoding::BOTH {
        let unknown = remote.speaking(encoding).ask::<_, &str>(&["0".repeat(64)], &[]).await;
        unknown.refused(404, "unknown_commit");
        remote.speaking(encoding).heads().await.remove("größe/🎵").expect("the branch");
    }
    remote.raw("POST", "fetch", &[], json!({"want": [history.last()], "have": []}).to_string()).await.expect(200);
    hub.stop().await;
}
