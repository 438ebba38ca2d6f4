//! A whole hub in a folder, and a hub out of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::id::Ids;
use common::id::RepoId;
use indicatif::ProgressBar;
use local::backends::Backends;
use local::backup::BackupError;
use local::backup::item::to_json;
use local::backup::restore::{Restored, prove, restore};
use local::backup::save::{Saved, save};
use local::serve::{Quotas, Storage};
use local::stores::{Stores, Which};
use local::transfer::at_hand::hub_over;
use local::transfer::export::export;
use local::transfer::verify::verify;
use serde_json::{Value, json};
use service::Target;

use store::Store;
use store::ambient::Ambient;
use store::repo::Load;
use store::upkeep::compact::Limits;
use tests::client::{Remote, send};
use tests::history;
use tests::hub::{Hub, until};
use tests::wiretap::{Reaction, Wiretap};

use crate::whole::{Whole, stocked};

fn store_of(hub: &Hub) -> Arc<Store> {
    Arc::clone(&hub.running().hub().store)
}

async fn saved(store: &Arc<Store>, folder: &Path) -> Saved {
    save(store, folder, None, &ProgressBar::hidden()).await.unwrap()
}

async fn restored(folder: &Path, store: &Arc<Store>) -> Result<Restored, BackupError> {
    restore(store, folder, &ProgressBar::hidden()).await
}

/// Stores that are empty, in memory.
async fn empty() -> (Backends, Arc<Store>) {
    let backends = Backends::start(None, "a secret of nobody's").await.unwrap();
    let store = Store::new(&backends.dynamodb, &backends.s3, backends.location.clone(), Ambient::system());
    (backends, Arc::new(store))
}

