//! The function `deliver` and its two queues, which stand here as SQS has them: of a group nothing is handed over while some of it
//! is under way or put back, a batch has as many messages of one group as there are, and few batches are under way at a time.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use common::id::RepoId;
use deliver::queue::{Event, Queues};
use deliver::sender::Sender;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use service::BatchResponse;
use service::webhook_target::Reach;
use store::ambient::Ambient;
use store::table::items::HookItem;
use store::table::members::StillAdministers;
use store::table::webhooks::Message;
use store::table::webhooks::secret::{HookId, Secret};
use tests::receiver::{Delivery, Receiver, answer, silent};
use tests::wiretap::stop_clock;

use crate::process::{Cloud, Process, for_every};

/// The queues, with the `MaximumConcurrency` that each has in template.yaml.
const FIRST: &str = "first.fifo";
const AGAIN: &str = "again.fifo";
const CONCURRENCY: [(&str, usize); 2] = [(FIRST, 5), (AGAIN, 2)];
/// The most of a batch.
const BATCH: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    UnderWay,
    PutBack,
}

#[derive(Clone, Debug)]
struct Held {
    id: String,
    group: String,
    body: String,
    count: u32,
    state: State,
}

/// Both queues.
#[derive(Clone, Debug, Default)]
struct Fifo(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    held: BTreeMap<&'static str, Vec<Held>>,
    /// What was sent within the last five minutes, which are longer than a test.
    known: BTreeSet<(&'static str, String, String)>,
}

fn queue_of(url: &str) -> &'static str {
    if url.ends_with(AGAIN) { AGAIN } else { FIRST }
}

impl Fifo {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn send(&self, queue: &'static str, group: String, deduplication: String, body: String) {
        let mut inner = self.inner();
        if inner.known.insert((queue, group.clone(), deduplication)) {
            let id = format!("{queue}/{}", inner.known.len());
            inner.held.entry(queue).or_default().push(Held { id, group, body, count: 0, state: State::Waits });
        }
    }

    /// A batch, all of which was sent at this time.
    fn receive(&self, queue: &'static str, now: Timestamp) -> Option<Event> {
        let mut inner = self.inner();
        let held = inner.held.entry(queue).or_default();
        let is_held_up = |group: &str| held.iter().any(|held| held.group == group && held.state != State::Waits);
        let mut free: Vec<String> = Vec::new();
        for group in held.iter().map(|held| &held.group) {
            if !free.contains(group) && !is_held_up(group) {
                free.push(group.clone());
            }
        }
        let mut records = Vec::new();
        for group in free {
            let room = BATCH - records.len();
            for held in held.iter_mut().filter(|held| held.group == group).take(room) {
                held.state = State::UnderWay;
                held.count += 1;
                records.push(json!({
                    "messageId": held.id, "receiptHandle": held.id, "body": held.body,
                    "attributes": {
                        "ApproximateReceiveCount": held.count.to_string(), "SentTimestamp": now.to_string(),
                        "MessageGroupId": held.group,
                    },
                    "eventSourceARN": format!("arn:aws:sqs:us-east-2:123456789012:{queue}"),
                }));
            }
        }
        let event = json!({"Records": records});
        (!records.is_empty()).then(|| serde_json::from_value(event).expect("a batch"))
    }

    /// What was dealt with is gone, and the rest waits until some time has passed.
    fn finish(&self, queue: &'static str, batch: &[String], answer: &BatchResponse) {
        let failed: BTreeSet<&str> = answer.failures.iter().map(|failure| failure.id.as_str()).collect();
        let mut inner = self.inner();
        let held = inner.held.entry(queue).or_default();
        held.retain(|held| !batch.contains(&held.id) || failed.contains(held.id.as_str()));
        for held in held.iter_mut().filter(|held| held.state == State::UnderWay && batch.contains(&held.id)) {
            held.state = State::PutBack;
        }
    }

    /// All pauses are over. Whether there were any.
    fn time_passes(&self) -> bool {
        let mut inner = self.inner();
        let put_back = inner.held.values_mut().flatten().filter(|held| held.state == State::PutBack);
        put_back.map(|held| held.state = State::Waits).count() > 0
    }
}

