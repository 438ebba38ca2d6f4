//! What a repo is made of, and what a clone of it costs.
//!
//! A clone is `GET /refs` and one `POST /fetch` of every branch, as `muse clone` does it. Its calls and bytes are counted
//! from the index as the functions would make them; what it costs follows from the prices in [`common::price`] and from two
//! assumptions about time: a function is at work for [`BASE_MILLIS`], and an answer goes out at the speed that Lambda
//! gives a streamed one.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use crate::bucket::ahead::ReadAhead;
use crate::bucket::packs;
use crate::read::large;
use crate::read::reader::reads;
use crate::read::view::WHOLE_BYTES;
use crate::repo::Repo;
use crate::upkeep::index::Listing;
use crate::upkeep::survey::{AT_ONCE, Held as HeldAs, Survey};
use crate::{Store, StoreError};
use common::answer_size::answer_bytes;
use common::id::RepoId;
use common::location::RecordLocation;
use common::pack::{PackId, PackSummary, RawBytes};
use common::price::{LAMBDA_STREAM_FREE_BYTES, Usage, read_units, s3_month};
use common::table::Section;
use common::wire::Encoding;
use common::wire::limits::STOCK_ANSWER;

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
/// How many bytes of a table one GET reads, if the table is not read whole.
const TABLE_READ: u64 = 1 << 20;

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
    /// How large its answer is.
    pub answer: AnswerSize,
    /// In processes that know the repo.
    pub warm: CloneCost,
    /// In processes that have just started, and read the index of every pack.
    pub cold: CloneCost,
}

/// How large the answer to a clone of all branches is, about, and how much of it a stock client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AnswerSize {
    /// Bytes in msgpack.
    pub msgpack_bytes: u64,
    /// Bytes in JSON.
    pub json_bytes: u64,
    /// Bytes that a stock client reads of an answer: beyond, it gives up, and `musehub clone` is the way.
    pub stock_bytes: u64,
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
    raw: RawBytes,
    objects: u64,
}

