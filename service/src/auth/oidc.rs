//! Tokens of an OIDC issuer: a deployment may name one, and then its users' tokens are the issuer's.
//!
//! A token is taken only if a key that the issuer publishes has signed it (`keys`), under the one algorithm that such a key is
//! for, and if it names the issuer and the audience. Its user is `<issuer>#<claim>`. Other claims mean nothing, but for those that
//! the operator names. The keys are kept in the process for a while (`cache`) and read again from where the issuer's
//! configuration says (`fetch`).
//!
//! The hub still has a secret: the tokens that its users mint are signed with it, whose claim `grant` names their item. No others
//! that it signs are taken beside an issuer, nor those of users that are not the issuer's.

mod cache;
mod fetch;
mod keys;

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::{Credential, Kind, Verified, crypto, is_user_id};
use cache::KeyCache;
use common::wire::WireError;
use common::wire::error::Cause;
use fetch::Fetcher;
use keys::{Found, KeySet};
use store::ambient::Ambient;

/// How far the clocks of the issuer and of the hub may be apart.
const LEEWAY: f64 = 60.0;
/// Bytes of the issuer's URL: it is a part of the ids of its users.
const MAX_ISSUER: usize = 128;
/// How long no other attempt is made to read the keys, well or not.
pub const PAUSE: Duration = Duration::from_secs(10);

/// What the operator of a deployment says about the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    url: Url,
    /// The URL as the operator has it, and as tokens and the issuer's configuration have to have it.
    name: String,
    audience: String,
    /// The claim that a user is known by.
    pub user_claim: String,
    /// What a token has to say to be taken, if it has to say more.
    pub required: Option<ClaimRule>,
    /// What a token has to say to be an operator's.
    pub admin: Option<ClaimRule>,
    /// How long no other attempt is made to read the keys; [`PAUSE`] unless there is a reason.
    pub pause: Duration,
}

/// Why what an operator says names no issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIssuer {
    /// It is no URL of an issuer.
    #[error(
        "the issuer is a URL such as https://issuer.example.com, of at most {MAX_ISSUER} bytes, without a query, fragment, user or password"
    )]
    Url,
    /// It is one that everyone between could be.
    #[error("the issuer is reached by https; http is for issuers on this machine, at localhost or a loopback address")]
    Insecure,
    /// No token could be for the hub.
    #[error("an issuer comes with an audience: what 'aud' in its tokens has to name")]
    NoAudience,
    /// It would do nothing.
    #[error("an audience or a claim is named, and no issuer")]
    NoIssuer,
    /// It says nothing of a claim.
    #[error("what a token has to say, to be taken or to be an operator's, is <claim>=<text>, such as groups=musicians")]
    Claim,
}

/// That a claim of a token is, or has in a list, a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    claim: String,
    value: String,
}

impl ClaimRule {
    /// `<claim>=<text>`, of which neither is empty. The first `=` ends the claim.
    pub fn parse(text: &str) -> Option<Self> {
        let (claim, value) = text.split_once('=')?;
        let is_rule = !claim.is_empty() && !value.is_empty();
        is_rule.then(|| Self { claim: claim.to_owned(), value: value.to_owned() })
    }

    fn is_met(&self, claims: &Map<String, Value>) -> bool {
        match claims.get(&self.claim) {
            Some(Value::String(said)) => *said == self.value,
            Some(Value::Array(said)) => said.iter().any(|said| *said == self.value),
            _ => false,
        }
    }
}

