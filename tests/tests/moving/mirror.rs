//! A repo from hub to hub.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use client::Remote as End;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use indicatif::ProgressBar;
use local::serve::Storage;
use local::transfer::TransferError;
use local::transfer::mirror::{Mirrored, Options, mirror};
use proptest::prelude::*;
use serde_json::json;
use store::table::items::Visibility;
use tests::client::{Answer, Remote, send};
use tests::encoding::Encoding;
use tests::history::{self, Builder, Pack};
use tests::hub::{Hub, fresh_name};
use tokio::net::TcpListener;

use crate::export::{at_hand, for_every, over};
use crate::whole::{Whole, stocked, url};

const PLAIN: Options = Options { force: false, prune: false, visibility: Visibility::Public };

async fn mirrored(from: &End, to: &End) -> Result<Mirrored, TransferError> {
    mirror(from, to, PLAIN, &ProgressBar::hidden()).await
}

/// A repo of a hub that is not there yet.
fn absent(hub: &Hub) -> Remote {
    hub.remote(&hub.dev(), &fresh_name("copy")).speaking(Encoding::Msgpack)
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_again_it_is_the_same_and_the_second_time_nothing_is_sent() {
    let one = Hub::start_own(Storage::Memory, false).await;
    // As narrow as Lambda: what is large goes by reference.
    let other = Hub::start_own(Storage::Memory, true).await;
    let original = stocked(&one, 2, 30).await;
    let (there, back) = (absent(&other), absent(&one));
    let first = mirrored(&url(&original), &url(&there)).await.unwrap();
    assert!(first.made && first.fetched.objects > 0 && first.delivered.sent.objects > 0);
    mirrored(&url(&there), &url(&back)).await.unwrap();
    let (whole, there_again) = (Whole::of(&original).await, Whole::of(&back).await);
    assert_eq!(whole.without_times(), there_again.without_times());
    assert_eq!(Whole::of(&there).await.without_times(), whole.without_times());

    let again = mirrored(&url(&original), &url(&there)).await.unwrap();
    assert_eq!((again.fetched, again.delivered.sent), (Default::default(), Default::default()));
    assert!(!again.made && again.delivered.branches.is_empty() && again.delivered.tags + again.delivered.releases == 0);

    let more = history::linear(55, 3, 3, 1);
    original.push(&more, "later", more.last()).await.expect(200);
    let next = mirrored(&url(&original), &url(&there)).await.unwrap();
    assert_eq!(next.delivered.branches, ["later"]);
    assert_eq!((next.fetched.commits, next.delivered.sent.commits), (3, 3));
    assert_eq!(next.fetched.objects as usize, more.objects.len(), "nothing but what is new");
}

#[test]
fn every_history_is_the_same_on_the_other_hub_however_it_grows() {
    let cases = (any::<u64>(), 1_usize..40, any::<prop::sample::Index>());
    for_every(8, cases, Hub::start, async |hub, (seed, commits, index)| {
        let history = history::dag(seed, commits, 8);
        let ids = history.ids();
        let (from, to) = (absent(hub), absent(hub));
        // Some of it, and then all of it, under branches that grow.
        let early = &ids[index.index(ids.len())];
        from.push(&history, "main", early).await.expect(200);
        mirrored(&url(&from), &url(&to)).await.unwrap();
        assert_eq!(Whole::of(&to).await, Whole::of(&from).await);
        for (number, head) in history.heads().iter().enumerate() {
            let branch = if history.is_ancestor(early, head) { "main".to_owned() } else { format!("b{number}") };
            let pushed = from.push(&history, &branch, head).await;
            assert!([200, 409].contains(&pushed.status), "{}", pushed.excerpt());
        }
        mirrored(&url(&from), &url(&to)).await.unwrap();
        assert_eq!(Whole::of(&to).await, Whole::of(&from).await);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_domain_is_the_same_on_the_other_hub() {
    let (one, other) = tokio::join!(Hub::start_own(Storage::Memory, false), Hub::start_own(Storage::Memory, false));
    let from = one.remote(&one.dev(), &fresh_name("song"));
    let body = json!({"name": from.slug, "domain": "scaffold"});
    one.post("api/repos", from.token.as_deref(), &body).await.expect(201);
    let history = history::linear(56, 2, 2, 1);
    from.push(&history, "main", history.last()).await.expect(200);
    let to = absent(&other);
    mirrored(&url(&from), &url(&to)).await.unwrap();
    assert_eq!(to.domain().await, "scaffold");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_at_hand_are_an_end_like_any_other() {
    let (one, other) = tokio::join!(Hub::start_own(Storage::Memory, false), Hub::start_own(Storage::Memory, false));
    let original = stocked(&one, 3, 20).await;
    let (copy, end) = at_hand(&other).await;
    mirrored(&url(&original), &end).await.unwrap();
    let back = absent(&one);
    mirrored(&end, &url(&back)).await.unwrap();
    let whole = Whole::of(&original).await;
    for remote in [copy, back] {
        assert_eq!(Whole::of(&remote).await.without_times(), whole.without_times());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_away_without_force_and_branches_stay_even_with_it() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (from, to) = (absent(&hub), absent(&hub));
    let mut builder = Builder::new(4);
    let root = builder.child(&[]);
    let (left, right) = (builder.child(&[&root]), builder.child(&[&root]));
    let history = builder.finish();
    for remote in [&from, &to] {
        remote.push(&history, "main", &root).await.expect(200);
    }
    from.push(&history, "main", &left).await.expect(200);
    to.push(&history, "main", &right).await.expect(200);
    to.push(&history, "only-here", &right).await.expect(200);
    let tag = |commit: &str| json!({"tags": [{"tag": "v1", "commit_id": commit}]});
    from.post("tags", &tag(&left)).await.expect(200);
    to.post("tags", &tag(&right)).await.expect(200);
    for (remote, title) in [(&from, "theirs"), (&to, "ours")] {
        let release = json!({"tag": "v1", "commit_id": root, "title": title, "created_at": "2025-01-01T00:00:00Z"});
        remote.post("releases", &release).await.expect(201);
    }

    let before = Whole::of(&to).await;
    let refused = mirrored(&url(&from), &url(&to)).await.unwrap_err().to_string();
    for what in ["branch 'main' has commits", "tag 'v1'", "release 'v1'", "--force does it"] {
        assert!(refused.contains(what), "{refused}");
    }
    assert_eq!(Whole::of(&to).await, before);

    let options = Options { force: true, ..PLAIN };
    let forced = mirror(&url(&from), &url(&to), options, &ProgressBar::hidden()).await.unwrap();
    assert_eq!(forced.kept, ["branch 'only-here'"]);
    let heads = to.heads().await;
    assert_eq!((&heads["main"], &heads["only-here"]), (&left, &right));
    let releases = to.get("releases").await.expect(200);
    assert_eq!(releases, from.get("releases").await.expect(200));
    let tags = to.get("tags").await.expect(200);
    assert_eq!(tags["tags"][0]["commit_id"], json!(left));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_went_back_needs_force_too() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (from, to) = (absent(&hub), absent(&hub));
    let history = history::linear(6, 5, 2, 1);
    from.push(&history, "main", history.last()).await.expect(200);
    mirrored(&url(&from), &url(&to)).await.unwrap();
    let earlier = &history.ids()[1];
    from.push_pack("main", true, &history::History::default().pack::<&str>(&[]).with_head("main", earlier))
        .await
        .expect(200);
    let refused = mirrored(&url(&from), &url(&to)).await.unwrap_err().to_string();
    assert!(refused.contains("branch 'main' has commits"), "{refused}");
    mirror(&url(&from), &url(&to), Options { force: true, ..PLAIN }, &ProgressBar::hidden()).await.unwrap();
    assert_eq!(to.heads().await, from.heads().await);
}

/// What came through before a mirror broke off is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_broke_off_goes_on_behind_what_came_through() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (from, to) = (absent(&hub), absent(&hub));
    let history = history::linear(8, 900, 4, 1);
    for chunk in [299, 599, 899] {
        from.push(&history, "main", &history.ids()[chunk]).await.expect(200);
    }
    let through = Remote { hub: door(hub.url(), usize::MAX, 1).await, ..to.clone() };
    let broken = mirrored(&url(&from), &url(&through)).await.unwrap_err().to_string();
    assert!(broken.contains("shut"), "{broken}");
    let head = to.heads().await["main"].clone();
    let come = history.reachable(&[&head]).len();
    assert!(come < 900, "it broke off");
    let pack = to.clone_all().await;
    assert_eq!(pack.commits.len(), come, "what shows is whole");

    let rest = mirrored(&url(&from), &url(&to)).await.unwrap();
    assert!(rest.fetched.commits as usize <= 900 - come, "{rest:?}");
    assert_eq!(Whole::of(&to).await, Whole::of(&from).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_or_written_is_said() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let private = hub.made_repo(&hub.dev(), true).await;
    let to = absent(&hub);
    let refused = mirrored(&url(&private.anonymous()), &url(&to)).await.unwrap_err().to_string();
    assert!(refused.contains("there is no repository") && refused.contains("takes a token"), "{refused}");
    let from = stocked(&hub, 1, 6).await;
    let refused = mirrored(&url(&from), &url(&to.anonymous())).await.unwrap_err().to_string();
    assert!(refused.contains("none can be made without a token"), "{refused}");
    let stranger = hub.user().await;
    let refused = mirrored(&url(&from), &url(&to.with_token(stranger.token))).await.unwrap_err().to_string();
    assert!(refused.contains("the token is not that of 'dev'"), "{refused}");
}

/// What stands before a hub: its answers to a fetch break off behind this many bytes, as Lambda's do behind 200 MB, and it
/// lets this many pushes through.
struct Door {
    hub: String,
    fetch_bytes: usize,
    pushes: AtomicUsize,
}

pub async fn door(hub: &str, fetch_bytes: usize, pushes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let door = Arc::new(Door { hub: hub.to_owned(), fetch_bytes, pushes: AtomicUsize::new(pushes) });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let door = Arc::clone(&door);
            let answer = service_fn(move |request: Request<Incoming>| {
                let door = Arc::clone(&door);
                async move { Ok::<_, Infallible>(pass_on(&door, request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    url
}

async fn pass_on(
    door: &Door,
    request: Request<Incoming>,
) -> Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, String>> + use<>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let is_push = parts.uri.path().ends_with("/push");
    let left = |left: usize| left.checked_sub(1);
    let is_shut = is_push && door.pushes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err();
    let target = parts.uri.path_and_query().unwrap().as_str();
    let headers: Vec<(&str, &str)> = ["accept", "authorization", "content-type"]
        .into_iter()
        .filter_map(|name| Some((name, parts.headers.get(name)?.to_str().ok()?)))
        .collect();
    let url = format!("{}{target}", door.hub);
    let answer = if is_shut { refusal() } else { send(parts.method.as_str(), &url, &headers, body).await.unwrap() };
    let is_fetch = parts.uri.path().ends_with("/fetch");
    let mut pieces = vec![Ok(Frame::data(answer.body.clone()))];
    let mut response = Response::builder().status(answer.status).header("content-type", answer.header("content-type"));
    if is_fetch && answer.body.len() > door.fetch_bytes {
        pieces = vec![Ok(Frame::data(answer.body.slice(..door.fetch_bytes))), Err("enough".to_owned())];
    } else {
        response = response.header("content-length", answer.body.len());
    }
    // What was given is on its way before the answer breaks off.
    let pieces = stream::iter(pieces).then(async |piece| {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        piece
    });
    response.body(StreamBody::new(pieces)).unwrap()
}

fn refusal() -> Answer {
    let headers = [(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))];
    let body = r#"{"error": "invalid", "detail": "the door is shut"}"#.into();
    Answer { status: 422, headers: headers.into_iter().collect(), body }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_answer_comes_commit_by_commit_and_object_by_object() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (from, to) = (absent(&hub), absent(&hub));
    let mut builder = Builder::new(12);
    let mut tree = builder.files(3);
    let mut tip = builder.commit(&[], &tree);
    for number in 0..4 {
        tree.insert(format!("small-{number}"), builder.bytes(60_000));
        tip = builder.commit(&[&tip], &tree);
    }
    // One commit that is too much by itself: what lies in packs, and what lies by itself.
    for number in 0..3 {
        tree.insert(format!("packed-{number}"), builder.bytes(50_000));
        tree.insert(format!("large-{number}"), builder.bytes(100_000 << (3 * number)));
    }
    tip = builder.commit(&[&tip], &tree);
    from.push(builder.history(), "main", &tip).await.expect(200);
    let through = Remote { hub: door(hub.url(), 150_000, usize::MAX).await, ..from.clone() };
    let mirrored_again = mirrored(&url(&through), &url(&to)).await.unwrap();
    assert_eq!(mirrored_again.fetched.commits, 6);
    assert_eq!(Whole::of(&to).await, Whole::of(&from).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_other_hub_has_goes_where_it_is_asked_for_and_never_its_default_branch() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (from, to) = (absent(&hub), absent(&hub));
    let history = history::linear(31, 3, 2, 1);
    let ids = history.ids();
    let at = |branch: &str, commit: &str| Pack::default().with_head(branch, commit);
    for (remote, branches) in [(&from, vec!["side"]), (&to, vec!["main", "old/one", "side", "größe"])] {
        for branch in branches {
            remote.push_pack(branch, false, &history.pack_of(&ids[1])).await.expect(200);
            remote.push_pack(branch, true, &at(branch, &ids[0])).await.expect(200);
        }
    }
    let tag = |name: &str| json!({"tags": [{"tag": name, "commit_id": ids[0]}]});
    from.post("tags", &tag("kept")).await.expect(200);
    for name in ["kept", "gone", "a/b c"] {
        to.post("tags", &tag(name)).await.expect(200);
    }
    let release =
        json!({"tag": "v1", "commit_id": ids[0], "title": "t", "semver": {"major": 1, "minor": 0, "patch": 0}});
    to.post("releases", &release).await.expect(201);
    from.push(&history, "side", history.last()).await.expect(200);

    let left = mirrored(&url(&from), &url(&to)).await.unwrap();
    assert_eq!((left.pruned.len(), left.kept.len()), (0, 6), "{:?}", left.kept);
    assert_eq!(to.heads().await.len(), 4);

    let pruning = Options { prune: true, ..PLAIN };
    let done = mirror(&url(&from), &url(&to), pruning, &ProgressBar::hidden()).await.unwrap();
    assert_eq!(done.pruned, ["branch 'größe'", "branch 'old/one'", "tag 'a/b c'", "tag 'gone'"]);
    assert_eq!(done.kept, ["branch 'main'", "release 'v1'"]);
    assert_eq!(to.heads().await.into_keys().collect::<Vec<_>>(), ["main", "side"]);
    let tags = to.get("tags").await.expect(200);
    assert_eq!(tags["tags"].as_array().unwrap().iter().map(|tag| &tag["tag"]).collect::<Vec<_>>(), ["kept"]);
    // Over the stores at hand as by URL.
    to.post("tags", &tag("again")).await.expect(200);
    let over = mirror(&url(&from), &over(&hub, &to).await, pruning, &ProgressBar::hidden()).await.unwrap();
    assert_eq!(over.pruned, ["tag 'again'"]);
}

/// A hub that answers `GET /refs` in JSON whatever is asked for, and knows nothing of reading tags and releases.
async fn other_hub(hub: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let door = Arc::new(Door { hub: hub.to_owned(), fetch_bytes: usize::MAX, pushes: AtomicUsize::new(usize::MAX) });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let door = Arc::clone(&door);
            let answer = service_fn(move |mut request: Request<Incoming>| {
                let door = Arc::clone(&door);
                async move {
                    let path = request.uri().path().to_owned();
                    let is_get = request.method() == http::Method::GET;
                    if path.ends_with("/refs") {
                        request.headers_mut().insert("accept", http::HeaderValue::from_static("application/json"));
                    }
                    let mut answer = pass_on(&door, request).await;
                    if is_get && path.ends_with("/tags") {
                        *answer.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
                    } else if is_get && path.ends_with("/releases") {
                        *answer.status_mut() = http::StatusCode::NOT_FOUND;
                    }
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_says_less_and_answers_in_json_is_mirrored() {
    let hub = Hub::start_own(Storage::Memory, false).await;
    let (from, to) = (absent(&hub), absent(&hub));
    let history = history::dag(32, 20, 6);
    for (number, head) in history.heads().iter().enumerate() {
        from.push(&history, &format!("b{number}"), head).await.expect(200);
    }
    let other = Remote { hub: other_hub(hub.url()).await, ..from.clone() };
    mirrored(&url(&other), &url(&to)).await.unwrap();
    assert_eq!(Whole::of(&to).await, Whole::of(&from).await);
}
