//! Puts packs in the place of others.

use std::time::Duration;

use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use serde::de::IgnoredAny;

use crate::bucket::packs;
use crate::table::items::{CONDEMNED_AT, Key, PK, PackItem, RetiredItem, SweepItem, encode};
use crate::table::transaction::{Outcome, put, put_new};
use crate::{Store, StoreError};
use common::id::RepoId;
use common::pack::{PackId, PackSummary};
use common::time;

/// How long packs stay in S3 after they were merged, for requests that listed them before: Lambda ends a request after
/// 15 minutes.
pub const GRACE: Duration = Duration::from_secs(60 * 60);
/// The author of a pack that was made of others. No user's id is empty.
pub(crate) const NO_USER: &str = "";

/// Tables that are put in the place of others.
pub(crate) struct Swap<'s> {
    /// The packs and indexes that leave the list.
    pub(crate) inputs: &'s [(PackId, PackSummary)],
    /// Those that take their place. Their files are stored already.
    pub(crate) outputs: Vec<(PackId, PackSummary)>,
    /// The packs whose files no item names afterwards.
    pub(crate) gone: Vec<PackId>,
    /// Items that are written in the same transaction.
    pub(crate) also: Vec<TransactWriteItem>,
    /// Whether packs that are gone list large objects that no other pack lists.
    pub(crate) has_large: bool,
}

impl Store {
    /// A name for a pack that takes the place of several: behind the `last` of them, and before the `next` pack.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn name_behind(&self, repo: &RepoId, last: PackId, next: Option<PackId>) -> Result<PackId, StoreError> {
        let random = self.ambient.ulid().random() as u64;
        let name = name(last, next, random);
        name.ok_or_else(|| StoreError::Damaged(format!("repo {repo}: no name is left before the pack {next:?}")))
    }

    /// Puts tables in the place of others, in one transaction. On a conflict one of the inputs has left the list, or is
    /// no longer condemned if it was. Then nothing has changed, and the new files are deleted.
    pub(crate) async fn swap(&self, repo: &RepoId, swap: Swap<'_>) -> Result<Outcome, StoreError> {
        let Swap { inputs, outputs, gone, also, has_large } = swap;
        let table = &self.location.table;
        // The time is read only now that all is stored, so what is counted from it has not begun before.
        let now = self.ambient.now();
        let indexes = inputs.iter().filter(|(_, summary)| summary.is_index());
        let retired = RetiredItem {
            packs: gone.iter().map(ToString::to_string).collect(),
            indexes: indexes.map(|(index, _)| index.to_string()).collect(),
            retired_at: now,
            has_large,
        };
        // The seconds are rounded up, so that a sweep is due when its item ends.
        let sweep = SweepItem { expires_at: time::whole_second(time::after(now, GRACE)) };
        let first = outputs.first().map_or_else(|| self.ambient.ulid(), |(name, _)| *name);
        // The item of a table would not do as a marker: by the time that it is read back, another merge may have
        // deleted it.
        let marker = Key::retired(repo, first);
        let mut items = also;
        items.push(put_new(table, encode(&marker, &retired)?)?);
        items.push(put(table, encode(&Key::sweep(repo), &sweep)?)?);
        for (name, summary) in &outputs {
            let condemned_at = summary.condemned_at.map(|_| now);
            let summary = PackSummary { condemned_at, ..*summary };
            let pack = PackItem::new(&summary, &self.ambient.now_iso(), NO_USER);
            items.push(put_new(table, encode(&Key::pack(repo, *name), &pack)?)?);
        }
        for (input, summary) in inputs {
            let delete = Delete::builder().table_name(table).set_key(Some(Key::pack(repo, *input).item()));
            let delete = match summary.condemned_at {
                None => delete.condition_expression("attribute_exists(#pk)").expression_attribute_names("#pk", PK),
                Some(_) => delete
                    .condition_expression("attribute_exists(#condemned)")
                    .expression_attribute_names("#condemned", CONDEMNED_AT),
            };
            items.push(TransactWriteItem::builder().delete(delete.build().map_err(StoreError::fault)?).build());
        }
        // Without an answer the transaction may have landed, and then the new tables are the repo's. A sweep finds out.
        let outcome = self.transact(items, &marker, |_: IgnoredAny| true).await?;
        if outcome == Outcome::Conflict {
            // A pack that has left the list does not come back, so no attempt at this can land any more.
            for (name, summary) in outputs {
                self.delete_quietly(&packs::table_key(repo, name, &summary), None).await;
            }
        }
        Ok(outcome)
    }
}

/// A name for what neighbours are merged into: right behind the `last` of them, and before the `next` pack.
///
/// A list is read from front to back, and not in one moment. A list that is read during a swap has to have the last
/// input or the merged pack, so the name of the merged pack sorts behind all its inputs.
fn name(last: PackId, next: Option<PackId>, random: u64) -> Option<PackId> {
    let gap = next.map_or(u128::MAX, |next| next.0).saturating_sub(last.0);
    // At least one behind the last, and before the next.
    let room = u64::try_from(gap.saturating_sub(1)).unwrap_or(u64::MAX);
    (room > 0).then(|| PackId::from(last.0 + 1 + u128::from(random % room)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_merged_pack_lies_between_its_inputs_and_the_next(
            last in any::<u128>(), gap in prop::option::of(1_u128..u128::from(u64::MAX) * 4), random in any::<u64>(),
        ) {
            let next = gap.and_then(|gap| last.checked_add(gap));
            match name(PackId::from(last), next.map(PackId::from), random) {
                Some(name) => prop_assert!(name.0 > last && next.is_none_or(|next| name.0 < next)),
                None => prop_assert!(next.map_or(u128::MAX, |next| next) - last <= 1),
            }
        }
    }
}
