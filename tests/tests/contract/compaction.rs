//! A hub on one machine merges packs while it is pushed to, and its owner may do the rest when it is stopped.

use std::path::Path;
use std::time::Duration;

use local::serve::Storage;
use local::stores::{Stores, Which};
use store::upkeep::compact::Limits;
use tests::history;
use tests::hub::{Hub, fresh_name};
use tests::verify;

/// Packs that lie in a data folder, those among them that were merged.
fn packs(folder: &Path) -> usize {
    let mut found = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("a type").is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with("%2Epack") {
                found += 1;
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_are_merged_in_the_background_and_the_rest_when_the_hub_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let directory = || Storage::Directory(folder.path().to_owned());
    let history = history::linear(5, 20, 8, 1);
    let hub = Hub::start_own(directory(), false).await;
    let slug = fresh_name("song");
    let remote = hub.remote(&hub.dev(), &slug);
    for commit in history.ids() {
        remote.push(&history, "main", &commit).await.expect(200);
    }
    // What was merged stays for as long as requests may read it, so a merge is a pack more.
    let is_merged = async {
        while packs(folder.path()) <= 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_merged).await.expect("a merge");
    verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    hub.stop().await;

    let stores =
        Stores::open(&Which::Folder(folder.path().to_owned())).await.expect("the stores of a hub that is stopped");
    let repo = stores.repo(&format!("dev/{slug}").parse().unwrap()).await.expect("the repo");
    let done = stores.store.compact(&repo, Limits::ALL).await.expect("a run");
    assert!(done.packs_before < 20 && done.is_done && done.packs_after <= 3, "{done:?}");
    stores.close().await;

    let hub = Hub::start_own(directory(), false).await;
    let remote = hub.remote(&hub.dev(), &slug);
    verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    hub.stop().await;
}
