//! Packs: their items, footers, tables and frames, and the large objects that belong to them.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;

use super::catalog::{RecordId, Touched, ids, large_objects};
use super::finding::{Problem, Remedy};
use super::frames::{Read, read, reason};
use super::record::{Opened, open};
use super::{Check, Fix, ListedBy, Look};
use common::id::{CommitId, ObjectKey, RepoId};
use common::pack::index::{FOOTER_LENGTH, SKIPPABLE_HEADER, decode_footer, decode_table, skippable_header};
use common::pack::{Contents, GraphSection, Kind, PackId, PackSummary, PackedCommit, TableExtent};
use store::bucket::packs;
use store::compute;
use store::read::large;
use store::table::items::{Key, PackItem, decode, encode};
use store::upkeep::pool::Doomed;
use store::{Store, StoreError};

/// Ids that a finding lists.
const LISTED: usize = 20;

/// What a pack's file says of itself, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Opening {
    pub summary: Option<PackSummary>,
    pub graph: Option<GraphSection>,
    pub contents: Option<Contents>,
    /// The parts that are damaged, with what is wrong.
    pub damage: Vec<(String, String)>,
    /// The pack's item, as it would have to be.
    pub contradiction: Option<String>,
    pub bytes_read: u64,
}

impl Opening {
    fn damaged(&mut self, part: &str, reason: impl Into<String>) {
        self.damage.push((part.to_owned(), reason.into()));
    }
}

/// Reads what a pack of `size` bytes says of itself, and compares it with what its item says, if that can be read.
pub(super) async fn open_pack(
    store: &Arc<Store>,
    repo: &RepoId,
    pack: PackId,
    size: u64,
    said: Option<PackSummary>,
) -> Result<Opening, StoreError> {
    let mut opening = Opening::default();
    let key = packs::key(repo, pack);
    // A little more, which shows whether the pack is of an older version.
    let tail_start = size.saturating_sub(2 * FOOTER_LENGTH as u64);
    let footer = match store.get_range(&key, None, tail_start..size).await {
        Ok(footer) => decode_footer(pack, &footer).map_err(|error| reason(&error)),
        Err(StoreError::Damaged(reason)) => Err(reason),
        Err(error) => return Err(error),
    };
    let footer_start = size.saturating_sub(FOOTER_LENGTH as u64);
    opening.bytes_read += size - tail_start;
    let table = match (footer, said) {
        (Ok(table), Some(said)) => {
            if table != said.table {
                opening.contradiction = Some("its table lies elsewhere by the pack's own footer".to_owned());
            }
            table
        }
        (Ok(table), None) => table,
        (Err(reason), said) => {
            opening.damaged("footer", reason);
            let Some(said) = said else {
                return Ok(opening);
            };
            said.table
        }
    };
    if table.range().end > footer_start {
        opening.damaged("table", "it would lie behind the end of the pack");
        return Ok(opening);
    }
    if table.range().end != footer_start {
        opening.damaged("footer", "the parts of the pack do not lie side by side");
    }
    let framed = table.offset.saturating_sub(SKIPPABLE_HEADER as u64)..table.range().end;
    match store.get_range(&key, None, framed).await {
        Ok(mut stored) => {
            opening.bytes_read += stored.len() as u64;
            let header = stored.split_to(SKIPPABLE_HEADER.min(stored.len()));
            if skippable_header(table.length).is_ok_and(|expected| *header != expected) {
                opening.damaged("table", "it does not begin as a skippable frame");
            }
            match compute(|| decode_table(pack, &table, stored)) {
                Ok((graph, contents)) => (opening.graph, opening.contents) = (Some(graph), Some(contents)),
                Err(error) => opening.damaged("table", reason(&error)),
            }
        }
        Err(StoreError::Damaged(reason)) => opening.damaged("table", reason),
        Err(error) => return Err(error),
    }
    opening.compare(size, table, said);
    Ok(opening)
}

