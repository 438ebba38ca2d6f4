//! What a client sees: the product's own SDK, and bare HTTP where a presigned URL stands alone.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::ChecksumAlgorithm,
};
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::StreamBody;
use sha2::{Digest, Sha256};
use store::ambient::Ambient;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use super::{EmbeddedS3, StorageDoor};

const BUCKET: &str = "objects";
const SECRET: &str = "the right secret";

/// A server of one store, with a bucket, and a client of it.
struct Running {
    address: SocketAddr,
    client: Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start(store: EmbeddedS3) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let credentials = ("access".to_owned(), SECRET.to_owned());
        let served = tokio::spawn(store.serve(listener, credentials, async {
            let _ = stopped.await;
        }));
        let client = client(address, SECRET);
        let made = client.create_bucket().bucket(BUCKET).send().await;
        if let Err(error) = made {
            assert_eq!(error.code(), Some("BucketAlreadyOwnedByYou"));
        }
        Self { address, client, stop, served }
    }

    async fn open(dir: &Path) -> Self {
        Self::start(EmbeddedS3::open(dir).unwrap()).await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        drop(self.client);
        self.served.await.unwrap().unwrap();
    }

    async fn put(&self, key: &str, body: impl Into<ByteStream>) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body.into());
        put.send().await.unwrap().e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    async fn presigned_put(&self, key: &str) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key);
        self.path_of(put.presigned(for_a_minute()).await.unwrap().uri())
    }

    async fn presigned_get(&self, key: &str) -> String {
        let get = self.client.get_object().bucket(BUCKET).key(key);
        self.path_of(get.presigned(for_a_minute()).await.unwrap().uri())
    }

    fn path_of(&self, url: &str) -> String {
        url.strip_prefix(&format!("http://{}", self.address)).unwrap().to_owned()
    }

    /// Sends a request with these headers, `host` and `connection: close`. Returns the status and all that follows.
    async fn bare(&self, request_line: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = self.head(request_line, headers);
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        read_response(&mut stream).await
    }

    fn head(&self, request_line: &str, headers: &str) -> String {
        let address = self.address;
        format!("{request_line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n")
    }
}

async fn read_response(stream: &mut TcpStream) -> (u16, String) {
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    (response[9..12].parse().unwrap(), response)
}

fn client(address: SocketAddr, secret: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(format!("http://{address}"))
        .http_client(store::aws::http_client())
        .force_path_style(true)
        .credentials_provider(Credentials::new("access", secret, None, None, "tests"))
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

fn for_a_minute() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(60)).unwrap()
}

/// The status and the error code of a request that must have been refused.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, String) {
    let error = result.unwrap_err();
    let status = error.raw_response().expect("an answer").status().as_u16();
    (status, error.code().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Runs `test` on a store in memory and on one on disk.
async fn on_each_store(test: impl AsyncFn(&Running)) {
    let running = Running::start(EmbeddedS3::memory(Ambient::system())).await;
    test(&running).await;
    running.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path()).await;
    test(&running).await;
    running.stop().await;
    assert_eq!(files_in(&dir.path().join("incoming")), Vec::<String>::new());
}