impl HttpClient for Fifo {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Fifo {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().expect("a whole body")).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let queue = queue_of(&text(&body["QueueUrl"]));
        let answer = match request.headers().get("x-amz-target") {
            Some("AmazonSQS.SendMessage") => {
                let [group, deduplication, body] =
                    ["MessageGroupId", "MessageDeduplicationId", "MessageBody"].map(|name| text(&body[name]));
                self.send(queue, group, deduplication, body);
                json!({"MessageId": "1", "MD5OfMessageBody": "", "SequenceNumber": "1"})
            }
            Some("AmazonSQS.ChangeMessageVisibilityBatch") => {
                let entries = body["Entries"].as_array().expect("entries");
                let receipts: Vec<String> = entries.iter().map(|entry| text(&entry["ReceiptHandle"])).collect();
                let mut inner = self.inner();
                let held = inner.held.entry(queue).or_default();
                for held in held.iter_mut().filter(|held| receipts.contains(&held.id)) {
                    held.state = State::PutBack;
                }
                let successful: Vec<Value> = entries.iter().map(|entry| json!({"Id": entry["Id"]})).collect();
                json!({"Successful": successful, "Failed": []})
            }
            other => panic!("SQS is asked for {other:?}"),
        };
        let mut response = HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(answer.to_string()));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// A deployment, and repos of it with webhooks.
struct Scene {
    cloud: Cloud,
    process: Process,
    fifo: Fifo,
}

impl Scene {
    async fn new() -> Scene {
        let cloud = Cloud::start().await;
        let process = cloud.process();
        Scene { cloud, process, fifo: Fifo::default() }
    }

    async fn repo(&self, name: &str) -> RepoId {
        self.process.make_repo(name).await.expect(201);
        self.process.repo_id(name).await.parse().unwrap()
    }

    async fn hook(&self, repo: &RepoId, url: String) -> HookId {
        let ambient = self.process.hub.store.ambient();
        let (id, secret, created_at) = (ambient.ulid(), Secret::draw(ambient), ambient.now_iso());
        let (events, inactive_because, waiting_until, created_by) = (None, None, None, "user-dev".to_owned());
        let item = HookItem { url, secret, events, inactive_because, waiting_until, created_at, created_by };
        self.process.hub.store.put_hook(repo, id, &item, StillAdministers::as_owner()).await.unwrap();
        id
    }

    /// What `events` does for one webhook.
    fn publish(&self, owner: &str, repo: &RepoId, hook: HookId, id: &str) {
        let (kind, body) = ("RefUpdated".to_owned(), json!({"id": id}).to_string());
        let message =
            Message { repo: repo.clone(), owner: owner.parse().unwrap(), hook, id: id.to_owned(), kind, body };
        let body = serde_json::to_string(&message).unwrap();
        self.fifo.send(FIRST, message.lane(), message.deduplication(), body);
    }

    /// What Lambda does, as long as there is something to do. `publish` is asked for more each time something was done, and says
    /// whether there was any.
    async fn work(&self, mut publish: impl FnMut() -> bool) {
        let _clock = stop_clock();
        let store = &self.process.hub.store;
        let config = self.cloud.backends.s3.clone().into_builder().http_client(self.fifo.clone()).build();
        let url = |queue: &str| format!("http://127.0.0.1/123456789012/{queue}");
        let queues = Queues::new(&config, url(FIRST), url(AGAIN), Ambient::system());
        let sender = Sender::new(Reach::Anywhere).unwrap();
        let mut under_way: BTreeMap<&str, usize> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        loop {
            let has_more = publish();
            for (queue, most) in CONCURRENCY {
                let count = under_way.entry(queue).or_default();
                while *count < most
                    && let Some(event) = self.fifo.receive(queue, store.ambient().now())
                {
                    *count += 1;
                    let batch: Vec<String> = event.records.iter().map(|record| record.message_id.clone()).collect();
                    let deadline = store.ambient().now() + Duration::from_secs(180);
                    let run = deliver::handle(store, &sender, &queues, event, deadline);
                    running.push(async move { (queue, batch, run.await) });
                }
            }
            match running.next().await {
                Some((queue, batch, answer)) => {
                    *under_way.entry(queue).or_default() -= 1;
                    self.fifo.finish(queue, &batch, &answer);
                }
                None if has_more || self.fifo.time_passes() => {}
                None => return,
            }
        }
    }
}

