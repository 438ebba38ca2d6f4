//! What requests cost: storage calls, bytes and dollars, counted while the functions of a hub answer a client that pushes,
//! clones and fetches. No time is measured, so every run says the same, and a test holds `docs/cost.md` to it. What the length of
//! a history costs is in [`scale`], and how fast the hub is beside Git in [`compare`]: both measure time and memory too.

#![forbid(unsafe_code)]

pub mod compare;
mod deployment;
mod page;
mod plot;
mod process;
pub mod scale;
pub mod served;
mod wire;

use std::fmt::Write;
use std::path::PathBuf;

use common::price;
use deployment::{Deployment, Used, idle_month, model};
use serde_json::{Value, json};
use service::routes::Function;
use tests::history::{self, History, list_of_text, objects_body};

/// Why nothing was counted.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

const BEGIN: &str = "<!-- counted by `cargo run -p benches -- --write` -->";
const END: &str = "<!-- end of what is counted -->";
/// What is cloned.
const COMMITS: usize = 1_000;
const FILES: usize = 200;
/// In how many pushes it came.
const PUSHES: usize = 10;
/// Files that each commit changes.
const CHANGES: usize = 5;
/// Bytes of objects that a client sends in one request.
const CHUNK: usize = 4 << 20;
const SLUG: &str = "song";

/// `docs/cost.md`: where it is, what it says, and what it should say.
pub struct Page {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub old: String,
    /// What it says with the tables of today.
    pub new: String,
    /// The tables.
    pub tables: String,
}

/// Counts.
pub async fn page() -> Result<Page, Failure> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let tables = tables(&std::fs::read_to_string(root.join("template.yaml"))?).await?;
    let path = root.join("docs/cost.md");
    let old = std::fs::read_to_string(&path)?;
    let new = page::between(&old, BEGIN, END, &tables)?;
    Ok(Page { path, old, new, tables })
}

async fn tables(template: &str) -> Result<String, Failure> {
    let mut hub = Deployment::start(template).await?;
    let history = history::linear(5, COMMITS + 2, FILES, CHANGES);
    let ids = history.ids();
    let [.., last, next, newest] = ids.as_slice() else {
        return Err("a history of commits".into());
    };

    let mut have: Option<&String> = None;
    for pushed in ids.get(..COMMITS).unwrap_or_default().chunks(COMMITS / PUSHES) {
        let tip = pushed.last().ok_or("a commit")?;
        push(&mut hub, &history, have, tip).await?;
        have = Some(tip);
    }
    let first_push = hub.take_used();
    let stored = hub.stored_bytes().await?;
    let (merged, replaced) = merged(template, &history, &ids).await?;

    let mut rows = Vec::new();
    rows.push((format!("a first push of {COMMITS} commits, {FILES} files, in {PUSHES} parts"), first_push));
    hub.cool();
    push(&mut hub, &history, Some(last), next).await?;
    rows.push((format!("a push of a commit that changes {CHANGES} files, all processes new"), hub.take_used()));
    push(&mut hub, &history, Some(next), newest).await?;
    rows.push(("the same, processes that know the repo".to_owned(), hub.take_used()));
    hub.cool();
    clone(&mut hub, newest).await?;
    rows.push(("a clone of all of it, all processes new".to_owned(), hub.take_used()));
    clone(&mut hub, newest).await?;
    rows.push(("the same, processes that know the repo".to_owned(), hub.take_used()));
    fetch(&mut hub, newest, &[next]).await?;
    rows.push(("a fetch of one commit".to_owned(), hub.take_used()));
    hub.call(Function::Refs, SLUG, &Value::Null).await?;
    rows.push(("a fetch that finds nothing new".to_owned(), hub.take_used()));

    let mut text = String::new();
    writeln!(
        text,
        "| | requests | read units | write units | S3 GET | S3 PUT | KB in | KB out | dollars for 1,000 | with a front door |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for (what, used) in &rows {
        writeln!(text, "{}", row(what, used))?;
    }
    writeln!(text)?;
    writeln!(text, "Of the dollars of each 1,000, in percent:\n")?;
    writeln!(text, "| | API Gateway | Lambda | DynamoDB | S3 | bytes out |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for (what, used) in &rows {
        writeln!(text, "{}", parts(what, used))?;
    }
    writeln!(text)?;
    writeln!(
        text,
        "The repository takes {} KB in S3, which is ${:.6} a month; a GB is ${:.3}. Merged after each of the {PUSHES} parts it \
         takes {} KB, and {} KB that were replaced stay for 35 days as older versions, as `NoncurrentDays` says: ${:.6} once.",
        stored >> 10,
        price::s3_month(stored),
        price::S3_GB_MONTH,
        merged >> 10,
        replaced >> 10,
        price::s3_month(replaced) * 35.0 / 30.0,
    )?;
    writeln!(text)?;
    let idle = idle_month(template);
    let bare = price::IdleMonth { dashboards: 0, ..idle };
    writeln!(
        text,
        "A month without requests costs what is stored, and in an account that has used up what AWS gives for nothing ${:.2}: {} \
         alarms (${:.2}), a dashboard (${:.2}), and {} requests with which Lambda asks two empty queues (${:.2}). Without the \
         dashboard (`WithDashboard=no`) it is ${:.2}; in an account that has nothing else ${:.2}.",
        idle.dollars(),
        idle.alarms,
        price::IdleMonth { alarms: idle.alarms, ..price::IdleMonth::default() }.dollars(),
        price::IdleMonth { dashboards: idle.dashboards, ..price::IdleMonth::default() }.dollars(),
        idle.queue_requests,
        price::IdleMonth { queue_requests: idle.queue_requests, ..price::IdleMonth::default() }.dollars(),
        bare.dollars(),
        idle.dollars_beyond_what_is_free(),
    )?;
    writeln!(text)?;
    writeln!(
        text,
        "With a front door (`FrontDoorSecret`) each request is one to CloudFront and one to AWS WAF too (${:.2} and ${:.2} a \
         million), a GB out is ${:.3} instead of ${:.2}, and the rule of WAF is ${:.2} a month. The column has nothing cached: what \
         an edge answers itself, of `GET /o/`, costs a request and its bytes there, and nothing behind it.",
        price::CLOUDFRONT_REQUEST * 1e6,
        price::WAF_REQUEST * 1e6,
        price::CLOUDFRONT_GB,
        price::DATA_OUT_GB,
        price::WAF_MONTH,
    )?;
    writeln!(text)?;
    writeln!(
        text,
        "A function is taken to wait {} ms for each call to DynamoDB and {} ms for each to S3, one after the other, to work {} ms \
         for each MiB of body, and to need {} ms to start. Lambda is taken to ask each queue with {} pollers, every {} seconds.",
        model::DYNAMODB_MS,
        model::S3_MS,
        model::MIB_MS,
        model::COLD_MS,
        model::POLLERS,
        model::POLL_SECONDS,
    )?;
    Ok(text)
}

