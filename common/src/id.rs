//! The names of things, each parsed once at the edge: a value of one of these types is valid.
//!
//! Commit, snapshot and object ids are opaque strings to everything but the hash checks. Nearly all of them are the
//! lowercase hex SHA-256 of something, so an [`Id`] keeps those as 32 bytes and anything else as text.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The longest commit, snapshot or object id, in characters.
pub const MAX_ID_LENGTH: usize = 128;
/// The longest branch name, in bytes: with what is before it, it fills a sort key of the table, 1,024 bytes.
pub const MAX_BRANCH_LENGTH: usize = 1_020;
/// The longest label of a tag or tag of a release, in characters.
pub const MAX_LABEL_LENGTH: usize = 255;
/// The longest repo slug or user handle, in characters.
pub const MAX_SLUG_LENGTH: usize = 64;

const PREFIX: &str = "sha256:";
const HEX_LENGTH: usize = 64;

/// Why a name was refused; the sentence goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(Cow<'static, str>);

impl InvalidName {
    fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

/// An opaque id of 1 to 128 characters of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Repr {
    /// Written as 64 lowercase hex digits, after `sha256:` when `prefixed`.
    Sha256 {
        digest: [u8; 32],
        prefixed: bool,
    },
    Opaque(Box<str>),
}

/// Equal ids have one hash. The two spellings of a digest may have one too, and are told apart when they are compared.
impl Hash for Repr {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Sha256 { digest, .. } => hasher.write(digest),
            Self::Opaque(text) => text.hash(hasher),
        }
    }
}

impl Id {
    /// The id that is the SHA-256 `digest`, written without a prefix.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(Repr::Sha256 { digest, prefixed: false })
    }

    /// The id that is the SHA-256 `digest`, written after `sha256:`.
    pub const fn from_prefixed_digest(digest: [u8; 32]) -> Self {
        Self(Repr::Sha256 { digest, prefixed: true })
    }

    /// The digest that this id claims to be, if it has the form of one.
    pub const fn digest(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Repr::Sha256 { digest, .. } => Some(digest),
            Repr::Opaque(_) => None,
        }
    }

    /// Whether the id is this digest, written without a prefix, as commit and snapshot ids are.
    pub fn is_bare(&self, digest: [u8; 32]) -> bool {
        *self == Self::from_digest(digest)
    }

    /// Whether the id is written with the `sha256:` prefix.
    pub const fn is_prefixed(&self) -> bool {
        matches!(self.0, Repr::Sha256 { prefixed: true, .. })
    }

    /// Hands the id's text to `read`, without allocating.
    pub fn with_str<R>(&self, read: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Repr::Opaque(text) => read(text),
            Repr::Sha256 { digest, prefixed } => {
                let mut buffer = [0_u8; PREFIX.len() + HEX_LENGTH];
                let (prefix, digits) = buffer.split_at_mut(PREFIX.len());
                prefix.copy_from_slice(PREFIX.as_bytes());
                let written = hex::encode_to_slice(digest, digits);
                debug_assert!(written.is_ok(), "64 digits hold 32 bytes");
                let start = if *prefixed { 0 } else { PREFIX.len() };
                // The buffer is ASCII by construction, so the fallback is never taken.
                read(std::str::from_utf8(buffer.get(start..).unwrap_or_default()).unwrap_or_default())
            }
        }
    }
}

/// Whether hexadecimal digits are in lower case, or decimal: those have this bit and capitals do not.
/// Without a way out in the middle, so that many digits are looked at at a time.
fn is_lowercase(digits: &str) -> bool {
    const BIT: u8 = b'a' ^ b'A';
    digits.bytes().fold(BIT, |all, byte| all & byte) == BIT
}

impl FromStr for Id {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (digits, prefixed) = match text.strip_prefix(PREFIX) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if digits.len() == HEX_LENGTH && is_lowercase(digits) {
            let mut digest = [0_u8; 32];
            if hex::decode_to_slice(digits, &mut digest).is_ok() {
                return Ok(Self(Repr::Sha256 { digest, prefixed }));
            }
        }
        if text.is_empty() || text.len() > MAX_ID_LENGTH {
            return Err(InvalidName::new(format!("an id has 1 to {MAX_ID_LENGTH} characters")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')) {
            return Err(InvalidName::new("an id has only the characters A-Z a-z 0-9 . _ : -"));
        }
        Ok(Self(Repr::Opaque(text.into())))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|text| formatter.write_str(text))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Reads a name from a string in any encoding, without copying it first.
struct NameVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = InvalidName>> Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(NameVisitor(std::marker::PhantomData))
            }
        }
    )*};
}

