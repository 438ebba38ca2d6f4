//! Packs that were wrong when they were written: every checksum is right, and what is in them is not.

use common::id::ObjectId;
use common::pack::{NewObject, NewPack, NewSnapshot, write};
use fsck::finding::{Problem, Remedy};
use fsck::repair::{Action, repair};
use store::change::Change;
use store::table::transaction::Outcome;

use super::song::{Song, check, store, subject};
use crate::process::Cloud;

async fn list(cloud: &Cloud, song: &Song, new: NewPack<'_>) {
    let store = store(cloud);
    let stored = store.store_pack(&song.repo, write(new).unwrap()).await.unwrap();
    let change = Change::of_pack(&song.repo, None, Some(&stored), "a test");
    assert_eq!(store.commit(&change).await.unwrap(), Outcome::Landed);
}

#[tokio::test]
async fn a_record_that_is_not_what_its_id_says_is_named() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let key = ObjectId::of(b"something").key();
    let object = NewObject { key: key.clone(), path: "".into(), content: b"something else", is_staged: true };
    list(&cloud, &song, NewPack { objects: vec![object], ..NewPack::default() }).await;
    assert!(song.check(&cloud, false).await.is_whole(), "the index says nothing of it");
    let report = song.check(&cloud, true).await;
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    let Problem::RecordWrong { id, reason, frame: 0, .. } = &finding.problem else { panic!("{finding:?}") };
    assert_eq!(
        (id.as_str(), reason.as_str()),
        (format!("object {}", key.as_ref()).as_str(), "its id is not the hash of it")
    );
    assert_eq!(finding.remedy, Remedy::Clone);
}

#[tokio::test]
async fn an_object_that_a_reached_snapshot_names_and_that_counts_as_staged_is_named_and_listed_as_reached() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let manifest = [("song.mid".to_owned(), song.staged.id.clone())].into();
    let id = tests::ids::snapshot_id(&manifest);
    let record = serde_json::json!({"snapshot_id": id, "manifest": manifest, "created_at": null});
    let record = rmp_serde::to_vec_named(&record).unwrap();
    let snapshot = NewSnapshot { id: id.parse().unwrap(), record, is_staged: false };
    list(&cloud, &song, NewPack { snapshots: vec![snapshot], ..NewPack::default() }).await;
    let report = song.check(&cloud, true).await;
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    let Problem::ObjectUnseen { object, snapshot } = &finding.problem else { panic!("{finding:?}") };
    assert_eq!((object.as_ref().to_string(), snapshot.as_ref().to_string()), (song.staged.id.clone(), id));

    let subject = subject(&cloud, song.slug).await;
    let repaired = repair(&store(&cloud), &subject, cloud.ids(), None, &|_| ()).await.unwrap();
    assert_eq!(repaired.actions, [Action::Reached { objects: 1 }]);
    assert_eq!(check(&cloud, song.slug, true).await.findings, []);
    let shown = cloud.process().object(&song.repo.to_string(), &song.staged.id).await.expect("a whole answer");
    assert_eq!(shown.status, 200);
}

/// As a pack that stays does of what was dropped as garbage.
#[tokio::test]
async fn a_pack_may_say_that_an_object_is_reached_which_is_nowhere() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let reached = ObjectId::of(b"nowhere").key();
    list(&cloud, &song, NewPack { reached: vec![reached.clone()], ..NewPack::default() }).await;
    assert_eq!(song.check(&cloud, true).await.findings, []);
    let shown = cloud.process().object(&song.repo.to_string(), &reached.as_ref().to_string()).await;
    assert_eq!(shown.expect("a whole answer").status, 404);
}
