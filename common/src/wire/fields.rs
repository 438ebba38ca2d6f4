//! A record that is kept as it came: every field, known or not, in the order sent. The fields that the contract knows
//! are checked for their kind, and get its defaults where they are absent.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::encoding::decode_msgpack;
use super::error::WireError;
use super::limits::MAX_RECORD_VALUES;
use super::text::Text;
use super::value::{Value, ValueSeed};

/// What a field holds when it is there and not null.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    Bool,
    List,
    ListOfMaps,
    Map,
    Any,
}

/// What an absent field comes back as.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    Nil,
    Empty,
    Text(&'static str),
    Integer(u64),
    Bool(bool),
}

/// A field that the contract knows: its name, what it holds, and what it is when absent.
pub(super) type Known = (&'static str, Kind, Absent);

impl Kind {
    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Nil) | (Self::Any, _) => true,
            (Self::Text, value) => matches!(value, Value::Text(_)),
            (Self::Integer, value) => matches!(value, Value::Unsigned(_) | Value::Signed(_)),
            (Self::Bool, value) => matches!(value, Value::Bool(_)),
            (Self::List, value) => matches!(value, Value::List(_)),
            (Self::ListOfMaps, Value::List(items)) => items.iter().all(|item| matches!(item, Value::Map(_))),
            (Self::ListOfMaps, _) => false,
            (Self::Map, value) => matches!(value, Value::Map(_)),
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::Bool => "true or false",
            Self::List => "a list",
            Self::ListOfMaps => "a list of maps",
            Self::Map => "a map",
            Self::Any => "a value",
        }
    }
}

impl Absent {
    fn value(self, kind: Kind) -> Value {
        match (self, kind) {
            (Self::Nil, _) => Value::Nil,
            (Self::Text(text), _) => Value::Text(text.into()),
            (Self::Integer(number), _) => Value::Unsigned(number),
            (Self::Bool(flag), _) => Value::Bool(flag),
            (Self::Empty, Kind::List | Kind::ListOfMaps) => Value::List(Vec::new()),
            (Self::Empty, Kind::Map) => Value::Map(Vec::new()),
            (Self::Empty, _) => Value::empty_text(),
        }
    }
}

/// The fields of a record in the order sent, no name twice.
#[derive(Debug, PartialEq)]
pub(super) struct Fields(Vec<(Value, Value)>);

impl Fields {
    /// Reads a record that the hub has written.
    pub(super) fn from_record(record: &[u8]) -> Result<Self, WireError> {
        match decode_msgpack(record).map_err(WireError::internal)? {
            Value::Map(fields) => Ok(Self(fields)),
            _ => Err(WireError::internal("a record is no map")),
        }
    }

    /// The record as one msgpack map.
    pub(super) fn record(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec(self)
    }

    /// Checks that fields are there.
    pub(super) fn require(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.get(name).is_none()) {
            Some(missing) => Err(format!("missing field `{missing}`")),
            None => Ok(()),
        }
    }

    /// Checks the known fields that are there, and adds the others.
    pub(super) fn complete(&mut self, known: &[Known]) -> Result<(), String> {
        for (name, kind, absent) in known {
            match self.get(name) {
                None => self.0.push((Value::Text((*name).into()), absent.value(*kind))),
                Some(value) if kind.holds(value) => {}
                Some(_) => return Err(format!("{name} is not {}", kind.describe())),
            }
        }
        Ok(())
    }

    /// Puts a text where the pusher left one empty, and returns what is there now.
    pub(super) fn fill(&mut self, name: &str, filling: &str) {
        let value = self.0.iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
        if let Some(value) = value
            && (matches!(value, Value::Nil) || value.as_text().is_some_and(str::is_empty))
        {
            *value = Value::Text(filling.into());
        }
    }

    /// Puts a value where another is.
    pub(super) fn set(&mut self, name: &str, new: Value) {
        if let Some((_, value)) = self.0.iter_mut().find(|(key, _)| key.as_text() == Some(name)) {
            *value = new;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let (_, value) = self.0.iter().find(|(key, _)| key.as_text() == Some(name))?;
        Some(value)
    }

    /// A text, empty if it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_text).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let left = Cell::new(MAX_RECORD_VALUES);
                let seed = ValueSeed { left: &left, is_strict: true };
                let mut fields = Vec::new();
                let mut names = HashSet::new();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    fields.push((Value::Text((&*name).into()), map.next_value_seed(seed)?));
                    if let Some(twice) = names.replace(name) {
                        return Err(de::Error::custom(format_args!("the field {:?} is there twice", &*twice)));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
