//! Who is asking: access tokens, which are JWTs ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) signed with
//! HMAC-SHA-256. The algorithm is the hub's choice and not the token's. Where the operator has named an issuer of tokens, users have
//! those of [`oidc`], and the hub signs those alone that its users mint.

mod crypto;
pub mod grant;
pub mod oidc;

use std::cmp::Ordering;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use jiff::fmt::serde::timestamp::second;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode};
use serde::{Deserialize, Serialize};

use common::time;
use common::wire::WireError;
use common::wire::limits::{MAX_AUTHORIZATION, MAX_NAME_LENGTH};
use store::ambient::Ambient;
use store::repo::Asker;
use store::table::items::{Role, Via};
use store::table::link_key::LinkKey;

use grant::Grant;

/// The fewest bytes of a good secret: as many as the hash has, as RFC 7518, section 3.2, demands. A hub runs with a
/// shorter one that its operator has chosen, and says that it should not.
pub const GOOD_SECRET_LENGTH: usize = 32;
/// The longest user id, in bytes: it is part of the keys of items.
const MAX_USER_ID: usize = 256;
const ACCESS: &str = "access";
const ADMIN: &str = "admin";

/// What a request shows of who sends it. Its user is not known from it: a token may have been revoked, which is read with the repo
/// that it is shown for, by [`Hub::open`](crate::Hub::open), or by itself, by [`Hub::user`](crate::Hub::user).
#[derive(Debug, Clone, PartialEq)]
pub struct Credential(pub(crate) Kind);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A token that this hub or its issuer has signed, and that has not expired.
    Token(Box<Verified>),
    /// A link to a repo.
    Link(LinkKey),
}

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verified {
    pub(crate) user_id: String,
    pub(crate) is_admin: bool,
    /// What it was narrowed to, if a user has minted it.
    pub(crate) grant: Option<Grant>,
    agent: Option<String>,
    pub(crate) expires_at: f64,
}

impl Verified {
    /// Whether it makes repos: one that is for some repos makes none, and one that only reads neither.
    pub(crate) fn makes_repos(&self) -> bool {
        self.grant.as_ref().is_none_or(|grant| grant.repos.is_none() && grant.access >= Role::Write)
    }

    /// The user, whose token was not revoked.
    pub(crate) fn user(&self) -> User {
        let token = self.grant.as_ref().map(|grant| grant.id.clone());
        let via = (token.is_some() || self.agent.is_some()).then(|| Via { token, agent: self.agent.clone() });
        User { id: self.user_id.clone(), is_admin: self.is_admin, via }
    }
}

impl Credential {
    /// Follows a link.
    pub(crate) fn link(secret: &str) -> Self {
        Self(Kind::Link(LinkKey::of_secret(secret)))
    }

    /// Whether it is a token that allows all that its user may do.
    pub fn is_whole(&self) -> bool {
        self.verified().is_some_and(|token| token.grant.is_none())
    }

    /// Whether it is a token for all repos that its user may read.
    pub fn is_for_all_repos(&self) -> bool {
        self.verified().is_some_and(|token| token.grant.as_ref().is_none_or(|grant| grant.repos.is_none()))
    }

    /// Whether it is a token that a user has minted of their own.
    pub(crate) fn is_minted(&self) -> bool {
        self.verified().is_some_and(|token| token.grant.is_some())
    }

    /// For how many whole seconds more a token is good; for none, if it is no token.
    pub fn seconds_left(&self, now: Timestamp) -> u64 {
        let left = self.verified().map_or(0.0, |token| token.expires_at - now.as_millisecond() as f64 / 1_000.0);
        // What is too large is the most, and what is below zero is zero.
        left as u64
    }

    /// Who it says to be of, be it revoked or not: for bounds and for checks of tokens, and for no right.
    pub fn says(&self) -> Option<User> {
        self.verified().map(Verified::user)
    }

    pub(crate) const fn verified(&self) -> Option<&Verified> {
        match &self.0 {
            Kind::Token(verified) => Some(verified),
            Kind::Link(_) => None,
        }
    }

