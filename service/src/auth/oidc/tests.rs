use super::super::Tokens;
use super::super::grant::Grant;
use super::*;
use crate::observe::RequestLog;
use crate::{Hub, Settings};
use aws_config::{BehaviorVersion, SdkConfig};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::decode_header;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::json;
use sha2::Sha256;
use std::sync::Arc;
use store::table::items::Role;
use store::{Location, Store};
use tokio::sync::OnceCell;

const ISSUER: &str = "https://issuer.example.com/realms/music";
const NOW: i64 = 1_000;

/// What an issuer signs with.
enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_der(include_bytes!("samples/rsa-2048.der")).unwrap()))
    }

    fn ec() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap())
    }

    fn ed() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    fn all() -> [Self; 3] {
        [Self::rsa(), Self::ec(), Self::ed()]
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The key as it is published.
    fn jwk(&self, id: Option<&str>) -> Value {
        let mut jwk = match self {
            Self::Rsa(key) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                json!({"kty": "RSA", "n": BASE64.encode(n), "e": BASE64.encode(e)})
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(key.public_key())}),
        };
        if let Some(id) = id {
            jwk["kid"] = id.into();
        }
        jwk
    }

    /// The bytes of the key, as a forger may take them for a secret.
    fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.public().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_ref().to_vec(),
            Self::Ed(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", BASE64.encode(self.sign(message.as_bytes())))
    }

    fn good_token(&self) -> String {
        self.token(&json!({"alg": self.algorithm(), "kid": "k"}), &claims())
    }

    fn keys(&self) -> KeySet {
        set(&[self.jwk(Some("k"))])
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}")
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "musehub", "sub": "ada", "exp": NOW + 600})
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn issuer_with(change: impl FnOnce(&mut IssuerSettings)) -> Issuer {
    let mut settings = IssuerSettings::new(ISSUER, "musehub").unwrap();
    change(&mut settings);
    Issuer::new(settings, Ambient::replay(1, Timestamp::constant(NOW, 0)))
}

fn issuer() -> Issuer {
    issuer_with(|_| ())
}

fn verify_by(issuer: &Issuer, keys: &KeySet, token: &str) -> Result<Verified, WireError> {
    let header = decode_header(token).map_err(|_| WireError::unauthorized("no header"))?;
    let credential = issuer.take(issuer.claims(keys, token, &header)?, Timestamp::constant(NOW, 0))?;
    Ok(credential.verified().unwrap().clone())
}

fn verify(keys: &KeySet, token: &str) -> Result<Verified, WireError> {
    verify_by(&issuer(), keys, token)
}

#[test]
fn a_token_of_each_kind_of_key_is_its_users_and_no_operators() {
    for signer in Signer::all() {
        let mut claims = with("role", json!("admin"));
        claims["grant"] = json!({"id": "t", "access": "read", "force": false, "delete": false});
        claims["agent_name"] = json!("composer");
        let token = signer.token(&json!({"alg": signer.algorithm(), "kid": "k", "typ": "at+jwt"}), &claims);
        let expected = Verified {
            user_id: format!("{ISSUER}#ada"),
            is_admin: false,
            grant: None,
            agent: None,
            expires_at: (NOW + 600) as f64,
        };
        assert_eq!(verify(&signer.keys(), &token).unwrap(), expected, "{}", signer.algorithm());
    }
}

