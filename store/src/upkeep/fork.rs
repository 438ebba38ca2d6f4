//! Forks: repos that begin with what another has at that moment, and share its files.
//!
//! 1. **Begin.** One transaction puts the fork into the [`pool`](super::pool) of the repo, and notes that it is not all there
//!    (`FORKING`). From then on no file goes that the fork may come to need.
//! 2. **Look.** Branches, tags and releases are read, and then the packs that they lead into. A pack all of whose records they reach is
//!    shared. Of one that holds more, what they reach is written again for the fork. So nothing can be had through the fork that a reader of
//!    the repo could not have: not what was pushed and never reached, nor what a forced push has left behind, nor what was purged.
//!    Drafts of releases are for writers, and stay behind.
//! 3. **Write.** The fork gets items of its own: the packs, then the names, with a line of a push log of its own for each branch. Nobody finds
//!    it yet. Its branches are protected by nothing, and members, links and webhooks stay with the repo.
//! 4. **Finish.** One transaction gives it its name and its item about itself, on condition that nothing was purged in the repo meanwhile:
//!    a purge erases at once, and asks what other repos need only when it has marked.
//!
//! **A fork that is not all there**, because something has failed, is left to upkeep: an hour later it is removed ([`removal`](super::removal)). One
//! that is refused is removed at once. What is written for it is written in transactions: an attempt that arrives when another has landed does nothing,
//! where a batch that is heard twice could put a branch back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem};
use common::wire::error::with_causes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::repo::Repo;
use crate::table::account::NewRepo;
use crate::table::items::{
    FORKED, ForkingItem, GarbageItem, Item, Key, LogItem, MetaItem, NameItem, PK, PURGED_PREFIX, PackItem, PooledItem,
    PurgedItem, REF_PREFIX, RELEASE_PREFIX, RefItem, RemovalItem, TAG_PREFIX, decode, encode, repo_pk,
};
use crate::table::query::Items;
use crate::table::transaction::{Outcome, put, put_new};
use crate::upkeep::compact::merge::split;
use crate::upkeep::garbage::condemn::{GARBAGE_AT_ONCE, REWRITTEN_AT_ONCE, Shares};
use crate::upkeep::garbage::mark::{Reach, Role, Roots, Share};
use crate::upkeep::garbage::{Deferred, Limits};
use crate::upkeep::index::Listing;
use crate::upkeep::survey::Survey;
use crate::upkeep::swap::{GRACE, NO_USER};
use crate::{Store, StoreError};
use common::id::{BranchName, RepoId};
use common::pack::{PackId, PackSummary};
use common::time;
use common::wire::limits::{
    MAX_BRANCHES, MAX_COPIED_FOR_FORK, MAX_POOL, MAX_POOL_OF_USER, MAX_PURGED, MAX_RELEASES_OF_REPO, MAX_TAGS_OF_REPO,
};

/// How long a fork may take. A file that is retired when it has been read stays for twice as long.
const MOST_TIME: Duration = GRACE.checked_div(2).unwrap();
/// Items of one transaction, which may have 100.
const ITEMS: usize = 90;
/// Releases of one transaction, which may have 4 MB: a release has up to 400 KB.
const RELEASES: usize = 8;
/// Transactions at the same time.
const PARALLEL: usize = 8;

/// Why an object is purged in a fork that was purged before.
const PURGED_BEFORE: &str = "it was purged before in the repository that this is a fork of";

/// What became of a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// It is there.
    Made,
    /// Another repo has its name.
    Taken,
    /// There are as many forks in the pool as there may be.
    TooMany,
    /// The user has as many of them as one may have.
    TooManyOfUser,
    /// The repo was deleted, pushed to for the first time, made private or public, or something was purged in it meanwhile.
    Changed,
    /// A branch, a commit or a snapshot of the repo names something that is missing.
    Incomplete,
    /// Too many bytes lie in packs that hold more than branches, tags and releases reach, or too many in manifests.
    TooLarge,
}

