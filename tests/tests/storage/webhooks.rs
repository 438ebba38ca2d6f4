//! The function `deliver`, called as its queue calls it, and what it says to the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use common::id::RepoId;
use deliver::queue::{Event, Queues, Which};
use deliver::sender::Sender;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use service::BatchResponse;
use service::routes::Function;
use service::webhook_target::Reach;
use store::ambient::Ambient;
use store::table::PutError;
use store::table::items::{DeliveryCursorItem, HookItem};
use store::table::members::StillAdministers;
use store::table::webhooks::Message;
use store::table::webhooks::secret::{HookId, Secret};
use tests::encoding::Encoding;
use tests::receiver::{Delivery, Receiver, answer};
use tests::wiretap::{Fault, Reaction, stop_clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::lines::Lines;
use crate::process::{Cloud, Process, for_every};

const FIRST: &str = "http://127.0.0.1/123456789012/webhooks.fifo";
const AGAIN: &str = "http://127.0.0.1/123456789012/retries.fifo";
const NEW: Duration = Duration::ZERO;

/// What stands in for SQS: it notes which messages are put back, and for how many seconds, and what is sent.
#[derive(Clone, Debug, Default)]
struct Sqs(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    put_back: Vec<(String, u64)>,
    /// The whole requests.
    sent: Vec<Value>,
    is_away: bool,
}

impl Sqs {
    fn queues(&self, cloud: &Cloud) -> Queues {
        let config = cloud.backends.s3.clone().into_builder().http_client(self.clone()).build();
        Queues::new(&config, FIRST.to_owned(), AGAIN.to_owned(), Ambient::system())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap()
    }

    fn put_back(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.noted().put_back)
    }

    /// The ids of the messages that were sent on, in their order.
    fn sent(&self) -> Vec<String> {
        let sent = std::mem::take(&mut self.noted().sent);
        let id = |request: &Value| {
            let message: Message = serde_json::from_str(request["MessageBody"].as_str().expect("text")).expect("ours");
            assert_eq!(request["QueueUrl"], AGAIN);
            assert_eq!(request["MessageGroupId"], message.hook.to_string());
            assert_eq!(request["MessageDeduplicationId"], message.deduplication());
            message.id
        };
        sent.iter().map(id).collect()
    }
}

impl HttpClient for Sqs {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Sqs {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().expect("a whole body")).expect("JSON");
        let mut noted = self.noted();
        let answer = match request.headers().get("x-amz-target") {
            _ if noted.is_away => return respond(400, &json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist"})),
            Some("AmazonSQS.SendMessage") => {
                noted.sent.push(body);
                json!({"MessageId": "1", "MD5OfMessageBody": "", "SequenceNumber": "1"})
            }
            Some("AmazonSQS.ChangeMessageVisibilityBatch") => {
                let entries = body["Entries"].as_array().expect("entries");
                assert!((1..=10).contains(&entries.len()), "{} entries in a call", entries.len());
                for entry in entries {
                    let seconds = entry["VisibilityTimeout"].as_u64().expect("seconds");
                    assert!(seconds <= 43_200, "SQS takes 12 hours");
                    let receipt = entry["ReceiptHandle"].as_str().expect("a handle");
                    let is_again = receipt.starts_with("again");
                    assert_eq!(body["QueueUrl"], if is_again { AGAIN } else { FIRST }, "{receipt}");
                    noted.put_back.push((receipt.to_owned(), seconds));
                }
                let successful: Vec<Value> = entries.iter().map(|entry| json!({"Id": entry["Id"]})).collect();
                json!({"Successful": successful, "Failed": []})
            }
            other => panic!("SQS is asked for {other:?}"),
        };
        respond(200, &answer)
    }
}

fn respond(status: u16, answer: &Value) -> HttpConnectorFuture {
    let mut response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(answer.to_string()));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    HttpConnectorFuture::ready(Ok(response))
}

/// A deployment with one repo.
struct Scene {
    cloud: Cloud,
    process: Process,
    repo: RepoId,
    sqs: Sqs,
}

impl Scene {
    async fn new() -> Scene {
        let cloud = Cloud::start().await;
        let process = cloud.process();
        process.make_repo("song").await.expect(201);
        let repo = process.repo_id("song").await.parse().unwrap();
        Scene { cloud, process, repo, sqs: Sqs::default() }
    }

