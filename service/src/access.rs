//! Opening a repo: who may read it, write to it, or make it by pushing.

use crate::auth::grant::{Grant, Move};
use crate::auth::{Credential, User, Verified};
use crate::call::{Call, Target};
use crate::hub::Hub;
use crate::routes::Right;
use common::id::{BranchName, RepoId};
use common::wire::WireError;
use store::read::view::View;
use store::repo::{Asker, Load, NotFound, Repo};
use store::span;
use store::table::account::NewRepo;
use store::table::items::Role;

/// What a caller wants to do with a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Ask what a push has to know: read the repo, or, with a token, push to where a push would make it.
    Ask,
    /// Write to it, where no branch is concerned: a token for some branches does not do. It has to be there.
    Write,
    /// Change a branch of it: [`Opened::check_move`] says whether this one. It has to be there.
    Branch,
    /// Push to it, or make it by pushing: [`Opened::check_move`] says whether to this branch.
    Push,
    /// Do what its owner and its admins may do, in words that follow "may".
    Administer(&'static str),
    /// Do what its owner alone may do, in words that follow "only the owner may".
    Own(&'static str),
}

impl Access {
    const fn role(self) -> Role {
        match self {
            Self::Read | Self::Ask => Role::Read,
            Self::Write | Self::Branch | Self::Push => Role::Write,
            Self::Administer(_) => Role::Admin,
            Self::Own(_) => Role::Owner,
        }
    }

    /// What is said to a user whose role in the repo is too low for it.
    const fn refusal(self) -> WireError {
        match self {
            Self::Read | Self::Ask => WireError::RepoNotFound,
            Self::Write | Self::Branch | Self::Push => WireError::NotAuthorized,
            Self::Administer(what) => WireError::NotAdministrator(what),
            Self::Own(what) => WireError::NotOwner(what),
        }
    }
}

/// A repo that was opened for a request.
pub struct Opened {
    /// The repo.
    pub repo: Repo,
    /// What its packs hold.
    pub view: View,
    /// The user that it was opened for; one without an id for who sent no token.
    pub user: User,
    grant: Option<Grant>,
}

impl Opened {
    /// Refuses what the token may not do to a branch.
    ///
    /// # Errors
    /// [`WireError::TokenTooNarrow`].
    pub fn check_move(&self, branch: &BranchName, how: Move) -> Result<(), WireError> {
        self.grant.as_ref().map_or(Ok(()), |grant| grant.check_move(branch, how))
    }
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
    /// The user of a token, unless the token was revoked: one read for a token that a user has minted, and none for others.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`] for a token that was revoked, and for a link, which is of no user.
    pub async fn user(&self, credential: &Credential) -> Result<User, WireError> {
        let token = credential.verified().ok_or(WireError::unauthorized("a link is for reading one repository"))?;
        if let Some(grant) = &token.grant
            && !self.store.has_token(&token.user_id, &grant.id).await?
        {
            return Err(WireError::unauthorized("the token was revoked"));
        }
        Ok(token.user())
    }

    /// The user of a token that allows all that the user may do.
    ///
    /// # Errors
    /// As [`Self::user`]; [`WireError::TokenTooNarrow`], which says why in `reason`, for a token that allows less.
    pub async fn whole_user(&self, credential: &Credential, reason: &str) -> Result<User, WireError> {
        let user = self.user(credential).await?;
        match credential.is_whole() {
            true => Ok(user),
            false => Err(WireError::TokenTooNarrow(reason.to_owned())),
        }
    }

    /// The user of a token that may make repos.
    ///
    /// # Errors
    /// As [`Self::user`]; [`WireError::TokenTooNarrow`] for a token that only reads, or is for some repos.
    pub async fn maker(&self, credential: &Credential) -> Result<User, WireError> {
        let user = self.user(credential).await?;
        match credential.verified().is_some_and(Verified::makes_repos) {
            true => Ok(user),
            false => Err(WireError::TokenTooNarrow("it makes no repositories".to_owned())),
        }
    }

    /// Opens a repo: with the lists asked for, and with a view of what its packs hold. A name of the caller's own that has no repo
    /// yet can be pushed to, if this hub makes repos by pushing. Whether the token was revoked is read meanwhile.
    ///
    /// # Errors
    /// [`WireError::RepoNotFound`] when there is none, or none that the caller may know of. [`WireError::NotAuthorized`],
    /// [`WireError::NotAdministrator`] and [`WireError::NotOwner`] for a caller who may read it and no more,
    /// [`WireError::TokenTooNarrow`] for one who may, but not with this token, [`WireError::NoHandle`] for a pusher who has no name of
    /// their own, [`WireError::Unauthorized`] for a token that was revoked.
    pub async fn open<'a>(
        &self,
        credential: Option<&Credential>,
        which: impl Into<Which<'a>>,
        access: Access,
        load: Load,
    ) -> Result<Opened, WireError> {
        let user = async {
            match credential {
                Some(credential) if credential.verified().is_some() => self.user(credential).await,
                // Without a token, or through a link.
                _ => Ok(User::default()),
            }
        };
        let (user, repo) = tokio::join!(user, Box::pin(self.find(credential, which.into(), access, load)));
        // What is said of the repo is for no bearer of a revoked token.
        let (user, repo) = (user?, repo?);
        let grant = credential.and_then(Credential::verified).and_then(|token| token.grant.clone());
        if !repo.is_for(access.role()) {
            let is_token = repo.role_of_user >= Some(access.role());
            return Err(match &grant {
                Some(grant) if is_token => {
                    WireError::TokenTooNarrow(format!("its access is '{}'", grant.access.as_str()))
                }
                Some(grant) if grant.repos.as_ref().is_some_and(|repos| !repos.contains(&repo.id)) => {
                    WireError::TokenTooNarrow("it is for other repositories".to_owned())
                }
                _ => access.refusal(),
            });
        }
        if access == Access::Write && grant.as_ref().is_some_and(|grant| grant.branches.is_some()) {
            return Err(WireError::TokenTooNarrow("it is for branches alone".to_owned()));
        }
        let view = self.store.view(&repo);
        Ok(Opened { repo, view, user, grant })
    }

    /// The repo, if who asks may read it, or make it by what they ask.
    async fn find(
        &self,
        credential: Option<&Credential>,
        which: Which<'_>,
        access: Access,
        load: Load,
    ) -> Result<Repo, WireError> {
        let asker = credential.map_or(Asker::default(), Credential::asker);
        match which {
            Which::Named(target) => {
                let found = self.store.find_readable_repo(&target.owner, &target.slug, asker, load).await?;
                match (found, access, credential.and_then(Credential::verified)) {
                    (Ok(repo), ..) => Ok(repo),
                    (Err(why), Access::Ask | Access::Push, Some(token)) => {
                        self.to_be_made(token, target, why, load).await
                    }
                    (Err(NotFound::Absent), ..) => {
                        self.store.look_for_none(asker, load).await?;
                        Err(WireError::RepoNotFound)
                    }
                    (Err(NotFound::Hidden), ..) => Err(WireError::RepoNotFound),
                }
            }
            Which::Id(id) => {
                let found = self.store.readable_repo(id, asker, load).await?;
                if let Some(Repo { meta, .. }) = &found {
                    span::note(|stats| stats.repo = Some(format!("{}/{}", meta.owner, meta.slug)));
                }
                found.ok_or(WireError::RepoNotFound)
            }
        }
    }

    /// The repo that a push would make. A token that is for some repos makes none, and one that only reads neither.
    async fn to_be_made(
        &self,
        token: &Verified,
        target: &Target,
        why: NotFound,
        load: Load,
    ) -> Result<Repo, WireError> {
        let user_id = token.user_id.as_str();
        let handle = self.store.profile(user_id).await?.map(|profile| profile.handle);
        let own = handle.clone().filter(|handle| *handle == target.owner && why == NotFound::Absent);
        let (Some(visibility), Some(owner), true) = (self.settings.push_to_create, own, token.makes_repos()) else {
            if why == NotFound::Absent {
                self.store.look_for_none(Asker::user(user_id), load).await?;
            }
            return Err(if handle.is_some() { WireError::RepoNotFound } else { WireError::NoHandle(String::new()) });
        };
        self.check_repos(user_id, &owner).await?;
        let mut new = NewRepo::new(&self.store, owner, user_id, target.slug.clone(), visibility);
        new.meta.is_made_by_push = true;
        Ok(Repo::to_be_made(new))
    }

    /// Refuses a caller whom the function would refuse for any body of the request.
    ///
    /// # Errors
    /// As the function does.
    pub async fn check_right(&self, call: &Call, right: Right) -> Result<(), WireError> {
        let (credential, access) = match right {
            Right::Any => return Ok(()),
            Right::User => return self.user(&call.token(self).await?).await.map(drop),
            Right::Read => (call.credential(self).await?, Access::Read),
            Right::ReadOrAsk => (call.credential(self).await?, Access::Ask),
            Right::Ask => (Some(call.token(self).await?), Access::Ask),
            Right::Push => (Some(call.token(self).await?), Access::Push),
            Right::Write => (Some(call.token(self).await?), Access::Write),
        };
        self.open(credential.as_ref(), &call.target()?, access, Load::NOTHING).await.map(drop)
    }
}
