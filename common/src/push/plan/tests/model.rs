//! Pushes of parts of random histories into repos that have other parts, planned, and planned again in sets of numbers.
//!
//! A history is numbered: commits with their parents and snapshots, snapshots with their objects. What a repo has is closed, as
//! the pushes before left it: all that it has of commits leads to nothing that it lacks. What a push sends is anything.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Numbers = BTreeSet<usize>;

const OBJECTS: usize = 6;

#[derive(Debug, Clone)]
struct History {
    /// Of each commit its parents, which come before it, and its snapshot.
    commits: Vec<(Numbers, Option<usize>)>,
    /// Of each snapshot its objects.
    snapshots: Vec<Numbers>,
}

/// What a repo has. What is reached is there too.
#[derive(Debug, Clone, Default)]
struct State {
    commits: Numbers,
    reached_commits: Numbers,
    snapshots: Numbers,
    reached_snapshots: Numbers,
    objects: Numbers,
    reached_objects: Numbers,
    head: Option<usize>,
}

/// What is sent.
#[derive(Debug, Clone)]
struct Sent {
    commits: Numbers,
    snapshots: Numbers,
    objects: Numbers,
    /// The head that the client claims: a commit of the history, or none of it.
    claimed: Option<Option<usize>>,
    force: bool,
    /// What the pusher takes for purged.
    purged: Numbers,
}

#[derive(Debug, Clone)]
struct Case {
    history: History,
    state: State,
    sent: Sent,
    /// What was purged.
    purged: Numbers,
}

impl History {
    fn ancestry(&self, tips: impl IntoIterator<Item = usize>) -> Numbers {
        let mut found = Numbers::new();
        let mut waiting: Vec<usize> = tips.into_iter().collect();
        while let Some(number) = waiting.pop() {
            if found.insert(number) {
                waiting.extend(&self.commits[number].0);
            }
        }
        found
    }

    fn snapshots_of(&self, commits: &Numbers) -> Numbers {
        commits.iter().filter_map(|number| self.commits[*number].1).collect()
    }

    fn objects_of(&self, snapshots: &Numbers) -> Numbers {
        snapshots.iter().flat_map(|number| self.snapshots[*number].clone()).collect()
    }

    fn content(number: usize) -> String {
        format!("object {number}")
    }

    fn key(number: usize) -> ObjectKey {
        key(&Self::content(number))
    }

    fn snapshot(&self, number: usize) -> (String, Value) {
        let files: Vec<(String, String)> = self.snapshots[number]
            .iter()
            .map(|object| (format!("{number}/{object}"), Self::content(*object)))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
        snapshot(&files)
    }

    fn snapshot_id(&self, number: usize) -> SnapshotId {
        snapshot_id(&self.snapshot(number).0)
    }

    fn commit(&self, number: usize) -> (String, Value) {
        let (parents, snapshot) = &self.commits[number];
        let parents: Vec<String> = parents.iter().map(|parent| self.commit(*parent).0).collect();
        let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
        let snapshot = snapshot.map(|number| self.snapshot(number).0);
        let (id, mut commit) = commit(&format!("commit {number}"), &parents, snapshot.as_deref());
        if number.is_multiple_of(3) {
            commit["branch"] = "side".into();
        }
        (id, commit)
    }

    fn commit_id(&self, number: usize) -> CommitId {
        commit_id(&self.commit(number).0)
    }

    fn generation(&self, number: usize) -> u32 {
        1 + self.commits[number].0.iter().map(|parent| self.generation(*parent)).max().unwrap_or(0)
    }
}

