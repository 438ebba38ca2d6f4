//! Whether what is named is there, without all records in memory: names are looked up in the tables, many at a time.

use std::collections::HashSet;

use super::Check;
use common::id::CommitId;
use common::table::{Key, Section};
use common::wire::record::Snapshot;
use store::StoreError;
use store::upkeep::index::Listing;
use store::upkeep::survey::{AT_ONCE, Survey};

/// Objects that manifests name and that were not looked up yet.
pub(super) struct Named<'a, 's> {
    survey: &'a Survey<'s>,
    /// Named by snapshots that a branch has reached: it has to have reached these too.
    reached: HashSet<Key>,
    /// Named by others.
    staged: HashSet<Key>,
    /// Purged objects, which may be missing.
    purged: HashSet<Key>,
    is_whole: bool,
}

impl Check<'_> {
    /// Whether all that branches, commits and manifests name is there. Indexes and packs were found to be whole.
    pub(super) async fn are_references_whole(&mut self) -> Result<bool, StoreError> {
        match self.follow_references().await {
            // The second look says which.
            Err(StoreError::Damaged(_) | StoreError::Pack(_)) => Ok(false),
            followed => followed,
        }
    }

    async fn follow_references(&mut self) -> Result<bool, StoreError> {
        let survey = self.store.survey(&self.subject.id, &self.listing()).await?;
        let names: Vec<CommitId> =
            self.names.iter().chain(&std::mem::take(&mut self.logged)).map(|(_, commit)| commit.clone()).collect();
        let links = survey.links(&names).await?;
        if names.iter().any(|commit| links.position(commit).is_none()) {
            return Ok(false);
        }
        // Opaque ids may name parents and snapshots long before they come, or for ever.
        let is_strict = self.options.ids.are_checked();
        if is_strict && !links.is_whole() {
            return Ok(false);
        }
        let mut snapshots = HashSet::new();
        let mut found = survey.no_records(Section::Snapshots);
        let mut commits = survey.commits().await?;
        while let Some(copy) = commits.next().await? {
            self.counts.commits += u64::from(links.first(copy.position) == copy.position);
            snapshots.extend(copy.snapshot.filter(|_| is_strict));
            if snapshots.len() >= AT_ONCE && !survey.find(Section::Snapshots, &mut snapshots, &mut found).await? {
                return Ok(false);
            }
        }
        if !survey.find(Section::Snapshots, &mut snapshots, &mut found).await? {
            return Ok(false);
        }
        self.counts.snapshots = count(&survey, Section::Snapshots).await?;
        self.counts.objects = count(&survey, Section::Objects).await?;
        if !self.reads_manifests() {
            return Ok(true);
        }
        let purged = self.purged.keys().map(|key| Key::of(key.as_ref())).collect();
        let mut named =
            Named { survey: &survey, reached: HashSet::new(), staged: HashSet::new(), purged, is_whole: true };
        self.check_manifests(Some(&mut named)).await?;
        named.look_up().await?;
        Ok(named.is_whole && !self.has_damage())
    }

    /// What the items list, as it was read.
    fn listing(&self) -> Listing {
        let indexes = self.diagnosis.indexes.clone();
        let of_indexes: HashSet<_> = indexes.iter().flat_map(|index| &index.packs).map(|(pack, _)| *pack).collect();
        let packs = self.diagnosis.listed.iter().map(|(pack, summary)| (*pack, *summary));
        let packs = packs.filter(|(pack, _)| !of_indexes.contains(pack));
        let mut tables: Vec<_> = packs.chain(indexes.iter().map(|index| (index.name, index.summary))).collect();
        tables.sort_unstable_by_key(|(name, _)| *name);
        Listing { tables, indexes }
    }
}

impl Named<'_, '_> {
    /// Takes down the objects of a snapshot.
    pub(super) async fn take(&mut self, snapshot: &Snapshot<'_>, is_staged: bool) -> Result<(), StoreError> {
        let keys = snapshot.manifest.entries.iter().map(|(_, object)| Key::of(object.key().as_ref()));
        let keys = keys.filter(|key| !self.purged.contains(key));
        if is_staged { &mut self.staged } else { &mut self.reached }.extend(keys);
        if self.staged.len() + self.reached.len() >= AT_ONCE { self.look_up().await } else { Ok(()) }
    }

    /// Looks up what was taken down.
    async fn look_up(&mut self) -> Result<(), StoreError> {
        let mut objects = self.survey.records(Section::Objects).await?;
        while let Some((key, record)) = objects.next().await?
            && !(self.staged.is_empty() && self.reached.is_empty())
        {
            if record.first().is_some() {
                self.staged.remove(&key);
                self.is_whole &= !self.reached.remove(&key) || record.is_reached();
            }
        }
        self.is_whole &= self.staged.is_empty() && self.reached.is_empty();
        (self.staged, self.reached) = <(HashSet<Key>, HashSet<Key>)>::default();
        Ok(())
    }
}

/// How many different snapshots or objects there are.
async fn count(survey: &Survey<'_>, section: Section) -> Result<u64, StoreError> {
    let (mut records, mut count) = (survey.records(section).await?, 0);
    while let Some((_, record)) = records.next().await? {
        count += u64::from(record.first().is_some());
    }
    Ok(count)
}
