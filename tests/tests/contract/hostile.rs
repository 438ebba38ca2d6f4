//! Clients that would take a hub down, what other clients get meanwhile, and the memory of the hub's process.

use std::process::Child;

use serde_json::json;
use tests::client::{self, Remote, percent_encoded};
use tests::encoding::Encoding;
use tests::history::{Builder, Tree};
use tests::hub::{self, fresh_name};
use tests::token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deployment::hub_in_another_process;

/// A hub in a process of its own, and one repo there.
struct Scene {
    child: Child,
    _directory: tempfile::TempDir,
    remote: Remote,
}

impl Scene {
    async fn start() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let (child, hub) = hub_in_another_process(directory.path());
        let remote = Remote {
            hub,
            owner: "dev".to_owned(),
            slug: fresh_name("song"),
            token: Some(token::access(hub::SECRET, "user-dev")),
            encoding: Encoding::Msgpack,
        };
        Scene { child, _directory: directory, remote }
    }

    /// The most memory that the hub's process ever had, in mebibytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Sends a request and reads only the first `read` bytes of its answer, which begins with 200.
    async fn begin(&self, request: &str, read: usize) -> TcpStream {
        let address = self.remote.hub.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut start = vec![0; read];
        socket.read_exact(&mut start).await.unwrap();
        assert!(start.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&start));
        socket
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_of_which_nothing_is_read_fill_no_memory_and_hold_up_no_one_else() {
    let scene = Scene::start().await;
    let mut builder = Builder::new(71);
    let content = builder.bytes(37_000_000);
    builder.commit(&[], &Tree::from([("album.wav".to_owned(), content.clone())]));
    let history = builder.finish();
    scene.remote.push(&history, "main", history.last()).await.expect(200);
    let (repo_id, id) = (scene.remote.repo_id().await, history.objects.keys().next().unwrap());
    let before = scene.peak();

    let request = format!("GET /o/{id}?repo_id={} HTTP/1.1\r\nHost: hub\r\n\r\n", percent_encoded(&repo_id));
    let mut unread = Vec::new();
    for _ in 0..100 {
        unread.push(scene.begin(&request, 20).await);
    }
    // A client that reads gets all of it, whole and in part.
    let whole = scene.remote.anonymous().object(&repo_id, id, &[]).await;
    assert!(whole.status == 200 && whole.body == content, "{}", whole.excerpt());
    let part = scene.remote.anonymous().object(&repo_id, id, &[("range", "bytes=30000001-36999999")]).await;
    assert!(part.status == 206 && part.body == content[30_000_001..], "{}", part.excerpt());
    let used = scene.peak().saturating_sub(before);
    assert!(used < 800, "{used} MiB for 100 answers of which nothing is read");
    drop(unread);
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_the_worst_that_may_be_posted_are_bounded_and_hold_up_no_one_else() {
    let scene = Scene::start().await;
    let remote = scene.remote.speaking(Encoding::Json);
    let mut builder = Builder::new(72);
    builder.commit(&[], &Tree::new());
    let history = builder.finish();
    remote.push(&history, "main", history.last()).await.expect(200);
    let release = |tag: String, body: String, changelog: usize| json!({"tag": tag, "commit_id": history.last(), "body": body, "changelog": vec![json!({}); changelog]});
    // What has six bytes for each one in the other encoding.
    let control = "\u{1}".repeat(33_000_000);
    remote.post("releases", &release("v0".to_owned(), control, 0)).await.refused(413, "payload_too_large");
    for number in 0..8 {
        let worst = release(format!("v1.{number}"), "\u{1}".repeat(600_000), 0);
        remote.post("releases", &worst).await.expect(201);
        remote.post("releases", &release(format!("v2.{number}"), String::new(), 900_000)).await.expect(201);
    }
    let before = scene.peak();
    let request = format!("GET /{}/{}/releases HTTP/1.1\r\nHost: hub\r\n\r\n", remote.owner, remote.slug);
    let mut unread = Vec::new();
    for _ in 0..40 {
        unread.push(scene.begin(&request, 20).await);
    }
    let health = format!("{}/health", remote.hub);
    client::send("GET", &health, &[], "").await.unwrap().expect(200);
    let (mut tags, mut after) = (Vec::new(), String::new());
    loop {
        let page = remote.anonymous().get(&format!("releases{after}")).await;
        assert!(page.body.len() <= (16 << 20) + 1_100, "{} bytes", page.body.len());
        let page = page.expect(200);
        tags.extend(page["releases"].as_array().unwrap().iter().map(|release| release["tag"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("?after={}", percent_encoded(next));
    }
    tags.sort_by_key(ToString::to_string);
    let all: Vec<String> = (1..3).flat_map(|kind| (0..8).map(move |number| format!("v{kind}.{number}"))).collect();
    assert_eq!(tags, all);
    let used = scene.peak().saturating_sub(before);
    assert!(used < 500, "{used} MiB for 40 lists of which nothing is read");
    drop(unread);
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_of_tags_comes_page_by_page() {
    let scene = Scene::start().await;
    let mut builder = Builder::new(73);
    builder.commit(&[], &Tree::new());
    let history = builder.finish();
    scene.remote.push(&history, "main", history.last()).await.expect(200);
    // Of 255 characters of four bytes each.
    let labels: Vec<String> = (0..9_000).map(|number| format!("{number:0>5}{}", "\u{1d11e}".repeat(250))).collect();
    let tags: Vec<_> = labels
        .iter()
        .map(|label| json!({"tag": label, "commit_id": history.last(), "tag_id": "\u{1}".repeat(200)}))
        .collect();
    scene.remote.post("tags", &json!({"tags": tags})).await.expect(200);
    for encoding in Encoding::BOTH {
        let remote = scene.remote.anonymous().speaking(encoding);
        let (mut listed, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = remote.get(&format!("tags{after}")).await;
            assert!(page.body.len() <= (16 << 20) + 1_100, "{} bytes", page.body.len());
            let page = page.expect(200);
            listed.extend(page["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            after = format!("?after={}", percent_encoded(next));
        }
        assert_eq!(listed, labels);
        assert!(encoding == Encoding::Msgpack || pages > 1, "{pages} pages");
        remote.get("tags?after=99999").await.expect(200);
    }
}
