//! Reading the items of one repo.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};

use super::{Store, StoreError};
use crate::read::view::{Listed, View};
use crate::table::account::NewRepo;
use crate::table::items::{
    Key, LinkItem, MemberItem, MetaItem, NameItem, PACK_PREFIX, PackItem, REF_PREFIX, RefItem, Role, UploadsItem,
    Visibility,
};
use crate::table::link_key::LinkKey;
use common::id::{BranchName, CommitId, RepoId, Slug};
use common::pack::{PackId, PackSummary};
use common::purged::Purged;
use common::push::Protection;
use common::wire::limits::{MAX_BRANCHES, MAX_PACKS};

/// A repo as a request finds it.
#[derive(Debug, Clone)]
pub struct Repo {
    /// Its id.
    pub id: RepoId,
    /// Its item about itself.
    pub meta: MetaItem,
    /// The head of each branch; empty unless asked for.
    pub heads: BTreeMap<String, CommitId>,
    /// How its branches are protected that are; empty unless branches are asked for.
    pub protections: BTreeMap<String, Protection>,
    /// Its packs and indexes; empty unless asked for.
    pub packs: Vec<(PackId, PackSummary)>,
    /// Its packs that are condemned, if only those were asked for that are not.
    pub condemned: Vec<PackId>,
    /// Whether uploads may be waiting that no request has looked at; false unless asked for.
    pub has_uploads: bool,
    /// The objects that were purged; none unless packs were asked for.
    pub purged: Arc<Purged>,
    /// The repo again, if it is not there yet and what is asked would make it.
    pub to_be_made: Option<NewRepo>,
    /// What who asked may do with it; nothing if it was not asked for by anyone who may.
    pub role: Option<Role>,
    /// The same, if the token allowed all that its user may do.
    pub role_of_user: Option<Role>,
}

/// Who asks for a repo, as far as the request itself shows it. What that counts is read with the repo.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// The user; none without a token.
    pub user_id: Option<&'a str>,
    /// The only repos in which the user counts; all if this is none.
    pub only_in: Option<&'a BTreeSet<RepoId>>,
    /// The most that the user may do; all that the user's role allows if this is none.
    pub at_most: Option<Role>,
    /// The link that was followed.
    pub link: Option<&'a LinkKey>,
}

impl<'a> Asker<'a> {
    /// A user with all that the user may do.
    pub const fn user(user_id: &'a str) -> Self {
        Self { user_id: Some(user_id), only_in: None, at_most: None, link: None }
    }

    /// The user, if the user counts in a repo.
    fn user_in(&self, repo: &RepoId) -> Option<&'a str> {
        self.user_id.filter(|_| self.only_in.is_none_or(|only_in| only_in.contains(repo)))
    }

    /// A name for all that decides whether a repo may be read: of nobody else's.
    fn name(&self, repo: &RepoId) -> String {
        match self.link {
            Some(link) => format!("{repo} link {link}"),
            None => format!("{repo} user {}", self.user_in(repo).unwrap_or_default()),
        }
    }
}

/// Which lists of a repo a request needs.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The branches.
    pub heads: bool,
    /// Which packs.
    pub packs: Packs,
    /// Whether objects may have been uploaded.
    pub uploads: bool,
}

/// Which packs of a repo a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packs {
    /// None.
    None,
    /// Those that a push may rely on: what is condemned may be gone when it lands.
    Reliable,
    /// All that can be read.
    Readable,
}

impl Load {
    /// Nothing but the repo itself.
    pub const NOTHING: Self = Self { heads: false, packs: Packs::None, uploads: false };
    /// The branches.
    pub const HEADS: Self = Self { heads: true, ..Self::NOTHING };
    /// The packs, and so all that can be read.
    pub const PACKS: Self = Self { packs: Packs::Readable, ..Self::NOTHING };
    /// The packs that what is written next may rely on.
    pub const RELIABLE_PACKS: Self = Self { packs: Packs::Reliable, ..Self::NOTHING };
    /// The branches and all that they reach.
    pub const HISTORY: Self = Self { heads: true, ..Self::PACKS };
    /// The branches, and what the next commits on them may rely on.
    pub const RELIABLE_HISTORY: Self = Self { heads: true, ..Self::RELIABLE_PACKS };
}

