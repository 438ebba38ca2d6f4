//! `musehub stats`

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use common::id::Slug;
use indicatif::DecimalBytes;
use local::stores::{Stores, Which};
use store::Store;
use store::repo::{Asker, Load};
use store::upkeep::stats::{AnswerSize, CloneCost, Stats};

#[derive(Args)]
pub struct Arguments {
    /// The repository
    #[arg(value_name = "OWNER/SLUG")]
    repo: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The data folder of a stopped hub; else the stores that the environment names, else .musehub
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let opened = Stores::open(&Which::choose(arguments.data)).await?;
    let stats = opened.while_open(async |stores| count(&stores.store, &arguments.repo).await).await?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, &stats)?;
        writeln!(out)?;
    } else {
        print(&mut out, &arguments.repo, &stats)?;
    }
    Ok(())
}

async fn count(store: &Store, name: &str) -> Result<Stats, Box<dyn Error>> {
    let (owner, slug) = name.split_once('/').ok_or("name the repository as owner/slug")?;
    let (owner, slug): (Slug, Slug) = (owner.parse()?, slug.parse()?);
    let none = || format!("there is no repository {name} in these stores");
    let found = store.find_repo(&owner, &slug, Load::NOTHING).await?.ok_or_else(none)?;
    // As its owner sees it.
    let owner = found.meta.owner_user_id;
    let repo = store.repo(&found.id, Asker::user(&owner), Load::HISTORY).await?.ok_or_else(none)?;
    Ok(store.stats(&repo, usize::MAX).await?)
}

fn print(out: &mut impl Write, name: &str, stats: &Stats) -> std::io::Result<()> {
    let Stats { branches, commits, snapshots, objects, packs, large, .. } = stats;
    writeln!(out, "{name}: {branches} branches, {commits} commits, {snapshots} snapshots, {objects} objects")?;
    writeln!(
        out,
        "{} raw, {} stored for ${:.4} a month",
        DecimalBytes(stats.raw_bytes),
        DecimalBytes(stats.stored_bytes),
        stats.dollars_a_month
    )?;
    writeln!(
        out,
        "{} packs, the largest {}, the one in the middle {}; {} large objects, {}",
        packs.count,
        DecimalBytes(packs.largest),
        DecimalBytes(packs.median),
        large.count,
        DecimalBytes(large.bytes)
    )?;
    if let Some(garbage) = &stats.garbage {
        writeln!(out, "{} files of garbage, {}", garbage.count, DecimalBytes(garbage.bytes))?;
    }
    print_answer(out, &stats.clone.answer)?;
    print_clone(out, "a clone", &stats.clone.warm)?;
    print_clone(out, "from a cold start", &stats.clone.cold)
}

fn print_answer(out: &mut impl Write, answer: &AnswerSize) -> std::io::Result<()> {
    let share = |bytes: u64| bytes.saturating_mul(100) / answer.stock_bytes.max(1);
    writeln!(
        out,
        "an answer of {} in msgpack and {} in JSON: {} % and {} % of what a stock client reads",
        DecimalBytes(answer.msgpack_bytes),
        DecimalBytes(answer.json_bytes),
        share(answer.msgpack_bytes),
        share(answer.json_bytes)
    )?;
    if answer.msgpack_bytes.max(answer.json_bytes) > answer.stock_bytes {
        writeln!(out, "beyond that 'muse clone' gives up, and 'musehub clone URL' fetches it in parts")?;
    }
    Ok(())
}

fn print_clone(out: &mut impl Write, what: &str, cost: &CloneCost) -> std::io::Result<()> {
    writeln!(
        out,
        "{what}: {} calls to DynamoDB, {} GETs of {} from S3, {} to the client in {:.1} s, ${:.6}",
        cost.dynamodb_calls,
        cost.s3_gets,
        DecimalBytes(cost.s3_bytes),
        DecimalBytes(cost.bytes_out),
        cost.seconds,
        cost.dollars
    )
}
