//! The items of a repo: that each can be read, and that they agree with each other.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::catalog::Touched;
use super::finding::{Problem, Remedy};
use super::log::Log;
use super::{Check, Fix, ListedBy, ListedPack};
use common::id::{BranchName, CommitId, Id, Label, ObjectKey};
use common::pack::PackId;
use common::time;
use common::wire::release::{PostedRelease, Release};
use store::StoreError;
use store::deletion::GUARDS;
use store::table::items::{
    CHANGE_PREFIX, COLLECTED, ChangeItem, CollectedItem, DELIVERY_CURSOR_PREFIX, DeliveryCursorItem, FORKING, GARBAGE,
    GUARD_PREFIX, HOOK_PREFIX, HandleItem, HookItem, Item, Key, LINK_PREFIX, LOG_PREFIX, LinkItem, LogItem,
    MEMBER_PREFIX, META, MemberItem, MetaItem, NameItem, PACK_PREFIX, PK, PURGE, PURGED_PREFIX, PooledItem,
    ProfileItem, PurgeItem, PurgedItem, REF_PREFIX, RELEASE_PREFIX, REMOVAL, RefItem, ReleaseItem, SET_ASIDE_PREFIX,
    SK, TAG_PREFIX, TagItem, UploadsItem, Visibility, decode, encode, repo_pk,
};
use store::table::webhooks::secret::HookId;
use store::upkeep::garbage::RETENTION;
use store::uploads::KEPT;

const UPLOADS: &str = "UPLOADS";
const RETIRED_PREFIX: &str = "RETIRED#";
const SWEEP: &str = "SWEEP";
/// Bytes that a release's record may have when it is decompressed; its item has 400 KB.
const MAX_RELEASE_RECORD: u64 = 64 << 20;

pub(super) fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    match item.get(name) {
        Some(AttributeValue::S(text)) => text,
        _ => "",
    }
}

fn keys(key: &Key) -> String {
    format!("{} / {}", key.pk, key.sk)
}

/// The oldest line of the push log: how the repo began.
struct Beginning {
    branch: String,
    at: String,
}

