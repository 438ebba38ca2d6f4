//! What commits have in them: their records, the files of their snapshots, and the bytes of those.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use common::id::{CommitId, ObjectId, ObjectKey, SnapshotId};
use common::location::{KnownCommit, ObjectLocation, RecordLocation};
use common::wire::manifests::MalformedSnapshot;
use common::wire::record::Snapshot;
use common::wire::{WireError, recode};
use jiff::Timestamp;
use pages::diff::is_worth_loading;
use pages::parts::{CommitLine, FileChange, Side};
use serde_json::Value;
use store::{StoreError, compute};

use crate::{Opened, Reader};

/// Files of a change that are shown, and their bytes before and after together.
const MAX_FILES: usize = 60;
const MAX_BYTES: u64 = 6 << 20;
/// Bytes of the records of one page: of its commits, or of its snapshots.
const MAX_RECORDS: u64 = 64 << 20;

/// The files of a snapshot: paths in order, and the object of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(pub(crate) Vec<(String, ObjectId)>);

impl Files {
    pub(crate) fn get(&self, path: &str) -> Option<&ObjectId> {
        let position = self.0.binary_search_by(|(known, _)| known.as_str().cmp(path)).ok()?;
        self.0.get(position).map(|(_, object)| object)
    }
}

impl Reader<'_> {
    /// Records at places, in the order of these.
    pub(crate) async fn records(&self, opened: &Opened, places: &[RecordLocation]) -> Result<Vec<Bytes>, WireError> {
        let bytes: u64 = places.iter().map(|place| u64::from(place.length)).sum();
        if bytes > MAX_RECORDS {
            return Err(WireError::TooLargeToShow(format!("{bytes} bytes")));
        }
        // What lies in one frame is read together, whatever order it is asked in.
        let mut sorted: Vec<usize> = (0..places.len()).collect();
        sorted.sort_by_key(|position| places.get(*position));
        let ordered: Vec<RecordLocation> =
            sorted.iter().filter_map(|position| places.get(*position)).copied().collect();
        let mut records = vec![Bytes::new(); places.len()];
        if ordered.is_empty() {
            return Ok(records);
        }
        let mut reader = self.hub.store.read_places(&opened.repo.id, &opened.view, &ordered).await?;
        for position in sorted {
            let record = reader.next().await?.ok_or_else(|| StoreError::Damaged("a record is missing".to_owned()))?;
            if let Some(slot) = records.get_mut(position) {
                *slot = record;
            }
        }
        Ok(records)
    }

    /// Commits as a list shows them, and what else each says.
    pub(crate) async fn commits(
        &self,
        opened: &Opened,
        commits: &[(CommitId, KnownCommit)],
    ) -> Result<Vec<(CommitLine, Value)>, WireError> {
        let places: Vec<RecordLocation> = commits.iter().map(|(_, commit)| commit.place).collect();
        let records = self.records(opened, &places).await?;
        commits.iter().zip(records).map(|((id, commit), record)| line(id, commit, &record)).collect()
    }

    /// The files of commits' snapshots; none of a commit without one.
    pub(crate) async fn files(&self, opened: &Opened, commits: &[&KnownCommit]) -> Result<Vec<Arc<Files>>, WireError> {
        let elsewhere = commits.iter().filter(|commit| commit.snapshot_place.is_none());
        let elsewhere: Vec<&SnapshotId> = elsewhere.filter_map(|commit| commit.snapshot.as_ref()).collect();
        let known = opened.view.snapshots(elsewhere).await?;
        let place = |commit: &&KnownCommit| match commit.snapshot_place {
            Some(place) => Some(place),
            None => Some(known.get(commit.snapshot.as_ref()?)?.place),
        };
        let places: Vec<Option<RecordLocation>> = commits.iter().map(place).collect();
        let mut there: Vec<RecordLocation> = places.iter().flatten().copied().collect();
        there.sort_unstable();
        there.dedup();
        let records = self.records(opened, &there).await?;
        let files = |record: &Bytes| compute(|| files_of(record)).map(Arc::new);
        let read: Vec<Arc<Files>> = records.iter().map(files).collect::<Result<_, _>>()?;
        let read: HashMap<RecordLocation, Arc<Files>> = there.into_iter().zip(read).collect();
        Ok(places
            .into_iter()
            .map(|place| place.and_then(|place| read.get(&place).cloned()).unwrap_or_default())
            .collect())
    }

    /// Objects that readers may see, with their sizes. One that was purged, or is missing, is left out.
    pub(crate) async fn objects(
        &self,
        opened: &Opened,
        objects: &[&ObjectId],
    ) -> Result<HashMap<ObjectKey, ObjectLocation>, WireError> {
        let keys: Vec<ObjectKey> = objects.iter().map(|object| object.key()).collect();
        let known = opened.view.objects(&keys).await?;
        Ok(known.into_iter().filter(|(_, object)| object.is_reached).map(|(key, object)| (key, object.place)).collect())
    }

    /// What differs between two snapshots, with the bytes that are worth showing; and how many more files differ.
    pub(crate) async fn changes(
        &self,
        opened: &Opened,
        before: &Files,
        after: &Files,
    ) -> Result<(Vec<FileChange>, u64), WireError> {
        let changed = changed(before, after);
        let more = changed.len().saturating_sub(MAX_FILES) as u64;
        let shown = changed.get(..MAX_FILES.min(changed.len())).unwrap_or_default();
        let both: Vec<&ObjectId> = shown.iter().flat_map(|change| [change.before, change.after]).flatten().collect();
        let known = self.objects(opened, &both).await?;
        let mut left = MAX_BYTES;
        let mut wanted: Vec<(ObjectKey, RecordLocation)> = Vec::new();
        for change in shown {
            let sides = [(change.from.unwrap_or(change.path), change.before), (change.path, change.after)];
            for (path, object) in sides.into_iter().filter_map(|(path, object)| Some((path, object?))) {
                let key = object.key();
                if let Some(ObjectLocation::Packed(place)) = known.get(&key)
                    && is_worth_loading(path, Some(place.length.into()))
                    && u64::from(place.length) <= left
                    && !wanted.iter().any(|(known, _)| *known == key)
                {
                    left -= u64::from(place.length);
                    wanted.push((key, *place));
                }
            }
        }
        let places: Vec<RecordLocation> = wanted.iter().map(|(_, place)| *place).collect();
        let loaded = self.records(opened, &places).await?;
        let loaded: HashMap<ObjectKey, Bytes> = wanted.into_iter().map(|(key, _)| key).zip(loaded).collect();
        let side = |object: Option<&ObjectId>| {
            let Some(key) = object.map(ObjectId::key) else {
                return Side::Absent;
            };
            match (loaded.get(&key), known.get(&key)) {
                (Some(bytes), _) => Side::Loaded(bytes.to_vec()),
                (None, known) => Side::NotLoaded { size: known.map(size_of) },
            }
        };
        let shown = shown.iter().map(|change| FileChange {
            path: change.path.to_owned(),
            from: change.from.map(str::to_owned),
            before: side(change.before),
            after: side(change.after),
        });
        Ok((shown.collect(), more))
    }
}

