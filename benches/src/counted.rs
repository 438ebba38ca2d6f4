//! What the functions of a hub did while they answered a client, for all pages that say something of it.

use std::collections::BTreeMap;

use common::pack::PackSummary;
use serde_json::{Value, json};
use service::routes::Function;
use tests::history::{self, History, list_of_text, objects_body};

use crate::Failure;
use crate::deployment::{Deployment, Request, memory_of_functions};

/// Commits of what is cloned.
pub const COMMITS: usize = 1_000;
/// Its files.
pub const FILES: usize = 200;
/// In how many pushes it came.
pub const PUSHES: usize = 10;
/// Files that each commit changes.
pub const CHANGES: usize = 5;
/// Bytes of objects that a client sends in one request.
const CHUNK: usize = 4 << 20;
const SLUG: &str = "song";

/// What was counted.
pub struct Counted {
    /// `template.yaml`.
    pub template: String,
    /// [`COMMITS`] commits, in [`PUSHES`] parts.
    pub first_push: Vec<Request>,
    /// The push of one commit, to processes that are new.
    pub cold_push: Vec<Request>,
    /// The push of one commit, to processes that know the repo.
    pub push: Vec<Request>,
    /// The same with the objects in it and no question before it.
    pub whole_push: Vec<Request>,
    /// A clone of all of it, from processes that are new.
    pub cold_clone: Vec<Request>,
    /// A clone of all of it, from processes that know the repo.
    pub clone: Vec<Request>,
    /// A fetch of one commit.
    pub fetch: Vec<Request>,
    /// A fetch that finds nothing new.
    pub vain_fetch: Vec<Request>,
    /// Bytes in S3 after the first push.
    pub stored: u64,
    /// How many packs were listed when [`Self::push`] began.
    pub listed: u64,
    /// Bytes of the packs that [`Self::push`] has left.
    pub pushed: Vec<u64>,
    /// Bytes of the items of the repo: the largest of each kind, by what its sort key begins with.
    pub items: BTreeMap<String, u64>,
    /// The same commits, merged after each part.
    pub merged: Merged,
}

/// What was merged.
pub struct Merged {
    /// The packs that there are then.
    pub packs: Vec<PackSummary>,
    /// Bytes of those.
    pub bytes: u64,
    /// Bytes of the packs that were replaced.
    pub replaced: u64,
}

impl Counted {
    /// Counts, with functions that have memory as `template` gives it.
    pub async fn of(template: String) -> Result<Self, Failure> {
        let mut hub = Deployment::start(&template).await?;
        let history = history::linear(5, COMMITS + 4, FILES, CHANGES);
        let ids = history.ids();
        let [.., last, next, newest, before_whole, whole] = ids.as_slice() else {
            return Err("a history of commits".into());
        };

        let mut have: Option<&String> = None;
        for pushed in parts(&ids) {
            let tip = pushed.last().ok_or("a commit")?;
            push(&mut hub, &history, have, tip).await?;
            have = Some(tip);
        }
        let first_push = hub.take_requests();
        let stored = hub.stored_bytes().await?;
        let merged = merged(&template, &history, &ids).await?;
        hub.cool();
        push(&mut hub, &history, Some(last), next).await?;
        let cold_push = hub.take_requests();
        let listed = hub.packs(SLUG).await?.len();
        push(&mut hub, &history, Some(next), newest).await?;
        let push_of_one = hub.take_requests();
        let pushed = hub.packs(SLUG).await?.iter().skip(listed).map(|pack| pack.size).collect();
        let items = hub.items(SLUG).await?;
        hub.cool();
        fetch(&mut hub, newest, &[]).await?;
        let cold_clone = hub.take_requests();
        fetch(&mut hub, newest, &[]).await?;
        let clone = hub.take_requests();
        fetch(&mut hub, newest, &[next]).await?;
        let fetch_of_one = hub.take_requests();
        hub.call(Function::Refs, SLUG, &Value::Null).await?;
        let vain_fetch = hub.take_requests();
        push(&mut hub, &history, Some(newest), before_whole).await?;
        hub.take_requests();
        push_whole(&mut hub, &history, before_whole, whole).await?;
        let whole_push = hub.take_requests();
        Ok(Self {
            template,
            first_push,
            cold_push,
            push: push_of_one,
            whole_push,
            cold_clone,
            clone,
            fetch: fetch_of_one,
            vain_fetch,
            stored,
            listed: listed as u64,
            pushed,
            items,
            merged,
        })
    }

