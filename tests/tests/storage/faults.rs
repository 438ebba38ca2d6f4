//! One call of a request goes wrong. The client then hears that the request worked, or that it is to be sent again; and
//! whatever it hears, the repo is whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::client::Answer;
use tests::history::{self, History};
use tests::wiretap::{Call, Fault, Reaction};

use crate::process::{Cloud, Process, USER};

/// Makes each call of a request go wrong once in each way that passes, each time in a repo of its own and in a process
/// that `prepare` made ready for it. The request has to be answered as if nothing were wrong, and again when it is sent
/// again; `check` looks at the repo afterwards.
async fn disturb(
    prepare: impl AsyncFn(&Cloud, &str) -> Process,
    request: impl AsyncFn(&Process, &str) -> Answer,
    check: impl AsyncFn(&Cloud, &str),
) {
    let cloud = Cloud::start().await;
    let process = prepare(&cloud, "undisturbed").await;
    process.tap.take();
    let expected = essence(&request(&process, "undisturbed").await);
    let calls: Vec<Call> = process.tap.take();
    assert!(!calls.is_empty());

    for (position, call) in calls.iter().enumerate() {
        for (number, fault) in Fault::some_passing(position, call).enumerate() {
            let slug = format!("repo-{position}-{number}");
            let what = format!("{fault:?} of call {position}, {}", call.name);
            let process = prepare(&cloud, &slug).await;
            fail_nth(&process, position, fault);
            let answer = request(&process, &slug).await;
            // The SDK doesn't read a body again that broke off half way, and a request that can't may say so.
            if matches!(fault, Fault::BrokenOff(_)) && answer.status != 200 {
                answer.refused(503, "unavailable");
            } else {
                assert_eq!(answer.status, 200, "{what}: {}", answer.excerpt());
                assert_eq!(essence(&answer), expected, "{what}");
            }
            process.tap.heal();
            assert_eq!(essence(&request(&process, &slug).await), expected, "sent again after {what}");
            check(&cloud, &slug).await;
        }
    }
}

/// What an answer says that must not depend on which attempt it was.
fn essence(answer: &Answer) -> Value {
    let mut answer = answer.expect(200);
    if let (Some(stored), Some(skipped)) = (answer["stored"].as_u64(), answer["skipped"].as_u64()) {
        answer = json!({"objects": stored + skipped});
    }
    answer
}

/// The call of this number, counted from now, goes wrong; others don't.
pub fn fail_nth(process: &Process, position: usize, fault: Fault) {
    let mut number = 0;
    process.tap.script(move |_| {
        number += 1;
        if number == position + 1 { Reaction::Fail(fault) } else { Reaction::Forward }
    });
}

fn short_history() -> History {
    history::linear(3, 6, 8, 2)
}

fn main_at(history: &History) -> BTreeMap<String, String> {
    BTreeMap::from([("main".to_owned(), history.last().to_owned())])
}

/// All but the last commit is there.
async fn pushed_but_one(cloud: &Cloud, slug: &str) -> Process {
    let (process, history) = (cloud.process(), short_history());
    process.push_onto(slug, "main", &history, &[], history.commit(history.last()).parents()[0]).await.expect(200);
    process.refs(slug).await.expect(200);
    process
}

async fn push_last(process: &Process, slug: &str) -> Answer {
    let history = short_history();
    process.push_onto(slug, "main", &history, &[history.commit(history.last()).parents()[0]], history.last()).await
}

async fn holds_all(cloud: &Cloud, slug: &str) {
    cloud.assert_holds(slug, &short_history(), &main_at(&short_history())).await;
}

async fn push_all(process: &Process, slug: &str) -> Answer {
    let history = short_history();
    process.push_onto(slug, "main", &history, &[], history.last()).await
}

#[tokio::test]
async fn a_first_push_survives_any_fault_of_any_call() {
    disturb(async |cloud, _| cloud.process(), push_all, holds_all).await;
}

#[tokio::test]
async fn a_push_to_a_warm_process_survives_any_fault_of_any_call() {
    disturb(pushed_but_one, push_last, holds_all).await;
}

#[tokio::test]
async fn a_push_to_a_cold_process_survives_any_fault_of_any_call() {
    let prepare = async |cloud: &Cloud, slug: &str| {
        pushed_but_one(cloud, slug).await;
        cloud.process()
    };
    disturb(prepare, push_last, holds_all).await;
}

/// The last commit, and another branch at an older one.
async fn moved_together(process: &Process, slug: &str) -> Answer {
    let history = short_history();
    let updates =
        [json!({"branch": "main", "tip": history.last()}), json!({"branch": "folder/new", "tip": history.ids()[1]})];
    let new = history.pack(&history.ids()[history.ids().len() - 1..]);
    process.push_together(slug, &new, &updates).await
}

