//! A repository of ten million commits.

use common::answer_size::Held;
use common::pack::PackSummary;
use common::wire::Encoding;
use common::wire::limits::{LAMBDA_PAYLOAD, LAMBDA_STREAM, MAX_FETCH_HAVE, STOCK_ANSWER};
use store::upkeep::{compact, garbage};

use super::aws;
use super::limit::{Case, Limit};
use crate::Failure;
use crate::counted::{CHANGES, Counted, FILES};

/// Bytes of one id in a `have`, in msgpack: 64 digits behind two bytes.
const ID: f64 = 66.0;
/// Base64, in which a body is handed to a function: bytes for each byte.
const BASE64: f64 = 4.0 / 3.0;
/// Bytes a second of an index that S3 takes at the least; of a slower PUT the hub makes another (`PUT_TIMEOUT` in
/// `store/src/upkeep/index/mod.rs`).
pub const INDEX_BYTES_A_SECOND: f64 = 4_194_304.0;
/// The entries of a section of an index (`MOST_ENTRIES` in `store/src/upkeep/index/merge.rs`).
pub const MOST_ENTRIES: f64 = 2_147_483_647.0;
/// Bytes that a collection of garbage has in memory for each commit, and bits for each record (`store/src/upkeep/garbage`).
const MARKS: (f64, f64) = (8.0, 4.0);
/// Bytes that it has in memory beside those.
const MARKS_AT_LEAST: f64 = 200_000_000.0;

/// What helps against all limits of one index.
const INDEXES: &str = "indexes of a bounded size, as packs are; a multipart upload helps against the 5 GB alone";

/// What one commit is, on the average of what was merged.
#[derive(Clone, Copy)]
pub struct Commit {
    /// Bytes in packs.
    pub stored: f64,
    /// Bytes of an index.
    pub table: f64,
    /// Bytes of it and of its snapshot as they are sent.
    pub records: f64,
    /// Bytes of a clone.
    pub clone: f64,
    /// Records.
    pub count: f64,
}

impl Commit {
    /// The average of these packs.
    pub fn of(packs: &[PackSummary]) -> Result<Self, Failure> {
        let sum = |of: fn(&PackSummary) -> u64| packs.iter().map(of).sum::<u64>() as f64;
        let commits = sum(|pack| pack.commits);
        let raw = PackSummary::raw_of(packs).ok_or("packs that say what they have raw")?;
        Ok(Self {
            stored: sum(|pack| pack.size) / commits,
            table: sum(|pack| pack.table.length) / commits,
            records: raw.records as f64 / commits,
            clone: Held::by(packs).clone_bytes(Encoding::Msgpack) as f64 / commits,
            count: sum(|pack| pack.commits + pack.snapshots + pack.objects) / commits,
        })
    }

    /// How many packs and indexes a repo of this number of commits lists at most between two merges: both are geometric.
    fn listed(&self, commits: f64) -> f64 {
        let full = compact::Limits::IN_PASSING.pack_bytes as f64 / 2.0;
        let doublings = |bytes: f64| f64::from((bytes.max(1.0) as u64).ilog2() + 1);
        let packs = doublings((commits * self.stored).min(full) / self.stored);
        let indexes = doublings(commits * self.stored / full);
        packs + indexes + compact::Limits::IN_PASSING.least as f64
    }
}

/// What grows with the commits of one repo.
pub fn case(counted: &Counted) -> Result<Case, Failure> {
    let commit @ Commit { table, records, clone, count, .. } = Commit::of(&counted.merged.packs)?;
    let item = counted.item("PACK")? as f64;
    let manifests = garbage::Limits::IN_PASSING.manifests as f64;
    let memory = counted.memory("compact")? * 1_048_576.0 - MARKS_AT_LEAST;
    let limits = vec![
        Limit::new(
            "64 MiB of one answer, of which a stock client reads no more: a clone",
            "`muse clone` gives up and keeps nothing",
            "`musehub clone`, or a fetch with `depth`",
            move |commits| commits * clone / STOCK_ANSWER as f64,
        ),
        Limit::new(
            "200 MB of one answer, of which Lambda streams no more: a clone",
            "413 `answer_too_large`, before the first byte",
            "`musehub clone`, which fetches in parts; later a clone by presigned URLs of packs",
            move |commits| commits * clone / LAMBDA_STREAM as f64,
        ),
        Limit::new(
            "6 MB of a request, base64 in it: a fetch whose `have` is all local commits",
            "413 `payload_too_large`, from the door",
            "`musehub proxy`, which sends it by reference; clients that ask `negotiate` and send few",
            move |commits| commits * ID * BASE64 / LAMBDA_PAYLOAD as f64,
        ),
        Limit::new(
            "a million ids in `have` (`MAX_FETCH_HAVE`)",
            "422 `too_many`",
            "clients that ask `negotiate` and send few",
            |commits| commits / MAX_FETCH_HAVE as f64,
        ),
        Limit::new(
            "4 GiB of manifests, of which a collection that expects garbage reads no more",
            "nothing; garbage stays from then on, and the log says why",
            "an operator's `musehub gc`, which has no such limit; marks that are kept from one run to the next",
            move |commits| commits * records / manifests,
        ),
        Limit::new(
            "15 minutes of `compact`: the index of all commits, at the 4 MiB a second that the hub waits for",
            "nothing at first; each run fails, an alarm tells, and the list of packs grows",
            INDEXES,
            move |commits| commits * table / (INDEX_BYTES_A_SECOND * aws::LAMBDA_SECONDS),
        ),
        Limit::new(
            "5 GB of one PUT: the index of all commits",
            "nothing at first; each run fails, an alarm tells, and the list of packs grows",
            INDEXES,
            move |commits| commits * table / aws::S3_PUT,
        ),
        Limit::new(
            "the memory of `compact`: marks for each commit and record",
            "the run ends without an answer, and an alarm tells",
            "more memory, up to 10,240 MB; or an operator's `musehub gc`",
            move |commits| commits * (MARKS.0 + MARKS.1 / 8.0 * count) / memory,
        ),
        Limit::new(
            "two billion entries of a section of an index",
            "each run that merges indexes fails, and an alarm tells",
            INDEXES,
            |commits| commits / MOST_ENTRIES,
        ),
        Limit::new(
            "1 MB of one page of a query: the list of packs and indexes",
            "nothing: a step more for each page",
            "none is needed",
            move |commits| commit.listed(commits) * item / aws::QUERY_PAGE,
        ),
    ];
    Ok(Case {
        name: "history",
        title: "One repository, by its commits",
        unit: "commits",
        powers: (3, 9),
        load: 1e7,
        limits,
    })
}

/// What the case is counted with.
pub fn words(counted: &Counted) -> Result<String, Failure> {
    let commit = Commit::of(&counted.merged.packs)?;
    let gib = |bytes: f64| bytes / 1_073_741_824.0;
    Ok(format!(
        "A commit changes {CHANGES} of {FILES} files. It takes {:.0} bytes in merged packs and {:.0} in an index, and {:.0} KB of a \
         clone, nearly all of them its manifest. Ten million take {:.0} GiB of packs and {:.1} GiB of indexes, and a first push of \
         them by reference is {:.0} requests of 256 MiB.",
        commit.stored,
        commit.table,
        commit.clone / 1_000.0,
        gib(commit.stored * 1e7),
        gib(commit.table * 1e7),
        (commit.clone * 1e7 / f64::from(256 << 20)).ceil(),
    ))
}
