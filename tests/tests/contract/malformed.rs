//! Bodies that are broken in every way that we could think of. Each is refused with a reason, and the hub stays well.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history::{self, Builder, Formula, History, Object, objects_body};
use tests::hub::{Hub, fresh_name};
use tests::verify;

const TEXT: &str = "@text@";
const LIST: &str = "@list@";
const ANY: &str = "@any@";
const NESTED: usize = 200_000;

/// Where a body goes, and a body for it with holes.
struct Target {
    path: &'static str,
    /// Whether every string is a good one where [`TEXT`] is.
    takes_any_text: bool,
    /// Has [`TEXT`] where a string belongs and [`ANY`] in a field that no hub knows.
    body: Value,
    /// What makes it a good one.
    text: String,
    /// The same with [`LIST`] where a list belongs, and what makes it a good one.
    list: Option<(Value, Value)>,
}

/// What a hub has to make of a broken body.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    /// No reader of the encoding can make sense of it.
    Malformed,
    /// It is of the encoding and not what was asked for.
    Refused,
    /// It may be taken: the oddity is in what the hub doesn't read.
    Survived,
}
use Expected::{Malformed, Refused, Survived};

struct Broken {
    name: String,
    bytes: Vec<u8>,
    expected: Expected,
}

fn targets(history: &History) -> Vec<Target> {
    let bundle = history.pack_of(history.last()).to_value();
    let mut bundle_of_list = bundle.clone();
    bundle_of_list["commits"] = json!(LIST);
    let object = Object::new("an object of a few bytes");
    let objects = objects_body(std::slice::from_ref(&object));
    let mut objects_of_text = objects.clone();
    objects_of_text["objects"][0]["object_id"] = json!(TEXT);
    objects_of_text["x"] = json!(ANY);
    let tip = history.last().to_owned();
    let of = |path, body, text: &str, list| Target { path, takes_any_text: false, body, text: text.to_owned(), list };
    let of_any_text = |path, body, list| Target { takes_any_text: true, ..of(path, body, &tip, list) };
    vec![
        of(
            "push",
            json!({"bundle": bundle, "branch": TEXT, "force": false, "x": ANY}),
            "main",
            Some((json!({"bundle": bundle_of_list, "branch": "main", "force": false}), bundle["commits"].clone())),
        ),
        of("push/objects", objects_of_text, &object.id, Some((json!({"objects": LIST}), objects["objects"].clone()))),
        of(
            "fetch",
            json!({"want": [TEXT], "have": [tip], "x": ANY}),
            &tip,
            Some((json!({"want": LIST, "have": [tip]}), json!([tip]))),
        ),
        of("/api/identities", json!({"handle": TEXT, "x": ANY}), &fresh_name("h"), None),
        of("/api/repos", json!({"name": TEXT, "x": ANY}), &fresh_name("repo"), None),
        of(
            "filter-objects",
            json!({"object_ids": [TEXT], "x": ANY}),
            &tip,
            Some((json!({"object_ids": LIST}), json!([tip]))),
        ),
        of(
            "negotiate",
            json!({"want": [TEXT], "have": [], "x": ANY}),
            &tip,
            Some((json!({"want": LIST, "have": []}), json!([tip]))),
        ),
        of_any_text(
            "presign",
            json!({"object_ids": [TEXT], "direction": "put", "x": ANY}),
            Some((json!({"object_ids": LIST, "direction": "put"}), json!([tip]))),
        ),
        of_any_text(
            "tags",
            json!({"tags": [{"tag_id": "t", "commit_id": tip, "tag": TEXT}], "x": ANY}),
            Some((json!({"tags": LIST}), json!([{"tag_id": "t", "commit_id": tip, "tag": "v1"}]))),
        ),
        of_any_text(
            "releases",
            json!({"tag": TEXT, "commit_id": tip, "x": ANY}),
            Some((json!({"tag": "v1", "commit_id": tip, "changelog": LIST}), json!([{"commit_id": tip}]))),
        ),
    ]
}

/// The encoded body with these bytes in place of one hole and good values in the others.
fn filled(encoding: Encoding, body: &Value, text: &str, hole: &str, fragment: &[u8]) -> Vec<u8> {
    let whole = encoding.encode(body);
    let replaced = splice(&whole, &encoding.encode(&json!(hole)), fragment);
    let replaced = splice(&replaced, &encoding.encode(&json!(TEXT)), &encoding.encode(&json!(text)));
    splice(&replaced, &encoding.encode(&json!(ANY)), &encoding.encode(&Value::Null))
}

