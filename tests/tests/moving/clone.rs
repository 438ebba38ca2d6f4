//! A clone that comes in parts: what a stock client finds in the folder is what the hub has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use indicatif::ProgressBar;
use local::transfer::TransferError;
use local::transfer::clone::{Cloned, Wanted, clone};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, Commit, History, Snapshot};
use tests::hub::{Hub, fresh_name};
use tests::{ids, verify};

use crate::mirror::door;
use crate::whole::url;

pub const ALL: Wanted = Wanted { branch: None, depth: None };

pub fn newest(depth: u32) -> Wanted {
    Wanted { branch: None, depth: Some(depth) }
}

pub fn only(branch: &str) -> Wanted {
    Wanted { branch: Some(branch.to_owned()), depth: None }
}

pub async fn cloned(from: &Remote, folder: &Path, wanted: Wanted) -> Result<Cloned, TransferError> {
    let url_of = format!("{}/{}/{}", from.hub, from.owner, from.slug);
    clone(&url(from), &url_of, folder, wanted, &ProgressBar::hidden()).await
}

/// A refusal before anything was changed.
async fn refused(from: &Remote, folder: &Path, wanted: Wanted) -> String {
    match cloned(from, folder, wanted).await {
        Err(TransferError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

pub fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn json_of(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

/// The history of a folder, as a stock client keeps it.
pub fn kept(folder: &Path) -> History {
    let muse = folder.join(".muse");
    let list = |name: &str| -> Vec<Value> {
        let mut entries: Vec<_> = fs::read_dir(muse.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort_unstable();
        entries.iter().map(json_of).collect()
    };
    let mut pack = history::Pack::default();
    for commit in list("commits") {
        pack.commits.push(Commit(commit.as_object().unwrap().clone()));
    }
    for snapshot in list("snapshots") {
        let manifest: BTreeMap<String, String> = serde_json::from_value(snapshot["manifest"].clone()).unwrap();
        let [id, created_at] = ["snapshot_id", "created_at"].map(|field| snapshot[field].as_str().unwrap().to_owned());
        assert_eq!(ids::snapshot_id(&manifest), id);
        pack.snapshots.push(Snapshot { id, manifest, created_at });
    }
    let mut history = History::default();
    history.absorb(&pack);
    for folder in fs::read_dir(muse.join("objects")).unwrap().map(|entry| entry.unwrap()) {
        for entry in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()) {
            let name = [folder.file_name(), entry.file_name()].map(|name| name.into_string().unwrap()).concat();
            let content = fs::read(entry.path()).unwrap();
            assert_eq!(ids::object_id(&content), name);
            history.objects.insert(name, content.into());
        }
    }
    history
}

/// Fails unless the folder holds all of a history, with the files of a commit beside it.
pub fn assert_is(folder: &Path, history: &History, head: &str) {
    let kept = kept(folder);
    assert_eq!(kept.commits().len(), history.commits().len());
    for commit in history.commits() {
        verify::same_commit(commit, kept.commit(commit.id()), "dev").unwrap();
    }
    assert_eq!(kept.snapshots, history.snapshots);
    assert_eq!(kept.objects, history.objects);
    assert_files(folder, history, head);
}

pub fn assert_files(folder: &Path, history: &History, head: &str) {
    let manifest = &history.snapshots[history.commit(head).snapshot_id().unwrap()].manifest;
    let mut expected: Vec<&str> = manifest.keys().map(String::as_str).collect();
    expected.sort_unstable();
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            match entry.is_dir() {
                true if name == ".muse" => {}
                true => waiting.push(entry),
                false => found.push(name),
            }
        }
    }
    found.sort_unstable();
    assert_eq!(found, expected);
    for (path, object) in manifest {
        assert_eq!(fs::read(folder.join(path)).unwrap(), history.objects[object], "{path}");
    }
}

pub async fn stocked(hub: &Hub, history: &History) -> Remote {
    let remote = hub.remote(&hub.dev(), &fresh_name("song")).speaking(Encoding::Msgpack);
    remote.push(history, "main", history.last()).await.expect(200);
    remote
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_what_a_stock_client_keeps() {
    let hub = Hub::start().await;
    // More commits than one part has.
    let history = history::linear(71, 700, 6, 1);
    let remote = stocked(&hub, &history).await;
    let side = history.ids()[300].clone();
    remote.push_pack("side/track", false, &history::Pack::default().with_head("side/track", &side)).await.expect(200);
    let home = TempDir::new().unwrap();
    let folder = home.path().join("song");
    let done = cloned(&remote, &folder, ALL).await.unwrap();
    assert_eq!((done.fetched.commits, done.cut, done.branch.as_deref()), (700, 0, Some("main")));
    assert_is(&folder, &history, history.last());

    let muse = folder.join(".muse");
    assert_eq!(text(muse.join("HEAD")), "ref: refs/heads/main\n");
    for (branch, head) in [("main", history.last()), ("side/track", &side)] {
        assert_eq!(text(muse.join("refs/heads").join(branch)), head);
        assert_eq!(text(muse.join("remotes/origin").join(branch)), head);
    }
    let about = json_of(muse.join("repo.json"));
    assert_eq!((&about["repo_id"], &about["domain"]), (&json!(remote.repo_id().await), &json!("code")));
    let config =
        format!("[remotes.origin]\nurl = \"{}/{}/{}\"\nbranch = \"main\"\n", remote.hub, remote.owner, remote.slug);
    assert_eq!(text(muse.join("config.toml")), config);
    for left in ["clone.json", "checkout", "shallow"] {
        assert!(!muse.join(left).exists(), "{left}");
    }
    assert!(refused(&remote, &folder, ALL).await.contains("muse pull"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_breaks_off_is_no_repository_and_goes_on_behind_what_it_has() {
    let hub = Hub::start().await;
    let history = history::linear(72, 600, 4, 1);
    let ids = history.ids();
    let remote = hub.remote(&hub.dev(), &fresh_name("song")).speaking(Encoding::Msgpack);
    remote.push(&history, "main", &ids[520]).await.expect(200);
    let home = TempDir::new().unwrap();
    let folder = home.path().join("song");
    // The first part came, and then the hub was gone.
    let muse = folder.join(".muse.partial");
    cloned(&remote, &folder, ALL).await.unwrap();
    fs::rename(folder.join(".muse"), &muse).unwrap();
    let origin = format!("{}/{}/{}", remote.hub, remote.owner, remote.slug);
    fs::write(muse.join("clone.json"), json!({"url": origin, "branch": null, "depth": null}).to_string()).unwrap();
    let snapshot = history.commit(&ids[520]).snapshot_id().unwrap();
    fs::write(muse.join("checkout"), snapshot).unwrap();
    for id in &ids[400..=520] {
        fs::remove_file(muse.join("commits").join(format!("{id}.json"))).unwrap();
    }
    assert!(!folder.join(".muse").exists());
    assert!(refused(&remote, &folder, only("main")).await.contains("another clone was begun"));

    // The branch has moved on meanwhile, and one file is gone from it.
    let mut tree = history.snapshots[snapshot].manifest.clone();
    let (gone, _) = tree.pop_first().unwrap();
    let manifest = tree;
    let next = Snapshot { id: ids::snapshot_id(&manifest), manifest, created_at: "2025-06-01T00:00:00Z".to_owned() };
    let id = ids::commit_id(&[ids[520].as_str()], &next.id, "less", "2025-06-01T00:00:00Z");
    let fields = json!({
        "commit_id": id, "parent_commit_id": ids[520], "snapshot_id": next.id, "message": "less",
        "committed_at": "2025-06-01T00:00:00Z", "author": "dev"
    });
    let pack = history::Pack {
        commits: vec![Commit(fields.as_object().unwrap().clone())],
        snapshots: vec![next],
        ..history::Pack::default()
    };
    remote.push_pack("main", false, &pack).await.expect(200);
    let done = cloned(&remote, &folder, ALL).await.unwrap();
    assert_eq!(done.fetched.commits, 122, "what was there was not fetched again");
    assert!(!folder.join(&gone).exists(), "a file of the earlier head is gone");
    let kept = kept(&folder);
    assert_eq!(kept.commits().len(), 522);
    assert_files(&folder, &kept, &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_answer_comes_all_the_same() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(73);
    let mut tree = builder.files(3);
    let mut tip = builder.commit(&[], &tree);
    for number in 0..4 {
        tree.insert(format!("small-{number}"), builder.bytes(60_000));
        tip = builder.commit(&[&tip], &tree);
    }
    for number in 0..3 {
        tree.insert(format!("large-{number}"), builder.bytes(100_000 << (3 * number)));
    }
    tree.insert("empty".to_owned(), Default::default());
    let tip = builder.commit(&[&tip], &tree);
    let history = builder.finish();
    let remote = stocked(&hub, &history).await;
    let through = Remote { hub: door(hub.url(), 150_000, usize::MAX).await, ..remote.clone() };
    let home = TempDir::new().unwrap();
    cloned(&through, home.path(), ALL).await.unwrap();
    assert_is(home.path(), &history, &tip);
}

/// Lambda cuts an answer off at 200 MB, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_answer_is_refused_saying_so_and_a_clone_takes_it_in_parts() {
    let hub = Hub::start_streaming(100_000).await;
    let mut builder = Builder::new(12);
    let mut tree = builder.files(4);
    let mut last = builder.commit(&[], &tree);
    for number in 0..200 {
        tree.insert("tracks/00/take-0000.mid".to_owned(), format!("take {number}").into());
        last = builder.commit(&[&last], &tree);
    }
    // No answer has all of what one of these brings.
    for name in ["a", "b", "c"] {
        let content = builder.bytes(45_000);
        tree.insert(format!("{name}.wav"), content.clone());
        tree.insert(format!("{name}2.wav"), builder.bytes(45_000));
        tree.insert(format!("{name}3.wav"), builder.bytes(45_000));
        last = builder.commit(&[&last], &tree);
    }
    let history = builder.finish();
    let remote = stocked(&hub, &history).await;
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        // Its commits and snapshots are too much, or the objects of its last commit.
        let parent = history.commit(&last).parents()[0];
        for have in [&[][..], &[parent]] {
            let refusal = remote.ask(&[&last], have).await.refused(413, "answer_too_large");
            assert!(refusal.detail.contains("musehub clone"), "{}", refusal.detail);
        }
        let few = history.ids()[3].clone();
        remote.ask(&[&few], &[] as &[&str]).await.expect(200);
    }
    let folder = TempDir::new().unwrap();
    cloned(&remote, folder.path(), ALL).await.unwrap();
    assert_is(folder.path(), &history, &last);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_commits_of_a_branch_come_alone_and_the_rest_later() {
    let hub = Hub::start().await;
    let history = history::linear(74, 40, 6, 1);
    let ids = history.ids();
    let remote = stocked(&hub, &history).await;
    let side = history::linear(75, 3, 2, 1);
    remote.push(&side, "side", side.last()).await.expect(200);

    let home = TempDir::new().unwrap();
    let wanted = Wanted { branch: Some("main".to_owned()), depth: Some(3) };
    let done = cloned(&remote, home.path(), wanted).await.unwrap();
    assert_eq!((done.fetched.commits, done.cut), (3, 1));
    let muse = home.path().join(".muse");
    assert_eq!(text(muse.join("shallow")), format!("{}\n", ids[36]));
    assert!(!muse.join("refs/heads/side").exists());
    assert_files(home.path(), &history, history.last());

    let more = cloned(&remote, home.path(), newest(10)).await.unwrap();
    assert_eq!((more.fetched.commits, more.cut, more.branch), (10, 1, None));
    assert!(refused(&remote, home.path(), only("main")).await.contains("muse pull"));
    let rest = cloned(&remote, home.path(), ALL).await.unwrap();
    assert_eq!((rest.fetched.commits, rest.cut), (27, 0));
    assert!(!muse.join("shallow").exists());
    assert_is(home.path(), &history, history.last());
    assert!(refused(&remote, home.path(), ALL).await.contains("muse pull"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_has_something_and_a_repository_without_branches_are_refused() {
    let hub = Hub::start().await;
    let history = history::linear(76, 2, 1, 1);
    let remote = stocked(&hub, &history).await;
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("mine"), "precious").unwrap();
    assert!(refused(&remote, home.path(), ALL).await.contains("not empty"));
    assert_eq!(text(home.path().join("mine")), "precious");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);

    let folder = home.path().join("new");
    assert!(refused(&remote, &folder, only("gone")).await.contains("no branch 'gone'"));
    let empty = hub.made_repo(&hub.dev(), false).await;
    assert!(refused(&empty, &folder, ALL).await.contains("no branches"));
    let missing = Remote { slug: "never-made".to_owned(), ..remote.anonymous() };
    assert!(refused(&missing, &folder, ALL).await.contains("no repository"));
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_written_where_a_path_should_not_lead_and_nothing_forged_is_kept() {
    // It takes any id and any path.
    let hub = Hub::start_lenient().await;
    for (number, path) in ["../outside", ".muse/config.toml", ".muse.partial/HEAD", "/outside"].into_iter().enumerate()
    {
        let mut builder = Builder::new(77 + number as u64);
        let content = builder.bytes(9);
        let tip = builder.commit(&[], &[(path.to_owned(), content)].into());
        let history = builder.finish();
        let remote = stocked(&hub, &history).await;
        let home = TempDir::new().unwrap();
        let folder = home.path().join("song");
        cloned(&remote, &folder, ALL).await.unwrap_err();
        assert!(!folder.join(".muse").exists(), "{path}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "{path}");
        assert!(!folder.join(".muse.partial/HEAD").exists(), "{path} {tip}");
    }
    let history = history::linear(90, 2, 1, 1);
    let mut forged = history.pack_of(history.last());
    forged.commits[1].set("message", "another story");
    let remote = hub.remote(&hub.dev(), &fresh_name("song")).speaking(Encoding::Msgpack);
    remote.push_pack("main", false, &forged).await.expect(200);
    let home = TempDir::new().unwrap();
    let error = cloned(&remote, home.path(), ALL).await.unwrap_err();
    assert!(error.to_string().contains("not what its id says"), "{error}");
    assert!(!home.path().join(".muse").exists());
}
