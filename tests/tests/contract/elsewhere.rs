//! A hub in one process over stores that run by themselves. The whole contract is held over such stores by
//! `scripts/try-localstack.sh`; here is what is different about them.

use local::backends::{Backends, BackendsError, Elsewhere};
use local::location::LocationError;
use local::serve::{ServeError, Storage, start};
use serde_json::json;
use tests::client::send;
use tests::encoding::Encoding;
use tests::history::{self, Builder};
use tests::hub::{Hub, SECRET, fresh_name, options};
use tests::{stores, verify};

/// Stores in which nothing is yet where this leads.
fn at(backends: &Backends, makes: bool) -> Elsewhere {
    let mut elsewhere = stores::elsewhere(backends);
    (elsewhere.location.table, elsewhere.location.bucket) = (fresh_name("table"), fresh_name("bucket"));
    Elsewhere { makes, ..elsewhere }
}

async fn over(elsewhere: &Elsewhere) -> Hub {
    Hub::start_own(Storage::Elsewhere(Box::new(elsewhere.clone())), false).await
}

async fn refusal(elsewhere: &Elsewhere) -> LocationError {
    let storage = Storage::Elsewhere(Box::new(elsewhere.clone()));
    match start(local::serve::Options { storage, ..options() }).await {
        Err(ServeError::Backends(BackendsError::Location(refusal))) => refusal,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it starts"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_and_requests_go_straight_to_the_stores() {
    let backends = stores::start(SECRET).await;
    let elsewhere = at(&backends, true);
    let hub = over(&elsewhere).await;
    let mut builder = Builder::new(1);
    let tree = [("large.wav".to_owned(), builder.bytes(300_000))].into();
    builder.commit(&[], &tree);
    let history = builder.finish();
    let pack = history.pack_of(history.last());
    let at_s3 = elsewhere.s3.endpoint_url().unwrap();

    let remote = hub.repo().await;
    let url = remote.put_url(&pack.objects[0].id).await;
    assert!(url.starts_with(at_s3), "{url}");
    remote.upload(&pack.objects[0]).await;
    remote.push_pack("main", false, &pack.clone().without_objects()).await.expect(200);
    let (upload, url) = remote.new_upload().await;
    assert!(url.starts_with(at_s3), "{url}");
    tests::client::put_well(&url, Encoding::Json.encode(&json!({"want": [history.last()], "have": []}))).await;
    remote.post_reference("fetch", &upload).await.expect(200);

    let get = &remote.presigned("get", &[&pack.objects[0].id]).await[&pack.objects[0].id];
    assert_eq!(send("GET", get, &[], "").await.unwrap().body, pack.objects[0].content);
    verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    hub.stop().await;
    backends.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hubs_over_the_same_stores_are_one_and_what_they_hold_stays() {
    let backends = stores::start(SECRET).await;
    let elsewhere = at(&backends, true);
    let (one, two) = (over(&elsewhere).await, over(&elsewhere).await);
    let history = history::linear(2, 3, 4, 1);
    let remote = one.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    one.stop().await;
    let later = over(&Elsewhere { makes: false, ..elsewhere }).await;
    for hub in [&two, &later] {
        let remote = hub.remote(&hub.dev(), &remote.slug);
        verify::same_history(&history, &remote.anonymous().clone_all().await, "dev").unwrap();
    }
    two.stop().await;
    later.stop().await;
    backends.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_not_there_or_are_no_hubs_are_named() {
    let backends = stores::start(SECRET).await;
    let elsewhere = at(&backends, false);
    let made = |location| Elsewhere { location, ..elsewhere.clone() };
    let (there, missing) = (&backends.location, &elsewhere.location);

    let mut location = there.clone();
    location.table.clone_from(&missing.table);
    let refused = refusal(&made(location)).await.to_string();
    let endpoint = elsewhere.dynamodb.endpoint_url().unwrap();
    assert!(refused.starts_with(&format!("there is no table {} at {endpoint}: ", missing.table)), "{refused}");
    assert!(refused.contains("--make-stores"), "{refused}");

    let mut location = there.clone();
    location.bucket.clone_from(&missing.bucket);
    let refused = refusal(&made(location)).await.to_string();
    let endpoint = elsewhere.s3.endpoint_url().unwrap();
    assert!(refused.starts_with(&format!("there is no bucket {} at {endpoint}: ", missing.bucket)), "{refused}");
    assert!(refused.contains("--make-stores"), "{refused}");

    let mut location = there.clone();
    location.table = fresh_name("table");
    make_table_with_one_key(&elsewhere.dynamodb, &location.table).await;
    for makes in [false, true] {
        let refused = refusal(&Elsewhere { makes, ..made(location.clone()) }).await;
        assert!(matches!(refused, LocationError::OtherKeys(ref table) if *table == location.table), "{refused}");
    }
    backends.stop().await;
}

async fn make_table_with_one_key(config: &aws_config::SdkConfig, name: &str) {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
    let made = aws_sdk_dynamodb::Client::new(config).create_table().table_name(name).key_schema(key);
    let made = made.attribute_definitions(attribute.build().unwrap()).billing_mode(BillingMode::PayPerRequest);
    made.send().await.unwrap();
}
