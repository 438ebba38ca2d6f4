//! Counts what a process asks its stores for, under the SDK, and hands everything on.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use tests::wiretap::{Call, steps};

/// What some calls were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// GETs of S3.
    pub s3_gets: u64,
    /// Bytes that those got.
    pub s3_bytes: u64,
    /// All calls to S3.
    pub s3_calls: u64,
    /// Calls to DynamoDB.
    pub dynamodb_calls: u64,
    /// Items that queries listed.
    pub items: u64,
    /// Calls of which each began after the one before it had ended, the most.
    pub steps: u64,
}

#[derive(Default)]
struct Noted {
    tick: u64,
    calls: Vec<Call>,
    counted: Counted,
}

/// The tap. Clones listen on one wire.
#[derive(Clone)]
pub struct Tap {
    client: SharedHttpClient,
    noted: Arc<Mutex<Noted>>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tap")
    }
}

impl Tap {
    /// A tap on the client that the hub has everywhere.
    pub fn new() -> Self {
        Self { client: store::aws::http_client(), noted: Arc::default() }
    }

    /// What was counted since this was asked last.
    pub fn take(&self) -> Counted {
        let Noted { calls, counted, .. } = std::mem::take(&mut *self.noted());
        Counted { steps: steps(&calls) as u64, ..counted }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> u64 {
        let mut noted = self.noted();
        noted.tick += 1;
        let began = noted.tick;
        noted.calls.push(Call { name: String::new(), key: String::new(), fault: None, began, ended: u64::MAX });
        began
    }

    fn end(&self, began: u64, kind: Kind, answer: &[u8]) {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(rename = "Count", default)]
            count: u64,
        }
        let mut noted = self.noted();
        noted.tick += 1;
        let ended = noted.tick;
        if let Some(call) = noted.calls.iter_mut().find(|call| call.began == began) {
            call.ended = ended;
        }
        let counted = &mut noted.counted;
        match kind {
            Kind::Dynamodb => {
                counted.dynamodb_calls += 1;
                counted.items += serde_json::from_slice(answer).map_or(0, |Listed { count }| count);
            }
            Kind::S3Get => {
                counted.s3_calls += 1;
                counted.s3_gets += 1;
                counted.s3_bytes += answer.len() as u64;
            }
            Kind::OtherS3 => counted.s3_calls += 1,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Dynamodb,
    S3Get,
    OtherS3,
}

impl Kind {
    fn of(request: &HttpRequest) -> Self {
        if request.headers().contains_key("x-amz-target") {
            Self::Dynamodb
        } else if request.method() == "GET" {
            Self::S3Get
        } else {
            Self::OtherS3
        }
    }
}

impl HttpClient for Tap {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Line {
            tap: self.clone(),
            connector: self.client.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct Line {
    tap: Tap,
    connector: SharedHttpConnector,
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (tap, connector) = (self.tap.clone(), self.connector.clone());
        HttpConnectorFuture::new(async move {
            let kind = Kind::of(&request);
            let began = tap.begin();
            let answer = whole(&connector, request).await;
            let body: &[u8] = answer.as_ref().map_or(&[], |(_, body)| body);
            tap.end(began, kind, body);
            let (mut response, body) = answer?;
            *response.body_mut() = SdkBody::from(body);
            Ok(response)
        })
    }
}

/// Makes the call, and waits for all of its answer.
async fn whole(connector: &SharedHttpConnector, request: HttpRequest) -> Result<(HttpResponse, Bytes), ConnectorError> {
    let mut response = connector.call(request).await?;
    let body = response.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
    Ok((response, body))
}
