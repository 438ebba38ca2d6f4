//! The line that the log gets of each request: one JSON object, which CloudWatch takes metrics from.
//!
//! It never holds a token, a header or a query. The metrics are in CloudWatch's embedded metric format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use jiff::Timestamp;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use serde::Serialize;
use serde_json::{Value, json};

use crate::routes::Route;
use common::price::Usage;
use common::time;
use store::ambient::Ambient;
use store::span::RequestSpan;

/// Where the lines go.
type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// Writes a line for each request of a process.
#[derive(Clone, Default)]
pub struct RequestLog {
    sink: Option<Sink>,
    namespace: Option<Arc<str>>,
    memory_mb: Option<u64>,
    has_answered: Arc<AtomicBool>,
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RequestLog").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl RequestLog {
    /// Lines on standard output, which Lambda sends to CloudWatch, with metrics in this namespace if there is one. A
    /// request's dollars have those of a function with `memory_mb` megabytes and of the API in front of it, if that is
    /// known; else only those of the calls that it makes.
    pub fn to_stdout(namespace: Option<String>, memory_mb: Option<u64>) -> Self {
        let sink = |line: &str| {
            // A log that cannot be written is no reason to fail a request.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        };
        Self { namespace: namespace.map(Into::into), memory_mb, ..Self::to(sink) }
    }

    /// Lines, without their ends, to wherever.
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { sink: Some(Arc::new(sink)), ..Self::default() }
    }

    /// Whether a request is the first that this process answers.
    pub(crate) fn is_first(&self) -> bool {
        !self.has_answered.swap(true, Ordering::Relaxed)
    }

    /// Writes the line of a request whose answer has gone.
    pub(crate) fn write(&self, span: &RequestSpan, head: &Head, tail: &Tail, ambient: &Ambient) {
        let Some(sink) = &self.sink else {
            return;
        };
        let now = ambient.now();
        let stats = span.stats();
        let milliseconds = span.time().as_secs_f64() * 1_000.0;
        let of_function =
            self.memory_mb.map(|memory| Usage::of_request(memory, milliseconds, tail.bytes_out, head.is_streamed));
        let dollars = (stats.usage + of_function.unwrap_or_default()).dollars();
        let line = Line {
            time: &time::iso(now),
            level: "INFO",
            kind: "request",
            id: span.id(),
            invocation: head.invocation.as_deref(),
            function: span.function(),
            route: head.route,
            method: head.method.as_str(),
            user: stats.user.as_deref(),
            repo: stats.repo.as_deref(),
            status: tail.status.as_u16(),
            code: tail.code,
            cut_off: tail.is_cut_off.then_some(true),
            cold: head.is_cold,
            ms: round(milliseconds, 1e3),
            transfer: if head.is_streamed { "streamed" } else { "buffered" },
            first_byte_ms: tail.first_byte.map(|time| round(time.as_secs_f64() * 1_000.0, 1e3)),
            bytes_in: stats.bytes_in,
            bytes_out: tail.bytes_out,
            commits: stats.commits,
            dynamodb_calls: stats.dynamodb.count,
            dynamodb_ms: round(stats.dynamodb.time.as_secs_f64() * 1_000.0, 1e3),
            s3_calls: stats.s3.count,
            s3_ms: round(stats.s3.time.as_secs_f64() * 1_000.0, 1e3),
            s3_gets: stats.usage.s3_gets,
            s3_puts: stats.usage.s3_puts,
            read_units: stats.usage.read_units,
            write_units: stats.usage.write_units,
            dollars: round(dollars, 1e10),
            metrics: self.namespace.as_deref().map(|namespace| Metrics {
                directives: directives(namespace, now, tail.code.is_some()),
                requests: 1,
                errors: tail.code.map(|_| 1),
                commits_pushed: stats.commits,
                bytes_in: stats.bytes_in,
                bytes_out: tail.bytes_out,
                storage_calls: stats.dynamodb.count + stats.s3.count,
                request_dollars: round(dollars, 1e10),
            }),
        };
        // Nothing in it can fail to be written as JSON.
        if let Ok(line) = serde_json::to_string(&line) {
            sink(&line);
        }
    }
}

/// What is known of a request when it comes in.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) invocation: Option<String>,
    pub(crate) route: &'static str,
    pub(crate) method: Method,
    pub(crate) is_cold: bool,
    /// Whether the door passes its answer on as it comes.
    pub(crate) is_streamed: bool,
}

impl Head {
    pub(crate) fn of(request: &Parts, route: Option<&'static Route>, is_cold: bool) -> Self {
        Self {
            invocation: request.lambda_context_ref().map(|context| context.request_id.clone()),
            // Not the path: it may hold anything.
            route: route.map_or("unknown", |route| route.path),
            method: request.method.clone(),
            is_cold,
            is_streamed: route.is_some_and(|route| route.function.streams()),
        }
    }
}

