//! An answer that is cut off on Lambda, as its runtime API sees it: byte by byte, from a process of its own.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures_util::stream;
use lambda_http::{Error, Request, Response, run_with_streaming_response, service_fn};
use serde_json::json;
use service::cut_off::{EXIT_CODE, whole_or_no_process};
use service::{AnswerBody, CutOff};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Says to a run of these tests that it is the function, and what of its answer comes.
const ROLE: &str = "MUSEHUB_TEST_ANSWER";
const BEGINNING: &str = "the beginning of an answer";

/// Not a test but the function that the others start.
#[tokio::test]
#[ignore = "it is run by the other tests of this module"]
async fn a_function() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role = role.as_str();
    let handle = service_fn(move |_: Request| async move {
        let end = (role != "whole").then_some(Err(CutOff));
        let chunks = [Ok(Bytes::from(BEGINNING))].into_iter().chain(end);
        Ok::<_, Error>(Response::new(AnswerBody::streamed(stream::iter(chunks))))
    });
    match role {
        "unguarded" => run_with_streaming_response(handle).await.unwrap(),
        _ => {
            let handle = &handle;
            let guarded = service_fn(move |request: Request| async move {
                use lambda_http::Service;
                let answer = handle.clone().call(request).await?;
                Ok::<_, Error>(whole_or_no_process(answer))
            });
            run_with_streaming_response(guarded).await.unwrap();
        }
    }
}

/// What the runtime API got of an answer, and what the process ended with, if it did by itself.
struct Seen {
    sent: String,
    code: Option<i32>,
}

impl Seen {
    /// Whether the answer came to its end, as HTTP has it.
    fn is_whole(&self) -> bool {
        self.sent.ends_with("\r\n0\r\n\r\n")
    }
}

/// Invokes the function once.
async fn invoke(role: &str) -> Seen {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut function = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cut_off::a_function", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "function")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "logs")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut was_invoked, mut sent) = (false, String::new());
    // It asks for the next invocation and answers it, on one connection or on two.
    while sent.is_empty() {
        let (mut stream, _) = listener.accept().await.unwrap();
        loop {
            let head = head(&mut stream).await;
            if head.starts_with("GET /2018-06-01/runtime/invocation/next") {
                if was_invoked {
                    break;
                }
                was_invoked = true;
                stream.write_all(invocation().as_bytes()).await.unwrap();
            } else if head.contains("/response HTTP/1.1") {
                sent = head + &body(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
                break;
            } else {
                assert!(head.is_empty(), "{head}");
                break;
            }
        }
    }
    let is_whole = sent.ends_with("\r\n0\r\n\r\n");
    if is_whole {
        function.kill().unwrap();
    }
    let code = function.wait().unwrap().code();
    Seen { sent, code }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// What comes of a body: all of it, or what there is when the other end is gone.
async fn body(stream: &mut TcpStream) -> String {
    let mut body = Vec::new();
    while !body.ends_with(b"\r\n0\r\n\r\n") {
        match stream.read_buf(&mut body).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn invocation() -> String {
    let event = json!({
        "resource": "/o/{object_id}", "path": "/o/a", "httpMethod": "GET", "headers": {}, "multiValueHeaders": {},
        "requestContext": {"path": "/o/a", "httpMethod": "GET", "identity": {}}, "body": null, "isBase64Encoded": false,
    })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nlambda-runtime-aws-request-id: one\r\n\
         lambda-runtime-deadline-ms: 4000000000000\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:123456789012:function:function\r\n\
         lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700\r\n\r\n{event}",
        event.len()
    )
}

#[tokio::test]
async fn a_whole_answer_comes_to_its_end() {
    let seen = invoke("whole").await;
    assert!(seen.is_whole() && seen.sent.contains(BEGINNING), "{}", seen.sent);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_does_not_and_the_process_ends_with_it() {
    let seen = invoke("guarded").await;
    assert_eq!(seen.code, Some(EXIT_CODE), "{}", seen.sent);
    assert!(!seen.is_whole(), "{}", seen.sent);
    assert!(!seen.sent.contains("Error-Type: "), "{}", seen.sent);
}

/// What makes that necessary. When a newer runtime does better, this fails, and then the process may live.
#[tokio::test]
async fn the_runtime_by_itself_ends_well_what_was_cut_off() {
    let seen = invoke("unguarded").await;
    assert!(seen.is_whole(), "{}", seen.sent);
    let body = seen.sent.split_once(BEGINNING).unwrap().1.to_ascii_lowercase();
    assert!(body.contains("lambda-runtime-function-error-type"), "the error is in the answer's own bytes: {body}");
}
