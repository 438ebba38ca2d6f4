//! What the operator of a deployment decides, and how the environment says it.

use std::time::Duration;

use crate::auth::oidc::BadIssuer;
use crate::auth::{BadSecret, Credential};
use crate::webhook_target::Reach;
use common::id::Ids;
use common::wire::WireError;
use common::wire::limits::ANONYMOUS_BYTES;
use store::aws::variable;
use store::table::items::Visibility;

/// What the operator of a deployment decides.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether a push to `<own handle>/<new slug>` makes the repo, and then who may know of it.
    pub push_to_create: Option<Visibility>,
    /// The URL that the hub is reached by, for the URLs that it hands out; else that of the request, if it is known for the hub's.
    pub public_url: Option<String>,
    /// Whether ids have to be the hashes of what they name.
    pub ids: Ids,
    /// Whether the operator gives the token secret, so that the one in the table does not count.
    pub gives_secret: bool,
    /// Whether clients reach S3 through the hub's own URL, because it is embedded in the hub's process.
    pub serves_s3: bool,
    /// The URL at which something in front of S3 takes requests for it, without a slash at its end, if there is such a thing.
    pub storage_url: Option<String>,
    /// Whether the hub has a door of its own, which says what hosts are the hub's, and not AWS's API Gateway, whose word is good.
    pub is_own_door: bool,
    /// What webhooks may lead to.
    pub webhooks_reach: Reach,
    /// What is given to clients without a token.
    pub anonymous_reads: AnonymousReads,
    /// Bytes of an answer that streams; none where nothing cuts one off.
    pub most_streamed: Option<u64>,
    /// How much repos and users may hold.
    pub quotas: Quotas,
    /// How long an answer may take to begin, where what is in front of the hub waits for less than
    /// [`ANSWER_WITHIN`](crate::deadline::ANSWER_WITHIN).
    pub answer_within: Option<Duration>,
}

/// What the deployment allows; as much as there is room for, where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes in S3 of one repo.
    pub repo_bytes: Option<u64>,
    /// Bytes in S3 of all repos of one user.
    pub user_bytes: Option<u64>,
    /// Repos of one user.
    pub user_repos: Option<u64>,
}

impl Settings {
    /// Refuses an answer that would be cut off on its way.
    ///
    /// # Errors
    /// [`WireError::AnswerTooLarge`].
    pub const fn check_streamed(&self, bytes: u64, way_round: &'static str) -> Result<(), WireError> {
        match self.most_streamed {
            Some(most) if bytes > most => Err(WireError::AnswerTooLarge { bytes, most, way_round }),
            _ => Ok(()),
        }
    }
}

/// What clients without a token may read of public repos. The operator of a deployment pays for all that they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnonymousReads {
    /// Everything.
    #[default]
    Full,
    /// Repos and objects of at most [`ANONYMOUS_BYTES`].
    Small,
    /// Nothing.
    Off,
}

impl AnonymousReads {
    /// `full`, `small` or `off`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "full" => Some(Self::Full),
            "small" => Some(Self::Small),
            "off" => Some(Self::Off),
            _ => None,
        }
    }

    /// Refuses a client without a token what has more bytes than it may read.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`].
    pub fn check(self, credential: Option<&Credential>, bytes: u64) -> Result<(), WireError> {
        if credential.is_some() || self != Self::Small || bytes <= ANONYMOUS_BYTES as u64 {
            return Ok(());
        }
        let (most, has) = (ANONYMOUS_BYTES >> 20, bytes >> 20);
        Err(WireError::unauthorized(format!(
            "without a token this hub gives no more than {most} MiB, and this has about {has}"
        )))
    }
}

/// What is missing in a function's environment.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A variable that has to be there is not.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable holds something else than it may.
    #[error("the environment variable {name} is {value:?}: it may be {allowed}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// The token secret is none.
    #[error(transparent)]
    Secret(#[from] BadSecret),
    /// The issuer of tokens is none.
    #[error(transparent)]
    Issuer(#[from] BadIssuer),
}

/// What a push to one's own handle and a new name makes, as an operator says it: a repo that is `public` or `private`, or
/// `nothing`, which was once called `off`. None for any other word.
pub fn push_creates(text: &str) -> Option<Option<Visibility>> {
    match text {
        "nothing" | "off" => Some(None),
        _ => text.parse().ok().map(Some),
    }
}

/// What a variable of the environment holds that has to be there.
///
/// # Errors
/// When it is not there, or empty.
pub fn required(name: &'static str) -> Result<String, ConfigurationError> {
    variable(name).ok_or(ConfigurationError::Missing(name))
}

/// What a variable allows of something: nothing is said where it is not there, or 0.
pub(crate) fn quota(name: &'static str) -> Result<Option<u64>, ConfigurationError> {
    let quota = choice(name, "a number, and 0 for no bound", |text| text.parse::<u64>().ok())?;
    Ok(quota.filter(|quota| *quota > 0))
}

pub(crate) fn choice<T>(
    name: &'static str,
    allowed: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigurationError> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    match read(&value) {
        Some(choice) => Ok(Some(choice)),
        None => Err(ConfigurationError::Invalid { name, value, allowed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_may_choose_what_a_push_creates_and_nothing_else() {
        let template = include_str!("../../template.yaml");
        let (_, parameter) = template.split_once("  PushCreates:\n").unwrap();
        let (_, values) = parameter.split_once("AllowedValues: [").unwrap();
        let (values, rest) = values.split_once("]\n").unwrap();
        assert!(rest.starts_with("    Default: private\n"));
        let chosen: Vec<_> = values.split(", ").map(|value| push_creates(value).unwrap()).collect();
        assert_eq!(chosen, [Some(Visibility::Public), Some(Visibility::Private), None]);
        assert_eq!(push_creates("off"), Some(None), "as environments of before have it");
        assert!(["", "Public", "none", "private "].into_iter().all(|value| push_creates(value).is_none()));
    }
}
