//! Opening a repo: who may read it, write to it, or make it by pushing.

use std::sync::Arc;

use crate::auth::Caller;
use crate::call::{Call, Target};
use crate::hub::Hub;
use crate::routes::Right;
use common::answer_size::Held;
use common::id::RepoId;
use common::pack::PackId;
use common::wire::Error;
use common::wire::request::Heads;
use store::read::view::View;
use store::repo::{Need, NotFound, Repo};
use store::span;
use store::table::account::NewRepo;
use store::table::items::MetaItem;
use store::table::purged::Purged;

impl Hub {
    /// Refuses whom a function would refuse whatever the body of the request says.
    ///
    /// # Errors
    /// As the function does.
    pub async fn check_right(&self, call: &Call, right: Right) -> Result<(), Error> {
        let caller = match right {
            Right::Any => return Ok(()),
            Right::Read | Right::ReadOrAsk => call.caller(self).await?,
            Right::User | Right::Ask | Right::Push | Right::Write => Some(call.user(self).await?),
        };
        match (right, caller) {
            (Right::Any | Right::User, _) => Ok(()),
            (Right::Ask | Right::ReadOrAsk, Some(caller)) => self.check_may_ask(&caller, &call.target()?).await,
            (Right::Push, Some(caller)) => self.open_for_push(&caller, &call.target()?, Need::NOTHING).await.map(drop),
            (Right::Write, Some(caller)) => {
                self.open_for_writing(&caller, &call.target()?, Need::NOTHING).await.map(drop)
            }
            (_, caller) => self.open_for_reading(caller.as_ref(), &call.target()?, Need::NOTHING).await.map(drop),
        }
    }

    /// Checks that the caller may ask something of a repo: that it may read it, or that its push would make it.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] otherwise.
    pub async fn check_may_ask(&self, caller: &Caller, target: &Target) -> Result<(), Error> {
        match self.open_for_reading(Some(caller), target, Need::NOTHING).await {
            // With the rights that a push needs, which tell more.
            Err(Error::RepoNotFound) => self.open_for_push(caller, target, Need::NOTHING).await.map(drop),
            opened => opened.map(drop),
        }
    }

    /// The repo that a push goes to, with a view of what its packs hold. A name of the caller's own that has no repo yet is one
    /// too, if this hub makes repos by pushing.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] for whoever may not know of it, [`Error::NotAuthorized`] for whoever may only read it.
    pub async fn open_for_push(
        &self,
        caller: &Caller,
        target: &Target,
        need: Need,
    ) -> Result<(Destination, View), Error> {
        let user_id = caller.user_id.as_str();
        let why = match self.store.find_readable_repo(&target.owner, &target.slug, Some(user_id), need).await? {
            Ok(repo) if repo.is_writable_by(user_id) => {
                let view = self.store.view(&repo);
                return Ok((Destination::of(repo), view));
            }
            Ok(_) => return Err(Error::NotAuthorized),
            Err(why) => why,
        };
        let handle = self.store.profile(user_id).await?.map(|profile| profile.handle);
        let own = handle.clone().filter(|handle| *handle == target.owner && why == NotFound::Absent);
        let (Some(visibility), Some(owner)) = (self.settings.push_to_create, own) else {
            if why == NotFound::Absent {
                self.store.look_for_none(Some(user_id), need).await?;
            }
            return Err(if handle.is_some() { Error::RepoNotFound } else { Error::NoHandle(String::new()) });
        };
        let mut new = NewRepo::new(&self.store, owner, user_id, target.slug.clone(), visibility);
        new.meta.is_made_by_push = true;
        let destination = Destination {
            id: new.id.clone(),
            heads: Heads::new(),
            packs: 0,
            held: Held::default(),
            condemned: Vec::new(),
            was_pushed_to: false,
            has_domain: false,
            has_default: false,
            meta: new.meta.clone(),
            has_uploads: false,
            purged: Arc::default(),
            creates: Some(new),
        };
        let view = self.store.view_of(&destination.id, &[], &destination.purged);
        Ok((destination, view))
    }

