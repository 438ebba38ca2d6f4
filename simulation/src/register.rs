//! Whether what clients saw of one name can have happened in some order, each thing between its question and its answer.
//!
//! A branch, a tag and a release are registers: at each moment one commit, or nothing. The search is that of Wing and Gong with
//! the memory of Lowe: it takes one of the operations that may be next, and remembers which sets of operations with which state
//! led nowhere.

use std::collections::HashSet;

/// What was asked of a register.
#[derive(Clone, Debug)]
pub enum Action {
    /// A push: the commit, and whether it is forced. Else the register's commit has to be one of its ancestors.
    Move {
        /// Where to.
        to: String,
        /// Whether wherever from.
        force: bool,
    },
    /// Whatever was there before.
    Set(String),
    /// Only if nothing is there.
    Claim(String),
    /// Only if something is there.
    Clear,
    /// What was read.
    Read(Option<String>),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused for what the register held.
    Refused,
    /// No answer was heard. It may take effect at any time, or never.
    Unknown,
}

/// Something that was asked of a register.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What was asked.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// When it was asked: a number that grows.
    pub asked: u64,
    /// When the answer came; the greatest number if none did.
    pub answered: u64,
}

/// What an operation makes of a register that holds this, if it can have happened then.
fn apply(
    held: Option<&String>,
    operation: &Operation,
    is_ancestor: &dyn Fn(&str, &str) -> bool,
) -> Option<Option<String>> {
    let goes_forward = |to: &str| held.is_none_or(|held| is_ancestor(held, to));
    let can = match &operation.action {
        Action::Move { to, force } => *force || goes_forward(to),
        Action::Set(_) => true,
        Action::Claim(_) => held.is_none(),
        Action::Clear => held.is_some(),
        Action::Read(read) => held == read.as_ref(),
    };
    let unchanged = || Some(held.cloned());
    match (&operation.action, operation.outcome) {
        (Action::Read(_), _) if can => unchanged(),
        (_, Outcome::Refused) if !can => unchanged(),
        (Action::Read(_), _) | (_, Outcome::Refused) => None,
        _ if !can => None,
        (Action::Move { to, .. } | Action::Set(to) | Action::Claim(to), _) => Some(Some(to.clone())),
        (Action::Clear, _) => Some(None),
    }
}

/// Finds an order of the operations, or returns the longest part of the history that has one.
///
/// # Errors
/// When there is none: what the register held where it got stuck, and what could not follow.
pub fn check(operations: &[Operation], is_ancestor: &dyn Fn(&str, &str) -> bool) -> Result<(), String> {
    let mut operations: Vec<&Operation> = operations.iter().collect();
    operations.sort_by_key(|operation| operation.asked);
    let mut dead_ends: HashSet<(Vec<bool>, Option<String>)> = HashSet::new();
    let mut stack: Vec<(Vec<bool>, Option<String>)> = vec![(vec![false; operations.len()], None)];
    let mut best = (0, String::new());
    while let Some((mut done, held)) = stack.pop() {
        // What never changes anything is taken as soon as it can be: whatever follows is as possible with it as without. That a
        // write finds what it would write says nothing of the sort: it may be needed after another.
        loop {
            let horizon = horizon(&operations, &done);
            let idle = next(&operations, &done, horizon).find(|number| {
                operations.get(*number).is_some_and(|operation| {
                    let is_idle = matches!(operation.action, Action::Read(_)) || operation.outcome == Outcome::Refused;
                    is_idle && apply(held.as_ref(), operation, is_ancestor).is_some()
                })
            });
            match idle.and_then(|number| done.get_mut(number)) {
                Some(idle) => *idle = true,
                None => break,
            }
        }
        let heard = |(operation, done): (&&Operation, &bool)| *done || operation.outcome == Outcome::Unknown;
        if operations.iter().zip(&done).all(heard) {
            return Ok(());
        }
        if !dead_ends.insert((done.clone(), held.clone())) {
            continue;
        }
        let horizon = horizon(&operations, &done);
        let count = done.iter().filter(|done| **done).count();
        if count >= best.0 {
            let stuck: Vec<String> = next(&operations, &done, horizon)
                .filter_map(|number| operations.get(number))
                .filter(|operation| operation.outcome != Outcome::Unknown)
                .map(|operation| format!("{operation:?}"))
                .collect();
            best = (count, format!("it held {held:?}, and none of these can be next: {}", stuck.join("; ")));
        }
        for number in next(&operations, &done, horizon) {
            let after = operations.get(number).and_then(|operation| apply(held.as_ref(), operation, is_ancestor));
            if let Some(after) = after {
                let mut done = done.clone();
                if let Some(taken) = done.get_mut(number) {
                    *taken = true;
                }
                stack.push((done, after));
            }
        }
    }
    Err(best.1)
}