impl Check<'_> {
    pub(super) async fn check_items(&mut self) -> Result<Option<MetaItem>, StoreError> {
        self.report_progress("items", 0, 0);
        self.read_branches().await?;
        self.read_tags().await?;
        self.read_releases().await?;
        let (commits, beginning) = self.read_log().await?;
        let meta = self.check_identity(beginning.as_ref()).await?;
        self.read_packs().await?;
        self.read_the_rest().await?;
        if let Some(meta) = &meta {
            self.check_purged(meta).await?;
            self.check_guards(meta).await?;
        }
        self.logged = commits.into_iter().map(|(line, commit)| (format!("{LOG_PREFIX}{line}"), commit)).collect();
        Ok(meta)
    }

    /// Hands every item of a prefix to `take`, page by page, with the rest of its sort key.
    async fn each(&mut self, prefix: &str, mut take: impl FnMut(&mut Self, &str, Item)) -> Result<(), StoreError> {
        let pk = repo_pk(&self.subject.id);
        let mut after = None;
        loop {
            let page = self.store.items_page(&pk, prefix, after).await?;
            self.counts.items += page.entries.len() as u64;
            for item in page.entries {
                let name = text(&item, SK).strip_prefix(prefix).unwrap_or_default().to_owned();
                take(self, &name, item);
            }
            self.report_progress("items", self.counts.items, 0);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The record of an item, unless it is damaged.
    fn read<T: DeserializeOwned>(&mut self, item: Item, remedy: Remedy) -> Option<T> {
        let keys = format!("{} / {}", text(&item, PK), text(&item, SK));
        match decode(item) {
            Ok(record) => Some(record),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.rsplit(": ").next().unwrap_or_default().to_owned();
                self.find(Problem::ItemUnreadable { item: keys, reason }, remedy, Touched::default());
                None
            }
        }
    }

    fn is_name<N: std::str::FromStr<Err: std::fmt::Display>>(&mut self, prefix: &str, name: &str) -> bool {
        match name.parse::<N>() {
            Ok(_) => true,
            Err(error) => {
                let item = format!("{} / {prefix}{name}", repo_pk(&self.subject.id));
                let problem = Problem::ItemUnreadable { item, reason: error.to_string() };
                self.find(problem, Remedy::Person, Touched::default());
                false
            }
        }
    }

    async fn read_branches(&mut self) -> Result<(), StoreError> {
        self.each(REF_PREFIX, |check, name, item| {
            if check.is_name::<BranchName>(REF_PREFIX, name)
                && let Some(branch) = check.read::<RefItem>(item, Remedy::Person)
            {
                check.names.push((format!("{REF_PREFIX}{name}"), branch.head.clone()));
                check.heads.insert(name.to_owned(), branch.head);
            }
        })
        .await
    }

    async fn read_tags(&mut self) -> Result<(), StoreError> {
        self.each(TAG_PREFIX, |check, name, item| {
            if check.is_name::<Label>(TAG_PREFIX, name)
                && let Some(tag) = check.read::<TagItem>(item, Remedy::Person)
            {
                check.names.push((format!("{TAG_PREFIX}{name}"), tag.commit_id));
            }
        })
        .await
    }

    async fn read_releases(&mut self) -> Result<(), StoreError> {
        self.each(RELEASE_PREFIX, |check, name, item| {
            let Some(release) = check.read::<ReleaseItem>(item, Remedy::Person) else {
                return;
            };
            let name = format!("{RELEASE_PREFIX}{name}");
            if let Err(reason) = is_release(&name, &release) {
                let item = format!("{} / {name}", repo_pk(&check.subject.id));
                check.find(Problem::ItemContradicts { item, reason }, Remedy::Person, Touched::default());
            }
            check.names.push((name, release.commit_id));
        })
        .await
    }

    /// Reads the push log, and compares it with the branches. Gives the commits that its lines name which are not too old,
    /// each with one line.
    async fn read_log(&mut self) -> Result<(Vec<(String, CommitId)>, Option<Beginning>), StoreError> {
        let mut log = Log::default();
        let mut commits: Vec<(String, CommitId)> = Vec::new();
        let mut seen: HashSet<CommitId> = HashSet::new();
        let mut beginning = None;
        let collected = self.store.get_item::<CollectedItem>(&Key::collected(&self.subject.id)).await?;
        let retained = time::before(self.store.ambient().now(), RETENTION);
        let retained = collected.map_or(retained, |item| item.log_kept_since.max(retained));
        self.each(LOG_PREFIX, |check, name, item| {
            let Some(line) = check.read::<LogItem>(item, Remedy::Person) else {
                return;
            };
            log.add(&line);
            if beginning.is_none() {
                beginning = Some(Beginning { branch: line.branch.to_string(), at: line.at.clone() });
            }
            let written = ulid::Ulid::from_string(name).map_or(Timestamp::UNIX_EPOCH, time::drawn);
            if written >= retained {
                for commit in line.before.into_iter().chain([line.after]) {
                    if seen.insert(commit.clone()) {
                        commits.push((name.to_owned(), commit));
                    }
                }
            }
        })
        .await?;
        for (branch, problem) in log.problems(&self.heads) {
            // A branch that was pushed while the log was read is not where it was, and says nothing.
            let Ok(name) = branch.parse::<BranchName>() else { continue };
            let key = Key::branch(&self.subject.id, &name);
            let now = self.store.item(&key).await?;
            let head = now.clone().and_then(|item| decode::<RefItem>(item).ok()).map(|branch| branch.head);
            if head.as_ref() != self.heads.get(&branch) {
                continue;
            }
            let mut remedy = Remedy::Person;
            if let Problem::BranchMissing { head, .. } = &problem {
                remedy = Remedy::Repair;
                self.names.push((key.sk.clone(), head.clone()));
                let again = RefItem {
                    head: head.clone(),
                    updated_at: self.store.ambient().now_iso(),
                    updated_by: "fsck".to_owned(),
                    protection: self.store.noted_protection(&self.subject.id, &name).await?,
                };
                self.diagnosis.fixes.push(Fix { item: encode(&key, &again)?, seen: now });
            }
            self.find(problem, remedy, Touched::default());
        }
        Ok((commits, beginning))
    }

    async fn read_packs(&mut self) -> Result<(), StoreError> {
        self.each(PACK_PREFIX, |check, name, item| {
            if check.is_name::<PackId>(PACK_PREFIX, name)
                && let Ok(id) = PackId::from_string(name)
            {
                check.packs.push(ListedPack { id, by: ListedBy::Item(item) });
            }
        })
        .await
    }

    /// What is under no prefix that was read so far.
    async fn read_the_rest(&mut self) -> Result<(), StoreError> {
        const READ: [&str; 5] = [REF_PREFIX, TAG_PREFIX, RELEASE_PREFIX, LOG_PREFIX, PACK_PREFIX];
        let counted = self.counts.items;
        let mut others = 0;
        self.each("", |check, name, item| {
            if READ.iter().any(|prefix| name.starts_with(prefix)) {
                return;
            }
            others += 1;
            match name {
                META => {}
                UPLOADS => {
                    if check.read::<UploadsItem>(item.clone(), Remedy::Repair).is_none() {
                        let key = Key::uploads(&check.subject.id);
                        // As if objects had been expected to come just now.
                        let expires_at = time::after(check.store.ambient().now(), KEPT);
                        let right = encode(&key, &UploadsItem { expires_at });
                        check.diagnosis.fixes.extend(right.map(|right| Fix { item: right, seen: Some(item) }));
                    }
                }
                _ if name.starts_with(MEMBER_PREFIX) => drop(check.read::<MemberItem>(item, Remedy::Person)),
                _ if name.starts_with(LINK_PREFIX) => drop(check.read::<LinkItem>(item, Remedy::Person)),
                _ if let Some(hook) = name.strip_prefix(HOOK_PREFIX) => {
                    if check.is_name::<HookId>(HOOK_PREFIX, hook) {
                        check.read::<HookItem>(item, Remedy::Person);
                    }
                }
                _ if name.starts_with(DELIVERY_CURSOR_PREFIX) => {
                    drop(check.read::<DeliveryCursorItem>(item, Remedy::Person))
                }
                _ if let Some(pack) = name.strip_prefix(SET_ASIDE_PREFIX) => {
                    if let Ok(pack) = PackId::from_string(pack) {
                        check.set_aside.push(pack);
                        check.find(Problem::PackSetAside { pack }, Remedy::Nothing, Touched::default());
                    }
                }
                _ if name.starts_with(CHANGE_PREFIX) => drop(check.read::<ChangeItem>(item, Remedy::Person)),
                _ if let Some(object) = name.strip_prefix(PURGED_PREFIX) => {
                    if check.is_name::<Id>(PURGED_PREFIX, object)
                        && let Ok(id) = object.parse::<Id>()
                        && let Some(purged) = check.read::<PurgedItem>(item, Remedy::Person)
                    {
                        check.purged.insert(ObjectKey::from(id), purged);
                    }
                }
                PURGE => check.is_being_erased = check.read::<PurgeItem>(item, Remedy::Person).is_some(),
                COLLECTED => drop(check.read::<CollectedItem>(item, Remedy::Person)),
                // What compaction has merged, and when to delete it; when to look for garbage; when to remove the repo.
                SWEEP | GARBAGE | REMOVAL | FORKING => {}
                _ if name.starts_with(GUARD_PREFIX) => check.guards += 1,
                _ if name.starts_with(RETIRED_PREFIX) => {
                    item.values().for_each(|value| texts(value, &mut check.said_elsewhere));
                }
                _ => {
                    let keys = format!("{} / {name}", repo_pk(&check.subject.id));
                    item.values().for_each(|value| texts(value, &mut check.said_elsewhere));
                    check.find(Problem::ItemUnknown { item: keys }, Remedy::Nothing, Touched::default());
                }
            }
        })
        .await?;
        self.counts.items = counted + others;
        Ok(())
    }

    /// Whether a repo has the guards of a deleted one if it is deleted, and none if it is not: then no push would land.
    async fn check_guards(&mut self, meta: &MetaItem) -> Result<(), StoreError> {
        let expected = if meta.deleted_at.is_some() { GUARDS } else { 0 };
        if self.guards == expected {
            return Ok(());
        }
        // It may have been deleted or undeleted since.
        let now = self.store.get_item::<MetaItem>(&Key::meta(&self.subject.id)).await?;
        if now.is_some_and(|now| now.deleted_at == meta.deleted_at) {
            let reason = format!("{} guards of a deleted repository are there, and {expected} have to be", self.guards);
            let item = keys(&Key::guard(&self.subject.id, 0));
            self.find(Problem::ItemContradicts { item, reason }, Remedy::Person, Touched::default());
        }
        Ok(())
    }

    /// What was purged, and whether the repo's item about itself counts it right: with more than there is, no request is answered.
    async fn check_purged(&mut self, meta: &MetaItem) -> Result<(), StoreError> {
        for (object, PurgedItem { at, by, reason }) in self.purged.clone() {
            self.find(Problem::ObjectPurged { object, at, by, reason }, Remedy::Nothing, Touched::default());
        }
        let count = self.purged.len() as u64;
        if meta.purged.unwrap_or_default() > count {
            let key = Key::meta(&self.subject.id);
            let reason = format!("it counts more objects that were purged than the {count} that have an item");
            let right = MetaItem { purged: Some(count).filter(|count| *count > 0), ..meta.clone() };
            let seen = self.store.item(&key).await?;
            self.diagnosis.fixes.push(Fix { item: encode(&key, &right)?, seen });
            self.find(Problem::ItemContradicts { item: keys(&key), reason }, Remedy::Repair, Touched::default());
        }
        Ok(())
    }

    /// Finds what S3 has of objects that were purged under this key.
    pub(super) fn find_purged<'o>(&mut self, key: &str, objects: impl IntoIterator<Item = &'o ObjectKey>) {
        let held: BTreeSet<ObjectKey> =
            objects.into_iter().filter(|object| self.purged.contains_key(object)).cloned().collect();
        for object in held {
            let (key, is_being_erased) = (key.to_owned(), self.is_being_erased);
            let remedy = if is_being_erased { Remedy::Nothing } else { Remedy::Person };
            self.find(Problem::PurgedHeld { object, key, is_being_erased }, remedy, Touched::default());
        }
    }

    /// The items that say who the repo is, each against the others.
    async fn check_identity(&mut self, beginning: Option<&Beginning>) -> Result<Option<MetaItem>, StoreError> {
        let key = Key::meta(&self.subject.id);
        let seen = self.store.item(&key).await?;
        let is_there = seen.is_some();
        let meta = match seen.clone() {
            Some(item) => self.read::<MetaItem>(item, Remedy::Repair),
            None => None,
        };
        let Some(meta) = meta else {
            if !is_there {
                let reason = "the name of the repository leads to it".to_owned();
                self.find(Problem::ItemMissing { item: keys(&key), reason }, Remedy::Repair, Touched::everything());
            }
            self.rebuild_meta(seen, beginning).await?;
            return Ok(None);
        };
        if let Some((owner, slug)) = &self.subject.name
            && !meta.is_called(owner, slug)
        {
            let reason = format!("it is called {}/{}, and the name {owner}/{slug} leads to it", meta.owner, meta.slug);
            let problem = Problem::ItemContradicts { item: keys(&key), reason };
            self.find(problem, Remedy::Person, Touched::everything());
        }
        if meta.first_pushed_at.is_none()
            && let Some(beginning) = beginning
        {
            let reason = "the push log says that it was pushed to".to_owned();
            let right = MetaItem {
                first_pushed_at: Some(beginning.at.clone()),
                default_branch: beginning.branch.clone(),
                ..meta.clone()
            };
            self.diagnosis.fixes.push(Fix { item: encode(&key, &right)?, seen });
            self.find(Problem::ItemContradicts { item: keys(&key), reason }, Remedy::Repair, Touched::default());
        }

        let id = &self.subject.id.clone();
        let name = NameItem { repo_id: id.clone() };
        for key in meta.name_keys().chain([Key::owned(&meta.owner_user_id, &meta.slug)]) {
            let wrong = |found: &NameItem| {
                (found.repo_id != *id).then(|| format!("it leads to the repository {}", found.repo_id.as_str()))
            };
            self.check_item(&key, &name, wrong, "the repository says that this is its name, or was").await?;
        }
        let handle = HandleItem { user_id: meta.owner_user_id.clone() };
        let wrong = |found: &HandleItem| {
            (found.user_id != meta.owner_user_id).then(|| format!("it is the handle of {}", found.user_id))
        };
        self.check_item(&Key::handle(&meta.owner), &handle, wrong, "a repository's owner has this handle").await?;
        let profile = ProfileItem {
            handle: meta.owner.clone(),
            display_name: String::new(),
            created_at: meta.created_at.clone(),
        };
        let wrong = |found: &ProfileItem| {
            (found.handle != meta.owner).then(|| format!("its handle is {}, and not {}", found.handle, meta.owner))
        };
        self.check_item(&Key::profile(&meta.owner_user_id), &profile, wrong, "this user owns a repository").await?;
        let id = self.subject.id.clone();
        if id.is_fork() {
            let pooled = PooledItem { since: meta.created_at.clone(), made_for: meta.owner_user_id.clone() };
            let reason = "by it those that share files with this fork know of it";
            self.check_item(&Key::pooled(&id), &pooled, |_| None, reason).await?;
        }
        Ok(Some(meta))
    }

    /// Checks an item whose content is known.
    async fn check_item<T: DeserializeOwned + serde::Serialize>(
        &mut self,
        key: &Key,
        right: &T,
        wrong: impl Fn(&T) -> Option<String>,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.counts.items += 1;
        let seen = self.store.item(key).await?;
        match seen.clone() {
            None => {
                let problem = Problem::ItemMissing { item: keys(key), reason: reason.to_owned() };
                self.find(problem, Remedy::Repair, Touched::default());
            }
            Some(item) => match self.read::<T>(item, Remedy::Repair) {
                None => {}
                Some(found) => {
                    if let Some(reason) = wrong(&found) {
                        let problem = Problem::ItemContradicts { item: keys(key), reason };
                        self.find(problem, Remedy::Person, Touched::default());
                    }
                    return Ok(());
                }
            },
        }
        self.diagnosis.fixes.push(Fix { item: encode(key, right)?, seen });
        Ok(())
    }

    /// What the repo's item about itself most probably said. Only its owner can see the repo until they say otherwise.
    async fn rebuild_meta(&mut self, seen: Option<Item>, beginning: Option<&Beginning>) -> Result<(), StoreError> {
        let Some((owner, slug)) = self.subject.name.clone() else {
            return Ok(());
        };
        let handle = self.store.item(&Key::handle(&owner)).await?;
        let Some(handle) = handle.and_then(|item| decode::<HandleItem>(item).ok()) else {
            return Ok(());
        };
        let made = ulid::Ulid::from_string(self.subject.id.own()).map_or(Timestamp::UNIX_EPOCH, time::drawn);
        let branch = |beginning: &Beginning| beginning.branch.clone();
        let meta = MetaItem {
            name: slug.to_string(),
            owner,
            slug,
            owner_user_id: handle.user_id,
            visibility: Visibility::Private,
            domain: String::new(),
            description: String::new(),
            default_branch: beginning.map_or_else(|| "main".to_owned(), branch),
            default_is_chosen: false,
            created_at: time::iso(made),
            first_pushed_at: beginning.map(|beginning| beginning.at.clone()),
            is_made_by_push: false,
            first_head: None,
            purged: Some(self.store.list_purged(&self.subject.id).await?.len() as u64).filter(|count| *count > 0),
            former_slugs: BTreeSet::new(),
            quota_bytes: None,
            counted_bytes: None,
            deleted_at: None,
            removing_since: None,
            forked_from: None,
        };
        let item = encode(&Key::meta(&self.subject.id), &meta)?;
        self.diagnosis.fixes.push(Fix { item, seen });
        Ok(())
    }

    pub(super) fn check_default_branch(&mut self, meta: &MetaItem) {
        // One that was chosen may be pushed later.
        let has_to_be_there = meta.first_pushed_at.is_some() && !meta.default_is_chosen;
        if has_to_be_there && !self.names.iter().any(|(name, _)| is_branch(name, &meta.default_branch)) {
            let reason = format!("its default branch {} is not there", meta.default_branch);
            let item = keys(&Key::meta(&self.subject.id));
            self.find(Problem::ItemContradicts { item, reason }, Remedy::Person, Touched::default());
        }
    }
}