    /// Who asks, for the stores. They do not look whether a token was revoked.
    pub fn asker(&self) -> Asker<'_> {
        match &self.0 {
            Kind::Token(token) => Asker {
                user_id: Some(&token.user_id),
                only_in: token.grant.as_ref().and_then(|grant| grant.repos.as_ref()),
                at_most: token.grant.as_ref().map(|grant| grant.access),
                link: None,
            },
            Kind::Link(link) => Asker { link: Some(link), ..Asker::default() },
        }
    }
}

/// The user of a token that was not revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user's id, as the token's `sub` says; `<issuer>#<claim>` of a token of an issuer.
    pub id: String,
    /// Whether the token's `role` is `admin`, or an issuer's token has the claim that the operator has named for it: its bearer may look into the hub, and sees no more repos for it.
    pub is_admin: bool,
    /// By which token they do what they do, or for which agent; nothing for the user's own token.
    pub via: Option<Via>,
}

/// Makes and checks access tokens.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    /// The secret that tokens are signed with, and the one before.
    decoding: Vec<DecodingKey>,
    validation: Validation,
    /// What the hub is called in tokens, if it has a name.
    audience: Option<String>,
    ambient: Ambient,
}

/// Who a token is for: one name, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "type")]
    kind: String,
    sub: String,
    /// Seconds since the Unix epoch, with or without a fraction.
    #[serde(rename = "iat")]
    _iat: f64,
    exp: f64,
    /// The role. Only `admin` means something here.
    #[serde(default)]
    role: serde_json::Value,
    #[serde(default)]
    agent_name: serde_json::Value,
    #[serde(default)]
    aud: Option<Audience>,
    /// What it was narrowed to.
    #[serde(default)]
    grant: Option<Grant>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a Grant>,
}

/// A secret that tokens cannot be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Every client could sign.
    #[error("the token secret is empty; it needs {GOOD_SECRET_LENGTH} bytes that no client can guess")]
    Empty,
    /// It is not clear which of them count.
    #[error(
        "the token secret has more than two lines: the first is what tokens are signed with, the second the one before"
    )]
    TooManyLines,
}

