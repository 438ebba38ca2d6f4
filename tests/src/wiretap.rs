//! A tap on the wire between a hub and its storage, under the AWS SDK: it notes each call, and makes calls go wrong.
//!
//! It is the SDK's HTTP client with something around it, so everything above it is what runs in production: the hub, the
//! SDK with its retries, its time-outs and its reading of errors.
//!
//! Time is logical. One counter ticks when a call begins and when its answer is there, body and all; that one call
//! followed another is then a fact and not a matter of speed. [`steps`] is the longest chain of calls of which each
//! began after the one before it had ended: what a request waits for, however fast the storage is.
//!
//! A paused clock (`tokio::time::pause`) stands still while a call is under way, and leaps over the pauses between
//! calls. So a test sees every retry and waits for none, and can say how long a client would have waited.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use crate::cases::stride;

/// One call to DynamoDB or S3, as the SDK put it on the wire. A retry is a call of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does to what: `GetItem META`, `Query PACK#`, `TransactWriteItems 2`, `BatchWriteItem 25`, `PUT packs/`,
    /// `GET packs/ ranged`, `COPY objects/`, `LIST uploads/`.
    pub name: String,
    /// The S3 key, that to which a copy goes, or the prefix of a list; or the partition key of an item.
    pub key: String,
    /// How it went wrong, if a script had it do so.
    pub fault: Option<Fault>,
    /// The tick at which it began.
    pub began: u64,
    /// The tick at which its answer was there, or at which the SDK had given it up.
    pub ended: u64,
}

