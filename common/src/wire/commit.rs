//! A commit as it came: the fields that the hub reads, and all of them verbatim as one msgpack map.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::encoding::decode_msgpack;
use super::error::Error;
use super::limits::MAX_COMMIT_VALUES;
use super::text::Text;
use super::value::{Value, ValueSeed};
use crate::id::{CommitId, Id, SnapshotId};

/// One commit of a bundle, or of a pack.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id, as the client says: whether the content bears it out is [`Commit::is_proved`].
    pub id: CommitId,
    /// The parents that it names, none, one or two.
    pub parents: Vec<CommitId>,
    /// The snapshot that it names.
    pub snapshot: Option<SnapshotId>,
    /// The branch that it was made on.
    pub branch: Box<str>,
    /// Whether `author` or `committed_at` was left empty.
    is_incomplete: bool,
    is_proved: bool,
    record: Vec<u8>,
}

/// What a field of a commit holds when it is there and not null.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    List,
    Map,
    Any,
}

/// What an absent field comes back as.
#[derive(Clone, Copy)]
enum Default {
    Nil,
    Empty,
    Text(&'static str),
    Integer(u64),
}

/// The fields that the contract knows, with what they hold and what they are when absent. `commit_id` alone must be
/// there; it is first.
const FIELDS: [(&str, Kind, Default); 22] = [
    ("commit_id", Kind::Text, Default::Empty),
    ("repo_id", Kind::Text, Default::Empty),
    ("branch", Kind::Text, Default::Empty),
    ("snapshot_id", Kind::Text, Default::Nil),
    ("message", Kind::Text, Default::Empty),
    ("committed_at", Kind::Text, Default::Empty),
    ("parent_commit_id", Kind::Text, Default::Nil),
    ("parent2_commit_id", Kind::Text, Default::Nil),
    ("author", Kind::Text, Default::Empty),
    ("metadata", Kind::Map, Default::Empty),
    ("structured_delta", Kind::Any, Default::Nil),
    ("sem_ver_bump", Kind::Text, Default::Text("none")),
    ("breaking_changes", Kind::List, Default::Empty),
    ("agent_id", Kind::Text, Default::Empty),
    ("model_id", Kind::Text, Default::Empty),
    ("toolchain_id", Kind::Text, Default::Empty),
    ("prompt_hash", Kind::Text, Default::Empty),
    ("signature", Kind::Text, Default::Empty),
    ("signer_key_id", Kind::Text, Default::Empty),
    ("format_version", Kind::Integer, Default::Integer(1)),
    ("reviewed_by", Kind::List, Default::Empty),
    ("test_runs", Kind::Integer, Default::Integer(0)),
];

impl Commit {
    /// The commit as one msgpack map: every field that came, as it came, and the defaults of those that did not.
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// Whether the id is the hash of the commit's content, by either of the two formulas that clients use:
    /// `sha256(NUL.join([NUL.join(sorted(parents)), snapshot_id, message, committed_at]))`, or the same with `author`
    /// in place of `committed_at`.
    pub const fn is_proved(&self) -> bool {
        self.is_proved
    }

    /// Whether the pusher left the author or the time empty.
    pub const fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Fills in what the pusher left empty.
    ///
    /// # Errors
    /// [`Error::Internal`] when the commit's own record cannot be read, which is a fault of the hub's.
    pub fn complete(&mut self, author: &str, committed_at: &str) -> Result<(), Error> {
        if !self.is_incomplete {
            return Ok(());
        }
        let Value::Map(fields) = decode_msgpack(&self.record).map_err(Error::internal)? else {
            return Err(Error::internal("the record of a commit is no map"));
        };
        let mut fields = Fields(fields);
        for (name, filling) in [("author", author), ("committed_at", committed_at)] {
            if let Some(value) = fields.get_mut(name)
                && is_empty(value)
            {
                *value = Value::Text(filling.into());
            }
        }
        self.record = rmp_serde::to_vec(&fields).map_err(Error::internal)?;
        self.is_incomplete = false;
        Ok(())
    }

    fn from_fields(mut fields: Fields) -> Result<Self, String> {
        if fields.get("commit_id").is_none() {
            return Err("missing field `commit_id`".to_owned());
        }
        for (name, kind, default) in FIELDS {
            match fields.get(name) {
                None => fields.0.push((Value::Text(name.into()), default.value(kind))),
                Some(value) if kind.holds(value) => {}
                Some(_) => return Err(format!("{name} is not {}", kind.describe())),
            }
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_text).unwrap_or_default();
        let id = |name: &str| -> Result<Option<Id>, String> {
            let text = text(name);
            if text.is_empty() && name != "commit_id" {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|reason| format!("{name}: {reason}"))
        };
        let mut parents = Vec::new();
        parents.extend(id("parent_commit_id")?.map(CommitId::from));
        parents.extend(id("parent2_commit_id")?.map(CommitId::from));
        let commit_id = id("commit_id")?.ok_or("missing field `commit_id`")?;

        let mut names = vec![text("parent_commit_id"), text("parent2_commit_id")];
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        let parents_part = names.join("\0");
        let is_proved = [text("committed_at"), text("author")].into_iter().any(|last| {
            let parts = [&parents_part, text("snapshot_id"), text("message"), last];
            commit_id.is_bare(Sha256::digest(parts.join("\0")).into())
        });
        let is_incomplete = text("author").is_empty() || text("committed_at").is_empty();
        Ok(Self {
            parents,
            snapshot: id("snapshot_id")?.map(SnapshotId::from),
            branch: text("branch").into(),
            is_incomplete,
            is_proved,
            record: rmp_serde::to_vec(&fields).map_err(|error| error.to_string())?,
            id: commit_id.into(),
        })
    }
}

impl Kind {
    const fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Nil) | (Self::Any, _) => true,
            (Self::Text, value) => matches!(value, Value::Text(_)),
            (Self::Integer, value) => matches!(value, Value::Unsigned(_) | Value::Signed(_)),
            (Self::List, value) => matches!(value, Value::List(_)),
            (Self::Map, value) => matches!(value, Value::Map(_)),
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Any => "a value",
        }
    }
}

impl Default {
    fn value(self, kind: Kind) -> Value {
        match (self, kind) {
            (Self::Nil, _) => Value::Nil,
            (Self::Text(text), _) => Value::Text(text.into()),
            (Self::Integer(number), _) => Value::Unsigned(number),
            (Self::Empty, Kind::List) => Value::List(Vec::new()),
            (Self::Empty, Kind::Map) => Value::Map(Vec::new()),
            (Self::Empty, _) => Value::empty_text(),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Nil) || value.as_text().is_some_and(str::is_empty)
}

/// A commit's fields in the order sent, no name twice.
struct Fields(Vec<(Value, Value)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        let (_, value) = self.0.iter().find(|(key, _)| key.as_text() == Some(name))?;
        Some(value)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        let (_, value) = self.0.iter_mut().find(|(key, _)| key.as_text() == Some(name))?;
        Some(value)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a commit, which is a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let left = Cell::new(MAX_COMMIT_VALUES);
                let seed = ValueSeed { left: &left };
                let mut fields = Vec::new();
                let mut names = std::collections::HashSet::new();
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

impl<'de> Deserialize<'de> for Commit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_fields(Fields::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