#[test]
fn a_key_verifies_the_algorithm_of_its_type_and_no_other() {
    for signer in Signer::all() {
        for algorithm in ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS384", "none"] {
            for key in Signer::all() {
                let token = signer.token(&json!({"alg": algorithm, "kid": "k"}), &claims());
                let is_its_own = algorithm == key.algorithm() && algorithm == signer.algorithm();
                // The RSA key is the same each time; the others are made for the occasion.
                let is_good = is_its_own && algorithm == "RS256";
                assert_eq!(verify(&key.keys(), &token).is_ok(), is_good, "{algorithm} {}", key.algorithm());
            }
        }
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    for signer in Signer::all() {
        let jwk = signer.jwk(Some("k")).to_string();
        for secret in [signer.public(), jwk.into_bytes(), Vec::new()] {
            let message = message(&json!({"alg": "HS256", "kid": "k"}), &claims());
            let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret).unwrap().chain_update(&message);
            let token = format!("{message}.{}", BASE64.encode(mac.finalize().into_bytes()));
            assert!(verify(&signer.keys(), &token).is_err());
            // The family of the key decides, and not the caller.
            let key = signer.keys();
            let Found::One(key) = key.find(&decode_header(signer.good_token()).unwrap()) else { panic!("one key") };
            let decoded = decode::<Value>(&token, key.decoding(), &validation(Algorithm::HS256));
            assert!(decoded.is_err());
            // No key is read for it.
            let header = decode_header(&token).unwrap();
            assert!(matches!(issuer().verify(&token, &header).await, Err(WireError::Unauthorized(_))));
        }
    }
}

#[tokio::test]
async fn beside_an_issuer_the_secret_signs_what_users_mint_and_nothing_else() {
    let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
    let location = Location { table: String::new(), bucket: String::new() };
    let ambient = || Ambient::replay(1, Timestamp::constant(NOW, 0));
    let tokens = Tokens::new("0123456789abcdef0123456789abcdef", ambient()).unwrap();
    let hub = |issuer| Hub {
        store: Arc::new(Store::new(&config, &config, location.clone(), ambient())),
        tokens: Arc::new(OnceCell::new_with(Some(tokens.clone()))),
        issuer,
        settings: Settings::default(),
        log: RequestLog::default(),
    };
    let (alone, beside) = (hub(None), hub(Some(Arc::new(issuer()))));
    let minute = Duration::from_secs(60);
    let grant =
        Grant { id: "t".to_owned(), repos: None, access: Role::Read, branches: None, force: false, delete: false };
    let minted = |user: &str| tokens.mint_narrowed(user, minute, &grant, None).unwrap();
    for (token, is_taken) in [
        (minted(&format!("{ISSUER}#ada")), true),
        // Users of the time before the issuer, and of others.
        (minted("user-a"), false),
        (minted(ISSUER), false),
        (minted(&format!("{ISSUER}/#ada")), false),
        (minted("https://issuer.example.com#ada"), false),
        (tokens.mint("user-a", minute).unwrap(), false),
        (tokens.mint_admin("user-a", minute).unwrap(), false),
        (tokens.mint(&format!("{ISSUER}#ada"), minute).unwrap(), false),
    ] {
        assert!(alone.verify(&token).await.is_ok());
        assert_eq!(beside.verify(&token).await.is_ok(), is_taken);
    }
    // And without an issuer no key but the secret is one.
    for signer in Signer::all() {
        assert!(matches!(alone.verify(&signer.good_token()).await, Err(WireError::Unauthorized(_))));
    }
}

#[test]
fn a_token_has_to_name_the_issuer_and_the_audience() {
    let signer = Signer::ed();
    let is_taken =
        |claims: &Value| verify(&signer.keys(), &signer.token(&json!({"alg": "EdDSA", "kid": "k"}), claims)).is_ok();
    assert!(is_taken(&claims()));
    assert!(is_taken(&with("aud", json!(["other", "musehub"]))));
    for (claim, wrong) in [
        ("iss", json!("https://issuer.example.com/realms/music/")),
        ("iss", json!("https://issuer.example.com")),
        ("iss", json!([ISSUER])),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!("musehub2")),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("aud", json!({"musehub": true})),
        ("aud", Value::Null),
    ] {
        assert!(!is_taken(&with(claim, wrong.clone())), "{claim} {wrong}");
    }
    for lacking in ["iss", "aud"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(lacking);
        assert!(!is_taken(&claims), "{lacking}");
    }
}

