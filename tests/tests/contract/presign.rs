//! Objects that travel past the hub, through URLs that it signed: they count once they are what their ids say.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::client::{Answer, Remote, put, put_well, send};
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Object, Pack, Tree, list_of_text, map_of_text};
use tests::hub::Hub;
use tests::property::for_every;
use tests::{ids, verify};

/// One commit of files of these sizes.
fn album(seed: u64, sizes: &[usize]) -> History {
    let mut builder = Builder::new(seed);
    let tree: Tree =
        sizes.iter().enumerate().map(|(index, size)| (format!("{index}-{size}.wav"), builder.bytes(*size))).collect();
    builder.commit(&[], &tree);
    builder.finish()
}

/// An album of one file of 100,000 bytes, in a repo that has nothing yet.
struct Scene {
    remote: Remote,
    history: History,
    object: Object,
    /// The push that names the object without bringing it.
    pack: Pack,
}

async fn scene_in(remote: Remote, seed: u64) -> Scene {
    let history = album(seed, &[100_000]);
    let pack = history.pack_of(history.last());
    Scene { remote, object: pack.objects[0].clone(), pack: pack.without_objects(), history }
}

async fn scene(hub: &Hub, encoding: Encoding) -> Scene {
    scene_in(hub.made_repo(&hub.dev(), false).await.speaking(encoding), 1).await
}

impl Scene {
    /// The hub says that the object is missing, and refuses a push that relies on it.
    async fn assert_missing(&self, what: &str) {
        let id = &self.object.id;
        assert_eq!(self.remote.missing(&[id]).await, [id.as_str()], "{what}");
        self.remote.push_pack("main", false, &self.pack).await.refused(422, "missing_references");
        assert!(self.remote.heads().await.is_empty(), "{what}");
        self.assert_not_served().await;
    }

    /// The hub says that the object is there, and takes a push that relies on it.
    async fn assert_there(&self, what: &str) {
        assert!(self.remote.missing(&[&self.object.id]).await.is_empty(), "{what}");
        self.remote.push_pack("main", false, &self.pack).await.expect(200);
        self.assert_served(what).await;
    }

    /// Whichever way the object is asked for, it is its bytes.
    async fn assert_served(&self, what: &str) {
        for encoding in Encoding::BOTH {
            let cloned = self.remote.speaking(encoding).clone_all().await;
            verify::same_history(&self.history, &cloned, "dev").expect(what);
        }
        let repo_id = self.remote.repo_id().await;
        let answer = self.remote.object(&repo_id, &self.object.id, &[]).await;
        assert!(answer.status == 200 && answer.body == self.object.content, "{what}: {}", answer.status);
        let url = self.remote.presigned("get", &[&self.object.id]).await.remove(&self.object.id);
        if let Some(url) = url {
            let answer = send("GET", &url, &[], "").await.unwrap();
            assert!(answer.status == 200 && answer.body == self.object.content, "{what}: {}", answer.status);
        }
        assert!(self.remote.missing(&[&self.object.id]).await.is_empty(), "{what}");
    }

