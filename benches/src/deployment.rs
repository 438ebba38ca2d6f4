//! A deployment in one process: for each function a process of its own, as Lambda has it, over stores that they share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use common::id::Ids;
use common::pack::PackSummary;
use common::price::{IdleMonth, Usage};
use http_body_util::BodyExt;
use jiff::Timestamp;
use lambda_http::{Body, RequestExt};
use local::backends::Backends;
use serde::Deserialize;
use serde_json::Value;
use service::Hub;
use service::Settings;
use service::auth::Tokens;
use service::observe::RequestLog;
use service::routes::Function;
use store::Store;
use store::ambient::Ambient;
use store::repo::{Load, Repo};
use store::table::items::{Visibility, repo_pk};
use store::upkeep::compact::Limits;
use tests::encoding::Encoding;
use tokio::sync::OnceCell;

use crate::Failure;

const SECRET: &str = "a secret of the benchmarks, long enough";
const USER: &str = "user-ada";
const OWNER: &str = "ada";
const ALARM: &str = "Type: AWS::CloudWatch::Alarm";

/// What the log says of one request.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Line {
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of its answer.
    pub bytes_out: u64,
    /// Calls to DynamoDB.
    pub dynamodb_calls: u64,
    /// Calls to S3.
    pub s3_calls: u64,
    /// GETs and HEADs among those.
    pub s3_gets: u64,
    /// PUTs, COPYs, POSTs and LISTs among those.
    pub s3_puts: u64,
    /// Read request units.
    pub read_units: u64,
    /// Write request units.
    pub write_units: u64,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The function that answered it.
    pub function: Function,
    /// The memory of that function, MB.
    pub memory_mb: u64,
    /// Whether its process was new.
    pub is_cold: bool,
    /// What the log says.
    pub line: Line,
}

impl Request {
    /// Milliseconds that it is taken to wait for the stores.
    pub fn waits(&self) -> f64 {
        self.line.dynamodb_calls as f64 * model::DYNAMODB_MS + self.line.s3_calls as f64 * model::S3_MS
    }

    /// Milliseconds that it is taken to work.
    pub fn works(&self) -> f64 {
        let mib = (self.line.bytes_in + self.line.bytes_out) as f64 / f64::from(1 << 20);
        mib * model::MIB_MS + if self.is_cold { model::COLD_MS } else { 0.0 }
    }

    /// All that has a price.
    pub fn usage(&self) -> Usage {
        self.usage_for(self.waits() + self.works())
    }

    /// The same, if it took this number of milliseconds.
    pub fn usage_for(&self, millis: f64) -> Usage {
        let Line { bytes_out, s3_gets, s3_puts, read_units, write_units, .. } = self.line;
        let request = Usage::of_request(self.memory_mb, millis, bytes_out, self.function.streams());
        request + Usage { read_units, write_units, s3_gets, s3_puts, ..Usage::default() }
    }
}

/// What a few requests have used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Bytes of bodies that came in.
    pub bytes_in: u64,
    /// Bytes of answers.
    pub bytes_out: u64,
    /// All that has a price.
    pub usage: Usage,
}

impl Used {
    /// What these have used.
    pub fn by(requests: &[Request]) -> Self {
        let mut used = Self { requests: requests.len() as u64, ..Self::default() };
        for request in requests {
            used.bytes_in += request.line.bytes_in;
            used.bytes_out += request.line.bytes_out;
            used.usage += request.usage();
        }
        used
    }
}

/// What a function that runs in a deployment is taken to wait for and to work, one thing after the other: so more than
/// it does, for it makes many calls at a time.
pub mod model {
    /// One call to DynamoDB, milliseconds.
    pub const DYNAMODB_MS: f64 = 5.0;
    /// One call to S3, milliseconds.
    pub const S3_MS: f64 = 30.0;
    /// One MiB of body, in or out, milliseconds.
    pub const MIB_MS: f64 = 20.0;
    /// The start of a process, milliseconds.
    pub const COLD_MS: f64 = 150.0;
    /// Pollers with which Lambda asks an empty queue. AWS does not say how many there are; it begins with five batches at a time:
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
    pub const POLLERS: u64 = 5;
    /// How long each waits for a message, seconds.
    pub const POLL_SECONDS: u64 = 20;
    /// Seconds of a month.
    pub const MONTH_SECONDS: u64 = 30 * 24 * 60 * 60;
}

