//! Processes of one deployment, each with a tap on its storage, called as Lambda calls them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::Region;
use bytes::Bytes;
use common::id::{Ids, RepoId};
use http::{Method, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use lambda_http::{Body, RequestExt};
use local::backends::Backends;
use local::s3::EmbeddedS3;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use service::Hub;
use service::auth::Tokens;
use service::observe::RequestLog;
use service::routes::{Function, ROUTES};
use service::{AnswerBody, CutOff, Settings};
use store::ambient::Ambient;
use store::repo::Load;
use store::span;
use store::table::account::Claim;
use store::table::items::{Key, MemberItem, Role, Visibility, encode};
use store::upkeep::compact::{Compaction, Limits};
use store::upkeep::garbage::{self, Collection};
use store::upkeep::purge::Erased;
use store::{Store, StoreError};
use tests::cases::stride;
use tests::client::{Answer, percent_encoded, put_well};
use tests::encoding::Encoding;
use tests::history::{History, Object, Pack, list_of_text, map_of_text, objects_body};
use tests::wiretap::{Call, Reaction, Wiretap, stop_clock};
use tests::{record, stores, verify};
use tokio::sync::OnceCell;

const SECRET: &str = "a secret of the storage tests, long enough";
pub const USER: &str = "user-dev";
pub const OWNER: &str = "dev";

/// The stores of one deployment, and its clock: it is stopped while a call is under way, and leaps from pause to pause.
pub struct Cloud {
    pub backends: Backends,
    seed: u64,
    ambient: Ambient,
    ids: Ids,
    /// How many processes have been started later.
    later: AtomicU64,
}

/// Runs `check` on `cases` values of the strategy, by day on a third, against what `prepare` made once. The smallest case that
/// panics is reported.
pub fn for_every<S: Strategy, T>(
    cases: u32,
    strategy: S,
    prepare: impl AsyncFnOnce() -> T,
    check: impl AsyncFn(&T, S::Value),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let prepared = runtime.block_on(prepare());
    let cases = cases.div_ceil(stride() as u32);
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        runtime.block_on(check(&prepared, value));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// One process of it.
pub struct Process {
    pub hub: Hub,
    pub tap: Wiretap,
    /// What its tokens are signed with.
    pub secret: String,
    /// What it logged of each request.
    pub log: Arc<Mutex<Vec<Value>>>,
    /// How long Lambda gives it for each request; where there is none, it is no function.
    pub lambda_time: Option<Duration>,
}

impl Cloud {
    /// Fresh stores in memory, and a user with a handle.
    pub async fn start() -> Cloud {
        Cloud::start_with(Ids::Strict).await
    }

    /// The same, with ids that are hashes or not.
    pub async fn start_with(ids: Ids) -> Cloud {
        let backends = stores::start(SECRET).await;
        Cloud::over(backends, ids).await
    }

    /// The same, over an S3 that refuses what is not there like what may not be read.
    pub async fn start_hiding() -> Cloud {
        let s3 = EmbeddedS3::memory(Ambient::system()).hiding_missing();
        let backends = Backends::start_over(s3, SECRET).await.expect("the stores start");
        Cloud::over(backends, Ids::Strict).await
    }

    async fn over(backends: Backends, ids: Ids) -> Cloud {
        record::calls();
        let seed = stores::seed();
        let ambient = Ambient::replay(seed, Timestamp::constant(1_750_000_000, 0));
        let cloud = Cloud { backends, seed, ambient, ids, later: AtomicU64::new(0) };
        let claimed = cloud.process().hub.store.claim_handle(USER, &OWNER.parse().unwrap(), "").await;
        assert_eq!(claimed.expect("the store answers"), Claim::Held);
        tokio::time::pause();
        cloud
    }

    /// A process that has just started.
    pub fn process(&self) -> Process {
        self.process_with(self.ambient.clone())
    }

    /// A process that has just started, so much later than the machine's own clock says, which the embedded S3 goes by.
    pub fn process_later(&self, later: Duration) -> Process {
        let now = Ambient::system().now().max(self.ambient.now());
        // No two processes draw the same.
        let number = self.later.fetch_add(1, Ordering::Relaxed);
        self.process_with(Ambient::replay(self.seed.wrapping_add(1 + number), now + later))
    }

    fn process_with(&self, ambient: Ambient) -> Process {
        // The SDK's clients of one region share a quota of retries, and no test is to use up another's.
        static REGIONS: AtomicU32 = AtomicU32::new(0);
        let region = Region::new(format!("test-{}", REGIONS.fetch_add(1, Ordering::Relaxed)));
        let tap = Wiretap::new();
        let tapped = |config: &aws_config::SdkConfig| {
            config.clone().into_builder().http_client(tap.clone()).region(region.clone()).build()
        };
        let (dynamodb, s3) = (tapped(&self.backends.dynamodb), tapped(&self.backends.s3));
        let store = Store::new(&dynamodb, &s3, self.backends.location.clone(), ambient.clone());
        let tokens = Tokens::new(SECRET, ambient).expect("a good secret");
        let settings = Settings { push_to_create: Some(Visibility::Public), ids: self.ids, ..Settings::default() };
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let note = move |line: &str| {
            lines.lock().expect("no line failed").push(serde_json::from_str(line).expect("a line is JSON"));
        };
        Process {
            hub: Hub {
                store: Arc::new(store),
                tokens: Arc::new(OnceCell::new_with(Some(tokens))),
                issuer: None,
                settings,
                log: RequestLog::to(note),
            },
            tap,
            secret: SECRET.to_owned(),
            log,
            lambda_time: None,
        }
    }

    /// What ids are here.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// Deletes what S3 has under a key.
    pub async fn delete(&self, key: &str) {
        let _clock = stop_clock();
        let delete = self.s3().delete_object().bucket(&self.backends.location.bucket).key(key);
        delete.send().await.expect("the store answers");
    }

    /// Puts something else under a key in S3.
    pub async fn put(&self, key: &str, content: Bytes) {
        let _clock = stop_clock();
        let put = self.s3().put_object().bucket(&self.backends.location.bucket).key(key);
        put.body(content.into()).send().await.expect("the store answers");
    }

    /// Deletes an item of the table.
    pub async fn delete_item(&self, pk: &str, sk: &str) {
        let _clock = stop_clock();
        let client = aws_sdk_dynamodb::Client::new(&self.backends.dynamodb);
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let delete = client.delete_item().table_name(&self.backends.location.table);
        delete.key("pk", text(pk)).key("sk", text(sk)).send().await.expect("the store answers");
    }

    /// Puts an item that says nothing but its key.
    pub async fn put_bare_item(&self, pk: &str, sk: &str) {
        let _clock = stop_clock();
        let client = aws_sdk_dynamodb::Client::new(&self.backends.dynamodb);
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let put = client.put_item().table_name(&self.backends.location.table);
        put.item("pk", text(pk)).item("sk", text(sk)).send().await.expect("the store answers");
    }

    /// The keys of everything that S3 has with this prefix, and the bytes of it.
    pub async fn stored(&self, prefix: &str) -> BTreeMap<String, u64> {
        let _clock = stop_clock();
        let list = self.s3().list_objects_v2().bucket(&self.backends.location.bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut stored = BTreeMap::new();
        while let Some(page) = pages.next().await {
            for object in page.expect("the store answers").contents() {
                let size = u64::try_from(object.size().expect("a size")).expect("no less than nothing");
                stored.insert(object.key().expect("a key").to_owned(), size);
            }
        }
        stored
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.backends.s3).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Fails unless a process that has just started finds exactly these branches, and behind them exactly the history
    /// that they reach in `whole`.
    #[track_caller]
    pub fn assert_holds<'a>(
        &'a self,
        slug: &'a str,
        whole: &'a History,
        heads: &'a BTreeMap<String, String>,
    ) -> impl Future<Output = ()> + 'a {
        let process = self.process();
        async move {
            assert_eq!(&process.heads(slug).await, heads);
            let want: BTreeSet<&String> = heads.values().collect();
            let want: Vec<&String> = want.into_iter().collect();
            let fetched = process.fetch::<_, &str>(slug, &want, &[]).await.expect("a whole answer").expect(200);
            let fetched = Pack::from_value(&fetched).expect("a fetch's answer");
            assert_eq!(&fetched.branch_heads, heads);
            assert_is(whole, &want, &fetched);
        }
    }
}

/// PUTs bytes where a hub said, as a client does: past every process.
pub async fn put(url: &str, content: impl Into<Bytes>) {
    let _clock = stop_clock();
    put_well(url, content).await;
}

/// Fails unless what was fetched is exactly what these commits reach in `whole`.
pub fn assert_is(whole: &History, tips: &[impl AsRef<str>], fetched: &Pack) {
    verify::pack(fetched, &History::default()).expect("an answer that holds together");
    let mut expected = History::default();
    expected.absorb(&whole.pack(&whole.between::<_, &str>(tips, &[])));
    verify::same_history(&expected, fetched, OWNER).expect("what was pushed");
}

impl Process {
    /// Compacts a repo.
    pub async fn compact(&self, slug: &str, limits: Limits) -> Result<Compaction, StoreError> {
        let (owner, name) = (OWNER.parse().unwrap(), slug.parse().unwrap());
        let find = Box::pin(self.hub.store.find_repo(&owner, &name, Load::NOTHING));
        // For the test, which may be within a call of another run.
        let repo = span::run_as("none", self.hub.store.ambient(), find).await?.expect("a repo");
        // As the function does it.
        let run = Box::pin(self.hub.store.compact(&repo.id, limits));
        span::run_as("compact", self.hub.store.ambient(), run).await
    }

    /// Lets one call of a run go as the reaction says. They are counted from the first query: before it the repo's name is looked up,
    /// for the test.
    pub fn script_nth(&self, position: usize, reaction: impl FnOnce(&Call) -> Reaction + Send + 'static) {
        let (mut number, mut has_begun, mut reaction) = (0, false, Some(reaction));
        self.tap.script(move |call| {
            has_begun |= call.name.starts_with("Query");
            number += usize::from(has_begun);
            match reaction.take_if(|_| number == position + 1) {
                Some(reaction) => reaction(call),
                None => Reaction::Forward,
            }
        });
    }

    /// Has something else happen before its next transaction.
    pub fn before_transaction(&self, meanwhile: impl Future<Output = ()> + Send + 'static) {
        let mut meanwhile = Some(Box::pin(meanwhile));
        self.tap.script(move |call| match meanwhile.take_if(|_| call.is_transaction()) {
            Some(meanwhile) => Reaction::After(meanwhile),
            None => Reaction::Forward,
        });
    }

    /// Has something else happen before the call of this number; if that is a transaction which is not `heard` of, after it and
    /// in place of its answer. Returns whether it came to that.
    pub fn interrupt(
        &self,
        position: usize,
        is_heard: bool,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<AtomicBool> {
        let has_run = Arc::new(AtomicBool::new(false));
        let ran = Arc::clone(&has_run);
        let (mut number, mut meanwhile) = (0, Some(Box::pin(meanwhile)));
        self.tap.script(move |call| {
            number += 1;
            let Some(meanwhile) = meanwhile.take_if(|_| number == position + 1) else {
                return Reaction::Forward;
            };
            let ran = Arc::clone(&ran);
            let meanwhile = async move {
                meanwhile.await;
                ran.store(true, Ordering::Relaxed);
            };
            if call.is_transaction() && !is_heard {
                let lost = async move {
                    meanwhile.await;
                    std::future::pending::<()>().await;
                };
                return Reaction::Between(Box::pin(async {}), Box::pin(lost));
            }
            Reaction::After(Box::pin(meanwhile))
        });
        has_run
    }

    /// Collects the garbage of a repo.
    pub async fn collect(&self, slug: &str, limits: garbage::Limits) -> Result<Collection, StoreError> {
        let (owner, name) = (OWNER.parse().unwrap(), slug.parse().unwrap());
        let find = Box::pin(self.hub.store.find_repo(&owner, &name, Load::NOTHING));
        let repo = span::run_as("none", self.hub.store.ambient(), find).await?.expect("a repo");
        let run = Box::pin(self.hub.store.collect(&repo.id, limits));
        span::run_as("compact", self.hub.store.ambient(), run).await
    }

    /// Erases what was purged from a repo.
    pub async fn erase(&self, slug: &str) -> Result<Option<Erased>, StoreError> {
        let (owner, name) = (OWNER.parse().unwrap(), slug.parse().unwrap());
        let find = Box::pin(self.hub.store.find_repo(&owner, &name, Load::NOTHING));
        let repo = span::run_as("none", self.hub.store.ambient(), find).await?.expect("a repo");
        let run = Box::pin(self.hub.store.erase(&repo.id));
        span::run_as("compact", self.hub.store.ambient(), run).await
    }

    /// `POST /api/repos/{owner}/{slug}/purge`
    pub async fn purge<I: AsRef<str>>(&self, slug: &str, ids: &[I]) -> Answer {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let body = json!({"objects": ids, "reason": "it leaked"});
        self.post_as(USER, slug, &format!("/api/repos/{OWNER}/{slug}/purge"), &body).await
    }

    /// What `GET` of the same says.
    pub async fn purged(&self, slug: &str) -> Value {
        let request = http::Request::get(format!("/api/repos/{OWNER}/{slug}/purge"));
        let answer = self.send(Function::Repos, USER, request, &[("slug", slug)], Vec::new()).await;
        answer.expect("a whole answer").expect(200)
    }

    /// A POST of JSON about a repo to this path of `functions/repos`, which looks at it.
    pub async fn post_as(&self, user: &str, slug: &str, path: &str, body: &Value) -> Answer {
        let encoding = Encoding::Json;
        let request = http::Request::post(path).header("content-type", encoding.content_type());
        let sent = self.send(Function::Repos, user, request, &[("slug", slug)], encoding.encode(body)).await;
        sent.expect("a whole answer")
    }

    /// A request to `/api/repos/{owner}/{slug}` and what comes behind that, by a user or without a token.
    pub async fn at_repo(&self, user: Option<&str>, method: Method, slug: &str, rest: &str, body: &Value) -> Answer {
        let token = user.map(|user| self.token_of(user));
        let request = http::Request::builder().method(method).uri(format!("/api/repos/{OWNER}/{slug}{rest}"));
        let mut request = request.header("content-type", Encoding::Json.content_type());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() { Vec::new() } else { Encoding::Json.encode(body) };
        let function = if rest == "/forks" { Function::Forks } else { Function::Repos };
        whole(self.begin(function, request, &[("slug", slug)], body).await).await.expect("a whole answer")
    }

    /// `GET /api/repos` with this query, by a user or without a token.
    pub async fn list_repos(&self, user: Option<&str>, query: &str) -> Answer {
        let mut request = http::Request::get(format!("/api/repos?{query}"));
        if let Some(user) = user {
            request = request.header("authorization", format!("Bearer {}", self.token_of(user)));
        }
        whole(self.begin(Function::Repos, request, &[], Vec::new()).await).await.expect("a whole answer")
    }

    /// Gives a user a role in a repo of the owner's.
    pub async fn make_member(&self, slug: &str, user: &str, role: Role) {
        let id: RepoId = self.repo_id(slug).await.parse().expect("an id");
        let item = encode(&Key::member(&id, user), &MemberItem { role, handle: None, given_by: None, given_at: None })
            .expect("an item");
        self.hub.store.put_items(vec![item]).await.expect("the store answers");
    }

    /// `POST /api/repos`
    pub async fn make_repo(&self, slug: &str) -> Answer {
        self.call(Function::Repos, slug, Encoding::Json, &json!({"name": slug})).await.expect("a whole answer")
    }

    /// `POST /api/repos` of a repo that is for its owner alone.
    pub async fn make_private_repo(&self, slug: &str) -> Answer {
        let body = json!({"name": slug, "is_private": true});
        self.call(Function::Repos, slug, Encoding::Json, &body).await.expect("a whole answer")
    }

    /// `POST /api/identities` of any user.
    pub async fn claim_handle(&self, user: &str, handle: &str) -> Answer {
        let body = json!({"handle": handle});
        self.call_as(user, Function::Identities, "", Encoding::Json, &body).await.expect("a whole answer")
    }

    /// `GET /refs`
    pub async fn refs(&self, slug: &str) -> Answer {
        self.call(Function::Refs, slug, Encoding::Json, &Value::Null).await.expect("a whole answer")
    }

    /// The branches that `GET /refs` names; none where there is no repo.
    pub async fn heads(&self, slug: &str) -> BTreeMap<String, String> {
        let answer = self.refs(slug).await;
        if answer.status == 404 {
            BTreeMap::new()
        } else {
            map_of_text(&answer.expect(200), "branch_heads").expect("heads")
        }
    }

    /// `POST /push`
    pub async fn push(&self, slug: &str, branch: &str, force: bool, bundle: &Pack) -> Answer {
        let body = json!({"bundle": bundle.to_value(), "branch": branch, "force": force});
        self.call(Function::Push, slug, Encoding::Msgpack, &body).await.expect("a whole answer")
    }

    /// `POST /push` of what `tip` reaches and `have` doesn't, as a client that knows `have` to be there sends it.
    pub async fn push_onto(&self, slug: &str, branch: &str, history: &History, have: &[&str], tip: &str) -> Answer {
        let bundle = history.pack(&history.between(&[tip], have)).with_head(branch, tip);
        self.push(slug, branch, false, &bundle).await
    }

    /// `POST /push` of several branches.
    pub async fn push_together(&self, slug: &str, bundle: &Pack, updates: &[Value]) -> Answer {
        let body = json!({"bundle": bundle.to_value(), "updates": updates});
        self.call(Function::Push, slug, Encoding::Json, &body).await.expect("a whole answer")
    }

    /// `POST /push/objects`
    pub async fn push_objects(&self, slug: &str, objects: &[Object]) -> Answer {
        let body = objects_body(objects);
        self.call(Function::PushObjects, slug, Encoding::Msgpack, &body).await.expect("a whole answer")
    }

    /// `POST /fetch`: the answer, unless it is cut off.
    pub async fn fetch<W: AsRef<str>, H: AsRef<str>>(
        &self,
        slug: &str,
        want: &[W],
        have: &[H],
    ) -> Result<Answer, CutOff> {
        self.fetch_as(Encoding::Msgpack, slug, want, have).await
    }

    /// `POST /fetch` in this encoding.
    pub async fn fetch_as<W: AsRef<str>, H: AsRef<str>>(
        &self,
        encoding: Encoding,
        slug: &str,
        want: &[W],
        have: &[H],
    ) -> Result<Answer, CutOff> {
        let want: Vec<&str> = want.iter().map(AsRef::as_ref).collect();
        let have: Vec<&str> = have.iter().map(AsRef::as_ref).collect();
        self.call(Function::Fetch, slug, encoding, &json!({"want": want, "have": have})).await
    }

    /// `POST /presign` for the URL to PUT an object to.
    pub async fn put_url(&self, slug: &str, id: &str) -> String {
        self.presigned("put", slug, &[id]).await.remove(id).expect("a URL")
    }

    /// The URLs that `POST /presign` gives out for these.
    pub async fn presigned<I: AsRef<str>>(&self, direction: &str, slug: &str, ids: &[I]) -> BTreeMap<String, String> {
        map_of_text(&self.presign(direction, slug, ids).await.expect(200), "presigned").expect("URLs")
    }

    /// `POST /presign`
    pub async fn presign<I: AsRef<str>>(&self, direction: &str, slug: &str, ids: &[I]) -> Answer {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let body = json!({"object_ids": ids, "direction": direction, "ttl_seconds": 3_600});
        self.call(Function::Presign, slug, Encoding::Json, &body).await.expect("a whole answer")
    }

    /// `POST /filter-objects`
    pub async fn filter<I: AsRef<str>>(&self, slug: &str, ids: &[I]) -> Answer {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let body = json!({"object_ids": ids});
        self.call(Function::FilterObjects, slug, Encoding::Json, &body).await.expect("a whole answer")
    }

    /// The ids that `POST /filter-objects` says are missing.
    pub async fn missing<I: AsRef<str>>(&self, slug: &str, ids: &[I]) -> Vec<String> {
        list_of_text(&self.filter(slug, ids).await.expect(200), "missing").expect("ids")
    }

    /// `GET /refs`, `repo_id` only.
    pub async fn repo_id(&self, slug: &str) -> String {
        self.refs(slug).await.expect(200)["repo_id"].as_str().expect("an id").to_owned()
    }

    /// `GET /o/{object_id}` of all of an object: the answer, unless it is cut off.
    pub async fn object(&self, repo_id: &str, id: &str) -> Result<Answer, CutOff> {
        self.object_part(repo_id, id, None).await
    }

    /// `GET /o/{object_id}` with this `Range`.
    pub async fn object_part(&self, repo_id: &str, id: &str, range: Option<&str>) -> Result<Answer, CutOff> {
        let mut request = http::Request::get(format!("/?repo_id={repo_id}"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        self.send(Function::Object, USER, request, &[("object_id", id)], Vec::new()).await
    }

    /// What makes tokens for it, without its having been asked.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(&self.secret, self.hub.store.ambient().clone()).expect("a good secret")
    }

    /// `GET /health` with this query, as an operator.
    pub async fn health(&self, query: &str) -> Answer {
        let token = self.tokens().mint_admin(USER, Duration::from_secs(86_400)).expect("a token");
        let request = http::Request::get(format!("/health?{query}"));
        self.send_with(&token, Function::Health, request, &[], Vec::new()).await.expect("a whole answer")
    }

    /// `GET /refs` with this token.
    pub async fn refs_with(&self, token: &str, slug: &str) -> Answer {
        let request = http::Request::get("/");
        self.send_with(token, Function::Refs, request, &[("slug", slug)], Vec::new()).await.expect("a whole answer")
    }

    /// Calls a function about a repo of the owner's as a client with this token, or without one, who posts this if it is
    /// anything.
    pub async fn ask(&self, token: Option<&str>, function: Function, slug: &str, body: Option<&Value>) -> Answer {
        let (request, body) = match body {
            Some(body) => (post(Encoding::Json), Encoding::Json.encode(body)),
            None => (http::Request::get("/"), Vec::new()),
        };
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        whole(self.begin(function, request, &[("slug", slug)], body).await).await.expect("a whole answer")
    }

    /// `POST /uploads`
    pub async fn start_upload(&self, slug: &str) -> Answer {
        self.call(Function::Uploads, slug, Encoding::Json, &Value::Null).await.expect("a whole answer")
    }

    /// `POST /uploads`, and a body PUT where that says. Answers with the upload's id.
    pub async fn put_body(&self, slug: &str, body: impl Into<Bytes>) -> String {
        let upload = self.start_upload(slug).await.expect(200);
        put(upload["url"].as_str().expect("a URL"), body).await;
        upload["upload_id"].as_str().expect("an id").to_owned()
    }

    /// A POST whose body was PUT before.
    pub async fn call_by_reference(&self, function: Function, slug: &str, encoding: Encoding, upload: &str) -> Answer {
        let request = http::Request::post("/")
            .header("content-type", encoding.content_type())
            .header("accept", encoding.accept())
            .header("muse-body-upload", upload);
        self.send(function, USER, request, &[("slug", slug)], Vec::new()).await.expect("a whole answer")
    }

    /// `POST /tags`
    pub async fn post_tags(&self, slug: &str, tags: &Value) -> Answer {
        self.call(Function::Tags, slug, Encoding::Json, &json!({"tags": tags})).await.expect("a whole answer")
    }

    /// `POST /releases`
    pub async fn post_release(&self, slug: &str, release: &Value) -> Answer {
        self.call(Function::Releases, slug, Encoding::Json, release).await.expect("a whole answer")
    }

    /// `DELETE /releases/{tag}`
    pub async fn delete_release(&self, slug: &str, tag: &str) -> Answer {
        let request = http::Request::builder().method(Method::DELETE).uri("/");
        let parameters = [("slug", slug), ("tag", &percent_encoded(tag))];
        self.send(Function::Releases, USER, request, &parameters, Vec::new()).await.expect("a whole answer")
    }

    /// `DELETE /webhooks/{id}`
    pub async fn delete_webhook(&self, slug: &str, id: &str) -> Answer {
        let request = http::Request::builder().method(Method::DELETE).uri("/");
        let parameters = [("slug", slug), ("id", id)];
        self.send(Function::Webhooks, USER, request, &parameters, Vec::new()).await.expect("a whole answer")
    }

    /// What is to be done with a branch, by any user: what stands behind its path begins with a slash, if it is anything.
    pub async fn branch(
        &self,
        user: &str,
        method: Method,
        slug: &str,
        branch: &str,
        rest: &str,
        body: &Value,
    ) -> Answer {
        let encoded = percent_encoded(branch);
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/api/repos/{OWNER}/{slug}/branches/{encoded}{rest}"))
            .header("content-type", Encoding::Json.content_type());
        let parameters = [("slug", slug), ("branch", encoded.as_str())];
        let body = if body.is_null() { Vec::new() } else { Encoding::Json.encode(body) };
        // A restoring is a push.
        let function = if rest == "/restore" { Function::Push } else { Function::Branches };
        self.send(function, user, request, &parameters, body).await.expect("a whole answer")
    }

    /// The lines of a branch in the push log, the newest first, as `GET …/log` has them.
    pub async fn log(&self, slug: &str, branch: &str) -> Vec<Value> {
        let branch = percent_encoded(branch);
        let request = http::Request::get(format!("/api/repos/{OWNER}/{slug}/log?limit=1000&branch={branch}"));
        let answer = self.send(Function::Branches, USER, request, &[("slug", slug)], Vec::new()).await;
        answer.expect("a whole answer").expect(200)["log"].as_array().expect("a list").clone()
    }

    /// `POST …/restore` by any user: to where the branch was before, or to this commit.
    pub async fn restore(&self, user: &str, slug: &str, branch: &str, to: Option<&str>) -> Answer {
        let body = to.map_or(Value::Null, |to| json!({"to": to}));
        self.branch(user, Method::POST, slug, branch, "/restore", &body).await
    }

    /// `PUT …/protection` by the owner.
    pub async fn protect(&self, slug: &str, branch: &str, protected: bool, admins_only: bool) -> Answer {
        let body = json!({"protected": protected, "admins_only": admins_only});
        self.branch(USER, Method::PUT, slug, branch, "/protection", &body).await
    }

    /// `DELETE …/branches/{branch}` by any user.
    pub async fn delete_branch(&self, user: &str, slug: &str, branch: &str) -> Answer {
        self.branch(user, Method::DELETE, slug, branch, "", &Value::Null).await
    }

    /// `POST /push` of nothing but where a branch is to go, by any user.
    pub async fn move_as(&self, user: &str, slug: &str, branch: &str, force: bool, to: &str) -> Answer {
        let bundle = Pack::default().with_head(branch, to);
        let body = json!({"bundle": bundle.to_value(), "branch": branch, "force": force});
        self.call_as(user, Function::Push, slug, Encoding::Json, &body).await.expect("a whole answer")
    }

    /// A GET about a repo of the owner's.
    pub async fn get(&self, function: Function, slug: &str) -> Answer {
        self.send(function, USER, http::Request::get("/"), &[("slug", slug)], Vec::new()).await.expect("a whole answer")
    }

    /// A GET of one of the several paths that a function answers.
    pub async fn get_at(&self, function: Function, path: &str, slug: &str) -> Answer {
        self.send(function, USER, http::Request::get(path), &[("slug", slug)], Vec::new())
            .await
            .expect("a whole answer")
    }

    /// A page of this path, as a browser of the owner's asks for it.
    pub async fn page(&self, path: &str) -> Answer {
        self.page_if_none_match(path, "").await
    }

    /// The same, of a browser that has the page of this `ETag`.
    pub async fn page_if_none_match(&self, path: &str, etag: &str) -> Answer {
        let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
        let parameters = |pattern: &'static str| {
            let mut found = Vec::new();
            let names: Vec<&'static str> = pattern.split('/').collect();
            for (position, name) in names.iter().enumerate() {
                match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if name.ends_with('+') => {
                        found.push((name.trim_end_matches('+'), parts.get(position..)?.join("/")));
                        return Some(found);
                    }
                    Some(name) => found.push((name, (*parts.get(position)?).to_owned())),
                    None if parts.get(position) == Some(name) => {}
                    None => return None,
                }
            }
            (names.len() == parts.len()).then_some(found)
        };
        let pages = ROUTES.iter().filter(|route| route.function == Function::Web);
        let found = pages.filter_map(|route| parameters(route.path)).next().expect("a page");
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = http::Request::get(path).header("accept", "text/html").header("if-none-match", etag);
        self.send(Function::Web, USER, request, &found, Vec::new()).await.expect("a whole answer")
    }

    /// Calls a function about a repo of the owner's: its answer, unless it is cut off.
    pub async fn call(
        &self,
        function: Function,
        slug: &str,
        encoding: Encoding,
        body: &Value,
    ) -> Result<Answer, CutOff> {
        self.call_as(USER, function, slug, encoding, body).await
    }

    async fn call_as(
        &self,
        user: &str,
        function: Function,
        slug: &str,
        encoding: Encoding,
        body: &Value,
    ) -> Result<Answer, CutOff> {
        self.send(function, user, post(encoding), &[("slug", slug)], encoding.encode(body)).await
    }

    /// Of a path the functions look at nothing but its parameters, which a front door reads.
    async fn send(
        &self,
        function: Function,
        user: &str,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, CutOff> {
        self.send_with(&self.token_of(user), function, request, parameters, body).await
    }

    async fn send_with(
        &self,
        token: &str,
        function: Function,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, CutOff> {
        whole(self.begin_with(token, function, request, parameters, body).await).await
    }

    async fn begin_with(
        &self,
        token: &str,
        function: Function,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<AnswerBody> {
        self.begin(function, request.header("authorization", format!("Bearer {token}")), parameters, body).await
    }

    async fn begin(
        &self,
        function: Function,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<AnswerBody> {
        let mut request = request.body(Body::Binary(body)).expect("a request");
        let parameters: Vec<_> = parameters.iter().chain(&[("owner", OWNER)]).collect();
        let route = ROUTES.iter().find(|route| route.function == function && route.method == *request.method());
        if let Some(route) = route.filter(|_| request.uri().path() == "/") {
            let path = parameters
                .iter()
                .fold(route.path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
            let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
            *request.uri_mut() = (path + &query).parse().expect("a path");
        }
        if let Some(time) = self.lambda_time {
            let mut context = lambda_http::Context::default();
            let deadline = self.hub.store.ambient().now() + time;
            context.deadline = u64::try_from(deadline.as_millisecond()).expect("after 1970");
            request = request.with_lambda_context(context);
        }
        let parameter = |(name, value): &&(&str, &str)| ((*name).to_owned(), vec![(*value).to_owned()]);
        let path: HashMap<String, Vec<String>> = parameters.iter().map(parameter).collect();
        local::functions::call(function, &self.hub, request.with_path_parameters(path)).await
    }

    fn token_of(&self, user: &str) -> String {
        self.tokens().mint(user, Duration::from_secs(86_400)).expect("a token")
    }

    /// A clone of which nothing is read yet.
    pub async fn begin_clone(&self, slug: &str, tip: &str) -> Response<AnswerBody> {
        self.begin_clone_as(USER, slug, tip).await
    }

    /// The same by any user.
    pub async fn begin_clone_as(&self, user: &str, slug: &str, tip: &str) -> Response<AnswerBody> {
        let body = Encoding::Msgpack.encode(&json!({"want": [tip], "have": []}));
        self.begin_with(&self.token_of(user), Function::Fetch, post(Encoding::Msgpack), &[("slug", slug)], body).await
    }
}

fn post(encoding: Encoding) -> http::request::Builder {
    http::Request::post("/").header("content-type", encoding.content_type()).header("accept", encoding.accept())
}

async fn whole(response: Response<AnswerBody>) -> Result<Answer, CutOff> {
    let (head, body) = response.into_parts();
    let body: Bytes = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}