#[tokio::test]
async fn one_owners_webhooks_that_hang_hold_up_no_other_owners() {
    let scene = Scene::new().await;
    let (url, mut taken, silent) = silent().await;
    for number in 0..8 {
        let repo = scene.repo(&format!("song-{number}")).await;
        for _ in 0..20 {
            let hook = scene.hook(&repo, url.clone()).await;
            scene.publish("dev", &repo, hook, "a");
        }
    }
    let receiver = Receiver::start().await;
    let repo = scene.repo("other").await;
    for name in ["a", "b"] {
        for _ in 0..4 {
            let hook = scene.hook(&repo, receiver.url("/")).await;
            scene.publish("ada", &repo, hook, name);
        }
    }
    // The clock stands still: what hangs does so for ever. An owner has two lanes, of batches of ten.
    tokio::select! {
        () = scene.work(|| false) => panic!("nothing hangs"),
        _ = taken.wait_for(|taken| *taken > 20) => panic!("more hang than one owner may have"),
        seen = receiver.until_seen(8) => assert_eq!(seen.len(), 8),
    }
    silent.abort();
}

#[test]
fn for_every_pattern_of_failures_each_webhook_gets_everything_in_order() {
    // For each message which webhook it is for, and how often it fails.
    let pattern = prop::collection::vec((0..4_usize, prop_oneof![3 => Just(0_u32), 1 => 1..4_u32]), 1..=40);
    let prepare = async || {
        let scene = Scene::new().await;
        let receiver = Receiver::start().await;
        let repo = scene.repo("song").await;
        let mut hooks = Vec::new();
        for number in 0..4 {
            hooks.push(scene.hook(&repo, receiver.url(&format!("/{number}"))).await);
        }
        (scene, receiver, repo, hooks, Mutex::new(0))
    };
    for_every(40, pattern, prepare, async |(scene, receiver, repo, hooks, run), pattern| {
        let run = {
            let mut run = run.lock().unwrap();
            *run += 1;
            *run
        };
        let named: Vec<(String, usize, u32)> = pattern
            .iter()
            .enumerate()
            .map(|(place, (hook, fails))| (format!("{run} {place}"), *hook, *fails))
            .collect();
        let mut left: BTreeMap<String, u32> = named.iter().map(|(name, _, fails)| (name.clone(), *fails)).collect();
        receiver.script(move |delivery| {
            let left = left.get_mut(delivery.id()).expect("one of these");
            let is_taken = *left == 0;
            *left = left.saturating_sub(1);
            answer(if is_taken { 200 } else { 500 })
        });
        let before = receiver.seen().len();
        let mut to_publish = named.iter();
        scene
            .work(|| {
                let next =
                    to_publish.by_ref().take(2).map(|(name, hook, _)| scene.publish("dev", repo, hooks[*hook], name));
                next.count() > 0
            })
            .await;
        let seen = receiver.seen().split_off(before);
        for (hook, id) in hooks.iter().enumerate() {
            let path = format!("/{hook}");
            let tried: Vec<&str> = seen.iter().filter(|seen| seen.path == path).map(Delivery::id).collect();
            let mine = named.iter().filter(|(_, to, _)| *to == hook);
            let expected: Vec<&str> =
                mine.flat_map(|(name, _, fails)| std::iter::repeat_n(name.as_str(), *fails as usize + 1)).collect();
            assert_eq!(tried, expected, "each until it was taken, and then the next");
            let item = scene.process.hub.store.hook(repo, *id).await.unwrap().unwrap();
            assert_eq!(item.waiting_until, None, "nothing waits any more");
        }
    });
}