/// What is to become of a call.
pub enum Reaction {
    /// It goes through.
    Forward,
    /// It goes wrong.
    Fail(Fault),
    /// It goes through when this is done.
    After(BoxFuture<'static, ()>),
    /// It goes through when the first is done, and its answer when the second is.
    Between(BoxFuture<'static, ()>, BoxFuture<'static, ()>),
    /// It goes through, and its answer's body is what this makes of it.
    Rewritten(Box<dyn FnOnce(Bytes) -> Bytes + Send>),
    /// It goes through, and its answer has these headers too: names and values.
    Headed(Vec<(&'static str, String)>),
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No server listens. The call is not made.
    Refused,
    /// The call is made, and the connection breaks before its answer.
    AnswerLost,
    /// The call is not made and never answered: what time-outs are for.
    Hangs,
    /// The call is made and never answered.
    AnswerHangs,
    /// An answer without a body, as a load balancer gives it. The call is not made.
    Status(u16),
    /// An error in the form of the service. The call is not made.
    Answered(u16, &'static str),
    /// An error in the form of the service, for a call that was made all the same.
    MadeAndAnswered(u16, &'static str),
    /// A transaction cancelled for this reason, which its last item gave. It is not made.
    Canceled(&'static str),
    /// A batch of writes of which only the first, this many, are made. The others are given back.
    Unprocessed(usize),
    /// The connection breaks within the answer's body, before the byte of this number, modulo its length.
    BrokenOff(u64),
    /// The answer's body ends before the byte of this number, modulo its length, and its header says so.
    CutShort(u64),
    /// The bit of this number, modulo the body's length, is not what was stored.
    FlippedBit(u64),
}

/// What DynamoDB and S3 say when they are asked too often or are out of order, as AWS says it; asking again helps.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>,
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
impl Fault {
    /// DynamoDB throttles a table or an account.
    pub const THROTTLED: Fault = Fault::Answered(400, "ThrottlingException");
    /// DynamoDB throttles a partition.
    pub const OVER_THROUGHPUT: Fault = Fault::Answered(400, "ProvisionedThroughputExceededException");
    /// DynamoDB is still at work on a transaction of the same token.
    pub const IN_PROGRESS: Fault = Fault::Answered(400, "TransactionInProgressException");
    /// DynamoDB failed, and it is not known how far it came.
    pub const INTERNAL_SERVER_ERROR: Fault = Fault::Answered(500, "InternalServerError");
    /// Another transaction is at work on one of the items.
    pub const TRANSACTION_CONFLICT: Fault = Fault::Canceled("TransactionConflict");
    /// One of the items is throttled.
    pub const TRANSACTION_THROTTLED: Fault = Fault::Canceled("ThrottlingError");
    /// S3 is asked too often.
    pub const SLOW_DOWN: Fault = Fault::Answered(503, "SlowDown");
    /// S3 failed.
    pub const INTERNAL_ERROR: Fault = Fault::Answered(500, "InternalError");
    /// S3 waited too long for a body.
    pub const REQUEST_TIMEOUT: Fault = Fault::Answered(400, "RequestTimeout");
    /// S3 sees two conditional writes of one key.
    pub const CONCURRENT: Fault = Fault::Answered(409, "ConditionalRequestConflict");
    /// S3 stored the object, and the retry of that very write finds it there.
    pub const WAS_THERE: Fault = Fault::MadeAndAnswered(412, "PreconditionFailed");

    /// What may go wrong with any call and pass.
    pub const OF_ANY: [Fault; 6] =
        [Fault::Refused, Fault::AnswerLost, Fault::Hangs, Fault::AnswerHangs, Fault::Status(503), Fault::Status(500)];
    /// What may go wrong with a read or a write of DynamoDB and pass.
    pub const OF_DYNAMODB: [Fault; 3] = [Fault::THROTTLED, Fault::OVER_THROUGHPUT, Fault::INTERNAL_SERVER_ERROR];
    /// What may go wrong with a transaction, beside [`Self::OF_DYNAMODB`], and pass.
    pub const OF_TRANSACTION: [Fault; 4] = [
        Fault::IN_PROGRESS,
        Fault::TRANSACTION_CONFLICT,
        Fault::TRANSACTION_THROTTLED,
        Fault::MadeAndAnswered(500, "InternalServerError"),
    ];
    /// What may go wrong with a batch of writes, beside [`Self::OF_DYNAMODB`], and pass.
    pub const OF_BATCH: [Fault; 2] = [Fault::Unprocessed(0), Fault::Unprocessed(1)];
    /// What may go wrong with any call of S3 and pass.
    pub const OF_S3: [Fault; 2] = [Fault::SLOW_DOWN, Fault::INTERNAL_ERROR];
    /// What may go wrong with a conditional write of S3, beside [`Self::OF_S3`], and pass.
    pub const OF_PUT: [Fault; 3] = [Fault::CONCURRENT, Fault::WAS_THERE, Fault::MadeAndAnswered(500, "InternalError")];

    /// What may go wrong with a read of S3, beside [`Self::OF_S3`], and pass.
    pub const OF_GET: [Fault; 2] = [Fault::BrokenOff(0), Fault::BrokenOff(100)];

    /// Everything that may go wrong with this call and pass.
    pub fn passing(call: &Call) -> Vec<Fault> {
        let mut faults = Self::OF_ANY.to_vec();
        if call.is_s3() {
            faults.extend(Self::OF_S3);
        } else {
            faults.extend(Self::OF_DYNAMODB);
        }
        if call.name.starts_with("PUT ") || call.name.starts_with("COPY ") {
            faults.extend(Self::OF_PUT);
        }
        if call.name.starts_with("GET ") {
            faults.extend(Self::OF_GET);
        }
        if call.is_transaction() {
            faults.extend(Self::OF_TRANSACTION);
        }
        if call.name.starts_with("BatchWriteItem ") {
            faults.extend(Self::OF_BATCH);
        }
        faults
    }

    /// Of those the ones that a test takes which goes through the calls of a request: with each call others, so that with a few calls
    /// all of them come up.
    pub fn some_passing(position: usize, call: &Call) -> impl Iterator<Item = Fault> {
        let faults = Self::passing(call).into_iter().enumerate();
        faults.filter(move |(number, _)| (position + number).is_multiple_of(stride())).map(|(_, fault)| fault)
    }
}

impl Call {
    /// Whether it goes to S3; else it goes to DynamoDB.
    pub fn is_s3(&self) -> bool {
        ["GET ", "PUT ", "HEAD ", "DELETE ", "COPY ", "LIST "].iter().any(|method| self.name.starts_with(method))
    }

    /// Whether it commits something.
    pub fn is_transaction(&self) -> bool {
        self.name.starts_with("TransactWriteItems")
    }
}

/// The number of sequential steps in these calls: the longest chain of calls of which each began after the one before
/// it had ended.
pub fn steps(calls: &[Call]) -> usize {
    sequence(calls).len()
}

/// The names of the calls, sorted, step by step: each call is in the step after the last one that it waited for.
pub fn sequence(calls: &[Call]) -> Vec<Vec<&str>> {
    let mut placed: Vec<(&Call, usize)> = Vec::with_capacity(calls.len());
    let mut sequence: Vec<Vec<&str>> = Vec::new();
    for call in calls {
        let before = placed.iter().filter(|(other, _)| other.ended < call.began);
        let step = before.map(|(_, step)| step + 1).max().unwrap_or(0);
        placed.push((call, step));
        sequence.resize_with(sequence.len().max(step + 1), Vec::new);
        sequence[step].push(&call.name);
    }
    sequence.iter_mut().for_each(|step| step.sort_unstable());
    sequence
}

/// Decides what becomes of each call, in the order in which they begin.
type Script = Box<dyn FnMut(&Call) -> Reaction + Send>;

/// The tap. Clones listen on one wire.
#[derive(Clone)]
pub struct Wiretap(Arc<Wire>);

struct Wire {
    client: SharedHttpClient,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    tick: u64,
    calls: Vec<Call>,
    script: Option<Script>,
}

impl Default for Wiretap {
    fn default() -> Self {
        Self::new()
    }
}

impl Wiretap {
    /// A tap on plain HTTP that lets everything through.
    pub fn new() -> Wiretap {
        Wiretap(Arc::new(Wire { client: Builder::new().build_http(), noted: Mutex::default() }))
    }

    /// From here on `script` decides what becomes of each call, retries among them.
    pub fn script(&self, script: impl FnMut(&Call) -> Reaction + Send + 'static) {
        self.noted().script = Some(Box::new(script));
    }

    /// The next call that `is_meant` goes wrong in this way, and nothing else.
    pub fn fail_once(&self, fault: Fault, mut is_meant: impl FnMut(&Call) -> bool + Send + 'static) {
        let mut fault = Some(fault);
        self.script(move |call| {
            if fault.is_some() && is_meant(call) {
                fault.take().map_or(Reaction::Forward, Reaction::Fail)
            } else {
                Reaction::Forward
            }
        });
    }

    /// Every call that `is_meant` goes wrong in this way.
    pub fn fail_always(&self, fault: Fault, mut is_meant: impl FnMut(&Call) -> bool + Send + 'static) {
        self.script(move |call| if is_meant(call) { Reaction::Fail(fault) } else { Reaction::Forward });
    }

    /// From here on everything goes through.
    pub fn heal(&self) {
        self.noted().script = None;
    }

    /// What was noted so far, in the order in which the calls began. Notes start again from here.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.noted().calls)
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, request: &HttpRequest) -> (UnderWay, Reaction) {
        let mut noted = self.noted();
        noted.tick += 1;
        let mut call = describe(request, noted.tick);
        let reaction = noted.script.as_mut().map_or(Reaction::Forward, |script| script(&call));
        if let Reaction::Fail(fault) = reaction {
            call.fault = Some(fault);
        }
        noted.calls.push(call);
        (UnderWay { tap: self.clone(), began: noted.tick }, reaction)
    }
}

impl fmt::Debug for Wiretap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wiretap")
    }
}

/// Notes the end of a call, also of one that the SDK drops.
struct UnderWay {
    tap: Wiretap,
    began: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut noted = self.tap.noted();
        noted.tick += 1;
        let tick = noted.tick;
        if let Some(call) = noted.calls.iter_mut().find(|call| call.began == self.began) {
            call.ended = tick;
        }
    }
}

impl HttpClient for Wiretap {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let outside = Outside(self.0.client.http_connector(settings, components));
        SharedHttpConnector::new(Line { tap: self.clone(), connector: SharedHttpConnector::new(outside) })
    }
}

/// Calls that leave the process. A paused clock stands still until their answers are there, whole.
#[derive(Debug)]
struct Outside(SharedHttpConnector);

impl HttpConnector for Outside {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.0.clone();
        HttpConnectorFuture::new(async move {
            let _clock = stop_clock();
            forward(&connector, request).await.map(whole)
        })
    }
}