#[test]
fn a_token_is_good_from_nbf_to_exp_and_a_minute_more_on_both_sides() {
    let signer = Signer::ed();
    let is_taken = |claim: &str, value: Value| {
        verify(&signer.keys(), &signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &with(claim, value))).is_ok()
    };
    for (claim, value, expected) in [
        ("exp", json!(NOW + 1), true),
        ("exp", json!(NOW - 59), true),
        ("exp", json!(NOW as f64 - 59.5), true),
        ("exp", json!(NOW - 60), false),
        ("exp", json!(NOW - 3_600), false),
        ("exp", json!("2000"), false),
        ("exp", Value::Null, false),
        ("nbf", json!(NOW), true),
        ("nbf", json!(NOW + 60), true),
        ("nbf", json!(NOW + 61), false),
        ("nbf", json!("0"), false),
        ("nbf", Value::Null, false),
    ] {
        assert_eq!(is_taken(claim, value.clone()), expected, "{claim} {value}");
    }
    let mut endless = claims();
    endless.as_object_mut().unwrap().remove("exp");
    assert!(verify(&signer.keys(), &signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &endless)).is_err());
}

#[test]
fn a_user_is_known_by_the_issuer_and_the_claim() {
    let signer = Signer::ed();
    let user = |user_claim: &str, claims: &Value| {
        let issuer = issuer_with(|settings| settings.user_claim = user_claim.to_owned());
        let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), claims);
        verify_by(&issuer, &signer.keys(), &token).map(|verified| verified.user_id)
    };
    assert_eq!(user("sub", &claims()).unwrap(), format!("{ISSUER}#ada"));
    assert_eq!(user("repository_id", &with("repository_id", json!("74"))).unwrap(), format!("{ISSUER}#74"));
    let room = super::super::MAX_USER_ID - ISSUER.len() - 1;
    assert!(user("sub", &with("sub", json!("x".repeat(room)))).is_ok());
    for wrong in [json!("x".repeat(room + 1)), json!(""), json!("a\nb"), json!(7), json!(["ada"]), Value::Null] {
        assert!(user("sub", &with("sub", wrong.clone())).is_err(), "{wrong}");
    }
    assert!(user("email", &claims()).is_err());
}

#[test]
fn a_claim_that_the_operator_names_is_demanded_or_makes_an_operator() {
    let signer = Signer::ed();
    let verify = |issuer: &Issuer, claims: &Value| {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), claims);
        verify_by(issuer, &signer.keys(), &token)
    };
    let rule = ClaimRule::parse("cognito:groups=a=b");
    assert_eq!(rule, Some(ClaimRule { claim: "cognito:groups".to_owned(), value: "a=b".to_owned() }));
    let demanding = issuer_with(|settings| settings.required = rule.clone());
    let trusting = issuer_with(|settings| settings.admin = rule.clone());
    for (said, is_met) in [
        (json!("a=b"), true),
        (json!(["c", "a=b"]), true),
        (json!("a"), false),
        (json!(["a", "b"]), false),
        (json!({"a=b": true}), false),
        (json!([["a=b"]]), false),
        (Value::Null, false),
    ] {
        let claims = with("cognito:groups", said.clone());
        assert_eq!(verify(&demanding, &claims).is_ok(), is_met, "{said}");
        assert_eq!(verify(&trusting, &claims).unwrap().is_admin, is_met, "{said}");
    }
    assert!(verify(&demanding, &claims()).is_err());
    for none in ["", "=", "a=", "=b", "a"] {
        assert_eq!(ClaimRule::parse(none), None, "{none}");
    }
}

#[test]
fn a_token_without_the_id_of_its_key_is_taken_where_there_is_one_of_the_type() {
    let (one, other, ec) = (Signer::ed(), Signer::ed(), Signer::ec());
    let token = one.token(&json!({"alg": "EdDSA"}), &claims());
    let is_taken = |keys: &[Value]| verify(&set(keys), &token).is_ok();
    assert!(is_taken(&[one.jwk(Some("k"))]));
    assert!(is_taken(&[one.jwk(None), ec.jwk(None)]));
    assert!(!is_taken(&[one.jwk(Some("k")), other.jwk(Some("l"))]));
    assert!(!is_taken(&[one.jwk(None), one.jwk(None)]));
    let token = one.good_token();
    let is_taken = |keys: &[Value]| verify(&set(keys), &token).is_ok();
    assert!(is_taken(&[other.jwk(Some("l")), one.jwk(Some("k"))]));
    assert!(is_taken(&[ec.jwk(Some("k")), one.jwk(Some("k"))]));
    assert!(!is_taken(&[one.jwk(Some("l"))]), "it is under another id");
    assert!(!is_taken(&[one.jwk(None)]), "it has no id");
    assert!(!is_taken(&[one.jwk(Some("k")), other.jwk(Some("k"))]), "it could be each");
}

