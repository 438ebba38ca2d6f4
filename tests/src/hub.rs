//! A hub to test: one started for the test, or the one that `MUSEHUB_URL` names.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use local::backends::Backends;
use local::serve::{
    AnonymousReads, BODY_MEMORY, Ids, IssuerSettings, Options, Quotas, Reach, RequestLog, Running, Storage,
    WRITE_TIMEOUT, Webhooks,
};
use serde_json::{Value, json};

use crate::client::{Answer, Remote, send};
use crate::encoding::Encoding;
use crate::{record, stores, token};

/// The user that every hub here knows.
const DEV: &str = "user-dev";

/// What the hubs that are started here check tokens with.
pub const SECRET: &str = "a secret of the test kit, long enough for HS256";

/// A hub, and how to sign tokens for it.
pub struct Hub {
    url: String,
    secret: String,
    running: Option<Running>,
    /// Whether it could as well be elsewhere: then all that may be looked at is what it answers.
    is_any: bool,
    /// What it keeps everything in, if the environment names that.
    named: Option<Backends>,
}

/// A user with a handle.
#[derive(Clone, Debug)]
pub struct User {
    /// The `sub` of their token.
    pub id: String,
    /// The first part of their repos' paths.
    pub handle: String,
    /// A good token.
    pub token: String,
}

/// A hub in memory, on any port.
pub fn options() -> Options {
    Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        storage: Storage::Memory,
        lambda_limits: false,
        most_streamed: None,
        ids: Ids::Strict,
        public_url: None,
        quotas: Quotas::default(),
        hosts: Vec::new(),
        body_memory: BODY_MEMORY,
        write_timeout: WRITE_TIMEOUT,
        // What a test has pushed is merged while it goes on, or it would meet the merging at any time.
        merge_window: Duration::ZERO,
        anonymous_reads: AnonymousReads::Full,
        secret: Some(SECRET.to_owned()),
        issuer: None,
        log: RequestLog::default(),
        webhooks: Some(Webhooks { reach: Reach::Anywhere, first_pause: Duration::from_millis(20) }),
    }
}

impl Hub {
    /// The hub that `MUSEHUB_URL` and `MUSEHUB_SECRET` name, or else a fresh one in memory.
    ///
    /// A hub that is named needs push-to-create for nothing: repos are made through its API, and so is the user `dev`.
    pub async fn start() -> Hub {
        let Ok(url) = std::env::var("MUSEHUB_URL") else {
            return Hub { is_any: true, ..Hub::start_own(Storage::Memory, false).await };
        };
        let secret = std::env::var("MUSEHUB_SECRET").expect("MUSEHUB_SECRET comes with MUSEHUB_URL");
        let hub = Hub { url: url.trim_end_matches('/').to_owned(), secret, running: None, is_any: true, named: None };
        let named = hub.post("api/identities", Some(&hub.token(DEV)), &json!({"handle": "dev"})).await;
        assert!([201, 409].contains(&named.status), "{}", named.excerpt());
        hub
    }

    /// A fresh hub, also where the environment names one: for tests of starting, stopping and settings. What is to be in memory
    /// is in the [`stores`], which the environment may name.
    pub async fn start_own(storage: Storage, lambda_limits: bool) -> Hub {
        Hub::start_with(Options { storage, lambda_limits, ..options() }).await
    }

    /// A fresh hub behind Lambda's limits, of which an answer that streams has at most these bytes.
    pub async fn start_streaming(most: u64) -> Hub {
        Hub::start_with(Options { lambda_limits: true, most_streamed: Some(most), ..options() }).await
    }

    /// A fresh hub of which repos and users hold no more than this.
    pub async fn start_bounded(quotas: Quotas) -> Hub {
        Hub::start_with(Options { quotas, ..options() }).await
    }

    /// A fresh hub whose log of requests goes to `sink`, line by line.
    pub async fn start_logged(lambda_limits: bool, sink: impl Fn(&str) + Send + Sync + 'static) -> Hub {
        Hub::start_with(Options { lambda_limits, log: RequestLog::to(sink), ..options() }).await
    }

    /// A fresh hub whose webhooks lead to the public internet alone, as they do unless its operator says otherwise.
    pub async fn start_with_public_webhooks() -> Hub {
        let webhooks = Webhooks { reach: Reach::Public, first_pause: Duration::from_millis(20) };
        Hub::start_with(Options { webhooks: Some(webhooks), ..options() }).await
    }

    /// A hub on a data folder that delivers nothing to webhooks.
    pub async fn start_without_webhooks(folder: &Path) -> Hub {
        Hub::start_with(Options { storage: Storage::Directory(folder.to_owned()), webhooks: None, ..options() }).await
    }

    /// A fresh hub with this number of mebibytes for the bodies of requests.
    pub async fn start_with_body_memory(mebibytes: usize) -> Hub {
        Hub::start_with(Options { body_memory: mebibytes, ..options() }).await
    }

    /// A fresh hub that hangs up on who is behind with reading for so long, and logs requests to `sink`.
    pub async fn start_impatient(write_timeout: Duration, sink: impl Fn(&str) + Send + Sync + 'static) -> Hub {
        Hub::start_with(Options { write_timeout, log: RequestLog::to(sink), ..options() }).await
    }

