//! The processes of one deployment over one pair of stores, and how clients reach them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use common::id::RepoId;
use common::wire::error::with_causes;
use http_body_util::BodyExt;
use jiff::Timestamp;
use lambda_http::{Body, RequestExt};
use local::backends::ACCESS_KEY;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use service::Hub;
use service::Settings;
use service::auth::Tokens;
use service::observe::RequestLog;
use service::routes::Function;
use store::ambient::Ambient;
use store::repo::Load;
use store::span;
use store::table::account::Claim;
use store::{Store, StoreError};
use tests::client::Answer;
use tests::encoding::Encoding;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::model::Model;
use crate::network::{Life, Line, Network};
use crate::profile::{Profile, Weather};
use crate::stores::{SECRET_KEY, Stores};

/// The user that all clients are, unless they use what was given to another, and its handle.
const USER: &str = "user-sim";
/// The handle.
pub const OWNER: &str = "sim";
/// The repository. Requests by this name go by any that leads to it.
pub const SLUG: &str = "song";
/// What it may be called.
pub const NAMES: [&str; 4] = [SLUG, "tune", "air", "ballad"];
/// The handles of those who are members at times.
pub const GUESTS: [&str; 2] = ["guest-0", "guest-1"];
const SECRET: &str = "a secret of the simulation, long enough";
/// What the clock shows when a run begins.
const START: Timestamp = Timestamp::constant(1_750_000_000, 0);

/// For how long a user's own token is good: longer than any run, as those that it mints are.
const TOKEN_LASTS: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// What should not have happened.
pub type Violation = String;

/// As whom a request is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// The owner of the repository.
    Owner,
    /// The user of this handle.
    Guest(&'static str),
    /// Who has a token that the owner has minted.
    Token(String),
    /// Who sends no token.
    Nobody,
}

/// A fork of the repository, be it there or not.
#[derive(Clone, Debug)]
pub struct Fork {
    /// What it is called.
    pub slug: String,
    /// As of which moment it has what it has.
    pub asked: (u64, Duration),
    /// What it is and where its branches are, once that was seen.
    pub seen: Option<(RepoId, BTreeMap<String, String>)>,
}

/// A token or a link, be it revoked or not.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// What opens the repository.
    pub secret: String,
}

/// One run's world.
pub struct World {
    /// What the run is like.
    pub profile: Profile,
    /// The network.
    pub network: Network,
    processes: Mutex<Vec<Process>>,
    model: Mutex<Model>,
    random: Mutex<StdRng>,
    origin: Instant,
    /// The repository's id.
    pub repo: OnceCell<RepoId>,
    /// When erasures began and ended, which delete files that requests are reading.
    erasures: Mutex<Vec<(Instant, Option<Instant>)>>,
    /// The names that lead to the repository, as far as a client has heard.
    names: Mutex<Vec<&'static str>>,
    /// When the repository may have been deleted, and when it certainly was.
    deletions: Mutex<Vec<Span>>,
    /// The tokens that were minted.
    pub tokens: Mutex<Vec<Grant>>,
    /// The links that were made.
    pub links: Mutex<Vec<Grant>>,
    /// The forks that were asked for.
    pub forks: Mutex<Vec<Fork>>,
    /// Held by the one that deletes and undeletes.
    deleting: Arc<tokio::sync::Mutex<()>>,
}

/// A time in which the repository may have been deleted.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    /// When its deletion was heard of, if it was.
    heard: Option<Instant>,
    /// When its undeletion was asked for, and when that was heard of.
    undeleting: Option<Instant>,
    ended: Option<Instant>,
}

/// A deletion that is under way. There is one at a time.
pub struct Deletion {
    number: usize,
    /// Whether it was answered.
    pub is_heard: bool,
    _alone: tokio::sync::OwnedMutexGuard<()>,
}

/// One process: a hub with caches of its own.
#[derive(Clone)]
struct Process {
    number: usize,
    hub: Hub,
    life: Life,
}