#[test]
fn a_short_rsa_key_verifies_nothing() {
    let sample: Value = serde_json::from_str(include_str!("samples/rsa-1024.json")).unwrap();
    let keys = set(&[sample["jwk"].clone()]);
    let refused = verify(&keys, sample["token"].as_str().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("not signed"), "{refused}");
}

#[test]
fn a_token_with_something_critical_is_refused() {
    let signer = Signer::ed();
    for crit in [json!(["b64"]), json!([])] {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": "k", "crit": crit}), &claims());
        assert!(verify(&signer.keys(), &token).is_err());
    }
}

#[test]
fn of_what_an_issuer_publishes_only_keys_for_tokens_are_read() {
    let signer = Signer::rsa();
    let rsa = |field: &str, value: Value| {
        let mut jwk = signer.jwk(Some("k"));
        jwk[field] = value;
        jwk
    };
    let ec = |curve: &str| {
        let mut jwk = Signer::ec().jwk(Some("k"));
        jwk["crv"] = curve.into();
        jwk
    };
    let secret = json!({"kty": "oct", "kid": "k", "k": BASE64.encode(signer.public())});
    let none = [
        secret,
        rsa("use", json!("enc")),
        rsa("use", json!("other")),
        rsa("key_ops", json!(["encrypt"])),
        rsa("alg", json!("RS512")),
        rsa("alg", json!("RSA-OAEP")),
        rsa("alg", json!("HS256")),
        rsa("kty", json!("new")),
        rsa("n", json!("not base64!")),
        ec("P-384"),
        ec("secp256k1"),
        ec("Ed25519"),
        json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "P-256", "kid": "k", "x": "AAAA"}),
        json!({}),
        json!("key"),
        Value::Null,
    ];
    for key in &none {
        let refused = KeySet::parse(json!({"keys": [key]}).to_string().as_bytes());
        assert!(refused.is_err(), "{key}");
    }
    // They keep no other from being read.
    let all: Vec<Value> = none.into_iter().chain([rsa("use", json!("sig"))]).collect();
    assert!(verify(&set(&all), &signer.good_token()).is_ok());
    for good in [rsa("alg", json!("RS256")), rsa("key_ops", json!(["verify"])), rsa("x5c", json!(["AAAA"]))] {
        assert!(verify(&set(&[good]), &signer.good_token()).is_ok());
    }
    for no_set in ["", "[]", "{}", r#"{"keys": []}"#, r#"{"keys": {}}"#] {
        assert!(KeySet::parse(no_set.as_bytes()).is_err(), "{no_set}");
    }
    let many = vec![signer.jwk(Some("k")); 101];
    assert!(KeySet::parse(json!({"keys": many}).to_string().as_bytes()).is_err());
}