    /// The memory of a function, MB.
    pub fn memory(&self, function: &str) -> Result<f64, Failure> {
        let memory = memory_of_functions(&self.template)?;
        Ok(*memory.get(function).ok_or_else(|| format!("template.yaml has no {function}"))? as f64)
    }

    /// Bytes of an item of this kind.
    pub fn item(&self, kind: &str) -> Result<u64, Failure> {
        Ok(*self.items.get(kind).ok_or_else(|| format!("the repo has no item {kind}"))?)
    }
}

/// The packs that a repo has when they were merged after each push, and what they have replaced.
async fn merged(template: &str, history: &History, ids: &[String]) -> Result<Merged, Failure> {
    let mut hub = Deployment::start(template).await?;
    let (mut have, mut bytes): (Option<&String>, u64) = (None, 0);
    for pushed in parts(ids) {
        let tip = pushed.last().ok_or("a commit")?;
        push(&mut hub, history, have, tip).await?;
        have = Some(tip);
        bytes = hub.compact(SLUG).await?;
    }
    let replaced = hub.stored_bytes().await?.saturating_sub(bytes);
    Ok(Merged { packs: hub.packs(SLUG).await?, bytes, replaced })
}

fn parts(ids: &[String]) -> impl Iterator<Item = &[String]> {
    ids.get(..COMMITS).unwrap_or_default().chunks(COMMITS / PUSHES)
}

/// What a client does: asks for the heads, asks which objects are missing, sends those, then the commits.
async fn push(hub: &mut Deployment, history: &History, have: Option<&String>, tip: &str) -> Result<(), Failure> {
    if have.is_some() {
        hub.call(Function::Refs, SLUG, &Value::Null).await?;
    }
    let bundle = history.pack(&history.between(&[tip], have.as_slice())).with_head("main", tip);
    let ids: Vec<String> = bundle.object_ids().into_iter().collect();
    let missing = if have.is_some() {
        let answer = hub.call(Function::FilterObjects, SLUG, &json!({"object_ids": ids})).await?;
        list_of_text(&answer, "missing")?
    } else {
        ids
    };
    let mut chunk = Vec::new();
    for id in &missing {
        chunk.push(history.object(id));
        if chunk.iter().map(|object: &history::Object| object.content.len()).sum::<usize>() > CHUNK {
            hub.call(Function::PushObjects, SLUG, &objects_body(&std::mem::take(&mut chunk))).await?;
        }
    }
    if !chunk.is_empty() {
        hub.call(Function::PushObjects, SLUG, &objects_body(&chunk)).await?;
    }
    let body = json!({"bundle": bundle.without_objects().to_value(), "branch": "main", "force": false});
    hub.call(Function::Push, SLUG, &body).await?;
    Ok(())
}

/// A push that asks nothing first, and has its objects in it: its client knows the head, and what its commits have changed.
async fn push_whole(hub: &mut Deployment, history: &History, have: &str, tip: &str) -> Result<(), Failure> {
    let mut bundle = history.pack(&history.between(&[tip], &[have])).with_head("main", tip);
    let known = history.objects_of([&have.to_owned()]);
    bundle.objects.retain(|object| !known.contains(&object.id));
    let body = json!({"bundle": bundle.to_value(), "branch": "main", "force": false});
    hub.call(Function::Push, SLUG, &body).await?;
    Ok(())
}

async fn fetch(hub: &mut Deployment, tip: &str, have: &[&str]) -> Result<(), Failure> {
    hub.call(Function::Refs, SLUG, &Value::Null).await?;
    hub.call(Function::Fetch, SLUG, &json!({"want": [tip], "have": have})).await?;
    Ok(())
}
