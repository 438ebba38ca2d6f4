//! From the door to an answer: what every function does around its own sentence.
//!
//! A function's handler is called with the [`Hub`] and an HTTP request, as `lambda_http` or the local router made it,
//! and always gives a response: errors become the contract's bodies here, a panic becomes a 500, and a 5xx is logged
//! here, once, with its causes.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod auth;
pub mod buffered;
pub mod cut_off;
pub mod item_stream;
pub mod observe;
pub mod streaming;
pub mod webhook_target;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_config::SdkConfig;
use bytes::Bytes;
use futures_util::{FutureExt, Stream};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use ulid::Ulid;

use crate::auth::{Caller, Tokens, bearer_token};

use crate::observe::{AnswerSpan, ErrorCode, OpenSpan, RequestLog};
use crate::webhook_target::Reach;
use common::answer_size::Held;
use common::id::Ids;
use common::id::{MAX_SLUG_LENGTH, RepoId, Slug};
use common::pack::PackId;
use common::wire::error::with_causes;
use common::wire::limits::{ANONYMOUS_BYTES, MAX_REFERENCED_BODY};
use common::wire::page::Page;
use common::wire::request::Heads;
use common::wire::{Encoding, Error};
use store::ambient::Ambient;
use store::aws;
use store::aws::variable;
use store::read::view::View;
use store::repo::{Need, NotFound, Repo};
use store::span::{self, RequestSpan};
use store::table::account::NewRepo;
use store::table::items::{MetaItem, Visibility};
use store::table::purged::Purged;
use store::uploads::{BodyUpload, ReferencedBody, TakenBody};
use store::{Location, Store};

/// Whether it was said that a proxy is there and no public URL.
static WARNED: std::sync::Once = std::sync::Once::new();
/// Characters of a name, or of the hub's URL, that a refusal shows.
const SHOWN: usize = 100;
/// Bytes of an answer that is all there and waits for nothing.
const MAX_WHOLE_ANSWER: u64 = 1 << 20;
/// The header that names the upload which is the body of a request.
pub const BODY_UPLOAD: &str = "muse-body-upload";

/// What a process has, made once and used for all its requests.
#[derive(Clone)]
pub struct Hub {
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// Makes and checks tokens: with the operator's secret, or else with the hub's own, once that is read.
    pub tokens: Arc<OnceCell<Tokens>>,
    /// What the operator decided.
    pub settings: Settings,
    /// Where a line of each request goes.
    pub log: RequestLog,
}

/// What the operator of a deployment decides.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether a push to `<own handle>/<new slug>` makes the repo, and then who may know of it.
    pub push_to_create: Option<Visibility>,
    /// The URL that the hub is reached by, for the URLs that it hands out; else that of the request, if it is known for the hub's.
    pub public_url: Option<String>,
    /// Whether ids have to be the hashes of what they name.
    pub ids: Ids,
    /// Whether the operator gives the token secret, so that the one in the table does not count.
    pub gives_secret: bool,
    /// Whether clients reach S3 through the hub's own URL, because it is embedded in the hub's process.
    pub serves_s3: bool,
    /// What webhooks may lead to.
    pub webhooks_reach: Reach,
    /// What is given to clients without a token.
    pub anonymous_reads: AnonymousReads,
}

/// What clients without a token may read of public repos. Whatever they read, the operator of a deployment pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnonymousReads {
    /// Everything.
    #[default]
    Full,
    /// Repos and objects of at most [`ANONYMOUS_BYTES`].
    Small,
    /// Nothing.
    Off,
}

impl AnonymousReads {
    /// `full`, `small` or `off`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "full" => Some(Self::Full),
            "small" => Some(Self::Small),
            "off" => Some(Self::Off),
            _ => None,
        }
    }

    /// Refuses a client without a token what has more bytes than it may read.
    ///
    /// # Errors
    /// [`Error::Unauthorized`].
    pub fn check(self, caller: Option<&Caller>, bytes: u64) -> Result<(), Error> {
        if caller.is_some() || self != Self::Small || bytes <= ANONYMOUS_BYTES as u64 {
            return Ok(());
        }
        let (most, has) = (ANONYMOUS_BYTES >> 20, bytes >> 20);
        Err(Error::unauthorized(format!(
            "without a token this hub gives no more than {most} MiB, and this has about {has}"
        )))
    }
}

/// What is missing in a function's environment.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A variable that has to be there is not.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable holds something else than it may.
    #[error("the environment variable {name} is {value:?}: it may be {allowed}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// The token secret is none.
    #[error(transparent)]
    Secret(#[from] crate::auth::EmptySecret),
}

/// What a push to one's own handle and a new name makes, as an operator says it: a repo that is `public` or `private`, or
/// `nothing`, which was once called `off`. None for any other word.
pub fn push_creates(text: &str) -> Option<Option<Visibility>> {
    match text {
        "nothing" | "off" => Some(None),
        _ => text.parse().ok().map(Some),
    }
}

