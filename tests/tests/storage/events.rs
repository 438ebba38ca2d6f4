//! Events of repos are published to receivers in the process, and by the function that the table's stream wakes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use common::id::RepoId;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use service::BatchResponse;
use service::item_stream::Batch;
use service::routes::Function;
use store::table::events::{Details, Event, StoredEvent};
use store::table::items::{HookItem, Item};
use store::table::members::StillAdministers;
use store::table::webhooks::secret::{HookId, Secret};
use tests::history;
use tests::wiretap::Fault;
use tokio::sync::broadcast::Receiver;
use ulid::Ulid;

use crate::bus::{Bus, Fate, Place};
use crate::names::release;
use crate::process::{Cloud, Process, for_every};

/// The events since the last call.
async fn taken(process: &Process, receiver: &mut Receiver<StoredEvent>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        let meta = process.hub.store.known_by(&event.repo).await.expect("the table answers").expect("a repo");
        events.push(event.numbered_by_id(&meta));
    }
    events
}

async fn since(process: &Process, repo: &RepoId, since: Ulid, limit: usize) -> Vec<Event> {
    process.hub.store.events_since(repo, since, limit).await.expect("the table answers")
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::kind).collect()
}

/// Each is published by the process that does it, and found in the table by another that was not there.
#[tokio::test]
async fn a_repo_that_is_renamed_deleted_and_undeleted_is_published_and_can_be_asked_for() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    process.make_repo("song").await.expect(201);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    let mut receiver = process.hub.store.published();
    let at = async |method: http::Method, rest: &str, body: &Value| {
        process.at_repo(Some("user-dev"), method, "song", rest, body).await.expect(200)
    };
    let changes = json!({"slug": "tune", "visibility": "private"});
    at(http::Method::PATCH, "", &changes).await;
    at(http::Method::PATCH, "", &changes).await;
    process.purge("tune", &["0".repeat(64)]).await.expect(200);
    let deleted = at(http::Method::DELETE, "", &Value::Null).await;
    // What a deleted repo has to say still is said.
    let published = taken(&process, &mut receiver).await;
    assert_eq!(kinds(&published), ["RepoChanged", "RepoDeleted"], "what changes nothing is none, and a purge neither");
    at(http::Method::POST, "/undelete", &Value::Null).await;
    let published = [published, taken(&process, &mut receiver).await].concat();
    assert_eq!(kinds(&published), ["RepoChanged", "RepoDeleted", "RepoRestored"]);
    assert!(
        published.iter().all(|event| event.repo.slug.as_str() == "tune" && event.by.as_deref() == Some("user-dev"))
    );
    let json = |event: &Event| serde_json::to_value(event).unwrap()["data"].clone();
    let changed = json!({"changed": {
        "slug": {"before": "song", "after": "tune"}, "name": {"before": "song", "after": "tune"},
        "visibility": {"before": "public", "after": "private"},
    }});
    assert_eq!(json(&published[0]), changed);
    assert_eq!(json(&published[1])["kept_until"], deleted["kept_until"]);

    let asked = since(&cloud.process(), &repo, published[0].id.parse().unwrap(), 100).await;
    assert_eq!(asked, published);
}

