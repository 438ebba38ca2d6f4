//! How many branches a repo may have, and that a clone of as many is taken.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use common::wire::limits::MAX_BRANCHES;
use futures_util::{StreamExt, stream};
use tests::history::{self, Pack};

use crate::process::{Cloud, Process, assert_is};

/// Adds branches to a repo, as pushes have made them.
async fn add(process: &Process, repo: &str, names: impl Iterator<Item = String>, heads: &[String]) {
    let items = names.enumerate().map(|(number, name)| {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let fields = [
            ("pk", format!("REPO#{repo}")),
            ("sk", format!("REF#{name}")),
            ("head", heads[number % heads.len()].clone()),
            ("updated_at", "2025-01-01T00:00:00Z".to_owned()),
            ("updated_by", "user-dev".to_owned()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), text(&value))).collect()
    });
    let put = async |item| process.hub.store.put_item_if(item, None).await.expect("the store answers");
    stream::iter(items).map(put).buffer_unordered(64).for_each(|_| async {}).await;
}

#[tokio::test]
async fn a_repo_takes_10_000_branches_and_a_clone_all_their_heads() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(51, 40, 2, 1);
    let ids = history.ids();
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let repo = process.repo_id("song").await;
    add(&process, &repo, (1..MAX_BRANCHES - 1).map(|number| format!("b/{number}")), &ids).await;
    let head = |branch: &str| Pack::default().with_head(branch, &ids[0]);
    process.push("song", "the-last", false, &head("the-last")).await.expect(200);
    let refusal = process.push("song", "one-more", false, &head("one-more")).await.refused(422, "too_many");
    assert_eq!(
        refusal.detail,
        "10001 branches are more than a clone can want, so delete some of this repository's first: the limit is 10000"
    );
    // The branches that there are move on.
    process.push("song", "the-last", false, &Pack::default().with_head("the-last", &ids[1])).await.expect(200);

    // A client wants each head as often as a branch is there.
    let heads = process.heads("song").await;
    assert_eq!(heads.len(), MAX_BRANCHES);
    let want: Vec<&String> = heads.values().collect();
    let answer = process.fetch::<_, &str>("song", &want, &[]).await.expect("a whole answer").expect(200);
    let want: BTreeSet<&String> = want.into_iter().collect();
    assert_is(&history, &want.into_iter().collect::<Vec<_>>(), &Pack::from_value(&answer).unwrap());
}

#[ignore = "takes long: the nightly workflow runs it"]
#[tokio::test]
async fn a_repo_that_raced_past_the_limit_is_cloned_all_the_same() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(52, MAX_BRANCHES + 20, 1, 0);
    let ids = history.ids();
    let mut have: Vec<&str> = Vec::new();
    for tip in [&ids[5_000], history.last()] {
        process.push_onto("song", "main", &history, &have, tip).await.expect(200);
        have = vec![tip];
    }
    let repo = process.repo_id("song").await;
    add(&process, &repo, (0..MAX_BRANCHES + 10).map(|number| format!("b/{number}")), &ids).await;
    let heads: BTreeSet<String> = process.heads("song").await.into_values().collect();
    assert_eq!(heads.len(), MAX_BRANCHES + 11);
    let heads: Vec<&String> = heads.iter().collect();
    process.fetch::<_, &str>("song", &heads, &[]).await.expect("a whole answer").expect(200);
    // No client has more to want than there is.
    process.fetch::<_, &str>("song", &ids.iter().collect::<Vec<_>>(), &[]).await.unwrap().refused(422, "too_many");
}
