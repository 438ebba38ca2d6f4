//! Every function works in a process that has just started and knows nothing: not the repo, not its packs, and not the
//! secret, which lies in the table.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use service::routes::Function;
use tests::encoding::Encoding;
use tests::history::{self, Pack};
use tokio::sync::OnceCell;

use crate::names::release;
use crate::process::{Cloud, Process, USER, assert_is};

/// A process that has just started, of a hub whose operator gives it no secret.
pub async fn cold(cloud: &Cloud) -> Process {
    let mut process = cloud.process();
    process.secret = process.hub.store.draw_token_secret().await.expect("a secret");
    process.hub.tokens = Arc::new(OnceCell::new());
    process
}

#[tokio::test]
async fn every_function_answers_in_a_process_that_has_just_started() {
    let cloud = Cloud::start().await;
    let history = history::linear(3, 4, 10, 2);
    let last = history.last();
    let parent = history.commit(last).parents()[0];
    cold(&cloud).await.push_onto("song", "main", &history, &[], parent).await.expect(200);
    let objects = history.pack(&[last]).objects;
    let object = history.pack(&[parent]).objects[0].id.clone();
    let process = async || cold(&cloud).await;

    process().await.health("deep=1").await.expect(200);
    process().await.claim_handle("user-new", "newcomer").await.expect(201);
    process().await.make_repo("another-song").await.expect(201);
    process().await.refs("song").await.expect(200);
    process().await.push_objects("song", &objects).await.expect(200);
    process().await.push_onto("song", "main", &history, &[parent], last).await.expect(200);
    process().await.fetch::<_, &str>("song", &[last], &[]).await.expect("a whole answer").expect(200);
    assert_eq!(process().await.missing("song", &[&object]).await, Vec::<String>::new());
    let asked = json!({"want": [last], "have": [parent]});
    let negotiated = process().await.call(Function::Negotiate, "song", Encoding::Json, &asked).await;
    negotiated.expect("a whole answer").expect(200);
    process().await.presign("get", "song", &[&object]).await.expect(200);
    assert_eq!(process().await.presigned("put", "song", &["0".repeat(64)]).await.len(), 1);
    process().await.protect("song", "main", true, false).await.expect(200);
    process().await.restore(USER, "song", "main", Some(parent)).await.expect(200);
    assert_eq!(process().await.log("song", "main").await.len(), 3);
    let tags = json!([{"tag": "take-1", "commit_id": last}]);
    process().await.post_tags("song", &tags).await.expect(200);
    process().await.get(Function::Tags, "song").await.expect(200);
    process().await.post_release("song", &release("v1", last, "First")).await.expect(201);
    process().await.get(Function::Releases, "song").await.expect(200);
    process().await.delete_release("song", "v1").await.expect(200);
    process().await.get(Function::Stats, "song").await.expect(200);
    let fork = json!({"name": "fork"});
    process().await.at_repo(Some(USER), Method::POST, "song", "/forks", &fork).await.expect(201);
    process().await.get_at(Function::Access, "/api/repos/dev/song/members", "song").await.expect(200);
    process().await.get_at(Function::Branches, "/api/repos/dev/song/branches", "song").await.expect(200);
    for page in ["/", "/dev", "/dev/song", "/dev/song/stats"] {
        assert_eq!(process().await.page(page).await.status, 200, "{page}");
    }
    let webhook = json!({"url": "https://example.com/hooks"});
    let webhook = process().await.call(Function::Webhooks, "song", Encoding::Json, &webhook).await;
    let webhook = webhook.expect("a whole answer").expect(201);
    process().await.get(Function::Webhooks, "song").await.expect(200);
    let id = webhook["id"].as_str().expect("an id");
    process().await.delete_webhook("song", id).await.expect(200);
    process().await.start_upload("song").await.expect(200);
    let repo_id = process().await.repo_id("song").await;
    assert_eq!(process().await.object(&repo_id, &object).await.expect("a whole answer").status, 200);
}