/// The first answer among what is not done: nothing that was asked later can be next.
fn horizon(operations: &[&Operation], done: &[bool]) -> u64 {
    let open = operations.iter().zip(done).filter(|(_, done)| !**done);
    open.map(|(operation, _)| operation.answered).min().unwrap_or(u64::MAX)
}

fn next<'o>(operations: &'o [&Operation], done: &'o [bool], horizon: u64) -> impl Iterator<Item = usize> + 'o {
    let open = operations.iter().zip(done).enumerate().filter(|(_, (_, done))| !**done);
    open.filter(move |(_, (operation, _))| operation.asked < horizon).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, outcome: Outcome, asked: u64, answered: u64) -> Operation {
        Operation { action, outcome, asked, answered }
    }

    fn to(to: &str, force: bool) -> Action {
        Action::Move { to: to.to_owned(), force }
    }

    fn read(read: &str) -> Action {
        Action::Read(Some(read.to_owned()))
    }

    /// Of letters, the earlier are the ancestors of the later.
    fn is_ancestor(ancestor: &str, descendant: &str) -> bool {
        ancestor <= descendant
    }

    #[test]
    fn what_overlaps_may_be_in_either_order() {
        let history = [
            operation(to("a", false), Outcome::Done, 1, 4),
            operation(Action::Read(None), Outcome::Done, 2, 3),
            operation(to("b", false), Outcome::Done, 5, 8),
            operation(read("b"), Outcome::Done, 6, 7),
        ];
        check(&history, &is_ancestor).unwrap();
    }

    #[test]
    fn a_write_of_what_is_there_may_be_what_comes_back_after_another() {
        let set =
            |commit: &str, asked, answered| operation(Action::Set(commit.to_owned()), Outcome::Done, asked, answered);
        let history = [set("a", 1, 2), set("b", 3, 6), set("a", 4, 7), operation(read("a"), Outcome::Done, 8, 9)];
        check(&history, &is_ancestor).unwrap();
        let history = [set("a", 1, 2), set("b", 3, 4), operation(read("a"), Outcome::Done, 8, 9)];
        check(&history, &is_ancestor).unwrap_err();
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let history = [
            operation(to("a", false), Outcome::Done, 1, 2),
            operation(to("b", false), Outcome::Done, 3, 4),
            operation(read("a"), Outcome::Done, 5, 6),
        ];
        check(&history, &is_ancestor).unwrap_err();
    }

    #[test]
    fn a_push_that_is_lost_is_found() {
        // Both moved the branch from `a`, to where neither leads to the other.
        let is_ancestor = |ancestor: &str, descendant: &str| ancestor == descendant || ancestor == "a";
        let history = [
            operation(to("a", false), Outcome::Done, 1, 2),
            operation(to("b", false), Outcome::Done, 3, 6),
            operation(to("c", false), Outcome::Done, 4, 5),
        ];
        check(&history, &is_ancestor).unwrap_err();
    }

    #[test]
    fn what_was_not_answered_may_take_effect_late_or_never() {
        let unheard = operation(to("b", false), Outcome::Unknown, 3, u64::MAX);
        let first = operation(to("a", false), Outcome::Done, 1, 2);
        let seen = |commit: &str, asked| operation(read(commit), Outcome::Done, asked, asked + 1);
        check(&[first.clone(), unheard.clone(), seen("a", 4), seen("b", 6)], &is_ancestor).unwrap();
        check(&[first.clone(), unheard.clone(), seen("a", 4)], &is_ancestor).unwrap();
        check(&[first, unheard, seen("b", 4), seen("a", 6)], &is_ancestor).unwrap_err();
    }

    #[test]
    fn a_refusal_needs_a_reason() {
        let first = operation(to("b", false), Outcome::Done, 1, 2);
        check(&[first.clone(), operation(to("a", false), Outcome::Refused, 3, 4)], &is_ancestor).unwrap();
        check(&[first, operation(to("c", false), Outcome::Refused, 3, 4)], &is_ancestor).unwrap_err();
    }
}
