//! `musehub fsck`

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use common::id::Ids;
use common::id::{RepoId, Slug};
use common::wire::error::with_causes;
use fsck::finding::{Finding, Severity};
use fsck::repair::{Action, Repaired, Restore, prune, repair};
use fsck::{self, Counts, Options, Report, Step, Subject};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use local::stores::{Stores, Which};
use local::upkeep::clone::Clone;
use service::Target;
use store::Store;

/// The token for a clone that is not public.
const TOKEN_VARIABLE: &str = "MUSEHUB_FROM_TOKEN";

/// Something is damaged.
const DAMAGED: u8 = 1;
/// The check could not be made.
const FAILED: u8 = 2;
/// Something was damaged, and all of it was repaired.
const REPAIRED: u8 = 3;

#[derive(Args)]
pub struct Fsck {
    /// The repository: owner/slug, or its id
    #[arg(value_name = "OWNER/SLUG")]
    repo: String,
    /// Read every byte and recompute every hash
    #[arg(long)]
    deep: bool,
    /// Repair what can be repaired; reads every byte, and deletes nothing
    #[arg(long)]
    repair: bool,
    /// Where a repair brings back from what is nowhere else: the URL of the repository on another hub, or the data folder
    /// of a stopped hub, such as a backup. Everything that comes is proved by its hash. MUSEHUB_FROM_TOKEN is its token
    #[arg(long, value_name = "URL|FOLDER", requires = "repair")]
    from: Option<String>,
    /// Delete damaged packs that a repair has replaced, once the repository is whole
    #[arg(long, requires = "repair")]
    prune_damaged: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The data folder of a stopped hub; else the stores that the environment names, else .musehub
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// What commit, snapshot and object ids are in this hub
    #[arg(long, env = "MUSEHUB_IDS", default_value = "strict", value_name = "strict|lenient", value_parser = crate::ids)]
    ids: Ids,
}

/// What the command has to say.
#[derive(serde::Serialize)]
struct Outcome {
    /// `whole`, `damaged` or `repaired`.
    status: &'static str,
    #[serde(flatten)]
    repaired: Repaired,
}

/// Runs the command. What went wrong is said here, because the exit code has to say it too.
pub async fn run(arguments: Fsck) -> ExitCode {
    match check(&arguments).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("musehub: {}", with_causes(&*error));
            ExitCode::from(FAILED)
        }
    }
}

async fn check(arguments: &Fsck) -> Result<u8, Box<dyn Error>> {
    let opened = Stores::open(&Which::choose(arguments.data.clone())).await?;
    let outcome = opened.while_open(async |stores| check_in(arguments, &stores.store).await).await?;
    if arguments.json {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &outcome)?;
        writeln!(out)?;
    } else {
        print(&outcome)?;
    }
    Ok(match outcome.status {
        "whole" => 0,
        "repaired" => REPAIRED,
        _ => DAMAGED,
    })
}

async fn check_in(arguments: &Fsck, store: &Arc<Store>) -> Result<Outcome, Box<dyn Error>> {
    let subject = find(store, &arguments.repo).await?;
    let bar = progress();
    let on_step = |step: Step| show(&bar, step);
    let mut repaired = if arguments.repair {
        let clone = match &arguments.from {
            Some(from) => Some(open_clone(store, from, &subject).await?),
            None => None,
        };
        let ask = clone.as_ref().map(|clone| |wanted| clone.bring(wanted));
        let bring: Option<Restore<'_>> = ask.as_ref().map(|ask| ask as Restore<'_>);
        let repaired = repair(store, &subject, arguments.ids, bring, &on_step).await;
        if let Some(clone) = clone {
            clone.close().await;
        }
        repaired?
    } else {
        let options = Options { is_deep: arguments.deep, ids: arguments.ids };
        Repaired { actions: Vec::new(), report: fsck::check(store, &subject, options, &on_step).await? }
    };
    bar.finish_and_clear();
    let has_repaired = !repaired.actions.is_empty();
    if arguments.prune_damaged {
        repaired.actions.extend(prune(store, &repaired.report).await?);
    }
    let status = match (repaired.report.is_whole(), has_repaired) {
        (false, _) => "damaged",
        (true, true) => "repaired",
        (true, false) => "whole",
    };
    Ok(Outcome { status, repaired })
}

async fn find(store: &Store, repo: &str) -> Result<Subject, Box<dyn Error>> {
    let Some((owner, slug)) = repo.split_once('/') else {
        let id: RepoId =
            repo.parse().map_err(|_| format!("{repo:?} is neither owner/slug nor the id of a repository"))?;
        return Ok(Subject { id, name: None });
    };
    let (owner, slug): (Slug, Slug) = (owner.parse()?, slug.parse()?);
    let found = fsck::find(store, &owner, &slug).await?;
    found.ok_or_else(|| format!("there is no repository {repo} in these stores").into())
}

async fn open_clone(store: &Store, from: &str, subject: &Subject) -> Result<Clone, Box<dyn Error>> {
    let name = match &subject.name {
        Some((owner, slug)) => Target { owner: owner.clone(), slug: slug.clone() },
        None => {
            let repo = store.repo(&subject.id, store::repo::Asker::default(), store::repo::Load::NOTHING).await?;
            let repo = repo.ok_or("the repository has no name: give it as owner/slug")?;
            Target { owner: repo.meta.owner, slug: repo.meta.slug }
        }
    };
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    Ok(Clone::open(from, name, token.as_deref()).await?)
}

/// A line on the terminal; nothing where there is none.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

fn show(bar: &ProgressBar, step: Step) {
    let of = if step.total > 0 { format!(" of {}", step.total) } else { String::new() };
    bar.set_message(format!("{}: {}{of}", step.what, step.done));
    bar.tick();
}

fn print(outcome: &Outcome) -> std::io::Result<()> {
    let Outcome { status, repaired: Repaired { actions, report } } = outcome;
    let mut out = std::io::stdout().lock();
    for action in actions {
        let action: &Action = action;
        writeln!(out, "repair: {action}")?;
    }
    for finding in &report.findings {
        print_finding(&mut out, finding)?;
    }
    if report.more_findings > 0 {
        writeln!(out, "and {} more", report.more_findings)?;
    }
    for skipped in &report.skipped {
        writeln!(out, "not checked: {skipped}")?;
    }
    print_counts(&mut out, report)?;
    writeln!(out, "{}: {status}", report.name.as_deref().unwrap_or_else(|| report.repo_id.as_str()))
}

fn print_finding(out: &mut impl Write, finding: &Finding) -> std::io::Result<()> {
    if finding.severity < Severity::Damage {
        return writeln!(out, "note: {}", finding.problem);
    }
    writeln!(out, "damage: {}", finding.problem)?;
    writeln!(out, "  on it depends {}", finding.depends)?;
    writeln!(out, "  {}", finding.remedy.advice())
}

fn print_counts(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let Counts { items, packs, commits, snapshots, objects, large, bytes, bytes_read, garbage, garbage_bytes, .. } =
        report.counts;
    writeln!(
        out,
        "{items} items, {packs} packs with {commits} commits, {snapshots} snapshots and {objects} objects ({large} large), \
         {}; {} read; {garbage} files of garbage, {}",
        DecimalBytes(bytes),
        DecimalBytes(bytes_read),
        DecimalBytes(garbage_bytes)
    )
}
