//! Storage that fails at random, under pushes from processes that come and go: what was acknowledged is there, what was
//! refused can be sent again, and at every moment every branch leads to a whole history.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tests::client::Answer;
use tests::history::{Builder, History, Pack};
use tests::wiretap::{Call, Fault, Reaction};

use crate::process::{Cloud, Process, assert_is, for_every};

const BRANCHES: usize = 3;

/// A push of the next commits of one branch.
#[derive(Clone, Debug)]
struct Push {
    branch: usize,
    commits: usize,
    /// Which of the two processes is asked.
    process: usize,
    /// Whether that process was started again before.
    is_cold: bool,
    /// Whether the objects are staged.
    is_staged: bool,
    /// What becomes of its calls, one after the other: see [`fault`].
    faults: Vec<u8>,
}

fn pushes() -> impl Strategy<Value = Vec<Push>> {
    let faults = proptest::collection::vec(any::<u8>(), 0..40);
    let push = (0..BRANCHES, 1..4_usize, 0..2_usize, any::<bool>(), any::<bool>(), faults).prop_map(
        |(branch, commits, process, is_cold, is_staged, faults)| Push {
            branch,
            commits,
            process,
            is_cold,
            is_staged,
            faults,
        },
    );
    proptest::collection::vec(push, 1..8)
}

/// Half of the calls go wrong, each in one of the ways that pass.
fn fault(draw: u8, call: &Call) -> Reaction {
    if draw < 128 {
        return Reaction::Forward;
    }
    let faults = Fault::passing(call);
    Reaction::Fail(faults[usize::from(draw) % faults.len()])
}

/// What a run has come to.
struct Run<'a> {
    cloud: &'a Cloud,
    slug: String,
    history: Builder,
    /// Where each branch is to be.
    wanted: BTreeMap<String, String>,
    /// Where each branch is, as far as an answer said so or a reader could see.
    known: BTreeMap<String, String>,
}

impl Run<'_> {
    fn history(&self) -> &History {
        self.history.history()
    }

    fn grow(&mut self, push: &Push) -> String {
        let branch = format!("branch-{}", push.branch);
        for _ in 0..push.commits {
            let parent = self.wanted.get(&branch).cloned();
            let head = self.history.child(&parent.as_deref().into_iter().collect::<Vec<_>>());
            self.wanted.insert(branch.clone(), head);
        }
        branch
    }

    /// Pushes a branch to where it is wanted. Says whether that was acknowledged.
    async fn push(&mut self, process: &Process, branch: &str, is_staged: bool) -> bool {
        let tip = &self.wanted[branch];
        let have: Vec<&String> = self.known.values().collect();
        let mut bundle = self.history().pack(&self.history().between(&[tip], &have)).with_head(branch, tip);
        if is_staged {
            let answer = process.push_objects(&self.slug, &bundle.objects).await;
            if !was_acknowledged(process, &answer) {
                return false;
            }
            bundle = bundle.without_objects();
        }
        let answer = process.push(&self.slug, branch, false, &bundle).await;
        if !was_acknowledged(process, &answer) {
            return false;
        }
        let tip = tip.clone();
        self.known.insert(branch.to_owned(), tip);
        true
    }

    /// Looks at the repo through a process that nothing ever failed for.
    async fn look(&mut self, observer: &Process, attempted: &str) {
        let heads = observer.heads(&self.slug).await;
        let wanted = &self.wanted[attempted];
        if heads.get(attempted) == Some(wanted) {
            // Refused, and made all the same: no answer said so, but it can be seen.
            self.known.insert(attempted.to_owned(), wanted.clone());
        }
        assert_eq!(heads, self.known);
        if heads.is_empty() {
            return;
        }
        let want: Vec<&String> = heads.values().collect();
        let answer = observer.fetch::<_, &str>(&self.slug, &want, &[]).await.expect("a whole answer").expect(200);
        assert_is(self.history(), &want, &Pack::from_value(&answer).unwrap());
    }
}

/// Whether it is a 200; else it has to be a 503.
fn was_acknowledged(process: &Process, answer: &Answer) -> bool {
    let calls = process.tap.take();
    let story = || calls.iter().map(|call| format!("{} {:?}", call.name, call.fault)).collect::<Vec<_>>().join("\n");
    assert!([200, 503].contains(&answer.status), "{}\n{}", answer.excerpt(), story());
    answer.status == 200
}

async fn check(cloud: &Cloud, pushes: Vec<Push>) {
    let mut run = Run {
        cloud,
        slug: tests::hub::fresh_name("song"),
        history: Builder::new(8),
        wanted: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    let mut processes = [cloud.process(), cloud.process()];
    let observer = cloud.process();
    for push in pushes {
        let branch = run.grow(&push);
        let process = &mut processes[push.process];
        if push.is_cold {
            *process = cloud.process();
        }
        let mut draws = push.faults.clone().into_iter();
        process.tap.script(move |call| draws.next().map_or(Reaction::Forward, |draw| fault(draw, call)));
        run.push(process, &branch, push.is_staged).await;
        run.look(&observer, &branch).await;
        process.tap.heal();
    }
    for branch in run.wanted.clone().into_keys() {
        assert!(run.push(&processes[0], &branch, false).await, "nothing fails any more");
    }
    assert_eq!(run.known, run.wanted);
    run.cloud.assert_holds(&run.slug, run.history(), &run.wanted).await;
}

#[test]
fn whatever_fails_what_was_acknowledged_is_there_and_what_was_not_can_be_sent_again() {
    for_every(40, pushes(), Cloud::start, check);
}