impl Tokens {
    /// Tokens under `secret`: one line, or two. Tokens are signed with the first. The second is the secret before, whose tokens are taken
    /// until it is dropped.
    ///
    /// # Errors
    /// When the secret is empty, or has more lines.
    pub fn new(secret: &str, ambient: Ambient) -> Result<Self, BadSecret> {
        let mut lines = secret.split(['\r', '\n']).filter(|line| !line.is_empty()).map(str::as_bytes);
        let (first, before) = (lines.next().ok_or(BadSecret::Empty)?, lines.next());
        if lines.next().is_some() {
            return Err(BadSecret::TooManyLines);
        }
        if first.len() < GOOD_SECRET_LENGTH || before.is_some_and(|before| before.len() < GOOD_SECRET_LENGTH) {
            tracing::warn!(
                "the token secret has fewer than {GOOD_SECRET_LENGTH} bytes: a client that guesses it can sign tokens"
            );
        }
        crypto::install();
        let mut validation = Validation::new(Algorithm::HS256);
        // The times are checked below, against the hub's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        Ok(Self {
            encoding: EncodingKey::from_secret(first),
            decoding: [Some(first), before].into_iter().flatten().map(DecodingKey::from_secret).collect(),
            validation,
            audience: None,
            ambient,
        })
    }

    /// The same, which name the hub that they are for, and take none that names another.
    pub fn for_audience(mut self, audience: Option<&str>) -> Self {
        self.audience = audience.map(|audience| audience.trim_end_matches('/').to_owned());
        self
    }

    /// A token of a user, good for `ttl` from now.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a user id that is none.
    pub fn mint(&self, user_id: &str, ttl: Duration) -> Result<String, WireError> {
        self.mint_as(user_id, ttl, Minted::default())
    }

    /// A token of an operator, who may look into the hub.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a user id that is none.
    pub fn mint_admin(&self, user_id: &str, ttl: Duration) -> Result<String, WireError> {
        self.mint_as(user_id, ttl, Minted { role: Some(ADMIN), ..Minted::default() })
    }

    /// A token of a user that allows no more than `grant` says, for an agent if it has one.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a user id that is none, and for a token that would be longer than a header may be.
    pub fn mint_narrowed(
        &self,
        user_id: &str,
        ttl: Duration,
        grant: &Grant,
        agent: Option<&str>,
    ) -> Result<String, WireError> {
        let token = self.mint_as(user_id, ttl, Minted { role: None, grant: Some(grant), agent })?;
        if "Bearer ".len() + token.len() > MAX_AUTHORIZATION {
            return Err(WireError::Invalid(
                "the token would be longer than a header may be: name fewer branches".to_owned(),
            ));
        }
        Ok(token)
    }

    fn mint_as(&self, user_id: &str, ttl: Duration, minted: Minted<'_>) -> Result<String, WireError> {
        if !is_user_id(user_id) {
            return Err(WireError::Invalid(format!(
                "a user id has 1 to {MAX_USER_ID} bytes and no control characters"
            )));
        }
        let now = self.ambient.now();
        let claims = NewClaims {
            kind: ACCESS,
            sub: user_id,
            iat: now,
            exp: time::after(now, ttl),
            token_type: if minted.agent.is_some() { "agent" } else { "human" },
            role: minted.role,
            agent_name: minted.agent,
            aud: self.audience.as_deref(),
            grant: minted.grant,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(WireError::internal)
    }

    /// What a token shows.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`] for a token that is not good.
    pub fn verify(&self, token: &str) -> Result<Credential, WireError> {
        let decoded = self.decoding.iter().find_map(|key| decode::<Claims>(token, key, &self.validation).ok());
        let decoded = decoded.ok_or(WireError::unauthorized("the token is not one of this hub's access tokens"))?;
        // RFC 7515, section 4.1.11: what is critical has to be understood, and no extension is.
        if decoded.header.crit.is_some() {
            return Err(WireError::unauthorized("the token has extensions that this hub does not know"));
        }
        let claims = decoded.claims;
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
        let is_for_us = match &claims.aud {
            None => true,
            Some(Audience::One(name)) => self.is_called(name),
            Some(Audience::Several(names)) => names.iter().any(|name| self.is_called(name)),
        };
        if !is_for_us {
            return Err(WireError::unauthorized("the token is for another hub"));
        }
        let is_admin = claims.grant.is_none() && claims.role == ADMIN;
        let agent = claims.agent_name.as_str().filter(|name| is_name(name)).map(str::to_owned);
        Ok(Credential(Kind::Token(Box::new(Verified {
            user_id: claims.sub,
            is_admin,
            grant: claims.grant,
            agent,
            expires_at: claims.exp,
        }))))
    }

    /// Whether a token that names this audience is for the hub.
    fn is_called(&self, name: &str) -> bool {
        self.audience.as_deref() == Some(name.trim_end_matches('/'))
    }
}

/// What a token says beside its user and its time.
#[derive(Default)]
struct Minted<'a> {
    role: Option<&'a str>,
    grant: Option<&'a Grant>,
    agent: Option<&'a str>,
}