/// Replaces the first marker, where there is one.
fn splice(bytes: &[u8], marker: &[u8], replacement: &[u8]) -> Vec<u8> {
    match bytes.windows(marker.len()).position(|window| window == marker) {
        Some(at) => [&bytes[..at], replacement, &bytes[at + marker.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

fn repeated(piece: &[u8], end: &[u8]) -> Vec<u8> {
    [piece.repeat(NESTED), end.to_vec()].concat()
}

/// What stands in the place of any JSON value and is none.
fn no_json_values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("NaN", b"NaN".to_vec()),
        ("Infinity", b"Infinity".to_vec()),
        ("minus Infinity", b"-Infinity".to_vec()),
        ("undefined", b"undefined".to_vec()),
        ("half of true", b"tru".to_vec()),
        ("nothing", b"".to_vec()),
        ("a comma", b",".to_vec()),
        ("two values", b"\"a\" \"b\"".to_vec()),
        ("single quotes", b"'main'".to_vec()),
        ("no quotes", b"main".to_vec()),
        ("a comment", b"/* c */ \"main\"".to_vec()),
        ("an unterminated string", b"\"main".to_vec()),
        ("a line break in a string", b"\"ma\nin\"".to_vec()),
        ("a zero byte in a string", b"\"ma\0in\"".to_vec()),
        ("an unknown escape", b"\"\\q\"".to_vec()),
        ("half an escape", b"\"\\u12\"".to_vec()),
        ("a byte that is no UTF-8", b"\"\xff\"".to_vec()),
        ("an overlong zero", b"\"\xc0\x80\"".to_vec()),
        ("a surrogate in UTF-8", b"\"\xed\xa0\x80\"".to_vec()),
        ("half a character", b"\"\xf0\x9f\x8e\"".to_vec()),
        ("a leading zero", b"01".to_vec()),
        ("a trailing point", b"1.".to_vec()),
        ("a leading point", b".5".to_vec()),
        ("a plus sign", b"+1".to_vec()),
        ("hexadecimal", b"0x10".to_vec()),
        ("a trailing comma", b"[1,]".to_vec()),
        ("a brace for a bracket", b"[1}".to_vec()),
        ("no colon", b"{\"a\" 1}".to_vec()),
        ("a number as a key", b"{1: 1}".to_vec()),
        ("200,000 arrays opened", repeated(b"[", b"")),
        ("200,000 maps opened", repeated(b"{\"a\":", b"")),
    ]
}

/// Values that are well-formed and too deep to read.
fn deep_json() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("200,000 nested arrays", repeated(b"[", &b"]".repeat(NESTED))),
        ("200,000 nested maps", repeated(b"{\"a\":", &[b"1".to_vec(), b"}".repeat(NESTED)].concat())),
    ]
}