    fn item(&self, url: String) -> HookItem {
        let ambient = self.process.hub.store.ambient();
        HookItem {
            url,
            secret: Secret::draw(ambient),
            events: None,
            inactive_because: None,
            waiting_until: None,
            created_at: ambient.now_iso(),
            created_by: "user-dev".to_owned(),
        }
    }

    async fn hook(&self, url: String, events: Option<&[&str]>) -> HookId {
        let events = events.map(|events| events.iter().map(ToString::to_string).collect());
        let item = HookItem { events, ..self.item(url) };
        let id = self.process.hub.store.ambient().ulid();
        self.process.hub.store.put_hook(&self.repo, id, &item, StillAdministers::as_owner()).await.unwrap();
        id
    }

    async fn why_off(&self, hook: HookId) -> Option<String> {
        self.process.hub.store.hook(&self.repo, hook).await.unwrap().unwrap().inactive_because
    }

    fn message(&self, hook: HookId, name: &str) -> Message {
        Message {
            repo: self.repo.clone(),
            owner: "dev".parse().unwrap(),
            hook,
            id: name.to_owned(),
            kind: "RefUpdated".to_owned(),
            body: json!({"id": name}).to_string(),
        }
    }

    /// A message as the queue of further attempts hands it over for the `count`th time, having taken it `age` ago.
    fn record(&self, hook: HookId, name: &str, count: u32, age: Duration) -> Value {
        self.record_of(&self.message(hook, name), Which::Again, count, age)
    }

    /// A message as the queue of first attempts hands it over for the first time.
    fn first(&self, hook: HookId, name: &str) -> Value {
        self.record_of(&self.message(hook, name), Which::First, 1, NEW)
    }

    fn record_of(&self, message: &Message, which: Which, count: u32, age: Duration) -> Value {
        let name = &message.id;
        let sent = (self.process.hub.store.ambient().now() - age).as_millisecond();
        let (handle, url, group) = match which {
            Which::First => ("first", FIRST, message.lane()),
            Which::Again => ("again", AGAIN, message.hook_group()),
        };
        // As in AWS's documentation, with our message.
        json!({
            "messageId": format!("message {name}"), "receiptHandle": format!("{handle} {name}"),
            "body": serde_json::to_string(message).unwrap(),
            "attributes": {
                "ApproximateReceiveCount": count.to_string(), "SentTimestamp": sent.to_string(),
                "SequenceNumber": "18849496460467696128", "MessageGroupId": group,
                "SenderId": "AIDAIO23YVJENQZJOL4VO", "MessageDeduplicationId": message.deduplication(),
                "ApproximateFirstReceiveTimestamp": sent.to_string(),
            },
            "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-2:123456789012:{}", url.rsplit('/').next().unwrap()),
            "awsRegion": "us-east-2",
        })
    }

    /// The names of what has to come again, when this was handed over.
    async fn hand_over(&self, records: impl IntoIterator<Item = Value>) -> Vec<String> {
        let answer = self.hand_over_within(Duration::from_secs(180), records).await;
        let name = |id: &str| id.strip_prefix("message ").expect("one of ours").to_owned();
        answer.failures.iter().map(|failure| name(&failure.id)).collect()
    }

    async fn hand_over_within(&self, time: Duration, records: impl IntoIterator<Item = Value>) -> BatchResponse {
        let records: Vec<Value> = records.into_iter().collect();
        let event: Event = serde_json::from_value(json!({"Records": records})).unwrap();
        let sender = Sender::new(Reach::Anywhere).unwrap();
        let store = &self.process.hub.store;
        let deadline = store.ambient().now() + time;
        // The receivers are not behind the tap.
        let _clock = stop_clock();
        deliver::handle(store, &sender, &self.sqs.queues(&self.cloud), event, deadline).await
    }
}