impl IssuerSettings {
    /// An issuer, and what `aud` in its tokens has to name.
    ///
    /// # Errors
    /// When it is none that tokens can be taken from.
    pub fn new(issuer: &str, audience: &str) -> Result<Self, BadIssuer> {
        let url = Url::parse(issuer).map_err(|_| BadIssuer::Url)?;
        let is_plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.has_host();
        if !is_plain || issuer.len() > MAX_ISSUER || issuer.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(BadIssuer::Url);
        }
        if !is_safe(&url) {
            return Err(BadIssuer::Insecure);
        }
        if audience.is_empty() {
            return Err(BadIssuer::NoAudience);
        }
        Ok(Self {
            url,
            name: issuer.to_owned(),
            audience: audience.to_owned(),
            user_claim: "sub".to_owned(),
            required: None,
            admin: None,
            pause: PAUSE,
        })
    }

    /// What an operator says in parts. One that is empty says nothing.
    ///
    /// # Errors
    /// As [`Self::new`], and when there are parts without an issuer.
    pub fn of_parts(parts: IssuerParts) -> Result<Option<Self>, BadIssuer> {
        let said = |part: Option<String>| part.filter(|part| !part.is_empty());
        let rule = |part| said(part).map(|rule| ClaimRule::parse(&rule).ok_or(BadIssuer::Claim)).transpose();
        let [issuer, audience, user_claim] = [parts.issuer, parts.audience, parts.user_claim].map(said);
        let (required, admin) = (rule(parts.required)?, rule(parts.admin)?);
        let Some(issuer) = issuer else {
            let is_nothing = audience.is_none() && user_claim.is_none() && required.is_none() && admin.is_none();
            return if is_nothing { Ok(None) } else { Err(BadIssuer::NoIssuer) };
        };
        let settings = Self::new(&issuer, audience.as_deref().unwrap_or_default())?;
        let user_claim = user_claim.unwrap_or_else(|| settings.user_claim.clone());
        Ok(Some(Self { user_claim, required, admin, ..settings }))
    }

    /// The issuer, as its tokens name it.
    pub fn issuer(&self) -> &str {
        &self.name
    }
}

/// What an operator says about an issuer, as the environment has it.
#[derive(Debug, Clone, Default)]
pub struct IssuerParts {
    /// The URL of the issuer.
    pub issuer: Option<String>,
    /// What `aud` has to name.
    pub audience: Option<String>,
    /// The claim that a user is known by.
    pub user_claim: Option<String>,
    /// What a token has to say to be taken: `<claim>=<text>`.
    pub required: Option<String>,
    /// What a token has to say to be an operator's: `<claim>=<text>`.
    pub admin: Option<String>,
}

