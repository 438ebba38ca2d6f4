//! Repos that share files. A fork begins with the packs and large objects of the repo that it is made of ([`fork`](super::fork)): it
//! lists them too, and nothing is copied. So the files of a repo and of all its forks lie under one prefix, that of their **pool**, and
//! whoever deletes a file asks first whether another repo of the pool needs it.
//!
//! **What belongs to a pool** is known from two places: the first repo of it has the pool's own id, and each fork has an item
//! `POOL#<pool>` / `REPO#<repo_id>`. It is there before the fork reads what it begins with, and until nothing of the fork is left.
//!
//! **Why no file is lost.** What a repo lists, has retired for less than [`GRACE`], or has set aside, it needs. A file comes into the list
//! of a fork from the list of another repo of the pool, while the fork is in the pool, and leaves it through `RETIRED#`. Who deletes
//! reads what is in the pool first, and then what each of those needs. Say that a fork which was not in the pool yet has come to need the
//! file. It took it from a repo that listed it after that, and if that one has retired it since, it did so less than the grace ago.
//!
//! **What no repo needs** is deleted by the next of them that looks for files without a name. Each looks through the whole pool.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use common::wire::error::with_causes;
use jiff::Timestamp;

use crate::bucket::packs;
use crate::read::large;
use crate::table::items::{
    Key, POOLED_PREFIX, PooledItem, REF_PREFIX, RefItem, RetiredItem, SweepItem, encode, pool_pk,
};
use crate::table::query::Direction;
use crate::table::transaction::outcome_of;
use crate::upkeep::files::{ORPHANS_KEPT, forget_listed, is_over, keys_of};
use crate::upkeep::survey::Survey;
use crate::upkeep::swap::GRACE;
use crate::{Store, StoreError};
use common::id::{CommitId, RepoId};
use common::time;
use common::wire::limits::{MAX_BRANCHES, MAX_POOL};

/// The forks of a pool that are read at once.
const PAGE: usize = 2 * MAX_POOL;

/// Which files are to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doomed {
    /// Those that one repo has named, and does not name any more.
    Retired,
    /// Those that no item names. If another repo lacks something, one of them may be it.
    Unnamed,
}

