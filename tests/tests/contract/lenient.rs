//! A hub whose ids are opaque, as older hubs had it: it recomputes nothing, and gives back exactly what it was given.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::client::Remote;
use tests::encoding::Encoding;
use tests::history::{Commit, Object, Pack, Snapshot};
use tests::hub::Hub;
use tests::property::for_every_on;

/// A commit of a few fields.
fn commit(id: &str, parents: &[&str], snapshot: Option<&str>) -> Commit {
    let fields = json!({
        "commit_id": id, "branch": "main", "snapshot_id": snapshot, "message": format!("this is {id}"),
        "committed_at": "2026-01-02T03:04:05.000006+00:00", "author": "ada",
        "parent_commit_id": parents.first(), "parent2_commit_id": parents.get(1),
    });
    let Value::Object(fields) = fields else { unreachable!("a map was written") };
    Commit(fields)
}

fn snapshot(id: &str, manifest: &[(&str, &str)]) -> Snapshot {
    let manifest = manifest.iter().map(|(path, object)| ((*path).to_owned(), (*object).to_owned())).collect();
    Snapshot { id: id.to_owned(), manifest, created_at: "2026-01-02T03:04:05+00:00".to_owned() }
}

fn object(id: &str, content: &'static str) -> Object {
    Object { id: id.to_owned(), content: Bytes::from_static(content.as_bytes()), path: None }
}

fn pack(commits: Vec<Commit>, snapshots: Vec<Snapshot>, objects: Vec<Object>) -> Pack {
    Pack { commits, snapshots, objects, branch_heads: BTreeMap::new() }
}

/// What a clone of these commits brings, without the paths of objects and in the order of ids.
async fn fetched(remote: &Remote, want: &[&str]) -> Pack {
    let answer = remote.ask::<_, &str>(want, &[]).await.expect(200);
    let mut pack = Pack::from_value(&answer).expect("a fetch's answer");
    pack.objects.iter_mut().for_each(|object| object.path = None);
    pack.objects.sort_by(|a, b| a.id.cmp(&b.id));
    pack.snapshots.sort_by(|a, b| a.id.cmp(&b.id));
    pack
}

