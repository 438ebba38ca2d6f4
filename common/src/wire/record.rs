//! Snapshots and objects, as they are sent and as they are stored.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::error::WireError;
use super::limits::{MAX_INLINE_OBJECT, MAX_MANIFEST_ENTRIES};
use super::names::{check_path, check_paths};
use super::text::{Text, read_map, wire_map};
use crate::id::{ObjectId, ObjectKey, SnapshotId};

/// Standard base64, its padding optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of a manifest that are hashed at a time.
const HASHED: usize = 16 << 10;

read_map! {
    /// The state of a tree: which path holds which object.
    pub struct Snapshot<'a> {
        /// Its id, as the client says.
        snapshot_id: SnapshotId,
        /// Path to object id, in the order sent.
        manifest: Manifest<'a>,
        /// When it was made, as the client says; the time of the push when the client does not.
        created_at: Option<Text<'a>> = None,
    }
}

impl Snapshot<'_> {
    /// Checks the limits of a manifest; and, if it `has_to_be_a_tree`, that its paths are files which a clone can have.
    ///
    /// # Errors
    /// [`WireError::TooMany`] entries, or [`WireError::Invalid`] for a path that is none.
    pub fn check(&self, has_to_be_a_tree: bool) -> Result<(), WireError> {
        self.check_after(None, has_to_be_a_tree)
    }

    /// The same, after another snapshot that was checked. Neighbours in history mostly have the same paths, and those are right then.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_after(&self, before: Option<&Self>, has_to_be_a_tree: bool) -> Result<(), WireError> {
        if before.is_some_and(|before| before.manifest.has_paths_of(&self.manifest)) {
            return Ok(());
        }
        WireError::check_count("manifest entries", self.manifest.sent, MAX_MANIFEST_ENTRIES)?;
        let mut paths: Vec<&str> = self.manifest.entries.iter().map(|(path, _)| &**path).collect();
        let refuse = |reason| WireError::invalid(&format!("a path of snapshot '{}'", self.snapshot_id), reason);
        paths.iter().try_for_each(|path| check_path(path).map_err(refuse))?;
        if has_to_be_a_tree {
            if !paths.is_sorted() {
                paths.sort_unstable();
            }
            check_paths(&paths).map_err(refuse)?;
        }
        Ok(())
    }

    /// Whether the id is the hash of the manifest:
    /// `sha256(NUL.join(sorted(path + NUL + object_id for each entry)))`.
    pub fn is_proved(&self) -> bool {
        let mut entries: Vec<&(Text<'_>, ObjectId)> = self.manifest.entries.iter().collect();
        // No path holds a NUL, so this is the order of the joined strings; and the order of bytes is that of characters.
        entries.sort_unstable();
        let mut hash = Sha256::new();
        // Many small pieces would take the hash longer than it takes to join them.
        let mut joined = Vec::with_capacity(2 * HASHED);
        for (position, (path, object)) in entries.into_iter().enumerate() {
            if position > 0 {
                joined.push(0);
            }
            joined.extend_from_slice(path.as_bytes());
            joined.push(0);
            object.as_ref().with_str(|text| joined.extend_from_slice(text.as_bytes()));
            if joined.len() >= HASHED {
                hash.update(&joined);
                joined.clear();
            }
        }
        hash.update(&joined);
        self.snapshot_id.as_ref().is_bare(hash.finalize().into())
    }

    /// The snapshot as one msgpack map, as it is stored and sent.
    ///
    /// # Errors
    /// [`WireError::Internal`] when it cannot be written, which is a fault of the hub's.
    pub fn record(&self) -> Result<Vec<u8>, WireError> {
        rmp_serde::to_vec_named(self).map_err(WireError::internal)
    }
}

impl Serialize for Snapshot<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("Snapshot", 3)?;
        map.serialize_field("snapshot_id", &self.snapshot_id)?;
        map.serialize_field("manifest", &self.manifest)?;
        map.serialize_field("created_at", &self.created_at)?;
        map.end()
    }
}

/// Which path holds which object.
#[derive(Debug, PartialEq)]
pub struct Manifest<'a> {
    /// The entries in the order sent; not more than a manifest may have.
    pub entries: Vec<(Text<'a>, ObjectId)>,
    sent: usize,
}

impl<'a> Manifest<'a> {
    /// Whether another has the same paths, and in the same order.
    fn has_paths_of(&self, other: &Manifest<'_>) -> bool {
        let paths = self.entries.iter().zip(&other.entries);
        self.sent == other.sent
            && self.entries.len() == other.entries.len()
            && paths.into_iter().all(|((path, _), (other, _))| **path == **other)
    }

