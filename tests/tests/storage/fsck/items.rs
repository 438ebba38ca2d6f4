//! Damage to the items of the table: each kind, removed and altered.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use fsck::Report;
use fsck::finding::Problem;
use store::table::items::{Item, Key};

use super::song::{Song, store};
use crate::process::Cloud;

fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    item[name].as_s().unwrap()
}

fn key(item: &Item) -> Key {
    Key { pk: text(item, "pk").to_owned(), sk: text(item, "sk").to_owned() }
}

/// `REPO#... / REF#main` is of the kind `REF`.
fn kind(item: &Item) -> String {
    let first = |text: &str| text.split('#').next().unwrap().to_owned();
    match (first(text(item, "pk")).as_str(), first(text(item, "sk"))) {
        ("REPO", kind) => kind,
        (_, kind) => kind,
    }
}

async fn by_kind(cloud: &Cloud, song: &Song) -> BTreeMap<String, Vec<Item>> {
    let mut kinds: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    for item in song.items(cloud).await {
        kinds.entry(kind(&item)).or_default().push(item);
    }
    kinds
}

/// Whether some finding of damage names the item, by its sort key or by what that names.
fn names(report: &Report, item: &Item) -> bool {
    let keys = format!("{} / {}", text(item, "pk"), text(item, "sk"));
    let (kind, name) = text(item, "sk").split_once('#').unwrap_or(("", ""));
    report.findings.iter().any(|finding| match &finding.problem {
        Problem::ItemMissing { item, .. }
        | Problem::ItemUnreadable { item, .. }
        | Problem::ItemContradicts { item, .. } => *item == keys,
        Problem::BranchMissing { branch, .. } | Problem::BranchNotAsLogged { branch, .. } => {
            (kind, name) == ("REF", branch.as_str())
        }
        Problem::LogGap { branch, .. } => kind == "LOG" && text(item, "branch") == branch,
        Problem::NameDangling { name, .. } => name == text(item, "sk"),
        Problem::PackUnlisted { pack, .. } => (kind, name) == ("PACK", &pack.to_string()),
        _ => false,
    })
}

#[tokio::test]
async fn an_item_that_is_gone_is_named() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let kinds = by_kind(&cloud, &song).await;
    let mut checked = BTreeSet::new();
    for (kind, items) in &kinds {
        // Nothing else says that there was such a one. UPLOADS is a hint that runs out by itself.
        if ["TAG", "REL", "UPLOADS"].contains(&kind.as_str()) {
            continue;
        }
        for item in items {
            store(&cloud).delete_item(&key(item)).await.unwrap();
            let report = song.check(&cloud, false).await;
            let is_noticed = match kind.as_str() {
                // The last line of a branch: it is the branch that is not where the log ends.
                "LOG" => !report.is_whole(),
                // What was staged is named by nothing.
                "PACK" if report.is_whole() => report.counts.garbage == 1,
                _ => names(&report, item),
            };
            assert!(is_noticed, "{:?}: {:?}", key(item), report.findings);
            store(&cloud).put_item_if(item.clone(), None).await.unwrap();
            checked.insert(kind.as_str());
        }
    }
    assert_eq!(checked, BTreeSet::from(["HANDLE", "LOG", "META", "NAME", "PACK", "PROFILE", "REF", "REPO"]));
    assert_eq!(song.check(&cloud, true).await.findings, []);
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_named() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    for (kind, items) in by_kind(&cloud, &song).await {
        let item = items[0].clone();
        for name in item.keys().filter(|name| !["pk", "sk"].contains(&name.as_str())) {
            // Of no item is any attribute a list of lists.
            let mut damaged = item.clone();
            damaged.insert(name.clone(), AttributeValue::L(vec![AttributeValue::L(Vec::new())]));
            store(&cloud).put_item_if(damaged.clone(), Some(item.clone())).await.unwrap();
            let report = song.check(&cloud, false).await;
            assert!(!report.is_whole() && names(&report, &item), "{kind}, {name}: {:?}", report.findings);
            store(&cloud).put_item_if(item.clone(), Some(damaged)).await.unwrap();
        }
    }
    assert_eq!(song.check(&cloud, true).await.findings, []);
}

