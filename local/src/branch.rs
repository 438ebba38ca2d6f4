//! `musehub branch` and `musehub log`: where the branches of a repository are, and who moved them.

use std::error::Error;

use clap::{Args, Subcommand};
use common::id::CommitId;
use common::wire::branches::{BranchResponse, MoveResponse, ProtectionRequest};

use crate::asking::OfRepo;

/// Characters of a commit's id in a table, unless it is to be whole.
pub const SHORT: usize = 12;

#[derive(Subcommand)]
pub enum Branch {
    /// List the branches of a repository, where they are, who moved them last, and how they are protected
    List(List),
    /// Protect a branch from forced pushes and from deletion, for admins of the repository
    ///
    /// It holds for admins too, until one takes it away.
    Protect(Protect),
    /// Take the protection of a branch away
    Unprotect(One),
    /// Delete a branch, in a line of the push log; the default branch is refused
    ///
    /// Its commits stay as long as the push log names them, and `musehub branch restore` makes it again.
    Delete(One),
    /// Put a branch back to where it was before it was moved or deleted last, in a line of the push log
    ///
    /// The push log of the last 90 days says where that was.
    Restore(Restore),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    of: OfRepo,
    #[command(flatten)]
    ids: ShownIds,
}

/// How much of a commit's id is printed.
#[derive(Args)]
pub struct ShownIds {
    /// Print whole commit ids, and not their first 12 characters
    #[arg(long)]
    full_ids: bool,
}

#[derive(Args)]
pub struct One {
    #[command(flatten)]
    of: OfRepo,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
}

#[derive(Args)]
pub struct Protect {
    #[command(flatten)]
    one: One,
    /// Let admins alone push to it
    #[arg(long)]
    admins_only: bool,
}

#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    one: One,
    /// The whole id of the commit to put it at, which the push log names as a head of the branch: see musehub log --full-ids
    #[arg(long, value_name = "COMMIT")]
    to: Option<CommitId>,
}

#[derive(Args)]
pub struct Log {
    #[command(flatten)]
    of: OfRepo,
    /// Only the lines of this branch
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// How many lines to print at most
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind the line of this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    #[command(flatten)]
    ids: ShownIds,
}

/// Runs `musehub branch`.
pub async fn branch(command: Branch) -> Result<(), Box<dyn Error>> {
    match command {
        Branch::List(List { of, ids }) => {
            let (_, answer) = of.ask(async |remote| Ok(remote.branches().await?)).await?;
            let rows = answer.branches.iter().map(|branch| {
                let BranchResponse { name, head, updated_at, updated_by, .. } = branch;
                let is_default = if branch.is_default { "default" } else { "" };
                let protection = protection(branch.protected, branch.admins_only);
                let [name, at, by] = [name, updated_at, updated_by].map(String::clone);
                [name, ids.shown(Some(head)), at, by, protection.to_owned(), is_default.to_owned()]
            });
            of.printed.table(&answer, ["BRANCH", "HEAD", "MOVED AT", "BY", "PROTECTED FROM", "DEFAULT"], rows)
        }
        Branch::Protect(Protect { one, admins_only }) => {
            protect(one, ProtectionRequest { protected: true, admins_only }).await
        }
        Branch::Unprotect(one) => protect(one, ProtectionRequest { protected: false, admins_only: false }).await,
        Branch::Delete(One { of, branch }) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.delete_branch(&branch).await?)).await?;
            of.printed.print(&answer, || format!("{repo}: '{branch}' is deleted; its head was {}.", answer.head))
        }
        Branch::Restore(Restore { one: One { of, branch }, to }) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.restore(&branch, to).await?)).await?;
            of.printed.print(&answer, || {
                let head = &answer.head;
                match &answer.before {
                    Some(before) if before == head => format!("{repo}: '{branch}' is at {head} already."),
                    Some(before) => format!("{repo}: '{branch}' is at {head} again; it was at {before}."),
                    None => format!("{repo}: '{branch}' is there again, at {head}."),
                }
            })
        }
    }
}

