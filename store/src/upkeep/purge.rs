//! Purges objects that have leaked: no request is served them from then on, and their bytes are erased from all that
//! the hub has.
//!
//! 1. **Mark** ([`Store::mark_purged`]). One transaction puts an item for each object and counts them in the repo's
//!    item about itself, which every request reads. From then on no view has the objects, even if packs do, and no push
//!    may bring them.
//! 2. **Erase** ([`Store::erase`]). Packs that hold one are written again without it and swapped, as by a merge. The
//!    old files are deleted at once, with all their versions. Large objects, uploads, and packs without an item go too.
//!
//! **Why no lock is needed**, and no further condition of a push. A request that reads the repo after the mark does not
//! see the objects. So a push that began before the mark and lands after it is as good as one that landed before. Only
//! its bytes are left to erase. Its pack wakes the compaction like any other, which erases as long as the item
//! [`PurgeItem`] is there. It is there for [`GRACE`] after the mark, which no request outlives, and then until a look
//! has found nothing. A merge that has read an old pack cannot land: that pack has left the list, and so the swap
//! fails.
//!
//! **Forks keep what they have.** A file that another repo of the pool needs ([`pool`](crate::upkeep::pool)) stays, hidden from this repo alone.
//! Whoever purges the object there erases it, or the last that needs the file deletes it.
//!
//! **A file without an item** may be the pack of a push that is about to land, if it holds a purged object and the mark
//! is younger than [`GRACE`]. It is left to the next look. Packs that gave way to others, and older versions, get no
//! item any more, and go at once. Where others share the files, it may be that of one of their pushes, which the mark is nothing to. So it
//! goes when it is as old as any file without a name that is deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use aws_sdk_s3::error::ProvideErrorMetadata;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::bucket::packs;
use crate::compute;
use crate::read::large;
use crate::table::items::{
    ChangeItem, Key, MetaItem, PK, PURGED, PURGED_PREFIX, PurgeItem, PurgedItem, SET_ASIDE_PREFIX, SweepItem, encode,
};
use crate::table::transaction::{Outcome, outcome_of, put, put_new};
use crate::upkeep::compact::garbage::Garbage;
use crate::upkeep::files::{ORPHANS_KEPT, modified_at};
use crate::upkeep::garbage::condemn::{REWRITTEN_AT_ONCE, Rest};
use crate::upkeep::pool::Doomed;
use crate::upkeep::swap::GRACE;
use crate::{FIRST_PAUSE, Store, StoreError, uploads};
use common::id::{Id, ObjectKey, RepoId};
use common::pack::index::{FOOTER_LENGTH, decode_footer, decode_table};
use common::pack::{PackId, PackSummary};
use common::purged::Purged;
use common::table;
use common::time;
use common::wire::limits::{MAX_PACKS, MAX_PURGED};

/// The field that a line of what was changed names.
pub(crate) const CHANGED: &str = "purged";
/// Attempts at reading a list that a transaction is just writing.
const ATTEMPTS: u32 = 6;
/// How often packs are written again in a run, and how often a merge may have been faster.
const CONFLICTS: u32 = 10_000;
/// Calls at the same time.
const PARALLEL: usize = 16;
/// Attempts at a GET whose body breaks off.
const GET_ATTEMPTS: u32 = 3;

/// What an erasure did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Packs that were written again without what was purged.
    pub packs_rewritten: u64,
    /// S3 objects that were deleted, each version counted.
    pub files_deleted: u64,
    /// Files that nothing names and that hold what was purged: a push that began before may be about to name them. They are
    /// looked at again.
    pub files_waiting: u64,
    /// Files that nothing names and that cannot be read, so that it is not known what they hold.
    pub files_unreadable: u64,
    /// Whether it is looked for once more, because requests that began before may still bring something.
    pub looks_again: bool,
}

/// A version of an S3 object.
#[derive(Debug, Clone)]
struct Version {
    key: String,
    id: String,
    is_latest: bool,
    size: u64,
    modified: Option<Timestamp>,
}