/// Every item by its key.
async fn items_of(store: &Store) -> BTreeMap<String, Value> {
    let (mut items, mut after) = (BTreeMap::new(), None);
    loop {
        let page = store.scan(after).await.unwrap();
        for item in &page.entries {
            let key = format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
            items.insert(key, to_json(item).unwrap());
        }
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

/// Every item by its key, and every object of the bucket, but for what is on its way and what is written behind a push.
async fn everything(store: &Store) -> (BTreeMap<String, Value>, BTreeMap<String, Vec<u8>>) {
    let mut items = items_of(store).await;
    items.retain(|key, _| !key.starts_with("UPLOAD#") && !key.starts_with("PUBLIC "));
    let mut objects = BTreeMap::new();
    for prefix in ["packs/", "objects/"] {
        let mut from = None;
        loop {
            let page = store.objects_page(prefix, from).await.unwrap();
            for stored in page.entries {
                let bytes = store.read(&stored.key, 0..stored.size).await.unwrap();
                objects.insert(stored.key, bytes.to_vec());
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    // What was merged stays for those who read it, and no backup needs it.
    let is_named = |key: &str| match key.strip_prefix("packs/").and_then(|key| key.strip_suffix(".pack")) {
        Some(pack) => items.contains_key(&format!("REPO#{}", pack.replace('/', " PACK#"))),
        None => true,
    };
    objects.retain(|key, _| is_named(key));
    (items, objects)
}

/// A hub with users, repos with everything, and a private one.
async fn populated() -> (Hub, Vec<Remote>) {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let user = hub.user().await;
    let private = hub.made_repo(&user, true).await;
    let history = history::linear(1, 3, 3, 1);
    private.push(&history, "main", history.last()).await.expect(200);
    let deleted = hub.made_repo(&user, false).await;
    let repos = vec![stocked(&hub, 1, 12).await, stocked(&hub, 2, 12).await, private];
    // Something that no repo has, and what an operator allows.
    store_of(&hub).draw_token_secret().await.unwrap();
    store_of(&hub).set_quota_of_user(&user.handle.parse().unwrap(), Some(1 << 40), Some(7)).await.unwrap();
    for repo in &repos {
        let id = repo.repo_id().await.parse().unwrap();
        settle(&store_of(&hub), &id).await;
    }
    // One that has had another name, by which it is known here, and one that is deleted and can be undeleted.
    for (method, remote, body) in [("PATCH", &repos[2], json!({"slug": "renamed"})), ("DELETE", &deleted, Value::Null)]
    {
        let url = format!("{}/api/repos/{}/{}", hub.url(), remote.owner, remote.slug);
        let bearer = format!("Bearer {}", remote.token.as_ref().unwrap());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        send(method, &url, &headers, body.to_string()).await.unwrap().expect(200);
    }
    // The list of public repos is written behind a push: two have one.
    until(async || store_of(&hub).public_repos(None).await.unwrap().len() == 2).await;
    (hub, repos)
}

/// Merges the packs of a repo until there is nothing to merge, for the hub too, which does so by itself.
async fn settle(store: &Store, repo: &RepoId) {
    while !store.compact(repo, Limits::ALL).await.unwrap().is_done {}
}

/// The rest of the hub is copied all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_whose_file_was_cut_off_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("hub"), folder.path().join("backup"));
    let hub = Hub::start_own(Storage::Directory(data.clone()), false).await;
    let history = history::linear(1, 3, 3, 1);
    hub.repo().await.push(&history, "main", history.last()).await.expect(200);
    assert_eq!(saved(&store_of(&hub), &backup).await.damaged, [""; 0]);

    let bucket = fs::read_dir(data.join("s3/buckets")).unwrap().next().unwrap().unwrap().path();
    let files: Vec<PathBuf> = fs::read_dir(bucket).unwrap().map(|file| file.unwrap().path()).collect();
    let pack = files.iter().find(|path| path.to_string_lossy().ends_with("pack")).unwrap();
    let length = fs::metadata(pack).unwrap().len();
    for left in [length / 2, 10, 0] {
        fs::File::options().write(true).open(pack).unwrap().set_len(left).unwrap();
        let fresh = folder.path().join(left.to_string());
        let saved = saved(&store_of(&hub), &fresh).await;
        assert_eq!((saved.repos, saved.files, saved.damaged.len()), (1, 1, 1));
        assert!(saved.damaged[0].starts_with("packs/") && saved.damaged[0].ends_with(".pack"), "{:?}", saved.damaged);
    }
    hub.stop().await;
}

/// So is the rest of the repository.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_read_and_a_pack_that_is_gone_are_named_and_the_others_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hub");
    let hub = Hub::start_own(Storage::Directory(data.clone()), false).await;
    let history = history::linear(1, 4, 3, 1);
    let (damaged, whole) = (hub.repo().await, hub.repo().await);
    for tip in history.ids() {
        damaged.push(&history, "main", &tip).await.expect(200);
    }
    whole.push(&history, "main", history.last()).await.expect(200);
    let store = store_of(&hub);
    let id = damaged.repo_id().await.parse().unwrap();
    let tables_only = Limits { pack_bytes: 1, ..Limits::ALL };
    while !store.compact(&id, tables_only).await.unwrap().is_done {}
    let first = saved(&store, &folder.path().join("whole")).await;
    assert_eq!(
        (first.files, &first.damaged, &first.lost),
        (6, &Vec::new(), &Vec::new()),
        "four packs, their index, a pack"
    );

    let bucket = fs::read_dir(data.join("s3/buckets")).unwrap().next().unwrap().unwrap().path();
    let files: Vec<PathBuf> = fs::read_dir(bucket).unwrap().map(|file| file.unwrap().path()).collect();
    let index = files.iter().find(|path| path.to_string_lossy().ends_with("index")).unwrap();
    let kept = fs::read(index).unwrap();
    fs::write(index, &kept[..100]).unwrap();
    let without_index = saved(&store, &folder.path().join("index")).await;
    assert_eq!((without_index.repos, without_index.files, without_index.lost.len()), (2, 6, 0));
    assert!(without_index.damaged.iter().all(|key| key.ends_with(".index")), "{:?}", without_index.damaged);
    assert_eq!(without_index.damaged.len(), 1);

    fs::write(index, &kept).unwrap();
    // Files are named by their percent-encoded keys.
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let index_name = name(index);
    let (beside_index, _) = index_name.rsplit_once("%2F").unwrap();
    let is_of = |path: &&PathBuf| name(path).starts_with(beside_index) && name(path).ends_with("pack");
    fs::remove_file(files.iter().find(is_of).unwrap()).unwrap();
    let without_pack = saved(&store, &folder.path().join("pack")).await;
    assert_eq!((without_pack.repos, without_pack.files, without_pack.damaged.len()), (2, 5, 0));
    assert!(without_pack.lost[0].ends_with(".pack") && without_pack.lost.len() == 1, "{:?}", without_pack.lost);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_and_every_object_comes_back_and_every_clone_is_the_same() {
    let (hub, repos) = populated().await;
    let folder = tempfile::tempdir().unwrap();
    let (backup, data) = (folder.path().join("backup"), folder.path().join("hub"));
    let saved = saved(&store_of(&hub), &backup).await;
    assert_eq!((saved.repos, saved.damaged.len()), (4, 0));
    prove(&backup, &ProgressBar::hidden()).unwrap();

    let stores = Stores::open_or_make(&Which::Folder(data.clone())).await.unwrap();
    let done = restored(&backup, &stores.store).await.unwrap();
    assert_eq!((done.files, done.there), (saved.files, 0));
    assert_eq!(items_of(&stores.store).await.len() as u64, saved.items);
    let (items, objects) = everything(&store_of(&hub)).await;
    let (items_again, objects_again) = everything(&stores.store).await;
    assert_eq!(items_again, items);
    assert_eq!(objects_again, objects);
    stores.close().await;

    let again = Hub::start_own(Storage::Directory(data), false).await;
    for repo in repos {
        let there = Remote { hub: again.url().to_owned(), ..repo.clone() };
        assert_eq!(Whole::of(&there).await, Whole::of(&repo).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_users_repos_hold_is_counted_anew_after_a_restore() {
    let hub = Hub::start_bounded(Quotas { user_bytes: Some(1 << 30), ..Quotas::default() }).await;
    let user = hub.user().await;
    let remote = hub.made_repo(&user, false).await;
    remote.push(&history::linear(3, 3, 3, 1), "main", history::linear(3, 3, 3, 1).last()).await.expect(200);
    let (handle, id) = (user.handle.parse().unwrap(), remote.repo_id().await.parse().unwrap());
    until(async || store_of(&hub).usage(&handle).await.unwrap().bytes > 0).await;
    settle(&store_of(&hub), &id).await;
    store_of(&hub).count_usage(&id).await.unwrap();
    let counted = store_of(&hub).usage(&handle).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    saved(&store_of(&hub), folder.path()).await;
    let (_backends, store) = empty().await;
    restored(folder.path(), &store).await.unwrap();
    let store = Arc::try_unwrap(store).ok().expect("nothing else has it").counting_usage(true);
    assert_eq!(store.usage(&handle).await.unwrap().bytes, 0);
    store.count_usage(&id).await.unwrap();
    assert_eq!(store.usage(&handle).await.unwrap(), counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_copies_only_what_is_new_and_forgets_what_is_gone() {
    let (hub, repos) = populated().await;
    let folder = tempfile::tempdir().unwrap();
    let store = store_of(&hub);
    let first = saved(&store, folder.path()).await;
    assert_eq!(first.copied, first.files);
    let second = saved(&store, folder.path()).await;
    assert_eq!((second.copied, second.files, second.items), (0, first.files, first.items));

    let history = history::linear(9, 2, 2, 1);
    repos[0].push(&history, "later", history.last()).await.expect(200);
    // What no item names is left alone in the hub, and does not stay in the folder.
    fs::write(folder.path().join("s3/packs/left-over"), "left over").unwrap();
    let third = saved(&store, folder.path()).await;
    // The kit stages the objects before it pushes, so there are two packs.
    assert_eq!((third.copied, third.files), (2, first.files + 2));
    assert!(!folder.path().join("s3/packs/left-over").exists());
    let lists = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut lists: Vec<String> = lists.map(|name| name.split('-').next().unwrap().to_owned()).collect();
    lists.sort();
    assert_eq!(lists, ["backup.lock", "files", "items", "manifest.json", "s3"]);

    let (_backends, there) = empty().await;
    restored(folder.path(), &there).await.unwrap();
    assert_eq!(everything(&there).await, everything(&store).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_may_look_into_a_backup() {
    let (hub, _) = populated().await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    save(&store_of(&hub), &backup, Some("the secret"), &ProgressBar::hidden()).await.unwrap();
    let mut waiting: Vec<PathBuf> = vec![backup.clone()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", path.display());
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    let (_backends, there) = empty().await;
    assert_eq!(restored(&backup, &there).await.unwrap().secret.as_deref(), Some("the secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_hold_a_hub_are_not_touched_and_a_restore_goes_on() {
    let (hub, _) = populated().await;
    let folder = tempfile::tempdir().unwrap();
    let store = store_of(&hub);
    saved(&store, folder.path()).await;
    let before = everything(&store).await;
    let refused = restored(folder.path(), &store).await.unwrap_err().to_string();
    assert!(refused.contains("there is a hub in these stores already"), "{refused}");
    assert_eq!(everything(&store).await, before);

    // A file is damaged, so it ends half way; when it is whole again, the restore goes on.
    let (_backends, there) = empty().await;
    let key = before.1.keys().next_back().unwrap();
    let path = folder.path().join("s3").join(key);
    let bytes = fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&path, damaged).unwrap();
    let refused = restored(folder.path(), &there).await.unwrap_err().to_string();
    assert!(refused.contains("is not what was backed up"), "{refused}");
    assert!(prove(folder.path(), &ProgressBar::hidden()).is_err());
    let target = everything(&there).await.0;
    assert!(target.keys().all(|key| key.starts_with("RESTORE")), "no item came: {target:?}");
    fs::write(&path, bytes).unwrap();

    // Another backup must not be mixed in.
    let other = tempfile::tempdir().unwrap();
    saved(&store, other.path()).await;
    let refused = restored(other.path(), &there).await.unwrap_err().to_string();
    assert!(refused.contains("another backup was being restored"), "{refused}");
    restored(folder.path(), &there).await.unwrap();
    assert_eq!(everything(&there).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_file_of_a_backup_is_found() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let remote = hub.repo().await;
    let history = history::linear(1, 3, 3, 1);
    remote.push(&history, "main", history.last()).await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    save(&store_of(&hub), folder.path(), Some("the secret"), &ProgressBar::hidden()).await.unwrap();
    let mut waiting: Vec<PathBuf> = vec![folder.path().to_owned()];
    let mut files = 0;
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.ends_with("backup.lock") || path.ends_with("manifest.json") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for at in [0, bytes.len() / 3, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            fs::write(&path, damaged).unwrap();
            assert!(prove(folder.path(), &ProgressBar::hidden()).is_err(), "{} at {at}", path.display());
        }
        fs::write(&path, bytes).unwrap();
        files += 1;
    }
    assert_eq!(files, 4, "items, files, secret, a pack");
    prove(folder.path(), &ProgressBar::hidden()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_lands_between_any_two_readings_of_a_backup_leaves_it_whole() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let history = history::linear(6, 40, 2, 1);
    let remote = hub.repo().await;
    let ids = history.ids();
    remote.push(&history, "main", &ids[0]).await.expect(200);

    // Before each reading of the repo the branch and a tag move on.
    let backends = hub.running().backends();
    let tap = Wiretap::new();
    let tapped = |config: &aws_config::SdkConfig| config.clone().into_builder().http_client(tap.clone()).build();
    let (dynamodb, s3) = (tapped(&backends.dynamodb), tapped(&backends.s3));
    let store = Arc::new(Store::new(&dynamodb, &s3, backends.location.clone(), Ambient::system()));
    let (readings, mut next) = (Arc::new(AtomicUsize::new(0)), 1);
    let counted = Arc::clone(&readings);
    tap.script(move |call| {
        if !call.name.starts_with("Query") && !call.name.starts_with("LIST") {
            return Reaction::Forward;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let (remote, history, commit) = (remote.clone(), history.clone(), ids[next].clone());
        next += 1;
        Reaction::After(Box::pin(async move {
            let bundle = history.pack_of(&commit).with_head("main", &commit);
            remote.push_pack("main", false, &bundle).await.expect(200);
            remote.post("tags", &json!({"tags": [{"tag": "newest", "commit_id": commit}]})).await.expect(200);
        }))
    });
    let folder = tempfile::tempdir().unwrap();
    saved(&store, folder.path()).await;
    assert!(readings.load(Ordering::Relaxed) >= 4, "items, packs, and what is in the bucket");

    let (_backends, there) = empty().await;
    restored(folder.path(), &there).await.unwrap();
    assert_whole(&there, &folder.path().join("export")).await;
}

/// Proves every repo by exporting it.
async fn assert_whole(store: &Arc<Store>, file: &Path) {
    let hub = hub_over(Arc::clone(store), Ids::Strict).unwrap();
    let items = everything(store).await.0;
    for name in items.keys().filter_map(|key| key.strip_prefix("NAME#")?.strip_suffix(" NAME")) {
        let (owner, slug) = name.split_once('/').unwrap();
        let target = Target { owner: owner.parse().unwrap(), slug: slug.parse().unwrap() };
        export(&hub, &target, file, true, &ProgressBar::hidden()).await.unwrap();
        verify(file, &ProgressBar::hidden()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_made_while_pushes_land_is_of_whole_repos() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let history = history::linear(5, 120, 3, 1);
    let remotes = [hub.repo().await, hub.repo().await];
    let store = store_of(&hub);
    let folder = tempfile::tempdir().unwrap();
    let ids = history.ids();
    let pushes = async {
        for commit in &ids {
            for remote in &remotes {
                remote.push(&history, "main", commit).await.expect(200);
                remote.post("tags", &json!({"tags": [{"tag": "newest", "commit_id": commit}]})).await.expect(200);
            }
            // A repo that is made while it goes on.
            let new = hub.repo().await;
            new.push_pack("main", false, &history.pack_of(&ids[0])).await.expect(200);
        }
    };
    let backups = async {
        let mut made = 0;
        loop {
            let backup = folder.path().join(made.to_string());
            saved(&store, &backup).await;
            made += 1;
            if made == 6 {
                return made;
            }
        }
    };
    let (_, made) = tokio::join!(pushes, backups);
    for number in 0..made {
        let (_backends, there) = empty().await;
        restored(&folder.path().join(number.to_string()), &there).await.unwrap();
        assert_whole(&there, &folder.path().join("export")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_on_this_machine_is_backed_up_while_it_runs_and_pushes_land() {
    let data = tempfile::tempdir().unwrap();
    let which = Which::Folder(data.path().to_owned());
    let hub = Hub::start_own(Storage::Directory(data.path().to_owned()), false).await;
    let running = data.path().join("running");
    assert_eq!(fs::metadata(&running).unwrap().permissions().mode() & 0o777, 0o600);
    let history = history::linear(8, 30, 3, 1);
    let ids = history.ids();
    let remote = hub.repo().await;
    remote.push(&history, "main", &ids[0]).await.expect(200);
    let refused = Stores::open(&which).await.err().unwrap().to_string();
    assert!(refused.contains("another hub is running"), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    let beside = Stores::open_beside(&which).await.unwrap();
    let pushes = async {
        for commit in &ids[1..] {
            remote.push(&history, "main", commit).await.expect(200);
        }
    };
    let (_, first) = tokio::join!(pushes, saved(&beside.store, folder.path()));
    assert_eq!(first.repos, 1);
    // Of what is there now.
    saved(&beside.store, folder.path()).await;
    beside.close().await;
    let (_backends, there) = empty().await;
    restored(folder.path(), &there).await.unwrap();
    assert_whole(&there, &folder.path().join("export")).await;
    let (owner, slug) = (remote.owner.parse().unwrap(), remote.slug.parse().unwrap());
    let found = there.find_repo(&owner, &slug, Load::HEADS).await.unwrap().unwrap();
    assert_eq!(found.heads["main"].to_string(), history.last());

    // What a process has left that was killed leads nowhere, and is not followed.
    hub.stop().await;
    assert!(!running.exists());
    fs::write(&running, r#"{"dynamodb": "http://127.0.0.1:9", "s3": "http://127.0.0.1:9", "secret_key": "x"}"#)
        .unwrap();
    let alone = Stores::open_beside(&which).await.unwrap();
    assert_eq!(saved(&alone.store, folder.path()).await.repos, 1);
    alone.close().await;
    assert!(!running.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_other_things_in_it_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hub");
    let stores = Stores::open_or_make(&Which::Folder(data.clone())).await.unwrap();
    fs::write(data.join("s3/precious"), "precious").unwrap();
    let refused = save(&stores.store, &data, None, &ProgressBar::hidden()).await.unwrap_err().to_string();
    assert!(refused.contains("has other things in it than a backup"), "{refused}");
    assert_eq!(fs::read_to_string(data.join("s3/precious")).unwrap(), "precious");
    assert!(!data.join("backup.lock").exists());
    stores.close().await;
}