/// Bytes of an object.
pub(crate) fn size_of(place: &ObjectLocation) -> u64 {
    match place {
        ObjectLocation::Packed(place) => place.length.into(),
        ObjectLocation::Large(large) => large.size,
    }
}

fn files_of(record: &[u8]) -> Result<Files, WireError> {
    let snapshot: Snapshot<'_> =
        rmp_serde::from_slice(record).map_err(|error| StoreError::from(MalformedSnapshot::from(error)))?;
    let mut files: Vec<(String, ObjectId)> =
        snapshot.manifest.entries.into_iter().map(|(path, object)| (path.to_string(), object)).collect();
    files.sort_unstable();
    Ok(Files(files))
}

/// A file that two snapshots have not both, or not the same.
struct Changed<'f> {
    path: &'f str,
    /// The path that it had before, if it has moved.
    from: Option<&'f str>,
    before: Option<&'f ObjectId>,
    after: Option<&'f ObjectId>,
}

/// What differs, by path. A file that is gone and another that has come with the same content are one that has moved.
fn changed<'f>(before: &'f Files, after: &'f Files) -> Vec<Changed<'f>> {
    let mut changed: Vec<Changed<'f>> = Vec::new();
    let mut gone: HashMap<&ObjectId, Vec<&str>> = HashMap::new();
    for (path, object) in &before.0 {
        match after.get(path) {
            None => gone.entry(object).or_default().push(path),
            Some(now) if now == object => {}
            Some(now) => changed.push(Changed { path, from: None, before: Some(object), after: Some(now) }),
        }
    }
    for (path, object) in after.0.iter().filter(|(path, _)| before.get(path).is_none()) {
        let from = gone.get_mut(object).and_then(Vec::pop);
        changed.push(Changed { path, from, before: from.map(|_| object), after: Some(object) });
    }
    for (object, paths) in gone {
        changed.extend(paths.into_iter().map(|path| Changed { path, from: None, before: Some(object), after: None }));
    }
    changed.sort_unstable_by_key(|change| change.path);
    changed
}

/// A commit as a list shows it, from its record, and all that the record has.
fn line(id: &CommitId, commit: &KnownCommit, record: &[u8]) -> Result<(CommitLine, Value), WireError> {
    let mut json = Vec::new();
    recode::to_json(record, &mut json)?;
    let value: Value =
        serde_json::from_slice(&json).map_err(|error| StoreError::Damaged(format!("a commit: {error}")))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |name: &str| -> Vec<String> {
        let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
        items.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
    };
    let line = CommitLine {
        id: id.to_string(),
        parents: commit.parents.iter().map(ToString::to_string).collect(),
        message: text("message"),
        author: text("author"),
        agent: text("agent_id"),
        model: text("model_id"),
        committed_at: text("committed_at").parse::<Timestamp>().ok(),
        bump: text("sem_ver_bump"),
        breaking: list("breaking_changes"),
        ..CommitLine::default()
    };
    Ok((line, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        let mut files: Vec<(String, ObjectId)> =
            entries.iter().map(|(path, content)| ((*path).to_owned(), ObjectId::of(content.as_bytes()))).collect();
        files.sort_unstable();
        Files(files)
    }

    #[test]
    fn what_differs_is_named_once_and_what_moved_is_known_by_its_content() {
        let before = files(&[("a", "1"), ("b", "2"), ("gone", "3"), ("old/name", "4"), ("same", "5")]);
        let after = files(&[("a", "1"), ("b", "two"), ("new", "6"), ("new/name", "4"), ("same", "5")]);
        let found: Vec<_> = changed(&before, &after)
            .iter()
            .map(|change| (change.path, change.from, change.before.is_some(), change.after.is_some()))
            .collect();
        assert_eq!(
            found,
            [
                ("b", None, true, true),
                ("gone", None, true, false),
                ("new", None, false, true),
                ("new/name", Some("old/name"), true, true)
            ]
        );
        assert!(changed(&before, &before).is_empty());
    }
}