#[tokio::test]
async fn a_push_a_tag_a_release_and_a_new_repo_are_published_and_can_be_asked_for() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let mut receiver = process.hub.store.published();
    let history = history::linear(3, 2, 4, 1);
    let [first, second] = &history.ids()[..] else { panic!("two commits") };

    process.push_onto("song", "main", &history, &[], first).await.expect(200);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    let made = taken(&process, &mut receiver).await;
    assert_eq!(kinds(&made), ["RepoCreated", "RefUpdated"]);
    assert!(matches!(&made[0].details, Details::RepoCreated { default_branch, .. } if default_branch == "main"));
    assert!(matches!(&made[1].details, Details::RefUpdated { before: None, forced: false, .. }));

    process.push_onto("song", "main", &history, &[first], second).await.expect(200);
    let tags = json!([{"tag": "take-1", "commit_id": first}, {"tag": "take-2", "commit_id": second}]);
    process.post_tags("song", &tags).await.expect(200);
    process.post_release("song", &release("v1", second, "First")).await.expect(201);
    let mut more = taken(&process, &mut receiver).await;
    assert_eq!(kinds(&more), ["RefUpdated", "TagUpdated", "TagUpdated", "ReleasePublished"]);
    // The tags of one request are written side by side, and either may land first.
    more.sort_by_key(|event| event.id.clone());
    for event in made.iter().chain(&more) {
        assert_eq!((event.repo.owner.as_str(), event.repo.slug.as_str(), &event.repo.id), ("dev", "song", &repo));
        assert_eq!((event.by.as_deref(), event.version), (Some("user-dev"), 1));
        assert_eq!(event.sequence, event.id);
    }

    // What changes nothing is no event, and neither is what was refused.
    process.push_onto("song", "main", &history, &[first], second).await.expect(200);
    process.post_tags("song", &tags).await.expect(200);
    process.post_release("song", &release("v1", second, "First")).await.expect(201);
    process.post_release("song", &release("v1", second, "Another")).await.refused(409, "release_exists");
    process.make_repo("song").await.refused(409, "repo_exists");
    process.get(Function::Tags, "song").await.expect(200);
    assert_eq!(taken(&process, &mut receiver).await, []);

    let all: Vec<Event> = made.into_iter().chain(more).collect();
    let another = cloud.process();
    assert_eq!(since(&another, &repo, Ulid::nil(), 100).await, all);
    let ids: Vec<Ulid> = all.iter().map(|event| event.id.parse().unwrap()).collect();
    for (position, id) in ids.iter().enumerate() {
        assert_eq!(since(&another, &repo, *id, 100).await, all[position..]);
        assert_eq!(since(&another, &repo, *id, 1).await, all[position..=position]);
    }
    assert_eq!(since(&another, &repo, Ulid::nil(), 3).await, all[..3]);
    assert_eq!(since(&another, &repo, Ulid::from_parts(u64::MAX >> 16, 0), 100).await, []);
    assert_eq!(since(&another, &Ulid::nil().into(), Ulid::nil(), 100).await, []);
}

