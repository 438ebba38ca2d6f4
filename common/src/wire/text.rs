//! The pieces that every request is made of: borrowed text, bounded lists, and maps that are only ever maps.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string, borrowed from the body wherever the encoding allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// What may be left out, and is never null: where that would say something else than leaving it out.
#[derive(Debug, PartialEq, Serialize)]
pub struct Sent<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

/// What may be left out of a request. A client leaves out what says nothing.
pub trait Omit {
    /// Whether it says nothing.
    fn is_omitted(&self) -> bool {
        false
    }
}

impl<T> Omit for Option<T> {
    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}

impl<T> Omit for Sent<T> {
    fn is_omitted(&self) -> bool {
        self.0.is_none()
    }
}

impl Omit for bool {}
impl<T, const MAX: usize> Omit for Bounded<T, MAX> {}

/// A list that keeps at most `MAX` elements. The rest is skipped and counted, so that the answer can name the number
/// sent, and no declared length is ever allocated for.
#[derive(Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Bounded<T, const MAX: usize> {
    /// The elements, the first `MAX` at most.
    pub items: Vec<T>,
    /// How many were sent.
    #[serde(skip)]
    pub sent: usize,
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self { items: Vec::new(), sent: 0 }
    }
}

impl<T, const MAX: usize> From<Vec<T>> for Bounded<T, MAX> {
    fn from(items: Vec<T>) -> Self {
        Self { sent: items.len(), items }
    }
}

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// The elements, if no more than `MAX` were sent.
    ///
    /// # Errors
    /// [`super::WireError::TooMany`], naming `what` there is too much of.
    pub fn within(self, what: &'static str) -> Result<Vec<T>, super::WireError> {
        super::WireError::check_count(what, self.sent, MAX)?;
        Ok(self.items)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut bounded = Bounded::default();
                while bounded.sent < MAX {
                    let Some(item) = list.next_element()? else {
                        return Ok(bounded);
                    };
                    bounded.items.push(item);
                    bounded.sent += 1;
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    bounded.sent += 1;
                }
                Ok(bounded)
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// A map that keeps at most `MAX` entries. The rest is skipped and counted.
#[derive(Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct BoundedMap<K: Eq + Hash, V, const MAX: usize> {
    entries: HashMap<K, V>,
    #[serde(skip)]
    sent: usize,
}

impl<K: Eq + Hash, V, const MAX: usize> Default for BoundedMap<K, V, MAX> {
    fn default() -> Self {
        Self { entries: HashMap::new(), sent: 0 }
    }
}

impl<K: Eq + Hash, V, const MAX: usize> FromIterator<(K, V)> for BoundedMap<K, V, MAX> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries: HashMap<K, V> = entries.into_iter().collect();
        Self { sent: entries.len(), entries }
    }
}

impl<K: Eq + Hash, V, const MAX: usize> BoundedMap<K, V, MAX> {
    /// The entries, if no more than `MAX` were sent.
    ///
    /// # Errors
    /// [`super::WireError::TooMany`], naming `what` there is too much of.
    pub fn within(self, what: &'static str) -> Result<HashMap<K, V>, super::WireError> {
        super::WireError::check_count(what, self.sent, MAX)?;
        Ok(self.entries)
    }
}

impl<'de, K, V, const MAX: usize> Deserialize<'de> for BoundedMap<K, V, MAX>
where
    K: Deserialize<'de> + Eq + Hash,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<K, V, const MAX: usize>(PhantomData<(K, V)>);
        impl<'de, K, V, const MAX: usize> Visitor<'de> for MapVisitor<K, V, MAX>
        where
            K: Deserialize<'de> + Eq + Hash,
            V: Deserialize<'de>,
        {
            type Value = BoundedMap<K, V, MAX>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut bounded = BoundedMap::default();
                while bounded.sent < MAX {
                    let Some((key, value)) = map.next_entry()? else {
                        return Ok(bounded);
                    };
                    bounded.entries.insert(key, value);
                    bounded.sent += 1;
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    bounded.sent += 1;
                }
                Ok(bounded)
            }
        }
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

