//! A folder that a stock client works in, pushed to a hub and fetched into in parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::id::BranchName;
use indicatif::ProgressBar;
use local::transfer::TransferError;
use local::transfer::fetch::{Fetched, fetch};
use local::transfer::folder::Folder;
use local::transfer::push::{Pushed, push};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Pack, Tree};
use tests::hub::{Hub, fresh_name};
use tests::ids;

use crate::clone::{ALL, assert_files, assert_is, cloned, kept, newest, only, stocked, text};
use crate::mirror::door;
use crate::whole::url;

fn name(text: &str) -> BranchName {
    text.parse().unwrap()
}

async fn pushed_with(to: &Remote, folder: &Path, branch: &str, force: bool) -> Result<Pushed, TransferError> {
    let folder = Folder::find(folder).unwrap();
    push(&url(to), &folder, &name("origin"), &name(branch), force, &ProgressBar::hidden()).await
}

async fn pushed(to: &Remote, folder: &Path, branch: &str) -> Result<Pushed, TransferError> {
    pushed_with(to, folder, branch, false).await
}

async fn fetched(from: &Remote, folder: &Path) -> Result<Fetched, TransferError> {
    fetch(&url(from), &Folder::find(folder).unwrap(), &name("origin"), &ProgressBar::hidden()).await
}

fn object_path(folder: &Path, id: &str) -> std::path::PathBuf {
    folder.join(".muse/objects").join(&id[..2]).join(&id[2..])
}

/// Writes commits with all that belongs to them, and moves a branch, as the stock client does.
fn commit(folder: &Path, history: &History, commits: &[String], branch: &str) {
    let muse = folder.join(".muse");
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let record = |value: &Value| format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    let pack = history.pack(commits);
    for object in &pack.objects {
        write(&object_path(folder, &object.id), &object.content);
    }
    for snapshot in &pack.snapshots {
        let text =
            json!({"snapshot_id": snapshot.id, "manifest": snapshot.manifest, "created_at": snapshot.created_at});
        write(&muse.join("snapshots").join(format!("{}.json", snapshot.id)), record(&text).as_bytes());
    }
    for commit in &pack.commits {
        let text = Value::Object(commit.0.clone());
        write(&muse.join("commits").join(format!("{}.json", commit.id())), record(&text).as_bytes());
    }
    write(&muse.join("refs/heads").join(branch), commits.last().unwrap().as_bytes());
}

/// A clone of a repo that has the commits of a history up to the one at `last`.
async fn clone_of(hub: &Hub, history: &History, last: usize) -> (Remote, TempDir) {
    let remote = hub.remote(&hub.dev(), &fresh_name("song")).speaking(Encoding::Msgpack);
    remote.push(history, "main", &history.ids()[last]).await.expect(200);
    let home = TempDir::new().unwrap();
    cloned(&remote, home.path(), ALL).await.unwrap();
    (remote, home)
}