impl Store {
    /// What a repo has purged, by its item about itself. A read more where this process does not know it.
    ///
    /// # Errors
    /// When the table cannot be read, or has fewer than the item says.
    pub async fn purged(&self, repo: &RepoId, meta: &MetaItem) -> Result<Arc<Purged>, StoreError> {
        let Some(count) = meta.purged.filter(|count| *count > 0) else {
            return Ok(Arc::default());
        };
        let remembered = (repo.clone(), count);
        if let Some(purged) = self.purged.get(&remembered) {
            return Ok(purged);
        }
        let mut backoff = self.ambient.backoff(FIRST_PAUSE);
        for _ in 0..ATTEMPTS {
            let purged: Purged = self.list_purged(repo).await?.into_keys().collect();
            // The items of a transaction may be seen one after the other.
            if purged.len() as u64 >= count {
                let purged = Arc::new(purged);
                self.purged.insert(remembered, Arc::clone(&purged));
                return Ok(purged);
            }
            backoff.pause().await;
        }
        Err(StoreError::Damaged(format!("repo {repo}: {count} objects were purged, and not all of them have an item")))
    }

    /// The same as it is now.
    ///
    /// # Errors
    /// As [`Self::purged`].
    pub async fn purged_now(&self, repo: &RepoId) -> Result<Arc<Purged>, StoreError> {
        match self.get_item::<MetaItem>(&Key::meta(repo)).await? {
            Some(meta) => self.purged(repo, &meta).await,
            None => Ok(Arc::default()),
        }
    }