impl Hub {
    /// The hub as the environment describes it: `MUSEHUB_TABLE`, `MUSEHUB_BUCKET`, and as the operator likes
    /// `ACCESS_TOKEN_SECRET` (else the hub reads its own from the table), `MUSEHUB_PUSH_TO_CREATE` (`nothing` or `off`,
    /// `public`, `private`), `MUSEHUB_IDS` (`strict`, `lenient`), `MUSEHUB_ANONYMOUS_READS` (`full`, `small`, `off`), `MUSEHUB_PUBLIC_URL`, and `MUSEHUB_METRICS`, the CloudWatch
    /// namespace of the metrics in the log of requests. What [`aws::config`] reads
    /// says how AWS is reached.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub async fn from_environment() -> Result<Self, ConfigurationError> {
        Self::from_environment_at(&aws::config("DYNAMODB"), &aws::config("S3"))
    }

    /// The same, with the two services reached otherwise.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub fn from_environment_at(dynamodb: &SdkConfig, s3: &SdkConfig) -> Result<Self, ConfigurationError> {
        let ambient = Ambient::system();
        let location = Location { table: required("MUSEHUB_TABLE")?, bucket: required("MUSEHUB_BUCKET")? };
        let settings = Settings {
            push_to_create: choice("MUSEHUB_PUSH_TO_CREATE", "public, private or nothing", push_creates)?.flatten(),
            public_url: variable("MUSEHUB_PUBLIC_URL"),
            ids: choice("MUSEHUB_IDS", "strict or lenient", Ids::parse)?.unwrap_or_default(),
            gives_secret: variable("ACCESS_TOKEN_SECRET").is_some(),
            serves_s3: false,
            webhooks_reach: Reach::Public,
            anonymous_reads: choice("MUSEHUB_ANONYMOUS_READS", "full, small or off", AnonymousReads::parse)?
                .unwrap_or_default(),
        };
        let given = variable("ACCESS_TOKEN_SECRET");
        let tokens = given.map(|secret| Tokens::new(&secret, ambient.clone())).transpose()?;
        Ok(Self {
            store: Arc::new(Store::new(dynamodb, s3, location, ambient)),
            tokens: Arc::new(OnceCell::new_with(tokens)),
            settings,
            log: RequestLog::to_stdout(
                variable("MUSEHUB_METRICS"),
                // Lambda's own variable.
                std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok().and_then(|size| size.parse().ok()),
            ),
        })
    }

    /// What makes and checks tokens. The hub's own secret is read when it is needed for the first time, so that a clone of
    /// a public repo does not pay for it.
    ///
    /// # Errors
    /// When the table does not answer; [`Error::Unauthorized`] when it has no secret, so that no token can be good.
    pub async fn tokens(&self) -> Result<&Tokens, Error> {
        let read = || async {
            let secret = self.store.token_secret().await?.ok_or(Error::unauthorized(
                "this hub has no token secret yet: its operator makes one with the first token, 'musehub token --table'",
            ))?;
            Tokens::new(&secret, self.store.ambient().clone()).map_err(Error::internal)
        };
        self.tokens.get_or_try_init(read).await
    }

    /// Whether this process checks tokens with the secret that the table keeps: `ok`, or what else it does. A process
    /// that runs goes on with the secret that it has read.
    ///
    /// # Errors
    /// When a token cannot be made.
    pub async fn check_secret(&self, kept: Option<&str>) -> Result<&'static str, Error> {
        if self.settings.gives_secret {
            return Ok("ok");
        }
        let Some(kept) = kept else {
            return Ok("the table has none any more, and this process goes on with the one that it had");
        };
        let tokens = Tokens::new(kept, self.store.ambient().clone()).map_err(Error::internal)?;
        let token = tokens.mint("check", Duration::from_secs(60))?;
        Ok(match self.tokens().await?.verify(&token) {
            Ok(_) => "ok",
            Err(_) => "this process goes on with another than the table's, which was rotated since it started",
        })
    }

    /// Answers one request as `handle` says, whatever happens in it. `function` is the name under which it is seen.
    ///
    /// As it is deployed nothing unwinds: there a panic ends the process, API Gateway answers 502 in the hub's words (its
    /// `DEFAULT_5XX` in template.yaml), and Lambda starts another process for the next request.
    pub async fn answer<F>(
        &self,
        function: &'static str,
        request: Request,
        handle: impl FnOnce(Call) -> F + Send,
    ) -> Response<AnswerBody>
    where
        F: Future<Output = Result<Response<AnswerBody>, Error>> + Send,
    {
        let arrival = OpenSpan::new(function, &request, &self.log, self.store.ambient());
        let watch = Arc::clone(arrival.watch());
        // On the heap, and of a type that says nothing of what is in it: the future of a whole request is too large to be
        // laid out in place, and its type too deep for the compiler.
        arrival.follow(watch.over(self.answer_watched(request, handle).boxed()).await)
    }

    async fn answer_watched<F>(&self, request: Request, handle: impl FnOnce(Call) -> F + Send) -> Response<AnswerBody>
    where
        F: Future<Output = Result<Response<AnswerBody>, Error>> + Send,
    {
        let mut call = Call::new(request);
        let is_head = call.parts.method == Method::HEAD;
        if is_head {
            // Answered as a GET is, without the body.
            call.parts.method = Method::GET;
        }
        let is_open = is_open(&call);
        span::note(|seen| seen.bytes_in = call.body_bytes().len() as u64);
        let route = format!("{} {}", call.parts.method, call.parts.uri.path());
        let words = Words::of(self, &call);
        let (target, repo_id) = (call.named().ok(), call.query_parameter("repo_id").and_then(|id| id.parse().ok()));
        let mut used = None;
        let outcome = AssertUnwindSafe(Box::pin(async {
            let mut _room = None;
            if let Some(referenced) = Box::pin(self.referenced_body(&call)).await? {
                span::note(|seen| seen.bytes_in = referenced.body.len() as u64);
                call.body = Body::Binary(referenced.body.into());
                used = Some(referenced.used);
                _room = Some(referenced.room);
            }
            handle(call).boxed().await
        }));
        let mut outcome = outcome.catch_unwind().await;
        if let Ok(Ok(response)) = outcome {
            outcome = Ok(self.in_turn(response).await);
        }
        let mut response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let error = self.excused(error, target, repo_id).await;
                refuse(&route, &words.added_to(error))
            }
            Err(_) => refuse(&route, &Error::internal("the function panicked")),
        };
        match used {
            // What came to nothing through a fault of the hub's may be sent again as it was.
            Some(used) if response.status().is_server_error() => self.store.give_back_body(used).await,
            Some(used) => self.store.drop_body(used).await,
            None => {}
        }
        finish(&mut response, is_open);
        if is_head { without_body(response) } else { response }
    }

    /// Has a large answer wait for its turn, and lets go of it as the client takes it, so that clients which read slowly hold no
    /// more of the process than their turns are.
    async fn in_turn(&self, response: Response<AnswerBody>) -> Result<Response<AnswerBody>, Error> {
        let size = http_body::Body::size_hint(response.body()).exact();
        let Some(size) = size.filter(|size| *size > MAX_WHOLE_ANSWER) else {
            return Ok(response);
        };
        let (mut parts, body) = response.into_parts();
        parts.headers.entry(CONTENT_LENGTH).or_insert(size.into());
        let body = streaming::whole(&self.store, body.into_whole()).await?;
        Ok(Response::from_parts(parts, body))
    }

    /// A request that has read a file which is deleted because of a purge may be sent again. So may any that finds something damaged
    /// while a purge is under way: if it is damaged, it will be then.
    async fn excused(&self, error: Error, target: Option<Target>, repo_id: Option<RepoId>) -> Error {
        let cause = match error {
            Error::Internal(cause) if cause.downcast_ref::<store::Error>().is_some_and(store::Error::is_damage) => {
                cause
            }
            error => return error,
        };
        let is_being_erased = async {
            let repo_id = match (target, repo_id) {
                (Some(Target { owner, slug }), _) => {
                    self.store.find_repo(&owner, &slug, Need::NOTHING).await?.map(|repo| repo.id)
                }
                (None, repo_id) => repo_id,
            };
            match repo_id {
                Some(repo_id) => Ok::<_, store::Error>(self.store.purge_under_way(&repo_id).await?.is_some()),
                None => Ok(false),
            }
        };
        if is_being_erased.await.unwrap_or(false) { Error::Unavailable(cause) } else { Error::Internal(cause) }
    }

    /// The body of a request that is sent by reference: it was uploaded to S3, because no front door of Lambda takes more
    /// than 6 MB.
    async fn referenced_body(&self, call: &Call) -> Result<Option<ReferencedBody>, Error> {
        let mut references = call.headers().get_all(BODY_UPLOAD).iter();
        // Whoever asks for an upload has none to refer to, and may name the one that is meant for the next request.
        let path = call.parts.uri.path();
        let asks_for_one = path.ends_with("/uploads");
        // Nobody has a webhook or a purge of 6 MB, and who manages them needs no right to uploads.
        let is_small = path.ends_with("/webhooks") || path.ends_with("/purge");
        let in_a_repo = call.path_parameter("slug").is_some();
        let may_refer = *call.method() == Method::POST && in_a_repo && !asks_for_one && !is_small;
        let Some(reference) = references.next().filter(|_| may_refer) else {
            return Ok(None);
        };
        if references.next().is_some() {
            return Err(Error::MalformedBody("the body: more than one Muse-Body-Upload header".to_owned()));
        }
        // Before it is used.
        Encoding::of_request(call.headers())?;
        let caller = call.user(self).await?;
        let target = call.target()?;
        self.check_may_ask(&caller, &target).await?;
        let upload = BodyUpload { user_id: caller.user_id, owner: target.owner, slug: target.slug };
        if !call.body_bytes().is_empty() {
            return Err(Error::MalformedBody("the body: a request by reference has an empty one".to_owned()));
        }
        let unknown = Error::UnknownUpload(
            "there is no such upload for you and this repository, or it is used, or older than an hour: POST /uploads",
        );
        let id = reference.to_str().ok().and_then(|id| Ulid::from_string(id).ok());
        let Some(id) = id else {
            return Err(unknown);
        };
        match self.store.take_body(&id.to_string(), &upload, MAX_REFERENCED_BODY).await? {
            TakenBody::Taken(body) => Ok(Some(body)),
            TakenBody::Unknown => Err(unknown),
            TakenBody::NotThere => Err(Error::UnknownUpload("nothing was PUT to the URL of this upload yet")),
            TakenBody::TooLarge(size) => Err(Error::PayloadTooLarge(format!(
                "the body has {size} bytes: by reference it may have {MAX_REFERENCED_BODY}; push in smaller parts"
            ))),
        }
    }

    /// Checks that the caller may ask something of a repo: that it may read it, or that its push would make it.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] otherwise.
    pub async fn check_may_ask(&self, caller: &Caller, target: &Target) -> Result<(), Error> {
        match self.open_for_reading(Some(caller), target, Need::NOTHING).await {
            // With the rights that a push needs, which tell more.
            Err(Error::RepoNotFound) => self.open_for_push(caller, target, Need::NOTHING).await.map(drop),
            opened => opened.map(drop),
        }
    }

    /// The repo that a push goes to, with a view of what its packs hold. A name of the caller's own that has no repo yet is one
    /// too, if this hub makes repos by pushing.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] for whoever may not know of it, [`Error::NotAuthorized`] for whoever may only read it.
    pub async fn open_for_push(
        &self,
        caller: &Caller,
        target: &Target,
        need: Need,
    ) -> Result<(Destination, View), Error> {
        let user_id = caller.user_id.as_str();
        let why = match self.store.find_readable_repo(&target.owner, &target.slug, Some(user_id), need).await? {
            Ok(repo) if repo.is_writable_by(user_id) => {
                let view = self.store.view(&repo);
                return Ok((Destination::of(repo), view));
            }
            Ok(_) => return Err(Error::NotAuthorized),
            Err(why) => why,
        };
        let handle = self.store.profile(user_id).await?.map(|profile| profile.handle);
        let own = handle.clone().filter(|handle| *handle == target.owner && why == NotFound::Absent);
        let (Some(visibility), Some(owner)) = (self.settings.push_to_create, own) else {
            if why == NotFound::Absent {
                self.store.look_for_none(Some(user_id), need).await?;
            }
            return Err(if handle.is_some() { Error::RepoNotFound } else { Error::NoHandle(String::new()) });
        };
        let mut new = NewRepo::new(&self.store, owner, user_id, target.slug.clone(), visibility);
        new.meta.is_made_by_push = true;
        let destination = Destination {
            id: new.id.clone(),
            heads: Heads::new(),
            packs: 0,
            held: Held::default(),
            condemned: Vec::new(),
            was_pushed_to: false,
            has_domain: false,
            has_default: false,
            meta: new.meta.clone(),
            has_uploads: false,
            purged: Arc::default(),
            creates: Some(new),
        };
        let view = self.store.view_of(&destination.id, &[], &destination.purged);
        Ok((destination, view))
    }

    /// The repo of an id that is read, with a view of what its packs hold.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when there is none, or none that the caller may know of.
    pub async fn open_by_id(&self, caller: Option<&Caller>, id: &RepoId, need: Need) -> Result<(Repo, View), Error> {
        let user_id = caller.map(|caller| caller.user_id.as_str());
        let repo = self.store.readable_repo(id, user_id, need).await?.ok_or(Error::RepoNotFound)?;
        span::note(|seen| seen.repo = Some(format!("{}/{}", repo.meta.owner, repo.meta.slug)));
        let view = self.store.view(&repo);
        Ok((repo, view))
    }

    /// The repo that is written to, with a view of what its packs hold. It has to be there.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] for whoever may not know of it, [`Error::NotAuthorized`] for whoever may only read it.
    pub async fn open_for_writing(&self, caller: &Caller, target: &Target, need: Need) -> Result<(Repo, View), Error> {
        let (repo, view) = self.open_with_view(Some(caller), target, need).await?;
        if !repo.is_writable_by(&caller.user_id) {
            return Err(Error::NotAuthorized);
        }
        Ok((repo, view))
    }

    /// The repo that is read, with the lists asked for.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when there is none, or none that the caller may know of.
    pub async fn open_for_reading(&self, caller: Option<&Caller>, target: &Target, need: Need) -> Result<Repo, Error> {
        let user_id = caller.map(|caller| caller.user_id.as_str());
        let found = self.store.find_readable_repo(&target.owner, &target.slug, user_id, need).await?;
        if found.as_ref().is_err_and(|why| *why == NotFound::Absent) {
            self.store.look_for_none(user_id, need).await?;
        }
        found.map_err(|_| Error::RepoNotFound)
    }

    /// The repo that is read, with a view of what its packs hold.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when there is none, or none that the caller may know of.
    pub async fn open_with_view(
        &self,
        caller: Option<&Caller>,
        target: &Target,
        need: Need,
    ) -> Result<(Repo, View), Error> {
        let repo = self.open_for_reading(caller, target, need).await?;
        let view = self.store.view(&repo);
        Ok((repo, view))
    }
}

