//! Garbage is collected while everything else goes on: what is reached stays, whichever push comes to need it and whenever, and
//! what is not goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use proptest::prelude::{Just, Strategy, prop_oneof};
use serde_json::json;
use store::table::items::GARBAGE;
use store::upkeep::compact::Limits as Compaction;
use store::upkeep::files::ORPHANS_KEPT;
use store::upkeep::garbage::{CONDEMNED, Collection, Deferred, Limits, RETENTION};
use store::upkeep::swap::GRACE;
use tests::cases::some_of;
use tests::client::Answer;
use tests::history::{Builder, History, Pack};
use tests::wiretap::{Call, Fault, Reaction};
use tokio::sync::Notify;

use crate::fsck::song;
use crate::process::{Cloud, Process, USER, for_every};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Then what the tests have pushed is older than the retention: their clock stands at a day long ago.
const NOW: Duration = Duration::ZERO;
/// Then what is condemned now is due.
const NEXT_DAY: Duration = CONDEMNED.saturating_add(HOUR);
/// Then nothing of that is read any more.
const LATER: Duration = NEXT_DAY.saturating_add(GRACE).saturating_add(HOUR);
/// Then S3 has nothing of it.
const AT_LAST: Duration = LATER.saturating_add(ORPHANS_KEPT).saturating_add(HOUR);

fn heads(heads: &[(&str, &str)]) -> BTreeMap<String, String> {
    heads.iter().map(|(branch, head)| ((*branch).to_owned(), (*head).to_owned())).collect()
}

/// Three commits, and two on top of the second that were on the branch before it was moved.
struct Moved {
    history: History,
    /// Where the branch is.
    tip: String,
    /// Where it was.
    left: String,
    /// A commit on top of the tip with a file of what was left.
    reusing: String,
    /// A commit on top of what was left.
    continuing: String,
}

impl Moved {
    fn new(seed: u64) -> Self {
        let mut builder = Builder::new(seed);
        let tree = builder.files(6);
        let first = builder.commit(&[], &tree);
        let second = builder.child(&[&first]);
        let tip = builder.child(&[&second]);
        let mut draft = builder.tree(&second);
        draft.insert("draft.mid".to_owned(), builder.bytes(400));
        let left = builder.commit(&[&second], &draft);
        let left = builder.child(&[&left]);
        let mut tree = builder.tree(&tip);
        tree.insert("again.mid".to_owned(), draft["draft.mid"].clone());
        let reusing = builder.commit(&[&tip], &tree);
        // None of their files: only the commit is needed, and what that needs.
        let mut tree = builder.tree(&first);
        tree.insert("anew.mid".to_owned(), builder.bytes(50));
        let continuing = builder.commit(&[&left], &tree);
        Self { history: builder.finish(), tip, left, reusing, continuing }
    }

    /// The objects that `commit` has and `base` has not.
    fn objects_only(history: &History, commit: &str, base: &str) -> Vec<tests::history::Object> {
        let kept = history.objects_of(&[base.to_owned()]);
        let all = history.objects_of(&[commit.to_owned()]);
        all.into_iter().filter(|id| !kept.contains(id)).map(|id| history.object(&id)).collect()
    }

    async fn push(cloud: &Cloud, slug: &str) -> Self {
        let moved = Self::new(8);
        let process = cloud.process();
        process.push_onto(slug, "main", &moved.history, &[], &moved.left).await.expect(200);
        let bundle = moved.history.pack(&[&moved.tip]).with_head("main", &moved.tip);
        process.push(slug, "main", true, &bundle).await.expect(200);
        moved
    }

    /// What only the commits have that were left.
    fn left_commits(&self) -> Vec<String> {
        self.history.between(&[&self.left], &[&self.tip])
    }

    fn left_objects(&self) -> Vec<String> {
        let kept = self.history.objects_of(&self.history.reachable(&[&self.tip]));
        let left = self.history.objects_of(&self.left_commits());
        left.into_iter().filter(|object| !kept.contains(object)).collect()
    }

    /// A push of the commit that uses a file again, by a client that heard that the hub has it.
    fn reuse(&self) -> Pack {
        let mut bundle = self.history.pack(&[&self.reusing]).with_head("main", &self.reusing);
        let left: BTreeSet<String> = self.left_objects().into_iter().collect();
        bundle.objects.retain(|object| !left.contains(&object.id));
        bundle
    }

    /// A push of a commit on top of what was left, by a client that heard that the hub has that.
    fn carry_on(&self) -> Pack {
        self.history.pack(&[&self.continuing]).with_head("again", &self.continuing)
    }
}

async fn collect(process: &Process, slug: &str) -> Collection {
    process.collect(slug, Limits::ALL).await.expect("a run")
}

/// All that is to be done about garbage from now on, until nothing of it is left.
async fn collect_all(cloud: &Cloud, slug: &str) {
    for later in [NOW, NEXT_DAY, LATER, AT_LAST, AT_LAST + NEXT_DAY, AT_LAST * 3, AT_LAST * 4] {
        let process = cloud.process_later(later);
        assert_eq!(collect(&process, slug).await.deferred, None);
        process.compact(slug, Compaction::ALL).await.expect("a run");
    }
}

/// The branches, with all that they reach, as it is served and as it lies there.
async fn assert_whole(cloud: &Cloud, slug: &str, history: &History, heads: &BTreeMap<String, String>) {
    cloud.assert_holds(slug, history, heads).await;
    let ids: Vec<String> =
        history.objects_of(&history.reachable(&heads.values().collect::<Vec<_>>())).into_iter().collect();
    let process = cloud.process();
    let repo = process.repo_id(slug).await;
    for id in &ids {
        let answer = process.object(&repo, id).await.expect("a whole answer");
        assert_eq!(answer.status, 200, "{id}");
        assert_eq!(answer.body, history.object(id).content, "{id}");
    }
}

async fn assert_no_finding(cloud: &Cloud, slug: &str) {
    assert_eq!(song::check(cloud, slug, true).await.findings, []);
}

async fn stored_bytes(cloud: &Cloud, slug: &str) -> u64 {
    let repo = cloud.process().repo_id(slug).await;
    let mut stored = cloud.stored(&format!("packs/{repo}/")).await;
    stored.extend(cloud.stored(&format!("objects/{repo}/")).await);
    stored.values().sum()
}

