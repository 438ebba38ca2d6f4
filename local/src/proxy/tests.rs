//! What a client, the hub and the storage see of a proxy. The hub here is a stand-in that writes down its requests.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::HubUrl;
use client::http::Body as AnswerBody;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::{Limits, Options, Running, start_within};
use crate::connections::{Connections, WRITE_TIMEOUT};
use crate::serve::accept;

/// What is too big in a test that is not about the real bound.
const FEW: Limits = Limits {
    small: 10,
    large: 100,
    whole: 100,
    part: 100,
    bodies: 2,
    client_pause: Duration::from_secs(30),
    hub_pause: Duration::from_secs(30),
};
const SHORT: Duration = Duration::from_millis(30);

/// A request as it came to the stand-in.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// All headers, as `name: value`, in alphabetical order.
    fn headers(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        all.sort();
        all
    }
}

struct StandIn {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: watch::Sender<bool>,
}

impl StandIn {
    /// A hub that answers every request with what `answer` makes of it and of the stand-in's address.
    async fn start(answer: impl Fn(&Seen, &str) -> Response<AnswerBody> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all, own_address, answer) = (Arc::clone(&seen), address.clone(), Arc::new(answer));
        let handler = move |request: Request<Incoming>| {
            let (all, own_address, answer) = (Arc::clone(&all), own_address.clone(), Arc::clone(&answer));
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let headers = request.headers().clone();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let request = Seen { line, headers, body };
                let answer = answer(&request, &own_address);
                all.lock().unwrap().push(request);
                answer
            }
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(accept(listener, Connections::new(100), WRITE_TIMEOUT, handler, stopped));
        Self { address, seen, _stop: stop }
    }

    /// A hub that takes uploads, puts them into a storage of its own, and answers everything else with `done`.
    async fn with_uploads() -> Self {
        Self::start(|request, address| match request.line.as_str() {
            "POST /dev/song/uploads" => json(
                StatusCode::OK,
                &format!(
                    r#"{{"upload_id": "upload-1", "url": "http://{address}/bucket/a%2Fb?X-Amz-Signature=secret"}}"#
                ),
            ),
            line if line.starts_with("PUT /bucket") => json(StatusCode::OK, ""),
            _ => json(StatusCode::OK, "done"),
        })
        .await
    }

    async fn proxy(&self, limits: Limits) -> Running {
        proxy(&self.address, limits).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.line).collect()
    }
}

async fn proxy(to: &str, limits: Limits) -> Running {
    let to: HubUrl = format!("http://{to}").parse().unwrap();
    start_within(Options { listen: "127.0.0.1:0".parse().unwrap(), to }, limits).await.unwrap()
}

fn json(status: StatusCode, body: &str) -> Response<AnswerBody> {
    let body = Full::from(body.to_owned()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// A body of what is sent into a channel.
fn piecewise(pieces: mpsc::UnboundedReceiver<io::Result<&'static str>>) -> AnswerBody {
    let frames = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))), pieces))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// What a client reads until the connection ends.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn error(&self) -> (u16, String, String) {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (self.status, text("error"), text("detail"))
    }
}

async fn connect(proxy: &Running) -> TcpStream {
    TcpStream::connect(proxy.url().strip_prefix("http://").unwrap()).await.unwrap()
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is reset is as good an end as another; what came before it counts.
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// Sends a whole request while reading its answer.
async fn exchange(proxy: &Running, head: &str, body: &[u8]) -> Answer {
    let (mut incoming, mut outgoing) = connect(proxy).await.into_split();
    let send = async {
        outgoing.write_all(head.replace('\n', "\r\n").as_bytes()).await.unwrap();
        // A refusal may come before the end of it.
        let _ = outgoing.write_all(body).await;
    };
    let ((), bytes) = tokio::join!(send, read_to_end(&mut incoming));
    Answer::of(&bytes)
}

async fn get(proxy: &Running, path: &str) -> Answer {
    exchange(proxy, &format!("GET {path} HTTP/1.1\nHost: proxy\nConnection: close\n\n"), b"").await
}

/// Posts as a client does.
async fn post(proxy: &Running, path: &str, body: &[u8]) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\nHost: proxy\nConnection: close\nAuthorization: Bearer token\nAccept-Encoding: identity\n\
         Content-Type: application/x-msgpack\nAccept: application/x-msgpack\nContent-Length: {}\n\n",
        body.len()
    );
    exchange(proxy, &head, body).await
}

