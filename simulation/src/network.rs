//! What lies between the processes and the stores. Each storage call comes by here, and the seed decides when it takes effect,
//! when its answer arrives, whether it fails and how, and whether its process dies of it.
//!
//! A call that is on its way goes on by itself: neither a time-out of the SDK nor the death of the process takes it back.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tests::wiretap::{Call, Fault, carry_out, describe};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::profile::Weather;
use crate::stores::Stores;
use crate::trace::Trace;

/// The share of calls that go wrong in an outage.
const OUTAGE: f64 = 0.6;

/// The network of one run. Clones are the same network.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    stores: SharedHttpConnector,
    origin: Instant,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    weather: Weather,
    trace: Trace,
    calls: u64,
    /// Until when most calls go wrong.
    outage: Instant,
    /// The processes that were harmed, and when.
    harmed: Vec<(usize, Instant)>,
}

/// The life of a process. Clones are the same life.
#[derive(Clone, Debug, Default)]
pub struct Life(Arc<Mortal>);

// No `watch`: that wakes those who wait in an order that tokio draws.
#[derive(Debug, Default)]
struct Mortal {
    is_over: AtomicBool,
    ended: Notify,
}

impl Life {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    /// Ends with it.
    pub async fn over(&self) {
        let ended = self.0.ended.notified();
        if !self.is_over() {
            ended.await;
        }
    }

    fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
        self.0.ended.notify_waiters();
    }
}

/// What is to become of a call.
struct Plan {
    number: u64,
    before: Duration,
    after: Duration,
    fate: Fate,
    page: Option<u32>,
}

#[derive(Debug)]
enum Fate {
    Goes,
    Fails(Fault),
    /// The process dies: when the call was made, or before.
    Kills {
        is_made: bool,
    },
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Network")
    }
}

impl Network {
    /// A network in front of these stores. The trace keeps this many lines.
    pub fn new(seed: u64, stores: Stores, origin: Instant, weather: Weather, kept: usize) -> Network {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            weather,
            trace: Trace::keeping(kept),
            calls: 0,
            outage: origin,
            harmed: Vec::new(),
        };
        Network(Arc::new(Inner { stores: SharedHttpConnector::new(stores), origin, state: Mutex::new(state) }))
    }

    /// From here on the weather is this.
    pub fn set_weather(&self, weather: Weather) {
        let mut state = self.state();
        (state.weather, state.outage) = (weather, Instant::now());
    }

    /// Adds a line to the trace, with the time.
    pub fn note(&self, line: impl fmt::Display) {
        let line = format!("{:>9} {line}", self.0.origin.elapsed().as_millis());
        self.state().trace.note(line);
    }

    /// Whether anything went wrong with the calls of a process since then.
    pub fn was_harmed(&self, process: usize, since: Instant) -> bool {
        self.state().harmed.iter().any(|(other, at)| *other == process && *at >= since)
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The hash of the trace, how many lines it has, and the last of them.
    pub fn finish(&self) -> (String, u64, Vec<String>) {
        self.state().trace.finish()
    }

    /// The SDK's HTTP client in a process. The calls of one that is dead are never answered.
    pub fn client(&self, process: usize, life: Life) -> Line {
        Line { network: self.clone(), process, life }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, process: usize, call: &Call) -> Plan {
        let mut state = self.state();
        let State { random, weather, calls, outage, .. } = &mut *state;
        *calls += 1;
        let number = *calls;
        let mut delay = || {
            let longest = if random.random_bool(weather.slow) { weather.slow_ms } else { weather.latency_ms };
            // Many short ones, few long ones.
            let part: f64 = random.random_range(0.0..1.0);
            Duration::from_millis((part * part * longest as f64) as u64)
        };
        let (mut before, after) = (delay(), delay());
        let is_late = random.random_bool(weather.late);
        if is_late {
            before += Duration::from_millis(random.random_range(3_000..9_000));
        }
        if random.random_bool(weather.outages) {
            *outage = Instant::now() + Duration::from_millis(random.random_range(0..4_000));
        }
        let faults = if Instant::now() < *outage { OUTAGE.max(weather.faults) } else { weather.faults };
        let fate = if random.random_bool(weather.kills) {
            Fate::Kills { is_made: random.random_bool(0.5) }
        } else if random.random_bool(faults) {
            let faults = Fault::passing(call);
            faults.choose(random).map_or(Fate::Goes, |fault| Fate::Fails(*fault))
        } else {
            Fate::Goes
        };
        let page = weather.page.map(|most| random.random_range(1..=most));
        if is_late || !matches!(fate, Fate::Goes) {
            state.harmed.push((process, Instant::now()));
        }
        Plan { number, before, after, fate, page }
    }

    async fn carry(
        self,
        process: usize,
        call: Call,
        mut request: HttpRequest,
        plan: Plan,
        life: Life,
    ) -> Result<HttpResponse, ConnectorError> {
        let Call { name, key, .. } = &call;
        self.note(format_args!("p{process} #{} {name} {key}", plan.number));
        tokio::time::sleep(plan.before).await;
        if let Some(most) = plan.page.filter(|_| name.starts_with("Query")) {
            cut_pages(&mut request, most);
        }
        let stores = &self.0.stores;
        let answer = match plan.fate {
            Fate::Goes => stores.call(request).await,
            Fate::Fails(fault) => {
                self.note(format_args!("p{process} #{} goes wrong: {fault:?}", plan.number));
                carry_out(fault, stores, request).await
            }
            Fate::Kills { is_made } => {
                if is_made {
                    let _ = stores.call(request).await;
                }
                self.note(format_args!("p{process} #{} dies, the call was made: {is_made}", plan.number));
                life.end();
                std::future::pending().await
            }
        };
        match &answer {
            Ok(answer) => {
                let (status, length) = (answer.status().as_u16(), answer.body().bytes().map_or(0, <[u8]>::len));
                self.note(format_args!("p{process} #{} {status}, {length} bytes", plan.number));
            }
            Err(error) => self.note(format_args!("p{process} #{} {error}", plan.number)),
        }
        tokio::time::sleep(plan.after).await;
        answer
    }
}

/// Has a query answered with this many items at most.
fn cut_pages(request: &mut HttpRequest, most: u32) {
    let Some(mut body) = request.body().bytes().and_then(|body| serde_json::from_slice::<Value>(body).ok()) else {
        return;
    };
    body["Limit"] = most.into();
    *request.body_mut() = SdkBody::from(body.to_string());
}

/// A process's line to the stores.
#[derive(Debug, Clone)]
pub struct Line {
    network: Network,
    process: usize,
    life: Life,
}

impl HttpClient for Line {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Line { network, process, life } = self.clone();
        HttpConnectorFuture::new(async move {
            if life.is_over() {
                std::future::pending::<()>().await;
            }
            let call = describe(&request, 0);
            let plan = network.plan(process, &call);
            let (answered, answer) = oneshot::channel();
            let carried = network.carry(process, call, request, plan, life.clone());
            tokio::spawn(async move {
                // The caller may have gone.
                let _ = answered.send(carried.await);
            });
            let answer = answer.await;
            if life.is_over() {
                std::future::pending::<()>().await;
            }
            answer.unwrap_or_else(|_| Err(ConnectorError::io("the network is gone".into())))
        })
    }
}