#[tokio::test]
async fn what_a_force_push_left_is_condemned_and_a_day_later_dropped() {
    let cloud = Cloud::start().await;
    let moved = Moved::push(&cloud, "song").await;
    let (main, left) = (heads(&[("main", &moved.tip)]), moved.left_objects());
    let done = collect(&cloud.process_later(NOW), "song").await;
    assert_eq!((done.commits, done.snapshots, done.objects), (2, 2, left.len() as u64), "{done:?}");
    assert_eq!((done.packs_rewritten, done.packs_condemned), (1, 1), "{done:?}");

    // It is there for those who have begun to read it; no push relies on it, and no fetch can want it any more.
    let process = cloud.process();
    let fetch = async || process.fetch::<_, &str>("song", &[&moved.left], &[]).await.expect("a whole answer").status;
    assert_eq!(fetch().await, 404);
    assert_eq!(process.missing("song", &left).await.len(), left.len());
    assert_whole(&cloud, "song", &moved.history, &main).await;
    assert_no_finding(&cloud, "song").await;

    // Before its time it is not dropped, and what is condemned is not condemned again.
    let done = collect(&cloud.process_later(CONDEMNED - HOUR), "song").await;
    assert_eq!(done, Collection { packs_condemned: 1, ..Collection::default() });
    assert_eq!(fetch().await, 404);

    let done = collect(&cloud.process_later(NEXT_DAY), "song").await;
    assert_eq!(done, Collection { packs_dropped: 1, ..Collection::default() });
    assert_eq!(fetch().await, 404);
    assert_whole(&cloud, "song", &moved.history, &main).await;
    assert_no_finding(&cloud, "song").await;

    // S3 has no more of it than of a repo that never had it.
    collect_all(&cloud, "song").await;
    let bundle = moved.history.pack(&moved.history.between::<_, &str>(&[&moved.tip], &[]));
    process.push("other", "main", false, &bundle.with_head("main", &moved.tip)).await.expect(200);
    let (bytes, least) = (stored_bytes(&cloud, "song").await, stored_bytes(&cloud, "other").await);
    assert!(bytes <= least + 200, "{bytes} bytes, and {least} would do");
    assert_whole(&cloud, "song", &moved.history, &main).await;
    assert_no_finding(&cloud, "song").await;

    // A client that has it may push it again.
    process.push_onto("song", "again", &moved.history, &[&moved.tip], &moved.left).await.expect(200);
    let both = heads(&[("again", &moved.left), ("main", &moved.tip)]);
    assert_whole(&cloud, "song", &moved.history, &both).await;
}

#[tokio::test]
async fn what_a_branch_a_tag_a_release_or_a_recent_push_reaches_is_kept() {
    let cloud = Cloud::start().await;
    let recently = cloud.process_later(NOW);
    let collector = cloud.process_later(RETENTION - CONDEMNED * 3);
    for kept_by in ["branch", "tag", "release", "log", "pack"] {
        let moved = Moved::push(&cloud, kept_by).await;
        let process = cloud.process();
        match kept_by {
            "branch" => {
                let nothing = Pack::default().with_head("other", &moved.left);
                process.push(kept_by, "other", false, &nothing).await.expect(200);
            }
            "tag" => {
                let tag = json!([{"tag": "take-1", "commit_id": moved.left, "created_at": "2025-03-01T00:00:00Z"}]);
                process.post_tags(kept_by, &tag).await.expect(200);
            }
            "release" => {
                let release = json!({"tag": "v1.0.0", "commit_id": moved.left, "channel": "stable"});
                process.post_release(kept_by, &release).await.expect(201);
            }
            "log" => {
                // There and back.
                for to in [&moved.left, &moved.tip] {
                    let nothing = Pack::default().with_head("main", to);
                    recently.push(kept_by, "main", true, &nothing).await.expect(200);
                }
            }
            _ => {
                // A recent pack has what no branch reaches, which names objects of an old one.
                let bundle = moved.history.pack(&moved.left_commits()).with_head("main", &moved.tip);
                let mut bundle = bundle.without_objects();
                let aside = moved.history.pack(&[&moved.reusing]);
                bundle.commits = aside.commits;
                bundle.snapshots = aside.snapshots;
                recently.push(kept_by, "main", false, &bundle).await.expect(200);
            }
        }
        let done = collect(&collector, kept_by).await;
        // The file that the recent pack names is kept.
        let expected = if kept_by == "pack" { (2, 2, moved.left_objects().len() as u64 - 1) } else { (0, 0, 0) };
        assert_eq!((done.commits, done.snapshots, done.objects), expected, "{kept_by}: {done:?}");
        collect(&cloud.process_later(RETENTION - CONDEMNED), kept_by).await;
        if kept_by == "pack" {
            let bundle = Pack::default().with_head("main", &moved.reusing);
            recently.push(kept_by, "main", false, &bundle).await.expect(200);
            let main = heads(&[("main", &moved.reusing)]);
            assert_whole(&cloud, kept_by, &moved.history, &main).await;
        } else {
            let answer = process.fetch::<_, &str>(kept_by, &[&moved.left], &[]).await.expect("a whole answer");
            assert_eq!(answer.status, 200, "{kept_by}");
        }
        assert_no_finding(&cloud, kept_by).await;
    }
}

/// What a client that pushes has heard before that the hub has.
#[derive(Clone, Copy, Debug)]
enum Reuse {
    /// A file.
    Object,
    /// A commit, to build upon.
    Commit,
    /// A commit, to bring the branch back to.
    Head,
}

impl Reuse {
    const ALL: [Self; 3] = [Self::Object, Self::Commit, Self::Head];

    async fn push(self, process: &Process, slug: &str, moved: &Moved) -> Answer {
        match self {
            Self::Object => process.push(slug, "main", false, &moved.reuse()).await,
            Self::Commit => process.push(slug, "again", false, &moved.carry_on()).await,
            Self::Head => process.restore(USER, slug, "main", None).await,
        }
    }

    /// The same by a client that is refused if that was dropped, and brings it then.
    async fn push_twice(self, process: &Process, slug: &str, moved: &Moved) {
        let answer = self.push(process, slug, moved).await;
        if answer.status == 200 {
            return;
        }
        let (branch, tip) = match self {
            Self::Object => ("main", &moved.reusing),
            Self::Commit => ("again", &moved.continuing),
            Self::Head => {
                answer.refused(404, "unknown_commit");
                let bundle = moved.history.pack(&moved.left_commits()).with_head("main", &moved.left);
                process.push(slug, "main", true, &bundle).await.expect(200);
                return;
            }
        };
        answer.refused(422, "missing_references");
        process.push_onto(slug, branch, &moved.history, &[&moved.tip], tip).await.expect(200);
    }