/// Where a push goes.
#[derive(Debug)]
pub struct Destination {
    /// The repo.
    pub id: RepoId,
    /// The head of each branch.
    pub heads: Heads,
    /// How many packs it has.
    pub packs: usize,
    /// What those hold that the next commits may rely on.
    pub held: Held,
    /// Those that are condemned, if the others were asked for.
    pub condemned: Vec<PackId>,
    /// Whether a branch was ever pushed to it.
    pub was_pushed_to: bool,
    /// Whether somebody has chosen what kind of content it holds.
    pub has_domain: bool,
    /// Whether somebody has chosen its default branch.
    pub has_default: bool,
    /// Its item about itself.
    pub meta: MetaItem,
    /// Whether objects may have been uploaded to it that nobody has looked at.
    pub has_uploads: bool,
    /// The objects that were purged, if packs were asked for.
    pub purged: Arc<Purged>,
    /// The repo again, if this push is to make it.
    pub creates: Option<NewRepo>,
}

impl Destination {
    fn of(repo: Repo) -> Self {
        Self {
            was_pushed_to: repo.meta.first_pushed_at.is_some(),
            has_domain: !repo.meta.domain.is_empty(),
            has_default: repo.meta.default_is_chosen,
            meta: repo.meta,
            has_uploads: repo.has_uploads,
            purged: repo.purged,
            packs: repo.packs.len() + repo.condemned.len(),
            held: Held::by(repo.packs.iter().map(|(_, pack)| pack)),
            condemned: repo.condemned,
            id: repo.id,
            heads: repo.heads,
            creates: None,
        }
    }
}

