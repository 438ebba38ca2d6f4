//! Which commit a branch is restored to: what the push log says of how it came to be where it is.
//!
//! The lines of a branch are a chain: each leads from where the one before it led to. So the last move is the newest line that leads
//! to where the branch is, at its head or nowhere. A move that was itself a restoring is passed over, for what it has undone is what is
//! meant. So a restoring that is sent again finds the branch where it wants it, and does not undo itself.

use jiff::Timestamp;
use ulid::Ulid;

use crate::table::items::LogItem;
use crate::upkeep::garbage::RETENTION;
use crate::{Store, StoreError};
use common::id::{BranchName, CommitId, RepoId};
use common::time;

/// How many lines of a branch are read at once.
const AT_ONCE: usize = 1_000;
/// How often that is done: as many lines of a branch are looked at, or ten times as many of a repo.
const MOST: usize = 20;

/// What the push log says of where a branch may be restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restorable {
    /// To this commit.
    To(CommitId),
    /// Nothing was done with the branch but to make it.
    OnlyMade,
    /// The log of the retention does not say it.
    NotSaid,
    /// The log of the retention has no line of the branch.
    NoLine,
    /// The log is longer than what one request looks at.
    TooLong,
}

/// A walk through the lines of a branch, the newest first.
#[derive(Debug)]
enum Walk<'a> {
    /// For the line that led the branch to where it is: at this commit, or nowhere.
    Back(Option<CommitId>),
    /// For a line that names this commit.
    For(&'a CommitId),
}

impl Walk<'_> {
    /// Takes the next line in, and returns what is known then, if that is anything.
    fn step(&mut self, line: &LogItem) -> Option<Restorable> {
        let leads_to = Some(&line.after).filter(|_| !line.deleted);
        match self {
            Self::For(wanted) => {
                let names = line.before.as_ref() == Some(*wanted) || line.after == **wanted;
                names.then(|| Restorable::To((*wanted).clone()))
            }
            Self::Back(at) if at.as_ref() != leads_to => None,
            Self::Back(at) if line.restored => {
                at.clone_from(&line.before);
                None
            }
            Self::Back(_) => Some(line.before.clone().map_or(Restorable::OnlyMade, Restorable::To)),
        }
    }
}

impl Store {
    /// Where a branch that is at `head`, or is not there, is restored to: where it was before the last move or deletion that was no
    /// restoring, or `to` a commit that the log of the retention names as its head.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn restorable(
        &self,
        repo: &RepoId,
        branch: &BranchName,
        head: Option<&CommitId>,
        to: Option<&CommitId>,
    ) -> Result<Restorable, StoreError> {
        let since = time::before(self.ambient.now(), RETENTION);
        let mut walk = to.map_or_else(|| Walk::Back(head.cloned()), Walk::For);
        let (mut after, mut has_line) = (None, false);
        for _ in 0..MOST {
            let lines = self.log_behind(repo, Some(branch), after, AT_ONCE).await?;
            for (name, line) in &lines.items {
                if is_older(name, since) {
                    return Ok(if has_line { Restorable::NotSaid } else { Restorable::NoLine });
                }
                has_line = true;
                if let Some(found) = walk.step(line) {
                    return Ok(found);
                }
            }
            after = match lines.next.filter(|next| !is_older(next, since)) {
                Some(next) => Ulid::from_string(&next).ok(),
                None => return Ok(if has_line { Restorable::NotSaid } else { Restorable::NoLine }),
            };
        }
        Ok(Restorable::TooLong)
    }
}

fn is_older(line: &str, since: Timestamp) -> bool {
    Ulid::from_string(line).is_ok_and(|line| time::drawn(line) < since)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commit(number: u8) -> CommitId {
        format!("c{number}").parse().unwrap()
    }

    fn line(before: Option<u8>, after: Option<u8>, restored: bool) -> LogItem {
        LogItem {
            branch: "main".parse().unwrap(),
            before: before.map(commit),
            after: commit(after.or(before).unwrap()),
            deleted: after.is_none(),
            forced: false,
            restored,
            by: String::new(),
            via: None,
            at: String::new(),
        }
    }

    /// What a walk from the end of a log finds.
    fn walk(mut walk: Walk<'_>, log: &[LogItem]) -> Option<Restorable> {
        log.iter().rev().find_map(|line| walk.step(line))
    }

    fn undo(log: &[LogItem], head: Option<u8>) -> Option<Restorable> {
        walk(Walk::Back(head.map(commit)), log)
    }

    #[test]
    fn the_last_move_is_undone_and_a_restoring_is_not() {
        let to = |number| Some(Restorable::To(commit(number)));
        let mut log = vec![line(None, Some(1), false)];
        assert_eq!(undo(&log, Some(1)), Some(Restorable::OnlyMade));
        log.push(line(Some(1), Some(2), false));
        assert_eq!(undo(&log, Some(2)), to(1));
        log.push(line(Some(2), Some(1), true));
        assert_eq!(undo(&log, Some(1)), to(1), "sent again");
        log.push(line(Some(1), None, false));
        assert_eq!(undo(&log, None), to(1), "it was deleted");
        log.push(line(None, Some(1), true));
        assert_eq!(undo(&log, Some(1)), to(1), "sent again");
        assert_eq!(undo(&log, Some(9)), None, "the log does not say how it came there");
        assert_eq!(walk(Walk::For(&commit(2)), &log), to(2));
        assert_eq!(walk(Walk::For(&commit(9)), &log), None);
    }

    /// What is done with a branch: a push to a commit, a deletion, or a restoring to what the log says, or to a commit of it.
    fn operation() -> impl Strategy<Value = (u8, u8)> {
        (0_u8..4, 0_u8..6)
    }

    proptest! {
        #[test]
        fn a_restoring_leads_to_where_the_branch_was_and_one_that_is_sent_again_changes_nothing(
            operations in prop::collection::vec(operation(), 1..40),
        ) {
            let (mut log, mut head): (Vec<LogItem>, Option<u8>) = (Vec::new(), None);
            let number = |commit: &CommitId| commit.to_string()[1..].parse::<u8>().unwrap();
            for (what, to) in operations {
                let restoring = |log: &[LogItem], head| undo(log, head).and_then(|found| match found {
                    Restorable::To(commit) => Some(number(&commit)),
                    _ => None,
                });
                let (after, restored) = match what {
                    0 | 1 => (Some(to), false),
                    2 => (None, false),
                    _ => {
                        // The model: before the newest line that is no restoring.
                        let last = log.iter().rev().find(|line| !line.restored);
                        let expected = last.and_then(|line| line.before.as_ref()).map(number);
                        let found = restoring(&log, head);
                        prop_assert_eq!(found, expected);
                        let Some(found) = found else { continue };
                        (Some(found), true)
                    }
                };
                if after == head {
                    continue;
                }
                log.push(line(head, after, restored));
                head = after;
                if restored {
                    prop_assert_eq!(restoring(&log, head), head, "sent again");
                }
                // Each commit that the branch was at can be named.
                for line in &log {
                    prop_assert_eq!(walk(Walk::For(&line.after), &log), Some(Restorable::To(line.after.clone())));
                }
            }
        }
    }
}
