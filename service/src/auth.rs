//! Who is asking: access tokens, which are JWTs ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) signed with
//! HMAC-SHA-256. The algorithm is the hub's choice and not the token's.

mod hs256;

use std::cmp::Ordering;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use jiff::fmt::serde::timestamp::second;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use common::time;
use common::wire::WireError;
use common::wire::limits::MAX_AUTHORIZATION;
use store::ambient::Ambient;

/// The fewest bytes of a good secret: as many as the hash has, as RFC 7518, section 3.2, demands. A hub runs with a
/// shorter one that its operator has chosen, and says that it should not.
pub const GOOD_SECRET_LENGTH: usize = 32;
/// The longest user id, in bytes: it is part of the keys of items.
const MAX_USER_ID: usize = 256;
const ACCESS: &str = "access";
const ADMIN: &str = "admin";

/// The user of a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user, as the token's `sub` says.
    pub user_id: String,
    /// Whether the token's `role` is `admin`: its bearer may look into the hub, and sees no more repos for it.
    pub is_admin: bool,
}

/// Makes and checks access tokens.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    ambient: Ambient,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "type")]
    kind: String,
    sub: String,
    /// Seconds since the Unix epoch, with or without a fraction.
    iat: f64,
    exp: f64,
    /// The role. Only `admin` means something here.
    #[serde(default)]
    role: serde_json::Value,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sub: &'a str,
    #[serde(with = "second::required")]
    iat: Timestamp,
    #[serde(with = "second::required")]
    exp: Timestamp,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

/// The secret is empty, so that every client could sign.
#[derive(Debug, thiserror::Error)]
#[error("the token secret is empty; it needs {GOOD_SECRET_LENGTH} bytes that no client can guess")]
pub struct EmptySecret;

impl Tokens {
    /// Tokens under `secret`, without the line break that a file ends with: a variable that was filled from a file has
    /// it too.
    ///
    /// # Errors
    /// When the secret is empty.
    pub fn new(secret: &str, ambient: Ambient) -> Result<Self, EmptySecret> {
        let secret = secret.trim_end_matches(['\r', '\n']).as_bytes();
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        if secret.len() < GOOD_SECRET_LENGTH {
            tracing::warn!(
                "the token secret has fewer than {GOOD_SECRET_LENGTH} bytes: a client that guesses it can sign tokens"
            );
        }
        hs256::install();
        let mut validation = Validation::new(Algorithm::HS256);
        // The times are checked below, against the hub's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            ambient,
        })
    }

    /// A token of a user, good for `ttl` from now.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a user id that is none.
    pub fn mint(&self, user_id: &str, ttl: Duration) -> Result<String, WireError> {
        self.mint_as(user_id, ttl, None)
    }

    /// A token of an operator, who may look into the hub.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a user id that is none.
    pub fn mint_admin(&self, user_id: &str, ttl: Duration) -> Result<String, WireError> {
        self.mint_as(user_id, ttl, Some(ADMIN))
    }

    fn mint_as(&self, user_id: &str, ttl: Duration, role: Option<&str>) -> Result<String, WireError> {
        if !is_user_id(user_id) {
            return Err(WireError::Invalid(format!(
                "a user id has 1 to {MAX_USER_ID} bytes and no control characters"
            )));
        }
        let now = self.ambient.now();
        let claims =
            NewClaims { kind: ACCESS, sub: user_id, iat: now, exp: time::after(now, ttl), token_type: "human", role };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(WireError::internal)
    }

    /// Who a token is of.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`] for a token that is not good.
    pub fn verify(&self, token: &str) -> Result<Caller, WireError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| WireError::unauthorized("the token is not one of this hub's access tokens"))?
            .claims;
        if claims.kind != ACCESS {
            return Err(WireError::unauthorized("the token is not an access token"));
        }
        let now = self.ambient.now().as_millisecond() as f64 / 1_000.0;
        // A NaN is neither more nor less, and not good.
        if claims.exp.partial_cmp(&now) != Some(Ordering::Greater) {
            return Err(WireError::unauthorized("the token has expired"));
        }
        if !is_user_id(&claims.sub) {
            return Err(WireError::unauthorized("the token names no user"));
        }
        Ok(Caller { user_id: claims.sub, is_admin: claims.role == ADMIN })
    }
}