impl Case {
    fn request(&self) -> Value {
        let Self { history, sent, .. } = self;
        let commits: Vec<Value> = sent.commits.iter().map(|number| history.commit(*number).1).collect();
        let snapshots: Vec<Value> = sent.snapshots.iter().map(|number| history.snapshot(*number).1).collect();
        let objects: Vec<Value> = sent.objects.iter().map(|number| object(&History::content(*number))).collect();
        let mut request = with(push(&commits, &snapshots, &objects), "force", sent.force);
        if let Some(claimed) = sent.claimed {
            let claimed = claimed.map_or("elsewhere".to_owned(), |number| history.commit(number).0);
            request["bundle"]["branch_heads"] = json!({"main": claimed});
        }
        let purged: Vec<String> = sent.purged.iter().map(|number| object_id(&History::content(*number))).collect();
        with(request, "purged", purged)
    }

    fn known(&self) -> Known {
        let Self { history, state, .. } = self;
        let commits = state.commits.iter().map(|number| {
            let (parents, snapshot) = &history.commits[*number];
            let commit = crate::location::KnownCommit {
                parents: parents.iter().map(|parent| history.commit_id(*parent)).collect(),
                generation: Some(history.generation(*number)),
                is_reached: state.reached_commits.contains(number),
                snapshot: snapshot.map(|number| history.snapshot_id(number)),
                snapshot_place: None,
                place: PLACE,
            };
            (history.commit_id(*number), commit)
        });
        let snapshots = state.snapshots.iter().map(|number| {
            let is_reached = state.reached_snapshots.contains(number);
            (history.snapshot_id(*number), crate::location::KnownSnapshot { place: PLACE, is_reached })
        });
        let objects =
            state.objects.iter().map(|number| (History::key(*number), state.reached_objects.contains(number)));
        Known::with(commits, snapshots, objects)
    }

    fn heads(&self) -> Heads {
        self.state.head.iter().map(|head| ("main".to_owned(), self.history.commit_id(*head))).collect()
    }

    // What a push comes to, in numbers.

    fn new_commits(&self) -> Numbers {
        &self.sent.commits - &self.state.commits
    }

    fn tip(&self) -> Option<usize> {
        if let Some(Some(claimed)) = self.sent.claimed
            && (self.sent.commits.contains(&claimed) || self.state.commits.contains(&claimed))
        {
            return Some(claimed);
        }
        let has_child =
            |number: usize| self.sent.commits.iter().any(|child| self.history.commits[*child].0.contains(&number));
        let childless: Vec<usize> = self.sent.commits.iter().copied().filter(|number| !has_child(*number)).collect();
        let own = childless.iter().copied().filter(|number| number % 3 != 0).max();
        own.or(childless.iter().copied().max()).or(self.state.head)
    }

    /// All that the tip reaches, over the history as it really is.
    fn reached(&self) -> Numbers {
        self.history.ancestry(self.tip())
    }

    fn is_forward(&self) -> bool {
        match (self.state.head, self.tip()) {
            (Some(head), Some(_)) => self.reached().contains(&head),
            _ => true,
        }
    }

    fn has_object(&self, number: usize) -> bool {
        let is_purged = self.sent.purged.contains(&number) && self.purged.contains(&number);
        self.sent.objects.contains(&number) || self.state.objects.contains(&number) || is_purged
    }

    /// The commits that no branch has reached and one reaches now, as far as they are there or sent.
    fn newly_reached(&self) -> Numbers {
        let there = &(&self.state.commits | &self.new_commits()) - &self.state.reached_commits;
        let mut found = Numbers::new();
        let mut waiting: Vec<usize> = self.tip().into_iter().collect();
        while let Some(number) = waiting.pop() {
            if there.contains(&number) && found.insert(number) {
                waiting.extend(&self.history.commits[number].0);
            }
        }
        found
    }

    /// How many references of the new commits lead nowhere.
    fn missing(&self, ids: Ids) -> usize {
        let new = self.new_commits();
        let there = &self.state.commits | &new;
        let parents = new.iter().flat_map(|number| &self.history.commits[*number].0);
        let mut missing = if ids.are_checked() { parents.filter(|parent| !there.contains(parent)).count() } else { 0 };
        let newly_reached = self.history.snapshots_of(&self.newly_reached());
        let mut lacked = Numbers::new();
        for number in self.history.snapshots_of(&new) {
            let is_stored = self.state.snapshots.contains(&number)
                && (self.state.reached_snapshots.contains(&number)
                    || ids.are_checked() && !newly_reached.contains(&number));
            if is_stored {
                continue;
            }
            if self.sent.snapshots.contains(&number) {
                let objects = self.history.snapshots[number].iter().filter(|object| !self.has_object(**object));
                missing += objects.count();
            } else if ids.are_checked() && !self.state.snapshots.contains(&number) {
                lacked.insert(number);
            }
        }
        missing + lacked.len()
    }

