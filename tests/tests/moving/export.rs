//! A repo in a file.

use std::fs;
use std::path::{Path, PathBuf};

use client::Remote as End;
use indicatif::ProgressBar;
use local::serve::Storage;
use local::transfer::TransferError;
use local::transfer::export::{Exported, export};
use local::transfer::import::{Imported, import};
use local::transfer::verify::{Verified, verify};
use proptest::prelude::*;
use serde_json::json;
use service::Target;
use store::table::items::Visibility;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history;
use tests::hub::{Hub, fresh_name};

use crate::whole::{Whole, stocked, stores, url};

fn target(remote: &Remote) -> Target {
    Target { owner: remote.owner.parse().unwrap(), slug: remote.slug.parse().unwrap() }
}

async fn exported(hub: &Hub, remote: &Remote, path: &Path) -> Result<Exported, TransferError> {
    export(&stores(hub), &target(remote), path, true, &ProgressBar::hidden()).await
}

fn verified(path: &Path) -> Result<Verified, TransferError> {
    verify(path, &ProgressBar::hidden())
}

async fn imported(path: &Path, to: &End) -> Result<Imported, TransferError> {
    import(path, to, None, &ProgressBar::hidden()).await
}

/// A repo of a hub whose stores are at hand, not there yet.
pub async fn at_hand(hub: &Hub) -> (Remote, End) {
    let remote = hub.remote(&hub.dev(), &fresh_name("copy"));
    let end = over(hub, &remote).await;
    (remote, end)
}

/// A repo of a hub whose stores are at hand.
pub async fn over(hub: &Hub, remote: &Remote) -> End {
    local::transfer::at_hand::remote(&stores(hub), target(remote)).await.unwrap()
}

struct Kept {
    folder: tempfile::TempDir,
}

