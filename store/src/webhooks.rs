//! Webhooks: URLs that hear of what happens in a repo, as the [Standard Webhooks](https://www.standardwebhooks.com)
//! specification has it.
//!
//! [`store::hooks`](crate::hooks) keeps them. For each event and each webhook of its repo there is a [`Message`], which
//! waits in a queue until it is delivered. The function `webhook` delivers, to what [`Reach`] allows.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ambient::Ambient;
use crate::events::Event;
use common::id::RepoId;

/// Names one webhook.
pub type HookId = ulid::Ulid;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// The fewest and the most bytes of a secret's key, as the specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// One event on its way to one webhook: what goes through the queue, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The repo that it happened in.
    pub repo: RepoId,
    /// The webhook of that repo.
    #[serde(with = "hook_id")]
    pub hook: HookId,
    /// The event's id: the same whenever the same thing is told. Receivers know duplicates by it.
    pub id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event as JSON: the body of the delivery, to the byte, so that each attempt signs the same.
    pub body: String,
}

/// As text: what `ulid` has of this itself does not compile without its source of random numbers.
mod hook_id {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::HookId;

    pub(super) fn serialize<S: Serializer>(id: &HookId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HookId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("the id of a webhook is a ULID"))
    }
}

impl Message {
    /// An event for a webhook of its repo.
    ///
    /// # Errors
    /// Never, as far as is known: an event can be written as JSON.
    pub fn new(hook: HookId, event: &Event) -> Result<Self, serde_json::Error> {
        Ok(Self {
            repo: event.repo.id.clone(),
            hook,
            id: event.id.clone(),
            kind: event.kind().to_owned(),
            body: serde_json::to_string(event)?,
        })
    }

    /// The `MessageGroupId` in a FIFO queue: deliveries to one webhook stay in order, and wait for no other.
    pub fn group(&self) -> String {
        self.hook.to_string()
    }

    /// The `MessageDeduplicationId` in a FIFO queue, which takes 128 characters of ASCII.
    pub fn deduplication(&self) -> String {
        hex::encode(Sha256::digest(format!("{}\n{}", self.hook, self.id)))
    }
}

/// What the deliveries to a webhook are signed with: `whsec_` and 24 to 64 bytes in base64. It is printed nowhere but in the
/// answer that makes the webhook.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(Vec<u8>);

/// Why a text is no secret of a webhook; the sentence goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it begins with whsec_, and base64 of 24 to 64 bytes follows")]
pub struct BadSecret;

impl Secret {
    /// A new one, of 32 random bytes.
    pub fn draw(ambient: &Ambient) -> Self {
        Self(ambient.secret().to_vec())
    }

    /// The secret as it is told to the one who makes the webhook.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The header `webhook-signature` of a delivery that is made `timestamp` seconds after the Unix epoch.
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        // A key of any length is taken.
        let Ok(keyed) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        let mac = keyed.chain_update(format!("{id}.{timestamp}.")).chain_update(body).finalize();
        format!("v1,{}", BASE64.encode(mac.into_bytes()))
    }
}

impl FromStr for Secret {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let key = text.strip_prefix(SECRET_PREFIX).ok_or(BadSecret)?;
        let key = BASE64.decode(key).map_err(|_| BadSecret)?;
        if KEY_BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(BadSecret) }
    }
}

impl TryFrom<String> for Secret {
    type Error = BadSecret;

    fn try_from(text: String) -> Result<Self, BadSecret> {
        text.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.reveal()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the reference libraries.
        let secret: Secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse().unwrap();
        let signature = secret.sign(
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_secret_is_kept_as_it_was_told_and_shows_nowhere_else() {
        let drawn = Secret::draw(&Ambient::system());
        assert_eq!(drawn.reveal().parse::<Secret>().unwrap(), drawn);
        assert_eq!(serde_json::to_value(&drawn).unwrap(), json!(drawn.reveal()));
        assert_eq!(serde_json::from_value::<Secret>(json!(drawn.reveal())).unwrap(), drawn);
        assert_eq!(format!("{drawn:?}"), "Secret");
        let too_short = format!("whsec_{}", BASE64.encode([7; 23]));
        let too_long = format!("whsec_{}", BASE64.encode([7; 65]));
        for bad in ["", "whsec_", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_C2FV*", &too_short, &too_long] {
            let refused = bad.parse::<Secret>().unwrap_err().to_string();
            assert!(bad.is_empty() || !refused.contains(bad) || bad == "whsec_", "{refused}");
        }
    }

    #[test]
    fn a_message_is_one_json_object() {
        let message = Message {
            repo: ulid::Ulid::from_parts(1, 2).into(),
            hook: HookId::from_parts(3, 4),
            id: "01JD".to_owned(),
            kind: "RefUpdated".to_owned(),
            body: r#"{"type":"RefUpdated"}"#.to_owned(),
        };
        let told = serde_json::to_value(&message).unwrap();
        assert_eq!(
            told,
            json!({
                "repo": "00000000010000000000000002", "hook": "00000000030000000000000004", "id": "01JD",
                "type": "RefUpdated", "body": r#"{"type":"RefUpdated"}"#,
            })
        );
        assert_eq!(serde_json::from_value::<Message>(told).unwrap(), message);
        assert_eq!(message.group(), "00000000030000000000000004");
    }

    proptest! {
        #[test]
        fn whatever_the_id_is_a_queue_takes_what_tells_duplicates(id in ".{0,300}", hook in any::<u128>()) {
            let message = |id: &str| Message {
                repo: ulid::Ulid::nil().into(),
                hook: HookId::from(hook),
                id: id.to_owned(),
                kind: String::new(),
                body: String::new(),
            };
            let deduplication = message(&id).deduplication();
            prop_assert_eq!(deduplication.len(), 64);
            prop_assert!(deduplication.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_ne!(&deduplication, &message(&format!("{id}x")).deduplication());
        }
    }
}
