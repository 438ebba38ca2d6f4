//! What may be done with a branch that is protected.

use serde::{Deserialize, Serialize};

use crate::id::BranchName;
use crate::wire::WireError;

/// Who pushes to a branch that is protected. It goes nowhere but forward by a push, and is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// All who may push to the repo.
    Writers,
    /// Only those who may change its protection.
    Admins,
}

/// What is to be done with a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchChange {
    /// A push that leads to a descendant of its head, or moves nothing.
    Forward,
    /// A push that leads anywhere else, which is forced.
    Elsewhere,
    /// It is to be gone.
    Delete,
    /// It is to be where it was.
    Restore,
}

impl Protection {
    /// Its word, as items have it, and that for none.
    pub const fn word(protection: Option<Self>) -> &'static str {
        match protection {
            None => "none",
            Some(Self::Writers) => "writers",
            Some(Self::Admins) => "admins",
        }
    }

    /// The protection of such a word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Writers, Self::Admins].into_iter().find(|protection| Self::word(Some(*protection)) == word)
    }

    /// Refuses what the protection of a branch does not let be done, by a user who `is_admin`, or who may only push.
    ///
    /// # Errors
    /// [`WireError::BranchProtected`], which says what is lacking and who can do something about it.
    pub fn check(
        protection: Option<Self>,
        branch: &BranchName,
        change: BranchChange,
        is_admin: bool,
    ) -> Result<(), WireError> {
        let Some(protection) = protection else {
            return Ok(());
        };
        let lacking = match change {
            BranchChange::Forward if is_admin || protection == Self::Writers => return Ok(()),
            BranchChange::Restore if is_admin => return Ok(()),
            BranchChange::Restore => "and only admins of the repository restore it: ask one, or its owner",
            BranchChange::Forward => {
                "and only admins of the repository push to it: push to another branch, and ask one, or the owner, to merge it"
            }
            BranchChange::Elsewhere => {
                "and takes no forced push: pull, merge, and push without force; or ask its owner or an admin, who can restore it to where it was, or take its protection away"
            }
            BranchChange::Delete => "and is not deleted: the owner or an admin can take its protection away first",
        };
        Err(WireError::BranchProtected { branch: branch.clone(), lacking })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Option<Protection>; 3] = [None, Some(Protection::Writers), Some(Protection::Admins)];

    #[test]
    fn who_may_do_what_with_a_branch() {
        use BranchChange::{Delete, Elsewhere, Forward, Restore};
        use Protection::{Admins, Writers};
        for (protection, change, writer_may, admin_may) in [
            (None, Forward, true, true),
            (None, Elsewhere, true, true),
            (None, Delete, true, true),
            (None, Restore, true, true),
            (Some(Writers), Forward, true, true),
            (Some(Writers), Elsewhere, false, false),
            (Some(Writers), Delete, false, false),
            (Some(Writers), Restore, false, true),
            (Some(Admins), Forward, false, true),
            (Some(Admins), Elsewhere, false, false),
            (Some(Admins), Delete, false, false),
            (Some(Admins), Restore, false, true),
        ] {
            for (is_admin, may) in [(false, writer_may), (true, admin_may)] {
                let checked = Protection::check(protection, &"main".parse().unwrap(), change, is_admin);
                assert_eq!(checked.is_ok(), may, "{protection:?} {change:?} admin: {is_admin}");
                if let Err(refusal) = checked {
                    assert_eq!(refusal.code(), "branch_protected");
                    let said = refusal.to_string();
                    assert!(said.contains("'main'") && said.contains("owner"), "{said}");
                }
            }
        }
    }

    #[test]
    fn a_protection_is_known_by_its_word() {
        for protection in ALL {
            assert_eq!(Protection::of_word(Protection::word(protection)), protection);
        }
        assert_eq!(Protection::of_word("everybody"), None);
    }

    proptest! {
        /// A head is a number, and what descends from it is greater. So whatever is pushed, a protected branch stays and never goes back.
        #[test]
        fn a_protected_branch_never_goes_back(
            admins_only in any::<bool>(),
            pushes in prop::collection::vec((any::<u8>(), any::<bool>(), any::<bool>()), 0..40),
        ) {
            let protection = Some(if admins_only { Protection::Admins } else { Protection::Writers });
            let branch = "main".parse().unwrap();
            let mut head = Some(100_u8);
            for (to, deletes, is_admin) in pushes {
                let before = head.unwrap();
                let change = match (deletes, to >= before) {
                    (true, _) => BranchChange::Delete,
                    (false, true) => BranchChange::Forward,
                    (false, false) => BranchChange::Elsewhere,
                };
                if Protection::check(protection, &branch, change, is_admin).is_ok() {
                    head = Some(to).filter(|_| !deletes);
                    prop_assert!(is_admin || !admins_only);
                }
                prop_assert!(head.is_some_and(|head| head >= before));
            }
        }
    }
}
