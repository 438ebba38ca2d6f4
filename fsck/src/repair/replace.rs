//! Damaged packs leave the list. A record that lies in two packs may be read from either, so as long as a damaged pack is
//! listed, a whole copy in another does not help every reader.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;

use super::builder::Builder;
use super::{ALL_KINDS, Action, BY, set_aside_key, size_of};
use crate::catalog::{Copies, RecordId, ids, large_objects};
use crate::frames::read;
use crate::packs::open_pack;
use crate::record::{Opened, open};
use crate::{Progress, Report, Step};
use common::id::Ids;
use common::id::{ObjectKey, RepoId};
use common::pack::{Contents, Kind, PackId, PackSummary};
use store::compute;

use store::bucket::packs::StoredPack;
use store::read::large;
use store::table::items::{Key, PackItem, encode};
use store::table::transaction::Outcome;
use store::upkeep::index::Index;
use store::{Store, StoreError};

/// Packs of an index that are replaced at once, in one transaction.
const REPLACED_AT_ONCE: usize = 60;

/// Replaces every damaged pack of whose records each has a whole copy somewhere; and those that cannot be opened, when
/// nothing in the repo is missing without them.
pub(super) async fn replace(
    store: &Arc<Store>,
    report: &Report,
    ids: Ids,
    progress: Progress<'_>,
) -> Result<Vec<Action>, StoreError> {
    let (repo, diagnosis) = (&report.repo_id, &report.diagnosis);
    // With lenient ids it cannot be known what is missing without a pack.
    let may_do_without = diagnosis.wanted.is_empty() && ids.are_checked();
    let mut replaceable: BTreeMap<PackId, Option<Contents>> = BTreeMap::new();
    for (pack, is_open) in &diagnosis.damaged {
        let contents = if *is_open { contents(store, report, *pack).await? } else { None };
        match contents {
            Some(contents) if is_elsewhere(report, &contents) => drop(replaceable.insert(*pack, Some(contents))),
            None if may_do_without => drop(replaceable.insert(*pack, None)),
            _ => {}
        }
    }
    if replaceable.is_empty() {
        return Ok(Vec::new());
    }
    let mut needed: HashSet<RecordId> = HashSet::new();
    for contents in replaceable.values().flatten() {
        needed.extend(all(contents));
    }
    for pack in diagnosis.listed.keys().filter(|pack| !diagnosis.damaged.contains_key(*pack)) {
        if let Some(contents) = contents(store, report, *pack).await? {
            all(&contents).for_each(|id| _ = needed.remove(&id));
        }
    }
    let mut done = Vec::new();
    let mut of_indexes: BTreeMap<PackId, Vec<Replaced>> = BTreeMap::new();
    let total = replaceable.len() as u64;
    for (number, (pack, contents)) in replaceable.into_iter().enumerate() {
        progress(Step { what: "damaged packs", done: number as u64, total });
        let before = needed.len();
        let mut builder = Builder::new(store, repo);
        if let Some(contents) = contents {
            rescue_large(store, report, pack, &contents, &mut needed).await?;
            rescue(store, repo, pack, &contents, ids, &mut needed, &mut builder).await?;
        }
        let rescued = (before - needed.len()) as u64;
        let successor = builder.finish().await?;
        let index = diagnosis.indexes.iter().find(|index| index.packs.iter().any(|(of_index, _)| *of_index == pack));
        if let Some(index) = index {
            of_indexes.entry(index.name).or_default().push(Replaced { pack, successor, rescued });
        } else if swap(store, report, pack, &successor).await? == Outcome::Landed {
            done.push(Action::PackSetAside { pack, rescued });
        }
    }
    for index in &diagnosis.indexes {
        let mut replaced = of_indexes.remove(&index.name).unwrap_or_default();
        // The others' turn comes with the next round.
        replaced.truncate(REPLACED_AT_ONCE);
        if !replaced.is_empty() && swap_in_index(store, report, index, &replaced).await? == Outcome::Landed {
            let set_aside = |Replaced { pack, rescued, .. }| Action::PackSetAside { pack, rescued };
            done.extend(replaced.into_iter().map(set_aside));
        }
    }
    Ok(done)
}

/// A pack of an index, what takes its place, and how many of its records are in that.
struct Replaced {
    pack: PackId,
    successor: StoredPack,
    rescued: u64,
}

/// Puts the successors of packs into an index in the place of those packs, whose names are kept.
async fn swap_in_index(
    store: &Store,
    report: &Report,
    index: &Index,
    replaced: &[Replaced],
) -> Result<Outcome, StoreError> {
    let (repo, listed) = (&report.repo_id, &report.diagnosis.listed);
    let right = |(pack, said): &(PackId, PackSummary)| match replaced.iter().find(|replaced| replaced.pack == *pack) {
        Some(Replaced { successor, .. }) => (successor.id, successor.written.summary),
        None => (*pack, *listed.get(pack).unwrap_or(said)),
    };
    let packs: Vec<_> = index.packs.iter().map(right).collect();
    let now = store.ambient().now_iso();
    let mut aside = Vec::new();
    for (pack, said) in &index.packs {
        if !replaced.iter().any(|replaced| replaced.pack == *pack) {
            continue;
        }
        aside.push(encode(&set_aside_key(repo, *pack), &PackItem::new(said, &now, BY))?);
    }
    match store.replace_index(repo, (index.name, index.summary), &packs, store.puts(aside)?).await {
        // The table of another of its packs is damaged, of which something is missing.
        Err(StoreError::Damaged(_) | StoreError::Pack(_)) => Ok(Outcome::Conflict),
        outcome => outcome,
    }
}

