//! The manifests of stored snapshots, read one after the other for what is new in each.
//!
//! Neighbours in history have nearly all entries in common. Those are compared as bytes, and nothing of them is decoded: a
//! reader of a whole history would spend most of its time with the same ids else.

use std::ops::Range;

use bytes::Bytes;
use rmp::decode::{read_map_len, read_str_len};

use super::record::Snapshot;
use crate::id::ObjectId;

/// Nothing, in msgpack. <https://github.com/msgpack/msgpack/blob/master/spec.md>
const NIL: u8 = 0xc0;

/// A record that is kept as a snapshot's and is none.
#[derive(Debug, thiserror::Error)]
#[error("a snapshot: {0}")]
pub struct MalformedSnapshot(#[from] rmp_serde::decode::Error);

/// Reads manifests, and remembers the last.
#[derive(Debug, Default)]
pub struct ManifestReader {
    /// The record before.
    before: Bytes,
    /// Where its entries lie in it.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Path and id, as msgpack.
    all: Range<usize>,
    /// The text of the path.
    path: Range<usize>,
}

impl ManifestReader {
    /// Shows the entries of a snapshot's record: path and object. Those that the record before has too may be left out.
    ///
    /// ```
    /// use common::wire::manifests::ManifestReader;
    /// use common::wire::record::Snapshot;
    ///
    /// let mut seen = Vec::new();
    /// let mut reader = ManifestReader::default();
    /// for manifest in [r#"{"a": "1", "b": "2"}"#, r#"{"a": "1", "b": "3"}"#] {
    ///     let snapshot = format!(r#"{{"snapshot_id": "s", "manifest": {manifest}}}"#);
    ///     let record = serde_json::from_str::<Snapshot>(&snapshot)?.record()?;
    ///     reader.entries(record.into(), |path, object| seen.push(format!("{path} {object}")))?;
    /// }
    /// assert_eq!(seen, ["a 1", "b 2", "b 3"]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    /// # Errors
    /// When the record is no snapshot.
    pub fn entries(&mut self, record: Bytes, mut see: impl FnMut(&str, ObjectId)) -> Result<(), MalformedSnapshot> {
        let mut read = Vec::with_capacity(self.entries.len());
        let is_read = self.compare(&record, &mut read, &mut see).is_some();
        self.entries = read;
        if !is_read {
            // Its fields lie in another order than the hub writes, or it is damaged. What was shown already is shown again.
            self.entries.clear();
            let snapshot: Snapshot<'_> = rmp_serde::from_slice(&record)?;
            snapshot.manifest.entries.into_iter().for_each(|(path, object)| see(&path, object));
        }
        self.before = record;
        Ok(())
    }

    /// None if the record is not as [`Snapshot::record`] writes it.
    fn compare(&self, record: &[u8], read: &mut Vec<Entry>, see: &mut impl FnMut(&str, ObjectId)) -> Option<()> {
        let mut cursor = Cursor { bytes: record, at: 0 };
        (cursor.map()? == 3).then_some(())?;
        cursor.key("snapshot_id")?;
        cursor.text()?;
        cursor.key("manifest")?;
        let mut others = self.entries.iter().peekable();
        for _ in 0..cursor.map()? {
            let start = cursor.at;
            if let Some(other) = others.next_if(|other| self.has(other, record, start)) {
                let moved = |at: usize| start + (at - other.all.start);
                read.push(Entry {
                    all: start..moved(other.all.end),
                    path: moved(other.path.start)..moved(other.path.end),
                });
                cursor.at = moved(other.all.end);
                continue;
            }
            let path = cursor.text()?;
            let id = cursor.text()?;
            let path_text = record.get(path.clone())?;
            // As long as the paths are in order, those that are passed over do not come any more.
            let lies_before =
                |other: &&Entry| self.before.get(other.path.clone()).is_some_and(|other| other < path_text);
            while others.next_if(lies_before).is_some() {}
            if others.next_if(|other| self.has(other, record, start)).is_none() {
                see(std::str::from_utf8(path_text).ok()?, std::str::from_utf8(record.get(id)?).ok()?.parse().ok()?);
            }
            read.push(Entry { all: start..cursor.at, path });
        }
        cursor.key("created_at")?;
        if record.get(cursor.at..) != Some(&[NIL]) {
            cursor.text()?;
            (cursor.at == record.len()).then_some(())?;
        }
        Some(())
    }

    /// Whether the record has this entry of the one before, at this place.
    fn has(&self, other: &Entry, record: &[u8], at: usize) -> bool {
        let other = self.before.get(other.all.clone());
        other.zip(record.get(at..)).is_some_and(|(other, rest)| rest.starts_with(other))
    }
}

/// A place in a record.
struct Cursor<'r> {
    bytes: &'r [u8],
    at: usize,
}