/// The id of a request: the door's, which its own log and the client's answer have, else the function's, if any.
pub(crate) fn id(request: &Parts) -> Option<String> {
    let of_door = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    of_door
        .or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone()))
        .filter(|id| !id.is_empty())
}

/// What is known of a request when its answer has gone.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<&'static str>,
    pub(crate) is_cut_off: bool,
    pub(crate) bytes_out: u64,
    /// When the first of them went; none where there is none.
    pub(crate) first_byte: Option<Duration>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'a str,
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a str>,
    function: &'a str,
    route: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo: Option<&'a str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_off: Option<bool>,
    cold: bool,
    ms: f64,
    transfer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    bytes_in: u64,
    bytes_out: u64,
    commits: u64,
    dynamodb_calls: u64,
    dynamodb_ms: f64,
    s3_calls: u64,
    s3_ms: f64,
    s3_gets: u64,
    s3_puts: u64,
    read_units: u64,
    write_units: u64,
    dollars: f64,
    #[serde(flatten)]
    metrics: Option<Metrics>,
}

/// Members of the line that are metrics, and what says so.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metrics {
    #[serde(rename = "_aws")]
    directives: Value,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<u64>,
    commits_pushed: u64,
    bytes_in: u64,
    bytes_out: u64,
    storage_calls: u64,
    request_dollars: f64,
}

/// A custom metric costs $0.30 for a month in which it comes every hour, for each value of its dimensions: so there are
/// none but the code of an error.
fn directives(namespace: &str, now: Timestamp, is_error: bool) -> Value {
    let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    let mut directives = vec![json!({
        "Namespace": namespace,
        "Dimensions": [[]],
        "Metrics": [
            metric("Requests", "Count"),
            metric("CommitsPushed", "Count"),
            metric("BytesIn", "Bytes"),
            metric("BytesOut", "Bytes"),
            metric("StorageCalls", "Count"),
            metric("RequestDollars", "None"),
        ],
    })];
    if is_error {
        directives.push(json!({
            "Namespace": namespace,
            "Dimensions": [["code"]],
            "Metrics": [metric("Errors", "Count")],
        }));
    }
    json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": directives})
}

fn round(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn line(log: RequestLog, code: Option<&'static str>) -> Value {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let sink: Sink = Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
        let log = RequestLog { sink: Some(sink), ..log };
        let ambient = Ambient::replay(1, Timestamp::constant(1_800_000_000, 0));
        let span = RequestSpan::new("refs", "the-id".to_owned(), &ambient);
        span.note(|stats| stats.usage.read_units = 3);
        let head = Head {
            invocation: None,
            route: "/{owner}/{slug}/refs",
            method: Method::GET,
            is_cold: true,
            is_streamed: false,
        };
        let status = if code.is_some() { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let first_byte = Some(Duration::from_millis(40));
        let tail = Tail { status, code, is_cut_off: false, bytes_out: 17, first_byte };
        log.write(&span, &head, &tail, &ambient);
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 1);
        serde_json::from_str(&lines[0]).unwrap()
    }

    #[test]
    fn every_metric_that_the_line_announces_is_a_number_of_it() {
        for code in [None, Some("repo_not_found")] {
            let log = RequestLog { namespace: Some("MuseHub/hub".into()), ..RequestLog::default() };
            let line = line(log, code);
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
            assert_eq!(directives.len(), if code.is_some() { 2 } else { 1 });
            for directive in directives {
                assert_eq!(directive["Namespace"], "MuseHub/hub");
                for metric in directive["Metrics"].as_array().unwrap() {
                    let name = metric["Name"].as_str().unwrap();
                    assert!(line[name].is_number(), "{name}: {line}");
                }
                for dimension in
                    directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap())
                {
                    assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}: {line}");
                }
            }
            assert!(line["_aws"]["Timestamp"].as_u64().unwrap() >= 1_800_000_000_000);
        }
    }

    #[test]
    fn without_a_namespace_there_are_no_metrics() {
        let line = line(RequestLog::default(), Some("repo_not_found"));
        assert!(line.get("_aws").is_none() && line.get("Requests").is_none(), "{line}");
        assert_eq!(
            (&line["id"], &line["code"], &line["bytes_out"]),
            (&json!("the-id"), &json!("repo_not_found"), &json!(17))
        );
    }

    #[test]
    fn a_function_of_known_memory_costs_what_its_calls_its_time_and_its_door_do() {
        let of_calls = line(RequestLog::default(), None)["dollars"].as_f64().unwrap();
        assert_eq!(of_calls, round(3.0 * common::price::DYNAMODB_READ_UNIT, 1e10));
        let log = RequestLog { memory_mb: Some(512), ..RequestLog::default() };
        let whole = line(log, None)["dollars"].as_f64().unwrap();
        let door = common::price::API_GATEWAY_REST_REQUEST + common::price::LAMBDA_REQUEST;
        assert!(whole >= of_calls + door, "{whole} of which {of_calls} are of the calls");
    }
}
