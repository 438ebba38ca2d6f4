//! What a minted token allows: a part of what its user may do. It is in the token, signed, so that it is known before anything is
//! read; whether the token was revoked is read with the repo.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern, PatternError};
use serde::{Deserialize, Serialize};

use common::id::{BranchName, RepoId};
use common::wire::WireError;
use common::wire::limits::MAX_BRANCH_PATTERN;
use store::table::items::Role;

/// As branches are named: in one case.
const BRANCHES: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
/// The part of a pattern that stands for any parts of a name.
const ANY_PARTS: &str = "**";

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
    parts_of(pattern).map(drop).map_err(|error| format!("'{pattern}' is no pattern: {}", error.msg))
}

/// The parts of a pattern between slashes; none for [`ANY_PARTS`].
fn parts_of(pattern: &str) -> Result<Vec<Option<Pattern>>, PatternError> {
    let part = |part| if part == ANY_PARTS { Ok(None) } else { Pattern::new(part).map(Some) };
    pattern.split('/').map(part).collect()
}

/// Whether a pattern fits a name; one that is none fits nothing. Each part of the one is held against each of the other once at most.
/// `glob` takes a time that is exponential in the stars of a pattern with slashes, and not of one without.
fn matches(pattern: &str, branch: &BranchName) -> bool {
    let Ok(parts) = parts_of(pattern) else {
        return false;
    };
    let names: Vec<&str> = branch.as_str().split('/').collect();
    // Whether the parts so far fit this many names.
    let mut fits: Vec<bool> = (0..=names.len()).map(|count| count == 0).collect();
    for (at, part) in parts.iter().enumerate() {
        fits = match part {
            Some(pattern) => {
                let one_more =
                    fits.iter().zip(&names).map(|(fits, name)| *fits && pattern.matches_with(name, BRANCHES));
                std::iter::once(false).chain(one_more).collect()
            }
            None => {
                // At the end it stands for one at least.
                let least = fits.iter().position(|fits| *fits).map(|least| least + usize::from(at + 1 == parts.len()));
                (0..fits.len()).map(|count| least.is_some_and(|least| least <= count)).collect()
            }
        };
    }
    fits.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("**/c", "c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**", "a", false),
            ("a[/]b", "a/b", false),
            ("v[0-9]", "v1", true),
            ("v[0-9]", "va", false),
            ("[", "[", false),
        ] {
            let allowed = grant(Some(&[pattern]), false, false).check_move(&branch.parse().unwrap(), Move::Advance);
            assert_eq!(allowed.is_ok(), fits, "{pattern} {branch}");
        }
    }

    proptest! {
        /// What a pattern fits is what `glob` says that it fits.
        #[test]
        fn a_pattern_fits_what_the_crate_says(
            pattern in "(\\*\\*/)?([a?*]{1,2}/){0,2}(\\*\\*|[a?*]{1,2}|a[b-d])", name in "([ab]{1,2}/){0,3}[abc]{1,2}",
        ) {
            prop_assume!(Pattern::new(&pattern).is_ok());
            let expected = Pattern::new(&pattern).unwrap().matches_with(&name, BRANCHES);
            prop_assert_eq!(matches(&pattern, &name.parse().unwrap()), expected, "{} {}", pattern, name);
        }
    }

    /// With a matcher that goes back from each star this does not end.
    #[test]
    fn a_pattern_of_many_stars_is_held_against_a_long_name() {
        let part = "a".repeat(250);
        for pattern in
            [format!("{}*b", "*a".repeat(60)), format!("{}**", "**/*a*a*a/".repeat(11)), "**/".repeat(42) + "b"]
        {
            assert!(check_pattern(&pattern).is_ok() && pattern.len() <= MAX_BRANCH_PATTERN, "{pattern}");
            for name in [format!("{part}/x"), [&part; 4].map(String::as_str).join("/"), vec!["a"; 32].join("/")] {
                let fits = matches(&pattern, &name.parse().unwrap());
                assert!(!fits || pattern.ends_with("**"), "{pattern} {name}");
            }
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