/// Why a name leads to no repo. Both get the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFound {
    /// No repo has the name.
    Absent,
    /// The repo is not for this user.
    Hidden,
}

/// A repo's item about itself, and what who asks may do with the repo.
struct Access {
    meta: MetaItem,
    role: Option<Role>,
    role_of_user: Option<Role>,
}

/// The lists of a repo, as far as they were asked for.
struct Lists {
    heads: BTreeMap<String, CommitId>,
    protections: BTreeMap<String, Protection>,
    packs: Vec<(PackId, PackSummary)>,
    condemned: Vec<PackId>,
    has_uploads: bool,
}

impl Access {
    fn of(meta: MetaItem, asker: Asker<'_>, user_id: Option<&str>, member: Option<Role>, has_link: bool) -> Self {
        let is_owner = user_id.is_some_and(|user_id| meta.owner_user_id == user_id);
        // No member is an owner.
        let of_user = if is_owner { Some(Role::Owner) } else { member.map(|role| role.min(Role::Admin)) };
        // A link that leads nowhere does not lead to what is public either: its bearer would not notice.
        let is_open = if asker.link.is_some() { has_link } else { meta.visibility == Visibility::Public };
        let of_all = is_open.then_some(Role::Read);
        let allowed = of_user.map(|role| asker.at_most.map_or(role, |most| role.min(most)));
        Self { role: allowed.max(of_all), role_of_user: of_user.max(of_all), meta }
    }
}

impl Repo {
    fn of(id: &RepoId, access: Access, lists: Lists, purged: Arc<Purged>) -> Self {
        let Access { meta, role, role_of_user } = access;
        let Lists { heads, protections, packs, condemned, has_uploads } = lists;
        Self {
            id: id.clone(),
            meta,
            heads,
            protections,
            packs,
            condemned,
            has_uploads,
            purged,
            to_be_made: None,
            role,
            role_of_user,
        }
    }

    /// A repo that is not there yet.
    pub fn to_be_made(new: NewRepo) -> Self {
        Self {
            id: new.id.clone(),
            meta: new.meta.clone(),
            heads: BTreeMap::new(),
            protections: BTreeMap::new(),
            packs: Vec::new(),
            condemned: Vec::new(),
            has_uploads: false,
            purged: Arc::default(),
            to_be_made: Some(new),
            role: Some(Role::Owner),
            role_of_user: Some(Role::Owner),
        }
    }

    /// Whether a branch was ever pushed to it.
    pub const fn was_pushed_to(&self) -> bool {
        self.meta.first_pushed_at.is_some()
    }

    /// How many packs and indexes it lists, those among them that are condemned.
    pub const fn listed(&self) -> usize {
        self.packs.len() + self.condemned.len()
    }

    /// Whether who asked for it may do what this role may.
    pub fn is_for(&self, role: Role) -> bool {
        self.role >= Some(role)
    }

    /// How a branch is protected, if it is.
    pub fn protection(&self, branch: &BranchName) -> Option<Protection> {
        self.protections.get(branch.as_str()).copied()
    }
}

