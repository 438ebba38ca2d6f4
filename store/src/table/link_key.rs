//! The secret of a link, and what the table has of it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use crate::ambient::Ambient;

/// What names a link in the table: the SHA-256 of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkKey(pub(super) String);

impl LinkKey {
    /// That of a secret, as it is in the link.
    pub fn of_secret(secret: &str) -> Self {
        Self(hex::encode(Sha256::digest(secret)))
    }
}

impl fmt::Display for LinkKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The secret of a new link: 256 random bits.
pub fn draw_secret(ambient: &Ambient) -> String {
    BASE64.encode(ambient.secret())
}
