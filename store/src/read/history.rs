//! Questions about the history of a repo, answered from as few pages of its graphs as can be.
//!
//! The pure walk of [`Partial`] says which commits it lacks. They are loaded by the page, each time twice as many pages
//! as before, so a walk takes a number of steps that grows with the logarithm of its length, and reads at most twice
//! what it needs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::StoreError;
use crate::compute;
use crate::read::view::{View, graph_page};
use common::graph::{Asked, Difference, NewCommit, Partial};
use common::id::CommitId;
use common::location::KnownCommit;
use common::table::Section;

/// Pages that are loaded at once while a walk goes on.
const PAGES_AT_ONCE: u64 = 128;
/// Pages that are loaded in front of one that a list for people needs, at most.
const MOST_AHEAD: u64 = 4;
/// With fewer ids had than this, all are looked up.
const FEW_HAD: usize = 256;
/// So are they all in a repo of fewer commits than this.
const FEW_COMMITS: u64 = 10_000;
/// And where more commits than this would be sent.
const MUCH_TO_SEND: usize = 64;

/// What a client lacks.
#[derive(Debug, Clone, Default)]
pub struct Lacking {
    /// The commits, parents first.
    pub commits: Vec<(CommitId, KnownCommit)>,
    /// Their parents that the client has, each once.
    pub boundary: Vec<(CommitId, KnownCommit)>,
    /// Their parents that are neither sent nor had, each once: where a depth has cut the history off.
    pub cut: Vec<CommitId>,
    /// Commits that some of them name as a parent and that are not there, each with one that names it.
    pub lost: Vec<(CommitId, CommitId)>,
}

/// A part of a history for people: each commit before its parents.
#[derive(Debug, Clone, Default)]
pub struct Newest {
    /// The commits.
    pub commits: Vec<(CommitId, KnownCommit)>,
    /// Commits that the list goes on with: parents that it names and does not have, and tips that it did not come to.
    pub open: Vec<CommitId>,
}

/// The part of a repo's history that some questions have loaded.
pub struct History<'v> {
    view: &'v View,
    loaded: Partial<CommitId, KnownCommit>,
    /// Where commits are that are not loaded: table and position in its graph.
    hints: HashMap<CommitId, (usize, u32)>,
    /// Pages to load with the next that is lacking.
    ahead: u64,
    /// How many commits may be loaded before a question is given up.
    most: usize,
}

impl View {
    /// Begins to ask about the history.
    pub fn history(&self) -> History<'_> {
        self.history_within(usize::MAX)
    }

    /// The same with a bound on the commits that are loaded.
    pub fn history_within(&self, most: usize) -> History<'_> {
        History { view: self, loaded: Partial::default(), hints: HashMap::new(), ahead: 1, most }
    }
}

