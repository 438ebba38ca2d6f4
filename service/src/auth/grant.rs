//! What a minted token allows: a part of what its user may do. It is in the token, signed, so that it is known before anything is
//! read; whether the token was revoked is read with the repo.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use common::id::{BranchName, RepoId};
use common::wire::WireError;
use common::wire::limits::MAX_BRANCH_PATTERN;
use store::table::items::Role;

/// As branches are named: in one case, and a `*` stays within a part of a name; `**` does not.
const BRANCHES: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// What a minted token allows.
///
/// A hub that does not know a field of it refuses the token: the field may narrow it further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The token's id, which its item has.
    pub id: String,
    /// The repos that it is for; all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repos: Option<BTreeSet<RepoId>>,
    /// The most that it allows in them.
    pub access: Role,
    /// Patterns of the branches that it may push to; all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// Whether it may force a branch.
    pub force: bool,
    /// Whether it may delete a branch.
    pub delete: bool,
}

/// What is done to a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It is made, or moves to a commit that descends from its head.
    Advance,
    /// It may lose commits.
    Force,
    /// It goes.
    Delete,
}

impl Grant {
    /// Refuses what the token may not do to a branch.
    ///
    /// # Errors
    /// [`WireError::TokenTooNarrow`].
    pub fn check_move(&self, branch: &BranchName, how: Move) -> Result<(), WireError> {
        if let Some(patterns) = &self.branches
            && !patterns.iter().any(|pattern| matches(pattern, branch))
        {
            let patterns = patterns.join(", ");
            return Err(WireError::TokenTooNarrow(format!("'{branch}' is none of its branches, {patterns}")));
        }
        match how {
            Move::Force if !self.force => Err(WireError::TokenTooNarrow("it may force no branch".to_owned())),
            Move::Delete if !self.delete => Err(WireError::TokenTooNarrow("it may delete no branch".to_owned())),
            Move::Advance | Move::Force | Move::Delete => Ok(()),
        }
    }
}

/// Checks a pattern of branches.
///
/// # Errors
/// Why it is none.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() || pattern.len() > MAX_BRANCH_PATTERN {
        return Err(format!("a pattern has 1 to {MAX_BRANCH_PATTERN} bytes"));
    }
    Pattern::new(pattern).map(drop).map_err(|error| format!("'{pattern}' is no pattern: {}", error.msg))
}

/// A pattern that is none fits nothing.
fn matches(pattern: &str, branch: &BranchName) -> bool {
    Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_with(branch.as_str(), BRANCHES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(branches: Option<&[&str]>, force: bool, delete: bool) -> Grant {
        let branches = branches.map(|patterns| patterns.iter().map(|pattern| (*pattern).to_owned()).collect());
        Grant { id: "t".to_owned(), repos: None, access: Role::Write, branches, force, delete }
    }

    #[test]
    fn a_pattern_fits_the_branches_that_it_says_and_no_others() {
        for (pattern, branch, fits) in [
            ("main", "main", true),
            ("main", "Main", false),
            ("main", "maintenance", false),
            ("agent/*", "agent/a", true),
            ("agent/*", "agent/a/b", false),
            ("agent/**", "agent/a/b", true),
            ("agent/*", "agents/a", false),
            ("*", "main", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("v[0-9]", "v1", true),
            ("v[0-9]", "va", false),
            ("[", "[", false),
        ] {
            let allowed = grant(Some(&[pattern]), false, false).check_move(&branch.parse().unwrap(), Move::Advance);
            assert_eq!(allowed.is_ok(), fits, "{pattern} {branch}");
        }
    }

    #[test]
    fn what_a_token_may_do_to_a_branch_is_what_it_says() {
        let main = "main".parse().unwrap();
        for (force, delete) in [(false, false), (true, false), (false, true), (true, true)] {
            for branches in [None, Some(&["main"][..]), Some(&["other"][..])] {
                let grant = grant(branches, force, delete);
                let is_its_own = branches != Some(&["other"]);
                for (how, may) in [(Move::Advance, true), (Move::Force, force), (Move::Delete, delete)] {
                    let allowed = grant.check_move(&main, how).is_ok();
                    assert_eq!(allowed, may && is_its_own, "{how:?} {branches:?} {force} {delete}");
                }
            }
        }
    }

    #[test]
    fn a_grant_with_a_field_that_is_not_known_is_refused() {
        let grant = grant(Some(&["main"]), false, true);
        let mut json = serde_json::to_value(&grant).unwrap();
        assert_eq!(serde_json::from_value::<Grant>(json.clone()).unwrap(), grant);
        json["until_noon"] = true.into();
        assert!(serde_json::from_value::<Grant>(json).is_err());
    }

    #[test]
    fn a_pattern_is_checked_when_it_is_given() {
        assert!(check_pattern("agent/**").is_ok());
        for none in ["", "a**", "[", &"x".repeat(MAX_BRANCH_PATTERN + 1)] {
            assert!(check_pattern(none).is_err(), "{none}");
        }
    }
}
