//! A hub that believes ids, and pushes that raced and make each other's commits their parents: both land, and the repo
//! goes on working in every process, whichever of them it heard of first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::id::Ids;
use serde_json::json;
use service::routes::Function;
use store::upkeep::compact::Limits;
use tests::encoding::Encoding;
use tests::history::{Builder, Commit, History, Pack};
use tests::wiretap::{Call, Reaction};

use crate::process::{Cloud, Process};

/// A root, and two commits that name each other as parents.
struct Loop {
    slug: String,
    /// Where the first goes; the second goes to `two`.
    branch: &'static str,
    root: String,
    history: History,
    first: Pack,
    second: Pack,
}

fn commit(mut bundle: Pack, id: &str, parents: &[&str], branch: &str) -> Pack {
    let commit: &mut Commit = &mut bundle.commits[0];
    commit.set("commit_id", id);
    commit.set("parent_commit_id", parents.first().copied());
    commit.set("parent2_commit_id", parents.get(1).copied());
    bundle.with_head(branch, id)
}

fn two_that_name_each_other(is_rooted: bool) -> Loop {
    let mut builder = Builder::new(51);
    let root = builder.child(&[]);
    let one = builder.child(&[&root]);
    let two = builder.child(&[&root]);
    let history = builder.finish();
    let parents = |other: &'static str| if is_rooted { vec![root.as_str(), other] } else { vec![other] };
    let first = commit(history.pack(&[&one]), "first", &parents("second"), "one");
    let second = commit(history.pack(&[&two]), "second", &parents("first"), "two");
    Loop { slug: tests::hub::fresh_name("song"), branch: "one", root, history, first, second }
}

async fn push(process: &Process, slug: &str, branch: &str, bundle: &Pack) {
    process.push(slug, branch, false, bundle).await.expect(200);
}

/// Both pushes, each planned before the other landed. Returns the process of each.
async fn race(cloud: &Cloud, case: &Loop, makes_repo: bool) -> [Arc<Process>; 2] {
    let (we, they) = (Arc::new(cloud.process()), Arc::new(cloud.process()));
    if !makes_repo {
        we.push_onto(&case.slug, "main", &case.history, &[], &case.root).await.expect(200);
        they.refs(&case.slug).await.expect(200);
    }
    let mut theirs = Some((Arc::clone(&they), case.slug.clone(), case.second.clone()));
    we.tap.script(move |call| match theirs.take_if(|_| call.is_transaction()) {
        Some((they, slug, bundle)) => {
            Reaction::After(Box::pin(async move { push(&they, &slug, "two", &bundle).await }))
        }
        None => Reaction::Forward,
    });
    push(&we, &case.slug, case.branch, &case.first).await;
    we.tap.heal();
    [we, they]
}

/// What a fetch of these commits brings.
async fn fetched(process: &Process, slug: &str, want: &[String], have: &[&str]) -> Pack {
    let answer = process.fetch(slug, want, have).await.expect("a whole answer").expect(200);
    Pack::from_value(&answer).expect("a fetch's answer")
}

/// Every head can be had, with all that is known of before it.
async fn assert_works(process: &Process, slug: &str, heads: &BTreeMap<String, String>, commits: &BTreeSet<String>) {
    assert_eq!(&process.heads(slug).await, heads);
    let want: Vec<String> = heads.values().cloned().collect();
    let all = fetched(process, slug, &want, &[]).await;
    assert_eq!(&all.commit_ids(), commits);
    let objects = all.object_ids();
    for snapshot in &all.snapshots {
        assert!(snapshot.manifest.values().all(|object| objects.contains(object)));
    }
    for head in &want {
        assert!(fetched(process, slug, std::slice::from_ref(head), &[]).await.commit_ids().contains(head));
        let have: Vec<&str> = commits.iter().map(String::as_str).collect();
        assert!(fetched(process, slug, std::slice::from_ref(head), &have).await.commits.is_empty());
    }
    let body = json!({"want": want, "have": want});
    let answer = process.call(Function::Negotiate, slug, Encoding::Json, &body).await.expect("a whole answer");
    assert_eq!(answer.expect(200)["ack"], json!(want));
}

