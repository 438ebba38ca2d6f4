//! What lies in S3 and is named by nothing: a pack whose item is lost, or garbage.

use super::Check;
use super::catalog::{Touched, ids, large_objects};
use super::finding::{Problem, Remedy};
use super::packs::open_pack;
use common::id::{Id, ObjectKey};
use common::pack::{PackId, PackSummary};
use store::StoreError;
use store::bucket::packs;
use store::read::large;
use store::table::items::Key;
use store::upkeep::pool::Doomed;
use store::uploads::PREFIX;

impl Check<'_> {
    /// Whether a pack that S3 has is neither listed, nor set aside, nor named by an item of a kind that is not known.
    pub(super) fn is_unlisted(&self, pack: &PackId) -> bool {
        !self.diagnosis.listed.contains_key(pack)
            && !self.diagnosis.damaged.contains_key(pack)
            && !self.is_named_elsewhere(&pack.to_string())
            && !self.is_needed_by_others(&packs::key(&self.subject.id, *pack))
    }

    fn is_needed_by_others(&self, key: &str) -> bool {
        !self.unneeded.contains(key)
    }

    fn is_named_elsewhere(&self, pack: &str) -> bool {
        self.set_aside.iter().any(|aside| aside.to_string() == pack)
            || self.said_elsewhere.iter().any(|text| text.contains(pack))
    }

    pub(super) async fn look_through_unlisted(&mut self) -> Result<(), StoreError> {
        let unlisted: Vec<(PackId, u64)> = self
            .stored_packs
            .iter()
            .filter(|(pack, _)| self.is_unlisted(pack))
            .map(|(pack, size)| (*pack, *size))
            .collect();
        for (pack, size) in unlisted {
            // One that was pushed since the list was read, or has come into an index, is no garbage.
            if self.is_listed_now(pack).await? {
                continue;
            }
            self.look_for_purged(pack, size).await?;
            // Of repos that share files, it may be what another one has pushed and nobody is to see here.
            let may_be_own = !self.diagnosis.shares_files;
            let is_wanted = may_be_own && !self.diagnosis.wanted.is_empty();
            let holds = if is_wanted { self.wanted_in(pack, size).await? } else { 0 };
            // If an index does not show which packs it had, any pack may be one of those.
            if holds > 0 || may_be_own && self.has_unknown_packs() {
                self.diagnosis.unlisted.push(pack);
                self.find(Problem::PackUnlisted { pack, holds }, Remedy::Repair, Touched::default());
            } else {
                self.find_garbage(packs::key(&self.subject.id, pack), size);
            }
        }
        for (index, size) in self.stored_indexes.clone() {
            if !self.is_listed_index(index) && self.store.item(&Key::pack(&self.subject.id, index)).await?.is_none() {
                self.find_garbage(packs::index_key(&self.subject.id, index), size);
            }
        }
        self.forget_needed_objects().await?;
        self.look_for_purged_files().await?;
        let prefix = large::prefix(&self.subject.id);
        for (key, bytes) in std::mem::take(&mut self.stored_objects) {
            let pack = key.strip_prefix(&prefix).and_then(|rest| rest.split('/').next()).unwrap_or_default();
            let holder = PackId::from_string(pack).ok();
            // Of a pack that is damaged it is not known what belongs to it; that of one still to be listed is its own.
            let is_of_unknown = holder.is_some_and(|pack| {
                self.diagnosis.damaged.contains_key(&pack) || self.diagnosis.unlisted.contains(&pack)
            });
            if !is_of_unknown && !self.is_named_elsewhere(pack) {
                self.find_garbage(key, bytes);
            }
        }
        Ok(())
    }

    /// Leaves large objects out that repos need which share files with this one.
    async fn forget_needed_objects(&mut self) -> Result<(), StoreError> {
        let mut unneeded = self.stored_objects.keys().cloned().collect();
        self.store.forget_needed(&self.subject.id, &mut unneeded, Doomed::Retired).await?;
        self.stored_objects.retain(|key, _| unneeded.contains(key));
        Ok(())
    }

    fn is_listed_index(&self, index: PackId) -> bool {
        self.diagnosis.indexes.iter().any(|listed| listed.name == index)
            || self.diagnosis.damaged_indexes.contains_key(&index)
            || self.is_named_elsewhere(&index.to_string())
            || self.is_needed_by_others(&packs::index_key(&self.subject.id, index))
    }

    async fn is_listed_now(&self, pack: PackId) -> Result<bool, StoreError> {
        let repo = &self.subject.id;
        if self.store.item(&Key::pack(repo, pack)).await?.is_some() {
            return Ok(true);
        }
        // Those that are known were looked into.
        let is_new = |(name, summary): &(PackId, _)| PackSummary::is_index(summary) && !self.is_listed_index(*name);
        let new = self.store.tables(repo).await?.into_iter().filter(is_new).collect();
        let listing = self.store.listing_of(repo, new).await?;
        Ok(listing.index_of(pack).is_some())
    }

    /// Looks whether a pack that nothing names holds what was purged.
    async fn look_for_purged(&mut self, pack: PackId, size: u64) -> Result<(), StoreError> {
        if self.purged.is_empty() {
            return Ok(());
        }
        let opening = open_pack(self.store, &self.subject.id, pack, size, None).await?;
        self.counts.bytes_read += opening.bytes_read;
        if let Some(contents) = opening.contents {
            self.find_purged(&packs::key(&self.subject.id, pack), contents.objects());
        }
        Ok(())
    }

    /// Looks for large objects and uploads that were purged.
    async fn look_for_purged_files(&mut self) -> Result<(), StoreError> {
        if self.purged.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<String> = self.stored_objects.keys().cloned().collect();
        let (prefix, mut after) = (format!("{PREFIX}{}/", self.subject.id), None);
        loop {
            let page = self.store.objects_page(&prefix, after).await?;
            keys.extend(page.entries.into_iter().map(|listed| listed.key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for key in keys {
            if let Some(id) = key.rsplit('/').next().and_then(|name| name.parse::<Id>().ok()) {
                self.find_purged(&key, [&ObjectKey::from(id)]);
            }
        }
        Ok(())
    }

    /// How many of the records that are missing a pack holds.
    async fn wanted_in(&mut self, pack: PackId, size: u64) -> Result<u64, StoreError> {
        let opening = open_pack(self.store, &self.subject.id, pack, size, None).await?;
        self.counts.bytes_read += opening.bytes_read;
        let Some(contents) = opening.contents.filter(|_| opening.damage.is_empty()) else {
            return Ok(0);
        };
        let wanted = &self.diagnosis.wanted;
        let packed = contents.records.iter().flat_map(ids).filter(|(id, _)| wanted.contains(id)).count();
        let large = large_objects(pack, &contents).filter(|(_, key, _)| wanted.objects.contains_key(*key)).count();
        Ok((packed + large) as u64)
    }

    fn find_garbage(&mut self, key: String, bytes: u64) {
        self.counts.garbage += 1;
        self.counts.garbage_bytes += bytes;
        self.find(Problem::Garbage { key, bytes }, Remedy::Nothing, Touched::default());
    }
}
