//! What items say of files in S3: which of them were retired, or set aside, and which large objects packs list.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::bucket::packs;
use crate::read::large;
use crate::table::items::{RETIRED_PREFIX, RetiredItem, SET_ASIDE_PREFIX};
use crate::upkeep::survey::{Held, Survey};
use crate::upkeep::swap::GRACE;
use crate::{Store, StoreError};
use common::id::{Id, ObjectKey, RepoId};
use common::pack::PackId;
use common::table::{self, Section};
use common::time;
use common::wire::limits::MAX_PACKS;

/// How long a file without an item stays in S3: a push may be about to name it.
pub const ORPHANS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// The packs of a repo that were merged and are still in S3.
    pub async fn retired(&self, repo: &RepoId) -> Result<Vec<(String, RetiredItem)>, StoreError> {
        self.query(repo, RETIRED_PREFIX, MAX_PACKS).await
    }

    /// The packs that a repair has taken off the list and kept.
    pub(crate) async fn set_aside(&self, repo: &RepoId) -> Result<Vec<String>, StoreError> {
        let aside = self.query::<IgnoredAny>(repo, SET_ASIDE_PREFIX, MAX_PACKS).await?;
        Ok(aside.into_iter().map(|(pack, _)| pack).collect())
    }
}

/// Removes from these keys those of large objects that packs list.
pub(crate) async fn forget_listed(
    keys: &mut HashSet<String>,
    repo: &RepoId,
    survey: &Survey<'_>,
) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let prefix = large::prefix(repo);
    let parsed = |key: &String| {
        let (pack, object) = key.strip_prefix(&prefix)?.split_once('/')?;
        let object = ObjectKey::from(object.parse::<Id>().ok()?);
        Some(((PackId::from_string(pack).ok()?, table::Key::of(object.as_ref())), key.clone()))
    };
    let unlisted: HashMap<(PackId, table::Key), String> = keys.iter().filter_map(parsed).collect();
    let mut objects = survey.records(Section::Objects).await?;
    while let Some((key, record)) = objects.next().await? {
        for copy in &record.copies {
            if let Held::Large(large) = copy.held
                && let Some(listed) = unlisted.get(&(large.pack, key))
            {
                keys.remove(listed);
            }
        }
    }
    Ok(())
}

/// The keys of the files that were retired together.
pub(crate) fn keys_of(repo: &RepoId, item: &RetiredItem) -> Result<Vec<String>, StoreError> {
    let key = |name: &String, key: fn(&RepoId, PackId) -> String| {
        let name = PackId::from_string(name);
        name.map(|name| key(repo, name)).map_err(|error| StoreError::Damaged(format!("repo {repo}: {error}")))
    };
    let indexes = item.indexes.iter().map(|index| key(index, packs::index_key));
    item.packs.iter().map(|pack| key(pack, packs::key)).chain(indexes).collect()
}

/// When S3 says that a file was written.
pub(crate) fn modified_at(said: Option<aws_smithy_types::DateTime>) -> Option<Timestamp> {
    let millis = said?.to_millis().ok()?;
    Timestamp::from_millisecond(millis).ok()
}

/// Whether no request reads any more what was retired.
pub(crate) fn is_over(item: &RetiredItem, now: Timestamp) -> bool {
    time::after(item.retired_at, GRACE) <= now
}