/// The bytes of the packs that a repo has when they were merged after each push, and of those that were replaced.
async fn merged(template: &str, history: &History, ids: &[String]) -> Result<(u64, u64), Failure> {
    let mut hub = Deployment::start(template).await?;
    let (mut have, mut bytes): (Option<&String>, u64) = (None, 0);
    for pushed in ids.get(..COMMITS).unwrap_or_default().chunks(COMMITS / PUSHES) {
        let tip = pushed.last().ok_or("a commit")?;
        push(&mut hub, history, have, tip).await?;
        have = Some(tip);
        bytes = hub.compact(SLUG).await?;
    }
    Ok((bytes, hub.stored_bytes().await?.saturating_sub(bytes)))
}

/// What a client does: asks for the heads, asks which objects are missing, sends those, then the commits.
async fn push(hub: &mut Deployment, history: &History, have: Option<&String>, tip: &str) -> Result<(), Failure> {
    if have.is_some() {
        hub.call(Function::Refs, SLUG, &Value::Null).await?;
    }
    let bundle = history.pack(&history.between(&[tip], have.as_slice())).with_head("main", tip);
    let ids: Vec<String> = bundle.object_ids().into_iter().collect();
    let missing = if have.is_some() {
        let answer = hub.call(Function::FilterObjects, SLUG, &json!({"object_ids": ids})).await?;
        list_of_text(&answer, "missing")?
    } else {
        ids
    };
    let mut chunk = Vec::new();
    for id in &missing {
        chunk.push(history.object(id));
        if chunk.iter().map(|object: &history::Object| object.content.len()).sum::<usize>() > CHUNK {
            hub.call(Function::PushObjects, SLUG, &objects_body(&std::mem::take(&mut chunk))).await?;
        }
    }
    if !chunk.is_empty() {
        hub.call(Function::PushObjects, SLUG, &objects_body(&chunk)).await?;
    }
    let body = json!({"bundle": bundle.without_objects().to_value(), "branch": "main", "force": false});
    hub.call(Function::Push, SLUG, &body).await?;
    Ok(())
}

async fn clone(hub: &mut Deployment, tip: &str) -> Result<(), Failure> {
    fetch(hub, tip, &[]).await
}

async fn fetch(hub: &mut Deployment, tip: &str, have: &[&str]) -> Result<(), Failure> {
    hub.call(Function::Refs, SLUG, &Value::Null).await?;
    hub.call(Function::Fetch, SLUG, &json!({"want": [tip], "have": have})).await?;
    Ok(())
}

fn row(what: &str, used: &Used) -> String {
    let usage = &used.usage;
    format!(
        "| {what} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        used.requests,
        usage.read_units,
        usage.write_units,
        usage.s3_gets,
        usage.s3_puts,
        used.bytes_in.div_ceil(1_000),
        used.bytes_out.div_ceil(1_000),
        dollars(usage.dollars() * 1_000.0),
        dollars(usage.dollars_through_cloudfront(used.requests) * 1_000.0),
    )
}

fn parts(what: &str, used: &Used) -> String {
    let all = used.usage;
    let none = price::Usage::default;
    let shares = [
        price::Usage { api_requests: all.api_requests, ..none() },
        price::Usage {
            lambda_requests: all.lambda_requests,
            lambda_gb_seconds: all.lambda_gb_seconds,
            lambda_streamed_bytes: all.lambda_streamed_bytes,
            ..none()
        },
        price::Usage { read_units: all.read_units, write_units: all.write_units, ..none() },
        price::Usage { s3_gets: all.s3_gets, s3_puts: all.s3_puts, ..none() },
        price::Usage { bytes_out: all.bytes_out, ..none() },
    ];
    let shares = shares.map(|share| format!("{:.0}", share.dollars() / all.dollars() * 100.0));
    format!("| {what} | {} |", shares.join(" | "))
}

/// Two digits that count.
fn dollars(amount: f64) -> String {
    let digits = if amount <= 0.0 { 0 } else { (1 - amount.log10().floor() as i32).clamp(0, 9) };
    format!("{amount:.*}", usize::try_from(digits).unwrap_or_default())
}

#[cfg(test)]
mod the_page {
    #[tokio::test(flavor = "multi_thread")]
    async fn the_page_on_cost_says_what_is_counted() {
        let page = super::page().await.unwrap();
        assert!(page.old == page.new, "cargo run -p benches -- --write would write\n{}", page.tables);
    }
}