/// The functions of a hub, over stores in memory.
pub struct Deployment {
    backends: Backends,
    ambient: Ambient,
    processes: HashMap<&'static str, Hub>,
    memory_mb: HashMap<String, u64>,
    log: Arc<Mutex<Vec<String>>>,
    requests: Vec<Request>,
}

impl Deployment {
    /// A hub with a user, and functions with memory as `template` gives it.
    pub async fn start(template: &str) -> Result<Self, Failure> {
        let ambient = Ambient::replay(1, Timestamp::constant(1_800_000_000, 0));
        let deployment = Self {
            backends: Backends::start(None, SECRET).await?,
            ambient,
            processes: HashMap::new(),
            memory_mb: memory_of_functions(template)?,
            log: Arc::default(),
            requests: Vec::new(),
        };
        deployment.process()?.store.claim_handle(USER, &OWNER.parse()?, "").await?;
        Ok(deployment)
    }

    fn process(&self) -> Result<Hub, Failure> {
        let Backends { dynamodb, s3, location, .. } = &self.backends;
        let log = Arc::clone(&self.log);
        let note = move |line: &str| log.lock().map_or((), |mut lines| lines.push(line.to_owned()));
        Ok(Hub {
            store: Arc::new(Store::new(dynamodb, s3, location.clone(), self.ambient.clone())),
            tokens: Arc::new(OnceCell::new_with(Some(Tokens::new(SECRET, self.ambient.clone())?))),
            issuer: None,
            settings: Settings { push_to_create: Some(Visibility::Public), ids: Ids::Strict, ..Settings::default() },
            log: RequestLog::to(note),
        })
    }

    /// Ends all processes: the next requests find new ones.
    pub fn cool(&mut self) {
        self.processes.clear();
    }

