//! Commits, snapshots and releases, which are kept as they came.
//!
//! A record that was kept is read again as the same record, from either encoding of it, however often; and the domain that a
//! file names is one of those that clients know, or none.

use common::wire::commit::Commit;
use common::wire::domain::Domain;
use common::wire::record::Snapshot;
use common::wire::release::{PostedRelease, Release};
use common::wire::value::Value;
use common::wire::{Encoding, WireError, recode};
use serde_json::json;

use crate::refusal;

const NOW: &str = "2026-01-02T03:04:05Z";

/// Panics if these bytes, as a record, break a promise.
pub fn check(record: &[u8]) {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        checked(encoding.decode::<Commit>(record), commit);
        checked(encoding.decode::<Snapshot<'_>>(record), snapshot);
        checked(encoding.decode::<PostedRelease>(record), release);
    }
    let _ = Domain::of_attributes(record);
}

fn checked<T>(decoded: Result<T, WireError>, check: impl FnOnce(T)) {
    match decoded {
        Ok(decoded) => check(decoded),
        Err(error) => refusal::check(&error),
    }
}

/// The record as JSON, as a client that asks for JSON gets it.
fn as_json(record: &[u8]) -> Vec<u8> {
    let mut json = Vec::new();
    recode::to_json(record, &mut json).expect("a record can be written as JSON");
    json
}

fn commit(mut commit: Commit) {
    for (encoding, sent) in [(Encoding::Msgpack, commit.record().to_vec()), (Encoding::Json, as_json(commit.record()))]
    {
        let again: Commit = encoding.decode(&sent).expect("what was given out is taken");
        assert_eq!(again.record(), commit.record(), "{encoding:?}");
        assert_eq!((&again.id, &again.parents, &again.snapshot), (&commit.id, &commit.parents, &commit.snapshot));
        assert_eq!(again.is_proved(), commit.is_proved());
        assert!(commit.is_annotated_as(again.record()).expect("its own record is readable"));
    }
    let _ = Domain::of_commit(&commit);
    let (was_proved, was_complete) = (commit.is_proved(), !commit.is_incomplete());
    commit.complete("ada", NOW).expect("its own record is readable");
    assert!(!commit.is_incomplete());
    let stored: Commit = Encoding::Msgpack.decode(commit.record()).expect("what is stored is readable");
    assert!(!stored.is_incomplete(), "what was filled in is there");
    assert!(!was_proved || stored.is_proved_as_stored(), "what was proved is proved as it is stored");
    assert!(!was_complete || stored.is_proved() == was_proved, "a complete commit stays as it came");
    if let Some(unfilled) = stored.unfilled() {
        assert_eq!(unfilled.id, stored.id);
    }
}

fn snapshot(snapshot: Snapshot<'_>) {
    let record = snapshot.record().expect("a snapshot can be written");
    let again: Snapshot<'_> = Encoding::Msgpack.decode(&record).expect("what was given out is taken");
    assert_eq!(again.record().expect("a snapshot can be written"), record);
    assert_eq!(again.manifest.entries, snapshot.manifest.entries);
    assert_eq!(again.is_proved(), snapshot.is_proved());
    for is_tree in [false, true] {
        let (first, second) = (snapshot.check(is_tree), again.check(is_tree));
        assert_eq!(first.is_ok(), second.is_ok());
        if let Err(error) = first {
            refusal::check(&error);
        }
    }
}

fn release(posted: PostedRelease) {
    let release = match Release::check(posted, "id", "repo", NOW) {
        Ok(release) => release,
        Err(error) => return refusal::check(&error),
    };
    let record = release.record().expect("a release can be written");
    for (encoding, sent) in [(Encoding::Msgpack, record.clone()), (Encoding::Json, as_json(&record))] {
        let posted: PostedRelease = encoding.decode(&sent).expect("what was given out is taken");
        let again = Release::check(posted, "other", "other", "other").expect("what was taken is taken again");
        assert_eq!(again.record().expect("a release can be written"), record, "{encoding:?}");
        let published: Value = rmp_serde::from_slice(&record).expect("a record is msgpack");
        assert!(again.is_again(&published), "the same release sent again is the same release");
    }
}

/// Records of each kind in both encodings, and a file of attributes.
pub fn seeds() -> Vec<Vec<u8>> {
    let records = [
        json!({"commit_id": "c"}),
        json!({
            "commit_id": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d", "repo_id": "r",
            "branch": "main", "snapshot_id": "s", "message": "one\ntwo", "committed_at": "2026-01-01T00:00:00+00:00",
            "parent_commit_id": "a", "parent2_commit_id": "b", "author": "ada", "metadata": {"k": "v"},
            "structured_delta": {"domain": "scaffold", "ops": [{"n": 1.5}]}, "sem_ver_bump": "minor",
            "breaking_changes": ["x", "y"], "reviewed_by": ["z"], "test_runs": 3, "format_version": 2, "new": [[], {}],
        }),
        json!({"snapshot_id": "s", "manifest": {"a": "o", "b/c": "p", "b\\d": "q"}, "created_at": null}),
        json!({"snapshot_id": "s", "manifest": {}}),
        json!({
            "tag": "v1", "commit_id": "c", "release_id": "", "semver": {"major": 1, "pre": "rc1"}, "channel": "beta",
            "changelog": [{"text": "x"}], "is_draft": true, "created_at": "t", "body": "b",
        }),
    ];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for record in records {
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            seeds.push(encoding.encode(&record).expect("a value can be written"));
        }
    }
    seeds.push(b"[meta]\ndomain = \"midi\" # music\n".to_vec());
    seeds
}
