//! What a repo is made of, and what a clone of it costs.
//!
//! A clone is `GET /refs` and one `POST /fetch` of every branch, as `muse clone` does it. Its calls and bytes are counted
//! from the index as the functions would make them; what it costs follows from the prices in [`crate::price`] and from two
//! assumptions about time: a function is at work for [`BASE_MILLIS`], and an answer goes out at the speed that Lambda
//! gives a streamed one.

use std::collections::HashSet;

use serde::Serialize;

use crate::id::{CommitId, RepoId, SnapshotId};
use crate::pack::{PackId, PackSummary};
use crate::price::{LAMBDA_STREAM_FREE_BYTES, Usage, read_units, s3_month};
use crate::service::compute;
use crate::store::catalog::Catalog;
use crate::store::reader::reads;
use crate::store::repo::Repo;
use crate::store::view::{ObjectPlace, Place, WHOLE_BYTES};
use crate::store::{Error, Store};

/// Milliseconds that a function is at work beside sending its answer.
pub const BASE_MILLIS: f64 = 100.0;
/// Bytes a second of a streamed answer after its first 6 MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>
pub const STREAM_BYTES_A_SECOND: f64 = 2e6;
/// Pages of a thousand keys of packs, and as many of large objects, that a request lists to count garbage.
pub const PAGES_OF_A_REQUEST: usize = 5;
/// Memory of the functions in `template.yaml`, in MB.
const REFS_MEMORY: u64 = 512;
const FETCH_MEMORY: u64 = 1_769;
/// Bytes that items have about, beside the names in them.
const NAME_BYTES: u64 = 120;
const META_BYTES: u64 = 400;
const REF_BYTES: u64 = 220;
const PACK_BYTES: u64 = 320;
/// Bytes of a table that one GET gets, of those that are not read whole.
const TABLE_READ: u64 = 1 << 20;
/// Bytes of a large object that one GET gets.
const LARGE_READ: u64 = 8 << 20;

/// What a repo is made of, and what a clone of it costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The repo.
    pub repo_id: RepoId,
    /// Branches.
    pub branches: u64,
    /// Different commits; of these and of the next, those too that are condemned and not dropped yet.
    pub commits: u64,
    /// Different snapshots.
    pub snapshots: u64,
    /// Different objects, the large ones among them.
    pub objects: u64,
    /// Bytes of commits, snapshots and objects as they are sent; what lies in two packs counts twice.
    pub raw_bytes: u64,
    /// Bytes in S3 that hold them, with their indexes.
    pub stored_bytes: u64,
    /// What keeping those costs in a month, in US dollars.
    pub dollars_a_month: f64,
    /// The packs.
    pub packs: PackStats,
    /// Objects that are S3 objects of their own; they are in all the numbers above too.
    pub large: Files,
    /// S3 objects that are condemned, or that no list names: of pushes that failed or are under way, or merged and waiting
    /// to be deleted. None when there are too many files to list them in a request: `musehub stats` lists them all.
    pub garbage: Option<Files>,
    /// What a clone costs.
    pub clone: CloneStats,
}

/// The packs of a repo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackStats {
    /// How many.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes of the largest.
    pub largest: u64,
    /// Bytes of the one in the middle.
    pub median: u64,
}

/// Files in S3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What a clone of all branches costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloneStats {
    /// In processes that know the repo.
    pub warm: CloneCost,
    /// In processes that have just started, and read the index of every pack.
    pub cold: CloneCost,
}

/// What one clone costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloneCost {
    /// Calls to DynamoDB.
    pub dynamodb_calls: u64,
    /// Read request units that those take, about.
    pub read_units: u64,
    /// GETs to S3.
    pub s3_gets: u64,
    /// Bytes that those get.
    pub s3_bytes: u64,
    /// Bytes that the client gets, in msgpack, about.
    pub bytes_out: u64,
    /// Seconds that Lambda takes to send them.
    pub seconds: f64,
    /// All of it in US dollars: requests, storage calls, time of functions, and what leaves AWS.
    pub dollars: f64,
}

