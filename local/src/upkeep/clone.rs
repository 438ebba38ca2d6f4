//! A clone that missing records are restored from: any hub that speaks the wire protocol, asked as a client asks it.
//!
//! Answers go into temporary files before anything is read from them, so their size is bounded by the disk and not by
//! the memory. A file is gone with the process, in every case. Nothing that comes is believed: see `fsck`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::id::Ids;
use common::id::{CommitId, ObjectKey, Slug};
use common::wire::commit::Commit;
use common::wire::error::Cause;
use common::wire::limits::FETCH_WANT_OF_ANY_HUB;
use common::wire::record::{Object, Snapshot};
use fsck::catalog::RecordId;
use fsck::repair::{Restored, Wanted};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use indicatif::ProgressBar;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use store::repo::Load;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::proxy::HubUrl;
use crate::proxy::client::{Client, Failure};
use crate::serve::{self, AnonymousReads, BODY_MEMORY, Options, RequestLog, Running, Storage, WRITE_TIMEOUT};
use crate::stores::{self, OpenStores};

/// How long a hub may be silent: as long as a Lambda function may run.
const PAUSE: Duration = Duration::from_secs(15 * 60);
/// Bytes of an object that is handed on in memory; a larger one goes by a file.
const SMALL_OBJECT: u64 = 8 << 20;
/// Bytes of an answer that is read into memory to be looked at.
const SMALL_ANSWER: usize = 1 << 20;
/// Objects that are asked for at the same time.
const PARALLEL_OBJECTS: usize = 4;
/// Records that wait to be stored.
const WAITING: usize = 8;
/// How long the token for a folder's own hub is good.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const MSGPACK: &str = "application/x-msgpack";

