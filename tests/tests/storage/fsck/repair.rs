//! What was damaged comes back, as it was, from what else is stored or from a clone; and nothing is deleted by that.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use common::wire::commit::Commit;
use common::wire::error::Cause;
use fsck::catalog::RecordId;
use fsck::finding::Problem;
use fsck::repair::{Action, Repaired, Restore, Restored, Wanted, prune, repair};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use store::table::items::{Item, Key};

use super::song::{Song, store, subject};
use crate::process::Cloud;

/// A clone of the song that sends everything it has, whatever it is asked for.
struct Copy {
    records: Vec<(RecordId, Bytes)>,
    large: (RecordId, tempfile::NamedTempFile),
}

impl Copy {
    fn of(song: &Song) -> Copy {
        let mut records: Vec<(RecordId, Bytes)> = Vec::new();
        for commit in song.history.commits() {
            let sent = rmp_serde::to_vec_named(&commit.0).unwrap();
            let mut commit: Commit = rmp_serde::from_slice(&sent).unwrap();
            commit.complete("dev", "2026-01-01T00:00:00Z").unwrap();
            records.push((RecordId::Commit(commit.id.clone()), commit.record().to_vec().into()));
        }
        for snapshot in song.history.snapshots.values() {
            let record = json!({
                "snapshot_id": snapshot.id, "manifest": snapshot.manifest, "created_at": snapshot.created_at
            });
            let id = RecordId::Snapshot(snapshot.id.parse().unwrap());
            records.push((id, rmp_serde::to_vec_named(&record).unwrap().into()));
        }
        let key = |id: &str| RecordId::Object(id.parse::<common::id::ObjectId>().unwrap().key());
        for (id, content) in song.history.objects.iter().filter(|(id, _)| **id != song.large.id) {
            records.push((key(id), content.clone()));
        }
        records.push((key(&song.staged.id), song.staged.content.clone()));
        let large = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(large.path(), &song.large.content).unwrap();
        Copy { records, large: (key(&song.large.id), large) }
    }

    fn bring(&self, wanted: Wanted) -> BoxStream<'static, Result<Restored, Cause>> {
        let RecordId::Object(object) = &self.large.0 else { panic!("it is an object") };
        let mut restored: Vec<Restored> = self
            .records
            .iter()
            .map(|(id, record)| Restored::Record { id: id.clone(), record: record.clone() })
            .collect();
        if wanted.objects.contains(object) {
            restored.push(Restored::File { object: object.clone(), path: self.large.1.path().to_owned() });
        }
        stream::iter(restored.into_iter().map(Ok)).boxed()
    }
}

/// Fresh stores, in a test that has some already.
async fn another_cloud() -> Cloud {
    tokio::time::resume();
    Cloud::start().await
}

async fn remedy(cloud: &Cloud, song: &Song, bring: Option<Restore<'_>>) -> Repaired {
    let subject = subject(cloud, song.slug).await;
    repair(&store(cloud), &subject, cloud.ids(), bring, &|_| ()).await.expect("the stores answer")
}

async fn assert_repaired(cloud: &Cloud, song: &Song, bring: Option<Restore<'_>>) -> Vec<Action> {
    let actions = assert_repaired_but_for_what_is_staged(cloud, song, bring).await;
    assert_eq!(cloud.process().missing(song.slug, &[&song.staged.id]).await, Vec::<String>::new());
    actions
}

async fn assert_repaired_but_for_what_is_staged(cloud: &Cloud, song: &Song, bring: Option<Restore<'_>>) -> Vec<Action> {
    let repaired = remedy(cloud, song, bring).await;
    assert!(repaired.report.is_whole(), "{:?} left {:?}", repaired.actions, repaired.report.findings);
    assert!(!repaired.actions.is_empty());
    assert!(song.check(cloud, true).await.is_whole());
    song.assert_holds(cloud).await;
    assert_seen(cloud, song).await;
    repaired.actions
}

/// What was reached is shown, and what was staged is not.
async fn assert_seen(cloud: &Cloud, song: &Song) {
    let process = cloud.process();
    let repo = song.repo.to_string();
    let reached = song.history.objects_of(song.history.reachable(&song.heads.values().collect::<Vec<_>>()).iter());
    for id in reached {
        assert_eq!(process.object(&repo, &id).await.expect("a whole answer").status, 200, "{id}");
    }
    assert_eq!(process.object(&repo, &song.staged.id).await.expect("a whole answer").status, 404);
}

