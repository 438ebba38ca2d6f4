//! The hub as Lambda behind an API Gateway has it: a request becomes the event of a REST API's proxy integration, goes
//! through the code that reads such events on Lambda, and nothing larger than Lambda takes gets in or out.

use std::collections::HashMap;
use std::convert::Infallible;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::wire::WireError;
use common::wire::limits::LAMBDA_PAYLOAD;
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use http::uri::Authority;
use http::{HeaderMap, Response, StatusCode};
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyResponse;
use lambda_http::aws_lambda_events::encodings::Body;
use lambda_http::lambda_runtime::{Context, LambdaEvent, MetadataPrelude};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Service, StreamAdapter, service_fn};
use serde_json::{Value, json};
use service::Hub;
use service::buffered::Buffered;
use service::{AnswerBody, CutOff, ReachedAs};

use crate::functions::{self, Matched};

/// Bytes of an event, which holds the body; binary bodies as base64.
pub const MAX_EVENT: usize = LAMBDA_PAYLOAD;

/// What is answered to a body that makes a larger event.
pub const TOO_LARGE: &str = "the request is larger than the 6 MB that Lambda takes, about 4.5 MB of msgpack: \
                             send it by reference (POST /uploads), for which 'musehub proxy' stands in front of any client";

/// Content types that are base64 in an event: the API's `binaryMediaTypes`.
const BINARY_MEDIA_TYPES: [&str; 3] = ["application/x-msgpack", "application/vnd.msgpack", "application/msgpack"];

/// Invokes a function with the event that an API Gateway makes of a request.
///
/// # Errors
/// [`WireError::PayloadTooLarge`] for an event that Lambda does not take, [`WireError::Internal`] for an answer that it does not
/// give back.
pub(crate) async fn invoke(
    hub: &Hub,
    matched: &Matched,
    parts: &http::request::Parts,
    body: Vec<u8>,
) -> Result<Response<AnswerBody>, WireError> {
    let event = serde_json::to_vec(&event(matched, parts, &body, &hub.store.ambient().ulid().to_string()))
        .map_err(WireError::internal)?;
    drop(body);
    if event.len() > MAX_EVENT {
        return Err(WireError::PayloadTooLarge(TOO_LARGE.to_owned()));
    }
    let request: LambdaRequest = serde_json::from_slice(&event).map_err(WireError::internal)?;
    drop(event);
    let event = LambdaEvent::new(request, Context::default());
    let function = matched.route.function;
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(functions::call(function, hub, request).await) });
    if function.streams() {
        // A function is always ready, and the adapter need not outlive the call.
        let answered = StreamAdapter::from(service).call(event);
        let streamed = answered.await.map_err(WireError::internal)?;
        let MetadataPrelude { status_code, headers, .. } = streamed.metadata_prelude;
        let chunks = streamed.stream.map(|chunk| chunk.map_err(|_| CutOff));
        return Ok(with_head(status_code, headers, AnswerBody::streamed(chunks)));
    }
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(Buffered(functions::call(function, hub, request).await)) },
        );
    let answered = Adapter::from(service).call(event);
    let answer = answered.await.map_err(WireError::internal)?;
    let answer = serde_json::to_vec(&answer).map_err(WireError::internal)?;
    if answer.len() > LAMBDA_PAYLOAD {
        return Err(WireError::internal(format!(
            "an answer of {} bytes, of which Lambda gives back {LAMBDA_PAYLOAD}",
            answer.len()
        )));
    }
    let answer: ApiGatewayProxyResponse = serde_json::from_slice(&answer).map_err(WireError::internal)?;
    let status = u16::try_from(answer.status_code).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let body = match answer.body {
        Some(Body::Text(text)) if answer.is_base64_encoded => {
            BASE64_STANDARD.decode(text).map_err(WireError::internal)?
        }
        Some(Body::Text(text)) => text.into_bytes(),
        Some(Body::Binary(bytes)) => bytes,
        _ => Vec::new(),
    };
    Ok(with_head(status.unwrap_or(StatusCode::BAD_GATEWAY), answer.multi_value_headers, AnswerBody::whole(body)))
}

fn with_head(status: StatusCode, headers: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The event of a REST API's Lambda proxy integration.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-input-format>
fn event(matched: &Matched, parts: &http::request::Parts, body: &[u8], request_id: &str) -> Value {
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // What a gateway makes of a text that is none is not documented; here it stays what it is.
    let text = std::str::from_utf8(body).ok().filter(|_| !BINARY_MEDIA_TYPES.contains(&essence.as_str()));
    let body = match text {
        Some("") => Value::Null,
        Some(text) => text.into(),
        None => BASE64_STANDARD.encode(body).into(),
    };
    let mut headers: HashMap<&str, String> = HashMap::new();
    let mut all_headers: HashMap<&str, Vec<String>> = HashMap::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.insert(name.as_str(), value.clone());
        all_headers.entry(name.as_str()).or_default().push(value);
    }
    let mut query: HashMap<String, String> = HashMap::new();
    let mut all_query: HashMap<String, Vec<String>> = HashMap::new();
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned() {
        query.insert(name.clone(), value.clone());
        all_query.entry(name).or_default().push(value);
    }
    let path = parts.uri.path();
    // What a gateway says of itself, which has no port; one that does not know itself says nothing.
    let host = parts.extensions.get::<ReachedAs>().and_then(|ReachedAs(host)| host.parse::<Authority>().ok());
    let domain_name = host.as_ref().map(Authority::host);
    json!({
        "resource": matched.route.path,
        "path": path,
        "httpMethod": parts.method.as_str(),
        "headers": headers,
        "multiValueHeaders": all_headers,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": all_query,
        "pathParameters": matched.parameters,
        "stageVariables": null,
        "requestContext": {
            "requestId": request_id,
            "resourcePath": matched.route.path,
            "httpMethod": parts.method.as_str(),
            "path": path,
            "protocol": "HTTP/1.1",
            "stage": "local",
            "domainName": domain_name,
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": body,
        "isBase64Encoded": text.is_none(),
    })
}