/// What a clone answered that is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the URL of a repo nor a data folder.
    #[error(
        "{0:?} is neither a repository's URL, like https://hub.example.com/owner/slug, nor the data folder of a hub"
    )]
    Address(String),
    /// It cannot be reached.
    #[error("the clone does not answer: {0}")]
    Unreachable(String),
    /// It refused a request.
    #[error("the clone answered {endpoint} with {status}")]
    Refused {
        /// The request.
        endpoint: String,
        /// The status.
        status: StatusCode,
    },
    /// Its answer makes no sense.
    #[error("the clone's answer to {endpoint}: {reason}")]
    Malformed {
        /// The request.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer cannot be kept in a temporary file.
    #[error("an answer of the clone cannot be kept in a temporary file")]
    Kept(#[from] std::io::Error),
    /// The data folder cannot be opened.
    #[error(transparent)]
    Stores(#[from] stores::Error),
    /// The data folder cannot be served.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// The data folder's stores do not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No token could be made for it.
    #[error(transparent)]
    Token(#[from] common::wire::Error),
    /// There is no such repo in the data folder.
    #[error("the data folder has no repository {0}")]
    NoRepo(String),
}

/// A clone of one repo.
pub struct Clone {
    asked: Arc<Asked>,
    running: Option<Running>,
}

struct Asked {
    client: Client,
    hub: HubUrl,
    /// `/owner/slug`
    repo: String,
    token: Option<String>,
    folder: TempDir,
}

impl Clone {
    /// A clone at the URL of a repo, or in the data folder of a stopped hub, under the same name there.
    ///
    /// # Errors
    /// When it is neither, or cannot be opened.
    pub async fn open(from: &str, name: (&Slug, &Slug), token: Option<String>) -> Result<Self, Error> {
        let (owner, slug) = name;
        if from.contains("://") {
            let bad = || Error::Address(from.to_owned());
            let trimmed = from.trim_end_matches('/');
            let (rest, slug) = trimmed.rsplit_once('/').ok_or_else(bad)?;
            let (hub, owner) = rest.rsplit_once('/').ok_or_else(bad)?;
            let named = |text: &str| text.parse::<Slug>().map_err(|_| bad());
            let repo = format!("/{}/{}", named(owner)?, named(slug)?);
            return Self::at(hub.parse().map_err(|_| bad())?, repo, token, None);
        }
        let path = Path::new(from);
        if !path.is_dir() {
            return Err(Error::Address(from.to_owned()));
        }
        let opened = OpenStores::open(Some(path)).await?;
        let found = opened.store.find_repo(owner, slug, Load::NOTHING).await;
        opened.close().await;
        let found = found?.ok_or_else(|| Error::NoRepo(format!("{owner}/{slug}")))?;
        let running = serve::start(Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            storage: Storage::Directory(path.to_owned()),
            lambda_limits: false,
            // It only answers what is there.
            ids: Ids::Lenient,
            public_url: None,
            hosts: Vec::new(),
            body_memory: BODY_MEMORY,
            write_timeout: WRITE_TIMEOUT,
            anonymous_reads: AnonymousReads::Full,
            secret: None,
            log: RequestLog::default(),
            // Upkeep is no event.
            webhooks: None,
        })
        .await?;
        let token =
            running.tokens().mint(&found.meta.owner_user_id, TOKEN_TTL).map_err(common::wire::Error::internal)?;
        let hub = running.url().parse().map_err(|_| Error::Address(from.to_owned()))?;
        Self::at(hub, format!("/{owner}/{slug}"), Some(token), Some(running))
    }

    fn at(hub: HubUrl, repo: String, token: Option<String>, running: Option<Running>) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("musehub-").tempdir()?;
        let client = Client::new(PAUSE)?;
        Ok(Self { asked: Arc::new(Asked { client, hub, repo, token, folder }), running })
    }

    /// Asks for what is wished. The stream ends with the first error.
    pub fn bring(&self, wanted: Wanted) -> BoxStream<'static, Result<Restored, Cause>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let asked = Arc::clone(&self.asked);
        tokio::spawn(async move {
            if let Err(error) = asked.bring(wanted, &sender).await {
                // If there is no receiver, the caller has gone away.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|restored| (restored, receiver)) })
            .boxed()
    }

    /// Ends the hub of a data folder.
    pub async fn close(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
    }
}

type Sender = mpsc::Sender<Result<Restored, Cause>>;

impl Asked {
    async fn bring(&self, wanted: Wanted, sender: &Sender) -> Result<(), Error> {
        let mut restored: HashSet<ObjectKey> = HashSet::new();
        // What the clone does not have is left out, which is found by asking for halves.
        let mut asking: Vec<Vec<CommitId>> =
            wanted.commits.chunks(FETCH_WANT_OF_ANY_HUB).map(<[CommitId]>::to_vec).collect();
        while let Some(mut want) = asking.pop() {
            match self.fetch(&want, &wanted.have).await? {
                Some(answer) => restored.extend(read_answer(answer, sender.clone()).await?),
                None if want.len() > 1 => {
                    let rest = want.split_off(want.len() / 2);
                    asking.extend([want, rest]);
                }
                None => {}
            }
        }
        let left: Vec<ObjectKey> = wanted.objects.into_iter().filter(|key| !restored.contains(key)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let repo_id = self.repo_id().await?;
        let mut coming = stream::iter(left).map(|key| self.object(&repo_id, key)).buffer_unordered(PARALLEL_OBJECTS);
        while let Some(object) = coming.next().await {
            if let Some(object) = object?
                && sender.send(Ok(object)).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Error> {
        let uri = self.hub.at(path).map_err(|error| Error::Unreachable(error.to_string()))?;
        let mut request = Request::builder().method(method).uri(uri).header(ACCEPT, MSGPACK);
        if method == "POST" {
            request = request.header(CONTENT_TYPE, MSGPACK);
        }
        if let Some(token) = &self.token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Error::Unreachable("the token cannot be in a header".to_owned()))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let request = request.body(body).map_err(|error| Error::Unreachable(error.to_string()))?;
        let answered = self.client.send(request, ProgressBar::hidden()).await;
        answered.map_err(|failure: Failure| Error::Unreachable(failure.to_string()))
    }

    async fn repo_id(&self) -> Result<String, Error> {
        let endpoint = "GET /refs";
        let answer = self.send("GET", &format!("{}/refs", self.repo), Vec::new()).await?;
        let answer = succeeded(endpoint, answer)?;
        let body = http_body_util::Limited::new(answer.into_body(), SMALL_ANSWER).collect().await;
        let malformed = |reason: String| Error::Malformed { endpoint: endpoint.to_owned(), reason };
        let body = body.map_err(|error| malformed(error.to_string()))?.to_bytes();
        let refs: serde_json::Value = rmp_serde::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
        let id = refs.get("repo_id").and_then(serde_json::Value::as_str);
        id.map(str::to_owned).ok_or_else(|| malformed("it has no repo_id".to_owned()))
    }

    /// The answer to a fetch, in a file; none when the clone does not have one of the commits that are wanted.
    async fn fetch(&self, want: &[CommitId], have: &[CommitId]) -> Result<Option<File>, Error> {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            want: &'a [CommitId],
            have: &'a [CommitId],
        }
        let endpoint = "POST /fetch";
        let malformed = |reason: String| Error::Malformed { endpoint: endpoint.to_owned(), reason };
        let body = rmp_serde::to_vec_named(&Body { want, have }).map_err(|error| malformed(error.to_string()))?;
        let answer = self.send("POST", &format!("{}/fetch", self.repo), body).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            // The repo itself may be what is not found.
            self.repo_id().await?;
            return Ok(None);
        }
        let answer = succeeded(endpoint, answer)?;
        let path = self.folder.path().join("answer");
        save(endpoint, answer, &path).await?;
        let mut file = File::open(&path)?;
        std::fs::remove_file(&path)?;
        file.rewind()?;
        Ok(Some(file))
    }

    /// One object; none when the clone does not have it.
    async fn object(&self, repo_id: &str, key: ObjectKey) -> Result<Option<Restored>, Error> {
        let endpoint = format!("GET /o/{}", key.as_ref());
        let answer = self.send("GET", &format!("/o/{}?repo_id={repo_id}", key.as_ref()), Vec::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = succeeded(&endpoint, answer)?;
        let path: PathBuf = self.folder.path().join(key.as_ref().to_string());
        let size = save(&endpoint, answer, &path).await?;
        if size > SMALL_OBJECT {
            return Ok(Some(Restored::File { object: key, path }));
        }
        let record = Bytes::from(tokio::fs::read(&path).await?);
        tokio::fs::remove_file(&path).await?;
        Ok(Some(Restored::Record { id: RecordId::Object(key), record }))
    }
}

fn succeeded(endpoint: &str, answer: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    Err(Error::Refused { endpoint: endpoint.to_owned(), status: answer.status() })
}

/// Writes the body of an answer into a file. Its bytes.
async fn save(endpoint: &str, answer: Response<Incoming>, path: &Path) -> Result<u64, Error> {
    let malformed = |reason: String| Error::Malformed { endpoint: endpoint.to_owned(), reason };
    let mut body = answer.into_body();
    let mut file = tokio::fs::File::create(path).await?;
    let mut size = 0;
    loop {
        let frame = timeout(PAUSE, body.frame()).await.map_err(|_| malformed("it pauses for too long".to_owned()))?;
        let Some(frame) = frame.transpose().map_err(|error| malformed(format!("it broke off: {error}")))? else {
            break;
        };
        if let Ok(bytes) = frame.into_data() {
            size += bytes.len() as u64;
            file.write_all(&bytes).await?;
        }
    }
    file.flush().await?;
    Ok(size)
}

/// Hands on the records of a fetch's answer, one by one, and says which objects were among them.
async fn read_answer(file: File, sender: Sender) -> Result<HashSet<ObjectKey>, Error> {
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = Answer { sender, objects: HashSet::new() };
        let read = rmp_serde::Deserializer::new(BufReader::new(file)).deserialize_map(&mut answer);
        read.map(|()| answer.objects)
    });
    let malformed = |reason: String| Error::Malformed { endpoint: "POST /fetch".to_owned(), reason };
    let read = read.await.map_err(|error| malformed(error.to_string()))?;
    read.map_err(|error| malformed(error.to_string()))
}

struct Answer {
    sender: Sender,
    objects: HashSet<ObjectKey>,
}

impl Answer {
    fn hand_on<E: serde::de::Error>(&self, id: RecordId, record: Vec<u8>) -> Result<(), E> {
        let restored = Restored::Record { id, record: record.into() };
        self.sender.blocking_send(Ok(restored)).map_err(|_| E::custom("nobody wants it any more"))
    }
}

impl<'de> Visitor<'de> for &mut Answer {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the answer to a fetch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let list = match name.as_str() {
                "commits" => List::Commits,
                "snapshots" => List::Snapshots,
                "objects" => List::Objects,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(Records { list, answer: self })?;
        }
        Ok(())
    }
}

enum List {
    Commits,
    Snapshots,
    Objects,
}

struct Records<'a> {
    list: List,
    answer: &'a mut Answer,
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        use serde::de::Error as _;
        match self.list {
            List::Commits => {
                while let Some(commit) = list.next_element::<Commit>()? {
                    self.answer.hand_on(RecordId::Commit(commit.id.clone()), commit.record().to_vec())?;
                }
            }
            List::Snapshots => {
                while let Some(snapshot) = list.next_element::<Snapshot<'_>>()? {
                    let record = snapshot.record().map_err(A::Error::custom)?;
                    self.answer.hand_on(RecordId::Snapshot(snapshot.snapshot_id), record)?;
                }
            }
            List::Objects => {
                while let Some(object) = list.next_element::<Object<'_>>()? {
                    let key = object.object_id.key();
                    self.answer.objects.insert(key.clone());
                    self.answer.hand_on(RecordId::Object(key), object.content.into_owned())?;
                }
            }
        }
        Ok(())
    }
}
