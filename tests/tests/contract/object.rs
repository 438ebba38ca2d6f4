//! One object by its id: the bytes, whole or in part, to who may read the repo.

use proptest::prelude::*;
use tests::client::{Answer, Remote};
use tests::encoding::Encoding;
use tests::history::{self, Builder, History, Object, Tree};
use tests::hub::{Hub, User};
use tests::ids;
use tests::property::for_every;

const PUBLIC: &str = "public, max-age=31536000, immutable";
const PRIVATE: &str = "private, no-store";
/// The form of a repo's id, and no repo's.
const NO_REPO: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// A repo with one commit of one file.
struct Scene {
    remote: Remote,
    repo_id: String,
    object: Object,
}

impl Scene {
    async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        self.remote.object(&self.repo_id, &self.object.id, headers).await
    }

    async fn range(&self, range: &str) -> Answer {
        self.get(&[("range", range)]).await
    }

    /// Fails unless the answer is the object, whole.
    fn assert_whole(&self, what: &str, answer: &Answer) {
        assert_eq!(answer.status, 200, "{what}: {}", answer.excerpt());
        assert!(answer.body == self.object.content, "{what}: {} bytes", answer.body.len());
        assert_eq!(answer.header("content-range"), "", "{what}");
        assert_eq!(answer.header("content-type"), "application/octet-stream", "{what}");
        assert_eq!(answer.header("etag"), format!("\"{}\"", self.object.id), "{what}");
    }

    /// Fails unless the answer is the object's bytes from `first` to `last`, that one included.
    fn assert_part(&self, what: &str, answer: &Answer, first: usize, last: usize) {
        assert_eq!(answer.status, 206, "{what}: {}", answer.excerpt());
        assert!(answer.body == self.object.content[first..=last], "{what}: {} bytes", answer.body.len());
        let size = self.object.content.len();
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{size}"), "{what}");
        assert_eq!(answer.header("content-length"), (last - first + 1).to_string(), "{what}");
        assert_eq!(answer.header("content-type"), "application/octet-stream", "{what}");
        assert_eq!(answer.header("etag"), format!("\"{}\"", self.object.id), "{what}");
    }

    fn assert_unsatisfiable(&self, what: &str, answer: &Answer) {
        assert_eq!(answer.status, 416, "{what}: {}", answer.excerpt());
        answer.refused(416, "range_not_satisfiable");
        assert_eq!(answer.header("content-range"), format!("bytes */{}", self.object.content.len()), "{what}");
        assert_not_kept(answer);
    }
}

/// A refusal is nothing for a cache to hold on to.
fn assert_not_kept(answer: &Answer) {
    assert!(!answer.header("cache-control").contains("immutable"), "{:?}", answer.headers);
    assert!(!answer.header("cache-control").contains("max-age=3"), "{:?}", answer.headers);
}

/// The file between two others, so that it begins and ends within whatever the hub keeps it in.
fn one_file(content: impl Into<bytes::Bytes>) -> (History, Object) {
    let object = Object::new(content);
    let file = |path: &str, content: &bytes::Bytes| (path.to_owned(), content.clone());
    let neighbour = bytes::Bytes::from_static(b"a neighbour");
    let other = bytes::Bytes::from_static(b"another one");
    let tree = Tree::from([file("a", &neighbour), file("song.wav", &object.content), file("z", &other)]);
    let mut builder = Builder::new(1);
    builder.commit(&[], &tree);
    (builder.finish(), object)
}

async fn scene_in(remote: Remote, content: impl Into<bytes::Bytes>) -> Scene {
    let (history, object) = one_file(content);
    remote.push(&history, "main", history.last()).await.expect(200);
    Scene { repo_id: remote.repo_id().await, object, remote }
}

async fn scene(hub: &Hub, content: impl Into<bytes::Bytes>) -> Scene {
    scene_in(hub.repo().await, content).await
}

async fn private_scene(hub: &Hub, owner: &User) -> Scene {
    scene_in(hub.made_repo(owner, true).await, "a secret").await
}

