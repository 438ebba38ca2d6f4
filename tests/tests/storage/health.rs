//! `GET /health?deep=1` finds what a hub lacks, and says so to its operator only.

use std::sync::Arc;
use std::time::Duration;

use tests::client::Answer;
use tests::wiretap::Fault;
use tokio::sync::OnceCell;

use crate::cold::cold;
use crate::process::{Cloud, Process};

async fn deep(process: &Process) -> Answer {
    process.health("deep=1").await
}

#[tokio::test]
async fn a_hub_that_is_well_says_so_of_everything() {
    let cloud = Cloud::start().await;
    let checks = deep(&cold(&cloud).await).await.expect(200);
    assert_eq!(checks["status"], "ok");
    for check in ["table", "bucket", "secret"] {
        assert_eq!(checks["checks"][check], "ok", "{checks}");
    }
}

#[tokio::test]
async fn what_does_not_answer_is_named_and_the_rest_is_looked_at_all_the_same() {
    let cloud = Cloud::start().await;
    let process = cold(&cloud).await;
    deep(&process).await.expect(200);

    process.tap.fail_always(Fault::Answered(403, "AccessDenied"), |call| call.is_s3());
    let refused = deep(&process).await.refused(503, "unhealthy");
    assert!(
        refused.detail.contains("table: ok; bucket: ") && refused.detail.contains("AccessDenied"),
        "{}",
        refused.detail
    );

    process.tap.fail_always(Fault::Answered(400, "ResourceNotFoundException"), |call| !call.is_s3());
    let refused = deep(&process).await.refused(503, "unhealthy");
    assert!(refused.detail.contains("ResourceNotFoundException"), "{}", refused.detail);
    assert!(refused.detail.contains("bucket: ok"), "{}", refused.detail);
}

#[tokio::test]
async fn a_process_that_outlived_a_rotation_of_the_secret_says_so() {
    let cloud = Cloud::start().await;
    let process = cold(&cloud).await;
    deep(&process).await.expect(200);
    cloud.delete_item("SECRET", "TOKENS").await;
    let refused = deep(&process).await.refused(503, "unhealthy");
    assert!(refused.detail.contains("secret: the table has none any more"), "{}", refused.detail);
    cloud.process().hub.store.draw_token_secret().await.unwrap();
    let refused = deep(&process).await.refused(503, "unhealthy");
    assert!(refused.detail.contains("rotated"), "{}", refused.detail);
}

#[tokio::test]
async fn without_a_secret_no_token_is_good_and_none_is_drawn() {
    let cloud = Cloud::start().await;
    let mut process = cold(&cloud).await;
    let good = process.tokens().mint("user-dev", Duration::from_secs(60)).unwrap();
    cloud.delete_item("SECRET", "TOKENS").await;
    process.hub.tokens = Arc::new(OnceCell::new());
    let refused = process.refs_with(&good, "song").await.refused(401, "unauthorized");
    assert!(refused.detail.contains("musehub token"), "{}", refused.detail);
    assert_eq!(process.hub.store.token_secret().await.unwrap(), None);
}
