//! A storage that stays away. Every request ends with a 503, after a bounded number of calls and while the client is
//! still there to hear it; and no answer speaks of a conflict where there is none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use service::routes::Function;
use tests::client::Answer;
use tests::history::{self, History, Object};
use tests::wiretap::{Call, Fault, sequence};
use tokio::time::Instant;

use crate::process::{Cloud, Process};

/// A client gives up after 60 seconds: see `wire-protocol.md`, "What the clients were seen to do".
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that one request may make in vain.
const CALLS: usize = 60;

/// What storage that is away does: nothing at all, nothing but errors, or nothing but pleas for mercy.
const OF_DYNAMODB: [Fault; 6] = [
    Fault::Refused,
    Fault::Hangs,
    Fault::Status(500),
    Fault::Status(503),
    Fault::INTERNAL_SERVER_ERROR,
    Fault::THROTTLED,
];
const OF_S3: [Fault; 6] =
    [Fault::Refused, Fault::Hangs, Fault::Status(500), Fault::Status(503), Fault::SLOW_DOWN, Fault::REQUEST_TIMEOUT];

fn song() -> History {
    history::linear(5, 4, 6, 2)
}

fn parent(history: &History) -> &str {
    history.commit(history.last()).parents()[0]
}

/// A process that has taken in all but the last commit.
async fn warm(cloud: &Cloud, slug: &str) -> Process {
    let (process, history) = (cloud.process(), song());
    process.push_onto(slug, "main", &history, &[], parent(&history)).await.expect(200);
    process.refs(slug).await.expect(200);
    process
}

async fn push_last(process: &Process, slug: &str) -> Answer {
    let history = song();
    process.push_onto(slug, "main", &history, &[parent(&history)], history.last()).await
}

/// As long as the calls that `is_away` says fail like this, `request` is refused with a 503 in time.
async fn give_up(
    cloud: &Cloud,
    faults: &[Fault],
    is_away: fn(&Call) -> bool,
    request: impl AsyncFn(&Process, &str) -> Answer,
) {
    give_up_in(cloud, faults, is_away, false, request).await;
}

/// The same in a process that remembers no pack, where a request `reads_packs`.
async fn give_up_in(
    cloud: &Cloud,
    faults: &[Fault],
    is_away: fn(&Call) -> bool,
    reads_packs: bool,
    request: impl AsyncFn(&Process, &str) -> Answer,
) {
    let mut wrong = Vec::new();
    for fault in faults {
        let slug = tests::hub::fresh_name("song");
        let mut process = warm(cloud, &slug).await;
        if reads_packs {
            // Another, which remembers the name of the repo and none of its packs.
            process = cloud.process();
            process.refs(&slug).await.expect(200);
        }
        process.tap.take();
        process.tap.fail_always(*fault, is_away);
        let began = Instant::now();
        let answer = request(&process, &slug).await;
        let waited = began.elapsed();
        let calls = process.tap.take();
        let what = format!("{fault:?}: {} after {} calls and {waited:.1?}", answer.status, calls.len());
        if answer.status != 503 || waited >= PATIENCE || calls.len() > CALLS {
            wrong.push(format!("{what}: {:?}", sequence(&calls).concat()));
        }

        process.tap.heal();
        request(&process, &slug).await.expect(200);
        push_last(&process, &slug).await.expect(200);
        let heads = BTreeMap::from([("main".to_owned(), song().last().to_owned())]);
        cloud.assert_holds(&slug, &song(), &heads).await;
    }
    assert_eq!(wrong, Vec::<String>::new());
}

async fn fetch_all(process: &Process, slug: &str) -> Answer {
    process.fetch::<_, &str>(slug, &[parent(&song())], &[]).await.expect("a whole answer")
}

fn is_dynamodb(call: &Call) -> bool {
    !call.is_s3()
}

#[tokio::test]
async fn a_push_without_dynamodb_is_a_503() {
    give_up(&Cloud::start().await, &OF_DYNAMODB, is_dynamodb, push_last).await;
}

#[tokio::test]
async fn a_push_whose_transaction_never_goes_through_is_a_503() {
    let of_transactions = [Fault::TRANSACTION_CONFLICT, Fault::TRANSACTION_THROTTLED, Fault::IN_PROGRESS];
    let faults = [&OF_DYNAMODB[..], &of_transactions].concat();
    give_up(&Cloud::start().await, &faults, Call::is_transaction, push_last).await;
}

#[tokio::test]
async fn a_push_without_s3_is_a_503() {
    give_up(
        &Cloud::start().await,
        &[&OF_S3[..], &[Fault::CONCURRENT, Fault::REQUEST_TIMEOUT]].concat(),
        Call::is_s3,
        push_last,
    )
    .await;
}

#[tokio::test]
async fn objects_staged_without_storage_are_a_503() {
    let push_objects = async |process: &Process, slug: &str| process.push_objects(slug, &[Object::new("staged")]).await;
    let cloud = Cloud::start().await;
    give_up(&cloud, &OF_DYNAMODB, is_dynamodb, push_objects).await;
    give_up(&cloud, &OF_S3, Call::is_s3, push_objects).await;
}

#[tokio::test]
async fn refs_without_dynamodb_are_a_503() {
    let refs = async |process: &Process, slug: &str| process.refs(slug).await;
    give_up(&Cloud::start().await, &OF_DYNAMODB, is_dynamodb, refs).await;
}

#[tokio::test]
async fn a_fetch_without_storage_is_a_503() {
    let cloud = Cloud::start().await;
    give_up(&cloud, &OF_DYNAMODB, is_dynamodb, fetch_all).await;
    give_up_in(&cloud, &OF_S3, Call::is_s3, true, fetch_all).await;
}

#[tokio::test]
async fn a_presigned_url_without_dynamodb_is_a_503() {
    let cloud = Cloud::start().await;
    for direction in ["put", "get"] {
        let presign = async |process: &Process, slug: &str| process.presign(direction, slug, &["0".repeat(64)]).await;
        give_up(&cloud, &OF_DYNAMODB, is_dynamodb, presign).await;
    }
}

#[tokio::test]
async fn tags_without_dynamodb_are_a_503() {
    let cloud = Cloud::start().await;
    let tags: Value =
        (0..60).map(|number| json!({"tag": format!("v{number}"), "commit_id": parent(&song())})).collect();
    let post = async |process: &Process, slug: &str| process.post_tags(slug, &tags).await;
    give_up(&cloud, &OF_DYNAMODB, is_dynamodb, post).await;
    let list = async |process: &Process, slug: &str| process.get(Function::Tags, slug).await;
    give_up(&cloud, &OF_DYNAMODB, is_dynamodb, list).await;
}

#[tokio::test]
async fn releases_without_dynamodb_are_a_503() {
    let list = async |process: &Process, slug: &str| process.get(Function::Releases, slug).await;
    give_up(&Cloud::start().await, &OF_DYNAMODB, is_dynamodb, list).await;
}

#[tokio::test]
async fn room_for_a_body_without_dynamodb_is_a_503() {
    let start_upload = async |process: &Process, slug: &str| process.start_upload(slug).await;
    give_up(&Cloud::start().await, &OF_DYNAMODB, is_dynamodb, start_upload).await;
}

#[tokio::test]
async fn refs_do_not_need_s3() {
    let cloud = Cloud::start().await;
    warm(&cloud, "song").await;
    let cold = cloud.process();
    cold.tap.fail_always(Fault::Refused, Call::is_s3);
    assert_eq!(cold.heads("song").await, BTreeMap::from([("main".to_owned(), parent(&song()).to_owned())]));
}