fn is_branch(name: &str, branch: &str) -> bool {
    name.strip_prefix(REF_PREFIX) == Some(branch)
}

/// Whether a release's item holds the release that its key and its attributes name.
fn is_release(name: &str, item: &ReleaseItem) -> Result<(), String> {
    if item.size > MAX_RELEASE_RECORD {
        return Err(format!("its record would have {} bytes", item.size));
    }
    let record = zstd::bulk::decompress(&item.record, usize::try_from(item.size).unwrap_or_default());
    let record = record.map_err(|error| format!("its record cannot be decompressed: {error}"))?;
    if record.len() as u64 != item.size {
        return Err(format!("its record has {} bytes instead of {}", record.len(), item.size));
    }
    let posted: PostedRelease = rmp_serde::from_slice(&record).map_err(|error| format!("its record: {error}"))?;
    let release = Release::check(posted, "", "", "").map_err(|error| format!("its record: {error}"))?;
    if release.commit != item.commit_id {
        return Err(format!("its record names the commit {}", release.commit.as_ref()));
    }
    if name.strip_prefix(RELEASE_PREFIX) != Some(release.tag.as_str()) {
        return Err(format!("its record is the release {}", release.tag));
    }
    Ok(())
}

/// Every text in an attribute, at any depth.
fn texts(value: &AttributeValue, found: &mut Vec<String>) {
    match value {
        AttributeValue::S(text) => found.push(text.clone()),
        AttributeValue::Ss(texts) => found.extend(texts.iter().cloned()),
        AttributeValue::L(list) => list.iter().for_each(|value| texts(value, found)),
        AttributeValue::M(map) => {
            found.extend(map.keys().cloned());
            map.values().for_each(|value| texts(value, found));
        }
        _ => {}
    }
}
