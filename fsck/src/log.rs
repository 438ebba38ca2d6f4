//! Whether the push log leads each branch to where it is. Each line leads a branch from one commit to another, so the
//! lines of a branch are one path, in any order of reading: each commit that a line arrives at needs a line that leaves
//! it, except the head of the branch.

use std::collections::{BTreeMap, HashMap};

use super::finding::Problem;
use common::id::CommitId;
use store::table::items::LogItem;

/// What the lines read so far say of each branch.
#[derive(Debug, Default)]
pub struct Log {
    branches: BTreeMap<String, Path>,
}

/// What is left of a branch's lines when moves to a commit and moves away from it are cancelled out.
#[derive(Debug, Default)]
struct Path {
    /// Moves to a commit less moves away from it, where these differ.
    balance: HashMap<CommitId, i64>,
    /// Lines that make the branch.
    beginnings: u64,
}

impl Path {
    fn count(&mut self, commit: &CommitId, difference: i64) {
        let balance = self.balance.entry(commit.clone()).or_default();
        *balance += difference;
        if *balance == 0 {
            self.balance.remove(commit);
        }
    }

    fn at(&self, is_meant: impl Fn(i64) -> bool) -> Vec<CommitId> {
        let found = self.balance.iter().filter(|(_, balance)| is_meant(**balance)).map(|(commit, _)| commit.clone());
        let mut found: Vec<CommitId> = found.collect();
        found.sort_unstable();
        found
    }
}

impl Log {
    /// Takes a line in, in any order.
    pub fn add(&mut self, line: &LogItem) {
        let path = self.branches.entry(line.branch.to_string()).or_default();
        // A line that deletes the branch leads nowhere.
        if !line.deleted {
            path.count(&line.after, 1);
        }
        match &line.before {
            Some(before) => path.count(before, -1),
            None => path.beginnings += 1,
        }
    }

    /// The branches that the log and `heads` do not agree about.
    pub fn problems(&self, heads: &BTreeMap<String, CommitId>) -> Vec<(String, Problem)> {
        let mut found = Vec::new();
        for (branch, head) in heads {
            if !self.branches.contains_key(branch) {
                let gap = Problem::LogGap { branch: branch.clone(), commit: head.clone() };
                found.push((branch.clone(), gap));
            }
        }
        for (branch, path) in &self.branches {
            let head = heads.get(branch);
            let mut ends = path.at(|balance| balance > 0);
            let starts = path.at(|balance| balance < 0);
            let is_at_an_end = head.is_some_and(|head| ends.contains(head));
            let logged = match ends.as_slice() {
                [end] if starts.is_empty() => Some(end.clone()),
                _ => None,
            };
            match (head, logged) {
                (Some(head), logged) if !is_at_an_end => {
                    let problem = Problem::BranchNotAsLogged { branch: branch.clone(), head: head.clone(), logged };
                    found.push((branch.clone(), problem));
                    continue;
                }
                (None, Some(head)) => {
                    found.push((branch.clone(), Problem::BranchMissing { branch: branch.clone(), head }));
                    continue;
                }
                _ => {}
            }
            // A line that is gone leaves the commit that it led from and the one that it led to: one of them says it.
            ends.retain(|end| Some(end) != head);
            let edges = if starts.len() >= ends.len() { starts } else { ends };
            let gap = |commit| (branch.clone(), Problem::LogGap { branch: branch.clone(), commit });
            found.extend(edges.into_iter().map(gap));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(number: u8) -> CommitId {
        format!("c{number}").parse().unwrap()
    }

    fn line(before: Option<u8>, after: u8) -> LogItem {
        LogItem {
            branch: "main".parse().unwrap(),
            before: before.map(commit),
            after: commit(after),
            deleted: false,
            forced: false,
            via: None,
            restored: false,
            by: String::new(),
            at: String::new(),
        }
    }

    fn problems(lines: &[LogItem], head: Option<u8>) -> Vec<Problem> {
        let mut log = Log::default();
        lines.iter().for_each(|line| log.add(line));
        let heads = head.map(|head| ("main".to_owned(), commit(head))).into_iter().collect();
        log.problems(&heads).into_iter().map(|(_, problem)| problem).collect()
    }

    /// A branch that goes where it likes, back as well: each step is another commit than the last.
    fn walk() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0_u8..6, 1..20).prop_map(|mut walk| {
            walk.dedup();
            walk
        })
    }

    fn lines(walk: &[u8]) -> Vec<LogItem> {
        let befores = std::iter::once(None).chain(walk.iter().copied().map(Some));
        befores.zip(walk).map(|(before, after)| line(before, *after)).collect()
    }

    proptest! {
        #[test]
        fn a_whole_log_in_any_order_has_no_gap(walk in walk(), turn in any::<prop::sample::Index>()) {
            let mut lines = lines(&walk);
            let turn = turn.index(lines.len());
            lines.rotate_left(turn);
            prop_assert_eq!(problems(&lines, walk.last().copied()), vec![]);
        }

        #[test]
        fn whichever_line_is_gone_is_missed(walk in walk(), gone in any::<prop::sample::Index>()) {
            let mut lines = lines(&walk);
            lines.remove(gone.index(lines.len()));
            prop_assert_ne!(problems(&lines, walk.last().copied()), vec![]);
        }

        #[test]
        fn a_branch_that_is_gone_is_known_from_its_log(walk in walk()) {
            let head = commit(*walk.last().unwrap());
            let missing = Problem::BranchMissing { branch: "main".to_owned(), head };
            prop_assert_eq!(problems(&lines(&walk), None), vec![missing]);
        }

        #[test]
        fn a_branch_that_is_elsewhere_is_noticed(walk in walk(), head in 0_u8..9) {
            prop_assume!(walk.last() != Some(&head));
            let (head_id, logged) = (commit(head), Some(commit(*walk.last().unwrap())));
            let elsewhere = Problem::BranchNotAsLogged { branch: "main".to_owned(), head: head_id, logged };
            prop_assert_eq!(problems(&lines(&walk), Some(head)), vec![elsewhere]);
        }
    }

    #[test]
    fn a_branch_that_was_deleted_is_gone_and_may_be_made_again() {
        let mut lines = lines(&[1, 2, 3]);
        lines.push(LogItem { deleted: true, ..line(Some(3), 3) });
        assert_eq!(problems(&lines, None), vec![]);
        lines.push(line(None, 2));
        assert_eq!(problems(&lines, Some(2)), vec![]);
        lines.push(LogItem { deleted: true, ..line(Some(2), 2) });
        assert_eq!(problems(&lines, None), vec![]);
        assert_ne!(problems(&lines, Some(2)), vec![], "it is there, and the log says that it was deleted");
    }

    #[test]
    fn a_line_in_the_middle_that_is_gone_is_one_gap_where_the_next_begins() {
        let mut lines = lines(&[1, 2, 3, 4]);
        lines.remove(2);
        let gap = Problem::LogGap { branch: "main".to_owned(), commit: commit(3) };
        assert_eq!(problems(&lines, Some(4)), vec![gap]);
    }
}