impl History<'_> {
    /// The commits that can be reached from `want` and not from `have`. Ids that the repo lacks are ignored in both.
    ///
    /// Clients name all commits that they have, many thousands, with all the ancestors of those. Such a list is not
    /// looked up: a commit counts as had when the walk meets it, and the result is the same. A client that leaves
    /// ancestors out and names more than 256 commits of a repo of more than 10,000 may get up to 64 commits that it has
    /// already.
    ///
    /// # Errors
    /// When S3 does not answer, or a table is damaged, as all of these.
    pub async fn difference(&mut self, want: &[CommitId], have: &HashSet<CommitId>) -> Result<Lacking, StoreError> {
        self.difference_within(want, have, None).await
    }

    /// The same, with only those commits that are fewer than `depth` steps to a parent away from a wanted one. No more
    /// of the history is loaded than that, and than what decides whether the client has it.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn difference_within(
        &mut self,
        want: &[CommitId],
        have: &HashSet<CommitId>,
        depth: Option<usize>,
    ) -> Result<Lacking, StoreError> {
        self.load(want).await?;
        let is_known = have.len() <= FEW_HAD || self.view.commit_count().await? <= FEW_COMMITS;
        if !is_known {
            let met = self.difference_met(want, have, depth).await?;
            if met.commits.len() <= MUCH_TO_SEND {
                return Ok(met);
            }
        }
        let have: Vec<CommitId> = have.iter().cloned().collect();
        self.load(&have).await?;
        let found = self.answer(|loaded| {
            let found = loaded.difference(want, &have, |_| false, depth);
            map(found, |found| owned(loaded, &found))
        });
        Ok(found.await?.unwrap_or_default())
    }

    /// The same where commits that are had are not looked up: they count when the walk meets them.
    async fn difference_met(
        &mut self,
        want: &[CommitId],
        have: &HashSet<CommitId>,
        depth: Option<usize>,
    ) -> Result<Lacking, StoreError> {
        let met = self.answer(|loaded| {
            let found = loaded.difference(want, [], |id| have.contains(id), depth);
            map(found, |found| owned(loaded, &found))
        });
        Ok(met.await?.unwrap_or_default())
    }

    /// Whether a commit is one of others or can be reached from one of them.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn is_ancestor(&mut self, ancestor: &CommitId, descendants: &[CommitId]) -> Result<bool, StoreError> {
        if descendants.contains(ancestor) {
            return Ok(true);
        }
        self.load(descendants).await?;
        self.load(std::slice::from_ref(ancestor)).await?;
        Ok(self.answer(|loaded| loaded.is_ancestor(ancestor, descendants)).await?.unwrap_or(false))
    }

    /// How many commits can be reached from `want` and not from `have`; none if that is not known within the bound.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn distance(&mut self, want: &[CommitId], have: &[CommitId]) -> Result<Option<usize>, StoreError> {
        self.load(want).await?;
        self.load(have).await?;
        self.answer(|loaded| map(loaded.difference(want, have, |_| false, None), |found| found.commits.len())).await
    }

    /// A best common ancestor of `a` and `b`, if there is one and it is found within the bound.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn common_ancestor(&mut self, a: &[CommitId], b: &[CommitId]) -> Result<Option<CommitId>, StoreError> {
        self.load(a).await?;
        self.load(b).await?;
        let best =
            self.answer(|loaded| map(loaded.best_common_ancestors(a, b), |best| best.first().map(|id| (*id).clone())));
        Ok(best.await?.flatten())
    }

    /// The `count` commits that can be reached from `tips` and have the greatest generation numbers; those that were tips of one
    /// list and open after it are the tips of the next. Left out are ids that the repo lacks, and commits that no branch has reached.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn newest(&mut self, tips: &[CommitId], count: usize) -> Result<Newest, StoreError> {
        let mut found = Newest::default();
        // Among equals the order is that of ids, so a list is the same each time.
        let mut open: BTreeSet<(u32, CommitId)> = BTreeSet::new();
        let mut seen: HashSet<CommitId> = HashSet::new();
        let mut coming: Vec<CommitId> = tips.to_vec();
        while found.commits.len() < count {
            coming.retain(|id| seen.insert(id.clone()));
            if !coming.is_empty() {
                self.load(&coming).await?;
                self.ahead = self.ahead.saturating_mul(2).min(MOST_AHEAD);
            }
            for id in coming.drain(..) {
                if let Some(commit) = self.loaded.graph().payload(&id).filter(|commit| commit.is_reached) {
                    // Of a commit with an ancestor that was never pushed no number is known: it goes first, and its parents
                    // after it.
                    open.insert((commit.generation.unwrap_or(u32::MAX), id));
                }
            }
            let Some((_, id)) = open.pop_last() else {
                break;
            };
            let Some(commit) = self.loaded.graph().payload(&id).cloned() else {
                continue;
            };
            coming.extend(commit.parents.iter().cloned());
            found.commits.push((id, commit));
        }
        coming.retain(|id| !seen.contains(id));
        found.open = open.into_iter().rev().map(|(_, id)| id).chain(coming).collect();
        Ok(found)
    }

    /// Asks, and loads what is lacking, until there is an answer; none when that would be too much.
    async fn answer<A>(
        &mut self,
        ask: impl Fn(&Partial<CommitId, KnownCommit>) -> Asked<A, CommitId>,
    ) -> Result<Option<A>, StoreError> {
        loop {
            match compute(|| ask(&self.loaded)) {
                Asked::Answered(answer) => return Ok(Some(answer)),
                Asked::Lacks(_) if self.loaded.graph().len() > self.most => return Ok(None),
                Asked::Lacks(lacking) => {
                    self.ahead = self.ahead.saturating_mul(2);
                    self.load(&lacking).await?;
                }
            }
        }
    }

    /// Loads commits, with those that lie in front of them.
    async fn load(&mut self, ids: &[CommitId]) -> Result<(), StoreError> {
        let unknown: Vec<&CommitId> = ids.iter().filter(|id| !self.loaded.is_known(id)).collect();
        let (hinted, unhinted): (Vec<&CommitId>, Vec<&CommitId>) =
            unknown.into_iter().partition(|id| self.hints.contains_key(id));
        let mut wanted: BTreeSet<(usize, u32)> = hinted.iter().filter_map(|id| self.hints.remove(*id)).collect();
        for (id, at) in unhinted.iter().zip(self.view.positions(&unhinted).await?) {
            match at {
                Some(at) => drop(wanted.insert(at)),
                None => self.loaded.set_absent((*id).clone()),
            }
        }
        let mut pages: BTreeMap<(usize, u64), Vec<u32>> = BTreeMap::new();
        for (table, position) in wanted {
            let (_, _, page) = graph_page(table, position);
            pages.entry((table, page)).or_default().push(position);
            for before in page.saturating_sub(self.ahead - 1)..page {
                pages.entry((table, before)).or_default();
            }
        }
        let mut pages = pages.into_iter().peekable();
        while pages.peek().is_some() {
            let batch: Vec<_> = pages.by_ref().take(PAGES_AT_ONCE as usize).collect();
            let loads_all = self.ahead > 1;
            self.load_pages(batch, loads_all).await?;
        }
        Ok(())
    }

    /// Loads positions of pages, or all of each page.
    async fn load_pages(&mut self, pages: Vec<((usize, u64), Vec<u32>)>, loads_all: bool) -> Result<(), StoreError> {
        let a_page = Section::Graph.entries_a_page();
        let mut positions = Vec::new();
        for ((table, page), wanted) in pages {
            if loads_all {
                let end = self.view.count(table, Section::Graph).await?.min((page + 1).saturating_mul(a_page));
                let all = page.saturating_mul(a_page)..end;
                positions.extend(all.filter_map(|position| Some((table, u32::try_from(position).ok()?))));
            } else {
                positions.extend(wanted.into_iter().map(|position| (table, position)));
            }
        }
        let mut found = self.view.graph_entries(&positions).await?;
        for at in positions {
            let Some((id, commit, hints)) = found.remove(&at) else {
                continue;
            };
            for (parent, position) in commit.parents.iter().zip(hints) {
                if let Some(position) = position
                    && !self.loaded.is_known(parent)
                {
                    self.hints.insert(parent.clone(), (at.0, position));
                }
            }
            self.hints.remove(&id);
            let (generation, parents) = (commit.generation, commit.parents.clone());
            self.loaded.insert(&NewCommit { id, parents, payload: commit }, generation);
        }
        Ok(())
    }
}