#[tokio::test]
async fn branches_move_together_through_any_fault_of_any_call() {
    let check = async |cloud: &Cloud, slug: &str| {
        let mut heads = main_at(&short_history());
        heads.insert("folder/new".to_owned(), short_history().ids()[1].clone());
        cloud.assert_holds(slug, &short_history(), &heads).await;
    };
    disturb(pushed_but_one, moved_together, check).await;
}

#[tokio::test]
async fn branches_that_move_together_are_written_together() {
    let cloud = Cloud::start().await;
    let process = pushed_but_one(&cloud, "song").await;
    process.tap.take();
    moved_together(&process, "song").await.expect(200);
    let writes = process.tap.take().into_iter().map(|call| call.name).filter(|name| name.contains("Write"));
    // The pack, each branch with its line, two names, and that the repo is not deleted.
    assert_eq!(writes.collect::<Vec<_>>(), ["TransactWriteItems 8"]);
}

#[tokio::test]
async fn a_protection_survives_any_fault_of_any_call() {
    let prepare = async |cloud: &Cloud, slug: &str| {
        let process = cloud.process();
        push_all(&process, slug).await.expect(200);
        process
    };
    let request = async |process: &Process, slug: &str| process.protect(slug, "main", true, false).await;
    let check = async |cloud: &Cloud, slug: &str| {
        let first = short_history().ids()[0].clone();
        cloud.process().move_as(USER, slug, "main", true, &first).await.refused(403, "branch_protected");
        holds_all(cloud, slug).await;
    };
    disturb(prepare, request, check).await;
}

/// A branch that was moved by force, and one that was deleted.
async fn moved_and_deleted(cloud: &Cloud, slug: &str) -> Process {
    let (process, history) = (cloud.process(), short_history());
    push_all(&process, slug).await.expect(200);
    for (branch, to) in [("main", &history.ids()[1]), ("deleted", &history.ids()[2])] {
        process.move_as(USER, slug, branch, true, to).await.expect(200);
    }
    process.delete_branch(USER, slug, "deleted").await.expect(200);
    process
}

/// Each call of a restoring goes wrong, and the branch is where it was; then it is sent again, and still is.
async fn disturb_restoring(branch: &str) {
    let request = async |process: &Process, slug: &str| {
        // Where it was before is another answer when it is sent again.
        let mut answer = process.restore(USER, slug, branch, None).await;
        if answer.status == 200 {
            let head = answer.expect(200)["head"].clone();
            answer.body = json!({"head": head}).to_string().into();
        }
        answer
    };
    let check = async |cloud: &Cloud, slug: &str| {
        let ids = short_history().ids();
        let (main, deleted) = if branch == "main" { (&ids[5], None) } else { (&ids[1], Some(&ids[2])) };
        let mut heads = BTreeMap::from([("main".to_owned(), main.clone())]);
        heads.extend(deleted.map(|head| ("deleted".to_owned(), head.clone())));
        cloud.assert_holds(slug, &short_history(), &heads).await;
        let lines = cloud.process().log(slug, branch).await;
        assert_eq!(lines.iter().filter(|line| line["restored"] == true).count(), 1, "{lines:?}");
    };
    disturb(moved_and_deleted, request, check).await;
}

#[tokio::test]
async fn a_forced_push_is_undone_once_through_any_fault_of_any_call() {
    disturb_restoring("main").await;
}

#[tokio::test]
async fn a_deletion_is_undone_once_through_any_fault_of_any_call() {
    disturb_restoring("deleted").await;
}

#[tokio::test]
async fn objects_staged_survive_any_fault_of_any_call() {
    let request = async |process: &Process, slug: &str| {
        let history = short_history();
        process.push_objects(slug, &history.pack(&[history.last().to_owned()]).objects).await
    };
    let check = async |cloud: &Cloud, slug: &str| {
        let history = short_history();
        let bundle = history.pack(&[history.last().to_owned()]).without_objects();
        cloud.process().push(slug, "main", false, &bundle).await.expect(200);
        holds_all(cloud, slug).await;
    };
    disturb(pushed_but_one, request, check).await;
}

#[tokio::test]
async fn a_push_survives_that_the_first_answer_to_each_call_is_lost() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let mut heard = BTreeSet::new();
    process.tap.script(move |call| {
        let is_first = heard.insert((call.name.clone(), call.key.clone()));
        if is_first { Reaction::Fail(Fault::AnswerLost) } else { Reaction::Forward }
    });
    push_all(&process, "song").await.expect(200);
    holds_all(&cloud, "song").await;
}