    /// The branches then.
    fn heads(self, moved: &Moved) -> BTreeMap<String, String> {
        match self {
            Self::Object => heads(&[("main", &moved.reusing)]),
            Self::Commit => heads(&[("again", &moved.continuing), ("main", &moved.tip)]),
            Self::Head => heads(&[("main", &moved.left)]),
        }
    }
}

/// It is there at once, and still when all garbage is gone, and what is garbage then is gone.
async fn assert_lasts(cloud: &Cloud, slug: &str, reuse: Reuse, moved: &Moved) {
    let heads = reuse.heads(moved);
    assert_whole(cloud, slug, &moved.history, &heads).await;
    collect_all(cloud, slug).await;
    assert_whole(cloud, slug, &moved.history, &heads).await;
    assert_no_finding(cloud, slug).await;
    if matches!(reuse, Reuse::Object) {
        let answer = cloud.process().fetch::<_, &str>(slug, &[&moved.left], &[]).await.expect("a whole answer");
        assert_eq!(answer.status, 404);
    }
}

/// The runs that a push may meet: one that condemns, and one that drops what was condemned.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Condemn,
    Drop,
}

impl Phase {
    const BOTH: [Self; 2] = [Self::Condemn, Self::Drop];

    /// A process that is about to do that.
    async fn begin(self, cloud: &Cloud, slug: &str) -> Process {
        match self {
            Self::Condemn => cloud.process_later(NOW),
            Self::Drop => {
                collect(&cloud.process_later(NOW), slug).await;
                cloud.process_later(NEXT_DAY)
            }
        }
    }

    fn is_done(self, done: &Collection) -> bool {
        match self {
            Self::Condemn => done.packs_rewritten == 1,
            Self::Drop => done.packs_dropped == 1,
        }
    }
}

/// What a run calls when nothing is wrong.
async fn calls_of(cloud: &Cloud, phase: Phase) -> Vec<Call> {
    let slug = format!("undisturbed-{phase:?}").to_lowercase();
    Moved::push(cloud, &slug).await;
    let process = phase.begin(cloud, &slug).await;
    let done = collect(&process, &slug).await;
    assert!(phase.is_done(&done), "{done:?}");
    let mut calls = process.tap.take();
    calls.drain(..calls.iter().position(|call| call.name.starts_with("Query")).expect("a query"));
    let kinds: BTreeSet<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    let mut expected = BTreeSet::from([
        "GET packs/ ranged",
        "PUT packs/",
        "Query LOG#",
        "Query PACK#",
        "Query REF#",
        "Query REL#",
        "Query TAG#",
    ]);
    expected.extend(match phase {
        Phase::Condemn => vec!["GetItem COLLECTED", "GetItem META", "PutItem GARBAGE", "TransactWriteItems 6"],
        Phase::Drop => vec!["DeleteItem GARBAGE", "GetItem META", "TransactWriteItems 4"],
    });
    assert_eq!(kinds, expected, "{phase:?}");
    calls
}

/// The push is made by a process that knows the repo as it was, and its client heard then what the repo has.
#[tokio::test]
async fn a_push_that_reuses_what_is_condemned_or_dropped_at_any_point_of_a_run_lasts() {
    let cloud = Cloud::start().await;
    for phase in Phase::BOTH {
        let calls = calls_of(&cloud, phase).await;
        for reuse in Reuse::ALL {
            for position in some_of(0..calls.len()) {
                let slug = format!("repo-{phase:?}-{reuse:?}-{position}").to_lowercase();
                let moved = Moved::push(&cloud, &slug).await;
                let process = phase.begin(&cloud, &slug).await;
                let pusher = cloud.process();
                pusher.missing(&slug, &["0".repeat(64)]).await;
                let (name, pushed) = (slug.clone(), Moved::new(8));
                process.script_nth(position, move |_| {
                    Reaction::After(Box::pin(async move {
                        match phase {
                            Phase::Condemn => drop(reuse.push(&pusher, &name, &pushed).await.expect(200)),
                            Phase::Drop => reuse.push_twice(&pusher, &name, &pushed).await,
                        }
                    }))
                });
                let done = collect(&process, &slug).await;
                process.tap.heal();
                // A push while it looks may make it look again later.
                assert!(matches!(done.deferred, None | Some(Deferred::Incomplete)), "{done:?}");
                assert_lasts(&cloud, &slug, reuse, &moved).await;
            }
        }
    }
}

/// The run begins and ends between two calls of the push, whose transaction is heard of or not.
#[tokio::test]
async fn a_run_at_any_point_of_a_push_that_reuses_what_it_condemns_loses_nothing() {
    let cloud = Cloud::start().await;
    for (reuse, is_heard) in Reuse::ALL.into_iter().flat_map(|reuse| [(reuse, true), (reuse, false)]) {
        for position in some_of(0..) {
            let slug = format!("repo-{reuse:?}-{is_heard}-{position}").to_lowercase();
            let moved = Moved::push(&cloud, &slug).await;
            let (pusher, runner) = (cloud.process(), cloud.process_later(NOW));
            pusher.missing(&slug, &["0".repeat(64)]).await;
            let name = slug.clone();
            let has_run = pusher.interrupt(position, is_heard, async move {
                collect(&runner, &name).await;
            });
            reuse.push(&pusher, &slug, &moved).await.expect(200);
            pusher.tap.heal();
            assert_lasts(&cloud, &slug, reuse, &moved).await;
            if !has_run.load(Ordering::Relaxed) {
                assert!(position > 3, "a push has some calls");
                break;
            }
        }
    }
}