fn map<A, B>(asked: Asked<A, CommitId>, answer: impl FnOnce(A) -> B) -> Asked<B, CommitId> {
    match asked {
        Asked::Answered(found) => Asked::Answered(answer(found)),
        Asked::Lacks(lacking) => Asked::Lacks(lacking),
    }
}

fn owned(loaded: &Partial<CommitId, KnownCommit>, found: &Difference<'_, CommitId>) -> Lacking {
    let graph = loaded.graph();
    let owned = |ids: &[&CommitId]| {
        ids.iter().filter_map(|id| Some(((*id).clone(), graph.payload(id)?.clone()))).collect::<Vec<_>>()
    };
    let commits = owned(&found.commits);
    let parents = commits.iter().flat_map(|(id, commit)| commit.parents.iter().map(move |parent| (parent, id)));
    let lost = parents.filter(|(parent, _)| !graph.contains(parent));
    Lacking {
        lost: lost.map(|(parent, id)| (parent.clone(), id.clone())).collect(),
        boundary: owned(&found.boundary),
        cut: found.cut.iter().map(|id| (*id).clone()).collect(),
        commits,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::read::view::{Listed, offline_bucket, remember_pack};
    use common::graph::Graph;
    use common::id::{Id, RepoId, SnapshotId};
    use common::pack::{NewCommit as PackCommit, NewPack, PackId, PackedCommit, write};
    use common::table::UNKNOWN_GENERATION;

    /// A commit's id; every seventh is no hash.
    fn id(number: usize) -> CommitId {
        use sha2::{Digest, Sha256};
        let digest: [u8; 32] = Sha256::digest(number.to_le_bytes()).into();
        match number.is_multiple_of(7) {
            true => format!("commit-{number}").parse().unwrap(),
            false => Id::from_digest(digest).into(),
        }
    }

    /// A history by the parents of each commit, which come before it.
    #[derive(Debug, Clone)]
    struct Case {
        parents: Vec<Vec<usize>>,
        /// The first commit of each pack but the first.
        cuts: Vec<usize>,
        /// A commit whose generation number is not known, nor those of its heirs.
        unknown: Option<usize>,
        want: Vec<usize>,
        have: Vec<usize>,
    }

    fn case() -> impl Strategy<Value = Case> {
        use proptest::sample::Index;
        let parent = || prop_oneof![4 => (1_usize..4).boxed(), 1 => (1_usize..900).boxed()];
        let parents = prop::collection::vec(prop::collection::vec(parent(), 1..3), 1..1_500);
        let some = || prop::collection::vec(any::<Index>(), 0..4);
        (parents, some(), prop::option::of(any::<Index>()), some(), some()).prop_map(
            |(back, cuts, unknown, want, have)| {
                let count = back.len();
                let of = |(number, back): (usize, Vec<usize>)| {
                    let mut parents: Vec<usize> =
                        back.into_iter().filter_map(|back| number.checked_sub(back)).collect();
                    parents.dedup();
                    parents
                };
                let at = |picks: Vec<Index>| picks.into_iter().map(|pick| pick.index(count)).collect::<Vec<_>>();
                let mut cuts = at(cuts);
                cuts.sort_unstable();
                cuts.dedup();
                Case {
                    parents: back.into_iter().enumerate().map(of).collect(),
                    cuts,
                    unknown: unknown.map(|pick| pick.index(count)),
                    want: at(want),
                    have: at(have),
                }
            },
        )
    }

    /// A view of the packs of a case, all of whose pages are in memory, and the same commits in a graph.
    fn prepare(case: &Case) -> (View, Graph<CommitId, usize>) {
        let mut graph = Graph::new();
        let mut generations: Vec<u32> = Vec::new();
        let mut nodes = Vec::new();
        for (number, parents) in case.parents.iter().enumerate() {
            let parent_ids: Vec<CommitId> = parents.iter().map(|parent| id(*parent)).collect();
            let greatest = parents.iter().map(|parent| generations[*parent]).max().unwrap_or(0);
            generations.push(match case.unknown == Some(number) {
                true => UNKNOWN_GENERATION,
                false => greatest.saturating_add(1),
            });
            let snapshot: SnapshotId = format!("snapshot-{number}").parse().unwrap();
            graph.extend([NewCommit { id: id(number), parents: parent_ids.clone(), payload: number }]).unwrap();
            nodes.push(PackedCommit {
                id: id(number),
                parents: parent_ids,
                snapshot: Some(snapshot),
                generation: generations[number],
                is_reached: true,
            });
        }
        let bucket = Arc::new(offline_bucket());
        let mut listed = Vec::new();
        let mut start = 0;
        for end in case.cuts.iter().copied().chain([nodes.len()]) {
            // Packs of pushes that raced may both have a commit.
            let first = start.max(1) - 1;
            let commits = nodes[first..end].iter().map(|node| PackCommit { node: node.clone(), record: b"a record" });
            let written = write(NewPack { commits: commits.collect(), ..NewPack::default() }).unwrap();
            let pack = PackId::from_parts(listed.len() as u64 + 1, 1);
            remember_pack(&bucket, pack, &written.summary, &Bytes::copy_from_slice(&written.bytes));
            listed.push(Listed::of(pack, &written.summary));
            start = end;
        }
        (View::new(bucket, RepoId::from(PackId::from_parts(0, 0)), listed, Arc::default()), graph)
    }

    fn sorted<'i>(ids: impl IntoIterator<Item = &'i CommitId>) -> Vec<CommitId> {
        let mut ids: Vec<CommitId> = ids.into_iter().cloned().collect();
        ids.sort_unstable();
        ids
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_history_that_is_loaded_by_the_page_answers_as_one_that_is_all_there(case in case()) {
            let (view, graph) = prepare(&case);
            let want: Vec<CommitId> = case.want.iter().map(|number| id(*number)).collect();
            let have: Vec<CommitId> = case.have.iter().map(|number| id(*number)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let expected = graph.difference(&want, &have);
                let found = view.history().difference(&want, &have.iter().cloned().collect()).await.unwrap();
                assert_eq!(
                    sorted(found.commits.iter().map(|(id, _)| id)), sorted(expected.commits.iter().copied())
                );
                assert_eq!(
                    sorted(found.boundary.iter().map(|(id, _)| id)), sorted(expected.boundary.iter().copied())
                );
                assert!(found.lost.is_empty());
                let mut sent: HashSet<&CommitId> = HashSet::new();
                for (id, commit) in &found.commits {
                    let first = commit.parents.iter().all(|parent| sent.contains(parent) || !expected.commits.contains(&parent));
                    assert!(first, "parents come first");
                    sent.insert(id);
                }
                // A client that has whole histories, and more commits than are looked up.
                let closed: HashSet<CommitId> = graph.difference(&have, []).commits.into_iter().cloned().collect();
                let mut history = view.history();
                history.load(&want).await.unwrap();
                let met = history.difference_met(&want, &closed, None).await.unwrap();
                assert_eq!(sorted(met.commits.iter().map(|(id, _)| id)), sorted(expected.commits.iter().copied()));
                for depth in [1, 2, 3, 40] {
                    let expected = graph.difference_within(&want, &have, Some(depth));
                    let had: HashSet<CommitId> = have.iter().cloned().collect();
                    let found = view.history().difference_within(&want, &had, Some(depth)).await.unwrap();
                    let commits: Vec<CommitId> = found.commits.iter().map(|(id, _)| id.clone()).collect();
                    assert_eq!(sorted(&commits), sorted(expected.commits.iter().copied()));
                    assert_eq!(
                        sorted(found.boundary.iter().map(|(id, _)| id)), sorted(expected.boundary.iter().copied())
                    );
                    assert_eq!(sorted(&found.cut), sorted(expected.cut.iter().copied()));
                    let mut history = view.history();
                    history.load(&want).await.unwrap();
                    let met = history.difference_met(&want, &closed, Some(depth)).await.unwrap();
                    assert_eq!(sorted(met.commits.iter().map(|(id, _)| id)), sorted(&commits));
                }
                for a in &want {
                    for b in &have {
                        let found = view.history().is_ancestor(a, std::slice::from_ref(b)).await.unwrap();
                        assert_eq!(found, graph.is_ancestor(a, b), "{a} of {b}");
                    }
                }
                let bases = graph.best_common_ancestors(&want, &have);
                let base = view.history().common_ancestor(&want, &have).await.unwrap();
                assert_eq!(base.is_some(), !bases.is_empty());
                assert!(base.is_none_or(|base| bases.contains(&&base)));
            });
        }
    }
}
