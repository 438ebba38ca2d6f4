//! Whether a repo is whole: every item of the table, every byte of the bucket, and every reference between them.
//!
//! A check goes through the repo in this order, so that what lands meanwhile is not taken for damage: branches, tags,
//! releases and the push log; the list of packs; what S3 lists; then the packs one by one, and at last the manifests of
//! snapshots. It reads as a stream, and holds what one pack lists and a few mebibytes of frames.
//!
//! A first look ends at the first damage. It finds references in the tables (`references`), so its memory hardly
//! depends on how many records there are. Only if something is damaged does a second look begin. It knows the ids of
//! all records ([`catalog`]), and so can say what depends on what.
//!
//! - [`finding`] is what it finds, as data.
//! - `items` checks the table, [`log`] what the push log says of branches.
//! - `indexes` checks indexes, `packs` checks packs and large objects; [`frames`] reads their frames, [`record`] holds a record against its id.
//! - `manifests` checks what snapshots name. `unlisted` looks through what nothing names.
//! - [`repair`] repairs what can be repaired.
//!
//! Without `deep`, packs' footers and sections are read, and of all else in S3 the size is compared; manifests are read
//! only when something is wrong already, to say what depends on it. With it, every byte is.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod catalog;
pub mod finding;
pub mod frames;
mod indexes;
mod items;
pub mod log;
mod manifests;
mod packs;
pub mod record;
mod references;
pub mod repair;
mod unlisted;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use catalog::{Catalog, RecordId, Touched};
use common::id::Ids;
use common::id::{CommitId, ObjectKey, RepoId, Slug, SnapshotId};
use common::pack::{PackId, PackSummary};
use finding::{Finding, Problem, Remedy, Severity};
use store::table::items::{Item, Key, MetaItem, NameItem, PurgedItem, REF_PREFIX, decode};
use store::upkeep::index::Index;
use store::{Store, StoreError};

/// Findings that a report names. What is beyond is counted.
pub const MAX_FINDINGS: usize = 10_000;
/// How often a check begins again because packs that it had listed were replaced meanwhile.
const ATTEMPTS: usize = 3;

/// How to check.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether every byte is read.
    pub is_deep: bool,
    /// Whether ids are hashes in this hub.
    pub ids: Ids,
}

/// How far a check is.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What it is at.
    pub what: &'static str,
    /// How much of that is done.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
}

/// Where the progress of a check goes.
pub type Progress<'w> = &'w (dyn Fn(Step) + Send + Sync);

/// A repo that is to be checked: its id, and its name if it was found by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The repo.
    pub id: RepoId,
    /// `<owner>` and `<slug>`.
    pub name: Option<(Slug, Slug)>,
}

/// What a check has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Items of the table.
    pub items: u64,
    /// Packs.
    pub packs: u64,
    /// Different commits.
    pub commits: u64,
    /// Different snapshots.
    pub snapshots: u64,
    /// Different objects.
    pub objects: u64,
    /// Large objects.
    pub large: u64,
    /// Bytes in S3 that the repo consists of.
    pub bytes: u64,
    /// Bytes that were read from S3.
    pub bytes_read: u64,
    /// S3 objects that nothing names.
    pub garbage: u64,
    /// Bytes of those.
    pub garbage_bytes: u64,
    /// Records whose hash was not recomputed, because ids are opaque in this hub.
    pub unhashed: u64,
}

/// What a check came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The repo.
    pub repo_id: RepoId,
    /// `owner/slug`, as far as it is known.
    pub name: Option<String>,
    /// Whether every byte was read.
    pub is_deep: bool,
    /// What was looked at.
    pub counts: Counts,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// Findings beyond [`MAX_FINDINGS`].
    pub more_findings: u64,
    /// What was not checked, each with its reason.
    pub skipped: Vec<String>,
    /// What a repair has to know.
    #[serde(skip)]
    pub(crate) diagnosis: Diagnosis,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.more_findings == 0 && self.findings.iter().all(|finding| finding.severity < Severity::Damage)
    }
}

