//! A hub of a million repositories.

use store::table::listing::MAX_PUBLIC;
use store::upkeep::compact;

use super::aws;
use super::limit::{
    Case, Limit, QUOTA, RAISE, S3_SPLITS, THROTTLED, TOO_MANY_AT_A_TIME, TRIED_FOUR_TIMES, TRIED_TEN_TIMES, about,
};
use super::upkeep::{PACKS_A_PUSH, run_ms, writes_a_push};
use crate::Failure;
use crate::counted::{COMMITS, Counted};
use crate::deployment::{Request, Used};
use crate::page::grouped;
use crate::template::{parameter, throttle};

/// Pushes of one commit to each repository a day.
const PUSHES: f64 = 1.0;
/// Fetches of one commit from each a day.
const FETCHES: f64 = 4.0;
/// How much more there is in the busiest minutes than on average.
const PEAK: f64 = 3.0;
const DAY: f64 = 86_400.0;
/// Days of a month.
const MONTH: f64 = 30.0;
/// What is written behind a push, alone: `PUBLIC` | `REPO#<repo_id>`.
const LISTED_WRITES: f64 = 1.0;
/// What `compact` and `events` read behind a push, at least: lists of packs, `META`, webhooks.
const READS_BEHIND: f64 = 4.0;

/// What requests take together.
struct Sum {
    requests: f64,
    reads: f64,
    writes: f64,
    gets: f64,
    puts: f64,
    seconds: f64,
}

impl Sum {
    fn of(requests: &[Request]) -> Self {
        let usage = Used::by(requests).usage;
        Self {
            requests: requests.len() as f64,
            reads: usage.read_units as f64,
            writes: usage.write_units as f64,
            gets: usage.s3_gets as f64,
            puts: usage.s3_puts as f64,
            seconds: requests.iter().map(|request| request.waits() + request.works()).sum::<f64>() / 1_000.0,
        }
    }
}

/// What grows with the repositories of one hub.
pub fn case(counted: &Counted) -> Result<Case, Failure> {
    let (push, fetch) = (Sum::of(&counted.push), Sum::of(&counted.fetch));
    let template = &counted.template;
    let door = throttle(template, "/*")?.rate;
    let fetch_door = throttle(template, "/{owner}/{slug}/fetch")?.rate;
    let (most_reads, most_writes) = (parameter(template, "MaxReadUnits")?, parameter(template, "MaxWriteUnits")?);
    let pushes = |repos: f64| repos * PUSHES / DAY * PEAK;
    let fetches = |repos: f64| repos * FETCHES / DAY * PEAK;
    let run = run_ms(PACKS_A_PUSH) / 1_000.0;
    let shards = aws::NEW_TABLE_WRITE_UNITS / aws::PARTITION_WRITE_UNITS * aws::BATCHES_OF_A_SHARD;
    // A merge takes the least that it may, and a push leaves two packs.
    let merges = PACKS_A_PUSH / compact::Limits::IN_PASSING.least as f64;
    let merge_gets = compact::Limits::IN_PASSING.least as f64;
    let writes_a_push = push.writes + writes_a_push() + LISTED_WRITES;
    let limits = vec![
        Limit::new(
            format!(
                "{} public repositories in the list on the hub's page (`MAX_PUBLIC`)",
                grouped(MAX_PUBLIC as f64, 0)
            ),
            "no error: those that were made first are not in the list; their own pages are there",
            "a list by the time of the last push: an index of the table",
            |repos| repos / MAX_PUBLIC as f64,
        ),
        Limit::new(format!("{fetch_door} fetches a second (`template.yaml`)"), THROTTLED, RAISE, move |repos| {
            fetches(repos) / fetch_door
        }),
        Limit::new(
            format!("{door} requests for heads a second, with each push and fetch one (`template.yaml`)"),
            THROTTLED,
            RAISE,
            move |repos| (pushes(repos) + fetches(repos)) / door,
        ),
        Limit::new(format!("{door} pushes a second (`template.yaml`)"), THROTTLED, RAISE, move |repos| {
            pushes(repos) / door
        }),
        Limit::new(
            format!("{} write units a second of the table (`MaxWriteUnits`)", grouped(most_writes, 0)),
            TRIED_TEN_TIMES,
            "a higher parameter: it is there to bound the bill",
            move |repos| pushes(repos) * writes_a_push / most_writes,
        ),
        Limit::new(
            format!("{} read units a second of the table (`MaxReadUnits`)", grouped(most_reads, 0)),
            TRIED_FOUR_TIMES,
            "a higher parameter: it is there to bound the bill",
            move |repos| (pushes(repos) * (push.reads + READS_BEHIND) + fetches(repos) * fetch.reads) / most_reads,
        ),
        Limit::new(
            format!("{shards} runs of `compact` at a time: one for each shard of the stream of a new table"),
            "nothing; merges fall behind, so requests read longer lists, and an alarm tells",
            "`ParallelizationFactor` of 10: the changes of one repository stay in order",
            move |repos| pushes(repos) * run / shards,
        ),
        Limit::new(
            "1,000 requests at a time in all functions of the account",
            TOO_MANY_AT_A_TIME,
            QUOTA,
            move |repos| {
                (pushes(repos) * (push.seconds + run) + fetches(repos) * fetch.seconds) / aws::LAMBDA_CONCURRENCY
            },
        ),
        Limit::new("10,000 requests a second to the APIs of the account", THROTTLED, QUOTA, move |repos| {
            (pushes(repos) * push.requests + fetches(repos) * fetch.requests) / aws::API_REQUESTS
        }),
        Limit::new(
            "3,500 requests a second that write to S3, before it splits the bucket",
            TRIED_FOUR_TIMES,
            S3_SPLITS,
            move |repos| pushes(repos) * (push.puts + merges) / aws::S3_WRITES,
        ),
        Limit::new(
            "5,500 requests a second that read from S3, before it splits the bucket",
            TRIED_FOUR_TIMES,
            S3_SPLITS,
            move |repos| {
                (pushes(repos) * (push.gets + merges * merge_gets) + fetches(repos) * fetch.gets) / aws::S3_READS
            },
        ),
    ];
    Ok(Case {
        name: "hub",
        title: "One hub, by its repositories",
        unit: "repositories",
        powers: (3, 8),
        load: 1e6,
        limits,
    })
}

/// What the case is counted with, and what such a hub costs.
pub fn words(counted: &Counted) -> String {
    let (push, fetch) = (Used::by(&counted.push).usage.dollars(), Used::by(&counted.fetch).usage.dollars());
    let million = 1e6;
    let stored = common::price::s3_month(counted.merged.bytes) * million;
    format!(
        "Each repository gets {PUSHES} push a day and {FETCHES} fetches, of one commit each, and the busiest minutes have {PEAK} times \
         as many as the average. A million of them, of {COMMITS} commits each, cost ${} a month for their requests and ${} for what \
         they keep in S3; without a request only that, and what lies in the table.",
        about((push * PUSHES + fetch * FETCHES) * MONTH * million),
        about(stored),
    )
}