/// The transaction goes wrong for longer than the SDK repeats it.
#[tokio::test]
async fn a_transaction_that_goes_wrong_for_a_while_is_made_in_the_end() {
    let cloud = Cloud::start().await;
    let faults = [&Fault::OF_ANY[..], &Fault::OF_DYNAMODB, &Fault::OF_TRANSACTION].concat();
    let mut refused = Vec::new();
    for (number, fault) in faults.into_iter().enumerate() {
        // For as long as it may take: a hub that gives up earlier is right to.
        let times: &[usize] = if matches!(fault, Fault::Hangs | Fault::AnswerHangs) { &[1, 3] } else { &[1, 4, 5, 9] };
        for times in times.iter().copied() {
            let slug = format!("repo-{number}-{times}");
            let process = pushed_but_one(&cloud, &slug).await;
            let mut left = times;
            process.tap.script(move |call| {
                if call.is_transaction() && left > 0 {
                    left -= 1;
                    return Reaction::Fail(fault);
                }
                Reaction::Forward
            });
            let answer = push_last(&process, &slug).await;
            if answer.status != 200 {
                refused.push(format!("{fault:?} {times} times: {}", answer.excerpt()));
                assert_ne!(answer.status, 409, "{fault:?}");
                process.tap.heal();
                push_last(&process, &slug).await.expect(200);
            }
            holds_all(&cloud, &slug).await;
        }
    }
    assert_eq!(refused, Vec::<String>::new());
}

/// A retry meets what its own first attempt wrote.
#[tokio::test]
async fn a_condition_that_fails_on_our_own_write_is_no_conflict() {
    let cloud = Cloud::start().await;
    let process = pushed_but_one(&cloud, "song").await;
    let mut attempts = 0;
    process.tap.script(move |call| {
        if !call.is_transaction() {
            return Reaction::Forward;
        }
        attempts += 1;
        match attempts {
            1 => Reaction::Fail(Fault::AnswerLost),
            _ => Reaction::Fail(Fault::Canceled("ConditionalCheckFailed")),
        }
    });
    push_last(&process, "song").await.expect(200);
    holds_all(&cloud, "song").await;
}

/// No answer ever says that the transaction landed; what it wrote says so.
#[tokio::test]
async fn a_transaction_that_is_never_answered_is_read_back() {
    let cloud = Cloud::start().await;
    for (number, fault) in [Fault::AnswerLost, Fault::AnswerHangs, Fault::MadeAndAnswered(500, "InternalServerError")]
        .into_iter()
        .enumerate()
    {
        let slug = format!("song-{number}");
        let process = pushed_but_one(&cloud, &slug).await;
        process.tap.fail_always(fault, Call::is_transaction);
        push_last(&process, &slug).await.expect(200);
        holds_all(&cloud, &slug).await;
    }
}

/// It landed, no answer said so, and the hub could not look. The retry finds it.
#[tokio::test]
async fn a_push_that_landed_and_was_refused_is_there_and_can_be_sent_again() {
    let cloud = Cloud::start().await;
    for is_first in [true, false] {
        let slug = if is_first { "first" } else { "next" };
        let process = if is_first { cloud.process() } else { pushed_but_one(&cloud, slug).await };
        process.tap.script(|call| match call.name.as_str() {
            "GetItem PACK#" => Reaction::Fail(Fault::Refused),
            _ if call.is_transaction() => Reaction::Fail(Fault::AnswerLost),
            _ => Reaction::Forward,
        });
        push_all(&process, slug).await.refused(503, "unavailable");
        process.tap.heal();
        holds_all(&cloud, slug).await;

        process.tap.take();
        let answer = push_all(&process, slug).await.expect(200);
        assert_eq!(answer["remote_head"], short_history().last());
        assert_eq!(answer["branch_heads"], json!({"main": short_history().last()}));
        assert!(process.tap.take().iter().all(|call| !call.name.starts_with("PUT") && !call.is_transaction()));
        holds_all(&cloud, slug).await;
    }
}

#[tokio::test]
async fn a_repo_is_made_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    through_any_fault(&cloud, async |process: &Process, name: &str| process.make_repo(name).await).await;
}

#[tokio::test]
async fn a_handle_is_claimed_through_any_fault_of_any_call() {
    let cloud = Cloud::start().await;
    let claim = async |process: &Process, name: &str| process.claim_handle(&format!("user-{name}"), name).await;
    through_any_fault(&cloud, claim).await;
}

/// Whatever goes wrong, no answer says that another client was first.
pub async fn through_any_fault(cloud: &Cloud, request: impl AsyncFn(&Process, &str) -> Answer) {
    let process = cloud.process();
    request(&process, "undisturbed").await.expect(201);
    let calls = process.tap.take();
    for (position, call) in calls.iter().enumerate() {
        for (number, fault) in Fault::some_passing(position, call).enumerate() {
            let process = cloud.process();
            fail_nth(&process, position, fault);
            let answer = request(&process, &format!("name-{position}-{number}")).await;
            assert_eq!(answer.status, 201, "{fault:?} of {}: {}", call.name, answer.excerpt());
        }
    }
    let process = cloud.process();
    process.tap.fail_always(Fault::AnswerLost, Call::is_transaction);
    request(&process, "unheard").await.expect(201);
}
