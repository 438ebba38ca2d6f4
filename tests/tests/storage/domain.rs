//! What the items of before say of what kind of content a repo holds.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use tests::history::{Builder, Formula, Tree};
use tests::wiretap::stop_clock;

use crate::process::{Cloud, Process};

async fn domain(process: &Process, slug: &str) -> String {
    process.refs(slug).await.expect(200)["domain"].as_str().expect("a word").to_owned()
}

/// What the table has of it, after it was set to something else if that is given.
async fn stored(cloud: &Cloud, repo: &str, set: Option<&str>) -> String {
    let _clock = stop_clock();
    let client = aws_sdk_dynamodb::Client::new(&cloud.backends.dynamodb);
    let table = &cloud.backends.location.table;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key = HashMap::from([("pk".to_owned(), text(&format!("REPO#{repo}"))), ("sk".to_owned(), text("META"))]);
    if let Some(set) = set {
        let update = client.update_item().table_name(table).set_key(Some(key.clone()));
        let update = update.update_expression("SET #domain = :domain").expression_attribute_names("#domain", "domain");
        update.expression_attribute_values(":domain", text(set)).send().await.expect("the store answers");
    }
    let got = client.get_item().table_name(table).set_key(Some(key)).consistent_read(true);
    let item = got.send().await.expect("the store answers").item.expect("an item");
    item["domain"].as_s().expect("a text").clone()
}

#[tokio::test]
async fn a_stored_domain_that_no_client_knows_is_shown_as_code_and_left_alone() {
    let cloud = Cloud::start().await;
    let mut builder = Builder::new(51);
    let tree = Tree::from([("song.mid".to_owned(), builder.bytes(16))]);
    let midi = builder.commit_with(&[], &tree, Formula::CommittedAt, |fields| {
        fields.insert("structured_delta".to_owned(), serde_json::json!({"domain": "midi"}));
    });
    let history = builder.finish();
    // No user has chosen what is empty, so the first push still may.
    for (number, (was, becomes, shown)) in [("music", "music", "code"), ("", "midi", "midi")].into_iter().enumerate() {
        let (process, slug) = (cloud.process(), format!("song-{number}"));
        let made = process.make_repo(&slug).await.expect(201);
        let repo = made["repo_id"].as_str().expect("an id");
        stored(&cloud, repo, Some(was)).await;
        assert_eq!(domain(&process, &slug).await, "code", "{was:?}");
        process.push_onto(&slug, "main", &history, &[], &midi).await.expect(200);
        assert_eq!(stored(&cloud, repo, None).await, becomes);
        assert_eq!(domain(&process, &slug).await, shown);
        // As if its first push had looked for no domain.
        stored(&cloud, repo, Some("")).await;
        process.push_onto(&slug, "other", &history, &[], &midi).await.expect(200);
        assert_eq!(domain(&process, &slug).await, "code");
    }
}
