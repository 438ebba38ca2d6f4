//! Questions about the history of a repo, answered from as few pages of its graphs as can be.
//!
//! The pure walk of [`Partial`] says which commits it lacks. They are loaded by the page, each time twice as many pages
//! as before, so a walk takes a number of steps that grows with the logarithm of its length, and reads at most twice
//! what it needs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Error;
use super::view::{Commit, View, graph_page};
use crate::graph::{Asked, NewCommit, Partial};
use crate::id::CommitId;
use crate::service::compute;
use crate::table::Section;

/// Pages that are loaded at once while a walk goes on.
const PAGES_AT_ONCE: u64 = 128;
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
    pub commits: Vec<(CommitId, Commit)>,
    /// Their parents that the client has, each once.
    pub boundary: Vec<(CommitId, Commit)>,
    /// Commits that some of them name as a parent and that are not there, each with one that names it.
    pub lost: Vec<(CommitId, CommitId)>,
}

/// The part of a repo's history that some questions have loaded.
pub struct History<'v> {
    view: &'v View,
    loaded: Partial<CommitId, Commit>,
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
    /// The commits that can be reached from `want` and not from `have`. Both are ignored where they are not there.
    ///
    /// Clients name all commits that they have, many thousands, with all the ancestors of those. Such a list is not looked
    /// up: a commit counts as had when the walk meets it, which comes to the same. A client that leaves ancestors out and
    /// names more than 256 commits of a repo of more than 10,000 may get up to 64 commits that it could have been spared.
    ///
    /// # Errors
    /// When S3 does not answer, or a table is damaged, as all of these.
    pub async fn difference(&mut self, want: &[CommitId], have: &HashSet<CommitId>) -> Result<Lacking, Error> {
        self.load(want).await?;
        let is_known = have.len() <= FEW_HAD || self.view.commit_count().await? <= FEW_COMMITS;
        if !is_known {
            let met = self.answer(|loaded| {
                let found = loaded.difference(want, [], |id| have.contains(id));
                map(found, |found| owned(loaded, &found.commits, &found.boundary))
            });
            let met = met.await?.unwrap_or_default();
            if met.commits.len() <= MUCH_TO_SEND {
                return Ok(met);
            }
        }
        let have: Vec<CommitId> = have.iter().cloned().collect();
        self.load(&have).await?;
        let found = self.answer(|loaded| {
            let found = loaded.difference(want, &have, |_| false);
            map(found, |found| owned(loaded, &found.commits, &found.boundary))
        });
        Ok(found.await?.unwrap_or_default())
    }

    /// Whether a commit is one of others or can be reached from one of them.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn is_ancestor(&mut self, ancestor: &CommitId, descendants: &[CommitId]) -> Result<bool, Error> {
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
    pub async fn distance(&mut self, want: &[CommitId], have: &[CommitId]) -> Result<Option<usize>, Error> {
        self.load(want).await?;
        self.load(have).await?;
        self.answer(|loaded| map(loaded.difference(want, have, |_| false), |found| found.commits.len())).await
    }

    /// A best common ancestor of `a` and `b`, if there is one and it is found within the bound.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub async fn common_ancestor(&mut self, a: &[CommitId], b: &[CommitId]) -> Result<Option<CommitId>, Error> {
        self.load(a).await?;
        self.load(b).await?;
        let best =
            self.answer(|loaded| map(loaded.best_common_ancestors(a, b), |best| best.first().map(|id| (*id).clone())));
        Ok(best.await?.flatten())
    }

    /// Asks, and loads what is lacking, until there is an answer; none when that would be too much.
    async fn answer<A>(
        &mut self,
        ask: impl Fn(&Partial<CommitId, Commit>) -> Asked<A, CommitId>,
    ) -> Result<Option<A>, Error> {
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
    async fn load(&mut self, ids: &[CommitId]) -> Result<(), Error> {
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
            let is_ahead = self.ahead > 1;
            self.load_pages(batch, is_ahead).await?;
        }
        Ok(())
    }

    /// Loads positions of pages, or all of each page.
    async fn load_pages(&mut self, pages: Vec<((usize, u64), Vec<u32>)>, is_ahead: bool) -> Result<(), Error> {
        let a_page = Section::Graph.entries_a_page();
        let mut positions = Vec::new();
        for ((table, page), wanted) in pages {
            if is_ahead {
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
            self.loaded.insert(NewCommit { id, parents, payload: commit }, generation);
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

fn owned(loaded: &Partial<CommitId, Commit>, commits: &[&CommitId], boundary: &[&CommitId]) -> Lacking {
    let graph = loaded.graph();
    let owned = |ids: &[&CommitId]| {
        ids.iter().filter_map(|id| Some(((*id).clone(), graph.payload(id)?.clone()))).collect::<Vec<_>>()
    };
    let commits = owned(commits);
    let parents = commits.iter().flat_map(|(id, commit)| commit.parents.iter().map(move |parent| (parent, id)));
    let lost = parents.filter(|(parent, _)| !graph.contains(parent));
    Lacking {
        lost: lost.map(|(parent, id)| (parent.clone(), id.clone())).collect(),
        boundary: owned(boundary),
        commits,
    }
}
