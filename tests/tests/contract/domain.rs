//! What kind of content a repo holds: one of the words that clients know, however the repo was made.

use serde_json::{Value, json};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{Builder, Formula, History, Tree};
use tests::hub::{Hub, fresh_name};

const KNOWN: [&str; 3] = ["code", "midi", "scaffold"];
/// As the stock client writes it.
const ATTRIBUTES: &str = "# .museattributes — merge strategy overrides for this repository.\n\n[meta]\ndomain = \"DOMAIN\"\n\n\
                          # [[rules]]\n# path      = \"*\"\n# dimension = \"*\"\n# strategy  = \"auto\"\n";

/// Adds a commit with this delta, whose `.museattributes` names this.
fn take(builder: &mut Builder, parents: &[&str], delta: &Value, attributes: Option<&str>) -> String {
    let mut tree = Tree::from([("song.mid".to_owned(), builder.bytes(32))]);
    if let Some(domain) = attributes {
        tree.insert(".museattributes".to_owned(), ATTRIBUTES.replace("DOMAIN", domain).into());
    }
    builder.commit_with(parents, &tree, Formula::CommittedAt, |fields| {
        fields.insert("structured_delta".to_owned(), delta.clone());
    })
}

fn one_take(seed: u64, delta: &Value, attributes: Option<&str>) -> History {
    let mut builder = Builder::new(seed);
    take(&mut builder, &[], delta, attributes);
    builder.finish()
}

fn delta(domain: &str) -> Value {
    json!({"domain": domain, "ops": [{"op": "patch", "child_domain": "code_symbols"}]})
}

/// What a repo is made with through `POST /api/repos`, and answers then.
async fn made(hub: &Hub, domain: &Value) -> Remote {
    let remote = hub.remote(&hub.dev(), &fresh_name("song"));
    let body = json!({"name": remote.slug, "domain": domain});
    let answer = hub.post("api/repos", remote.token.as_deref(), &body).await.expect(201);
    let shown = domain.as_str().filter(|domain| !domain.is_empty()).unwrap_or("code");
    assert_eq!(answer["domain"], shown, "{domain}");
    assert_eq!(remote.domain().await, shown, "{domain}");
    remote
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_without_a_domain_is_code() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        for none in [json!(null), json!("")] {
            let remote = made(&hub, &none).await.speaking(encoding);
            let history = one_take(1, &json!(null), None);
            remote.push(&history, "main", history.last()).await.expect(200);
            assert_eq!(remote.domain().await, "code");
        }
        let made = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        assert_eq!(made.domain().await, "code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_made_by_a_push_has_the_domain_that_its_tip_names() {
    let hub = Hub::start().await;
    let cases = [
        (json!(null), None, "code"),
        (json!(["midi"]), None, "code"),
        (delta("midi"), None, "midi"),
        (delta("scaffold"), None, "scaffold"),
        (delta("code"), Some("midi"), "code"),
        (json!(null), Some("midi"), "midi"),
        (json!(null), Some("scaffold"), "scaffold"),
        (delta("music"), Some("midi"), "midi"),
        // Words that clients do not know.
        (delta("music"), None, "code"),
        (delta("music"), Some("music"), "code"),
        (json!(null), Some(""), "code"),
    ];
    // One generation of clients sends the file in the push, the other stages it before.
    for encoding in Encoding::BOTH {
        for (number, (delta, attributes, expected)) in cases.iter().enumerate() {
            let history = one_take(number as u64, delta, *attributes);
            let remote = hub.repo().await.speaking(encoding);
            remote.push(&history, "main", history.last()).await.expect(200);
            assert_eq!(remote.domain().await, *expected, "{encoding:?} {delta} {attributes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_push_into_a_repo_made_before_says_its_domain() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let (by_delta, by_file) = (one_take(21, &delta("midi"), None), one_take(22, &json!(null), Some("midi")));
        for history in [by_delta, by_file] {
            let remote = made(&hub, &json!(null)).await.speaking(encoding);
            remote.push(&history, "main", history.last()).await.expect(200);
            assert_eq!(remote.domain().await, "midi");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tip_of_only_the_first_push_says_a_domain() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let mut builder = Builder::new(31);
        let root = take(&mut builder, &[], &delta("scaffold"), Some("scaffold"));
        let tip = take(&mut builder, &[&root], &delta("midi"), None);
        let next = take(&mut builder, &[&tip], &delta("code"), Some("code"));
        let history = builder.finish();
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &tip).await.expect(200);
        assert_eq!(remote.domain().await, "midi");
        remote.push(&history, "main", &next).await.expect(200);
        let other = one_take(32, &delta("scaffold"), None);
        remote.push(&other, "other", other.last()).await.expect(200);
        assert_eq!(remote.domain().await, "midi");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_chosen_stays() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        for chosen in KNOWN {
            let remote = made(&hub, &json!(chosen)).await.speaking(encoding);
            for (number, other) in KNOWN.into_iter().enumerate() {
                let history = one_take(40 + number as u64, &delta(other), Some(other));
                remote.push(&history, &format!("take/{other}"), history.last()).await.expect(200);
                assert_eq!(remote.domain().await, chosen);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_clients_do_not_know_is_refused_with_those_that_they_do() {
    let hub = Hub::start().await;
    let (token, name) = (hub.dev().token, fresh_name("song"));
    for unknown in ["music", "Code", "midi ", "\u{0}", &"x".repeat(2_000)] {
        let body = json!({"name": name, "domain": unknown});
        let refusal = hub.post("api/repos", Some(&token), &body).await.refused(422, "invalid");
        for known in KNOWN {
            assert!(refusal.detail.contains(known), "{}", refusal.detail);
        }
        assert!(refusal.detail.len() < 200, "{}", refusal.detail);
    }
    // None of them has made it.
    hub.post("api/repos", Some(&token), &json!({"name": name, "domain": "midi"})).await.expect(201);
}