#[derive(Debug)]
struct Line {
    tap: Wiretap,
    connector: SharedHttpConnector,
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (under_way, reaction) = self.tap.begin(&request);
        let connector = self.connector.clone();
        HttpConnectorFuture::new(async move {
            let answer = react(&connector, request, reaction).await;
            drop(under_way);
            answer
        })
    }
}

async fn react(
    connector: &SharedHttpConnector,
    request: HttpRequest,
    reaction: Reaction,
) -> Result<HttpResponse, ConnectorError> {
    let fault = match reaction {
        Reaction::Forward => return Ok(whole(forward(connector, request).await?)),
        Reaction::After(other) => {
            other.await;
            return Ok(whole(forward(connector, request).await?));
        }
        Reaction::Between(before, after) => {
            before.await;
            let answer = forward(connector, request).await;
            after.await;
            return Ok(whole(answer?));
        }
        Reaction::Rewritten(rewrite) => {
            let (mut head, body) = forward(connector, request).await?;
            let body = rewrite(body);
            head.headers_mut().insert("content-length", body.len().to_string());
            // DynamoDB's checksum of what it answered.
            head.headers_mut().remove("x-amz-crc32");
            return Ok(whole((head, body)));
        }
        Reaction::Headed(headers) => {
            let (mut head, body) = forward(connector, request).await?;
            for (name, value) in headers {
                head.headers_mut().insert(name, value);
            }
            return Ok(whole((head, body)));
        }
        Reaction::Fail(fault) => fault,
    };
    carry_out(fault, connector, request).await
}