/// What a fork lists of its own names: the packs and indexes.
type Tables = Vec<(PackId, PackSummary)>;

/// The items that a fork begins with, beside its packs.
struct Names {
    branches: Vec<Item>,
    tags: Vec<Item>,
    releases: Vec<Item>,
    purged: Vec<Item>,
}

impl Store {
    /// Makes a repo that begins with what another has. That one was opened before, and `new` is drawn in its pool.
    ///
    /// # Errors
    /// When the stores do not answer, or a pack is damaged.
    pub async fn fork(self: &Arc<Self>, origin: &Repo, new: &NewRepo) -> Result<Forked, StoreError> {
        let forking = self.begin_fork(origin, new).await?;
        let forked = self.make_fork(origin, new, forking.since).await;
        // After an error something may still be on its way, and so upkeep does it an hour later.
        if matches!(forked, Ok(refused) if refused != Forked::Made)
            && let Err(error) = self.abandon(&new.id, &forking).await
        {
            tracing::warn!(repo = %new.id, causes = with_causes(&error), "a fork that was refused is not removed yet");
        }
        forked
    }

    async fn make_fork(self: &Arc<Self>, origin: &Repo, new: &NewRepo, since: Timestamp) -> Result<Forked, StoreError> {
        // Counted when this one is among them, and those before it alone: of many at once as many find a place as there are.
        let others = self.others_in_pool(&new.id).await?;
        let before: Vec<_> = others.iter().filter(|(other, _)| other.is_fork() && other.own() < new.id.own()).collect();
        let of_user = before.iter().filter(|(_, made_for)| *made_for == new.meta.owner_user_id).count();
        match (before.len() >= MAX_POOL, of_user >= MAX_POOL_OF_USER) {
            (_, true) => return Ok(Forked::TooManyOfUser),
            (true, _) => return Ok(Forked::TooMany),
            _ => {}
        }
        let mut names = self.names_of(&origin.id).await?;
        if names.branches.is_empty() != new.meta.first_pushed_at.is_none() {
            // It was opened before its first push.
            return Ok(Forked::Changed);
        }
        let (tables, named) = match self.tables_for(origin, &names, new).boxed().await? {
            Ok(tables) => tables,
            Err(Deferred::Incomplete) => return Ok(Forked::Incomplete),
            Err(Deferred::TooLarge | Deferred::TooManyPacks) => return Ok(Forked::TooLarge),
        };
        // The ids of others are for the admins of the repo: the hash of a short secret can be guessed.
        names.purged.retain(|item| named.contains(&Key::of(item)));
        let mut new = new.clone();
        new.meta.purged = Some(names.purged.len() as u64).filter(|count| *count > 0);
        self.write_fork(&new, tables, names).await?;
        if time::after(since, MOST_TIME) <= self.ambient.now() {
            return Err(StoreError::Unavailable("the fork has taken too long".into()));
        }
        self.finish_fork(origin, &new).await
    }

    async fn begin_fork(&self, origin: &Repo, new: &NewRepo) -> Result<ForkingItem, StoreError> {
        let (table, now) = (&self.location.table, self.ambient.now());
        let key = Key::forking(&new.id);
        let forking = ForkingItem { of: origin.id.clone(), since: now, abandoned_at: None };
        let removal = RemovalItem { expires_at: time::whole_second(time::after(now, GRACE)) };
        let pooled = PooledItem { since: time::iso(now), made_for: new.meta.owner_user_id.clone() };
        let items = vec![
            put_new(table, encode(&key, &forking)?)?,
            put(table, encode(&Key::removal(&new.id), &removal)?)?,
            put_new(table, encode(&Key::pooled(&new.id), &pooled)?)?,
        ];
        match self.transact(items, &key, |_: IgnoredAny| true).await? {
            Outcome::Landed => Ok(forking),
            // Its id was drawn for it.
            Outcome::Conflict => Err(StoreError::Damaged(format!("the fork {} is there already", new.id))),
        }
    }