fn files_in(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// A body larger than the store's own chunks, so that it takes several.
fn large(fill: u8) -> Vec<u8> {
    vec![fill; 700_000]
}

#[tokio::test]
async fn what_was_put_is_what_is_got() {
    on_each_store(async |s3| {
        let body: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
        let etag = s3.put("key", body.clone()).await;
        assert_eq!(s3.get("key").await, body);

        let head = s3.client.head_object().bucket(BUCKET).key("key").send().await.unwrap();
        assert_eq!(head.content_length(), Some(700_000));
        assert_eq!(head.e_tag(), Some(etag.as_str()));
        assert!(head.last_modified().is_some());

        for (range, expected) in [
            ("bytes=0-0", &body[..1]),
            ("bytes=300000-600000", &body[300_000..=600_000]),
            ("bytes=699999-", &body[699_999..]),
            ("bytes=-300000", &body[400_000..]),
            ("bytes=-1000000", &body[..]),
            ("bytes=699990-1000000", &body[699_990..]),
        ] {
            let got = s3.client.get_object().bucket(BUCKET).key("key").range(range).send().await.unwrap();
            assert!(got.content_range().unwrap().ends_with("/700000"), "{range}");
            assert_eq!(got.body.collect().await.unwrap().to_vec(), expected, "{range}");
        }
        for range in ["bytes=700000-", "bytes=-0"] {
            let got = s3.client.get_object().bucket(BUCKET).key("key").range(range).send().await;
            assert_eq!(refusal(got), refused(416, "InvalidRange"), "{range}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    on_each_store(async |s3| {
        let etag = s3.put("empty", Vec::new()).await;
        assert_eq!(etag, "\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert_eq!(s3.get("empty").await, b"");
        for range in ["bytes=0-", "bytes=-5"] {
            let got = s3.client.get_object().bucket(BUCKET).key("empty").range(range).send().await;
            assert_eq!(refusal(got), refused(416, "InvalidRange"), "{range}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_racing_creates_one_wins() {
    on_each_store(async |s3| {
        let mut racers = JoinSet::new();
        for racer in 0..32 {
            let put = s3.client.put_object().bucket(BUCKET).key("key").if_none_match("*");
            let put = put.body(large(racer).into());
            racers.spawn(async move { (racer, put.send().await) });
        }
        let mut winners = Vec::new();
        for (racer, outcome) in racers.join_all().await {
            match outcome {
                Ok(_) => winners.push(racer),
                refused_put => assert_eq!(refusal(refused_put), refused(412, "PreconditionFailed")),
            }
        }
        let [winner] = winners[..] else {
            panic!("{winners:?} have won");
        };
        assert_eq!(s3.get("key").await, large(winner));
    })
    .await;
}

#[tokio::test]
async fn of_racing_swaps_one_wins() {
    on_each_store(async |s3| {
        let first = s3.put("key", large(0)).await;
        let mut racers = JoinSet::new();
        for racer in 1..9 {
            let put = s3.client.put_object().bucket(BUCKET).key("key").if_match(&first);
            racers.spawn(put.body(large(racer).into()).send());
        }
        let won = racers.join_all().await.into_iter().filter(Result::is_ok).count();
        assert_eq!(won, 1);

        let put = s3.client.put_object().bucket(BUCKET).key("missing").if_match(&first);
        assert_eq!(refusal(put.send().await), refused(404, "NoSuchKey"));
    })
    .await;
}

#[tokio::test]
async fn reads_are_conditional() {
    on_each_store(async |s3| {
        let etag = s3.put("key", large(1)).await;
        let get = || s3.client.get_object().bucket(BUCKET).key("key");
        let head = || s3.client.head_object().bucket(BUCKET).key("key");
        assert!(get().if_match(&etag).send().await.is_ok());
        assert!(get().if_none_match("\"other\"").send().await.is_ok());
        assert_eq!(refusal(get().if_match("\"other\"").send().await), refused(412, "PreconditionFailed"));
        assert_eq!(refusal(get().if_none_match(&etag).send().await).0, 304);
        assert_eq!(refusal(head().if_match("\"other\"").send().await).0, 412);
        assert_eq!(refusal(head().if_none_match(&etag).send().await).0, 304);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_not_what_it_claims_is_refused_and_leaves_nothing() {
    on_each_store(async |s3| {
        let put = || s3.client.put_object().bucket(BUCKET).key("key").body(large(1).into());
        let wrong_sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let wrong_md5 = "AAAAAAAAAAAAAAAAAAAAAA==";
        for (put, code) in [
            (put().checksum_crc32("AAAAAA=="), "BadDigest"),
            (put().checksum_crc32_c("AAAAAA=="), "BadDigest"),
            (put().checksum_crc64_nvme("AAAAAAAAAAA="), "BadDigest"),
            (put().checksum_sha1("AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "BadDigest"),
            (put().checksum_sha256(wrong_sha256), "BadDigest"),
            (put().checksum_sha256("nonsense"), "BadDigest"),
            (put().content_md5(wrong_md5), "BadDigest"),
            (put().content_md5("nonsense"), "InvalidDigest"),
        ] {
            assert_eq!(refusal(put.send().await), refused(400, code));
        }
        assert_eq!(s3.keys().await, Vec::<String>::new());

        put().checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
        assert_eq!(refusal(put().checksum_crc32("AAAAAA==").body(large(2).into()).send().await).0, 400);
        assert_eq!(s3.get("key").await, large(1));
    })
    .await;
}

/// Puts `123456789` in the form that has a trailer, which is not what is claimed of it, as the SDK would never do.
/// Gives the status and the answer.
async fn put_with_trailer(s3: &Running, claimed_length: &str, announced: &str, trailer: &str) -> (u16, String) {
    let host = s3.address.to_string();
    let headers = [
        ("host", host.as_str()),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", claimed_length),
        ("x-amz-trailer", announced),
    ];
    let url = format!("http://{host}/{BUCKET}/key");
    let body = SignableBody::StreamingUnsignedPayloadTrailer;
    let request = SignableRequest::new("PUT", url, headers.into_iter(), body).unwrap();
    let identity = Credentials::new("access", SECRET, None, None, "tests").into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("s3")
        .time(now())
        .settings(settings);
    let (signed, _) = sign(request, &params.build().unwrap().into()).unwrap().into_parts();

    let body = format!("9\r\n123456789\r\n0\r\n{trailer}\r\n");
    let length = body.len().to_string();
    let headers = headers[1..].iter().copied().chain(signed.headers()).chain([("content-length", length.as_str())]);
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    s3.bare(&format!("PUT /{BUCKET}/key"), &headers, body.as_bytes()).await
}

#[allow(clippy::disallowed_methods, reason = "a signature is of the time at which the server checks it")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[tokio::test]
async fn a_streamed_body_is_checked_by_its_trailer() {
    on_each_store(async |s3| {
        let crc32 = "x-amz-checksum-crc32";
        for (claimed_length, announced, trailer, code) in [
            ("9", crc32, "x-amz-checksum-crc32:AAAAAA==\r\n", "BadDigest"),
            ("9", crc32, "x-amz-checksum-crc32c:4waSgw==\r\n", "BadDigest"),
            ("9", crc32, "", "BadDigest"),
            ("9", "x-amz-checksum-crc3", "x-amz-checksum-crc3:AAAA\r\n", "NotImplemented"),
            ("8", crc32, "x-amz-checksum-crc32:y/Q5Jg==\r\n", "IncompleteBody"),
            ("10", crc32, "x-amz-checksum-crc32:y/Q5Jg==\r\n", "IncompleteBody"),
        ] {
            let (_, response) = put_with_trailer(s3, claimed_length, announced, trailer).await;
            assert!(response.contains(&format!("<Code>{code}</Code>")), "{trailer}: {response}");
        }
        assert_eq!(s3.keys().await, Vec::<String>::new());

        let (status, _) = put_with_trailer(s3, "9", crc32, "x-amz-checksum-crc32:y/Q5Jg==\r\n").await;
        assert_eq!(status, 200);
        assert_eq!(s3.get("key").await, b"123456789");
    })
    .await;
}

#[tokio::test]
async fn the_sdk_streams_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("body");
    std::fs::write(&file, large(1)).unwrap();
    on_each_store(async |s3| {
        s3.put("key", ByteStream::from_path(&file).await.unwrap()).await;
        assert_eq!(s3.get("key").await, large(1));
    })
    .await;
}

#[tokio::test]
async fn only_the_right_secret_is_let_in() {
    on_each_store(async |s3| {
        s3.put("key", large(1)).await;
        let stranger = client(s3.address, "a wrong secret");
        let get = stranger.get_object().bucket(BUCKET).key("key");
        assert_eq!(refusal(get.send().await), refused(403, "SignatureDoesNotMatch"));
        let put = stranger.put_object().bucket(BUCKET).key("other").body(large(2).into());
        assert_eq!(put.send().await.unwrap_err().raw_response().map(|raw| raw.status().as_u16()), Some(403));
        assert_eq!(s3.bare("GET /objects/key", "", b"").await.0, 403);
        assert_eq!(s3.keys().await, ["key"]);
    })
    .await;
}

#[tokio::test]
async fn presigned_urls_need_no_sdk() {
    on_each_store(async |s3| {
        let put = s3.presigned_put("a key/with parts").await;
        assert!(put.contains("X-Amz-SignedHeaders=host&"), "{put}");
        let (status, _) = s3.bare(&format!("PUT {put}"), "content-length: 5\r\n", b"12345").await;
        assert_eq!(status, 200);
        assert_eq!(s3.get("a key/with parts").await, b"12345");

        let get = s3.presigned_get("a key/with parts").await;
        let (status, response) = s3.bare(&format!("GET {get}"), "", b"").await;
        assert_eq!(status, 200);
        assert!(response.ends_with("\r\n\r\n12345"), "{response}");
        let (status, response) = s3.bare(&format!("GET {get}"), "range: bytes=1-2\r\n", b"").await;
        assert_eq!(status, 206);
        assert!(response.ends_with("\r\n\r\n23"), "{response}");

        let (status, _) = s3.bare(&format!("GET {}", get.replace("parts", "other")), "", b"").await;
        assert_eq!(status, 403);
        let (status, _) = s3.bare(&format!("DELETE {get}"), "", b"").await;
        assert_eq!(status, 403);
    })
    .await;
}

#[tokio::test]
async fn a_put_says_how_long_it_is_and_may_not_be_too_long() {
    on_each_store(async |s3| {
        let put = format!("PUT {}", s3.presigned_put("key").await);
        let (status, response) = s3.bare(&put, "content-length: 5368709121\r\n", b"").await;
        assert_eq!(status, 400);
        assert!(response.contains("<Code>EntityTooLarge</Code>"), "{response}");
        let (status, response) = s3.bare(&put, "transfer-encoding: chunked\r\n", b"1\r\nx\r\n0\r\n\r\n").await;
        assert_eq!(status, 411);
        assert!(response.contains("<Code>MissingContentLength</Code>"), "{response}");
        assert_eq!(s3.keys().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn keys_are_names_and_not_paths() {
    on_each_store(async |s3| {
        let mut keys = vec![
            "a",
            "A",
            "a/b",
            "a/b/",
            "a//b",
            "a/../b",
            "../../outside",
            "..",
            ".",
            "%2F",
            "a b+c",
            "\u{e4}/\u{fc}",
            "a?b#c",
        ];
        for key in &keys {
            s3.put(key, key.as_bytes().to_vec()).await;
        }
        for key in &keys {
            assert_eq!(s3.get(key).await, key.as_bytes(), "{key}");
        }
        keys.sort_unstable();
        assert_eq!(s3.keys().await, keys);

        let put = s3.client.put_object().bucket(BUCKET).key("a/".repeat(100));
        assert_eq!(refusal(put.send().await), refused(400, "KeyTooLongError"));
        let (_, response) = s3.bare("GET /../outside", "", b"").await;
        assert!(response.contains("<Code>InvalidBucketName</Code>"), "{response}");
    })
    .await;
}

#[tokio::test]
async fn a_list_goes_page_by_page() {
    on_each_store(async |s3| {
        for key in ["before", "in/1", "in/2", "in/3", "in/4", "in/5", "inside", "z"] {
            s3.put(key, key.as_bytes().to_vec()).await;
        }
        let list = || s3.client.list_objects_v2().bucket(BUCKET).prefix("in/");
        let mut pages = list().max_keys(2).into_paginator().send();
        let mut sizes = Vec::new();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            sizes.push(page.contents().len());
            for object in page.contents() {
                assert_eq!(object.size(), Some(4));
                keys.push(object.key().unwrap().to_owned());
            }
        }
        assert_eq!(sizes, [2, 2, 1]);
        assert_eq!(keys, ["in/1", "in/2", "in/3", "in/4", "in/5"]);

        let rest = list().start_after("in/4").send().await.unwrap();
        assert_eq!(rest.key_count(), Some(1));
        let none = list().max_keys(0).send().await.unwrap();
        assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
        assert_eq!(refusal(list().max_keys(-1).send().await), refused(400, "InvalidArgument"));
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_missed_by_name() {
    on_each_store(async |s3| {
        let client = &s3.client;
        client.head_bucket().bucket(BUCKET).send().await.unwrap();
        assert_eq!(refusal(client.head_bucket().bucket("missing").send().await).0, 404);
        let missing_bucket = refused(404, "NoSuchBucket");
        assert_eq!(refusal(client.get_object().bucket("missing").key("key").send().await), missing_bucket);
        assert_eq!(refusal(client.put_object().bucket("missing").key("key").send().await), missing_bucket);
        assert_eq!(refusal(client.delete_object().bucket("missing").key("key").send().await), missing_bucket);
        assert_eq!(refusal(client.list_objects_v2().bucket("missing").send().await), missing_bucket);

        assert_eq!(refusal(client.get_object().bucket(BUCKET).key("key").send().await), refused(404, "NoSuchKey"));
        assert_eq!(refusal(client.head_object().bucket(BUCKET).key("key").send().await).0, 404);

        s3.put("key", large(1)).await;
        for _ in 0..2 {
            client.delete_object().bucket(BUCKET).key("key").send().await.unwrap();
            assert_eq!(refusal(client.get_object().bucket(BUCKET).key("key").send().await), refused(404, "NoSuchKey"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_the_same_object_with_its_sha256() {
    on_each_store(async |s3| {
        for body in [large(3), Vec::new()] {
            let etag = s3.put("key", body.clone()).await;
            let copy = s3.client.copy_object().bucket(BUCKET).key("copy").copy_source("objects/key");
            let copied = copy.copy_source_if_match(&etag).checksum_algorithm(ChecksumAlgorithm::Sha256).send().await;
            let copied = copied.unwrap().copy_object_result.unwrap();
            assert_eq!(copied.checksum_sha256.unwrap(), BASE64_STANDARD.encode(Sha256::digest(&body)));
            assert_eq!(copied.e_tag.unwrap(), etag);
            s3.put("key", large(4)).await;
            assert!(s3.get("copy").await == body, "what becomes of the source does not matter");
        }
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_refused_when_a_condition_of_it_fails() {
    on_each_store(async |s3| {
        let old = s3.put("key", large(1)).await;
        let new = s3.put("key", large(2)).await;
        let copy = || s3.client.copy_object().bucket(BUCKET).key("copy").copy_source("objects/key");
        let failed = refused(412, "PreconditionFailed");
        assert_eq!(refusal(copy().copy_source_if_match(old).send().await), failed);
        assert_eq!(refusal(copy().copy_source("objects/none").send().await), refused(404, "NoSuchKey"));
        assert_eq!(s3.keys().await, ["key"]);
        copy().copy_source_if_match(&new).if_none_match("*").send().await.unwrap();
        s3.put("key", large(3)).await;
        assert_eq!(refusal(copy().if_none_match("*").send().await), failed);
        assert!(s3.get("copy").await == large(2));
    })
    .await;
}

#[tokio::test]
async fn a_delete_may_be_of_one_version_only() {
    on_each_store(async |s3| {
        let old = s3.put("key", large(1)).await;
        let new = s3.put("key", large(2)).await;
        let delete = |etag: &str| s3.client.delete_object().bucket(BUCKET).key("key").if_match(etag).send();
        assert_eq!(refusal(delete(&old).await), refused(412, "PreconditionFailed"));
        assert!(s3.get("key").await == large(2));
        delete(&new).await.unwrap();
        assert!(s3.keys().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_presigned_url_gives_no_right_but_to_its_own_key_and_operation() {
    on_each_store(async |s3| {
        s3.put("secret", large(1)).await;
        let put = format!("PUT {}", s3.presigned_put("key").await);
        for header in ["x-amz-copy-source: /objects/secret", "x-amz-acl: public-read", "X-Amz-Meta-A: b"] {
            let (status, answer) = s3.bare(&put, &format!("{header}\r\ncontent-length: 0\r\n"), b"").await;
            assert_eq!((status, answer.contains("AccessDenied")), (403, true), "{header}: {answer}");
        }
        assert_eq!(s3.keys().await, ["secret"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_implemented_is_refused() {
    on_each_store(async |s3| {
        let client = &s3.client;
        let etag = s3.put("key", large(1)).await;
        let not_implemented = refused(501, "NotImplemented");
        let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source("objects/key");
        let crc32 = copy.clone().checksum_algorithm(ChecksumAlgorithm::Crc32);
        assert_eq!(refusal(crc32.send().await), not_implemented);
        assert_eq!(refusal(copy.metadata("name", "value").send().await), not_implemented);
        let put = client.put_object().bucket(BUCKET).key("other").metadata("name", "value");
        assert_eq!(refusal(put.send().await), not_implemented);
        let put = client.put_object().bucket(BUCKET).key("other").cache_control("no-store");
        assert_eq!(refusal(put.send().await), not_implemented);
        let put = client.put_object().bucket(BUCKET).key("other").if_none_match(&etag);
        assert_eq!(refusal(put.send().await), not_implemented);
        let delete = client.delete_object().bucket(BUCKET).key("key").if_match_size(1);
        assert_eq!(refusal(delete.send().await), not_implemented);
        let list = client.list_objects_v2().bucket(BUCKET).delimiter("/");
        assert_eq!(refusal(list.send().await), not_implemented);

        let form = "--x\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nform\r\n\
                    --x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbody\r\n--x--\r\n";
        let headers = format!("content-type: multipart/form-data; boundary=x\r\ncontent-length: {}\r\n", form.len());
        assert_eq!(s3.bare("POST /objects", &headers, form.as_bytes()).await.0, 400);
        assert_eq!(s3.keys().await, ["key"]);
    })
    .await;
}

#[tokio::test]
async fn a_read_that_has_begun_ends_with_the_same_object() {
    on_each_store(async |s3| {
        // More than the sockets between can hold, so that the server still has most of it to read.
        let old = vec![b'o'; 16 * 1024 * 1024];
        s3.put("key", old.clone()).await;
        let got = s3.client.get_object().bucket(BUCKET).key("key").send().await.unwrap();
        s3.put("key", large(b'n')).await;
        assert!(got.body.collect().await.unwrap().to_vec() == old);
        assert!(s3.get("key").await == large(b'n'));
    })
    .await;
}

#[tokio::test]
async fn a_read_amid_overwrites_is_wholly_one_of_them() {
    on_each_store(async |s3| {
        s3.put("key", large(0)).await;
        let overwrites = async {
            for fill in 1..10 {
                s3.put("key", large(fill)).await;
            }
        };
        let reads = async {
            for _ in 0..20 {
                let body = s3.get("key").await;
                let fills: BTreeSet<u8> = body.iter().copied().collect();
                assert_eq!((body.len(), fills.len()), (700_000, 1));
            }
        };
        tokio::join!(overwrites, reads);
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_broken_off_leaves_nothing() {
    on_each_store(async |s3| {
        let put = format!("PUT {}", s3.presigned_put("key").await);
        let mut stream = TcpStream::connect(s3.address).await.unwrap();
        let head = s3.head(&put, "content-length: 1400000\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&large(1)).await.unwrap();
        drop(stream);
        assert_eq!(s3.keys().await, Vec::<String>::new());
        // That `incoming` is empty is checked behind every test, when the server has stopped.
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_lets_what_is_in_flight_finish() {
    let s3 = Running::start(EmbeddedS3::memory(Ambient::system())).await;
    let put = format!("PUT {}", s3.presigned_put("key").await);
    let mut stream = TcpStream::connect(s3.address).await.unwrap();
    let head = s3.head(&put, "content-length: 5\r\nexpect: 100-continue\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Once it asks for the body, the server is at work on the request.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");

    s3.stop.send(()).unwrap();
    stream.write_all(b"12345").await.unwrap();
    assert_eq!(read_response(&mut stream).await.0, 200);
    drop(s3.client);
    s3.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_on_disk_is_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = Running::open(dir.path()).await;
    s3.put("one/two", large(1)).await;
    let before = s3.client.head_object().bucket(BUCKET).key("one/two").send().await.unwrap();
    s3.stop().await;

    // What a process that was killed may leave, and what strangers may.
    std::fs::write(dir.path().join("incoming/.tmpLeft"), "half a bo").unwrap();
    std::fs::write(dir.path().join("buckets/objects/lost+found"), "not an object").unwrap();

    let s3 = Running::open(dir.path()).await;
    let after = s3.client.head_object().bucket(BUCKET).key("one/two").send().await.unwrap();
    assert_eq!(after.e_tag(), before.e_tag());
    assert_eq!(after.content_length(), before.content_length());
    assert_eq!(after.last_modified(), before.last_modified());
    assert_eq!(s3.get("one/two").await, large(1));
    assert_eq!(s3.keys().await, ["one/two"]);
    assert_eq!(files_in(&dir.path().join("incoming")), Vec::<String>::new());
    let again = s3.client.put_object().bucket(BUCKET).key("one/two").if_none_match("*");
    assert_eq!(refusal(again.send().await), refused(412, "PreconditionFailed"));
    s3.stop().await;
}

#[tokio::test]
async fn damage_on_disk_does_not_pass_for_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = Running::open(dir.path()).await;
    s3.put("rotten", large(1)).await;
    s3.put("cut", large(1)).await;
    let bucket = dir.path().join("buckets/objects");

    let mut rotten = std::fs::read(bucket.join("rotten")).unwrap();
    rotten[300_000] ^= 1;
    std::fs::write(bucket.join("rotten"), rotten).unwrap();
    let got = s3.client.get_object().bucket(BUCKET).key("rotten").send().await.unwrap();
    assert!(got.body.collect().await.is_err(), "the SDK checks the checksum that was kept");

    // What is left of a file is listed and can be read, and does not pass for the whole.
    let cut = std::fs::read(bucket.join("cut")).unwrap();
    for left in [300_000, 20, 0] {
        std::fs::write(bucket.join("cut"), &cut[..left]).unwrap();
        let listed = s3.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        let sizes: Vec<_> = listed.contents().iter().map(|object| (object.key().unwrap(), object.size())).collect();
        let whole = i64::try_from(large(1).len()).unwrap();
        assert_eq!(sizes, [("cut", i64::try_from(left).ok()), ("rotten", Some(whole))]);
        let got = s3.client.get_object().bucket(BUCKET).key("cut").send().await.unwrap();
        assert!(got.body.collect().await.is_err(), "the SDK checks the checksum");
        let range = |range: &str| s3.client.get_object().bucket(BUCKET).key("cut").range(range).send();
        assert_eq!(refusal(range("bytes=300000-").await), refused(416, "InvalidRange"));
    }
    let got = s3.client.get_object().bucket(BUCKET).key("rotten").range("bytes=0-9").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().len(), 10);
    s3.stop().await;
}

/// A presigned URL's path, and a door to a store, for this number of clients.
async fn door(places: usize) -> (StorageDoor, Running, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedS3::open(dir.path()).unwrap();
    let door = store.door(BUCKET, ("access".to_owned(), SECRET.to_owned()), places);
    (door, Running::start(store).await, dir)
}

/// A put to a door, of a body that may go on for ever.
fn put_to_door<B>(s3: &Running, path: &str, body: B) -> Request<B> {
    Request::put(path).header("host", s3.address.to_string()).body(body).unwrap()
}

/// A body of a megabyte, of which some bytes come at each pause.
fn trickle(bytes: usize, seconds: u64) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let pieces = futures_util::stream::unfold(1 << 20, move |left: usize| async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let piece = Bytes::from(vec![7; bytes.min(left)]);
        (left > 0).then(|| (Ok::<_, Infallible>(Frame::data(piece)), left - bytes.min(left)))
    });
    WithLength(StreamBody::new(Box::pin(pieces)))
}

/// A body that says that it has a megabyte.
struct WithLength<B>(B);

impl<B: Body + Unpin> Body for WithLength<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1 << 20)
    }
}

#[tokio::test]
async fn a_put_that_stalls_or_outlives_its_url_gives_its_place_to_another_client() {
    let (door, s3, _dir) = door(4).await;
    // The share of one address.
    let (us, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let put = s3.client.put_object().bucket(BUCKET).key("slow");
    let an_hour = PresigningConfig::expires_in(Duration::from_secs(3_600)).unwrap();
    let long = s3.path_of(put.presigned(an_hour).await.unwrap().uri());
    let path = s3.presigned_put("slow").await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    // Nothing; next to nothing; and fast enough, for longer than the URL is good.
    let stalled: Vec<_> = [(&long, 1, 10_000), (&long, 1, 20), (&path, 70 << 10, 25)]
        .into_iter()
        .map(|(path, bytes, seconds)| {
            let (door, request) = (door.clone(), put_to_door(&s3, path, trickle(bytes, seconds)));
            tokio::spawn(async move { door.answer(request, us).await.map(|answer| answer.status().as_u16()) })
        })
        .collect();
    // Each takes its place before it waits for anything.
    tokio::task::yield_now().await;
    assert!(door.answer(put_to_door(&s3, &path, trickle(1 << 20, 0)), us).await.is_err());
    let others = door.answer(put_to_door(&s3, &path, trickle(1 << 20, 0)), other).await.unwrap();
    assert_eq!(others.status().as_u16(), 200, "one address has no more than a share of the places");
    drop(others);
    for stalled in stalled {
        assert_eq!(stalled.await.unwrap().unwrap(), 400);
    }
    // The URL was good for a minute.
    assert!(began.elapsed() <= Duration::from_secs(150), "{:?}", began.elapsed());
    let again = door.answer(put_to_door(&s3, &path, trickle(1 << 20, 0)), us).await.unwrap();
    assert_eq!(again.status().as_u16(), 200);
    tokio::time::resume();
}