#[tokio::test]
async fn whichever_file_is_damaged_a_clone_brings_back_what_was_in_it_and_nothing_is_deleted() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let files = song.files(&cloud).await;
    for number in 0..files.len() {
        for way in 0..3 {
            // A fresh deployment for each, since a repair leaves its packs.
            let cloud = another_cloud().await;
            let song = Song::push(&cloud).await;
            let (key, content) = song.files(&cloud).await.into_iter().nth(number).unwrap();
            let mut damaged = content.to_vec();
            match way {
                0 => cloud.delete(&key).await,
                1 => cloud.put(&key, content.slice(..content.len() / 2)).await,
                _ => {
                    damaged[content.len() / 3] ^= 4;
                    cloud.put(&key, damaged.clone().into()).await;
                }
            }
            let before = song.files(&cloud).await;
            let copy = Copy::of(&song);
            // Nothing but its pack's index says that an object was staged. A client that needs it sends it again.
            let holds_what_is_staged = number + 1 == files.len();
            let bring: Restore<'_> = &|wanted| copy.bring(wanted);
            if holds_what_is_staged && way < 2 {
                assert_repaired_but_for_what_is_staged(&cloud, &song, Some(bring)).await;
            } else {
                assert_repaired(&cloud, &song, Some(bring)).await;
            }
            let after = song.files(&cloud).await;
            for (key, content) in before {
                assert_eq!(after.get(&key), Some(&content), "{key} stays as it is");
            }
        }
    }
}

#[tokio::test]
async fn without_a_clone_what_is_nowhere_else_stays_lost_and_is_still_named() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let (key, content) = song.files(&cloud).await.into_iter().find(|(key, _)| key.starts_with("packs/")).unwrap();
    let mut damaged = content.to_vec();
    damaged[20] ^= 1;
    cloud.put(&key, damaged.into()).await;
    let repaired = remedy(&cloud, &song, None).await;
    assert_eq!(repaired.actions, []);
    assert!(!repaired.report.is_whole());
}

#[tokio::test]
async fn what_a_clone_sends_is_believed_by_its_hash_and_by_nothing_else() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let (key, content) = song.files(&cloud).await.into_iter().find(|(key, _)| key.starts_with("packs/")).unwrap();
    let mut damaged = content.to_vec();
    for byte in &mut damaged[..content.len() * 2 / 3] {
        *byte ^= 1;
    }
    cloud.put(&key, damaged.into()).await;
    let copy = Copy::of(&song);
    let forge = |wanted| {
        let forged = copy.bring(wanted).map(|restored| match restored {
            Ok(Restored::Record { id, record }) => {
                let mut record = record.to_vec();
                *record.last_mut().unwrap() ^= 1;
                // What is not in a hash may be altered; of a commit that is its last field.
                let record = if matches!(id, RecordId::Object(_)) { record } else { b"\x80".to_vec() };
                Ok(Restored::Record { id, record: record.into() })
            }
            other => other,
        });
        forged.boxed()
    };
    let repaired = remedy(&cloud, &song, Some(&forge)).await;
    assert_eq!(repaired.actions, []);
    assert!(!repaired.report.is_whole());
    assert_repaired(&cloud, &song, Some(&|wanted| copy.bring(wanted))).await;
}

/// Lists the same pack under a second name, as when two pushes restored the same.
async fn double(cloud: &Cloud, song: &Song, key: &str, content: &Bytes) -> String {
    let pack = key.rsplit('/').next().unwrap().trim_end_matches(".pack");
    let second = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    cloud.put(&key.replace(pack, second), content.clone()).await;
    let mut item = song.items(cloud).await.into_iter().find(|item| sort_key(item) == format!("PACK#{pack}")).unwrap();
    item.insert("sk".to_owned(), AttributeValue::S(format!("PACK#{second}")));
    store(cloud).put_item_if(item, None).await.unwrap();
    key.replace(pack, second)
}

fn sort_key(item: &Item) -> &str {
    item["sk"].as_s().unwrap()
}

#[tokio::test]
async fn a_damaged_pack_whose_records_all_lie_in_another_leaves_the_list_and_readers_read_the_other() {
    for number in 0..2 {
        let cloud = if number == 0 { Cloud::start().await } else { another_cloud().await };
        let song = Song::push(&cloud).await;
        let (key, content) = song.files(&cloud).await.into_iter().find(|(key, _)| key.starts_with("packs/")).unwrap();
        let second = double(&cloud, &song, &key, &content).await;
        assert!(song.check(&cloud, true).await.is_whole());
        let mut damaged = content.to_vec();
        damaged[20] ^= 1;
        let key = if number == 0 { key } else { second };
        cloud.put(&key, damaged.clone().into()).await;

        let actions = assert_repaired(&cloud, &song, None).await;
        assert!(matches!(actions.as_slice(), [Action::PackSetAside { .. }]), "{actions:?}");
        assert_eq!(cloud.get(&key).await, damaged, "its file is kept");
    }
}