/// A list that counts equal elements once and keeps at most `MAX` elements.
#[derive(Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Distinct<T, const MAX: usize> {
    /// The elements, each once, in the order sent; the first `MAX` at most.
    items: Vec<T>,
    /// How many there were beside those, equal ones among them.
    #[serde(skip)]
    others: usize,
}

impl<T, const MAX: usize> From<Vec<T>> for Distinct<T, MAX> {
    /// No element is there twice.
    fn from(items: Vec<T>) -> Self {
        Self { items, others: 0 }
    }
}

impl<T, const MAX: usize> Distinct<T, MAX> {
    /// The elements, if no more than `limit` were sent.
    ///
    /// # Errors
    /// [`super::WireError::TooMany`], naming `what` there is too much of.
    pub fn within(self, what: &'static str, limit: usize) -> Result<Vec<T>, super::WireError> {
        super::WireError::check_count(what, self.items.len() + self.others, limit.min(MAX))?;
        Ok(self.items)
    }
}

impl<'de, T: Deserialize<'de> + Clone + Eq + Hash, const MAX: usize> Deserialize<'de> for Distinct<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Clone + Eq + Hash, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
            type Value = Distinct<T, MAX>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut distinct = Distinct { items: Vec::new(), others: 0 };
                let mut seen: HashSet<T> = HashSet::new();
                while let Some(item) = list.next_element::<T>()? {
                    if seen.contains(&item) {
                        continue;
                    }
                    if seen.len() == MAX {
                        distinct.others += 1;
                        continue;
                    }
                    seen.insert(item.clone());
                    distinct.items.push(item);
                }
                Ok(distinct)
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Declares a record that is decoded from a map and nothing else (derived code would also take a list), that skips
/// fields it does not know, and that refuses one sent twice. A field is `name: Type` when it must be there and
/// `name: Type = default` when it may be absent.
macro_rules! read_map {
    (@field $name:ident $slot:ident) => {
        $slot.ok_or_else(|| serde::de::Error::missing_field(stringify!($name)))?
    };
    (@field $name:ident $slot:ident $default:expr) => {
        $slot.unwrap_or_else(|| $default)
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty $(= $default:expr)?,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, PartialEq)]
        $vis struct $name $(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl<'de $(: $life, $life)?> serde::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct MapVisitor $(<$life>(std::marker::PhantomData<&$life ()>))?;
                impl<'de $(: $life, $life)?> serde::de::Visitor<'de> for MapVisitor $(<$life>)? {
                    type Value = $name $(<$life>)?;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("a map")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        $(let mut $field: Option<$type> = None;)*
                        while let Some(key) = map.next_key::<$crate::wire::Text<'de>>()? {
                            match &*key {
                                $(stringify!($field) => {
                                    if $field.is_some() {
                                        return Err(serde::de::Error::duplicate_field(stringify!($field)));
                                    }
                                    $field = Some(map.next_value()?);
                                })*
                                _ => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok($name { $($field: $crate::wire::text::read_map!(@field $field $field $($default)?),)* })
                    }
                }
                deserializer.deserialize_map(MapVisitor $((std::marker::PhantomData::<&$life ()>))?)
            }
        }
    };
}
pub(crate) use read_map;

/// The same, of which the other side writes what it says.
macro_rules! wire_map {
    (@is_sent $self:tt $field:ident) => { true };
    (@is_sent $self:tt $field:ident $default:expr) => { !$crate::wire::text::Omit::is_omitted(&$self.$field) };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty $(= $default:expr)?,)*
        }
    ) => {
        $crate::wire::text::read_map! {
            $(#[$meta])*
            $vis struct $name $(<$life>)? {
                $($(#[$field_meta])* $field: $type $(= $default)?,)*
            }
        }

        impl $(<$life>)? serde::Serialize for $name $(<$life>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                let is_sent = [$($crate::wire::text::wire_map!(@is_sent self $field $($default)?)),*];
                let length = is_sent.iter().filter(|is_sent| **is_sent).count();
                let mut map = serializer.serialize_struct(stringify!($name), length)?;
                $(if $crate::wire::text::wire_map!(@is_sent self $field $($default)?) {
                    map.serialize_field(stringify!($field), &self.$field)?;
                })*
                map.end()
            }
        }
    };
}
pub(crate) use wire_map;
