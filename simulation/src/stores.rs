//! The embedded DynamoDB and S3, called in the thread of the run: no socket, no time that passes.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use local::backends::ACCESS_KEY;
use local::s3::{EmbeddedS3, StorageDoor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use store::Location;
use store::ambient::Ambient;
use store::table::items::{PK, SK};

/// The table and the bucket.
const NAME: &str = "musehub";
/// The secret key of the embedded S3.
pub const SECRET_KEY: &str = "a key of the simulation";

/// Both stores. Clones are the same stores.
#[derive(Clone)]
pub struct Stores(Arc<Inner>);

struct Inner {
    database: Database,
    door: StorageDoor,
}

impl fmt::Debug for Stores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Stores")
    }
}

impl Stores {
    /// Empty stores in memory, which go by this clock.
    pub fn new(clock: Ambient) -> Stores {
        let database = Database::memory().expect("an embedded DynamoDB in memory");
        let door = EmbeddedS3::memory(clock).door(NAME, (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()), usize::MAX);
        Stores(Arc::new(Inner { database, door }))
    }

    /// Where a hub finds its table and its bucket.
    pub fn location() -> Location {
        Location { table: NAME.to_owned(), bucket: NAME.to_owned() }
    }

    /// Makes the table.
    pub fn make_table(&self) {
        let text = |name| json!({"AttributeName": name, "AttributeType": "S"});
        let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
        let table = json!({
            "TableName": NAME,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [text(PK), text(SK)],
            "KeySchema": [key(PK, "HASH"), key(SK, "RANGE")],
        });
        self.0.dynamodb("CreateTable", &table.to_string()).expect("a table");
    }
}

impl HttpConnector for Stores {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let stores = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move { stores.answer(request).await })
    }
}

impl Inner {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let (head, body) = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?.into_parts();
        let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let answer = match target.and_then(|target| target.rsplit_once('.')) {
            Some((_, operation)) => {
                let body = str::from_utf8(&body).map_err(|error| ConnectorError::user(error.into()))?;
                let (status, body) = match self.dynamodb(operation, body) {
                    Ok(answer) => (200, answer),
                    Err(error) => (error.status_code(), error.to_json()),
                };
                let answer = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
                answer.body(Bytes::from(body)).map_err(|error| ConnectorError::other(error.into(), None))?
            }
            None => self.s3(Request::from_parts(head, body)).await?,
        };
        HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
    }

    async fn s3(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, ConnectorError> {
        // As an HTTP client does.
        if let Some(host) = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str())) {
            let host = host.map_err(|error| ConnectorError::user(error.into()))?;
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        let answer = self
            .door
            .answer(request.map(Full::new), Ipv4Addr::LOCALHOST.into())
            .await
            .map_err(|error| ConnectorError::other(error.into(), None))?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| ConnectorError::io(error.into()))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    fn dynamodb(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "CreateTable" => call(body, |request| database.create_table(request)),
            "GetItem" => call(body, |request| database.get_item(request)),
            "PutItem" => call(body, |request| database.put_item(request)),
            "UpdateItem" => call(body, |request| database.update_item(request)),
            "DeleteItem" => call(body, |request| database.delete_item(request)),
            "Query" => call(body, |request| database.query(request)),
            "Scan" => call(body, |request| database.scan(request)),
            "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
            "BatchWriteItem" => call(body, |request| database.batch_write_item(request)),
            "TransactGetItems" => call(body, |request| database.transact_get_items(request)),
            "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
            other => Err(DynoxideError::ValidationException(format!("the simulation does not know {other}"))),
        }
    }
}

fn call<Q: DeserializeOwned, A: Serialize>(
    body: &str,
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let wrong = |error: serde_json::Error| DynoxideError::ValidationException(error.to_string());
    let answer = operation(serde_json::from_str(body).map_err(wrong)?)?;
    serde_json::to_string(&answer).map_err(wrong)
}
