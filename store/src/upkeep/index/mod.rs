//! Indexes: files that are a table and nothing else. An index covers many packs, so that a request looks into one table
//! instead of many. Tables are merged apart from the data: a full pack is never written again, but its table is merged
//! with others.
//!
//! An index is the S3 object `packs/<repo_id>/<ulid>.index`. Its item takes the place of the items of its packs. The
//! index itself names those packs, so no request needs to list them. Each pack keeps its own table, and an index is
//! what those tables give, byte for byte. So it can be made again, and fsck compares it with them.

pub(crate) mod cursor;
pub(crate) mod merge;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, channel};

use crate::bucket::packs;
use crate::table::transaction::Outcome;
use crate::upkeep::swap::Swap;
use crate::{Store, StoreError, aws};
use common::id::RepoId;
use common::pack::{PackId, PackSummary};
use common::table::{PackEntry, Section};
use cursor::{Input, TableFile};
use merge::{merge, shape};

/// How many tables are opened, and how many indexes are listed, at the same time.
const PARALLEL_READS: usize = 16;
/// How many tables are merged at once if packs of an index are replaced.
const TABLES_AT_ONCE: usize = 400;
/// Attempts at writing an index. Its bytes are not kept, so each attempt merges again.
const ATTEMPTS: usize = 3;
/// How long one attempt may take: a fixed time, and the time for its length at this many bytes a second.
const PUT_TIMEOUT: (Duration, u64) = (Duration::from_secs(60), 4 << 20);
/// How many bytes of an index are compared at once.
const COMPARED_BYTES: u64 = 1 << 20;

/// An index and its packs.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its name.
    pub name: PackId,
    /// What its item says.
    pub summary: PackSummary,
    /// Its packs, in their order.
    pub packs: Vec<(PackId, PackSummary)>,
}

/// What the items of a repo list: packs, and indexes with their packs.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Packs and indexes, in the order of their names.
    pub tables: Vec<(PackId, PackSummary)>,
    /// The indexes among them.
    pub indexes: Vec<Index>,
}

impl Listing {
    /// All packs; in the place of each index, its packs.
    pub fn packs(&self) -> Vec<(PackId, PackSummary)> {
        let mut indexes = self.indexes.iter();
        let mut packs = Vec::new();
        for table in &self.tables {
            if table.1.is_index() {
                packs.extend(indexes.next().into_iter().flat_map(|index| &index.packs));
            } else {
                packs.push(*table);
            }
        }
        packs
    }

    /// The index that covers a pack.
    pub fn index_of(&self, pack: PackId) -> Option<&Index> {
        self.indexes.iter().find(|index| index.packs.iter().any(|(of_index, _)| *of_index == pack))
    }

    /// The next name in the list.
    pub fn next(&self, name: PackId) -> Option<PackId> {
        self.tables.iter().map(|(table, _)| *table).find(|table| *table > name)
    }
}

impl Store {
    /// What the items of a repo list, and the packs of indexes.
    ///
    /// # Errors
    /// When the stores do not answer, or an index is damaged.
    pub async fn listing(&self, repo: &RepoId) -> Result<Listing, StoreError> {
        let tables = self.tables(repo).await?;
        self.listing_of(repo, tables).await
    }

    /// The same, of packs and indexes that were listed before.
    pub async fn listing_of(&self, repo: &RepoId, tables: Vec<(PackId, PackSummary)>) -> Result<Listing, StoreError> {
        let indexes: Vec<_> = tables.iter().filter(|(_, summary)| summary.is_index()).copied().collect();
        let indexes = stream::iter(indexes).map(|(name, summary)| async move {
            let packs = self.packs_of(repo, name, &summary).await?;
            Ok::<_, StoreError>(Index { name, summary, packs })
        });
        let indexes = indexes.buffered(PARALLEL_READS).try_collect().await?;
        Ok(Listing { tables, indexes })
    }

    /// The packs of a repo, those of its indexes among them. If several packs hold a record, the first of them counts.
    ///
    /// # Errors
    /// As [`Self::listing`].
    pub async fn packs(&self, repo: &RepoId) -> Result<Vec<(PackId, PackSummary)>, StoreError> {
        Ok(self.listing(repo).await?.packs())
    }

