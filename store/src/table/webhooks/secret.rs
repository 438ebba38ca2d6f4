//! What a webhook is called, and what its deliveries are signed with.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ambient::Ambient;

/// Names one webhook.
pub type HookId = ulid::Ulid;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// The fewest and the most bytes of a secret's key, as the specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

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

    /// The secret as text, for the answer that makes the webhook.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The header `webhook-signature` of a delivery that is made at a time.
    pub fn sign(&self, id: &str, time: Timestamp, body: &str) -> String {
        // A key of any length is taken.
        let Ok(keyed) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        let mac = keyed.chain_update(format!("{id}.{}.", time.as_second())).chain_update(body).finalize();
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
    use serde_json::json;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the reference libraries.
        let secret: Secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse().unwrap();
        let signature = secret.sign(
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            Timestamp::constant(1_649_367_553, 0),
            r#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_secret_is_kept_as_it_was_drawn_and_shows_nowhere_else() {
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
}