/// Logs as JSON lines on standard output, which Lambda sends to CloudWatch. `RUST_LOG` filters; by default `info`.
pub fn log_as_json() {
    let lines = tracing_subscriber::fmt::layer().json();
    let filter = log_filter(Targets::new().with_default(Level::INFO));
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// What is logged: what `RUST_LOG` says, such as `info` or `warn,common=debug`; `otherwise`, if that says nothing, or
/// nothing that can be understood. Levels of modules are enough; more would bring a regular expression engine.
pub fn log_filter(otherwise: Targets) -> Targets {
    variable("RUST_LOG").and_then(|given| given.parse().ok()).unwrap_or(otherwise)
}

/// What a variable of the environment holds that has to be there.
///
/// # Errors
/// When it is not there, or empty.
pub fn required(name: &'static str) -> Result<String, ConfigurationError> {
    variable(name).ok_or(ConfigurationError::Missing(name))
}

fn choice<T>(
    name: &'static str,
    allowed: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigurationError> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    match read(&value) {
        Some(choice) => Ok(Some(choice)),
        None => Err(ConfigurationError::Invalid { name, value, allowed }),
    }
}

/// Logs a fault of the hub's, once, with what caused it. What is the client's own doing is not logged.
pub fn log_fault(route: &str, error: &Error) {
    if !error.status().is_server_error() {
        return;
    }
    let causes = with_causes(error);
    let watch = span::current();
    let id = watch.as_deref().map(RequestSpan::id);
    tracing::error!(id, route, status = error.status().as_u16(), causes, "request failed");
}

/// The repo that a request is about, as its path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The owner's handle.
    pub owner: Slug,
    /// The repo's name under the owner.
    pub slug: Slug,
}