    /// The packs of an index.
    ///
    /// # Errors
    /// When S3 does not answer, or the index is damaged.
    pub async fn packs_of(
        &self,
        repo: &RepoId,
        index: PackId,
        summary: &PackSummary,
    ) -> Result<Vec<(PackId, PackSummary)>, StoreError> {
        let key = packs::index_key(repo, index);
        let table = TableFile::open(&self.bucket, key, index, summary.table, 1).await?;
        let mut entries = table.section(Section::Packs).await?;
        let mut packs = Vec::new();
        while let Some(entry) = entries.entry() {
            let entry = PackEntry::read(entry);
            packs.push((entry.pack, entry.summary()));
            entries.advance().await?;
        }
        Ok(packs)
    }

    /// Writes an index of the packs that these tables cover: packs and indexes, in their order. No item names it yet.
    ///
    /// # Errors
    /// When one cannot be read, or S3 does not take it.
    pub(crate) async fn write_index(
        &self,
        repo: &RepoId,
        name: PackId,
        tables: &[(PackId, PackSummary)],
    ) -> Result<PackSummary, StoreError> {
        let inputs = self.inputs(repo, tables).await?;
        let length = shape(&inputs)?;
        let mut attempts_left = ATTEMPTS;
        let table = loop {
            attempts_left -= 1;
            let (out, body) = channel(1);
            // If the merge fails, the body ends too soon, and the merge returns the reason.
            let (merged, put) = tokio::join!(merge(&inputs, out), self.put_index(repo, name, length, body));
            match (merged?, put) {
                (Some(table), Ok(())) => break table,
                // An earlier attempt has landed and its answer was lost. S3 did not wait for the rest of this one.
                (None, Ok(())) => {
                    let (out, body) = channel(1);
                    let key = packs::index_key(repo, name);
                    let (merged, fault) = tokio::join!(merge(&inputs, out), self.differs(&key, body));
                    if let Some(fault) = fault? {
                        // Hardly ever: a fork draws names in the same places.
                        return Err(StoreError::Unavailable(
                            format!("{key} is the name of another index: {fault}").into(),
                        ));
                    }
                    break merged?.ok_or_else(|| StoreError::Damaged(format!("the index {name} has no end")))?;
                }
                (_, Err(StoreError::Unavailable(_))) if attempts_left > 0 => {}
                (_, Err(error)) => return Err(error),
            }
        };
        let sum = |count: fn(&PackSummary) -> u64| tables.iter().map(|(_, summary)| count(summary)).sum();
        Ok(PackSummary {
            size: sum(|summary| summary.size),
            commits: sum(|summary| summary.commits),
            snapshots: sum(|summary| summary.snapshots),
            objects: sum(|summary| summary.objects),
            merged: tables.len() as u64,
            packs: sum(|summary| summary.packs.max(1)),
            condemned_at: None,
            raw: PackSummary::raw_of(tables.iter().map(|(_, summary)| summary)),
            large: tables.iter().try_fold(0, |sum: u64, (_, summary)| Some(sum.saturating_add(summary.large?))),
            table,
        })
    }

    /// Writes indexes of these packs: one, or a few if there are very many packs. Their names lie behind a table of the
    /// list and before the next one.
    ///
    /// # Errors
    /// As [`Self::write_index`].
    pub(crate) async fn write_indexes(
        &self,
        repo: &RepoId,
        behind: PackId,
        next: Option<PackId>,
        packs: &[(PackId, PackSummary)],
    ) -> Result<Vec<(PackId, PackSummary)>, StoreError> {
        let mut written: Vec<(PackId, PackSummary)> = Vec::new();
        for packs in packs.chunks(TABLES_AT_ONCE) {
            let behind = written.last().map_or(behind, |(last, _)| *last);
            let name = self.name_behind(repo, behind, next)?;
            written.push((name, self.write_index(repo, name, packs).await?));
        }
        Ok(written)
    }

