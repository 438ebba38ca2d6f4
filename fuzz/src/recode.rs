//! Stored records as JSON.
//!
//! A record is written as JSON exactly if it can be read, and says what the tree of its values says.

use common::wire::recode::to_json;
use common::wire::value::Value;
use serde::Deserialize;
use serde_json::json;

/// Panics if these bytes, as a stored record, break a promise.
pub fn check(record: &[u8]) {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(record);
    let value = Value::deserialize(&mut deserializer);
    let mut written = b"before".to_vec();
    let outcome = to_json(record, &mut written);
    match value.map(|value| serde_json::to_string(&value)) {
        Ok(Ok(expected)) => {
            outcome.expect("what can be read can be written");
            let json = written.strip_prefix(b"before").expect("what was there stays");
            assert_eq!(String::from_utf8_lossy(json), expected);
        }
        // It cannot be read, or has maps in the keys of maps too deep.
        _ => assert!(outcome.is_err(), "what cannot be read is not written"),
    }
}

/// Values of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let values = [
        json!({"a": [1, -1, 1.5, null, true, "ü\u{0}\"\\"], "b": {"": {}}, "c": u64::MAX, "d": i64::MIN}),
        json!([[], {}, [[[]]], "x".repeat(40)]),
    ];
    let mut seeds: Vec<Vec<u8>> =
        values.iter().map(|value| rmp_serde::to_vec(value).expect("a value can be written")).collect();
    // Bytes, a key that is no text, an extension, a number that is none.
    seeds.push(vec![0xc4, 0x03, 1, 2, 3]);
    seeds.push(vec![0x82, 0x01, 0xa1, b'x', 0x92, 0xc0, 0xc3, 0x90]);
    seeds.push(vec![0xd6, 0xff, 0, 0, 0, 1]);
    seeds.push(vec![0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
    seeds
}
