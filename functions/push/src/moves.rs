//! Which branches a push moves, whether it may, and what is written of it.

use common::id::BranchName;
use common::push::{BranchChange, Protection, Reach, Update, ValidatedBundle};
use common::wire::WireError;
use common::wire::limits::MAX_BRANCHES;
use common::wire::names::check_beside;
use service::Opened;
use service::auth::grant::Move;
use store::change::BranchMove;
use store::repo::Repo;
use store::table::items::Role;

/// What there is too much of when a clone could not want every head.
const TOO_MANY_BRANCHES: &str = "branches are more than a clone can want, so delete some of this repository's first";

/// How branches are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To what a client pushes.
    Push,
    /// To where they were.
    Restore,
}

impl Way {
    /// What is done with a branch that does not go elsewhere.
    fn least(self) -> (Move, BranchChange) {
        match self {
            Self::Push => (Move::Advance, BranchChange::Forward),
            Self::Restore => (Move::Force, BranchChange::Restore),
        }
    }
}

/// Checks what can be checked before anything is looked up: the token, the protection of the branches, and their names.
///
/// # Errors
/// 403 for a branch that is not for who asks, 422 for one that cannot lie beside the others.
pub fn check_branches(opened: &Opened, bundle: &ValidatedBundle<'_>, way: Way) -> Result<(), WireError> {
    let heads = &opened.repo.heads;
    for update in &bundle.updates {
        let (how, change) = way.least();
        opened.check_move(&update.branch, how)?;
        check_protection(&opened.repo, update, change)?;
        if !heads.contains_key(update.branch.as_str()) {
            let together = bundle.updates.iter().map(|other| other.branch.as_str());
            check_beside(&update.branch, heads.keys().map(String::as_str).chain(together))?;
        }
    }
    Ok(())
}

/// Checks where the branches go that are forced to go elsewhere.
///
/// # Errors
/// 403 for a branch that does not go there for who asks.
pub fn check_ends(opened: &Opened, bundle: &ValidatedBundle<'_>, reach: &Reach, way: Way) -> Result<(), WireError> {
    let ends = bundle.updates.iter().zip(&reach.ends);
    for (update, _) in ends.filter(|(_, end)| way == Way::Push && !end.is_forward) {
        check_protection(&opened.repo, update, BranchChange::Elsewhere)?;
        opened.check_move(&update.branch, Move::Force)?;
    }
    Ok(())
}

fn check_protection(repo: &Repo, update: &Update, change: BranchChange) -> Result<(), WireError> {
    Protection::check(repo.protection(&update.branch), &update.branch, change, repo.is_for(Role::Admin))
}

/// The branches as they move. If none does, there are none; else those are among them that stay where they are.
///
/// # Errors
/// 422 if the repo would have too many.
pub fn moves_of<'m>(
    repo: &'m Repo,
    bundle: &'m ValidatedBundle<'_>,
    reach: &'m Reach,
    way: Way,
) -> Result<Vec<BranchMove<'m>>, WireError> {
    let moves = bundle.updates.iter().zip(&reach.ends).filter_map(|(update, end)| {
        let before = repo.heads.get(update.branch.as_str());
        Some(BranchMove {
            name: &update.branch,
            before,
            protection: repo.protection(&update.branch),
            after: end.tip.as_ref()?,
            // A branch that is made again was nowhere that it could be forced from.
            forced: update.force && (way == Way::Push || before.is_some()),
        })
    });
    let mut moves: Vec<_> = moves.collect();
    if moves.iter().all(|branch| branch.before == Some(branch.after)) {
        moves.clear();
    }
    let new = moves.iter().filter(|branch| branch.before.is_none()).count();
    if new > 0 {
        WireError::check_count(TOO_MANY_BRANCHES, repo.heads.len() + new, MAX_BRANCHES)?;
    }
    Ok(moves)
}

/// The branches that are made beside others.
pub fn beside_others<'m>(repo: &Repo, moves: &[BranchMove<'m>]) -> Vec<&'m BranchName> {
    let new = moves.iter().filter(|branch| branch.before.is_none() && repo.was_pushed_to());
    new.map(|branch| branch.name).collect()
}