impl Kept {
    fn new() -> Kept {
        Kept { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("song.tar.zst")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("song.tar.zst.part")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_with_everything_is_the_same_behind_a_file() {
    let (there, here) = tokio::join!(Hub::start_own(Storage::Memory, false), Hub::start_own(Storage::Memory, false));
    for seed in 1..=3 {
        let remote = stocked(&there, seed, 40).await;
        let kept = Kept::new();
        let exported = exported(&there, &remote, &kept.file()).await.unwrap();
        assert!(!kept.part().exists());
        let whole = Whole::of(&remote).await;
        assert_eq!(exported.holds.commits as usize, whole.commits());
        let proved = verified(&kept.file()).unwrap();
        assert_eq!(proved.holds, exported.holds);

        // Through the stores, and through the front door.
        let (by_stores, end) = at_hand(&here).await;
        let done = imported(&kept.file(), &end).await.unwrap();
        assert_eq!(done.made, Some(Visibility::Public));
        let by_url = here.remote(&here.dev(), &fresh_name("copy"));
        imported(&kept.file(), &url(&by_url)).await.unwrap();
        for copy in [by_stores, by_url] {
            same_but_for_times(&whole, &Whole::of(&copy).await, done.delivered.redated > 0);
        }
    }
}

/// A commit that was made without a time gets a new one.
fn same_but_for_times(one: &Whole, other: &Whole, is_redated: bool) {
    if is_redated { assert_eq!(one.without_times(), other.without_times()) } else { assert_eq!(one, other) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_may_be_repeated_and_goes_on_and_takes_nothing_away() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let remote = stocked(&hub, 2, 30).await;
    let kept = Kept::new();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    let (copy, end) = at_hand(&hub).await;
    imported(&kept.file(), &end).await.unwrap();
    let whole = Whole::of(&copy).await;
    let again = imported(&kept.file(), &end).await.unwrap();
    assert_eq!((again.delivered.sent, again.made), (Default::default(), None));
    assert!(again.delivered.branches.is_empty());
    assert_eq!(Whole::of(&copy).await, whole);

    // The original goes on, and so does the copy.
    let history = history::linear(77, 3, 2, 1);
    remote.push(&history, "later", history.last()).await.expect(200);
    fs::remove_file(kept.file()).unwrap();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    let more = imported(&kept.file(), &end).await.unwrap();
    assert_eq!(more.delivered.branches, ["later"]);
    assert_eq!(more.delivered.sent.commits, 3);

    // A user works on the copy.
    let own = history::linear(78, 2, 2, 1);
    copy.push_pack("later", true, &own.pack_of(own.last()).with_head("later", own.last())).await.expect(200);
    let whole = Whole::of(&copy).await;
    let refused = imported(&kept.file(), &end).await.unwrap_err().to_string();
    assert!(refused.contains("has another history") && refused.contains("'later'"), "{refused}");
    assert_eq!(Whole::of(&copy).await, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn visibility_goes_with_the_file_unless_an_option_says_otherwise() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let remote = hub.made_repo(&hub.dev(), true).await;
    let history = history::linear(1, 2, 2, 1);
    remote.push(&history, "trunk", history.last()).await.expect(200);
    let kept = Kept::new();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    let (copy, end) = at_hand(&hub).await;
    imported(&kept.file(), &end).await.unwrap();
    assert_eq!(copy.anonymous().get("refs").await.status, 404);
    assert_eq!(copy.default_branch().await, "trunk");
    let (copy, end) = at_hand(&hub).await;
    import(&kept.file(), &end, Some(Visibility::Public), &ProgressBar::hidden()).await.unwrap();
    assert_eq!(copy.anonymous().get("refs").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_domain_goes_with_the_file() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let history = history::linear(2, 2, 2, 1);
    for domain in ["midi", "code"] {
        let remote = hub.remote(&hub.dev(), &fresh_name("song"));
        let body = json!({"name": remote.slug, "domain": domain});
        hub.post("api/repos", remote.token.as_deref(), &body).await.expect(201);
        remote.push(&history, "main", history.last()).await.expect(200);
        let kept = Kept::new();
        exported(&hub, &remote, &kept.file()).await.unwrap();
        assert_eq!(verified(&kept.file()).unwrap().contents.repo.domain, domain);
        let (copy, end) = at_hand(&hub).await;
        imported(&kept.file(), &end).await.unwrap();
        assert_eq!(copy.domain().await, domain);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_without_anything_is_a_file_too() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let kept = Kept::new();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    verified(&kept.file()).unwrap();
    let (copy, end) = at_hand(&hub).await;
    imported(&kept.file(), &end).await.unwrap();
    assert_eq!(Whole::of(&copy).await, Whole::of(&remote).await);
}

/// The file of a small repo, and the hub that it is of.
async fn small_file() -> (Hub, Remote, Kept) {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    let history = history::dag(5, 12, 5);
    remote.push(&history, "main", history.last()).await.expect(200);
    let kept = Kept::new();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    (hub, remote, kept)
}

/// Runs `check` for many values against one prepared thing.
pub fn for_every<S: Strategy, T>(
    cases: u32,
    strategy: S,
    prepare: impl AsyncFnOnce() -> T,
    check: impl AsyncFn(&T, S::Value),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let prepared = runtime.block_on(prepare());
    let config = ProptestConfig { cases, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&strategy, |value| {
        runtime.block_on(check(&prepared, value));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    // The hub in it ends within the runtime.
    let _guard = runtime.enter();
    drop(prepared);
}

#[test]
fn every_flipped_bit_of_a_file_is_found() {
    let flips = (any::<prop::sample::Index>(), 0_u32..8);
    for_every(400, flips, small_file, async |(_, _, kept), (index, bit)| {
        let mut bytes = fs::read(kept.file()).unwrap();
        let at = index.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let damaged = kept.folder.path().join("damaged");
        fs::write(&damaged, &bytes).unwrap();
        let found = verified(&damaged).expect_err("a flipped bit");
        assert!(matches!(found, TransferError::Damaged(_) | TransferError::Refused(_)), "{found:?}");
    });
}

#[test]
fn a_file_that_is_cut_or_has_something_added_is_refused_and_changes_nothing() {
    for_every(40, any::<prop::sample::Index>(), small_file, async |(hub, _, kept), index| {
        let whole = fs::read(kept.file()).unwrap();
        let cut = kept.folder.path().join("cut");
        fs::write(&cut, &whole[..index.index(whole.len())]).unwrap();
        let added = kept.folder.path().join("added");
        fs::write(&added, [&whole[..], &[index.index(256) as u8]].concat()).unwrap();
        let (copy, end) = at_hand(hub).await;
        for damaged in [cut, added] {
            let refused = imported(&damaged, &end).await.expect_err("a file that is not whole");
            assert!(matches!(refused, TransferError::Damaged(_)), "{refused:?}");
        }
        assert_eq!(copy.get("refs").await.status, 404, "not even the repo was made");
    });
}

/// A repo whose export has several frames: what does not compress, in many commits.
async fn large_file() -> (Hub, Remote, Kept, Vec<u8>) {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    let mut builder = history::Builder::new(9);
    let mut tree = builder.files(3);
    let mut tip = builder.commit(&[], &tree);
    for number in 0..6 {
        tree.insert(format!("take-{number}.wav"), builder.bytes(3 << 20));
        tip = builder.commit(&[&tip], &tree);
    }
    tree.insert("mix.wav".to_owned(), builder.bytes(12 << 20));
    tip = builder.commit(&[&tip], &tree);
    remote.push(builder.history(), "main", &tip).await.expect(200);
    let kept = Kept::new();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    let bytes = fs::read(kept.file()).unwrap();
    (hub, remote, kept, bytes)
}

#[test]
fn an_export_that_was_cut_anywhere_goes_on_and_is_the_same_file() {
    let cuts = (any::<prop::sample::Index>(), any::<bool>());
    for_every(24, cuts, large_file, async |(hub, remote, kept, whole), (index, is_torn)| {
        let cut = index.index(whole.len() + 1);
        let mut part = whole[..cut].to_vec();
        if is_torn && let Some(last) = part.last_mut() {
            *last ^= 0x55;
        }
        fs::write(kept.part(), &part).unwrap();
        let _ = fs::remove_file(kept.file());
        let done = exported(hub, remote, &kept.file()).await.unwrap();
        assert_eq!(verified(&kept.file()).unwrap().holds, done.holds);
        assert!(done.resumed <= cut as u64);
        // A frame has 8 MiB raw at most, and these do not compress; a large object is done again.
        assert!(done.resumed + (22 << 20) >= cut as u64, "{} of {cut} bytes were kept", done.resumed);
        assert!(!kept.part().exists());
        if done.resumed > 0 {
            assert_eq!(fs::metadata(kept.file()).unwrap().len(), whole.len() as u64);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_with_the_names_that_it_began_with() {
    let (hub, remote, kept, whole) = large_file().await;
    let before = verified(&kept.file()).unwrap();
    fs::remove_file(kept.file()).unwrap();
    fs::write(kept.part(), &whole[..whole.len() / 2]).unwrap();
    let history = history::linear(3, 4, 2, 1);
    remote.push(&history, "later", history.last()).await.expect(200);
    let done = exported(&hub, &remote, &kept.file()).await.unwrap();
    assert!(done.resumed > 0);
    let after = verified(&kept.file()).unwrap();
    assert_eq!(after.names.heads, before.names.heads);
    assert_eq!(after.holds, before.holds);
    // A new one has the new branch, and replaces the old file.
    let again = exported(&hub, &remote, &kept.file()).await.unwrap();
    assert_eq!((again.resumed, again.holds.commits), (0, done.holds.commits + 4));
    assert!(verified(&kept.file()).unwrap().names.heads.contains_key("later"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_another_repo_is_not_written_on() {
    let (hub, _, kept, whole) = large_file().await;
    fs::write(kept.part(), &whole).unwrap();
    let other = stocked(&hub, 1, 5).await;
    let refused = exported(&hub, &other, &kept.file()).await.unwrap_err().to_string();
    assert!(refused.contains("the export that was begun in this file is of"), "{refused}");
    assert_eq!(fs::read(kept.part()).unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn common_tools_open_the_file() {
    let (_hub, _remote, kept) = small_file().await;
    let unpacked = kept.folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    // No zstd is needed on the machine that runs this: its frames are opened here.
    let raw = zstd_of(&fs::read(kept.file()).unwrap());
    let tar = kept.folder.path().join("song.tar");
    fs::write(&tar, raw).unwrap();
    let listed = std::process::Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&unpacked).status().unwrap();
    assert!(listed.success());
    let repo: serde_json::Value = serde_json::from_slice(&fs::read(unpacked.join("repo.json")).unwrap()).unwrap();
    assert_eq!(repo["format"], "musehub export");
    let mut objects = 0;
    for object in fs::read_dir(unpacked.join("objects")).unwrap() {
        let object = object.unwrap();
        let id = object.file_name().into_string().unwrap();
        assert_eq!(tests::ids::object_id(&fs::read(object.path()).unwrap()), id);
        objects += 1;
    }
    assert!(objects > 0);
}

/// What `zstd -d` makes of it.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    std::io::Read::read_to_end(&mut zstd::stream::read::Decoder::new(bytes).unwrap(), &mut raw).unwrap();
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn opaque_ids_go_through_a_file_too_and_only_into_a_lenient_hub() {
    let (hub, strict) = (Hub::start_lenient().await, Hub::start_own(Storage::Memory, false).await);
    let remote = hub.repo().await;
    let (long, dots) = ("x".repeat(128), "..");
    let push = json!({
        "branch": "main",
        "bundle": {
            "commits": [{"commit_id": dots, "snapshot_id": long, "parent_commit_id": "never-pushed", "author": "a", "committed_at": "t"}],
            "snapshots": [{"snapshot_id": long, "manifest": {"a": dots, "b": "o:1"}, "created_at": "t"}],
            "objects": [{"object_id": dots, "content_b64": "YQ=="}, {"object_id": "o:1", "content_b64": ""}],
        },
    });
    remote.post("push", &push).await.expect(200);
    let kept = Kept::new();
    exported(&hub, &remote, &kept.file()).await.unwrap();
    verified(&kept.file()).unwrap();
    let (copy, end) = at_hand(&hub).await;
    imported(&kept.file(), &end).await.unwrap();
    let there = remote.ask::<_, &str>(&[dots], &[]).await.expect(200);
    assert_eq!(copy.ask::<_, &str>(&[dots], &[]).await.expect(200), there);
    let (copy, end) = at_hand(&strict).await;
    let refused = imported(&kept.file(), &end).await.unwrap_err().to_string();
    assert!(refused.contains("is to take only hashes"), "{refused}");
    assert_eq!(copy.get("refs").await.status, 404, "not even the repo was made");
}