    /// The objects that a repo has purged, each with who did it and why.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn list_purged(&self, repo: &RepoId) -> Result<BTreeMap<ObjectKey, PurgedItem>, StoreError> {
        let listed = self.query::<PurgedItem>(repo, PURGED_PREFIX, MAX_PURGED).await?;
        let object = |(name, item): (String, PurgedItem)| {
            let id: Id = name
                .parse()
                .map_err(|error| StoreError::Damaged(format!("repo {repo}: {PURGED_PREFIX}{name}: {error}")))?;
            Ok((ObjectKey::from(id), item))
        };
        listed.into_iter().map(object).collect()
    }

    /// Whether bytes of what was purged may be left, and when it was looked for last.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn purge_under_way(&self, repo: &RepoId) -> Result<Option<PurgeItem>, StoreError> {
        self.get_item(&Key::purge(repo)).await
    }

    /// Purges objects that are not purged yet, in a repo that has purged as many as `meta` says. Once this has landed,
    /// no request is served them and no push brings them.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn mark_purged(
        &self,
        repo: &RepoId,
        meta: &MetaItem,
        new: &BTreeSet<ObjectKey>,
        reason: &str,
        by: &str,
    ) -> Result<Outcome, StoreError> {
        let table = &self.location.table;
        let purge = PurgeItem { since: self.ambient.now(), erased_at: None };
        let at = self.ambient.now_iso();
        let before = meta.purged.unwrap_or_default();
        let after = before.saturating_add(new.len() as u64);
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(Key::meta(repo).item()))
            .update_expression("SET #purged = :after")
            .expression_attribute_names("#purged", PURGED)
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":after", AttributeValue::N(after.to_string()));
        let there = "attribute_exists(#pk) AND attribute_not_exists(deleted_at)";
        let update = match meta.purged {
            None => update.condition_expression(format!("{there} AND attribute_not_exists(#purged)")),
            Some(_) => update
                .condition_expression(format!("{there} AND #purged = :before"))
                .expression_attribute_values(":before", AttributeValue::N(before.to_string())),
        };
        let update = update.build().map_err(StoreError::fault)?;
        let mut items = vec![TransactWriteItem::builder().update(update).build()];
        items.push(put(table, encode(&Key::purge(repo), &purge)?)?);
        let purged = PurgedItem { at: at.clone(), by: by.to_owned(), reason: reason.to_owned() };
        for object in new {
            items.push(put_new(table, encode(&Key::purged(repo, object), &purged)?)?);
        }
        let ids: Vec<String> = new.iter().map(|object| object.as_ref().to_string()).collect();
        let changed = BTreeMap::from([(CHANGED.to_owned(), (String::new(), ids.join(" ")))]);
        let marker = Key::change(repo, self.ambient.ulid());
        items.push(put_new(table, encode(&marker, &ChangeItem { changed, by: by.to_owned(), at })?)?);
        let outcome = self.transact(items, &marker, |_: IgnoredAny| true).await?;
        if outcome == Outcome::Landed {
            tracing::info!(%repo, by, objects = ids.join(" "), "objects were purged");
            // As the stream does it. There may be no receiver.
            let _ = self.landed.send(repo.clone());
        }
        Ok(outcome)
    }

    /// Has the bytes of what a repo has purged looked for once more.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn erase_again(&self, repo: &RepoId) -> Result<(), StoreError> {
        let purge = PurgeItem { since: self.ambient.now(), erased_at: None };
        self.put_item(&Key::purge(repo), &purge).await
    }

    /// Takes the bytes of what a repo has purged out of all that there is; none if there is nothing to look for. What it has done it
    /// need not do again, so it may fail or end at any call, and the next goes on.
    ///
    /// # Errors
    /// When the stores do not answer, or a pack that holds what was purged is damaged.
    pub async fn erase(self: &Arc<Self>, repo: &RepoId) -> Result<Option<Erased>, StoreError> {
        let Some(purge) = self.purge_under_way(repo).await? else {
            return Ok(None);
        };
        let purged = self.list_purged(repo).await?;
        let keys: HashSet<table::Key> = purged.keys().map(|key| table::Key::of(key.as_ref())).collect();
        let mut done = Erased::default();
        // All requests that began before the mark have ended.
        let is_last = time::after(purge.since, GRACE) <= self.ambient.now();
        Box::pin(self.rewrite_holders(repo, &keys, &mut done)).await?;
        Box::pin(self.delete_holders(repo, &purged, is_last, &mut done)).await?;
        let is_clean = done.packs_rewritten + done.files_deleted + done.files_waiting == 0;
        done.looks_again = !(is_last && is_clean);
        if done.looks_again {
            let sweep = SweepItem { expires_at: time::whole_second(time::after(self.ambient.now(), GRACE)) };
            self.put_item(&Key::sweep(repo), &sweep).await?;
        }
        self.note_erased(repo, &purge, done.looks_again).await?;
        tracing::info!(%repo, ?done, "what was purged was looked for");
        Ok(Some(done))
    }

    /// Notes that what was purged until then was looked for; if nothing can come any more, there is nothing to note.
    async fn note_erased(&self, repo: &RepoId, purge: &PurgeItem, looks_again: bool) -> Result<(), StoreError> {
        let (table, key) = (&self.location.table, Key::purge(repo));
        let since = in_milliseconds(purge.since);
        // Something may have been purged since.
        const SAME: &str = "#since = :since";
        let noted = if looks_again {
            let update =
                self.dynamodb.update_item().table_name(table).set_key(Some(key.item())).condition_expression(SAME);
            let update = update.update_expression("SET erased_at = :now").expression_attribute_names("#since", "since");
            let now = in_milliseconds(self.ambient.now());
            let update = update.expression_attribute_values(":since", since).expression_attribute_values(":now", now);
            outcome_of(update.send().await, &key)?
        } else {
            let delete =
                self.dynamodb.delete_item().table_name(table).set_key(Some(key.item())).condition_expression(SAME);
            let delete = delete.expression_attribute_names("#since", "since");
            outcome_of(delete.expression_attribute_values(":since", since).send().await, &key)?
        };
        if noted == Outcome::Conflict {
            tracing::debug!(%repo, "more was purged meanwhile");
        }
        Ok(())
    }

    /// Writes the packs that hold what was purged again without it, and deletes them.
    async fn rewrite_holders(
        &self,
        repo: &RepoId,
        keys: &HashSet<table::Key>,
        done: &mut Erased,
    ) -> Result<(), StoreError> {
        for _ in 0..CONFLICTS {
            let tables = self.tables(repo).await?;
            let rewritten = match self.rewrite_some(repo, &tables, keys).await {
                // Another run has deleted what this one was reading.
                Err(error) if error.is_damage() && self.was_replaced(repo, &tables).await? => continue,
                rewritten => rewritten?,
            };
            let Some(packs) = rewritten else {
                return Ok(());
            };
            let mut unneeded: HashSet<String> = packs.iter().map(|pack| packs::key(repo, *pack)).collect();
            self.forget_needed(repo, &mut unneeded, Doomed::Retired).await?;
            for pack in packs {
                tracing::info!(%repo, %pack, "a pack was written again without what was purged");
                done.packs_rewritten += 1;
                let key = packs::key(repo, pack);
                if !unneeded.contains(&key) {
                    continue;
                }
                for version in self.versions(&key).await? {
                    self.delete_version(&version).await?;
                    done.files_deleted += 1;
                }
            }
        }
        Err(StoreError::Unavailable("the packs of the repository were replaced all the time".into()))
    }

    /// Writes some of those packs again. Returns those that have given way: none if a merge was faster, and nothing if
    /// there are no such packs.
    async fn rewrite_some(
        &self,
        repo: &RepoId,
        tables: &[(PackId, PackSummary)],
        keys: &HashSet<table::Key>,
    ) -> Result<Option<Vec<PackId>>, StoreError> {
        let looked_for: Vec<table::Key> = keys.iter().copied().collect();
        let holders = self.view_of(repo, tables, &Arc::default()).holders(&looked_for).await?;
        let Some(first) = holders.first().copied() else {
            return Ok(None);
        };
        let listing = self.listing_of(repo, tables.to_vec()).await?;
        let index = listing.index_of(first);
        let is_of_index = |pack: PackId| index.is_some_and(|index| index.packs.iter().any(|(of, _)| *of == pack));
        let at_once = |(pack, _): &(PackId, _)| *pack == first || holders.contains(pack) && is_of_index(*pack);
        let packs: Vec<_> = listing.packs().into_iter().filter(at_once).take(REWRITTEN_AT_ONCE).collect();
        let garbage = Garbage::of_objects(keys.clone());
        let rewritten = self.rewrite(repo, &listing, index, &packs, &garbage, Rest::Dropped, Vec::new());
        Ok(Some(match Box::pin(rewritten).await? {
            Outcome::Landed => packs.into_iter().map(|(pack, _)| pack).collect(),
            Outcome::Conflict => Vec::new(),
        }))
    }

    /// Deletes what lies in S3 and is listed by no pack any more, if it holds what was purged.
    async fn delete_holders(
        self: &Arc<Self>,
        repo: &RepoId,
        purged: &BTreeMap<ObjectKey, PurgedItem>,
        is_last: bool,
        done: &mut Erased,
    ) -> Result<(), StoreError> {
        // In this order: what is listed afterwards, here and by repos that share files, and not among these was put there since.
        let (files, of_objects, of_uploads) = tokio::try_join!(
            async { self.versions(&packs::prefix(repo)).await },
            async { self.versions(&large::prefix(repo)).await },
            async { self.versions(&uploads::prefix(repo)).await },
        )?;
        let retired = self.retired(repo).await?;
        let aside = self.query::<IgnoredAny>(repo, SET_ASIDE_PREFIX, MAX_PACKS).await?;
        let listed: HashSet<PackId> = self.packs(repo).await?.into_iter().map(|(pack, _)| pack).collect();
        let given_way: HashSet<String> = retired
            .into_iter()
            .flat_map(|(_, item)| item.packs)
            .chain(aside.into_iter().map(|(pack, _)| pack))
            .collect();

        let is_named_purged = |version: &Version| {
            let id = version.key.rsplit('/').next().and_then(|name| name.parse::<Id>().ok());
            id.is_some_and(|id| purged.contains_key(&ObjectKey::from(id)))
        };
        let of_objects: Vec<Version> = of_objects.into_iter().filter(is_named_purged).collect();
        let prefix = packs::prefix(repo);
        let name =
            |version: &Version| PackId::from_string(version.key.strip_prefix(&prefix)?.strip_suffix(".pack")?).ok();
        let unlisted = files.into_iter().filter_map(|version| Some((name(&version)?, version)));
        let unlisted: Vec<(PackId, Version)> =
            unlisted.filter(|(pack, version)| !(version.is_latest && listed.contains(pack))).collect();
        let keys = of_objects.iter().chain(unlisted.iter().map(|(_, version)| version));
        let mut unneeded: HashSet<String> = keys.map(|version| version.key.clone()).collect();
        let is_shared = self.forget_needed(repo, &mut unneeded, Doomed::Retired).await?;
        // Another repo's push may be about to name it.
        let old = time::before(self.ambient.now(), ORPHANS_KEPT);
        let may_be_others = |version: &Version, pack: &str| {
            let is_young = version.modified.is_none_or(|modified| modified >= old);
            is_shared && is_young && version.is_latest && !given_way.contains(pack)
        };
        let mut deleted: Vec<Version> = of_uploads.into_iter().filter(is_named_purged).collect();
        for version in of_objects.into_iter().filter(|version| unneeded.contains(&version.key)) {
            if may_be_others(&version, version.key.rsplit('/').nth(1).unwrap_or_default()) {
                done.files_waiting += 1;
            } else {
                deleted.push(version);
            }
        }

        // An older version of a file that is needed is read by nobody.
        let is_unneeded = |version: &Version| !version.is_latest || unneeded.contains(&version.key);
        let unlisted = unlisted.into_iter().filter(|(_, version)| is_unneeded(version));
        let looked: Vec<(PackId, Version, Option<bool>)> = stream::iter(unlisted)
            .map(|(pack, version)| async move {
                let holds = self.holds(pack, &version, purged).await?;
                Ok::<_, StoreError>((pack, version, holds))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        for (pack, version, holds) in looked {
            match holds {
                Some(false) => {}
                // A push may be about to name it: it began before the mark then, or it would not bring this.
                Some(true) if version.is_latest && !is_last && !given_way.contains(&pack.to_string()) => {
                    done.files_waiting += 1;
                }
                Some(true) if may_be_others(&version, &pack.to_string()) => done.files_waiting += 1,
                Some(true) => deleted.push(version),
                None => {
                    tracing::warn!(%repo, key = version.key, "a file that nothing names cannot be read");
                    done.files_unreadable += 1;
                }
            }
        }
        done.files_deleted += deleted.len() as u64;
        stream::iter(deleted)
            .map(|version| async move { self.delete_version(&version).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await
    }

    /// Whether a pack holds what was purged; none if it cannot be read. One that is gone meanwhile holds nothing.
    async fn holds(
        &self,
        pack: PackId,
        version: &Version,
        purged: &BTreeMap<ObjectKey, PurgedItem>,
    ) -> Result<Option<bool>, StoreError> {
        let footer_start = version.size.saturating_sub(FOOTER_LENGTH as u64);
        let Some(footer) = self.get_version(version, footer_start..version.size).await? else {
            return Ok(Some(false));
        };
        let Ok(extent) = decode_footer(pack, &footer) else {
            return Ok(None);
        };
        if extent.range().end > footer_start {
            return Ok(None);
        }
        let Some(stored) = self.get_version(version, extent.range()).await? else {
            return Ok(Some(false));
        };
        Ok(compute(|| decode_table(pack, &extent, stored))
            .ok()
            .map(|(_, contents)| contents.objects().any(|key| purged.contains_key(key))))
    }

    /// A part of a version; none if that is not there.
    async fn get_version(&self, version: &Version, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Some(Bytes::new()));
        }
        for _ in 0..GET_ATTEMPTS {
            let get = self.s3.get_object().bucket(&self.location.bucket).key(&version.key);
            let get = get.version_id(&version.id);
            let got = get.range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1))).send().await;
            let got = match got {
                Err(error) if matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion")) => return Ok(None),
                got => got.map_err(StoreError::at(&version.key))?,
            };
            if let Ok(body) = got.body.collect().await {
                let bytes = body.into_bytes();
                if bytes.len() as u64 == length {
                    return Ok(Some(bytes));
                }
            }
        }
        Err(StoreError::Unavailable(format!("{} was not read to its end", version.key).into()))
    }

    /// All versions of all S3 objects whose keys have a prefix. Where a bucket keeps none, each object is one.
    async fn versions(&self, prefix: &str) -> Result<Vec<Version>, StoreError> {
        let (mut versions, mut key_marker, mut version_marker) = (Vec::new(), None, None);
        loop {
            let page = self
                .s3
                .list_object_versions()
                .bucket(&self.location.bucket)
                .prefix(prefix)
                .set_key_marker(key_marker)
                .set_version_id_marker(version_marker)
                .send()
                .await
                .map_err(StoreError::at(prefix))?;
            let version = |version: aws_sdk_s3::types::ObjectVersion| {
                Some(Version {
                    key: version.key?,
                    id: version.version_id?,
                    is_latest: version.is_latest.unwrap_or(true),
                    size: version.size.and_then(|size| u64::try_from(size).ok())?,
                    modified: modified_at(version.last_modified),
                })
            };
            versions.extend(page.versions.unwrap_or_default().into_iter().filter_map(version));
            if page.is_truncated != Some(true) {
                return Ok(versions);
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    /// Deletes a version for good.
    async fn delete_version(&self, version: &Version) -> Result<(), StoreError> {
        let delete = self.s3.delete_object().bucket(&self.location.bucket).key(&version.key);
        match delete.version_id(&version.id).send().await {
            Err(error) if !matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion")) => {
                Err(StoreError::at(&version.key)(error))
            }
            _ => Ok(()),
        }
    }
}

fn in_milliseconds(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.as_millisecond().to_string())
}