/// The host, with its port, that a request names and that its front door knows for the hub's own.
#[derive(Debug, Clone)]
pub struct ReachedAs(pub String);

/// Whether this is what may stand behind a host: nothing, or a port.
fn is_port(text: &str) -> bool {
    let port = text.strip_prefix(':');
    text.is_empty() || port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// One request, read as far as every function needs it.
pub struct Call {
    parts: http::request::Parts,
    body: Body,
}

impl Call {
    /// A request as it came.
    pub fn new(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        Self { parts, body }
    }

    /// The method of the request.
    pub const fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path of the request.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The headers of the request.
    pub const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// What the path has in the place of a parameter, decoded; nothing where that is no UTF-8.
    pub fn path_parameter(&self, name: &str) -> Option<String> {
        let value = self.parts.path_parameters_ref()?.first(name)?;
        Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
    }

    /// What the query says of a parameter, decoded; its last word, if it has several.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        let query = self.parts.uri.query()?.as_bytes();
        form_urlencoded::parse(query).filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// Who asks; nobody without a token.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for a token that is not good, and without one where nothing is read without.
    pub async fn caller(&self, hub: &Hub) -> Result<Option<Caller>, Error> {
        match bearer_token(&self.parts.headers)? {
            Some(token) => {
                let caller = hub.tokens().await?.verify(token)?;
                span::note(|seen| seen.user = Some(caller.user_id.clone()));
                Ok(Some(caller))
            }
            None if hub.settings.anonymous_reads == AnonymousReads::Off => {
                Err(Error::unauthorized("this hub shows nothing without a token"))
            }
            None => Ok(None),
        }
    }

    /// Who asks.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] without a good token.
    pub async fn user(&self, hub: &Hub) -> Result<Caller, Error> {
        self.caller(hub).await?.ok_or(Error::unauthorized("this needs a token: send 'Authorization: Bearer <token>'"))
    }

    /// The repo that is asked about.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`] when the path names none that there could be.
    pub fn target(&self) -> Result<Target, Error> {
        let target = self.named()?;
        span::note(|seen| seen.repo = Some(format!("{}/{}", target.owner, target.slug)));
        Ok(target)
    }

    fn named(&self) -> Result<Target, Error> {
        Ok(Target { owner: self.name_in_path("owner")?, slug: self.name_in_path("slug")? })
    }

    /// An owner's handle or a repo's name: in either case, for people type it as they like, and with the `.git` that they are
    /// used to.
    fn name_in_path(&self, which: &'static str) -> Result<Slug, Error> {
        let given = self.path_parameter(which).ok_or(Error::RepoNotFound)?;
        let name = given.to_ascii_lowercase();
        let name = if which == "slug" { name.strip_suffix(".git").unwrap_or(&name) } else { &name };
        name.parse().map_err(|_| {
            let (what, meant) = if which == "owner" { ("handle", None) } else { ("repository", Slug::from_name(name).ok()) };
            let shown: String = given.chars().take(SHOWN).collect();
            let hint = meant.map_or(String::new(), |meant| format!("; did you mean '{meant}'?"));
            Error::NoRepoName(format!(
                "no {what} is called '{}': it has 1 to {MAX_SLUG_LENGTH} characters of a-z 0-9 -, and no '-' at an end{hint}",
                shown.escape_debug()
            ))
        })
    }

    /// What the body asks.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`], or [`Error::MalformedBody`] saying where.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        let encoding = Encoding::of_request(&self.parts.headers)?;
        encoding.decode(self.body_bytes())
    }

    fn body_bytes(&self) -> &[u8] {
        match &self.body {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    /// The encoding that the answer is to have.
    pub fn answer_encoding(&self) -> Encoding {
        Encoding::of_answer(&self.parts.headers)
    }

    /// The URL that the hub is reached by, without a trailing slash: the operator's word, else what its front door says.
    ///
    /// # Errors
    /// [`Error::UnknownHost`] when the request names a host that is not known to be the hub's.
    pub fn hub_url(&self, hub: &Hub) -> Result<String, Error> {
        if let Some(url) = &hub.settings.public_url {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let header = |name| self.parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let named = header(http::header::HOST.as_str());
        if hub.settings.serves_s3 && header("x-forwarded-proto").is_some() {
            // A proxy in front of a hub on one machine. On Lambda it is the API Gateway, whose word is good.
            WARNED.call_once(|| {
                tracing::warn!(
                    "a proxy passes requests on and no public URL is set: the URLs that the hub hands out are those that requests name; \
                     set --public-url or MUSEHUB_PUBLIC_URL"
                );
            });
        }
        let context = match self.parts.request_context_ref() {
            Some(RequestContext::ApiGatewayV1(context)) => Some(context),
            _ => None,
        };
        let host = match (self.parts.extensions.get::<ReachedAs>(), context.and_then(|it| it.domain_name.as_deref())) {
            (Some(ReachedAs(host)), _) => host,
            // It has no port.
            (None, Some(domain)) => match named {
                Some(named) if named.strip_prefix(domain).is_some_and(is_port) => named,
                _ => domain,
            },
            (None, None) if hub.settings.serves_s3 => {
                return Err(Error::UnknownHost(named.unwrap_or_default().chars().take(SHOWN).collect()));
            }
            (None, None) => named.unwrap_or("localhost"),
        };
        // API Gateway terminates TLS and says so.
        let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
        // The URL of an API Gateway has the name of its stage in front of the path that its routes see.
        let stage = context
            .and_then(|context| context.path.as_deref())
            .and_then(|path| path.strip_suffix(self.parts.raw_http_path()));
        Ok(format!("{scheme}://{host}{}", stage.unwrap_or_default()))
    }

    /// Where clients reach S3, if that is not under its own name.
    ///
    /// # Errors
    /// As [`Self::hub_url`].
    pub fn storage_url(&self, hub: &Hub) -> Result<Option<String>, Error> {
        hub.settings.serves_s3.then(|| self.hub_url(hub)).transpose()
    }

    /// The answer, whole.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be written.
    pub fn respond(&self, status: StatusCode, answer: &impl Serialize) -> Result<Response<AnswerBody>, Error> {
        let encoding = self.answer_encoding();
        let content_type = encoding.content_type_for(&self.parts.headers);
        Ok(response(status, content_type, AnswerBody::whole(encoding.encode(answer)?)))
    }

    /// A page of a list.
    ///
    /// # Errors
    /// As [`Self::respond`].
    pub fn respond_with(&self, page: Page) -> Result<Response<AnswerBody>, Error> {
        let content_type = self.answer_encoding().content_type_for(&self.parts.headers);
        Ok(response(StatusCode::OK, content_type, AnswerBody::whole(page.finish()?)))
    }

    /// The answer, bit by bit.
    pub fn respond_streaming(&self, body: AnswerBody) -> Response<AnswerBody> {
        response(StatusCode::OK, self.answer_encoding().content_type_for(&self.parts.headers), body)
    }
}

/// What a refusal says of the request, beside what is wrong: what a person can type.
struct Words {
    hub_url: String,
    has_token: bool,
    names_repo: bool,
}

impl Words {
    fn of(hub: &Hub, call: &Call) -> Self {
        // A client that asks for the hub under a name that is not its own gets no URL of it.
        let hub_url = call.hub_url(hub).ok().filter(|url| url.chars().count() <= SHOWN);
        Self {
            hub_url: hub_url.unwrap_or_else(|| "URL".to_owned()),
            has_token: call.headers().contains_key(AUTHORIZATION),
            names_repo: call.path_parameter("slug").is_some(),
        }
    }

    fn added_to(self, error: Error) -> Error {
        match error {
            Error::Unauthorized(reason) => Error::unauthorized(format!(
                "{reason}; 'muse auth login --hub {} --token <token>' keeps one",
                self.hub_url
            )),
            Error::RepoNotFound if !self.has_token && self.names_repo => Error::RepoNotFoundUnasked(self.hub_url),
            Error::NoHandle(_) => Error::NoHandle(self.hub_url),
            error => error,
        }
    }
}

/// The response to a request that is refused.
pub(crate) fn refuse(route: &str, error: &Error) -> Response<AnswerBody> {
    log_fault(route, error);
    let watch = span::current();
    let body = AnswerBody::whole(error.body(watch.as_deref().map_or("", RequestSpan::id)));
    let mut response = response(error.status(), Encoding::Json.content_type(), body);
    response.extensions_mut().insert(ErrorCode(error.code()));
    match error {
        Error::Unauthorized(_) => {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::MethodNotAllowed { allowed, .. } => {
            if let Ok(allowed) = HeaderValue::from_str(allowed) {
                response.headers_mut().insert(ALLOW, allowed);
            }
        }
        Error::Unavailable(_) => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Error::RangeNotSatisfiable(size) => {
            if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
        }
        _ => {}
    }
    response
}

fn response(status: StatusCode, content_type: HeaderValue, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Whether an answer is for any page of the web to read: what is asked without a token and changes nothing.
/// <https://fetch.spec.whatwg.org/#http-cors-protocol>
fn is_open(call: &Call) -> bool {
    let path = call.parts.uri.path();
    let reads = call.parts.method == Method::GET || READING_POSTS.iter().any(|post| path.ends_with(post));
    reads && !call.headers().contains_key(AUTHORIZATION)
}

/// The POSTs that change nothing.
pub const READING_POSTS: [&str; 3] = ["/fetch", "/negotiate", "/presign"];
/// The headers that a page may send, and those that it may read.
pub const CORS_HEADERS: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET, HEAD, POST"),
    ("access-control-allow-headers", "content-type, accept, range, if-none-match, if-match, if-range"),
    ("access-control-max-age", "86400"),
];

/// The headers that every answer has.
pub fn finish<B>(response: &mut Response<B>, is_open: bool) {
    // What a repo has may be another thing in a moment, and a refusal none.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_open {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let exposed = HeaderValue::from_static("etag, content-range, accept-ranges, server-timing");
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// What a HEAD is answered with: all of it but the body, and how long that would be.
fn without_body(response: Response<AnswerBody>) -> Response<AnswerBody> {
    let size = http_body::Body::size_hint(response.body()).exact();
    let mut response = response.map(|_| AnswerBody::whole(Bytes::new()));
    let has_body = response.status() != StatusCode::NOT_MODIFIED;
    if let Some(size) = size.filter(|_| has_body) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(size.into());
    }
    response
}

/// Why an answer that had begun was cut off. The client's decoder fails on it, as it must.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
pub struct CutOff;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, CutOff>> + Send>>;

/// The body of an answer.
pub struct AnswerBody {
    content: Content,
    departure: Option<AnswerSpan>,
}

enum Content {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    /// Chunks as they are made; an error cuts the answer off.
    Streamed(Chunks),
}

impl AnswerBody {
    /// A body that is all there.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Some(bytes.into())), departure: None }
    }

    /// A body that is made while it is sent.
    pub fn streamed(chunks: impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static) -> Self {
        Self { content: Content::Streamed(Box::pin(chunks)), departure: None }
    }

    /// All of it, if it is all there.
    fn into_whole(self) -> Bytes {
        match self.content {
            Content::Whole(bytes) => bytes.unwrap_or_default(),
            Content::Streamed(_) => Bytes::new(),
        }
    }

    pub(crate) const fn is_streamed(&self) -> bool {
        matches!(self.content, Content::Streamed(_))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    /// Has what goes out noted, and its end.
    pub(crate) fn followed_by(self, departure: AnswerSpan) -> Self {
        Self { departure: Some(departure), ..self }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Self { content, departure } = self.get_mut();
        let next = match content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Content::Streamed(chunks) => chunks.as_mut().poll_next(context),
        };
        if let (Some(departing), Poll::Ready(Some(Ok(bytes)))) = (departure.as_mut(), &next) {
            departing.sent(bytes.len());
        }
        // As soon as nothing follows, for Lambda lets a function rest then.
        match (&next, content) {
            (Poll::Ready(None), _) | (Poll::Ready(_), Content::Whole(_)) => {
                if let Some(departure) = departure.take() {
                    departure.ended();
                }
            }
            (Poll::Ready(Some(Err(_))), _) => drop(departure.take()),
            _ => {}
        }
        next.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Streamed(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::BehaviorVersion;
    use serde_json::json;

    /// A call as a REST API makes it that clients ask for `path`, in front of functions that see `seen`.
    fn call(path: &str, seen: &str) -> Call {
        let event = json!({
            "resource": "/api/repos",
            "path": seen,
            "httpMethod": "POST",
            "headers": {"Host": "abc.execute-api.eu-west-1.amazonaws.com", "X-Forwarded-Proto": "https"},
            "multiValueHeaders": {
                "Host": ["abc.execute-api.eu-west-1.amazonaws.com"], "X-Forwarded-Proto": ["https"],
            },
            "requestContext": {"path": path, "stage": "hub", "httpMethod": "POST", "identity": {}},
            "body": null,
            "isBase64Encoded": false,
        });
        Call::new(lambda_http::request::from_str(&event.to_string()).unwrap())
    }

    #[test]
    fn a_deployment_may_choose_what_a_push_creates_and_nothing_else() {
        let template = include_str!("../../template.yaml");
        let (_, parameter) = template.split_once("  PushCreates:\n").unwrap();
        let (_, values) = parameter.split_once("AllowedValues: [").unwrap();
        let (values, rest) = values.split_once("]\n").unwrap();
        assert!(rest.starts_with("    Default: private\n"));
        let chosen: Vec<_> = values.split(", ").map(|value| push_creates(value).unwrap()).collect();
        assert_eq!(chosen, [Some(Visibility::Public), Some(Visibility::Private), None]);
        assert_eq!(push_creates("off"), Some(None), "as environments of before have it");
        assert!(["", "Public", "none", "private "].into_iter().all(|value| push_creates(value).is_none()));
    }

    #[test]
    fn the_url_of_an_api_gateway_has_its_stage_and_that_of_a_domain_has_none() {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        let location = Location { table: String::new(), bucket: String::new() };
        let mut hub = Hub {
            store: Arc::new(Store::new(&config, &config, location, Ambient::system())),
            tokens: Arc::default(),
            settings: Settings::default(),
            log: RequestLog::default(),
        };
        let host = "https://abc.execute-api.eu-west-1.amazonaws.com";
        let url = |call: Call, hub: &Hub| call.hub_url(hub).unwrap();
        assert_eq!(url(call("/hub/api/repos", "/api/repos"), &hub), format!("{host}/hub"));
        assert_eq!(url(call("/api/repos", "/api/repos"), &hub), host);
        // What the gateway says counts, and what the client says only where that is the same, and a port.
        let domain = |domain: &str| {
            let mut call = call("/api/repos", "/api/repos");
            let mut context = call.parts.request_context_ref().unwrap().clone();
            if let RequestContext::ApiGatewayV1(context) = &mut context {
                context.domain_name = Some(domain.to_owned());
            }
            call.parts.extensions.insert(context);
            call
        };
        assert_eq!(url(domain("hub.example.org"), &hub), "https://hub.example.org");
        assert_eq!(
            url(domain("abc.execute-api.eu-west-1.amazonaws.co"), &hub),
            "https://abc.execute-api.eu-west-1.amazonaws.co"
        );
        let mut with_port = domain("abc.execute-api.eu-west-1.amazonaws.com");
        let named = HeaderValue::from_static("abc.execute-api.eu-west-1.amazonaws.com:4566");
        with_port.parts.headers.insert(http::header::HOST, named);
        assert_eq!(url(with_port, &hub), format!("{host}:4566"));
        hub.settings.serves_s3 = true;
        let refused = call("/api/repos", "/api/repos").hub_url(&hub).unwrap_err();
        assert!(matches!(refused, Error::UnknownHost(_)), "on one machine the door has to know it: {refused}");
        hub.settings.public_url = Some("https://hub.example.com/".to_owned());
        assert_eq!(url(call("/hub/api/repos", "/api/repos"), &hub), "https://hub.example.com");
    }
}
