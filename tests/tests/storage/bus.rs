//! What stands in for EventBridge and SQS, under the SDK, at its HTTP client: it notes what it takes, and refuses what
//! the test says, as these services do. <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>,
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use events::Publishers;
use serde_json::{Value, json};
use store::table::webhooks::Message;

use crate::process::{Cloud, Process};

/// The name of the bus, and the URL of the queue.
pub const NAMES: (&str, &str) = ("the-hub", "http://127.0.0.1/123456789012/webhooks.fifo");

/// What becomes of a call or of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is taken.
    Taken,
    /// This entry is refused; the others of its call are not.
    Refused,
    /// The whole call fails: asked for an entry's fate, it fails if it does for one of its entries.
    CallFails,
}

/// Where an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To the bus.
    Bus,
    /// To the queue.
    Queue,
}

/// A bus and a queue.
#[derive(Clone, Default)]
pub struct Bus(Arc<Mutex<Seen>>);

type Script = Box<dyn FnMut(Place, &str) -> Fate + Send>;

#[derive(Default)]
struct Seen {
    published: Vec<Value>,
    sent: Vec<Value>,
    fates: Option<Script>,
}

impl Bus {
    /// From here on this decides what becomes of each entry, by the event's id and where it goes.
    pub fn script(&self, fates: impl FnMut(Place, &str) -> Fate + Send + 'static) {
        self.0.lock().unwrap().fates = Some(Box::new(fates));
    }

    /// From here on everything is taken.
    pub fn heal(&self) {
        self.0.lock().unwrap().fates = None;
    }

    /// The entries that the bus has taken, in their order. Forgets them.
    pub fn published(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap().published)
    }

    /// The entries that the queue has taken, with their messages, in their order. Forgets them.
    pub fn sent(&self) -> Vec<(Value, Message)> {
        let sent = std::mem::take(&mut self.0.lock().unwrap().sent);
        sent.into_iter()
            .map(|entry| (entry.clone(), serde_json::from_str(text(&entry["MessageBody"])).unwrap()))
            .collect()
    }

    /// The way to it from a process.
    pub fn publishers(&self, cloud: &Cloud, process: &Process) -> Publishers {
        let config = cloud.backends.s3.clone().into_builder().http_client(self.clone()).build();
        let (bus, queue) = NAMES;
        Publishers::new(&config, &config, bus.to_owned(), queue.to_owned(), process.hub.store.ambient().clone())
    }

    fn answer(&self, target: &str, body: &Value) -> (u16, Value) {
        let mut seen = self.0.lock().unwrap();
        let entries = body["Entries"].as_array().expect("entries").clone();
        let (kind, _) = target.split_once('.').expect("a target");
        assert!((1..=10).contains(&entries.len()), "{} entries in a call", entries.len());
        let bytes: usize = entries.iter().map(|entry| entry.to_string().len()).sum();
        assert!(bytes <= 256 << 10, "{bytes} bytes in a call");
        let is_bus = kind == "AWSEvents";
        let place = if is_bus { Place::Bus } else { Place::Queue };
        let id = |entry: &Value| {
            let inner: Value =
                serde_json::from_str(text(&entry[if is_bus { "Detail" } else { "MessageBody" }])).unwrap();
            text(&inner["id"]).to_owned()
        };
        let mut fate = |entry: &Value| seen.fates.as_mut().map_or(Fate::Taken, |fates| fates(place, &id(entry)));
        let fates: Vec<Fate> = entries.iter().map(&mut fate).collect();
        if fates.contains(&Fate::CallFails) {
            return (500, json!({"__type": "InternalException", "message": "not now"}));
        }
        let outcomes: Vec<(Value, bool)> =
            entries.into_iter().zip(fates).map(|(entry, fate)| (entry, fate == Fate::Taken)).collect();
        let taken = outcomes.iter().filter(|(_, is_taken)| *is_taken).map(|(entry, _)| entry.clone());
        if is_bus {
            assert!(outcomes.iter().all(|(entry, _)| entry["EventBusName"] == NAMES.0), "another bus");
            seen.published.extend(taken);
            let said = outcomes.iter().map(|(_, is_taken)| {
                if *is_taken {
                    json!({"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"})
                } else {
                    json!({"ErrorCode": "InternalFailure", "ErrorMessage": "not this one"})
                }
            });
            let failed = outcomes.iter().filter(|(_, is_taken)| !is_taken).count();
            return (200, json!({"FailedEntryCount": failed, "Entries": said.collect::<Vec<_>>()}));
        }
        assert_eq!(body["QueueUrl"], NAMES.1);
        seen.sent.extend(taken);
        let of = |wanted: bool, say: fn(&Value) -> Value| {
            outcomes.iter().filter(|(_, is_taken)| *is_taken == wanted).map(|(entry, _)| say(entry)).collect::<Vec<_>>()
        };
        let successful = of(true, |entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "d"}));
        let failed = of(false, |entry| json!({"Id": entry["Id"], "SenderFault": false, "Code": "InternalError"}));
        (200, json!({"Successful": successful, "Failed": failed}))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Bus")
    }
}

impl HttpClient for Bus {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Bus {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("a target").to_owned();
        let body = serde_json::from_slice(request.body().bytes().expect("a whole body")).expect("JSON");
        let (status, answer) = self.answer(&target, &body);
        let mut response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(answer.to_string()));
        response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
        HttpConnectorFuture::ready(Ok(response))
    }
}