    /// What `lib.rs` looks up between the reach and the plan: the commits of the repo that no branch has reached and the tip
    /// builds upon, and what snapshots name whose records have to be read.
    fn complete(&self, checked: &ValidatedBundle<'_>, known: &Known, reach: &mut Reach) -> HashSet<ObjectKey> {
        reach.snapshots.extend(
            self.newly_reached()
                .iter()
                .filter_map(|number| Some(self.history.snapshot_id(self.history.commits[*number].1?))),
        );
        reach.ends[0].is_forward = self.is_forward();
        let recalled: Numbers = (0..self.history.snapshots.len())
            .filter(|number| {
                let id = self.history.snapshot_id(*number);
                reach.snapshots.contains(&id)
                    && known.staged_snapshot(&id).is_some()
                    && !self.sent.snapshots.contains(number)
            })
            .collect();
        assert_eq!(checked.to_recall(known, reach).len(), recalled.len());
        self.history.objects_of(&recalled).iter().map(|number| History::key(*number)).collect()
    }
}

/// Of this many, some; and each of the others with a chance of one in ten. Or nearly all.
fn some(of: usize) -> impl Strategy<Value = Numbers> {
    prop::collection::vec(0_u8..10, of)
        .prop_map(|draws| (0_usize..).zip(draws).filter(|(_, draw)| *draw < 3).map(|(number, _)| number).collect())
}

fn history() -> impl Strategy<Value = History> {
    let commit = (prop::collection::vec((any::<Index>(), 0_u8..4), 2), prop::option::weighted(0.9, any::<Index>()));
    let commits = prop::collection::vec(commit, 1..8);
    let snapshots = prop::collection::vec(prop::collection::btree_set(0..OBJECTS, 1..4), 1..5);
    (commits, snapshots).prop_map(|(commits, snapshots)| {
        let commits = commits.into_iter().enumerate().map(|(number, (parents, snapshot))| {
            let parents = parents.into_iter().enumerate().filter(|(at, (_, draw))| number > 0 && *draw > *at as u8);
            // Histories are mostly long and not wide.
            let parents =
                parents.map(
                    |(at, (index, _))| {
                        if at == 0 { number - 1 - index.index(number.min(2)) } else { index.index(number) }
                    },
                );
            (parents.collect(), snapshot.map(|index| index.index(snapshots.len())))
        });
        History { commits: commits.collect(), snapshots: snapshots.clone() }
    })
}