/// In one request, so in one batch of writes after another, and in the order of their names.
#[tokio::test]
async fn of_many_tags_the_oldest_come_first() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(4, 1, 3, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    for round in 0..3 {
        let tag = |number| json!({"tag": format!("v{:03}", 999 - round - number * 3), "commit_id": history.last()});
        let tags: Vec<_> = (0..70).map(tag).collect();
        process.post_tags("song", &json!(tags)).await.expect(200);
    }
    let all = since(&process, &repo, Ulid::nil(), 1_000).await;
    assert_eq!(all.len(), 2 + 3 * 70);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    let mut paged = Vec::new();
    let mut after = Ulid::nil();
    loop {
        let page = since(&process, &repo, after, 40).await;
        let Some(last) = page.last() else { break };
        after = last.id.parse::<Ulid>().unwrap().increment().unwrap();
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

/// A change as the table's stream has it.
pub fn record(name: &str, number: usize, item: &Item) -> Value {
    let item: serde_dynamo::Item = item.clone().into();
    let image = serde_json::to_value(item).unwrap();
    json!({
        "eventName": name,
        "dynamodb": {
            "Keys": {"pk": image["pk"], "sk": image["sk"]},
            "NewImage": image,
            "SequenceNumber": format!("{}", 800_000_000_000_000_000_000_u128 + number as u128),
            "StreamViewType": "NEW_IMAGE",
        },
    })
}

fn batch(records: &[Value]) -> Batch {
    serde_json::from_value(json!({"Records": records})).expect("a batch")
}

/// All items of a repo.
pub async fn items(process: &Process, repo: &str) -> Vec<Item> {
    let page = process.hub.store.items_page(&format!("REPO#{repo}"), "", None).await.expect("the table answers");
    assert!(page.next.is_none());
    page.entries
}

async fn hook(process: &Process, repo: &RepoId, kinds: Option<&[&str]>, is_active: bool) -> HookId {
    let ambient = process.hub.store.ambient();
    let id = ambient.ulid();
    let item = HookItem {
        url: "https://example.com/".to_owned(),
        secret: Secret::draw(ambient),
        events: kinds.map(|kinds| kinds.iter().map(|kind| (*kind).to_owned()).collect()),
        inactive_because: (!is_active).then(|| "gone".to_owned()),
        waiting_until: None,
        created_at: ambient.now_iso(),
        created_by: "user-dev".to_owned(),
    };
    process.hub.store.put_hook(repo, id, &item, StillAdministers::as_owner()).await.expect("a hook");
    id
}

#[tokio::test]
async fn the_function_tells_the_bus_and_the_webhooks_what_the_stream_says() {
    let cloud = Cloud::start().await;
    let (process, bus) = (cloud.process(), Bus::default());
    let history = history::linear(5, 1, 3, 1);
    let commit = history.last();
    process.push_onto("song", "main", &history, &[], commit).await.expect(200);
    process.post_tags("song", &json!([{"tag": "not a character: \u{ffff}", "commit_id": commit}])).await.expect(200);
    process.post_release("song", &release("v1", commit, "First")).await.expect(201);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    let all = hook(&process, &repo, None, true).await;
    let releases = hook(&process, &repo, Some(&["ReleasePublished"]), true).await;
    hook(&process, &repo, None, false).await;

    let items = items(&process, repo.as_str()).await;
    let records: Vec<Value> = items.iter().enumerate().map(|(number, item)| record("INSERT", number, item)).collect();
    let publishers = bus.publishers(&cloud, &process);
    let answer = events::handle(&process.hub.store, &publishers, batch(&records), Timestamp::MAX).await;
    assert_eq!(answer.failures, []);

    let entries = bus.published();
    let published: Vec<Event> =
        entries.iter().map(|entry| serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap()).collect();
    // In the order of the stream, which is that of the sort keys here.
    assert_eq!(kinds(&published), ["RefUpdated", "RepoCreated", "ReleasePublished", "TagUpdated"]);
    for (entry, event) in entries.iter().zip(&published) {
        assert_eq!((entry["Source"].as_str(), entry["DetailType"].as_str()), (Some("musehub"), Some(event.kind())));
        let moment: jiff::Timestamp = event.time.parse().unwrap();
        assert_eq!(entry["Time"].as_f64().unwrap(), moment.as_millisecond() as f64 / 1_000.0);
        assert_eq!(event.sequence.len(), 40);
    }
    assert!(published.is_sorted_by(|a, b| a.sequence < b.sequence));
    // The same as a hub on one machine publishes, but for the number.
    let asked = since(&process, &repo, Ulid::nil(), 100).await;
    let by_id = |events: &[Event]| -> BTreeMap<String, Event> {
        let event = |event: &Event| (event.id.clone(), Event { sequence: String::new(), ..event.clone() });
        events.iter().map(event).collect()
    };
    assert_eq!(by_id(&published), by_id(&asked));

    let sent = bus.sent();
    let delivered = |hook: HookId| -> Vec<String> {
        sent.iter().filter(|(_, message)| message.hook == hook).map(|(_, message)| message.kind.clone()).collect()
    };
    assert_eq!(delivered(all), kinds(&published));
    assert_eq!(delivered(releases), ["ReleasePublished"]);
    assert_eq!(sent.len(), 5);
    for (entry, message) in &sent {
        assert_eq!(entry["MessageGroupId"], message.lane());
        assert_eq!(entry["MessageDeduplicationId"], message.deduplication());
        assert!(!entry["MessageBody"].as_str().unwrap().contains(['\u{fffe}', '\u{ffff}']), "SQS would refuse it");
        assert!(published.contains(&serde_json::from_str(&message.body).unwrap()));
    }

    // What has changed and is no event, and what is gone.
    let others: Vec<Value> = items.iter().enumerate().map(|(number, item)| record("REMOVE", number, item)).collect();
    let answer = events::handle(&process.hub.store, &publishers, batch(&others), Timestamp::MAX).await;
    assert_eq!((answer.failures, bus.published()), (vec![], vec![]));
}

#[tokio::test]
async fn a_webhook_that_was_made_later_hears_nothing_of_what_was_before() {
    let cloud = Cloud::start().await;
    let (process, bus) = (cloud.process(), Bus::default());
    process.make_repo("song").await.expect(201);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    let made = repo.as_str().parse::<Ulid>().unwrap().timestamp_ms();
    let like = hook(&process, &repo, None, true).await;
    let like = process.hub.store.hook(&repo, like).await.unwrap().unwrap();
    let [before, at_once, later] =
        [made - 86_400_000, made + 60_000, made + 60_001].map(|time| HookId::from_parts(time, 0));
    for id in [before, at_once, later] {
        process.hub.store.put_hook(&repo, id, &like, StillAdministers::as_owner()).await.unwrap();
    }
    let items = items(&process, repo.as_str()).await;
    let records: Vec<Value> = items.iter().enumerate().map(|(number, item)| record("INSERT", number, item)).collect();
    let answer =
        events::handle(&process.hub.store, &bus.publishers(&cloud, &process), batch(&records), Timestamp::MAX).await;
    assert_eq!((answer.failures.len(), bus.published().len()), (0, 1));
    let hooks: BTreeSet<HookId> = bus.sent().into_iter().map(|(_, message)| message.hook).collect();
    assert_eq!(hooks.len(), 3);
    assert!(hooks.contains(&before) && hooks.contains(&at_once) && !hooks.contains(&later));
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_of_what_is_asked_for() {
    let cloud = Cloud::start().await;
    let process = cloud.process();
    let history = history::linear(8, 1, 3, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    process.post_tags("song", &json!([{"tag": "take-1", "commit_id": history.last()}])).await.expect(200);
    process.post_release("song", &release("v1", history.last(), "First")).await.expect(201);
    let repo: RepoId = process.repo_id("song").await.parse().unwrap();
    let all = since(&process, &repo, Ulid::nil(), 100).await;
    assert_eq!(all.len(), 4);
    let write_id = process.hub.store.ambient().ulid().to_string();
    for sk in [format!("LOG#{write_id}"), "LOG#nonsense".to_owned(), "TAG#odd".to_owned(), "REL#odd".to_owned()] {
        let fields = [("pk", format!("REPO#{repo}")), ("sk", sk), ("write_id", write_id.clone())];
        let item: Item = fields.map(|(name, text)| (name.to_owned(), AttributeValue::S(text))).into();
        let put = process.hub.store.put_items(vec![item]).await;
        put.expect("the table takes it");
    }
    assert_eq!(since(&process, &repo, Ulid::nil(), 100).await, all);
    assert_eq!(since(&process, &repo, Ulid::nil(), 4).await, all);
}

/// No event of what a backup restores is published again, and nothing is read of what is no event.
#[tokio::test]
async fn a_copy_of_an_old_item_is_no_event() {
    let cloud = Cloud::start().await;
    let (process, bus) = (cloud.process(), Bus::default());
    let history = history::linear(6, 1, 3, 1);
    process.push_onto("song", "main", &history, &[], history.last()).await.expect(200);
    let repo = process.repo_id("song").await;
    let now = process.hub.store.ambient().now();
    let publishers = bus.publishers(&cloud, &process);
    let items = items(&process, &repo).await;
    for (later, expected) in [(390, 2), (3_500, 2), (3_700, 0), (86_400 * 365, 0)] {
        let records = items.iter().enumerate().map(|(number, item)| {
            let mut record = record("INSERT", number, item);
            record["dynamodb"]["ApproximateCreationDateTime"] = json!(now.as_second() + later);
            record
        });
        let batch = batch(&records.collect::<Vec<_>>());
        assert_eq!(events::handle(&process.hub.store, &publishers, batch, Timestamp::MAX).await.failures, []);
        assert_eq!(bus.published().len(), expected, "{later} seconds later");
    }
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_no_other_repo_and_neither_does_the_end_of_the_time() {
    let cloud = Cloud::start().await;
    let (process, bus) = (cloud.process(), Bus::default());
    let publishers = bus.publishers(&cloud, &process);
    let store = &process.hub.store;
    let mut made = Vec::new();
    for slug in ["good", "damaged", "gone"] {
        process.make_repo(slug).await.expect(201);
        let repo = process.repo_id(slug).await;
        made.push(items(&process, &repo).await.remove(0));
    }
    let [good, damaged, gone] = &made[..] else { panic!("three repos") };
    let mut unreadable = record("INSERT", 0, damaged);
    unreadable["dynamodb"]["NewImage"].as_object_mut().unwrap().remove("default_branch");
    let records = [unreadable, record("INSERT", 1, good), record("INSERT", 2, damaged), record("INSERT", 3, gone)];
    cloud.delete_item(gone["pk"].as_s().unwrap(), "META").await;
    let answer = events::handle(store, &publishers, batch(&records), Timestamp::MAX).await;
    let published = bus.published();
    assert_eq!(published.len(), 1, "not what is behind what cannot be read");
    assert_eq!(published[0]["Detail"].as_str().unwrap().matches("\"slug\":\"good\"").count(), 1);
    let failed =
        |answer: &BatchResponse| -> Vec<String> { answer.failures.iter().map(|failure| failure.id.clone()).collect() };
    assert_eq!(failed(&answer), ["800000000000000000000"]);

    // Neither does a repo that cannot be looked up.
    let pk = good["pk"].as_s().unwrap().clone();
    process.tap.fail_always(Fault::Status(500), move |call| call.name == "GetItem META" && call.key == pk);
    let answer = events::handle(
        store,
        &publishers,
        batch(&[record("INSERT", 1, good), record("INSERT", 2, damaged)]),
        Timestamp::MAX,
    );
    assert_eq!(failed(&answer.await), ["800000000000000000001"]);
    assert_eq!(bus.published().len(), 1);
    process.tap.heal();

    // Nothing is begun that may not end, and what is not begun comes again.
    let answer =
        events::handle(store, &publishers, batch(&records), store.ambient().now() + Duration::from_secs(1)).await;
    assert_eq!(failed(&answer), ["800000000000000000000", "800000000000000000001"]);
    assert_eq!(bus.published().len(), 0);
}

/// A line of the push log, as the stream has it.
fn line(repo: &str, number: usize) -> Value {
    let id = Ulid::from_parts(1_750_000_000_000, number as u128);
    json!({
        "eventName": "INSERT",
        "dynamodb": {
            "Keys": {"pk": {"S": format!("REPO#{repo}")}, "sk": {"S": format!("LOG#{id}")}},
            "NewImage": {
                "pk": {"S": format!("REPO#{repo}")}, "sk": {"S": format!("LOG#{id}")}, "branch": {"S": "main"},
                "after": {"S": "c"}, "forced": {"BOOL": false}, "by": {"S": "user-dev"}, "at": {"S": ""},
            },
            "SequenceNumber": number.to_string(),
        },
    })
}

/// The first of each event in what was published, in order.
fn firsts(ids: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}

/// A line that fails: this many times at this place, in this way.
#[derive(Clone, Debug)]
struct Failing {
    number: u128,
    times: u32,
    place: Place,
    fate: Fate,
}

/// In which repo each line is, which of them fail, and whether Lambda sends them one by one.
#[derive(Clone, Debug)]
struct Case {
    places: Vec<usize>,
    failing: Vec<Failing>,
    one_by_one: bool,
}

/// For every batch and every pattern of failures, entries and whole calls, of the bus and of the queue: each event is published at
/// least once, and for each repo the first time of each is in the order of the stream, on the bus and to each webhook.
#[test]
fn for_every_failure_each_event_is_published_and_in_order() {
    const REPOS: usize = 13;
    let failing =
        (0..40_u128, 1..8_u32, any::<bool>(), any::<bool>()).prop_map(|(number, times, at_queue, is_call)| {
            let place = if at_queue { Place::Queue } else { Place::Bus };
            Failing { number, times, place, fate: if is_call { Fate::CallFails } else { Fate::Refused } }
        });
    let cases = (prop::collection::vec(0..REPOS, 1..40), prop::collection::vec(failing, 0..30), any::<bool>());
    let strategy = cases.prop_map(|(places, failing, one_by_one)| Case { places, failing, one_by_one });
    let prepare = async || {
        let cloud = Cloud::start().await;
        let process = cloud.process();
        let mut repos = Vec::new();
        for number in 0..REPOS {
            let slug = format!("song-{number}");
            process.make_repo(&slug).await.expect(201);
            let repo: RepoId = process.repo_id(&slug).await.parse().unwrap();
            // Those of a few are more than one call takes.
            for _ in 0..[0, 1, 2, 11][number % 4] {
                hook(&process, &repo, None, true).await;
            }
            repos.push(repo);
        }
        (cloud, repos)
    };
    let check = async |(cloud, repos): &(Cloud, Vec<RepoId>), case: Case| {
        let Case { places, failing, one_by_one } = case;
        let (process, bus) = (cloud.process(), Bus::default());
        let publishers = bus.publishers(cloud, &process);
        let records: Vec<Value> =
            places.iter().enumerate().map(|(number, repo)| line(repos[*repo].as_str(), number)).collect();
        let mut left = failing;
        bus.script(move |place, id| {
            let number = id.parse::<Ulid>().unwrap().random();
            let is_meant =
                |failing: &&mut Failing| failing.number == number && failing.place == place && failing.times > 0;
            let Some(failing) = left.iter_mut().find(is_meant) else { return Fate::Taken };
            failing.times -= 1;
            failing.fate
        });
        let (mut published, mut sent) = (Vec::new(), Vec::new());
        let mut begin = 0;
        for attempt in 0.. {
            assert!(attempt < 200, "it ends");
            // Lambda may cut a batch anywhere.
            let end = if one_by_one { begin + 1 } else { records.len() };
            let answer =
                events::handle(&process.hub.store, &publishers, batch(&records[begin..end]), Timestamp::MAX).await;
            published.extend(bus.published());
            sent.extend(bus.sent());
            // Lambda goes on from the first that failed.
            let failed = answer.failures.iter().map(|failure| failure.id.parse::<usize>().unwrap()).min();
            begin = failed.unwrap_or(end);
            if begin == records.len() {
                break;
            }
        }
        for (number, repo) in repos.iter().enumerate() {
            let expected: Vec<String> = (0..places.len())
                .filter(|place| places[*place] == number)
                .map(|place| Ulid::from_parts(1_750_000_000_000, place as u128).to_string())
                .collect();
            let published =
                published.iter().map(|entry| serde_json::from_str::<Event>(entry["Detail"].as_str().unwrap()).unwrap());
            let published = published.filter(|event| event.repo.id == *repo).map(|event| event.id);
            assert_eq!(firsts(published), expected, "{repo} on the bus");
            let mut of_hooks: BTreeMap<HookId, Vec<String>> = BTreeMap::new();
            for (_, message) in sent.iter().filter(|(_, message)| message.repo == *repo) {
                of_hooks.entry(message.hook).or_default().push(message.id.clone());
            }
            assert_eq!(of_hooks.len(), if expected.is_empty() { 0 } else { [0, 1, 2, 11][number % 4] });
            for (hook, published) in of_hooks {
                assert_eq!(firsts(published), expected, "{repo} to {hook}");
            }
        }
    };
    for_every(40, strategy, prepare, check);
}

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/events.md"));

/// The values in JSON, each by its path.
fn leaves(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(&format!("{path}{}{name}", if path.is_empty() { "" } else { "." }), value, found);
            }
        }
        value => drop(found.insert(path.to_owned(), value.clone())),
    }
}

#[test]
fn the_page_shows_events_as_the_code_has_them() {
    let blocks = PAGE.split("```json\n").skip(1).map(|rest| rest.split_once("```").expect("its end").0);
    let blocks: Vec<Value> = blocks.map(|block| serde_json::from_str(block).expect("JSON")).collect();
    let (examples, patterns): (Vec<Value>, Vec<Value>) =
        blocks.into_iter().partition(|block| block.get("version").is_some());
    let shown: BTreeSet<&str> = examples.iter().map(|example| example["type"].as_str().unwrap()).collect();
    assert_eq!(shown, BTreeSet::from(Details::KINDS));
    for example in &examples {
        let event: Event = serde_json::from_value(example.clone()).expect("an event");
        assert_eq!(serde_json::to_value(&event).unwrap(), *example, "nothing too much and nothing too little");
        let drawn = common::time::drawn(event.id.parse().unwrap());
        assert_eq!(event.time.parse::<Timestamp>().unwrap(), drawn, "{}: the time of its id", event.id);
        assert_eq!(event.version, store::table::events::VERSION);
        assert_eq!(event.sequence.len(), store::table::events::SEQUENCE_LENGTH);
        let mut fields = BTreeMap::new();
        leaves("", example, &mut fields);
        let section = PAGE.split(&format!("`{}`:", event.kind())).last().unwrap();
        for field in fields.keys() {
            let row = format!("\n| `{field}` | ");
            let is_there = if field.starts_with("data.") { section.contains(&row) } else { PAGE.contains(&row) };
            assert!(is_there, "{}: {field}", event.kind());
        }
    }
    let [pattern] = &patterns[..] else { panic!("one pattern") };
    assert_eq!((&pattern["source"][0], &pattern["detail-type"][0]), (&json!("musehub"), &json!("RefUpdated")));
    let (mut wanted, mut has) = (BTreeMap::new(), BTreeMap::new());
    leaves("", &pattern["detail"], &mut wanted);
    leaves("", examples.iter().find(|example| example["type"] == "RefUpdated").unwrap(), &mut has);
    for (field, values) in wanted {
        assert_eq!(values, json!([has[&field]]), "it matches the example");
    }
}

/// Whether a filter of an event source lets a change through, as far as ours go.
fn lets_through(pattern: &Value, name: &str, sk: &str) -> bool {
    let wanted = pattern["dynamodb"]["Keys"]["sk"]["S"].as_array().expect("a list");
    let is_wanted = |wanted: &Value| match wanted.as_str() {
        Some(whole) => whole == sk,
        None => sk.starts_with(wanted["prefix"].as_str().expect("a prefix")),
    };
    pattern["eventName"].as_array().expect("a list").contains(&json!(name)) && wanted.iter().any(is_wanted)
}

#[test]
fn the_functions_take_what_the_filters_of_the_template_let_through() {
    const TEMPLATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml"));
    let patterns_of = |function: &str| -> Vec<Value> {
        let from = TEMPLATE.split_once(&format!("\n  {function}:\n")).expect("the function").1;
        let own = from.split("\n  # ").next().unwrap().split("    Type: AWS::Serverless::Function").nth(1).unwrap();
        let patterns = own.lines().filter_map(|line| line.trim().strip_prefix("Pattern: '")?.strip_suffix('\''));
        patterns.map(|pattern| serde_json::from_str(pattern).expect("JSON")).collect()
    };
    let (of_compact, of_events) = (patterns_of("Compact"), patterns_of("Events"));
    assert_eq!((of_compact.len(), of_events.len()), (3, 5));
    let kinds = [
        "META",
        "REF#a",
        "TAG#a",
        "REL#a",
        "LOG#1",
        "CHANGE#1",
        "REMOVAL",
        "DELETED#1",
        "PACK#1",
        "RETIRED#1",
        "DAMAGED#1",
        "SWEEP",
        "UPLOADS",
        "HOOK#1",
        "PURGE",
        "PURGED#a",
    ];
    for name in ["INSERT", "MODIFY", "REMOVE"] {
        for sk in kinds {
            let change = json!({"eventName": name, "dynamodb": {
                "Keys": {"pk": {"S": format!("REPO#{}", Ulid::nil())}, "sk": {"S": sk}}, "SequenceNumber": "1"}});
            let change = &batch(&[change]).records[0];
            let lets = |patterns: &[Value]| patterns.iter().any(|pattern| lets_through(pattern, name, sk));
            assert_eq!(events::is_published(change), lets(&of_events), "events: {name} {sk}");
            assert_eq!(compact::is_compacted(change), lets(&of_compact), "compact: {name} {sk}");
        }
    }
}
