//! `GET /openapi.json`: the hub's description of itself, as [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use lambda_http::http::HeaderValue;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Request, Response};
use service::AnswerBody;
use service::Hub;

/// The description. It is written by hand, and tests hold it against the routes and against a running hub.
pub const DESCRIPTION: &[u8] = include_bytes!("../../../docs/openapi.json");

/// Answers one request.
pub async fn handle(hub: &Hub, request: Request) -> Response<AnswerBody> {
    hub.answer(env!("CARGO_PKG_NAME"), request, |_| async move {
        let mut response = Response::new(AnswerBody::whole(DESCRIPTION));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Names of the parameters of an operation, or of a path.
    fn parameters(of: &Value) -> String {
        let listed = of["parameters"].as_array().into_iter().flatten();
        let name = |parameter: &Value| {
            let name = parameter["name"].as_str().or_else(|| parameter["$ref"].as_str()?.rsplit('/').next());
            name.unwrap_or("?").to_owned()
        };
        listed.map(name).collect::<Vec<_>>().join(" ")
    }

    /// The document is reviewed as it is; this says in a page what it offers.
    #[test]
    fn the_outline_is_as_it_was_reviewed() {
        let document: Value = serde_json::from_slice(DESCRIPTION).unwrap();
        let mut outline = String::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            outline.push_str(&format!("{path}  {}\n", parameters(item)).replace("  \n", "\n"));
            for (method, operation) in item.as_object().unwrap().iter().filter(|(_, it)| it["responses"].is_object()) {
                let statuses: Vec<&str> =
                    operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
                let body = if operation["requestBody"].is_object() { " with a body" } else { "" };
                let parameters = parameters(operation);
                let name = operation["operationId"].as_str().unwrap();
                outline.push_str(&format!("    {method} {name}({parameters}){body}: {}\n", statuses.join(" ")));
            }
        }
        let schemas: Vec<&str> =
            document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
        outline.push_str(&format!("schemas: {}\n", schemas.join(" ")));
        insta::assert_snapshot!("outline", outline);
    }
}