names! {
    /// Names one commit.
    CommitId(Id);
    /// Names one snapshot.
    SnapshotId(Id);
    /// Names one object, as a client spelled it: with or without the `sha256:` prefix.
    ObjectId(Id);
    /// A branch: 1 to 1,020 bytes, with no `..`, `\`, control character, leading, trailing or doubled `/`, leading or
    /// trailing `.`. Older hubs made branches of any such name. [`check_branch`](crate::wire::names::check_branch) says
    /// of which names a branch is made now.
    BranchName(Box<str>);
    /// What a tag or a release is called: 1 to 255 characters, whichever.
    Label(Box<str>);
    /// A repo's name under its owner, or a user's handle: 1 to 64 characters of `a-z 0-9 -`, not beginning or ending
    /// with `-`.
    Slug(Box<str>);
    /// Names one repo, also when it gets another name: a ULID; or, of a fork, two with a hyphen between them: that of its
    /// pool, and its own.
    RepoId(Box<str>);
}

macro_rules! ids {
    ($($name:ident)*) => {$(
        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self(id)
            }
        }

        impl AsRef<Id> for $name {
            fn as_ref(&self) -> &Id {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.with_str(|text| serializer.serialize_str(text))
            }
        }
    )*};
}

ids!(CommitId SnapshotId ObjectId);

macro_rules! texts {
    ($($name:ident)*) => {$(
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )*};
}

texts!(BranchName Label Slug RepoId);

/// What an object is stored under: two spellings of one hash are one object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectKey(Id);

impl ObjectId {
    /// The id of these bytes, without a prefix.
    pub fn of(content: &[u8]) -> Self {
        Self(Id::from_digest(Sha256::digest(content).into()))
    }

    /// What the object is stored under.
    ///
    /// ```
    /// use common::id::ObjectId;
    ///
    /// let bare = ObjectId::of(b"tempo: 120");
    /// let prefixed: ObjectId = format!("sha256:{bare}").parse().expect("an id");
    /// assert_ne!(bare, prefixed, "ids are shown as they were spelled");
    /// assert_eq!(bare.key(), prefixed.key(), "and stored under one key");
    /// ```
    pub fn key(&self) -> ObjectKey {
        ObjectKey(match self.0.digest() {
            Some(digest) => Id::from_digest(*digest),
            None => self.0.clone(),
        })
    }
}

impl ObjectKey {
    /// The object's id in the spelling asked for.
    pub fn spelled(&self, prefixed: bool) -> ObjectId {
        ObjectId(match self.0.digest() {
            Some(digest) => Id(Repr::Sha256 { digest: *digest, prefixed }),
            None => self.0.clone(),
        })
    }
}

impl From<Id> for ObjectKey {
    fn from(id: Id) -> Self {
        ObjectId(id).key()
    }
}

impl AsRef<Id> for ObjectKey {
    fn as_ref(&self) -> &Id {
        &self.0
    }
}