async fn protect(One { of, branch }: One, wanted: ProtectionRequest) -> Result<(), Box<dyn Error>> {
    let (repo, answer) = of.ask(async |remote| Ok(remote.protect(&branch, &wanted).await?)).await?;
    of.printed.print(&answer, || match protection(answer.protected, answer.admins_only) {
        "" => format!("{repo}: '{branch}' is not protected."),
        protection => format!("{repo}: '{branch}' is protected from {protection}."),
    })
}

/// What a branch is protected from.
const fn protection(protected: bool, admins_only: bool) -> &'static str {
    match (protected, admins_only) {
        (false, _) => "",
        (true, false) => "force and deletion",
        (true, true) => "force, deletion and all but admins",
    }
}

/// Runs `musehub log`.
pub async fn log(Log { of, branch, limit, after, ids }: Log) -> Result<(), Box<dyn Error>> {
    let (_, answer) = of.ask(async |remote| Ok(remote.log(branch.as_deref(), after, limit as usize).await?)).await?;
    let rows = answer.log.iter().map(|line| {
        let [at, by, branch] = [&line.at, &line.by, &line.branch.to_string()].map(String::clone);
        let [from, to] = [&line.before, &line.after].map(|commit| ids.shown(commit.as_ref()));
        [at, by, with(line), branch, from, to, how(line).to_owned()]
    });
    of.printed.table(&answer, ["AT", "BY", "WITH", "BRANCH", "FROM", "TO", "HOW"], rows)?;
    if let Some(next) = &answer.next {
        eprintln!("There may be more: --after {next} goes on there.");
    }
    Ok(())
}

/// The token that a branch was moved with, if it was no user's own, and the agent that it is for.
fn with(line: &MoveResponse) -> String {
    let token = line.token.as_deref().unwrap_or_default();
    match &line.agent {
        Some(agent) => format!("{agent} ({token})"),
        None => token.to_owned(),
    }
}

const fn how(line: &MoveResponse) -> &'static str {
    match line {
        MoveResponse { restored: true, .. } => "restored",
        MoveResponse { deleted: true, .. } => "deleted",
        MoveResponse { before: None, .. } => "made",
        MoveResponse { forced: true, .. } => "forced",
        _ => "pushed",
    }
}

impl ShownIds {
    fn shown(&self, commit: Option<&CommitId>) -> String {
        let id = commit.map_or_else(|| "-".to_owned(), CommitId::to_string);
        if self.full_ids { id } else { id.chars().take(SHORT).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_the_branch_was_moved_and_with_which_token() {
        let commit = |id: &str| Some(id.parse::<CommitId>().unwrap());
        let line = |before, after| MoveResponse {
            id: String::new(),
            branch: "main".parse().unwrap(),
            before,
            after,
            forced: false,
            deleted: false,
            restored: false,
            by: "ada".to_owned(),
            token: None,
            agent: None,
            at: String::new(),
        };
        let moved = || line(commit("a"), commit("b"));
        assert_eq!((how(&moved()), with(&moved())), ("pushed", String::new()));
        assert_eq!(how(&line(None, commit("a"))), "made");
        assert_eq!(how(&MoveResponse { forced: true, ..moved() }), "forced");
        assert_eq!(how(&MoveResponse { deleted: true, ..line(commit("a"), None) }), "deleted");
        assert_eq!(how(&MoveResponse { forced: true, restored: true, ..moved() }), "restored");
        assert_eq!(how(&MoveResponse { restored: true, ..line(None, commit("a")) }), "restored");
        let minted = MoveResponse { token: Some("t1".to_owned()), ..moved() };
        assert_eq!(with(&minted), "t1");
        assert_eq!(with(&MoveResponse { agent: Some("composer".to_owned()), ..minted }), "composer (t1)");
    }

    #[test]
    fn an_id_is_cut_unless_it_is_to_be_whole() {
        let (short, full) = (ShownIds { full_ids: false }, ShownIds { full_ids: true });
        let id: CommitId = "0123456789abcdef".parse().unwrap();
        assert_eq!(short.shown(Some(&id)), "0123456789ab");
        assert_eq!(full.shown(Some(&id)), "0123456789abcdef");
        assert_eq!(short.shown(None), "-");
    }
}