/// Whether what comes from a URL is what its host sends: over TLS, or from this machine.
fn is_safe(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

/// Checks the tokens of an issuer.
pub struct Issuer {
    settings: IssuerSettings,
    fetcher: Fetcher,
    cache: KeyCache,
    ambient: Ambient,
}

impl Issuer {
    /// One that has read nothing yet: the first token that comes has it read the keys.
    pub fn new(settings: IssuerSettings, ambient: Ambient) -> Self {
        crypto::install();
        let cache = KeyCache::new(settings.pause, ambient.clone());
        Self { fetcher: Fetcher::new(), cache, ambient, settings }
    }

    /// The issuer, as its tokens name it.
    pub fn name(&self) -> &str {
        self.settings.issuer()
    }

    /// Whether a user is one of the issuer's, and not of another one that the hub had, or of the time when it had none.
    pub(crate) fn has_user(&self, user_id: &str) -> bool {
        user_id.strip_prefix(self.name()).is_some_and(|rest| rest.starts_with('#'))
    }

    /// What a token shows, whose header is this.
    ///
    /// # Errors
    /// [`WireError::Unauthorized`] for a token that is not good, and [`WireError::IssuerAway`] when the keys to tell it by
    /// cannot be read.
    pub(crate) async fn verify(&self, token: &str, header: &Header) -> Result<Credential, WireError> {
        if !keys::ALGORITHMS.contains(&header.alg) {
            return Err(WireError::unauthorized("the token is signed under an algorithm that this hub does not take"));
        }
        let is_known = |keys: &KeySet| matches!(keys.find(header), Found::One(_));
        let fetch = || self.fetcher.fetch(&self.settings);
        let keys = self.cache.keys(is_known, fetch).await.map_err(|reason| {
            WireError::IssuerAway(Cause::from(format!("the keys of {} cannot be read: {reason}", self.name())))
        })?;
        let mut claims = self.claims(&keys, token, header)?;
        // A new key may be in the place of the one that is known: under the same id, or where the issuer's key has none.
        if claims.is_none() {
            let is_newer = |newer: &KeySet| !std::ptr::eq(newer, &*keys);
            // While the issuer is away those that are known have the word.
            if let Ok(newer) = self.cache.keys(is_newer, fetch).await {
                claims = self.claims(&newer, token, header)?;
            }
        }
        self.take(claims, self.ambient.now())
    }

    /// What a token claims, if it is signed with the one of these keys that its header names.
    fn claims(&self, keys: &KeySet, token: &str, header: &Header) -> Result<Option<Map<String, Value>>, WireError> {
        let refused = |reason: String| WireError::unauthorized(reason);
        let issuer = self.name();
        let key = match keys.find(header) {
            Found::One(key) => key,
            Found::None => {
                return Err(refused(format!("the token is signed with no key that the issuer {issuer} publishes")));
            }
            Found::Several => {
                return Err(refused(format!(
                    "the token does not say which of the keys of the issuer {issuer} has signed it"
                )));
            }
        };
        let decoded = decode::<Map<String, Value>>(token, key.decoding(), &validation(key.algorithm()));
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => return Ok(None),
            Err(_) => return Err(refused(format!("the token is not one of the issuer {issuer}"))),
        };
        // RFC 7515, section 4.1.11: what is critical has to be understood, and no extension is.
        if decoded.header.crit.is_some() {
            return Err(WireError::unauthorized("the token has extensions that this hub does not know"));
        }
        Ok(Some(decoded.claims))
    }

    /// What the claims of a token show; it is not the issuer's, if there are none that it has signed.
    fn take(&self, claims: Option<Map<String, Value>>, now: Timestamp) -> Result<Credential, WireError> {
        let settings = &self.settings;
        let claims = &claims
            .ok_or_else(|| WireError::unauthorized(format!("the token is not signed by the issuer {}", self.name())))?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.name()) {
            return Err(WireError::unauthorized("the token is of another issuer than this hub's"));
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == settings.audience,
            Some(Value::Array(audiences)) => audiences.iter().any(|audience| *audience == settings.audience),
            _ => false,
        };
        if !is_for_us {
            return Err(WireError::unauthorized("the token is for another audience than this hub"));
        }
        let now = now.as_millisecond() as f64 / 1_000.0;
        let Some(expires_at) = claims.get("exp").and_then(Value::as_f64) else {
            return Err(WireError::unauthorized("the token does not say when it expires"));
        };
        if expires_at + LEEWAY <= now {
            return Err(WireError::unauthorized("the token has expired"));
        }
        match claims.get("nbf").map(Value::as_f64) {
            None => {}
            Some(Some(not_before)) if not_before - LEEWAY <= now => {}
            Some(_) => return Err(WireError::unauthorized("the token is not good yet")),
        }
        if !settings.required.as_ref().is_none_or(|rule| rule.is_met(claims)) {
            return Err(WireError::unauthorized("the token lacks a claim that this hub demands"));
        }
        let named = claims.get(&settings.user_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let user_id = named.map(|name| format!("{}#{name}", self.name())).filter(|id| is_user_id(id));
        let Some(user_id) = user_id else {
            return Err(WireError::unauthorized(format!(
                "the token names no user: its claim '{}' is no text, or together with the issuer longer than a user id",
                settings.user_claim
            )));
        };
        let is_admin = settings.admin.as_ref().is_some_and(|rule| rule.is_met(claims));
        Ok(Credential(Kind::Token(Box::new(Verified { user_id, is_admin, grant: None, agent: None, expires_at }))))
    }
}

/// That a token is signed under this algorithm. Its claims are checked here, against the hub's own clock.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims::<&str>(&[]);
    validation
}

#[cfg(test)]
mod tests;
