//! Branches that are protected: who may do what with them, and what is under way while they become so.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use fsck::repair::repair;
use futures_util::future::BoxFuture;
use http::Method;
use store::table::items::{CHANGE_PREFIX, ChangeItem, Key, decode};
use tests::client::Answer;
use tests::history::{self, History};
use tests::wiretap::{Call, Reaction};

use crate::fsck::song;
use crate::process::{Cloud, Process, USER};

const WRITER: &str = "user-writer";
const READER: &str = "user-reader";

/// A repo with a collaborator who writes, and two branches at the second of three commits.
async fn stocked(process: &Process, slug: &str) -> History {
    let history = history::linear(61, 3, 1, 1);
    process.push_onto(slug, "main", &history, &[], history.last()).await.expect(200);
    process.move_as(USER, slug, "branch", false, history.last()).await.expect(200);
    for branch in ["main", "branch"] {
        process.move_as(USER, slug, branch, true, &history.ids()[1]).await.expect(200);
    }
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut member = Key::member(&process.repo_id(slug).await.parse().unwrap(), WRITER).item();
    member.insert("role".to_owned(), text("write"));
    process.hub.store.put_item_if(member, None).await.expect("the store answers");
    history
}

/// What a user does with `branch`, by name.
async fn act(process: &Process, user: &str, slug: &str, what: &str, history: &History) -> Answer {
    let ids = history.ids();
    match what {
        "forward" => process.move_as(user, slug, "branch", false, &ids[2]).await,
        "forward, forced" => process.move_as(user, slug, "branch", true, &ids[2]).await,
        "back" => process.move_as(user, slug, "branch", true, &ids[0]).await,
        "delete" => process.delete_branch(user, slug, "branch").await,
        "restore" => process.restore(user, slug, "branch", Some(&ids[2])).await,
        "protect" => {
            let body = serde_json::json!({"protected": true});
            process.branch(user, Method::PUT, slug, "branch", "/protection", &body).await
        }
        _ => panic!("{what}"),
    }
}

#[tokio::test]
async fn who_may_do_what_with_which_branch() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    const REFUSED: u16 = 403;
    // What the owner, a writer and a reader get.
    let table = [
        ("none", "forward", [200, 200, REFUSED]),
        ("none", "forward, forced", [200, 200, REFUSED]),
        ("none", "back", [200, 200, REFUSED]),
        ("none", "delete", [200, 200, REFUSED]),
        ("none", "restore", [200, 200, REFUSED]),
        ("none", "protect", [200, REFUSED, REFUSED]),
        ("writers", "forward", [200, 200, REFUSED]),
        ("writers", "forward, forced", [200, 200, REFUSED]),
        ("writers", "back", [REFUSED, REFUSED, REFUSED]),
        ("writers", "delete", [REFUSED, REFUSED, REFUSED]),
        ("writers", "restore", [200, REFUSED, REFUSED]),
        ("writers", "protect", [200, REFUSED, REFUSED]),
        ("admins", "forward", [200, REFUSED, REFUSED]),
        ("admins", "forward, forced", [200, REFUSED, REFUSED]),
        ("admins", "back", [REFUSED, REFUSED, REFUSED]),
        ("admins", "delete", [REFUSED, REFUSED, REFUSED]),
        ("admins", "restore", [200, REFUSED, REFUSED]),
        ("admins", "protect", [200, REFUSED, REFUSED]),
    ];
    for (number, (protection, what, expected)) in table.into_iter().enumerate() {
        for (user, status) in [USER, WRITER, READER].into_iter().zip(expected) {
            let slug = format!("repo-{number}-{user}");
            let history = stocked(&process, &slug).await;
            if protection != "none" {
                process.protect(&slug, "branch", true, protection == "admins").await.expect(200);
            }
            let before = process.heads(&slug).await;
            let answer = act(&process, user, &slug, what, &history).await;
            assert_eq!(answer.status, status, "{protection} {what} by {user}: {}", answer.excerpt());
            if status == REFUSED {
                let is_right = user == READER || what == "protect";
                answer.refused(403, if is_right { "not_authorized" } else { "branch_protected" });
                assert_eq!(process.heads(&slug).await, before, "{protection} {what} by {user}");
            }
        }
    }
}

/// `theirs` is done when our first transaction is about to be made.
fn land_first(we: &Process, theirs: BoxFuture<'static, ()>) {
    let mut theirs = Some(theirs);
    we.tap.script(move |call: &Call| match theirs.take_if(|_| call.is_transaction()) {
        Some(theirs) => Reaction::After(theirs),
        None => Reaction::Forward,
    });
}

