//! An item of the table as JSON, in the form in which DynamoDB itself has it:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html>

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use store::table::items::Item;

/// The item as a JSON map. None for a kind of value that this program does not know.
pub fn to_json(item: &Item) -> Option<Value> {
    // Sorted, so that the same item is always the same line.
    let fields: Option<Map<String, Value>> =
        item.iter().map(|(name, value)| Some((name.clone(), value_to_json(value)?))).collect();
    fields.map(Value::Object)
}

fn value_to_json(value: &AttributeValue) -> Option<Value> {
    let base64 = |blob: &Blob| BASE64_STANDARD.encode(blob);
    Some(match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::B(blob) => json!({"B": base64(blob)}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::Null(flag) => json!({"NULL": flag}),
        AttributeValue::Ss(texts) => json!({"SS": texts}),
        AttributeValue::Ns(numbers) => json!({"NS": numbers}),
        AttributeValue::Bs(blobs) => json!({"BS": blobs.iter().map(base64).collect::<Vec<_>>()}),
        AttributeValue::L(values) => json!({"L": values.iter().map(value_to_json).collect::<Option<Vec<_>>>()?}),
        AttributeValue::M(values) => json!({"M": to_json(values)?}),
        _ => return None,
    })
}

/// The item of a JSON map.
pub fn from_json(value: &Value) -> Option<Item> {
    let fields = value.as_object()?;
    fields.iter().map(|(name, value)| Some((name.clone(), value_from_json(value)?))).collect::<Option<HashMap<_, _>>>()
}

fn value_from_json(value: &Value) -> Option<AttributeValue> {
    let mut fields = value.as_object()?.iter();
    let ((kind, value), None) = (fields.next()?, fields.next()) else {
        return None;
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = || value.as_array()?.iter().map(text).collect::<Option<Vec<_>>>();
    let blob = |value: &Value| BASE64_STANDARD.decode(value.as_str()?).ok().map(Blob::new);
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(blob(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(value.as_bool()?),
        "SS" => AttributeValue::Ss(texts()?),
        "NS" => AttributeValue::Ns(texts()?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(blob).collect::<Option<_>>()?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(value_from_json).collect::<Option<_>>()?),
        "M" => AttributeValue::M(from_json(value)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = AttributeValue> {
        let leaf = prop_oneof![
            "\\PC{0,20}".prop_map(AttributeValue::S),
            any::<i64>().prop_map(|number| AttributeValue::N(number.to_string())),
            prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| AttributeValue::B(Blob::new(bytes))),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null(true)),
            prop::collection::vec("\\PC{1,9}", 1..4).prop_map(AttributeValue::Ss),
            prop::collection::vec("[1-9][0-9]{0,37}", 1..4).prop_map(AttributeValue::Ns),
            prop::collection::vec(any::<u8>(), 0..9)
                .prop_map(|bytes| AttributeValue::Bs(vec![Blob::new(bytes), Blob::new("x")])),
        ];
        leaf.prop_recursive(3, 30, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(AttributeValue::L),
                prop::collection::hash_map("\\PC{0,9}", inner, 0..6).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_item_comes_back_out_of_its_line(item in prop::collection::hash_map("\\PC{1,9}", values(), 0..6)) {
            let line = serde_json::to_string(&to_json(&item).unwrap()).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(from_json(&serde_json::from_str(&line).unwrap()), Some(item));
        }
    }
}