/// What is condemned is dropped between any two calls of a push that needs it: the push succeeds, or is refused for what is
/// missing and succeeds with that.
#[tokio::test]
async fn a_push_that_meets_the_drop_of_what_it_reuses_succeeds_or_is_refused() {
    let cloud = Cloud::start().await;
    for reuse in [Reuse::Object, Reuse::Head] {
        for position in some_of(0..) {
            let slug = format!("repo-{reuse:?}-{position}").to_lowercase();
            let moved = Moved::push(&cloud, &slug).await;
            let pusher = cloud.process();
            pusher.missing(&slug, &["0".repeat(64)]).await;
            let runner = Phase::Drop.begin(&cloud, &slug).await;
            let name = slug.clone();
            let has_run = pusher.interrupt(position, true, async move {
                collect(&runner, &name).await;
            });
            reuse.push_twice(&pusher, &slug, &moved).await;
            pusher.tap.heal();
            assert_lasts(&cloud, &slug, reuse, &moved).await;
            if !has_run.load(Ordering::Relaxed) {
                assert!(position > 5, "a push that revives has some calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_run_survives_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    for phase in Phase::BOTH {
        for (position, call) in calls_of(&cloud, phase).await.into_iter().enumerate() {
            for (number, fault) in Fault::some_passing(position, &call).enumerate() {
                let slug = format!("repo-{phase:?}-{position}-{number}").to_lowercase();
                let moved = Moved::push(&cloud, &slug).await;
                let process = phase.begin(&cloud, &slug).await;
                process.script_nth(position, move |_| Reaction::Fail(fault));
                let done = collect(&process, &slug).await;
                assert!(phase.is_done(&done), "{fault:?} of {}: {done:?}", call.name);
                process.tap.heal();
                cloud.assert_holds(&slug, &moved.history, &heads(&[("main", &moved.tip)])).await;
            }
        }
    }
}

/// The process is gone when it makes a call, or when that is made and before it hears of it.
#[tokio::test]
async fn after_a_crash_at_any_call_the_next_run_goes_on() {
    let cloud = Cloud::start().await;
    for phase in Phase::BOTH {
        for (position, call) in some_of(calls_of(&cloud, phase).await.into_iter().enumerate()) {
            for is_made in [false, true] {
                let slug = format!("repo-{phase:?}-{position}-{is_made}").to_lowercase();
                let moved = Moved::push(&cloud, &slug).await;
                let process = phase.begin(&cloud, &slug).await;
                let crash = Arc::new(Notify::new());
                let crashing = Arc::clone(&crash);
                process.script_nth(position, move |_| {
                    let gone: BoxFuture<'static, ()> = Box::pin(async move {
                        crashing.notify_one();
                        std::future::pending::<()>().await;
                    });
                    if is_made { Reaction::Between(Box::pin(async {}), gone) } else { Reaction::After(gone) }
                });
                tokio::select! {
                    done = process.collect(&slug, Limits::ALL) => panic!("{} was not made: {done:?}", call.name),
                    () = crash.notified() => {}
                }
                let main = heads(&[("main", &moved.tip)]);
                cloud.assert_holds(&slug, &moved.history, &main).await;
                collect_all(&cloud, &slug).await;
                assert_whole(&cloud, &slug, &moved.history, &main).await;
                assert_no_finding(&cloud, &slug).await;
                let left = cloud.process().fetch::<_, &str>(&slug, &[&moved.left], &[]).await.expect("a whole answer");
                assert_eq!(left.status, 404, "after a crash at {}", call.name);
            }
        }
    }
}

#[tokio::test]
async fn two_runs_at_once_do_no_harm() {
    let cloud = Cloud::start().await;
    for phase in Phase::BOTH {
        for position in some_of(0..calls_of(&cloud, phase).await.len()) {
            let slug = format!("repo-{phase:?}-{position}").to_lowercase();
            let moved = Moved::push(&cloud, &slug).await;
            let process = phase.begin(&cloud, &slug).await;
            let other = cloud.process_later(if matches!(phase, Phase::Drop) { NEXT_DAY } else { NOW });
            let name = slug.clone();
            process.script_nth(position, move |_| {
                Reaction::After(Box::pin(async move {
                    collect(&other, &name).await;
                }))
            });
            collect(&process, &slug).await;
            let main = heads(&[("main", &moved.tip)]);
            assert_whole(&cloud, &slug, &moved.history, &main).await;
            collect_all(&cloud, &slug).await;
            assert_whole(&cloud, &slug, &moved.history, &main).await;
            assert_no_finding(&cloud, &slug).await;
        }
    }
}

/// A fetch that has listed the packs reads what it has listed, whatever is condemned, dropped and merged meanwhile.
#[tokio::test]
async fn a_clone_in_flight_ends_well() {
    let cloud = Cloud::start().await;
    for position in some_of(0..) {
        let slug = format!("repo-{position}");
        let moved = Moved::push(&cloud, &slug).await;
        let (reader, other) = (cloud.process(), cloud.process_later(NOW));
        let name = slug.clone();
        let has_run = reader.interrupt(position, true, async move {
            assert_eq!(collect(&other, &name).await.packs_rewritten, 1);
            other.compact(&name, Compaction::ALL).await.expect("a run");
        });
        for tip in [&moved.tip, &moved.left] {
            let answer = reader.fetch::<_, &str>(&slug, &[tip], &[]).await.expect("a whole answer");
            if tip == &moved.left && has_run.load(Ordering::Relaxed) && answer.status == 404 {
                continue;
            }
            let answer = answer.expect(200);
            crate::process::assert_is(&moved.history, &[tip], &Pack::from_value(&answer).unwrap());
        }
        if !has_run.load(Ordering::Relaxed) {
            assert!(position > 5, "a fetch has some calls");
            break;
        }
    }
}

#[tokio::test]
async fn abandoned_uploads_go_and_those_of_today_stay() {
    let cloud = Cloud::start().await;
    Moved::push(&cloud, "song").await;
    let mut builder = Builder::new(5);
    let objects: Vec<_> = (0..3).map(|_| tests::history::Object::new(builder.bytes(300))).collect();
    let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
    cloud.process().push_objects("song", &objects[..1]).await.expect(200);
    cloud.process_later(NOW).push_objects("song", &objects[1..2]).await.expect(200);
    let url = cloud.process().put_url("song", ids[2]).await;
    crate::process::put(&url, objects[2].content.clone()).await;
    assert_eq!(cloud.process().missing("song", &ids).await, [] as [&str; 0]);

    let done = collect(&cloud.process_later(NOW), "song").await;
    assert!(done.objects >= 2, "{done:?}");
    assert_eq!(cloud.process().missing("song", &ids).await, [ids[0], ids[2]]);
    for later in [NEXT_DAY, AT_LAST] {
        let process = cloud.process_later(later);
        collect(&process, "song").await;
        process.compact("song", Compaction::ALL).await.expect("a run");
    }
    let repo = cloud.process().repo_id("song").await;
    assert_eq!(cloud.stored(&format!("objects/{repo}/")).await, BTreeMap::new());
    assert_eq!(cloud.process().missing("song", &ids).await, [ids[0], ids[2]]);
    assert_no_finding(&cloud, "song").await;
}

#[tokio::test]
async fn where_something_is_missing_nothing_is_collected() {
    let cloud = Cloud::start().await;
    let moved = Moved::push(&cloud, "song").await;
    cloud.process().push_onto("song", "main", &moved.history, &[&moved.tip], &moved.reusing).await.expect(200);
    let repo = cloud.process().repo_id("song").await;
    let stored = cloud.stored(&format!("packs/{repo}/")).await;
    let last = stored.keys().next_back().expect("packs").rsplit('/').next().expect("a name").trim_end_matches(".pack");
    cloud.delete_item(&format!("REPO#{repo}"), &format!("PACK#{last}")).await;
    for later in [NOW, NEXT_DAY] {
        let done = collect(&cloud.process_later(later), "song").await;
        assert_eq!(done, Collection { deferred: Some(Deferred::Incomplete), ..Collection::default() });
    }
    assert_eq!(cloud.stored(&format!("packs/{repo}/")).await, stored);
}

/// A run that may read or write little does nothing, or ends early.
#[tokio::test]
async fn a_run_keeps_its_limits() {
    let cloud = Cloud::start().await;
    Moved::push(&cloud, "song").await;
    let process = cloud.process_later(NOW);
    let little = Limits { manifests: 10, ..Limits::ALL };
    let done = process.collect("song", little).await.expect("a run");
    assert_eq!(done, Collection { deferred: Some(Deferred::TooLarge), ..Collection::default() });
    let none = process.collect("song", Limits { bytes: 0, ..Limits::ALL }).await.expect("a run");
    assert_eq!(none, Collection::default());
    assert_eq!(collect(&process, "song").await.packs_rewritten, 1);
}

/// Garbage that is not worth it stays in its pack, until it is or an operator asks.
#[tokio::test]
async fn a_pack_with_little_garbage_is_not_written_again_in_passing() {
    let cloud = Cloud::start().await;
    let mut builder = Builder::new(3);
    let mut tree = builder.files(4);
    tree.insert("large.wav".to_owned(), builder.bytes(100_000));
    let first = builder.commit(&[], &tree);
    let (tip, left) = (builder.child(&[&first]), builder.child(&[&first]));
    let history = builder.finish();
    let process = cloud.process();
    process.push_onto("song", "main", &history, &[], &left).await.expect(200);
    process.push("song", "main", true, &history.pack(&[&tip]).with_head("main", &tip)).await.expect(200);
    let runner = cloud.process_later(NOW);
    assert_eq!(runner.collect("song", Limits::IN_PASSING).await.expect("a run"), Collection::default());
    assert_eq!(collect(&runner, "song").await.packs_rewritten, 1);
}

/// A push has it looked for some day; then only what is left to do has.
#[tokio::test]
async fn garbage_is_looked_for_after_a_push_and_a_repo_without_any_is_left_alone() {
    let cloud = Cloud::start().await;
    let moved = Moved::push(&cloud, "song").await;
    cloud.process().push_onto("other", "main", &moved.history, &[], &moved.tip).await.expect(200);
    let [song, other] = [cloud.process().repo_id("song").await, cloud.process().repo_id("other").await];
    let is_due = async |process: &Process, repo: &str| {
        let due = process.hub.store.due_upkeep().await.expect("the store answers");
        due.iter().any(|due| due.as_str() == repo)
    };
    let run = async |process: &Process, repo: &str| {
        compact::repo(&process.hub.store, &repo.parse().unwrap()).await.expect("a run");
    };
    let process = cloud.process_later(NOW);
    for repo in [&song, &other] {
        run(&process, repo).await;
    }
    let before = cloud.process_later(RETENTION - HOUR);
    let after = cloud.process_later(RETENTION + HOUR);
    for repo in [&song, &other] {
        assert!(!is_due(&before, repo).await && is_due(&after, repo).await);
        run(&after, repo).await;
    }
    let next_day = cloud.process_later(RETENTION + NEXT_DAY);
    assert!(is_due(&next_day, &song).await && !is_due(&next_day, &other).await);
    run(&next_day, &song).await;
    let in_a_year = cloud.process_later(RETENTION * 12);
    run(&in_a_year, &song).await;
    assert!(!is_due(&cloud.process_later(RETENTION * 24), &other).await, "nothing is expected");

    // As the stream says it, when DynamoDB has deleted the item.
    let moved = Moved::push(&cloud, "streamed").await;
    let repo = cloud.process().repo_id("streamed").await;
    let record = json!({
        "eventName": "REMOVE",
        "dynamodb": {"Keys": {"pk": {"S": format!("REPO#{repo}")}, "sk": {"S": GARBAGE}}, "SequenceNumber": "1"},
    });
    let event = serde_json::from_value(json!({"Records": [record]})).expect("an event");
    assert!(
        compact::handle(&process.hub.store, &compact::Shares::default(), event, Timestamp::MAX)
            .await
            .failures
            .is_empty()
    );
    assert_eq!(process.missing("streamed", &moved.left_objects()).await.len(), moved.left_objects().len());
}

/// What no branch reaches may still be what the next push builds upon: a commit that was pushed and that no branch was
/// moved to, by a client that heard that the hub has a file of it.
#[tokio::test]
async fn what_was_pushed_without_a_branch_while_a_run_condemned_its_file_is_whole_when_a_branch_comes() {
    let cloud = Cloud::start().await;
    let positions = 0..calls_of(&cloud, Phase::Condemn).await.len();
    let staging = [Reuse::Object, Reuse::Commit].into_iter();
    for (reuse, position) in staging.flat_map(|reuse| positions.clone().map(move |at| (reuse, at))) {
        let slug = format!("repo-{reuse:?}-{position}").to_lowercase();
        let moved = Moved::push(&cloud, &slug).await;
        let (process, pusher) = (cloud.process_later(NOW), cloud.process_later(NOW));
        pusher.missing(&slug, &["0".repeat(64)]).await;
        // It is under way when the run condemns: its last call waits until the run has ended.
        let (has_planned, has_run) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (planned, ran) = (Arc::clone(&has_planned), Arc::clone(&has_run));
        pusher.tap.script(move |call| {
            let (planned, ran) = (Arc::clone(&planned), Arc::clone(&ran));
            if !call.is_transaction() {
                return Reaction::Forward;
            }
            Reaction::After(Box::pin(async move {
                planned.notify_one();
                ran.notified().await;
            }))
        });
        let (bundle, branch) = match reuse {
            Reuse::Object => (moved.reuse(), Pack::default().with_head("main", &moved.reusing)),
            Reuse::Commit => (moved.carry_on(), Pack::default().with_head("again", &moved.continuing)),
            Reuse::Head => continue,
        };
        let push = async {
            let mut bundle = bundle;
            bundle.branch_heads = heads(&[("main", &moved.tip)]);
            pusher.push(&slug, "main", false, &bundle).await.expect(200);
        };
        let planned = Arc::clone(&has_planned);
        process.script_nth(position, move |_| Reaction::After(Box::pin(async move { planned.notified().await })));
        let run = async {
            assert_eq!(collect(&process, &slug).await.packs_rewritten, 1);
            has_run.notify_one();
        };
        tokio::join!(push, run);
        pusher.tap.heal();
        collect(&cloud.process_later(NEXT_DAY), &slug).await;
        cloud.process_later(AT_LAST).compact(&slug, Compaction::ALL).await.expect("a run");
        let name = branch.branch_heads.keys().next().expect("a branch");
        cloud.process_later(AT_LAST).push(&slug, name, false, &branch).await.expect(200);
        assert_whole(&cloud, &slug, &moved.history, &reuse.heads(&moved)).await;
        assert_no_finding(&cloud, &slug).await;
    }
}

/// One thing that happens to a repo.
#[derive(Clone, Debug)]
enum Event {
    /// A commit on top of one that was ever made, or of none, is pushed to a branch by force; perhaps with a file of another.
    Push { branch: usize, parent: usize, file_of: usize },
    /// A branch is moved by force to any commit that the hub has.
    Move { branch: usize, to: usize },
    /// Packs are merged.
    Compact,
    /// Days pass, and garbage is collected.
    Collect { days: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let any = || 0..1_000_usize;
    prop_oneof![
        4 => (0..3_usize, any(), any()).prop_map(|(branch, parent, file_of)| Event::Push { branch, parent, file_of }),
        1 => (0..3_usize, any()).prop_map(|(branch, to)| Event::Move { branch, to }),
        1 => Just(Event::Compact),
        3 => (1..50_u64).prop_map(|days| Event::Collect { days }),
    ]
}

/// Whatever is pushed and collected in whatever order: what branches reach is served, and nothing else is left in the end.
#[test]
fn for_every_history_what_is_reached_stays_and_nothing_else_does() {
    let slugs = AtomicUsize::new(0);
    for_every(24, proptest::collection::vec(event(), 1..16), Cloud::start, async |cloud, events| {
        let slug = format!("repo-{}", slugs.fetch_add(1, Ordering::Relaxed));
        let (mut builder, mut now) = (Builder::new(4), Duration::ZERO);
        let mut made: Vec<String> = Vec::new();
        let mut branches: BTreeMap<String, String> = BTreeMap::new();
        for event in events {
            let process = cloud.process_later(now);
            match event {
                Event::Push { branch, parent, file_of } => {
                    let pick = |number: usize| {
                        let made = made.get(number % made.len().max(1));
                        made.filter(|_| !number.is_multiple_of(7))
                    };
                    let mut tree = match pick(parent) {
                        Some(commit) => builder.tree(commit),
                        None => builder.files(3),
                    };
                    if let Some(other) = pick(file_of) {
                        tree.extend(builder.tree(other).into_iter().take(2));
                    }
                    tree.insert("take.mid".to_owned(), builder.bytes(60));
                    let parents: Vec<&str> = pick(parent).into_iter().map(String::as_str).collect();
                    let tip = builder.commit(&parents, &tree);
                    // As a client does it, which knows where the hub's branches are.
                    let branch = format!("branch-{branch}");
                    let have: Vec<&String> = branches.values().collect();
                    let commits = builder.history().between(&[&tip], &have);
                    let mut bundle = builder.history().pack(&commits).with_head(&branch, &tip);
                    let ids: Vec<String> = bundle.object_ids().into_iter().collect();
                    if !branches.is_empty() {
                        let missing = process.missing(&slug, &ids).await;
                        bundle.objects.retain(|object| missing.contains(&object.id));
                    }
                    process.push(&slug, &branch, true, &bundle).await.expect(200);
                    made.push(tip.clone());
                    branches.insert(branch, tip);
                }
                Event::Move { branch, to } => {
                    let reached: Vec<String> =
                        builder.history().reachable(&branches.values().collect::<Vec<_>>()).into_iter().collect();
                    let branch = format!("branch-{branch}");
                    if let Some(to) = reached.get(to % reached.len().max(1)) {
                        let nothing = Pack::default().with_head(&branch, to);
                        process.push(&slug, &branch, true, &nothing).await.expect(200);
                        branches.insert(branch, to.clone());
                    }
                }
                Event::Compact if !branches.is_empty() => {
                    process.compact(&slug, Compaction::ALL).await.expect("a run");
                }
                Event::Collect { days } if !branches.is_empty() => {
                    now += Duration::from_secs(days * 24 * 60 * 60);
                    let process = cloud.process_later(now);
                    assert_eq!(collect(&process, &slug).await.deferred, None);
                    process.compact(&slug, Compaction::ALL).await.expect("a run");
                }
                Event::Compact | Event::Collect { .. } => {}
            }
            if !branches.is_empty() {
                cloud.assert_holds(&slug, builder.history(), &branches).await;
            }
        }
        if branches.is_empty() {
            return;
        }
        for _ in 0..3 {
            now += RETENTION + NEXT_DAY;
            let process = cloud.process_later(now);
            assert_eq!(collect(&process, &slug).await.deferred, None);
            process.compact(&slug, Compaction::ALL).await.expect("a run");
        }
        let reached = builder.history().reachable(&branches.values().collect::<Vec<_>>());
        let report = song::check(cloud, &slug, true).await;
        assert_eq!(report.findings, []);
        let counts = [report.counts.commits, report.counts.snapshots, report.counts.objects];
        let expected = [
            reached.len(),
            builder.history().snapshots_of(&reached).len(),
            builder.history().objects_of(&reached).len(),
        ];
        assert_eq!(counts, expected.map(|count| count as u64));
    });
}

/// What is revived is relied upon as a whole: what no push needs of it needs the other pack.
#[tokio::test]
async fn a_pack_that_is_revived_brings_back_what_any_of_it_needs() {
    let cloud = Cloud::start().await;
    let mut builder = Builder::new(9);
    let tree = builder.files(3);
    let tip = builder.commit(&[], &tree);
    let mut draft = tree.clone();
    draft.insert("first.mid".to_owned(), builder.bytes(300));
    let first = builder.commit(&[&tip], &draft);
    draft.insert("second.mid".to_owned(), builder.bytes(300));
    let second = builder.commit(&[&first], &draft);
    let mut reused = tree.clone();
    reused.insert("again.mid".to_owned(), draft["second.mid"].clone());
    let reusing = builder.commit(&[&tip], &reused);
    let history = builder.finish();
    let process = cloud.process();
    process.push_onto("song", "main", &history, &[], &tip).await.expect(200);
    process.push_onto("song", "main", &history, &[&tip], &first).await.expect(200);
    process.push_onto("song", "main", &history, &[&first], &second).await.expect(200);
    process.push("song", "main", true, &Pack::default().with_head("main", &tip)).await.expect(200);

    // A push that reuses a file of the last commit is about to land.
    let (pusher, runner) = (cloud.process_later(NOW), cloud.process_later(NOW));
    let mut runs = Some(runner);
    pusher.tap.script(move |call| match runs.take_if(|_| call.is_transaction()) {
        Some(runner) => Reaction::After(Box::pin(async move {
            assert_eq!(collect(&runner, "song").await.packs_condemned, 2);
        })),
        None => Reaction::Forward,
    });
    let mut bundle = history.pack(&[&reusing]).with_head("main", &reusing);
    bundle.objects.clear();
    pusher.push("song", "main", false, &bundle).await.expect(200);

    for _ in 0..2 {
        let done = collect(&cloud.process_later(NEXT_DAY), "song").await;
        assert_eq!((done.packs_revived, done.packs_dropped), (1, 0), "{done:?}");
    }
    // And so a branch may be moved to what is no more needed than that.
    process.push("song", "again", false, &Pack::default().with_head("again", &second)).await.expect(200);
    let both = heads(&[("again", &second), ("main", &reusing)]);
    assert_whole(&cloud, "song", &history, &both).await;
    collect_all(&cloud, "song").await;
    assert_whole(&cloud, "song", &history, &both).await;
}

/// Until a branch reaches an object no reader sees it. One that was staged again, because it was condemned, is seen all
/// the same if a branch reached it where it is condemned.
#[tokio::test]
async fn an_object_that_was_staged_again_stays_in_sight() {
    let cloud = Cloud::start().await;
    let moved = Moved::push(&cloud, "song").await;
    let (pusher, runner) = (cloud.process(), cloud.process_later(NOW));
    let mut runs = Some(runner);
    pusher.tap.script(move |call| match runs.take_if(|_| call.is_transaction()) {
        Some(runner) => Reaction::After(Box::pin(async move {
            assert_eq!(collect(&runner, "song").await.packs_condemned, 1);
        })),
        None => Reaction::Forward,
    });
    Reuse::Object.push(&pusher, "song", &moved).await.expect(200);
    let objects: Vec<_> = moved.left_objects().iter().map(|id| moved.history.object(id)).collect();
    cloud.process_later(NOW).push_objects("song", &objects).await.expect(200);
    let main = Reuse::Object.heads(&moved);
    assert_whole(&cloud, "song", &moved.history, &main).await;
    assert_eq!(collect(&cloud.process_later(NEXT_DAY), "song").await.packs_revived, 1);
    assert_whole(&cloud, "song", &moved.history, &main).await;
}

/// A push that was planned before moves a branch to a commit that is condemned. The next push finds it so.
#[tokio::test]
async fn a_branch_that_leads_to_what_is_condemned_can_be_pushed_to() {
    let cloud = Cloud::start().await;
    let moved = Moved::push(&cloud, "song").await;
    let (pusher, runner) = (cloud.process(), cloud.process_later(NOW));
    let mut runs = Some(runner);
    pusher.tap.script(move |call| match runs.take_if(|_| call.is_transaction()) {
        Some(runner) => Reaction::After(Box::pin(async move {
            assert_eq!(collect(&runner, "song").await.packs_condemned, 1);
        })),
        None => Reaction::Forward,
    });
    let branch = Pack::default().with_head("again", &moved.left);
    pusher.push("song", "again", false, &branch).await.expect(200);
    let before = heads(&[("again", &moved.left), ("main", &moved.tip)]);
    assert_whole(&cloud, "song", &moved.history, &before).await;

    let process = cloud.process();
    process.push_onto("song", "again", &moved.history, &[&moved.left], &moved.continuing).await.expect(200);
    let after = Reuse::Commit.heads(&moved);
    assert_whole(&cloud, "song", &moved.history, &after).await;
    let done = collect(&cloud.process_later(NEXT_DAY), "song").await;
    assert_eq!(done, Collection::default(), "it was revived");
    assert_whole(&cloud, "song", &moved.history, &after).await;
}

/// A push that was planned before moves a branch to a commit that is condemned. A tag and a release may name it all the same.
#[tokio::test]
async fn what_is_condemned_and_a_branch_leads_to_can_be_named() {
    let cloud = Cloud::start().await;
    for (slug, is_release) in [("tagged", false), ("released", true)] {
        let moved = Moved::push(&cloud, slug).await;
        let (pusher, runner) = (cloud.process(), cloud.process_later(NOW));
        let mut runs = Some(runner);
        pusher.tap.script(move |call| match runs.take_if(|_| call.is_transaction()) {
            Some(runner) => Reaction::After(Box::pin(async move {
                assert_eq!(collect(&runner, slug).await.packs_condemned, 1);
            })),
            None => Reaction::Forward,
        });
        let branch = Pack::default().with_head("again", &moved.left);
        pusher.push(slug, "again", false, &branch).await.expect(200);

        let process = cloud.process();
        let nowhere = json!({"tag": "v0", "commit_id": "0".repeat(64)});
        let named = json!({"tag": "v1", "commit_id": moved.left});
        if is_release {
            process.post_release(slug, &nowhere).await.refused(422, "missing_references");
            process.post_release(slug, &named).await.expect(201);
        } else {
            process.post_tags(slug, &json!([nowhere])).await.refused(422, "missing_references");
            process.post_tags(slug, &json!([named])).await.expect(200);
        }
        let heads = heads(&[("again", &moved.left), ("main", &moved.tip)]);
        let done = collect(&cloud.process_later(NEXT_DAY), slug).await;
        assert_eq!(done, Collection::default(), "it was revived");
        assert_whole(&cloud, slug, &moved.history, &heads).await;
    }
}

/// The bulk of what was left lies in one pack, and in another, with much that is kept, only what names it.
#[tokio::test]
async fn in_passing_a_run_that_condemns_anything_condemns_what_names_it_too() {
    let cloud = Cloud::start().await;
    let mut builder = Builder::new(7);
    let mut tree = builder.files(3);
    tree.insert("kept.wav".to_owned(), builder.bytes(150_000));
    let first = builder.commit(&[], &tree);
    let mut draft = tree.clone();
    draft.insert("left.wav".to_owned(), builder.bytes(150_000));
    let (tip, left) = (builder.child(&[&first]), builder.commit(&[&first], &draft));
    let history = builder.finish();
    let process = cloud.process();
    let staged = Moved::objects_only(&history, &left, &first);
    process.push_objects("song", &staged).await.expect(200);
    process.push_onto("song", "main", &history, &[], &first).await.expect(200);
    process.push_onto("song", "main", &history, &[&first], &left).await.expect(200);
    process.push("song", "main", true, &history.pack(&[&tip]).with_head("main", &tip)).await.expect(200);
    let repo = process.repo_id("song").await;
    let bulk = cloud.stored(&format!("packs/{repo}/")).await.into_values().max().expect("packs");
    // All but the objects that were staged become one pack.
    cloud.process().compact("song", Compaction { bytes: 200_000, ..Compaction::ALL }).await.expect("a run");
    for (later, condemned, dropped) in [(NOW, true, false), (NEXT_DAY, false, true)] {
        let done = cloud.process_later(later).collect("song", Limits::IN_PASSING).await.expect("a run");
        assert_eq!((done.packs_rewritten > 0, done.packs_dropped > 0), (condemned, dropped), "{done:?}");
        assert_eq!(done.packs_revived, 0, "{done:?}");
    }
    cloud.process_later(LATER).compact("song", Compaction::ALL).await.expect("a run");
    assert!(stored_bytes(&cloud, "song").await < bulk + 20_000);
    assert_whole(&cloud, "song", &history, &heads(&[("main", &tip)])).await;
}

/// A run that keeps less of the push log has condemned; another, that would keep more, drops it all the same.
#[tokio::test]
async fn what_was_condemned_with_a_short_retention_is_dropped_with_a_long_one() {
    let cloud = Cloud::start().await;
    let moved = Moved::new(8);
    let process = cloud.process_later(NOW);
    process.push_onto("song", "main", &moved.history, &[], &moved.left).await.expect(200);
    let bundle = moved.history.pack(&[&moved.tip]).with_head("main", &moved.tip);
    process.push("song", "main", true, &bundle).await.expect(200);
    let in_a_week = CONDEMNED * 7;
    let short = Limits { retention: CONDEMNED * 5, ..Limits::ALL };
    let done = cloud.process_later(in_a_week).collect("song", short).await.expect("a run");
    assert_eq!(done.packs_condemned, 1, "{done:?}");
    let done = collect(&cloud.process_later(in_a_week + NEXT_DAY), "song").await;
    assert_eq!(done, Collection { packs_dropped: 1, ..Collection::default() });
    assert_whole(&cloud, "song", &moved.history, &heads(&[("main", &moved.tip)])).await;
    assert_no_finding(&cloud, "song").await;
}

/// The push names a commit alone, as one that only moves a branch does. It is condemned, and is there.
#[tokio::test]
async fn a_branch_can_be_moved_to_what_is_condemned() {
    let cloud = Cloud::start().await;
    for is_force in [false, true] {
        let slug = format!("song-{is_force}");
        let moved = Moved::push(&cloud, &slug).await;
        assert_eq!(collect(&cloud.process_later(NOW), &slug).await.packs_condemned, 1);
        let (branch, heads) = if is_force {
            ("main", heads(&[("main", &moved.left)]))
        } else {
            ("again", heads(&[("again", &moved.left), ("main", &moved.tip)]))
        };
        let nothing = Pack::default().with_head(branch, &moved.left);
        cloud.process().push(&slug, branch, is_force, &nothing).await.expect(200);
        assert_whole(&cloud, &slug, &moved.history, &heads).await;
        collect_all(&cloud, &slug).await;
        assert_whole(&cloud, &slug, &moved.history, &heads).await;
    }
}

/// A request that has listed the packs before two were condemned, and looks into them after another has seen that.
#[tokio::test]
async fn an_old_list_does_not_bring_back_what_was_condemned_since() {
    let cloud = Cloud::start().await;
    let moved = Moved::push(&cloud, "song").await;
    let process = Arc::new(cloud.process());
    // Something is condemned already, so that there is an index without it.
    let staged = tests::history::Object::new(&b"staged"[..]);
    process.push_objects("song", std::slice::from_ref(&staged)).await.expect(200);
    let first = cloud.process_later(NOW).collect("song", Limits { bytes: 1, ..Limits::ALL }).await.expect("a run");
    assert_eq!((first.packs_rewritten, first.objects), (1, 1), "{first:?}");
    let left = moved.left_objects();
    let (runner, other, ids) = (cloud.process_later(NOW), Arc::clone(&process), left.clone());
    let mut runs = Some(runner);
    process.tap.script(move |call| match runs.take_if(|_| call.name == "Query PACK#") {
        Some(runner) => {
            let (other, ids) = (Arc::clone(&other), ids.clone());
            Reaction::Between(
                Box::pin(async {}),
                Box::pin(async move {
                    assert_eq!(collect(&runner, "song").await.packs_rewritten, 1);
                    assert_eq!(other.missing("song", &ids).await.len(), ids.len());
                }),
            )
        }
        None => Reaction::Forward,
    });
    assert_eq!(process.missing("song", &left).await, [] as [&str; 0], "as it was when it began");
    assert_eq!(process.missing("song", &left).await.len(), left.len());
}