fn names(seen: &[Delivery]) -> Vec<&str> {
    seen.iter().map(Delivery::id).collect()
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn behind_a_delivery_that_fails_those_to_the_same_webhook_wait_and_no_others() {
    let scene = Scene::new().await;
    let (down, up) = (Receiver::start().await, Receiver::start().await);
    down.script(|delivery| answer(if delivery.id() == "b" { 500 } else { 200 }));
    let (one, two) = (scene.hook(down.url("/"), None).await, scene.hook(up.url("/"), None).await);
    let records = [("a", one), ("p", two), ("b", one), ("c", one), ("q", two), ("d", one)];
    let failed = scene.hand_over(records.map(|(name, hook)| scene.record(hook, name, 3, NEW))).await;
    assert_eq!(failed, ["b", "c", "d"]);
    assert_eq!(names(&down.seen()), ["a", "b"]);
    assert_eq!(names(&up.seen()), ["p", "q"]);
    let put_back = scene.sqs.put_back();
    let receipts: Vec<&str> = put_back.iter().map(|(receipt, _)| receipt.as_str()).collect();
    assert_eq!(receipts, ["again b", "again c", "again d"]);
    // It was handed over three times, after the first attempt from the other queue. After the fourth four and a half minutes,
    // and up to a quarter more; for all of them the same.
    let pause = put_back[0].1;
    assert!((270..=338).contains(&pause) && put_back.iter().all(|(_, seconds)| *seconds == pause), "{put_back:?}");
    let answer = scene.hand_over_within(Duration::from_secs(180), [scene.record(one, "b", 4, NEW)]).await;
    let body = serde_json::to_value(&answer).unwrap();
    assert_eq!(body, json!({"batchItemFailures": [{"itemIdentifier": "message b"}]}));
}

#[test]
fn for_every_pattern_of_failures_each_message_is_delivered_or_named_and_in_order() {
    let pattern = prop::collection::vec((0..3_usize, any::<bool>()), 1..=10);
    let prepare = async || {
        let scene = Scene::new().await;
        let receiver = Receiver::start().await;
        let mut hooks = Vec::new();
        for number in 0..3 {
            hooks.push(scene.hook(receiver.url(&format!("/{number}")), None).await);
        }
        (scene, receiver, hooks)
    };
    for_every(40, pattern, prepare, async |(scene, receiver, hooks), pattern| {
        let named: Vec<(String, usize, bool)> =
            pattern.iter().enumerate().map(|(place, (hook, fails))| (place.to_string(), *hook, *fails)).collect();
        let fails: BTreeMap<String, bool> = named.iter().map(|(name, _, fails)| (name.clone(), *fails)).collect();
        receiver.script(move |delivery| answer(if fails[delivery.id()] { 503 } else { 200 }));
        let before = receiver.seen().len();
        let records = named.iter().map(|(name, hook, _)| scene.record(hooks[*hook], name, 1, NEW));
        let failed: BTreeSet<String> = scene.hand_over(records).await.into_iter().collect();
        let seen = receiver.seen().split_off(before);
        for hook in 0..3 {
            let mine: Vec<&(String, usize, bool)> = named.iter().filter(|(_, to, _)| *to == hook).collect();
            let path = format!("/{hook}");
            let tried: Vec<&str> = seen.iter().filter(|seen| seen.path == path).map(Delivery::id).collect();
            let first = mine.iter().position(|(_, _, fails)| *fails).unwrap_or(mine.len());
            let until_first = mine.iter().take(first + 1).map(|(name, ..)| name.as_str());
            assert_eq!(tried, until_first.collect::<Vec<_>>(), "tried in order, up to the first that fails");
            for (place, (name, ..)) in mine.iter().enumerate() {
                assert_eq!(failed.contains(name), place >= first, "{named:?}: {failed:?}");
            }
        }
        let receipts = scene.sqs.put_back().into_iter();
        let put_back: BTreeSet<String> = receipts.map(|(receipt, _)| receipt.replace("again ", "")).collect();
        assert_eq!(put_back, failed);
    });
}

#[tokio::test]
async fn what_no_webhook_wants_any_more_is_done() {
    let scene = Scene::new().await;
    let store = &scene.process.hub.store;
    let receiver = Receiver::start().await;
    let off = scene.hook(receiver.url("/"), None).await;
    store.turn_hook_off(&scene.repo, off, "for the test").await.unwrap();
    let other = scene.hook(receiver.url("/"), Some(&["TagUpdated"])).await;
    let never = store.ambient().ulid();
    let records = [(off, "a"), (other, "b"), (never, "c")].map(|(hook, name)| scene.record(hook, name, 1, NEW));
    assert_eq!(scene.hand_over(records).await, NOTHING);
    assert!(receiver.seen().is_empty() && scene.sqs.put_back().is_empty());
    // What is not there does not come to be by being turned off.
    store.turn_hook_off(&scene.repo, never, "for the test").await.unwrap();
    assert_eq!(store.hook(&scene.repo, never).await.unwrap(), None);
}

#[tokio::test]
async fn a_webhook_that_is_gone_or_fails_for_three_days_is_turned_off() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let hook = scene.hook(receiver.url("/"), None).await;
    receiver.answers(500);
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    assert_eq!(scene.hand_over([scene.record(hook, "a", 9, days(2))]).await, ["a"]);
    assert_eq!(scene.why_off(hook).await, None);
    // What is late and goes well says nothing against it.
    receiver.answers(200);
    assert_eq!(scene.hand_over([scene.record(hook, "b", 9, days(9))]).await, NOTHING);
    assert_eq!(scene.why_off(hook).await, None);
    receiver.answers(500);
    assert_eq!(scene.hand_over(["c", "d"].map(|name| scene.record(hook, name, 9, days(4)))).await, NOTHING);
    assert!(scene.why_off(hook).await.unwrap().contains("three days"));
    assert_eq!(names(&receiver.seen()), ["a", "b", "c"], "once it is off nothing is sent to it");

    let gone = scene.hook(receiver.url("/"), None).await;
    receiver.answers(410);
    assert_eq!(scene.hand_over([scene.record(gone, "e", 1, NEW)]).await, NOTHING);
    assert!(scene.why_off(gone).await.unwrap().contains("410"));
}