/// Whether a text can be the name of an agent or a token.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_NAME_LENGTH && !text.chars().any(char::is_control)
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

    fn user(tokens: &Tokens, token: &str) -> Result<User, WireError> {
        tokens.verify(token).map(|credential| credential.verified().unwrap().user())
    }

    fn tokens(seconds: i64) -> Tokens {
        Tokens::new(SECRET, Ambient::replay(1, Timestamp::from_second(seconds).unwrap())).unwrap()
    }

    fn caller(tokens: &Tokens, authorization: &str) -> Result<Option<User>, WireError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        bearer_token(&headers)?.map(|token| user(tokens, token)).transpose()
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
        assert_eq!(caller(&tokens(1_059), &bearer).unwrap().unwrap().id, "user-a");
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
        assert!(user(&tokens, &admin).unwrap().is_admin);
        assert!(!user(&tokens, &tokens.mint("user-a", Duration::from_secs(60)).unwrap()).unwrap().is_admin);
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        for role in [json!("Admin"), json!(["admin"]), json!(7)] {
            let claims = json!({"type": "access", "sub": "a", "iat": 1_000, "exp": 2_000, "role": role});
            let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            assert!(!user(&tokens, &token).unwrap().is_admin, "{role}");
        }
    }

    fn grant() -> Grant {
        let branches = Some(vec!["agent/*".to_owned()]);
        Grant { id: "t".to_owned(), repos: None, access: Role::Write, branches, force: false, delete: false }
    }

    #[test]
    fn a_narrowed_token_says_what_it_was_narrowed_to_and_for_whom_and_is_no_operators() {
        let tokens = tokens(1_000);
        let token = tokens.mint_narrowed("user-a", Duration::from_secs(60), &grant(), Some("composer")).unwrap();
        let credential = tokens.verify(&token).unwrap();
        assert_eq!(credential.verified().unwrap().grant, Some(grant()));
        assert_eq!(credential.seconds_left(Timestamp::constant(1_050, 0)), 10);
        assert_eq!(credential.seconds_left(Timestamp::constant(1_070, 0)), 0);
        let via = Via { token: Some("t".to_owned()), agent: Some("composer".to_owned()) };
        let says = User { id: "user-a".to_owned(), is_admin: false, via: Some(via) };
        assert_eq!(credential.says(), Some(says));
        let claims =
            json!({"type": "access", "sub": "a", "iat": 1_000, "exp": 2_000, "role": "admin", "grant": grant()});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let both = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert!(!user(&tokens, &both).unwrap().is_admin);
        let long = Grant { branches: Some(vec!["x".repeat(128); 60]), ..grant() };
        assert!(tokens.mint_narrowed("user-a", Duration::from_secs(60), &long, None).is_err());
    }

    #[test]
    fn a_token_is_for_the_hub_that_it_names() {
        let hub = |name: Option<&str>| tokens(1_000).for_audience(name);
        let token = |name| hub(name).mint("user-a", Duration::from_secs(60)).unwrap();
        let (here, there) = ("https://hub.example.com", "https://other.example.com");
        for (minted, by, is_taken) in [
            (None, None, true),
            (None, Some(here), true),
            (Some(here), Some(here), true),
            (Some("https://hub.example.com/"), Some(here), true),
            (Some(there), Some(here), false),
            (Some(here), None, false),
        ] {
            assert_eq!(hub(by).verify(&token(minted)).is_ok(), is_taken, "{minted:?} {by:?}");
        }
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        for (aud, is_taken) in
            [(json!([there, here]), true), (json!([there]), false), (json!([]), false), (json!(7), false)]
        {
            let claims = json!({"type": "access", "sub": "a", "iat": 1_000, "exp": 2_000, "aud": aud});
            let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            assert_eq!(hub(Some(here)).verify(&token).is_ok(), is_taken, "{aud}");
        }
    }

    #[test]
    fn a_token_with_something_critical_is_refused() {
        let claims = json!({"type": "access", "sub": "a", "iat": 1_000, "exp": 2_000});
        let (tokens, key) = (tokens(1_000), EncodingKey::from_secret(SECRET.as_bytes()));
        for crit in [vec!["b64".to_owned()], vec![]] {
            let header = Header { crit: Some(crit), ..Header::new(Algorithm::HS256) };
            let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
            assert!(tokens.verify(&token).is_err());
        }
    }

    #[test]
    fn while_a_secret_changes_tokens_of_the_one_before_are_taken_and_none_is_signed_with_it() {
        let before = tokens(1_000);
        let now = || Ambient::replay(1, Timestamp::constant(1_000, 0));
        let after = Tokens::new(&SECRET.to_uppercase(), now()).unwrap();
        let both = Tokens::new(&format!("{}\r\n{SECRET}\n", SECRET.to_uppercase()), now()).unwrap();
        let [old, new] = [&before, &both].map(|tokens| tokens.mint("user-a", Duration::from_secs(60)).unwrap());
        assert!(both.verify(&old).is_ok() && both.verify(&new).is_ok());
        assert!(after.verify(&old).is_err() && after.verify(&new).is_ok() && before.verify(&new).is_err());
        assert_eq!(Tokens::new("one\ntwo\nthree", now()).err(), Some(BadSecret::TooManyLines));
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert_eq!(Tokens::new("", Ambient::system()).err(), Some(BadSecret::Empty));
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