#[tokio::test]
async fn pushes_that_make_each_others_commits_their_parents_both_land_and_lock_no_client_out() {
    let cloud = Cloud::start_with(Ids::Lenient).await;
    for (is_rooted, makes_repo) in [(false, false), (true, false), (false, true)] {
        let case = two_that_name_each_other(is_rooted);
        let old = cloud.process();
        let [we, they] = race(&cloud, &case, makes_repo).await;
        let mut heads: BTreeMap<String, String> =
            [("one", "first"), ("two", "second")].map(|(branch, head)| (branch.to_owned(), head.to_owned())).into();
        let mut commits: BTreeSet<String> = heads.values().cloned().collect();
        if !makes_repo {
            heads.insert("main".to_owned(), case.root.clone());
            commits.insert(case.root.clone());
        }
        let mut processes = vec![we, they, Arc::new(old)];
        processes.extend((0..6).map(|_| Arc::new(cloud.process())));
        for process in &processes {
            assert_works(process, &case.slug, &heads, &commits).await;
            // Sent again, neither changes anything.
            push(process, &case.slug, "one", &case.first).await;
            push(process, &case.slug, "two", &case.second).await;
            assert_works(process, &case.slug, &heads, &commits).await;
        }

        // And every process takes what is built upon either of them.
        let mut builder = Builder::new(52);
        for (number, process) in processes.iter().enumerate() {
            for branch in ["one", "two"] {
                let files = builder.child(&[]);
                let id = format!("{branch}-{number}");
                let bundle = commit(builder.history().pack(&[&files]), &id, &[&heads[branch]], branch);
                push(process, &case.slug, branch, &bundle).await;
                heads.insert(branch.to_owned(), id.clone());
                commits.insert(id);
            }
            assert_works(process, &case.slug, &heads, &commits).await;
        }
        for packs in ["as they were pushed", "merged"] {
            for process in processes.iter().chain([&Arc::new(cloud.process())]) {
                assert_works(process, &case.slug, &heads, &commits).await;
                // A branch that would go back is one still.
                process.push(&case.slug, "one", false, &case.first).await.refused(409, "non_fast_forward");
            }
            let done = cloud.process().compact(&case.slug, Limits::ALL).await.expect("a run");
            assert_eq!(done.packs_merged > 0, packs == "as they were pushed", "{done:?}");
        }
    }
}

/// The packs are read in parallel, and so come in any order.
#[tokio::test]
async fn a_process_that_reads_either_of_them_first_goes_on_working() {
    let cloud = Cloud::start_with(Ids::Lenient).await;
    for is_rooted in [false, true] {
        let case = two_that_name_each_other(is_rooted);
        let [we, they] = race(&cloud, &case, false).await;
        let pack = |process: &Process| {
            let calls = process.tap.take();
            calls.into_iter().rfind(|call| call.name == "PUT packs/").expect("a pack was put").key
        };
        let heads: BTreeMap<String, String> = [("main", case.root.as_str()), ("one", "first"), ("two", "second")]
            .map(|(branch, head)| (branch.to_owned(), head.to_owned()))
            .into();
        let commits: BTreeSet<String> = heads.values().cloned().collect();
        for late in [pack(&we), pack(&they)] {
            let process = cloud.process();
            let others = tokio::sync::watch::Sender::new(0);
            process.tap.script(move |call: &Call| {
                if call.name != "GET packs/ ranged" {
                    return Reaction::Forward;
                }
                let others = others.clone();
                if call.key == late {
                    let mut others = others.subscribe();
                    Reaction::After(Box::pin(async move {
                        // The root's and the other's.
                        others.wait_for(|others| *others >= 2).await.expect("a sender");
                    }))
                } else {
                    Reaction::Between(
                        Box::pin(async {}),
                        Box::pin(async move { others.send_modify(|others| *others += 1) }),
                    )
                }
            });
            assert_works(&process, &case.slug, &heads, &commits).await;
            process.tap.heal();
            push(&process, &case.slug, "one", &case.first).await;
            push(&process, &case.slug, "two", &case.second).await;
            assert_works(&process, &case.slug, &heads, &commits).await;
        }
    }
}

/// The first goes on from the root, and only it does. Wherever the loop is cut open, the root is still behind it.
#[tokio::test]
async fn what_lies_before_commits_that_name_each_other_is_fetched_with_them() {
    let cloud = Cloud::start_with(Ids::Lenient).await;
    let mut case = two_that_name_each_other(false);
    case.first = commit(case.first, "first", &[&case.root, "second"], "main");
    case.branch = "main";
    let [we, they] = race(&cloud, &case, false).await;

    let expected: BTreeSet<String> = ["first", "second", &case.root].map(str::to_owned).into();
    let want = ["first", "second"].map(str::to_owned);
    let cold = cloud.process();
    for (who, process) in [("the slower", &*we), ("the faster", &*they), ("a new one", &cold)] {
        assert_eq!(fetched(process, &case.slug, &want, &[]).await.commit_ids(), expected, "{who}");
    }
}
