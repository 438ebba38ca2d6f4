//! What a push refers to has to be there, in this repo, and to be what its id says.

use std::collections::BTreeMap;

use serde_json::json;
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{self, Builder, Formula, History, Object, Pack};
use tests::hub::Hub;
use tests::{ids, verify};

/// A repo at the first of two commits, and the honest push of the second.
struct Scene {
    remote: Remote,
    history: History,
    pack: Pack,
    tip: String,
}

async fn scene(hub: &Hub, encoding: Encoding, formula: Formula) -> Scene {
    let mut builder = Builder::new(1);
    let tree = builder.files(4);
    let root = builder.commit(&[], &tree);
    let side = builder.commit(&[&root], &tree);
    let fresh = builder.files(6);
    let tip = builder.commit_with(&[&side], &fresh, formula, |_| ());
    let history = builder.finish();
    let remote = hub.repo().await.speaking(encoding);
    remote.push(&history, "main", &side).await.expect(200);
    let pack = history.pack(&[&tip]);
    Scene { remote, history, pack, tip }
}

impl Scene {
    /// Nothing of the push is kept: not the head, not the commit, not one of its objects; and the honest push works.
    async fn assert_nothing_was_kept(&self, what: &str) {
        let heads = self.remote.heads().await;
        assert_eq!(heads, BTreeMap::from([("main".to_owned(), self.history.ids()[1].clone())]), "{what}");
        self.remote.ask::<_, &str>(&[&self.tip], &[]).await.refused(404, "unknown_commit");
        for object in &self.pack.objects {
            let mut without_one = self.pack.clone();
            without_one.objects.retain(|other| other.id != object.id);
            self.remote.push_pack("main", false, &without_one).await.refused(422, "missing_references");
        }
        self.remote.push_pack("main", false, &self.pack).await.expect(200);
        verify::same_history(&self.history, &self.remote.clone_all().await, "dev").expect(what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_what_its_id_says_is_refused_with_all_that_came_with_it() {
    let hub = Hub::start().await;
    type Damage = fn(&mut Object);
    let damages: [(&str, Damage); 6] = [
        ("other bytes", |object| object.content = "other bytes".into()),
        ("no bytes", |object| object.content = "".into()),
        ("a byte more", |object| object.content = [&object.content[..], &[0]].concat().into()),
        ("another id", |object| object.id = ids::object_id(b"another")),
        ("another prefixed id", |object| object.id = format!("sha256:{}", ids::object_id(b"another"))),
        ("its id backwards", |object| object.id = object.id.chars().rev().collect()),
    ];
    for encoding in Encoding::BOTH {
        for (what, damage) in damages {
            let scene = scene(&hub, encoding, Formula::CommittedAt).await;
            let mut tampered = scene.pack.clone();
            damage(tampered.objects.last_mut().unwrap());
            scene.remote.push_pack("main", false, &tampered).await.refused(422, "object_hash_mismatch");
            scene.assert_nothing_was_kept(what).await;
            scene.remote.push_objects(&tampered.objects).await.refused(422, "object_hash_mismatch");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_objects_staged_none_is_kept_when_one_is_not_what_its_id_says() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let scene = scene(&hub, encoding, Formula::CommittedAt).await;
        let mut objects = scene.pack.objects.clone();
        objects.push(Object { id: ids::object_id(b"honest"), content: "dishonest".into(), path: None });
        scene.remote.push_objects(&objects).await.refused(422, "object_hash_mismatch");
        scene.assert_nothing_was_kept("staged objects").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_id_in_capitals_is_not_an_object_id() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let mut object = Object::new("some bytes");
        for id in [
            object.id.to_uppercase(),
            format!("SHA256:{}", object.id),
            format!("sha512:{}", object.id),
            object.id[..40].to_owned(),
        ] {
            object.id = id;
            remote.push_objects(std::slice::from_ref(&object)).await.refused_somehow();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_what_its_id_says_is_refused_with_all_that_came_with_it() {
    let hub = Hub::start().await;
    type Damage = fn(&mut Pack);
    let damages: [(&str, Damage); 5] = [
        ("a file less", |pack| drop(pack.snapshots[0].manifest.pop_last())),
        ("a file more", |pack| drop(pack.snapshots[0].manifest.insert("more".to_owned(), pack.objects[0].id.clone()))),
        ("a file renamed", |pack| {
            let (path, object) = pack.snapshots[0].manifest.pop_last().unwrap();
            pack.snapshots[0].manifest.insert(format!("{path}2"), object);
        }),
        ("two files swapped", |pack| {
            let manifest = &mut pack.snapshots[0].manifest;
            let (first, last) = (manifest.pop_first().unwrap(), manifest.pop_last().unwrap());
            manifest.extend([(first.0, last.1), (last.0, first.1)]);
        }),
        ("no files", |pack| pack.snapshots[0].manifest.clear()),
    ];
    for encoding in Encoding::BOTH {
        for (what, damage) in damages {
            let scene = scene(&hub, encoding, Formula::CommittedAt).await;
            let mut tampered = scene.pack.clone();
            damage(&mut tampered);
            scene.remote.push_pack("main", false, &tampered).await.refused(422, "");
            scene.assert_nothing_was_kept(what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_what_its_id_says_is_refused_with_all_that_came_with_it() {
    let hub = Hub::start().await;
    type Damage = fn(&Scene, &mut Pack);
    let damages: [(&str, Formula, Damage); 8] = [
        ("another message", Formula::CommittedAt, |_, pack| pack.commits[0].set("message", "another")),
        ("no message", Formula::CommittedAt, |_, pack| pack.commits[0].set("message", "")),
        ("another time", Formula::CommittedAt, |_, pack| {
            pack.commits[0].set("committed_at", "2001-01-01T00:00:00+00:00")
        }),
        ("another author of a raw commit", Formula::Author, |_, pack| pack.commits[0].set("author", "mallory")),
        ("another parent", Formula::CommittedAt, |scene, pack| {
            pack.commits[0].set("parent_commit_id", scene.history.ids()[0].as_str());
        }),
        ("a second parent", Formula::CommittedAt, |scene, pack| {
            pack.commits[0].set("parent2_commit_id", scene.history.ids()[0].as_str());
        }),
        ("no parent", Formula::CommittedAt, |_, pack| pack.commits[0].set("parent_commit_id", json!(null))),
        ("another snapshot", Formula::CommittedAt, |scene, pack| {
            let root = scene.history.commit(&scene.history.ids()[0]).text("snapshot_id").to_owned();
            pack.commits[0].set("snapshot_id", root);
        }),
    ];
    for encoding in Encoding::BOTH {
        for (what, formula, damage) in damages {
            let scene = scene(&hub, encoding, formula).await;
            let mut tampered = scene.pack.clone();
            damage(&scene, &mut tampered);
            scene.remote.push_pack("main", false, &tampered).await.refused(422, "");
            scene.remote.push_pack("main", true, &tampered).await.refused(422, "");
            scene.assert_nothing_was_kept(what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_made_up_for_a_commit_is_refused() {
    let hub = Hub::start().await;
    let scene = scene(&hub, Encoding::Json, Formula::CommittedAt).await;
    for id in ["a", "HEAD", &"0".repeat(64), &scene.tip.to_uppercase(), &format!("sha256:{}", scene.tip)] {
        let mut tampered = scene.pack.clone();
        tampered.commits[0].set("commit_id", id);
        scene.remote.push_pack("main", false, &tampered).await.refused_somehow();
    }
    scene.assert_nothing_was_kept("made-up ids").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_with_a_reference_missing_is_refused() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(2);
    let tree = builder.files(3);
    let root = builder.commit(&[], &tree);
    let ours = builder.child(&[&root]);
    let theirs = builder.child(&[&root]);
    let merge = builder.child(&[&ours, &theirs]);
    let history = builder.finish();
    let whole = history.pack_of(&merge);
    let without_commit = |gone: &str| {
        let mut pack = whole.clone();
        pack.commits.retain(|commit| commit.id() != gone);
        pack
    };
    let mut without_snapshot = whole.clone();
    let gone = history.commit(&ours).text("snapshot_id").to_owned();
    without_snapshot.snapshots.retain(|snapshot| snapshot.id != gone);
    let mut without_object = whole.clone();
    without_object.objects.remove(0);
    let cases = [
        ("a first parent", without_commit(&ours)),
        ("a second parent", without_commit(&theirs)),
        ("a root", without_commit(&root)),
        ("a snapshot", without_snapshot),
        ("an object", without_object),
        ("every object", whole.clone().without_objects()),
    ];
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for (what, pack) in &cases {
            for force in [false, true] {
                let refusal = remote.push_pack("main", force, pack).await.refused(422, "missing_references");
                assert!(remote.heads().await.is_empty(), "{what}: {refusal:?}");
            }
        }
        remote.push_pack("main", false, &whole).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_names_some_that_are_missing_and_counts_them() {
    let hub = Hub::start().await;
    let history = history::linear(3, 1, 57, 0);
    let remote = hub.made_repo(&hub.dev(), false).await;
    assert_eq!(history.objects.len(), 57);
    let pack = history.pack_of(history.last()).without_objects();
    let refusal = remote.push_pack("main", false, &pack).await.refused(422, "missing_references");
    assert!(history.objects.keys().any(|id| refusal.detail.contains(&id[..8])), "{}", refusal.detail);
    assert!(refusal.detail.contains("57"), "{}", refusal.detail);
    assert!(refusal.detail.len() < 2_000, "the first few only: {}", refusal.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_repo_has_need_not_be_sent_again() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(4);
    let first_tree = builder.files(5);
    let first = builder.commit(&[], &first_tree);
    let second = builder.child(&[&first]);
    let revert = builder.commit(&[&second], &first_tree);
    let history = builder.finish();
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        remote.push(&history, "main", &second).await.expect(200);
        let commit_alone = Pack { commits: vec![history.commit(&revert).clone()], ..Pack::default() };
        remote.push_pack("main", false, &commit_alone).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_staged_count_for_a_later_push() {
    let hub = Hub::start().await;
    let history = history::linear(5, 4, 30, 10);
    let pack = history.pack_of(history.last());
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let (early, late) = pack.objects.split_at(pack.objects.len() / 2);
        remote.push_objects(early).await.expect(200);
        remote.push_pack("main", false, &pack.clone().without_objects()).await.refused(422, "missing_references");
        remote.push_objects(late).await.expect(200);
        remote.push_pack("main", false, &pack.clone().without_objects()).await.expect(200);
        verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_objects_and_objects_in_the_bundle_add_up() {
    let hub = Hub::start().await;
    let history = history::linear(6, 2, 30, 10);
    let pack = history.pack_of(history.last());
    let remote = hub.made_repo(&hub.dev(), false).await;
    remote.push_objects(&pack.objects[..20]).await.expect(200);
    let rest = Pack { objects: pack.objects[10..].to_vec(), ..pack };
    remote.push_pack("main", false, &rest).await.expect(200);
    verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_staged_are_counted() {
    let hub = Hub::start().await;
    let count =
        |value: &serde_json::Value| value.as_u64().or(value.as_array().map(|list| list.len() as u64)).expect("a count");
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let objects: Vec<Object> = (0..10).map(|index| Object::new(format!("object {index}"))).collect();
        let first = remote.push_objects(&objects).await.expect(200);
        assert_eq!((count(&first["stored"]), count(&first["skipped"])), (10, 0));
        let again = remote.push_objects(&objects).await.expect(200);
        assert_eq!(count(&again["stored"]) + count(&again["skipped"]), 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_repos_objects_are_not_anothers() {
    let hub = Hub::start().await;
    let history = history::linear(7, 2, 5, 2);
    let pack = history.pack_of(history.last());
    for encoding in Encoding::BOTH {
        let theirs = hub.made_repo(&hub.user().await, true).await.speaking(encoding);
        theirs.push(&history, "main", history.last()).await.expect(200);
        theirs.push_objects(&[Object::new("staged")]).await.expect(200);
        let ours = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for object in &pack.objects {
            let mut without_one = pack.clone();
            without_one.objects.retain(|other| other.id != object.id);
            ours.push_pack("main", false, &without_one).await.refused(422, "missing_references");
        }
        ours.push_pack("main", false, &pack.clone().without_objects()).await.refused(422, "missing_references");
        let without_root = history.pack(&[history.last()]);
        ours.push_pack("main", false, &without_root).await.refused(422, "missing_references");
        let without_snapshots = Pack { snapshots: Vec::new(), ..pack.clone() };
        ours.push_pack("main", false, &without_snapshots).await.refused(422, "missing_references");
        ours.ask::<_, &str>(&[history.last()], &[]).await.refused(404, "unknown_commit");
        let head_alone = Pack::default().with_head("main", history.last());
        ours.push_pack("main", false, &head_alone).await;
        assert!(ours.heads().await.is_empty());

        // And once it has it all, it has its own.
        ours.push_pack("main", false, &pack).await.expect(200);
        for remote in [&ours, &theirs] {
            verify::same_history(&history, &remote.clone_all().await, "dev").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_history_in_two_repos_goes_two_ways() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(8);
    let root = builder.child(&[]);
    let left = builder.child(&[&root]);
    let right = builder.child(&[&root]);
    let history = builder.finish();
    let (one, two) = (hub.repo().await, hub.repo().await);
    one.push(&history, "main", &root).await.expect(200);
    two.push(&history, "main", &root).await.expect(200);
    one.push(&history, "main", &left).await.expect(200);
    two.push(&history, "main", &right).await.expect(200);
    assert_eq!(one.clone_all().await.commit_ids(), history.reachable(&[&left]));
    assert_eq!(two.clone_all().await.commit_ids(), history.reachable(&[&right]));
    one.ask::<_, &str>(&[&right], &[]).await.refused(404, "unknown_commit");
    // What only the other repo knows is, as something that the client has, not known.
    let pack = one.fetch(&history, &[&left], &[&right]).await;
    assert_eq!(pack.commit_ids(), history.reachable(&[&left]));
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_objects_names_what_a_push_could_not_use_in_the_order_asked() {
    let hub = Hub::start().await;
    let history = history::linear(9, 2, 10, 3);
    let there: Vec<String> = history.objects_of(&history.ids()).into_iter().collect();
    let staged = Object::new("staged");
    let absent: Vec<String> = (0..5).map(|index| ids::object_id(format!("absent {index}").as_bytes())).collect();
    for encoding in Encoding::BOTH {
        let elsewhere = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let here = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        for remote in [&here, &elsewhere] {
            let all = json!({"object_ids": there});
            assert_eq!(
                remote.post("filter-objects", &all).await.expect(200)["missing"],
                json!(there),
                "a repo of its own"
            );
            remote.push(&history, "main", history.last()).await.expect(200);
            assert_eq!(remote.post("filter-objects", &all).await.expect(200)["missing"], json!([]));
        }
        let mut asked = vec![absent[4].clone(), staged.id.clone()];
        asked.extend(there.clone());
        asked.extend([absent[0].clone(), absent[2].clone()]);
        let body = json!({"object_ids": asked});
        let missing = here.post("filter-objects", &body).await.expect(200);
        assert_eq!(missing["missing"], json!([absent[4], staged.id, absent[0], absent[2]]));
        elsewhere.push_objects(std::slice::from_ref(&staged)).await.expect(200);
        assert_eq!(here.post("filter-objects", &body).await.expect(200), missing);
        here.push_objects(std::slice::from_ref(&staged)).await.expect(200);
        let missing = here.post("filter-objects", &body).await.expect(200);
        assert_eq!(missing["missing"], json!([absent[4], absent[0], absent[2]]));
    }
}