/// The reads of a fetch.
#[derive(Debug, Default)]
struct FetchReads {
    gets: u64,
    stored: u64,
    raw: u64,
}

impl Store {
    /// Counts what a repo is made of. `repo` was read with its branches and its packs. Garbage is counted if at most
    /// `pages` pages of packs, and as many of large objects, say all.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn stats(&self, repo: &Repo, pages: usize) -> Result<Stats, Error> {
        let (packs, objects, index) = tokio::try_join!(
            self.count_files(format!("packs/{}/", repo.id), pages),
            self.count_files(format!("objects/{}/", repo.id), pages),
            async {
                let packs = self.listing_of(&repo.id, repo.packs.clone()).await?.packs();
                self.catalog(&repo.id, &packs).await
            }
        )?;
        compute(|| stats(repo, &index, packs, objects))
    }

    async fn count_files(&self, prefix: String, pages: usize) -> Result<Option<Files>, Error> {
        let mut files = Files::default();
        let mut after = None;
        for _ in 0..pages {
            let page = self.objects_page(&prefix, after).await?;
            files.count += page.entries.len() as u64;
            files.bytes += page.entries.iter().map(|listed| listed.size).sum::<u64>();
            after = page.next;
            if after.is_none() {
                return Ok(Some(files));
            }
        }
        Ok(None)
    }
}

fn stats(repo: &Repo, index: &Catalog, packs: Option<Files>, objects: Option<Files>) -> Result<Stats, Error> {
    let packs_listed = repo.packs.iter().filter(|(_, summary)| summary.condemned_at.is_none());
    let mut sizes: Vec<u64> = packs_listed.clone().map(|(_, summary)| summary.size).collect();
    sizes.sort_unstable();
    let pack_bytes = sizes.iter().sum();
    let large = Files { count: index.large().len() as u64, bytes: index.large().iter().map(|large| large.size).sum() };
    let beyond = |found: Files, named: Files| Files {
        count: found.count.saturating_sub(named.count),
        bytes: found.bytes.saturating_sub(named.bytes),
    };
    let named = Files { count: sizes.len() as u64, bytes: pack_bytes };
    let garbage = packs.zip(objects).map(|(packs, objects)| {
        let (packs, objects) = (beyond(packs, named), beyond(objects, large));
        Files { count: packs.count + objects.count, bytes: packs.bytes + objects.bytes }
    });
    let listed: HashSet<PackId> = packs_listed.map(|(pack, _)| *pack).collect();
    let frames = index.frames().iter().filter(|frame| listed.contains(&frame.pack));
    let raw = frames.map(|frame| u64::from(frame.frame.raw_length)).sum::<u64>();
    let (commits, snapshots, objects) = index.counts();
    let stored_bytes = pack_bytes + large.bytes;
    Ok(Stats {
        repo_id: repo.id.clone(),
        branches: repo.heads.len() as u64,
        commits: commits as u64,
        snapshots: snapshots as u64,
        objects: objects as u64,
        raw_bytes: raw + large.bytes,
        stored_bytes,
        dollars_a_month: s3_month(stored_bytes),
        packs: PackStats {
            count: sizes.len() as u64,
            bytes: pack_bytes,
            largest: sizes.last().copied().unwrap_or_default(),
            median: sizes.get(sizes.len() / 2).copied().unwrap_or_default(),
        },
        large,
        garbage,
        clone: clone_stats(repo, index)?,
    })
}

