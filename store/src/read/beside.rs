//! A short cut for requests that name the objects of a whole snapshot, as clients do with each push. Nearly all of
//! those objects are in the snapshot that the new one follows. To read that one manifest takes a few reads. To look
//! each object up takes as many reads as there are pages that it may be on.

use std::collections::HashSet;
use std::sync::Arc;

use crate::read::view::View;
use crate::{Store, StoreError};
use common::id::{CommitId, ObjectId, ObjectKey, RepoId};
use common::location::RecordLocation;
use common::wire::manifests::ManifestReader;

/// As many pages may be read one by one.
const FEW_PAGES: usize = 8;
/// How many bytes the manifests that are read instead may have together, uncompressed.
const MANIFEST_BYTES: u64 = 8 << 20;

impl Store {
    /// Those of these objects that snapshots of these commits name, as far as a branch has reached those: then they are all
    /// there and reached, where ids are hashes. None where looking them up takes few reads.
    ///
    /// # Errors
    /// When the stores do not answer, or something is damaged.
    pub async fn objects_beside(
        self: &Arc<Self>,
        repo: &RepoId,
        view: &View,
        keys: &HashSet<ObjectKey>,
        commits: &[CommitId],
    ) -> Result<HashSet<ObjectKey>, StoreError> {
        if commits.is_empty() || view.object_pages(keys).await? <= FEW_PAGES {
            return Ok(HashSet::new());
        }
        let newest = view.newest_first();
        let known = newest.commits(commits).await?;
        let reached: Vec<_> = known.into_values().filter(|commit| commit.is_reached).collect();
        let elsewhere = reached.iter().filter(|commit| commit.snapshot_place.is_none());
        let elsewhere = newest.snapshots(elsewhere.filter_map(|commit| commit.snapshot.as_ref())).await?;
        let mut places: Vec<RecordLocation> = reached.iter().filter_map(|commit| commit.snapshot_place).collect();
        places.extend(elsewhere.into_values().map(|snapshot| snapshot.place));
        places.sort_unstable();
        places.dedup();
        let mut bytes = 0_u64;
        places.retain(|place| {
            bytes = bytes.saturating_add(place.length.into());
            bytes <= MANIFEST_BYTES
        });
        let mut found = HashSet::new();
        if places.is_empty() {
            return Ok(found);
        }
        let _permit = self.read_permit().await?;
        let mut records = self.read_places(repo, &newest, &places).await?;
        let mut manifests = ManifestReader::default();
        while let Some(record) = records.next().await? {
            let see = |_: &str, object: ObjectId| {
                let key = object.key();
                if keys.contains(&key) && !view.purged().has(&key) {
                    found.insert(key);
                }
            };
            manifests.entries(record, see)?;
        }
        Ok(found)
    }
}