#[tokio::test]
async fn a_damaged_pack_is_deleted_only_when_that_is_asked_for_and_the_repo_is_whole() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let files = song.files(&cloud).await;
    let (key, content) = files.iter().find(|(key, _)| key.starts_with("packs/")).unwrap();
    double(&cloud, &song, key, content).await;
    cloud.put(key, content.slice(1..)).await;
    assert_repaired(&cloud, &song, None).await;
    let report = song.check(&cloud, true).await;
    assert!(matches!(report.findings.as_slice(), [finding] if matches!(finding.problem, Problem::PackSetAside { .. })));

    // While something is damaged, nothing is deleted.
    let (other, other_content) = files.iter().find(|(file, _)| file.starts_with("packs/") && *file != key).unwrap();
    cloud.delete(other).await;
    let damaged = song.check(&cloud, true).await;
    assert_eq!(prune(&store(&cloud), &damaged).await.unwrap(), []);
    cloud.put(other, other_content.clone()).await;

    let pruned = prune(&store(&cloud), &report).await.unwrap();
    assert!(matches!(pruned.as_slice(), [Action::PackPruned { bytes, .. }] if *bytes == content.len() as u64 - 1));
    assert!(!song.files(&cloud).await.contains_key(key));
    assert_eq!(song.check(&cloud, true).await.findings, []);
    song.assert_holds(&cloud).await;
}

#[tokio::test]
async fn an_item_that_is_gone_or_altered_is_written_again_where_the_rest_says_what_it_was() {
    let mut repaired_kinds = BTreeSet::new();
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let count = song.items(&cloud).await.len();
    for number in 0..count {
        for is_altered in [false, true] {
            let cloud = another_cloud().await;
            let song = Song::push(&cloud).await;
            let item = song.items(&cloud).await.swap_remove(number);
            let key = Key { pk: item["pk"].as_s().unwrap().clone(), sk: sort_key(&item).to_owned() };
            let kind = key.sk.split('#').next().unwrap().to_owned();
            // What such a one said is said by nothing else.
            if ["TAG", "REL", "LOG"].contains(&kind.as_str()) {
                continue;
            }
            if is_altered {
                let mut altered = item.clone();
                let name = item.keys().filter(|name| !["pk", "sk"].contains(&name.as_str())).min().unwrap();
                altered.insert(name.clone(), AttributeValue::L(vec![AttributeValue::L(Vec::new())]));
                store(&cloud).put_item_if(altered, Some(item.clone())).await.unwrap();
            } else {
                store(&cloud).delete_item(&key).await.unwrap();
            }
            if song.check(&cloud, true).await.is_whole() {
                assert!(["UPLOADS", "PACK"].contains(&kind.as_str()), "{key:?}");
                continue;
            }
            assert_repaired(&cloud, &song, None).await;
            repaired_kinds.insert((kind.clone(), is_altered));
            let again = store(&cloud).item(&key).await.unwrap().expect("it is there again");
            let same = |name: &str| assert_eq!(again.get(name), item.get(name), "{name} of {key:?}");
            match kind.as_str() {
                "NAME" | "REPO" => same("repo_id"),
                "HANDLE" => same("user_id"),
                "PROFILE" => same("handle"),
                "REF" => same("head"),
                "META" => ["owner", "slug", "owner_user_id", "default_branch", "first_pushed_at"]
                    .iter()
                    .for_each(|name| same(name)),
                "PACK" => ["size", "commits", "snapshots", "objects", "raw", "graph", "contents"]
                    .iter()
                    .for_each(|name| same(name)),
                _ => {}
            }
            if kind == "META" {
                assert_eq!(again["visibility"].as_s().unwrap(), "private", "until its owner says otherwise");
            }
        }
    }
    let kinds: BTreeSet<&str> = repaired_kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["HANDLE", "META", "NAME", "PACK", "PROFILE", "REF", "REPO", "UPLOADS"]));
}

#[tokio::test]
async fn a_repair_of_a_whole_repo_does_nothing() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let (items, files) = (song.items(&cloud).await, song.files(&cloud).await);
    let repaired = remedy(&cloud, &song, None).await;
    assert_eq!(repaired.actions, []);
    assert!(repaired.report.is_whole());
    assert_eq!(song.items(&cloud).await, items);
    assert_eq!(song.files(&cloud).await, files);
    let json: Value = serde_json::to_value(&repaired).unwrap();
    assert_eq!((&json["actions"], &json["findings"]), (&json!([]), &json!([])));
}
