//! The bodies of all requests, in both encodings.
//!
//! A body is taken in one encoding exactly if it is taken in the other, and means the same; it is decoded in memory that its
//! length bounds; and a refusal says what is wrong.

use common::wire::release::PostedRelease;
use common::wire::request::{
    FetchRequest, FilterObjectsRequest, IdentityRequest, NegotiateRequest, PresignRequest, PurgeRequest,
    PushObjectsRequest, PushRequest, RepoChanges, RepoRequest, TagsRequest, WebhookRequest,
};
use common::wire::value::Value;
use common::wire::{Encoding, WireError};
use serde_json::json;

use crate::{grown, refusal};

/// Bytes of memory for each byte of a body: see `common::wire::worst`.
const FOR_EACH_BYTE: u64 = 112;
/// And beside those, for messages, and for lists in each other that say they are long.
const FOR_ANY: u64 = 1 << 20;

/// What a body says, or why it is refused.
type Decode = fn(Encoding, &[u8]) -> Result<String, WireError>;

/// All requests that have a body.
const REQUESTS: [(&str, Decode); 13] = [
    ("push", |encoding, body| {
        encoding.decode::<PushRequest<'_>>(body).map(|mut request| {
            // Maps are shown in any order.
            let heads =
                request.bundle.branch_heads.take().map(|heads| heads.within("branch_heads").unwrap_or_default());
            let mut heads: Vec<_> = heads.into_iter().flatten().collect();
            heads.sort();
            format!("{request:?} {heads:?}")
        })
    }),
    ("push/objects", |encoding, body| encoding.decode::<PushObjectsRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("fetch", |encoding, body| encoding.decode::<FetchRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("negotiate", |encoding, body| encoding.decode::<NegotiateRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("filter-objects", |encoding, body| encoding.decode::<FilterObjectsRequest>(body).map(|it| format!("{it:?}"))),
    ("presign", |encoding, body| encoding.decode::<PresignRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("tags", |encoding, body| encoding.decode::<TagsRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("releases", |encoding, body| encoding.decode::<PostedRelease>(body).map(|it| format!("{it:?}"))),
    ("purge", |encoding, body| encoding.decode::<PurgeRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("webhooks", |encoding, body| encoding.decode::<WebhookRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("identities", |encoding, body| encoding.decode::<IdentityRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("repos", |encoding, body| encoding.decode::<RepoRequest<'_>>(body).map(|it| format!("{it:?}"))),
    ("repo changes", |encoding, body| encoding.decode::<RepoChanges<'_>>(body).map(|it| format!("{it:?}"))),
];

/// Panics if these bytes, as the body of some request, break a promise.
pub fn check(body: &[u8]) {
    for (encoding, other) in [(Encoding::Json, Encoding::Msgpack), (Encoding::Msgpack, Encoding::Json)] {
        // The same in the other encoding, where that can say it.
        let value = encoding.decode::<Value>(body).ok().filter(is_sayable);
        let translated = value.map(|value| other.encode(&value).expect("a value can be written"));
        for (name, decode) in REQUESTS {
            let (memory, decoded) = grown(|| decode(encoding, body).map_err(|error| (error.to_string(), error)));
            // What it says is as long as its bytes shown as numbers are.
            let most = FOR_EACH_BYTE * body.len() as u64 + FOR_ANY;
            assert!(memory <= most, "{name}, {encoding:?}: {memory} bytes of memory for {} of a body", body.len());
            match decoded {
                Ok(meaning) => {
                    let Some(translated) = &translated else {
                        continue;
                    };
                    match decode(other, translated) {
                        Ok(again) => assert_eq!(meaning, again, "{name}, {encoding:?} and {other:?}"),
                        Err(error) => panic!("{name} is taken in {encoding:?}, and in {other:?} not: {error}"),
                    }
                }
                Err((_, error)) => refusal::check(&error),
            }
        }
    }
}

/// Whether both encodings can say a value: JSON has no bytes, no keys but text, and only finite numbers.
fn is_sayable(value: &Value) -> bool {
    match value {
        Value::Bytes(_) => false,
        Value::Float(number) => number.is_finite(),
        Value::List(items) => items.iter().all(is_sayable),
        Value::Map(entries) => entries.iter().all(|(key, value)| key.as_text().is_some() && is_sayable(value)),
        Value::Nil | Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) | Value::Text(_) => true,
    }
}

/// One body for each request, in both encodings.
pub fn seeds() -> Vec<Vec<u8>> {
    let id = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
    let bodies = [
        json!({
            "bundle": {
                "commits": [{
                    "commit_id": id, "branch": "main", "snapshot_id": "s", "message": "ü\n", "parent_commit_id": "p",
                    "metadata": {"a": "b"}, "structured_delta": {"domain": "midi", "x": [1, -2, 0.5, null, true]},
                    "breaking_changes": ["x"], "test_runs": 7, "unknown": {"": []},
                }],
                "snapshots": [{"snapshot_id": "s", "manifest": {"a/b.txt": id}, "created_at": "2026-01-01T00:00:00Z"}],
                "objects": [{"object_id": id, "content_b64": "Yg==", "path": "a/b.txt"}],
                "branch_heads": {"main": id, "other": null},
            },
            "branch": "main", "force": true, "expected_head": "", "purged": [id],
        }),
        json!({"objects": [{"object_id": format!("sha256:{id}"), "content": "Yg"}]}),
        json!({"want": [id], "have": ["c", "not an id!"], "branches": ["main"], "depth": 3, "filter": "objects:none"}),
        json!({"want": [id], "have": []}),
        json!({"object_ids": [id], "direction": "put", "ttl_seconds": 300}),
        json!({"tags": [{"tag": "v1", "commit_id": id, "tag_id": "t", "repo_id": "r", "created_at": null}]}),
        json!({"tag": "v1.0.0", "commit_id": id, "semver": {"major": 1}, "changelog": [{}], "is_draft": true}),
        json!({"objects": [id], "reason": "a secret"}),
        json!({"url": "https://example.com/hook", "events": ["push"], "secret": "whsec_"}),
        json!({"handle": "ada", "display_name": "Ada"}),
        json!({"name": "Song", "is_private": true, "description": "", "domain": "midi", "default_branch": "main"}),
        json!({"visibility": "private", "default_branch": "dev"}),
        json!({"objects": [{"object_id": "o", "content": 18_446_744_073_709_551_615_u64, "path": -1}]}),
    ];
    let mut seeds = Vec::new();
    for body in bodies {
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            seeds.push(encoding.encode(&body).expect("a value can be written"));
        }
    }
    // Numbers at the ends of what is kept, and escapes.
    seeds.push(
        br#"{"commit_id":"c","x":[18446744073709551616,-9223372036854775809,1e308,"\ud83c\udfb5\u0000"]}"#.to_vec(),
    );
    seeds
}