    /// The requests since this was asked last.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// A request about a repo, as a client of the second generation makes it.
    pub async fn call(&mut self, function: Function, slug: &str, body: &Value) -> Result<Value, Failure> {
        let is_cold = !self.processes.contains_key(function.name());
        if is_cold {
            self.processes.insert(function.name(), self.process()?);
        }
        let hub = self.processes.get(function.name()).ok_or("a process")?;
        let token = hub.tokens().await?.mint(USER, Duration::from_secs(3_600))?;
        let encoding = Encoding::Msgpack;
        let request = http::Request::post("/")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", encoding.content_type())
            .header("accept", encoding.accept())
            .body(Body::Binary(if body.is_null() { Vec::new() } else { encoding.encode(body) }))?;
        let parameter = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let path: HashMap<_, _> = [parameter("owner", OWNER), parameter("slug", slug)].into();
        let response = local::functions::call(function, hub, request.with_path_parameters(path)).await;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{}: {status}: {}", function.name(), String::from_utf8_lossy(&answer)).into());
        }
        let line = self.log.lock().map_err(|_| "the log")?.pop().ok_or("no line of the request")?;
        let memory_mb = self.memory_mb.get(function.name()).copied().unwrap_or_default();
        self.requests.push(Request { function, memory_mb, is_cold, line: serde_json::from_str(&line)? });
        Ok(encoding.decode(&answer)?)
    }

    /// Merges the packs of a repo, as the stream has it done after a push. The bytes of those that it has then.
    pub async fn compact(&self, slug: &str) -> Result<u64, Failure> {
        let repo = self.repo(slug).await?;
        Ok(Box::pin(self.process()?.store.compact(&repo.id, Limits::IN_PASSING)).await?.bytes_after)
    }

    /// The packs that a repo lists.
    pub async fn packs(&self, slug: &str) -> Result<Vec<PackSummary>, Failure> {
        Ok(self.repo(slug).await?.packs.into_iter().map(|(_, summary)| summary).collect())
    }

    async fn repo(&self, slug: &str) -> Result<Repo, Failure> {
        let store = self.process()?.store;
        Ok(store.find_repo(&OWNER.parse()?, &slug.parse()?, Load::PACKS).await?.ok_or("a repo")?)
    }

    /// Bytes of the items of a repo, as DynamoDB counts them: the largest of each kind, by what its sort key begins with.
    pub async fn items(&self, slug: &str) -> Result<BTreeMap<String, u64>, Failure> {
        let pk = repo_pk(&self.repo(slug).await?.id);
        let answer = aws_sdk_dynamodb::Client::new(&self.backends.dynamodb)
            .query()
            .table_name(&self.backends.location.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(pk))
            .send()
            .await?;
        let mut largest = BTreeMap::new();
        for item in answer.items() {
            let Some(AttributeValue::S(sk)) = item.get("sk") else { continue };
            let kind = sk.split('#').next().unwrap_or_default().to_owned();
            let bytes: u64 = item.iter().map(|(name, value)| name.len() as u64 + bytes_of(value)).sum();
            let entry = largest.entry(kind).or_insert(0);
            *entry = bytes.max(*entry);
        }
        Ok(largest)
    }

    /// Bytes that S3 keeps.
    pub async fn stored_bytes(&self) -> Result<u64, Failure> {
        let config = aws_sdk_s3::config::Builder::from(&self.backends.s3).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        let mut bytes = 0;
        let mut pages = s3.list_objects_v2().bucket(&self.backends.location.bucket).into_paginator().send();
        while let Some(page) = pages.next().await {
            let sizes = page?.contents.unwrap_or_default();
            bytes += sizes.iter().filter_map(|object| u64::try_from(object.size?).ok()).sum::<u64>();
        }
        Ok(bytes)
    }
}

/// Bytes of a value in an item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn bytes_of(value: &AttributeValue) -> u64 {
    match value {
        AttributeValue::S(text) => text.len() as u64,
        AttributeValue::N(digits) => digits.len().div_ceil(2) as u64 + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len() as u64,
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + bytes_of(value)).sum::<u64>(),
        AttributeValue::M(map) => {
            3 + map.iter().map(|(name, value)| 1 + name.len() as u64 + bytes_of(value)).sum::<u64>()
        }
        _ => 1,
    }
}

/// What `template` has that costs something while no request comes.
pub fn idle_month(template: &str) -> IdleMonth {
    let lines: Vec<&str> = template.lines().map(str::trim).collect();
    let count = |what: &str| lines.iter().filter(|line| **line == what).count() as u64;
    let pairs = lines.iter().zip(lines.iter().skip(1));
    let on_demand = pairs.filter(|(line, next)| **line == ALARM && next.starts_with("Condition:")).count() as u64;
    IdleMonth {
        alarms: count(ALARM) - on_demand,
        dashboards: count("Type: AWS::CloudWatch::Dashboard"),
        queue_requests: count("Type: SQS") * model::POLLERS * (model::MONTH_SECONDS / model::POLL_SECONDS),
    }
}

/// The memory of each function by the name of its crate: what its resource says, else what is said for all.
pub fn memory_of_functions(template: &str) -> Result<HashMap<String, u64>, Failure> {
    let mut of_all = 0;
    let mut function: Option<&str> = None;
    let mut memory = HashMap::new();
    for line in template.lines().map(str::trim) {
        if let Some(code) = line.strip_prefix("CodeUri: functions/") {
            memory.insert(code.to_owned(), of_all);
            function = Some(code);
        } else if let Some(size) = line.strip_prefix("MemorySize: ") {
            let size = size.parse()?;
            match function {
                Some(function) => drop(memory.insert(function.to_owned(), size)),
                None => of_all = size,
            }
        }
    }
    if of_all == 0 || memory.is_empty() { Err("template.yaml names no memory".into()) } else { Ok(memory) }
}