/// What a pack lists.
async fn contents(store: &Arc<Store>, report: &Report, pack: PackId) -> Result<Option<Contents>, StoreError> {
    let Some(size) = size_of(store, &report.repo_id, pack).await? else {
        return Ok(None);
    };
    let said = report.diagnosis.listed.get(&pack).copied();
    Ok(open_pack(store, &report.repo_id, pack, size, said).await?.contents)
}

fn all(contents: &Contents) -> impl Iterator<Item = RecordId> + '_ {
    let packed = contents.records.iter().flat_map(ids).map(|(id, _)| id);
    packed.chain(large_objects(PackId::nil(), contents).map(|(_, key, _)| RecordId::Object(key.clone())))
}

/// Whether each record of a pack has a whole copy, in this pack or another.
fn is_elsewhere(report: &Report, contents: &Contents) -> bool {
    all(contents).all(|id| report.diagnosis.catalog.copies(&id).is_some_and(Copies::any_whole))
}

/// Writes what is whole in a pack, and needed, into new ones.
async fn rescue(
    store: &Arc<Store>,
    repo: &RepoId,
    pack: PackId,
    contents: &Contents,
    checked: Ids,
    needed: &mut HashSet<RecordId>,
    builder: &mut Builder<'_>,
) -> Result<(), StoreError> {
    builder.reach(contents.reached.iter().cloned());
    let mut reads = std::pin::pin!(read(store, repo, pack, &contents.frames, &ALL_KINDS));
    while let Some(frames) = reads.next().await {
        for frame in frames? {
            let (Ok(raw), Some(records)) = (frame.raw, contents.records.get(frame.number)) else { continue };
            let kind = contents.frames.get(frame.number).map(|frame| frame.kind);
            let mut start = 0_usize;
            for (id, length) in ids(records) {
                let end = start.saturating_add(length as usize);
                let range = start..end;
                start = end;
                if end > raw.len() || !needed.contains(&id) {
                    continue;
                }
                let record = raw.slice(range);
                match compute(|| open(&id, &record, checked)) {
                    Ok(Opened::Commit(commit)) => builder.commit(*commit).await?,
                    Ok(Opened::Snapshot(snapshot)) => {
                        let id = snapshot.snapshot_id.clone();
                        let is_staged = kind == Some(Kind::StagedSnapshots);
                        builder.snapshot(id, record.clone(), is_staged).await?;
                    }
                    Ok(Opened::Object) => {
                        if let RecordId::Object(key) = &id {
                            let is_staged = kind == Some(Kind::StagedObjects);
                            builder.object(key.clone(), record.clone(), is_staged).await?;
                        }
                    }
                    // Another pack has it.
                    Err(_) => continue,
                }
                needed.remove(&id);
            }
        }
    }
    Ok(())
}

/// Gives large objects that belong to a pack, and are whole, to a new one. What says that they are reached is another
/// pack's.
async fn rescue_large(
    store: &Arc<Store>,
    report: &Report,
    pack: PackId,
    contents: &Contents,
    needed: &mut HashSet<RecordId>,
) -> Result<(), StoreError> {
    let repo = &report.repo_id;
    let mut moving: HashSet<ObjectKey> = HashSet::new();
    for (holder, key, size) in large_objects(pack, contents) {
        if !needed.contains(&RecordId::Object(key.clone())) {
            continue;
        }
        match store.hash_of(&large::key(repo, holder, key), size).await {
            Ok(digest) if key.as_ref().digest() == Some(&digest) => {
                store.upload_again(repo, key, holder, size).await?;
                moving.insert(key.clone());
            }
            Ok(_) | Err(StoreError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if !moving.is_empty() {
        store.take_uploads(repo, report.diagnosis.listed.len(), moving.clone(), BY).await?;
        moving.into_iter().for_each(|key| _ = needed.remove(&RecordId::Object(key)));
    }
    Ok(())
}

/// Takes a pack off the list and puts its successor there, in one transaction, which also keeps the name of the first.
/// If no record was left to write again, the successor is empty. A new name in the list makes every process look at the
/// list.
async fn swap(store: &Store, report: &Report, pack: PackId, successor: &StoredPack) -> Result<Outcome, StoreError> {
    let repo = &report.repo_id;
    let key = set_aside_key(repo, pack);
    let Some(mut item) = store.item(&Key::pack(repo, pack)).await? else {
        return Ok(Outcome::Conflict);
    };
    item.extend(key.item());
    let listed = PackItem::new(&successor.written.summary, &store.ambient().now_iso(), BY);
    let listed = encode(&Key::pack(repo, successor.id), &listed)?;
    store.exchange_items(&Key::pack(repo, pack), &key, vec![item, listed]).await
}
