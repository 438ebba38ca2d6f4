//! Any value that both encodings can carry: what the open fields of a commit hold.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::MAX_RECORD_VALUES;

/// What the reason of a refusal begins with that is about what a value says and not about how it is written: 422, not 400.
/// Decoders carry nothing but text from here to where that is decided.
pub(super) const NOT_KEPT: &str = "cannot be kept: ";

/// The first float, 2^64, that an unsigned integer does not reach.
const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;
/// The least signed integer, -2^63, and what a smaller one is rounded to.
const BELOW_I64: f64 = -9_223_372_036_854_775_808.0;

/// A value as it came, of a field that the hub does not interpret.
///
/// What clients send is read strictly, so that each value comes back as it was pushed, in either encoding, and to
/// decoders that take only text for a key: see `ValueSeed`. Older hubs took more, and what they stored is still read
/// and given out. JSON has its own way for what it cannot say: bytes are base64, a key that is not a string is its JSON
/// text, a number that is not finite is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// null
    Nil,
    /// true or false
    Bool(bool),
    /// An integer from 0.
    Unsigned(u64),
    /// A negative integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(Box<str>),
    /// A byte string (msgpack bin).
    Bytes(Box<[u8]>),
    /// A list.
    List(Vec<Value>),
    /// A map, in the order sent.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// An empty string.
    pub fn empty_text() -> Self {
        Self::Text(Box::default())
    }

    /// The string, if it is one.
    pub const fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// How deep maps may be in the keys of maps. Each level doubles what has to be escaped.
const MAX_KEY_DEPTH: usize = 8;

impl Value {
    /// What JSON has for this as a key: a text as it is, and for any other value its JSON text. Only older hubs took those.
    ///
    /// # Errors
    /// For a key that has maps as keys, and so on, too deep.
    pub(super) fn as_json_key(&self) -> Result<Cow<'_, str>, String> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            other if other.key_depth() > MAX_KEY_DEPTH => Err("a map is the key of a map too often".to_owned()),
            other => serde_json::to_string(other).map(Cow::Owned).map_err(|error| error.to_string()),
        }
    }

    /// How many keys that are no text are in each other.
    fn key_depth(&self) -> usize {
        match self {
            Self::List(items) => items.iter().map(Self::key_depth).max().unwrap_or(0),
            Self::Map(entries) => {
                let of_key = |key: &Self| if key.as_text().is_some() { 0 } else { 1 + key.key_depth() };
                entries.iter().map(|(key, value)| of_key(key).max(value.key_depth())).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    /// Reads a value of any size and kind, for what the hub itself has written. What clients send is counted, and read
    /// strictly: see `ValueSeed`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueSeed { left: &Cell::new(usize::MAX), is_strict: false }.deserialize(deserializer)
    }
}

/// Values that a list or a map has room for from the start, if it says that it has as many. That it has them is not known yet,
/// and lists may be nested: few, so that a small body takes little memory.
const MAX_FORESEEN: usize = 64;

/// Reads a value and counts its parts, so that a small body cannot make a large tree.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'a> {
    /// How many more values may be read.
    pub left: &'a Cell<usize>,
    /// Whether what would not come back to every client as it was sent is refused.
    pub is_strict: bool,
}

/// What is known of integers in a JSON body that do not fit into 64 bits. Its decoder makes floats of them and shows no
/// digits. So a float may be such an integer, or a float by its own right; only the text shows which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounded {
    /// No float was met that may have been one.
    Unmet,
    /// One was met.
    Met,
    /// The body has such integers, and floats that may be one are refused.
    Refused,
}

thread_local! {
    /// For the body that this thread is decoding, which it does in one go.
    pub(super) static ROUNDED: Cell<Rounded> = const { Cell::new(Rounded::Unmet) };
}

impl ValueSeed<'_> {
    /// Refuses what some client would not get back as it was sent.
    fn refuse<T, E: de::Error>(self, what: &str) -> Result<T, E> {
        Err(E::custom(format_args!("{NOT_KEPT}{what}")))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get();
        self.left
            .set(left.checked_sub(1).ok_or_else(|| {
                de::Error::custom(format_args!("more than {MAX_RECORD_VALUES} values in one record"))
            })?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("null, a boolean, a number, a string, bytes, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        if self.is_strict && !value.is_finite() {
            return self.refuse("JSON has no NaN and no infinities; leave the value out, or send null");
        }
        if self.is_strict && (value >= BEYOND_U64 || value <= BELOW_I64) {
            if ROUNDED.get() == Rounded::Refused {
                return self.refuse("an integer beyond 64 bits; send it as a string");
            }
            ROUNDED.set(Rounded::Met);
        }
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        if self.is_strict {
            return self.refuse("JSON has no bytes; send a string, of base64 for example, and in UTF-8");
        }
        Ok(Value::Bytes(value.into()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        // What does not end is no value at all.
        let _: (de::IgnoredAny, de::IgnoredAny) = Deserialize::deserialize(deserializer)?;
        self.refuse("JSON has no extension types and no timestamps; send a string, of ISO 8601 for example")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::with_capacity(list.size_hint().unwrap_or_default().min(MAX_FORESEEN));
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let foreseen = map.size_hint().unwrap_or_default().min(MAX_FORESEEN);
        let mut entries: Vec<(Value, Value)> = Vec::with_capacity(foreseen);
        while let Some(key) = map.next_key_seed(self)? {
            entries.push((key, map.next_value_seed(self)?));
        }
        // Once it has ended: what does not is no value at all.
        if self.is_strict && entries.iter().any(|(key, _)| key.as_text().is_none()) {
            return self.refuse("a map has a key that is not text; write it as a string");
        }
        Ok(Value::Map(entries))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) if serializer.is_human_readable() => {
                serializer.serialize_str(&BASE64_STANDARD.encode(value))
            }
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Self::Map(entries) => {
                let readable = serializer.is_human_readable();
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    if readable {
                        let text = key.as_json_key().map_err(serde::ser::Error::custom)?;
                        map.serialize_entry(&text, value)?;
                    } else {
                        map.serialize_entry(key, value)?;
                    }
                }
                map.end()
            }
        }
    }
}
