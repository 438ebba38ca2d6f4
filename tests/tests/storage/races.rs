//! Another process does something between two calls of a request. The races are not left to chance: the other acts
//! when the call that it is to come before is about to be made.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;
use service::routes::Function;
use tests::client::Answer;
use tests::encoding::Encoding;
use tests::history::{Builder, History, Pack};
use tests::wiretap::{Call, Fault, Reaction};

use crate::process::{Cloud, Process, USER, assert_is};

/// A root, and what two people made of it: `ours` has two commits on it, `theirs` one.
struct Fork {
    slug: String,
    history: History,
    root: String,
    between: String,
    ours: String,
    theirs: String,
}

fn fork(slug: &str) -> Fork {
    let mut builder = Builder::new(9);
    let root = builder.child(&[]);
    let between = builder.child(&[&root]);
    let ours = builder.child(&[&between]);
    let theirs = builder.child(&[&root]);
    Fork { slug: slug.to_owned(), history: builder.finish(), root, between, ours, theirs }
}

/// The fork, and a merge of both its ends.
fn merged(fork: &Fork) -> (History, String) {
    let mut builder = Builder::new(9);
    let root = builder.child(&[]);
    let between = builder.child(&[&root]);
    builder.child(&[&between]);
    builder.child(&[&root]);
    let merge = builder.child(&[&fork.theirs, &fork.ours]);
    (builder.finish(), merge)
}

fn heads<const N: usize>(heads: [(&str, &str); N]) -> BTreeMap<String, String> {
    heads.into_iter().map(|(branch, head)| (branch.to_owned(), head.to_owned())).collect()
}

/// One cloud, two processes; the repo `song` with the root as its `main`, unless it is not to be there yet.
async fn two(has_root: bool) -> (Cloud, Process, Arc<Process>, Fork) {
    let (cloud, fork) = (Cloud::start().await, fork("song"));
    let (we, they) = (cloud.process(), Arc::new(cloud.process()));
    if has_root {
        we.push_onto("song", "main", &fork.history, &[], &fork.root).await.expect(200);
        we.refs("song").await.expect(200);
    }
    we.tap.take();
    (cloud, we, they, fork)
}

/// A push of theirs that has to succeed, to be made when the time comes.
fn push(they: &Arc<Process>, branch: &str, fork: &Fork, tip: &str) -> BoxFuture<'static, ()> {
    let bundle = fork.history.pack_of(tip).with_head(branch, tip);
    let (they, slug, branch) = (Arc::clone(they), fork.slug.clone(), branch.to_owned());
    Box::pin(async move { drop(they.push(&slug, &branch, false, &bundle).await.expect(200)) })
}

/// `theirs` is done when our first transaction is about to be made.
fn land_first(we: &Process, theirs: BoxFuture<'static, ()>) {
    land_before_call(we, Call::is_transaction, theirs);
}

/// `theirs` is done when the first call that `is_meant` is about to be made.
fn land_before_call(
    we: &Process,
    mut is_meant: impl FnMut(&Call) -> bool + Send + 'static,
    theirs: BoxFuture<'static, ()>,
) {
    let mut theirs = Some(theirs);
    we.tap.script(move |call| match theirs.take_if(|_| is_meant(call)) {
        Some(theirs) => Reaction::After(theirs),
        None => Reaction::Forward,
    });
}

async fn push_ours(we: &Process, branch: &str, fork: &Fork) -> Answer {
    we.push_onto(&fork.slug, branch, &fork.history, &[], &fork.ours).await
}

fn transactions(we: &Process) -> usize {
    we.tap.take().iter().filter(|call| call.is_transaction()).count()
}

#[tokio::test]
async fn a_push_that_was_overtaken_by_another_history_is_a_409() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "main", &fork, &fork.theirs));
    push_ours(&we, "main", &fork).await.refused(409, "non_fast_forward");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.theirs)])).await;

    let (whole, merge) = merged(&fork);
    we.push_onto("song", "main", &whole, &[], &merge).await.expect(200);
    cloud.assert_holds("song", &whole, &heads([("main", &merge)])).await;
}

#[tokio::test]
async fn a_push_that_was_overtaken_by_its_own_beginning_succeeds() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "main", &fork, &fork.between));
    push_ours(&we, "main", &fork).await.expect(200);
    assert_eq!(transactions(&we), 2, "it was planned again");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.ours)])).await;
}

#[tokio::test]
async fn a_push_that_was_overtaken_by_itself_succeeds() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "main", &fork, &fork.ours));
    push_ours(&we, "main", &fork).await.expect(200);
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.ours)])).await;
}