    /// A fresh hub that gives this much to clients without a token.
    pub async fn start_giving(anonymous_reads: AnonymousReads) -> Hub {
        Hub::start_with(Options { anonymous_reads, ..options() }).await
    }

    /// A fresh hub that takes the tokens of an issuer of its users.
    pub async fn start_with_issuer(issuer: IssuerSettings) -> Hub {
        Hub::start_with(Options { issuer: Some(issuer), ..options() }).await
    }

    /// A fresh hub that is reached at these hosts too.
    pub async fn start_called(hosts: &[&str]) -> Hub {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Hub::start_with(Options { hosts, ..options() }).await
    }

    /// A fresh hub with ids that are opaque.
    pub async fn start_lenient() -> Hub {
        Hub::start_with(Options { ids: Ids::Lenient, ..options() }).await
    }

    async fn start_with(mut options: Options) -> Hub {
        record::calls();
        let mut named = None;
        if matches!(options.storage, Storage::Memory) && stores::are_named() {
            let backends = stores::start(SECRET).await;
            options.storage = Storage::Elsewhere(Box::new(stores::elsewhere(&backends)));
            named = Some(backends);
        }
        let running = local::serve::start(options).await.expect("the hub starts");
        let (url, secret) = (running.url().to_owned(), running.secret().to_owned());
        Hub { url, secret, running: Some(running), is_any: false, named }
    }

    /// Ends it, if it was started here.
    pub async fn stop(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
        if let Some(named) = self.named {
            named.stop().await;
        }
    }

    /// The hub as it runs in this process. It has to be one of the test's own, so that the test passes wherever the others run.
    pub fn running(&self) -> &Running {
        assert!(!self.is_any, "a test that looks into a hub starts one of its own");
        self.running.as_ref().expect("a hub that was started here")
    }

    /// Without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it checks tokens with.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether it runs inside this process.
    pub fn is_own(&self) -> bool {
        self.running.is_some()
    }

    /// A good token of any user id, with a handle or not.
    pub fn token(&self, user: &str) -> String {
        token::access(&self.secret, user)
    }

    /// The user with the handle `dev`.
    pub fn dev(&self) -> User {
        User { id: DEV.to_owned(), handle: "dev".to_owned(), token: self.token(DEV) }
    }

    /// A new user, with a handle.
    pub async fn user(&self) -> User {
        let (id, handle) = (format!("user-{}", fresh_name("u")), fresh_name("h"));
        let token = self.token(&id);
        self.post("api/identities", Some(&token), &json!({"handle": handle})).await.expect(201);
        User { id, handle, token }
    }

    /// A public repo of `dev` that nothing was ever pushed to. Where the hub was started here, the first push makes it.
    pub async fn repo(&self) -> Remote {
        let dev = self.dev();
        if self.is_own() { self.remote(&dev, &fresh_name("song")) } else { self.made_repo(&dev, false).await }
    }

    /// A repo of `owner` made through `POST /api/repos`.
    pub async fn made_repo(&self, owner: &User, is_private: bool) -> Remote {
        let remote = self.remote(owner, &fresh_name("song"));
        self.make(&remote, is_private).await.expect(201);
        remote
    }

    /// Makes the repo that this remote of its owner points to.
    pub async fn make(&self, remote: &Remote, is_private: bool) -> Answer {
        self.post("api/repos", remote.token.as_deref(), &json!({"name": remote.slug, "is_private": is_private})).await
    }

    /// What `owner` would have as a remote for a repo of theirs.
    pub fn remote(&self, owner: &User, slug: &str) -> Remote {
        Remote {
            hub: self.url.clone(),
            owner: owner.handle.clone(),
            slug: slug.to_owned(),
            token: Some(owner.token.clone()),
            encoding: Encoding::Json,
        }
    }

    /// A GET below the hub's root.
    pub async fn get(&self, path: &str) -> Answer {
        send("GET", &format!("{}/{path}", self.url), &[], "").await.expect("the hub answers")
    }

    /// A POST of JSON below the hub's root.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.post_bytes(path, token, Encoding::Json, Encoding::Json.encode(body)).await
    }

    /// A POST below the hub's root of bytes that claim to be in `encoding`.
    pub async fn post_bytes(&self, path: &str, token: Option<&str>, encoding: Encoding, body: Vec<u8>) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", encoding.content_type())];
        headers.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
        send("POST", &format!("{}/{path}", self.url), &headers, body).await.expect("the hub answers")
    }

    /// Fails unless the hub still does its work: it is healthy, and takes a push and gives it back.
    pub async fn assert_well(&self) {
        assert_eq!(self.get("health").await.expect(200)["status"], "ok");
        let history = crate::history::linear(1, 2, 3, 1);
        let remote = self.repo().await;
        remote.push(&history, "main", history.last()).await.expect(200);
        let cloned = remote.anonymous().clone_all().await;
        crate::verify::same_history(&history, &cloned, "dev").expect("the history that was pushed");
    }
}

/// Asks until it is so, for half a minute at most.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async { while !is_so().await {} };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("it comes to be so");
}

/// A name that no test and no earlier run has used, fit for a slug or a handle.
pub fn fresh_name(kind: &str) -> String {
    format!("{kind}-{:016x}", rand::random::<u64>())
}
