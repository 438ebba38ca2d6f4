//! A repo of which an object was purged goes wherever others go, without it.

use std::collections::BTreeSet;
use std::fs;

use common::id::{ObjectId, ObjectKey};
use indicatif::ProgressBar;
use local::backup::holding::holding;
use local::backup::save::save;
use local::serve::Storage;
use local::transfer::clone::{Wanted, clone};
use local::transfer::export::export;
use local::transfer::import::import;
use local::transfer::mirror::{Options, mirror};
use local::transfer::verify::verify;
use store::repo::{Asker, Load};
use store::table::items::Visibility;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{Builder, History, Object};
use tests::hub::{Hub, fresh_name};

use crate::whole::{stores, url};

/// A repo of two commits, the second of which adds a file that leaks.
async fn leaking(hub: &Hub) -> (Remote, History, Object) {
    let mut builder = Builder::new(9);
    let mut tree = builder.files(3);
    let first = builder.commit(&[], &tree);
    let secret = Object::new(builder.bytes(400));
    tree.insert("keys.env".to_owned(), secret.content.clone());
    builder.commit(&[&first], &tree);
    let history = builder.finish();
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    remote.push(&history, "main", history.last()).await.expect(200);
    (remote, history, secret)
}

async fn purged(remote: &Remote, secret: &Object) {
    let id: ObjectId = secret.id.parse().unwrap();
    assert_eq!(url(remote).purge(&[id], "it leaked").await.unwrap().purged.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_an_export_and_a_mirror_are_without_it_and_keep_it_out() {
    let (one, other) = tokio::join!(Hub::start_own(Storage::Memory, false), Hub::start_own(Storage::Memory, true));
    let (remote, history, secret) = leaking(&one).await;
    purged(&remote, &secret).await;
    let bar = ProgressBar::hidden();

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("clone");
    let url_of = format!("{}/{}/{}", remote.hub, remote.owner, remote.slug);
    clone(&url(&remote), &url_of, &at, Wanted { branch: None, depth: None }, &bar).await.unwrap();
    for (path, object) in &history.snapshots[history.commit(history.last()).snapshot_id().unwrap()].manifest {
        let content = fs::read(at.join(path)).ok();
        let expected = (*object != secret.id).then(|| history.object(object).content.to_vec());
        assert_eq!(content, expected, "{path}");
    }

    let file = folder.path().join("song.tar.zst");
    let hub = stores(&one);
    export(&hub, &url(&remote).target, &file, false, &bar).await.unwrap();
    let verified = verify(&file, &bar).unwrap();
    assert_eq!(verified.contents.purged, [secret.id.parse().unwrap()]);
    let imported = other.remote(&other.dev(), &fresh_name("imported")).speaking(Encoding::Msgpack);
    import(&file, &url(&imported), None, &bar).await.unwrap();

    let mirrored = other.remote(&other.dev(), &fresh_name("mirrored")).speaking(Encoding::Msgpack);
    let options = Options { force: false, prune: false, visibility: Visibility::Public };
    mirror(&url(&remote), &url(&mirrored), options, &bar).await.unwrap();
    for copy in [imported, mirrored] {
        assert_eq!(copy.heads().await, remote.heads().await);
        assert_eq!(copy.clone_all_but(&[&secret.id]).await.commits.len(), 2);
        copy.push_objects(std::slice::from_ref(&secret)).await.refused(422, "object_purged");
    }
    let again = mirror(&url(&remote), &url(&other.remote(&other.dev(), &fresh_name("x"))), options, &bar).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_holds_it_is_known_and_the_next_into_the_folder_does_not() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (remote, _, secret) = leaking(&hub).await;
    let store = &hub.running().hub().store;
    let (folder, bar) = (tempfile::tempdir().unwrap(), ProgressBar::hidden());
    let path = folder.path();
    let repo = remote.repo_id().await.parse().unwrap();
    let key: ObjectKey = secret.id.parse::<ObjectId>().unwrap().key();
    let objects = BTreeSet::from([key.clone()]);
    let nothing: [String; 0] = [];
    assert_eq!(holding(path, &repo, &objects).unwrap(), nothing, "there is no backup yet");
    save(store, path, None, &bar).await.unwrap();
    let held = holding(path, &repo, &objects).unwrap();
    assert_eq!(held.len(), 1);
    let file = path.join("s3").join(&held[0]);
    assert!(file.exists());

    purged(&remote, &secret).await;
    // The hub may be doing so already.
    store.erase(&repo).await.unwrap();
    assert_eq!(holding(path, &repo, &objects).unwrap(), held, "the last backup stays what it is");
    save(store, path, None, &bar).await.unwrap();
    assert_eq!(holding(path, &repo, &objects).unwrap(), nothing);
    assert!(!file.exists());
    assert!(store.repo(&repo, Asker::default(), Load::PACKS).await.unwrap().unwrap().purged.has(&key));
}