fn commit_ids(pack: &Pack) -> Vec<&str> {
    pack.commits.iter().map(Commit::id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_made_up_ids_comes_back_exactly_as_it_was_pushed() {
    let hub = Hub::start_lenient().await;
    for encoding in Encoding::BOTH {
        let remote = hub.repo().await.speaking(encoding);
        let digits = "0123456789abcdef".repeat(4);
        let pushed = pack(
            vec![commit("c-1", &[], Some("s.1")), commit(&digits, &["c-1"], Some(&digits))],
            vec![snapshot(&digits, &[("a", "o:1"), ("b", "ff")]), snapshot("s.1", &[("a", "o:1")])],
            vec![object("ff", "not what its id says"), object("o:1", "bytes")],
        );
        remote.push_pack("main", false, &pushed).await.expect(200);
        let back = fetched(&remote, &[&digits]).await;
        assert_eq!((&back.snapshots, &back.objects), (&pushed.snapshots, &pushed.objects));
        for (sent, came) in pushed.commits.iter().zip(&back.commits) {
            for (name, value) in &sent.0 {
                assert_eq!(came.0.get(name), Some(value), "{name} of {}", sent.id());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_and_snapshots_that_are_not_there_are_taken_and_joined_when_they_come() {
    let hub = Hub::start_lenient().await;
    let remote = hub.repo().await;
    let tip = pack(vec![commit("tip", &["middle", "never"], Some("nowhere"))], vec![], vec![]);
    remote.push_pack("main", false, &tip).await.expect(200);
    let back = fetched(&remote, &["tip"]).await;
    assert_eq!((commit_ids(&back), back.snapshots.len()), (vec!["tip"], 0));
    assert_eq!(back.commits[0].parents(), ["middle", "never"], "it names what it named");

    let missing = pack(
        vec![commit("root", &[], None), commit("middle", &["root"], Some("s"))],
        vec![snapshot("s", &[("a", "o")])],
        vec![object("o", "bytes")],
    );
    remote.push_pack("other", false, &missing).await.expect(200);
    let back = fetched(&remote, &["tip"]).await;
    assert_eq!(commit_ids(&back), ["root", "middle", "tip"]);
    assert_eq!((back.snapshots, back.objects), (missing.snapshots, missing.objects));
    // So a branch may go forward from there.
    remote.push_pack("other", false, &pack(vec![commit("next", &["tip"], None)], vec![], vec![])).await.expect(200);
    remote
        .push_pack("main", false, &pack(vec![commit("aside", &["root"], None)], vec![], vec![]))
        .await
        .refused(409, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_there_is_missed_all_the_same() {
    let hub = Hub::start_lenient().await;
    let remote = hub.repo().await;
    let incomplete = pack(vec![commit("c", &[], Some("s"))], vec![snapshot("s", &[("a", "o")])], vec![]);
    remote.push_pack("main", false, &incomplete).await.refused(422, "missing_references");
    remote.push_objects(&[object("o", "bytes")]).await.expect(200);
    remote.push_pack("main", false, &incomplete).await.expect(200);
    assert_eq!(fetched(&remote, &["c"]).await.objects, [object("o", "bytes")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_stays_as_it_was() {
    let hub = Hub::start_lenient().await;
    let remote = hub.repo().await;
    let of = |content| {
        pack(vec![commit("c", &[], Some("s"))], vec![snapshot("s", &[("a", "o")])], vec![object("o", content)])
    };
    remote.push_pack("main", false, &of("first")).await.expect(200);
    remote.push_pack("main", false, &of("second")).await.expect(200);
    assert_eq!(fetched(&remote, &["c"]).await.objects, [object("o", "first")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_their_own_ancestors_are_refused_and_lock_no_client_out() {
    let hub = Hub::start_lenient().await;
    let remote = hub.repo().await;
    let ring = pack(vec![commit("a", &["b"], None), commit("b", &["a"], None)], vec![], vec![]);
    remote.push_pack("main", false, &ring).await.refused(422, "");
    // In two pushes each half names what is not there yet, or is.
    remote.push_pack("one", false, &pack(vec![commit("a", &["b"], None)], vec![], vec![])).await.expect(200);
    remote.push_pack("two", false, &pack(vec![commit("b", &["a"], None)], vec![], vec![])).await.expect(200);
    assert_eq!(remote.heads().await.len(), 2);
    assert!(commit_ids(&fetched(&remote, &["a", "b"]).await).len() == 2);
    remote.push_pack("one", false, &pack(vec![commit("c", &["a"], None)], vec![], vec![])).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_or_a_release_may_be_of_a_commit_that_is_not_there() {
    let hub = Hub::start_lenient().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    remote.post("tags", &json!({"tags": [{"tag": "v1", "commit_id": "to-come"}]})).await.expect(200);
    remote.post("releases", &json!({"tag": "v1", "commit_id": "to-come"})).await.expect(201);
}

#[test]
fn for_every_id_of_the_contracts_letters_what_was_pushed_comes_back() {
    let id = || "[A-Za-z0-9._:-]{1,128}|[0-9a-f]{64}";
    let case = (id(), id(), id(), prop::collection::vec(any::<u8>(), 0..50));
    for_every_on(Hub::start_lenient, 40, case, async |hub, (commit_id, snapshot_id, object_id, content)| {
        let remote = hub.repo().await;
        let sent = Object { id: object_id.clone(), content: content.into(), path: None };
        let pushed = pack(
            vec![commit(&commit_id, &[], Some(&snapshot_id))],
            vec![snapshot(&snapshot_id, &[("a", &object_id)])],
            vec![sent],
        );
        remote.push_pack("main", false, &pushed).await.expect(200);
        let back = fetched(&remote, &[&commit_id]).await;
        assert_eq!(commit_ids(&back), [commit_id.as_str()]);
        assert_eq!((back.snapshots, back.objects), (pushed.snapshots, pushed.objects));
    });
}
