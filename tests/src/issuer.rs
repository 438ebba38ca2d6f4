//! A stand-in for an OIDC issuer: it publishes its configuration and its keys over HTTP, and signs tokens.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::Response;
use local::serve::IssuerSettings;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::receiver::{Receiver, answer};
use crate::token;

/// What the tokens of the stand-in are for.
pub const AUDIENCE: &str = "musehub-tests";

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// A key of an issuer, with its private half.
pub struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// The RSA key of all tests.
    pub fn rsa(id: &str) -> Self {
        let key = include_bytes!("../../service/src/auth/oidc/samples/rsa-2048.der");
        Self { id: id.to_owned(), pair: Pair::Rsa(Box::new(RsaKeyPair::from_der(key).expect("a key"))) }
    }

    /// A new key on P-256.
    pub fn ec(id: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("randomness");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).expect("a key");
        Self { id: id.to_owned(), pair: Pair::Ec(pair) }
    }

    /// A new key on Curve25519.
    pub fn ed(id: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
        Self { id: id.to_owned(), pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key")) }
    }

    /// The algorithm that it signs under.
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// Its public half, as it is published.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": BASE64.encode(n), "e": BASE64.encode(e)})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.public_key())}),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// Any claims under any header.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature);
                signed.expect("a signature");
                signature
            }
            Pair::Ec(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message.as_bytes());
                signed.expect("a signature").as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64.encode(signature))
    }

    /// Claims under the header that is right for them.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }
}

/// What the stand-in says.
#[derive(Default)]
struct Says {
    configuration: Value,
    keys: Value,
    is_away: bool,
}

/// The stand-in, on a port of its own.
pub struct StandIn {
    receiver: Receiver,
    says: Arc<Mutex<Says>>,
}

impl StandIn {
    /// One that publishes these keys.
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let receiver = Receiver::start().await;
        let configuration = json!({"issuer": receiver.url(""), "jwks_uri": receiver.url(KEYS)});
        let says = Arc::new(Mutex::new(Says { configuration, ..Says::default() }));
        let said = Arc::clone(&says);
        receiver.script(move |asked| {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            match asked.path.as_str() {
                _ if said.is_away => answer(500),
                CONFIGURATION => Response::new(said.configuration.to_string()),
                KEYS => Response::new(said.keys.to_string()),
                _ => answer(404),
            }
        });
        let stand_in = Self { receiver, says };
        stand_in.publish(keys);
        stand_in
    }

    /// What its tokens name it.
    pub fn issuer(&self) -> String {
        self.receiver.url("")
    }

    /// What a hub is given of it.
    pub fn settings(&self) -> IssuerSettings {
        IssuerSettings::new(&self.issuer(), AUDIENCE).expect("an issuer on this machine")
    }

    /// Publishes these keys from here on, and no others.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.says().keys = json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()});
    }

    /// Publishes this in the place of its keys.
    pub fn publish_as_keys(&self, document: Value) {
        self.says().keys = document;
    }

    /// Says this of itself.
    pub fn configure(&self, field: &str, value: Value) {
        self.says().configuration[field] = value;
    }

    /// Answers from here on, or does not.
    pub fn be_away(&self, is_away: bool) {
        self.says().is_away = is_away;
    }

    /// How often its keys were asked for, and its configuration.
    pub fn asked(&self) -> (usize, usize) {
        let seen = self.receiver.seen();
        let count = |path: &str| seen.iter().filter(|asked| asked.path == path).count();
        (count(KEYS), count(CONFIGURATION))
    }

    /// The claims of a good token of a user.
    pub fn claims(&self, user: &str) -> Value {
        json!({"iss": self.issuer(), "aud": AUDIENCE, "sub": user, "iat": token::now(), "exp": token::now() + 3600})
    }

    fn says(&self) -> std::sync::MutexGuard<'_, Says> {
        self.says.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