/// Has a call that would go through `connector` go wrong.
///
/// # Errors
/// Where that means that there is no answer.
pub async fn carry_out(
    fault: Fault,
    connector: &SharedHttpConnector,
    mut request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    match fault {
        Fault::Refused => Err(broken("connection refused").never_connected()),
        Fault::AnswerLost => {
            forward(connector, request).await?;
            Err(broken("connection reset"))
        }
        Fault::Hangs => std::future::pending().await,
        Fault::AnswerHangs => {
            forward(connector, request).await?;
            std::future::pending().await
        }
        Fault::Status(status) => Ok(response(status, "text/plain", Bytes::new())),
        Fault::Answered(status, code) => Ok(error(&request, status, code)),
        Fault::MadeAndAnswered(status, code) => {
            let answer = error(&request, status, code);
            forward(connector, request).await?;
            Ok(answer)
        }
        Fault::Canceled(reason) => Ok(canceled(&request, reason)),
        Fault::Unprocessed(kept) => {
            let unprocessed = split_batch(&mut request, kept);
            forward(connector, request).await?;
            Ok(response(200, "application/x-amz-json-1.0", json!({"UnprocessedItems": unprocessed}).to_string().into()))
        }
        Fault::BrokenOff(place) => {
            let (head, body) = forward(connector, request).await?;
            let kept = body.slice(..within(place, body.len()));
            let pieces = [Ok(Frame::data(kept)), Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))];
            Ok(with_body(head, SdkBody::from_body_1_x(StreamBody::new(stream::iter(pieces)))))
        }
        Fault::CutShort(place) => {
            let (mut head, body) = forward(connector, request).await?;
            let kept = body.slice(..within(place, body.len()));
            head.headers_mut().insert("content-length", kept.len().to_string());
            Ok(whole((head, kept)))
        }
        Fault::FlippedBit(place) => {
            let (head, body) = forward(connector, request).await?;
            let mut bytes = body.to_vec();
            let bit = within(place, bytes.len() * 8);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            Ok(whole((head, bytes.into())))
        }
    }
}

/// Makes the call, and waits for all of its answer.
async fn forward(
    connector: &SharedHttpConnector,
    request: HttpRequest,
) -> Result<(HttpResponse, Bytes), ConnectorError> {
    let mut response = connector.call(request).await?;
    let body = response.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
    Ok((response, body))
}

/// Takes all but the first `kept` writes out of a batch to one table, and returns them by table. Where none is kept, the
/// first is made and given back all the same, because a batch cannot be empty.
fn split_batch(request: &mut HttpRequest, kept: usize) -> Value {
    let mut body = dynamodb_body(request);
    let tables = body["RequestItems"].as_object_mut().expect("a batch");
    let (table, writes) = tables.iter_mut().next().expect("a batch to one table");
    let writes = writes.as_array_mut().expect("writes");
    let unprocessed = json!({table: writes[kept.min(writes.len())..]});
    writes.truncate(kept.max(1));
    let body = body.to_string();
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = SdkBody::from(body);
    unprocessed
}