/// The token of a request, if it has one.
///
/// # Errors
/// [`WireError::Unauthorized`] for a header that holds none: a client that sends one means to use it.
pub fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, WireError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(WireError::unauthorized("more than one Authorization header"));
    }
    if value.len() > MAX_AUTHORIZATION {
        return Err(WireError::unauthorized("the Authorization header is too long"));
    }
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    token.map(Some).ok_or(WireError::unauthorized("the Authorization header is not 'Bearer <token>'"))
}

fn is_user_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_USER_ID && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use hmac::{Hmac, KeyInit, Mac};
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::json;
    use sha2::{Sha256, Sha384, Sha512};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn tokens(seconds: i64) -> Tokens {
        Tokens::new(SECRET, Ambient::replay(1, Timestamp::from_second(seconds).unwrap())).unwrap()
    }

    fn caller(tokens: &Tokens, authorization: &str) -> Result<Option<Caller>, WireError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        bearer_token(&headers)?.map(|token| tokens.verify(token)).transpose()
    }

    #[test]
    fn a_secret_is_the_same_with_the_end_of_its_file() {
        let token = tokens(1_000).mint("u", Duration::from_secs(10)).unwrap();
        for end in ["\n", "\r\n", "\n\n"] {
            let other =
                Tokens::new(&format!("{SECRET}{end}"), Ambient::replay(1, Timestamp::constant(1_000, 0))).unwrap();
            assert!(other.verify(&token).is_ok(), "{end:?}");
        }
        assert!(Tokens::new("\n", Ambient::replay(1, Timestamp::constant(1, 0))).is_err());
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_not_a_second_longer() {
        let token = tokens(1_000).mint("user-a", Duration::from_secs(60)).unwrap();
        let bearer = format!("Bearer {token}");
        assert_eq!(caller(&tokens(1_059), &bearer).unwrap().unwrap().user_id, "user-a");
        assert!(caller(&tokens(1_060), &bearer).is_err());
    }

    #[test]
    fn a_token_of_another_secret_or_algorithm_is_refused() {
        let now = Ambient::replay(1, Timestamp::constant(1_000, 0));
        let other = Tokens::new(&SECRET.to_uppercase(), now).unwrap().mint("a", Duration::from_secs(60)).unwrap();
        assert!(caller(&tokens(1_000), &format!("Bearer {other}")).is_err());
        for (token, is_good) in [
            (signed::<Hmac<Sha256>>("HS256"), true),
            (signed::<Hmac<Sha384>>("HS384"), false),
            (signed::<Hmac<Sha512>>("HS512"), false),
        ] {
            assert_eq!(caller(&tokens(1_000), &format!("Bearer {token}")).is_ok(), is_good, "{token}");
        }
    }

    fn signed<M: Mac + KeyInit>(algorithm: &str) -> String {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let claims = json!({"type": "access", "sub": "a", "iat": 1_000, "exp": 2_000});
        let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let mac = <M as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
        let signature = mac.chain_update(format!("{header}.{claims}")).finalize().into_bytes();
        format!("{header}.{claims}.{}", BASE64.encode(signature))
    }

    #[test]
    fn only_the_role_admin_makes_an_admin_and_any_other_is_taken() {
        let tokens = tokens(1_000);
        let admin = tokens.mint_admin("user-a", Duration::from_secs(60)).unwrap();
        assert!(tokens.verify(&admin).unwrap().is_admin);
        assert!(!tokens.verify(&tokens.mint("user-a", Duration::from_secs(60)).unwrap()).unwrap().is_admin);
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        for role in [json!("Admin"), json!(["admin"]), json!(7)] {
            let claims = json!({"type": "access", "sub": "a", "iat": 1_000, "exp": 2_000, "role": role});
            let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            assert!(!tokens.verify(&token).unwrap().is_admin, "{role}");
        }
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert!(Tokens::new("", Ambient::system()).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(place in any::<prop::sample::Index>(), replacement in "[A-Za-z0-9_.-]") {
            let token = tokens(1_000).mint("user-a", Duration::from_secs(60)).unwrap();
            let place = place.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(place..=place, &replacement);
            prop_assume!(changed != token);
            // The last digit of the signature has two bits that are not part of it; a strict decoder refuses those too.
            let refused = caller(&tokens(1_000), &format!("Bearer {changed}")).is_err();
            prop_assert!(refused);
        }
    }
}