    async fn assert_not_served(&self) {
        let repo_id = self.remote.repo_id().await;
        self.remote.object(&repo_id, &self.object.id, &[]).await.refused(404, "unknown_object");
        assert!(self.remote.presigned("get", &[&self.object.id]).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_there_for_a_push_without_objects() {
    let hub = Hub::start().await;
    let history = album(2, &[0, 1, 65_536, 65_537, 1_000_000, 6_000_000]);
    let pack = history.pack_of(history.last());
    let ids: Vec<&str> = pack.objects.iter().map(|object| object.id.as_str()).collect();
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let urls = remote.presigned("put", &ids).await;
        assert_eq!(urls.keys().map(String::as_str).collect::<BTreeSet<_>>(), ids.iter().copied().collect());
        assert_eq!(urls.values().collect::<BTreeSet<_>>().len(), ids.len(), "each has its own");
        join_all(pack.objects.iter().map(|object| put_well(&urls[&object.id], object.content.clone()))).await;
        assert!(remote.missing(&ids).await.is_empty());
        remote.push_pack("main", false, &pack.clone().without_objects()).await.expect(200);
        for cloned in Encoding::BOTH {
            let cloned = remote.anonymous().speaking(cloned).clone_all().await;
            verify::same_history(&history, &cloned, "dev").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_finds_what_was_put_without_being_asked_before() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let scene = scene(&hub, encoding).await;
        scene.remote.upload(&scene.object).await;
        scene.remote.push_pack("main", false, &scene.pack).await.expect(200);
        scene.assert_served("pushed at once").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_from_every_way_in_add_up() {
    let hub = Hub::start().await;
    let history = album(3, &[100_000, 90_000, 80_000, 70_000, 100, 200, 300]);
    let pack = history.pack_of(history.last());
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for object in &pack.objects[..3] {
            remote.upload(object).await;
        }
        remote.push_objects(&pack.objects[2..5]).await.expect(200);
        let rest = Pack { objects: pack.objects[5..].to_vec(), ..pack.clone() };
        remote.push_pack("main", false, &rest).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_objects_counts_what_was_put_right_and_nothing_else() {
    let hub = Hub::start().await;
    let objects: Vec<Object> = (0..6).map(|index| Object::new(vec![index; 70_000])).collect();
    let ids: Vec<&str> = objects.iter().map(|object| object.id.as_str()).collect();
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let urls = remote.presigned("put", &ids).await;
        let url = |index: usize| urls[ids[index]].as_str();
        assert_eq!(remote.missing(&ids).await, ids, "a URL alone is no object");
        put_well(url(0), objects[0].content.clone()).await;
        put_well(url(1), objects[2].content.clone()).await;
        put_well(url(2), objects[2].content.slice(..69_999)).await;
        put_well(url(3), "").await;
        put_well(url(4), objects[4].content.clone()).await;
        for _ in 0..2 {
            assert_eq!(remote.missing(&ids).await, [ids[1], ids[2], ids[3], ids[5]], "in the order asked");
        }
        let backwards: Vec<&str> = ids.iter().rev().copied().collect();
        assert_eq!(remote.missing(&backwards).await, [ids[5], ids[3], ids[2], ids[1]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_upload_counts_for_nothing_and_a_right_one_after_it_does() {
    let hub = Hub::start().await;
    type Damage = fn(&Object) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("other bytes of the same length", |object| vec![7; object.content.len()]),
        ("a flipped bit", |object| {
            let mut bytes = object.content.to_vec();
            bytes[50_000] ^= 1;
            bytes
        }),
        ("a byte less", |object| object.content[1..].to_vec()),
        ("a byte more", |object| [&object.content[..], &[0]].concat()),
        ("nothing", |_| Vec::new()),
    ];
    for encoding in Encoding::BOTH {
        for (what, damage) in damages {
            for fresh in [false, true] {
                let scene = scene(&hub, encoding).await;
                scene.assert_missing("never uploaded").await;
                let url = scene.remote.put_url(&scene.object.id).await;
                scene.assert_missing("a URL and nothing put").await;
                put_well(&url, damage(&scene.object)).await;
                scene.assert_missing(what).await;
                scene.assert_missing(what).await;
                let url = if fresh { scene.remote.put_url(&scene.object.id).await } else { url };
                put_well(&url, scene.object.content.clone()).await;
                scene.assert_there(what).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_upload_is_replaced_by_sending_the_object_inline() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let scene = scene(&hub, encoding).await;
        let url = scene.remote.put_url(&scene.object.id).await;
        put_well(&url, "wrong").await;
        scene.assert_missing("a wrong upload").await;
        scene.remote.push_objects(std::slice::from_ref(&scene.object)).await.expect(200);
        scene.assert_there("sent inline").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_sent_again_counts() {
    let hub = Hub::start().await;
    let scene = scene(&hub, Encoding::Msgpack).await;
    let url = scene.remote.put_url(&scene.object.id).await;
    for _ in 0..3 {
        put_well(&url, scene.object.content.clone()).await;
    }
    scene.assert_there("put three times").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_after_the_check_changes_nothing() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let scene = scene(&hub, encoding).await;
        let url = scene.remote.put_url(&scene.object.id).await;
        put_well(&url, scene.object.content.clone()).await;
        let id = &scene.object.id;
        assert!(scene.remote.missing(&[id]).await.is_empty());

        // The URL is still good: what it writes to may no longer be what is relied on.
        for wrong in [&vec![0; 100_000][..], b"", b"short"] {
            put(&url, wrong.to_vec()).await;
            assert!(scene.remote.missing(&[id]).await.is_empty(), "what was found there stays there");
        }
        scene.remote.push_pack("main", false, &scene.pack).await.expect(200);
        scene.assert_served("overwritten before the push").await;
        for wrong in [&vec![0; 100_000][..], b"", b"short"] {
            put(&url, wrong.to_vec()).await;
            let fresh = scene.remote.put_url(id).await;
            put(&fresh, wrong.to_vec()).await;
            scene.assert_served("overwritten after the push").await;
        }
        scene.remote.push_pack("again", false, &scene.pack).await.expect(200);
        scene.assert_served("pushed again").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_inline_is_not_replaced_by_an_upload() {
    let hub = Hub::start().await;
    let scene = scene(&hub, Encoding::Json).await;
    scene.remote.push(&scene.history, "main", scene.history.last()).await.expect(200);
    put(&scene.remote.put_url(&scene.object.id).await, vec![0; 100_000]).await;
    scene.assert_served("a wrong upload over an object that is there").await;
    scene.remote.push_pack("main", false, &scene.pack).await.expect(200);
    put(&scene.remote.put_url(&scene.object.id).await, scene.object.content.clone()).await;
    scene.assert_served("a right one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_of_one_upload_at_once_all_succeed() {
    let hub = Hub::start().await;
    for round in 0..5 {
        let scene = scene_in(hub.made_repo(&hub.dev(), false).await, 100 + round).await;
        scene.remote.upload(&scene.object).await;
        let pushes = (0..8).map(|index| {
            let (remote, pack) = (scene.remote.speaking(Encoding::BOTH[index % 2]), scene.pack.clone());
            let id = scene.object.id.clone();
            tokio::spawn(async move {
                if index < 4 {
                    assert!(remote.missing(&[id]).await.is_empty());
                }
                remote.push_pack(&format!("b{index}"), false, &pack).await
            })
        });
        for pushed in join_all(pushes).await {
            pushed.unwrap().expect(200);
        }
        assert_eq!(scene.remote.heads().await.len(), 8);
        scene.assert_served("after eight pushes").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_counts_in_its_own_repo_only() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let (here, elsewhere) = (scene(&hub, encoding).await, scene(&hub, encoding).await);
        here.remote.upload(&here.object).await;
        elsewhere.assert_missing("before it is known here").await;
        here.assert_there("here").await;
        elsewhere.assert_missing("after it was pushed here").await;
        elsewhere.remote.upload(&elsewhere.object).await;
        elsewhere.assert_there("with an upload of its own").await;
        put(&here.remote.put_url(&here.object.id).await, "wrong").await;
        elsewhere.assert_served("whatever is put there").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_got_once_a_branch_has_reached_it() {
    let hub = Hub::start().await;
    let history = album(4, &[0, 100, 100_000, 6_000_000]);
    let pack = history.pack_of(history.last());
    let ids: Vec<&str> = pack.objects.iter().map(|object| object.id.as_str()).collect();
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for object in &pack.objects {
            remote.upload(object).await;
        }
        assert!(remote.presigned("get", &ids).await.is_empty(), "nothing is checked yet");
        assert!(remote.missing(&ids).await.is_empty());
        assert!(remote.presigned("get", &ids).await.is_empty(), "nothing is reached yet");
        let repo_id = remote.repo_id().await;
        for id in &ids {
            remote.object(&repo_id, id, &[]).await.refused(404, "unknown_object");
        }
        remote.push_pack("main", false, &pack.clone().without_objects()).await.expect(200);
        for reader in [&remote, &remote.anonymous(), &remote.with_token(hub.user().await.token)] {
            let urls = reader.presigned("get", &ids).await;
            assert_eq!(urls.len(), ids.len(), "all were uploaded and are reached: {urls:?}");
            for object in &pack.objects {
                let answer = send("GET", &urls[&object.id], &[], "").await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.excerpt());
                assert!(answer.body == object.content, "{} bytes", answer.body.len());
            }
        }
        // And the hub's own address for it serves it like any other.
        for object in &pack.objects {
            let answer = remote.anonymous().object(&repo_id, &object.id, &[]).await;
            assert!(answer.status == 200 && answer.body == object.content, "{}", answer.status);
            if object.content.len() > 50 {
                let part = remote.anonymous().object(&repo_id, &object.id, &[("range", "bytes=30-49")]).await;
                assert!(part.status == 206 && part.body == object.content[30..50], "{}", part.status);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_one_reached_upload_is_got_inline() {
    let hub = Hub::start().await;
    let scene = scene(&hub, Encoding::Msgpack).await;
    let packed = history::linear(5, 2, 10, 3);
    let uploaded = Object::new(vec![5; 80_000]);
    let wrong = Object::new(vec![6; 80_000]);
    scene.remote.push(&packed, "packed", packed.last()).await.expect(200);
    scene.remote.upload(&scene.object).await;
    scene.remote.push_pack("main", false, &scene.pack).await.expect(200);
    scene.remote.upload(&uploaded).await;
    put_well(&scene.remote.put_url(&wrong.id).await, "wrong").await;
    scene.remote.push_objects(&[Object::new("staged")]).await.expect(200);
    let absent = ids::object_id(b"absent");
    let staged = ids::object_id(b"staged");
    let mut asked: Vec<&str> = vec![&absent, &scene.object.id, &uploaded.id, &wrong.id, &staged];
    asked.extend(packed.objects.keys().map(String::as_str));
    for encoding in Encoding::BOTH {
        for reader in [&scene.remote, &scene.remote.anonymous()] {
            let urls = reader.speaking(encoding).presigned("get", &asked).await;
            assert_eq!(urls.keys().collect::<Vec<_>>(), [&scene.object.id]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_of_the_form_of_a_hash_gets_a_url_to_put_to() {
    let hub = Hub::start().await;
    let history = album(6, &[100]);
    let remote = hub.repo().await;
    remote.push(&history, "main", history.last()).await.expect(200);
    let present = history.objects.keys().next().unwrap();
    let absent = ids::object_id(b"absent");
    let prefixed = format!("sha256:{}", ids::object_id(b"prefixed"));
    let shortened = &absent[..63];
    let asked = [present.as_str(), "HEAD", absent.as_str(), shortened, prefixed.as_str(), "sha256:", "a-b_c.d"];
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        let urls = remote.presigned("put", &asked).await;
        assert_eq!(
            urls.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from([present.as_str(), &absent, &prefixed])
        );
        assert!(remote.presigned::<&str>("put", &[]).await.is_empty());
        assert!(remote.presigned::<&str>("get", &[]).await.is_empty());
        // The same id twice is one entry of a map.
        let answer = remote.presign("put", &[&absent, &absent]).await.expect(200);
        assert_eq!(map_of_text(&answer, "presigned").unwrap().len(), 1);
        assert!(list_of_text(&answer, "inline").unwrap().is_empty());
        let capitals = absent.to_uppercase();
        let answer = remote.presign("put", &[&capitals]).await;
        if answer.status == 200 {
            assert!(map_of_text(&answer.expect(200), "presigned").unwrap().is_empty(), "capitals are no hash");
        } else {
            answer.refused_somehow();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_spelling_names_the_same_upload() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(7).with_prefixed_objects();
    let content = builder.bytes(100_000);
    builder.commit(&[], &Tree::from([("song.wav".to_owned(), content.clone())]));
    let history = builder.finish();
    let pack = history.pack_of(history.last()).without_objects();
    let bare = ids::object_id(&content);
    let prefixed = format!("sha256:{bare}");
    for encoding in Encoding::BOTH {
        for put_as in [&bare, &prefixed] {
            let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
            put_well(&remote.put_url(put_as).await, content.clone()).await;
            assert!(remote.missing(&[&bare, &prefixed]).await.is_empty());
            remote.push_pack("main", false, &pack).await.expect(200);
            verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
            for got_as in [&bare, &prefixed] {
                let url = remote.presigned("get", &[got_as]).await.remove(got_as).expect("a URL");
                assert!(send("GET", &url, &[], "").await.unwrap().body == content);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_lives_for_30_to_3_600_seconds() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let history = album(8, &[10]);
    remote.push(&history, "main", history.last()).await.expect(200);
    let id = ids::object_id(b"x");
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        for direction in ["put", "get"] {
            let ask = |ttl: Value| {
                let remote = &remote;
                let body = json!({"object_ids": [id], "direction": direction, "ttl_seconds": ttl});
                async move { remote.post("presign", &body).await }
            };
            for ttl in [30, 31, 300, 3_599, 3_600] {
                ask(json!(ttl)).await.expect(200);
            }
            for ttl in [json!(29), json!(3_601), json!(0), json!(-1), json!(i64::MIN), json!(1_000_000)] {
                ask(ttl).await.refused(422, "invalid");
            }
            for ttl in [json!("300"), json!([300]), json!({}), json!(u64::MAX), json!(true)] {
                ask(ttl).await.refused_somehow();
            }
            remote.post("presign", &json!({"object_ids": [id], "direction": direction})).await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direction_is_put_or_get() {
    let hub = Hub::start().await;
    let remote = hub.repo().await;
    let history = album(9, &[10]);
    remote.push(&history, "main", history.last()).await.expect(200);
    let id = ids::object_id(b"x");
    for encoding in Encoding::BOTH {
        let remote = remote.speaking(encoding);
        for direction in ["", "PUT", "Get", "post", "delete", "put ", "🎵"] {
            remote.presign(direction, &[&id]).await.refused(422, "invalid");
        }
        for body in [
            json!({}),
            json!({"object_ids": [id]}),
            json!({"direction": "put"}),
            json!({"object_ids": [id], "direction": null}),
            json!({"object_ids": [id], "direction": ["put"]}),
            json!({"object_ids": [id], "direction": 1}),
            json!({"object_ids": id, "direction": "put"}),
            json!({"object_ids": {id.clone(): "put"}, "direction": "put"}),
            json!({"object_ids": [5], "direction": "put"}),
            json!({"object_ids": [null], "direction": "put"}),
            json!([[id], "put"]),
        ] {
            remote.post("presign", &body).await.refused_somehow();
        }
        remote.post_bytes("presign", &b"\xc1{"[..]).await.refused(400, "malformed_body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_write_may_put_and_who_may_read_may_get() {
    let hub = Hub::start().await;
    let (owner, stranger) = (hub.user().await, hub.user().await);
    for encoding in Encoding::BOTH {
        let public = scene_in(hub.made_repo(&owner, false).await.speaking(encoding), 10).await;
        let private = scene_in(hub.made_repo(&owner, true).await.speaking(encoding), 11).await;
        for scene in [&public, &private] {
            scene.remote.upload(&scene.object).await;
            scene.remote.push_pack("main", false, &scene.pack).await.expect(200);
        }
        let id = &public.object.id;
        let refusal =
            public.remote.with_token(&stranger.token).presign("put", &[id]).await.refused(403, "not_authorized");
        assert_eq!(refusal.detail, "push rejected: not authorized");
        let answer = public.remote.anonymous().presign("put", &[id]).await;
        answer.refused(401, "");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        for reader in [public.remote.with_token(&stranger.token), public.remote.anonymous()] {
            assert_eq!(reader.presigned("get", &[id]).await.len(), 1);
        }
        let id = &private.object.id;
        private.remote.with_token(&stranger.token).presign("put", &[id]).await.refused(404, "repo_not_found");
        private.remote.with_token(&stranger.token).presign("get", &[id]).await.refused(404, "repo_not_found");
        private.remote.anonymous().presign("get", &[id]).await.refused(404, "repo_not_found");
        let url = private.remote.presigned("get", &[id]).await.remove(id).expect("a URL");
        assert!(send("GET", &url, &[], "").await.unwrap().body == private.object.content);
    }
}

/// Another character where this one was, of the same kind.
fn another(character: char) -> char {
    match character {
        '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from(u8::try_from(character).unwrap() + 1),
        '9' => '0',
        'z' => 'a',
        'Z' => 'A',
        other => other,
    }
}

/// URLs that no hub signed, made of one that was: another path, another query, none.
fn tampered(url: &str) -> Vec<String> {
    let (base, query) = url.split_once('?').expect("a signed URL has a query");
    let last = base.chars().last().unwrap();
    let cut = &base[..base.len() - last.len_utf8()];
    let mut urls = vec![
        base.to_owned(),
        format!("{base}?"),
        format!("{cut}{}?{query}", another(last)),
        format!("{cut}?{query}"),
        format!("{base}0?{query}"),
        format!("{base}/more?{query}"),
        format!("{base}/../more?{query}"),
    ];
    let parameters: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let joined = |parameters: &[(&str, String)]| {
        let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{base}?{}", pairs.join("&"))
    };
    for (index, (name, value)) in parameters.iter().enumerate() {
        let mut changed: Vec<(&str, String)> =
            parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        // Which operation it is says the method, and S3 passes a wrong hint over.
        if *name != "x-id" && !value.is_empty() {
            changed[index].1 = match value.chars().last().unwrap() {
                last if last.is_ascii_alphanumeric() => format!("{}{}", &value[..value.len() - 1], another(last)),
                _ => format!("{value}1"),
            };
            urls.push(joined(&changed));
        }
        if name.starts_with("X-Amz-") {
            changed.remove(index);
            urls.push(joined(&changed));
        }
    }
    urls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_was_tampered_with_is_refused_by_the_store() {
    let hub = Hub::start().await;
    let scene = scene(&hub, Encoding::Json).await;
    let refused = |what: &str, url: &str, answer: &Answer| {
        // An S3 need not know every method, nor every algorithm.
        let refused = (400..500).contains(&answer.status) || answer.status == 501;
        assert!(refused, "{what} {url}: {}", answer.excerpt());
    };
    let url = scene.remote.put_url(&scene.object.id).await;
    for tampered in tampered(&url) {
        refused("PUT", &tampered, &put(&tampered, scene.object.content.clone()).await);
    }
    // A URL to put to is for that, and nothing else.
    for method in ["GET", "HEAD", "DELETE", "POST"] {
        refused(method, &url, &send(method, &url, &[], "").await.unwrap());
    }
    scene.assert_missing("after all that").await;
    put_well(&url, scene.object.content.clone()).await;
    scene.assert_there("the URL itself").await;

    let url = scene.remote.presigned("get", &[&scene.object.id]).await.remove(&scene.object.id).expect("a URL");
    for tampered in tampered(&url) {
        refused("GET", &tampered, &send("GET", &tampered, &[], "").await.unwrap());
    }
    refused("PUT", &url, &put(&url, "wrong").await);
    for method in ["DELETE", "POST"] {
        refused(method, &url, &send(method, &url, &[], "").await.unwrap());
    }
    assert!(send("GET", &url, &[], "").await.unwrap().body == scene.object.content);
    scene.assert_served("after all that").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_objects_url_does_not_take_anothers_bytes_to_where_they_count() {
    let hub = Hub::start().await;
    let scene = scene(&hub, Encoding::Json).await;
    let other = Object::new(vec![9; 100_000]);
    put_well(&scene.remote.put_url(&scene.object.id).await, other.content.clone()).await;
    assert_eq!(scene.remote.missing(&[&scene.object.id, &other.id]).await, [scene.object.id.as_str(), &other.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_msgpack_client_puts_what_is_big_and_everybody_gets_it() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(12);
    let mut tree = builder.files(20);
    let mut head: Option<String> = None;
    let remote = hub.made_repo(&hub.dev(), false).await.speaking(Encoding::Msgpack);
    for round in 0..3 {
        for index in 0..12 {
            let content = builder.bytes(65_530 + index * 2 + round);
            tree.insert(format!("{index}.wav"), content);
        }
        let tip = builder.commit(&head.iter().map(String::as_str).collect::<Vec<_>>(), &tree);
        remote.push(builder.history(), "main", &tip).await.expect(200);
        head = Some(tip);
    }
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let cloned = remote.anonymous().speaking(encoding).clone_all().await;
        verify::same_history(&history, &cloned, "dev").unwrap();
    }
    let big: BTreeMap<&String, &bytes::Bytes> =
        history.objects.iter().filter(|(_, content)| content.len() > 65_536).collect();
    assert!(big.len() > 10);
    let ids: Vec<&String> = history.objects.keys().collect();
    let urls = remote.anonymous().presigned("get", &ids).await;
    assert_eq!(urls.keys().collect::<Vec<_>>(), big.keys().copied().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_very_many_urls_to_get_an_answer_has_some_and_names_the_others() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(14);
    let files = (0..1_010_u32).map(|number| (format!("{number}.wav"), number.to_be_bytes().to_vec().into()));
    let tip = builder.commit(&[], &files.collect::<Tree>());
    let history = builder.finish();
    let remote = hub.made_repo(&hub.dev(), false).await;
    let ids: Vec<&String> = history.objects.keys().collect();
    let urls = remote.presigned("put", &ids).await;
    assert_eq!(urls.len(), ids.len(), "clients ask once for all that they put");
    let puts = urls.iter().map(|(id, url)| put_well(url, history.objects[id].clone()));
    futures_util::stream::iter(puts).buffer_unordered(16).collect::<Vec<()>>().await;
    remote.push_pack("main", false, &history.pack_of(&tip).without_objects()).await.expect(200);

    let mut asked: Vec<String> = ids.iter().map(ToString::to_string).chain(["0".repeat(64)]).collect();
    let (mut urls, mut answers) = (BTreeSet::new(), Vec::new());
    while !asked.is_empty() {
        let answer = remote.anonymous().presign("get", &asked).await.expect(200);
        let given = answer["presigned"].as_object().unwrap();
        urls.extend(given.keys().cloned());
        answers.push((given.len(), answer["inline"].as_array().unwrap().len()));
        let left = answer["left"].as_array().cloned().unwrap_or_default();
        asked = left.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    }
    assert_eq!(answers, [(1_000, 1), (10, 0)]);
    assert!(urls.iter().eq(history.objects.keys()));
}

#[tokio::test(flavor = "multi_thread")]
async fn presigning_makes_no_repo_under_another_users_name() {
    let hub = Hub::start().await;
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let nothing = hub.remote(&owner, "nothing");
    for direction in ["put", "get"] {
        let id = ids::object_id(b"x");
        nothing.with_token(&stranger.token).presign(direction, &[&id]).await.refused(404, "repo_not_found");
        nothing.anonymous().presign(direction, &[&id]).await.refused_somehow();
    }
    nothing.presign("get", &[ids::object_id(b"x")]).await.refused(404, "repo_not_found");
    nothing.get("refs").await.refused(404, "");
}

/// What becomes of an object before the push.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Uploaded,
    UploadedWrong,
    UploadedTwiceRightLast,
    Staged,
    Nothing,
}

#[test]
fn for_every_mixture_of_ways_what_is_not_missing_can_be_pushed() {
    use Way::{Nothing, Staged, Uploaded, UploadedTwiceRightLast, UploadedWrong};
    let way = prop::sample::select(vec![Uploaded, UploadedWrong, UploadedTwiceRightLast, Staged, Nothing]);
    let objects = prop::collection::vec((0..80_000_usize, way), 1..10);
    for_every(16, (any::<u64>(), objects, any::<bool>()), async |hub, (seed, objects, asks_before)| {
        let mut builder = Builder::new(seed);
        let remote = hub.made_repo(&hub.dev(), false).await;
        let mut tree = Tree::new();
        let mut lacking = BTreeMap::new();
        for (index, (size, way)) in objects.iter().enumerate() {
            // An index in front, so that no two are the same object.
            let content = [&[u8::try_from(index).unwrap()], &builder.bytes(*size)[..]].concat();
            let object = Object::new(content);
            match way {
                Uploaded => remote.upload(&object).await,
                UploadedWrong => put_well(&remote.put_url(&object.id).await, "wrong").await,
                UploadedTwiceRightLast => {
                    put_well(&remote.put_url(&object.id).await, "wrong").await;
                    remote.upload(&object).await;
                }
                Staged => drop(remote.push_objects(std::slice::from_ref(&object)).await.expect(200)),
                Nothing => {}
            }
            if [UploadedWrong, Nothing].contains(way) {
                lacking.insert(object.id.clone(), object.clone());
            }
            tree.insert(format!("{index}"), object.content);
        }
        let tip = builder.commit(&[], &tree);
        let history = builder.finish();
        let pack = history.pack_of(&tip);
        if asks_before {
            let missing = remote.missing(&pack.object_ids().into_iter().collect::<Vec<_>>()).await;
            assert_eq!(missing.into_iter().collect::<BTreeSet<_>>(), lacking.keys().cloned().collect());
        }
        let without = pack.clone().without_objects();
        if !lacking.is_empty() {
            remote.push_pack("main", false, &without).await.refused(422, "missing_references");
        }
        let with_lacking = Pack { objects: lacking.into_values().collect(), ..without };
        remote.push_pack("main", false, &with_lacking).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    });
}