#[tokio::test]
async fn a_protection_holds_at_the_very_next_write() {
    let cloud = Cloud::start().await;
    let (we, they) = (cloud.process(), Arc::new(cloud.process()));
    for (what, was_protected, becomes, status) in [
        ("back", false, (true, false), 403),
        ("delete", false, (true, false), 403),
        ("forward", false, (true, false), 200),
        ("forward", true, (false, false), 200),
        ("forward", true, (true, true), 200),
    ] {
        let slug = tests::hub::fresh_name("song");
        let history = stocked(&we, &slug).await;
        we.protect(&slug, "branch", was_protected, false).await.expect(200);
        let theirs = {
            let (they, slug) = (Arc::clone(&they), slug.clone());
            async move { drop(they.protect(&slug, "branch", becomes.0, becomes.1).await.expect(200)) }
        };
        land_first(&we, Box::pin(theirs));
        let answer = act(&we, USER, &slug, what, &history).await;
        we.tap.heal();
        assert_eq!(answer.status, status, "{what}: {}", answer.excerpt());
        if status == 403 {
            answer.refused(403, "branch_protected");
            assert_eq!(we.heads(&slug).await["branch"], history.ids()[1], "{what}");
        }
        // What was under way has not taken it away again, nor put it back.
        let back = act(&we, USER, &slug, "back", &history).await;
        assert_eq!(back.status, if becomes.0 { 403 } else { 200 }, "{what}: {}", back.excerpt());
    }
}

#[tokio::test]
async fn a_writer_whose_branch_becomes_the_owners_alone_is_refused() {
    let cloud = Cloud::start().await;
    let (we, they) = (cloud.process(), Arc::new(cloud.process()));
    let history = stocked(&we, "song").await;
    let theirs = async move { drop(they.protect("song", "branch", true, true).await.expect(200)) };
    land_first(&we, Box::pin(theirs));
    act(&we, WRITER, "song", "forward", &history).await.refused(403, "branch_protected");
}

#[tokio::test]
async fn a_push_that_lands_first_does_not_hinder_a_protection() {
    let cloud = Cloud::start().await;
    let (we, they) = (cloud.process(), Arc::new(cloud.process()));
    let history = stocked(&we, "song").await;
    let last = history.last().to_owned();
    let theirs = async move { drop(they.move_as(USER, "song", "branch", false, &last).await.expect(200)) };
    we.tap.take();
    land_first(&we, Box::pin(theirs));
    we.protect("song", "branch", true, false).await.expect(200);
    assert_eq!(we.tap.take().iter().filter(|call| call.is_transaction()).count(), 1, "nothing was in its way");
    act(&we, USER, "song", "back", &history).await.refused(403, "branch_protected");
    assert_eq!(we.heads("song").await["branch"], *history.last());
}

#[tokio::test]
async fn each_change_of_a_protection_is_noted_once() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    stocked(&process, "song").await;
    for (protected, admins_only) in [(false, false), (true, false), (true, false), (true, true), (false, false)] {
        process.protect("song", "branch", protected, admins_only).await.expect(200);
    }
    let repo = format!("REPO#{}", process.repo_id("song").await);
    let items = process.hub.store.items_page(&repo, CHANGE_PREFIX, None).await.expect("the store answers");
    let noted: Vec<_> = items
        .entries
        .into_iter()
        .map(|item| decode::<ChangeItem>(item).expect("a change"))
        .map(|change| {
            assert_eq!(change.by, USER);
            let (was, is) = change.changed["branches/branch/protection"].clone();
            format!("{was} {is}")
        })
        .collect();
    assert_eq!(noted, ["none writers", "writers admins", "admins none"]);
}

#[tokio::test]
async fn fsck_gives_a_branch_that_is_gone_its_protection_back() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = stocked(&process, "song").await;
    process.protect("song", "branch", true, false).await.expect(200);
    let repo = process.repo_id("song").await;
    cloud.delete_item(&format!("REPO#{repo}"), "REF#branch").await;
    let subject = song::subject(&cloud, "song").await;
    repair(&song::store(&cloud), &subject, cloud.ids(), None, &|_| ()).await.expect("the stores answer");
    assert_eq!(process.heads("song").await["branch"], history.ids()[1]);
    act(&process, USER, "song", "back", &history).await.refused(403, "branch_protected");
}