#[tokio::test]
async fn a_small_request_and_its_answer_pass_untouched() {
    let hub = StandIn::start(|_, _| {
        let mut answer = json(StatusCode::IM_A_TEAPOT, "short and stout");
        for (name, value) in [("x-both", "1"), ("x-both", "2"), ("keep-alive", "timeout=5"), ("etag", "\"a\"")] {
            answer.headers_mut().append(name, HeaderValue::from_static(value));
        }
        answer
    })
    .await;
    let proxy = proxy(&format!("{}/prod/", hub.address), Limits::default()).await;
    let answer = exchange(
        &proxy,
        "DELETE /dev/song/releases/a%2Fb%20%C3%A9?q=%2F&r=a+b&r HTTP/1.1\nHost: proxy\nConnection: close, X-Hop\n\
         X-Hop: 1\nTE: trailers\nProxy-Authorization: Basic eA==\nAuthorization: Bearer token\nAccept: text/plain\n\
         X-Both: 1\nX-Both: 2\nContent-Length: 3\n\n",
        b"\x00\xff.",
    )
    .await;

    let seen = hub.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "DELETE /prod/dev/song/releases/a%2Fb%20%C3%A9?q=%2F&r=a+b&r");
    assert_eq!(&seen[0].body[..], b"\x00\xff.");
    let host = format!("host: {}", hub.address);
    let expected = [
        "accept: text/plain",
        "authorization: Bearer token",
        "content-length: 3",
        host.as_str(),
        "x-both: 1",
        "x-both: 2",
    ];
    assert_eq!(seen[0].headers(), expected);

    assert_eq!(answer.status, 418);
    assert_eq!(answer.body, "short and stout");
    for header in ["x-both: 1", "x-both: 2", "etag: \"a\"", "content-type: application/json", "content-length: 15"] {
        assert!(answer.head.contains(header), "{} lacks {header}", answer.head);
    }
    assert!(!answer.head.contains("keep-alive"), "{}", answer.head);
}

#[tokio::test]
async fn requests_without_a_body_stay_so_and_redirects_are_the_clients_affair() {
    let hub = StandIn::start(|_, address| {
        let mut answer = json(StatusCode::FOUND, "");
        let target = format!("http://{address}/elsewhere").parse().unwrap();
        answer.headers_mut().insert("location", target);
        answer
    })
    .await;
    let proxy = hub.proxy(Limits::default()).await;
    let answer = get(&proxy, "/dev/song/refs").await;
    assert_eq!(answer.status, 302);
    assert!(answer.head.contains(&format!("location: http://{}/elsewhere", hub.address)), "{}", answer.head);
    assert_eq!(hub.lines(), ["GET /dev/song/refs"]);
    assert_eq!(hub.seen()[0].header("content-length"), None);

    post(&proxy, "/dev/song/push", b"").await;
    assert_eq!(hub.seen()[1].header("content-length"), Some("0"));
    let head = exchange(&proxy, "HEAD /dev/song/refs HTTP/1.1\nHost: proxy\nConnection: close\n\n", b"").await;
    assert_eq!((head.status, head.body.as_str()), (302, ""));
}

/// A client in the middle of an answer, of which the stand-in sends what the test gives it.
struct Midway {
    stream: TcpStream,
    pieces: mpsc::UnboundedSender<io::Result<&'static str>>,
    read: String,
    _hub: StandIn,
    _proxy: Running,
}

impl Midway {
    /// Begins an answer, whose length is declared or not.
    async fn begin(declared: Option<u64>) -> Self {
        let (pieces, body) = mpsc::unbounded_channel();
        let body = Mutex::new(Some(body));
        let hub = StandIn::start(move |_, _| {
            let mut answer = Response::new(piecewise(body.lock().unwrap().take().unwrap()));
            if let Some(declared) = declared {
                answer.headers_mut().insert("content-length", declared.into());
            }
            answer
        })
        .await;
        let proxy = hub.proxy(FEW).await;
        let mut stream = connect(&proxy).await;
        stream.write_all(b"GET /dev/song/refs HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n").await.unwrap();
        Self { stream, pieces, read: String::new(), _hub: hub, _proxy: proxy }
    }