#[tokio::test]
async fn what_there_is_no_time_for_comes_again_at_once() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let hook = scene.hook(receiver.url("/"), None).await;
    let records = ["a", "b"].map(|name| scene.record(hook, name, 1, NEW));
    assert_eq!(scene.hand_over_within(Duration::from_secs(20), records).await.failures.len(), 2);
    assert!(receiver.seen().is_empty());
    assert_eq!(scene.sqs.put_back(), [("again a".to_owned(), 0), ("again b".to_owned(), 0)]);
}

#[tokio::test]
async fn a_message_waits_while_the_table_is_away_and_one_that_is_none_is_not_forgotten() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let hook = scene.hook(receiver.url("/"), None).await;
    scene.process.tap.script(|_| Reaction::Fail(Fault::Status(400)));
    assert_eq!(scene.hand_over([scene.record(hook, "a", 1, NEW)]).await, ["a"]);
    scene.process.tap.script(|_| Reaction::Forward);
    let mut strange = scene.record(hook, "b", 1, NEW);
    strange["body"] = json!("hello");
    assert_eq!(scene.hand_over([strange]).await, ["b"]);
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn nothing_of_a_secret_or_of_a_url_gets_into_a_log() {
    let lines = Lines::default();
    let _logging = lines.are_written();

    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let key = "whsec_TU9TVFNFQ1JFVE1PU1RTRUNSRVRNT1NUU0VDUkVU";
    let body = json!({"url": receiver.url("/hidden?token=sesame"), "secret": key});
    let mut process = scene.cloud.process();
    process.hub.settings.webhooks_reach = Reach::Anywhere;
    let made = process.call(Function::Webhooks, "song", Encoding::Json, &body).await.expect("a whole answer");
    let hook: HookId = made.expect(201)["id"].as_str().unwrap().parse().unwrap();
    receiver.answers(500);
    scene.hand_over([scene.record(hook, "a", 1, NEW)]).await;
    assert_eq!(names(&receiver.seen()), ["a"]);
    // No server listens there any more.
    drop(receiver);
    scene.hand_over([scene.record(hook, "b", 2, NEW)]).await;

    let log = lines.text();
    assert!(log.contains("a delivery failed") && log.contains("answered 500"), "{log}");
    for word in ["sesame", "hidden", "TU9TVFNFQ1JFV", "whsec_"] {
        assert!(!log.contains(word), "{word} is in: {log}");
    }
    let logged = process.log.lock().unwrap();
    assert!(!logged.is_empty() && logged.iter().all(|line| !line.to_string().contains("sesame")));
}

#[tokio::test]
async fn only_public_addresses_are_connected_to_whatever_a_name_leads_to() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let port = receiver.url("").rsplit(':').next().unwrap().to_owned();
    let sender = Sender::new(Reach::Public).unwrap();
    let ambient = scene.process.hub.store.ambient();
    let message = scene.message(ambient.ulid(), "a");
    let _clock = stop_clock();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "10.0.0.1"] {
        let item = scene.item(format!("https://{host}:{port}/"));
        let refused = sender.post(&item, &message, ambient.now()).await.unwrap_err();
        assert_eq!(refused, "no answer: its address is not one of the public internet", "{host}");
        // What was made where more is allowed is still not called without TLS.
        let plain = HookItem { url: format!("http://{host}:{port}/"), ..item };
        sender.post(&plain, &message, ambient.now()).await.unwrap_err();
    }
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn of_a_long_answer_the_status_counts() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let hook = scene.hook(receiver.url("/"), None).await;
    receiver.script(|_| answer(200).map(|_| "x".repeat(8 << 20)));
    assert_eq!(scene.hand_over([scene.record(hook, "a", 1, NEW)]).await, NOTHING);
}