    /// Puts an index of other packs in the place of one, together with the items in `also`. If there are no packs, the
    /// index goes and nothing takes its place.
    ///
    /// # Errors
    /// When the stores do not answer, or the table of a pack is damaged.
    pub async fn replace_index(
        &self,
        repo: &RepoId,
        index: (PackId, PackSummary),
        packs: &[(PackId, PackSummary)],
        also: Vec<TransactWriteItem>,
    ) -> Result<Outcome, StoreError> {
        let tables = self.tables(repo).await?;
        let next = tables.iter().map(|(table, _)| *table).find(|table| *table > index.0);
        let outputs = self.write_indexes(repo, index.0, next, packs).await?;
        let swap = Swap { inputs: &[index], outputs, gone: Vec::new(), also, has_large: false };
        Box::pin(self.swap(repo, swap)).await
    }

    /// What is wrong with an index, if anything is. It has to be what the tables of its packs give, byte for byte.
    ///
    /// # Errors
    /// When S3 does not answer, or a table of a pack is damaged.
    pub async fn index_fault(&self, repo: &RepoId, index: &Index) -> Result<Option<String>, StoreError> {
        let inputs = self.inputs(repo, &index.packs).await?;
        let (out, body) = channel(1);
        let key = packs::index_key(repo, index.name);
        let (merged, fault) = tokio::join!(merge(&inputs, out), self.differs(&key, body));
        if let Some(fault) = fault? {
            return Ok(Some(fault));
        }
        Ok((merged? != Some(index.summary.table)).then(|| "its item says something else of its head".to_owned()))
    }

    /// The first difference between the stored file and the bytes that come.
    async fn differs(&self, key: &str, mut body: Receiver<Bytes>) -> Result<Option<String>, StoreError> {
        let mut offset = 0_u64;
        while let Some(mut expected) = body.recv().await {
            while !expected.is_empty() {
                let part = expected.split_to(expected.len().min(COMPARED_BYTES as usize));
                let end = offset + part.len() as u64;
                match self.get_range(key, None, offset..end).await {
                    Ok(stored) if stored == part => offset = end,
                    Ok(_) => return Ok(Some(format!("its bytes {offset} to {end} are not what its packs give"))),
                    Err(StoreError::Damaged(reason)) => return Ok(Some(reason)),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }

    /// Opens tables that are read together.
    pub(crate) async fn inputs(
        &self,
        repo: &RepoId,
        tables: &[(PackId, PackSummary)],
    ) -> Result<Vec<Input<'_>>, StoreError> {
        let beside = tables.len();
        let inputs = stream::iter(tables.iter().copied()).map(|(name, summary)| async move {
            let key = packs::table_key(repo, name, &summary);
            let table = TableFile::open(&self.bucket, key, name, summary.table, beside).await?;
            Ok::<_, StoreError>(Input { table, pack: (!summary.is_index()).then_some((name, summary)) })
        });
        inputs.buffered(PARALLEL_READS).try_collect().await
    }

    async fn put_index(
        &self,
        repo: &RepoId,
        name: PackId,
        length: u64,
        body: Receiver<Bytes>,
    ) -> Result<(), StoreError> {
        let key = packs::index_key(repo, name);
        let (least, a_second) = PUT_TIMEOUT;
        let patience = least + Duration::from_secs(length / a_second);
        let config = aws::s3_timeouts((patience, patience));
        let body = SdkBody::from_body_1_x(Coming { body, left: length });
        let put = self.s3.put_object().bucket(&self.location.bucket).key(&key).if_none_match("*");
        let put = put.content_length(i64::try_from(length).map_err(StoreError::fault)?).body(ByteStream::new(body));
        match put.customize().config_override(config).send().await {
            // An earlier attempt whose answer was lost, which is looked at.
            Err(error) if error.code() == Some("PreconditionFailed") => self.check_stored(&key, length).await,
            Err(error) if error.code() == Some("ConditionalRequestConflict") => {
                Err(StoreError::Unavailable(error.into()))
            }
            put => put.map(drop).map_err(StoreError::at(&key)),
        }
    }
}

/// A body that comes in parts and whose length is known.
struct Coming {
    body: Receiver<Bytes>,
    left: u64,
}

impl http_body::Body for Coming {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.body.poll_recv(context).map(|part| match part {
            Some(part) => {
                self.left = self.left.saturating_sub(part.len() as u64);
                Some(Ok(Frame::data(part)))
            }
            None if self.left == 0 => None,
            None => Some(Err(std::io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
pub(crate) mod tests;