impl Store {
    /// Counts what a repo is made of. `repo` was read with its branches and its packs. Garbage is counted if at most
    /// `pages` pages of packs, and as many of large objects, say all, and the repo shares none of them.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn stats(&self, repo: &Repo, pages: usize) -> Result<Stats, StoreError> {
        let (packs, objects, others, (listing, survey)) = tokio::try_join!(
            self.count_files(packs::prefix(&repo.id), pages),
            self.count_files(large::prefix(&repo.id), pages),
            self.others_in_pool(&repo.id),
            async {
                let listing = self.listing_of(&repo.id, repo.packs.clone()).await?;
                let survey = self.survey(&repo.id, &listing).await?;
                Ok((listing, survey))
            }
        )?;
        let held = Held::of(repo, &survey).await?;
        // Of files that repos share, those that this one does not need are no garbage.
        let found = packs.zip(objects).filter(|_| others.is_empty());
        stats(repo, &listing, &survey, &held, found)
    }

    async fn count_files(&self, prefix: String, pages: usize) -> Result<Option<Files>, StoreError> {
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

/// What the packs of a repo hold, counted.
#[derive(Debug, Default)]
struct Held {
    commits: u64,
    snapshots: u64,
    objects: u64,
    large: Files,
    fetch: FetchReads,
}

/// The frames that hold what a fetch sends.
#[derive(Default)]
struct Frames(BTreeSet<(u32, u32)>);

impl Frames {
    fn add(&mut self, place: RecordLocation) {
        self.0.insert(place.frame_id());
    }

    /// One place in each frame that is not read with its table.
    fn places<'f>(&'f self, is_read: &'f dyn Fn(RecordLocation) -> bool) -> impl Iterator<Item = RecordLocation> + 'f {
        let places =
            self.0.iter().map(|(table, frame)| RecordLocation { table: *table, frame: *frame, start: 0, length: 0 });
        places.filter(|place| is_read(*place))
    }
}

impl Held {
    /// Counts what there is, and the reads of a fetch of all branches as a fetch plans them.
    async fn of(repo: &Repo, survey: &Survey<'_>) -> Result<Self, StoreError> {
        let mut held = Self::default();
        for (large, _) in survey.large() {
            held.large.count += 1;
            held.large.bytes += large.size;
        }
        let links = survey.links(repo.heads.values()).await?;
        let mut reached = survey.no_commits();
        links.reach(repo.heads.values().filter_map(|head| links.position(head)), &mut reached);

        let (mut of_commits, mut of_snapshots, mut of_objects) = <(Frames, Frames, Frames)>::default();
        let mut named = survey.no_records(Section::Snapshots);
        let mut keys = HashSet::new();
        let mut commits = survey.commits().await?;
        while let Some(copy) = commits.next().await? {
            if links.first(copy.position) != copy.position {
                continue;
            }
            held.commits += 1;
            if reached.contains(copy.position as usize) {
                held.fetch.raw.records += u64::from(copy.place.length);
                of_commits.add(copy.place);
                keys.extend(copy.snapshot);
            }
            if keys.len() >= AT_ONCE {
                survey.find(Section::Snapshots, &mut keys, &mut named).await?;
            }
        }
        survey.find(Section::Snapshots, &mut keys, &mut named).await?;
        let mut snapshots = survey.records(Section::Snapshots).await?;
        while let Some((_, record)) = snapshots.next().await? {
            let Some(copy) = record.first() else { continue };
            held.snapshots += 1;
            if let HeldAs::Packed(place) = copy.held
                && named.contains(record.number)
            {
                held.fetch.raw.records += copy.length;
                of_snapshots.add(place);
            }
        }
        let mut objects = survey.records(Section::Objects).await?;
        while let Some((_, record)) = objects.next().await? {
            let Some(copy) = record.first() else { continue };
            held.objects += 1;
            if !record.is_reached() {
                continue;
            }
            held.fetch.objects += 1;
            held.fetch.raw.content += copy.length;
            match copy.held {
                HeldAs::Packed(place) => of_objects.add(place),
                _ => {
                    held.fetch.gets += copy.length.div_ceil(ReadAhead::BYTES);
                    held.fetch.stored += copy.length;
                }
            }
        }
        // What lies in a small pack comes with its table.
        let small: HashSet<PackId> =
            repo.packs.iter().filter(|(_, pack)| pack.size <= WHOLE_BYTES).map(|(pack, _)| *pack).collect();
        let locate = survey.locate();
        let is_read = |place: RecordLocation| locate(place).is_none_or(|frame| !small.contains(&frame.pack));
        let history: Vec<RecordLocation> = of_commits.places(&is_read).chain(of_snapshots.places(&is_read)).collect();
        for places in [history, of_objects.places(&is_read).collect()] {
            let (gets, stored) = reads(&locate, &places)?;
            held.fetch.gets += gets;
            held.fetch.stored += stored;
        }
        Ok(held)
    }
}

fn stats(
    repo: &Repo,
    listing: &Listing,
    survey: &Survey<'_>,
    held: &Held,
    found: Option<(Files, Files)>,
) -> Result<Stats, StoreError> {
    let packs = || survey.packs().iter().filter(|(_, summary)| summary.condemned_at.is_none());
    let mut sizes: Vec<u64> = packs().map(|(_, summary)| summary.size).collect();
    sizes.sort_unstable();
    let pack_bytes = sizes.iter().sum::<u64>();
    let index_bytes = listing.indexes.iter().map(|index| index.summary.table.length).sum::<u64>();
    let beyond = |found: Files, named: Files| Files {
        count: found.count.saturating_sub(named.count),
        bytes: found.bytes.saturating_sub(named.bytes),
    };
    let named =
        Files { count: (sizes.len() + listing.indexes.len()) as u64, bytes: pack_bytes.saturating_add(index_bytes) };
    let garbage = found.map(|(packs, objects)| {
        let (packs, objects) = (beyond(packs, named), beyond(objects, held.large));
        Files { count: packs.count + objects.count, bytes: packs.bytes + objects.bytes }
    });
    let listed: HashSet<PackId> = packs().map(|(pack, _)| *pack).collect();
    let frames = survey.frames().filter(|frame| listed.contains(&frame.pack));
    let raw = frames.map(|frame| u64::from(frame.frame.raw_length)).sum::<u64>();
    let stored_bytes = pack_bytes + index_bytes + held.large.bytes;
    Ok(Stats {
        repo_id: repo.id.clone(),
        branches: repo.heads.len() as u64,
        commits: held.commits,
        snapshots: held.snapshots,
        objects: held.objects,
        raw_bytes: raw + held.large.bytes,
        stored_bytes,
        dollars_a_month: s3_month(stored_bytes),
        packs: PackStats {
            count: sizes.len() as u64,
            bytes: pack_bytes,
            largest: sizes.last().copied().unwrap_or_default(),
            median: sizes.get(sizes.len() / 2).copied().unwrap_or_default(),
        },
        large: held.large,
        garbage,
        clone: clone_stats(repo, &held.fetch),
    })
}

/// The GETs that a clone makes for the table of a pack, and their bytes; of a larger table, about.
fn table_reads(pack: &PackSummary) -> (u64, u64) {
    match pack.table.length {
        _ if pack.size <= WHOLE_BYTES => (1, pack.table.range().end),
        length if length <= WHOLE_BYTES => (1, length),
        length => (1 + length.div_ceil(TABLE_READ), length),
    }
}

fn clone_stats(repo: &Repo, fetch: &FetchReads) -> CloneStats {
    let (branches, packs) = (repo.heads.len() as u64, repo.packs.len() as u64);
    // Of both requests the repo and its branches, and of the second its packs.
    let units = 2 * (read_units(META_BYTES) + read_units(branches * REF_BYTES)) + read_units(packs * PACK_BYTES);
    let tables: Vec<(u64, u64)> = repo.packs.iter().map(|(_, pack)| table_reads(pack)).collect();
    let (table_gets, table_bytes): (u64, u64) =
        (tables.iter().map(|(gets, _)| gets).sum(), tables.iter().map(|(_, bytes)| bytes).sum());
    let raw = fetch.raw.records.saturating_add(fetch.raw.content);
    let slow_bytes = raw.saturating_sub(LAMBDA_STREAM_FREE_BYTES);
    let seconds = BASE_MILLIS / 1_000.0 + slow_bytes as f64 / STREAM_BYTES_A_SECOND;
    let cost = |dynamodb_calls, read_units, gets, bytes| {
        let requests = Usage::of_request(REFS_MEMORY, BASE_MILLIS, branches * REF_BYTES, false)
            + Usage::of_request(FETCH_MEMORY, seconds * 1_000.0, raw, true);
        let storage = Usage { read_units, s3_gets: gets, ..Usage::default() };
        CloneCost {
            dynamodb_calls,
            read_units,
            s3_gets: gets,
            s3_bytes: bytes,
            bytes_out: raw,
            seconds,
            dollars: (requests + storage).dollars(),
        }
    };
    let size = |encoding| answer_bytes(fetch.raw, fetch.objects, encoding);
    CloneStats {
        answer: AnswerSize {
            msgpack_bytes: size(Encoding::Msgpack),
            json_bytes: size(Encoding::Json),
            stock_bytes: STOCK_ANSWER as u64,
        },
        warm: cost(5, units, fetch.gets, fetch.stored),
        // Both functions look for the name, and the second reads every table.
        cold: cost(7, units + 2 * read_units(NAME_BYTES), fetch.gets + table_gets, fetch.stored + table_bytes),
    }
}
