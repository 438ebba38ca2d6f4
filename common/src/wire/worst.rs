//! What the worst body costs: how much memory decoding takes if one field holds the value that is largest when decoded.

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

const FILLINGS: [Filling; 8] = [
    Filling { name: "numbers", json: ["[", "1,", "1]"], msgpack: [&[1], &[1]], marker: 0xdd },
    Filling { name: "nulls", json: ["[", "null,", "1]"], msgpack: [&[0xc0], &[1]], marker: 0xdd },
    Filling { name: "lists", json: ["[", "[],", "1]"], msgpack: [&[0x90], &[1]], marker: 0xdd },
    Filling { name: "maps", json: ["[", "{},", "1]"], msgpack: [&[0x80], &[1]], marker: 0xdd },
    Filling { name: "texts", json: ["[", "\"\",", "1]"], msgpack: [&[0xa0], &[1]], marker: 0xdd },
    Filling { name: "lists of one", json: ["[", "[1],", "1]"], msgpack: [&[0x91, 1], &[1]], marker: 0xdd },
    Filling { name: "maps of one", json: ["[", "{\"\":1},", "1]"], msgpack: [&[0x81, 0xa0, 1], &[1]], marker: 0xdd },
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

#[test]
fn no_field_takes_much_more_memory_than_its_bytes() {
    let mut fillings: Vec<(&str, String, Vec<u8>)> =
        FILLINGS.iter().map(|filling| (filling.name, filling.json(), filling.msgpack())).collect();
    let (json, msgpack) = map();
    fillings.push(("a map", json, msgpack));
    let mut worst = (0, String::new());
    for (decode, bodies) in BODIES {
        for body in bodies {
            let (before, behind) = body.split_once(FIELD).unwrap();
            let outline = rmp_serde::to_vec(&serde_json::from_str::<serde_json::Value>(body).unwrap()).unwrap();
            let at = outline.windows(5).position(|window| window == b"\xa4@@@@").unwrap();
            for (name, json, msgpack) in &fillings {
                let json = format!("{before}{json}{behind}").into_bytes();
                let msgpack = [&outline[..at], msgpack, &outline[at + 5..]].concat();
                for (encoding, body_of) in [(Encoding::Json, json), (Encoding::Msgpack, msgpack)] {
                    let measured = allocation_counter::measure(|| {
                        std::hint::black_box(decode(encoding, &body_of));
                    });
                    let taken = measured.bytes_max;
                    if taken > worst.0 {
                        worst = (taken, format!("{body} filled with {name} in {encoding:?}"));
                    }
                }
            }
        }
    }
    let most = FOR_EACH_BYTE * BODY as u64;
    assert!(worst.0 > BODY as u64, "nothing was measured: {worst:?}");
    assert!(worst.0 <= most, "{} bytes, where {most} may be, for {}", worst.0, worst.1);
}