    /// Lets the stand-in send a piece, and reads until it is there.
    async fn pass(&mut self, piece: &'static str) {
        self.pieces.send(Ok(piece)).unwrap();
        while !self.read.contains(piece) {
            let mut some = [0; 1000];
            let length = self.stream.read(&mut some).await.unwrap();
            assert_ne!(length, 0, "it ended after {:?}", self.read);
            self.read.push_str(std::str::from_utf8(&some[..length]).unwrap());
        }
    }

    /// All that is read until the connection ends.
    async fn end(mut self) -> String {
        drop(self.pieces);
        self.read.push_str(&String::from_utf8(read_to_end(&mut self.stream).await).unwrap());
        self.read
    }
}

#[tokio::test]
async fn an_answer_comes_piece_by_piece() {
    let mut midway = Midway::begin(None).await;
    midway.pass("first").await;
    midway.pass("second").await;
    let read = midway.end().await;
    assert!(read.ends_with("\r\n0\r\n\r\n"), "{read:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let mut midway = Midway::begin(None).await;
    midway.pass("a beginning").await;
    midway.pieces.send(Err(io::Error::other("broken"))).unwrap();
    let read = midway.end().await;
    assert!(read.contains("transfer-encoding: chunked") && read.ends_with("a beginning\r\n"), "{read:?}");

    let mut midway = Midway::begin(Some(1000)).await;
    midway.pass("a beginning").await;
    midway.pieces.send(Err(io::Error::other("broken"))).unwrap();
    let read = midway.end().await;
    assert!(read.contains("content-length: 1000") && read.ends_with("\r\n\r\na beginning"), "{read:?}");
}

#[tokio::test]
async fn a_large_post_goes_by_reference_and_its_token_stays_with_the_hub() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(Limits::default()).await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let answer = post(&proxy, "/dev/song/push/objects?x=1", &body).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));

    let seen = hub.seen();
    let expected =
        ["POST /dev/song/uploads", "PUT /bucket/a%2Fb?X-Amz-Signature=secret", "POST /dev/song/push/objects?x=1"];
    assert_eq!(hub.lines(), expected);
    assert_eq!(seen[0].header("authorization"), Some("Bearer token"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(&seen[0].body[..], b"{}");
    assert!(seen[1].body == body, "the upload is not the body");
    let host = format!("host: {}", hub.address);
    assert_eq!(
        seen[1].headers(),
        ["content-length: 5000000", "content-type: application/x-www-form-urlencoded", host.as_str()]
    );
    assert!(seen[2].body.is_empty());
    let expected = [
        "accept-encoding: identity",
        "accept: application/x-msgpack",
        "authorization: Bearer token",
        "content-length: 0",
        "content-type: application/x-msgpack",
        host.as_str(),
        "muse-body-upload: upload-1",
    ];
    assert_eq!(seen[2].headers(), expected);
}

#[tokio::test]
async fn a_body_is_large_by_what_came_and_not_by_what_was_declared() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(FEW).await;
    post(&proxy, "/dev/song/push", b"1234567890").await;
    assert_eq!(hub.lines(), ["POST /dev/song/push"], "ten bytes are not too many");

    let head = "POST /dev/song/push HTTP/1.1\nHost: proxy\nConnection: close\nAuthorization: Bearer token\n\
                Transfer-Encoding: chunked\n\n";
    let answer = exchange(&proxy, head, b"6\r\n123456\r\n5\r\n78901\r\n0\r\n\r\n").await;
    assert_eq!(answer.body, "done");
    let seen = hub.seen();
    assert_eq!(hub.lines().len(), 4);
    assert_eq!(&seen[2].body[..], b"12345678901");
    assert_eq!(seen[2].header("content-length"), Some("11"));
}