#[tokio::test]
async fn a_push_with_force_and_a_lease_that_was_overtaken_is_a_409_and_overwrites_nothing() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "main", &fork, &fork.theirs));
    let bundle = fork.history.pack_of(&fork.ours).with_head("main", &fork.ours);
    let body = json!({"bundle": bundle.to_value(), "branch": "main", "force": true, "expected_head": fork.root});
    let answer = we.call(Function::Push, "song", Encoding::Msgpack, &body).await.expect("a whole answer");
    answer.refused(409, "stale_head");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.theirs)])).await;
}

#[tokio::test]
async fn a_push_with_force_that_was_overtaken_succeeds() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "main", &fork, &fork.theirs));
    let bundle = fork.history.pack_of(&fork.ours).with_head("main", &fork.ours);
    we.push("song", "main", true, &bundle).await.expect(200);
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.ours)])).await;
}

/// Another push lands while a branch is being restored, to what it was at before or `is_told` to the root.
async fn restored_meanwhile(is_told: bool) -> (Cloud, Fork) {
    let (cloud, we, they, fork) = two(true).await;
    they.push_onto("song", "main", &fork.history, &[], &fork.between).await.expect(200);
    land_first(&we, push(&they, "main", &fork, &fork.ours));
    let to = is_told.then_some(fork.root.as_str());
    we.restore(USER, "song", "main", to).await.expect(200);
    (cloud, fork)
}

#[tokio::test]
async fn a_restoring_that_was_overtaken_undoes_the_last_push() {
    let (cloud, fork) = restored_meanwhile(false).await;
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.between)])).await;
}

#[tokio::test]
async fn a_restoring_to_a_commit_that_was_overtaken_goes_there() {
    let (cloud, fork) = restored_meanwhile(true).await;
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.root)])).await;
}

#[tokio::test]
async fn a_branch_that_was_made_again_meanwhile_is_restored_no_other_way() {
    let (cloud, we, they, fork) = two(true).await;
    they.push_onto("song", "branch", &fork.history, &[], &fork.ours).await.expect(200);
    they.delete_branch(USER, "song", "branch").await.expect(200);
    // Its first line makes it, so there is nothing to undo.
    land_first(&we, push(&they, "branch", &fork, &fork.theirs));
    we.restore(USER, "song", "branch", None).await.refused(422, "invalid");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.root), ("branch", &fork.theirs)])).await;

    they.move_as(USER, "song", "branch", true, &fork.root).await.expect(200);
    they.delete_branch(USER, "song", "branch").await.expect(200);
    // A branch that it cannot lie beside was faster.
    we.tap.heal();
    land_first(&we, push(&they, "branch/x", &fork, &fork.theirs));
    we.restore(USER, "song", "branch", None).await.refused(422, "invalid");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.root), ("branch/x", &fork.theirs)])).await;
}

#[tokio::test]
async fn pushes_to_two_branches_do_not_meet() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "theirs", &fork, &fork.theirs));
    push_ours(&we, "ours", &fork).await.expect(200);
    assert_eq!(transactions(&we), 1, "nothing was in its way");
    let expected = heads([("main", &fork.root), ("ours", &fork.ours), ("theirs", &fork.theirs)]);
    cloud.assert_holds("song", &fork.history, &expected).await;
}

/// Pairs that no clone can keep side by side, as files.
const PAIRS: [(&str, &str); 6] = [
    ("feature", "feature/x"),
    ("feature/x", "feature"),
    ("topic", "Topic"),
    ("a/b/c", "A/b"),
    ("a", "a/b/c/d"),
    ("x/one", "X/two"),
];

#[tokio::test]
async fn of_two_branches_that_no_clone_can_keep_side_by_side_the_slower_is_refused() {
    let cloud = Cloud::start().await;
    let (we, they) = (cloud.process(), Arc::new(cloud.process()));
    for (ours, theirs) in PAIRS {
        // In a repo that has branches, in one that is empty, and where both have been before.
        for case in ["song", "empty", "again"] {
            let fork = fork(&tests::hub::fresh_name(case));
            let mut expected = BTreeMap::new();
            if case != "empty" {
                we.push_onto(&fork.slug, "main", &fork.history, &[], &fork.root).await.expect(200);
                expected.insert("main".to_owned(), fork.root.clone());
            }
            if case == "again" {
                for branch in [ours, theirs] {
                    we.push_onto(&fork.slug, branch, &fork.history, &[], &fork.root).await.expect(200);
                    let repo = we.repo_id(&fork.slug).await;
                    cloud.delete_item(&format!("REPO#{repo}"), &format!("REF#{branch}")).await;
                }
            }
            land_first(&we, push(&they, theirs, &fork, &fork.theirs));
            let detail = push_ours(&we, ours, &fork).await.refused(422, "invalid").detail;
            assert!(detail.starts_with("branch: ") && detail.contains(theirs), "{case}: {detail}");
            we.tap.heal();
            expected.insert(theirs.to_owned(), fork.theirs.clone());
            cloud.assert_holds(&fork.slug, &fork.history, &expected).await;
        }
    }
}