/// The reads of a fetch of all branches, planned as a fetch plans them.
fn fetch_reads(repo: &Repo, index: &Catalog) -> Result<FetchReads, Error> {
    let heads: Vec<&CommitId> = repo.heads.values().collect();
    let commits = index.graph().difference(heads, Vec::<&CommitId>::new()).commits;
    let entries = || commits.iter().filter_map(|id| index.graph().payload(id));
    let mut history: Vec<Place> = entries().map(|entry| entry.place).collect();
    let distinct: HashSet<&SnapshotId> = entries().filter_map(|entry| entry.snapshot.as_ref()).collect();
    let mut snapshots: Vec<Place> = distinct.into_iter().filter_map(|id| index.snapshot(id)).collect();
    snapshots.sort_unstable();
    history.extend(snapshots);
    let mut objects = Vec::new();
    let mut reads_of = FetchReads::default();
    for place in index.reached_objects() {
        match place {
            ObjectPlace::Packed(place) => objects.push(place),
            ObjectPlace::Large(large) => {
                reads_of.gets += large.size.div_ceil(LARGE_READ);
                reads_of.stored += large.size;
                reads_of.raw += large.size;
            }
        }
    }
    objects.sort_unstable();
    // What lies in a small pack comes with its table.
    let small: HashSet<PackId> =
        repo.packs.iter().filter(|(_, pack)| pack.size <= WHOLE_BYTES).map(|(pack, _)| *pack).collect();
    let is_read = |place: &Place| index.frame(*place).is_none_or(|frame| !small.contains(&frame.pack));
    for mut places in [history, objects] {
        reads_of.raw += places.iter().map(|place| u64::from(place.length)).sum::<u64>();
        places.retain(is_read);
        let (gets, stored) = reads(|place| index.frame(place), &places)?;
        reads_of.gets += gets;
        reads_of.stored += stored;
    }
    Ok(reads_of)
}

/// The GETs that a clone makes for the table of a pack, and their bytes; of a larger table, about.
fn table_reads(pack: &PackSummary) -> (u64, u64) {
    match pack.table.length {
        _ if pack.size <= WHOLE_BYTES => (1, pack.table.range().end),
        length if length <= WHOLE_BYTES => (1, length),
        length => (1 + length.div_ceil(TABLE_READ), length),
    }
}

fn clone_stats(repo: &Repo, index: &Catalog) -> Result<CloneStats, Error> {
    let fetch = fetch_reads(repo, index)?;
    let (branches, packs) = (repo.heads.len() as u64, repo.packs.len() as u64);
    // Of both requests the repo and its branches, and of the second its packs.
    let units = 2 * (read_units(META_BYTES) + read_units(branches * REF_BYTES)) + read_units(packs * PACK_BYTES);
    let tables: Vec<(u64, u64)> = repo.packs.iter().map(|(_, pack)| table_reads(pack)).collect();
    let (table_gets, table_bytes): (u64, u64) =
        (tables.iter().map(|(gets, _)| gets).sum(), tables.iter().map(|(_, bytes)| bytes).sum());
    let slow_bytes = fetch.raw.saturating_sub(LAMBDA_STREAM_FREE_BYTES);
    let seconds = BASE_MILLIS / 1_000.0 + slow_bytes as f64 / STREAM_BYTES_A_SECOND;
    let cost = |dynamodb_calls, read_units, gets, bytes| {
        let requests = Usage::of_request(REFS_MEMORY, BASE_MILLIS, branches * REF_BYTES, false)
            + Usage::of_request(FETCH_MEMORY, seconds * 1_000.0, fetch.raw, true);
        let storage = Usage { read_units, s3_gets: gets, ..Usage::default() };
        CloneCost {
            dynamodb_calls,
            read_units,
            s3_gets: gets,
            s3_bytes: bytes,
            bytes_out: fetch.raw,
            seconds,
            dollars: (requests + storage).dollars(),
        }
    };
    Ok(CloneStats {
        warm: cost(5, units, fetch.gets, fetch.stored),
        // Both functions look for the name, and the second reads every table.
        cold: cost(7, units + 2 * read_units(NAME_BYTES), fetch.gets + table_gets, fetch.stored + table_bytes),
    })
}
