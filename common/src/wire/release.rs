//! A release as it came: the fields that the hub reads, and all of them verbatim as one msgpack map.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::error::WireError;
use super::fields::{Absent, Fields, Kind, Known};
use super::value::Value;
use crate::id::{CommitId, Label, MAX_LABEL_LENGTH};

/// A commit that is given to the world under a name.
#[derive(Debug)]
pub struct Release {
    /// What it is called.
    pub tag: Label,
    /// The commit that it is.
    pub commit: CommitId,
    /// Who it is for.
    pub channel: Channel,
    /// Whether it is only listed for those who ask for drafts.
    pub is_draft: bool,
    fields: Fields,
    /// The fields that the client left to the hub.
    filled: Vec<&'static str>,
}

/// Who a release is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// All users.
    Stable,
    /// Those who try what is nearly done.
    Beta,
    /// Those who try what is not.
    Alpha,
    /// Those who want each night's state.
    Nightly,
}

impl Channel {
    const ALL: [Self; 4] = [Self::Stable, Self::Beta, Self::Alpha, Self::Nightly];

    /// The channel of a name.
    ///
    /// # Errors
    /// [`WireError::Invalid`], naming those that there are.
    pub fn parse(name: &str) -> Result<Self, WireError> {
        let found = Self::ALL.into_iter().find(|channel| channel.as_str() == name);
        found.ok_or_else(|| WireError::invalid("channel", "it is one of stable, beta, alpha and nightly"))
    }

    /// `stable`, `beta`, `alpha` or `nightly`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Beta => "beta",
            Self::Alpha => "alpha",
            Self::Nightly => "nightly",
        }
    }
}

/// The fields that the contract knows. The first two must be there.
const FIELDS: [Known; 15] = [
    ("tag", Kind::Text, Absent::Empty),
    ("commit_id", Kind::Text, Absent::Empty),
    ("release_id", Kind::Text, Absent::Empty),
    ("repo_id", Kind::Text, Absent::Empty),
    ("semver", Kind::Map, Absent::Empty),
    ("channel", Kind::Text, Absent::Text(Channel::Stable.as_str())),
    ("snapshot_id", Kind::Text, Absent::Nil),
    ("title", Kind::Text, Absent::Empty),
    ("body", Kind::Text, Absent::Empty),
    ("changelog", Kind::ListOfMaps, Absent::Empty),
    ("agent_id", Kind::Text, Absent::Empty),
    ("model_id", Kind::Text, Absent::Empty),
    ("is_draft", Kind::Bool, Absent::Bool(false)),
    ("gpg_signature", Kind::Text, Absent::Empty),
    ("created_at", Kind::Text, Absent::Empty),
];

impl Release {
    /// Checks what was posted. What the client left empty is filled in: `release_id`, `repo_id` and `created_at`.
    ///
    /// # Errors
    /// [`WireError::Invalid`], naming the field.
    pub fn check(posted: PostedRelease, release_id: &str, repo_id: &str, now: &str) -> Result<Self, WireError> {
        let PostedRelease(mut fields) = posted;
        let mut filled = Vec::new();
        for (name, filling) in [("release_id", release_id), ("repo_id", repo_id), ("created_at", now)] {
            if fields.text(name).is_empty() {
                filled.push(name);
            }
            fields.fill(name, filling);
        }
        for name in ["release_id", "repo_id", "created_at"] {
            WireError::check_text(name, fields.text(name), MAX_LABEL_LENGTH)?;
        }
        Ok(Self {
            tag: fields.text("tag").parse().map_err(|reason| WireError::invalid("tag", reason))?,
            commit: fields.text("commit_id").parse().map_err(|reason| WireError::invalid("commit_id", reason))?,
            channel: match fields.get("channel") {
                Some(Value::Nil) | None => Channel::Stable,
                Some(_) => Channel::parse(fields.text("channel"))?,
            },
            is_draft: fields.get("is_draft") == Some(&Value::Bool(true)),
            fields,
            filled,
        })
    }

    /// Its id, the client's or the hub's.
    pub fn id(&self) -> &str {
        self.fields.text("release_id")
    }

    /// Whether the client gave it its id, and so can send it again.
    pub fn has_own_id(&self) -> bool {
        !self.filled.contains(&"release_id")
    }

    /// Whether it is a published release once more: of the same id, which the client gave it, and of the same content.
    pub fn is_again(&self, published: &Value) -> bool {
        let Value::Map(published) = published else {
            return false;
        };
        let differs = |name: &str, value: &Value| {
            !self.filled.contains(&name) && self.fields.get(name).is_none_or(|own| own != value)
        };
        let is_same = |(name, value): &(Value, Value)| name.as_text().is_some_and(|name| !differs(name, value));
        self.has_own_id() && published.len() == self.fields.len() && published.iter().all(is_same)
    }

    /// When it was made, as the client says.
    pub fn created_at(&self) -> &str {
        self.fields.text("created_at")
    }

    /// The release as one msgpack map: every field that came, as it came, and the defaults of those that did not.
    ///
    /// # Errors
    /// [`WireError::Internal`] when it cannot be written, which is a fault of the hub's.
    pub fn record(&self) -> Result<Vec<u8>, WireError> {
        self.fields.record().map_err(WireError::internal)
    }
}

/// `POST /releases`: a release whose fields have the right kinds.
#[derive(Debug, PartialEq, Serialize)]
pub struct PostedRelease(Fields);

impl<'de> Deserialize<'de> for PostedRelease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        fields.require(&["tag", "commit_id"]).map_err(de::Error::custom)?;
        fields.complete(&FIELDS).map_err(de::Error::custom)?;
        Ok(Self(fields))
    }
}

/// What `GET /releases` asks for beside the repo.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseFilter {
    /// Only those of this channel.
    pub channel: Option<Channel>,
    /// Drafts too.
    pub include_drafts: bool,
}

impl ReleaseFilter {
    /// Reads the parameters of the query, where they are there.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a value that is none.
    pub fn parse(channel: Option<&str>, include_drafts: Option<&str>) -> Result<Self, WireError> {
        let include_drafts = match include_drafts.unwrap_or_default() {
            "" | "0" | "false" => false,
            "1" | "true" => true,
            _ => return Err(WireError::invalid("include_drafts", "it is 1 or 0")),
        };
        let channel = channel.filter(|name| !name.is_empty()).map(Channel::parse).transpose()?;
        Ok(Self { channel, include_drafts })
    }
}