impl Cursor<'_> {
    /// How many entries the map has that begins here.
    fn map(&mut self) -> Option<u32> {
        let mut rest = self.bytes.get(self.at..)?;
        let length = read_map_len(&mut rest).ok()?;
        self.at = self.bytes.len() - rest.len();
        Some(length)
    }

    /// Where the text lies that begins here.
    fn text(&mut self) -> Option<Range<usize>> {
        let mut rest = self.bytes.get(self.at..)?;
        let length = read_str_len(&mut rest).ok()? as usize;
        let start = self.bytes.len() - rest.len();
        self.at = start.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        Some(start..self.at)
    }

    fn key(&mut self, name: &str) -> Option<()> {
        let text = self.text()?;
        (self.bytes.get(text)? == name.as_bytes()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Entries of a few paths, long enough that all forms of a text's length come up, and in any order.
    fn manifest() -> impl Strategy<Value = Vec<(String, String)>> {
        let path = (0_u8..6, prop_oneof![4 => Just(1_usize), 1 => Just(40), 1 => Just(300)]);
        let path = path.prop_map(|(letter, times)| char::from(b'a' + letter).to_string().repeat(times));
        let id = (0_u8..4, any::<bool>()).prop_map(|(number, is_hash)| match is_hash {
            true => ObjectId::of(&[number]).to_string(),
            false => format!("o{number}"),
        });
        (prop::collection::btree_map(path, id, 0..20), any::<bool>()).prop_map(|(entries, is_sorted)| {
            let mut entries: Vec<_> = entries.into_iter().collect();
            if !is_sorted {
                entries.reverse();
            }
            entries
        })
    }

    /// The record as the hub writes it, or with its fields in another order.
    fn record(entries: &[(String, String)], is_written_by_the_hub: bool) -> Bytes {
        let texts =
            |texts: &[&str]| texts.iter().flat_map(|text| rmp_serde::to_vec(text).unwrap()).collect::<Vec<u8>>();
        let mut manifest = Vec::new();
        rmp::encode::write_map_len(&mut manifest, entries.len() as u32).unwrap();
        manifest.extend(entries.iter().flat_map(|(path, id)| texts(&[path, id])));
        let (mut record, created) = (vec![0x83], texts(&["created_at", "2026-01-01"]));
        let id = texts(&["snapshot_id", "s"]);
        let manifest = [texts(&["manifest"]), manifest].concat();
        match is_written_by_the_hub {
            true => record.extend([id, manifest, created].concat()),
            false => record.extend([created, manifest, id].concat()),
        }
        record.into()
    }

    proptest! {
        /// All that a run of manifests names is shown, and nothing else; and of each what the one before lacks.
        #[test]
        fn what_is_shown_is_what_manifests_name(manifests in prop::collection::vec((manifest(), any::<bool>()), 0..6)) {
            let (mut all, mut shown) = (BTreeSet::new(), BTreeSet::new());
            let mut reader = ManifestReader::default();
            let mut before = Vec::new();
            for (entries, is_written_by_the_hub) in manifests {
                let mut now = BTreeSet::new();
                let see = |path: &str, object: ObjectId| {
                    now.insert((path.to_owned(), object.to_string()));
                };
                reader.entries(record(&entries, is_written_by_the_hub), see).unwrap();
                prop_assert!(entries.iter().all(|entry| now.contains(entry) || before.contains(entry)));
                prop_assert!(now.iter().all(|entry| entries.contains(entry)));
                if is_written_by_the_hub && entries.is_sorted() && before.is_sorted() {
                    prop_assert!(now.iter().all(|entry| !before.contains(entry)), "what both have is passed over");
                }
                shown.append(&mut now);
                all.extend(entries.iter().cloned());
                before = if is_written_by_the_hub { entries } else { Vec::new() };
            }
            prop_assert_eq!(shown, all);
        }

        /// A record that is cut off anywhere is no snapshot, and what follows is read as if it had not come.
        #[test]
        fn a_record_that_is_cut_off_is_refused(entries in manifest(), next in manifest(), cut in any::<prop::sample::Index>()) {
            let mut reader = ManifestReader::default();
            let whole = record(&entries, true);
            prop_assert!(reader.entries(whole.slice(..cut.index(whole.len())), |_, _| ()).is_err());
            let mut shown = Vec::new();
            reader.entries(record(&next, true), |path, object| shown.push((path.to_owned(), object.to_string()))).unwrap();
            prop_assert_eq!(shown, next);
        }
    }

    #[test]
    fn a_record_with_an_id_that_is_none_is_refused() {
        let record = rmp_serde::to_vec_named(&json!({"snapshot_id": "s", "manifest": {"a": "no id!"}})).unwrap();
        assert!(ManifestReader::default().entries(record.into(), |_, _| ()).is_err());
    }
}