/// A receiver that answers with this status and the beginning of a body that does not end.
async fn receiver_without_an_end(status: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            while !seen.ends_with(b"}") {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "a whole message");
            }
            let answer = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    (url, task)
}

#[tokio::test]
async fn of_an_answer_without_an_end_the_status_counts() {
    let scene = Scene::new().await;
    // The limit on reading the body has to run out, for both at the same time.
    tokio::time::resume();
    let (taking, _taking) = receiver_without_an_end("200 OK").await;
    let (gone, _gone) = receiver_without_an_end("410 Gone").await;
    let (taking, gone) = (scene.hook(taking, None).await, scene.hook(gone, None).await);
    let records = [(taking, "a"), (gone, "b")].map(|(hook, name)| scene.record(hook, name, 1, NEW));
    assert_eq!(scene.hand_over(records).await, NOTHING);
    assert_eq!(scene.why_off(taking).await, None);
    assert!(scene.why_off(gone).await.unwrap().contains("410"));
}

#[tokio::test]
async fn a_receiver_that_is_slow_takes_turns() {
    let scene = Scene::new().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    let ambient = scene.process.hub.store.ambient().clone();
    // Each look at this clock moves it by a millisecond.
    slow.script(move |_| {
        for _ in 0..11_000 {
            let _ = ambient.now();
        }
        answer(200)
    });
    let (one, two) = (scene.hook(slow.url("/"), None).await, scene.hook(quick.url("/"), None).await);
    let records = ["a", "b", "c", "d"].map(|name| scene.record(one, name, 1, NEW));
    assert_eq!(scene.hand_over(records).await, ["c", "d"]);
    assert_eq!(names(&slow.seen()), ["a", "b"]);
    assert_eq!(scene.sqs.put_back(), [("again c".to_owned(), 0), ("again d".to_owned(), 0)]);
    // One is always made.
    assert_eq!(scene.hand_over([scene.record(two, "p", 1, NEW)]).await, NOTHING);
    assert_eq!(names(&quick.seen()), ["p"]);
}

#[tokio::test]
async fn what_fails_at_first_waits_elsewhere_with_what_is_behind_it() {
    let scene = Scene::new().await;
    let store = &scene.process.hub.store;
    let (down, up) = (Receiver::start().await, Receiver::start().await);
    down.script(|delivery| answer(if delivery.id() == "b" { 500 } else { 200 }));
    let (one, two) = (scene.hook(down.url("/"), None).await, scene.hook(up.url("/"), None).await);
    let records = [("a", one), ("p", two), ("b", one), ("c", one), ("q", two), ("d", one)];
    let failed = scene.hand_over(records.map(|(name, hook)| scene.first(hook, name))).await;
    assert_eq!(failed, NOTHING, "the lane goes on");
    assert_eq!((names(&down.seen()), names(&up.seen())), (vec!["a", "b"], vec!["p", "q"]));
    assert_eq!(scene.sqs.sent(), ["b", "c", "d"]);
    // What comes later goes there too, for as long as something waits there.
    assert_eq!(scene.hand_over([scene.first(one, "e")]).await, NOTHING);
    assert_eq!(scene.sqs.sent(), ["e"]);
    down.answers(200);
    let waiting = ["b", "c", "d"].map(|name| scene.record(one, name, 1, NEW));
    assert_eq!(scene.hand_over(waiting).await, NOTHING);
    assert_eq!(scene.hand_over([scene.first(one, "f")]).await, NOTHING);
    assert_eq!(scene.sqs.sent(), ["f"]);
    assert_eq!(scene.hand_over(["e", "f"].map(|name| scene.record(one, name, 1, NEW))).await, NOTHING);
    assert_eq!(scene.hand_over([scene.first(one, "g")]).await, NOTHING);
    assert_eq!(names(&down.seen()), ["a", "b", "b", "c", "d", "e", "f", "g"]);
    assert!(scene.sqs.sent().is_empty() && scene.sqs.put_back().is_empty());
    // Of one that is gone nothing is noted.
    let never = store.ambient().ulid();
    store.hook_waits(&scene.repo, never, "h").await.unwrap();
    assert_eq!(store.hook(&scene.repo, never).await.unwrap(), None);
}