    /// The entries that the manifest before this one lacks, if there is one: of neighbours in history, few. Entries that are in no
    /// order may be among them all the same.
    pub fn beyond<'m>(
        &'m self,
        before: Option<&'m Manifest<'a>>,
    ) -> impl Iterator<Item = &'m (Text<'a>, ObjectId)> + use<'m, 'a> {
        let mut others = before.map_or_else(Default::default, |before| before.entries.iter()).peekable();
        self.entries.iter().filter(move |entry| {
            // Mostly the next one is the same.
            if others.next_if_eq(entry).is_some() {
                return false;
            }
            while others.next_if(|other| other.0 < entry.0).is_some() {}
            others.next_if_eq(entry).is_none()
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Manifest<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ManifestVisitor;
        impl<'de> Visitor<'de> for ManifestVisitor {
            type Value = Manifest<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of paths to object ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(Text<'de>, ObjectId)> = Vec::new();
                let mut sent = 0;
                let mut is_sorted = true;
                while sent < MAX_MANIFEST_ENTRIES {
                    let Some((path, object)) = map.next_entry()? else {
                        if !is_sorted {
                            refuse_double_paths(&entries)?;
                        }
                        return Ok(Manifest { entries, sent });
                    };
                    is_sorted &= entries.last().is_none_or(|(last, _)| *last < path);
                    entries.push((path, object));
                    sent += 1;
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    sent += 1;
                }
                Ok(Manifest { entries, sent })
            }
        }
        deserializer.deserialize_map(ManifestVisitor)
    }
}

fn refuse_double_paths<E: de::Error>(entries: &[(Text<'_>, ObjectId)]) -> Result<(), E> {
    let mut paths = HashSet::with_capacity(entries.len());
    for (path, _) in entries {
        if !paths.insert(path) {
            return Err(E::custom(format_args!("the path {:?} is there twice", &**path)));
        }
    }
    Ok(())
}

impl Serialize for Manifest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (path, object) in &self.entries {
            map.serialize_entry(path, object)?;
        }
        map.end()
    }
}

/// The bytes of one file, as a client sends them.
#[derive(Debug, PartialEq)]
pub struct Object<'a> {
    /// Its id, as the client says.
    pub object_id: ObjectId,
    /// The bytes; borrowed from a msgpack body, decoded from a JSON one.
    pub content: Cow<'a, [u8]>,
    /// A path that holds it, where the client names one.
    pub path: Option<Text<'a>>,
}

impl Object<'_> {
    /// Checks the size of the object and its path.
    ///
    /// # Errors
    /// [`WireError::PayloadTooLarge`] for one that has to be uploaded by itself, [`WireError::Invalid`] for a path that is none.
    pub fn check(&self) -> Result<(), WireError> {
        if self.content.len() > MAX_INLINE_OBJECT {
            let (id, size) = (&self.object_id, self.content.len());
            let path: String = self.path.as_deref().unwrap_or_default().chars().take(100).collect();
            let file = if path.is_empty() { String::new() } else { format!("'{}', ", path.escape_debug()) };
            let detail = format!(
                "{file}object '{id}', has {size} bytes: inside a request it may have {MAX_INLINE_OBJECT}. Larger files go through POST /presign, as newer clients do by themselves; else leave the file out of the commit"
            );
            return Err(WireError::PayloadTooLarge(detail));
        }
        // Some clients send an empty one for an object that no path holds.
        match self.path.as_deref() {
            None | Some("") => Ok(()),
            Some(path) => check_path(path)
                .map_err(|reason| WireError::invalid(&format!("a path of object '{}'", self.object_id), reason)),
        }
    }

    /// Whether the id is the SHA-256 of the bytes.
    pub fn is_proved(&self) -> bool {
        self.object_id.as_ref().digest() == Some(&Sha256::digest(&self.content).into())
    }
}

/// Checks objects that came in one request, and drops what came twice. Where ids `are_checked`, each has to be the hash
/// of its object.
///
/// # Errors
/// 413 for one that is too large, 422 for one whose id is not the hash of its bytes.
pub fn check_objects(objects: Vec<Object<'_>>, are_checked: bool) -> Result<HashMap<ObjectKey, Object<'_>>, WireError> {
    let mut by_key = HashMap::with_capacity(objects.len());
    for object in objects {
        object.check()?;
        if are_checked && !object.is_proved() {
            return Err(WireError::ObjectHashMismatch(object.object_id.to_string()));
        }
        match by_key.entry(object.object_id.key()) {
            Entry::Vacant(new) => {
                new.insert(object);
            }
            // Only a lenient id can be that of two things.
            Entry::Occupied(known) if known.get().content == object.content => {}
            Entry::Occupied(_) => {
                let id = &object.object_id;
                return Err(WireError::invalid("objects", format_args!("'{id}' is there twice, with two contents")));
            }
        }
    }
    Ok(by_key)
}

wire_map! {
    struct ObjectFields<'a> {
        object_id: ObjectId,
        content: Option<Content<'a>> = None,
        content_b64: Option<Text<'a>> = None,
        path: Option<Text<'a>> = None,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = ObjectFields::deserialize(deserializer)?;
        let content = match (fields.content, fields.content_b64) {
            (Some(Content::Bytes(bytes)), _) => bytes,
            (Some(Content::Text(text)), _) => text_content(&fields.object_id, text),
            (None, Some(text)) => match BASE64.decode(text.as_bytes()) {
                Ok(bytes) => Cow::Owned(bytes),
                Err(error) => return Err(de::Error::custom(format_args!("content_b64 is not base64: {error}"))),
            },
            (None, None) => return Err(de::Error::missing_field("content")),
        };
        Ok(Object { object_id: fields.object_id, content, path: fields.path })
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut content, mut content_b64) = (None, None);
        if serializer.is_human_readable() {
            content_b64 = Some(BASE64.encode(&self.content).into());
        } else {
            content = Some(Content::Bytes(Cow::Borrowed(&*self.content)));
        }
        let path = self.path.as_deref().map(Text::from);
        ObjectFields { object_id: self.object_id.clone(), content, content_b64, path }.serialize(serializer)
    }
}

/// `content` as text, which JSON has instead of bytes: base64 if the id says so, else the text itself.
fn text_content<'a>(object_id: &ObjectId, text: Text<'a>) -> Cow<'a, [u8]> {
    if let Ok(bytes) = BASE64.decode(text.as_bytes())
        && object_id.key() == ObjectId::of(&bytes).key()
    {
        return Cow::Owned(bytes);
    }
    match text.0 {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[derive(Debug, PartialEq)]
enum Content<'a> {
    Bytes(Cow<'a, [u8]>),
    Text(Text<'a>),
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Text(text) => text.serialize(serializer),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes or a string")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Content::Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Content::Bytes(Cow::Owned(bytes.to_vec())))
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content::Text(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content::Text(Text(Cow::Owned(text.to_owned()))))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}
