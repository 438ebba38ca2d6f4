//! Content negotiation: what a request says it is in, and what it is answered in.

use serde_json::{Value, json};
use tests::client::{Answer, Remote};
use tests::encoding::{Encoding, decode_msgpack, encode_msgpack, to_msgpack};
use tests::history::{self, History, Object, objects_body};
use tests::hub::Hub;
use tests::verify;

async fn stocked(hub: &Hub) -> (Remote, History) {
    let history = history::linear(1, 3, 3, 1);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    (remote, history)
}

/// One request for each endpoint that answers 200, with these headers.
async fn everything(
    remote: &Remote,
    history: &History,
    request: Encoding,
    headers: &[(&str, &str)],
) -> Vec<(&'static str, Answer)> {
    let bodies: [(&str, Value); 3] = [
        ("fetch", json!({"want": [history.last()], "have": []})),
        ("push", json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false})),
        ("push/objects", objects_body(&[Object::new("an object")])),
    ];
    let mut answers = vec![("refs", remote.raw("GET", "refs", headers, "").await)];
    for (endpoint, body) in bodies {
        answers.push((endpoint, remote.raw("POST", endpoint, headers, request.encode(&body)).await));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_in_what_is_accepted() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let accepts = [
        (None, Encoding::Json),
        (Some("application/json"), Encoding::Json),
        (Some("*/*"), Encoding::Json),
        (Some("application/json; charset=utf-8"), Encoding::Json),
        (Some("application/x-msgpack"), Encoding::Msgpack),
        (Some("application/x-msgpack, application/json"), Encoding::Msgpack),
        (Some("application/x-msgpack,application/json"), Encoding::Msgpack),
        (Some("application/json, application/x-msgpack"), Encoding::Msgpack),
        (Some("application/x-msgpack;q=0.9, */*;q=0.1"), Encoding::Msgpack),
    ];
    for request in Encoding::BOTH {
        for (accept, expected) in accepts {
            let mut headers = vec![("content-type", request.content_type())];
            headers.extend(accept.map(|accept| ("accept", accept)));
            for (endpoint, answer) in everything(&remote, &history, request, &headers).await {
                let what = format!("{endpoint} sent as {request:?}, accepting {accept:?}");
                assert_eq!(answer.status, 200, "{what}: {}", answer.excerpt());
                assert_eq!(answer.encoding(), expected, "{what}");
                answer.expect(200);
                assert_eq!(answer.header("content-encoding"), "", "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn object_bytes_are_named_for_their_encoding() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let json = remote.ask::<_, &str>(&[history.last()], &[]).await;
    let json: Value = serde_json::from_slice(&json.body).unwrap();
    for object in json["objects"].as_array().unwrap() {
        assert!(object["content_b64"].is_string() && object.get("content").is_none(), "{object}");
    }
    let msgpack = remote.speaking(Encoding::Msgpack).ask::<_, &str>(&[history.last()], &[]).await;
    let msgpack = decode_msgpack(&msgpack.body).unwrap();
    for object in msgpack["objects"].as_array().unwrap() {
        assert!(matches!(object["content"], rmpv::Value::Binary(_)), "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_type_may_have_parameters_and_capitals_or_be_absent() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let types = [
        (Encoding::Json, None),
        (Encoding::Json, Some("application/json; charset=utf-8")),
        (Encoding::Json, Some("application/json;charset=UTF-8")),
        (Encoding::Json, Some("application/json ; charset=\"utf-8\"; x=y")),
        (Encoding::Json, Some("Application/JSON")),
        (Encoding::Msgpack, Some("application/x-msgpack; charset=binary")),
        (Encoding::Msgpack, Some("APPLICATION/X-MSGPACK")),
    ];
    for (request, content_type) in types {
        let headers: Vec<(&str, &str)> = content_type.map(|value| ("content-type", value)).into_iter().collect();
        for (endpoint, answer) in everything(&remote, &history, request, &headers).await {
            assert_eq!(answer.status, 200, "{endpoint} as {content_type:?}: {}", answer.excerpt());
            assert_eq!(answer.encoding(), Encoding::Json);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_content_type_is_unsupported() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let types = [
        "text/plain",
        "text/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/cbor",
        "application/jsonx",
        "application/x-msgpack2",
        "json",
        "nonsense",
    ];
    for content_type in types {
        for request in Encoding::BOTH {
            for accept in ["application/json", Encoding::Msgpack.accept()] {
                let headers = [("content-type", content_type), ("accept", accept)];
                for (endpoint, answer) in everything(&remote, &history, request, &headers).await {
                    if endpoint != "refs" {
                        assert_eq!(answer.status, 415, "{endpoint} as {content_type}: {}", answer.excerpt());
                        answer.refused(415, "");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_whatever_is_accepted() {
    let hub = Hub::start().await;
    let (remote, history) = stocked(&hub).await;
    let absent = Remote { slug: "no-such-repo".to_owned(), ..remote.anonymous() };
    let mut tampered = history.pack_of(history.last());
    tampered.objects[0].content = "tampered".into();
    for accept in ["application/x-msgpack", "application/x-msgpack, application/json", "text/html", "image/png"] {
        let headers = [("content-type", "application/x-msgpack"), ("accept", accept)];
        let push = |value: &Value| Encoding::Msgpack.encode(value);
        let unknown = json!({"want": ["0".repeat(64)], "have": []});
        let mismatch = json!({"bundle": tampered.to_value(), "branch": "main", "force": false});
        absent.raw("GET", "refs", &headers, "").await.refused(404, "");
        remote.raw("POST", "fetch", &headers, push(&unknown)).await.refused(404, "unknown_commit");
        remote.raw("POST", "push", &headers, push(&mismatch)).await.refused(422, "object_hash_mismatch");
        remote.raw("POST", "push", &headers, &b"\xc1"[..]).await.refused(400, "malformed_body");
        remote.with_token("bad").raw("GET", "refs", &headers, "").await.refused(401, "");
        remote.raw("GET", "no/such/route", &headers, "").await.refused(404, "");
        remote.raw("DELETE", "refs", &headers, "").await.refused(405, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn base64_is_understood_in_msgpack_too() {
    let hub = Hub::start().await;
    let history = history::linear(2, 2, 4, 1);
    let pack = history.pack_of(history.last());
    let remote = hub.repo().await.speaking(Encoding::Msgpack);
    // The kit turns `content_b64` into bin on its way out; here it stays a string.
    let Value::Array(objects) = objects_body(&pack.objects)["objects"].take() else { unreachable!() };
    let mut bundle = to_msgpack(&pack.clone().without_objects().to_value());
    let rmpv::Value::Map(fields) = &mut bundle else { unreachable!() };
    fields.retain(|(name, _)| name.as_str() != Some("objects"));
    fields.push(("objects".into(), rmpv::Value::Array(objects.iter().map(to_msgpack).collect())));
    let body = rmpv::Value::Map(vec![
        ("bundle".into(), bundle),
        ("branch".into(), "main".into()),
        ("force".into(), false.into()),
    ]);
    remote.post_bytes("push", encode_msgpack(&body)).await.expect(200);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_padding_of_base64_is_optional() {
    let hub = Hub::start().await;
    let mut builder = history::Builder::new(3);
    let tree = (1..20).map(|length| (format!("{length}"), builder.bytes(length))).collect();
    builder.commit(&[], &tree);
    let history = builder.finish();
    let body = json!({"bundle": history.pack_of(history.last()).to_value(), "branch": "main", "force": false});
    let text = String::from_utf8(Encoding::Json.encode(&body)).unwrap();
    let unpadded = text.replace("==\"", "\"").replace("=\"", "\"");
    assert!(unpadded.len() < text.len());
    let remote = hub.repo().await;
    remote.post_bytes("push", unpadded).await.expect(200);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_never_an_error() {
    let hub = Hub::start().await;
    let history = history::linear(4, 2, 2, 1);
    let odd = json!({"nested": [1, 2.5, {"x": null}], "objects": []});
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        let mut bundle = history.pack_of(history.last()).to_value();
        bundle["from_the_future"] = odd.clone();
        bundle["tags"] = json!([]);
        for list in ["snapshots", "objects"] {
            for item in bundle[list].as_array_mut().unwrap() {
                item["from_the_future"] = odd.clone();
            }
        }
        let push =
            json!({"bundle": bundle, "branch": "main", "force": false, "from_the_future": odd, "repo_id": "another's"});
        remote.post("push", &push).await.expect(200);
        let mut objects = objects_body(&[Object::new("x")]);
        objects["from_the_future"] = odd.clone();
        remote.post("push/objects", &objects).await.expect(200);
        let fetch = json!({"want": [history.last()], "have": [], "from_the_future": odd});
        let pack = history::Pack::from_value(&remote.post("fetch", &fetch).await.expect(200)).unwrap();
        verify::same_history(&history, &pack, "dev").unwrap();
        remote.raw("GET", "refs?from_the_future=1&x", &[("x-from-the-future", "1")], "").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_fields_does_not_matter() {
    let hub = Hub::start().await;
    let history = history::linear(5, 2, 2, 1);
    let Value::Object(bundle) = history.pack_of(history.last()).to_value() else { unreachable!() };
    let text = |value: &Value| serde_json::to_string(value).unwrap();
    let backwards: Vec<String> =
        bundle.iter().rev().map(|(name, value)| format!("\"{name}\":{}", text(value))).collect();
    let orders = [
        format!("{{\"force\":false,\"branch\":\"main\",\"bundle\":{{{}}}}}", backwards.join(",")),
        format!(
            " {{ \"branch\" : \"main\" ,\r\n\t\"bundle\" : {} , \"force\" : false }} \n",
            text(&Value::Object(bundle.clone()))
        ),
    ];
    for body in orders {
        let remote = hub.repo().await;
        remote.post_bytes("push", body).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}
