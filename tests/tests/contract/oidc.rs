//! A hub behind an issuer takes its tokens, those that users have minted, and no others. The issuer is a stand-in.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::client::{Answer, send};
use tests::history;
use tests::hub::{Hub, User, fresh_name};
use tests::issuer::{SigningKey, StandIn};
use tests::receiver;
use tests::token;
use tests::verify;

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A hub that takes the tokens of an issuer, and asks it as often as it likes.
async fn hub_of(issuer: &StandIn) -> Hub {
    hub_that_pauses(issuer, Duration::ZERO).await
}

async fn hub_that_pauses(issuer: &StandIn, pause: Duration) -> Hub {
    let mut settings = issuer.settings();
    settings.pause = pause;
    Hub::start_with_issuer(settings).await
}

/// A user of the issuer, with a handle.
async fn user(hub: &Hub, issuer: &StandIn, key: &SigningKey) -> User {
    let sub = fresh_name("sub");
    let (id, handle) = (format!("{}#{sub}", issuer.issuer()), fresh_name("h"));
    let token = key.token(&issuer.claims(&sub));
    let claimed = hub.post("api/identities", Some(&token), &json!({"handle": handle})).await.expect(201);
    assert_eq!(claimed["user_id"], json!(id));
    User { id, handle, token }
}