/// All that a folder says of itself but what it knows of remotes.
fn own(folder: &Path) -> BTreeMap<String, String> {
    let muse = folder.join(".muse");
    let heads = fs::read_dir(muse.join("refs/heads")).unwrap().map(|entry| entry.unwrap().path());
    let files =
        heads.filter(|path| path.is_file()).chain(["HEAD", "config.toml", "repo.json"].map(|name| muse.join(name)));
    files.map(|path| (path.display().to_string(), text(&path))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_in_one_clone_and_pushed_is_in_the_next() {
    let hub = Hub::start().await;
    // More commits than one part has.
    let history = history::linear(171, 620, 6, 1);
    let ids = history.ids();
    let (remote, home) = clone_of(&hub, &history, 9).await;
    let folder = home.path();
    commit(folder, &history, &ids[10..], "main");
    commit(folder, &history, &ids[300..=300], "side/track");
    let before = own(folder);
    let done = pushed(&remote, folder, "main").await.unwrap();
    assert_eq!(
        (done.head.to_string(), done.delivered.branches.as_slice()),
        (ids[619].clone(), &["main".to_owned()][..])
    );
    let new = history.objects.len() - history.objects_of(&ids[..10]).len();
    assert_eq!((done.delivered.sent.commits, done.delivered.sent.objects as usize), (610, new));
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), ids[619]);
    assert_eq!(own(folder), before);

    // The hub has all that another branch reaches.
    let side = pushed(&remote, folder, "side/track").await.unwrap().delivered;
    assert_eq!((side.sent, side.branches), (Default::default(), vec!["side/track".to_owned()]));
    assert_eq!(text(folder.join(".muse/remotes/origin/side/track")), ids[300]);
    let again = pushed(&remote, folder, "main").await.unwrap().delivered;
    assert_eq!((again.sent, again.branches), (Default::default(), Vec::new()));

    let next = TempDir::new().unwrap();
    cloned(&remote, next.path(), ALL).await.unwrap();
    assert_is(next.path(), &history, &ids[619]);
    assert_eq!(text(next.path().join(".muse/refs/heads/side/track")), ids[300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_history_comes_through_by_a_folder() {
    let hub = Hub::start().await;
    let history = history::dag(172, 60, 12);
    let from = stocked(&hub, &history).await;
    let heads = history.heads();
    for (number, head) in heads.iter().enumerate() {
        from.push(&history, &format!("b{number}"), head).await.expect(200);
    }
    let home = TempDir::new().unwrap();
    cloned(&from, home.path(), ALL).await.unwrap();
    let to = hub.made_repo(&hub.dev(), false).await.speaking(Encoding::Msgpack);
    for branch in from.heads().await.keys() {
        pushed(&to, home.path(), branch).await.unwrap();
    }
    assert_eq!(to.heads().await, from.heads().await);
    let next = TempDir::new().unwrap();
    cloned(&to, next.path(), ALL).await.unwrap();
    assert_is(next.path(), &kept(home.path()), history.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_pushed_is_fetched_and_nothing_else_changes() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(173);
    let mut tree = builder.files(5);
    tree.insert("empty".to_owned(), Default::default());
    let mut tip = builder.commit(&[], &tree);
    for _ in 0..300 {
        tip = builder.child(&[&tip]);
    }
    let (remote, home) = clone_of(&hub, builder.history(), 300).await;
    let folder = home.path();
    let nothing = fetched(&remote, folder).await.unwrap();
    assert_eq!((nothing.fetched, nothing.branches), (Default::default(), Vec::new()));

    // Commits that the hub lacks are the newest in the folder, and the stock client has dropped the empty object.
    let mine = builder.child(&[&tip]);
    commit(folder, builder.history(), &[mine], "main");
    fs::remove_file(object_path(folder, &ids::object_id(b""))).unwrap();
    // Another object is gone, and no new commit brings it.
    let lost = ids::object_id(&tree.values().next().unwrap()[..]);
    let lost = if lost == ids::object_id(b"") { ids::object_id(tree.values().nth(1).unwrap()) } else { lost };
    fs::remove_file(object_path(folder, &lost)).unwrap();
    let before = own(folder);

    let theirs = builder.child(&[&tip]);
    let merged = builder.child(&[&theirs, &tip]);
    let side = builder.child(&[&tip]);
    remote.push(builder.history(), "main", &merged).await.expect(200);
    remote.push(builder.history(), "side/track", &side).await.expect(200);
    let done = fetched(&remote, folder).await.unwrap();
    assert_eq!(done.fetched.commits, 3, "what is here is not fetched again");
    let seen = done.branches.iter().map(|branch| (&*branch.name, branch.was_seen, branch.commits)).collect::<Vec<_>>();
    assert_eq!(seen, [("main", true, 2), ("side/track", false, 1)]);
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), merged);
    assert_eq!(text(folder.join(".muse/remotes/origin/side/track")), side);
    assert_eq!(own(folder), before);
    let kept = kept(folder);
    assert_eq!((kept.commits().len(), &kept.objects), (305, &builder.history().objects));
    assert_files(folder, builder.history(), &tip);
    let again = fetched(&remote, folder).await.unwrap();
    assert_eq!((again.fetched, again.branches), (Default::default(), Vec::new()));

    // The last of it did not come before a fetch broke off.
    fs::remove_file(folder.join(".muse/commits").join(format!("{merged}.json"))).unwrap();
    fs::write(folder.join(".muse/remotes/origin/main"), &tip).unwrap();
    let rest = fetched(&remote, folder).await.unwrap();
    assert_eq!((rest.fetched.commits, rest.branches.len(), rest.branches[0].commits), (1, 1, 2));
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), merged);

    // A branch gives its name to a folder of branches, and takes it back.
    let path = format!("api/repos/{}/{}/branches/side%2Ftrack", remote.owner, remote.slug);
    remote.at_root("DELETE", &path, &[]).await.expect(200);
    remote.push_pack("side", false, &Pack::default().with_head("side", &side)).await.expect(200);
    assert_eq!(fetched(&remote, folder).await.unwrap().branches.len(), 1);
    assert_eq!(text(folder.join(".muse/remotes/origin/side")), side);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_parted_is_refused_before_anything_is_sent_and_put_there_by_force() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(174);
    let root = builder.child(&[]);
    let (remote, home) = clone_of(&hub, builder.history(), 0).await;
    let folder = home.path();
    let (mine, theirs) = (builder.child(&[&root]), builder.child(&[&root]));
    let merged = builder.child(&[&mine, &theirs]);
    let history = builder.finish();
    remote.push(&history, "main", &theirs).await.expect(200);
    remote.push(&history, "a-first", &theirs).await.expect(200);
    let diverged = async |folder: &Path| match pushed(&remote, folder, "main").await.unwrap_err() {
        TransferError::Diverged(reason) => {
            assert!(reason.contains("musehub fetch") && reason.contains("--force"), "{reason}")
        }
        other => panic!("{other:?}"),
    };
    // The folder is behind; it has a commit of its own; it has fetched what it does not build on.
    diverged(folder).await;
    commit(folder, &history, std::slice::from_ref(&mine), "main");
    diverged(folder).await;
    fetched(&remote, folder).await.unwrap();
    diverged(folder).await;
    assert_eq!(remote.heads().await["main"], theirs);
    let objects: Vec<String> = history.objects_of(std::slice::from_ref(&mine)).into_iter().collect();
    assert_eq!(remote.missing(&objects).await, objects, "nothing was sent");
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), theirs);

    // Commits that wait for the merge to come do so behind the branch itself, so a token for that alone will do.
    let repo = format!("{}/{}", remote.owner, remote.slug);
    let narrow = json!({"name": "push", "repos": [repo], "access": "write", "branches": ["main"]});
    let token = hub.post("api/tokens", remote.token.as_deref(), &narrow).await.expect(201);
    let narrow = remote.with_token(token["token"].as_str().unwrap());
    commit(folder, &history, &[theirs.clone(), merged.clone()], "main");
    pushed(&narrow, folder, "main").await.unwrap();
    assert_eq!(remote.heads().await["main"], merged);

    commit(folder, &history, std::slice::from_ref(&mine), "main");
    diverged(folder).await;
    pushed_with(&remote, folder, "main", true).await.unwrap();
    assert_eq!(remote.heads().await, [("a-first".to_owned(), theirs), ("main".to_owned(), mine.clone())].into());
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), mine);
}