fn case() -> impl Strategy<Value = Case> {
    history().prop_flat_map(|history| {
        let (commits, snapshots) = (history.commits.len(), history.snapshots.len());
        let state = (some(commits), some(commits), some(snapshots), some(OBJECTS), any::<Index>());
        let sent = (some(commits), (some(commits), some(snapshots), some(OBJECTS)), some(snapshots), some(OBJECTS));
        let claim = prop_oneof![
            2 => Just(None),
            1 => Just(Some(None)),
            4 => (0..commits).prop_map(|number| Some(Some(number))),
        ];
        let rest = (claim, any::<bool>(), some(OBJECTS), some(OBJECTS), 0_u8..3);
        (Just(history), state, sent, rest).prop_map(|(history, state, sent, rest)| {
            let (tips, staged, staged_snapshots, staged_objects, head) = state;
            let reached_commits = history.ancestry(tips);
            let commits = &reached_commits | &history.ancestry(staged);
            let reached_snapshots = history.snapshots_of(&reached_commits);
            let snapshots = &(&history.snapshots_of(&commits) | &staged_snapshots) | &reached_snapshots;
            let reached_objects = history.objects_of(&reached_snapshots);
            let objects = &history.objects_of(&snapshots) | &staged_objects;
            let head = (!reached_commits.is_empty())
                .then(|| *reached_commits.iter().nth(head.index(reached_commits.len())).unwrap());
            let state =
                State { commits, reached_commits, snapshots, reached_snapshots, objects, reached_objects, head };
            // Mostly what a client would send, but for some of it, and with more.
            let (tips, dropped, more_snapshots, more_objects) = sent;
            let (claimed, force, known_as_purged, purged, drops) = rest;
            let dropped = if drops == 0 { dropped } else { Default::default() };
            let commits = &history.ancestry(tips) - &dropped.0;
            let snapshots = &(&history.snapshots_of(&commits) - &dropped.1) | &more_snapshots;
            let objects = &(&history.objects_of(&snapshots) - &dropped.2) | &more_objects;
            let sent = Sent { commits, snapshots, objects, claimed, force, purged: known_as_purged };
            Case { history, state, sent, purged }
        })
    })
}

/// Looks a case through, and hands out what was planned; none where the push is refused, as it should be.
fn planned(case: &Case, ids: Ids, look: impl FnOnce(&Case, &ValidatedBundle<'_>, &Known, &Reach, &PushPlan<'_>)) {
    let mut checked = checked_as(&case.request(), ids).unwrap();
    checked.forget_unpurged(&case.purged.iter().map(|number| History::key(*number)).collect());
    let known = case.known();
    let mut reach = checked.reach(&known, &case.heads());
    assert_eq!(reach.ends[0].tip, case.tip().map(|number| case.history.commit_id(number)));
    let recalled = case.complete(&checked, &known, &mut reach);
    let missing = case.missing(ids);
    match checked.plan(&known, &reach, recalled) {
        Ok(plan) => {
            assert_eq!(missing, 0, "it is taken");
            assert!(case.sent.force || case.is_forward(), "it is taken");
            look(case, &checked, &known, &reach, &plan);
        }
        Err(WireError::MissingReferences(detail)) => {
            assert!(missing > 0 && detail.contains(&format!("{missing} reference(s)")), "{missing}: {detail}");
        }
        Err(WireError::NonFastForward(_)) => assert!(missing == 0 && !case.sent.force && !case.is_forward()),
        Err(other) => panic!("{other}"),
    }
}

fn numbers_of<T: PartialEq>(of: usize, id: impl Fn(usize) -> T, mut is_there: impl FnMut(&T) -> bool) -> Numbers {
    (0..of).filter(|number| is_there(&id(*number))).collect()
}

