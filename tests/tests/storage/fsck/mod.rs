//! A repo that is checked: a whole one has no finding, and whatever is taken from it or altered is found and named.

mod damage;
mod items;
mod races;
mod repair;
pub mod song;
mod written;

use common::id::Ids;
use fsck::finding::{Problem, Remedy};
use song::Song;

use crate::process::Cloud;

#[tokio::test]
async fn a_whole_repo_has_no_finding() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    for is_deep in [false, true] {
        let report = song.check(&cloud, is_deep).await;
        assert_eq!(report.findings, [], "deep: {is_deep}");
        assert!(report.is_whole());
        let counts = report.counts;
        assert_eq!(counts.commits, song.history.commits().len() as u64);
        assert_eq!(counts.snapshots, song.history.snapshots.len() as u64);
        assert_eq!((counts.large, counts.garbage), (1, 0));
        assert!(counts.packs >= 5, "{counts:?}");
        assert_eq!(report.skipped.is_empty(), is_deep, "{:?}", report.skipped);
    }
    let deep = song.check(&cloud, true).await.counts;
    assert!(deep.bytes_read >= deep.bytes, "all of it was read: {deep:?}");
}

#[tokio::test]
async fn a_commit_whose_author_and_time_the_hub_has_filled_in_is_proved() {
    let cloud = Cloud::start().await;
    let mut builder = tests::history::Builder::new(5);
    let tree = builder.files(2);
    builder.commit_with(&[], &tree, tests::history::Formula::CommittedAt, |fields| {
        fields.insert("committed_at".to_owned(), "".into());
        fields.insert("author".to_owned(), "".into());
    });
    let history = builder.finish();
    cloud.process().push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    assert_eq!(song::check(&cloud, "song", true).await.findings, []);
}

#[tokio::test]
async fn what_nothing_names_is_garbage_and_no_damage() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let repo = cloud.process().repo_id(song.slug).await;
    for key in [
        format!("packs/{repo}/01JJJJJJJJJJJJJJJJJJJJJJJJ.pack"),
        format!("objects/{repo}/01JJJJJJJJJJJJJJJJJJJJJJJJ/abc"),
        format!("packs/{repo}/left-over"),
    ] {
        cloud.put(&key, "of no use".into()).await;
        let report = song.check(&cloud, false).await;
        assert!(report.is_whole());
        let problems: Vec<&Problem> = report.findings.iter().map(|finding| &finding.problem).collect();
        assert_eq!(problems, [&Problem::Garbage { key: key.clone(), bytes: 9 }]);
        assert_eq!(report.findings[0].remedy, Remedy::Nothing);
        assert_eq!((report.counts.garbage, report.counts.garbage_bytes), (1, 9));
        cloud.delete(&key).await;
    }
}

#[tokio::test]
async fn in_a_lenient_hub_what_is_named_and_not_there_is_no_damage_and_the_report_says_what_was_not_checked() {
    let cloud = Cloud::start_with(Ids::Lenient).await;
    let mut builder = tests::history::Builder::new(6);
    let first = builder.child(&[]);
    let second = builder.child(&[&first]);
    let history = builder.finish();
    // Its parent never comes.
    let mut bundle = history.pack(&[&second]).with_head("main", "opaque");
    bundle.commits[0].set("commit_id", "opaque");
    cloud.process().push("song", "main", false, &bundle).await.expect(200);
    let report = song::check(&cloud, "song", true).await;
    assert_eq!(report.findings, []);
    assert!(report.counts.unhashed >= 3, "{:?}", report.counts);
    assert!(report.skipped.iter().any(|skipped| skipped.contains("ids are opaque")), "{:?}", report.skipped);
}