    /// What a fork begins with, beside packs.
    async fn names_of(&self, origin: &RepoId) -> Result<Names, StoreError> {
        let (branches, tags, releases, purged) = tokio::try_join!(
            self.all_items(origin, REF_PREFIX, MAX_BRANCHES),
            self.all_items(origin, TAG_PREFIX, MAX_TAGS_OF_REPO),
            self.all_items(origin, RELEASE_PREFIX, MAX_RELEASES_OF_REPO),
            self.all_items(origin, PURGED_PREFIX, MAX_PURGED),
        )?;
        // Drafts are for those who may write to the repo.
        let is_draft = |item: &Item| item.get("is_draft").is_some_and(|value| value.as_bool() == Ok(&true));
        let releases = releases.into_iter().filter(|item| !is_draft(item)).collect();
        Ok(Names { branches, tags, releases, purged })
    }

    async fn all_items(&self, repo: &RepoId, prefix: &str, most: usize) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::new();
        self.each_item(repo, Items { prefix, ..Items::default() }, |item| {
            found.push(item);
            // As `query`.
            if found.len() > 2 * most {
                return Err(StoreError::Damaged(format!("repo {repo} has far more than {most} items {prefix}")));
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .await?;
        Ok(found)
    }

    /// The packs and indexes of a fork. Those that hold more than these names reach are written again without it. And the items of purged objects
    /// that manifests name.
    async fn tables_for(
        self: &Arc<Self>,
        origin: &Repo,
        names: &Names,
        new: &NewRepo,
    ) -> Result<Result<(Tables, Vec<Key>), Deferred>, StoreError> {
        let roots = Roots::of(&names.branches, names.tags.iter().chain(&names.releases))?;
        let listing = self.listing(&origin.id).await?;
        let survey = self.survey(&origin.id, &listing).await?;
        // Without these no object is left whose snapshot is gone, and none that is purged and not erased.
        let is_thorough = !names.purged.is_empty() || self.item(&Key::collected(&origin.id)).await?.is_some();
        let limits = Limits { is_thorough, ..Limits::IN_PASSING };
        let roles = vec![Role::Candidate; survey.packs().len()];
        let (reach, shares, _) = match self.find_garbage(&origin.id, &survey, roles, &roots, limits).await? {
            Ok(found) => found,
            Err(deferred) => return Ok(Err(deferred)),
        };
        let pack = |number: u32| survey.packs().get(number as usize).copied();
        let copied = shares.iter().filter_map(|(number, _)| pack(*number)).map(|(_, summary)| summary.size);
        if copied.fold(0, u64::saturating_add) > MAX_COPIED_FOR_FORK {
            return Ok(Err(Deferred::TooLarge));
        }
        let instead = self.write_without(&new.id, &listing, &survey, &reach, shares).await?;
        let of_fork = |(pack, summary): (PackId, PackSummary)| match instead.get(&pack) {
            Some(instead) => *instead,
            None => (pack, PackSummary { condemned_at: None, ..summary }),
        };
        let mut tables = Vec::new();
        for table in &listing.tables {
            match listing.indexes.iter().find(|index| index.name == table.0) {
                Some(index) if index.packs.iter().any(|(pack, _)| instead.contains_key(pack)) => {
                    let packs: Vec<_> = index.packs.iter().copied().map(of_fork).collect();
                    let next = listing.next(index.name);
                    tables.extend(self.write_indexes(&new.id, index.name, next, &packs).await?);
                }
                _ => tables.push(of_fork(*table)),
            }
        }
        Ok(Ok((tables, reach.purged.iter().map(|object| Key::purged(&origin.id, object)).collect())))
    }

    /// Writes packs for a fork without their garbage. Returns what each of them is instead.
    async fn write_without(
        &self,
        fork: &RepoId,
        listing: &Listing,
        survey: &Survey<'_>,
        reach: &Reach<'_>,
        mut shares: Shares,
    ) -> Result<BTreeMap<PackId, (PackId, PackSummary)>, StoreError> {
        let mut instead = BTreeMap::new();
        while !shares.is_empty() {
            let mut records = 0;
            let fits = |(_, share): &&(u32, Share)| {
                records += share.records();
                records <= GARBAGE_AT_ONCE
            };
            // One at least.
            let count = shares.iter().take(REWRITTEN_AT_ONCE).take_while(fits).count().max(1);
            let rest = shares.split_off(count.min(shares.len()));
            let some: Vec<u32> = std::mem::replace(&mut shares, rest).iter().map(|(number, _)| *number).collect();
            let garbage = reach.garbage_of(&some.iter().copied().collect()).await?;
            for number in some {
                let Some((pack, summary)) = survey.packs().get(number as usize).copied() else { continue };
                let (kept, _) = Box::pin(split(self, fork, (pack, summary), &garbage)).await?;
                let name = self.name_behind(fork, pack, listing.next(pack))?;
                let summary = PackSummary { condemned_at: None, ..kept.summary };
                self.store_pack_as(name, fork, kept).await?;
                // Also if it is empty: it may say of objects in other packs that they were reached.
                instead.insert(pack, (name, summary));
            }
        }
        Ok(instead)
    }

    async fn write_fork(&self, new: &NewRepo, tables: Tables, names: Names) -> Result<(), StoreError> {
        let NewRepo { id: fork, meta } = new;
        let (at, by) = (self.ambient.now_iso(), &meta.owner_user_id);
        let pack = |(name, summary): (PackId, PackSummary)| {
            encode(&Key::pack(fork, name), &PackItem::new(&summary, &at, NO_USER))
        };
        let packs = tables.into_iter().map(pack).collect::<Result<Vec<_>, _>>()?;
        let of_fork = |mut item: Item| {
            item.insert(PK.to_owned(), AttributeValue::S(repo_pk(fork)));
            item
        };
        let forked = |item: Item| {
            let mut item = of_fork(item);
            item.insert(FORKED.to_owned(), AttributeValue::Bool(true));
            item
        };
        let (mut branches, mut lines) = (Vec::new(), Vec::new());
        for item in names.branches {
            let name = Key::of(&item).sk.split_off(REF_PREFIX.len());
            let branch: BranchName = name.parse().map_err(StoreError::fault)?;
            let head = decode::<RefItem>(item)?.head;
            let moved =
                RefItem { head: head.clone(), updated_at: at.clone(), updated_by: by.clone(), protection: None };
            branches.push(encode(&Key::branch(fork, &branch), &moved)?);
            let line = LogItem {
                branch,
                before: None,
                after: head,
                deleted: false,
                forced: false,
                restored: false,
                by: by.clone(),
                via: None,
                at: at.clone(),
            };
            lines.push(forked(encode(&Key::log(fork, self.ambient.ulid()), &line)?));
        }
        self.put_in_transactions(packs, ITEMS).await?;
        self.put_in_transactions(branches, ITEMS).await?;
        self.put_in_transactions(lines, ITEMS).await?;
        // Who has purged them, and why, is for the admins of the repo.
        let purged = PurgedItem { at: at.clone(), by: by.clone(), reason: PURGED_BEFORE.to_owned() };
        let purged = names.purged.iter().map(|item| {
            let key = Key { pk: repo_pk(fork), sk: Key::of(item).sk };
            encode(&key, &purged)
        });
        self.put_in_transactions(purged.collect::<Result<_, _>>()?, ITEMS).await?;
        self.put_in_transactions(names.tags.into_iter().map(forked).collect(), ITEMS).await?;
        self.put_in_transactions(names.releases.into_iter().map(forked).collect(), RELEASES).await
    }

    /// Writes new items, some of them in each transaction.
    async fn put_in_transactions(&self, items: Vec<Item>, at_once: usize) -> Result<(), StoreError> {
        let table = &self.location.table;
        let write = |some: Vec<Item>| async move {
            let Some(first) = some.first() else { return Ok(()) };
            let marker = Key::of(first);
            let puts = some.into_iter().map(|item| put_new(table, item)).collect::<Result<Vec<_>, _>>()?;
            match self.transact(puts, &marker, |_: IgnoredAny| true).await? {
                Outcome::Landed => Ok(()),
                Outcome::Conflict => Err(StoreError::Damaged(format!("{marker} is there before its repo"))),
            }
        };
        let chunks: Vec<Vec<Item>> = items.chunks(at_once).map(<[Item]>::to_vec).collect();
        stream::iter(chunks).map(write).buffer_unordered(PARALLEL).try_collect().await
    }

    async fn finish_fork(&self, origin: &Repo, new: &NewRepo) -> Result<Forked, StoreError> {
        let table = &self.location.table;
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(Key::meta(&origin.id).item()))
            .expression_attribute_names("#pk", PK);
        let there = "attribute_exists(#pk) AND attribute_not_exists(deleted_at) AND visibility = :visibility";
        let visibility = AttributeValue::S(origin.meta.visibility.as_str().to_owned());
        let check = check.expression_attribute_values(":visibility", visibility);
        let check = match origin.meta.purged {
            None => check.condition_expression(format!("{there} AND attribute_not_exists(purged)")),
            Some(count) => check
                .condition_expression(format!("{there} AND purged = :count"))
                .expression_attribute_values(":count", AttributeValue::N(count.to_string())),
        };
        let is_wanted = Delete::builder()
            .table_name(table)
            .set_key(Some(Key::forking(&new.id).item()))
            .condition_expression("attribute_exists(#pk) AND attribute_not_exists(abandoned_at)")
            .expression_attribute_names("#pk", PK);
        let removal = Delete::builder().table_name(table).set_key(Some(Key::removal(&new.id).item()));
        let mut items = new.items(self)?;
        items.push(TransactWriteItem::builder().condition_check(check.build().map_err(StoreError::fault)?).build());
        // It wakes upkeep, which has left alone what was not all there.
        let garbage = GarbageItem { expires_at: time::whole_second(time::after(self.ambient.now(), GRACE)) };
        items.push(put(table, encode(&Key::garbage(&new.id), &garbage)?)?);
        for delete in [is_wanted, removal] {
            items.push(TransactWriteItem::builder().delete(delete.build().map_err(StoreError::fault)?).build());
        }
        let name = Key::name(&new.meta.owner, &new.meta.slug);
        if self.transact(items, &name, |item: NameItem| item.repo_id == new.id).await? == Outcome::Conflict {
            let is_taken = self.item(&name).await?.is_some();
            return Ok(if is_taken { Forked::Taken } else { Forked::Changed });
        }
        self.publish([encode(&Key::meta(&new.id), &new.meta)?]);
        // As the stream does it. There may be no receiver.
        let _ = self.landed.send(new.id.clone());
        tracing::info!(repo = %new.id, of = %origin.id, "a fork was made");
        Ok(Forked::Made)
    }
}

impl NewRepo {
    /// A fork of a repo, which does not have these names yet.
    #[must_use]
    pub fn fork_of(self, store: &Store, origin: &Repo) -> Self {
        let now = store.ambient().now_iso();
        let of = &origin.meta;
        Self {
            id: origin.id.fork(store.ambient().ulid()),
            meta: MetaItem {
                domain: of.domain.clone(),
                default_branch: of.default_branch.clone(),
                default_is_chosen: of.default_is_chosen,
                first_pushed_at: (!origin.heads.is_empty()).then_some(now),
                first_head: of.first_head.clone(),
                forked_from: Some(origin.id.clone()),
                ..self.meta
            },
        }
    }
}