/// What a repair has to know of a repo.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    /// All records.
    pub catalog: Catalog,
    /// Packs that are listed.
    pub listed: BTreeMap<PackId, PackSummary>,
    /// Those of them that are damaged, and whether what they list is known.
    pub damaged: BTreeMap<PackId, bool>,
    /// Indexes whose packs are known.
    pub indexes: Vec<Index>,
    /// Those that are damaged, with what their items say.
    pub damaged_indexes: BTreeMap<PackId, PackSummary>,
    /// Packs that are not listed and hold something that is missing.
    pub unlisted: Vec<PackId>,
    /// Whether other repos share files with this one, so that what it does not list may be theirs.
    pub shares_files: bool,
    /// Records that are named and of which there is no whole copy.
    pub wanted: Wanted,
    /// Objects that have to be listed as reached.
    pub unseen: Vec<ObjectKey>,
    /// Items whose right content is known.
    pub fixes: Vec<Fix>,
}

/// Records that are named and of which there is no whole copy.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub commits: HashSet<CommitId>,
    /// Each with a commit that names it.
    pub snapshots: HashMap<SnapshotId, Option<CommitId>>,
    /// Each with whether only snapshots that no branch has reached name it.
    pub objects: HashMap<ObjectKey, bool>,
}

impl Wanted {
    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.snapshots.is_empty() && self.objects.is_empty()
    }

    pub(crate) fn contains(&self, record: &RecordId) -> bool {
        match record {
            RecordId::Commit(id) => self.commits.contains(id),
            RecordId::Snapshot(id) => self.snapshots.contains_key(id),
            RecordId::Object(key) => self.objects.contains_key(key),
        }
    }
}

/// An item whose right content is known.
#[derive(Debug, Clone)]
pub(crate) struct Fix {
    /// What has to be there.
    pub item: Item,
    /// What is there now.
    pub seen: Option<Item>,
}

/// A finding whose dependents are not worked out yet.
#[derive(Debug)]
struct Pending {
    problem: Problem,
    remedy: Remedy,
    touched: Touched,
}

/// A pack that is listed.
#[derive(Debug)]
struct ListedPack {
    id: PackId,
    by: ListedBy,
}

/// What lists a pack.
#[derive(Debug)]
enum ListedBy {
    /// Its item.
    Item(Item),
    /// An index, which says this of it.
    Index(PackId, PackSummary),
}

/// A check under way.
struct Check<'c> {
    store: &'c Arc<Store>,
    subject: Subject,
    options: Options,
    progress: Progress<'c>,
    counts: Counts,
    pending: Vec<Pending>,
    more: u64,
    heads: BTreeMap<String, CommitId>,
    /// The sort keys of branches, tags and releases, with their commits.
    names: Vec<(String, CommitId)>,
    /// Commits that the push log names, each with the sort key of a line.
    logged: Vec<(String, CommitId)>,
    packs: Vec<ListedPack>,
    /// The names of those, in order: a pack's number is its position here.
    order: Vec<PackId>,
    set_aside: Vec<PackId>,
    /// What was purged.
    purged: BTreeMap<ObjectKey, PurgedItem>,
    /// Whether its bytes are being erased.
    is_being_erased: bool,
    /// How many guards of a deleted repo there are.
    guards: usize,
    /// What items of unknown kinds name. None of it counts as garbage.
    said_elsewhere: Vec<String>,
    /// The keys of packs and indexes that no other repo needs.
    unneeded: HashSet<String>,
    /// Packs that S3 has, with their sizes.
    stored_packs: BTreeMap<PackId, u64>,
    /// Indexes that S3 has, with their sizes.
    stored_indexes: BTreeMap<PackId, u64>,
    /// Other S3 objects of the repo, with their sizes: large objects, until packs have named them.
    stored_objects: BTreeMap<String, u64>,
    /// The snapshots that name an object which some finding touches.
    named_by: HashMap<ObjectKey, Vec<SnapshotId>>,
    diagnosis: Diagnosis,
    look: Look,
}

/// How a check looks at a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Until the first damage, without a catalog.
    First,
    /// At all of it, with a catalog.
    Whole,
}

/// The repo of a name, even if half of what says so is gone: none when nothing says that there is one.
///
/// # Errors
/// When the table does not answer.
pub async fn find(store: &Store, owner: &Slug, slug: &Slug) -> Result<Option<Subject>, StoreError> {
    let id_of = |item: Option<Item>| item.and_then(|item| decode::<NameItem>(item).ok()).map(|name| name.repo_id);
    let mut id = id_of(store.item(&Key::name(owner, slug)).await?);
    if id.is_none() {
        let handle = store.item(&Key::handle(owner)).await?;
        let handle = handle.and_then(|item| decode::<store::table::items::HandleItem>(item).ok());
        if let Some(handle) = handle {
            id = id_of(store.item(&Key::owned(&handle.user_id, slug)).await?);
        }
    }
    Ok(id.map(|id| Subject { id, name: Some((owner.clone(), slug.clone())) }))
}

