//! What ideas would make of the dollars of `docs/cost.md`. It is arithmetic with what was counted: nothing of it is built.

use std::fmt::Write;

use common::price::{
    API_GATEWAY_HTTP_REQUEST, API_GATEWAY_HTTP_REQUEST_BYTES, API_GATEWAY_REST_REQUEST, CLOUDFRONT_GB,
    CLOUDFRONT_REQUEST, DATA_OUT_GB, DYNAMODB_READ_UNIT, DYNAMODB_WRITE_UNIT, GB, LAMBDA_ARM64_GB_SECOND, S3_PUT,
    write_units,
};
use service::routes::Function;

use crate::Failure;
use crate::counted::Counted;
use crate::deployment::{Request, Used, model};
use crate::page::dollars;

/// Before the table on the page.
pub const BEGIN: &str = "<!-- computed by `cargo run -p benches -- --write` -->";
/// After it.
pub const END: &str = "<!-- end of what is computed -->";

/// Bytes of a pack's item in the table that are not the pack: its keys and its names.
const AROUND_A_PACK: u64 = 100;
/// Write units of an item of each KB in a transaction.
const UNITS: f64 = 2.0;
/// An idea pays if it saves this percentage of a push of one commit, or of a fetch.
const WORTH_IT: i32 = 10;

/// An idea, with what three things cost with it: the push of a commit, the first push, the fetch of a commit. None where it changes
/// nothing, or cannot be.
struct Idea {
    name: &'static str,
    push: Option<f64>,
    first_push: Option<f64>,
    fetch: Option<f64>,
    /// What stands against it.
    against: &'static str,
}

impl Idea {
    /// One that is the same for all requests.
    fn of_all(name: &'static str, against: &'static str, counted: &Counted, price: impl Fn(&Request) -> f64) -> Self {
        let sum = |requests: &[Request]| Some(requests.iter().map(&price).sum());
        Self {
            name,
            push: sum(&counted.push),
            first_push: sum(&counted.first_push),
            fetch: sum(&counted.fetch),
            against,
        }
    }

    /// One that leaves out some requests of a push.
    fn of_push(name: &'static str, against: &'static str, requests: &[Request]) -> Self {
        Self { name, push: Some(cost(requests)), first_push: None, fetch: None, against }
    }
}

/// The table, and what it comes to.
pub fn table(counted: &Counted) -> Result<String, Failure> {
    let today @ [push, _, fetch] = [cost(&counted.push), cost(&counted.first_push), cost(&counted.fetch)];
    let ideas = ideas(counted)?;
    let mut text = String::new();
    writeln!(text, "{}\n", small_packs(counted)?)?;
    writeln!(
        text,
        "| dollars for 1,000 | push of a commit | first push | fetch of a commit | what stands against it |"
    )?;
    writeln!(text, "|---|---|---|---|---|")?;
    let amounts = today.map(|amount| dollars(amount * 1_000.0)).join(" | ");
    writeln!(text, "| today, in processes that know the repo | {amounts} | |")?;
    for idea in &ideas {
        let with = [idea.push, idea.first_push, idea.fetch];
        let cells: Vec<String> = with.iter().zip(today).map(|(with, today)| cell(*with, today)).collect();
        writeln!(text, "| {} | {} | {} |", idea.name, cells.join(" | "), idea.against)?;
    }
    let saves = |with: Option<f64>, today: f64| with.is_some_and(|with| saved(with, today) >= WORTH_IT);
    let (pay, do_not): (Vec<&Idea>, Vec<&Idea>) =
        ideas.iter().partition(|idea| saves(idea.push, push) || saves(idea.fetch, fetch));
    let names = |ideas: &[&Idea]| ideas.iter().map(|idea| idea.name).collect::<Vec<_>>().join("; ");
    writeln!(text)?;
    writeln!(text, "**A tenth or more of a push or a fetch of one commit** is saved by: {}.\n", names(&pay))?;
    write!(text, "**These do not pay:** {}.", names(&do_not))?;
    Ok(text)
}

fn cost(requests: &[Request]) -> f64 {
    Used::by(requests).usage.dollars()
}

/// Percent that are saved, as they are shown.
fn saved(with: f64, today: f64) -> i32 {
    ((1.0 - with / today) * 100.0).round() as i32
}

/// Dollars, and how much less in percent.
fn cell(with: Option<f64>, today: f64) -> String {
    match with.map(|with| (with, saved(with, today))) {
        None => "–".to_owned(),
        Some((_, 0)) => "the same".to_owned(),
        Some((with, saved)) => format!("{} (-{saved} %)", dollars(with * 1_000.0)),
    }
}