impl Opening {
    /// Holds the parts of the pack, and its item, against each other.
    fn compare(&mut self, size: u64, table: TableExtent, said: Option<PackSummary>) {
        let Some(listed) = &self.contents else {
            return;
        };
        let frames_end = listed.frames.iter().map(|frame| u64::from(frame.stored_length)).sum::<u64>();
        if frames_end + SKIPPABLE_HEADER as u64 != table.offset {
            self.damage.push(("table".to_owned(), "its frames do not fill the pack".to_owned()));
        }
        let mut counts: HashMap<Kind, u64> = HashMap::new();
        for (frame, records) in listed.frames.iter().zip(&listed.records) {
            *counts.entry(frame.kind).or_default() += ids(records).count() as u64;
        }
        let of = |kinds: &[Kind]| kinds.iter().filter_map(|kind| counts.get(kind)).sum::<u64>();
        let summary = PackSummary {
            size,
            commits: of(&[Kind::Commits]),
            snapshots: of(&[Kind::Snapshots, Kind::StagedSnapshots]),
            objects: of(&[Kind::Objects, Kind::StagedObjects]) + large_objects(PackId::nil(), listed).count() as u64,
            // Only its item says these.
            merged: said.map_or(0, |said| said.merged),
            packs: 0,
            condemned_at: said.and_then(|said| said.condemned_at),
            // An item of before does not say it.
            raw: Some(listed.raw()).filter(|_| said.is_none_or(|said| said.raw.is_some())),
            large: Some(listed.large_bytes()).filter(|_| said.is_none_or(|said| said.large.is_some())),
            table,
        };
        if said.is_some_and(|said| said != summary && said.size == size) && self.contradiction.is_none() {
            self.contradiction = Some("it counts other records than the pack holds".to_owned());
        }
        self.summary = Some(summary);
    }
}

