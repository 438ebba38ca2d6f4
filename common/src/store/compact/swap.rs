//! Puts a merged pack in the place of those that it was made of.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use serde::de::IgnoredAny;

use super::GRACE;
use crate::id::RepoId;
use crate::pack::{PackId, PackSummary, WrittenPack};
use crate::store::change::{Outcome, put_new};
use crate::store::items::{Key, PK, PackItem, RetiredItem, SweepItem, encode};
use crate::store::{Error, Store, packs};

/// Who is said to have made a merged pack. No user's id is empty.
const NOBODY: &str = "";

impl Store {
    /// Stores a merged pack and swaps it for its inputs, in one transaction. On a conflict one of them is gone, and
    /// nothing has changed.
    pub(super) async fn swap(
        &self,
        repo: &RepoId,
        name: PackId,
        written: WrittenPack,
        inputs: &[(PackId, PackSummary)],
    ) -> Result<Outcome, Error> {
        let table = &self.location.table;
        let summary = written.summary;
        self.store_pack_as(name, repo, written).await?;

        let retired_at = self.ambient.now_ms();
        let pack = PackItem::new(&summary, &self.ambient.now_iso(), NOBODY);
        let retired = RetiredItem { packs: inputs.iter().map(|(pack, _)| pack.to_string()).collect(), retired_at };
        // The seconds are rounded up, so that what it ends for is due then.
        let sweep = SweepItem { expires_at: retired_at.div_ceil(1_000) + GRACE.as_secs() };
        // Not the pack's own item: by the time that it is read back, another merge may have taken that away.
        let marker = Key::retired(repo, name);
        let mut items =
            vec![put_new(table, encode(&Key::pack(repo, name), &pack)?)?, put_new(table, encode(&marker, &retired)?)?];
        let put = Put::builder().table_name(table).set_item(Some(encode(&Key::sweep(repo), &sweep)?));
        items.push(TransactWriteItem::builder().put(put.build().map_err(Error::fault)?).build());
        for (input, _) in inputs {
            let delete = Delete::builder()
                .table_name(table)
                .set_key(Some(Key::pack(repo, *input).item()))
                .condition_expression("attribute_exists(#pk)")
                .expression_attribute_names("#pk", PK)
                .build()
                .map_err(Error::fault)?;
            items.push(TransactWriteItem::builder().delete(delete).build());
        }
        // Without an answer it may have landed, and then the pack is the repo's. A sweep tells.
        let outcome = self.transact(items, &marker, |_: IgnoredAny| true).await?;
        if outcome == Outcome::Conflict {
            // What is gone does not come back, so no attempt at this can land any more.
            self.delete_quietly(&packs::key(repo, name), None).await;
        }
        Ok(outcome)
    }
}
