//! Puts packs in the place of others.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use serde::de::IgnoredAny;

use super::{GRACE, choose};
use crate::id::RepoId;
use crate::pack::{PackId, PackSummary, WrittenPack};
use crate::store::change::{Outcome, put_new};
use crate::store::items::{CONDEMNED_AT, Key, PK, PackItem, RetiredItem, SweepItem, encode};
use crate::store::packs::StoredPack;
use crate::store::{Error, Store, packs};

/// Who is said to have made a pack of others. No user's id is empty.
const NOBODY: &str = "";

impl Store {
    /// A name for a pack that takes the place of the `last` of some, before the `next`.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::store) fn name_behind(
        &self,
        repo: &RepoId,
        last: PackId,
        next: Option<PackId>,
    ) -> Result<PackId, Error> {
        let random = self.ambient.ulid().random() as u64;
        let name = choose::name(last, next, random);
        name.ok_or_else(|| Error::Damaged(format!("repo {repo}: no name is left before the pack {next:?}")))
    }

    /// Stores packs and swaps them for those that they were made of, in one transaction, together with what `also` writes.
    /// On a conflict one of the inputs is gone, or no longer condemned if it was, and nothing has changed. `has_large` says
    /// that the inputs list large objects which the outputs do not.
    pub(in crate::store) async fn swap(
        &self,
        repo: &RepoId,
        inputs: &[(PackId, PackSummary)],
        outputs: Vec<(PackId, WrittenPack)>,
        also: Vec<TransactWriteItem>,
        has_large: bool,
    ) -> Result<Outcome, Error> {
        let table = &self.location.table;
        let mut stored = Vec::new();
        for (name, written) in outputs {
            stored.push(self.store_pack_as(name, repo, written).await?);
        }
        // Only now: what is counted from then on has not begun before.
        let now = self.ambient.now_ms();
        let retired = RetiredItem {
            packs: inputs.iter().map(|(pack, _)| pack.to_string()).collect(),
            retired_at: now,
            has_large,
        };
        // The seconds are rounded up, so that what it ends for is due then.
        let sweep = SweepItem { expires_at: now.div_ceil(1_000) + GRACE.as_secs() };
        let first = stored.first().map_or_else(|| self.ambient.ulid(), |pack| pack.id);
        // Not a pack's own item: by the time that it is read back, another merge may have taken that away.
        let marker = Key::retired(repo, first);
        let mut items = also;
        items.push(put_new(table, encode(&marker, &retired)?)?);
        let put = Put::builder().table_name(table).set_item(Some(encode(&Key::sweep(repo), &sweep)?));
        items.push(TransactWriteItem::builder().put(put.build().map_err(Error::fault)?).build());
        for StoredPack { id, written, .. } in &stored {
            let condemned_at = written.summary.condemned_at.map(|_| now);
            let summary = PackSummary { condemned_at, ..written.summary };
            let pack = PackItem::new(&summary, &self.ambient.now_iso(), NOBODY);
            items.push(put_new(table, encode(&Key::pack(repo, *id), &pack)?)?);
        }
        for (input, summary) in inputs {
            let delete = Delete::builder().table_name(table).set_key(Some(Key::pack(repo, *input).item()));
            let delete = match summary.condemned_at {
                None => delete.condition_expression("attribute_exists(#pk)").expression_attribute_names("#pk", PK),
                Some(_) => delete
                    .condition_expression("attribute_exists(#condemned)")
                    .expression_attribute_names("#condemned", CONDEMNED_AT),
            };
            items.push(TransactWriteItem::builder().delete(delete.build().map_err(Error::fault)?).build());
        }
        // Without an answer it may have landed, and then the packs are the repo's. A sweep tells.
        let outcome = self.transact(items, &marker, |_: IgnoredAny| true).await?;
        if outcome == Outcome::Conflict {
            // What is gone does not come back, so no attempt at this can land any more.
            for pack in stored {
                self.delete_quietly(&packs::key(repo, pack.id), None).await;
            }
        }
        Ok(outcome)
    }
}