#[tokio::test]
async fn behind_a_receiver_that_is_slow_the_lane_goes_on() {
    let scene = Scene::new().await;
    let slow = Receiver::start().await;
    let ambient = scene.process.hub.store.ambient().clone();
    // Each look at this clock moves it by a millisecond.
    slow.script(move |_| {
        for _ in 0..4_000 {
            let _ = ambient.now();
        }
        answer(200)
    });
    let hook = scene.hook(slow.url("/"), None).await;
    assert_eq!(scene.hand_over(["a", "b", "c"].map(|name| scene.first(hook, name))).await, NOTHING);
    assert_eq!(names(&slow.seen()), ["a"]);
    assert_eq!(scene.sqs.sent(), ["b", "c"]);
}

#[tokio::test]
async fn a_lane_waits_for_the_table_and_the_other_queue_and_not_for_long() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let hook = scene.hook(receiver.url("/"), None).await;
    let often = |name: &str, count| scene.record_of(&scene.message(hook, name), Which::First, count, NEW);
    scene.process.tap.script(|_| Reaction::Fail(Fault::Status(400)));
    assert_eq!(scene.hand_over([often("a", 90), often("b", 90)]).await, ["a", "b"]);
    scene.process.tap.script(|_| Reaction::Forward);
    let quarter = 15 * 60;
    assert_eq!(scene.sqs.put_back(), [("first a".to_owned(), quarter), ("first b".to_owned(), quarter)]);
    assert!(receiver.seen().is_empty());
    receiver.answers(500);
    scene.sqs.noted().is_away = true;
    assert_eq!(scene.hand_over([often("a", 1), often("b", 1)]).await, ["a", "b"]);
    assert_eq!(names(&receiver.seen()), ["a"]);
    scene.sqs.noted().is_away = false;
    assert_eq!(scene.hand_over([often("a", 2), often("b", 2)]).await, NOTHING);
    assert_eq!(scene.sqs.sent(), ["a", "b"]);
    assert_eq!(names(&receiver.seen()), ["a"], "a second attempt is made from the other queue");
    let mut strange = often("c", 7);
    strange["body"] = json!("hello");
    let good = scene.hook(receiver.url("/good"), None).await;
    receiver.answers(200);
    assert_eq!(scene.hand_over([strange, scene.first(good, "d")]).await, ["c"]);
    assert_eq!(receiver.seen().last().map(|seen| seen.path.clone()).as_deref(), Some("/good"));
}

#[tokio::test]
async fn webhooks_past_the_limit_are_refused_and_what_is_known_of_one_goes_with_it() {
    let scene = Scene::new().await;
    let store = &scene.process.hub.store;
    for number in 1..20 {
        scene.hook(format!("https://example.com/{number}"), None).await;
    }
    let last = scene.hook("https://example.com/20".to_owned(), None).await;
    let item = scene.item("https://example.com/21".to_owned());
    let refused =
        store.put_hook(&scene.repo, store.ambient().ulid(), &item, StillAdministers::as_owner()).await.unwrap_err();
    assert!(matches!(refused, PutError::Full { count: 21, limit: 20, .. }), "{refused:?}");
    let delivery_cursor = DeliveryCursorItem { until: Timestamp::constant(7, 0), done: vec!["01JD".to_owned()] };
    store.put_delivery_cursor(&scene.repo, last, &delivery_cursor).await.unwrap();
    assert_eq!(store.delivery_cursor(&scene.repo, last).await.unwrap(), Some(delivery_cursor));
    let mut all = store.all_hooks().await.unwrap();
    all.sort_unstable_by_key(|(_, hook)| *hook);
    let listed = store.hooks(&scene.repo).await.unwrap().into_iter();
    assert_eq!(all, listed.map(|(hook, _)| (scene.repo.clone(), hook)).collect::<Vec<_>>());
    let ids = store.hook_ids(&scene.repo).await.unwrap();
    assert_eq!(ids, all.iter().map(|(_, hook)| *hook).collect::<Vec<_>>());
    assert!(store.delete_hook(&scene.repo, last).await.unwrap());
    assert_eq!(store.delivery_cursor(&scene.repo, last).await.unwrap(), None);
    assert!(!store.delete_hook(&scene.repo, last).await.unwrap());
}
