//! What is not there, and what may not be read. S3 answers 403 to both where a role may not list, and they send an operator to
//! different pages: docs/operate.md.

use common::wire::WireError;
use common::wire::error::with_causes;
use service::routes::Function;
use tests::encoding::Encoding;
use tests::history;
use tests::wiretap::{Fault, Reaction};

use crate::damage::pushed;
use crate::process::{Cloud, Process};

/// What the log says of a pack that is read.
async fn logged(process: &Process, key: &str) -> String {
    let error = process.hub.store.get_range(key, None, 0..10).await.expect_err("nothing is read");
    with_causes(&WireError::from(error))
}

#[tokio::test]
async fn a_pack_that_is_not_there_is_damage_also_where_s3_does_not_say_so() {
    let (cloud, history) = (Cloud::start_hiding().await, history::linear(5, 4, 6, 2));
    let (_, packs) = pushed(&cloud, &history).await;
    let key = &packs.first().expect("two packs").key;
    cloud.delete(key).await;
    let process = cloud.process();
    process.fetch::<_, &str>("song", &[history.last()], &[]).await.expect("no part").refused(500, "internal_error");
    let causes = logged(&process, key).await;
    assert!(causes.contains("stored data is damaged") && causes.contains("is not there"), "{causes}");
}

#[tokio::test]
async fn a_pack_that_may_not_be_read_is_no_damage() {
    let cloud = Cloud::start_hiding().await;
    let (process, packs) = pushed(&cloud, &history::linear(5, 4, 6, 2)).await;
    let key = &packs.first().expect("two packs").key;
    process.tap.script(|call| match call.name.starts_with("GET ") {
        true => Reaction::Fail(Fault::Answered(403, "AccessDenied")),
        false => Reaction::Forward,
    });
    let causes = logged(&process, key).await;
    assert!(causes.contains("the storage refused a call") && causes.contains("AccessDenied"), "{causes}");
    // Nor is one where not even a list is given.
    process.tap.script(|_| Reaction::Fail(Fault::Answered(403, "AccessDenied")));
    let causes = logged(&process, "packs/none/none.pack").await;
    assert!(causes.contains("the storage refused a call") && !causes.contains("damaged"), "{causes}");
}

#[tokio::test]
async fn a_body_that_no_client_has_uploaded_is_that_also_where_s3_does_not_say_so() {
    let (cloud, history) = (Cloud::start_hiding().await, history::linear(5, 4, 6, 2));
    let process = cloud.process();
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let upload = process.start_upload("song").await.expect(200)["upload_id"].as_str().expect("an id").to_owned();
    let answer = process.call_by_reference(Function::Negotiate, "song", Encoding::Msgpack, &upload).await;
    answer.refused(422, "unknown_upload");
}
