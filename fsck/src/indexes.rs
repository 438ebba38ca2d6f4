//! Indexes: each has to be what the tables of its packs give.

use super::catalog::Touched;
use super::finding::{Problem, Remedy};
use super::{Check, ListedBy, ListedPack};
use common::pack::{PackId, PackSummary, TableExtent};
use store::StoreError;
use store::table::items::{PackItem, decode};
use store::upkeep::index::Index;

/// Stands for what an item would say that cannot be read.
const UNREADABLE: PackSummary = PackSummary {
    size: 0,
    commits: 0,
    snapshots: 0,
    objects: 0,
    merged: 0,
    packs: 1,
    condemned_at: None,
    raw: None,
    large: None,
    table: TableExtent { offset: 0, length: 0, head_length: 0, head_checksum: 0 },
};

impl Check<'_> {
    /// Puts the packs of indexes in the place of those.
    pub(super) async fn open_indexes(&mut self) -> Result<(), StoreError> {
        for listed in std::mem::take(&mut self.packs) {
            let ListedBy::Item(item) = &listed.by else { continue };
            let said = decode::<PackItem>(item.clone()).map(|item| item.summary());
            match said {
                Ok(summary) if summary.is_index() => self.open_index(listed.id, summary).await?,
                Err(error) if self.stored_indexes.contains_key(&listed.id) => {
                    self.find_index(listed.id, UNREADABLE, format!("its item cannot be read: {error}"));
                }
                _ => self.packs.push(listed),
            }
        }
        Ok(())
    }

    async fn open_index(&mut self, name: PackId, summary: PackSummary) -> Result<(), StoreError> {
        let length = summary.table.length;
        match self.stored_indexes.get(&name) {
            None => self.find_index(name, summary, "it is listed and not in S3".to_owned()),
            Some(stored) if *stored != length => {
                let reason = format!("it has {stored} bytes instead of {length}");
                self.find_index(name, summary, reason);
            }
            Some(_) => self.counts.bytes += length,
        }
        let packs = match self.store.packs_of(&self.subject.id, name, &summary).await {
            Ok(packs) => packs,
            Err(error @ (StoreError::Damaged(_) | StoreError::Pack(_))) => {
                self.find_index(name, summary, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let listed = |(id, said): &(PackId, PackSummary)| ListedPack { id: *id, by: ListedBy::Index(name, *said) };
        self.packs.extend(packs.iter().map(listed));
        self.diagnosis.indexes.push(Index { name, summary, packs });
        Ok(())
    }

    /// Compares indexes with the tables of their packs. If one of those tables is damaged, that is found first.
    pub(super) async fn check_indexes(&mut self) -> Result<(), StoreError> {
        let total = self.diagnosis.indexes.len() as u64;
        for (number, index) in self.diagnosis.indexes.clone().into_iter().enumerate() {
            self.report_progress("indexes", number as u64, total);
            let is_known = self.diagnosis.damaged_indexes.contains_key(&index.name);
            if is_known || index.packs.iter().any(|(pack, _)| self.diagnosis.damaged.get(pack) == Some(&false)) {
                continue;
            }
            self.counts.bytes_read += 2 * index.summary.table.length;
            if let Some(reason) = self.store.index_fault(&self.subject.id, &index).await? {
                self.find_index(index.name, index.summary, reason);
            }
        }
        Ok(())
    }

    pub(super) fn find_index(&mut self, index: PackId, summary: PackSummary, reason: String) {
        if self.diagnosis.damaged_indexes.insert(index, summary).is_none() {
            self.find(Problem::IndexDamaged { index, reason }, Remedy::Repair, Touched::everything());
        }
    }

    /// Whether it is not known of some index which packs it had.
    pub(super) fn has_unknown_packs(&self) -> bool {
        let is_known = |name: &PackId| self.diagnosis.indexes.iter().any(|index| index.name == *name);
        self.diagnosis.damaged_indexes.keys().any(|name| !is_known(name))
    }
}
