//! What every page has around it: the hub, who reads, and in a repository its name and its tabs.

use crate::text::shown_ref;
use serde::Serialize;

/// The hub that a page is of, and who reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hub {
    /// The hub's name for people, in the header and in titles. `musehub` if empty.
    pub name: String,
    /// The hub's own URL without a slash at the end, as commands to copy need it: `https://hub.example.com`.
    pub url: String,
    /// The handle, or else the user id, of the reader; `None` if not logged in.
    pub viewer: Option<String>,
    /// What each form sends back in its field `form_token`, against forged requests; left out if `None`.
    pub form_token: Option<String>,
}

/// The repository that a page is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repo {
    /// The owner's handle.
    pub owner: String,
    /// The repository's name under the owner.
    pub slug: String,
    /// A sentence about it; may be empty.
    pub description: String,
    /// Whether only some may know of it.
    pub is_private: bool,
    /// The branch that a clone checks out, and that tabs lead to; empty if nothing was pushed yet.
    pub default_branch: String,
}

/// The ref that a page shows the repository at, and those that its switcher leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct At {
    /// A branch, a tag or a commit id, as it is in the URL (decoded).
    pub name: String,
    /// The commit that it leads to, for a link that stays; left out if `None`.
    pub commit_id: Option<String>,
    /// Branches to switch to. At most [`At::MAX_SWITCH`] of each are shown, with a link to the rest.
    pub branches: Vec<String>,
    /// Tags to switch to.
    pub tags: Vec<String>,
    /// Whether there are more branches or tags than these.
    pub has_more: bool,
}

impl At {
    /// How many branches, and how many tags, a switcher shows.
    pub const MAX_SWITCH: usize = 50;
}

impl Hub {
    pub(crate) fn shown_name(&self) -> &str {
        if self.name.is_empty() { "musehub" } else { &self.name }
    }
}

impl At {
    /// What the ref is, as far as the switcher's lists tell.
    pub(crate) fn kind(&self) -> &'static str {
        if self.branches.contains(&self.name) {
            "branch"
        } else if self.tags.contains(&self.name) {
            "tag"
        } else if self.commit_id.as_ref().is_some_and(|id| *id == self.name) {
            "commit"
        } else {
            "at"
        }
    }

    pub(crate) fn shown_name(&self) -> String {
        shown_ref(&self.name)
    }

    /// The commit, if the ref itself may lead elsewhere later.
    pub(crate) fn permanent(&self) -> Option<&str> {
        self.commit_id.as_deref().filter(|id| *id != self.name)
    }

    pub(crate) fn shown_branches(&self) -> impl Iterator<Item = &String> {
        self.branches.iter().take(Self::MAX_SWITCH)
    }

    pub(crate) fn shown_tags(&self) -> impl Iterator<Item = &String> {
        self.tags.iter().take(Self::MAX_SWITCH)
    }

    pub(crate) fn is_more_than_shown(&self) -> bool {
        self.has_more || self.branches.len() > Self::MAX_SWITCH || self.tags.len() > Self::MAX_SWITCH
    }
}
