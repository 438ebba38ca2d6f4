//! Holds one record of a frame against the id that it lies under. Pure.

use super::catalog::RecordId;
use common::id::Ids;
use common::id::ObjectId;
use common::wire::commit::Commit;
use common::wire::record::Snapshot;

/// What a record turned out to be.
#[derive(Debug)]
pub enum Opened<'r> {
    /// A commit.
    Commit(Box<Commit>),
    /// A snapshot.
    Snapshot(Snapshot<'r>),
    /// An object.
    Object,
}

/// Opens a record, and recomputes its id as a push did, where ids are hashes.
///
/// # Errors
/// What is wrong with it, as a sentence's end.
pub fn open<'r>(id: &RecordId, record: &'r [u8], ids: Ids) -> Result<Opened<'r>, String> {
    const NOT_PROVED: &str = "its id is not the hash of it";
    match id {
        RecordId::Commit(id) => {
            let commit: Commit = rmp_serde::from_slice(record).map_err(|error| format!("it is no commit: {error}"))?;
            if commit.id != *id {
                return Err(format!("it is the commit {}", commit.id.as_ref()));
            }
            if ids.are_checked() && !commit.is_proved_as_stored() {
                return Err(NOT_PROVED.to_owned());
            }
            Ok(Opened::Commit(Box::new(commit)))
        }
        RecordId::Snapshot(id) => {
            let snapshot: Snapshot<'_> =
                rmp_serde::from_slice(record).map_err(|error| format!("it is no snapshot: {error}"))?;
            if snapshot.snapshot_id != *id {
                return Err(format!("it is the snapshot {}", snapshot.snapshot_id.as_ref()));
            }
            snapshot.check(false).map_err(|error| error.to_string())?;
            if ids.are_checked() && !snapshot.is_proved() {
                return Err(NOT_PROVED.to_owned());
            }
            Ok(Opened::Snapshot(snapshot))
        }
        RecordId::Object(key) => {
            if ids.are_checked() && ObjectId::of(record).key() != *key {
                return Err(NOT_PROVED.to_owned());
            }
            Ok(Opened::Object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_under_another_id_is_not_what_it_says() {
        let key = |content: &[u8]| RecordId::Object(ObjectId::of(content).key());
        assert!(open(&key(b"a"), b"a", Ids::Strict).is_ok());
        assert!(open(&key(b"a"), b"b", Ids::Strict).is_err());
        assert!(open(&key(b"a"), b"b", Ids::Lenient).is_ok(), "an opaque id may be that of anything");

        let snapshot = |id: &str| {
            let manifest = serde_json::json!({"snapshot_id": id, "manifest": {}, "created_at": null});
            rmp_serde::to_vec_named(&manifest).unwrap()
        };
        // The hash of nothing at all.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let id = RecordId::Snapshot(empty.parse().unwrap());
        assert!(open(&id, &snapshot(empty), Ids::Strict).is_ok());
        for ids in [Ids::Strict, Ids::Lenient] {
            assert!(open(&id, &snapshot("another"), ids).unwrap_err().contains("it is the snapshot another"));
            assert!(open(&id, b"\xc1", ids).unwrap_err().contains("it is no snapshot"));
            assert!(open(&RecordId::Commit(empty.parse().unwrap()), b"\x80", ids).unwrap_err().contains("no commit"));
        }
        let other = RecordId::Snapshot("other".parse().unwrap());
        assert!(open(&other, &snapshot("other"), Ids::Strict).is_err());
        assert!(open(&other, &snapshot("other"), Ids::Lenient).is_ok());
    }
}