#[tokio::test]
async fn an_item_that_says_something_else_is_named() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let kinds = by_kind(&cloud, &song).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let elsewhere = "01JJJJJJJJJJJJJJJJJJJJJJJJ";
    let nowhere = "0".repeat(64);
    for (kind, attribute, value) in [
        ("HANDLE", "user_id", text("user-eve")),
        ("PROFILE", "handle", text("eve")),
        ("NAME", "repo_id", text(elsewhere)),
        ("REPO", "repo_id", text(elsewhere)),
        ("META", "slug", text("another")),
        ("META", "owner", text("eve")),
        ("META", "owner_user_id", text("user-eve")),
        ("META", "default_branch", text("nowhere")),
        ("REF", "head", text(&nowhere)),
        ("REF", "head", text(&song.history.ids()[0])),
        ("TAG", "commit_id", text(&nowhere)),
        ("REL", "commit_id", text(&nowhere)),
        ("REL", "commit_id", text(&song.history.ids()[0])),
        ("REL", "size", number(7)),
        ("LOG", "after", text(&nowhere)),
        ("LOG", "branch", text("another")),
        ("PACK", "size", number(7)),
        ("PACK", "commits", number(7)),
        ("PACK", "snapshots", number(7)),
        ("PACK", "objects", number(7)),
        ("PACK", "raw", AttributeValue::L(vec![number(1), number(2)])),
        ("PACK", "table", AttributeValue::L(vec![number(1), number(2), number(3), number(4)])),
    ] {
        let item = kinds[kind][0].clone();
        let mut altered = item.clone();
        assert!(altered.insert(attribute.to_owned(), value).is_some(), "{kind} has {attribute}");
        store(&cloud).put_item_if(altered.clone(), Some(item.clone())).await.unwrap();
        // By its id, because it may not be found by its name.
        let subject = fsck::Subject { id: song.repo.clone(), name: None };
        let options = fsck::Options { is_deep: false, ids: cloud.ids() };
        let report = fsck::check(&store(&cloud), &subject, options, &|_| ()).await.unwrap();
        let is_named = names(&report, &item)
            // The item that this one says something else than may be the one that is named.
            || !report.is_whole() && ["META", "LOG"].contains(&kind);
        assert!(is_named, "{kind}, {attribute}: {:?}", report.findings);
        store(&cloud).put_item_if(item, Some(altered)).await.unwrap();
    }
    assert_eq!(song.check(&cloud, true).await.findings, []);
}

#[tokio::test]
async fn an_item_of_an_unknown_kind_is_a_note_and_what_it_names_is_no_garbage() {
    let cloud = Cloud::start().await;
    let song = Song::push(&cloud).await;
    let pack = "01JJJJJJJJJJJJJJJJJJJJJJJJ";
    cloud.put(&format!("packs/{}/{pack}.pack", song.repo), "retired".into()).await;
    let item = Item::from([
        ("pk".to_owned(), AttributeValue::S(format!("REPO#{}", song.repo))),
        ("sk".to_owned(), AttributeValue::S("FUTURE#1".to_owned())),
        ("packs".to_owned(), AttributeValue::L(vec![AttributeValue::S(pack.to_owned())])),
    ]);
    store(&cloud).put_item_if(item, None).await.unwrap();
    let report = song.check(&cloud, true).await;
    assert!(report.is_whole());
    let problems: Vec<&Problem> = report.findings.iter().map(|finding| &finding.problem).collect();
    assert_eq!(problems, [&Problem::ItemUnknown { item: format!("REPO#{} / FUTURE#1", song.repo) }]);
}