#[tokio::test]
async fn branches_that_are_made_in_one_folder_do_not_meet() {
    let (cloud, we, they, fork) = two(true).await;
    land_first(&we, push(&they, "fix/theirs", &fork, &fork.theirs));
    push_ours(&we, "fix/ours", &fork).await.expect(200);
    assert_eq!(transactions(&we), 1, "nothing was in its way");
    // And a branch that moves has nothing to do with places.
    they.push_onto("song", "fix/theirs", &fork.history, &[], &fork.theirs).await.expect(200);
    let expected = heads([("main", &fork.root), ("fix/ours", &fork.ours), ("fix/theirs", &fork.theirs)]);
    cloud.assert_holds("song", &fork.history, &expected).await;
}

#[tokio::test]
async fn a_branch_that_was_deleted_may_be_made_again_and_so_may_one_in_its_place() {
    let (cloud, we, they, fork) = two(true).await;
    let repo = we.repo_id("song").await;
    for branch in ["feature", "feature/x", "Feature", "feature", "feature/x/y", "Feature/x"] {
        we.push_onto("song", branch, &fork.history, &[], &fork.root).await.expect(200);
        they.push_onto("song", &format!("{branch}-too"), &fork.history, &[], &fork.root).await;
        for made in we.heads("song").await.into_keys().filter(|made| made != "main") {
            cloud.delete_item(&format!("REPO#{repo}"), &format!("REF#{made}")).await;
        }
    }
}

#[tokio::test]
async fn a_push_that_is_overtaken_again_and_again_succeeds() {
    let (cloud, we, they, _) = two(true).await;
    let mut builder = Builder::new(9);
    let mut tip = builder.child(&[]);
    let mut steps = Vec::new();
    for _ in 0..6 {
        tip = builder.child(&[&tip]);
        steps.push(tip.clone());
    }
    let whole = Arc::new(builder.finish());
    let mut before_ours = steps.into_iter().take(5);
    let history = Arc::clone(&whole);
    we.tap.script(move |call| {
        if !call.is_transaction() {
            return Reaction::Forward;
        }
        let Some(step) = before_ours.next() else { return Reaction::Forward };
        let (they, bundle) = (Arc::clone(&they), history.pack_of(&step).with_head("main", &step));
        Reaction::After(Box::pin(async move { drop(they.push("song", "main", false, &bundle).await.expect(200)) }))
    });
    we.push_onto("song", "main", &whole, &[], &tip).await.expect(200);
    assert_eq!(transactions(&we), 6);
    cloud.assert_holds("song", &whole, &heads([("main", &tip)])).await;
}

#[tokio::test]
async fn of_two_first_pushes_one_makes_the_repo_and_both_branches_are_in_it() {
    let (cloud, we, they, fork) = two(false).await;
    land_first(&we, push(&they, "theirs", &fork, &fork.theirs));
    push_ours(&we, "ours", &fork).await.expect(200);
    let answer = we.refs("song").await.expect(200);
    assert_eq!(answer["default_branch"], "theirs", "the first that landed");
    let expected = heads([("ours", &fork.ours), ("theirs", &fork.theirs)]);
    cloud.assert_holds("song", &fork.history, &expected).await;
}

#[tokio::test]
async fn of_two_first_pushes_to_one_branch_the_slower_is_a_409() {
    let (cloud, we, they, fork) = two(false).await;
    land_first(&we, push(&they, "main", &fork, &fork.theirs));
    push_ours(&we, "main", &fork).await.refused(409, "non_fast_forward");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.theirs)])).await;
}

#[tokio::test]
async fn objects_staged_land_in_the_repo_that_another_made_meanwhile() {
    let (cloud, we, they, fork) = two(false).await;
    land_first(&we, push(&they, "main", &fork, &fork.theirs));
    let ours = fork.history.pack_of(&fork.ours);
    we.push_objects("song", &ours.objects).await.expect(200);
    let answer = cloud.process().push("song", "ours", false, &ours.without_objects()).await;
    answer.expect(200);
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.theirs), ("ours", &fork.ours)])).await;
}

