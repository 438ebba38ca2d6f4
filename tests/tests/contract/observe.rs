//! What a hub lets be seen of its requests, and what it must not.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tests::client::send;
use tests::encoding::Encoding;
use tests::history;
use tests::hub::Hub;
use tests::token;

/// A hub, and the lines that it logs.
async fn logged(lambda_limits: bool) -> (Hub, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let hub = Hub::start_logged(lambda_limits, move |line| sink.lock().unwrap().push(line.to_owned())).await;
    (hub, lines)
}

fn values(lines: &Mutex<Vec<String>>) -> Vec<Value> {
    lines.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_how_long_it_took() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let history = history::linear(2, 2, 3, 1);
    remote.push(&history, "main", history.last()).await.expect(200);
    let url = |path: &str| format!("{}/{path}", hub.url());
    let answers = [
        remote.get("refs").await,
        hub.get("health").await,
        hub.get("openapi.json").await,
        hub.get("nobody/nothing/refs").await,
        hub.get("no/such/path/at/all").await,
        send("PUT", &url("health"), &[], "").await.unwrap(),
        hub.post_bytes("api/repos", Some(&hub.dev().token), Encoding::Json, b"{".to_vec()).await,
        hub.post("api/repos", Some("no token"), &json!({})).await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 404, 404, 405, 400, 401]);
    for answer in &answers {
        let timing = answer.header("server-timing");
        if [401, 404].contains(&answer.status) {
            assert_eq!(timing, "", "it would tell what is there and not for everybody");
            continue;
        }
        let total = timing.strip_prefix("total;dur=").and_then(|rest| rest.split([',', ';']).next());
        assert!(total.is_some_and(|total| total.parse::<f64>().is_ok()), "{timing:?} of {}", answer.excerpt());
    }
    assert!(answers[0].header("server-timing").contains("dynamodb;dur="), "{}", answers[0].header("server-timing"));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_one_line_that_says_by_which_route_it_came() {
    for lambda_limits in [false, true] {
        let (hub, lines) = logged(lambda_limits).await;
        let remote = hub.repo().await;
        let history = history::linear(2, 2, 3, 1);
        remote.push(&history, "main", history.last()).await.expect(200);
        lines.lock().unwrap().clear();

        remote.get("refs").await.expect(200);
        remote.anonymous().clone_all().await;
        hub.get("no/such/path/at/all").await.refused(404, "not_found");
        let lines = values(&lines);
        let seen: Vec<(&str, &str, u64)> = lines
            .iter()
            .map(|line| {
                let text = |field: &str| line[field].as_str().unwrap();
                (text("function"), text("route"), line["status"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(seen.first(), Some(&("refs", "/{owner}/{slug}/refs", 200)));
        assert_eq!(seen.last(), Some(&("door", "unknown", 404)));
        let fetched = lines.iter().find(|line| line["function"] == "fetch").expect("a line of the fetch");
        assert_eq!(fetched["repo"], json!(format!("dev/{}", remote.slug)));
        assert!(fetched.get("user").is_none(), "anonymous: {fetched}");
        assert!(fetched["bytes_out"].as_u64().unwrap() > 0 && fetched["bytes_in"].as_u64().unwrap() > 0, "{fetched}");
        assert!(lines.iter().all(|line| line["kind"] == "request" && line["ms"].is_number()), "{lines:?}");
        hub.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_holds_a_token_or_an_upload_or_a_query() {
    let (hub, lines) = logged(false).await;
    let (dev, remote) = (hub.dev(), hub.repo().await);
    let history = history::linear(2, 2, 3, 1);
    remote.push(&history, "main", history.last()).await.expect(200);
    let forged = token::forgeries(hub.secret(), &dev.id);
    for (_, token) in forged.iter().filter(|(_, token)| token.len() > 20) {
        hub.post("api/repos", Some(token), &json!({})).await.refused(401, "unauthorized");
    }
    // Where it does not belong.
    hub.get(&format!("health?access_token={}", dev.token)).await.expect(200);
    hub.get(&format!("{}/song/refs", dev.token)).await.refused(404, "repo_not_found");
    hub.get(&format!("nowhere/{}", dev.token)).await.refused(404, "not_found");
    let presigned = remote.presigned("put", &[format!("{:064x}", 7)]).await;

    let lines = lines.lock().unwrap().join("\n");
    assert!(lines.lines().count() > forged.len() / 2);
    assert!(!lines.contains(&dev.token) && !lines.contains("Bearer"), "a token");
    for (what, token) in forged.iter().filter(|(_, token)| token.len() > 20) {
        assert!(!lines.contains(token), "{what}");
    }
    assert!(!lines.contains("X-Amz-Signature") && !presigned.is_empty(), "a presigned URL");
    assert!(!lines.contains("access_token"), "a query");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operator_may_look_into_the_hub() {
    let hub = Hub::start().await;
    let path = format!("{}/health?deep=1", hub.url());
    let mut claims = token::claims("an-operator");
    claims["role"] = json!("admin");
    let admin = format!("Bearer {}", token::sign(hub.secret(), &claims));
    claims["role"] = json!("user");
    let user = format!("Bearer {}", token::sign(hub.secret(), &claims));
    send("GET", &path, &[], "").await.unwrap().refused(401, "unauthorized");
    send("GET", &path, &[("authorization", &user)], "").await.unwrap().refused(403, "not_authorized");
    let seen = send("GET", &path, &[("authorization", &admin)], "").await.unwrap().expect(200);
    assert_eq!(seen["checks"], json!({"table": "ok", "bucket": "ok", "secret": "ok"}));
    assert_eq!(hub.get("health").await.expect(200), json!({"status": "ok"}));
    hub.get("health?deep=yes").await.refused(422, "invalid");

    // Being an operator opens no repo.
    let private = hub.made_repo(&hub.user().await, true).await;
    let refs = format!("{}/{}/{}/refs", hub.url(), private.owner, private.slug);
    send("GET", &refs, &[("authorization", &admin)], "").await.unwrap().refused(404, "repo_not_found");
    hub.stop().await;
}
