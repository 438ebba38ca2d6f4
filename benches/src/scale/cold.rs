//! A process that has just started, over stores that another one serves, and what its first requests take.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use common::id::Ids;
use http_body_util::BodyExt;
use lambda_http::{Body, RequestExt};
use local::serve::{FIRST_HANDLE, FIRST_USER};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::Hub;
use service::Settings;
use service::auth::Tokens;
use service::observe::RequestLog;
use service::routes::{Function, ROUTES};
use store::ambient::Ambient;
use store::{Location, Store};
use tests::encoding::Encoding;
use tokio::sync::OnceCell;

use super::SLUG;
use super::tap::Tap;
use crate::served::TOKEN_LASTS;
use crate::{Failure, process};

/// What to ask, a list of requests at a time.
pub type Script = Vec<Vec<Ask>>;

/// One request.
#[derive(Serialize, Deserialize)]
pub struct Ask {
    /// The name of the function that answers.
    pub function: String,
    /// The file that has its body.
    pub body: Option<PathBuf>,
    /// A list of the answer, and how long it has to be.
    pub expected: Option<(String, usize)>,
}

/// What the requests of one list took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// GETs of S3.
    pub s3_gets: u64,
    /// Bytes that those got.
    pub s3_bytes: u64,
    /// All calls to S3.
    pub s3_calls: u64,
    /// Calls to DynamoDB.
    pub dynamodb_calls: u64,
    /// Items that the queries of one request listed, the most.
    pub items: u64,
    /// Sequential calls, those of one request after those of another.
    pub steps: u64,
    /// Milliseconds from the first request until the last answer was there.
    pub millis: f64,
    /// The most memory that the process had until then, beyond what it had before its first request; bytes.
    pub memory: u64,
}

/// Answers the script that comes in.
pub async fn run() -> Result<(), Failure> {
    let script: Script = serde_json::from_reader(std::io::stdin().lock())?;
    let tap = Tap::new();
    let hub = hub(&tap)?;
    let ambient = hub.store.ambient().clone();
    let token = hub.tokens().await?.mint(FIRST_USER, TOKEN_LASTS)?;
    let mut lists = script.iter().map(|asks| prepare(asks, &token)).collect::<Result<Vec<_>, _>>()?;

    let empty = process::resident("self")?;
    let mut figures = Vec::new();
    let mut answers = Vec::new();
    for list in &mut lists {
        process::forget_peak("self")?;
        let mut taken = Figures::default();
        let began = ambient.elapsed();
        for (function, request) in list.drain(..) {
            let response = local::functions::call(function, &hub, request).await;
            let status = response.status();
            let answer = response.into_body().collect().await?.to_bytes();
            if !status.is_success() {
                return Err(format!("{}: {status}: {}", function.name(), String::from_utf8_lossy(&answer)).into());
            }
            answers.push(answer);
            let counted = tap.take();
            taken.s3_gets += counted.s3_gets;
            taken.s3_bytes += counted.s3_bytes;
            taken.s3_calls += counted.s3_calls;
            taken.dynamodb_calls += counted.dynamodb_calls;
            taken.items = taken.items.max(counted.items);
            taken.steps += counted.steps;
        }
        taken.millis = ambient.elapsed().saturating_sub(began).as_secs_f64() * 1_000.0;
        taken.memory = process::peak("self")?.saturating_sub(empty);
        figures.push(taken);
    }
    for (ask, answer) in script.iter().flatten().zip(&answers) {
        check(ask, &Encoding::Msgpack.decode(answer)?)?;
    }
    Ok(serde_json::to_writer(std::io::stdout().lock(), &figures)?)
}

fn hub(tap: &Tap) -> Result<Hub, Failure> {
    let ambient = Ambient::system();
    let config = |service| store::aws::config(service).into_builder().http_client(tap.clone()).build();
    let location = Location { table: std::env::var("MUSEHUB_TABLE")?, bucket: std::env::var("MUSEHUB_BUCKET")? };
    let tokens = Tokens::new(&std::env::var("ACCESS_TOKEN_SECRET")?, ambient.clone())?;
    Ok(Hub {
        store: Arc::new(Store::new(&config("DYNAMODB"), &config("S3"), location, ambient)),
        tokens: Arc::new(OnceCell::new_with(Some(tokens))),
        issuer: None,
        settings: Settings { ids: Ids::Strict, ..Settings::default() },
        // Nothing reads it.
        log: RequestLog::to(|_| ()),
    })
}

fn prepare(asks: &[Ask], token: &str) -> Result<Vec<(Function, lambda_http::Request)>, Failure> {
    let encoding = Encoding::Msgpack;
    let prepare = |ask: &Ask| {
        let mut functions = ROUTES.iter().map(|route| route.function);
        let function = functions.find(|function| function.name() == ask.function).ok_or("no such function")?;
        let body = ask.body.as_ref().map(std::fs::read).transpose()?.unwrap_or_default();
        let request = http::Request::post("/")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", encoding.content_type())
            .header("accept", encoding.accept())
            .body(Body::Binary(body))?;
        let parameter = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let path: HashMap<_, _> = [parameter("owner", FIRST_HANDLE), parameter("slug", SLUG)].into();
        Ok((function, request.with_path_parameters(path)))
    };
    asks.iter().map(prepare).collect()
}

fn check(ask: &Ask, answer: &Value) -> Result<(), Failure> {
    let Some((list, expected)) = &ask.expected else {
        return Ok(());
    };
    let length = answer.get(list).and_then(Value::as_array).map(Vec::len);
    if length == Some(*expected) {
        return Ok(());
    }
    Err(format!("{}: {list} has {length:?} entries, and not {expected}", ask.function).into())
}