impl FromStr for BranchName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let refuse = |reason: &'static str| Err(InvalidName::new(reason));
        if text.is_empty() || text.len() > MAX_BRANCH_LENGTH {
            return Err(InvalidName::new(format!("a branch name has 1 to {MAX_BRANCH_LENGTH} bytes")));
        }
        if text.chars().any(char::is_control) {
            return refuse("a branch name has no control characters");
        }
        if text.contains("..") || text.contains('\\') {
            return refuse("a branch name has no '..' and no '\\'");
        }
        if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
            return refuse("a branch name has no leading, trailing or doubled '/'");
        }
        if text.starts_with('.') || text.ends_with('.') {
            return refuse("a branch name has no leading or trailing '.'");
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Label {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || text.chars().count() > MAX_LABEL_LENGTH {
            return Err(InvalidName::new(format!("a tag has 1 to {MAX_LABEL_LENGTH} characters")));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Slug {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > MAX_SLUG_LENGTH || !text.bytes().all(plain) {
            return Err(InvalidName::new(format!("a slug has 1 to {MAX_SLUG_LENGTH} characters of a-z 0-9 -")));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidName::new("a slug has no leading or trailing '-'"));
        }
        Ok(Self(text.into()))
    }
}

impl Slug {
    /// The slug of a repo's name: lower case, runs of anything but `a-z0-9` made `-`, trimmed.
    ///
    /// # Errors
    /// When the name leaves nothing, or more than 64 characters: cut, two long names would be one.
    pub fn from_name(name: &str) -> Result<Self, InvalidName> {
        let mut slug = String::with_capacity(MAX_SLUG_LENGTH);
        for character in name.to_lowercase().chars() {
            let plain = character.is_ascii_lowercase() || character.is_ascii_digit();
            // With a separator at the limit, which may be the last.
            if slug.len() > MAX_SLUG_LENGTH + 1 {
                break;
            }
            if plain {
                slug.push(character);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        if slug.is_empty() {
            return Err(InvalidName::new("the name leaves no slug: it needs a letter a-z or a digit"));
        }
        if slug.len() > MAX_SLUG_LENGTH {
            return Err(InvalidName::new(format!(
                "the name leaves a slug of more than {MAX_SLUG_LENGTH} characters: shorten it"
            )));
        }
        Ok(Self(slug.into()))
    }
}

impl FromStr for RepoId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ulid = |text: &str| ulid::Ulid::from_string(text).ok();
        let id = match text.split_once('-') {
            None => ulid(text).map(Self::from),
            Some((pool, own)) => ulid(pool).zip(ulid(own)).map(|(pool, own)| Self::from(pool).fork(own)),
        };
        id.ok_or_else(|| InvalidName::new("a repo id is a ULID, or two with a hyphen between them"))
    }
}

impl RepoId {
    /// The id of a fork of this repo, or of a fork in the same pool.
    ///
    /// ```
    /// use common::id::RepoId;
    ///
    /// let repo: RepoId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse()?;
    /// let fork = repo.fork(ulid::Ulid::nil());
    /// assert_eq!(fork.pool(), repo.pool());
    /// assert_eq!(fork.fork(ulid::Ulid::nil()), fork);
    /// # Ok::<(), common::id::InvalidName>(())
    /// ```
    #[must_use]
    pub fn fork(&self, own: ulid::Ulid) -> Self {
        Self(format!("{}-{own}", self.pool()).into())
    }

    /// What a repo and all its forks have in common: the id of the first of them. Their packs and large objects lie under it.
    pub fn pool(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }

    /// Whether it was made as a fork.
    pub fn is_fork(&self) -> bool {
        self.pool() != self.as_str()
    }

    /// What was drawn for this repo alone.
    pub fn own(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or_default()
    }
}

impl From<ulid::Ulid> for RepoId {
    fn from(id: ulid::Ulid) -> Self {
        Self(id.to_string().into())
    }
}

/// What commit, snapshot and object ids are to this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ids {
    /// Hashes, which are recomputed. Everything that is named has to be there.
    #[default]
    Strict,
    /// Opaque strings, which are believed, and which may name parents and snapshots that are not there: as older hubs
    /// had it.
    Lenient,
}

impl Ids {
    /// `strict` or `lenient`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "strict" => Some(Self::Strict),
            "lenient" => Some(Self::Lenient),
            _ => None,
        }
    }

    /// Whether ids are recomputed and references followed.
    pub const fn are_checked(self) -> bool {
        matches!(self, Self::Strict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_is_written_as_it_was_read(text in "[A-Za-z0-9._:-]{1,128}|(sha256:)?[0-9a-f]{64}|[0-9A-F]{64}") {
            prop_assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
        }

        #[test]
        fn different_texts_are_different_ids(a in "(sha256:)?[0-9a-f]{64}", b in "(sha256:)?[0-9a-f]{64}") {
            prop_assert_eq!(a == b, a.parse::<Id>().unwrap() == b.parse::<Id>().unwrap());
        }

        #[test]
        fn a_slug_made_from_any_name_is_valid(name in "\\PC{0,100}") {
            if let Ok(slug) = Slug::from_name(&name) {
                prop_assert_eq!(slug.as_str().parse::<Slug>().unwrap(), slug);
            }
        }
    }

    #[test]
    fn both_spellings_of_a_hash_are_one_object() {
        let bare = ObjectId::of(b"x");
        let prefixed: ObjectId = format!("sha256:{bare}").parse().unwrap();
        assert_ne!(bare, prefixed);
        assert_eq!(bare.key(), prefixed.key());
        assert_eq!(bare.key().spelled(true), prefixed);
    }

    #[test]
    fn branch_names_follow_the_contract() {
        for good in ["main", "feature/x", "a.b", "ü/ä", "x y"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good}");
        }
        let long = "x".repeat(MAX_BRANCH_LENGTH + 1);
        for bad in ["", "a..b", "a\\b", "a\nb", "/a", "a/", "a//b", ".a", "a.", &long] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
        assert!(
            "🎵".repeat(255).parse::<BranchName>().is_ok() && "🎵".repeat(256).parse::<BranchName>().is_err(),
            "bytes"
        );
    }

    #[test]
    fn slugs_follow_the_contract() {
        let slug = |name: &str| Slug::from_name(name).map(|slug| slug.to_string());
        assert_eq!(slug("My  Song!").unwrap(), "my-song");
        assert_eq!(slug("--A--").unwrap(), "a");
        assert_eq!(slug(&format!("-{}-", "x".repeat(64))).unwrap().len(), 64);
        assert!(slug(&"x".repeat(65)).is_err() && slug(&format!("{} y", "x".repeat(64))).is_err());
        assert!(slug("日本").is_err());
    }
}
