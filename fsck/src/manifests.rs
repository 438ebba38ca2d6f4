//! What the manifests of snapshots name. Their frames are read in this pass and in no other.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;

use super::Check;
use super::catalog::{RecordId, Touched, ids};
use super::finding::{Problem, Remedy};
use super::frames::read;
use super::packs::open_pack;
use super::record::{Opened, open};
use super::references::Named;
use common::id::{ObjectKey, SnapshotId};
use common::pack::{Contents, Kind, PackId};
use store::StoreError;
use store::compute;

/// Snapshots that are followed for each object that is damaged or missing: what their commits' heirs hold is counted
/// with them.
const NAMED_BY: usize = 64;

/// What one manifest says that the rest of the repo does not bear out.
#[derive(Default)]
struct Wrong {
    missing: Vec<(ObjectKey, String)>,
    unseen: Vec<ObjectKey>,
    touched: Vec<ObjectKey>,
}

impl Check<'_> {
    /// Reads all manifests. A first look only takes down what they name.
    pub(super) async fn check_manifests(&mut self, mut named: Option<&mut Named<'_, '_>>) -> Result<(), StoreError> {
        // What findings touch so far; what is missing is touched as it is found.
        let mut affected: HashSet<ObjectKey> = HashSet::new();
        for pending in &self.pending {
            affected.extend(pending.touched.objects.iter().cloned());
        }
        let mut seen: HashSet<ObjectKey> = HashSet::new();
        let listed: Vec<_> = self.diagnosis.listed.iter().map(|(pack, summary)| (*pack, *summary)).collect();
        let total = listed.len() as u64;
        for (position, (pack, summary)) in listed.into_iter().enumerate() {
            self.report_progress("manifests", position as u64, total);
            let is_closed = self.diagnosis.damaged.get(&pack).is_some_and(|has_contents| !has_contents);
            let Some(size) = self.stored_packs.get(&pack).copied().filter(|_| !is_closed && summary.snapshots > 0)
            else {
                continue;
            };
            let opening = open_pack(self.store, &self.subject.id, pack, size, Some(summary)).await?;
            self.counts.bytes_read += opening.bytes_read;
            if let Some(contents) = opening.contents {
                let number = self.order.binary_search(&pack).unwrap_or_default();
                let number = u32::try_from(number).map_err(StoreError::fault)?;
                let seen = (&mut affected, &mut seen);
                self.check_manifests_of(number, pack, &contents, named.as_deref_mut(), seen).await?;
            }
        }
        Ok(())
    }

    async fn check_manifests_of(
        &mut self,
        number: u32,
        pack: PackId,
        contents: &Contents,
        mut named: Option<&mut Named<'_, '_>>,
        (affected, seen): (&mut HashSet<ObjectKey>, &mut HashSet<ObjectKey>),
    ) -> Result<(), StoreError> {
        let (store, repo) = (Arc::clone(self.store), self.subject.id.clone());
        let kinds = [Kind::Snapshots, Kind::StagedSnapshots];
        let mut reads = std::pin::pin!(read(&store, &repo, pack, &contents.frames, &kinds));
        while let Some(frames) = reads.next().await {
            for frame in frames? {
                let Some(raw) = self.whole_frame(number, pack, contents, &frame) else { continue };
                let kind = contents.frames.get(frame.number).map(|frame| frame.kind);
                let Some(records) = contents.records.get(frame.number) else { continue };
                let mut start = 0_usize;
                for (id, length) in ids(records) {
                    let end = start.saturating_add(length as usize);
                    let record = raw.get(start..end).unwrap_or_default();
                    start = end;
                    self.counts.unhashed += u64::from(!self.options.ids.are_checked());
                    match compute(|| open(&id, record, self.options.ids)) {
                        Ok(Opened::Snapshot(snapshot)) => {
                            let is_staged = kind == Some(Kind::StagedSnapshots);
                            if let Some(named) = &mut named {
                                named.take(&snapshot, is_staged).await?;
                                continue;
                            }
                            let wrong = compute(|| self.compare(&snapshot, is_staged, affected));
                            self.take(snapshot.snapshot_id, is_staged, wrong, affected, seen);
                        }
                        Ok(_) => {}
                        Err(reason) => self.find_wrong(pack, frame.number, id, reason),
                    }
                }
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        snapshot: &common::wire::record::Snapshot<'_>,
        is_staged: bool,
        affected: &HashSet<ObjectKey>,
    ) -> Wrong {
        let mut wrong = Wrong::default();
        let catalog = &self.diagnosis.catalog;
        for (path, object) in &snapshot.manifest.entries {
            let key = object.key();
            let record = RecordId::Object(key);
            let copies = catalog.copies(&record);
            let RecordId::Object(key) = record else { continue };
            if copies.is_none() {
                if self.purged.contains_key(&key) {
                    continue;
                }
                wrong.missing.push((key, path.to_string()));
            } else if affected.contains(&key) {
                wrong.touched.push(key);
            } else if !is_staged && !catalog.is_reached(&key) {
                wrong.unseen.push(key);
            }
        }
        wrong
    }

    fn take(
        &mut self,
        snapshot: SnapshotId,
        is_staged: bool,
        wrong: Wrong,
        affected: &mut HashSet<ObjectKey>,
        seen: &mut HashSet<ObjectKey>,
    ) {
        for (object, path) in wrong.missing {
            self.name(&object, &snapshot);
            let only_staged = self.diagnosis.wanted.objects.entry(object.clone()).or_insert(is_staged);
            *only_staged &= is_staged;
            affected.insert(object.clone());
            if seen.insert(object.clone()) {
                let touched = Touched::records([RecordId::Object(object.clone())]);
                let problem = Problem::ObjectMissing { object, path, snapshot: snapshot.clone() };
                self.find(problem, Remedy::Clone, touched);
            }
        }
        for object in wrong.touched {
            self.name(&object, &snapshot);
        }
        for object in wrong.unseen {
            if seen.insert(object.clone()) {
                self.diagnosis.unseen.push(object.clone());
                let problem = Problem::ObjectUnseen { object, snapshot: snapshot.clone() };
                self.find(problem, Remedy::Repair, Touched::default());
            }
        }
    }

    fn name(&mut self, object: &ObjectKey, snapshot: &SnapshotId) {
        let snapshots = self.named_by.entry(object.clone()).or_default();
        if snapshots.len() < NAMED_BY {
            snapshots.push(snapshot.clone());
        }
    }
}
