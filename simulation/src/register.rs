//! Whether what clients saw of one name can have happened in some order, each thing between its question and its answer.
//!
//! A branch, a tag and a release are registers: at each moment one commit, or nothing; a branch may be protected besides. The search is that of Wing and Gong with
//! the memory of Lowe: it takes one of the operations that may be next, and remembers which sets of operations with which state
//! led nowhere.

use std::collections::HashSet;

/// What was asked of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Only if something is there that is not protected: a branch is deleted.
    Delete,
    /// Wherever it is, and whether it is there or not: a branch is restored.
    Restore(String),
    /// Only if something is there: a branch is protected, or not any more.
    Protect(bool),
    /// What was read of a branch: its commit, and whether it is protected.
    Look(String, bool),
}

/// What a register holds, and whether it is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    held: Option<String>,
    protected: bool,
}

impl State {
    fn of(held: Option<String>) -> State {
        State { held, protected: false }
    }
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
    /// It was refused for something else, and has had no effect.
    Void,
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
fn apply(state: &State, operation: &Operation, is_ancestor: &dyn Fn(&str, &str) -> bool) -> Option<State> {
    let State { held, protected } = state;
    let goes_forward = |to: &str| held.as_ref().is_none_or(|held| is_ancestor(held, to));
    let can = match &operation.action {
        // A protected branch never goes back, by whatever is pushed.
        Action::Move { to, force } => *force && !protected || goes_forward(to),
        Action::Set(_) | Action::Restore(_) => true,
        Action::Claim(_) => held.is_none(),
        Action::Clear | Action::Protect(_) => held.is_some(),
        Action::Delete => held.is_some() && !protected,
        Action::Read(read) => held == read,
        Action::Look(read, is_protected) => held.as_ref() == Some(read) && protected == is_protected,
    };
    let reads = matches!(operation.action, Action::Read(_) | Action::Look(..));
    match operation.outcome {
        Outcome::Void => return Some(state.clone()),
        Outcome::Refused => return (!can).then(|| state.clone()),
        Outcome::Done | Outcome::Unknown if !can => return None,
        Outcome::Done | Outcome::Unknown if reads => return Some(state.clone()),
        Outcome::Done | Outcome::Unknown => {}
    }
    let to = |to: &String| State { held: Some(to.clone()), protected: *protected };
    Some(match &operation.action {
        Action::Move { to: commit, .. } | Action::Restore(commit) => to(commit),
        Action::Set(commit) | Action::Claim(commit) => State::of(Some(commit.clone())),
        Action::Clear | Action::Delete => State::default(),
        Action::Protect(protected) => State { held: held.clone(), protected: *protected },
        Action::Read(_) | Action::Look(..) => state.clone(),
    })
}

/// Finds an order of the operations, or returns the longest part of the history that has one.
///
/// # Errors
/// When there is none: what the register held where it got stuck, and what could not follow.
pub fn check(operations: &[Operation], is_ancestor: &dyn Fn(&str, &str) -> bool) -> Result<(), String> {
    let mut operations: Vec<&Operation> = operations.iter().collect();
    operations.sort_by_key(|operation| operation.asked);
    let mut dead_ends: HashSet<(Vec<bool>, State)> = HashSet::new();
    let mut stack: Vec<(Vec<bool>, State)> = vec![(vec![false; operations.len()], State::default())];
    let mut best = (0, String::new());
    while let Some((mut done, held)) = stack.pop() {
        // What never changes anything is taken as soon as it can be: whatever follows is as possible with it as without. That a
        // write finds what it would write says nothing of the sort: it may be needed after another.
        loop {
            let horizon = horizon(&operations, &done);
            let idle = next(&operations, &done, horizon).find(|number| {
                operations.get(*number).is_some_and(|operation| {
                    let is_idle = matches!(operation.action, Action::Read(_) | Action::Look(..))
                        || matches!(operation.outcome, Outcome::Refused | Outcome::Void);
                    is_idle && apply(&held, operation, is_ancestor).is_some()
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
            let after = operations.get(number).and_then(|operation| apply(&held, operation, is_ancestor));
            if let Some(after) = after
                && !is_idle_guess(&operations, &done, number, after == held)
            {
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

/// Whether nothing is lost when what was not answered is not taken next. It need not be taken ever, so it is not where it changes
/// nothing; and of several that ask the same, the first stands for the others, for it can be next whenever they can.
fn is_idle_guess(operations: &[&Operation], done: &[bool], number: usize, changes_nothing: bool) -> bool {
    let Some(operation) = operations.get(number).filter(|operation| operation.outcome == Outcome::Unknown) else {
        return false;
    };
    let mut earlier = operations.iter().zip(done).take(number);
    let is_same = |other: &Operation| other.outcome == Outcome::Unknown && other.action == operation.action;
    changes_nothing || earlier.any(|(other, done)| !done && is_same(other))
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
    fn a_protected_branch_that_goes_back_or_is_gone_is_found() {
        let did = |action, asked| operation(action, Outcome::Done, asked, asked + 1);
        let protected = [did(to("b", false), 1), did(Action::Protect(true), 3)];
        let then = |actions: Vec<Operation>| check(&[&protected[..], &actions].concat(), &is_ancestor);
        then(vec![did(to("c", true), 5), did(Action::Look("c".to_owned(), true), 7)]).unwrap();
        then(vec![operation(to("a", true), Outcome::Refused, 5, 6), operation(Action::Delete, Outcome::Refused, 7, 8)])
            .unwrap();
        then(vec![did(Action::Protect(false), 5), did(to("a", true), 7), did(Action::Delete, 9)]).unwrap();
        then(vec![did(Action::Restore("a".to_owned()), 5), did(Action::Look("a".to_owned(), true), 7)]).unwrap();
        for wrong in [did(to("a", true), 5), did(Action::Delete, 5), did(Action::Look("b".to_owned(), false), 5)] {
            then(vec![wrong]).unwrap_err();
        }
        // One that was deleted and is made again is not protected.
        then(vec![
            did(Action::Protect(false), 5),
            did(Action::Delete, 7),
            did(to("a", false), 9),
            did(Action::Look("a".to_owned(), true), 11),
        ])
        .unwrap_err();
    }

    #[test]
    fn what_was_asked_often_and_never_answered_does_not_make_the_search_long() {
        let set = |asked| operation(Action::Set("a".to_owned()), Outcome::Unknown, asked, u64::MAX);
        let clear = |asked| operation(Action::Clear, Outcome::Unknown, asked, u64::MAX);
        let look = |read: Option<&str>, asked| {
            operation(Action::Read(read.map(str::to_owned)), Outcome::Done, asked, asked + 1)
        };
        let unheard = (0..60).map(|number| if number % 2 == 0 { set(number) } else { clear(number) });
        let history: Vec<Operation> = unheard.collect();
        let then = |reads: Vec<Operation>| check(&[&history[..], &reads].concat(), &is_ancestor);
        then(vec![look(Some("a"), 100), look(None, 102), look(Some("a"), 104)]).unwrap();
        then(vec![look(Some("a"), 100), look(Some("b"), 102)]).unwrap_err();
    }

    #[test]
    fn a_refusal_needs_a_reason() {
        let first = operation(to("b", false), Outcome::Done, 1, 2);
        check(&[first.clone(), operation(to("a", false), Outcome::Refused, 3, 4)], &is_ancestor).unwrap();
        check(&[first, operation(to("c", false), Outcome::Refused, 3, 4)], &is_ancestor).unwrap_err();
    }
}
