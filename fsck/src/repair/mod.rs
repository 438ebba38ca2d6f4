//! Repairs what a check has found, as far as what is right is known for sure.
//!
//! A repair goes in rounds. Each checks the whole repo, every byte of it, does one of these, and ends the repair when
//! there was nothing to do:
//!
//! 1. write the items again whose content follows from what else is stored;
//! 2. list packs again that lie in S3 and hold something that is missing;
//! 3. make damaged indexes again; or take them off the list if it is not known of which packs they were: all packs in
//!    S3 are listed by then;
//! 4. bring what is missing from a clone ([`Restore`]): nothing is stored whose id is not its hash;
//! 5. list objects as reached that a reached snapshot names;
//! 6. replace damaged packs (`replace`): what is whole in them goes into new packs, and then they leave the list.
//!
//! Everything is added before anything leaves, so a repair that is broken off has done no harm, and another goes on.
//! Nothing is deleted but by [`prune`], and that only once the repo is whole.

mod builder;
mod replace;
mod restore;

use std::sync::Arc;

use futures_util::StreamExt;
use serde::Serialize;

pub use restore::{Restore, Restored, Wanted};

use super::finding::{Problem, name};
use super::items::text;
use super::packs::open_pack;
use super::{Options, Progress, Report, Subject, check, frames};
use common::id::Ids;
use common::id::RepoId;
use common::pack::{Kind, NewPack, PackId, PackSummary, WrittenPack, write};
use store::compute;

use store::bucket::packs::{self, StoredPack};
use store::change::Change;
use store::read::large;
use store::table::items::{Key, PK, PackItem, SET_ASIDE_PREFIX, SK, encode};
use store::table::transaction::Outcome;
use store::{Store, StoreError};

/// What the items that a repair writes name as their writer.
const BY: &str = "fsck";
/// Rounds of a repair. Each has done something, and a repo is whole after three or four.
const ROUNDS: usize = 10;
const ALL_KINDS: [Kind; 5] =
    [Kind::Commits, Kind::Snapshots, Kind::StagedSnapshots, Kind::Objects, Kind::StagedObjects];

/// What a repair has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Wrote an item.
    ItemWritten {
        /// Its keys.
        item: String,
    },
    /// Listed a pack again that was in S3.
    PackListed {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
    },
    /// Made an index again.
    IndexMade {
        /// The index that it has replaced.
        #[serde(serialize_with = "name")]
        index: PackId,
    },
    /// Took an index off the list that cannot be read. Its packs are listed by themselves.
    IndexDropped {
        /// The index.
        #[serde(serialize_with = "name")]
        index: PackId,
    },
    /// Stored what came from a clone.
    // Scripts read it under the name that it had first.
    #[serde(rename = "brought")]
    Restored {
        /// How many commits.
        commits: u64,
        /// How many snapshots.
        snapshots: u64,
        /// How many objects.
        objects: u64,
        /// What came and was not what it was said to be.
        refused: u64,
    },
    /// Listed objects as reached.
    Reached {
        /// How many.
        objects: u64,
    },
    /// Took a damaged pack off the list. Its file is kept.
    PackSetAside {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// How many of its records were written into new packs.
        rescued: u64,
    },
    /// Deleted the file of a damaged pack, and the large objects that belonged to it.
    PackPruned {
        /// The pack.
        #[serde(serialize_with = "name")]
        pack: PackId,
        /// Bytes that were deleted.
        bytes: u64,
    },
}

impl std::fmt::Display for Action {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ItemWritten { item } => write!(out, "wrote the item {item} again"),
            Self::PackListed { pack } => write!(out, "listed the pack {pack} again"),
            Self::IndexMade { index } => write!(out, "made the damaged index {index} again"),
            Self::IndexDropped { index } => write!(out, "took the damaged index {index} off the list"),
            Self::Restored { commits, snapshots, objects, refused } => {
                write!(out, "restored {commits} commits, {snapshots} snapshots and {objects} objects from the clone")?;
                if *refused > 0 { write!(out, ", and refused {refused} records") } else { Ok(()) }
            }
            Self::Reached { objects } => write!(out, "listed {objects} objects as reached"),
            Self::PackSetAside { pack, rescued } => {
                write!(out, "replaced the damaged pack {pack}, with {rescued} records from it; its file is kept")
            }
            Self::PackPruned { pack, bytes } => write!(out, "deleted the damaged pack {pack}, {bytes} bytes"),
        }
    }
}

