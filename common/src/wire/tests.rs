use std::borrow::Cow;
use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::branches::*;
use super::commit::Commit;
use super::error::ErrorResponse;
use super::record::{Object, Snapshot};
use super::release::PostedRelease;
use super::request::*;
use super::value::Value;
use super::{Encoding, Sent, Text, WireError};
use crate::id::{CommitId, Label, ObjectId};

/// Computed with Python's hashlib, as clients compute them.
const B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

fn both(value: &impl Serialize) -> [(Encoding, Vec<u8>); 2] {
    [Encoding::Json, Encoding::Msgpack].map(|encoding| (encoding, encoding.encode(value).unwrap()))
}

fn refused<'a, T: serde::Deserialize<'a>>(encoding: Encoding, body: &'a [u8]) -> WireError {
    match encoding.decode::<T>(body) {
        Err(error) => error,
        Ok(_) => panic!("{encoding:?} took {body:?}"),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Unsigned),
        (i64::MIN..0).prop_map(Value::Signed),
        prop::num::f64::NORMAL.prop_map(Value::Float),
        ".*".prop_map(|text| Value::Text(text.into())),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec((".*", inner), 0..8).prop_map(|entries| {
                Value::Map(entries.into_iter().map(|(key, value)| (Value::Text(key.into()), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back_as_it_came(value in value()) {
        for (encoding, body) in both(&value) {
            prop_assert_eq!(&encoding.decode::<Value>(&body).unwrap(), &value, "{:?}", encoding);
        }
    }

    #[test]
    fn a_commit_is_the_same_in_both_encodings(delta in value(), extra in value(), message in ".*") {
        let commit = Value::Map(vec![
            (Value::Text("commit_id".into()), Value::Text("c".into())),
            (Value::Text("message".into()), Value::Text(message.into())),
            (Value::Text("structured_delta".into()), delta),
            (Value::Text("something_new".into()), extra),
        ]);
        let [json, msgpack] = both(&commit).map(|(encoding, body)| encoding.decode::<Commit>(&body).unwrap());
        prop_assert_eq!(json.record(), msgpack.record());
        let Value::Map(sent) = commit else { unreachable!() };
        let Value::Map(kept) = Encoding::Msgpack.decode(json.record()).unwrap() else { unreachable!() };
        prop_assert_eq!(&kept[..sent.len()], &sent[..], "what came stays as it came, in front");
        prop_assert_eq!(kept.len(), sent.len() + 19, "and every absent field has its default");
    }

    #[test]
    fn random_bytes_are_refused_or_read_and_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            let _ = encoding.decode::<PushRequest<'_>>(&body);
            let _ = encoding.decode::<PushObjectsRequest<'_>>(&body);
            let _ = encoding.decode::<FetchRequest<'_>>(&body);
            let _ = encoding.decode::<Value>(&body);
        }
    }

    #[test]
    fn a_body_that_stops_half_way_is_refused_saying_so(cut in any::<prop::sample::Index>()) {
        let request = json!({"want": ["a", "b"], "have": ["c"], "more": {"x": [1, 2, null]}});
        for (encoding, body) in both(&request) {
            let cut = cut.index(body.len());
            let WireError::MalformedBody(detail) = refused::<FetchRequest<'_>>(encoding, &body[..cut]) else {
                panic!("not a malformed body");
            };
            prop_assert!(detail.contains("EOF") || detail.contains("too early"), "{}", detail);
        }
    }
}

/// Asserts that what one side writes the other reads, in both encodings.
macro_rules! assert_both_ways {
    ($($name:ident { $($fields:tt)* })*) => {
        $(let sent = $name { $($fields)* };
        for (encoding, body) in both(&sent) {
            let read: $name = encoding.decode(&body).unwrap_or_else(|error| panic!("{encoding:?}: {sent:?}: {error}"));
            prop_assert_eq!(&read, &sent, "{:?}", encoding);
        })*
    };
}

fn text_value(text: &str) -> Value {
    Value::Text(text.into())
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(".*", 8)
}

fn ids() -> impl Strategy<Value = Vec<ObjectId>> {
    prop::collection::vec(any::<[u8; 4]>().prop_map(|content| ObjectId::of(&content)), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_request_is_read_as_it_was_written(
        words in words(), ids in ids(), some in any::<bool>(), number in any::<i64>(), delta in value(),
        content in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let text = |at: usize| Text::from(words[at].as_str());
        let if_some = |at| some.then(|| text(at));
        let texts = || words.iter().map(|word| Text::from(word.as_str())).collect::<Vec<_>>();
        let mut commits: Vec<CommitId> = ids.iter().map(|id| id.as_ref().clone().into()).collect();
        commits.dedup();
        let record = |id: &str| {
            let fields = [(id, text_value(&words[0])), ("tag", text_value(&words[1])), ("more", delta.clone())];
            Value::Map(fields.map(|(name, value)| (Value::Text(name.into()), value)).into())
        };
        let mut commit = record("message");
        if let Value::Map(fields) = &mut commit {
            fields.push((Value::Text("commit_id".into()), text_value(&commits[0].to_string())));
        }
        let commit: Commit = Encoding::Msgpack.decode(&rmp_serde::to_vec(&commit).unwrap()).unwrap();
        let release = rmp_serde::to_vec(&record("commit_id")).unwrap();
        let object = || Object { object_id: ids[0].clone(), content: Cow::Borrowed(&content[..]), path: if_some(1) };
        let manifest = json!({"snapshot_id": "s", "manifest": {&words[0]: &ids[0]}, "created_at": &words[1]}).to_string();
        let manifest = manifest.as_bytes();
        let update = || BranchUpdate { branch: text(3), tip: commits[0].clone(), force: some, expected_head: Sent(if_some(4)) };
        let tag = || PostedTag {
            tag: text(0),
            commit_id: commits[0].clone(),
            tag_id: if_some(1),
            repo_id: if_some(2),
            created_at: if_some(3),
        };
        let posted: PostedRelease = Encoding::Msgpack.decode(&release).unwrap();
        for (encoding, body) in both(&posted) {
            prop_assert_eq!(&encoding.decode::<PostedRelease>(&body).unwrap(), &posted, "{:?}", encoding);
        }
        assert_both_ways! {
            PushRequest {
                bundle: Bundle {
                    commits: vec![commit.clone()].into(),
                    snapshots: vec![Encoding::Json.decode(manifest).unwrap()].into(),
                    objects: vec![object()].into(),
                    branch_heads: some.then(|| [(text(0), if_some(1)), (text(2), None)].into_iter().collect()),
                },
                branch: Sent(if_some(0)),
                force: some,
                expected_head: Sent(if_some(1)),
                updates: some.then(|| vec![update()].into()),
                purged: some.then(|| ids.clone().into()),
            }
            PushObjectsRequest { objects: vec![object(), object()].into() }
            FetchRequest {
                want: some.then(|| commits.clone().into()),
                have: texts().into(),
                branches: some.then(|| vec![text(0)].into()),
                depth: some.then_some(number),
                filter: if_some(1),
            }
            FilterObjectsRequest { object_ids: ids.clone().into() }
            NegotiateRequest { want: commits.clone().into(), have: texts().into() }
            PresignRequest { object_ids: ids.clone().into(), direction: text(0), ttl_seconds: some.then_some(number), limit: some.then_some(number) }
            TagsRequest { tags: vec![tag(), tag()].into() }
            WebhookRequest { url: text(0), events: some.then(|| texts().into()), secret: if_some(1) }
            IdentityRequest { handle: text(0), display_name: if_some(1) }
            RepoRequest {
                name: text(0),
                is_private: some.then_some(number > 0),
                description: if_some(1),
                domain: if_some(2),
                default_branch: if_some(3),
            }
            RepoChanges {
                default_branch: if_some(0),
                visibility: if_some(1),
                is_private: some.then_some(number > 0),
                description: if_some(2),
                slug: if_some(5),
                name: if_some(3),
                domain: if_some(4),
            }
            PurgeRequest { objects: ids.clone().into(), reason: if_some(0) }
            RestoreRequest { to: some.then(|| commits[0].clone()) }
            ProtectionRequest { protected: some, admins_only: !some }
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(
        words in words(), ids in ids(), some in any::<bool>(), count in any::<usize>(), release in value(),
    ) {
        let text = |at: usize| Cow::Borrowed(words[at].as_str());
        let word = |at: usize| words[at].clone();
        let if_some = |at| some.then(|| text(at));
        let commits: Vec<CommitId> = ids.iter().map(|id| id.as_ref().clone().into()).collect();
        let heads: Heads = words.iter().cloned().zip(commits.iter().cloned()).collect();
        let label: Label = "v1".parse().unwrap();
        let types: BTreeSet<String> = words.iter().cloned().collect();
        let tag = || TagResponse {
            tag_id: word(0),
            repo_id: word(1),
            commit_id: commits[0].clone(),
            tag: label.clone(),
            created_at: word(2),
        };
        let webhook = || WebhookResponse {
            id: word(0),
            url: text(1),
            events: some.then_some(Cow::Borrowed(&types)),
            active: !some,
            inactive_because: if_some(2),
            created_at: text(3),
            created_by: text(4),
            secret: some.then(|| word(5)),
        };
        let checks = || HealthChecks { table: word(0), bucket: word(1), secret: word(2) };
        let purged = |id: &ObjectId| PurgedObject {
            object_id: id.clone(),
            purged_at: word(0),
            purged_by: word(1),
            reason: word(2),
        };
        let branch = || BranchResponse {
            name: word(0),
            head: commits[0].clone(),
            updated_at: word(1),
            updated_by: word(2),
            is_default: some,
            protected: !some,
            admins_only: some,
        };
        let moved = |deleted: bool| MoveResponse {
            id: word(0),
            branch: "main".parse().unwrap(),
            before: some.then(|| commits[0].clone()),
            after: (!deleted).then(|| commits[0].clone()),
            forced: some,
            deleted,
            restored: !some,
            by: word(1),
            token: some.then(|| word(3)),
            agent: some.then(|| word(0)),
            at: word(2),
        };
        assert_both_ways! {
            PushResponse {
                ok: some,
                message: word(0),
                branch_heads: Cow::Borrowed(&heads),
                remote_head: some.then(|| Cow::Borrowed(&commits[0])),
            }
            PushObjectsResponse { stored: count, skipped: count / 2 }
            FilterObjectsResponse { missing: ids.clone() }
            NegotiateResponse { ack: commits.clone(), common_base: some.then(|| commits[0].clone()), ready: some }
            PresignResponse { presigned: ids.iter().cloned().zip(words.clone()).collect(), inline: ids.clone(), left: if some { ids.clone() } else { Vec::new() } }
            UploadResponse { upload_id: word(0), url: word(1) }
            TagsResponse { stored: count }
            TagListResponse { tags: vec![tag(), tag()], next: some.then(|| word(0)) }
            TagDeletedResponse { deleted: label.clone(), commit_id: commits[0].clone() }
            ReleaseResponse { release_id: word(0) }
            ReleaseListResponse { releases: vec![release.clone()], next: some.then(|| word(0)) }
            RetractedResponse { retracted: label.clone() }
            WebhookListResponse { webhooks: vec![webhook(), webhook()] }
            WebhookDeletedResponse { deleted: word(0) }
            RefsResponse {
                repo_id: text(0),
                domain: text(1),
                default_branch: text(2),
                branch_heads: Cow::Borrowed(&heads),
            }
            HealthResponse { status: word(0).into(), checks: some.then(checks) }
            IdentityResponse { handle: word(0), user_id: word(1) }
            PurgeResponse { purged: ids.iter().map(purged).collect(), bytes: word(3).into() }
            RepoDeletedResponse { repo_id: word(0), deleted: word(1), kept_until: word(2) }
            BranchesResponse { branches: vec![branch(), branch()], next: some.then(|| word(3)) }
            LogResponse { log: vec![moved(some), moved(!some)], next: some.then(|| word(3)) }
            RestoreResponse {
                branch: "main".parse().unwrap(),
                before: some.then(|| commits[0].clone()),
                head: commits[0].clone(),
            }
            ProtectionResponse { branch: "main".parse().unwrap(), protected: some, admins_only: !some }
            BranchDeletedResponse { deleted: word(0), head: commits[0].clone() }
            RepoResponse {
                repo_id: text(0),
                owner: text(1),
                slug: text(2),
                name: text(3),
                visibility: text(4),
                domain: text(5),
                description: if_some(6),
                default_branch: if_some(7),
                clone_url: text(0),
                created_at: if_some(1),
                first_pushed_at: if_some(2),
                deleted_at: if_some(3),
                kept_until: if_some(4),
                forked_from: if_some(5),
            }
            ErrorResponse { error: text(0), detail: text(1), hint: Some(text(2)), used: Some(1), allowed: None }
        }
    }
}

proptest! {
    #[test]
    fn a_body_with_anything_behind_it_is_refused(suffix in prop::collection::vec(any::<u8>(), 1..20)) {
        for (encoding, mut body) in both(&json!({"want": ["a"]})) {
            body.extend_from_slice(&suffix);
            let is_white_space = suffix.iter().all(|byte| b" \t\r\n".contains(byte));
            prop_assert_eq!(
                encoding.decode::<FetchRequest<'_>>(&body).is_ok(),
                encoding == Encoding::Json && is_white_space
            );
        }
    }
}

#[test]
fn hostile_lengths_and_depths_are_refused() {
    let deep_json = "[".repeat(200_000);
    let deep_msgpack = vec![0x91; 200_000];
    for body in [deep_json.as_bytes(), format!("{{\"want\":[],\"x\":{deep_json}").as_bytes()] {
        assert!(matches!(refused::<FetchRequest<'_>>(Encoding::Json, body), WireError::MalformedBody(_)));
        assert!(matches!(refused::<Value>(Encoding::Json, body), WireError::MalformedBody(_)));
    }
    assert!(matches!(refused::<FetchRequest<'_>>(Encoding::Msgpack, &deep_msgpack), WireError::MalformedBody(_)));
    assert!(matches!(refused::<Value>(Encoding::Msgpack, &deep_msgpack), WireError::MalformedBody(_)));
    // str32, bin32, array32, map32, ext32, each of 4,294,967,295.
    for marker in [0xdb, 0xc6, 0xdd, 0xdf, 0xc9] {
        let length = [marker, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(refused::<Value>(Encoding::Msgpack, &length), WireError::MalformedBody(_)), "{marker:x}");
        let want = [&[0x81, 0xa4][..], b"want", &length].concat();
        assert!(
            matches!(refused::<FetchRequest<'_>>(Encoding::Msgpack, &want), WireError::MalformedBody(_)),
            "{marker:x}"
        );
    }
}

#[test]
fn a_refusal_says_where() {
    let request = json!({"bundle": {"commits": [{"commit_id": "c"}, {"commit_id": 5}]}, "branch": "main"});
    for (encoding, body) in both(&request) {
        let WireError::MalformedBody(detail) = refused::<PushRequest<'_>>(encoding, &body) else {
            panic!("not a malformed body");
        };
        assert!(detail.starts_with("at bundle.commits[1]: commit_id is not a string"), "{detail}");
    }
    let long = json!({"want": "x".repeat(10_000)});
    for (encoding, body) in both(&long) {
        assert!(refused::<FetchRequest<'_>>(encoding, &body).to_string().len() < 400);
    }
}

#[test]
fn what_is_no_map_or_has_more_behind_it_or_says_a_thing_twice_is_refused() {
    for (encoding, body) in both(&json!([["a"], []])) {
        refused::<FetchRequest<'_>>(encoding, &body);
    }
    for (encoding, mut body) in both(&json!({"want": []})) {
        body.push(b'1');
        refused::<FetchRequest<'_>>(encoding, &body);
    }
    refused::<FetchRequest<'_>>(Encoding::Json, br#"{"want": [], "want": []}"#);
    refused::<Commit>(Encoding::Json, br#"{"commit_id": "a", "x": 1, "x": 2}"#);
    refused::<Snapshot<'_>>(Encoding::Json, br#"{"snapshot_id": "a", "manifest": {"b": "x", "a": "y", "b": "z"}}"#);
}

#[test]
fn more_than_a_list_may_hold_is_counted_and_not_kept() {
    let request = json!({"want": vec!["a"; 1_001], "have": vec!["a"; 257]});
    for (encoding, body) in both(&request) {
        let have = encoding.decode::<NegotiateRequest<'_>>(&body).unwrap().have;
        assert_eq!((have.items.len(), have.sent), (256, 257));
        assert_eq!(have.within("ids").unwrap_err().to_string(), "257 ids: the limit is 256");
    }
}

#[test]
fn what_a_fetch_wants_twice_counts_once() {
    let want = |ids: Vec<String>, limit: usize| {
        let [json, msgpack] = both(&json!({"want": ids})).map(|(encoding, body)| {
            let want = encoding.decode::<FetchRequest<'_>>(&body).unwrap().want.unwrap().within("ids", limit);
            want.map(|want| want.iter().map(ToString::to_string).collect::<Vec<_>>()).map_err(|error| error.to_string())
        });
        assert_eq!(json, msgpack);
        json
    };
    let ids = |count: usize| (0..count).map(|number| format!("{number:x}")).collect::<Vec<_>>();
    let twice = |count: usize| [ids(count), ids(count)].concat();
    assert_eq!(want(twice(1_500), 1_500), Ok(ids(1_500)));
    assert_eq!(want(twice(1_501), 1_500), Err("1501 ids: the limit is 1500".to_owned()));
    let (held, over) = (super::limits::MAX_WANT_HELD, super::limits::MAX_WANT_HELD + 1);
    assert_eq!(want(twice(held), usize::MAX).map(|ids| ids.len()), Ok(held));
    assert!(want(ids(over), usize::MAX).unwrap_err().contains(&format!("{over} ids")));
}

#[test]
fn a_small_body_does_not_make_a_large_tree() {
    let mut body =
        [&[0x82, 0xa9][..], b"commit_id", &[0xa1, b'c', 0xa1, b'x', 0xdd], &1_500_000_u32.to_be_bytes()].concat();
    body.extend(std::iter::repeat_n(0xc0, 1_500_000));
    assert!(refused::<Commit>(Encoding::Msgpack, &body).to_string().contains("1000000 values"));
}

/// A commit and a release with this value in a field, as msgpack.
fn holding(field: &str, value: &[u8]) -> Vec<Vec<u8>> {
    let text = |text: &str| rmp_serde::to_vec(text).unwrap();
    let commit = [vec![0x82], text("commit_id"), text("c"), text(field), value.to_vec()].concat();
    let release =
        [vec![0x83], text("commit_id"), text("c"), text("tag"), text("v1"), text(field), value.to_vec()].concat();
    vec![commit, release]
}

#[test]
fn what_some_client_could_not_read_again_is_refused_wherever_it_would_be_kept() {
    let unkept: [(&str, &[u8], &str); 11] = [
        ("a number as a key", &[0x81, 1, 0xc0], "text"),
        ("null as a key", &[0x81, 0xc0, 1], "text"),
        ("true as a key", &[0x81, 0xc3, 1], "text"),
        ("a list as a key", &[0x81, 0x90, 1], "text"),
        ("a float as a key", &[0x81, 0xca, 0x3f, 0x80, 0, 0, 1], "text"),
        ("bytes as a key", &[0x81, 0xc4, 1, b'a', 1], "bytes"),
        ("NaN", &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "NaN"),
        ("infinity", &[0xca, 0x7f, 0x80, 0, 0], "infinities"),
        ("an extension type", &[0xc7, 3, 5, 1, 2, 3], "extension"),
        ("a timestamp", &[0xd6, 0xff, 0, 0, 0, 0], "timestamps"),
        ("bytes", &[0xc4, 2, 0, 255], "bytes"),
    ];
    for (name, value, word) in unkept {
        for (place, field, value) in [
            ("metadata", "metadata", [&[0x81, 0xa1, b'k'], value].concat()),
            ("structured_delta", "structured_delta", value.to_vec()),
            ("deep", "from_the_future", [&[0x92, 1, 0x81, 0xa1, b'x', 0x91], value].concat()),
            ("changelog", "changelog", [&[0x91, 0x81, 0xa1, b'k'], value].concat()),
        ] {
            for body in holding(field, &value) {
                let refusals = [
                    Encoding::Msgpack.decode::<Commit>(&body).err(),
                    Encoding::Msgpack.decode::<PostedRelease>(&body).err(),
                ];
                for refusal in refusals.into_iter().flatten().filter(|refusal| !refusal.to_string().contains("missing"))
                {
                    let WireError::Invalid(detail) = refusal else { panic!("{name} in {place}: {refusal}") };
                    assert!(detail.starts_with(field) && detail.contains(word), "{name} in {place}: {detail}");
                }
                assert!(Encoding::Msgpack.decode::<Commit>(&body).is_err(), "{name} in {place}");
            }
        }
    }
}

#[test]
fn an_integer_beyond_64_bits_is_refused_and_a_float_of_its_size_is_not() {
    let commit = |number: &str| {
        format!(
            r#"{{"commit_id": "c", "message": "1\\\"2\\\\", "metadata": {{"\"a": [{number}]}}, "x": "123456789012345678901"}}"#
        )
    };
    for number in
        ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890", "1e3, -99999999999999999999"]
    {
        let WireError::Invalid(detail) = refused::<Commit>(Encoding::Json, commit(number).as_bytes()) else {
            panic!("{number}");
        };
        assert!(detail.starts_with("metadata.\"a[") && detail.contains("64 bits"), "{detail}");
    }
    let format_version = br#"{"commit_id": "c", "format_version": 18446744073709551616}"#;
    assert!(matches!(refused::<Commit>(Encoding::Json, format_version), WireError::Invalid(_)));
    for number in ["18446744073709551615", "-9223372036854775808", "1e30", "-6.02e+23", "18446744073709551616.0", "-0"]
    {
        let commit: Commit = Encoding::Json.decode(commit(number).as_bytes()).unwrap();
        let kept: serde_json::Value = Encoding::Msgpack.decode(commit.record()).unwrap();
        let sent: serde_json::Value = serde_json::from_str(number).unwrap();
        assert_eq!(kept["metadata"]["\"a"][0], sent);
    }
    assert!(matches!(
        refused::<Commit>(Encoding::Msgpack, &holding("metadata", &[0x81, 0xa1, b'k', 0xa2, 0xff, 0xfe])[0]),
        WireError::MalformedBody(_)
    ));
    // What is not kept may be anything.
    let unknown = br#"{"want": [], "more": 123456789012345678901234567890}"#;
    Encoding::Json.decode::<FetchRequest<'_>>(unknown).unwrap();
    let WireError::MalformedBody(detail) = refused::<Commit>(Encoding::Json, br#"{"commit_id": "c", "x": -Infinity}"#)
    else {
        panic!("no JSON at all");
    };
    assert!(detail.contains("no NaN and no infinities"), "{detail}");
}

#[test]
fn what_an_older_hub_has_stored_is_still_read() {
    let mut stored = rmp_serde::to_vec("x").unwrap();
    stored = [&[0x83, 1][..], &stored, &[0xc0, 0xc4, 1, 255, 0x90, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]].concat();
    let Value::Map(entries) = Encoding::Msgpack.decode::<Value>(&stored).unwrap() else { panic!("no map") };
    assert_eq!(entries.len(), 3);
    assert!(Encoding::Json.encode(&Value::Map(entries)).is_ok());
}

#[test]
fn a_commit_of_as_many_values_as_may_be_can_be_completed_and_given_out() {
    let body = json!({"commit_id": "c", "structured_delta": vec![0; super::limits::MAX_RECORD_VALUES - 2]});
    let mut commit: Commit = Encoding::Json.decode(&serde_json::to_vec(&body).unwrap()).unwrap();
    commit.complete("ada", "now").unwrap();
    Encoding::Msgpack.decode::<Value>(commit.record()).unwrap();
}

#[test]
fn a_path_is_not_empty_and_no_longer_than_a_file_system_takes() {
    let path = |length: usize| "ä".repeat(length);
    let object = |path: String| json!({"object_id": ObjectId::of(b""), "content_b64": "", "path": path});
    let snapshot = |path: String| json!({"snapshot_id": "s", "manifest": {path: A}});
    for (length, is_good) in [(1, true), (2_048, true), (2_049, false)] {
        for (encoding, body) in both(&object(path(length))) {
            assert_eq!(encoding.decode::<Object<'_>>(&body).unwrap().check().is_ok(), is_good, "{length}");
        }
        for (encoding, body) in both(&snapshot(path(length))) {
            assert_eq!(encoding.decode::<Snapshot<'_>>(&body).unwrap().check(false).is_ok(), is_good, "{length}");
        }
    }
    for (encoding, body) in both(&snapshot(String::new())) {
        assert!(encoding.decode::<Snapshot<'_>>(&body).unwrap().check(false).is_err());
    }
    for (encoding, body) in both(&json!({"snapshot_id": "s", "manifest": {"b": A, "a/b": A, "a": A}})) {
        let snapshot: Snapshot<'_> = encoding.decode(&body).unwrap();
        assert!(snapshot.check(false).is_ok(), "where ids are opaque, paths are as well");
        let refusal = snapshot.check(true).unwrap_err().to_string();
        assert!(refusal.starts_with("a path of snapshot 's': 'a' would be a file"), "{refusal}");
    }
}

#[test]
fn snapshot_ids_are_those_that_clients_compute() {
    let id = "e5d01ef5349724d2c4b6d1f43a795b3bb824c5ebfd01e8def9436204772ec9b2";
    let snapshot = |id: &str| json!({"snapshot_id": id, "manifest": {"z/ü.txt": A, "a b": B, "a": A}});
    for (good, is_proved) in [(id, true), (A, false), ("opaque", false)] {
        for (encoding, body) in both(&snapshot(good)) {
            let snapshot: Snapshot<'_> = encoding.decode(&body).unwrap();
            assert_eq!(snapshot.is_proved(), is_proved, "{good}");
            let record = snapshot.record().unwrap();
            let again: Snapshot<'_> = Encoding::Msgpack.decode(&record).unwrap();
            assert_eq!(again.manifest.entries, snapshot.manifest.entries);
        }
    }
}

#[test]
fn commit_ids_are_those_that_clients_compute() {
    let merge = "7c9ecbb9fa2c1e8a36e47f0fbb2cceed7f1695f185b1b98726239bdaf0a4a443";
    let raw = "ab52146e566ccb6734cd4d6ffc550ce9f071df7421c2cf83ece9eb8658d59f18";
    let commit = |id: &str, changes: serde_json::Value| {
        let mut commit = json!({"commit_id": id, "snapshot_id": "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89", "message": "msg"});
        commit.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Encoding::Json.decode::<Commit>(&serde_json::to_vec(&commit).unwrap()).unwrap().is_proved()
    };
    let at = "2026-01-01T00:00:00Z";
    assert!(commit(
        merge,
        json!({"parent_commit_id": "f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a", "parent2_commit_id": "169b5b823c62b64ca7e5f8456a13c8d5d06f4ece522a58bc2b8a784dcf3609b0", "committed_at": at})
    ));
    assert!(commit(
        merge,
        json!({"parent_commit_id": "169b5b823c62b64ca7e5f8456a13c8d5d06f4ece522a58bc2b8a784dcf3609b0", "parent2_commit_id": "f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a", "committed_at": at})
    ));
    assert!(!commit(
        merge,
        json!({"parent_commit_id": "f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a", "committed_at": at})
    ));
    assert!(commit(raw, json!({"author": "ada", "committed_at": at, "parent_commit_id": null})));
    assert!(!commit(raw, json!({"author": "bob", "committed_at": at})));
    assert!(!commit(&format!("sha256:{raw}"), json!({"author": "ada"})), "only object ids may have a prefix");
}

#[test]
fn what_the_pusher_left_empty_is_filled_in_and_nothing_else() {
    let body = br#"{"commit_id": "c", "author": "", "message": "m", "x": 1}"#;
    let mut commit: Commit = Encoding::Json.decode(body).unwrap();
    assert!(commit.is_incomplete());
    commit.complete("ada", "now").unwrap();
    let record: serde_json::Value = Encoding::Msgpack.decode(commit.record()).unwrap();
    assert_eq!(
        (&record["author"], &record["committed_at"], &record["message"]),
        (&json!("ada"), &json!("now"), &json!("m"))
    );
    let before = commit.record().to_vec();
    commit.complete("bob", "later").unwrap();
    assert_eq!(commit.record(), before);
}

#[test]
fn content_is_understood_in_every_way_that_clients_send_it() {
    let id = ObjectId::of(b"hello");
    for fields in [
        json!({"content_b64": "aGVsbG8="}),
        json!({"content_b64": "aGVsbG8"}),
        json!({"content": "aGVsbG8="}),
        json!({"content": "hello"}),
    ] {
        let mut object = json!({"object_id": id, "path": "p"});
        object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        for (encoding, body) in both(&object) {
            let object: Object<'_> = encoding.decode(&body).unwrap();
            assert_eq!(&*object.content, b"hello", "{encoding:?} {fields}");
            assert!(object.is_proved());
        }
    }
    refused::<Object<'_>>(Encoding::Json, br#"{"object_id": "a", "content_b64": "a!"}"#);
    refused::<Object<'_>>(Encoding::Json, br#"{"object_id": "a"}"#);
}