    /// The repo of an id that is read, with a view of what its packs hold.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when there is none, or none that the caller may know of.
    pub async fn open_by_id(&self, caller: Option<&Caller>, id: &RepoId, need: Need) -> Result<(Repo, View), Error> {
        let user_id = caller.map(|caller| caller.user_id.as_str());
        let repo = self.store.readable_repo(id, user_id, need).await?.ok_or(Error::RepoNotFound)?;
        span::note(|seen| seen.repo = Some(format!("{}/{}", repo.meta.owner, repo.meta.slug)));
        let view = self.store.view(&repo);
        Ok((repo, view))
    }

    /// The repo that is written to, with a view of what its packs hold. It has to be there.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] for whoever may not know of it, [`Error::NotAuthorized`] for whoever may only read it.
    pub async fn open_for_writing(&self, caller: &Caller, target: &Target, need: Need) -> Result<(Repo, View), Error> {
        let (repo, view) = self.open_with_view(Some(caller), target, need).await?;
        if !repo.is_writable_by(&caller.user_id) {
            return Err(Error::NotAuthorized);
        }
        Ok((repo, view))
    }

    /// The repo that is read, with the lists asked for.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when there is none, or none that the caller may know of.
    pub async fn open_for_reading(&self, caller: Option<&Caller>, target: &Target, need: Need) -> Result<Repo, Error> {
        let user_id = caller.map(|caller| caller.user_id.as_str());
        let found = self.store.find_readable_repo(&target.owner, &target.slug, user_id, need).await?;
        if found.as_ref().is_err_and(|why| *why == NotFound::Absent) {
            self.store.look_for_none(user_id, need).await?;
        }
        found.map_err(|_| Error::RepoNotFound)
    }

    /// The repo that is read, with a view of what its packs hold.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when there is none, or none that the caller may know of.
    pub async fn open_with_view(
        &self,
        caller: Option<&Caller>,
        target: &Target,
        need: Need,
    ) -> Result<(Repo, View), Error> {
        let repo = self.open_for_reading(caller, target, need).await?;
        let view = self.store.view(&repo);
        Ok((repo, view))
    }
}

/// Where a push goes.
#[derive(Debug)]
pub struct Destination {
    /// The repo.
    pub id: RepoId,
    /// The head of each branch.
    pub heads: Heads,
    /// How many packs it has.
    pub packs: usize,
    /// What those hold that the next commits may rely on.
    pub held: Held,
    /// Those that are condemned, if the others were asked for.
    pub condemned: Vec<PackId>,
    /// Whether a branch was ever pushed to it.
    pub was_pushed_to: bool,
    /// Whether somebody has chosen what kind of content it holds.
    pub has_domain: bool,
    /// Whether somebody has chosen its default branch.
    pub has_default: bool,
    /// Its item about itself.
    pub meta: MetaItem,
    /// Whether objects may have been uploaded to it that nobody has looked at.
    pub has_uploads: bool,
    /// The objects that were purged, if packs were asked for.
    pub purged: Arc<Purged>,
    /// The repo again, if this push is to make it.
    pub creates: Option<NewRepo>,
}

impl Destination {
    fn of(repo: Repo) -> Self {
        Self {
            was_pushed_to: repo.meta.first_pushed_at.is_some(),
            has_domain: !repo.meta.domain.is_empty(),
            has_default: repo.meta.default_is_chosen,
            meta: repo.meta,
            has_uploads: repo.has_uploads,
            purged: repo.purged,
            packs: repo.packs.len() + repo.condemned.len(),
            held: Held::by(repo.packs.iter().map(|(_, pack)| pack)),
            condemned: repo.condemned,
            id: repo.id,
            heads: repo.heads,
            creates: None,
        }
    }
}