fn broken_json(target: &Target) -> Vec<Broken> {
    let json = Encoding::Json;
    let valid = filled(json, &target.body, &target.text, ANY, b"null");
    let mut broken = whole_bodies(json, &valid);
    let mut add = |name: String, bytes: Vec<u8>, expected: Expected| broken.push(Broken { name, bytes, expected });
    for (name, tail) in [
        ("a brace", &b"}"[..]),
        ("a word", b" x"),
        ("a comma", b","),
        ("a zero byte", b"\0"),
        ("a map", b"{}"),
        ("null", b"null"),
    ] {
        add(format!("followed by {name}"), [&valid[..], tail].concat(), Malformed);
    }
    for top in [
        "[]", "\"text\"", "5", "-0.5", "null", "true", "[{}]", "NaN", "[", "{", "]", "\"", "{\"a\"", "{\"a\":", " ",
        "\n",
    ] {
        add(format!("only {top:?}"), top.into(), Malformed);
    }
    for (name, fragment) in no_json_values() {
        // Nothing for the one item of a list is a list of nothing.
        if !fragment.is_empty() {
            add(format!("{name} for a string"), filled(json, &target.body, &target.text, TEXT, &fragment), Malformed);
        }
        add(format!("{name} in an unknown field"), filled(json, &target.body, &target.text, ANY, &fragment), Malformed);
        add(format!("only {name}"), fragment, Malformed);
    }
    for (name, fragment) in deep_json() {
        add(format!("{name} for a string"), filled(json, &target.body, &target.text, TEXT, &fragment), Refused);
        add(format!("{name} in an unknown field"), filled(json, &target.body, &target.text, ANY, &fragment), Survived);
        add(format!("only {name}"), fragment, Refused);
    }
    let digits = "9".repeat(100_000);
    for other in [
        "5",
        "-1",
        "1.5",
        "1e999",
        digits.as_str(),
        "true",
        "null",
        "[]",
        "[\"main\"]",
        "{}",
        "\"\\ud800\"",
        "\"\\u0000\"",
    ] {
        let name = format!("{} for a string", &other[..other.len().min(20)]);
        let expected = if other == "\"\\u0000\"" && target.takes_any_text { Survived } else { Refused };
        add(name, filled(json, &target.body, &target.text, TEXT, other.as_bytes()), expected);
    }
    if let Some((body, good)) = &target.list {
        for other in ["5", "\"main\"", "{}", "true", "[5]", "[[]]", "[null]", "{\"0\": 1}", "[true, \"\"]"] {
            add(format!("{other} for a list"), filled(json, body, "", LIST, other.as_bytes()), Refused);
        }
        for other in ["[,]", "[1 2]", "[", "]"] {
            add(format!("{other} for a list"), filled(json, body, "", LIST, other.as_bytes()), Malformed);
        }
        add("a cut list".to_owned(), filled(json, body, "", LIST, &json.encode(good)[1..]), Malformed);
    }
    let (first, value) = first_field(json, &valid);
    let again = format!("\"{first}\":{value},");
    add(format!("{first} twice"), [b"{", again.as_bytes(), &valid[1..]].concat(), Refused);
    let utf16: Vec<u8> = String::from_utf8(valid.clone()).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    add("in UTF-16".to_owned(), utf16, Malformed);
    add("in msgpack".to_owned(), Encoding::Msgpack.encode(&target.body), Malformed);
    broken
}

/// Declared lengths that nothing follows.
fn four_billion() -> Vec<(&'static str, Vec<u8>)> {
    let lengths = [("str", 0xdb), ("bin", 0xc6), ("array", 0xdd), ("map", 0xdf), ("ext", 0xc9)];
    lengths.into_iter().map(|(name, marker)| (name, vec![marker, 0xff, 0xff, 0xff, 0xff])).collect()
}

/// What stands in the place of any msgpack value and is none, or none that ends.
fn no_msgpack_values() -> Vec<(String, Vec<u8>)> {
    let mut values: Vec<(String, Vec<u8>)> = vec![
        ("the byte that is never used".to_owned(), vec![0xc1]),
        ("a string that is no UTF-8".to_owned(), vec![0xa2, 0xff, 0xfe]),
        ("an overlong zero".to_owned(), vec![0xa2, 0xc0, 0x80]),
        ("a surrogate".to_owned(), vec![0xa3, 0xed, 0xa0, 0x80]),
        ("a string of 65,535".to_owned(), vec![0xda, 0xff, 0xff, b'a']),
        ("an array of 65,535".to_owned(), vec![0xdc, 0xff, 0xff]),
        ("200,000 arrays opened".to_owned(), repeated(&[0x91], &[])),
        ("200,000 maps opened".to_owned(), repeated(&[0x81, 0xa1, b'a'], &[])),
    ];
    for (name, bytes) in four_billion() {
        values.push((format!("{name} of 4 billion"), bytes.clone()));
        values.push((format!("{name} of 4 billion, a little of it"), [bytes, vec![0; 1_000]].concat()));
    }
    values
}

fn deep_msgpack() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("200,000 nested arrays", repeated(&[0x91], &[0xc0])),
        ("200,000 nested maps", repeated(&[0x81, 0xa1, b'a'], &[0xc0])),
        ("200,000 nested wide arrays", repeated(&[0xdd, 0, 0, 0, 1], &[0xc0])),
    ]
}