/// What a repair has done, and what a check said after it.
#[derive(Debug, Serialize)]
pub struct Repaired {
    /// In the order in which it was done.
    pub actions: Vec<Action>,
    /// The last check, every byte read.
    #[serde(flatten)]
    pub report: Report,
}

/// Repairs a repo. `bring` is how to ask a clone for what is missing.
///
/// # Errors
/// When a store or the clone does not answer. What was done until then stays done.
pub async fn repair(
    store: &Arc<Store>,
    subject: &Subject,
    ids: Ids,
    bring: Option<Restore<'_>>,
    progress: Progress<'_>,
) -> Result<Repaired, StoreError> {
    let options = Options { is_deep: true, ids };
    let mut actions = Vec::new();
    for _ in 0..ROUNDS {
        let report = check(store, subject, options, progress).await?;
        if report.is_whole() {
            return Ok(Repaired { actions, report });
        }
        // What is whole there alone has to stay.
        store.revive_all(&subject.id).await?;
        let done = round(store, &report, ids, bring, progress).await?;
        if done.is_empty() {
            return Ok(Repaired { actions, report });
        }
        actions.extend(done);
    }
    let report = check(store, subject, options, progress).await?;
    Ok(Repaired { actions, report })
}

async fn round(
    store: &Arc<Store>,
    report: &Report,
    ids: Ids,
    bring: Option<Restore<'_>>,
    progress: Progress<'_>,
) -> Result<Vec<Action>, StoreError> {
    let mut done = write_items(store, report).await?;
    if done.is_empty() {
        done = list_again(store, report).await?;
    }
    if done.is_empty() {
        done = make_indexes(store, report).await?;
    }
    if done.is_empty()
        && let Some(bring) = bring
    {
        done = restore::bring(store, report, bring, progress).await?;
    }
    if done.is_empty() {
        done = list_as_reached(store, report).await?;
    }
    if done.is_empty() {
        done = replace::replace(store, report, ids, progress).await?;
    }
    Ok(done)
}

async fn write_items(store: &Store, report: &Report) -> Result<Vec<Action>, StoreError> {
    let mut done = Vec::new();
    for fix in &report.diagnosis.fixes {
        let item = format!("{} / {}", text(&fix.item, PK), text(&fix.item, SK));
        // A conflict means that another process wrote it meanwhile. The next round looks at that.
        if store.put_item_if(fix.item.clone(), fix.seen.clone()).await? == Outcome::Landed {
            done.push(Action::ItemWritten { item });
        }
    }
    Ok(done)
}

/// Lists packs again whose items are lost, if every frame of theirs is whole.
async fn list_again(store: &Arc<Store>, report: &Report) -> Result<Vec<Action>, StoreError> {
    let repo = &report.repo_id;
    let mut done = Vec::new();
    for pack in &report.diagnosis.unlisted {
        let Some(size) = size_of(store, repo, *pack).await? else { continue };
        let opening = open_pack(store, repo, *pack, size, None).await?;
        let (Some(summary), Some(contents)) = (opening.summary, opening.contents) else { continue };
        let mut reads = std::pin::pin!(frames::read(store, repo, *pack, &contents.frames, &ALL_KINDS));
        let mut is_whole = opening.damage.is_empty();
        while let Some(read) = reads.next().await {
            is_whole &= read?.iter().all(|frame| frame.raw.is_ok());
        }
        if !is_whole {
            continue;
        }
        let item = encode(&Key::pack(repo, *pack), &PackItem::new(&summary, &store.ambient().now_iso(), BY))?;
        if store.put_item_if(item, None).await? == Outcome::Landed {
            done.push(Action::PackListed { pack: *pack });
        }
    }
    Ok(done)
}