fn ideas(counted: &Counted) -> Result<Vec<Idea>, Failure> {
    let push = &counted.push;
    let without = |functions: &[Function]| -> Vec<Request> {
        push.iter().filter(|request| !functions.contains(&request.function)).copied().collect()
    };
    let inside = [without(&[Function::PushObjects, Function::Push]), counted.whole_push.clone()].concat();
    Ok(vec![
        Idea::of_all(
            "all functions at half their memory",
            "half the memory is half the processor: what they work takes twice as long, and large bodies no longer fit into `push` and \
             `push/objects`",
            counted,
            at_half,
        ),
        Idea::of_all(
            "`filter-objects` alone at half its memory",
            "where S3 gives no hashes of copies, it hashes uploads half as fast",
            counted,
            |request| match request.function {
                Function::FilterObjects => at_half(request),
                _ => request.usage().dollars(),
            },
        ),
        in_table(counted)?,
        Idea::of_all(
            "an HTTP API for what is not streamed (`refs`)",
            "two doors behind one name: CloudFront in front of both, at $1.00 a million for each request, or clients that know two",
            counted,
            |request| request.usage().dollars() - if request.function.streams() { 0.0 } else { saved_by_http(request) },
        ),
        Idea::of_all(
            "an HTTP API for everything",
            "no answer over 6 MB and none after 30 seconds: no clone of a larger repository, and no large push by reference",
            counted,
            |request| request.usage().dollars() - saved_by_http(request),
        ),
        Idea::of_all(
            "function URLs behind CloudFront",
            "clients would have to sign each body, or the URLs are open to all and each function checks a secret header; no throttle, and \
             60 seconds for the first byte without a higher quota",
            counted,
            |request| {
                let usage = request.usage();
                usage.dollars() - usage.api_requests as f64 * API_GATEWAY_REST_REQUEST + CLOUDFRONT_REQUEST
                    - usage.bytes_out as f64 / GB * (DATA_OUT_GB - CLOUDFRONT_GB)
            },
        ),
        Idea::of_push(
            "objects inside `/push`: one PUT and one request fewer",
            "the contract allows it and clients decide: the stock client sends objects apart",
            &inside,
        ),
        Idea::of_push(
            "no question for heads before a push (`expected_head`)",
            "clients decide; a head that has moved is found out by the push",
            &without(&[Function::Refs]),
        ),
        Idea::of_push(
            "no question which objects are missing",
            "clients decide; what they send in vain costs bytes",
            &without(&[Function::FilterObjects]),
        ),
        Idea::of_push("one request for all of a push", "all of the three before it", &counted.whole_push),
        Idea {
            name: "no question for heads before a fetch (`branches`)",
            push: None,
            first_push: None,
            fetch: Some(cost(&only(&counted.fetch, Function::Fetch))),
            against: "clients decide; a fetch that finds nothing new costs a little more",
        },
        Idea::of_all(
            "eventually consistent lists in `filter-objects`",
            "safe, for a push looks again; but an object that came a second ago may be sent twice",
            counted,
            |request| match request.function {
                // `META` and `MEMBER#` decide who may ask.
                Function::FilterObjects => with_half_of(request, request.line.read_units.saturating_sub(2)),
                _ => request.usage().dollars(),
            },
        ),
        Idea::of_all(
            "all reads eventually consistent",
            "not safe: a push could be judged by a head that has moved, a member be let in who is none; it is what there is to save at most",
            counted,
            |request| with_half_of(request, request.line.read_units),
        ),
    ])
}

fn only(requests: &[Request], function: Function) -> Vec<Request> {
    requests.iter().filter(|request| request.function == function).copied().collect()
}

/// With half the memory and half the processor.
fn at_half(request: &Request) -> f64 {
    let half = Request { memory_mb: request.memory_mb / 2, ..*request };
    half.usage_for(request.waits() + 2.0 * request.works()).dollars()
}

fn saved_by_http(request: &Request) -> f64 {
    let parts = |bytes: u64| bytes.div_ceil(API_GATEWAY_HTTP_REQUEST_BYTES).max(1) as f64;
    let requests = parts(request.line.bytes_in).max(parts(request.line.bytes_out));
    request.usage().api_requests as f64 * API_GATEWAY_REST_REQUEST - requests * API_GATEWAY_HTTP_REQUEST
}

/// With some of its read units at half their price.
fn with_half_of(request: &Request, units: u64) -> f64 {
    request.usage().dollars() - units as f64 * DYNAMODB_READ_UNIT / 2.0
}

/// Dollars that one PUT costs with the wait for it, in a function of `push`.
fn put_and_wait(counted: &Counted) -> Result<f64, Failure> {
    let memory = counted.memory(Function::Push.name())?;
    Ok(S3_PUT + memory / 1_024.0 * model::S3_MS / 1_000.0 * LAMBDA_ARM64_GB_SECOND)
}

/// Dollars of a pack in an item of its own, in the transaction that is made anyway.
fn as_item(bytes: u64) -> f64 {
    write_units(bytes + AROUND_A_PACK) as f64 * UNITS * DYNAMODB_WRITE_UNIT
}

/// Each pack of a push of one commit where it costs less.
fn in_table(counted: &Counted) -> Result<Idea, Failure> {
    let put = put_and_wait(counted)?;
    let saved: f64 = counted.pushed.iter().map(|bytes| (put - as_item(*bytes)).max(0.0)).sum();
    Ok(Idea {
        name: "small packs in the table, where that costs less than a PUT",
        push: Some(cost(&counted.push) - saved),
        first_push: None,
        fetch: None,
        against: "a second place that packs lie in, for every reader, merge, check and purge; and it takes the partition's write units, which are \
                  reached first",
    })
}

fn small_packs(counted: &Counted) -> Result<String, Failure> {
    let put = put_and_wait(counted)?;
    let kb = DYNAMODB_WRITE_UNIT * UNITS;
    let sizes: Vec<String> = counted.pushed.iter().map(|bytes| format!("{bytes} bytes")).collect();
    Ok(format!(
        "A pack in the table would cost ${:.2} a million for each KB, for a transaction takes twice the units, and a PUT costs ${:.2} of any \
         size: so the two cost the same at {:.0} KB, and with the {} ms that `push` waits for S3 at {:.1} KB. The packs of a push of one \
         commit have {}.",
        kb * 1e6,
        S3_PUT * 1e6,
        S3_PUT / kb,
        model::S3_MS,
        put / kb,
        sizes.join(" and "),
    ))
}
