//! Tokens, good ones and all the others. Signed here by hand, because a JWT library refuses to make most of these.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

/// A token that the hub takes for an hour: `sub` is the user's id.
pub fn access(secret: &str, user: &str) -> String {
    sign(secret, &claims(user))
}

/// The claims of a good token.
pub fn claims(user: &str) -> Value {
    json!({"type": "access", "sub": user, "iat": now(), "exp": now() + 3600})
}

/// Any claims under HS256.
pub fn sign(secret: &str, claims: &Value) -> String {
    let input = signing_input("HS256", claims);
    format!("{input}.{}", BASE64.encode(hs256(secret, &input)))
}

/// Tokens of `user`, who exists, that a hub must not take, each with what is wrong with it.
pub fn forgeries(secret: &str, user: &str) -> Vec<(&'static str, String)> {
    let good = claims(user);
    let with = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        sign(secret, &claims)
    };
    let without = |field: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("claims are a map").remove(field);
        sign(secret, &claims)
    };
    let token = sign(secret, &good);
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let mut somebody_else = good.clone();
    somebody_else["sub"] = json!("somebody-else");
    let none = signing_input("none", &good);
    let hs384 = signing_input("HS384", &good);
    let hs512 = signing_input("HS512", &good);
    let mislabelled = signing_input("RS256", &good);
    let no_algorithm = format!("{}.{payload}", BASE64.encode(json!({"typ": "JWT"}).to_string()));
    vec![
        ("alg none, no signature", format!("{none}.")),
        ("alg none, two parts", none.clone()),
        ("alg none, an HS256 signature", format!("{none}.{}", BASE64.encode(hs256(secret, &none)))),
        ("alg None", format!("{}.", signing_input("None", &good))),
        ("HS384", format!("{hs384}.{}", BASE64.encode(mac::<Hmac<Sha384>>(secret, &hs384)))),
        ("HS512", format!("{hs512}.{}", BASE64.encode(mac::<Hmac<Sha512>>(secret, &hs512)))),
        ("RS256 in name, HS256 in fact", format!("{mislabelled}.{}", BASE64.encode(hs256(secret, &mislabelled)))),
        ("no algorithm", format!("{no_algorithm}.{}", BASE64.encode(hs256(secret, &no_algorithm)))),
        ("another secret", sign("not the secret", &good)),
        ("an empty secret", sign("", &good)),
        (
            "another's claims under this signature",
            format!("{header}.{}.{signature}", BASE64.encode(somebody_else.to_string())),
        ),
        ("no signature", format!("{header}.{payload}.")),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..20])),
        ("a signature too long", format!("{token}AAAA")),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{token}.{signature}")),
        ("expired an hour ago", with("exp", json!(now() - 3600))),
        ("expired in 1970", with("exp", json!(0))),
        ("expired before 1970", with("exp", json!(-1))),
        ("exp is a string", with("exp", json!((now() + 3600).to_string()))),
        ("exp is null", with("exp", Value::Null)),
        ("no exp", without("exp")),
        ("type refresh", with("type", json!("refresh"))),
        ("type is null", with("type", Value::Null)),
        ("no type", without("type")),
        ("sub is a number", with("sub", json!(1))),
        ("no sub", without("sub")),
        ("claims are a list", sign(secret, &json!([good]))),
        ("claims are not JSON", {
            let input = format!("{header}.{}", BASE64.encode("user-dev"));
            format!("{input}.{}", BASE64.encode(hs256(secret, &input)))
        }),
        ("one word", "token".to_owned()),
        ("only dots", "..".to_owned()),
        ("the secret", secret.to_owned()),
        ("two kilobytes of nothing", "a".repeat(2_000)),
    ]
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("the clock is before the year 292277026596")
}

/// What of a token is signed: a header that names this algorithm, and claims.
pub fn signing_input(algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"});
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

fn hs256(secret: &str, input: &str) -> Vec<u8> {
    mac::<Hmac<Sha256>>(secret, input)
}

fn mac<M: Mac + KeyInit>(secret: &str, input: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    // The key and the token of RFC 7515, appendix A.1.
    #[test]
    fn the_signature_is_that_of_rfc_7515() {
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).unwrap();
        mac.update(input.as_bytes());
        assert_eq!(BASE64.encode(mac.finalize().into_bytes()), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn no_forgery_is_the_good_token() {
        let forgeries = forgeries("secret", "user-dev");
        let good = access("secret", "user-dev");
        assert!(forgeries.iter().all(|(_, token)| *token != good));
        let tokens: BTreeSet<&str> = forgeries.iter().map(|(_, token)| token.as_str()).collect();
        assert_eq!(tokens.len(), forgeries.len(), "each is wrong in its own way");
    }
}