impl World {
    /// A deployment with one repository that is still empty.
    ///
    /// # Errors
    /// When that cannot be made, though nothing goes wrong yet.
    pub async fn start(seed: u64, profile: Profile, kept: usize) -> Result<Arc<World>, Violation> {
        let origin = Instant::now();
        let stores = Stores::new(Ambient::simulated(seed, START, origin));
        stores.make_table();
        let network = Network::new(seed ^ 0x6e65_7477, stores, origin, Weather::CALM, kept);
        let world = Arc::new(World {
            model: Mutex::new(Model::new(seed, profile.retention)),
            profile,
            network,
            processes: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed ^ 0x776f_726c)),
            origin,
            repo: OnceCell::new(),
            erasures: Mutex::default(),
            names: Mutex::new(vec![SLUG]),
            deletions: Mutex::default(),
            tokens: Mutex::default(),
            links: Mutex::default(),
            forks: Mutex::default(),
            deleting: Arc::default(),
        });
        for _ in 0..world.profile.processes {
            let process = world.new_process();
            world.processes().push(process);
        }
        world.make_bucket().await?;
        world.make_repo().await?;
        world.network.set_weather(world.profile.weather);
        Ok(world)
    }

    async fn make_bucket(&self) -> Result<(), Violation> {
        let config = config("s3", &Region::from_static("us-east-1"), self.network.client(0, Life::default()));
        let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let made = aws_sdk_s3::Client::from_conf(config).create_bucket().bucket(Stores::location().bucket).send().await;
        made.map(drop).map_err(|error| format!("the bucket cannot be made: {}", with_causes(&error)))
    }

    async fn make_repo(self: &Arc<Self>) -> Result<(), Violation> {
        let request = http::Request::post("/");
        let request = request.header("content-type", "application/json");
        let owner = OWNER.parse().map_err(|error| format!("{error}"))?;
        let slug = SLUG.parse().map_err(|error| format!("{error}"))?;
        self.claim(USER.to_owned(), OWNER).await?;
        let is_private = self.profile.rights > 0.0;
        if is_private {
            for guest in GUESTS {
                self.claim(user_of(guest), guest).await?;
            }
        }
        // What all may read says nothing of who is a member.
        let body = json!({"name": SLUG, "is_private": is_private}).to_string();
        let answer = self.send(0, Function::Repos, request, &[], body.into_bytes()).await?;
        let answer = answer.ok_or("the repository cannot be made")?;
        if answer.status != 201 {
            return Err(answer.excerpt());
        }
        let process = self.process(0);
        let found = self.run(process, async |hub| hub.store.find_repo(&owner, &slug, Load::NOTHING).await).await?;
        let repo = found.flatten().ok_or("the repository cannot be found")?;
        self.repo.set(repo.id).map_err(|_| "two repositories")?;
        Ok(())
    }

    async fn claim(self: &Arc<Self>, user: String, handle: &str) -> Result<(), Violation> {
        let handle = handle.parse().map_err(|error| format!("{error}"))?;
        let claimed = self.run(self.process(0), async |hub| hub.store.claim_handle(&user, &handle, "").await).await?;
        match claimed {
            Some(Claim::Held) => Ok(()),
            _ => Err(format!("the handle {handle} cannot be claimed")),
        }
    }

    /// The clock.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// What was made, asked and heard.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an erasure begins. Returns the number that says which one has ended.
    pub fn erases(&self) -> usize {
        let mut erasures = self.erasures.lock().unwrap_or_else(PoisonError::into_inner);
        erasures.push((Instant::now(), None));
        erasures.len() - 1
    }

    /// Notes that it has ended.
    pub fn has_erased(&self, number: usize) {
        let mut erasures = self.erasures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ended)) = erasures.get_mut(number) {
            *ended = Some(Instant::now());
        }
    }

    /// Whether an erasure was under way at any time since then. One whose process died may take effect a little later.
    fn was_erased_since(&self, began: Instant) -> bool {
        let erasures = self.erasures.lock().unwrap_or_else(PoisonError::into_inner);
        erasures.iter().any(|(_, ended)| ended.is_none_or(|ended| ended + Duration::from_secs(15) >= began))
    }

    /// Notes that a name leads to the repository, as it will for ever.
    pub fn is_called(&self, name: &'static str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(&name) {
            names.push(name);
        }
    }

    fn any_name(&self) -> &'static str {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        names[random.random_range(0..names.len())]
    }

    /// Notes that the repository may be deleted from now on; none if another client is at it.
    pub fn deletes(&self) -> Option<Deletion> {
        let alone = Arc::clone(&self.deleting).try_lock_owned().ok()?;
        let mut deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        deletions.push(Span::default());
        Some(Deletion { number: deletions.len() - 1, is_heard: false, _alone: alone })
    }

    fn change_deletion(&self, number: usize, change: impl FnOnce(&mut Span)) {
        let mut deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(span) = deletions.get_mut(number) {
            change(span);
        }
    }

    /// Notes that it is deleted.
    pub fn has_deleted(&self, deletion: &mut Deletion) {
        deletion.is_heard = true;
        self.change_deletion(deletion.number, |span| span.heard = Some(Instant::now()));
    }

    /// Notes that it may be there again from now on.
    pub fn is_undeleting(&self, deletion: &Deletion) {
        self.change_deletion(deletion.number, |span| span.undeleting = Some(Instant::now()));
    }

    /// Notes that it is there again.
    pub fn has_undeleted(&self, deletion: Deletion) {
        self.change_deletion(deletion.number, |span| span.ended = Some(Instant::now()));
    }

    /// Whether the repository may have been deleted at any time since then.
    fn may_be_deleted(&self, began: Instant) -> bool {
        let deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        deletions.iter().any(|span| span.ended.is_none_or(|ended| ended >= began))
    }

    /// Whether it was deleted from then until now.
    fn was_deleted_since(&self, began: Instant) -> bool {
        let deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = |span: &Span| span.heard.is_some_and(|heard| heard < began) && span.undeleting.is_none();
        deletions.iter().any(lasts)
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that has just started, which no other client uses.
    fn new_process(&self) -> Process {
        // The SDK's clients of one region share a quota of retries in the whole test, and no process is to use up another's.
        static REGIONS: AtomicU64 = AtomicU64::new(0);
        let region = Region::new(format!("simulated-{}", REGIONS.fetch_add(1, Ordering::Relaxed)));
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let number = random.random_range(1_000..usize::MAX) % 100_000;
        let skew = Duration::from_millis(random.random_range(0..=self.profile.skew_ms));
        let ambient = Ambient::simulated(random.random(), START + skew, self.origin);
        let life = Life::default();
        let line = self.network.client(number, life.clone());
        let (dynamodb, s3) = (config("dynamodb", &region, line.clone()), config("s3", &region, line));
        let store = Store::new(&dynamodb, &s3, Stores::location(), ambient.clone());
        let tokens = Tokens::new(SECRET, ambient).expect("a good secret");
        let hub = Hub {
            store: Arc::new(store),
            tokens: Arc::new(OnceCell::new_with(Some(tokens))),
            issuer: None,
            settings: Settings::default(),
            log: RequestLog::default(),
        };
        Process { number, hub, life }
    }

    /// Starts every process again, so that none has anything cached.
    pub fn restart(&self) {
        let fresh: Vec<Process> = (0..self.profile.processes).map(|_| self.new_process()).collect();
        *self.processes() = fresh;
    }

    /// The process at a place. One that died has been replaced.
    fn process(&self, place: usize) -> Process {
        let place = place % self.profile.processes;
        let process = self.processes().get(place).cloned();
        match process {
            Some(process) if !process.life.is_over() => process,
            _ => {
                let process = self.new_process();
                if let Some(place) = self.processes().get_mut(place) {
                    *place = process.clone();
                }
                process
            }
        }
    }

    /// Does something in the process at a place that is no request. None when the process died, or when the stores do not
    /// answer because of what was done to its calls.
    ///
    /// # Errors
    /// When it fails without that.
    pub async fn upkeep<T>(
        &self,
        place: usize,
        work: impl AsyncFnOnce(&Hub) -> Result<T, StoreError>,
    ) -> Result<Option<T>, Violation> {
        self.run(self.process(place), work).await
    }

    async fn run<T>(
        &self,
        process: Process,
        work: impl AsyncFnOnce(&Hub) -> Result<T, StoreError>,
    ) -> Result<Option<T>, Violation> {
        let began = Instant::now();
        let done = tokio::select! {
            biased;
            () = process.life.over() => return Ok(None),
            done = span::run_as("compact", process.hub.store.ambient(), Box::pin(work(&process.hub))) => done,
        };
        match done {
            Ok(done) => Ok(Some(done)),
            Err(StoreError::Unavailable(_)) if self.network.was_harmed(process.number, began) => Ok(None),
            // It has read what is deleted since.
            Err(error) if error.is_damage() && self.was_erased_since(began) => Ok(None),
            Err(error) => Err(format!("upkeep failed: {}", with_causes(&error))),
        }
    }

    /// Calls a function about the repository, as its owner.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn call(
        &self,
        place: usize,
        function: Function,
        encoding: Encoding,
        body: &serde_json::Value,
    ) -> Result<Option<Answer>, Violation> {
        self.call_as(&Bearer::Owner, place, function, encoding, body).await
    }

    /// Calls a function about the repository.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn call_as(
        &self,
        bearer: &Bearer,
        place: usize,
        function: Function,
        encoding: Encoding,
        body: &serde_json::Value,
    ) -> Result<Option<Answer>, Violation> {
        let request = http::Request::post("/")
            .header("content-type", encoding.content_type())
            .header("accept", encoding.accept());
        self.send_as(bearer, place, function, request, &[("slug", SLUG)], encoding.encode(body)).await
    }

    /// Sends a request of the owner to the process at a place.
    ///
    /// # Errors
    /// As [`Self::send_as`].
    pub async fn send(
        &self,
        place: usize,
        function: Function,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Option<Answer>, Violation> {
        self.send_as(&Bearer::Owner, place, function, request, parameters, body).await
    }

    /// Sends a request to the process at a place. None when there is no answer: the process died, it does not answer whole, or it answers 503;
    /// all for what was done to its calls. And when the repository is deleted.
    ///
    /// # Errors
    /// When it has no answer, 503 or another 5xx without that; when a repository that is not deleted is not found, by one who may
    /// always read it, or one that is deleted is.
    pub async fn send_as(
        &self,
        bearer: &Bearer,
        place: usize,
        function: Function,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Option<Answer>, Violation> {
        let began = Instant::now();
        let answer = self.send_while_deleted(bearer, place, function, request, parameters, body).await?;
        let Some(answer) = answer else { return Ok(None) };
        let is_not_found = answer.status == 404 && answer.excerpt().contains("repo_not_found");
        // That is said of the token, be there a repository or not.
        let is_revoked = answer.status == 401;
        let may_not_know = matches!(bearer, Bearer::Guest(_) | Bearer::Nobody);
        match is_not_found {
            true if self.may_be_deleted(began) => Ok(None),
            true if may_not_know => Ok(Some(answer)),
            true => Err(format!("{} does not find the repository, which is not deleted", function.name())),
            false if self.was_deleted_since(began) && !is_revoked => {
                Err(format!("{} finds a repository that is deleted: {}", function.name(), answer.excerpt()))
            }
            false => Ok(Some(answer)),
        }
    }

    /// The same, whether the repository is deleted or not.
    ///
    /// # Errors
    /// When it has no answer, 503 or another 5xx without that.
    pub async fn send_while_deleted(
        &self,
        bearer: &Bearer,
        place: usize,
        function: Function,
        request: http::request::Builder,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Option<Answer>, Violation> {
        let process = self.process(place);
        let began = Instant::now();
        let name = function.name();
        let token = match bearer {
            Bearer::Owner => Some(own_token(&process.hub, USER).await?),
            Bearer::Guest(handle) => Some(own_token(&process.hub, &user_of(handle)).await?),
            Bearer::Token(token) => Some(token.clone()),
            Bearer::Nobody => None,
        };
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        let request = request.body(Body::Binary(body)).map_err(|error| format!("{error}"))?;
        let called = self.any_name();
        let parameter = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), vec![if *value == SLUG { called } else { *value }.to_owned()])
        };
        let path: HashMap<String, Vec<String>> = parameters.iter().chain(&[("owner", OWNER)]).map(parameter).collect();
        let answer = async {
            let response = local::functions::call(function, &process.hub, request.with_path_parameters(path)).await;
            let (head, body) = response.into_parts();
            let body: Bytes = body.collect().await?.to_bytes();
            Ok::<_, service::CutOff>(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let answer = tokio::select! {
            biased;
            () = process.life.over() => {
                self.network.note(format_args!("p{} died under {name}", process.number));
                return Ok(None);
            }
            answer = Box::pin(answer) => answer,
        };
        // A request that reads what an erasure deletes is 503, or it is cut off. A fork is 503 if the repository changed in a way that matters to it.
        let was_harmed = self.network.was_harmed(process.number, began)
            || self.was_erased_since(began)
            || function == Function::Forks;
        match answer {
            Ok(answer) if answer.status < 500 => Ok(Some(answer)),
            Ok(answer) if answer.status == 503 && was_harmed => {
                self.network.note(format_args!("p{} {name}: 503", process.number));
                Ok(None)
            }
            Err(_) if was_harmed => {
                self.network.note(format_args!("p{} {name}: cut off", process.number));
                Ok(None)
            }
            Ok(answer) => Err(format!("{name} answered {}", answer.excerpt())),
            Err(_) => Err(format!("the answer of {name} was cut off")),
        }
    }
}

/// The id of the user of a guest's handle.
fn user_of(handle: &str) -> String {
    format!("user-{handle}")
}

async fn own_token(hub: &Hub, user: &str) -> Result<String, Violation> {
    let token = hub.tokens().await.and_then(|tokens| tokens.mint(user, TOKEN_LASTS));
    token.map_err(|error| format!("{error}"))
}

/// How a process reaches a store.
fn config(host: &str, region: &Region, line: Line) -> SdkConfig {
    let credentials = Credentials::from_keys(ACCESS_KEY, SECRET_KEY, None);
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.clone())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(format!("http://{host}"))
        .http_client(line)
        .build()
}