/// Checks a repo.
///
/// # Errors
/// When a store does not answer; and [`StoreError::Unavailable`] when the repo's packs are replaced faster than they can be
/// read.
pub async fn check(
    store: &Arc<Store>,
    subject: &Subject,
    options: Options,
    progress: Progress<'_>,
) -> Result<Report, StoreError> {
    let meta = store.item(&Key::meta(&subject.id)).await?.and_then(|item| decode::<MetaItem>(item).ok());
    if meta.is_some_and(|meta| meta.removing_since.is_some()) {
        let mut report = Check::new(store, subject, options, progress, Look::First).report();
        report.skipped = vec!["anything: the repository was deleted, and is being removed".to_owned()];
        return Ok(report);
    }
    let mut first = Check::new(store, subject, options, progress, Look::First);
    if first.is_whole().await? {
        return Ok(first.report());
    }
    for _ in 0..ATTEMPTS {
        let mut check = Check::new(store, subject, options, progress, Look::Whole);
        check.run().await?;
        if check.has_damage() && check.was_rewritten().await? {
            continue;
        }
        return Ok(check.report());
    }
    Err(StoreError::Unavailable("the packs of the repository were replaced while they were read: try again".into()))
}

impl<'c> Check<'c> {
    fn new(store: &'c Arc<Store>, subject: &Subject, options: Options, progress: Progress<'c>, look: Look) -> Self {
        Self {
            store,
            subject: subject.clone(),
            options,
            progress,
            counts: Counts::default(),
            pending: Vec::new(),
            more: 0,
            heads: BTreeMap::new(),
            names: Vec::new(),
            logged: Vec::new(),
            packs: Vec::new(),
            order: Vec::new(),
            set_aside: Vec::new(),
            purged: BTreeMap::new(),
            is_being_erased: false,
            guards: 0,
            said_elsewhere: Vec::new(),
            unneeded: HashSet::new(),
            stored_packs: BTreeMap::new(),
            stored_indexes: BTreeMap::new(),
            stored_objects: BTreeMap::new(),
            named_by: HashMap::new(),
            diagnosis: Diagnosis::default(),
            look,
        }
    }

    /// Looks until the first damage. Whether there is none: then nothing else will be found.
    async fn is_whole(&mut self) -> Result<bool, StoreError> {
        let meta = self.check_items().await?;
        self.list_stored().await?;
        self.open_indexes().await?;
        self.check_packs().await?;
        if self.has_damage() {
            return Ok(false);
        }
        self.check_indexes().await?;
        self.take_names(meta.as_ref());
        if self.has_damage() || !self.are_references_whole().await? {
            return Ok(false);
        }
        self.look_through_unlisted().await?;
        Ok(!self.has_damage())
    }

    async fn run(&mut self) -> Result<(), StoreError> {
        let meta = self.check_items().await?;
        self.list_stored().await?;
        self.open_indexes().await?;
        self.check_packs().await?;
        self.check_indexes().await?;
        self.check_names(meta.as_ref());
        self.check_graph();
        if self.reads_manifests() {
            self.check_manifests(None).await?;
        }
        self.want_what_is_lost();
        self.look_through_unlisted().await
    }

    fn reads_manifests(&self) -> bool {
        self.options.is_deep || self.has_damage() || self.has_unlisted_packs()
    }

    fn has_damage(&self) -> bool {
        self.more > 0 || self.pending.iter().any(|pending| pending.problem.severity() == Severity::Damage)
    }

    fn has_unlisted_packs(&self) -> bool {
        self.stored_packs.keys().any(|pack| self.is_unlisted(pack))
    }

    fn find(&mut self, problem: Problem, remedy: Remedy, touched: Touched) {
        if self.pending.len() < MAX_FINDINGS {
            self.pending.push(Pending { problem, remedy, touched });
        } else {
            self.more += u64::from(problem.severity() == Severity::Damage);
        }
    }

    fn report_progress(&self, what: &'static str, done: u64, total: u64) {
        (self.progress)(Step { what, done, total });
    }

