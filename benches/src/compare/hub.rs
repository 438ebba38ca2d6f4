//! What a client of the second generation asks a hub for, in the requests that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use store::ambient::Ambient;
use tests::encoding::Encoding;

use super::http::{Answer, Remote};
use crate::Failure;
use crate::wire::{Stretch, objects_body};

/// Objects that a client sends in one request, and how many of those at a time.
const CHUNK: usize = 400;
const AT_ONCE: usize = 4;
/// The most ids of one question.
const ASKED: usize = 50_000;
/// What the answer is that there is no such repository yet.
const NOT_FOUND: u16 = 404;
const OK: u16 = 200;
const CREATED: u16 = 201;

/// A repository of a hub.
#[derive(Clone)]
pub struct Repo {
    remote: Remote,
    clock: Ambient,
}

/// A push whose bodies are made: a client's own work is not measured.
pub struct Push {
    filter: Option<Bytes>,
    objects: Vec<Bytes>,
    bundle: Bytes,
}

impl Push {
    /// The requests for some commits in a row.
    pub fn of(stretch: &Stretch) -> Result<Self, Failure> {
        let ids: Vec<&str> = stretch.objects.iter().map(|object| object.object_id.as_str()).collect();
        Ok(Self {
            filter: (ids.len() <= ASKED).then(|| filter_body(&ids)).transpose()?,
            objects: stretch
                .objects
                .chunks(CHUNK)
                .map(|chunk| Ok(objects_body(chunk)?.into()))
                .collect::<Result<_, Failure>>()?,
            bundle: stretch.push()?.into(),
        })
    }

    /// All bodies.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.filter.iter().chain(&self.objects).chain([&self.bundle]).cloned().collect()
    }
}

/// The body of `POST /filter-objects`.
fn filter_body(ids: &[&str]) -> Result<Bytes, Failure> {
    Ok(rmp_serde::to_vec_named(&BTreeMap::from([("object_ids", ids)]))?.into())
}

#[derive(Deserialize)]
struct Refs {
    repo_id: String,
    branch_heads: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Wanted<'a> {
    want: BTreeSet<&'a str>,
    have: &'a [&'a str],
}

#[derive(Serialize)]
struct New<'a> {
    name: &'a str,
    is_private: bool,
}

impl Repo {
    /// A repository.
    pub const fn new(remote: Remote, clock: Ambient) -> Self {
        Self { remote, clock }
    }

    /// The same, asked through something that stands in front.
    pub fn at(&self, address: SocketAddr) -> Self {
        let remote = Remote { address, ..self.remote.clone() };
        Self { remote, clock: self.clock.clone() }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.remote.authority, self.remote.path)
    }

    async fn ask(&self, endpoint: &str, body: Option<&Bytes>, or: u16) -> Result<Answer, Failure> {
        self.remote.ask(&self.clock, endpoint, body, Encoding::Msgpack, or).await
    }

    /// Makes it, for its owner alone.
    pub async fn make(&self) -> Result<(), Failure> {
        let name = self.remote.path.rsplit('/').next().ok_or("the name of a repository")?;
        let body = rmp_serde::to_vec_named(&New { name, is_private: true })?.into();
        let api = Remote { path: "/api".to_owned(), ..self.remote.clone() };
        api.ask(&self.clock, "repos", Some(&body), Encoding::Msgpack, CREATED).await.map(drop)
    }

    /// Pushes: asks for the heads and for what is missing, sends all objects, then the rest. They are new.
    pub async fn push(&self, push: &Push) -> Result<(), Failure> {
        self.ask("refs", None, NOT_FOUND).await?;
        if let Some(filter) = &push.filter {
            self.ask("filter-objects", Some(filter), NOT_FOUND).await?;
        }
        let chunks =
            push.objects.iter().map(|chunk| async move { self.ask("push/objects", Some(chunk), OK).await.map(drop) });
        futures_util::stream::iter(chunks).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        self.ask("push", Some(&push.bundle), OK).await.map(drop)
    }

    /// Asks for the heads.
    pub async fn refs(&self) -> Result<Answer, Failure> {
        self.ask("refs", None, OK).await
    }

    /// The repository's id.
    pub async fn id(&self) -> Result<String, Failure> {
        Ok(rmp_serde::from_slice::<Refs>(&self.refs().await?.body)?.repo_id)
    }

    /// Asks which of these are missing.
    pub async fn filter(&self, ids: &[&str]) -> Result<Answer, Failure> {
        self.ask("filter-objects", Some(&filter_body(ids)?), OK).await
    }

    /// Clones: asks for the heads, and for all that they reach.
    pub async fn clone_all(&self, encoding: Encoding) -> Result<Answer, Failure> {
        let Refs { branch_heads, .. } = rmp_serde::from_slice(&self.refs().await?.body)?;
        let want = branch_heads.values().map(String::as_str).collect::<BTreeSet<_>>();
        let body = rmp_serde::to_vec_named(&Wanted { want, have: &[] })?.into();
        self.remote.ask(&self.clock, "fetch", Some(&body), encoding, OK).await
    }

    /// Pulls: asks for the heads, which of these commits the hub knows, and for what is beyond them.
    pub async fn pull(&self, have: &[&str]) -> Result<Answer, Failure> {
        let Refs { branch_heads, .. } = rmp_serde::from_slice(&self.refs().await?.body)?;
        let want = branch_heads.values().map(String::as_str).collect::<BTreeSet<_>>();
        let body: Bytes = rmp_serde::to_vec_named(&Wanted { want, have })?.into();
        self.ask("negotiate", Some(&body), OK).await?;
        self.ask("fetch", Some(&body), OK).await
    }
}