impl Store {
    /// The other repos of a pool, whether they are all there, deleted, or on the way, each fork with the user that it was made for.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn others_in_pool(&self, repo: &RepoId) -> Result<Vec<(RepoId, String)>, StoreError> {
        let pk = pool_pk(repo);
        let first = repo.pool().parse().map_err(|error| StoreError::Damaged(format!("{pk}: {error}")))?;
        let mut others = vec![(first, String::new())];
        let mut after: Option<String> = None;
        loop {
            let (forks, goes_on) =
                self.query_part::<PooledItem>(&pk, POOLED_PREFIX, Direction::Forward, after.as_deref(), PAGE).await?;
            after = forks.last().map(|(fork, _)| fork.clone()).filter(|_| goes_on);
            for (fork, item) in forks {
                let fork = fork.parse().map_err(|error| StoreError::Damaged(format!("{pk}: {error}")))?;
                others.push((fork, item.made_for));
            }
            if after.is_none() {
                others.retain(|(other, _)| other != repo);
                return Ok(others);
            }
        }
    }

    /// Takes the keys of files out of these that another repo of the pool needs. Returns whether there is another. If it is not known what one of
    /// them needs, because it is damaged, it needs everything.
    ///
    /// # Errors
    /// When the stores do not answer.
    pub async fn forget_needed(
        &self,
        repo: &RepoId,
        keys: &mut HashSet<String>,
        doomed: Doomed,
    ) -> Result<bool, StoreError> {
        let others = self.others_in_pool(repo).await?;
        for (other, _) in &others {
            if keys.is_empty() {
                break;
            }
            match self.forget_needed_by(other, keys, doomed).await {
                Err(error) if error.is_damage() => {
                    tracing::warn!(%repo, %other, causes = with_causes(&error), "what a fork needs is not known, and so nothing is deleted");
                    keys.clear();
                }
                forgotten => forgotten?,
            }
        }
        Ok(!others.is_empty())
    }

    async fn forget_needed_by(
        &self,
        other: &RepoId,
        keys: &mut HashSet<String>,
        doomed: Doomed,
    ) -> Result<(), StoreError> {
        // In this order: a pack that leaves the list in between is found among those that were retired.
        let listing = self.listing(other).await?;
        let retired = self.retired(other).await?;
        let aside = self.set_aside(other).await?;
        for (name, summary) in listing.tables.iter().chain(&listing.packs()) {
            keys.remove(&packs::table_key(other, *name, summary));
        }
        let (now, of_objects) = (self.ambient.now(), large::prefix(other));
        for (_, item) in retired.iter().filter(|(_, item)| !is_over(item, now)) {
            for key in keys_of(other, item)? {
                keys.remove(&key);
            }
            if item.has_large {
                // A request that began before may be reading any of them.
                keys.retain(|key| !key.starts_with(&of_objects));
            }
        }
        keys.retain(|key| !aside.iter().any(|pack| key.contains(pack.as_str())));
        let is_looked_through = match doomed {
            Doomed::Unnamed => !keys.is_empty(),
            // Of packs it is known by now who names them.
            Doomed::Retired => keys.iter().any(|key| key.starts_with(&of_objects)),
        };
        if !is_looked_through {
            return Ok(());
        }
        let survey = self.survey(other, &listing).await?;
        forget_listed(keys, other, &survey).await?;
        if doomed == Doomed::Unnamed && !keys.is_empty() && !self.has_what_it_names(other, &survey).await? {
            tracing::warn!(repo = %other, "something is missing, and so nothing is deleted that no item names: musehub fsck");
            keys.clear();
        }
        Ok(())
    }

    /// Whether the packs of a repo have the commits of its branches, and all their parents.
    pub(crate) async fn has_what_it_names(&self, repo: &RepoId, survey: &Survey<'_>) -> Result<bool, StoreError> {
        // A push that has landed since the packs were listed makes it look as if not, and the next sweep is another.
        let heads = self.query::<RefItem>(repo, REF_PREFIX, MAX_BRANCHES).await?;
        let heads: Vec<CommitId> = heads.into_iter().map(|(_, branch)| branch.head).collect();
        let links = survey.links(&heads).await?;
        Ok(links.is_whole() && heads.iter().all(|head| links.position(head).is_some()))
    }

    /// Has a repo look for files without a name when those that are written now are old enough for that. It is noted once a day.
    pub(crate) async fn have_swept(&self, repo: &RepoId) -> Result<(), StoreError> {
        let old = time::after(self.ambient.now(), ORPHANS_KEPT);
        let day = old.as_second().div_euclid(A_DAY) + 1;
        let old = Timestamp::from_second(day * A_DAY).map_err(StoreError::fault)?;
        let nothing = RetiredItem { packs: Vec::new(), indexes: Vec::new(), retired_at: old, has_large: false };
        self.put_item(&Key::retired(repo, time::ulid(old, 0)), &nothing).await?;
        self.sweep_by(repo, time::after(old, GRACE)).await
    }

    /// Has a repo swept at a time, unless that is due before.
    pub(crate) async fn sweep_by(&self, repo: &RepoId, at: Timestamp) -> Result<(), StoreError> {
        let (key, at) = (Key::sweep(repo), time::whole_second(at));
        let seconds = |time: Timestamp| AttributeValue::N(time.as_second().to_string());
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.location.table)
            .set_item(Some(encode(&key, &SweepItem { expires_at: at })?))
            .condition_expression("attribute_not_exists(#until) OR #until <= :now OR #until > :at")
            .expression_attribute_names("#until", "expires_at")
            .expression_attribute_values(":now", seconds(self.ambient.now()))
            .expression_attribute_values(":at", seconds(at));
        outcome_of(put.send().await, &key).map(drop)
    }
}

/// Seconds of a day.
const A_DAY: i64 = 24 * 60 * 60;
