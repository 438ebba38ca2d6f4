//! Writes a record, which is msgpack, as JSON, without ever making a tree of it.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::value::Value;

/// Appends a record that the hub has stored to a JSON text. It says what a [`Value`] of the same record says in JSON.
///
/// ```
/// let record = rmp_serde::to_vec_named(&serde_json::json!({"bpm": 120, "key": [1, 2]})).expect("msgpack");
/// let mut json = Vec::new();
/// common::wire::recode::to_json(&record, &mut json)?;
/// assert_eq!(json, br#"{"bpm":120,"key":[1,2]}"#);
/// # Ok::<_, common::wire::WireError>(())
/// ```
/// # Errors
/// [`WireError::Internal`] when the record is no msgpack value.
pub fn to_json(record: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(record);
    Json(out).deserialize(&mut deserializer).map_err(WireError::internal)
}

/// Where the next value is written.
struct Json<'o>(&'o mut Vec<u8>);

impl Json<'_> {
    fn write<E: de::Error>(self, value: &impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.0, value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("null, a boolean, a number, a string, bytes, a list or a map")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<(), E> {
        self.write(&BASE64_STANDARD.encode(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut separator = b'[';
        loop {
            let start = self.0.len();
            self.0.push(separator);
            if list.next_element_seed(Json(self.0))?.is_none() {
                self.0.truncate(start);
                break;
            }
            separator = b',';
        }
        self.0.extend_from_slice(if separator == b'[' { b"[]" } else { b"]" });
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut separator = b'{';
        loop {
            let start = self.0.len();
            self.0.push(separator);
            if map.next_key_seed(JsonKey(self.0))?.is_none() {
                self.0.truncate(start);
                break;
            }
            self.0.push(b':');
            map.next_value_seed(Json(self.0))?;
            separator = b',';
        }
        self.0.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
        Ok(())
    }
}

/// Where the key of the next entry is written.
struct JsonKey<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for JsonKey<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let key = Value::deserialize(deserializer)?;
        let text = key.as_json_key().map_err(de::Error::custom)?;
        serde_json::to_writer(self.0, &text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::Unsigned),
            (i64::MIN..0).prop_map(Value::Signed),
            any::<f64>().prop_map(Value::Float),
            ".{0,20}".prop_map(|text| Value::Text(text.into())),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(4, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
                prop::collection::vec((inner.clone(), inner), 0..8).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_says_what_the_tree_of_the_record_says(value in value()) {
            let record = rmp_serde::to_vec(&value).unwrap();
            let mut json = b"before".to_vec();
            to_json(&record, &mut json).unwrap();
            let expected = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(String::from_utf8(json).unwrap(), format!("before{expected}"));
        }

        #[test]
        fn maps_that_are_keys_of_maps_are_written_to_a_depth_and_refused_beyond(depth in 0_usize..60) {
            let nested = (0..depth).fold(Value::Nil, |key, _| Value::Map(vec![(key, Value::Nil)]));
            let mut json = Vec::new();
            let outcome = to_json(&rmp_serde::to_vec(&nested).unwrap(), &mut json);
            prop_assert_eq!(outcome.is_ok(), depth <= 9);
            prop_assert_eq!(serde_json::to_string(&nested).is_ok(), depth <= 9);
            prop_assert!(json.len() < 10_000);
        }

        #[test]
        fn what_is_cut_is_no_record(value in value(), at in any::<prop::sample::Index>()) {
            let record = rmp_serde::to_vec(&value).unwrap();
            let cut = &record[..at.index(record.len())];
            prop_assert!(to_json(cut, &mut Vec::new()).is_err());
        }
    }
}
