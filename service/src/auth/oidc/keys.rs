//! The keys that an issuer publishes: a JWK set ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;

use super::crypto;

/// Keys in a set, those among them that are not for tokens.
const MAX_KEYS: usize = 100;
/// What tokens of an issuer may be signed under.
pub(super) const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// The keys of an issuer that tokens may be signed with. It never changes.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

/// A public key, and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Which key a token says that it is signed with.
#[derive(Debug)]
pub(super) enum Found<'a> {
    One(&'a Key),
    /// There is none, or none any more, or none yet.
    None,
    /// It names none, and it could be each of several; or several have the same id.
    Several,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. What is no key for tokens is left out: an issuer may publish others in the same place.
    ///
    /// # Errors
    /// When it is no set, or has too many keys, or none for tokens.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| format!("it is no JWK set: {error}"))?;
        if document.keys.len() > MAX_KEYS {
            return Err(format!("it has {} keys, and at most {MAX_KEYS} are read", document.keys.len()));
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err("it has no key for RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self(keys))
    }

    /// The key that a token is signed with, as its header says. Without a `kid` it is the one key of its type, if there is one.
    pub(super) fn find(&self, header: &Header) -> Found<'_> {
        let mut found = self.0.iter().filter(|key| {
            key.algorithm == header.alg && (header.kid.is_none() || key.id.is_some() && key.id == header.kid)
        });
        match (found.next(), found.next()) {
            (None, _) => Found::None,
            (Some(key), None) => Found::One(key),
            (Some(_), Some(_)) => Found::Several,
        }
    }
}

impl Key {
    /// A key as it is published, if it is one for tokens.
    fn of(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let is_curve = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => true,
            AlgorithmParameters::EllipticCurve(point) => point.curve == EllipticCurve::P256,
            AlgorithmParameters::OctetKeyPair(point) => point.curve == EllipticCurve::Ed25519,
            // A secret that is published is none.
            _ => false,
        };
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        let algorithm = crypto::algorithm_of(decoding.family())?;
        let common = jwk.common;
        let signs = common.public_key_use.is_none_or(|used| used == PublicKeyUse::Signature)
            && common.key_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
            && common.key_algorithm.is_none_or(|said| said == KeyAlgorithm::from(algorithm));
        (is_curve && signs).then_some(Self { id: common.key_id, algorithm, decoding })
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) const fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}