async fn listed(hub: &Hub, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    send("GET", &format!("{}/api/tokens", hub.url()), &[("authorization", &bearer)], "").await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_issuer_pushes_and_fetches() {
    let keys = [SigningKey::rsa("r"), SigningKey::ec("e"), SigningKey::ed("d")];
    let issuer = StandIn::start(&[&keys[0], &keys[1], &keys[2]]).await;
    let hub = hub_that_pauses(&issuer, FOREVER).await;
    let history = history::linear(1, 3, 3, 1);
    for key in &keys {
        let (owner, other) = (user(&hub, &issuer, key).await, user(&hub, &issuer, key).await);
        let remote = hub.made_repo(&owner, true).await;
        remote.push(&history, "main", history.last()).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, &owner.handle).expect("what was pushed");
        remote.with_token(&other.token).get("refs").await.refused(404, "repo_not_found");
        remote.anonymous().get("refs").await.refused(404, "repo_not_found");
    }
    assert_eq!(issuer.asked(), (1, 1), "for all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_issuer_did_not_sign_for_this_hub_is_refused() {
    let (rsa, ec, ed, stranger) = (SigningKey::rsa("r"), SigningKey::ec("e"), SigningKey::ed("d"), SigningKey::ed("d"));
    let issuer = StandIn::start(&[&rsa, &ec, &ed]).await;
    let hub = hub_of(&issuer).await;
    let sub = fresh_name("sub");
    let with = |field: &str, value: Value| {
        let mut claims = issuer.claims(&sub);
        claims[field] = value;
        ed.token(&claims)
    };
    let good = issuer.claims(&sub);
    listed(&hub, &ed.token(&good)).await.expect(200);
    let by_secret = |claims: &Value| token::sign(hub.secret(), claims);
    let admin = {
        let mut claims = token::claims("user-dev");
        claims["role"] = json!("admin");
        claims
    };
    // What a forger has: the public keys, in each form in which one could be taken for a secret.
    let public = |key: &SigningKey| token::sign(&key.jwk().to_string(), &good);
    let signed = ed.token(&good);
    let (unsigned, signature) = signed.rsplit_once('.').unwrap();
    let (header, claims) = unsigned.split_once('.').unwrap();
    let none = token::signing_input("none", &good);
    let mut forgeries = vec![
        ("another issuer", with("iss", json!("https://issuer.example.com"))),
        ("no issuer", with("iss", Value::Null)),
        ("another audience", with("aud", json!("another"))),
        ("an audience of others", with("aud", json!(["another", "third"]))),
        ("no audience", with("aud", Value::Null)),
        ("expired", with("exp", json!(token::now() - 61))),
        ("no end", with("exp", Value::Null)),
        ("not yet", with("nbf", json!(token::now() + 600))),
        ("no user", with("sub", Value::Null)),
        ("no text for a user", with("sub", json!(7))),
        ("a stranger's key", stranger.token(&good)),
        ("a key that is not known", SigningKey::ed("x").token(&good)),
        ("which of two types", rsa.sign(&json!({"alg": "EdDSA", "kid": "d"}), &good)),
        ("the key of another type", ec.sign(&json!({"alg": "RS256", "kid": "r"}), &good)),
        ("another algorithm of the key", rsa.sign(&json!({"alg": "RS512", "kid": "r"}), &good)),
        ("PSS", rsa.sign(&json!({"alg": "PS256", "kid": "r"}), &good)),
        ("something critical", ed.sign(&json!({"alg": "EdDSA", "kid": "d", "crit": ["x"], "x": 1}), &good)),
        ("alg none, no signature", format!("{none}.")),
        ("alg none, a signature", format!("{none}.{signature}")),
        ("no signature", format!("{unsigned}.")),
        ("two parts", unsigned.to_owned()),
        ("other claims", format!("{header}.{}.{signature}", with("sub", json!("bob")).split('.').nth(1).unwrap())),
        ("another header", format!("{}.{claims}.{signature}", none.split('.').next().unwrap())),
        ("HS256 by the public RSA key", public(&rsa)),
        ("HS256 by the public key on P-256", public(&ec)),
        ("HS256 by the public key on Curve25519", public(&ed)),
        ("the secret's, of a user", hub.token("user-dev")),
        ("the secret's, of an operator", by_secret(&admin)),
        ("the secret's, of the issuer's user", by_secret(&token::claims(&format!("{}#{sub}", issuer.issuer())))),
        ("the secret's, that says it is the issuer's", by_secret(&good)),
        ("the secret's under another name", ed.sign(&json!({"alg": "HS256", "kid": "d"}), &good)),
    ];
    forgeries.extend(token::forgeries(hub.secret(), "user-dev"));
    let remote = hub.remote(&hub.dev(), "song");
    for (what, forged) in forgeries {
        let forger = remote.with_token(&forged);
        let pack = history::linear(1, 1, 1, 1).pack_of(history::linear(1, 1, 1, 1).last());
        for (endpoint, answer) in [
            ("tokens", listed(&hub, &forged).await),
            ("refs", forger.get("refs").await),
            ("push", forger.push_pack("main", false, &pack).await),
            ("fetch", forger.ask::<&str, &str>(&[], &[]).await),
        ] {
            assert_eq!(answer.status, 401, "{what} at {endpoint}: {}", answer.excerpt());
            answer.refused(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what} at {endpoint}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_token_is_good_beside_an_issuer_until_it_is_revoked() {
    let key = SigningKey::ec("e");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let owner = user(&hub, &issuer, &key).await;
    let remote = hub.made_repo(&owner, true).await;
    let body = json!({"name": "ci", "access": "write", "ttl_seconds": 600});
    let minted = hub.post("api/tokens", Some(&owner.token), &body).await.expect(201);
    let ci = remote.with_token(minted["token"].as_str().expect("a token"));
    let history = history::linear(1, 2, 2, 1);
    ci.push(&history, "main", history.last()).await.expect(200);
    // It needs nothing of the issuer.
    issuer.be_away(true);
    ci.get("refs").await.expect(200);
    let id = minted["id"].as_str().expect("an id");
    let bearer = format!("Bearer {}", owner.token);
    let revoked = format!("{}/api/tokens/{id}", hub.url());
    send("DELETE", &revoked, &[("authorization", &bearer)], "").await.expect("an answer").expect(200);
    ci.get("refs").await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_the_issuer_is_taken_and_one_that_went_is_not() {
    let (old, new) = (SigningKey::ed("old"), SigningKey::ec("new"));
    let issuer = StandIn::start(&[&old]).await;
    let hub = hub_of(&issuer).await;
    let sub = fresh_name("sub");
    let [by_old, by_new] = [&old, &new].map(|key| key.token(&issuer.claims(&sub)));
    listed(&hub, &by_old).await.expect(200);
    listed(&hub, &by_new).await.refused(401, "unauthorized");
    issuer.publish(&[&old, &new]);
    listed(&hub, &by_new).await.expect(200);
    listed(&hub, &by_old).await.expect(200);
    issuer.publish(&[&new]);
    // The old one is known until the keys are read again, as they are for a key that is not.
    listed(&hub, &SigningKey::ed("third").token(&issuer.claims(&sub))).await.refused(401, "unauthorized");
    listed(&hub, &by_old).await.refused(401, "unauthorized");
    listed(&hub, &by_new).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_in_the_place_of_another_is_taken_and_the_other_no_more() {
    let (old, new) = (SigningKey::ed("k"), SigningKey::ed("k"));
    let issuer = StandIn::start(&[&old]).await;
    let hub = hub_of(&issuer).await;
    // Under the same id, and under none.
    let signed = [&old, &new].map(|key| {
        [json!({"alg": "EdDSA", "kid": "k"}), json!({"alg": "EdDSA"})]
            .map(|header| key.sign(&header, &issuer.claims("ada")))
    });
    for [by_old, by_new] in [0, 1].map(|way| [&signed[0][way], &signed[1][way]]) {
        issuer.publish(&[&old]);
        listed(&hub, by_old).await.expect(200);
        listed(&hub, by_new).await.refused(401, "unauthorized");
        issuer.publish(&[&new]);
        listed(&hub, by_new).await.expect(200);
        listed(&hub, by_old).await.refused(401, "unauthorized");
        issuer.be_away(true);
        listed(&hub, by_old).await.refused(401, "unauthorized");
        listed(&hub, by_new).await.expect(200);
        issuer.be_away(false);
    }
}

/// Sends tokens that are not good, all at once, and good ones between them: the latter get through, and the issuer is not asked again.
async fn flood(issuer: &StandIn, key: &SigningKey, forged: &[String]) {
    let hub = hub_that_pauses(issuer, FOREVER).await;
    let good = key.token(&issuer.claims("ada"));
    listed(&hub, &good).await.expect(200);
    assert_eq!(issuer.asked(), (1, 1));
    let flood = join_all(forged.iter().map(|forged| listed(&hub, forged)));
    let through = join_all((0..20).map(|_| listed(&hub, &good)));
    let (refused, taken) = futures_util::future::join(flood, through).await;
    assert!(refused.iter().all(|answer| answer.status == 401));
    assert!(taken.iter().all(|answer| answer.status == 200));
    assert_eq!(issuer.asked(), (1, 1), "the pause of the first time is not over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_badly_signed_tokens_does_not_ask_the_issuer() {
    let (key, stranger) = (SigningKey::ed("k"), SigningKey::ed("k"));
    let issuer = StandIn::start(&[&key]).await;
    let forged = stranger.token(&issuer.claims("ada"));
    flood(&issuer, &key, &vec![forged; 200]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_tokens_with_unknown_keys_asks_the_issuer_once() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let forged = |number| SigningKey::ed(&format!("k{number}")).token(&issuer.claims("ada"));
    let forged: Vec<String> = (0..200).map(forged).collect();
    flood(&issuer, &key, &forged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_cold_process_share_one_look_at_the_keys() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let good = key.token(&issuer.claims("ada"));
    let answers = join_all((0..50).map(|_| listed(&hub, &good))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(issuer.asked(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_issuer_is_away_known_keys_serve_and_others_are_503() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let good = key.token(&issuer.claims("ada"));
    issuer.be_away(true);
    let away = listed(&hub, &good).await;
    let refusal = away.refused(503, "unavailable");
    assert_eq!(away.header("retry-after"), "1");
    assert!(refusal.detail.contains("the issuer of this hub's tokens"), "{}", refusal.detail);
    assert!(!refusal.detail.contains(&issuer.issuer()), "causes are for the log: {}", refusal.detail);
    // What needs no token goes on.
    hub.get("health").await.expect(200);
    hub.remote(&hub.dev(), "song").anonymous().get("refs").await.refused(404, "");
    issuer.be_away(false);
    listed(&hub, &good).await.expect(200);
    issuer.be_away(true);
    listed(&hub, &good).await.expect(200);
    listed(&hub, &SigningKey::ed("new").token(&issuer.claims("ada"))).await.refused(503, "unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_says_nothing_holds_no_request_for_ever() {
    let (url, _taken, task) = receiver::silent().await;
    let issuer = local::serve::IssuerSettings::new(url.trim_end_matches('/'), "musehub").expect("an issuer");
    let hub = Hub::start_with_issuer(issuer).await;
    let token = SigningKey::ed("k").token(&json!({}));
    let answers = join_all((0..5).map(|_| listed(&hub, &token))).await;
    answers.iter().for_each(|answer| drop(answer.refused(503, "unavailable")));
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_publishes_is_read_within_bounds_and_only_from_where_it_may_be() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let good = key.token(&issuer.claims("ada"));
    let keys = issuer.settings().issuer().to_owned() + "/keys";
    for (field, wrong) in [
        ("issuer", json!("https://issuer.example.com")),
        ("issuer", json!(format!("{}/", issuer.issuer()))),
        ("jwks_uri", json!("http://issuer.example.com/keys")),
        ("jwks_uri", json!("file:///etc/passwd")),
        ("jwks_uri", json!("keys")),
        ("jwks_uri", json!(issuer.issuer() + "/nothing")),
        ("jwks_uri", Value::Null),
    ] {
        issuer.configure(field, wrong.clone());
        listed(&hub, &good).await.refused(503, "unavailable");
        issuer.configure("issuer", json!(issuer.issuer()));
        issuer.configure("jwks_uri", json!(keys));
    }
    let with = |rest: Value| json!({"keys": [key.jwk()], "rest": rest});
    for wrong in
        [json!([]), json!({"keys": []}), with(json!("x".repeat(256 << 10))), json!({"keys": vec![key.jwk(); 101]})]
    {
        issuer.publish_as_keys(wrong);
        listed(&hub, &good).await.refused(503, "unavailable");
    }
    issuer.publish_as_keys(with(json!("x".repeat(200 << 10))));
    listed(&hub, &good).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_operator_names_makes_an_operator_and_the_claim_role_does_not() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let mut settings = issuer.settings();
    settings.admin = local::serve::ClaimRule::parse("groups=operators");
    settings.required = local::serve::ClaimRule::parse("org=music");
    let hub = Hub::start_with_issuer(settings).await;
    let deep = async |groups: Value, role: &str, org: &str| {
        let mut claims = issuer.claims("ada");
        (claims["groups"], claims["role"], claims["org"]) = (groups, json!(role), json!(org));
        let bearer = format!("Bearer {}", key.token(&claims));
        let url = format!("{}/health?deep=1", hub.url());
        send("GET", &url, &[("authorization", &bearer)], "").await.expect("an answer")
    };
    deep(json!(["singers", "operators"]), "", "music").await.expect(200);
    deep(json!(["singers"]), "admin", "music").await.refused(403, "not_authorized");
    deep(json!(["operators"]), "admin", "films").await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_page_names_the_issuer_and_no_command_that_makes_no_good_token() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let login = async |hub: &Hub| {
        let answer = send("GET", &format!("{}/login", hub.url()), &[("accept", "text/html")], "").await;
        String::from_utf8(answer.expect("a page").body.to_vec()).expect("text")
    };
    let page = login(&hub).await;
    assert!(page.contains(&issuer.issuer()) && !page.contains("musehub token"), "{page}");
    assert!(login(&Hub::start_own(local::serve::Storage::Memory, false).await).await.contains("musehub token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_issuer_is_away_a_logged_in_reader_is_no_stranger() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let owner = user(&hub, &issuer, &key).await;
    let remote = hub.made_repo(&owner, true).await;
    // Of a key that is not read yet.
    let new = SigningKey::ed("new");
    let path = format!("/{}/{}", remote.owner, remote.slug);
    let page = async |path: &str, token: &str| {
        let cookie = format!("musehub_token={token}");
        send("GET", &format!("{}{path}", hub.url()), &[("accept", "text/html"), ("cookie", &cookie)], "")
            .await
            .expect("a page")
    };
    issuer.be_away(true);
    let token = new.token(&issuer.claims("ada"));
    for path in [path.as_str(), "/"] {
        let away = page(path, &token).await;
        assert_eq!(away.status, 503, "{path}: {}", away.excerpt());
        assert!(away.header("content-type").starts_with("text/html"), "{path}");
        assert_eq!(away.header("set-cookie"), "", "it stays logged in");
    }
    assert_eq!(page("/login", &token).await.status, 200);
    // Known keys serve on.
    assert_eq!(page(&path, &owner.token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_too_long_for_a_cookie_is_refused_with_the_reason() {
    let key = SigningKey::ed("k");
    let issuer = StandIn::start(&[&key]).await;
    let hub = hub_of(&issuer).await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let log_in = async |groups: usize| {
        let mut claims = issuer.claims("ada");
        claims["groups"] = json!("x".repeat(groups));
        let body = format!("token={}", key.token(&claims));
        send("POST", &format!("{}/login", hub.url()), &[("accept", "text/html"), form], body).await.expect("a page")
    };
    let taken = log_in(2_000).await;
    assert_eq!(taken.status, 303, "{}", taken.excerpt());
    assert!((3_000..=4_096).contains(&taken.header("set-cookie").len()));
    let refused = log_in(3_000).await;
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!((refused.status, refused.header("set-cookie")), (401, ""));
    assert!(text.contains("browsers keep none of more than 40"), "{text}");
}