#[tokio::test]
async fn without_a_token_a_large_request_goes_as_it_is() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(FEW).await;
    let head = "POST /dev/song/fetch HTTP/1.1\nHost: proxy\nConnection: close\nContent-Length: 11\n\n";
    assert_eq!(exchange(&proxy, head, b"12345678901").await.body, "done");
    assert_eq!(hub.lines(), ["POST /dev/song/fetch"], "nothing can be uploaded without one");
    assert_eq!(&hub.seen()[0].body[..], b"12345678901");
}

#[tokio::test]
async fn a_client_that_asks_first_is_asked_to_go_on() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(FEW).await;
    let head = "POST /dev/song/push HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nExpect: 100-continue\r\n";
    let mut stream = connect(&proxy).await;
    stream.write_all(format!("{head}Content-Length: 20\r\n\r\n").as_bytes()).await.unwrap();
    let mut interim = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&[b'.'; 20]).await.unwrap();
    assert_eq!(Answer::of(&read_to_end(&mut stream).await).body, "done");
    assert!(hub.seen().iter().all(|request| request.header("expect").is_none()));

    // A client that would send too much learns it before it sends anything.
    let mut stream = connect(&proxy).await;
    stream.write_all(format!("{head}Content-Length: 101\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(Answer::of(&read_to_end(&mut stream).await).status, 413);
}

#[tokio::test]
async fn a_refusal_of_the_upload_is_the_answer() {
    for (status, body) in [
        (StatusCode::UNAUTHORIZED, r#"{"error": "unauthorized", "detail": "send a token"}"#),
        (StatusCode::NOT_FOUND, r#"{"error": "repo_not_found", "detail": "there is none"}"#),
        (StatusCode::SERVICE_UNAVAILABLE, "no JSON at all"),
    ] {
        let hub = StandIn::start(move |_, _| {
            let mut answer = json(status, body);
            answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
            answer
        })
        .await;
        let proxy = hub.proxy(FEW).await;
        let answer = post(&proxy, "/dev/song/push", &[0; 50]).await;
        assert_eq!((answer.status, answer.body.as_str()), (status.as_u16(), body));
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        assert_eq!(hub.lines(), ["POST /dev/song/uploads"]);
    }
}

#[tokio::test]
async fn a_hub_that_knows_no_uploads_gets_the_whole_request() {
    for (status, body) in [
        (StatusCode::NOT_FOUND, r#"{"error": "not_found", "detail": "nothing here"}"#),
        (StatusCode::METHOD_NOT_ALLOWED, ""),
    ] {
        let hub = StandIn::start(move |request, _| {
            if request.line.ends_with("/uploads") { json(status, body) } else { json(StatusCode::OK, "done") }
        })
        .await;
        let proxy = hub.proxy(FEW).await;
        let answer = post(&proxy, "/dev/song/push", &[7; 50]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
        let seen = hub.seen();
        assert_eq!(hub.lines(), ["POST /dev/song/uploads", "POST /dev/song/push"]);
        assert_eq!(&seen[1].body[..], [7; 50]);
        assert_eq!(seen[1].header("authorization"), Some("Bearer token"));
        assert_eq!(seen[1].header("muse-body-upload"), None);
    }
}

#[tokio::test]
async fn what_is_large_and_not_posted_to_a_repository_goes_directly() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(FEW).await;
    for path in ["/api/repos", "/api/repos/song", "/dev/song", "/dev/song/uploads"] {
        post(&proxy, path, &[7; 50]).await;
        let last = hub.seen().pop().unwrap();
        assert_eq!((last.line, last.body.len()), (format!("POST {path}"), 50));
    }
    let put = "PUT /dev/song/push HTTP/1.1\nHost: proxy\nConnection: close\nContent-Length: 50\n\n";
    exchange(&proxy, put, &[7; 50]).await;
    assert_eq!(hub.lines().len(), 5);
}

#[tokio::test]
async fn a_storage_that_does_not_take_the_upload_is_a_502_that_gives_nothing_away() {
    for (uploads, expected) in [
        (r#"{"upload_id": "1", "url": "http://HUB/full?X-Amz-Signature=secret"}"#, "it answered 403 Forbidden"),
        (r#"{"upload_id": "1", "url": "http://GONE/full?X-Amz-Signature=secret"}"#, "connection refused"),
        (r#"{"upload_id": "1", "url": "file:///etc/secret"}"#, "did not answer as a hub does"),
        (r#"{"upload_id": "1\n2", "url": "http://HUB/secret"}"#, "did not answer as a hub does"),
        ("secret", "did not answer as a hub does"),
    ] {
        let gone = free_address();
        let hub = StandIn::start(move |request, address| {
            if request.line.ends_with("/uploads") {
                json(StatusCode::OK, &uploads.replace("HUB", address).replace("GONE", &gone))
            } else {
                json(StatusCode::FORBIDDEN, "secret")
            }
        })
        .await;
        let proxy = hub.proxy(FEW).await;
        let (status, code, detail) = post(&proxy, "/dev/song/push", &[0; 50]).await.error();
        assert_eq!((status, code.as_str()), (502, "upload_failed"));
        assert!(detail.contains(expected), "{detail}");
        assert!(!detail.contains("secret"), "{detail}");
        assert!(!hub.lines().contains(&"POST /dev/song/push".to_owned()), "the push was sent without its body");
    }
}

#[tokio::test]
async fn a_body_goes_whole_to_another_url_when_the_first_is_good_no_more() {
    for status in [StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST] {
        let hub = StandIn::start(move |request, address| match request.line.as_str() {
            "POST /dev/song/uploads" => {
                json(StatusCode::OK, &format!(r#"{{"upload_id": "upload-1", "url": "http://{address}/bucket/a"}}"#))
            }
            line if line.starts_with("PUT /bucket") && FIRST.swap(false, Ordering::Relaxed) => {
                json(status, "<Error><Code>ExpiredToken</Code></Error>")
            }
            _ => json(StatusCode::OK, "done"),
        })
        .await;
        static FIRST: AtomicBool = AtomicBool::new(true);
        FIRST.store(true, Ordering::Relaxed);
        let proxy = hub.proxy(FEW).await;
        assert_eq!(post(&proxy, "/dev/song/push", &[7; 50]).await.status, 200);
        let seen = hub.seen();
        let lines: Vec<&str> = seen.iter().map(|request| request.line.as_str()).collect();
        let (ask, put) = ("POST /dev/song/uploads", "PUT /bucket/a");
        assert_eq!(lines, [ask, put, ask, put, "POST /dev/song/push"]);
        assert!([1, 3].iter().all(|at| seen[*at].body.as_ref() == [7; 50]), "both are whole");
    }
}

/// An address without a listener.
fn free_address() -> String {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_a_502_that_says_so() {
    let gone = free_address();
    let proxy = proxy(&gone, FEW).await;
    for body in [5, 50] {
        let (status, code, detail) = post(&proxy, "/dev/song/push", &vec![0; body]).await.error();
        assert_eq!((status, code.as_str()), (502, "hub_unreachable"));
        let expected =
            format!("the proxy cannot reach http://{gone}: connection refused; is the hub up and its URL right?");
        assert_eq!(detail, expected);
    }
}

#[tokio::test]
async fn a_hub_that_hangs_up_is_a_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = proxy(&listener.local_addr().unwrap().to_string(), FEW).await;
    let hang_up = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
    };
    let (answer, ()) = tokio::join!(get(&proxy, "/dev/song/refs"), hang_up);
    let (status, code, detail) = answer.error();
    assert_eq!((status, code.as_str()), (502, "hub_unreachable"));
    assert!(detail.contains("broke off before the answer"), "{detail}");
}

#[tokio::test]
async fn a_hub_that_is_silent_is_a_504() {
    // Connections come about as long as there is a listener, and no answer comes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = Limits { hub_pause: SHORT, ..FEW };
    let proxy = proxy(&listener.local_addr().unwrap().to_string(), limits).await;
    let (status, code, detail) = get(&proxy, "/dev/song/refs").await.error();
    assert_eq!((status, code.as_str()), (504, "hub_timeout"));
    assert!(detail.contains("was silent for"), "{detail}");
}

#[tokio::test]
async fn too_much_is_refused_whether_declared_or_not() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(FEW).await;
    let chunked = "POST /dev/song/push HTTP/1.1\nHost: proxy\nConnection: close\nTransfer-Encoding: chunked\n\n";
    let body = format!("65\r\n{}\r\n0\r\n\r\n", ".".repeat(101));
    for answer in [post(&proxy, "/dev/song/push", &[0; 101]).await, exchange(&proxy, chunked, body.as_bytes()).await] {
        let (status, code, detail) = answer.error();
        assert_eq!((status, code.as_str()), (413, "payload_too_large"));
        assert!(detail.starts_with("the body has more than 100 B"), "{detail}");
    }
    assert_eq!(post(&proxy, "/dev/song/push", &[0; 100]).await.body, "done");
    assert_eq!(hub.lines().len(), 3, "nothing of the refused ones came to the hub");
}

#[tokio::test]
async fn a_client_that_breaks_off_or_pauses_leaves_no_trace_at_the_hub() {
    let hub = StandIn::with_uploads().await;
    let half = b"POST /dev/song/push HTTP/1.1\r\nHost: proxy\r\nContent-Length: 50\r\n\r\n.....................";
    let impatient = hub.proxy(Limits { client_pause: SHORT, ..FEW }).await;
    let mut paused = connect(&impatient).await;
    paused.write_all(half).await.unwrap();
    let (status, code, detail) = Answer::of(&read_to_end(&mut paused).await).error();
    assert_eq!((status, code.as_str()), (400, "malformed_body"));
    assert!(detail.contains("nothing came for"), "{detail}");

    let proxy = hub.proxy(Limits { bodies: 1, ..FEW }).await;
    let mut broken = connect(&proxy).await;
    broken.write_all(half).await.unwrap();
    broken.shutdown().await.unwrap();
    read_to_end(&mut broken).await;
    assert_eq!(post(&proxy, "/dev/song/push", &[0; 50]).await.body, "done", "the only place for a body is free again");
    assert_eq!(hub.lines().len(), 3, "only the last request came to the hub");
}

/// Clients wait for a minute, and a large request may take longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_is_done_even_if_its_client_has_left() {
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let (done, mut is_done) = mpsc::unbounded_channel();
    let goes_on = Mutex::new(goes_on);
    let hub = StandIn::start(move |request, address| {
        if request.line == "POST /dev/song/uploads" {
            goes_on.lock().unwrap().recv().unwrap();
            let answer = format!(r#"{{"upload_id": "1", "url": "http://{address}/bucket/1"}}"#);
            return json(StatusCode::OK, &answer);
        }
        done.send(request.line.clone()).unwrap();
        json(StatusCode::OK, "")
    })
    .await;
    let proxy = hub.proxy(FEW).await;
    let mut client = connect(&proxy).await;
    let head =
        "POST /dev/song/push HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer token\r\nContent-Length: 50\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&[7; 50]).await.unwrap();
    drop(client);
    // While these are answered the proxy sees that it has left.
    for _ in 0..20 {
        get(&proxy, "/health").await;
        assert_eq!(is_done.recv().await.unwrap(), "GET /health");
    }
    go_on.send(()).unwrap();
    assert_eq!(is_done.recv().await.unwrap(), "PUT /bucket/1");
    assert_eq!(is_done.recv().await.unwrap(), "POST /dev/song/push");
}

#[tokio::test]
async fn a_target_that_is_no_path_goes_nowhere() {
    let hub = StandIn::with_uploads().await;
    let proxy = hub.proxy(FEW).await;
    let (status, code, _) =
        exchange(&proxy, "OPTIONS * HTTP/1.1\nHost: proxy\nConnection: close\n\n", b"").await.error();
    assert_eq!((status, code.as_str()), (400, "invalid"));
    // An absolute target names the proxy or any other host. The request goes to the hub.
    assert_eq!(get(&proxy, "http://elsewhere/dev/song/refs?x").await.body, "done");
    assert_eq!(hub.lines(), ["GET /dev/song/refs?x"]);
}
