//! Answers that Lambda gives back in one piece.

use std::pin::Pin;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use lambda_http::{Body, IntoResponse};

use crate::answer_body::{AnswerBody, CutOff};
use crate::respond::refuse;
use common::wire::WireError;

/// The answer of a function that does not stream.
///
/// `lambda_http` makes one of every body by itself, with a decoder for each of the world's character sets, which is a
/// good part of a function's size. Here there is JSON, which is text in Lambda's answer, and msgpack, which is base64.
pub struct Buffered(pub Response<AnswerBody>);

impl IntoResponse for Buffered {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async {
            let (parts, body) = self.0.into_parts();
            let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
            match whole(body).await {
                Ok(bytes) if is_json => Response::from_parts(parts, text(bytes)),
                Ok(bytes) => Response::from_parts(parts, Body::Binary(bytes.into())),
                Err(cut_off) => {
                    let (parts, body) =
                        refuse("an answer in one piece", &WireError::internal(cut_off), &|_, _| None).into_parts();
                    Response::from_parts(parts, text(whole(body).await.unwrap_or_default()))
                }
            }
        })
    }
}

async fn whole(body: AnswerBody) -> Result<Bytes, CutOff> {
    Ok(body.collect().await?.to_bytes())
}

fn text(bytes: Bytes) -> Body {
    match String::from_utf8(bytes.into()) {
        Ok(text) => Body::Text(text),
        Err(not_utf8) => Body::Binary(not_utf8.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, StatusCode};

    fn answer(content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    #[tokio::test]
    async fn json_is_text_and_msgpack_is_bytes() {
        let json = Buffered(answer("application/json", AnswerBody::whole("{\"ä\":1}"))).into_response().await;
        assert_eq!(json.body(), &Body::Text("{\"ä\":1}".to_owned()));
        let msgpack = Buffered(answer("application/x-msgpack", AnswerBody::whole("\x01"))).into_response().await;
        assert_eq!(msgpack.body(), &Body::Binary(vec![1]));
        assert_eq!(msgpack.headers()[CONTENT_TYPE], "application/x-msgpack");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_a_fault_and_not_half_an_answer() {
        let chunks = futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(CutOff)]);
        let broken = Buffered(answer("application/json", AnswerBody::streamed(chunks))).into_response().await;
        assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(matches!(broken.body(), Body::Text(text) if text.contains("internal_error")), "{broken:?}");
    }
}