/// Makes damaged indexes again from the tables of their packs.
async fn make_indexes(store: &Store, report: &Report) -> Result<Vec<Action>, StoreError> {
    let (repo, diagnosis) = (&report.repo_id, &report.diagnosis);
    let mut done = Vec::new();
    for (index, summary) in &diagnosis.damaged_indexes {
        let known = diagnosis.indexes.iter().find(|known| known.name == *index);
        // What the packs themselves say goes before what the index says of them.
        let right = |(pack, said): &(PackId, PackSummary)| (*pack, *diagnosis.listed.get(pack).unwrap_or(said));
        let packs: Vec<_> = known.iter().flat_map(|known| &known.packs).map(right).collect();
        if packs.is_empty() && diagnosis.shares_files {
            // Its packs were not listed by themselves, and nothing else says that they are this repo's.
            continue;
        }
        match store.replace_index(repo, (*index, *summary), &packs, Vec::new()).await {
            Ok(Outcome::Landed) if packs.is_empty() => done.push(Action::IndexDropped { index: *index }),
            Ok(Outcome::Landed) => done.push(Action::IndexMade { index: *index }),
            // It is another's by now, or the table of one of its packs is damaged as well, which has to be replaced first.
            Ok(Outcome::Conflict) | Err(StoreError::Damaged(_) | StoreError::Pack(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

async fn size_of(store: &Store, repo: &RepoId, pack: PackId) -> Result<Option<u64>, StoreError> {
    let listed = store.objects_page(&packs::key(repo, pack), None).await?;
    Ok(listed.entries.first().map(|listed| listed.size))
}

async fn list_as_reached(store: &Store, report: &Report) -> Result<Vec<Action>, StoreError> {
    let unseen = &report.diagnosis.unseen;
    if unseen.is_empty() {
        return Ok(Vec::new());
    }
    let written = compute(|| write(NewPack { reached: unseen.clone(), ..NewPack::default() }))?;
    add_pack(store, &report.repo_id, written).await?;
    Ok(vec![Action::Reached { objects: unseen.len() as u64 }])
}

/// Stores a pack and lists it.
async fn add_pack(store: &Store, repo: &RepoId, written: WrittenPack) -> Result<(), StoreError> {
    let stored: StoredPack = store.store_pack(repo, written).await?;
    let change = Change::of_pack(repo, None, Some(&stored), BY);
    match store.commit(&change).await? {
        Outcome::Landed => Ok(()),
        // The pack's name is its own, so nothing can be in its way.
        Outcome::Conflict => Err(StoreError::Damaged(format!("repo {repo}: the pack {} is there twice", stored.id))),
    }
}

/// Deletes the files of damaged packs that a repair has replaced, and the large objects that belonged to them. Only of a
/// repo that is whole.
///
/// # Errors
/// When a store does not answer.
pub async fn prune(store: &Store, report: &Report) -> Result<Vec<Action>, StoreError> {
    if !report.is_whole() {
        return Ok(Vec::new());
    }
    let repo = &report.repo_id;
    let mut done = Vec::new();
    for finding in &report.findings {
        let Problem::PackSetAside { pack } = finding.problem else { continue };
        let mut bytes = 0;
        for prefix in [format!("{}{pack}/", large::prefix(repo)), packs::key(repo, pack)] {
            let mut after = None;
            loop {
                let page = store.objects_page(&prefix, after).await?;
                // A pack that was merged from it has inherited its large objects.
                let keys = page.entries.iter().map(|listed| listed.key.clone()).collect();
                let unlisted = store.unlisted(repo, keys).await?;
                for listed in page.entries.iter().filter(|listed| unlisted.contains(&listed.key)) {
                    store.delete_object(&listed.key).await?;
                    bytes += listed.size;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        // Last, so that what is left of a deletion that breaks off has a name.
        store.delete_item(&set_aside_key(repo, pack)).await?;
        done.push(Action::PackPruned { pack, bytes });
    }
    Ok(done)
}

fn set_aside_key(repo: &RepoId, pack: PackId) -> Key {
    Key { sk: format!("{SET_ASIDE_PREFIX}{pack}"), ..Key::pack(repo, pack) }
}
