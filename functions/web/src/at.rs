//! Which commit a page is of: a branch's head, a tag's commit, or the commit of an id.

use common::id::{CommitId, Id, Label};
use common::location::KnownCommit;
use common::wire::WireError;
use pages::frame::At;

use crate::{Opened, Reader};

/// A commit, and how the URL names it.
pub(crate) struct Found {
    pub(crate) id: CommitId,
    pub(crate) commit: KnownCommit,
    /// Whether the URL names the commit itself, so that it says the same for ever.
    pub(crate) is_fixed: bool,
}

impl Reader<'_> {
    /// The commit that a name leads to: a branch's, else a tag's, else the one of this id.
    pub(crate) async fn find(&self, opened: &Opened, name: &str) -> Result<Found, WireError> {
        let (id, is_fixed) = match opened.repo.heads.get(name) {
            Some(head) => (head.clone(), false),
            None => match self.tag(opened, name).await? {
                Some(commit) => (commit, false),
                None => (name.parse::<CommitId>().map_err(|_| unknown(name))?, true),
            },
        };
        let commit = opened.view.commits([&id]).await?.remove(&id).filter(|commit| commit.is_reached);
        Ok(Found { commit: commit.ok_or_else(|| unknown(name))?, id, is_fixed })
    }

    async fn tag(&self, opened: &Opened, name: &str) -> Result<Option<CommitId>, WireError> {
        let Ok(label) = name.parse::<Label>() else {
            return Ok(None);
        };
        // A commit's id is a label too, and is nearly always what it looks like.
        if name.parse::<Id>().is_ok_and(|id| id.digest().is_some()) {
            return Ok(None);
        }
        Ok(self.hub.store.tag(&opened.repo.id, &label).await?.map(|tag| tag.commit_id))
    }

    /// The ref of a page, with what its switcher leads to.
    pub(crate) fn at(&self, opened: &Opened, name: &str, id: &CommitId) -> At {
        let heads = &opened.repo.heads;
        At {
            name: name.to_owned(),
            commit_id: Some(id.to_string()),
            branches: heads.keys().take(At::MAX_SWITCH).cloned().collect(),
            tags: Vec::new(),
            has_more: heads.len() > At::MAX_SWITCH,
        }
    }

    /// The name in the path, decoded.
    pub(crate) fn ref_in_path(&self) -> String {
        self.call.path_parameter("ref").unwrap_or_default()
    }
}

fn unknown(name: &str) -> WireError {
    let shown: String = name.chars().take(80).collect();
    WireError::UnknownRef(shown)
}
