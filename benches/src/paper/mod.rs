//! Which limit is reached first where there is much of something: of commits in a repository, of repositories in a hub, of agents at a
//! branch. It is arithmetic, with what was counted and what AWS and the hub allow. `docs/scale.md` shows it.

mod aws;
mod branch;
mod history;
mod hub;
mod limit;
mod plot;
mod upkeep;

use std::fmt::Write;
use std::path::Path;

use crate::Failure;
use crate::counted::Counted;
use crate::page::Page;
use limit::{Case, about, percent};

const BEGIN: &str = "<!-- computed by `cargo run -p benches -- --write` -->";
const END: &str = "<!-- end of what is computed -->";

/// The page and its plots.
pub fn pages(counted: &Counted, docs: &Path) -> Result<Vec<Page>, Failure> {
    let cases =
        [history::case(counted)?, hub::case(counted)?, branch::one_branch(counted)?, branch::own_branches(counted)?];
    let [history, hub, one_branch, own_branches] = &cases;
    let text = [
        "## A repository of ten million commits\n".to_owned(),
        history::words(counted)?,
        section(history)?,
        "## A hub of a million repositories\n".to_owned(),
        hub::words(counted),
        section(hub)?,
        "## A branch that a thousand agents push to at once\n".to_owned(),
        branch::words(counted)?,
        section(one_branch)?,
        "### The same agents with a branch each".to_owned(),
        section(own_branches)?,
        "### One push of each\n".to_owned(),
        branch::batches(counted)?,
    ]
    .join("\n");
    let mut pages = vec![Page::with(docs.join("scale.md"), &[(BEGIN, END, text.trim_end())])?];
    for case in &cases {
        let path = docs.join("scale").join(format!("{}.svg", case.name));
        pages.push(Page::whole(path, plot::draw(case)?));
    }
    Ok(pages)
}

/// The plot of a case, and its limits, the first one first.
fn section(case: &Case) -> Result<String, Failure> {
    let mut text = format!("\n![{}: percent of each limit](scale/{}.svg)\n\n", case.title, case.name);
    let load = about(case.load);
    let limits = case.by_load();
    let (first, at) = limits.first().ok_or("a limit")?;
    let passed = limits.iter().filter(|(limit, _)| limit.used(case.load) >= 1.0).count();
    writeln!(text, "**First, at {} {}:** {}.", case.where_reached(*at), case.unit, first.name)?;
    writeln!(text, "With {load} {} {passed} of these {} limits are reached.\n", case.unit, limits.len())?;
    writeln!(text, "| limit | reached at, {} | with {load} | what is seen then | the next step |", case.unit)?;
    writeln!(text, "|---|---|---|---|---|")?;
    for (limit, reached) in limits {
        let (at, with) = (case.where_reached(reached), percent(limit.used(case.load)));
        writeln!(text, "| {} | {at} | {with} | {} | {} |", limit.name, limit.seen, limit.next)?;
    }
    Ok(text)
}