/// Ours landed, no answer said so, and by the time we look the branch has gone on.
#[tokio::test]
async fn a_push_that_landed_unheard_and_was_built_upon_is_no_conflict() {
    let (cloud, we, they, fork) = two(true).await;
    let mut builder = Builder::new(9);
    let root = builder.child(&[]);
    let ours = builder.child(&[&root]);
    let on_top = builder.child(&[&ours]);
    let whole = builder.finish();
    assert_eq!(root, fork.root);

    let mut theirs = Some(whole.pack_of(&on_top).with_head("main", &on_top));
    we.tap.script(move |call| {
        if call.is_transaction() {
            return Reaction::Fail(Fault::AnswerLost);
        }
        match theirs.take_if(|_| call.name == "GetItem PACK#") {
            Some(bundle) => {
                let they = Arc::clone(&they);
                Reaction::After(Box::pin(
                    async move { drop(they.push("song", "main", false, &bundle).await.expect(200)) },
                ))
            }
            None => Reaction::Forward,
        }
    });
    we.push_onto("song", "main", &whole, &[], &ours).await.expect(200);
    cloud.assert_holds("song", &whole, &heads([("main", &on_top)])).await;
}

/// Lost answers must not hide a conflict either.
#[tokio::test]
async fn a_conflict_that_is_not_heard_at_first_is_a_409() {
    let (cloud, we, they, fork) = two(true).await;
    they.push_onto("song", "other", &fork.history, &[], &fork.theirs).await.expect(200);
    let mut theirs = Some(push(&they, "main", &fork, &fork.theirs));
    let mut lost = 0;
    we.tap.script(move |call| {
        if !call.is_transaction() {
            return Reaction::Forward;
        }
        if let Some(theirs) = theirs.take() {
            return Reaction::After(theirs);
        }
        lost += 1;
        if lost <= 5 { Reaction::Fail(Fault::AnswerLost) } else { Reaction::Forward }
    });
    push_ours(&we, "main", &fork).await.refused(409, "non_fast_forward");
    cloud.assert_holds("song", &fork.history, &heads([("main", &fork.theirs), ("other", &fork.theirs)])).await;
}

/// The branches and the packs are two reads. What lands between them shows in one and not in the other.
const TORN: [(&str, &str); 2] = [("Query REF#", "Query PACK#"), ("Query PACK#", "Query REF#")];

/// A process that is about to read `first`, and only then `last`: in between, the root's `main` moves to `theirs`.
async fn torn(cloud: &Cloud, fork: &Fork, last: &'static str, theirs: &str, is_cold: bool) -> Process {
    let (we, they) = (cloud.process(), Arc::new(cloud.process()));
    we.push_onto(&fork.slug, "main", &fork.history, &[], &fork.root).await.expect(200);
    let we = if is_cold { cloud.process() } else { we };
    we.refs(&fork.slug).await.expect(200);
    we.tap.take();
    // They make many calls, and we make one meanwhile.
    land_before_call(&we, move |call| call.name == last, push(&they, "main", fork, theirs));
    we
}

fn assert_torn(we: &Process, (first, last): (&str, &str)) {
    let calls = we.tap.take();
    let read = |name: &str| calls.iter().find(|call| call.name == name).expect("both are read").ended;
    assert!(read(first) < read(last));
}

#[tokio::test]
async fn a_fetch_while_another_client_pushes_sees_the_repo_before_or_after() {
    let cloud = Cloud::start().await;
    for (order, is_cold) in TORN.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let fork = fork(&tests::hub::fresh_name("song"));
        let we = torn(&cloud, &fork, order.1, &fork.ours, is_cold).await;
        let answer = we.fetch::<_, &str>(&fork.slug, &[&fork.root], &[]).await.expect("a whole answer").expect(200);
        assert_torn(&we, order);
        let fetched = Pack::from_value(&answer).unwrap();
        assert_is(&fork.history, &[&fork.root], &fetched);
        let head = &fetched.branch_heads["main"];
        assert!([&fork.root, &fork.ours].contains(&head));

        // And what is said to be there can be had, from this process too.
        let answer = we.fetch::<_, &str>(&fork.slug, &[head], &[]).await.expect("a whole answer").expect(200);
        assert_is(&fork.history, &[head], &Pack::from_value(&answer).unwrap());
    }
}

#[tokio::test]
async fn a_push_while_another_client_pushes_is_planned_against_all_of_it() {
    let cloud = Cloud::start().await;
    for (order, is_cold) in TORN.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        // What lands meanwhile is the beginning of what we push.
        let fork = fork(&tests::hub::fresh_name("song"));
        let we = torn(&cloud, &fork, order.1, &fork.between, is_cold).await;
        push_ours(&we, "main", &fork).await.expect(200);
        assert_torn(&we, order);
        cloud.assert_holds(&fork.slug, &fork.history, &heads([("main", &fork.ours)])).await;
    }
}