    /// Whether a pack that was listed is listed no more: then what was read of it says nothing.
    async fn was_rewritten(&self) -> Result<bool, StoreError> {
        let index_of = |pack: &PackId| {
            let is_of = |index: &&Index| index.packs.iter().any(|(of_index, _)| of_index == pack);
            self.diagnosis.indexes.iter().find(is_of).map_or(*pack, |index| index.name)
        };
        let packs = self.diagnosis.damaged.keys().map(index_of);
        for listed in packs.chain(self.diagnosis.damaged_indexes.keys().copied()) {
            if self.store.item(&Key::pack(&self.subject.id, listed)).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the commits name.
    fn check_graph(&mut self) {
        if !self.options.ids.are_checked() {
            // Opaque ids may name parents and snapshots long before they come, or for ever.
            return;
        }
        for (commit, child) in self.diagnosis.catalog.missing_parents() {
            let touched = Touched::records([RecordId::Commit(commit.clone())]);
            self.diagnosis.wanted.commits.insert(commit.clone());
            self.find(Problem::CommitMissing { commit, child }, Remedy::Clone, touched);
        }
        for (snapshot, commit) in self.diagnosis.catalog.missing_snapshots() {
            let touched = Touched::records([RecordId::Snapshot(snapshot.clone())]);
            self.diagnosis.wanted.snapshots.insert(snapshot.clone(), Some(commit.clone()));
            self.find(Problem::SnapshotMissing { snapshot, commit }, Remedy::Clone, touched);
        }
    }

    /// Wants every record all of whose copies were found damaged.
    fn want_what_is_lost(&mut self) {
        let Diagnosis { catalog, wanted, .. } = &mut self.diagnosis;
        for record in catalog.lost() {
            match record {
                RecordId::Commit(id) => drop(wanted.commits.insert(id)),
                RecordId::Snapshot(id) => drop(wanted.snapshots.entry(id).or_default()),
                RecordId::Object(key) => {
                    let is_staged = !catalog.is_reached(&key);
                    wanted.objects.entry(key).or_insert(is_staged);
                }
            }
        }
    }

    fn report(mut self) -> Report {
        let touched: Vec<Touched> =
            self.pending.iter_mut().map(|pending| std::mem::take(&mut pending.touched)).collect();
        let catalog = &self.diagnosis.catalog;
        let dependents = catalog.dependents(&touched, &self.named_by, &self.names, REF_PREFIX);
        let is_lost = !self.diagnosis.wanted.is_empty();
        let finding = |(pending, depends): (Pending, finding::Dependents)| {
            // What a pack held that cannot be opened is known from what is missing.
            let is_closed = matches!(pending.problem, Problem::PackMissing { .. } | Problem::PackSize { .. });
            let remedy = if is_closed && is_lost { Remedy::Clone } else { pending.remedy };
            Finding { severity: pending.problem.severity(), problem: pending.problem, depends, remedy }
        };
        let mut findings: Vec<Finding> = self.pending.into_iter().zip(dependents).map(finding).collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let mut skipped = Vec::new();
        if !self.options.is_deep {
            skipped.push("the bytes of frames and large objects: --deep reads them".to_owned());
        }
        if !self.options.ids.are_checked() {
            skipped.push(format!(
                "the hashes of {} records, and parents and snapshots that are named and not there: ids are opaque in \
                 this hub",
                self.counts.unhashed
            ));
        }
        if self.look == Look::Whole {
            (self.counts.commits, self.counts.snapshots, self.counts.objects) = catalog.len();
        }
        Report {
            repo_id: self.subject.id,
            name: self.subject.name.map(|(owner, slug)| format!("{owner}/{slug}")),
            is_deep: self.options.is_deep,
            counts: self.counts,
            findings,
            more_findings: self.more,
            skipped,
            diagnosis: self.diagnosis,
        }
    }

    /// Leaves the names that have to name a commit that there is.
    fn take_names(&mut self, meta: Option<&MetaItem>) {
        if let Some(meta) = meta {
            self.check_default_branch(meta);
        }
        if !self.options.ids.are_checked() {
            // Only a branch is sure to name a commit that there is.
            self.names.retain(|(name, _)| name.starts_with(REF_PREFIX));
            self.logged.clear();
        }
    }

    /// Compares branches, tags and releases with the commits that there are.
    fn check_names(&mut self, meta: Option<&MetaItem>) {
        self.take_names(meta);
        let logged = std::mem::take(&mut self.logged);
        for (name, commit) in self.names.clone().into_iter().chain(logged) {
            let record = RecordId::Commit(commit.clone());
            if self.diagnosis.catalog.copies(&record).is_none() {
                self.diagnosis.wanted.commits.insert(commit.clone());
                self.find(Problem::NameDangling { name, commit }, Remedy::Clone, Touched::records([record]));
            }
        }
    }
}