fn check_plan(case: &Case, ids: Ids, checked: &ValidatedBundle<'_>, reach: &Reach, plan: &PushPlan<'_>) {
    let Case { history, state, sent, .. } = case;
    let (commits, snapshots) = (history.commits.len(), history.snapshots.len());

    // The tip reaches the new commits that lead to it over new ones, and ends at others.
    let new = case.new_commits();
    let mut within = Numbers::new();
    let mut ends = Numbers::new();
    let mut waiting: Vec<usize> = case.tip().into_iter().collect();
    while let Some(number) = waiting.pop() {
        if !new.contains(&number) {
            ends.insert(number);
        } else if within.insert(number) {
            waiting.extend(&history.commits[number].0);
        }
    }
    assert_eq!(numbers_of(commits, |number| history.commit_id(number), |id| reach.commits.contains(id)), within);
    assert_eq!(numbers_of(commits, |number| history.commit_id(number), |id| reach.foundations.contains_key(id)), ends);

    // What the repo lacks is stored, each record once, commits parents first.
    let stored_commits: Vec<CommitId> = plan.commits.iter().map(|commit| commit.id.clone()).collect();
    assert_eq!(stored_commits, new.iter().map(|number| history.commit_id(*number)).collect::<Vec<_>>());
    let stored_objects: Vec<ObjectKey> = plan.objects.iter().map(|object| object.object_id.key()).collect();
    let expected = &sent.objects - &state.objects;
    assert_eq!(numbers_of(OBJECTS, History::key, |key| stored_objects.contains(key)), expected);
    assert_eq!(stored_objects.len(), expected.len());
    let stored: Vec<SnapshotId> = plan.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect();
    assert_eq!(stored.iter().collect::<HashSet<_>>().len(), stored.len());
    let stored = numbers_of(snapshots, |number| history.snapshot_id(number), |id| stored.contains(id));
    let reached_by_push = history.snapshots_of(&case.newly_reached());
    let is_complete = |number: usize| history.snapshots[number].iter().all(|object| case.has_object(*object));
    let expected: Numbers = sent
        .snapshots
        .iter()
        .copied()
        .filter(|number| {
            let counts_as_reached = !ids.are_checked() || reached_by_push.contains(number);
            is_complete(*number)
                && (!state.snapshots.contains(number) || counts_as_reached && !state.reached_snapshots.contains(number))
        })
        .collect();
    assert_eq!(stored, expected);

    // Generations count from the roots, where all is there.
    for (number, generation) in new.iter().zip(&plan.generations) {
        let is_whole =
            history.ancestry([*number]).iter().all(|number| new.contains(number) || state.commits.contains(number));
        let expected = if is_whole { history.generation(*number) } else { UNKNOWN_GENERATION };
        assert_eq!(*generation, expected);
    }
    assert_eq!(plan.generations.len(), new.len());
    assert_eq!(checked.named_objects(), {
        let named = &history.objects_of(&sent.snapshots) | &sent.objects;
        named.iter().map(|number| History::key(*number)).collect()
    });
    let absent = history.objects_of(&sent.snapshots).into_iter().filter(|number| !case.has_object(*number));
    assert_eq!(checked.absent_objects(&case.known()), absent.map(History::key).collect());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// The promise that all of the hub rests on: once a push is taken, everything that the branch reaches is there, can be seen,
    /// and nothing else has become visible.
    #[test]
    fn after_a_push_all_that_the_branch_reaches_is_there_and_seen_and_no_more(case in case()) {
        planned(&case, Ids::Strict, |case, checked, known, reach, plan| {
            check_plan(case, Ids::Strict, checked, reach, plan);
            let Case { history, state, .. } = case;
            let commits = case.reached();
            let there = &state.commits | &case.new_commits();
            assert!(commits.is_subset(&there), "a commit is not there");
            let snapshots = history.snapshots_of(&commits);
            for number in &snapshots {
                let id = history.snapshot_id(*number);
                let is_stored = plan.snapshots.iter().any(|snapshot| snapshot.snapshot_id == id);
                assert!(known.has_snapshot(&id) || is_stored, "a snapshot is not there");
                assert!(!is_stored || plan.reached_snapshots.contains(&id), "a snapshot is stored as if nothing reached it");
            }
            let objects = history.objects_of(&snapshots);
            let is_now_reached = |number: usize| {
                let key = History::key(number);
                let comes_reached = plan.named.contains(&key) && plan.objects.iter().any(|object| object.object_id.key() == key);
                known.is_reached(&key) || plan.reached.contains(&key) || comes_reached
            };
            for number in &objects {
                let is_in_neither = !state.objects.contains(number) && !case.sent.objects.contains(number);
                assert!(case.has_object(*number), "an object is not there");
                assert!(is_now_reached(*number) || is_in_neither, "an object is there and not seen");
            }
            let seen = &objects | &state.reached_objects;
            assert!((0..OBJECTS).all(|number| seen.contains(&number) || !is_now_reached(number)), "an object is seen and not reached");
            assert!(plan.reached.iter().all(|key| known.has_object(key) && !known.is_reached(key)));
            let stored: HashSet<&SnapshotId> = plan.snapshots.iter().map(|snapshot| &snapshot.snapshot_id).collect();
            assert!(plan.reached_snapshots.iter().all(|id| stored.contains(*id) && reach.snapshots.contains(*id)));
        });
    }

    #[test]
    fn with_opaque_ids_too_what_is_new_is_stored_and_what_comes_is_reached(case in case()) {
        planned(&case, Ids::Lenient, |case, checked, known, reach, plan| {
            check_plan(case, Ids::Lenient, checked, reach, plan);
            for snapshot in &plan.snapshots {
                assert!(plan.reached_snapshots.contains(&snapshot.snapshot_id));
                for (_, object) in &snapshot.manifest.entries {
                    let key = object.key();
                    assert!(plan.named.contains(&key));
                    assert!(!known.has_object(&key) || known.is_reached(&key) || plan.reached.contains(&key));
                }
            }
        });
    }

    /// The same push sent again brings nothing.
    #[test]
    fn a_push_that_is_sent_again_has_nothing_to_store(case in case()) {
        planned(&case, Ids::Strict, |case, _, _, _, plan| {
            let mut after = case.clone();
            let Case { history, state, .. } = &mut after;
            state.commits.append(&mut case.new_commits());
            state.reached_commits.extend(case.newly_reached());
            state.objects.extend(&case.sent.objects);
            for snapshot in &plan.snapshots {
                let number = (0..history.snapshots.len()).find(|number| history.snapshot_id(*number) == snapshot.snapshot_id);
                state.snapshots.extend(number);
                if plan.reached_snapshots.contains(&snapshot.snapshot_id) {
                    state.reached_snapshots.extend(number);
                }
            }
            state.reached_snapshots.extend(history.snapshots_of(&case.newly_reached()));
            state.reached_objects.extend((0..OBJECTS).filter(|number| {
                let key = History::key(*number);
                plan.reached.contains(&key) || plan.named.contains(&key) && state.objects.contains(number)
            }));
            state.head = case.tip();
            planned(&after, Ids::Strict, |_, _, _, _, again| {
                assert!(!again.brings_something());
            });
        });
    }

    #[test]
    fn a_push_needs_more_than_a_view_exactly_if_that_lacks_something_of_it_that_the_other_has(
        case in case(), gone in (some(8), some(5), some(OBJECTS)), built_upon in some(8),
    ) {
        let checked = checked_as(&case.request(), Ids::Lenient).unwrap();
        let more = case.known();
        let mut less = case.clone();
        let Case { history, state, sent, .. } = &case;
        less.state.commits = &state.commits - &gone.0;
        less.state.snapshots = &state.snapshots - &gone.1;
        less.state.objects = &state.objects - &gone.2;
        let reach = checked.reach(&more, &case.heads());
        let built_upon: Numbers = built_upon.into_iter().filter(|number| state.commits.contains(number)).collect();
        let built_ids: Vec<CommitId> = built_upon.iter().map(|number| history.commit_id(*number)).collect();
        let needs = checked.needs_more_than(&less.known(), &more, &reach, &built_ids);

        let parents: Numbers = sent.commits.iter().flat_map(|number| history.commits[*number].0.clone()).collect();
        let ends = numbers_of(history.commits.len(), |number| history.commit_id(number), |id| reach.foundations.contains_key(id));
        let commits = &(&(&(&parents | &ends) | &built_upon) - &sent.commits) & &(&state.commits - &less.state.commits);
        let named = &history.snapshots_of(&sent.commits) | &numbers_of(history.snapshots.len(), |number| history.snapshot_id(number), |id| reach.snapshots.contains(id));
        let snapshots = &(&named - &sent.snapshots) & &(&state.snapshots - &less.state.snapshots);
        // What the pusher takes for purged does not count as missing, whether it was purged or not: that is checked before.
        let objects = &(&history.objects_of(&sent.snapshots) - &sent.objects) - &sent.purged;
        let objects = &objects & &(&state.objects - &less.state.objects);
        prop_assert_eq!(needs, !(commits.is_empty() && snapshots.is_empty() && objects.is_empty()));
    }
}