/// A paused clock stands still until this is dropped: the runtime holds it while something runs that it cannot see
/// into.
#[must_use]
#[derive(Debug)]
pub struct StoppedClock(#[expect(dead_code, reason = "what counts is that it is there")] mpsc::Sender<()>);

/// Stops a paused clock, so that nothing times out that waits for something outside of the runtime's sight.
pub fn stop_clock() -> StoppedClock {
    let (stopped, until) = mpsc::channel();
    // It ends with the error that there is no sender left.
    tokio::task::spawn_blocking(move || until.recv());
    StoppedClock(stopped)
}

fn within(place: u64, length: usize) -> usize {
    usize::try_from(place % u64::try_from(length.max(1)).expect("a length fits")).expect("less than a length")
}

fn broken(what: &str) -> ConnectorError {
    ConnectorError::io(what.into())
}

fn whole((head, body): (HttpResponse, Bytes)) -> HttpResponse {
    with_body(head, SdkBody::from(body))
}

fn with_body(mut head: HttpResponse, body: SdkBody) -> HttpResponse {
    *head.body_mut() = body;
    head
}

/// What a call is: a name that a person can read and a test can rely on.
pub fn describe(request: &HttpRequest, began: u64) -> Call {
    let call = |name, key| Call { name, key, fault: None, began, ended: u64::MAX };
    let Some(target) = request.headers().get("x-amz-target") else {
        let path =
            request.uri().strip_prefix("http://").and_then(|rest| rest.split_once('/')).map_or("", |(_, path)| path);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let prefix =
            query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).map(|value| value.replace("%2F", "/"));
        let key = prefix.as_deref().unwrap_or_else(|| path.split_once('/').map_or("", |(_bucket, key)| key));
        let folder = key.split_once('/').map_or(key, |(folder, _)| folder);
        let range = if request.headers().get("range").is_some() { " ranged" } else { "" };
        let method = match request.method() {
            "PUT" if request.headers().get("x-amz-copy-source").is_some() => "COPY",
            "GET" if query.contains("list-type=2") => "LIST",
            "GET" if query.split('&').any(|part| part == "versions" || part == "versions=") => "LIST versions of",
            method => method,
        };
        return call(format!("{method} {folder}/{range}"), key.to_owned());
    };
    let operation = target.rsplit('.').next().unwrap_or_default();
    let body = dynamodb_body(request);
    let text = |value: &Value| value["S"].as_str().unwrap_or_default().to_owned();
    let kind = |sort_key: &str| match sort_key.split_once('#') {
        Some((kind, _)) => format!("{kind}#"),
        None => sort_key.to_owned(),
    };
    match operation {
        "Query" => {
            let values = &body["ExpressionAttributeValues"];
            call(format!("Query {}", kind(&text(&values[":prefix"]))), text(&values[":pk"]))
        }
        "TransactWriteItems" => call(format!("TransactWriteItems {}", items(&body)), String::new()),
        "BatchWriteItem" => call(format!("BatchWriteItem {}", batched(&body)), String::new()),
        operation => {
            let key = if body["Key"].is_null() { &body["Item"] } else { &body["Key"] };
            call(format!("{operation} {}", kind(&text(&key["sk"]))), text(&key["pk"]))
        }
    }
}

fn dynamodb_body(request: &HttpRequest) -> Value {
    request.body().bytes().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default()
}

fn batched(batch: &Value) -> usize {
    let writes = batch["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
    writes.filter_map(Value::as_array).map(Vec::len).sum()
}

fn items(transaction: &Value) -> usize {
    transaction["TransactItems"].as_array().map_or(0, Vec::len)
}

/// An error as the service that was asked writes it.
fn error(request: &HttpRequest, status: u16, code: &str) -> HttpResponse {
    if request.headers().get("x-amz-target").is_some() {
        let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "injected"});
        return response(status, "application/x-amz-json-1.0", body.to_string().into());
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message>\
         <RequestId>0A1B2C3D4E5F</RequestId><HostId>none</HostId></Error>"
    );
    // An answer to HEAD has no body, and so no code.
    let body = if request.method() == "HEAD" { Bytes::new() } else { body.into() };
    response(status, "application/xml", body)
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>: one reason for each item.
fn canceled(request: &HttpRequest, reason: &str) -> HttpResponse {
    let count = items(&dynamodb_body(request));
    let codes: Vec<&str> = (1..=count).map(|item| if item == count { reason } else { "None" }).collect();
    let reasons: Vec<Value> = codes
        .iter()
        .map(|code| if *code == "None" { json!({"Code": code}) } else { json!({"Code": code, "Message": "injected"}) })
        .collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": message,
        "CancellationReasons": reasons,
    });
    response(400, "application/x-amz-json-1.0", body.to_string().into())
}

fn response(status: u16, content_type: &'static str, body: Bytes) -> HttpResponse {
    let status = status.try_into().expect("a status");
    let mut response = HttpResponse::new(status, SdkBody::empty());
    response.headers_mut().insert("content-type", content_type);
    response.headers_mut().insert("content-length", body.len().to_string());
    response.headers_mut().insert("x-amzn-requestid", "0A1B2C3D4E5F");
    whole((response, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, began: u64, ended: u64) -> Call {
        Call { name: name.to_owned(), key: String::new(), fault: None, began, ended }
    }

    #[test]
    fn calls_that_overlap_are_one_step() {
        let calls = [call("b", 1, 4), call("a", 2, 3), call("c", 5, 6)];
        assert_eq!(sequence(&calls), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(steps(&calls), 2);
        assert_eq!(steps(&[]), 0);
    }

    #[test]
    fn a_step_is_counted_from_what_was_waited_for() {
        // The third overlaps the first and followed the second.
        let calls = [call("long", 1, 6), call("short", 2, 3), call("then", 4, 5), call("last", 7, 8)];
        assert_eq!(sequence(&calls), [vec!["long", "short"], vec!["then"], vec!["last"]]);
    }
}