/// All byte values, over and over, with no period that a buffer has.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| u8::try_from((index ^ (index / 251)) % 256).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_served_as_its_bytes_for_ever() {
    let hub = Hub::start().await;
    for size in [0, 1, 256, 1_000, 65_536, 65_537, 3_000_000] {
        for encoding in Encoding::BOTH {
            let mut scene = scene_in(hub.repo().await.speaking(encoding), pattern(size)).await;
            for token in [scene.remote.token.clone(), None, Some(hub.user().await.token)] {
                scene.remote.token = token;
                let answer = scene.get(&[]).await;
                scene.assert_whole(&format!("{size} bytes"), &answer);
                assert_eq!(answer.header("cache-control"), PUBLIC);
                assert_eq!(answer.header("accept-ranges"), "bytes");
                assert!(["", size.to_string().as_str()].contains(&answer.header("content-length")), "{size}");
            }
            // It is bytes whatever was accepted.
            for accept in ["application/json", "application/x-msgpack", "text/html", "*/*"] {
                scene.assert_whole(accept, &scene.get(&[("accept", accept)]).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_a_history_is_served() {
    let hub = Hub::start().await;
    let history = history::dag(2, 30, 20);
    let remote = hub.repo().await;
    for (index, head) in history.heads().iter().enumerate() {
        remote.speaking(Encoding::BOTH[index % 2]).push(&history, &format!("b{index}"), head).await.expect(200);
    }
    let repo_id = remote.repo_id().await;
    for id in history.objects_of(&history.ids()) {
        let answer = remote.anonymous().object(&repo_id, &id, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.excerpt());
        assert!(answer.body == history.objects[&id], "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_spelling_of_an_id_is_understood() {
    let hub = Hub::start().await;
    let bare = scene(&hub, "spelled either way").await;
    let mut builder = Builder::new(3).with_prefixed_objects();
    builder.commit(&[], &Tree::from([("song.mid".to_owned(), bare.object.content.clone())]));
    let prefixed = hub.repo().await;
    prefixed.push(builder.history(), "main", builder.history().last()).await.expect(200);
    let id = &bare.object.id;
    for (remote, repo_id) in [(&bare.remote, &bare.repo_id), (&prefixed, &prefixed.repo_id().await)] {
        for (path, spelled) in [
            (id.clone(), id.clone()),
            (format!("sha256:{id}"), format!("sha256:{id}")),
            (format!("sha256%3A{id}"), format!("sha256:{id}")),
            (format!("sha256%3a{id}"), format!("sha256:{id}")),
        ] {
            let answer = remote.object(repo_id, &path, &[]).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.excerpt());
            assert_eq!(answer.body, bare.object.content, "{path}");
            assert_eq!(answer.header("etag"), format!("\"{spelled}\""), "{path}");
            let etag = answer.header("etag");
            assert_eq!(remote.object(repo_id, &path, &[("if-none-match", etag)]).await.status, 304, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_served_as_that_part() {
    let hub = Hub::start().await;
    for size in [1_000, 3_000_000] {
        let scene = scene(&hub, pattern(size)).await;
        let last = size - 1;
        for (range, first, end) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=0-499".to_owned(), 0, 499),
            ("bytes=17-17".to_owned(), 17, 17),
            ("bytes=250-600".to_owned(), 250, 600),
            ("bytes=0-".to_owned(), 0, last),
            ("bytes=999-".to_owned(), 999, last),
            (format!("bytes={last}-"), last, last),
            (format!("bytes={last}-{last}"), last, last),
            (format!("bytes=0-{last}"), 0, last),
            (format!("bytes=10-{size}"), 10, last),
            ("bytes=10-99999999".to_owned(), 10, last),
            (format!("bytes=10-{}", u64::MAX), 10, last),
            ("bytes=-1".to_owned(), last, last),
            ("bytes=-500".to_owned(), size - 500, last),
            (format!("bytes=-{size}"), 0, last),
            (format!("bytes=-{}", size + 1), 0, last),
            (format!("bytes=-{}", u64::MAX), 0, last),
        ] {
            let answer = scene.range(&range).await;
            scene.assert_part(&format!("{range} of {size}"), &answer, first, end);
            assert_eq!(answer.header("cache-control"), PUBLIC);
            let anonymous = scene.remote.anonymous();
            let answer = anonymous.object(&scene.repo_id, &scene.object.id, &[("range", &range)]).await;
            scene.assert_part(&format!("{range} of {size}, to anyone"), &answer, first, end);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_end_is_refused_with_the_size() {
    let hub = Hub::start().await;
    let scene = scene(&hub, pattern(1_000)).await;
    for range in ["bytes=1000-", "bytes=1000-1000", "bytes=1000-2000", "bytes=5000-", "bytes=-0"] {
        scene.assert_unsatisfiable(range, &scene.range(range).await);
    }
    let far = format!("bytes={}-", u64::MAX);
    scene.assert_unsatisfiable(&far, &scene.range(&far).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_empty_object_is_in_range() {
    let hub = Hub::start().await;
    let scene = scene(&hub, "").await;
    for range in ["bytes=0-", "bytes=0-0", "bytes=1-5"] {
        scene.assert_unsatisfiable(range, &scene.range(range).await);
    }
    // The last five bytes of nothing are nothing, which a 206 cannot say.
    let answer = scene.range("bytes=-5").await;
    if answer.status == 200 {
        scene.assert_whole("bytes=-5", &answer);
    } else {
        scene.assert_unsatisfiable("bytes=-5", &answer);
    }
    let same = scene.get(&[("if-none-match", &format!("\"{}\"", scene.object.id))]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_none_is_passed_over() {
    let hub = Hub::start().await;
    let scene = scene(&hub, pattern(1_000)).await;
    for range in [
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0x1-0x2",
        "bytes=1.5-2",
        "bytes=+1-2",
        "bytes=--5",
        "bytes=5--7",
        "bytes=7-5",
        "bytes=999-0",
        "bytes=5",
        "bytes 0-5",
        "bytes:0-5",
        "0-5",
        "=0-5",
        "items=0-5",
        "byte=0-5",
        "-5",
        ",",
        "bytes=,",
    ] {
        scene.assert_whole(range, &scene.range(range).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_are_answered_with_the_whole_object() {
    let hub = Hub::start().await;
    let scene = scene(&hub, pattern(1_000)).await;
    for range in ["bytes=0-5,10-15", "bytes=0-5, 10-15", "bytes=0-0,-1", "bytes=0-5,5000-"] {
        scene.assert_whole(range, &scene.range(range).await);
    }
    let many = format!("bytes={}", vec!["0-0"; 1_000].join(","));
    scene.assert_whole("1,000 ranges", &scene.range(&many).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_object_hears_so_without_it() {
    let hub = Hub::start().await;
    let owner = hub.user().await;
    for (scene, cache_control) in
        [(scene(&hub, pattern(1_000)).await, PUBLIC), (private_scene(&hub, &owner).await, PRIVATE)]
    {
        let id = &scene.object.id;
        let other = ids::object_id(b"another");
        for tag in [
            format!("\"{id}\""),
            format!("W/\"{id}\""),
            format!("\"{other}\", \"{id}\""),
            format!("\"{id}\",\"{other}\""),
            format!("W/\"{other}\",W/\"{id}\""),
            format!("\"a, b\" , \"{id}\""),
            "*".to_owned(),
        ] {
            for headers in [&[("if-none-match", tag.as_str())][..], &[("if-none-match", &tag), ("range", "bytes=0-3")]]
            {
                let answer = scene.get(headers).await;
                assert_eq!((answer.status, answer.body.len()), (304, 0), "{tag}: {}", answer.excerpt());
                assert_eq!(answer.header("etag"), format!("\"{id}\""), "{tag}");
                assert_eq!(answer.header("cache-control"), cache_control, "{tag}");
            }
        }
        for tag in [
            format!("\"{other}\""),
            format!("W/\"{other}\""),
            format!("\"{}\"", id.to_uppercase()),
            format!("\"{}\"", &id[..63]),
            format!("\"{id}0\""),
            "\"\"".to_owned(),
            "\"*\"".to_owned(),
        ] {
            scene.assert_whole(&tag, &scene.get(&[("if-none-match", &tag)]).await);
        }
        let other = format!("\"{other}\"");
        let part = scene.get(&[("if-none-match", &other), ("range", "bytes=1-2")]).await;
        scene.assert_part("another tag and a range", &part, 1, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repos_objects_are_for_its_readers_and_no_cache() {
    let hub = Hub::start().await;
    let (owner, stranger) = (hub.user().await, hub.user().await);
    let scene = private_scene(&hub, &owner).await;
    let whole = scene.get(&[]).await;
    scene.assert_whole("to the owner", &whole);
    assert_eq!(whole.header("cache-control"), PRIVATE);
    let part = scene.range("bytes=0-3").await;
    scene.assert_part("to the owner", &part, 0, 3);
    assert_eq!(part.header("cache-control"), PRIVATE);

    let (id, absent) = (scene.object.id.clone(), ids::object_id(b"absent"));
    let everything = format!("\"{id}\"");
    for other in
        [scene.remote.with_token(&stranger.token), scene.remote.with_token(&hub.dev().token), scene.remote.anonymous()]
    {
        // The same as where there is no such repo, whatever is asked.
        let nothing = other.object(NO_REPO, &id, &[]).await;
        nothing.refused(404, "repo_not_found");
        for id in [&id, &absent] {
            for headers in [
                &[][..],
                &[("range", "bytes=0-3")],
                &[("range", "bytes=5000-")],
                &[("if-none-match", "*")],
                &[("if-none-match", &everything)],
            ] {
                let answer = other.object(&scene.repo_id, id, headers).await;
                assert_eq!((answer.status, &answer.body), (404, &nothing.body), "{headers:?}");
                assert_eq!(answer.header("etag"), "");
                assert_not_kept(&answer);
            }
        }
    }
    let answer = scene.remote.with_token("bad").object(&scene.repo_id, &id, &[]).await;
    answer.refused(401, "");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    let in_query = format!("o/{id}?repo_id={}&access_token={}", scene.repo_id, owner.token);
    scene.remote.anonymous().at_root("GET", &in_query, &[]).await.refused(404, "repo_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_refused_on_public_objects_too() {
    let hub = Hub::start().await;
    let scene = scene(&hub, "public").await;
    for headers in [&[][..], &[("if-none-match", "*")], &[("range", "bytes=0-1")]] {
        scene.remote.with_token("bad").object(&scene.repo_id, &scene.object.id, headers).await.refused(401, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_repos_objects_are_not_served_as_anothers() {
    let hub = Hub::start().await;
    let one = scene(&hub, "only in one").await;
    let two = scene(&hub, "only in two").await;
    let private = private_scene(&hub, &hub.user().await).await;
    for headers in [&[][..], &[("range", "bytes=0-3")], &[("if-none-match", "*")]] {
        for (repo, object) in [(&one, &two), (&two, &one), (&one, &private)] {
            let answer = repo.remote.object(&repo.repo_id, &object.object.id, headers).await;
            answer.refused(404, "unknown_object");
            assert_not_kept(&answer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_served_once_a_branch_has_reached_it() {
    let hub = Hub::start().await;
    for encoding in Encoding::BOTH {
        let remote = hub.made_repo(&hub.dev(), false).await.speaking(encoding);
        let (history, object) = one_file("staged");
        let repo_id = remote.repo_id().await;
        let pack = history.pack_of(history.last());
        for everyone in [&remote, &remote.anonymous()] {
            everyone.object(&repo_id, &object.id, &[]).await.refused(404, "unknown_object");
        }
        remote.push_objects(&pack.objects).await.expect(200);
        for headers in [&[][..], &[("range", "bytes=0-3")], &[("if-none-match", "*")]] {
            let answer = remote.object(&repo_id, &object.id, headers).await;
            answer.refused(404, "unknown_object");
            assert_not_kept(&answer);
            remote.anonymous().object(&repo_id, &object.id, headers).await.refused(404, "unknown_object");
        }
        remote.push_pack("main", false, &pack.without_objects()).await.expect(200);
        let answer = remote.anonymous().object(&repo_id, &object.id, &[]).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &object.content[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_only_a_refused_push_had_is_not_served() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let repo_id = remote.repo_id().await;
    let (history, object) = one_file("never accepted");
    let mut pack = history.pack_of(history.last());
    pack.snapshots.clear();
    remote.push_pack("main", false, &pack).await.refused(422, "missing_references");
    remote.object(&repo_id, &object.id, &[]).await.refused(404, "unknown_object");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_push_had_and_no_commit_names_is_not_served() {
    let hub = Hub::start().await;
    let (history, object) = one_file("named");
    let stray = Object::new("a stray");
    let remote = hub.repo().await;
    let mut pack = history.pack_of(history.last());
    pack.objects.push(stray.clone());
    remote.push_pack("main", false, &pack).await.expect(200);
    let repo_id = remote.repo_id().await;
    assert_eq!(remote.object(&repo_id, &object.id, &[]).await.status, 200);
    remote.object(&repo_id, &stray.id, &[]).await.refused(404, "unknown_object");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_no_commit_names_yet_shows_no_reader_its_objects() {
    let hub = Hub::start().await;
    for sent_again in [false, true] {
        let (history, object) = one_file("in a snapshot alone");
        let remote = hub.made_repo(&hub.dev(), false).await;
        let repo_id = remote.repo_id().await;
        let whole = history.pack_of(history.last());
        let mut alone = whole.clone();
        alone.commits.clear();
        remote.push_pack("main", false, &alone).await.expect(200);
        remote.object(&repo_id, &object.id, &[]).await.refused(404, "unknown_object");

        let mut commit = whole.without_objects();
        if !sent_again {
            commit.snapshots.clear();
        }
        remote.push_pack("main", false, &commit).await.expect(200);
        let answer = remote.anonymous().object(&repo_id, &object.id, &[]).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &object.content[..]), "{sent_again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_objects_of_a_commit_beside_the_tip_are_served_once_a_branch_moves_there() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let repo_id = remote.repo_id().await;
    let mut builder = Builder::new(6);
    let root = builder.child(&[]);
    let (tip, aside) = (builder.child(&[&root]), builder.child(&[&root]));
    let object = ids::object_id(&builder.tree(&aside)["song.mid"]);
    let history = builder.finish();
    let both = history.pack(&history.ids()).with_head("main", &tip);
    remote.push_pack("main", false, &both).await.expect(200);
    remote.object(&repo_id, &object, &[]).await.refused(404, "unknown_object");

    let nothing = tests::history::Pack::default().with_head("other", &aside);
    remote.push_pack("other", false, &nothing).await.expect(200);
    assert_eq!(remote.anonymous().object(&repo_id, &object, &[]).await.status, 200);
    assert_eq!(remote.heads().await["other"], aside);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reached_once_stays_served() {
    let hub = Hub::start().await;
    let scene = scene(&hub, "before").await;
    let mut builder = Builder::new(4);
    let other = builder.child(&[]);
    let elsewhere = builder.finish();
    scene.remote.push_pack("main", true, &elsewhere.pack_of(&other)).await.expect(200);
    scene.assert_whole("after a forced push", &scene.get(&[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_comes_with_a_later_push_is_served_at_once() {
    let hub = Hub::start().await;
    let mut builder = Builder::new(5);
    let remote = hub.repo().await;
    let mut head = builder.child(&[]);
    remote.push(builder.history(), "main", &head).await.expect(200);
    let repo_id = remote.repo_id().await;
    for _ in 0..10 {
        head = builder.child(&[&head]);
        let content = builder.tree(&head)["song.mid"].clone();
        let id = ids::object_id(&content);
        // The hub's word that it isn't there may not outlive the push.
        remote.anonymous().object(&repo_id, &id, &[]).await.refused(404, "unknown_object");
        remote.push(builder.history(), "main", &head).await.expect(200);
        let answer = remote.anonymous().object(&repo_id, &id, &[]).await;
        assert_eq!((answer.status, &answer.body), (200, &content));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_nothing_has_is_not_found() {
    let hub = Hub::start().await;
    let scene = scene(&hub, pattern(100)).await;
    let id = &scene.object.id;
    let absent = ids::object_id(b"absent");
    for unknown in [absent.clone(), format!("sha256:{absent}"), format!("sha256%3A{absent}"), "0".repeat(64)] {
        scene.remote.object(&scene.repo_id, &unknown, &[]).await.refused(404, "unknown_object");
    }
    for odd in [
        "x".to_owned(),
        id[..63].to_owned(),
        format!("{id}0"),
        format!("{}g", &id[..63]),
        id.to_uppercase(),
        format!("SHA256:{id}"),
        format!("sha256:sha256:{id}"),
        format!("md5:{id}"),
        format!("%20{id}"),
        format!("{id}%00"),
        format!("{id}%0A"),
        format!("..%2F{id}"),
        format!("%2e%2e/{id}"),
        format!("{id}/"),
        format!("{id}/x"),
        "%FF".to_owned(),
        "%zz".to_owned(),
        "x".repeat(5_000),
    ] {
        scene.remote.object(&scene.repo_id, &odd, &[]).await.refused_somehow();
    }
    for path in [format!("o?repo_id={}", scene.repo_id), format!("o/?repo_id={}", scene.repo_id)] {
        scene.remote.at_root("GET", &path, &[]).await.refused_somehow();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_id_that_is_none_is_a_repo_that_is_not_there() {
    let hub = Hub::start().await;
    let scene = scene(&hub, pattern(100)).await;
    let (id, repo_id) = (&scene.object.id, &scene.repo_id);
    let slug = format!("{}/{}", scene.remote.owner, scene.remote.slug);
    for query in [
        "".to_owned(),
        "?".to_owned(),
        "?repo_id".to_owned(),
        "?repo_id=".to_owned(),
        "?repo_id=x".to_owned(),
        format!("?repo_id={NO_REPO}"),
        format!("?repo_id={slug}"),
        format!("?repo_id={}", &repo_id[..repo_id.len() - 1]),
        format!("?repo_id={repo_id}0"),
        format!("?repo_id={repo_id}%00"),
        format!("?repo_id=%20{repo_id}"),
        format!("?repo_id=REPO%23{repo_id}"),
        format!("?repo_id=../{repo_id}"),
        format!("?repo_id={repo_id}/.."),
        "?repo_id=%FF%FE".to_owned(),
        "?repo_id=%F0%9F%8E%B5".to_owned(),
        format!("?repo_id={}", "Z".repeat(26)),
        format!("?repo_id={}", "0".repeat(5_000)),
        format!("?REPO_ID={repo_id}"),
        format!("?repoId={repo_id}"),
    ] {
        for remote in [&scene.remote, &scene.remote.anonymous()] {
            let answer = remote.at_root("GET", &format!("o/{id}{query}"), &[]).await;
            assert_eq!(answer.status, 404, "{query}: {}", answer.excerpt());
            answer.refused(404, "repo_not_found");
        }
    }
    let answer = scene.remote.at_root("GET", &format!("o/{id}?x=1&repo_id={repo_id}&y=2"), &[]).await;
    scene.assert_whole("among other parameters", &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_only_got() {
    let hub = Hub::start().await;
    let scene = scene(&hub, pattern(100)).await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let path = format!("o/{}?repo_id={}", scene.object.id, scene.repo_id);
        scene.remote.at_root(method, &path, &[]).await.refused(405, "");
    }
    scene.assert_whole("afterwards", &scene.get(&[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_at_once_get_what_they_asked_for() {
    let hub = Hub::start().await;
    let history = history::linear(6, 40, 20, 5);
    let remote = hub.repo().await;
    for chunk in history.ids().chunks(8) {
        remote.push(&history, "main", chunk.last().unwrap()).await.expect(200);
    }
    let repo_id = remote.repo_id().await;
    let reads = history.objects.iter().cycle().take(300).enumerate().map(|(index, (id, content))| {
        let (remote, repo_id, id, content) = (remote.anonymous(), repo_id.clone(), id.clone(), content.clone());
        tokio::spawn(async move {
            let first = index % content.len();
            let range = format!("bytes={first}-");
            let answer = remote.object(&repo_id, &id, &[("range", &range)]).await;
            assert_eq!(answer.status, 206, "{}", answer.excerpt());
            assert!(answer.body == content[first..]);
        })
    });
    for read in futures_util::future::join_all(reads).await {
        read.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bytes_look_like_changes_nothing() {
    let hub = Hub::start().await;
    for content in
        [&b"<!doctype html><script>alert(1)</script>"[..], b"{\"error\": \"x\"}", b"\xc1\xff\xfe", b"\r\n\r\n"]
    {
        let scene = scene(&hub, content).await;
        scene.assert_whole("odd bytes", &scene.get(&[("accept", "text/html")]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repo_has_no_object_not_even_the_empty_one() {
    let hub = Hub::start().await;
    let remote = hub.made_repo(&hub.dev(), false).await;
    let repo_id = remote.repo_id().await;
    remote.object(&repo_id, &ids::object_id(b""), &[]).await.refused(404, "unknown_object");
}

#[test]
fn every_range_is_that_slice_of_the_object() {
    let range = (any::<prop::sample::Index>(), 1..10_000_usize);
    let cases = (1..200_000_usize, prop::collection::vec(range, 1..6));
    for_every(24, cases, async |hub, (size, ranges)| {
        let scene = scene(hub, pattern(size)).await;
        for (at, length) in ranges {
            let first = at.index(size);
            let last = (first + length - 1).min(size - 1);
            let asked = format!("bytes={first}-{}", first + length - 1);
            scene.assert_part(&asked, &scene.range(&asked).await, first, last);
            let suffix = format!("bytes=-{}", size - first);
            scene.assert_part(&suffix, &scene.range(&suffix).await, first, size - 1);
        }
    });
}