fn broken_msgpack(target: &Target) -> Vec<Broken> {
    let msgpack = Encoding::Msgpack;
    let valid = filled(msgpack, &target.body, &target.text, ANY, &[0xc0]);
    let mut broken = whole_bodies(msgpack, &valid);
    let mut add = |name: String, bytes: Vec<u8>, expected: Expected| broken.push(Broken { name, bytes, expected });
    for tail in [&[0xc0][..], &[0xc1], &[0x00], &[0x80], &[0xdb, 0xff, 0xff, 0xff, 0xff]] {
        add(format!("followed by {tail:x?}"), [&valid[..], tail].concat(), Malformed);
    }
    let top = [
        ("an array", vec![0x90]),
        ("nil", vec![0xc0]),
        ("true", vec![0xc3]),
        ("five", vec![5]),
        ("minus one", vec![0xff]),
        ("a string", vec![0xa1, b'a']),
        ("bin", vec![0xc4, 1, 0]),
        ("ext", vec![0xd4, 1, 0]),
        ("a float", vec![0xca, 0, 0, 0, 0]),
        ("NaN", vec![0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("an array of a map", vec![0x91, 0x80]),
    ];
    for (name, bytes) in top {
        add(format!("only {name}"), bytes, Malformed);
    }
    for (name, fragment) in no_msgpack_values() {
        add(format!("{name} for a string"), filled(msgpack, &target.body, &target.text, TEXT, &fragment), Malformed);
        // What a hub skips, it may skip without looking at the letters.
        let structural = !["no UTF-8", "overlong", "surrogate"].iter().any(|word| name.contains(word));
        if structural {
            add(
                format!("{name} in an unknown field"),
                filled(msgpack, &target.body, &target.text, ANY, &fragment),
                Malformed,
            );
        }
        add(format!("only {name}"), fragment, Malformed);
    }
    for (name, fragment) in deep_msgpack() {
        add(format!("{name} for a string"), filled(msgpack, &target.body, &target.text, TEXT, &fragment), Refused);
        add(
            format!("{name} in an unknown field"),
            filled(msgpack, &target.body, &target.text, ANY, &fragment),
            Survived,
        );
        add(format!("only {name}"), fragment, Refused);
    }
    let others = [
        ("nil", vec![0xc0]),
        ("false", vec![0xc2]),
        ("five", vec![5]),
        ("minus one", vec![0xff]),
        ("a big number", vec![0xcf; 9]),
        ("NaN", vec![0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("a float", vec![0xca, 0x3f, 0x80, 0, 0]),
        ("an array", vec![0x90]),
        ("an array of a string", vec![0x91, 0xa1, b'a']),
        ("a map", vec![0x80]),
        ("ext", vec![0xd4, 1, 0]),
        ("a timestamp", vec![0xd6, 0xff, 0, 0, 0, 0]),
        ("a string with a zero", vec![0xa1, 0]),
    ];
    for (name, fragment) in others {
        let expected = if name == "a string with a zero" && target.takes_any_text { Survived } else { Refused };
        add(format!("{name} for a string"), filled(msgpack, &target.body, &target.text, TEXT, &fragment), expected);
    }
    if let Some((body, _)) = &target.list {
        let others = [
            ("five", vec![5]),
            ("a string", vec![0xa1, b'a']),
            ("a map", vec![0x81, 0xa1, b'a', 1]),
            ("true", vec![0xc3]),
            ("an array of five", vec![0x91, 5]),
            ("an array of nil", vec![0x91, 0xc0]),
            ("an array of an array", vec![0x91, 0x90]),
        ];
        for (name, fragment) in others {
            add(format!("{name} for a list"), filled(msgpack, body, "", LIST, &fragment), Refused);
        }
        for (name, fragment) in four_billion() {
            add(format!("{name} of 4 billion for a list"), filled(msgpack, body, "", LIST, &fragment), Malformed);
        }
    }
    let (first, value) = first_field(msgpack, &valid);
    let once_more = [msgpack.encode(&json!(first)), msgpack.encode(&value)].concat();
    add(format!("{first} twice"), [&[valid[0] + 1], &once_more[..], &valid[1..]].concat(), Refused);
    add("one entry promised too many".to_owned(), [&[valid[0] + 1], &valid[1..]].concat(), Malformed);
    add("in JSON".to_owned(), Encoding::Json.encode(&target.body), Malformed);
    broken
}

fn first_field(encoding: Encoding, body: &[u8]) -> (String, Value) {
    let Ok(Value::Object(fields)) = encoding.decode(body) else { unreachable!("a body is a map") };
    fields.into_iter().next().unwrap()
}

/// What can be done to any body.
fn whole_bodies(encoding: Encoding, valid: &[u8]) -> Vec<Broken> {
    let mut broken = vec![
        ("empty".to_owned(), Vec::new()),
        ("twice".to_owned(), [valid, valid].concat()),
        ("without its first byte".to_owned(), valid[1..].to_vec()),
        ("after a zero byte".to_owned(), [&[0], valid].concat()),
        ("backwards".to_owned(), valid.iter().rev().copied().collect()),
        ("a hundred zero bytes".to_owned(), vec![0; 100]),
        ("a gzip header".to_owned(), vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("a form".to_owned(), b"want=1&have=2".to_vec()),
        ("a page".to_owned(), b"<!doctype html><title>no</title>".to_vec()),
    ];
    let cuts = [
        1,
        2,
        valid.len() / 4,
        valid.len() / 3,
        valid.len() / 2,
        valid.len() * 3 / 4,
        valid.len() - 2,
        valid.len() - 1,
    ];
    broken.extend(cuts.map(|cut| (format!("cut after {cut} bytes"), valid[..cut].to_vec())));
    let mut random = StdRng::seed_from_u64(valid.len() as u64);
    let mut noise = |length: usize| {
        let mut bytes = vec![0; length];
        random.fill_bytes(&mut bytes);
        // No first byte that begins a map in either encoding.
        bytes[0] = 0xc1;
        bytes
    };
    broken.extend(
        [10, 1_000, 100_000]
            .map(&mut noise)
            .into_iter()
            .map(|bytes| (format!("{} bytes of noise", bytes.len()), bytes)),
    );
    assert!(encoding.decode(valid).is_ok(), "the valid body is one");
    broken.into_iter().map(|(name, bytes)| Broken { name, bytes, expected: Malformed }).collect()
}

async fn send(hub: &Hub, remote: &Remote, target: &Target, encoding: Encoding, body: Vec<u8>) -> Answer {
    match target.path.strip_prefix('/') {
        // A new user each time, who would be answered but for the body.
        Some(path) if path == "api/identities" => {
            hub.post_bytes(path, Some(&hub.token(&fresh_name("user"))), encoding, body).await
        }
        Some(path) => hub.post_bytes(path, Some(&hub.dev().token), encoding, body).await,
        None => remote.speaking(encoding).post_bytes(target.path, body).await,
    }
}

/// Sends every broken body in this encoding to every path that takes one.
pub async fn every_broken_body_is_refused(hub: &Hub, encoding: Encoding) {
    let mut builder = Builder::new(1);
    let tree = builder.files(2);
    let root = builder.commit(&[], &tree);
    builder.commit(&[&root], &tree);
    let history = builder.finish();
    let remote = hub.repo().await;
    remote.push(&history, "trunk", history.last()).await.expect(200);
    for target in targets(&history) {
        let all = if encoding == Encoding::Json { broken_json(&target) } else { broken_msgpack(&target) };
        assert!(all.len() > 60);
        // The API beside the protocol is JSON's.
        let understood = encoding == Encoding::Json || !target.path.starts_with('/');
        for broken in all {
            let what = format!("{} {encoding:?}: {}", target.path, broken.name);
            let answer = send(hub, &remote, &target, encoding, broken.bytes).await;
            if broken.expected == Survived && (200..300).contains(&answer.status) {
                continue;
            }
            let refusal = answer.refusal().unwrap_or_else(|problem| panic!("{what}: {problem}"));
            assert!((400..500).contains(&refusal.status), "{what}: {}", answer.excerpt());
            if broken.expected == Malformed && understood {
                assert_eq!(
                    (refusal.status, refusal.code.as_str()),
                    (400, "malformed_body"),
                    "{what}: {}",
                    answer.excerpt()
                );
            }
        }
        assert_eq!(hub.get("health").await.expect(200)["status"], "ok", "after {}", target.path);
        assert_eq!(remote.heads().await["trunk"], history.last(), "after {}", target.path);
        if understood {
            let good = filled(encoding, &target.body, &target.text, ANY, &encoding.encode(&Value::Null));
            let answer = send(hub, &remote, &target, encoding, good).await;
            // 409 where an oddity above was taken, and its name with it.
            assert!([200, 201, 409].contains(&answer.status), "the good body of {}: {}", target.path, answer.excerpt());
        }
    }
    hub.assert_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_json_is_refused_on_every_path() {
    every_broken_body_is_refused(&Hub::start().await, Encoding::Json).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_msgpack_is_refused_on_every_path() {
    every_broken_body_is_refused(&Hub::start().await, Encoding::Msgpack).await;
}

/// The most address space that this process has had, in kilobytes, where the system says so.
fn peak_address_space() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_is_not_believed_and_not_allocated() {
    let hub = Hub::start().await;
    let history = history::linear(2, 1, 1, 0);
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    remote.push(&history, "trunk", history.last()).await.expect(200);
    let before = peak_address_space();
    for target in targets(&history) {
        for (name, fragment) in four_billion() {
            for hole in [TEXT, ANY] {
                let body = filled(Encoding::Msgpack, &target.body, &target.text, hole, &fragment);
                let answer = send(&hub, &remote, &target, Encoding::Msgpack, body).await;
                let refusal = answer.refusal().unwrap_or_else(|problem| panic!("{} {name}: {problem}", target.path));
                assert!((400..500).contains(&refusal.status), "{} {name}: {}", target.path, answer.excerpt());
            }
        }
    }
    // Content lengths that lie are HTTP's to refuse; what is measured here is this process, with the hub in it.
    if let (true, Some(before), Some(after)) = (hub.is_own(), before, peak_address_space()) {
        assert!(after - before < 3 * 1024 * 1024, "{before} kB before, {after} kB after");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_says_where_the_body_is_broken() {
    let hub = Hub::start().await;
    let history = history::linear(3, 2, 3, 1);
    let remote = hub.made_repo(&hub.dev(), false).await;
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        let body = encoding
            .encode(&json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false}));
        let detail = |answer: Answer| answer.refused(400, "malformed_body").detail;
        let near = detail(remote.post_bytes("push", body[..20].to_vec()).await);
        let far = detail(remote.post_bytes("push", body[..body.len() - 5].to_vec()).await);
        let digits = |text: &str| text.chars().any(|letter| letter.is_ascii_digit());
        assert!(digits(&near) && digits(&far), "{near} / {far}");
        assert_ne!(near, far, "another place, another word for it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_base64_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(4, 1, 2, 0);
    let pack = history.pack_of(history.last());
    let good = objects_body(&pack.objects)["objects"][0]["content_b64"].as_str().unwrap().to_owned();
    let (left, right) = good.split_at(good.len() / 2);
    let mut bad: Vec<String> = ["!!!!", "A", "AAAAA", "AA=A", "=AAA", "AA==AA==", "A===", "é", "😀", "AAA-", "AA_A"]
        .map(str::to_owned)
        .to_vec();
    // A reader that skips what it doesn't know would find the right bytes in these.
    bad.extend([
        format!("{left}!{right}"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        format!("{left}={right}"),
        format!("{good}===="),
    ]);
    for bad in bad {
        let remote = hub.made_repo(&hub.dev(), false).await;
        let mut objects = objects_body(&pack.objects);
        objects["objects"][0]["content_b64"] = json!(bad);
        remote.post_bytes("push/objects", objects.to_string()).await.refused_somehow();
        let mut bundle = pack.to_value();
        bundle["objects"][0]["content_b64"] = json!(bad);
        let push = json!({"bundle": bundle, "branch": "main", "force": false});
        remote.post_bytes("push", push.to_string()).await.refused_somehow();
        assert!(remote.heads().await.is_empty(), "{bad}");
        remote.push_pack("main", false, &pack.clone().without_objects()).await.refused(422, "missing_references");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_the_wrong_shape_is_refused() {
    let hub = Hub::start().await;
    let history = history::linear(5, 2, 3, 1);
    let good = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    let object = &good["bundle"]["objects"][0];
    let changes: Vec<(&str, Value)> = vec![
        ("/bundle", json!([])),
        ("/bundle", json!("bundle")),
        ("/bundle", json!(5)),
        ("/branch", json!(5)),
        ("/branch", json!(["main"])),
        ("/force", json!("maybe")),
        ("/force", json!([])),
        ("/bundle/commits", json!({})),
        ("/bundle/commits", json!("none")),
        ("/bundle/commits/0", json!("a commit")),
        ("/bundle/commits/0", json!([])),
        ("/bundle/commits/0", json!(null)),
        ("/bundle/commits/0", json!({})),
        ("/bundle/commits/0/commit_id", json!(5)),
        ("/bundle/commits/0/commit_id", json!(null)),
        ("/bundle/commits/0/snapshot_id", json!(5)),
        ("/bundle/commits/1/parent_commit_id", json!(5)),
        ("/bundle/commits/1/parent_commit_id", json!(["a"])),
        ("/bundle/commits/1/parent2_commit_id", json!({})),
        ("/bundle/commits/0/message", json!({})),
        ("/bundle/commits/0/committed_at", json!(1_740_000_000)),
        ("/bundle/snapshots", json!({})),
        ("/bundle/snapshots/0", json!("a snapshot")),
        ("/bundle/snapshots/0", json!([])),
        ("/bundle/snapshots/0/snapshot_id", json!(5)),
        ("/bundle/snapshots/0/manifest", json!([])),
        ("/bundle/snapshots/0/manifest", json!("a manifest")),
        ("/bundle/snapshots/0/manifest", json!([["a", "b"]])),
        ("/bundle/snapshots/0/manifest", json!({"a": 5})),
        ("/bundle/snapshots/0/manifest", json!({"a": null})),
        ("/bundle/snapshots/0/manifest", json!({"a": {"object_id": "b"}})),
        ("/bundle/objects", json!({})),
        ("/bundle/objects/0", json!("an object")),
        ("/bundle/objects/0", json!([object["object_id"], object["content_b64"]])),
        ("/bundle/objects/0", json!({"object_id": object["object_id"]})),
        ("/bundle/objects/0", json!({"content_b64": object["content_b64"]})),
        ("/bundle/objects/0/object_id", json!(5)),
        ("/bundle/objects/0/content_b64", json!(5)),
        ("/bundle/objects/0/content_b64", json!({})),
        ("/bundle/branch_heads", json!([])),
        ("/bundle/branch_heads", json!("main")),
        ("/bundle/branch_heads", json!({"main": 5})),
        ("", json!([good["bundle"], "main", false])),
    ];
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for (place, value) in &changes {
            // To bytes by way of JSON's form, in which an object's content is still a string.
            let mut body = good.clone();
            *body.pointer_mut(place).unwrap() = value.clone();
            let bytes = match encoding {
                Encoding::Json => encoding.encode(&body),
                Encoding::Msgpack => encode_loosely(&body),
            };
            let answer = remote.post_bytes("push", bytes).await;
            let refusal = answer.refusal().unwrap_or_else(|problem| panic!("{place} = {value}: {problem}"));
            assert!((400..500).contains(&refusal.status), "{place} = {value}: {}", answer.excerpt());
            assert_ne!(refusal.status, 409, "{place} = {value}: clients take 409 for a diverged branch");
        }
        for body in [
            json!([[history.last()], []]),
            json!({"want": history.last(), "have": []}),
            json!({"want": [history.last()], "have": "none"}),
            json!({"want": {"0": history.last()}, "have": []}),
            json!({"want": [[history.last()]], "have": []}),
            json!({"want": [null], "have": []}),
            json!({"want": [], "have": [5]}),
        ] {
            remote.post("fetch", &body).await.refused_somehow();
        }
        for body in [
            json!([[]]),
            json!({"objects": "none"}),
            json!({"objects": [[]]}),
            json!({"objects": [5]}),
            json!({"objects": [{}]}),
        ] {
            remote.post("push/objects", &body).await.refused_somehow();
        }
        assert!(remote.heads().await.is_empty());
        remote.post("push", &good).await.expect(200);
    }
}

/// Msgpack of a body whose objects may not be what the kit's encoder takes objects to be.
fn encode_loosely(body: &Value) -> Vec<u8> {
    fn loosely(value: &Value) -> rmpv::Value {
        match value {
            Value::Array(items) => rmpv::Value::Array(items.iter().map(loosely).collect()),
            Value::Object(fields) => {
                rmpv::Value::Map(fields.iter().map(|(name, value)| (name.as_str().into(), loosely(value))).collect())
            }
            other => tests::encoding::to_msgpack(other),
        }
    }
    tests::encoding::encode_msgpack(&loosely(body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_too_deep_to_give_back_is_not_taken() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(6);
    let tree = builder.files(1);
    for field in ["structured_delta", "metadata", "from_the_future", "breaking_changes", "message"] {
        let id = builder.commit_with(&[], &tree, Formula::CommittedAt, |_| ());
        let mut pack = builder.history().pack(&[&id]);
        pack.commits[0].set(field, ANY);
        let body = json!({"bundle": pack.to_value(), "branch": "main", "force": false});
        for encoding in Encoding::BOTH {
            let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
            let deep = if encoding == Encoding::Json { deep_json() } else { deep_msgpack() };
            for (name, fragment) in deep {
                let answer = remote.post_bytes("push", filled(encoding, &body, "", ANY, &fragment)).await;
                let refusal = answer.refusal().unwrap_or_else(|problem| panic!("{name} as {field}: {problem}"));
                assert!((400..500).contains(&refusal.status), "{name} as {field}: {}", answer.excerpt());
            }
            assert!(remote.heads().await.is_empty());
        }
    }
    hub.assert_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_some_depth_is_refused_or_given_back() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(8);
    let tree = builder.files(1);
    let tip = builder.commit_with(&[], &tree, Formula::CommittedAt, |fields| {
        fields.insert("structured_delta".to_owned(), ANY.into());
    });
    let body = json!({"bundle": builder.finish().pack_of(&tip).to_value(), "branch": "main", "force": false});
    let (mut taken, mut refused) = (0, 0);
    for depth in [50, 100, 127, 128, 129, 250, 500, 900, 1_000, 1_023, 1_024, 1_025, 2_000, 5_000, 20_000] {
        for encoding in Encoding::BOTH {
            let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
            let fragment = match encoding {
                Encoding::Json => [b"[".repeat(depth), b"]".repeat(depth)].concat(),
                Encoding::Msgpack => [vec![0x91; depth - 1], vec![0x90]].concat(),
            };
            let answer = remote.post_bytes("push", filled(encoding, &body, "", ANY, &fragment)).await;
            if answer.status != 200 {
                refused += 1;
                answer.refused_somehow();
                continue;
            }
            taken += 1;
            // The kit's own readers stop at some depth, so this looks for the shape alone.
            for (reader, open) in [(Encoding::Json, &b"["[..]), (Encoding::Msgpack, &[0x91])] {
                let answer = remote.speaking(reader).ask::<_, &str>(&[&tip], &[]).await;
                assert_eq!(answer.status, 200, "depth {depth}: {}", answer.excerpt());
                let whole = open.repeat(depth - 1);
                assert!(
                    answer.body.windows(depth - 1).any(|window| window == whole),
                    "depth {depth} from {encoding:?} to {reader:?}"
                );
            }
        }
    }
    assert!(
        taken > 1 && refused > 1,
        "what music software writes is taken, what breaks readers is not: {taken} and {refused}"
    );
    hub.assert_well().await;
}

/// Damages a body in one to three places.
fn mutated(random: &mut StdRng, body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..bytes.len());
        let end = (at + random.random_range(1..12)).min(bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = random.random_range(0..bytes.len());
                bytes.swap(at, other);
            }
        }
        if bytes.is_empty() {
            return bytes;
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_is_refused_or_harmless() {
    let hub = Hub::start().await;
    let mut random = StdRng::seed_from_u64(7);
    let mut builder = Builder::new(7);
    let tree = builder.files(2);
    let plain = |fields: &mut serde_json::Map<String, Value>| {
        fields.insert("structured_delta".to_owned(), Value::Null);
        fields.insert("metadata".to_owned(), json!({}));
    };
    let root = builder.commit_with(&[], &tree, Formula::CommittedAt, plain);
    let tip = builder.commit_with(&[&root], &tree, Formula::CommittedAt, plain);
    let history = builder.finish();
    let pack = history.pack_of(&tip);
    let bodies = [
        ("push", json!({"bundle": pack.to_value(), "branch": "main", "force": true})),
        ("push/objects", objects_body(&pack.objects)),
        ("fetch", json!({"want": [tip], "have": [root]})),
    ];
    let (mut refused, mut taken) = (0, 0);
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for (path, body) in &bodies {
            let valid = encoding.encode(body);
            for _ in 0..250 {
                let body = mutated(&mut random, &valid);
                let answer = remote.post_bytes(path, body.clone()).await;
                if answer.status == 200 {
                    taken += 1;
                    continue;
                }
                let refusal = answer
                    .refusal()
                    .unwrap_or_else(|problem| panic!("{path} {}: {problem}", String::from_utf8_lossy(&body)));
                assert!(
                    (400..500).contains(&refusal.status),
                    "{path} {}: {}",
                    String::from_utf8_lossy(&body),
                    answer.excerpt()
                );
                refused += 1;
            }
        }
        // Whatever was taken is what its ids say, and nothing stands in the way of the honest push.
        remote.push_pack("honest", false, &pack).await.expect(200);
        let cloned = remote.speaking(Encoding::Json).clone_all().await;
        verify::pack(&cloned, &History::default()).unwrap();
        assert!(cloned.commit_ids().contains(&tip));
    }
    assert!(
        refused > 300 && taken > 0,
        "{refused} refused, {taken} taken: the damage is neither always nor never fatal"
    );
    hub.assert_well().await;
}
