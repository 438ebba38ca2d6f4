//! Access tokens, and the header that they come in.
//!
//! Nothing is taken that was not signed with the secret; of what was, only what says in full what a token has to say; and of a
//! token that is taken no character can be another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use common::time;
use common::wire::WireError;
use hmac::{Hmac, KeyInit, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use service::auth::{Tokens, User, bearer_token};
use sha2::Sha256;
use store::ambient::Ambient;

use crate::refusal;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_000;

fn tokens() -> Tokens {
    Tokens::new(SECRET, Ambient::replay(1, time::of_millis(NOW * 1_000))).expect("a secret")
}

fn user_of(token: &str) -> Result<User, WireError> {
    tokens().verify(token).map(|credential| credential.says().expect("it is no link"))
}

fn asked(header: &[u8]) -> Option<Result<Option<User>, WireError>> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(header).ok()?);
    Some(bearer_token(&headers).and_then(|token| token.map(user_of).transpose()))
}

/// Panics if these bytes break a promise: as the header, and as the header and the claims of a token that the hub has signed.
pub fn check(input: &[u8]) {
    match asked(input) {
        Some(Ok(caller)) => assert_eq!(caller, None, "this has no signature"),
        Some(Err(error)) => refusal::check(&error),
        None => {}
    }
    let split = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (head, claims) = input.split_at(split);
    let claims = claims.get(1..).unwrap_or_default();
    let signed = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).expect("a key");
    let token = format!("{signed}.{}", BASE64.encode(mac.chain_update(&signed).finalize().into_bytes()));
    let Some(answer) = asked(format!("Bearer {token}").as_bytes()) else {
        return;
    };
    match answer {
        Ok(caller) => {
            let caller = caller.expect("there is a token");
            is_good(head, claims, &caller);
            // Any other character anywhere, and it is no token.
            for at in (0..token.len()).step_by(token.len() / 8 + 1) {
                let mut changed = token.clone();
                let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
                changed.replace_range(at..=at, other);
                assert!(tokens().verify(&changed).is_err(), "{changed} for {token}");
            }
        }
        Err(error) => refusal::check(&error),
    }
}

/// What a token has to say, read by other code.
fn is_good(head: &[u8], claims: &[u8], caller: &User) {
    // What is not read need not be UTF-8: its signer knows the secret.
    let [head, claims]: [Value; 2] =
        [head, claims].map(|json| serde_json::from_str(&String::from_utf8_lossy(json)).expect("it is JSON"));
    assert_eq!(head["alg"], "HS256");
    assert_eq!(claims["type"], "access");
    assert!(claims["exp"].as_f64().is_some_and(|expiry| expiry > NOW as f64), "{claims}");
    assert_eq!(claims["sub"], caller.id);
    assert!(!caller.id.is_empty() && caller.id.len() <= 256);
    // A token that was narrowed looks into no hub.
    assert_eq!(claims["role"] == "admin" && claims["grant"].is_null(), caller.is_admin);
    assert!(claims["aud"].is_null(), "this hub has no name");
    assert!(head["crit"].is_null());
}

/// Headers and claims that are taken, and some that are not.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"alg":"HS256","typ":"JWT"}|{"type":"access","sub":"user-dev","iat":1000,"exp":2000,"role":"admin"}"#,
        r#"{"alg":"HS256"}|{"type":"access","sub":"a","iat":1e3,"exp":1e300,"token_type":"agent","agent_name":"x"}"#,
        r#"{"alg":"HS512","typ":"JWT"}|{"type":"access","sub":"a","iat":1000,"exp":2000}"#,
        r#"{"alg":"none"}|{"type":"refresh","sub":"","iat":0,"exp":999}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}|{"type":"access","sub":"a","iat":1000,"exp":2000}"#,
    ]
    .iter()
    .map(|seed| seed.replace('|', "\n").into_bytes())
    .collect();
    seeds.push(b"Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.".to_vec());
    seeds.push(b"bearer  x.y.z".to_vec());
    seeds
}
