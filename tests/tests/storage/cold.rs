//! Every function works in a process that has just started and knows nothing: not the repo, not its packs, and not the
//! secret, which lies in the table.

use std::sync::Arc;

use local::router::Function;
use serde_json::{Value, json};
use tests::encoding::Encoding;
use tests::history;
use tokio::sync::OnceCell;

use crate::names::release;
use crate::process::{Cloud, Process};

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
    let tags = json!([{"tag": "take-1", "commit_id": last}]);
    process().await.post_tags("song", &tags).await.expect(200);
    process().await.get(Function::Tags, "song").await.expect(200);
    process().await.post_release("song", &release("v1", last, "First")).await.expect(201);
    process().await.get(Function::Releases, "song").await.expect(200);
    process().await.delete_release("song", "v1").await.expect(200);
    process().await.get(Function::Stats, "song").await.expect(200);
    let webhook = json!({"url": "https://example.com/hooks"});
    let webhook = process().await.call(Function::Webhooks, "song", Encoding::Json, &webhook).await;
    let webhook = webhook.expect("a whole answer").expect(201);
    process().await.get(Function::Webhooks, "song").await.expect(200);
    let id = webhook["id"].as_str().expect("an id");
    process().await.delete_webhook("song", id).await.expect(200);
    process().await.make_room("song").await.expect(200);
    let repo_id = process().await.repo_id("song").await;
    assert_eq!(process().await.object(&repo_id, &object).await.expect("a whole answer").status, 200);
}

/// Whether a push would make the repo depends on who asks.
#[tokio::test]
async fn every_post_may_come_by_reference_to_a_repo_that_a_push_would_make() {
    let cloud = Cloud::start().await;
    let posts = [
        Function::Push,
        Function::PushObjects,
        Function::Fetch,
        Function::FilterObjects,
        Function::Negotiate,
        Function::Presign,
        Function::Tags,
        Function::Releases,
    ];
    for function in posts {
        let upload = cold(&cloud).await.put_body("unmade", Encoding::Json.encode(&Value::Null)).await;
        let answer = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, &upload).await;
        // The body was taken, and says nothing that could be done.
        assert!([400, 404, 422].contains(&answer.status), "{function:?}: {}", answer.excerpt());
        let again = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, &upload).await;
        again.refused(422, "unknown_upload");
        let nothing = cold(&cloud).await.make_room("unmade").await.expect(200);
        let nothing = nothing["upload_id"].as_str().expect("an id");
        let refused = cold(&cloud).await.call_by_reference(function, "unmade", Encoding::Json, nothing).await;
        assert!(refused.refused(422, "unknown_upload").detail.contains("nothing was PUT"), "{function:?}");
    }
}