impl Check<'_> {
    /// What S3 has of the repo.
    pub(super) async fn list_stored(&mut self) -> Result<(), StoreError> {
        for prefix in [packs::prefix(&self.subject.id), large::prefix(&self.subject.id)] {
            let mut after = None;
            loop {
                let page = self.store.objects_page(&prefix, after).await?;
                for listed in page.entries {
                    let name = listed.key.strip_prefix(&prefix).unwrap_or_default();
                    let named = |kind| PackId::from_string(name.strip_suffix(kind)?).ok();
                    match (named(".pack"), named(".index")) {
                        (Some(pack), _) => drop(self.stored_packs.insert(pack, listed.size)),
                        (None, Some(index)) => drop(self.stored_indexes.insert(index, listed.size)),
                        (None, None) => drop(self.stored_objects.insert(listed.key, listed.size)),
                    }
                }
                self.report_progress("bucket", (self.stored_packs.len() + self.stored_objects.len()) as u64, 0);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let repo = &self.subject.id;
        let of_packs = self.stored_packs.keys().map(|pack| packs::key(repo, *pack));
        let of_indexes = self.stored_indexes.keys().map(|index| packs::index_key(repo, *index));
        self.unneeded = of_packs.chain(of_indexes).collect();
        self.diagnosis.shares_files = self.store.forget_needed(repo, &mut self.unneeded, Doomed::Retired).await?;
        Ok(())
    }

    pub(super) async fn check_packs(&mut self) -> Result<(), StoreError> {
        let packs = std::mem::take(&mut self.packs);
        let total = packs.len() as u64;
        self.order = packs.iter().map(|pack| pack.id).collect();
        self.counts.packs = total;
        let mut reached: Vec<ObjectKey> = Vec::new();
        for (number, pack) in packs.into_iter().enumerate() {
            self.report_progress("packs", number as u64, total);
            let number = u32::try_from(number).map_err(StoreError::fault)?;
            let contents = self.check_pack(number, pack.id, pack.by).await?;
            match self.look {
                Look::First if self.has_damage() => return Ok(()),
                Look::First => {}
                Look::Whole => reached.extend(contents.into_iter().flat_map(|contents| contents.reached)),
            }
        }
        // A note of an object that was dropped as garbage stays in its pack and does no harm. An object that a manifest
        // names and no pack has is found when manifests are read.
        for object in reached {
            self.diagnosis.catalog.reach(&object);
        }
        Ok(())
    }

    async fn check_pack(&mut self, number: u32, pack: PackId, by: ListedBy) -> Result<Option<Contents>, StoreError> {
        let repo = self.subject.id.clone();
        let key = Key::pack(&repo, pack);
        let item_name = format!("{} / {}", key.pk, key.sk);
        let decoded = match &by {
            ListedBy::Item(item) => decode::<PackItem>(item.clone()).map(|item| item.summary()),
            ListedBy::Index(_, said) => Ok(*said),
        };
        let said = decoded.as_ref().ok().copied();
        if let Some(said) = said {
            self.diagnosis.listed.insert(pack, said);
        }
        let Some(size) = self.stored_packs.get(&pack).copied() else {
            self.diagnosis.damaged.insert(pack, false);
            self.find(Problem::PackMissing { pack }, Remedy::Repair, Touched::everything());
            return Ok(None);
        };
        self.counts.bytes += size;
        let opening = open_pack(self.store, &repo, pack, size, said).await?;
        self.counts.bytes_read += opening.bytes_read;
        if let Some(said) = said
            && said.size != size
        {
            let is_item = opening.damage.is_empty() && opening.summary.is_some();
            if is_item {
                // The file is whole in itself, so it is the item that is wrong.
                let reason = format!("the pack {pack} has {size} bytes, and not {}", said.size);
                self.find_contradiction(&item_name, &by, reason);
            } else {
                let problem = Problem::PackSize { pack, stored: size, expected: said.size };
                self.find(problem, Remedy::Repair, Touched::everything());
            }
        } else if let Some(reason) = &opening.contradiction {
            self.find_contradiction(&item_name, &by, reason.clone());
        }
        if let Err(error) = &decoded {
            let problem = Problem::ItemUnreadable { item: item_name, reason: error.to_string() };
            self.find(
                problem,
                if opening.summary.is_some() { Remedy::Repair } else { Remedy::Clone },
                Touched::everything(),
            );
        }
        if said != opening.summary
            && opening.damage.is_empty()
            && let Some(summary) = opening.summary
        {
            self.diagnosis.listed.insert(pack, summary);
            if let ListedBy::Item(item) = by {
                let now = self.store.ambient().now_iso();
                let right = encode(&key, &PackItem::new(&summary, &now, "fsck"))?;
                self.diagnosis.fixes.push(Fix { item: right, seen: Some(item) });
            }
        }
        for (part, reason) in &opening.damage {
            self.diagnosis.damaged.insert(pack, opening.contents.is_some());
            let (part, reason) = (part.clone(), reason.clone());
            let remedy = if opening.contents.is_some() { Remedy::Repair } else { Remedy::Clone };
            let problem = Problem::PackDamaged { pack, part, reason, records: None, lost: Vec::new() };
            // A reader does not look at the footer; without its table it finds nothing in the pack.
            let is_footer = matches!(&problem, Problem::PackDamaged { part, .. } if part == "footer");
            let touched = if is_footer { Touched::default() } else { Touched::everything() };
            self.find(problem, remedy, touched);
        }
        let Some(contents) = opening.contents else {
            return Ok(None);
        };
        self.find_purged(&packs::key(&repo, pack), contents.objects());
        if self.look == Look::Whole {
            self.diagnosis.catalog.add(number, opening.graph.as_ref(), &contents);
        }
        if self.options.is_deep {
            self.check_frames(number, pack, opening.graph.as_ref(), &contents).await?;
        }
        self.check_large(number, pack, &contents).await?;
        Ok(Some(contents))
    }

    fn find_contradiction(&mut self, item: &str, by: &ListedBy, reason: String) {
        if let ListedBy::Index(index, _) = by {
            let summary = self.diagnosis.indexes.iter().find(|known| known.name == *index).map(|known| known.summary);
            return summary.into_iter().for_each(|summary| self.find_index(*index, summary, reason.clone()));
        }
        let problem = Problem::ItemContradicts { item: item.to_owned(), reason };
        self.find(problem, Remedy::Repair, Touched::everything());
    }

    /// Reads the commits and objects of a pack.
    async fn check_frames(
        &mut self,
        number: u32,
        pack: PackId,
        graph: Option<&GraphSection>,
        contents: &Contents,
    ) -> Result<(), StoreError> {
        let (store, repo) = (Arc::clone(self.store), self.subject.id.clone());
        let nodes: HashMap<&CommitId, &PackedCommit> =
            graph.iter().flat_map(|graph| &graph.0).map(|node| (&node.id, node)).collect();
        let kinds = [Kind::Commits, Kind::Objects, Kind::StagedObjects];
        let mut reads = std::pin::pin!(read(&store, &repo, pack, &contents.frames, &kinds));
        while let Some(frames) = reads.next().await {
            for frame in frames? {
                let Some(raw) = self.whole_frame(number, pack, contents, &frame) else { continue };
                let Some(records) = contents.records.get(frame.number) else { continue };
                let mut start = 0_usize;
                let mut wrong: Vec<(RecordId, String)> = Vec::new();
                compute(|| {
                    for (id, length) in ids(records) {
                        let end = start.saturating_add(length as usize);
                        let record = raw.get(start..end).unwrap_or_default();
                        start = end;
                        match open(&id, record, self.options.ids) {
                            Ok(Opened::Commit(commit)) => {
                                let agrees = |node: &&PackedCommit| {
                                    node.parents == commit.parents && node.snapshot == commit.snapshot
                                };
                                if !nodes.is_empty() && !nodes.get(&commit.id).is_some_and(agrees) {
                                    wrong.push((id, "the table names other parents or another snapshot".into()));
                                }
                            }
                            Ok(_) => {}
                            Err(reason) => wrong.push((id, reason)),
                        }
                        self.counts.unhashed += u64::from(!self.options.ids.are_checked());
                    }
                });
                for (id, reason) in wrong {
                    self.find_wrong(pack, frame.number, id, reason);
                }
            }
        }
        Ok(())
    }

    pub(super) fn find_wrong(&mut self, pack: PackId, frame: usize, id: RecordId, reason: String) {
        self.diagnosis.damaged.insert(pack, true);
        self.diagnosis.catalog.break_copy(&id);
        let is_elsewhere = self.diagnosis.catalog.copies(&id).is_some_and(super::catalog::Copies::any_whole);
        let problem = Problem::RecordWrong { pack, frame, id: id.to_string(), reason };
        let remedy = if is_elsewhere { Remedy::Repair } else { Remedy::Clone };
        self.find(problem, remedy, Touched::records([id]));
    }

    /// The bytes of a frame's records, unless it is damaged.
    pub(super) fn whole_frame(
        &mut self,
        number: u32,
        pack: PackId,
        contents: &Contents,
        frame: &Read,
    ) -> Option<bytes::Bytes> {
        let stored = contents.frames.get(frame.number).map_or(0, |frame| frame.stored_length);
        self.counts.bytes_read += u64::from(stored);
        match &frame.raw {
            Ok(raw) => Some(raw.clone()),
            Err(reason) => {
                self.diagnosis.damaged.insert(pack, true);
                let records = contents.records.get(frame.number);
                let records: Vec<RecordId> = records.map(|records| ids(records).map(|(id, _)| id).collect())?;
                let catalog = &mut self.diagnosis.catalog;
                records.iter().for_each(|id| catalog.break_copy(id));
                let count = records.len() as u64;
                let is_lost = |id: &&RecordId| !catalog.copies(id).is_some_and(super::catalog::Copies::any_whole);
                let lost = records.iter().filter(is_lost).take(LISTED).map(ToString::to_string).collect::<Vec<_>>();
                let affected = records.into_iter().filter(|id| {
                    catalog.copies(id).is_none_or(|copies| !copies.any_whole() || copies.is_read_from(number))
                });
                let touched = Touched::records(affected);
                let remedy = if lost.is_empty() { Remedy::Repair } else { Remedy::Clone };
                let part = format!("frame {}", frame.number);
                let problem = Problem::PackDamaged { pack, part, reason: reason.clone(), records: Some(count), lost };
                self.find(problem, remedy, touched);
                None
            }
        }
    }

    async fn check_large(&mut self, number: u32, pack: PackId, contents: &Contents) -> Result<(), StoreError> {
        let repo = self.subject.id.clone();
        for (holder, object, expected) in large_objects(pack, contents) {
            self.counts.large += 1;
            let key = large::key(&repo, holder, object);
            let problem = match self.stored_objects.remove(&key) {
                None => Problem::LargeMissing { object: object.clone(), pack },
                Some(stored) if stored != expected => {
                    Problem::LargeSize { object: object.clone(), pack, stored, expected }
                }
                Some(size) => {
                    self.counts.bytes += size;
                    let Some(digest) = object.as_ref().digest().filter(|_| self.options.is_deep) else {
                        continue;
                    };
                    self.report_progress("large objects", self.counts.large, 0);
                    match self.store.hash_of(&key, size).await {
                        Ok(found) if found == *digest => {
                            self.counts.bytes_read += size;
                            continue;
                        }
                        Ok(_) | Err(StoreError::Damaged(_)) => Problem::LargeDamaged { object: object.clone(), pack },
                        Err(error) => return Err(error),
                    }
                }
            };
            self.diagnosis.damaged.insert(pack, true);
            let record = RecordId::Object(object.clone());
            self.diagnosis.catalog.break_copy(&record);
            let copies = self.diagnosis.catalog.copies(&record);
            let is_elsewhere = copies.is_some_and(super::catalog::Copies::any_whole);
            let is_read = copies.is_none_or(|copies| !copies.any_whole() || copies.is_read_from(number));
            let touched = Touched::records(is_read.then_some(record));
            self.find(problem, if is_elsewhere { Remedy::Repair } else { Remedy::Clone }, touched);
        }
        Ok(())
    }
}