/// What came through before a push broke off is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_broke_off_goes_on_behind_what_came_through() {
    let hub = Hub::start().await;
    let history = history::linear(175, 900, 4, 1);
    let ids = history.ids();
    let (remote, home) = clone_of(&hub, &history, 0).await;
    let folder = home.path();
    commit(folder, &history, &ids[1..], "main");
    let through = Remote { hub: door(hub.url(), usize::MAX, 1).await, ..remote.clone() };
    let broken = pushed(&through, folder, "main").await.unwrap_err().to_string();
    assert!(broken.contains("shut"), "{broken}");
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), ids[0], "it is not there yet");
    let come = remote.clone_all().await.commits.len();
    assert!(1 < come && come < 900, "{come} are there, and whole");
    let rest = pushed(&remote, folder, "main").await.unwrap().delivered.sent;
    assert_eq!(rest.commits as usize, 900 - come);
    assert_eq!(remote.clone_all().await.commits.len(), 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_leads_out_of_the_folder_changes_nothing_at_the_hub() {
    let hub = Hub::start().await;
    let history = history::linear(176, 600, 4, 1);
    let ids = history.ids();
    let (remote, home) = clone_of(&hub, &history, 0).await;
    let folder = home.path();
    commit(folder, &history, &ids[1..], "main");
    let heads = remote.heads().await;
    let refused = async |why: &str| {
        let error = pushed(&remote, folder, "main").await.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(remote.heads().await, heads);
    };
    let last = history.commit(&ids[599]);
    let snapshot = &history.snapshots[last.snapshot_id().unwrap()];
    let before = history.objects_of(&ids[..599]);
    let (path, object) = snapshot.manifest.iter().find(|(_, object)| !before.contains(*object)).unwrap();
    let record = |kind: &str, id: &str| folder.join(".muse").join(kind).join(format!("{id}.json"));
    // Of what is sent last. Each is put back.
    for (file, why) in [
        (object_path(folder, object), path.as_str()),
        (record("snapshots", &snapshot.id), "not what its name says"),
        (record("commits", last.id()), "not what its name says"),
    ] {
        let whole = fs::read(&file).unwrap();
        let damaged = String::from_utf8_lossy(&whole).replace("take", "fake").replace("tracks", "trucks").into_bytes();
        fs::write(&file, if damaged == whole { b"other".to_vec() } else { damaged }).unwrap();
        refused(why).await;
        fs::remove_file(&file).unwrap();
        refused("not").await;
        fs::write(&file, whole).unwrap();
    }
    let new: Vec<String> = history.objects_of(&ids[1..]).difference(&history.objects_of(&ids[..1])).cloned().collect();
    assert_eq!(remote.missing(&new).await.len(), new.len(), "nothing was sent");

    for path in ["../outside", "/outside", ".muse/config.toml"] {
        let mut builder = Builder::new(177);
        let tip = builder.commit(&[], &Tree::from([(path.to_owned(), b"x"[..].into())]));
        commit(folder, builder.history(), &[tip], "astray");
        let error = pushed(&remote, folder, "astray").await.unwrap_err().to_string();
        assert!(error.contains("rename the file"), "{error}");
    }
    assert_eq!(remote.heads().await, heads);
    pushed(&remote, folder, "main").await.unwrap();
    assert_eq!(remote.heads().await["main"], ids[599]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_with_holes_is_pushed_only_where_they_are_filled() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(178);
    let mut tip = builder.child(&[]);
    let early = tip.clone();
    for _ in 0..9 {
        tip = builder.child(&[&tip]);
    }
    let remote = stocked(&hub, builder.history()).await;
    let home = TempDir::new().unwrap();
    let folder = home.path();
    cloned(&remote, folder, newest(2)).await.unwrap();
    let mine = builder.child(&[&tip]);
    commit(folder, builder.history(), std::slice::from_ref(&mine), "main");
    let done = pushed(&remote, folder, "main").await.unwrap();
    assert_eq!(done.delivered.sent.commits, 1);

    // A repo that lacks what is behind the cut.
    let other = hub.made_repo(&hub.dev(), false).await;
    let refused = pushed(&other, folder, "main").await.unwrap_err().to_string();
    assert!(refused.contains("cut off") && refused.contains("musehub clone"), "{refused}");
    assert!(other.heads().await.is_empty());

    // What goes on comes; what parted behind the cut waits.
    let next = builder.child(&[&mine]);
    let parted = builder.child(&[&early]);
    remote.push(builder.history(), "main", &next).await.expect(200);
    remote.push(builder.history(), "side", &parted).await.expect(200);
    let done = fetched(&remote, folder).await.unwrap();
    assert_eq!((done.fetched.commits, done.behind_cut), (1, vec!["side".to_owned()]));
    assert_eq!(text(folder.join(".muse/remotes/origin/main")), next);
    assert!(!folder.join(".muse/remotes/origin/side").exists());
    // Whether a branch builds on what is behind the cut, the hub says.
    remote.push_pack("early", false, &Pack::default().with_head("early", &early)).await.expect(200);
    for branch in ["early", "side"] {
        commit(folder, builder.history(), std::slice::from_ref(&mine), branch);
    }
    assert_eq!(pushed(&remote, folder, "early").await.unwrap().delivered.branches, ["early"]);
    assert!(matches!(pushed(&remote, folder, "side").await, Err(TransferError::Diverged(_))));
    cloned(&remote, folder, ALL).await.unwrap();
    let done = fetched(&remote, folder).await.unwrap();
    assert_eq!((done.branches.len(), done.behind_cut), (1, Vec::new()));
    assert_eq!(kept(folder).commits().len(), builder.history().commits().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_without_the_repository_and_a_folder_without_the_branch_are_said() {
    let hub = Hub::start().await;
    let history = history::linear(179, 2, 1, 1);
    let (remote, home) = clone_of(&hub, &history, 1).await;
    let missing = Remote { slug: fresh_name("never-made"), ..remote.clone() };
    let refused = pushed(&missing, home.path(), "main").await.unwrap_err().to_string();
    assert!(refused.contains("musehub repo create http"), "{refused}");
    assert!(fetched(&missing, home.path()).await.unwrap_err().to_string().contains("no repository"));
    let refused = pushed(&remote, home.path(), "gone").await.unwrap_err().to_string();
    assert!(refused.contains("has no branch 'gone'"), "{refused}");
    // One branch was cloned, and all are fetched.
    remote.push_pack("side", false, &Pack::default().with_head("side", &history.ids()[0])).await.expect(200);
    let one = TempDir::new().unwrap();
    cloned(&remote, one.path(), only("main")).await.unwrap();
    assert_eq!(fetched(&remote, one.path()).await.unwrap().branches.len(), 1);
    assert_eq!(text(one.path().join(".muse/remotes/origin/side")), history.ids()[0]);
}