/// Whether a push would make the repo depends on who asks.
#[tokio::test]
async fn what_makes_a_repo_may_come_by_reference_before_it_is_there() {
    let cloud = Cloud::start().await;
    for function in [Function::Fetch, Function::Negotiate, Function::Tags, Function::Releases] {
        // These make no repo, and so the body stays for a request that does.
        let upload = cold(&cloud).await.put_body("unmade", Encoding::Json.encode(&Value::Null)).await;
        let answer = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, &upload).await;
        answer.refused(404, "repo_not_found");
        let answer = cold(&cloud).await.call_by_reference(Function::Push, "unmade", Encoding::Json, &upload).await;
        answer.refused(400, "malformed_body");
    }
    for function in [Function::Push, Function::PushObjects, Function::FilterObjects, Function::Presign] {
        let upload = cold(&cloud).await.put_body("unmade", Encoding::Json.encode(&Value::Null)).await;
        let answer = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, &upload).await;
        // The body was taken, and says nothing that could be done.
        assert!([400, 404, 422].contains(&answer.status), "{function:?}: {}", answer.excerpt());
        let again = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, &upload).await;
        again.refused(422, "unknown_upload");
        let nothing = cold(&cloud).await.start_upload("unmade").await.expect(200);
        let nothing = nothing["upload_id"].as_str().expect("an id");
        let refused = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, nothing).await;
        assert!(refused.refused(422, "unknown_upload").detail.contains("nothing was PUT"), "{function:?}");
    }
}

/// Tables of many pages, in several packs, and processes that remember nothing of them.
#[tokio::test]
async fn a_process_that_has_just_started_finds_all_of_a_long_history() {
    let cloud = Cloud::start().await;
    let history = history::linear(11, 900, 12, 2);
    let ids = history.ids();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let writer = cloud.process();
    let mut have: Vec<&str> = Vec::new();
    for last in [400, 700, 898] {
        writer.push_onto("song", "main", &history, &have, ids[last]).await.expect(200);
        have = vec![ids[last]];
    }
    let last = ids[898];

    let answer = cloud.process().fetch::<_, &str>("song", &[last], &[]).await.expect("a whole answer").expect(200);
    assert_is(&history, &[last], &Pack::from_value(&answer).unwrap());
    for behind in [1, 150, 500] {
        let had = ids[898 - behind];
        for have in [vec![had], ids[..=898 - behind].to_vec()] {
            let process = cloud.process();
            let answer = process.fetch("song", &[last], &have).await.expect("a whole answer").expect(200);
            assert_eq!(Pack::from_value(&answer).unwrap().commit_ids().len(), behind);
            let gets = process.tap.take().iter().filter(|call| call.is_s3()).count();
            assert!(gets <= 24, "{gets} GETs");
        }
    }

    let reached = history.pack(&ids[..=898]).object_ids();
    let asked: Vec<&str> = reached.iter().map(String::as_str).chain(["0".repeat(64).leak() as &str]).collect();
    assert_eq!(cloud.process().missing("song", &asked).await, ["0".repeat(64)]);
    let have: Vec<&str> = (0..64).map(|number| ids[(number * 607) % 880]).collect();
    let asked = json!({"want": [last], "have": have});
    let answer = cloud.process().call(Function::Negotiate, "song", Encoding::Json, &asked).await;
    let answer = answer.expect("a whole answer").expect(200);
    assert_eq!(answer["ack"], json!(have));
    let newest = (0..64).map(|number| (number * 607) % 880).max().expect("a number");
    assert_eq!((&answer["common_base"], &answer["ready"]), (&json!(ids[newest]), &json!(true)));
    let far: Vec<&str> = ids[..64].to_vec();
    let asked = json!({"want": [last], "have": far});
    let answer = cloud.process().call(Function::Negotiate, "song", Encoding::Json, &asked).await;
    assert_eq!(answer.expect("a whole answer").expect(200)["ready"], json!(false), "835 commits would be sent");
    cloud.process().push_onto("song", "main", &history, &[last], ids[899]).await.expect(200);
    cloud.process().push_onto("song", "main", &history, &[last], ids[10]).await.refused(409, "non_fast_forward");
}
