//! Lists in answers, page by page.
//!
//! The pages of a list have its items once and in their order, no page is larger than it may be, and both encodings say the
//! same.

use common::wire::page::Page;
use common::wire::value::Value;
use common::wire::{Encoding, recode};
use serde_json::json;

/// What is between two items: a byte that no msgpack has.
const BETWEEN: u8 = 0xc1;
/// Bytes of a page beside its items: its name, its cursor.
const AROUND: usize = 64;

/// Panics if the list that these bytes are breaks a promise. The first byte is how much a page takes.
pub fn check(input: &[u8]) {
    let Some((most, rest)) = input.split_first() else {
        return;
    };
    let most = 4 * usize::from(*most) + 1;
    let items: Vec<Value> = rest
        .split(|byte| *byte == BETWEEN)
        .map(|item| {
            Encoding::Msgpack.decode(item).unwrap_or_else(|_| Value::Text(String::from_utf8_lossy(item).into()))
        })
        .collect();
    let records: Vec<Vec<u8>> =
        items.iter().map(|item| rmp_serde::to_vec(item).expect("a value can be written")).collect();
    let said = |encoding| {
        let mut listed = Vec::new();
        loop {
            let mut page = Page::new(encoding, "items", most);
            let mut length = 0;
            for (number, record) in records.iter().enumerate().skip(listed.len()) {
                if page.push_record(record, &number.to_string()).expect("a record is msgpack").is_break() {
                    break;
                }
                length += 1;
            }
            let before = listed.len();
            let body = page.finish().expect("a page can be written");
            let Value::Map(fields) = encoding.decode(&body).expect("a page is whole") else {
                panic!("a page is no map");
            };
            let mut fields = fields.into_iter();
            let Some((_, Value::List(page))) = fields.next() else {
                panic!("a page has no list");
            };
            assert_eq!(page.len(), length);
            assert!(!page.is_empty() || records.is_empty(), "each page brings the list on");
            assert!(page.len() == 1 || body.len() <= most + AROUND, "{} bytes of {most}", body.len());
            listed.extend(page);
            match fields.next() {
                Some((_, next)) => assert_eq!(next.as_text(), Some((listed.len() - 1).to_string().as_str())),
                None => return listed,
            }
            assert!(listed.len() > before);
        }
    };
    assert_eq!(format!("{:?}", said(Encoding::Msgpack)), format!("{items:?}"));
    let as_json = |item: &Vec<u8>| {
        let mut json = Vec::new();
        recode::to_json(item, &mut json).expect("a record is msgpack");
        Encoding::Json.decode::<Value>(&json).expect("it is JSON")
    };
    let expected: Vec<Value> = records.iter().map(as_json).collect();
    assert_eq!(format!("{:?}", said(Encoding::Json)), format!("{expected:?}"));
}

/// Lists of a few items, on pages of several sizes.
pub fn seeds() -> Vec<Vec<u8>> {
    let items = [json!({"tag": "v1", "commit_id": "c"}), json!("x".repeat(30)), json!([1, 2, null]), json!(7)];
    let records = items.iter().map(|item| rmp_serde::to_vec(item).expect("a value can be written"));
    let list = records.collect::<Vec<_>>().join(&BETWEEN);
    [0, 10, 255].into_iter().map(|most| [&[most], list.as_slice()].concat()).collect()
}
