//! Opening a repo: who may read it, write to it, or make it by pushing.

use crate::auth::Caller;
use crate::call::{Call, Target};
use crate::hub::Hub;
use crate::routes::Right;
use common::id::RepoId;
use common::wire::WireError;
use store::read::view::View;
use store::repo::{Load, NotFound, Repo};
use store::span;
use store::table::account::NewRepo;

/// What a caller wants to do with a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Ask what a push has to know: read the repo, or, with a token, push to where a push would make it.
    Ask,
    /// Write to it. It has to be there.
    Write,
    /// Push to it, or make it by pushing.
    Push,
    /// Do what its owner alone may do, in words that follow "only the owner may".
    Own(&'static str),
}

/// Which repo.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one of a name.
    Named(&'a Target),
    /// The one of an id.
    Id(&'a RepoId),
}

impl<'a> From<&'a Target> for Which<'a> {
    fn from(target: &'a Target) -> Self {
        Self::Named(target)
    }
}

impl<'a> From<&'a RepoId> for Which<'a> {
    fn from(id: &'a RepoId) -> Self {
        Self::Id(id)
    }
}

impl Hub {
    /// Opens a repo: with the lists asked for, and with a view of what its packs hold. A name of the caller's own that has no repo
    /// yet can be pushed to, if this hub makes repos by pushing.
    ///
    /// # Errors
    /// [`WireError::RepoNotFound`] when there is none, or none that the caller may know of. [`WireError::NotAuthorized`] and
    /// [`WireError::NotOwner`] for a caller who may read it and no more, [`WireError::NoHandle`] for a pusher who has no name of their own.
    pub async fn open<'a>(
        &self,
        caller: Option<&Caller>,
        which: impl Into<Which<'a>>,
        access: Access,
        load: Load,
    ) -> Result<(Repo, View), WireError> {
        let user_id = caller.map(|caller| caller.user_id.as_str());
        let found = match which.into() {
            Which::Named(target) => {
                let found = self.store.find_readable_repo(&target.owner, &target.slug, user_id, load).await?;
                match (found, access, caller) {
                    (Err(why), Access::Ask | Access::Push, Some(caller)) => {
                        return self.open_to_be_made(caller, target, why, load).await;
                    }
                    (Err(NotFound::Absent), ..) => {
                        self.store.look_for_none(user_id, load).await?;
                        None
                    }
                    (found, ..) => found.ok(),
                }
            }
            Which::Id(id) => {
                let found = self.store.readable_repo(id, user_id, load).await?;
                if let Some(Repo { meta, .. }) = &found {
                    span::note(|stats| stats.repo = Some(format!("{}/{}", meta.owner, meta.slug)));
                }
                found
            }
        };
        let repo = found.ok_or(WireError::RepoNotFound)?;
        let user_id = user_id.unwrap_or_default();
        match access {
            Access::Write | Access::Push if !repo.is_writable_by(user_id) => return Err(WireError::NotAuthorized),
            Access::Own(what) if !repo.is_owned_by(user_id) => return Err(WireError::NotOwner(what)),
            _ => {}
        }
        let view = self.store.view(&repo);
        Ok((repo, view))
    }

    /// The repo that a push would make.
    async fn open_to_be_made(
        &self,
        caller: &Caller,
        target: &Target,
        why: NotFound,
        load: Load,
    ) -> Result<(Repo, View), WireError> {
        let user_id = caller.user_id.as_str();
        let handle = self.store.profile(user_id).await?.map(|profile| profile.handle);
        let own = handle.clone().filter(|handle| *handle == target.owner && why == NotFound::Absent);
        let (Some(visibility), Some(owner)) = (self.settings.push_to_create, own) else {
            if why == NotFound::Absent {
                self.store.look_for_none(Some(user_id), load).await?;
            }
            return Err(if handle.is_some() { WireError::RepoNotFound } else { WireError::NoHandle(String::new()) });
        };
        let mut new = NewRepo::new(&self.store, owner, user_id, target.slug.clone(), visibility);
        new.meta.is_made_by_push = true;
        let repo = Repo::to_be_made(new);
        let view = self.store.view(&repo);
        Ok((repo, view))
    }

    /// Refuses a caller whom the function would refuse for any body of the request.
    ///
    /// # Errors
    /// As the function does.
    pub async fn check_right(&self, call: &Call, right: Right) -> Result<(), WireError> {
        let (caller, access) = match right {
            Right::Any => return Ok(()),
            Right::User => return call.user(self).await.map(drop),
            Right::Read => (call.caller(self).await?, Access::Read),
            Right::ReadOrAsk => (call.caller(self).await?, Access::Ask),
            Right::Ask => (Some(call.user(self).await?), Access::Ask),
            Right::Push => (Some(call.user(self).await?), Access::Push),
            Right::Write => (Some(call.user(self).await?), Access::Write),
        };
        self.open(caller.as_ref(), &call.target()?, access, Load::NOTHING).await.map(drop)
    }
}
