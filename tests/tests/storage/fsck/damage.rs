//! Damage to what S3 holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use fsck::Report;
use fsck::finding::{Problem, Remedy, Severity};
use proptest::prelude::*;

use super::song::Song;
use crate::process::{Cloud, for_every};

fn pack_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap().trim_end_matches(".pack")
}

/// Whether a finding of damage names the S3 object.
fn names(report: &Report, key: &str) -> bool {
    let named = |problem: &Problem| match problem {
        Problem::PackDamaged { pack, .. } | Problem::PackMissing { pack } | Problem::PackSize { pack, .. } => {
            pack.to_string() == pack_of(key)
        }
        Problem::LargeDamaged { object, pack }
        | Problem::LargeMissing { object, pack }
        | Problem::LargeSize { object, pack, .. } => key.ends_with(&format!("{pack}/{}", object.as_ref())),
        _ => false,
    };
    report.findings.iter().any(|finding| finding.severity == Severity::Damage && named(&finding.problem))
}

struct Prepared {
    cloud: Cloud,
    song: Song,
    files: Vec<(String, Bytes)>,
}

async fn prepare() -> Prepared {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let files: Vec<(String, Bytes)> = song.files(&cloud).await.into_iter().collect();
    assert!(files.iter().any(|(key, _)| key.starts_with("objects/")));
    Prepared { cloud, song, files }
}

#[test]
fn whatever_bit_of_whatever_file_is_flipped_a_deep_check_names_the_file() {
    let cases = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u32..8);
    for_every(120, cases, prepare, async |Prepared { cloud, song, files }, (file, byte, bit)| {
        let (key, content) = &files[file.index(files.len())];
        let mut flipped = content.to_vec();
        flipped[byte.index(content.len())] ^= 1 << bit;
        cloud.put(key, flipped.into()).await;
        let report = song.check(cloud, true).await;
        cloud.put(key, content.clone()).await;
        assert!(!report.is_whole());
        assert!(names(&report, key), "{key}: {:?}", report.findings);
    });
}

#[tokio::test]
async fn a_file_that_is_gone_or_has_another_size_is_named_without_reading_everything() {
    let Prepared { cloud, song, files } = prepare().await;
    for (key, content) in &files {
        let longer = [content.as_ref(), b"x"].concat();
        for damaged in [None, Some(content.slice(..content.len() - 1)), Some(Bytes::new()), Some(longer.into())] {
            match &damaged {
                None => cloud.delete(key).await,
                Some(damaged) => cloud.put(key, damaged.clone()).await,
            }
            for is_deep in [false, true] {
                let report = song.check(&cloud, is_deep).await;
                assert!(names(&report, key), "{key} with {damaged:?}: {:?}", report.findings);
            }
        }
        cloud.put(key, content.clone()).await;
    }
    assert_eq!(song.check(&cloud, true).await.findings, []);
}

#[tokio::test]
async fn it_says_what_depends_on_a_damaged_frame_and_what_could_mend_it() {
    let Prepared { cloud, song, files } = prepare().await;
    let packs: BTreeMap<&str, &(String, Bytes)> = files.iter().map(|file| (file.0.as_str(), file)).collect();
    // The pack of the second push has commits that both main and side are built upon.
    let (key, content) = packs.values().filter(|(key, _)| key.starts_with("packs/")).nth(1).unwrap();
    let mut flipped = content.to_vec();
    flipped[10] ^= 1;
    cloud.put(key, flipped.into()).await;
    let report = song.check(&cloud, true).await;
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    let Problem::PackDamaged { part, records, lost, .. } = &finding.problem else { panic!("{finding:?}") };
    assert_eq!((part.as_str(), *records, lost.len()), ("frame 0", Some(2), 2));
    assert_eq!(finding.remedy, Remedy::Clone);
    assert_eq!(finding.depends.branches, ["away", "main", "side"]);
    assert_eq!(finding.depends.names, ["TAG#v2", "REL#v2"], "and not v1, which is older");
    let second = song.history.ids()[2].clone();
    assert_eq!(finding.depends.first_commit.as_ref().unwrap().as_ref().to_string(), second);
    let text = format!("{}; {}", finding.problem, finding.depends);
    assert!(text.contains("frame 0: it does not have its checksum, 2 records in it"), "{text}");
    let json = serde_json::to_value(finding).unwrap();
    assert_eq!((&json["problem"], &json["severity"]), (&"pack_damaged".into(), &"damage".into()));
    assert_eq!(json["pack"], pack_of(key));
}

#[tokio::test]
async fn a_pack_that_is_gone_is_followed_to_every_record_that_is_missed() {
    let Prepared { cloud, song, files } = prepare().await;
    let (key, _) = files.iter().find(|(key, _)| key.starts_with("packs/")).unwrap();
    cloud.delete(key).await;
    let report = song.check(&cloud, false).await;
    let missing =
        |wanted: fn(&Problem) -> bool| report.findings.iter().filter(|finding| wanted(&finding.problem)).count();
    assert_eq!(missing(|problem| matches!(problem, Problem::PackMissing { .. })), 1);
    assert_eq!(missing(|problem| matches!(problem, Problem::CommitMissing { .. })), 1);
    assert!(missing(|problem| matches!(problem, Problem::ObjectMissing { .. })) >= 4);
    assert!(report.findings.iter().all(|finding| finding.remedy == Remedy::Clone), "{:?}", report.findings);
    let gone = report.findings.iter().find(|finding| matches!(finding.problem, Problem::PackMissing { .. })).unwrap();
    assert!(gone.depends.everything, "without its index nothing of the repo can be read");
}