impl Store {
    /// The repo of a name, with the lists asked for: none when no repo has the name.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn find_repo(&self, owner: &Slug, slug: &Slug, need: Load) -> Result<Option<Repo>, StoreError> {
        match self.get_item(&Key::name(owner, slug)).await? {
            Some(NameItem { repo_id }) => self.repo(&repo_id, Asker::default(), need).await,
            None => Ok(None),
        }
    }

    /// The repo of a name, with the lists asked for, if who asks may read it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn find_readable_repo(
        &self,
        owner: &Slug,
        slug: &Slug,
        asker: Asker<'_>,
        need: Load,
    ) -> Result<Result<Repo, NotFound>, StoreError> {
        let name = format!("{owner}/{slug}");
        let remembered = self.names.get(&name);
        let mut opened = None;
        if let Some(remembered) = &remembered {
            opened = self.readable_repo(remembered, asker, need).await?;
            if let Some(repo) = opened.take_if(|repo| repo.meta.is_called(owner, slug)) {
                return Ok(Ok(repo));
            }
        }
        let named = self.get_item(&Key::name(owner, slug)).await?.map(|NameItem { repo_id }| repo_id);
        if remembered.is_some() && named == remembered {
            return Ok(opened.ok_or(NotFound::Hidden));
        }
        self.names.remove(&name);
        let Some(id) = named else {
            return Ok(Err(NotFound::Absent));
        };
        let Some(repo) = self.readable_repo(&id, asker, need).await? else {
            return Ok(Err(NotFound::Hidden));
        };
        self.names.insert(name, id);
        Ok(Ok(repo))
    }

    /// If there is no repo, makes the reads of a repo that who asks may not read, so that the time is the same for
    /// both.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn look_for_none(&self, asker: Asker<'_>, need: Load) -> Result<(), StoreError> {
        self.readable_repo(&RepoId::from(PackId::nil()), asker, need).await.map(drop)
    }

    /// What requests see through the packs that were listed with a repo.
    pub fn view(&self, repo: &Repo) -> View {
        self.view_of(&repo.id, &repo.packs, &repo.purged)
    }

    /// What requests see through these packs of what was not purged.
    pub fn view_of(&self, repo: &RepoId, packs: &[(PackId, PackSummary)], purged: &Arc<Purged>) -> View {
        let tables = packs.iter().map(|(pack, summary)| Listed::of(*pack, summary)).collect();
        View::new(Arc::clone(&self.bucket), repo.clone(), tables, Arc::clone(purged))
    }

    /// The packs of a repo, listed after its branches were. The lists of a repo are read at the same time, so a push
    /// that landed in between may show in the branches and not in the packs. Packs that are listed later have every commit
    /// that the branches point at. Some are left out.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn view_listed_again(
        &self,
        repo: &RepoId,
        without: &[PackId],
        purged: &Arc<Purged>,
    ) -> Result<View, StoreError> {
        let mut packs = self.tables(repo).await?;
        packs.retain(|(pack, _)| !without.contains(pack));
        Ok(self.view_of(repo, &packs, purged))
    }

    /// The packs that are needed, and those that are condemned if they are not.
    async fn needed_packs(
        &self,
        repo: &RepoId,
        need: Packs,
    ) -> Result<(Vec<(PackId, PackSummary)>, Vec<PackId>), StoreError> {
        let packs = match need {
            Packs::None => return Ok(Default::default()),
            Packs::Reliable | Packs::Readable => self.tables(repo).await?,
        };
        let is_needed = |(_, summary): &(_, PackSummary)| need == Packs::Readable || summary.condemned_at.is_none();
        let (needed, condemned): (Vec<_>, Vec<_>) = packs.into_iter().partition(is_needed);
        Ok((needed, condemned.into_iter().map(|(pack, _)| pack).collect()))
    }

    /// The repo of an id, with the lists asked for, as who asks sees it, who may read it or not.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn repo(&self, repo: &RepoId, asker: Asker<'_>, need: Load) -> Result<Option<Repo>, StoreError> {
        let (access, lists) = tokio::try_join!(self.access(repo, asker), self.lists(repo, need))?;
        let Some(access) = access else {
            return Ok(None);
        };
        let purged = self.purged_needed(repo, &access.meta, need).await?;
        Ok(Some(Repo::of(repo, access, lists, purged)))
    }

    /// The same, if who asks may read it. No list is begun of a repo that this process has not let them read before, so
    /// neither the time nor the work of a store says how long those are. Who was let in before knows of the repo.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn readable_repo(&self, repo: &RepoId, asker: Asker<'_>, need: Load) -> Result<Option<Repo>, StoreError> {
        let reader = asker.name(repo);
        if self.let_in.get(&reader).is_some() {
            let repo = self.known_readable_repo(repo, asker, need).await?;
            if repo.is_none() {
                self.let_in.remove(&reader);
            }
            return Ok(repo);
        }
        let access = self.access(repo, asker).await?;
        let Some(access) = access.filter(|access| access.role.is_some()) else {
            return Ok(None);
        };
        self.let_in.insert(reader, ());
        let (lists, purged) = tokio::try_join!(self.lists(repo, need), self.purged_needed(repo, &access.meta, need))?;
        Ok(Some(Repo::of(repo, access, lists, purged)))
    }

    /// The same in one step less.
    async fn known_readable_repo(
        &self,
        repo: &RepoId,
        asker: Asker<'_>,
        need: Load,
    ) -> Result<Option<Repo>, StoreError> {
        let (access, lists) = (pin!(self.access(repo, asker)), pin!(self.lists(repo, need)));
        let (access, lists) = match select(access, lists).await {
            Either::Left((access, lists)) => (access?, Either::Left(lists)),
            Either::Right((lists, access)) => (access.await?, Either::Right(lists)),
        };
        let Some(access) = access.filter(|access| access.role.is_some()) else {
            return Ok(None);
        };
        let lists = async {
            match lists {
                Either::Left(lists) => lists.await,
                Either::Right(lists) => lists,
            }
        };
        let (lists, purged) = tokio::try_join!(lists, self.purged_needed(repo, &access.meta, need))?;
        Ok(Some(Repo::of(repo, access, lists, purged)))
    }

    /// What was purged, for who sees what packs hold.
    async fn purged_needed(&self, repo: &RepoId, meta: &MetaItem, need: Load) -> Result<Arc<Purged>, StoreError> {
        if need.packs == Packs::None { Ok(Arc::default()) } else { self.purged(repo, meta).await }
    }

    /// What a repo says of itself, if who asks may read it.
    pub(crate) async fn meta_for(&self, repo: &RepoId, asker: Asker<'_>) -> Result<Option<MetaItem>, StoreError> {
        let access = self.access(repo, asker).await?;
        Ok(access.filter(|access| access.role.is_some()).map(|access| access.meta))
    }

    async fn access(&self, repo: &RepoId, asker: Asker<'_>) -> Result<Option<Access>, StoreError> {
        let user_id = asker.user_in(repo);
        let (meta_key, member_key) = (Key::meta(repo), Key::member(repo, user_id.unwrap_or_default()));
        let member = async {
            match user_id {
                Some(_) => self.get_item::<MemberItem>(&member_key).await,
                None => Ok(None),
            }
        };
        let link = async {
            match asker.link {
                Some(link) => self.get_item::<LinkItem>(&Key::link(repo, link)).await,
                None => Ok(None),
            }
        };
        let (meta, member, link) = tokio::try_join!(self.get_item::<MetaItem>(&meta_key), member, link)?;
        let has_link = link.is_some_and(|link| link.expires_at > self.ambient.now());
        let meta = meta.filter(|meta| meta.deleted_at.is_none());
        Ok(meta.map(|meta| Access::of(meta, asker, user_id, member.map(|member| member.role), has_link)))
    }

    async fn lists(&self, repo: &RepoId, need: Load) -> Result<Lists, StoreError> {
        let refs = async {
            if need.heads { self.query::<RefItem>(repo, REF_PREFIX, MAX_BRANCHES).await } else { Ok(Vec::new()) }
        };
        let uploads_key = Key::uploads(repo);
        let uploads = async { if need.uploads { self.get_item::<UploadsItem>(&uploads_key).await } else { Ok(None) } };
        let (refs, (packs, condemned), uploads) = tokio::try_join!(refs, self.needed_packs(repo, need.packs), uploads)?;
        let protected = refs.iter().filter_map(|(name, item)| Some((name.clone(), item.protection?)));
        Ok(Lists {
            protections: protected.collect(),
            heads: refs.into_iter().map(|(name, item)| (name, item.head)).collect(),
            packs,
            condemned,
            has_uploads: uploads.is_some_and(|item| item.expires_at > self.ambient.now()),
        })
    }

    /// The packs and indexes that the items of a repo list.
    pub async fn tables(&self, repo: &RepoId) -> Result<Vec<(PackId, PackSummary)>, StoreError> {
        let listed = self.query::<PackItem>(repo, PACK_PREFIX, MAX_PACKS).await?;
        let pack = |(name, item): (String, PackItem)| {
            let id = PackId::from_string(&name);
            let id = id.map_err(|_| StoreError::Damaged(format!("repo {repo}: pack {name:?} has no ULID")))?;
            Ok((id, item.summary()))
        };
        listed.into_iter().map(pack).collect()
    }
}
