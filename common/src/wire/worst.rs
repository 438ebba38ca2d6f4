//! What the worst body costs: how much memory and how much processor time decoding takes if one field holds the value that is
//! largest when decoded.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

use super::Encoding;
use super::release::PostedRelease;
use super::request::{
    FetchRequest, FilterObjectsRequest, IdentityRequest, NegotiateRequest, PresignRequest, PurgeRequest,
    PushObjectsRequest, PushRequest, RepoChanges, RepoRequest, TagsRequest, WebhookRequest,
};

/// Bytes of a body.
const BODY: usize = 256 << 10;
/// Bytes of memory that decoding may take for each byte of it: a number has one byte, and as a value it has 32, or three times
/// as many while its list grows. Of a larger body it is less, for a commit or a release has a million values at most, and one
/// is decoded at a time.
const FOR_EACH_BYTE: u64 = 112;

/// How often the processor could hash a body with SHA-256 while it decodes it. It is some 600 times without optimisation, where
/// the processor has instructions for the hash; all else is less.
const OF_A_HASH: u32 = 3_000;

/// What stands in a body for the field that is looked at.
const FIELD: &str = "\"@@@@\"";

/// Whether a body is taken.
type Decode = fn(Encoding, &[u8]) -> bool;

/// Bodies by endpoint. In each of them every field is filled once.
const BODIES: [(Decode, &[&str]); 13] = [
    (
        |encoding, body| encoding.decode::<PushRequest<'_>>(body).is_ok(),
        &[
            r#"{"bundle": "@@@@", "branch": "main"}"#,
            r#"{"bundle": {}, "branch": "@@@@"}"#,
            r#"{"bundle": {}, "branch": "main", "force": "@@@@"}"#,
            r#"{"bundle": {}, "branch": "main", "expected_head": "@@@@"}"#,
            r#"{"bundle": {}, "branch": "main", "purged": "@@@@"}"#,
            r#"{"bundle": {}, "branch": "main", "unknown": "@@@@"}"#,
            r#"{"bundle": {"unknown": "@@@@"}, "branch": "main"}"#,
            r#"{"bundle": {"branch_heads": "@@@@"}, "branch": "main"}"#,
            r#"{"bundle": {"commits": "@@@@"}, "branch": "main"}"#,
            r#"{"bundle": {"commits": [{"commit_id": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"commits": [{"commit_id": "c", "message": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"commits": [{"commit_id": "c", "metadata": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"commits": [{"commit_id": "c", "structured_delta": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"commits": [{"commit_id": "c", "unknown": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"snapshots": "@@@@"}, "branch": "main"}"#,
            r#"{"bundle": {"snapshots": [{"snapshot_id": "s", "manifest": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"snapshots": [{"snapshot_id": "s", "manifest": {}, "unknown": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"objects": "@@@@"}, "branch": "main"}"#,
            r#"{"bundle": {"objects": [{"object_id": "o", "content": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"objects": [{"object_id": "o", "content_b64": "@@@@"}]}, "branch": "main"}"#,
            r#"{"bundle": {"objects": [{"object_id": "o", "path": "@@@@"}]}, "branch": "main"}"#,
        ],
    ),
    (
        |encoding, body| encoding.decode::<PushObjectsRequest<'_>>(body).is_ok(),
        &[r#"{"objects": "@@@@"}"#, r#"{"objects": [{"object_id": "o", "content": "@@@@"}]}"#],
    ),
    (
        |encoding, body| encoding.decode::<FetchRequest<'_>>(body).is_ok(),
        &[
            r#"{"want": "@@@@"}"#,
            r#"{"want": [], "have": "@@@@"}"#,
            r#"{"want": [], "branches": "@@@@"}"#,
            r#"{"want": [], "depth": "@@@@"}"#,
            r#"{"want": [], "filter": "@@@@"}"#,
            r#"{"want": [], "unknown": "@@@@"}"#,
        ],
    ),
    (
        |encoding, body| encoding.decode::<NegotiateRequest<'_>>(body).is_ok(),
        &[r#"{"want": "@@@@"}"#, r#"{"want": [], "have": "@@@@"}"#],
    ),
    (|encoding, body| encoding.decode::<FilterObjectsRequest>(body).is_ok(), &[r#"{"object_ids": "@@@@"}"#]),
    (
        |encoding, body| encoding.decode::<PresignRequest<'_>>(body).is_ok(),
        &[
            r#"{"object_ids": "@@@@", "direction": "put"}"#,
            r#"{"object_ids": [], "direction": "@@@@"}"#,
            r#"{"object_ids": [], "direction": "put", "ttl_seconds": "@@@@"}"#,
        ],
    ),
    (
        |encoding, body| encoding.decode::<TagsRequest<'_>>(body).is_ok(),
        &[
            r#"{"tags": "@@@@"}"#,
            r#"{"tags": [{"tag": "@@@@", "commit_id": "c"}]}"#,
            r#"{"tags": [{"tag": "t", "commit_id": "@@@@"}]}"#,
            r#"{"tags": [{"tag": "t", "commit_id": "c", "tag_id": "@@@@"}]}"#,
            r#"{"tags": [{"tag": "t", "commit_id": "c", "unknown": "@@@@"}]}"#,
        ],
    ),
    (
        |encoding, body| encoding.decode::<PostedRelease>(body).is_ok(),
        &[
            r#"{"tag": "t", "commit_id": "c", "body": "@@@@"}"#,
            r#"{"tag": "t", "commit_id": "c", "semver": "@@@@"}"#,
            r#"{"tag": "t", "commit_id": "c", "changelog": "@@@@"}"#,
            r#"{"tag": "t", "commit_id": "c", "unknown": "@@@@"}"#,
        ],
    ),
    (
        |encoding, body| encoding.decode::<PurgeRequest<'_>>(body).is_ok(),
        &[r#"{"objects": "@@@@"}"#, r#"{"objects": [], "reason": "@@@@"}"#],
    ),
    (
        |encoding, body| encoding.decode::<WebhookRequest<'_>>(body).is_ok(),
        &[r#"{"url": "@@@@"}"#, r#"{"url": "u", "events": "@@@@"}"#, r#"{"url": "u", "secret": "@@@@"}"#],
    ),
    (
        |encoding, body| encoding.decode::<IdentityRequest<'_>>(body).is_ok(),
        &[r#"{"handle": "@@@@"}"#, r#"{"handle": "h", "display_name": "@@@@"}"#],
    ),
    (
        |encoding, body| encoding.decode::<RepoRequest<'_>>(body).is_ok(),
        &[r#"{"name": "@@@@"}"#, r#"{"name": "n", "description": "@@@@"}"#, r#"{"name": "n", "unknown": "@@@@"}"#],
    ),
    (
        |encoding, body| encoding.decode::<RepoChanges<'_>>(body).is_ok(),
        &[r#"{"description": "@@@@"}"#, r#"{"is_private": "@@@@"}"#],
    ),
];

/// What is put into a field: one thing again and again, with what is before and behind it; in JSON and in msgpack.
struct Filling {
    name: &'static str,
    json: [&'static str; 3],
    msgpack: [&'static [u8]; 2],
    /// How msgpack begins what holds them.
    marker: u8,
}

const FILLINGS: [Filling; 10] = [
    Filling { name: "numbers", json: ["[", "1,", "1]"], msgpack: [&[1], &[1]], marker: 0xdd },
    Filling { name: "nulls", json: ["[", "null,", "1]"], msgpack: [&[0xc0], &[1]], marker: 0xdd },
    Filling { name: "lists", json: ["[", "[],", "1]"], msgpack: [&[0x90], &[1]], marker: 0xdd },
    Filling { name: "maps", json: ["[", "{},", "1]"], msgpack: [&[0x80], &[1]], marker: 0xdd },
    Filling { name: "texts", json: ["[", "\"\",", "1]"], msgpack: [&[0xa0], &[1]], marker: 0xdd },
    Filling { name: "lists of one", json: ["[", "[1],", "1]"], msgpack: [&[0x91, 1], &[1]], marker: 0xdd },
    Filling { name: "maps of one", json: ["[", "{\"\":1},", "1]"], msgpack: [&[0x81, 0xa0, 1], &[1]], marker: 0xdd },
    Filling { name: "numbers and no value", json: ["[", "1,", "!]"], msgpack: [&[1], &[0xc1]], marker: 0xdd },
    Filling { name: "maps and no value", json: ["[", "{},", "!]"], msgpack: [&[0x80], &[0xc1]], marker: 0xdd },
    Filling { name: "a text", json: ["\"", "\\u0001", "\""], msgpack: [&[1], &[1]], marker: 0xdb },
];

impl Filling {
    fn json(&self) -> String {
        let [start, each, end] = self.json;
        format!("{start}{}{end}", each.repeat(BODY / each.len()))
    }

    fn msgpack(&self) -> Vec<u8> {
        let [each, last] = self.msgpack;
        let count = (BODY / each.len()) as u32;
        let mut filling = vec![self.marker];
        filling.extend_from_slice(&(count + 1).to_be_bytes());
        filling.extend_from_slice(&each.repeat(count as usize));
        filling.extend_from_slice(last);
        filling
    }
}

/// A map with as many different keys as fit.
fn map() -> (String, Vec<u8>) {
    let count = BODY / 12;
    let entries: Vec<String> = (0..count).map(|number| format!("\"{number:06x}\":1")).collect();
    let mut msgpack = vec![0xdf];
    msgpack.extend_from_slice(&(count as u32).to_be_bytes());
    for number in 0..count {
        msgpack.push(0xa6);
        msgpack.extend_from_slice(format!("{number:06x}").as_bytes());
        msgpack.push(1);
    }
    (format!("{{{}}}", entries.join(",")), msgpack)
}

/// Looks at each field filled with each thing, in both encodings.
fn each_worst(mut look: impl FnMut(Decode, Encoding, &[u8], &str)) {
    let mut fillings: Vec<(&str, String, Vec<u8>)> =
        FILLINGS.iter().map(|filling| (filling.name, filling.json(), filling.msgpack())).collect();
    let (json, msgpack) = map();
    fillings.push(("a map", json, msgpack));
    for (decode, bodies) in BODIES {
        for body in bodies {
            let (before, behind) = body.split_once(FIELD).unwrap();
            let outline = rmp_serde::to_vec(&serde_json::from_str::<serde_json::Value>(body).unwrap()).unwrap();
            let at = outline.windows(5).position(|window| window == b"\xa4@@@@").unwrap();
            for (name, json, msgpack) in &fillings {
                let json = format!("{before}{json}{behind}").into_bytes();
                let msgpack = [&outline[..at], msgpack, &outline[at + 5..]].concat();
                for (encoding, body_of) in [(Encoding::Json, json), (Encoding::Msgpack, msgpack)] {
                    look(decode, encoding, &body_of, &format!("{body} filled with {name} in {encoding:?}"));
                }
            }
        }
    }
}

#[test]
fn no_field_takes_much_more_memory_than_its_bytes() {
    let mut worst = (0, String::new());
    each_worst(|decode, encoding, body, what| {
        let measured = allocation_counter::measure(|| {
            black_box(decode(encoding, body));
        });
        if measured.bytes_max > worst.0 {
            worst = (measured.bytes_max, what.to_owned());
        }
    });
    let most = FOR_EACH_BYTE * BODY as u64;
    assert!(worst.0 > BODY as u64, "nothing was measured: {worst:?}");
    assert!(worst.0 <= most, "{} bytes, where {most} may be, for {}", worst.0, worst.1);
}

/// The processor's time that this thread takes for something, which says nothing of what else the machine does.
fn processor_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
    };
    let before = now();
    work();
    now() - before
}

/// The least that something took, of as many runs as are needed to see that it is no more than `enough`, or of five.
fn least_of_several(enough: Duration, mut work: impl FnMut()) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..5 {
        least = least.min(processor_time(&mut work));
        if least <= enough {
            break;
        }
    }
    least
}

#[test]
fn no_field_takes_much_more_of_a_processor_than_its_bytes() {
    let mut worst = (0, String::new());
    each_worst(|decode, encoding, body, what| {
        let hash = least_of_several(Duration::ZERO, || {
            black_box(Sha256::digest(body));
        });
        let most = hash * OF_A_HASH;
        let decoding = least_of_several(most / 2, || {
            black_box(decode(encoding, body));
        });
        let hashes = decoding.as_nanos() / hash.as_nanos().max(1);
        if hashes > worst.0 {
            worst = (hashes, format!("{what}: {decoding:?}, where its hash takes {hash:?}"));
        }
    });
    assert!(worst.0 > 1, "nothing was measured: {worst:?}");
    assert!(worst.0 <= u128::from(OF_A_HASH), "{} hashes for {}", worst.0, worst.1);
}

/// A push of values in a field that no hub knows, of which the last may be none.
fn long_list(is_faulty: bool) -> Vec<u8> {
    let count: u32 = 6 << 20;
    let mut body = rmp_serde::to_vec(&serde_json::json!({"bundle": {}, "branch": "main"})).unwrap();
    body[0] += 1;
    body.extend_from_slice(b"\xa7unknown\xdd");
    body.extend_from_slice(&count.to_be_bytes());
    body.resize(body.len() + count as usize, 1);
    if is_faulty {
        *body.last_mut().unwrap() = 0xc1;
    }
    body
}

#[test]
fn a_large_body_is_read_once_however_late_its_fault_is() {
    let time = |is_faulty: bool| {
        let body = long_list(is_faulty);
        least_of_several(Duration::ZERO, || {
            assert_eq!(Encoding::Msgpack.decode::<PushRequest<'_>>(&body).is_ok(), !is_faulty);
        })
    };
    let (good, faulty) = (time(false), time(true));
    assert!(faulty <= good * 3 / 2, "{faulty:?}, where the same without a fault takes {good:?}");
}

/// A push with two million entries in a field of its bundle.
fn long_map(field: &str) -> Vec<u8> {
    let count: u32 = 2_000_000;
    let mut body = rmp_serde::to_vec(&serde_json::json!({"branch": "main", "bundle": {field: 0}})).unwrap();
    assert_eq!(body.pop(), Some(0));
    body.push(0xdf);
    body.extend_from_slice(&count.to_be_bytes());
    for number in 0..count {
        let digits = [14, 7, 0].map(|shift| (number >> shift) as u8 & 0x7f);
        body.push(0xa3);
        body.extend_from_slice(&digits);
        body.push(0xa0);
    }
    body
}

#[test]
fn millions_of_heads_are_counted_and_not_kept() {
    let (heads, unknown) = (long_map("branch_heads"), long_map("other_heads_"));
    let decode = |body: &[u8]| {
        Encoding::Msgpack
            .decode::<PushRequest<'_>>(body)
            .is_ok_and(|push| push.bundle.branch_heads.is_none_or(|heads| heads.within("branch_heads").is_ok()))
    };
    let measured = allocation_counter::measure(|| assert!(!decode(&heads), "they are too many"));
    assert!(measured.bytes_max < 4 << 20, "{} bytes", measured.bytes_max);
    let time = |body: &[u8]| {
        least_of_several(Duration::ZERO, || {
            black_box(decode(body));
        })
    };
    let (counting, skipping) = (time(&heads), time(&unknown));
    assert!(counting <= skipping * 2, "{counting:?}, where a field that is skipped takes {skipping:?}");
}