#[test]
fn an_issuer_is_a_plain_url_by_https_or_on_this_machine() {
    for good in [
        "https://token.actions.githubusercontent.com",
        "https://music.eu.auth0.com/",
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI",
        "https://10.0.0.7:8443/realms/music",
        "http://localhost:8080/realms/music",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
    ] {
        assert_eq!(IssuerSettings::new(good, "musehub").unwrap().issuer(), good);
    }
    let long = format!("https://example.com/{}", "x".repeat(MAX_ISSUER));
    for (wrong, expected) in [
        ("", BadIssuer::Url),
        ("example.com", BadIssuer::Url),
        ("https://", BadIssuer::Url),
        ("https://example.com?a=b", BadIssuer::Url),
        ("https://example.com/#a", BadIssuer::Url),
        ("https://me@example.com", BadIssuer::Url),
        ("https://me:sesame@example.com", BadIssuer::Url),
        (" https://example.com", BadIssuer::Url),
        (&long, BadIssuer::Url),
        ("data:x", BadIssuer::Url),
        ("http://example.com", BadIssuer::Insecure),
        ("http://10.0.0.7", BadIssuer::Insecure),
        ("http://localhost.example.com", BadIssuer::Insecure),
        ("ftp://localhost", BadIssuer::Insecure),
    ] {
        assert_eq!(IssuerSettings::new(wrong, "musehub"), Err(expected), "{wrong}");
    }
    assert_eq!(IssuerSettings::new(ISSUER, ""), Err(BadIssuer::NoAudience));
    let parts = |issuer: Option<&str>, audience: Option<&str>| {
        let [issuer, audience] = [issuer, audience].map(|text| text.map(str::to_owned));
        IssuerSettings::of_parts(IssuerParts { issuer, audience, ..IssuerParts::default() })
    };
    assert_eq!(parts(None, None), Ok(None));
    assert_eq!(parts(Some(""), Some("")), Ok(None));
    assert_eq!(parts(None, Some("musehub")), Err(BadIssuer::NoIssuer));
    assert_eq!(parts(Some(ISSUER), None), Err(BadIssuer::NoAudience));
    assert_eq!(parts(Some(ISSUER), Some("musehub")), Ok(Some(IssuerSettings::new(ISSUER, "musehub").unwrap())));
}

#[test]
fn what_an_operator_leaves_empty_says_nothing_and_what_says_nothing_is_refused() {
    let of = |texts: [&str; 5]| {
        let [issuer, audience, user_claim, required, admin] = texts.map(|text| Some(text.to_owned()));
        IssuerSettings::of_parts(IssuerParts { issuer, audience, user_claim, required, admin })
    };
    assert_eq!(of([""; 5]), Ok(None));
    let settings = of([ISSUER, "musehub", "", "", "groups=operators"]).unwrap().unwrap();
    assert_eq!((settings.user_claim.as_str(), settings.required, settings.admin.is_some()), ("sub", None, true));
    for place in 1..5 {
        let mut texts = [""; 5];
        texts[place] = "a=b";
        assert_eq!(of(texts), Err(BadIssuer::NoIssuer), "{place}");
    }
    for place in 3..5 {
        let mut texts = [ISSUER, "musehub", "", "", ""];
        texts[place] = "operators";
        assert_eq!(of(texts), Err(BadIssuer::Claim), "{place}");
    }
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(
        which in 0..3_usize,
        place in any::<prop::sample::Index>(),
        replacement in "[A-Za-z0-9_.-]",
    ) {
        let signer = Signer::all().into_iter().nth(which).unwrap();
        let (keys, token) = (signer.keys(), signer.good_token());
        prop_assert!(verify(&keys, &token).is_ok());
        let place = place.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(place..=place, &replacement);
        prop_assume!(changed != token);
        prop_assert!(verify(&keys, &changed).is_err());
    }

    #[test]
    fn no_claims_are_taken_of_another_key(sub in "[a-z]{1,8}", exp in 0..100_000_i64) {
        let (signer, other) = (Signer::ed(), Signer::ed());
        let mut claims = with("sub", json!(sub));
        claims["exp"] = json!(exp);
        let token = other.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims);
        prop_assert!(verify(&signer.keys(), &token).is_err());
    }

    #[test]
    fn the_users_of_two_issuers_are_never_the_same(
        one in "https://[a-c]{1,2}(/[#ab]{0,2})?", other in "https://[a-c]{1,2}(/[#ab]{0,2})?", sub in "[#a/]{1,4}", other_sub in "[#a/]{1,4}",
    ) {
        let (Ok(one), Ok(other)) = (IssuerSettings::new(&one, "m"), IssuerSettings::new(&other, "m")) else {
            return Ok(());
        };
        let ids = [(&one, &sub), (&other, &other_sub)].map(|(issuer, sub)| format!("{}#{sub}", issuer.issuer()));
        prop_assert_eq!(ids[0] == ids[1], one == other && sub == other_sub);
    }
}
